/* replication/core/fence.h
 *
 * What to do when somebody states a lineage: whether a primary lost, and to whom it has to be
 * proved. A claim without proof fences nothing (design 5.5): else a broken or stolen secondary
 * could stop a primary with 30 bytes. Pure; thread: any.
 */
#ifndef COFFER_REPLICATION_FENCE_H
#define COFFER_REPLICATION_FENCE_H

#include "replication/core/lineage.h"

enum fence_role { FENCE_NO_PART, FENCE_PRIMARY, FENCE_SECONDARY };

struct fence_claim {
    const struct repl_lineage *lineage; /* as the peer states it */
    bool verified;                      /* its proof is sound */
};

enum fence_decision {
    FENCE_IGNORE, /* nothing newer in it */
    FENCE_ALARM,  /* newer, but not proved: tell the operator, close, change nothing */
    FENCE_FENCE,  /* a primary: refuse client and background proposals from here on */
    FENCE_ADOPT,  /* a secondary: the lineage to follow from now on */
};

/* A cluster without any lineage adopts what it is given: the activation token vouched for it. */
enum fence_decision fence_decide(const struct repl_lineage *own, enum fence_role role,
                                 const struct fence_claim *claim);

/* Is a newer epoch of that kind for this cluster to hear? One of the set: for its primary. One of the line: for
 * whoever is that line, be it the shared primary or a performance secondary; two clusters must not act under
 * one name. */
bool fence_concerns(bool is_shared_primary, bool is_performance_secondary, enum repl_kind kind);

#endif

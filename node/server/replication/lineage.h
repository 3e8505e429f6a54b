/* node/server/replication/lineage.h: the lineage of epochs in the store (design 5.5). */
#ifndef COFFER_SERVER_REPLICATION_LINEAGE_H
#define COFFER_SERVER_REPLICATION_LINEAGE_H

#include "node/core/request.h"
#include "node/server/replication/set.h"

/* Lineages are of the set (kind performance) or of the line (kind DR): set.h. */

/* A first epoch when there is none. */
CF_CHECKED cf_status lineage_ensure(struct request *rq, enum set_kind kind, struct cf_error *err);
/* A promotion of the kind: a new epoch that branches at the last source position of the kind's link. A DR
 * secondary that takes the line of the shared primary over raises the set's epoch, too, at the same place:
 * both are positions in the log of the cluster that it followed. */
CF_CHECKED cf_status lineage_promote(struct request *rq, enum set_kind kind, struct cf_error *err);
/* A snapshot was restored, taken at (term, index) of our log under the lineage that `taken` holds
 * (encoded; empty: none): a new epoch that branches there, or, if that is no part of ours, at the very
 * beginning. Nothing where this cluster is no primary of the kind. */
CF_CHECKED cf_status lineage_restored(struct request *rq, enum set_kind kind, struct cf_slice taken,
                                      uint64_t term, uint64_t index, struct cf_error *err);
/* The cluster's quorum was lost and this is what a recovery made of it, which cut the log at (term, index);
 * index 0: somewhere. Secondaries may hold what it lost, so a new epoch branches there, once for each
 * recovery (by its recovery epoch). Of both kinds; where it is no primary it is only noted. */
CF_CHECKED cf_status lineage_recovered(struct request *rq, uint64_t recovery_epoch, uint64_t term,
                                       uint64_t index, struct cf_error *err);
/* A cluster that left its set begins anew if it becomes a primary again. */
void lineage_forget(struct request *rq, enum set_kind kind);

#endif

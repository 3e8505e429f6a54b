/* node/server/diagnose_int.h: what the checks of `operator diagnose` share. Thread: main. */
#ifndef COFFER_SERVER_DIAGNOSE_INT_H
#define COFFER_SERVER_DIAGNOSE_INT_H

#include <stdio.h>

#include "node/format/json.h"
#include "node/server/config.h"

enum verdict { VERDICT_OK, VERDICT_WARN, VERDICT_FAIL };

struct diagnosis {
    struct arena *arena;
    const struct config *config;
    struct json *checks;
    enum verdict worst;
};

/* Notes one result; `advice` says what to do, NULL when there is nothing to. Texts are copied. */
void diagnosis_add(struct diagnosis *d, const char *name, enum verdict verdict, const char *advice,
                   const char *fmt, ...) CF_PRINTF(5, 6);

void diagnose_storage(struct diagnosis *d); /* directory, room, speed of synced writes */
void diagnose_network(struct diagnosis *d); /* listeners, cluster ports, members to join */

#endif

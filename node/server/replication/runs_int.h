/* node/server/replication/runs_int.h: what runs.c and runs_peer.c share. */
#ifndef COFFER_SERVER_REPLICATION_RUNS_INT_H
#define COFFER_SERVER_REPLICATION_RUNS_INT_H

#include <pthread.h>

#include "node/base/list.h"
#include "node/server/replication/runs.h"

struct runs {
    struct node *node;
    char folder[3072];
    bool is_serving;        /* main loop */
    _Atomic bool holds, is_tidying; /* holds: there may be files */
    struct cf_list fetches; /* main loop */
    /* The applier, where it waits for runs. */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_stopping, is_answered;
    cf_status answer;
    uint32_t generation;
    struct cf_buf wanted;
};

/* The applier: asks for these, and waits until they are here or there is an answer that says otherwise. CF_OK: look
 * again. */
CF_CHECKED cf_status runs_wait(struct runs *runs, uint32_t generation, struct cf_slice names,
                               struct cf_error *err);

#endif

/* node/core/outside.h
 *
 * What a handler has to know from outside and only reads: a revocation list at a URL, the word of an OCSP responder
 * (design 3.1: such calls run before the handler, on a worker; their result is its input). A handler asks the node's
 * store of answers; when that has none, it notes the question in rq->ask and fails, the frame asks outside on threads of
 * their own, and the handler runs again. So handlers do no I/O and may run any number of times.
 *
 * Answers are this node's, in bounded memory, never in the state. A failure counts for OUTSIDE_FAILED_US, so that a
 * server that hangs holds up few. Bounds: OUTSIDE_TIMEOUT_MS a question, answer_max bytes. Thread: any.
 */
#ifndef COFFER_CORE_OUTSIDE_H
#define COFFER_CORE_OUTSIDE_H

#include "node/core/request.h"

#define OUTSIDE_TIMEOUT_MS 5000
#define OUTSIDE_FAILED_US ((uint64_t)5 * 1000000)
#define OUTSIDE_ANY_AGE UINT64_MAX

struct outside_ask {
    struct cf_slice url;        /* http or https */
    struct cf_slice body;       /* empty: GET */
    const char *content_type;   /* of the body */
    size_t answer_max;
    /* Whether it is an answer at all, on the thread that asked. What is refused (CF_INVALID) is a failure, and an earlier
     * answer stays. NULL: any is. */
    cf_status (*check)(struct cf_slice answer, struct cf_error *err);
};

/* The answer, in the arena, when it is no older than max_age_us or was fetched for this very request. CF_BUSY: not known,
 * and noted in rq->ask: fail with it. CF_UNAVAILABLE: it cannot be had now, err says
 * why; with max_age_us 0 an earlier failure does not count. */
CF_CHECKED cf_status outside_get(struct request *rq, const struct outside_ask *ask, uint64_t max_age_us,
                                 struct cf_slice *ret, struct cf_error *err);

struct core;
struct outside *outside_new(void);
void outside_stop(struct outside *outside); /* waits for what is asked; twice is harmless */
void outside_free(struct outside *outside); /* stops it first; NULL is fine */
/* Asks, then calls done on another thread. False: too much is being asked. `ask` outlives that. */
bool outside_start(struct core *core, const struct outside_ask *ask, void (*done)(void *arg), void *arg);

#endif

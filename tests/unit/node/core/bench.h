/* tests/unit/node/core/bench.h
 *
 * The core over memory with a proposer under the test's control: proposals can be held between
 * their run and their append, entries between their append and their application, and both refused.
 * Requests run on the thread that submits them or moves them on.
 */
#ifndef COFFER_TEST_BENCH_H
#define COFFER_TEST_BENCH_H

#include <pthread.h>

#include "node/core/audit.h"
#include "node/core/command.h"
#include "node/core/core.h"

#define BENCH_HELD_MAX 64

struct bench {
    struct kv *kv;
    struct kv_family *state;
    struct core *core;
    struct keyring *keyring;
    char root[64];
    pthread_mutex_t lock; /* recursive: what follows; workers and the expiry thread propose, too */
    uint64_t appended, applied;    /* indexes */
    struct cf_buf log[4096];        /* payloads by index, from 1 */
    struct proposal *waiting[4096]; /* by index: appended, not yet applied */
    struct proposal *held[BENCH_HELD_MAX];
    size_t held_count;
    unsigned conflicts; /* proposals that lost the check */
    unsigned forwards;  /* requests handed on, the last one in `forwarded` */
    bool to_primary;
    struct request *forwarded;
    bool holds;         /* proposals are held */
    bool holds_entries; /* entries are appended and not applied */
    cf_status refusal;  /* CF_OK: none; else the answer to every proposal */
    int64_t wrap_ttl_s; /* of requests that start */
    struct once once;   /* of requests that start, which are then forwarded ones */
    bool is_passive;    /* a standby: not active, reads ask */
    bool asks;          /* active, and reads ask nevertheless: one of several voters */
    unsigned reads_asked;
    int64_t ahead_ns;    /* added to stamps */
    unsigned host_calls; /* of sys/bench-host */
    struct bench_threads *threads;
};

/* One request, alive until call_free(). */
struct call {
    struct bench *bench;
    struct arena *arena;
    struct request rq;
    bool is_done;
    int status; /* HTTP */
    struct json *answer;
    char text[512];
};

/* Types of audit devices of the next bench_new(); then a device is made through the API. */
extern const struct audit_ops *const *bench_audit;
/* Engines of the next bench_new() instead of all that there are. */
extern const struct engine_ops *const *bench_engines;
struct bench *bench_new(void); /* initialised, unsealed, leading */
void bench_free(struct bench *bench);
CF_DEFINE_OWNED(bench);

/* token NULL: root, "": none. */
struct call *bench_start(struct bench *bench, const char *token, const char *operation,
                         const char *path, const char *body);
/* Waits (bounded) until it is answered; aborts otherwise. */
void call_wait(struct call *call);
/* Waits (bounded) until so many requests were handed on. */
void bench_wait_forwards(struct bench *bench, unsigned count);
void call_free(struct call *call);
CF_DEFINE_OWNED(call);
/* The text at a dotted path of the answer, "" when absent; until the next use of the same call. */
const char *call_at(struct call *call, const char *dotted);
/* Starts, waits for workers, frees; the status. text (512 bytes, may be NULL) gets call_at(dotted).
 */
int bench_call(struct bench *bench, const char *token, const char *operation, const char *path,
               const char *body, const char *dotted, char *text);
/* A token of the body's making, into to (64 bytes). */
void bench_token(struct bench *bench, const char *body, char *to);

/* Waits (bounded) until so many proposals are held: who proposes may be another thread. */
void bench_wait_held(struct bench *bench, size_t count);
/* Held proposal number i (0: the oldest) goes to its append. */
void bench_release(struct bench *bench, size_t i);
/* Applies what was appended. */
void bench_apply(struct bench *bench);
/* Appends a command that has no claim, and applies it. */
cf_status bench_command(struct bench *bench, const struct command *command, struct cf_error *err);
/* Applies payload as the next entry. */
cf_status bench_payload(struct bench *bench, struct cf_slice payload, struct cf_error *err);
/* From here on a thread appends and another one applies, as in a node: proposals go to their append in any order,
 * and views are behind the log. Whoever submits has threads of his own then. */
void bench_threads_start(struct bench *bench);
/* Applies what was appended, and ends the threads. Nobody may submit any more. */
void bench_threads_stop(struct bench *bench);
/* Moves the store's clock on. */
/* The role, as node/server writes it: "performance-secondary", ... */
void bench_role(struct bench *bench, const char *role);
void bench_advance(struct bench *bench, int64_t seconds);
/* The command of an entry of the log, in the arena. */
struct command bench_entry(struct bench *bench, uint64_t index, struct arena *arena);
/* Waits (bounded) until *flag; aborts otherwise. */
void bench_wait(const _Atomic bool *flag);

#endif

/* node/server/replication/dry_run.h
 *
 * dry_run=true on a call of sys/replication: says what it would do and what is missing, and changes nothing.
 *
 *     {"dry_run": true, "would_succeed": false,
 *      "effects": ["the data of this cluster is replaced ..."],
 *      "checks":  [{"check": "clock", "ok": true, "text": "12 ms apart"}, ...],
 *      "missing": ["10.0.0.2:8201: connection refused"]}
 *
 * What the call itself would refuse (a wrong role, no permission) is refused alike: same status, same text.
 * Thread: that of the request, or whoever owns the request at the moment.
 */
#ifndef COFFER_SERVER_REPLICATION_DRY_RUN_H
#define COFFER_SERVER_REPLICATION_DRY_RUN_H

#include "node/core/request.h"

struct dry_run {
    struct request *rq;
    bool wanted;
    struct json *effects, *checks, *missing; /* in the request's arena; NULL unless wanted */
};

/* Reads the field. CF_INVALID when it is no boolean. */
CF_CHECKED cf_status dry_run_begin(struct dry_run *dry, struct request *rq, struct cf_error *err);
/* The rest is for dry runs only. One effect in one sentence. */
void dry_run_effect(struct dry_run *dry, const char *fmt, ...) CF_PRINTF(2, 3);
/* A check; one that is not ok is missing, too. */
void dry_run_check(struct dry_run *dry, const char *check, bool ok, const char *fmt, ...)
    CF_PRINTF(4, 5);
/* A check that cannot fail: a figure to look at. */
void dry_run_note(struct dry_run *dry, const char *check, const char *fmt, ...) CF_PRINTF(3, 4);
/* Makes the answer. */
cf_status dry_run_end(struct dry_run *dry);

/* How far two clocks may be apart before certificates and token times get in the way. */
#define DRY_RUN_CLOCK_MS 30000
void dry_run_clock(struct dry_run *dry, int64_t theirs_minus_ours_ms);
/* Free room for a copy of so many bytes, beside what is here. */
void dry_run_space(struct dry_run *dry, uint64_t wanted_bytes);
/* Whether somebody accepts connections at each "host:port": worker threads, blocks up to timeout_ms in all.
 * Fewer than one that answers is missing; each that does not is told. */
void dry_run_dial(struct dry_run *dry, const struct cf_slice *addresses, size_t count, int timeout_ms);
/* On primary/enable: the address that tokens would name ("": the nodes' own). */
void repl_dry_addresses(struct dry_run *dry, struct cf_slice primary_cluster_addr);

#endif

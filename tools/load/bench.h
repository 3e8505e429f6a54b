/* tools/load/bench.h: what the workloads of `coffer bench` share. */
#ifndef COFFER_LOAD_BENCH_H
#define COFFER_LOAD_BENCH_H

#include <stdint.h>
#include <sys/types.h>

#include "node/format/json.h"
#include "tools/cli/cli.h"
#include "tools/load/conn.h"
#include "tools/load/histogram.h"

#define BENCH_NODES_MAX 16

struct bench {
    struct cli *cli;
    /* flags */
    struct strings addresses, nodes, pid_texts;
    const char *token_text, *mount, *duration, *warmup, *read_address, *read_token, *directory;
    const char *kill_after, *timeout, *connection_texts;
    int64_t count, keys, size, rate;
    bool setup, kill_leader, step_down, terminate, preallocate;
    /* from the flags */
    const char *token;
    struct conn_target targets[BENCH_NODES_MAX]; /* what requests go to */
    unsigned target_count;
    struct conn_target metrics[BENCH_NODES_MAX]; /* whose counters are read */
    unsigned metrics_count;
    struct {
        pid_t pid;
        int target; /* whose server it is, or -1 */
    } servers[BENCH_NODES_MAX];
    unsigned server_count;
    int64_t connections; /* of the run at hand */
    int64_t connection_list[BENCH_NODES_MAX];
    unsigned connection_count;
    int64_t duration_ms, warmup_ms, timeout_ms, kill_after_ms;
    /* one object a run: what -format=json prints, and the rows of the table */
    struct json *results;
};

/* Each runs and adds to bench->results; 0, or the exit code after a complaint. */
int bench_requests(struct bench *bench, const char *workload);
bool bench_is_requests(const char *workload);
int bench_disk(struct bench *bench);
int bench_failover(struct bench *bench);
int bench_lag(struct bench *bench);
int bench_start(struct bench *bench); /* the words after "start" are the server's command */

/* One request, waited for; the HTTP status, or 0 when there was no answer (complaint in err). The
 * body lives until the next call on the connection. */
int bench_call(const struct bench *bench, struct conn *conn, const struct conn_target *target,
               const char *token, const char *method, const char *path, struct cf_slice body,
               struct cf_error *err);
/* Mounts KV of this version at bench->mount unless something is there. */
int bench_mount(const struct bench *bench, const char *mount, int version);
/* Microseconds of a histogram as p50_us, p99_us, max_us. */
void bench_add_latency(struct bench *bench, struct json *to, const struct histogram *histogram);
/* A number with so many decimals. */
void bench_add_number(struct bench *bench, struct json *to, const char *name, double value,
                      int decimals);

#endif

/* tools/load/bench_lag.c: how long after its acknowledgement on one cluster a write can be read on
 * another. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "node/base/arena.h"
#include "node/base/host.h"
#include "node/base/memory.h"
#include "tools/load/bench.h"

#define POLL_NS 500000
#define GIVE_UP_US 30000000u
#define PAUSE_NS 2000000

struct probe {
    struct bench *bench;
    struct conn_target there;
    const char *there_token, *mount;
    struct conn *write, *read;
    struct histogram visible, acknowledged; /* since the acknowledgement; of the write itself */
    uint64_t late, errors;
};

static uint64_t now_us(void)
{
    return cf_monotonic_us(cf_host_clock());
}

static void pause_ns(long ns)
{
    struct timespec wait = {.tv_nsec = ns};
    (void)nanosleep(&wait, NULL);
}

/* Whether the answer holds this value: one text in quotes that nothing else in it has. */
static bool shows(struct conn *conn, const char *value)
{
    struct cf_slice body = conn_body(conn);
    return conn_status(conn) == 200 && memmem(body.data, body.size, value, strlen(value)) != NULL;
}

static cf_status probe_once(struct probe *probe, uint64_t number, struct cf_error *err)
{
    const struct bench *bench = probe->bench;
    char path[256];
    char value[64];
    char body[160];
    (void)snprintf(path, sizeof(path), "/v1/%s/data/lag/%" PRIu64, probe->mount,
                   number % (uint64_t)bench->keys);
    (void)snprintf(value, sizeof(value), "\"lag-%" PRIu64 "-%" PRIu64 "\"", now_us(), number);
    (void)snprintf(body, sizeof(body), "{\"data\":{\"value\":%s}}", value);
    uint64_t sent_us = now_us();
    int status = bench_call(bench, probe->write, &bench->targets[0], bench->token, "POST", path,
                            cf_slice_str(body), err);
    if (status != 200 && status != 204) {
        if (status != 0) {
            (void)cf_fail(err, CF_IO, "write: HTTP %d %.*s", status,
                          (int)cf_min(conn_body(probe->write).size, 120),
                          (const char *)conn_body(probe->write).data);
        }
        return CF_IO;
    }
    uint64_t done_us = now_us();
    histogram_add(&probe->acknowledged, done_us - sent_us);
    for (;;) {
        status = bench_call(bench, probe->read, &probe->there, probe->there_token, "GET", path,
                            CF_SLICE_EMPTY, err);
        if (status != 0 && shows(probe->read, value)) {
            histogram_add(&probe->visible, now_us() - done_us);
            return CF_OK;
        }
        if (now_us() - done_us > GIVE_UP_US) {
            probe->late++;
            return CF_OK;
        }
        pause_ns(POLL_NS);
    }
}

static void report(struct probe *probe)
{
    struct bench *bench = probe->bench;
    struct arena *arena = bench->cli->arena;
    struct json *row = json_object_new(arena);
    json_set_text(arena, row, "workload", "lag");
    json_set_int(arena, row, "operations", (int64_t)probe->visible.count);
    bench_add_latency(bench, row, &probe->visible);
    json_set_int(arena, row, "write_p50_us",
                 (int64_t)histogram_quantile(&probe->acknowledged, 500));
    json_set_int(arena, row, "over_30_s", (int64_t)probe->late);
    json_set_int(arena, row, "errors", (int64_t)probe->errors);
    json_array_add(arena, bench->results, row);
}

static void probe_run(struct probe *probe, struct cf_error *first)
{
    struct bench *bench = probe->bench;
    uint64_t end_us = now_us() + (uint64_t)bench->duration_ms * 1000;
    for (uint64_t i = 0; bench->count > 0 ? i < (uint64_t)bench->count : now_us() < end_us; i++) {
        struct cf_error err = {0};
        if (probe_once(probe, i, &err) != CF_OK && probe->errors++ == 0) {
            *first = err;
        }
        pause_ns(PAUSE_NS); /* a probe, not a load */
    }
}

int bench_lag(struct bench *bench)
{
    struct cf_error err = {0};
    struct probe *probe = cf_new(struct probe);
    int code = CLI_USAGE;
    probe->bench = bench;
    probe->there_token = bench->read_token != NULL ? bench->read_token : bench->token;
    probe->mount = bench->mount != NULL ? bench->mount : "bench-kv2";
    if (bench->read_address == NULL) {
        cli_error(bench->cli, "lag needs -read-address (and -read-token)");
    } else if (conn_target_parse(bench->read_address, &bench->cli->tls, &probe->there, &err) !=
               CF_OK) {
        cli_error(bench->cli, "%s", err.message);
    } else if (!bench->setup || (code = bench_mount(bench, probe->mount, 2)) == CLI_FINE) {
        probe->write = load_conn_new(&bench->targets[0]);
        probe->read = load_conn_new(&probe->there);
        probe_run(probe, &err);
        report(probe);
        code = probe->errors == 0 && probe->late == 0 ? CLI_FINE : CLI_REFUSED;
        if (probe->errors > 0) {
            cli_error(bench->cli, "lag: %" PRIu64 " writes failed; the first: %s", probe->errors,
                      err.message);
        }
    }
    conn_free(probe->write);
    conn_free(probe->read);
    cf_free(probe);
    return code;
}

/* tools/load/bench_failover.c: writes through every node all the time, and tells how long there was
 * no acknowledged write (from a kill of its own, or from the last acknowledgement before any gap),
 * and at the end whether each acknowledged write is still there. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "node/base/host.h"
#include "node/base/memory.h"
#include "node/format/json.h"
#include "tools/load/bench.h"
#include "tools/load/wire.h"

#define TIMEOUT_MS 1000u
#define RETRY_US 10000u
#define OUTAGE_US 300000u
#define KEYS 16u /* of each slot */
#define VERIFY_TRIES 100u
#define OUTAGES_MAX 64u

struct writer {
    uint64_t sequence;    /* the one that is out */
    uint64_t acked[KEYS]; /* newest acknowledged sequence of each key */
    uint64_t not_before_us;
};

struct failover {
    struct bench *bench;
    const char *mount;
    struct writer *writers;
    unsigned writer_count;
    uint64_t start_us, end_us, killed_us, last_ack_us;
    pid_t killed;
    uint64_t outages_us[OUTAGES_MAX];
    unsigned outages;
    bool kill_answered;
    uint64_t acknowledged, errors, lost;
    struct histogram latency;
    struct cf_buf path, body;
};

static uint64_t now_us(void)
{
    return cf_monotonic_us(cf_host_clock());
}

static void make_path(struct failover *f, unsigned slot, uint64_t key)
{
    cf_buf_reset(&f->path);
    cf_buf_addf(&f->path, "/v1/%s/data/failover/%u-%" PRIu64, f->mount, slot, key);
}

static enum wire_next on_next(void *context, struct wire_slot *slot, struct cf_buf *out)
{
    struct failover *f = context;
    struct writer *writer = &f->writers[slot->number];
    if (writer->not_before_us > now_us()) {
        slot->wake_us = writer->not_before_us;
        return WIRE_WAIT;
    }
    writer->sequence++;
    make_path(f, slot->number, writer->sequence % KEYS);
    cf_buf_reset(&f->body);
    cf_buf_addf(&f->body, "{\"data\":{\"value\":%" PRIu64 "}}", writer->sequence);
    conn_write_request(out, slot->target, "POST", cf_buf_slice(&f->path),
                       cf_slice_str(f->bench->token), CF_SLICE_EMPTY, cf_buf_slice(&f->body));
    return WIRE_SEND;
}

static void note_outage(struct failover *f, uint64_t us)
{
    if (f->outages < OUTAGES_MAX) {
        f->outages_us[f->outages++] = us;
    }
}

static void on_answer(void *context, struct wire_slot *slot, int status, struct cf_slice body,
                      uint64_t latency_us)
{
    struct failover *f = context;
    struct writer *writer = &f->writers[slot->number];
    uint64_t now = now_us();
    (void)body;
    if (status != 200 && status != 204) {
        f->errors++;
        writer->not_before_us = now + RETRY_US;
        return;
    }
    f->acknowledged++;
    histogram_add(&f->latency, latency_us);
    writer->acked[writer->sequence % KEYS] = writer->sequence;
    if (f->killed_us != 0 && !f->kill_answered) {
        /* Only a write that was sent after the kill says that writes go on. */
        if (slot->sent_us > f->killed_us) {
            f->kill_answered = true;
            note_outage(f, now - f->killed_us);
        }
    } else if (f->last_ack_us != 0 && now - f->last_ack_us > OUTAGE_US) {
        note_outage(f, now - f->last_ack_us);
    }
    f->last_ack_us = now;
}

static void on_lost(void *context, struct wire_slot *slot, const struct cf_error *err)
{
    struct failover *f = context;
    (void)err;
    f->errors++;
    f->writers[slot->number].not_before_us = now_us() + RETRY_US;
}

/* The server among -servers=ADDRESS=PID that says it leads; with a single one, that. */
static pid_t find_leader(struct failover *f)
{
    const struct bench *bench = f->bench;
    for (unsigned i = 0; i < bench->server_count; i++) {
        int target = bench->servers[i].target;
        if (target < 0) {
            return bench->servers[i].pid;
        }
        CF_OWNED(conn) conn = load_conn_new(&bench->targets[target]);
        CF_OWNED(arena) arena = arena_new(4096);
        struct json *answer = NULL;
        bool leads = false;
        int status = bench_call(bench, conn, &bench->targets[target], "", "GET", "/v1/sys/leader",
                                CF_SLICE_EMPTY, NULL);
        if (status == 200 && json_parse(arena, conn_body(conn), NULL, &answer, NULL) == CF_OK &&
            json_bool(json_get(answer, "is_self"), &leads) && leads) {
            return bench->servers[i].pid;
        }
    }
    return 0;
}

static bool on_tick(void *context, uint64_t now)
{
    struct failover *f = context;
    struct bench *bench = f->bench;
    bool due = now >= f->start_us + (uint64_t)bench->kill_after_ms * 1000;
    if (bench->kill_leader && f->killed_us == 0 && due) {
        f->killed = find_leader(f);
        f->killed_us = now_us();
        if (f->killed <= 1 || kill(f->killed, SIGKILL) != 0) {
            cli_error(bench->cli, "failover: no process to kill: %s",
                      f->killed <= 1 ? "none of -servers leads" : strerror(errno));
            f->killed = 0;
            return false;
        }
    }
    return now < f->end_us;
}

static bool value_is_at_least(struct conn *conn, uint64_t want)
{
    CF_OWNED(arena) arena = arena_new(4096);
    struct json *answer = NULL;
    uint64_t value = 0;
    return json_parse(arena, conn_body(conn), NULL, &answer, NULL) == CF_OK &&
           json_uint64(json_get(json_get(json_get(answer, "data"), "data"), "value"), &value) &&
           value >= want;
}

/* Reads a key at whichever node answers. */
static bool is_there(struct failover *f, struct conn **conns, uint64_t want)
{
    struct bench *bench = f->bench;
    for (unsigned i = 0; i < VERIFY_TRIES; i++) {
        unsigned node = i % bench->target_count;
        int status = bench_call(bench, conns[node], &bench->targets[node], bench->token, "GET",
                                cf_buf_text(&f->path), CF_SLICE_EMPTY, NULL);
        if (status == 200) {
            return value_is_at_least(conns[node], want);
        }
        struct timespec pause = {.tv_nsec = 50000000};
        (void)nanosleep(&pause, NULL);
    }
    return false;
}

static void verify(struct failover *f)
{
    struct conn *conns[BENCH_NODES_MAX];
    for (unsigned i = 0; i < f->bench->target_count; i++) {
        conns[i] = load_conn_new(&f->bench->targets[i]);
    }
    for (unsigned slot = 0; slot < f->writer_count; slot++) {
        for (uint64_t key = 0; key < KEYS; key++) {
            uint64_t want = f->writers[slot].acked[key];
            make_path(f, slot, key);
            f->lost += want != 0 && !is_there(f, conns, want);
        }
    }
    for (unsigned i = 0; i < f->bench->target_count; i++) {
        conn_free(conns[i]);
    }
}

static void report(struct failover *f)
{
    struct bench *bench = f->bench;
    struct arena *arena = bench->cli->arena;
    struct json *row = json_object_new(arena);
    struct json *all = json_array_new(arena);
    uint64_t longest = 0;
    for (unsigned i = 0; i < f->outages; i++) {
        json_array_add(arena, all, json_from_uint(arena, f->outages_us[i] / 1000));
        longest = f->outages_us[i] > longest ? f->outages_us[i] : longest;
    }
    json_set_text(arena, row, "workload", "failover");
    json_set_int(arena, row, "connections", f->writer_count);
    json_set_int(arena, row, "operations", (int64_t)f->acknowledged);
    bench_add_latency(bench, row, &f->latency);
    json_set_int(arena, row, "errors", (int64_t)f->errors);
    json_set_int(arena, row, "killed_pid", f->killed);
    json_set_int(arena, row, "outages", f->outages);
    json_set_int(arena, row, "outage_ms", (int64_t)(longest / 1000));
    json_set_int(arena, row, "lost_writes", (int64_t)f->lost);
    json_set(arena, row, "outages_ms", all);
    json_array_add(arena, bench->results, row);
}

static int run(struct failover *f)
{
    static const struct wire_ops ops = {on_next, on_answer, on_lost, on_tick};
    struct bench *bench = f->bench;
    struct cf_error err = {0};
    struct wire_setup wire = {
        .targets = bench->targets,
        .target_count = bench->target_count,
        .slots = f->writer_count,
        .timeout_ms = bench->timeout_ms > 0 ? (unsigned)bench->timeout_ms : TIMEOUT_MS,
    };
    f->start_us = now_us();
    f->end_us = f->start_us + (uint64_t)bench->duration_ms * 1000;
    if (wire_run(&wire, &ops, f, &err) != CF_OK) {
        return cli_fail(bench->cli, "Error", &err);
    }
    verify(f);
    report(f);
    bool missing_kill = bench->kill_leader && (f->killed == 0 || !f->kill_answered);
    if (missing_kill && f->killed != 0) {
        cli_error(bench->cli,
                  "failover: no write was acknowledged after the kill within -duration");
    }
    return f->lost == 0 && f->acknowledged > 0 && !missing_kill ? CLI_FINE : CLI_REFUSED;
}

int bench_failover(struct bench *bench)
{
    struct failover *f = cf_new(struct failover);
    int code = CLI_FINE;
    f->bench = bench;
    f->mount = bench->mount != NULL ? bench->mount : "bench-kv2";
    f->writer_count = (unsigned)bench->connections;
    if (f->writer_count < bench->target_count) {
        f->writer_count = bench->target_count; /* one at least through every node */
    }
    f->writers = cf_array(f->writer_count, sizeof(struct writer));
    if (bench->kill_leader && bench->server_count == 0) {
        cli_error(bench->cli, "-kill-leader needs -servers=ADDRESS=PID");
        code = CLI_USAGE;
    }
    if (code == CLI_FINE && bench->setup) {
        code = bench_mount(bench, f->mount, 2);
    }
    if (code == CLI_FINE) {
        code = run(f);
    }
    cf_buf_done(&f->path);
    cf_buf_done(&f->body);
    cf_free(f->writers);
    cf_free(f);
    return code;
}

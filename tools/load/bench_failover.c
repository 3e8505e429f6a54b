/* tools/load/bench_failover.c: writes through every node all the time, and tells how long there was
 * no acknowledged write, and at the end whether each acknowledged write is still there. With a kill
 * of its own the outage lasts from the kill to the next acknowledgement of a write that was sent
 * after it. A planned end of leadership (step-down, SIGTERM) has no such moment, since the old
 * leader may go on for a while: there it is the longest time without any acknowledgement within
 * PLANNED_US. A write that fails is sent once more, to the next node; what fails again is counted,
 * as a client that retries once would see it. */
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
#define PLANNED_US 3000000u /* as long as a hand-over may show */

struct writer {
    uint64_t sequence;    /* the one that is out */
    uint64_t acked[KEYS]; /* newest acknowledged sequence of each key */
    uint64_t not_before_us;
    bool again; /* the one that failed goes out once more */
};

struct failover {
    struct bench *bench;
    const char *mount;
    struct writer *writers;
    unsigned writer_count;
    uint64_t start_us, end_us, killed_us, last_ack_us;
    uint64_t planned_gap_us; /* the longest since killed_us */
    pid_t killed;
    int leader; /* index of the target that was told to step down */
    bool told;
    uint64_t outages_us[OUTAGES_MAX];
    unsigned outages;
    bool kill_answered;
    uint64_t acknowledged, errors, failed_again, lost;
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

static bool is_planned(const struct failover *f)
{
    return f->bench->step_down || f->bench->terminate;
}

/* The slot behind the writers' carries the one step-down. */
static enum wire_next next_of_operator(struct failover *f, struct wire_slot *slot,
                                       struct cf_buf *out)
{
    if (f->killed_us == 0 || f->told || f->leader < 0) {
        slot->wake_us = now_us() + RETRY_US;
        return WIRE_WAIT;
    }
    if (slot->target != &f->bench->targets[f->leader]) {
        slot->target = &f->bench->targets[f->leader];
        slot->wake_us = 0; /* at once, on a connection there */
        return WIRE_WAIT;
    }
    f->told = true;
    conn_write_request(out, slot->target, "PUT", CF_SLICE("/v1/sys/step-down"),
                       cf_slice_str(f->bench->token), CF_SLICE_EMPTY, CF_SLICE_EMPTY);
    return WIRE_SEND;
}

static enum wire_next on_next(void *context, struct wire_slot *slot, struct cf_buf *out)
{
    struct failover *f = context;
    if (slot->number == f->writer_count) {
        return next_of_operator(f, slot, out);
    }
    struct writer *writer = &f->writers[slot->number];
    if (writer->not_before_us > now_us()) {
        slot->wake_us = writer->not_before_us;
        return WIRE_WAIT;
    }
    writer->sequence += writer->again ? 0 : 1;
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

/* Once more, at the next node; what fails then has failed. */
static void on_failure(struct failover *f, struct wire_slot *slot)
{
    struct writer *writer = &f->writers[slot->number];
    size_t target = (size_t)(slot->target - f->bench->targets);
    f->errors++;
    f->failed_again += writer->again ? 1 : 0;
    writer->again = !writer->again;
    writer->not_before_us = now_us() + RETRY_US;
    slot->target = &f->bench->targets[(target + 1) % f->bench->target_count];
}

static void note_gap(struct failover *f, uint64_t sent_us, uint64_t now)
{
    uint64_t gap = f->last_ack_us != 0 ? now - f->last_ack_us : 0;
    if (is_planned(f) && f->killed_us != 0 && now <= f->killed_us + PLANNED_US) {
        f->planned_gap_us = gap > f->planned_gap_us ? gap : f->planned_gap_us;
        f->kill_answered = f->kill_answered || sent_us > f->killed_us;
    } else if (f->killed_us != 0 && !f->kill_answered) {
        /* Only a write that was sent after the kill says that writes go on. */
        if (sent_us > f->killed_us) {
            f->kill_answered = true;
            note_outage(f, now - f->killed_us);
        }
    } else if (gap > OUTAGE_US) {
        note_outage(f, gap);
    }
}

static void on_answer(void *context, struct wire_slot *slot, int status, struct cf_slice body,
                      uint64_t latency_us)
{
    struct failover *f = context;
    struct writer *writer = &f->writers[slot->number];
    uint64_t now = now_us();
    (void)body;
    if (slot->number == f->writer_count) {
        f->killed = status == 204 ? f->killed : 0;
        return;
    }
    if (status != 200 && status != 204) {
        on_failure(f, slot);
        return;
    }
    f->acknowledged++;
    histogram_add(&f->latency, latency_us);
    writer->acked[writer->sequence % KEYS] = writer->sequence;
    writer->again = false;
    note_gap(f, slot->sent_us, now);
    f->last_ack_us = now;
}

static void on_lost(void *context, struct wire_slot *slot, const struct cf_error *err)
{
    struct failover *f = context;
    (void)err;
    if (slot->number == f->writer_count) {
        return; /* a leader that leaves may cut the operator off */
    }
    on_failure(f, slot);
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
            f->leader = target;
            return bench->servers[i].pid;
        }
    }
    return 0;
}

static bool wants_end(const struct bench *bench)
{
    return bench->kill_leader || bench->step_down || bench->terminate;
}

/* Ends the leadership, the way that was asked for. */
static bool end_leader(struct failover *f)
{
    const struct bench *bench = f->bench;
    f->killed = find_leader(f);
    f->killed_us = now_us();
    int sig = bench->step_down ? 0 : bench->terminate ? SIGTERM : SIGKILL;
    if (f->killed <= 1 || kill(f->killed, sig) != 0) {
        cli_error(bench->cli, "failover: no leader to end: %s",
                  f->killed <= 1 ? "none of -servers leads" : strerror(errno));
        f->killed = 0;
        return false;
    }
    return true;
}

static bool on_tick(void *context, uint64_t now)
{
    struct failover *f = context;
    bool due = now >= f->start_us + (uint64_t)f->bench->kill_after_ms * 1000;
    if (wants_end(f->bench) && f->killed_us == 0 && due && !end_leader(f)) {
        return false;
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
    if (is_planned(f)) {
        note_outage(f, f->planned_gap_us);
    }
    for (unsigned i = 0; i < f->outages; i++) {
        json_array_add(arena, all, json_from_uint(arena, f->outages_us[i] / 1000));
        longest = f->outages_us[i] > longest ? f->outages_us[i] : longest;
    }
    json_set_text(arena, row, "workload", "failover");
    json_set_int(arena, row, "connections", f->writer_count);
    json_set_int(arena, row, "operations", (int64_t)f->acknowledged);
    bench_add_latency(bench, row, &f->latency);
    json_set_int(arena, row, "errors", (int64_t)f->errors);
    json_set_int(arena, row, "failed_after_retry", (int64_t)f->failed_again);
    json_set_int(arena, row, bench->step_down ? "stepped_down_pid" : "killed_pid", f->killed);
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
        .slots = f->writer_count + (bench->step_down ? 1 : 0),
        .timeout_ms = bench->timeout_ms > 0 ? (unsigned)bench->timeout_ms : TIMEOUT_MS,
    };
    f->start_us = now_us();
    f->end_us = f->start_us + (uint64_t)bench->duration_ms * 1000;
    if (wire_run(&wire, &ops, f, &err) != CF_OK) {
        return cli_fail(bench->cli, "Error", &err);
    }
    verify(f);
    report(f);
    bool missing_kill = wants_end(bench) && (f->killed == 0 || !f->kill_answered);
    if (missing_kill && f->killed != 0) {
        cli_error(bench->cli,
                  "failover: no write was acknowledged after the end of the leader within -duration");
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
    f->leader = -1;
    if (wants_end(bench) && bench->server_count == 0) {
        cli_error(bench->cli, "-kill-leader, -terminate and -step-down need -servers=ADDRESS=PID");
        code = CLI_USAGE;
    }
    if (bench->kill_leader + bench->step_down + bench->terminate > 1) {
        cli_error(bench->cli, "one of -kill-leader, -terminate and -step-down at a time");
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

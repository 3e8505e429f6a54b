/* tools/load/bench_requests.c: the workloads that are one kind of request, over and over. */
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>

#include "node/base/host.h"
#include "node/base/memory.h"
#include "tools/load/bench.h"
#include "tools/load/usage.h"
#include "tools/load/wire.h"

#define TIMEOUT_MS 30000u
#define FILLER_STEP 64u
#define FILLER_STEPS 64u

struct workload {
    const char *name;
    const char *method;
    const char *path; /* %m the mount, %k the number of a key */
    int kv;           /* version of the mount that it needs, or 0 */
    bool writes;
};

static const struct workload workloads[] = {
    {"health", "GET", "/v1/sys/health", 0, false},
    {"kv2-read", "GET", "/v1/%m/data/bench/%k", 2, false},
    {"kv2-write", "POST", "/v1/%m/data/bench/%k", 2, true},
    {"kv1-read", "GET", "/v1/%m/bench/%k", 1, false},
    {"kv1-write", "POST", "/v1/%m/bench/%k", 1, true},
    {"token-lookup", "GET", "/v1/auth/token/lookup-self", 0, false},
    {"list", "GET", "/v1/%m/metadata/bench?list=true", 2, false},
};

struct run {
    struct bench *bench;
    const struct workload *workload;
    const char *mount;
    char *filler; /* random text that values are cut from */
    struct cf_prng prng;
    struct cf_buf path, body;
    struct histogram latency;
    uint64_t sent, sent_max, errors;
    uint64_t start_us, measure_us, end_us; /* measure_us 0: still warming up */
    uint64_t warmup_us, duration_us;
    bool sequential; /* set-up: each key once */
    char first_error[256];
    /* accounting at the begin and the end of measuring */
    uint64_t cpu_ns[2][BENCH_NODES_MAX];
    uint64_t own_cpu_us[2];
    struct usage_counters counters[2][BENCH_NODES_MAX];
};

static uint64_t now_us(void)
{
    return cf_monotonic_us(cf_host_clock());
}

static uint64_t own_cpu_us(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void account(struct run *run, int which)
{
    const struct bench *bench = run->bench;
    for (unsigned i = 0; i < bench->metrics_count; i++) {
        usage_ask(&bench->metrics[i], bench->token, &run->counters[which][i]);
    }
    for (unsigned i = 0; i < bench->server_count; i++) {
        if (!usage_cpu_ns(bench->servers[i].pid, &run->cpu_ns[which][i])) {
            run->cpu_ns[which][i] = 0;
        }
    }
    run->own_cpu_us[which] = own_cpu_us();
}

static void make_path(struct run *run, uint64_t key)
{
    cf_buf_reset(&run->path);
    for (const char *at = run->workload->path; *at != '\0'; at++) {
        if (at[0] == '%' && at[1] == 'm') {
            cf_buf_add_str(&run->path, run->mount);
            at++;
        } else if (at[0] == '%' && at[1] == 'k') {
            cf_buf_addf(&run->path, "%06" PRIu64, key);
            at++;
        } else {
            cf_buf_add_byte(&run->path, (uint8_t)*at);
        }
    }
}

static void make_body(struct run *run)
{
    cf_buf_reset(&run->body);
    if (run->workload->writes) {
        const char *value = run->filler + run->sent % FILLER_STEPS * FILLER_STEP;
        cf_buf_add_str(&run->body,
                       run->workload->kv == 2 ? "{\"data\":{\"value\":\"" : "{\"value\":\"");
        cf_buf_add(&run->body, value, (size_t)run->bench->size);
        cf_buf_add_str(&run->body, run->workload->kv == 2 ? "\"}}" : "\"}");
    }
}

static enum wire_next on_next(void *context, struct wire_slot *slot, struct cf_buf *out)
{
    struct run *run = context;
    if (run->sent_max > 0 && run->sent == run->sent_max) {
        return WIRE_STOP;
    }
    if (run->bench->rate > 0 && !run->sequential) {
        /* When the next one is due by the clock, so that a pause is made up for. */
        uint64_t due_us = run->start_us + run->sent * 1000000 / (uint64_t)run->bench->rate;
        if (due_us > now_us()) {
            slot->wake_us = due_us;
            return WIRE_WAIT;
        }
    }
    uint64_t keys = (uint64_t)run->bench->keys;
    make_path(run, run->sequential ? run->sent % keys : cf_prng_below(&run->prng, keys));
    make_body(run);
    conn_write_request(out, slot->target, run->workload->method, cf_buf_slice(&run->path),
                       cf_slice_str(run->bench->token), CF_SLICE_EMPTY, cf_buf_slice(&run->body));
    run->sent++;
    return WIRE_SEND;
}

static void note_error(struct run *run, const char *what, struct cf_slice text)
{
    if (run->errors++ == 0) {
        (void)snprintf(run->first_error, sizeof(run->first_error), "%s %.*s", what,
                       (int)cf_min(text.size, 200), (const char *)text.data);
    }
}

static void on_answer(void *context, struct wire_slot *slot, int status, struct cf_slice body,
                      uint64_t latency_us)
{
    struct run *run = context;
    bool health = run->workload->kv == 0 && (status == 429 || status == 473);
    if (status >= 300 && !health) {
        char what[24];
        (void)snprintf(what, sizeof(what), "HTTP %d", status);
        note_error(run, what, body);
    } else if (run->measure_us != 0 && slot->sent_us >= run->measure_us) {
        histogram_add(&run->latency, latency_us);
    }
}

static void on_lost(void *context, struct wire_slot *slot, const struct cf_error *err)
{
    (void)slot;
    note_error(context, "no answer:", cf_slice_str(err->message));
}

static bool on_tick(void *context, uint64_t now)
{
    struct run *run = context;
    if (run->sent_max > 0) {
        return true;
    }
    if (run->measure_us == 0 && now >= run->start_us + run->warmup_us) {
        account(run, 0);
        run->measure_us = now_us();
    } else if (run->measure_us != 0 && now >= run->measure_us + run->duration_us) {
        run->end_us = now_us();
        account(run, 1);
        return false;
    }
    return true;
}

static cf_status drive(struct run *run, unsigned connections, struct cf_error *err)
{
    static const struct wire_ops ops = {on_next, on_answer, on_lost, on_tick};
    const struct bench *bench = run->bench;
    struct wire_setup wire = {
        .targets = bench->targets,
        .target_count = bench->target_count,
        .slots = connections,
        .timeout_ms = bench->timeout_ms > 0 ? (unsigned)bench->timeout_ms : TIMEOUT_MS,
    };
    run->start_us = now_us();
    if (run->sent_max > 0) {
        account(run, 0);
        run->measure_us = run->start_us = now_us();
    }
    CF_TRY(wire_run(&wire, &ops, run, err));
    if (run->sent_max > 0) {
        run->end_us = now_us();
        account(run, 1);
    }
    return CF_OK;
}

/* CPU of all servers, and of each, for one operation. */
static void add_cpu(struct run *run, struct json *row, double operations)
{
    struct bench *bench = run->bench;
    struct json *each = json_array_new(bench->cli->arena);
    double total = 0;
    uint64_t memory_max = 0;
    for (unsigned i = 0; i < bench->server_count; i++) {
        struct json *server = json_object_new(bench->cli->arena);
        double us = (double)(run->cpu_ns[1][i] - run->cpu_ns[0][i]) / 1000;
        uint64_t memory = 0;
        (void)usage_memory(bench->servers[i].pid, &memory);
        memory_max = memory > memory_max ? memory : memory_max;
        total += us;
        json_set_int(bench->cli->arena, server, "pid", bench->servers[i].pid);
        bench_add_number(bench, server, "cpu_us_per_op", operations > 0 ? us / operations : 0, 1);
        bench_add_number(bench, server, "memory_mb", (double)memory / 1048576, 1);
        json_array_add(bench->cli->arena, each, server);
    }
    if (bench->server_count > 0) {
        bench_add_number(bench, row, "cpu_us_per_op", operations > 0 ? total / operations : 0, 1);
        bench_add_number(bench, row, "memory_mb", (double)memory_max / 1048576, 1);
        json_set(bench->cli->arena, row, "servers", each);
    }
}

/* For one operation: fsyncs of the node that syncs most, and the log entries of all. */
static void add_counters(struct run *run, struct json *row, double operations)
{
    struct bench *bench = run->bench;
    double syncs = -1;
    double entries = -1;
    struct json *each = json_array_new(bench->cli->arena);
    for (unsigned i = 0; i < bench->metrics_count; i++) {
        const struct usage_counters *from = &run->counters[0][i];
        const struct usage_counters *to = &run->counters[1][i];
        struct json *node = json_object_new(bench->cli->arena);
        json_set_text(bench->cli->arena, node, "address", bench->metrics[i].address);
        if (from->has_syncs && to->has_syncs && operations > 0) {
            double value = (to->syncs - from->syncs) / operations;
            syncs = value > syncs ? value : syncs;
            bench_add_number(bench, node, "fsyncs_per_op", value, 3);
        }
        if (from->has_entries && to->has_entries && operations > 0) {
            double value = (to->entries - from->entries) / operations;
            entries = entries < 0 ? value : entries + value; /* each counts its own requests' */
            bench_add_number(bench, node, "entries_per_op", value, 3);
        }
        json_array_add(bench->cli->arena, each, node);
    }
    if (syncs >= 0) {
        bench_add_number(bench, row, "fsyncs_per_op", syncs, 3);
    }
    if (entries >= 0) {
        bench_add_number(bench, row, "entries_per_op", entries, 3);
    }
    if (syncs >= 0 || entries >= 0) {
        json_set(bench->cli->arena, row, "nodes", each);
    }
}

static void report(struct run *run)
{
    struct bench *bench = run->bench;
    struct json *row = json_object_new(bench->cli->arena);
    double seconds = (double)(run->end_us - run->measure_us) / 1e6;
    double operations = (double)run->latency.count;
    json_set_text(bench->cli->arena, row, "workload", run->workload->name);
    json_set_int(bench->cli->arena, row, "connections", bench->connections);
    json_set_int(bench->cli->arena, row, "operations", (int64_t)run->latency.count);
    bench_add_number(bench, row, "per_second", seconds > 0 ? operations / seconds : 0, 0);
    bench_add_latency(bench, row, &run->latency);
    json_set_int(bench->cli->arena, row, "errors", (int64_t)run->errors);
    add_cpu(run, row, operations);
    add_counters(run, row, operations);
    bench_add_number(
        bench, row, "client_us_per_op",
        operations > 0 ? (double)(run->own_cpu_us[1] - run->own_cpu_us[0]) / operations : 0, 1);
    json_array_add(bench->cli->arena, bench->results, row);
    if (run->errors > 0) {
        cli_error(bench->cli, "%s: %" PRIu64 " requests failed; the first: %s", run->workload->name,
                  run->errors, run->first_error);
    }
}

static void run_init(struct run *run, struct bench *bench, const struct workload *workload)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    size_t size = (size_t)bench->size + (size_t)FILLER_STEP * FILLER_STEPS;
    run->bench = bench;
    run->workload = workload;
    run->mount = bench->mount != NULL ? bench->mount
                 : workload->kv == 1  ? "bench-kv1"
                                      : "bench-kv2";
    run->filler = cf_alloc(size);
    cf_prng_seed(&run->prng, 1);
    for (size_t i = 0; i < size; i++) {
        run->filler[i] = letters[cf_prng_below(&run->prng, 64)];
    }
    run->warmup_us = (uint64_t)bench->warmup_ms * 1000;
    run->duration_us = (uint64_t)bench->duration_ms * 1000;
}

static void run_done(struct run *run)
{
    cf_buf_done(&run->path);
    cf_buf_done(&run->body);
    cf_free(run->filler);
    cf_free(run);
}

static int set_up(struct bench *bench, const struct workload *workload)
{
    struct cf_error err = {0};
    struct run *run = cf_new(struct run);
    /* The writing workload of the same mount fills it. */
    run_init(run, bench, workload->kv == 1 ? &workloads[4] : &workloads[2]);
    int code = bench_mount(bench, run->mount, workload->kv);
    if (code == CLI_FINE) {
        run->sequential = true;
        run->sent_max = (uint64_t)bench->keys;
        cf_status status = drive(run, 64, &err);
        if (status != CF_OK || run->errors > 0) {
            cli_error(bench->cli, "Error making the secrets: %s",
                      status != CF_OK ? err.message : run->first_error);
            code = CLI_REFUSED;
        }
    }
    run_done(run);
    return code;
}

static const struct workload *find(const char *name)
{
    for (size_t i = 0; i < CF_LENGTH(workloads); i++) {
        if (strcmp(workloads[i].name, name) == 0) {
            return &workloads[i];
        }
    }
    return NULL;
}

bool bench_is_requests(const char *workload)
{
    return find(workload) != NULL;
}

int bench_requests(struct bench *bench, const char *name)
{
    const struct workload *workload = find(name);
    struct cf_error err = {0};
    if (bench->setup && workload->kv != 0) {
        int code = set_up(bench, workload);
        if (code != CLI_FINE) {
            return code;
        }
    }
    struct run *run = cf_new(struct run);
    run_init(run, bench, workload);
    run->sent_max = (uint64_t)bench->count;
    int code = CLI_FINE;
    if (drive(run, (unsigned)bench->connections, &err) != CF_OK) {
        code = cli_fail(bench->cli, "Error", &err);
    } else {
        report(run);
        code = run->latency.count > 0 && run->errors == 0 ? CLI_FINE : CLI_REFUSED;
    }
    run_done(run);
    return code;
}

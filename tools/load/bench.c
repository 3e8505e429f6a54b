/* tools/load/bench.c: coffer bench: flags, set-up, and the report. */
#include <stdlib.h>
#include <string.h>

#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/cli/render.h"
#include "tools/cli/session.h"
#include "tools/commands.h"
#include "tools/load/bench.h"
#include "tools/load/wire.h"

#define CALL_TIMEOUT_MS 30000

static const char help_text[] =
    "\nWorkloads (several may be named):\n\n"
    "  health          GET sys/health\n"
    "  kv2-read        reads one of -keys secrets of KV v2\n"
    "  kv2-write       writes one of -keys secrets of KV v2\n"
    "  kv1-read        the same with KV v1\n"
    "  kv1-write\n"
    "  token-lookup    GET auth/token/lookup-self\n"
    "  list            lists -keys names of KV v2\n"
    "  disk            appends -size bytes and syncs, in -dir: the disk's own limit\n"
    "  failover        writes all the time; the time from an outage to the next write\n"
    "  lag             writes at -address, polls -read-address until the value is there\n"
    "  start           -- COMMAND...: starts a server, waits for its first answer, ends it\n";

int bench_call(const struct bench *bench, struct conn *conn, const struct conn_target *target,
               const char *token, const char *method, const char *path, struct cf_slice body,
               struct cf_error *err)
{
    int timeout_ms = bench->timeout_ms > 0 ? (int)bench->timeout_ms : CALL_TIMEOUT_MS;
    load_conn_finish(conn);
    conn_write_request(conn_request(conn), target, method, cf_slice_str(path), cf_slice_str(token),
                       CF_SLICE_EMPTY, body);
    return conn_call(conn, timeout_ms, err) == CF_OK ? conn_status(conn) : 0;
}

int bench_mount(const struct bench *bench, const char *mount, int version)
{
    struct cli *cli = bench->cli;
    CF_OWNED(conn) conn = load_conn_new(&bench->targets[0]);
    struct cf_error err = {0};
    const char *path = arena_printf(cli->arena, "/v1/sys/mounts/%s", mount);
    const char *body =
        arena_printf(cli->arena, "{\"type\":\"kv\",\"options\":{\"version\":\"%d\"}}", version);
    int status = bench_call(bench, conn, &bench->targets[0], bench->token, "GET", path,
                            CF_SLICE_EMPTY, &err);
    if (status != 200) {
        status = bench_call(bench, conn, &bench->targets[0], bench->token, "POST", path,
                            cf_slice_str(body), &err);
    }
    if (status != 200 && status != 204) {
        cli_error(cli, "Error mounting %s: HTTP %d %.*s%s", mount, status, CF_SHOW(conn_body(conn)),
                  status == 0 ? err.message : "");
        return CLI_REFUSED;
    }
    return CLI_FINE;
}

void bench_add_number(struct bench *bench, struct json *to, const char *name, double value,
                      int decimals)
{
    const char *text = arena_printf(bench->cli->arena, "%.*f", decimals, value);
    json_set(bench->cli->arena, to, name, json_from_number(bench->cli->arena, cf_slice_str(text)));
}

void bench_add_latency(struct bench *bench, struct json *to, const struct histogram *histogram)
{
    json_set_int(bench->cli->arena, to, "p50_us", (int64_t)histogram_quantile(histogram, 500));
    json_set_int(bench->cli->arena, to, "p99_us", (int64_t)histogram_quantile(histogram, 990));
    json_set_int(bench->cli->arena, to, "max_us", (int64_t)histogram->max_us);
}

static bool add_target(struct cli *cli, const char *address, struct conn_target *list,
                       unsigned *count)
{
    struct cf_error err = {0};
    if (*count == BENCH_NODES_MAX) {
        cli_error(cli, "At most %d servers", BENCH_NODES_MAX);
        return false;
    }
    if (conn_target_parse(address, &cli->tls, &list[*count], &err) != CF_OK) {
        cli_error(cli, "%s", err.message);
        return false;
    }
    *count += 1;
    return true;
}

static int find_target(const struct bench *bench, const char *address, size_t size)
{
    for (unsigned i = 0; i < bench->target_count; i++) {
        const char *have = bench->targets[i].address;
        if (strlen(have) == size && memcmp(have, address, size) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* "1,2", or "http://address=1" to say whose server it is. */
static bool add_servers(struct bench *bench, const char *text)
{
    while (*text != '\0') {
        size_t size = strcspn(text, ",");
        const char *equals = memrchr(text, '=', size);
        const char *number = equals != NULL ? equals + 1 : text;
        char *end = NULL;
        long pid = strtol(number, &end, 10);
        if (end == number || end != text + size || pid <= 1 ||
            bench->server_count == BENCH_NODES_MAX) {
            cli_error(bench->cli, "\"%s\" is no list of process ids", text);
            return false;
        }
        bench->servers[bench->server_count].pid = (pid_t)pid;
        bench->servers[bench->server_count].target =
            equals != NULL ? find_target(bench, text, (size_t)(equals - text)) : -1;
        bench->server_count++;
        text += size;
        text += *text == ',' ? 1 : 0;
    }
    return true;
}

/* "8", or "1,8,64" for one run after another. */
static bool take_connections(struct bench *bench)
{
    const char *text = bench->connection_texts;
    while (*text != '\0' && bench->connection_count < BENCH_NODES_MAX) {
        char *end = NULL;
        long number = strtol(text, &end, 10);
        if (end == text || (*end != ',' && *end != '\0') || number < 1 ||
            number > (long)WIRE_SLOTS_MAX) {
            break;
        }
        bench->connection_list[bench->connection_count++] = number;
        text = *end == ',' ? end + 1 : end;
    }
    if (*text != '\0' || bench->connection_count == 0) {
        cli_error(bench->cli, "-connections is a number from 1 to %u, or several with commas",
                  WIRE_SLOTS_MAX);
        return false;
    }
    bench->connections = bench->connection_list[0];
    return true;
}

static bool take_durations(struct bench *bench)
{
    const struct {
        const char *text;
        int64_t *to;
    } all[] = {{bench->duration, &bench->duration_ms},
               {bench->warmup, &bench->warmup_ms},
               {bench->timeout, &bench->timeout_ms},
               {bench->kill_after, &bench->kill_after_ms}};
    for (size_t i = 0; i < CF_LENGTH(all); i++) {
        if (all[i].text != NULL && !flags_parse_duration(all[i].text, all[i].to)) {
            cli_error(bench->cli, "\"%s\" is no duration", all[i].text);
            return false;
        }
    }
    return true;
}

static bool take_flags(struct bench *bench)
{
    struct cli *cli = bench->cli;
    if (bench->addresses.count == 0) {
        strings_add(cli->arena, &bench->addresses, cli->address);
    }
    for (size_t i = 0; i < bench->addresses.count; i++) {
        if (!add_target(cli, bench->addresses.at[i], bench->targets, &bench->target_count)) {
            return false;
        }
    }
    const struct strings *nodes = bench->nodes.count > 0 ? &bench->nodes : &bench->addresses;
    for (size_t i = 0; i < nodes->count; i++) {
        if (!add_target(cli, nodes->at[i], bench->metrics, &bench->metrics_count)) {
            return false;
        }
    }
    for (size_t i = 0; i < bench->pid_texts.count; i++) {
        if (!add_servers(bench, bench->pid_texts.at[i])) {
            return false;
        }
    }
    if (bench->keys < 1 || bench->size < 1 || bench->size > 16 * 1024 * 1024 || bench->count < 0 ||
        bench->rate < 0) {
        cli_error(cli, "-keys is at least 1, -size 1 to 16777216 bytes, -count and -rate not negative");
        return false;
    }
    if (!take_connections(bench)) {
        return false;
    }
    bench->token = bench->token_text != NULL ? bench->token_text : session_token(cli);
    return take_durations(bench);
}

/* A row for each run: the columns are the fields that any of them has. */
static void print_table(struct bench *bench)
{
    struct table table;
    struct json *columns = json_object_new(bench->cli->arena);
    table_init(&table, bench->cli->arena);
    for (uint32_t i = 0; i < bench->results->count; i++) {
        const struct json *row = bench->results->items[i];
        for (uint32_t j = 0; j < row->count && columns->count < TABLE_COLUMNS_MAX; j++) {
            if (!json_is(row->members[j].value, JSON_ARRAY)) {
                json_object_set(bench->cli->arena, columns, row->members[j].key, json_null());
            }
        }
    }
    table_row(&table);
    for (uint32_t j = 0; j < columns->count; j++) {
        table_cell(&table, columns->members[j].key);
    }
    for (uint32_t i = 0; i < bench->results->count; i++) {
        table_row(&table);
        for (uint32_t j = 0; j < columns->count; j++) {
            CF_BUF(text) = {0};
            const struct json *value =
                json_get_slice(bench->results->items[i], columns->members[j].key);
            if (value != NULL) {
                render_value(&text, value);
            }
            table_cell(&table, value != NULL ? cf_buf_slice(&text) : CF_SLICE("-"));
        }
    }
    table_print(&table, true, bench->cli->out);
}

static int run(struct bench *bench, const char *workload)
{
    if (bench_is_requests(workload)) {
        bool setup = bench->setup;
        int code = CLI_FINE;
        for (unsigned i = 0; i < bench->connection_count && code == CLI_FINE; i++) {
            bench->connections = bench->connection_list[i];
            code = bench_requests(bench, workload);
            bench->setup = false; /* once for all runs of a workload */
        }
        bench->setup = setup;
        return code;
    }
    if (strcmp(workload, "disk") == 0) {
        return bench_disk(bench);
    }
    if (strcmp(workload, "failover") == 0) {
        return bench_failover(bench);
    }
    if (strcmp(workload, "lag") == 0) {
        return bench_lag(bench);
    }
    cli_error(bench->cli, "Unknown workload: %s (see coffer bench -help)", workload);
    return CLI_USAGE;
}

int command_bench(struct cli *cli, char *const *argv)
{
    struct bench b = {.cli = cli,
                      .connection_texts = "8",
                      .keys = 1000,
                      .size = 100,
                      .duration_ms = 5000,
                      .warmup_ms = 500,
                      .kill_after_ms = 1000,
                      .directory = "."};
    const struct flag flags[] = {
        {"address", FLAG_LIST, &b.addresses, NULL, "Server; repeatable: connections take turns."},
        {"token", FLAG_STRING, &b.token_text, NULL, "Token."},
        {"connections", FLAG_STRING, &b.connection_texts, NULL,
         "Connections (8), or several: 1,8,64."},
        {"duration", FLAG_SECONDS, &b.duration, NULL, "How long to measure (5s)."},
        {"warmup", FLAG_SECONDS, &b.warmup, NULL, "How long to run before (500ms)."},
        {"count", FLAG_INT, &b.count, NULL, "So many requests, instead of a time."},
        {"rate", FLAG_INT, &b.rate, NULL, "Requests a second at most, over all connections."},
        {"keys", FLAG_INT, &b.keys, NULL, "Different secrets (1000)."},
        {"size", FLAG_INT, &b.size, NULL, "Bytes of a value (100)."},
        {"mount", FLAG_STRING, &b.mount, NULL, "KV mount (bench-kv2 or bench-kv1)."},
        {"setup", FLAG_BOOL, &b.setup, NULL, "Make the mount and the secrets first."},
        {"pid", FLAG_LIST, &b.pid_texts, NULL, "Server process to account for; repeatable."},
        {"servers", FLAG_LIST, &b.pid_texts, NULL, "PID,PID,... or ADDRESS=PID; repeatable."},
        {"node", FLAG_LIST, &b.nodes, NULL, "Node whose sys/metrics to read (-address)."},
        {"timeout", FLAG_SECONDS, &b.timeout, NULL, "Of one request."},
        {"dir", FLAG_STRING, &b.directory, NULL, "disk: where to write."},
        {"preallocate", FLAG_BOOL, &b.preallocate, NULL, "disk: the file has its size before."},
        {"kill-leader", FLAG_BOOL, &b.kill_leader, NULL,
         "failover: kill -9 the leader among -servers=ADDRESS=PID."},
        {"terminate", FLAG_BOOL, &b.terminate, NULL,
         "failover: end the leader among -servers with SIGTERM."},
        {"step-down", FLAG_BOOL, &b.step_down, NULL, "failover: ask the leader to step down."},
        {"kill-pid", FLAG_LIST, &b.pid_texts, &b.kill_leader, "failover: kill -9 this process."},
        {"kill-after", FLAG_SECONDS, &b.kill_after, NULL, "failover: when (1s)."},
        {"read-address", FLAG_STRING, &b.read_address, NULL, "lag: where to look."},
        {"read-token", FLAG_STRING, &b.read_token, NULL, "lag: token for there."},
    };
    int code =
        cli_parse(cli, flags, CF_LENGTH(flags), CLI_SERVER | CLI_FORMAT | CLI_ANYWHERE, argv);
    if (code == CLI_FINE) {
        (void)fputs(help_text, cli->out);
    }
    if (code != CLI_GO) {
        return code;
    }
    if (!cli_want(cli, 1, SIZE_MAX, NULL) || !take_flags(&b)) {
        return CLI_USAGE;
    }
    b.results = json_array_new(cli->arena);
    bool starts = strcmp(cli_arg(cli, 0), "start") == 0;
    if (starts) {
        code = bench_start(&b);
        code = code == CLI_FINE ? CLI_GO : code;
    }
    for (size_t i = 0; !starts && i < cli->args.count && code == CLI_GO; i++) {
        int one = run(&b, cli_arg(cli, i));
        code = one == CLI_FINE ? CLI_GO : one;
    }
    if (b.results->count > 0 && !output_machine(cli, b.results)) {
        print_table(&b);
    }
    return code == CLI_GO ? CLI_FINE : code;
}

/* tools/commands/replication.c: replication status and watch: role, state and lag in entries, bytes
 * and seconds, of one cluster or of several side by side. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/cli/render.h"
#include "tools/cli/term.h"
#include "tools/commands.h"
#include "tools/commands/replication.h"

#define BAR 20

static const char *const kinds[] = {"performance", "dr"};

static bool number(const struct json *object, const char *name, int64_t *ret)
{
    const struct json *value = json_get(object, name);
    struct cf_slice text = CF_SLICE_EMPTY;
    if (json_int64(value, ret)) {
        return true;
    }
    /* Some figures travel as decimal strings. */
    if (json_string(value, &text) && text.size > 0 && text.size < 20) {
        char digits[24] = {0};
        char *end = NULL;
        memcpy(digits, text.data, text.size);
        long long parsed = strtoll(digits, &end, 10);
        if (*end == '\0') {
            *ret = parsed;
            return true;
        }
    }
    return false;
}

/* A cell for a figure that may be absent. */
static void cell_number(struct table *table, bool known, int64_t value)
{
    if (known) {
        table_cellf(table, "%" PRId64, value);
    } else {
        table_cell(table, CF_SLICE("-"));
    }
}

static void cell_text(struct table *table, struct cf_slice text)
{
    table_cell(table, text.size > 0 ? text : CF_SLICE("-"));
}

struct lag {
    int64_t entries, bytes, ms;
    bool has_entries, has_bytes, has_ms;
};

/* coffer says it outright; otherwise the newest index of the primary that we know of, less the one
 * that the secondary has, and the age of the newest canary. */
static struct lag lag_of(const struct json *entry, const struct json *side, int64_t primary_wal,
                         bool has_primary_wal)
{
    struct lag lag = {0};
    int64_t have = 0;
    lag.has_entries = number(entry, "lag_entries", &lag.entries);
    lag.has_bytes = number(entry, "lag_bytes", &lag.bytes);
    lag.has_ms = number(entry, "lag_ms", &lag.ms) ||
                 number(entry, "replication_primary_canary_age_ms", &lag.ms);
    if (!lag.has_entries && has_primary_wal && number(side, "last_remote_wal", &have)) {
        lag.entries = primary_wal > have ? primary_wal - have : 0;
        lag.has_entries = true;
    }
    return lag;
}

static void lag_cells(struct table *table, const struct lag *lag)
{
    cell_number(table, lag->has_entries, lag->entries);
    cell_number(table, lag->has_bytes, lag->bytes);
    if (lag->has_ms) {
        table_cellf(table, "%.1f", lag->ms > 0 ? (double)lag->ms / 1000 : 0); /* clocks differ */
    } else {
        table_cell(table, CF_SLICE("-"));
    }
}

static void start_row(struct table *table, const char *who, const char *kind,
                      const struct json *side)
{
    table_row(table);
    table_cell(table, cf_slice_str(who));
    table_cell(table, cf_slice_str(kind));
    cell_text(table, json_get_string(side, "mode"));
    cell_text(table, json_get_string(side, "state"));
}

static bool primary_wal(const struct json *side, const char *kind, int64_t *ret)
{
    bool dr = strcmp(kind, "dr") == 0;
    return number(side, dr ? "last_dr_wal" : "last_performance_wal", ret) ||
           number(side, "last_wal", ret);
}

/* A primary has a row of its own and one for each secondary; a secondary one for its primary. */
static void side_rows(struct table *table, const char *who, const char *kind,
                      const struct json *side)
{
    static const char *const lists[] = {"secondaries", "primaries"};
    bool secondary = cf_slice_is(json_get_string(side, "mode"), "secondary");
    const struct json *peers = json_get(side, lists[secondary]);
    int64_t wal = 0;
    bool has_wal = !secondary && primary_wal(side, kind, &wal);
    int64_t shown = wal;
    bool has_shown = secondary ? number(side, "last_remote_wal", &shown) : has_wal;
    struct lag none = {0};
    struct lag own = secondary ? lag_of(side, side, wal, has_wal) : none;
    if (secondary && !own.has_ms && json_count(peers) > 0) {
        own.has_ms = lag_of(json_item(peers, 0), NULL, 0, false).has_ms;
        own.ms = lag_of(json_item(peers, 0), NULL, 0, false).ms;
    }
    start_row(table, who, kind, side);
    cell_text(table, json_get_string(side, "secondary_id"));
    cell_text(table, json_get_string(side, "connection_state"));
    cell_number(table, has_shown, shown);
    lag_cells(table, &own);
    for (size_t i = 0; !secondary && json_is(peers, JSON_ARRAY) && i < peers->count; i++) {
        const struct json *peer = peers->items[i];
        struct lag lag = lag_of(peer, peer, wal, has_wal);
        int64_t acked = 0;
        bool has_acked = number(peer, "last_remote_wal", &acked);
        table_row(table);
        table_cell(table, cf_slice_str(who));
        table_cell(table, cf_slice_str(kind));
        table_cell(table, CF_SLICE("-> secondary"));
        cell_text(table, json_get_string(peer, "state"));
        cell_text(table, json_get_string(peer, "node_id"));
        cell_text(table, json_get_string(peer, "connection_status"));
        cell_number(table, has_acked, acked);
        lag_cells(table, &lag);
    }
}

void replication_heading(struct table *table)
{
    static const char *const titles[] = {"Cluster",   "Kind",       "Mode",  "State",
                                         "ID",        "Connection", "Index", "Lag entries",
                                         "Lag bytes", "Lag s"};
    table_row(table);
    for (size_t i = 0; i < CF_LENGTH(titles); i++) {
        table_cell(table, cf_slice_str(titles[i]));
    }
}

void replication_rows(struct table *table, const char *who, const struct json *data)
{
    bool any = false;
    for (size_t i = 0; i < CF_LENGTH(kinds); i++) {
        const struct json *side = json_get(data, kinds[i]);
        struct cf_slice mode = json_get_string(side, "mode");
        if (mode.size > 0 && !cf_slice_is(mode, "disabled")) {
            side_rows(table, who, kinds[i], side);
            any = true;
        }
    }
    if (!any) {
        table_row(table);
        table_cell(table, cf_slice_str(who));
        table_cell(table, CF_SLICE("-"));
        table_cell(table, CF_SLICE("disabled"));
    }
}

static cf_status ask(struct cli *cli, const char *address, struct reply *reply,
                     struct cf_error *err)
{
    const char *before = cli->address;
    struct call call = {
        .method = "GET", .path = "sys/replication/status", .at_root = true, .wrap_ttl = ""};
    cli->address = address;
    cf_status status = session_call(cli, &call, reply, err);
    cli->address = before;
    return status;
}

int command_replication_status(struct cli *cli, char *const *argv)
{
    struct reply reply;
    struct table table;
    int code =
        cli_begin(cli, NULL, 0, argv, (struct cli_rule){CLI_SERVER | CLI_FORMAT | CLI_FIELD, 0, 0});
    if (code != CLI_GO) {
        return code;
    }
    struct call call = {
        .method = "GET", .path = "sys/replication/status", .at_root = true, .wrap_ttl = ""};
    code = session_do(cli, &call, &reply, "Error reading sys/replication/status");
    if (code != CLI_FINE) {
        return code;
    }
    const struct json *data = json_get(reply.json, "data");
    if (cli->field != NULL) {
        return output_secret(cli, &reply);
    }
    if (output_machine(cli, data)) {
        return CLI_FINE;
    }
    table_init(&table, cli->arena);
    replication_heading(&table);
    replication_rows(&table, cli->address, data);
    table_print(&table, true, cli->out);
    return CLI_FINE;
}

/* "b performance  [##########..........] 50%  12.0 of 24.0 MiB, 10400 keys, 60.1 MiB/s, 1 s left" */
void replication_progress(struct cf_buf *to, const char *who, const char *kind,
                          const struct json *side)
{
    const struct json *progress = json_get(side, "merkle_sync_progress");
    int64_t done = 0, total = 0, keys = 0, rate = 0, left = 0;
    if (!json_is(progress, JSON_OBJECT)) {
        return;
    }
    bool has_total = number(progress, "total_bytes", &total) && total > 0;
    cf_ignore(!number(progress, "bytes", &done), "shown as 0");
    cf_ignore(!number(progress, "sync_progress", &keys), "shown as 0");
    double share = has_total ? (double)done / (double)total : 0;
    share = share > 1 ? 1 : share; /* the total is an estimate */
    cf_buf_addf(to, "%s %s  ", who, kind);
    if (has_total) {
        cf_buf_addf(to, "[%.*s%.*s] %.0f%%  ", (int)(share * BAR), "####################",
                    BAR - (int)(share * BAR), "....................", share * 100);
    }
    cf_buf_addf(to, "%.1f", (double)done / 1048576);
    if (has_total) {
        cf_buf_addf(to, " of %.1f", (double)total / 1048576);
    }
    cf_buf_addf(to, " MiB, %" PRId64 " keys", keys);
    if (number(progress, "bytes_per_second", &rate) && rate > 0) {
        cf_buf_addf(to, ", %.1f MiB/s", (double)rate / 1048576);
    }
    if (has_total && rate > 0 && number(progress, "seconds_left", &left)) {
        cf_buf_addf(to, ", %" PRId64 " s left", left);
    }
    cf_buf_add_str(to, "\n");
}

struct watch {
    struct strings addresses;
    int64_t interval_ms, count;
};

/* One look at all clusters. *all: everybody answered and every secondary streams. */
static void look(struct cli *cli, const struct watch *watch, struct table *table, struct json *seen,
                 struct cf_buf *progress, bool *all)
{
    *all = true;
    replication_heading(table);
    for (size_t i = 0; i < watch->addresses.count; i++) {
        const char *address = watch->addresses.at[i];
        struct cf_error err = {0};
        struct reply reply;
        bool answered = ask(cli, address, &reply, &err) == CF_OK && reply.status == 200;
        const struct json *data = json_get(reply.json, "data");
        if (!answered) {
            table_row(table);
            table_cell(table, cf_slice_str(address));
            table_cell(table, CF_SLICE("-"));
            if (reply.status != 0) {
                table_cellf(table, "HTTP %d", reply.status);
            } else {
                table_cell(table, CF_SLICE("no answer"));
            }
            *all = false;
            continue;
        }
        for (size_t k = 0; k < CF_LENGTH(kinds); k++) {
            const struct json *side = json_get(data, kinds[k]);
            struct cf_slice mode = json_get_string(side, "mode");
            bool fine = cf_slice_is(json_get_string(side, "state"), "stream-wals") ||
                        cf_slice_is(mode, "primary") || cf_slice_is(mode, "disabled");
            *all = *all && (fine || mode.size == 0);
            replication_progress(progress, address, kinds[k], side);
        }
        json_set(cli->arena, seen, address, (struct json *)(uintptr_t)data);
        replication_rows(table, address, data);
    }
}

static void pause_ms(int64_t ms)
{
    struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&wait, NULL);
}

static void stamp(FILE *out)
{
    char text[32];
    time_t now = time(NULL);
    struct tm parts;
    (void)gmtime_r(&now, &parts);
    (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
    (void)fprintf(out, "%s\n", text);
}

/* Each round in an arena of its own: a watch may run for days. */
static bool one_round(struct cli *cli, const struct watch *watch, bool live)
{
    struct arena *kept = cli->arena;
    struct arena *arena = arena_new(16384);
    struct table table;
    CF_BUF(progress) = {0};
    bool all = false;
    cli->arena = arena;
    table_init(&table, arena);
    struct json *seen = json_object_new(arena);
    look(cli, watch, &table, seen, &progress, &all);
    if (cli_format_is(cli, "json")) {
        CF_BUF(line) = {0};
        json_write(&line, seen); /* one line a round */
        (void)fprintf(cli->out, "%s\n", cf_buf_text(&line));
        (void)fflush(cli->out);
        cli->arena = kept;
        arena_free(arena);
        return all;
    }
    if (live) {
        (void)fputs("\033[H\033[2J", cli->out); /* home, clear */
    }
    stamp(cli->out);
    table_print(&table, true, cli->out);
    (void)fputs(cf_buf_text(&progress), cli->out);
    (void)fflush(cli->out);
    cli->arena = kept;
    arena_free(arena);
    return all;
}

int command_replication_watch(struct cli *cli, char *const *argv)
{
    const char *interval = NULL;
    bool until_synced = false;
    struct watch watch = {.interval_ms = 1000};
    const struct flag flags[] = {
        {"address", FLAG_LIST, &watch.addresses, NULL, "Server; repeatable."},
        {"interval", FLAG_SECONDS, &interval, NULL, "How often to look (1s)."},
        {"count", FLAG_INT, &watch.count, NULL, "End after so many looks."},
        {"until-synced", FLAG_BOOL, &until_synced, NULL, "End when every secondary streams."},
    };
    int code = cli_parse(cli, flags, CF_LENGTH(flags), CLI_SERVER | CLI_FORMAT, argv);
    if (code != CLI_GO) {
        return code;
    }
    if (interval != NULL) {
        (void)flags_parse_duration(interval, &watch.interval_ms); /* the flag was checked */
    }
    if (watch.addresses.count == 0) {
        strings_add(cli->arena, &watch.addresses, cli->address);
    }
    bool live = term_is_live(cli->out);
    (void)session_token(cli); /* opens the session in the command's arena, not in a round's */
    for (int64_t i = 0;; i++) {
        bool synced = one_round(cli, &watch, live);
        if (until_synced && synced) {
            return CLI_FINE;
        }
        if (watch.count > 0 && i + 1 >= watch.count) {
            return until_synced ? CLI_REFUSED : CLI_FINE;
        }
        pause_ms(watch.interval_ms);
    }
}

/* tools/load/verify.c: compares clusters with documents, key by key and value by value. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "node/base/host.h"
#include "node/base/map.h"
#include "node/base/memory.h"
#include "node/format/json.h"
#include "tools/cli/output.h"
#include "tools/cli/term.h"
#include "tools/load/import.h"

#define FAILURES_MAX 10
#define AGAIN_EVERY_NS 500000000

/* One comparison of one cluster. */
struct comparison {
    struct cli *cli;
    const struct records *records;
    struct arena *want_arena, *have_arena;
    uint64_t equal, missing, different, extra;
    struct cf_map *differences; /* path -> what is wrong, a static text; the first few */
    int64_t show;
};

static void note(struct comparison *c, struct cf_slice path, const char *what)
{
    if ((int64_t)cf_map_size(c->differences) < c->show) {
        (void)cf_map_put(c->differences, path, (void *)(uintptr_t)what);
    }
}

/* Parses the data of an answer; NULL when it has none (deleted, absent). */
static const struct json *data_of(struct arena *arena, struct cf_slice body)
{
    static const struct json_limits limits = {
        .keys = 1000000, .items = 1000000, .nodes = 10000000, .string = (size_t)32 * 1024 * 1024};
    struct json *answer = NULL;
    arena_reset(arena);
    if (json_parse(arena, body, &limits, &answer, NULL) != CF_OK) {
        return NULL;
    }
    const struct json *data = json_get(json_get(answer, "data"), "data");
    return json_is(data, JSON_OBJECT) ? data : NULL;
}

static const struct json *document_of(struct comparison *c, size_t at)
{
    CF_BUF(text) = {.secret = true};
    /* In the same shape as an answer, so that one parser serves both. */
    cf_buf_add_str(&text, "{\"data\":{\"data\":");
    records_write(c->records, at, &text);
    cf_buf_add_str(&text, "}}");
    return data_of(c->want_arena, cf_buf_slice(&text));
}

static void on_seen(void *context, size_t at, int status, struct cf_slice body)
{
    struct comparison *c = context;
    struct cf_slice path = records_path(c->records, at);
    const struct json *have = status == 200 ? data_of(c->have_arena, body) : NULL;
    const struct json *want = document_of(c, at);
    if (have == NULL && want == NULL) {
        c->equal++; /* deleted here and there */
    } else if (have == NULL) {
        c->missing++;
        note(c, path, "missing");
    } else if (want == NULL || !json_equal(want, have)) {
        c->different++;
        note(c, path, "different");
    } else {
        c->equal++;
    }
}

static void on_listed(void *context, struct cf_slice path)
{
    struct comparison *c = context;
    if (!records_has(c->records, path)) {
        c->extra++;
        note(c, path, "extra");
    }
}

static struct fleet_setup setup_of(struct cli *cli, const struct import *import, size_t at,
                                   const struct records *records)
{
    return (struct fleet_setup){
        .targets = &import->targets[at],
        .target_count = 1,
        .parallel = (unsigned)import->parallel,
        .tries = (unsigned)import->tries,
        .failures_max = FAILURES_MAX,
        .token = import->tokens.at[import->tokens.count == 1 ? 0 : at],
        .name_space = cli->name_space,
        .mount = import->mount,
        .records = records,
    };
}

static cf_status compare(struct comparison *c, const struct import *import, size_t at,
                         struct cf_error *err)
{
    struct fleet_setup setup = setup_of(c->cli, import, at, c->records);
    struct fleet_result result;
    struct term_progress progress;
    c->equal = c->missing = c->different = c->extra = 0;
    cf_map_free(c->differences);
    c->differences = cf_map_new();
    CF_TRY(fleet_list(&setup, import->prefix, on_listed, c, err));
    term_progress_start(&progress, c->cli->err, import->targets[at].address,
                        records_count(c->records));
    setup.progress = import->quiet ? NULL : &progress;
    CF_TRY(fleet_read(&setup, on_seen, c, &result, err));
    if (!import->quiet) {
        term_progress_end(&progress, result.done);
    }
    if (result.failed > 0) {
        return cf_fail(err, CF_IO, "%.240s", result.first_error);
    }
    return CF_OK;
}

static bool is_equal(const struct comparison *c)
{
    return c->missing + c->different + c->extra == 0;
}

/* Again and again until it is equal or the time is over (a secondary may still be catching up). */
static cf_status compare_until(struct comparison *c, const struct import *import, size_t at,
                               int64_t wait_ms, struct cf_error *err)
{
    uint64_t end_us = cf_monotonic_us(cf_host_clock()) + (uint64_t)wait_ms * 1000;
    for (;;) {
        cf_status status = compare(c, import, at, err);
        if ((status == CF_OK && is_equal(c)) || cf_monotonic_us(cf_host_clock()) >= end_us) {
            return status;
        }
        struct timespec pause = {.tv_nsec = AGAIN_EVERY_NS};
        (void)nanosleep(&pause, NULL);
    }
}

static void print_differences(struct comparison *c, const char *address)
{
    struct cf_slice path = CF_SLICE_EMPTY;
    void *what = NULL;
    size_t at = 0;
    while (cf_map_next(c->differences, &at, &path, &what)) {
        cli_error(c->cli, "%s: %s: %.*s", address, (const char *)what, CF_SHOW(path));
    }
    uint64_t all = c->missing + c->different + c->extra;
    if (all > cf_map_size(c->differences)) {
        cli_error(c->cli, "%s: and %" PRIu64 " more", address, all - cf_map_size(c->differences));
    }
}

static struct json *summary(struct comparison *c, const char *address)
{
    struct arena *arena = c->cli->arena;
    struct json *object = json_object_new(arena);
    json_set_text(arena, object, "address", address);
    json_set_int(arena, object, "keys", (int64_t)records_count(c->records));
    json_set_int(arena, object, "equal", (int64_t)c->equal);
    json_set_int(arena, object, "missing", (int64_t)c->missing);
    json_set_int(arena, object, "different", (int64_t)c->different);
    json_set_int(arena, object, "extra", (int64_t)c->extra);
    return object;
}

/* ---- the first cluster as the source ---- */

struct collection {
    struct records *keys, *full;
    struct arena *arena;
};

static void on_key(void *context, struct cf_slice path)
{
    struct collection *collection = context;
    records_add(collection->keys, path, CF_SLICE("{}"));
}

static void on_value(void *context, size_t at, int status, struct cf_slice body)
{
    struct collection *collection = context;
    const struct json *data = status == 200 ? data_of(collection->arena, body) : NULL;
    CF_BUF(text) = {.secret = true};
    if (data != NULL) {
        json_write(&text, data);
    } else {
        cf_buf_add_str(&text, "null"); /* the latest version is deleted */
    }
    records_add(collection->full, records_path(collection->keys, at), cf_buf_slice(&text));
}

static cf_status collect(struct cli *cli, const struct import *import, struct records **ret,
                         struct cf_error *err)
{
    CF_OWNED(records) keys = records_new();
    CF_OWNED(records) full = records_new();
    CF_OWNED(arena) arena = arena_new(65536);
    struct collection collection = {.keys = keys, .full = full, .arena = arena};
    struct fleet_setup setup = setup_of(cli, import, 0, keys);
    struct fleet_result result;
    CF_TRY(fleet_list(&setup, import->prefix, on_key, &collection, err));
    CF_TRY(fleet_read(&setup, on_value, &collection, &result, err));
    if (result.failed > 0) {
        return cf_fail(err, CF_IO, "%.240s", result.first_error);
    }
    *ret = records_take(&full);
    return CF_OK;
}

static int compare_all(struct comparison *c, const struct import *import, size_t first,
                       int64_t wait_ms)
{
    struct json *all = json_array_new(c->cli->arena);
    bool equal = true;
    bool table = cli_format_is(c->cli, "table");
    for (size_t i = first; i < import->target_count; i++) {
        struct cf_error err = {0};
        const char *address = import->targets[i].address;
        if (compare_until(c, import, i, wait_ms, &err) != CF_OK) {
            cli_error(c->cli, "Error comparing %s: %s", address, err.message);
            equal = false;
            continue;
        }
        equal = equal && is_equal(c);
        json_array_add(c->cli->arena, all, summary(c, address));
        print_differences(c, address);
        if (table) {
            cli_say(c->cli,
                    "%s: %zu keys: %" PRIu64 " equal, %" PRIu64 " missing, %" PRIu64
                    " different, %" PRIu64 " extra",
                    address, records_count(c->records), c->equal, c->missing, c->different,
                    c->extra);
        }
    }
    (void)output_machine(c->cli, all);
    return equal ? CLI_FINE : CLI_REFUSED;
}

int import_verify(struct cli *cli, const struct import *import)
{
    CF_OWNED(records) records = NULL;
    struct records_options options = {.key = import->key, .prefix = import->prefix};
    struct cf_error err = {0};
    int64_t wait_ms = 0;
    size_t first = 0;
    if (import->wait != NULL) {
        (void)flags_parse_duration(import->wait, &wait_ms); /* the flag was checked */
    }
    if (cli_arg(cli, 0) != NULL) {
        if (records_load(cli_arg(cli, 0), &options, &records, &err) != CF_OK) {
            cli_error(cli, "%s", err.message);
            return CLI_USAGE;
        }
    } else {
        if (collect(cli, import, &records, &err) != CF_OK) {
            return cli_fail(cli, "Error reading the first cluster", &err);
        }
        first = 1;
    }
    struct comparison c = {.cli = cli, .records = records, .show = import->show};
    c.want_arena = arena_new(65536);
    c.have_arena = arena_new(65536);
    int code = compare_all(&c, import, first, wait_ms);
    arena_free(c.want_arena);
    arena_free(c.have_arena);
    cf_map_free(c.differences);
    return code;
}

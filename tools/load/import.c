/* tools/load/import.c: loads documents into KV v2, and the flags that its check shares. */
#include <inttypes.h>
#include <string.h>

#include "node/base/host.h"
#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/cli/session.h"
#include "tools/cli/term.h"
#include "tools/commands.h"
#include "tools/load/import.h"
#include "tools/load/wire.h"

#define PARALLEL_DEFAULT 32
#define TRIES_DEFAULT 20
#define FAILURES_MAX 10
#define SHOW_DEFAULT 20

static bool make_targets(struct cli *cli, struct import *import)
{
    struct cf_error err = {0};
    if (import->addresses.count == 0) {
        strings_add(cli->arena, &import->addresses, cli->address);
    }
    if (import->tokens.count == 0) {
        strings_add(cli->arena, &import->tokens, session_token(cli));
    }
    if (import->tokens.count != 1 && import->tokens.count != import->addresses.count) {
        cli_error(cli, "Give one -token, or one for each -address (%zu addresses, %zu tokens)",
                  import->addresses.count, import->tokens.count);
        return false;
    }
    import->target_count = import->addresses.count;
    import->targets = arena_alloc(cli->arena, import->target_count * sizeof(struct conn_target));
    for (size_t i = 0; i < import->target_count; i++) {
        if (conn_target_parse(import->addresses.at[i], &cli->tls, &import->targets[i], &err) !=
            CF_OK) {
            cli_error(cli, "%s", err.message);
            return false;
        }
    }
    return true;
}

/* Mounts KV v2 unless something is there already. */
static int enable_mount(struct cli *cli, const struct import *import)
{
    struct reply reply;
    struct json *body = json_object_new(cli->arena);
    struct json *options = json_object_new(cli->arena);
    cli->address = import->addresses.at[0];
    const char *path = arena_printf(cli->arena, "sys/mounts/%s", import->mount);
    struct call look = {.method = "GET", .path = path, .token = import->tokens.at[0]};
    struct cf_error err = {0};
    if (session_call(cli, &look, &reply, &err) != CF_OK) {
        return cli_fail(cli, "Error enabling", &err);
    }
    if (reply.status == 200) {
        return CLI_FINE;
    }
    json_set_text(cli->arena, options, "version", "2");
    json_set_text(cli->arena, body, "type", "kv");
    json_set(cli->arena, body, "options", options);
    struct call call = {
        .method = "POST", .path = path, .body = body, .token = import->tokens.at[0]};
    return session_do(cli, &call, &reply, "Error enabling");
}

static int report(struct cli *cli, const struct import *import, const struct records *records,
                  const struct fleet_result *result, double seconds)
{
    struct json *object = json_object_new(cli->arena);
    double rate = seconds > 0 ? (double)result->done / seconds : 0;
    json_set_int(cli->arena, object, "secrets", (int64_t)result->done);
    json_set_int(cli->arena, object, "failed", (int64_t)result->failed);
    json_set_int(cli->arena, object, "repeated", (int64_t)records_repeated(records));
    json_set_int(cli->arena, object, "retries", (int64_t)result->retries);
    json_set_int(cli->arena, object, "milliseconds", (int64_t)(seconds * 1000));
    json_set_int(cli->arena, object, "per_second", (int64_t)rate);
    if (!output_machine(cli, object)) {
        cli_say(cli,
                "Imported %" PRIu64 " secrets into %s/%s in %.1f s: %.0f secrets/s, %" PRIu64
                " tried again",
                result->done, import->mount, import->prefix != NULL ? import->prefix : "", seconds,
                rate, result->retries);
        if (records_repeated(records) > 0) {
            cli_say(cli, "%zu documents had the path of a later one, which counts",
                    records_repeated(records));
        }
    }
    if (result->failed > 0) {
        cli_error(cli, "%" PRIu64 " secrets were refused%s; the first: %s", result->failed,
                  result->done + result->failed < records_count(records) ? ", then it gave up" : "",
                  result->first_error);
        return CLI_REFUSED;
    }
    return CLI_FINE;
}

static int load(struct cli *cli, const struct import *import, const char *file)
{
    CF_OWNED(records) records = NULL;
    struct records_options options = {.key = import->key, .prefix = import->prefix};
    struct fleet_result result;
    struct term_progress progress;
    struct cf_error err = {0};
    if (records_load(file, &options, &records, &err) != CF_OK) {
        cli_error(cli, "%s", err.message);
        return CLI_USAGE;
    }
    if (import->enable) {
        int code = enable_mount(cli, import);
        if (code != CLI_FINE) {
            return code;
        }
    }
    term_progress_start(&progress, cli->err, "import", records_count(records));
    struct fleet_setup setup = {
        .targets = import->targets,
        .target_count = (unsigned)import->target_count,
        .parallel = (unsigned)import->parallel,
        .tries = (unsigned)import->tries,
        .failures_max = FAILURES_MAX,
        .token = import->tokens.at[0],
        .name_space = cli->name_space,
        .mount = import->mount,
        .records = records,
        .progress = import->quiet ? NULL : &progress,
    };
    uint64_t start_us = cf_monotonic_us(cf_host_clock());
    if (fleet_write(&setup, &result, &err) != CF_OK) {
        return cli_fail(cli, "Error importing", &err);
    }
    if (!import->quiet) {
        term_progress_end(&progress, result.done);
    }
    double seconds = (double)(cf_monotonic_us(cf_host_clock()) - start_us) / 1e6;
    return report(cli, import, records, &result, seconds);
}

static bool check(struct cli *cli, struct import *import)
{
    if (import->parallel < 1 || import->parallel > WIRE_SLOTS_MAX) {
        cli_error(cli, "-parallel must be 1 to %u", WIRE_SLOTS_MAX);
        return false;
    }
    if (import->tries < 1 || import->tries > 1000) {
        cli_error(cli, "-tries must be 1 to 1000");
        return false;
    }
    bool from_first = import->verify && import->addresses.count >= 2;
    if (!cli_want(cli, from_first ? 0 : 1, 1, NULL)) {
        return false;
    }
    if (!import->verify && import->tokens.count > 1) {
        cli_error(cli, "Several -token belong to -verify; an import has one cluster and one token");
        return false;
    }
    import->mount = cli_clean_path(cli, import->mount);
    if (import->prefix != NULL) {
        import->prefix = cli_clean_path(cli, import->prefix);
    }
    return make_targets(cli, import);
}

int command_import(struct cli *cli, char *const *argv)
{
    struct import import = {.mount = "secret",
                            .parallel = PARALLEL_DEFAULT,
                            .tries = TRIES_DEFAULT,
                            .show = SHOW_DEFAULT};
    const struct flag flags[] = {
        {"address", FLAG_LIST, &import.addresses, NULL,
         "Server; repeatable: nodes of one cluster, or with -verify the clusters to compare."},
        {"token", FLAG_LIST, &import.tokens, NULL, "Token; with -verify one for each -address."},
        {"mount", FLAG_STRING, &import.mount, NULL, "KV v2 mount (secret)."},
        {"prefix", FLAG_STRING, &import.prefix, NULL, "Folder below the mount."},
        {"key", FLAG_STRING, &import.key, NULL,
         "Field that is the path, or a template such as {Package}/{Version}."},
        {"parallel", FLAG_INT, &import.parallel, NULL, "Connections (32)."},
        {"tries", FLAG_INT, &import.tries, NULL, "How often a request is tried (20)."},
        {"enable", FLAG_BOOL, &import.enable, NULL, "Mount KV v2 first if nothing is there."},
        {"verify", FLAG_BOOL, &import.verify, NULL,
         "Compare every key and value with FILE; without FILE with the first -address."},
        {"check", FLAG_BOOL, &import.verify, NULL, "The same as -verify."},
        {"wait", FLAG_SECONDS, &import.wait, NULL, "With -verify: compare again for so long."},
        {"show", FLAG_INT, &import.show, NULL, "With -verify: print so many differences (20)."},
        {"quiet", FLAG_BOOL, &import.quiet, NULL, "No progress."},
    };
    int code =
        cli_parse(cli, flags, CF_LENGTH(flags), CLI_SERVER | CLI_FORMAT | CLI_ANYWHERE, argv);
    if (code != CLI_GO) {
        return code;
    }
    if (!check(cli, &import)) {
        return CLI_USAGE;
    }
    return import.verify ? import_verify(cli, &import) : load(cli, &import, cli_arg(cli, 0));
}

/* tools/commands/monitor.c: monitor (a server's log as it is written) and version-history. */
#include <string.h>

#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/cli/render.h"
#include "tools/commands.h"

static bool known_level(const char *level)
{
    static const char *const levels[] = {"trace", "debug", "info", "notice", "warn", "warning",
                                         "error", "err"};
    for (size_t i = 0; i < CF_LENGTH(levels); i++) {
        if (strcmp(level, levels[i]) == 0) {
            return true;
        }
    }
    return false;
}

int command_monitor(struct cli *cli, char *const *argv)
{
    const char *level = "info";
    const char *format = "standard";
    const struct flag flags[] = {
        {"log-level", FLAG_STRING, &level, NULL, "trace, debug, info, warn or error."},
        {"log-format", FLAG_STRING, &format, NULL, "standard or json."},
    };
    struct cf_error err = {0};
    struct reply reply;
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv, (struct cli_rule){CLI_SERVER, 0, 0});
    if (code != CLI_GO) {
        return code;
    }
    if (!known_level(level)) {
        cli_error(cli, "%s is an unknown log level; use trace, debug, info, warn or error", level);
        return CLI_USAGE;
    }
    if (strcmp(format, "standard") != 0 && strcmp(format, "json") != 0) {
        cli_error(cli, "%s is an unknown log format; use standard or json", format);
        return CLI_USAGE;
    }
    struct json *query = json_object_new(cli->arena);
    json_set_text(cli->arena, query, "log_level", level);
    json_set_text(cli->arena, query, "log_format", format);
    struct call call = {.method = "GET",
                        .path = "sys/monitor",
                        .query = query,
                        .download = cli->out,
                        .live = true};
    cf_status status = session_call(cli, &call, &reply, &err);
    if (status == CF_OK && (cli->output_curl || cli->output_policy)) {
        return SESSION_PRINTED;
    }
    if (status != CF_OK) {
        return cli_fail(cli, "Error starting monitor", &err);
    }
    if (reply.status == 200) {
        return CLI_FINE; /* the server has ended it */
    }
    cli_error(cli, "Error starting monitor: %s", session_error_text(cli, &reply));
    if (reply.status == 404 || reply.status == 405) {
        cli_error(cli, "\nThis server does not stream its log (it has no sys/monitor): read it where "
                       "the service writes it, such as \"journalctl -fu coffer\"");
    }
    return CLI_REFUSED;
}

int command_version_history(struct cli *cli, char *const *argv)
{
    struct reply reply;
    struct table table;
    int code = cli_begin(cli, NULL, 0, argv, (struct cli_rule){CLI_SERVER | CLI_FORMAT, 0, 0});
    if (code != CLI_GO) {
        return code;
    }
    struct call call = {.method = "LIST", .path = "sys/version-history"};
    code = session_do(cli, &call, &reply, "Error reading version history");
    if (code != CLI_FINE) {
        return code;
    }
    const struct json *data = json_get(reply.json, "data");
    const struct json *keys = json_get(data, "keys");
    if (!json_is(keys, JSON_ARRAY)) {
        cli_error(cli, "Invalid response returned from Vault");
        return CLI_REFUSED;
    }
    if (output_machine(cli, output_envelope(cli, reply.json))) {
        return CLI_FINE;
    }
    table_init(&table, cli->arena);
    table_row(&table);
    table_cell(&table, CF_SLICE("Version"));
    table_cell(&table, CF_SLICE("Installation Time"));
    table_cell(&table, CF_SLICE("Build Date"));
    for (size_t i = 0; i < keys->count; i++) {
        struct cf_slice version = CF_SLICE_EMPTY;
        (void)json_string(keys->items[i], &version);
        const struct json *info = json_get_slice(json_get(data, "key_info"), version);
        table_row(&table);
        table_cell(&table, version);
        table_cell(&table, json_get_string(info, "timestamp_installed"));
        table_cell(&table, json_get_string(info, "build_date"));
    }
    table_print(&table, true, cli->out);
    return CLI_FINE;
}

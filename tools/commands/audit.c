/* tools/commands/audit.c: audit list, enable, disable. */
#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/cli/params.h"
#include "tools/cli/render.h"
#include "tools/commands.h"

static void options_cell(struct table *table, const struct json *options)
{
    CF_BUF(text) = {0};
    for (size_t i = 0; json_is(options, JSON_OBJECT) && i < options->count; i++) {
        cf_buf_addf(&text, "%s%.*s=", i > 0 ? " " : "", CF_SHOW(options->members[i].key));
        render_value(&text, options->members[i].value);
    }
    table_cell(table, cf_buf_slice(&text));
}

static void device_row(struct table *table, struct cf_slice path, const struct json *device,
                       bool detailed)
{
    bool local = false;
    (void)json_bool(json_get(device, "local"), &local);
    table_row(table);
    table_cell(table, path);
    table_cell(table, json_get_string(device, "type"));
    table_cell(table, json_get_string(device, "description"));
    if (detailed) {
        table_cell(table, local ? CF_SLICE("local") : CF_SLICE("replicated"));
        options_cell(table, json_get(device, "options"));
    }
}

/* Older servers repeat the devices beside "data" and some have them there alone. */
static const struct json *devices_of(const struct reply *reply)
{
    const struct json *data = json_get(reply->json, "data");
    return json_is(data, JSON_OBJECT) ? data : reply->json;
}

int command_audit_list(struct cli *cli, char *const *argv)
{
    static const char *const titles[] = {"Path", "Type", "Description", "Replication", "Options"};
    struct reply reply;
    struct table table;
    int code = cli_begin(cli, NULL, 0, argv, (struct cli_rule){CLI_SERVER | CLI_FORMAT, 0, 0});
    if (code != CLI_GO) {
        return code;
    }
    struct call call = {.method = "GET", .path = "sys/audit"};
    code = session_do(cli, &call, &reply, "Error listing audits");
    if (code != CLI_FINE) {
        return code;
    }
    const struct json *devices = devices_of(&reply);
    if (output_machine(cli, devices)) {
        return CLI_FINE;
    }
    if (!json_is(devices, JSON_OBJECT) || devices->count == 0) {
        cli_say(cli, "No audit devices are enabled.");
        return CLI_REFUSED;
    }
    table_init(&table, cli->arena);
    table_row(&table);
    for (size_t i = 0; i < (cli->detailed ? CF_LENGTH(titles) : 3); i++) {
        table_cell(&table, cf_slice_str(titles[i]));
    }
    const uint32_t *order = render_order(cli->arena, devices);
    for (uint32_t i = 0; i < devices->count; i++) {
        const struct json_member *device = &devices->members[order[i]];
        device_row(&table, device->key, device->value, cli->detailed);
    }
    table_print(&table, true, cli->out);
    return CLI_FINE;
}

int command_audit_enable(struct cli *cli, char *const *argv)
{
    const char *description = "";
    const char *path = NULL;
    bool local = false;
    const struct flag flags[] = {
        {"description", FLAG_STRING, &description, NULL, "For people."},
        {"path", FLAG_STRING, &path, NULL, "Name of the device; else its type."},
        {"local", FLAG_BOOL, &local, NULL, "Not replicated."},
    };
    struct cf_error err = {0};
    struct json *options = NULL;
    struct reply reply;
    int code = cli_parse(cli, flags, CF_LENGTH(flags), CLI_SERVER, argv);
    if (code != CLI_GO) {
        return code;
    }
    if (cli->args.count == 0) {
        cli_error(cli, "Error enabling audit device: audit type missing. Valid types include "
                       "'file', 'socket' and 'syslog'.");
        return CLI_USAGE;
    }
    if (params_parse(cli, 1, &options, &err) != CF_OK) {
        cli_error(cli, "Failed to parse K=V data: %s", err.message);
        return CLI_USAGE;
    }
    const char *type = cli_clean_path(cli, cli_arg(cli, 0));
    const char *mount = cli_clean_path(cli, path != NULL ? path : type);
    struct json *body = json_object_new(cli->arena);
    json_set_text(cli->arena, body, "type", type);
    json_set_text(cli->arena, body, "description", description);
    json_set(cli->arena, body, "options", options);
    json_set_bool(cli->arena, body, "local", local);
    struct call call = {.method = "PUT",
                        .path = arena_printf(cli->arena, "sys/audit/%s", mount),
                        .body = body};
    code = session_do(cli, &call, &reply, "Error enabling audit device");
    if (code == CLI_FINE) {
        cli_say(cli, "Success! Enabled the %s audit device at: %s/", type, mount);
    }
    return code;
}

int command_audit_disable(struct cli *cli, char *const *argv)
{
    struct reply reply;
    int code = cli_begin(cli, NULL, 0, argv, (struct cli_rule){CLI_SERVER, 1, 1});
    if (code != CLI_GO) {
        return code;
    }
    const char *mount = cli_clean_path(cli, cli_arg(cli, 0));
    struct call call = {.method = "DELETE",
                        .path = arena_printf(cli->arena, "sys/audit/%s", mount)};
    code = session_do(cli, &call, &reply, "Error disabling audit device");
    if (code == CLI_FINE) {
        cli_say(cli, "Success! Disabled audit device (if it was enabled) at: %s/", mount);
    }
    return code;
}

/* tools/commands/raft_autopilot.c: operator raft autopilot get-config and set-config. */
#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/cli/render.h"
#include "tools/cli/session.h"
#include "tools/commands.h"

#define PATH "sys/storage/raft/autopilot/configuration"

int command_raft_autopilot_get_config(struct cli *cli, char *const *argv)
{
    struct reply reply;
    int code = cli_begin(cli, NULL, 0, argv, (struct cli_rule){CLI_SERVER | CLI_FORMAT, 0, 0, NULL});
    if (code != CLI_GO) {
        return code;
    }
    struct call call = {.method = "GET", .path = PATH};
    code = session_do(cli, &call, &reply, "Error reading autopilot configuration");
    if (code != CLI_FINE) {
        return code;
    }
    const struct json *data = json_get(reply.json, "data");
    if (output_machine(cli, data)) {
        return CLI_FINE;
    }
    struct table table;
    table_init(&table, cli->arena);
    table_pair(&table, "Key", CF_SLICE("Value"));
    static const char *const rows[][2] = {
        {"Cleanup Dead Servers", "cleanup_dead_servers"},
        {"Last Contact Threshold", "last_contact_threshold"},
        {"Dead Server Last Contact Threshold", "dead_server_last_contact_threshold"},
        {"Server Stabilization Time", "server_stabilization_time"},
        {"Min Quorum", "min_quorum"},
        {"Max Trailing Logs", "max_trailing_logs"},
        {"Disable Upgrade Migration", "disable_upgrade_migration"},
    };
    for (size_t i = 0; i < CF_LENGTH(rows); i++) {
        CF_BUF(text) = {0};
        const struct json *value = json_get(data, rows[i][1]);
        if (value != NULL) {
            render_value(&text, value);
            table_pair(&table, rows[i][0], cf_buf_slice(&text));
        }
    }
    table_print(&table, true, cli->out);
    return CLI_FINE;
}

struct settings {
    bool cleanup, cleanup_given, no_migration, no_migration_given;
    int64_t trailing, quorum;
    bool trailing_given, quorum_given;
    const char *contact, *dead, *stable, *dr_token;
};

static struct json *body_of(struct cli *cli, const struct settings *is)
{
    struct json *body = json_object_new(cli->arena);
    const struct {
        const char *name, *value;
    } texts[] = {{"last_contact_threshold", is->contact},
                 {"dead_server_last_contact_threshold", is->dead},
                 {"server_stabilization_time", is->stable},
                 {"dr_operation_token", is->dr_token}};
    if (is->cleanup_given) {
        json_set_bool(cli->arena, body, "cleanup_dead_servers", is->cleanup);
    }
    if (is->no_migration_given) {
        json_set_bool(cli->arena, body, "disable_upgrade_migration", is->no_migration);
    }
    if (is->trailing_given) {
        json_set_int(cli->arena, body, "max_trailing_logs", is->trailing);
    }
    if (is->quorum_given) {
        json_set_int(cli->arena, body, "min_quorum", is->quorum);
    }
    for (size_t i = 0; i < CF_LENGTH(texts); i++) {
        if (texts[i].value != NULL) {
            json_set_text(cli->arena, body, texts[i].name, texts[i].value);
        }
    }
    return body;
}

int command_raft_autopilot_set_config(struct cli *cli, char *const *argv)
{
    struct settings is = {0};
    const struct flag flags[] = {
        {"cleanup-dead-servers", FLAG_BOOL, &is.cleanup, &is.cleanup_given,
         "Remove members that are dead; needs min-quorum."},
        {"last-contact-threshold", FLAG_SECONDS, &is.contact, NULL,
         "Silent for longer, a member is not healthy."},
        {"dead-server-last-contact-threshold", FLAG_SECONDS, &is.dead, NULL,
         "Silent for longer, a member is dead; at least 1m."},
        {"max-trailing-logs", FLAG_INT, &is.trailing, &is.trailing_given,
         "Entries that a healthy member lags at most."},
        {"min-quorum", FLAG_INT, &is.quorum, &is.quorum_given,
         "Voters that the removal of dead members leaves at least."},
        {"server-stabilization-time", FLAG_SECONDS, &is.stable, NULL,
         "A new member has to be healthy for so long before it votes."},
        {"disable-upgrade-migration", FLAG_BOOL, &is.no_migration, &is.no_migration_given,
         "Kept for scripts: nodes are upgraded in their place."},
        {"dr-token", FLAG_STRING, &is.dr_token, NULL, "DR operation token, on a DR secondary."},
    };
    struct reply reply;
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv,
                         (struct cli_rule){CLI_SERVER, 0, 0, NULL});
    if (code != CLI_GO) {
        return code;
    }
    struct call call = {.method = "POST", .path = PATH, .body = body_of(cli, &is)};
    code = session_do(cli, &call, &reply, "Error setting autopilot configuration");
    if (code == CLI_FINE) {
        cli_say(cli, "Success! Updated autopilot configuration");
    }
    return code;
}

/* tools/commands/raft.c: operator raft: peers, join, snapshots, autopilot. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/cli/render.h"
#include "tools/commands.h"

/* On a DR secondary a read becomes a POST that carries the operation token. */
static void use_dr_token(struct cli *cli, struct call *call, const char *dr_token)
{
    if (dr_token != NULL) {
        struct json *body = json_object_new(cli->arena);
        json_set_text(cli->arena, body, "dr_operation_token", dr_token);
        call->method = "POST";
        call->body = body;
    }
}

/* Other servers' answers lack these. */
static struct cf_slice number_text(struct cli *cli, const struct json *number)
{
    int64_t value = 0;
    return json_int64(number, &value)
               ? cf_slice_str(arena_printf(cli->arena, "%lld", (long long)value))
               : CF_SLICE("-");
}

int command_raft_list_peers(struct cli *cli, char *const *argv)
{
    const char *dr_token = NULL;
    const struct flag flags[] = {
        {"dr-token", FLAG_STRING, &dr_token, NULL, "DR operation token, on a DR secondary."},
    };
    struct reply reply;
    struct table table;
    int code = cli_parse(cli, flags, CF_LENGTH(flags), CLI_SERVER | CLI_FORMAT, argv);
    if (code != CLI_GO) {
        return code;
    }
    struct call call = {.method = "GET", .path = "sys/storage/raft/configuration"};
    use_dr_token(cli, &call, dr_token);
    code = session_do(cli, &call, &reply, "Error reading the raft cluster configuration");
    if (code != CLI_FINE) {
        return code;
    }
    const struct json *config = json_get(json_get(reply.json, "data"), "config");
    const struct json *servers = json_get(config, "servers");
    if (!json_is(servers, JSON_ARRAY)) {
        cli_error(cli, "No raft cluster configuration found");
        return CLI_REFUSED;
    }
    if (output_machine(cli, output_envelope(cli, reply.json))) {
        return CLI_FINE;
    }
    table_init(&table, cli->arena);
    table_row(&table);
    table_cell(&table, CF_SLICE("Node"));
    table_cell(&table, CF_SLICE("Address"));
    table_cell(&table, CF_SLICE("State"));
    table_cell(&table, CF_SLICE("Voter"));
    table_cell(&table, CF_SLICE("Lag"));
    table_cell(&table, CF_SLICE("Last Contact"));
    for (uint32_t i = 0; i < servers->count; i++) {
        const struct json *server = servers->items[i];
        bool leader = false;
        bool voter = false;
        (void)json_bool(json_get(server, "leader"), &leader);
        (void)json_bool(json_get(server, "voter"), &voter);
        table_row(&table);
        table_cell(&table, json_get_string(server, "node_id"));
        table_cell(&table, json_get_string(server, "address"));
        table_cellf(&table, "%s", leader ? "leader" : "follower");
        table_cellf(&table, "%s", voter ? "true" : "false");
        table_cell(&table, json_get(server, "lag_entries") != NULL
                               ? number_text(cli, json_get(server, "lag_entries"))
                               : CF_SLICE("-"));
        table_cell(&table, json_get(server, "last_contact") != NULL
                               ? json_get_string(server, "last_contact")
                               : CF_SLICE("-"));
    }
    table_print(&table, true, cli->out);
    return CLI_FINE;
}

/* A certificate: its text, or @file. */
static bool set_pem(struct cli *cli, struct json *body, const char *name, const char *value,
                    const char *what)
{
    struct cf_slice text = cf_slice_str(value);
    struct cf_error err = {0};
    if (value == NULL) {
        return true;
    }
    if (value[0] == '@' && cli_read_file(cli, value + 1, &text, &err) != CF_OK) {
        cli_error(cli, "Failed to parse %s: %s", what, err.message);
        return false;
    }
    json_set_string(cli->arena, body, name, text);
    return true;
}

int command_raft_join(struct cli *cli, char *const *argv)
{
    const char *ca = NULL;
    const char *certificate = NULL;
    const char *key = NULL;
    bool retry = false;
    bool non_voter = false;
    const struct flag flags[] = {
        {"leader-ca-cert", FLAG_STRING, &ca, NULL, "CA certificate of the leader, PEM or @file."},
        {"leader-client-cert", FLAG_STRING, &certificate, NULL,
         "Client certificate, PEM or @file."},
        {"leader-client-key", FLAG_STRING, &key, NULL, "Key of the client certificate."},
        {"retry", FLAG_BOOL, &retry, NULL, "Try again until it works."},
        {"non-voter", FLAG_BOOL, &non_voter, NULL, "Join without a vote."},
    };
    struct reply reply;
    struct table table;
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv,
                         (struct cli_rule){CLI_SERVER | CLI_FORMAT, 0, 1, "0-1"});
    if (code != CLI_GO) {
        return code;
    }
    struct json *body = json_object_new(cli->arena);
    json_set_text(cli->arena, body, "leader_api_addr",
                  cli_arg(cli, 0) != NULL ? cli_arg(cli, 0) : "");
    json_set_bool(cli->arena, body, "retry", retry);
    json_set_bool(cli->arena, body, "non_voter", non_voter);
    if (!set_pem(cli, body, "leader_ca_cert", ca, "leader CA certificate") ||
        !set_pem(cli, body, "leader_client_cert", certificate, "leader client certificate") ||
        !set_pem(cli, body, "leader_client_key", key, "leader client key")) {
        return CLI_USAGE;
    }
    struct call call = {.method = "POST",
                        .path = "sys/storage/raft/join",
                        .body = body,
                        .token = "",
                        .at_root = true,
                        .wrap_ttl = ""};
    code = session_do(cli, &call, &reply, "Error joining the node to the Raft cluster");
    if (code != CLI_FINE || output_machine(cli, reply.json)) {
        return code;
    }
    bool joined = false;
    (void)json_bool(json_get(reply.json, "joined"), &joined);
    table_init(&table, cli->arena);
    table_pair(&table, "Key", CF_SLICE("Value"));
    table_pairf(&table, "Joined", "%s", joined ? "true" : "false");
    table_print(&table, true, cli->out);
    return CLI_FINE;
}

int command_raft_remove_peer(struct cli *cli, char *const *argv)
{
    const char *dr_token = NULL;
    const struct flag flags[] = {
        {"dr-token", FLAG_STRING, &dr_token, NULL, "DR operation token, on a DR secondary."},
    };
    struct reply reply;
    int code = cli_parse(cli, flags, CF_LENGTH(flags), CLI_SERVER, argv);
    if (code != CLI_GO) {
        return code;
    }
    if (cli->args.count != 1) {
        cli_error(cli, "Incorrect arguments (expected 1, got %zu)", cli->args.count);
        return CLI_USAGE;
    }
    struct json *body = json_object_new(cli->arena);
    json_set_text(cli->arena, body, "server_id", cli_arg(cli, 0));
    if (dr_token != NULL) {
        json_set_text(cli->arena, body, "dr_operation_token", dr_token);
    }
    struct call call = {.method = "POST", .path = "sys/storage/raft/remove-peer", .body = body};
    code = session_do(cli, &call, &reply, "Error removing the peer from raft cluster");
    if (code == CLI_FINE) {
        cli_say(cli, "Peer removed successfully!");
    }
    return code;
}

int command_raft_snapshot_save(struct cli *cli, char *const *argv)
{
    struct reply reply;
    int code = cli_parse(cli, NULL, 0, CLI_SERVER, argv);
    if (code != CLI_GO) {
        return code;
    }
    if (cli->args.count != 1) {
        cli_error(cli, "Incorrect arguments (expected 1, got %zu)", cli->args.count);
        return CLI_USAGE;
    }
    const char *path = cli_arg(cli, 0);
    const char *next = arena_printf(cli->arena, "%s.incomplete", path);
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        cli_error(cli, "Error taking the snapshot: %s is there and is no file", path);
        return CLI_USAGE;
    }
    FILE *file = fopen(next, "w+e");
    if (file == NULL) {
        cli_error(cli, "Error taking the snapshot: open %s: %s", next, strerror(errno));
        return CLI_REFUSED;
    }
    struct call call = {.method = "GET", .path = "sys/storage/raft/snapshot", .download = file,
                        .progress = "Saving"};
    code = session_do(cli, &call, &reply, "Error taking the snapshot");
    bool kept =
        code == CLI_FINE && fflush(file) == 0 && raft_snapshot_is_whole(cli, file) && fsync(fileno(file)) == 0;
    (void)fclose(file);
    if (kept && rename(next, path) == 0) {
        return CLI_FINE;
    }
    (void)unlink(next);
    if (code == CLI_FINE) {
        cli_error(cli, "Error taking the snapshot: %s",
                  kept ? strerror(errno) : "what the server sent is no complete snapshot");
        code = CLI_REFUSED;
    }
    return code;
}

int command_raft_snapshot_restore(struct cli *cli, char *const *argv)
{
    bool force = false;
    bool dry_run = false;
    bool keep_tokens = false;
    const struct flag flags[] = {
        {"force", FLAG_BOOL, &force, NULL,
         "Take a snapshot that other unseal keys sealed, too: they are in force afterwards."},
        {"dry-run", FLAG_BOOL, &dry_run, NULL, "Check everything, say what would happen, do nothing."},
        {"keep-tokens", FLAG_BOOL, &keep_tokens, NULL,
         "Bring tokens, secret ids and wrapped answers back as they were, revoked ones, too."},
    };
    struct reply reply;
    int code = cli_parse(cli, flags, CF_LENGTH(flags), CLI_SERVER | CLI_FORMAT, argv);
    if (code != CLI_GO) {
        return code;
    }
    if (cli->args.count != 1) {
        cli_error(cli, "Incorrect arguments (expected 1, got %zu)", cli->args.count);
        return CLI_USAGE;
    }
    FILE *file = fopen(cli_arg(cli, 0), "re");
    if (file == NULL) {
        cli_error(cli, "Error opening snapshot file: open %s: %s", cli_arg(cli, 0),
                  strerror(errno));
        return CLI_REFUSED;
    }
    struct json *query = json_object_new(cli->arena);
    if (dry_run) {
        json_set_text(cli->arena, query, "dry_run", "true");
    }
    if (keep_tokens) {
        json_set_text(cli->arena, query, "keep_tokens", "true");
    }
    struct call call = {.method = "POST",
                        .path =
                            force ? "sys/storage/raft/snapshot-force" : "sys/storage/raft/snapshot",
                        .query = query,
                        .upload = file,
                        .progress = "Sending"};
    code = session_do(cli, &call, &reply, "Error installing the snapshot");
    (void)fclose(file);
    if (code != CLI_FINE || output_machine(cli, output_envelope(cli, reply.json))) {
        return code;
    }
    output_warnings(cli, reply.json);
    if (dry_run) {
        struct table table;
        table_init(&table, cli->arena);
        table_pair(&table, "Key", CF_SLICE("Value"));
        output_pairs(&table, json_get(reply.json, "data"));
        table_print(&table, true, cli->out);
    }
    return code;
}

int command_raft_autopilot_state(struct cli *cli, char *const *argv)
{
    const char *dr_token = NULL;
    const struct flag flags[] = {
        {"dr-token", FLAG_STRING, &dr_token, NULL, "DR operation token, on a DR secondary."},
    };
    struct reply reply;
    int code = cli_parse(cli, flags, CF_LENGTH(flags), CLI_SERVER | CLI_FORMAT, argv);
    if (code != CLI_GO) {
        return code;
    }
    struct call call = {.method = "GET", .path = "sys/storage/raft/autopilot/state"};
    use_dr_token(cli, &call, dr_token);
    code = session_do(cli, &call, &reply, "Error checking autopilot state");
    if (code != CLI_FINE) {
        return code;
    }
    const struct json *state = json_get(reply.json, "data");
    if (output_machine(cli, state)) {
        return CLI_FINE;
    }
    CF_BUF(text) = {0};
    const struct json *servers = json_get(state, "servers");
    render_value(&text, json_get(state, "healthy"));
    cli_say(cli, "Healthy:              %s", cf_buf_text(&text));
    cf_buf_reset(&text);
    render_value(&text, json_get(state, "failure_tolerance"));
    cli_say(cli, "Failure Tolerance:    %s", cf_buf_text(&text));
    cli_say(cli, "Leader:               %.*s", CF_SHOW(json_get_string(state, "leader")));
    for (size_t i = 0; json_is(servers, JSON_OBJECT) && i < servers->count; i++) {
        const struct json_member *server = &servers->members[i];
        cli_say(cli, "\n%.*s", CF_SHOW(server->key));
        struct table table;
        table_init(&table, cli->arena);
        output_pairs(&table, server->value);
        table_print(&table, false, cli->out);
    }
    return CLI_FINE;
}

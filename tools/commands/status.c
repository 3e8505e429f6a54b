/* tools/commands/status.c: the seal state and the role of a node, also for operator unseal. */
#include <inttypes.h>
#include <string.h>

#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/cli/render.h"
#include "tools/commands.h"
#include "tools/commands/status.h"

static bool flag_of(const struct json *object, const char *name)
{
    bool value = false;
    (void)json_bool(json_get(object, name), &value);
    return value;
}

static int64_t number_of(const struct json *object, const char *name)
{
    int64_t value = 0;
    (void)json_int64(json_get(object, name), &value);
    return value;
}

static const char *yes(bool value)
{
    return value ? "true" : "false";
}

static void seal_rows(struct table *table, const struct json *s)
{
    const char *kind = flag_of(s, "recovery_seal") ? "Recovery " : "";
    table_pair(table, "Seal Type", json_get_string(s, "type"));
    if (*kind != '\0') {
        struct cf_slice type = json_get_string(s, "recovery_seal_type");
        table_pair(table, "Recovery Seal Type", type.size > 0 ? type : CF_SLICE("shamir"));
    }
    table_pairf(table, "Initialized", "%s", yes(flag_of(s, "initialized")));
    table_pairf(table, "Sealed", "%s", yes(flag_of(s, "sealed")));
    table_pairf(table, arena_printf(table->arena, "Total %sShares", kind), "%" PRId64,
                number_of(s, "n"));
    table_pairf(table, "Threshold", "%" PRId64, number_of(s, "t"));
    if (flag_of(s, "sealed")) {
        table_pairf(table, "Unseal Progress", "%" PRId64 "/%" PRId64, number_of(s, "progress"),
                    number_of(s, "t"));
        table_pair(table, "Unseal Nonce", json_get_string(s, "nonce"));
    }
    if (flag_of(s, "migration")) {
        table_pair(table, "Seal Migration in Progress", CF_SLICE("true"));
    }
    table_pair(table, "Version", json_get_string(s, "version"));
    table_pair(table, "Build Date", json_get_string(s, "build_date"));
    table_pair(table, "Storage Type", json_get_string(s, "storage_type"));
    if (json_get_string(s, "cluster_name").size > 0 && json_get_string(s, "cluster_id").size > 0) {
        table_pair(table, "Cluster Name", json_get_string(s, "cluster_name"));
        table_pair(table, "Cluster ID", json_get_string(s, "cluster_id"));
    }
    table_pairf(table, "HA Enabled", "%s", yes(flag_of(s, "ha_enabled")));
}

static void ha_rows(struct table *table, const struct json *s)
{
    bool active = flag_of(s, "is_self");
    struct cf_slice since = json_get_string(s, "active_time");
    struct cf_slice leader = json_get_string(s, "leader_address");
    table_pair(table, "HA Cluster", json_get_string(s, "leader_cluster_address"));
    table_pairf(table, "HA Mode", "%s", active ? "active" : "standby");
    if (active && since.size > 0 && !cf_slice_starts(since, CF_SLICE("0001-"))) {
        table_pair(table, "Active Since", since);
    }
    if (!active) {
        table_pair(table, "Active Node Address", leader.size > 0 ? leader : CF_SLICE("<none>"));
    }
    if (flag_of(s, "performance_standby")) {
        table_pair(table, "Performance Standby Node", CF_SLICE("true"));
        table_pairf(table, "Performance Standby Last Remote WAL", "%" PRId64,
                    number_of(s, "performance_standby_last_remote_wal"));
    }
}

static void index_row(struct table *table, const char *name, const struct json *s,
                      const char *field)
{
    int64_t value = number_of(s, field);
    if (value > 0) {
        table_pairf(table, name, "%" PRId64, value);
    }
}

static void print_table(struct cli *cli, const struct json *s)
{
    struct table table;
    table_init(&table, cli->arena);
    table_pair(&table, "Key", CF_SLICE("Value"));
    seal_rows(&table, s);
    if (flag_of(s, "ha_enabled") && !flag_of(s, "sealed")) {
        ha_rows(&table, s);
    }
    index_row(&table, "Raft Committed Index", s, "raft_committed_index");
    index_row(&table, "Raft Applied Index", s, "raft_applied_index");
    index_row(&table, "Last WAL", s, "last_wal");
    table_print(&table, true, cli->out);
}

/* Copies what is there and is not empty, false, zero or null. */
static void carry(struct cli *cli, struct json *to, const struct json *from, const char *name)
{
    struct json *value = json_get(from, name);
    bool empty = value == NULL || value->type == JSON_NULL ||
                 (value->type == JSON_STRING && value->text.size == 0) ||
                 (value->type == JSON_BOOL && !value->boolean) ||
                 (value->type == JSON_NUMBER && cf_slice_is(value->text, "0"));
    if (!empty) {
        json_set(cli->arena, to, name, value);
    }
}

int status_print(struct cli *cli, const struct json *seal)
{
    static const char *const from_leader[] = {"is_self",
                                              "active_time",
                                              "leader_address",
                                              "leader_cluster_address",
                                              "performance_standby",
                                              "performance_standby_last_remote_wal",
                                              "last_wal",
                                              "raft_committed_index",
                                              "raft_applied_index"};
    if (!json_is(seal, JSON_OBJECT)) {
        cli_error(cli, "Error checking seal status: %s does not answer as a server of this API",
                  cli->address);
        return CLI_USAGE;
    }
    struct json *merged = json_copy(cli->arena, seal);
    struct cf_error err = {0};
    struct reply reply;
    struct call call = {
        .method = "GET", .path = "sys/leader", .token = "", .at_root = true, .wrap_ttl = ""};
    cf_status status = session_call(cli, &call, &reply, &err);
    if (status != CF_OK) {
        cli_error(cli, "Error checking leader status: %s", err.message);
        return CLI_USAGE;
    }
    /* A sealed node refuses to say; that there is a leader to have means that it is one of several.
     */
    bool sealed = memmem(reply.body.data, reply.body.size, "sealed", 6) != NULL;
    bool ha = reply.status == 200 ? flag_of(reply.json, "ha_enabled") : sealed;
    json_set_bool(cli->arena, merged, "ha_enabled", ha);
    for (size_t i = 0; reply.status == 200 && i < CF_LENGTH(from_leader); i++) {
        carry(cli, merged, reply.json, from_leader[i]);
    }
    if (cli->field != NULL) {
        return output_field(cli, merged, cli->field);
    }
    if (!output_machine(cli, merged)) {
        print_table(cli, merged);
    }
    return CLI_FINE;
}

int command_status(struct cli *cli, char *const *argv)
{
    struct cf_error err = {0};
    struct reply reply;
    int code =
        cli_begin(cli, NULL, 0, argv, (struct cli_rule){CLI_SERVER | CLI_FORMAT | CLI_FIELD, 0, 0});
    if (code != CLI_GO) {
        return code;
    }
    struct call call = {
        .method = "GET", .path = "sys/seal-status", .token = "", .at_root = true, .wrap_ttl = ""};
    cf_status status = session_call(cli, &call, &reply, &err);
    if (status == CF_OK && (cli->output_curl || cli->output_policy)) {
        return SESSION_PRINTED;
    }
    if (status != CF_OK || reply.status != 200) {
        cli_error(cli, "Error checking seal status: %s",
                  status != CF_OK ? err.message : session_error_text(cli, &reply));
        return CLI_USAGE; /* 2 means sealed here */
    }
    code = status_print(cli, reply.json);
    bool open = flag_of(reply.json, "initialized") && !flag_of(reply.json, "sealed");
    return code != CLI_FINE || open ? code : CLI_REFUSED;
}

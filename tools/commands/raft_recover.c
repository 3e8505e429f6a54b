/* tools/commands/raft_recover.c: operator raft recover. */
#include "node/base/memory.h"
#include "tools/commands.h"
#include "tools/tools.h"

int (*tools_offline_recovery)(const struct tools_recovery *asked, FILE *out, FILE *err);

int command_raft_recover(struct cli *cli, char *const *argv)
{
    struct tools_recovery asked = {0};
    const struct flag flags[] = {
        {"config", FLAG_STRING, &asked.config, NULL,
         "The server's configuration file: it says where the node's data lies."},
        {"peers", FLAG_STRING, &asked.peers, NULL,
         "A peers.json that names this node (default: one in the data directory)."},
        {"dry-run", FLAG_BOOL, &asked.dry_run, NULL, "Show what would be done, and do nothing."},
    };
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv, (struct cli_rule){0, 0, 0, NULL});
    if (code != CLI_GO) {
        return code;
    }
    if (asked.config == NULL) {
        cli_error(cli, "Give the configuration of the stopped node with -config=FILE");
        return CLI_USAGE;
    }
    if (tools_offline_recovery == NULL) {
        cli_error(cli, "This build cannot recover a node");
        return CLI_USAGE;
    }
    return tools_offline_recovery(&asked, cli->out, cli->err) == 0 ? CLI_FINE : CLI_USAGE;
}

/* tools/commands/diagnose.c: operator diagnose. The checks are node/server's, which knows the server. */
#include "node/base/memory.h"
#include "tools/commands.h"
#include "tools/tools.h"

int (*tools_offline_diagnosis)(const struct tools_diagnosis *asked, FILE *out);

int command_operator_diagnose(struct cli *cli, char *const *argv)
{
    struct strings configs = {0};
    const struct flag flags[] = {
        {"config", FLAG_LIST, &configs, NULL,
         "The server's configuration, a file or a folder; repeatable."},
    };
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv, (struct cli_rule){CLI_FORMAT, 0, 0});
    if (code != CLI_GO) {
        return code;
    }
    if (configs.count == 0) {
        cli_error(cli, "Must specify a configuration file using -config.");
        return CLI_USAGE;
    }
    if (tools_offline_diagnosis == NULL) {
        cli_error(cli, "This build cannot diagnose a server");
        return CLI_USAGE;
    }
    struct tools_diagnosis asked = {.configs = configs.at,
                                    .config_count = configs.count,
                                    .as_json = cli_format_is(cli, "json")};
    return tools_offline_diagnosis(&asked, cli->out);
}

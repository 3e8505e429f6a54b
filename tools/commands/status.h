/* tools/commands/status.h: the table of a node's seal state. */
#ifndef COFFER_COMMANDS_STATUS_H
#define COFFER_COMMANDS_STATUS_H

#include "node/format/json.h"
#include "tools/cli/cli.h"

/* Asks who leads and prints both in the format that was asked for. `seal` is the seal status.
 * Returns the exit code; 1 when the question was not answered. */
int status_print(struct cli *cli, const struct json *seal);

#endif

/* tools/commands.h: the functions of tools/commands.def. `argv` begins after the command's words
 * and ends with NULL; the result is the exit code. */
#ifndef COFFER_TOOLS_COMMANDS_H
#define COFFER_TOOLS_COMMANDS_H

#include "tools/cli/cli.h"

#define COMMAND(words, function, usage, help) int function(struct cli *cli, char *const *argv);
#include "tools/commands.def"
#undef COMMAND

#endif

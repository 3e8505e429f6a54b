/* tools/commands.h: the functions of tools/commands.def. `argv` begins after the command's words
 * and ends with NULL; the result is the exit code. */
#ifndef COFFER_TOOLS_COMMANDS_H
#define COFFER_TOOLS_COMMANDS_H

#include <stdio.h>

#include "tools/cli/cli.h"

#define COMMAND(words, function, usage, help) int function(struct cli *cli, char *const *argv);
#include "tools/commands.def"
#undef COMMAND

/* raft_snapshot.c: whether the file, read from its beginning, is a whole snapshot. */
bool raft_snapshot_is_whole(struct cli *cli, FILE *file);

#endif

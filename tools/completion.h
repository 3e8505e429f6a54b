/* tools/completion.h: shell completion, made from the command table. Return exit codes. Thread: main. */
#ifndef COFFER_TOOLS_COMPLETION_H
#define COFFER_TOOLS_COMPLETION_H

#include "tools/commands.h"

/* The script for bash, zsh or fish, to cli->out. */
int completion_print(struct cli *cli, const char *shell);
/* Adds (or removes) the line that loads it to the start file of $SHELL; twice is once. */
int completion_install(struct cli *cli, bool install);

#endif

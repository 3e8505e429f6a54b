/* tools/tools.h
 *
 * Every command of the binary but `server`. Thread: main; called once.
 */
#ifndef COFFER_TOOLS_TOOLS_H
#define COFFER_TOOLS_TOOLS_H

#include <stdbool.h>
#include <stdio.h>

/* Runs the command that argv[1..] names on the process's own streams. Returns the exit code: 0
 * fine, 1 wrong use or a local failure, 2 the server refused or has nothing, 127 unknown command.
 */
int tools_main(int argc, char **argv);

/* The same on other streams (tests). */
int tools_run(int argc, char *const *argv, FILE *in, FILE *out, FILE *err);

/* `operator raft recover` works on files of a stopped node, which this folder knows nothing of:
 * node/server fills it in. NULL: not offered. */
struct tools_recovery {
    const char *config; /* the server's configuration: where the data lies, and who this node is */
    const char *peers;  /* a peers.json; NULL: one in the data directory, or this node alone */
    bool dry_run;
};
extern int (*tools_offline_recovery)(const struct tools_recovery *asked, FILE *out, FILE *err);

/* `operator diagnose` checks what a server would meet on this machine; filled in by node/server, too. */
struct tools_diagnosis {
    const char *const *configs; /* files or folders, as -config of the server */
    size_t config_count;
    bool as_json;
};
extern int (*tools_offline_diagnosis)(const struct tools_diagnosis *asked, FILE *out);

#endif

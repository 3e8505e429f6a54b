/* node/server/recover.h: `coffer operator raft recover`: a stopped node becomes a cluster of one. */
#ifndef COFFER_SERVER_RECOVER_H
#define COFFER_SERVER_RECOVER_H

#include "tools/tools.h"

/* tools' offline_recover. Returns the exit code: 0 done (or shown, with dry_run), 1 refused. */
int recover_run(const struct tools_recovery *asked, FILE *out, FILE *err);

#endif

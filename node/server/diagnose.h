/* node/server/diagnose.h: `coffer operator diagnose`: would a server with this configuration do here? */
#ifndef COFFER_SERVER_DIAGNOSE_H
#define COFFER_SERVER_DIAGNOSE_H

#include "tools/tools.h"

/* tools_offline_diagnosis: checks configuration, certificates, storage, disk, clock, limits and ports,
 * starts and changes nothing (one small file in the data directory comes and goes). The exit code: 0 all
 * is well, 1 something would keep the server from working, 2 something should be looked at. */
int diagnose_run(const struct tools_diagnosis *asked, FILE *out);

#endif

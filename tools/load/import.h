/* tools/load/import.h: what import and its check share. */
#ifndef COFFER_LOAD_IMPORT_H
#define COFFER_LOAD_IMPORT_H

#include "tools/cli/cli.h"
#include "tools/load/fleet.h"

struct import {
    struct strings addresses, tokens;
    const char *mount, *prefix, *key, *wait;
    int64_t parallel, tries, show;
    bool verify, enable, quiet;
    struct conn_target *targets; /* of addresses */
    size_t target_count;
};

/* Compares every cluster (address) with the documents, or, without a file, with the first cluster.
 * Prints a line a cluster and the first differences; exit code 0 only when all is equal. */
int import_verify(struct cli *cli, const struct import *import);

#endif

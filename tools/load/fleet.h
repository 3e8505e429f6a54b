/* tools/load/fleet.h
 *
 * The requests of an import: one PUT or GET per document, over many connections, tried again where
 * that can help (a leader election, a full queue, a lost connection). Thread: the caller's.
 */
#ifndef COFFER_LOAD_FLEET_H
#define COFFER_LOAD_FLEET_H

#include <stdint.h>

#include "node/base/slice.h"
#include "node/base/status.h"
#include "tools/cli/term.h"
#include "tools/load/conn.h"
#include "tools/load/records.h"

struct fleet_setup {
    const struct conn_target *targets; /* nodes of one cluster; connections take them in turn */
    unsigned target_count, parallel;
    unsigned tries;        /* of one request, at least 1 */
    unsigned failures_max; /* of documents, then it gives up */
    const char *token, *name_space;
    const char *mount; /* without slashes at the ends */
    const struct records *records;
    struct term_progress *progress; /* may be NULL */
};

struct fleet_result {
    uint64_t done, failed, retries, bytes;
    char first_error[512]; /* of a document that failed */
};

/* Writes every document as a new version. CF_OK also when some failed (see result). */
CF_CHECKED cf_status fleet_write(const struct fleet_setup *setup, struct fleet_result *result,
                                 struct cf_error *err);

/* Reads the latest version of every path; `seen` gets the status 200 and the body, or 404 and an
 * empty one. */
CF_CHECKED cf_status fleet_read(const struct fleet_setup *setup,
                                void (*seen)(void *context, size_t at, int status,
                                             struct cf_slice body),
                                void *context, struct fleet_result *result, struct cf_error *err);

/* Lists all paths below mount/prefix, folders as well, and hands each to `found`. */
CF_CHECKED cf_status fleet_list(const struct fleet_setup *setup, const char *prefix,
                                void (*found)(void *context, struct cf_slice path), void *context,
                                struct cf_error *err);

#endif

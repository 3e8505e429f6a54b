/* node/server/snapshot/auto_int.h: what settings and files of scheduled snapshots share. */
#ifndef COFFER_SERVER_SNAPSHOT_AUTO_INT_H
#define COFFER_SERVER_SNAPSHOT_AUTO_INT_H

#include <limits.h>

#include "node/server/snapshot/snapshot.h"

#define AUTO_CONFIG AREA_CLUSTER "snapshot-auto/" /* <name>: settings; plain */
#define AUTO_STATUS AREA_CLUSTER "snapshot-last/" /* <name>: the last outcome; plain */

struct auto_order {
    struct cf_slice path_prefix; /* empty: the configured folder itself */
    const char *file_prefix;
    size_t retain;
};
struct auto_result {
    struct snapshot_info info;
    uint64_t size;
    char path[PATH_MAX + 272];
};

/* The folder that a path_prefix means on this node: `snapshot_path` of the configuration, or what lies
 * below it, symbolic links resolved. It must exist. CF_INVALID for any other place, and when nothing is
 * configured. */
CF_CHECKED cf_status auto_folder(const struct node *node, struct cf_slice path_prefix,
                                 char ret[PATH_MAX], struct cf_error *err);
/* Takes one, durably and under its name only when whole; then removes the oldest beyond `retain`.
 * Blocks. */
CF_CHECKED cf_status auto_take(struct node *node, const struct auto_order *order,
                               struct auto_result *ret, struct cf_error *err);

#endif

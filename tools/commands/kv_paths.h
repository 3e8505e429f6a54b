/* tools/commands/kv_paths.h: where a KV mount begins, which version it has, and kv's headings. */
#ifndef COFFER_COMMANDS_KV_PATHS_H
#define COFFER_COMMANDS_KV_PATHS_H

#include <stdbool.h>

#include "tools/cli/cli.h"
#include "tools/cli/session.h"

struct kv_path {
    const char *mount; /* without slashes at the ends */
    const char *key;   /* below the mount; may be empty */
    bool v2;
};

/* Asks the server which mount `text` lies in (or `mount` says so) and whether it has versions. 0 or
 * the exit code, the complaint printed. */
int kv_resolve(struct cli *cli, const char *mount, const char *text, struct kv_path *ret);
/* mount/<part>/key for KV v2, mount/key for KV v1 (or part NULL). */
const char *kv_full_path(struct cli *cli, const struct kv_path *path, const char *part);
/* The same without asking: mount and path from what sys/internal/ui/mounts said. Pure. */
void kv_split(struct cli *cli, const char *mount_path, const char *text, struct kv_path *ret);

/* "=== Title ===" over a table of this object. */
void kv_heading(struct cli *cli, const char *title, const struct json *object);
/* "== Secret Path ==", the path and an empty line. */
void kv_path_heading(struct cli *cli, const char *title, const char *path);
/* The table of an object. */
void kv_pairs(struct cli *cli, const struct json *object);

/* "1,2" and repeated flags as a list of texts; NULL when there are none. */
struct json *kv_versions(struct cli *cli, const struct strings *texts);

#endif

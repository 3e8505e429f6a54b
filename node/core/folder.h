/* node/core/folder.h
 *
 * Paths below folders ("a/b/"): what mounts and namespaces are found by. A path lies in a folder when
 * it begins with it, or is the folder without its closing slash. Pure.
 */
#ifndef COFFER_CORE_FOLDER_H
#define COFFER_CORE_FOLDER_H

#include <string.h>

#include "node/base/slice.h"

/* The order of `path` followed by a slash, and `folder`: < 0, 0, > 0, bytewise. */
static inline int folder_cmp(struct cf_slice path, struct cf_slice folder)
{
    size_t common = path.size < folder.size ? path.size : folder.size;
    int order = common != 0 ? memcmp(path.data, folder.data, common) : 0;
    if (order != 0) {
        return order;
    }
    if (folder.size <= path.size) {
        return 1; /* at least the slash is more */
    }
    uint8_t next = folder.data[path.size];
    if (next != '/') {
        return next < '/' ? 1 : -1;
    }
    return folder.size == path.size + 1 ? 0 : -1;
}

/* Whether `path` lies in `folder` or is it. Everything lies in the empty folder. */
static inline bool folder_holds(struct cf_slice folder, struct cf_slice path)
{
    return cf_slice_starts(path, folder) ||
           (path.size + 1 == folder.size && cf_slice_starts(folder, path) &&
            folder.data[path.size] == '/');
}

#endif

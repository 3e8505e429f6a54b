/* node/server/snapshot/areas.h
 *
 * Names of engines that a restore does not simply take from the archive: credentials (secret ids) and
 * revocations (lists of revoked certificates). engine.h says what they are; any thread.
 */
#ifndef COFFER_SERVER_SNAPSHOT_AREAS_H
#define COFFER_SERVER_SNAPSHOT_AREAS_H

#include "node/core/view.h"
#include "node/format/encode.h"
#include "node/format/json.h"

struct mount;

enum area_kind { AREA_OF_CREDENTIALS, AREA_OF_REVOCATIONS };

struct area {
    struct uuid mount;
    enum area_kind kind;
    struct cf_slice prefix;
};

/* Zeroed: none. Of an arena. */
struct areas {
    struct area *items;
    size_t count, capacity;
};

/* What the mount's engine says; it need not outlive the call. */
void areas_add_mount(struct areas *areas, struct arena *arena, const struct mount *mount);
/* Whether the name of a key lies in one of that kind. */
bool areas_hold(const struct areas *areas, enum area_kind kind, struct cf_slice name);
bool areas_any(const struct areas *areas);

/* meta.json's `credentials`: "<uuid of the mount>/<prefix>" of all mounts of an unsealed view. */
struct json *areas_to_json(struct arena *arena, const struct view *view);
/* The slices are the list's. False: it is no such list; what could be read is added. */
bool areas_from_json(struct areas *areas, struct arena *arena, const struct json *list);

#endif

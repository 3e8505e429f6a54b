/* node/core/mount.h
 *
 * A mount table: which engine answers at which path of a namespace. Immutable once published.
 */
#ifndef COFFER_CORE_MOUNT_H
#define COFFER_CORE_MOUNT_H

#include "node/core/engine.h"
#include "node/core/view.h"
#include "node/format/encode.h"

/* A mount on its way to another namespace (mount_move.h) has an entry in each; below both, requests are refused. */
struct mount_move {
    enum { MOVE_NONE, MOVE_OUT, MOVE_IN } way;
    uint32_t other_ns; /* where the other entry is: of the same uuid */
    uint32_t asked_ns; /* whose sys/remount/status has its record */
    struct cf_slice id;
};
#define MOUNT_FORMER_MAX ((size_t)16)

struct mount {
    const struct engine_ops *ops;
    uint32_t ns; /* the namespace that it belongs to; paths are relative to it */
    struct uuid uuid;
    char uuid_text[37];
    struct cf_slice path; /* "secret/", "auth/userpass/": with the "auth/" of auth methods */
    struct cf_slice record_name; /* of its table entry */
    struct cf_slice type, description, accessor;
    int64_t default_lease_ttl_s, max_lease_ttl_s; /* 0: the server's */
    bool force_no_cache, is_local, seal_wrap, external_entropy_access;
    struct json *options; /* object of strings, or NULL */
    struct json *config;  /* object: the other tuned keys as they were set, or NULL */
    struct cf_slice token_type, listing_visibility;
    uint8_t class;        /* enum key_class of its data */
    uint64_t entry_hash;  /* key_hash of the table entry: part of every read set below the mount */
    struct mount_move move;
    /* Namespaces that it was moved from, the latest last: each cluster carries its own data after it. */
    uint32_t former[MOUNT_FORMER_MAX];
    size_t former_count;
    bool is_fixed;        /* sys, identity, cubbyhole, auth/token: cannot be moved or disabled */
};

/* The mounts of one namespace. */
struct mount_table {
    struct arena *arena;
    const struct mount **mounts; /* sorted by path */
    ptrdiff_t *around; /* of each: the longest other path that it lies in; -1: none */
    size_t count;
    struct cf_map *by_uuid, *by_accessor;
    bool has_stale; /* mount_reads_stale() of any */
    bool has_moves; /* some are on their way, or were moved here */
    _Atomic unsigned references;
};

/* Of each namespace: written with every change of its mount table in that class. */
#define MOUNT_TABLE_GUARD AREA_CONFIG "mount-table"
#define MOUNT_READ_CONSISTENCY "read_consistency"
/* Tuned with read_consistency=stale: its reads are answered from what a node has. */
bool mount_reads_stale(const struct mount *mount);

/* Reads every AREA_MOUNT entry of the namespace in the view's state. */
CF_CHECKED cf_status mount_table_load(const struct view *view, uint32_t ns,
                                      const struct engine_ops *const *engines,
                                      struct mount_table **ret, struct cf_error *err);
struct mount_table *mount_table_ref(struct mount_table *table);
void mount_table_unref(struct mount_table *table);

/* The mount whose path is the longest prefix of `path` (a path equal to the mount's without its closing
 * slash counts). NULL when there is none. */
const struct mount *mount_table_match(const struct mount_table *table, struct cf_slice path);
const struct mount *mount_table_find(const struct mount_table *table, struct cf_slice path);
const struct mount *mount_table_by_uuid(const struct mount_table *table, struct uuid uuid);
const struct mount *mount_table_by_accessor(const struct mount_table *table, struct cf_slice accessor);

/* The table entry as a record, and back (into the arena). */
struct key mount_key(const struct mount *mount);
struct json *mount_to_record(struct arena *arena, const struct mount *mount);
CF_CHECKED cf_status mount_from_record(struct arena *arena, uint32_t ns, const struct json *record,
                                       const struct engine_ops *const *engines, struct mount **ret,
                                       struct cf_error *err);
/* A name of class cluster in the data of a mount that is not the request's; it goes with the mount. */
struct key mount_local_key(struct arena *arena, const struct mount *mount, struct cf_slice name);
/* A new uuid, accessor, entry_hash and class for mount->type, kind and is_local, in rq->ns. */
void mount_identify(struct mount *mount, struct request *rq);

#endif

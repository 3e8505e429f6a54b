/* node/core/namespace.h
 *
 * Namespaces (core-api.md section 18): a store of its own below a path, with mounts, policies, tokens,
 * identities and leases that nobody outside it and the namespaces around it can act on. A namespace is
 * known by its path to clients, by its id at the end of its tokens and accessors, and by its number in
 * keys (key.h). Numbers are never used again, so that what is left of a deleted namespace anywhere belongs
 * to nobody.
 *
 * The table of all namespaces, with the mounts of each, is part of every view, and immutable. A namespace
 * whose own mounts did not change keeps their table from one view to the next.
 */
#ifndef COFFER_CORE_NAMESPACE_H
#define COFFER_CORE_NAMESPACE_H

#include "node/core/mount.h"
#include "node/core/txn.h"

/* In root, class replicated: written with every change of the table. */
#define NAMESPACE_TABLE_GUARD AREA_CONFIG "namespaces"
#define NAMESPACE_ID_SIZE ((size_t)6)

struct namespace {
    uint32_t number;                /* 0: root */
    const struct namespace *parent; /* NULL: root */
    struct uuid uuid;
    char uuid_text[37];
    struct cf_slice id;   /* "root", or six of [A-Za-z0-9] */
    struct cf_slice path; /* "" for root, or "a/b/" */
    struct json *custom_metadata; /* object of strings */
    struct cf_slice unlock_hash; /* SHA-256 of the key that unlocks it; empty: not locked */
    bool is_tainted; /* being deleted: nobody gets in any more */
    uint64_t entry_hash; /* key_hash of its record: part of every read set below it */
    struct mount_table *mounts;
};

struct namespace_table {
    struct arena *arena;
    struct namespace **list; /* sorted by path; the first is root */
    size_t count;
    uint64_t index; /* of the view that it was made for: tells tables apart */
    struct cf_map *by_id, *by_number;
    _Atomic unsigned references;
};

/* Whose mounts changed since the table before was made. */
#define STALE_MOUNTS_MAX 8
struct stale_mounts {
    bool all;
    size_t count;
    uint32_t ns[STALE_MOUNTS_MAX];
};
void stale_mounts_add(struct stale_mounts *stale, uint32_t ns);

/* Reads every AREA_NAMESPACE record of the view, and the mounts of those that are new or stale. before:
 * where the others are taken from, or NULL. */
CF_CHECKED cf_status namespace_table_load(const struct view *view,
                                          const struct engine_ops *const *engines,
                                          const struct namespace_table *before,
                                          const struct stale_mounts *stale,
                                          struct namespace_table **ret, struct cf_error *err);
struct namespace_table *namespace_table_ref(struct namespace_table *table);
void namespace_table_unref(struct namespace_table *table); /* NULL is fine */

/* The namespace that a whole path lies in: the longest one, root at least. */
const struct namespace *namespace_table_match(const struct namespace_table *table,
                                              struct cf_slice path);
/* By its exact path ("a/b/"), number or id; NULL when there is none. */
const struct namespace *namespace_table_find(const struct namespace_table *table,
                                             struct cf_slice path);
const struct namespace *namespace_by_number(const struct namespace_table *table, uint32_t number);
const struct namespace *namespace_by_id(const struct namespace_table *table, struct cf_slice id);
/* The namespace of a token or accessor by what follows its last dot; root without one. NULL for an
 * unknown id. */
const struct namespace *namespace_of_text(const struct namespace_table *table,
                                          struct cf_slice text);
/* "<text>.<id>"; the text itself for root (NULL: root). */
struct cf_slice namespace_mark(struct arena *arena, const struct namespace *ns,
                               struct cf_slice text);

/* Whether `ns` is `around` or lies below it. */
bool namespace_is_within(const struct namespace *ns, const struct namespace *around);
/* The namespace at or above `ns` that is locked; NULL when none is. */
const struct namespace *namespace_lock_of(const struct namespace *ns);
bool namespace_has_children(const struct namespace_table *table, const struct namespace *ns);
/* Whether a path below sys/ (without the "sys/") is answered in the root namespace only. */
bool namespace_is_root_only(struct cf_slice sys_path);
/* Adds the records of `ns` and what is around it to the read set: what was allowed in it does not land
 * after its end, nor after a lock. */
void namespace_note_read(struct txn *txn, const struct namespace *ns);

/* The record, and back into the arena (parent and mounts are left out). */
struct key namespace_key(struct arena *arena, uint32_t number);
struct cf_slice namespace_to_record(struct arena *arena, const struct namespace *ns);
CF_CHECKED cf_status namespace_from_record(struct arena *arena, uint32_t number,
                                           struct cf_slice record, struct namespace **ret,
                                           struct cf_error *err);

/* One bounded step of what the active node does about namespaces that are deleted: ends their leases, then
 * their data, then their records; and drops the data of this cluster that belongs to no namespace any
 * more. ret_more: there is more to do. */
CF_CHECKED cf_status namespace_clean(struct txn *txn, struct arena *arena, bool *ret_more,
                                     struct cf_error *err);

/* On a performance secondary, what the active node does about shared mounts that went, by the primary's doing: takes
 * back the leases and tokens of their paths, drops what this cluster keeps for them, and where that was data says so
 * in MOUNTS_CLEANED, for the files to be rewritten. Costs a few reads a mount: for when the tables have changed. */
CF_CHECKED cf_status mount_clean(struct txn *txn, struct arena *arena, struct cf_error *err);
#define MOUNTS_SEEN AREA_CONFIG "mounts-seen"     /* class cluster, of each namespace */
#define MOUNTS_CLEANED AREA_REPL "mounts-cleaned" /* class cluster, in root */

#endif

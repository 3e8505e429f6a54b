/* node/engines/kv/kv_int.h
 *
 * The secrets engine "kv": what its files share. Both versions of the engine keep a secret under
 * the same name, so that a mount goes from version 1 to 2 without a byte being moved:
 *
 *     k/<path>                          the entry: plain (version 1) or versioned (version 2)
 *     v/<8 bytes number><path>          the data of a version that does not lie in its entry
 *     config                            settings of the mount (version 2)
 *
 * An entry is binary, the user's data in it JSON text that reads do not look into:
 *
 *     plain:      record version, 1, created (8), lease seconds (8), data
 *     versioned:  record version, 2, flags, created (8), updated (8), current (8), oldest (8),
 *                 max_versions (4), delete_version_after seconds (8), number of versions (4),
 *                 size of custom metadata (4), custom metadata, 17 bytes a version, data of the
 * current version (flag)
 *
 * Integers are big-endian, times ns since 1970. The data of the current version lies in the entry
 * while it is small (KV_INLINE_MAX), so that reading it takes one look-up; the next write moves it
 * out.
 */
#ifndef COFFER_ENGINES_KV_KV_INT_H
#define COFFER_ENGINES_KV_KV_INT_H

#include "node/core/engine.h"
#include "node/core/mount.h"

#define KV_PATH_MAX ((size_t)3840)
#define KV_INLINE_MAX ((size_t)4096)
#define KV_VERSIONS_DEFAULT 10
#define KV_VERSIONS_MAX 10000
/* A write that finds the limit lowered removes so many of the versions beyond it, later ones the
 * rest. */
#define KV_PRUNE_MAX 100

struct kv_version {
    int64_t created_ns, deletion_ns; /* deletion: 0: never; may lie ahead */
    bool destroyed;
    bool deleted; /* at once, whatever the clock of the reader says */
};

/* One secret of a version 2 mount. Memory of the request. */
struct kv_entry {
    struct cf_slice path;
    bool exists; /* there is a record */
    int64_t created_ns, updated_ns;
    uint64_t current;      /* 0: metadata without a version */
    uint64_t oldest;       /* 0 until a version is pruned */
    uint32_t max_versions; /* 0: the mount's */
    bool cas_required;
    int64_t delete_after_s;
    struct cf_slice custom_metadata; /* JSON object, or empty */
    size_t count;                    /* versions current - count + 1 to current */
    const uint8_t *versions;         /* 17 bytes each: read through kv_version_get() */
    uint8_t *own_versions;           /* the same, once they were copied for a change */
    bool has_data;                   /* that of the current version is here */
    struct cf_slice data;
};

struct kv_config {
    uint32_t max_versions; /* 0: KV_VERSIONS_DEFAULT */
    bool cas_required;
    int64_t delete_after_s; /* < 0: off, whatever the secret says */
};

/* ---- entry.c ---- */

/* The captured path. CF_INVALID when it is too long for a name. */
CF_CHECKED cf_status kv_path(struct request *rq, struct cf_slice *ret, struct cf_error *err);
/* Whether the captured path can be a secret's: not empty, no folder. */
bool kv_names_secret(const struct request *rq);
struct cf_slice kv_entry_name(struct arena *arena, struct cf_slice path);
/* CF_OK with exists false when there is none. A plain entry is seen as one with one version. */
CF_CHECKED cf_status kv_entry_load(struct request *rq, struct cf_slice path, struct kv_entry *ret,
                                   struct cf_error *err);
void kv_entry_save(struct request *rq, struct kv_entry *entry);
/* The record of the entry and those of all its versions. */
void kv_entry_remove(struct request *rq, const struct kv_entry *entry);

/* False when there is no such version (any more). */
bool kv_version_get(const struct kv_entry *entry, uint64_t number, struct kv_version *ret);
/* The version exists. */
void kv_version_set(struct arena *arena, struct kv_entry *entry, uint64_t number,
                    const struct kv_version *version);
/* One more version, with its data; prunes those beyond max_versions. */
void kv_version_add(struct request *rq, struct kv_entry *entry, const struct kv_version *version,
                    struct cf_slice data, uint32_t max_versions);
/* The data of a version that is neither deleted nor destroyed, as JSON text. */
CF_CHECKED cf_status kv_version_data(struct request *rq, const struct kv_entry *entry,
                                     uint64_t number, struct cf_slice *ret, struct cf_error *err);
/* Removes the data of a version for good. */
void kv_version_wipe(struct request *rq, struct kv_entry *entry, uint64_t number);
bool kv_version_is_gone(const struct request *rq, const struct kv_version *version);

/* A plain entry (version 1). CF_NOT_FOUND when absent. lease_s 0: the mount's. */
struct kv_plain {
    int64_t created_ns, lease_s;
    struct cf_slice data;
};
CF_CHECKED cf_status kv_plain_load(struct request *rq, struct cf_slice path, struct kv_plain *ret,
                                   struct cf_error *err);
void kv_plain_save(struct request *rq, struct cf_slice path, const struct kv_plain *plain);

/* Sorted JSON text of a document, in the arena. CF_TOO_LARGE when no log entry could hold it. */
CF_CHECKED cf_status kv_text(struct arena *arena, const struct json *node, struct cf_slice *ret,
                             struct cf_error *err);

/* ---- config.c ---- */
CF_CHECKED cf_status kv_config_load(struct request *rq, struct kv_config *ret,
                                    struct cf_error *err);
cf_status kv_config_read(struct request *rq, struct cf_error *err);
cf_status kv_config_write(struct request *rq, struct cf_error *err);
/* "max_versions" of the request over `value`. CF_INVALID outside 0..KV_VERSIONS_MAX. */
CF_CHECKED cf_status kv_read_max_versions(struct request *rq, uint32_t *value,
                                          struct cf_error *err);

/* ---- data.c ---- */
cf_status kv_entry_exists(struct request *rq, bool *ret, struct cf_error *err);
cf_status kv_data_read(struct request *rq, struct cf_error *err);
cf_status kv_data_write(struct request *rq, struct cf_error *err);
cf_status kv_data_patch(struct request *rq, struct cf_error *err);
cf_status kv_data_delete(struct request *rq, struct cf_error *err);
/* The version that a read asks for. CF_NOT_FOUND for one that is not there. Of one that is gone the
 * answer is made (404 with its metadata under `key`: null) and *ret_gone set. */
CF_CHECKED cf_status kv_find_version(struct request *rq, struct kv_entry *entry, const char *key,
                                     uint64_t *ret_number, bool *ret_gone, struct cf_error *err);
/* created_time, custom_metadata, deletion_time, destroyed, version. */
void kv_show_version(struct request *rq, const struct kv_entry *entry, uint64_t number,
                     struct json *to);
void kv_show_time(struct arena *arena, struct json *to, const char *key, int64_t ns);
struct json *kv_custom_metadata(struct arena *arena, const struct kv_entry *entry);
/* 404 with a hint: a path of version 1 sent to version 2, or a folder where a secret is meant. */
cf_status kv_hint(struct request *rq, struct cf_error *err);

/* ---- subkeys.c, versions.c, metadata.c, list.c ---- */
cf_status kv_subkeys_read(struct request *rq, struct cf_error *err);
cf_status kv_versions_delete(struct request *rq, struct cf_error *err);
cf_status kv_versions_undelete(struct request *rq, struct cf_error *err);
cf_status kv_versions_destroy(struct request *rq, struct cf_error *err);
cf_status kv_metadata_read(struct request *rq, struct cf_error *err);
cf_status kv_metadata_write(struct request *rq, struct cf_error *err);
cf_status kv_metadata_patch(struct request *rq, struct cf_error *err);
cf_status kv_metadata_delete(struct request *rq, struct cf_error *err);
void kv_show_metadata(struct request *rq, const struct kv_entry *entry, struct json *to);
cf_status kv_list(struct request *rq, struct cf_error *err);
cf_status kv_scan(struct request *rq, struct cf_error *err);
cf_status kv_list_detailed(struct request *rq, struct cf_error *err);
cf_status kv_scan_detailed(struct request *rq, struct cf_error *err);

/* ---- plain.c: version 1 ---- */
extern const struct route kv_plain_routes[];

#endif

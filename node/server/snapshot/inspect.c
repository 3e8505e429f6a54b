/* node/server/snapshot/inspect.c: what an archive is, before anything is done with it. */
#include <errno.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "node/core/mount.h"
#include "node/crypto/hash.h"
#include "node/server/replication/set.h"
#include "node/server/seal.h"
#include "node/server/snapshot/restore_int.h"

#define FORMAT_MAX 1

/* ---- the file ---- */

static cf_status read_fd(void *context, void *to, size_t size, size_t *ret, struct cf_error *err)
{
    struct restore *restore = context;
    ssize_t got;
    do {
        got = read(restore->fd, to, size);
    } while (got < 0 && errno == EINTR);
    if (got < 0 || snapshots_stopping(restore->node->snapshots)) {
        return cf_fail(err, got < 0 ? CF_IO : CF_UNAVAILABLE, "the archive cannot be read");
    }
    *ret = (size_t)got;
    return CF_OK;
}

cf_status restore_source(struct restore *restore, struct gzip_source *ret, struct cf_error *err)
{
    if (lseek(restore->fd, 0, SEEK_SET) != 0) {
        return cf_fail(err, CF_IO, "the archive cannot be read");
    }
    *ret = (struct gzip_source){read_fd, restore};
    return CF_OK;
}

/* ---- first reading ---- */

static cf_status see_meta(void *context, struct cf_slice json, struct cf_error *err)
{
    struct restore *restore = context;
    struct archive_facts *facts = &restore->facts;
    int64_t format = 0;
    if (json_parse(facts->arena, json, NULL, &facts->meta, NULL) != CF_OK ||
        !json_int64(json_get(facts->meta, "format"), &format)) {
        return cf_fail(err, CF_INVALID, "this is no snapshot of coffer: meta.json says nothing of a "
                                        "format");
    }
    return format <= FORMAT_MAX
               ? CF_OK
               : cf_fail(err, CF_INVALID, "this snapshot has format %lld, newer than this version "
                                          "reads: upgrade first",
                         (long long)format);
}

static cf_status see_data_key(struct archive_facts *facts, struct cf_slice value,
                              struct cf_error *err)
{
    struct key_id id;
    if (barrier_key_of(value, &id, NULL) != CF_OK) {
        return cf_fail(err, CF_INVALID, "a record of the snapshot is no sealed value");
    }
    for (size_t i = facts->key_id_count; i > 0; i--) {
        if (key_id_equal(facts->key_ids[i - 1], id)) {
            return CF_OK;
        }
    }
    if (facts->key_id_count == KEYS_SEEN_MAX) {
        return cf_fail(err, CF_INVALID, "the snapshot needs more data keys than there can be");
    }
    facts->key_ids[facts->key_id_count++] = id;
    return CF_OK;
}

static bool is_plain(struct key key)
{
    return cf_slice_starts(key.name, CF_SLICE(AREA_NOT_BEFORE));
}

static bool is_key(struct key key, struct key other)
{
    return key.class == other.class && key.ns == other.ns && cf_slice_eq(key.name, other.name);
}

static void keep_own(struct archive_facts *facts, struct key key, struct cf_slice value)
{
    const struct {
        struct key key;
        struct cf_slice *to;
    } wanted[] = {
        {SEAL_KEY_CONFIG, &facts->seal_config},
        {SEAL_KEY_ROOT, &facts->seal_root},
        {SEAL_KEY_KEYRING, &facts->seal_keyring},
        {SEAL_KEY_RECOVERY, &facts->seal_recovery},
        {{CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(AREA_REPL "role")}, &facts->role},
        {{CLASS_CLUSTER, NAMESPACE_ROOT, CF_SLICE(AREA_SALT)}, &facts->salt},
        {set_lineage_key(SET_PERFORMANCE), &facts->lineages[SET_PERFORMANCE]},
        {set_lineage_key(SET_DR), &facts->lineages[SET_DR]},
    };
    for (size_t i = 0; i < CF_LENGTH(wanted); i++) {
        if (is_key(key, wanted[i].key)) {
            *wanted[i].to = arena_copy(facts->arena, value);
        }
    }
}

static cf_status see_record(void *context, struct cf_slice bytes, struct cf_slice value,
                            struct cf_error *err)
{
    struct restore *restore = context;
    struct archive_facts *facts = &restore->facts;
    struct key key;
    if (!snapshot_key_decode(bytes, &key)) {
        return cf_fail(err, CF_INVALID, "a record of the snapshot has a key that is none of ours");
    }
    keep_own(facts, key, value);
    if (cf_slice_starts(key.name, CF_SLICE(AREA_MOUNT))) {
        struct raw_mount *mount = arena_new_object(facts->arena, struct raw_mount);
        *mount = (struct raw_mount){
            facts->mounts,
            {key.class, key.ns, arena_copy(facts->arena, key.name)},
            arena_copy(facts->arena, value)};
        facts->mounts = mount;
    }
    /* Of class own nothing is taken over as it is, and some of it is plain. */
    return key.class == CLASS_OWN || is_plain(key) ? CF_OK : see_data_key(facts, value, err);
}

static cf_status see_proof(void *context, struct cf_slice sums, struct cf_slice proof,
                           struct cf_error *err)
{
    struct restore *restore = context;
    (void)err;
    restore->facts.sums = arena_copy(restore->facts.arena, sums);
    restore->facts.proof = arena_copy(restore->facts.arena, proof);
    return CF_OK;
}

cf_status restore_inspect(struct restore *restore, struct cf_error *err)
{
    struct archive_facts *facts = &restore->facts;
    struct gzip_source source;
    struct archive_visit visit = {restore, see_meta, see_record, see_proof};
    facts->key_ids = arena_alloc(facts->arena, KEYS_SEEN_MAX * sizeof(*facts->key_ids));
    CF_TRY(restore_source(restore, &source, err));
    cf_status status = archive_read(&source, &snapshot_hash, &visit, &facts->totals, err);
    if (status == CF_UNSUPPORTED) { /* 400: the fault is the archive's */
        return cf_fail(err, CF_INVALID, "this snapshot has a newer format than this version reads: "
                                        "upgrade first");
    }
    CF_TRY(status);
    if (facts->seal_config.size == 0 || facts->seal_root.size == 0 ||
        facts->seal_keyring.size == 0) {
        return cf_fail(err, CF_INVALID, "the snapshot lacks the records of its seal");
    }
    return CF_OK;
}

/* ---- with its keys ---- */

static cf_status find_root(struct restore *restore, struct cf_error *err)
{
    struct archive_facts *facts = &restore->facts;
    CF_OWNED(secret) root = NULL;
    CF_OWNED(secret) unseal = NULL;
    CF_TRY(seal_root_key(restore->node, &root, err));
    if (seal_unwrap_keyring(secret_slice(root), facts->seal_keyring, &restore->keyring, NULL) ==
        CF_OK) {
        restore->root_key = secret_take(&root);
        return CF_OK;
    }
    CF_TRY(seal_unseal_key(restore->node, &unseal, err));
    if (seal_unwrap_root(secret_slice(unseal), facts->seal_root, &restore->root_key, NULL) !=
        CF_OK) {
        return CF_OK; /* other keys: restore->keyring stays NULL */
    }
    if (seal_unwrap_keyring(secret_slice(restore->root_key), facts->seal_keyring,
                            &restore->keyring, NULL) != CF_OK) {
        return cf_fail(err, CF_INVALID, "the snapshot's keyring does not open under its root key: "
                                        "it was changed");
    }
    return CF_OK;
}

static cf_status check_proof(const struct restore *restore, struct cf_error *err)
{
    uint8_t proof[SNAPSHOT_PROOF_SIZE];
    snapshot_proof(restore->root_key, restore->facts.sums, proof);
    return restore->facts.proof.size == sizeof(proof) &&
                   cf_equal_secret(proof, restore->facts.proof.data, sizeof(proof))
               ? CF_OK
               : cf_fail(err, CF_INVALID, "the proof of the snapshot's checksums is wrong: somebody "
                                          "without its keys changed it");
}

static cf_status check_data_keys(const struct restore *restore, struct cf_error *err)
{
    for (size_t i = 0; i < restore->facts.key_id_count; i++) {
        struct keyring_info unused;
        if (keyring_find(restore->keyring, restore->facts.key_ids[i], &unused, NULL) != CF_OK) {
            return cf_fail(err, CF_INVALID, "the snapshot needs a data key that its keyring lacks");
        }
    }
    return CF_OK;
}

static cf_status read_line(struct restore *restore, struct cf_error *err)
{
    struct archive_facts *facts = &restore->facts;
    struct barrier_name name = {CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(AREA_REPL "role")};
    struct cf_slice record;
    struct json *json;
    struct uuid line;
    if (facts->role.size == 0 ||
        barrier_open(restore->keyring, &name, NULL, facts->role, facts->arena, &record, NULL) !=
            CF_OK ||
        record_decode(record, facts->arena, &json, NULL) != CF_OK ||
        encode_uuid_parse(json_get_string(json, "line"), &line, NULL) != CF_OK) {
        return cf_fail(err, CF_INVALID, "the snapshot does not say what line it is of");
    }
    memcpy(restore->line.bytes, line.bytes, sizeof(restore->line.bytes));
    return CF_OK;
}

/* The same salt: the same tokens. */
static bool is_of_this_state(const struct restore *restore)
{
    struct barrier_name name = {CLASS_CLUSTER, NAMESPACE_ROOT, CF_SLICE(AREA_SALT)};
    const struct view *view = restore->view;
    struct cf_slice salt;
    return memcmp(restore->line.bytes, view->line.bytes, sizeof(view->line.bytes)) == 0 &&
           barrier_open(restore->keyring, &name, &restore->line, restore->facts.salt,
                        restore->facts.arena, &salt, NULL) == CF_OK &&
           salt.size == sizeof(view->salt) &&
           cf_equal_secret(salt.data, view->salt, sizeof(view->salt));
}

/* Which engine answers where in the archive's state: the engine knows which names are credentials. */
static cf_status read_mounts(struct restore *restore, struct cf_error *err)
{
    struct archive_facts *facts = &restore->facts;
    for (struct raw_mount *raw = facts->mounts; raw != NULL; raw = raw->next) {
        struct barrier_name name = {raw->key.class, raw->key.ns, raw->key.name};
        struct cf_slice record;
        struct json *json;
        struct mount *mount;
        CF_TRY(barrier_open(restore->keyring, &name, &restore->line, raw->value, facts->arena,
                            &record, err));
        CF_TRY(record_decode(record, facts->arena, &json, err));
        if (mount_from_record(facts->arena, raw->key.ns, json, core_engines(restore->node->core), &mount,
                              NULL) == CF_OK) {
            areas_add_mount(&restore->areas, facts->arena, mount);
        }
    }
    restore->knows_areas = true;
    return CF_OK;
}

cf_status restore_open_keys(struct restore *restore, bool *ret_opens, struct cf_error *err)
{
    CF_TRY(find_root(restore, err));
    *ret_opens = restore->keyring != NULL;
    if (!*ret_opens) {
        restore->credentials = restore->keep_tokens ? CREDENTIALS_KEEP : CREDENTIALS_VOID;
        restore->knows_areas =
            areas_from_json(&restore->areas, restore->facts.arena,
                            json_get(restore->facts.meta, "credentials"));
        return CF_OK;
    }
    CF_TRY(check_proof(restore, err));
    CF_TRY(check_data_keys(restore, err));
    CF_TRY(read_line(restore, err));
    CF_TRY(read_mounts(restore, err));
    restore->credentials = restore->keep_tokens          ? CREDENTIALS_KEEP
                           : is_of_this_state(restore) ? CREDENTIALS_COMPARE
                                                       : CREDENTIALS_VOID;
    return CF_OK;
}

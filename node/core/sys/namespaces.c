/* node/core/sys/namespaces.c: sys/namespaces: a store below a path of its own, from making to deleting. */
#include "node/core/namespace.h"

#include "node/base/memory.h"
#include "node/core/core_int.h"
#include "node/core/sys/sys_int.h"
#include "node/core/token.h"
#include "node/crypto/hash.h"

#define NAME_MAX_SIZE ((size_t)128)
#define PATH_MAX_SIZE ((size_t)1024)
#define METADATA_MAX ((size_t)64)
#define UNLOCK_KEY_SIZE 24

/* ---- names ---- */

static bool is_reserved(struct cf_slice name)
{
    static const char *const reserved[] = {"",     ".",    "..",        "root",    "sys",
                                           "audit", "auth", "cubbyhole", "identity"};
    for (size_t i = 0; i < CF_LENGTH(reserved); i++) {
        if (cf_slice_is(name, reserved[i])) {
            return true;
        }
    }
    return false;
}

/* One segment of the path, without slashes around it. */
static cf_status read_name(struct request *rq, struct cf_slice *ret, struct cf_error *err)
{
    struct cf_slice name = rq->captures[0];
    while (name.size != 0 && name.data[name.size - 1] == '/') {
        name.size--;
    }
    if (name.size == 0) {
        return cf_fail(err, CF_INVALID, "namespace name cannot be empty");
    }
    if (cf_slice_find(name, '/') < name.size) {
        return cf_fail(err, CF_INVALID,
                       "namespace name cannot contain /: make it in its parent's namespace");
    }
    if (is_reserved(name)) {
        return cf_fail(err, CF_INVALID,
                       "\"%.*s/\" is a reserved path and cannot be used as a namespace name",
                       CF_SHOW(name));
    }
    if (name.size > NAME_MAX_SIZE) {
        return cf_fail(err, CF_INVALID, "namespace name is longer than %zu bytes", NAME_MAX_SIZE);
    }
    *ret = name;
    return CF_OK;
}

/* What would make paths or policies ambiguous. */
static cf_status check_name(struct cf_slice name, struct cf_error *err)
{
    for (size_t i = 0; i < name.size; i++) {
        uint8_t byte = name.data[i];
        const char *what = byte == ' ' || byte == '\t' ? "space characters"
                           : byte < 0x20 || byte == 0x7f ? "control characters"
                           : byte == '*' || byte == '+'  ? "wildcard characters"
                                                         : NULL;
        if (what != NULL) {
            return cf_fail(err, CF_INVALID,
                           "namespace name contains %s that cannot be used in it", what);
        }
    }
    return CF_OK;
}

static struct cf_slice path_below(struct request *rq, struct cf_slice name)
{
    return cf_slice_str(
        arena_printf(rq->arena, "%.*s%.*s/", CF_SHOW(rq->nspace->path), CF_SHOW(name)));
}

/* ---- the table ---- */

/* Every change of the table reads and writes this record: no two of them pass each other, and numbers
 * are given once. */
static cf_status take_guard(struct request *rq, bool takes_number, uint32_t *ret_number,
                            struct cf_error *err)
{
    struct key key = {CLASS_REPLICATED, NAMESPACE_ROOT, CF_SLICE(NAMESPACE_TABLE_GUARD)};
    struct json *record = json_object_new(rq->arena);
    struct cf_slice bytes;
    int64_t next = 1;
    cf_status status = txn_get(rq->txn, key, &bytes, err);
    if (status == CF_OK) {
        struct json *before;
        CF_TRY(record_decode(bytes, rq->arena, &before, err));
        cf_ignore(!json_int64(json_get(before, "next"), &next), "absent is 1");
    } else if (status != CF_NOT_FOUND) {
        return status;
    }
    if (next < 1 || next >= UINT32_MAX) {
        return cf_fail(err, CF_INVALID, "there are no more numbers for namespaces");
    }
    if (takes_number) {
        *ret_number = (uint32_t)next++;
    }
    json_set_int(rq->arena, record, "next", next);
    json_set_text(rq->arena, record, "by", rq->id);
    txn_put(rq->txn, key, record_encode(rq->arena, record));
    return CF_OK;
}

static cf_status store(struct request *rq, const struct namespace *ns, struct cf_error *err)
{
    CF_TRY(take_guard(rq, false, NULL, err));
    txn_put(rq->txn, namespace_key(rq->arena, ns->number), namespace_to_record(rq->arena, ns));
    return CF_OK;
}

static struct json *shown(struct request *rq, const struct namespace *ns)
{
    struct json *data = json_object_new(rq->arena);
    json_set_string(rq->arena, data, "id", ns->id);
    json_set_text(rq->arena, data, "uuid", ns->uuid_text);
    json_set_string(rq->arena, data, "path", ns->path);
    json_set_bool(rq->arena, data, "tainted", ns->is_tainted);
    json_set_bool(rq->arena, data, "locked", ns->unlock_hash.size != 0);
    json_set(rq->arena, data, "custom_metadata", ns->custom_metadata);
    return data;
}

/* NULL when there is none of that name below the request's. Its record is noted as read. */
static const struct namespace *find(struct request *rq, struct cf_slice path)
{
    const struct namespace *ns = namespace_table_find(rq->view->namespaces, path);
    if (ns != NULL) {
        namespace_note_read(rq->txn, ns);
    }
    return ns;
}

/* ---- metadata ---- */

static cf_status check_metadata(const struct json *metadata, bool is_patch, struct cf_error *err)
{
    if (!json_is(metadata, JSON_OBJECT) || json_count(metadata) > METADATA_MAX) {
        return cf_fail(err, CF_INVALID, "custom_metadata must be a map of at most %zu strings",
                       METADATA_MAX);
    }
    for (size_t i = 0; i < json_count(metadata); i++) {
        const struct json *value = metadata->members[i].value;
        if (!json_is(value, JSON_STRING) && !(is_patch && json_is(value, JSON_NULL))) {
            return cf_fail(err, CF_INVALID, "custom_metadata values must be strings");
        }
    }
    return CF_OK;
}

static struct json *merged(struct arena *arena, const struct json *before, const struct json *patch)
{
    struct json *after = json_object_new(arena);
    for (size_t i = 0; i < json_count(before); i++) {
        if (json_get_slice(patch, before->members[i].key) == NULL) {
            json_object_set(arena, after, before->members[i].key, before->members[i].value);
        }
    }
    for (size_t i = 0; i < json_count(patch); i++) {
        if (!json_is(patch->members[i].value, JSON_NULL)) {
            json_object_set(arena, after, patch->members[i].key, patch->members[i].value);
        }
    }
    return after;
}

/* ---- making and changing ---- */

static cf_status check_free(struct request *rq, struct cf_slice name, struct cf_error *err)
{
    struct cf_slice folder = cf_slice_str(arena_printf(rq->arena, "%.*s/", CF_SHOW(name)));
    const struct mount *mount = mount_in_the_way(rq, folder);
    if (mount != NULL) {
        return cf_fail(err, CF_INVALID, "path is already in use at %.*s", CF_SHOW(mount->path));
    }
    /* Mounts that are made meanwhile meet this. */
    return mount_table_guard(rq, CLASS_REPLICATED, err);
}

static cf_status make(struct request *rq, struct cf_slice name, const struct json *metadata,
                      struct namespace *ns, struct cf_error *err)
{
    CF_BUF(id) = {0};
    CF_TRY(check_name(name, err));
    CF_TRY(check_free(rq, name, err));
    CF_TRY(take_guard(rq, true, &ns->number, err));
    ns->path = path_below(rq, name);
    if (ns->path.size > PATH_MAX_SIZE) {
        return cf_fail(err, CF_INVALID, "the path of a namespace has at most %zu bytes",
                       PATH_MAX_SIZE);
    }
    do {
        cf_buf_reset(&id);
        encode_base62_random(&id, rq->random, NAMESPACE_ID_SIZE);
    } while (namespace_by_id(rq->view->namespaces, cf_buf_slice(&id)) != NULL);
    ns->id = arena_copy(rq->arena, cf_buf_slice(&id));
    ns->uuid = encode_uuid_new(rq->random);
    encode_uuid_text(ns->uuid, ns->uuid_text);
    ns->custom_metadata = json_copy(rq->arena, metadata);
    txn_put(rq->txn, namespace_key(rq->arena, ns->number), namespace_to_record(rq->arena, ns));
    uint32_t own = rq->ns;
    rq->ns = ns->number;
    cf_status status = core_fill_namespace(rq, err);
    rq->ns = own;
    return status;
}

cf_status sys_namespace_write(struct request *rq, struct cf_error *err)
{
    struct namespace *ns = arena_new_object(rq->arena, struct namespace);
    struct cf_slice name;
    CF_TRY(read_name(rq, &name, err));
    const struct json *metadata = request_field(rq, "custom_metadata");
    metadata = metadata != NULL ? metadata : json_object_new(rq->arena);
    CF_TRY(check_metadata(metadata, false, err));
    if (request_field(rq, "seal") != NULL) {
        return cf_fail(err, CF_INVALID, "namespaces cannot have a seal of their own");
    }
    const struct namespace *before = find(rq, path_below(rq, name));
    if (before == NULL) {
        CF_TRY(make(rq, name, metadata, ns, err));
    } else if (before->is_tainted) {
        return cf_fail(err, CF_INVALID, "namespace \"%.*s\" is being deleted: try again later",
                       CF_SHOW(before->path));
    } else {
        *ns = *before;
        ns->custom_metadata = json_copy(rq->arena, metadata);
        CF_TRY(store(rq, ns, err));
    }
    rq->response.data = shown(rq, ns);
    return CF_OK;
}

cf_status sys_namespace_patch(struct request *rq, struct cf_error *err)
{
    struct namespace *ns = arena_new_object(rq->arena, struct namespace);
    struct cf_slice name;
    CF_TRY(read_name(rq, &name, err));
    const struct json *patch = json_get(rq->body, "custom_metadata");
    if (patch == NULL) {
        return cf_fail(err, CF_INVALID, "missing required field \"custom_metadata\"");
    }
    if (!json_is(patch, JSON_NULL)) {
        CF_TRY(check_metadata(patch, true, err));
    }
    const struct namespace *before = find(rq, path_below(rq, name));
    if (before == NULL || before->is_tainted) {
        return cf_fail(err, CF_NOT_FOUND, "namespace not found");
    }
    *ns = *before;
    ns->custom_metadata = json_is(patch, JSON_NULL)
                              ? json_object_new(rq->arena)
                              : merged(rq->arena, before->custom_metadata, patch);
    CF_TRY(check_metadata(ns->custom_metadata, false, err));
    CF_TRY(store(rq, ns, err));
    rq->response.data = shown(rq, ns);
    return CF_OK;
}

/* ---- looking ---- */

cf_status sys_namespace_read(struct request *rq, struct cf_error *err)
{
    struct cf_slice name;
    CF_TRY(read_name(rq, &name, err));
    const struct namespace *ns = find(rq, path_below(rq, name));
    if (ns == NULL) {
        return request_absent(err);
    }
    rq->response.data = shown(rq, ns);
    return CF_OK;
}

static cf_status list(struct request *rq, bool recurse, struct cf_error *err)
{
    const struct namespace_table *table = rq->view->namespaces;
    struct json *keys = json_array_new(rq->arena), *info = json_object_new(rq->arena);
    for (size_t i = 1; i < table->count; i++) {
        const struct namespace *ns = table->list[i];
        bool is_child = ns->parent != NULL && ns->parent->number == rq->ns;
        if (is_child || (recurse && ns->number != rq->ns && namespace_is_within(ns, rq->nspace))) {
            struct cf_slice below = cf_slice_from(ns->path, rq->nspace->path.size);
            json_array_add(rq->arena, keys, json_from_string(rq->arena, below));
            json_object_set(rq->arena, info, below, shown(rq, ns));
        }
    }
    if (json_count(keys) == 0) {
        return request_absent(err);
    }
    json_set(rq->arena, response_data(rq), "keys", keys);
    json_set(rq->arena, response_data(rq), "key_info", info);
    return CF_OK;
}

cf_status sys_namespace_list(struct request *rq, struct cf_error *err)
{
    return list(rq, false, err);
}

cf_status sys_namespace_scan(struct request *rq, struct cf_error *err)
{
    return list(rq, true, err);
}

/* ---- deleting ---- */

/* Its mounts are read: one that sets out, or arrives, in this moment makes this run again. */
static cf_status has_nothing_moving(struct request *rq, const struct namespace *ns, struct cf_error *err)
{
    static const uint8_t classes[] = {CLASS_REPLICATED, CLASS_CLUSTER};
    for (size_t i = 0; i < CF_LENGTH(classes); i++) {
        txn_note_read(rq->txn, key_hash((struct key){classes[i], ns->number, CF_SLICE(MOUNT_TABLE_GUARD)}));
    }
    for (size_t i = 0; i < ns->mounts->count; i++) {
        CF_TRY(mount_is_at_rest(ns->mounts->mounts[i], err));
    }
    return CF_OK;
}

cf_status sys_namespace_delete(struct request *rq, struct cf_error *err)
{
    struct namespace *ns = arena_new_object(rq->arena, struct namespace);
    struct cf_slice name;
    CF_TRY(read_name(rq, &name, err));
    const struct namespace *before = find(rq, path_below(rq, name));
    if (before == NULL) {
        response_warn(rq, "requested namespace does not exist");
        return CF_OK;
    }
    if (namespace_has_children(rq->view->namespaces, before)) {
        return cf_fail(err, CF_INVALID, "unable to delete namespace containing child namespaces");
    }
    CF_TRY(has_nothing_moving(rq, before, err));
    json_set_text(rq->arena, response_data(rq), "status", "in-progress");
    if (before->is_tainted) {
        return CF_OK;
    }
    *ns = *before;
    ns->is_tainted = true; /* from here on nobody gets in; the expiry thread does the rest */
    return store(rq, ns, err);
}

/* ---- locking ---- */

/* The namespace named in the path, any number of levels below the request's; the request's own without. */
static cf_status find_lockable(struct request *rq, const struct namespace **ret,
                               struct cf_error *err)
{
    struct cf_slice path;
    CF_TRY(request_string(rq, "path", &path, err));
    while (path.size != 0 && path.data[path.size - 1] == '/') {
        path.size--;
    }
    *ret = path.size != 0 ? find(rq, path_below(rq, path)) : rq->nspace;
    if (*ret == NULL) {
        return cf_fail(err, CF_INVALID, "requested namespace does not exist");
    }
    if ((*ret)->number == NAMESPACE_ROOT) {
        return cf_fail(err, CF_INVALID, "root namespace cannot be locked/unlocked");
    }
    return CF_OK;
}

cf_status sys_namespace_lock(struct request *rq, struct cf_error *err)
{
    struct namespace *ns = arena_new_object(rq->arena, struct namespace);
    const struct namespace *before;
    uint8_t hash[HASH_SHA256_SIZE];
    CF_BUF(key) = {.secret = true};
    CF_TRY(find_lockable(rq, &before, err));
    const struct namespace *locked = namespace_lock_of(before);
    if (locked != NULL) {
        return cf_fail(err, CF_INVALID,
                       locked == before
                           ? "cannot lock namespace: it is already locked"
                           : "cannot lock namespace: one that it lies in is already locked");
    }
    encode_base62_random(&key, rq->random, UNLOCK_KEY_SIZE);
    hash_sha256(cf_buf_slice(&key), hash);
    *ns = *before;
    ns->unlock_hash = cf_slice_of(hash, sizeof(hash));
    CF_TRY(store(rq, ns, err));
    json_set_string(rq->arena, response_data(rq), "unlock_key",
                    arena_copy(rq->arena, cf_buf_slice(&key)));
    return CF_OK;
}

cf_status sys_namespace_unlock(struct request *rq, struct cf_error *err)
{
    struct namespace *ns = arena_new_object(rq->arena, struct namespace);
    const struct namespace *before;
    struct cf_slice key;
    bool has_sudo;
    CF_TRY(find_lockable(rq, &before, err));
    CF_TRY(request_string(rq, "unlock_key", &key, err));
    CF_TRY(token_has_sudo(rq, rq->path, &has_sudo, err));
    if (before->unlock_hash.size == 0) {
        return cf_fail(err, CF_INVALID, "namespace \"%.*s\" is not locked", CF_SHOW(before->path));
    }
    if (namespace_lock_of(before->parent) != NULL) {
        return cf_fail(err, CF_INVALID, "cannot unlock: namespace \"%.*s\" is locked, too",
                       CF_SHOW(namespace_lock_of(before->parent)->path));
    }
    if (key.size == 0 && !has_sudo) {
        return cf_fail(err, CF_INVALID, "provided empty key");
    }
    if (key.size != 0) {
        uint8_t hash[HASH_SHA256_SIZE];
        hash_sha256(key, hash);
        if (before->unlock_hash.size != sizeof(hash) ||
            !cf_equal_secret(hash, before->unlock_hash.data, sizeof(hash))) {
            return cf_fail(err, CF_INVALID, "incorrect unlock key");
        }
    }
    *ns = *before;
    ns->unlock_hash = CF_SLICE_EMPTY;
    CF_TRY(store(rq, ns, err));
    if (key.size == 0) {
        response_warn(rq, "Namespace unlocked using sudo capabilities");
    }
    return CF_OK;
}

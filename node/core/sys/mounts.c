/* node/core/sys/mounts.c: sys/mounts and sys/auth: enabling, reading, tuning and disabling. */
#include "node/base/memory.h"
#include "node/core/core.h"
#include "node/core/folder.h"
#include "node/core/namespace.h"
#include "node/core/sys/lease_store.h"
#include "node/core/quota.h"
#include "node/core/sys/sys_int.h"

#define MOUNT_PATH_MAX 512

static const char unsupported[] = "1 error occurred:\n\t* unsupported operation\n\n";

/* ---- paths ---- */

struct cf_slice mount_path_of(struct request *rq, enum engine_kind kind, struct cf_slice path)
{
    while (path.size != 0 && path.data[0] == '/') {
        path = cf_slice_from(path, 1);
    }
    while (path.size != 0 && path.data[path.size - 1] == '/') {
        path.size--;
    }
    return cf_slice_str(
        arena_printf(rq->arena, "%s%.*s/", kind == ENGINE_AUTH ? "auth/" : "", CF_SHOW(path)));
}

const struct mount *mount_in_the_way(const struct request *rq, struct cf_slice path)
{
    const struct mount_table *table = rq->mounts;
    for (size_t i = 0; i < table->count; i++) {
        struct cf_slice other = table->mounts[i]->path;
        if (cf_slice_starts(path, other) || cf_slice_starts(other, path)) {
            return table->mounts[i];
        }
    }
    return NULL;
}

const struct namespace *namespace_in_the_way(const struct request *rq, struct cf_slice path)
{
    const struct namespace_table *table = rq->view->namespaces;
    for (size_t i = 1; i < table->count; i++) {
        if (table->list[i]->path.size > rq->nspace->path.size &&
            namespace_is_within(table->list[i], rq->nspace)) {
            struct cf_slice other = cf_slice_from(table->list[i]->path, rq->nspace->path.size);
            if (cf_slice_starts(path, other) || cf_slice_starts(other, path)) {
                return table->list[i];
            }
        }
    }
    return NULL;
}

/* What of "path..." is the mount's path, and whether "/tune" follows it. */
static struct cf_slice split_tune(const struct request *rq, bool *ret_is_tune)
{
    struct cf_slice path = rq->captures[0];
    const struct cf_slice tune = CF_SLICE("/tune");
    *ret_is_tune = cf_slice_ends(path, tune);
    return *ret_is_tune ? cf_slice_first(path, path.size - tune.size) : path;
}

static cf_status check_path(struct cf_slice path, struct cf_error *err)
{
    if (path.size < 2 || path.size > MOUNT_PATH_MAX) {
        return cf_fail(err, CF_INVALID, "the path of a mount has 1 to %d characters",
                       MOUNT_PATH_MAX);
    }
    for (size_t i = 0; i < path.size; i++) {
        if (path.data[i] < 0x20 || path.data[i] == 0x7f) {
            return cf_fail(err, CF_INVALID, "path cannot contain non-printable characters");
        }
    }
    return CF_OK;
}

cf_status mount_is_at_rest(const struct mount *mount, struct cf_error *err)
{
    return mount->move.way == MOVE_NONE
               ? CF_OK
               : cf_fail(err, CF_INVALID, "the mount \"%.*s\" is on its way to another namespace: see "
                                          "sys/remount/status/%.*s",
                         CF_SHOW(mount->path), CF_SHOW(mount->move.id));
}

/* ---- writing the table ---- */

/* Entries are stored by uuid, so two that claim one path would not meet: a key that every change of
 * the table reads, and writes in the class that it changes, makes one of them run again. */
cf_status mount_table_guard(struct request *rq, uint8_t class, struct cf_error *err)
{
    static const uint8_t classes[] = {CLASS_REPLICATED, CLASS_CLUSTER};
    for (size_t i = 0; i < CF_LENGTH(classes); i++) {
        struct key key = {classes[i], rq->ns, CF_SLICE(MOUNT_TABLE_GUARD)};
        struct cf_slice value;
        cf_status status = txn_get(rq->txn, key, &value, err);
        if (status != CF_OK && status != CF_NOT_FOUND) {
            return status;
        }
        if (classes[i] == class) {
            txn_put(rq->txn, key, cf_slice_of(rq->id, ENCODE_UUID_TEXT));
        }
    }
    return CF_OK;
}

cf_status mount_store(struct request *rq, const struct mount *mount, struct cf_error *err)
{
    struct key key = mount_key(mount);
    CF_TRY(mount_table_guard(rq, key.class, err));
    txn_put(rq->txn, key, record_encode(rq->arena, mount_to_record(rq->arena, mount)));
    return CF_OK;
}

/* ---- enabling ---- */

static cf_status not_in_catalog(struct cf_slice type, struct cf_error *err)
{
    return cf_fail(err, CF_INVALID, "plugin not found in the catalog: %.*s",
                   CF_SHOW(cf_slice_first(type, 80)));
}

/* kv-v1 and kv-v2 are names for kv with an option. */
static cf_status find_engine(struct request *rq, enum engine_kind kind, struct mount *mount,
                             struct cf_error *err)
{
    struct cf_slice type;
    CF_TRY(request_string(rq, "type", &type, err));
    if (cf_slice_is(type, "plugin")) {
        CF_TRY(request_string(rq, "plugin_name", &type, err));
    }
    if (type.size == 0) {
        return cf_fail(err, CF_INVALID, "backend type must be specified as a string");
    }
    bool is_alias =
        kind == ENGINE_SECRETS && (cf_slice_is(type, "kv-v1") || cf_slice_is(type, "kv-v2"));
    if (is_alias) {
        mount->options = json_object_new(rq->arena);
        json_set_string(rq->arena, mount->options, "version", cf_slice_from(type, 4));
        type = CF_SLICE("kv");
    }
    mount->ops = engine_find(core_engines(rq->core), kind, type);
    if (mount->ops == NULL) {
        return not_in_catalog(type, err);
    }
    if (mount->ops->builtin_only) {
        return kind == ENGINE_AUTH
                   ? cf_fail(err, CF_INVALID, "%s credential backend cannot be instantiated",
                             mount->ops->type)
                   : cf_fail(err, CF_INVALID, "mount type of \"%s\" is not mountable",
                             mount->ops->type);
    }
    mount->type = cf_slice_str(mount->ops->type);
    return CF_OK;
}

static cf_status check_free(struct request *rq, enum engine_kind kind, struct cf_slice path,
                            struct cf_error *err)
{
    static const char *const reserved[] = {"auth/", "audit/", "sys/", "cubbyhole/", "identity/"};
    for (size_t i = 0; kind == ENGINE_SECRETS && i < CF_LENGTH(reserved); i++) {
        if (cf_slice_starts(path, cf_slice_str(reserved[i]))) {
            return cf_fail(err, CF_INVALID, "cannot mount \"%.*s\"", CF_SHOW(path));
        }
    }
    const struct mount *other = mount_in_the_way(rq, path);
    if (other != NULL) {
        return cf_fail(err, CF_INVALID, "path is already in use at %.*s",
                       CF_SHOW(mount_shown_path(other)));
    }
    const struct namespace *ns = namespace_in_the_way(rq, path);
    if (ns != NULL) {
        return cf_fail(err, CF_INVALID, "path is already in use by namespace %.*s",
                       CF_SHOW(ns->path));
    }
    return CF_OK;
}

static cf_status check_ttls(const struct request *rq, const struct mount *mount,
                            struct cf_error *err)
{
    int64_t max = core_config(rq->core)->max_lease_ttl_s;
    if (mount->max_lease_ttl_s != 0 && mount->default_lease_ttl_s > mount->max_lease_ttl_s) {
        return cf_fail(err, CF_INVALID, "given default lease TTL greater than given max lease TTL");
    }
    if (mount->max_lease_ttl_s == 0 && mount->default_lease_ttl_s > max) {
        return cf_fail(err, CF_INVALID,
                       "given default lease TTL greater than system max lease TTL of %lld",
                       (long long)max);
    }
    return CF_OK;
}

static cf_status enable(struct request *rq, enum engine_kind kind, struct cf_slice given,
                        struct cf_error *err)
{
    struct mount *mount = arena_new_object(rq->arena, struct mount);
    const struct json *config = request_field(rq, "config");
    mount->path = mount_path_of(rq, kind, given);
    CF_TRY(check_path(mount->path, err));
    if (kind == ENGINE_SECRETS) {
        CF_TRY(check_free(rq, kind, mount->path, err));
        CF_TRY(find_engine(rq, kind, mount, err));
    } else {
        CF_TRY(find_engine(rq, kind, mount, err));
        CF_TRY(check_free(rq, kind, mount->path, err));
    }
    CF_TRY(request_string(rq, "description", &mount->description, err));
    CF_TRY(request_bool(rq, "local", false, &mount->is_local, err));
    CF_TRY(request_bool(rq, "seal_wrap", false, &mount->seal_wrap, err));
    CF_TRY(
        request_bool(rq, "external_entropy_access", false, &mount->external_entropy_access, err));
    if (config != NULL && !json_is(config, JSON_OBJECT)) {
        return cf_fail(err, CF_INVALID, "field \"config\" must be an object");
    }
    CF_TRY(mount_config_read(rq, config, mount, err));
    CF_TRY(check_ttls(rq, mount, err));
    CF_TRY(mount_options_read(rq, mount, err));
    mount_identify(mount, rq);
    if (mount->ops->configure != NULL) {
        CF_TRY(mount->ops->configure(rq, mount, NULL, err));
    }
    return mount_store(rq, mount, err);
}

/* ---- tuning ---- */

static cf_status tune(struct request *rq, enum engine_kind kind, struct cf_slice given,
                      struct cf_error *err)
{
    struct cf_slice path = mount_path_of(rq, kind, given);
    const struct mount *before = mount_table_find(rq->mounts, path);
    if (before == NULL) {
        return cf_fail(err, CF_INVALID, "tune of path \"%.*s\" failed: no mount entry found",
                       CF_SHOW(path));
    }
    CF_TRY(mount_is_at_rest(before, err));
    txn_note_read(rq->txn, before->entry_hash);
    struct mount *mount = arena_new_object(rq->arena, struct mount);
    *mount = *before;
    CF_TRY(mount_config_read(rq, rq->body, mount, err));
    if (mount->max_lease_ttl_s != 0 && mount->max_lease_ttl_s < mount->default_lease_ttl_s) {
        return cf_fail(err, CF_INVALID,
                       "backend max lease TTL of %lld would be less than backend default lease "
                       "TTL of %lld",
                       (long long)mount->max_lease_ttl_s, (long long)mount->default_lease_ttl_s);
    }
    if (request_field(rq, "description") != NULL) {
        CF_TRY(request_string(rq, "description", &mount->description, err));
    }
    CF_TRY(mount_options_read(rq, mount, err));
    if (mount->ops->configure != NULL && request_field(rq, "options") != NULL) {
        CF_TRY(mount->ops->configure(rq, mount, before, err));
    }
    return mount_store(rq, mount, err);
}

static cf_status read_tuning(struct request *rq, enum engine_kind kind, struct cf_slice given,
                             struct cf_error *err)
{
    struct cf_slice path = mount_path_of(rq, kind, given);
    const struct mount *mount = mount_table_find(rq->mounts, path);
    if (mount == NULL) {
        return cf_fail(err, CF_INVALID, "cannot fetch sysview for path \"%.*s\"", CF_SHOW(path));
    }
    rq->response.data = mount_tuning_json(rq, mount);
    rq->response.data_at_top = true;
    return CF_OK;
}

/* ---- disabling ---- */

static void delete_data(struct request *rq, const struct mount *mount, uint8_t class)
{
    CF_BUF(name) = {0};
    cf_buf_add_str(&name, AREA_DATA);
    cf_buf_add(&name, mount->uuid.bytes, sizeof(mount->uuid.bytes));
    cf_buf_add_byte(&name, '/');
    txn_delete_prefix(rq->txn, (struct key){class, rq->ns, cf_buf_slice(&name)});
}

/* What the mount lent out is taken back with what it has stored: first that, then the mount. */
static cf_status has_lent_nothing(struct request *rq, const struct mount *mount, struct cf_error *err)
{
    bool has = false;
    if (mount->ops->lease_revoke != NULL) {
        CF_TRY(lease_has_any(rq->txn, rq->arena, rq->ns, mount->path, &has, err));
    }
    int size = (int)mount->path.size - 1;
    return !has ? CF_OK
                : cf_fail(err, CF_INVALID,
                          "secrets of this mount are lent out: revoke them first "
                          "(sys/leases/revoke-prefix/%.*s), or drop their leases (sys/leases/revoke-force/%.*s)",
                          size, (const char *)mount->path.data, size, (const char *)mount->path.data);
}

static cf_status disable(struct request *rq, enum engine_kind kind, struct cf_slice given,
                         struct cf_error *err)
{
    struct cf_slice path = mount_path_of(rq, kind, given);
    const struct mount *mount = mount_table_find(rq->mounts, path);
    if (mount == NULL) {
        return CF_OK;
    }
    if (mount->is_fixed || mount->ops->kind != kind) { /* sys/mounts/auth/x would get round sudo */
        return kind == ENGINE_AUTH
                   ? cf_fail(err, CF_INVALID, "token credential backend cannot be disabled")
                   : cf_fail(err, CF_INVALID, "cannot unmount \"%.*s\"", CF_SHOW(path));
    }
    CF_TRY(mount_is_at_rest(mount, err));
    txn_note_read(rq->txn, mount->entry_hash);
    CF_TRY(has_lent_nothing(rq, mount, err));
    struct key key = mount_key(mount);
    CF_TRY(mount_table_guard(rq, key.class, err));
    txn_delete(rq->txn, key);
    if (mount->class == CLASS_REPLICATED) {
        quota_forget_mount(rq, mount);
    }
    /* Everybody who reads below the mount has read its entry, so nobody sees half of this. A
     * replicated mount may keep local data, too (store_local_key); a local one has nothing that is
     * replicated. */
    delete_data(rq, mount, CLASS_CLUSTER);
    if (mount->class == CLASS_REPLICATED) {
        delete_data(rq, mount, CLASS_REPLICATED);
    }
    return lease_revoke_prefix(rq->txn, rq->arena, rq->ns, path, false, err);
}

/* ---- the handlers ---- */

static cf_status list(struct request *rq, enum engine_kind kind)
{
    const struct mount_table *table = rq->mounts;
    struct json *data = response_data(rq);
    for (size_t i = 0; i < table->count; i++) {
        if (table->mounts[i]->ops->kind == kind && table->mounts[i]->move.way != MOVE_IN) {
            json_object_set(rq->arena, data, mount_shown_path(table->mounts[i]),
                            mount_entry_json(rq, table->mounts[i]));
        }
    }
    rq->response.data_at_top = true;
    return CF_OK;
}

static cf_status read_one(struct request *rq, enum engine_kind kind, struct cf_slice given,
                          struct cf_error *err)
{
    struct cf_slice path = mount_path_of(rq, kind, given);
    const struct mount *mount = mount_table_find(rq->mounts, path);
    if (mount == NULL || mount->ops->kind != kind) {
        return kind == ENGINE_AUTH
                   ? cf_fail(err, CF_INVALID, "No auth engine at %.*s",
                             CF_SHOW(cf_slice_from(path, strlen("auth/"))))
                   : cf_fail(err, CF_INVALID, "No secret engine mount at %.*s", CF_SHOW(path));
    }
    rq->response.data = mount_entry_json(rq, mount);
    rq->response.data_at_top = true;
    return CF_OK;
}

cf_status sys_mounts_list(struct request *rq, struct cf_error *err)
{
    (void)err;
    return list(rq, ENGINE_SECRETS);
}

cf_status sys_mounts_read(struct request *rq, struct cf_error *err)
{
    bool is_tune;
    struct cf_slice path = split_tune(rq, &is_tune);
    if (path.size == 0) {
        return list(rq, ENGINE_SECRETS);
    }
    /* "auth/x" here is the whole path of an auth method: its tuning has two addresses. */
    return is_tune ? read_tuning(rq, ENGINE_SECRETS, path, err)
                   : read_one(rq, ENGINE_SECRETS, path, err);
}

cf_status sys_mounts_write(struct request *rq, struct cf_error *err)
{
    bool is_tune;
    struct cf_slice path = split_tune(rq, &is_tune);
    if (path.size == 0) {
        return cf_fail(err, CF_UNSUPPORTED, "%s", unsupported);
    }
    return is_tune ? tune(rq, ENGINE_SECRETS, path, err) : enable(rq, ENGINE_SECRETS, path, err);
}

cf_status sys_mounts_delete(struct request *rq, struct cf_error *err)
{
    bool is_tune;
    struct cf_slice path = split_tune(rq, &is_tune);
    if (path.size == 0 || is_tune) {
        return cf_fail(err, CF_UNSUPPORTED, "%s", unsupported);
    }
    return disable(rq, ENGINE_SECRETS, path, err);
}

cf_status sys_auth_list(struct request *rq, struct cf_error *err)
{
    (void)err;
    return list(rq, ENGINE_AUTH);
}

cf_status sys_auth_read(struct request *rq, struct cf_error *err)
{
    bool is_tune;
    struct cf_slice path = split_tune(rq, &is_tune);
    if (path.size == 0) {
        return list(rq, ENGINE_AUTH);
    }
    return is_tune ? read_tuning(rq, ENGINE_AUTH, path, err) : read_one(rq, ENGINE_AUTH, path, err);
}

cf_status sys_auth_write(struct request *rq, struct cf_error *err)
{
    bool is_tune;
    struct cf_slice path = split_tune(rq, &is_tune);
    if (path.size == 0) {
        return cf_fail(err, CF_UNSUPPORTED, "%s", unsupported);
    }
    return is_tune ? tune(rq, ENGINE_AUTH, path, err) : enable(rq, ENGINE_AUTH, path, err);
}

cf_status sys_auth_delete(struct request *rq, struct cf_error *err)
{
    bool is_tune;
    struct cf_slice path = split_tune(rq, &is_tune);
    if (path.size == 0 || is_tune) {
        return cf_fail(err, CF_UNSUPPORTED, "%s", unsupported);
    }
    return disable(rq, ENGINE_AUTH, path, err);
}

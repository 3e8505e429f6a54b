/* node/core/sys/remount.c: moving a mount. Data, uuid and accessor stay: only the entry's path
 * changes, in one write set, so the migration is over when it is answered. */
#include "node/base/memory.h"
#include "node/core/core.h"
#include "node/core/namespace.h"
#include "node/core/settings.h"
#include "node/core/sys/lease_store.h"
#include "node/core/sys/sys_int.h"

#define STATUS_KEPT_NS ((int64_t)24 * 3600 * 1000000000)
#define STATUS_FOLDER "remount/"

/* The record goes where the mount's entry goes: moving a local mount writes nothing that is shared.
 */
static struct key status_key(struct request *rq, const struct mount *mount, struct cf_slice id)
{
    struct cf_slice name = cf_slice_str(arena_printf(rq->arena, STATUS_FOLDER "%.*s", CF_SHOW(id)));
    return mount_key(mount).class == CLASS_CLUSTER ? store_local_key(rq, name)
                                                   : store_key(rq, name);
}

/* Records of yesterday's moves go. */
static cf_status forget_old(struct request *rq, const struct mount *mount, struct cf_error *err)
{
    struct txn_names names;
    CF_TRY(
        txn_list(rq->txn, status_key(rq, mount, CF_SLICE_EMPTY), CF_SLICE_EMPTY, 0, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        struct key key = status_key(rq, mount, names.names[i]);
        struct cf_slice record;
        struct json *status;
        int64_t time_ns = 0;
        CF_TRY(txn_get(rq->txn, key, &record, err));
        CF_TRY(record_decode(record, rq->arena, &status, err));
        cf_ignore(!json_int64(json_get(status, "time"), &time_ns), "0 is old enough");
        if (time_ns + STATUS_KEPT_NS < request_now_ns(rq)) {
            txn_delete(rq->txn, key);
        }
    }
    return CF_OK;
}

static void store_status(struct request *rq, const struct mount *from, const struct mount *to,
                         const char *id)
{
    struct json *info = json_object_new(rq->arena);
    struct json *record = json_object_new(rq->arena);
    json_set_string(rq->arena, info, "source_mount", from->path);
    json_set_string(rq->arena, info, "target_mount", to->path);
    json_set_text(rq->arena, info, "status", "success");
    json_set(rq->arena, record, "info", info);
    json_set_int(rq->arena, record, "time", request_now_ns(rq));
    txn_put(rq->txn, status_key(rq, to, cf_slice_str(id)), record_encode(rq->arena, record));
}

/* How much of a path is the namespace below the request's that it lies in. */
static size_t namespace_prefix(const struct request *rq, struct cf_slice path)
{
    struct cf_slice whole = cf_slice_str(
        arena_printf(rq->arena, "%.*s%.*s", CF_SHOW(rq->nspace->path), CF_SHOW(path)));
    return namespace_table_match(rq->view->namespaces, whole)->path.size - rq->nspace->path.size;
}

/* "auth/x" as it stands: here both kinds are named by their whole path. */
static cf_status find_paths(struct request *rq, const struct mount **ret_from,
                            struct cf_slice *ret_to, struct cf_error *err)
{
    struct cf_slice from, to;
    CF_TRY(request_string(rq, "from", &from, err));
    CF_TRY(request_string(rq, "to", &to, err));
    from = mount_path_of(rq, ENGINE_SECRETS, from);
    to = mount_path_of(rq, ENGINE_SECRETS, to);
    if (from.size < 2 || to.size < 2) {
        return cf_fail(err, CF_INVALID, "both 'from' and 'to' path must be specified");
    }
    /* What lies in a namespace below: its data is sealed for that namespace, and stands under its number. */
    size_t of_from = namespace_prefix(rq, from), of_to = namespace_prefix(rq, to);
    if (of_from < from.size && of_to < to.size &&
        !cf_slice_eq(cf_slice_first(from, of_from), cf_slice_first(to, of_to))) {
        return cf_fail(err, CF_INVALID,
                       "cannot remount \"%.*s\" to \"%.*s\": a mount does not move to another namespace; make one "
                       "there and copy what it holds",
                       CF_SHOW(cf_slice_first(from, 100)), CF_SHOW(cf_slice_first(to, 100)));
    }
    if (of_from != 0 && of_from < from.size) {
        return cf_fail(err, CF_INVALID,
                       "cannot remount \"%.*s\" from here: ask in the namespace \"%.*s\" (X-Vault-Namespace)",
                       CF_SHOW(cf_slice_first(from, 100)), CF_SHOW(cf_slice_first(from, of_from)));
    }
    const struct mount *mount = mount_table_find(rq->mounts, from);
    if (mount == NULL) {
        return cf_fail(err, CF_INVALID, "no matching mount at \"%.*s\"", CF_SHOW(from));
    }
    if (mount->is_fixed) {
        return cf_fail(err, CF_INVALID, "cannot remount \"%.*s\"", CF_SHOW(from));
    }
    bool to_auth = cf_slice_starts(to, CF_SLICE("auth/"));
    if (to_auth != (mount->ops->kind == ENGINE_AUTH) || cf_slice_is(to, "auth/")) {
        return cf_fail(err, CF_INVALID, "cannot remount %s to \"%.*s\"",
                       mount->ops->kind == ENGINE_AUTH ? "auth mount" : "secrets mount",
                       CF_SHOW(to));
    }
    const struct mount *other = mount_in_the_way(rq, to);
    if (other != NULL || cf_slice_starts(to, CF_SLICE("audit/")) ||
        namespace_in_the_way(rq, to) != NULL) {
        return cf_fail(err, CF_INVALID, "path in use at \"%.*s\"",
                       CF_SHOW(other != NULL ? other->path : to));
    }
    *ret_from = mount;
    *ret_to = to;
    return CF_OK;
}

cf_status sys_remount(struct request *rq, struct cf_error *err)
{
    const struct mount *from;
    struct mount *to = arena_new_object(rq->arena, struct mount);
    struct cf_slice path;
    CF_TRY(find_paths(rq, &from, &path, err));
    if (!from->is_local) {
        CF_TRY(core_check_move(rq, from->path, path, err));
    }
    txn_note_read(rq->txn, from->entry_hash);
    *to = *from;
    to->path = path;
    CF_TRY(mount_store(rq, to, err));
    if (rq->view->settings->quotas.lease_count != 0) {
        quota_leases_changed(rq); /* what is left at the old path is of another rule, or of none */
    }
    /* Leases carry the old path: what was logged in or lent out there ends. */
    CF_TRY(lease_revoke_prefix(rq->txn, rq->arena, rq->ns, from->path, false, err));
    CF_TRY(forget_old(rq, to, err));
    char id[ENCODE_UUID_TEXT + 1];
    encode_uuid_text(encode_uuid_new(rq->random), id);
    store_status(rq, from, to, id);
    json_set_text(rq->arena, response_data(rq), "migration_id", id);
    response_warn(rq,
                  "Mount migration has been queued and completed; its status can be read at "
                  "sys/remount/status/%s",
                  id);
    return CF_OK;
}

cf_status sys_remount_status(struct request *rq, struct cf_error *err)
{
    struct cf_slice name =
        cf_slice_str(arena_printf(rq->arena, STATUS_FOLDER "%.*s", CF_SHOW(rq->captures[0])));
    struct cf_slice bytes;
    struct json *record;
    cf_status status = txn_get(rq->txn, store_key(rq, name), &bytes, err);
    if (status == CF_NOT_FOUND) {
        status = txn_get(rq->txn, store_local_key(rq, name), &bytes, err);
    }
    if (status == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(status);
    CF_TRY(record_decode(bytes, rq->arena, &record, err));
    json_set_string(rq->arena, response_data(rq), "migration_id", rq->captures[0]);
    json_set(rq->arena, response_data(rq), "migration_info", json_get(record, "info"));
    return CF_OK;
}

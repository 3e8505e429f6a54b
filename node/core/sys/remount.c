/* node/core/sys/remount.c: moving a mount. Within a namespace only the entry's path changes, in one write set, so the
 * migration is over when it is answered. To another namespace its data moves, too: here that begins, and
 * mount_move.h has the rest. Uuid and accessor stay. */
#include "node/base/memory.h"
#include "node/core/core_int.h"
#include "node/core/mount_move.h"
#include "node/core/policy.h"
#include "node/core/sys/lease_store.h"
#include "node/core/sys/sys_int.h"

#define STATUS_KEPT_NS ((int64_t)24 * 3600 * 1000000000)

/* One side of a move. */
struct side {
    struct request rq; /* as if it had been asked in the side's namespace: for what looks at a request's tables */
    struct cf_slice path; /* below its namespace */
    struct cf_slice whole;
};

/* The record goes where the mount's entry goes: moving a local mount writes nothing that is shared. */
static struct key status_key(const struct request *rq, bool is_local, struct cf_slice id)
{
    return move_status_key(rq->arena, rq->mount, is_local, id);
}

/* Records of yesterday's moves go. */
static cf_status forget_old(struct request *rq, bool is_local, struct cf_error *err)
{
    struct txn_names names;
    CF_TRY(txn_list(rq->txn, status_key(rq, is_local, CF_SLICE_EMPTY), CF_SLICE_EMPTY, 0, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        struct key key = status_key(rq, is_local, names.names[i]);
        struct cf_slice record;
        struct json *status;
        int64_t time_ns = 0;
        CF_TRY(txn_get(rq->txn, key, &record, err));
        CF_TRY(record_decode(record, rq->arena, &status, err));
        cf_ignore(!json_int64(json_get(status, "time"), &time_ns), "0 is old enough");
        bool is_over = !cf_slice_is(json_get_string(json_get(status, "info"), "status"), "in-progress");
        if (is_over && time_ns + STATUS_KEPT_NS < request_now_ns(rq)) {
            txn_delete(rq->txn, key);
        }
    }
    return CF_OK;
}

/* "auth/x" as it stands: here both kinds are named by their whole path. */
static cf_status read_side(struct request *rq, const char *field, struct side *side, struct cf_error *err)
{
    struct cf_slice path;
    CF_TRY(request_string(rq, field, &path, err));
    path = mount_path_of(rq, ENGINE_SECRETS, path);
    if (path.size < 2) {
        return cf_fail(err, CF_INVALID, "both 'from' and 'to' path must be specified");
    }
    side->rq = *rq;
    side->whole =
        cf_slice_str(arena_printf(rq->arena, "%.*s%.*s", CF_SHOW(rq->nspace->path), CF_SHOW(path)));
    side->rq.nspace = namespace_table_match(rq->view->namespaces, side->whole);
    side->rq.ns = side->rq.nspace->number;
    side->rq.mounts = side->rq.nspace->mounts;
    side->path = cf_slice_from(side->whole, side->rq.nspace->path.size);
    namespace_note_read(rq->txn, side->rq.nspace);
    if (side->rq.nspace->is_tainted || namespace_lock_of(side->rq.nspace) != namespace_lock_of(rq->nspace)) {
        return cf_fail(err, CF_INVALID, "the namespace \"%.*s\" is locked, or about to be deleted",
                       CF_SHOW(side->rq.nspace->path));
    }
    return CF_OK;
}

/* In a namespace below, the caller has to be allowed there what it was allowed here. */
static cf_status check_allowed(struct request *rq, const struct side *side, struct cf_error *err)
{
    const unsigned needed = CAPABILITY_UPDATE | CAPABILITY_SUDO;
    struct acl *acl;
    struct cf_slice path = CF_SLICE("sys/remount");
    if (side->rq.ns == rq->ns) {
        return CF_OK;
    }
    CF_TRY(authorize_acl(rq->txn, rq->arena, rq->caller, &acl, err));
    bool allowed = request_policy_path(&side->rq, rq->caller, path, &path) &&
                   (acl_is_root(acl) || (acl_capabilities(acl, path) & needed) == needed);
    acl_unref(acl);
    return allowed ? CF_OK
                   : cf_fail(err, CF_DENIED,
                             "permission denied: moving a mount out of or into the namespace \"%.*s\" needs update and "
                             "sudo on \"%.*s\"",
                             CF_SHOW(side->rq.nspace->path), CF_SHOW(path));
}

static cf_status find_source(const struct side *from, const struct mount **ret, struct cf_error *err)
{
    const struct mount *mount = mount_table_find(from->rq.mounts, from->path);
    if (mount == NULL) {
        return cf_fail(err, CF_INVALID, "no matching mount at \"%.*s\"", CF_SHOW(from->whole));
    }
    if (mount->is_fixed) {
        return cf_fail(err, CF_INVALID, "cannot remount \"%.*s\"", CF_SHOW(from->whole));
    }
    CF_TRY(mount_is_at_rest(mount, err));
    *ret = mount;
    return CF_OK;
}

static cf_status check_target(const struct side *to, const struct mount *mount, struct cf_error *err)
{
    bool to_auth = cf_slice_starts(to->path, CF_SLICE("auth/"));
    if (to_auth != (mount->ops->kind == ENGINE_AUTH) || cf_slice_is(to->path, "auth/")) {
        return cf_fail(err, CF_INVALID, "cannot remount %s to \"%.*s\"",
                       mount->ops->kind == ENGINE_AUTH ? "auth mount" : "secrets mount", CF_SHOW(to->whole));
    }
    const struct mount *other = mount_in_the_way(&to->rq, to->path);
    if (to->path.size < 2 || other != NULL || cf_slice_starts(to->path, CF_SLICE("audit/")) ||
        namespace_in_the_way(&to->rq, to->path) != NULL) {
        return cf_fail(err, CF_INVALID, "path in use at \"%.*s\"", CF_SHOW(other != NULL ? other->path : to->path));
    }
    return CF_OK;
}

/* ---- the two kinds of moves ---- */

static cf_status rename_mount(struct request *rq, struct side *side, const struct mount *from, struct cf_slice path,
                              struct cf_slice id, struct cf_error *err)
{
    struct mount *to = arena_new_object(rq->arena, struct mount);
    *to = *from;
    to->path = path;
    CF_TRY(mount_store(&side->rq, to, err));
    response_warn(rq, "Mount migration has been queued and completed; its status can be read at sys/remount/status/%.*s",
                  CF_SHOW(id));
    return CF_OK;
}

static cf_status start_moving(struct request *rq, struct side *from, struct side *to, const struct mount *mount,
                              struct cf_slice id, struct cf_error *err)
{
    struct mount *out = arena_new_object(rq->arena, struct mount), *in = arena_new_object(rq->arena, struct mount);
    const struct mount *left = mount_table_by_uuid(to->rq.mounts, mount->uuid);
    if (left != NULL) {
        return cf_fail(err, CF_INVALID, "path in use at \"%.*s\"", CF_SHOW(left->path));
    }
    move_entries(rq->arena, mount, to->rq.nspace, to->path, rq->ns, id, out, in);
    CF_TRY(mount_store(&from->rq, out, err));
    CF_TRY(mount_store(&to->rq, in, err));
    response_warn(rq, "Mount migration has been queued: below both paths requests are refused until it is over, see "
                      "sys/remount/status/%.*s",
                  CF_SHOW(id));
    if (mount->ops->kind == ENGINE_AUTH) {
        response_warn(rq, "Entities and aliases of this method stay in the namespace \"%.*s\"; logins make new ones in "
                          "\"%.*s\"",
                      CF_SHOW(from->rq.nspace->path), CF_SHOW(to->rq.nspace->path));
    }
    return CF_OK;
}

cf_status sys_remount(struct request *rq, struct cf_error *err)
{
    struct side *from = arena_new_object(rq->arena, struct side), *to = arena_new_object(rq->arena, struct side);
    const struct mount *mount;
    CF_TRY(read_side(rq, "from", from, err));
    CF_TRY(read_side(rq, "to", to, err));
    CF_TRY(check_allowed(rq, from, err));
    CF_TRY(check_allowed(rq, to, err));
    CF_TRY(find_source(from, &mount, err));
    CF_TRY(check_target(to, mount, err));
    if (!mount->is_local) {
        CF_TRY(core_check_move(rq, from->rq.nspace, mount->path, to->rq.nspace, to->path, err));
    }
    txn_note_read(rq->txn, mount->entry_hash);
    char text[ENCODE_UUID_TEXT + 1];
    encode_uuid_text(encode_uuid_new(rq->random), text);
    struct cf_slice id = cf_slice_str(text);
    bool stays = from->rq.ns == to->rq.ns;
    CF_TRY(stays ? rename_mount(rq, from, mount, to->path, id, err) : start_moving(rq, from, to, mount, id, err));
    if (rq->view->settings->quotas.lease_count != 0 && (rq->view->role == ROLE_ALONE_OR_PRIMARY || !mount->is_local)) {
        quota_leases_changed(rq); /* what is left at the old path is of another rule, or of none */
    }
    /* Leases carry the old path: what was logged in or lent out there ends. */
    CF_TRY(lease_revoke_prefix(rq->txn, rq->arena, from->rq.ns, mount->path, false, err));
    CF_TRY(forget_old(rq, mount->is_local, err));
    txn_put(rq->txn, status_key(rq, mount->is_local, id),
            move_status_record(rq->arena, from->whole, to->whole, stays ? "success" : "in-progress", NULL,
                               request_now_ns(rq)));
    json_set_text(rq->arena, response_data(rq), "migration_id", text);
    return CF_OK;
}

cf_status sys_remount_status(struct request *rq, struct cf_error *err)
{
    struct cf_slice bytes;
    struct json *record;
    cf_status status = txn_get(rq->txn, status_key(rq, false, rq->captures[0]), &bytes, err);
    if (status == CF_NOT_FOUND) {
        status = txn_get(rq->txn, status_key(rq, true, rq->captures[0]), &bytes, err);
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

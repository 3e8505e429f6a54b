/* node/core/sys/locked_users.c: sys/locked-users: who is locked out, and letting them in again. */
#include "node/base/memory.h"
#include "node/core/lockout.h"
#include "node/core/namespace.h"
#include "node/core/sys/sys_int.h"

static cf_status add_mount(struct request *rq, const struct mount *mount, struct json *to,
                           int64_t *total, struct cf_error *err)
{
    struct json *users, *entry = json_object_new(rq->arena);
    txn_note_read(rq->txn, mount->entry_hash);
    CF_TRY(lockout_list(rq, mount, &users, err));
    if (json_count(users) == 0) {
        return CF_OK;
    }
    *total += (int64_t)json_count(users);
    json_set_string(rq->arena, entry, "mount_accessor", mount->accessor);
    json_set_int(rq->arena, entry, "counts", (int64_t)json_count(users));
    json_set(rq->arena, entry, "alias_identifiers", users);
    json_array_add(rq->arena, to, entry);
    return CF_OK;
}

cf_status sys_locked_users(struct request *rq, struct cf_error *err)
{
    struct cf_slice accessor;
    struct json *mounts = json_array_new(rq->arena), *entry = json_object_new(rq->arena);
    struct json *all = json_array_new(rq->arena);
    int64_t total = 0;
    CF_TRY(request_string(rq, "mount_accessor", &accessor, err));
    for (size_t i = 0; i < rq->mounts->count; i++) {
        const struct mount *mount = rq->mounts->mounts[i];
        bool is_asked = accessor.size == 0 || cf_slice_eq(mount->accessor, accessor);
        if (mount->ops->kind == ENGINE_AUTH && !mount->is_fixed && is_asked) {
            CF_TRY(add_mount(rq, mount, mounts, &total, err));
        }
    }
    json_set_string(rq->arena, entry, "namespace_id",
                    rq->nspace != NULL ? rq->nspace->id : CF_SLICE("root"));
    json_set_string(rq->arena, entry, "namespace_path",
                    rq->nspace != NULL ? rq->nspace->path : CF_SLICE_EMPTY);
    json_set_int(rq->arena, entry, "counts", total);
    json_set(rq->arena, entry, "mount_accessors", mounts);
    json_array_add(rq->arena, all, entry);
    json_set(rq->arena, response_data(rq), "by_namespace", all);
    json_set_int(rq->arena, response_data(rq), "total", total);
    return CF_OK;
}

cf_status sys_unlock_user(struct request *rq, struct cf_error *err)
{
    const struct mount *mount = mount_table_by_accessor(rq->mounts, rq->captures[0]);
    if (mount == NULL || mount->ops->kind != ENGINE_AUTH || rq->captures[1].size == 0) {
        return cf_fail(err, CF_INVALID, "no auth method with that accessor, or no user given");
    }
    txn_note_read(rq->txn, mount->entry_hash);
    lockout_forget(rq, mount, rq->captures[1]);
    return CF_OK;
}

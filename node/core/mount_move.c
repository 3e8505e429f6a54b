/* node/core/mount_move.c: mounts on their way to another namespace. */
#include "node/core/mount_move.h"

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/core.h"
#include "node/core/lease.h"
#include "node/core/quota.h"
#include "node/core/settings.h"
#include "node/core/sys/lease_store.h"

/* Of one entry. */
#define KEYS_MAX ((size_t)256)
#define BYTES_MAX ((size_t)1024 * 1024)
#define LEASES_MAX ((size_t)256)

/* ---- records ---- */

static struct key data_key(struct arena *arena, uint8_t class, uint32_t ns, struct uuid uuid, struct cf_slice name)
{
    CF_BUF(whole) = {0};
    cf_buf_add_str(&whole, AREA_DATA);
    cf_buf_add(&whole, uuid.bytes, sizeof(uuid.bytes));
    cf_buf_add_byte(&whole, '/');
    cf_buf_add_slice(&whole, name);
    return (struct key){class, ns, arena_copy(arena, cf_buf_slice(&whole))};
}

struct key move_status_key(struct arena *arena, const struct mount *sys, bool is_local, struct cf_slice id)
{
    struct cf_slice name = cf_slice_str(arena_printf(arena, MOVE_STATUS_FOLDER "%.*s", CF_SHOW(id)));
    return data_key(arena, is_local ? CLASS_CLUSTER : sys->class, sys->ns, sys->uuid, name);
}

struct cf_slice move_status_record(struct arena *arena, struct cf_slice source, struct cf_slice target,
                                   const char *status, const char *reason, int64_t now_ns)
{
    struct json *info = json_object_new(arena), *record = json_object_new(arena);
    json_set_string(arena, info, "source_mount", source);
    json_set_string(arena, info, "target_mount", target);
    json_set_text(arena, info, "status", status);
    if (reason != NULL) {
        json_set_text(arena, info, "reason", reason);
    }
    json_set(arena, record, "info", info);
    json_set_int(arena, record, "time", now_ns);
    return record_encode(arena, record);
}

void move_entries(struct arena *arena, const struct mount *from, const struct namespace *target,
                  struct cf_slice path, uint32_t asked_ns, struct cf_slice id, struct mount *ret_out,
                  struct mount *ret_in)
{
    *ret_out = *ret_in = *from;
    id = arena_copy(arena, id);
    ret_out->move = (struct mount_move){MOVE_OUT, target->number, asked_ns, id};
    ret_in->move = (struct mount_move){MOVE_IN, from->ns, asked_ns, id};
    ret_in->ns = target->number;
    ret_in->path = path;
}

static void put_mount(struct txn *txn, struct arena *arena, const struct mount *mount)
{
    txn_put(txn, mount_key(mount), record_encode(arena, mount_to_record(arena, mount)));
}

/* ---- the two ends ---- */

struct ends {
    const struct namespace *from_ns, *to_ns;
    const struct mount *from, *to;
};

static struct cf_slice whole_path(struct arena *arena, const struct namespace *ns, const struct mount *mount)
{
    return cf_slice_str(arena_printf(arena, "%.*s%.*s", CF_SHOW(ns->path), CF_SHOW(mount->path)));
}

static void note_ends(struct txn *txn, const struct ends *ends)
{
    namespace_note_read(txn, ends->from_ns);
    namespace_note_read(txn, ends->to_ns);
    txn_note_read(txn, ends->from->entry_hash);
    txn_note_read(txn, ends->to->entry_hash);
}

static void tell(struct txn *txn, struct arena *arena, const struct ends *ends, const char *status, const char *reason)
{
    const struct namespace *asked =
        namespace_by_number(txn_view(txn)->namespaces, ends->from->move.asked_ns);
    const struct mount *sys = asked != NULL ? mount_table_find(asked->mounts, CF_SLICE("sys/")) : NULL;
    if (sys != NULL) {
        txn_put(txn, move_status_key(arena, sys, ends->from->is_local, ends->from->move.id),
                move_status_record(arena, whole_path(arena, ends->from_ns, ends->from),
                                   whole_path(arena, ends->to_ns, ends->to), status, reason,
                                   view_now_ns(txn_view(txn))));
    }
}

/* The tables of both namespaces change. Nobody else's change can have come between: it would have
 * changed an entry that was read. */
static void touch_tables(struct txn *txn, const struct ends *ends)
{
    uint8_t class = mount_key(ends->from).class;
    const uint32_t namespaces[] = {ends->from_ns->number, ends->to_ns->number};
    for (size_t i = 0; i < CF_LENGTH(namespaces); i++) {
        txn_put(txn, (struct key){class, namespaces[i], CF_SLICE(MOUNT_TABLE_GUARD)}, ends->from->move.id);
    }
}

static void undo(struct txn *txn, struct arena *arena, const struct ends *ends, const char *reason)
{
    struct mount *back = arena_new_object(arena, struct mount);
    *back = *ends->from;
    back->move = (struct mount_move){0};
    put_mount(txn, arena, back);
    txn_delete(txn, mount_key(ends->to));
    touch_tables(txn, ends);
    tell(txn, arena, ends, "failure", reason);
    cf_warn("core", "mount \"%.*s\" stays where it is: %s", CF_SHOW(whole_path(arena, ends->from_ns, ends->from)),
            reason);
}

static void note_former(struct mount *mount, uint32_t ns)
{
    size_t kept = 0;
    for (size_t i = 0; i < mount->former_count; i++) {
        if (mount->former[i] != ns && mount->former[i] != mount->ns) {
            mount->former[kept++] = mount->former[i];
        }
    }
    if (kept == MOUNT_FORMER_MAX) {
        memmove(mount->former, mount->former + 1, --kept * sizeof(mount->former[0]));
    }
    mount->former[kept++] = ns;
    mount->former_count = kept;
}

static cf_status finish(struct txn *txn, struct arena *arena, const struct ends *ends, struct cf_error *err)
{
    struct mount *there = arena_new_object(arena, struct mount);
    *there = *ends->to;
    there->move = (struct mount_move){0};
    note_former(there, ends->from_ns->number);
    put_mount(txn, arena, there);
    txn_delete(txn, mount_key(ends->from));
    touch_tables(txn, ends);
    if (!ends->from->is_local) { /* limits are shared: of a local mount there are none elsewhere */
        CF_TRY(quota_move_mount(txn, arena, there, ends->to_ns->path, err));
    }
    tell(txn, arena, ends, "success", NULL);
    cf_info("core", "mount \"%.*s\" is \"%.*s\" now", CF_SHOW(whole_path(arena, ends->from_ns, ends->from)),
            CF_SHOW(whole_path(arena, ends->to_ns, ends->to)));
    return CF_OK;
}

/* ---- leases ---- */

enum lent { LENT_NOTHING, LENT_ENDING, LENT_FOR_GOOD };

static cf_status what_is_lent(struct txn *txn, struct arena *arena, const struct mount *from, enum lent *ret,
                              struct cf_error *err)
{
    struct txn_names failed, names;
    size_t stuck = 0;
    bool has_any;
    *ret = LENT_NOTHING;
    CF_TRY(lease_has_any(txn, arena, from->ns, from->path, &has_any, err));
    if (!has_any) {
        return CF_OK;
    }
    CF_TRY(lease_irrevocable(txn, from->ns, 0, &failed, err));
    for (size_t i = 0; i < failed.count; i++) {
        stuck += cf_slice_starts(failed.names[i], from->path);
    }
    CF_BUF(name) = {0};
    cf_buf_add_str(&name, AREA_LEASE);
    cf_buf_add_slice(&name, from->path);
    CF_TRY(txn_scan(txn, (struct key){CLASS_CLUSTER, from->ns, cf_buf_slice(&name)}, CF_SLICE_EMPTY, stuck + 1,
                    &names, err));
    *ret = names.count > stuck ? LENT_ENDING : LENT_FOR_GOOD;
    return CF_OK;
}

/* ---- data ---- */

static cf_status carry(struct txn *txn, struct arena *arena, struct uuid uuid, uint8_t class, uint32_t from,
                       uint32_t to, bool *ret_moved, struct cf_error *err)
{
    struct txn_names names;
    size_t bytes = 0;
    CF_TRY(txn_scan(txn, data_key(arena, class, from, uuid, CF_SLICE_EMPTY), CF_SLICE_EMPTY, KEYS_MAX, &names, err));
    for (size_t i = 0; i < names.count && bytes < BYTES_MAX; i++) {
        struct key source = data_key(arena, class, from, uuid, names.names[i]);
        struct cf_slice value;
        CF_TRY(txn_get(txn, source, &value, err));
        if (bytes != 0 && bytes + value.size > BYTES_MAX) {
            break;
        }
        bytes += value.size + source.name.size;
        txn_put(txn, data_key(arena, class, to, uuid, names.names[i]), value);
        txn_delete(txn, source);
    }
    *ret_moved = names.count != 0;
    return CF_OK;
}

/* ---- the rounds ---- */

static cf_status go_on(struct txn *txn, struct arena *arena, const struct ends *ends, bool *ret_more,
                       struct cf_error *err)
{
    static const uint8_t classes[] = {CLASS_REPLICATED, CLASS_CLUSTER};
    enum lent lent;
    note_ends(txn, ends);
    CF_TRY(what_is_lent(txn, arena, ends->from, &lent, err));
    if (lent == LENT_FOR_GOOD) {
        undo(txn, arena, ends,
             "secrets that it lent out cannot be taken back: see sys/leases?type=irrevocable, then "
             "sys/leases/revoke-force, and move it again");
        return CF_OK;
    }
    if (lent == LENT_ENDING) {
        return CF_OK;
    }
    for (size_t i = ends->from->class == CLASS_REPLICATED ? 0 : 1; i < CF_LENGTH(classes); i++) {
        CF_TRY(carry(txn, arena, ends->from->uuid, classes[i], ends->from_ns->number, ends->to_ns->number, ret_more,
                     err));
        if (*ret_more) {
            return CF_OK;
        }
    }
    return finish(txn, arena, ends, err);
}

/* A performance secondary ends what it lent out or let in itself. */
static cf_status end_own_leases(struct txn *txn, struct arena *arena, const struct mount *from, bool *ret_more,
                                struct cf_error *err)
{
    struct cf_slice after = CF_SLICE_EMPTY;
    size_t mark = txn_mark(txn);
    bool more;
    txn_note_read(txn, from->entry_hash);
    CF_TRY(lease_revoke_some(txn, arena, from->ns, from->path, &after, LEASES_MAX, false, &more, err));
    *ret_more = more && txn_mark(txn) != mark;
    return CF_OK;
}

static cf_status carry_own(struct txn *txn, struct arena *arena, const struct mount *mount, bool *ret_more,
                           struct cf_error *err)
{
    for (size_t i = 0; i < mount->former_count && !*ret_more; i++) {
        CF_TRY(carry(txn, arena, mount->uuid, CLASS_CLUSTER, mount->former[i], mount->ns, ret_more, err));
    }
    if (*ret_more) {
        txn_note_read(txn, mount->entry_hash);
    }
    return CF_OK;
}

cf_status mount_move_is_behind(struct txn *txn, struct arena *arena, const struct mount *mount, bool *ret,
                               struct cf_error *err)
{
    struct txn_names names;
    *ret = false;
    if (mount->former_count == 0 || mount->is_local || txn_view(txn)->role != ROLE_PERFORMANCE_SECONDARY) {
        return CF_OK;
    }
    for (size_t i = 0; i < mount->former_count && !*ret; i++) {
        CF_TRY(txn_scan(txn, data_key(arena, CLASS_CLUSTER, mount->former[i], mount->uuid, CF_SLICE_EMPTY),
                        CF_SLICE_EMPTY, 1, &names, err));
        *ret = names.count != 0;
    }
    return CF_OK;
}

static cf_status look_after(struct txn *txn, struct arena *arena, const struct namespace *ns,
                            const struct mount *mount, bool *ret_more, struct cf_error *err)
{
    const struct view *view = txn_view(txn);
    if (mount->move.way == MOVE_OUT) {
        const struct namespace *to = namespace_by_number(view->namespaces, mount->move.other_ns);
        struct ends ends = {ns, to, mount, to != NULL ? mount_table_by_uuid(to->mounts, mount->uuid) : NULL};
        if (view->role != ROLE_ALONE_OR_PRIMARY && !mount->is_local) {
            return end_own_leases(txn, arena, mount, ret_more, err);
        }
        if (ends.to == NULL) { /* a namespace with a mount on its way is not deleted */
            return cf_fail(err, CF_CORRUPT, "the other entry of mount \"%.*s\" is missing", CF_SHOW(mount->path));
        }
        return go_on(txn, arena, &ends, ret_more, err);
    }
    return mount->move.way == MOVE_NONE ? carry_own(txn, arena, mount, ret_more, err) : CF_OK;
}

cf_status mount_move_round(struct txn *txn, struct arena *arena, bool *ret_more, struct cf_error *err)
{
    const struct namespace_table *table = txn_view(txn)->namespaces;
    *ret_more = false;
    for (size_t i = 0; i < table->count; i++) {
        const struct mount_table *mounts = table->list[i]->mounts;
        for (size_t k = 0; mounts->has_moves && k < mounts->count; k++) {
            CF_TRY(look_after(txn, arena, table->list[i], mounts->mounts[k], ret_more, err));
            if (txn_has_writes(txn)) {
                *ret_more = true; /* one step a round */
                return CF_OK;
            }
        }
    }
    return CF_OK;
}

const struct mount *mount_after_moves(const struct namespace_table *table, uint32_t ns, struct uuid uuid)
{
    const struct namespace *own = namespace_by_number(table, ns);
    const struct mount *mount = own != NULL ? mount_table_by_uuid(own->mounts, uuid) : NULL;
    for (size_t i = 0; mount == NULL && i < table->count; i++) {
        const struct mount_table *mounts = table->list[i]->mounts;
        const struct mount *other = mounts->has_moves ? mount_table_by_uuid(mounts, uuid) : NULL;
        for (size_t k = 0; other != NULL && k < other->former_count; k++) {
            mount = other->former[k] == ns ? other : mount;
        }
    }
    return mount;
}

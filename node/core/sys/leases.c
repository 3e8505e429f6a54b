/* node/core/sys/leases.c: sys/leases/: what was lent out, by id and by prefix. */
#include "node/base/memory.h"
#include "node/core/lease.h"
#include "node/core/namespace.h"
#include "node/core/sys/lease_store.h"
#include "node/core/sys/sys_int.h"
#include "node/format/timefmt.h"

#define LISTED_MAX 10000

/* From the path, else from the body. shown: as clients know it, with the id of its namespace behind it;
 * ret: as it is stored. A lease of another namespace than the request's is unknown here. */
static cf_status lease_id(struct request *rq, struct cf_slice *shown, struct cf_slice *ret,
                          struct cf_error *err)
{
    CF_TRY(request_string(rq, "lease_id", shown, err));
    if (shown->size == 0) {
        CF_TRY(request_string(rq, "url_lease_id", shown, err));
    }
    *ret = *shown;
    if (ret->size == 0) {
        return cf_fail(err, CF_INVALID, "lease_id must be specified");
    }
    if (rq->ns != NAMESPACE_ROOT) {
        struct cf_slice mark = namespace_mark(rq->arena, rq->nspace, CF_SLICE_EMPTY);
        *ret = cf_slice_ends(*shown, mark) ? cf_slice_first(*shown, shown->size - mark.size)
                                           : CF_SLICE_EMPTY; /* nobody's */
    }
    return CF_OK;
}

static void set_time(struct request *rq, const char *name, int64_t time_ns)
{
    char text[TIMEFMT_SIZE];
    if (time_ns == 0) {
        json_set(rq->arena, response_data(rq), name, NULL);
        return;
    }
    timefmt_text(time_ns, text);
    json_set_text(rq->arena, response_data(rq), name, text);
}

struct times {
    int64_t issue_ns, expire_ns, last_renewal_ns;
    bool renewable;
};

static void show(struct request *rq, struct cf_slice id, const struct times *times)
{
    int64_t left_ns = times->expire_ns - request_now_ns(rq);
    json_set_string(rq->arena, response_data(rq), "id", id);
    set_time(rq, "issue_time", times->issue_ns);
    set_time(rq, "expire_time", times->expire_ns);
    set_time(rq, "last_renewal", times->last_renewal_ns);
    json_set_bool(rq->arena, response_data(rq), "renewable", times->renewable);
    json_set_int(rq->arena, response_data(rq), "ttl", cf_max(left_ns, 0) / 1000000000);
}

cf_status sys_lease_lookup(struct request *rq, struct cf_error *err)
{
    const struct token_entry *entry;
    struct lease *lease;
    struct cf_slice id, shown;
    CF_TRY(lease_id(rq, &shown, &id, err));
    cf_status status = lease_find(rq->txn, rq->arena, rq->ns, id, &lease, err);
    if (status == CF_OK && (lease_is_live(rq->txn, lease) || lease->due_ns == 0)) {
        struct times times = {lease->issue_ns, lease->expire_ns, lease->last_renewal_ns, lease->renewable};
        show(rq, shown, &times);
        return CF_OK;
    }
    if (status == CF_NOT_FOUND) {
        status = lease_find_token(rq->txn, rq->arena, rq->ns, id, &entry, err);
        if (status == CF_OK) {
            struct times times = {entry->creation_ns, entry->expire_ns, entry->last_renewal_ns, entry->is_renewable};
            show(rq, shown, &times);
        }
    } else if (status == CF_OK) {
        status = CF_NOT_FOUND; /* it is being taken back */
    }
    return status == CF_NOT_FOUND ? cf_fail(err, CF_INVALID, "invalid lease") : status;
}

cf_status sys_lease_list(struct request *rq, struct cf_error *err)
{
    struct cf_slice prefix = rq->captures[0];
    struct txn_names names;
    bool needs_slash = prefix.size != 0 && prefix.data[prefix.size - 1] != '/';
    struct cf_slice name = cf_slice_str(
        arena_printf(rq->arena, "%s%.*s%s", AREA_LEASE, CF_SHOW(prefix), needs_slash ? "/" : ""));
    CF_TRY(txn_list(rq->txn, (struct key){CLASS_CLUSTER, rq->ns, name}, CF_SLICE_EMPTY, 0,
                    &names, err));
    for (size_t i = 0; i < names.count; i++) {
        bool is_folder = names.names[i].data[names.names[i].size - 1] == '/';
        names.names[i] = is_folder ? names.names[i]
                                   : namespace_mark(rq->arena, rq->nspace, names.names[i]);
    }
    return response_keys(rq, &names, err);
}

cf_status sys_lease_renew(struct request *rq, struct cf_error *err)
{
    const struct token_entry *entry;
    struct lease *lease;
    struct cf_slice id, shown;
    int64_t increment_s;
    CF_TRY(lease_id(rq, &shown, &id, err));
    CF_TRY(request_duration(rq, "increment", 0, &increment_s, NULL, err));
    if (increment_s < 0) {
        return cf_fail(err, CF_INVALID, "increment must be positive");
    }
    cf_status status = lease_find(rq->txn, rq->arena, rq->ns, id, &lease, err);
    if (status == CF_OK && (lease_is_live(rq->txn, lease) || lease->due_ns == 0)) {
        rq->response.lease_id = shown;
        return lease_renew(rq, lease, increment_s, err);
    }
    if (status == CF_NOT_FOUND) {
        status = lease_find_token(rq->txn, rq->arena, rq->ns, id, &entry, err);
        if (status == CF_OK) {
            return cf_fail(err, CF_INVALID, "tokens cannot be renewed through this endpoint");
        }
    } else if (status == CF_OK) {
        status = CF_NOT_FOUND;
    }
    return status == CF_NOT_FOUND ? cf_fail(err, CF_INVALID, "lease not found") : status;
}

/* Secrets are taken back by their mount, in the background, as often as that takes. */
static cf_status warn_of_queue(struct request *rq, struct cf_error *err)
{
    bool sync;
    CF_TRY(request_bool(rq, "sync", false, &sync, err));
    if (sync) {
        response_warn(rq, "Tokens are revoked. Secrets that were lent out are queued: see sys/leases/lookup, and "
                          "sys/leases?type=irrevocable for what cannot be revoked.");
    }
    return CF_OK;
}

cf_status sys_lease_revoke(struct request *rq, struct cf_error *err)
{
    const struct token_entry *entry;
    struct lease *lease;
    struct cf_slice id, shown;
    CF_TRY(lease_id(rq, &shown, &id, err));
    cf_status status = lease_find(rq->txn, rq->arena, rq->ns, id, &lease, err);
    if (status == CF_OK) {
        lease_end(rq->txn, rq->arena, lease, false);
        return warn_of_queue(rq, err);
    }
    if (status == CF_NOT_FOUND) {
        status = lease_find_token(rq->txn, rq->arena, rq->ns, id, &entry, err);
    }
    if (status == CF_NOT_FOUND) {
        return CF_OK; /* what is gone is revoked */
    }
    CF_TRY(status);
    return token_revoke(rq->txn, rq->arena, entry, true, err);
}

static cf_status revoke_prefix(struct request *rq, bool forced, struct cf_error *err)
{
    struct cf_slice prefix = rq->captures[0];
    while (prefix.size != 0 && prefix.data[prefix.size - 1] == '/') {
        prefix.size--;
    }
    if (prefix.size == 0) {
        return cf_fail(err, CF_INVALID, "prefix must be specified");
    }
    prefix = cf_slice_str(arena_printf(rq->arena, "%.*s/", CF_SHOW(prefix)));
    return lease_revoke_prefix(rq->txn, rq->arena, rq->ns, prefix, forced, err);
}

cf_status sys_lease_revoke_prefix(struct request *rq, struct cf_error *err)
{
    return revoke_prefix(rq, false, err);
}

cf_status sys_lease_revoke_force(struct request *rq, struct cf_error *err)
{
    return revoke_prefix(rq, true, err);
}

cf_status sys_lease_tidy(struct request *rq, struct cf_error *err)
{
    (void)err;
    /* The index is written with the tokens themselves: nothing dangles, and expiry is always at
     * work. */
    response_warn(rq, "Tidy operation successfully started. Any information from the operation "
                      "will be printed to the server logs.");
    rq->response.status = 202;
    return CF_OK;
}

/* ---- irrevocable ones ---- */

static cf_status check_type(struct request *rq, struct cf_error *err)
{
    struct cf_slice type;
    CF_TRY(request_string(rq, "type", &type, err));
    return cf_slice_is(type, "irrevocable")
               ? CF_OK
               : cf_fail(err, CF_INVALID, "unknown lease type: only \"irrevocable\" is known");
}

/* Each irrevocable lease of the request's namespace, and of those below it when they are asked for too; by its end
 * within each. `max` at most (0: all); ret_more: there are more. */
struct each_lease {
    struct request *rq;
    void (*take)(struct each_lease *each, const struct namespace *ns, const struct lease *lease);
    size_t max, count;
    bool more;
    struct json *into;
};

static struct cf_slice accessor_of(const struct namespace *ns, const struct lease *lease)
{
    const struct mount *mount = mount_table_by_uuid(ns->mounts, lease->mount_uuid);
    return mount != NULL ? mount->accessor : CF_SLICE("mount-accessor-not-found");
}

static cf_status walk_namespace(struct each_lease *each, const struct namespace *ns, struct cf_error *err)
{
    struct request *rq = each->rq;
    struct txn_names ids;
    size_t room = each->max == 0 ? 0 : each->max - each->count + 1;
    CF_TRY(lease_irrevocable(rq->txn, ns->number, room, &ids, err));
    for (size_t i = 0; i < ids.count; i++) {
        struct lease *lease;
        cf_status status = lease_find(rq->txn, rq->arena, ns->number, ids.names[i], &lease, err);
        if (status == CF_NOT_FOUND) {
            continue;
        }
        CF_TRY(status);
        if (each->max != 0 && each->count == each->max) {
            each->more = true;
            break;
        }
        each->count++;
        each->take(each, ns, lease);
    }
    return CF_OK;
}

static cf_status walk(struct each_lease *each, struct cf_error *err)
{
    const struct request *rq = each->rq;
    const struct namespace_table *table = rq->view->namespaces;
    bool with_children;
    CF_TRY(request_bool(rq, "include_child_namespaces", false, &with_children, err));
    if (!with_children) {
        return walk_namespace(each, rq->nspace, err);
    }
    for (size_t i = 0; i < table->count && !each->more; i++) {
        if (namespace_is_within(table->list[i], rq->nspace)) {
            CF_TRY(walk_namespace(each, table->list[i], err));
        }
    }
    return CF_OK;
}

static void count_one(struct each_lease *each, const struct namespace *ns, const struct lease *lease)
{
    int64_t count = 0;
    char *name = arena_text(each->rq->arena, accessor_of(ns, lease));
    cf_ignore(!json_int64(json_get(each->into, name), &count), "absent is 0");
    json_set_int(each->rq->arena, each->into, name, count + 1);
}

cf_status sys_lease_count(struct request *rq, struct cf_error *err)
{
    struct each_lease each = {.rq = rq, .take = count_one, .into = json_object_new(rq->arena)};
    CF_TRY(check_type(rq, err));
    CF_TRY(walk(&each, err));
    json_set_int(rq->arena, response_data(rq), "lease_count", (int64_t)each.count);
    json_set(rq->arena, response_data(rq), "counts", each.into);
    return CF_OK;
}

static void list_one(struct each_lease *each, const struct namespace *ns, const struct lease *lease)
{
    struct arena *arena = each->rq->arena;
    struct json *shown = json_object_new(arena);
    json_set_string(arena, shown, "lease_id", namespace_mark(arena, ns, lease->id));
    json_set_string(arena, shown, "mount_id", accessor_of(ns, lease));
    json_set_string(arena, shown, "error", lease->failure);
    json_array_add(arena, each->into, shown);
}

/* "none" (all of them), or a number; LISTED_MAX when absent. */
static cf_status read_limit(struct request *rq, size_t *ret, struct cf_error *err)
{
    struct cf_slice text;
    bool force;
    int64_t limit = LISTED_MAX;
    CF_TRY(request_string(rq, "limit", &text, err));
    CF_TRY(request_bool(rq, "force", false, &force, err));
    bool all = force || cf_slice_is(text, "none");
    if (!all && text.size != 0 && (request_int(rq, "limit", LISTED_MAX, &limit, err) != CF_OK || limit < 1)) {
        return cf_fail(err, CF_INVALID, "limit must be 'none' or a positive integer");
    }
    *ret = all ? 0 : (size_t)limit;
    return CF_OK;
}

cf_status sys_lease_irrevocable(struct request *rq, struct cf_error *err)
{
    struct each_lease each = {.rq = rq, .take = list_one, .into = json_array_new(rq->arena)};
    CF_TRY(check_type(rq, err));
    CF_TRY(read_limit(rq, &each.max, err));
    CF_TRY(walk(&each, err));
    json_set_int(rq->arena, response_data(rq), "lease_count", (int64_t)each.count);
    json_set(rq->arena, response_data(rq), "leases", each.into);
    if (each.more) {
        response_warn(rq, "There are more irrevocable leases than the limit: limit=none lists all of them.");
    }
    return CF_OK;
}

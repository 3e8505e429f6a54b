/* node/core/sys/leases.c: sys/leases/: what was lent out, by id and by prefix. */
#include "node/base/memory.h"
#include "node/core/namespace.h"
#include "node/core/sys/lease_store.h"
#include "node/core/sys/sys_int.h"
#include "node/format/timefmt.h"

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

cf_status sys_lease_lookup(struct request *rq, struct cf_error *err)
{
    const struct token_entry *entry;
    struct cf_slice id, shown;
    CF_TRY(lease_id(rq, &shown, &id, err));
    cf_status status = lease_find_token(rq->txn, rq->arena, rq->ns, id, &entry, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "invalid lease");
    }
    CF_TRY(status);
    json_set_string(rq->arena, response_data(rq), "id", shown);
    set_time(rq, "issue_time", entry->creation_ns);
    set_time(rq, "expire_time", entry->expire_ns);
    set_time(rq, "last_renewal", entry->last_renewal_ns);
    json_set_bool(rq->arena, response_data(rq), "renewable", entry->is_renewable);
    json_set_int(rq->arena, response_data(rq), "ttl",
                 (entry->expire_ns - request_now_ns(rq)) / 1000000000);
    return CF_OK;
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
    struct cf_slice id, shown;
    CF_TRY(lease_id(rq, &shown, &id, err));
    cf_status status = lease_find_token(rq->txn, rq->arena, rq->ns, id, &entry, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "lease not found");
    }
    CF_TRY(status);
    return cf_fail(err, CF_INVALID, "tokens cannot be renewed through this endpoint");
}

cf_status sys_lease_revoke(struct request *rq, struct cf_error *err)
{
    const struct token_entry *entry;
    struct cf_slice id, shown;
    CF_TRY(lease_id(rq, &shown, &id, err));
    cf_status status = lease_find_token(rq->txn, rq->arena, rq->ns, id, &entry, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK; /* what is gone is revoked */
    }
    CF_TRY(status);
    return token_revoke(rq->txn, rq->arena, entry, true, err);
}

cf_status sys_lease_revoke_prefix(struct request *rq, struct cf_error *err)
{
    struct cf_slice prefix = rq->captures[0];
    while (prefix.size != 0 && prefix.data[prefix.size - 1] == '/') {
        prefix.size--;
    }
    if (prefix.size == 0) {
        return cf_fail(err, CF_INVALID, "prefix must be specified");
    }
    prefix = cf_slice_str(arena_printf(rq->arena, "%.*s/", CF_SHOW(prefix)));
    return lease_revoke_prefix(rq->txn, rq->arena, rq->ns, prefix, err);
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

cf_status sys_lease_count(struct request *rq, struct cf_error *err)
{
    struct cf_slice type;
    CF_TRY(request_string(rq, "type", &type, err));
    if (!cf_slice_is(type, "irrevocable")) {
        return cf_fail(err, CF_INVALID, "unknown lease type: only \"irrevocable\" is known");
    }
    /* Revoking is a write to the own store, which cannot fail for one lease and succeed for others.
     */
    struct json *data = response_data(rq);
    json_set_int(rq->arena, data, "lease_count", 0);
    if (cf_slice_is(rq->relative, "leases")) {
        json_set(rq->arena, data, "leases", json_array_new(rq->arena));
    } else {
        json_set(rq->arena, data, "counts", json_object_new(rq->arena));
    }
    return CF_OK;
}

/* node/auth/token/lookup.c: what tokens tell about themselves. */
#include <stdlib.h>

#include "node/auth/token/token_int.h"
#include "node/core/identity.h"
#include "node/core/namespace.h"
#include "node/format/timefmt.h"

#define NS_PER_S ((int64_t)1000000000)

static void set_time(struct request *rq, const char *key, int64_t ns)
{
    char text[TIMEFMT_SIZE];
    timefmt_text(ns, text);
    json_set_text(rq->arena, response_data(rq), key, text);
}

/* The time left, a begun second counting whole. */
static int64_t ttl_left_s(const struct request *rq, const struct token_entry *entry)
{
    int64_t left_ns = entry->expire_ns - request_now_ns(rq);
    return left_ns > 0 ? (left_ns + NS_PER_S - 1) / NS_PER_S : 0;
}

/* What is there for some tokens only. */
static void show_occasional(struct request *rq, const struct token_entry *entry)
{
    struct arena *arena = rq->arena;
    struct json *data = response_data(rq);
    if (entry->period_s != 0) {
        json_set_int(arena, data, "period", entry->period_s);
    }
    if (entry->role.size != 0) {
        json_set_string(arena, data, "role", entry->role);
    }
    if (entry->last_renewal_ns != 0) {
        set_time(rq, "last_renewal", entry->last_renewal_ns);
        json_set_int(arena, data, "last_renewal_time", entry->last_renewal_ns / NS_PER_S);
    }
    if (entry->ns != NAMESPACE_ROOT) {
        const struct namespace *ns = namespace_by_number(rq->view->namespaces, entry->ns);
        json_set_string(arena, data, "namespace_path", ns != NULL ? ns->path : CF_SLICE_EMPTY);
    }
    if (entry->bound_cidr_count != 0) {
        json_set(arena, data, "bound_cidrs",
                 params_list(arena, entry->bound_cidrs, entry->bound_cidr_count));
    }
}

/* What the entity adds to the policies of the token. */
static cf_status show_identity(struct request *rq, const struct token_entry *entry,
                               struct cf_error *err)
{
    const struct identity *identity;
    if (entry->entity_id.size == 0) {
        return CF_OK;
    }
    CF_TRY(identity_of(rq->txn, rq->arena, entry->ns, entry->entity_id, &identity, err));
    json_set_string(rq->arena, response_data(rq), "entity_id", identity->id);
    if (identity->policy_count != 0) {
        json_set(rq->arena, response_data(rq), "identity_policies",
                 params_list(rq->arena, identity->policies, identity->policy_count));
    }
    return CF_OK;
}

static cf_status show(struct request *rq, const struct token_entry *entry, struct cf_slice id,
                      int64_t num_uses, struct cf_error *err)
{
    struct arena *arena = rq->arena;
    struct json *data = response_data(rq);
    json_set_string(arena, data, "accessor", entry->accessor);
    json_set_int(arena, data, "creation_time", entry->creation_ns / NS_PER_S);
    json_set_int(arena, data, "creation_ttl", entry->creation_ttl_s);
    json_set_string(arena, data, "display_name", entry->display_name);
    json_set_string(arena, data, "entity_id", entry->entity_id);
    if (entry->expire_ns != 0) {
        set_time(rq, "expire_time", entry->expire_ns);
    } else {
        json_set(arena, data, "expire_time", NULL);
    }
    json_set_int(arena, data, "explicit_max_ttl", entry->explicit_max_ttl_s);
    json_set_string(arena, data, "id", id);
    set_time(rq, "issue_time", entry->creation_ns);
    json_set(arena, data, "meta",
             entry->metadata != NULL ? json_copy(arena, entry->metadata) : NULL);
    json_set_int(arena, data, "num_uses", num_uses);
    json_set_bool(arena, data, "orphan", !entry->has_parent);
    json_set_string(arena, data, "path", entry->path);
    json_set(arena, data, "policies", params_list(arena, entry->policies, entry->policy_count));
    json_set_bool(arena, data, "renewable", entry->is_renewable);
    json_set_int(arena, data, "ttl", entry->expire_ns != 0 ? ttl_left_s(rq, entry) : 0);
    json_set_string(arena, data, "type", entry->type);
    show_occasional(rq, entry);
    return show_identity(rq, entry, err);
}

cf_status token_answer_lookup_self(struct request *rq, struct cf_error *err)
{
    /* The entry as the request found it; this look is one of the uses. */
    int64_t uses_left = rq->caller->num_uses > 0 ? rq->caller->num_uses - 1 : 0;
    return show(rq, rq->caller, rq->token, uses_left, err);
}

cf_status token_answer_lookup(struct request *rq, struct cf_error *err)
{
    struct cf_slice id;
    const struct token_entry *entry;
    CF_TRY(request_string(rq, "token", &id, err));
    if (id.size == 0 || cf_slice_eq(id, rq->token)) {
        return token_answer_lookup_self(rq, err);
    }
    CF_TRY(token_lookup(rq->txn, rq->arena, id, &entry, err));
    if (!token_is_in_reach(rq, entry)) {
        return cf_fail(err, CF_DENIED, "bad token");
    }
    return show(rq, entry, id, entry->num_uses, err);
}

cf_status token_of_accessor(struct request *rq, const struct token_entry **ret,
                            struct cf_error *err)
{
    struct cf_slice accessor;
    CF_TRY(request_string(rq, "accessor", &accessor, err));
    if (accessor.size == 0) {
        return cf_fail(err, CF_INVALID, "missing accessor");
    }
    cf_status status = token_by_accessor(rq->txn, rq->arena, rq->ns, accessor, ret, err);
    return status == CF_NOT_FOUND ? cf_fail(err, CF_INVALID, "invalid accessor") : status;
}

cf_status token_answer_lookup_accessor(struct request *rq, struct cf_error *err)
{
    const struct token_entry *entry;
    CF_TRY(token_of_accessor(rq, &entry, err));
    return show(rq, entry, CF_SLICE_EMPTY, entry->num_uses, err);
}

/* ---- the list of accessors ---- */

static int by_bytes(const void *a, const void *b)
{
    return cf_slice_cmp(*(const struct cf_slice *)a, *(const struct cf_slice *)b);
}

cf_status token_answer_accessors(struct request *rq, struct cf_error *err)
{
    struct txn_names names;
    struct key prefix = {CLASS_CLUSTER, rq->ns, CF_SLICE(AREA_ACCESSOR)};
    CF_TRY(txn_scan(rq->txn, prefix, CF_SLICE_EMPTY, 0, &names, err));
    size_t count = 0;
    for (size_t i = 0; i < names.count; i++) {
        /* Records are named by hashes: the accessor itself stands inside. */
        struct cf_slice record;
        struct json *json;
        char *name = arena_alloc_raw(rq->arena, prefix.name.size + names.names[i].size);
        memcpy(name, prefix.name.data, prefix.name.size);
        memcpy(name + prefix.name.size, names.names[i].data, names.names[i].size);
        struct key key = {CLASS_CLUSTER, rq->ns,
                          cf_slice_of(name, prefix.name.size + names.names[i].size)};
        cf_status status = txn_get(rq->txn, key, &record, err);
        if (status == CF_NOT_FOUND) {
            continue;
        }
        CF_TRY(status);
        CF_TRY(record_decode(record, rq->arena, &json, err));
        names.names[count++] = json_get_string(json, "accessor");
    }
    if (count != 0) {
        qsort(names.names, count, sizeof(*names.names), by_bytes);
    }
    names.count = count;
    return response_keys(rq, &names, err);
}

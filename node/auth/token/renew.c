/* node/auth/token/renew.c: longer lives (core-api.md section 4). */
#include "node/auth/token/token_int.h"
#include "node/core/core.h"
#include "node/core/namespace.h"

#define NS_PER_S ((int64_t)1000000000)

/* What holds a token's whole life down, in seconds since its creation; 0: nothing. */
struct limits {
    int64_t default_s;  /* when the request names no increment */
    int64_t max_s;      /* counts from creation; not for periodic tokens */
    int64_t explicit_s; /* counts from creation, for all */
    int64_t period_s;
};

static int64_t least(int64_t a, int64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* The auth method that made the token has its say, on its own mount. */
static cf_status ask_method(struct request *rq, const struct mount *mount,
                            const struct token_entry *entry, struct limits *limits,
                            struct cf_error *err)
{
    struct auth_result auth = {.display_name = entry->display_name,
                               .policies = entry->policies,
                               .policy_count = entry->policy_count,
                               .metadata = entry->metadata,
                               .internal = entry->internal,
                               .ttl_s = entry->creation_ttl_s,
                               .max_ttl_s = entry->max_ttl_s,
                               .explicit_max_ttl_s = entry->explicit_max_ttl_s,
                               .period_s = entry->period_s};
    const struct mount *own = rq->mount;
    uint32_t ns = rq->ns;
    rq->mount = mount;
    rq->ns = mount->ns; /* of the token, which may lie below the request's */
    cf_status status = mount->ops->renew(rq, &auth, err);
    rq->mount = own;
    rq->ns = ns;
    CF_TRY(status);
    limits->default_s = auth.ttl_s;
    limits->max_s = least(limits->max_s, auth.max_ttl_s);
    limits->explicit_s = least(limits->explicit_s, auth.explicit_max_ttl_s);
    limits->period_s = auth.period_s;
    return CF_OK;
}

/* A role of the token store limits as it stands today. */
static cf_status ask_role(struct request *rq, const struct token_entry *entry,
                          struct limits *limits, struct cf_error *err)
{
    struct token_role role;
    uint32_t ns = rq->ns;
    rq->ns = entry->ns;
    cf_status status = token_role_load(rq, entry->role, &role, err);
    rq->ns = ns;
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID,
                       "original token role \"%.64s\" could not be found, not renewing",
                       arena_text(rq->arena, entry->role));
    }
    CF_TRY(status);
    limits->explicit_s = least(limits->explicit_s, role.params.explicit_max_ttl_s);
    if (role.params.period_s != 0) {
        limits->period_s = role.params.period_s;
    }
    return CF_OK;
}

static cf_status find_limits(struct request *rq, const struct token_entry *entry,
                             struct limits *limits, struct cf_error *err)
{
    const struct namespace *own = namespace_by_number(rq->view->namespaces, entry->ns);
    const struct mount *mount =
        own != NULL ? mount_table_by_uuid(own->mounts, entry->mount_uuid) : NULL;
    if (mount == NULL) {
        return cf_fail(err, CF_INVALID, "the auth method that made the token is gone");
    }
    txn_note_read(rq->txn, mount->entry_hash);
    int64_t server_max = core_config(rq->core)->max_lease_ttl_s;
    *limits = (struct limits){.default_s = entry->creation_ttl_s,
                              .explicit_s = entry->explicit_max_ttl_s,
                              .period_s = entry->period_s};
    limits->max_s = mount->max_lease_ttl_s > 0 ? mount->max_lease_ttl_s : server_max;
    if (entry->max_ttl_s > 0) {
        limits->max_s = least(limits->max_s, entry->max_ttl_s);
    }
    if (mount->ops->renew != NULL) {
        return ask_method(rq, mount, entry, limits, err);
    }
    return entry->role.size != 0 ? ask_role(rq, entry, limits, err) : CF_OK;
}

/* The new life from now, in seconds; at most what is left of the maxima. */
static int64_t new_ttl(struct request *rq, const struct token_entry *entry,
                       const struct limits *limits, int64_t increment_s)
{
    int64_t ttl = limits->period_s != 0 ? limits->period_s
                  : increment_s > 0     ? increment_s
                                        : limits->default_s;
    int64_t max =
        limits->period_s != 0 ? limits->explicit_s : least(limits->max_s, limits->explicit_s);
    if (limits->period_s != 0 && limits->max_s != 0 && ttl > limits->max_s) {
        ttl = limits->max_s;
    }
    if (max == 0) {
        return ttl;
    }
    int64_t left = (entry->creation_ns + max * NS_PER_S - request_now_ns(rq)) / NS_PER_S;
    if (ttl > left) {
        response_warn(rq,
                      "TTL of \"%llds\" exceeded the effective max_ttl of \"%llds\"; TTL value is "
                      "capped accordingly",
                      (long long)ttl, (long long)left);
        ttl = left;
    }
    return ttl;
}

static cf_status renew(struct request *rq, const struct token_entry *entry, struct cf_slice id,
                       struct cf_error *err)
{
    int64_t increment_s;
    struct limits limits = {0};
    if (cf_slice_is(entry->type, "batch")) {
        return cf_fail(err, CF_INVALID, "batch tokens cannot be renewed");
    }
    CF_TRY(request_duration(rq, "increment", 0, &increment_s, NULL, err));
    if (increment_s < 0) {
        return cf_fail(err, CF_INVALID, "increment must be positive");
    }
    if (!entry->is_renewable || entry->expire_ns == 0) {
        return cf_fail(err, CF_INVALID, "lease is not renewable");
    }
    CF_TRY(find_limits(rq, entry, &limits, err));
    int64_t ttl = new_ttl(rq, entry, &limits, increment_s);
    if (ttl <= 0) {
        return cf_fail(err, CF_INVALID, "past the max TTL, cannot renew");
    }
    struct token_entry *after = arena_new_object(rq->arena, struct token_entry);
    *after = *entry;
    after->last_renewal_ns = request_now_ns(rq);
    after->expire_ns = after->last_renewal_ns + ttl * NS_PER_S;
    CF_TRY(token_update(rq->txn, rq->arena, entry, after, err));
    struct auth_result *auth = arena_new_object(rq->arena, struct auth_result);
    *auth = (struct auth_result){.token = after,
                                 .client_token = id,
                                 .accessor = after->accessor,
                                 .lease_duration_s = ttl,
                                 .renewable = true,
                                 .orphan = !after->has_parent};
    rq->response.auth = auth;
    return CF_OK;
}

/* The calling token as this very request has left it (a use may have been spent). CF_NOT_FOUND when
 * that was its last. */
static cf_status caller_now(struct request *rq, const struct token_entry **ret,
                            struct cf_error *err)
{
    if (cf_slice_is(rq->caller->type, "batch")) {
        *ret = rq->caller;
        return CF_OK;
    }
    return token_by_key(rq->txn, rq->arena, rq->caller->ns, rq->caller->key, ret, err);
}

cf_status token_renew_self(struct request *rq, struct cf_error *err)
{
    const struct token_entry *entry;
    cf_status status = caller_now(rq, &entry, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "lease is not renewable");
    }
    CF_TRY(status);
    return renew(rq, entry, rq->token, err);
}

cf_status token_renew(struct request *rq, struct cf_error *err)
{
    struct cf_slice id;
    const struct token_entry *entry;
    CF_TRY(request_string(rq, "token", &id, err));
    if (id.size == 0) {
        return cf_fail(err, CF_INVALID, "missing token ID");
    }
    if (cf_slice_eq(id, rq->token)) {
        return token_renew_self(rq, err);
    }
    CF_TRY(token_lookup(rq->txn, rq->arena, id, &entry, err));
    if (!token_is_in_reach(rq, entry)) {
        return cf_fail(err, CF_DENIED, "bad token");
    }
    return renew(rq, entry, id, err);
}

cf_status token_renew_accessor(struct request *rq, struct cf_error *err)
{
    const struct token_entry *entry;
    CF_TRY(token_of_accessor(rq, &entry, err));
    return renew(rq, entry, CF_SLICE_EMPTY, err);
}

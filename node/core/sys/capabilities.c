/* node/core/sys/capabilities.c: what a token may do. */
#include "node/base/memory.h"
#include "node/core/core_int.h"
#include "node/core/namespace.h"
#include "node/core/policy.h"
#include "node/core/sys/sys_int.h"
#include "node/core/token.h"

static struct json *names_of(struct arena *arena, unsigned bits)
{
    const char *names[CAPABILITY_COUNT];
    struct json *list = json_array_new(arena);
    size_t count = capability_names(bits, names);
    for (size_t i = 0; i < count; i++) {
        json_array_add(arena, list, json_from_text(arena, names[i]));
    }
    return list;
}

/* A path of the request's namespace as the token's policies name it; false where the token can do nothing:
 * above its namespace and beside it. */
static bool as_seen_by(const struct request *rq, const struct token_entry *entry,
                       struct cf_slice path, struct cf_slice *ret)
{
    if (request_policy_path(rq, entry, path, ret)) {
        return true;
    }
    const struct namespace *own = namespace_by_number(rq->view->namespaces, entry->ns);
    if (own == NULL || !namespace_is_within(own, rq->nspace)) {
        return false;
    }
    struct cf_slice below = cf_slice_from(own->path, rq->nspace->path.size);
    *ret = cf_slice_from(path, below.size);
    return cf_slice_starts(path, below);
}

static struct json *capabilities_on(struct request *rq, const struct token_entry *entry,
                                    const struct acl *acl, struct cf_slice path)
{
    if (path.size != 0 && path.data[0] == '/') {
        path = cf_slice_from(path, 1);
    }
    if (!as_seen_by(rq, entry, path, &path)) {
        return names_of(rq->arena, CAPABILITY_DENY);
    }
    if (acl_is_root(acl)) {
        struct json *list = json_array_new(rq->arena);
        json_array_add(rq->arena, list, json_from_text(rq->arena, "root"));
        return list;
    }
    return names_of(rq->arena, acl_capabilities(acl, path));
}

static cf_status answer_for(struct request *rq, const struct token_entry *entry,
                            struct cf_error *err)
{
    struct cf_slice *paths;
    size_t count;
    struct acl *acl;
    CF_TRY(request_list(rq, "paths", true, &paths, &count, err));
    if (count == 0) {
        CF_TRY(request_list(rq, "path", true, &paths, &count, err));
    }
    if (count == 0) {
        return cf_fail(err, CF_INVALID, "paths must be supplied");
    }
    CF_TRY(authorize_acl(rq->txn, rq->arena, entry, &acl, err));
    struct json *data = response_data(rq);
    for (size_t i = 0; i < count; i++) {
        struct json *list = capabilities_on(rq, entry, acl, paths[i]);
        json_object_set(rq->arena, data, paths[i], list);
        if (count == 1) {
            json_set(rq->arena, data, "capabilities", list);
        }
    }
    acl_unref(acl);
    rq->response.data_at_top = true;
    return CF_OK;
}

cf_status sys_capabilities(struct request *rq, struct cf_error *err)
{
    struct cf_slice token;
    const struct token_entry *entry;
    CF_TRY(request_string(rq, "token", &token, err));
    if (token.size == 0) {
        return cf_fail(err, CF_INVALID, "token not specified");
    }
    cf_status status = token_lookup(rq->txn, rq->arena, token, &entry, err);
    if (status == CF_DENIED || status == CF_NOT_FOUND ||
        (status == CF_OK && !token_is_in_reach(rq, entry))) {
        return cf_fail(err, CF_INVALID, "invalid token");
    }
    CF_TRY(status);
    return answer_for(rq, entry, err);
}

cf_status sys_capabilities_self(struct request *rq, struct cf_error *err)
{
    return answer_for(rq, rq->caller, err);
}

cf_status sys_capabilities_accessor(struct request *rq, struct cf_error *err)
{
    struct cf_slice accessor;
    const struct token_entry *entry;
    CF_TRY(request_string(rq, "accessor", &accessor, err));
    if (accessor.size == 0) {
        return cf_fail(err, CF_INVALID, "accessor not specified");
    }
    cf_status status = token_by_accessor(rq->txn, rq->arena, rq->ns, accessor, &entry, err);
    if (status == CF_DENIED || status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "invalid accessor");
    }
    CF_TRY(status);
    return answer_for(rq, entry, err);
}

/* ---- all rules of the caller at once ---- */

struct listing {
    struct arena *arena;
    struct json *exact, *glob;
};

static void add_rule(void *context, struct cf_slice path, bool is_glob, unsigned bits)
{
    struct listing *listing = context;
    struct json *rule = json_object_new(listing->arena);
    json_set(listing->arena, rule, "capabilities",
             names_of(listing->arena, bits != 0 ? bits : CAPABILITY_DENY));
    json_object_set(listing->arena, is_glob ? listing->glob : listing->exact, path, rule);
}

cf_status sys_resultant_acl(struct request *rq, struct cf_error *err)
{
    struct listing listing = {rq->arena, json_object_new(rq->arena), json_object_new(rq->arena)};
    struct acl *acl;
    CF_TRY(authorize_acl(rq->txn, rq->arena, rq->caller, &acl, err));
    struct json *data = response_data(rq);
    json_set_bool(rq->arena, data, "root", acl_is_root(acl));
    acl_each(acl, add_rule, &listing);
    json_set(rq->arena, data, "exact_paths", listing.exact);
    json_set(rq->arena, data, "glob_paths", listing.glob);
    acl_unref(acl);
    return CF_OK;
}

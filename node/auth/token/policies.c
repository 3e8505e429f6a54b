/* node/auth/token/policies.c: which policies a new token gets (core-api.md section 5). */
#include "node/auth/token/token_int.h"

#define DEFAULT_POLICY CF_SLICE("default")

/* A list that has room for one more. */
struct names {
    struct cf_slice *items;
    size_t count;
};

static struct names copy_of(struct arena *arena, const struct cf_slice *items, size_t count)
{
    struct names copy = {arena_alloc(arena, (count + 1) * sizeof(*items)), count};
    if (count != 0) {
        memcpy(copy.items, items, count * sizeof(*items));
    }
    return copy;
}

static struct names cleaned(struct arena *arena, const struct cf_slice *items, size_t count)
{
    struct names names = copy_of(arena, items, count);
    names.count = params_clean_policies(arena, names.items, names.count);
    return names;
}

static void add_default(struct arena *arena, struct names *names)
{
    names->items[names->count] = DEFAULT_POLICY; /* copy_of() left room */
    names->count = params_clean_policies(arena, names->items, names->count + 1);
}

bool token_glob_matches(struct cf_slice glob, struct cf_slice name)
{
    bool open_start = glob.size != 0 && glob.data[0] == '*';
    if (open_start) {
        glob = cf_slice_from(glob, 1);
    }
    bool open_end = glob.size != 0 && glob.data[glob.size - 1] == '*';
    if (open_end) {
        glob.size--;
    }
    if (open_start && open_end) {
        return glob.size == 0 || memmem(name.data, name.size, glob.data, glob.size) != NULL;
    }
    if (open_start) {
        return cf_slice_ends(name, glob);
    }
    return open_end ? cf_slice_starts(name, glob) : cf_slice_eq(name, glob);
}

static bool any_glob(const struct cf_slice *globs, size_t count, struct cf_slice name)
{
    for (size_t i = 0; i < count; i++) {
        if (token_glob_matches(globs[i], name)) {
            return true;
        }
    }
    return false;
}

static bool is_disallowed(const struct token_role *role, struct cf_slice name)
{
    return params_has(role->disallowed, role->disallowed_count, name) ||
           any_glob(role->disallowed_globs, role->disallowed_glob_count, name);
}

/* The lists of a role take the place of the rule that a child has what its parent has. */
static cf_status by_role(struct request *rq, const struct token_policies *from, struct names *ret,
                         struct cf_error *err)
{
    const struct token_role *role = from->role;
    bool wants_default = !from->no_default && !role->params.no_default_policy &&
                         !is_disallowed(role, DEFAULT_POLICY);
    bool has_allowed = role->allowed_count != 0 || role->allowed_glob_count != 0;
    struct names allowed = cleaned(rq->arena, role->allowed, role->allowed_count);
    struct names names = cleaned(rq->arena, from->asked, from->asked_count);
    if (names.count == 0) {
        names = has_allowed ? copy_of(rq->arena, allowed.items, allowed.count)
                : rq->caller->ns == rq->ns
                    ? copy_of(rq->arena, rq->caller->policies, rq->caller->policy_count)
                    : copy_of(rq->arena, NULL, 0);
    }
    if (wants_default) {
        add_default(rq->arena, &names);
    }
    for (size_t i = 0; i < names.count; i++) {
        struct cf_slice name = names.items[i];
        bool is_free = wants_default && cf_slice_eq(name, DEFAULT_POLICY);
        if (has_allowed && !is_free && !params_has(allowed.items, allowed.count, name) &&
            !any_glob(role->allowed_globs, role->allowed_glob_count, name)) {
            return cf_fail(err, CF_INVALID,
                           "token policies must be subset of the role's allowed policies or glob "
                           "policies: \"%.64s\" is not",
                           arena_text(rq->arena, name));
        }
        if (is_disallowed(role, name)) {
            return cf_fail(err, CF_INVALID, "token policy \"%.64s\" is disallowed by this role",
                           arena_text(rq->arena, name));
        }
    }
    *ret = names;
    return CF_OK;
}

static bool role_has_lists(const struct token_role *role)
{
    return role != NULL && (role->allowed_count != 0 || role->allowed_glob_count != 0 ||
                            role->disallowed_count != 0 || role->disallowed_glob_count != 0);
}

static cf_status by_parent(struct request *rq, const struct token_policies *from, struct names *ret,
                           struct cf_error *err)
{
    const struct token_entry *parent = rq->caller;
    bool no_default =
        from->no_default || (from->role != NULL && from->role->params.no_default_policy);
    if (parent->ns != rq->ns) { /* names of another namespace: they say nothing here */
        *ret = cleaned(rq->arena, from->asked, from->asked_count);
        if (!no_default) {
            add_default(rq->arena, ret);
        }
        return CF_OK;
    }
    if (from->asked_count == 0) {
        *ret = copy_of(rq->arena, parent->policies, parent->policy_count); /* "default" if it has */
        return CF_OK;
    }
    *ret = cleaned(rq->arena, from->asked, from->asked_count);
    if (from->is_sudo) {
        if (!no_default) {
            add_default(rq->arena, ret);
        }
        return CF_OK;
    }
    for (size_t i = 0; i < ret->count; i++) {
        if (!params_has(parent->policies, parent->policy_count, ret->items[i])) {
            return cf_fail(err, CF_INVALID, "child policies must be subset of parent");
        }
    }
    if (!no_default && params_has(parent->policies, parent->policy_count, DEFAULT_POLICY)) {
        add_default(rq->arena, ret);
    }
    return CF_OK;
}

cf_status token_policies_choose(struct request *rq, const struct token_policies *from,
                                struct cf_slice **ret, size_t *ret_count, struct cf_error *err)
{
    struct names names;
    CF_TRY((role_has_lists(from->role) ? by_role : by_parent)(rq, from, &names, err));
    if (params_has(names.items, names.count, CF_SLICE("response-wrapping"))) {
        return cf_fail(err, CF_INVALID, "cannot assign policy \"response-wrapping\"");
    }
    if (params_has(names.items, names.count, CF_SLICE("root")) &&
        (!rq->caller->is_root || rq->ns != NAMESPACE_ROOT)) {
        return cf_fail(err, CF_INVALID,
                       "root tokens may not be created without parent token being root");
    }
    *ret = names.items;
    *ret_count = names.count;
    return CF_OK;
}

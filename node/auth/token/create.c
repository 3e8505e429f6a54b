/* node/auth/token/create.c: making tokens (core-api.md section 5). */
#include "node/auth/token/token_int.h"

#include "node/core/identity.h"

#define OWN_ID_MAX ((size_t)256)

/* What the request asks for. */
struct creation {
    const struct token_role *role; /* NULL: none */
    bool is_orphan_path;
    bool is_sudo, no_parent, no_default, renewable, is_batch;
    struct cf_slice id, display_name, path, entity_alias;
    int64_t ttl_s, explicit_max_ttl_s, period_s, num_uses;
    struct json *meta;
    struct cf_slice *policies;
    size_t policy_count;
};

/* ---- what is asked for ---- */

static cf_status read_span(struct request *rq, const char *name, int64_t *ret, struct cf_error *err)
{
    CF_TRY(request_duration(rq, name, 0, ret, NULL, err));
    if (*ret < 0) {
        return cf_fail(err, CF_INVALID, "%s must be positive", name);
    }
    return CF_OK;
}

static cf_status read_meta(struct request *rq, struct creation *creation, struct cf_error *err)
{
    const struct json *meta = request_field(rq, "meta");
    if (meta == NULL) {
        return CF_OK;
    }
    if (!json_is(meta, JSON_OBJECT)) {
        return cf_fail(err, CF_INVALID, "\"meta\" must be a map of strings");
    }
    for (size_t i = 0; i < json_count(meta); i++) {
        if (!json_is(meta->members[i].value, JSON_STRING)) {
            return cf_fail(err, CF_INVALID, "\"meta\" must be a map of strings");
        }
    }
    creation->meta = json_count(meta) != 0 ? json_copy(rq->arena, meta) : NULL;
    return CF_OK;
}

/* "token-<name>", with what stands outside [A-Za-z0-9-] turned to dashes and none of them at the
 * end. */
static struct cf_slice clean_display_name(struct arena *arena, struct cf_slice name)
{
    if (name.size == 0) {
        return CF_SLICE("token");
    }
    char *text = arena_printf(arena, "token-%.*s", CF_SHOW(name));
    size_t size = strlen(text);
    for (size_t i = 0; i < size; i++) {
        bool is_fine = (text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z') ||
                       (text[i] >= '0' && text[i] <= '9');
        text[i] = is_fine ? text[i] : '-';
    }
    while (size != 0 && text[size - 1] == '-') {
        size--;
    }
    return cf_slice_of(text, size);
}

static cf_status read_type(struct request *rq, struct creation *creation, struct cf_error *err)
{
    struct cf_slice type;
    struct cf_slice of_role =
        creation->role != NULL ? creation->role->params.type : CF_SLICE("default-service");
    CF_TRY(request_string(rq, "type", &type, err));
    /* A role that says service or batch without "default-" decides. */
    if (cf_slice_is(of_role, "service") || cf_slice_is(of_role, "batch") || type.size == 0) {
        type = of_role;
    }
    if (cf_slice_is(type, "batch") || cf_slice_is(type, "default-batch")) {
        creation->is_batch = true;
        return CF_OK;
    }
    if (cf_slice_is(type, "service") || cf_slice_is(type, "default-service") ||
        cf_slice_is(type, "default")) {
        return CF_OK;
    }
    return cf_fail(err, CF_INVALID, "invalid 'token_type' value");
}

static cf_status read_creation(struct request *rq, struct creation *creation, struct cf_error *err)
{
    struct cf_slice display_name;
    CF_TRY(read_type(rq, creation, err));
    CF_TRY(request_string(rq, "id", &creation->id, err));
    CF_TRY(request_string(rq, "display_name", &display_name, err));
    creation->display_name = clean_display_name(rq->arena, display_name);
    CF_TRY(request_list(rq, "policies", false, &creation->policies, &creation->policy_count, err));
    CF_TRY(request_bool(rq, "no_parent", false, &creation->no_parent, err));
    CF_TRY(request_bool(rq, "no_default_policy", false, &creation->no_default, err));
    CF_TRY(request_bool(rq, "renewable", true, &creation->renewable, err));
    CF_TRY(request_int(rq, "num_uses", 0, &creation->num_uses, err));
    CF_TRY(read_span(rq, "ttl", &creation->ttl_s, err));
    if (creation->ttl_s == 0) {
        CF_TRY(read_span(rq, "lease", &creation->ttl_s, err));
    }
    CF_TRY(read_span(rq, "explicit_max_ttl", &creation->explicit_max_ttl_s, err));
    CF_TRY(read_span(rq, "period", &creation->period_s, err));
    CF_TRY(request_string(rq, "entity_alias", &creation->entity_alias, err));
    return read_meta(rq, creation, err);
}

/* ---- may it be had ---- */

static cf_status check_batch(const struct creation *creation, struct cf_error *err)
{
    const char *field = creation->num_uses != 0             ? "num_uses"
                        : creation->period_s != 0           ? "period"
                        : creation->explicit_max_ttl_s != 0 ? "explicit_max_ttl"
                        : creation->id.size != 0            ? "id"
                                                            : NULL;
    if (!creation->is_batch || field == NULL) {
        return CF_OK;
    }
    return cf_fail(err, CF_INVALID, "batch tokens cannot have \"%s\" set", field);
}

static cf_status check_own_id(struct request *rq, const struct creation *creation,
                              struct cf_error *err)
{
    const struct token_entry *other;
    uint8_t key[TOKEN_KEY_SIZE];
    struct cf_slice id = creation->id;
    if (!creation->is_sudo) {
        return cf_fail(err, CF_INVALID, "root or sudo privileges required to specify token id");
    }
    if (rq->ns != NAMESPACE_ROOT) {
        return cf_fail(err, CF_INVALID,
                       "token IDs can only be manually specified in the root namespace");
    }
    if (cf_slice_starts(id, CF_SLICE("s."))) {
        return cf_fail(err, CF_INVALID, "custom token ID cannot have the 's.' prefix");
    }
    if (cf_slice_find(id, '.') < id.size) {
        return cf_fail(err, CF_INVALID, "custom token ID cannot have a '.' in the value");
    }
    if (id.size > OWN_ID_MAX) {
        return cf_fail(err, CF_INVALID, "custom token ID is longer than %zu bytes", OWN_ID_MAX);
    }
    for (size_t i = 0; i < id.size; i++) {
        if (id.data[i] <= ' ' || id.data[i] >= 0x7f) {
            return cf_fail(err, CF_INVALID, "custom token ID must be of visible ASCII characters");
        }
    }
    CF_TRY(token_key_of(rq->txn, id, key, err));
    cf_status status = token_by_key(rq->txn, rq->arena, rq->ns, key, &other, err);
    if (status == CF_OK) {
        return cf_fail(err, CF_INVALID, "cannot create a token with a duplicate ID");
    }
    return status == CF_NOT_FOUND ? CF_OK : status;
}

/* A token in somebody's name is for those whom the role allows that (without regard to case). */
static cf_status check_entity_alias(struct request *rq, const struct creation *creation,
                                    struct cf_error *err)
{
    const struct token_role *role = creation->role;
    if (role == NULL) {
        return cf_fail(err, CF_INVALID,
                       "'entity_alias' is only allowed in combination with token role");
    }
    struct cf_slice wanted = identity_fold(rq->arena, creation->entity_alias);
    for (size_t i = 0; i < role->entity_alias_count; i++) {
        if (token_glob_matches(identity_fold(rq->arena, role->entity_aliases[i]), wanted)) {
            return CF_OK;
        }
    }
    return cf_fail(err, CF_INVALID, "invalid 'entity_alias' value: the role does not allow it");
}

static cf_status check_creation(struct request *rq, const struct creation *creation,
                                struct cf_error *err)
{
    if (creation->num_uses < 0) {
        return cf_fail(err, CF_INVALID, "number of uses cannot be negative");
    }
    CF_TRY(check_batch(creation, err));
    if (creation->id.size != 0) {
        CF_TRY(check_own_id(rq, creation, err));
    }
    if (creation->entity_alias.size != 0) {
        CF_TRY(check_entity_alias(rq, creation, err));
    }
    if (creation->no_parent && !creation->is_orphan_path && !creation->is_sudo) {
        return cf_fail(err, CF_INVALID, "root or sudo privileges required to create orphan token");
    }
    if (creation->period_s != 0 && !creation->is_sudo) {
        return cf_fail(err, CF_INVALID,
                       "root or sudo privileges required to create periodic token");
    }
    return CF_OK;
}

/* From a namespace above: what starts a namespace off, and nothing that could pass for the parent. */
static cf_status check_descent(const struct request *rq, const struct creation *creation,
                               struct cf_error *err)
{
    if (rq->caller->ns == rq->ns) {
        return CF_OK;
    }
    if (!creation->is_sudo) {
        return cf_fail(err, CF_INVALID,
                       "root or sudo privileges required to directly generate a token in a child "
                       "namespace");
    }
    if (params_has(creation->policies, creation->policy_count, CF_SLICE("root"))) {
        return cf_fail(err, CF_INVALID, "root tokens may not be created from a parent namespace");
    }
    return CF_OK;
}

static cf_status check_caller(const struct token_entry *caller, struct cf_error *err)
{
    if (cf_slice_is(caller->type, "batch")) {
        return cf_fail(err, CF_INVALID, "batch tokens cannot create more tokens");
    }
    if (caller->num_uses > 0) {
        return cf_fail(err, CF_INVALID, "restricted use token cannot generate child tokens");
    }
    return CF_OK;
}

/* ---- the token ---- */

static int64_t tighter(int64_t a, int64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* Root without anything that ends it lives for ever; everybody else gets a TTL. */
static cf_status choose_ttl(struct request *rq, const struct creation *creation,
                            struct token_spec *spec, struct cf_error *err)
{
    const struct auth_params *params = creation->role != NULL ? &creation->role->params : NULL;
    int64_t explicit_s =
        tighter(creation->explicit_max_ttl_s, params != NULL ? params->explicit_max_ttl_s : 0);
    int64_t period_s =
        params != NULL && params->period_s != 0 ? params->period_s : creation->period_s;
    spec->entry.period_s = period_s;
    /* The role's limit is the role's: it is looked up anew at each renewal. */
    spec->entry.explicit_max_ttl_s = creation->explicit_max_ttl_s;
    if (spec->entry.is_root && creation->ttl_s == 0 && period_s == 0) {
        if (explicit_s == 0 && rq->caller->expire_ns != 0) {
            return cf_fail(err, CF_INVALID,
                           "expiring root tokens cannot create non-expiring root tokens");
        }
        spec->ttl_s = explicit_s;
        return CF_OK;
    }
    spec->ttl_s = token_effective_ttl(rq, rq->mount, creation->ttl_s, 0, 0, explicit_s, period_s);
    return CF_OK;
}

static void place_in_tree(struct request *rq, const struct creation *creation,
                          struct token_entry *entry)
{
    bool is_orphan = creation->is_orphan_path || creation->no_parent ||
                     (creation->role != NULL && creation->role->orphan);
    if (is_orphan) {
        return;
    }
    entry->has_parent = true;
    entry->parent_ns = rq->caller->ns;
    memcpy(entry->parent, rq->caller->key, TOKEN_KEY_SIZE);
    entry->entity_id = rq->caller->ns == rq->ns ? rq->caller->entity_id : CF_SLICE_EMPTY;
}

static struct cf_slice path_of(struct request *rq, const struct creation *creation)
{
    const struct token_role *role = creation->role;
    if (role == NULL) {
        return rq->path;
    }
    return cf_slice_str(arena_printf(rq->arena, "auth/token/create/%.*s%s%.*s", CF_SHOW(role->name),
                                     role->path_suffix.size != 0 ? "/" : "",
                                     CF_SHOW(role->path_suffix)));
}

static cf_status make_spec(struct request *rq, const struct creation *creation,
                           struct token_spec *spec, struct cf_error *err)
{
    const struct token_role *role = creation->role;
    struct token_policies choice = {.role = role,
                                    .asked = creation->policies,
                                    .asked_count = creation->policy_count,
                                    .is_sudo = creation->is_sudo,
                                    .no_default = creation->no_default};
    *spec = (struct token_spec){.id = creation->id,
                                .entry = {.display_name = creation->display_name,
                                          .path = path_of(rq, creation),
                                          .role = role != NULL ? role->name : CF_SLICE_EMPTY,
                                          .type = CF_SLICE("service"),
                                          .metadata = creation->meta,
                                          .num_uses = creation->num_uses,
                                          .mount_uuid = rq->mount->uuid}};
    struct token_entry *entry = &spec->entry;
    CF_TRY(token_policies_choose(rq, &choice, &entry->policies, &entry->policy_count, err));
    entry->is_root = params_has(entry->policies, entry->policy_count, CF_SLICE("root"));
    if (creation->is_batch && entry->is_root) {
        return cf_fail(err, CF_INVALID, "batch tokens cannot be root tokens");
    }
    place_in_tree(rq, creation, entry);
    CF_TRY(choose_ttl(rq, creation, spec, err));
    if (role != NULL) {
        entry->num_uses = tighter(entry->num_uses, role->params.num_uses);
        if (spec->ttl_s != 0) { /* a root token without an end must not lock itself out */
            entry->bound_cidrs = role->params.bound_cidrs;
            entry->bound_cidr_count = role->params.bound_cidr_count;
        }
    }
    entry->is_renewable =
        creation->renewable && spec->ttl_s != 0 && (role == NULL || role->renewable);
    return CF_OK;
}

/* A typing error in a policy's name is legal, and worth a word. */
static cf_status warn_of_absent_policies(struct request *rq, const struct token_entry *entry,
                                         struct cf_error *err)
{
    for (size_t i = 0; i < entry->policy_count; i++) {
        struct cf_slice record, policy = entry->policies[i];
        if (cf_slice_is(policy, "root") || policy.size > 256) {
            continue;
        }
        struct cf_slice name =
            cf_slice_str(arena_printf(rq->arena, "%s%.*s", AREA_POLICY, CF_SHOW(policy)));
        cf_status status =
            txn_get(rq->txn, (struct key){CLASS_REPLICATED, rq->ns, name}, &record, err);
        if (status == CF_NOT_FOUND) {
            response_warn(rq, "Policy \"%.*s\" does not exist", CF_SHOW(policy));
        } else {
            CF_TRY(status);
        }
    }
    return CF_OK;
}

/* The entity behind the alias that was named, made where there is none, instead of the caller's. */
static cf_status take_entity(struct request *rq, const struct creation *creation,
                             struct token_entry *entry, struct auth_result *auth,
                             struct cf_error *err)
{
    if (creation->entity_alias.size != 0) {
        struct identity_alias alias = {.accessor = rq->mount->accessor,
                                       .type = rq->mount->type,
                                       .path = rq->mount->path,
                                       .name = identity_fold(rq->arena, creation->entity_alias),
                                       .is_local = rq->mount->is_local};
        CF_TRY(identity_login(rq, &alias, &entry->entity_id, err));
    }
    return token_name_identity(rq, entry->entity_id, auth, err);
}

static cf_status create(struct request *rq, struct creation *creation, struct cf_error *err)
{
    struct token_spec spec;
    struct token_entry *entry;
    CF_TRY(check_caller(rq->caller, err));
    CF_TRY(token_has_sudo(rq, rq->path, &creation->is_sudo, err));
    CF_TRY(read_creation(rq, creation, err));
    CF_TRY(check_creation(rq, creation, err));
    CF_TRY(check_descent(rq, creation, err));
    CF_TRY(make_spec(rq, creation, &spec, err));
    CF_TRY(warn_of_absent_policies(rq, &spec.entry, err));
    struct auth_result *auth = arena_new_object(rq->arena, struct auth_result);
    CF_TRY(take_entity(rq, creation, &spec.entry, auth, err));
    CF_TRY((creation->is_batch ? token_create_batch : token_create)(rq, &spec, &auth->client_token,
                                                                    &entry, err));
    auth->token = entry;
    auth->accessor = entry->accessor;
    auth->lease_duration_s = spec.ttl_s;
    auth->renewable = entry->is_renewable;
    auth->orphan = !entry->has_parent;
    rq->response.auth = auth;
    return CF_OK;
}

cf_status token_create_child(struct request *rq, struct cf_error *err)
{
    struct creation creation = {0};
    return create(rq, &creation, err);
}

cf_status token_create_orphan(struct request *rq, struct cf_error *err)
{
    struct creation creation = {.is_orphan_path = true};
    return create(rq, &creation, err);
}

cf_status token_create_by_role(struct request *rq, struct cf_error *err)
{
    struct token_role role;
    cf_status status = token_role_load(rq, rq->captures[0], &role, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "unknown role %.64s",
                       arena_text(rq->arena, rq->captures[0]));
    }
    CF_TRY(status);
    struct creation creation = {.role = &role};
    return create(rq, &creation, err);
}

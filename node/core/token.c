/* node/core/token.c: looking tokens up, making, changing and revoking them. */
#include "node/core/token_int.h"

#include <stdlib.h>

#include "node/base/memory.h"
#include "node/core/core.h"
#include "node/core/identity.h"
#include "node/core/namespace.h"
#include "node/core/sys/lease_store.h"
#include "node/crypto/hash.h"

#define TOKEN_PREFIX "s."
#define TOKEN_RANDOM 24
#define ACCESSOR_RANDOM 24
#define TOKEN_TEXT_MAX ((size_t)512)
/* How far up a family is looked at: what is deeper ends when the background work gets there. */
#define ANCESTORS_MAX ((size_t)32)

/* ---- names ---- */

struct key token_area_key(struct arena *arena, uint32_t ns, const char *area,
                          const uint8_t key[TOKEN_KEY_SIZE], struct cf_slice rest)
{
    size_t head = strlen(area);
    uint8_t *name = arena_alloc_raw(arena, head + TOKEN_KEY_SIZE + rest.size);
    memcpy(name, area, head);
    memcpy(name + head, key, TOKEN_KEY_SIZE);
    if (rest.size != 0) {
        memcpy(name + head + TOKEN_KEY_SIZE, rest.data, rest.size);
    }
    return (struct key){CLASS_CLUSTER, ns, cf_slice_of(name, head + TOKEN_KEY_SIZE + rest.size)};
}

struct key token_record_key(struct arena *arena, uint32_t ns, const uint8_t key[TOKEN_KEY_SIZE])
{
    return token_area_key(arena, ns, AREA_TOKEN, key, CF_SLICE_EMPTY);
}

struct key token_child_key(struct arena *arena, const struct token_entry *child)
{
    uint8_t rest[TOKEN_KEY_SIZE + 4];
    memcpy(rest, child->key, TOKEN_KEY_SIZE);
    cf_put_u32(rest + TOKEN_KEY_SIZE, child->ns);
    return token_area_key(
        arena, child->parent_ns, AREA_CHILD, child->parent,
        cf_slice_of(rest, child->ns == child->parent_ns ? TOKEN_KEY_SIZE : sizeof(rest)));
}

uint32_t token_child_ns(const struct token_entry *parent, struct cf_slice name)
{
    return name.size == TOKEN_KEY_SIZE + 4 ? cf_get_u32(name.data + TOKEN_KEY_SIZE) : parent->ns;
}

cf_status token_key_of(struct txn *txn, struct cf_slice id, uint8_t key[TOKEN_KEY_SIZE],
                       struct cf_error *err)
{
    const struct view *view = txn_view(txn);
    (void)err;
    hash_hmac_sha256(cf_slice_of(view->salt, sizeof(view->salt)), id, key);
    return CF_OK;
}

/* One index for all namespaces: a round of expiry is one walk. */
struct key token_expire_key(struct arena *arena, const struct token_entry *entry)
{
    const size_t head = sizeof(AREA_EXPIRE) - 1;
    uint8_t *name = arena_alloc_raw(arena, head + 8 + 1 + TOKEN_KEY_SIZE + 4);
    size_t size = head + 9 + TOKEN_KEY_SIZE;
    memcpy(name, AREA_EXPIRE, head);
    cf_put_u64(name + head, (uint64_t)(entry->expire_ns / 1000000));
    name[head + 8] = 't';
    memcpy(name + head + 9, entry->key, TOKEN_KEY_SIZE);
    if (entry->ns != NAMESPACE_ROOT) {
        cf_put_u32(name + size, entry->ns);
        size += 4;
    }
    return (struct key){CLASS_CLUSTER, NAMESPACE_ROOT, cf_slice_of(name, size)};
}

cf_status token_accessor_key(struct txn *txn, struct arena *arena, uint32_t ns,
                             struct cf_slice accessor, struct key *ret, struct cf_error *err)
{
    uint8_t hash[TOKEN_KEY_SIZE];
    CF_TRY(token_key_of(txn, accessor, hash, err));
    *ret = token_area_key(arena, ns, AREA_ACCESSOR, hash, CF_SLICE_EMPTY);
    return CF_OK;
}

/* ---- looking up ---- */

static bool is_live(const struct txn *txn, const struct token_entry *entry)
{
    return entry->expire_ns == 0 || view_now_ns(txn_view(txn)) < entry->expire_ns;
}

/* A secondary hears that the primary disabled an auth method, and has tokens of its own from there:
 * with the mount they are void. Root and wrapping tokens come from none. */
static bool came_from_a_mount(struct txn *txn, const struct token_entry *entry)
{
    static const struct uuid none;
    return memcmp(entry->mount_uuid.bytes, none.bytes, sizeof(none.bytes)) == 0 ||
           token_mount_exists(txn, entry->ns, entry->mount_uuid);
}

bool token_family_is_live(struct txn *txn, struct arena *arena, const struct token_entry *entry)
{
    for (size_t depth = 0; entry->has_parent && depth < ANCESTORS_MAX; depth++) {
        cf_status status = token_load(txn, arena, entry->parent_ns, entry->parent, &entry, NULL);
        if (status != CF_OK) {
            return status == CF_NOT_FOUND; /* the parent was revoked alone */
        }
        if (!is_live(txn, entry)) {
            return false;
        }
    }
    return true;
}

cf_status token_by_key(struct txn *txn, struct arena *arena, uint32_t ns,
                       const uint8_t key[TOKEN_KEY_SIZE], const struct token_entry **ret,
                       struct cf_error *err)
{
    return token_load(txn, arena, ns, key, ret, err);
}

bool token_is_in_reach(const struct request *rq, const struct token_entry *entry)
{
    if (entry->ns == rq->ns ||
        (rq->caller != NULL && memcmp(rq->caller->key, entry->key, TOKEN_KEY_SIZE) == 0)) {
        return true;
    }
    const struct namespace *own = namespace_by_number(rq->view->namespaces, entry->ns);
    return own != NULL && namespace_is_within(own, rq->nspace);
}

/* The namespace that the text names; NULL when there is none, or nobody gets into it any more. */
static const struct namespace *live_namespace_of(struct txn *txn, struct cf_slice text)
{
    const struct namespace *ns = namespace_of_text(txn_view(txn)->namespaces, text);
    if (ns == NULL || ns->number == NAMESPACE_ROOT) {
        return ns;
    }
    namespace_note_read(txn, ns);
    for (const struct namespace *around = ns; around != NULL; around = around->parent) {
        if (around->is_tainted) {
            return NULL;
        }
    }
    return ns;
}

cf_status token_lookup(struct txn *txn, struct arena *arena, struct cf_slice id,
                       const struct token_entry **ret, struct cf_error *err)
{
    uint8_t key[TOKEN_KEY_SIZE];
    cf_status status;
    const struct namespace *ns = live_namespace_of(txn, id);
    if (ns == NULL || id.size == 0) {
        return cf_fail(err, CF_DENIED, "bad token");
    }
    if (token_is_batch(id)) {
        status = token_open_batch(txn, arena, id, ns, ret, err);
    } else if (id.size > TOKEN_TEXT_MAX) {
        return cf_fail(err, CF_DENIED, "bad token");
    } else {
        CF_TRY(token_key_of(txn, id, key, err));
        status = token_load(txn, arena, ns->number, key, ret, err);
        if (status == CF_OK && (!came_from_a_mount(txn, *ret) ||
                                !token_family_is_live(txn, arena, *ret))) {
            status = CF_NOT_FOUND;
        }
    }
    if (status == CF_NOT_FOUND || (status == CF_OK && !is_live(txn, *ret))) {
        return cf_fail(err, CF_DENIED, "bad token");
    }
    return status;
}

cf_status token_by_accessor(struct txn *txn, struct arena *arena, uint32_t ns,
                            struct cf_slice accessor, const struct token_entry **ret,
                            struct cf_error *err)
{
    struct key key;
    struct cf_slice record;
    struct json *json;
    CF_TRY(token_accessor_key(txn, arena, ns, accessor, &key, err));
    cf_status status = txn_get(txn, key, &record, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_NOT_FOUND, "invalid accessor");
    }
    CF_TRY(status);
    CF_TRY(record_decode(record, arena, &json, err));
    CF_BUF(raw) = {.max = TOKEN_KEY_SIZE};
    CF_TRY(encode_hex_decode(&raw, json_get_string(json, "token"), err));
    if (raw.size != TOKEN_KEY_SIZE) {
        return cf_fail(err, CF_CORRUPT, "accessor record is malformed");
    }
    status = token_load(txn, arena, ns, raw.data, ret, err);
    if (status == CF_NOT_FOUND || (status == CF_OK && (!is_live(txn, *ret) ||
                                                       !token_family_is_live(txn, arena, *ret)))) {
        return cf_fail(err, CF_NOT_FOUND, "invalid accessor");
    }
    return status;
}

/* ---- making ---- */

static int by_bytes(const void *a, const void *b)
{
    return cf_slice_cmp(*(const struct cf_slice *)a, *(const struct cf_slice *)b);
}

void token_sort_policies(struct arena *arena, struct token_entry *entry)
{
    struct cf_slice *from = entry->policies;
    entry->policies = arena_alloc(arena, (entry->policy_count + 1) * sizeof(struct cf_slice));
    if (entry->policy_count != 0) {
        memcpy(entry->policies, from, entry->policy_count * sizeof(struct cf_slice));
        qsort(entry->policies, entry->policy_count, sizeof(struct cf_slice), by_bytes);
    }
}

static struct cf_slice random_text(struct request *rq, const char *prefix, size_t count)
{
    CF_BUF(text) = {.secret = true};
    cf_buf_add_str(&text, prefix);
    encode_base62_random(&text, rq->random, count);
    return arena_copy(rq->arena, cf_buf_slice(&text));
}

static struct cf_slice accessor_record(struct arena *arena, const struct token_entry *entry)
{
    CF_BUF(hex) = {0};
    struct json *record = json_object_new(arena);
    encode_hex(&hex, cf_slice_of(entry->key, TOKEN_KEY_SIZE));
    json_set_string(arena, record, "token", cf_buf_slice(&hex));
    json_set_string(arena, record, "accessor", entry->accessor);
    return record_encode(arena, record);
}

cf_status token_create(struct request *rq, struct token_spec *spec, struct cf_slice *ret_id,
                       struct token_entry **ret, struct cf_error *err)
{
    struct arena *arena = rq->arena;
    struct token_entry *entry = arena_new_object(arena, struct token_entry);
    *entry = spec->entry;
    entry->ns = rq->ns;
    struct cf_slice id =
        spec->id.size != 0
            ? spec->id
            : namespace_mark(arena, rq->nspace, random_text(rq, TOKEN_PREFIX, TOKEN_RANDOM));
    CF_TRY(token_key_of(rq->txn, id, entry->key, err));
    entry->accessor = namespace_mark(arena, rq->nspace, random_text(rq, "", ACCESSOR_RANDOM));
    entry->creation_ns = request_now_ns(rq);
    entry->creation_ttl_s = spec->ttl_s;
    entry->expire_ns = spec->ttl_s != 0 ? entry->creation_ns + spec->ttl_s * 1000000000 : 0;
    token_sort_policies(arena, entry);
    struct key key;
    CF_TRY(token_accessor_key(rq->txn, arena, entry->ns, entry->accessor, &key, err));
    txn_put(rq->txn, key, accessor_record(arena, entry));
    struct key record_key = token_record_key(arena, entry->ns, entry->key);
    entry->entry_hash = key_hash(record_key);
    txn_put(rq->txn, record_key, token_to_record(arena, entry));
    if (entry->has_parent) {
        txn_put(rq->txn, token_child_key(arena, entry), CF_SLICE_EMPTY);
    }
    if (entry->expire_ns != 0) {
        txn_put(rq->txn, token_expire_key(arena, entry), CF_SLICE_EMPTY);
        lease_add_token(rq->txn, arena, entry);
    }
    *ret_id = id;
    *ret = entry;
    return CF_OK;
}

cf_status token_update(struct txn *txn, struct arena *arena, const struct token_entry *before,
                       const struct token_entry *after, struct cf_error *err)
{
    (void)err;
    if (before->expire_ns != after->expire_ns) {
        if (before->expire_ns != 0) {
            txn_delete(txn, token_expire_key(arena, before));
        } else {
            lease_add_token(txn, arena, after);
        }
        if (after->expire_ns != 0) {
            txn_put(txn, token_expire_key(arena, after), CF_SLICE_EMPTY);
        } else {
            lease_remove_token(txn, arena, before);
        }
    }
    txn_put(txn, token_record_key(arena, after->ns, after->key), token_to_record(arena, after));
    return CF_OK;
}

cf_status token_spend_use(struct request *rq, const struct token_entry *entry,
                          struct cf_error *err)
{
    if (entry->num_uses == 1) {
        return token_revoke(rq->txn, rq->arena, entry, true, err);
    }
    struct token_entry changed = *entry;
    changed.num_uses--;
    return token_update(rq->txn, rq->arena, entry, &changed, err);
}

/* ---- lifetimes and logins ---- */

static int64_t least(int64_t a, int64_t b)
{
    return b > 0 && (a == 0 || b < a) ? b : a;
}

int64_t token_effective_ttl(struct request *rq, const struct mount *mount, int64_t asked_s,
                            int64_t role_ttl_s, int64_t role_max_s, int64_t explicit_max_s,
                            int64_t period_s)
{
    const struct core_config *config = core_config(rq->core);
    int64_t max = mount != NULL && mount->max_lease_ttl_s > 0 ? mount->max_lease_ttl_s
                                                              : config->max_lease_ttl_s;
    int64_t ttl = asked_s > 0 ? asked_s : role_ttl_s;
    if (period_s > 0) {
        ttl = least(period_s, max);
        return explicit_max_s > 0 ? least(ttl, explicit_max_s) : ttl;
    }
    max = least(least(max, role_max_s), explicit_max_s);
    if (ttl <= 0) {
        ttl = mount != NULL && mount->default_lease_ttl_s > 0 ? mount->default_lease_ttl_s
                                                              : config->default_lease_ttl_s;
    }
    if (ttl > max) {
        response_warn(rq,
                      "TTL of \"%llds\" exceeded the effective max_ttl of \"%llds\"; TTL value is "
                      "capped accordingly",
                      (long long)ttl, (long long)max);
        ttl = max;
    }
    return ttl;
}

static bool has_policy(const struct cf_slice *policies, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (cf_slice_is(policies[i], name)) {
            return true;
        }
    }
    return false;
}

cf_status token_name_identity(struct request *rq, struct cf_slice entity_id,
                              struct auth_result *auth, struct cf_error *err)
{
    const struct identity *identity;
    if (entity_id.size == 0) {
        return CF_OK;
    }
    CF_TRY(identity_of(rq->txn, rq->arena, rq->ns, entity_id, &identity, err));
    /* An entity that is only now made has none. Copied: the answer outlives what the cache lends. */
    struct cf_slice *names = arena_alloc(rq->arena, (identity->policy_count + 1) * sizeof(*names));
    for (size_t i = 0; i < identity->policy_count; i++) {
        names[i] = arena_copy(rq->arena, identity->policies[i]);
    }
    auth->identity_policies = names;
    auth->identity_policy_count = identity->policy_count;
    return CF_OK;
}

struct identity_alias token_alias_of(const struct request *rq, const struct auth_result *auth)
{
    return (struct identity_alias){.accessor = rq->mount->accessor,
                                   .type = rq->mount->type,
                                   .path = rq->mount->path,
                                   .name = auth->alias_name,
                                   .is_local = rq->mount->is_local,
                                   .metadata = auth->metadata,
                                   .has_groups = auth->has_groups,
                                   .groups = auth->groups,
                                   .group_count = auth->group_count};
}

cf_status token_from_login(struct request *rq, struct auth_result *auth, struct cf_error *err)
{
    struct token_spec spec = {0};
    struct cf_slice *policies =
        arena_alloc(rq->arena, (auth->policy_count + 1) * sizeof(*policies));
    size_t count = 0;
    for (size_t i = 0; i < auth->policy_count; i++) {
        policies[count++] = auth->policies[i];
    }
    if (!auth->no_default_policy && !has_policy(policies, count, "default")) {
        policies[count++] = CF_SLICE("default");
    }
    spec.ttl_s = token_effective_ttl(rq, rq->mount, auth->ttl_s, 0, auth->max_ttl_s,
                                     auth->explicit_max_ttl_s, auth->period_s);
    spec.entry = (struct token_entry){
        .display_name = auth->display_name,
        .path = rq->path,
        .type = CF_SLICE("service"),
        .policies = policies,
        .policy_count = count,
        .metadata = auth->metadata,
        .internal = auth->internal,
        .explicit_max_ttl_s = auth->explicit_max_ttl_s,
        .period_s = auth->period_s,
        .max_ttl_s = auth->max_ttl_s,
        .bound_cidrs = (struct cf_slice *)(uintptr_t)auth->bound_cidrs,
        .bound_cidr_count = auth->bound_cidr_count,
        .num_uses = auth->num_uses,
        .is_renewable = !auth->not_renewable && !auth->is_batch,
        .mount_uuid = rq->mount->uuid,
    };
    if (auth->alias_name.size != 0) {
        struct identity_alias alias = token_alias_of(rq, auth);
        CF_TRY(identity_login(rq, &alias, &spec.entry.entity_id, err));
        CF_TRY(token_name_identity(rq, spec.entry.entity_id, auth, err));
    }
    spec.entry.login_role = auth->role;
    struct token_entry *entry;
    CF_TRY((auth->is_batch ? token_create_batch : token_create)(rq, &spec, &auth->client_token,
                                                                &entry, err));
    auth->token = entry;
    auth->accessor = entry->accessor;
    auth->lease_duration_s = spec.ttl_s;
    auth->renewable = entry->is_renewable;
    auth->orphan = true;
    return CF_OK;
}

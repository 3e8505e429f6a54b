/* node/core/lease.c: the records of what was lent out, and their indexes. */
#include "node/core/lease.h"

#include "node/base/memory.h"
#include "node/core/core.h"
#include "node/core/mount.h"
#include "node/core/namespace.h"
#include "node/core/sys/lease_store.h"
#include "node/core/token_int.h"

#define NS_PER_MS ((int64_t)1000000)
#define NS_PER_S ((int64_t)1000000000)
#define ID_RANDOM 24
#define DUE_HEAD ((size_t)16 + 8 + 4) /* mount, time, namespace */

static struct key named(struct arena *arena, uint32_t ns, const struct cf_buf *name)
{
    return (struct key){CLASS_CLUSTER, ns, arena_copy(arena, cf_buf_slice(name))};
}

static struct key record_key(struct arena *arena, uint32_t ns, struct cf_slice id)
{
    CF_BUF(name) = {0};
    cf_buf_add_str(&name, AREA_LEASE);
    cf_buf_add_slice(&name, id);
    return named(arena, ns, &name);
}

/* What is due is found without a look into every namespace: all of it is in the root's. */
static struct key due_key(struct arena *arena, const struct lease *lease)
{
    CF_BUF(name) = {0};
    cf_buf_add_str(&name, AREA_LEASE_DUE);
    cf_buf_add(&name, lease->mount_uuid.bytes, sizeof(lease->mount_uuid.bytes));
    cf_buf_add_u64(&name, (uint64_t)(lease->due_ns / NS_PER_MS));
    cf_buf_add_u32(&name, lease->ns);
    cf_buf_add_slice(&name, lease->id);
    return named(arena, NAMESPACE_ROOT, &name);
}

static struct key owner_key(struct arena *arena, const struct lease *lease)
{
    CF_BUF(rest) = {0};
    cf_buf_add_u32(&rest, lease->ns);
    cf_buf_add_slice(&rest, lease->id);
    return token_area_key(arena, lease->token_ns, AREA_LEASE_OF, lease->token, cf_buf_slice(&rest));
}

static struct key failed_key(struct arena *arena, const struct lease *lease)
{
    CF_BUF(name) = {0};
    cf_buf_add_str(&name, AREA_LEASE_FAILED);
    cf_buf_add_u64(&name, (uint64_t)(lease->expire_ns / NS_PER_MS));
    cf_buf_add_slice(&name, lease->id);
    return named(arena, lease->ns, &name);
}

/* ---- records ---- */

static struct cf_slice to_record(struct arena *arena, const struct lease *lease)
{
    struct json *record = json_object_new(arena);
    char uuid[ENCODE_UUID_TEXT + 1];
    encode_uuid_text(lease->mount_uuid, uuid);
    json_set_text(arena, record, "mount", uuid);
    if (lease->has_token) {
        CF_BUF(hex) = {0};
        encode_hex(&hex, cf_slice_of(lease->token, TOKEN_KEY_SIZE));
        json_set_string(arena, record, "token", cf_buf_slice(&hex));
        json_set_int(arena, record, "token_ns", lease->token_ns);
    }
    json_set(arena, record, "internal", lease->internal);
    json_set_int(arena, record, "issue", lease->issue_ns);
    json_set_int(arena, record, "expire", lease->expire_ns);
    json_set_int(arena, record, "last_renewal", lease->last_renewal_ns);
    json_set_int(arena, record, "ttl", lease->ttl_s);
    json_set_int(arena, record, "max_ttl", lease->max_ttl_s);
    json_set_bool(arena, record, "renewable", lease->renewable);
    json_set_bool(arena, record, "ending", lease->is_ending);
    json_set_bool(arena, record, "forced", lease->is_forced);
    json_set_bool(arena, record, "outside", lease->is_outside);
    json_set_int(arena, record, "attempts", lease->attempts);
    json_set_int(arena, record, "due", lease->due_ns);
    json_set_string(arena, record, "failure", lease->failure);
    return record_encode(arena, record);
}

static bool read_token(const struct json *record, struct lease *lease)
{
    struct cf_slice hex = json_get_string(record, "token");
    uint64_t ns;
    CF_BUF(raw) = {.max = TOKEN_KEY_SIZE};
    lease->has_token = hex.size != 0;
    if (!lease->has_token) {
        return true;
    }
    if (encode_hex_decode(&raw, hex, NULL) != CF_OK || raw.size != TOKEN_KEY_SIZE ||
        !json_uint64(json_get(record, "token_ns"), &ns) || ns > UINT32_MAX) {
        return false;
    }
    memcpy(lease->token, raw.data, TOKEN_KEY_SIZE);
    lease->token_ns = (uint32_t)ns;
    return true;
}

static cf_status from_record(struct arena *arena, struct cf_slice bytes, struct lease *lease,
                             struct cf_error *err)
{
    struct json *record;
    int64_t attempts;
    CF_TRY(record_decode(bytes, arena, &record, err));
    struct json *internal = json_get(record, "internal");
    lease->internal = json_is(internal, JSON_OBJECT) ? internal : NULL;
    lease->failure = json_get_string(record, "failure");
    if (encode_uuid_parse(json_get_string(record, "mount"), &lease->mount_uuid, NULL) != CF_OK ||
        !read_token(record, lease) || !json_int64(json_get(record, "issue"), &lease->issue_ns) ||
        !json_int64(json_get(record, "expire"), &lease->expire_ns) ||
        !json_int64(json_get(record, "last_renewal"), &lease->last_renewal_ns) ||
        !json_int64(json_get(record, "ttl"), &lease->ttl_s) ||
        !json_int64(json_get(record, "max_ttl"), &lease->max_ttl_s) ||
        !json_bool(json_get(record, "renewable"), &lease->renewable) ||
        !json_bool(json_get(record, "ending"), &lease->is_ending) ||
        !json_bool(json_get(record, "forced"), &lease->is_forced) ||
        !json_bool(json_get(record, "outside"), &lease->is_outside) ||
        !json_int64(json_get(record, "attempts"), &attempts) ||
        !json_int64(json_get(record, "due"), &lease->due_ns) || attempts < 0) {
        return cf_fail(err, CF_CORRUPT, "the record of a lease is malformed");
    }
    lease->attempts = (unsigned)attempts;
    return CF_OK;
}

static void put(struct txn *txn, struct arena *arena, const struct lease *lease)
{
    txn_put(txn, record_key(arena, lease->ns, lease->id), to_record(arena, lease));
}

cf_status lease_find(struct txn *txn, struct arena *arena, uint32_t ns, struct cf_slice id,
                     struct lease **ret, struct cf_error *err)
{
    struct cf_slice bytes;
    if (id.size > KEY_NAME_MAX - sizeof(AREA_LEASE)) {
        return CF_NOT_FOUND;
    }
    CF_TRY(txn_get(txn, record_key(arena, ns, id), &bytes, err));
    if (bytes.size == 0 || bytes.data[0] != RECORD_VERSION) {
        return CF_NOT_FOUND; /* a token's (sys/lease_store.h) */
    }
    struct lease *lease = arena_new_object(arena, struct lease);
    *lease = (struct lease){.id = arena_copy(arena, id), .ns = ns};
    CF_TRY(from_record(arena, bytes, lease, err));
    *ret = lease;
    return CF_OK;
}

bool lease_is_live(const struct txn *txn, const struct lease *lease)
{
    return !lease->is_ending && lease->expire_ns > view_now_ns(txn_view(txn));
}

/* ---- making and renewing ---- */

static int64_t least(int64_t a, int64_t b)
{
    return b > 0 && (a == 0 || b < a) ? b : a;
}

static cf_status check_caller(const struct request *rq, struct cf_error *err)
{
    const struct token_entry *caller = rq->caller;
    if (rq->foreign != NULL) {
        return cf_fail(err, CF_INVALID, "a secret that is lent out is made in the cluster that was asked for it");
    }
    if (caller == NULL) {
        return cf_fail(err, CF_INVALID, "a secret is lent out to a token, and there is none");
    }
    if (caller->num_uses == 1) {
        return cf_fail(err, CF_INVALID,
                       "the token has one use left, and what is lent out would end with it: nothing was made");
    }
    return CF_OK;
}

cf_status lease_create(struct request *rq, struct cf_error *err)
{
    const struct lease_ask *ask = rq->response.lease;
    const struct token_entry *caller = rq->caller;
    struct arena *arena = rq->arena;
    CF_TRY(check_caller(rq, err));
    struct lease *lease = arena_new_object(arena, struct lease);
    bool is_batch = cf_slice_is(caller->type, "batch");
    *lease = (struct lease){.ns = rq->ns,
                            .mount_uuid = rq->mount->uuid,
                            .is_outside = rq->mount->ops->lease_revoke != NULL,
                            .has_token = !is_batch,
                            .token_ns = caller->ns,
                            .internal = ask->internal,
                            .issue_ns = request_now_ns(rq),
                            .max_ttl_s = ask->max_ttl_s,
                            .renewable = ask->renewable && !is_batch};
    memcpy(lease->token, caller->key, TOKEN_KEY_SIZE);
    CF_BUF(id) = {0};
    cf_buf_add_slice(&id, rq->path);
    cf_buf_add_byte(&id, '/');
    encode_base62_random(&id, rq->random, ID_RANDOM);
    lease->id = arena_copy(arena, cf_buf_slice(&id));
    lease->ttl_s = token_effective_ttl(rq, rq->mount, ask->ttl_s, 0, ask->max_ttl_s, 0, 0);
    lease->expire_ns = lease->issue_ns + lease->ttl_s * NS_PER_S;
    if (is_batch && caller->expire_ns != 0 && caller->expire_ns < lease->expire_ns) {
        lease->expire_ns = caller->expire_ns; /* nothing says when a batch token ends but its own time */
    }
    lease->due_ns = lease->expire_ns;
    lease_count_secret(rq->txn, lease->ns, lease->id, 1);
    put(rq->txn, arena, lease);
    txn_put(rq->txn, due_key(arena, lease), CF_SLICE_EMPTY);
    if (lease->has_token) {
        txn_put(rq->txn, owner_key(arena, lease), CF_SLICE_EMPTY);
    }
    rq->response.lease_id = namespace_mark(arena, rq->nspace, lease->id);
    rq->response.lease_duration_s = (lease->expire_ns - lease->issue_ns) / NS_PER_S;
    rq->response.renewable = lease->renewable;
    return CF_OK;
}

/* Changes when it is due next. */
static void move_due(struct txn *txn, struct arena *arena, struct lease *lease, int64_t due_ns)
{
    if (lease->due_ns != 0) {
        txn_delete(txn, due_key(arena, lease));
    } else {
        txn_delete(txn, failed_key(arena, lease));
    }
    lease->due_ns = due_ns;
    txn_put(txn, due_ns != 0 ? due_key(arena, lease) : failed_key(arena, lease), CF_SLICE_EMPTY);
}

cf_status lease_renew(struct request *rq, struct lease *lease, int64_t increment_s, struct cf_error *err)
{
    const struct namespace *own = namespace_by_number(rq->view->namespaces, lease->ns);
    const struct mount *mount = own != NULL ? mount_table_by_uuid(own->mounts, lease->mount_uuid) : NULL;
    if (lease->due_ns == 0) {
        return cf_fail(err, CF_INVALID, "lease is expired and has failed previous revocation attempts");
    }
    if (mount == NULL || !lease->renewable) {
        return cf_fail(err, CF_INVALID, "lease is not renewable");
    }
    txn_note_read(rq->txn, mount->entry_hash);
    if (mount->ops->lease_renew != NULL) {
        CF_TRY(mount->ops->lease_renew(rq, lease, err));
    }
    int64_t server_max = core_config(rq->core)->max_lease_ttl_s;
    int64_t max = least(mount->max_lease_ttl_s > 0 ? mount->max_lease_ttl_s : server_max, lease->max_ttl_s);
    int64_t now = request_now_ns(rq), ttl = increment_s > 0 ? increment_s : lease->ttl_s;
    int64_t left = (lease->issue_ns + max * NS_PER_S - now) / NS_PER_S;
    if (left <= 0) {
        return cf_fail(err, CF_INVALID, "past the max TTL, cannot renew");
    }
    if (ttl > left) {
        response_warn(rq, "TTL of \"%llds\" exceeded the effective max_ttl of \"%llds\"; TTL value is capped accordingly",
                      (long long)ttl, (long long)left);
        ttl = left;
    }
    lease->last_renewal_ns = now;
    lease->expire_ns = now + ttl * NS_PER_S;
    move_due(rq->txn, rq->arena, lease, lease->expire_ns);
    put(rq->txn, rq->arena, lease);
    rq->response.lease_duration_s = ttl;
    rq->response.renewable = true;
    return CF_OK;
}

/* ---- ending ---- */

void lease_end(struct txn *txn, struct arena *arena, struct lease *lease, bool forced)
{
    int64_t now = view_now_ns(txn_view(txn));
    bool is_new = !lease->is_ending || lease->due_ns == 0 || (forced && !lease->is_forced);
    if (!is_new) {
        return; /* it is being worked at, at its own pace */
    }
    if (forced && lease->due_ns == 0) {
        lease_remove(txn, arena, lease); /* every attempt was made */
        return;
    }
    lease->is_ending = true;
    lease->is_forced = lease->is_forced || forced;
    lease->attempts = 0;
    move_due(txn, arena, lease, now);
    put(txn, arena, lease);
}

void lease_remove(struct txn *txn, struct arena *arena, const struct lease *lease)
{
    lease_count_secret(txn, lease->ns, lease->id, -1);
    txn_delete(txn, record_key(arena, lease->ns, lease->id));
    txn_delete(txn, lease->due_ns != 0 ? due_key(arena, lease) : failed_key(arena, lease));
    if (lease->has_token) {
        txn_delete(txn, owner_key(arena, lease));
    }
}

/* 10 s, 20 s, ...: give or take a half, so that what failed together is not tried together. */
static int64_t back_off_ns(struct request *rq, unsigned failures)
{
    uint16_t draw;
    cf_random_fill(rq->random, &draw, sizeof(draw));
    int64_t base = (LEASE_RETRY_BASE_S * NS_PER_S) << failures;
    return base / 2 + base / UINT16_MAX * draw;
}

void lease_note_failure(struct request *rq, struct lease *lease, const char *why, bool is_hopeless)
{
    bool was_ending = lease->is_ending;
    lease->attempts++;
    lease->is_ending = true;
    lease->failure = cf_slice_first(arena_copy(rq->arena, cf_slice_str(why)), LEASE_FAILURE_MAX);
    if (!was_ending) {
        lease->expire_ns = cf_min(lease->expire_ns, request_now_ns(rq));
    }
    bool is_last = is_hopeless || lease->attempts >= LEASE_ATTEMPTS;
    move_due(rq->txn, rq->arena, lease,
             is_last ? 0 : request_now_ns(rq) + back_off_ns(rq, lease->attempts));
    put(rq->txn, rq->arena, lease);
}

/* ---- of tokens ---- */

cf_status lease_leave(struct txn *txn, struct arena *arena, const struct token_entry *entry,
                      struct cf_error *err)
{
    struct txn_names names;
    CF_TRY(txn_scan(txn, token_area_key(arena, entry->ns, AREA_LEASE_OF, entry->key, CF_SLICE_EMPTY),
                    CF_SLICE_EMPTY, 1, &names, err));
    if (names.count != 0) {
        CF_BUF(name) = {0};
        cf_buf_add_str(&name, AREA_EXPIRE);
        cf_buf_add_u64(&name, (uint64_t)(view_now_ns(txn_view(txn)) / NS_PER_MS));
        cf_buf_add_byte(&name, LEASE_EXPIRE_TOKEN);
        cf_buf_add_u32(&name, entry->ns);
        cf_buf_add(&name, entry->key, TOKEN_KEY_SIZE);
        txn_put(txn, named(arena, NAMESPACE_ROOT, &name), CF_SLICE_EMPTY);
    }
    return CF_OK;
}

cf_status lease_end_of_token(struct txn *txn, struct arena *arena, struct cf_slice what, size_t max,
                             bool *ret_more, struct cf_error *err)
{
    *ret_more = false;
    if (what.size != 4 + TOKEN_KEY_SIZE) {
        return CF_OK;
    }
    uint32_t token_ns = cf_get_u32(what.data);
    struct txn_names names;
    CF_TRY(txn_scan(txn, token_area_key(arena, token_ns, AREA_LEASE_OF, what.data + 4, CF_SLICE_EMPTY),
                    CF_SLICE_EMPTY, max + 1, &names, err));
    *ret_more = names.count > max;
    for (size_t i = 0; i < names.count && i < max; i++) {
        struct lease *lease;
        struct cf_slice name = names.names[i];
        if (name.size > 4) {
            cf_status status =
                lease_find(txn, arena, cf_get_u32(name.data), cf_slice_from(name, 4), &lease, err);
            if (status == CF_OK) {
                lease->has_token = false; /* which is gone: nothing is found by it any more */
                if (lease->due_ns != 0) { /* an irrevocable one is an operator's */
                    lease_end(txn, arena, lease, false);
                }
            } else if (status != CF_NOT_FOUND) {
                return status;
            }
        }
        txn_delete(txn, token_area_key(arena, token_ns, AREA_LEASE_OF, what.data + 4, name));
    }
    return CF_OK;
}

/* ---- what is due ---- */

struct first {
    struct uuid *mount;
    bool found;
};

static bool take_mount(void *context, struct cf_slice rest)
{
    struct first *first = context;
    if (rest.size > DUE_HEAD) {
        memcpy(first->mount->bytes, rest.data, sizeof(first->mount->bytes));
        first->found = true;
        return false;
    }
    return true;
}

cf_status lease_next_mount(const struct view *view, struct uuid *mount, bool *ret_found,
                           struct cf_error *err)
{
    struct first first = {mount, false};
    uint8_t after[16 + 8];
    memcpy(after, mount->bytes, 16);
    memset(after + 16, 0xff, 8); /* behind every time of that mount */
    CF_TRY(view_walk(view, (struct key){CLASS_CLUSTER, NAMESPACE_ROOT, CF_SLICE(AREA_LEASE_DUE)},
                     cf_slice_of(after, sizeof(after)), take_mount, &first, err));
    *ret_found = first.found;
    return CF_OK;
}

struct due {
    struct arena *arena;
    uint64_t now_ms;
    struct uuid mount;
    struct cf_slice *names;
    size_t count, max;
};

static bool take_due(void *context, struct cf_slice rest)
{
    struct due *due = context;
    if (rest.size <= 12 || cf_get_u64(rest.data) > due->now_ms) {
        return false;
    }
    uint8_t *name = arena_alloc_raw(due->arena, 16 + rest.size);
    memcpy(name, due->mount.bytes, 16);
    memcpy(name + 16, rest.data, rest.size);
    due->names[due->count++] = cf_slice_of(name, 16 + rest.size);
    return due->count < due->max;
}

static struct key mount_prefix(struct arena *arena, struct uuid mount)
{
    CF_BUF(name) = {0};
    cf_buf_add_str(&name, AREA_LEASE_DUE);
    cf_buf_add(&name, mount.bytes, sizeof(mount.bytes));
    return named(arena, NAMESPACE_ROOT, &name);
}

cf_status lease_due(const struct view *view, struct arena *arena, struct uuid mount, size_t max,
                    struct txn_names *ret, struct cf_error *err)
{
    struct due due = {.arena = arena,
                      .now_ms = (uint64_t)(view_now_ns(view) / NS_PER_MS),
                      .mount = mount,
                      .names = arena_alloc(arena, (max + 1) * sizeof(struct cf_slice)),
                      .max = max};
    CF_TRY(view_walk(view, mount_prefix(arena, mount), CF_SLICE_EMPTY, take_due, &due, err));
    *ret = (struct txn_names){due.names, due.count};
    return CF_OK;
}

cf_status lease_of_due(struct txn *txn, struct arena *arena, struct cf_slice due_name,
                       struct lease **ret, struct cf_error *err)
{
    uint32_t ns = cf_get_u32(due_name.data + 16 + 8);
    CF_TRY(lease_find(txn, arena, ns, cf_slice_from(due_name, DUE_HEAD), ret, err));
    bool is_this = (*ret)->due_ns / NS_PER_MS == (int64_t)cf_get_u64(due_name.data + 16);
    return is_this ? CF_OK : CF_NOT_FOUND;
}

cf_status lease_irrevocable(struct txn *txn, uint32_t ns, size_t max,
                            struct txn_names *ret, struct cf_error *err)
{
    struct key prefix = {CLASS_CLUSTER, ns, CF_SLICE(AREA_LEASE_FAILED)};
    CF_TRY(txn_scan(txn, prefix, CF_SLICE_EMPTY, max, ret, err));
    for (size_t i = 0; i < ret->count; i++) {
        ret->names[i] = cf_slice_from(ret->names[i], 8);
    }
    return CF_OK;
}

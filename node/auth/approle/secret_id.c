/* node/auth/approle/secret_id.c: secret-ids in the store.
 *
 *   secret/<role's uuid>/<HMAC of the secret-id>    what it is good for
 *   accessor/<role's uuid>/<HMAC of the accessor>   the accessor, and the HMAC of the secret-id
 *   expire/<end, 16 digits>/<role's uuid>/<HMAC>    for tidy: the earliest end first
 *
 * of the mount's class, or (local_secret_ids) of this cluster alone. Neither id is stored; the accessor is,
 * sealed, because it can be listed. The role's key is in each HMAC, so a role made anew knows none of the old ones. */
#include "node/auth/approle/approle_int.h"

#include <stdio.h>
#include <stdlib.h>

#include "node/base/memory.h"
#include "node/crypto/hash.h"
#include "node/format/encode.h"

#define EXPIRE_PREFIX "expire/"

void approle_hmac(const struct approle *role, struct cf_slice text, char to[HMAC_TEXT + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t mac[32];
    hash_hmac_sha256(role->hmac_key, text, mac);
    for (size_t i = 0; i < sizeof(mac); i++) {
        to[2 * i] = digits[mac[i] >> 4];
        to[2 * i + 1] = digits[mac[i] & 15];
    }
    to[HMAC_TEXT] = '\0';
}

static struct key key_in(struct request *rq, bool is_local, const char *name)
{
    return is_local ? store_local_key(rq, cf_slice_str(name)) : store_key(rq, cf_slice_str(name));
}

static struct key key_of(struct request *rq, const struct approle *role, const char *area,
                         const char *hmac)
{
    return key_in(rq, role->local_secret_ids,
                  arena_printf(rq->arena, "%s/%.*s/%s", area, CF_SHOW(role->uuid), hmac));
}

static struct key expire_key(struct request *rq, const struct approle *role,
                             const struct secret_id *secret)
{
    return key_in(rq, role->local_secret_ids,
                  arena_printf(rq->arena, EXPIRE_PREFIX "%016llx/%.*s/%s",
                               (unsigned long long)secret->expire_ns, CF_SHOW(role->uuid),
                               secret->hmac));
}

static cf_status get_json(struct request *rq, struct key key, struct json **ret,
                          struct cf_error *err)
{
    struct cf_slice record;
    CF_TRY(txn_get(rq->txn, key, &record, err));
    return record_decode(record, rq->arena, ret, err);
}

cf_status secret_id_load(struct request *rq, const struct approle *role,
                         const char hmac[HMAC_TEXT + 1], struct secret_id *ret,
                         struct cf_error *err)
{
    struct json *record;
    CF_TRY(get_json(rq, key_of(rq, role, "secret", hmac), &record, err));
    *ret = (struct secret_id){
        .accessor = json_get_string(record, "accessor"),
        .num_uses = json_get_int(record, "num_uses"),
        .ttl_s = json_get_int(record, "ttl"),
        .creation_ns = json_get_int(record, "created"),
        .updated_ns = json_get_int(record, "updated"),
        .expire_ns = json_get_int(record, "expires"),
        .metadata = json_get(record, "metadata"),
    };
    memcpy(ret->hmac, hmac, sizeof(ret->hmac));
    ret->cidrs = params_strings(rq->arena, json_get(record, "cidrs"), &ret->cidr_count);
    ret->token_cidrs =
        params_strings(rq->arena, json_get(record, "token_cidrs"), &ret->token_cidr_count);
    bool has_ended = ret->expire_ns != 0 && ret->expire_ns <= request_now_ns(rq);
    return has_ended ? CF_NOT_FOUND : CF_OK;
}

cf_status secret_id_by_accessor(struct request *rq, const struct approle *role,
                                struct cf_slice accessor, struct secret_id *ret,
                                struct cf_error *err)
{
    char hmac[HMAC_TEXT + 1], secret[HMAC_TEXT + 1] = "";
    struct json *record;
    approle_hmac(role, accessor, hmac);
    CF_TRY(get_json(rq, key_of(rq, role, "accessor", hmac), &record, err));
    struct cf_slice of = json_get_string(record, "secret");
    memcpy(secret, of.data, cf_min(of.size, HMAC_TEXT));
    return secret_id_load(rq, role, secret, ret, err);
}

void secret_id_save(struct request *rq, const struct approle *role, const struct secret_id *secret)
{
    struct arena *arena = rq->arena;
    struct json *record = json_object_new(arena);
    char accessor[HMAC_TEXT + 1];
    approle_hmac(role, secret->accessor, accessor);
    json_set_string(arena, record, "accessor", secret->accessor);
    json_set_text(arena, record, "accessor_hmac", accessor); /* tidy does not have the role's key */
    json_set_int(arena, record, "num_uses", secret->num_uses);
    json_set_int(arena, record, "ttl", secret->ttl_s);
    json_set_int(arena, record, "created", secret->creation_ns);
    json_set_int(arena, record, "updated", secret->updated_ns);
    json_set_int(arena, record, "expires", secret->expire_ns);
    json_set(arena, record, "metadata", secret->metadata);
    json_set(arena, record, "cidrs", params_list(arena, secret->cidrs, secret->cidr_count));
    json_set(arena, record, "token_cidrs",
             params_list(arena, secret->token_cidrs, secret->token_cidr_count));
    txn_put(rq->txn, key_of(rq, role, "secret", secret->hmac), record_encode(arena, record));
}

static struct key accessor_key(struct request *rq, const struct approle *role,
                               const struct secret_id *secret)
{
    char hmac[HMAC_TEXT + 1];
    approle_hmac(role, secret->accessor, hmac);
    return key_of(rq, role, "accessor", hmac);
}

void secret_id_add(struct request *rq, const struct approle *role, const struct secret_id *secret)
{
    struct json *accessor = json_object_new(rq->arena);
    json_set_string(rq->arena, accessor, "accessor", secret->accessor);
    json_set_text(rq->arena, accessor, "secret", secret->hmac);
    secret_id_save(rq, role, secret);
    txn_put(rq->txn, accessor_key(rq, role, secret), record_encode(rq->arena, accessor));
    if (secret->expire_ns != 0) {
        txn_put(rq->txn, expire_key(rq, role, secret), CF_SLICE_EMPTY);
    }
}

void secret_id_remove(struct request *rq, const struct approle *role,
                      const struct secret_id *secret)
{
    txn_delete(rq->txn, key_of(rq, role, "secret", secret->hmac));
    txn_delete(rq->txn, accessor_key(rq, role, secret));
    if (secret->expire_ns != 0) {
        txn_delete(rq->txn, expire_key(rq, role, secret));
    }
}

void secret_id_remove_all(struct request *rq, const struct approle *role)
{
    txn_delete_prefix(rq->txn, key_of(rq, role, "secret", ""));
    txn_delete_prefix(rq->txn, key_of(rq, role, "accessor", ""));
}

cf_status secret_id_accessors(struct request *rq, const struct approle *role, struct json **ret,
                              struct cf_error *err)
{
    struct txn_names names;
    *ret = json_array_new(rq->arena);
    CF_TRY(txn_list(rq->txn, key_of(rq, role, "accessor", ""), CF_SLICE_EMPTY, 0, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        struct json *record;
        const char *hmac = arena_text(rq->arena, names.names[i]);
        CF_TRY(get_json(rq, key_of(rq, role, "accessor", hmac), &record, err));
        json_array_add(rq->arena, *ret, json_get(record, "accessor"));
    }
    return CF_OK;
}

/* ---- tidy ---- */

/* "<16 digits>/<uuid>/<HMAC>": what stands there has ended; what it leads to may be gone by now. */
static cf_status tidy_one(struct request *rq, bool is_local, struct cf_slice name,
                          struct cf_error *err)
{
    const char *text = arena_text(rq->arena, name);
    const char *rest = text + 17; /* "<uuid>/<HMAC>" */
    struct key secret = key_in(rq, is_local, arena_printf(rq->arena, "secret/%s", rest));
    struct json *record;
    txn_delete(rq->txn, key_in(rq, is_local, arena_printf(rq->arena, EXPIRE_PREFIX "%s", text)));
    cf_status status = get_json(rq, secret, &record, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    if (json_get_int(record, "expires") == 0 || json_get_int(record, "expires") > request_now_ns(rq)) {
        return CF_OK; /* the same secret-id was given anew */
    }
    struct cf_slice accessor = json_get_string(record, "accessor_hmac");
    txn_delete(rq->txn, secret);
    txn_delete(rq->txn, key_in(rq, is_local, arena_printf(rq->arena, "accessor/%.*s/%.*s", 36, rest,
                                                          CF_SHOW(accessor))));
    return CF_OK;
}

static cf_status tidy_class(struct request *rq, bool is_local, size_t max, size_t *count,
                            bool *more, struct cf_error *err)
{
    struct txn_names names;
    char now[17];
    (void)snprintf(now, sizeof(now), "%016llx", (unsigned long long)request_now_ns(rq));
    CF_TRY(txn_scan(rq->txn, key_in(rq, is_local, EXPIRE_PREFIX), CF_SLICE_EMPTY, max + 1, &names,
                    err));
    for (size_t i = 0; i < names.count; i++) {
        bool has_ended = names.names[i].size > 17 && memcmp(names.names[i].data, now, 16) <= 0;
        if (!has_ended) {
            return CF_OK;
        }
        if (*count == max) {
            *more = true;
            return CF_OK;
        }
        CF_TRY(tidy_one(rq, is_local, names.names[i], err));
        (*count)++;
    }
    return CF_OK;
}

cf_status secret_id_tidy(struct request *rq, size_t max, size_t *ret_count, bool *ret_more,
                         struct cf_error *err)
{
    bool is_secondary = rq->view->role == ROLE_PERFORMANCE_SECONDARY;
    *ret_count = 0;
    *ret_more = false;
    CF_TRY(tidy_class(rq, true, max, ret_count, ret_more, err));
    if (rq->mount->class == CLASS_CLUSTER || is_secondary) {
        return CF_OK; /* there is no other, or the primary does it */
    }
    return tidy_class(rq, false, max, ret_count, ret_more, err);
}

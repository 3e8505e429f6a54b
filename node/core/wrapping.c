/* node/core/wrapping.c: response wrapping: an answer kept under a token of one use. */
#include "node/base/memory.h"
#include "node/core/core.h"
#include "node/core/token_int.h"

#define RESPONSE_NAME CF_SLICE("/response")

cf_status wrapping_wrap(struct request *rq, int64_t ttl_s, struct cf_slice creation_path,
                        struct cf_slice content, struct wrap_info **ret, struct cf_error *err)
{
    static struct cf_slice policy = {(const uint8_t *)"response-wrapping", 17};
    struct token_spec spec = {.ttl_s = ttl_s,
                              .entry = {.display_name = CF_SLICE("response-wrapping"),
                                        .path = creation_path,
                                        .type = CF_SLICE("service"),
                                        .policies = &policy,
                                        .policy_count = 1,
                                        .num_uses = 1,
                                        .explicit_max_ttl_s = ttl_s,
                                        .is_wrapping = true}};
    struct wrap_info *info = arena_new_object(rq->arena, struct wrap_info);
    struct token_entry *entry;
    CF_TRY(token_create(rq, &spec, &info->token, &entry, err));
    txn_put(rq->txn, token_area_key(rq->arena, entry->ns, AREA_CUBBY, entry->key, RESPONSE_NAME), content);
    info->accessor = entry->accessor;
    info->creation_path = creation_path;
    info->creation_ns = entry->creation_ns;
    info->ttl_s = ttl_s;
    if (rq->response.auth != NULL) {
        info->wrapped_accessor = rq->response.auth->accessor;
    }
    *ret = info;
    return CF_OK;
}

cf_status wrapping_unwrap(struct request *rq, struct cf_slice token, struct cf_slice *ret,
                          struct cf_error *err)
{
    const struct token_entry *entry;
    cf_status status = token_lookup(rq->txn, rq->arena, token, &entry, err);
    if (status == CF_OK && entry->is_wrapping) {
        status = txn_get(rq->txn,
                         token_area_key(rq->arena, entry->ns, AREA_CUBBY, entry->key, RESPONSE_NAME), ret,
                         err);
    } else if (status == CF_OK) {
        status = CF_NOT_FOUND;
    }
    if (status == CF_NOT_FOUND || status == CF_DENIED) {
        return cf_fail(err, CF_INVALID, "wrapping token is not valid or does not exist");
    }
    CF_TRY(status);
    return token_revoke(rq->txn, rq->arena, entry, true, err);
}

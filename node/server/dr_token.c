/* node/server/dr_token.c: the DR operation token. */
#include "node/server/dr_token.h"

#include "node/base/memory.h"
#include "node/crypto/hash.h"
#include "node/format/encode.h"

#define DR_TOKEN_KEY                                                                               \
    ((struct key){CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(AREA_REPL "dr-operation-token")})

bool dr_token_is_due(struct node *node)
{
    struct view *view = core_view(node->core);
    bool due = view != NULL && view->role == ROLE_DR_SECONDARY;
    view_unref(view);
    return due;
}

cf_status dr_token_create(struct request *rq, struct cf_slice *ret, struct cf_error *err)
{
    CF_BUF(text) = {.secret = true};
    uint8_t digest[32];
    (void)err;
    cf_buf_add_str(&text, "s.");
    encode_base62_random(&text, rq->random, 24);
    *ret = arena_copy(rq->arena, cf_buf_slice(&text));
    hash_sha256(*ret, digest);
    txn_put(rq->txn, DR_TOKEN_KEY, cf_slice_of(digest, sizeof(digest)));
    return CF_OK;
}

cf_status dr_token_check(struct request *rq, struct cf_error *err)
{
    struct cf_slice given, stored;
    uint8_t digest[32];
    CF_TRY(request_string(rq, "dr_operation_token", &given, err));
    if (given.size == 0) {
        return cf_fail(err, CF_DENIED, "permission denied: a DR secondary needs "
                                       "dr_operation_token in the body");
    }
    cf_status status = txn_get(rq->txn, DR_TOKEN_KEY, &stored, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_DENIED, "permission denied: make a DR operation token first "
                                       "(operator generate-root -dr-token)");
    }
    CF_TRY(status);
    hash_sha256(given, digest);
    if (stored.size != sizeof(digest) || !cf_equal_secret(stored.data, digest, sizeof(digest))) {
        return cf_fail(err, CF_DENIED, "permission denied");
    }
    return CF_OK;
}

void dr_token_delete(struct request *rq)
{
    txn_delete(rq->txn, DR_TOKEN_KEY);
}

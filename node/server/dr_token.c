/* node/server/dr_token.c: the DR operation token. */
#include "node/server/dr_token.h"

#include "node/base/memory.h"
#include "node/core/cidr.h"
#include "node/core/engine.h"
#include "node/core/token.h"
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

/* Reads by a POST, which has a body for the operation token: whose policy says "read" meant those, too. */
static bool only_reads(const struct request *rq)
{
    return rq->route != NULL && rq->route->read != NULL && rq->route->read == rq->route->write;
}

static cf_status check_batch(struct request *rq, struct cf_slice given, struct cf_error *err)
{
    const struct token_entry *entry;
    bool allowed = false;
    cf_status status = token_lookup(rq->txn, rq->arena, given, &entry, err);
    if (status == CF_DENIED) {
        return cf_fail(err, CF_DENIED, "permission denied: dr_operation_token is unknown, was deleted, or "
                                       "its time is up");
    }
    CF_TRY(status);
    if (!cf_slice_is(entry->type, "batch") || entry->has_parent || entry->ns != NAMESPACE_ROOT) {
        return cf_fail(err, CF_DENIED, "permission denied: dr_operation_token takes the token of the "
                                       "ceremony, or an orphan batch token of the root namespace");
    }
    if (entry->bound_cidr_count != 0 &&
        !cidr_contains(entry->bound_cidrs, entry->bound_cidr_count, rq->remote_address)) {
        return cf_fail(err, CF_DENIED, "permission denied: the token is bound to other addresses");
    }
    CF_TRY(token_allows(rq, entry, rq->path, rq->operation, false, &allowed, err));
    if (!allowed && only_reads(rq)) {
        CF_TRY(token_allows(rq, entry, rq->path, OPERATION_READ, false, &allowed, err));
    }
    return allowed ? CF_OK
                   : cf_fail(err, CF_DENIED,
                             "permission denied: the policies of this batch token say nothing of "
                             "\"%.*s\"",
                             CF_SHOW(cf_slice_first(rq->path, 80)));
}

cf_status dr_token_check(struct request *rq, struct cf_error *err)
{
    struct cf_slice given, stored;
    uint8_t digest[32];
    CF_TRY(request_string(rq, "dr_operation_token", &given, err));
    if (given.size == 0) {
        return cf_fail(err, CF_DENIED, "permission denied: a DR secondary needs "
                                       "dr_operation_token in the body (operator generate-root "
                                       "-dr-token makes one)");
    }
    cf_status status = txn_get(rq->txn, DR_TOKEN_KEY, &stored, err);
    if (status != CF_OK && status != CF_NOT_FOUND) {
        return status;
    }
    hash_sha256(given, digest);
    if (status == CF_OK && stored.size == sizeof(digest) &&
        cf_equal_secret(stored.data, digest, sizeof(digest))) {
        return CF_OK;
    }
    return check_batch(rq, given, err);
}

void dr_token_delete(struct request *rq)
{
    txn_delete(rq->txn, DR_TOKEN_KEY);
}

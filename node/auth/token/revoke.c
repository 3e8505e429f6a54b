/* node/auth/token/revoke.c: ending tokens, one log entry for a tree. */
#include "node/auth/token/token_int.h"

static cf_status revoke(struct request *rq, const struct token_entry *entry, bool with_children,
                        struct cf_error *err)
{
    if (cf_slice_is(entry->type, "batch")) {
        return cf_fail(err, CF_INVALID, "batch tokens cannot be revoked");
    }
    return token_revoke(rq->txn, rq->arena, entry, with_children, err);
}

/* The token of the field "token". CF_NOT_FOUND when there is none of that id. */
static cf_status named_token(struct request *rq, const struct token_entry **ret,
                             struct cf_error *err)
{
    struct cf_slice id;
    CF_TRY(request_string(rq, "token", &id, err));
    if (id.size == 0) {
        return cf_fail(err, CF_INVALID, "missing token ID");
    }
    cf_status status = token_lookup(rq->txn, rq->arena, id, ret, err);
    bool is_hidden = status == CF_OK && !token_is_in_reach(rq, *ret);
    return status == CF_DENIED || is_hidden ? CF_NOT_FOUND : status;
}

cf_status token_revoke_one(struct request *rq, struct cf_error *err)
{
    const struct token_entry *entry;
    cf_status status = named_token(rq, &entry, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK; /* gone is what was asked for */
    }
    CF_TRY(status);
    return revoke(rq, entry, true, err);
}

cf_status token_revoke_self(struct request *rq, struct cf_error *err)
{
    return revoke(rq, rq->caller, true, err);
}

cf_status token_revoke_accessor(struct request *rq, struct cf_error *err)
{
    struct cf_slice accessor;
    const struct token_entry *entry;
    CF_TRY(request_string(rq, "accessor", &accessor, err));
    if (accessor.size == 0) {
        return cf_fail(err, CF_INVALID, "missing accessor");
    }
    cf_status status = token_by_accessor(rq->txn, rq->arena, rq->ns, accessor, &entry, err);
    if (status == CF_NOT_FOUND) {
        response_warn(rq, "No token found with this accessor");
        return CF_OK;
    }
    CF_TRY(status);
    return revoke(rq, entry, true, err);
}

cf_status token_revoke_orphan(struct request *rq, struct cf_error *err)
{
    const struct token_entry *entry;
    cf_status status = named_token(rq, &entry, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "token to revoke not found");
    }
    CF_TRY(status);
    return revoke(rq, entry, false, err);
}

cf_status token_tidy(struct request *rq, struct cf_error *err)
{
    (void)err;
    response_warn(rq,
                  "Nothing to tidy: a token, its accessor and its place in the tree come and go "
                  "in one log entry. Any background work is reported in the server's log.");
    rq->response.status = 202;
    return CF_OK;
}

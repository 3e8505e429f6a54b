/* node/core/sys/wrapping.c: sys/wrapping/: answers under a token of one use. */
#include "node/base/memory.h"
#include "node/core/sys/sys_int.h"
#include "node/core/token.h"
#include "node/format/timefmt.h"

static const char not_valid[] = "wrapping token is not valid or does not exist";
/* How envelope_write() begins; what is kept is what it wrote. */
static const char id_before[] = "{\"request_id\":\"";

/* The token of the body, else the request's own. */
static cf_status named_token(struct request *rq, struct cf_slice *ret, struct cf_error *err)
{
    CF_TRY(request_string(rq, "token", ret, err));
    if (ret->size == 0) {
        *ret = rq->token;
        return CF_OK;
    }
    /* A wrapping token opens its own content and is no identity to open others with. */
    if (rq->caller != NULL && rq->caller->is_wrapping && !cf_slice_eq(*ret, rq->token)) {
        return cf_fail(err, CF_DENIED, "1 error occurred:\n\t* permission denied\n\n");
    }
    return CF_OK;
}

static cf_status find_wrapping(struct request *rq, struct cf_slice token,
                               const struct token_entry **ret, struct cf_error *err)
{
    cf_status status =
        token.size != 0 ? token_lookup(rq->txn, rq->arena, token, ret, err) : CF_NOT_FOUND;
    if (status == CF_NOT_FOUND || status == CF_DENIED ||
        (status == CF_OK && !(*ret)->is_wrapping)) {
        return cf_fail(err, CF_INVALID, "%s", not_valid);
    }
    return status;
}

cf_status sys_wrapping_wrap(struct request *rq, struct cf_error *err)
{
    if (rq->wrap_ttl_s <= 0) {
        return cf_fail(err, CF_INVALID, "endpoint requires response wrapping to be used");
    }
    rq->response.data = rq->body != NULL ? rq->body : json_object_new(rq->arena);
    rq->response.no_unknown_parameter_warning = true;
    return CF_OK;
}

cf_status sys_wrapping_unwrap(struct request *rq, struct cf_error *err)
{
    const struct token_entry *entry;
    struct cf_slice token, content;
    CF_TRY(named_token(rq, &token, err));
    CF_TRY(find_wrapping(rq, token, &entry, err));
    struct cf_slice creation_path = arena_copy(rq->arena, entry->path);
    CF_TRY(wrapping_unwrap(rq, token, &content, err));
    if (rq->wrap_ttl_s > 0) { /* wrapped again, under the asked time */
        return wrapping_wrap(rq, rq->wrap_ttl_s, creation_path, content, &rq->response.wrap, err);
    }
    const size_t head = sizeof(id_before) - 1;
    if (content.size < head + ENCODE_UUID_TEXT ||
        !cf_slice_starts(content, cf_slice_str(id_before))) {
        return cf_fail(err, CF_CORRUPT, "wrapped content is malformed");
    }
    uint8_t *body = arena_alloc_raw(rq->arena, content.size);
    memcpy(body, content.data, content.size);
    memcpy(body + head, rq->id, ENCODE_UUID_TEXT);
    rq->response.raw = cf_slice_of(body, content.size);
    rq->response.content_type = "application/json";
    return CF_OK;
}

cf_status sys_wrapping_lookup(struct request *rq, struct cf_error *err)
{
    const struct token_entry *entry;
    struct cf_slice token;
    char time[TIMEFMT_SIZE];
    CF_TRY(named_token(rq, &token, err));
    CF_TRY(find_wrapping(rq, token, &entry, err));
    struct json *data = response_data(rq);
    timefmt_text(entry->creation_ns, time);
    json_set_text(rq->arena, data, "creation_time", time);
    json_set_int(rq->arena, data, "creation_ttl", entry->creation_ttl_s);
    json_set_string(rq->arena, data, "creation_path", entry->path);
    return CF_OK;
}

cf_status sys_wrapping_rewrap(struct request *rq, struct cf_error *err)
{
    const struct token_entry *entry;
    struct cf_slice token, content;
    struct json *kept;
    CF_TRY(named_token(rq, &token, err));
    CF_TRY(find_wrapping(rq, token, &entry, err));
    struct cf_slice creation_path = arena_copy(rq->arena, entry->path);
    int64_t ttl_s = entry->creation_ttl_s;
    CF_TRY(wrapping_unwrap(rq, token, &content, err));
    CF_TRY(wrapping_wrap(rq, ttl_s, creation_path, content, &rq->response.wrap, err));
    if (json_parse(rq->arena, content, NULL, &kept, NULL) == CF_OK) {
        rq->response.wrap->wrapped_accessor = json_get_string(json_get(kept, "auth"), "accessor");
    }
    return CF_OK;
}

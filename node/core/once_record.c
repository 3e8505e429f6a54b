/* node/core/once_record.c: the record of a forwarded request, read before its run and written with its
 * effect.
 *
 *     version (1) | flags (1) | digest of request and caller (32) | nonce (12) | answer, encrypted
 *
 * The digest is keyed with the one-time key, so that a record tells nothing of a request, and nobody without
 * the key can make a replay of it. The answer is `HTTP status (2) | size of the content type (1) | content
 * type | body`. The barrier seals the whole once more, like any record. */
#include "node/base/host.h"
#include "node/base/memory.h"
#include "node/core/envelope.h"
#include "node/core/frame_int.h"
#include "node/core/token.h"
#include "node/crypto/aead.h"
#include "node/crypto/hash.h"

#define RECORD_FORMAT 1
#define FLAG_DONE_ONLY 1 /* the answer was too large to keep */
#define DIGEST_SIZE ((size_t)32)
#define HEAD_SIZE ((size_t)(2 + 32 + 12))
#define FLOOR_KEY ((struct key){CLASS_CLUSTER, NAMESPACE_ROOT, CF_SLICE(AREA_REQUEST "floor")})

static struct key record_key(struct arena *arena, const struct once *once)
{
    CF_BUF(name) = {0};
    cf_buf_add_str(&name, AREA_REQUEST);
    cf_buf_add_u64(&name, once->group);
    cf_buf_add(&name, once->id, sizeof(once->id));
    return (struct key){CLASS_CLUSTER, NAMESPACE_ROOT, arena_copy(arena, cf_buf_slice(&name))};
}

static void add_part(struct cf_buf *to, struct cf_slice part)
{
    cf_buf_add_u32(to, (uint32_t)part.size);
    cf_buf_add_slice(to, part);
}

/* Over all that decides what the request does, as the transport brought it: the frame's own fields change
 * from run to run. */
static void digest_of(const struct request *rq, uint8_t digest[32])
{
    CF_BUF(text) = {.secret = true};
    CF_BUF(query) = {.secret = true};
    cf_buf_add_u32(&text, rq->is_write_method ? (uint32_t)OPERATION_UPDATE : (uint32_t)rq->operation);
    cf_buf_add_u32(&text, (uint32_t)rq->ns_header_size);
    cf_buf_add_u64(&text, (uint64_t)rq->wrap_ttl_s);
    add_part(&text, rq->full_path);
    add_part(&text, rq->token);
    add_part(&text, rq->raw_body);
    if (rq->query != NULL) {
        json_write_sorted(&query, rq->query);
    }
    add_part(&text, cf_buf_slice(&query));
    if (rq->foreign != NULL) {
        add_part(&text, rq->foreign->accessor);
        add_part(&text, rq->foreign->entity_id);
        add_part(&text, rq->foreign->display_name);
    }
    hash_hmac_sha256(cf_slice_of(rq->once.key, ONCE_KEY_SIZE), cf_buf_slice(&text), digest);
}

/* ---- before the run ---- */

static cf_status open_answer(struct request *rq, struct cf_slice record, struct cf_error *err)
{
    CF_OWNED(aead_key) key = NULL;
    struct aead_input input = {.aad = cf_slice_of(rq->once.id, ONCE_ID_SIZE)};
    struct cf_slice sealed = cf_slice_from(record, HEAD_SIZE);
    memcpy(input.nonce, record.data + HEAD_SIZE - sizeof(input.nonce), sizeof(input.nonce));
    uint8_t *plain = arena_alloc_raw(rq->arena, sealed.size);
    CF_TRY(aead_key_new(cf_slice_of(rq->once.key, ONCE_KEY_SIZE), &key, err));
    CF_TRY(aead_open(key, &input, sealed, plain, err));
    struct cf_slice answer = cf_slice_of(plain, sealed.size - AEAD_TAG_SIZE);
    if (answer.size < 3 || answer.size < (size_t)3 + answer.data[2]) {
        return cf_fail(err, CF_CORRUPT, "the record of a request is malformed");
    }
    struct cf_slice type = cf_slice_of(answer.data + 3, answer.data[2]);
    rq->response = (struct response){
        .status = answer.data[0] << 8 | answer.data[1],
        .raw = cf_slice_from(answer, 3 + type.size),
        .content_type = type.size != 0 ? arena_text(rq->arena, type) : "application/json"};
    return CF_OK;
}

static cf_status replay(struct request *rq, struct cf_slice record, struct cf_error *err)
{
    uint8_t digest[DIGEST_SIZE];
    if (record.size < HEAD_SIZE || record.data[0] != RECORD_FORMAT) {
        return cf_fail(err, CF_CORRUPT, "the record of a request is malformed");
    }
    digest_of(rq, digest);
    if (!cf_equal_secret(digest, record.data + 2, DIGEST_SIZE)) {
        return cf_fail(err, CF_INVALID, "the id of this request was used for another one");
    }
    rq->index = rq->view->index; /* its entry is at or below it */
    if ((record.data[1] & FLAG_DONE_ONLY) != 0) {
        rq->once.is_final = true;
        return cf_fail(err, CF_UNKNOWN_OUTCOME,
                       "the request was carried out, but its answer was lost on the way and too large "
                       "to keep: read what it has changed");
    }
    if (record.size < HEAD_SIZE + AEAD_TAG_SIZE) {
        return cf_fail(err, CF_CORRUPT, "the record of a request is malformed");
    }
    return open_answer(rq, record, err);
}

static cf_status read_floor(struct txn *txn, uint64_t *ret, struct cf_error *err)
{
    struct cf_slice value;
    cf_status status = txn_get(txn, FLOOR_KEY, &value, err);
    *ret = 0;
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    if (value.size != 9 || value.data[0] != RECORD_FORMAT) {
        return cf_fail(err, CF_CORRUPT, "the floor of request records is malformed");
    }
    *ret = cf_get_u64(value.data + 1);
    return CF_OK;
}

cf_status step_once(struct request *rq, bool *is_done, struct cf_error *err)
{
    struct cf_slice record;
    uint64_t floor;
    *is_done = false;
    if (!rq->is_forwarded || !rq->once.is_present) {
        return CF_OK;
    }
    cf_status found = txn_get(rq->txn, record_key(rq->arena, &rq->once), &record, err);
    if (found != CF_OK && found != CF_NOT_FOUND) {
        *is_done = true;
        return found;
    }
    CF_TRY(read_floor(rq->txn, &floor, err));
    uint64_t now = once_group(request_now_ns(rq));
    switch (once_judge(&rq->once, found == CF_OK, floor, now)) {
    case ONCE_RUN:
        *err = (struct cf_error){0};
        return CF_OK;
    case ONCE_REPLAY:
        *is_done = true;
        *err = (struct cf_error){0};
        return replay(rq, record, err);
    case ONCE_REGROUP:
        *is_done = true;
        rq->once.regroup = cf_max(now, floor);
        return cf_fail(err, CF_UNAVAILABLE, "the clocks of this node and the active one differ, try "
                                            "again");
    case ONCE_GONE:
        break;
    }
    *is_done = true;
    rq->once.is_final = true;
    return cf_fail(err, CF_UNKNOWN_OUTCOME, "%s", cf_status_text(CF_UNKNOWN_OUTCOME));
}

/* ---- with the effect ---- */

bool once_is_retry(const struct request *rq)
{
    return rq->is_forwarded && rq->once.is_present && rq->once.tries > 1;
}

static cf_status seal_answer(struct request *rq, struct cf_slice answer, struct cf_buf *to,
                             struct cf_error *err)
{
    CF_OWNED(aead_key) key = NULL;
    struct aead_input input = {.aad = cf_slice_of(rq->once.id, ONCE_ID_SIZE)};
    /* A run that loses the check is followed by another answer under the same key: no nonce twice. */
    cf_random_fill(rq->random, input.nonce, sizeof(input.nonce));
    cf_buf_add(to, input.nonce, sizeof(input.nonce));
    CF_TRY(aead_key_new(cf_slice_of(rq->once.key, ONCE_KEY_SIZE), &key, err));
    uint8_t *sealed = arena_alloc_raw(rq->arena, answer.size + AEAD_TAG_SIZE);
    CF_TRY(aead_seal(key, &input, answer, sealed, err));
    cf_buf_add(to, sealed, answer.size + AEAD_TAG_SIZE);
    return CF_OK;
}

cf_status step_record(struct request *rq, struct cf_error *err)
{
    if (!rq->is_forwarded || !rq->once.is_present) {
        return CF_OK;
    }
    /* Without an effect there is nothing to keep, unless an earlier try may still be on its way: this answer
     * has to be the last word on the id. */
    bool may_write = request_writes(rq) || (rq->route != NULL && (rq->route->flags & ROUTE_WRITE) != 0);
    if (!txn_has_writes(rq->txn) && (rq->once.tries <= 1 || !may_write)) {
        return CF_OK;
    }
    CF_BUF(answer) = {.secret = true};
    CF_BUF(record) = {0};
    uint8_t digest[DIGEST_SIZE];
    int status = envelope_status(rq);
    const char *type = rq->response.content_type != NULL ? rq->response.content_type : "";
    size_t type_size = cf_min(strlen(type), UINT8_MAX);
    cf_buf_add_byte(&answer, (uint8_t)(status >> 8));
    cf_buf_add_byte(&answer, (uint8_t)status);
    cf_buf_add_byte(&answer, (uint8_t)type_size);
    cf_buf_add(&answer, type, type_size);
    envelope_body(rq, &answer);
    bool is_large = answer.size > ONCE_ANSWER_MAX;
    digest_of(rq, digest);
    cf_buf_add_byte(&record, RECORD_FORMAT);
    cf_buf_add_byte(&record, is_large ? FLAG_DONE_ONLY : 0);
    cf_buf_add(&record, digest, sizeof(digest));
    CF_TRY(seal_answer(rq, is_large ? CF_SLICE_EMPTY : cf_buf_slice(&answer), &record, err));
    txn_put(rq->txn, record_key(rq->arena, &rq->once), cf_buf_slice(&record));
    return CF_OK;
}

/* ---- dropping what is old ---- */

struct oldest {
    uint64_t group;
    bool found;
};

static bool take_first(void *context, struct cf_slice rest)
{
    struct oldest *oldest = context;
    oldest->found = rest.size == 8 + ONCE_ID_SIZE;
    oldest->group = oldest->found ? cf_get_u64(rest.data) : 0;
    return false;
}

cf_status once_drop_old(struct txn *txn, struct cf_error *err)
{
    const struct view *view = txn_view(txn);
    const struct key all = {CLASS_CLUSTER, NAMESPACE_ROOT, CF_SLICE(AREA_REQUEST)};
    uint64_t limit = once_droppable(once_group(view_now_ns(view))), floor;
    unsigned dropped = 0;
    CF_TRY(read_floor(txn, &floor, err)); /* below it are only the marks of what was deleted */
    for (; dropped < ONCE_DROP_MAX; dropped++) {
        struct oldest oldest = {0};
        uint8_t after[8];
        cf_put_u64(after, floor);
        CF_TRY(view_walk(view, all, cf_slice_of(after, sizeof(after)), take_first, &oldest, err));
        if (!oldest.found || oldest.group >= limit) {
            break;
        }
        CF_BUF(name) = {0};
        cf_buf_add_str(&name, AREA_REQUEST);
        cf_buf_add_u64(&name, oldest.group);
        txn_delete_prefix(txn, (struct key){CLASS_CLUSTER, NAMESPACE_ROOT, cf_buf_slice(&name)});
        floor = oldest.group + 1;
    }
    if (dropped != 0) {
        CF_BUF(value) = {0};
        cf_buf_add_byte(&value, RECORD_FORMAT);
        cf_buf_add_u64(&value, floor);
        txn_put(txn, FLOOR_KEY, cf_buf_slice(&value));
    }
    return CF_OK;
}

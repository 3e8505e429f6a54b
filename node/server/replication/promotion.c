/* node/server/replication/promotion.c: see promotion.h. */
#include "node/server/replication/promotion.h"

#include "node/base/memory.h"
#include "node/crypto/sign.h"
#include "node/server/replication/routes.h"
#include "proto/message.h"
#include "proto/repl.pb-c.h"

#define SIGNATURE_SIZE ((size_t)64) /* Ed25519 */
#define AHEAD_MAX 1024u /* how far beyond its certificate an epoch's number may be: nobody shall use numbers up */

/* ---- bytes ---- */

static void signed_text(struct cf_slice statement, struct cf_buf *to)
{
    cf_buf_add_str(to, "coffer promotion certificate\n");
    cf_buf_add_slice(to, statement);
}

cf_status promotion_read(struct cf_slice bytes, struct arena *arena, struct promotion *ret,
                         struct cf_error *err)
{
    Coffer__Repl__Promotion *outer;
    Coffer__Repl__PromotionStatement *said;
    if (bytes.size > PROMOTION_MAX) {
        return cf_fail(err, CF_INVALID, "an oversize promotion certificate");
    }
    CF_TRY(message_unpack(coffer__repl__promotion, bytes, arena, &outer, err));
    CF_TRY(message_unpack(coffer__repl__promotion_statement, message_slice(outer->statement), arena, &said,
                          err));
    *ret = (struct promotion){.set_id = message_slice(said->set_id),
                              .id = message_slice(said->id),
                              .public_key = message_slice(said->public_key),
                              .statement = message_slice(outer->statement),
                              .signature = message_slice(outer->signature),
                              .serial = said->serial,
                              .epoch = {.number = said->epoch}};
    if (said->epoch_id.len != sizeof(ret->epoch.id) || said->serial == 0 || !repl_is_id(ret->id)) {
        return cf_fail(err, CF_INVALID, "a malformed promotion certificate");
    }
    memcpy(ret->epoch.id, said->epoch_id.data, sizeof(ret->epoch.id));
    return CF_OK;
}

static bool is_signed_by(const struct promotion *promotion, struct cf_slice public_der)
{
    CF_OWNED(sign_key) key = NULL;
    CF_BUF(text) = {0};
    signed_text(promotion->statement, &text);
    return sign_load_public(public_der, &key, NULL) == CF_OK &&
           sign_check(key, cf_buf_slice(&text), promotion->signature, NULL) == CF_OK;
}

/* ---- which are good ---- */

struct numbers {
    uint64_t issued, lowest; /* the newest; the lowest that is good */
};

static cf_status read_numbers(struct request *rq, struct cf_slice id, struct numbers *ret,
                              struct cf_error *err)
{
    struct cf_slice bytes;
    struct json *record;
    *ret = (struct numbers){0};
    cf_status status = txn_get(rq->txn, set_promotion_key(rq, id), &bytes, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    CF_TRY(record_decode(bytes, rq->arena, &record, err));
    ret->issued = (uint64_t)json_get_int(record, "issued");
    ret->lowest = (uint64_t)json_get_int(record, "lowest");
    return CF_OK;
}

static void write_numbers(struct request *rq, struct cf_slice id, const struct numbers *numbers)
{
    struct json *record = json_object_new(rq->arena);
    json_set_int(rq->arena, record, "issued", (int64_t)numbers->issued);
    json_set_int(rq->arena, record, "lowest", (int64_t)numbers->lowest);
    txn_put(rq->txn, set_promotion_key(rq, id), record_encode(rq->arena, record));
}

/* ---- the primary ---- */

static cf_status read_epoch(struct request *rq, struct repl_epoch *ret, struct cf_error *err)
{
    struct cf_slice bytes;
    struct repl_lineage *lineage = arena_new_object(rq->arena, struct repl_lineage);
    CF_TRY(txn_get(rq->txn, set_lineage_key(SET_PERFORMANCE), &bytes, err));
    CF_TRY(repl_lineage_decode(bytes, lineage, err));
    *ret = repl_lineage_current(lineage);
    return CF_OK;
}

cf_status promotion_issue(struct request *rq, struct cf_slice id, struct cf_slice public_key,
                          uint64_t keeps, struct cf_buf *ret, struct cf_error *err)
{
    struct cf_slice der;
    struct set_primary set;
    struct numbers numbers;
    struct repl_epoch epoch;
    CF_OWNED(sign_key) own = NULL;
    CF_OWNED(sign_key) theirs = NULL;
    CF_BUF(statement) = {0};
    CF_BUF(text) = {0};
    CF_BUF(signature) = {0};
    if (sign_load_public(public_key, &theirs, NULL) != CF_OK || sign_kind_of(theirs) != SIGN_ED25519) {
        return cf_fail(err, CF_INVALID, "a promotion certificate is made over an Ed25519 key");
    }
    CF_TRY(set_read_primary(rq, SET_PERFORMANCE, &set, err));
    CF_TRY(set_read_bytes(rq, set_line_key(SET_PERFORMANCE), &der, err));
    CF_TRY(sign_load_private(der, &own, err));
    CF_TRY(read_epoch(rq, &epoch, err));
    CF_TRY(read_numbers(rq, id, &numbers, err));
    numbers.lowest = cf_max(numbers.lowest, cf_min(keeps, numbers.issued));
    numbers.issued++;
    write_numbers(rq, id, &numbers);
    Coffer__Repl__PromotionStatement said = COFFER__REPL__PROMOTION_STATEMENT__INIT;
    said.set_id = message_bytes(set.id);
    said.id = message_bytes(id);
    said.serial = numbers.issued;
    said.public_key = message_bytes(public_key);
    said.epoch = epoch.number;
    said.epoch_id = message_bytes(cf_slice_of(epoch.id, sizeof(epoch.id)));
    message_pack(&said.base, &statement);
    signed_text(cf_buf_slice(&statement), &text);
    CF_TRY(sign_make(own, cf_buf_slice(&text), &signature, err));
    Coffer__Repl__Promotion outer = COFFER__REPL__PROMOTION__INIT;
    outer.statement = message_bytes(cf_buf_slice(&statement));
    outer.signature = message_bytes(cf_buf_slice(&signature));
    message_pack(&outer.base, ret);
    return CF_OK;
}

cf_status promotion_void(struct request *rq, struct cf_slice id, struct cf_error *err)
{
    struct numbers numbers;
    CF_TRY(read_numbers(rq, id, &numbers, err));
    if (numbers.issued != 0) {
        numbers.lowest = numbers.issued + 1;
        write_numbers(rq, id, &numbers);
    }
    return CF_OK;
}

/* ---- the secondary ---- */

bool promotion_is_current(struct request *rq, const struct set_link *link)
{
    struct promotion promotion;
    struct cf_slice trusted;
    return link->promotion.size != 0 &&
           promotion_read(link->promotion, rq->arena, &promotion, NULL) == CF_OK &&
           set_read_bytes(rq, set_line_public_key(SET_PERFORMANCE), &trusted, NULL) == CF_OK &&
           is_signed_by(&promotion, trusted);
}

uint64_t promotion_serial(const struct set_link *link)
{
    CF_OWNED(arena) arena = arena_new(2048);
    struct promotion promotion;
    return promotion_read(link->promotion, arena, &promotion, NULL) == CF_OK ? promotion.serial : 0;
}

cf_status promotion_check_own(struct request *rq, const struct set_link *link, struct cf_slice bytes,
                              struct cf_slice public_key, struct cf_error *err)
{
    struct promotion promotion;
    struct cf_slice trusted, at;
    struct repl_position position = {0};
    CF_TRY(promotion_read(bytes, rq->arena, &promotion, err));
    if (!cf_slice_eq(promotion.set_id, link->set_id) || !cf_slice_eq(promotion.id, link->secondary_id) ||
        !cf_slice_eq(promotion.public_key, public_key)) {
        return cf_fail(err, CF_DENIED, "the primary answered a promotion certificate of somebody else");
    }
    CF_TRY(set_read_bytes(rq, set_line_public_key(SET_PERFORMANCE), &trusted, err));
    if (!is_signed_by(&promotion, trusted)) {
        return cf_fail(err, CF_UNAVAILABLE, "the promotion certificate is not signed by the set's key as it "
                                            "is known here now");
    }
    CF_TRY(set_read_bytes(rq, set_position_key(SET_PERFORMANCE), &at, err));
    CF_TRY(repl_position_decode(at, &position, err));
    /* A promotion branches off where the state stands: an epoch that it has nothing of yet is left out. */
    return repl_epoch_equal(&position.epoch, &promotion.epoch)
               ? CF_OK
               : cf_fail(err, CF_UNAVAILABLE, "nothing of the promotion certificate's epoch is here yet");
}

/* Certificates of a proof; those of a bare signature are none. CF_CORRUPT or CF_INVALID for what is neither. */
static cf_status read_proof(struct cf_slice proof, struct arena *arena, struct cf_slice *signature,
                            struct cf_slice **ret, size_t *count, struct cf_error *err)
{
    Coffer__Repl__Proof *message;
    *count = 0;
    *signature = proof;
    if (proof.size == SIGNATURE_SIZE || proof.size == 0) {
        return CF_OK;
    }
    CF_TRY(message_unpack(coffer__repl__proof, proof, arena, &message, err));
    if (message->n_certificates > PROMOTION_CHAIN_MAX) {
        return cf_fail(err, CF_INVALID, "a proof of too many certificates");
    }
    *signature = message_slice(message->signature);
    *count = message->n_certificates;
    *ret = arena_alloc(arena, (*count + 1) * sizeof(struct cf_slice));
    for (size_t i = 0; i < *count; i++) {
        (*ret)[i] = message_slice(message->certificates[i]);
    }
    return CF_OK;
}

static void write_proof(struct arena *arena, struct cf_slice signature, const struct cf_slice *certificates,
                        size_t count, struct cf_buf *ret)
{
    Coffer__Repl__Proof message = COFFER__REPL__PROOF__INIT;
    message.signature = message_bytes(signature);
    message.certificates = arena_alloc(arena, (count + 1) * sizeof(ProtobufCBinaryData));
    message.n_certificates = count;
    for (size_t i = 0; i < count; i++) {
        message.certificates[i] = message_bytes(certificates[i]);
    }
    message_pack(&message.base, ret);
}

static cf_status take_key(struct request *rq, const struct set_link *link, struct cf_error *err)
{
    struct promotion promotion;
    struct cf_slice proof = CF_SLICE_EMPTY, ignored, *before = NULL, *chain;
    size_t count;
    CF_BUF(bytes) = {0};
    CF_TRY(promotion_read(link->promotion, rq->arena, &promotion, err));
    cf_status status = set_read_bytes(rq, set_proof_key(SET_PERFORMANCE), &proof, err);
    if (status != CF_OK && status != CF_NOT_FOUND) {
        return status;
    }
    if (status == CF_NOT_FOUND || read_proof(proof, rq->arena, &ignored, &before, &count, NULL) != CF_OK) {
        count = 0; /* it was under the first key that the set had */
    }
    size_t first = count < PROMOTION_CHAIN_MAX ? 0 : count + 1 - PROMOTION_CHAIN_MAX;
    chain = arena_alloc(rq->arena, (count + 1) * sizeof(struct cf_slice));
    for (size_t i = first; i < count; i++) {
        chain[i - first] = before[i];
    }
    chain[count - first] = link->promotion;
    write_proof(rq->arena, CF_SLICE_EMPTY, chain, count - first + 1, &bytes);
    txn_put(rq->txn, set_chain_key(), cf_buf_slice(&bytes));
    txn_put(rq->txn, set_line_key(SET_PERFORMANCE), link->promotion_key);
    txn_put(rq->txn, set_line_public_key(SET_PERFORMANCE), promotion.public_key);
    return CF_OK;
}

static cf_status take_new_key(struct request *rq, struct cf_error *err)
{
    CF_OWNED(sign_key) key = NULL;
    CF_OWNED(secret) der = NULL;
    CF_BUF(public_der) = {0};
    CF_TRY(sign_generate(SIGN_ED25519, &key, err));
    CF_TRY(sign_private_der(key, &der, err));
    CF_TRY(sign_public_der(key, &public_der, err));
    txn_delete(rq->txn, set_chain_key());
    txn_put(rq->txn, set_line_key(SET_PERFORMANCE), secret_slice(der));
    txn_put(rq->txn, set_line_public_key(SET_PERFORMANCE), cf_buf_slice(&public_der));
    return CF_OK;
}

cf_status promotion_use(struct request *rq, const struct set_link *link, bool *ret_proves,
                        struct cf_error *err)
{
    struct cf_slice ignored;
    *ret_proves = true;
    cf_status status = txn_get(rq->txn, set_position_key(SET_PERFORMANCE), &ignored, err);
    if (status == CF_NOT_FOUND) {
        /* It never followed since it was demoted: its own epoch goes on, and so does its key. */
        status = txn_get(rq->txn, set_line_key(SET_PERFORMANCE), &ignored, err);
        return status == CF_NOT_FOUND ? take_new_key(rq, err) : status;
    }
    CF_TRY(status);
    *ret_proves = link->promotion.size != 0;
    return *ret_proves ? take_key(rq, link, err) : take_new_key(rq, err);
}

/* ---- proofs ---- */

void promotion_proof(struct request *rq, struct cf_slice signature, struct cf_buf *ret)
{
    struct cf_slice bytes, ignored, *chain = NULL;
    size_t count = 0;
    bool has_chain = set_read_bytes(rq, set_chain_key(), &bytes, NULL) == CF_OK &&
                     read_proof(bytes, rq->arena, &ignored, &chain, &count, NULL) == CF_OK && count != 0;
    if (has_chain) {
        write_proof(rq->arena, signature, chain, count, ret);
    } else {
        cf_buf_add_slice(ret, signature);
    }
}

/* One certificate of a chain, made by whoever had `key`. */
static cf_status check_link(struct request *rq, const struct promotion *promotion, struct cf_slice key,
                            const struct repl_lineage *lineage, int *place, struct cf_error *err)
{
    struct numbers numbers;
    if (!is_signed_by(promotion, key)) {
        return cf_fail(err, CF_DENIED, "the promotion certificate of \"%.*s\" is not signed by the set's key",
                       CF_SHOW(promotion->id));
    }
    CF_TRY(read_numbers(rq, promotion->id, &numbers, err));
    if (promotion->serial < numbers.lowest) {
        return cf_fail(err, CF_DENIED, "the promotion certificate %llu of \"%.*s\" is void: it was %s",
                       (unsigned long long)promotion->serial, CF_SHOW(promotion->id),
                       numbers.lowest > numbers.issued ? "revoked" : "replaced by a newer one, or revoked");
    }
    int at = repl_lineage_find(lineage, &promotion->epoch);
    if (at <= *place || (size_t)at + 1 >= lineage->count) {
        return cf_fail(err, CF_DENIED, "the promotion certificate of \"%.*s\" is of epoch %u, which that "
                                       "lineage does not build on",
                       CF_SHOW(promotion->id), promotion->epoch.number);
    }
    if (repl_lineage_current(lineage).number - promotion->epoch.number > AHEAD_MAX) {
        return cf_fail(err, CF_DENIED, "an epoch of number %u is too far beyond the promotion certificate's, "
                                       "%u",
                       repl_lineage_current(lineage).number, promotion->epoch.number);
    }
    *place = at;
    return CF_OK;
}

cf_status promotion_verify(struct request *rq, struct cf_slice trusted, const struct repl_lineage *lineage,
                           struct cf_slice text, struct cf_slice proof, struct cf_error *err)
{
    struct cf_slice signature, *certificates = NULL;
    size_t count, first = 0;
    int place = -1;
    CF_OWNED(sign_key) key = NULL;
    if (proof.size == 0) {
        return cf_fail(err, CF_DENIED, "there is no proof");
    }
    CF_TRY(read_proof(proof, rq->arena, &signature, &certificates, &count, err));
    struct promotion *chain = arena_alloc(rq->arena, (count + 1) * sizeof(*chain));
    for (size_t i = 0; i < count; i++) {
        CF_TRY(promotion_read(certificates[i], rq->arena, &chain[i], err));
        first = cf_slice_eq(chain[i].public_key, trusted) ? i + 1 : first; /* what led here is known */
    }
    for (size_t i = first; i < count; i++) {
        CF_TRY(check_link(rq, &chain[i], trusted, lineage, &place, err));
        trusted = chain[i].public_key;
    }
    CF_TRY(sign_load_public(trusted, &key, err));
    return sign_check(key, text, signature, NULL) == CF_OK
               ? CF_OK
               : cf_fail(err, CF_DENIED, "the claim is not signed by the set's key");
}

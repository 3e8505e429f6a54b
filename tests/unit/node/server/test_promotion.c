/* tests/unit/node/server/test_promotion.c: promotion certificates: made, renewed, revoked, and what they prove. */
#include "node/base/memory.h"
#include "node/crypto/sign.h"
#include "node/server/replication/promotion.h"
#include "proto/message.h"
#include "proto/repl.pb-c.h"
#include "repl_world.h"

#define P "sys/replication/performance/"

/* A key pair, and the certificate over it. */
struct holder {
    struct sign_key *key;
    struct cf_buf public_der, certificate;
};

static struct holder b, d;
static struct repl_lineage lineage;
static const char *asked_id;
static struct holder *asked;
static uint64_t keeps;
static struct cf_buf first_key; /* of the set */

static void holder_init(struct holder *holder)
{
    *holder = (struct holder){0};
    ck_ok(sign_generate(SIGN_ED25519, &holder->key, NULL));
    ck_ok(sign_public_der(holder->key, &holder->public_der, NULL));
}

static void holder_done(struct holder *holder)
{
    sign_key_free(holder->key);
    cf_buf_done(&holder->public_der);
    cf_buf_done(&holder->certificate);
}

static cf_status read_world(struct request *rq, struct cf_error *err)
{
    struct cf_slice bytes;
    cf_buf_reset(&first_key);
    CF_TRY(set_read_bytes(rq, set_line_public_key(SET_PERFORMANCE), &bytes, err));
    cf_buf_add_slice(&first_key, bytes);
    CF_TRY(set_read_bytes(rq, set_lineage_key(SET_PERFORMANCE), &bytes, err));
    return repl_lineage_decode(bytes, &lineage, err);
}

static cf_status do_issue(struct request *rq, struct cf_error *err)
{
    cf_buf_reset(&asked->certificate);
    return promotion_issue(rq, cf_slice_str(asked_id), cf_buf_slice(&asked->public_der), keeps,
                           &asked->certificate, err);
}

static void issue(struct holder *holder, const char *id, uint64_t kept)
{
    asked = holder;
    asked_id = id;
    keeps = kept;
    ck_run(do_issue);
}

static void begin(void)
{
    world_begin();
    ck_post(200, P "primary/enable", "{}");
    ck_post(200, P "primary/secondary-token", "{\"id\":\"b\"}");
    ck_run(read_world);
    holder_init(&b);
    holder_init(&d);
}

static void end(void)
{
    holder_done(&b);
    holder_done(&d);
    cf_buf_done(&first_key);
    world_end();
}

/* ---- claims ---- */

static struct cf_buf claim_text, claim_proof;
static struct repl_lineage claimed;
static cf_status verdict;
static struct cf_error fault;

static cf_status do_verify(struct request *rq, struct cf_error *err)
{
    (void)err;
    fault = (struct cf_error){0};
    verdict = promotion_verify(rq, cf_buf_slice(&first_key), &claimed, cf_buf_slice(&claim_text),
                               cf_buf_slice(&claim_proof), &fault);
    return CF_OK;
}

/* The world's lineage and `more` epochs of others behind it. */
static void claim_epochs(unsigned more, uint32_t step)
{
    claimed = lineage;
    for (unsigned i = 0; i < more; i++) {
        struct repl_epoch before = repl_lineage_current(&claimed);
        struct repl_epoch epoch = {.number = before.number + step, .id = {(uint8_t)(i + 1), 7}};
        struct repl_position at = {before, 3, 40 + i};
        ck_ok(repl_lineage_raise(&claimed, &epoch, &at, NULL));
    }
    cf_buf_reset(&claim_text);
    cf_buf_add_str(&claim_text, "claim\n");
    repl_lineage_encode(&claimed, &claim_text);
}

static void prove(const struct sign_key *key, size_t count, const struct holder *const *chain)
{
    CF_BUF(signature) = {0};
    Coffer__Repl__Proof message = COFFER__REPL__PROOF__INIT;
    ProtobufCBinaryData certificates[4];
    ck_ok(sign_make(key, cf_buf_slice(&claim_text), &signature, NULL));
    for (size_t i = 0; i < count; i++) {
        certificates[i] = message_bytes(cf_buf_slice(&chain[i]->certificate));
    }
    message.signature = message_bytes(cf_buf_slice(&signature));
    message.n_certificates = count;
    message.certificates = certificates;
    cf_buf_reset(&claim_proof);
    message_pack(&message.base, &claim_proof);
}

static void ck_proved(void)
{
    ck_run(do_verify);
    ck_assert_msg(verdict == CF_OK, "%s", fault.message);
}

static void ck_unproved(const char *words)
{
    ck_run(do_verify);
    ck_assert_int_ne(verdict, CF_OK);
    ck_assert_msg(strstr(fault.message, words) != NULL, "\"%s\" does not say \"%s\"", fault.message, words);
}

static const struct holder *const only_b[] = {&b};
static const struct holder *const b_then_d[] = {&b, &d};

static void claims_done(void)
{
    cf_buf_done(&claim_text);
    cf_buf_done(&claim_proof);
    end();
}

START_TEST(proves_the_next_epoch)
{
    begin();
    issue(&b, "b", 0);
    claim_epochs(1, 1);
    prove(b.key, 1, only_b);
    ck_proved();
    claim_epochs(3, 1); /* later epochs of b's line, by the same key */
    prove(b.key, 1, only_b);
    ck_proved();
    claims_done();
}
END_TEST

START_TEST(forged_claims_prove_nothing)
{
    begin();
    issue(&b, "b", 0);
    claim_epochs(1, 1);
    cf_buf_reset(&claim_proof);
    ck_unproved("there is no proof");
    prove(d.key, 1, only_b); /* the certificate without its key */
    ck_unproved("not signed by the set's key");
    prove(b.key, 0, NULL); /* the key without its certificate */
    ck_unproved("not signed by the set's key");
    prove(b.key, 1, only_b); /* sound, for another lineage */
    claim_epochs(2, 1);
    ck_unproved("not signed by the set's key");
    claim_epochs(0, 1); /* nothing was raised */
    prove(b.key, 1, only_b);
    ck_unproved("does not build on");
    claim_epochs(1, 5000); /* numbers are not used up */
    prove(b.key, 1, only_b);
    ck_unproved("too far beyond");
    claim_epochs(1, 1);
    prove(b.key, 1, only_b);
    for (size_t size = 0; size < claim_proof.size; size++) { /* cut anywhere */
        size_t whole = claim_proof.size;
        claim_proof.size = size;
        ck_run(do_verify);
        ck_assert_int_ne(verdict, CF_OK);
        claim_proof.size = whole;
    }
    for (size_t i = 0; i < claim_proof.size; i++) { /* any byte bent */
        claim_proof.data[i] ^= 1;
        ck_run(do_verify);
        ck_assert_int_ne(verdict, CF_OK);
        claim_proof.data[i] ^= 1;
    }
    ck_proved();
    claims_done();
}
END_TEST

/* Signed with the key of another set, whatever it says of itself. */
START_TEST(another_set_proves_nothing)
{
    begin();
    issue(&b, "b", 0);
    claim_epochs(1, 1);
    prove(b.key, 1, only_b);
    ck_proved();
    cf_buf_reset(&first_key);
    cf_buf_add_slice(&first_key, cf_buf_slice(&d.public_der)); /* what we trust is another one's */
    ck_unproved("not signed by the set's key");
    claims_done();
}
END_TEST

START_TEST(revoked_and_replaced_ones_are_void)
{
    begin();
    issue(&b, "b", 0);
    struct holder first = b;
    holder_init(&b);
    issue(&b, "b", 1); /* the answer may be lost: both are good */
    claim_epochs(1, 1);
    const struct holder *const only_first[] = {&first};
    prove(first.key, 1, only_first);
    ck_proved();
    prove(b.key, 1, only_b);
    ck_proved();
    issue(&d, "b", 2); /* it keeps the second */
    prove(first.key, 1, only_first);
    ck_unproved("is void");
    prove(b.key, 1, only_b);
    ck_proved();
    ck_post(200, P "primary/revoke-secondary", "{\"id\":\"b\"}");
    prove(b.key, 1, only_b);
    ck_unproved("revoked");
    const struct holder *const only_d[] = {&d};
    prove(d.key, 1, only_d);
    ck_unproved("revoked");
    /* A new secondary of the same id does not bring them back, nor does forgetting the entry. */
    ck_post(200, P "primary/secondary-token", "{\"id\":\"b\"}");
    struct holder fresh;
    holder_init(&fresh);
    issue(&fresh, "b", 0);
    prove(d.key, 1, only_d);
    ck_unproved("is void");
    const struct holder *const only_fresh[] = {&fresh};
    prove(fresh.key, 1, only_fresh);
    ck_proved();
    holder_done(&fresh);
    holder_done(&first);
    claims_done();
}
END_TEST

/* A secondary that lies about what it keeps voids its own, and nobody else's. */
START_TEST(a_made_up_serial)
{
    begin();
    issue(&b, "b", UINT64_MAX);
    claim_epochs(1, 1);
    prove(b.key, 1, only_b);
    ck_proved();
    issue(&d, "b", UINT64_MAX);
    const struct holder *const only_d[] = {&d};
    prove(d.key, 1, only_d);
    ck_proved();
    claims_done();
}
END_TEST

static const struct sign_key *signer;
static struct repl_epoch signed_epoch;

/* As b, promoted, makes one for d. */
static void issue_by_b(struct holder *holder)
{
    CF_BUF(statement) = {0};
    CF_BUF(text) = {0};
    CF_BUF(signature) = {0};
    Coffer__Repl__PromotionStatement said = COFFER__REPL__PROMOTION_STATEMENT__INIT;
    Coffer__Repl__Promotion outer = COFFER__REPL__PROMOTION__INIT;
    said.id = message_bytes(CF_SLICE("d"));
    said.serial = 1;
    said.public_key = message_bytes(cf_buf_slice(&holder->public_der));
    said.epoch = signed_epoch.number;
    said.epoch_id = message_bytes(cf_slice_of(signed_epoch.id, sizeof(signed_epoch.id)));
    message_pack(&said.base, &statement);
    cf_buf_add_str(&text, "coffer promotion certificate\n");
    cf_buf_add_slice(&text, cf_buf_slice(&statement));
    ck_ok(sign_make(signer, cf_buf_slice(&text), &signature, NULL));
    outer.statement = message_bytes(cf_buf_slice(&statement));
    outer.signature = message_bytes(cf_buf_slice(&signature));
    cf_buf_reset(&holder->certificate);
    message_pack(&outer.base, &holder->certificate);
}

/* The primary heard of neither promotion: it checks the whole way. Who knows b's key begins there. */
START_TEST(two_promotions_in_a_row)
{
    begin();
    issue(&b, "b", 0);
    claim_epochs(2, 1);
    signer = b.key;
    signed_epoch = claimed.branches[1].epoch;
    issue_by_b(&d);
    prove(d.key, 2, b_then_d);
    ck_proved();
    const struct holder *const only_d[] = {&d};
    prove(d.key, 1, only_d);
    ck_unproved("not signed by the set's key");
    struct cf_buf original = first_key;
    first_key = (struct cf_buf){0};
    cf_buf_add_slice(&first_key, cf_buf_slice(&b.public_der));
    ck_proved();
    prove(d.key, 2, b_then_d);
    ck_proved();
    cf_buf_done(&first_key);
    first_key = original;
    signed_epoch = claimed.branches[0].epoch; /* b can't have made one before it was promoted */
    issue_by_b(&d);
    prove(d.key, 2, b_then_d);
    ck_unproved("does not build on");
    claims_done();
}
END_TEST

/* ---- the secondary's promotion ---- */

static bool with_certificate, proves;
static struct cf_buf kept_chain, set_public;

static cf_status do_use(struct request *rq, struct cf_error *err)
{
    CF_BUF(at) = {0};
    CF_OWNED(secret) der = NULL;
    struct set_link link = {.set_id = CF_SLICE("set"), .secondary_id = CF_SLICE("b")};
    struct repl_position position = {repl_lineage_current(&lineage), 3, 40};
    repl_position_encode(&position, &at);
    txn_put(rq->txn, set_position_key(SET_PERFORMANCE), cf_buf_slice(&at));
    CF_TRY(sign_private_der(b.key, &der, err));
    if (with_certificate) {
        link.promotion = cf_buf_slice(&b.certificate);
        link.promotion_key = arena_copy(rq->arena, secret_slice(der));
    }
    return promotion_use(rq, &link, &proves, err);
}

static cf_status do_read_keys(struct request *rq, struct cf_error *err)
{
    struct cf_slice bytes;
    cf_buf_reset(&set_public);
    cf_buf_reset(&kept_chain);
    if (set_read_bytes(rq, set_chain_key(), &bytes, NULL) == CF_OK) {
        cf_buf_add_slice(&kept_chain, bytes);
    }
    CF_TRY(set_read_bytes(rq, set_line_public_key(SET_PERFORMANCE), &bytes, err));
    cf_buf_add_slice(&set_public, bytes);
    return CF_OK;
}

static cf_status do_make_proof(struct request *rq, struct cf_error *err)
{
    struct cf_slice der;
    CF_OWNED(sign_key) key = NULL;
    CF_BUF(signature) = {0};
    CF_TRY(set_read_bytes(rq, set_line_key(SET_PERFORMANCE), &der, err));
    CF_TRY(sign_load_private(der, &key, err));
    CF_TRY(sign_make(key, cf_buf_slice(&claim_text), &signature, err));
    cf_buf_reset(&claim_proof);
    promotion_proof(rq, cf_buf_slice(&signature), &claim_proof);
    return CF_OK;
}

START_TEST(the_certificates_key_becomes_the_sets)
{
    begin();
    claim_epochs(1, 1);
    ck_run(do_make_proof); /* before: the first key alone */
    ck_assert_uint_eq(claim_proof.size, 64);
    ck_proved();
    issue(&b, "b", 0);
    with_certificate = true;
    ck_run(do_use);
    ck_assert(proves);
    ck_run(do_read_keys);
    ck_assert(cf_slice_eq(cf_buf_slice(&set_public), cf_buf_slice(&b.public_der)));
    ck_assert_uint_ne(kept_chain.size, 0);
    ck_run(do_make_proof);
    ck_assert_uint_gt(claim_proof.size, 64);
    ck_proved(); /* to who trusts the first key */
    cf_buf_done(&set_public);
    cf_buf_done(&kept_chain);
    claims_done();
}
END_TEST

START_TEST(without_a_certificate_a_new_key_proves_nothing)
{
    begin();
    claim_epochs(1, 1);
    with_certificate = false;
    ck_run(do_use);
    ck_assert(!proves);
    ck_run(do_read_keys);
    ck_assert(!cf_slice_eq(cf_buf_slice(&set_public), cf_buf_slice(&first_key)));
    ck_assert_uint_eq(kept_chain.size, 0);
    ck_run(do_make_proof);
    ck_unproved("not signed by the set's key");
    cf_buf_done(&set_public);
    cf_buf_done(&kept_chain);
    claims_done();
}
END_TEST

TEST_MAIN("node/server/replication/promotion", proves_the_next_epoch, forged_claims_prove_nothing, another_set_proves_nothing,
          revoked_and_replaced_ones_are_void, a_made_up_serial, two_promotions_in_a_row,
          the_certificates_key_becomes_the_sets, without_a_certificate_a_new_key_proves_nothing)

/* tests/lib/stranger.c
 *
 * Somebody with a secondary's credentials who claims what is not so. Prints a public key (base64), reads lines:
 *     the package that a token was redeemed for with that key (base64)
 *     NUMBER ID PROOF     ID: uuid of the primary's first epoch; the claim is epoch NUMBER behind it
 * PROOF: "none", "made-up" (signed with a key of our own), "certified" (with a promotion certificate of our own
 * making, too). Prints the package as JSON, then one line an answer: "fenced: ..." or "refused: ...", then ends.
 */
#include <stdio.h>
#include <stdlib.h>

#include "node/base/host.h"
#include "node/base/memory.h"
#include "node/crypto/box.h"
#include "node/crypto/random.h"
#include "node/crypto/sign.h"
#include "node/format/encode.h"
#include "node/format/json.h"
#include "node/server/replication/package.h"
#include "proto/message.h"
#include "proto/repl.pb-c.h"
#include "replication/driver/driver.h"

static struct repl_lineage lineage;
static struct cf_buf proof;
static struct loop *loop;

static void want(cf_status status, const struct cf_error *err)
{
    if (status != CF_OK) {
        (void)fprintf(stderr, "stranger: %s\n", err->message);
        exit(2);
    }
}

static struct cf_slice read_line(char *room, size_t size)
{
    if (fgets(room, (int)size, stdin) == NULL) {
        exit(0);
    }
    room[strcspn(room, "\n")] = '\0';
    return cf_slice_str(room);
}

static void h_lineage(void *ctx, enum repl_kind kind, struct repl_lineage *ret)
{
    (void)ctx;
    (void)kind;
    *ret = lineage;
}

static void h_claim_sign(void *ctx, enum repl_kind kind, struct cf_buf *ret)
{
    (void)ctx;
    (void)kind;
    cf_buf_add_slice(ret, cf_buf_slice(&proof));
}

static void heard(void *ctx, bool fenced, const char *text)
{
    (void)ctx;
    (void)printf("%s: %s\n", fenced ? "fenced" : "refused", text);
    (void)fflush(stdout);
    loop_stop(loop);
}

static void sign_text(const struct sign_key *key, const char *what, struct cf_slice bytes, struct cf_buf *ret)
{
    CF_BUF(text) = {0};
    struct cf_error err;
    cf_buf_add_str(&text, what);
    cf_buf_add_slice(&text, bytes);
    want(sign_make(key, cf_buf_slice(&text), ret, &err), &err);
}

/* As the primary would have made it, but signed by ourselves. */
static void certify(const struct sign_key *key, struct cf_slice id, struct cf_slice set_id, struct cf_buf *ret)
{
    CF_BUF(public_der) = {0};
    CF_BUF(statement) = {0};
    CF_BUF(signature) = {0};
    struct cf_error err;
    const struct repl_epoch *first = &lineage.branches[0].epoch;
    Coffer__Repl__PromotionStatement said = COFFER__REPL__PROMOTION_STATEMENT__INIT;
    Coffer__Repl__Promotion outer = COFFER__REPL__PROMOTION__INIT;
    want(sign_public_der(key, &public_der, &err), &err);
    said.set_id = message_bytes(set_id);
    said.id = message_bytes(id);
    said.serial = 1000000;
    said.public_key = message_bytes(cf_buf_slice(&public_der));
    said.epoch = first->number;
    said.epoch_id = message_bytes(cf_slice_of(first->id, sizeof(first->id)));
    message_pack(&said.base, &statement);
    sign_text(key, "coffer promotion certificate\n", cf_buf_slice(&statement), &signature);
    outer.statement = message_bytes(cf_buf_slice(&statement));
    outer.signature = message_bytes(cf_buf_slice(&signature));
    message_pack(&outer.base, ret);
}

static void make_proof(const char *how, const struct set_link *link)
{
    CF_OWNED(sign_key) key = NULL;
    CF_BUF(bytes) = {0};
    CF_BUF(signature) = {0};
    CF_BUF(certificate) = {0};
    struct cf_error err;
    if (strcmp(how, "none") == 0) {
        return;
    }
    want(sign_generate(SIGN_ED25519, &key, &err), &err);
    repl_lineage_encode(&lineage, &bytes);
    sign_text(key, "coffer lineage claim\n", cf_buf_slice(&bytes), &signature);
    if (strcmp(how, "made-up") == 0) {
        cf_buf_add_slice(&proof, cf_buf_slice(&signature));
        return;
    }
    certify(key, link->secondary_id, link->set_id, &certificate);
    ProtobufCBinaryData one = message_bytes(cf_buf_slice(&certificate));
    Coffer__Repl__Proof message = COFFER__REPL__PROOF__INIT;
    message.signature = message_bytes(cf_buf_slice(&signature));
    message.n_certificates = 1;
    message.certificates = &one;
    message_pack(&message.base, &proof);
}

static void raise_epoch(uint32_t number, const char *id)
{
    struct uuid uuid;
    struct cf_error err;
    want(encode_uuid_parse(cf_slice_str(id), &uuid, &err), &err);
    struct repl_epoch first = {.number = 1}, next = {.number = number, .id = {6, 6, 6}};
    memcpy(first.id, uuid.bytes, sizeof(first.id));
    struct repl_position at = {first, 1, 5};
    want(repl_lineage_raise(&lineage, &first, NULL, &err), &err);
    want(repl_lineage_raise(&lineage, &next, &at, &err), &err);
}

static void show(const struct package *package)
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_BUF(key) = {.secret = true};
    CF_BUF(text) = {.secret = true};
    struct json *json = json_object_new(arena);
    encode_base64(&key, package->link.key);
    json_set_string(arena, json, "cert", package->link.cert);
    json_set_string(arena, json, "ca", package->link.ca);
    json_set_string(arena, json, "key", cf_buf_slice(&key));
    json_write(&text, json);
    (void)printf("%.*s\n", CF_SHOW(cf_buf_slice(&text)));
    (void)fflush(stdout);
}

static void claim(const struct package *package)
{
    struct cf_error err;
    struct repl_address_list addresses = {0};
    CF_OWNED(secret) key = secret_copy(package->link.key);
    CF_OWNED(node_tls) tls = NULL;
    CF_OWNED(repl_claimant) claimant = NULL;
    struct repl_host host = {.lineage = h_lineage, .claim_sign = h_claim_sign};
    struct rpc_config config = {loop, random_system(), "1", "", ""};
    struct rpc *rpc = rpc_new(&config);
    struct repl_driver_config driver_config = {
        .loop = loop, .rpc = rpc, .clock = cf_host_clock(), .random = random_system(), .host = &host};
    struct repl_driver *driver = repl_driver_new(&driver_config);
    for (size_t i = 0; i < package->link.address_count; i++) {
        (void)repl_address_add(&addresses, package->link.addresses[i]);
    }
    CF_BUF(set_id) = {0};
    cf_buf_add_slice(&set_id, package->link.set_id);
    want(node_tls_new(package->link.cert, key, package->link.ca, &tls, &err), &err);
    struct repl_claimant_config claimant_config = {.kind = REPL_PERFORMANCE,
                                                   .set_id = cf_buf_text(&set_id),
                                                   .tls = tls,
                                                   .addresses = &addresses,
                                                   .heard = heard};
    want(repl_claimant_new(driver, &claimant_config, &claimant, &err), &err);
    loop_run(loop);
    repl_claimant_free(claimant);
    claimant = NULL;
    repl_driver_free(driver);
    rpc_free(rpc);
}

int main(void)
{
    static char line[65536];
    uint8_t public_key[BOX_PUBLIC_SIZE];
    char id[64], how[16];
    unsigned number;
    CF_OWNED(secret) private_key = NULL;
    CF_OWNED(arena) arena = arena_new(65536);
    CF_BUF(text) = {0};
    CF_BUF(sealed) = {0};
    struct package package;
    struct cf_error err = {0};
    loop_process_init();
    want(box_key_new(public_key, &private_key, &err), &err);
    encode_base64(&text, cf_slice_of(public_key, sizeof(public_key)));
    (void)printf("%s\n", cf_buf_text(&text));
    (void)fflush(stdout);
    want(encode_base64_decode(&sealed, read_line(line, sizeof(line)), &err), &err);
    want(package_open(arena, secret_slice(private_key), cf_buf_slice(&sealed), &package, &err), &err);
    show(&package);
    (void)read_line(line, sizeof(line));
    if (sscanf(line, "%u %63s %15s", &number, id, how) != 3) {
        (void)fprintf(stderr, "stranger: NUMBER ID PROOF\n");
        return 2;
    }
    raise_epoch(number, id);
    make_proof(how, &package.link);
    want(loop_new(&loop, &err), &err);
    claim(&package);
    loop_free(loop);
    cf_buf_done(&proof);
    return 0;
}

/* node/crypto/box.c: X25519, HKDF-SHA-256 and AES-256-GCM put together into a sealed box. */
#include "node/crypto/box.h"

#include "node/base/memory.h"
#include "node/crypto/aead.h"
#include "node/crypto/crypto_int.h"
#include "node/crypto/hash.h"
#include "node/crypto/random.h"

#define FORMAT 1
#define HEAD_SIZE (1 + BOX_PUBLIC_SIZE)

static EVP_PKEY *private_of(struct cf_slice bytes)
{
    return bytes.size == BOX_PRIVATE_SIZE
               ? EVP_PKEY_new_raw_private_key_ex(NULL, "X25519", NULL, bytes.data, bytes.size)
               : NULL;
}

static bool public_bytes(const EVP_PKEY *pkey, uint8_t out[32])
{
    size_t size = BOX_PUBLIC_SIZE;
    return EVP_PKEY_get_raw_public_key(pkey, out, &size) == 1 && size == BOX_PUBLIC_SIZE;
}

cf_status box_public_of(struct cf_slice private_key, uint8_t public_key[32], struct cf_error *err)
{
    EVP_PKEY *pkey = private_of(private_key);
    uint8_t bytes[32];
    bool good = pkey != NULL && public_bytes(pkey, bytes);
    EVP_PKEY_free(pkey);
    if (!good) {
        return crypto_fail(err, CF_INVALID, "not a private key of X25519 (32 bytes)");
    }
    memcpy(public_key, bytes, sizeof(bytes));
    return CF_OK;
}

cf_status box_key_new(uint8_t public_key[32], struct secret **ret, struct cf_error *err)
{
    CF_OWNED(secret) made = secret_new(BOX_PRIVATE_SIZE);
    cf_random_fill(random_system(), secret_bytes(made), BOX_PRIVATE_SIZE);
    CF_TRY(box_public_of(secret_slice(made), public_key, err));
    *ret = secret_take(&made);
    return CF_OK;
}

/* The shared secret of both. OpenSSL refuses the all-zero one that points of low order lead to
 * (RFC 7748 6.1). */
static cf_status agree(struct cf_slice private_key, struct cf_slice public_key, uint8_t shared[32],
                       struct cf_error *err)
{
    EVP_PKEY *ours = private_of(private_key);
    EVP_PKEY *theirs =
        public_key.size == BOX_PUBLIC_SIZE
            ? EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", NULL, public_key.data, public_key.size)
            : NULL;
    EVP_PKEY_CTX *context = ours != NULL ? EVP_PKEY_CTX_new_from_pkey(NULL, ours, NULL) : NULL;
    size_t size = 32;
    bool good = context != NULL && theirs != NULL && EVP_PKEY_derive_init(context) == 1 &&
                EVP_PKEY_derive_set_peer(context, theirs) == 1 &&
                EVP_PKEY_derive(context, shared, &size) == 1 && size == 32;
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(ours);
    EVP_PKEY_free(theirs);
    if (!good) {
        cf_wipe(shared, 32);
        return crypto_fail(err, CF_INVALID, "not a usable pair of X25519 keys");
    }
    return CF_OK;
}

/* Key and nonce of the one message that this pair of ephemeral and recipient keys ever carries;
 * both public keys take part, as RFC 9180 does it. */
static cf_status derive(struct cf_slice private_key, struct cf_slice peer_key,
                        struct cf_slice ephemeral, struct cf_slice recipient, struct cf_slice info,
                        struct aead_key **key, struct aead_input *input, struct cf_error *err)
{
    uint8_t shared[32], salt[64], made[AEAD_KEY_SIZE + AEAD_NONCE_SIZE];
    CF_TRY(agree(private_key, peer_key, shared, err));
    memcpy(salt, ephemeral.data, 32);
    memcpy(salt + 32, recipient.data, 32);
    CF_BUF(full_info) = {0};
    cf_buf_add(&full_info, "coffer box 1", sizeof("coffer box 1"));
    cf_buf_add_slice(&full_info, info);
    hash_hkdf_sha256(cf_slice_of(shared, sizeof(shared)), cf_slice_of(salt, sizeof(salt)),
                     cf_buf_slice(&full_info), made, sizeof(made));
    cf_status status = aead_key_new(cf_slice_of(made, AEAD_KEY_SIZE), key, err);
    memcpy(input->nonce, made + AEAD_KEY_SIZE, AEAD_NONCE_SIZE);
    cf_wipe(shared, sizeof(shared));
    cf_wipe(made, sizeof(made));
    return status;
}

cf_status box_seal(struct cf_slice public_key, struct cf_slice plain, struct cf_slice info,
                   struct cf_buf *out, struct cf_error *err)
{
    uint8_t head[HEAD_SIZE] = {FORMAT};
    CF_OWNED(secret) ephemeral = NULL;
    CF_OWNED(aead_key) key = NULL;
    CF_TRY(box_key_new(head + 1, &ephemeral, err));
    struct aead_input input = {.aad = cf_slice_of(head, sizeof(head))};
    CF_TRY(derive(secret_slice(ephemeral), public_key, cf_slice_of(head + 1, BOX_PUBLIC_SIZE),
                  public_key, info, &key, &input, err));
    if (plain.size > AEAD_PLAIN_MAX || !cf_buf_reserve(out, plain.size + BOX_OVERHEAD)) {
        return cf_fail(err, CF_TOO_LARGE, "too many bytes to encrypt for another cluster");
    }
    CF_TRY(aead_seal(key, &input, plain, out->data + out->size + sizeof(head), err));
    memcpy(out->data + out->size, head, sizeof(head));
    out->size += plain.size + BOX_OVERHEAD;
    return CF_OK;
}

cf_status box_open(struct cf_slice private_key, struct cf_slice box, struct cf_slice info,
                   struct cf_buf *out, struct cf_error *err)
{
    if (box.size < BOX_OVERHEAD || box.data[0] != FORMAT) {
        return cf_fail(err, CF_CORRUPT, "not a sealed box of a known format");
    }
    uint8_t recipient[32];
    CF_TRY(box_public_of(private_key, recipient, err));
    struct cf_slice head = cf_slice_first(box, HEAD_SIZE);
    struct cf_slice ephemeral = cf_slice_from(head, 1);
    struct aead_input input = {.aad = head};
    CF_OWNED(aead_key) key = NULL;
    if (derive(private_key, ephemeral, ephemeral, cf_slice_of(recipient, 32), info, &key, &input,
               err) != CF_OK) {
        return cf_fail(err, CF_CORRUPT, "sealed box holds an unusable key");
    }
    size_t size = box.size - BOX_OVERHEAD;
    if (!cf_buf_reserve(out, size)) {
        return cf_buf_check(out, err);
    }
    CF_TRY(aead_open(key, &input, cf_slice_from(box, HEAD_SIZE), out->data + out->size, err));
    out->size += size;
    return CF_OK;
}

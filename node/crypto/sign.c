/* node/crypto/sign.c: ECDSA and Ed25519 keys over EVP_PKEY; DER and JWS forms of keys and
 * signatures. */
#include "node/crypto/sign.h"

#include <limits.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/x509.h>

#include "node/base/memory.h"
#include "node/crypto/crypto_int.h"
#include "node/crypto/sign_int.h"

static const struct {
    const char *type, *curve, *digest, *jws;
    size_t half; /* bytes of r and of s; 0: not ECDSA */
} kinds[] = {
    [SIGN_P256] = {"EC", "P-256", "SHA2-256", "ES256", 32},
    [SIGN_P521] = {"EC", "P-521", "SHA2-512", "ES512", 66},
    [SIGN_ED25519] = {"ED25519", NULL, NULL, "EdDSA", 0},
};

cf_status sign_generate(enum sign_kind kind, struct sign_key **ret, struct cf_error *err)
{
    EVP_PKEY *pkey = kinds[kind].curve != NULL ? EVP_EC_gen(kinds[kind].curve)
                                               : EVP_PKEY_Q_keygen(NULL, NULL, kinds[kind].type);
    if (pkey == NULL) {
        return crypto_fail(err, CF_INTERNAL, "cannot make a key pair");
    }
    return sign_adopt(pkey, true, ret, err);
}

static bool kind_of(const EVP_PKEY *pkey, enum sign_kind *ret)
{
    if (EVP_PKEY_is_a(pkey, "ED25519")) {
        *ret = SIGN_ED25519;
        return true;
    }
    char group[64];
    size_t size;
    if (!EVP_PKEY_is_a(pkey, "EC") ||
        EVP_PKEY_get_group_name(pkey, group, sizeof(group), &size) != 1) {
        return false;
    }
    struct cf_slice name = cf_slice_of(group, size);
    if (cf_slice_is(name, "prime256v1") || cf_slice_is(name, "P-256")) {
        *ret = SIGN_P256;
        return true;
    }
    *ret = SIGN_P521;
    return cf_slice_is(name, "secp521r1") || cf_slice_is(name, "P-521");
}

cf_status sign_adopt(EVP_PKEY *pkey, bool has_private, struct sign_key **ret, struct cf_error *err)
{
    enum sign_kind kind;
    if (pkey == NULL || !kind_of(pkey, &kind)) {
        EVP_PKEY_free(pkey);
        return crypto_fail(err, CF_INVALID, "not a key of P-256, P-521 or Ed25519");
    }
    struct sign_key *key = cf_new(struct sign_key);
    *key = (struct sign_key){.pkey = pkey, .kind = kind, .has_private = has_private};
    *ret = key;
    return CF_OK;
}

void sign_key_free(struct sign_key *sign_key)
{
    if (sign_key != NULL) {
        EVP_PKEY_free(sign_key->pkey);
        cf_free(sign_key);
    }
}

enum sign_kind sign_kind_of(const struct sign_key *key)
{
    return key->kind;
}

bool sign_has_private(const struct sign_key *key)
{
    return key->has_private;
}

static cf_status need_private(const struct sign_key *key, struct cf_error *err)
{
    return key->has_private ? CF_OK : cf_fail(err, CF_INVALID, "key has no private part");
}

cf_status sign_private_der(const struct sign_key *key, struct secret **ret, struct cf_error *err)
{
    CF_TRY(need_private(key, err));
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key->pkey);
    uint8_t *der = NULL;
    int size = info != NULL ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : -1;
    PKCS8_PRIV_KEY_INFO_free(info); /* wipes */
    if (size <= 0) {
        return crypto_fail(err, CF_INTERNAL, "cannot encode a private key");
    }
    *ret = secret_copy(cf_slice_of(der, (size_t)size));
    OPENSSL_clear_free(der, (size_t)size);
    return CF_OK;
}

cf_status sign_public_der(const struct sign_key *key, struct cf_buf *out, struct cf_error *err)
{
    uint8_t *der = NULL;
    int size = i2d_PUBKEY(key->pkey, &der);
    if (size <= 0) {
        return crypto_fail(err, CF_INTERNAL, "cannot encode a public key");
    }
    cf_buf_add(out, der, (size_t)size);
    OPENSSL_free(der);
    return cf_buf_check(out, err);
}

/* EVP_PKEY_check or one of its sisters: a point off the curve, a private part that does not belong.
 */
static bool sound(EVP_PKEY *pkey, int (*check)(EVP_PKEY_CTX *))
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    bool good = context != NULL && check(context) == 1;
    EVP_PKEY_CTX_free(context);
    return good;
}

static cf_status adopt_checked(EVP_PKEY *pkey, bool has_private, struct sign_key **ret,
                               struct cf_error *err)
{
    CF_OWNED(sign_key) key = NULL;
    CF_TRY(sign_adopt(pkey, has_private, &key, err));
    if (!sound(pkey, has_private ? EVP_PKEY_check : EVP_PKEY_public_check)) {
        return crypto_fail(err, CF_INVALID, "key is not valid");
    }
    *ret = sign_key_take(&key);
    return CF_OK;
}

cf_status sign_load_private(struct cf_slice der, struct sign_key **ret, struct cf_error *err)
{
    const uint8_t *at = der.data;
    PKCS8_PRIV_KEY_INFO *info =
        der.size <= SECRET_SIZE_MAX ? d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)der.size) : NULL;
    bool whole = info != NULL && at == der.data + der.size;
    EVP_PKEY *pkey = whole ? EVP_PKCS82PKEY(info) : NULL;
    PKCS8_PRIV_KEY_INFO_free(info);
    if (pkey == NULL) {
        return crypto_fail(err, CF_INVALID, "not a private key in PKCS#8 form");
    }
    return adopt_checked(pkey, true, ret, err);
}

cf_status sign_load_public(struct cf_slice der, struct sign_key **ret, struct cf_error *err)
{
    const uint8_t *at = der.data;
    EVP_PKEY *pkey = der.size <= SECRET_SIZE_MAX ? d2i_PUBKEY(NULL, &at, (long)der.size) : NULL;
    if (pkey == NULL || at != der.data + der.size) {
        EVP_PKEY_free(pkey);
        return crypto_fail(err, CF_INVALID, "not a public key in DER form");
    }
    return adopt_checked(pkey, false, ret, err);
}

cf_status sign_make(const struct sign_key *key, struct cf_slice message, struct cf_buf *out,
                    struct cf_error *err)
{
    CF_TRY(need_private(key, err));
    uint8_t signature[SIGN_SIGNATURE_MAX];
    size_t size = sizeof(signature);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool made = context != NULL &&
                EVP_DigestSignInit_ex(context, NULL, kinds[key->kind].digest, NULL, NULL, key->pkey,
                                      NULL) == 1 &&
                EVP_DigestSign(context, signature, &size, message.data, message.size) == 1;
    EVP_MD_CTX_free(context);
    if (!made) {
        return crypto_fail(err, CF_INTERNAL, "cannot sign");
    }
    cf_buf_add(out, signature, size);
    return cf_buf_check(out, err);
}

cf_status sign_check(const struct sign_key *key, struct cf_slice message, struct cf_slice signature,
                     struct cf_error *err)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good =
        context != NULL && signature.size != 0 && signature.size <= SIGN_SIGNATURE_MAX &&
        EVP_DigestVerifyInit_ex(context, NULL, kinds[key->kind].digest, NULL, NULL, key->pkey,
                                NULL) == 1 &&
        EVP_DigestVerify(context, signature.data, signature.size, message.data, message.size) == 1;
    EVP_MD_CTX_free(context);
    return good ? CF_OK : crypto_fail(err, CF_DENIED, "signature does not match");
}

const char *sign_jws_algorithm(const struct sign_key *key)
{
    return kinds[key->kind].jws;
}

cf_status sign_jws_make(const struct sign_key *key, struct cf_slice signing_input,
                        struct cf_buf *out, struct cf_error *err)
{
    size_t half = kinds[key->kind].half;
    if (half == 0) {
        return sign_make(key, signing_input, out, err);
    }
    CF_BUF(der) = {.max = SIGN_SIGNATURE_MAX};
    CF_TRY(sign_make(key, signing_input, &der, err));
    return crypto_ecdsa_raw(cf_buf_slice(&der), half, out)
               ? cf_buf_check(out, err)
               : crypto_fail(err, CF_INTERNAL, "cannot convert a signature");
}

cf_status sign_jws_check(const struct sign_key *key, struct cf_slice signing_input,
                         struct cf_slice signature, struct cf_error *err)
{
    size_t half = kinds[key->kind].half;
    if (half == 0) {
        return sign_check(key, signing_input, signature, err);
    }
    if (signature.size != 2 * half) {
        return cf_fail(err, CF_DENIED, "signature does not match");
    }
    size_t size;
    uint8_t *der = crypto_ecdsa_der(signature, half, &size);
    if (der == NULL) {
        return crypto_fail(err, CF_INTERNAL, "cannot convert a signature");
    }
    cf_status status = sign_check(key, signing_input, cf_slice_of(der, size), err);
    OPENSSL_free(der);
    return status;
}

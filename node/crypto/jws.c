/* node/crypto/jws.c: RSA, ECDSA and Ed25519 signatures in the form of JWS, over EVP_PKEY. */
#include "node/crypto/jws.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/x509.h>

#include "node/base/memory.h"
#include "node/crypto/crypto_int.h"

#define RSA_BITS 2048
#define SIGNATURE_MAX ((size_t)1024)

struct jws_algorithm {
    const char *name, *type, *curve, *crv, *digest, *kty;
    size_t half; /* bytes of r and of s; 0: not ECDSA */
};

static const struct jws_algorithm algorithms[] = {
    {"RS256", "RSA", NULL, NULL, "SHA2-256", "RSA", 0},
    {"RS384", "RSA", NULL, NULL, "SHA2-384", "RSA", 0},
    {"RS512", "RSA", NULL, NULL, "SHA2-512", "RSA", 0},
    {"ES256", "EC", "P-256", "P-256", "SHA2-256", "EC", 32},
    {"ES384", "EC", "P-384", "P-384", "SHA2-384", "EC", 48},
    {"ES512", "EC", "P-521", "P-521", "SHA2-512", "EC", 66},
    {"EdDSA", "ED25519", NULL, "Ed25519", NULL, "OKP", 0},
};

const struct jws_algorithm *jws_algorithm(struct cf_slice name)
{
    for (size_t i = 0; i < CF_LENGTH(algorithms); i++) {
        if (cf_slice_is(name, algorithms[i].name)) {
            return &algorithms[i];
        }
    }
    return NULL;
}

const char *jws_kty(const struct jws_algorithm *algorithm)
{
    return algorithm->kty;
}

const char *jws_crv(const struct jws_algorithm *algorithm)
{
    return algorithm->crv;
}

static EVP_PKEY *make(const struct jws_algorithm *algorithm)
{
    if (algorithm->curve != NULL) {
        return EVP_EC_gen(algorithm->curve);
    }
    return algorithm->crv != NULL ? EVP_PKEY_Q_keygen(NULL, NULL, algorithm->type)
                                  : EVP_RSA_gen(RSA_BITS);
}

cf_status jws_generate(const struct jws_algorithm *algorithm, struct cf_buf *private_der,
                       struct cf_buf *public_der, struct cf_error *err)
{
    EVP_PKEY *pkey = make(algorithm);
    PKCS8_PRIV_KEY_INFO *info = pkey != NULL ? EVP_PKEY2PKCS8(pkey) : NULL;
    uint8_t *inner = NULL, *outer = NULL;
    int inner_size = info != NULL ? i2d_PKCS8_PRIV_KEY_INFO(info, &inner) : -1;
    int outer_size = pkey != NULL ? i2d_PUBKEY(pkey, &outer) : -1;
    bool good = inner_size > 0 && outer_size > 0;
    if (good) {
        cf_buf_add(private_der, inner, (size_t)inner_size);
        cf_buf_add(public_der, outer, (size_t)outer_size);
    }
    PKCS8_PRIV_KEY_INFO_free(info); /* wipes */
    OPENSSL_clear_free(inner, inner_size > 0 ? (size_t)inner_size : 0);
    OPENSSL_free(outer);
    EVP_PKEY_free(pkey);
    return good ? CF_OK : crypto_fail(err, CF_INTERNAL, "cannot make a key pair");
}

static EVP_PKEY *load_private(const struct jws_algorithm *algorithm, struct cf_slice der)
{
    const uint8_t *at = der.data;
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)der.size);
    EVP_PKEY *pkey = info != NULL ? EVP_PKCS82PKEY(info) : NULL;
    PKCS8_PRIV_KEY_INFO_free(info);
    if (pkey != NULL && !EVP_PKEY_is_a(pkey, algorithm->type)) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    return pkey;
}

static EVP_PKEY *load_public(const struct jws_algorithm *algorithm, struct cf_slice der)
{
    const uint8_t *at = der.data;
    EVP_PKEY *pkey = d2i_PUBKEY(NULL, &at, (long)der.size);
    if (pkey != NULL && !EVP_PKEY_is_a(pkey, algorithm->type)) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    return pkey;
}

cf_status jws_sign(const struct jws_algorithm *algorithm, struct cf_slice private_der,
                   struct cf_slice input, struct cf_buf *out, struct cf_error *err)
{
    uint8_t signature[SIGNATURE_MAX];
    size_t size = sizeof(signature);
    EVP_PKEY *pkey = load_private(algorithm, private_der);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool made = pkey != NULL && context != NULL &&
                EVP_DigestSignInit_ex(context, NULL, algorithm->digest, NULL, NULL, pkey, NULL) ==
                    1 &&
                EVP_DigestSign(context, signature, &size, input.data, input.size) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(pkey);
    if (made && algorithm->half != 0) {
        made = crypto_ecdsa_raw(cf_slice_of(signature, size), algorithm->half, out);
    } else if (made) {
        cf_buf_add(out, signature, size);
    }
    return made ? cf_buf_check(out, err) : crypto_fail(err, CF_INTERNAL, "cannot sign");
}

cf_status jws_check(const struct jws_algorithm *algorithm, struct cf_slice public_der,
                    struct cf_slice input, struct cf_slice signature, struct cf_error *err)
{
    uint8_t *der = NULL;
    if (signature.size == 0 || signature.size > SIGNATURE_MAX ||
        (algorithm->half != 0 && signature.size != 2 * algorithm->half)) {
        return cf_fail(err, CF_DENIED, "signature does not match");
    }
    if (algorithm->half != 0) {
        der = crypto_ecdsa_der(signature, algorithm->half, &signature.size);
        signature.data = der;
    }
    EVP_PKEY *pkey = load_public(algorithm, public_der);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good =
        pkey != NULL && context != NULL && signature.data != NULL &&
        EVP_DigestVerifyInit_ex(context, NULL, algorithm->digest, NULL, NULL, pkey, NULL) == 1 &&
        EVP_DigestVerify(context, signature.data, signature.size, input.data, input.size) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(pkey);
    OPENSSL_free(der);
    return good ? CF_OK : crypto_fail(err, CF_DENIED, "signature does not match");
}

static bool add_number(EVP_PKEY *pkey, const char *name, size_t width, struct cf_buf *out)
{
    uint8_t bytes[SIGNATURE_MAX];
    BIGNUM *number = NULL;
    if (EVP_PKEY_get_bn_param(pkey, name, &number) != 1) {
        return false;
    }
    int size = width != 0 ? (int)width : BN_num_bytes(number);
    bool good = size > 0 && (size_t)size <= sizeof(bytes) &&
                BN_bn2binpad(number, bytes, size) == size;
    BN_free(number);
    if (good) {
        cf_buf_add(out, bytes, (size_t)size);
    }
    return good;
}

cf_status jws_numbers(const struct jws_algorithm *algorithm, struct cf_slice public_der,
                      struct cf_buf *first, struct cf_buf *second, struct cf_error *err)
{
    EVP_PKEY *pkey = load_public(algorithm, public_der);
    bool good = pkey != NULL;
    if (good && algorithm->half != 0) {
        good = add_number(pkey, OSSL_PKEY_PARAM_EC_PUB_X, algorithm->half, first) &&
               add_number(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, algorithm->half, second);
    } else if (good && algorithm->crv != NULL) {
        uint8_t raw[32];
        size_t size = sizeof(raw);
        good = EVP_PKEY_get_raw_public_key(pkey, raw, &size) == 1;
        cf_buf_add(first, raw, good ? size : 0);
    } else if (good) {
        good = add_number(pkey, OSSL_PKEY_PARAM_RSA_N, 0, first) &&
               add_number(pkey, OSSL_PKEY_PARAM_RSA_E, 0, second);
    }
    EVP_PKEY_free(pkey);
    return good ? CF_OK : crypto_fail(err, CF_INVALID, "not a public key in DER form");
}

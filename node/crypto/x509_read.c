/* node/crypto/x509_read.c: what certificates and requests of others say. Hostile input. */
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "node/base/memory.h"
#include "node/crypto/x509.h"
#include "node/crypto/x509_int.h"

static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static bool is_pem(struct cf_slice bytes)
{
    return bytes.size > 0 && bytes.data[0] != 0x30; /* DER begins with a SEQUENCE */
}

cf_status x509_load_cert(struct cf_slice pem_or_der, X509 **ret, struct cf_error *err)
{
    X509 *cert = NULL;
    ERR_clear_error();
    if (pem_or_der.size > CERT_SIZE_MAX) {
        return cf_fail(err, CF_INVALID, "the certificate is too large");
    }
    if (is_pem(pem_or_der)) {
        BIO *bio = BIO_new_mem_buf(pem_or_der.data, (int)pem_or_der.size);
        cert = bio != NULL ? PEM_read_bio_X509(bio, NULL, no_passphrase, NULL) : NULL;
        BIO_free(bio);
    } else if (pem_or_der.size > 0) {
        const unsigned char *at = pem_or_der.data;
        cert = d2i_X509(NULL, &at, (long)pem_or_der.size);
        if (cert != NULL && at != pem_or_der.data + pem_or_der.size) {
            X509_free(cert);
            return cf_fail(err, CF_INVALID, "bytes follow the certificate");
        }
    }
    if (cert == NULL) {
        return x509_openssl(err, CF_INVALID, "the certificate");
    }
    *ret = cert;
    return CF_OK;
}

/* The last common name as a C string. False when it does not fit or holds a NUL. */
static bool read_common_name(const X509_NAME *name, char *text)
{
    int last = -1;
    text[0] = '\0';
    for (int at = -1; (at = X509_NAME_get_index_by_NID(name, NID_commonName, at)) >= 0;) {
        last = at;
    }
    if (last < 0) {
        return true;
    }
    unsigned char *utf8 = NULL;
    int size =
        ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, last)));
    bool fits = size >= 0 && (size_t)size <= CERT_NAME_MAX && memchr(utf8, 0, (size_t)size) == NULL;
    if (fits) {
        memcpy(text, utf8, (size_t)size);
        text[size] = '\0';
    }
    OPENSSL_free(utf8);
    return fits;
}

static bool read_uri(const GENERAL_NAMES *names, char *text)
{
    size_t found = 0;
    text[0] = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int type = 0;
        const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        if (type != GEN_URI) {
            continue;
        }
        size_t size = (size_t)ASN1_STRING_length(value);
        const unsigned char *bytes = ASN1_STRING_get0_data(value);
        if (++found > 1 || size > CERT_URI_MAX || memchr(bytes, 0, size) != NULL) {
            return false;
        }
        memcpy(text, bytes, size);
        text[size] = '\0';
    }
    return true;
}

static bool read_time(const ASN1_TIME *from, int64_t *ret)
{
    struct tm parts;
    if (ASN1_TIME_to_tm(from, &parts) != 1) {
        return false;
    }
    *ret = timegm(&parts);
    return true;
}

static bool hash(const unsigned char *der, int size, uint8_t out[32])
{
    return size > 0 && EVP_Digest(der, (size_t)size, out, NULL, EVP_sha256(), NULL) == 1;
}

static bool hash_public(const X509_PUBKEY *key, uint8_t out[32])
{
    unsigned char *der = NULL;
    int size = key != NULL ? i2d_X509_PUBKEY(key, &der) : 0;
    bool hashed = hash(der, size, out);
    OPENSSL_free(der);
    return hashed;
}

static bool read_serial(const X509 *cert, char text[43])
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
    BIGNUM *number = ASN1_INTEGER_to_BN(serial, NULL);
    char *hex = number != NULL ? BN_bn2hex(number) : NULL;
    bool fits = hex != NULL && strlen(hex) < 43; /* 20 bytes at most (RFC 5280 4.1.2.2), a sign */
    if (fits) {
        memcpy(text, hex, strlen(hex) + 1);
    }
    OPENSSL_free(hex);
    BN_free(number);
    return fits;
}

static bool fill_info(X509 *cert, struct x509_info *info)
{
    GENERAL_NAMES *sans = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    bool good = read_uri(sans, info->uri);
    GENERAL_NAMES_free(sans);
    unsigned size = 0;
    info->is_ca = X509_check_ca(cert) == 1;
    return good && read_common_name(X509_get_subject_name(cert), info->common_name) &&
           read_common_name(X509_get_issuer_name(cert), info->issuer) &&
           read_time(X509_get0_notBefore(cert), &info->not_before_s) &&
           read_time(X509_get0_notAfter(cert), &info->not_after_s) &&
           X509_digest(cert, EVP_sha256(), info->fingerprint, &size) == 1 &&
           hash_public(X509_get_X509_PUBKEY(cert), info->public_key_hash) &&
           read_serial(cert, info->serial);
}

cf_status x509_read(struct cf_slice pem_or_der, struct x509_info *ret, struct cf_error *err)
{
    X509 *cert = NULL;
    struct x509_info info = {0};
    CF_TRY(x509_load_cert(pem_or_der, &cert, err));
    bool good = fill_info(cert, &info);
    X509_free(cert);
    if (!good) {
        return x509_openssl(err, CF_INVALID, "the certificate's names or times");
    }
    *ret = info;
    return CF_OK;
}

static X509_REQ *load_request(struct cf_slice pem_or_der)
{
    X509_REQ *csr = NULL;
    ERR_clear_error();
    if (is_pem(pem_or_der) && pem_or_der.size <= CERT_SIZE_MAX) {
        BIO *bio = BIO_new_mem_buf(pem_or_der.data, (int)pem_or_der.size);
        csr = bio != NULL ? PEM_read_bio_X509_REQ(bio, NULL, no_passphrase, NULL) : NULL;
        BIO_free(bio);
    } else if (pem_or_der.size > 0 && pem_or_der.size <= CERT_SIZE_MAX) {
        const unsigned char *at = pem_or_der.data;
        csr = d2i_X509_REQ(NULL, &at, (long)pem_or_der.size);
        if (csr != NULL && at != pem_or_der.data + pem_or_der.size) {
            X509_REQ_free(csr);
            csr = NULL;
        }
    }
    return csr;
}

static bool fill_request_info(X509_REQ *csr, struct x509_info *info)
{
    STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(csr);
    GENERAL_NAMES *sans = X509V3_get_d2i(extensions, NID_subject_alt_name, NULL, NULL);
    bool good = read_uri(sans, info->uri);
    GENERAL_NAMES_free(sans);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    unsigned char *der = NULL;
    int size = i2d_X509_REQ(csr, &der);
    good = good && hash(der, size, info->fingerprint);
    OPENSSL_free(der);
    return good && read_common_name(X509_REQ_get_subject_name(csr), info->common_name) &&
           hash_public(X509_REQ_get_X509_PUBKEY(csr), info->public_key_hash);
}

static cf_status copy_public(X509_REQ *csr, struct cf_buf *ret, struct cf_error *err)
{
    unsigned char *der = NULL;
    int size = i2d_X509_PUBKEY(X509_REQ_get_X509_PUBKEY(csr), &der);
    if (size <= 0) {
        return x509_openssl(err, CF_INVALID, "the request's public key");
    }
    cf_buf_add(ret, der, (size_t)size);
    OPENSSL_free(der);
    return cf_buf_check(ret, err);
}

cf_status x509_csr_read(struct cf_slice pem_or_der, struct x509_info *ret,
                        struct cf_buf *public_key, struct cf_error *err)
{
    struct x509_info info = {0};
    X509_REQ *csr = load_request(pem_or_der);
    if (csr == NULL) {
        return x509_openssl(err, CF_INVALID, "the certificate request");
    }
    EVP_PKEY *key = X509_REQ_get0_pubkey(csr);
    cf_status status = CF_OK;
    if (key == NULL || X509_REQ_verify(csr, key) != 1) {
        ERR_clear_error();
        status = cf_fail(err, CF_DENIED, "the request is not signed by its own key");
    } else if (!fill_request_info(csr, &info)) {
        status = x509_openssl(err, CF_INVALID, "the request's names");
    } else if (public_key != NULL) {
        status = copy_public(csr, public_key, err);
    }
    X509_REQ_free(csr);
    if (status == CF_OK) {
        *ret = info;
    }
    return status;
}

static X509_STORE *load_store(struct cf_slice cas)
{
    X509_STORE *store = X509_STORE_new();
    BIO *bio = BIO_new_mem_buf(cas.data, (int)cas.size);
    X509 *cert;
    while (store != NULL && bio != NULL &&
           (cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL) {
        X509_STORE_add_cert(store, cert);
        X509_free(cert);
    }
    BIO_free(bio);
    ERR_clear_error();
    return store;
}

cf_status x509_verify(struct cf_slice pem_or_der, struct cf_slice cas, int64_t at_s,
                      struct cf_error *err)
{
    X509 *cert = NULL;
    CF_TRY(x509_load_cert(pem_or_der, &cert, err));
    X509_STORE *store = load_store(cf_slice_first(cas, CERT_SIZE_MAX));
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    cf_status status = CF_OK;
    if (store == NULL || context == NULL || X509_STORE_CTX_init(context, store, cert, NULL) != 1) {
        status = x509_openssl(err, CF_INTERNAL, "can't verify a certificate");
    } else {
        X509_STORE_CTX_set_time(context, 0, (time_t)at_s);
        if (X509_verify_cert(context) != 1) {
            status = cf_fail(err, CF_DENIED, "the certificate is refused: %s",
                             X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
        }
    }
    ERR_clear_error();
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    X509_free(cert);
    return status;
}

cf_status x509_match(struct cf_slice pem_or_der, const struct secret *key, struct cf_error *err)
{
    X509 *cert = NULL;
    EVP_PKEY *loaded = NULL;
    CF_TRY(x509_load_cert(pem_or_der, &cert, err));
    cf_status status = x509_load_key(key, &loaded, err);
    if (status == CF_OK && X509_check_private_key(cert, loaded) != 1) {
        ERR_clear_error();
        status = cf_fail(err, CF_INVALID, "the key does not belong to the certificate");
    }
    EVP_PKEY_free(loaded);
    X509_free(cert);
    return status;
}

cf_status x509_to_der(struct cf_slice pem_or_der, struct cf_buf *ret, struct cf_error *err)
{
    X509 *cert = NULL;
    unsigned char *der = NULL;
    CF_TRY(x509_load_cert(pem_or_der, &cert, err));
    int size = i2d_X509(cert, &der);
    X509_free(cert);
    if (size <= 0) {
        return x509_openssl(err, CF_INVALID, "the certificate");
    }
    cf_buf_add(ret, der, (size_t)size);
    OPENSSL_free(der);
    return cf_buf_check(ret, err);
}

cf_status x509_to_pem(struct cf_slice pem_or_der, struct cf_buf *ret, struct cf_error *err)
{
    X509 *cert = NULL;
    CF_TRY(x509_load_cert(pem_or_der, &cert, err));
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL || PEM_write_bio_X509(bio, cert) != 1) {
        X509_free(cert);
        BIO_free(bio);
        return x509_openssl(err, CF_INTERNAL, "can't write PEM");
    }
    X509_free(cert);
    return x509_take_bio(bio, ret, err);
}

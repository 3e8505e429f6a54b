/* node/crypto/x509.c: making certificates and requests; reading them is in x509_read.c. */
#include "node/crypto/x509.h"

#include <string.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "node/base/memory.h"
#include "node/crypto/x509_int.h"

enum { SERIAL_SIZE = 16 };

cf_status x509_openssl(struct cf_error *err, cf_status status, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return cf_fail(err, status, "%s: %s", what, reason != NULL ? reason : "malformed");
}

cf_status x509_load_key(const struct secret *key, EVP_PKEY **ret, struct cf_error *err)
{
    struct cf_slice der = secret_slice(key);
    const unsigned char *at = der.data;
    ERR_clear_error();
    EVP_PKEY *loaded = d2i_AutoPrivateKey(NULL, &at, (long)der.size);
    if (loaded == NULL || at != der.data + der.size) {
        EVP_PKEY_free(loaded);
        return x509_openssl(err, CF_INVALID, "the private key");
    }
    *ret = loaded;
    return CF_OK;
}

cf_status x509_key_new(struct secret **ret, struct cf_error *err)
{
    ERR_clear_error();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    PKCS8_PRIV_KEY_INFO *info = key != NULL ? EVP_PKEY2PKCS8(key) : NULL;
    unsigned char *der = NULL;
    int size = info != NULL ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : 0;
    PKCS8_PRIV_KEY_INFO_free(info);
    EVP_PKEY_free(key);
    if (size <= 0) {
        return x509_openssl(err, CF_INTERNAL, "can't make a key");
    }
    *ret = secret_copy(cf_slice_of(der, (size_t)size));
    OPENSSL_clear_free(der, (size_t)size);
    return CF_OK;
}

static cf_status append_public(EVP_PKEY *key, struct cf_buf *ret, struct cf_error *err)
{
    unsigned char *der = NULL;
    int size = i2d_PUBKEY(key, &der);
    if (size <= 0) {
        return x509_openssl(err, CF_INVALID, "the public key");
    }
    cf_buf_add(ret, der, (size_t)size);
    OPENSSL_free(der);
    return cf_buf_check(ret, err);
}

cf_status x509_key_public(const struct secret *key, struct cf_buf *ret, struct cf_error *err)
{
    EVP_PKEY *loaded = NULL;
    CF_TRY(x509_load_key(key, &loaded, err));
    cf_status status = append_public(loaded, ret, err);
    EVP_PKEY_free(loaded);
    return status;
}

cf_status x509_take_bio(BIO *bio, struct cf_buf *ret, struct cf_error *err)
{
    char *text = NULL;
    long size = BIO_get_mem_data(bio, &text);
    if (size > 0) {
        cf_buf_add(ret, text, (size_t)size);
    }
    BIO_free(bio);
    return size > 0 ? cf_buf_check(ret, err) : x509_openssl(err, CF_INTERNAL, "can't write PEM");
}

cf_status x509_key_pem(const struct secret *key, struct cf_buf *ret, struct cf_error *err)
{
    EVP_PKEY *loaded = NULL;
    CF_TRY(x509_load_key(key, &loaded, err));
    BIO *bio = BIO_new(BIO_s_secmem());
    if (bio == NULL || PEM_write_bio_PKCS8PrivateKey(bio, loaded, NULL, NULL, 0, NULL, NULL) != 1) {
        EVP_PKEY_free(loaded);
        BIO_free(bio);
        return x509_openssl(err, CF_INTERNAL, "can't write PEM");
    }
    EVP_PKEY_free(loaded);
    return x509_take_bio(bio, ret, err);
}

static bool add_common_name(X509_NAME *name, struct cf_slice text)
{
    return text.size > 0 && text.size <= CERT_NAME_MAX && memchr(text.data, 0, text.size) == NULL &&
           X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, text.data,
                                      (int)text.size, -1, 0) == 1;
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool added = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return added;
}

/* Not through X509V3_EXT_conf: a comma in a name would become a second name. */
static bool add_general(GENERAL_NAMES *names, int type, ASN1_STRING *value)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    if (name == NULL || value == NULL) {
        GENERAL_NAME_free(name);
        ASN1_STRING_free(value);
        return false;
    }
    GENERAL_NAME_set0_value(name, type, value);
    if (sk_GENERAL_NAME_push(names, name) <= 0) {
        GENERAL_NAME_free(name);
        return false;
    }
    return true;
}

static bool add_text_name(GENERAL_NAMES *names, int type, struct cf_slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] <= ' ' || text.data[i] >= 0x7f) {
            return false; /* IA5String, and neither space nor control bytes in a name */
        }
    }
    ASN1_IA5STRING *value = ASN1_IA5STRING_new();
    if (value == NULL || text.size == 0 || text.size > CERT_URI_MAX ||
        ASN1_STRING_set(value, text.data, (int)text.size) != 1) {
        ASN1_IA5STRING_free(value);
        return false;
    }
    return add_general(names, type, value);
}

static bool add_address(GENERAL_NAMES *names, struct cf_slice text)
{
    char address[64];
    if (text.size >= sizeof(address)) {
        return false;
    }
    memcpy(address, text.data, text.size);
    address[text.size] = '\0';
    return add_general(names, GEN_IPADD, a2i_IPADDRESS(address));
}

static GENERAL_NAMES *make_sans(const struct x509_names *names)
{
    GENERAL_NAMES *sans = GENERAL_NAMES_new();
    bool added = sans != NULL && names->dns_count + names->ip_count < CERT_SANS_MAX;
    if (added && names->uri.size > 0) {
        added = add_text_name(sans, GEN_URI, names->uri);
    }
    for (size_t i = 0; added && i < names->dns_count; i++) {
        added = add_text_name(sans, GEN_DNS, names->dns[i]);
    }
    for (size_t i = 0; added && i < names->ip_count; i++) {
        added = add_address(sans, names->ips[i]);
    }
    if (!added) {
        GENERAL_NAMES_free(sans);
        return NULL;
    }
    return sans;
}

static bool add_sans(X509 *cert, const struct x509_names *names)
{
    GENERAL_NAMES *sans = make_sans(names);
    bool added = sans != NULL &&
                 (sk_GENERAL_NAME_num(sans) == 0 ||
                  X509_add1_ext_i2d(cert, NID_subject_alt_name, sans, 0, X509V3_ADD_DEFAULT) == 1);
    GENERAL_NAMES_free(sans);
    return added;
}

static bool set_serial(X509 *cert)
{
    BIGNUM *serial = BN_new();
    /* 127 random bits with the highest set: positive, and of one length (RFC 5280 4.1.2.2) */
    bool set = serial != NULL &&
               BN_rand(serial, SERIAL_SIZE * 8 - 1, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
               BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert)) != NULL;
    BN_free(serial);
    return set;
}

static bool set_frame(X509 *cert, EVP_PKEY *key, struct cf_slice common_name,
                      struct x509_validity validity)
{
    return X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
           ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)validity.from_s) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)validity.to_s) != NULL &&
           add_common_name(X509_get_subject_name(cert), common_name) &&
           X509_set_pubkey(cert, key) == 1;
}

static cf_status append_cert(X509 *cert, struct cf_buf *ret, struct cf_error *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL || PEM_write_bio_X509(bio, cert) != 1) {
        BIO_free(bio);
        return x509_openssl(err, CF_INTERNAL, "can't write PEM");
    }
    return x509_take_bio(bio, ret, err);
}

cf_status x509_ca_new(struct cf_slice common_name, const struct secret *key,
                      struct x509_validity validity, struct cf_buf *cert, struct cf_error *err)
{
    EVP_PKEY *loaded = NULL;
    CF_TRY(x509_load_key(key, &loaded, err));
    X509 *made = X509_new();
    bool good = made != NULL && set_frame(made, loaded, common_name, validity) &&
                X509_set_issuer_name(made, X509_get_subject_name(made)) == 1 &&
                add_extension(made, made, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
                add_extension(made, made, NID_key_usage, "critical,keyCertSign,cRLSign") &&
                add_extension(made, made, NID_subject_key_identifier, "hash") &&
                X509_sign(made, loaded, EVP_sha256()) > 0;
    cf_status status =
        good ? append_cert(made, cert, err) : x509_openssl(err, CF_INVALID, "can't make a CA");
    X509_free(made);
    EVP_PKEY_free(loaded);
    return status;
}

static bool fill_end(X509 *cert, X509 *issuer, EVP_PKEY *key, const struct x509_names *names,
                     struct x509_validity validity)
{
    return set_frame(cert, key, names->common_name, validity) &&
           X509_set_issuer_name(cert, X509_get_subject_name(issuer)) == 1 &&
           add_extension(cert, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(cert, issuer, NID_key_usage, "critical,digitalSignature") &&
           add_extension(cert, issuer, NID_ext_key_usage, "serverAuth,clientAuth") &&
           add_extension(cert, issuer, NID_authority_key_identifier, "keyid") &&
           add_sans(cert, names);
}

cf_status x509_issue(const struct x509_issuer *issuer, struct cf_slice public_key,
                     const struct x509_names *names, struct x509_validity validity,
                     struct cf_buf *cert, struct cf_error *err)
{
    X509 *ca = NULL;
    EVP_PKEY *ca_key = NULL;
    const unsigned char *at = public_key.data;
    CF_TRY(x509_load_cert(issuer->cert, &ca, err));
    cf_status status = x509_load_key(issuer->key, &ca_key, err);
    EVP_PKEY *key = status == CF_OK ? d2i_PUBKEY(NULL, &at, (long)public_key.size) : NULL;
    X509 *made = X509_new();
    if (status == CF_OK && X509_check_private_key(ca, ca_key) != 1) {
        status = x509_openssl(err, CF_INVALID, "the CA's key does not fit its certificate");
    } else if (status == CF_OK && (key == NULL || at != public_key.data + public_key.size)) {
        status = x509_openssl(err, CF_INVALID, "the public key");
    } else if (status == CF_OK && (made == NULL || !fill_end(made, ca, key, names, validity) ||
                                   X509_sign(made, ca_key, EVP_sha256()) <= 0)) {
        status = x509_openssl(err, CF_INVALID, "can't issue a certificate for these names");
    }
    if (status == CF_OK) {
        status = append_cert(made, cert, err);
    }
    X509_free(made);
    EVP_PKEY_free(key);
    EVP_PKEY_free(ca_key);
    X509_free(ca);
    return status;
}

static bool fill_request(X509_REQ *csr, EVP_PKEY *key, const struct x509_names *names)
{
    GENERAL_NAMES *sans = make_sans(names);
    STACK_OF(X509_EXTENSION) *extensions = NULL;
    bool good = sans != NULL && X509_REQ_set_version(csr, X509_REQ_VERSION_1) == 1 &&
                add_common_name(X509_REQ_get_subject_name(csr), names->common_name) &&
                X509_REQ_set_pubkey(csr, key) == 1;
    if (good && sk_GENERAL_NAME_num(sans) > 0) {
        good =
            X509V3_add1_i2d(&extensions, NID_subject_alt_name, sans, 0, X509V3_ADD_DEFAULT) == 1 &&
            X509_REQ_add_extensions(csr, extensions) == 1;
    }
    GENERAL_NAMES_free(sans);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    return good && X509_REQ_sign(csr, key, EVP_sha256()) > 0;
}

cf_status x509_csr_new(const struct secret *key, const struct x509_names *names, struct cf_buf *csr,
                       struct cf_error *err)
{
    EVP_PKEY *loaded = NULL;
    CF_TRY(x509_load_key(key, &loaded, err));
    X509_REQ *made = X509_REQ_new();
    BIO *bio = BIO_new(BIO_s_mem());
    cf_status status = CF_OK;
    if (made == NULL || bio == NULL || !fill_request(made, loaded, names) ||
        PEM_write_bio_X509_REQ(bio, made) != 1) {
        BIO_free(bio);
        status = x509_openssl(err, CF_INVALID, "can't make a request for these names");
    } else {
        status = x509_take_bio(bio, csr, err);
    }
    X509_REQ_free(made);
    EVP_PKEY_free(loaded);
    return status;
}

/* node/crypto/x509_client.c: client certificates and revocation lists. Hostile input. */
#include "node/crypto/x509_client.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "node/base/memory.h"
#include "node/crypto/x509_int.h"

#define NAMES_MAX 256
#define EXTENSIONS_MAX 64

static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

/* ---- facts ---- */

static struct cf_slice decimal(const ASN1_INTEGER *number, struct arena *arena)
{
    struct cf_slice text = CF_SLICE_EMPTY;
    BIGNUM *big = number != NULL && ASN1_STRING_length(number) <= 64
                      ? ASN1_INTEGER_to_BN(number, NULL)
                      : NULL;
    char *digits = big != NULL ? BN_bn2dec(big) : NULL;
    if (digits != NULL) {
        text = arena_copy(arena, cf_slice_str(digits));
    }
    OPENSSL_free(digits);
    BN_free(big);
    return text;
}

static struct cf_slice utf8_of(const ASN1_STRING *from, struct arena *arena)
{
    unsigned char *utf8 = NULL;
    struct cf_slice text = CF_SLICE_EMPTY;
    int size = ASN1_STRING_to_UTF8(&utf8, from);
    if (size > 0) {
        text = arena_copy(arena, cf_slice_of(utf8, (size_t)size));
    }
    OPENSSL_free(utf8);
    return text;
}

/* A name with a NUL in it reads as another one elsewhere: it is none. */
static bool is_name(struct cf_slice name)
{
    return name.size != 0 && memchr(name.data, 0, name.size) == NULL;
}

static void read_subject(const X509 *cert, struct arena *arena, struct x509_facts *facts)
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    facts->units = arena_alloc(arena, NAMES_MAX * sizeof(*facts->units));
    for (int i = 0; i < X509_NAME_entry_count(subject) && facts->unit_count < NAMES_MAX; i++) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(subject, i);
        int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));
        if (nid != NID_commonName && nid != NID_organizationalUnitName) {
            continue;
        }
        struct cf_slice text = utf8_of(X509_NAME_ENTRY_get_data(entry), arena);
        if (is_name(text) && nid == NID_commonName) {
            facts->common_name = text;
        } else if (is_name(text)) {
            facts->units[facts->unit_count++] = text;
        }
    }
}

static void read_sans(X509 *cert, struct arena *arena, struct x509_facts *facts)
{
    GENERAL_NAMES *sans = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int count = sans != NULL ? sk_GENERAL_NAME_num(sans) : 0;
    count = count < NAMES_MAX ? count : NAMES_MAX;
    facts->dns = arena_alloc(arena, (size_t)(count + 1) * sizeof(*facts->dns));
    facts->emails = arena_alloc(arena, (size_t)(count + 1) * sizeof(*facts->emails));
    facts->uris = arena_alloc(arena, (size_t)(count + 1) * sizeof(*facts->uris));
    for (int i = 0; i < count; i++) {
        int type = 0;
        const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(sans, i), &type);
        if (type != GEN_DNS && type != GEN_EMAIL && type != GEN_URI) {
            continue;
        }
        struct cf_slice text = arena_copy(
            arena, cf_slice_of(ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value)));
        if (!is_name(text)) {
            continue;
        }
        if (type == GEN_DNS) {
            facts->dns[facts->dns_count++] = text;
        } else if (type == GEN_EMAIL) {
            facts->emails[facts->email_count++] = text;
        } else {
            facts->uris[facts->uri_count++] = text;
        }
    }
    GENERAL_NAMES_free(sans);
}

/* The content of an extension that is one ASN.1 string. */
static struct cf_slice string_in(const ASN1_OCTET_STRING *data, struct arena *arena)
{
    const unsigned char *at = ASN1_STRING_get0_data(data);
    struct cf_slice text = CF_SLICE_EMPTY;
    ASN1_TYPE *type = d2i_ASN1_TYPE(NULL, &at, ASN1_STRING_length(data));
    if (type != NULL && (type->type == V_ASN1_UTF8STRING || type->type == V_ASN1_PRINTABLESTRING ||
                         type->type == V_ASN1_IA5STRING || type->type == V_ASN1_T61STRING)) {
        text = utf8_of(type->value.asn1_string, arena);
    }
    ASN1_TYPE_free(type);
    return text;
}

static void read_extensions(const X509 *cert, struct arena *arena, struct x509_facts *facts)
{
    int count = X509_get_ext_count(cert);
    count = count < EXTENSIONS_MAX ? count : EXTENSIONS_MAX;
    facts->extensions = arena_alloc(arena, (size_t)(count + 1) * sizeof(*facts->extensions));
    for (int i = 0; i < count; i++) {
        X509_EXTENSION *extension = X509_get_ext(cert, i);
        char oid[128];
        int size = OBJ_obj2txt(oid, sizeof(oid), X509_EXTENSION_get_object(extension), 1);
        if (size > 0 && (size_t)size < sizeof(oid)) {
            facts->extensions[facts->extension_count++] = (struct x509_extension){
                arena_copy(arena, cf_slice_str(oid)),
                string_in(X509_EXTENSION_get_data(extension), arena)};
        }
    }
}

static struct cf_slice octets(const ASN1_OCTET_STRING *from, struct arena *arena)
{
    return from == NULL ? CF_SLICE_EMPTY
                        : arena_copy(arena, cf_slice_of(ASN1_STRING_get0_data(from),
                                                        (size_t)ASN1_STRING_length(from)));
}

static cf_status fill(X509 *cert, struct arena *arena, struct x509_facts *facts,
                      struct cf_error *err)
{
    unsigned size = 0;
    unsigned char *der = NULL;
    int der_size = i2d_X509(cert, &der);
    if (der_size <= 0 || X509_digest(cert, EVP_sha256(), facts->fingerprint, &size) != 1) {
        OPENSSL_free(der);
        return x509_openssl(err, CF_INVALID, "the certificate");
    }
    facts->der = arena_copy(arena, cf_slice_of(der, (size_t)der_size));
    OPENSSL_free(der);
    facts->serial = decimal(X509_get0_serialNumber(cert), arena);
    facts->is_ca = X509_check_ca(cert) >= 1;
    bool restricted = (X509_get_extension_flags(cert) & EXFLAG_XKUSAGE) != 0;
    facts->may_be_client =
        !restricted || (X509_get_extended_key_usage(cert) & (XKU_SSL_CLIENT | XKU_ANYEKU)) != 0;
    facts->subject_key_id = octets(X509_get0_subject_key_id(cert), arena);
    facts->authority_key_id = octets(X509_get0_authority_key_id(cert), arena);
    read_subject(cert, arena, facts);
    read_sans(cert, arena, facts);
    read_extensions(cert, arena, facts);
    ERR_clear_error();
    return CF_OK;
}

cf_status x509_facts_read(struct cf_slice pem_or_der, struct arena *arena, struct x509_facts *ret,
                          struct cf_error *err)
{
    X509 *cert = NULL;
    *ret = (struct x509_facts){0};
    CF_TRY(x509_load_cert(pem_or_der, &cert, err));
    cf_status status = fill(cert, arena, ret, err);
    X509_free(cert);
    return status;
}

/* ---- chains ---- */

static bool hash_name(const X509_NAME *name, uint8_t out[32])
{
    unsigned char *der = NULL;
    int size = i2d_X509_NAME(name, &der);
    bool hashed = size > 0 && EVP_Digest(der, (size_t)size, out, NULL, EVP_sha256(), NULL) == 1;
    OPENSSL_free(der);
    return hashed;
}

static bool fill_link(const X509 *cert, struct arena *arena, struct x509_link *ret)
{
    *ret = (struct x509_link){.serial = decimal(X509_get0_serialNumber(cert), arena)};
    return ret->serial.size != 0 && hash_name(X509_get_issuer_name(cert), ret->issuer);
}

/* What is trusted, as anchors: an intermediate CA that a role names is enough. */
static X509_STORE *load_anchors(struct cf_slice pem)
{
    X509_STORE *store = X509_STORE_new();
    BIO *bio = BIO_new_mem_buf(pem.data, (int)cf_min(pem.size, CERT_SIZE_MAX));
    X509 *cert;
    for (size_t i = 0; store != NULL && bio != NULL && i < X509_BUNDLE_MAX &&
                       (cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL;
         i++) {
        X509_STORE_add_cert(store, cert);
        X509_free(cert);
    }
    BIO_free(bio);
    ERR_clear_error();
    if (store != NULL) {
        X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    }
    return store;
}

static cf_status links_of(STACK_OF(X509) *chain, struct arena *arena, struct x509_link **ret,
                          size_t *ret_count, struct cf_error *err)
{
    int count = sk_X509_num(chain);
    *ret = arena_alloc(arena, (size_t)(count + 1) * sizeof(**ret));
    *ret_count = 0;
    for (int i = 0; i < count && (i + 1 < count || count == 1); i++) {
        if (!fill_link(sk_X509_value(chain, i), arena, &(*ret)[*ret_count])) {
            return cf_fail(err, CF_DENIED, "a certificate of the chain has no usable serial number");
        }
        (*ret_count)++;
    }
    if (count > 1) {
        unsigned char *der = NULL;
        int size = i2d_X509(sk_X509_value(chain, 1), &der);
        if (size > 0) {
            (*ret)[0].issuer_der = arena_copy(arena, cf_slice_of(der, (size_t)size));
        }
        OPENSSL_free(der);
    }
    return CF_OK;
}

cf_status x509_client_verify(struct cf_slice client, struct cf_slice trusted, int64_t at_s,
                             struct arena *arena, struct x509_link **ret, size_t *ret_count,
                             struct cf_error *err)
{
    X509 *cert = NULL;
    CF_TRY(x509_load_cert(client, &cert, err));
    X509_STORE *store = load_anchors(trusted);
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    cf_status status;
    if (store == NULL || context == NULL || X509_STORE_CTX_init(context, store, cert, NULL) != 1) {
        status = x509_openssl(err, CF_INTERNAL, "can't verify a certificate");
    } else {
        X509_STORE_CTX_set_time(context, 0, (time_t)at_s);
        (void)X509_STORE_CTX_set_purpose(context, X509_PURPOSE_SSL_CLIENT);
        if (X509_verify_cert(context) != 1) {
            status = cf_fail(err, CF_DENIED, "the certificate is refused: %s",
                             X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
        } else {
            status = links_of(X509_STORE_CTX_get0_chain(context), arena, ret, ret_count, err);
        }
    }
    ERR_clear_error();
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    X509_free(cert);
    return status;
}

cf_status x509_client_valid(struct cf_slice client, int64_t at_s, struct arena *arena,
                            struct x509_link *ret, struct cf_error *err)
{
    X509 *cert = NULL;
    time_t at = (time_t)at_s;
    CF_TRY(x509_load_cert(client, &cert, err));
    cf_status status = CF_OK;
    if (X509_cmp_time(X509_get0_notBefore(cert), &at) >= 0 ||
        X509_cmp_time(X509_get0_notAfter(cert), &at) <= 0) {
        status = cf_fail(err, CF_DENIED, "the certificate is refused: it has expired or is not yet "
                                         "valid");
    } else if (!fill_link(cert, arena, ret)) {
        status = cf_fail(err, CF_DENIED, "the certificate has no usable serial number");
    }
    ERR_clear_error();
    X509_free(cert);
    return status;
}

/* ---- revocation lists ---- */

static X509_CRL *load_crl(struct cf_slice bytes)
{
    X509_CRL *crl = NULL;
    ERR_clear_error();
    if (bytes.size == 0 || bytes.size > X509_CRL_SIZE_MAX) {
        return NULL;
    }
    if (bytes.data[0] != 0x30) {
        BIO *bio = BIO_new_mem_buf(bytes.data, (int)bytes.size);
        crl = bio != NULL ? PEM_read_bio_X509_CRL(bio, NULL, no_passphrase, NULL) : NULL;
        BIO_free(bio);
        return crl;
    }
    const unsigned char *at = bytes.data;
    return d2i_X509_CRL(NULL, &at, (long)bytes.size);
}

static int64_t seconds_of(const ASN1_TIME *time)
{
    int days, seconds;
    ASN1_TIME *start = ASN1_TIME_set(NULL, 0);
    bool known = time != NULL && start != NULL && ASN1_TIME_diff(&days, &seconds, start, time) == 1;
    ASN1_TIME_free(start);
    return known ? (int64_t)days * 86400 + seconds : 0;
}

static bool fill_crl(X509_CRL *crl, struct arena *arena, struct x509_crl *ret)
{
    STACK_OF(X509_REVOKED) *revoked = X509_CRL_get_REVOKED(crl);
    int count = revoked != NULL ? sk_X509_REVOKED_num(revoked) : 0;
    if ((size_t)count > X509_CRL_ENTRIES_MAX || !hash_name(X509_CRL_get_issuer(crl), ret->issuer)) {
        return false;
    }
    ret->next_update_s = seconds_of(X509_CRL_get0_nextUpdate(crl));
    ret->serials = arena_alloc(arena, (size_t)(count + 1) * sizeof(*ret->serials));
    for (int i = 0; i < count; i++) {
        struct cf_slice serial =
            decimal(X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(revoked, i)), arena);
        if (serial.size == 0) {
            return false; /* a list that is not understood whole is refused whole */
        }
        ret->serials[ret->count++] = serial;
    }
    return true;
}

cf_status x509_crl_read(struct cf_slice pem_or_der, struct arena *arena, struct x509_crl *ret,
                        struct cf_error *err)
{
    X509_CRL *crl = load_crl(pem_or_der);
    *ret = (struct x509_crl){0};
    if (crl == NULL) {
        return x509_openssl(err, CF_INVALID, "the revocation list");
    }
    bool good = fill_crl(crl, arena, ret);
    X509_CRL_free(crl);
    ERR_clear_error();
    return good ? CF_OK : cf_fail(err, CF_INVALID, "the revocation list is malformed or too long");
}

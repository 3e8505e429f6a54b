/* node/crypto/x509_client.h
 *
 * What a login with a TLS client certificate asks of certificates and revocation lists (RFC 5280): names,
 * extensions, whether a chain leads to what is trusted, and which certificates a list revokes. Everything
 * that is read is hostile. Memory is the arena's. Times are seconds since 1970. Thread: any.
 */
#ifndef COFFER_CRYPTO_X509_CLIENT_H
#define COFFER_CRYPTO_X509_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/arena.h"
#include "node/base/slice.h"
#include "node/base/status.h"

#define X509_BUNDLE_MAX ((size_t)32)         /* certificates of one PEM text */
#define X509_CRL_SIZE_MAX ((size_t)1 << 20) /* bytes of a revocation list */
#define X509_CRL_ENTRIES_MAX ((size_t)20000)

struct x509_extension {
    struct cf_slice oid;   /* "1.2.3.4" */
    struct cf_slice value; /* when it is one ASN.1 string; else empty */
};

struct x509_facts {
    struct cf_slice der;
    struct cf_slice common_name; /* of the subject; empty when there is none */
    struct cf_slice serial;      /* decimal */
    struct cf_slice subject_key_id, authority_key_id; /* bytes; may be empty */
    struct cf_slice *dns, *emails, *uris, *units;     /* SANs, organisational units */
    size_t dns_count, email_count, uri_count, unit_count;
    struct x509_extension *extensions;
    size_t extension_count;
    uint8_t fingerprint[32]; /* SHA-256 of the DER */
    bool is_ca;
    bool may_be_client; /* no extended key usage, or one that allows clients */
};

/* The first certificate of a PEM text, or one DER. CF_INVALID. */
CF_CHECKED cf_status x509_facts_read(struct cf_slice pem_or_der, struct arena *arena,
                                     struct x509_facts *ret, struct cf_error *err);

/* Which certificate: a serial number counts for its issuer alone. */
struct x509_link {
    uint8_t issuer[32];     /* SHA-256 of the issuer's name as DER */
    struct cf_slice serial; /* decimal */
    struct cf_slice issuer_der; /* of the first one of a verified chain: who issued it; empty: none, or itself */
};

/* Does the client's certificate lead to one of the trusted ones (PEM, CAs), directly or over others of them,
 * and was it made for clients? ret: the certificates of the chain, but for the trusted end. CF_DENIED. */
CF_CHECKED cf_status x509_client_verify(struct cf_slice client, struct cf_slice trusted, int64_t at_s,
                                        struct arena *arena, struct x509_link **ret,
                                        size_t *ret_count, struct cf_error *err);
/* Is it within its times? CF_DENIED. ret as above, of itself alone. */
CF_CHECKED cf_status x509_client_valid(struct cf_slice client, int64_t at_s, struct arena *arena,
                                       struct x509_link *ret, struct cf_error *err);

struct x509_crl {
    uint8_t issuer[32];
    struct cf_slice *serials; /* decimal */
    size_t count;
    int64_t next_update_s; /* 0: not said */
};
/* A revocation list, PEM or DER. Its signature is not looked at: who hands it in is trusted. CF_INVALID. */
CF_CHECKED cf_status x509_crl_read(struct cf_slice pem_or_der, struct arena *arena,
                                   struct x509_crl *ret, struct cf_error *err);

#endif

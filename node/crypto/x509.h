/* node/crypto/x509.h
 *
 * Certificates as bytes: a self-signed CA, certificates and requests (CSR) of its members, and what
 * a certificate says. Keys are P-256 as PKCS#8 DER in secret memory (RFC 5958, as
 * node/crypto/sign.h), certificates PEM (RFC 7468) or DER (RFC 5280). Signatures are ECDSA with
 * SHA-256. Times are seconds since 1970, UTC, given by the caller. Thread: any; some 0.2 ms for a
 * certificate.
 */
#ifndef COFFER_CRYPTO_X509_H
#define COFFER_CRYPTO_X509_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/secret.h"
#include "node/base/slice.h"
#include "node/base/status.h"

#define CERT_NAME_MAX ((size_t)64)        /* bytes of a common name (RFC 5280 A.1) */
#define CERT_URI_MAX ((size_t)255)        /* bytes of a SAN URI that x509_read reports */
#define CERT_SIZE_MAX ((size_t)64 * 1024) /* of any certificate or request that is read */
#define CERT_SANS_MAX ((size_t)64)

/* Whom a certificate is about. Everything borrowed. */
struct x509_names {
    struct cf_slice common_name; /* 1..CERT_NAME_MAX bytes of UTF-8 */
    struct cf_slice uri;         /* SAN URI, or empty */
    const struct cf_slice *dns;  /* SAN DNS names */
    size_t dns_count;
    const struct cf_slice *ips; /* SAN addresses, as text */
    size_t ip_count;
};

struct x509_validity {
    int64_t from_s, to_s;
};

CF_CHECKED cf_status x509_key_new(struct secret **ret, struct cf_error *err);
/* The public half as SubjectPublicKeyInfo DER, appended. CF_INVALID when `key` is no key. */
CF_CHECKED cf_status x509_key_public(const struct secret *key, struct cf_buf *ret,
                                     struct cf_error *err);
/* "-----BEGIN PRIVATE KEY-----", appended; let the buffer be a secret one. */
CF_CHECKED cf_status x509_key_pem(const struct secret *key, struct cf_buf *ret,
                                  struct cf_error *err);

/* A self-signed CA (may sign end certificates only: path length 0). PEM is appended to `cert`. */
CF_CHECKED cf_status x509_ca_new(struct cf_slice common_name, const struct secret *key,
                                 struct x509_validity validity, struct cf_buf *cert,
                                 struct cf_error *err);

struct x509_issuer {
    struct cf_slice cert; /* PEM or DER */
    const struct secret *key;
};
/* An end certificate for both directions of mutual TLS, over a public key (SubjectPublicKeyInfo).
 * CF_INVALID for names or keys that are not usable. PEM is appended to `cert`. */
CF_CHECKED cf_status x509_issue(const struct x509_issuer *issuer, struct cf_slice public_key,
                                const struct x509_names *names, struct x509_validity validity,
                                struct cf_buf *cert, struct cf_error *err);

/* A request (PKCS#10, RFC 2986), signed by the key it is about. PEM is appended. */
CF_CHECKED cf_status x509_csr_new(const struct secret *key, const struct x509_names *names,
                                  struct cf_buf *csr, struct cf_error *err);

/* What a certificate or request says. */
struct x509_info {
    char common_name[CERT_NAME_MAX + 1]; /* "" when there is none */
    char issuer[CERT_NAME_MAX + 1];      /* the issuer's common name; requests: "" */
    char uri[CERT_URI_MAX + 1];          /* "" when there is none; the only one that is allowed */
    int64_t not_before_s, not_after_s;   /* requests: 0 */
    uint8_t fingerprint[32];             /* SHA-256 of the DER */
    uint8_t public_key_hash[32];         /* SHA-256 of the SubjectPublicKeyInfo */
    char serial[43];                     /* hexadecimal; requests: "" */
    bool is_ca;
};

/* pem_or_der: the first certificate of it. CF_INVALID for anything malformed, for a common name or
 * URI that is too long or holds a NUL, and for more than one SAN URI (which one would be the
 * identity?). */
CF_CHECKED cf_status x509_read(struct cf_slice pem_or_der, struct x509_info *ret,
                               struct cf_error *err);
/* Checks the request's signature, too (proof that its maker has the key: CF_DENIED). The public key
 * is appended to `public_key` when that is not NULL. */
CF_CHECKED cf_status x509_csr_read(struct cf_slice pem_or_der, struct x509_info *ret,
                                   struct cf_buf *public_key, struct cf_error *err);

/* Is it signed by one of `cas` (PEM) and valid at that time? CF_DENIED says why not. */
CF_CHECKED cf_status x509_verify(struct cf_slice pem_or_der, struct cf_slice cas, int64_t at_s,
                                 struct cf_error *err);
/* Does the key belong to the certificate? CF_INVALID when not. */
CF_CHECKED cf_status x509_match(struct cf_slice pem_or_der, const struct secret *key,
                                struct cf_error *err);

/* The first certificate in the other form, appended. */
CF_CHECKED cf_status x509_to_der(struct cf_slice pem_or_der, struct cf_buf *ret,
                                 struct cf_error *err);
CF_CHECKED cf_status x509_to_pem(struct cf_slice pem_or_der, struct cf_buf *ret,
                                 struct cf_error *err);

#endif

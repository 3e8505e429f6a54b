/* node/crypto/x509_ocsp.h
 *
 * OCSP (RFC 6960): the question whether a certificate is revoked, and the answer. What is read is hostile. Times
 * are seconds since 1970. Memory is the arena's. Thread: any.
 */
#ifndef COFFER_CRYPTO_X509_OCSP_H
#define COFFER_CRYPTO_X509_OCSP_H

#include "node/crypto/x509_client.h"

#define X509_OCSP_SIZE_MAX ((size_t)64 * 1024)
#define X509_OCSP_SERVERS_MAX ((size_t)8)

enum x509_ocsp_status { X509_OCSP_GOOD, X509_OCSP_REVOKED, X509_OCSP_UNKNOWN };

struct x509_ocsp {
    enum x509_ocsp_status status;
    int64_t this_update_s, next_update_s; /* next 0: none was given */
};

/* The question about client (DER), issued by issuer (DER), as DER: always the same for the same two, so that
 * answers can be kept. */
CF_CHECKED cf_status x509_ocsp_ask(struct cf_slice client, struct cf_slice issuer, struct arena *arena,
                                   struct cf_slice *ret, struct cf_error *err);
/* The responders that the certificate names itself (authority information access). */
void x509_ocsp_servers(struct cf_slice client, struct arena *arena, struct cf_slice *ret, size_t max,
                       size_t *ret_count);
/* An answer to that question: signed by the issuer, by a responder that the issuer made for it, or by one of (or below)
 * `trusted` (PEM, may be empty); valid at at_s give or take five minutes. CF_DENIED: it says nothing that counts. */
CF_CHECKED cf_status x509_ocsp_read(struct cf_slice answer, struct cf_slice client, struct cf_slice issuer,
                                    struct cf_slice trusted, int64_t at_s, struct x509_ocsp *ret,
                                    struct cf_error *err);

#endif

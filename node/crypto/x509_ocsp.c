/* node/crypto/x509_ocsp.c: OCSP. Hostile input. */
#include "node/crypto/x509_ocsp.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "node/base/memory.h"
#include "node/crypto/x509_int.h"

#define SKEW_S 300L

static OCSP_CERTID *id_of(struct cf_slice client, struct cf_slice issuer, struct cf_error *err)
{
    X509 *cert = NULL, *by = NULL;
    OCSP_CERTID *id = NULL;
    if (x509_load_cert(client, &cert, err) == CF_OK && x509_load_cert(issuer, &by, err) == CF_OK) {
        id = OCSP_cert_to_id(NULL, cert, by); /* SHA-1: what every responder knows; it only names */
    }
    X509_free(cert);
    X509_free(by);
    return id;
}

cf_status x509_ocsp_ask(struct cf_slice client, struct cf_slice issuer, struct arena *arena, struct cf_slice *ret,
                        struct cf_error *err)
{
    OCSP_CERTID *id = id_of(client, issuer, err);
    OCSP_REQUEST *request = OCSP_REQUEST_new();
    unsigned char *der = NULL;
    int size = -1;
    if (id != NULL && request != NULL && OCSP_request_add0_id(request, id) != NULL) {
        id = NULL; /* the request's */
        size = i2d_OCSP_REQUEST(request, &der);
    }
    if (size > 0) {
        *ret = arena_copy(arena, cf_slice_of(der, (size_t)size));
    }
    OPENSSL_free(der);
    OCSP_CERTID_free(id);
    OCSP_REQUEST_free(request);
    ERR_clear_error();
    return size > 0 ? CF_OK : cf_fail(err, CF_INVALID, "cannot ask about this certificate by OCSP");
}

void x509_ocsp_servers(struct cf_slice client, struct arena *arena, struct cf_slice *ret, size_t max,
                       size_t *ret_count)
{
    X509 *cert = NULL;
    *ret_count = 0;
    if (x509_load_cert(client, &cert, NULL) != CF_OK) {
        return;
    }
    STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp(cert);
    for (int i = 0; urls != NULL && i < sk_OPENSSL_STRING_num(urls) && *ret_count < max; i++) {
        ret[(*ret_count)++] = arena_copy(arena, cf_slice_str(sk_OPENSSL_STRING_value(urls, i)));
    }
    X509_email_free(urls);
    X509_free(cert);
    ERR_clear_error();
}

/* ---- the answer ---- */

static void add_all(struct cf_slice pem, STACK_OF(X509) *to)
{
    BIO *bio = BIO_new_mem_buf(pem.data, (int)cf_min(pem.size, CERT_SIZE_MAX));
    X509 *cert;
    for (size_t i = 0; bio != NULL && i < X509_BUNDLE_MAX &&
                       (cert = PEM_read_bio_X509(bio, NULL, NULL, (void *)(uintptr_t) "")) != NULL;
         i++) {
        if (sk_X509_push(to, cert) == 0) {
            X509_free(cert);
        }
    }
    BIO_free(bio);
    ERR_clear_error();
}

static X509_STORE *store_of(STACK_OF(X509) *certs, int64_t at_s)
{
    X509_STORE *store = X509_STORE_new();
    if (store != NULL) {
        X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
        X509_VERIFY_PARAM_set_time(X509_STORE_get0_param(store), (time_t)at_s);
        for (int i = 0; i < sk_X509_num(certs); i++) {
            X509_STORE_add_cert(store, sk_X509_value(certs, i));
        }
    }
    return store;
}

/* known: whose signature counts by itself; what they issued counts if it was made for OCSP. */
static bool verify(OCSP_BASICRESP *basic, STACK_OF(X509) *known, unsigned long flags, int64_t at_s)
{
    X509_STORE *store = store_of(known, at_s);
    bool good = store != NULL && sk_X509_num(known) != 0 &&
                OCSP_basic_verify(basic, known, store, OCSP_TRUSTOTHER | flags) == 1;
    X509_STORE_free(store);
    ERR_clear_error();
    return good;
}

/* A responder that was not issued by the certificate's issuer has to be named by the role, and made for this. */
static bool is_made_for_ocsp(OCSP_BASICRESP *basic, STACK_OF(X509) *known)
{
    X509 *signer = NULL;
    if (OCSP_resp_get0_signer(basic, &signer, known) != 1 || signer == NULL) {
        return false;
    }
    for (int i = 0; i < sk_X509_num(known); i++) {
        if (X509_cmp(sk_X509_value(known, i), signer) == 0) {
            return true;
        }
    }
    return (X509_get_extended_key_usage(signer) & XKU_OCSP_SIGN) != 0 &&
           (X509_get_extension_flags(signer) & EXFLAG_XKUSAGE) != 0;
}

static bool is_signed(OCSP_BASICRESP *basic, struct cf_slice issuer, struct cf_slice trusted, int64_t at_s)
{
    STACK_OF(X509) *by_issuer = sk_X509_new_null(), *by_role = sk_X509_new_null();
    X509 *cert = NULL;
    bool good = false;
    if (by_issuer != NULL && by_role != NULL && x509_load_cert(issuer, &cert, NULL) == CF_OK) {
        if (sk_X509_push(by_issuer, cert) == 0) {
            X509_free(cert);
        }
        add_all(trusted, by_role);
        good = verify(basic, by_issuer, 0, at_s) ||
               (verify(basic, by_role, OCSP_NOCHECKS, at_s) && is_made_for_ocsp(basic, by_role));
    }
    sk_X509_pop_free(by_issuer, X509_free);
    sk_X509_pop_free(by_role, X509_free);
    return good;
}

static int64_t seconds_of(const ASN1_GENERALIZEDTIME *time)
{
    int days, seconds;
    ASN1_TIME *start = ASN1_TIME_set(NULL, 0);
    bool known = time != NULL && start != NULL && ASN1_TIME_diff(&days, &seconds, start, time) == 1;
    ASN1_TIME_free(start);
    return known ? (int64_t)days * 86400 + seconds : 0;
}

/* Not OCSP_check_validity(): that asks the process's clock, and what counts is the store's. */
static bool is_timely(const struct x509_ocsp *answer, int64_t at_s)
{
    return answer->this_update_s != 0 && answer->this_update_s <= at_s + SKEW_S &&
           (answer->next_update_s == 0 || answer->next_update_s >= at_s - SKEW_S);
}

static cf_status read_basic(OCSP_BASICRESP *basic, struct cf_slice client, struct cf_slice issuer,
                            struct cf_slice trusted, int64_t at_s, struct x509_ocsp *ret, struct cf_error *err)
{
    int status = -1, reason;
    ASN1_GENERALIZEDTIME *revoked = NULL, *this_update = NULL, *next_update = NULL;
    OCSP_CERTID *id = id_of(client, issuer, err);
    bool found = id != NULL && OCSP_resp_find_status(basic, id, &status, &reason, &revoked, &this_update,
                                                     &next_update) == 1;
    OCSP_CERTID_free(id);
    if (!found) {
        return cf_fail(err, CF_DENIED, "the OCSP response is about another certificate");
    }
    if (!is_signed(basic, issuer, trusted, at_s)) {
        return cf_fail(err, CF_DENIED, "the OCSP response is not signed by the certificate's issuer, nor by a responder "
                                       "of its or of ocsp_ca_certificates");
    }
    ret->this_update_s = seconds_of(this_update);
    ret->next_update_s = seconds_of(next_update);
    if (!is_timely(ret, at_s)) {
        return cf_fail(err, CF_DENIED, "the OCSP response is too old, or not yet valid");
    }
    ret->status = status == V_OCSP_CERTSTATUS_GOOD      ? X509_OCSP_GOOD
                  : status == V_OCSP_CERTSTATUS_REVOKED ? X509_OCSP_REVOKED
                                                        : X509_OCSP_UNKNOWN;
    return CF_OK;
}

cf_status x509_ocsp_read(struct cf_slice answer, struct cf_slice client, struct cf_slice issuer,
                         struct cf_slice trusted, int64_t at_s, struct x509_ocsp *ret, struct cf_error *err)
{
    const unsigned char *at = answer.data;
    *ret = (struct x509_ocsp){.status = X509_OCSP_UNKNOWN};
    OCSP_RESPONSE *response = answer.size != 0 && answer.size <= X509_OCSP_SIZE_MAX
                                  ? d2i_OCSP_RESPONSE(NULL, &at, (long)answer.size)
                                  : NULL;
    cf_status status;
    if (response == NULL) {
        status = cf_fail(err, CF_DENIED, "the OCSP response cannot be read");
    } else if (OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        status = cf_fail(err, CF_DENIED, "the OCSP responder refuses: %s",
                         OCSP_response_status_str(OCSP_response_status(response)));
    } else {
        OCSP_BASICRESP *basic = OCSP_response_get1_basic(response);
        status = basic != NULL ? read_basic(basic, client, issuer, trusted, at_s, ret, err)
                               : cf_fail(err, CF_DENIED, "the OCSP response cannot be read");
        OCSP_BASICRESP_free(basic);
    }
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return status;
}

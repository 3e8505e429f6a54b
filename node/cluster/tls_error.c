/* node/cluster/tls_error.c: OpenSSL's errors as sentences that say what happened and what to do. */
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "node/cluster/tls_int.h"

#define PROXY_HINT                                                                                 \
    "a proxy terminates TLS between this node and the peer: let TCP pass through to the cluster port"

const char *tls_queue_text(char *text, size_t size)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    if (reason != NULL) {
        (void)snprintf(text, size, "%s", reason);
    } else if (code != 0) {
        ERR_error_string_n(code, text, size);
    } else {
        (void)snprintf(text, size, "unknown TLS error");
    }
    ERR_clear_error();
    return text;
}

/* The identity that a certificate carries; false when it carries none. */
static bool find_identity(X509 *cert, char *text, size_t size)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    bool found = false;
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        struct cf_slice uri = CF_SLICE_EMPTY;
        if (name->type == GEN_URI) {
            uri = cf_slice_of(ASN1_STRING_get0_data(name->d.uniformResourceIdentifier),
                              (size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier));
        }
        found = cf_slice_starts(uri, CF_SLICE("coffer://"));
        if (found) {
            (void)snprintf(text, size, "%.*s", CF_SHOW(uri));
        }
    }
    GENERAL_NAMES_free(names);
    for (char *at = text; found && *at != '\0'; at++) {
        *at = *at <= ' ' || *at > '~' ? '?' : *at; /* a stranger's bytes on their way to the log */
    }
    return found;
}

/* ": our certificate's identity and its end", for the peer's alert says nothing of it. */
static const char *name_own(const SSL *ssl, char *text, size_t size)
{
    X509 *cert = SSL_get_certificate(ssl);
    char uri[200];
    struct tm end;
    text[0] = '\0';
    if (cert != NULL && find_identity(cert, uri, sizeof(uri)) &&
        ASN1_TIME_to_tm(X509_get0_notAfter(cert), &end) == 1) {
        (void)snprintf(text, size, ": %s, good until %04d-%02d-%02dT%02d:%02d:%02dZ", uri,
                       end.tm_year + 1900, end.tm_mon + 1, end.tm_mday, end.tm_hour, end.tm_min,
                       end.tm_sec);
    }
    return text;
}

int tls_on_verify(int ok, X509_STORE_CTX *store)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_note *note = ssl != NULL ? SSL_get_app_data(ssl) : NULL;
    X509 *cert = X509_STORE_CTX_get0_cert(store); /* the peer's own, whatever of its chain is wrong */
    if (ok != 0 || note == NULL || cert == NULL || note->peer[0] != '\0') {
        return ok;
    }
    char subject[72] = "", issuer[72] = "", uri[90] = "";
    X509_NAME_oneline(X509_get_subject_name(cert), subject, sizeof(subject));
    X509_NAME_oneline(X509_get_issuer_name(cert), issuer, sizeof(issuer));
    note->is_node = find_identity(cert, uri, sizeof(uri));
    (void)snprintf(note->peer, sizeof(note->peer), "\"%s\" issued by \"%s\"%s%s%s", subject, issuer,
                   uri[0] != '\0' ? " (" : "", uri, uri[0] != '\0' ? ")" : "");
    return ok;
}

/* A cluster port always chooses our ALPN name, before it shows its certificate, and that carries an
 * identity. Whoever answers without the one or the other is something else in between. */
static bool smells_of_proxy(const SSL *ssl, const struct tls_note *note)
{
    const unsigned char *chosen = NULL;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl, &chosen, &size);
    return note->alpn != NULL && (size == 0 || (note->peer[0] != '\0' && !note->is_node));
}

static cf_status explain_verify(const SSL *ssl, long result, const struct tls_note *note,
                                struct cf_error *err)
{
    if (smells_of_proxy(ssl, note)) {
        return cf_fail(err, CF_DENIED, PROXY_HINT "; the certificate that was shown is %s", note->peer);
    }
    switch (result) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_INVALID_CA:
        return cf_fail(err, CF_DENIED, "certificate signed by an unknown authority: %s%s", note->peer,
                       note->alpn != NULL ? "; check the address: this is another cluster or set" : "");
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return cf_fail(err, CF_DENIED, "the peer's certificate has expired: %s", note->peer);
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return cf_fail(err, CF_DENIED,
                       "the peer's certificate is not valid yet: %s; compare the clocks",
                       note->peer);
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
        return cf_fail(err, CF_DENIED, "the peer's certificate is too weak: %s", note->peer);
    default:
        return cf_fail(err, CF_DENIED, "the peer's certificate was refused: %s: %s",
                       X509_verify_cert_error_string(result), note->peer);
    }
}

static cf_status explain_no_name(const struct tls_note *note, struct cf_error *err)
{
    if (note->alpn != NULL) {
        return cf_fail(err, CF_DENIED,
                       "the peer does not serve \"%s\": it is no cluster port of a node that takes "
                       "part in this, or " PROXY_HINT,
                       note->alpn);
    }
    return cf_fail(err, CF_DENIED, "a client asked for %s, which is not served here",
                   note->wanted[0] != '\0' ? note->wanted
                                           : "no protocol (ALPN); if it came through a proxy, "
                                             "that one terminates TLS: let TCP pass through");
}

/* Errors in OpenSSL's queue that have a clear cause; CF_OK when it is none of them. */
static cf_status explain_reason(const SSL *ssl, int reason, const struct tls_note *note,
                                struct cf_error *err)
{
    char own[256];
    switch (reason) {
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        return cf_fail(err, CF_DENIED,
                       "the peer does not trust our certificate (it is signed by "
                       "an authority that the peer does not know)%s",
                       name_own(ssl, own, sizeof(own)));
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        return cf_fail(err, CF_DENIED, "the peer refuses our certificate: it has expired%s",
                       name_own(ssl, own, sizeof(own)));
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
        return cf_fail(err, CF_DENIED, "the peer refuses our certificate%s",
                       name_own(ssl, own, sizeof(own)));
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        return cf_fail(err, CF_DENIED, "the peer requires a client certificate");
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return cf_fail(err, CF_DENIED,
                       "the peer sent no certificate; if it came through a proxy, "
                       "that one terminates TLS: let TCP pass through");
    case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
    case SSL_R_NO_APPLICATION_PROTOCOL:
    case SSL_R_CALLBACK_FAILED:
        return explain_no_name(note, err);
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
        return cf_fail(err, CF_DENIED,
                       "the peer does not speak a TLS version that is allowed "
                       "here%s",
                       smells_of_proxy(ssl, note) ? "; " PROXY_HINT : "");
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
        return cf_fail(err, CF_INVALID, "client sent a plain HTTP request to a TLS port");
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_BAD_RECORD_TYPE:
    case SSL_R_UNEXPECTED_MESSAGE:
        return cf_fail(err, CF_INVALID, "the peer does not speak TLS");
    default:
        return CF_OK;
    }
}

cf_status tls_explain(SSL *ssl, int ssl_error, int system_error, bool opening,
                      const struct tls_note *note, struct cf_error *err)
{
    unsigned long code = ERR_peek_error();
    int reason = code != 0 && ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
    char text[120];
    if (ssl_error == SSL_ERROR_ZERO_RETURN || (ssl_error == SSL_ERROR_SYSCALL && code == 0) ||
        reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        ERR_clear_error();
        if (ssl_error == SSL_ERROR_SYSCALL && system_error != 0) {
            return cf_fail(err, CF_UNAVAILABLE, "connection lost: %s", strerror(system_error));
        }
        return opening ? cf_fail(err, CF_UNAVAILABLE, "the peer closed during the TLS handshake")
                       : CF_OK;
    }
    long verify = SSL_get_verify_result(ssl);
    cf_status status = CF_OK;
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && verify != X509_V_OK) {
        status = explain_verify(ssl, verify, note, err);
    } else if (reason != 0) {
        status = explain_reason(ssl, reason, note, err);
    }
    if (status == CF_OK) {
        return cf_fail(err, CF_UNAVAILABLE, "TLS %s: %s", opening ? "handshake failed" : "failed",
                       tls_queue_text(text, sizeof(text)));
    }
    ERR_clear_error();
    return status;
}

cf_status tls_check_alpn(SSL *ssl, const struct tls_note *note, struct cf_error *err)
{
    const unsigned char *chosen = NULL;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl, &chosen, &size);
    if (note->alpn == NULL || cf_slice_is(cf_slice_of(chosen, size), note->alpn)) {
        return CF_OK;
    }
    return explain_no_name(note, err);
}

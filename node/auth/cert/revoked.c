/* node/auth/cert/revoked.c: whether a certificate was revoked: by lists that were handed in, by lists at URLs, by OCSP.
 *
 * What has to be asked outside is asked through node/core/outside.h: a run that lacks an answer fails with CF_BUSY
 * and comes again. A list at a URL counts for LIST_FRESH_S; when a newer one cannot be had, the last one
 * goes on counting. A responder's word counts until its next update. */
#include "node/auth/cert/cert_int.h"

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/outside.h"
#include "node/crypto/x509_ocsp.h"
#include "node/format/encode.h"

#define NS_PER_S ((int64_t)1000000000)
#define LIST_FRESH_S ((int64_t)3600)
#define NO_UPDATE_FRESH_US ((uint64_t)60 * 1000000) /* of an answer that does not say when there will be another */

/* ---- lists ---- */

/* Whoever answers 200 with a page of his own must not take the place of the last list. */
static cf_status check_answer(struct cf_slice answer, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(4096);
    struct x509_crl crl;
    return x509_crl_read(answer, arena, &crl, err);
}

cf_status cert_fetch_list(struct request *rq, struct cf_slice url, uint64_t max_age_us, struct x509_crl *ret,
                          struct cf_error *err)
{
    struct cf_slice bytes;
    struct outside_ask ask = {.url = url, .answer_max = X509_CRL_SIZE_MAX, .check = check_answer};
    CF_TRY(outside_get(rq, &ask, max_age_us, &bytes, err));
    return x509_crl_read(bytes, rq->arena, ret, err);
}

/* Newer than what is stored; CF_NOT_FOUND: there is none, the stored one counts. */
static cf_status newer_list(struct request *rq, const struct json *list, struct x509_crl *ret, struct cf_error *err)
{
    const struct json *cdp = json_get(list, "cdp");
    struct cf_slice url = json_get_string(cdp, "url");
    int64_t now_s = request_now_ns(rq) / NS_PER_S;
    if (url.size == 0 || now_s - json_get_int(list, "fetched") < LIST_FRESH_S) {
        return CF_NOT_FOUND;
    }
    struct cf_error reason = {0};
    cf_status status = cert_fetch_list(rq, url, (uint64_t)LIST_FRESH_S * 1000000, ret, &reason);
    if (status == CF_BUSY) {
        return cf_fail(err, CF_BUSY, "%s", reason.message);
    }
    if (status != CF_OK) {
        cf_warn("cert", "the revocation list at %.*s cannot be fetched, the last one counts: %s",
                CF_SHOW(cf_slice_first(url, 120)), reason.message);
        status = cert_fetch_list(rq, url, OUTSIDE_ANY_AGE, ret, &reason);
        rq->ask = NULL;
    }
    return status == CF_OK ? CF_OK : CF_NOT_FOUND;
}

static bool list_revokes(const struct x509_crl *crl, const struct x509_link *link)
{
    if (memcmp(crl->issuer, link->issuer, sizeof(crl->issuer)) != 0) {
        return false;
    }
    for (size_t i = 0; i < crl->count; i++) {
        if (cf_slice_eq(crl->serials[i], link->serial)) {
            return true;
        }
    }
    return false;
}

static bool record_revokes(const struct json *list, const struct x509_link *link)
{
    CF_BUF(issuer) = {0};
    encode_hex(&issuer, cf_slice_of(link->issuer, sizeof(link->issuer)));
    return cf_slice_eq(json_get_string(list, "issuer"), cf_buf_slice(&issuer)) &&
           json_get_slice(json_get(list, "serials"), link->serial) != NULL;
}

static cf_status check_list(struct request *rq, struct cf_slice name, const struct x509_link *links, size_t count,
                            bool asks, struct cf_error *err)
{
    struct json *list;
    struct x509_crl crl;
    CF_TRY(store_get_json(rq, cert_crl_record(rq, name), &list, err));
    cf_status newer = asks ? newer_list(rq, list, &crl, err) : CF_NOT_FOUND;
    if (newer == CF_BUSY) {
        return newer;
    }
    for (size_t k = 0; k < count; k++) {
        if (newer == CF_OK ? list_revokes(&crl, &links[k]) : record_revokes(list, &links[k])) {
            return cf_fail(err, CF_DENIED, "the certificate was revoked");
        }
    }
    return CF_OK;
}

cf_status cert_check_lists(struct request *rq, const struct x509_link *links, size_t count, bool asks,
                           struct cf_error *err)
{
    struct txn_names names;
    CF_TRY(cert_crl_names(rq, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        CF_TRY(check_list(rq, names.names[i], links, count, asks, err));
    }
    return CF_OK;
}

/* ---- OCSP ---- */

struct inquiry {
    struct request *rq;
    const struct cert_ocsp *ocsp;
    struct cf_slice client, issuer, question;
};

/* CF_DENIED: it said nothing that counts, or nothing; CF_BUSY. */
static cf_status ask_server(const struct inquiry *inquiry, struct cf_slice server, uint64_t max_age_us,
                            struct x509_ocsp *ret, struct cf_error *err)
{
    struct request *rq = inquiry->rq;
    int64_t now_s = request_now_ns(rq) / NS_PER_S, max_age_s = inquiry->ocsp->this_update_max_age_s;
    struct outside_ask ask = {.url = server,
                              .body = inquiry->question,
                              .content_type = "application/ocsp-request",
                              .answer_max = X509_OCSP_SIZE_MAX};
    struct cf_slice answer;
    CF_TRY(outside_get(rq, &ask, max_age_us, &answer, err));
    CF_TRY(x509_ocsp_read(answer, inquiry->client, inquiry->issuer, inquiry->ocsp->ca_certificates, now_s, ret, err));
    if (max_age_s > 0 && now_s - ret->this_update_s > max_age_s) {
        return cf_fail(err, CF_DENIED, "the OCSP response is older than ocsp_this_update_max_age");
    }
    return CF_OK;
}

static cf_status word_of(const struct inquiry *inquiry, struct cf_slice server, struct x509_ocsp *ret,
                         struct cf_error *err)
{
    cf_status status = ask_server(inquiry, server, OUTSIDE_ANY_AGE, ret, err);
    if (status == CF_DENIED) { /* what was kept counts no more */
        return ask_server(inquiry, server, 0, ret, err);
    }
    bool may_be_old = status == CF_OK && ret->next_update_s == 0;
    return may_be_old ? ask_server(inquiry, server, NO_UPDATE_FRESH_US, ret, err) : status;
}

static cf_status ask_servers(const struct inquiry *inquiry, const struct cf_slice *servers, size_t count,
                             struct cf_error *err)
{
    struct cf_error why = {0};
    size_t good = 0;
    cf_fail(&why, CF_DENIED, "the certificate names no OCSP server, and the role has no ocsp_servers_override");
    for (size_t i = 0; i < count; i++) {
        struct x509_ocsp word;
        cf_status status = word_of(inquiry, servers[i], &word, &why);
        if (status == CF_BUSY) {
            return cf_fail(err, CF_BUSY, "%s", why.message);
        }
        if (status == CF_OK && word.status == X509_OCSP_REVOKED) {
            return cf_fail(err, CF_DENIED, "the certificate was revoked");
        }
        if (status == CF_OK && word.status == X509_OCSP_UNKNOWN) {
            cf_fail(&why, CF_DENIED, "%.*s does not know the certificate", CF_SHOW(cf_slice_first(servers[i], 120)));
        }
        good += status == CF_OK && word.status == X509_OCSP_GOOD;
        if (good != 0 && !inquiry->ocsp->query_all) {
            return CF_OK;
        }
    }
    if (count != 0 && good == count) {
        return CF_OK;
    }
    if (inquiry->ocsp->fail_open) {
        cf_warn("cert", "a login goes on without OCSP (ocsp_fail_open): %s", why.message);
        return CF_OK;
    }
    return cf_fail(err, CF_DENIED, "OCSP: %s", why.message);
}

cf_status cert_check_ocsp(struct request *rq, const struct cert_ocsp *ocsp, struct cf_slice client,
                          const struct x509_link *link, struct cf_error *err)
{
    struct cf_slice named[X509_OCSP_SERVERS_MAX];
    const struct cf_slice *servers = ocsp->servers.items;
    size_t count = cf_min(ocsp->servers.count, X509_OCSP_SERVERS_MAX);
    struct inquiry inquiry = {rq, ocsp, client, link->issuer_der, CF_SLICE_EMPTY};
    if (!ocsp->is_enabled || link->issuer_der.size == 0) {
        return CF_OK;
    }
    CF_TRY(x509_ocsp_ask(client, link->issuer_der, rq->arena, &inquiry.question, err));
    if (count == 0) {
        x509_ocsp_servers(client, rq->arena, named, X509_OCSP_SERVERS_MAX, &count);
        servers = named;
    }
    return ask_servers(&inquiry, servers, count, err);
}

/* node/cluster/ca.c: our own CA, on node/crypto/x509.h. */
#include "node/cluster/ca.h"

#include <string.h>

#include "node/base/memory.h"
#include "node/crypto/x509.h"

struct ca {
    char cluster[IDENTITY_PART_MAX + 1];
    struct cf_buf cert;
    struct secret *key;
    int64_t not_before_s, not_after_s;
};

/* The common name is for people, cut to what fits; the SAN URI is what counts. */
static struct cf_slice common_name(const char *what, const char *which, char text[CERT_NAME_MAX])
{
    CF_BUF(whole) = {0};
    cf_buf_addf(&whole, "coffer %s %s", what, which);
    struct cf_slice fits = cf_slice_first(cf_buf_slice(&whole), CERT_NAME_MAX);
    memcpy(text, fits.data, fits.size);
    return cf_slice_of(text, fits.size);
}

static cf_status set_cluster(struct ca *ca, struct cf_slice cluster, struct cf_error *err)
{
    struct identity probe;
    CF_TRY(identity_make(cluster, CF_SLICE("ca"), CF_SLICE("ca"), &probe, err));
    memcpy(ca->cluster, probe.cluster, sizeof(ca->cluster));
    return CF_OK;
}

cf_status ca_new(struct cf_slice cluster, int64_t now_s, struct ca **ret, struct cf_error *err)
{
    char name[CERT_NAME_MAX];
    CF_OWNED(ca) ca = cf_new(struct ca);
    CF_TRY(set_cluster(ca, cluster, err));
    ca->not_before_s = now_s - CA_BACKDATE_S;
    ca->not_after_s = now_s + CA_LIFE_S;
    struct x509_validity validity = {ca->not_before_s, ca->not_after_s};
    CF_TRY(x509_key_new(&ca->key, err));
    CF_TRY(x509_ca_new(common_name("CA", ca->cluster, name), ca->key, validity, &ca->cert, err));
    *ret = ca_take(&ca);
    return CF_OK;
}

cf_status ca_load(struct cf_slice cluster, struct cf_slice cert_pem, const struct secret *key,
                  struct ca **ret, struct cf_error *err)
{
    struct x509_info info;
    CF_OWNED(ca) ca = cf_new(struct ca);
    CF_TRY(set_cluster(ca, cluster, err));
    CF_TRY(x509_read(cert_pem, &info, err));
    CF_TRY(x509_match(cert_pem, key, err));
    if (!info.is_ca) {
        return cf_fail(err, CF_INVALID, "the certificate of \"%s\" is no CA's", info.common_name);
    }
    ca->not_before_s = info.not_before_s;
    ca->not_after_s = info.not_after_s;
    cf_buf_add_slice(&ca->cert, cert_pem);
    ca->key = secret_copy(secret_slice(key));
    *ret = ca_take(&ca);
    return CF_OK;
}

void ca_free(struct ca *ca)
{
    if (ca != NULL) {
        cf_buf_done(&ca->cert);
        secret_free(ca->key);
        cf_free(ca);
    }
}

struct cf_slice ca_cert(const struct ca *ca)
{
    return cf_buf_slice(&ca->cert);
}

const struct secret *ca_key(const struct ca *ca)
{
    return ca->key;
}

const char *ca_cluster(const struct ca *ca)
{
    return ca->cluster;
}

int64_t ca_renew_at_s(const struct ca *ca)
{
    return ca->not_before_s + (ca->not_after_s - ca->not_before_s) / 3 * 2;
}

static cf_status issue(const struct ca *ca, const struct identity *identity,
                       struct cf_slice public_key, int64_t now_s, int64_t life_s,
                       struct cf_buf *cert_pem, struct cf_error *err)
{
    char name[CERT_NAME_MAX], uri[IDENTITY_URI_SIZE];
    identity_uri(identity, uri);
    struct x509_names names = {.common_name = common_name(identity->role, identity->id, name),
                               .uri = cf_slice_str(uri)};
    struct x509_issuer issuer = {cf_buf_slice(&ca->cert), ca->key};
    int64_t until = now_s + (life_s != 0 ? life_s : CA_NODE_LIFE_S);
    struct x509_validity validity = {now_s - CA_BACKDATE_S,
                                     until < ca->not_after_s ? until : ca->not_after_s};
    return x509_issue(&issuer, public_key, &names, validity, cert_pem, err);
}

cf_status ca_issue(const struct ca *ca, struct cf_slice role, struct cf_slice id, int64_t now_s,
                   int64_t life_s, struct node_tls **ret, struct cf_error *err)
{
    struct identity identity;
    CF_OWNED(secret) key = NULL;
    CF_BUF(public_key) = {0};
    CF_BUF(cert) = {0};
    CF_TRY(identity_make(cf_slice_str(ca->cluster), role, id, &identity, err));
    CF_TRY(x509_key_new(&key, err));
    CF_TRY(x509_key_public(key, &public_key, err));
    CF_TRY(issue(ca, &identity, cf_buf_slice(&public_key), now_s, life_s, &cert, err));
    return node_tls_new(cf_buf_slice(&cert), key, ca_cert(ca), ret, err);
}

cf_status ca_sign(const struct ca *ca, struct cf_slice csr, struct cf_slice role,
                  struct cf_slice id, int64_t now_s, int64_t life_s, struct cf_buf *cert_pem,
                  struct cf_error *err)
{
    struct identity allowed, asked;
    struct x509_info info;
    CF_BUF(public_key) = {0};
    CF_TRY(identity_make(cf_slice_str(ca->cluster), role, id, &allowed, err));
    CF_TRY(x509_csr_read(csr, &info, &public_key, err));
    CF_TRY(identity_parse(cf_slice_str(info.uri), &asked, err));
    if (!identity_equal(&allowed, &asked)) {
        return cf_fail(err, CF_DENIED, "the request is for \"%s\", allowed is %s/%s/%s", info.uri,
                       allowed.cluster, allowed.role, allowed.id);
    }
    return issue(ca, &allowed, cf_buf_slice(&public_key), now_s, life_s, cert_pem, err);
}

cf_status ca_request(const struct identity *identity, const struct secret *key, struct cf_buf *csr,
                     struct cf_error *err)
{
    char name[CERT_NAME_MAX], uri[IDENTITY_URI_SIZE];
    identity_uri(identity, uri);
    struct x509_names names = {.common_name = common_name(identity->role, identity->id, name),
                               .uri = cf_slice_str(uri)};
    return x509_csr_new(key, &names, csr, err);
}

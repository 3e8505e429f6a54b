/* node/cluster/identity.c: identities as URIs, and the TLS identity of a node. */
#include "node/cluster/identity.h"

#include <stdio.h>
#include <string.h>

#include "node/base/memory.h"
#include "node/crypto/x509.h"

static bool is_part(struct cf_slice part)
{
    if (part.size == 0 || part.size > IDENTITY_PART_MAX || cf_slice_is(part, ".") ||
        cf_slice_is(part, "..")) {
        return false;
    }
    for (size_t i = 0; i < part.size; i++) {
        uint8_t c = part.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '_' || c == '-')) {
            return false;
        }
    }
    return true;
}

static cf_status set_part(struct cf_slice part, const char *what, char *to, struct cf_error *err)
{
    if (!is_part(part)) {
        return cf_fail(err, CF_INVALID,
                       "%s \"%.*s\" is not usable: 1 to 64 letters, digits, \".\", \"_\" or \"-\"",
                       what, CF_SHOW(cf_slice_first(part, 80)));
    }
    memcpy(to, part.data, part.size);
    to[part.size] = '\0';
    return CF_OK;
}

cf_status identity_make(struct cf_slice cluster, struct cf_slice role, struct cf_slice id,
                        struct identity *ret, struct cf_error *err)
{
    struct identity made;
    CF_TRY(set_part(cluster, "cluster id", made.cluster, err));
    CF_TRY(set_part(role, "role", made.role, err));
    CF_TRY(set_part(id, "id", made.id, err));
    *ret = made;
    return CF_OK;
}

cf_status identity_parse(struct cf_slice uri, struct identity *ret, struct cf_error *err)
{
    struct cf_slice scheme = CF_SLICE("coffer://");
    struct cf_slice rest = cf_slice_from(uri, scheme.size);
    size_t first = cf_slice_find(rest, '/');
    struct cf_slice after = cf_slice_from(rest, first + 1);
    size_t second = cf_slice_find(after, '/');
    if (!cf_slice_starts(uri, scheme) ||
        identity_make(cf_slice_first(rest, first), cf_slice_first(after, second),
                      cf_slice_from(after, second + 1), ret, NULL) != CF_OK) {
        return cf_fail(err, CF_INVALID, "\"%.*s\" is no identity of a node",
                       CF_SHOW(cf_slice_first(uri, 100)));
    }
    return CF_OK;
}

void identity_uri(const struct identity *identity, char uri[IDENTITY_URI_SIZE])
{
    (void)snprintf(uri, IDENTITY_URI_SIZE, "coffer://%s/%s/%s", identity->cluster, identity->role,
                   identity->id);
}

bool identity_equal(const struct identity *a, const struct identity *b)
{
    return strcmp(a->cluster, b->cluster) == 0 && strcmp(a->role, b->role) == 0 &&
           strcmp(a->id, b->id) == 0;
}

static bool part_matches(const char *wanted, const char *is)
{
    return wanted[0] == '\0' || strcmp(wanted, is) == 0;
}

bool identity_matches(const struct identity *wanted, const struct identity *is)
{
    return part_matches(wanted->cluster, is->cluster) && part_matches(wanted->role, is->role) &&
           part_matches(wanted->id, is->id);
}

struct node_tls {
    struct identity identity;
    struct cf_buf cert, cas;
    struct secret *key;
    int64_t not_before_s, not_after_s;
};

cf_status node_tls_new(struct cf_slice cert_pem, const struct secret *key, struct cf_slice cas_pem,
                       struct node_tls **ret, struct cf_error *err)
{
    struct x509_info info;
    CF_OWNED(node_tls) tls = cf_new(struct node_tls);
    CF_TRY(x509_read(cert_pem, &info, err));
    CF_TRY(x509_match(cert_pem, key, err));
    CF_TRY(identity_parse(cf_slice_str(info.uri), &tls->identity, err));
    cf_buf_add_slice(&tls->cert, cert_pem);
    cf_buf_add_slice(&tls->cas, cas_pem);
    tls->key = secret_copy(secret_slice(key));
    tls->not_before_s = info.not_before_s;
    tls->not_after_s = info.not_after_s;
    *ret = node_tls_take(&tls);
    return CF_OK;
}

void node_tls_free(struct node_tls *tls)
{
    if (tls != NULL) {
        cf_buf_done(&tls->cert);
        cf_buf_done(&tls->cas);
        secret_free(tls->key);
        cf_free(tls);
    }
}

struct node_tls *node_tls_copy(const struct node_tls *tls)
{
    struct node_tls *copy = cf_new(struct node_tls);
    copy->identity = tls->identity;
    cf_buf_add_slice(&copy->cert, cf_buf_slice(&tls->cert));
    cf_buf_add_slice(&copy->cas, cf_buf_slice(&tls->cas));
    copy->key = secret_copy(secret_slice(tls->key));
    copy->not_before_s = tls->not_before_s;
    copy->not_after_s = tls->not_after_s;
    return copy;
}

const struct identity *node_tls_identity(const struct node_tls *tls)
{
    return &tls->identity;
}

struct tls_credentials node_tls_credentials(const struct node_tls *tls)
{
    return (struct tls_credentials){cf_buf_slice(&tls->cert), tls->key, cf_buf_slice(&tls->cas)};
}

struct cf_slice node_tls_cert(const struct node_tls *tls)
{
    return cf_buf_slice(&tls->cert);
}

struct cf_slice node_tls_cas(const struct node_tls *tls)
{
    return cf_buf_slice(&tls->cas);
}

const struct secret *node_tls_key(const struct node_tls *tls)
{
    return tls->key;
}

int64_t node_tls_not_after_s(const struct node_tls *tls)
{
    return tls->not_after_s;
}

int64_t node_tls_renew_at_s(const struct node_tls *tls)
{
    return tls->not_before_s + (tls->not_after_s - tls->not_before_s) / 3 * 2;
}

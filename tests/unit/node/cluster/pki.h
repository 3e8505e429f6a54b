/* tests/unit/node/cluster/pki.h: certificates for tests: a CA and what it issues. */
#ifndef COFFER_TEST_PKI_H
#define COFFER_TEST_PKI_H

#include <time.h>

#include "node/base/memory.h"
#include "node/cluster/tls.h"
#include "node/crypto/x509.h"
#include "test.h"

struct pki_ca {
    struct secret *key;
    struct cf_buf cert;
};
struct pki_node {
    struct secret *key;
    struct cf_buf cert;
};

enum { PKI_VALID, PKI_EXPIRED, PKI_FUTURE };

static inline struct x509_validity pki_validity(int when)
{
    int64_t now = time(NULL);
    if (when == PKI_EXPIRED) {
        return (struct x509_validity){now - 7200, now - 3600};
    }
    if (when == PKI_FUTURE) {
        return (struct x509_validity){now + 3600, now + 7200};
    }
    return (struct x509_validity){now - 3600, now + 3600};
}

static inline void pki_ca_init(struct pki_ca *ca, const char *name)
{
    *ca = (struct pki_ca){0};
    ck_ok(x509_key_new(&ca->key, &err_));
    ck_ok(x509_ca_new(cf_slice_str(name), ca->key, pki_validity(PKI_VALID), &ca->cert, &err_));
}
static inline void pki_ca_done(struct pki_ca *ca)
{
    secret_free(ca->key);
    cf_buf_done(&ca->cert);
}
static inline void pki_issue(struct pki_ca *ca, struct pki_node *node, const char *uri, int when)
{
    *node = (struct pki_node){0};
    CF_BUF(public_key) = {0};
    struct x509_names names = {.common_name = CF_SLICE("node"), .uri = cf_slice_str(uri)};
    struct x509_issuer issuer = {cf_buf_slice(&ca->cert), ca->key};
    ck_ok(x509_key_new(&node->key, &err_));
    ck_ok(x509_key_public(node->key, &public_key, &err_));
    ck_ok(x509_issue(&issuer, cf_buf_slice(&public_key), &names, pki_validity(when), &node->cert,
                     &err_));
}
static inline void pki_node_done(struct pki_node *node)
{
    secret_free(node->key);
    cf_buf_done(&node->cert);
}
static inline struct tls_credentials pki_credentials(struct pki_node *node, struct pki_ca *believed)
{
    return (struct tls_credentials){cf_buf_slice(&node->cert), node->key,
                                    cf_buf_slice(&believed->cert)};
}

#endif

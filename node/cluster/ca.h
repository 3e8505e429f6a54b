/* node/cluster/ca.h
 *
 * A CA of our own: one inside each cluster (members), one per replication set (primary's nodes and
 * secondaries). It issues certificates that carry an identity (identity.h), over keys that either
 * side made. Certificates renew after two thirds of their life (node_tls_renew_at_s); a CA outlives
 * them by far, and its successor is trusted beside it for a time (concatenate both into the pool).
 * Times: seconds since 1970, UTC. Thread: any, one at a time per CA; a certificate takes 0.2 ms.
 */
#ifndef COFFER_CLUSTER_CA_H
#define COFFER_CLUSTER_CA_H

#include "node/base/own.h"
#include "node/base/secret.h"
#include "node/base/slice.h"
#include "node/base/status.h"
#include "node/cluster/identity.h"

#define CA_DAY_S ((int64_t)86400)
#define CA_LIFE_S (7300 * CA_DAY_S)     /* of a CA: 20 years */
#define CA_NODE_LIFE_S (365 * CA_DAY_S) /* of a certificate */
#define CA_BACKDATE_S ((int64_t)3600)   /* clocks of a cluster may differ by so much */

struct ca;

/* A new CA for certificates of one cluster or set id. */
CF_CHECKED cf_status ca_new(struct cf_slice cluster, int64_t now_s, struct ca **ret,
                            struct cf_error *err);
/* What ca_cert and ca_key gave. CF_INVALID when they do not fit or the certificate is no CA's. */
CF_CHECKED cf_status ca_load(struct cf_slice cluster, struct cf_slice cert_pem,
                             const struct secret *key, struct ca **ret, struct cf_error *err);
void ca_free(struct ca *ca); /* wipes the key; NULL is fine */
CF_DEFINE_OWNED(ca);

/* Borrowed for its life. The key belongs behind the barrier, nowhere else. */
struct cf_slice ca_cert(const struct ca *ca); /* PEM: also the CA pool */
const struct secret *ca_key(const struct ca *ca);
const char *ca_cluster(const struct ca *ca);
/* Should be replaced by a new one by then (two thirds of its life). */
int64_t ca_renew_at_s(const struct ca *ca);

/* Key and certificate at once, for ourselves or for a token. life_s 0: CA_NODE_LIFE_S; never beyond
 * the CA's own end. CF_INVALID for an unusable role or id. */
CF_CHECKED cf_status ca_issue(const struct ca *ca, struct cf_slice role, struct cf_slice id,
                              int64_t now_s, int64_t life_s, struct node_tls **ret,
                              struct cf_error *err);
/* A certificate over the key of a request (PKCS#10), PEM appended. The request has to ask for
 * exactly this role and id (the caller has checked that its sender may have them); whatever else it
 * asks for is left out. CF_DENIED when it asks for another identity or isn't signed by its own key.
 */
CF_CHECKED cf_status ca_sign(const struct ca *ca, struct cf_slice csr, struct cf_slice role,
                             struct cf_slice id, int64_t now_s, int64_t life_s,
                             struct cf_buf *cert_pem, struct cf_error *err);
/* The other side of ca_sign: a request for an identity, PEM appended, over `key`. */
CF_CHECKED cf_status ca_request(const struct identity *identity, const struct secret *key,
                                struct cf_buf *csr, struct cf_error *err);

#endif

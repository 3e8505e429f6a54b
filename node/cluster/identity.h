/* node/cluster/identity.h
 *
 * Who is at the other end of a mutual TLS connection: the one SAN URI of a certificate,
 *     coffer://<cluster or set id>/<role>/<id>
 * and what a node proves its own with. Parts are 1..64 bytes of [A-Za-z0-9._-], no "." and "..".
 */
#ifndef COFFER_CLUSTER_IDENTITY_H
#define COFFER_CLUSTER_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/own.h"
#include "node/base/secret.h"
#include "node/base/slice.h"
#include "node/base/status.h"
#include "node/cluster/tls.h"

#define IDENTITY_PART_MAX ((size_t)64)
#define IDENTITY_URI_SIZE (9 + 3 * (IDENTITY_PART_MAX + 1))

/* Roles in use. */
#define IDENTITY_NODE "node"           /* a member of the cluster */
#define IDENTITY_PRIMARY "primary"     /* a node of the primary, towards secondaries */
#define IDENTITY_SECONDARY "secondary" /* a secondary cluster, by its id in the set */

struct identity {
    char cluster[IDENTITY_PART_MAX + 1];
    char role[IDENTITY_PART_MAX + 1];
    char id[IDENTITY_PART_MAX + 1];
};

/* CF_INVALID when a part is empty, too long or holds other characters. */
CF_CHECKED cf_status identity_make(struct cf_slice cluster, struct cf_slice role,
                                   struct cf_slice id, struct identity *ret, struct cf_error *err);
CF_CHECKED cf_status identity_parse(struct cf_slice uri, struct identity *ret,
                                    struct cf_error *err);
void identity_uri(const struct identity *identity, char uri[IDENTITY_URI_SIZE]);
bool identity_equal(const struct identity *a, const struct identity *b);
/* Does `is` have what `wanted` asks for? Empty parts of `wanted` ask for nothing. */
bool identity_matches(const struct identity *wanted, const struct identity *is);

/* Certificate, key and CA pool of one side: owned. */
struct node_tls;
/* Copies. CF_INVALID when key and certificate do not fit or the certificate carries no identity. */
CF_CHECKED cf_status node_tls_new(struct cf_slice cert_pem, const struct secret *key,
                                  struct cf_slice cas_pem, struct node_tls **ret,
                                  struct cf_error *err);
void node_tls_free(struct node_tls *tls); /* NULL is fine */
CF_DEFINE_OWNED(node_tls);
struct node_tls *node_tls_copy(const struct node_tls *tls);
/* Borrowed for its life. */
const struct identity *node_tls_identity(const struct node_tls *tls);
struct tls_credentials node_tls_credentials(const struct node_tls *tls);
struct cf_slice node_tls_cert(const struct node_tls *tls);
struct cf_slice node_tls_cas(const struct node_tls *tls);
const struct secret *node_tls_key(const struct node_tls *tls);
int64_t node_tls_not_after_s(const struct node_tls *tls);
/* When it should be renewed: after two thirds of its life (seconds since 1970). */
int64_t node_tls_renew_at_s(const struct node_tls *tls);

#endif

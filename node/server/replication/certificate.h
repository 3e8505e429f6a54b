/* node/server/replication/certificate.h
 *
 * Certificates of a replication set: of this node towards secondaries, and of this cluster towards its primary.
 * All renew themselves after two thirds of their life, with a new key, and connections that exist stay. Main loop
 * unless told.
 */
#ifndef COFFER_SERVER_REPLICATION_CERTIFICATE_H
#define COFFER_SERVER_REPLICATION_CERTIFICATE_H

#include "node/crypto/x509.h"
#include "node/server/replication/set.h"

struct node;
struct node_tls;
struct node_replication;

/* Any thread. From now on, as long as the configuration says (`secondary_cert_ttl`). */
struct x509_validity certificate_life(const struct node *node, int64_t now_s);
/* A certificate of a secondary of that set over a public key, PEM appended. In a request. */
CF_CHECKED cf_status certificate_issue(struct request *rq, const struct set_primary *set, struct cf_slice id,
                                       struct cf_slice public_key, struct cf_buf *cert,
                                       struct cf_error *err);
/* Of this node, to serve secondaries with; a new key. */
CF_CHECKED cf_status certificate_of_server(const struct node *node, const struct set_primary *set,
                                           struct node_tls **ret, struct cf_error *err);
/* May a connection with that certificate pass? CF_DENIED names it and says what to do. */
CF_CHECKED cf_status certificate_check(const struct set_secondary *secondary,
                                       const uint8_t fingerprint[32], struct cf_error *err);

/* Answers RPC_REPL_RENEW, and looks once a second for what should be renewed. */
void certificates_start(struct node_replication *replication);
void certificates_stop(struct node_replication *replication);

#endif

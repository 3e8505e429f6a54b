/* node/server/replication/routes.h: handlers of sys/replication/ that only read and write the store. */
#ifndef COFFER_SERVER_REPLICATION_ROUTES_H
#define COFFER_SERVER_REPLICATION_ROUTES_H

#include "node/core/engine.h"
#include "node/crypto/x509.h"
#include "node/server/replication/set.h"

#define REPL_BRIEFLY                                                                               \
    "Vault will be unavailable for a brief period and will resume service shortly."

/* ---- handlers: routes.def ---- */

cf_status repl_primary_enable(struct request *rq, struct cf_error *err);
cf_status repl_primary_disable(struct request *rq, struct cf_error *err);
cf_status repl_primary_demote(struct request *rq, struct cf_error *err);
cf_status repl_secondary_token(struct request *rq, struct cf_error *err);
cf_status repl_revoke_secondary(struct request *rq, struct cf_error *err);
cf_status repl_read_secondary(struct request *rq, struct cf_error *err);
cf_status repl_delete_secondary(struct request *rq, struct cf_error *err);
cf_status repl_redeem(struct request *rq, struct cf_error *err);
/* As a plain handler: what it does to the store. Clients call it through replication_promote (promote.h). */
cf_status repl_secondary_promote(struct request *rq, struct cf_error *err);
cf_status repl_secondary_disable(struct request *rq, struct cf_error *err);
cf_status repl_operation_token_delete(struct request *rq, struct cf_error *err);
cf_status repl_generate_public_key(struct request *rq, struct cf_error *err);
/* Paths of other products that have no meaning here: they say so. */
cf_status repl_license_status(struct request *rq, struct cf_error *err);
cf_status repl_config_reload(struct request *rq, struct cf_error *err);

extern const struct field repl_enable_fields[], repl_token_fields[], repl_revoke_fields[],
    repl_link_fields[], repl_promote_fields[], repl_dr_fields[];

/* ---- parts of handlers ---- */

/* The kind that the path names ("replication/<kind>/..."; the old paths without one mean performance);
 * CF_NOT_FOUND for an unknown one. */
cf_status repl_kind(struct request *rq, enum set_kind *ret, struct cf_error *err);
/* The record, or CF_INVALID with the text that clients know. A promoted cluster is no secondary. */
cf_status repl_want_primary(struct request *rq, enum set_kind kind, struct set_primary *ret,
                            struct cf_error *err);
cf_status repl_want_link(struct request *rq, enum set_kind kind, struct set_link *ret,
                         struct cf_error *err);
bool repl_is_secondary(struct request *rq, enum set_kind kind);
bool repl_is_id(struct cf_slice id);
/* Of a call on a secondary: on a DR secondary an operation token, elsewhere what the route asks for. */
cf_status repl_authorise_secondary(struct request *rq, enum set_kind kind, struct cf_error *err);
/* CF_INVALID on a cluster that was superseded, CF_UNAVAILABLE on one that is being filled. */
cf_status repl_check_serving(struct request *rq, struct cf_error *err);
/* Answers a call whose effect is there already. */
cf_status repl_already(struct request *rq, const char *what);
/* A run of the node itself (system.h) does what `outer` asked for, with its body, path, route and caller. */
void repl_act_for(struct request *rq, const struct request *outer);
/* A certificate authority for the set: fills ca and ca_key. */
cf_status repl_new_ca(struct request *rq, enum set_kind kind, struct set_primary *set,
                      struct cf_error *err);
struct x509_validity repl_life(struct request *rq, int64_t seconds);

/* May it be promoted? is_copying: pages are being fetched right now. *ret_already: it was promoted before. */
cf_status repl_check_promote(struct request *rq, enum set_kind kind, bool is_copying,
                             struct set_link *link, bool *ret_already, struct cf_error *err);
cf_status repl_promote(struct request *rq, enum set_kind kind, bool is_copying, struct cf_error *err);
bool repl_was_promoted(struct request *rq, enum set_kind kind);
/* update-primary with update_primary_addrs, or with an empty token; with a token it is enable.c's. */
cf_status repl_read_addresses(struct request *rq, struct cf_slice **ret, size_t *ret_count,
                              struct cf_error *err);
cf_status repl_set_primary_addresses(struct request *rq, enum set_kind kind, struct cf_error *err);
cf_status repl_detach(struct request *rq, enum set_kind kind, struct cf_error *err);
/* An entry of the registry as operators see it. */
struct json *repl_describe_secondary(struct request *rq, const struct set_secondary *secondary);

#endif

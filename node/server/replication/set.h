/* node/server/replication/set.h
 *
 * What a cluster keeps about the replication sets it belongs to: records in the store, read and written
 * through a transaction like everything else. Class by design 3.4: the performance set's records are
 * mirrored to DR secondaries (class cluster), the DR set's stay here (class own).
 */
#ifndef COFFER_SERVER_REPLICATION_SET_H
#define COFFER_SERVER_REPLICATION_SET_H

#include "node/core/request.h"

enum set_kind { SET_PERFORMANCE, SET_DR, SET_KINDS };
extern const char *const set_names[SET_KINDS]; /* "performance", "dr" */
/* By the text of a path segment; false for any other. */
bool set_kind_of(struct cf_slice name, enum set_kind *ret);

/* This cluster as a primary. */
struct set_primary {
    struct cf_slice id, ca, primary_cluster_addr;
    struct cf_slice ca_key; /* PKCS#8 DER */
};
/* One secondary in the primary's registry. */
struct set_secondary {
    struct cf_slice id;
    struct cf_slice state; /* "pending", "active", "revoked" */
    /* bound_to: the cluster that redeemed the token; SET_SEALED: the token was sealed to a public key and
     * nobody came yet; SET_SEALED_USED: its owner did. */
    struct cf_slice jti, bound_to;
    struct cf_slice cert, key; /* the client pair; the key is gone once it is active */
    struct cf_slice next_cert; /* its renewal, from when it was signed on; either one may connect */
    int64_t created_ns, expires_ns;
};
/* This cluster as a secondary. */
struct set_link {
    struct cf_slice set_id, secondary_id, cert, ca;
    struct cf_slice key;     /* PKCS#8 DER */
    struct cf_slice box_key; /* X25519 private key: keyrings are sealed to it */
    struct cf_slice state;   /* "bootstrapping", "secondary", "detached", "promoted" */
    struct cf_slice token_id; /* digest of the token that it came with: the same one again changes nothing */
    struct cf_slice vouched;       /* id (hex) of the epoch that its token names: an operator's word for that primary; or empty */
    struct cf_slice promotion;     /* promotion certificate (promotion.h), of a performance secondary; may be empty */
    struct cf_slice promotion_key; /* PKCS#8 DER of the key that it is over */
    struct cf_slice *addresses;
    size_t address_count;
    int64_t started_ns;
};

#define SET_SEALED "(sealed)"
#define SET_SEALED_USED "(sealed, used)"

/* Each read: CF_NOT_FOUND when there is none. Memory is the request's arena. */
CF_CHECKED cf_status set_read_primary(struct request *rq, enum set_kind kind,
                                      struct set_primary *ret, struct cf_error *err);
void set_write_primary(struct request *rq, enum set_kind kind, const struct set_primary *set);
void set_delete_primary(struct request *rq, enum set_kind kind);

/* The definition and the registry are put aside, for whoever takes this cluster's line over: a planned failover
 * demotes first. set_restore_primary: CF_NOT_FOUND when nothing is put aside. */
CF_CHECKED cf_status set_put_primary_aside(struct request *rq, enum set_kind kind,
                                           struct cf_error *err);
CF_CHECKED cf_status set_restore_primary(struct request *rq, enum set_kind kind, struct cf_error *err);
void set_drop_aside(struct request *rq, enum set_kind kind);

CF_CHECKED cf_status set_read_secondary(struct request *rq, enum set_kind kind, struct cf_slice id,
                                        struct set_secondary *ret, struct cf_error *err);
void set_write_secondary(struct request *rq, enum set_kind kind,
                         const struct set_secondary *secondary);
/* Its entry goes. */
void set_delete_secondary(struct request *rq, enum set_kind kind, struct cf_slice id);
/* Ids of the registry. */
CF_CHECKED cf_status set_list_secondaries(struct request *rq, enum set_kind kind,
                                          struct txn_names *ret, struct cf_error *err);

CF_CHECKED cf_status set_read_link(struct request *rq, enum set_kind kind, struct set_link *ret,
                                   struct cf_error *err);
void set_write_link(struct request *rq, enum set_kind kind, const struct set_link *link);
void set_delete_link(struct request *rq, enum set_kind kind);

/* That a role of the kind was given up here (false: that one is held again, or was never), so that the call
 * that did it may be repeated. `as`: "primary" or "secondary". */
void set_write_ended(struct request *rq, enum set_kind kind, const char *as);
bool set_has_ended(struct request *rq, enum set_kind kind, const char *as);

/* Role and line of this cluster (the record that views carry). */
void set_write_role(struct request *rq, enum cluster_role role, const struct line_id *line);

/* Opaque bytes. Epochs come in two sorts (design 5.5): of the set, which say who is the shared primary (kind
 * performance; class cluster, as a DR secondary carries on with them), and of the line, which say which cluster of
 * a DR group is that line (kind DR; class own). Each has a lineage, a proof of its current epoch, and a key that
 * proves: the private half is of class cluster, the public one goes wherever a claim has to be checked. */
CF_CHECKED cf_status set_read_bytes(struct request *rq, struct key key, struct cf_slice *ret,
                                    struct cf_error *err);
struct key set_lineage_key(enum set_kind kind);
struct key set_position_key(enum set_kind kind);
struct key set_line_key(enum set_kind kind);
struct key set_line_public_key(enum set_kind kind);
/* What stands between the key that the set began with and the one it has: promotion certificates (promotion.h). */
struct key set_chain_key(void);
/* Which promotion certificates of a secondary are good; everywhere in the set. */
struct key set_promotion_key(struct request *rq, struct cf_slice id);
struct key set_fence_key(void);
struct key set_jwt_key(void);
/* The proof of the current epoch, as it was made or given. */
struct key set_proof_key(enum set_kind kind);
/* Addresses of the primary that this cluster followed before it was promoted (JSON list). */
struct key set_former_key(void);
/* The private half of what secondary/generate-public-key gave out, until a primary was reached with it. */
struct key set_enroll_key(enum set_kind kind);
/* Everything of a kind: definition, registry, link. */
struct key set_prefix(enum set_kind kind);

#endif

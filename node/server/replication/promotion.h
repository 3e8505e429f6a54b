/* node/server/replication/promotion.h
 *
 * Promotion certificates (design 5.5). Epochs of the set are proved by a signature of the set's key, which the
 * primary and its DR secondaries hold. A performance secondary holds none: for it the primary makes, beforehand, a
 * certificate over a key of its own. When it is promoted, that key becomes the set's, and the certificate is a part of
 * every proof from then on:
 *
 *     key of A --signs--> (B's key, serial 4, epoch 1)     B's key --signs--> lineage [1 A, 2 B]
 *
 * Whoever trusts any key of such a chain can check what comes after it. No certificate ends by the clock: a primary
 * that was off for a year must still hear that it was replaced. They end by number. Each has a serial; a record of
 * class replicated says, per secondary, which is the lowest that is good: a renewal raises it, a revocation raises it
 * above all. A certificate is good only for a lineage that includes the epoch it was made in.
 *
 * In a request, or on a view (reader.h). Thread: the request's.
 */
#ifndef COFFER_SERVER_REPLICATION_PROMOTION_H
#define COFFER_SERVER_REPLICATION_PROMOTION_H

#include "node/server/replication/set.h"
#include "replication/core/lineage.h"

#define PROMOTION_MAX ((size_t)1024)      /* bytes of a certificate */
#define PROMOTION_CHAIN_MAX ((size_t)48)  /* certificates; beyond that the oldest are left out */

/* What a certificate says; borrowed from the arena. */
struct promotion {
    struct cf_slice set_id, id, public_key, statement, signature;
    uint64_t serial;
    struct repl_epoch epoch;
};
/* CF_INVALID for what is none. Its signature is not looked at. */
CF_CHECKED cf_status promotion_read(struct cf_slice bytes, struct arena *arena, struct promotion *ret,
                                    struct cf_error *err);

/* ---- the primary ---- */

/* A certificate with the next serial, appended; `keeps` is the serial that the secondary has now: those before
 * it are void from here on. CF_INVALID for a malformed key. */
CF_CHECKED cf_status promotion_issue(struct request *rq, struct cf_slice id, struct cf_slice public_key,
                                     uint64_t keeps, struct cf_buf *ret, struct cf_error *err);
/* All that the secondary was ever given are void: it was revoked. */
CF_CHECKED cf_status promotion_void(struct request *rq, struct cf_slice id, struct cf_error *err);

/* ---- the secondary ---- */

/* Is it a good one for this link: its set, its id, that key, signed by the key that the set has now, of the epoch that
 * the state here stands in? */
CF_CHECKED cf_status promotion_check_own(struct request *rq, const struct set_link *link,
                                         struct cf_slice bytes, struct cf_slice public_key,
                                         struct cf_error *err);
/* Was the link's certificate signed by the key that the set has now? Else another is due. */
bool promotion_is_current(struct request *rq, const struct set_link *link);
uint64_t promotion_serial(const struct set_link *link); /* 0: it has none */
/* A performance secondary is being promoted, before its epoch is raised: the certificate's key becomes the set's. Without
 * one the set gets a new key that proves nothing to others; *ret_proves says which. */
CF_CHECKED cf_status promotion_use(struct request *rq, const struct set_link *link, bool *ret_proves,
                                   struct cf_error *err);

/* ---- proofs of the set's epochs ---- */

/* `signature` of the set's key over the lineage, with the chain that leads to that key. */
void promotion_proof(struct request *rq, struct cf_slice signature, struct cf_buf *ret);
/* CF_DENIED unless it proves the current epoch of `lineage` to who trusts `trusted` (the set's key as known here, DER);
 * `text` is what was signed. The error says why. */
CF_CHECKED cf_status promotion_verify(struct request *rq, struct cf_slice trusted,
                                      const struct repl_lineage *lineage, struct cf_slice text,
                                      struct cf_slice proof, struct cf_error *err);

#endif

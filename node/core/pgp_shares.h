/* node/core/pgp_shares.h
 *
 * Key shares in an answer, in plain or each encrypted for one person's PGP key: sys/init, rekey and generate-root.
 * What is encrypted is the share's hex text, as other servers do it. Thread: any, but a slow worker is the
 * better place for more than a few keys.
 *
 * A rekey, for instance: pgp_shares_read(rq, "pgp_keys", shares, &keys, err) where it is started; pgp_shares_put()
 * of "keys" and "keys_base64" where the new shares are answered; pgp_shares_seal() gives the bytes of each
 * message, for a backup record.
 */
#ifndef COFFER_CORE_PGP_SHARES_H
#define COFFER_CORE_PGP_SHARES_H

#include "node/base/arena.h"
#include "node/base/own.h"
#include "node/base/secret.h"
#include "node/base/slice.h"
#include "node/base/status.h"
#include "node/core/request.h"
#include "node/format/json.h"

struct pgp_shares; /* public keys, in the order of the shares; immutable, owns what it needs */

/* Reads a field that lists public keys (base64 of "gpg --export"). *ret is NULL when the field is absent or
 * empty. CF_INVALID, naming the key by its number, when one is no use (node/crypto/pgp.h), or when there
 * are not as many as `count`. */
CF_CHECKED cf_status pgp_shares_read(const struct request *rq, const char *field, size_t count,
                                     struct pgp_shares **ret, struct cf_error *err);
void pgp_shares_free(struct pgp_shares *pgp_shares); /* NULL is fine */
CF_DEFINE_OWNED(pgp_shares);

/* Appends what leaves for person `i`: the share itself (keys NULL), or a message that holds its hex text. */
CF_CHECKED cf_status pgp_shares_seal(const struct pgp_shares *keys, size_t i, struct cf_slice share,
                                     struct cf_buf *out, struct cf_error *err);
/* The same for a text, which is encrypted as it is: a root token; `i` as above. Keys are there. */
CF_CHECKED cf_status pgp_shares_seal_text(const struct pgp_shares *keys, size_t i,
                                          struct cf_slice text, struct cf_buf *out,
                                          struct cf_error *err);
/* Sets two lists of `body`: each share (or its message) in hex and in base64. */
CF_CHECKED cf_status pgp_shares_put(const struct pgp_shares *keys, struct secret *const *shares,
                                    size_t count, const char *hex_name, const char *base64_name,
                                    struct arena *arena, struct json *body, struct cf_error *err);
/* The fingerprints as a list; null without keys. */
struct json *pgp_shares_fingerprints(const struct pgp_shares *keys, struct arena *arena);

#endif

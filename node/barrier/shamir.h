/* node/barrier/shamir.h
 *
 * Shamir's secret sharing (Shamir, "How to share a secret", 1979) over GF(2^8) modulo 0x11b, byte
 * by byte, in the form of Vault's shares: one y byte for each byte of the secret, then the x byte.
 * No table is indexed by a secret and no branch depends on one. Thread: any.
 */
#ifndef COFFER_BARRIER_SHAMIR_H
#define COFFER_BARRIER_SHAMIR_H

#include <stddef.h>

#include "node/base/host.h"
#include "node/base/secret.h"
#include "node/base/slice.h"
#include "node/base/status.h"

#define SHAMIR_SHARES_MAX 255u

struct shamir_shape {
    unsigned shares, threshold;
};

/* CF_INVALID unless shares 1..255, threshold 1..shares, and threshold above 1 when shares is. */
CF_CHECKED cf_status shamir_check(struct shamir_shape shape, struct cf_error *err);
/* Fills shares[0 .. shape.shares) with new secrets, owned by the caller. With one share it is the
 * secret itself, without an x byte, as Vault has it. secret.size 1..SECRET_SIZE_MAX-1. On failure
 * none is left. */
CF_CHECKED cf_status shamir_split(struct cf_slice secret, struct shamir_shape shape,
                                  const struct cf_random *random, struct secret **shares,
                                  struct cf_error *err);
/* One share is taken as the secret itself. Fewer shares than the threshold, or wrong ones, give a
 * wrong secret: only the caller can tell. CF_INVALID for none, more than 255, different or too
 * small lengths, a zero x, or an x twice. */
CF_CHECKED cf_status shamir_combine(const struct cf_slice *shares, size_t count,
                                    struct secret **ret, struct cf_error *err);

#endif

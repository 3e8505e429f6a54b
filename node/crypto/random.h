/* node/crypto/random.h
 *
 * The system's cryptographic generator (OpenSSL's DRBG, RAND_bytes). A generator that fails ends
 * the process: no caller can go on without randomness. Thread: any.
 */
#ifndef COFFER_CRYPTO_RANDOM_H
#define COFFER_CRYPTO_RANDOM_H

#include <stddef.h>

#include "node/base/host.h"

/* The real table, for cf_random_fill(). Static storage. About 0.6 us a call of 32 bytes. */
const struct cf_random *random_system(void);

/* Bytes that become public anyway (nonces, ids): handed out of a block of 1 KiB that each thread
 * draws from the same generator, so a nonce costs a copy. Never for keys. */
void random_public(void *bytes, size_t size);
/* random_public() as a table, static storage. */
const struct cf_random *random_system_public(void);

#endif

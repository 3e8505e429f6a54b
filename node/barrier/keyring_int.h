/* node/barrier/keyring_int.h: what barrier.c needs of a keyring; not for anybody else. */
#ifndef COFFER_BARRIER_KEYRING_INT_H
#define COFFER_BARRIER_KEYRING_INT_H

#include "node/barrier/keyring.h"
#include "node/crypto/aead.h"

/* Which key of the ones that hang on a data key: itself, or one derived from it. */
enum keyring_purpose { KEYRING_ITSELF, KEYRING_OF_LINE, KEYRING_OF_CLUSTER_ALONE };

/* The ready cipher of a data key, borrowed for the life of the keyring. `line` (16 bytes) is read
 * for KEYRING_OF_LINE only. CF_NOT_FOUND when the keyring lacks the key. */
CF_CHECKED cf_status keyring_cipher(const struct keyring *keyring, struct key_id id,
                                    enum keyring_purpose purpose, const uint8_t *line,
                                    struct aead_key **ret, struct cf_error *err);
/* The same of the active key, whose id goes to *id; counts one encryption. */
struct aead_key *keyring_cipher_active(const struct keyring *keyring, enum keyring_purpose purpose,
                                       const uint8_t *line, struct key_id *id);

#endif

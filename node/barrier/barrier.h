/* node/barrier/barrier.h
 *
 * What stands between a value and everything that stores or carries it: AES-256-GCM under a data
 * key of the keyring. A sealed value is
 *
 *     1 format version | 8 key id | 12 nonce | ciphertext | 16 tag
 *
 * and authenticates, beside its content, the format version, class, namespace and name that it was
 * sealed for (not the generation), so that it opens nowhere else. Values of class *cluster* are
 * sealed under a subkey of the line of clusters, those of class *own* under another, *replicated*
 * ones under the data key itself: a mix-up of classes cannot even try the right key. Thread: any.
 */
#ifndef COFFER_BARRIER_BARRIER_H
#define COFFER_BARRIER_BARRIER_H

#include <stdint.h>

#include "node/barrier/keyring.h"
#include "node/base/arena.h"
#include "node/base/slice.h"
#include "node/base/status.h"

#define BARRIER_FORMAT 1
#define BARRIER_OVERHEAD ((size_t)1 + 8 + 12 + 16)

/* The class of a key says where it goes (design 3.4). The values are on disk. */
enum barrier_class {
    BARRIER_REPLICATED = 'r',
    BARRIER_CLUSTER = 'c',
    BARRIER_OWN = 'o',
};

struct barrier_name {
    uint8_t class; /* enum barrier_class */
    uint32_t ns;   /* namespace id */
    struct cf_slice name;
};

/* A line: one primary and the DR secondaries that follow it. */
struct line_id {
    uint8_t bytes[16];
};

/* Appends plain.size + BARRIER_OVERHEAD bytes to `out`, under the active key, and counts one
 * encryption. `line` is read for class cluster only and may be NULL otherwise. CF_INVALID for an
 * unknown class or a missing line; CF_TOO_LARGE past out's maximum. */
CF_CHECKED cf_status barrier_seal(const struct keyring *keyring, const struct barrier_name *name,
                                  const struct line_id *line, struct cf_slice plain,
                                  struct cf_buf *out, struct cf_error *err);
/* *ret lies in the arena (which wipes it). CF_CORRUPT when the bytes are damaged or were sealed for
 * another name or line; CF_NOT_FOUND when the keyring lacks the key (a newer one may have it);
 * CF_UNSUPPORTED for a newer format. */
CF_CHECKED cf_status barrier_open(const struct keyring *keyring, const struct barrier_name *name,
                                  const struct line_id *line, struct cf_slice sealed,
                                  struct arena *arena, struct cf_slice *ret, struct cf_error *err);
/* The same, appended to `out` (best made with cf_buf_init_secret). */
CF_CHECKED cf_status barrier_open_buf(const struct keyring *keyring,
                                      const struct barrier_name *name, const struct line_id *line,
                                      struct cf_slice sealed, struct cf_buf *out,
                                      struct cf_error *err);
/* Which key a sealed value needs. CF_CORRUPT when it is too short to be one. */
CF_CHECKED cf_status barrier_key_of(struct cf_slice sealed, struct key_id *ret,
                                    struct cf_error *err);

#endif

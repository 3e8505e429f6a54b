/* node/base/secret.h
 *
 * Key material. Lives in one locked arena (mlock, kept out of core dumps and of children, between
 * guard pages), is wiped on free, compared in constant time and has no printed form.
 * Thread: any; the arena has a lock of its own.
 */
#ifndef COFFER_BASE_SECRET_H
#define COFFER_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/own.h"
#include "node/base/slice.h"
#include "node/base/status.h"

#define SECRET_SIZE_MAX ((size_t)8192)

struct secret;

/* Sets up the arena of `size` bytes; called once, before threads. CF_IO when the kernel refuses to
 * lock the pages and `must_lock`. Without a call the first secret sets up 1 MiB, unlocked if need be. */
CF_CHECKED cf_status secret_init(size_t size, bool must_lock, struct cf_error *err);

/* size 1..SECRET_SIZE_MAX, content zero. Never NULL (an exhausted arena ends the process). */
struct secret *secret_new(size_t size);
struct secret *secret_copy(struct cf_slice from); /* from.size 1..SECRET_SIZE_MAX */
void secret_free(struct secret *secret);          /* wipes; NULL is fine */
CF_DEFINE_OWNED(secret);

/* Borrowed for the life of the secret. */
uint8_t *secret_bytes(struct secret *secret);
struct cf_slice secret_slice(const struct secret *secret);
/* Constant time in the contents; different sizes differ. */
bool secret_equal(const struct secret *secret, struct cf_slice other);

#endif

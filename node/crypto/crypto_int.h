/* node/crypto/crypto_int.h: what the files of this folder share; not for anybody else. */
#ifndef COFFER_CRYPTO_INT_H
#define COFFER_CRYPTO_INT_H

#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>

#include "node/base/status.h"
#include "node/crypto/hash.h"

#define CRYPTO_POOL_SIZE ((size_t)1024)

/* What a thread keeps between calls; freed, wiped, when the thread ends. */
struct crypto_thread {
    unsigned number; /* 0, 1, 2 ... in the order of first use */
    EVP_MD_CTX *digests[HASH_KIND_COUNT];
    uint8_t pool[CRYPTO_POOL_SIZE]; /* random_public(): bytes not handed out yet, at the end */
    size_t pool_left;
};

/* The calling thread's own. */
struct crypto_thread *crypto_thread(void);

/* Algorithms, looked up once a process (a look-up in each call costs more than the work, and scales
 * badly over threads). Borrowed for ever. */
const EVP_MD *crypto_digest(enum hash_kind kind);
const EVP_CIPHER *crypto_aes_gcm(void);

/* ECDSA signatures: from DER (a SEQUENCE of two INTEGER) to two numbers of `half` bytes (66 at most) behind what is in
 * `out`, and back. False: no such signature. NULL: out of memory; the caller frees with OPENSSL_free. */
bool crypto_ecdsa_raw(struct cf_slice der, size_t half, struct cf_buf *out);
uint8_t *crypto_ecdsa_der(struct cf_slice raw, size_t half, size_t *ret_size);

/* Ends the process: OpenSSL lacks memory, or an algorithm that every build of it has. */
_Noreturn void crypto_abort(const char *what);

/* Moves OpenSSL's error queue of this thread into the detail of err, and returns status. */
cf_status crypto_drain(struct cf_error *err, cf_status status);

#define crypto_fail(err, status, ...) crypto_drain((err), cf_fail((err), (status), __VA_ARGS__))

#endif

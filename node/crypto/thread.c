/* node/crypto/thread.c: what is looked up once a process and what is kept once a thread. */
#include "node/crypto/crypto_int.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>

#include "node/base/memory.h"

static const char *const digest_names[] = {
    [HASH_SHA1] = "SHA1",         [HASH_SHA224] = "SHA2-224",   [HASH_SHA256] = "SHA2-256",
    [HASH_SHA384] = "SHA2-384",   [HASH_SHA512] = "SHA2-512",   [HASH_SHA3_224] = "SHA3-224",
    [HASH_SHA3_256] = "SHA3-256", [HASH_SHA3_384] = "SHA3-384", [HASH_SHA3_512] = "SHA3-512",
};
_Static_assert(CF_LENGTH(digest_names) == HASH_KIND_COUNT, "a name for each digest");

static struct {
    pthread_once_t once;
    pthread_key_t key;
    EVP_MD *digests[HASH_KIND_COUNT];
    EVP_CIPHER *aes_gcm;
} process = {.once = PTHREAD_ONCE_INIT};

static _Thread_local struct crypto_thread *current;
static atomic_uint thread_count;

_Noreturn void crypto_abort(const char *what)
{
    char text[256];
    ERR_error_string_n(ERR_get_error(), text, sizeof(text));
    (void)fprintf(stderr, "coffer: OpenSSL cannot provide %s: %s\n", what, text);
    abort();
}

static void thread_done(void *kept)
{
    struct crypto_thread *thread = kept;
    for (size_t i = 0; i < HASH_KIND_COUNT; i++) {
        EVP_MD_CTX_free(thread->digests[i]);
    }
    cf_wipe(thread, sizeof(*thread));
    cf_free(thread);
    current = NULL;
}

static void process_init(void)
{
    if (pthread_key_create(&process.key, thread_done) != 0) {
        crypto_abort("a key for thread-specific data");
    }
    for (size_t i = 0; i < HASH_KIND_COUNT; i++) {
        process.digests[i] = EVP_MD_fetch(NULL, digest_names[i], NULL);
        if (process.digests[i] == NULL) {
            crypto_abort(digest_names[i]);
        }
    }
    process.aes_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (process.aes_gcm == NULL) {
        crypto_abort("AES-256-GCM");
    }
}

struct crypto_thread *crypto_thread(void)
{
    if (current == NULL) {
        (void)pthread_once(&process.once, process_init);
        struct crypto_thread *thread = cf_new(struct crypto_thread);
        thread->number = atomic_fetch_add_explicit(&thread_count, 1, memory_order_relaxed);
        if (pthread_setspecific(process.key, thread) != 0) {
            crypto_abort("memory");
        }
        current = thread;
    }
    return current;
}

const EVP_MD *crypto_digest(enum hash_kind kind)
{
    (void)pthread_once(&process.once, process_init);
    return process.digests[kind];
}

const EVP_CIPHER *crypto_aes_gcm(void)
{
    (void)pthread_once(&process.once, process_init);
    return process.aes_gcm;
}

cf_status crypto_drain(struct cf_error *err, cf_status status)
{
    /* The first entry is the cause, the rest is its way up. */
    unsigned long code = ERR_get_error();
    if (code != 0) {
        char text[256];
        ERR_error_string_n(code, text, sizeof(text));
        cf_error_detail(err, "OpenSSL says: %s.", text);
    }
    ERR_clear_error();
    return status;
}

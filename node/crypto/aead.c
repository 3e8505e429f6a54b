/* node/crypto/aead.c: AES-256-GCM with keyed contexts that belong to the key. */
#include "node/crypto/aead.h"

#include <stdatomic.h>
#include <stdbool.h>

#include "node/base/memory.h"
#include "node/base/secret.h"
#include "node/crypto/crypto_int.h"

/* More threads than that at one moment make a context for the call (0.5 us more). */
#define SLOTS 16

/* One cache line each, so that threads do not pass one to and fro. */
struct slot {
    EVP_CIPHER_CTX *context;
    atomic_bool busy;
    uint8_t padding[64 - sizeof(void *) - sizeof(atomic_bool)];
};

struct aead_key {
    struct secret *key;
    struct slot slots[SLOTS];
};

cf_status aead_key_new(struct cf_slice key, struct aead_key **ret, struct cf_error *err)
{
    if (key.size != AEAD_KEY_SIZE) {
        return cf_fail(err, CF_INVALID, "an encryption key has %zu bytes, not %zu", AEAD_KEY_SIZE,
                       key.size);
    }
    struct aead_key *made = cf_new(struct aead_key);
    made->key = secret_copy(key);
    *ret = made;
    return CF_OK;
}

void aead_key_free(struct aead_key *aead_key)
{
    if (aead_key == NULL) {
        return;
    }
    for (size_t i = 0; i < SLOTS; i++) {
        EVP_CIPHER_CTX_free(aead_key->slots[i].context); /* wipes the key schedule */
    }
    secret_free(aead_key->key);
    cf_free(aead_key);
}

/* A slot that is the caller's until slot_give(). Threads start at different ones, so that without
 * contention each keeps coming back to its own. */
static struct slot *slot_take(struct aead_key *key, struct slot *spare)
{
    unsigned start = crypto_thread()->number;
    struct slot *slot = spare;
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *candidate = &key->slots[(start + i) % SLOTS];
        if (!atomic_exchange_explicit(&candidate->busy, true, memory_order_acquire)) {
            slot = candidate;
            break;
        }
    }
    if (slot->context == NULL) {
        slot->context = EVP_CIPHER_CTX_new();
        if (slot->context == NULL ||
            EVP_CipherInit_ex2(slot->context, crypto_aes_gcm(), secret_slice(key->key).data, NULL,
                               1, NULL) != 1) {
            crypto_abort("a context of AES-256-GCM");
        }
    }
    return slot;
}

static void slot_give(struct slot *slot, const struct slot *spare)
{
    if (slot == spare) {
        EVP_CIPHER_CTX_free(slot->context);
    } else {
        atomic_store_explicit(&slot->busy, false, memory_order_release);
    }
}

static bool add_aad(EVP_CIPHER_CTX *context, struct cf_slice aad)
{
    int done;
    return aad.size == 0 || EVP_CipherUpdate(context, NULL, &done, aad.data, (int)aad.size) == 1;
}

/* Key schedule stays; nonce and direction are set for this call. */
static bool begin(EVP_CIPHER_CTX *context, const struct aead_input *input, int encrypt)
{
    return EVP_CipherInit_ex2(context, NULL, NULL, input->nonce, encrypt, NULL) == 1 &&
           add_aad(context, input->aad) && add_aad(context, input->aad_more);
}

static bool run(EVP_CIPHER_CTX *context, struct cf_slice from, uint8_t *out)
{
    int done;
    return from.size == 0 || EVP_CipherUpdate(context, out, &done, from.data, (int)from.size) == 1;
}

static cf_status check_sizes(const struct aead_input *input, size_t size, struct cf_error *err)
{
    if (size > AEAD_PLAIN_MAX || input->aad.size > AEAD_PLAIN_MAX ||
        input->aad_more.size > AEAD_PLAIN_MAX) {
        return cf_fail(err, CF_TOO_LARGE, "more than %zu bytes to encrypt at once", AEAD_PLAIN_MAX);
    }
    return CF_OK;
}

cf_status aead_seal(struct aead_key *key, const struct aead_input *input, struct cf_slice plain,
                    uint8_t *out, struct cf_error *err)
{
    CF_TRY(check_sizes(input, plain.size, err));
    struct slot spare = {0};
    struct slot *slot = slot_take(key, &spare);
    uint8_t *tag = out + plain.size;
    int done;
    bool sealed =
        begin(slot->context, input, 1) && run(slot->context, plain, out) &&
        EVP_CipherFinal_ex(slot->context, tag, &done) == 1 &&
        EVP_CIPHER_CTX_ctrl(slot->context, EVP_CTRL_AEAD_GET_TAG, (int)AEAD_TAG_SIZE, tag) == 1;
    slot_give(slot, &spare);
    if (!sealed) {
        cf_wipe(out, plain.size + AEAD_TAG_SIZE);
        return crypto_fail(err, CF_INTERNAL, "cannot encrypt");
    }
    return CF_OK;
}

cf_status aead_open(struct aead_key *key, const struct aead_input *input, struct cf_slice sealed,
                    uint8_t *out, struct cf_error *err)
{
    if (sealed.size < AEAD_TAG_SIZE) {
        return cf_fail(err, CF_CORRUPT, "encrypted data is too short");
    }
    struct cf_slice text = cf_slice_first(sealed, sealed.size - AEAD_TAG_SIZE);
    CF_TRY(check_sizes(input, text.size, err));
    uint8_t tag[16];
    memcpy(tag, sealed.data + text.size, sizeof(tag));
    struct slot spare = {0};
    struct slot *slot = slot_take(key, &spare);
    uint8_t rest[16];
    int done;
    bool opened =
        begin(slot->context, input, 0) && run(slot->context, text, out) &&
        EVP_CIPHER_CTX_ctrl(slot->context, EVP_CTRL_AEAD_SET_TAG, (int)AEAD_TAG_SIZE, tag) == 1 &&
        EVP_CipherFinal_ex(slot->context, rest, &done) == 1;
    slot_give(slot, &spare);
    if (!opened) {
        /* What GCM decrypted before it saw the tag is not to be used (SP 800-38D 7.2). */
        cf_wipe(out, text.size);
        return crypto_fail(err, CF_CORRUPT, "encrypted data is damaged or not made for this place");
    }
    return CF_OK;
}

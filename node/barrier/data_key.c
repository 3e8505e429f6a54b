/* node/barrier/data_key.c: a data key, its subkeys and its count. */
#include "node/barrier/data_key.h"

#include <assert.h>

#include "node/base/memory.h"
#include "node/crypto/hash.h"

#define LINE_SIZE 16

/* One a purpose and line that this process has met. A promotion makes a new line, so there are few;
 * a key that nothing is read with has none. */
struct subkey {
    struct subkey *next;
    enum keyring_purpose purpose;
    uint8_t line[LINE_SIZE];
    struct aead_key *cipher;
};

static struct aead_key *cipher_of(struct cf_slice key)
{
    struct aead_key *cipher = NULL;
    cf_status made = aead_key_new(key, &cipher, NULL);
    assert(made == CF_OK); /* the size is ours */
    (void)made;
    return cipher;
}

struct data_key *data_key_new(struct key_id id, struct secret *secret, uint64_t encryptions)
{
    struct data_key *key = cf_new(struct data_key);
    key->id = id;
    key->secret = secret;
    atomic_init(&key->references, 1);
    atomic_init(&key->encryptions, encryptions);
    atomic_init(&key->elsewhere, encryptions);
    atomic_init(&key->subkeys, NULL);
    return key;
}

struct data_key *data_key_ref(struct data_key *key)
{
    atomic_fetch_add_explicit(&key->references, 1, memory_order_relaxed);
    return key;
}

static void subkey_free(struct subkey *subkey)
{
    aead_key_free(subkey->cipher);
    cf_free(subkey);
}

void data_key_unref(struct data_key *key)
{
    if (key == NULL || atomic_fetch_sub_explicit(&key->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    struct subkey *at = atomic_load_explicit(&key->subkeys, memory_order_relaxed);
    while (at != NULL) {
        struct subkey *next = at->next;
        subkey_free(at);
        at = next;
    }
    secret_free(key->secret);
    cf_free(key);
}

/* Subkeys are derived by HKDF (RFC 5869) with a label each, so that none tells of another. */
static struct aead_key *derive(const struct data_key *key, struct cf_slice info)
{
    CF_OWNED(secret) derived = secret_new(DATA_KEY_SIZE);
    hash_hkdf_sha256(secret_slice(key->secret), CF_SLICE_EMPTY, info, secret_bytes(derived),
                     DATA_KEY_SIZE);
    return cipher_of(secret_slice(derived));
}

static struct subkey *subkey_new(const struct data_key *key, enum keyring_purpose purpose,
                                 const uint8_t *line)
{
    struct subkey *made = cf_new(struct subkey);
    made->purpose = purpose;
    switch (purpose) {
    case KEYRING_ITSELF:
        made->cipher = cipher_of(secret_slice(key->secret));
        break;
    case KEYRING_OF_CLUSTER_ALONE:
        made->cipher = derive(key, CF_SLICE("coffer own"));
        break;
    case KEYRING_OF_LINE: {
        CF_BUF(info) = {.max = 64};
        memcpy(made->line, line, LINE_SIZE);
        cf_buf_add_str(&info, "coffer line");
        cf_buf_add(&info, line, LINE_SIZE);
        made->cipher = derive(key, cf_buf_slice(&info));
        break;
    }
    }
    return made;
}

/* From `at` up to, not including, `end`. */
static struct subkey *find(struct subkey *at, const struct subkey *end,
                           enum keyring_purpose purpose, const uint8_t *line)
{
    while (at != end && (at->purpose != purpose ||
                         (purpose == KEYRING_OF_LINE && memcmp(at->line, line, LINE_SIZE) != 0))) {
        at = at->next;
    }
    return at != end ? at : NULL;
}

struct aead_key *data_key_cipher(struct data_key *key, enum keyring_purpose purpose,
                                 const uint8_t *line)
{
    struct subkey *head = atomic_load_explicit(&key->subkeys, memory_order_acquire);
    struct subkey *found = find(head, NULL, purpose, line);
    if (found != NULL) {
        return found->cipher;
    }
    struct subkey *made = subkey_new(key, purpose, line);
    made->next = head;
    while (!atomic_compare_exchange_weak_explicit(&key->subkeys, &made->next, made,
                                                  memory_order_acq_rel, memory_order_acquire)) {
        /* Another thread was faster; if it brought the same one, ours goes. */
        found = find(made->next, head, purpose, line);
        if (found != NULL) {
            subkey_free(made);
            return found->cipher;
        }
        head = made->next;
    }
    return made->cipher;
}

void data_key_count_at_least(struct data_key *key, uint64_t encryptions)
{
    uint_fast64_t seen = atomic_load_explicit(&key->encryptions, memory_order_relaxed);
    while (seen < encryptions) {
        if (atomic_compare_exchange_weak_explicit(&key->encryptions, &seen, encryptions,
                                                  memory_order_relaxed, memory_order_relaxed)) {
            atomic_fetch_add_explicit(&key->elsewhere, encryptions - seen, memory_order_relaxed);
            return;
        }
    }
}

void data_key_count_more(struct data_key *key, uint64_t encryptions)
{
    atomic_fetch_add_explicit(&key->encryptions, encryptions, memory_order_relaxed);
    atomic_fetch_add_explicit(&key->elsewhere, encryptions, memory_order_relaxed);
}

/* node/barrier/keyring.c: the set of data keys: first, rotate, union, dump, load, look-up. */
#include "node/barrier/keyring.h"

#include <assert.h>

#include "node/barrier/data_key.h"
#include "node/base/memory.h"

/* Dump: 1 format | 4 count | 8 active id | count times entry, by id:
 * 8 id | 4 term | 8 installed | 8 encryptions | 1 flags | 32 key. All big-endian. */
#define FORMAT 1
#define HEAD_SIZE ((size_t)1 + 4 + 8)
#define ENTRY_SIZE ((size_t)8 + 4 + 8 + 8 + 1 + DATA_KEY_SIZE)
#define FLAG_RETIRED 1u

struct slot {
    struct data_key *key;
    uint32_t term;
    bool retired;
    int64_t installed_ns;
};

struct keyring {
    atomic_uint references;
    size_t count, active;
    struct slot slots[]; /* ascending by id */
};

static struct keyring *allocate(size_t count)
{
    struct keyring *keyring = cf_zalloc(sizeof(struct keyring) + count * sizeof(keyring->slots[0]));
    atomic_init(&keyring->references, 1);
    return keyring;
}

static int id_order(struct key_id a, struct key_id b)
{
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes));
}

/* The slot of the id, or NULL. */
static const struct slot *lookup(const struct keyring *keyring, struct key_id id)
{
    size_t low = 0, high = keyring->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = id_order(id, keyring->slots[middle].key->id);
        if (order == 0) {
            return &keyring->slots[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

static cf_status not_found(struct cf_error *err)
{
    return cf_fail(err, CF_NOT_FOUND, "keyring does not hold the key of this data");
}

static struct slot slot_copy(const struct slot *from)
{
    struct slot copy = *from;
    (void)data_key_ref(copy.key);
    return copy;
}

/* A fresh random key whose id is not in `beside` (which may be NULL). */
static struct data_key *fresh(const struct keyring *beside, const struct cf_random *random)
{
    struct key_id id;
    do {
        cf_random_fill(random, id.bytes, sizeof(id.bytes));
    } while (beside != NULL && lookup(beside, id) != NULL);
    struct secret *secret = secret_new(DATA_KEY_SIZE);
    cf_random_fill(random, secret_bytes(secret), DATA_KEY_SIZE);
    return data_key_new(id, secret, 0);
}

struct keyring *keyring_new_first(const struct cf_random *random, int64_t now_ns)
{
    struct keyring *keyring = allocate(1);
    keyring->slots[0] =
        (struct slot){.key = fresh(NULL, random), .term = 1, .installed_ns = now_ns};
    keyring->count = 1;
    return keyring;
}

cf_status keyring_rotate(const struct keyring *from, const struct cf_random *random, int64_t now_ns,
                         struct keyring **ret, struct cf_error *err)
{
    if (from->count >= KEYRING_KEYS_MAX) {
        return cf_fail(err, CF_TOO_LARGE, "keyring is full: it holds %zu keys", from->count);
    }
    struct keyring *keyring = allocate(from->count + 1);
    struct slot added = {
        .key = fresh(from, random), .term = 1, .installed_ns = now_ns, .retired = false};
    size_t at = 0;
    for (size_t i = 0; i < from->count; i++) {
        const struct slot *old = &from->slots[i];
        added.term = old->term >= added.term ? old->term + 1 : added.term;
        at += id_order(old->key->id, added.key->id) < 0;
    }
    for (size_t i = 0; i < from->count; i++) {
        size_t to = i < at ? i : i + 1;
        keyring->slots[to] = slot_copy(&from->slots[i]);
        keyring->slots[to].retired |= i == from->active;
    }
    keyring->slots[at] = added;
    keyring->active = at;
    keyring->count = from->count + 1;
    *ret = keyring;
    return CF_OK;
}

/* Both sides' view of one key: marks add up, the rest is chosen so that the order of merging does
 * not matter. */
static cf_status merge_slot(const struct slot *a, const struct slot *b, struct slot *ret,
                            struct cf_error *err)
{
    if (!secret_equal(a->key->secret, secret_slice(b->key->secret))) {
        return cf_fail(err, CF_CORRUPT, "two different keys have the same id");
    }
    *ret = slot_copy(a);
    ret->term = a->term > b->term ? a->term : b->term;
    ret->installed_ns = a->installed_ns < b->installed_ns ? a->installed_ns : b->installed_ns;
    ret->retired = a->retired || b->retired;
    data_key_count_at_least(ret->key,
                            atomic_load_explicit(&b->key->encryptions, memory_order_relaxed));
    return CF_OK;
}

/* As in a merge of two sorted lists. */
static cf_status merge(const struct keyring *a, const struct keyring *b, struct keyring *into,
                       struct cf_error *err)
{
    size_t i = 0, j = 0;
    while (i < a->count || j < b->count) {
        int order = i == a->count   ? 1
                    : j == b->count ? -1
                                    : id_order(a->slots[i].key->id, b->slots[j].key->id);
        struct slot *to = &into->slots[into->count];
        if (order == 0) {
            CF_TRY(merge_slot(&a->slots[i], &b->slots[j], to, err));
        } else {
            *to = slot_copy(order < 0 ? &a->slots[i] : &b->slots[j]);
        }
        i += order <= 0;
        j += order >= 0;
        into->count++;
    }
    return CF_OK;
}

cf_status keyring_union(const struct keyring *a, const struct keyring *b, struct key_id active,
                        struct keyring **ret, struct cf_error *err)
{
    CF_OWNED(keyring) made = allocate(a->count + b->count);
    CF_TRY(merge(a, b, made, err));
    if (made->count > KEYRING_KEYS_MAX) {
        return cf_fail(err, CF_TOO_LARGE, "keyrings hold %zu keys together", made->count);
    }
    const struct slot *slot = lookup(made, active);
    if (slot == NULL) {
        return not_found(err);
    }
    if (slot->retired) {
        return cf_fail(err, CF_CONFLICT, "key that is to be active was retired: rotate first");
    }
    made->active = (size_t)(slot - made->slots);
    *ret = keyring_take(&made);
    return CF_OK;
}

bool keyring_includes(const struct keyring *whole, const struct keyring *part)
{
    for (size_t i = 0; i < part->count; i++) {
        const struct slot *want = &part->slots[i];
        const struct slot *have = lookup(whole, want->key->id);
        if (have == NULL || (want->retired && !have->retired) ||
            !secret_equal(have->key->secret, secret_slice(want->key->secret))) {
            return false;
        }
    }
    return true;
}

struct keyring *keyring_ref(const struct keyring *keyring)
{
    /* The count is the one part of a keyring that changes after it was published. */
    struct keyring *counted = (struct keyring *)(uintptr_t)keyring;
    atomic_fetch_add_explicit(&counted->references, 1, memory_order_relaxed);
    return counted;
}

void keyring_unref(struct keyring *keyring)
{
    if (keyring == NULL ||
        atomic_fetch_sub_explicit(&keyring->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < keyring->count; i++) {
        data_key_unref(keyring->slots[i].key);
    }
    cf_free(keyring);
}

cf_status keyring_dump(const struct keyring *keyring, struct cf_buf *out, struct cf_error *err)
{
    assert(out->secret);
    cf_buf_add_byte(out, FORMAT);
    cf_buf_add_u32(out, (uint32_t)keyring->count);
    cf_buf_add(out, keyring->slots[keyring->active].key->id.bytes, 8);
    for (size_t i = 0; i < keyring->count; i++) {
        const struct slot *slot = &keyring->slots[i];
        cf_buf_add(out, slot->key->id.bytes, 8);
        cf_buf_add_u32(out, slot->term);
        cf_buf_add_u64(out, (uint64_t)slot->installed_ns);
        cf_buf_add_u64(out, atomic_load_explicit(&slot->key->encryptions, memory_order_relaxed));
        cf_buf_add_byte(out, slot->retired ? FLAG_RETIRED : 0);
        cf_buf_add_slice(out, secret_slice(slot->key->secret));
    }
    return cf_buf_check(out, err);
}

static cf_status malformed(struct cf_error *err)
{
    return cf_fail(err, CF_CORRUPT, "keyring is malformed");
}

static cf_status read_entry(const uint8_t *at, struct slot *ret, struct cf_error *err)
{
    struct key_id id;
    memcpy(id.bytes, at, 8);
    uint8_t flags = at[28];
    *ret = (struct slot){.term = cf_get_u32(at + 8),
                         .installed_ns = (int64_t)cf_get_u64(at + 12),
                         .retired = (flags & FLAG_RETIRED) != 0};
    if (ret->term == 0 || (flags & ~FLAG_RETIRED) != 0) {
        return malformed(err);
    }
    ret->key =
        data_key_new(id, secret_copy(cf_slice_of(at + 29, DATA_KEY_SIZE)), cf_get_u64(at + 20));
    return CF_OK;
}

cf_status keyring_load(struct cf_slice plain, struct keyring **ret, struct cf_error *err)
{
    if (plain.size < HEAD_SIZE) {
        return malformed(err);
    }
    if (plain.data[0] > FORMAT) {
        return cf_fail(err, CF_UNSUPPORTED, "keyring has format %u, which needs a newer version",
                       plain.data[0]);
    }
    size_t count = cf_get_u32(plain.data + 1);
    if (plain.data[0] != FORMAT || count == 0 || count > KEYRING_KEYS_MAX ||
        plain.size != HEAD_SIZE + count * ENTRY_SIZE) {
        return malformed(err);
    }
    CF_OWNED(keyring) made = allocate(count);
    for (; made->count < count; made->count++) {
        struct slot *slot = &made->slots[made->count];
        CF_TRY(read_entry(plain.data + HEAD_SIZE + made->count * ENTRY_SIZE, slot, err));
        if (made->count != 0 && id_order(slot[-1].key->id, slot->key->id) >= 0) {
            data_key_unref(slot->key);
            return malformed(err);
        }
    }
    struct key_id active;
    memcpy(active.bytes, plain.data + 5, 8);
    const struct slot *slot = lookup(made, active);
    if (slot == NULL || slot->retired) {
        return malformed(err);
    }
    made->active = (size_t)(slot - made->slots);
    *ret = keyring_take(&made);
    return CF_OK;
}

static struct keyring_info info_of(const struct keyring *keyring, const struct slot *slot)
{
    /* In this order: what is counted in between is counted as ours, never as less than nothing. */
    uint64_t elsewhere = atomic_load_explicit(&slot->key->elsewhere, memory_order_relaxed);
    uint64_t encryptions = atomic_load_explicit(&slot->key->encryptions, memory_order_relaxed);
    return (struct keyring_info){
        .id = slot->key->id,
        .term = slot->term,
        .installed_ns = slot->installed_ns,
        .encryptions = encryptions,
        .here = encryptions - cf_min(elsewhere, encryptions),
        .retired = slot->retired,
        .active = slot == &keyring->slots[keyring->active],
    };
}

size_t keyring_count(const struct keyring *keyring)
{
    return keyring->count;
}

struct keyring_info keyring_at(const struct keyring *keyring, size_t at)
{
    assert(at < keyring->count);
    return info_of(keyring, &keyring->slots[at]);
}

struct keyring_info keyring_active(const struct keyring *keyring)
{
    return keyring_at(keyring, keyring->active);
}

cf_status keyring_find(const struct keyring *keyring, struct key_id id, struct keyring_info *ret,
                       struct cf_error *err)
{
    const struct slot *slot = lookup(keyring, id);
    if (slot == NULL) {
        return not_found(err);
    }
    *ret = info_of(keyring, slot);
    return CF_OK;
}

cf_status keyring_count_more(const struct keyring *keyring, struct key_id id, uint64_t encryptions,
                             struct cf_error *err)
{
    const struct slot *slot = lookup(keyring, id);
    if (slot == NULL) {
        return not_found(err);
    }
    data_key_count_more(slot->key, encryptions);
    return CF_OK;
}

cf_status keyring_count_at_least(const struct keyring *keyring, struct key_id id,
                                 uint64_t encryptions, struct cf_error *err)
{
    const struct slot *slot = lookup(keyring, id);
    if (slot == NULL) {
        return not_found(err);
    }
    data_key_count_at_least(slot->key, encryptions);
    return CF_OK;
}

bool keyring_wants_rotation(const struct keyring *keyring)
{
    return keyring_active(keyring).encryptions >= KEYRING_ROTATE_AT;
}

cf_status keyring_cipher(const struct keyring *keyring, struct key_id id,
                         enum keyring_purpose purpose, const uint8_t *line, struct aead_key **ret,
                         struct cf_error *err)
{
    const struct slot *slot = lookup(keyring, id);
    if (slot == NULL) {
        return not_found(err);
    }
    *ret = data_key_cipher(slot->key, purpose, line);
    return CF_OK;
}

struct aead_key *keyring_cipher_active(const struct keyring *keyring, enum keyring_purpose purpose,
                                       const uint8_t *line, struct key_id *id)
{
    struct data_key *key = keyring->slots[keyring->active].key;
    atomic_fetch_add_explicit(&key->encryptions, 1, memory_order_relaxed);
    *id = key->id;
    return data_key_cipher(key, purpose, line);
}

/* After a seal nothing of a key is left: searches this process's own writable memory for key bytes
 * (a key schedule of AES begins with them). What is searched for is held masked, or it would find
 * itself. */
#include "fixture.h"
#include "node/barrier/barrier.h"
#include "node/barrier/seal.h"
#include "node/base/memory.h"
#include "node/crypto/bcrypt.h"
#include "node/crypto/box.h"

#define SIZE 32
#define MASK 0x5a
#define REGION_MAX ((size_t)64 << 20) /* the shadow memory of sanitizers is larger */

struct masked {
    uint8_t bytes[SIZE];
};

static struct masked mask(struct cf_slice key)
{
    struct masked masked;
    for (size_t i = 0; i < SIZE; i++) {
        masked.bytes[i] = key.data[i] ^ MASK;
    }
    return masked;
}

/* Reads what no sanitizer wants to see read: freed memory, red zones. */
__attribute__((no_sanitize("address", "undefined"))) static size_t
occurrences(const volatile uint8_t *at, size_t size, const struct masked *masked)
{
    size_t found = 0;
    for (size_t i = 0; i + SIZE <= size; i++) {
        size_t same = 0;
        while (same < SIZE && (at[i + same] ^ MASK) == masked->bytes[same]) {
            same++;
        }
        found += same == SIZE;
    }
    return found;
}

static size_t count(const struct masked *masked)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    ck_assert_ptr_nonnull(maps);
    char line[512];
    size_t found = 0;
    while (fgets(line, sizeof(line), maps) != NULL) {
        unsigned long from, to;
        char mode[5];
        if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) == 3 && strncmp(mode, "rw", 2) == 0 &&
            to - from <= REGION_MAX && strstr(line, "[vvar]") == NULL) {
            found += occurrences((const volatile uint8_t *)from, to - from, masked);
        }
    }
    ck_assert_int_eq(fclose(maps), 0);
    return found;
}

/* The search itself works: it finds one key that lies about, once. */
START_TEST(finds_a_key_that_is_there)
{
    CF_OWNED(secret) key = seal_new_key(random_system());
    struct masked masked = mask(secret_slice(key));
    ck_assert_uint_eq(count(&masked), 1);
    uint8_t *copy = cf_memdup(secret_slice(key).data, SIZE);
    ck_assert_uint_eq(count(&masked), 2);
    cf_wipe(copy, SIZE);
    cf_free(copy);
    ck_assert_uint_eq(count(&masked), 1);
}
END_TEST

/* The last 32 bytes of the dump of a keyring with one key are that key. */
static struct masked key_of(const struct keyring *keyring)
{
    CF_BUF(dump) = {.secret = true};
    ck_ok(keyring_dump(keyring, &dump, NULL));
    return mask(cf_slice_from(cf_buf_slice(&dump), dump.size - SIZE));
}

START_TEST(a_keyring_leaves_no_data_key)
{
    CF_OWNED(arena) arena = arena_new(4096);
    struct keyring *keyring = keyring_new_first(random_system(), 1);
    struct masked masked = key_of(keyring);
    struct barrier_name name = {.class = BARRIER_REPLICATED, .name = CF_SLICE("a")};
    CF_BUF(sealed) = {0};
    struct cf_slice plain;
    ck_ok(barrier_seal(keyring, &name, NULL, CF_SLICE("text"), &sealed, NULL));
    ck_ok(barrier_open(keyring, &name, NULL, cf_buf_slice(&sealed), arena, &plain, NULL));
    struct keyring *next = rotated(keyring);
    keyring_unref(keyring);
    ck_assert_uint_gt(count(&masked), 0); /* the newer keyring holds it, too */
    keyring_unref(next);
    ck_assert_uint_eq(count(&masked), 0);
}
END_TEST

START_TEST(wraps_leave_no_key)
{
    struct secret *unseal = seal_new_key(random_system()), *root = seal_new_key(random_system());
    struct secret *shares[5], *combined = NULL, *opened = NULL;
    struct keyring *keyring = keyring_new_first(random_system(), 1), *again = NULL;
    const struct masked masked[] = {mask(secret_slice(unseal)), mask(secret_slice(root)),
                                    key_of(keyring)};
    struct shamir_shape shape = {.shares = 5, .threshold = 3};
    CF_BUF(wrapped) = {0};
    CF_BUF(ring) = {0};
    ck_ok(shamir_split(secret_slice(unseal), shape, random_system(), shares, NULL));
    ck_ok(seal_wrap_root(secret_slice(unseal), secret_slice(root), &wrapped, NULL));
    ck_ok(seal_wrap_keyring(secret_slice(root), keyring, &ring, NULL));
    CF_OWNED(seal_progress) progress = seal_progress_new();
    for (size_t i = 0; i < 5; i++) {
        if (i < 3) {
            ck_ok(seal_progress_add(progress, shape, secret_slice(shares[i]), random_system(),
                                    &combined, NULL));
        }
        secret_free(shares[i]);
    }
    ck_ok(seal_unwrap_root(secret_slice(combined), cf_buf_slice(&wrapped), &opened, NULL));
    ck_ok(seal_unwrap_keyring(secret_slice(opened), cf_buf_slice(&ring), &again, NULL));
    keyring_unref(keyring);
    keyring_unref(again);
    secret_free(unseal);
    secret_free(root);
    secret_free(combined);
    secret_free(opened);
    for (size_t i = 0; i < CF_LENGTH(masked); i++) {
        ck_assert_msg(count(&masked[i]) == 0, "key %zu is still there", i);
    }
}
END_TEST

START_TEST(boxes_and_passwords_leave_nothing)
{
    uint8_t public_key[32];
    char hash[61];
    struct secret *private_key = NULL, *text = seal_new_key(random_system());
    for (size_t i = 0; i < SIZE; i++) {
        secret_bytes(text)[i] |= 1; /* no NUL: it is a password as well */
    }
    ck_ok(box_key_new(public_key, &private_key, NULL));
    const struct masked masked[] = {mask(secret_slice(private_key)), mask(secret_slice(text))};
    CF_BUF(box) = {0};
    struct cf_slice info = CF_SLICE("keyring");
    ck_ok(box_seal(cf_slice_of(public_key, 32), secret_slice(text), info, &box, NULL));
    {
        CF_BUF(plain) = {.secret = true};
        ck_ok(box_open(secret_slice(private_key), cf_buf_slice(&box), info, &plain, NULL));
        ck_ok(bcrypt_make(cf_buf_slice(&plain), 4, random_system(), hash, NULL));
        ck_assert(bcrypt_check(cf_buf_slice(&plain), cf_slice_str(hash)));
    }
    secret_free(private_key);
    secret_free(text);
    for (size_t i = 0; i < CF_LENGTH(masked); i++) {
        ck_assert_msg(count(&masked[i]) == 0, "secret %zu is still there", i);
    }
}
END_TEST

TEST_MAIN("node/barrier/wiping", finds_a_key_that_is_there, a_keyring_leaves_no_data_key,
          wraps_leave_no_key, boxes_and_passwords_leave_nothing)

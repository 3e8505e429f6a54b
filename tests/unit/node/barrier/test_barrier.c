/* Sealed values: the format is pinned, and a value opens only where and as it was sealed. */
#include <pthread.h>

#include "fixture.h"
#include "node/barrier/barrier.h"
#include "node/base/memory.h"

static const struct line_id line = {"LLLLLLLLLLLLLLLL"}, other_line = {"MLLLLLLLLLLLLLLL"};
static const uint8_t classes[] = {BARRIER_REPLICATED, BARRIER_CLUSTER, BARRIER_OWN};

/* Made by another implementation of the format in barrier.h, one a class. */
static const char *const known[] = {
    "011111111111111111242424242424242424242424729ec9ef941ac172a2613f0d48ab53729c46a056b7aebacd9b6"
    "1",
    "011111111111111111242424242424242424242424f18bba1c89937bb4726efa377633d6fc6027b2f39e1f1a96444"
    "1",
    "01111111111111111124242424242424242424242438aaa8ab805a9c544574e060621fc7c9926fa87067044d821b1"
    "4",
};

static struct barrier_name name_of(uint8_t class)
{
    return (struct barrier_name){.class = class, .ns = 7, .name = CF_SLICE("logical/a")};
}

START_TEST(opens_values_made_elsewhere)
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_OWNED(keyring) keyring = known_keyring(arena);
    for (size_t i = 0; i < CF_LENGTH(classes); i++) {
        struct barrier_name name = name_of(classes[i]);
        struct cf_slice plain;
        ck_ok(barrier_open(keyring, &name, &line, hex(arena, known[i]), arena, &plain, NULL));
        ck_slice(plain, "top secret");
    }
}
END_TEST

START_TEST(opens_what_it_sealed)
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_OWNED(keyring) keyring = keyring_new_first(random_system(), 1);
    static const uint8_t text[5000] = {9, 8, 7};
    static const size_t sizes[] = {0, 1, 100, 5000};
    for (size_t i = 0; i < CF_LENGTH(classes) * CF_LENGTH(sizes); i++) {
        struct barrier_name name = name_of(classes[i % CF_LENGTH(classes)]);
        struct cf_slice plain = cf_slice_of(text, sizes[i / CF_LENGTH(classes)]), opened;
        CF_BUF(sealed) = {0};
        CF_BUF(out) = {.secret = true};
        cf_buf_add_str(&out, "kept");
        ck_ok(barrier_seal(keyring, &name, &line, plain, &sealed, NULL));
        ck_assert_uint_eq(sealed.size, plain.size + BARRIER_OVERHEAD);
        ck_ok(barrier_open(keyring, &name, &line, cf_buf_slice(&sealed), arena, &opened, NULL));
        ck_assert(cf_slice_eq(opened, plain));
        ck_ok(barrier_open_buf(keyring, &name, &line, cf_buf_slice(&sealed), &out, NULL));
        ck_assert(cf_slice_eq(cf_slice_from(cf_buf_slice(&out), 4), plain));
    }
    ck_assert_uint_eq(keyring_active(keyring).encryptions, CF_LENGTH(classes) * CF_LENGTH(sizes));
}
END_TEST

/* Seals under one name, then tries all that differ in one thing. */
START_TEST(opens_nowhere_else)
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_OWNED(keyring) keyring = keyring_new_first(random_system(), 1);
    for (size_t i = 0; i < CF_LENGTH(classes); i++) {
        struct barrier_name name = name_of(classes[i]);
        CF_BUF(sealed) = {0};
        ck_ok(barrier_seal(keyring, &name, &line, CF_SLICE("text"), &sealed, NULL));
        struct cf_slice bytes = cf_buf_slice(&sealed), plain;
        struct barrier_name wrong[] = {name, name, name, name, name};
        wrong[0].ns = 8;
        wrong[1].name = CF_SLICE("logical/b");
        wrong[2].name = CF_SLICE("logical/");
        wrong[3].class = classes[(i + 1) % CF_LENGTH(classes)];
        wrong[4].class = classes[(i + 2) % CF_LENGTH(classes)];
        for (size_t k = 0; k < CF_LENGTH(wrong); k++) {
            ck_status(barrier_open(keyring, &wrong[k], &line, bytes, arena, &plain, NULL),
                      CF_CORRUPT);
        }
        ck_status(barrier_open(keyring, &name, &other_line, bytes, arena, &plain, NULL),
                  classes[i] == BARRIER_CLUSTER ? CF_CORRUPT : CF_OK);
    }
}
END_TEST

START_TEST(refuses_every_flipped_bit)
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_OWNED(keyring) keyring = keyring_new_first(random_system(), 1);
    struct barrier_name name = name_of(BARRIER_REPLICATED);
    CF_BUF(sealed) = {0};
    CF_BUF(out) = {.secret = true};
    ck_ok(barrier_seal(keyring, &name, NULL, CF_SLICE("text"), &sealed, NULL));
    struct cf_slice bytes = cf_buf_slice(&sealed), plain = CF_SLICE("untouched");
    for (size_t bit = 0; bit < 8 * sealed.size; bit++) {
        sealed.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cf_status status = barrier_open(keyring, &name, NULL, bytes, arena, &plain, NULL);
        cf_status again = barrier_open_buf(keyring, &name, NULL, bytes, &out, NULL);
        ck_assert_int_eq(status, again);
        if (bit < 8) { /* the format */
            ck_assert(status == CF_UNSUPPORTED || status == CF_CORRUPT);
        } else {
            ck_assert_int_eq(status, bit < 72 ? CF_NOT_FOUND : CF_CORRUPT);
        }
        sealed.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t size = 0; size < sealed.size; size++) {
        ck_status(
            barrier_open(keyring, &name, NULL, cf_slice_first(bytes, size), arena, &plain, NULL),
            CF_CORRUPT);
    }
    ck_slice(plain, "untouched");
    ck_assert_uint_eq(out.size, 0);
}
END_TEST

START_TEST(old_values_survive_rotation_and_union)
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_OWNED(keyring) keyring = keyring_new_first(random_system(), 1);
    CF_OWNED(keyring) next = rotated(keyring);
    CF_OWNED(keyring) stranger = keyring_new_first(random_system(), 1);
    struct barrier_name name = name_of(BARRIER_CLUSTER);
    CF_BUF(before) = {0};
    CF_BUF(after) = {0};
    struct key_id id;
    struct cf_slice plain;
    ck_ok(barrier_seal(keyring, &name, &line, CF_SLICE("old"), &before, NULL));
    ck_ok(barrier_seal(next, &name, &line, CF_SLICE("new"), &after, NULL));
    ck_ok(barrier_key_of(cf_buf_slice(&after), &id, NULL));
    ck_assert(key_id_equal(id, keyring_active(next).id));
    ck_ok(barrier_open(next, &name, &line, cf_buf_slice(&before), arena, &plain, NULL));
    ck_slice(plain, "old");
    ck_status(barrier_open(keyring, &name, &line, cf_buf_slice(&after), arena, &plain, NULL),
              CF_NOT_FOUND);
    CF_OWNED(keyring) both = NULL;
    ck_ok(keyring_union(stranger, next, keyring_active(stranger).id, &both, NULL));
    ck_ok(barrier_open(both, &name, &line, cf_buf_slice(&before), arena, &plain, NULL));
    ck_ok(barrier_open(both, &name, &line, cf_buf_slice(&after), arena, &plain, NULL));
    ck_slice(plain, "new");
}
END_TEST

START_TEST(refuses_what_it_cannot_seal)
{
    CF_OWNED(keyring) keyring = keyring_new_first(random_system(), 1);
    struct barrier_name name = name_of(BARRIER_CLUSTER), unknown = name_of('x');
    CF_BUF(sealed) = {.max = 40};
    ck_status(barrier_seal(keyring, &name, NULL, CF_SLICE("a"), &sealed, NULL), CF_INVALID);
    ck_status(barrier_seal(keyring, &unknown, &line, CF_SLICE("a"), &sealed, NULL), CF_INVALID);
    ck_status(barrier_seal(keyring, &name, &line, CF_SLICE("abcd"), &sealed, NULL), CF_TOO_LARGE);
    ck_assert_uint_eq(sealed.size, 0);
    ck_assert_uint_eq(keyring_active(keyring).encryptions, 0);
}
END_TEST

struct worker {
    pthread_t thread;
    const struct keyring *keyring;
    unsigned number, wrong;
};

/* All threads meet the same new lines at once, so they race to derive the subkeys. */
static void *seal_and_open(void *context)
{
    struct worker *worker = context;
    for (unsigned round = 0; round < 200; round++) {
        struct keyring *mine = keyring_ref(worker->keyring);
        struct line_id at = {{(uint8_t)(round % 20)}};
        struct barrier_name name = name_of(classes[round % CF_LENGTH(classes)]);
        name.ns = worker->number;
        CF_BUF(sealed) = {0};
        CF_BUF(out) = {.secret = true};
        struct cf_slice plain = CF_SLICE("text of a thread");
        bool good =
            barrier_seal(mine, &name, &at, plain, &sealed, NULL) == CF_OK &&
            barrier_open_buf(mine, &name, &at, cf_buf_slice(&sealed), &out, NULL) == CF_OK &&
            cf_slice_eq(cf_buf_slice(&out), plain);
        worker->wrong += !good;
        keyring_unref(mine);
    }
    return NULL;
}

START_TEST(serves_many_threads_at_once)
{
    CF_OWNED(keyring) keyring = keyring_new_first(random_system(), 1);
    struct worker workers[8];
    for (unsigned i = 0; i < CF_LENGTH(workers); i++) {
        workers[i] = (struct worker){.keyring = keyring, .number = i};
        ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, seal_and_open, &workers[i]), 0);
    }
    for (size_t i = 0; i < CF_LENGTH(workers); i++) {
        ck_assert_int_eq(pthread_join(workers[i].thread, NULL), 0);
        ck_assert_uint_eq(workers[i].wrong, 0);
    }
    ck_assert_uint_eq(keyring_active(keyring).encryptions, CF_LENGTH(workers) * 200);
}
END_TEST

TEST_MAIN("node/barrier/barrier", opens_values_made_elsewhere, opens_what_it_sealed,
          opens_nowhere_else, refuses_every_flipped_bit, old_values_survive_rotation_and_union,
          refuses_what_it_cannot_seal, serves_many_threads_at_once)

/* bcrypt: published hashes, and what it must refuse. */
#include "node/base/memory.h"
#include "node/crypto/bcrypt.h"
#include "node/crypto/random.h"
#include "test.h"

/* From the test lists of jBCrypt and crypt_blowfish. */
static const struct {
    const char *password, *hash;
} known[] = {
    {"", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."},
    {"a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"},
    {"abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"},
    {"U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
    {"U*U", "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
    {"U*U", "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
};

START_TEST(checks_published_hashes)
{
    for (size_t i = 0; i < CF_LENGTH(known); i++) {
        struct cf_slice hash = cf_slice_str(known[i].hash);
        ck_ok(bcrypt_is_hash(hash, NULL));
        ck_assert_msg(bcrypt_check(cf_slice_str(known[i].password), hash), "%s", known[i].hash);
        ck_assert(!bcrypt_check(CF_SLICE("something else"), hash));
    }
}
END_TEST

START_TEST(makes_what_it_checks)
{
    char first[61], second[61];
    struct cf_slice password = CF_SLICE("correct horse battery staple");
    ck_ok(bcrypt_make(password, 4, random_system(), first, NULL));
    ck_ok(bcrypt_make(password, 4, random_system(), second, NULL));
    ck_assert_uint_eq(strlen(first), BCRYPT_HASH_SIZE);
    ck_assert_int_eq(strncmp(first, "$2b$04$", 7), 0);
    ck_assert_str_ne(first, second); /* another salt */
    ck_assert(bcrypt_check(password, cf_slice_str(first)));
    ck_assert(bcrypt_check(password, cf_slice_str(second)));
    ck_assert(!bcrypt_check(CF_SLICE("correct horse battery stapl"), cf_slice_str(first)));
    ck_assert(!bcrypt_check(CF_SLICE_EMPTY, cf_slice_str(first)));
}
END_TEST

START_TEST(refuses_passwords_that_bcrypt_would_cut)
{
    char hash[61] = "untouched", letters[100];
    memset(letters, 'a', sizeof(letters));
    ck_ok(bcrypt_make(cf_slice_of(letters, 72), 4, random_system(), hash, NULL));
    ck_assert(bcrypt_check(cf_slice_of(letters, 72), cf_slice_str(hash)));
    ck_assert(!bcrypt_check(cf_slice_of(letters, 73), cf_slice_str(hash)));
    ck_assert(!bcrypt_check(cf_slice_of(letters, 99), cf_slice_str(hash)));
    struct cf_error err;
    char other[61] = "untouched";
    ck_status(bcrypt_make(cf_slice_of(letters, 73), 4, random_system(), other, &err), CF_INVALID);
    ck_status(bcrypt_make(CF_SLICE("a\0b"), 4, random_system(), other, &err), CF_INVALID);
    ck_assert_str_eq(other, "untouched");
    ck_ok(bcrypt_make(CF_SLICE("a"), 4, random_system(), hash, NULL));
    ck_assert(bcrypt_check(CF_SLICE("a"), cf_slice_str(hash)));
    ck_assert(!bcrypt_check(CF_SLICE("a\0b"), cf_slice_str(hash)));
}
END_TEST

START_TEST(bounds_the_cost)
{
    char hash[61];
    ck_status(bcrypt_make(CF_SLICE("a"), 3, random_system(), hash, NULL), CF_INVALID);
    ck_status(bcrypt_make(CF_SLICE("a"), 17, random_system(), hash, NULL), CF_INVALID);
    bcrypt_waste(CF_SLICE("a"), 4);
    char letters[100] = {'a'};
    bcrypt_waste(cf_slice_of(letters, sizeof(letters)), 4);
}
END_TEST

START_TEST(malformed_hashes_are_false)
{
    static const char *const bad[] = {
        "",
        "$2a$06$",
        "*0",
        "x",
        "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s",
        "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.x",
        "$2a$31$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.",
        "$2a$03$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.",
        "$2x$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.",
        "$1a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.",
        "$2a$0x$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.",
        "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s:",
        "$2a$06$DCq7YPn5Rq63x1Lad4c\nl.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.",
    };
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        ck_status(bcrypt_is_hash(cf_slice_str(bad[i]), NULL), CF_INVALID);
        ck_assert(!bcrypt_check(CF_SLICE_EMPTY, cf_slice_str(bad[i])));
    }
}
END_TEST

TEST_MAIN("node/crypto/bcrypt", checks_published_hashes, makes_what_it_checks,
          refuses_passwords_that_bcrypt_would_cut, bounds_the_cost, malformed_hashes_are_false)

/* Keyrings: rotation, the laws of union, the pinned dump, and hostile dumps. */
#include "fixture.h"
#include "node/base/memory.h"

START_TEST(starts_with_one_active_key)
{
    CF_OWNED(keyring) keyring = keyring_new_first(random_system(), 1234);
    struct keyring_info info = keyring_active(keyring);
    ck_assert_uint_eq(keyring_count(keyring), 1);
    ck_assert(info.active && !info.retired);
    ck_assert_uint_eq(info.term, 1);
    ck_assert_int_eq(info.installed_ns, 1234);
    ck_assert_uint_eq(info.encryptions, 0);
    CF_OWNED(keyring) other = keyring_new_first(random_system(), 1234);
    ck_assert(!key_id_equal(info.id, keyring_active(other).id));
}
END_TEST

START_TEST(rotation_retires_and_keeps)
{
    CF_OWNED(keyring) keyring = keyring_new_first(random_system(), 1);
    for (uint32_t term = 2; term < 40; term++) {
        struct keyring_info before = keyring_active(keyring), found;
        struct keyring *next = rotated(keyring);
        ck_assert_uint_eq(keyring_count(next), term);
        ck_assert_uint_eq(keyring_active(next).term, term);
        ck_assert_int_eq(keyring_active(next).installed_ns, 7);
        ck_ok(keyring_find(next, before.id, &found, NULL));
        ck_assert(found.retired && !found.active);
        ck_assert(keyring_active(keyring).active); /* the old one did not change */
        ck_assert(keyring_includes(next, keyring) && !keyring_includes(keyring, next));
        keyring_unref(keyring);
        keyring = next;
    }
    unsigned active = 0;
    for (size_t i = 0; i < keyring_count(keyring); i++) {
        active += keyring_at(keyring, i).active;
        ck_assert(keyring_at(keyring, i).retired != keyring_at(keyring, i).active);
    }
    ck_assert_uint_eq(active, 1);
    struct keyring_info none;
    struct key_id unknown = {{0}};
    ck_status(keyring_find(keyring, unknown, &none, NULL), CF_NOT_FOUND);
}
END_TEST

/* Counts go with the key, from keyring to keyring. */
START_TEST(counts_encryptions)
{
    CF_OWNED(keyring) keyring = keyring_new_first(random_system(), 1);
    struct key_id id = keyring_active(keyring).id, unknown = {{0}};
    ck_ok(keyring_count_more(keyring, id, 41, NULL));
    ck_assert(!keyring_wants_rotation(keyring));
    CF_OWNED(keyring) next = rotated(keyring);
    ck_ok(keyring_count_more(keyring, id, 1, NULL));
    struct keyring_info found;
    ck_ok(keyring_find(next, id, &found, NULL));
    ck_assert_uint_eq(found.encryptions, 42);
    ck_assert_uint_eq(keyring_active(next).encryptions, 0);
    ck_ok(keyring_count_more(keyring, id, KEYRING_ROTATE_AT - 43, NULL));
    ck_assert(!keyring_wants_rotation(keyring));
    ck_ok(keyring_count_more(keyring, id, 1, NULL));
    ck_assert(keyring_wants_rotation(keyring));
    ck_assert(!keyring_wants_rotation(next));
    ck_status(keyring_count_more(keyring, unknown, 1, NULL), CF_NOT_FOUND);
}
END_TEST

static void dump(const struct keyring *keyring, struct cf_buf *out)
{
    cf_buf_init_secret(out, 0);
    ck_ok(keyring_dump(keyring, out, NULL));
}

static bool same(const struct keyring *a, const struct keyring *b)
{
    CF_BUF(left) = {0};
    CF_BUF(right) = {0};
    dump(a, &left);
    dump(b, &right);
    return cf_slice_eq(cf_buf_slice(&left), cf_buf_slice(&right));
}

static struct keyring *joined(const struct keyring *a, const struct keyring *b,
                              const struct keyring *active)
{
    struct keyring *made = NULL;
    ck_ok(keyring_union(a, b, keyring_active(active).id, &made, NULL));
    return made;
}

/* Two clusters that rotated apart from a common start. */
START_TEST(union_is_commutative_associative_idempotent)
{
    CF_OWNED(keyring) start = keyring_new_first(random_system(), 1);
    CF_OWNED(keyring) a = rotated(start);
    CF_OWNED(keyring) b1 = rotated(start);
    CF_OWNED(keyring) b = rotated(b1);
    CF_OWNED(keyring) c = keyring_new_first(random_system(), 3);
    ck_ok(keyring_count_more(c, keyring_active(c).id, 5, NULL));

    CF_OWNED(keyring) ab = joined(a, b, b);
    CF_OWNED(keyring) ba = joined(b, a, b);
    ck_assert(same(ab, ba));
    ck_assert_uint_eq(keyring_count(ab), 4);
    ck_assert(keyring_includes(ab, a) && keyring_includes(ab, b));

    CF_OWNED(keyring) ab_c = joined(ab, c, b);
    CF_OWNED(keyring) bc = joined(b, c, b);
    CF_OWNED(keyring) a_bc = joined(a, bc, b);
    ck_assert(same(ab_c, a_bc));

    CF_OWNED(keyring) aa = joined(a, a, a);
    CF_OWNED(keyring) absorbed = joined(ab, a, b);
    ck_assert(same(aa, a));
    ck_assert(same(absorbed, ab));

    /* Either active key may win; the other one is not retired by that. */
    CF_OWNED(keyring) a_wins = joined(a, b, a);
    struct keyring_info other;
    ck_assert(key_id_equal(keyring_active(a_wins).id, keyring_active(a).id));
    ck_ok(keyring_find(a_wins, keyring_active(b).id, &other, NULL));
    ck_assert(!other.retired && !other.active);
    CF_OWNED(keyring) later = rotated(a_wins);
    ck_assert_uint_eq(keyring_active(later).term, 4); /* b had reached 3 */
}
END_TEST

START_TEST(union_keeps_marks_and_checks_the_active_key)
{
    CF_OWNED(keyring) start = keyring_new_first(random_system(), 1);
    CF_OWNED(keyring) next = rotated(start);
    CF_OWNED(keyring) stranger = keyring_new_first(random_system(), 1);
    struct keyring *made = NULL;
    ck_status(keyring_union(start, next, keyring_active(start).id, &made, NULL), CF_CONFLICT);
    ck_status(keyring_union(next, start, keyring_active(start).id, &made, NULL), CF_CONFLICT);
    ck_status(keyring_union(start, next, keyring_active(stranger).id, &made, NULL), CF_NOT_FOUND);
    ck_assert_ptr_null(made);
    ck_ok(keyring_union(start, next, keyring_active(next).id, &made, NULL));
    ck_assert(same(made, next));
    keyring_unref(made);
}
END_TEST

START_TEST(one_id_names_one_key)
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_OWNED(keyring) known = known_keyring(arena);
    struct cf_slice changed = hex(arena, KNOWN_DUMP);
    ((uint8_t *)(uintptr_t)changed.data)[changed.size - 1] ^= 1;
    CF_OWNED(keyring) other = NULL;
    struct keyring *made = NULL;
    ck_ok(keyring_load(changed, &other, NULL));
    ck_status(keyring_union(known, other, keyring_active(known).id, &made, NULL), CF_CORRUPT);
    ck_assert(!keyring_includes(known, other));
}
END_TEST

START_TEST(the_dump_is_pinned)
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_OWNED(keyring) known = known_keyring(arena);
    ck_assert_int_eq(keyring_active(known).installed_ns, 5);
    CF_BUF(out) = {0};
    dump(known, &out);
    ck_hex(arena, cf_buf_slice(&out), KNOWN_DUMP);
    CF_BUF(small) = {.max = 20, .secret = true};
    ck_status(keyring_dump(known, &small, NULL), CF_TOO_LARGE);
}
END_TEST

START_TEST(loads_what_it_dumped)
{
    CF_OWNED(keyring) first = keyring_new_first(random_system(), 1);
    CF_OWNED(keyring) second = rotated(first);
    CF_OWNED(keyring) third = rotated(second);
    ck_ok(keyring_count_more(third, keyring_active(third).id, 9, NULL));
    CF_BUF(out) = {0};
    dump(third, &out);
    CF_OWNED(keyring) again = NULL;
    ck_ok(keyring_load(cf_buf_slice(&out), &again, NULL));
    ck_assert(same(third, again));
    ck_assert_uint_eq(keyring_active(again).encryptions, 9);
}
END_TEST

/* Any truncation, addition or flipped bit either fails or gives a keyring that dumps to those
 * bytes. */
START_TEST(hostile_dumps_do_no_harm)
{
    CF_OWNED(keyring) first = keyring_new_first(random_system(), 1);
    CF_OWNED(keyring) second = rotated(first);
    CF_BUF(out) = {0};
    dump(second, &out);
    struct keyring *made = NULL;
    for (size_t size = 0; size < out.size; size++) {
        cf_status status = keyring_load(cf_slice_of(out.data, size), &made, NULL);
        ck_assert_int_eq(status, CF_CORRUPT);
    }
    for (size_t bit = 0; bit < 8 * out.size; bit++) {
        out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cf_status status = keyring_load(cf_buf_slice(&out), &made, NULL);
        if (status == CF_OK) {
            CF_BUF(again) = {0};
            dump(made, &again);
            ck_assert(cf_slice_eq(cf_buf_slice(&out), cf_buf_slice(&again)));
            keyring_unref(made);
            made = NULL;
        }
        ck_assert(status == CF_OK || status == CF_CORRUPT || status == CF_UNSUPPORTED);
        out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    cf_buf_add_byte(&out, 0);
    ck_status(keyring_load(cf_buf_slice(&out), &made, NULL), CF_CORRUPT);
    out.data[0] = 2;
    ck_status(keyring_load(cf_buf_slice(&out), &made, NULL), CF_UNSUPPORTED);
}
END_TEST

START_TEST(is_full_at_its_maximum)
{
    CF_OWNED(keyring) keyring = keyring_new_first(random_system(), 1);
    while (keyring_count(keyring) < KEYRING_KEYS_MAX) {
        struct keyring *next = rotated(keyring);
        keyring_unref(keyring);
        keyring = next;
    }
    struct keyring *made = NULL;
    ck_status(keyring_rotate(keyring, random_system(), 1, &made, NULL), CF_TOO_LARGE);
    CF_OWNED(keyring) other = keyring_new_first(random_system(), 1);
    ck_status(keyring_union(keyring, other, keyring_active(other).id, &made, NULL), CF_TOO_LARGE);
    CF_BUF(out) = {0};
    dump(keyring, &out);
    CF_OWNED(keyring) again = NULL;
    ck_ok(keyring_load(cf_buf_slice(&out), &again, NULL));
    ck_assert_uint_eq(keyring_count(again), KEYRING_KEYS_MAX);
}
END_TEST

TEST_MAIN("node/barrier/keyring", starts_with_one_active_key, rotation_retires_and_keeps,
          counts_encryptions, union_is_commutative_associative_idempotent,
          union_keeps_marks_and_checks_the_active_key, one_id_names_one_key, the_dump_is_pinned,
          loads_what_it_dumped, hostile_dumps_do_no_harm, is_full_at_its_maximum)

/* Entries and configurations as bytes: checksums, every damaged and cut encoding. */
#include "harness.h"

/* RFC 3720, appendix B.4. */
START_TEST(crc_vectors)
{
    uint8_t bytes[32] = {0};
    ck_assert_uint_eq(raft_crc32c(0, bytes, 32), 0x8a9136aaU);
    memset(bytes, 0xff, 32);
    ck_assert_uint_eq(raft_crc32c(0, bytes, 32), 0x62a8ab43U);
    for (unsigned i = 0; i < 32; i++) {
        bytes[i] = (uint8_t)i;
    }
    ck_assert_uint_eq(raft_crc32c(0, bytes, 32), 0x46dd794eU);
    ck_assert_uint_eq(raft_crc32c(0, "123456789", 9), 0xe3069283U);
    ck_assert_uint_eq(raft_crc32c(raft_crc32c(0, "1234", 4), "56789", 5), 0xe3069283U);
    ck_assert_uint_eq(raft_crc32c(0, NULL, 0), 0);
}
END_TEST

START_TEST(crc_both_ways)
{
    uint8_t bytes[100];
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 37 + 11);
    }
    for (size_t size = 0; size <= sizeof(bytes); size++) {
        ck_assert_uint_eq(raft_crc32c(7, bytes, size), raft_crc32c_portable(7, bytes, size));
    }
}
END_TEST

static cf_status load(const struct raft_entry *e, struct cf_slice payload)
{
    struct raft_entry *loaded = NULL;
    cf_status status =
        raft_entry_load(e->term, e->index, e->type, e->flags, e->crc32c, payload, &loaded, NULL);
    if (status == CF_OK) {
        ck_assert(cf_slice_eq(loaded->payload, payload));
        ck_ok(raft_entry_check(loaded, NULL));
    }
    raft_entry_unref(loaded);
    return status;
}

START_TEST(every_flipped_bit_is_found)
{
    uint8_t bytes[] = "a payload";
    struct raft_entry *entry = raft_entry_new(RAFT_ENTRY_DATA, 3, cf_slice_of(bytes, 9));
    raft_entry_seal(entry, 5, 77);
    ck_ok(load(entry, cf_slice_of(bytes, 9)));
    for (size_t bit = 0; bit < 72; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        ck_status(load(entry, cf_slice_of(bytes, 9)), CF_CORRUPT);
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    ck_status(load(entry, cf_slice_of(bytes, 8)), CF_CORRUPT);
    struct raft_entry changed = *entry;
    changed.term = 6;
    ck_status(load(&changed, cf_slice_of(bytes, 9)), CF_CORRUPT);
    changed = *entry;
    changed.index = 78;
    ck_status(load(&changed, cf_slice_of(bytes, 9)), CF_CORRUPT);
    changed = *entry;
    changed.flags = 2;
    ck_status(load(&changed, cf_slice_of(bytes, 9)), CF_CORRUPT);
    changed = *entry;
    changed.type = RAFT_ENTRY_BARRIER;
    ck_status(load(&changed, cf_slice_of(bytes, 9)), CF_CORRUPT);
    changed.type = RAFT_ENTRY_TYPES;
    ck_status(load(&changed, cf_slice_of(bytes, 9)), CF_INVALID);
    changed = *entry;
    changed.index = 0;
    ck_status(load(&changed, cf_slice_of(bytes, 9)), CF_INVALID);
    ck_status(load(entry, (struct cf_slice){bytes, RAFT_PAYLOAD_MAX + 1}), CF_TOO_LARGE);
    raft_entry_unref(raft_entry_ref(entry));
    raft_entry_unref(entry);
    raft_entry_unref(NULL);
}
END_TEST

START_TEST(membership_round_trip)
{
    struct raft_membership m = {0}, back;
    ck_ok(
        raft_membership_set(&m, 7, RAFT_VOTER | RAFT_OUTGOING, 3, "10.0.0.7:8201", "seven", NULL));
    ck_ok(raft_membership_set(&m, 3, RAFT_LEARNER | RAFT_OUTGOING, 1, "", "three", NULL));
    ck_ok(raft_membership_set(&m, 9, RAFT_LEARNER, 1, "h:1", "", NULL));
    ck_assert_uint_eq(m.members[0].id, 3);
    CF_BUF(bytes) = {.max = 0};
    raft_membership_encode(&m, &bytes);
    ck_ok(raft_membership_decode(cf_buf_slice(&bytes), &back, NULL));
    ck_assert(raft_membership_equal(&m, &back));
    ck_assert(raft_membership_is_joint(&back));
    ck_assert(raft_membership_votes(&back, 3));
    ck_assert(!raft_membership_votes(&back, 9));
    ck_assert(raft_membership_remove(&back, 3));
    ck_assert(!raft_membership_remove(&back, 3));
    ck_assert(!raft_membership_equal(&m, &back));
}
END_TEST

/* Cut at every byte, and every byte replaced: an error or a sound configuration, never more. */
START_TEST(membership_hostile)
{
    struct raft_membership m = bench_members((const uint64_t[]){1, 2, 3, 0}, NULL), back;
    CF_BUF(bytes) = {.max = 0};
    raft_membership_encode(&m, &bytes);
    for (size_t size = 0; size < bytes.size; size++) {
        ck_status(raft_membership_decode(cf_slice_of(bytes.data, size), &back, NULL), CF_CORRUPT);
    }
    for (size_t at = 0; at < bytes.size; at++) {
        uint8_t before = bytes.data[at];
        for (unsigned value = 0; value < 256; value++) {
            bytes.data[at] = (uint8_t)value;
            if (raft_membership_decode(cf_buf_slice(&bytes), &back, NULL) == CF_OK) {
                ck_ok(raft_membership_check(&back, NULL));
            }
        }
        bytes.data[at] = before;
    }
    cf_buf_add_byte(&bytes, 0);
    ck_status(raft_membership_decode(cf_buf_slice(&bytes), &back, NULL), CF_CORRUPT);
}
END_TEST

START_TEST(membership_limits)
{
    struct raft_membership m = {0};
    char text[RAFT_ADDRESS_MAX + 1];
    memset(text, 'x', RAFT_ADDRESS_MAX);
    text[RAFT_ADDRESS_MAX] = '\0';
    ck_status(raft_membership_set(&m, 0, RAFT_VOTER, 1, "", "", NULL), CF_INVALID);
    ck_status(raft_membership_set(&m, 1, RAFT_VOTER | RAFT_LEARNER, 1, "", "", NULL), CF_INVALID);
    ck_status(raft_membership_set(&m, 1, 0, 1, "", "", NULL), CF_INVALID);
    ck_status(raft_membership_set(&m, 1, RAFT_VOTER, 1, text, "", NULL), CF_TOO_LARGE);
    ck_status(raft_membership_check(&m, NULL), CF_INVALID);
    for (uint64_t i = 1; i <= RAFT_MEMBERS_MAX; i++) {
        ck_ok(raft_membership_set(&m, i, RAFT_LEARNER, 1, "", "", NULL));
    }
    ck_status(raft_membership_set(&m, 99, RAFT_LEARNER, 1, "", "", NULL), CF_TOO_LARGE);
    ck_status(raft_membership_check(&m, NULL), CF_INVALID); /* no voter */
    for (uint64_t i = 1; i <= RAFT_VOTERS_MAX; i++) {
        ck_ok(raft_membership_set(&m, i, RAFT_VOTER, 1, "", "", NULL));
    }
    ck_ok(raft_membership_check(&m, NULL));
    ck_ok(raft_membership_set(&m, RAFT_VOTERS_MAX + 1, RAFT_VOTER, 1, "", "", NULL));
    ck_status(raft_membership_check(&m, NULL), CF_INVALID);
}
END_TEST

TEST_MAIN("consensus/core/entry", crc_vectors, crc_both_ways, every_flipped_bit_is_found,
          membership_round_trip, membership_hostile, membership_limits)

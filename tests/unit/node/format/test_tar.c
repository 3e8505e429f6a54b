/* tests/unit/node/format/test_tar.c: headers of tar archives, and what is none. */
#include "node/format/tar.h"
#include "test.h"

START_TEST(round_trip)
{
    static const uint64_t sizes[] = {0, 1, 511, 512, 8589934591, 8589934592, (uint64_t)1 << 43};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint8_t block[TAR_BLOCK];
        struct tar_entry entry;
        bool at_end;
        tar_header("state.bin", sizes[i], 1700000000, block);
        ck_ok(tar_parse(block, &entry, &at_end, NULL));
        ck_assert(!at_end);
        ck_assert_str_eq(entry.name, "state.bin");
        ck_assert_uint_eq(entry.size, sizes[i]);
        ck_assert_uint_eq((entry.size + tar_padding(entry.size)) % TAR_BLOCK, 0);
    }
}
END_TEST

START_TEST(end_of_archive)
{
    uint8_t block[TAR_BLOCK] = {0};
    struct tar_entry entry;
    bool at_end;
    ck_ok(tar_parse(block, &entry, &at_end, NULL));
    ck_assert(at_end);
}
END_TEST

/* Any single bit breaks the checksum, or is in a field that says nothing. */
START_TEST(bent)
{
    uint8_t block[TAR_BLOCK];
    tar_header("meta.json", 100, 0, block);
    for (size_t at = 0; at < TAR_BLOCK * 8; at++) {
        struct tar_entry entry;
        bool at_end;
        block[at / 8] ^= (uint8_t)(1u << at % 8);
        cf_status status = tar_parse(block, &entry, &at_end, NULL);
        bool in_sum = at / 8 >= 148 && at / 8 < 156;
        ck_assert_msg(status == CF_INVALID || in_sum, "bit %zu", at);
        block[at / 8] ^= (uint8_t)(1u << at % 8);
    }
}
END_TEST

START_TEST(names)
{
    static const char *const bad[] = {"", ".", "..", "a/b", "../a", "/a", "a b", "a\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint8_t block[TAR_BLOCK];
        struct tar_entry entry;
        bool at_end;
        tar_header(bad[i], 1, 0, block);
        ck_status(tar_parse(block, &entry, &at_end, NULL), CF_INVALID);
    }
}
END_TEST

TEST_MAIN("node/format/tar", round_trip, end_of_archive, bent, names)

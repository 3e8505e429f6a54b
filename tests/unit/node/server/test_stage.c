/* tests/unit/node/server/test_stage.c: the record of a copy under way, as bytes. */
#include "node/server/replication/repl_int.h"
#include "test.h"

START_TEST(comes_back_as_it_was)
{
    struct stage_record record = {.started_ns = 1234567890123456789, .generation = 77}, back;
    struct repl_stage stage = {.is = {.snapshot_id = 5,
                                      .position = {{3, {9}}, 4, 1000},
                                      .total_keys = 1,
                                      .total_bytes = 2,
                                      .staged_keys = 3,
                                      .staged_bytes = 4,
                                      .is_whole = true,
                                      .cursor = CF_SLICE("r\0cursor")},
                               .address = "10.0.0.1:8201"};
    struct repl_stage got = {.cursor.max = SECONDARY_CURSOR_MAX};
    CF_BUF(bytes) = {0};
    stage_encode(&record, &stage, &bytes);
    ck_ok(stage_decode(cf_buf_slice(&bytes), &back, &got, &err_));
    ck_assert_int_eq(back.started_ns, record.started_ns);
    ck_assert_uint_eq(back.generation, 77);
    ck_assert_uint_eq(got.is.snapshot_id, 5);
    ck_assert(repl_position_equal(&got.is.position, &stage.is.position));
    ck_assert_uint_eq(got.is.total_keys, 1);
    ck_assert_uint_eq(got.is.total_bytes, 2);
    ck_assert_uint_eq(got.is.staged_keys, 3);
    ck_assert_uint_eq(got.is.staged_bytes, 4);
    ck_assert(got.is.is_whole);
    ck_assert_str_eq(got.address, "10.0.0.1:8201");
    ck_assert(cf_slice_eq(got.is.cursor, stage.is.cursor));
    /* Cut anywhere before the cursor, or of another version, it is none. */
    size_t fixed = bytes.size - stage.is.cursor.size;
    for (size_t size = 0; size < fixed; size++) {
        ck_status(stage_decode(cf_slice_of(bytes.data, size), &back, &got, NULL), CF_CORRUPT);
    }
    bytes.data[0] = 2;
    ck_status(stage_decode(cf_buf_slice(&bytes), &back, &got, NULL), CF_CORRUPT);
    cf_buf_done(&got.cursor);
}
END_TEST

TEST_MAIN("node/server/stage", comes_back_as_it_was)

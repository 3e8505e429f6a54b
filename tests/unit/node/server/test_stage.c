/* tests/unit/node/server/test_stage.c: the record of a copy under way, as bytes. */
#include "node/server/replication/stage_record.h"
#include "test.h"

START_TEST(comes_back_as_it_was)
{
    struct stage_record record = {.started_ns = 1234567890123456789,
                                  .id = 0xfedcba9876543210,
                                  .generation = 77,
                                  .index = 12,
                                  .pieces = 9},
                        back;
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
    ck_assert_uint_eq(back.id, record.id);
    ck_assert_uint_eq(back.generation, 77);
    ck_assert_uint_eq(back.index, 12);
    ck_assert_uint_eq(back.pieces, 9);
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

START_TEST(a_page_comes_back)
{
    struct stage_piece piece = {.has_run = true, .run = {1, 2}, .page = {3, 4}}, back = {0};
    CF_BUF(bytes) = {0};
    cf_buf_add_str(&piece.cursor, "from here");
    cf_buf_add_str(&piece.next, "to here");
    stage_piece_encode(&piece, 77, &bytes);
    ck_ok(stage_piece_decode(cf_buf_slice(&bytes), 77, &back, &err_));
    ck_assert(back.has_run);
    ck_assert_mem_eq(back.run, piece.run, sizeof(back.run));
    ck_assert_mem_eq(back.page, piece.page, sizeof(back.page));
    ck_slice(cf_buf_slice(&back.cursor), "from here");
    ck_slice(cf_buf_slice(&back.next), "to here");
    /* Of another stage, of another version, cut. */
    ck_status(stage_piece_decode(cf_buf_slice(&bytes), 78, &back, NULL), CF_CORRUPT);
    for (size_t size = 0; size < bytes.size - piece.next.size; size++) {
        ck_status(stage_piece_decode(cf_slice_of(bytes.data, size), 77, &back, NULL), CF_CORRUPT);
    }
    bytes.data[0]++;
    ck_status(stage_piece_decode(cf_buf_slice(&bytes), 77, &back, NULL), CF_CORRUPT);
    cf_buf_done(&piece.cursor);
    cf_buf_done(&piece.next);
    cf_buf_done(&back.cursor);
    cf_buf_done(&back.next);
}
END_TEST

TEST_MAIN("node/server/stage", comes_back_as_it_was, a_page_comes_back)

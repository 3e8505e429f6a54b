/* tests/fuzz/fuzz_stage.c: the records of a copy under way. What is accepted is written again as it was. */
#include "fuzz.h"
#include "node/server/replication/stage_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cf_slice bytes = cf_slice_of(data, size);
    struct stage_record record;
    struct repl_stage stage = {.cursor.max = SECONDARY_CURSOR_MAX};
    struct stage_piece piece = {0};
    struct cf_error err = {0};
    CF_BUF(again) = {0};
    if (stage_decode(bytes, &record, &stage, &err) == CF_OK) {
        FUZZ_CHECK(strlen(stage.address) < REPL_ADDRESS_SIZE);
        stage_encode(&record, &stage, &again);
        FUZZ_CHECK(cf_slice_eq(cf_buf_slice(&again), bytes));
    } else {
        FUZZ_CHECK(err.message[0] != '\0');
    }
    uint32_t generation = size >= 5 ? cf_get_u32(data + 1) : 0;
    if (stage_piece_decode(bytes, generation, &piece, &err) == CF_OK) {
        cf_buf_reset(&again);
        stage_piece_encode(&piece, generation, &again);
        FUZZ_CHECK(cf_slice_eq(cf_buf_slice(&again), bytes));
    }
    cf_buf_done(&stage.cursor);
    cf_buf_done(&piece.cursor);
    cf_buf_done(&piece.next);
    return 0;
}

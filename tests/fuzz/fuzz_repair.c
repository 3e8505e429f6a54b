/* tests/fuzz/fuzz_repair.c: questions of a repair, and the records that answer them. */
#include "fuzz.h"
#include "node/base/memory.h"
#include "node/server/replication/codec.h"
#include "replication/core/repair.h"

static void question(struct cf_slice bytes)
{
    struct repair_question question;
    struct cf_error err = {0};
    cf_status status = repair_decode(bytes, &question, &err);
    if (status != CF_OK) {
        FUZZ_CHECK((status == CF_CORRUPT || status == CF_TOO_LARGE) && err.message[0] != '\0');
        return;
    }
    /* What is accepted is what we would have asked. */
    CF_BUF(again) = {0};
    repair_encode(&question.leaves, 0, REPL_TREE_LEAVES, question.records, question.count, &again);
    FUZZ_CHECK(cf_slice_eq(cf_buf_slice(&again), bytes));
    repair_question_done(&question);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    question(cf_slice_of(data, size));
    for (enum repl_kind kind = 0; kind < REPL_KIND_COUNT; kind++) {
        CF_OWNED(arena) arena = arena_new(4096);
        const struct op *ops;
        size_t count;
        if (codec_records(kind, cf_slice_of(data, size), arena, &ops, &count, NULL) == CF_OK) {
            for (size_t i = 0; i < count; i++) {
                FUZZ_CHECK(codec_ships(kind, ops[i].key.class) && ops[i].kind == OP_PUT);
            }
        }
    }
    return 0;
}

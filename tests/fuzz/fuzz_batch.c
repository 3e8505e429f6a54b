/* tests/fuzz/fuzz_batch.c: batches and pages that a primary sends. What is accepted holds nothing
 * but what may come in, with our own effects beside it, and names every key that it touches. */
#include "fuzz.h"
#include "node/server/replication/codec.h"

static const struct op own[] = {
    {OP_PUT, {CLASS_OWN, 0, CF_SLICE("replpos/dr")}, CF_SLICE("position")}};

static void look_at(enum repl_kind kind, const struct op *ops, size_t count, bool puts_only)
{
    for (size_t i = 0; i < count; i++) {
        FUZZ_CHECK(codec_ships(kind, ops[i].key.class));
        FUZZ_CHECK(ops[i].key.class != CLASS_OWN);
        FUZZ_CHECK(!puts_only || ops[i].kind == OP_PUT);
    }
}

static void refused(cf_status status, const struct cf_error *err)
{
    FUZZ_CHECK(status == CF_CORRUPT || status == CF_UNSUPPORTED || status == CF_TOO_LARGE);
    FUZZ_CHECK(err->status == status && err->message[0] != '\0');
}

static void receive(enum repl_kind kind, struct cf_slice bytes)
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_BUF(entry) = {0};
    struct cf_error err = {0};
    struct window_claim *claim = NULL;
    struct command command;
    cf_status status = codec_receive(kind, bytes, own, 1, arena, &entry, &claim, &err);
    if (status != CF_OK) {
        refused(status, &err);
        return;
    }
    FUZZ_CHECK(command_decode(cf_buf_slice(&entry), arena, &command, NULL) == CF_OK);
    FUZZ_CHECK(command.id == COMMAND_SHIPPED);
    FUZZ_CHECK(command.op_count == 1 && cf_slice_eq(command.ops[0].key.name, own[0].key.name));
    size_t total = 1;
    for (size_t i = 0; i < command.entry_count; i++) {
        look_at(kind, command.entries[i].ops, command.entries[i].op_count, false);
        total += command.entries[i].op_count;
    }
    FUZZ_CHECK(claim->write_count == total);
    /* Shipped on to a secondary of our own it is one entry, with nothing of class own. */
    struct codec_batch batch = {.arena = arena, .kind = kind};
    bool switched = true;
    FUZZ_CHECK(codec_add(&batch, 1, 1, cf_buf_slice(&entry), &switched, NULL) == CF_OK);
    FUZZ_CHECK(!switched && batch.count == (total > 1 ? 1 : 0) && batch.op_count == total - 1);
    if (batch.count != 0) {
        look_at(kind, batch.entries[0].ops, batch.entries[0].op_count, false);
    }
}

static void stage(enum repl_kind kind, struct cf_slice bytes)
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_BUF(entry) = {0};
    struct cf_error err = {0};
    struct command command;
    cf_status status = codec_stage(kind, bytes, 77, &entry, &err);
    if (status != CF_OK) {
        refused(status, &err);
        return;
    }
    FUZZ_CHECK(command_decode(cf_buf_slice(&entry), arena, &command, NULL) == CF_OK);
    FUZZ_CHECK(command.id == COMMAND_STAGE && command.stage_generation == 77);
    look_at(kind, command.ops, command.op_count, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (enum repl_kind kind = 0; kind < REPL_KIND_COUNT; kind++) {
        receive(kind, cf_slice_of(data, size));
        stage(kind, cf_slice_of(data, size));
    }
    return 0;
}

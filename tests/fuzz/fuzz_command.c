/* tests/fuzz/fuzz_command.c: log entries. What decodes encodes again to something that decodes to the
 * same: the same bytes from then on. */
#include "fuzz.h"
#include "node/core/command.h"

static void look_at(const struct op *ops, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        FUZZ_CHECK(ops[i].kind >= OP_PUT && ops[i].kind <= OP_DELETE_PREFIX);
        FUZZ_CHECK(class_number(ops[i].key.class) < CLASS_COUNT);
        FUZZ_CHECK(ops[i].key.name.size <= KEY_NAME_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_BUF(first) = {0};
    CF_BUF(second) = {0};
    struct cf_error err = {0};
    struct command command;
    cf_status status = command_decode(cf_slice_of(data, size), arena, &command, &err);
    if (status != CF_OK) {
        FUZZ_CHECK(status == CF_CORRUPT || status == CF_UNSUPPORTED);
        FUZZ_CHECK(err.status == status && err.message[0] != '\0');
        return 0;
    }
    look_at(command.ops, command.op_count);
    for (size_t i = 0; i < command.entry_count; i++) {
        look_at(command.entries[i].ops, command.entries[i].op_count);
    }
    FUZZ_CHECK(command_encode(&first, &command, NULL) == CF_OK);
    FUZZ_CHECK(command_decode(cf_buf_slice(&first), arena, &command, NULL) == CF_OK);
    FUZZ_CHECK(command_encode(&second, &command, NULL) == CF_OK);
    FUZZ_CHECK(cf_slice_eq(cf_buf_slice(&first), cf_buf_slice(&second)));
    return 0;
}

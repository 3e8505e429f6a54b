/* tests/unit/node/core/test_command.c: log entries to bytes and back, and bytes that are none. */
#include "node/base/level.h"
#include "node/core/command.h"

#include "node/base/host.h"
#include "node/base/memory.h"
#include "tests/lib/test.h"

static const struct op some_ops[] = {
    {OP_PUT, {CLASS_REPLICATED, 0, {(const uint8_t *)"d/1", 3}}, {(const uint8_t *)"value", 5}},
    {OP_DELETE, {CLASS_CLUSTER, 7, {(const uint8_t *)"token/\0\xff", 8}}, {NULL, 0}},
    {OP_DELETE_PREFIX, {CLASS_OWN, 0xffffffff, {(const uint8_t *)"x/", 2}}, {NULL, 0}},
    {OP_PUT, {CLASS_OWN, 0, {NULL, 0}}, {NULL, 0}},
};
static const struct source_entry some_entries[] = {
    {3, 1000, -5, some_ops, 2},
    {3, 1002, 1234567890123456789, some_ops + 1, 3},
    {4, 1003, 0, some_ops, 0},
};

static const struct cf_slice some_runs[] = {
    CF_SLICE("0123456789abcdef0123456789ABCDEF"),
    CF_SLICE("fedcba9876543210FEDCBA98765432\0\0"),
};

static const struct command samples[] = {
    {.id = COMMAND_WRITE, .ops = some_ops, .op_count = 4},
    {.id = COMMAND_WRITE},
    {.id = COMMAND_SHIPPED,
     .ops = some_ops + 2,
     .op_count = 1,
     .entries = some_entries,
     .entry_count = 3},
    {.id = COMMAND_STAGE, .ops = some_ops, .op_count = 1, .stage_generation = 9},
    {.id = COMMAND_SWITCH,
     .ops = some_ops + 2,
     .op_count = 2,
     .stage_generation = 0xffffffff,
     .switch_classes = 5},
    {.id = COMMAND_SWITCH,
     .ops = some_ops,
     .op_count = 1,
     .stage_generation = 7,
     .switch_classes = 1,
     .runs = some_runs,
     .run_count = 2},
    {.id = COMMAND_TICK},
};

static void ck_ops(const struct op *got, const struct op *want, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_eq(got[i].kind, want[i].kind);
        ck_assert_uint_eq(got[i].key.class, want[i].key.class);
        ck_assert_uint_eq(got[i].key.ns, want[i].key.ns);
        ck_assert(cf_slice_eq(got[i].key.name, want[i].key.name));
        ck_assert(cf_slice_eq(got[i].value, want[i].value));
    }
}

static void ck_same(const struct command *got, const struct command *want)
{
    ck_assert_int_eq((int)got->id, (int)want->id);
    ck_assert_uint_eq(got->feature_level, want->run_count != 0 ? LEVEL_RUNS : LEVEL_FIRST);
    ck_assert_uint_eq(got->stage_generation, want->stage_generation);
    ck_assert_uint_eq(got->switch_classes, want->switch_classes);
    ck_assert_uint_eq(got->op_count, want->op_count);
    ck_ops(got->ops, want->ops, want->op_count);
    ck_assert_uint_eq(got->run_count, want->run_count);
    for (size_t i = 0; i < want->run_count; i++) {
        ck_assert(cf_slice_eq(got->runs[i], want->runs[i]));
    }
    ck_assert_uint_eq(got->entry_count, want->entry_count);
    for (size_t i = 0; i < want->entry_count; i++) {
        ck_assert_uint_eq(got->entries[i].term, want->entries[i].term);
        ck_assert_uint_eq(got->entries[i].index, want->entries[i].index);
        ck_assert_int_eq(got->entries[i].stamp_ns, want->entries[i].stamp_ns);
        ck_assert_uint_eq(got->entries[i].op_count, want->entries[i].op_count);
        ck_ops(got->entries[i].ops, want->entries[i].ops, want->entries[i].op_count);
    }
}

START_TEST(round_trip)
{
    for (size_t i = 0; i < CF_LENGTH(samples); i++) {
        CF_OWNED(arena) arena = arena_new(4096);
        CF_BUF(payload) = {0};
        struct command got;
        struct command sample = samples[i];
        sample.stamp_ns = 99; /* is the leader's to say */
        ck_ok(command_encode(&payload, &sample, NULL));
        ck_ok(command_decode(cf_buf_slice(&payload), arena, &got, NULL));
        ck_same(&got, &samples[i]);
        ck_assert_int_eq(got.stamp_ns, 0);
        command_set_stamp(&payload, -7);
        ck_ok(command_decode(cf_buf_slice(&payload), arena, &got, NULL));
        ck_same(&got, &samples[i]);
        ck_assert_int_eq(got.stamp_ns, -7);
    }
}
END_TEST

/* A run is named by its hash, and by nothing else. */
START_TEST(odd_runs)
{
    static const size_t sizes[] = {0, 1, 31, 33, 64};
    uint8_t name[64] = {1};
    for (size_t i = 0; i < CF_LENGTH(sizes); i++) {
        CF_OWNED(arena) arena = arena_new(4096);
        CF_BUF(payload) = {0};
        struct command got;
        struct cf_slice run = cf_slice_of(name, sizes[i]);
        struct command odd = {.id = COMMAND_SWITCH, .stage_generation = 7, .switch_classes = 1, .runs = &run, .run_count = 1};
        ck_ok(command_encode(&payload, &odd, NULL));
        ck_status(command_decode(cf_buf_slice(&payload), arena, &got, NULL), CF_CORRUPT);
    }
}
END_TEST

/* A log entry that was written once can be read for ever. */
START_TEST(pinned_form)
{
    static const uint8_t want[] = {0,    0,   0,    0,    0,    0,   0,    0x2a, /* stamp */
                                   1,    1,                                      /* level, WRITE */
                                   0x0a, 0xa, 0x08, 0x01, 0x10, 'r', 0x22, 1,
                                   'a', /* put r 0 "a" */
                                   0x2a, 1,   'b'};
    static const struct op op = {
        OP_PUT, {CLASS_REPLICATED, 0, {(const uint8_t *)"a", 1}}, {(const uint8_t *)"b", 1}};
    static const struct command command = {.id = COMMAND_WRITE, .ops = &op, .op_count = 1};
    CF_BUF(payload) = {0};
    ck_ok(command_encode(&payload, &command, NULL));
    command_set_stamp(&payload, 42);
    ck_assert_uint_eq(payload.size, sizeof(want));
    ck_assert_mem_eq(payload.data, want, sizeof(want));
}
END_TEST

/* Cut anywhere, an entry is refused or is a shorter list of the same effects: protobuf has no end
 * mark, the log's record around it has a length and a checksum. */
START_TEST(truncations)
{
    for (size_t i = 0; i < CF_LENGTH(samples); i++) {
        CF_BUF(payload) = {0};
        ck_ok(command_encode(&payload, &samples[i], NULL));
        for (size_t size = 0; size < payload.size; size++) {
            CF_OWNED(arena) arena = arena_new(4096);
            struct command got;
            struct cf_error err = {0};
            uint8_t *copy = cf_memdup(payload.data, size);
            cf_status status = command_decode(cf_slice_of(copy, size), arena, &got, &err);
            if (status == CF_OK) {
                ck_assert_uint_ge(size, COMMAND_HEADER_SIZE);
                ck_assert_uint_le(got.op_count, samples[i].op_count);
                ck_ops(got.ops, samples[i].ops, got.op_count);
                ck_assert_uint_le(got.entry_count, samples[i].entry_count);
            } else {
                ck_assert_int_eq(status, CF_CORRUPT);
                ck_assert_int_eq(err.status, CF_CORRUPT);
            }
            cf_free(copy);
        }
    }
}
END_TEST

/* An entry says the level that its content needs, not the one of the build that wrote it. */
START_TEST(level_by_content)
{
    const struct op plain = {OP_PUT, {CLASS_CLUSTER, NAMESPACE_ROOT, CF_SLICE("token/x")}, CF_SLICE("v")};
    const struct op record = {OP_PUT, {CLASS_CLUSTER, NAMESPACE_ROOT, CF_SLICE(AREA_REQUEST "x")}, CF_SLICE("v")};
    const struct op alike = {OP_PUT, {CLASS_REPLICATED, NAMESPACE_ROOT, CF_SLICE(AREA_REQUEST "x")}, CF_SLICE("v")};
    const struct op both[] = {plain, record};
    const struct source_entry entries[] = {{.ops = &plain, .op_count = 1}, {.ops = both, .op_count = 2}};
    const struct {
        struct command command;
        unsigned level;
    } rows[] = {
        {{.id = COMMAND_TICK}, LEVEL_FIRST},
        {{.id = COMMAND_WRITE, .ops = &plain, .op_count = 1}, LEVEL_FIRST},
        {{.id = COMMAND_WRITE, .ops = &alike, .op_count = 1}, LEVEL_FIRST},
        {{.id = COMMAND_WRITE, .ops = both, .op_count = 2}, LEVEL_REQUEST_RECORDS},
        {{.id = COMMAND_STAGE, .ops = &record, .op_count = 1}, LEVEL_REQUEST_RECORDS},
        {{.id = COMMAND_SHIPPED, .entries = entries, .entry_count = 1}, LEVEL_FIRST},
        {{.id = COMMAND_SHIPPED, .entries = entries, .entry_count = 2}, LEVEL_REQUEST_RECORDS},
        /* Another cluster's: a DR secondary of the level before keeps them. */
        {{.id = COMMAND_STAGE, .ops = &record, .op_count = 1, .is_mirrored = true}, LEVEL_FIRST},
        {{.id = COMMAND_SHIPPED, .entries = entries, .entry_count = 2, .is_mirrored = true}, LEVEL_FIRST},
        {{.id = COMMAND_SHIPPED, .ops = &record, .op_count = 1, .is_mirrored = true}, LEVEL_REQUEST_RECORDS},
    };
    CF_OWNED(arena) arena = arena_new(4096);
    for (size_t i = 0; i < CF_LENGTH(rows); i++) {
        CF_BUF(payload) = {0};
        struct command got;
        ck_ok(command_encode(&payload, &rows[i].command, NULL));
        ck_assert_uint_eq(command_level(cf_buf_slice(&payload)), rows[i].level);
        ck_ok(command_decode(cf_buf_slice(&payload), arena, &got, NULL));
        ck_assert_uint_eq(got.feature_level, rows[i].level);
    }
}
END_TEST

START_TEST(hostile)
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_BUF(payload) = {0};
    struct command got;
    for (unsigned id = 0; id < 256; id++) { /* unknown commands */
        cf_buf_reset(&payload);
        cf_buf_add_u64(&payload, 1);
        cf_buf_add_byte(&payload, LEVEL_NEWEST);
        cf_buf_add_byte(&payload, (uint8_t)id);
        ck_status(command_decode(cf_buf_slice(&payload), arena, &got, NULL),
                  id >= COMMAND_WRITE && id <= COMMAND_TICK ? CF_OK : CF_CORRUPT);
    }
    ck_ok(command_encode(&payload, &samples[0], NULL));
    cf_buf_reset(&payload);
    ck_ok(command_encode(&payload, &samples[0], NULL));
    payload.data[8] = LEVEL_NEWEST + 1; /* a newer node's */
    struct cf_error why = {0};
    ck_status(command_decode(cf_buf_slice(&payload), arena, &got, &why), CF_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(why.message, "upgrade"));

    static const struct op bad[] = {
        {0, {CLASS_OWN, 0, {NULL, 0}}, {NULL, 0}},
        {4, {CLASS_OWN, 0, {NULL, 0}}, {NULL, 0}},
        {OP_PUT, {'n', 0, {NULL, 0}}, {NULL, 0}},
        {OP_PUT, {0, 0, {NULL, 0}}, {NULL, 0}},
    };
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        struct command command = {.id = COMMAND_WRITE, .ops = &bad[i], .op_count = 1};
        struct source_entry entry = {.ops = &bad[i], .op_count = 1};
        cf_buf_reset(&payload);
        ck_ok(command_encode(&payload, &command, NULL));
        ck_status(command_decode(cf_buf_slice(&payload), arena, &got, NULL), CF_CORRUPT);
        command = (struct command){.id = COMMAND_SHIPPED, .entries = &entry, .entry_count = 1};
        cf_buf_reset(&payload);
        ck_ok(command_encode(&payload, &command, NULL));
        ck_status(command_decode(cf_buf_slice(&payload), arena, &got, NULL), CF_CORRUPT);
    }
}
END_TEST

START_TEST(long_names)
{
    CF_OWNED(arena) arena = arena_new(4096);
    struct command got;
    static uint8_t name[KEY_NAME_MAX + 1];
    for (size_t size = KEY_NAME_MAX; size <= KEY_NAME_MAX + 1; size++) {
        struct op op = {OP_PUT, {CLASS_OWN, 0, cf_slice_of(name, size)}, CF_SLICE("v")};
        struct command command = {.id = COMMAND_WRITE, .ops = &op, .op_count = 1};
        CF_BUF(payload) = {0};
        ck_ok(command_encode(&payload, &command, NULL));
        ck_status(command_decode(cf_buf_slice(&payload), arena, &got, NULL),
                  size <= KEY_NAME_MAX ? CF_OK : CF_CORRUPT);
    }
}
END_TEST

START_TEST(too_large)
{
    struct op op = {OP_PUT, {CLASS_OWN, 0, CF_SLICE("n")}, CF_SLICE_EMPTY};
    uint8_t *value = cf_zalloc(TRANSACTION_BYTES_MAX);
    struct command command = {.id = COMMAND_WRITE, .ops = &op, .op_count = 1};
    CF_BUF(payload) = {0};
    op.value = cf_slice_of(value, TRANSACTION_BYTES_MAX - 64);
    ck_ok(command_encode(&payload, &command, NULL));
    cf_buf_done(&payload);
    op.value = cf_slice_of(value, TRANSACTION_BYTES_MAX);
    ck_status(command_encode(&payload, &command, NULL), CF_TOO_LARGE);
    cf_buf_done(&payload);
    command.id = COMMAND_STAGE; /* pages have a bound of their own */
    ck_ok(command_encode(&payload, &command, NULL));
    cf_buf_done(&payload);
    cf_buf_init(&payload, 4096);
    ck_status(command_encode(&payload, &command, NULL), CF_TOO_LARGE);
    cf_free(value);
}
END_TEST

/* Bits flipped at random: refused, or well-formed effects. */
START_TEST(flipped_bits)
{
    struct cf_prng prng;
    cf_prng_seed(&prng, 11);
    for (int round = 0; round < 4000; round++) {
        CF_OWNED(arena) arena = arena_new(4096);
        CF_BUF(payload) = {0};
        struct command got;
        ck_ok(command_encode(&payload, &samples[cf_prng_below(&prng, CF_LENGTH(samples))], NULL));
        for (uint64_t flips = 1 + cf_prng_below(&prng, 3); flips > 0; flips--) {
            payload.data[cf_prng_below(&prng, payload.size)] ^=
                (uint8_t)(1u << cf_prng_below(&prng, 8));
        }
        if (command_decode(cf_buf_slice(&payload), arena, &got, NULL) == CF_OK) {
            for (size_t i = 0; i < got.op_count; i++) {
                ck_assert_uint_ne(class_number(got.ops[i].key.class), CLASS_COUNT);
                ck_assert(got.ops[i].kind >= OP_PUT && got.ops[i].kind <= OP_DELETE_PREFIX);
            }
        }
    }
}
END_TEST

TEST_MAIN("node/core/command", round_trip, odd_runs, pinned_form, truncations, level_by_content, hostile, long_names, too_large,
          flipped_bits)

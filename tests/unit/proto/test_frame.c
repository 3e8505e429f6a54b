/* tests/unit/proto/test_frame.c: the promises of proto/frame.h: cut, oversize and malformed frames.
 */
#include "proto/frame.h"

#include "node/base/memory.h"
#include "proto/rpc_table.h"
#include "test.h"

static const struct frame some = {
    .level = 3, .kind = FRAME_REQUEST, .rpc = 7, .deadline_ms = 1500, .call = 0x0102030405060708};
static uint8_t bytes[FRAME_HEADER_SIZE + 10];

static void write_some(const struct frame *frame)
{
    frame_write(frame, 10, bytes);
    memcpy(bytes + FRAME_HEADER_SIZE, "0123456789", 10);
}

/* At every byte: either more is wanted, or the frame is there; never an error, nothing read beyond.
 */
START_TEST(cut_at_every_byte)
{
    write_some(&some);
    for (size_t have = 0; have <= sizeof(bytes); have++) {
        uint8_t *copy = cf_memdup(bytes, have); /* its end is where the sanitizer looks */
        struct frame frame = {0};
        size_t size = 0;
        ck_ok(frame_read(cf_slice_of(copy, have), &frame, &size, &err_));
        ck_assert_uint_eq(size, have < FRAME_HEADER_SIZE ? FRAME_HEADER_SIZE : sizeof(bytes));
        if (have < sizeof(bytes)) {
            ck_assert_uint_gt(size, have);
            ck_assert_uint_eq(frame.kind, 0);
        } else {
            ck_assert_uint_eq(frame.version, FRAME_VERSION);
            ck_assert_uint_eq(frame.level, 3);
            ck_assert_uint_eq(frame.kind, FRAME_REQUEST);
            ck_assert_uint_eq(frame.rpc, 7);
            ck_assert_uint_eq(frame.call, some.call);
            ck_assert_uint_eq(frame.deadline_ms, 1500);
            ck_slice(frame.payload, "0123456789");
        }
        cf_free(copy);
    }
}
END_TEST

static cf_status read_length(uint32_t length, size_t have)
{
    struct frame frame;
    size_t size;
    write_some(&some);
    cf_put_u32(bytes, length);
    return frame_read(cf_slice_of(bytes, have), &frame, &size, NULL);
}

/* A wrong length is refused as soon as its four bytes are there. */
START_TEST(lengths)
{
    static const uint32_t wrong[] = {0, 1, 19, (16u << 20) - 3, 16u << 20, 0x7fffffff, 0xffffffff};
    for (size_t i = 0; i < CF_LENGTH(wrong); i++) {
        ck_status(read_length(wrong[i], 4), CF_CORRUPT);
        ck_status(read_length(wrong[i], sizeof(bytes)), CF_CORRUPT);
    }
    ck_status(read_length(20, sizeof(bytes)), CF_OK);
    ck_status(read_length((16u << 20) - 4, sizeof(bytes)), CF_OK);
    ck_assert_uint_eq(FRAME_PAYLOAD_MAX + FRAME_HEADER_SIZE, (size_t)16 << 20);
}
END_TEST

static cf_status read_changed(size_t at, uint8_t value)
{
    struct frame frame;
    size_t size;
    write_some(&some);
    bytes[at] = value;
    return frame_read(cf_slice_of(bytes, sizeof(bytes)), &frame, &size, NULL);
}

START_TEST(malformed)
{
    ck_status(read_changed(4, 0), CF_UNSUPPORTED);
    ck_status(read_changed(4, 2), CF_UNSUPPORTED);
    ck_status(read_changed(6, 0), CF_CORRUPT); /* kinds */
    ck_status(read_changed(6, 5), CF_CORRUPT);
    ck_status(read_changed(6, FRAME_ERROR), CF_CORRUPT);   /* an error without a status */
    ck_status(read_changed(6, FRAME_ONE_WAY), CF_CORRUPT); /* with a call id */
    ck_status(read_changed(7, 1), CF_CORRUPT);
    ck_status(read_changed(11, 3), CF_CORRUPT); /* a request with a status */
    struct frame frame = some, back;
    size_t size;
    frame.call = 0; /* a request without a call id */
    write_some(&frame);
    ck_status(frame_read(cf_slice_of(bytes, sizeof(bytes)), &back, &size, NULL), CF_CORRUPT);
    frame = (struct frame){.kind = FRAME_ERROR, .call = 1, .status = CF_DENIED};
    write_some(&frame);
    ck_ok(frame_read(cf_slice_of(bytes, sizeof(bytes)), &back, &size, &err_));
    ck_assert_uint_eq(back.status, CF_DENIED);
}
END_TEST

/* Two frames behind each other: the first says where the second begins. */
START_TEST(one_after_the_other)
{
    uint8_t both[2 * FRAME_HEADER_SIZE];
    struct frame frame;
    size_t size;
    frame_write(&some, 0, both);
    frame_write(&some, 0, both + FRAME_HEADER_SIZE);
    ck_ok(frame_read(cf_slice_of(both, sizeof(both)), &frame, &size, &err_));
    ck_assert_uint_eq(size, FRAME_HEADER_SIZE);
    ck_assert_uint_eq(frame.payload.size, 0);
}
END_TEST

START_TEST(table_of_messages)
{
    ck_assert_ptr_null(rpc_type_find(0));
    ck_assert_ptr_null(rpc_type_find(65535));
    const struct rpc_type *hello = rpc_type_find(RPC_HELLO);
    ck_assert_ptr_nonnull(hello);
    ck_assert_str_eq(hello->name, "HELLO");
    ck_assert_str_eq(hello->request->name, "coffer.Hello");
    ck_assert_uint_eq(RPC_HELLO, 1); /* numbers are on the wire */
    ck_assert_uint_eq(RPC_PING, 2);
    for (uint16_t id = 1; id < 256; id++) {
        const struct rpc_type *type = rpc_type_find(id);
        ck_assert(type == NULL || (type->id == id && type->who != 0));
    }
}
END_TEST

TEST_MAIN("proto/frame", cut_at_every_byte, lengths, malformed, one_after_the_other,
          table_of_messages)

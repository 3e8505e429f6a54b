/* tests/unit/proto/test_message.c: what protobuf-c must never see, and what it may take. The
 * messages of depth and of repeated fields are made up here, as descriptors, so that no schema has
 * to have them. */
#include "proto/message.h"

#include "node/base/memory.h"
#include "proto/common.pb-c.h"
#include "test.h"

/* message Deep { Deep next = 1; repeated uint32 numbers = 2; fixed32 word = 3; bytes data = 4; } */
struct deep {
    ProtobufCMessage base;
    struct deep *next;
    size_t n_numbers;
    uint32_t *numbers;
    protobuf_c_boolean has_word;
    uint32_t word;
    protobuf_c_boolean has_data;
    ProtobufCBinaryData data;
};
extern const ProtobufCMessageDescriptor deep_type;
static const ProtobufCFieldDescriptor deep_fields[] = {
    {"next", 1, PROTOBUF_C_LABEL_OPTIONAL, PROTOBUF_C_TYPE_MESSAGE, 0, offsetof(struct deep, next),
     &deep_type, NULL, 0, 0, NULL, NULL},
    {"numbers", 2, PROTOBUF_C_LABEL_REPEATED, PROTOBUF_C_TYPE_UINT32,
     offsetof(struct deep, n_numbers), offsetof(struct deep, numbers), NULL, NULL,
     PROTOBUF_C_FIELD_FLAG_PACKED, 0, NULL, NULL},
    {"word", 3, PROTOBUF_C_LABEL_OPTIONAL, PROTOBUF_C_TYPE_FIXED32, offsetof(struct deep, has_word),
     offsetof(struct deep, word), NULL, NULL, 0, 0, NULL, NULL},
    {"data", 4, PROTOBUF_C_LABEL_OPTIONAL, PROTOBUF_C_TYPE_BYTES, offsetof(struct deep, has_data),
     offsetof(struct deep, data), NULL, NULL, 0, 0, NULL, NULL},
};
static const unsigned by_name[] = {3, 0, 1, 2};
static const ProtobufCIntRange ranges[] = {{1, 0}, {0, 4}};
const ProtobufCMessageDescriptor deep_type = {PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
                                              "Deep",
                                              "Deep",
                                              "struct deep",
                                              "",
                                              sizeof(struct deep),
                                              4,
                                              deep_fields,
                                              by_name,
                                              1,
                                              ranges,
                                              NULL,
                                              NULL,
                                              NULL,
                                              NULL};

static cf_status scan(struct cf_slice bytes)
{
    return message_scan(&deep_type, bytes, NULL);
}

/* `depth` messages inside each other, the innermost empty. */
static void nest(struct cf_buf *out, size_t depth)
{
    CF_BUF(inner) = {0};
    for (size_t i = 1; i < depth; i++) {
        CF_BUF(wrapped) = {0};
        cf_buf_add_byte(&wrapped, 0x0a);
        for (size_t size = inner.size;; size >>= 7) {
            cf_buf_add_byte(&wrapped, (uint8_t)((size & 0x7f) | (size > 0x7f ? 0x80 : 0)));
            if (size <= 0x7f) {
                break;
            }
        }
        cf_buf_add_slice(&wrapped, cf_buf_slice(&inner));
        struct cf_buf old = inner;
        inner = wrapped;
        wrapped = old;
    }
    cf_buf_add_slice(out, cf_buf_slice(&inner));
}

START_TEST(depth)
{
    static const struct {
        size_t depth;
        cf_status status;
    } cases[] = {{1, CF_OK}, {16, CF_OK}, {17, CF_INVALID}, {1000, CF_INVALID}};
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        CF_BUF(bytes) = {0};
        nest(&bytes, cases[i].depth);
        ck_status(scan(cf_buf_slice(&bytes)), cases[i].status);
    }
}
END_TEST

static void add_varint(struct cf_buf *out, uint64_t value)
{
    while (value > 0x7f) {
        cf_buf_add_byte(out, (uint8_t)(value | 0x80));
        value >>= 7;
    }
    cf_buf_add_byte(out, (uint8_t)value);
}

START_TEST(elements)
{
    for (size_t count = MESSAGE_ELEMENTS_MAX - 2; count <= MESSAGE_ELEMENTS_MAX + 1; count++) {
        CF_BUF(packed) = {0};
        cf_buf_add_byte(&packed, 0x12);
        add_varint(&packed, count);
        for (size_t i = 0; i < count; i++) {
            cf_buf_add_byte(&packed, 1);
        }
        /* the field itself counts, too */
        ck_status(scan(cf_buf_slice(&packed)), count < MESSAGE_ELEMENTS_MAX ? CF_OK : CF_INVALID);
        CF_BUF(singly) = {0};
        for (size_t i = 0; i < count; i++) {
            cf_buf_add(&singly, "\x10\x01", 2);
        }
        ck_status(scan(cf_buf_slice(&singly)), count <= MESSAGE_ELEMENTS_MAX ? CF_OK : CF_INVALID);
    }
}
END_TEST

START_TEST(malformed)
{
    static const struct {
        struct cf_slice bytes;
        cf_status status;
    } cases[] = {
        {{(const uint8_t *)"", 0}, CF_OK},
        {{(const uint8_t *)"\x1d\x01\x02\x03\x04", 5}, CF_OK},
        {{(const uint8_t *)"\x1d\x01\x02\x03", 4}, CF_INVALID}, /* cut */
        {{(const uint8_t *)"\x18\x01", 2}, CF_INVALID},         /* wrong wire type */
        {{(const uint8_t *)"\x08\x01", 2}, CF_INVALID},         /* a message as number */
        {{(const uint8_t *)"\x22\x03xy", 4}, CF_INVALID},       /* beyond the end */
        {{(const uint8_t *)"\x22\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11}, CF_INVALID},
        {{(const uint8_t *)"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11}, CF_OK},
        {{(const uint8_t *)"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11}, CF_INVALID},
        {{(const uint8_t *)"\x10\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 12}, CF_INVALID},
        {{(const uint8_t *)"\x10", 1}, CF_INVALID},     /* no value */
        {{(const uint8_t *)"\x02\x00", 2}, CF_INVALID}, /* field 0 */
        {{(const uint8_t *)"\x2b\x2c", 2}, CF_INVALID}, /* a group */
        {{(const uint8_t *)"\x2e\x00", 2}, CF_INVALID}, /* wire type 6 */
        {{(const uint8_t *)"\x28\x05", 2}, CF_OK},      /* unknown field 5 */
        {{(const uint8_t *)"\x2a\x02zz", 4}, CF_OK},
        {{(const uint8_t *)"\x12\x02\x01\x80", 4}, CF_INVALID}, /* packed, cut number */
        {{(const uint8_t *)"\x0a\x02\x22\x05", 4}, CF_INVALID}, /* out of its parent */
    };
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        cf_status status = scan(cases[i].bytes);
        ck_assert_msg(status == cases[i].status, "case %zu: %s", i, cf_status_name(status));
    }
}
END_TEST

static void pack_some(struct cf_buf *out)
{
    Coffer__NodeIdentity sender = COFFER__NODE_IDENTITY__INIT;
    Coffer__Hello hello = COFFER__HELLO__INIT;
    sender.cluster_id = message_bytes(CF_SLICE("c1"));
    sender.incarnation = UINT64_MAX;
    hello.protocol = 1;
    hello.sender = &sender;
    hello.version = message_bytes(CF_SLICE("1.2.3"));
    message_pack(&hello.base, out);
    ck_ok(cf_buf_check(out, &err_));
}

START_TEST(there_and_back)
{
    CF_BUF(bytes) = {0};
    CF_OWNED(arena) arena = arena_new(256);
    Coffer__Hello *hello;
    pack_some(&bytes);
    ck_ok(message_unpack(coffer__hello, cf_buf_slice(&bytes), arena, &hello, &err_));
    ck_assert_uint_eq(hello->protocol, 1);
    ck_assert_uint_eq(hello->sender->incarnation, UINT64_MAX);
    ck_slice(message_slice(hello->sender->cluster_id), "c1");
    ck_slice(message_slice(hello->version), "1.2.3");
    ck_ok(message_unpack(coffer__hello, CF_SLICE_EMPTY, arena, &hello, &err_));
    ck_assert_ptr_null(hello->sender);
    ProtobufCMessage *any;
    ck_status(
        message_unpack_any(&coffer__hello__descriptor, cf_buf_slice(&bytes), arena, 20, &any, NULL),
        CF_TOO_LARGE);
}
END_TEST

/* Whatever arrives is refused or unpacked, in bounds: cut, and with every byte changed. */
START_TEST(damaged)
{
    CF_BUF(bytes) = {0};
    CF_OWNED(arena) arena = arena_new(4096);
    Coffer__Hello *hello;
    pack_some(&bytes);
    for (size_t i = 0; i <= bytes.size; i++) {
        uint8_t *copy = cf_memdup(bytes.data, i);
        cf_ignore(message_unpack(coffer__hello, cf_slice_of(copy, i), arena, &hello, NULL) != CF_OK,
                  "either is right");
        cf_free(copy);
    }
    for (size_t i = 0; i < bytes.size; i++) {
        uint8_t old = bytes.data[i];
        for (unsigned value = 0; value < 256; value++) {
            bytes.data[i] = (uint8_t)value;
            cf_ignore(message_unpack(coffer__hello, cf_buf_slice(&bytes), arena, &hello, NULL) !=
                          CF_OK,
                      "either is right");
            arena_reset(arena);
        }
        bytes.data[i] = old;
    }
}
END_TEST

TEST_MAIN("proto/message", depth, elements, malformed, there_and_back, damaged)

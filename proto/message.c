/* proto/message.c: the scan before protobuf-c, and unpacking into an arena. */
#include "proto/message.h"

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LENGTH = 2, WIRE_32 = 5 };

struct scan {
    struct cf_slice bytes;
    size_t at, elements;
    struct cf_error *err;
};

static cf_status bad(struct scan *scan, const char *what)
{
    return cf_fail(scan->err, CF_INVALID, "malformed message: %s at byte %zu", what, scan->at);
}

static cf_status read_varint(struct scan *scan, size_t end, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (scan->at >= end) {
            return bad(scan, "truncated number");
        }
        uint8_t byte = scan->bytes.data[scan->at++];
        if (shift == 63 && byte > 1) {
            break;
        }
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = value;
            return CF_OK;
        }
    }
    return bad(scan, "number over 64 bits");
}

static cf_status count(struct scan *scan, size_t more)
{
    if (more > MESSAGE_ELEMENTS_MAX - scan->elements) {
        return bad(scan, "too many elements");
    }
    scan->elements += more;
    return CF_OK;
}

static int wire_of(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_LENGTH;
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return WIRE_32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return WIRE_64;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_ENUM:
        return WIRE_VARINT;
    }
    return -1;
}

static cf_status scan_packed(struct scan *scan, int wire, size_t end)
{
    size_t each = wire == WIRE_32 ? 4 : 8;
    if (wire != WIRE_VARINT) {
        if ((end - scan->at) % each != 0) {
            return bad(scan, "packed numbers of a wrong size");
        }
        CF_TRY(count(scan, (end - scan->at) / each));
        scan->at = end;
    }
    while (scan->at < end) {
        uint64_t value;
        CF_TRY(count(scan, 1));
        CF_TRY(read_varint(scan, end, &value));
    }
    return CF_OK;
}

struct level {
    const ProtobufCMessageDescriptor *type;
    size_t end;
};

/* The value after a tag. *into: a submessage begins here and ends at scan->at + its length. */
static cf_status scan_value(struct scan *scan, const ProtobufCFieldDescriptor *field, unsigned wire,
                            size_t end, struct level *into)
{
    int due = field != NULL ? wire_of(field) : (int)wire;
    bool packed = field != NULL && field->label == PROTOBUF_C_LABEL_REPEATED &&
                  due != WIRE_LENGTH && wire == WIRE_LENGTH;
    uint64_t value = 0;
    if (due != (int)wire && !packed) {
        return bad(scan, "field of a wrong type");
    }
    switch (wire) {
    case WIRE_VARINT:
        return read_varint(scan, end, &value);
    case WIRE_64:
    case WIRE_32:
        value = wire == WIRE_64 ? 8 : 4;
        break;
    case WIRE_LENGTH:
        CF_TRY(read_varint(scan, end, &value));
        break;
    default:
        return bad(scan, "unknown wire type");
    }
    if (value > end - scan->at) {
        return bad(scan, "field beyond the end");
    }
    size_t value_end = scan->at + (size_t)value;
    if (packed) {
        return scan_packed(scan, due, value_end);
    }
    if (field != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE) {
        *into = (struct level){field->descriptor, value_end};
    } else {
        scan->at = value_end;
    }
    return CF_OK;
}

/* A stack of its own instead of recursion: the depth is the sender's choice. */
cf_status message_scan(const ProtobufCMessageDescriptor *type, struct cf_slice bytes,
                       struct cf_error *err)
{
    struct scan scan = {.bytes = bytes, .err = err};
    struct level levels[MESSAGE_DEPTH_MAX];
    size_t depth = 1;
    levels[0] = (struct level){type, bytes.size};
    while (depth > 0) {
        struct level *level = &levels[depth - 1];
        if (scan.at == level->end) {
            depth--;
            continue;
        }
        uint64_t tag;
        CF_TRY(count(&scan, 1));
        CF_TRY(read_varint(&scan, level->end, &tag));
        if (tag >> 3 == 0 || tag >> 3 > 536870911) {
            return bad(&scan, "field number out of range");
        }
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(level->type, (unsigned)(tag >> 3));
        struct level into = {0};
        CF_TRY(scan_value(&scan, field, (unsigned)(tag & 7), level->end, &into));
        if (into.type != NULL) {
            if (depth == MESSAGE_DEPTH_MAX) {
                return bad(&scan, "nested too deep");
            }
            levels[depth++] = into;
        }
    }
    return CF_OK;
}

struct capped {
    struct arena *arena;
    size_t left;
    bool exceeded;
};

static void *alloc_capped(void *arg, size_t size)
{
    struct capped *capped = arg;
    if (size > capped->left) {
        capped->exceeded = true;
        return NULL;
    }
    capped->left -= size;
    return arena_alloc_raw(capped->arena, size);
}

static void free_nothing(void *arg, void *memory)
{
    (void)arg;
    (void)memory;
}

cf_status message_unpack_any(const ProtobufCMessageDescriptor *type, struct cf_slice bytes,
                             struct arena *arena, size_t cap, ProtobufCMessage **ret,
                             struct cf_error *err)
{
    static const uint8_t none[1];
    struct capped capped = {arena, cap > 0 ? cap : MESSAGE_MEMORY_MAX, false};
    ProtobufCAllocator allocator = {alloc_capped, free_nothing, &capped};
    CF_TRY(message_scan(type, bytes, err));
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, bytes.size,
                                                          bytes.data != NULL ? bytes.data : none);
    if (message == NULL) {
        return capped.exceeded
                   ? cf_fail(err, CF_TOO_LARGE, "message needs too much memory")
                   : cf_fail(err, CF_INVALID, "malformed message of type \"%s\"", type->name);
    }
    *ret = message;
    return CF_OK;
}

void message_pack(const ProtobufCMessage *message, struct cf_buf *out)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    if (cf_buf_reserve(out, size)) {
        out->size += protobuf_c_message_pack(message, out->data + out->size);
    }
}

/* tests/fuzz/fuzz_frame.c: frames between nodes, and the message inside as every type that there
 * is. What unpacks packs again to something that unpacks. */
#include "fuzz.h"
#include "proto/frame.h"
#include "proto/message.h"
#include "proto/rpc_table.h"

static void look_at(const ProtobufCMessageDescriptor *type, struct cf_slice payload)
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_BUF(packed) = {0};
    struct cf_error err = {0};
    ProtobufCMessage *message = NULL;
    cf_status status = message_unpack_any(type, payload, arena, (size_t)1 << 20, &message, &err);
    if (status != CF_OK) {
        FUZZ_CHECK(err.message[0] != '\0' && message == NULL);
        return;
    }
    message_pack(message, &packed);
    FUZZ_CHECK(message_scan(type, cf_buf_slice(&packed), NULL) == CF_OK);
    FUZZ_CHECK(message_unpack_any(type, cf_buf_slice(&packed), arena, 0, &message, NULL) == CF_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cf_slice rest = cf_slice_of(data, size);
    for (;;) {
        struct frame frame = {0};
        struct cf_error err = {0};
        size_t whole = 0;
        if (frame_read(rest, &frame, &whole, &err) != CF_OK) {
            FUZZ_CHECK(err.message[0] != '\0');
            break;
        }
        FUZZ_CHECK(whole >= FRAME_HEADER_SIZE && whole <= FRAME_SIZE_MAX);
        if (whole > rest.size) {
            break;
        }
        FUZZ_CHECK(frame.payload.size == whole - FRAME_HEADER_SIZE);
        const struct rpc_type *type = rpc_type_find(frame.rpc);
        if (type != NULL) {
            look_at(frame.kind == FRAME_RESPONSE ? type->response : type->request, frame.payload);
        }
        rest = cf_slice_from(rest, whole);
    }
    for (uint16_t id = 1; id < 64; id++) { /* the input itself as each message */
        const struct rpc_type *type = rpc_type_find(id);
        if (type != NULL) {
            look_at(type->request, cf_slice_of(data, size));
        }
    }
    return 0;
}

/* proto/frame.c: reading and writing the frame's header. */
#include "proto/frame.h"

#include <assert.h>

enum { LENGTH_SIZE = 4 };

static uint16_t get_u16(const uint8_t *from)
{
    return (uint16_t)(from[0] << 8 | from[1]);
}

static void put_u16(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

static cf_status check(const struct frame *frame, struct cf_error *err)
{
    if (frame->version != FRAME_VERSION) {
        return cf_fail(err, CF_UNSUPPORTED, "frame of version %u, this node speaks version %u",
                       frame->version, FRAME_VERSION);
    }
    if (frame->kind < FRAME_REQUEST || frame->kind > FRAME_ERROR || frame->flags != 0) {
        return cf_fail(err, CF_CORRUPT, "frame of unknown kind %u, flags %u", frame->kind,
                       frame->flags);
    }
    bool is_error = frame->kind == FRAME_ERROR;
    if ((is_error && frame->status == CF_OK) || (!is_error && frame->status != CF_OK)) {
        return cf_fail(err, CF_CORRUPT, "frame of kind %u with status %u", frame->kind,
                       frame->status);
    }
    if ((frame->kind == FRAME_ONE_WAY) != (frame->call == 0)) {
        return cf_fail(err, CF_CORRUPT, "frame of kind %u with call %llu", frame->kind,
                       (unsigned long long)frame->call);
    }
    return CF_OK;
}

cf_status frame_read(struct cf_slice in, struct frame *ret, size_t *size, struct cf_error *err)
{
    *size = FRAME_HEADER_SIZE;
    if (in.size < LENGTH_SIZE) {
        return CF_OK;
    }
    /* The length is judged as soon as it is there: nobody waits, or makes room, for a lie. */
    size_t length = cf_get_u32(in.data);
    if (length < FRAME_HEADER_SIZE - LENGTH_SIZE || length > FRAME_SIZE_MAX - LENGTH_SIZE) {
        return cf_fail(err, CF_CORRUPT, "frame of %zu bytes", length);
    }
    if (in.size < FRAME_HEADER_SIZE) {
        return CF_OK;
    }
    struct frame frame = {
        .version = in.data[4],
        .level = in.data[5],
        .kind = in.data[6],
        .flags = in.data[7],
        .rpc = get_u16(in.data + 8),
        .status = get_u16(in.data + 10),
        .call = cf_get_u64(in.data + 12),
        .deadline_ms = cf_get_u32(in.data + 20),
    };
    CF_TRY(check(&frame, err));
    *size = LENGTH_SIZE + length;
    if (in.size >= *size) {
        frame.payload = cf_slice_from(cf_slice_first(in, *size), FRAME_HEADER_SIZE);
        *ret = frame;
    }
    return CF_OK;
}

void frame_write(const struct frame *frame, size_t payload_size, uint8_t to[FRAME_HEADER_SIZE])
{
    assert(payload_size <= FRAME_PAYLOAD_MAX);
    cf_put_u32(to, (uint32_t)(FRAME_HEADER_SIZE - LENGTH_SIZE + payload_size));
    to[4] = FRAME_VERSION;
    to[5] = frame->level;
    to[6] = frame->kind;
    to[7] = frame->flags;
    put_u16(to + 8, frame->rpc);
    put_u16(to + 10, frame->status);
    cf_put_u64(to + 12, frame->call);
    cf_put_u32(to + 20, frame->deadline_ms);
}

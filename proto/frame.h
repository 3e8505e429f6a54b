/* proto/frame.h
 *
 * The frame around each message between nodes. Pure. Big-endian:
 *
 *     0  u32 length        of what follows this field: 20 + payload
 *     4  u8  version       of this layout: FRAME_VERSION
 *     5  u8  level         feature level that the payload was written for
 *     6  u8  kind          enum frame_kind
 *     7  u8  flags         0
 *     8  u16 rpc           id of proto/rpc.def
 *    10  u16 status        cf_status of an error frame, else 0
 *    12  u64 call          chosen by the caller, unique in its connection; 0 for one-way messages
 *    20  u32 deadline_ms   what is left for the answer, from now; 0: no deadline
 *    24  payload           a protobuf message, at most FRAME_PAYLOAD_MAX
 */
#ifndef COFFER_PROTO_FRAME_H
#define COFFER_PROTO_FRAME_H

#include <stdint.h>

#include "node/base/slice.h"
#include "node/base/status.h"

#define FRAME_HEADER_SIZE ((size_t)24)
#define FRAME_SIZE_MAX ((size_t)16 << 20) /* the whole frame, header included */
#define FRAME_PAYLOAD_MAX (FRAME_SIZE_MAX - FRAME_HEADER_SIZE)
enum { FRAME_VERSION = 1 };

enum frame_kind { FRAME_REQUEST = 1, FRAME_RESPONSE = 2, FRAME_ONE_WAY = 3, FRAME_ERROR = 4 };

struct frame {
    uint8_t version, level, kind, flags;
    uint16_t rpc, status;
    uint64_t call;
    uint32_t deadline_ms;
    struct cf_slice payload; /* borrowed from the input */
};

/* Looks at the front of `in`. *size becomes the number of bytes that the frame takes (or, as long
 * as its header is not complete, FRAME_HEADER_SIZE); the frame is complete, and *ret filled, when
 * *size
 * <= in.size. Nothing is allocated. CF_CORRUPT for a length below the header's or above the cap and
 * for an unknown kind, flag or status, CF_UNSUPPORTED for another version: close the connection. */
CF_CHECKED cf_status frame_read(struct cf_slice in, struct frame *ret, size_t *size,
                                struct cf_error *err);

/* Writes the header for a payload of payload_size bytes (<= FRAME_PAYLOAD_MAX). */
void frame_write(const struct frame *frame, size_t payload_size, uint8_t to[FRAME_HEADER_SIZE]);

#endif

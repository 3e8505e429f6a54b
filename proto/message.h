/* proto/message.h
 *
 * Protobuf messages from others, read safely: a scan along the schema with hard limits, and only
 * then protobuf-c, which allocates from an arena under a cap. Pure. Thread: the arena's.
 */
#ifndef COFFER_PROTO_MESSAGE_H
#define COFFER_PROTO_MESSAGE_H

#include <protobuf-c/protobuf-c.h>

#include "node/base/arena.h"
#include "node/base/slice.h"
#include "node/base/status.h"

#define MESSAGE_DEPTH_MAX 16
#define MESSAGE_ELEMENTS_MAX ((size_t)65536)  /* fields, and elements of packed fields, in all */
#define MESSAGE_MEMORY_MAX ((size_t)64 << 20) /* of an unpacked message */

/* CF_INVALID for what protobuf-c must not see: deeper or larger than the limits, truncated, lengths
 * beyond the end, varints over 64 bits, field number 0, groups, a known field with the wrong wire
 * type. Unknown fields pass (a newer node may send them) and count. protobuf encoding: "Encoding"
 * of the protocol buffers documentation. */
CF_CHECKED cf_status message_scan(const ProtobufCMessageDescriptor *type, struct cf_slice bytes,
                                  struct cf_error *err);

/* Scans and unpacks. *ret lives in the arena; free nothing of it singly. CF_TOO_LARGE past `cap`
 * bytes (0: MESSAGE_MEMORY_MAX). Use the typed macro below. */
CF_CHECKED cf_status message_unpack_any(const ProtobufCMessageDescriptor *type,
                                        struct cf_slice bytes, struct arena *arena, size_t cap,
                                        ProtobufCMessage **ret, struct cf_error *err);

/* struct pointer *ret of the message's own type:
 *     Coffer__Hello *hello;
 *     CF_TRY(message_unpack(coffer__hello, payload, arena, &hello, err)); */
#define message_unpack(name, bytes, arena, ret, err)                                               \
    message_unpack_any(&name##__descriptor, (bytes), (arena), 0,                                   \
                       (ProtobufCMessage **)(void *)(ret), (err))

/* Appends. The caller checks the buffer (cf_buf_check). */
void message_pack(const ProtobufCMessage *message, struct cf_buf *out);

/* A bytes field of a message as a slice, and back (borrowed, both ways). */
static inline struct cf_slice message_slice(ProtobufCBinaryData data)
{
    return (struct cf_slice){data.data, data.len};
}
static inline ProtobufCBinaryData message_bytes(struct cf_slice slice)
{
    return (ProtobufCBinaryData){slice.size, (uint8_t *)(uintptr_t)slice.data};
}

#endif

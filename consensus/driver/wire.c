/* consensus/driver/wire.c: packs and unpacks frames; the generated code is seen nowhere else. */
#include "consensus/driver/wire.h"

#include <string.h>

#include "node/base/memory.h"
#include "proto/message.h"
#include "proto/raft.pb-c.h"

/* What unpacking may allocate for one frame: a frame of tiny entries becomes several times its
 * size. */
#define UNPACK_MAX (4 * RAFT_FRAME_MAX)

static void *unpack_alloc(void *left, size_t size)
{
    size_t *bytes = left;
    if (size > *bytes) {
        return NULL; /* the unpacker gives up and frees what it has */
    }
    *bytes -= size;
    return cf_alloc(size);
}

static void unpack_free(void *left, void *memory)
{
    (void)left;
    cf_free(memory);
}

static ProtobufCBinaryData binary(struct cf_slice slice)
{
    return (ProtobufCBinaryData){slice.size, (uint8_t *)(uintptr_t)slice.data};
}

static struct cf_slice slice(ProtobufCBinaryData from)
{
    return cf_slice_of(from.data, from.len);
}

static void fill_message(const struct raft_frame *frame, Coffer__Raft__Frame *to)
{
    const struct raft_msg *msg = &frame->msg;
    to->kind = frame->kind;
    to->cluster_id = binary(cf_slice_of(frame->identity.cluster_id, RAFT_CLUSTER_ID_SIZE));
    to->recovery_epoch = frame->identity.recovery_epoch;
    to->from = msg->from;
    to->to = msg->to;
    to->incarnation = frame->incarnation;
    to->features = frame->features;
    to->term = msg->term;
    to->flags = msg->flags;
    to->log_index = msg->log_index;
    to->log_term = msg->log_term;
    to->commit = msg->commit;
    to->reject = msg->reject;
    to->hint_index = msg->hint_index;
    to->hint_term = msg->hint_term;
    to->last_index = msg->last_index;
    to->round = msg->round;
    to->read_node = msg->read_id.node;
    to->read_incarnation = msg->read_id.incarnation;
    to->read_seq = msg->read_id.seq;
    to->acked_index = msg->acked.index;
    to->acked_term = msg->acked.term;
    to->other_id = msg->acked_other.id;
    to->other_index = msg->acked_other.index;
    to->other_term = msg->acked_other.term;
    to->floor = frame->floor + 1; /* UINT64_MAX, "nobody needs it", becomes 0 */
    to->wall_ns = frame->wall_ns;
    to->digest_ask = frame->digest_ask;
    to->digest_index = frame->digest_index;
    to->digest_sum = frame->digest_sum;
}

static void fill_entry(const struct raft_entry *entry, Coffer__Raft__Entry *to)
{
    coffer__raft__entry__init(to);
    to->term = entry->term;
    to->index = entry->index;
    to->type = entry->type;
    to->flags = entry->flags;
    to->crc32c = entry->crc32c;
    to->payload = binary(entry->payload);
}

static void fill_snap(const struct raft_snap_fields *snap, Coffer__Raft__Snap *to)
{
    coffer__raft__snap__init(to);
    to->id = snap->id;
    to->index = snap->index;
    to->term = snap->term;
    to->seq = snap->seq;
    to->records = snap->records;
    to->sum = snap->sum;
    to->bytes = snap->bytes;
    to->status = snap->status;
    to->crc32c = snap->crc32c;
    to->level = snap->level;
    to->membership = binary(snap->membership);
    to->data = binary(snap->data);
    to->key = binary(snap->key);
}

void raft_wire_pack(const struct raft_frame *frame, struct cf_buf *out)
{
    Coffer__Raft__Frame message;
    Coffer__Raft__Snap snap;
    coffer__raft__frame__init(&message);
    fill_message(frame, &message);
    size_t count = frame->msg.entry_count;
    Coffer__Raft__Entry *entries = count > 0 ? cf_array(count, sizeof(*entries)) : NULL;
    Coffer__Raft__Entry **list = count > 0 ? cf_array(count, sizeof(*list)) : NULL;
    for (size_t i = 0; i < count; i++) {
        fill_entry(frame->msg.entries[i], &entries[i]);
        list[i] = &entries[i];
    }
    message.n_entries = count;
    message.entries = list;
    if (frame->kind >= RAFT_FRAME_SNAP_OFFER) {
        fill_snap(&frame->snap, &snap);
        message.snap = &snap;
    }
    size_t size = coffer__raft__frame__get_packed_size(&message);
    if (cf_buf_reserve(out, size)) {
        coffer__raft__frame__pack(&message, out->data + out->size);
        out->size += size;
    }
    cf_free(entries);
    cf_free(list);
}

static void read_message(const Coffer__Raft__Frame *from, struct raft_frame *ret)
{
    ret->kind = from->kind;
    memcpy(ret->identity.cluster_id, from->cluster_id.data, RAFT_CLUSTER_ID_SIZE);
    ret->identity.recovery_epoch = from->recovery_epoch;
    ret->identity.node_id = from->from;
    ret->incarnation = from->incarnation;
    ret->features = from->features;
    ret->floor = from->floor - 1;
    ret->wall_ns = from->wall_ns;
    ret->digest_ask = from->digest_ask;
    ret->digest_index = from->digest_index;
    ret->digest_sum = from->digest_sum;
    ret->msg = (struct raft_msg){
        .kind = (enum raft_msg_kind)from->kind,
        .flags = from->flags,
        .from = from->from,
        .to = from->to,
        .term = from->term,
        .log_index = from->log_index,
        .log_term = from->log_term,
        .commit = from->commit,
        .reject = from->reject != 0,
        .hint_index = from->hint_index,
        .hint_term = from->hint_term,
        .last_index = from->last_index,
        .round = from->round,
        .read_id = {from->read_node, from->read_incarnation, from->read_seq},
        .acked = {from->to, from->acked_index, from->acked_term},
        .acked_other = {from->other_id, from->other_index, from->other_term},
    };
}

static void read_snap(const Coffer__Raft__Snap *from, struct raft_snap_fields *ret)
{
    ret->id = from->id;
    ret->index = from->index;
    ret->term = from->term;
    ret->seq = from->seq;
    ret->records = from->records;
    ret->sum = from->sum;
    ret->bytes = from->bytes;
    ret->status = from->status;
    ret->crc32c = from->crc32c;
    ret->level = from->level;
    ret->membership = slice(from->membership);
    ret->data = slice(from->data);
    ret->key = slice(from->key);
}

static cf_status read_entries(const Coffer__Raft__Frame *from, struct raft_wire_room *room,
                              struct raft_frame *ret, struct cf_error *err)
{
    room->entries = from->n_entries > 0 ? cf_array(from->n_entries, sizeof(*room->entries)) : NULL;
    for (size_t i = 0; i < from->n_entries; i++) {
        const Coffer__Raft__Entry *one = from->entries[i];
        if (one->type > UINT8_MAX || one->flags > UINT8_MAX) {
            return cf_fail(err, CF_INVALID, "an entry of unknown type in a frame");
        }
        CF_TRY(raft_entry_load(one->term, one->index, (uint8_t)one->type, (uint8_t)one->flags,
                               one->crc32c, slice(one->payload), &room->entries[i], err));
        room->count++;
    }
    ret->msg.entries = room->entries;
    ret->msg.entry_count = room->count;
    return CF_OK;
}

cf_status raft_wire_unpack(struct cf_slice bytes, struct raft_frame *ret,
                           struct raft_wire_room *room, struct cf_error *err)
{
    *ret = (struct raft_frame){0};
    *room = (struct raft_wire_room){0};
    if (bytes.size > RAFT_FRAME_MAX) {
        return cf_fail(err, CF_TOO_LARGE, "a frame of %zu bytes", bytes.size);
    }
    CF_TRY(message_scan(&coffer__raft__frame__descriptor, bytes, err));
    size_t left = UNPACK_MAX;
    ProtobufCAllocator allocator = {unpack_alloc, unpack_free, &left};
    Coffer__Raft__Frame *message = coffer__raft__frame__unpack(&allocator, bytes.size, bytes.data);
    room->message = message;
    if (message == NULL || message->cluster_id.len != RAFT_CLUSTER_ID_SIZE) {
        return cf_fail(err, CF_INVALID, "not a raft frame");
    }
    read_message(message, ret);
    if (message->kind >= RAFT_FRAME_SNAP_OFFER) {
        if (message->kind >= RAFT_FRAME_KINDS) {
            return cf_fail(err, CF_UNSUPPORTED, "an unknown kind of frame");
        }
        if (message->snap == NULL) {
            return cf_fail(err, CF_INVALID, "a snapshot frame without its fields");
        }
        read_snap(message->snap, &ret->snap);
        return CF_OK;
    }
    if (message->kind == 0 || message->kind >= RAFT_MSG_KINDS) {
        return cf_fail(err, CF_UNSUPPORTED, "an unknown kind of frame");
    }
    return read_entries(message, room, ret, err);
}

void raft_wire_done(struct raft_wire_room *room)
{
    for (size_t i = 0; i < room->count; i++) {
        raft_entry_unref(room->entries[i]);
    }
    cf_free(room->entries);
    if (room->message != NULL) {
        ProtobufCAllocator allocator = {unpack_alloc, unpack_free, NULL};
        coffer__raft__frame__free_unpacked(room->message, &allocator);
    }
    *room = (struct raft_wire_room){0};
}

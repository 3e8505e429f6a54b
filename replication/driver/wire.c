/* replication/driver/wire.c: messages as bytes, addresses, heartbeats' figures. */
#include <stdio.h>

#include "node/cluster/net.h"
#include "replication/driver/driver_int.h"

bool repl_address_plain(struct cf_slice text, struct cf_slice *ret)
{
    struct cf_slice host;
    uint16_t port;
    if (cf_slice_starts(text, CF_SLICE("https://"))) {
        text = cf_slice_from(text, 8);
    }
    if (cf_slice_ends(text, CF_SLICE("/"))) {
        text.size--;
    }
    if (text.size == 0 || text.size >= REPL_ADDRESS_SIZE ||
        net_split(text, 0, &host, &port, NULL) != CF_OK || port == 0) {
        return false;
    }
    *ret = text;
    return true;
}

bool repl_address_add(struct repl_address_list *list, struct cf_slice text)
{
    if (text.size == 0 || text.size >= REPL_ADDRESS_SIZE || list->count == REPL_ADDRESSES_MAX) {
        return false;
    }
    for (size_t i = 0; i < list->count; i++) {
        if (cf_slice_is(text, list->text[i])) {
            return false;
        }
    }
    memcpy(list->text[list->count], text.data, text.size);
    list->text[list->count++][text.size] = '\0';
    return true;
}

bool repl_addresses_equal(const struct repl_address_list *a, const struct repl_address_list *b)
{
    bool equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++) {
        equal = strcmp(a->text[i], b->text[i]) == 0;
    }
    return equal;
}

void repl_texts_of(const struct repl_address_list *list, struct repl_texts *ret)
{
    for (size_t i = 0; i < list->count; i++) {
        ret->data[i] = message_bytes(cf_slice_str(list->text[i]));
    }
}

void repl_addresses_read(size_t count, const ProtobufCBinaryData *from,
                         struct repl_address_list *ret)
{
    struct cf_slice plain;
    ret->count = 0;
    for (size_t i = 0; i < count; i++) {
        if (repl_address_plain(message_slice(from[i]), &plain)) {
            (void)repl_address_add(ret, plain);
        }
    }
}

void repl_pack(const ProtobufCMessage *message, struct cf_buf *out)
{
    message_pack(message, out);
}

cf_status repl_send(struct rpc_link *link, enum rpc_id id, const ProtobufCMessage *message,
                    struct cf_error *err)
{
    CF_BUF(bytes) = {0};
    message_pack(message, &bytes);
    return rpc_link_send(link, id, cf_buf_slice(&bytes), err);
}

void repl_answer(struct rpc_call *call, const ProtobufCMessage *message)
{
    CF_BUF(bytes) = {0};
    message_pack(message, &bytes);
    rpc_reply(call, cf_buf_slice(&bytes));
}

void repl_refuse(struct rpc_call *call, cf_status status, const char *text)
{
    struct cf_error err = {0};
    (void)cf_fail(&err, status, "%s", text);
    rpc_fail(call, &err);
}

ProtobufCBinaryData repl_position_bytes(const struct repl_position *position,
                                        struct repl_position_bytes *room)
{
    CF_BUF(bytes) = {0};
    repl_position_encode(position, &bytes);
    memcpy(room->data, bytes.data, REPL_POSITION_SIZE);
    return (ProtobufCBinaryData){REPL_POSITION_SIZE, room->data};
}

int64_t repl_wall_ns(const struct repl_driver *driver)
{
    return cf_wall_ns(driver->clock);
}

void repl_heartbeat_note(const struct repl_driver *driver, struct repl_peer_status *status,
                         uint64_t sent_us, int64_t their_wall_ns)
{
    uint64_t took_us = loop_now_us() - sent_us;
    int64_t now_ns = repl_wall_ns(driver);
    /* Their clock was read half a round trip ago. A wild one must not overflow. */
    int64_t skew_ns = 0;
    if (!__builtin_sub_overflow(their_wall_ns, now_ns - (int64_t)(took_us * 1000 / 2), &skew_ns)) {
        status->clock_skew_ms = skew_ns / 1000000;
    }
    status->last_heartbeat_ns = now_ns;
    status->last_heartbeat_duration_ms = (int64_t)(took_us / 1000);
}

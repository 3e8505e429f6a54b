/* node/core/command.c: log entries to protobuf and back. */
#include "node/core/command.h"

#include "node/base/level.h"
#include "node/base/memory.h"
#include "proto/log.pb-c.h"
#include "proto/message.h"

static void *arena_proto_alloc(void *arena, size_t size)
{
    return arena_alloc_raw(arena, size);
}

static void arena_proto_free(void *arena, void *memory)
{
    (void)arena; /* the arena frees whole */
    (void)memory;
}

/* ---- encoding: messages on the stack and in one block, packed straight into the buffer ---- */

struct packed_ops {
    Coffer__Log__Op *messages;
    Coffer__Log__Op **pointers;
};

static struct packed_ops pack_ops(const struct op *ops, size_t count)
{
    struct packed_ops packed = {cf_array(count, sizeof(*packed.messages)),
                                cf_array(count, sizeof(*packed.pointers))};
    for (size_t i = 0; i < count; i++) {
        coffer__log__op__init(&packed.messages[i]);
        packed.messages[i].kind = (uint32_t)ops[i].kind;
        packed.messages[i].class_ = ops[i].key.class;
        packed.messages[i].ns = ops[i].key.ns;
        packed.messages[i].name = message_bytes(ops[i].key.name);
        packed.messages[i].value = message_bytes(ops[i].value);
        packed.pointers[i] = &packed.messages[i];
    }
    return packed;
}

static void packed_ops_done(struct packed_ops *packed)
{
    cf_free(packed->messages);
    cf_free(packed->pointers);
}

static void encode_shipped(struct cf_buf *to, const struct command *command,
                           const struct packed_ops *own)
{
    size_t count = command->entry_count;
    Coffer__Log__SourceEntry *entries = cf_array(count, sizeof(*entries));
    Coffer__Log__SourceEntry **pointers = cf_array(count, sizeof(*pointers));
    struct packed_ops *parts = cf_array(count, sizeof(*parts));
    for (size_t i = 0; i < count; i++) {
        coffer__log__source_entry__init(&entries[i]);
        parts[i] = pack_ops(command->entries[i].ops, command->entries[i].op_count);
        entries[i].term = command->entries[i].term;
        entries[i].index = command->entries[i].index;
        entries[i].stamp_ns = command->entries[i].stamp_ns;
        entries[i].n_ops = command->entries[i].op_count;
        entries[i].ops = parts[i].pointers;
        pointers[i] = &entries[i];
    }
    Coffer__Log__Shipped message = COFFER__LOG__SHIPPED__INIT;
    message.n_entries = count;
    message.entries = pointers;
    message.n_own = command->op_count;
    message.own = own->pointers;
    message_pack(&message.base, to);
    for (size_t i = 0; i < count; i++) {
        packed_ops_done(&parts[i]);
    }
    cf_free(parts);
    cf_free(pointers);
    cf_free(entries);
}

/* ---- the level that an entry needs ---- */

static unsigned ops_level(const struct op *ops, size_t count, bool is_mirrored)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_mirrored && ops[i].key.class == CLASS_CLUSTER && ops[i].key.ns == NAMESPACE_ROOT &&
            cf_slice_starts(ops[i].key.name, CF_SLICE(AREA_REQUEST))) {
            return LEVEL_REQUEST_RECORDS;
        }
    }
    return LEVEL_FIRST;
}

static unsigned level_of(const struct command *command)
{
    /* Of SHIPPED the ops beside the entries are this cluster's own. */
    bool is_own = !command->is_mirrored || command->id == COMMAND_SHIPPED;
    unsigned level = ops_level(command->ops, command->op_count, !is_own);
    if (command->run_count != 0 && level < LEVEL_RUNS) {
        level = LEVEL_RUNS;
    }
    for (size_t i = 0; i < command->entry_count && level < LEVEL_NEWEST; i++) {
        unsigned needed =
            ops_level(command->entries[i].ops, command->entries[i].op_count, command->is_mirrored);
        level = needed > level ? needed : level;
    }
    return level;
}

unsigned command_level(struct cf_slice payload)
{
    return payload.size >= COMMAND_HEADER_SIZE ? payload.data[8] : LEVEL_FIRST;
}

cf_status command_encode(struct cf_buf *to, const struct command *command, struct cf_error *err)
{
    struct packed_ops ops = pack_ops(command->ops, command->op_count);
    const size_t before = to->size;
    cf_buf_add_u64(to, 0); /* the stamp: see command_set_stamp() */
    cf_buf_add_byte(to, (uint8_t)level_of(command));
    cf_buf_add_byte(to, (uint8_t)command->id);
    switch (command->id) {
    case COMMAND_WRITE: {
        Coffer__Log__WriteSet message = COFFER__LOG__WRITE_SET__INIT;
        message.n_ops = command->op_count;
        message.ops = ops.pointers;
        message_pack(&message.base, to);
        break;
    }
    case COMMAND_SHIPPED:
        encode_shipped(to, command, &ops);
        break;
    case COMMAND_STAGE: {
        Coffer__Log__Stage message = COFFER__LOG__STAGE__INIT;
        message.generation = command->stage_generation;
        message.n_ops = command->op_count;
        message.ops = ops.pointers;
        message_pack(&message.base, to);
        break;
    }
    case COMMAND_SWITCH: {
        Coffer__Log__Switch message = COFFER__LOG__SWITCH__INIT;
        message.generation = command->stage_generation;
        message.classes = command->switch_classes;
        message.n_own = command->op_count;
        message.own = ops.pointers;
        ProtobufCBinaryData *runs = cf_array(command->run_count + 1, sizeof(*runs));
        for (size_t i = 0; i < command->run_count; i++) {
            runs[i] = message_bytes(command->runs[i]);
        }
        message.n_runs = command->run_count;
        message.runs = runs;
        message_pack(&message.base, to);
        cf_free(runs);
        break;
    }
    case COMMAND_TICK:
        break;
    }
    packed_ops_done(&ops);
    bool is_large = command->id == COMMAND_WRITE &&
                    to->size - before > TRANSACTION_BYTES_MAX + COMMAND_HEADER_SIZE;
    if (to->overflow || is_large) {
        return cf_fail(err, CF_TOO_LARGE, "the request writes more than %zu bytes at once",
                       TRANSACTION_BYTES_MAX);
    }
    return CF_OK;
}

void command_set_stamp(struct cf_buf *payload, int64_t stamp_ns)
{
    cf_put_u64(payload->data, (uint64_t)stamp_ns);
}

/* ---- decoding ---- */

static cf_status unpack_ops(struct arena *arena, Coffer__Log__Op *const *messages, size_t count,
                            const struct op **ret, struct cf_error *err)
{
    struct op *ops = arena_alloc_raw(arena, count * sizeof(*ops));
    for (size_t i = 0; i < count; i++) {
        const Coffer__Log__Op *from = messages[i];
        if (from->kind < OP_PUT || from->kind > OP_DELETE_PREFIX ||
            class_number((uint8_t)from->class_) == CLASS_COUNT || from->class_ > 0xff) {
            return cf_fail(err, CF_CORRUPT, "log entry holds an unknown effect");
        }
        if (from->name.len > KEY_NAME_MAX) { /* the store would refuse it at every start */
            return cf_fail(err, CF_CORRUPT, "log entry holds a name that is too long");
        }
        ops[i] = (struct op){.kind = (enum op_kind)from->kind,
                             .key = {(uint8_t)from->class_, from->ns, message_slice(from->name)},
                             .value = message_slice(from->value)};
    }
    *ret = ops;
    return CF_OK;
}

static cf_status decode_shipped(const Coffer__Log__Shipped *message, struct arena *arena,
                                struct command *ret, struct cf_error *err)
{
    struct source_entry *entries = arena_alloc(arena, message->n_entries * sizeof(*entries));
    for (size_t i = 0; i < message->n_entries; i++) {
        const Coffer__Log__SourceEntry *from = message->entries[i];
        entries[i] = (struct source_entry){.term = from->term,
                                           .index = from->index,
                                           .stamp_ns = from->stamp_ns,
                                           .op_count = from->n_ops};
        CF_TRY(unpack_ops(arena, from->ops, from->n_ops, &entries[i].ops, err));
    }
    ret->entries = entries;
    ret->entry_count = message->n_entries;
    ret->op_count = message->n_own;
    return unpack_ops(arena, message->own, message->n_own, &ret->ops, err);
}

static cf_status unpack_runs(struct arena *arena, const Coffer__Log__Switch *change,
                             struct command *ret, struct cf_error *err)
{
    struct cf_slice *runs = arena_alloc_raw(arena, (change->n_runs + 1) * sizeof(*runs));
    for (size_t i = 0; i < change->n_runs; i++) {
        runs[i] = message_slice(change->runs[i]);
        if (runs[i].size != COMMAND_RUN_NAME_SIZE) {
            return cf_fail(err, CF_CORRUPT, "log entry names a run by no hash");
        }
    }
    ret->runs = runs;
    ret->run_count = change->n_runs;
    return CF_OK;
}

static const ProtobufCMessageDescriptor *descriptor_of(enum command_id id)
{
    switch (id) {
    case COMMAND_WRITE:
        return &coffer__log__write_set__descriptor;
    case COMMAND_SHIPPED:
        return &coffer__log__shipped__descriptor;
    case COMMAND_STAGE:
        return &coffer__log__stage__descriptor;
    case COMMAND_SWITCH:
        return &coffer__log__switch__descriptor;
    case COMMAND_TICK:
        break;
    }
    return NULL;
}

cf_status command_decode(struct cf_slice payload, struct arena *arena, struct command *ret,
                         struct cf_error *err)
{
    if (payload.size < COMMAND_HEADER_SIZE) {
        return cf_fail(err, CF_CORRUPT, "log entry is shorter than its header");
    }
    *ret = (struct command){.stamp_ns = (int64_t)cf_get_u64(payload.data),
                            .feature_level = payload.data[8],
                            .id = (enum command_id)payload.data[9]};
    if (ret->feature_level > cf_feature_level()) {
        return cf_fail(err, CF_UNSUPPORTED,
                       "log entry needs feature level %u, this node has %u: upgrade it",
                       ret->feature_level, cf_feature_level());
    }
    if (ret->id == COMMAND_TICK) {
        return CF_OK;
    }
    const ProtobufCMessageDescriptor *descriptor = descriptor_of(ret->id);
    if (descriptor == NULL) {
        return cf_fail(err, CF_CORRUPT, "log entry holds the unknown command %d", (int)ret->id);
    }
    ProtobufCAllocator allocator = {arena_proto_alloc, arena_proto_free, arena};
    struct cf_slice body = cf_slice_from(payload, COMMAND_HEADER_SIZE);
    /* Not message_unpack(): its bound on elements is for strangers; this entry is ours, committed, and
     * checked by its CRC. */
    ProtobufCMessage *message =
        protobuf_c_message_unpack(descriptor, &allocator, body.size, body.data);
    if (message == NULL) {
        return cf_fail(err, CF_CORRUPT, "log entry is malformed");
    }
    switch (ret->id) {
    case COMMAND_WRITE: {
        const Coffer__Log__WriteSet *write_set = (void *)message;
        ret->op_count = write_set->n_ops;
        return unpack_ops(arena, write_set->ops, write_set->n_ops, &ret->ops, err);
    }
    case COMMAND_SHIPPED:
        return decode_shipped((void *)message, arena, ret, err);
    case COMMAND_STAGE: {
        const Coffer__Log__Stage *stage = (void *)message;
        ret->stage_generation = stage->generation;
        ret->op_count = stage->n_ops;
        return unpack_ops(arena, stage->ops, stage->n_ops, &ret->ops, err);
    }
    case COMMAND_SWITCH: {
        const Coffer__Log__Switch *change = (void *)message;
        ret->stage_generation = change->generation;
        ret->switch_classes = change->classes;
        ret->op_count = change->n_own;
        CF_TRY(unpack_runs(arena, change, ret, err));
        return unpack_ops(arena, change->own, change->n_own, &ret->ops, err);
    }
    case COMMAND_TICK:
        break;
    }
    return CF_OK;
}

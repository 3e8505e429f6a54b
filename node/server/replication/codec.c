/* node/server/replication/codec.c: log entries and state as batches and pages, and back. */
#include "node/server/replication/codec.h"

#include "node/base/memory.h"
#include "node/core/window.h"

bool codec_ships(enum repl_kind kind, uint8_t class)
{
    return class == CLASS_REPLICATED || (kind == REPL_DR && class == CLASS_CLUSTER);
}

/* ---- batches ---- */

static const struct op *ops_for(struct codec_batch *batch, uint64_t index, const struct op *ops,
                                size_t count, size_t *ret_count)
{
    struct op *kept = arena_alloc_raw(batch->arena, count * sizeof(*kept));
    *ret_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (codec_ships(batch->kind, ops[i].key.class)) {
            kept[(*ret_count)++] = ops[i];
        }
    }
    return filter_ops(batch->filter, batch->arena, index, kept, ret_count);
}

static void add_entry(struct codec_batch *batch, const struct source_entry *entry)
{
    if (batch->count == batch->room) {
        size_t room = cf_max(2 * batch->room, 64);
        struct source_entry *fresh =
            arena_alloc_raw(batch->arena, room * sizeof(*batch->entries));
        if (batch->count != 0) {
            memcpy(fresh, batch->entries, batch->count * sizeof(*batch->entries));
        }
        batch->entries = fresh;
        batch->room = room;
    }
    batch->entries[batch->count++] = *entry;
    batch->op_count += entry->op_count;
}

static void add_ops(struct codec_batch *batch, uint64_t term, uint64_t index, int64_t stamp_ns,
                    const struct op *ops, size_t count)
{
    struct source_entry entry = {.term = term, .index = index, .stamp_ns = stamp_ns};
    entry.ops = ops_for(batch, index, ops, count, &entry.op_count);
    if (entry.op_count != 0) {
        add_entry(batch, &entry);
    }
}

/* Several received entries that we applied as one of ours stay one: never split, in their order. What we
 * added ourselves comes last, as it was applied: a performance secondary's position is of class cluster,
 * its DR secondaries carry on from there. */
static void add_received(struct codec_batch *batch, uint64_t term, uint64_t index,
                         const struct command *command, uint64_t above)
{
    size_t total = command->op_count;
    for (size_t i = 0; i < command->entry_count; i++) {
        total += command->entries[i].op_count;
    }
    struct op *all = arena_alloc_raw(batch->arena, total * sizeof(*all));
    size_t count = 0;
    for (size_t i = 0; i < command->entry_count; i++) {
        const struct source_entry *entry = &command->entries[i];
        bool counts = entry->index == 0 || entry->index > above; /* 0: a repair, which has no positions */
        if (counts && entry->op_count != 0) {
            memcpy(all + count, entry->ops, entry->op_count * sizeof(*all));
            count += entry->op_count;
        }
    }
    bool is_behind = above != 0 && count == 0; /* whoever asks has got further than this */
    if (command->op_count != 0 && !is_behind) {
        memcpy(all + count, command->ops, command->op_count * sizeof(*all));
        count += command->op_count;
    }
    add_ops(batch, term, index, command->stamp_ns, all, count);
}

cf_status codec_add(struct codec_batch *batch, uint64_t term, uint64_t index,
                    struct cf_slice payload, bool *switched, struct cf_error *err)
{
    struct command command;
    *switched = false;
    CF_TRY(command_decode(payload, batch->arena, &command, err));
    switch (command.id) {
    case COMMAND_WRITE:
        add_ops(batch, term, index, command.stamp_ns, command.ops, command.op_count);
        break;
    case COMMAND_SHIPPED:
        add_received(batch, term, index, &command, 0);
        break;
    case COMMAND_SWITCH:
        *switched = true;
        break;
    case COMMAND_STAGE:
    case COMMAND_TICK:
        break;
    }
    return CF_OK;
}

cf_status codec_add_shipped(struct codec_batch *batch, uint64_t term, uint64_t index,
                            struct cf_slice payload, uint64_t above, bool *is_shipped,
                            uint64_t *oldest, uint64_t *newest, struct cf_error *err)
{
    struct command command;
    CF_TRY(command_decode(payload, batch->arena, &command, err));
    *is_shipped = command.id == COMMAND_SHIPPED;
    *oldest = *newest = 0;
    if (!*is_shipped) {
        return CF_OK;
    }
    if (command.entry_count != 0) {
        *oldest = command.entries[0].index;
        *newest = command.entries[command.entry_count - 1].index;
        *oldest = *oldest == 0 ? UINT64_MAX : *oldest;
    }
    add_received(batch, term, index, &command, above);
    return CF_OK;
}

cf_status codec_encode(const struct codec_batch *batch, struct cf_buf *to, struct cf_error *err)
{
    struct command command = {
        .id = COMMAND_SHIPPED, .entries = batch->entries, .entry_count = batch->count, .is_mirrored = true};
    return batch->count != 0 ? command_encode(to, &command, err) : CF_OK;
}

static cf_status check_ops(enum repl_kind kind, const struct op *ops, size_t count,
                           struct cf_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (!codec_ships(kind, ops[i].key.class)) {
            return cf_fail(err, CF_CORRUPT, "the primary sent data of class '%c', which must not "
                                            "leave a cluster",
                           ops[i].key.class);
        }
    }
    return CF_OK;
}

static void claim_ops(struct window_claim *claim, struct key *keys, bool *ranges,
                      const struct op *ops, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        keys[claim->write_count] = ops[i].key;
        ranges[claim->write_count++] = ops[i].kind == OP_DELETE_PREFIX;
    }
}

cf_status codec_receive(enum repl_kind kind, struct cf_slice batch, const struct op *own,
                        size_t own_count, struct arena *arena, struct cf_buf *to,
                        struct window_claim **ret, struct cf_error *err)
{
    struct command command = {.id = COMMAND_SHIPPED};
    size_t total = own_count;
    if (batch.size != 0) {
        CF_TRY(command_decode(batch, arena, &command, err));
        if (command.id != COMMAND_SHIPPED || command.op_count != 0) {
            return cf_fail(err, CF_CORRUPT, "the primary sent something that is no batch");
        }
    }
    for (size_t i = 0; i < command.entry_count; i++) {
        /* Who follows us later asks for what came from above some index. */
        if (command.entries[i].index <= (i != 0 ? command.entries[i - 1].index : 0)) {
            return cf_fail(err, CF_CORRUPT, "the primary sent entries out of their order");
        }
        CF_TRY(check_ops(kind, command.entries[i].ops, command.entries[i].op_count, err));
        total += command.entries[i].op_count;
    }
    /* No read set: a batch is unconditional. Its keys tell local requests what moved. */
    struct window_claim *claim = arena_new_object(arena, struct window_claim);
    struct key *keys = arena_alloc_raw(arena, total * sizeof(*keys));
    bool *ranges = arena_alloc_raw(arena, total * sizeof(*ranges));
    claim->view_index = UINT64_MAX;
    claim->ticket = WINDOW_TICKET_FIRST; /* the primary has committed it: it waits for no local request */
    claim->writes = keys;
    claim->is_range = ranges;
    for (size_t i = 0; i < command.entry_count; i++) {
        claim_ops(claim, keys, ranges, command.entries[i].ops, command.entries[i].op_count);
    }
    claim_ops(claim, keys, ranges, own, own_count);
    command.ops = own;
    command.op_count = own_count;
    command.is_mirrored = true;
    *ret = claim;
    return command_encode(to, &command, err);
}

cf_status codec_records(enum repl_kind kind, struct cf_slice bytes, struct arena *arena,
                        const struct op **ret, size_t *ret_count, struct cf_error *err)
{
    struct command command;
    CF_TRY(command_decode(bytes, arena, &command, err));
    if (command.id != COMMAND_STAGE) {
        return cf_fail(err, CF_CORRUPT, "the primary sent something that is no records");
    }
    CF_TRY(check_ops(kind, command.ops, command.op_count, err));
    for (size_t i = 0; i < command.op_count; i++) {
        if (command.ops[i].kind != OP_PUT) {
            return cf_fail(err, CF_CORRUPT, "the primary sent something that is no record");
        }
    }
    *ret = command.ops;
    *ret_count = command.op_count;
    return CF_OK;
}

cf_status codec_repair(const struct op *repair, size_t count, const struct op *own, size_t own_count,
                       struct arena *arena, struct cf_buf *to, struct window_claim **ret,
                       struct cf_error *err)
{
    struct source_entry entry = {.ops = repair, .op_count = count};
    struct command command = {.id = COMMAND_SHIPPED,
                              .ops = own,
                              .op_count = own_count,
                              .entries = &entry,
                              .entry_count = 1,
                              .is_mirrored = true};
    struct window_claim *claim = arena_new_object(arena, struct window_claim);
    struct key *keys = arena_alloc_raw(arena, (count + own_count) * sizeof(*keys));
    bool *ranges = arena_alloc_raw(arena, (count + own_count) * sizeof(*ranges));
    claim->view_index = UINT64_MAX;
    claim->ticket = WINDOW_TICKET_FIRST;
    claim->writes = keys;
    claim->is_range = ranges;
    claim_ops(claim, keys, ranges, repair, count);
    claim_ops(claim, keys, ranges, own, own_count);
    *ret = claim;
    return command_encode(to, &command, err);
}

/* ---- pages ---- */

static const uint8_t page_classes[] = {CLASS_CLUSTER, CLASS_REPLICATED}; /* as the store sorts them */

struct paging {
    struct op *ops;
    size_t count, room, bytes;
};

static void add_page_op(struct paging *paging, struct arena *arena, struct key key,
                        struct cf_slice value)
{
    if (paging->count == paging->room) {
        size_t room = cf_max(2 * paging->room, 256);
        struct op *fresh = arena_alloc_raw(arena, room * sizeof(*fresh));
        if (paging->count != 0) {
            memcpy(fresh, paging->ops, paging->count * sizeof(*fresh));
        }
        paging->ops = fresh;
        paging->room = room;
    }
    key.name = arena_copy(arena, key.name);
    paging->ops[paging->count++] =
        (struct op){.kind = OP_PUT, .key = key, .value = arena_copy(arena, value)};
    paging->bytes += key.name.size + value.size + 32;
}

/* One class from the stored key `from` on, up to `until` (empty: its end). */
static cf_status page_class(const struct view *view, uint8_t class, const struct filter *filter,
                            struct cf_slice from, struct cf_slice until, size_t max_bytes,
                            struct paging *paging, struct arena *arena,
                            bool *is_full, struct cf_error *err)
{
    uint8_t lower[5] = {class}, upper[5] = {class};
    uint32_t generation = view->generation[class_number(class)];
    cf_put_u32(lower + 1, generation);
    cf_put_u32(upper + 1, generation + 1);
    if (from.size != 0 && cf_slice_cmp(from, cf_slice_of(lower, 5)) < 0) {
        return cf_fail(err, CF_INVALID, "the cursor is of another generation of the data");
    }
    struct kv_range range = {from.size != 0 ? from : cf_slice_of(lower, 5),
                             until.size != 0 ? until : cf_slice_of(upper, 5), true};
    CF_OWNED(kv_iterator) iterator =
        kv_iterator_new((struct kv_view){view->db, view->snapshot}, view->state, range);
    *is_full = false;
    kv_seek_first(iterator);
    while (kv_valid(iterator)) {
        struct key key;
        uint32_t ignored;
        struct cf_slice value = kv_bytes(iterator);
        if (!key_decode(kv_key(iterator), &key, &ignored) || value.size < VALUE_HEADER_SIZE) {
            return cf_fail(err, CF_CORRUPT, "internal error");
        }
        if (!filter_passes(filter, key)) {
            CF_BUF(behind) = {0};
            filter_skip(filter, key, generation, &behind);
            kv_seek(iterator, cf_buf_slice(&behind));
            continue;
        }
        add_page_op(paging, arena, key, cf_slice_from(value, VALUE_HEADER_SIZE));
        if (paging->bytes >= max_bytes) {
            *is_full = true;
            return CF_OK;
        }
        kv_next(iterator);
    }
    return kv_iterator_check(iterator, err);
}

cf_status codec_page(const struct view *view, enum repl_kind kind, const struct filter *filter,
                     struct cf_slice cursor, struct cf_slice until, size_t max_bytes,
                     struct cf_buf *page, struct cf_buf *next, uint64_t *keys,
                     bool *done, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(max_bytes / 4);
    struct paging paging = {0};
    *done = true;
    bool is_bound = until.size != 0;
    if ((cursor.size != 0 && !codec_ships(kind, cursor.data[0])) ||
        (is_bound && (!codec_ships(kind, until.data[0]) || cf_slice_cmp(cursor, until) >= 0))) {
        return cf_fail(err, CF_INVALID, "the cursor is of data that is not shipped");
    }
    for (size_t i = 0; i < sizeof(page_classes); i++) {
        uint8_t class = page_classes[i];
        bool is_full = false;
        if (!codec_ships(kind, class)) {
            continue;
        }
        if (cursor.size != 0 && cursor.data[0] != class) {
            continue; /* that class is behind us */
        }
        bool ends_here = is_bound && until.data[0] == class;
        CF_TRY(page_class(view, class, filter, cursor, ends_here ? until : CF_SLICE_EMPTY, max_bytes,
                          &paging, arena, &is_full, err));
        cursor = CF_SLICE_EMPTY;
        if (ends_here && !is_full) {
            cf_buf_add_slice(next, until);
            *done = false;
            break;
        }
        if (is_full) {
            /* The next page begins right behind the last key. */
            const struct op *last = &paging.ops[paging.count - 1];
            key_encode(next, last->key, view->generation[class_number(class)]);
            cf_buf_add_byte(next, 0);
            *done = false;
            break;
        }
        if (paging.count != 0 && i + 1 < sizeof(page_classes)) {
            /* No page holds two classes: what lies between them in a store (class own) would keep its file from being taken
             * over as it is. All kinds ship the last class. */
            uint8_t class_begins[5] = {page_classes[i + 1]};
            cf_put_u32(class_begins + 1, view->generation[class_number(page_classes[i + 1])]);
            cf_buf_add(next, class_begins, sizeof(class_begins));
            *done = false;
            break;
        }
    }
    *keys = paging.count;
    struct command command = {
        .id = COMMAND_STAGE, .ops = paging.ops, .op_count = paging.count, .is_mirrored = true};
    return command_encode(page, &command, err);
}

cf_status codec_stage(enum repl_kind kind, struct cf_slice page, uint32_t generation,
                      struct cf_buf *to, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(64 * 1024);
    struct command command = {.id = COMMAND_STAGE, .stage_generation = generation, .is_mirrored = true};
    CF_TRY(codec_records(kind, page, arena, &command.ops, &command.op_count, err));
    return command_encode(to, &command, err);
}

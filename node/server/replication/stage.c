/* node/server/replication/stage.c: the record of a copy under way.
 *
 * Each few MiB of a copy the receiver notes in its own cluster's store which snapshot it is a copy of, and how far
 * it is: a new leader, or the same node after a restart, goes on from there. The record may be older than the
 * stage: the pages behind it are staged again, with the same bytes. */
#include <stdio.h>

#include "node/base/memory.h"
#include "node/core/system.h"
#include "node/server/replication/repl_int.h"

enum { VERSION = 1, FIXED_SIZE = 1 + 8 + 4 + 8 + 4 * 8 + 1 };

static struct key stage_key(enum repl_kind kind)
{
    return (struct key){CLASS_OWN, NAMESPACE_ROOT,
                        kind == REPL_DR ? CF_SLICE(AREA_POSITION "stage-dr")
                                        : CF_SLICE(AREA_POSITION "stage-performance")};
}

/* Version, then numbers, the position, the address with its end, and the cursor. */
void stage_encode(const struct stage_record *record, const struct repl_stage *stage, struct cf_buf *to)
{
    const struct secondary_stage *is = &stage->is;
    cf_buf_add_byte(to, VERSION);
    cf_buf_add_u64(to, (uint64_t)record->started_ns);
    cf_buf_add_u32(to, record->generation);
    cf_buf_add_u64(to, is->snapshot_id);
    cf_buf_add_u64(to, is->total_keys);
    cf_buf_add_u64(to, is->total_bytes);
    cf_buf_add_u64(to, is->staged_keys);
    cf_buf_add_u64(to, is->staged_bytes);
    cf_buf_add_byte(to, is->is_whole);
    repl_position_encode(&is->position, to);
    cf_buf_add_str(to, stage->address);
    cf_buf_add_byte(to, 0);
    cf_buf_add_slice(to, is->cursor);
}

cf_status stage_decode(struct cf_slice bytes, struct stage_record *record, struct repl_stage *ret,
                       struct cf_error *err)
{
    const uint8_t *at = bytes.data;
    struct cf_slice rest = cf_slice_from(bytes, FIXED_SIZE + REPL_POSITION_SIZE);
    const uint8_t *end = rest.size != 0 ? memchr(rest.data, 0, rest.size) : NULL;
    if (bytes.size < FIXED_SIZE + REPL_POSITION_SIZE || at[0] != VERSION || end == NULL ||
        (size_t)(end - rest.data) >= REPL_ADDRESS_SIZE || at[FIXED_SIZE - 1] > 1) {
        return cf_fail(err, CF_CORRUPT, "the record of a copy under way is malformed");
    }
    size_t address = (size_t)(end - rest.data);
    struct secondary_stage *is = &ret->is;
    CF_TRY(repl_position_decode(
        cf_slice_first(cf_slice_from(bytes, FIXED_SIZE), REPL_POSITION_SIZE), &is->position, err));
    record->started_ns = (int64_t)cf_get_u64(at + 1);
    record->generation = cf_get_u32(at + 9);
    is->snapshot_id = cf_get_u64(at + 13);
    is->total_keys = cf_get_u64(at + 21);
    is->total_bytes = cf_get_u64(at + 29);
    is->staged_keys = cf_get_u64(at + 37);
    is->staged_bytes = cf_get_u64(at + 45);
    is->is_whole = at[FIXED_SIZE - 1] == 1;
    memcpy(ret->address, rest.data, address + 1);
    cf_buf_reset(&ret->cursor);
    cf_buf_add_slice(&ret->cursor, cf_slice_from(rest, address + 1));
    is->cursor = cf_buf_slice(&ret->cursor);
    return cf_buf_check(&ret->cursor, err);
}

/* ---- in the store ---- */

struct saving {
    enum repl_kind kind;
    struct stage_record record;
    struct repl_stage stage;
};

static cf_status write_stage(struct request *rq, void *context, struct cf_error *err)
{
    struct saving *saving = context;
    struct set_link link;
    CF_BUF(bytes) = {0};
    CF_TRY(set_read_link(rq, repl_set_kind(saving->kind), &link, err));
    saving->record.started_ns = link.started_ns;
    stage_encode(&saving->record, &saving->stage, &bytes);
    txn_put(rq->txn, stage_key(saving->kind), cf_buf_slice(&bytes));
    return CF_OK;
}

static void written(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct saving *saving = context;
    (void)status; /* the next one comes with the next pages */
    (void)index;
    (void)err;
    cf_buf_done(&saving->stage.cursor);
    cf_free(saving);
}

void stage_save(void *ctx, enum repl_kind kind, const struct repl_stage *stage)
{
    struct node_replication *replication = ctx;
    struct saving *saving = cf_new(struct saving);
    saving->kind = kind;
    saving->record.generation = replication->sides[kind].stage_generation;
    saving->stage.is = stage->is;
    memcpy(saving->stage.address, stage->address, sizeof(stage->address));
    cf_buf_add_slice(&saving->stage.cursor, stage->is.cursor); /* borrowed: the receiver goes on */
    saving->stage.is.cursor = cf_buf_slice(&saving->stage.cursor);
    struct system_work work = {write_stage, written, saving};
    system_submit(replication->node->core, &work);
}

bool stage_load(void *ctx, enum repl_kind kind, struct repl_stage *ret)
{
    struct node_replication *replication = ctx;
    struct reader reader;
    struct set_link link;
    struct cf_slice bytes;
    struct stage_record record;
    bool found = reader_begin(&reader, replication->node) &&
                 set_read_bytes(&reader.rq, stage_key(kind), &bytes, NULL) == CF_OK &&
                 stage_decode(bytes, &record, ret, NULL) == CF_OK &&
                 set_read_link(&reader.rq, repl_set_kind(kind), &link, NULL) == CF_OK &&
                 link.started_ns == record.started_ns;
    if (found) { /* written late, behind its switch: that stage is the state now */
        found = record.generation != reader.rq.view->generation[class_number(CLASS_REPLICATED)] &&
                record.generation != reader.rq.view->generation[class_number(CLASS_CLUSTER)];
    }
    if (found) {
        replication->sides[kind].stage_generation = record.generation;
    }
    reader_end(&reader);
    return found;
}

void stage_forget(struct request *rq, enum repl_kind kind)
{
    txn_delete(rq->txn, stage_key(kind));
}

/* node/server/replication/stage_record.c: the records of a copy under way. */
#include "node/server/replication/stage_record.h"

#include "node/core/txn.h"

enum { VERSION = 1, FIXED_SIZE = 1 + 8 + 4 + 3 * 8 + 8 + 4 * 8 + 1, PIECE_FIXED = 1 + 4 + 1 + 32 + 32 + 4 };

struct key stage_key(enum repl_kind kind)
{
    return (struct key){CLASS_OWN, NAMESPACE_ROOT,
                        kind == REPL_DR ? CF_SLICE(AREA_POSITION "stage-dr")
                                        : CF_SLICE(AREA_POSITION "stage-performance")};
}

#define PIECES_DR AREA_POSITION "run-dr/"
#define PIECES_PERFORMANCE AREA_POSITION "run-performance/"

struct key stage_piece_key(enum repl_kind kind, uint64_t number, struct arena *arena)
{
    const char *name = arena_printf(arena, "%s%012llx", kind == REPL_DR ? PIECES_DR : PIECES_PERFORMANCE,
                                    (unsigned long long)number);
    return (struct key){CLASS_OWN, NAMESPACE_ROOT, cf_slice_str(name)};
}

void stage_forget(struct request *rq, enum repl_kind kind)
{
    txn_delete(rq->txn, stage_key(kind));
    txn_delete_prefix(rq->txn, (struct key){CLASS_OWN, NAMESPACE_ROOT,
                                            kind == REPL_DR ? CF_SLICE(PIECES_DR)
                                                            : CF_SLICE(PIECES_PERFORMANCE)});
}

/* Version, then numbers, the position, the address with its end, and the cursor. */
void stage_encode(const struct stage_record *record, const struct repl_stage *stage, struct cf_buf *to)
{
    const struct secondary_stage *is = &stage->is;
    cf_buf_add_byte(to, VERSION);
    cf_buf_add_u64(to, (uint64_t)record->started_ns);
    cf_buf_add_u32(to, record->generation);
    cf_buf_add_u64(to, record->index);
    cf_buf_add_u64(to, record->pieces);
    cf_buf_add_u64(to, record->id);
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
    record->index = cf_get_u64(at + 13);
    record->pieces = cf_get_u64(at + 21);
    record->id = cf_get_u64(at + 29);
    is->snapshot_id = cf_get_u64(at + 37);
    is->total_keys = cf_get_u64(at + 45);
    is->total_bytes = cf_get_u64(at + 53);
    is->staged_keys = cf_get_u64(at + 61);
    is->staged_bytes = cf_get_u64(at + 69);
    is->is_whole = at[FIXED_SIZE - 1] == 1;
    memcpy(ret->address, rest.data, address + 1);
    cf_buf_reset(&ret->cursor);
    cf_buf_add_slice(&ret->cursor, cf_slice_from(rest, address + 1));
    is->cursor = cf_buf_slice(&ret->cursor);
    return cf_buf_check(&ret->cursor, err);
}

/* Version, generation, hashes, the size of the cursor, the cursor, and where the next page began. */
void stage_piece_encode(const struct stage_piece *piece, uint32_t generation, struct cf_buf *to)
{
    cf_buf_add_byte(to, VERSION);
    cf_buf_add_u32(to, generation);
    cf_buf_add_byte(to, piece->has_run);
    cf_buf_add(to, piece->run, sizeof(piece->run));
    cf_buf_add(to, piece->page, sizeof(piece->page));
    cf_buf_add_u32(to, (uint32_t)piece->cursor.size);
    cf_buf_add_slice(to, cf_buf_slice(&piece->cursor));
    cf_buf_add_slice(to, cf_buf_slice(&piece->next));
}

cf_status stage_piece_decode(struct cf_slice bytes, uint32_t generation, struct stage_piece *ret,
                             struct cf_error *err)
{
    const uint8_t *at = bytes.data;
    size_t cursor = bytes.size >= PIECE_FIXED ? cf_get_u32(at + PIECE_FIXED - 4) : 0;
    if (bytes.size < PIECE_FIXED || at[0] != VERSION || cf_get_u32(at + 1) != generation || at[5] > 1 ||
        cursor > bytes.size - PIECE_FIXED) {
        return cf_fail(err, CF_CORRUPT, "the record of a page of a copy is malformed");
    }
    ret->has_run = at[5] == 1;
    memcpy(ret->run, at + 6, sizeof(ret->run));
    memcpy(ret->page, at + 38, sizeof(ret->page));
    struct cf_slice rest = cf_slice_from(bytes, PIECE_FIXED);
    cf_buf_add_slice(&ret->cursor, cf_slice_first(rest, cursor));
    cf_buf_add_slice(&ret->next, cf_slice_from(rest, cursor));
    return CF_OK;
}

/* node/server/replication/stage_load.c: a copy goes on: at this node or another one of the secondary, at what the store kept of
 * it; with another snapshot of the primary, at what is still the same. */
#include "consensus/driver/driver.h"
#include "node/base/level.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/server/replication/stage_int.h"

/* ---- what an earlier snapshot has left ---- */

const struct piece *stage_old(const struct copy_stage *stage, struct cf_slice cursor)
{
    size_t low = 0, high = stage->old_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (cf_slice_cmp(cf_buf_slice(&stage->old[middle]->is.cursor), cursor) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < stage->old_count ? stage->old[low] : NULL;
}

static bool is_here(const struct copy_stage *stage, const struct stage_piece *piece)
{
    return !piece->has_run || runs_has(stage->replication->node->runs, stage->record.generation,
                                       cf_slice_of(piece->run, sizeof(piece->run)));
}

bool copy_known(void *ctx, enum repl_kind kind, struct cf_slice cursor, uint8_t hash[32],
                 struct cf_slice *until)
{
    struct node_replication *replication = ctx;
    const struct copy_stage *stage = replication->sides[kind].stage;
    const struct piece *old = stage != NULL ? stage_old(stage, cursor) : NULL;
    *until = CF_SLICE_EMPTY;
    if (old == NULL) {
        return false;
    }
    if (!cf_slice_eq(cf_buf_slice(&old->is.cursor), cursor)) {
        *until = cf_buf_slice(&old->is.cursor);
        return false;
    }
    *until = cf_buf_slice(&old->is.next);
    memcpy(hash, old->is.page, sizeof(old->is.page));
    return is_here(stage, &old->is);
}

static void keep_old(struct copy_stage *stage, const struct stage_piece *from)
{
    struct piece *piece = cf_new(struct piece);
    piece->is = *from;
    piece->is.cursor = piece->is.next = (struct cf_buf){0};
    cf_buf_add_slice(&piece->is.cursor, cf_buf_slice(&from->cursor));
    cf_buf_add_slice(&piece->is.next, cf_buf_slice(&from->next));
    stage_add(&stage->old, &stage->old_count, &stage->old_room, piece);
}

/* ---- the table ---- */

/* ---- the table ---- */

/* The store has a record of this link's: its pieces up to the record's are the stage, the others old. */
static struct copy_stage *load(struct node_replication *replication, enum repl_kind kind,
                          struct repl_stage *ret)
{
    struct reader reader;
    struct set_link link;
    struct cf_slice bytes;
    struct stage_record record;
    struct copy_stage *stage = NULL;
    bool found = reader_begin(&reader, replication->node) &&
                 set_read_bytes(&reader.rq, stage_key(kind), &bytes, NULL) == CF_OK &&
                 stage_decode(bytes, &record, ret, NULL) == CF_OK &&
                 set_read_link(&reader.rq, repl_set_kind(kind), &link, NULL) == CF_OK &&
                 link.started_ns == record.started_ns &&
                 record.generation != reader.rq.view->generation[class_number(CLASS_REPLICATED)] &&
                 record.generation != reader.rq.view->generation[class_number(CLASS_CLUSTER)];
    for (uint64_t n = 0; found; n++) {
        struct stage_piece piece = {0};
        stage = stage != NULL ? stage : stage_new(replication, kind);
        stage->record = record;
        if (set_read_bytes(&reader.rq, stage_piece_key(kind, n, reader.rq.arena), &bytes, NULL) !=
                CF_OK ||
            stage_piece_decode(bytes, record.generation, &piece, NULL) != CF_OK) {
            break;
        }
        keep_old(stage, &piece);
        cf_buf_done(&piece.cursor);
        cf_buf_done(&piece.next);
        if (n < record.pieces) {
            struct piece *last = stage->old[--stage->old_count];
            last->is_safe = true;
            stage_add(&stage->pieces, &stage->count, &stage->room, last);
            stage->named = stage->count;
        }
    }
    reader_end(&reader);
    if (stage != NULL && stage->count == record.pieces) {
        /* Of the old ones those count that the stage has not replaced yet. */
        size_t kept = 0;
        for (size_t i = 0; i < stage->old_count; i++) {
            if (cf_slice_cmp(cf_buf_slice(&stage->old[i]->is.cursor), ret->is.cursor) >= 0) {
                stage->old[kept++] = stage->old[i];
            } else {
                piece_free(stage->old[i]);
            }
        }
        stage->old_count = kept;
        cf_buf_add_slice(&stage->next, ret->is.cursor);
        return stage;
    }
    if (stage != NULL) {
        struct repl_side gone = {.stage = stage};
        copy_drop(&gone);
    }
    return NULL;
}

static void fetched(void *arg, cf_status status, const struct cf_error *err)
{
    struct copy_stage *stage = arg;
    stage->is_fetching = false;
    if (!stage->is_over && status != CF_OK) {
        stage_fail(stage, status, err);
    } else if (!stage->is_over) {
        stage_pump(stage);
    }
    stage_unref(stage);
}

/* The other nodes have what this one lacks: it may have been away when that came. */
static void complete(struct copy_stage *stage)
{
    CF_BUF(names) = {0};
    for (size_t i = 0; i < stage->count; i++) {
        if (!is_here(stage, &stage->pieces[i]->is)) {
            cf_buf_add(&names, stage->pieces[i]->is.run, RUN_NAME_SIZE);
        }
    }
    if (names.size != 0) {
        cf_info("replication", "%zu runs of the copy that is under way are with other nodes",
                names.size / RUN_NAME_SIZE);
        stage->refs++;
        stage->is_fetching = true;
        runs_fetch(stage->replication->node->runs, stage->record.generation, cf_buf_slice(&names),
                   fetched, stage);
    }
}

static bool is_able(struct node_replication *replication)
{
    return replication->node->runs != NULL &&
           raft_driver_level(replication->node->driver) >= LEVEL_RUNS;
}

bool copy_load(void *ctx, enum repl_kind kind, struct repl_stage *ret)
{
    struct node_replication *replication = ctx;
    struct repl_side *side = &replication->sides[kind];
    struct copy_stage *stage = is_able(replication) ? load(replication, kind, ret) : NULL;
    if (stage == NULL) {
        return false;
    }
    /* One that has lost runs for good is known by its failure: all of it is old then, what is here is used. */
    bool is_lost = side->stage != NULL && side->stage->status == CF_NOT_FOUND;
    copy_drop(side);
    side->stage = stage;
    side->stage_generation = stage->record.generation;
    if (is_lost) {
        return false;
    }
    complete(stage);
    return true;
}

static bool begin_record(struct node_replication *replication, enum repl_kind kind,
                         struct stage_record *ret)
{
    struct reader reader;
    struct set_link link;
    bool fine = reader_begin(&reader, replication->node) &&
                set_read_link(&reader.rq, repl_set_kind(kind), &link, NULL) == CF_OK;
    if (fine) {
        *ret = (struct stage_record){.started_ns = link.started_ns, .index = reader.rq.view->index};
        cf_random_fill(core_random(), &ret->id, sizeof(ret->id));
        do {
            cf_random_fill(core_random(), &ret->generation, sizeof(ret->generation));
        } while (ret->generation == 0 || ret->generation == UINT32_MAX ||
                 ret->generation == reader.rq.view->generation[class_number(CLASS_REPLICATED)] ||
                 ret->generation == reader.rq.view->generation[class_number(CLASS_CLUSTER)]);
    }
    reader_end(&reader);
    return fine;
}

bool copy_begin(struct node_replication *replication, enum repl_kind kind)
{
    struct repl_side *side = &replication->sides[kind];
    struct repl_stage ignored = {.cursor.max = SECONDARY_CURSOR_MAX};
    struct stage_record record;
    if (!is_able(replication) || !begin_record(replication, kind, &record)) {
        copy_drop(side);
        return false;
    }
    struct copy_stage *before = side->stage;
    side->stage = NULL;
    if (before == NULL) {
        before = load(replication, kind, &ignored);
    }
    struct copy_stage *stage = stage_new(replication, kind);
    stage->record = record;
    if (before != NULL && before->record.started_ns == record.started_ns) {
        stage->record.generation = before->record.generation;
        stage->record.index = before->record.index;
        for (size_t i = 0; i < before->named; i++) {
            keep_old(stage, &before->pieces[i]->is);
        }
        for (size_t i = 0; i < before->old_count; i++) {
            if (before->named == 0 ||
                cf_slice_cmp(cf_buf_slice(&before->old[i]->is.cursor),
                             cf_buf_slice(&before->pieces[before->named - 1]->is.next)) >= 0) {
                keep_old(stage, &before->old[i]->is);
            }
        }
        cf_info("replication", "%s: another snapshot of the primary: of %zu pages that are here only "
                               "those that differ are taken again",
                repl_kind_name(kind), stage->old_count);
    }
    struct repl_side gone = {.stage = before};
    copy_drop(&gone);
    cf_buf_done(&ignored.cursor);
    side->stage = stage;
    side->stage_generation = stage->record.generation;
    return true;
}

/* node/server/replication/stage.c: a copy under way, on the receiving node (design 5.3).
 *
 *   page -> worker: a run (runs.h) -> all other nodes -> a majority has synced it -> its name in the log
 *
 * Several pages are on their way at once, bounded in bytes; names enter the log in the order of the pages, together with the
 * record of how far the copy is. Whoever receives next goes on from there (stage_load.c). */
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/base/step.h"
#include "node/server/replication/stage_int.h"

#define IN_FLIGHT_MAX ((size_t)16 << 20) /* bytes of pages that a majority does not have yet */
#define NAMES_AT_ONCE ((size_t)256)
#define SETTLE_US ((uint64_t)5 * 1000000) /* the switch waits so long for nodes beyond the majority */
#define TICK_US ((uint64_t)200 * 1000)

/* ---- life ---- */

void piece_free(struct piece *piece)
{
    cf_buf_done(&piece->is.cursor);
    cf_buf_done(&piece->is.next);
    cf_buf_done(&piece->behind.cursor);
    cf_free(piece);
}

void stage_add(struct piece ***list, size_t *count, size_t *room, struct piece *piece)
{
    if (*count == *room) {
        *room = cf_max(2 * *room, 64);
        *list = cf_realloc(*list, *room * sizeof(**list));
    }
    (*list)[(*count)++] = piece;
}

void stage_unref(struct copy_stage *stage)
{
    if (--stage->refs > 0) {
        return;
    }
    for (size_t i = 0; i < stage->count; i++) {
        piece_free(stage->pieces[i]);
    }
    for (size_t i = 0; i < stage->old_count; i++) {
        piece_free(stage->old[i]);
    }
    cf_free(stage->pieces);
    cf_free(stage->old);
    cf_buf_done(&stage->next);
    cf_free(stage);
}

static void on_tick(void *arg)
{
    struct copy_stage *stage = arg;
    loop_timer_set_in(stage->timer, TICK_US);
    stage_pump(stage);
}

struct copy_stage *stage_new(struct node_replication *replication, enum repl_kind kind)
{
    struct copy_stage *stage = cf_new(struct copy_stage);
    stage->refs = 1;
    stage->replication = replication;
    stage->kind = kind;
    stage->timer = loop_timer_new(replication->node->loop, on_tick, stage);
    loop_timer_set_in(stage->timer, TICK_US);
    return stage;
}

void stage_fail(struct copy_stage *stage, cf_status status, const struct cf_error *err)
{
    repl_done_fn taken = stage->taken, ready = stage->ready;
    if (stage->status == CF_OK) {
        stage->status = status;
        stage->err = *err;
    }
    stage->taken = stage->ready = NULL;
    if (taken != NULL) {
        taken(stage->taken_arg, stage->status, &stage->err);
    }
    if (ready != NULL) {
        ready(stage->ready_arg, stage->status, &stage->err);
    }
}

void copy_drop(struct repl_side *side)
{
    struct copy_stage *stage = side->stage;
    struct cf_error err = {0};
    side->stage = NULL;
    if (stage != NULL) {
        stage->is_over = true;
        loop_timer_free(stage->timer);
        stage->timer = NULL;
        stage_fail(stage, cf_fail(&err, CF_UNAVAILABLE, "this node does not receive any more"), &err);
        stage_unref(stage);
    }
}

/* ---- names enter the log ---- */

struct naming {
    struct copy_stage *stage;
    struct node_replication *replication;
    enum repl_kind kind;
    size_t first, count;
    struct stage_record of;
    struct cf_buf record, pieces; /* pieces: size 4, bytes, each */
    cf_status status;
    struct cf_error err;
};

static cf_status write_names(struct request *rq, void *context, struct cf_error *err)
{
    const struct naming *naming = context;
    struct repl_stage ignored = {.cursor.max = SECONDARY_CURSOR_MAX};
    struct stage_record there;
    struct cf_slice bytes;
    struct set_link link;
    struct cf_slice rest = cf_buf_slice(&naming->pieces);
    CF_TRY(set_read_link(rq, repl_set_kind(naming->kind), &link, err));
    if (link.started_ns != naming->of.started_ns) {
        return cf_fail(err, CF_CONFLICT, "the copy is for a link that is no more");
    }
    /* Late words of a stage that another one has replaced would mix the pages of both. The first word replaces. */
    bool is_other = naming->first != 0 &&
                    (set_read_bytes(rq, stage_key(naming->kind), &bytes, NULL) != CF_OK ||
                     stage_decode(bytes, &there, &ignored, NULL) != CF_OK || there.id != naming->of.id);
    cf_buf_done(&ignored.cursor);
    if (is_other) {
        return cf_fail(err, CF_CONFLICT, "the copy was begun anew");
    }
    for (size_t i = 0; i < naming->count; i++) {
        bytes = cf_slice_first(cf_slice_from(rest, 4), cf_get_u32(rest.data));
        txn_put(rq->txn, stage_piece_key(naming->kind, naming->first + i, rq->arena), bytes);
        rest = cf_slice_from(rest, 4 + bytes.size);
    }
    txn_put(rq->txn, stage_key(naming->kind), cf_buf_slice(&naming->record));
    return CF_OK;
}

static void named(void *arg)
{
    struct naming *naming = arg;
    struct copy_stage *stage = naming->stage;
    stage->is_naming = false;
    cf_step("page");
    if (!stage->is_over && naming->status != CF_OK) {
        stage_fail(stage, naming->status, &naming->err);
    } else if (!stage->is_over) {
        stage->named = naming->first + naming->count;
        stage_pump(stage);
    }
    stage_unref(stage);
    cf_buf_done(&naming->record);
    cf_buf_done(&naming->pieces);
    cf_free(naming);
}

static void written(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct naming *naming = context;
    (void)index;
    naming->status = status;
    naming->err = *err;
    loop_post(naming->replication->node->loop, named, naming);
}

static void add_piece(struct cf_buf *to, const struct stage_piece *piece, uint32_t generation)
{
    size_t at = to->size;
    cf_buf_add_u32(to, 0);
    stage_piece_encode(piece, generation, to);
    cf_put_u32(to->data + at, (uint32_t)(to->size - at - 4));
}

static void name_some(struct copy_stage *stage)
{
    size_t to = stage->named;
    while (to < stage->count && stage->pieces[to]->is_safe && to - stage->named < NAMES_AT_ONCE) {
        to++;
    }
    if (stage->is_naming || to == stage->named) {
        return;
    }
    struct naming *naming = cf_new(struct naming);
    naming->stage = stage;
    naming->replication = stage->replication;
    naming->kind = stage->kind;
    naming->first = stage->named;
    naming->count = to - stage->named;
    naming->of = stage->record;
    for (size_t i = stage->named; i < to; i++) {
        add_piece(&naming->pieces, &stage->pieces[i]->is, stage->record.generation);
    }
    struct repl_stage *behind = &stage->pieces[to - 1]->behind;
    behind->is.cursor = cf_buf_slice(&behind->cursor);
    stage->record.pieces = to;
    stage_encode(&stage->record, behind, &naming->record);
    stage->refs++;
    stage->is_naming = true;
    struct system_work work = {write_names, written, naming};
    system_submit(stage->replication->node->core, &work);
}

void stage_pump(struct copy_stage *stage)
{
    static const struct cf_error fine;
    if (stage->is_over || stage->status != CF_OK) {
        return;
    }
    name_some(stage);
    if (stage->taken != NULL && stage->in_flight < IN_FLIGHT_MAX) {
        repl_done_fn taken = stage->taken;
        stage->taken = NULL;
        taken(stage->taken_arg, CF_OK, &fine);
    }
    bool settled = stage->pushes == 0 || loop_now_us() - stage->ready_us > SETTLE_US;
    if (stage->ready != NULL && stage->named == stage->count && !stage->is_fetching && settled) {
        repl_done_fn ready = stage->ready;
        stage->ready = NULL;
        ready(stage->ready_arg, CF_OK, &fine);
    }
}

/* ---- the table ---- */

void copy_page(struct node_replication *replication, enum repl_kind kind, struct cf_buf *bytes,
                bool same, const struct repl_stage *behind, repl_done_fn done, void *arg)
{
    struct copy_stage *stage = replication->sides[kind].stage;
    struct cf_error err = {0};
    const struct piece *old = same ? stage_old(stage, cf_buf_slice(&stage->next)) : NULL;
    if (stage->status == CF_OK && same &&
        (old == NULL || !cf_slice_eq(cf_buf_slice(&old->is.cursor), cf_buf_slice(&stage->next)))) {
        stage_fail(stage, cf_fail(&err, CF_CORRUPT, "the primary compared a page that nobody asked about"),
             &err);
    }
    if (stage->status != CF_OK) {
        done(arg, stage->status, &stage->err);
        return;
    }
    struct piece *piece = cf_new(struct piece);
    cf_buf_add_slice(&piece->is.cursor, cf_buf_slice(&stage->next));
    cf_buf_add_slice(&piece->is.next, behind->is.cursor);
    piece->behind = *behind;
    piece->behind.cursor = (struct cf_buf){0};
    cf_buf_add_slice(&piece->behind.cursor, behind->is.cursor);
    cf_buf_reset(&stage->next);
    cf_buf_add_slice(&stage->next, behind->is.cursor);
    stage_add(&stage->pieces, &stage->count, &stage->room, piece);
    stage->taken = done;
    stage->taken_arg = arg;
    if (old != NULL) {
        piece->is.has_run = old->is.has_run;
        memcpy(piece->is.run, old->is.run, sizeof(old->is.run));
        memcpy(piece->is.page, old->is.page, sizeof(old->is.page));
        piece->is_safe = true;
        stage_pump(stage);
        return;
    }
    piece->size = bytes->size;
    stage->in_flight += piece->size;
    stage_make(stage, piece, bytes);
    stage_pump(stage);
}

void copy_finish(struct node_replication *replication, enum repl_kind kind, repl_done_fn ready,
                  void *arg)
{
    struct copy_stage *stage = replication->sides[kind].stage;
    if (stage->status != CF_OK) {
        ready(arg, stage->status, &stage->err);
        return;
    }
    stage->ready = ready;
    stage->ready_arg = arg;
    stage->ready_us = loop_now_us();
    stage_pump(stage);
}

const struct cf_slice *copy_run_names(struct repl_side *side, struct arena *arena, size_t *count)
{
    const struct copy_stage *stage = side->stage;
    struct cf_slice *names = arena_alloc(arena, (stage->count + 1) * sizeof(*names));
    *count = 0;
    for (size_t i = 0; i < stage->count; i++) {
        if (stage->pieces[i]->is.has_run) {
            names[(*count)++] = cf_slice_of(stage->pieces[i]->is.run, RUN_NAME_SIZE);
        }
    }
    return names;
}

/* node/server/replication/stage.c: a copy under way, on the receiving node (design 5.3).
 *
 *   page -> worker: a run (runs.h) -> all other nodes -> a majority has synced it -> its name in the log
 *
 * Several pages are on their way at once, bounded in bytes; names enter the log in the order of the pages, together with the
 * record of how far the copy is. Whoever receives next goes on from there. A name remembers its page, too: where the primary
 * has to open another snapshot (its node is gone), pages that did not change since are not moved again. */
#include <stdio.h>

#include "consensus/driver/driver.h"
#include "node/base/level.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/base/step.h"
#include "node/core/system.h"
#include "node/crypto/hash.h"
#include "node/server/replication/codec.h"
#include "node/server/replication/repl_int.h"
#include "node/server/replication/runs.h"
#include "node/server/replication/stage_record.h"

#define IN_FLIGHT_MAX ((size_t)16 << 20) /* bytes of pages that a majority does not have yet */
#define NAMES_AT_ONCE ((size_t)256)
#define SETTLE_US ((uint64_t)5 * 1000000) /* the switch waits so long for nodes beyond the majority */
#define TICK_US ((uint64_t)200 * 1000)

struct piece {
    struct stage_piece is;
    struct repl_stage behind; /* until it is named */
    size_t size;              /* of its page, while it counts as in flight */
    bool is_made, is_safe;
    unsigned have, needed, asked;
};

struct copy_stage {
    unsigned refs;
    bool is_over;
    struct node_replication *replication;
    enum repl_kind kind;
    struct stage_record record; /* as the next naming writes it */
    struct piece **pieces;
    size_t count, room, named;
    struct piece **old; /* of the snapshot before this one, by cursor */
    size_t old_count, old_room;
    struct cf_buf next; /* where the next page begins */
    size_t in_flight, pushes;
    bool is_naming, is_fetching;
    cf_status status;
    struct cf_error err;
    repl_done_fn taken; /* the last page's */
    void *taken_arg;
    repl_done_fn ready;
    void *ready_arg;
    uint64_t ready_us;
    struct loop_timer *timer;
};

static void pump(struct copy_stage *stage);

/* ---- life ---- */

static void piece_free(struct piece *piece)
{
    cf_buf_done(&piece->is.cursor);
    cf_buf_done(&piece->is.next);
    cf_buf_done(&piece->behind.cursor);
    cf_free(piece);
}

static void add(struct piece ***list, size_t *count, size_t *room, struct piece *piece)
{
    if (*count == *room) {
        *room = cf_max(2 * *room, 64);
        *list = cf_realloc(*list, *room * sizeof(**list));
    }
    (*list)[(*count)++] = piece;
}

static void unref(struct copy_stage *stage)
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
    pump(stage);
}

static struct copy_stage *stage_new(struct node_replication *replication, enum repl_kind kind)
{
    struct copy_stage *stage = cf_new(struct copy_stage);
    stage->refs = 1;
    stage->replication = replication;
    stage->kind = kind;
    stage->timer = loop_timer_new(replication->node->loop, on_tick, stage);
    loop_timer_set_in(stage->timer, TICK_US);
    return stage;
}

/* Everybody who waits hears it. */
static void fail(struct copy_stage *stage, cf_status status, const struct cf_error *err)
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
        fail(stage, cf_fail(&err, CF_UNAVAILABLE, "this node does not receive any more"), &err);
        unref(stage);
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
        fail(stage, naming->status, &naming->err);
    } else if (!stage->is_over) {
        stage->named = naming->first + naming->count;
        pump(stage);
    }
    unref(stage);
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

static void pump(struct copy_stage *stage)
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

/* ---- a run goes to the other nodes ---- */

struct sent {
    struct copy_stage *stage;
    struct piece *piece;
    bool is_voter;
};

static void judge(struct copy_stage *stage, struct piece *piece)
{
    struct cf_error err = {0};
    if (!piece->is_safe && piece->have >= piece->needed) {
        piece->is_safe = true;
        stage->in_flight -= piece->size;
    } else if (!piece->is_safe && piece->have + piece->asked < piece->needed) {
        fail(stage, cf_fail(&err, CF_UNAVAILABLE, "no majority of this cluster takes the copy"), &err);
    }
    pump(stage);
}

static void on_sent(void *arg, cf_status status, const struct cf_error *err)
{
    struct sent *sent = arg;
    struct copy_stage *stage = sent->stage;
    stage->pushes--;
    sent->piece->asked -= sent->is_voter;
    sent->piece->have += sent->is_voter && status == CF_OK;
    if (!stage->is_over) {
        if (status != CF_OK) {
            cf_debug("replication", "a node did not take a run of the copy: %s", err->message);
        }
        judge(stage, sent->piece);
    }
    unref(stage);
    cf_free(sent);
}

static void push(struct copy_stage *stage, struct piece *piece, struct cf_slice message)
{
    struct node *node = stage->replication->node;
    struct raft_driver_status *status = cf_new(struct raft_driver_status);
    unsigned voters = 0;
    raft_driver_status(node->driver, status);
    for (size_t i = 0; i < status->peer_count; i++) {
        const struct raft_peer_info *peer = &status->peers[i];
        bool is_voter = (peer->role & RAFT_VOTER) != 0;
        voters += is_voter;
        if (peer->id == status->id) {
            piece->have += is_voter;
            continue;
        }
        struct sent *sent = cf_new(struct sent);
        *sent = (struct sent){stage, piece, is_voter};
        stage->refs++;
        stage->pushes++;
        piece->asked += is_voter;
        runs_push(node->runs, peer->id, message, on_sent, sent);
    }
    piece->needed = voters / 2 + 1;
    cf_free(status);
}

/* ---- a page becomes a run ---- */

struct making {
    struct copy_stage *stage;
    struct piece *piece;
    struct runs *runs;
    struct loop *loop;
    enum repl_kind kind;
    uint32_t generation;
    uint64_t index, term;
    struct cf_buf page, message;
    struct stage_piece made;
    cf_status status;
    struct cf_error err;
};

static void made(void *arg)
{
    struct making *making = arg;
    struct copy_stage *stage = making->stage;
    struct piece *piece = making->piece;
    if (!stage->is_over && making->status != CF_OK) {
        cf_err("replication", "%s: a page of the copy: %s %s", repl_kind_name(stage->kind),
               making->err.message, making->err.detail);
        fail(stage, making->status, &making->err);
    } else if (!stage->is_over) {
        piece->is.has_run = making->made.has_run;
        memcpy(piece->is.run, making->made.run, sizeof(piece->is.run));
        memcpy(piece->is.page, making->made.page, sizeof(piece->is.page));
        if (piece->is.has_run) {
            push(stage, piece, cf_buf_slice(&making->message));
        }
        judge(stage, piece);
    }
    unref(stage);
    cf_buf_done(&making->page);
    cf_buf_done(&making->message);
    cf_free(making);
}

static cf_status make_run(struct making *making, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(65536);
    CF_BUF(bytes) = {.max = RUN_BYTES_MAX};
    const struct op *ops;
    size_t count;
    struct cf_slice page = cf_buf_slice(&making->page);
    hash_sha256(page, making->made.page);
    CF_TRY(codec_records(making->kind, page, arena, &ops, &count, err));
    making->made.has_run = count != 0;
    if (count == 0) {
        return CF_OK;
    }
    CF_TRY(runs_make(making->runs, making->generation, making->index, ops, count, making->made.run,
                     &bytes, err));
    runs_message(making->term, making->generation,
                 cf_slice_of(making->made.run, sizeof(making->made.run)), cf_buf_slice(&bytes),
                 &making->message);
    return CF_OK;
}

static void make(void *arg)
{
    struct making *making = arg;
    making->status = make_run(making, &making->err);
    loop_post(making->loop, made, making);
}

static void start_making(struct copy_stage *stage, struct piece *piece, struct cf_buf *page)
{
    struct node *node = stage->replication->node;
    struct making *making = cf_new(struct making);
    stage->refs++;
    making->stage = stage;
    making->piece = piece;
    making->runs = node->runs;
    making->loop = node->loop;
    making->kind = stage->kind;
    making->generation = stage->record.generation;
    making->index = stage->record.index;
    making->term = raft_driver_term(node->driver);
    making->page = *page;
    *page = (struct cf_buf){0};
    core_work(node->core, make, making);
}

/* ---- what an earlier snapshot has left ---- */

/* The first of the old ones at the cursor or behind it; NULL: none. */
static const struct piece *old_at(const struct copy_stage *stage, struct cf_slice cursor)
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
    const struct piece *old = stage != NULL ? old_at(stage, cursor) : NULL;
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
    add(&stage->old, &stage->old_count, &stage->old_room, piece);
}

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
            add(&stage->pieces, &stage->count, &stage->room, last);
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
        fail(stage, status, err);
    } else if (!stage->is_over) {
        pump(stage);
    }
    unref(stage);
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

void copy_page(struct node_replication *replication, enum repl_kind kind, struct cf_buf *bytes,
                bool same, const struct repl_stage *behind, repl_done_fn done, void *arg)
{
    struct copy_stage *stage = replication->sides[kind].stage;
    struct cf_error err = {0};
    const struct piece *old = same ? old_at(stage, cf_buf_slice(&stage->next)) : NULL;
    if (stage->status == CF_OK && same &&
        (old == NULL || !cf_slice_eq(cf_buf_slice(&old->is.cursor), cf_buf_slice(&stage->next)))) {
        fail(stage, cf_fail(&err, CF_CORRUPT, "the primary compared a page that nobody asked about"),
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
    add(&stage->pieces, &stage->count, &stage->room, piece);
    stage->taken = done;
    stage->taken_arg = arg;
    if (old != NULL) {
        piece->is.has_run = old->is.has_run;
        memcpy(piece->is.run, old->is.run, sizeof(old->is.run));
        memcpy(piece->is.page, old->is.page, sizeof(old->is.page));
        piece->is_safe = true;
        pump(stage);
        return;
    }
    piece->size = bytes->size;
    stage->in_flight += piece->size;
    start_making(stage, piece, bytes);
    pump(stage);
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
    pump(stage);
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

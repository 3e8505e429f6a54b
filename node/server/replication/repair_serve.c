/* node/server/replication/repair_serve.c: the primary's side of repairs and comparisons: its tree, and what of its
 * records somebody lacks. Decided on a worker, on one moment of the state; what the log says, on the main loop. */
#include "consensus/driver/driver.h"
#include "consensus/driver/store.h"
#include "node/base/memory.h"
#include "node/server/replication/codec.h"
#include "node/server/replication/repl_int.h"
#include "node/server/replication/tree.h"
#include "proto/message.h"
#include "proto/repl.pb-c.h"
#include "replication/core/repair.h"

#define ANSWER_BYTES ((size_t)4 << 20)         /* of records; then the secondary asks on */
#define LOG_ENTRIES_MAX ((uint64_t)100000)     /* that a comparison looks through */
#define LOG_BYTES ((size_t)1 << 20)

/* What one secondary compares itself with: data and tree of one moment, through its filter. */
struct repair_source {
    _Atomic unsigned references;
    struct node *node;
    enum repl_kind kind;
    struct view *view;     /* that the filter is of */
    struct filter *filter; /* NULL: everything */
    bool is_ready, is_busy;
    struct tree_base *base;     /* NULL: the view's moment */
    struct state_moment moment; /* borrowed: of base or view */
    struct repl_tree *tree;
    struct repl_position position;
    uint64_t keys;
    struct repair_question question; /* that is being answered */
    uint8_t *seen;                   /* which of its records are here, too */
};

struct serving {
    struct node_replication *replication;
    struct repair_source *source;
    struct repl_reply *reply;
    struct cf_buf question, answer;
    cf_status status;
    struct cf_error err;
    /* of a comparison */
    bool compares, differs;
    struct repl_position theirs;
};

/* ---- sources ---- */

static struct repair_source *source_new(struct node *node, enum repl_kind kind, struct view *view,
                                        struct filter *filter)
{
    struct repair_source *source = cf_new(struct repair_source);
    atomic_init(&source->references, 1);
    source->node = node;
    source->kind = kind;
    source->view = view_ref(view);
    source->filter = filter != NULL ? filter_ref(filter) : NULL;
    source->tree = cf_new(struct repl_tree);
    return source;
}

void repair_source_unref(struct repair_source *source)
{
    if (source != NULL && atomic_fetch_sub(&source->references, 1) == 1) {
        tree_base_unref(source->base);
        filter_unref(source->filter);
        view_unref(source->view);
        repair_question_done(&source->question);
        cf_free(source->seen);
        cf_free(source->tree);
        cf_free(source);
    }
}

static bool passes(void *context, struct key key)
{
    return filter_passes(context, key);
}

/* A filter that has no rule holds nothing back but the records of others' filters: the kept tree will do. One
 * that has rules knows the mounts of its view, and no later ones: the view is what is compared. */
static cf_status prepare(struct repair_source *source, struct cf_error *err)
{
    struct filter *filter = source->filter;
    struct tree_filter without = {passes, filter, CF_SLICE(AREA_FILTER)};
    struct raft_applied applied;
    bool kept = filter == NULL || filter->rules.mode == FILTER_NONE;
    if (kept) {
        CF_TRY(state_tree_now(source->node->tree, source->kind, filter != NULL ? &without : NULL,
                              source->tree, &source->base, err));
        source->moment = source->base->moment;
    } else {
        const struct view *view = source->view;
        source->moment = (struct state_moment){
            .db = view->db, .family = view->state, .snapshot = view->snapshot, .index = view->index};
        memcpy(source->moment.generation, view->generation, sizeof(view->generation));
        without.within = CF_SLICE_EMPTY;
        CF_TRY(state_tree_read(&source->moment, source->kind, &without, source->tree, err));
    }
    /* What the snapshot itself says: a batch may be in it that was not published yet. */
    CF_TRY(raft_store_read_applied((struct kv_view){source->moment.db, source->moment.snapshot},
                                   source->moment.family, &applied, err));
    source->position.term = applied.term;
    source->position.index = applied.index;
    source->is_ready = true;
    return CF_OK;
}

/* ---- records ---- */

struct missing {
    struct repair_source *source;
    struct arena *arena;
    struct op *ops;
    size_t count, room, bytes;
    struct cf_buf *next;
    bool is_full;
};

static void add_missing(struct missing *missing, struct key key, struct cf_slice sealed)
{
    if (missing->count == missing->room) {
        size_t room = cf_max(2 * missing->room, 64);
        struct op *fresh = arena_alloc_raw(missing->arena, room * sizeof(*fresh));
        if (missing->count != 0) {
            memcpy(fresh, missing->ops, missing->count * sizeof(*fresh));
        }
        missing->ops = fresh;
        missing->room = room;
    }
    key.name = arena_copy(missing->arena, key.name);
    missing->ops[missing->count++] =
        (struct op){.kind = OP_PUT, .key = key, .value = arena_copy(missing->arena, sealed)};
    missing->bytes += key.name.size + sealed.size + 32;
}

static void look_at(struct missing *missing, struct cf_slice stored, struct cf_slice value)
{
    struct repair_source *source = missing->source;
    struct repair_question *question = &source->question;
    struct key key;
    uint32_t generation;
    uint8_t hash[REPL_HASH_SIZE];
    if (!key_decode(stored, &key, &generation) || value.size < VALUE_HEADER_SIZE) {
        return;
    }
    unsigned leaf = repl_tree_leaf(key.name);
    if (!repl_leaf_set_has(&question->leaves, leaf) || !filter_passes(source->filter, key)) {
        return;
    }
    struct cf_slice sealed = cf_slice_from(value, VALUE_HEADER_SIZE);
    tree_record_hash(key, sealed, hash);
    size_t at = repair_find(question->records, question->count, leaf, hash);
    if (at != SIZE_MAX) {
        source->seen[at] = 1;
        return;
    }
    add_missing(missing, key, sealed);
    if (missing->bytes >= ANSWER_BYTES) {
        missing->is_full = true;
        cf_buf_add_slice(missing->next, stored);
        cf_buf_add_byte(missing->next, 0);
    }
}

static cf_status look_through(struct missing *missing, struct cf_slice cursor, struct cf_error *err)
{
    static const uint8_t classes[] = {CLASS_CLUSTER, CLASS_REPLICATED}; /* as they are stored */
    const struct state_moment *at = &missing->source->moment;
    for (size_t i = 0; i < sizeof(classes) && !missing->is_full; i++) {
        uint8_t lower[5] = {classes[i]}, upper[5] = {classes[i]};
        uint32_t generation = at->generation[class_number(classes[i])];
        cf_put_u32(lower + 1, generation);
        cf_put_u32(upper + 1, generation + 1);
        struct cf_slice from = cf_slice_of(lower, 5), to = cf_slice_of(upper, 5);
        if (!codec_ships(missing->source->kind, classes[i]) || cf_slice_cmp(cursor, to) >= 0) {
            continue;
        }
        struct kv_range range = {cf_slice_cmp(cursor, from) > 0 ? cursor : from, to, true};
        CF_OWNED(kv_iterator) it =
            kv_iterator_new((struct kv_view){at->db, at->snapshot}, at->family, range);
        for (kv_seek_first(it); kv_valid(it) && !missing->is_full; kv_next(it)) {
            look_at(missing, kv_key(it), kv_bytes(it));
        }
        CF_TRY(kv_iterator_check(it, err));
    }
    return CF_OK;
}

static cf_status answer_records(struct repair_source *source, const Coffer__Repl__Repair *question,
                                struct arena *arena, Coffer__Repl__Repaired *answer,
                                struct cf_error *err)
{
    struct cf_buf *records = arena_new_object(arena, struct cf_buf);
    CF_BUF(next) = {0};
    CF_BUF(surplus) = {0};
    if (question->cursor.len == 0) {
        repair_question_done(&source->question);
        cf_free(source->seen);
        source->seen = NULL;
        CF_TRY(repair_decode(message_slice(question->question), &source->question, err));
        source->seen = cf_array(source->question.count + 1, 1);
    } else if (source->seen == NULL) {
        return cf_fail(err, CF_INVALID, "a repair goes on that was not begun");
    }
    struct missing missing = {.source = source, .arena = arena, .next = &next};
    CF_TRY(look_through(&missing, message_slice(question->cursor), err));
    struct command command = {
        .id = COMMAND_STAGE, .ops = missing.ops, .op_count = missing.count, .is_mirrored = true};
    cf_status status = command_encode(records, &command, err);
    for (size_t i = 0; !missing.is_full && i < source->question.count; i++) {
        if (source->seen[i] == 0) {
            cf_buf_add_u32(&surplus, (uint32_t)i);
        }
    }
    answer->records = message_bytes(arena_copy(arena, cf_buf_slice(records)));
    cf_buf_done(records);
    answer->next = message_bytes(arena_copy(arena, cf_buf_slice(&next)));
    answer->surplus = message_bytes(arena_copy(arena, cf_buf_slice(&surplus)));
    return status;
}

/* ---- answers ---- */

static cf_status answer(struct serving *serving, struct cf_error *err)
{
    struct repair_source *source = serving->source;
    CF_OWNED(arena) arena = arena_new(64 * 1024);
    Coffer__Repl__Repair *question;
    Coffer__Repl__Repaired told = COFFER__REPL__REPAIRED__INIT;
    CF_BUF(leaves) = {0};
    CF_BUF(position) = {0};
    CF_TRY(message_unpack(coffer__repl__repair, cf_buf_slice(&serving->question), arena, &question,
                          err));
    if (!source->is_ready) {
        CF_TRY(prepare(source, err));
    }
    if (question->question.len != 0 || question->cursor.len != 0) {
        CF_TRY(answer_records(source, question, arena, &told, err));
    } else if (question->pages.len != 0) {
        CF_TRY(repair_answer_leaves(source->tree, message_slice(question->pages), &leaves, err));
    } else {
        repl_position_encode(&source->position, &position);
        told.position = message_bytes(cf_buf_slice(&position));
        told.root = message_bytes(cf_slice_of(source->tree->root, REPL_HASH_SIZE));
        serving->differs = serving->compares &&
                           (question->root.len != REPL_HASH_SIZE ||
                            memcmp(question->root.data, source->tree->root, REPL_HASH_SIZE) != 0);
        if (serving->differs) {
            uint8_t all[REPL_TREE_PAGES];
            for (unsigned i = 0; i < REPL_TREE_PAGES; i++) {
                all[i] = (uint8_t)i;
            }
            CF_TRY(repair_answer_leaves(source->tree, cf_slice_of(all, sizeof(all)), &leaves, err));
        } else if (!serving->compares) {
            told.pages = message_bytes(
                cf_slice_of(&source->tree->pages[0][0], sizeof(source->tree->pages)));
        }
    }
    told.leaves = message_bytes(cf_buf_slice(&leaves));
    message_pack(&told.base, &serving->answer);
    return CF_OK;
}

static void touch(struct repl_leaf_set *set, const struct op *ops, size_t count, bool *is_range)
{
    for (size_t i = 0; i < count; i++) {
        repl_leaf_set_add(set, repl_tree_leaf(ops[i].key.name));
        *is_range = *is_range || ops[i].kind == OP_DELETE_PREFIX;
    }
}

/* Which leaves our log has changed between the secondary's position and our moment: those can't be compared.
 * CF_BUSY: it can't be told at that position. */
static cf_status touched_since(struct node_replication *replication,
                               const struct repl_position *from, const struct repl_position *to,
                               struct repl_leaf_set *ret, struct cf_error *err)
{
    struct raft_driver *raft = replication->node->driver;
    uint64_t term, at = from->index + 1;
    if (!repl_epoch_equal(&from->epoch, &to->epoch) || from->index > to->index ||
        to->index - from->index > LOG_ENTRIES_MAX ||
        raft_driver_log_term(raft, from->index, &term, NULL) != CF_OK || term != from->term) {
        return cf_fail(err, CF_BUSY, "nothing can be compared at that position");
    }
    while (at <= to->index) {
        struct raft_log_run run;
        CF_OWNED(arena) arena = arena_new(64 * 1024);
        CF_TRY(raft_driver_log_read(raft, at, LOG_BYTES, &run, err));
        bool is_lost = run.count == 0;
        for (size_t i = 0; i < run.count && !is_lost; i++, at++) {
            struct command command = {0};
            if (run.entries[i]->type != RAFT_ENTRY_DATA) {
                continue;
            }
            is_lost = command_decode(run.entries[i]->payload, arena, &command, err) != CF_OK ||
                      command.id == COMMAND_SWITCH;
            touch(ret, command.ops, command.op_count, &is_lost);
            for (size_t n = 0; n < command.entry_count; n++) {
                touch(ret, command.entries[n].ops, command.entries[n].op_count, &is_lost);
            }
        }
        raft_log_run_done(&run);
        if (is_lost) {
            return cf_fail(err, CF_BUSY, "nothing can be compared at that position");
        }
    }
    return CF_OK;
}

/* Adds what is known of the log to the answer of a comparison that found a difference. */
static cf_status add_touched(struct serving *serving, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(4096);
    Coffer__Repl__Repaired told = COFFER__REPL__REPAIRED__INIT;
    struct repl_leaf_set *set = arena_new_object(arena, struct repl_leaf_set);
    uint8_t *bits = arena_alloc(arena, REPL_TREE_LEAVES / 8);
    CF_TRY(touched_since(serving->replication, &serving->theirs, &serving->source->position, set,
                         err));
    for (unsigned leaf = repl_leaf_set_next(set, 0); leaf < REPL_TREE_LEAVES;
         leaf = repl_leaf_set_next(set, leaf + 1)) {
        bits[leaf / 8] |= (uint8_t)(1u << leaf % 8);
    }
    told.touched = message_bytes(cf_slice_of(bits, REPL_TREE_LEAVES / 8));
    message_pack(&told.base, &serving->answer); /* fields of a second message join the first */
    return CF_OK;
}

static void serving_done(void *arg)
{
    struct serving *serving = arg;
    struct repair_source *source = serving->source;
    source->is_busy = false;
    if (serving->status == CF_OK && serving->differs) {
        serving->status = add_touched(serving, &serving->err);
    }
    if (serving->status == CF_OK) {
        repl_reply_ok(serving->reply, cf_buf_slice(&serving->answer));
    } else {
        repl_reply_fail(serving->reply, &serving->err);
    }
    repair_source_unref(source);
    cf_buf_done(&serving->question);
    cf_buf_done(&serving->answer);
    cf_free(serving);
}

static void serve(void *arg)
{
    struct serving *serving = arg;
    serving->status = answer(serving, &serving->err);
    loop_post(serving->replication->node->loop, serving_done, serving);
}

/* ---- what is asked ---- */

static cf_status find_source(struct node_replication *replication, enum repl_kind kind,
                             const char *id, uint64_t snapshot, struct repair_source **ret,
                             struct cf_error *err)
{
    struct repl_open_snapshot *open = snapshot != 0 ? repl_find_snapshot(replication, snapshot)
                                                    : NULL;
    if (open != NULL && repl_filter_stands(replication, open->filter)) {
        if (open->source == NULL) {
            open->source = source_new(replication->node, kind, open->view, open->filter);
            open->source->position.epoch = repl_lineage_current(&replication->sides[kind].lineage);
        }
        if (open->source->is_busy) {
            return cf_fail(err, CF_BUSY, "the question before is still being answered");
        }
        atomic_fetch_add(&open->source->references, 1);
        *ret = open->source;
        return CF_OK;
    }
    if (snapshot != 0) {
        return cf_fail(err, CF_UNAVAILABLE, "that snapshot is gone");
    }
    struct filter *filter;
    CF_TRY(repl_filter_of(replication, kind, id, &filter, NULL, err));
    struct view *view = core_view(replication->node->core);
    if (view == NULL) {
        return cf_fail(err, CF_UNAVAILABLE, "there is no state yet");
    }
    *ret = source_new(replication->node, kind, view, filter);
    (*ret)->position.epoch = repl_lineage_current(&replication->sides[kind].lineage);
    view_unref(view);
    return CF_OK;
}

void repl_serve_repair(void *ctx, enum repl_kind kind, const char *id, uint64_t snapshot,
                       struct cf_slice question, struct repl_reply *reply)
{
    struct node_replication *replication = ctx;
    CF_OWNED(arena) arena = arena_new(4096);
    Coffer__Repl__Repair *message;
    struct repair_source *source;
    struct repl_position theirs = {0};
    struct cf_error err = {0};
    cf_status status = message_unpack(coffer__repl__repair, question, arena, &message, &err);
    if (status == CF_OK && snapshot == 0) {
        status = repl_position_decode(message_slice(message->position), &theirs, &err);
    }
    if (status == CF_OK) {
        status = find_source(replication, kind, id, snapshot, &source, &err);
    }
    if (status != CF_OK) {
        repl_reply_fail(reply, &err);
        return;
    }
    struct serving *serving = cf_new(struct serving);
    *serving = (struct serving){.replication = replication,
                                .source = source,
                                .reply = reply,
                                .compares = snapshot == 0,
                                .theirs = theirs};
    cf_buf_add_slice(&serving->question, question);
    source->is_busy = true;
    core_work(replication->node->core, serve, serving);
}

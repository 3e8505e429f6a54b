/* node/server/replication/repair.c: the secondary's side of repairs and comparisons.
 *
 * One step on a worker for each answer of the primary, until nothing is left to ask: then everything that differs goes
 * into one entry of our own log, together with the position, so that nobody ever sees half of it; and the root is
 * compared once more with the primary's before the repair counts. Nothing that came is believed: what was said and
 * what was sent have to add up, leaf by leaf, before anything is proposed. */
#include <stdlib.h>

#include "node/base/host.h"
#include "node/base/log.h"
#include "node/base/map.h"
#include "node/base/memory.h"
#include "node/server/replication/codec.h"
#include "node/server/replication/repl_int.h"
#include "node/server/replication/tree.h"
#include "proto/message.h"
#include "proto/repl.pb-c.h"
#include "replication/core/repair.h"

enum stage { STAGE_BEGIN, STAGE_OPENED, STAGE_LEAVES, STAGE_RECORDS, STAGE_COMMITTED, STAGE_THROUGH };

struct repair {
    struct node_replication *replication;
    enum repl_kind kind;
    uint64_t snapshot; /* 0: a comparison */
    struct repl_lineage lineage;
    struct cf_buf proof;
    bool is_ended, is_busy; /* ended: nobody waits for it any more */
    repl_question_fn done;
    void *arg;
    /* the worker's while it is busy */
    enum stage stage;
    struct cf_buf answer, question;
    cf_status status;
    struct cf_error err;
    bool proposes;
    struct arena *arena;
    struct repl_tree *ours, *theirs;
    struct tree_base *base;
    struct repl_position position; /* theirs */
    struct repl_leaf_set leaves;   /* that differ */
    struct cf_buf pages;           /* that were asked for */
    /* ours in leaves that differ, sorted; and their keys */
    struct repair_record *records;
    struct key *keys;
    size_t record_count, record_at; /* at: the first of the question under way */
    unsigned leaf, leaf_end;        /* of the question under way */
    size_t asked_count;
    struct op *ops; /* deletes and puts */
    size_t op_count, op_room, op_bytes;
    uint64_t put, deleted;
};

/* What fits into one entry of the log, with room for its own effects. */
#define REPAIR_BYTES_MAX (REPL_BATCH_BYTES_MAX - ((size_t)1 << 20))

static void repair_free(struct repair *repair)
{
    cf_buf_done(&repair->proof);
    cf_buf_done(&repair->answer);
    cf_buf_done(&repair->question);
    cf_buf_done(&repair->pages);
    tree_base_unref(repair->base);
    arena_free(repair->arena);
    cf_free(repair->records);
    cf_free(repair->keys);
    cf_free(repair->ops);
    cf_free(repair->ours);
    cf_free(repair->theirs);
    cf_free(repair);
}

/* ---- what is here ---- */

static cf_status read_position(struct repair *repair, struct repl_position *ret,
                               struct cf_error *err)
{
    const struct state_moment *at = &repair->base->moment;
    struct view *now = core_view(repair->replication->node->core);
    struct cf_slice bytes;
    if (now == NULL || now->keyring == NULL) {
        view_unref(now);
        return cf_fail(err, CF_SEALED, "Vault is sealed");
    }
    /* Our position stands in the same entry as the data that it is the position of. */
    struct view then = *now;
    then.db = at->db;
    then.state = at->family;
    then.snapshot = at->snapshot;
    memcpy(then.generation, at->generation, sizeof(then.generation));
    cf_status status =
        view_get(&then, set_position_key(repl_set_kind(repair->kind)), repair->arena, &bytes, NULL, err);
    if (status == CF_OK) {
        status = repl_position_decode(bytes, ret, err);
    }
    view_unref(now);
    return status;
}

struct own {
    struct repair_record record;
    struct key key;
};

static int own_cmp(const void *left, const void *right)
{
    return repair_record_cmp(&((const struct own *)left)->record,
                             &((const struct own *)right)->record);
}

struct owns {
    struct own *all;
    size_t count, room;
};

static void add_own(struct repair *repair, struct owns *owns, unsigned leaf, struct key key,
                    struct cf_slice sealed)
{
    uint8_t hash[REPL_HASH_SIZE];
    if (owns->count == owns->room) {
        owns->room = cf_max(2 * owns->room, 256);
        owns->all = cf_realloc(owns->all, owns->room * sizeof(*owns->all));
    }
    struct own *own = &owns->all[owns->count++];
    tree_record_hash(key, sealed, hash);
    own->record.leaf = (uint16_t)leaf;
    memcpy(own->record.print, hash, REPAIR_PRINT_SIZE);
    key.name = arena_copy(repair->arena, key.name);
    own->key = key;
}

static cf_status read_class(struct repair *repair, uint8_t class, struct owns *owns,
                            struct cf_error *err)
{
    const struct state_moment *at = &repair->base->moment;
    uint8_t lower[5] = {class}, upper[5] = {class};
    uint32_t generation = at->generation[class_number(class)];
    cf_put_u32(lower + 1, generation);
    cf_put_u32(upper + 1, generation + 1);
    struct kv_range range = {cf_slice_of(lower, 5), cf_slice_of(upper, 5), true};
    CF_OWNED(kv_iterator) it =
        kv_iterator_new((struct kv_view){at->db, at->snapshot}, at->family, range);
    for (kv_seek_first(it); kv_valid(it); kv_next(it)) {
        struct key key;
        uint32_t ignored;
        struct cf_slice value = kv_bytes(it);
        if (!key_decode(kv_key(it), &key, &ignored) || value.size < VALUE_HEADER_SIZE) {
            continue;
        }
        unsigned leaf = repl_tree_leaf(key.name);
        if (repl_leaf_set_has(&repair->leaves, leaf)) {
            add_own(repair, owns, leaf, key, cf_slice_from(value, VALUE_HEADER_SIZE));
        }
        if (owns->count > REPAIR_RECORDS_MAX) {
            return cf_fail(err, CF_TOO_LARGE, "too much differs: a copy is the better way");
        }
    }
    return kv_iterator_check(it, err);
}

/* Our records in the leaves that differ. */
static cf_status read_own(struct repair *repair, struct cf_error *err)
{
    static const uint8_t classes[] = {CLASS_REPLICATED, CLASS_CLUSTER};
    struct owns owns = {0};
    cf_status status = CF_OK;
    for (size_t i = 0; i < sizeof(classes) && status == CF_OK; i++) {
        if (codec_ships(repair->kind, classes[i])) {
            status = read_class(repair, classes[i], &owns, err);
        }
    }
    if (status == CF_OK) {
        if (owns.count != 0) {
            qsort(owns.all, owns.count, sizeof(*owns.all), own_cmp);
        }
        repair->records = cf_array(owns.count + 1, sizeof(*repair->records));
        repair->keys = cf_array(owns.count + 1, sizeof(*repair->keys));
        repair->record_count = owns.count;
        for (size_t i = 0; i < owns.count; i++) {
            repair->records[i] = owns.all[i].record;
            repair->keys[i] = owns.all[i].key;
        }
    }
    cf_free(owns.all);
    return status;
}

/* ---- questions ---- */

static void ask(struct repair *repair, Coffer__Repl__Repair *question)
{
    question->id = repair->snapshot;
    cf_buf_reset(&repair->question);
    message_pack(&question->base, &repair->question);
}

static void ask_records(struct repair *repair)
{
    Coffer__Repl__Repair question = COFFER__REPL__REPAIR__INIT;
    CF_BUF(bytes) = {0};
    repair_chunk(&repair->leaves, repair->leaf, repair->records + repair->record_at,
                 repair->record_count - repair->record_at, &repair->leaf_end,
                 &repair->asked_count);
    repair_encode(&repair->leaves, repair->leaf, repair->leaf_end,
                  repair->records + repair->record_at, repair->asked_count, &bytes);
    question.question = message_bytes(cf_buf_slice(&bytes));
    ask(repair, &question);
    repair->stage = STAGE_RECORDS;
}

static cf_status begin(struct repair *repair, struct cf_error *err)
{
    struct state_tree *tree = repair->replication->node->tree;
    Coffer__Repl__Repair question = COFFER__REPL__REPAIR__INIT;
    struct repl_position position;
    CF_BUF(bytes) = {0};
    if (repair->snapshot != 0) { /* what is there, whatever we believe to have written */
        CF_TRY(state_tree_rebuild(tree, err));
    }
    CF_TRY(state_tree_now(tree, repair->kind, NULL, repair->ours, &repair->base, err));
    if (repair->snapshot == 0) {
        CF_TRY(read_position(repair, &position, err));
        repl_position_encode(&position, &bytes);
        question.position = message_bytes(cf_buf_slice(&bytes));
        question.root = message_bytes(cf_slice_of(repair->ours->root, REPL_HASH_SIZE));
    }
    ask(repair, &question);
    repair->stage = STAGE_OPENED;
    return CF_OK;
}

static cf_status finish(struct repair *repair)
{
    repair->proposes = true;
    cf_buf_reset(&repair->question);
    return CF_OK;
}

/* ---- answers ---- */

static cf_status on_opened(struct repair *repair, const Coffer__Repl__Repaired *told,
                           struct cf_error *err)
{
    Coffer__Repl__Repair question = COFFER__REPL__REPAIR__INIT;
    if (told->root.len != REPL_HASH_SIZE) {
        return cf_fail(err, CF_CORRUPT, "a root of %zu bytes", told->root.len);
    }
    CF_TRY(repl_position_decode(message_slice(told->position), &repair->position, err));
    *repair->theirs = *repair->ours;
    memcpy(repair->theirs->root, told->root.data, REPL_HASH_SIZE);
    CF_TRY(repair_pages(repair->ours, message_slice(told->pages), &repair->pages, err));
    if (repair->pages.size == 0) {
        return memcmp(repair->ours->root, repair->theirs->root, REPL_HASH_SIZE) == 0
                   ? finish(repair)
                   : cf_fail(err, CF_CORRUPT, "a root that is not that of its pages");
    }
    question.pages = message_bytes(cf_buf_slice(&repair->pages));
    ask(repair, &question);
    repair->stage = STAGE_LEAVES;
    return CF_OK;
}

static cf_status on_leaves(struct repair *repair, const Coffer__Repl__Repaired *told,
                           struct cf_error *err)
{
    CF_TRY(repair_leaves(repair->ours, cf_buf_slice(&repair->pages), message_slice(told->leaves),
                         repair->theirs, &repair->leaves, err));
    CF_TRY(read_own(repair, err));
    ask_records(repair);
    return CF_OK;
}

static void add_op(struct repair *repair, const struct op *op)
{
    if (repair->op_count == repair->op_room) {
        repair->op_room = cf_max(2 * repair->op_room, 256);
        repair->ops = cf_realloc(repair->ops, repair->op_room * sizeof(*repair->ops));
    }
    repair->ops[repair->op_count++] = *op;
    repair->op_bytes += op->key.name.size + op->value.size + 32;
}

static cf_status take_records(struct repair *repair, struct cf_slice bytes, struct cf_error *err)
{
    const struct op *ops;
    size_t count;
    uint8_t hash[REPL_HASH_SIZE];
    CF_TRY(codec_records(repair->kind, arena_copy(repair->arena, bytes), repair->arena, &ops, &count, err));
    for (size_t i = 0; i < count; i++) {
        unsigned leaf = repl_tree_leaf(ops[i].key.name);
        tree_record_hash(ops[i].key, ops[i].value, hash);
        repair_count(repair->ours, leaf, hash, true);
        add_op(repair, &ops[i]);
        repair->put++;
    }
    return CF_OK;
}

static cf_status take_surplus(struct repair *repair, struct cf_slice numbers, struct cf_error *err)
{
    uint8_t hash[REPL_HASH_SIZE] = {0};
    for (size_t i = 0; i + 4 <= numbers.size; i += 4) {
        size_t at = cf_get_u32(numbers.data + i);
        if (at >= repair->asked_count ||
            (i != 0 && at <= cf_get_u32(numbers.data + i - 4))) {
            return cf_fail(err, CF_CORRUPT, "the primary names records that were not asked for");
        }
        at += repair->record_at;
        memcpy(hash, repair->records[at].print, REPAIR_PRINT_SIZE);
        repair_count(repair->ours, repair->records[at].leaf, hash, false);
        add_op(repair, &(struct op){.kind = OP_DELETE, .key = repair->keys[at]});
    }
    return CF_OK;
}

static struct cf_slice map_key(struct cf_buf *room, struct key key)
{
    cf_buf_reset(room);
    key_encode(room, key, 0);
    return cf_buf_slice(room);
}

/* What is replaced need not be deleted. */
static void drop_replaced(struct repair *repair)
{
    struct cf_map *puts = cf_map_new();
    CF_BUF(room) = {0};
    size_t kept = 0;
    for (size_t i = 0; i < repair->op_count; i++) {
        if (repair->ops[i].kind == OP_PUT) {
            (void)cf_map_put(puts, map_key(&room, repair->ops[i].key), repair);
        }
    }
    for (size_t i = 0; i < repair->op_count; i++) {
        bool is_put = repair->ops[i].kind == OP_PUT;
        if (is_put || cf_map_get(puts, map_key(&room, repair->ops[i].key)) == NULL) {
            repair->ops[kept++] = repair->ops[i];
            repair->deleted += is_put ? 0 : 1;
        }
    }
    repair->op_count = kept;
    cf_map_free(puts);
}

static cf_status on_records(struct repair *repair, const Coffer__Repl__Repaired *told,
                            struct cf_error *err)
{
    Coffer__Repl__Repair question = COFFER__REPL__REPAIR__INIT;
    CF_TRY(take_records(repair, message_slice(told->records), err));
    if (repair->op_bytes > REPAIR_BYTES_MAX) {
        return cf_fail(err, CF_TOO_LARGE, "too much differs: a copy is the better way");
    }
    if (told->next.len != 0) {
        question.cursor = told->next;
        ask(repair, &question);
        return CF_OK;
    }
    CF_TRY(take_surplus(repair, message_slice(told->surplus), err));
    repair->record_at += repair->asked_count;
    repair->leaf = repair->leaf_end;
    if (repl_leaf_set_next(&repair->leaves, repair->leaf) < REPL_TREE_LEAVES) {
        ask_records(repair);
        return CF_OK;
    }
    if (memcmp(repair->ours->leaves, repair->theirs->leaves, sizeof(repair->ours->leaves)) != 0) {
        return cf_fail(err, CF_CORRUPT, "what the primary sent does not add up to what it has");
    }
    drop_replaced(repair);
    return finish(repair);
}

/* The primary's answer to "is this what you had at that position?" */
static cf_status on_compared(struct repair *repair, const Coffer__Repl__Repaired *told,
                             struct cf_error *err)
{
    repair->stage = STAGE_THROUGH;
    cf_buf_reset(&repair->question);
    if (told->leaves.len == 0) {
        return CF_OK;
    }
    if (told->leaves.len != (size_t)8 * REPL_TREE_LEAVES ||
        told->touched.len != REPL_TREE_LEAVES / 8) {
        return cf_fail(err, CF_CORRUPT, "a comparison that is cut");
    }
    for (unsigned leaf = 0; leaf < REPL_TREE_LEAVES; leaf++) {
        bool touched = (told->touched.data[leaf / 8] >> leaf % 8 & 1) != 0;
        if (!touched && cf_get_u64(told->leaves.data + (size_t)8 * leaf) != repair->ours->leaves[leaf]) {
            repl_leaf_set_add(&repair->leaves, leaf);
        }
    }
    return CF_OK;
}

/* The proof of it. */
static cf_status on_committed(struct repair *repair, struct cf_error *err)
{
    repair->stage = STAGE_THROUGH;
    cf_buf_reset(&repair->question);
    CF_TRY(state_tree_now(repair->replication->node->tree, repair->kind, NULL, repair->ours, NULL, err));
    if (memcmp(repair->ours->root, repair->theirs->root, REPL_HASH_SIZE) != 0) {
        return cf_fail(err, CF_CORRUPT, "the data still differs after the repair");
    }
    return CF_OK;
}

static cf_status step(struct repair *repair, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(4096);
    Coffer__Repl__Repaired *told;
    if (repair->stage == STAGE_BEGIN) {
        return begin(repair, err);
    }
    if (repair->stage == STAGE_COMMITTED) {
        return on_committed(repair, err);
    }
    CF_TRY(message_unpack(coffer__repl__repaired, cf_buf_slice(&repair->answer), arena, &told, err));
    switch (repair->stage) {
    case STAGE_OPENED:
        return repair->snapshot == 0 ? on_compared(repair, told, err)
                                     : on_opened(repair, told, err);
    case STAGE_LEAVES:
        return on_leaves(repair, told, err);
    case STAGE_RECORDS:
        return on_records(repair, told, err);
    case STAGE_BEGIN:
    case STAGE_COMMITTED:
    case STAGE_THROUGH:
        break;
    }
    return cf_fail(err, CF_INTERNAL, "a repair went on after its end");
}

/* ---- what it means; main loop ---- */

static void note_comparison(struct repair *repair)
{
    struct repl_side *side = &repair->replication->sides[repair->kind];
    struct repair_status *found = &side->compared;
    if (repair->status != CF_OK) {
        found->undecided += repair->status == CF_BUSY ? 1 : 0;
        return;
    }
    found->comparisons++;
    atomic_fetch_add(&repair->replication->comparisons, 1);
    found->compared_ns = cf_wall_ns(cf_host_clock());
    if (repair->leaves.count == 0) {
        return;
    }
    found->differing++;
    atomic_fetch_add(&repair->replication->differences, 1);
    found->leaves = repair->leaves.count;
    found->differed_ns = found->compared_ns;
    cf_err("replication",
           "%s secondary: the data here differs from the primary's at the same position, in %zu of %d "
           "leaves: repairing",
           repl_kind_name(repair->kind), repair->leaves.count, REPL_TREE_LEAVES);
    side->must_repair = true; /* the next hello states no position */
    if (side->secondary != NULL) {
        repl_secondary_restart(side->secondary);
    }
}

static void note_repair(struct repair *repair)
{
    struct repl_side *side = &repair->replication->sides[repair->kind];
    side->must_repair = false;
    atomic_fetch_add(&repair->replication->repairs, 1);
    side->compared.repaired_ns = cf_wall_ns(cf_host_clock());
    side->compared.put = repair->put;
    side->compared.deleted = repair->deleted;
    cf_info("replication", "%s secondary: repaired: %llu records written, %llu deleted",
            repl_kind_name(repair->kind), (unsigned long long)repair->put,
            (unsigned long long)repair->deleted);
}

static void run(struct repair *repair);

static void committed(void *arg, cf_status status, const struct cf_error *err)
{
    struct repair *repair = arg;
    repair->is_busy = false;
    if (repair->is_ended) { /* it may have been committed: the next hello says so */
        repair->done(repair->arg, status, CF_SLICE_EMPTY, err);
        repair_free(repair);
        return;
    }
    if (status == CF_OK) {
        repair->stage = STAGE_COMMITTED;
        run(repair);
        return;
    }
    repair->done(repair->arg, status, CF_SLICE_EMPTY, err);
}

static void stepped(void *arg)
{
    struct repair *repair = arg;
    repair->is_busy = false;
    if (repair->is_ended) {
        struct cf_error err = {0};
        cf_status status = cf_fail(&err, CF_UNAVAILABLE, "the connection is gone");
        repair->done(repair->arg, status, CF_SLICE_EMPTY, &err);
        repair_free(repair);
        return;
    }
    if (repair->status == CF_OK && repair->proposes) {
        repair->proposes = false;
        repair->is_busy = true;
        repl_propose_repair(repair->replication, repair->kind, repair->ops, repair->op_count,
                            &repair->position, &repair->lineage, cf_buf_slice(&repair->proof),
                            committed, repair);
        return;
    }
    if (repair->snapshot == 0 && (repair->status != CF_OK || repair->stage == STAGE_THROUGH)) {
        note_comparison(repair);
    } else if (repair->status == CF_OK && repair->stage == STAGE_THROUGH) {
        note_repair(repair);
    }
    struct cf_buf question = repair->question; /* the driver may end the repair from inside */
    repair->question = (struct cf_buf){0};
    struct cf_error failed = repair->err;
    repair->done(repair->arg, repair->status, cf_buf_slice(&question), &failed);
    cf_buf_done(&question);
}

static void work(void *arg)
{
    struct repair *repair = arg;
    repair->status = step(repair, &repair->err);
    loop_post(repair->replication->node->loop, stepped, repair);
}

static void run(struct repair *repair)
{
    repair->is_busy = true;
    core_work(repair->replication->node->core, work, repair);
}

/* ---- the host's functions ---- */

static bool has_data(void *ctx, enum repl_kind kind)
{
    struct node_replication *replication = ctx;
    return strcmp(replication->sides[kind].link_state, "secondary") == 0;
}

static void repair_begin(void *ctx, enum repl_kind kind, uint64_t snapshot,
                         const struct repl_lineage *lineage, struct cf_slice proof)
{
    struct node_replication *replication = ctx;
    struct repair *repair = cf_new(struct repair);
    repair->replication = replication;
    repair->kind = kind;
    repair->snapshot = snapshot;
    repair->lineage = *lineage;
    cf_buf_add_slice(&repair->proof, proof);
    repair->arena = arena_new(64 * 1024);
    repair->ours = cf_new(struct repl_tree);
    repair->theirs = cf_new(struct repl_tree);
    replication->sides[kind].repair = repair;
}

static void repair_step(void *ctx, enum repl_kind kind, struct cf_slice answer,
                        repl_question_fn done, void *arg)
{
    struct node_replication *replication = ctx;
    struct repair *repair = replication->sides[kind].repair;
    repair->done = done;
    repair->arg = arg;
    cf_buf_reset(&repair->answer);
    cf_buf_add_slice(&repair->answer, answer);
    run(repair);
}

static void repair_end(void *ctx, enum repl_kind kind)
{
    struct node_replication *replication = ctx;
    struct repair *repair = replication->sides[kind].repair;
    replication->sides[kind].repair = NULL;
    if (repair == NULL) {
        return;
    }
    repair->is_ended = true;
    if (!repair->is_busy) {
        repair_free(repair);
    }
}

void repl_repair_table(struct repl_host *host)
{
    host->has_data = has_data;
    host->repair_begin = repair_begin;
    host->repair_step = repair_step;
    host->repair_end = repair_end;
}

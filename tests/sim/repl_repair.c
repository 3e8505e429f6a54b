/* tests/sim/repl_repair.c
 *
 * Repairs by tree, both sides, message by message: pages, leaves, records (replication/core/repair.h decides;
 * node/server/replication/repair.c does this in life). A record is one effect, as a copy would carry it.
 */
#include <stdlib.h>

#include "replication/core/mutant.h"
#include "replication/core/repair.h"
#include "tests/sim/repl_world.h"

enum { STAGE_PAGES, STAGE_LEAVES, STAGE_RECORDS };

static struct cf_slice name_of(const struct effect *record, uint8_t room[24])
{
    memset(room, 0, 24);
    room[0] = record->type;
    room[1] = record->slot;
    room[2] = record->key;
    cf_put_u32(room + 4, record->type == FX_POSITION ? 0 : record->gen);
    if (record->type == FX_RAN || record->type == FX_RECORD) {
        cf_put_u64(room + 8, record->value);
    }
    return cf_slice_of(room, 24);
}

/* Not the real hash, but as good here. */
static void hash_of(const struct effect *record, uint8_t ret[REPL_HASH_SIZE])
{
    uint8_t room[24];
    uint64_t hash = cf_get_u64(name_of(record, room).data);
    hash = sim_mix(sim_mix(hash, cf_get_u64(room + 8)), record->value);
    hash = sim_mix(sim_mix(hash, record->gen), record->term);
    for (unsigned i = 0; i < 4; i++) {
        hash = sim_mix(hash, i);
        cf_put_u64(ret + (size_t)8 * i, hash);
    }
}

static void hash_sums(struct cf_slice data, uint8_t ret[REPL_HASH_SIZE])
{
    uint64_t hash = data.size;
    for (size_t i = 0; i + 8 <= data.size; i += 8) {
        uint64_t part = cf_get_u64(data.data + i);
        hash = part != 0 ? sim_mix(hash, part ^ i) : hash;
    }
    for (unsigned i = 0; i < 4; i++) {
        hash = sim_mix(hash, i);
        cf_put_u64(ret + (size_t)8 * i, hash);
    }
}

static unsigned leaf_of(const struct effect *record)
{
    uint8_t room[24];
    return repl_tree_leaf(name_of(record, room));
}

static struct repl_tree *tree_of(const struct effects *records)
{
    struct repl_sum *sums = cf_array(REPL_TREE_LEAVES, sizeof(*sums));
    struct repl_tree *tree = cf_new(struct repl_tree);
    for (size_t i = 0; i < records->count; i++) {
        uint8_t hash[REPL_HASH_SIZE];
        hash_of(&records->all[i], hash);
        repl_sum_add(&sums[leaf_of(&records->all[i])], hash);
    }
    repl_tree_make(sums, hash_sums, tree);
    cf_free(sums);
    return tree;
}

/* ---- the secondary ---- */

void repair_drop(struct cluster *c)
{
    struct repair *repair = c->repair;
    c->repair = NULL;
    if (repair != NULL) {
        cf_free(repair->ours);
        cf_free(repair->theirs);
        cf_free(repair->records);
        cf_buf_done(&repair->pages);
        effects_done(&repair->effects);
        cf_free(repair);
    }
}

/* What of ours is compared: a performance secondary's cluster class is its own. */
static void own_records(struct world *w, struct cluster *c, struct effects *ret)
{
    const struct state *state = cluster_state(c);
    state_records(w, state, role_receives(state->role), false, ret);
}

static void ask(struct world *w, struct cluster *c, unsigned stage, struct cf_buf *bytes)
{
    struct message *m = message_new(c, MSG_REPAIR);
    c->repair->stage = stage;
    m->stage = stage;
    m->snapshot = c->repair->snapshot;
    if (bytes != NULL) {
        m->bytes = *bytes;
        *bytes = (struct cf_buf){0};
    }
    links_send(w, m, c->conn);
}

void repair_begin(struct world *w, struct cluster *c, const struct secondary_update *update)
{
    struct effects records = {0};
    repair_drop(c);
    struct repair *repair = c->repair = cf_new(struct repair);
    repair->session = update->session;
    repair->snapshot = update->snapshot_id;
    repair->position = update->position;
    own_records(w, c, &records);
    repair->ours = tree_of(&records);
    repair->theirs = cf_memdup(repair->ours, sizeof(*repair->ours));
    effects_done(&records);
    ask(w, c, STAGE_PAGES, NULL);
}

static void end(struct world *w, struct cluster *c, cf_status status)
{
    struct secondary_event ev = {
        .type = SECONDARY_EV_REPAIRED, .session = c->repair->session, .status = status};
    repair_drop(c);
    links_feed_secondary(w, c, &ev);
}

void repair_lost(struct world *w, struct cluster *c, uint64_t session, uint64_t incarnation)
{
    if (c->receiving && c->repair != NULL && c->repair->session == session &&
        c->incarnation == incarnation) {
        sim_reached(&w->engine, MARK_REPAIR_LOST);
        end(w, c, CF_UNAVAILABLE);
    }
}

static void collect(struct world *w, struct cluster *c)
{
    struct repair *repair = c->repair;
    struct effects records = {0};
    own_records(w, c, &records);
    repair->records = cf_array(records.count + 1, sizeof(*repair->records));
    for (size_t i = 0; i < records.count; i++) {
        unsigned leaf = leaf_of(&records.all[i]);
        uint8_t hash[REPL_HASH_SIZE];
        if (repl_leaf_set_has(&repair->leaves, leaf)) {
            struct repair_record *record = &repair->records[repair->record_count++];
            hash_of(&records.all[i], hash);
            record->leaf = (uint16_t)leaf;
            memcpy(record->print, hash, REPAIR_PRINT_SIZE);
        }
    }
    effects_done(&records);
    qsort(repair->records, repair->record_count, sizeof(*repair->records), repair_record_cmp);
}

/* A few leaves a question, where life takes 65,536 records. */
static bool ask_records(struct world *w, struct cluster *c)
{
    struct repair *repair = c->repair;
    unsigned end_leaf;
    size_t count;
    CF_BUF(bytes) = {0};
    unsigned first = repl_leaf_set_next(&repair->leaves, repair->next);
    if (first >= REPL_TREE_LEAVES) {
        return false;
    }
    size_t left = repair->record_count - repair->next_record;
    struct repl_leaf_set some = {0};
    unsigned leaf = first;
    for (unsigned i = 0; i < 8 && leaf < REPL_TREE_LEAVES; i++) {
        repl_leaf_set_add(&some, leaf);
        leaf = repl_leaf_set_next(&repair->leaves, leaf + 1);
    }
    repair_chunk(&some, first, repair->records + repair->next_record, left, &end_leaf, &count);
    repair_encode(&some, first, end_leaf, repair->records + repair->next_record, count, &bytes);
    repair->next_record += count;
    repair->next = leaf;
    ask(w, c, STAGE_RECORDS, &bytes);
    return true;
}

/* All of it is one entry. Deletions come first: a mount goes before another takes its place. */
static int by_kind(const void *left, const void *right)
{
    static const uint8_t order[] = {[FX_UNMOUNT] = 0, [FX_UNRAN] = 1,  [FX_UNRECORD] = 1,
                                    [FX_MOUNT] = 2,   [FX_FILTER] = 3, [FX_PUT] = 4,
                                    [FX_RAN] = 5,     [FX_LOCAL] = 4,  [FX_RECORD] = 5,
                                    [FX_POSITION] = 6, [FX_LINEAGE] = 6};
    const struct effect *a = left, *b = right;
    int first = order[a->type] - order[b->type];
    /* Ours go before theirs come: the empty value of the one before the new one. */
    return first != 0 ? first : (a->is_own == b->is_own ? 0 : a->is_own ? -1 : 1);
}

static void commit(struct world *w, struct cluster *c)
{
    struct repair *repair = c->repair;
    struct proposed op = {.type = OP_REPAIR, .session = repair->session, .to = repair->position};
    struct effects *effects = &repair->effects;
    if (effects->count > w->options.repair_records) {
        sim_reached(&w->engine, MARK_REPAIR_TOO_LARGE);
        end(w, c, CF_TOO_LARGE);
        return;
    }
    if (effects->count == 0) {
        sim_reached(&w->engine, MARK_REPAIR_NOTHING);
    } else {
        qsort(effects->all, effects->count, sizeof(effects->all[0]), by_kind);
    }
    for (size_t i = 0; i < effects->count; i++) {
        effects->all[i].is_own = false;
    }
    op.effects = *effects;
    *effects = (struct effects){0};
    op.lineage = c->answered;
    repair_drop(c);
    cluster_propose(w, c, &op);
}

static void on_pages(struct world *w, struct cluster *c, struct message *m)
{
    struct repair *repair = c->repair;
    CF_BUF(bytes) = {0};
    if (repair_pages(repair->ours, cf_buf_slice(&m->bytes), &repair->pages, NULL) != CF_OK) {
        sim_fail(&w->engine, "contract", "the pages of a tree are malformed");
    }
    if (repair->pages.size == 0) {
        commit(w, c);
        return;
    }
    cf_buf_add_slice(&bytes, cf_buf_slice(&repair->pages));
    ask(w, c, STAGE_LEAVES, &bytes);
}

static void on_records(struct world *w, struct cluster *c, struct message *m)
{
    struct effects records = {0};
    own_records(w, c, &records);
    effects_copy(&c->repair->effects, &m->effects);
    /* Prints of what is too much: which of ours they are. */
    for (size_t at = 0; at + REPAIR_PRINT_SIZE <= m->bytes.size; at += REPAIR_PRINT_SIZE) {
        for (size_t i = 0; i < records.count && !REPL_MUTATED(REPL_MUTANT_REPAIR_SURPLUS); i++) {
            uint8_t hash[REPL_HASH_SIZE];
            hash_of(&records.all[i], hash);
            if (memcmp(hash, m->bytes.data + at, REPAIR_PRINT_SIZE) == 0) {
                struct effect undone = effect_undone(&records.all[i]);
                undone.is_own = true;
                effects_add(&c->repair->effects, &undone);
            }
        }
    }
    effects_done(&records);
    if (!ask_records(w, c)) {
        commit(w, c);
    }
}

void repair_answered(struct world *w, struct cluster *c, struct message *m)
{
    struct repair *repair = c->repair;
    if (repair == NULL || repair->stage != m->stage || repair->snapshot != m->snapshot) {
        return;
    }
    c->progress++;
    if (m->status != CF_OK) {
        end(w, c, m->status);
    } else if (m->stage == STAGE_PAGES) {
        on_pages(w, c, m);
    } else if (m->stage == STAGE_LEAVES) {
        cf_status status = repair_leaves(repair->ours, cf_buf_slice(&repair->pages), cf_buf_slice(&m->bytes),
                                         repair->theirs, &repair->leaves, NULL);
        if (status != CF_OK) {
            sim_fail(&w->engine, "contract", "the leaves of a tree are malformed");
        }
        collect(w, c);
        cf_ignore(!ask_records(w, c), "a page that differs has a leaf that does");
    } else {
        on_records(w, c, m);
    }
}

/* ---- the primary ---- */

static void answer_records(const struct effects *records, struct cf_slice question, struct message *answer)
{
    struct repair_question asked;
    answer->status = repair_decode(question, &asked, NULL);
    if (answer->status != CF_OK) {
        return;
    }
    bool *found = cf_array(asked.count + 1, sizeof(*found));
    for (size_t i = 0; i < records->count; i++) {
        uint8_t hash[REPL_HASH_SIZE];
        unsigned leaf = leaf_of(&records->all[i]);
        if (!repl_leaf_set_has(&asked.leaves, leaf)) {
            continue;
        }
        hash_of(&records->all[i], hash);
        size_t at = repair_find(asked.records, asked.count, leaf, hash);
        if (at == SIZE_MAX) {
            effects_add(&answer->effects, &records->all[i]);
        } else {
            found[at] = true;
        }
    }
    for (size_t i = 0; i < asked.count; i++) {
        if (!found[i]) {
            cf_buf_add(&answer->bytes, asked.records[i].print, REPAIR_PRINT_SIZE);
        }
    }
    cf_free(found);
    repair_question_done(&asked);
}

void repair_serve(struct world *w, struct node *node, struct message *m)
{
    struct cluster *c = &w->clusters[node->cluster];
    enum repl_kind kind = w->conns[m->conn].kind;
    struct snapshot *snapshot = &node->peers[kind][kind == REPL_PERFORMANCE ? 1 : m->from].snapshot;
    struct message *answer = message_new(c, MSG_REPAIRED);
    const struct state *then = &c->log[snapshot->index].state, *now = node_state(c, node);
    bool stands =
        kind == REPL_DR || (then->changed == now->changed && then->widened == now->widened);
    answer->stage = m->stage;
    answer->snapshot = m->snapshot;
    if (snapshot->id == 0 || snapshot->id != m->snapshot || !stands) {
        answer->status = CF_NOT_FOUND;
        links_send(w, answer, m->conn);
        return;
    }
    struct effects records = {0};
    state_records(w, then, kind, kind == REPL_PERFORMANCE, &records);
    if (snapshot->tree == NULL) {
        snapshot->tree = tree_of(&records);
    }
    if (m->stage == STAGE_PAGES) {
        cf_buf_add(&answer->bytes, snapshot->tree->pages, sizeof(snapshot->tree->pages));
    } else if (m->stage == STAGE_LEAVES) {
        answer->status =
            repair_answer_leaves(snapshot->tree, cf_buf_slice(&m->bytes), &answer->bytes, NULL);
    } else {
        answer_records(&records, cf_buf_slice(&m->bytes), answer);
    }
    effects_done(&records);
    links_send(w, answer, m->conn);
}

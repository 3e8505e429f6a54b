/* node/server/replication/tree.c: the hash tree of this node's state, kept up with what is applied. */
#include "node/server/replication/tree.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "consensus/driver/store.h"
#include "node/base/host.h"
#include "node/base/map.h"
#include "node/base/memory.h"
#include "node/crypto/hash.h"
#include "node/server/replication/codec.h"

/* A point read of two snapshots costs about as much as reading so many records in a row. */
#define READ_COST 8

/* More than this is not kept until somebody asks. */
#define NOTES_BYTES ((size_t)4 << 20)

/* What the tree is made of. */
struct sums {
    struct repl_sum (*leaves)[REPL_TREE_LEAVES]; /* TREE_CLASSES of them; NULL: nobody asked for them yet */
    uint64_t sum, records;
    const struct tree_filter *filter; /* of one reading only */
    const atomic_bool *stop;          /* may be NULL */
};

/* Where the tree is to get to, in order. */
struct step {
    struct cf_list in_steps;
    struct tree_base *base;
    struct touched touched;
    bool is_captured;
};

struct captured {
    uint64_t index, sum, records;
};

struct state_tree {
    struct core *core;
    pthread_mutex_t steps_lock; /* steps; taken for a moment only, by the applier, too */
    struct cf_list steps;
    pthread_mutex_t lock; /* the rest; held while the state is read. Before steps_lock */
    struct sums sums;
    struct tree_base *base; /* NULL: nothing yet */
    struct captured captured;
    struct {
        uint64_t version; /* of the tree that it is of; 0: none */
        char text[ROOT_TEXT_SIZE];
    } roots[REPL_KIND_COUNT];
    uint64_t version; /* moves with the leaves */
    struct tree_report *report;
    pthread_mutex_t report_lock;
    atomic_bool is_building, is_nudged, stop;
    atomic_bool is_kept;
    _Atomic uint64_t done, total;
    _Atomic int64_t built_ns;
};

/* ---- bases ---- */

struct tree_base *tree_base_ref(struct tree_base *base)
{
    atomic_fetch_add(&base->references, 1);
    return base;
}

void tree_base_unref(struct tree_base *base)
{
    if (base != NULL && atomic_fetch_sub(&base->references, 1) == 1) {
        state_moment_done(&base->moment);
        cf_free(base);
    }
}

static struct kv_view view_of(const struct state_moment *at)
{
    return (struct kv_view){at->db, at->snapshot};
}

/* ---- life ---- */

struct state_tree *state_tree_new(struct core *core)
{
    struct state_tree *tree = cf_new(struct state_tree);
    tree->core = core;
    tree->sums.stop = &tree->stop;
    tree->report = cf_new(struct tree_report);
    cf_list_init(&tree->steps);
    pthread_mutex_init(&tree->steps_lock, NULL);
    pthread_mutex_init(&tree->lock, NULL);
    pthread_mutex_init(&tree->report_lock, NULL);
    return tree;
}

void state_tree_stop(struct state_tree *tree)
{
    atomic_store(&tree->stop, true);
}

bool state_tree_is_kept(struct state_tree *tree)
{
    return atomic_load(&tree->is_kept);
}

static void step_free(struct step *step)
{
    tree_base_unref(step->base);
    touched_done(&step->touched);
    cf_free(step);
}

void state_tree_free(struct state_tree *tree)
{
    if (tree == NULL) {
        return;
    }
    while (!cf_list_empty(&tree->steps)) {
        struct step *step = cf_container(tree->steps.next, struct step, in_steps);
        cf_list_remove(&step->in_steps);
        step_free(step);
    }
    tree_base_unref(tree->base);
    cf_free(tree->sums.leaves);
    cf_free(tree->report);
    pthread_mutex_destroy(&tree->steps_lock);
    pthread_mutex_destroy(&tree->lock);
    pthread_mutex_destroy(&tree->report_lock);
    cf_free(tree);
}

/* ---- records ---- */

void tree_record_hash(struct key key, struct cf_slice sealed, uint8_t ret[REPL_HASH_SIZE])
{
    uint8_t head[9] = {key.class};
    cf_put_u32(head + 1, key.ns);
    cf_put_u32(head + 5, (uint32_t)key.name.size);
    const struct cf_slice parts[] = {cf_slice_of(head, sizeof(head)), key.name, sealed};
    hash_sha256_parts(parts, CF_LENGTH(parts), ret);
}

static uint64_t stored_hash(struct cf_slice key, struct cf_slice value)
{
    static const uint8_t seed[16] = "coffer-digest-1"; /* as consensus/driver/digest.c has it */
    uint8_t of_key[16];
    cf_put_u64(of_key, cf_siphash(seed, key));
    cf_put_u64(of_key + 8, key.size);
    return cf_siphash(of_key, value);
}

/* Is it part of the state? What is staged, and what an earlier switch has left, is not: files of a copy come into the family past
 * the log (runs.h), at another moment on each node, and into older snapshots, too. */
static bool is_current(const struct state_moment *at, struct cf_slice stored)
{
    struct key key;
    uint32_t generation;
    unsigned number = key_decode(stored, &key, &generation) ? class_number(key.class) : CLASS_COUNT;
    return number >= CLASS_COUNT || at->generation[number] == generation;
}

/* The leaf that a stored record belongs to; NULL: it is of no shipped class, or of another generation. */
static struct repl_sum *leaf_of(const struct sums *sums, const struct state_moment *at,
                                struct cf_slice stored, struct cf_slice value, struct key *ret)
{
    uint32_t generation;
    if (sums->leaves == NULL || !key_decode(stored, ret, &generation) ||
        value.size < VALUE_HEADER_SIZE) {
        return NULL;
    }
    unsigned number = class_number(ret->class);
    if (sums->filter != NULL && !sums->filter->passes(sums->filter->context, *ret)) {
        return NULL;
    }
    return number < TREE_CLASSES && at->generation[number] == generation
               ? &sums->leaves[number][repl_tree_leaf(ret->name)]
               : NULL;
}

static void put_in(struct sums *sums, const struct state_moment *at, struct cf_slice stored,
                   struct cf_slice value)
{
    struct key key;
    uint8_t hash[REPL_HASH_SIZE];
    if (!is_current(at, stored)) {
        return;
    }
    struct repl_sum *leaf = leaf_of(sums, at, stored, value, &key);
    if (leaf != NULL) {
        tree_record_hash(key, cf_slice_from(value, VALUE_HEADER_SIZE), hash);
        repl_sum_add(leaf, hash);
    }
    sums->sum += stored_hash(stored, value);
    sums->records++;
}

static void take_out(struct sums *sums, const struct state_moment *at, struct cf_slice stored,
                     struct cf_slice value)
{
    struct key key;
    uint8_t hash[REPL_HASH_SIZE];
    if (!is_current(at, stored)) {
        return;
    }
    struct repl_sum *leaf = leaf_of(sums, at, stored, value, &key);
    if (leaf != NULL) {
        tree_record_hash(key, cf_slice_from(value, VALUE_HEADER_SIZE), hash);
        repl_sum_take(leaf, hash);
    }
    sums->sum -= stored_hash(stored, value);
    sums->records--;
}

typedef void (*count_fn)(struct sums *sums, const struct state_moment *at, struct cf_slice stored,
                         struct cf_slice value);

static cf_status count_range(struct sums *sums, const struct state_moment *at, struct kv_range range,
                             count_fn count, _Atomic uint64_t *progress, struct cf_error *err)
{
    CF_OWNED(kv_iterator) it = kv_iterator_new(view_of(at), at->family, range);
    for (kv_seek_first(it); kv_valid(it); kv_next(it)) {
        count(sums, at, kv_key(it), kv_bytes(it));
        if (progress != NULL) {
            atomic_fetch_add_explicit(progress, 1, memory_order_relaxed);
        }
        if (sums->stop != NULL && atomic_load_explicit(sums->stop, memory_order_relaxed)) {
            return cf_fail(err, CF_UNAVAILABLE, "this node is stopping");
        }
    }
    return kv_iterator_check(it, err);
}

/* ---- everything ---- */

static cf_status count_all(struct sums *sums, const struct state_moment *at,
                           _Atomic uint64_t *progress, struct cf_error *err)
{
    static const uint8_t past_reserved[1] = {RAFT_STATE_RESERVED + 1};
    struct kv_range range = {.lower = cf_slice_of(past_reserved, 1), .bulk = true};
    sums->sum = sums->records = 0;
    if (sums->leaves != NULL) {
        memset(sums->leaves, 0, TREE_CLASSES * sizeof(*sums->leaves));
    }
    return count_range(sums, at, range, put_in, progress, err);
}

/* ---- what changed ---- */

struct noted {
    struct cf_slice stored;
    enum touched_kind kind;
};

/* In their order; of what begins with one another the prefix comes first. */
static int by_key(const void *left, const void *right)
{
    const struct noted *a = left, *b = right;
    int order = cf_slice_cmp(a->stored, b->stored);
    return order != 0 ? order : (int)b->kind - (int)a->kind;
}

static cf_status change_key(struct sums *sums, const struct state_moment *from,
                            const struct state_moment *to, struct cf_slice stored,
                            struct cf_error *err)
{
    KV_VALUE(old) = {0};
    KV_VALUE(fresh) = {0};
    cf_status was = kv_get(view_of(from), from->family, stored, &old, err);
    cf_status is = kv_get(view_of(to), to->family, stored, &fresh, err);
    if (was != CF_OK && was != CF_NOT_FOUND) {
        return was;
    }
    if (is != CF_OK && is != CF_NOT_FOUND) {
        return is;
    }
    if (was == CF_OK && is == CF_OK && cf_slice_eq(old.bytes, fresh.bytes)) {
        return CF_OK;
    }
    if (was == CF_OK) {
        take_out(sums, from, stored, old.bytes);
    }
    if (is == CF_OK) {
        put_in(sums, to, stored, fresh.bytes);
    }
    return CF_OK;
}

static cf_status change_prefix(struct sums *sums, const struct state_moment *from,
                               const struct state_moment *to, struct cf_slice prefix,
                               struct cf_error *err)
{
    CF_BUF(end) = {0};
    cf_buf_add_slice(&end, prefix);
    while (end.size != 0 && end.data[end.size - 1] == 0xff) {
        end.size--;
    }
    if (end.size != 0) {
        end.data[end.size - 1]++;
    }
    struct kv_range range = {prefix, cf_buf_slice(&end), false};
    CF_TRY(count_range(sums, from, range, take_out, NULL, err));
    return count_range(sums, to, range, put_in, NULL, err);
}

/* What the core writes beside its keys, with every batch. */
static const struct noted reserved[] = {
    {{(const uint8_t *)"\1generation", 11}, TOUCHED_KEY},
    {{(const uint8_t *)"\1stamp", 6}, TOUCHED_KEY},
};

static cf_status count_changes(struct sums *sums, const struct state_moment *from,
                               const struct state_moment *to, const struct touched *touched,
                               struct cf_error *err)
{
    struct noted *noted = cf_array(touched->count + CF_LENGTH(reserved), sizeof(*noted));
    size_t count = CF_LENGTH(reserved), at = 0;
    memcpy(noted, reserved, sizeof(reserved));
    while (touched_next(touched, &at, &noted[count].kind, &noted[count].stored)) {
        count++;
        if (count == touched->count + CF_LENGTH(reserved)) {
            break;
        }
    }
    qsort(noted, count, sizeof(*noted), by_key);
    cf_status status = CF_OK;
    struct cf_slice last = CF_SLICE_EMPTY, prefix = CF_SLICE_EMPTY;
    for (size_t i = 0; i < count && status == CF_OK; i++) {
        struct cf_slice stored = noted[i].stored;
        if ((prefix.size != 0 && cf_slice_starts(stored, prefix)) ||
            (i != 0 && cf_slice_eq(stored, last))) {
            continue;
        }
        if (noted[i].kind == TOUCHED_PREFIX) {
            prefix = stored;
            status = change_prefix(sums, from, to, stored, err);
        } else {
            last = stored;
            status = change_key(sums, from, to, stored, err);
        }
    }
    cf_free(noted);
    return status;
}

/* ---- steps ---- */

/* From now on the state is to be known as it is at this moment. steps_lock is held. */
static struct step *add_step(struct state_tree *tree)
{
    struct step *step = cf_new(struct step);
    step->base = cf_new(struct tree_base);
    atomic_init(&step->base->references, 1);
    if (!core_touched(tree->core, &step->base->moment, &step->touched)) {
        cf_free(step->base);
        cf_free(step);
        return NULL;
    }
    cf_list_add_tail(&tree->steps, &step->in_steps);
    return step;
}

static bool follows(const struct state_tree *tree, const struct step *step)
{
    const struct state_moment *from = &tree->base->moment, *to = &step->base->moment;
    return !step->touched.is_all && from->family == to->family &&
           memcmp(from->generation, to->generation, sizeof(from->generation)) == 0 &&
           step->touched.count * READ_COST <= tree->sums.records + 1024;
}

static cf_status take_step(struct state_tree *tree, struct step *step, struct cf_error *err)
{
    bool same = tree->base != NULL && !step->touched.is_all && step->touched.count == 0;
    cf_status status;
    if (tree->base != NULL && follows(tree, step)) {
        status = count_changes(&tree->sums, &tree->base->moment, &step->base->moment, &step->touched,
                               err);
    } else {
        status = count_all(&tree->sums, &step->base->moment, NULL, err);
    }
    tree->version += same ? 0 : 1;
    tree_base_unref(tree->base);
    tree->base = NULL;
    if (status != CF_OK) {
        return status; /* the next one reads everything */
    }
    tree->base = tree_base_ref(step->base);
    atomic_store(&tree->is_kept, true);
    if (step->is_captured) {
        tree->captured =
            (struct captured){step->base->moment.index, tree->sums.sum, tree->sums.records};
    }
    return CF_OK;
}

/* All that were wished for until now. lock is held. */
static cf_status take_steps(struct state_tree *tree, struct cf_error *err)
{
    cf_status status = CF_OK;
    for (;;) {
        pthread_mutex_lock(&tree->steps_lock);
        struct step *step = cf_list_empty(&tree->steps)
                                ? NULL
                                : cf_container(tree->steps.next, struct step, in_steps);
        if (step != NULL) {
            cf_list_remove(&step->in_steps);
        }
        pthread_mutex_unlock(&tree->steps_lock);
        if (step == NULL) {
            return status;
        }
        status = take_step(tree, step, err);
        step_free(step);
    }
}

/* lock is held. */
static cf_status catch_up(struct state_tree *tree, struct cf_error *err)
{
    pthread_mutex_lock(&tree->steps_lock);
    struct step *step = add_step(tree);
    pthread_mutex_unlock(&tree->steps_lock);
    if (step == NULL) {
        return cf_fail(err, CF_UNAVAILABLE, "there is no state yet");
    }
    return take_steps(tree, err);
}

/* Leaves from here on: at first nobody but the nodes of the cluster compares anything. lock is held. */
static void want_leaves(struct state_tree *tree)
{
    if (tree->sums.leaves == NULL) {
        tree->sums.leaves = cf_array(TREE_CLASSES, sizeof(*tree->sums.leaves));
        tree_base_unref(tree->base);
        tree->base = NULL;
    }
}

/* ---- what is asked ---- */

static void nudged(void *arg)
{
    struct state_tree *tree = arg;
    pthread_mutex_lock(&tree->lock);
    cf_ignore(catch_up(tree, NULL) != CF_OK, "whoever asks next tries again, and hears of it");
    pthread_mutex_unlock(&tree->lock);
    atomic_store(&tree->is_nudged, false);
}

void state_tree_nudge(struct state_tree *tree)
{
    if (core_touched_bytes(tree->core) > NOTES_BYTES && !atomic_exchange(&tree->is_nudged, true)) {
        core_work(tree->core, nudged, tree);
    }
}

void state_tree_let_go(struct state_tree *tree)
{
    if (!atomic_exchange(&tree->is_nudged, true)) {
        core_work(tree->core, nudged, tree);
    }
}

void state_tree_capture(struct state_tree *tree, uint64_t index)
{
    pthread_mutex_lock(&tree->steps_lock);
    struct step *step = add_step(tree);
    if (step != NULL) {
        step->is_captured = step->base->moment.index == index;
    }
    pthread_mutex_unlock(&tree->steps_lock);
}

cf_status state_tree_sum(struct state_tree *tree, uint64_t index, uint64_t *ret_sum,
                         uint64_t *ret_records, struct cf_error *err)
{
    pthread_mutex_lock(&tree->lock);
    cf_status status = take_steps(tree, err);
    if (status == CF_OK && tree->captured.index != index) {
        status = cf_fail(err, CF_NOT_FOUND, "no sum at that index");
    }
    if (status == CF_OK) {
        *ret_sum = tree->captured.sum;
        *ret_records = tree->captured.records;
    }
    pthread_mutex_unlock(&tree->lock);
    return status;
}

cf_status state_tree_scan(struct kv_view view, struct kv_family *state, const atomic_bool *stop,
                          uint64_t *ret_sum, uint64_t *ret_records, struct cf_error *err)
{
    struct sums sums = {.stop = stop};
    struct state_moment moment = {/* all borrowed: not to be ended */
                                  .db = view.kv,
                                  .snapshot = (struct kv_snapshot *)(uintptr_t)view.snapshot,
                                  .family = state};
    state_moment_read(&moment);
    CF_TRY(count_all(&sums, &moment, NULL, err));
    *ret_sum = sums.sum;
    *ret_records = sums.records;
    return CF_OK;
}

/* A DR secondary gets both classes: their trees add up. */
static void make(const struct sums *sums, enum repl_kind kind, struct repl_tree *ret)
{
    const struct repl_sum *first = sums->leaves[class_number(CLASS_REPLICATED)];
    const struct repl_sum *second = sums->leaves[class_number(CLASS_CLUSTER)];
    if (!codec_ships(kind, CLASS_CLUSTER)) {
        repl_tree_make(first, hash_sha256, ret);
        return;
    }
    struct repl_sum *both = cf_array(REPL_TREE_LEAVES, sizeof(*both));
    memcpy(both, first, REPL_TREE_LEAVES * sizeof(*both));
    for (size_t i = 0; i < REPL_TREE_LEAVES; i++) {
        repl_sum_join(&both[i], &second[i]);
    }
    repl_tree_make(both, hash_sha256, ret);
    cf_free(both);
}

static bool is_held_back(void *context, struct key key)
{
    const struct tree_filter *filter = context;
    return !filter->passes(filter->context, key);
}

/* Takes out what a filter with `within` holds back. */
static cf_status hold_back(struct sums *sums, const struct state_moment *at,
                           const struct tree_filter *filter, struct cf_error *err)
{
    CF_BUF(from) = {0};
    CF_BUF(end) = {0};
    struct tree_filter inverse = {.passes = is_held_back, .context = (void *)(uintptr_t)filter};
    struct key key = {CLASS_REPLICATED, NAMESPACE_ROOT, filter->within};
    key_encode(&from, key, at->generation[class_number(CLASS_REPLICATED)]);
    cf_buf_add_slice(&end, cf_buf_slice(&from));
    end.data[end.size - 1]++; /* no name ends in 0xff */
    struct kv_range range = {cf_buf_slice(&from), cf_buf_slice(&end), false};
    sums->filter = &inverse;
    cf_status status = count_range(sums, at, range, take_out, NULL, err);
    sums->filter = NULL;
    return status;
}

/* lock is held. */
static cf_status make_filtered(const struct state_tree *tree, enum repl_kind kind,
                               const struct tree_filter *filter, struct repl_tree *ret,
                               struct cf_error *err)
{
    if (filter == NULL) {
        make(&tree->sums, kind, ret);
        return CF_OK;
    }
    if (filter->within.size == 0) {
        return state_tree_read(&tree->base->moment, kind, filter, ret, err);
    }
    struct sums sums = {.leaves = cf_memdup(tree->sums.leaves, TREE_CLASSES * sizeof(*sums.leaves))};
    cf_status status = hold_back(&sums, &tree->base->moment, filter, err);
    if (status == CF_OK) {
        make(&sums, kind, ret);
    }
    cf_free(sums.leaves);
    return status;
}

cf_status state_tree_now(struct state_tree *tree, enum repl_kind kind,
                         const struct tree_filter *filter, struct repl_tree *ret,
                         struct tree_base **ret_base, struct cf_error *err)
{
    pthread_mutex_lock(&tree->lock);
    want_leaves(tree);
    cf_status status = catch_up(tree, err);
    if (status == CF_OK) {
        status = make_filtered(tree, kind, filter, ret, err);
    }
    if (status == CF_OK && ret_base != NULL) {
        *ret_base = tree_base_ref(tree->base);
    }
    pthread_mutex_unlock(&tree->lock);
    return status;
}

void tree_root_text(const struct repl_tree *tree, char ret[ROOT_TEXT_SIZE])
{
    for (size_t i = 0; i < ROOT_TEXT_SIZE / 2; i++) {
        (void)snprintf(ret + 2 * i, 3, "%02x", tree->root[i]);
    }
}

cf_status state_tree_root(struct state_tree *tree, enum repl_kind kind, char ret[ROOT_TEXT_SIZE],
                          struct cf_error *err)
{
    pthread_mutex_lock(&tree->lock);
    want_leaves(tree);
    cf_status status = catch_up(tree, err);
    if (status == CF_OK && tree->roots[kind].version != tree->version) {
        struct repl_tree *made = cf_new(struct repl_tree);
        make(&tree->sums, kind, made);
        tree_root_text(made, tree->roots[kind].text);
        tree->roots[kind].version = tree->version;
        cf_free(made);
    }
    if (status == CF_OK) {
        memcpy(ret, tree->roots[kind].text, ROOT_TEXT_SIZE);
    }
    pthread_mutex_unlock(&tree->lock);
    return status;
}

/* ---- reading everything ---- */

static void note_differences(const struct sums *kept, const struct sums *read,
                             struct tree_report *report)
{
    memset(report->damaged, 0, sizeof(report->damaged));
    report->is_damaged = kept->sum != read->sum || kept->records != read->records;
    struct repl_tree *made = cf_new(struct repl_tree);
    for (size_t i = 0; i < TREE_CLASSES; i++) {
        for (unsigned leaf = 0; leaf < REPL_TREE_LEAVES; leaf++) {
            if (!repl_sum_equal(&kept->leaves[i][leaf], &read->leaves[i][leaf])) {
                repl_leaf_set_add(&report->damaged[i], leaf);
                report->is_damaged = true;
            }
        }
        repl_tree_make(read->leaves[i], hash_sha256, made);
        memcpy(report->roots[i], made->root, sizeof(made->root));
    }
    cf_free(made);
    report->records = read->records;
    report->checked_ns = cf_wall_ns(cf_host_clock());
    report->checks++;
    report->found += report->is_damaged ? 1 : 0;
}

/* Reads `base` without holding anybody up. */
static cf_status read_all(struct state_tree *tree, const struct tree_base *base, struct sums *ret,
                          struct cf_error *err)
{
    *ret = (struct sums){.leaves = cf_array(TREE_CLASSES, sizeof(*ret->leaves)),
                         .stop = &tree->stop};
    atomic_store(&tree->done, 0);
    atomic_store(&tree->is_building, true);
    cf_status status = count_all(ret, &base->moment, &tree->done, err);
    atomic_store(&tree->is_building, false);
    atomic_store(&tree->total, ret->records);
    return status;
}

cf_status state_tree_read(const struct state_moment *moment, enum repl_kind kind,
                          const struct tree_filter *filter, struct repl_tree *ret,
                          struct cf_error *err)
{
    struct sums sums = {.leaves = cf_array(TREE_CLASSES, sizeof(*sums.leaves)), .filter = filter};
    cf_status status = count_all(&sums, moment, NULL, err);
    if (status == CF_OK) {
        make(&sums, kind, ret);
    }
    cf_free(sums.leaves);
    return status;
}

cf_status state_tree_check(struct state_tree *tree, struct tree_report *ret, struct cf_error *err)
{
    struct sums kept = {.leaves = cf_array(TREE_CLASSES, sizeof(*kept.leaves))}, read = {0};
    struct tree_base *base = NULL;
    uint64_t began_us = cf_monotonic_us(cf_host_clock());
    pthread_mutex_lock(&tree->lock);
    want_leaves(tree);
    cf_status status = catch_up(tree, err);
    if (status == CF_OK) {
        memcpy(kept.leaves, tree->sums.leaves, TREE_CLASSES * sizeof(*kept.leaves));
        kept.sum = tree->sums.sum;
        kept.records = tree->sums.records;
        base = tree_base_ref(tree->base);
    }
    pthread_mutex_unlock(&tree->lock);
    if (status == CF_OK) {
        status = read_all(tree, base, &read, err);
    }
    if (status == CF_OK) {
        pthread_mutex_lock(&tree->report_lock);
        note_differences(&kept, &read, tree->report);
        tree->report->took_us = cf_monotonic_us(cf_host_clock()) - began_us;
        *ret = *tree->report;
        pthread_mutex_unlock(&tree->report_lock);
    }
    if (status == CF_OK && ret->is_damaged) {
        pthread_mutex_lock(&tree->lock); /* from here on what is there counts */
        tree_base_unref(tree->base);
        tree->base = NULL;
        pthread_mutex_unlock(&tree->lock);
    }
    tree_base_unref(base);
    cf_free(kept.leaves);
    cf_free(read.leaves);
    return status;
}

void state_tree_report(struct state_tree *tree, struct tree_report *ret)
{
    pthread_mutex_lock(&tree->report_lock);
    *ret = *tree->report;
    pthread_mutex_unlock(&tree->report_lock);
}

cf_status state_tree_rebuild(struct state_tree *tree, struct cf_error *err)
{
    struct tree_report *ignored = cf_new(struct tree_report);
    cf_status status = state_tree_check(tree, ignored, err);
    cf_free(ignored);
    if (status == CF_OK) {
        atomic_store(&tree->built_ns, cf_wall_ns(cf_host_clock()));
    }
    return status;
}

void state_tree_progress(struct state_tree *tree, struct tree_progress *ret)
{
    *ret = (struct tree_progress){.is_building = atomic_load(&tree->is_building),
                                  .done = atomic_load(&tree->done),
                                  .total = atomic_load(&tree->total),
                                  .built_ns = atomic_load(&tree->built_ns)};
}

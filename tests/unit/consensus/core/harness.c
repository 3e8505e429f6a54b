/* tests/unit/consensus/core/harness.c: cores in memory, wired by hand. */
#include "harness.h"

struct bench_node *bench_at(struct bench *b, uint64_t id)
{
    ck_assert(id >= 1 && id <= BENCH_NODES);
    return &b->nodes[id - 1];
}

struct raft *bench_raft(struct bench *b, uint64_t id)
{
    return bench_at(b, id)->raft;
}

/* ---- disk ----------------------------------------------------------------------------------- */

static uint64_t disk_last(const struct bench_node *n)
{
    return n->base.index + n->count;
}

static cf_status read_term(void *context, uint64_t index, uint64_t *ret, struct cf_error *err)
{
    const struct bench_node *n = context;
    if (index < n->base.index || index > disk_last(n)) {
        return cf_fail(err, CF_NOT_FOUND, "no such entry");
    }
    *ret = index == n->base.index ? n->base.term : n->log[index - n->base.index - 1]->term;
    return CF_OK;
}

static cf_status read_entries(void *context, uint64_t from, uint64_t to, size_t max_bytes,
                              size_t max_count, struct raft_entry **ret, size_t *ret_count,
                              struct cf_error *err)
{
    const struct bench_node *n = context;
    size_t count = 0, bytes = 0;
    if (from <= n->base.index || from > disk_last(n)) {
        return cf_fail(err, CF_NOT_FOUND, "no such entry");
    }
    for (uint64_t i = from; i <= to && i <= disk_last(n) && count < max_count; i++) {
        struct raft_entry *entry = n->log[i - n->base.index - 1];
        bytes += raft_entry_size(entry);
        if (count > 0 && bytes > max_bytes) {
            break;
        }
        ret[count++] = raft_entry_ref(entry);
    }
    *ret_count = count;
    return CF_OK;
}

static void cut(struct bench_node *n, uint64_t from)
{
    while (n->count > 0 && disk_last(n) >= from) {
        raft_entry_unref(n->log[--n->count]);
    }
}

static void write_free(struct bench_write *write)
{
    for (size_t i = 0; i < write->count; i++) {
        raft_entry_unref(write->entries[i]);
    }
    cf_free(write);
}

/* Brings the first queued write to the disk. */
static struct bench_write *disk_do(struct bench_node *n)
{
    struct bench_write *write = n->queue[0];
    memmove(n->queue, n->queue + 1, --n->queue_count * sizeof(n->queue[0]));
    if (write->has_base) {
        cut(n, 0);
        n->base = write->base;
        n->applied = n->apply_to = write->base.index;
    }
    if (write->truncate_from != 0) {
        cut(n, write->truncate_from);
    }
    for (size_t i = 0; i < write->count; i++) {
        ck_assert_uint_eq(write->entries[i]->index, disk_last(n) + 1);
        n->log[n->count++] = raft_entry_ref(write->entries[i]);
    }
    if (write->has_hard) {
        n->hard = write->hard;
    }
    return write;
}

void bench_sync(struct bench *b, uint64_t id, size_t count)
{
    struct bench_node *n = bench_at(b, id);
    for (; count > 0; count--) {
        ck_assert_uint_gt(n->queue_count, 0);
        struct bench_write *write = disk_do(n);
        raft_on_persisted(n->raft, b->now_us, write->id, write->term);
        write_free(write);
    }
}

/* ---- the loop ------------------------------------------------------------------------------- */

static void take_write(struct bench_node *n, const struct raft_ready *ready)
{
    struct bench_write *write = cf_new(struct bench_write);
    ck_assert_uint_le(ready->entry_count, CF_LENGTH(write->entries));
    ck_assert_uint_lt(n->queue_count, CF_LENGTH(n->queue));
    *write = (struct bench_write){.id = ready->write_id,
                                  .term = ready->write_term,
                                  .truncate_from = ready->truncate_from,
                                  .has_base = ready->install != NULL,
                                  .has_hard = ready->has_hard_state,
                                  .hard = ready->hard_state,
                                  .count = ready->entry_count};
    if (ready->install != NULL) {
        write->base = *ready->install;
    }
    for (size_t i = 0; i < ready->entry_count; i++) {
        write->entries[i] = raft_entry_ref(ready->entries[i]);
    }
    n->queue[n->queue_count++] = write;
}

static void take_msg(struct bench *b, const struct raft_msg *m)
{
    b->sent[m->kind]++;
    if (m->to > BENCH_NODES || b->cut[m->from][m->to]) {
        return;
    }
    ck_assert_uint_lt(b->msg_count, CF_LENGTH(b->msgs));
    struct raft_msg *copy = &b->msgs[b->msg_count++];
    *copy = *m;
    if (m->entry_count > 0) {
        copy->entries = cf_memdup(m->entries, m->entry_count * sizeof(m->entries[0]));
        for (size_t i = 0; i < m->entry_count; i++) {
            raft_entry_ref(copy->entries[i]);
        }
    }
}

static bool drain_once(struct bench *b, struct bench_node *n)
{
    struct raft_ready ready;
    if (n->raft == NULL || !raft_take_ready(n->raft, &ready)) {
        return false;
    }
    if (ready.write_id != 0) {
        take_write(n, &ready);
    }
    for (size_t i = 0; i < ready.msg_count; i++) {
        take_msg(b, &ready.msgs[i]);
    }
    for (size_t i = 0; i < ready.snap_send_count; i++) {
        n->snap_sends[n->snap_send_count++] = ready.snap_sends[i];
    }
    if (ready.apply_from != 0) {
        ck_assert_uint_eq(ready.apply_from, n->apply_to + 1);
        ck_assert_uint_le(ready.apply_to, disk_last(n));
        n->applied = n->apply_to = ready.apply_to;
        raft_on_applied(n->raft, b->now_us, n->applied);
    }
    for (size_t i = 0; i < ready.read_count; i++) {
        ck_assert_uint_lt(n->read_count, CF_LENGTH(n->reads));
        n->reads[n->read_count++] = ready.reads[i];
    }
    if (ready.leadership_lost_term != 0) {
        n->lost_term = ready.leadership_lost_term;
    }
    if (!n->hold_disk) {
        bench_sync(b, n->id, n->queue_count);
    }
    return true;
}

void bench_drain(struct bench *b, uint64_t id)
{
    while (drain_once(b, bench_at(b, id))) {
    }
}

static void step(struct bench *b, size_t at)
{
    struct raft_msg msg = b->msgs[at];
    memmove(&b->msgs[at], &b->msgs[at + 1], (--b->msg_count - at) * sizeof(b->msgs[0]));
    struct raft *raft = bench_raft(b, msg.to);
    if (raft != NULL && !b->cut[msg.from][msg.to]) {
        raft_step(raft, b->now_us, &msg);
    }
    raft_msg_done(&msg);
}

bool bench_deliver(struct bench *b, uint64_t to, enum raft_msg_kind kind)
{
    for (size_t i = 0; i < b->msg_count; i++) {
        if (b->msgs[i].to == to && b->msgs[i].kind == kind) {
            step(b, i);
            bench_drain(b, to);
            return true;
        }
    }
    return false;
}

void bench_drop_all(struct bench *b)
{
    for (size_t i = 0; i < b->msg_count; i++) {
        raft_msg_done(&b->msgs[i]);
    }
    b->msg_count = 0;
}

void bench_settle(struct bench *b)
{
    bool moved = true;
    while (moved) {
        moved = false;
        for (unsigned i = 0; i < BENCH_NODES; i++) {
            moved |= drain_once(b, &b->nodes[i]);
        }
        if (!b->hold_msgs && b->msg_count > 0) {
            step(b, 0);
            moved = true;
        }
    }
}

void bench_run(struct bench *b, uint64_t duration_us)
{
    uint64_t until_us = b->now_us + duration_us;
    while (b->now_us < until_us) {
        b->now_us += HEARTBEAT_US / 4;
        for (unsigned i = 0; i < BENCH_NODES; i++) {
            if (b->nodes[i].raft != NULL) {
                raft_tick(b->nodes[i].raft, b->now_us);
            }
        }
        bench_settle(b);
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

void bench_start(struct bench *b, uint64_t id)
{
    struct bench_node *n = bench_at(b, id);
    struct raft_entry *configs[512];
    size_t config_count = 0;
    for (size_t i = 0; i < n->count; i++) {
        if (n->log[i]->type == RAFT_ENTRY_CONFIG) {
            configs[config_count++] = n->log[i];
        }
    }
    struct raft_options options = b->options;
    options.id = id;
    options.incarnation = ++n->incarnation;
    options.seed = id * 1000 + n->incarnation;
    options.reader = (struct raft_log_reader){n, read_term, read_entries};
    struct raft_start start = {.hard_state = n->hard,
                               .base = n->base,
                               .last_index = disk_last(n),
                               .applied = n->applied,
                               .configs = configs,
                               .config_count = config_count};
    n->apply_to = n->applied;
    n->id = id;
    n->hold_disk = false;
    ck_ok(raft_new(&options, &start, b->now_us, &n->raft, NULL));
}

void bench_stop(struct bench *b, uint64_t id, size_t keep)
{
    struct bench_node *n = bench_at(b, id);
    for (; keep > 0 && n->queue_count > 0; keep--) {
        write_free(disk_do(n));
    }
    for (size_t i = 0; i < n->queue_count; i++) {
        write_free(n->queue[i]);
    }
    n->queue_count = n->read_count = n->snap_send_count = 0;
    raft_free(n->raft);
    n->raft = NULL;
}

void bench_restart(struct bench *b, uint64_t id, size_t keep)
{
    bench_stop(b, id, keep);
    bench_start(b, id);
}

struct bench *bench_new(unsigned voters)
{
    struct bench *b = cf_new(struct bench);
    const uint64_t all[] = {1, 2, 3, 4, 5, 6, 0};
    b->now_us = 1000000;
    raft_options_default(&b->options);
    uint64_t ids[BENCH_NODES + 1] = {0};
    memcpy(ids, all, voters * sizeof(ids[0]));
    for (unsigned i = 0; i < voters; i++) {
        b->nodes[i].base.membership = bench_members(ids, NULL);
        bench_start(b, i + 1);
    }
    return b;
}

void bench_add(struct bench *b, uint64_t id)
{
    bench_start(b, id);
}

void bench_free(struct bench *b)
{
    for (unsigned i = 0; i < BENCH_NODES; i++) {
        if (b->nodes[i].raft != NULL) {
            bench_stop(b, i + 1, 0);
        }
        cut(&b->nodes[i], 0);
    }
    bench_drop_all(b);
    cf_free(b);
}

void bench_isolate(struct bench *b, uint64_t id)
{
    for (unsigned i = 1; i <= BENCH_NODES; i++) {
        b->cut[i][id] = b->cut[id][i] = i != id;
    }
}

void bench_heal(struct bench *b)
{
    memset(b->cut, 0, sizeof(b->cut));
}

void bench_timeout(struct bench *b, uint64_t id)
{
    struct raft *raft = bench_raft(b, id);
    b->now_us = raft->election_deadline_us > b->now_us ? raft->election_deadline_us : b->now_us;
    raft->election_deadline_us = b->now_us; /* not late: that is another story */
    raft_tick(raft, b->now_us);
    bench_drain(b, id);
}

void bench_elect(struct bench *b, uint64_t id)
{
    b->now_us += 2 * T_US; /* nobody has heard a leader for long */
    bench_timeout(b, id);
    bench_settle(b);
    ck_assert_int_eq(bench_raft(b, id)->role, RAFT_LEADER);
}

/* ---- asking --------------------------------------------------------------------------------- */

cf_status bench_propose(struct bench *b, uint64_t id, const char *text, uint64_t *ret_index)
{
    struct raft_entry *entry = raft_entry_new(RAFT_ENTRY_DATA, 0, cf_slice_str(text));
    uint64_t index = 0;
    cf_status status = raft_propose(bench_raft(b, id), b->now_us, &entry, 1, &index, NULL);
    raft_entry_unref(entry);
    if (status == CF_OK && ret_index != NULL) {
        *ret_index = index;
    }
    return status;
}

struct raft_status bench_status(struct bench *b, uint64_t id)
{
    struct raft_status status;
    raft_status(bench_raft(b, id), &status);
    return status;
}

struct raft_membership bench_members(const uint64_t *voters, const uint64_t *learners)
{
    struct raft_membership m = {0};
    for (; voters != NULL && *voters != 0; voters++) {
        ck_ok(raft_membership_set(&m, *voters, RAFT_VOTER, 1, "host:8201", "node", NULL));
    }
    for (; learners != NULL && *learners != 0; learners++) {
        ck_ok(raft_membership_set(&m, *learners, RAFT_LEARNER, 1, "host:8201", "node", NULL));
    }
    return m;
}

const struct raft_read_result *bench_read_result(struct bench *b, uint64_t id, uint64_t cookie)
{
    const struct bench_node *n = bench_at(b, id);
    for (size_t i = 0; i < n->read_count; i++) {
        if (n->reads[i].cookie == cookie) {
            return &n->reads[i];
        }
    }
    return NULL;
}

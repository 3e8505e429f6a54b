/* tests/unit/node/server/test_lineage.c: the epochs of a cluster in its store. */
#include "node/base/memory.h"
#include "node/server/replication/lineage.h"
#include "repl_world.h"
#include "replication/core/lineage.h"

static struct repl_lineage lineage;
static struct repl_position position;
static bool has_proof;

static cf_status read_back(struct request *rq, struct cf_error *err)
{
    struct cf_slice bytes;
    cf_status status = set_read_bytes(rq, set_proof_key(SET_PERFORMANCE), &bytes, err);
    has_proof = status == CF_OK;
    memset(&lineage, 0, sizeof(lineage));
    status = set_read_bytes(rq, set_lineage_key(SET_PERFORMANCE), &bytes, err);
    return status == CF_NOT_FOUND ? CF_OK : repl_lineage_decode(bytes, &lineage, err);
}

static cf_status write_position(struct request *rq, struct cf_error *err)
{
    CF_BUF(bytes) = {0};
    (void)err;
    repl_position_encode(&position, &bytes);
    txn_put(rq->txn, set_position_key(SET_PERFORMANCE), cf_buf_slice(&bytes));
    txn_put(rq->txn, set_proof_key(SET_PERFORMANCE), CF_SLICE("proof of the epoch before"));
    return CF_OK;
}

static cf_status promote(struct request *rq, struct cf_error *err)
{
    return lineage_promote(rq, SET_PERFORMANCE, err);
}

static cf_status ensure(struct request *rq, struct cf_error *err)
{
    return lineage_ensure(rq, SET_PERFORMANCE, err);
}

static cf_status forget_it(struct request *rq, struct cf_error *err)
{
    (void)err;
    lineage_forget(rq, SET_PERFORMANCE);
    return CF_OK;
}

START_TEST(ensure_once)
{
    world_begin();
    ck_run(read_back);
    ck_assert_uint_eq(lineage.count, 0);
    ck_run(ensure);
    ck_run(read_back);
    ck_assert_uint_eq(lineage.count, 1);
    struct repl_epoch first = repl_lineage_current(&lineage);
    ck_assert_uint_eq(first.number, 1);
    ck_assert_uint_eq(lineage.branches[0].parent.number, 0);
    ck_run(ensure);
    ck_run(read_back);
    ck_assert_uint_eq(lineage.count, 1);
    struct repl_epoch again = repl_lineage_current(&lineage);
    ck_assert(repl_epoch_equal(&first, &again));
    world_end();
}
END_TEST

START_TEST(promote_branches_at_the_position)
{
    world_begin();
    ck_run(ensure);
    ck_run(read_back);
    struct repl_epoch first = repl_lineage_current(&lineage);
    position = (struct repl_position){first, 5, 90};
    ck_run(write_position);
    ck_run(promote);
    ck_run(read_back);
    ck_assert_uint_eq(lineage.count, 2);
    ck_assert(!has_proof); /* the new epoch is not proved by what proved the old one */
    struct repl_epoch second = repl_lineage_current(&lineage);
    ck_assert_uint_eq(second.number, 2);
    ck_assert(memcmp(first.id, second.id, sizeof(first.id)) != 0);
    ck_assert(repl_epoch_equal(&lineage.branches[1].parent, &first));
    ck_assert_uint_eq(lineage.branches[1].term, 5);
    ck_assert_uint_eq(lineage.branches[1].index, 90);
    struct repl_position beyond = {first, 5, 91};
    ck_assert(repl_lineage_includes(&lineage, &position));
    ck_assert(!repl_lineage_includes(&lineage, &beyond));
    world_end();
}
END_TEST

START_TEST(promote_without_having_followed)
{
    world_begin();
    ck_run(promote); /* its own log goes on: there is a first epoch now */
    ck_run(read_back);
    ck_assert_uint_eq(lineage.count, 1);
    ck_run(promote);
    ck_run(read_back);
    ck_assert_uint_eq(lineage.count, 1);
    world_end();
}
END_TEST

START_TEST(positions_from_elsewhere)
{
    world_begin();
    ck_run(ensure);
    position = (struct repl_position){{.number = 1, .id = {9, 9, 9}}, 5, 90}; /* not our epoch 1 */
    ck_run(write_position);
    ck_assert_int_eq(world_run(promote), 400);
    ck_run(read_back);
    ck_assert_uint_eq(lineage.count, 1);
    ck_assert(has_proof); /* nothing of the refused call was written */
    world_end();
}
END_TEST

static uint64_t recovery, cut_term, cut_index;

static cf_status recovered(struct request *rq, struct cf_error *err)
{
    return lineage_recovered(rq, recovery, cut_term, cut_index, err);
}

/* A recovery of a lost quorum: one new epoch each, which leaves out what was behind the cut. */
START_TEST(recovery_branches_where_it_cut_the_log)
{
    world_begin();
    recovery = 0;
    ck_run(recovered); /* never recovered, never replicated */
    recovery = 7;
    ck_run(recovered); /* recovered before it ever was a primary: an epoch that comes later is whole */
    ck_run(ensure);
    ck_run(recovered);
    ck_run(read_back);
    ck_assert_uint_eq(lineage.count, 1);
    struct repl_epoch first = repl_lineage_current(&lineage);
    recovery = 8;
    cut_term = 3;
    cut_index = 40;
    for (int i = 0; i < 2; i++) {
        ck_run(recovered);
        ck_run(read_back);
        ck_assert_uint_eq(lineage.count, 2);
    }
    ck_assert(!has_proof);
    struct repl_position inside = {first, 3, 40}, beyond = {first, 3, 41};
    ck_assert(repl_lineage_includes(&lineage, &inside));
    ck_assert(!repl_lineage_includes(&lineage, &beyond));
    recovery = 9; /* and again, by a leader that does not know where */
    cut_index = 0;
    ck_run(recovered);
    ck_run(read_back);
    ck_assert_uint_gt(repl_lineage_current(&lineage).number, 2);
    ck_assert(!repl_lineage_includes(&lineage, &inside));
    world_end();
}
END_TEST

START_TEST(forget)
{
    world_begin();
    ck_run(ensure);
    ck_run(read_back);
    struct repl_epoch first = repl_lineage_current(&lineage);
    ck_run(write_position);
    ck_run(forget_it);
    ck_run(read_back);
    ck_assert_uint_eq(lineage.count, 0);
    ck_assert(!has_proof);
    ck_run(ensure);
    ck_run(read_back);
    struct repl_epoch again = repl_lineage_current(&lineage);
    ck_assert(!repl_epoch_equal(&first, &again)); /* another history, although number 1 as well */
    world_end();
}
END_TEST

/* ---- a promotion raises what it changes, and no more ---- */

static struct repl_lineage set, line;
static bool with_primary;

static cf_status follow(struct request *rq, struct cf_error *err)
{
    CF_BUF(bytes) = {0};
    struct set_primary primary = {.id = CF_SLICE("set"), .ca = CF_SLICE("ca")};
    CF_TRY(lineage_ensure(rq, SET_PERFORMANCE, err));
    CF_TRY(lineage_ensure(rq, SET_DR, err));
    struct cf_slice record;
    CF_TRY(set_read_bytes(rq, set_lineage_key(SET_DR), &record, err));
    CF_TRY(repl_lineage_decode(record, &line, err));
    position = (struct repl_position){repl_lineage_current(&line), 5, 90};
    repl_position_encode(&position, &bytes);
    txn_put(rq->txn, set_position_key(SET_DR), cf_buf_slice(&bytes));
    if (with_primary) {
        set_write_primary(rq, SET_PERFORMANCE, &primary);
    }
    return CF_OK;
}

static cf_status promote_line(struct request *rq, struct cf_error *err)
{
    return lineage_promote(rq, SET_DR, err);
}

static cf_status read_both(struct request *rq, struct cf_error *err)
{
    struct cf_slice bytes;
    CF_TRY(set_read_bytes(rq, set_lineage_key(SET_PERFORMANCE), &bytes, err));
    CF_TRY(repl_lineage_decode(bytes, &set, err));
    CF_TRY(set_read_bytes(rq, set_lineage_key(SET_DR), &bytes, err));
    return repl_lineage_decode(bytes, &line, err);
}

/* The DR secondary of a performance secondary: its line has a new cluster, the set has the same primary. */
START_TEST(a_line_of_its_own)
{
    with_primary = false;
    world_begin();
    ck_run(follow);
    ck_run(promote_line);
    ck_run(read_both);
    ck_assert_uint_eq(line.count, 2);
    ck_assert_uint_eq(set.count, 1);
    world_end();
}
END_TEST

/* That of the shared primary takes both over, at the same place of the same log. */
START_TEST(the_line_of_the_primary)
{
    with_primary = true;
    world_begin();
    ck_run(follow);
    ck_run(promote_line);
    ck_run(read_both);
    ck_assert_uint_eq(line.count, 2);
    ck_assert_uint_eq(set.count, 2);
    ck_assert_uint_eq(set.branches[1].term, 5);
    ck_assert_uint_eq(set.branches[1].index, 90);
    struct repl_epoch one = repl_lineage_current(&set), two = repl_lineage_current(&line);
    /* Of two that are promoted at once the same one has to win both. */
    ck_assert_mem_eq(one.id, two.id, sizeof(one.id));
    world_end();
}
END_TEST

TEST_MAIN("node/server/replication/lineage", a_line_of_its_own, the_line_of_the_primary, ensure_once,
          promote_branches_at_the_position, promote_without_having_followed, positions_from_elsewhere,
          recovery_branches_where_it_cut_the_log, forget)

/* tests/unit/consensus/core/harness.h
 *
 * A few cores in memory, wired by hand: messages wait in one queue until they are delivered or
 * dropped, disks finish at once unless held, time stands still unless moved. The directed scenarios
 * of consensus.md section 14 are written with it.
 */
#ifndef COFFER_TEST_RAFT_HARNESS_H
#define COFFER_TEST_RAFT_HARNESS_H

#include "consensus/core/raft_int.h"
#include "test.h"

#define BENCH_NODES 6
#define T_US 500000
#define HEARTBEAT_US 50000

struct bench_write {
    uint64_t id, term, truncate_from;
    bool has_base, has_hard;
    struct raft_base base;
    struct raft_hard_state hard;
    struct raft_entry *entries[512];
    size_t count;
};

struct bench_node {
    uint64_t id;
    struct raft *raft; /* NULL: down */
    /* disk */
    struct raft_hard_state hard;
    struct raft_base base;
    struct raft_entry *log[512]; /* base.index + 1 .. */
    size_t count;
    struct bench_write *queue[64];
    size_t queue_count;
    bool hold_disk; /* writes wait for bench_sync() */
    /* what came out */
    uint64_t applied, apply_to;
    struct raft_read_result reads[512];
    size_t read_count;
    struct raft_snap_send snap_sends[8];
    size_t snap_send_count;
    uint64_t lost_term;
    uint64_t incarnation;
};

struct bench {
    uint64_t now_us;
    struct raft_options options; /* for all; id and seed are set for each */
    struct bench_node nodes[BENCH_NODES];
    struct raft_msg msgs[4096]; /* on their way, oldest first */
    size_t msg_count;
    bool cut[BENCH_NODES + 1][BENCH_NODES + 1];
    bool hold_msgs; /* bench_settle() delivers nothing */
    uint64_t sent[RAFT_MSG_KINDS];
};

/* Nodes 1..voters, running, a cluster that was founded with these voters. */
struct bench *bench_new(unsigned voters);
void bench_free(struct bench *b);
struct bench_node *bench_at(struct bench *b, uint64_t id);
struct raft *bench_raft(struct bench *b, uint64_t id);
/* A node that waits to be added. */
void bench_add(struct bench *b, uint64_t id);

/* Takes what is ready, everywhere, and delivers, until nothing moves. */
void bench_settle(struct bench *b);
/* Takes what is ready on one node. */
void bench_drain(struct bench *b, uint64_t id);
/* Moves the time in steps of a quarter heartbeat, ticking and settling. */
void bench_run(struct bench *b, uint64_t duration_us);
/* Delivers the oldest message of this kind to this node; false when there is none. */
bool bench_deliver(struct bench *b, uint64_t to, enum raft_msg_kind kind);
void bench_drop_all(struct bench *b);
/* Completes the first `count` held writes. */
void bench_sync(struct bench *b, uint64_t id, size_t count);
void bench_isolate(struct bench *b, uint64_t id);
void bench_heal(struct bench *b);
/* Only this node's time runs out; the others stay quiet. Settles. Asserts that it leads then. */
void bench_elect(struct bench *b, uint64_t id);
/* Lets the node's election timer expire now (others do not tick); does not settle. */
void bench_timeout(struct bench *b, uint64_t id);
/* The process dies: unsynced writes are gone (`keep` of them survive); comes back from its disk. */
void bench_restart(struct bench *b, uint64_t id, size_t keep);
void bench_stop(struct bench *b, uint64_t id, size_t keep);
void bench_start(struct bench *b, uint64_t id);

/* Proposes one entry on a node. */
cf_status bench_propose(struct bench *b, uint64_t id, const char *text, uint64_t *ret_index);
struct raft_status bench_status(struct bench *b, uint64_t id);
/* A simple configuration of these voters and learners (lists end with 0). */
struct raft_membership bench_members(const uint64_t *voters, const uint64_t *learners);
/* A read on a node; its result is found by the cookie afterwards, NULL before it comes. */
const struct raft_read_result *bench_read_result(struct bench *b, uint64_t id, uint64_t cookie);

#endif

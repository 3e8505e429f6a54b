/* tests/unit/replication/driver/fake.h
 *
 * A node with a driver, and behind it a cluster that is one log in memory: entries are short texts,
 * its state is all of them in a row. Several of them share one loop.
 */
#ifndef COFFER_TEST_REPL_FAKE_H
#define COFFER_TEST_REPL_FAKE_H

#include "node/base/memory.h"
#include "node/cluster/ca.h"
#include "node/crypto/random.h"
#include "replication/driver/driver.h"
#include "test.h"

enum { FAKE_LOG_MAX = 4096 };

struct fake {
    struct loop *loop;
    struct rpc *rpc;
    struct repl_driver *driver;
    struct repl_primary *primary;
    struct repl_secondary *secondary;
    /* the log as primary: entry i has index i + 1 and term 1 */
    struct repl_lineage lineage;
    char *entries[FAKE_LOG_MAX];
    uint64_t last, compacted; /* entries up to `compacted` are gone */
    /* as secondary */
    struct repl_position position;
    struct cf_buf state, stage;
    struct repl_stage kept, last_kept; /* of a copy under way */
    uint8_t kept_cursor[64];
    size_t kept_size;
    struct cf_buf known; /* the first page, of an earlier snapshot; empty: nothing */
    unsigned same;       /* as primary: pages that were not sent, since the secondary had them */
    unsigned switches, stage_begins, adoptions, installs, proposals;
    bool fail_proposals;
    /* both */
    char proof[32];
    unsigned fences, alarms, calls, peer_changes;
    char alarm[256], fenced_by[128], learned[REPL_ADDRESS_SIZE], learned_peer[REPL_ADDRESS_SIZE];
    bool revoked, may_serve, not_leader, open;
    const struct fake *standby; /* of the same cluster, for an active node */
    char redirect[REPL_ADDRESS_SIZE], own_address[REPL_ADDRESS_SIZE], peer_address[REPL_ADDRESS_SIZE];
    uint64_t snapshot_at, snapshots, pages;
    struct cf_buf snapshot;
    uint64_t keyring_version;
    /* repairs: one question and one answer, the whole state */
    bool has_data, repair_fails, holds_answers;
    struct repl_reply *held_reply;
    unsigned repair_begins, repair_ends, repairs, questions;
    uint64_t repair_snapshot;
};

extern struct loop *fake_loop;
extern struct ca *fake_ca;

void fake_set_up(void);
void fake_tear_down(void);
/* With a listener; epoch 1 as lineage when `founding`. */
struct fake *fake_new(bool founding);
void fake_free(struct fake *fake);
void fake_serve(struct fake *fake, enum repl_kind kind);
/* Follows the nodes (up to two, the second may be NULL) with certificate of `id` from `ca`. */
void fake_follow(struct fake *fake, enum repl_kind kind, struct ca *ca, const char *id,
                 const struct fake *first, const struct fake *second);
void fake_append(struct fake *fake, const char *text);
/* All of the log of a primary in a row. */
void fake_full(const struct fake *fake, struct cf_buf *ret);
struct node_tls *fake_tls(struct ca *ca, const char *role, const char *id);
/* Runs the loop until `is` says so. */
void fake_until(bool (*is)(const void *arg), const void *arg);

#endif

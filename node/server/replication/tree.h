/* node/server/replication/tree.h
 *
 * The hash tree of this node's state, per class of data (replication/core/tree.h), and the sum that the
 * nodes of a cluster compare (consensus/driver/digest.c). Over keys without the generation, which is each
 * cluster's own, and sealed values without the modification index, which is each log's own: two clusters
 * have equal roots exactly when they have the same data.
 *
 * The applier only notes which keys change (node/core/touched.h). The tree catches up when somebody asks,
 * on the thread that asks, between two snapshots: the old value of each noted key is taken out of its
 * leaf, the new one put in. What it costs grows with what changed, never with what is there; where most
 * of the state changed, and after a start or a snapshot from elsewhere, it is read whole once.
 *
 * A tree that is only kept up would not see bytes that change behind its back. So the state is read whole
 * now and then all the same (state_tree_check(), a fiftieth of the time at most) and compared with what was
 * kept; from then on the tree says what is there, and whoever compares it with another finds the difference.
 *
 * Thread: any; callers that need the tree at the same time wait for each other. None of it for the loop.
 */
#ifndef COFFER_SERVER_REPLICATION_TREE_H
#define COFFER_SERVER_REPLICATION_TREE_H

#include "node/core/core.h"
#include "node/core/touched.h"
#include "replication/core/position.h"
#include "replication/core/tree.h"

#define ROOT_TEXT_SIZE 41 /* 40 hex digits: the first 160 bits of the root */
#define TREE_CLASSES 2    /* replicated, cluster: class_number() */

struct state_tree;

struct state_tree *state_tree_new(struct core *core);
/* Readings under way end soon, with CF_UNAVAILABLE. Any thread. */
void state_tree_stop(struct state_tree *tree);
/* Nobody uses it any more; before the core. NULL is fine. */
void state_tree_free(struct state_tree *tree);
CF_DEFINE_OWNED(state_tree);

/* A moment of the state that several hold. */
struct tree_base {
    _Atomic unsigned references;
    struct state_moment moment;
};
struct tree_base *tree_base_ref(struct tree_base *base);
void tree_base_unref(struct tree_base *base); /* NULL is fine */

/* What does not go to everybody (replication.md 6.3: what is compared is what is sent). */
struct tree_filter {
    bool (*passes)(void *context, struct key key);
    void *context;
    struct cf_slice within; /* of class replicated in the root namespace: only names that begin so may be held
                               back; empty: any */
};
/* The tree of a kind as of now, without what a filter (may be NULL) holds back; one with `within` costs no
 * more than there is in it, others have everything read. base (may be NULL) is that moment, with a reference
 * for the caller. CF_UNAVAILABLE: there is no state yet; failures of the store. */
CF_CHECKED cf_status state_tree_now(struct state_tree *tree, enum repl_kind kind,
                                    const struct tree_filter *filter, struct repl_tree *ret,
                                    struct tree_base **ret_base, struct cf_error *err);
/* The root of a kind as of now, as status shows it. Free when nothing changed since the last call. */
CF_CHECKED cf_status state_tree_root(struct state_tree *tree, enum repl_kind kind,
                                     char ret[ROOT_TEXT_SIZE], struct cf_error *err);

/* The applier, between two batches: the sum at this index is wanted (the newest wish counts). */
void state_tree_capture(struct state_tree *tree, uint64_t index);
/* The sum over all that the state is (records of generations that are not current are none), at an index that was captured.
 * CF_NOT_FOUND: it was not, or a newer one was. The same as a scan makes it. */
CF_CHECKED cf_status state_tree_sum(struct state_tree *tree, uint64_t index, uint64_t *ret_sum,
                                    uint64_t *ret_records, struct cf_error *err);

/* By reading everything. *stop: CF_UNAVAILABLE. */
CF_CHECKED cf_status state_tree_scan(struct kv_view view, struct kv_family *state, const atomic_bool *stop,
                                     uint64_t *ret_sum, uint64_t *ret_records, struct cf_error *err);

/* The applier, now and then: has a worker catch up where the notes have become many. */
void state_tree_nudge(struct state_tree *tree);

/* Any thread: has a worker catch up now, so that the moment of the last time is held no longer: a snapshot keeps what
 * was deleted since. */
void state_tree_let_go(struct state_tree *tree);

/* What reading everything has shown. */
struct tree_report {
    int64_t checked_ns;                           /* wall time; 0: never */
    uint64_t records;                             /* that were read */
    uint64_t took_us;                             /* the last one */
    uint64_t checks, found;                       /* since the start: comparisons, and those that found something */
    struct repl_leaf_set damaged[TREE_CLASSES];   /* leaves whose data is not what was written here */
    uint8_t roots[TREE_CLASSES][REPL_HASH_SIZE];  /* of what is there */
    bool is_damaged;                              /* any of them, or data of class own */
};
/* Reads the whole state and compares it with the tree; from then on the tree is what was read. */
CF_CHECKED cf_status state_tree_check(struct state_tree *tree, struct tree_report *ret,
                                      struct cf_error *err);
/* Is anybody interested: is there a tree at all? */
bool state_tree_is_kept(struct state_tree *tree);
/* Of the last check. */
void state_tree_report(struct state_tree *tree, struct tree_report *ret);
/* Makes the tree anew from what is stored. state_tree_progress tells how far it is. */
CF_CHECKED cf_status state_tree_rebuild(struct state_tree *tree, struct cf_error *err);
struct tree_progress {
    bool is_building;
    uint64_t done, total; /* records; total: as of the last time */
    int64_t built_ns;     /* wall time of the last one that was asked for; 0: never */
};
void state_tree_progress(struct state_tree *tree, struct tree_progress *ret);

/* The tree of a kind as this moment has it, by reading everything. filter may be NULL. */
CF_CHECKED cf_status state_tree_read(const struct state_moment *moment, enum repl_kind kind,
                                     const struct tree_filter *filter, struct repl_tree *ret,
                                     struct cf_error *err);
/* The first 160 bits of a root. */
void tree_root_text(const struct repl_tree *tree, char ret[ROOT_TEXT_SIZE]);
/* The hash of one record. */
void tree_record_hash(struct key key, struct cf_slice sealed, uint8_t ret[REPL_HASH_SIZE]);

#endif

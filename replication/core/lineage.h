/* replication/core/lineage.h
 *
 * The line of epochs that led to a state, oldest first: each epoch, its parent, and the position in
 * the parent's log where it branched off. Both sides of a connection state theirs first. Whose
 * lineage is no prefix of the other's has diverged at the last common branch; the higher epoch wins
 * (design 5.5). Pure; thread: any.
 *
 *     epoch 1 ----------o 90 ----- 120      A, primary until it died; 91..120 were never shipped
 *                        \
 *     epoch 2             o---------------  C, promoted at (epoch 1, 90)
 */
#ifndef COFFER_REPLICATION_LINEAGE_H
#define COFFER_REPLICATION_LINEAGE_H

#include "replication/core/position.h"

#define REPL_LINEAGE_MAX 256 /* epochs; each promotion adds one */
#define REPL_LINEAGE_SIZE_MAX ((size_t)8 + (size_t)REPL_LINEAGE_MAX * 64)

struct repl_branch {
    struct repl_epoch epoch;
    struct repl_epoch parent; /* number 0 for the first */
    uint64_t term, index;     /* the last entry of the parent's log that this epoch includes */
};

/* count 0: a cluster that never had a state of the set. */
struct repl_lineage {
    size_t count;
    struct repl_branch branches[REPL_LINEAGE_MAX];
};

/* A promotion: `epoch` (its number above the current one's) branches off at `at`, which is where
 * the promoted state stands (ignored for the first epoch). Epochs behind that of `at` are left out:
 * a secondary that adopted an epoch and received nothing of it yet has no part in its history.
 * CF_INVALID for a number that is not higher or a position outside of the lineage, CF_TOO_LARGE
 * when full. */
CF_CHECKED cf_status repl_lineage_raise(struct repl_lineage *lineage,
                                        const struct repl_epoch *epoch,
                                        const struct repl_position *at, struct cf_error *err);
/* A DR secondary takes its line over at `at`, its position in the log that it followed: the line's lineage is
 * raised, and with it (set not NULL) that of the set whose shared primary this line is. Both epochs get one id:
 * of two that are promoted at once, the same one has to win both. A set lineage that does not know yet of the
 * promotion in whose log `at` stands (its entry comes after the data of before) branches at the very beginning:
 * an index of one log says nothing of another, so its secondaries compare themselves. */
CF_CHECKED cf_status repl_lineage_promote(struct repl_lineage *line, struct repl_lineage *set,
                                          const struct repl_position *at, const uint8_t id[16],
                                          struct cf_error *err);
/* Where everybody who follows has to begin anew: behind the entry that every log begins with, a configuration.
 * (Index 0 is no branch point: it stands for "nowhere yet".) */
struct repl_position repl_lineage_beginning(const struct repl_lineage *lineage);
/* Number 0 when empty. */
struct repl_epoch repl_lineage_current(const struct repl_lineage *lineage);
/* Place of an epoch, or -1. */
int repl_lineage_find(const struct repl_lineage *lineage, const struct repl_epoch *epoch);

enum repl_relation {
    REPL_SAME,          /* equal */
    REPL_OURS_OLDER,    /* ours is a proper prefix of theirs: they have seen newer epochs */
    REPL_THEIRS_OLDER,  /* theirs is a proper prefix of ours */
    REPL_DIVERGED_LOST, /* neither, and their current epoch wins */
    REPL_DIVERGED_WON,  /* neither, and ours wins */
};
/* *common (may be NULL): how many epochs they share. */
enum repl_relation repl_lineage_compare(const struct repl_lineage *ours,
                                        const struct repl_lineage *theirs, size_t *common);
/* Where the shared history ends: the last position, in the log of the last common epoch, that both
 * include (the smaller of both branch points). False when they share no epoch. When one is a prefix
 * of the other it is where the longer one left; for equal ones ret->index is UINT64_MAX. */
bool repl_lineage_branch_point(const struct repl_lineage *a, const struct repl_lineage *b,
                               struct repl_position *ret);

/* May somebody at `position` be brought forward along `lineage`, as far as epochs tell? False: it
 * is beyond a branch point, or of an epoch that is no part of it: diverged, repair. (Whether the
 * entry itself is still held, only the log knows.) The beginning (index 0) always may. */
bool repl_lineage_includes(const struct repl_lineage *lineage,
                           const struct repl_position *position);

/* Version 1, kind (1: set epochs; 2 is for line epochs), count, then per branch epoch, parent,
 * term, index and one byte how it was proved (0; handover comes later). */
void repl_lineage_encode(const struct repl_lineage *lineage, struct cf_buf *out);
/* CF_CORRUPT unless each parent is the epoch before it, numbers rise and sizes fit; CF_UNSUPPORTED
 * for a version that this build does not know. */
CF_CHECKED cf_status repl_lineage_decode(struct cf_slice bytes, struct repl_lineage *ret,
                                         struct cf_error *err);

#endif

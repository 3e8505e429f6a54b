/* node/core/once.h
 *
 * Request records (design 3.2): a forwarded request carries an id, and the entry of its effect carries a
 * record under that id. So whoever forwards may try again after a broken connection or a change of leader,
 * and nothing runs twice: the second run finds the record and gives the first run's answer.
 *
 * A record stands at request/<group><id>. The group is the leader's time at the first try, in steps; whole
 * groups are dropped once they are old, and a mark (the floor) says up to which. Record and floor are in the
 * read set of the run: a run that passed them by is refused at append. So the outcome of an id is asked of
 * the state alone, never of a clock.
 *
 * This file decides and touches nothing; the simulator drives it as the frame (once_record.c) and the
 * forwarders (node/server) do.
 */
#ifndef COFFER_CORE_ONCE_H
#define COFFER_CORE_ONCE_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/status.h"

#define ONCE_ID_SIZE ((size_t)40) /* cluster 16, node 8, incarnation 8, sequence 8 */
#define ONCE_KEY_SIZE ((size_t)32)
#define ONCE_GROUP_NS ((int64_t)10 * 1000000000)
/* Groups that are kept: 3 minutes, twice what a request may take (90 s). */
#define ONCE_KEEP_GROUPS ((uint64_t)18)
/* A group further ahead of the active node's time than this would stay too long. */
#define ONCE_AHEAD_GROUPS ((uint64_t)6)
/* Answers up to here are kept, of larger ones only that they were given. */
#define ONCE_ANSWER_MAX ((size_t)64 * 1024)

struct once {
    bool is_present;
    bool is_own; /* this node gave the id */
    uint8_t id[ONCE_ID_SIZE];
    uint8_t key[ONCE_KEY_SIZE]; /* one-time: the kept answer is encrypted under it; stored nowhere */
    uint64_t group;             /* once_group() at the first try */
    uint32_t tries;             /* 1: no try before this one can have run */
    /* Said by the run: */
    uint64_t regroup; /* not 0: not run; ask again under this group */
    bool no_records;  /* not run: ask again without an id (once_withdraw) */
    bool is_final;    /* the outcome is unknown and will stay so */
};

static inline uint64_t once_group(int64_t now_ns)
{
    return now_ns > 0 ? (uint64_t)(now_ns / ONCE_GROUP_NS) : 0;
}

enum once_verdict {
    ONCE_RUN,
    ONCE_REPLAY,  /* it ran: its record is the answer */
    ONCE_REGROUP, /* a first try under a group that is not kept: not run, ask again under the current one */
    ONCE_GONE,    /* it may have run, and the record may be gone: unknown (504) */
};
/* floor: records of groups below it are dropped; now: once_group() of the view. */
enum once_verdict once_judge(const struct once *once, bool has_record, uint64_t floor, uint64_t now);

/* Up to which group records may be dropped now. */
uint64_t once_droppable(uint64_t now);

/* Groups that one entry drops at most. */
#define ONCE_DROP_MAX 32

/* ---- who forwards ---- */

enum once_next {
    ONCE_TRY_AGAIN, /* soon, with what *once says now */
    ONCE_UNTOUCHED, /* give up: it was never run (503) */
    ONCE_UNKNOWN,   /* give up: it may have run (504) */
    ONCE_REFUSED,   /* give up: the status is the answer */
};
/* A try ended without an answer. `sent`: bytes of it may have left. `repeatable`: it only reads. Times on
 * one monotonic clock: nobody is sought past seek_until as long as nothing can have run, nor past
 * outcome_until when something may have. */
enum once_next once_failed(struct once *once, cf_status status, bool sent, bool repeatable,
                           uint64_t now_us, uint64_t seek_until_us, uint64_t outcome_until_us);
/* Not run: the active node asks for another group. False: too often. */
/* The active node keeps no records yet (node/base/level.h): who gave the id takes it back, for good. False: an
 * earlier try may have run, so the outcome is unknown. */
bool once_withdraw(struct once *once);
bool once_regroup(struct once *once, uint64_t group, unsigned *count);

#endif

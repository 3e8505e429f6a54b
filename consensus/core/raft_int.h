/* consensus/core/raft_int.h
 *
 * What the files of consensus/core share. One struct raft, split by idea: log.c (what is in the log
 * and how much of it is durable), config.c (who is in force), quorum.c (majorities), progress.c and
 * replicate.c (a leader's view of its peers), election.c, transfer.c, read.c, snapshot.c, ready.c
 * (writes in flight and messages held back), raft.c (dispatch).
 */
#ifndef COFFER_CONSENSUS_CORE_RAFT_INT_H
#define COFFER_CONSENSUS_CORE_RAFT_INT_H

#include <assert.h>
#include <string.h>

#include "consensus/core/raft.h"
#include "node/base/host.h"
#include "node/base/memory.h"

/* Wrong on purpose, for the test that proves that the simulator finds bugs (tests/sim/README.md).
 * Only the library of that test is compiled with RAFT_MUTATIONS. */
enum raft_mutant {
    MUTANT_NONE,
    MUTANT_COMMIT_OLD_TERM,        /* commits entries of older terms by counting (Raft figure 8) */
    MUTANT_VOTE_BEFORE_SYNC,       /* counts its own vote, and asks for others, before the sync */
    MUTANT_ACK_BEFORE_PERSIST,     /* acknowledges entries before they are durable */
    MUTANT_READ_BEFORE_COMMIT,     /* answers ReadIndex before an entry of its term is committed */
    MUTANT_PREVOTE_CLEARS_VOTE,    /* canonical/raft#196 */
    MUTANT_APPLY_BEFORE_DURABLE,   /* etcd#14370 */
    MUTANT_SELF_MATCH_BEFORE_SYNC, /* a leader counts its own entries before they are durable */
    MUTANT_READ_WITHOUT_ROUND,     /* answers reads without proving leadership */
    MUTANT_ABA_COMPLETION,         /* completions are not cut back by truncation (I-21) */
    MUTANT_CHANGE_BEFORE_COMMIT,   /* membership changes before the term's first commit */
    MUTANT_JOINT_ONE_MAJORITY,     /* a joint configuration asks the new half alone */
    MUTANT_GRANT_OLD_LOG,          /* votes for candidates with an older log */
    MUTANT_CONFIG_NO_ROLLBACK,     /* truncation keeps the configuration it cut */
    MUTANT_VOTE_TWICE,             /* forgets that it voted in this term */
    MUTANT_RECOVERING_VOTES,       /* votes although its log is not trustworthy */
    MUTANT_RECOVERED_EARLY,        /* takes the next message for the end of its recovery */
    MUTANT_READ_RETRY_SAME_ID,     /* a read that is asked for again keeps its id (etcd#20418) */
    MUTANT_COMMIT_BEYOND_CLAMPED,  /* a commit, or an acknowledgement, beyond its log is not noticed (etcd#12483) */
    MUTANT_REMOVED_LEADER_STAYS,   /* leads on without being a member (etcd#11038) */
    MUTANT_SNAP_DOUBLE_INSTALL,    /* takes a snapshot while one is installed (etcd#18055) */
    MUTANT_RELOAD_BASE_CONFIG,     /* forgets the log's configurations at the start (etcd#19557) */
    MUTANT_STALLED_LEADS,          /* a leader with a slow disk leads on (hashicorp/raft#503) */
    MUTANT_EXLEADER_STICKY,        /* an ex-leader refuses everybody (hashicorp/raft#605) */
    MUTANT_PREVOTE_RESETS_TIMER,   /* a granted pre-vote counts as contact (hashicorp/raft#609) */
    MUTANT_NO_STICKINESS,          /* votes although its leader is there (hashicorp/raft#524) */
    MUTANT_REMOVED_NOT_TOLD,       /* nobody tells a removed node, which asks for ever */
    MUTANT_TRANSFER_PROPOSES,      /* takes proposals while it hands over (hashicorp/raft#570) */
    MUTANT_TRANSFER_EARLY,         /* hands over before the target has everything */
    MUTANT_TRANSFER_PREVOTE,       /* the target asks for pre-votes first (canonical/raft#203) */
    MUTANT_CONFIG_COMPACTED,       /* keeps no configuration to roll back to (canonical/raft#250) */
    MUTANT_TRUNCATE_FORGETS,       /* leaves uncut what is being written (canonical/raft#470) */
    MUTANT_DEMOTED_STAYS_OUT,      /* who demotes itself never campaigns (scylladb#10618) */
    MUTANT_JOINT_LEFT_EARLY,       /* leaves a joint configuration uncommitted (camunda#60086) */
    MUTANT_NO_CHECK_QUORUM,        /* a leader that nobody hears leads on (openraft#2080) */
    MUTANT_REJECT_NO_CONTACT,      /* a rejected APPEND is no contact (redpanda#30815) */
    MUTANT_WINDOW_IGNORED,         /* sends without regard to the window (etcd#14624) */
    MUTANT_LEARNER_COUNTS,         /* a learner's acknowledgement counts */
    MUTANT_LEASE_NO_MARGIN,        /* a lease as long as the clocks allow, and longer */
    MUTANT_LEASE_AFTER_TRANSFER,   /* reads by its lease after TIMEOUT_NOW */
    MUTANT_APPEND_COMMIT_UNCUT,    /* a follower commits what it was not shown to share */
    MUTANT_FORMER_LIVES,           /* the host's: hears a process that has ended (I-23) */
    MUTANT_COUNT
};
#ifdef RAFT_MUTATIONS
extern enum raft_mutant raft_mutation;
#define MUTANT(which) (raft_mutation == (which))
#else
#define MUTANT(which) false
#endif

/* ---- log.c ---------------------------------------------------------------------------------- */

/* All entries from `first` up to the next run have this term. */
struct raft_term_run {
    uint64_t first, term;
};

/* base.index .. last. The tail is kept in memory at least from the first entry that is not durable,
 * usually from the first uncommitted one; what lies before it comes from the log reader. */
struct raft_log {
    uint64_t base_index, base_term;
    uint64_t last;
    uint64_t durable; /* what is on disk up to here is what is meant to be there */
    uint64_t handed;  /* given to a write */
    uint64_t commit;
    uint64_t truncate_from;     /* for the next write: 0 none */
    struct raft_term_run *runs; /* the first one begins at the base */
    size_t run_count, run_capacity;
    struct raft_entry **tail; /* tail[head] .. tail[head + count - 1] is the entry `last` */
    size_t head, count, capacity;
    size_t tail_bytes;       /* of all entries of the tail */
    size_t nondurable_bytes; /* of those above durable */
};

void raft_log_init(struct raft_log *log, uint64_t base_index, uint64_t base_term);
void raft_log_done(struct raft_log *log);
/* Finds where terms begin by bisection. */
cf_status raft_log_load(struct raft_log *log, uint64_t last, const struct raft_log_reader *reader,
                        struct cf_error *err);
/* False outside of base .. last. */
bool raft_log_term(const struct raft_log *log, uint64_t index, uint64_t *ret);
uint64_t raft_log_last_term(const struct raft_log *log);
bool raft_log_matches(const struct raft_log *log, uint64_t index, uint64_t term);
/* The largest index <= `index` whose term is <= `term`; never below the base. */
uint64_t raft_log_before_term(const struct raft_log *log, uint64_t index, uint64_t term);
/* First index of the tail; last + 1 when it is empty. */
uint64_t raft_log_tail_first(const struct raft_log *log);
/* Takes a reference. The entry must be last + 1. */
void raft_log_append(struct raft_log *log, struct raft_entry *entry);
/* Removes the entries >= from (> commit). */
void raft_log_truncate(struct raft_log *log, uint64_t from);
void raft_log_reset(struct raft_log *log, uint64_t base_index, uint64_t base_term);
void raft_log_compact(struct raft_log *log, uint64_t index);
void raft_log_set_durable(struct raft_log *log, uint64_t index);
/* Lets go of durable entries that are committed, or all durable ones beyond max_bytes. */
void raft_log_trim(struct raft_log *log, bool leader, size_t max_bytes);

/* ---- config.c ------------------------------------------------------------------------------- */

struct raft_config {
    uint64_t index, term;
    struct raft_membership membership;
};

/* The base's and every one above it, oldest first; the last one is in force. */
struct raft_configs {
    struct raft_config **list;
    size_t count, capacity;
};

/* ---- progress.c ----------------------------------------------------------------------------- */

struct raft_inflight {
    uint64_t last; /* index of the last entry of the message */
    size_t bytes;
};

struct raft_progress {
    uint64_t id;
    enum raft_peer_state state;
    uint64_t match, next;
    uint64_t probe_last; /* probe: the last entry of the message that asks; its answer ends it */
    bool paused;         /* probe: one is on its way */
    bool reader_busy;    /* its entries are being fetched */
    bool acked;          /* something was acknowledged since the last heartbeat reply */
    uint64_t sent_commit;
    uint64_t heard_us; /* of this leadership; starts at the election */
    uint64_t acked_round;
    uint64_t snapshot_after_us; /* a failed snapshot is not repeated before this */
    uint64_t last_index;
    uint32_t condition;
    struct raft_inflight *ring; /* window_messages of them */
    size_t ring_head, ring_count, ring_bytes;
};

void raft_progress_init(struct raft_progress *p, uint64_t id, uint64_t next, size_t window);
void raft_progress_done(struct raft_progress *p);
void raft_progress_probe(struct raft_progress *p, uint64_t next);
void raft_progress_replicate(struct raft_progress *p);
void raft_progress_snapshot(struct raft_progress *p);
bool raft_progress_window_full(const struct raft_progress *p, const struct raft_options *options);
void raft_progress_sent(struct raft_progress *p, const struct raft_options *options, uint64_t last,
                        size_t bytes);
void raft_progress_acked(struct raft_progress *p, const struct raft_options *options,
                         uint64_t index);

/* ---- the whole ------------------------------------------------------------------------------ */

struct raft_write {
    uint64_t id, term;
    uint64_t last_index; /* of the log after it, less what was truncated since */
    bool install;
};

struct raft_held {
    uint64_t after; /* leaves when this write is durable */
    struct raft_msg msg;
};

struct raft_read_item {
    uint64_t cookie;            /* local */
    struct raft_read_id remote; /* .node != 0: a follower's */
    uint64_t round;             /* leader: answered when this round is confirmed; 0: not assigned */
    uint64_t index;
    uint64_t deadline_us;
};

#define RAFT_TERM_MAX ((uint64_t)1 << 62) /* a peer that names more talks nonsense */
#define RAFT_ROUNDS_KEPT 64
#define RAFT_OUTBOX_MAX 16384

struct raft {
    struct raft_options options;
    uint64_t now_us;
    struct cf_prng prng;

    /* hard state */
    uint64_t term, vote;
    bool hard_state_dirty;
    uint64_t hard_state_write; /* the write that makes term and vote durable */
    uint64_t commit_handed;    /* the hint of the last write */

    enum raft_role role;
    uint64_t leader;
    uint64_t leader_heard_us; /* last contact with a leader; cleared when own leadership ends */
    uint32_t condition;
    bool told_removed, was_member;
    uint64_t recover_to;     /* RECOVERING ends when this is durable; 0: not known yet */
    struct raft_acked acked[RAFT_MEMBERS_MAX]; /* amnesia.c */
    uint64_t quiet_until_us; /* with leases: no votes, this process does not know whom it heard */
    struct raft_counters counters;

    struct raft_log log;
    struct raft_configs configs;
    uint64_t applied, apply_handed;

    /* election */
    uint64_t election_deadline_us;
    unsigned failed_rounds;
    uint8_t votes[RAFT_MEMBERS_MAX]; /* parallel to the members in force: VOTE_* */
    bool own_vote_waits;             /* until hard_state_write is durable */
    bool transfer_campaign;

    /* leader */
    struct raft_progress *peers; /* parallel to the members in force; NULL elsewhere */
    size_t peer_count;
    uint64_t term_start; /* index of the first entry of its term */
    uint64_t heartbeat_due_us;
    uint64_t transfer_to, transfer_deadline_us, transfer_pause_us;
    bool timeout_now_sent; /* in this term: no lease any more */

    /* reads */
    uint64_t round, confirmed_round;
    uint64_t round_sent_us[RAFT_ROUNDS_KEPT];
    uint64_t lease_start_us;
    struct raft_read_item *reads;
    size_t read_head, read_count, read_capacity;
    uint64_t forward_seq; /* last used */
    bool forward_out;     /* the first forward_count reads were asked for under forward_seq */
    size_t forward_count;
    uint64_t forward_retry_us;

    /* snapshots */
    struct raft_base *install; /* for the next write */
    bool installing;           /* from raft_snapshot_install() until it is durable */

    /* output */
    uint64_t next_write, done_write; /* ids; all <= done_write are durable */
    struct raft_write writes[RAFT_WRITES_MAX];
    size_t write_head, write_count;
    struct raft_held *outbox;
    size_t outbox_count, outbox_capacity;
    struct raft_snap_send *snap_sends;
    size_t snap_send_count, snap_send_capacity;
    struct raft_read_result *results;
    size_t result_count, result_capacity;
    uint64_t leadership_lost_term, lost_unheard_us;
    enum raft_loss lost_why;
    bool membership_changed;
    struct raft_soft_state soft_given;
    bool soft_given_once;

    /* what the last ready points to */
    struct raft_base *given_install;
    struct raft_entry **given_entries;
    size_t given_entry_count;
    struct raft_msg *given_msgs;
    size_t given_msg_count;
    struct raft_snap_send *given_snap_sends;
    struct raft_read_result *given_results;
};

enum { VOTE_UNKNOWN, VOTE_YES, VOTE_NO };

uint32_t raft_crc32c_portable(uint32_t crc, const void *bytes, size_t size);

/* quorum.c: the one function behind votes, commits, rounds and CheckQuorum. values[i] belongs to
 * members[i]; returns the largest v such that a majority (of each half when joint) has value >= v;
 * 0 for a configuration without voters. */
uint64_t raft_quorum_value(const struct raft_membership *m, const uint64_t *values);

/* config.c */
const struct raft_config *raft_config_in_force(const struct raft *r);
const struct raft_config *raft_config_at(const struct raft *r, uint64_t index);
bool raft_config_is_committed(const struct raft *r);
void raft_config_push(struct raft *r, uint64_t index, uint64_t term,
                      const struct raft_membership *m);
/* Drops the configurations at >= from; the one before is in force again. */
void raft_config_rollback(struct raft *r, uint64_t from);
void raft_config_reset(struct raft *r, const struct raft_base *base);
void raft_config_compact(struct raft *r, uint64_t index);
void raft_configs_done(struct raft_configs *configs);
/* Leader, after commit moved: leaves a joint configuration, or stops when it was removed. */
void raft_config_committed(struct raft *r);
bool raft_is_removed(const struct raft *r);

/* election.c */
void raft_election_reset_timer(struct raft *r);
void raft_election_timeout(struct raft *r);
void raft_election_campaign(struct raft *r, bool transfer);
void raft_election_own_vote(struct raft *r); /* after its write is durable */
bool raft_election_is_sticky(const struct raft *r);
bool raft_election_may_campaign(const struct raft *r);
bool raft_election_is_sole_voter(const struct raft *r); /* wins as soon as it asks itself */
void raft_election_on_vote(struct raft *r, const struct raft_msg *m);
void raft_election_on_vote_reply(struct raft *r, const struct raft_msg *m);
void raft_become_follower(struct raft *r, uint64_t term, uint64_t leader);
void raft_step_down(struct raft *r, enum raft_loss why); /* a leader, of its own accord */

/* transfer.c */
uint64_t raft_transfer_best(const struct raft *r, bool unsealed_only);
void raft_transfer_advance(struct raft *r, struct raft_progress *p);
void raft_transfer_tick(struct raft *r);
void raft_transfer_on_timeout_now(struct raft *r, const struct raft_msg *m);
void raft_transfer_and_leave(struct raft *r);

/* replicate.c */
void raft_replicate_start(struct raft *r);
void raft_replicate_stop(struct raft *r);
void raft_replicate_sync_peers(struct raft *r); /* after the configuration changed */
struct raft_progress *raft_replicate_peer(struct raft *r, uint64_t id);
struct raft_progress *raft_replicate_self(struct raft *r);
void raft_replicate_heartbeat(struct raft *r); /* starts a round */
void raft_replicate_flush(struct raft *r);
void raft_replicate_append(struct raft *r, struct raft_entry *entry); /* takes a reference */
void raft_replicate_maybe_commit(struct raft *r);
void raft_replicate_on_append_reply(struct raft *r, const struct raft_msg *m);
void raft_replicate_on_heartbeat_reply(struct raft *r, const struct raft_msg *m);
uint64_t raft_replicate_heard_us(struct raft *r); /* leader: a majority was heard since then */
bool raft_replicate_has_quorum(struct raft *r);

/* amnesia.c */
void raft_amnesia_note(struct raft *r, uint64_t id, uint64_t index, uint64_t term);
void raft_amnesia_note_peers(struct raft *r);                   /* leader */
void raft_amnesia_tell(struct raft *r, struct raft_msg *m);     /* on its way out */
void raft_amnesia_hear(struct raft *r, const struct raft_msg *m);
uint32_t raft_amnesia_condition(const struct raft *r); /* of who learns now that it lost entries */
/* The candidate has acknowledged more than it says that it has. */
bool raft_amnesia_forgot(struct raft *r, const struct raft_msg *vote);

/* follow.c */
void raft_follow_on_append(struct raft *r, const struct raft_msg *m);
void raft_follow_on_heartbeat(struct raft *r, const struct raft_msg *m);
/* False when `from` cannot lead this term. */
bool raft_follow_contact(struct raft *r, uint64_t from);
void raft_follow_acknowledge(struct raft *r, uint64_t index, uint64_t round);
void raft_follow_maybe_recovered(struct raft *r);

/* read.c */
bool raft_read_is_ready(const struct raft *r); /* an entry of its own term is committed */
void raft_read_pump(struct raft *r);
void raft_read_assign(struct raft *r); /* a round begins: waiting reads belong to it */
void raft_read_round_acked(struct raft *r);
void raft_read_fail_all(struct raft *r, cf_status status);
void raft_read_tick(struct raft *r);
uint64_t raft_read_deadline_us(const struct raft *r);
void raft_read_on_request(struct raft *r, const struct raft_msg *m);
void raft_read_on_reply(struct raft *r, const struct raft_msg *m);

/* ready.c */
void raft_outbox_push(struct raft *r, struct raft_msg *msg); /* takes over msg->entries */
/* An acknowledgement: leaves when the log up to index is durable. */
void raft_outbox_push_ack(struct raft *r, struct raft_msg *msg);
void raft_outbox_drop_terms_below(struct raft *r, uint64_t term);
void raft_msg_done(struct raft_msg *msg);
void raft_ready_truncated(struct raft *r, uint64_t from);
void raft_ready_done(struct raft *r);

/* raft.c */
void raft_advance_time(struct raft *r, uint64_t now_us);
void raft_set_commit(struct raft *r, uint64_t commit);
void raft_truncate(struct raft *r, uint64_t from);
void raft_fill_soft(const struct raft *r, struct raft_soft_state *ret);
uint32_t raft_own_flags(const struct raft *r); /* for replies */

/* Grows an array to hold `count` items. */
void raft_grow(void *array_of_pointers, size_t *capacity, size_t count, size_t size);

#endif

/* consensus/core/raft.h
 *
 * The Raft state machine (Ongaro's thesis; etcd-io/raft's doc.go and cowsql/raft's docs taught the
 * shape). It is pure: messages, time, proposals and completions go in through functions; one
 * `struct raft_ready` comes out and says what to write, send, apply and answer. It never waits,
 * reads a clock, draws randomness from outside or calls back, except for the log reader below.
 *
 * THE CONTRACT BETWEEN CORE AND DRIVER
 *
 * Thread. One thread owns a core. Nothing here is called from inside the log reader. A completion
 * is queued and reported later, never from within the handling of the ready that started it.
 *
 * Time. Every input carries `now_us`, monotonic microseconds of an arbitrary origin; a value below
 *   one seen before counts as that one. Deadlines are absolute: call raft_tick() no later than
 *   raft_deadline_us() (later only delays). Ask for the deadline again after each input.
 *
 * Loop. After any input (or a batch of them) call raft_take_ready(); when it returns true, do:
 *
 *   1. WRITE, when write_id != 0: one atomic batch, in this order inside it: `install` (switch to a
 *      received snapshot, drop the whole log, set the base), `truncate_from` (delete entries >=
 * it), `entries` (append), `hard_state`. Then sync. Writes are done strictly in the order of their
 *      ids, several may be merged under one sync, and none may be skipped. When it is durable, call
 *      raft_on_persisted(write_id, write_term). Do not wait for it: go on with 2, take further
 *      readies. At most RAFT_WRITES_MAX writes are in flight; the core keeps back more by itself.
 *      A write that fails is fatal, at once: answer nothing more and end the process
 *      (consensus.md 13.1). There is no way to report it to the core.
 *   2. SEND `msgs` at once, in order per peer. The core has already held back whatever must not
 * leave before a write is durable (a vote, an acknowledgement, a new term), so that no message has
 * to wait in the driver; a leader's APPEND leaves in parallel with its own write (thesis 10.2.1).
 *      Messages may be lost, repeated and reordered. A full send queue: drop the newest and call
 *      raft_on_unreachable(). The driver puts cluster id, incarnation and feature level into the
 *      frame, drops frames of another cluster, recipient, epoch or claimed identity before they
 *      reach raft_step(), and may add fields of its own to HEARTBEAT and HEARTBEAT_R frames.
 *   3. SNAPSHOTS: each of `snap_sends` names a follower that the log cannot serve any more; see
 *      "Snapshots" below.
 *   4. APPLY the entries apply_from..apply_to (inclusive; none when apply_from is 0), in order,
 * from the driver's cache or log. All are committed AND durable here. Effects and applied index go
 *      into one batch. Report progress with raft_on_applied(); ranges follow each other without
 * gap, and more ranges may come before the first is reported. NOOP, CONFIG and BARRIER entries are
 *      in the range, too (they move `applied`).
 *   5. ANSWER `reads` (a read is served once applied >= index; with status != CF_OK it is failed or
 *      tried again as a new read), note `soft`, `leadership_lost_term`.
 *
 *   Steps 2-5 need not wait for step 1. Everything that a ready points to stays valid until the
 * next raft_take_ready() or raft_free(); entries may be kept longer by taking references.
 *
 * Proposals. raft_propose() gives each entry its index and term at once; order is the order of
 * calls. The outcome is known when the entry with that index is applied HERE: the same term means
 *   committed, another term means never. Losing leadership (leadership_lost_term) or truncation
 * decides nothing: an entry that was cut here may be reinstated by a later leader
 * (canonical/raft#470). So a waiting client is told "outcome unknown", or keeps waiting for that
 * index.
 *
 * Durable state. The driver keeps, and hands to raft_new():
 *   hard state {term, vote, commit hint}; base {index, term, membership} = where the log begins
 * (index 0 on a new node; membership: the first voter alone on the node that founds a cluster,
 * empty on one that waits to be added); the entries base.index+1 .. last, without a gap; `applied`
 * of the state machine. Membership has exactly one source: the base and the CONFIG entries of the
 * log. The configuration in force is the newest one in the log, committed or not.
 *
 * Completions carry the write's id and the term at issue; the core pairs them with what it
 * remembers of that write, less whatever was truncated since, so that the completion of an older
 * write never marks newer content durable (I-21). A completion that fits no write in flight is
 * ignored.
 *
 * Snapshots. The transport of the bytes is the driver's. Leader: `snap_sends` asks for one; the
 * driver takes a snapshot of the state at some applied index, asks raft_describe() for the term and
 * the membership at that index, sends offer and chunks (each carrying from, its raft term and the
 *   descriptor's index), and ends with raft_on_snapshot_sent(). Until then the core sends that
 * follower heartbeats only. When leadership is lost, the driver drops its transfers. Follower: each
 * offer goes through raft_snapshot_offer(), each chunk through raft_snapshot_contact(); once all
 * bytes are verified and durable in staging, raft_snapshot_install(). The switch comes back as
 * `install` of a write. The reply to the leader is the core's.
 *
 * Compaction. The driver decides when (applied state flushed, trailing entries, replication floor);
 *   raft_compact() moves the core's base and returns the record to persist, through the log
 * writer's queue, together with or before the deletion of the entries <= base.index. It needs no
 * sync.
 *
 * Errors. Functions that can refuse return cf_status and change nothing when they do. What comes
 * from the network never reaches an assert.
 */
#ifndef COFFER_CONSENSUS_CORE_RAFT_H
#define COFFER_CONSENSUS_CORE_RAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "consensus/core/entry.h"
#include "consensus/core/membership.h"
#include "node/base/own.h"
#include "node/base/slice.h"
#include "node/base/status.h"

struct raft;

#define RAFT_NONE ((uint64_t)0) /* no node */
#define RAFT_WRITES_MAX 64      /* writes in flight */

/* ---- messages ------------------------------------------------------------------------------- */

/* Reach the wire as numbers: add at the end only. An unknown kind is dropped and counted. */
enum raft_msg_kind {
    RAFT_MSG_PRE_VOTE = 1,
    RAFT_MSG_PRE_VOTE_R = 2,
    RAFT_MSG_VOTE = 3,
    RAFT_MSG_VOTE_R = 4,
    RAFT_MSG_APPEND = 5,
    RAFT_MSG_APPEND_R = 6,
    RAFT_MSG_HEARTBEAT = 7,
    RAFT_MSG_HEARTBEAT_R = 8,
    RAFT_MSG_TIMEOUT_NOW = 9,
    RAFT_MSG_READ_INDEX = 10,
    RAFT_MSG_READ_INDEX_R = 11,
    RAFT_MSG_KINDS /* one more than the last; 12.. on the wire are the driver's own kinds */
};

/* Bits of raft_msg.flags. */
#define RAFT_MSG_TRANSFER 1u /* VOTE: breaks stickiness (the leader itself asked for it) */
#define RAFT_MSG_REMOVED                                                                           \
    2u                      /* vote replies: the configuration in force at the committed entry     \
                               hint_index, of hint_term, lacks you */
#define RAFT_MSG_SEALED 4u  /* replies: the sender is sealed */
#define RAFT_MSG_STALLED 8u /* replies: the sender's disk is too slow to lead */
#define RAFT_MSG_RECOVERING 16u /* replies: the sender's log is not trustworthy; APPEND: I know */

/* Never reused, not even for a retry (etcd#20418). */
struct raft_read_id {
    uint64_t node, incarnation, seq;
};

/* The highest committed entry that a node is known to have acknowledged; index 0: not known (amnesia.c). */
struct raft_acked {
    uint64_t id, index, term;
};

/* Flat; a field that the kind does not use is 0. */
struct raft_msg {
    enum raft_msg_kind kind;
    uint32_t flags;
    uint64_t from, to;
    uint64_t term; /* PRE_VOTE and a granting PRE_VOTE_R: the term asked for */
    /* APPEND: the entry before `entries`. APPEND_R: the last entry known to match, or, with reject,
     * the predecessor that did not. VOTE, PRE_VOTE: the candidate's last entry. */
    uint64_t log_index, log_term;
    uint64_t commit; /* APPEND: leader's; HEARTBEAT: min(match, commit); READ_INDEX_R: the index */
    bool reject;
    uint64_t hint_index, hint_term; /* APPEND_R with reject: where to go on; see REMOVED, too */
    uint64_t last_index;            /* replies of followers: their last entry */
    uint64_t round;                 /* HEARTBEAT, HEARTBEAT_R (and APPEND, APPEND_R): read round */
    struct raft_read_id read_id;    /* READ_INDEX, READ_INDEX_R */
    struct raft_acked acked;        /* all kinds: what the recipient acknowledged */
    struct raft_acked acked_other;  /* HEARTBEAT: what another member did; id 0: not said */
    size_t entry_count;             /* APPEND */
    struct raft_entry **entries;    /* a message in a ready holds references; one that is stepped
                                       is borrowed, and the core takes references to what it keeps */
};

/* ---- creation ------------------------------------------------------------------------------- */

/* How the core reads durable entries (those of completed writes, never others). Called on the
 * core's thread from inside any input or raft_take_ready(), must not call the core, and must answer
 * at once: from the cache of the log's hot tail or else CF_BUSY while a side thread fetches. */
struct raft_log_reader {
    void *context;
    /* Used only inside raft_new(), a logarithmic number of times for each term in the log. */
    cf_status (*term_of)(void *context, uint64_t index, uint64_t *ret, struct cf_error *err);
    /* References to the entries from, from+1, ... <= to: at least one, else as many as fit in
     * max_bytes (by raft_entry_size) and max_count. The core unrefs them. CF_NOT_FOUND: compacted,
     * the follower gets a snapshot; CF_BUSY: ask again after raft_on_log_ready() or at the next
     * heartbeat; anything else: as CF_BUSY, and counted. */
    cf_status (*entries)(void *context, uint64_t from, uint64_t to, size_t max_bytes,
                         size_t max_count, struct raft_entry **ret, size_t *ret_count,
                         struct cf_error *err);
};

struct raft_hard_state {
    uint64_t term, vote; /* vote: RAFT_NONE when none in this term */
    uint64_t commit;     /* a hint: may lag, never leads what was committed */
};

struct raft_base {
    uint64_t index, term;
    struct raft_membership membership; /* committed, as of index */
};

/* The host's view of the node; bits for raft_set_condition() and raft_options.condition. */
#define RAFT_SEALED 1u  /* campaigns last; as leader hands over to an unsealed caught-up voter */
#define RAFT_STALLED 2u /* disk too slow: does not campaign; as leader hands over or steps down */
#define RAFT_RECOVERING                                                                            \
    4u /* log not trustworthy: neither votes nor campaigns. Set by the host at                     \
          start (e.g. last < commit hint), or by the core; the core ends it when                   \
          the log is whole again */
#define RAFT_AMNESIAC                                                                              \
    8u /* others know of acknowledged entries that are not here, so votes may be lost, too: RECOVERING \
          for good; the node has to come back under a new id. Set by the core, and by the host at a \
          start that remembers it (together with RECOVERING) */

struct raft_options {
    uint64_t id;                        /* this node */
    uint64_t incarnation;               /* random per process start */
    uint64_t seed;                      /* of the timers' randomness */
    uint64_t heartbeat_us, election_us; /* defaults 50 ms and T = 500 ms */
    bool preferred;                     /* draws its timeouts from the early part */
    bool use_priority;  /* someone is preferred: the others draw from the later part */
    bool lease_reads;   /* off by default; must be equal on all voters */
    bool amnesia_ends;  /* simulator: RECOVERING is all that amnesia brings, as nobody gives new ids there */
    uint32_t condition; /* initial RAFT_SEALED etc. */
    /* Limits; 0 takes the default. */
    size_t append_bytes_max;      /* 1 MiB of entries a message; one larger entry may go alone */
    size_t append_entries_max;    /* 1024 */
    size_t window_messages;       /* 256 unacknowledged APPENDs a follower (at most) */
    size_t window_bytes;          /* 16 MiB of them */
    size_t uncommitted_bytes_max; /* 64 MiB; beyond it proposals are CF_BUSY */
    size_t reads_max;             /* 65536 reads waiting; beyond it CF_BUSY */
    struct raft_log_reader reader;
};

/* Defaults as above for a LAN; the caller fills in id, incarnation, seed and reader. */
void raft_options_default(struct raft_options *options);

struct raft_start {
    struct raft_hard_state hard_state;
    struct raft_base base;
    uint64_t last_index; /* of the log; base.index when it is empty */
    uint64_t applied; /* of the state machine; base.index <= applied <= last_index, else it starts
                         RECOVERING (applied beyond the log) */
    /* Every CONFIG entry above the base, ascending; borrowed for the call. */
    struct raft_entry *const *configs;
    size_t config_count;
};

/* Starts as a follower. CF_INVALID for impossible options, CF_CORRUPT when what the disk says
 * cannot be (a base above the log, a gap, terms that fall, a config that does not decode). Copies
 * all. */
CF_CHECKED cf_status raft_new(const struct raft_options *options, const struct raft_start *start,
                              uint64_t now_us, struct raft **ret, struct cf_error *err);
void raft_free(struct raft *raft); /* NULL is fine */
CF_DEFINE_OWNED(raft);

/* ---- inputs --------------------------------------------------------------------------------- */

/* Lets time pass. */
void raft_tick(struct raft *raft, uint64_t now_us);
/* When the core next wants raft_tick(); UINT64_MAX: no need. */
uint64_t raft_deadline_us(const struct raft *raft);

/* A message from a peer (already authenticated as msg->from, entries checked by raft_entry_load).
 * Nonsense is dropped and counted. */
void raft_step(struct raft *raft, uint64_t now_us, const struct raft_msg *msg);

/* Appends `count` entries (made by raft_entry_new; types DATA, DATA_BATCH, BARRIER), all or none:
 * fills in term, index and checksum of each, takes references. *ret_index is the index of the
 * first; the term is raft_status().term. CF_NOT_LEADER (see raft_status().leader), CF_BUSY
 * (uncommitted limit, or a transfer is under way: try again later), CF_INVALID (count 0, a type
 * that may not be proposed, an entry that was proposed before). */
CF_CHECKED cf_status raft_propose(struct raft *raft, uint64_t now_us,
                                  struct raft_entry *const *entries, size_t count,
                                  uint64_t *ret_index, struct cf_error *err);

/* A linearizable read begins. Its result comes once in `reads` of a later ready under the same
 * cookie (which need not be unique): read when applied >= index. On any node; a follower asks the
 * leader. CF_NOT_LEADER: no leader known, nothing was queued. CF_BUSY: too many are waiting. */
CF_CHECKED cf_status raft_read(struct raft *raft, uint64_t now_us, uint64_t cookie,
                               struct cf_error *err);
/* With lease_reads: call after the state was read and before the answer leaves, on a leader whose
 * result said by_lease; false means that the read must be repeated (a paused process woke up). */
bool raft_lease_valid(const struct raft *raft, uint64_t now_us);

/* Moves the cluster to `target`, a simple configuration (roles RAFT_VOTER and RAFT_LEARNER). The
 * core decides: one voter more or fewer, or learners and texts only: one entry; everything else
 * (replace one of three) a joint configuration that it leaves by itself. *ret_index: the first
 * CONFIG entry. CF_NOT_LEADER; CF_BUSY while another change, a transfer, or the first commit of the
 * term is pending; CF_INVALID for a configuration that cannot be; CF_EXISTS when it is the one in
 * force. */
CF_CHECKED cf_status raft_change_membership(struct raft *raft, uint64_t now_us,
                                            const struct raft_membership *target,
                                            uint64_t *ret_index, struct cf_error *err);

/* Hands leadership to a voter (RAFT_NONE: the best one). Proposals are CF_BUSY until it has
 * happened or election_us has passed; see raft_status().transfer_to. CF_NOT_LEADER; CF_INVALID: no
 * voter, or itself; CF_BUSY: another transfer is pending; CF_UNAVAILABLE: no voter would do. */
CF_CHECKED cf_status raft_transfer(struct raft *raft, uint64_t now_us, uint64_t to,
                                   struct cf_error *err);

/* Replaces RAFT_SEALED and RAFT_STALLED as given. RAFT_RECOVERING may be set here, never cleared.
 */
void raft_set_condition(struct raft *raft, uint64_t now_us, uint32_t condition);

/* ---- completions ---------------------------------------------------------------------------- */

/* The write is durable (and with it all writes before it). */
void raft_on_persisted(struct raft *raft, uint64_t now_us, uint64_t write_id, uint64_t write_term);
/* The state machine has applied everything up to index. */
void raft_on_applied(struct raft *raft, uint64_t now_us, uint64_t index);
/* A message to this peer was dropped, or its connection broke. */
void raft_on_unreachable(struct raft *raft, uint64_t now_us, uint64_t peer);
/* Entries for which the reader answered CF_BUSY may be there now. */
void raft_on_log_ready(struct raft *raft, uint64_t now_us);

/* ---- snapshots ------------------------------------------------------------------------------ */

/* Term and membership at an index (base.index <= index <= commit): the descriptor of a snapshot
 * that was taken there. CF_NOT_FOUND below the base, CF_INVALID above commit. */
CF_CHECKED cf_status raft_describe(const struct raft *raft, uint64_t index, struct raft_base *ret,
                                   struct cf_error *err);

/* Leader: the transfer to this peer ended; ok: the follower has reported the install of `index`;
 * else it failed, and the core asks again after a pause of one election_us. */
void raft_on_snapshot_sent(struct raft *raft, uint64_t now_us, uint64_t peer, uint64_t index,
                           bool ok);

/* Follower: a leader offers a snapshot at (index, term). CF_OK: fetch it. CF_EXISTS: not needed,
 * the leader is told by an APPEND_R. CF_STALE: the sender's raft term is over; it is told. CF_BUSY:
 * an install is under way. Counts as contact with the leader unless stale. */
CF_CHECKED cf_status raft_snapshot_offer(struct raft *raft, uint64_t now_us, uint64_t from,
                                         uint64_t from_term, uint64_t index, uint64_t term,
                                         struct cf_error *err);
/* Follower: a chunk came: contact with the leader. CF_STALE: the sender is no leader any more. */
CF_CHECKED cf_status raft_snapshot_contact(struct raft *raft, uint64_t now_us, uint64_t from,
                                           uint64_t from_term, struct cf_error *err);
/* Follower: all of the snapshot is verified and durable in staging. CF_OK: the next ready has it as
 * `install` (once a write slot is free). CF_EXISTS, CF_STALE and CF_BUSY as with the offer;
 * CF_INVALID for a membership that cannot be. */
CF_CHECKED cf_status raft_snapshot_install(struct raft *raft, uint64_t now_us, uint64_t from,
                                           uint64_t from_term, const struct raft_base *snapshot,
                                           struct cf_error *err);

/* Moves the base to index, forgetting what is below. CF_INVALID above applied (or while an install
 * is under way), CF_EXISTS when the base is there already. *ret is what the driver persists. */
CF_CHECKED cf_status raft_compact(struct raft *raft, uint64_t index, struct raft_base *ret,
                                  struct cf_error *err);
/* The highest index that raft_compact() may be given without sending an active follower into a
 * snapshot: min(applied, matches of followers heard within election_us) on a leader, else applied.
 */
uint64_t raft_compact_limit(const struct raft *raft);

/* ---- output --------------------------------------------------------------------------------- */

enum raft_role { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };

struct raft_read_result {
    uint64_t cookie;
    uint64_t index;
    cf_status status; /* CF_OK; CF_NOT_LEADER: leadership moved; CF_TIMEOUT: no answer in time */
    bool by_lease;
};

struct raft_snap_send {
    uint64_t peer;
    uint64_t above; /* the snapshot's index must be >= this (the leader's base) */
};

struct raft_soft_state {
    enum raft_role role;
    uint64_t term, leader; /* leader: RAFT_NONE when unknown */
    bool leader_ready;     /* leads, and an entry of its own term is committed: reads and changes of
                              membership are possible, and all earlier entries are in the log */
    bool removed;          /* the committed configuration lacks this node */
    uint32_t condition;
};

/* Why a node stopped leading: for the operator, nothing is decided by it. */
enum raft_loss {
    RAFT_LOSS_NONE,
    RAFT_LOSS_TERM,     /* another node began a later term */
    RAFT_LOSS_TRANSFER, /* as it was to: it had handed over */
    RAFT_LOSS_QUORUM,   /* no majority answered for an election timeout (CheckQuorum) */
    RAFT_LOSS_DISK,     /* its own disk stood still (13.2), or has lost data, and nobody could take over at once */
    RAFT_LOSS_REMOVED,  /* the configuration without it is committed */
};
const char *raft_loss_text(enum raft_loss why);

struct raft_ready {
    uint64_t write_id, write_term; /* write_id 0: nothing to write */
    const struct raft_base *install;
    uint64_t truncate_from; /* 0: none */
    struct raft_entry *const *entries;
    size_t entry_count;
    bool has_hard_state;
    struct raft_hard_state hard_state;

    const struct raft_msg *msgs;
    size_t msg_count;

    const struct raft_snap_send *snap_sends;
    size_t snap_send_count;

    uint64_t apply_from, apply_to;

    const struct raft_read_result *reads;
    size_t read_count;

    bool soft_changed; /* `soft` differs from the one of the ready before */
    struct raft_soft_state soft;
    uint64_t
        leadership_lost_term; /* not 0: since the last ready this node stopped leading that term */
    enum raft_loss lost_why;
    uint64_t lost_unheard_us; /* how long before that a majority was heard last */
    bool membership_changed;  /* the configuration in force is another one: raft_membership() */
};

/* False when there is nothing to do (*ret is then empty). */
bool raft_take_ready(struct raft *raft, struct raft_ready *ret);

/* ---- questions ------------------------------------------------------------------------------ */

enum raft_peer_state { RAFT_PROBE, RAFT_REPLICATE, RAFT_SNAPSHOT };

struct raft_peer_status {
    uint64_t id;
    enum raft_peer_state state;
    uint64_t match, next, last_index; /* last_index: as it last said */
    uint32_t condition;               /* as it last said */
    uint64_t heard_us;                /* now_us of the last message from it; 0: never */
    size_t inflight_messages, inflight_bytes;
};

struct raft_status {
    struct raft_soft_state soft;
    uint64_t id, term, vote, leader;
    uint64_t commit, applied, durable, last_index, last_term;
    uint64_t base_index, base_term;
    uint64_t transfer_to;  /* RAFT_NONE: none pending */
    uint64_t config_index; /* of the configuration in force; base.index when it is the base's */
    bool config_committed, joint;
    size_t uncommitted_bytes, reads_waiting, writes_in_flight;
    uint64_t leader_heard_us; /* last contact with the leader of this term; 0: none */
};

/* Monotone since raft_new(); for metrics. */
struct raft_counters {
    uint64_t elections, elections_lost, pre_votes, transfers, step_downs;
    uint64_t votes_refused_sticky, votes_refused_log, votes_refused_voted, votes_refused_condition;
    uint64_t appends_sent, appends_rejected, heartbeats_sent, snapshots_wanted, snapshots_installed;
    uint64_t dropped_nonsense, dropped_stale, dropped_full, read_rounds, reader_errors;
    uint64_t truncations, commit_beyond_last;
    uint64_t amnesia; /* others knew of an acknowledged entry that is not here */
};

void raft_status(const struct raft *raft, struct raft_status *ret);
void raft_counters(const struct raft *raft, struct raft_counters *ret);
/* The configuration in force; borrowed until the next input. */
const struct raft_membership *raft_membership(const struct raft *raft);
/* What a leader knows of its peers: fills at most max, returns how many there are (0 elsewhere). */
size_t raft_peers(const struct raft *raft, struct raft_peer_status *ret, size_t max);
/* Names for logs. */
const char *raft_role_name(enum raft_role role);
const char *raft_msg_kind_name(enum raft_msg_kind kind);

#endif

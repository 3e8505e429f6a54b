/* replication/core/secondary.h
 *
 * The receiver of a secondary: one state machine, stepped with events, each of which leaves an
 * update: what the driver has to do now. It persists nothing; the position travels inside what is
 * proposed, so that state and position can't part. Pure; thread: its owner's.
 *
 *   IDLE --enabled--> CONNECTING --connected--> GREETING --answer--> PREPARING --+--> STREAM_WALS
 *                        ^  (lost, refused)        |  ^                           |
 *                        |                         v  | switched                  v
 *                        +------- WAITING <--------+--+--------------------- BOOTSTRAPPING
 *   every state --promoted, demoted, disabled--> CLOSED
 *
 * Contract with the driver:
 *  - Requests of an update are performed in the order of their bits. A completion is fed as an
 * event later, never from inside the step, with the session of the update that asked for it.
 *  - Messages of the peer are fed only when they came on the connection of the current session.
 *  - A step that fails closed the connection: its update holds, too.
 *  - REQUEST_HELLO comes only when nothing that we proposed is under way: only then the log's last
 *    position is final, and the hello may state it.
 */
#ifndef COFFER_REPLICATION_SECONDARY_H
#define COFFER_REPLICATION_SECONDARY_H

#include "node/base/host.h"
#include "replication/core/fence.h"
#include "replication/core/mutant.h"

enum {
    SECONDARY_BACKOFF_MIN_MS = 100,
    SECONDARY_BACKOFF_MAX_MS = 5000,
    SECONDARY_PROPOSALS_MAX = 8, /* batches proposed and not yet committed */
    SECONDARY_QUEUE_MAX = 128, /* batches received and not yet committed; a peer sends at most 64 */
    SECONDARY_REDIRECTS_MAX = 4, /* followed at once, in a row */
    SECONDARY_CURSOR_MAX = 16384,
};

enum secondary_state {
    SECONDARY_IDLE,
    SECONDARY_WAITING,
    SECONDARY_CONNECTING,
    SECONDARY_GREETING,
    SECONDARY_PREPARING,
    SECONDARY_BOOTSTRAPPING,
    SECONDARY_STREAM_WALS,
    SECONDARY_CLOSED,
    SECONDARY_STATE_COUNT
};

/* The answer to our hello. */
enum repl_verdict {
    REPL_STREAM = 1,    /* batches follow from the stated position, once we say so */
    REPL_BOOTSTRAP = 2, /* the position is gone, or beyond a branch point: take a snapshot */
    REPL_REDIRECT = 3,  /* another node serves */
    REPL_DEPOSED = 4,   /* we have seen a newer epoch than that primary */
    REPL_REFUSED = 5,
};

enum secondary_event_type {
    SECONDARY_EV_ENABLED,
    SECONDARY_EV_TIMEOUT, /* timeout_at_ms is reached */
    SECONDARY_EV_CONNECTED,
    SECONDARY_EV_ANSWER,
    SECONDARY_EV_INSTALLED, /* completions: status */
    SECONDARY_EV_ADOPTED,
    SECONDARY_EV_SNAPSHOT,
    SECONDARY_EV_PAGE,
    SECONDARY_EV_STAGED, /* of begin, page or switch, whichever was under way */
    SECONDARY_EV_REPAIRED, /* completion. CF_TOO_LARGE, CF_UNSUPPORTED, CF_CORRUPT: by a copy, then */
    SECONDARY_EV_KEYRING,
    SECONDARY_EV_BATCH,
    SECONDARY_EV_PROPOSED,
    SECONDARY_EV_LOST,
    SECONDARY_EV_CLOSE, /* promoted, demoted, disabled */
    SECONDARY_EV_COUNT
};

struct secondary_event {
    enum secondary_event_type type;
    uint64_t now_ms;
    uint64_t session; /* completions: of the update that asked */
    cf_status status; /* completions, SNAPSHOT, PAGE */
    /* ANSWER: the verdict; what our hello said; what they say */
    enum repl_verdict verdict;
    struct repl_position position; /* ... and SNAPSHOT: what it is a state of */
    const struct repl_lineage *own, *theirs;
    bool verified, has_keyring, has_redirect;
    bool has_data; /* ours is a copy of that set's data, of whatever moment */
    /* SNAPSHOT, PAGE */
    uint64_t snapshot_id, keys, bytes;
    struct cf_slice cursor; /* of the page after this one */
    bool done;
    /* BATCH, PROPOSED */
    uint64_t seq;
    struct repl_position from, to;
};

enum {
    SECONDARY_CLOSE_LINK = 1 << 0, /* and forget what came on it */
    SECONDARY_ALARM = 1 << 1,
    SECONDARY_SET_TIMER = 1 << 2, /* timeout_at_ms */
    SECONDARY_CONNECT = 1 << 3,
    SECONDARY_HELLO = 1 << 4,
    SECONDARY_INSTALL = 1 << 5, /* the keyring that came last */
    SECONDARY_ADOPT = 1 << 6,   /* the lineage of the answer */
    SECONDARY_START = 1 << 7,   /* tell the primary to stream */
    SECONDARY_OPEN = 1 << 8,    /* a snapshot; snapshot_id: resume this one, 0: a new one */
    SECONDARY_STAGE_BEGIN = 1 << 9,
    SECONDARY_STAGE_PAGE = 1 << 10, /* the oldest page that came and was not yet staged */
    SECONDARY_STAGE_SWITCH = 1 << 11,
    SECONDARY_FETCH_PAGE = 1 << 12, /* at `cursor` */
    SECONDARY_PROPOSE = 1 << 13,    /* batches propose_first.. , propose_count of them */
    SECONDARY_ACK = 1 << 14,        /* ack_seq, position */
    SECONDARY_REPAIR = 1 << 15,     /* against snapshot_id, of `position`; one completion */
};

/* A copy under way: what of which snapshot is staged. */
struct secondary_stage {
    uint64_t snapshot_id; /* 0: there is none */
    struct repl_position position;
    uint64_t total_keys, total_bytes, staged_keys, staged_bytes;
    bool is_whole;
    struct cf_slice cursor; /* of the first page that is not staged */
};

struct secondary_update {
    unsigned requests;
    uint64_t session, timeout_at_ms, snapshot_id;
    uint64_t propose_first, propose_count, ack_seq;
    struct repl_position position; /* ACK, STAGE_SWITCH */
    struct cf_slice cursor;        /* borrowed until the next step */
};

struct secondary_slot {
    struct repl_position to;
    bool done;
};

struct secondary {
    enum secondary_state state;
    struct cf_prng prng;
    uint64_t session; /* of the connection; rises with each attempt */
    unsigned backoff_ms, redirects;
    /* under way in our own Raft: proposals of batches, and at most one of the others */
    unsigned proposals, ops;
    bool hello_waits;
    /* answer */
    bool bootstrap_next, adopt_next, installing, install_again;
    struct repl_lineage followed; /* the primary's, as of its answer */
    /* stream: seqs are of the session, from 1 */
    struct repl_position received, committed;
    uint64_t seq_received, seq_proposed, seq_committed;
    struct secondary_slot slots[SECONDARY_QUEUE_MAX]; /* by seq */
    /* bootstrap: survives a lost connection */
    uint64_t snapshot_id;
    struct repl_position snapshot_position;
    uint64_t total_keys, total_bytes, staged_keys, staged_bytes;
    enum { STAGE_NONE, STAGE_BEGINNING, STAGE_PAGING, STAGE_SWITCHING } staging;
    bool stage_begun, stage_whole;  /* all pages are in */
    struct cf_buf cursor;           /* of the first page that is not staged */
    struct cf_buf next;             /* of the page after the one being staged */
    uint64_t page_keys, page_bytes; /* of the one being staged */
    bool page_done;
    bool fetching, held; /* a page is asked for; one waits for the stage */
    struct cf_buf held_next;
    uint64_t held_keys, held_bytes;
    bool held_done;
    uint64_t bootstraps;
    /* repair: what differs instead of everything (repair.h) */
    bool repair_next, repairing;
    bool repair_failed; /* since the last stream: a copy it is */
    uint64_t repairs;
};

/* seed: of the jitter. */
void secondary_init(struct secondary *s, uint64_t seed);
void secondary_done(struct secondary *s);
/* Goes on with a stage that was kept, by this receiver or another one of this cluster; not while it streams or copies.
 * Without effect where a stage is under way. */
void secondary_resume(struct secondary *s, const struct secondary_stage *stage);
/* The cursor is borrowed until the next step. */
struct secondary_stage secondary_stage_of(const struct secondary *s);
/* At SECONDARY_STAGE_PAGE: what it will be once that page is in. */
struct secondary_stage secondary_stage_behind(const struct secondary *s);

/* CF_CORRUPT: the peer broke the protocol (the update closes the connection). CF_INVALID: the event
 * has no place in this state; nothing happened. Other statuses are those of failed completions, or
 * say why the peer can't be followed; the update closes the connection, and the timer tries again.
 */
CF_CHECKED cf_status secondary_step(struct secondary *s, const struct secondary_event *ev,
                                    struct secondary_update *ret, struct cf_error *err);

/* As status shows it: "idle", "merkle-diff" (a repair), "merkle-sync" (a copy), "stream-wals". */
const char *secondary_state_text(const struct secondary *s);

#endif

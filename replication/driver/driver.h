/* replication/driver/driver.h
 *
 * Replication between clusters, the part that moves bytes: streams of log entries, snapshots, keys
 * and forwarded requests over mutual TLS on the cluster port. What to do is decided in
 * replication/core; what touches consensus, state and requests is behind struct repl_host.
 *
 *     repl_driver      one a node; has the handlers of the REPL_ messages
 *     repl_primary     serves one kind: any unsealed node of a primary, for as long as it is one;
 *                      which node serves whom: replication/core/place.h
 *     repl_secondary   follows a primary: the active node of a secondary (and, for calls only, any)
 *     repl_claimant    tells a former primary that it was replaced, until it knows
 *
 * Everything is for the main loop's thread, host functions and callbacks included. Bytes of
 * batches, pages, keyrings and calls are opaque here. Slices are borrowed for the call only, both
 * ways. Addresses are "host:port"; "https://host:port" is taken, too.
 */
#ifndef COFFER_REPLICATION_DRIVER_H
#define COFFER_REPLICATION_DRIVER_H

#include "node/base/host.h"
#include "node/base/own.h"
#include "node/cluster/identity.h"
#include "node/cluster/loop.h"
#include "node/cluster/rpc.h"
#include "replication/core/fence.h"
#include "replication/core/lineage.h"
#include "replication/core/position.h"
#include "replication/core/secondary.h"

struct repl_driver;
struct repl_primary;
struct repl_secondary;
struct repl_claimant;
struct repl_reply;

#define REPL_BATCH_BYTES_MAX ((size_t)12 << 20) /* of one batch: an entry is never split */
#define REPL_PAGE_BYTES_MAX ((size_t)12 << 20)
#define REPL_CURSOR_MAX ((size_t)16 << 10)
#define REPL_PROOF_MAX ((size_t)64 << 10)
#define REPL_KEYRING_MAX ((size_t)4 << 20)
#define REPL_PUBLIC_KEY_MAX ((size_t)4 << 10)
#define REPL_CALL_BYTES_MAX ((size_t)12 << 20)
#define REPL_ADDRESSES_MAX 32 /* of one list */
#define REPL_ADDRESS_SIZE 256
#define REPL_ID_SIZE (IDENTITY_PART_MAX + 1)

struct repl_address_list {
    size_t count;
    char text[REPL_ADDRESSES_MAX][REPL_ADDRESS_SIZE];
};
/* Appends a copy; false (and nothing happens) when it is full, too long, empty or there already. */
bool repl_address_add(struct repl_address_list *list, struct cf_slice text);

/* ---- what the node gives ---- */

/* Calls back exactly once, on the main loop, now or later (also inside the function that takes it).
 * err is never NULL. After repl_*_free it does nothing, but it still has to come. */
typedef void (*repl_done_fn)(void *arg, cf_status status, const struct cf_error *err);

/* As repl_done_fn; question (borrowed for the call): what to ask the primary. */
typedef void (*repl_question_fn)(void *arg, cf_status status, struct cf_slice question,
                                 const struct cf_error *err);

/* One piece of the stream. */
struct repl_batch {
    struct cf_buf bytes;      /* may be empty although `to` moved: all of it was filtered */
    struct repl_position to;  /* after the batch, in our epoch; equal to `from`: nothing new */
    uint64_t entries;         /* of the log that it stands for, what was left out included */
    int64_t stamp_ns;         /* the leader's time stamp of its last entry */
    uint64_t keyring_version; /* that it may need; rises with each change, 0: don't care */
};

struct repl_snapshot {
    uint64_t id;                   /* chosen by the host, unique on this node, never 0 */
    struct repl_position position; /* what the pages together are a state of */
    uint64_t keys, bytes;          /* estimates */
    uint64_t keyring_version;
};

/* A page of a snapshot: what is asked for, and the answer. */
struct repl_page_query {
    uint64_t snapshot;
    struct cf_slice cursor; /* empty: the first one */
    struct cf_slice until;  /* it ends before this key; empty: no bound */
    struct cf_slice hash;   /* SHA-256 of what the secondary has there of another snapshot; empty: nothing */
    size_t max_bytes;
};
struct repl_page {
    struct cf_buf data, next; /* data is empty if it is the same */
    uint64_t keys, size;      /* size: of the data */
    bool done, same;
};
/* page: borrowed for the call. */
typedef void (*repl_page_fn)(void *arg, cf_status status, const struct repl_page *page,
                             const struct cf_error *err);

/* A copy under way, as it is kept for the next receiver. */
struct repl_stage {
    struct secondary_stage is; /* is.cursor: in `cursor` */
    struct cf_buf cursor;
    char address[REPL_ADDRESS_SIZE]; /* of the node that has the snapshot */
};

/* Who of our cluster may serve a secondary. Addresses are of cluster ports. */
#define REPL_STANDBYS_MAX 8
struct repl_places {
    bool is_active;                 /* this node leads */
    uint64_t entry_bytes;           /* of our log, on the average */
    uint64_t silent_ms;             /* since it heard its leader; 0: it leads */
    bool may_serve;                 /* unsealed, a primary, in contact with its leader */
    char active[REPL_ADDRESS_SIZE]; /* of the active node, when it is another one; "": unknown */
    /* As an active node knows them: standbys that could serve, and up to where they have the log. */
    size_t standby_count;
    uint64_t holds_to[REPL_STANDBYS_MAX];
    char standbys[REPL_STANDBYS_MAX][REPL_ADDRESS_SIZE];
};

struct repl_host {
    void *ctx;

    /* -- both sides -- */

    /* Our lineage (count 0: none). */
    void (*lineage)(void *ctx, enum repl_kind kind, struct repl_lineage *ret);
    /* Proof of our lineage: made with our own key, or kept from who proved it to us. Appends;
     * nothing when there is none. */
    void (*claim_sign)(void *ctx, enum repl_kind kind, struct cf_buf *proof);
    /* Does `proof` prove the current epoch of `lineage`? */
    bool (*claim_verify)(void *ctx, enum repl_kind kind, const struct repl_lineage *lineage,
                         struct cf_slice proof);
    /* We are primary, and `lineage`, proved, is newer: refuse clients and background proposals from
     * now on. Called again while it goes on being true; the status should say `by`. */
    void (*fence)(void *ctx, enum repl_kind kind, const struct repl_lineage *lineage,
                  struct cf_slice proof, const char *by);
    /* Somebody claimed more than was proved; or followed a line that is not ours. */
    void (*alarm)(void *ctx, enum repl_kind kind, const char *text);
    /* Cluster addresses of our own nodes (told to the other side in hellos and heartbeats). */
    void (*own_addresses)(void *ctx, enum repl_kind kind, struct repl_address_list *ret);
    /* A list of the other side's addresses that changed: keep it (dial lists survive a restart).
     * id: of the secondary, on a primary; "" on a secondary. `peers` (on a secondary): addresses of
     * the primary's DR secondaries, where the primary may move to. */
    void (*learned)(void *ctx, enum repl_kind kind, const char *id,
                    const struct repl_address_list *addresses,
                    const struct repl_address_list *peers);

    /* -- primary -- */

    /* Registered and not revoked? (Its certificate was verified.) The status and text of a refusal
     * reach the secondary. */
    cf_status (*authorise)(void *ctx, enum repl_kind kind, const char *id,
                           const uint8_t fingerprint[32], struct cf_error *err);
    /* `ret` is zeroed. */
    void (*places)(void *ctx, enum repl_kind kind, struct repl_places *ret);
    /* A secondary came, went, or began to stream: what repl_primary_status() says has changed. */
    void (*peer_changed)(void *ctx, enum repl_kind kind);
    /* Our last applied position of this kind, in our epoch, and its stamp. */
    void (*applied)(void *ctx, enum repl_kind kind, struct repl_position *ret, int64_t *stamp_ns);
    /* Do we hold exactly that entry (of our epoch, or of an earlier one that we translate), with
     * all that follows? */
    bool (*position_known)(void *ctx, enum repl_kind kind, const char *id,
                           const struct repl_position *position);
    /* Applied entries after `from` (which may be of an earlier epoch; it is the peer's as it is),
     * at most max_bytes, but at least one. ret->bytes is initialised. CF_NOT_FOUND: compacted away,
     * or never ours: the secondary will bootstrap. */
    cf_status (*read_batch)(void *ctx, enum repl_kind kind, const char *id,
                            const struct repl_position *from, size_t max_bytes,
                            struct repl_batch *ret, struct cf_error *err);
    cf_status (*snapshot_open)(void *ctx, enum repl_kind kind, const char *id,
                               struct repl_snapshot *ret, struct cf_error *err);
    /* fn comes once, on the loop, now or later, also after the driver's end. The query is borrowed for the call.
     * CF_NOT_FOUND: the snapshot is gone. The same state gives the same bytes, whichever node reads it. */
    void (*snapshot_read)(void *ctx, enum repl_kind kind, const struct repl_page_query *query,
                          repl_page_fn fn, void *arg);
    void (*snapshot_close)(void *ctx, enum repl_kind kind, uint64_t snapshot);
    /* A question of a repair against that snapshot (coffer.repl.Repair, a whole message of at most
     * REPL_PAGE_BYTES_MAX), or, snapshot 0, of a comparison. Answer with repl_reply_*, now or later, exactly
     * once: coffer.repl.Repaired. */
    void (*serve_repair)(void *ctx, enum repl_kind kind, const char *id, uint64_t snapshot,
                         struct cf_slice question, struct repl_reply *reply);
    /* The keyring, sealed to the secondary's public key. `ret` is initialised (and wiped). */
    cf_status (*keyring)(void *ctx, enum repl_kind kind, const char *id, struct cf_slice public_key,
                         struct cf_buf *ret, uint64_t *version, struct cf_error *err);
    /* Addresses of the DR secondaries of this set: handed on to secondaries. */
    void (*peer_addresses)(void *ctx, enum repl_kind kind, struct repl_address_list *ret);
    /* A forwarded request. Answer with repl_reply_*, now or later, exactly once. */
    void (*serve_call)(void *ctx, enum repl_kind kind, const char *id, struct cf_slice bytes,
                       uint64_t deadline_us, struct repl_reply *reply);

    /* -- secondary: each is one proposal in our own Raft, one at a time except propose_batch -- */

    /* The last position in our *log* (not only the applied one), after everything that was proposed
     * has come to an end. index 0: nothing yet. CF_UNAVAILABLE: not the leader, or not ready. */
    cf_status (*last_position)(void *ctx, enum repl_kind kind, struct repl_position *ret,
                               struct cf_error *err);
    /* To be proposed in the order of the calls, up to SECONDARY_PROPOSALS_MAX at once. The host
     * checks `from` against the last position of the log at the append (CF_CONFLICT): a receiver
     * that was deposed must not put anything behind its successor's batches. Done when applied. */
    void (*propose_batch)(void *ctx, enum repl_kind kind, const struct repl_position *from,
                          const struct repl_position *to, struct cf_slice bytes, repl_done_fn done,
                          void *arg);
    /* A newer, proved lineage that includes our position: keep it with its proof. */
    void (*adopt)(void *ctx, enum repl_kind kind, const struct repl_lineage *lineage,
                  struct cf_slice proof, repl_done_fn done, void *arg);
    /* What was kept of a stage for the present link, by whichever node of ours received (`ret` is zeroed, its buffer
     * initialised; false: nothing). */
    bool (*stage_load)(void *ctx, enum repl_kind kind, struct repl_stage *ret);
    /* A stage for another snapshot. The host may remember what it has of the one before: stage_known. */
    void (*stage_begin)(void *ctx, enum repl_kind kind, repl_done_fn done, void *arg);
    /* Of the page at `cursor`: what it was in an earlier stage (hash, SHA-256; false: unknown), and where the next page
     * of that began (`until`, borrowed for the call of the loop; empty: nowhere). */
    bool (*stage_known)(void *ctx, enum repl_kind kind, struct cf_slice cursor, uint8_t hash[32],
                        struct cf_slice *until);
    /* The page behind the last one; the bytes become the host's. `behind`: what the stage is with it, to be kept
     * together with it. bytes empty and `same`: what stage_known told of. Done when the next one may come: that all of
     * them are in, durably, is what stage_switch waits for, and a failure may be told by a later call. */
    void (*stage_page)(void *ctx, enum repl_kind kind, struct cf_buf *bytes, bool same,
                       const struct repl_stage *behind, repl_done_fn done, void *arg);
    /* The stage becomes the state, in one step, with position, lineage and proof. */
    void (*stage_switch)(void *ctx, enum repl_kind kind, const struct repl_position *position,
                         const struct repl_lineage *lineage, struct cf_slice proof,
                         repl_done_fn done, void *arg);
    /* Is what we hold a copy of this set's data, of whatever moment? Then it can be repaired. */
    bool (*has_data)(void *ctx, enum repl_kind kind);
    /* One step of a repair against the primary's snapshot (begin), or of a comparison at the position that we
     * have (begin with snapshot 0), with the answer to the last question (empty at first). A question: send it.
     * None and CF_OK: it is through; what differed is in our state together with position, lineage and proof.
     * CF_TOO_LARGE, CF_UNSUPPORTED, CF_CORRUPT: a copy is the better way. One step at a time; repair_end says
     * that there will be none any more (harmless when it is through). */
    void (*repair_begin)(void *ctx, enum repl_kind kind, uint64_t snapshot,
                         const struct repl_lineage *lineage, struct cf_slice proof);
    void (*repair_step)(void *ctx, enum repl_kind kind, struct cf_slice answer,
                        repl_question_fn done, void *arg);
    void (*repair_end)(void *ctx, enum repl_kind kind);
    void (*install_keyring)(void *ctx, enum repl_kind kind, struct cf_slice sealed,
                            repl_done_fn done, void *arg);
    /* Our public key, for the keyring. Appends. */
    void (*public_key)(void *ctx, enum repl_kind kind, struct cf_buf *ret);
};

/* ---- driver ---- */

struct repl_driver_config {
    struct loop *loop;
    struct rpc *rpc;                /* its RPC_REPL_ handlers become ours */
    const struct cf_clock *clock;   /* wall times of status and heartbeats */
    const struct cf_random *random; /* jitter, session numbers */
    const struct repl_host *host;   /* copied */
    size_t batch_bytes, page_bytes; /* wanted sizes; 0: 1 MiB */
};
struct repl_driver *repl_driver_new(const struct repl_driver_config *config);
/* Free the primaries, secondaries and claimants first, then the rpc, then this: links that end with
 * the rpc still report here. NULL is fine. */
void repl_driver_free(struct repl_driver *driver);
CF_DEFINE_OWNED(repl_driver);
/* Our applied index moved: pushes at once. Cheap; call it as often as you like. */
void repl_driver_advanced(struct repl_driver *driver, uint64_t applied_index);

/* ---- primary ---- */

struct repl_primary_config {
    enum repl_kind kind;
    const struct node_tls *tls; /* coffer://<set>/primary/<node>, of the set's CA; copied */
};
/* Serves the kind's ALPN name; one a kind. */
CF_CHECKED cf_status repl_primary_new(struct repl_driver *driver,
                                      const struct repl_primary_config *config,
                                      struct repl_primary **ret, struct cf_error *err);
/* Ends all streams of the kind and frees snapshots. NULL is fine. */
void repl_primary_free(struct repl_primary *primary);
CF_DEFINE_OWNED(repl_primary);
/* A renewed certificate. */
CF_CHECKED cf_status repl_primary_set_tls(struct repl_primary *primary, const struct node_tls *tls,
                                          struct cf_error *err);
/* Cuts a secondary's links at once (revoked; NULL id: all). The
 * registration is the host's: make authorise refuse first. Returns how many links there were. */
size_t repl_primary_close(struct repl_primary *primary, const char *id, const char *why);
/* Keys changed: each secondary gets the keyring before any later batch. */
void repl_primary_keyring_changed(struct repl_primary *primary);
/* Has that secondary acknowledged (its majority holds) our index? */
bool repl_primary_shipped(const struct repl_primary *primary, const char *id, uint64_t index);

struct repl_peer_status {
    char id[REPL_ID_SIZE]; /* of the secondary; "" on a secondary */
    char api_address[REPL_ADDRESS_SIZE], cluster_address[REPL_ADDRESS_SIZE], version[64];
    unsigned feature_level; /* that both sides know (node/base/level.h); 0: never connected */
    bool connected;
    const char *state;         /* "stream-wals", "merkle-sync", "idle"; static */
    int64_t since_ns;          /* wall time of the last change of `connected` */
    uint64_t connected_us;     /* loop_now_us() when it was connected last */
    int64_t last_heartbeat_ns; /* wall time; 0: never */
    int64_t last_heartbeat_duration_ms, clock_skew_ms;
    int64_t canary_age_ms; /* age of the newest entry that the other side has, as of the last ack */
    struct repl_position position; /* acknowledged */
    uint64_t lag_entries, lag_bytes, lag_ms;
    uint64_t unacknowledged_bytes; /* sent, and not acknowledged yet */
    uint64_t queued_bytes;    /* of these (and other messages), what waits in this process */
    uint64_t needs;           /* lowest index of our log that it still needs; 0: unknown */
    uint64_t bootstrap_bytes; /* sent of the current bootstrap */
    struct repl_address_list addresses; /* of its nodes */
    char error[256];          /* why the last link ended; "" when none */
};
/* Those heard of, in order of appearance; returns how many there are (max or more). */
size_t repl_primary_status(const struct repl_primary *primary, struct repl_peer_status *ret,
                           size_t max);

/* Answers of serve_call. */
void repl_reply_ok(struct repl_reply *reply, struct cf_slice bytes);
/* err->status is not CF_OK; message and detail travel. */
void repl_reply_fail(struct repl_reply *reply, const struct cf_error *err);
/* Nothing was done; `leader` ("" when unknown) is the cluster address to ask. */
void repl_reply_not_leader(struct repl_reply *reply, const char *leader);

/* ---- secondary ---- */

struct repl_secondary_config {
    enum repl_kind kind;
    const char *set_id;         /* the replication set: what the primary's certificate has to say */
    const struct node_tls *tls; /* coffer://<set>/secondary/<id>; copied */
    const struct repl_address_list *addresses; /* tried in this order; may be empty: waits */
    bool calls_only;                           /* forwards calls, receives nothing (a standby) */
};
/* Starts at once. One a kind. */
CF_CHECKED cf_status repl_secondary_new(struct repl_driver *driver,
                                        const struct repl_secondary_config *config,
                                        struct repl_secondary **ret, struct cf_error *err);
/* Stops at once; calls under way end (CF_UNAVAILABLE or CF_UNKNOWN_OUTCOME) before this returns. */
void repl_secondary_free(struct repl_secondary *secondary);
CF_DEFINE_OWNED(repl_secondary);
/* Replaces the configured list and connects anew. What was learned from the primary is tried after
 * it; host->learned tells when that changes. */
CF_CHECKED cf_status repl_secondary_set_addresses(struct repl_secondary *secondary,
                                                  const struct repl_address_list *addresses,
                                                  struct cf_error *err);
CF_CHECKED cf_status repl_secondary_set_tls(struct repl_secondary *secondary,
                                            const struct node_tls *tls, struct cf_error *err);
/* The connection of the stream; NULL: there is none. Borrowed until the next pass of the loop. */
struct rpc_link *repl_secondary_link(const struct repl_secondary *secondary);
/* Our log no longer is what the receiver thinks (restore, lost leadership and back): reconnects. */
void repl_secondary_restart(struct repl_secondary *secondary);

/* Forwards to the primary's active node; redirects are followed inside. done comes exactly once,
 * unless an error is returned here (then nothing was sent). result->status as in rpc.h:
 * CF_UNAVAILABLE and CF_NOT_LEADER: provably not executed; CF_UNKNOWN_OUTCOME, CF_TIMEOUT with
 * `sent`: perhaps. deadline_us: absolute on loop_now_us(), not 0. */
struct repl_call_result {
    cf_status status;
    bool sent;
    const struct cf_error *err; /* never NULL */
    struct cf_slice response;
    unsigned level; /* feature level that we and who was asked last both know; 0: nobody was asked */
};
typedef void (*repl_call_fn)(void *arg, const struct repl_call_result *result);
CF_CHECKED cf_status repl_secondary_call(struct repl_secondary *secondary, struct cf_slice bytes,
                                         uint64_t deadline_us, repl_call_fn done, void *arg,
                                         struct cf_error *err);

struct repl_address_status {
    char address[REPL_ADDRESS_SIZE];
    char last_error[256]; /* "" when the last attempt worked, or none was made */
    int64_t tried_ns;     /* wall time of the last attempt; 0: never */
};
struct repl_secondary_status {
    const char *state; /* "idle", "merkle-sync", "stream-wals"; static */
    const char
        *connection_state; /* "ready", "connecting", "transient_failure", "idle", "shutdown" */
    int64_t last_start_ns;
    struct repl_position position;            /* the last that our Raft committed */
    struct repl_position remote;              /* the primary's last, as of its last word */
    struct repl_peer_status primary;          /* the node we are connected to, or were */
    struct repl_address_list known_addresses; /* the primary's nodes, learned */
    uint64_t lag_entries, lag_bytes, lag_ms;  /* as the primary sees them */
    bool bootstrapping;
    uint64_t bootstrap_keys, bootstrap_bytes, bootstrap_total_keys, bootstrap_total_bytes;
    uint64_t copied_bytes; /* of pages that came, since it was started: what a copy that went on did not move again is not in it */
    uint64_t bootstrap_per_s;  /* bytes a second since this node takes the copy */
    uint64_t bootstrap_left_s; /* as long as it goes on like that; the total is an estimate */
    uint64_t bootstraps, repairs, reconnects, batches, bytes; /* since it was started */
    uint64_t repair_bytes;                            /* sent and received for repairs and comparisons */
    char error[256];                                 /* why it is not streaming; "" when it is */
    size_t address_count;
    struct repl_address_status addresses[REPL_ADDRESSES_MAX]; /* of the dial list */
};
void repl_secondary_status(const struct repl_secondary *secondary,
                           struct repl_secondary_status *ret);

/* Asks the primary whether our data is what it had at our position (host->repair_begin with snapshot 0).
 * false: nothing is streamed, or a comparison is under way. */
bool repl_secondary_compare(struct repl_secondary *secondary);

/* ---- claimant ---- */

/* Dials a former primary (its addresses, the certificate that we had as its secondary) until it has
 * answered our lineage and proof, at first within a second, later every 5 seconds; goes on,
 * because it may come back from a backup. `heard` (may be NULL) tells each answer. Used by a
 * promoted secondary, and by one that followed a promoted one. */
struct repl_claimant_config {
    enum repl_kind kind;
    const char *set_id;
    const struct node_tls *tls;
    const struct repl_address_list *addresses;
    /* fenced: its host->fence was called, where it may serve; claims go on until it is gone. */
    void (*heard)(void *ctx, bool fenced, const char *text);
    void *ctx;
};
CF_CHECKED cf_status repl_claimant_new(struct repl_driver *driver,
                                       const struct repl_claimant_config *config,
                                       struct repl_claimant **ret, struct cf_error *err);
void repl_claimant_free(struct repl_claimant *claimant); /* NULL is fine */
CF_DEFINE_OWNED(repl_claimant);

#endif

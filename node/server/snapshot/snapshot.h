/* node/server/snapshot/snapshot.h
 *
 * The cluster's state as an archive (node/format/archive.h): given out, taken back, taken at
 * intervals. What a restore does is told in README.md.
 */
#ifndef COFFER_SERVER_SNAPSHOT_H
#define COFFER_SERVER_SNAPSHOT_H

#include "node/format/archive.h"
#include "node/server/node.h"

struct snapshots; /* what is under way on this node */

/* Own records in a box for the keys of a snapshot that was restored by force (plain, class own). */
#define SNAPSHOT_CARRIED_KEY                                                                       \
    ((struct key){CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(AREA_SEAL "carried")})

struct snapshots *snapshots_new(struct node *node);
/* Main loop: nothing new begins; what is under way ends early. Blocks until it has. */
void snapshots_stop(struct snapshots *snapshots);
void snapshots_free(struct snapshots *snapshots); /* NULL is fine */

/* Handlers of host routes (node/core/engine.h). */
cf_status snapshot_handle_save(struct request *rq, struct cf_error *err);
cf_status snapshot_handle_restore(struct request *rq, struct cf_error *err);
cf_status snapshot_handle_force(struct request *rq, struct cf_error *err);

/* http_options.sink_for; context is the node: the body of a restore goes to a file that has no name.
 * Of a caller who would be refused it goes nowhere. */
struct http_sink *snapshot_sink_for(void *context, struct http_exchange *x);

/* Any thread: false while a restore holds all other writes off. */
bool snapshot_admits(struct node *node, const struct proposal *proposal);
/* Main loop, after unsealing and again and again while active (upkeep): own records that a forced restore put aside
 * for the keys of the snapshot. */
void snapshot_take_carried(struct node *node);

/* ---- for this folder ---- */

extern const struct archive_hash snapshot_hash; /* SHA-256 */

struct snapshot_info {
    uint64_t index, term, records, bytes;
};
/* Writes the archive of a view; blocks as the sink does. CF_SEALED; the sink's failures. */
CF_CHECKED cf_status snapshot_write(struct node *node, struct view *view,
                                    const struct gzip_sink *sink, struct snapshot_info *ret,
                                    struct cf_error *err);
/* A key of an archive: class, namespace, name. False when it is none of ours. */
bool snapshot_key_decode(struct cf_slice bytes, struct key *ret);
/* Walks the current generation of one class in key order; value is as the barrier sealed it. Names begin
 * with `prefix`, those of the root namespace if it is not empty. */
typedef cf_status (*snapshot_visit_fn)(void *context, struct key key, struct cf_slice value,
                                       struct cf_error *err);
CF_CHECKED cf_status snapshot_walk(const struct view *view, uint8_t class, struct cf_slice prefix,
                                   snapshot_visit_fn visit, void *context, struct cf_error *err);

/* What the root key says to the sums of an archive. */
#define SNAPSHOT_PROOF_SIZE ((size_t)33)
void snapshot_proof(const struct secret *root_key, struct cf_slice sums,
                    uint8_t ret[SNAPSHOT_PROOF_SIZE]);
/* The key pair of a root key that things are put aside for. */
CF_CHECKED cf_status snapshot_box_key(const struct secret *root_key, struct secret **ret,
                                      uint8_t public_key[32], struct cf_error *err);
/* Counts what runs on threads of its own; false: the node is stopping, or too many run. */
bool snapshots_enter(struct snapshots *snapshots, unsigned most);
void snapshots_leave(struct snapshots *snapshots);
bool snapshots_stopping(const struct snapshots *snapshots);
/* A view that shows everything that was acknowledged before the call; waits. NULL with *err. */
struct view *snapshot_fresh_view(struct node *node, struct cf_error *err);

#endif

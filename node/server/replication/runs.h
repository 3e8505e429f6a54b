/* node/server/replication/runs.h
 *
 * The files of a copy under way (design 5.3): sorted runs of one generation of the state, in the folder `runs` beside
 * the database, named by the SHA-256 of their bytes. The receiving node makes them and gives them to the others
 * (runs_peer.c); entries of the log hold the names alone. The switch takes them over, on each node, without copying.
 *
 * They stay until the log no longer holds their switch: a node that was away, or that applies it again after a crash,
 * finds them here or at its peers.
 */
#ifndef COFFER_SERVER_REPLICATION_RUNS_H
#define COFFER_SERVER_REPLICATION_RUNS_H

#include "node/core/command.h"
#include "node/server/node.h"

#define RUN_NAME_SIZE COMMAND_RUN_NAME_SIZE
#define RUN_BYTES_MAX ((size_t)14 << 20) /* one goes in one frame */

struct runs;

/* NULL: this node's storage keeps no files. */
struct runs *runs_new(struct node *node);
void runs_free(struct runs *runs); /* NULL is fine */

/* ---- files; any thread, blocking ---- */

/* A run of these records (puts, in any order, no key twice), with `index` as their modification index. The name and,
 * appended to `bytes`, the file's content. */
CF_CHECKED cf_status runs_make(struct runs *runs, uint32_t generation, uint64_t index,
                               const struct op *ops, size_t count, uint8_t name[RUN_NAME_SIZE],
                               struct cf_buf *bytes, struct cf_error *err);
/* One that was made elsewhere; durable when this returns. CF_CORRUPT: the bytes are not what the name says. */
CF_CHECKED cf_status runs_keep(struct runs *runs, uint32_t generation, struct cf_slice name,
                               struct cf_slice bytes, struct cf_error *err);
bool runs_has(struct runs *runs, uint32_t generation, struct cf_slice name);
/* Appends. CF_NOT_FOUND. */
CF_CHECKED cf_status runs_read(struct runs *runs, uint32_t generation, struct cf_slice name,
                               struct cf_buf *to, struct cf_error *err);
/* Removes what no log from `first_index` on needs any more, and stages that nobody has gone on with for an hour. */
void runs_tidy(struct runs *runs, uint64_t first_index);

/* ---- the applier ---- */

/* Before a switch is applied: its runs are in the family. Those that are lacking are fetched from peers, for as long as
 * that takes. CF_UNAVAILABLE: this node is stopping. CF_CORRUPT: no node has them any more; the state is marked as
 * damaged, so that the next start asks the leader for all of it. */
CF_CHECKED cf_status runs_take(struct runs *runs, const struct command *command, uint64_t index,
                               struct cf_error *err);

/* ---- peers; main loop ---- */

/* Twice a second: tidies, on a worker, where there is something to tidy. */
void runs_care(struct runs *runs);
/* Serves other nodes' runs from here on. */
void runs_serve(struct runs *runs);
/* Whoever waits in runs_take goes; fetches end. */
void runs_stop(struct runs *runs);

/* To one node. fn comes exactly once, later, on the main loop: CF_OK when it is synced there. */
typedef void (*runs_fn)(void *arg, cf_status status, const struct cf_error *err);
void runs_push(struct runs *runs, uint64_t peer, struct cf_slice message, runs_fn fn, void *arg);
/* The message of a run, once for all peers; any thread. */
void runs_message(uint64_t term, uint32_t generation, struct cf_slice name, struct cf_slice bytes,
                  struct cf_buf *to);

/* Fetches what is lacking of `names` (RUN_NAME_SIZE bytes each; copied). fn comes once: CF_NOT_FOUND when every other
 * node has said that it lacks one, CF_UNAVAILABLE when some could not be asked, or at the stop. */
void runs_fetch(struct runs *runs, uint32_t generation, struct cf_slice names, runs_fn fn, void *arg);

#endif

/* node/server/replication/filter.h
 *
 * Paths filters (replication.md 2.3): what of class replicated goes to one performance secondary. Applied by the
 * sender alone, to log entries, copies and comparisons alike, so that what is filtered never leaves.
 *
 * A filter is a record of class replicated that goes to its own secondary and to DR secondaries, and to nobody else.
 * What it says of a mount is decided by paths, and stays as it is while the mount lives: a move that would change it
 * is refused (filter_check_move), and a change of the filter is a position in the log (struct filter's indexes). So
 * a stream can be filtered by the newest state, wherever in the log it stands:
 *
 *   narrowed   what is filtered from then on is deleted at the secondary at that position (or before, where an entry
 *              that would have to be left out comes first)
 *   widened    the position is one that no stream passes: the secondary compares its data, or takes a copy
 *   gone       what the newest state does not know was deleted since: it is left out, and deleted at the secondary
 */
#ifndef COFFER_SERVER_REPLICATION_FILTER_H
#define COFFER_SERVER_REPLICATION_FILTER_H

#include "node/core/command.h"
#include "node/core/namespace.h"

#define FILTER_PATHS_MAX ((size_t)1000)

/* ---- what was asked for; pure ---- */

enum filter_mode { FILTER_NONE, FILTER_ALLOW, FILTER_DENY };

/* Paths end in a slash, are sorted, and name mounts or namespaces by their whole path. */
struct filter_rules {
    enum filter_mode mode;
    struct cf_slice *paths;
    size_t count;
};
bool filter_passes_namespace(const struct filter_rules *rules, const struct namespace *ns);
/* path: of the mount in its namespace ("secret/"). is_fixed: of those that each namespace has. */
bool filter_passes_mount(const struct filter_rules *rules, const struct namespace *ns,
                         struct cf_slice path, bool is_fixed);
/* Sorts, and drops doubles. */
void filter_rules_sort(struct filter_rules *rules);

/* ---- the records; the keys live in the arena ---- */

struct key filter_record_key(struct arena *arena, struct cf_slice id);
/* Written with each change that lets something through that is there already. */
struct key filter_widened_key(struct arena *arena, struct cf_slice id);
/* Written with each change that holds something back that is there: nodes that had it rewrite their files. */
struct key filter_narrowed_key(struct arena *arena, struct cf_slice id);
struct cf_slice filter_encode(struct arena *arena, const struct filter_rules *rules);
CF_CHECKED cf_status filter_decode(struct arena *arena, struct cf_slice record,
                                   struct filter_rules *ret, struct cf_error *err);

/* ---- a filter as of a view ---- */

struct filter {
    _Atomic unsigned references;
    struct arena *arena;
    struct cf_slice id;
    struct filter_rules rules;
    struct namespace_table *table; /* of the view; referenced */
    uint64_t changed, widened;     /* the local log's indexes of the last such change; 0: never */
};
/* Of that secondary, also where it has no filter: records of others' filters are never for it. Any thread. The view
 * is not sealed. */
CF_CHECKED cf_status filter_load(const struct view *view, struct cf_slice id, struct filter **ret,
                                 struct cf_error *err);
/* Whether the filter stands unchanged in `view` (mounts may have come and gone). */
bool filter_stands(const struct filter *filter, const struct view *view);
struct filter *filter_ref(struct filter *filter);
void filter_unref(struct filter *filter); /* NULL is fine */

/* Does that key of class replicated belong to the secondary? NULL: there is no filter at all (DR secondaries). For
 * keys of the state that the filter was loaded from. */
bool filter_passes(const struct filter *filter, struct key key);
/* Appends what to seek for behind `key`, which does not pass: the first stored key (see key.h) that may. */
void filter_skip(const struct filter *filter, struct key key, uint32_t generation,
                 struct cf_buf *to);

/* ---- a stream ---- */

/* One batch on its way through the filter; lives in the batch's arena. */
struct filter_pass {
    const struct filter *filter;
    struct cf_map *gone; /* what this batch has told to delete, by name */
};
/* What is left of the effects of the entry at `index`, and what takes the place of the others; in the arena. pass
 * NULL: all of them. */
const struct op *filter_ops(struct filter_pass *pass, struct arena *arena, uint64_t index,
                            const struct op *ops, size_t *count);
void filter_pass_done(struct filter_pass *pass);
/* Can a stream begin with the entry at `index`? False: what is newly allowed has to be fetched. */
bool filter_can_stream(const struct filter *filter, uint64_t index);

/* ---- requests ---- */

/* Is `path` (with the namespaces in front) in something that does not go to that secondary? */
bool filter_hides(const struct view *view, struct cf_slice id, struct cf_slice path);
/* For struct core_host: a mount must not be moved past a filter. */
cf_status filter_check_move(struct request *rq, const struct namespace *from_ns, struct cf_slice from,
                                       const struct namespace *to_ns, struct cf_slice to,
                            struct cf_error *err);

#endif

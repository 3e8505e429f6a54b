/* node/server/rotation.h
 *
 * New data keys: sys/rotate, and by themselves before a key was used too often (design 3.5) or for too long.
 *
 * Encryptions are counted in memory. So that a crash forgets none, the active node of the primary keeps a
 * record of class replicated that says how many of the active key may have happened ("reserved", ahead of
 * the count by up to ROTATION_BLOCK); whoever becomes active begins to count there. A rotation comes at
 * max_operations, 10 % before the bound of the cipher, so a block that was not reserved in time costs
 * nothing. What performance secondaries do with the shared key they tell the primary, which adds it
 * (node/server/replication/encryptions.c).
 */
#ifndef COFFER_SERVER_ROTATION_H
#define COFFER_SERVER_ROTATION_H

#include "node/server/node.h"

#define ROTATION_BLOCK ((uint64_t)1 << 20)
#define ROTATION_OPERATIONS_MIN ((int64_t)1000000)
#define ROTATION_OPERATIONS_MAX ((int64_t)KEYRING_ROTATE_AT)
#define ROTATION_INTERVAL_MIN_S ((int64_t)24 * 3600)

struct rotation_settings {
    bool is_enabled;
    int64_t max_operations, interval_s; /* interval 0: never by time */
};

/* Pure: whether it is time for a new key. */
bool rotation_is_due(const struct rotation_settings *settings, const struct keyring_info *active,
                     int64_t now_ns);
/* As stored, or the defaults. */
CF_CHECKED cf_status rotation_load(struct request *rq, struct rotation_settings *ret,
                                   struct cf_error *err);
/* Inside a run: reserves more for the active key when it is time to; else writes nothing. */
CF_CHECKED cf_status rotation_reserve(struct request *rq, struct cf_error *err);
/* The count of a keyring that was just loaded is raised to what was reserved. */
CF_CHECKED cf_status rotation_take_over(const struct view *view, struct cf_error *err);
/* The same on a performance secondary, of its own use of the shared key that the primary was not told of yet: a record
 * of class own, ahead of `untold` by up to a block. */
CF_CHECKED cf_status rotation_reserve_untold(struct request *rq, uint64_t untold, struct cf_error *err);
/* What it says for that key; 0: nothing. On a view. */
CF_CHECKED cf_status rotation_read_untold(const struct view *view, struct key_id id, uint64_t *ret,
                                          struct cf_error *err);
/* Inside a run: a new active key, sealed under the root key of `node`. */
CF_CHECKED cf_status rotation_rotate(struct request *rq, struct node *node, struct cf_error *err);

/* Inside a run of the active node: a new key where one is due, else what has to be reserved. */
CF_CHECKED cf_status rotation_look(struct request *rq, struct node *node, struct cf_error *err);

/* sys/rotate (of the host) and sys/rotate/config */
CF_CHECKED cf_status rotation_handle(struct request *rq, struct cf_error *err);
CF_CHECKED cf_status rotation_read_config(struct request *rq, struct cf_error *err);
CF_CHECKED cf_status rotation_write_config(struct request *rq, struct cf_error *err);
extern const struct field rotation_fields[];

#endif

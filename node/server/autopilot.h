/* node/server/autopilot.h
 *
 * Autopilot's settings and what operators wanted of single members (never to vote), as records of class
 * own, and the way from there to the driver, which acts on them. The records are plain: a sealed leader
 * needs them, too, and they hold no secret.
 */
#ifndef COFFER_SERVER_AUTOPILOT_H
#define COFFER_SERVER_AUTOPILOT_H

#include "node/server/node.h"

struct autopilot_feed;

/* Main loop. This node leads: the driver is told now, and again whenever the records may have changed. */
void autopilot_feed_start(struct node *node);
void autopilot_feed_stop(struct node *node);
void autopilot_feed_free(struct autopilot_feed *feed); /* NULL is fine */

/* Inside a run: notes that the new member `id` must never vote, or only that it came. Forgets what was
 * noted of those that are no members any more. `members`: of the configuration in force. */
CF_CHECKED cf_status autopilot_note_member(struct request *rq, uint64_t id, struct cf_slice name,
                                           bool is_non_voter,
                                           const struct raft_driver_status *members,
                                           struct cf_error *err);
/* Any thread: how long a member is silent before it counts as gone, from the newest view. */
uint64_t autopilot_last_contact_us(struct node *node);

/* sys/storage/raft/autopilot/... */
CF_CHECKED cf_status autopilot_read_configuration(struct request *rq, struct cf_error *err);
CF_CHECKED cf_status autopilot_write_configuration(struct request *rq, struct cf_error *err);
CF_CHECKED cf_status autopilot_read_state(struct request *rq, struct cf_error *err);

#endif

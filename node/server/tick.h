/* node/server/tick.h
 *
 * The time in the log. Everything that expires is compared with the stamp of the last applied entry and the
 * monotonic time since; a node that starts knows that stamp alone. So a new active node begins with an entry
 * that holds nothing but the time, and appends another whenever the log was quiet for a while.
 */
#ifndef COFFER_SERVER_TICK_H
#define COFFER_SERVER_TICK_H

#include "node/server/node.h"

/* Main loop: once the driver has started. */
void pulse_start(struct node *node);
/* Main loop: hands the voters' clocks to the core. */
void tick_observe(struct node *node);
/* Any thread: how long ago, at most, a view of this index showed all that the cluster had acknowledged;
 * UINT64_MAX: longer than is remembered (12 s), or nobody was asked yet. */
uint64_t tick_staleness_us(struct node *node, uint64_t index);
/* Any thread: a read index that was asked for at that time came to `index`. */
void tick_note_read(struct node *node, uint64_t asked_us, uint64_t index);
/* Main loop, all three. The first entry goes out at once. */
void tick_start(struct node *node);
void tick_stop(struct node *node);
/* NULL was never started. */
void tick_free(struct ticker *ticker);

#endif

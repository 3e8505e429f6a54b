/* consensus/driver/pace.h
 *
 * How fast a snapshot may leave: never above a cap in any interval (but for one short burst), and
 * down to half of it while the log's own writes take longer than they did before the transfer. Pure:
 * times come in. One thread.
 */
#ifndef COFFER_CONSENSUS_DRIVER_PACE_H
#define COFFER_CONSENSUS_DRIVER_PACE_H

#include <stdint.h>

/* What may leave at once after a rest. Short, as a follower's disk and both loops take it in one gulp; long
 * enough that a busy loop's delays cost no speed. */
#define PACE_BURST_US ((uint64_t)20000)

struct pace {
    uint64_t cap, rate; /* bytes a second; rate: now, from cap / 2 to cap */
    uint64_t due_us;    /* when what left so far is paid for */
    uint64_t quiet_us;  /* what a write of the log takes without a transfer; 0: unknown */
};

/* cap > 0. quiet_us: mean time of a write of the log before this, 0: there was none. */
void pace_start(struct pace *pace, uint64_t cap, uint64_t quiet_us);
/* When the next piece may leave; at or before now_us: at once. */
uint64_t pace_next_us(const struct pace *pace);
void pace_sent(struct pace *pace, uint64_t now_us, uint64_t bytes);
/* Mean time of the log's writes since the last call; 0: there was none, so nobody is held up. */
void pace_observe(struct pace *pace, uint64_t write_us);

#endif

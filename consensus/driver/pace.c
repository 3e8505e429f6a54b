/* consensus/driver/pace.c: a token bucket that yields to the log.
 *
 * Slower at once, faster by small steps, as congestion control does. Half of the cap is the floor: a
 * follower that is away is a risk of its own, so a busy disk must not keep it away for ever. */
#include "consensus/driver/pace.h"

#define FLOOR_DIVISOR 2
#define STEP_DIVISOR 16

void pace_start(struct pace *pace, uint64_t cap, uint64_t quiet_us)
{
    *pace = (struct pace){.cap = cap, .rate = cap, .quiet_us = quiet_us};
}

uint64_t pace_next_us(const struct pace *pace)
{
    return pace->due_us > PACE_BURST_US ? pace->due_us - PACE_BURST_US : 0;
}

void pace_sent(struct pace *pace, uint64_t now_us, uint64_t bytes)
{
    uint64_t from = pace->due_us > now_us ? pace->due_us : now_us;
    pace->due_us = from + (bytes * 1000000 + pace->rate - 1) / pace->rate;
}

void pace_observe(struct pace *pace, uint64_t write_us)
{
    uint64_t floor = pace->cap / FLOOR_DIVISOR > 0 ? pace->cap / FLOOR_DIVISOR : 1;
    uint64_t step = pace->cap / STEP_DIVISOR;
    /* Half as long again, and so much more that it is none of the clock's noise. */
    uint64_t limit = pace->quiet_us + (pace->quiet_us / 2 > 500 ? pace->quiet_us / 2 : 500);
    if (write_us != 0 && pace->quiet_us != 0 && write_us > limit) {
        uint64_t less = pace->rate / 4 * 3;
        pace->rate = less > floor ? less : floor;
    } else {
        pace->rate = pace->rate + step < pace->cap ? pace->rate + step : pace->cap;
    }
}

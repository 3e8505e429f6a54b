/* node/core/window.h
 *
 * The write window (design 3.2): the check at append that makes each request serializable. It knows
 * which keys the latest log entries touch; a proposal whose read set was touched after its view runs
 * again. Losers hold a ticket: until it ends, younger proposals that write into its read or write
 * set are refused, so that the oldest request on a hot key always gets through. Pure; thread: the
 * one that appends (the main loop), or any under one lock.
 *
 * A deleted prefix conflicts with ranges that were listed and with keys and prefixes that are written
 * below or around it. Point reads are known by their hash alone, so a read that is not written again
 * does not meet it: who deletes a prefix also writes a key that everybody below it has read (the
 * mount's entry, the token's record).
 */
#ifndef COFFER_CORE_WINDOW_H
#define COFFER_CORE_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/own.h"
#include "node/base/slice.h"
#include "node/base/status.h"
#include "node/core/key.h"

/* A lease more or less that counts for a rule (quota.h). */
struct lease_delta {
    uint64_t rule;
    int32_t change;
    uint32_t mark; /* of the write set, when it was noted */
};

/* What one run of a request read and wants to write. Lives in the request's arena. */
struct window_claim {
    uint64_t view_index;
    const uint64_t *reads; /* key_hash() */
    size_t read_count;
    const struct key *ranges; /* prefixes that were listed */
    size_t range_count;
    const struct key *writes; /* keys; with is_range[i] set, prefixes */
    const bool *is_range;
    size_t write_count;
    uint64_t ticket; /* 0, or what window_ticket() gave */
    const struct lease_delta *deltas; /* lease_count.h; not the window's */
    size_t delta_count;
};

/* A claim with this ticket waits for nobody (what another cluster has committed already); one with
 * UINT64_MAX waits for every request (the node's own background work). */
#define WINDOW_TICKET_FIRST ((uint64_t)1)

struct window;

/* Caps: remembered entries' keys by count and bytes; beyond them older views run again. */
struct window *window_new(size_t keys_max, size_t bytes_max);
void window_free(struct window *window);
CF_DEFINE_OWNED(window);

/* A new leader: everything up to last_index counts as touched. Tickets are forgotten. */
void window_reset(struct window *window, uint64_t last_index);

/* CF_OK: append now. CF_CONFLICT: run again on a view of at least *retry_index; 0: an older ticket
 * stands in the way, run again when one ends. */
CF_CHECKED cf_status window_check(struct window *window, const struct window_claim *claim,
                                  uint64_t *retry_index);
/* Whether an older ticket stands in the way still: asked before the caller begins to wait for its end,
 * which may have come since the check. */
bool window_must_wait(const struct window *window, const struct window_claim *claim);
/* The proposal was appended at `index`. Claims with no writes record nothing. */
void window_appended(struct window *window, const struct window_claim *claim, uint64_t index);
/* An entry that was appended without a claim (a batch of another cluster): all is touched. */
void window_appended_all(struct window *window, uint64_t index);
/* Entries up to here are applied: their keys may be forgotten once no view is older. */
void window_applied(struct window *window, uint64_t index);

/* Takes a ticket on the claim's sets, which are copied. Smaller numbers are older. */
uint64_t window_ticket(struct window *window, const struct window_claim *claim);
/* Whether the claim has to take one: it has none, or one from before window_reset(), which counts for nothing. */
bool window_wants_ticket(const struct window *window, const struct window_claim *claim);
/* The request appended, ended or timed out. Unknown numbers are fine. */
void window_ticket_end(struct window *window, uint64_t ticket);

#endif

/* consensus/core/progress.c: what a leader knows of one follower, and its window of messages. */
#include "consensus/core/raft_int.h"

void raft_progress_init(struct raft_progress *p, uint64_t id, uint64_t next, size_t window)
{
    *p = (struct raft_progress){
        .id = id, .next = next, .state = RAFT_PROBE, .probe_last = UINT64_MAX};
    p->ring = cf_array(window, sizeof(p->ring[0]));
}

void raft_progress_done(struct raft_progress *p)
{
    cf_free(p->ring);
}

static void enter(struct raft_progress *p, enum raft_peer_state state)
{
    p->state = state;
    p->paused = p->reader_busy = false;
    p->ring_head = p->ring_count = p->ring_bytes = 0;
}

void raft_progress_probe(struct raft_progress *p, uint64_t next)
{
    enter(p, RAFT_PROBE);
    p->probe_last = UINT64_MAX;
    p->next = next > p->match ? next : p->match + 1;
}

void raft_progress_replicate(struct raft_progress *p)
{
    enter(p, RAFT_REPLICATE);
    p->next = p->match + 1;
}

void raft_progress_snapshot(struct raft_progress *p)
{
    enter(p, RAFT_SNAPSHOT);
}

bool raft_progress_window_full(const struct raft_progress *p, const struct raft_options *options)
{
    if (MUTANT(MUTANT_WINDOW_IGNORED)) {
        return p->ring_count >= options->window_messages;
    }
    return p->ring_count >= options->window_messages || p->ring_bytes >= options->window_bytes;
}

void raft_progress_sent(struct raft_progress *p, const struct raft_options *options, uint64_t last,
                        size_t bytes)
{
    assert(p->ring_count < options->window_messages);
    size_t at = (p->ring_head + p->ring_count) % options->window_messages;
    p->ring[at] = (struct raft_inflight){last, bytes};
    p->ring_count++;
    p->ring_bytes += bytes;
    p->next = last + 1;
}

void raft_progress_acked(struct raft_progress *p, const struct raft_options *options,
                         uint64_t index)
{
    while (p->ring_count > 0 && p->ring[p->ring_head].last <= index) {
        p->ring_bytes -= p->ring[p->ring_head].bytes;
        p->ring_head = (p->ring_head + 1) % options->window_messages;
        p->ring_count--;
    }
    if (index > p->match) {
        p->match = index;
        p->acked = true;
    }
    if (p->next <= p->match) {
        p->next = p->match + 1;
    }
}

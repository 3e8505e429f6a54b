/* replication/core/floor.h
 *
 * The replication floor: how far back a primary keeps its log for its secondaries. A secondary is served
 * by any node, so what is known of it is spread over the nodes of the cluster; the active node puts
 * it together, and its heartbeats carry the floor to all logs. A new active node knows nothing yet: it keeps
 * what was kept before, until each registered secondary was heard of, or has been away for too long.
 * Pure; thread: any.
 */
#ifndef COFFER_REPLICATION_FLOOR_H
#define COFFER_REPLICATION_FLOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What one node knows of one secondary. */
struct floor_row {
    const char *id;
    bool connected;    /* its stream (or its copy) is served by that node now */
    uint64_t needs;    /* lowest index of our log that it still needs; 0: unknown */
    uint64_t heard_ms; /* when it was connected last */
};

struct floor_question {
    const char *const *registered;
    size_t registered_count;
    const struct floor_row *rows;
    size_t row_count;
    uint64_t capped;    /* the log's cap took entries up to here; 0: none yet. A log that begins later for another
                         * reason (a snapshot) says nothing about the other nodes' */
    uint64_t inherited; /* the floor that held before this node was active */
    uint64_t now_ms, since_ms /* this node is active */, hold_ms /* for one that is away */;
};

struct floor_answer {
    uint64_t floor; /* UINT64_MAX: nobody needs the log */
    size_t unknown; /* registered, and not heard of since this node is active */
    size_t cut_off; /* away, and what they need has left the log: there is nothing to keep for them */
    size_t overdue; /* away for longer than hold_ms: not waited for any more */
};

struct floor_answer floor_decide(const struct floor_question *question);

#endif

/* node/server/replication/stage_int.h: a copy under way, as stage.c, stage_load.c and stage_make.c share it. Main loop. */
#ifndef COFFER_SERVER_REPLICATION_STAGE_INT_H
#define COFFER_SERVER_REPLICATION_STAGE_INT_H

#include "node/core/system.h"
#include "node/server/replication/repl_int.h"
#include "node/server/replication/runs.h"
#include "node/server/replication/stage_record.h"

struct piece {
    struct stage_piece is;
    struct repl_stage behind; /* until it is named */
    size_t size;              /* of its page, while it counts as in flight */
    bool is_made, is_safe;
    unsigned have, needed, asked;
};

struct copy_stage {
    unsigned refs;
    bool is_over;
    struct node_replication *replication;
    enum repl_kind kind;
    struct stage_record record; /* as the next naming writes it */
    struct piece **pieces;
    size_t count, room, named;
    struct piece **old; /* of the snapshot before this one, by cursor */
    size_t old_count, old_room;
    struct cf_buf next; /* where the next page begins */
    size_t in_flight, pushes;
    bool is_naming, is_fetching;
    cf_status status;
    struct cf_error err;
    repl_done_fn taken; /* the last page's */
    void *taken_arg;
    repl_done_fn ready;
    void *ready_arg;
    uint64_t ready_us;
    struct loop_timer *timer;
};

/* stage.c */
struct copy_stage *stage_new(struct node_replication *replication, enum repl_kind kind);
void stage_unref(struct copy_stage *stage);
/* Everybody who waits hears it; it does not go on. */
void stage_fail(struct copy_stage *stage, cf_status status, const struct cf_error *err);
/* Names what a majority has; asks for the next page, or lets the switch come, where it is time. */
void stage_pump(struct copy_stage *stage);
void stage_add(struct piece ***list, size_t *count, size_t *room, struct piece *piece);
void piece_free(struct piece *piece);

/* stage_make.c: the page becomes a run here and on the other nodes; the piece is safe when a majority has it. */
void stage_make(struct copy_stage *stage, struct piece *piece, struct cf_buf *page);

/* stage_load.c: what an earlier snapshot has left: the first piece at the cursor or behind it; NULL: none. */
const struct piece *stage_old(const struct copy_stage *stage, struct cf_slice cursor);

#endif

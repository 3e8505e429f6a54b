/* node/server/replication/stage_record.h
 *
 * What the store keeps of a copy under way: one record of how far it is, and one of each of its pages, in the order of the
 * pages. Pure but for the keys. Bytes are versioned; all of class own.
 */
#ifndef COFFER_SERVER_REPLICATION_STAGE_RECORD_H
#define COFFER_SERVER_REPLICATION_STAGE_RECORD_H

#include "node/core/request.h"
#include "replication/driver/driver.h"

struct stage_record {
    int64_t started_ns;  /* of the link: one is told from the next by it */
    uint64_t id;         /* random, of this stage: pages of two snapshots are never mixed */
    uint32_t generation; /* that is filled */
    uint64_t index;      /* modification index of all of its records */
    uint64_t pieces;     /* pages that are in; records beyond are of an earlier snapshot */
};
void stage_encode(const struct stage_record *record, const struct repl_stage *stage, struct cf_buf *to);
/* ret->cursor: initialised. CF_CORRUPT. */
CF_CHECKED cf_status stage_decode(struct cf_slice bytes, struct stage_record *record,
                                  struct repl_stage *ret, struct cf_error *err);

struct stage_piece {
    struct cf_buf cursor, next; /* where its page began, and where the one after it */
    bool has_run;               /* false: the page was empty */
    uint8_t run[32], page[32];  /* name of the run; SHA-256 of the page as the primary sent it */
};
void stage_piece_encode(const struct stage_piece *piece, uint32_t generation, struct cf_buf *to);
/* Buffers of ret are initialised; the caller frees them, also after a failure. CF_CORRUPT, also for one of another
 * generation. */
CF_CHECKED cf_status stage_piece_decode(struct cf_slice bytes, uint32_t generation,
                                        struct stage_piece *ret, struct cf_error *err);

struct key stage_key(enum repl_kind kind);
struct key stage_piece_key(enum repl_kind kind, uint64_t number, struct arena *arena);
/* Beside the switch: there is no copy under way any more. */
void stage_forget(struct request *rq, enum repl_kind kind);

#endif

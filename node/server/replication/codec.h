/* node/server/replication/codec.h: log entries and state as batches and pages, and back; pure. */
#ifndef COFFER_SERVER_REPLICATION_CODEC_H
#define COFFER_SERVER_REPLICATION_CODEC_H

#include "node/core/command.h"
#include "node/core/view.h"
#include "node/core/window.h"
#include "node/server/replication/filter.h"
#include "replication/core/position.h"

/* Does this class go to a secondary of that kind? Class own never does. */
bool codec_ships(enum repl_kind kind, uint8_t class);

/* Entries on their way into one batch. */
struct codec_batch {
    struct arena *arena;
    enum repl_kind kind;
    struct filter_pass *filter; /* of whom it is for; NULL: none */
    struct source_entry *entries;
    size_t count, room, op_count;
};
/* Adds what concerns the kind of one entry of our log. *switched: the entry replaced whole classes, a
 * stream cannot pass it. */
CF_CHECKED cf_status codec_add(struct codec_batch *batch, uint64_t term, uint64_t index,
                               struct cf_slice payload, bool *switched, struct cf_error *err);
/* As codec_add for an entry that we received ourselves: only what came from source indexes above
 * `above`. *newest: the highest source index in it (0: none). *oldest UINT64_MAX: a repair, past which no position
 * of before can be translated. */
CF_CHECKED cf_status codec_add_shipped(struct codec_batch *batch, uint64_t term, uint64_t index,
                                       struct cf_slice payload, uint64_t above, bool *is_shipped,
                                       uint64_t *oldest, uint64_t *newest, struct cf_error *err);
/* Appends the batch (nothing when it is empty). */
CF_CHECKED cf_status codec_encode(const struct codec_batch *batch, struct cf_buf *to,
                                  struct cf_error *err);

/* The receiver: a batch with the own effects added, as a log entry. CF_CORRUPT when it holds a class
 * that must not come, or entries whose indexes do not rise. The claim names every key, for the write
 * window. */
CF_CHECKED cf_status codec_receive(enum repl_kind kind, struct cf_slice batch, const struct op *own,
                                   size_t own_count, struct arena *arena, struct cf_buf *to,
                                   struct window_claim **claim, struct cf_error *err);

/* The page of a snapshot at `cursor` (empty: the first), of what the filter (NULL: none) lets through: a STAGE command
 * without its generation. A page
 * ends with the first key that reaches max_bytes: at least one, unless there is none left; and before the stored key
 * `until` (empty: no bound), where the next one begins then. CF_INVALID for a cursor that no page gave. The same
 * state gives the same bytes. */
CF_CHECKED cf_status codec_page(const struct view *view, enum repl_kind kind,
                                const struct filter *filter, struct cf_slice cursor,
                                struct cf_slice until, size_t max_bytes,
                                struct cf_buf *page, struct cf_buf *next,
                                uint64_t *keys, bool *done, struct cf_error *err);
/* A page as a log entry of that generation. */
CF_CHECKED cf_status codec_stage(enum repl_kind kind, struct cf_slice page, uint32_t generation,
                                 struct cf_buf *to, struct cf_error *err);

/* Records of a page or a repair: puts of classes that the kind ships, encoded like a page; in the arena. CF_CORRUPT. */
CF_CHECKED cf_status codec_records(enum repl_kind kind, struct cf_slice bytes, struct arena *arena,
                                   const struct op **ret, size_t *ret_count, struct cf_error *err);
/* What a repair changes, as one log entry: `repair` stands in a source entry of index 0, which is no position, so
 * that nobody takes it for a piece of a stream. CF_TOO_LARGE. The claim names every key. */
CF_CHECKED cf_status codec_repair(const struct op *repair, size_t count, const struct op *own,
                                  size_t own_count, struct arena *arena, struct cf_buf *to,
                                  struct window_claim **claim, struct cf_error *err);

#endif

/* replication/core/secondary_stage.c
 *
 * The bootstrap of a secondary: a snapshot of the primary, page by page, into a stage of our own
 * that becomes the state in one step. While one page is being committed here, the next one is on
 * its way. A lost connection keeps the stage: the same snapshot goes on at the cursor behind the
 * last page that was staged, also when another node of ours receives by then; another snapshot begins anew, because pages of
 * two of them together are a state that the primary never had.
 */
#include <assert.h>

#include "replication/core/secondary_int.h"

static void forget(struct secondary *s)
{
    s->snapshot_id = 0;
    s->stage_begun = s->stage_whole = false;
    s->staged_keys = s->staged_bytes = 0;
    cf_buf_reset(&s->cursor);
}

static void set(struct cf_buf *to, struct cf_slice from)
{
    cf_buf_reset(to);
    cf_buf_add_slice(to, from);
}

void secondary_resume(struct secondary *s, const struct secondary_stage *stage)
{
    assert(s->state != SECONDARY_BOOTSTRAPPING && s->state != SECONDARY_STREAM_WALS);
    bool sound = !s->stage_begun && s->staging == STAGE_NONE &&
                 stage->snapshot_id != 0 && stage->position.index != 0 &&
                 (stage->is_whole || stage->cursor.size > 0) &&
                 stage->cursor.size <= SECONDARY_CURSOR_MAX;
    if (!sound) {
        return;
    }
    s->snapshot_id = stage->snapshot_id;
    s->snapshot_position = stage->position;
    s->total_keys = stage->total_keys;
    s->total_bytes = stage->total_bytes;
    s->staged_keys = stage->staged_keys;
    s->staged_bytes = stage->staged_bytes;
    s->stage_begun = true;
    s->stage_whole = stage->is_whole;
    set(&s->cursor, stage->cursor);
}

struct secondary_stage secondary_stage_of(const struct secondary *s)
{
    return (struct secondary_stage){.snapshot_id = s->stage_begun ? s->snapshot_id : 0,
                                    .position = s->snapshot_position,
                                    .total_keys = s->total_keys,
                                    .total_bytes = s->total_bytes,
                                    .staged_keys = s->staged_keys,
                                    .staged_bytes = s->staged_bytes,
                                    .is_whole = s->stage_whole,
                                    .cursor = cf_buf_slice(&s->cursor)};
}

void secondary_stage_start(struct secondary *s, struct secondary_update *out)
{
    secondary_move(s, SECONDARY_BOOTSTRAPPING);
    out->requests |= SECONDARY_OPEN;
    out->snapshot_id = s->stage_begun ? s->snapshot_id : 0;
    s->fetching = s->held = false;
}

struct secondary_stage secondary_stage_behind(const struct secondary *s)
{
    struct secondary_stage stage = secondary_stage_of(s);
    assert(s->staging == STAGE_PAGING);
    stage.staged_keys += s->page_keys;
    stage.staged_bytes += s->page_bytes;
    stage.is_whole = s->page_done;
    stage.cursor = cf_buf_slice(&s->next);
    return stage;
}

static void fetch(struct secondary *s, const struct cf_buf *cursor, struct secondary_update *out)
{
    s->fetching = true;
    out->requests |= SECONDARY_FETCH_PAGE;
    out->snapshot_id = s->snapshot_id;
    out->cursor = cf_buf_slice(cursor);
}

static void stage(struct secondary *s, unsigned request, struct secondary_update *out)
{
    s->ops++;
    s->staging = request == SECONDARY_STAGE_BEGIN  ? STAGE_BEGINNING
                 : request == SECONDARY_STAGE_PAGE ? STAGE_PAGING
                                                   : STAGE_SWITCHING;
    out->requests |= request;
    out->position = s->snapshot_position;
}

cf_status secondary_stage_snapshot(struct secondary *s, const struct secondary_event *ev,
                                   struct secondary_update *out, struct cf_error *err)
{
    if (ev->status != CF_OK || ev->snapshot_id == 0 || ev->position.index == 0) {
        secondary_reconnect(s, ev->now_ms, out);
        return cf_fail(err, ev->status != CF_OK ? ev->status : CF_CORRUPT,
                       "the primary could not open a snapshot");
    }
    if (s->repair_next) {
        s->ops++;
        s->repairing = true;
        s->snapshot_id = ev->snapshot_id;
        s->snapshot_position = ev->position;
        s->total_keys = ev->keys;
        s->total_bytes = ev->bytes;
        out->requests |= SECONDARY_REPAIR;
        out->snapshot_id = ev->snapshot_id;
        out->position = ev->position;
        return CF_OK;
    }
    bool resumed = s->stage_begun &&
                   (ev->snapshot_id == s->snapshot_id || REPL_MUTATED(REPL_MUTANT_RESUME_BLINDLY));
    if (!resumed) {
        forget(s);
    }
    s->snapshot_id = ev->snapshot_id;
    s->snapshot_position = ev->position;
    s->total_keys = ev->keys;
    s->total_bytes = ev->bytes;
    if (!resumed) {
        stage(s, SECONDARY_STAGE_BEGIN, out);
    } else if (s->stage_whole) {
        stage(s, SECONDARY_STAGE_SWITCH, out);
    } else {
        fetch(s, &s->cursor, out);
    }
    return CF_OK;
}

static void stage_this(struct secondary *s, struct cf_slice next, uint64_t keys, uint64_t bytes,
                       bool done, struct secondary_update *out)
{
    set(&s->next, next);
    s->page_keys = keys;
    s->page_bytes = bytes;
    s->page_done = done;
    stage(s, SECONDARY_STAGE_PAGE, out);
    if (!done) {
        fetch(s, &s->next, out);
    }
}

cf_status secondary_stage_page(struct secondary *s, const struct secondary_event *ev,
                               struct secondary_update *out, struct cf_error *err)
{
    bool sound =
        s->fetching && (ev->done || ev->cursor.size > 0) && ev->cursor.size <= SECONDARY_CURSOR_MAX;
    if (ev->status != CF_OK || !sound) {
        secondary_reconnect(s, ev->now_ms, out);
        if (ev->status == CF_NOT_FOUND) { /* the next attempt opens another one */
            forget(s);
        }
        return cf_fail(err, ev->status != CF_OK ? ev->status : CF_CORRUPT,
                       "the primary could not give a page of its snapshot");
    }
    s->fetching = false;
    if (s->staging == STAGE_NONE) {
        stage_this(s, ev->cursor, ev->keys, ev->bytes, ev->done, out);
        return CF_OK;
    }
    s->held = true;
    set(&s->held_next, ev->cursor);
    s->held_keys = ev->keys;
    s->held_bytes = ev->bytes;
    s->held_done = ev->done;
    return CF_OK;
}

/* What became of the stage, whether or not the connection still stands. */
static void note_staged(struct secondary *s, const struct secondary_event *ev)
{
    bool fine = ev->status == CF_OK;
    if (!fine || s->staging == STAGE_SWITCHING) {
        forget(s); /* a stage of which we don't know what is in it is worth nothing */
    } else if (s->staging == STAGE_BEGINNING) {
        s->stage_begun = true;
    } else {
        set(&s->cursor, cf_buf_slice(&s->next));
        s->staged_keys += s->page_keys;
        s->staged_bytes += s->page_bytes;
        s->stage_whole = s->page_done;
    }
}

cf_status secondary_stage_staged(struct secondary *s, const struct secondary_event *ev,
                                 struct secondary_update *out, struct cf_error *err)
{
    assert(s->ops > 0 && s->staging != STAGE_NONE);
    bool switching = s->staging == STAGE_SWITCHING, beginning = s->staging == STAGE_BEGINNING;
    s->ops--;
    note_staged(s, ev);
    s->staging = STAGE_NONE;
    if (ev->session != s->session || s->state != SECONDARY_BOOTSTRAPPING) {
        return CF_OK;
    }
    if (ev->status != CF_OK) {
        secondary_reconnect(s, ev->now_ms, out);
        return cf_fail(err, ev->status, "a snapshot could not be staged here");
    }
    if (switching) {
        s->bootstraps++;
        s->backoff_ms = 0;
        secondary_move(s, SECONDARY_GREETING);
        secondary_greet(s, out);
    } else if (beginning) {
        fetch(s, &s->cursor, out);
    } else if (s->stage_whole) {
        stage(s, SECONDARY_STAGE_SWITCH, out);
    } else if (s->held) {
        s->held = false;
        stage_this(s, cf_buf_slice(&s->held_next), s->held_keys, s->held_bytes, s->held_done, out);
    }
    return CF_OK;
}

/* A repair that can't be done is no reason to stay apart: everything is copied. */
static bool takes_a_copy(cf_status status)
{
    return status == CF_TOO_LARGE || status == CF_UNSUPPORTED || status == CF_CORRUPT;
}

cf_status secondary_stage_repaired(struct secondary *s, const struct secondary_event *ev,
                                   struct secondary_update *out, struct cf_error *err)
{
    assert(s->ops > 0 && s->repairing);
    s->ops--;
    s->repairing = false;
    if (takes_a_copy(ev->status) && !REPL_MUTATED(REPL_MUTANT_REPAIR_ENDLESS)) {
        s->repair_failed = true;
    }
    if (ev->session != s->session || s->state != SECONDARY_BOOTSTRAPPING) {
        return CF_OK;
    }
    if (ev->status == CF_OK) {
        s->repairs++;
        s->backoff_ms = 0;
        secondary_move(s, SECONDARY_GREETING);
        secondary_greet(s, out);
        return CF_OK;
    }
    if (!s->repair_failed) {
        secondary_reconnect(s, ev->now_ms, out);
        return cf_fail(err, ev->status, "the data could not be compared with the primary's");
    }
    s->repair_next = false;
    forget(s);
    s->snapshot_id = out->snapshot_id = 0;
    out->requests |= SECONDARY_OPEN; /* the keys of the one that was compared may be old by now */
    return CF_OK;
}

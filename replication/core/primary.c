/* replication/core/primary.c: the sender for one secondary. */
#include "replication/core/primary.h"

#include "node/base/memory.h"

void primary_init(struct primary *p)
{
    *p = (struct primary){0};
}

/* ---- lag: when did we reach what it has not got yet ---- */

static void mark(struct primary *p, uint64_t index, uint64_t now_ms)
{
    if (p->mark_count == PRIMARY_MARKS) { /* two become one, of the older time: a lag is never understated */
        for (size_t i = 0; i < PRIMARY_MARKS / 2; i++) {
            p->marks[i] = (struct primary_mark){
                p->marks[2 * i + 1].index,
                p->marks[2 * i + REPL_MUTATED(REPL_MUTANT_LAG_YOUNG)].at_ms};
        }
        p->mark_count = PRIMARY_MARKS / 2;
    }
    p->marks[p->mark_count++] = (struct primary_mark){index, now_ms};
}

static void forget_marks(struct primary *p, uint64_t index)
{
    size_t past = 0;
    while (past < p->mark_count && p->marks[past].index <= index) {
        past++;
    }
    memmove(p->marks, p->marks + past, (p->mark_count - past) * sizeof(p->marks[0]));
    p->mark_count -= past;
}

static bool is_ours(const struct primary *p, const struct repl_position *position)
{
    return position->index != 0 && repl_epoch_equal(&position->epoch, &p->epoch);
}

static void acknowledge(struct primary *p, const struct repl_position *position)
{
    p->acked = *position;
    if (is_ours(p, position)) {
        forget_marks(p, position->index);
    }
}

/* What our leader did meanwhile, we have not seen. */
static uint64_t blind_ms(const struct primary *p)
{
    return p->silent_ms > PRIMARY_HEARTBEAT_MS && !REPL_MUTATED(REPL_MUTANT_LAG_BLIND) ? p->silent_ms : 0;
}

struct primary_lag primary_lag(const struct primary *p, uint64_t now_ms)
{
    struct primary_lag lag = {.bytes = p->flight_bytes};
    const struct repl_position *there = REPL_MUTATED(REPL_MUTANT_LAG_OF_SENT) ? &p->sent : &p->acked;
    uint64_t has = is_ours(p, there) ? there->index : 0;
    uint64_t read = is_ours(p, &p->read_at) ? p->read_at.index : has;
    lag.entries = p->index > has ? p->index - has : 0;
    if (p->index > read) { /* what went to it is the better guide, since its filter is in it */
        uint64_t each = p->total_entries > 0 ? p->total_bytes / p->total_entries : p->entry_bytes;
        lag.bytes += (p->index - read) * (each > 0 ? each : 1);
    }
    if (lag.entries > 0 && p->mark_count > 0 && now_ms > p->marks[0].at_ms) {
        lag.ms = now_ms - p->marks[0].at_ms;
    }
    lag.ms = cf_max(lag.ms, blind_ms(p));
    return lag;
}

uint64_t primary_floor(const struct primary *p)
{
    if (!p->heard) {
        return 0;
    }
    if (p->holding.index != 0 && !REPL_MUTATED(REPL_MUTANT_HOLDING_FREED)) { /* what it will continue from, once it has loaded it */
        return is_ours(p, &p->holding) ? p->holding.index : 0;
    }
    return is_ours(p, &p->acked) ? p->acked.index : 0;
}

/* ---- hello ---- */

static void rest(struct primary *p)
{
    p->state = PRIMARY_IDLE;
    p->seq_sent = p->seq_acked = p->flight_bytes = 0;
    p->sent = p->read_at = p->acked; /* what was on its way has not arrived: it is lag again */
}

static cf_status on_hello(struct primary *p, const struct primary_event *ev,
                          struct primary_update *out, struct cf_error *err)
{
    rest(p);
    p->heard = true;
    p->epoch = repl_lineage_current(ev->own);
    p->heartbeat_at_ms = ev->now_ms + PRIMARY_HEARTBEAT_MS;
    struct fence_claim claim = {ev->theirs, ev->verified};
    switch (fence_decide(ev->own, FENCE_PRIMARY, &claim)) {
    case FENCE_FENCE:
        out->fence = out->close = true;
        out->verdict = REPL_DEPOSED;
        return cf_fail(err, CF_CONFLICT, "this cluster is no longer the primary: epoch %u is newer",
                       repl_lineage_current(ev->theirs).number);
    case FENCE_ALARM:
        out->alarm = out->close = true;
        out->verdict = REPL_REFUSED;
        return cf_fail(err, CF_DENIED, "a newer epoch is claimed without proof");
    case FENCE_IGNORE:
    case FENCE_ADOPT:
        break;
    }
    bool beyond = !repl_lineage_includes(ev->own, &ev->position) || !ev->known;
    if (ev->position.index == 0 ||
        (beyond && !(REPL_MUTATED(REPL_MUTANT_STREAM_BEYOND) && ev->known))) {
        out->verdict = REPL_BOOTSTRAP;
        p->state = PRIMARY_BOOTSTRAPPING;
        p->acked = (struct repl_position){0};
        /* What it will continue from does not exist yet (or is the snapshot of before, which it may
         * still resume): from here on nothing may go. */
        if (!is_ours(p, &p->holding)) {
            p->holding = (struct repl_position){.epoch = p->epoch, .term = 1, .index = ev->index};
        }
    } else {
        out->verdict = REPL_STREAM;
        p->state = PRIMARY_GREETED;
        p->holding = (struct repl_position){0};
        acknowledge(p, &ev->position);
    }
    if (ev->index > p->index) {
        p->index = ev->index;
    }
    if (p->mark_count == 0 && primary_lag(p, ev->now_ms).entries > 0) {
        mark(p, p->index, ev->now_ms); /* behind since long ago: since when, nobody here saw */
    }
    return CF_OK;
}

/* ---- stream ---- */

static void read_more(const struct primary *p, struct primary_update *out)
{
    uint64_t count = p->seq_sent - p->seq_acked;
    bool may = count < PRIMARY_BATCHES_MAX && p->flight_bytes < PRIMARY_CREDIT_BYTES;
    if (p->state == PRIMARY_STREAMING && !p->caught_up &&
        (may || REPL_MUTATED(REPL_MUTANT_CREDIT_IGNORED))) {
        out->read = true;
        out->read_from = p->read_at;
    }
}

static void send(struct primary *p, const struct repl_position *to, uint64_t bytes,
                 struct primary_update *out)
{
    out->send = true;
    out->seq = ++p->seq_sent;
    out->from = p->sent;
    out->to = *to;
    p->flight[p->seq_sent % PRIMARY_BATCHES_MAX].to = *to;
    p->flight[p->seq_sent % PRIMARY_BATCHES_MAX].bytes = bytes;
    p->flight_bytes += bytes;
    p->sent = *to;
}

static cf_status on_start(struct primary *p, const struct primary_event *ev,
                          struct primary_update *out, struct cf_error *err)
{
    if (p->state != PRIMARY_GREETED || !repl_position_equal(&ev->position, &p->acked)) {
        out->close = true;
        rest(p);
        return cf_fail(err, CF_CORRUPT, "a stream was asked for without a hello");
    }
    p->state = PRIMARY_STREAMING;
    p->sent = p->read_at = p->acked;
    p->caught_up = false;
    read_more(p, out);
    return CF_OK;
}

static cf_status on_read(struct primary *p, const struct primary_event *ev,
                         struct primary_update *out, struct cf_error *err)
{
    if (p->state != PRIMARY_STREAMING) {
        return CF_OK; /* the connection went away meanwhile */
    }
    if (ev->status !=
        CF_OK) { /* compacted under it: its next hello will be answered with a snapshot */
        out->close = true;
        rest(p);
        return cf_fail(err, ev->status, "the log can't be read from where the secondary is");
    }
    if (repl_position_equal(&ev->to, &p->read_at)) {
        p->caught_up = true;
        return CF_OK;
    }
    p->read_at = ev->to;
    p->total_bytes += ev->bytes;
    p->total_entries += ev->entries;
    if (ev->bytes > 0) {
        send(p, &ev->to, ev->bytes, out);
    } /* else all of it was filtered: it travels with the next batch, or with the next tick */
    read_more(p, out);
    return CF_OK;
}

static cf_status on_ack(struct primary *p, const struct primary_event *ev,
                        struct primary_update *out, struct cf_error *err)
{
    bool sound = p->state == PRIMARY_STREAMING && ev->seq > p->seq_acked &&
                 ev->seq <= p->seq_sent &&
                 repl_position_equal(&ev->position, &p->flight[ev->seq % PRIMARY_BATCHES_MAX].to);
    if (!sound) {
        out->close = true;
        rest(p);
        return cf_fail(err, CF_CORRUPT, "an acknowledgement of what was not sent");
    }
    while (p->seq_acked < ev->seq) {
        p->seq_acked++;
        p->flight_bytes -= p->flight[p->seq_acked % PRIMARY_BATCHES_MAX].bytes;
    }
    acknowledge(p, &ev->position);
    read_more(p, out);
    return CF_OK;
}

static void on_tick(struct primary *p, const struct primary_event *ev, struct primary_update *out)
{
    if (p->state == PRIMARY_IDLE || ev->now_ms < p->heartbeat_at_ms) {
        return;
    }
    p->heartbeat_at_ms = ev->now_ms + PRIMARY_HEARTBEAT_MS;
    out->heartbeat = true;
    if (p->state == PRIMARY_STREAMING && !repl_position_equal(&p->read_at, &p->sent) &&
        p->seq_sent - p->seq_acked < PRIMARY_BATCHES_MAX) {
        send(p, &p->read_at, 0, out); /* what was left out: else the log could never be dropped */
    }
}

cf_status primary_step(struct primary *p, const struct primary_event *ev,
                       struct primary_update *ret, struct cf_error *err)
{
    *ret = (struct primary_update){0};
    switch (ev->type) {
    case PRIMARY_EV_HELLO:
        return on_hello(p, ev, ret, err);
    case PRIMARY_EV_SNAPSHOT:
        if (p->state != PRIMARY_BOOTSTRAPPING) {
            return cf_fail(err, CF_INVALID, "no snapshot was offered");
        }
        p->holding = ev->position;
        return CF_OK;
    case PRIMARY_EV_START:
        return on_start(p, ev, ret, err);
    case PRIMARY_EV_ADVANCED:
        if (ev->index > p->index) {
            p->index = ev->index;
            mark(p, ev->index, ev->now_ms - cf_min(blind_ms(p), ev->now_ms)); /* it may be that old */
        }
        p->caught_up = false;
        read_more(p, ret);
        return CF_OK;
    case PRIMARY_EV_READ:
        return on_read(p, ev, ret, err);
    case PRIMARY_EV_ACK:
        return on_ack(p, ev, ret, err);
    case PRIMARY_EV_TICK:
        on_tick(p, ev, ret);
        return CF_OK;
    case PRIMARY_EV_LOST:
        rest(p);
        return CF_OK;
    }
    return cf_fail(err, CF_INVALID, "unknown event %d", (int)ev->type);
}

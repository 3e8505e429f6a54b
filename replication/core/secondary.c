/* replication/core/secondary.c: the receiver's states; connection, hello and stream. The bootstrap
 * is in secondary_stage.c. */
#include "replication/core/secondary.h"

#include <assert.h>

#include "replication/core/secondary_int.h"

#ifdef REPL_MUTATIONS
enum repl_mutant repl_mutation;
#endif

#define BIT(value) (1u << (value))
#define ALWAYS                                                                                     \
    (BIT(SECONDARY_EV_INSTALLED) | BIT(SECONDARY_EV_ADOPTED) | BIT(SECONDARY_EV_STAGED) |          \
     BIT(SECONDARY_EV_REPAIRED) | BIT(SECONDARY_EV_PROPOSED) | BIT(SECONDARY_EV_CLOSE))
#define LOST BIT(SECONDARY_EV_LOST)

/* What each state listens to and where it may go. Completions of what we proposed come in any. */
static const struct {
    unsigned accepts, next;
} states[] = {
    [SECONDARY_IDLE] = {ALWAYS | BIT(SECONDARY_EV_ENABLED), BIT(SECONDARY_CONNECTING)},
    [SECONDARY_WAITING] = {ALWAYS | BIT(SECONDARY_EV_TIMEOUT), BIT(SECONDARY_CONNECTING)},
    [SECONDARY_CONNECTING] = {ALWAYS | LOST | BIT(SECONDARY_EV_CONNECTED),
                              BIT(SECONDARY_WAITING) | BIT(SECONDARY_GREETING)},
    [SECONDARY_GREETING] = {ALWAYS | LOST | BIT(SECONDARY_EV_ANSWER),
                            BIT(SECONDARY_WAITING) | BIT(SECONDARY_PREPARING)},
    [SECONDARY_PREPARING] = {ALWAYS | LOST, BIT(SECONDARY_WAITING) | BIT(SECONDARY_BOOTSTRAPPING) |
                                                BIT(SECONDARY_STREAM_WALS)},
    [SECONDARY_BOOTSTRAPPING] = {ALWAYS | LOST | BIT(SECONDARY_EV_SNAPSHOT) |
                                     BIT(SECONDARY_EV_PAGE) | BIT(SECONDARY_EV_KEYRING),
                                 BIT(SECONDARY_WAITING) | BIT(SECONDARY_GREETING)},
    [SECONDARY_STREAM_WALS] = {ALWAYS | LOST | BIT(SECONDARY_EV_BATCH) | BIT(SECONDARY_EV_KEYRING),
                               BIT(SECONDARY_WAITING)},
    [SECONDARY_CLOSED] = {ALWAYS, 0},
};
_Static_assert(CF_LENGTH(states) == SECONDARY_STATE_COUNT, "every state is listed");

void secondary_move(struct secondary *s, enum secondary_state next)
{
    assert(next == SECONDARY_CLOSED || (states[s->state].next & BIT(next)) != 0);
    s->state = next;
}

const char *secondary_state_text(const struct secondary *s)
{
    switch (s->state) {
    case SECONDARY_BOOTSTRAPPING:
        return s->repair_next ? "merkle-diff" : "merkle-sync";
    case SECONDARY_STREAM_WALS:
        return "stream-wals";
    case SECONDARY_IDLE:
    case SECONDARY_WAITING:
    case SECONDARY_CONNECTING:
    case SECONDARY_GREETING:
    case SECONDARY_PREPARING:
    case SECONDARY_CLOSED:
    case SECONDARY_STATE_COUNT:
        break;
    }
    return "idle";
}

void secondary_init(struct secondary *s, uint64_t seed)
{
    *s = (struct secondary){0};
    cf_prng_seed(&s->prng, seed);
    s->cursor.max = s->next.max = s->held_next.max = SECONDARY_CURSOR_MAX;
}

void secondary_done(struct secondary *s)
{
    cf_buf_done(&s->cursor);
    cf_buf_done(&s->next);
    cf_buf_done(&s->held_next);
}

/* Between half of the backoff and all of it: secondaries that lost one primary don't come back in
 * step. */
void secondary_reconnect(struct secondary *s, uint64_t now_ms, struct secondary_update *out)
{
    unsigned doubled = s->backoff_ms * 2;
    s->backoff_ms = doubled < SECONDARY_BACKOFF_MIN_MS   ? SECONDARY_BACKOFF_MIN_MS
                    : doubled > SECONDARY_BACKOFF_MAX_MS ? SECONDARY_BACKOFF_MAX_MS
                                                         : doubled;
    secondary_move(s, SECONDARY_WAITING);
    s->hello_waits = s->fetching = s->held = s->installing = s->install_again = false;
    s->seq_received = s->seq_proposed = s->seq_committed = 0;
    s->session++; /* what comes from the old connection belongs to nothing any more */
    out->requests = SECONDARY_CLOSE_LINK | SECONDARY_SET_TIMER | (out->requests & SECONDARY_ALARM);
    out->timeout_at_ms =
        now_ms + s->backoff_ms / 2 + cf_prng_below(&s->prng, s->backoff_ms / 2 + 1);
}

/* Says hello as soon as our log's last position is final. */
void secondary_greet(struct secondary *s, struct secondary_update *out)
{
    bool busy = s->proposals > 0 || s->ops > 0;
    s->hello_waits = busy && !REPL_MUTATED(REPL_MUTANT_HELLO_EARLY);
    if (!s->hello_waits) {
        out->requests |= SECONDARY_HELLO;
    }
}

static void connect_now(struct secondary *s, struct secondary_update *out)
{
    secondary_move(s, SECONDARY_CONNECTING);
    out->requests |= SECONDARY_CONNECT;
}

/* ---- hello ---- */

static void start_stream(struct secondary *s, struct secondary_update *out)
{
    secondary_move(s, SECONDARY_STREAM_WALS);
    s->backoff_ms = s->redirects = 0;
    s->repair_failed = false;
    s->seq_received = s->seq_proposed = s->seq_committed = 0;
    out->requests |= SECONDARY_START;
    out->position = s->received;
}

/* Keyring, then lineage, then data: nothing arrives before what it needs. */
static void prepare(struct secondary *s, struct secondary_update *out)
{
    if (s->installing) {
        s->ops++;
        out->requests |= SECONDARY_INSTALL;
    } else if (s->adopt_next) {
        s->adopt_next = false;
        s->ops++;
        out->requests |= SECONDARY_ADOPT;
    } else if (s->bootstrap_next) {
        secondary_stage_start(s, out);
    } else {
        start_stream(s, out);
    }
}

static cf_status not_followed(struct secondary *s, const struct secondary_event *ev,
                              struct secondary_update *out, struct cf_error *err)
{
    secondary_reconnect(s, ev->now_ms, out);
    switch (ev->verdict) {
    case REPL_REDIRECT:
        /* At once, a few times: a change of leader is one hop, a loop is an endless number. */
        if (ev->has_redirect && s->redirects++ < SECONDARY_REDIRECTS_MAX) {
            s->backoff_ms = 0;
            out->timeout_at_ms = ev->now_ms;
            return CF_OK;
        }
        s->redirects = 0;
        return cf_fail(err, CF_UNAVAILABLE, "no node of the primary can serve a stream now");
    case REPL_DEPOSED:
        return cf_fail(err, CF_CONFLICT, "that primary is of an older epoch than this cluster");
    case REPL_REFUSED:
        return cf_fail(err, CF_DENIED, "refused by the primary");
    case REPL_STREAM:
    case REPL_BOOTSTRAP:
        break;
    }
    return cf_fail(err, CF_CORRUPT, "unknown answer %d to the hello", (int)ev->verdict);
}

static cf_status judge_lineage(struct secondary *s, const struct secondary_event *ev,
                               struct secondary_update *out, struct cf_error *err)
{
    struct fence_claim claim = {ev->theirs, ev->verified};
    switch (fence_decide(ev->own, FENCE_SECONDARY, &claim)) {
    case FENCE_ALARM:
        out->requests |= SECONDARY_ALARM;
        return cf_fail(err, CF_DENIED, "the primary claims a newer epoch without proof");
    case FENCE_ADOPT:
        s->adopt_next = ev->verdict == REPL_STREAM;
        break;
    case FENCE_IGNORE:
        if (repl_lineage_compare(ev->own, ev->theirs, NULL) != REPL_SAME) {
            return cf_fail(err, CF_CONFLICT, "that primary is of an older epoch than this cluster");
        }
        break;
    case FENCE_FENCE:
        assert(false); /* the decision of a primary */
    }
    if (ev->verdict == REPL_STREAM && !REPL_MUTATED(REPL_MUTANT_STREAM_BEYOND) &&
        (ev->position.index == 0 || !repl_lineage_includes(ev->theirs, &ev->position))) {
        return cf_fail(err, CF_CORRUPT, "the primary streams from where it can't have been");
    }
    return CF_OK;
}

static cf_status on_answer(struct secondary *s, const struct secondary_event *ev,
                           struct secondary_update *out, struct cf_error *err)
{
    if (s->hello_waits) {
        secondary_reconnect(s, ev->now_ms, out);
        return cf_fail(err, CF_CORRUPT, "an answer before the hello");
    }
    if (ev->verdict != REPL_STREAM && ev->verdict != REPL_BOOTSTRAP) {
        return not_followed(s, ev, out, err);
    }
    s->adopt_next = false;
    cf_status status = judge_lineage(s, ev, out, err);
    if (status != CF_OK) {
        secondary_reconnect(s, ev->now_ms, out);
        return status;
    }
    secondary_move(s, SECONDARY_PREPARING);
    s->followed = *ev->theirs;
    s->received = s->committed = ev->position;
    s->bootstrap_next = ev->verdict == REPL_BOOTSTRAP;
    /* A copy that has begun goes on: most of it may be here already. */
    s->repair_next = s->bootstrap_next && ev->has_data && !s->repair_failed && !s->stage_begun;
    s->installing = ev->has_keyring;
    prepare(s, out);
    return CF_OK;
}

/* ---- stream ---- */

/* Fills what the window leaves open. A keyring that is being installed holds back what came after
 * it. */
static void propose(struct secondary *s, struct secondary_update *out)
{
    uint64_t room = SECONDARY_PROPOSALS_MAX - cf_min(s->proposals, SECONDARY_PROPOSALS_MAX);
    uint64_t waiting = s->seq_received - s->seq_proposed;
    uint64_t count = room < waiting ? room : waiting;
    if (count == 0 || s->installing) {
        return;
    }
    out->requests |= SECONDARY_PROPOSE;
    out->propose_first = s->seq_proposed + 1;
    out->propose_count = count;
    s->seq_proposed += count;
    s->proposals += (unsigned)count;
}

static bool continues(const struct secondary *s, const struct secondary_event *ev)
{
    struct repl_epoch current = repl_lineage_current(&s->followed);
    /* Applying past a gap would diverge silently, and no later check would notice. A batch names
     * the position it continues from: positions are not dense (no-ops, filtered entries). */
    bool joins =
        repl_position_equal(&ev->from, &s->received) || REPL_MUTATED(REPL_MUTANT_ACCEPT_GAP);
    /* Forward, and never again in an epoch that is over. */
    return joins && repl_epoch_equal(&ev->to.epoch, &current) && ev->to.index != 0 &&
           (!repl_epoch_equal(&s->received.epoch, &current) || ev->to.index > s->received.index);
}

static cf_status on_batch(struct secondary *s, const struct secondary_event *ev,
                          struct secondary_update *out, struct cf_error *err)
{
    if (REPL_MUTATED(REPL_MUTANT_ACCEPT_GAP)) {
        while (ev->seq > s->seq_received + 1) {
            s->slots[++s->seq_received % SECONDARY_QUEUE_MAX].done = true;
        }
    }
    if (ev->seq != s->seq_received + 1 || !continues(s, ev)) {
        secondary_reconnect(s, ev->now_ms, out);
        return cf_fail(err, CF_CORRUPT, "replication stream out of order");
    }
    if (s->seq_received - s->seq_committed == SECONDARY_QUEUE_MAX) {
        secondary_reconnect(s, ev->now_ms, out);
        return cf_fail(err, CF_CORRUPT, "the primary sends more than it may");
    }
    s->seq_received++;
    s->slots[s->seq_received % SECONDARY_QUEUE_MAX] = (struct secondary_slot){ev->to, false};
    s->received = ev->to;
    propose(s, out);
    if (REPL_MUTATED(REPL_MUTANT_ACK_EARLY)) {
        out->requests |= SECONDARY_ACK;
        out->ack_seq = s->seq_received;
        out->position = s->received;
    }
    return CF_OK;
}

static cf_status on_proposed(struct secondary *s, const struct secondary_event *ev,
                             struct secondary_update *out, struct cf_error *err)
{
    assert(s->proposals > 0);
    s->proposals--;
    if (ev->session != s->session || s->state != SECONDARY_STREAM_WALS) {
        return CF_OK; /* its connection is gone; secondary_step looks after a waiting hello */
    }
    if (ev->status != CF_OK) {
        secondary_reconnect(s, ev->now_ms, out);
        return cf_fail(err, ev->status, "a batch could not be committed here");
    }
    assert(ev->seq > s->seq_committed && ev->seq <= s->seq_proposed);
    s->slots[ev->seq % SECONDARY_QUEUE_MAX].done = true;
    uint64_t before = s->seq_committed;
    while (s->seq_committed < s->seq_proposed &&
           s->slots[(s->seq_committed + 1) % SECONDARY_QUEUE_MAX].done) {
        s->seq_committed++;
        s->committed = s->slots[s->seq_committed % SECONDARY_QUEUE_MAX].to;
    }
    if (s->seq_committed != before && !REPL_MUTATED(REPL_MUTANT_ACK_EARLY)) {
        out->requests |= SECONDARY_ACK;
        out->ack_seq = s->seq_committed;
        out->position = s->committed;
    }
    propose(s, out);
    return CF_OK;
}

static void on_keyring(struct secondary *s, struct secondary_update *out)
{
    s->install_again = s->installing; /* keyrings only grow: the last one is enough */
    if (!s->installing) {
        s->installing = true;
        s->ops++;
        out->requests |= SECONDARY_INSTALL;
    }
}

/* Of INSTALL and ADOPT. */
static cf_status on_prepared(struct secondary *s, const struct secondary_event *ev,
                             struct secondary_update *out, struct cf_error *err)
{
    assert(s->ops > 0);
    s->ops--;
    if (ev->session != s->session) {
        return CF_OK;
    }
    if (ev->status != CF_OK) {
        bool keyring = ev->type == SECONDARY_EV_INSTALLED;
        secondary_reconnect(s, ev->now_ms, out);
        return cf_fail(err, ev->status,
                       keyring ? "the primary's keyring could not be installed"
                               : "the primary's epoch could not be committed");
    }
    if (ev->type == SECONDARY_EV_INSTALLED) {
        s->installing = s->install_again;
        s->install_again = false;
        if (s->installing && s->state != SECONDARY_PREPARING) {
            s->ops++;
            out->requests |= SECONDARY_INSTALL;
        }
    }
    if (s->state == SECONDARY_PREPARING) {
        prepare(s, out);
    } else if (s->state == SECONDARY_STREAM_WALS) {
        propose(s, out);
    }
    return CF_OK;
}

static cf_status dispatch(struct secondary *s, const struct secondary_event *ev,
                          struct secondary_update *out, struct cf_error *err)
{
    switch (ev->type) {
    case SECONDARY_EV_ENABLED:
    case SECONDARY_EV_TIMEOUT:
        connect_now(s, out);
        return CF_OK;
    case SECONDARY_EV_CONNECTED:
        secondary_move(s, SECONDARY_GREETING);
        secondary_greet(s, out);
        return CF_OK;
    case SECONDARY_EV_ANSWER:
        return on_answer(s, ev, out, err);
    case SECONDARY_EV_INSTALLED:
    case SECONDARY_EV_ADOPTED:
        return on_prepared(s, ev, out, err);
    case SECONDARY_EV_SNAPSHOT:
        return secondary_stage_snapshot(s, ev, out, err);
    case SECONDARY_EV_PAGE:
        return secondary_stage_page(s, ev, out, err);
    case SECONDARY_EV_STAGED:
        return secondary_stage_staged(s, ev, out, err);
    case SECONDARY_EV_REPAIRED:
        return secondary_stage_repaired(s, ev, out, err);
    case SECONDARY_EV_KEYRING:
        on_keyring(s, out);
        return CF_OK;
    case SECONDARY_EV_BATCH:
        return on_batch(s, ev, out, err);
    case SECONDARY_EV_PROPOSED:
        return on_proposed(s, ev, out, err);
    case SECONDARY_EV_LOST:
        secondary_reconnect(s, ev->now_ms, out);
        return CF_OK;
    case SECONDARY_EV_CLOSE:
        secondary_move(s, SECONDARY_CLOSED);
        s->session++;
        out->requests = SECONDARY_CLOSE_LINK;
        return CF_OK;
    case SECONDARY_EV_COUNT:
        break;
    }
    return cf_fail(err, CF_INVALID, "unknown event %d", (int)ev->type);
}

cf_status secondary_step(struct secondary *s, const struct secondary_event *ev,
                         struct secondary_update *ret, struct cf_error *err)
{
    *ret = (struct secondary_update){.session = s->session};
    if ((unsigned)ev->type >= SECONDARY_EV_COUNT ||
        (states[s->state].accepts & BIT(ev->type)) == 0) {
        /* From the peer that is a broken protocol; from the driver a mistake without effect. */
        if ((ev->type == SECONDARY_EV_BATCH || ev->type == SECONDARY_EV_KEYRING ||
             ev->type == SECONDARY_EV_ANSWER) &&
            (states[s->state].accepts & LOST) != 0) {
            secondary_reconnect(s, ev->now_ms, ret);
            ret->session = s->session;
            return cf_fail(err, CF_CORRUPT, "a message out of turn in state \"%s\"",
                           secondary_state_text(s));
        }
        return cf_fail(err, CF_INVALID, "unexpected event in state \"%s\"",
                       secondary_state_text(s));
    }
    cf_status status = dispatch(s, ev, ret, err);
    if (s->state == SECONDARY_GREETING && s->hello_waits) {
        secondary_greet(s, ret);
    }
    ret->session = s->session;
    return status;
}

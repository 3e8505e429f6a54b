/* node/server/tick.c: entries that hold nothing but the time. */
#include "node/server/tick.h"

#include "node/base/host.h"
#include "node/base/memory.h"
#include "node/core/command.h"
#include "node/core/window.h"

#define TICK_QUIET_US ((uint64_t)10 * 1000000)
#define TICK_DEADLINE_US ((uint64_t)5 * 1000000)

/* How often clocks are looked at, and a leader that can't stamp yet tries to. */
#define PULSE_US ((uint64_t)100 * 1000)

/* What is remembered of read indexes: those of 12 s at least, 50 ms apart. */
#define WORDS_MAX ((size_t)256)
/* So long after the last stale read this node goes on asking. */
#define WANTED_US ((uint64_t)30 * 1000000)

/* At that moment nothing beyond that index had been acknowledged. */
struct word {
    uint64_t asked_us, index;
};

struct ticker {
    struct node *node;
    pthread_mutex_t lock; /* words; any thread */
    struct word words[WORDS_MAX];
    size_t word_count; /* ever; the newest is at (word_count - 1) % WORDS_MAX */
    _Atomic uint64_t wanted_us; /* when a stale read was last asked for */
    _Atomic bool is_asking;
    uint64_t asked_us; /* of the read under way */
    struct raft_read read;
    struct loop_timer *timer, *pulse;
    uint64_t seen_index; /* applied when the timer was set */
};

struct tick {
    struct proposal proposal;
    struct window_claim claim;
};

static void proposed(struct proposal *proposal, cf_status status, uint64_t index)
{
    struct tick *tick = cf_container(proposal, struct tick, proposal);
    (void)status; /* whoever leads by now makes its own */
    (void)index;
    cf_buf_done(&tick->proposal.payload);
    cf_free(tick);
}

static void propose_one(struct node *node)
{
    struct tick *tick = cf_new(struct tick);
    struct command command = {.id = COMMAND_TICK};
    /* Reads nothing, writes nothing: it is in nobody's way and nobody is in its. */
    tick->claim = (struct window_claim){.view_index = UINT64_MAX, .ticket = WINDOW_TICKET_FIRST};
    tick->proposal.claim = &tick->claim;
    tick->proposal.deadline_us = loop_now_us() + TICK_DEADLINE_US;
    tick->proposal.done = proposed;
    if (command_encode(&tick->proposal.payload, &command, NULL) != CF_OK) {
        proposed(&tick->proposal, CF_INTERNAL, 0);
        return;
    }
    const struct proposer *proposer = node_proposer(node);
    proposer->propose(proposer->context, &tick->proposal);
}

static void on_timer(void *arg)
{
    struct ticker *ticker = arg;
    struct node *node = ticker->node;
    if (!raft_driver_is_leader(node->driver)) {
        return;
    }
    uint64_t applied = raft_driver_applied(node->driver);
    if (applied == ticker->seen_index) {
        propose_one(node);
    }
    ticker->seen_index = applied;
    loop_timer_set_in(ticker->timer, TICK_QUIET_US);
}

/* ---- the pulse: runs as long as consensus does ---- */

void tick_observe(struct node *node)
{
    struct raft_clocks clocks;
    struct raft_driver *driver = atomic_load(&node->driver_shared);
    if (driver != NULL) {
        raft_driver_clocks(driver, &clocks);
        core_observe_clocks(node->core, cf_wall_ns(cf_host_clock()) + clocks.median_ns, clocks.heard,
                            clocks.voters);
    }
}

/* A read index was asked for at `asked_us` and came to `index`: a view that reaches it shows all that had been
 * acknowledged anywhere by then. What heartbeats say of the commit index would not do: it is cut to what this node
 * holds. */
void tick_note_read(struct node *node, uint64_t asked_us, uint64_t index)
{
    struct ticker *ticker = atomic_load(&node->ticker);
    if (ticker == NULL) {
        return;
    }
    pthread_mutex_lock(&ticker->lock);
    struct word *last = &ticker->words[(ticker->word_count + WORDS_MAX - 1) % WORDS_MAX];
    if (ticker->word_count == 0 || asked_us >= last->asked_us + PULSE_US / 2) {
        ticker->words[ticker->word_count++ % WORDS_MAX] = (struct word){asked_us, index};
    } else if (asked_us > last->asked_us && index == last->index) {
        last->asked_us = asked_us;
    }
    pthread_mutex_unlock(&ticker->lock);
}

static void asked(struct raft_read *read, cf_status status, uint64_t index)
{
    struct ticker *ticker = cf_container(read, struct ticker, read);
    if (status == CF_OK) {
        tick_note_read(ticker->node, ticker->asked_us, index);
    }
    atomic_store(&ticker->is_asking, false);
}

/* While clients ask for stale reads this node keeps asking how stale it is; else nobody needs to know. */
static void ask(struct ticker *ticker)
{
    uint64_t now = loop_now_us();
    if (now - atomic_load(&ticker->wanted_us) < WANTED_US &&
        !atomic_exchange(&ticker->is_asking, true)) {
        ticker->asked_us = now;
        ticker->read.done = asked;
        raft_driver_read_index(ticker->node->driver, &ticker->read);
    }
}

uint64_t tick_staleness_us(struct node *node, uint64_t index)
{
    struct ticker *ticker = atomic_load(&node->ticker);
    uint64_t newest = 0;
    if (ticker == NULL) {
        return UINT64_MAX;
    }
    atomic_store_explicit(&ticker->wanted_us, loop_now_us(), memory_order_relaxed);
    pthread_mutex_lock(&ticker->lock);
    for (size_t i = 0; i < cf_min(ticker->word_count, WORDS_MAX); i++) {
        const struct word *word = &ticker->words[i];
        if (word->index <= index && word->asked_us > newest) {
            newest = word->asked_us;
        }
    }
    pthread_mutex_unlock(&ticker->lock);
    uint64_t now = loop_now_us();
    return newest == 0 ? UINT64_MAX : now > newest ? now - newest : 0;
}

static void on_pulse(void *arg)
{
    struct ticker *ticker = arg;
    struct node *node = ticker->node;
    loop_timer_set_in(ticker->pulse, PULSE_US);
    core_pulse(node->core);
    if (node->driver != NULL) {
        ask(ticker);
    }
    if (node->driver != NULL && raft_driver_is_leader(node->driver)) {
        tick_observe(node);
        if (!core_time_is_known(node->core) && node->init == NULL) {
            propose_one(node);
        }
    }
}

void pulse_start(struct node *node)
{
    struct raft_driver_status status;
    raft_driver_status(node->driver, &status);
    core_set_log_end(node->core, status.last_index);
    struct ticker *ticker = cf_new(struct ticker);
    ticker->node = node;
    pthread_mutex_init(&ticker->lock, NULL);
    ticker->timer = loop_timer_new(node->loop, on_timer, ticker);
    ticker->pulse = loop_timer_new(node->loop, on_pulse, ticker);
    atomic_store(&node->ticker, ticker);
    loop_timer_set_in(ticker->pulse, PULSE_US);
}

void tick_start(struct node *node)
{
    if (node->init == NULL) { /* else the first content is about to be proposed */
        propose_one(node);
    }
    node->ticker->seen_index = raft_driver_applied(node->driver);
    loop_timer_set_in(node->ticker->timer, TICK_QUIET_US);
}

void tick_stop(struct node *node)
{
    if (node->ticker != NULL) {
        loop_timer_cancel(node->ticker->timer);
    }
}

void tick_free(struct ticker *ticker)
{
    if (ticker != NULL) {
        loop_timer_free(ticker->timer);
        loop_timer_free(ticker->pulse);
        pthread_mutex_destroy(&ticker->lock);
        cf_free(ticker);
    }
}

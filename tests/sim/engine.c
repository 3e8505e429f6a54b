/* tests/sim/engine.c: virtual time, chance, options, trace and network of the simulators. */
#include "tests/sim/engine.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/memory.h"

void sim_engine_init(struct sim_engine *e, uint64_t seed, bool verbose)
{
    *e = (struct sim_engine){.seed = seed, .verbose = verbose, .hash = 0x9e3779b97f4a7c15U};
    cf_prng_seed(&e->prng, seed);
    e->draws = &e->prng;
    cf_buf_init(&e->options, 16384);
    e->now_us = 1000000;
}

void sim_engine_done(struct sim_engine *e, void (*drop)(struct sim_event *event))
{
    for (size_t i = 0; drop != NULL && i < e->count; i++) {
        drop(&e->heap[i]);
    }
    cf_free(e->heap);
    cf_buf_done(&e->options);
}

uint64_t sim_below(struct sim_engine *e, uint64_t bound)
{
    return cf_prng_below(e->draws, bound);
}

uint64_t sim_between(struct sim_engine *e, uint64_t low, uint64_t high)
{
    return low + cf_prng_below(e->draws, high - low + 1);
}

bool sim_chance(struct sim_engine *e, uint64_t permille)
{
    return permille != 0 && cf_prng_below(e->draws, 1000) < permille;
}

struct cf_prng *sim_draw_from(struct sim_engine *e, struct cf_prng *stream)
{
    struct cf_prng *before = e->draws;
    e->draws = stream != NULL ? stream : &e->prng;
    return before;
}

void sim_stream_seed(const struct sim_engine *e, struct cf_prng *stream, uint64_t a, uint64_t b,
                     uint64_t c)
{
    cf_prng_seed(stream, sim_mix(sim_mix(e->seed, a), sim_mix(b, c)));
}

static uint64_t overridden(const struct sim_engine *e, const char *name, uint64_t value)
{
    const struct sim_override *o = e->overrides;
    for (; o != NULL && o->name != NULL; o++) {
        if (strcmp(o->name, name) == 0) {
            value = o->value;
        }
    }
    return value;
}

uint64_t sim_option(struct sim_engine *e, const char *name, uint64_t low, uint64_t high)
{
    uint64_t value = overridden(e, name, sim_between(e, low, high));
    cf_buf_addf(&e->options, "%s=%" PRIu64 " ", name, value);
    return value;
}

uint64_t sim_option_maybe(struct sim_engine *e, const char *name, uint64_t low, uint64_t high)
{
    uint64_t value = sim_between(e, low, high);
    value = overridden(e, name, sim_below(e, 2) == 0 ? value : 0);
    cf_buf_addf(&e->options, "%s=%" PRIu64 " ", name, value);
    return value;
}

const char *sim_options_text(struct sim_engine *e)
{
    return cf_buf_text(&e->options);
}

/* ---- events --------------------------------------------------------------------------------- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    if (a->at_us != b->at_us) {
        return a->at_us < b->at_us;
    }
    return a->tie != b->tie ? a->tie < b->tie : a->seq < b->seq;
}

void sim_schedule(struct sim_engine *e, uint64_t at_us, uint32_t kind, uint32_t node, uint64_t a,
                  uint64_t b, void *data)
{
    if (e->count == e->capacity) {
        e->capacity = e->capacity != 0 ? 2 * e->capacity : 256;
        e->heap = cf_realloc(e->heap, e->capacity * sizeof(e->heap[0]));
    }
    struct sim_event event = {
        .at_us = at_us > e->now_us ? at_us : e->now_us,
        .tie = cf_prng_next(e->draws) & 0xff,
        .seq = e->seq++,
        .kind = kind,
        .node = node,
        .a = a,
        .b = b,
        .data = data,
    };
    size_t at = e->count++;
    while (at > 0 && before(&event, &e->heap[(at - 1) / 2])) {
        e->heap[at] = e->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    e->heap[at] = event;
}

static void sift_down(struct sim_engine *e, struct sim_event event)
{
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= e->count) {
            break;
        }
        if (child + 1 < e->count && before(&e->heap[child + 1], &e->heap[child])) {
            child++;
        }
        if (!before(&e->heap[child], &event)) {
            break;
        }
        e->heap[at] = e->heap[child];
        at = child;
    }
    e->heap[at] = event;
}

bool sim_next(struct sim_engine *e, uint64_t until_us, struct sim_event *ret)
{
    if (e->count == 0 || e->heap[0].at_us > until_us) {
        e->now_us = until_us > e->now_us ? until_us : e->now_us;
        return false;
    }
    *ret = e->heap[0];
    struct sim_event last = e->heap[--e->count];
    if (e->count > 0) {
        sift_down(e, last);
    }
    e->now_us = ret->at_us;
    e->events++;
    sim_note(e, ret->at_us);
    sim_note(e, (uint64_t)ret->kind << 32 | ret->node);
    sim_note(e, ret->a ^ ret->b << 32);
    return true;
}

/* ---- trace ---------------------------------------------------------------------------------- */

uint64_t sim_mix(uint64_t hash, uint64_t value)
{
    uint64_t z = (hash ^ value) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 29) * 0x94d049bb133111ebU;
    return z ^ z >> 32;
}

void sim_note(struct sim_engine *e, uint64_t value)
{
    e->hash = sim_mix(e->hash, value);
}

void sim_trace(struct sim_engine *e, const char *fmt, ...)
{
    if (!e->verbose) {
        return;
    }
    va_list args;
    va_start(args, fmt);
    printf("[%9" PRIu64 "] ", e->now_us);
    vprintf(fmt, args);
    putchar('\n');
    va_end(args);
}

void sim_reached(struct sim_engine *e, unsigned mark)
{
    e->reached |= (uint64_t)1 << mark;
}

void sim_fail(struct sim_engine *e, const char *invariant, const char *fmt, ...)
{
    va_list args;
    if (e->on_fail != NULL) {
        char text[512];
        va_start(args, fmt);
        (void)vsnprintf(text, sizeof(text), fmt, args);
        va_end(args);
        e->on_fail(e, invariant, text);
        _exit(1);
    }
    va_start(args, fmt);
    (void)fflush(stdout);
    fprintf(stderr, "seed %" PRIu64 ": %s violated at %" PRIu64 " us, event %" PRIu64 ": ", e->seed,
            invariant, e->now_us, e->events);
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n  options: %s\n", sim_options_text(e));
    va_end(args);
    _exit(1);
}

/* ---- network -------------------------------------------------------------------------------- */

bool sim_net_is_cut(const struct sim_net *net, unsigned from, unsigned to)
{
    return net->cut[from][to];
}

static uint64_t delay(struct sim_engine *e, const struct sim_net *net, unsigned from, unsigned to)
{
    uint64_t value = sim_between(e, net->delay_min_us, net->delay_max_us);
    if (sim_chance(e, net->slow_permille)) {
        value += sim_between(e, 0, net->slow_max_us);
    }
    if (net->clogged_until_us[from][to] > e->now_us) {
        value += net->clogged_until_us[from][to] - e->now_us;
    }
    return value;
}

unsigned sim_net_route(struct sim_engine *e, const struct sim_net *net, unsigned from, unsigned to,
                       uint64_t delays[2])
{
    if (net->cut[from][to] || sim_chance(e, net->drop_permille)) {
        return 0;
    }
    delays[0] = delay(e, net, from, to);
    if (!sim_chance(e, net->duplicate_permille)) {
        return 1;
    }
    delays[1] = delay(e, net, from, to);
    return 2;
}

void sim_net_heal(struct sim_net *net)
{
    memset(net->cut, 0, sizeof(net->cut));
    memset(net->clogged_until_us, 0, sizeof(net->clogged_until_us));
}

static void cut_halves(struct sim_engine *e, struct sim_net *net, bool one_way)
{
    uint64_t side = sim_below(e, (uint64_t)1 << net->endpoints);
    for (unsigned i = 0; i < net->endpoints; i++) {
        for (unsigned j = 0; j < net->endpoints; j++) {
            bool here = (side >> i & 1) != 0, there = (side >> j & 1) != 0;
            net->cut[i][j] |= here && !there;
            net->cut[i][j] |= !one_way && there && !here;
        }
    }
}

static void cut_around(struct sim_net *net, unsigned endpoint, bool in, bool out)
{
    for (unsigned i = 0; i < net->endpoints; i++) {
        net->cut[i][endpoint] |= in && i != endpoint;
        net->cut[endpoint][i] |= out && i != endpoint;
    }
}

/* Two groups that cannot talk, and one endpoint that both can reach. */
static void cut_bridge(struct sim_engine *e, struct sim_net *net, unsigned favourite)
{
    cut_halves(e, net, false);
    unsigned bridge = sim_chance(e, 400) ? favourite : (unsigned)sim_below(e, net->endpoints);
    for (unsigned i = 0; i < net->endpoints; i++) {
        net->cut[i][bridge] = net->cut[bridge][i] = false;
    }
}

static void cut_links(struct sim_engine *e, struct sim_net *net)
{
    for (uint64_t n = sim_between(e, 1, 4); n > 0; n--) {
        unsigned i = (unsigned)sim_below(e, net->endpoints);
        unsigned j = (unsigned)sim_below(e, net->endpoints);
        net->cut[i][j] = i != j;
    }
}

static void clog_link(struct sim_engine *e, struct sim_net *net, unsigned favourite)
{
    unsigned i = sim_chance(e, 500) ? favourite : (unsigned)sim_below(e, net->endpoints);
    unsigned j = (unsigned)sim_below(e, net->endpoints);
    net->clogged_until_us[i][j] = e->now_us + sim_between(e, 1000, 5000000);
}

void sim_net_break(struct sim_engine *e, struct sim_net *net, unsigned favourite)
{
    unsigned one = sim_chance(e, 500) ? favourite : (unsigned)sim_below(e, net->endpoints);
    switch (sim_below(e, 8)) {
    case 0:
        cut_halves(e, net, false);
        break;
    case 1:
        cut_halves(e, net, true);
        break;
    case 2:
        cut_around(net, one, true, true);
        break;
    case 3:
        cut_around(net, one, true, false);
        break;
    case 4:
        cut_around(net, one, false, true);
        break;
    case 5:
        cut_bridge(e, net, favourite);
        break;
    case 6:
        cut_links(e, net);
        break;
    default:
        clog_link(e, net, favourite);
        break;
    }
}

/* node/server/replication/merkle.c: when nodes look at their data: comparisons with the primary, and reading all of it. */
#include "node/server/replication/merkle.h"

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/server/replication/tree.h"

#define COMPARE_S ((uint64_t)60)
#define TICK_US ((uint64_t)1000000)
#define CHECK_REST 50 /* reading everything takes a fiftieth of the time at most */

struct merkle_clock {
    struct loop_timer *timer;
    uint64_t interval_us, next_us, check_at_us;
    atomic_bool is_checking;
    _Atomic uint64_t took_us;
};

static void compare_posted(void *arg)
{
    struct node_replication *replication = arg;
    for (size_t i = 0; i < REPL_KIND_COUNT; i++) {
        struct repl_side *side = &replication->sides[i];
        if (side->secondary != NULL && repl_secondary_compare(side->secondary)) { /* else it is not in step anyway */
            side->compare_soon = false;
        }
    }
}

static bool wants_to_compare(const struct node_replication *replication)
{
    bool wants = false;
    for (size_t i = 0; i < REPL_KIND_COUNT; i++) {
        wants = wants || (replication->sides[i].secondary != NULL && replication->sides[i].compare_soon);
    }
    return wants;
}

cf_status merkle_check_now(struct node *node, struct tree_report *ret, struct cf_error *err)
{
    CF_TRY(state_tree_check(node->tree, ret, err));
    if (ret->is_damaged) {
        cf_err("replication",
               "data of this node is not what was written here: %zu leaves of replicated data, %zu of the "
               "cluster's own. A standby takes no more part once its cluster has compared; a secondary "
               "compares itself with its primary now and repairs what differs",
               ret->damaged[0].count, ret->damaged[1].count);
        loop_post(node->loop, compare_posted, node->replication);
    }
    return CF_OK;
}

static void check_run(void *arg)
{
    struct node_replication *replication = arg;
    struct tree_report *report = cf_new(struct tree_report);
    struct cf_error err = {0};
    cf_status status = merkle_check_now(replication->node, report, &err);
    if (status == CF_OK) {
        atomic_store(&replication->merkle->took_us, report->took_us);
    } else if (status != CF_UNAVAILABLE) {
        cf_err("replication", "the data of this node cannot be read: %s %s", err.message, err.detail);
    }
    cf_free(report);
    atomic_store(&replication->merkle->is_checking, false);
}

static void on_timer(void *arg)
{
    struct node_replication *replication = arg;
    struct merkle_clock *clock = replication->merkle;
    struct node *node = replication->node;
    uint64_t now_us = loop_now_us();
    loop_timer_set_in(clock->timer, TICK_US);
    if (now_us < clock->next_us) {
        if (wants_to_compare(replication)) {
            compare_posted(replication);
        }
        return;
    }
    clock->next_us = now_us + clock->interval_us;
    compare_posted(replication);
    uint64_t rest_us = CHECK_REST * atomic_load(&clock->took_us);
    if (!state_tree_is_kept(node->tree) || atomic_load(&clock->is_checking) ||
        now_us < clock->check_at_us + rest_us) {
        return;
    }
    clock->check_at_us = now_us;
    atomic_store(&clock->is_checking, true);
    core_work(node->core, check_run, replication);
}

void merkle_start(struct node_replication *replication)
{
    struct merkle_clock *clock = cf_new(struct merkle_clock);
    int64_t wanted_s = replication->node->config->compare_interval_s;
    clock->interval_us = (wanted_s > 0 ? (uint64_t)wanted_s : COMPARE_S) * 1000000;
    clock->timer = loop_timer_new(replication->node->loop, on_timer, replication);
    replication->merkle = clock;
    clock->next_us = loop_now_us() + clock->interval_us;
    loop_timer_set_in(clock->timer, TICK_US);
}

void merkle_stop(struct node_replication *replication)
{
    if (replication->merkle != NULL && replication->merkle->timer != NULL) {
        loop_timer_free(replication->merkle->timer);
        replication->merkle->timer = NULL;
    }
}

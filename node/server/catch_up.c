/* node/server/catch_up.c: see catch_up.h. */
#include "node/server/catch_up.h"

#include "node/base/memory.h"

#define PAUSE_US ((uint64_t)200 * 1000)

struct catching_up {
    struct node *node;
    struct catching_up *next; /* of the node's */
    struct raft_read read;
    struct loop_timer *timer;
    uint64_t until_us;
    cf_status status; /* of the last round */
    void (*done)(void *arg, cf_status status);
    void *arg;
};

static void end(struct catching_up *is, cf_status status)
{
    struct catching_up **at = &is->node->catching_up;
    while (*at != is) {
        at = &(*at)->next;
    }
    *at = is->next;
    loop_timer_free(is->timer);
    is->done(is->arg, status);
    cf_free(is);
}

static void round_over(void *arg)
{
    struct catching_up *is = arg;
    if (is->status == CF_OK) {
        end(is, CF_OK);
    } else if (loop_now_us() + PAUSE_US > is->until_us || is->node->is_stopping) {
        end(is, CF_UNAVAILABLE);
    } else {
        loop_timer_set_in(is->timer, PAUSE_US);
    }
}

/* On the loop, or the applier's thread. */
static void read_done(struct raft_read *read, cf_status status, uint64_t index)
{
    struct catching_up *is = cf_container(read, struct catching_up, read);
    (void)index;
    is->status = status;
    loop_post(is->node->loop, round_over, is);
}

static void ask(void *arg)
{
    struct catching_up *is = arg;
    if (is->node->driver == NULL) {
        end(is, CF_UNAVAILABLE);
        return;
    }
    is->read = (struct raft_read){.done = read_done};
    raft_driver_read_index(is->node->driver, &is->read);
}

void catch_up(struct node *node, uint64_t limit_us, void (*done)(void *arg, cf_status status),
              void *arg)
{
    struct catching_up *is = cf_new(struct catching_up);
    *is = (struct catching_up){
        .node = node, .next = node->catching_up, .until_us = loop_now_us() + limit_us, .done = done, .arg = arg};
    node->catching_up = is;
    is->timer = loop_timer_new(node->loop, ask, is);
    loop_timer_set_in(is->timer, 0);
}

void catch_up_stop(struct node *node)
{
    while (node->catching_up != NULL) {
        end(node->catching_up, CF_UNAVAILABLE);
    }
}

/* tools/load/wire.c: requests over many connections, by epoll. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "node/base/host.h"
#include "node/base/memory.h"
#include "tools/load/wire.h"

#define TICK_US 100000u
#define EVENTS_MAX 128

enum lane_state { LANE_READY, LANE_SENT, LANE_WAITING, LANE_STOPPED };

struct lane {
    struct wire_slot slot;
    struct conn *conn;
    const struct conn_target *connected; /* where conn goes */
    int watched;                         /* the descriptor that epoll knows, or -1 */
    enum lane_state state;
};

struct wire {
    const struct wire_setup *setup;
    const struct wire_ops *ops;
    void *context;
    int epoll;
    struct lane *lanes;
    unsigned stopped, waiting;
};

static uint64_t now_us(void)
{
    return cf_monotonic_us(cf_host_clock());
}

static void lane_close(struct lane *lane)
{
    conn_close(lane->conn); /* closing takes it out of epoll's set */
    lane->watched = -1;
}

static void lane_lost(struct wire *wire, struct lane *lane, const struct cf_error *err)
{
    lane_close(lane);
    lane->state = LANE_READY;
    wire->ops->lost(wire->context, &lane->slot, err);
}

static cf_status lane_watch(struct wire *wire, struct lane *lane, struct cf_error *err)
{
    int fd = conn_fd(lane->conn);
    if (lane->watched == fd) {
        return CF_OK;
    }
    /* Edge-triggered for both directions once, so that a request costs no epoll_ctl. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = lane};
    if (epoll_ctl(wire->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        return cf_fail(err, CF_IO, "epoll_ctl: %s", strerror(errno));
    }
    lane->watched = fd;
    return CF_OK;
}

static cf_status lane_send(struct wire *wire, struct lane *lane, struct cf_error *err)
{
    if (!conn_is_open(lane->conn)) {
        lane->watched = -1;
        CF_TRY(conn_open(lane->conn, err));
    }
    lane->slot.sent_us = now_us();
    lane->state = LANE_SENT;
    CF_TRY(conn_start(lane->conn, err));
    return lane_watch(wire, lane, err);
}

/* The user wants its next request to go elsewhere. */
static void lane_turn(struct lane *lane)
{
    lane_close(lane);
    conn_free(lane->conn);
    lane->conn = load_conn_new(lane->slot.target);
    lane->connected = lane->slot.target;
}

/* Asks what to do next until a request is out or the lane rests. */
static void lane_next(struct wire *wire, struct lane *lane)
{
    struct cf_error err = {0};
    if (lane->connected != lane->slot.target) {
        lane_turn(lane);
    }
    enum wire_next next = wire->ops->next(wire->context, &lane->slot, conn_request(lane->conn));
    switch (next) {
    case WIRE_SEND:
        if (lane_send(wire, lane, &err) != CF_OK) {
            /* The user decides in next() how long to wait; the queue asks again, not this call. */
            lane_lost(wire, lane, &err);
        }
        break;
    case WIRE_WAIT:
        lane->state = LANE_WAITING;
        wire->waiting++;
        break;
    case WIRE_STOP:
        lane->state = LANE_STOPPED;
        wire->stopped++;
        lane_close(lane);
        break;
    }
}

static void lane_event(struct wire *wire, struct lane *lane, uint32_t events)
{
    struct cf_error err = {0};
    bool complete = false;
    if (lane->state != LANE_SENT) {
        if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
            lane_close(lane); /* the server closed an idle connection */
        }
        return;
    }
    if (conn_step(lane->conn, &complete, &err) != CF_OK) {
        lane_lost(wire, lane, &err);
    } else if (complete) {
        lane->state = LANE_READY;
        wire->ops->answer(wire->context, &lane->slot, conn_status(lane->conn),
                          conn_body(lane->conn), now_us() - lane->slot.sent_us);
        load_conn_finish(lane->conn);
        if (!conn_is_open(lane->conn)) {
            lane->watched = -1;
        }
    }
    if (lane->state == LANE_READY) {
        lane_next(wire, lane);
    }
}

/* Wakes who is due, gives up on who is late; *soonest: when to look again. */
static void look_around(struct wire *wire, uint64_t now, uint64_t *soonest)
{
    struct cf_error err = {0};
    for (unsigned i = 0; i < wire->setup->slots; i++) {
        struct lane *lane = &wire->lanes[i];
        if (lane->state == LANE_SENT &&
            now > lane->slot.sent_us + (uint64_t)wire->setup->timeout_ms * 1000) {
            (void)cf_fail(&err, CF_TIMEOUT, "%s: no answer in time", lane->slot.target->address);
            lane_lost(wire, lane, &err);
        }
        if (lane->state == LANE_WAITING && lane->slot.wake_us <= now) {
            lane->state = LANE_READY;
            wire->waiting--;
        }
        if (lane->state == LANE_READY) {
            lane_next(wire, lane);
        }
        if (lane->state == LANE_READY) {
            *soonest = now; /* lost at once: ask again on the next round */
        } else if (lane->state == LANE_WAITING && lane->slot.wake_us < *soonest) {
            *soonest = lane->slot.wake_us;
        }
    }
}

static int wait_ms(uint64_t now, uint64_t until)
{
    return until <= now ? 0 : (int)((until - now + 999) / 1000);
}

static cf_status loop(struct wire *wire, struct cf_error *err)
{
    struct epoll_event events[EVENTS_MAX];
    uint64_t tick_us = 0;
    uint64_t look_us = 0;
    while (wire->stopped < wire->setup->slots) {
        uint64_t now = now_us();
        if (now >= tick_us) {
            if (wire->ops->tick != NULL && !wire->ops->tick(wire->context, now)) {
                return CF_OK;
            }
            tick_us = now + TICK_US;
            look_us = now;
        }
        if (now >= look_us) {
            look_us = tick_us;
            look_around(wire, now, &look_us);
        }
        int ready = epoll_wait(wire->epoll, events, EVENTS_MAX, wait_ms(now_us(), look_us));
        if (ready < 0 && errno != EINTR) {
            return cf_fail(err, CF_IO, "epoll_wait: %s", strerror(errno));
        }
        for (int i = 0; i < ready; i++) {
            struct lane *lane = events[i].data.ptr;
            lane_event(wire, lane, events[i].events);
            if (lane->state == LANE_READY) {
                look_us = 0;
            } else if (lane->state == LANE_WAITING && lane->slot.wake_us < look_us) {
                look_us = lane->slot.wake_us;
            }
        }
    }
    return CF_OK;
}

cf_status wire_run(const struct wire_setup *setup, const struct wire_ops *ops, void *context,
                   struct cf_error *err)
{
    assert(setup->slots > 0 && setup->slots <= WIRE_SLOTS_MAX && setup->target_count > 0);
    struct wire wire = {.setup = setup, .ops = ops, .context = context};
    wire.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (wire.epoll < 0) {
        return cf_fail(err, CF_IO, "epoll_create: %s", strerror(errno));
    }
    wire.lanes = cf_array(setup->slots, sizeof(struct lane));
    for (unsigned i = 0; i < setup->slots; i++) {
        struct lane *lane = &wire.lanes[i];
        lane->slot.number = i;
        lane->slot.target = &setup->targets[i % setup->target_count];
        lane->conn = load_conn_new(lane->slot.target);
        lane->connected = lane->slot.target;
        lane->watched = -1;
    }
    cf_status status = loop(&wire, err);
    for (unsigned i = 0; i < setup->slots; i++) {
        conn_free(wire.lanes[i].conn);
    }
    cf_free(wire.lanes);
    (void)close(wire.epoll);
    return status;
}

/* consensus/driver/snap_send.c
 *
 * A snapshot on its way to a follower whose log is too short. The state is read through one
 * key-value snapshot, at exactly one index, by the reader thread; chunks leave in a window; what is
 * not answered is sent again from where the follower says it is.
 *
 *   OFFERED --accepted--> SENDING --all chunks answered--> DONE --follower switched--> gone
 *      ^----- silence, or a lost link: offered again, the follower says where to go on -----'
 */
#include <string.h>

#include "consensus/driver/driver_int.h"
#include "consensus/driver/pace.h"
#include "consensus/driver/snap_format.h"
#include "node/base/log.h"

/* 8 MiB on the way, in pieces that hold the loop up for no more than a fraction of a millisecond. */
#define WINDOW_CHUNKS 32
#define RETRY_US ((uint64_t)1000 * 1000)
#define SILENCE_US ((uint64_t)3000 * 1000)
#define GIVE_UP_US ((uint64_t)600 * 1000 * 1000)
#define NOBODY_US ((uint64_t)5000 * 1000) /* no answer to offers: the node is down */

enum send_phase { SEND_OFFERED, SEND_SENDING, SEND_DONE };

struct snap_send {
    struct raft_job job; /* makes the next chunk */
    struct raft_driver *driver;
    uint64_t peer, id;
    struct raft_base base;
    uint32_t level; /* that the state needs */
    struct kv_snapshot *snapshot;
    struct kv_family *state;
    struct kv_iterator *iterator;
    enum send_phase phase;
    bool reading, dead;      /* dead: freed when the job comes back */
    bool at_end;             /* no record is left */
    bool broken;             /* chunks may be lost: nothing leaves until the follower says where it is */
    uint64_t made, answered; /* chunks that left, that the follower has */
    struct snap_sum *sums;   /* of each chunk */
    size_t sums_capacity;
    struct cf_buf data, resume_key; /* resume_key: seek behind it before the next chunk */
    bool resume, has_chunk;         /* has_chunk: data waits to be sent */
    bool restart;                   /* go on at restart_seq once the job is back */
    uint64_t restart_seq;
    struct cf_buf restart_key;
    uint64_t last_sent_us, progress_us;
    struct pace pace;
    struct loop_timer *pace_timer; /* when the next chunk may leave */
    cf_status job_status; /* results of the job, for chunk_made */
    bool job_end;
};

static void free_send(struct snap_send *send)
{
    loop_timer_free(send->pace_timer);
    kv_iterator_free(send->iterator);
    kv_snapshot_free(send->snapshot);
    kv_family_unref(send->state);
    cf_free(send->sums);
    cf_buf_done(&send->data);
    cf_buf_done(&send->resume_key);
    cf_buf_done(&send->restart_key);
    cf_free(send);
}

/* Leaves the table; the core may be told. */
static void end_send(struct snap_send *send, bool tell, bool ok)
{
    struct raft_driver *driver = send->driver;
    for (size_t i = 0; i < SNAP_SENDS_MAX; i++) {
        if (driver->sends[i] == send) {
            driver->sends[i] = NULL;
        }
    }
    if (tell && send->phase == SEND_OFFERED) {
        /* Nothing was pinned for long, and the next try offers a newer state. */
        raft_on_snapshot_sent(driver->raft, loop_now_us(), send->peer, send->base.index, ok);
    } else if (tell) {
        cf_info("raft", "snapshot at entry %llu for node %llx %s",
                (unsigned long long)send->base.index, (unsigned long long)send->peer,
                ok ? "is installed" : "failed");
        raft_on_snapshot_sent(driver->raft, loop_now_us(), send->peer, send->base.index, ok);
    }
    loop_timer_cancel(send->pace_timer);
    if (send->reading) {
        send->dead = true;
    } else {
        free_send(send);
    }
}

static struct raft_frame frame_for(const struct snap_send *send, enum raft_frame_kind kind)
{
    return (struct raft_frame){
        .kind = kind,
        .msg = {.to = send->peer, .term = send->driver->soft.term},
        .snap = {.id = send->id, .index = send->base.index, .term = send->base.term},
    };
}

static void send_offer(struct snap_send *send, uint64_t now_us)
{
    CF_BUF(membership) = {0};
    raft_membership_encode(&send->base.membership, &membership);
    struct raft_frame frame = frame_for(send, RAFT_FRAME_SNAP_OFFER);
    frame.snap.membership = cf_buf_slice(&membership);
    frame.snap.level = send->level;
    frame.snap.bytes = kv_approximate_size(send->state, CF_SLICE_EMPTY, CF_SLICE_EMPTY);
    send->last_sent_us =
        driver_send(send->driver, &frame) ? now_us : 0; /* 0: the next tick again */
}

static void send_done(struct snap_send *send, uint64_t now_us)
{
    struct raft_frame frame = frame_for(send, RAFT_FRAME_SNAP_DONE);
    frame.snap.seq = send->made;
    for (uint64_t i = 0; i < send->made; i++) {
        frame.snap.records += send->sums[i].records;
        frame.snap.sum += send->sums[i].sum;
    }
    driver_send(send->driver, &frame);
    send->last_sent_us = now_us;
}

/* ---- making chunks (reader thread) */

static void position(struct snap_send *send)
{
    if (send->iterator == NULL) {
        send->iterator =
            kv_iterator_new((struct kv_view){raft_store_kv(send->driver->store), send->snapshot},
                            send->state, (struct kv_range){.bulk = true});
        kv_seek_first(send->iterator);
    }
    if (send->resume) {
        send->resume = false;
        struct cf_slice key = cf_buf_slice(&send->resume_key);
        kv_seek(send->iterator, key);
        if (key.size > 0 && kv_valid(send->iterator) && cf_slice_eq(kv_key(send->iterator), key)) {
            kv_next(send->iterator);
        }
    }
}

static void make_chunk(struct raft_job *job)
{
    struct snap_send *send = cf_container(job, struct snap_send, job);
    position(send);
    cf_buf_reset(&send->data);
    struct snap_sum sum = {0};
    size_t limit = send->driver->options.snapshot_chunk_bytes;
    while (kv_valid(send->iterator) && send->data.size < limit) {
        struct cf_slice key = kv_key(send->iterator), value = kv_bytes(send->iterator);
        if (send->data.size > 0 &&
            send->data.size + key.size + value.size + SNAP_RECORD_HEADER > RAFT_SNAP_DATA_MAX) {
            break;
        }
        snap_add_record(&send->data, key, value);
        snap_sum_add(&sum, key, value);
        kv_next(send->iterator);
    }
    send->job_end = !kv_valid(send->iterator);
    send->job_status = send->job_end ? kv_iterator_check(send->iterator, NULL) : CF_OK;
    if (send->made >= send->sums_capacity) {
        send->sums_capacity = cf_max(64, 2 * send->sums_capacity);
        send->sums = cf_realloc(send->sums, send->sums_capacity * sizeof(*send->sums));
    }
    send->sums[send->made] = sum;
}

/* ---- sending (loop) */

static void next_chunk(struct snap_send *send)
{
    bool wanted = send->phase == SEND_SENDING && !send->broken && !send->reading && !send->has_chunk &&
                  (!send->at_end || send->resume) && send->made - send->answered < WINDOW_CHUNKS;
    if (!wanted || send->driver->stopping) {
        return;
    }
    uint64_t at_us = pace_next_us(&send->pace);
    if (at_us > loop_now_us()) {
        loop_timer_set(send->pace_timer, at_us);
    } else {
        send->reading = true;
        raft_worker_push(send->driver->fetcher, &send->job);
    }
}

static void on_pace(void *arg)
{
    next_chunk(arg);
}

/* The job's fields may be touched: it is not running. */
static void apply_restart(struct snap_send *send)
{
    if (send->restart) {
        send->restart = false;
        send->made = send->answered = send->restart_seq;
        send->has_chunk = send->at_end = false;
        send->resume = true;
        cf_buf_reset(&send->resume_key);
        cf_buf_add_slice(&send->resume_key, cf_buf_slice(&send->restart_key));
    }
}

/* Sends the chunk that is ready; a full queue keeps it for the next tick. */
static void push_chunk(struct snap_send *send, uint64_t now_us)
{
    if (send->reading || send->broken || send->phase != SEND_SENDING) {
        return;
    }
    apply_restart(send);
    if (send->has_chunk) {
        struct raft_frame frame = frame_for(send, RAFT_FRAME_SNAP_CHUNK);
        frame.snap.seq = send->made;
        frame.snap.data = cf_buf_slice(&send->data);
        frame.snap.crc32c = raft_crc32c(0, send->data.data, send->data.size);
        if (!driver_send(send->driver, &frame)) {
            return;
        }
        send->has_chunk = false;
        send->made++;
        send->last_sent_us = now_us;
        pace_sent(&send->pace, now_us, send->data.size);
    }
    if (send->at_end && !send->resume && send->answered == send->made) {
        send->phase = SEND_DONE;
        send_done(send, now_us);
    }
    next_chunk(send);
}

static void chunk_made(struct raft_job *job)
{
    struct snap_send *send = cf_container(job, struct snap_send, job);
    struct raft_driver *driver = send->driver;
    send->reading = false;
    if (send->dead || driver->stopping) {
        if (send->dead) {
            free_send(send);
        }
        return;
    }
    send->at_end = send->job_end;
    if (send->job_status != CF_OK) {
        end_send(send, true, false);
        driver_pump(driver);
        return;
    }
    send->has_chunk = send->data.size > 0;
    push_chunk(send, loop_now_us());
}

void snap_send_start(struct raft_driver *driver, const struct raft_snap_send *want)
{
    size_t at = SNAP_SENDS_MAX;
    for (size_t i = 0; i < SNAP_SENDS_MAX; i++) {
        if (driver->sends[i] == NULL) {
            at = i;
        } else if (driver->sends[i]->peer == want->peer) {
            return; /* under way */
        }
    }
    struct kv *kv = raft_store_kv(driver->store);
    struct kv_snapshot *snapshot = kv_snapshot_new(kv);
    struct kv_family *state = raft_store_state(driver->store);
    struct raft_applied applied = {0};
    struct raft_base base = {0};
    cf_status status =
        raft_store_read_applied((struct kv_view){kv, snapshot}, state, &applied, NULL);
    uint32_t level = 0;
    if (status == CF_OK) {
        status = raft_store_read_level((struct kv_view){kv, snapshot}, state, &level, NULL);
    }
    if (status == CF_OK) {
        status = raft_describe(driver->raft, applied.index, &base, NULL);
    }
    if (at == SNAP_SENDS_MAX || status != CF_OK || applied.index < want->above ||
        applied.index == 0) {
        kv_snapshot_free(snapshot);
        kv_family_unref(state);
        /* told after the ready: the core asks again after a pause */
        if (driver->snap_failed_count < CF_LENGTH(driver->snap_failed)) {
            driver->snap_failed[driver->snap_failed_count++] = want->peer;
        }
        return;
    }
    struct snap_send *send = cf_new(struct snap_send);
    send->job = (struct raft_job){.run = make_chunk, .done = chunk_made};
    send->driver = driver;
    send->peer = want->peer;
    send->id = cf_prng_next(&driver->prng);
    send->base = base;
    send->level = level;
    send->snapshot = snapshot;
    send->state = state;
    send->progress_us = loop_now_us();
    send->pace_timer = loop_timer_new(driver->loop, on_pace, send);
    pace_start(&send->pace, driver->options.snapshot_bytes_per_s, driver->quiet_write_us);
    driver->sends[at] = send;
    send_offer(send, send->progress_us);
}

/* ---- answers (loop) */

static void on_offer_answer(struct snap_send *send, const struct raft_snap_fields *snap)
{
    if (snap->status == CF_EXISTS) {
        end_send(send, true, true); /* it is past that index already */
        return;
    }
    if (snap->status != CF_OK || snap->seq > send->made) {
        return; /* busy: the next offer may find it otherwise */
    }
    send->progress_us = loop_now_us();
    send->broken = false;
    if (send->phase == SEND_OFFERED || snap->seq < send->made || send->has_chunk) {
        /* From where the follower is: behind the last key that it has. */
        send->restart = true;
        send->restart_seq = snap->seq;
        cf_buf_reset(&send->restart_key);
        cf_buf_add_slice(&send->restart_key, snap->key);
    }
    if (send->phase == SEND_OFFERED) {
        cf_info("raft", "node %llx takes a snapshot: the state at entry %llu",
                (unsigned long long)send->peer, (unsigned long long)send->base.index);
    }
    send->phase = SEND_SENDING;
    push_chunk(send, send->progress_us);
}

static void on_chunk_answer(struct snap_send *send, const struct raft_snap_fields *snap)
{
    if (send->phase == SEND_SENDING && snap->seq > send->answered && snap->seq <= send->made) {
        send->answered = snap->seq;
        send->progress_us = loop_now_us();
        push_chunk(send, send->progress_us);
    }
}

void snap_send_frame(struct raft_driver *driver, const struct raft_frame *frame)
{
    struct snap_send *send = NULL;
    for (size_t i = 0; i < SNAP_SENDS_MAX; i++) {
        struct snap_send *one = driver->sends[i];
        if (one != NULL && one->peer == frame->msg.from && one->id == frame->snap.id) {
            send = one;
        }
    }
    if (send == NULL) {
        return;
    }
    if (frame->kind == RAFT_FRAME_SNAP_OFFER_R) {
        on_offer_answer(send, &frame->snap);
    } else if (frame->kind == RAFT_FRAME_SNAP_CHUNK_R) {
        on_chunk_answer(send, &frame->snap);
    } else {
        end_send(send, true, frame->snap.status == CF_OK);
    }
}

/* What the writes of the log took since the last tick tells whether a transfer is in the way. */
static void observe_writes(struct raft_driver *driver)
{
    uint64_t count = atomic_load(&driver->writer.writes);
    uint64_t sum_us = atomic_load(&driver->writer.write_us_sum);
    uint64_t writes = count - driver->paced_writes;
    uint64_t mean_us = writes > 0 ? (sum_us - driver->paced_write_us) / writes : 0;
    bool sending = false;
    driver->paced_writes = count;
    driver->paced_write_us = sum_us;
    for (size_t i = 0; i < SNAP_SENDS_MAX; i++) {
        if (driver->sends[i] != NULL && driver->sends[i]->phase != SEND_OFFERED) {
            pace_observe(&driver->sends[i]->pace, mean_us);
            sending = true;
        }
    }
    if (!sending && mean_us != 0) {
        uint64_t quiet_us = driver->quiet_write_us;
        driver->quiet_write_us = quiet_us == 0 ? mean_us : (quiet_us * 15 + mean_us) / 16;
    }
}

void snap_send_broken(struct raft_driver *driver, uint64_t peer)
{
    for (size_t i = 0; i < SNAP_SENDS_MAX; i++) {
        struct snap_send *send = driver->sends[i];
        if (send != NULL && send->peer == peer && send->phase == SEND_SENDING) {
            send->broken = true;
            send->last_sent_us = 0; /* offered with the next tick */
        }
    }
}

void snap_send_tick(struct raft_driver *driver, uint64_t now_us)
{
    observe_writes(driver);
    for (size_t i = 0; i < SNAP_SENDS_MAX; i++) {
        struct snap_send *send = driver->sends[i];
        if (send == NULL) {
            continue;
        }
        uint64_t silent = now_us - send->last_sent_us;
        uint64_t patience = send->phase == SEND_OFFERED ? NOBODY_US : GIVE_UP_US;
        if (now_us - send->progress_us > patience) {
            end_send(send, true, false);
        } else if (send->phase == SEND_OFFERED && silent > RETRY_US) {
            send_offer(send, now_us);
        } else if (send->broken) {
            if (silent > RETRY_US) {
                send_offer(send, now_us);
            }
        } else if (send->phase == SEND_SENDING && send->has_chunk) {
            push_chunk(send, now_us);
        } else if (send->phase == SEND_SENDING && silent <= SILENCE_US) {
            next_chunk(send);
        } else if (send->phase == SEND_SENDING && silent > SILENCE_US &&
                   now_us - send->progress_us > SILENCE_US) {
            send_offer(send, now_us); /* its answer says where to go on */
        } else if (send->phase == SEND_DONE && silent > SILENCE_US) {
            send_done(send, now_us);
        }
    }
}

void snap_send_drop_all(struct raft_driver *driver)
{
    for (size_t i = 0; i < SNAP_SENDS_MAX; i++) {
        if (driver->sends[i] != NULL) {
            end_send(driver->sends[i], false, false);
        }
    }
}

uint64_t snap_send_floor(const struct raft_driver *driver)
{
    uint64_t floor = UINT64_MAX;
    for (size_t i = 0; i < SNAP_SENDS_MAX; i++) {
        if (driver->sends[i] != NULL && driver->sends[i]->base.index < floor) {
            floor = driver->sends[i]->base.index;
        }
    }
    return floor;
}

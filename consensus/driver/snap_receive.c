/* consensus/driver/snap_receive.c
 *
 * A snapshot on its way in: staged into a fresh state family by the carer thread, verified as a
 * whole by reading it again, then given to the core, whose next write switches to it. What is
 * served meanwhile is the old state.
 *
 *   PREPARING (family) --> RECEIVING --DONE--> VERIFYING --> INSTALLING --switched--> gone
 */
#include <string.h>

#include "consensus/driver/driver_int.h"
#include "consensus/driver/snap_format.h"
#include "node/base/log.h"

#define QUEUED_CHUNKS_MAX 64
#define SILENCE_US ((uint64_t)3000 * 1000) /* then a transfer may give way to another */

enum receive_phase { RECEIVE_PREPARING, RECEIVE_RECEIVING, RECEIVE_VERIFYING, RECEIVE_INSTALLING };

struct snap_receive {
    struct raft_job job; /* prepares, then verifies */
    struct raft_driver *driver;
    uint64_t from, from_term, id;
    struct raft_base base;
    struct kv_family *family;
    struct kv_loader *loader; /* the carer's, while a job runs */
    enum receive_phase phase;
    bool dead; /* freed when nothing is under way any more */
    unsigned jobs;
    uint64_t queued, written; /* chunks */
    uint64_t bytes, progress_us;
    struct cf_buf last_key; /* of the last written chunk */
    struct snap_sum want, have;
    cf_status status;
};

/* One chunk on its way to the disk. */
struct chunk_job {
    struct raft_job job;
    struct snap_receive *receive;
    struct cf_buf data, last_key;
    cf_status status;
};

static void free_receive(struct snap_receive *receive)
{
    kv_loader_free(receive->loader);
    kv_family_unref(receive->family);
    cf_buf_done(&receive->last_key);
    cf_free(receive);
}

/* The staged family itself is dropped by the next stage, or at the next start. */
static void abandon(struct raft_driver *driver)
{
    struct snap_receive *receive = driver->receive;
    driver->receive = NULL;
    if (receive != NULL) {
        receive->dead = true;
        if (receive->jobs == 0) {
            free_receive(receive);
        }
    }
}

static void answer(struct snap_receive *receive, enum raft_frame_kind kind, cf_status status)
{
    struct raft_frame frame = {
        .kind = kind,
        .msg = {.to = receive->from, .term = receive->driver->soft.term},
        .snap = {.id = receive->id,
                 .index = receive->base.index,
                 .seq = receive->written,
                 .status = status,
                 .key = cf_buf_slice(&receive->last_key)},
    };
    driver_send(receive->driver, &frame);
}

static void answer_status(struct raft_driver *driver, const struct raft_frame *to,
                          enum raft_frame_kind kind, cf_status status)
{
    struct raft_frame frame = {
        .kind = kind,
        .msg = {.to = to->msg.from, .term = driver->soft.term},
        .snap = {.id = to->snap.id, .index = to->snap.index, .status = status},
    };
    driver_send(driver, &frame);
}

/* A job came back: true when its receive is still the current one. */
static bool job_back(struct snap_receive *receive)
{
    receive->jobs--;
    if (receive->dead && receive->jobs == 0) {
        free_receive(receive);
        return false;
    }
    return !receive->dead && !receive->driver->stopping;
}

static void give_up(struct snap_receive *receive, const char *why)
{
    struct raft_driver *driver = receive->driver;
    cf_warn("raft", "the snapshot at entry %llu from node %llx is given up: %s",
            (unsigned long long)receive->base.index, (unsigned long long)receive->from, why);
    answer(receive, RAFT_FRAME_SNAP_DONE_R, CF_CORRUPT);
    abandon(driver);
}

/* ---- preparing */

static void prepare_run(struct raft_job *job)
{
    struct snap_receive *receive = cf_container(job, struct snap_receive, job);
    receive->status = raft_store_stage(receive->driver->store, &receive->family, NULL);
    if (receive->status == CF_OK) {
        receive->loader = kv_loader_new(receive->family);
    }
}

static void prepare_done(struct raft_job *job)
{
    struct snap_receive *receive = cf_container(job, struct snap_receive, job);
    if (!job_back(receive)) {
        return;
    }
    if (receive->status != CF_OK) {
        give_up(receive, "the storage refuses to stage it");
        return;
    }
    receive->phase = RECEIVE_RECEIVING;
    answer(receive, RAFT_FRAME_SNAP_OFFER_R, CF_OK);
}

static void begin(struct raft_driver *driver, const struct raft_frame *frame,
                  const struct raft_membership *membership)
{
    struct snap_receive *receive = cf_new(struct snap_receive);
    receive->driver = driver;
    receive->from = frame->msg.from;
    receive->from_term = frame->msg.term;
    receive->id = frame->snap.id;
    receive->base = (struct raft_base){frame->snap.index, frame->snap.term, *membership};
    receive->job = (struct raft_job){.run = prepare_run, .done = prepare_done};
    receive->jobs = 1;
    receive->progress_us = loop_now_us();
    driver->receive = receive;
    cf_info("raft", "receiving a snapshot at entry %llu from node %llx",
            (unsigned long long)receive->base.index, (unsigned long long)receive->from);
    raft_worker_push(driver->carer, &receive->job);
}

static void on_offer(struct raft_driver *driver, const struct raft_frame *frame)
{
    struct raft_membership membership;
    if (raft_membership_decode(frame->snap.membership, &membership, NULL) != CF_OK) {
        driver->frames_refused++;
        return;
    }
    if (!level_takes_snapshot(driver, frame->snap.level)) {
        driver->frames_refused++;
        answer_status(driver, frame, RAFT_FRAME_SNAP_OFFER_R, CF_UNSUPPORTED);
        return;
    }
    cf_status status =
        raft_snapshot_offer(driver->raft, loop_now_us(), frame->msg.from, frame->msg.term,
                            frame->snap.index, frame->snap.term, NULL);
    struct snap_receive *receive = driver->receive;
    if (status == CF_OK && receive != NULL && receive->from == frame->msg.from &&
        receive->id == frame->snap.id) {
        receive->from_term = frame->msg.term;
        /* Go on from here; but what waits for the disk need not come again, and the sender asks again. */
        if (receive->phase == RECEIVE_RECEIVING && receive->queued == receive->written) {
            answer(receive, RAFT_FRAME_SNAP_OFFER_R, CF_OK);
        }
        return;
    }
    bool is_live = receive != NULL && (receive->phase != RECEIVE_RECEIVING ||
                                       loop_now_us() - receive->progress_us < SILENCE_US);
    if (status == CF_OK && is_live) {
        status = CF_BUSY; /* one at a time: a second one is refused, not queued (etcd#18055) */
    }
    if (status != CF_OK) {
        answer_status(driver, frame, RAFT_FRAME_SNAP_OFFER_R, status);
        return;
    }
    abandon(driver); /* an earlier transfer whose sender is gone */
    begin(driver, frame, &membership);
}

/* ---- receiving */

static void chunk_run(struct raft_job *job)
{
    struct chunk_job *chunk = cf_container(job, struct chunk_job, job);
    struct snap_receive *receive = chunk->receive;
    struct cf_slice data = cf_buf_slice(&chunk->data), key, value, last = CF_SLICE_EMPTY;
    while (chunk->status == CF_OK && snap_take_record(&data, &key, &value)) {
        chunk->status = kv_loader_add(receive->loader, key, value, NULL);
        last = key;
    }
    cf_buf_add_slice(&chunk->last_key, last);
    if (chunk->status == CF_OK && data.size != 0) {
        chunk->status = CF_CORRUPT;
    }
}

static void chunk_done(struct raft_job *job)
{
    struct chunk_job *chunk = cf_container(job, struct chunk_job, job);
    struct snap_receive *receive = chunk->receive;
    if (job_back(receive)) {
        receive->written++;
        receive->bytes += chunk->data.size;
        cf_buf_done(&receive->last_key);
        receive->last_key = chunk->last_key;
        chunk->last_key = (struct cf_buf){0};
        if (chunk->status == CF_OK) {
            answer(receive, RAFT_FRAME_SNAP_CHUNK_R, CF_OK);
        } else {
            give_up(receive, "a chunk could not be stored");
        }
    }
    cf_buf_done(&chunk->data);
    cf_buf_done(&chunk->last_key);
    cf_free(chunk);
}

static void on_chunk(struct raft_driver *driver, const struct raft_frame *frame)
{
    struct snap_receive *receive = driver->receive;
    const struct raft_snap_fields *snap = &frame->snap;
    bool expected = receive->phase == RECEIVE_RECEIVING && snap->seq == receive->queued &&
                    receive->queued - receive->written < QUEUED_CHUNKS_MAX;
    if (!expected || raft_crc32c(0, snap->data.data, snap->data.size) != snap->crc32c) {
        return; /* lost or repeated: the sender asks where we are */
    }
    struct chunk_job *chunk = cf_new(struct chunk_job);
    chunk->job = (struct raft_job){.run = chunk_run, .done = chunk_done};
    chunk->receive = receive;
    cf_buf_add_slice(&chunk->data, snap->data);
    receive->queued++;
    receive->jobs++;
    receive->progress_us = loop_now_us();
    raft_worker_push(driver->carer, &chunk->job);
}

/* ---- verifying and installing */

static void verify_run(struct raft_job *job)
{
    struct snap_receive *receive = cf_container(job, struct snap_receive, job);
    struct kv *kv = raft_store_kv(receive->driver->store);
    receive->status = kv_loader_end(receive->loader, NULL);
    if (receive->status == CF_OK) {
        receive->status = kv_flush(receive->family, NULL);
    }
    if (receive->status != CF_OK) {
        return;
    }
    /* Read again from what is on disk: this is what the node will live on. */
    CF_OWNED(kv_iterator)
    it = kv_iterator_new(kv_now(kv), receive->family, (struct kv_range){.bulk = true});
    receive->have = (struct snap_sum){0};
    for (kv_seek_first(it); kv_valid(it); kv_next(it)) {
        snap_sum_add(&receive->have, kv_key(it), kv_bytes(it));
    }
    receive->status = kv_iterator_check(it, NULL);
    struct raft_applied applied;
    if (receive->status == CF_OK) {
        receive->status = raft_store_read_applied(kv_now(kv), receive->family, &applied, NULL);
    }
    if (receive->status == CF_OK &&
        (applied.index != receive->base.index || applied.term != receive->base.term ||
         receive->have.records != receive->want.records ||
         receive->have.sum != receive->want.sum)) {
        receive->status = CF_CORRUPT;
    }
}

static void verify_done(struct raft_job *job)
{
    struct snap_receive *receive = cf_container(job, struct snap_receive, job);
    struct raft_driver *driver = receive->driver;
    if (!job_back(receive)) {
        return;
    }
    if (receive->status != CF_OK) {
        give_up(receive, "it is not what the leader has");
        return;
    }
    receive->phase = RECEIVE_INSTALLING;
    cf_status status = raft_snapshot_install(driver->raft, loop_now_us(), receive->from,
                                             receive->from_term, &receive->base, NULL);
    if (status == CF_EXISTS) {
        answer(receive, RAFT_FRAME_SNAP_DONE_R, CF_OK); /* the log got there by itself */
        abandon(driver);
    } else if (status != CF_OK) {
        give_up(receive, "its leader is none any more");
    }
    driver_pump(driver);
}

static void on_done(struct raft_driver *driver, const struct raft_frame *frame)
{
    struct snap_receive *receive = driver->receive;
    if (receive->phase != RECEIVE_RECEIVING || frame->snap.seq != receive->written) {
        return; /* under way already, or chunks are missing: the sender asks again */
    }
    receive->want = (struct snap_sum){frame->snap.records, frame->snap.sum};
    receive->phase = RECEIVE_VERIFYING;
    receive->job = (struct raft_job){.run = verify_run, .done = verify_done};
    receive->jobs++;
    raft_worker_push(driver->carer, &receive->job);
}

void snap_receive_frame(struct raft_driver *driver, const struct raft_frame *frame)
{
    if (frame->kind == RAFT_FRAME_SNAP_OFFER) {
        on_offer(driver, frame);
        return;
    }
    struct snap_receive *receive = driver->receive;
    bool known =
        receive != NULL && receive->from == frame->msg.from && receive->id == frame->snap.id;
    if (raft_snapshot_contact(driver->raft, loop_now_us(), frame->msg.from, frame->msg.term,
                              NULL) != CF_OK) {
        return;
    }
    if (!known) {
        if (frame->kind == RAFT_FRAME_SNAP_DONE) {
            /* Installed already and the answer was lost, or forgotten: the log decides. */
            bool past = atomic_load(&driver->applied) >= frame->snap.index;
            answer_status(driver, frame, RAFT_FRAME_SNAP_DONE_R, past ? CF_OK : CF_NOT_FOUND);
        }
        return;
    }
    receive->from_term = frame->msg.term;
    if (frame->kind == RAFT_FRAME_SNAP_CHUNK) {
        on_chunk(driver, frame);
    } else {
        on_done(driver, frame);
    }
}

struct kv_family *snap_receive_staged(struct raft_driver *driver, const struct raft_base *base)
{
    struct snap_receive *receive = driver->receive;
    if (receive == NULL || receive->phase != RECEIVE_INSTALLING ||
        receive->base.index != base->index || receive->base.term != base->term) {
        return NULL;
    }
    return kv_family_ref(receive->family);
}

/* Drops the old state once nobody switches any more. */
struct drop_job {
    struct raft_job job;
    struct raft_driver *driver;
};

static void drop_run(struct raft_job *job)
{
    struct drop_job *drop = cf_container(job, struct drop_job, job);
    cf_ignore(raft_store_drop_others(drop->driver->store, NULL),
              "the next start or the next stage drops it");
}

static void drop_done(struct raft_job *job)
{
    cf_free(cf_container(job, struct drop_job, job));
}

void snap_receive_installed(struct raft_driver *driver)
{
    struct snap_receive *receive = driver->receive;
    if (receive != NULL && receive->phase == RECEIVE_INSTALLING) {
        cf_info("raft", "the snapshot at entry %llu is installed",
                (unsigned long long)receive->base.index);
        answer(receive, RAFT_FRAME_SNAP_DONE_R, CF_OK);
        abandon(driver);
    }
    struct drop_job *drop = cf_new(struct drop_job);
    drop->driver = driver;
    drop->job = (struct raft_job){.run = drop_run, .done = drop_done};
    raft_worker_push(driver->carer, &drop->job);
}

void snap_receive_stop(struct raft_driver *driver)
{
    abandon(driver);
}

uint64_t snap_receive_bytes(const struct raft_driver *driver)
{
    return driver->receive != NULL ? driver->receive->bytes : 0;
}

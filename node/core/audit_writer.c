/* node/core/audit_writer.c: the threads of audit devices: a writer each, and the watcher that lets go who waits for one that hangs. */
#include <errno.h>
#include <stdio.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/audit_device.h"

#define KEEP_MAX ((size_t)1 << 20)  /* of a buffer that is kept */
#define HANG_US ((uint64_t)400 * 1000)
#define WATCH_MS 100 /* with HANG_US: nobody waits longer than 500 ms */
#define RETRY_MS 1000
#define FULL_US ((uint64_t)30 * 1000000)

void audit_wait_ms(pthread_cond_t *cond, pthread_mutex_t *lock, long ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ms % 1000 * 1000000;
    until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_cond_timedwait(cond, lock, &until);
}

/* ---- those who wait ---- */

void audit_slot_ended(struct audit_slot *slot, bool taken)
{
    struct audit_trail *trail = slot->trail;
    if (taken) {
        atomic_fetch_add(&trail->taken, 1);
    }
    if (atomic_fetch_sub(&trail->pending, 1) == 1) {
        trail->done(trail, atomic_load(&trail->taken) != 0);
    }
}

/* Slots that were taken out of a device's list. `through`: the last record that it did not write. */
static void end_slots(struct cf_list *ended, uint64_t through)
{
    cf_list_for_safe(at, ended)
    {
        struct audit_slot *slot = cf_container(at, struct audit_slot, link);
        cf_list_remove(at);
        audit_slot_ended(slot, slot->first > through); /* the slot is gone behind this */
    }
}

/* ---- the writer ---- */

void audit_set_failed(struct audit_device *device, bool failed, const char *why)
{
    if (atomic_exchange(&device->is_failed, failed) == failed) {
        return;
    }
    if (failed) {
        cf_err("audit", "device \"%s\" has failed and is tried again: %s", device->path, why);
    } else {
        cf_info("audit", "device \"%s\" works again; %llu records are not in it", device->path,
                (unsigned long long)device->lost);
    }
}

static bool any_works(struct audit_broker *broker)
{
    bool works = false;
    pthread_mutex_lock(&broker->lock);
    cf_list_for(at, &broker->devices)
    {
        struct audit_device *device = cf_container(at, struct audit_device, link);
        works = works || !atomic_load(&device->is_failed);
    }
    pthread_mutex_unlock(&broker->lock);
    return works;
}

static void tell_full(struct audit_device *device)
{
    struct audit_broker *broker = device->broker;
    uint64_t last = atomic_load(&broker->full_us);
    if (broker->options.on_full == NULL || any_works(broker) ||
        (last != 0 && audit_now_us() - last < FULL_US)) {
        return;
    }
    atomic_store(&broker->full_us, audit_now_us());
    broker->options.on_full(broker->options.context);
}

static size_t count_lines(struct cf_slice lines)
{
    size_t count = 0;
    for (size_t at = cf_slice_find(lines, '\n'); at < lines.size;
         at = cf_slice_find(lines, '\n')) {
        lines = cf_slice_from(lines, at + 1);
        count++;
    }
    return count;
}

/* With the lock held, which is let go meanwhile: writes what was filled in, or only tries. */
static void write_group(struct audit_device *device)
{
    struct cf_error err = {0};
    struct cf_list ended;
    struct cf_buf swap = device->writing;
    device->writing = device->filling;
    device->filling = swap;
    uint64_t last = device->filled;
    bool reopen = device->reopen;
    device->reopen = false;
    device->busy_since_us = audit_now_us();
    pthread_mutex_unlock(&device->lock);

    if (reopen) {
        device->ops->reopen(device->state);
    }
    struct cf_slice lines = cf_buf_slice(&device->writing);
    cf_status status = device->ops->write(device->state, lines, &device->stop, &err);
    cf_list_init(&ended);

    pthread_mutex_lock(&device->lock);
    device->busy_since_us = 0;
    if (status != CF_OK && last > device->written) {
        device->failed_through = last;
        device->lost += count_lines(lines);
    }
    device->written = last;
    if (status == CF_OK) {
        atomic_store(&device->has_worked, true);
    }
    audit_set_failed(device, status != CF_OK, err.message);
    while (!cf_list_empty(&device->waits) &&
           cf_container(device->waits.next, struct audit_slot, link)->last <= last) {
        struct cf_list *first = device->waits.next;
        cf_list_remove(first);
        cf_list_add_tail(&ended, first);
    }
    uint64_t through = device->failed_through;
    pthread_mutex_unlock(&device->lock);

    if (status == CF_NO_SPACE) {
        tell_full(device);
    }
    end_slots(&ended, through);
    cf_buf_reset(&device->writing);
    if (device->writing.capacity > KEEP_MAX) {
        cf_buf_done(&device->writing);
        cf_buf_init_secret(&device->writing, AUDIT_QUEUE_MAX);
    }
    pthread_mutex_lock(&device->lock);
}

void audit_device_free(struct audit_device *device)
{
    if (device->state != NULL) {
        device->ops->free(device->state);
    }
    pthread_cond_destroy(&device->wake);
    pthread_mutex_destroy(&device->lock);
    cf_buf_done(&device->filling);
    cf_buf_done(&device->writing);
    arena_free(device->arena);
    cf_free(device);
}

void *audit_writer_main(void *arg)
{
    struct audit_device *device = arg;
    struct audit_broker *broker = device->broker;
    pthread_mutex_lock(&device->lock);
    write_group(device); /* opens the target before the first record comes */
    while (!atomic_load(&device->stop) || device->filling.size != 0) {
        if (device->filling.size == 0 && !device->reopen) {
            device->is_idle = true;
            if (atomic_load(&device->is_failed)) {
                audit_wait_ms(&device->wake, &device->lock, RETRY_MS);
            } else {
                (void)pthread_cond_wait(&device->wake, &device->lock);
            }
            device->is_idle = false;
        }
        if (device->filling.size != 0 || device->reopen || atomic_load(&device->is_failed)) {
            write_group(device);
        }
    }
    pthread_mutex_unlock(&device->lock);
    audit_device_free(device);
    pthread_mutex_lock(&broker->lock);
    broker->threads--;
    pthread_cond_broadcast(&broker->change);
    pthread_mutex_unlock(&broker->lock);
    return NULL;
}

/* ---- the watcher ---- */

static void watch_device(struct audit_device *device, struct cf_list *ended)
{
    pthread_mutex_lock(&device->lock);
    uint64_t since = device->busy_since_us;
    if (!cf_list_empty(&device->waits)) {
        uint64_t head = cf_container(device->waits.next, struct audit_slot, link)->since_us;
        since = since == 0 || head < since ? head : since;
    }
    if (since != 0 && audit_now_us() - since >= HANG_US) {
        audit_set_failed(device, true, "it takes nothing any more");
        cf_list_splice_tail(ended, &device->waits);
    }
    pthread_mutex_unlock(&device->lock);
}

void *audit_watcher_main(void *arg)
{
    struct audit_broker *broker = arg;
    struct cf_list ended;
    cf_list_init(&ended);
    pthread_mutex_lock(&broker->lock);
    while (!broker->stopping) {
        audit_wait_ms(&broker->change, &broker->lock, WATCH_MS);
        cf_list_for(at, &broker->devices)
        {
            watch_device(cf_container(at, struct audit_device, link), &ended);
        }
        pthread_mutex_unlock(&broker->lock);
        end_slots(&ended, UINT64_MAX);
        pthread_mutex_lock(&broker->lock);
    }
    pthread_mutex_unlock(&broker->lock);
    return NULL;
}

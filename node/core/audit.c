/* node/core/audit.c: the devices that run, their writer threads, and what a request waits for.
 *
 * A device has two buffers: records go to the end of the one that is being filled, the writer swaps them and writes a
 * whole buffer at once. Nothing is allocated for a record once the buffers have grown. Records are
 * numbered; a request waits until the number of its last one is written. A watcher looks ten times a
 * second whether a writer hangs, and then lets its waiters go.
 *
 *   working ──write fails, or hangs for 400 ms──▶ failed ──a write succeeds──▶ working
 *
 * On a secondary a device that another cluster chose, for its own machines, and that has not worked here yet is excused: where
 * there is no other one, requests are answered without a record of theirs.
 *
 * A failed device gets its records like any other and is tried with each of them, at least once a second.
 * Locks: the broker's, then a device's; no callback runs under either. */
#include "node/core/audit.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "node/base/host.h"
#include "node/base/list.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/audit_int.h"

#define QUEUE_MAX ((size_t)8 << 20) /* bytes that wait for a device; what is more is refused */
#define KEEP_MAX ((size_t)1 << 20)  /* of a buffer that is kept */
#define HANG_US ((uint64_t)400 * 1000)
#define WATCH_MS 100 /* with HANG_US: nobody waits longer than 500 ms */
#define RETRY_MS 1000
#define FULL_US ((uint64_t)30 * 1000000)
#define LAST_WORDS_MS 2000

struct audit_device {
    struct cf_list link; /* in the broker's devices */
    struct audit_broker *broker;
    const struct audit_ops *ops;
    void *state; /* NULL: its options make no sense here; takes nothing */
    struct arena *arena;
    struct audit_settings settings;
    char uuid[37], path[128];
    unsigned references; /* guarded by the broker's lock */
    _Atomic bool is_failed, stop;
    _Atomic bool has_worked; /* since it was made: its target was there once */
    _Atomic bool is_told;    /* that requests are answered without it */

    pthread_mutex_t lock; /* all below */
    pthread_cond_t wake;
    struct cf_buf filling, writing;
    uint64_t filled;          /* number of the last record that was added */
    uint64_t written;         /* all up to here were written, or not */
    uint64_t failed_through;  /* the last record that was not */
    uint64_t busy_since_us;   /* the write under way; 0: none */
    bool reopen, is_idle;
    struct cf_list waits; /* struct audit_slot, by their last record */
    uint64_t lost;
};

struct audit_broker {
    struct audit_options options;
    struct audit_own *own;
    pthread_mutex_t lock;
    pthread_cond_t change; /* a device ended, or the broker does */
    struct cf_list devices;
    unsigned threads; /* writers that have not ended */
    bool watches, stopping;
    pthread_t watcher;
    _Atomic uint64_t full_us;
};

static uint64_t now_us(void)
{
    return cf_monotonic_us(cf_host_clock());
}

static void wait_ms(pthread_cond_t *cond, pthread_mutex_t *lock, long ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ms % 1000 * 1000000;
    until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_cond_timedwait(cond, lock, &until);
}

static void init_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* ---- those who wait ---- */

static void slot_ended(struct audit_slot *slot, bool taken)
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
        slot_ended(slot, slot->first > through); /* the slot is gone behind this */
    }
}

/* ---- the writer ---- */

static void set_failed(struct audit_device *device, bool failed, const char *why)
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
        (last != 0 && now_us() - last < FULL_US)) {
        return;
    }
    atomic_store(&broker->full_us, now_us());
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
    device->busy_since_us = now_us();
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
    set_failed(device, status != CF_OK, err.message);
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
        cf_buf_init_secret(&device->writing, QUEUE_MAX);
    }
    pthread_mutex_lock(&device->lock);
}

static void device_free(struct audit_device *device)
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

static void *writer_main(void *arg)
{
    struct audit_device *device = arg;
    struct audit_broker *broker = device->broker;
    pthread_mutex_lock(&device->lock);
    write_group(device); /* opens the target before the first record comes */
    while (!atomic_load(&device->stop) || device->filling.size != 0) {
        if (device->filling.size == 0 && !device->reopen) {
            device->is_idle = true;
            if (atomic_load(&device->is_failed)) {
                wait_ms(&device->wake, &device->lock, RETRY_MS);
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
    device_free(device);
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
    if (since != 0 && now_us() - since >= HANG_US) {
        set_failed(device, true, "it takes nothing any more");
        cf_list_splice_tail(ended, &device->waits);
    }
    pthread_mutex_unlock(&device->lock);
}

static void *watcher_main(void *arg)
{
    struct audit_broker *broker = arg;
    struct cf_list ended;
    cf_list_init(&ended);
    pthread_mutex_lock(&broker->lock);
    while (!broker->stopping) {
        wait_ms(&broker->change, &broker->lock, WATCH_MS);
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

/* ---- devices ---- */

const struct audit_ops *audit_find(const struct audit_broker *broker, struct cf_slice type)
{
    for (const struct audit_ops *const *at = broker->options.ops; at != NULL && *at != NULL; at++) {
        if (cf_slice_is(type, (*at)->type)) {
            return *at;
        }
    }
    return NULL;
}

static struct audit_settings settings_of(const struct audit_broker *broker, struct arena *arena,
                                         const struct audit_entry *entry)
{
    return (struct audit_settings){
        .path = arena_copy(arena, entry->path),
        .options = entry->options != NULL ? json_copy(arena, entry->options) : NULL,
        .is_trusted = entry->is_trusted,
        .directories = broker->options.directories,
        .forbidden = broker->options.forbidden,
    };
}

/* The broker's lock is held. */
static struct audit_device *start_device(struct audit_broker *broker, const struct audit_ops *ops,
                                         const struct audit_entry *entry)
{
    struct cf_error err = {0};
    pthread_t thread;
    struct audit_device *device = cf_new(struct audit_device);
    device->broker = broker;
    device->ops = ops;
    device->references = 1;
    device->arena = arena_new(1024);
    device->settings = settings_of(broker, device->arena, entry);
    memcpy(device->uuid, entry->uuid, sizeof(device->uuid));
    (void)snprintf(device->path, sizeof(device->path), "%.*s", CF_SHOW(entry->path));
    pthread_mutex_init(&device->lock, NULL);
    init_cond(&device->wake);
    cf_buf_init_secret(&device->filling, QUEUE_MAX);
    cf_buf_init_secret(&device->writing, QUEUE_MAX);
    cf_list_init(&device->waits);
    cf_list_add_tail(&broker->devices, &device->link);
    if (ops->make(&device->settings, &device->state, &err) != CF_OK) {
        set_failed(device, true, err.message);
        return device;
    }
    if (pthread_create(&thread, NULL, writer_main, device) != 0) {
        ops->free(device->state);
        device->state = NULL;
        set_failed(device, true, "no thread for it");
        return device;
    }
    (void)pthread_detach(thread);
    broker->threads++;
    if (!broker->watches) {
        broker->watches = pthread_create(&broker->watcher, NULL, watcher_main, broker) == 0;
    }
    cf_info("audit", "device \"%s\" of type %s is enabled", device->path, ops->type);
    return device;
}

struct audit_device *audit_device_for(struct audit_broker *broker, const struct audit_entry *entry)
{
    struct audit_device *found = NULL;
    const struct audit_ops *ops = audit_find(broker, entry->type);
    if (ops == NULL) {
        cf_err("audit", "device \"%.*s\" is of type \"%.*s\", which this node does not have",
               CF_SHOW(entry->path), CF_SHOW(entry->type));
        return NULL;
    }
    pthread_mutex_lock(&broker->lock);
    cf_list_for(at, &broker->devices)
    {
        struct audit_device *device = cf_container(at, struct audit_device, link);
        found = memcmp(device->uuid, entry->uuid, sizeof(device->uuid)) == 0 &&
                        device->settings.is_trusted == entry->is_trusted /* else the rules for its target differ */
                    ? device
                    : found;
    }
    if (found != NULL) {
        found->references++;
    } else {
        found = start_device(broker, ops, entry);
    }
    pthread_mutex_unlock(&broker->lock);
    return found;
}

void audit_device_unref(struct audit_device *device)
{
    if (device == NULL) {
        return;
    }
    struct audit_broker *broker = device->broker;
    pthread_mutex_lock(&broker->lock);
    bool is_last = --device->references == 0;
    if (is_last) {
        cf_list_remove(&device->link);
    }
    pthread_mutex_unlock(&broker->lock);
    if (!is_last) {
        return;
    }
    if (device->state == NULL) {
        device_free(device);
        return;
    }
    pthread_mutex_lock(&device->lock); /* the thread frees it */
    atomic_store(&device->stop, true);
    pthread_cond_signal(&device->wake);
    pthread_mutex_unlock(&device->lock);
}

/* ---- one run of a request ---- */

static void add_record(struct audit_slot *slot, struct cf_slice line)
{
    struct audit_device *device = slot->device;
    pthread_mutex_lock(&device->lock);
    bool has_room = device->state != NULL && device->filling.size + line.size <= QUEUE_MAX;
    if (has_room) {
        cf_buf_add_slice(&device->filling, line);
        slot->last = ++device->filled;
        slot->first = slot->first != 0 ? slot->first : slot->last;
        if (device->is_idle) {
            pthread_cond_signal(&device->wake);
        }
    } else {
        device->lost++;
        slot->refused = true;
    }
    pthread_mutex_unlock(&device->lock);
}

void audit_add(struct audit_trail *trail, enum audit_phase phase, const struct request *rq)
{
    const struct audit_table *table = rq->view->audit;
    trail->table = table;
    for (size_t i = 0; i < table->count; i++) {
        const struct audit_entry *entry = &table->entries[i];
        struct audit_slot *slot = &trail->slots[i];
        slot->device = entry->device;
        slot->trail = trail;
        if (entry->device == NULL || entry->device->state == NULL) {
            slot->refused = true;
            continue;
        }
        CF_BUF(line) = {.secret = entry->log_raw};
        cf_ignore(!cf_buf_reserve(&line, 2048), "it grows");
        audit_write_record(&line, entry, table, phase, rq);
        add_record(slot, cf_buf_slice(&line));
    }
}

bool audit_works(const struct audit_entry *entry)
{
    return entry->device != NULL && !atomic_load(&entry->device->is_failed);
}

bool audit_is_excused(const struct audit_entry *entry)
{
    const struct audit_device *device = entry->device;
    return entry->is_foreign && (device == NULL || (atomic_load(&device->is_failed) && !atomic_load(&device->has_worked)));
}

/* Says once which device is left out. */
static bool leave_out(const struct audit_entry *entry)
{
    struct audit_device *device = entry->device;
    bool excused = audit_is_excused(entry);
    if (excused && device != NULL && !atomic_exchange(&device->is_told, true)) {
        cf_err("audit", "device \"%s\" of the primary cannot be opened on this node of a secondary, and does not hold up its "
                        "requests: make its target usable here, or name a device in the configuration of this cluster, "
                        "which has to work", device->path);
    }
    return excused;
}

/* Whether the slot waits; if not, *taken says how it ended. */
static bool join_device(struct audit_slot *slot, bool another_works, bool *taken)
{
    struct audit_device *device = slot->device;
    bool waits = false;
    *taken = false;
    if (slot->refused) {
        return false;
    }
    pthread_mutex_lock(&device->lock);
    if (device->failed_through < slot->first && device->written >= slot->last) {
        *taken = true;
    } else if (device->failed_through < slot->first &&
               (!atomic_load(&device->is_failed) || !another_works)) {
        cf_list_add_tail(&device->waits, &slot->link);
        slot->since_us = now_us();
        waits = true;
    }
    pthread_mutex_unlock(&device->lock);
    return waits;
}

void audit_wait(struct audit_trail *trail, void (*done)(struct audit_trail *trail, bool taken))
{
    const struct audit_table *table = trail->table;
    size_t count = table != NULL ? table->count : 0;
    size_t excused = 0;
    bool works = false;
    trail->done = done;
    for (size_t i = 0; i < count; i++) {
        excused += leave_out(&table->entries[i]);
    }
    if (excused == count) { /* or there are none */
        done(trail, true);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct audit_slot *slot = &trail->slots[i];
        works = works || (!slot->refused && !atomic_load(&slot->device->is_failed));
    }
    /* One more than there are, so that none of them ends the wait before all have joined. */
    atomic_store(&trail->taken, 0);
    atomic_store(&trail->pending, (unsigned)count + 1);
    struct audit_slot last = {.trail = trail};
    for (size_t i = 0; i < count; i++) {
        bool taken;
        if (!join_device(&trail->slots[i], works, &taken)) {
            slot_ended(&trail->slots[i], taken);
        }
    }
    slot_ended(&last, false);
}

/* ---- the broker ---- */

struct audit_broker *audit_broker_new(const struct audit_options *options)
{
    struct audit_broker *broker = cf_new(struct audit_broker);
    broker->options = *options;
    broker->own = audit_own_new();
    pthread_mutex_init(&broker->lock, NULL);
    init_cond(&broker->change);
    cf_list_init(&broker->devices);
    return broker;
}

void audit_broker_free(struct audit_broker *broker)
{
    if (broker == NULL) {
        return;
    }
    uint64_t until = now_us() + LAST_WORDS_MS * 1000;
    pthread_mutex_lock(&broker->lock);
    broker->stopping = true;
    pthread_cond_broadcast(&broker->change);
    while (broker->threads != 0 && now_us() < until) {
        wait_ms(&broker->change, &broker->lock, 50);
    }
    bool hangs = broker->threads != 0;
    bool watches = broker->watches;
    pthread_mutex_unlock(&broker->lock);
    if (watches) {
        pthread_join(broker->watcher, NULL);
    }
    if (hangs) {
        cf_warn("audit", "a device still hangs; what waits for it is lost");
        return; /* its thread may come back to the broker */
    }
    pthread_cond_destroy(&broker->change);
    pthread_mutex_destroy(&broker->lock);
    audit_own_free(broker->own);
    cf_free(broker);
}

struct audit_own *audit_own_of(struct audit_broker *broker)
{
    return broker->own;
}

cf_status audit_probe(const struct audit_broker *broker, const struct audit_entry *entry,
                      struct cf_error *err)
{
    const struct audit_ops *ops = audit_find(broker, entry->type);
    struct arena *arena = arena_new(1024);
    static const _Atomic bool never;
    void *state = NULL;
    struct audit_settings settings = settings_of(broker, arena, entry);
    cf_status status = ops->make(&settings, &state, err);
    if (status == CF_OK && !cf_slice_is(json_get_string(entry->options, "skip_test"), "true")) {
        CF_BUF(line) = {0};
        cf_buf_add_slice(&line, entry->prefix);
        cf_buf_add_str(&line, "{\"type\":\"request\",\"auth\":{\"token_type\":\"default\"},"
                              "\"request\":{\"operation\":\"update\",\"namespace\":{\"id\":\"root\"},"
                              "\"path\":\"sys/audit/test\"}}\n");
        status = ops->write(state, cf_buf_slice(&line), &never, err);
        if (status != CF_OK && err != NULL) {
            (void)cf_error_prefix(err, status, "the device cannot be written to");
            err->status = status = CF_INVALID; /* it was asked for */
        }
    }
    if (state != NULL) {
        ops->free(state);
    }
    arena_free(arena);
    return status;
}

cf_status audit_try_make(const struct audit_broker *broker, const struct audit_entry *entry,
                         struct cf_error *err)
{
    const struct audit_ops *ops = audit_find(broker, entry->type);
    struct arena *arena = arena_new(1024);
    void *state = NULL;
    struct audit_settings settings = settings_of(broker, arena, entry);
    cf_status status = ops->make(&settings, &state, err);
    if (status == CF_OK) {
        ops->free(state);
    }
    arena_free(arena);
    return status;
}

void audit_reopen(struct audit_broker *broker)
{
    pthread_mutex_lock(&broker->lock);
    cf_list_for(at, &broker->devices)
    {
        struct audit_device *device = cf_container(at, struct audit_device, link);
        pthread_mutex_lock(&device->lock);
        device->reopen = true;
        pthread_cond_signal(&device->wake);
        pthread_mutex_unlock(&device->lock);
    }
    pthread_mutex_unlock(&broker->lock);
}

size_t audit_status(struct audit_broker *broker, struct audit_status *to, size_t max)
{
    size_t count = 0;
    pthread_mutex_lock(&broker->lock);
    cf_list_for(at, &broker->devices)
    {
        struct audit_device *device = cf_container(at, struct audit_device, link);
        if (count == max) {
            break;
        }
        pthread_mutex_lock(&device->lock);
        to[count] = (struct audit_status){.is_failed = atomic_load(&device->is_failed),
                                          .has_worked = atomic_load(&device->has_worked),
                                          .records = device->filled,
                                          .lost = device->lost};
        memcpy(to[count++].path, device->path, sizeof(device->path));
        pthread_mutex_unlock(&device->lock);
    }
    pthread_mutex_unlock(&broker->lock);
    return count;
}

/* node/core/audit.c: the audit devices that run, and the broker that begins, lists and ends them. */
#include "node/core/audit.h"

#include <stdio.h>
#include <time.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/audit_device.h"

#define LAST_WORDS_MS 2000

static void audit_init_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
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
    audit_init_cond(&device->wake);
    cf_buf_init_secret(&device->filling, AUDIT_QUEUE_MAX);
    cf_buf_init_secret(&device->writing, AUDIT_QUEUE_MAX);
    cf_list_init(&device->waits);
    cf_list_add_tail(&broker->devices, &device->link);
    if (ops->make(&device->settings, &device->state, &err) != CF_OK) {
        audit_set_failed(device, true, err.message);
        return device;
    }
    if (pthread_create(&thread, NULL, audit_writer_main, device) != 0) {
        ops->free(device->state);
        device->state = NULL;
        audit_set_failed(device, true, "no thread for it");
        return device;
    }
    (void)pthread_detach(thread);
    broker->threads++;
    if (!broker->watches) {
        broker->watches = pthread_create(&broker->watcher, NULL, audit_watcher_main, broker) == 0;
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
        audit_device_free(device);
        return;
    }
    pthread_mutex_lock(&device->lock); /* the thread frees it */
    atomic_store(&device->stop, true);
    pthread_cond_signal(&device->wake);
    pthread_mutex_unlock(&device->lock);
}

/* ---- the broker ---- */

struct audit_broker *audit_broker_new(const struct audit_options *options)
{
    struct audit_broker *broker = cf_new(struct audit_broker);
    broker->options = *options;
    broker->own = audit_own_new();
    pthread_mutex_init(&broker->lock, NULL);
    audit_init_cond(&broker->change);
    cf_list_init(&broker->devices);
    return broker;
}

void audit_broker_free(struct audit_broker *broker)
{
    if (broker == NULL) {
        return;
    }
    uint64_t until = audit_now_us() + LAST_WORDS_MS * 1000;
    pthread_mutex_lock(&broker->lock);
    broker->stopping = true;
    pthread_cond_broadcast(&broker->change);
    while (broker->threads != 0 && audit_now_us() < until) {
        audit_wait_ms(&broker->change, &broker->lock, 50);
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

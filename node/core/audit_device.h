/* node/core/audit_device.h: a device that runs and the broker that has them, for audit.c, audit_writer.c and audit_wait.c.
 *
 * A device has two buffers: records go to the end of the one that is being filled, the writer swaps them and writes a
 * whole buffer at once. Nothing is allocated for a record once the buffers have grown. Records are
 * numbered; a request waits until the number of its last one is written. A watcher looks ten times a
 * second whether a writer hangs, and then lets its waiters go.
 *
 *   working ──write fails, or hangs for 400 ms──▶ failed ──a write succeeds──▶ working
 *
 * A failed device gets its records like any other and is tried with each of them, at least once a second.
 * Locks: the broker's, then a device's; no callback runs under either. */
#ifndef COFFER_CORE_AUDIT_DEVICE_H
#define COFFER_CORE_AUDIT_DEVICE_H

#include <pthread.h>
#include <time.h>

#include "node/base/host.h"
#include "node/base/list.h"
#include "node/core/audit_int.h"

#define AUDIT_QUEUE_MAX ((size_t)8 << 20) /* bytes that wait for a device; what is more is refused */

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

static inline uint64_t audit_now_us(void)
{
    return cf_monotonic_us(cf_host_clock());
}

/* audit_writer.c */
void audit_wait_ms(pthread_cond_t *cond, pthread_mutex_t *lock, long ms);
/* The end of a slot's part in its trail's wait; the last one calls the trail's `done`. No lock is held. */
void audit_slot_ended(struct audit_slot *slot, bool taken);
/* Logs a change. Any thread. */
void audit_set_failed(struct audit_device *device, bool failed, const char *why);
/* Not before its thread is gone, or where there is none. */
void audit_device_free(struct audit_device *device);
void *audit_writer_main(void *device);
void *audit_watcher_main(void *broker);

#endif

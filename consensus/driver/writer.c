/* consensus/driver/writer.c
 *
 * The log writer: takes whatever waits, makes one batch of it, syncs once, reports once. While one
 * sync runs, the next batch fills (natural group commit, no delay of our own). Also the order
 * around an install: the applier rests first, the switch is written, the applier takes the new
 * state, and only then do later writes go on.
 */
#include <assert.h>
#include <string.h>

#include "consensus/driver/driver_int.h"

#define BATCH_KEEP ((size_t)4 << 20) /* a batch's memory above this is given back */

void write_item_free(struct write_item *item)
{
    for (size_t i = 0; i < item->write.entry_count; i++) {
        raft_entry_unref(item->write.entries[i]);
    }
    cf_free((void *)(uintptr_t)item->write.entries);
    kv_family_unref(item->write.switch_to);
    cf_free(item);
}

static void free_items(struct write_item *items)
{
    while (items != NULL) {
        struct write_item *next = items->next;
        write_item_free(items);
        items = next;
    }
}

/* ---- the thread */

/* Cuts off the front of what waits: as much as one batch should hold, and an install alone. */
static struct write_item *take_batch(struct writer *writer)
{
    struct write_item *first = writer->waiting, *last = first;
    size_t bytes = first->bytes;
    while (last->next != NULL && last->write.install == NULL && last->next->write.install == NULL &&
           bytes + last->next->bytes <= WRITE_BYTES_MAX) {
        last = last->next;
        bytes += last->bytes;
    }
    writer->waiting = last->next;
    if (last->next == NULL) {
        writer->waiting_tail = &writer->waiting;
    }
    last->next = NULL;
    return first;
}

static cf_status write_batch(struct raft_driver *driver, struct kv_batch **batch,
                             struct write_item *items, struct cf_error *err)
{
    struct writer *writer = &driver->writer;
    for (struct write_item *item = items; item != NULL; item = item->next) {
        CF_TRY(driver_check_entries(driver, item->write.entries, item->write.entry_count,
                                    "is about to be written", err));
        raft_store_add(driver->store, *batch, &item->write);
    }
    uint64_t begin = loop_now_us();
    atomic_store(&writer->busy_since_us, begin);
    CF_TRY(raft_store_sync(driver->store, *batch, err));
    atomic_store(&writer->busy_since_us, 0);
    uint64_t took = loop_now_us() - begin;
    if (took > atomic_load(&writer->write_us_max)) {
        atomic_store(&writer->write_us_max, took);
    }
    atomic_store(&writer->write_us_last, took);
    atomic_fetch_add(&writer->write_us_sum, took);
    atomic_fetch_add(&writer->writes, 1);
    uint64_t last = 0;
    for (const struct write_item *item = items; item != NULL; item = item->next) {
        size_t count = item->write.entry_count;
        last = count > 0 ? item->write.entries[count - 1]->index : last;
    }
    timing_synced(&driver->timing, last, took);
    if (kv_batch_size(*batch) > BATCH_KEEP) {
        kv_batch_free(*batch);
        *batch = kv_batch_new(raft_store_kv(driver->store));
    } else {
        kv_batch_reset(*batch);
    }
    if (items->write.install != NULL) {
        raft_store_set_state(driver->store, items->write.switch_to);
    }
    return CF_OK;
}

/* True: the loop is to be told, once the lock is free. */
static bool report(struct writer *writer, struct write_item *items)
{
    *writer->finished_tail = items;
    while (*writer->finished_tail != NULL) {
        writer->finished_tail = &(*writer->finished_tail)->next;
    }
    bool tell = !writer->posted;
    writer->posted = true;
    return tell;
}

static void *write_main(void *arg)
{
    struct raft_driver *driver = arg;
    struct writer *writer = &driver->writer;
    struct kv_batch *batch = kv_batch_new(raft_store_kv(driver->store));
    struct cf_error err = {0};
    cf_status status = CF_OK;
    pthread_mutex_lock(&writer->lock);
    while (status == CF_OK) {
        if (writer->waiting == NULL) {
            if (writer->stop) {
                break;
            }
            pthread_cond_wait(&writer->wake, &writer->lock);
            continue;
        }
        struct write_item *items = take_batch(writer);
        pthread_mutex_unlock(&writer->lock);
        status = write_batch(driver, &batch, items, &err);
        pthread_mutex_lock(&writer->lock);
        if (status != CF_OK) {
            free_items(items); /* never to be told */
        } else if (report(writer, items)) {
            pthread_mutex_unlock(&writer->lock);
            loop_post_task(driver->loop, &writer->task);
            pthread_mutex_lock(&writer->lock);
        }
    }
    pthread_mutex_unlock(&writer->lock);
    kv_batch_free(batch);
    if (status != CF_OK) {
        /* Never again: after a failed sync the kernel may call lost pages clean (ATC'20). */
        driver_fatal(driver, status == CF_CORRUPT ? RAFT_EXIT_CORRUPT : RAFT_EXIT_DISK, &err);
    }
    return NULL;
}

/* ---- the loop's side */

static void install_written(struct raft_driver *driver, struct write_item *item)
{
    driver->install = INSTALL_SWITCHING;
    apply_switch(driver, item->write.switch_to,
                 (struct raft_applied){item->base.index, item->base.term});
    item->next = driver->held; /* kept until the applier has switched */
    driver->held = item;
    if (item->next == NULL) {
        driver->held_tail = &item->next;
    }
}

static void on_finished(void *arg)
{
    struct raft_driver *driver = arg;
    struct writer *writer = &driver->writer;
    pthread_mutex_lock(&writer->lock);
    writer->posted = false;
    struct write_item *item = writer->finished;
    writer->finished = NULL;
    writer->finished_tail = &writer->finished;
    pthread_mutex_unlock(&writer->lock);
    uint64_t id = 0, term = 0;
    while (item != NULL) {
        struct write_item *next = item->next;
        writer->under_way--;
        if (item->write.install != NULL && !driver->stopping) {
            install_written(driver, item);
        } else {
            if (item->id != 0) {
                id = item->id;
                term = item->term;
            }
            if (item->write.compact != NULL) {
                retention_compacted(driver, item->base.index);
            }
            write_item_free(item);
        }
        item = next;
    }
    if (id != 0 && !driver->stopping) {
        raft_on_persisted(driver->raft, loop_now_us(), id, term);
    }
    if (writer->under_way == 0) {
        propose_written(driver, false);
    }
    driver_pump(driver);
}

void writer_start(struct raft_driver *driver)
{
    struct writer *writer = &driver->writer;
    pthread_mutex_init(&writer->lock, NULL);
    pthread_cond_init(&writer->wake, NULL);
    writer->waiting_tail = &writer->waiting;
    writer->finished_tail = &writer->finished;
    writer->task = (struct loop_task){.fn = on_finished, .arg = driver};
    raft_thread_start(&writer->thread, write_main, driver, "raft-log");
}

void writer_stop(struct raft_driver *driver)
{
    struct writer *writer = &driver->writer;
    pthread_mutex_lock(&writer->lock);
    writer->stop = true;
    pthread_cond_signal(&writer->wake);
    pthread_mutex_unlock(&writer->lock);
    pthread_join(writer->thread, NULL);
    free_items(writer->waiting);
    free_items(writer->finished);
    free_items(driver->held);
    writer->waiting = writer->finished = driver->held = NULL;
    writer->finished_tail = &writer->finished;
}

void writer_push(struct raft_driver *driver, struct write_item *item)
{
    struct writer *writer = &driver->writer;
    health_before_write(driver);
    item->next = NULL;
    if (writer->under_way++ == 0) {
        propose_written(driver, true);
    }
    pthread_mutex_lock(&writer->lock);
    bool idle = writer->waiting == NULL;
    *writer->waiting_tail = item;
    writer->waiting_tail = &item->next;
    pthread_mutex_unlock(&writer->lock);
    if (idle) {
        pthread_cond_signal(&writer->wake); /* after the unlock: it would wake only to wait again */
    }
}

/* To the writer, or behind an install that is under way. */
static void hold_or_push(struct raft_driver *driver, struct write_item *item)
{
    if (driver->install == INSTALL_NONE && item->write.install == NULL) {
        writer_push(driver, item);
        return;
    }
    item->next = NULL;
    *driver->held_tail = item;
    driver->held_tail = &item->next;
    if (driver->install == INSTALL_NONE) {
        driver->install = INSTALL_PAUSING;
        apply_pause(driver);
    }
}

static struct write_item *take_held(struct raft_driver *driver)
{
    struct write_item *item = driver->held;
    driver->held = item->next;
    if (driver->held == NULL) {
        driver->held_tail = &driver->held;
    }
    return item;
}

void driver_write(struct raft_driver *driver, const struct raft_ready *ready)
{
    struct write_item *item = cf_new(struct write_item);
    item->id = ready->write_id;
    item->term = ready->write_term;
    item->queued_us = loop_now_us();
    item->write.truncate_from = ready->truncate_from;
    if (ready->install != NULL) {
        item->base = *ready->install;
        item->write.install = &item->base;
        item->write.switch_to = snap_receive_staged(driver, &item->base);
        assert(item->write.switch_to != NULL); /* we asked for this install ourselves */
    }
    if (ready->has_hard_state) {
        item->hard_state = ready->hard_state;
        item->write.hard_state = &item->hard_state;
    }
    if (ready->entry_count > 0) {
        struct raft_entry **entries = cf_array(ready->entry_count, sizeof(struct raft_entry *));
        for (size_t i = 0; i < ready->entry_count; i++) {
            entries[i] = raft_entry_ref(ready->entries[i]);
            item->bytes += raft_entry_size(entries[i]);
        }
        item->write.entries = entries;
        item->write.entry_count = ready->entry_count;
    }
    hold_or_push(driver, item);
}

void driver_compact(struct raft_driver *driver, const struct raft_base *base)
{
    struct write_item *item = cf_new(struct write_item);
    item->base = *base;
    item->write.compact = &item->base;
    hold_or_push(driver, item);
}

void install_applier_idle(struct raft_driver *driver)
{
    if (driver->install == INSTALL_PAUSING) {
        driver->install = INSTALL_WRITING;
        writer_push(driver, take_held(driver));
    }
}

void install_applier_switched(struct raft_driver *driver)
{
    if (driver->install != INSTALL_SWITCHING) {
        return;
    }
    struct write_item *item = take_held(driver);
    raft_on_persisted(driver->raft, loop_now_us(), item->id, item->term);
    write_item_free(item);
    driver->install = INSTALL_NONE;
    snap_receive_installed(driver);
    struct write_item *later = driver->held;
    driver->held = NULL;
    driver->held_tail = &driver->held;
    while (later != NULL) {
        struct write_item *next = later->next;
        hold_or_push(driver, later);
        later = next;
    }
}

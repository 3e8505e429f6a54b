/* tests/sim/disk.c
 *
 * A disk as the log store promises it: each write is one atomic batch; batches become durable in
 * order; a power cut keeps a prefix of those that were not synced. The device may have written their
 * sectors in any order and torn a batch in two: its checksum fails then, and the log ends before it,
 * whatever stands behind it (point-in-time recovery, consensus.md 11).
 */
#include "tests/sim/world.h"

void disk_init(struct sim_disk *disk, const struct raft_membership *founding)
{
    *disk = (struct sim_disk){0};
    if (founding != NULL) {
        disk->base.membership = *founding;
    }
}

static void write_done(struct disk_write *write)
{
    for (size_t i = 0; i < write->entry_count; i++) {
        raft_entry_unref(write->entries[i]);
    }
    cf_free(write->entries);
}

void disk_forget_queue(struct sim_disk *disk)
{
    for (size_t i = 0; i < disk->queue_count; i++) {
        write_done(&disk->queue[i]);
    }
    disk->queue_count = 0;
    disk->syncing = false;
}

void disk_done(struct sim_disk *disk)
{
    disk_forget_queue(disk);
    for (size_t i = 0; i < disk->count; i++) {
        raft_entry_unref(disk->log[i]);
    }
    cf_free(disk->log);
    cf_free(disk->queue);
    *disk = (struct sim_disk){0};
}

void disk_queue(struct sim_disk *disk, struct disk_write *write)
{
    raft_grow(&disk->queue, &disk->queue_capacity, disk->queue_count + 1, sizeof(disk->queue[0]));
    disk->queue[disk->queue_count++] = *write;
}

#define SECTOR ((size_t)512)

size_t disk_torn(struct sim_engine *e, const struct sim_disk *disk)
{
    uint64_t survive_permille = sim_between(e, 0, 1000);
    size_t kept = 0;
    bool ended = false;
    for (size_t i = 0; i < disk->queue_count; i++) {
        const struct disk_write *write = &disk->queue[i];
        size_t bytes = SECTOR, lost = 0, there = 0;
        for (size_t k = 0; k < write->entry_count; k++) {
            bytes += raft_entry_size(write->entries[k]);
        }
        for (size_t sectors = bytes / SECTOR; sectors > 0; sectors--) {
            bool survives = sim_chance(e, survive_permille);
            there += survives;
            lost += !survives;
        }
        if (there != 0 && lost != 0) {
            sim_reached(e, MARK_TORN_WRITE);
        } else if (lost == 0 && ended) {
            sim_reached(e, MARK_WHOLE_BEHIND_TORN);
        }
        ended |= lost != 0;
        kept += !ended;
    }
    return kept;
}

static void cut_tail(struct sim_disk *disk, uint64_t from)
{
    while (disk->count > 0 && disk_last(disk) >= from) {
        raft_entry_unref(disk->log[--disk->count]);
    }
}

void disk_lose(struct sim_disk *disk, uint64_t from)
{
    cut_tail(disk, from);
}

/* Moves the base up; entries above it stay. */
static void cut_head(struct sim_disk *disk, const struct raft_base *base)
{
    if (base->index <= disk->base.index) {
        return;
    }
    size_t drop = cf_min(disk->count, (size_t)(base->index - disk->base.index));
    for (size_t i = 0; i < drop; i++) {
        raft_entry_unref(disk->log[i]);
    }
    disk->count -= drop;
    if (drop > 0) {
        memmove(disk->log, disk->log + drop, disk->count * sizeof(disk->log[0]));
    }
    disk->base = *base;
}

/* False: its entries do not continue the log. */
static bool apply_one(struct sim_disk *disk, struct disk_write *write)
{
    if (write->install) {
        cut_tail(disk, 0);
        disk->base = write->base;
        disk->flushed = write->state;
    } else if (write->has_base) {
        cut_head(disk, &write->base);
    }
    if (write->truncate_from != 0) {
        cut_tail(disk, write->truncate_from);
    }
    for (size_t i = 0; i < write->entry_count; i++) {
        raft_grow(&disk->log, &disk->capacity, disk->count + 1, sizeof(disk->log[0]));
        if (write->entries[i]->index != disk_last(disk) + 1) {
            return false;
        }
        disk->log[disk->count++] = raft_entry_ref(write->entries[i]);
    }
    if (write->has_hard) {
        disk->hard = write->hard;
    }
    return true;
}

bool disk_apply(struct sim_disk *disk, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!apply_one(disk, &disk->queue[i])) {
            return false;
        }
        write_done(&disk->queue[i]);
    }
    disk->queue_count -= count;
    if (disk->queue_count != 0) {
        memmove(disk->queue, disk->queue + count, disk->queue_count * sizeof(disk->queue[0]));
    }
    return true;
}

uint64_t disk_last(const struct sim_disk *disk)
{
    return disk->base.index + disk->count;
}

struct raft_entry *disk_entry(const struct sim_disk *disk, uint64_t index)
{
    if (index <= disk->base.index || index > disk_last(disk)) {
        return NULL;
    }
    return disk->log[index - disk->base.index - 1];
}

bool disk_term(const struct sim_disk *disk, uint64_t index, uint64_t *ret)
{
    const struct raft_entry *entry = disk_entry(disk, index);
    if (entry == NULL && index != disk->base.index) {
        return false;
    }
    *ret = entry != NULL ? entry->term : disk->base.term;
    return true;
}

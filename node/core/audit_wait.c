/* node/core/audit_wait.c: one run of a request: its records go to every device of its view, and it waits for one that takes them.
 *
 * On a secondary a device that another cluster chose, for its own machines, and that has not worked here yet is excused: where
 * there is no other one, requests are answered without a record of theirs. */
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/audit_device.h"

static void add_record(struct audit_slot *slot, struct cf_slice line)
{
    struct audit_device *device = slot->device;
    pthread_mutex_lock(&device->lock);
    bool has_room = device->state != NULL && device->filling.size + line.size <= AUDIT_QUEUE_MAX;
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
        slot->since_us = audit_now_us();
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
            audit_slot_ended(&trail->slots[i], taken);
        }
    }
    audit_slot_ended(&last, false);
}

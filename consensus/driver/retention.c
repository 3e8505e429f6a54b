/* consensus/driver/retention.c
 *
 * How much log a node keeps, and who reads it. The log may be cut only up to the applied index that
 * is on disk (consensus.md 11, condition 4); it keeps a trailing part for followers that come back
 * and everything down to the replication floor, until a hard cap. Followers that lag are served
 * from memory, else by a reader thread.
 */
#include <string.h>

#include "consensus/driver/driver_int.h"

#define MARK_BYTES ((uint64_t)256 << 10)
#define MARK_ENTRIES 256
#define FETCH_KEEP_US ((uint64_t)1000 * 1000)
#define LOG_READ_ENTRIES_MAX 4096

/* ---- how large the log is up to an index */

static void add_mark(struct raft_driver *driver, uint64_t index, uint64_t bytes)
{
    if (driver->mark_count == driver->mark_capacity) {
        driver->mark_capacity = cf_max(64, 2 * driver->mark_capacity);
        driver->marks = cf_realloc(driver->marks, driver->mark_capacity * sizeof(*driver->marks));
    }
    driver->marks[driver->mark_count++] = (struct mark){index, bytes};
}

void retention_appended(struct raft_driver *driver, const struct raft_entry *entry)
{
    driver->log_bytes += raft_entry_size(entry);
    const struct mark *last = &driver->marks[driver->mark_count - 1];
    if (entry->index - last->index >= MARK_ENTRIES ||
        driver->log_bytes - last->bytes >= MARK_BYTES) {
        add_mark(driver, entry->index, driver->log_bytes);
    }
}

void retention_truncated(struct raft_driver *driver, uint64_t from)
{
    while (driver->mark_count > 1 && driver->marks[driver->mark_count - 1].index >= from) {
        driver->mark_count--;
    }
    driver->log_bytes = driver->marks[driver->mark_count - 1].bytes;
}

void retention_installed(struct raft_driver *driver, uint64_t index)
{
    driver->mark_count = 0;
    driver->log_bytes = 0;
    add_mark(driver, index, 0);
    atomic_store(&driver->first_index, index + 1);
}

/* Forgets what is at or below the new base; the sums go on from there. */
static void cut_marks(struct raft_driver *driver, uint64_t base)
{
    size_t keep = 0;
    while (keep + 1 < driver->mark_count && driver->marks[keep + 1].index <= base) {
        keep++;
    }
    uint64_t gone = driver->marks[keep].bytes;
    driver->mark_count -= keep;
    memmove(driver->marks, driver->marks + keep, driver->mark_count * sizeof(*driver->marks));
    for (size_t i = 0; i < driver->mark_count; i++) {
        driver->marks[i].bytes -= gone;
    }
    driver->log_bytes -= gone;
}

/* The highest marked index that leaves at least `bytes` above it; 0: none. */
static uint64_t index_leaving(const struct raft_driver *driver, uint64_t bytes)
{
    uint64_t index = 0;
    for (size_t i = 0;
         i < driver->mark_count && driver->marks[i].bytes + bytes <= driver->log_bytes; i++) {
        index = driver->marks[i].index;
    }
    return index;
}

uint64_t retention_bytes_above(const struct raft_driver *driver, uint64_t index)
{
    size_t low = 0, high = driver->mark_count; /* the first mark above index */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (driver->marks[middle].index <= index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 ? driver->log_bytes - driver->marks[low - 1].bytes : driver->log_bytes;
}

/* ---- flushing the state */

static void flush_run(struct raft_job *job)
{
    struct raft_driver *driver = cf_container(job, struct raft_driver, flush_job);
    CF_OWNED(kv_family) state = raft_store_state(driver->store);
    struct cf_error err = {0};
    atomic_store(&driver->unflushed_bytes, 0);
    cf_status status = kv_flush(state, &err);
    if (status == CF_OK) {
        status = raft_store_flushed(driver->store, &driver->flushed_now, &err);
    }
    if (status != CF_OK && status != CF_INTERNAL) {
        driver_fatal(driver, status == CF_CORRUPT ? RAFT_EXIT_CORRUPT : RAFT_EXIT_DISK, &err);
    }
}

static void flush_done(struct raft_job *job)
{
    struct raft_driver *driver = cf_container(job, struct raft_driver, flush_job);
    driver->flushing = false;
    atomic_store(&driver->flushed, driver->flushed_now.index);
    bool clean = atomic_load(&driver->applied) <= driver->flushed_now.index;
    driver->dirty_since_us = clean ? 0 : loop_now_us();
}

static void flush(struct raft_driver *driver)
{
    if (!driver->flushing && !driver->stopping && driver->space != SPACE_IS_GONE) {
        health_before_write(driver);
        driver->flushing = true;
        raft_worker_push(driver->carer, &driver->flush_job);
    }
}

/* ---- cutting the log */

uint64_t retention_floor(const struct raft_driver *driver)
{
    uint64_t own = atomic_load(&driver->floor);
    bool leads = driver->soft.role == RAFT_LEADER;
    return leads || own < driver->floor_leader ? own : driver->floor_leader;
}

/* What held until now holds on, until somebody here says more: a new leader knows no secondary. */
void retention_leads(struct raft_driver *driver)
{
    uint64_t own = atomic_load(&driver->floor);
    atomic_store(&driver->floor, own < driver->floor_leader ? own : driver->floor_leader);
    driver->floor_leader = UINT64_MAX;
}

/* The leader's word replaces ours, of an earlier leadership or of the start. */
void retention_told(struct raft_driver *driver, uint64_t floor)
{
    driver->floor_leader = floor;
    atomic_store(&driver->floor, UINT64_MAX);
}

/* The index up to which the log may go now; 0 when it is not worth it. */
static uint64_t cut_index(struct raft_driver *driver, const struct raft_status *status, bool *ret_capped)
{
    const struct raft_driver_options *options = &driver->options;
    uint64_t by_bytes = index_leaving(driver, options->trailing_bytes);
    uint64_t by_entries = status->last_index > options->trailing_entries
                              ? status->last_index - options->trailing_entries
                              : 0;
    uint64_t cut = by_bytes < by_entries ? by_bytes : by_entries;
    cut = cf_max(cut, purge_index(driver));
    uint64_t limits[] = {raft_compact_limit(driver->raft), retention_floor(driver),
                         snap_send_floor(driver)};
    for (size_t i = 0; i < CF_LENGTH(limits); i++) {
        cut = limits[i] < cut ? limits[i] : cut;
    }
    if (driver->log_bytes > options->log_bytes_max) {
        /* Whoever still needs that much takes a snapshot: the disk is not theirs alone. */
        uint64_t hard = index_leaving(driver, options->log_bytes_max / 4 * 3);
        *ret_capped = hard > cut;
        cut = hard > cut ? hard : cut;
    }
    return cut > status->base_index ? cut : 0;
}

static void maybe_cut(struct raft_driver *driver)
{
    struct raft_status status;
    raft_status(driver->raft, &status);
    bool capped = false;
    uint64_t cut = cut_index(driver, &status, &capped);
    /* Not one by one: half a trailing part, or a good piece of the bytes. */
    bool worth = cut != 0 && (status.base_index < purge_index(driver) || cut - status.base_index >= driver->options.trailing_entries / 2 ||
                              driver->log_bytes > 2 * driver->options.trailing_bytes);
    if (!worth || driver->install != INSTALL_NONE) {
        return;
    }
    if (cut > atomic_load(&driver->flushed)) {
        flush(driver);
        cut = atomic_load(&driver->flushed);
    }
    struct raft_base base;
    if (cut > status.base_index && raft_compact(driver->raft, cut, &base, NULL) == CF_OK) {
        atomic_store(&driver->first_index, base.index + 1);
        if (capped) {
            atomic_store(&driver->capped, base.index);
        }
        cut_marks(driver, base.index);
        driver_compact(driver, &base);
    }
}

void retention_tick(struct raft_driver *driver, uint64_t now_us)
{
    const struct raft_driver_options *options = &driver->options;
    if (driver->dirty_since_us != 0 &&
        (now_us - driver->dirty_since_us >= options->flush_us ||
         atomic_load(&driver->unflushed_bytes) >= options->flush_bytes)) {
        flush(driver);
    }
    maybe_cut(driver);
    purge_tick(driver, atomic_load(&driver->first_index) - 1, now_us);
    for (size_t i = 0; i < FETCHES_MAX; i++) {
        struct fetch *fetch = &driver->fetches[i];
        if (!fetch->busy && fetch->from != 0 && now_us - fetch->used_us > FETCH_KEEP_US) {
            for (size_t n = 0; n < fetch->count; n++) {
                raft_entry_unref(fetch->entries[n]);
            }
            fetch->count = 0;
            fetch->from = 0;
        }
    }
}

/* A cut moves the base; the space comes back here. */
static void drop_run(struct raft_job *job)
{
    struct raft_driver *driver = cf_container(job, struct raft_driver, drop_job);
    struct cf_error err = {0};
    cf_status status = raft_store_drop_log_files(driver->store, driver->drop_index, &err);
    if (status != CF_OK && status != CF_INTERNAL) {
        driver_fatal(driver, status == CF_CORRUPT ? RAFT_EXIT_CORRUPT : RAFT_EXIT_DISK, &err);
    }
}

static void drop_done(struct raft_job *job)
{
    struct raft_driver *driver = cf_container(job, struct raft_driver, drop_job);
    driver->dropping = false;
}

void retention_compacted(struct raft_driver *driver, uint64_t index)
{
    if (!driver->dropping && !driver->stopping) { /* else the next cut takes these along */
        driver->dropping = true;
        driver->drop_index = index;
        raft_worker_push(driver->carer, &driver->drop_job);
    }
}

/* ---- reading for followers */

static void fetch_run(struct raft_job *job)
{
    struct fetch *fetch = cf_container(job, struct fetch, job);
    fetch->status =
        raft_store_entries(fetch->driver->store, fetch->from, UINT64_MAX - 1, (size_t)1 << 20,
                           CF_LENGTH(fetch->entries), fetch->entries, &fetch->count, NULL);
}

static void fetch_done(struct raft_job *job)
{
    struct fetch *fetch = cf_container(job, struct fetch, job);
    struct raft_driver *driver = fetch->driver;
    fetch->busy = false;
    fetch->used_us = loop_now_us();
    if (!driver->stopping) {
        raft_on_log_ready(driver->raft, loop_now_us());
        driver_pump(driver);
    }
}

/* Moves the result of a fetch to the core; its slot is free again. */
static cf_status take_fetch(struct fetch *fetch, uint64_t to, size_t max_bytes, size_t max_count,
                            struct raft_entry **ret, size_t *ret_count)
{
    size_t count = 0, bytes = 0;
    for (size_t i = 0; i < fetch->count; i++) {
        struct raft_entry *entry = fetch->entries[i];
        size_t size = raft_entry_size(entry);
        bool fits = count == i && count < max_count && entry->index <= to &&
                    (count == 0 || bytes + size <= max_bytes);
        if (fits) {
            ret[count++] = entry;
            bytes += size;
        } else {
            raft_entry_unref(entry);
        }
    }
    fetch->count = 0;
    fetch->from = 0;
    *ret_count = count;
    return count > 0 ? CF_OK : CF_BUSY;
}

static cf_status reader_entries(void *context, uint64_t from, uint64_t to, size_t max_bytes,
                                size_t max_count, struct raft_entry **ret, size_t *ret_count,
                                struct cf_error *err)
{
    struct raft_driver *driver = context;
    *ret_count = raft_tail_get(driver->tail, from, to, max_bytes, max_count, ret);
    if (*ret_count > 0) {
        return CF_OK;
    }
    if (from < atomic_load(&driver->first_index)) {
        return cf_fail(err, CF_NOT_FOUND, "the log was cut");
    }
    struct fetch *unused = NULL;
    for (size_t i = 0; i < FETCHES_MAX; i++) {
        struct fetch *fetch = &driver->fetches[i];
        if (fetch->from == from) {
            if (fetch->busy) {
                return CF_BUSY;
            }
            cf_status status = fetch->status;
            /* Damaged here, below what is applied: the follower gets a snapshot instead. */
            status = status == CF_CORRUPT ? CF_NOT_FOUND : status;
            cf_status taken = take_fetch(fetch, to, max_bytes, max_count, ret, ret_count);
            return status == CF_OK ? taken : status;
        }
        unused = fetch->from == 0 ? fetch : unused;
    }
    if (unused != NULL && !driver->stopping) {
        unused->from = from;
        unused->busy = true;
        raft_worker_push(driver->fetcher, &unused->job);
    }
    return CF_BUSY;
}

static cf_status reader_term(void *context, uint64_t index, uint64_t *ret, struct cf_error *err)
{
    struct raft_driver *driver = context;
    return raft_store_term(driver->store, index, ret, err);
}

struct raft_log_reader retention_reader(struct raft_driver *driver)
{
    return (struct raft_log_reader){driver, reader_term, reader_entries};
}

/* ---- start and end */

void retention_start(struct raft_driver *driver, const struct raft_loaded *loaded)
{
    driver->flush_job = (struct raft_job){.run = flush_run, .done = flush_done};
    driver->drop_job = (struct raft_job){.run = drop_run, .done = drop_done};
    for (size_t i = 0; i < FETCHES_MAX; i++) {
        driver->fetches[i].driver = driver;
        driver->fetches[i].job = (struct raft_job){.run = fetch_run, .done = fetch_done};
    }
    atomic_store(&driver->floor, UINT64_MAX);
    driver->floor_leader = UINT64_MAX;
    atomic_store(&driver->first_index, loaded->base.index + 1);
    add_mark(driver, loaded->base.index, 0);
    if (loaded->last_index > loaded->base.index) {
        driver->log_bytes = raft_store_log_bytes(driver->store);
        add_mark(driver, loaded->last_index, driver->log_bytes);
    }
    struct raft_applied flushed = {0};
    if (raft_store_flushed(driver->store, &flushed, NULL) == CF_OK) {
        atomic_store(&driver->flushed, flushed.index);
    }
}

void retention_stop(struct raft_driver *driver)
{
    for (size_t i = 0; i < FETCHES_MAX; i++) {
        for (size_t n = 0; n < driver->fetches[i].count; n++) {
            raft_entry_unref(driver->fetches[i].entries[n]);
        }
    }
    cf_free(driver->marks);
}

/* ---- reading for replication */

cf_status driver_entries(struct raft_driver *driver, uint64_t from, uint64_t to, size_t max_bytes,
                         size_t max_count, struct raft_entry **ret, size_t *ret_count,
                         struct cf_error *err)
{
    *ret_count = raft_tail_get(driver->tail, from, to, max_bytes, max_count, ret);
    if (*ret_count > 0) {
        return CF_OK;
    }
    return raft_store_entries(driver->store, from, to, max_bytes, max_count, ret, ret_count, err);
}

void raft_driver_set_floor(struct raft_driver *driver, uint64_t index)
{
    atomic_store(&driver->floor, index);
}

uint64_t raft_driver_floor(const struct raft_driver *driver)
{
    return retention_floor(driver);
}

cf_status raft_driver_log_read(struct raft_driver *driver, uint64_t from, size_t max_bytes,
                               struct raft_log_run *ret, struct cf_error *err)
{
    *ret = (struct raft_log_run){0};
    uint64_t applied = atomic_load(&driver->applied);
    if (from < atomic_load(&driver->first_index)) {
        return cf_fail(err, CF_NOT_FOUND, "log entry %llu is not kept any more",
                       (unsigned long long)from);
    }
    if (from > applied) {
        return CF_OK;
    }
    uint64_t left = applied - from + 1;
    size_t room = left < LOG_READ_ENTRIES_MAX ? (size_t)left : LOG_READ_ENTRIES_MAX;
    struct raft_entry **entries = cf_array(room, sizeof(*entries));
    size_t count = 0;
    cf_status status = driver_entries(driver, from, applied, max_bytes, room, entries, &count, err);
    if (status != CF_OK) {
        cf_free(entries);
        return status;
    }
    *ret = (struct raft_log_run){entries, count};
    status = driver_check_entries(driver, entries, count, "is about to be shipped", err);
    if (status != CF_OK) {
        raft_log_run_done(ret);
    }
    return status;
}

void raft_log_run_done(struct raft_log_run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        raft_entry_unref(run->entries[i]);
    }
    cf_free(run->entries);
    *run = (struct raft_log_run){0};
}

cf_status raft_driver_log_term(struct raft_driver *driver, uint64_t index, uint64_t *ret,
                               struct cf_error *err)
{
    uint64_t first = atomic_load(&driver->first_index);
    if (index == first - 1) {
        return raft_store_base_term(driver->store, index, ret, err);
    }
    if (index < first || index > atomic_load(&driver->applied)) {
        return cf_fail(err, CF_NOT_FOUND, "log entry %llu is not there", (unsigned long long)index);
    }
    struct raft_entry *entry;
    if (raft_tail_get(driver->tail, index, index, 0, 1, &entry) == 1) {
        *ret = entry->term;
        raft_entry_unref(entry);
        return CF_OK;
    }
    return raft_store_term(driver->store, index, ret, err);
}

uint64_t raft_driver_log_first(const struct raft_driver *driver)
{
    return atomic_load(&driver->first_index);
}

uint64_t raft_driver_log_capped(const struct raft_driver *driver)
{
    return atomic_load(&driver->capped);
}

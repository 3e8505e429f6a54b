/* consensus/core/log.c: which entries the log holds, their terms, and how far it is durable. */
#include "consensus/core/raft_int.h"

void raft_grow(void *array_of_pointers, size_t *capacity, size_t count, size_t size)
{
    void **array = array_of_pointers;
    if (count <= *capacity) {
        return;
    }
    size_t wanted = cf_max(cf_max(16, count), *capacity * 2);
    *array = cf_realloc(*array, wanted * size);
    *capacity = wanted;
}

static void push_run(struct raft_log *log, uint64_t first, uint64_t term)
{
    raft_grow(&log->runs, &log->run_capacity, log->run_count + 1, sizeof(log->runs[0]));
    log->runs[log->run_count++] = (struct raft_term_run){first, term};
}

void raft_log_init(struct raft_log *log, uint64_t base_index, uint64_t base_term)
{
    *log = (struct raft_log){0};
    raft_log_reset(log, base_index, base_term);
}

static void drop_tail(struct raft_log *log)
{
    for (size_t i = 0; i < log->count; i++) {
        raft_entry_unref(log->tail[log->head + i]);
    }
    log->head = log->count = 0;
    log->tail_bytes = log->nondurable_bytes = 0;
}

void raft_log_done(struct raft_log *log)
{
    drop_tail(log);
    cf_free(log->tail);
    cf_free(log->runs);
}

void raft_log_reset(struct raft_log *log, uint64_t base_index, uint64_t base_term)
{
    drop_tail(log);
    log->base_index = log->last = log->durable = log->handed = base_index;
    log->base_term = base_term;
    log->commit = base_index;
    log->truncate_from = 0;
    log->run_count = 0;
    push_run(log, base_index, base_term);
}

/* Terms never fall along a log, so the end of each run is found by bisection. */
cf_status raft_log_load(struct raft_log *log, uint64_t last, const struct raft_log_reader *reader,
                        struct cf_error *err)
{
    uint64_t at = log->base_index, term = log->base_term, last_term = term;
    if (last < log->base_index) {
        return cf_fail(err, CF_CORRUPT, "the log ends before it begins");
    }
    if (last > log->base_index) {
        CF_TRY(reader->term_of(reader->context, last, &last_term, err));
    }
    while (term < last_term) {
        uint64_t low = at, high = last; /* term(low) == term, term(high) > term */
        while (high - low > 1) {
            uint64_t middle = low + (high - low) / 2, found;
            CF_TRY(reader->term_of(reader->context, middle, &found, err));
            if (found < term || found > last_term) {
                return cf_fail(err, CF_CORRUPT, "terms fall along the log");
            }
            *(found == term ? &low : &high) = middle;
        }
        CF_TRY(reader->term_of(reader->context, high, &term, err));
        push_run(log, high, term);
        at = high;
    }
    if (term != last_term) {
        return cf_fail(err, CF_CORRUPT, "terms fall along the log");
    }
    log->last = log->durable = log->handed = last;
    return CF_OK;
}

bool raft_log_term(const struct raft_log *log, uint64_t index, uint64_t *ret)
{
    if (index < log->base_index || index > log->last) {
        return false;
    }
    size_t low = 0, high = log->run_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        *(log->runs[middle].first <= index ? &low : &high) = middle;
    }
    *ret = log->runs[low].term;
    return true;
}

uint64_t raft_log_last_term(const struct raft_log *log)
{
    return log->runs[log->run_count - 1].term;
}

bool raft_log_matches(const struct raft_log *log, uint64_t index, uint64_t term)
{
    uint64_t found;
    return raft_log_term(log, index, &found) && found == term;
}

uint64_t raft_log_before_term(const struct raft_log *log, uint64_t index, uint64_t term)
{
    uint64_t end = index < log->last ? index : log->last;
    for (size_t i = log->run_count; i-- > 0;) {
        if (log->runs[i].first > end) {
            continue;
        }
        if (log->runs[i].term <= term) {
            return end;
        }
        end = log->runs[i].first - (log->runs[i].first != 0);
    }
    return log->base_index;
}

uint64_t raft_log_tail_first(const struct raft_log *log)
{
    return log->last + 1 - log->count;
}

void raft_log_append(struct raft_log *log, struct raft_entry *entry)
{
    assert(entry->index == log->last + 1);
    assert(entry->term >= raft_log_last_term(log));
    if (log->head > log->capacity / 2 && log->head + log->count == log->capacity) {
        memmove(log->tail, log->tail + log->head, log->count * sizeof(log->tail[0]));
        log->head = 0;
    }
    raft_grow(&log->tail, &log->capacity, log->head + log->count + 1, sizeof(log->tail[0]));
    log->tail[log->head + log->count++] = raft_entry_ref(entry);
    log->last++;
    if (entry->term > raft_log_last_term(log)) {
        push_run(log, entry->index, entry->term);
    }
    log->tail_bytes += raft_entry_size(entry);
    log->nondurable_bytes += raft_entry_size(entry);
}

void raft_log_truncate(struct raft_log *log, uint64_t from)
{
    assert(from > log->commit);
    assert(from > log->base_index);
    for (; log->last >= from && log->count > 0; log->last--) {
        struct raft_entry *entry = log->tail[log->head + --log->count];
        log->tail_bytes -= raft_entry_size(entry);
        if (log->last > log->durable) {
            log->nondurable_bytes -= raft_entry_size(entry);
        }
        raft_entry_unref(entry);
    }
    log->last = from - 1;
    while (log->run_count > 1 && log->runs[log->run_count - 1].first >= from) {
        log->run_count--;
    }
    if (log->handed >= from) {
        /* What a write has or may have brought to disk has to be cut there, too. */
        bool forgets = MUTANT(MUTANT_TRUNCATE_FORGETS) && from > log->durable;
        if ((log->truncate_from == 0 || log->truncate_from > from) && !forgets) {
            log->truncate_from = from;
        }
        log->handed = from - 1;
    }
    if (log->durable >= from) {
        log->durable = from - 1;
    }
}

void raft_log_compact(struct raft_log *log, uint64_t index)
{
    uint64_t term = log->base_term;
    bool known = raft_log_term(log, index, &term);
    assert(known && index <= log->durable);
    while (log->count > 0 && raft_log_tail_first(log) <= index) {
        struct raft_entry *entry = log->tail[log->head++];
        log->count--;
        log->tail_bytes -= raft_entry_size(entry);
        raft_entry_unref(entry);
    }
    size_t drop = 0;
    while (drop + 1 < log->run_count && log->runs[drop + 1].first <= index) {
        drop++;
    }
    log->run_count -= drop;
    memmove(log->runs, log->runs + drop, log->run_count * sizeof(log->runs[0]));
    log->runs[0].first = index;
    log->base_index = index;
    log->base_term = term;
}

void raft_log_set_durable(struct raft_log *log, uint64_t index)
{
    assert(index <= log->last);
    uint64_t first = raft_log_tail_first(log);
    while (log->durable < index) {
        log->durable++;
        if (log->durable >= first) {
            log->nondurable_bytes -=
                raft_entry_size(log->tail[log->head + (size_t)(log->durable - first)]);
        }
    }
}

void raft_log_trim(struct raft_log *log, bool leader, size_t max_bytes)
{
    while (log->count > 0) {
        uint64_t first = raft_log_tail_first(log);
        bool crowded = !leader && log->tail_bytes > max_bytes;
        if (first > log->durable || (first > log->commit && !crowded)) {
            return;
        }
        struct raft_entry *entry = log->tail[log->head++];
        log->count--;
        log->tail_bytes -= raft_entry_size(entry);
        raft_entry_unref(entry);
    }
}

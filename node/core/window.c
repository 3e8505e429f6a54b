/* node/core/window.c: which keys the latest log entries touch, and who waits for whom. */
#include "node/core/window.h"

#include <assert.h>

#include "node/base/list.h"
#include "node/base/memory.h"
#include "node/core/mutant.h"

/* A remembered write. Entries of one hash are chained; all are in a ring by age. */
struct touched {
    uint64_t hash; /* 0 for prefixes */
    uint64_t index;
    uint32_t next; /* number + 1 of an older one in the same bucket, 0: none */
    uint32_t newer; /* the same the other way round */
    bool is_range;
    uint8_t class;
    uint32_t ns;
    uint32_t name_size;
    uint8_t *name;
};

struct ticket {
    struct cf_list link; /* oldest first */
    uint64_t number;
    uint64_t *hashes; /* reads and writes */
    size_t hash_count;
    struct key *prefixes; /* listed or deleted ranges */
    size_t prefix_count;
};

struct window {
    struct touched *ring; /* positions first .. first + count, modulo keys_max */
    size_t keys_max, bytes_max, bytes;
    uint64_t first, count; /* of the ring; positions only grow */
    uint32_t *buckets;     /* ring slot + 1 of the newest */
    size_t bucket_count;
    uint64_t floor;        /* everything up to here counts as touched */
    uint64_t newest_range; /* index of the last deleted prefix */
    uint64_t ticket_next, ticket_first; /* numbers below the first are of an earlier leadership */
    struct cf_list tickets;
};

struct window *window_new(size_t keys_max, size_t bytes_max)
{
    struct window *window = cf_new(struct window);
    window->keys_max = cf_max(keys_max, 16);
    window->bytes_max = bytes_max;
    window->ring = cf_array(window->keys_max, sizeof(*window->ring));
    window->bucket_count = 16;
    while (window->bucket_count < window->keys_max) {
        window->bucket_count *= 2;
    }
    window->buckets = cf_array(window->bucket_count, sizeof(*window->buckets));
    cf_list_init(&window->tickets);
    window->ticket_next = WINDOW_TICKET_FIRST + 1;
    return window;
}

static void ticket_free(struct ticket *ticket)
{
    cf_list_remove(&ticket->link);
    for (size_t i = 0; i < ticket->prefix_count; i++) {
        cf_free((void *)(uintptr_t)ticket->prefixes[i].name.data);
    }
    cf_free(ticket->prefixes);
    cf_free(ticket->hashes);
    cf_free(ticket);
}

static void forget_oldest(struct window *window)
{
    size_t slot = window->first % window->keys_max;
    struct touched *old = &window->ring[slot];
    if (!old->is_range) {
        /* It is the last of its chain: chains go from newer to older. A key that is written all the
         * time makes a chain as long as the window, so nobody walks it for this. */
        uint32_t *link = old->newer != 0 ? &window->ring[old->newer - 1].next
                                         : &window->buckets[old->hash & (window->bucket_count - 1)];
        assert(*link == slot + 1);
        *link = 0;
    }
    if (old->index > window->floor && !REQ_MUTANT(FORGETS_SILENTLY)) {
        window->floor = old->index;
    }
    window->bytes -= old->name_size;
    cf_free(old->name);
    *old = (struct touched){0};
    window->first++;
    window->count--;
}

void window_reset(struct window *window, uint64_t last_index)
{
    while (window->count != 0) {
        forget_oldest(window);
    }
    cf_list_for_safe (at, &window->tickets) {
        ticket_free(cf_container(at, struct ticket, link));
    }
    window->ticket_first = REQ_MUTANT(STALE_TICKETS) ? 0 : window->ticket_next;
    window->floor = REQ_MUTANT(NEW_LEADER_KNOWS) ? 0 : last_index;
}

void window_free(struct window *window)
{
    if (window == NULL) {
        return;
    }
    window_reset(window, 0);
    cf_free(window->ring);
    cf_free(window->buckets);
    cf_free(window);
}

static bool within(struct key key, struct key prefix)
{
    return key.class == prefix.class && key.ns == prefix.ns &&
           cf_slice_starts(key.name, prefix.name);
}

static struct key key_of(const struct touched *touched)
{
    return (struct key){touched->class, touched->ns,
                        cf_slice_of(touched->name, touched->name_size)};
}

/* The newest index that touched the key, if above `above`; else 0. */
static uint64_t last_touch(const struct window *window, uint64_t hash, uint64_t above)
{
    uint32_t at = window->buckets[hash & (window->bucket_count - 1)];
    for (; at != 0; at = window->ring[at - 1].next) {
        const struct touched *touched = &window->ring[at - 1];
        if (touched->index <= above) {
            return 0;
        }
        if (touched->hash == hash) {
            return touched->index;
        }
    }
    return 0;
}

static bool overlap(struct key a, struct key b)
{
    return within(a, b) || within(b, a);
}

/* The claim's own writes against a prefix that was deleted after its view: what it writes was read
 * before that. */
static bool writes_meet(const struct window_claim *claim, struct key deleted)
{
    for (size_t i = 0; i < claim->write_count; i++) {
        if (claim->is_range[i] ? overlap(claim->writes[i], deleted)
                               : within(claim->writes[i], deleted)) {
            return true;
        }
    }
    return false;
}

static bool ranges_meet(const struct window_claim *claim, const struct touched *touched)
{
    struct key key = key_of(touched);
    for (size_t i = 0; i < claim->range_count; i++) {
        if (touched->is_range ? overlap(key, claim->ranges[i]) : within(key, claim->ranges[i])) {
            return true;
        }
    }
    return false;
}

/* The newest entry above the view that wrote below a range that was listed, or deleted a prefix
 * that the claim lists or writes below. Walks only when there may be one. */
static uint64_t range_touch(const struct window *window, const struct window_claim *claim)
{
    if ((claim->range_count == 0 && window->newest_range <= claim->view_index) ||
        REQ_MUTANT(RANGES_UNCHECKED)) {
        return 0;
    }
    for (uint64_t n = 0; n < window->count; n++) {
        const struct touched *touched =
            &window->ring[(window->first + window->count - 1 - n) % window->keys_max];
        if (touched->index <= claim->view_index) {
            break;
        }
        if (ranges_meet(claim, touched) ||
            (touched->is_range && writes_meet(claim, key_of(touched)))) {
            return touched->index;
        }
    }
    return 0;
}

static bool ticket_covers(const struct ticket *ticket, const struct window_claim *claim, size_t i)
{
    if (claim->is_range[i]) {
        return true; /* prefix deletes are rare: they simply wait for older tickets */
    }
    uint64_t hash = key_hash(claim->writes[i]);
    for (size_t n = 0; n < ticket->hash_count; n++) {
        if (ticket->hashes[n] == hash) {
            return true;
        }
    }
    for (size_t n = 0; n < ticket->prefix_count; n++) {
        if (within(claim->writes[i], ticket->prefixes[n])) {
            return true;
        }
    }
    return false;
}

bool window_wants_ticket(const struct window *window, const struct window_claim *claim)
{
    return claim->ticket != WINDOW_TICKET_FIRST &&
           (claim->ticket == 0 || claim->ticket < window->ticket_first);
}

/* Does an older ticket want what this claim writes? */
static bool waits_for_ticket(const struct window *window, const struct window_claim *claim)
{
    bool has_none = window_wants_ticket(window, claim);
    cf_list_for (at, &window->tickets) {
        const struct ticket *ticket = cf_container(at, struct ticket, link);
        if (!has_none && ticket->number >= claim->ticket) {
            return false; /* the list is in order of age */
        }
        for (size_t i = 0; i < claim->write_count; i++) {
            if (ticket_covers(ticket, claim, i)) {
                return true;
            }
        }
    }
    return false;
}

bool window_must_wait(const struct window *window, const struct window_claim *claim)
{
    return !cf_list_empty(&window->tickets) && !REQ_MUTANT(NO_TICKETS) && waits_for_ticket(window, claim);
}

cf_status window_check(struct window *window, const struct window_claim *claim,
                       uint64_t *retry_index)
{
    if (claim->view_index < window->floor) {
        *retry_index = window->floor;
        return CF_CONFLICT;
    }
    uint64_t newest = 0;
    for (size_t i = 0; i < claim->read_count && !REQ_MUTANT(READS_UNCHECKED); i++) {
        uint64_t index = last_touch(window, claim->reads[i], claim->view_index);
        newest = index > newest ? index : newest;
    }
    uint64_t ranged = range_touch(window, claim);
    newest = ranged > newest ? ranged : newest;
    if (newest != 0) {
        *retry_index = newest;
        return CF_CONFLICT;
    }
    if (window_must_wait(window, claim)) {
        *retry_index = 0;
        return CF_CONFLICT;
    }
    return CF_OK;
}

static void touch(struct window *window, struct key key, bool is_range, uint64_t index)
{
    while (window->count == window->keys_max ||
           (window->count != 0 && window->bytes + key.name.size > window->bytes_max)) {
        forget_oldest(window);
    }
    size_t slot = (window->first + window->count) % window->keys_max;
    struct touched *touched = &window->ring[slot];
    *touched = (struct touched){.hash = is_range ? 0 : key_hash(key),
                                .index = index,
                                .is_range = is_range,
                                .class = key.class,
                                .ns = key.ns,
                                .name_size = (uint32_t)key.name.size,
                                .name = cf_memdup(key.name.data, key.name.size)};
    if (is_range) {
        window->newest_range = index;
    } else {
        uint32_t *bucket = &window->buckets[touched->hash & (window->bucket_count - 1)];
        touched->next = *bucket;
        if (*bucket != 0) {
            window->ring[*bucket - 1].newer = (uint32_t)slot + 1;
        }
        *bucket = (uint32_t)slot + 1;
    }
    window->bytes += key.name.size;
    window->count++;
}

void window_appended(struct window *window, const struct window_claim *claim, uint64_t index)
{
    if (claim->write_count > window->keys_max / 4) {
        window_appended_all(window, index); /* too large to remember: everything is touched */
        return;
    }
    for (size_t i = 0; i < claim->write_count; i++) {
        touch(window, claim->writes[i], claim->is_range[i], index);
    }
}

void window_appended_all(struct window *window, uint64_t index)
{
    while (window->count != 0) {
        forget_oldest(window);
    }
    window->floor = index;
}

void window_applied(struct window *window, uint64_t index)
{
    /* Views a little older than the applied index are in flight; their requests find the floor
     * above them and run again, so forgetting is safe at any time. Keep a generous tail. */
    const uint64_t tail = 4096;
    while (window->count != 0 && index > tail &&
           window->ring[window->first % window->keys_max].index < index - tail) {
        forget_oldest(window);
    }
}

uint64_t window_ticket(struct window *window, const struct window_claim *claim)
{
    struct ticket *ticket = cf_new(struct ticket);
    ticket->number = window->ticket_next++;
    ticket->hashes = cf_array(claim->read_count + claim->write_count, sizeof(uint64_t));
    ticket->prefixes = cf_array(claim->range_count + claim->write_count, sizeof(struct key));
    for (size_t i = 0; i < claim->read_count && !REQ_MUTANT(TICKETS_OF_WRITES); i++) {
        ticket->hashes[ticket->hash_count++] = claim->reads[i];
    }
    for (size_t i = 0; i < claim->range_count + claim->write_count; i++) {
        bool is_write = i >= claim->range_count;
        struct key key = is_write ? claim->writes[i - claim->range_count] : claim->ranges[i];
        if (is_write && !claim->is_range[i - claim->range_count]) {
            ticket->hashes[ticket->hash_count++] = key_hash(key);
            continue;
        }
        key.name = cf_slice_of(cf_memdup(key.name.data, key.name.size), key.name.size);
        ticket->prefixes[ticket->prefix_count++] = key;
    }
    cf_list_add_tail(&window->tickets, &ticket->link);
    return ticket->number;
}

void window_ticket_end(struct window *window, uint64_t number)
{
    cf_list_for_safe (at, &window->tickets) {
        struct ticket *ticket = cf_container(at, struct ticket, link);
        if (ticket->number == number) {
            ticket_free(ticket);
            return;
        }
    }
}

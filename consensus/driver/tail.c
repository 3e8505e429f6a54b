/* consensus/driver/tail.c: a ring of references to the newest entries. */
#include "consensus/driver/tail.h"

#include <assert.h>
#include <pthread.h>

#include "node/base/memory.h"

struct raft_tail {
    pthread_mutex_t lock;
    struct raft_entry **ring; /* index modulo capacity */
    size_t capacity, bytes, bytes_max;
    uint64_t first, next; /* [first, next) is here */
};

struct raft_tail *raft_tail_new(size_t entries_max, size_t bytes_max, uint64_t first)
{
    struct raft_tail *tail = cf_new(struct raft_tail);
    pthread_mutex_init(&tail->lock, NULL);
    tail->capacity = cf_max(1, entries_max);
    tail->ring = cf_array(tail->capacity, sizeof(*tail->ring));
    tail->bytes_max = bytes_max;
    tail->first = tail->next = first;
    return tail;
}

static struct raft_entry **slot(struct raft_tail *tail, uint64_t index)
{
    return &tail->ring[index % tail->capacity];
}

static void drop(struct raft_tail *tail, uint64_t index)
{
    struct raft_entry *entry = *slot(tail, index);
    tail->bytes -= raft_entry_size(entry);
    raft_entry_unref(entry);
    *slot(tail, index) = NULL;
}

static void truncate_to(struct raft_tail *tail, uint64_t from)
{
    while (tail->next > tail->first && tail->next > from) {
        drop(tail, --tail->next);
    }
    if (tail->next > from) { /* nothing is left, and what comes next is lower */
        tail->first = tail->next = from;
    }
}

void raft_tail_free(struct raft_tail *tail)
{
    if (tail != NULL) {
        truncate_to(tail, 0);
        pthread_mutex_destroy(&tail->lock);
        cf_free(tail->ring);
        cf_free(tail);
    }
}

void raft_tail_append(struct raft_tail *tail, struct raft_entry *entry)
{
    pthread_mutex_lock(&tail->lock);
    assert(entry->index == tail->next);
    size_t size = raft_entry_size(entry);
    while (tail->first < tail->next &&
           (tail->next - tail->first == tail->capacity || tail->bytes + size > tail->bytes_max)) {
        drop(tail, tail->first++);
    }
    *slot(tail, tail->next++) = raft_entry_ref(entry);
    tail->bytes += size;
    pthread_mutex_unlock(&tail->lock);
}

void raft_tail_truncate(struct raft_tail *tail, uint64_t from)
{
    pthread_mutex_lock(&tail->lock);
    truncate_to(tail, from);
    pthread_mutex_unlock(&tail->lock);
}

void raft_tail_reset(struct raft_tail *tail, uint64_t first)
{
    pthread_mutex_lock(&tail->lock);
    truncate_to(tail, 0);
    tail->first = tail->next = first;
    pthread_mutex_unlock(&tail->lock);
}

size_t raft_tail_get(struct raft_tail *tail, uint64_t from, uint64_t to, size_t bytes_max,
                     size_t count_max, struct raft_entry **ret)
{
    size_t count = 0, bytes = 0;
    pthread_mutex_lock(&tail->lock);
    for (uint64_t index = from;
         from >= tail->first && index < tail->next && index <= to && count < count_max; index++) {
        struct raft_entry *entry = *slot(tail, index);
        size_t size = raft_entry_size(entry);
        if (count > 0 && bytes + size > bytes_max) {
            break;
        }
        bytes += size;
        ret[count++] = raft_entry_ref(entry);
    }
    pthread_mutex_unlock(&tail->lock);
    return count;
}

/* node/core/limiter.c: requests by client and interval. */
#include "node/core/limiter.h"

#include <arpa/inet.h>
#include <pthread.h>

#include "node/base/map.h"
#include "node/base/memory.h"

#define WAYS 8
#define LOCKS 64

struct bucket {
    uint64_t client; /* 0: unused */
    uint64_t end_us, blocked_until_us, used;
};

struct limiter {
    size_t sets; /* a power of two */
    uint8_t key[16];
    pthread_mutex_t locks[LOCKS];
    struct bucket buckets[];
};

struct limiter *limiter_new(size_t clients_max)
{
    size_t sets = LOCKS;
    while (sets * WAYS < clients_max) {
        sets *= 2;
    }
    struct limiter *limiter =
        cf_zalloc(sizeof(*limiter) + sets * WAYS * sizeof(limiter->buckets[0]));
    limiter->sets = sets;
    for (size_t i = 0; i < LOCKS; i++) {
        pthread_mutex_init(&limiter->locks[i], NULL);
    }
    return limiter;
}

void limiter_free(struct limiter *limiter)
{
    if (limiter != NULL) {
        for (size_t i = 0; i < LOCKS; i++) {
            pthread_mutex_destroy(&limiter->locks[i]);
        }
        cf_free(limiter);
    }
}

uint64_t limiter_client(uint64_t rule, struct cf_slice address)
{
    static const uint8_t zero[16];
    char text[INET6_ADDRSTRLEN] = "";
    uint8_t bytes[8 + 16] = {0};
    struct in6_addr six;
    size_t size = cf_min(address.size, sizeof(text) - 1);
    if (size != 0) {
        memcpy(text, address.data, size);
    }
    cf_put_u64(bytes, rule);
    bool is_six = inet_pton(AF_INET6, text, &six) == 1;
    if (is_six) {
        memcpy(bytes + 8, &six, 8); /* whoever has one address has all of its /64 */
    } else {
        memcpy(bytes + 8, text, cf_min(size, 16));
    }
    uint64_t hash = cf_siphash(zero, cf_slice_of(bytes, sizeof(bytes)));
    return hash != 0 ? hash : 1;
}

/* Its own bucket, else one that nobody needs any more, else the one whose interval ends first. */
static struct bucket *find(struct bucket *set, uint64_t client)
{
    struct bucket *best = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].client == client) {
            return &set[i];
        }
        if (cf_max(set[i].end_us, set[i].blocked_until_us) <
            cf_max(best->end_us, best->blocked_until_us)) {
            best = &set[i];
        }
    }
    *best = (struct bucket){.client = client};
    return best;
}

void limiter_take(struct limiter *limiter, uint64_t client, const struct limit *limit,
                  uint64_t now_us, struct limit_verdict *ret)
{
    size_t set = client & (limiter->sets - 1);
    pthread_mutex_t *lock = &limiter->locks[set % LOCKS];
    pthread_mutex_lock(lock);
    struct bucket *bucket = find(&limiter->buckets[set * WAYS], client);
    if (now_us >= bucket->end_us) {
        bucket->end_us = now_us + limit->interval_us;
        bucket->used = 0;
    }
    bool is_blocked = now_us < bucket->blocked_until_us;
    *ret = (struct limit_verdict){.allowed = !is_blocked && bucket->used < limit->rate};
    if (ret->allowed) {
        bucket->used++;
    } else if (!is_blocked && limit->block_us != 0) {
        bucket->blocked_until_us = now_us + limit->block_us;
    }
    ret->remaining = bucket->used < limit->rate ? limit->rate - bucket->used : 0;
    ret->reset_us = bucket->end_us - now_us;
    if (!ret->allowed) {
        ret->retry_us = bucket->blocked_until_us > now_us ? bucket->blocked_until_us - now_us
                                                          : ret->reset_us;
    }
    pthread_mutex_unlock(lock);
}

/* node/core/flights.c: the requests that are under way, for sys/in-flight-req. Each thread adds to a
 * list of its own, so that nobody waits for anybody but the one who reads them all. */
#include "node/base/host.h"
#include "node/core/core_int.h"

static _Atomic unsigned next_shard;
static _Thread_local unsigned own_shard; /* from 1 on; 0: none yet */

void flights_init(struct flights *flights)
{
    for (size_t i = 0; i < FLIGHT_SHARDS; i++) {
        pthread_mutex_init(&flights->shards[i].lock, NULL);
        cf_list_init(&flights->shards[i].list);
    }
}

void flights_done(struct flights *flights)
{
    for (size_t i = 0; i < FLIGHT_SHARDS; i++) {
        pthread_mutex_destroy(&flights->shards[i].lock);
    }
}

void flights_add(struct flights *flights, struct flight *flight, const struct request *rq,
                 uint64_t now_us)
{
    if (own_shard == 0) {
        own_shard = 1 + atomic_fetch_add(&next_shard, 1) % FLIGHT_SHARDS;
    }
    struct flight_shard *shard = &flights->shards[own_shard - 1];
    *flight = (struct flight){
        .rq = rq, .operation = rq->operation, .started_us = now_us, .shard = own_shard - 1};
    pthread_mutex_lock(&shard->lock);
    cf_list_add_tail(&shard->list, &flight->link);
    pthread_mutex_unlock(&shard->lock);
}

void flights_remove(struct flights *flights, struct flight *flight)
{
    struct flight_shard *shard = &flights->shards[flight->shard];
    pthread_mutex_lock(&shard->lock);
    cf_list_remove(&flight->link);
    pthread_mutex_unlock(&shard->lock);
}

void core_flights(struct core *core, void (*each)(void *context, const struct core_flight *flight),
                  void *context)
{
    uint64_t now_us = cf_monotonic_us(cf_host_clock());
    int64_t now_ns = cf_wall_ns(cf_host_clock());
    for (size_t i = 0; i < FLIGHT_SHARDS; i++) {
        struct flight_shard *shard = &core->flights.shards[i];
        pthread_mutex_lock(&shard->lock);
        cf_list_for(at, &shard->list) {
            const struct flight *flight = cf_container(at, struct flight, link);
            struct core_flight shown = {
                .id = flight->rq->id,
                .path = flight->rq->full_path,
                .remote_address = flight->rq->remote_address,
                .operation = flight->operation,
                .start_ns = now_ns - (int64_t)(now_us - flight->started_us) * 1000,
            };
            each(context, &shown);
        }
        pthread_mutex_unlock(&shard->lock);
    }
}

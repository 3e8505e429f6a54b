/* tools/load/histogram.c: log-linear counting of latencies. */
#include "tools/load/histogram.h"

#define SUB (1u << HISTOGRAM_SUB_BITS)

static unsigned bucket_of(uint64_t us)
{
    if (us < SUB) {
        return (unsigned)us;
    }
    unsigned exponent = 63u - (unsigned)__builtin_clzll(us);
    unsigned shift = exponent - HISTOGRAM_SUB_BITS;
    unsigned bucket = ((shift + 1) << HISTOGRAM_SUB_BITS) + (unsigned)((us >> shift) & (SUB - 1));
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

/* The largest value that falls into the bucket. */
static uint64_t upper_bound(unsigned bucket)
{
    if (bucket < SUB) {
        return bucket;
    }
    unsigned shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
    uint64_t base = (uint64_t)(SUB + (bucket & (SUB - 1)));
    return ((base + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t us)
{
    histogram->buckets[bucket_of(us)]++;
    histogram->count++;
    histogram->sum_us += us;
    if (us > histogram->max_us) {
        histogram->max_us = us;
    }
}

uint64_t histogram_quantile(const struct histogram *histogram, unsigned per_mille)
{
    if (histogram->count == 0) {
        return 0;
    }
    uint64_t rank = (histogram->count * per_mille + 999) / 1000;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= rank && histogram->buckets[i] > 0) {
            uint64_t bound = upper_bound(i);
            return bound < histogram->max_us ? bound : histogram->max_us;
        }
    }
    return histogram->max_us;
}

/* tools/load/histogram.h
 *
 * Latencies in microseconds: log-linear buckets (32 a power of two, so a quantile is off by 3 % at
 * most), fixed memory, no allocation. Thread: its owner's.
 */
#ifndef COFFER_LOAD_HISTOGRAM_H
#define COFFER_LOAD_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 5
#define HISTOGRAM_BUCKETS ((40 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

/* Zeroed is empty. */
struct histogram {
    uint64_t buckets[HISTOGRAM_BUCKETS];
    uint64_t count, max_us, sum_us;
};

void histogram_add(struct histogram *histogram, uint64_t us);
/* The value that `per_mille` of a thousand samples do not exceed (500: the median); 0 when empty.
 */
uint64_t histogram_quantile(const struct histogram *histogram, unsigned per_mille);

#endif

/* tools/load/usage.h
 *
 * What processes of this machine used, from the operating system's accounting, and what servers
 * count about themselves (sys/metrics). Thread: any.
 */
#ifndef COFFER_LOAD_USAGE_H
#define COFFER_LOAD_USAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "node/base/slice.h"
#include "tools/load/conn.h"

/* CPU time in nanoseconds of all threads that live (/proc/PID/task/N/schedstat; where the kernel
 * has none, user and system time in ticks of /proc/PID/stat). False when there is no such process.
 */
bool usage_cpu_ns(pid_t pid, uint64_t *ret);
/* Resident memory in bytes. */
bool usage_memory(pid_t pid, uint64_t *ret);

struct usage_counters {
    bool has_syncs, has_entries;
    double syncs, entries; /* fsyncs of storage; log entries */
};

/* Reads counters (or gauges) named coffer_storage_syncs and coffer_log_entries, dots or
 * underscores, out of an answer of sys/metrics. */
void usage_parse_metrics(struct cf_slice body, struct usage_counters *ret);
/* Asks a server; leaves *ret empty when it does not say. */
void usage_ask(const struct conn_target *target, const char *token, struct usage_counters *ret);

#endif

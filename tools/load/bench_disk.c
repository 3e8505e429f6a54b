/* tools/load/bench_disk.c: how fast the disk itself takes synced appends, one after another. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "node/base/host.h"
#include "node/base/memory.h"
#include "tools/load/bench.h"

#define PREALLOCATE_BYTES ((off_t)64 * 1024 * 1024)

static uint64_t now_us(void)
{
    return cf_monotonic_us(cf_host_clock());
}

static cf_status append(int fd, const char *block, size_t size, struct histogram *latency,
                        struct cf_error *err)
{
    uint64_t start_us = now_us();
    if (write(fd, block, size) != (ssize_t)size) {
        return cf_fail(err, CF_IO, "write: %s", strerror(errno));
    }
    if (fdatasync(fd) != 0) {
        return cf_fail(err, CF_IO, "fdatasync: %s", strerror(errno));
    }
    histogram_add(latency, now_us() - start_us);
    return CF_OK;
}

static void report(struct bench *bench, const struct histogram *latency, double seconds)
{
    struct json *row = json_object_new(bench->cli->arena);
    json_set_text(bench->cli->arena, row, "workload", "disk");
    json_set_int(bench->cli->arena, row, "connections", 1);
    json_set_int(bench->cli->arena, row, "operations", (int64_t)latency->count);
    bench_add_number(bench, row, "per_second", seconds > 0 ? (double)latency->count / seconds : 0,
                     0);
    bench_add_latency(bench, row, latency);
    json_set_int(bench->cli->arena, row, "errors", 0);
    json_array_add(bench->cli->arena, bench->results, row);
}

int bench_disk(struct bench *bench)
{
    struct cf_error err = {0};
    const char *path =
        arena_printf(bench->cli->arena, "%s/coffer-bench-%ld", bench->directory, (long)getpid());
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        cli_error(bench->cli, "open %s: %s", path, strerror(errno));
        return CLI_USAGE;
    }
    (void)unlink(path); /* gone with the process, however it ends */
    struct histogram *latency = cf_new(struct histogram);
    char *block = cf_zalloc((size_t)bench->size);
    memset(block, 'x', (size_t)bench->size);
    cf_status status = CF_OK;
    if (bench->preallocate &&
        (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, PREALLOCATE_BYTES) != 0 || fsync(fd) != 0)) {
        status = cf_fail(&err, CF_IO, "fallocate: %s", strerror(errno));
    }
    uint64_t start_us = now_us();
    uint64_t end_us = start_us + (uint64_t)bench->duration_ms * 1000;
    uint64_t max = bench->count > 0 ? (uint64_t)bench->count : UINT64_MAX;
    while (status == CF_OK && latency->count < max && (bench->count > 0 || now_us() < end_us)) {
        status = append(fd, block, (size_t)bench->size, latency, &err);
    }
    double seconds = (double)(now_us() - start_us) / 1e6;
    (void)close(fd);
    cf_free(block);
    if (status == CF_OK) {
        report(bench, latency, seconds);
    } else {
        cli_error(bench->cli, "%s: %s", path, err.message);
    }
    cf_free(latency);
    return status == CF_OK ? CLI_FINE : CLI_USAGE;
}

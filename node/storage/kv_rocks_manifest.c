/* node/storage/kv_rocks_manifest.c: takes the torn end off a RocksDB manifest after a power cut.
 *
 * RocksDB appends version edits to its manifest and syncs before it relies on them. A power cut in between may
 * leave an end whose sectors reached the disk in part, the others reading as zeros. A record that merely stops
 * at the end of the file is forgiven by RocksDB; one with a hole is "checksum mismatch" to it, and the
 * database does not open again, although nothing was promised yet. (Its reader forgives that in WAL files
 * only: wal_recovery_mode does not reach the manifest.)
 *
 * What counts as torn: the first unreadable record has a sector, or the part of one behind the last readable
 * record, that is zeros throughout, and less than TAIL_MAX follows. Anything else stays as it is, for RocksDB to
 * refuse. A synced record that turned into zeros by itself would be taken for torn, too; then the older
 * version names tables and WAL files that are gone, and the open fails over those (paranoid_checks,
 * track_and_verify_wals_in_manifest).
 *
 * Format: github.com/facebook/rocksdb/wiki/Write-Ahead-Log-File-Format; blocks of 32 KiB, in them records of
 * checksum (4), length (2), type (1), payload. The checksum is CRC-32C (RFC 3720, appendix B.4) of type and payload,
 * rotated and offset. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "node/storage/kv_dir.h"
#include "node/storage/kv_rocks.h"

#define BLOCK ((size_t)32768)
#define HEADER ((size_t)7)
#define SECTOR ((size_t)512)
#define MANIFEST_MAX ((size_t)256 << 20)
#define TAIL_MAX (4 * ROCKS_MANIFEST_BYTES) /* far more than the edits of one sync: the largest is kv_rocks_names.c's */

enum { TYPE_NONE, TYPE_FULL, TYPE_FIRST, TYPE_MIDDLE, TYPE_LAST };

static uint32_t crc32c(const uint8_t *bytes, size_t size)
{
    static uint32_t table[256]; /* the same whoever fills it: a race writes equal values */
    if (table[255] == 0) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; bit++) {
                value = value >> 1 ^ (value & 1 ? 0x82f63b78U : 0);
            }
            table[i] = value;
        }
    }
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc = crc >> 8 ^ table[(crc ^ bytes[i]) & 0xff];
    }
    return ~crc;
}

static bool is_whole(const uint8_t *record, size_t length)
{
    uint32_t crc = crc32c(record + 6, 1 + length);
    uint32_t masked = (crc >> 15 | crc << 17) + 0xa282ead8U;
    uint32_t stored = (uint32_t)record[0] | (uint32_t)record[1] << 8 | (uint32_t)record[2] << 16 |
                      (uint32_t)record[3] << 24;
    return masked == stored;
}

/* Whether a sector, as far as it lies in [from, to), is zeros. */
static bool has_hole(const uint8_t *bytes, size_t from, size_t to)
{
    while (from < to) {
        size_t end = (from / SECTOR + 1) * SECTOR, at = from;
        end = end < to ? end : to;
        while (at < end && bytes[at] == 0) {
            at++;
        }
        if (at == end) {
            return true;
        }
        from = end;
    }
    return false;
}

size_t rocks_manifest_whole(const uint8_t *bytes, size_t size)
{
    size_t at = 0, whole = 0;
    for (;;) {
        size_t left = BLOCK - at % BLOCK;
        if (left < HEADER) {
            at += left; /* a trailer */
            continue;
        }
        if (at >= size || size - at < HEADER) {
            return size; /* it ends here, or stops in a header */
        }
        size_t length = (size_t)bytes[at + 4] | (size_t)bytes[at + 5] << 8;
        unsigned type = bytes[at + 6];
        size_t end = at + HEADER + length;
        bool fits = HEADER + length <= left;
        if (fits && end > size) {
            return size; /* stops in a payload */
        }
        if (!fits || type < TYPE_FULL || type > TYPE_LAST || !is_whole(bytes + at, length)) {
            size_t through = fits && type != TYPE_NONE ? end : at + left;
            through = through < size ? through : size;
            /* The hole may be in the middle of a record that goes over several blocks. */
            return has_hole(bytes, at, through) && size - whole <= TAIL_MAX && whole != 0 ? whole : size;
        }
        at = end;
        if (type == TYPE_FULL || type == TYPE_LAST) {
            whole = at;
        }
    }
}

/* The whole file, at most max bytes; false: not there or not readable, which RocksDB will tell. */
static bool read_whole(const char *path, size_t max, struct cf_buf *to)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && fstat(fd, &info) == 0 && info.st_size > 0 && (size_t)info.st_size <= max;
    while (ok && to->size < (size_t)info.st_size) {
        char part[16384];
        ssize_t got = read(fd, part, sizeof(part));
        ok = got > 0;
        if (ok) {
            cf_buf_add_slice(to, cf_slice_of(part, (size_t)got));
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

cf_status rocks_manifest_mend(const char *store, struct cf_error *err)
{
    char path[PATH_MAX], db_path[PATH_MAX - 8];
    CF_BUF(current) = {0};
    CF_BUF(manifest) = {0};
    if (snprintf(db_path, sizeof(db_path), "%s/db", store) >= (int)sizeof(db_path) ||
        snprintf(path, sizeof(path), "%s/CURRENT", db_path) >= (int)sizeof(path) ||
        !read_whole(path, NAME_MAX, &current)) {
        return CF_OK;
    }
    struct cf_slice name = cf_buf_slice(&current);
    name.size = cf_slice_find(name, '\n');
    if (cf_slice_find(name, '/') < name.size ||
        snprintf(path, sizeof(path), "%s/%.*s", db_path, CF_SHOW(name)) >= (int)sizeof(path) ||
        !read_whole(path, MANIFEST_MAX, &manifest)) {
        return CF_OK;
    }
    size_t whole = rocks_manifest_whole((const uint8_t *)manifest.data, manifest.size);
    if (whole == manifest.size || kv_dir_holder(store) != 0) {
        return CF_OK; /* nothing is torn while somebody lives who writes it */
    }
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool cut = fd >= 0 && ftruncate(fd, (off_t)whole) == 0 && fsync(fd) == 0;
    int why = errno;
    if (fd >= 0) {
        close(fd);
    }
    return cut ? CF_OK
               : cf_fail(err, CF_IO, "can't take the torn end off \"%s\": %s", path, strerror(why));
}

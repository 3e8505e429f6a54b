/* node/storage/kv_dir.h
 *
 * The directory of a store on disk: `format` (one line: name, version, state) beside `db/`, where
 * RocksDB lives. `format` is written before the database is created and marked ready after, so that
 * a crash in between is told from a database whose files were lost.
 */
#ifndef COFFER_STORAGE_KV_DIR_H
#define COFFER_STORAGE_KV_DIR_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/status.h"

#define KV_DIR_VERSION 1

enum kv_dir_state {
    KV_DIR_NEW,   /* nothing was ever acknowledged here: create */
    KV_DIR_READY, /* must open as it is */
};

/* Creates `path` when only its last component is missing (unless must_exist), reads or writes
 * `format`. Errors as kv_open. */
CF_CHECKED cf_status kv_dir_prepare(const char *path, bool must_exist, enum kv_dir_state *ret,
                                    struct cf_error *err);
/* The database was created and is on disk. */
CF_CHECKED cf_status kv_dir_ready(const char *path, struct cf_error *err);
/* After RocksDB could not lock db/LOCK: the pid of the holder, or 0 when unknown. Never call it
 * when this process itself may hold the lock: closing the file would drop it (POSIX locks). */
long kv_dir_holder(const char *path);

/* The file `synced`: a number and its complement, never synced itself. -1 when it can't be had. */
int kv_dir_open_note(const char *path);
void kv_dir_note(int fd, uint64_t value);
bool kv_dir_noted(int fd, uint64_t *ret);

/* Makes the file `ballast` in a store's directory hold so many bytes of disk, or none. CF_NO_SPACE,
 * CF_IO: then there is none. */
CF_CHECKED cf_status kv_dir_ballast(const char *path, uint64_t bytes, struct cf_error *err);

#endif

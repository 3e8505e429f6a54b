/* node/server/replication/runs.c: the files of a copy under way.
 *
 * runs/<generation>/<name> while it is staged, runs/<generation>-<index of the switch>/<name> once it was taken over. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/crypto/hash.h"
#include "node/server/replication/runs_int.h"

enum { NAME_TEXT = 2 * RUN_NAME_SIZE, ABANDONED_S = 3600 };

struct runs *runs_new(struct node *node)
{
    if (!kv_has_runs(node->kv)) {
        return NULL;
    }
    struct runs *runs = cf_new(struct runs);
    runs->node = node;
    (void)snprintf(runs->folder, sizeof(runs->folder), "%s/db/runs", node->config->path);
    pthread_mutex_init(&runs->lock, NULL);
    pthread_cond_init(&runs->wake, NULL);
    cf_list_init(&runs->fetches);
    atomic_init(&runs->holds, true);
    return runs;
}

void runs_free(struct runs *runs)
{
    if (runs != NULL) {
        pthread_cond_destroy(&runs->wake);
        pthread_mutex_destroy(&runs->lock);
        cf_free(runs);
    }
}

/* ---- paths ---- */

static cf_status disk(struct cf_error *err, const char *what, const char *path)
{
    bool full = errno == ENOSPC || errno == EDQUOT;
    (void)cf_fail(err, full ? CF_NO_SPACE : CF_IO,
                  full ? "storage is full" : "storage input/output error");
    cf_error_detail(err, "Could not %s \"%s\": %s.", what, path, strerror(errno));
    return err != NULL ? err->status : full ? CF_NO_SPACE : CF_IO;
}

/* The folder of a generation, staged or taken; false: there is none. */
static bool find_folder(const struct runs *runs, uint32_t generation, char path[PATH_MAX])
{
    char staged[16], taken[16];
    (void)snprintf(staged, sizeof(staged), "%08x", generation);
    (void)snprintf(taken, sizeof(taken), "%08x-", generation);
    DIR *all = opendir(runs->folder);
    const struct dirent *entry;
    bool found = false;
    while (all != NULL && !found && (entry = readdir(all)) != NULL) {
        found = strcmp(entry->d_name, staged) == 0 || strncmp(entry->d_name, taken, 9) == 0;
        if (found) {
            (void)snprintf(path, PATH_MAX, "%.3000s/%.255s", runs->folder, entry->d_name);
        }
    }
    if (all != NULL) {
        (void)closedir(all);
    }
    return found;
}

static void file_path(const char *folder, struct cf_slice name, char path[PATH_MAX])
{
    char text[NAME_TEXT + 1];
    for (size_t i = 0; i < RUN_NAME_SIZE; i++) {
        (void)snprintf(text + 2 * i, 3, "%02x", name.data[i]);
    }
    (void)snprintf(path, PATH_MAX, "%.3500s/%s", folder, text);
}

static bool find_file(const struct runs *runs, uint32_t generation, struct cf_slice name,
                      char path[PATH_MAX])
{
    char folder[PATH_MAX];
    if (name.size != RUN_NAME_SIZE || !find_folder(runs, generation, folder)) {
        return false;
    }
    file_path(folder, name, path);
    return access(path, R_OK) == 0;
}

static void remove_folder(const char *path)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        (void)unlinkat(dirfd(folder), entry->d_name, 0); /* "." and ".." refuse */
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    (void)rmdir(path);
}

static bool is_taken(const char *name, uint64_t *ret)
{
    const char *dash = strchr(name, '-');
    *ret = dash != NULL ? strtoull(dash + 1, NULL, 10) : 0;
    return dash != NULL;
}

/* Staged by an earlier copy: it will not go on. */
static void drop_others(const struct runs *runs, uint32_t generation)
{
    char keep[16], path[PATH_MAX];
    uint64_t ignored;
    (void)snprintf(keep, sizeof(keep), "%08x", generation);
    DIR *all = opendir(runs->folder);
    const struct dirent *entry;
    while (all != NULL && (entry = readdir(all)) != NULL) {
        if (entry->d_name[0] != '.' && !is_taken(entry->d_name, &ignored) &&
            strcmp(entry->d_name, keep) != 0) {
            (void)snprintf(path, sizeof(path), "%.3000s/%.255s", runs->folder, entry->d_name);
            remove_folder(path);
        }
    }
    if (all != NULL) {
        (void)closedir(all);
    }
}

static cf_status sync_folder(const char *path, struct cf_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool fine = fd >= 0 && fsync(fd) == 0;
    cf_status status = fine ? CF_OK : disk(err, "sync", path);
    if (fd >= 0) {
        (void)close(fd);
    }
    return status;
}

/* Of the stage; made when it is the first run of its generation. */
static cf_status stage_folder(struct runs *runs, uint32_t generation, char path[PATH_MAX],
                              struct cf_error *err)
{
    atomic_store(&runs->holds, true);
    if (find_folder(runs, generation, path)) {
        return CF_OK;
    }
    if (mkdir(runs->folder, 0700) != 0 && errno != EEXIST) {
        return disk(err, "make", runs->folder);
    }
    drop_others(runs, generation);
    (void)snprintf(path, PATH_MAX, "%.3000s/%08x", runs->folder, generation);
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return disk(err, "make", path);
    }
    return sync_folder(runs->folder, err);
}

/* ---- writing ---- */

static void part_path(const char *folder, char path[PATH_MAX])
{
    static atomic_uint number;
    (void)snprintf(path, PATH_MAX, "%.3500s/part-%u", folder, atomic_fetch_add(&number, 1));
    (void)unlink(path); /* of a process before us */
}

static cf_status finish(const char *part, const char *folder, struct cf_slice name,
                        struct cf_error *err)
{
    char path[PATH_MAX];
    file_path(folder, name, path);
    if (rename(part, path) != 0) {
        cf_status status = disk(err, "name", path);
        (void)unlink(part);
        return status;
    }
    return sync_folder(folder, err);
}

static cf_status read_file(const char *path, struct cf_buf *to, struct cf_error *err)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool fine = fd >= 0 && fstat(fd, &info) == 0;
    if (fine && (uint64_t)info.st_size > RUN_BYTES_MAX) {
        (void)close(fd);
        return cf_fail(err, CF_TOO_LARGE, "a run of %lld bytes", (long long)info.st_size);
    }
    size_t left = fine ? (size_t)info.st_size : 0;
    fine = fine && cf_buf_reserve(to, left);
    while (fine && left > 0) {
        ssize_t got = read(fd, to->data + to->size, left);
        fine = got > 0;
        to->size += fine ? (size_t)got : 0;
        left -= fine ? (size_t)got : 0;
    }
    cf_status status = fine ? CF_OK : disk(err, "read", path);
    if (fd >= 0) {
        (void)close(fd);
    }
    return status;
}

static int by_key(const void *one, const void *two)
{
    const struct op *a = one, *b = two;
    int order = (int)a->key.class - (int)b->key.class;
    if (order == 0 && a->key.ns != b->key.ns) {
        order = a->key.ns < b->key.ns ? -1 : 1;
    }
    return order != 0 ? order : cf_slice_cmp(a->key.name, b->key.name);
}

static bool is_sorted(const struct op *ops, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if (by_key(&ops[i - 1], &ops[i]) > 0) {
            return false;
        }
    }
    return true;
}

static cf_status write_run(struct runs *runs, const char *part, uint32_t generation, uint64_t index,
                           const struct op *ops, size_t count, struct cf_error *err)
{
    CF_OWNED(kv_run) run = NULL;
    CF_BUF(key) = {0};
    uint8_t head[VALUE_HEADER_SIZE];
    cf_put_u64(head, index);
    CF_TRY(kv_run_new(runs->node->kv, part, &run, err));
    for (size_t i = 0; i < count; i++) {
        struct cf_slice parts[2] = {cf_slice_of(head, sizeof(head)), ops[i].value};
        cf_buf_reset(&key);
        key_encode(&key, ops[i].key, generation);
        CF_TRY(kv_run_add(run, cf_buf_slice(&key), parts, 2, err));
    }
    return kv_run_end(run, err);
}

cf_status runs_make(struct runs *runs, uint32_t generation, uint64_t index, const struct op *ops,
                    size_t count, uint8_t name[RUN_NAME_SIZE], struct cf_buf *bytes,
                    struct cf_error *err)
{
    char folder[PATH_MAX], part[PATH_MAX];
    struct op *sorted = NULL;
    CF_TRY(stage_folder(runs, generation, folder, err));
    part_path(folder, part);
    if (!is_sorted(ops, count)) { /* of an older primary: its pages begin with class replicated */
        sorted = cf_array(count, sizeof(*sorted));
        memcpy(sorted, ops, count * sizeof(*sorted));
        qsort(sorted, count, sizeof(*sorted), by_key);
    }
    cf_status status =
        write_run(runs, part, generation, index, sorted != NULL ? sorted : ops, count, err);
    cf_free(sorted);
    CF_TRY(status);
    size_t before = bytes->size;
    status = read_file(part, bytes, err);
    if (status != CF_OK) {
        (void)unlink(part);
        return status;
    }
    hash_sha256(cf_slice_from(cf_buf_slice(bytes), before), name);
    return finish(part, folder, cf_slice_of(name, RUN_NAME_SIZE), err);
}

static cf_status write_file(const char *path, struct cf_slice bytes, struct cf_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool fine = fd >= 0;
    size_t at = 0;
    while (fine && at < bytes.size) {
        ssize_t put = write(fd, bytes.data + at, bytes.size - at);
        fine = put > 0;
        at += fine ? (size_t)put : 0;
    }
    fine = fine && fsync(fd) == 0;
    cf_status status = fine ? CF_OK : disk(err, "write", path);
    if (fd >= 0) {
        (void)close(fd);
        if (!fine) {
            (void)unlink(path);
        }
    }
    return status;
}

cf_status runs_keep(struct runs *runs, uint32_t generation, struct cf_slice name,
                    struct cf_slice bytes, struct cf_error *err)
{
    uint8_t digest[RUN_NAME_SIZE];
    char folder[PATH_MAX], part[PATH_MAX];
    hash_sha256(bytes, digest);
    if (!cf_slice_eq(name, cf_slice_of(digest, sizeof(digest)))) {
        return cf_fail(err, CF_CORRUPT, "a run of the copy is not what its name says");
    }
    if (runs_has(runs, generation, name)) {
        return CF_OK;
    }
    CF_TRY(stage_folder(runs, generation, folder, err));
    part_path(folder, part);
    CF_TRY(write_file(part, bytes, err));
    return finish(part, folder, name, err);
}

/* ---- reading ---- */

bool runs_has(struct runs *runs, uint32_t generation, struct cf_slice name)
{
    char path[PATH_MAX];
    return find_file(runs, generation, name, path);
}

cf_status runs_read(struct runs *runs, uint32_t generation, struct cf_slice name, struct cf_buf *to,
                    struct cf_error *err)
{
    char path[PATH_MAX];
    if (!find_file(runs, generation, name, path)) {
        return cf_fail(err, CF_NOT_FOUND, "this node does not have that run of the copy");
    }
    return read_file(path, to, err);
}

/* ---- the switch ---- */

/* Names of those that are not here, one after the other. */
static void lacking(struct runs *runs, const struct command *command, struct cf_buf *ret)
{
    cf_buf_reset(ret);
    for (size_t i = 0; i < command->run_count; i++) {
        if (!runs_has(runs, command->stage_generation, command->runs[i])) {
            cf_buf_add_slice(ret, command->runs[i]);
        }
    }
}

static cf_status ingest(struct runs *runs, const struct command *command, struct cf_error *err)
{
    CF_OWNED(kv_family) family = raft_store_state(runs->node->store);
    CF_OWNED(arena) arena = arena_new(65536);
    const char **paths = arena_alloc(arena, command->run_count * sizeof(*paths));
    char path[PATH_MAX];
    for (size_t i = 0; i < command->run_count; i++) {
        if (!find_file(runs, command->stage_generation, command->runs[i], path)) {
            return cf_fail(err, CF_IO, "a run of the copy is gone from the disk");
        }
        paths[i] = arena_printf(arena, "%s", path);
    }
    return kv_take_runs(family, paths, command->run_count, err);
}

cf_status runs_take(struct runs *runs, const struct command *command, uint64_t index,
                    struct cf_error *err)
{
    CF_BUF(names) = {0};
    char from[PATH_MAX], to[PATH_MAX];
    lacking(runs, command, &names);
    while (names.size != 0) {
        CF_TRY(runs_wait(runs, command->stage_generation, cf_buf_slice(&names), err));
        lacking(runs, command, &names);
    }
    CF_TRY(ingest(runs, command, err));
    (void)snprintf(to, sizeof(to), "%.3000s/%08x-%llu", runs->folder, command->stage_generation,
                   (unsigned long long)index);
    if (find_folder(runs, command->stage_generation, from) && strcmp(from, to) != 0 &&
        rename(from, to) != 0) {
        return disk(err, "rename", from);
    }
    return CF_OK;
}

void runs_tidy(struct runs *runs, uint64_t first_index)
{
    char path[PATH_MAX];
    struct stat info;
    uint64_t index;
    bool holds = false;
    atomic_store(&runs->holds, false); /* what comes from now on says so again */
    DIR *all = opendir(runs->folder);
    const struct dirent *entry;
    while (all != NULL && (entry = readdir(all)) != NULL) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        (void)snprintf(path, sizeof(path), "%.3000s/%.255s", runs->folder, entry->d_name);
        bool taken = is_taken(entry->d_name, &index);
        bool old = !taken && stat(path, &info) == 0 && time(NULL) - info.st_mtime > ABANDONED_S;
        if (old || (taken && index < first_index)) {
            remove_folder(path);
        } else {
            holds = true;
        }
    }
    if (all != NULL) {
        (void)closedir(all);
    }
    if (holds) {
        atomic_store(&runs->holds, true);
    }
}

struct tidying {
    struct runs *runs;
    uint64_t first_index;
};

static void tidy(void *arg)
{
    struct tidying *tidying = arg;
    runs_tidy(tidying->runs, tidying->first_index);
    atomic_store(&tidying->runs->is_tidying, false);
    cf_free(tidying);
}

void runs_care(struct runs *runs)
{
    if (runs->node->driver == NULL || !atomic_load(&runs->holds) ||
        atomic_exchange(&runs->is_tidying, true)) {
        return;
    }
    struct tidying *tidying = cf_new(struct tidying);
    tidying->runs = runs;
    tidying->first_index = raft_driver_log_first(runs->node->driver);
    core_work(runs->node->core, tidy, tidying);
}

/* node/storage/kv_dir.c: creates and recognises the directory of a store. */
#include "node/storage/kv_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/slice.h"

#define FORMAT_SIZE_MAX 128
#define MAGIC "coffer-store "

static cf_status io_error(struct cf_error *err, const char *what, const char *path)
{
    int error = errno;
    cf_status status = error == ENOSPC || error == EDQUOT ? CF_NO_SPACE : CF_IO;
    return cf_fail(err, status, "can't %s \"%s\": %s", what, path, strerror(error));
}

static void join(char to[PATH_MAX], const char *path, const char *name)
{
    /* Paths that don't fit fail in open() with ENAMETOOLONG, as the truncated one can't exist. */
    if (snprintf(to, PATH_MAX, "%s/%s", path, name) >= PATH_MAX) {
        to[0] = '\0';
    }
}

static cf_status sync_dir(const char *path, struct cf_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return io_error(err, "open", path);
    }
    cf_status status = fsync(fd) == 0 ? CF_OK : io_error(err, "sync", path);
    close(fd);
    return status;
}

/* Atomic and durable: a temporary file, synced, renamed, directory synced. */
static cf_status write_format(const char *path, const char *state, struct cf_error *err)
{
    char name[PATH_MAX], temporary[PATH_MAX], text[FORMAT_SIZE_MAX];
    join(name, path, "format");
    join(temporary, path, "format.new");
    int size = snprintf(text, sizeof(text), MAGIC "%d %s\n", KV_DIR_VERSION, state);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return io_error(err, "create", temporary);
    }
    bool written = write(fd, text, (size_t)size) == size && fsync(fd) == 0;
    cf_status status = written ? CF_OK : io_error(err, "write", temporary);
    close(fd);
    CF_TRY(status);
    if (rename(temporary, name) != 0) {
        return io_error(err, "rename", temporary);
    }
    return sync_dir(path, err);
}

/* CF_NOT_FOUND when there is none. */
static cf_status read_format(const char *path, enum kv_dir_state *ret, struct cf_error *err)
{
    char name[PATH_MAX], text[FORMAT_SIZE_MAX] = {0};
    join(name, path, "format");
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? CF_NOT_FOUND : io_error(err, "open", name);
    }
    ssize_t size = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (size < 0) {
        return io_error(err, "read", name);
    }
    char *end = text;
    long version =
        strncmp(text, MAGIC, strlen(MAGIC)) == 0 ? strtol(text + strlen(MAGIC), &end, 10) : 0;
    if (version <= 0) {
        return cf_fail(err, CF_CORRUPT, "\"%s\" is not a coffer format file", name);
    }
    if (version > KV_DIR_VERSION) {
        return cf_fail(
            err, CF_UNSUPPORTED,
            "the data in \"%s\" has format %ld, this program knows up to %d: run a newer "
            "release",
            path, version, KV_DIR_VERSION);
    }
    bool fresh = strcmp(end, " new\n") == 0;
    if (!fresh && strcmp(end, " ready\n") != 0) {
        return cf_fail(err, CF_CORRUPT, "\"%s\" is damaged", name);
    }
    *ret = fresh ? KV_DIR_NEW : KV_DIR_READY;
    return CF_OK;
}

/* True when db/ holds anything. */
static bool has_database(const char *path)
{
    char name[PATH_MAX];
    join(name, path, "db");
    DIR *dir = opendir(name);
    if (dir == NULL) {
        return errno != ENOENT;
    }
    bool found = false;
    for (const struct dirent *entry; !found && (entry = readdir(dir)) != NULL;) {
        found = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(dir);
    return found;
}

static cf_status make_dir(const char *path, struct cf_error *err)
{
    if (mkdir(path, 0700) == 0) {
        char parent[PATH_MAX];
        join(parent, path, "..");
        return sync_dir(parent, err);
    }
    struct stat info;
    if (errno != EEXIST) {
        return io_error(err, "create directory", path);
    }
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) {
        return cf_fail(err, CF_IO, "\"%s\" is not a directory", path);
    }
    return CF_OK;
}

cf_status kv_dir_prepare(const char *path, bool must_exist, enum kv_dir_state *ret,
                         struct cf_error *err)
{
    if (strlen(path) == 0 || strlen(path) > PATH_MAX - 32) {
        return cf_fail(err, CF_INVALID, "bad path of the data directory");
    }
    cf_status status = read_format(path, ret, err);
    if (status != CF_NOT_FOUND) {
        return status;
    }
    if (has_database(path)) {
        cf_fail(err, CF_CORRUPT, "\"%s\" holds a database but no format file", path);
        cf_error_detail(err, "The directory was not made by this program, or \"format\" was lost. "
                             "Restore the directory as a whole, or start with an empty one.");
        return CF_CORRUPT;
    }
    if (must_exist) {
        return cf_fail(err, CF_NOT_FOUND, "no data in \"%s\"", path);
    }
    CF_TRY(make_dir(path, err));
    CF_TRY(write_format(path, "new", err));
    *ret = KV_DIR_NEW;
    return CF_OK;
}

cf_status kv_dir_ready(const char *path, struct cf_error *err)
{
    return write_format(path, "ready", err);
}

long kv_dir_holder(const char *path)
{
    char name[PATH_MAX];
    join(name, path, "db/LOCK");
    int fd = open(name, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    long pid = fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? (long)lock.l_pid : 0;
    close(fd);
    return pid;
}

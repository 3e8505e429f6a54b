/* node/storage/kv_ballast.c: two files beside the database: one that holds room on the disk until it
 * is needed, and one that notes how far it was synced. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/storage/kv_dir.h"

int kv_dir_open_note(const char *path)
{
    char name[PATH_MAX];
    snprintf(name, sizeof(name), "%s/synced", path);
    return open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

void kv_dir_note(int fd, uint64_t value)
{
    uint64_t words[2] = {value, ~value};
    if (fd >= 0 && pwrite(fd, words, sizeof(words), 0) != (ssize_t)sizeof(words)) {
        cf_ignore(ftruncate(fd, 0), "none is better than a wrong one");
    }
}

bool kv_dir_noted(int fd, uint64_t *ret)
{
    uint64_t words[2] = {0, 0};
    bool found = fd >= 0 && pread(fd, words, sizeof(words), 0) == (ssize_t)sizeof(words) &&
                 words[0] == ~words[1];
    *ret = words[0];
    return found;
}

cf_status kv_dir_ballast(const char *path, uint64_t bytes, struct cf_error *err)
{
    char name[PATH_MAX];
    struct stat info;
    snprintf(name, sizeof(name), "%s/ballast", path);
    if (bytes == 0) {
        return unlink(name) == 0 || errno == ENOENT
                   ? CF_OK
                   : cf_fail(err, CF_IO, "can't remove \"%s\": %s", name, strerror(errno));
    }
    if (stat(name, &info) == 0 && (uint64_t)info.st_size >= bytes &&
        (uint64_t)info.st_blocks * 512 >= bytes) {
        return CF_OK;
    }
    int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int error = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)bytes);
    if (fd >= 0) {
        close(fd);
    }
    if (error == 0) {
        return CF_OK; /* no sync: after a crash the next start makes it again */
    }
    unlink(name);
    return cf_fail(err, error == ENOSPC || error == EDQUOT ? CF_NO_SPACE : CF_IO,
                   "can't reserve room in \"%s\": %s", name, strerror(error));
}

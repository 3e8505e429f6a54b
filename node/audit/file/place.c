/* node/audit/file/place.c: where an audit file may be, and opening it there. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "node/audit/file/file_int.h"
#include "node/base/memory.h"

/* ---- which paths ---- */

/* No empty, "." or ".." segment: the text of the path says where it leads. */
static bool is_clean(const char *path)
{
    const char *at = path + (path[0] == '/');
    while (*at != '\0') {
        size_t size = strcspn(at, "/");
        if (size == 0 || (size == 1 && at[0] == '.') || (size == 2 && at[0] == '.' && at[1] == '.')) {
            return false;
        }
        at += size;
        at += *at == '/';
        if (*at == '\0' && at[-1] == '/') {
            return false; /* a directory */
        }
    }
    return at != path;
}

/* What of the path is below the directory; NULL when it is not. */
static const char *below(const char *path, const char *directory)
{
    size_t size = strlen(directory);
    while (size > 1 && directory[size - 1] == '/') {
        size--;
    }
    if (strncmp(path, directory, size) != 0) {
        return NULL;
    }
    if (size == 1 && directory[0] == '/') {
        return path + 1;
    }
    return path[size] == '/' ? path + size + 1 : NULL;
}

static cf_status read_mode(const struct audit_settings *settings, struct file_place *place,
                           struct cf_error *err)
{
    struct cf_slice text = audit_option(settings, "mode", "0600");
    unsigned mode = 0;
    bool is_good = text.size != 0 && text.size <= 6;
    for (size_t i = 0; i < text.size && is_good; i++) {
        is_good = text.data[i] >= '0' && text.data[i] <= '7';
        mode = 8 * mode + (unsigned)(text.data[i] - '0');
    }
    if (!is_good || mode > 0777) {
        return cf_fail(err, CF_INVALID, "option \"mode\" must be the octal mode of a file, such as "
                                        "\"0600\"");
    }
    place->keeps_mode = mode == 0;
    place->mode = mode == 0 ? 0600 : mode & 0666U; /* never executable */
    return CF_OK;
}

static void split_at_name(struct arena *arena, struct file_place *place)
{
    const char *slash = strrchr(place->path, '/');
    place->rest = slash != NULL ? slash + 1 : place->path;
    place->root = slash == NULL         ? "."
                  : slash == place->path ? "/"
                                         : arena_text(arena, cf_slice_of(place->path,
                                                                         (size_t)(slash -
                                                                                  place->path)));
}

cf_status file_place_of(const struct audit_settings *settings, struct cf_slice path,
                        struct arena *arena, struct file_place *ret, struct cf_error *err)
{
    *ret = (struct file_place){.path = arena_text(arena, path),
                               .is_trusted = settings->is_trusted};
    CF_TRY(read_mode(settings, ret, err));
    if (memchr(path.data, '\0', path.size) != NULL || !is_clean(ret->path)) {
        return cf_fail(err, CF_INVALID, "file_path must be the path of a file, without \".\" and "
                                        "\"..\"");
    }
    if (ret->is_trusted) {
        split_at_name(arena, ret);
        return CF_OK;
    }
    if (ret->path[0] != '/') {
        return cf_fail(err, CF_INVALID, "file_path must be absolute");
    }
    if (settings->forbidden != NULL && below(ret->path, settings->forbidden) != NULL) {
        return cf_fail(err, CF_INVALID, "file_path lies in the data directory");
    }
    for (const char *const *at = settings->directories; at != NULL && *at != NULL; at++) {
        ret->rest = below(ret->path, *at);
        if (ret->rest != NULL) {
            ret->root = arena_text(arena, cf_slice_str(*at));
            return CF_OK;
        }
    }
    return cf_fail(err, CF_INVALID,
                   "file_path lies outside of the directories for audit files: name its directory "
                   "in audit_directories of the configuration");
}

/* ---- opening ---- */

static cf_status failed(struct cf_error *err, const char *what)
{
    bool is_full = errno == ENOSPC || errno == EDQUOT;
    if (errno == ELOOP || errno == ENOTDIR) {
        return cf_fail(err, CF_DENIED, "%s: a link or a file is in the way", what);
    }
    return cf_fail(err, is_full ? CF_NO_SPACE : CF_IO, "%s: %s", what, strerror(errno));
}

/* The directory that holds the file; missing ones below the trusted one are made. */
static cf_status open_directory(const struct file_place *place, const char **ret_name, int *ret,
                                struct cf_error *err)
{
    const char *at = place->rest;
    int dir = open(place->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        return failed(err, "cannot open the directory");
    }
    for (const char *slash = strchr(at, '/'); slash != NULL; slash = strchr(at, '/')) {
        char name[256];
        size_t size = (size_t)(slash - at);
        if (size >= sizeof(name)) {
            (void)close(dir);
            return cf_fail(err, CF_INVALID, "file_path is too long");
        }
        memcpy(name, at, size);
        name[size] = '\0';
        if (mkdirat(dir, name, 0700) != 0 && errno != EEXIST) {
            cf_status status = failed(err, "cannot make the directory");
            (void)close(dir);
            return status;
        }
        int next = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        (void)close(dir);
        if (next < 0) {
            return failed(err, "cannot open the directory");
        }
        dir = next;
        at = slash + 1;
    }
    *ret_name = at;
    *ret = dir;
    return CF_OK;
}

/* A file of one name that nobody can run; the operator may also give a pipe or a device. */
static cf_status check_file(const struct file_place *place, int fd, struct cf_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return failed(err, "cannot look at the file");
    }
    if (!S_ISREG(info.st_mode)) {
        return place->is_trusted && (S_ISFIFO(info.st_mode) || S_ISCHR(info.st_mode))
                   ? CF_OK
                   : cf_fail(err, CF_DENIED, "it is no regular file");
    }
    if (info.st_nlink > 1 && !place->is_trusted) {
        return cf_fail(err, CF_DENIED, "the file has a second name");
    }
    if (place->keeps_mode && (info.st_mode & 0111) == 0) {
        return CF_OK;
    }
    mode_t wanted = place->keeps_mode ? info.st_mode & 0666 : place->mode;
    if ((info.st_mode & 07777) != wanted && fchmod(fd, wanted) != 0) {
        return failed(err, "cannot change the mode of the file");
    }
    return CF_OK;
}

cf_status file_place_open(const struct file_place *place, int *ret, struct cf_error *err)
{
    const char *name;
    int dir;
    CF_TRY(open_directory(place, &name, &dir, err));
    int fd = openat(dir, name,
                    O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                    place->mode);
    cf_status status = fd >= 0 ? CF_OK : failed(err, "cannot open the file");
    (void)close(dir);
    CF_TRY(status);
    status = check_file(place, fd, err);
    if (status != CF_OK) {
        (void)close(fd);
        return status;
    }
    *ret = fd;
    return CF_OK;
}

bool file_place_is_at(const struct file_place *place, int fd)
{
    struct stat open_one, at_path;
    return fstat(fd, &open_one) == 0 && lstat(place->path, &at_path) == 0 &&
           open_one.st_dev == at_path.st_dev && open_one.st_ino == at_path.st_ino;
}

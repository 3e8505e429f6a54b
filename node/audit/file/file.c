/* node/audit/file/file.c: records in a file, a line each, to standard output, or nowhere.
 *
 * Before each write the path is compared with what is open: a file that was removed or renamed (by a
 * rotation that sends no signal) is left, and made anew. A line that did not go in whole is taken back. */
#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <unistd.h>

#include "node/audit/file/file_int.h"
#include "node/audit/outlet.h"
#include "node/base/memory.h"

#define PIPE_TIMEOUT_MS 5000

struct file {
    struct arena *arena;
    enum { TO_FILE, TO_STDOUT, TO_NOWHERE } target;
    struct file_place place;
    int fd; /* -1: not open */
    bool is_torn; /* the last line is not whole and could not be taken back */
};

static cf_status file_make(const struct audit_settings *settings, void **ret, struct cf_error *err)
{
    struct cf_slice path = audit_option(settings, "file_path", "");
    path = path.size != 0 ? path : audit_option(settings, "path", "");
    if (path.size == 0) {
        return cf_fail(err, CF_INVALID, "file_path is required");
    }
    struct arena *arena = arena_new(1024);
    struct file *file = cf_new(struct file);
    *file = (struct file){.arena = arena, .fd = -1};
    const char *text = arena_text(arena, path);
    cf_status status = CF_OK;
    if (strcasecmp(text, "stdout") == 0 || strcmp(text, "/dev/stdout") == 0) {
        file->target = TO_STDOUT;
    } else if (strcasecmp(text, "discard") == 0 || strcmp(text, "/dev/null") == 0) {
        file->target = TO_NOWHERE;
    } else {
        status = file_place_of(settings, path, arena, &file->place, err);
    }
    if (status != CF_OK) {
        arena_free(arena);
        cf_free(file);
        return status;
    }
    *ret = file;
    return CF_OK;
}

static void file_reopen(void *device)
{
    struct file *file = device;
    if (file->fd >= 0) {
        (void)close(file->fd);
        file->fd = -1;
    }
}

static void file_free(void *device)
{
    struct file *file = device;
    file_reopen(file);
    arena_free(file->arena);
    cf_free(file);
}

/* What went in of lines that did not go in whole is cut off again. If it is not ours to cut (a pipe, or
 * somebody truncated the file meanwhile), the next write begins with a newline. */
static void take_back(struct file *file, size_t done)
{
    struct stat info;
    if (done == 0) {
        return;
    }
    bool is_cut = file->target == TO_FILE && fstat(file->fd, &info) == 0 &&
                  S_ISREG(info.st_mode) && info.st_size >= (off_t)done &&
                  ftruncate(file->fd, info.st_size - (off_t)done) == 0;
    file->is_torn = !is_cut;
}

static cf_status put(struct file *file, int fd, struct cf_slice lines, const _Atomic bool *stop,
                     struct cf_error *err)
{
    size_t done;
    if (file->is_torn) {
        CF_TRY(outlet_write(fd, CF_SLICE("\n"), PIPE_TIMEOUT_MS, stop, &done, err));
        file->is_torn = false;
    }
    cf_status status = outlet_write(fd, lines, PIPE_TIMEOUT_MS, stop, &done, err);
    if (status != CF_OK) {
        take_back(file, done);
    }
    return status;
}

static cf_status file_write(void *device, struct cf_slice lines, const _Atomic bool *stop,
                            struct cf_error *err)
{
    struct file *file = device;
    if (file->target == TO_NOWHERE) {
        return CF_OK;
    }
    if (file->target == TO_STDOUT) {
        return put(file, STDOUT_FILENO, lines, stop, err);
    }
    if (file->fd >= 0 && !file_place_is_at(&file->place, file->fd)) {
        file_reopen(file);
    }
    if (file->fd < 0) {
        file->is_torn = false;
        CF_TRY(file_place_open(&file->place, &file->fd, err));
    }
    cf_status status = put(file, file->fd, lines, stop, err);
    if (status != CF_OK && status != CF_NO_SPACE && status != CF_TIMEOUT) {
        file_reopen(file); /* the next record finds out whether it is another one by now */
    }
    return status;
}

static const char *const options[] = {"file_path", "path", "mode", NULL};

const struct audit_ops audit_file = {
    .type = "file",
    .options = options,
    .make = file_make,
    .write = file_write,
    .reopen = file_reopen,
    .free = file_free,
};

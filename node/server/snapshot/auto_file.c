/* node/server/snapshot/auto_file.c: files of scheduled snapshots, and how many are kept. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "node/server/snapshot/auto_int.h"

#define SUFFIX ".snap"
#define DIGITS 20 /* of a time in ns: names sort by age */
#define KEPT_MAX ((size_t)20000)

cf_status auto_folder(const struct node *node, struct cf_slice path_prefix, char ret[PATH_MAX],
                      struct cf_error *err)
{
    char root[PATH_MAX], wanted[PATH_MAX];
    const char *configured = node->config->snapshot_path;
    if (configured == NULL) {
        return cf_fail(err, CF_INVALID, "no folder for snapshots is configured: set \"snapshot_path\" "
                                        "in the storage block of every node");
    }
    if (path_prefix.size >= sizeof(wanted) || memchr(path_prefix.data, 0, path_prefix.size) != NULL) {
        return cf_fail(err, CF_INVALID, "path_prefix is too long");
    }
    bool is_absolute = path_prefix.size != 0 && path_prefix.data[0] == '/';
    int size = path_prefix.size == 0 ? snprintf(wanted, sizeof(wanted), "%s", configured)
               : is_absolute        ? snprintf(wanted, sizeof(wanted), "%.*s", CF_SHOW(path_prefix))
                                    : snprintf(wanted, sizeof(wanted), "%s/%.*s", configured,
                                               CF_SHOW(path_prefix));
    if (size < 0 || (size_t)size >= sizeof(wanted) || realpath(configured, root) == NULL ||
        realpath(wanted, ret) == NULL) {
        return cf_fail(err, CF_INVALID, "the folder for snapshots (snapshot_path, path_prefix) is not "
                                        "there or cannot be entered: make it on every node");
    }
    size_t length = strlen(root);
    bool is_below = strncmp(ret, root, length) == 0 &&
                    (ret[length] == 0 || ret[length] == '/' || strcmp(root, "/") == 0);
    return is_below ? CF_OK
                    : cf_fail(err, CF_INVALID, "path_prefix leads out of the configured "
                                               "\"snapshot_path\"");
}

struct file {
    int fd;
    uint64_t size;
    struct node *node;
};

static cf_status put(void *context, struct cf_slice bytes, struct cf_error *err)
{
    struct file *file = context;
    if (snapshots_stopping(file->node->snapshots)) {
        return cf_fail(err, CF_UNAVAILABLE, "this node is stopping");
    }
    while (bytes.size != 0) {
        ssize_t size = write(file->fd, bytes.data, bytes.size);
        if (size < 0 && errno != EINTR) {
            return cf_fail(err, errno == ENOSPC || errno == EDQUOT ? CF_NO_SPACE : CF_IO,
                           "cannot write the file: %s", strerror(errno));
        }
        size = size < 0 ? 0 : size;
        file->size += (uint64_t)size;
        bytes = cf_slice_from(bytes, (size_t)size);
    }
    return CF_OK;
}

/* Only names that this makes are ever removed. */
static bool is_ours(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(name, prefix, length) == 0 && name[length] == '-' &&
           strspn(name + length + 1, "0123456789") == DIGITS &&
           strcmp(name + length + 1 + DIGITS, SUFFIX) == 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void remove_oldest(int folder, const char *prefix, size_t retain)
{
    char **names = cf_array(KEPT_MAX, sizeof(*names));
    size_t count = 0;
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy >= 0 ? fdopendir(copy) : NULL;
    const struct dirent *entry;
    while (list != NULL && count < KEPT_MAX && (entry = readdir(list)) != NULL) {
        if (is_ours(entry->d_name, prefix)) {
            names[count++] = cf_strdup(entry->d_name);
        }
    }
    qsort(names, count, sizeof(*names), by_name);
    for (size_t i = 0; i < count; i++) {
        if (i + retain < count) {
            (void)unlinkat(folder, names[i], 0);
        }
        cf_free(names[i]);
    }
    cf_free(names);
    if (list != NULL) {
        (void)closedir(list);
    }
}

static cf_status write_file(struct node *node, int folder, const char *temporary,
                            struct auto_result *ret, struct cf_error *err)
{
    struct file file = {.node = node};
    struct gzip_sink sink = {put, &file};
    struct view *view = snapshot_fresh_view(node, err);
    if (view == NULL) {
        return err->status;
    }
    file.fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file.fd < 0) {
        view_unref(view);
        return cf_fail(err, CF_IO, "cannot make the file: %s", strerror(errno));
    }
    cf_status status = snapshot_write(node, view, &sink, &ret->info, err);
    view_unref(view);
    if (status == CF_OK && fsync(file.fd) != 0) {
        status = cf_fail(err, CF_IO, "cannot sync the file: %s", strerror(errno));
    }
    (void)close(file.fd);
    ret->size = file.size;
    return status;
}

static cf_status take_into(struct node *node, const struct auto_order *order, int folder,
                           const char *path, struct auto_result *ret, struct cf_error *err)
{
    char name[256], temporary[272];
    (void)snprintf(name, sizeof(name), "%s-%0*lld" SUFFIX, order->file_prefix, DIGITS,
                   (long long)cf_wall_ns(cf_host_clock()));
    (void)snprintf(temporary, sizeof(temporary), ".%s.part", name);
    cf_status status = write_file(node, folder, temporary, ret, err);
    if (status == CF_OK && renameat(folder, temporary, folder, name) != 0) {
        status = cf_fail(err, CF_IO, "cannot rename the file: %s", strerror(errno));
    }
    if (status != CF_OK) {
        (void)unlinkat(folder, temporary, 0);
        return status;
    }
    if (fsync(folder) != 0) {
        return cf_fail(err, CF_IO, "cannot sync the folder: %s", strerror(errno));
    }
    int size = snprintf(ret->path, sizeof(ret->path), "%s/%s", path, name);
    cf_ignore(size < 0, "cut when it is too long: shown only");
    remove_oldest(folder, order->file_prefix, order->retain);
    return CF_OK;
}

cf_status auto_take(struct node *node, const struct auto_order *order, struct auto_result *ret,
                    struct cf_error *err)
{
    char path[PATH_MAX];
    *ret = (struct auto_result){0};
    CF_TRY(auto_folder(node, order->path_prefix, path, err));
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        return cf_fail(err, CF_IO, "cannot open the folder: %s", strerror(errno));
    }
    cf_status status = take_into(node, order, folder, path, ret, err);
    (void)close(folder);
    return status;
}

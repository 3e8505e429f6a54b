/* node/server/config/config.c: files and folders of configuration. */
#include "node/server/config/config_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/memory.h"

#define FILE_SIZE_MAX ((off_t)1 << 20)
#define DEFAULT_TTL_S ((int64_t)768 * 3600)

static cf_status read_file(const char *path, struct cf_buf *to, struct cf_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        int reason = errno;
        if (fd >= 0) {
            (void)close(fd);
        }
        return cf_fail(err, CF_INVALID, "cannot read configuration \"%s\": %s", path,
                       strerror(reason));
    }
    if (!S_ISREG(info.st_mode) || info.st_size > FILE_SIZE_MAX) {
        (void)close(fd);
        return cf_fail(err, CF_INVALID, "configuration \"%s\" is no file of at most 1 MiB", path);
    }
    ssize_t got = 1;
    while (got > 0 && cf_buf_reserve(to, 4096)) {
        got = read(fd, to->data + to->size, 4096);
        to->size += got > 0 ? (size_t)got : 0;
    }
    (void)close(fd);
    return got == 0 ? CF_OK
                    : cf_fail(err, CF_INVALID, "cannot read configuration \"%s\"", path);
}

static cf_status load_file(struct config *config, const char *path, struct cf_error *err)
{
    CF_BUF(text) = {.max = (size_t)2 << 20};
    const struct hcl_value *top;
    struct reading reading = {config, path, err};
    CF_TRY(read_file(path, &text, err));
    cf_status status = hcl_parse(config->arena, cf_buf_slice(&text), &top, err);
    if (status != CF_OK) {
        return cf_error_prefix(err, status, "%s", path);
    }
    return config_read_top(&reading, top);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static cf_status load_folder(struct config *config, const char *path, struct cf_error *err)
{
    const char *names[256];
    size_t count = 0;
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return cf_fail(err, CF_INVALID, "cannot read folder \"%s\": %s", path, strerror(errno));
    }
    for (struct dirent *entry = readdir(folder); entry != NULL && count < CF_LENGTH(names);
         entry = readdir(folder)) {
        struct cf_slice name = cf_slice_str(entry->d_name);
        if (cf_slice_ends(name, CF_SLICE(".hcl")) || cf_slice_ends(name, CF_SLICE(".json"))) {
            names[count++] = arena_printf(config->arena, "%s/%s", path, entry->d_name);
        }
    }
    (void)closedir(folder);
    qsort(names, count, sizeof(*names), by_name);
    for (size_t i = 0; i < count; i++) {
        CF_TRY(load_file(config, names[i], err));
    }
    return count != 0 ? CF_OK
                      : cf_fail(err, CF_INVALID, "folder \"%s\" holds no .hcl or .json file",
                                path);
}

struct config *config_new(void)
{
    struct config *config = cf_new(struct config);
    config->arena = arena_new(8192);
    config->log_level = CF_LOG_INFO;
    config->default_lease_ttl_s = DEFAULT_TTL_S;
    config->max_lease_ttl_s = DEFAULT_TTL_S;
    config->storage = (enum storage_type)-1;
    return config;
}

cf_status config_load(const char *const *paths, size_t count, struct config **ret,
                      struct cf_error *err)
{
    CF_OWNED(config) config = config_new();
    for (size_t i = 0; i < count; i++) {
        struct stat info;
        bool is_folder = stat(paths[i], &info) == 0 && S_ISDIR(info.st_mode);
        CF_TRY(is_folder ? load_folder(config, paths[i], err) : load_file(config, paths[i], err));
    }
    if ((int)config->storage < 0) {
        return cf_fail(err, CF_INVALID, "the configuration has no storage block: add storage "
                                        "\"raft\" { path = \"...\" }");
    }
    if (config->listener_count == 0) {
        return cf_fail(err, CF_INVALID, "the configuration has no listener block: add listener "
                                        "\"tcp\" { address = \"...\" }");
    }
    config_derive(config);
    config_derive_audit(config, paths, count);
    config->paths = arena_alloc(config->arena, count * sizeof(*config->paths));
    for (size_t i = 0; i < count; i++) {
        config->paths[config->path_count++] =
            arena_text(config->arena, cf_slice_str(paths[i]));
    }
    *ret = config_take(&config);
    return CF_OK;
}

void config_free(struct config *config)
{
    if (config != NULL) {
        arena_free(config->arena);
        cf_free(config);
    }
}

const char *storage_type_name(enum storage_type type)
{
    static const char *const names[] = {"raft", "file", "inmem"};
    return names[type];
}

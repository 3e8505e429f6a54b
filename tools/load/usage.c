/* tools/load/usage.c: CPU, memory and counters of servers. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/base/arena.h"
#include "node/base/memory.h"
#include "node/format/json.h"
#include "tools/load/usage.h"

#define ASK_TIMEOUT_MS 5000

/* First line of a small file; false when it cannot be read. */
static bool read_line(const char *path, char *to, size_t size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    bool fine = fgets(to, (int)size, file) != NULL;
    (void)fclose(file);
    return fine;
}

static bool cpu_of_tasks(pid_t pid, uint64_t *ret)
{
    char path[64];
    char line[128];
    uint64_t total = 0;
    (void)snprintf(path, sizeof(path), "/proc/%ld/task", (long)pid);
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return false;
    }
    unsigned found = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char file[400];
        (void)snprintf(file, sizeof(file), "%s/%s/schedstat", path, entry->d_name);
        if (entry->d_name[0] != '.' && read_line(file, line, sizeof(line))) {
            total += strtoull(line, NULL, 10);
            found++;
        }
    }
    (void)closedir(folder);
    *ret = total;
    return found > 0 && total > 0;
}

static bool cpu_of_stat(pid_t pid, uint64_t *ret)
{
    char path[64];
    char line[1024];
    (void)snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    if (!read_line(path, line, sizeof(line))) {
        return false;
    }
    /* The name may hold blanks and brackets; the fields follow its last bracket. */
    const char *at = strrchr(line, ')');
    uint64_t fields[16] = {0};
    size_t count = 0;
    if (at == NULL || strlen(at) < 4) {
        return false;
    }
    at += 4; /* ") S " */
    while (count < CF_LENGTH(fields) && *at != '\0') {
        char *end = NULL;
        fields[count++] = strtoull(at, &end, 10);
        at = end != at ? end : at + 1;
    }
    uint64_t ticks = fields[10] + fields[11]; /* utime, stime: the 14th and 15th */
    *ret = ticks * 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    return true;
}

bool usage_cpu_ns(pid_t pid, uint64_t *ret)
{
    return cpu_of_tasks(pid, ret) || cpu_of_stat(pid, ret);
}

bool usage_memory(pid_t pid, uint64_t *ret)
{
    char path[64];
    char line[128];
    unsigned long long size = 0;
    unsigned long long resident = 0;
    (void)snprintf(path, sizeof(path), "/proc/%ld/statm", (long)pid);
    if (!read_line(path, line, sizeof(line))) {
        return false;
    }
    char *end = NULL;
    size = strtoull(line, &end, 10);
    resident = strtoull(end, NULL, 10);
    *ret = resident * (uint64_t)sysconf(_SC_PAGESIZE);
    return size > 0;
}

/* Dots and underscores count as the same. */
static bool name_is(struct cf_slice name, const char *want)
{
    if (name.size != strlen(want)) {
        return false;
    }
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i] == '.' ? '_' : name.data[i];
        if (c != (uint8_t)want[i]) {
            return false;
        }
    }
    return true;
}

static void take(const struct json *list, const char *field, struct usage_counters *ret)
{
    for (size_t i = 0; json_is(list, JSON_ARRAY) && i < list->count; i++) {
        struct cf_slice name = json_get_string(list->items[i], "Name");
        struct cf_slice number = CF_SLICE_EMPTY;
        char text[64] = {0};
        if (!json_number(json_get(list->items[i], field), &number) || number.size >= sizeof(text)) {
            continue;
        }
        memcpy(text, number.data, number.size);
        if (name_is(name, "coffer_storage_syncs")) {
            ret->syncs += strtod(text, NULL);
            ret->has_syncs = true;
        } else if (name_is(name, "coffer_log_entries")) {
            ret->entries += strtod(text, NULL);
            ret->has_entries = true;
        }
    }
}

void usage_parse_metrics(struct cf_slice body, struct usage_counters *ret)
{
    CF_OWNED(arena) arena = arena_new(16384);
    struct json *answer = NULL;
    *ret = (struct usage_counters){0};
    if (json_parse(arena, body, NULL, &answer, NULL) != CF_OK) {
        return;
    }
    take(json_get(answer, "Counters"), "Count", ret);
    take(json_get(answer, "Gauges"), "Value", ret);
}

void usage_ask(const struct conn_target *target, const char *token, struct usage_counters *ret)
{
    CF_OWNED(conn) conn = load_conn_new(target);
    *ret = (struct usage_counters){0};
    conn_write_request(conn_request(conn), target, "GET", CF_SLICE("/v1/sys/metrics"),
                       cf_slice_str(token), CF_SLICE_EMPTY, CF_SLICE_EMPTY);
    if (conn_call(conn, ASK_TIMEOUT_MS, NULL) == CF_OK && conn_status(conn) == 200) {
        usage_parse_metrics(conn_body(conn), ret);
    }
}

/* node/base/log.c: one line a record, to standard error, text or JSON. */
#include "node/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* Bytewise order. "server" is what others follow. */
static const char *const components[] = {"audit", "cluster",     "config", "core",    "http",
                                         "raft",  "replication", "server", "snapshot"};
#define COMPONENTS (sizeof(components) / sizeof(components[0]))
#define OTHERS 7

static _Atomic int lowest_level = CF_LOG_INFO; /* of all: most lines are told apart by it alone */
static _Atomic int levels[COMPONENTS] = {[0 ... COMPONENTS - 1] = CF_LOG_INFO};
static _Atomic bool as_json;

static const char *const level_names[] = {
    [CF_LOG_TRACE] = "trace", [CF_LOG_DEBUG] = "debug", [CF_LOG_INFO] = "info",
    [CF_LOG_WARN] = "warn",   [CF_LOG_ERROR] = "error",
};

static size_t find_component(struct cf_slice name)
{
    size_t at = 0;
    while (at < COMPONENTS && !cf_slice_is(name, components[at])) {
        at++;
    }
    return at;
}

const char *cf_log_component(size_t at)
{
    return at < COMPONENTS ? components[at] : NULL;
}

const char *cf_log_level_name(enum cf_log_level level)
{
    return level_names[level];
}

static void find_lowest(void)
{
    int lowest = CF_LOG_ERROR;
    for (size_t i = 0; i < COMPONENTS; i++) {
        int level = atomic_load(&levels[i]);
        lowest = level < lowest ? level : lowest;
    }
    atomic_store(&lowest_level, lowest);
}

void cf_log_set_level(enum cf_log_level level)
{
    for (size_t i = 0; i < COMPONENTS; i++) {
        atomic_store(&levels[i], (int)level);
    }
    find_lowest();
}

bool cf_log_set_component(struct cf_slice component, enum cf_log_level level)
{
    size_t at = find_component(component);
    if (at == COMPONENTS) {
        return false;
    }
    atomic_store(&levels[at], (int)level);
    find_lowest();
    return true;
}

bool cf_log_component_level(struct cf_slice component, enum cf_log_level *ret)
{
    size_t at = find_component(component);
    if (at == COMPONENTS) {
        return false;
    }
    *ret = (enum cf_log_level)atomic_load(&levels[at]);
    return true;
}

void cf_log_set_json(bool json)
{
    atomic_store(&as_json, json);
}

bool cf_log_enabled(enum cf_log_level level)
{
    return (int)level >= atomic_load_explicit(&lowest_level, memory_order_relaxed);
}

bool cf_log_parse_level(struct cf_slice name, enum cf_log_level *ret)
{
    static const struct {
        const char *name;
        enum cf_log_level level;
    } names[] = {{"trace", CF_LOG_TRACE}, {"debug", CF_LOG_DEBUG},  {"info", CF_LOG_INFO},
                 {"notice", CF_LOG_INFO}, {"warn", CF_LOG_WARN},    {"warning", CF_LOG_WARN},
                 {"error", CF_LOG_ERROR}, {"err", CF_LOG_ERROR}};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (cf_slice_is(name, names[i].name)) {
            *ret = names[i].level;
            return true;
        }
    }
    return false;
}

/* Quotes, backslashes and control bytes would break a line or a JSON string. */
static void add_escaped(struct cf_buf *line, const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte == '\n') {
            cf_buf_add_str(line, "\\n");
        } else if (byte < 0x20 || byte == 0x7f) {
            cf_buf_addf(line, "\\u%04x", byte);
        } else if ((byte == '"' || byte == '\\') && atomic_load(&as_json)) {
            cf_buf_add_byte(line, '\\');
            cf_buf_add_byte(line, byte);
        } else {
            cf_buf_add_byte(line, byte);
        }
    }
}

void cf_log_write(enum cf_log_level level, const char *component, const char *fmt, ...)
{
    char text[2048];
    va_list args;
    size_t at = find_component(cf_slice_str(component));
    if ((int)level < atomic_load_explicit(&levels[at < COMPONENTS ? at : OTHERS],
                                          memory_order_relaxed)) {
        return;
    }
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    struct tm utc;
    (void)gmtime_r(&now.tv_sec, &utc);
    char stamp[32];
    (void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
    CF_BUF(line) = {.max = 16384};
    if (atomic_load(&as_json)) {
        cf_buf_addf(&line, "{\"@timestamp\":\"%s.%03ldZ\",\"@level\":\"%s\",\"@module\":\"%s\","
                           "\"@message\":\"",
                    stamp, now.tv_nsec / 1000000, level_names[level], component);
        add_escaped(&line, text);
        cf_buf_add_str(&line, "\"}\n");
    } else {
        cf_buf_addf(&line, "%s.%03ldZ [%s] %s: ", stamp, now.tv_nsec / 1000000, level_names[level],
                    component);
        add_escaped(&line, text);
        cf_buf_add_byte(&line, '\n');
    }
    cf_ignore(write(STDERR_FILENO, line.data, line.size) < 0, "there is nowhere left to say it");
}

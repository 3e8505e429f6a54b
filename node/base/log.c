/* node/base/log.c: one line a record, to standard error, text or JSON. */
#include "node/base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <limits.h>
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

static pthread_mutex_t tap_lock = PTHREAD_MUTEX_INITIALIZER;
static struct cf_log_tap *taps;          /* under tap_lock */
static _Atomic int tap_level = INT_MAX; /* the lowest that a tap wants */
static __thread bool is_in_tap;         /* a line of a tap's own doing goes to none */

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
    int tapped = atomic_load(&tap_level);
    atomic_store(&lowest_level, tapped < lowest ? tapped : lowest);
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
static void add_escaped(struct cf_buf *line, const char *text, bool json)
{
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte == '\n') {
            cf_buf_add_str(line, "\\n");
        } else if (byte < 0x20 || byte == 0x7f) {
            cf_buf_addf(line, "\\u%04x", byte);
        } else if ((byte == '"' || byte == '\\') && json) {
            cf_buf_add_byte(line, '\\');
            cf_buf_add_byte(line, byte);
        } else {
            cf_buf_add_byte(line, byte);
        }
    }
}

static void compose(struct cf_buf *line, bool json, enum cf_log_level level, const char *component,
                    const struct timespec *now, const char *text)
{
    struct tm utc;
    char stamp[32];
    (void)gmtime_r(&now->tv_sec, &utc);
    (void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
    if (json) {
        cf_buf_addf(line, "{\"@timestamp\":\"%s.%03ldZ\",\"@level\":\"%s\",\"@module\":\"%s\","
                          "\"@message\":\"",
                    stamp, now->tv_nsec / 1000000, level_names[level], component);
        add_escaped(line, text, true);
        cf_buf_add_str(line, "\"}\n");
    } else {
        cf_buf_addf(line, "%s.%03ldZ [%s] %s: ", stamp, now->tv_nsec / 1000000, level_names[level],
                    component);
        add_escaped(line, text, false);
        cf_buf_add_byte(line, '\n');
    }
}

static void tell_taps(enum cf_log_level level, const char *component, const struct timespec *now,
                      const char *text)
{
    if (is_in_tap) {
        return;
    }
    is_in_tap = true;
    pthread_mutex_lock(&tap_lock);
    for (struct cf_log_tap *tap = taps; tap != NULL; tap = tap->next) {
        if (level >= tap->level) {
            CF_BUF(line) = {.max = 16384};
            compose(&line, tap->as_json, level, component, now, text);
            tap->line(tap, cf_buf_slice(&line));
        }
    }
    pthread_mutex_unlock(&tap_lock);
    is_in_tap = false;
}

/* Under tap_lock. */
static void find_tap_level(void)
{
    int lowest = INT_MAX;
    for (const struct cf_log_tap *tap = taps; tap != NULL; tap = tap->next) {
        lowest = (int)tap->level < lowest ? (int)tap->level : lowest;
    }
    atomic_store(&tap_level, lowest);
    find_lowest();
}

void cf_log_attach(struct cf_log_tap *tap)
{
    pthread_mutex_lock(&tap_lock);
    tap->next = taps;
    taps = tap;
    find_tap_level();
    pthread_mutex_unlock(&tap_lock);
}

void cf_log_detach(struct cf_log_tap *tap)
{
    pthread_mutex_lock(&tap_lock);
    for (struct cf_log_tap **at = &taps; *at != NULL; at = &(*at)->next) {
        if (*at == tap) {
            *at = tap->next;
            break;
        }
    }
    find_tap_level();
    pthread_mutex_unlock(&tap_lock);
}

void cf_log_write(enum cf_log_level level, const char *component, const char *fmt, ...)
{
    char text[2048];
    va_list args;
    size_t at = find_component(cf_slice_str(component));
    bool is_own = (int)level >= atomic_load_explicit(&levels[at < COMPONENTS ? at : OTHERS],
                                                     memory_order_relaxed);
    bool is_tapped = (int)level >= atomic_load_explicit(&tap_level, memory_order_relaxed);
    if (!is_own && !is_tapped) {
        return;
    }
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (is_own) {
        CF_BUF(line) = {.max = 16384};
        compose(&line, atomic_load(&as_json), level, component, &now, text);
        cf_ignore(write(STDERR_FILENO, line.data, line.size) < 0, "there is nowhere left to say it");
    }
    if (is_tapped) {
        tell_taps(level, component, &now, text);
    }
}

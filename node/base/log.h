/* node/base/log.h
 *
 * The server's log: one line a record on standard error, `time level component: message key=value`.
 * Only owners of requests, connections and threads log; libraries return errors. Never a secret.
 * Thread: any (one write(2) a line).
 */
#ifndef COFFER_BASE_LOG_H
#define COFFER_BASE_LOG_H

#include <stdbool.h>

#include "node/base/slice.h"
#include "node/base/status.h"

enum cf_log_level { CF_LOG_TRACE, CF_LOG_DEBUG, CF_LOG_INFO, CF_LOG_WARN, CF_LOG_ERROR };

/* Of all components. */
void cf_log_set_level(enum cf_log_level level);
/* Components have levels of their own; those that are in no list here follow "server". The name at
 * a position, NULL behind the last; by name. */
const char *cf_log_component(size_t at);
/* False: there is no such component. */
bool cf_log_set_component(struct cf_slice component, enum cf_log_level level);
bool cf_log_component_level(struct cf_slice component, enum cf_log_level *ret);
const char *cf_log_level_name(enum cf_log_level level);
void cf_log_set_json(bool json); /* log_format = "json" */
/* trace debug info warn (warning, notice) error (err); false when unknown. */
bool cf_log_parse_level(struct cf_slice name, enum cf_log_level *ret);
/* Whether any component writes it. */
bool cf_log_enabled(enum cf_log_level level);
void cf_log_write(enum cf_log_level level, const char *component, const char *fmt, ...)
    CF_PRINTF(3, 4);

/* Somebody who follows the log: gets each line of at least its level, whatever the components' own levels are, in
 * its format. `line` runs on the thread that logs, one at a time, and must neither wait nor log. */
struct cf_log_tap {
    enum cf_log_level level;
    bool as_json;
    void (*line)(struct cf_log_tap *tap, struct cf_slice line); /* with its line end; borrowed */
    struct cf_log_tap *next; /* the log's */
};
void cf_log_attach(struct cf_log_tap *tap);
/* After it `line` does not run any more. A tap that is not attached is fine. */
void cf_log_detach(struct cf_log_tap *tap);

#define cf_log(level, component, ...)                                                              \
    do {                                                                                           \
        if (cf_log_enabled(level)) {                                                               \
            cf_log_write((level), (component), __VA_ARGS__);                                       \
        }                                                                                          \
    } while (0)
#define cf_debug(component, ...) cf_log(CF_LOG_DEBUG, component, __VA_ARGS__)
#define cf_info(component, ...) cf_log(CF_LOG_INFO, component, __VA_ARGS__)
#define cf_warn(component, ...) cf_log(CF_LOG_WARN, component, __VA_ARGS__)
#define cf_err(component, ...) cf_log(CF_LOG_ERROR, component, __VA_ARGS__)

#endif

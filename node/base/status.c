/* node/base/status.c: the status table and the functions that fill a cf_error. */
#include "node/base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int http;
    const char *text;
} statuses[] = {
#define CF_STATUS_ROW(name, http, text) [name] = {#name, http, text},
    CF_STATUS_LIST(CF_STATUS_ROW)
#undef CF_STATUS_ROW
};

static cf_status known(cf_status status)
{
    return (unsigned)status < (unsigned)CF_STATUS_COUNT ? status : CF_INTERNAL;
}

const char *cf_status_name(cf_status status)
{
    return statuses[known(status)].name;
}

const char *cf_status_text(cf_status status)
{
    return statuses[known(status)].text;
}

int cf_status_http(cf_status status)
{
    return statuses[known(status)].http;
}

cf_status cf_error_set(struct cf_error *err, cf_status status, const char *where, const char *fmt,
                       ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, fmt);
        err->status = status;
        err->where = where;
        err->detail[0] = '\0';
        (void)vsnprintf(err->message, sizeof(err->message), fmt, args);
        va_end(args);
    }
    return status;
}

void cf_error_detail(struct cf_error *err, const char *fmt, ...)
{
    if (err == NULL) {
        return;
    }
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(err->detail, sizeof(err->detail), fmt, args);
    va_end(args);
}

cf_status cf_error_prefix(struct cf_error *err, cf_status status, const char *fmt, ...)
{
    if (err == NULL) {
        return status;
    }
    char old[sizeof(err->message)];
    memcpy(old, err->message, sizeof(old));
    va_list args;
    va_start(args, fmt);
    int used = vsnprintf(err->message, sizeof(err->message), fmt, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof(err->message)) {
        (void)snprintf(err->message + used, sizeof(err->message) - (size_t)used, ": %s", old);
    }
    return err->status;
}

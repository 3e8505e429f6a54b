/* node/audit/syslog/syslog.c: records to the system's log, over its local socket (RFC 3164, as syslog(3)
 * sends them; written here because syslog(3) cannot say that a record was not taken). */
#include <stdio.h>
#include <strings.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "node/audit/outlet.h"
#include "node/base/memory.h"
#include "node/core/audit.h"

#define TIMEOUT_MS 2000
#define TAG_MAX 32

#ifndef SYSLOG_SOCKETS /* a test has a log of its own */
#define SYSLOG_SOCKETS "/dev/log", "/var/run/syslog", "/var/run/log"
#endif
static const char *const sockets[] = {SYSLOG_SOCKETS};

struct syslog_device {
    int priority;
    char tag[TAG_MAX + 1];
    int fd;
    bool is_stream; /* records end in a NUL then */
};

static const struct {
    const char *name;
    int value;
} facilities[] = {
    {"KERN", LOG_KERN},     {"USER", LOG_USER},     {"MAIL", LOG_MAIL},     {"DAEMON", LOG_DAEMON},
    {"AUTH", LOG_AUTH},     {"SYSLOG", LOG_SYSLOG}, {"LPR", LOG_LPR},       {"NEWS", LOG_NEWS},
    {"UUCP", LOG_UUCP},     {"CRON", LOG_CRON},     {"AUTHPRIV", LOG_AUTHPRIV}, {"FTP", LOG_FTP},
    {"LOCAL0", LOG_LOCAL0}, {"LOCAL1", LOG_LOCAL1}, {"LOCAL2", LOG_LOCAL2}, {"LOCAL3", LOG_LOCAL3},
    {"LOCAL4", LOG_LOCAL4}, {"LOCAL5", LOG_LOCAL5}, {"LOCAL6", LOG_LOCAL6}, {"LOCAL7", LOG_LOCAL7},
};

static cf_status syslog_make(const struct audit_settings *settings, void **ret,
                             struct cf_error *err)
{
    struct cf_slice facility = audit_option(settings, "facility", "AUTH");
    struct cf_slice tag = audit_option(settings, "tag", "coffer");
    size_t at = 0;
    while (at < CF_LENGTH(facilities) &&
           (facility.size != strlen(facilities[at].name) ||
            strncasecmp((const char *)facility.data, facilities[at].name, facility.size) != 0)) {
        at++;
    }
    if (at == CF_LENGTH(facilities)) {
        return cf_fail(err, CF_INVALID, "unknown syslog facility; use AUTH, DAEMON, LOCAL0 ...");
    }
    bool is_good = tag.size != 0 && tag.size <= TAG_MAX;
    for (size_t i = 0; i < tag.size && is_good; i++) {
        is_good = tag.data[i] > ' ' && tag.data[i] < 0x7f && tag.data[i] != ':' && tag.data[i] != '[';
    }
    if (!is_good) {
        return cf_fail(err, CF_INVALID, "option \"tag\" must be 1 to %d visible characters", TAG_MAX);
    }
    struct syslog_device *device = cf_new(struct syslog_device);
    device->priority = facilities[at].value | LOG_INFO;
    memcpy(device->tag, tag.data, tag.size);
    device->fd = -1;
    *ret = device;
    return CF_OK;
}

static void syslog_reopen(void *state)
{
    struct syslog_device *device = state;
    if (device->fd >= 0) {
        (void)close(device->fd);
        device->fd = -1;
    }
}

static void syslog_free(void *state)
{
    syslog_reopen(state);
    cf_free(state);
}

static cf_status connect_log(struct syslog_device *device, const _Atomic bool *stop,
                             struct cf_error *err)
{
    cf_status status = CF_IO;
    for (size_t i = 0; i < CF_LENGTH(sockets) && status != CF_OK; i++) {
        device->is_stream = false;
        status = outlet_connect(OUTLET_UNIXGRAM, sockets[i], TIMEOUT_MS, stop, &device->fd, err);
        if (status != CF_OK) {
            device->is_stream = true;
            status = outlet_connect(OUTLET_UNIX, sockets[i], TIMEOUT_MS, stop, &device->fd, err);
        }
    }
    return status;
}

static cf_status send_line(struct syslog_device *device, struct cf_slice line,
                           const _Atomic bool *stop, struct cf_error *err)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm now;
    time_t seconds = time(NULL);
    size_t done;
    CF_BUF(text) = {.secret = true};
    (void)localtime_r(&seconds, &now);
    cf_buf_addf(&text, "<%d>%.3s %2d %02d:%02d:%02d %s[%ld]: ", device->priority,
                months + 3 * (now.tm_mon % 12), now.tm_mday, now.tm_hour, now.tm_min, now.tm_sec,
                device->tag, (long)getpid());
    cf_buf_add_slice(&text, line);
    cf_buf_add(&text, "", device->is_stream ? 1 : 0);
    return outlet_write(device->fd, cf_buf_slice(&text), TIMEOUT_MS, stop, &done, err);
}

static cf_status send_lines(struct syslog_device *device, struct cf_slice *lines,
                            const _Atomic bool *stop, struct cf_error *err)
{
    if (device->fd < 0) {
        CF_TRY(connect_log(device, stop, err));
    }
    while (lines->size != 0) {
        size_t size = cf_slice_find(*lines, '\n');
        CF_TRY(send_line(device, cf_slice_first(*lines, size), stop, err));
        *lines = cf_slice_from(*lines, size + 1);
    }
    return CF_OK;
}

static cf_status syslog_write(void *state, struct cf_slice lines, const _Atomic bool *stop,
                              struct cf_error *err)
{
    struct syslog_device *device = state;
    bool was_connected = device->fd >= 0;
    cf_status status = send_lines(device, &lines, stop, err);
    if (status == CF_IO && was_connected) { /* the log was started anew */
        syslog_reopen(device);
        status = send_lines(device, &lines, stop, err);
    }
    if (status != CF_OK) {
        syslog_reopen(device);
    }
    return status;
}

static const char *const options[] = {"facility", "tag", NULL};

const struct audit_ops audit_syslog = {
    .type = "syslog",
    .options = options,
    .make = syslog_make,
    .write = syslog_write,
    .reopen = syslog_reopen,
    .free = syslog_free,
};

/* node/server/monitor.c: sys/monitor. Lines come from any thread into a bounded buffer of each follower; the
 * reactor of its connection takes them out and sends them. Who reads too slowly is told how many lines it missed:
 * nobody who logs ever waits. */
#include "node/server/monitor.h"

#include <pthread.h>

#include "node/base/list.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/http/api.h"

#define FOLLOWERS_MAX 16
#define WAITING_MAX ((size_t)256 * 1024) /* bytes that wait for one of them */

struct monitors {
    pthread_mutex_t lock; /* outer; a monitor's own is taken below it */
    struct cf_list list;
    unsigned count;
    bool is_over;
};

struct monitor {
    struct monitors *all;
    struct cf_list link;
    struct http_exchange *x; /* from the beginning of the stream on */
    struct cf_log_tap tap;
    pthread_mutex_t lock; /* of what follows */
    struct cf_buf waiting;
    unsigned long long missed;
    bool is_posted; /* flush() is on its way to the reactor */
    bool is_full;   /* the client has to read first: on_room */
    bool must_end;
};

struct monitors *monitors_new(void)
{
    struct monitors *all = cf_new(struct monitors);
    pthread_mutex_init(&all->lock, NULL);
    cf_list_init(&all->list);
    return all;
}

void monitors_free(struct monitors *all)
{
    if (all != NULL) {
        pthread_mutex_destroy(&all->lock);
        cf_free(all);
    }
}

static void monitor_free(struct monitor *monitor)
{
    pthread_mutex_lock(&monitor->all->lock);
    monitor->all->count--;
    pthread_mutex_unlock(&monitor->all->lock);
    cf_buf_done(&monitor->waiting);
    pthread_mutex_destroy(&monitor->lock);
    cf_free(monitor);
}

/* ---- on the reactor ---- */

/* Nobody posts any more once it is in no list; what was posted before comes back here. */
static void end(struct monitor *monitor)
{
    cf_log_detach(&monitor->tap);
    pthread_mutex_lock(&monitor->all->lock);
    cf_list_remove(&monitor->link);
    pthread_mutex_unlock(&monitor->all->lock);
    pthread_mutex_lock(&monitor->lock);
    monitor->must_end = true;
    bool is_posted = monitor->is_posted;
    pthread_mutex_unlock(&monitor->lock);
    if (!is_posted) {
        http_stream_end(monitor->x, true);
        monitor_free(monitor);
    }
}

static void flush(struct http_exchange *x, void *arg)
{
    struct monitor *monitor = arg;
    CF_BUF(lines) = {0};
    pthread_mutex_lock(&monitor->lock);
    lines = monitor->waiting;
    monitor->waiting = (struct cf_buf){.max = WAITING_MAX};
    monitor->is_posted = false;
    unsigned long long missed = monitor->missed;
    monitor->missed = 0;
    bool must_end = monitor->must_end;
    pthread_mutex_unlock(&monitor->lock);
    lines.max = 0;
    if (missed != 0) {
        cf_buf_addf(&lines, monitor->tap.as_json
                                ? "{\"@level\":\"warn\",\"@module\":\"server\",\"@message\":\"%llu lines are "
                                  "missing here: they came faster than they were read\"}\n"
                                : "[warn] server: %llu lines are missing here: they came faster than they were "
                                  "read\n",
                    missed);
    }
    bool has_room = lines.size == 0 || http_stream_write(x, cf_buf_slice(&lines));
    if (must_end || http_is_gone(x)) {
        end(monitor);
        return;
    }
    if (!has_room) {
        pthread_mutex_lock(&monitor->lock);
        monitor->is_full = true;
        pthread_mutex_unlock(&monitor->lock);
    }
}

static void on_room(struct http_exchange *x, void *arg)
{
    struct monitor *monitor = arg;
    pthread_mutex_lock(&monitor->lock);
    monitor->is_full = false;
    bool is_posted = monitor->is_posted;
    pthread_mutex_unlock(&monitor->lock);
    if (!is_posted) {
        flush(x, monitor);
    }
}

static void on_gone(struct http_exchange *x, void *arg)
{
    (void)x;
    end(arg);
}

static const struct http_stream_ops stream_ops = {on_room, on_gone};

/* ---- from any thread ---- */

/* Under monitor->lock. */
static void post_flush(struct monitor *monitor)
{
    if (!monitor->is_posted && (!monitor->is_full || monitor->must_end)) {
        monitor->is_posted = true;
        http_exchange_post(monitor->x, flush, monitor);
    }
}

static void on_line(struct cf_log_tap *tap, struct cf_slice line)
{
    struct monitor *monitor = cf_container(tap, struct monitor, tap);
    pthread_mutex_lock(&monitor->lock);
    if (monitor->missed != 0 || monitor->waiting.size + line.size > WAITING_MAX) {
        monitor->missed++;
    } else {
        cf_buf_add_slice(&monitor->waiting, line);
    }
    post_flush(monitor);
    pthread_mutex_unlock(&monitor->lock);
}

void monitors_end(struct monitors *all, bool for_good)
{
    pthread_mutex_lock(&all->lock);
    all->is_over = all->is_over || for_good;
    cf_list_for_safe (at, &all->list) {
        struct monitor *monitor = cf_container(at, struct monitor, link);
        pthread_mutex_lock(&monitor->lock);
        monitor->must_end = true;
        post_flush(monitor);
        pthread_mutex_unlock(&monitor->lock);
    }
    pthread_mutex_unlock(&all->lock);
}

/* ---- the request ---- */

const struct field monitor_fields[] = {
    {"log_level", FIELD_STRING, "trace, debug, info, warn or error; whatever the node itself writes."},
    {"log_format", FIELD_STRING, "standard or json."},
    FIELD_END};

/* The frame is through with the request: audited, and the answer is ours to give. */
static void begin(struct request *rq)
{
    struct monitor *monitor = rq->response_context;
    if (monitor == NULL || rq->error.status != CF_OK) {
        if (monitor != NULL) {
            monitor_free(monitor);
        }
        api_answer(rq->transport, rq);
        return;
    }
    struct http_headers_out headers = {.content_type = "text/plain; charset=utf-8"};
    monitor->x = rq->transport;
    http_stream_begin(monitor->x, 200, &headers, &stream_ops, monitor);
    pthread_mutex_lock(&monitor->all->lock);
    cf_list_add_tail(&monitor->all->list, &monitor->link);
    bool is_over = monitor->all->is_over;
    pthread_mutex_unlock(&monitor->all->lock);
    cf_log_attach(&monitor->tap);
    if (is_over || http_is_gone(monitor->x)) {
        end(monitor);
    }
}

static cf_status read_options(struct request *rq, struct cf_log_tap *tap, struct cf_error *err)
{
    struct cf_slice level, format;
    CF_TRY(request_string(rq, "log_level", &level, err));
    CF_TRY(request_string(rq, "log_format", &format, err));
    tap->level = CF_LOG_INFO;
    if (level.size != 0 && !cf_log_parse_level(level, &tap->level)) {
        return cf_fail(err, CF_INVALID,
                       "unknown log level \"%.*s\": use trace, debug, info, warn or error",
                       CF_SHOW(cf_slice_first(level, 60)));
    }
    tap->as_json = cf_slice_is(format, "json");
    if (format.size != 0 && !tap->as_json && !cf_slice_is(format, "standard")) {
        return cf_fail(err, CF_INVALID, "unknown log format \"%.*s\": use standard or json",
                       CF_SHOW(cf_slice_first(format, 60)));
    }
    return CF_OK;
}

cf_status monitor_handle(struct request *rq, struct cf_error *err)
{
    struct node *node = core_host_context(rq->core);
    struct cf_log_tap tap = {.line = on_line};
    CF_TRY(read_options(rq, &tap, err));
    if (rq->is_forwarded || http_method(rq->transport) == HTTP_HEAD) {
        return cf_fail(err, CF_INVALID, "a log is followed by GET at the node that writes it");
    }
    struct monitors *all = node->monitors;
    pthread_mutex_lock(&all->lock);
    bool has_room = all->count < FOLLOWERS_MAX;
    all->count += has_room ? 1 : 0;
    pthread_mutex_unlock(&all->lock);
    if (!has_room) {
        return cf_fail(err, CF_BUSY, "%d clients follow the log of this node: end one of them",
                       FOLLOWERS_MAX);
    }
    struct monitor *monitor = cf_new(struct monitor);
    monitor->all = all;
    monitor->tap = tap;
    monitor->waiting = (struct cf_buf){.max = WAITING_MAX};
    cf_list_init(&monitor->link);
    pthread_mutex_init(&monitor->lock, NULL);
    rq->response_context = monitor;
    rq->done = begin;
    rq->response.raw = CF_SLICE("log"); /* for the frame: there is content */
    rq->response.content_type = "text/plain";
    core_host_done(rq, CF_OK);
    return CF_OK;
}

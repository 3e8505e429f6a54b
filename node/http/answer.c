/* node/http/answer.c: the header of an answer, whole answers, streamed ones, and our own errors. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "node/base/memory.h"
#include "node/http/exchange.h"
#include "node/http/server_int.h"

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Supported"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

/* Codes of the API's own (472, 473, what sys/health was asked for) have no text: it may be empty
 * (RFC 9112 4). */
static const char *reason_of(int status)
{
    for (size_t i = 0; i < CF_LENGTH(reasons); i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return "";
}

static void add_number(struct cf_buf *buf, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    cf_buf_add(buf, digits + at, sizeof(digits) - at);
}

/* Made once a second; names in English whatever the locale is (RFC 9110 5.6.7). */
static struct cf_slice date_line(struct http_server *server)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int64_t now_s = cf_wall_ns(server->options.clock) / 1000000000;
    if (now_s != server->date_s) {
        time_t seconds = (time_t)now_s;
        struct tm tm = {0};
        (void)gmtime_r(&seconds, &tm);
        server->date_s = now_s;
        (void)snprintf(server->date, sizeof(server->date),
                       "Date: %.3s, %02d %.3s %04d %02d:%02d:%02d GMT\r\n",
                       days + 3 * (tm.tm_wday % 7), tm.tm_mday, months + 3 * (tm.tm_mon % 12),
                       tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    }
    return cf_slice_str(server->date);
}

/* A line break in a value would be a header, or an answer, of someone else's making. */
static bool is_clean(const struct http_header_out *header)
{
    struct cf_slice parts[] = {header->name, header->value};
    for (size_t k = 0; k < CF_LENGTH(parts); k++) {
        for (size_t i = 0; i < parts[k].size; i++) {
            uint8_t byte = parts[k].data[i];
            if ((byte < 0x20 && byte != '\t') || byte == 0x7f || (k == 0 && byte == ':')) {
                return false;
            }
        }
    }
    return header->name.size != 0;
}

static bool add_given(struct cf_buf *head, const struct http_header_out *list, size_t count)
{
    bool has_cache_control = false;
    for (size_t i = 0; i < count; i++) {
        const struct http_header_out *header = &list[i];
        if (!is_clean(header)) {
            continue;
        }
        cf_buf_add_slice(head, header->name);
        cf_buf_add(head, ": ", 2);
        cf_buf_add_slice(head, header->value);
        cf_buf_add(head, "\r\n", 2);
        has_cache_control =
            has_cache_control || http_slice_eq_nocase(header->name, CF_SLICE("cache-control"));
    }
    return has_cache_control;
}

enum framing { FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_NONE };

struct head {
    int status;
    const struct http_headers_out *headers;
    const struct http_exchange *x; /* whose added headers go out, too; NULL: none */
    enum framing framing;
    size_t length; /* with FRAMING_LENGTH */
    bool is_tls, close;
};

#define ADD(buf, literal) cf_buf_add((buf), (literal), sizeof(literal) - 1)

/* In the server's scratch buffer: valid until the next one. */
static struct cf_slice head_of(struct http_server *server, const struct head *head)
{
    struct cf_buf *out = &server->head;
    const struct http_headers_out *headers = head->headers;
    bool has_content = head->status != 204 && head->status != 304;
    cf_buf_reset(out);
    if (head->status == 200) {
        ADD(out, "HTTP/1.1 200 OK\r\n");
    } else {
        ADD(out, "HTTP/1.1 ");
        add_number(out, (uint64_t)head->status);
        cf_buf_add_byte(out, ' ');
        cf_buf_add_str(out, reason_of(head->status));
        ADD(out, "\r\n");
    }
    cf_buf_add_slice(out, date_line(server));
    bool has_cache_control = headers != NULL && add_given(out, headers->list, headers->count);
    if (head->x != NULL && head->x->extra_count != 0) {
        has_cache_control |= add_given(out, head->x->extra, head->x->extra_count);
    }
    if (!has_cache_control) {
        ADD(out, "Cache-Control: no-store\r\n");
    }
    if (head->is_tls) {
        ADD(out, "Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n");
    }
    if (head->close) {
        ADD(out, "Connection: close\r\n");
    }
    if (has_content && headers != NULL && headers->content_type != NULL) {
        ADD(out, "Content-Type: ");
        cf_buf_add_str(out, headers->content_type);
        ADD(out, "\r\n");
    } else if (has_content) {
        ADD(out, "Content-Type: application/json\r\n");
    }
    if (has_content && head->framing == FRAMING_LENGTH) {
        ADD(out, "Content-Length: ");
        add_number(out, head->length);
        ADD(out, "\r\n");
    } else if (has_content && head->framing == FRAMING_CHUNKED) {
        ADD(out, "Transfer-Encoding: chunked\r\n");
    }
    ADD(out, "\r\n");
    return cf_buf_slice(out);
}

static bool may_live_on(const struct http_exchange *x, const struct http_headers_out *headers)
{
    return x->parser.keep_alive && !x->server->draining && (headers == NULL || !headers->close);
}

static bool has_body(const struct http_exchange *x, int status)
{
    return x->parser.method != HTTP_HEAD && status != 204 && status != 304;
}

void answer_finished(struct http_exchange *x, bool keep_alive)
{
    struct http_server *server = x->server;
    struct http_conn *conn = x->conn;
    atomic_fetch_sub_explicit(&server->pending, 1, memory_order_relaxed);
    x->state = EXCHANGE_ANSWERED;
    if (conn == NULL) {
        count_up(&server->lost_answers);
        exchange_give_back(x);
        server_check_drained(server);
        return;
    }
    conn->answered = true;
    conn->phase = keep_alive ? CONN_HEAD : CONN_FINISHING;
    conn->deadline_us = 0;
    conn_advance(conn);
}

static void check_answerable(const struct http_exchange *x, enum exchange_state state)
{
    assert(loop_is_current(x->server->loop)); /* other threads: http_exchange_post */
    assert(x->state == state);                /* once */
    (void)x;
    (void)state;
}

void http_add_header(struct http_exchange *x, struct cf_slice name, struct cf_slice value)
{
    check_answerable(x, EXCHANGE_HANDLED);
    assert(x->extra_count < EXTRA_HEADERS_MAX);
    x->extra[x->extra_count++] = (struct http_header_out){name, value};
}

void http_respond(struct http_exchange *x, int status, const struct http_headers_out *headers,
                  struct cf_slice body)
{
    check_answerable(x, EXCHANGE_HANDLED);
    assert(status >= 200 && status <= 599);
    struct http_conn *conn = x->conn;
    bool keep_alive = may_live_on(x, headers);
    if (conn != NULL) {
        struct head head = {.status = status,
                            .headers = headers,
                            .x = x,
                            .framing = FRAMING_LENGTH,
                            .length = body.size,
                            .is_tls = wire_is_tls(&conn->wire),
                            .close = !keep_alive};
        struct cf_slice parts[] = {head_of(x->server, &head), body};
        wire_write(&conn->wire, parts, has_body(x, status) && body.size != 0 ? 2 : 1);
    }
    answer_finished(x, keep_alive);
}

/* {"errors":["..."]}: bytes that JSON does not take as they are become \u escapes, and what is no
 * UTF-8 was never in a message. */
static void add_errors(struct cf_buf *body, const char *message)
{
    ADD(body, "{\"errors\":[");
    if (message != NULL) {
        cf_buf_add_byte(body, '"');
        for (const char *at = message; *at != '\0'; at++) {
            uint8_t byte = (uint8_t)*at;
            if (byte == '"' || byte == '\\') {
                cf_buf_add_byte(body, '\\');
                cf_buf_add_byte(body, byte);
            } else if (byte == '\n') {
                ADD(body, "\\n");
            } else if (byte == '\t') {
                ADD(body, "\\t");
            } else if (byte < 0x20 || byte == '<' || byte == '>' || byte == '&') {
                cf_buf_addf(body, "\\u%04x", byte);
            } else {
                cf_buf_add_byte(body, byte);
            }
        }
        cf_buf_add_byte(body, '"');
    }
    ADD(body, "]}\n");
}

void http_respond_error(struct http_exchange *x, int status, const char *message)
{
    CF_BUF(body) = {0};
    add_errors(&body, message);
    http_respond(x, status, NULL, cf_buf_slice(&body));
}

void answer_redirect(struct http_exchange *x)
{
    struct cf_slice query = http_query(x);
    struct cf_slice to = x->redirect;
    if (x->parser.has_query) {
        to = cf_slice_str(arena_printf(x->arena, "%.*s?%.*s", CF_SHOW(to), CF_SHOW(query)));
    }
    struct http_header_out location = {CF_SLICE("Location"), to};
    struct http_headers_out headers = {.list = &location, .count = 1};
    http_respond(x, 307, &headers, CF_SLICE_EMPTY);
}

void answer_refuse(struct http_conn *conn, int status, const char *reason)
{
    CF_BUF(body) = {0};
    add_errors(&body, reason);
    struct head head = {.status = status,
                        .framing = FRAMING_LENGTH,
                        .length = body.size,
                        .is_tls = wire_is_tls(&conn->wire),
                        .close = true};
    struct cf_slice parts[] = {head_of(conn->server, &head), cf_buf_slice(&body)};
    wire_write(&conn->wire, parts, 2);
}

static void tell_gone(void *arg)
{
    struct http_exchange *x = arg;
    x->gone_posted = false;
    if (x->ended) {
        answer_finished(x, false); /* http_stream_end came first and left the rest to us */
    } else if (x->stream_ops->on_gone != NULL) {
        x->stream_ops->on_gone(x, x->stream_arg);
    }
}

void http_stream_begin(struct http_exchange *x, int status, const struct http_headers_out *headers,
                       const struct http_stream_ops *ops, void *arg)
{
    check_answerable(x, EXCHANGE_HANDLED);
    bool is_old = x->parser.minor_version == 0; /* knows no chunks */
    x->state = EXCHANGE_STREAMING;
    x->stream_ops = ops;
    x->stream_arg = arg;
    x->stream_chunked = !is_old;
    x->stream_silent = !has_body(x, status);
    x->stream_close = !may_live_on(x, headers);
    x->gone_task = (struct loop_task){.fn = tell_gone, .arg = x};
    struct http_conn *conn = x->conn;
    if (conn == NULL) {
        x->gone_posted = true;
        loop_post_task(x->server->loop, &x->gone_task);
        return;
    }
    struct head head = {.status = status,
                        .headers = headers,
                        .x = x,
                        .framing = is_old ? FRAMING_NONE : FRAMING_CHUNKED,
                        .is_tls = wire_is_tls(&conn->wire),
                        .close = x->stream_close};
    struct cf_slice part = head_of(x->server, &head);
    wire_write(&conn->wire, &part, 1);
}

bool http_stream_write(struct http_exchange *x, struct cf_slice bytes)
{
    check_answerable(x, EXCHANGE_STREAMING);
    struct http_conn *conn = x->conn;
    if (conn == NULL) {
        return false;
    }
    if (bytes.size != 0 && !x->stream_silent) { /* an empty chunk would be the last */
        char size[24];
        int digits = snprintf(size, sizeof(size), "%zx\r\n", bytes.size);
        struct cf_slice parts[] = {cf_slice_of(size, (size_t)digits), bytes, CF_SLICE("\r\n")};
        if (x->stream_chunked) {
            wire_write(&conn->wire, parts, 3);
        } else {
            wire_write(&conn->wire, parts + 1, 1);
        }
    }
    x->stream_waits = wire_queued(&conn->wire) >= STREAM_QUEUE_MAX || wire_is_lost(&conn->wire);
    if (wire_is_lost(&conn->wire)) {
        conn_turn(conn); /* which drops it; on_gone follows */
    }
    return !x->stream_waits;
}

void http_stream_end(struct http_exchange *x, bool complete)
{
    check_answerable(x, EXCHANGE_STREAMING);
    struct http_conn *conn = x->conn;
    if (x->gone_posted) {
        x->ended = true;
        return;
    }
    if (conn != NULL && !complete) {
        x->conn = NULL; /* the connection is cut: nobody may take this answer for the whole */
        conn->x = NULL;
        conn_drop(conn);
        conn = NULL;
    }
    if (conn != NULL && x->stream_chunked && !x->stream_silent) {
        struct cf_slice last = CF_SLICE("0\r\n\r\n");
        wire_write(&conn->wire, &last, 1);
    }
    answer_finished(x, !x->stream_close);
}

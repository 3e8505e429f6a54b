/* node/http/parser.c: the request's states, its request line, and views of the result. */
#include "node/http/parser.h"

#include <string.h>

#include "node/http/parser_int.h"

static const struct {
    const char *name;
    enum http_method method;
} methods[] = {
    {"GET", HTTP_GET},   {"HEAD", HTTP_HEAD},   {"POST", HTTP_POST},
    {"PUT", HTTP_PUT},   {"PATCH", HTTP_PATCH}, {"DELETE", HTTP_DELETE},
    {"LIST", HTTP_LIST}, {"SCAN", HTTP_SCAN},   {"OPTIONS", HTTP_OPTIONS},
};

#define T CHAR_TOKEN
#define V CHAR_VALUE
#define G CHAR_TARGET
#define H CHAR_HOST
#define TVGH (T | V | G | H)
/* Tokens: RFC 9110 5.6.2. Values: tab, space, visible, and 0x80 up (5.5). Targets: visible ASCII
 * without '#' (a client never sends fragments) and without '\\', which is in no URI and which some
 * proxies read as a slash. Hosts: RFC 3986 3.2.2 with port, without userinfo. */
const uint8_t parser_chars[256] = {
    ['\t'] = V,           [' '] = V,
    ['!'] = TVGH,         ['"'] = V | G,
    ['#'] = T | V,        ['$'] = TVGH,
    ['%'] = TVGH,         ['&'] = TVGH,
    ['\''] = TVGH,        ['('] = V | G | H,
    [')'] = V | G | H,    ['*'] = TVGH,
    ['+'] = TVGH,         [','] = V | G | H,
    ['-'] = TVGH,         ['.'] = TVGH,
    ['/'] = V | G,        ['0' ... '9'] = TVGH,
    [':'] = V | G | H,    [';'] = V | G | H,
    ['<'] = V | G,        ['='] = V | G | H,
    ['>'] = V | G,        ['?'] = V | G,
    ['@'] = V | G,        ['A' ... 'Z'] = TVGH,
    ['['] = V | G | H,    ['\\'] = V,
    [']'] = V | G | H,    ['^'] = T | V | G,
    ['_'] = TVGH,         ['`'] = T | V | G,
    ['a' ... 'z'] = TVGH, ['{'] = V | G,
    ['|'] = T | V | G,    ['}'] = V | G,
    ['~'] = TVGH,         [0x80 ... 0xff] = V,
};
#undef T
#undef V
#undef G
#undef H
#undef TVGH

void http_parser_init(struct http_parser *parser, size_t body_max)
{
    /* Not the header table: header_count says what of it is valid. */
    memset(parser, 0, offsetof(struct http_parser, headers));
    memset((char *)parser + offsetof(struct http_parser, body_at), 0,
           sizeof(*parser) - offsetof(struct http_parser, body_at));
    parser->body_max = body_max;
}

enum http_progress parser_refuse(struct http_parser *parser, int status, const char *reason)
{
    parser->state = PARSER_BAD;
    parser->status = status;
    parser->reason = reason;
    return HTTP_BAD;
}

enum http_progress parser_line(struct http_parser *parser, const uint8_t *data, size_t size,
                               size_t line_max, int too_long, struct cf_slice *line, size_t *end)
{
    size_t from = parser->scan_at;
    const uint8_t *feed = size > from ? memchr(data + from, '\n', size - from) : NULL;
    size_t length = (feed != NULL ? (size_t)(feed - data) : size) - parser->line_at;
    if (length > line_max + 1) { /* 1: the CR */
        return parser_refuse(parser, too_long,
                             too_long == 414   ? "request line too long"
                             : too_long == 431 ? "request header too large"
                                               : "malformed chunk");
    }
    if (feed == NULL) {
        parser->scan_at = size;
        return HTTP_MORE;
    }
    if (length == 0 || feed[-1] != '\r') {
        return parser_refuse(parser, 400, "line does not end in CRLF");
    }
    *line = cf_slice_of(data + parser->line_at, length - 1);
    *end = parser->line_at + length + 1;
    return HTTP_DONE;
}

static void next_line(struct http_parser *parser, size_t at)
{
    parser->line_at = at;
    parser->scan_at = at;
}

/* One blank line is skipped (RFC 9112 2.2: old clients send one after a body), no more. */
static enum http_progress start(struct http_parser *parser, const uint8_t *data, size_t size)
{
    size_t at = parser->line_at;
    if (size <= at) {
        return HTTP_MORE;
    }
    if (data[at] == '\r' && (parser->seen & SEEN_BLANK) == 0) {
        if (size == at + 1) {
            return HTTP_MORE;
        }
        if (data[at + 1] != '\n') {
            return parser_refuse(parser, 400, "malformed request line");
        }
        parser->seen |= SEEN_BLANK;
        next_line(parser, at + 2);
        return start(parser, data, size);
    }
    if ((parser_chars[data[at]] & CHAR_TOKEN) == 0) {
        return parser_refuse(parser, 400, "malformed request line"); /* a TLS hello, say */
    }
    parser->state = PARSER_REQUEST_LINE;
    return HTTP_DONE;
}

static struct http_span span_of(const uint8_t *data, struct cf_slice part)
{
    return (struct http_span){(uint32_t)(part.data - data), (uint32_t)part.size};
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static enum http_progress version(struct http_parser *parser, struct cf_slice text)
{
    if (text.size != 8 || memcmp(text.data, "HTTP/", 5) != 0 || !is_digit(text.data[5]) ||
        text.data[6] != '.' || !is_digit(text.data[7])) {
        return parser_refuse(parser, 400, "malformed request line");
    }
    if (text.data[5] != '1' || text.data[7] > '1') {
        return parser_refuse(parser, 505, "HTTP version not supported");
    }
    parser->minor_version = (uint8_t)(text.data[7] - '0');
    return HTTP_DONE;
}

/* The authority of an absolute target (RFC 9112 3.2.2), which is compared with Host later; returns
 * what follows it, or the whole target when it is none. */
static struct cf_slice strip_authority(struct http_parser *parser, const uint8_t *data,
                                       struct cf_slice target)
{
    size_t skip = http_slice_eq_nocase(cf_slice_first(target, 7), CF_SLICE("http://"))    ? 7
                  : http_slice_eq_nocase(cf_slice_first(target, 8), CF_SLICE("https://")) ? 8
                                                                                          : 0;
    if (skip == 0) {
        return target;
    }
    struct cf_slice rest = cf_slice_from(target, skip);
    size_t size = 0;
    while (size < rest.size && rest.data[size] != '/' && rest.data[size] != '?') {
        size++;
    }
    parser->authority = span_of(data, cf_slice_first(rest, size));
    return cf_slice_from(rest, size);
}

static enum http_progress target(struct http_parser *parser, const uint8_t *data,
                                 struct cf_slice text)
{
    if (!parser_all(text, CHAR_TARGET)) {
        return parser_refuse(parser, 400, "malformed request target");
    }
    struct cf_slice rest = text.data[0] == '/' ? text : strip_authority(parser, data, text);
    bool is_absolute = parser->authority.size != 0;
    if (text.data[0] != '/' && !is_absolute) {
        return parser_refuse(parser, 400, "malformed request target");
    }
    size_t mark = cf_slice_find(rest, '?');
    struct cf_slice path = cf_slice_first(rest, mark);
    if (path.size != 0 && path.data[0] != '/') {
        return parser_refuse(parser, 400, "malformed request target");
    }
    parser->path = span_of(data, path);
    parser->has_query = mark < rest.size;
    parser->query = span_of(data, cf_slice_from(rest, parser->has_query ? mark + 1 : mark));
    return HTTP_DONE;
}

static enum http_progress request_line(struct http_parser *parser, const uint8_t *data,
                                       struct cf_slice line)
{
    size_t space = cf_slice_find(line, ' ');
    struct cf_slice name = cf_slice_first(line, space);
    struct cf_slice rest = cf_slice_from(line, space + 1);
    size_t second = cf_slice_find(rest, ' ');
    if (name.size == 0 || !parser_all(name, CHAR_TOKEN) || second == 0 || second == rest.size) {
        return parser_refuse(parser, 400, "malformed request line");
    }
    enum http_progress progress = version(parser, cf_slice_from(rest, second + 1));
    if (progress != HTTP_DONE) {
        return progress;
    }
    if (name.size > HTTP_METHOD_SIZE_MAX) {
        return parser_refuse(parser, 501, "unknown method");
    }
    if (cf_slice_is(name, "CONNECT")) {
        return parser_refuse(parser, 405, "method not allowed");
    }
    parser->method_name = span_of(data, name);
    parser->method = HTTP_OTHER;
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (cf_slice_is(name, methods[i].name)) {
            parser->method = methods[i].method;
            break;
        }
    }
    return target(parser, data, cf_slice_first(rest, second));
}

/* One line of the head, from the request line to the blank one; HTTP_DONE: go on. */
static enum http_progress head_line(struct http_parser *parser, const uint8_t *data, size_t size)
{
    bool is_first = parser->state == PARSER_REQUEST_LINE;
    /* Of the header bytes, what is left for this line without its CRLF. */
    size_t taken = is_first ? 0 : parser->line_at - parser->headers_at + 2;
    if (taken > HTTP_HEADER_BYTES_MAX) {
        return parser_refuse(parser, 431, "request header too large");
    }
    struct cf_slice line;
    size_t end;
    enum http_progress progress = parser_line(
        parser, data, size, is_first ? HTTP_REQUEST_LINE_MAX : HTTP_HEADER_BYTES_MAX - taken,
        is_first ? 414 : 431, &line, &end);
    if (progress != HTTP_DONE) {
        return progress;
    }
    next_line(parser, end);
    if (is_first) {
        parser->state = PARSER_HEADERS;
        parser->headers_at = end;
        return request_line(parser, data, line);
    }
    if (line.size != 0) {
        return parser_header_line(parser, data, line);
    }
    parser->state = PARSER_HEAD_END;
    parser->body_at = end;
    return parser_head_check(parser, data);
}

enum http_progress http_parser_run(struct http_parser *parser, uint8_t *data, size_t *size)
{
    enum http_progress progress = HTTP_DONE;
    if (parser->state == PARSER_BAD) {
        return HTTP_BAD;
    }
    if (parser->state == PARSER_START) {
        progress = start(parser, data, *size);
    }
    bool was_head = parser->state < PARSER_HEAD_END;
    while (progress == HTTP_DONE && parser->state < PARSER_HEAD_END) {
        progress = head_line(parser, data, *size);
    }
    if (progress != HTTP_DONE) {
        return progress;
    }
    return was_head ? HTTP_HEAD_DONE : parser_body(parser, data, size);
}

bool http_parser_started(const struct http_parser *parser, size_t size)
{
    return size > parser->line_at || parser->state > PARSER_REQUEST_LINE;
}

bool http_slice_eq_nocase(struct cf_slice a, struct cf_slice b)
{
    if (a.size != b.size) {
        return false;
    }
    for (size_t i = 0; i < a.size; i++) {
        uint8_t left = a.data[i], right = b.data[i];
        if (left != right) {
            uint8_t lower = left | 0x20;
            if (lower != (right | 0x20) || lower < 'a' || lower > 'z') {
                return false;
            }
        }
    }
    return true;
}

bool http_parser_header(const struct http_parser *parser, const uint8_t *data, struct cf_slice name,
                        struct cf_slice *ret)
{
    for (uint32_t i = 0; i < parser->header_count; i++) {
        const struct http_header_span *header = &parser->headers[i];
        if (header->name.size == name.size &&
            http_slice_eq_nocase(http_span_slice(header->name, data), name)) {
            *ret = http_span_slice(header->value, data);
            return true;
        }
    }
    return false;
}

unsigned http_parser_header_count(const struct http_parser *parser, const uint8_t *data,
                                  struct cf_slice name)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < parser->header_count; i++) {
        count += http_slice_eq_nocase(http_span_slice(parser->headers[i].name, data), name);
    }
    return count;
}

/* node/http/parser_head.c: header lines, and the rules that need several of them. */
#include <string.h>

#include "node/http/parser_int.h"

typedef enum http_progress header_fn(struct http_parser *parser, const uint8_t *data,
                                     struct cf_slice value);

/* "seen twice" is 400 even with equal values: two parties that pick differently would disagree
 * about where the request ends (RFC 9112 6.3) or which host is meant. */
static bool seen_before(struct http_parser *parser, unsigned bit)
{
    bool before = (parser->seen & bit) != 0;
    parser->seen |= bit;
    return before;
}

static enum http_progress on_host(struct http_parser *parser, const uint8_t *data,
                                  struct cf_slice value)
{
    if (seen_before(parser, SEEN_HOST) || !parser_all(value, CHAR_HOST)) {
        return parser_refuse(parser, 400, "malformed host header");
    }
    parser->host = (struct http_span){(uint32_t)(value.data - data), (uint32_t)value.size};
    return HTTP_DONE;
}

static enum http_progress on_length(struct http_parser *parser, const uint8_t *data,
                                    struct cf_slice value)
{
    (void)data;
    if (seen_before(parser, SEEN_LENGTH) || value.size == 0) {
        return parser_refuse(parser, 400, "malformed content length");
    }
    uint64_t length = 0;
    for (size_t i = 0; i < value.size; i++) {
        uint8_t digit = (uint8_t)(value.data[i] - '0');
        if (digit > 9) {
            return parser_refuse(parser, 400, "malformed content length");
        }
        /* More than fits is more than any limit: it stays at the maximum, and is 413 later. */
        if (__builtin_mul_overflow(length, 10, &length) ||
            __builtin_add_overflow(length, digit, &length)) {
            length = UINT64_MAX;
        }
    }
    parser->has_length = true;
    parser->length = length;
    return HTTP_DONE;
}

/* Only "chunked" is known. Another coding is 501 (RFC 9112 6.1), and no list is taken: a "chunked"
 * that is not last, or comes twice, is how requests are smuggled. */
static enum http_progress on_encoding(struct http_parser *parser, const uint8_t *data,
                                      struct cf_slice value)
{
    (void)data;
    if (seen_before(parser, SEEN_ENCODING) || value.size == 0) {
        return parser_refuse(parser, 400, "malformed transfer encoding");
    }
    if (!http_slice_eq_nocase(value, CF_SLICE("chunked"))) {
        return parser_refuse(parser, 501, "transfer encoding not supported");
    }
    parser->chunked = true;
    return HTTP_DONE;
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

static struct cf_slice trim(struct cf_slice text)
{
    while (text.size != 0 && is_blank(text.data[0])) {
        text = cf_slice_from(text, 1);
    }
    while (text.size != 0 && is_blank(text.data[text.size - 1])) {
        text.size--;
    }
    return text;
}

static enum http_progress on_connection(struct http_parser *parser, const uint8_t *data,
                                        struct cf_slice value)
{
    (void)data;
    while (value.size != 0) {
        size_t comma = cf_slice_find(value, ',');
        if (http_slice_eq_nocase(trim(cf_slice_first(value, comma)), CF_SLICE("close"))) {
            parser->seen |= SEEN_CLOSE;
        }
        value = cf_slice_from(value, comma + 1);
    }
    return HTTP_DONE;
}

static enum http_progress on_expect(struct http_parser *parser, const uint8_t *data,
                                    struct cf_slice value)
{
    (void)data;
    if (!http_slice_eq_nocase(value, CF_SLICE("100-continue"))) {
        return parser_refuse(parser, 417, "expectation not supported"); /* RFC 9110 10.1.1 */
    }
    parser->expect_continue = true;
    return HTTP_DONE;
}

static const struct {
    const char *name;
    size_t size;
    header_fn *fn;
} known[] = {
    {"host", 4, on_host},
    {"content-length", 14, on_length},
    {"transfer-encoding", 17, on_encoding},
    {"connection", 10, on_connection},
    {"expect", 6, on_expect},
};

enum http_progress parser_header_line(struct http_parser *parser, const uint8_t *data,
                                      struct cf_slice line)
{
    if (parser->header_count == HTTP_HEADER_LINES_MAX) {
        return parser_refuse(parser, 431, "too many request headers");
    }
    /* Also refused here: a folded line (starts with a blank), a blank before the colon (RFC 9112
     * 5.1), an empty name. */
    size_t colon = cf_slice_find(line, ':');
    struct cf_slice name = cf_slice_first(line, colon);
    if (colon == line.size || colon == 0 || !parser_all(name, CHAR_TOKEN)) {
        return parser_refuse(parser, 400, "malformed request header");
    }
    struct cf_slice value = trim(cf_slice_from(line, colon + 1));
    if (!parser_all(value, CHAR_VALUE)) {
        return parser_refuse(parser, 400, "malformed request header");
    }
    parser->headers[parser->header_count++] = (struct http_header_span){
        .name = {(uint32_t)(name.data - data), (uint32_t)name.size},
        .value = {(uint32_t)(value.data - data), (uint32_t)value.size},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].size == name.size &&
            http_slice_eq_nocase(name, cf_slice_of(known[i].name, known[i].size))) {
            return known[i].fn(parser, data, value);
        }
    }
    return HTTP_DONE;
}

enum http_progress parser_head_check(struct http_parser *parser, const uint8_t *data)
{
    if (parser->minor_version >= 1 && (parser->seen & SEEN_HOST) == 0) {
        return parser_refuse(parser, 400, "missing host header"); /* RFC 9112 3.2 */
    }
    if (parser->chunked && (parser->has_length || parser->minor_version == 0)) {
        return parser_refuse(parser, 400, "ambiguous body length"); /* RFC 9112 6.1 */
    }
    if (parser->authority.size != 0 && (parser->seen & SEEN_HOST) != 0 &&
        !http_slice_eq_nocase(http_span_slice(parser->authority, data),
                              http_span_slice(parser->host, data))) {
        return parser_refuse(parser, 400, "request target and host header differ");
    }
    if (parser->authority.size != 0 &&
        !parser_all(http_span_slice(parser->authority, data), CHAR_HOST)) {
        return parser_refuse(parser, 400, "malformed request target");
    }
    /* HTTP/1.0 clients get their answer and a closed connection: what they may ask for instead
     * (Connection: keep-alive) has no place for a body of unknown length. */
    parser->keep_alive = parser->minor_version >= 1 && (parser->seen & SEEN_CLOSE) == 0;
    parser->expect_continue = parser->expect_continue && parser->minor_version >= 1 &&
                              (parser->chunked || parser->length != 0);
    return HTTP_DONE;
}

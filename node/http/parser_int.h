/* node/http/parser_int.h: what the two halves of the parser (head and body) share. */
#ifndef COFFER_HTTP_PARSER_INT_H
#define COFFER_HTTP_PARSER_INT_H

#include "node/http/parser.h"

/* In the order in which a request passes through them. */
enum parser_state {
    PARSER_START,
    PARSER_REQUEST_LINE,
    PARSER_HEADERS,
    PARSER_HEAD_END,
    PARSER_FIXED_BODY,
    PARSER_CHUNK_SIZE,
    PARSER_CHUNK_DATA,
    PARSER_CHUNK_END,
    PARSER_LAST_CHUNK,
    PARSER_DONE,
    PARSER_BAD,
};

/* Headers of which only one may come. */
enum { SEEN_HOST = 1, SEEN_LENGTH = 2, SEEN_ENCODING = 4, SEEN_CLOSE = 8, SEEN_BLANK = 16 };

enum { CHAR_TOKEN = 1, CHAR_VALUE = 2, CHAR_TARGET = 4, CHAR_HOST = 8 };
extern const uint8_t parser_chars[256];

static inline bool parser_all(struct cf_slice text, unsigned class)
{
    for (size_t i = 0; i < text.size; i++) {
        if ((parser_chars[text.data[i]] & class) == 0) {
            return false;
        }
    }
    return true;
}

enum http_progress parser_refuse(struct http_parser *parser, int status, const char *reason);

/* One line from `line_at`, which must be complete after line_max bytes (CRLF not counted).
 * HTTP_DONE: *line is it, *end the offset after its CRLF. HTTP_BAD: bare line feed, 400; or too
 * long, too_long. */
enum http_progress parser_line(struct http_parser *parser, const uint8_t *data, size_t size,
                               size_t line_max, int too_long, struct cf_slice *line, size_t *end);

/* parser_head.c: one header line; the checks on all of them together. */
enum http_progress parser_header_line(struct http_parser *parser, const uint8_t *data,
                                      struct cf_slice line);
enum http_progress parser_head_check(struct http_parser *parser, const uint8_t *data);

/* parser_body.c: HTTP_MORE, HTTP_DONE or HTTP_BAD. */
enum http_progress parser_body(struct http_parser *parser, uint8_t *data, size_t *size);

#endif

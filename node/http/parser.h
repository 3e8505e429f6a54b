/* node/http/parser.h
 *
 * HTTP/1.1 requests (RFC 9112), incremental and strict: what is ambiguous is refused, and after a
 * refusal the connection must be closed, because nobody can say where the next request starts.
 * Pure: no I/O, no clock, no allocation. Names and values stay where they were read: everything
 * found is an offset into the caller's bytes, which may move between two calls.
 *
 * The answer does not depend on how the bytes were cut into reads.
 * Thread: the owner's.
 */
#ifndef COFFER_HTTP_PARSER_H
#define COFFER_HTTP_PARSER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/slice.h"

#define HTTP_REQUEST_LINE_MAX ((size_t)8192)  /* without CRLF; 414 beyond */
#define HTTP_HEADER_BYTES_MAX ((size_t)65536) /* all header lines and the blank one; 431 beyond */
#define HTTP_HEADER_LINES_MAX 100             /* 431 beyond */
#define HTTP_METHOD_SIZE_MAX ((size_t)32)     /* 501 beyond (RFC 9110 9.1) */
#define HTTP_CHUNK_EXTENSIONS_MAX ((size_t)1024) /* bytes of all extensions of one body; 400 */

/* The methods that the API knows; any other token is HTTP_OTHER (the parser refuses CONNECT, 405:
 * its target is no path). */
enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_LIST,
    HTTP_SCAN,
    HTTP_OPTIONS,
    HTTP_OTHER,
};

enum http_progress {
    HTTP_MORE,      /* all bytes were looked at; call again with more */
    HTTP_HEAD_DONE, /* once a request: the header is complete; set body_max, call again */
    HTTP_DONE,      /* the request is complete, its first byte after is at `consumed` */
    HTTP_BAD,       /* answer `status`, then close; final */
};

/* Part of the request's bytes. */
struct http_span {
    uint32_t at, size;
};

struct http_header_span {
    struct http_span name, value;
};

struct http_parser {
    /* Set by the caller after init, at the latest at HTTP_HEAD_DONE: bytes of a body; 413 beyond.
     */
    size_t body_max;

    /* Valid from HTTP_HEAD_DONE on. */
    enum http_method method;
    struct http_span method_name;
    struct http_span path;  /* as sent: starts with '/', not decoded; empty for an absolute target
                               without path (means "/") */
    struct http_span query; /* after the first '?', without it; not decoded */
    bool has_query;
    uint8_t minor_version; /* 0 or 1 */
    bool keep_alive;       /* the client lets the connection live on */
    bool expect_continue;  /* the client waits for 100 before it sends the body */
    bool chunked, has_length;
    uint64_t length; /* with has_length */
    uint32_t header_count;
    struct http_header_span headers[HTTP_HEADER_LINES_MAX];

    /* Valid at HTTP_DONE. */
    size_t body_at, body_size, consumed;
    size_t body_gone; /* bytes that http_parser_drop_body took out */

    /* Valid at HTTP_BAD. */
    int status;
    const char *reason; /* static, lower case, for the answer's body */

    /* Private. */
    unsigned state, seen;
    size_t line_at, scan_at, headers_at, extensions;
    uint64_t chunk_left;
    struct http_span host, authority;
};

/* Ready for a request. */
void http_parser_init(struct http_parser *parser, size_t body_max);

/* `data`: all bytes of the connection from the request's first one on, *size of them. A chunked
 * body is joined in place: bytes then move down and *size shrinks by what the framing took. Every
 * call but the first after HTTP_MORE must bring at least the bytes that the last left. */
enum http_progress http_parser_run(struct http_parser *parser, uint8_t *data, size_t *size);

/* A body that its reader does not want to have in one piece: after each run past HTTP_HEAD_DONE, what
 * has arrived of it (borrowed), and taking that out of the buffer. */
struct cf_slice http_parser_body_here(const struct http_parser *parser, const uint8_t *data,
                                      size_t size);
void http_parser_drop_body(struct http_parser *parser, uint8_t *data, size_t *size);

/* Has any byte of a request arrived (a blank line before it does not count)? */
bool http_parser_started(const struct http_parser *parser, size_t size);

/* Views into the request's bytes, wherever they are now. From HTTP_HEAD_DONE on. */
static inline struct cf_slice http_span_slice(struct http_span span, const uint8_t *data)
{
    return cf_slice_of(data + span.at, span.size);
}
/* The first header of that name (in any case), false when there is none. */
bool http_parser_header(const struct http_parser *parser, const uint8_t *data, struct cf_slice name,
                        struct cf_slice *ret);
/* How many headers have that name. */
unsigned http_parser_header_count(const struct http_parser *parser, const uint8_t *data,
                                  struct cf_slice name);

/* ASCII, in any case. */
bool http_slice_eq_nocase(struct cf_slice a, struct cf_slice b);

#endif

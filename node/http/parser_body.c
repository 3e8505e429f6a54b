/* node/http/parser_body.c: bodies of known length, and chunked ones (RFC 9112 7.1), joined in
 * place. */
#include <string.h>

#include "node/http/parser_int.h"

#define CHUNK_DIGITS_MAX ((size_t)16) /* 64 bits */

static enum http_progress done(struct http_parser *parser, size_t consumed)
{
    parser->state = PARSER_DONE;
    parser->consumed = consumed;
    return HTTP_DONE;
}

static enum http_progress fixed_body(struct http_parser *parser, size_t size)
{
    if (size - parser->body_at < parser->length) {
        return HTTP_MORE;
    }
    parser->body_size = (size_t)parser->length;
    return done(parser, parser->body_at + parser->body_size);
}

static int hex_value(uint8_t byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* chunk-size [";" ...]. No blank around the size, no prefix, no trailer: strict, see the table of
 * refusals in the tests. */
static enum http_progress chunk_size(struct http_parser *parser, const uint8_t *data, size_t size)
{
    struct cf_slice line;
    size_t end;
    enum http_progress progress = parser_line(
        parser, data, size, CHUNK_DIGITS_MAX + HTTP_CHUNK_EXTENSIONS_MAX - parser->extensions, 400,
        &line, &end);
    if (progress != HTTP_DONE) {
        return progress;
    }
    size_t digits = 0;
    uint64_t length = 0;
    for (; digits < line.size && hex_value(line.data[digits]) >= 0; digits++) {
        length = length << 4 | (unsigned)hex_value(line.data[digits]);
    }
    struct cf_slice extension = cf_slice_from(line, digits);
    if (digits == 0 || digits > CHUNK_DIGITS_MAX ||
        (extension.size != 0 && extension.data[0] != ';') || !parser_all(extension, CHAR_VALUE)) {
        return parser_refuse(parser, 400, "malformed chunk");
    }
    parser->extensions += extension.size;
    if (parser->extensions > HTTP_CHUNK_EXTENSIONS_MAX) {
        return parser_refuse(parser, 400, "too many chunk extensions");
    }
    if (length > parser->body_max - parser->body_size - parser->body_gone) {
        return parser_refuse(parser, 413, "request body too large");
    }
    parser->line_at = parser->scan_at = end;
    parser->chunk_left = length;
    parser->state = length != 0 ? PARSER_CHUNK_DATA : PARSER_LAST_CHUNK;
    return HTTP_DONE;
}

static enum http_progress chunk_data(struct http_parser *parser, uint8_t *data, size_t size)
{
    size_t here = size - parser->line_at;
    size_t take = here < parser->chunk_left ? here : (size_t)parser->chunk_left;
    uint8_t *to = data + parser->body_at + parser->body_size;
    if (take != 0 && to != data + parser->line_at) {
        memmove(to, data + parser->line_at, take);
    }
    parser->body_size += take;
    parser->chunk_left -= take;
    parser->line_at += take;
    parser->scan_at = parser->line_at;
    if (parser->chunk_left != 0) {
        return HTTP_MORE;
    }
    parser->state = PARSER_CHUNK_END;
    return HTTP_DONE;
}

/* The CRLF after a chunk's data, or (last) the one that ends the body. */
static enum http_progress chunk_end(struct http_parser *parser, const uint8_t *data, size_t size)
{
    static const char crlf[2] = {'\r', '\n'};
    size_t here = size - parser->line_at < 2 ? size - parser->line_at : 2;
    if (here != 0 && memcmp(data + parser->line_at, crlf, here) != 0) {
        return parser_refuse(parser, 400,
                             parser->state == PARSER_LAST_CHUNK ? "trailers are not supported"
                                                                : "malformed chunk");
    }
    if (here < 2) {
        return HTTP_MORE;
    }
    parser->line_at += 2;
    parser->scan_at = parser->line_at;
    if (parser->state == PARSER_LAST_CHUNK) {
        return done(parser, parser->line_at);
    }
    parser->state = PARSER_CHUNK_SIZE;
    return HTTP_DONE;
}

static enum http_progress chunks(struct http_parser *parser, uint8_t *data, size_t size)
{
    enum http_progress progress = HTTP_DONE;
    while (progress == HTTP_DONE && parser->state != PARSER_DONE) {
        if (parser->state == PARSER_CHUNK_SIZE) {
            progress = chunk_size(parser, data, size);
        } else if (parser->state == PARSER_CHUNK_DATA) {
            progress = chunk_data(parser, data, size);
        } else {
            progress = chunk_end(parser, data, size);
        }
    }
    return progress;
}

/* What follows moves down behind the body: the buffer then never holds more than the body, the
 * head and one read, however small the chunks are. */
static void close_gap(struct http_parser *parser, uint8_t *data, size_t *size)
{
    size_t to = parser->body_at + parser->body_size;
    size_t gap = parser->line_at - to;
    if (gap == 0) {
        return;
    }
    memmove(data + to, data + parser->line_at, *size - parser->line_at);
    *size -= gap;
    parser->line_at -= gap;
    parser->scan_at -= gap;
    parser->consumed -= parser->state == PARSER_DONE ? gap : 0;
}

enum http_progress parser_body(struct http_parser *parser, uint8_t *data, size_t *size)
{
    if (parser->state == PARSER_DONE) {
        return HTTP_DONE;
    }
    if (parser->state == PARSER_HEAD_END) {
        if (parser->has_length && parser->length > parser->body_max) {
            return parser_refuse(parser, 413, "request body too large");
        }
        parser->state = parser->chunked ? PARSER_CHUNK_SIZE : PARSER_FIXED_BODY;
    }
    if (parser->state == PARSER_FIXED_BODY) {
        return fixed_body(parser, *size);
    }
    enum http_progress progress = chunks(parser, data, *size);
    close_gap(parser, data, size);
    return progress;
}

struct cf_slice http_parser_body_here(const struct http_parser *parser, const uint8_t *data,
                                      size_t size)
{
    if (parser->body_at == 0) {
        return CF_SLICE_EMPTY;
    }
    size_t here = parser->body_size;
    if (parser->state == PARSER_FIXED_BODY) {
        here = size - parser->body_at;
        here = here < parser->length ? here : (size_t)parser->length;
    }
    return cf_slice_of(data + parser->body_at, here);
}

void http_parser_drop_body(struct http_parser *parser, uint8_t *data, size_t *size)
{
    size_t gone = http_parser_body_here(parser, data, *size).size;
    if (gone == 0) {
        return;
    }
    size_t from = parser->body_at + gone;
    memmove(data + parser->body_at, data + from, *size - from);
    *size -= gone;
    parser->body_gone += gone;
    if (parser->state == PARSER_FIXED_BODY) {
        parser->length -= gone;
        return;
    }
    parser->body_size -= gone;
    if (parser->chunked) {
        parser->line_at -= gone;
        parser->scan_at -= gone;
    }
    parser->consumed -= parser->state == PARSER_DONE ? gone : 0;
}

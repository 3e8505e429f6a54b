/* tests/unit/node/http/test_parser.c: what is taken, what is refused and with which status, and
 * that the answer does not depend on how the bytes were cut. */
#include "node/http/parser.h"

#include "node/base/host.h"
#include "node/base/memory.h"
#include "test.h"

#define BODY_MAX ((size_t)64)

struct outcome {
    int status;  /* 200: a request; 0: more is wanted */
    size_t rest; /* bytes after the request */
    struct http_parser parser;
    uint8_t *data; /* of `capacity` bytes, on the heap so that a sanitizer sees each overrun */
    size_t size;
};

static void outcome_done(struct outcome *out)
{
    cf_free(out->data);
}

/* Feeds `input` in pieces of which the i-th ends at cuts[i]; the last piece is the rest. Each piece
 * gets a fresh block of exactly its size. */
static struct outcome feed(struct cf_slice input, const size_t *cuts, size_t count)
{
    struct outcome out = {0};
    http_parser_init(&out.parser, BODY_MAX);
    size_t from = 0;
    for (size_t i = 0; i <= count; i++) {
        size_t to = i < count ? cuts[i] : input.size;
        uint8_t *grown = cf_alloc(out.size + (to - from));
        if (out.size != 0) {
            memcpy(grown, out.data, out.size);
        }
        memcpy(grown + out.size, input.data + from, to - from);
        cf_free(out.data);
        out.data = grown;
        out.size += to - from;
        from = to;
        enum http_progress progress = http_parser_run(&out.parser, out.data, &out.size);
        if (progress == HTTP_HEAD_DONE) {
            progress = http_parser_run(&out.parser, out.data, &out.size);
        }
        ck_assert(progress != HTTP_HEAD_DONE);
        if (progress == HTTP_BAD) {
            out.status = out.parser.status;
            ck_assert_ptr_nonnull(out.parser.reason);
            ck_assert_int_eq(http_parser_run(&out.parser, out.data, &out.size), HTTP_BAD);
            return out;
        }
        if (progress == HTTP_DONE) {
            ck_assert_uint_le(out.parser.consumed, out.size);
            out.status = 200;
            out.rest = out.size - out.parser.consumed + (input.size - to);
            return out;
        }
    }
    return out;
}

static struct cf_slice body_of(const struct outcome *out)
{
    return cf_slice_of(out->data + out->parser.body_at, out->parser.body_size);
}

static void expect_same(const struct outcome *a, const struct outcome *b, size_t cut)
{
    ck_assert_msg(a->status == b->status, "cut at %zu: %d, not %d", cut, b->status, a->status);
    if (a->status == 200) {
        ck_assert_uint_eq(a->rest, b->rest);
        ck_assert_uint_eq(a->parser.header_count, b->parser.header_count);
        ck_assert(cf_slice_eq(body_of(a), body_of(b)));
        ck_assert(cf_slice_eq(http_span_slice(a->parser.path, a->data),
                              http_span_slice(b->parser.path, b->data)));
        ck_assert(a->parser.keep_alive == b->parser.keep_alive);
    }
}

/* Whole, byte by byte, and (short ones) cut in two at each place. */
static int status_of(struct cf_slice input)
{
    struct outcome whole = feed(input, NULL, 0);
    if (input.size < 1024) {
        size_t bytes[1024] = {0};
        for (size_t i = 0; i < input.size; i++) {
            bytes[i] = i;
        }
        struct outcome dripped = feed(input, bytes, input.size);
        expect_same(&whole, &dripped, 0);
        outcome_done(&dripped);
        for (size_t cut = 1; cut < input.size; cut++) {
            struct outcome split = feed(input, &cut, 1);
            expect_same(&whole, &split, cut);
            outcome_done(&split);
        }
    }
    outcome_done(&whole);
    return whole.status;
}

#define R "GET /v1/a HTTP/1.1\r\n"
#define P "POST /v1/a HTTP/1.1\r\nHost: h\r\n"
#define C P "Transfer-Encoding: chunked\r\n\r\n"
#define H "Host: h\r\n"
#define ROW(status, text)                                                                          \
    {                                                                                              \
        status, text, sizeof(text) - 1                                                             \
    }

static const struct {
    int status;
    const char *text;
    size_t size;
} rows[] = {
    /* taken */
    ROW(200, R H "\r\n"),
    ROW(200, "\r\n" R H "\r\n"),
    ROW(200, R "host:h\r\n\r\n"),
    ROW(200, R "Host: \t h:8200 \t\r\nX-Empty:\r\n\r\n"),
    ROW(200, R "Host:\r\n\r\n"),
    ROW(200, R "Host: [::1]:8200\r\n\r\n"),
    ROW(200, R H "X: caf\xc3\xa9\r\n\r\n"),
    ROW(200, "LIST /v1/a HTTP/1.1\r\n" H "\r\n"),
    ROW(200, "PATCH /v1/a HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\n{}"),
    ROW(200, "X-!#$%&'*+.^_`|~9 /v1/a HTTP/1.1\r\n" H "\r\n"),
    ROW(200, "GET /v1/a?list=true&x=%20? HTTP/1.1\r\n" H "\r\n"),
    ROW(200, "GET http://h/v1/a HTTP/1.1\r\n" H "\r\n"),
    ROW(200, "GET HTTPS://H?help=1 HTTP/1.1\r\n" H "\r\n"),
    ROW(200, "GET /v1/a HTTP/1.0\r\n\r\n"),
    ROW(200, P "Content-Length: 0\r\n\r\n"),
    ROW(200, P "Content-Length: 002\r\n\r\n{}"),
    ROW(200, P "Content-Length: 2\r\n\r\n{}GET"),
    ROW(200, P "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n{}"),
    ROW(200, C "0\r\n\r\n"),
    ROW(200, C "2\r\n{}\r\n0\r\n\r\n"),
    ROW(200, C "1;a=b\r\n{\r\n01\r\n}\r\n000\r\n\r\n"),
    ROW(200, P "transfer-encoding: CHUNKED\r\n\r\nA\r\n0123456789\r\n0\r\n\r\nGET"),
    /* unfinished */
    ROW(0, ""),
    ROW(0, "\r\n"),
    ROW(0, "GET"),
    ROW(0, R H),
    ROW(0, R H "\r"),
    ROW(0, P "Content-Length: 3\r\n\r\n{}"),
    ROW(0, C "2\r\n{}\r\n0\r\n\r"),
    /* where the body ends must be clear: request smuggling */
    ROW(400, P "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ROW(400, P "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n"),
    ROW(400, P "Content-Length: 2\r\nContent-Length: 3\r\n\r\n"),
    ROW(400, P "Content-Length: 2\r\nContent-Length: 2\r\n\r\n"),
    ROW(400, P "Content-Length: +2\r\n\r\n"),
    ROW(400, P "Content-Length: -1\r\n\r\n"),
    ROW(400, P "Content-Length: 2abc\r\n\r\n"),
    ROW(400, P "Content-Length: 2, 2\r\n\r\n"),
    ROW(400, P "Content-Length: 5,5\r\n\r\n"),
    ROW(400, P "Content-Length: 0x5\r\n\r\n"),
    ROW(400, P "Content-Length: 2 2\r\n\r\n"),
    ROW(400, P "Content-Length:\r\n\r\n"),
    ROW(413, P "Content-Length: 18446744073709551616\r\n\r\n"),
    ROW(413, P "Content-Length: 99999999999999999999999999999999\r\n\r\n"),
    ROW(501, P "Transfer-Encoding: xchunked\r\n\r\n"),
    ROW(501, P "Transfer-Encoding: gzip, chunked\r\n\r\n"),
    ROW(501, P "Transfer-Encoding: chunked, chunked\r\n\r\n"),
    ROW(501, P "Transfer-Encoding: identity\r\n\r\n"),
    ROW(400, P "Transfer-Encoding:\r\n\r\n"),
    ROW(400, P "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ROW(400, P "Transfer-Encoding : chunked\r\n\r\n"),
    ROW(400, P "Transfer-Encoding\t: chunked\r\n\r\n"),
    ROW(400, P "Transfer-Encoding: chunked\x0b\r\n\r\n"),
    ROW(400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ROW(400, C "0x2\r\n{}\r\n0\r\n\r\n"),
    ROW(400, C " 2\r\n{}\r\n0\r\n\r\n"),
    ROW(400, C "2 \r\n{}\r\n0\r\n\r\n"),
    ROW(400, C "+2\r\n{}\r\n0\r\n\r\n"),
    ROW(400, C "-2\r\n{}\r\n0\r\n\r\n"),
    ROW(400, C "\r\n{}\r\n0\r\n\r\n"),
    ROW(400, C ";x\r\n{}\r\n0\r\n\r\n"),
    ROW(400, C "g\r\n"),
    ROW(400, C "10000000000000000\r\n"),
    ROW(400, C "00000000000000002\r\n{}\r\n0\r\n\r\n"),
    ROW(413, C "FFFFFFFFFFFFFFFF\r\n"),
    ROW(413, C "8000000000000000\r\n"),
    ROW(400, C "2\n{}\r\n0\r\n\r\n"),
    ROW(400, C "2\r\n{}\n0\r\n\r\n"),
    ROW(400, C "2\r\n{}0\r\n\r\n"),
    ROW(400, C "2\r\n{}}\r\n0\r\n\r\n"),
    ROW(400, C "0\r\n\n"),
    ROW(400, C "0\r\nX: y\r\n\r\n"),
    ROW(400, C "0\r\nContent-Length: 9\r\n\r\n"),
    ROW(400, C "2;a\rb\r\n{}\r\n0\r\n\r\n"),
    ROW(400, C "2;a\0b\r\n{}\r\n0\r\n\r\n"),
    /* line ends, names, values */
    ROW(400, "GET /v1/a HTTP/1.1\n" H "\r\n"),
    ROW(400, R "Host: h\n\r\n"),
    ROW(400, R H "\n"),
    ROW(400, R H "X: a\rb\r\n\r\n"),
    ROW(400, R H "X: a\r\r\n\r\n"),
    ROW(400, R H "X: a\r\n folded\r\n\r\n"),
    ROW(400, R H "X: a\r\n\tfolded\r\n\r\n"),
    ROW(400, R " Host: h\r\n\r\n"),
    ROW(400, R H "X: a\0b\r\n\r\n"),
    ROW(400, R H "X: a\x7f\r\n\r\n"),
    ROW(400, R H "X: a\x01\r\n\r\n"),
    ROW(400, R H ": a\r\n\r\n"),
    ROW(400, R H "X a: b\r\n\r\n"),
    ROW(400, R H "X : b\r\n\r\n"),
    ROW(400, R H "X(: b\r\n\r\n"),
    ROW(400, R H "X\0: b\r\n\r\n"),
    ROW(400, R H "X\xc3\xa9: b\r\n\r\n"),
    ROW(400, R H "nocolon\r\n\r\n"),
    /* host */
    ROW(400, R "\r\n"),
    ROW(400, R H H "\r\n"),
    ROW(400, R "Host: a b\r\n\r\n"),
    ROW(400, R "Host: u@h\r\n\r\n"),
    ROW(400, R "Host: h/x\r\n\r\n"),
    ROW(400, "GET / HTTP/1.0\r\n" H H "\r\n"),
    ROW(400, "GET http://other/v1/a HTTP/1.1\r\n" H "\r\n"),
    ROW(400, "GET http://h:1/v1/a HTTP/1.1\r\n" H "\r\n"),
    ROW(400, "GET http://u@h/v1/a HTTP/1.0\r\n\r\n"),
    ROW(400, "GET http:///v1/a HTTP/1.1\r\nHost:\r\n\r\n"),
    ROW(400, "GET http://?x HTTP/1.1\r\nHost:\r\n\r\n"),
    ROW(400, "GET ftp://h/v1/a HTTP/1.1\r\n" H "\r\n"),
    /* request line */
    ROW(400, "\r\n\r\n" R H "\r\n"),
    ROW(400, "\rGET / HTTP/1.1\r\n" H "\r\n"),
    ROW(400, "\x16\x03\x01\x02\x00"),
    ROW(400, " GET / HTTP/1.1\r\n"),
    ROW(400, "GET /\r\n"),
    ROW(400, "GET\r\n"),
    ROW(400, "GET  / HTTP/1.1\r\n"),
    ROW(400, "GET /  HTTP/1.1\r\n"),
    ROW(400, "GET / HTTP/1.1 \r\n"),
    ROW(400, "GET /a b HTTP/1.1\r\n"),
    ROW(400, "GET\t/ HTTP/1.1\r\n"),
    ROW(400, "GET  HTTP/1.1\r\n"),
    ROW(400, "G@T / HTTP/1.1\r\n"),
    ROW(400, "GET v1/a HTTP/1.1\r\n"),
    ROW(400, "GET * HTTP/1.1\r\n"),
    ROW(400, "OPTIONS * HTTP/1.1\r\n"),
    ROW(400, "GET /a\x01 HTTP/1.1\r\n"),
    ROW(400, "GET /a\0 HTTP/1.1\r\n"),
    ROW(400, "GET /a\xc3\xa9 HTTP/1.1\r\n"),
    ROW(400, "GET /a#b HTTP/1.1\r\n"),
    ROW(400, "GET /a\\b HTTP/1.1\r\n"),
    ROW(400, "GET / http/1.1\r\n"),
    ROW(400, "GET / HTTP/11\r\n"),
    ROW(400, "GET / HTTP/1.1x\r\n"),
    ROW(400, "GET / HTTP/1.10\r\n"),
    ROW(400, "GET / HTTP/\r\n"),
    ROW(505, "GET / HTTP/1.9\r\n"),
    ROW(505, "GET / HTTP/2.0\r\n"),
    ROW(505, "GET / HTTP/0.9\r\n"),
    ROW(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ROW(405, "CONNECT h:443 HTTP/1.1\r\n" H "\r\n"),
    ROW(417, P "Expect: a-miracle\r\nContent-Length: 2\r\n\r\n"),
};

START_TEST(every_row_cut_everywhere)
{
    for (size_t i = 0; i < CF_LENGTH(rows); i++) {
        int got = status_of(cf_slice_of(rows[i].text, rows[i].size));
        ck_assert_msg(got == rows[i].status, "row %zu \"%s\": %d, not %d", i, rows[i].text, got,
                      rows[i].status);
    }
}
END_TEST

START_TEST(says_what_it_found)
{
    struct outcome out = feed(CF_SLICE("\r\nPOST /v1/a%20b?x=1&y HTTP/1.1\r\nHost: h\r\n"
                                       "X-Vault-Token:  s.abc \r\nContent-Length: 3\r\n"
                                       "x-vault-token: second\r\n\r\nabcGET"),
                              NULL, 0);
    const struct http_parser *p = &out.parser;
    ck_assert_int_eq(out.status, 200);
    ck_assert_int_eq(p->method, HTTP_POST);
    ck_slice(http_span_slice(p->method_name, out.data), "POST");
    ck_slice(http_span_slice(p->path, out.data), "/v1/a%20b");
    ck_assert(p->has_query && p->keep_alive && !p->expect_continue);
    ck_slice(http_span_slice(p->query, out.data), "x=1&y");
    ck_slice(body_of(&out), "abc");
    ck_assert_uint_eq(out.rest, 3);
    struct cf_slice value = CF_SLICE_EMPTY;
    ck_assert(http_parser_header(p, out.data, CF_SLICE("x-VAULT-token"), &value));
    ck_slice(value, "s.abc");
    ck_assert_uint_eq(http_parser_header_count(p, out.data, CF_SLICE("X-Vault-Token")), 2);
    ck_assert(!http_parser_header(p, out.data, CF_SLICE("X-Vault-Toke"), &value));
    outcome_done(&out);
}
END_TEST

START_TEST(methods_keep_their_case)
{
    static const struct {
        const char *text;
        enum http_method method;
    } cases[] = {
        {"GET", HTTP_GET},         {"HEAD", HTTP_HEAD},      {"PUT", HTTP_PUT},
        {"DELETE", HTTP_DELETE},   {"LIST", HTTP_LIST},      {"SCAN", HTTP_SCAN},
        {"OPTIONS", HTTP_OPTIONS}, {"PATCH", HTTP_PATCH},    {"get", HTTP_OTHER},
        {"TRACE", HTTP_OTHER},     {"PROPFIND", HTTP_OTHER},
    };
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        CF_BUF(text) = {.max = 200};
        cf_buf_addf(&text, "%s / HTTP/1.1\r\nHost: h\r\n\r\n", cases[i].text);
        struct outcome out = feed(cf_buf_slice(&text), NULL, 0);
        ck_assert_int_eq(out.status, 200);
        ck_assert_int_eq(out.parser.method, cases[i].method);
        outcome_done(&out);
    }
}
END_TEST

START_TEST(knows_who_closes)
{
    static const struct {
        const char *version, *header;
        bool keep_alive;
    } cases[] = {
        {"1.1", "", true},
        {"1.1", "Connection: keep-alive\r\n", true},
        {"1.1", "Connection: closely, upgrade\r\n", true},
        {"1.1", "Connection: close\r\n", false},
        {"1.1", "Connection: Keep-Alive , CLOSE\r\n", false},
        {"1.1", "Connection: x\r\nConnection: close\r\n", false},
        {"1.0", "", false},
        {"1.0", "Connection: keep-alive\r\n", false},
    };
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        CF_BUF(text) = {.max = 200};
        cf_buf_addf(&text, "GET / HTTP/%s\r\nHost: h\r\n%s\r\n", cases[i].version, cases[i].header);
        struct outcome out = feed(cf_buf_slice(&text), NULL, 0);
        ck_assert_int_eq(out.status, 200);
        ck_assert_msg(out.parser.keep_alive == cases[i].keep_alive, "case %zu", i);
        outcome_done(&out);
    }
}
END_TEST

START_TEST(absolute_target_without_path_is_the_root)
{
    struct outcome out = feed(CF_SLICE("GET http://h?x HTTP/1.1\r\nHost: H\r\n\r\n"), NULL, 0);
    ck_assert_int_eq(out.status, 200);
    ck_assert_uint_eq(out.parser.path.size, 0);
    ck_slice(http_span_slice(out.parser.query, out.data), "x");
    outcome_done(&out);
}
END_TEST

/* Says so before a byte of the body, and never asks for a body that it would refuse. */
START_TEST(expect_is_told_at_the_head)
{
    struct http_parser parser;
    uint8_t data[] =
        "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 65\r\n\r\n";
    size_t size = sizeof(data) - 1;
    http_parser_init(&parser, 0);
    ck_assert_int_eq(http_parser_run(&parser, data, &size), HTTP_HEAD_DONE);
    ck_assert(parser.expect_continue);
    parser.body_max = 65;
    ck_assert_int_eq(http_parser_run(&parser, data, &size), HTTP_MORE);

    http_parser_init(&parser, 0);
    ck_assert_int_eq(http_parser_run(&parser, data, &size), HTTP_HEAD_DONE);
    parser.body_max = 64;
    ck_assert_int_eq(http_parser_run(&parser, data, &size), HTTP_BAD);
    ck_assert_int_eq(parser.status, 413);
}
END_TEST

/* Nothing waits for a body that does not come. */
START_TEST(expect_without_a_body_is_nothing)
{
    struct outcome out =
        feed(CF_SLICE("GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n"), NULL, 0);
    ck_assert_int_eq(out.status, 200);
    ck_assert(!out.parser.expect_continue);
    outcome_done(&out);
}
END_TEST

static int sized(size_t target, size_t header_lines, size_t header_bytes, size_t body, bool chunked)
{
    CF_BUF(text) = {0};
    cf_buf_add_str(&text, "POST /");
    /* "POST " + target + " HTTP/1.1" */
    for (size_t i = 1; i < target; i++) {
        cf_buf_add_byte(&text, 'a');
    }
    cf_buf_add_str(&text, " HTTP/1.1\r\n");
    size_t start = text.size;
    cf_buf_add_str(&text, "Host: h\r\n");
    if (chunked) {
        cf_buf_add_str(&text, "Transfer-Encoding: chunked\r\n");
    } else {
        cf_buf_addf(&text, "Content-Length: %zu\r\n", body);
    }
    for (size_t i = 2; i < header_lines; i++) {
        cf_buf_add_str(&text, "X: y\r\n");
    }
    if (header_bytes != 0) {
        cf_buf_add_str(&text, "Y: ");
        while (text.size - start + 4 < header_bytes) {
            cf_buf_add_byte(&text, 'y');
        }
        cf_buf_add_str(&text, "\r\n");
    }
    cf_buf_add_str(&text, "\r\n");
    if (chunked) {
        for (size_t i = 0; i < body; i++) {
            cf_buf_add_str(&text, "1\r\nb\r\n");
        }
        cf_buf_add_str(&text, "0\r\n\r\n");
    } else {
        for (size_t i = 0; i < body; i++) {
            cf_buf_add_byte(&text, 'b');
        }
    }
    struct outcome out = feed(cf_buf_slice(&text), NULL, 0);
    int status = out.status;
    outcome_done(&out);
    /* In pieces of a kilobyte the answer is the same. */
    size_t cuts[100], count = 0;
    for (size_t at = 1000; at < text.size && count < CF_LENGTH(cuts); at += 1000) {
        cuts[count++] = at;
    }
    out = feed(cf_buf_slice(&text), cuts, count);
    ck_assert_int_eq(out.status, status);
    outcome_done(&out);
    return status;
}

START_TEST(limits_below_at_above)
{
    static const struct {
        size_t target, lines, bytes, body;
        bool chunked;
        int status;
    } cases[] = {
        {HTTP_REQUEST_LINE_MAX - 15, 0, 0, 0, false, 200},
        {HTTP_REQUEST_LINE_MAX - 14, 0, 0, 0, false, 200},
        {HTTP_REQUEST_LINE_MAX - 13, 0, 0, 0, false, 414},
        {100000, 0, 0, 0, false, 414},
        {1, 99, 0, 0, false, 200},
        {1, 100, 0, 0, false, 200},
        {1, 101, 0, 0, false, 431},
        {1, 0, HTTP_HEADER_BYTES_MAX - 1, 0, false, 200},
        {1, 0, HTTP_HEADER_BYTES_MAX, 0, false, 200},
        {1, 0, HTTP_HEADER_BYTES_MAX + 1, 0, false, 431},
        {1, 0, HTTP_HEADER_BYTES_MAX + 2, 0, false, 431},
        {1, 0, HTTP_HEADER_BYTES_MAX + 3, 0, false, 431},
        {1, 0, 1000000, 0, false, 431},
        {HTTP_REQUEST_LINE_MAX - 14, 0, HTTP_HEADER_BYTES_MAX, BODY_MAX, false, 200},
        {1, 0, 0, BODY_MAX - 1, false, 200},
        {1, 0, 0, BODY_MAX, false, 200},
        {1, 0, 0, BODY_MAX + 1, false, 413},
        {1, 0, 0, BODY_MAX - 1, true, 200},
        {1, 0, 0, BODY_MAX, true, 200},
        {1, 0, 0, BODY_MAX + 1, true, 413},
    };
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        int got =
            sized(cases[i].target, cases[i].lines, cases[i].bytes, cases[i].body, cases[i].chunked);
        ck_assert_msg(got == cases[i].status, "case %zu: %d", i, got);
    }
}
END_TEST

/* Chunks of at most BODY_MAX bytes in all, with `first` and `second` bytes of extension. */
static int extended(size_t first, size_t second)
{
    CF_BUF(text) = {0};
    cf_buf_add_str(&text, C);
    for (unsigned i = 0; i < 2; i++) {
        size_t size = i == 0 ? first : second;
        cf_buf_add_str(&text, "1");
        for (size_t k = 0; k < size; k++) {
            cf_buf_add_byte(&text, k == 0 ? ';' : 'e');
        }
        cf_buf_add_str(&text, "\r\nb\r\n");
    }
    cf_buf_add_str(&text, "0\r\n\r\n");
    struct outcome out = feed(cf_buf_slice(&text), NULL, 0);
    outcome_done(&out);
    return out.status;
}

START_TEST(extensions_are_counted_over_the_body)
{
    ck_assert_int_eq(extended(HTTP_CHUNK_EXTENSIONS_MAX - 1, 1), 200);
    ck_assert_int_eq(extended(HTTP_CHUNK_EXTENSIONS_MAX, 0), 200);
    ck_assert_int_eq(extended(HTTP_CHUNK_EXTENSIONS_MAX, 1), 400);
    ck_assert_int_eq(extended(HTTP_CHUNK_EXTENSIONS_MAX + 1, 0), 400);
    ck_assert_int_eq(extended(100000, 0), 400);
}
END_TEST

START_TEST(long_methods_are_unknown)
{
    ck_assert_int_eq(status_of(CF_SLICE("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1\r\nHost: h\r\n"
                                        "\r\n")),
                     200);
    ck_assert_int_eq(status_of(CF_SLICE("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n")), 501);
}
END_TEST

/* A body in one-byte chunks never needs more room than itself and one read. */
START_TEST(small_chunks_take_no_room)
{
    struct http_parser parser;
    http_parser_init(&parser, 1000);
    uint8_t data[1200];
    size_t size = sizeof(C) - 1;
    memcpy(data, C, size);
    enum http_progress progress = http_parser_run(&parser, data, &size);
    ck_assert_int_eq(progress, HTTP_HEAD_DONE);
    for (size_t i = 0; i < 1000; i++) {
        uint8_t chunk[] = {'1', '\r', '\n', (uint8_t)('a' + i % 26), '\r', '\n'};
        ck_assert_uint_le(size + sizeof(chunk), sizeof(data));
        memcpy(data + size, chunk, sizeof(chunk));
        size += sizeof(chunk);
        ck_assert_int_eq(http_parser_run(&parser, data, &size), HTTP_MORE);
        ck_assert_uint_le(size, sizeof(C) + i);
    }
    memcpy(data + size, "0\r\n\r\nGET", 8);
    size += 8;
    ck_assert_int_eq(http_parser_run(&parser, data, &size), HTTP_DONE);
    ck_assert_uint_eq(parser.body_size, 1000);
    ck_assert_int_eq(data[parser.body_at + 27], 'b');
    ck_slice(cf_slice_of(data + parser.consumed, size - parser.consumed), "GET");
}
END_TEST

/* Requests behind each other come out one by one with the right bytes. */
START_TEST(pipelined_requests)
{
    uint8_t data[] =
        "POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\n"
        "b\r\n0\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nc"
        "GET /3 HTTP/1.1\r\nHost: h\r\n\r\n";
    size_t size = sizeof(data) - 1;
    uint8_t *at = data;
    static const char *const paths[] = {"/1", "/2", "/3"};
    static const char *const bodies[] = {"ab", "c", ""};
    for (size_t i = 0; i < 3; i++) {
        struct http_parser parser;
        http_parser_init(&parser, 10);
        ck_assert(http_parser_started(&parser, size));
        ck_assert_int_eq(http_parser_run(&parser, at, &size), HTTP_HEAD_DONE);
        ck_assert_int_eq(http_parser_run(&parser, at, &size), HTTP_DONE);
        ck_slice(http_span_slice(parser.path, at), paths[i]);
        ck_slice(cf_slice_of(at + parser.body_at, parser.body_size), bodies[i]);
        at += parser.consumed;
        size -= parser.consumed;
    }
    ck_assert_uint_eq(size, 0);
}
END_TEST

/* Random damage: no crash, no overrun, and the same answer for each way of cutting. */
START_TEST(damaged_requests)
{
    struct cf_prng prng;
    cf_prng_seed(&prng, 20);
    static const char alphabet[] = "\r\n\r\n\0 \t:;,/?%0123456789abcdefxGET\x7f\x80\xff";
    for (unsigned round = 0; round < 30000; round++) {
        size_t row = (size_t)cf_prng_below(&prng, CF_LENGTH(rows));
        uint8_t data[400];
        size_t size = cf_min(rows[row].size, sizeof(data) - 8);
        memcpy(data, rows[row].text, size);
        for (uint64_t k = cf_prng_below(&prng, 4); k > 0 && size > 1; k--) {
            size_t at = (size_t)cf_prng_below(&prng, size);
            uint8_t byte = (uint8_t)alphabet[cf_prng_below(&prng, sizeof(alphabet))];
            switch (cf_prng_below(&prng, 3)) {
            case 0:
                data[at] = byte;
                break;
            case 1:
                memmove(data + at + 1, data + at, size - at);
                data[at] = byte;
                size++;
                break;
            default:
                memmove(data + at, data + at + 1, size - at - 1);
                size--;
                break;
            }
        }
        struct outcome whole = feed(cf_slice_of(data, size), NULL, 0);
        size_t cuts[3] = {0};
        for (size_t k = 0; k < 3; k++) {
            size_t low = k != 0 ? cuts[k - 1] : 0;
            cuts[k] = low + (size_t)cf_prng_below(&prng, size - low + 1);
        }
        struct outcome split = feed(cf_slice_of(data, size), cuts, 3);
        expect_same(&whole, &split, round);
        ck_assert(whole.status == 0 || whole.status == 200 ||
                  (whole.status >= 400 && whole.status < 600));
        outcome_done(&whole);
        outcome_done(&split);
    }
}
END_TEST

TEST_MAIN("node/http/parser", every_row_cut_everywhere, says_what_it_found, methods_keep_their_case,
          knows_who_closes, absolute_target_without_path_is_the_root, expect_is_told_at_the_head,
          expect_without_a_body_is_nothing, limits_below_at_above,
          extensions_are_counted_over_the_body, long_methods_are_unknown, small_chunks_take_no_room,
          pipelined_requests, damaged_requests)

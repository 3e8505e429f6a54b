/* tests/fuzz/fuzz_http.c: requests of HTTP/1.1. However a connection's bytes are cut into reads,
 * the same requests come out of them, within their limits; and a path has one spelling. */
#include "fuzz.h"
#include "node/http/parser.h"
#include "node/http/path.h"

#define BODY_MAX ((size_t)4096)

struct run {
    struct http_parser parser;
    uint8_t *data; /* from the request's first byte on; an allocation of exactly `size` bytes */
    size_t size;
    enum http_progress progress;
};

static void check_spans(const struct run *run)
{
    const struct http_parser *p = &run->parser;
    FUZZ_CHECK(p->consumed <= run->size && p->body_at + p->body_size <= p->consumed);
    FUZZ_CHECK(p->body_size <= BODY_MAX && p->header_count <= HTTP_HEADER_LINES_MAX);
    FUZZ_CHECK(p->path.size <= HTTP_REQUEST_LINE_MAX && p->path.at + p->path.size <= p->body_at);
    FUZZ_CHECK(p->method_name.size >= 1 && p->method_name.size <= HTTP_METHOD_SIZE_MAX);
    FUZZ_CHECK(!p->chunked || !p->has_length);
    for (uint32_t i = 0; i < p->header_count; i++) {
        struct cf_slice value = http_span_slice(p->headers[i].value, run->data);
        FUZZ_CHECK(p->headers[i].name.size >= 1);
        FUZZ_CHECK(value.data + value.size <= run->data + p->body_at);
        FUZZ_CHECK(cf_slice_find(value, '\r') == value.size);
        FUZZ_CHECK(cf_slice_find(value, '\n') == value.size);
        FUZZ_CHECK(cf_slice_find(value, '\0') == value.size);
    }
}

/* Adds bytes and parses until nothing changes. */
static void feed(struct run *run, struct cf_slice more)
{
    uint8_t *grown = cf_alloc(run->size + more.size);
    if (run->size != 0) {
        memcpy(grown, run->data, run->size);
    }
    if (more.size != 0) {
        memcpy(grown + run->size, more.data, more.size);
    }
    cf_free(run->data);
    run->data = grown;
    run->size += more.size;
    do {
        run->progress = http_parser_run(&run->parser, run->data, &run->size);
    } while (run->progress == HTTP_HEAD_DONE);
}

static void check_path(struct cf_slice sent)
{
    CF_OWNED(arena) arena = arena_new(512);
    struct http_path path;
    struct cf_error err = {0};
    if (http_path_parse(arena, sent, &path, &err) != CF_OK) {
        FUZZ_CHECK(err.status == CF_INVALID && err.message[0] != '\0');
        return;
    }
    struct cf_slice clean = path.is_doubled ? path.location : path.canonical;
    FUZZ_CHECK(clean.size >= 1 && clean.data[0] == '/');
    FUZZ_CHECK(memmem(clean.data, clean.size, "//", 2) == NULL);
    FUZZ_CHECK(cf_slice_find(clean, '\0') == clean.size);
    FUZZ_CHECK(memmem(clean.data, clean.size, "/../", 4) == NULL);
    if (path.is_doubled) { /* where it is sent is accepted as it is */
        struct http_path again;
        FUZZ_CHECK(http_path_parse(arena, path.location, &again, NULL) == CF_OK);
        FUZZ_CHECK(!again.is_doubled);
    } else {
        FUZZ_CHECK(clean.size <= HTTP_PATH_SIZE_MAX);
    }
}

/* All requests of the input, in pieces of `step` bytes (0: whole); a digest of what came out. */
static uint64_t digest(struct cf_slice input, size_t step)
{
    struct run run = {0};
    uint64_t sum = 14695981039346656037u;
    http_parser_init(&run.parser, BODY_MAX);
    size_t at = 0;
    for (;;) {
        if (run.progress != HTTP_DONE) {
            size_t piece = step != 0 ? cf_min(step, input.size - at) : input.size - at;
            feed(&run, cf_slice_first(cf_slice_from(input, at), piece));
            at += piece;
        } else {
            feed(&run, CF_SLICE_EMPTY); /* what came behind the last request */
        }
        if (run.progress == HTTP_MORE && at < input.size) {
            continue;
        }
        const struct http_parser *p = &run.parser;
        sum = (sum ^ (uint64_t)run.progress) * 1099511628211u;
        if (run.progress == HTTP_BAD) {
            FUZZ_CHECK(p->status >= 400 && p->status <= 599 && p->reason != NULL);
            sum = (sum ^ (uint64_t)p->status) * 1099511628211u;
        }
        if (run.progress != HTTP_DONE) {
            break;
        }
        check_spans(&run);
        for (size_t i = 0; i < p->body_size; i++) {
            sum = (sum ^ run.data[p->body_at + i]) * 1099511628211u;
        }
        sum = (sum ^ p->header_count ^ ((uint64_t)p->keep_alive << 8) ^
               ((uint64_t)p->method << 16) ^ ((uint64_t)p->path.size << 32)) *
              1099511628211u;
        check_path(http_span_slice(p->path, run.data));
        memmove(run.data, run.data + p->consumed, run.size - p->consumed);
        run.size -= p->consumed;
        http_parser_init(&run.parser, BODY_MAX);
    }
    cf_free(run.data);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cf_slice input = cf_slice_of(data, cf_min(size, 4096));
    uint64_t whole = digest(input, 0);
    FUZZ_CHECK(digest(input, 7) == whole);
    FUZZ_CHECK(input.size > 512 || digest(input, 1) == whole);
    if (input.size != 0 && input.data[0] == '/') {
        check_path(input);
    }
    return 0;
}

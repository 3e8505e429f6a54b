/* node/http/path.c: one spelling for each path. */
#include "node/http/path.h"

#include <string.h>

#include "node/format/utf8.h"

static int hex_value(uint8_t byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Once only: "%252e" is the three-letter name "%2e", and nobody below decodes again. */
static cf_status decode(struct arena *arena, struct cf_slice sent, struct cf_slice *ret,
                        struct cf_error *err)
{
    uint8_t *out = arena_alloc_raw(arena, sent.size + 1);
    size_t size = 0;
    for (size_t i = 0; i < sent.size; i++) {
        if (sent.data[i] != '%') {
            out[size++] = sent.data[i];
            continue;
        }
        int high = i + 1 < sent.size ? hex_value(sent.data[i + 1]) : -1;
        int low = i + 2 < sent.size ? hex_value(sent.data[i + 2]) : -1;
        if (high < 0 || low < 0) {
            return cf_fail(err, CF_INVALID, "malformed escape in the path");
        }
        uint8_t byte = (uint8_t)(high << 4 | low);
        if (byte == '/') {
            return cf_fail(err, CF_INVALID, "encoded slash in the path");
        }
        out[size++] = byte;
        i += 2;
    }
    *ret = cf_slice_of(out, size);
    return CF_OK;
}

static cf_status check_bytes(struct cf_slice path, struct cf_error *err)
{
    for (size_t i = 0; i < path.size; i++) {
        if (path.data[i] < 0x20 || path.data[i] == 0x7f) {
            return cf_fail(err, CF_INVALID, "control character in the path");
        }
    }
    return utf8_valid(path) ? CF_OK : cf_fail(err, CF_INVALID, "the path is not UTF-8");
}

/* Segments of a decoded path; empty ones (doubled slashes) are looked at like the others, so that
 * only what would be accepted is sent to its cleaned form. */
static cf_status check_segments(struct cf_slice path, struct cf_error *err)
{
    if (path.size > HTTP_PATH_SIZE_MAX) {
        return cf_fail(err, CF_INVALID, "path too long");
    }
    size_t count = 0;
    struct cf_slice rest = cf_slice_from(path, 1);
    while (rest.size != 0) {
        size_t slash = cf_slice_find(rest, '/');
        struct cf_slice segment = cf_slice_first(rest, slash);
        if (cf_slice_is(segment, ".") || cf_slice_is(segment, "..")) {
            return cf_fail(err, CF_INVALID, "relative path segment");
        }
        if (segment.size > HTTP_PATH_SEGMENT_SIZE_MAX || ++count > HTTP_PATH_SEGMENTS_MAX) {
            return cf_fail(err, CF_INVALID, "path too long");
        }
        rest = cf_slice_from(rest, slash + 1);
    }
    return CF_OK;
}

static struct cf_slice without_doubles(struct arena *arena, struct cf_slice sent)
{
    uint8_t *out = arena_alloc_raw(arena, sent.size + 1);
    size_t size = 0;
    for (size_t i = 0; i < sent.size; i++) {
        if (sent.data[i] != '/' || size == 0 || out[size - 1] != '/') {
            out[size++] = sent.data[i];
        }
    }
    return cf_slice_of(out, size);
}

cf_status http_path_parse(struct arena *arena, struct cf_slice sent, struct http_path *ret,
                          struct cf_error *err)
{
    struct http_path path = {.canonical = sent};
    if (sent.size == 0) {
        path.canonical = CF_SLICE("/");
    }
    if (cf_slice_find(sent, '%') != sent.size) {
        CF_TRY(decode(arena, sent, &path.canonical, err));
    }
    CF_TRY(check_bytes(path.canonical, err));
    CF_TRY(check_segments(path.canonical, err));
    path.is_doubled = sent.size != 0 && memmem(sent.data, sent.size, "//", 2) != NULL;
    if (path.is_doubled) {
        path.location = without_doubles(arena, sent);
        path.canonical = CF_SLICE_EMPTY;
    }
    *ret = path;
    return CF_OK;
}

struct cf_slice http_path_in(struct arena *arena, struct cf_slice header, struct cf_slice path,
                             size_t *ret_namespace)
{
    struct cf_slice ns = header;
    while (ns.size != 0 && ns.data[0] == '/') {
        ns = cf_slice_from(ns, 1);
    }
    while (ns.size != 0 && ns.data[ns.size - 1] == '/') {
        ns.size--;
    }
    *ret_namespace = 0;
    if (ns.size == 0 || cf_slice_is(ns, "root")) {
        return path;
    }
    char *whole = arena_alloc_raw(arena, ns.size + 1 + path.size);
    memcpy(whole, ns.data, ns.size);
    whole[ns.size] = '/';
    if (path.size != 0) {
        memcpy(whole + ns.size + 1, path.data, path.size);
    }
    *ret_namespace = ns.size + 1;
    return cf_slice_of(whole, ns.size + 1 + path.size);
}

/* node/core/route.c: patterns against paths. */
#include "node/core/route.h"

static bool is_rest(const char *segment, size_t size)
{
    return size > 4 && segment[0] == ':' && memcmp(segment + size - 3, "...", 3) == 0;
}

bool route_matches(const char *pattern, struct cf_slice path, struct cf_slice captures[4])
{
    size_t number = 0;
    for (;;) {
        size_t size = strcspn(pattern, "/");
        if (is_rest(pattern, size)) {
            captures[number] = path;
            return true;
        }
        size_t end = cf_slice_find(path, '/');
        struct cf_slice segment = cf_slice_first(path, end);
        if (pattern[0] == ':') {
            if (segment.size == 0) {
                return false;
            }
            captures[number++] = segment;
        } else if (segment.size != size || (size != 0 && memcmp(pattern, segment.data, size) != 0)) {
            return false;
        }
        bool pattern_ends = pattern[size] == '\0';
        bool path_ends = end == path.size;
        if (pattern_ends || path_ends) {
            /* "data/:path..." also takes "data", so that "data/" may be written without its slash. */
            return pattern_ends && path_ends;
        }
        pattern += size + 1;
        path = cf_slice_from(path, end + 1);
    }
}

const struct route *route_find(const struct route *routes, enum operation operation,
                               struct cf_slice path, struct cf_slice captures[4])
{
    bool lists = operation == OPERATION_LIST || operation == OPERATION_SCAN;
    struct cf_slice bare = path;
    if (lists && path.size != 0 && path.data[path.size - 1] == '/') {
        bare = cf_slice_first(path, path.size - 1);
    }
    const struct route *fallback = NULL;
    for (const struct route *route = routes; route->pattern != NULL; route++) {
        bool fits = route_matches(route->pattern, path, captures) ||
                    (lists && route_matches(route->pattern, bare, captures));
        if (fits && (!lists || route_handler_of(route, operation) != NULL)) {
            return route;
        }
        fallback = fits && fallback == NULL ? route : fallback;
    }
    if (fallback != NULL) {
        /* The captures are those of the last try: make them the fallback's. */
        if (!route_matches(fallback->pattern, path, captures)) {
            (void)route_matches(fallback->pattern, bare, captures);
        }
    }
    return fallback;
}

route_handler route_handler_of(const struct route *route, enum operation operation)
{
    switch (operation) {
    case OPERATION_READ:
        return route->read;
    case OPERATION_LIST:
        return route->list;
    case OPERATION_SCAN:
        return route->scan;
    case OPERATION_CREATE:
    case OPERATION_UPDATE:
        return route->write;
    case OPERATION_PATCH:
        return route->patch;
    case OPERATION_DELETE:
        return route->del;
    case OPERATION_HELP:
    case OPERATION_COUNT:
        break;
    }
    return NULL;
}

static bool is_capture(const char *pattern, struct cf_slice name)
{
    for (const char *at = strchr(pattern, ':'); at != NULL; at = strchr(at + 1, ':')) {
        size_t size = strcspn(at + 1, "./");
        if (size == name.size && memcmp(at + 1, name.data, size) == 0) {
            return true;
        }
    }
    return false;
}

bool route_knows(const struct route *route, struct cf_slice field)
{
    if (route->fields == NULL || is_capture(route->pattern, field)) {
        return true;
    }
    for (const struct field *known = route->fields; known->name != NULL; known++) {
        if (cf_slice_is(field, known->name)) {
            return true;
        }
    }
    return false;
}

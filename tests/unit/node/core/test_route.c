/* tests/unit/node/core/test_route.c: patterns against paths. */
#include "node/core/route.h"

#include "node/base/memory.h"
#include "tests/lib/test.h"

static struct cf_slice captures[4];

static bool matches(const char *pattern, const char *path)
{
    memset(captures, 0, sizeof(captures));
    return route_matches(pattern, cf_slice_str(path), captures);
}

START_TEST(fixed_segments)
{
    ck_assert(matches("a", "a"));
    ck_assert(matches("a/b", "a/b"));
    ck_assert(matches("", ""));
    static const char *const others[] = {"",      "a",    "a/",  "a/bc", "a/b/",
                                         "a/b/c", "/a/b", "A/b", "ab"};
    for (size_t i = 0; i < CF_LENGTH(others); i++) {
        ck_assert_msg(!matches("a/b", others[i]), "%s", others[i]);
    }
    ck_assert(!matches("a", ""));
    ck_assert(!matches("", "a"));
}
END_TEST

START_TEST(one_segment)
{
    ck_assert(matches("roles/:name", "roles/web"));
    ck_slice(captures[0], "web");
    ck_assert(matches(":a/x/:b", "1/x/2"));
    ck_slice(captures[0], "1");
    ck_slice(captures[1], "2");
    ck_assert(!matches("roles/:name", "roles/"));
    ck_assert(!matches("roles/:name", "roles"));
    ck_assert(!matches("roles/:name", "roles/a/b"));
    ck_assert(!matches(":a/x", "/x"));
    ck_assert(matches("roles/:name", "roles/:name")); /* a path is never a pattern */
    ck_slice(captures[0], ":name");
}
END_TEST

START_TEST(the_rest)
{
    ck_assert(matches("data/:path...", "data/a"));
    ck_slice(captures[0], "a");
    ck_assert(matches("data/:path...", "data/a/b/"));
    ck_slice(captures[0], "a/b/");
    ck_assert(matches("data/:path...", "data/"));
    ck_slice(captures[0], "");
    ck_assert(!matches("data/:path...", "data"));
    ck_assert(!matches("data/:path...", "datax/a"));
    ck_assert(matches(":path...", ""));
    ck_assert(matches(":path...", "a//b"));
    ck_slice(captures[0], "a//b");
    ck_assert(matches("x/:one/:rest...", "x/1/2/3"));
    ck_slice(captures[0], "1");
    ck_slice(captures[1], "2/3");
}
END_TEST

static cf_status h_read(struct request *rq, struct cf_error *err)
{
    (void)rq;
    (void)err;
    return CF_OK;
}
static cf_status h_list(struct request *rq, struct cf_error *err)
{
    return h_read(rq, err);
}
static cf_status h_write(struct request *rq, struct cf_error *err)
{
    return h_read(rq, err);
}
static cf_status h_scan(struct request *rq, struct cf_error *err)
{
    return h_read(rq, err);
}

static const struct field fields[] = {{"ttl", FIELD_DURATION, "How long."}, FIELD_END};
static const struct route table[] = {
    {.pattern = "roles", .list = h_list, .fields = fields},
    {.pattern = "roles/:name", .read = h_read, .write = h_write, .fields = fields},
    {.pattern = "roles/fixed", .read = h_list}, /* hidden: the first match wins */
    {.pattern = "data/:path...", .read = h_read, .list = h_list},
    {.pattern = "only/:x", .read = h_read},
    {.pattern = "only/:y...", .list = h_list, .scan = h_scan},
    ROUTE_END,
};

static const struct route *find(enum operation operation, const char *path)
{
    memset(captures, 0, sizeof(captures));
    return route_find(table, operation, cf_slice_str(path), captures);
}

START_TEST(first_match_wins)
{
    ck_assert_ptr_eq(find(OPERATION_READ, "roles/fixed"), &table[1]);
    ck_slice(captures[0], "fixed");
    ck_assert_ptr_null(find(OPERATION_READ, "unknown"));
    ck_assert_ptr_null(find(OPERATION_READ, ""));
    ck_assert_ptr_null(find(OPERATION_READ, "roles/")); /* a slash matters but for lists */
}
END_TEST

START_TEST(lists_with_and_without_slash)
{
    ck_assert_ptr_eq(find(OPERATION_LIST, "roles"), &table[0]);
    ck_assert_ptr_eq(find(OPERATION_LIST, "roles/"), &table[0]);
    ck_assert_ptr_eq(find(OPERATION_LIST, "data/a"), &table[3]);
    ck_slice(captures[0], "a");
    ck_assert_ptr_eq(find(OPERATION_LIST, "data/a/"), &table[3]);
    ck_slice(captures[0], "a/");
    ck_assert_ptr_eq(find(OPERATION_LIST, "data/"), &table[3]);
    ck_slice(captures[0], "");
    /* A list passes over routes that cannot list. */
    ck_assert_ptr_eq(find(OPERATION_LIST, "only/z"), &table[5]);
    ck_slice(captures[0], "z");
    ck_assert_ptr_eq(find(OPERATION_SCAN, "only/z/"), &table[5]);
}
END_TEST

/* The path is known, the operation is not: the route is found, with its captures, without a
 * handler. */
START_TEST(unsupported_operations)
{
    const struct route *route = find(OPERATION_DELETE, "roles/web");
    ck_assert_ptr_eq(route, &table[1]);
    ck_assert_ptr_null(route_handler_of(route, OPERATION_DELETE));
    route = find(OPERATION_LIST, "roles/web");
    ck_assert_ptr_eq(route, &table[1]);
    ck_slice(captures[0], "web");
    ck_assert_ptr_null(route_handler_of(route, OPERATION_LIST));
    route = find(OPERATION_LIST, "roles/web/");
    ck_assert_ptr_eq(route, &table[1]);
    ck_slice(captures[0], "web");
    route = find(OPERATION_READ, "roles");
    ck_assert_ptr_eq(route, &table[0]);
    ck_assert_ptr_null(route_handler_of(route, OPERATION_READ));
}
END_TEST

START_TEST(handlers)
{
    ck_assert_ptr_eq(route_handler_of(&table[1], OPERATION_CREATE), h_write);
    ck_assert_ptr_eq(route_handler_of(&table[1], OPERATION_UPDATE), h_write);
    ck_assert_ptr_eq(route_handler_of(&table[1], OPERATION_READ), h_read);
    ck_assert_ptr_eq(route_handler_of(&table[5], OPERATION_SCAN), h_scan);
    ck_assert_ptr_null(route_handler_of(&table[1], OPERATION_PATCH));
    ck_assert_ptr_null(route_handler_of(&table[1], OPERATION_HELP));
}
END_TEST

START_TEST(known_fields)
{
    ck_assert(route_knows(&table[1], CF_SLICE("ttl")));
    ck_assert(route_knows(&table[1], CF_SLICE("name"))); /* a capture */
    ck_assert(!route_knows(&table[1], CF_SLICE("nam")));
    ck_assert(!route_knows(&table[1], CF_SLICE("names")));
    ck_assert(!route_knows(&table[0], CF_SLICE("name")));
    ck_assert(!route_knows(&table[1], CF_SLICE("")));
    ck_assert(route_knows(&table[3], CF_SLICE("whatever"))); /* no fields: everything is fine */
}
END_TEST

TEST_MAIN("node/core/route", fixed_segments, one_segment, the_rest, first_match_wins,
          lists_with_and_without_slash, unsupported_operations, handlers, known_fields)

/* tests/unit/node/core/test_request.c: what handlers use: fields, answers, storage keys, records.
 */
#include "node/core/request.h"

#include "node/base/memory.h"
#include "node/core/engine.h"
#include "node/core/mount.h"
#include "tests/lib/test.h"

static struct arena *arena;
static struct request rq;
static const struct route route = {.pattern = "roles/:name/:rest..."};

static struct json *parse(const char *text)
{
    struct json *json;
    ck_ok(json_parse(arena, cf_slice_str(text), NULL, &json, NULL));
    return json;
}

/* body, query: JSON texts or NULL. */
static void with(const char *body, const char *query)
{
    arena_free(arena);
    arena = arena_new(4096);
    rq = (struct request){.arena = arena};
    rq.body = body != NULL ? parse(body) : NULL;
    rq.query = query != NULL ? parse(query) : NULL;
}

START_TEST(where_fields_come_from)
{
    struct cf_slice value;
    with("{\"name\":\"body\",\"a\":\"body\",\"n\":null}",
         "{\"a\":\"query\",\"b\":\"query\",\"n\":\"q\"}");
    rq.route = &route;
    rq.captures[0] = CF_SLICE("path");
    rq.captures[1] = CF_SLICE("x/y");
    ck_ok(request_string(&rq, "name", &value, NULL));
    ck_slice(value, "path");
    ck_ok(request_string(&rq, "rest", &value, NULL));
    ck_slice(value, "x/y");
    ck_ok(request_string(&rq, "a", &value, NULL));
    ck_slice(value, "body");
    ck_ok(request_string(&rq, "b", &value, NULL));
    ck_slice(value, "query");
    ck_ok(request_string(&rq, "n", &value, NULL)); /* null is as good as absent */
    ck_slice(value, "");
    ck_assert_ptr_null(request_field(&rq, "absent"));
    with(NULL, NULL);
    ck_assert_ptr_null(request_field(&rq, "a"));
}
END_TEST

START_TEST(strings)
{
    struct cf_slice value;
    struct cf_error err = {0};
    with("{\"s\":\"x\",\"i\":12345678901234567890,\"t\":true,\"f\":false,\"o\":{},\"l\":[]}", NULL);
    ck_ok(request_string(&rq, "s", &value, &err));
    ck_slice(value, "x");
    ck_ok(request_string(&rq, "i", &value, &err));
    ck_slice(value, "12345678901234567890");
    ck_ok(request_string(&rq, "t", &value, &err));
    ck_slice(value, "true");
    ck_status(request_string(&rq, "o", &value, &err), CF_INVALID);
    ck_assert_str_eq(err.message, "field \"o\" must be a string");
    ck_status(request_string(&rq, "l", &value, &err), CF_INVALID);
}
END_TEST

START_TEST(integers)
{
    static const struct {
        const char *body;
        cf_status status;
        int64_t value;
    } cases[] = {
        {"{}", CF_OK, 7},
        {"{\"x\":null}", CF_OK, 7},
        {"{\"x\":\"\"}", CF_OK, 7},
        {"{\"x\":0}", CF_OK, 0},
        {"{\"x\":-5}", CF_OK, -5},
        {"{\"x\":\"12\"}", CF_OK, 12},
        {"{\"x\":\"-12\"}", CF_OK, -12},
        {"{\"x\":9223372036854775807}", CF_OK, INT64_MAX},
        {"{\"x\":\"9223372036854775807\"}", CF_OK, INT64_MAX},
        {"{\"x\":\"9223372036854775808\"}", CF_INVALID, 0},
        {"{\"x\":9223372036854775808}", CF_INVALID, 0},
        {"{\"x\":1.5}", CF_INVALID, 0},
        {"{\"x\":\"-\"}", CF_INVALID, 0},
        {"{\"x\":\"1x\"}", CF_INVALID, 0},
        {"{\"x\":\" 1\"}", CF_INVALID, 0},
        {"{\"x\":true}", CF_INVALID, 0},
        {"{\"x\":[1]}", CF_INVALID, 0},
    };
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        int64_t value;
        with(cases[i].body, NULL);
        cf_status status = request_int(&rq, "x", 7, &value, NULL);
        ck_assert_msg(status == cases[i].status, "%s: %s", cases[i].body, cf_status_name(status));
        if (status == CF_OK) {
            ck_assert_int_eq(value, cases[i].value);
        }
    }
}
END_TEST

START_TEST(booleans)
{
    static const char *const yes[] = {"true", "\"true\"", "1", "\"1\"", "\"T\""};
    static const char *const no[] = {"false", "\"false\"", "0", "\"0\"", "\"\"", "\"F\""};
    static const char *const bad[] = {"2", "\"yes\"", "[]", "{}", "\"tRUE\""};
    char body[64];
    for (size_t i = 0; i < CF_LENGTH(no); i++) {
        bool value;
        if (i < CF_LENGTH(yes)) {
            snprintf(body, sizeof(body), "{\"x\":%s}", yes[i]);
            with(body, NULL);
            ck_ok(request_bool(&rq, "x", false, &value, NULL));
            ck_assert_msg(value, "%s", body);
            snprintf(body, sizeof(body), "{\"x\":%s}", bad[i]);
            with(body, NULL);
            ck_status(request_bool(&rq, "x", false, &value, NULL), CF_INVALID);
        }
        snprintf(body, sizeof(body), "{\"x\":%s}", no[i]);
        with(body, NULL);
        ck_ok(request_bool(&rq, "x", true, &value, NULL));
        ck_assert_msg(!value, "%s", body);
    }
    bool value = false;
    with("{}", NULL);
    ck_ok(request_bool(&rq, "x", true, &value, NULL));
    ck_assert(value);
}
END_TEST

START_TEST(durations)
{
    static const struct {
        const char *body;
        cf_status status;
        int64_t value;
        bool given;
    } cases[] = {
        {"{}", CF_OK, 7, false},
        {"{\"x\":\"\"}", CF_OK, 7, false},
        {"{\"x\":60}", CF_OK, 60, true},
        {"{\"x\":\"60\"}", CF_OK, 60, true},
        {"{\"x\":\"1h30m\"}", CF_OK, 5400, true},
        {"{\"x\":0}", CF_OK, 0, true},
        {"{\"x\":\"-1s\"}", CF_OK, -1, true},
        {"{\"x\":\"1w\"}", CF_INVALID, 0, false},
        {"{\"x\":[]}", CF_INVALID, 0, false},
        {"{\"x\":true}", CF_INVALID, 0, false},
    };
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        int64_t value;
        bool given = !cases[i].given;
        struct cf_error err = {0};
        with(cases[i].body, NULL);
        cf_status status = request_duration(&rq, "x", 7, &value, &given, &err);
        ck_assert_msg(status == cases[i].status, "%s: %s", cases[i].body, err.message);
        if (status == CF_OK) {
            ck_assert_int_eq(value, cases[i].value);
            ck_assert_msg(given == cases[i].given, "%s", cases[i].body);
            ck_ok(request_duration(&rq, "x", 7, &value, NULL, NULL));
        } else {
            ck_assert_ptr_nonnull(strstr(err.message, "\"x\"")); /* it names the field */
        }
    }
}
END_TEST

static const char *list_of(const char *body, bool commas)
{
    struct cf_slice *items;
    size_t count;
    CF_BUF(text) = {0};
    with(body, NULL);
    if (request_list(&rq, "x", commas, &items, &count, NULL) != CF_OK) {
        return "refused";
    }
    for (size_t i = 0; i < count; i++) {
        cf_buf_addf(&text, "<%.*s>", CF_SHOW(items[i]));
    }
    return arena_text(arena, cf_buf_slice(&text));
}

START_TEST(lists)
{
    ck_assert_str_eq(list_of("{}", true), "");
    ck_assert_str_eq(list_of("{\"x\":[]}", true), "");
    ck_assert_str_eq(list_of("{\"x\":\"\"}", true), "");
    ck_assert_str_eq(list_of("{\"x\":\"a, b ,,c\"}", true), "<a><b><c>");
    ck_assert_str_eq(list_of("{\"x\":\"a, b ,,c\"}", false), "<a, b ,,c>");
    ck_assert_str_eq(list_of("{\"x\":[\"a,b\",\" c \",\"\",5]}", true), "<a,b><c><5>");
    ck_assert_str_eq(list_of("{\"x\":7}", true), "<7>");
    ck_assert_str_eq(list_of("{\"x\":[[]]}", true), "refused");
    ck_assert_str_eq(list_of("{\"x\":{}}", true), "refused");
}
END_TEST

START_TEST(answers)
{
    struct cf_error err = {0};
    with(NULL, NULL);
    ck_status(request_absent(&err), CF_NOT_FOUND);
    ck_assert_int_eq(err.status, CF_NOT_FOUND);
    ck_assert_str_eq(err.message, "");
    struct cf_slice two[] = {CF_SLICE("a"), CF_SLICE("b/")};
    ck_status(response_keys(&rq, &(struct txn_names){two, 0}, &err), CF_NOT_FOUND);
    ck_assert_ptr_null(rq.response.data);
    ck_ok(response_keys(&rq, &(struct txn_names){two, 2}, &err));
    CF_BUF(text) = {0};
    json_write(&text, rq.response.data);
    ck_slice(cf_buf_slice(&text), "{\"keys\":[\"a\",\"b/\"]}");
    ck_assert_ptr_eq(response_data(&rq), rq.response.data);
    response_warn(&rq, "first %d", 1);
    response_warn(&rq, "second");
    ck_assert_str_eq(rq.response.warnings->text, "second");
    ck_assert_str_eq(rq.response.warnings->next->text, "first 1");
}
END_TEST

START_TEST(storage_keys)
{
    static struct mount mount = {.class = CLASS_REPLICATED, .ns = 3};
    with(NULL, NULL);
    memset(mount.uuid.bytes, 0xab, sizeof(mount.uuid.bytes));
    rq.mount = &mount;
    struct key key = store_key(&rq, CF_SLICE("a/b"));
    ck_assert_int_eq(key.class, CLASS_REPLICATED);
    ck_assert_uint_eq(key.ns, 3);
    ck_assert_uint_eq(key.name.size, 2 + 16 + 1 + 3);
    ck_assert_mem_eq(key.name.data, "d/\xab\xab", 4);
    ck_slice(cf_slice_from(key.name, 18), "/a/b");
    struct key local = store_local_key(&rq, CF_SLICE("a/b"));
    ck_assert_int_eq(local.class, CLASS_CLUSTER);
    ck_assert(cf_slice_eq(local.name, key.name));
    ck_slice(cf_slice_from(store_key(&rq, CF_SLICE_EMPTY).name, 18), "/");
}
END_TEST

START_TEST(records)
{
    struct json *back;
    struct cf_error err = {0};
    with("{\"a\":[1,2.50,\"x\"],\"b\":null}", NULL);
    struct cf_slice record = record_encode(arena, rq.body);
    ck_assert_uint_eq(record.data[0], RECORD_VERSION);
    ck_ok(record_decode(record, arena, &back, &err));
    CF_BUF(text) = {0};
    json_write(&text, back);
    ck_slice(cf_buf_slice(&text), "{\"a\":[1,2.50,\"x\"],\"b\":null}");
    static const char *const bad[] = {"", "\2{}", "\1", "\1{", "{}"};
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        err = (struct cf_error){0};
        ck_status(record_decode(cf_slice_str(bad[i]), arena, &back, &err), CF_CORRUPT);
        ck_assert_int_eq(err.status, CF_CORRUPT);
    }
}
END_TEST

START_TEST(operations)
{
    ck_assert_str_eq(operation_name(OPERATION_READ), "read");
    ck_assert_str_eq(operation_name(OPERATION_CREATE), "create");
    for (int i = 0; i < OPERATION_COUNT; i++) {
        ck_assert_ptr_nonnull(operation_name((enum operation)i));
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        where_fields_come_from, strings, integers,  booleans, durations, lists, answers,
        storage_keys,           records, operations};
    int failed = test_run("node/core/request", tests, CF_LENGTH(tests));
    arena_free(arena);
    return failed;
}

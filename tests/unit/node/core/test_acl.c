/* tests/unit/node/core/test_acl.c: which rule decides, and what it decides. */
#include "node/base/arena.h"
#include "node/core/policy.h"

#include "tests/lib/test.h"

static struct cf_error err;
static struct arena *arena;

static struct acl *make(size_t count, const char *const *texts, const char *identity)
{
    struct policy *policies[64];
    struct acl *acl = NULL;
    struct json *object = NULL;
    for (size_t i = 0; i < count; i++) {
        ck_assert_msg(policy_parse(CF_SLICE("p"), cf_slice_str(texts[i]), &policies[i], &err) ==
                          CF_OK,
                      "%s: %s", texts[i], err.message);
    }
    if (identity != NULL) {
        ck_ok(json_parse(arena, cf_slice_str(identity), NULL, &object, &err));
    }
    ck_ok(acl_new(policies, count, false, object, &acl, &err));
    for (size_t i = 0; i < count; i++) {
        policy_unref(policies[i]);
    }
    return acl;
}

static struct acl *one(const char *text)
{
    return make(1, &text, NULL);
}

static bool allows_body(struct acl *acl, enum operation operation, const char *path,
                        const char *body)
{
    struct json *object = NULL;
    if (body != NULL) {
        ck_ok(json_parse(arena, cf_slice_str(body), NULL, &object, &err));
    }
    struct acl_request request = {
        .path = cf_slice_str(path), .operation = operation, .body = object};
    return acl_allows(acl, &request);
}

static bool allows(struct acl *acl, enum operation operation, const char *path)
{
    return allows_body(acl, operation, path, NULL);
}

/* ---- single rules ---- */

START_TEST(exact_beats_glob)
{
    struct acl *acl = one("path \"s/*\" { capabilities = [\"read\"] }\n"
                          "path \"s/a\" { capabilities = [\"update\"] }\n"
                          "path \"s/b/*\" { capabilities = [\"create\"] }\n");
    ck_assert(!allows(acl, OPERATION_READ, "s/a"));
    ck_assert(allows(acl, OPERATION_UPDATE, "s/a"));
    ck_assert(!allows(acl, OPERATION_READ, "s/b/c"));
    ck_assert(allows(acl, OPERATION_CREATE, "s/b/c"));
    ck_assert(allows(acl, OPERATION_READ, "s/zz/y/x"));
    ck_assert(allows(acl, OPERATION_READ, "s/"));
    ck_assert(!allows(acl, OPERATION_READ, "s"));
    acl_unref(acl);
}
END_TEST

START_TEST(plus_is_one_segment)
{
    struct acl *acl = one("path \"m/+/secret\" { capabilities = [\"read\"] }\n"
                          "path \"n/+/x/*\" { capabilities = [\"read\"] }\n"
                          "path \"a+b\" { capabilities = [\"read\"] }\n");
    ck_assert(allows(acl, OPERATION_READ, "m/x/secret"));
    ck_assert(!allows(acl, OPERATION_READ, "m/x/y/secret"));
    ck_assert(!allows(acl, OPERATION_READ, "m//secret"));
    ck_assert(!allows(acl, OPERATION_READ, "m/x/secret/"));
    ck_assert(allows(acl, OPERATION_READ, "n/q/x/a/b"));
    ck_assert(!allows(acl, OPERATION_READ, "n/q/x"));
    ck_assert(allows(acl, OPERATION_READ, "a+b"));
    ck_assert(!allows(acl, OPERATION_READ, "acb"));
    acl_unref(acl);
}
END_TEST

/* core-api.md section 6, point 3. */
START_TEST(a_wildcard_further_right_wins)
{
    struct acl *acl = one("path \"x/*\" { capabilities = [\"read\"] }\n"
                          "path \"+/y\" { capabilities = [\"deny\"] }\n");
    ck_assert(allows(acl, OPERATION_READ, "x/y"));
    ck_assert(!allows(acl, OPERATION_READ, "z/y"));
    acl_unref(acl);
}
END_TEST

START_TEST(list_with_and_without_slash)
{
    struct acl *acl = one("path \"l/\" { capabilities = [\"list\"] }\n"
                          "path \"l/b\" { capabilities = [\"list\", \"scan\"] }\n");
    ck_assert(allows(acl, OPERATION_LIST, "l/"));
    ck_assert(allows(acl, OPERATION_LIST, "l/b/"));
    ck_assert(allows(acl, OPERATION_SCAN, "l/b/"));
    ck_assert(!allows(acl, OPERATION_SCAN, "l/"));
    ck_assert(!allows(acl, OPERATION_READ, "l/b"));
    acl_unref(acl);
}
END_TEST

/* Whether something is there need not be looked up where the answer would be the same. */
START_TEST(who_tells_creation_from_change)
{
    struct acl *acl = one("path \"s/both\" { capabilities = [\"create\", \"update\"] }\n"
                          "path \"s/new\" { capabilities = [\"create\", \"read\"] }\n"
                          "path \"s/old\" { capabilities = [\"update\"] }\n"
                          "path \"s/read\" { capabilities = [\"read\"] }\n"
                          "path \"s/no\" { capabilities = [\"deny\"] }\n");
    static const char *const all[] = {"s/both", "s/new", "s/old", "s/read", "s/no", "s/none"};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        ck_assert_int_eq(acl_tells_creation(acl, cf_slice_str(all[i])),
                         allows(acl, OPERATION_CREATE, all[i]) !=
                             allows(acl, OPERATION_UPDATE, all[i]));
    }
    ck_assert(acl_tells_creation(acl, CF_SLICE("s/new")));
    ck_assert(acl_tells_creation(acl, CF_SLICE("s/old")));
    acl_unref(acl);
    ck_ok(acl_new(NULL, 0, true, NULL, &acl, &err));
    ck_assert(!acl_tells_creation(acl, CF_SLICE("s/new")));
    acl_unref(acl);
}
END_TEST

START_TEST(sudo_and_help)
{
    struct acl *acl = one("path \"sys/auth/a\" { capabilities = [\"update\"] }\n"
                          "path \"sys/auth/b\" { capabilities = [\"update\", \"sudo\"] }\n");
    struct acl_request request = {
        .path = CF_SLICE("sys/auth/a"), .operation = OPERATION_UPDATE, .needs_sudo = true};
    ck_assert(!acl_allows(acl, &request));
    request.path = CF_SLICE("sys/auth/b");
    ck_assert(acl_allows(acl, &request));
    ck_assert(allows(acl, OPERATION_HELP, "anything"));
    acl_unref(acl);
    ck_ok(acl_new(NULL, 0, true, NULL, &acl, &err));
    ck_assert(acl_is_root(acl));
    ck_assert(allows(acl, OPERATION_DELETE, "anything"));
    ck_assert(acl_touches(acl, CF_SLICE("x/")));
    acl_unref(acl);
}
END_TEST

START_TEST(wrapping_bounds)
{
    struct acl *acl = one("path \"w\" { capabilities = [\"read\"] min_wrapping_ttl = \"10s\" "
                          "max_wrapping_ttl = 60 }");
    static const struct {
        int64_t ttl_s;
        bool fits;
    } cases[] = {{0, false}, {5, false}, {10, true}, {60, true}, {61, false}, {-1, false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct acl_request request = {
            .path = CF_SLICE("w"), .operation = OPERATION_READ, .wrap_ttl_s = cases[i].ttl_s};
        ck_assert_int_eq(acl_allows(acl, &request), cases[i].fits);
    }
    acl_unref(acl);
    const char *both[] = {
        "path \"w\" { capabilities = [\"read\"] min_wrapping_ttl = 10 max_wrapping_ttl = 60 }",
        "path \"w\" { capabilities = [\"read\"] min_wrapping_ttl = 5 max_wrapping_ttl = 90 }"};
    acl = make(2, both, NULL);
    struct acl_request request = {
        .path = CF_SLICE("w"), .operation = OPERATION_READ, .wrap_ttl_s = 5};
    ck_assert(acl_allows(acl, &request)); /* of both bounds the smaller */
    request.wrap_ttl_s = 61;
    ck_assert(!acl_allows(acl, &request));
    acl_unref(acl);
}
END_TEST

/* ---- parameters ---- */

START_TEST(allowed_and_denied_parameters)
{
    struct acl *acl =
        one("path \"allow\" { capabilities=[\"update\"] allowed_parameters={\"A\"=[\"1\",\"2*\"] "
            "b=[]} }\n"
            "path \"deny\" { capabilities=[\"update\"] denied_parameters={x=[] y=[\"*bad*\"]} }\n"
            "path \"req\" { capabilities=[\"update\"] required_parameters=[\"K\"] }\n"
            "path \"star\" { capabilities=[\"update\"] allowed_parameters={\"*\"=[]} "
            "denied_parameters={z=[]} }\n"
            "path \"none\" { capabilities=[\"update\"] denied_parameters={\"*\"=[]} }\n"
            "path \"num\" { capabilities=[\"update\"] denied_parameters={n=[5, true, \"a\"]} }\n");
    static const struct {
        const char *path, *body;
        bool allowed;
    } cases[] = {
        {"allow", "{\"a\":\"1\"}", true},
        {"allow", "{\"a\":\"23\"}", true},
        {"allow", "{\"a\":\"9\"}", false},
        {"allow", "{\"b\":[1,2]}", true},
        {"allow", "{\"c\":\"1\"}", false},
        {"allow", "{\"a\":\"1\",\"c\":1}", false},
        {"allow", "{}", true},
        {"deny", "{\"q\":1}", true},
        {"deny", "{\"X\":1}", false},
        {"deny", "{\"y\":\"a bad one\"}", false},
        {"deny", "{\"y\":\"good\"}", true},
        {"deny", "{\"y\":[\"good\",\"bad\"]}", false},
        {"req", "{\"v\":1}", false},
        {"req", "{\"k\":1}", true},
        {"req", NULL, false},
        {"star", "{\"any\":1}", true},
        {"star", "{\"z\":1}", false},
        {"none", "{\"a\":1}", false},
        {"none", "{}", true},
        {"num", "{\"n\":5}", false},
        {"num", "{\"n\":\"5\"}", false},
        {"num", "{\"n\":6}", true},
        {"num", "{\"n\":true}", false},
        {"num", "{\"n\":\"ab\"}", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(allows_body(acl, OPERATION_UPDATE, cases[i].path, cases[i].body) ==
                          cases[i].allowed,
                      "%s %s", cases[i].path, cases[i].body);
    }
    acl_unref(acl);
}
END_TEST

START_TEST(parameters_merge_key_by_key)
{
    const char *texts[] = {
        "path \"m\" { capabilities=[\"update\"] allowed_parameters={a=[\"1\"] b=[\"1\"]} }",
        "path \"m\" { capabilities=[\"read\"] allowed_parameters={a=[\"2\"] b=[]} "
        "required_parameters=[\"a\"] }"};
    struct acl *acl = make(2, texts, NULL);
    ck_assert(allows_body(acl, OPERATION_UPDATE, "m", "{\"a\":\"1\"}"));
    ck_assert(allows_body(acl, OPERATION_UPDATE, "m", "{\"a\":\"2\",\"b\":\"any\"}"));
    ck_assert(!allows_body(acl, OPERATION_UPDATE, "m", "{\"a\":\"3\"}"));
    ck_assert(!allows_body(acl, OPERATION_UPDATE, "m", "{\"b\":\"1\"}"));
    acl_unref(acl);
}
END_TEST

/* ---- several policies, templates ---- */

START_TEST(deny_leaves_nothing)
{
    const char *texts[] = {"path \"d/*\" { capabilities = [\"read\", \"list\"] }",
                           "path \"d/*\" { capabilities = [\"deny\"] }",
                           "path \"d/*\" { capabilities = [\"update\"] }"};
    struct acl *acl = make(3, texts, NULL);
    ck_assert_uint_eq(acl_capabilities(acl, CF_SLICE("d/a")), CAPABILITY_DENY);
    ck_assert(!allows(acl, OPERATION_READ, "d/a"));
    ck_assert(!acl_touches(acl, CF_SLICE("d/")));
    acl_unref(acl);
    acl = make(1, texts, NULL);
    ck_assert_uint_eq(acl_capabilities(acl, CF_SLICE("d/a")), CAPABILITY_READ | CAPABILITY_LIST);
    acl_unref(acl);
}
END_TEST

static const char identity[] =
    "{\"entity\":{\"id\":\"e1\",\"name\":\"ann.b\",\"metadata\":{\"team\":\"red\",\"a.b\":"
    "\"dotted\","
    "\"wild\":\"x*\",\"plus\":\"a/+\",\"empty\":\"\"},"
    "\"aliases\":{\"auth_userpass_1\":{\"name\":\"u\",\"metadata\":{\"k\":\"v\"}}}},"
    "\"groups\":{\"names\":{\"ops.eu\":{\"id\":\"g1\"}},\"ids\":{\"g1\":{\"name\":\"ops.eu\"}}}}";

START_TEST(templates)
{
    const char *text =
        "path \"a/{{identity.entity.id}}/*\" { capabilities = [\"read\"] }\n"
        "path \"b/{{ identity.entity.metadata.team }}-{{identity.entity.name}}\" { "
        "capabilities = [\"read\"] }\n"
        "path \"c/{{identity.entity.metadata.none}}/*\" { capabilities = [\"read\"] }\n"
        "path \"d/{{identity.entity.aliases.auth_userpass_1.metadata.k}}\" { "
        "capabilities = [\"read\"] }\n"
        "path \"e/{{identity.groups.names.ops.eu.id}}\" { capabilities = [\"read\"] }\n"
        "path \"f/{{identity.entity.metadata.a.b}}\" { capabilities = [\"read\"] }\n"
        "path \"g/{{identity.entity.metadata.wild}}\" { capabilities = [\"read\"] }\n"
        "path \"h/{{identity.entity.metadata.plus}}\" { capabilities = [\"read\"] }\n"
        "path \"i/{{identity.entity.metadata.empty}}*\" { capabilities = [\"read\"] }\n"
        "path \"j/{{entity.id}}\" { capabilities = [\"read\"] }\n"
        "path \"k\" { capabilities = [\"read\"] }\n";
    static const struct {
        const char *path;
        bool allowed;
    } cases[] = {{"a/e1/x", true}, {"a/e2/x", false}, {"b/red-ann.b", true}, {"c//x", false},
                 {"d/v", true},    {"e/g1", true},    {"f/dotted", true},    {"g/xy", false},
                 {"g/x*", false},  {"h/a/q", false},  {"i/x", false},        {"j/e1", false},
                 {"k", true}};
    struct acl *with = make(1, &text, identity);
    struct acl *without = make(1, &text, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(allows(with, OPERATION_READ, cases[i].path) == cases[i].allowed, "%s",
                      cases[i].path);
        ck_assert(allows(without, OPERATION_READ, cases[i].path) ==
                  (strcmp(cases[i].path, "k") == 0));
    }
    acl_unref(with);
    acl_unref(without);
}
END_TEST

START_TEST(touches_what_lies_below)
{
    struct acl *acl = one("path \"kv/team/a\" { capabilities = [\"read\"] }\n"
                          "path \"deep/+/x/*\" { capabilities = [\"list\"] }\n"
                          "path \"no/*\" { capabilities = [\"deny\"] }\n"
                          "path \"folder\" { capabilities = [\"list\"] }\n"
                          "path \"pre*\" { capabilities = [\"read\"] }\n");
    static const struct {
        const char *path;
        bool touched;
    } cases[] = {{"kv/", true},       {"kv/team/", true},   {"kv/other/", false},
                 {"kv/team/a", true}, {"deep/", true},      {"deep/q/", true},
                 {"deep/q/x/", true}, {"deep/q/y/", false}, {"deep/q/x/z/", true},
                 {"no/", false},      {"folder/", true},    {"pre/", true},
                 {"prefix/", true},   {"p/", false},        {"k/", false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(acl_touches(acl, cf_slice_str(cases[i].path)) == cases[i].touched, "%s",
                      cases[i].path);
    }
    acl_unref(acl);
}
END_TEST

static void collect(void *context, struct cf_slice path, bool is_glob, unsigned bits)
{
    cf_buf_addf(context, "%.*s%s:%u ", CF_SHOW(path), is_glob ? "(glob)" : "", bits);
}

START_TEST(each_rule_once)
{
    struct acl *acl = one("path \"b/*\" { capabilities = [\"read\"] }\n"
                          "path \"a\" { capabilities = [\"read\"] }\n"
                          "path \"a\" { capabilities = [\"list\"] }\n");
    CF_BUF(seen) = {0};
    acl_each(acl, collect, &seen);
    ck_assert_str_eq(cf_buf_text(&seen), "a:18 b/(glob):2 ");
    acl_unref(acl);
}
END_TEST

/* ---- what the model found (test_acl_model.c) ---- */

/* Names have no case, and a rule may have one twice: the first list of values was the only one that counted,
 * so that a value denied by the second passed. */
START_TEST(a_name_twice_in_one_rule)
{
    struct acl *acl = one("path \"d\" { capabilities=[\"update\"] denied_parameters={a=[\"1\"] A=[\"2\"]} }\n"
                          "path \"a\" { capabilities=[\"update\"] allowed_parameters={a=[\"1\"] A=[]} }\n");
    ck_assert(!allows_body(acl, OPERATION_UPDATE, "d", "{\"a\":\"1\"}"));
    ck_assert(!allows_body(acl, OPERATION_UPDATE, "d", "{\"a\":\"2\"}"));
    ck_assert(!allows_body(acl, OPERATION_UPDATE, "d", "{\"A\":\"2\"}"));
    ck_assert(allows_body(acl, OPERATION_UPDATE, "d", "{\"a\":\"3\"}"));
    ck_assert(allows_body(acl, OPERATION_UPDATE, "a", "{\"a\":\"7\"}"));
    acl_unref(acl);
}
END_TEST

/* Who may choose a name could choose "x/", and the '+' behind it became a segment of its own. */
START_TEST(a_value_makes_no_wildcard_of_its_neighbour)
{
    const char *text = "path \"a/{{identity.entity.name}}+\" { capabilities = [\"read\"] }\n"
                       "path \"b/+{{identity.entity.metadata.k}}\" { capabilities = [\"read\"] }\n"
                       "path \"c/+/{{identity.entity.name}}\" { capabilities = [\"read\"] }\n";
    struct acl *acl =
        make(1, &text, "{\"entity\":{\"name\":\"x/\",\"metadata\":{\"k\":\"/y\"}}}");
    ck_assert(!allows(acl, OPERATION_READ, "a/x/other"));
    ck_assert(!allows(acl, OPERATION_READ, "b/other/y"));
    ck_assert(allows(acl, OPERATION_READ, "c/any/x/"));
    acl_unref(acl);
    acl = make(1, &text, "{\"entity\":{\"name\":\"x\",\"metadata\":{\"k\":\"y\"}}}");
    ck_assert(allows(acl, OPERATION_READ, "a/x+"));
    ck_assert(allows(acl, OPERATION_READ, "b/+y"));
    acl_unref(acl);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {exact_beats_glob,
                                  plus_is_one_segment,
                                  a_wildcard_further_right_wins,
                                  list_with_and_without_slash,
                                  who_tells_creation_from_change,
                                  sudo_and_help,
                                  wrapping_bounds,
                                  allowed_and_denied_parameters,
                                  parameters_merge_key_by_key,
                                  deny_leaves_nothing,
                                  templates,
                                  touches_what_lies_below,
                                  each_rule_once,
                                  a_name_twice_in_one_rule,
                                  a_value_makes_no_wildcard_of_its_neighbour};
    arena = arena_new(4096);
    int status = test_run("node/core/acl", tests, sizeof(tests) / sizeof(tests[0]));
    arena_free(arena);
    return status;
}

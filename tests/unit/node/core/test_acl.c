/* tests/unit/node/core/test_acl.c: which rule decides, and what it decides; against a naive model.
 */
#include "node/base/arena.h"
#include "node/base/host.h"
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

/* ---- the model: every rule is asked, every pair is compared, as section 6 says it ---- */

#define RULES_MAX 40

struct model_rule {
    char path[64];
    unsigned bits;
};
struct model {
    struct model_rule rules[RULES_MAX];
    size_t count;
};

static bool model_segment_plus(const char *rule, const char *at)
{
    return *at == '+' && (at == rule || at[-1] == '/') && (at[1] == '\0' || at[1] == '/');
}

static bool model_matches(const char *rule, const char *at, const char *path)
{
    if (*at == '*' && at[1] == '\0') {
        return true;
    }
    if (*at == '\0') {
        return *path == '\0';
    }
    if (model_segment_plus(rule, at)) {
        size_t size = strcspn(path, "/");
        return size != 0 && model_matches(rule, at + 1, path + size);
    }
    return *at == *path && model_matches(rule, at + 1, path + 1);
}

static void model_measure(const char *rule, size_t *first, size_t *plus, bool *star)
{
    size_t size = strlen(rule);
    *star = size != 0 && rule[size - 1] == '*';
    *first = *star ? size - 1 : size;
    *plus = 0;
    for (size_t i = size; i-- > 0;) {
        if (model_segment_plus(rule, rule + i)) {
            *first = i;
            ++*plus;
        }
    }
}

static bool model_beats(const char *a, const char *b)
{
    size_t first_a, first_b, plus_a, plus_b;
    bool star_a, star_b;
    model_measure(a, &first_a, &plus_a, &star_a);
    model_measure(b, &first_b, &plus_b, &star_b);
    if (first_a != first_b) {
        return first_a > first_b;
    }
    if (star_a != star_b) {
        return star_b;
    }
    if (plus_a != plus_b) {
        return plus_a < plus_b;
    }
    return strlen(a) != strlen(b) ? strlen(a) > strlen(b) : strcmp(a, b) > 0;
}

static bool model_is_exact(const char *rule)
{
    size_t first, plus;
    bool star;
    model_measure(rule, &first, &plus, &star);
    return !star && plus == 0;
}

static unsigned model_decide(const struct model *model, const char *path)
{
    const struct model_rule *best = NULL;
    char bare[64];
    snprintf(bare, sizeof(bare), "%s", path);
    size_t size = strlen(bare);
    for (int pass = 0; pass < 2; pass++) { /* exact; the second time without the closing slash */
        for (size_t i = 0; i < model->count; i++) {
            if (model_is_exact(model->rules[i].path) && strcmp(model->rules[i].path, bare) == 0) {
                return model->rules[i].bits;
            }
        }
        if (size != 0 && bare[size - 1] == '/') {
            bare[size - 1] = '\0';
        }
    }
    for (size_t i = 0; i < model->count; i++) {
        const struct model_rule *rule = &model->rules[i];
        if (!model_is_exact(rule->path) && model_matches(rule->path, rule->path, path) &&
            (best == NULL || model_beats(rule->path, best->path))) {
            best = rule;
        }
    }
    return best != NULL ? best->bits : 0;
}

static void model_add(struct model *model, const char *path, unsigned bits)
{
    path += path[0] == '/'; /* rules may be written as they stand in URLs */
    for (size_t i = 0; i < model->count; i++) {
        if (strcmp(model->rules[i].path, path) == 0) {
            model->rules[i].bits |= bits;
            return;
        }
    }
    snprintf(model->rules[model->count].path, sizeof(model->rules[0].path), "%s", path);
    model->rules[model->count++].bits = bits;
}

/* Few letters and short segments, so that rules and paths meet often. */
static void random_path(struct cf_prng *prng, bool is_rule, char to[64])
{
    size_t at = 0;
    uint64_t segments = 1 + cf_prng_below(prng, 4);
    for (uint64_t i = 0; i < segments; i++) {
        uint64_t kind = cf_prng_below(prng, 8);
        if (is_rule && kind < 2) {
            to[at++] = '+';
        } else {
            for (uint64_t n = cf_prng_below(prng, kind == 7 ? 1 : 3) + (kind != 7); n > 0; n--) {
                to[at++] = "ab+*"[cf_prng_below(prng, kind == 6 ? 4 : 2)];
            }
        }
        if (i + 1 < segments || cf_prng_below(prng, 4) == 0) {
            to[at++] = '/';
        }
    }
    if (is_rule && cf_prng_below(prng, 3) == 0) {
        to[at++] = '*';
    }
    to[at] = '\0';
}

START_TEST(agrees_with_the_model)
{
    struct cf_prng prng;
    cf_prng_seed(&prng, 42);
    for (int round = 0; round < 1500; round++) {
        struct model model = {0};
        char texts[4][2048] = {{0}};
        const char *pointers[4] = {texts[0], texts[1], texts[2], texts[3]};
        uint64_t rules = 1 + cf_prng_below(&prng, RULES_MAX);
        for (uint64_t i = 0; i < rules; i++) {
            const char *names[CAPABILITY_COUNT];
            char path[64];
            unsigned bits = 1u << cf_prng_below(&prng, 9);
            random_path(&prng, true, path);
            if (strstr(path, "+*") != NULL || capability_names(bits, names) != 1) {
                continue;
            }
            char *text = texts[cf_prng_below(&prng, 4)];
            snprintf(text + strlen(text), 2048 - strlen(text),
                     "path \"%s\" { capabilities = [\"%s\"] }\n", path, names[0]);
            model_add(&model, path, bits);
        }
        struct acl *acl = make(4, pointers, NULL);
        for (int asked = 0; asked < 60; asked++) {
            char path[64];
            random_path(&prng, false, path);
            unsigned want = model_decide(&model, path);
            want = want == 0 || (want & CAPABILITY_DENY) != 0 ? CAPABILITY_DENY : want;
            unsigned got = acl_capabilities(acl, cf_slice_str(path));
            ck_assert_msg(got == want, "round %d, path \"%s\": %u, not %u", round, path, got, want);
        }
        acl_unref(acl);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {exact_beats_glob,
                                  plus_is_one_segment,
                                  a_wildcard_further_right_wins,
                                  list_with_and_without_slash,
                                  sudo_and_help,
                                  wrapping_bounds,
                                  allowed_and_denied_parameters,
                                  parameters_merge_key_by_key,
                                  deny_leaves_nothing,
                                  templates,
                                  touches_what_lies_below,
                                  each_rule_once,
                                  agrees_with_the_model};
    arena = arena_new(4096);
    int status = test_run("node/core/acl", tests, sizeof(tests) / sizeof(tests[0]));
    arena_free(arena);
    return status;
}

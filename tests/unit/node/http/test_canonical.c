/* tests/unit/node/http/test_canonical.c: what a client sends, as bytes, against what is then read or written
 * (reliability.md P-27): a request reaches a handler exactly when the plain model of paths and policies allows
 * it on the one spelling of its path, and what it writes is found at that spelling and nowhere else. */
#include <stdio.h>

#include "node/base/host.h"
#include "node/base/memory.h"
#include "node/http/path.h"
#include "tests/lib/acl_model.h"
#include "tests/lib/core_fixture.h"
#include "tests/lib/test.h"

#define ROUNDS 150
#define REQUESTS 120
#define NAMES_MAX 4096

static struct fixture *fixture;
static struct cf_prng prng;

static const char *const spaces[] = {"a/", "a/b/"};
static const char *const owners[] = {"", "a/", "a/b/"}; /* whose tokens ask */

/* Everything that was written, by its one spelling. */
static struct {
    char path[MODEL_PATH_MAX];
    unsigned value;
} written[NAMES_MAX];
static size_t written_count;

#define PICK(list) (list)[cf_prng_below(&prng, sizeof(list) / sizeof((list)[0]))]

static bool one_in(uint64_t n)
{
    return cf_prng_below(&prng, n) == 0;
}

static int root_call(const char *operation, const char *ns, const char *path, const char *body)
{
    char whole[2 * MODEL_PATH_MAX];
    (void)snprintf(whole, sizeof(whole), "%s%s", ns, path);
    return fixture_call(fixture, NULL, operation, whole, body, NULL);
}

static void set_up(void)
{
    fixture = fixture_new();
    ck_assert_int_eq(root_call("POST", "", "sys/namespaces/a", NULL), 200);
    ck_assert_int_eq(root_call("POST", "a/", "sys/namespaces/b", NULL), 200);
    for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++) {
        ck_assert_int_eq(root_call("POST", owners[i], "sys/mounts/s", "{\"type\":\"kv\"}"), 204);
        ck_assert_int_eq(root_call("POST", owners[i], "sys/mounts/t/u", "{\"type\":\"kv\"}"), 204);
    }
}

/* ---- a policy, and a token that has it ---- */

static struct model_rule rules[6];
static char rule_paths[6][128];
static struct model model;
static char token[128];
static const char *owner;

static void random_rule(size_t i)
{
    static const char *const heads[] = {"", "", "", "a/", "b/", "+/"};
    static const char *const mounts[] = {"s/", "s/", "t/u/", "t/", "+/"};
    static const char *const names[] = {"x", "*", "+", "x y", "x/", "*", "x*", "\xc3\xa9", "z/+", "+/y"};
    static const unsigned bits[] = {MODEL_READ,  MODEL_CREATE | MODEL_UPDATE, MODEL_UPDATE, MODEL_DENY,
                                    MODEL_CREATE, MODEL_READ | MODEL_LIST,     0x1ff & ~MODEL_DENY};
    (void)snprintf(rule_paths[i], sizeof(rule_paths[0]), "%s%s%s", PICK(heads), PICK(mounts), PICK(names));
    rules[i] = (struct model_rule){.path = rule_paths[i], .capabilities = PICK(bits)};
}

static void new_token(void)
{
    static const char *const names[] = {"create", "read", "update", "delete", "list",
                                        "sudo",   "deny", "patch",  "scan"};
    CF_BUF(body) = {0};
    size_t count = 1 + cf_prng_below(&prng, CF_LENGTH(rules));
    cf_buf_add_str(&body, "{\"policy\":\"");
    for (size_t i = 0; i < count; i++) {
        random_rule(i);
        cf_buf_addf(&body, "path \\\"%s\\\" { capabilities = [", rule_paths[i]);
        for (size_t k = 0; k < CF_LENGTH(names); k++) {
            if ((rules[i].capabilities & 1u << k) != 0) {
                cf_buf_addf(&body, "\\\"%s\\\",", names[k]);
            }
        }
        cf_buf_add_str(&body, "] }\\n");
    }
    cf_buf_add_str(&body, "\"}");
    model = (struct model){.rules = rules, .rule_count = count};
    model_fill(&model);
    owner = PICK(owners);
    ck_assert_int_eq(root_call("POST", owner, "sys/policies/acl/p", cf_buf_text(&body)), 204);
    ck_assert_int_eq(root_call("POST", owner, "auth/token/create",
                               "{\"policies\":[\"p\"],\"no_default_policy\":true}"),
                     200);
    (void)snprintf(token, sizeof(token), "%s", fixture_at(fixture, "auth.client_token"));
}

/* ---- a target, in some spelling ---- */

static void add_segment(struct cf_buf *to, const char *segment)
{
    for (; *segment != '\0'; segment++) {
        if ((uint8_t)*segment <= 0x20 || (uint8_t)*segment >= 0x7f || one_in(12)) {
            cf_buf_addf(to, one_in(2) ? "%%%02x" : "%%%02X", (unsigned)(uint8_t)*segment);
        } else {
            cf_buf_add_byte(to, (uint8_t)*segment);
        }
    }
}

static void random_target(struct cf_buf *to)
{
    static const char *const segments[] = {"a", "b", "s", "s", "t", "u", "x", "y", "z", "x y",
                                           "+", "*", "\xc3\xa9", "%2e", "..."};
    static const char *const traps[] = {"..", ".", "%2e%2e", "%2E", "s%2fx", "", "x%00", "%c0%ae", "%"};
    static const char *const starts[] = {"", "", "a/", "b/", "a/b/"};
    static const char *const mounts[] = {"s/", "s/", "t/u/", "t/u/", "s", "x/"};
    cf_buf_addf(to, "/v1/%s%s", one_in(2) ? owner : PICK(starts), PICK(mounts));
    for (uint64_t n = cf_prng_below(&prng, 4); n > 0; n--) {
        if (to->data[to->size - 1] != '/') {
            cf_buf_add_byte(to, '/');
        }
        if (one_in(12)) {
            cf_buf_add_str(to, PICK(traps));
        } else {
            add_segment(to, PICK(segments));
        }
    }
    if (one_in(6)) {
        cf_buf_add_byte(to, '/');
    }
}

/* ---- what the model expects ---- */

/* The path as the token's policies see it; NULL: the token has no business there. */
static const char *as_policies_see(const char *path)
{
    size_t of_owner = strlen(owner);
    size_t ns = model_namespace(spaces, CF_LENGTH(spaces), path);
    if (ns < of_owner || strncmp(path, owner, of_owner) != 0) {
        return strlen(path) + 1 == of_owner && ns == of_owner ? "" : NULL;
    }
    return path + of_owner;
}

static bool may(const char *path, unsigned capability)
{
    char text[MODEL_PATH_MAX + 1];
    const char *seen = as_policies_see(path);
    if (seen == NULL) {
        return false;
    }
    (void)snprintf(text, sizeof(text), "%s", seen);
    if (capability == MODEL_LIST && text[0] != '\0' && text[strlen(text) - 1] != '/') {
        strcat(text, "/");
    }
    struct model_request request = {.path = text, .capability = capability};
    return model_allows(&model, &request);
}

static void note(const char *path, unsigned value)
{
    for (size_t i = 0; i < written_count; i++) {
        if (strcmp(written[i].path, path) == 0) {
            written[i].value = value;
            return;
        }
    }
    ck_assert_uint_lt(written_count, NAMES_MAX);
    (void)snprintf(written[written_count].path, MODEL_PATH_MAX, "%s", path);
    written[written_count++].value = value;
}

static unsigned counts[4]; /* refused by http, refused by policy, written, read */

static void ask(unsigned number)
{
    static const struct {
        const char *name;
        unsigned bit;
    } operations[] = {{"GET", MODEL_READ}, {"PUT", 0}, {"PUT", 0}, {"LIST", MODEL_LIST}};
    CF_BUF(target) = {0};
    CF_OWNED(arena) arena = arena_new(2048);
    struct http_path path;
    char expected[MODEL_PATH_MAX], body[64];
    random_target(&target);
    enum model_path verdict = model_path(target.data, target.size, expected);
    cf_status status = http_path_parse(arena, cf_buf_slice(&target), &path, NULL);
    ck_assert_int_eq(status == CF_OK, verdict != MODEL_PATH_REFUSED);
    if (status != CF_OK || path.is_doubled) {
        ck_assert_int_eq(status == CF_OK, verdict == MODEL_PATH_REDIRECT);
        counts[0]++;
        return;
    }
    ck_slice(path.canonical, expected);
    size_t which = cf_prng_below(&prng, CF_LENGTH(operations));
    bool writes = operations[which].bit == 0, ends = expected[strlen(expected) - 1] == '/';
    if (writes && ends) {
        return; /* answered by node/http */
    }
    unsigned bit = operations[which].bit;
    if (writes) {
        /* Absent in a mount that can tell: a create. Where there is no mount the 404 has a text. */
        int there = fixture_call(fixture, NULL, "GET", expected + 4, NULL, NULL);
        bit = there == 404 && !fixture_error_has(fixture, "") ? MODEL_CREATE : MODEL_UPDATE;
    }
    (void)snprintf(body, sizeof(body), "{\"v\":%u}", number);
    int got = fixture_call(fixture, token, operations[which].name, expected + 4, writes ? body : NULL, NULL);
    bool allowed = may(expected + 4, bit);
    CF_BUF(said) = {0};
    for (size_t i = 0; i < model.rule_count; i++) {
        cf_buf_addf(&said, " \"%s\"=%x", rules[i].path, rules[i].capabilities);
    }
    ck_assert_msg((got != 403) == allowed, "%s %s by a token of \"%s\": %d, the model %s:%s",
                  operations[which].name, expected, owner, got, allowed ? "allows" : "refuses",
                  cf_buf_text(&said));
    counts[got == 403 ? 1 : writes ? 2 : 3]++;
    if (writes && got == 204) {
        note(expected + 4, number);
    }
}

START_TEST(reaches_what_the_model_allows)
{
    unsigned number = 1;
    set_up();
    cf_prng_seed(&prng, 2026);
    for (int round = 0; round < ROUNDS; round++) {
        new_token();
        for (int i = 0; i < REQUESTS; i++) {
            ask(number++);
        }
    }
    for (size_t i = 0; i < written_count; i++) {
        char value[32];
        (void)snprintf(value, sizeof(value), "%u", written[i].value);
        ck_assert_int_eq(fixture_call(fixture, NULL, "GET", written[i].path, NULL, NULL), 200);
        ck_assert_msg(strcmp(fixture_at(fixture, "data.v"), value) == 0, "%s: %s, not %s",
                      written[i].path, fixture_at(fixture, "data.v"), value);
    }
    for (size_t i = 0; i < CF_LENGTH(counts); i++) {
        ck_assert_msg(counts[i] >= 100, "kind %zu: only %u", i, counts[i]);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {reaches_what_the_model_allows};
    int status = test_run("node/http/canonical", tests, 1);
    fixture_free(fixture);
    return status;
}

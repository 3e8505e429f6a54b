/* tests/fuzz/fuzz_acl.c: any target and any namespace header, from bytes to a decision (reliability.md P-27,
 * acl_canonical_fuzz). What node/http makes of the path, the namespace that node/core finds in it and what the
 * policies say about the rest are those of the plain model. The input is the header's value, a line end, the
 * target of the request and a line end. tests/unit/node/http/test_canonical.c does the same with whole requests. */
#include "fuzz.h"
#include "node/core/namespace.h"
#include "node/core/policy.h"
#include "node/http/path.h"
#include "tests/lib/acl_model.h"

static const char *const spaces[] = {"a/", "a/b/", "ns1/", "secret/"};

static const struct model_rule rules[] = {
    {.path = "secret/a", .capabilities = MODEL_READ},
    {.path = "secret/*", .capabilities = MODEL_READ | MODEL_UPDATE},
    {.path = "secret/deny/*", .capabilities = MODEL_DENY},
    {.path = "secret/+/c", .capabilities = MODEL_LIST},
    {.path = "+/deny/+", .capabilities = MODEL_DENY},
    {.path = "+/+/x*", .capabilities = MODEL_UPDATE | MODEL_SUDO},
    {.path = "a/b/secret/+", .capabilities = MODEL_READ},
    {.path = "b/*", .capabilities = MODEL_READ | MODEL_LIST},
    {.path = "sys/policies/acl/x", .capabilities = MODEL_UPDATE},
    {.path = "sys/*", .capabilities = MODEL_DENY},
};

static struct acl *make_acl(void)
{
    static const char *const names[] = {"create", "read", "update", "delete", "list",
                                        "sudo",   "deny", "patch",  "scan"};
    CF_BUF(text) = {0};
    struct policy *policy;
    struct acl *acl;
    for (size_t i = 0; i < CF_LENGTH(rules); i++) {
        cf_buf_addf(&text, "path \"%s\" { capabilities = [", rules[i].path);
        for (size_t k = 0; k < CF_LENGTH(names); k++) {
            if ((rules[i].capabilities & 1u << k) != 0) {
                cf_buf_addf(&text, "\"%s\",", names[k]);
            }
        }
        cf_buf_addf(&text, "] }\n");
    }
    FUZZ_CHECK(policy_parse(CF_SLICE("p"), cf_buf_slice(&text), &policy, NULL) == CF_OK);
    FUZZ_CHECK(acl_new(&policy, 1, false, NULL, &acl, NULL) == CF_OK);
    policy_unref(policy);
    return acl;
}

/* Root and the list above, sorted as the table wants them. */
static void make_spaces(struct namespace list[CF_LENGTH(spaces) + 1],
                        struct namespace *pointers[CF_LENGTH(spaces) + 1])
{
    for (size_t i = 0; i <= CF_LENGTH(spaces); i++) {
        list[i] = (struct namespace){.number = (uint32_t)i,
                                     .path = cf_slice_str(i != 0 ? spaces[i - 1] : ""),
                                     .parent = i != 0 ? &list[0] : NULL};
        pointers[i] = &list[i];
    }
    list[2].parent = &list[1];
}

static void decide(struct cf_slice path)
{
    static struct model model = {.rules = rules, .rule_count = CF_LENGTH(rules)};
    static const struct {
        enum operation operation;
        unsigned bit;
    } operations[] = {{OPERATION_READ, MODEL_READ}, {OPERATION_UPDATE, MODEL_UPDATE}};
    char text[MODEL_PATH_MAX] = "";
    memcpy(text, path.data, cf_min(path.size, sizeof(text) - 1));
    model_fill(&model);
    struct acl *acl = make_acl();
    for (size_t i = 0; i < CF_LENGTH(operations); i++) {
        struct acl_request asked = {.path = path, .operation = operations[i].operation};
        struct model_request request = {.path = text, .capability = operations[i].bit};
        FUZZ_CHECK(acl_allows(acl, &asked) == model_allows(&model, &request));
    }
    FUZZ_CHECK(acl_capabilities(acl, path) == model_capabilities(&model, text));
    acl_unref(acl);
}

/* The path with its namespace, as the model joins them. */
static const char *joined(const char *header, const char *path, char to[2 * MODEL_PATH_MAX])
{
    while (*header == '/') {
        header++;
    }
    (void)snprintf(to, 2 * MODEL_PATH_MAX, "%.1024s", header);
    while (to[0] != '\0' && to[strlen(to) - 1] == '/') {
        to[strlen(to) - 1] = '\0';
    }
    if (to[0] == '\0' || strcmp(to, "root") == 0) {
        to[0] = '\0';
    } else {
        strcat(to, "/");
    }
    strcat(to, path);
    return to;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cf_slice input = cf_slice_of(data, cf_min(size, 4096));
    size_t end = cf_slice_find(input, '\n');
    struct cf_slice header = cf_slice_first(input, cf_min(end, 1024));
    struct cf_slice target = cf_slice_from(input, end + 1);
    target = cf_slice_first(target, cf_slice_find(target, '\n'));
    if (cf_slice_find(header, 0) != header.size || cf_slice_find(target, 0) != target.size ||
        (target.size != 0 && target.data[0] != '/')) {
        return 0; /* the parser lets no such thing through */
    }
    CF_OWNED(arena) arena = arena_new(4096);
    struct http_path path;
    char one[MODEL_PATH_MAX], whole[2 * MODEL_PATH_MAX];
    enum model_path verdict = model_path(target.data, target.size, one);
    cf_status status = http_path_parse(arena, target, &path, NULL);
    FUZZ_CHECK((status == CF_OK) == (verdict != MODEL_PATH_REFUSED));
    if (status != CF_OK) {
        return 0;
    }
    FUZZ_CHECK(path.is_doubled == (verdict == MODEL_PATH_REDIRECT));
    FUZZ_CHECK(cf_slice_is(path.is_doubled ? path.location : path.canonical, one));
    if (path.is_doubled || strncmp(one, "/v1/", 4) != 0) {
        return 0;
    }
    size_t from_header;
    struct cf_slice full = http_path_in(arena, header, cf_slice_from(path.canonical, 4), &from_header);
    FUZZ_CHECK(cf_slice_is(full, joined(arena_text(arena, header), one + 4, whole)));

    struct namespace list[CF_LENGTH(spaces) + 1], *pointers[CF_LENGTH(spaces) + 1];
    make_spaces(list, pointers);
    struct namespace_table table = {.list = pointers, .count = CF_LENGTH(pointers)};
    const struct namespace *ns = namespace_table_match(&table, full);
    FUZZ_CHECK(ns->path.size == model_namespace(spaces, CF_LENGTH(spaces), whole));
    if (from_header <= ns->path.size) { /* else there is no such namespace */
        FUZZ_CHECK(from_header == 0 || whole[from_header - 1] == '/');
        decide(full);                                   /* a token of the root namespace */
        decide(cf_slice_from(full, ns->path.size));     /* and one of its own */
    }
    return 0;
}

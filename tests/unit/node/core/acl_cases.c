/* tests/unit/node/core/acl_cases.c: see acl_cases.h. */
#include "acl_cases.h"

#include <stdio.h>
#include <stdlib.h>

#include "node/base/host.h"
#include "node/base/memory.h"
#include "node/core/policy.h"
#include "node/format/encode.h"
#include "tests/lib/acl_model.h"

#define POLICIES_MAX 4
#define RULES_PER_POLICY 7
#define ASKED_PER_SET 96

const char *const acl_mark_names[ACL_MARK_COUNT] = {
    [ACL_ALLOWED] = "allowed",
    [ACL_REFUSED] = "refused",
    [ACL_BY_EXACT] = "an exact rule decides",
    [ACL_BY_WILD] = "a rule with wildcards decides",
    [ACL_TWO_FIT] = "several fit",
    [ACL_UNITED] = "rules of one path are united",
    [ACL_DENIED] = "deny",
    [ACL_FILLED] = "a template is filled in",
    [ACL_DROPPED] = "a rule is dropped",
    [ACL_PARAMETERS] = "parameters make the difference",
    [ACL_WRAPPING] = "the wrapping TTL makes the difference",
    [ACL_SUDO] = "sudo makes the difference",
    [ACL_LIST_SLASH] = "a list by a rule without its slash",
};

struct set {
    struct cf_prng prng;
    struct arena *arena;
    struct model model;
    struct model_rule rules[MODEL_RULES_MAX];
    struct model_fact facts[8];
    const char *texts[POLICIES_MAX];
    size_t policy_count;
    const char *identity; /* JSON, or NULL */
    struct acl *acl;
};

#define PICK(set, list) (list)[cf_prng_below(&(set)->prng, sizeof(list) / sizeof((list)[0]))]

static bool one_in(struct set *set, uint64_t n)
{
    return cf_prng_below(&set->prng, n) == 0;
}

/* ---- what rules and requests are made of: few letters, so that they meet ---- */

static const char *const words[] = {"a", "b", "ab", "aa", "b.c", "x-y"};
static const char *const odd_words[] = {"+", "+a", "a+", "*", "a*b", "++", "\xc3\xa9"};
static const char *const beside[] = {"", "", "", "", "a", "+", "x-y"}; /* of a template */
static const char *const templates[] = {
    "{{identity.entity.id}}",
    "{{ identity.entity.name }}",
    "{{identity.entity.metadata.team}}",
    "{{identity.entity.metadata.a.b}}",
    "{{identity.entity.aliases.auth_x_1.metadata.k}}",
    "{{identity.groups.names.ops.eu.id}}",
    "{{identity.groups.ids.g1.name}}",
    "{{identity.entity.metadata.absent}}",
    "{{entity.id}}",
};
static const char *const fact_names[] = {
    "entity.id",  "entity.name", "entity.metadata.team", "entity.metadata.a.b",
    "entity.aliases.auth_x_1.metadata.k", "groups.names.ops.eu.id", "groups.ids.g1.name"};
static const char *const fact_values[] = {"a", "b", "ab", "a/b", "x-y", "",   "*",
                                          "a*", "+", "a/+", "b/", "/a", "a+", "{{identity.entity.id}}"};
static const char *const rule_names[] = {"a", "B", "key", "c", "*", "A"};
static const char *const body_names[] = {"a", "A", "b", "KEY", "c", "d", "*"};
static const char *const globs[] = {"1", "12", "1*", "*2", "*1*", "*", "**", "", "true", "ab", "5"};
static const char *const sent[] = {"1", "12", "2", "ab", "", "true", "5", "b12a", "*", "21"};
static const char *const bare[] = {"1", "12", "5", "true", "false", "21"};

static void random_path(struct set *set, bool is_rule, struct cf_buf *to)
{
    uint64_t segments = 1 + cf_prng_below(&set->prng, 4);
    for (uint64_t i = 0; i < segments; i++) {
        uint64_t kind = cf_prng_below(&set->prng, 16);
        if (is_rule && kind < 4) {
            cf_buf_add_byte(to, '+');
        } else if (is_rule && kind < 6) {
            cf_buf_add_str(to, PICK(set, beside));
            cf_buf_add_str(to, PICK(set, templates));
            cf_buf_add_str(to, PICK(set, beside));
        } else {
            cf_buf_add_str(to, kind == 6 ? PICK(set, odd_words) : PICK(set, words));
        }
        if (i + 1 < segments || one_in(set, 5)) {
            cf_buf_add_byte(to, '/');
        }
    }
    if (is_rule && one_in(set, 3)) {
        cf_buf_add_byte(to, '*');
    }
}

static const char *rule_path(struct set *set)
{
    for (;;) {
        CF_BUF(path) = {0};
        cf_buf_add_str(&path, one_in(set, 16) ? "/" : "");
        random_path(set, true, &path);
        if (strstr(cf_buf_text(&path), "+*") == NULL && !one_in(set, 64)) {
            return arena_text(set->arena, cf_buf_slice(&path));
        }
        if (one_in(set, 64)) {
            return one_in(set, 2) ? "*" : "+";
        }
    }
}

/* A relative of a rule that is there, so that several fit one path: words become "+" and the other way round. */
static const char *related_path(struct set *set, const char *rule)
{
    CF_BUF(path) = {0};
    while (*rule != '\0') {
        struct cf_slice segment = cf_slice_of(rule, strcspn(rule, "/"));
        bool is_word = segment.size != 0 && segment.data[segment.size - 1] != '*';
        if (!is_word || !one_in(set, 3)) {
            cf_buf_add_slice(&path, segment);
        } else {
            cf_buf_add_str(&path, cf_slice_is(segment, "+") ? PICK(set, words) : "+");
        }
        rule += segment.size;
        if (*rule == '/') {
            cf_buf_add_byte(&path, '/');
            rule++;
        }
    }
    return arena_text(set->arena, cf_buf_slice(&path));
}

/* ---- rules ---- */

static struct model_value random_glob(struct set *set)
{
    return one_in(set, 5) ? (struct model_value){.kind = MODEL_BARE, .text = PICK(set, bare)}
                          : (struct model_value){.kind = MODEL_STRING, .text = PICK(set, globs)};
}

static size_t random_parameters(struct set *set, struct model_parameter to[MODEL_LIST_MAX])
{
    size_t count = 1 + cf_prng_below(&set->prng, MODEL_LIST_MAX - 1);
    for (size_t i = 0; i < count; i++) {
        to[i] = (struct model_parameter){.name = PICK(set, rule_names)};
        for (uint64_t n = cf_prng_below(&set->prng, 4); n > 0; n--) {
            to[i].values[to[i].count++] = random_glob(set);
        }
    }
    return count;
}

static const struct {
    const char *name;
    unsigned bits;
} old_forms[] = {
    {"read", MODEL_READ | MODEL_LIST},
    {"write", MODEL_CREATE | MODEL_READ | MODEL_UPDATE | MODEL_DELETE | MODEL_LIST},
    {"deny", MODEL_DENY},
    {"sudo",
     MODEL_CREATE | MODEL_READ | MODEL_UPDATE | MODEL_DELETE | MODEL_LIST | MODEL_SUDO},
};

static void random_rule(struct set *set, struct model_rule *rule)
{
    static const int64_t bounds[] = {5, 10, 60, 90};
    uint64_t kind = set->model.rule_count != 0 ? cf_prng_below(&set->prng, 8) : 7;
    const char *known =
        kind < 4 ? set->rules[cf_prng_below(&set->prng, set->model.rule_count)].path : NULL;
    *rule = (struct model_rule){.path = known == NULL ? rule_path(set)
                                        : kind < 2    ? known
                                                      : related_path(set, known)};
    rule->capabilities = (unsigned)cf_prng_next(&set->prng) & (unsigned)cf_prng_next(&set->prng) & 0x1ff;
    if (one_in(set, 4)) {
        rule->capabilities = 0x1ff;
    }
    rule->capabilities &= one_in(set, 6) ? ~0u : ~(unsigned)MODEL_DENY;
    if (one_in(set, 3)) {
        rule->allowed_count = random_parameters(set, rule->allowed);
    }
    if (one_in(set, 3)) {
        rule->denied_count = random_parameters(set, rule->denied);
    }
    if (one_in(set, 5)) {
        rule->required[rule->required_count++] = PICK(set, rule_names);
        if (one_in(set, 3)) {
            rule->required[rule->required_count++] = PICK(set, rule_names);
        }
    }
    rule->min_wrap_s = one_in(set, 6) ? PICK(set, bounds) : 0;
    rule->max_wrap_s = one_in(set, 6) ? PICK(set, bounds) : 0;
    if (rule->max_wrap_s != 0 && rule->max_wrap_s < rule->min_wrap_s) {
        rule->max_wrap_s = rule->min_wrap_s;
    }
}

/* ---- as text ---- */

static void write_value(struct cf_buf *to, const struct model_value *value)
{
    cf_buf_addf(to, value->kind == MODEL_BARE ? "%s" : "\"%s\"", value->text);
}

static void write_parameters(struct set *set, struct cf_buf *to, bool as_json, const char *name,
                             const struct model_parameter *list, size_t count)
{
    cf_buf_addf(to, as_json ? ",\"%s\":{" : " %s = {", name);
    for (size_t i = 0; i < count; i++) {
        bool alone = list[i].count == 1 && one_in(set, 2); /* one value without its list */
        cf_buf_addf(to, as_json ? "%s\"%s\":%s" : "%s\"%s\" = %s", i != 0 ? "," : "", list[i].name,
                    alone ? "" : "[");
        for (size_t k = 0; k < list[i].count; k++) {
            cf_buf_add_str(to, k != 0 ? ", " : "");
            write_value(to, &list[i].values[k]);
        }
        cf_buf_add_str(to, alone ? "" : "]");
    }
    cf_buf_add_str(to, "}");
}

static void write_bound(struct set *set, struct cf_buf *to, bool as_json, const char *name,
                        int64_t bound_s)
{
    static const char *const forms[] = {"\"%lds\"", "%ld", "\"%ld\""};
    const char *form = PICK(set, forms);
    char text[32];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(text, sizeof(text), form, (long)bound_s);
#pragma GCC diagnostic pop
    cf_buf_addf(to, as_json ? ",\"%s\":%s" : " %s = %s", name, text);
}

static void write_capabilities(struct set *set, struct cf_buf *to, bool as_json, unsigned bits)
{
    for (size_t i = 0; i < CF_LENGTH(old_forms); i++) {
        if (old_forms[i].bits == bits && one_in(set, 2)) {
            cf_buf_addf(to, as_json ? "\"policy\":\"%s\"" : "policy = \"%s\"", old_forms[i].name);
            return;
        }
    }
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {{MODEL_SCAN, "scan"},     {MODEL_CREATE, "create"}, {MODEL_READ, "read"},
                 {MODEL_UPDATE, "update"}, {MODEL_DELETE, "delete"}, {MODEL_LIST, "list"},
                 {MODEL_SUDO, "sudo"},     {MODEL_DENY, "deny"},     {MODEL_PATCH, "patch"}};
    cf_buf_add_str(to, as_json ? "\"capabilities\":[" : "capabilities = [");
    bool comma = false;
    for (size_t i = 0; i < CF_LENGTH(names); i++) {
        if ((bits & names[i].bit) != 0) {
            cf_buf_addf(to, "%s\"%s\"", comma ? ", " : "", names[i].name);
            comma = true;
        }
    }
    cf_buf_add_str(to, "]");
}

static void write_rule(struct set *set, struct cf_buf *to, bool as_json,
                       const struct model_rule *rule)
{
    cf_buf_addf(to, as_json ? "{\"%s\":{" : "path \"%s\" {\n  ", rule->path);
    write_capabilities(set, to, as_json, rule->capabilities);
    if (rule->allowed_count != 0) {
        write_parameters(set, to, as_json, "allowed_parameters", rule->allowed, rule->allowed_count);
        cf_buf_add_str(to, as_json ? "" : "\n");
    }
    if (rule->denied_count != 0) {
        write_parameters(set, to, as_json, "denied_parameters", rule->denied, rule->denied_count);
        cf_buf_add_str(to, as_json ? "" : "  # no more\n");
    }
    if (rule->required_count != 0) {
        cf_buf_add_str(to, as_json ? ",\"required_parameters\":[" : " required_parameters = [");
        for (size_t i = 0; i < rule->required_count; i++) {
            cf_buf_addf(to, "%s\"%s\"", i != 0 ? "," : "", rule->required[i]);
        }
        cf_buf_add_str(to, "]");
    }
    if (rule->min_wrap_s != 0) {
        write_bound(set, to, as_json, "min_wrapping_ttl", rule->min_wrap_s);
    }
    if (rule->max_wrap_s != 0) {
        write_bound(set, to, as_json, "max_wrapping_ttl", rule->max_wrap_s);
    }
    cf_buf_add_str(to, as_json ? "}}" : "\n}\n");
}

static const char *random_policy(struct set *set)
{
    CF_BUF(text) = {0};
    CF_BUF(encoded) = {0};
    bool as_json = one_in(set, 4);
    uint64_t count = 1 + cf_prng_below(&set->prng, RULES_PER_POLICY);
    cf_buf_add_str(&text, as_json ? "{\"path\":[" : "/* rules */\n");
    for (uint64_t i = 0; i < count; i++) {
        struct model_rule *rule = &set->rules[set->model.rule_count];
        random_rule(set, rule);
        cf_buf_add_str(&text, as_json && i != 0 ? "," : "");
        write_rule(set, &text, as_json, rule);
        set->model.rule_count++;
    }
    cf_buf_add_str(&text, as_json ? "]}" : "// the end\n");
    if (one_in(set, 8)) {
        encode_base64(&encoded, cf_buf_slice(&text));
        return arena_text(set->arena, cf_buf_slice(&encoded));
    }
    return arena_text(set->arena, cf_buf_slice(&text));
}

static void random_identity(struct set *set)
{
    size_t count = CF_LENGTH(fact_names);
    for (size_t i = 0; i < count; i++) {
        set->facts[i] = (struct model_fact){fact_names[i], PICK(set, fact_values)};
    }
    set->model.facts = set->facts;
    set->model.fact_count = count;
    set->model.has_identity = !one_in(set, 5);
    const struct model_fact *f = set->facts;
    set->identity = !set->model.has_identity
                        ? NULL
                        : arena_printf(set->arena,
                                       "{\"entity\":{\"id\":\"%s\",\"name\":\"%s\",\"metadata\":{\"team\":"
                                       "\"%s\",\"a.b\":\"%s\"},\"aliases\":{\"auth_x_1\":{\"metadata\":{"
                                       "\"k\":\"%s\"}}}},\"groups\":{\"names\":{\"ops.eu\":{\"id\":"
                                       "\"%s\"}},\"ids\":{\"g1\":{\"name\":\"%s\"}}}}",
                                       f[0].value, f[1].value, f[2].value, f[3].value, f[4].value,
                                       f[5].value, f[6].value);
}

static bool make_set(struct set *set, struct acl_run *run)
{
    struct policy *policies[POLICIES_MAX];
    struct cf_error err = {0};
    struct json *identity = NULL;
    set->policy_count = 1 + cf_prng_below(&set->prng, POLICIES_MAX);
    set->model = (struct model){.rules = set->rules};
    random_identity(set);
    size_t made = 0;
    for (size_t i = 0; i < set->policy_count; i++) {
        set->texts[i] = random_policy(set);
    }
    for (; made < set->policy_count; made++) {
        if (policy_parse(CF_SLICE("p"), cf_slice_str(set->texts[made]), &policies[made], &err) != CF_OK) {
            (void)snprintf(run->difference, sizeof(run->difference), "refused: %s\n%s", err.message,
                           set->texts[made]);
            break;
        }
    }
    bool good = made == set->policy_count;
    if (good && set->identity != NULL) {
        good = json_parse(set->arena, cf_slice_str(set->identity), NULL, &identity, &err) == CF_OK;
    }
    good = good && acl_new(policies, made, false, identity, &set->acl, &err) == CF_OK;
    for (size_t i = 0; i < made; i++) {
        policy_unref(policies[i]);
    }
    if (good) {
        model_fill(&set->model);
        for (size_t i = 0; i < set->model.rule_count; i++) {
            run->marks[ACL_DROPPED] += set->model.is_dropped[i];
        }
    }
    return good;
}

/* ---- requests ---- */

static const struct {
    enum operation operation;
    unsigned bit;
} operations[] = {
    {OPERATION_READ, MODEL_READ},     {OPERATION_LIST, MODEL_LIST},     {OPERATION_SCAN, MODEL_SCAN},
    {OPERATION_CREATE, MODEL_CREATE}, {OPERATION_UPDATE, MODEL_UPDATE}, {OPERATION_PATCH, MODEL_PATCH},
    {OPERATION_DELETE, MODEL_DELETE}, {OPERATION_UPDATE, MODEL_UPDATE},
};

/* A path that a rule was made for, more or less: "+" becomes a word, the star some rest. */
static void path_like(struct set *set, const char *rule, struct cf_buf *to)
{
    for (const char *at = rule; *at != '\0'; at++) {
        bool is_segment = (at == rule || at[-1] == '/') && (at[1] == '/' || at[1] == '\0');
        if (*at == '+' && is_segment) {
            cf_buf_add_str(to, PICK(set, words));
        } else if (*at == '*' && at[1] == '\0') {
            if (!one_in(set, 4)) {
                random_path(set, false, to);
            }
        } else {
            cf_buf_add_byte(to, (uint8_t)*at);
        }
    }
}

static struct cf_slice request_path(struct set *set, bool lists)
{
    CF_BUF(path) = {0};
    uint64_t like = cf_prng_below(&set->prng, set->model.rule_count);
    if (!set->model.is_dropped[like] && !one_in(set, 3)) {
        path_like(set, set->model.paths[like], &path);
    } else {
        random_path(set, false, &path);
    }
    if (lists && (path.size == 0 || path.data[path.size - 1] != '/')) {
        cf_buf_add_byte(&path, '/');
    }
    return cf_slice_str(arena_text(set->arena, cf_buf_slice(&path)));
}

static struct model_value random_value(struct set *set)
{
    struct model_value value = {.kind = MODEL_MANY};
    switch (cf_prng_below(&set->prng, 8)) {
    case 0:
    case 1:
        return (struct model_value){.kind = MODEL_BARE, .text = PICK(set, bare)};
    case 2:
        for (uint64_t n = cf_prng_below(&set->prng, 4); n > 0; n--) {
            value.items[value.count++] = PICK(set, sent);
        }
        return value;
    case 3:
        return (struct model_value){.kind = MODEL_OBJECT, .text = one_in(set, 2) ? "null" : "{}"};
    default:
        return (struct model_value){.kind = MODEL_STRING, .text = PICK(set, sent)};
    }
}

static size_t random_body(struct set *set, struct model_field to[MODEL_LIST_MAX], struct json **ret)
{
    struct json *body = json_object_new(set->arena);
    size_t count = 0;
    for (uint64_t n = cf_prng_below(&set->prng, MODEL_LIST_MAX + 1); n > 0; n--) {
        struct model_field field = {PICK(set, body_names), random_value(set)};
        if (json_get(body, field.name) != NULL) {
            continue;
        }
        struct json *value = json_array_new(set->arena);
        for (size_t i = 0; i < field.value.count; i++) {
            json_array_add(set->arena, value, json_from_text(set->arena, field.value.items[i]));
        }
        if (field.value.kind == MODEL_STRING) {
            value = json_from_text(set->arena, field.value.text);
        } else if (field.value.kind != MODEL_MANY) {
            cf_ignore(json_parse(set->arena, cf_slice_str(field.value.text), NULL, &value, NULL), "literals");
        }
        json_set(set->arena, body, field.name, value);
        to[count++] = field;
    }
    *ret = count == 0 && one_in(set, 2) ? NULL : body;
    return count;
}

static void describe(const struct set *set, const char *question, struct cf_slice path,
                     const struct json *body, struct acl_run *run)
{
    CF_BUF(text) = {.max = sizeof(run->difference) - 1};
    cf_buf_addf(&text, "%s, path \"%.*s\", body ", question, CF_SHOW(path));
    if (body != NULL) {
        json_write(&text, body);
    }
    cf_buf_addf(&text, "\nidentity %s\n", set->identity != NULL ? set->identity : "-");
    for (size_t i = 0; i < set->policy_count; i++) {
        cf_buf_addf(&text, "---- policy %zu\n%s\n", i, set->texts[i]);
    }
    (void)snprintf(run->difference, sizeof(run->difference), "%.*s", CF_SHOW(cf_buf_slice(&text)));
}

/* What the case had in it, told by the model: the same question once more without the thing. */
static void mark(const struct set *set, const struct model_request *request, bool allowed,
                 struct acl_run *run)
{
    struct model_request other = *request;
    run->marks[allowed ? ACL_ALLOWED : ACL_REFUSED]++;
    if (!allowed) {
        other.needs_sudo = false;
        run->marks[ACL_SUDO] += request->needs_sudo && model_allows(&set->model, &other);
        other = *request;
        other.capability = request->capability == MODEL_UPDATE ? MODEL_DELETE : request->capability;
        run->marks[ACL_PARAMETERS] +=
            other.capability == MODEL_DELETE && model_allows(&set->model, &other);
        for (int64_t wrap_s = 5; wrap_s <= 90; wrap_s += 5) {
            other = *request;
            other.wrap_s = wrap_s;
            if (model_allows(&set->model, &other)) {
                run->marks[ACL_WRAPPING]++;
                break;
            }
        }
    }
    const char *decides = model_decides(&set->model, request->path,
                                        (request->capability & (MODEL_LIST | MODEL_SCAN)) != 0);
    if (decides == NULL) {
        return;
    }
    size_t same = 0, wild_fit = 0;
    for (size_t i = 0; i < set->model.rule_count; i++) {
        if (set->model.is_dropped[i]) {
            continue;
        }
        if (strcmp(set->model.paths[i], decides) == 0) {
            same++;
            run->marks[ACL_FILLED] += strstr(set->rules[i].path, "{{") != NULL;
            run->marks[ACL_DENIED] += (set->rules[i].capabilities & MODEL_DENY) != 0;
        }
        wild_fit += model_is_wild(set->model.paths[i]) && model_fits(set->model.paths[i], request->path);
    }
    bool is_wild = model_is_wild(decides);
    run->marks[is_wild ? ACL_BY_WILD : ACL_BY_EXACT]++;
    run->marks[ACL_UNITED] += same > 1;
    run->marks[ACL_TWO_FIT] += is_wild && wild_fit > same;
    run->marks[ACL_LIST_SLASH] += !is_wild && strlen(decides) < strlen(request->path);
}

static bool ask(struct set *set, struct acl_run *run)
{
    size_t which = cf_prng_below(&set->prng, CF_LENGTH(operations));
    bool lists = (operations[which].bit & (MODEL_LIST | MODEL_SCAN)) != 0;
    struct model_field fields[MODEL_LIST_MAX];
    struct json *body;
    static const int64_t wraps[] = {0, 0, 0, 5, 10, 60, 61, 4, 1000, -1};
    struct acl_request question = {.path = request_path(set, lists),
                                   .operation = operations[which].operation,
                                   .wrap_ttl_s = PICK(set, wraps),
                                   .needs_sudo = one_in(set, 6)};
    struct model_request request = {.path = (const char *)question.path.data,
                                    .capability = operations[which].bit,
                                    .needs_sudo = question.needs_sudo,
                                    .wrap_s = question.wrap_ttl_s,
                                    .fields = fields};
    request.field_count = random_body(set, fields, &body);
    question.body = body;
    bool want = model_allows(&set->model, &request);
    run->cases++;
    if (run->cases % 16 == 0) {
        mark(set, &request, want, run);
    }
    if (acl_allows(set->acl, &question) != want) {
        char text[160];
        (void)snprintf(text, sizeof(text), "the model %s: capability %u, wrapping %ld s%s",
                       want ? "allows" : "refuses", request.capability, (long)request.wrap_s,
                       request.needs_sudo ? ", sudo needed" : "");
        describe(set, text, question.path, body, run);
        return false;
    }
    unsigned bits = model_capabilities(&set->model, request.path);
    if (acl_capabilities(set->acl, question.path) != bits) {
        describe(set, "capabilities differ", question.path, NULL, run);
        return false;
    }
    struct cf_slice folder = question.path;
    if (one_in(set, 8) && folder.size != 0 && folder.data[folder.size - 1] == '/' &&
        acl_touches(set->acl, folder) != model_touches(&set->model, request.path)) {
        describe(set, "what it touches differs", folder, NULL, run);
        return false;
    }
    return true;
}

void acl_cases(uint64_t seed, uint64_t count, struct acl_run *run)
{
    struct set *set = cf_new(struct set);
    *run = (struct acl_run){0};
    cf_prng_seed(&set->prng, seed);
    for (bool same = true; same && run->cases < count;) {
        set->arena = arena_new(16384);
        set->acl = NULL;
        same = make_set(set, run);
        for (int i = 0; same && i < ASKED_PER_SET; i++) {
            same = ask(set, run);
        }
        acl_unref(set->acl);
        arena_free(set->arena);
    }
    cf_free(set);
}

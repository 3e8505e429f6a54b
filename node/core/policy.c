/* node/core/policy.c: the text of a policy to rules, and the texts that every cluster begins with.
 */
#include <stdio.h>

#include "node/base/memory.h"
#include "node/core/policy_int.h"
#include "node/format/encode.h"
#include "node/format/hcl.h"

#define POLICY_RULES_MAX 20000

/* clang-format off */
static const struct {
    const char *name;
    unsigned bit;
} capabilities[] = { /* sorted by name: what sys/capabilities answers */
    {"create", CAPABILITY_CREATE}, {"delete", CAPABILITY_DELETE}, {"deny", CAPABILITY_DENY},
    {"list", CAPABILITY_LIST},     {"patch", CAPABILITY_PATCH},   {"read", CAPABILITY_READ},
    {"scan", CAPABILITY_SCAN},     {"sudo", CAPABILITY_SUDO},     {"update", CAPABILITY_UPDATE},
};
/* clang-format on */
_Static_assert(CF_LENGTH(capabilities) == CAPABILITY_COUNT, "one name for each");

/* The form that policies had before capabilities. */
static const struct {
    const char *name;
    unsigned bits;
} old_forms[] = {
    {"deny", CAPABILITY_DENY},
    {"read", CAPABILITY_READ | CAPABILITY_LIST},
    {"write",
     CAPABILITY_CREATE | CAPABILITY_READ | CAPABILITY_UPDATE | CAPABILITY_DELETE | CAPABILITY_LIST},
    {"sudo", CAPABILITY_CREATE | CAPABILITY_READ | CAPABILITY_UPDATE | CAPABILITY_DELETE |
                 CAPABILITY_LIST | CAPABILITY_SUDO},
};

const char policy_wrapping_text[] =
    "path \"cubbyhole/response\" { capabilities = [\"create\", \"read\"] }\n"
    "path \"sys/wrapping/unwrap\" { capabilities = [\"update\"] }\n";

size_t capability_names(unsigned bits, const char *ret[CAPABILITY_COUNT])
{
    size_t count = 0;
    for (size_t i = 0; i < CF_LENGTH(capabilities); i++) {
        if ((bits & capabilities[i].bit) != 0) {
            ret[count++] = capabilities[i].name;
        }
    }
    return count;
}

/* ---- one block ---- */

struct reading {
    struct policy *policy;
    struct arena *scratch; /* of the HCL tree */
    const struct hcl_item *block;
    struct rule *rule;
    struct cf_error *err;
};

static struct cf_slice shown(struct cf_slice text)
{
    return cf_slice_first(text, 80);
}

static cf_status refuse(const struct reading *r, uint32_t line, const char *what,
                        struct cf_slice name)
{
    return cf_fail(r->err, CF_INVALID, "line %u: path \"%.*s\": %s \"%.*s\"", line,
                   CF_SHOW(shown(r->rule->path)), what, CF_SHOW(shown(name)));
}

static struct cf_slice lowered(struct arena *arena, struct cf_slice text)
{
    uint8_t *copy = arena_alloc_raw(arena, text.size + 1);
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        copy[i] = byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte - 'A' + 'a') : byte;
    }
    return cf_slice_of(copy, text.size);
}

static cf_status read_capabilities(struct reading *r, const struct hcl_item *item)
{
    for (size_t i = 0; i < hcl_count(&item->value); i++) {
        struct cf_slice name;
        CF_TRY(hcl_to_string(hcl_at(&item->value, i), "capabilities", &name, r->err));
        unsigned bit = 0;
        for (size_t k = 0; k < CF_LENGTH(capabilities); k++) {
            bit |= cf_slice_is(name, capabilities[k].name) ? capabilities[k].bit : 0;
        }
        if (bit == 0) {
            return refuse(r, item->line, "invalid capability", name);
        }
        r->rule->capabilities |= bit;
    }
    return CF_OK;
}

static cf_status read_old_form(struct reading *r, const struct hcl_item *item)
{
    struct cf_slice name;
    CF_TRY(hcl_to_string(&item->value, "policy", &name, r->err));
    for (size_t i = 0; i < CF_LENGTH(old_forms); i++) {
        if (cf_slice_is(name, old_forms[i].name)) {
            r->rule->capabilities |= old_forms[i].bits;
            return CF_OK;
        }
    }
    return refuse(r, item->line, "invalid policy", name);
}

/* A value that a parameter may have, as the JSON of requests; HCL_DEPTH_MAX bounds the recursion.
 */
static struct json *to_json(struct arena *arena, const struct hcl_value *value)
{
    struct json *made;
    switch (value->type) {
    case HCL_BOOL:
        return json_from_bool(value->boolean);
    case HCL_NUMBER:
        made = json_from_number(arena, value->text);
        return made != NULL ? made : json_from_string(arena, value->text);
    case HCL_STRING:
        return json_from_string(arena, value->text);
    case HCL_LIST:
        made = json_array_new(arena);
        for (uint32_t i = 0; i < value->count; i++) {
            json_array_add(arena, made, to_json(arena, &value->values[i]));
        }
        return made;
    case HCL_OBJECT:
        made = json_object_new(arena);
        for (uint32_t i = 0; i < value->count; i++) {
            json_object_set(arena, made, value->items[i].key,
                            to_json(arena, &value->items[i].value));
        }
        return made;
    case HCL_NULL:
        break;
    }
    return json_null();
}

static cf_status read_parameters(struct reading *r, const struct hcl_item *item,
                                 struct parameters *ret)
{
    struct arena *arena = r->policy->arena;
    const struct hcl_item *blocks;
    size_t block_count, total = 0;
    CF_TRY(hcl_blocks(r->scratch, item, 0, &blocks, &block_count, r->err));
    for (size_t i = 0; i < block_count; i++) {
        total += blocks[i].value.count;
    }
    *ret = (struct parameters){arena_alloc(arena, (total + 1) * sizeof(struct parameter)), 0};
    for (size_t i = 0; i < block_count; i++) {
        for (uint32_t k = 0; k < blocks[i].value.count; k++) {
            const struct hcl_item *one = &blocks[i].value.items[k];
            if (one->label_count != 0 || one->value.type == HCL_OBJECT) {
                return refuse(r, one->line, "expected a list of values for parameter", one->key);
            }
            struct json *values = json_array_new(arena);
            for (size_t v = 0; v < hcl_count(&one->value); v++) {
                json_array_add(arena, values, to_json(arena, hcl_at(&one->value, v)));
            }
            /* "a" and "A" are one name: a value that either denies must not pass for the other. */
            parameters_add(arena, ret, &(struct parameter){lowered(arena, one->key), values});
        }
    }
    return CF_OK;
}

static cf_status read_required(struct reading *r, const struct hcl_item *item)
{
    struct rule *rule = r->rule;
    size_t count = hcl_count(&item->value);
    rule->required = arena_alloc(r->policy->arena, (count + 1) * sizeof(*rule->required));
    rule->required_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct cf_slice name;
        CF_TRY(hcl_to_string(hcl_at(&item->value, i), "required_parameters", &name, r->err));
        rule->required[rule->required_count++] = lowered(r->policy->arena, name);
    }
    return CF_OK;
}

static cf_status read_wrapping_ttl(struct reading *r, const struct hcl_item *item, int64_t *ret)
{
    CF_TRY(hcl_to_duration(&item->value, "wrapping TTL", ret, r->err));
    if (*ret < 0) {
        return refuse(r, item->line, "negative value for", item->key);
    }
    return CF_OK;
}

static cf_status read_item(struct reading *r, const struct hcl_item *item)
{
    if (cf_slice_is(item->key, "allowed_parameters")) {
        return read_parameters(r, item, &r->rule->allowed);
    }
    if (cf_slice_is(item->key, "denied_parameters")) {
        return read_parameters(r, item, &r->rule->denied);
    }
    if (item->label_count != 0) {
        return refuse(r, item->line, "unexpected label after", item->key);
    }
    if (cf_slice_is(item->key, "capabilities")) {
        return read_capabilities(r, item);
    }
    if (cf_slice_is(item->key, "policy")) {
        return read_old_form(r, item);
    }
    if (cf_slice_is(item->key, "required_parameters")) {
        return read_required(r, item);
    }
    if (cf_slice_is(item->key, "min_wrapping_ttl")) {
        return read_wrapping_ttl(r, item, &r->rule->min_wrapping_ttl_s);
    }
    if (cf_slice_is(item->key, "max_wrapping_ttl")) {
        return read_wrapping_ttl(r, item, &r->rule->max_wrapping_ttl_s);
    }
    return refuse(r, item->line, "invalid key", item->key);
}

static bool contains(struct cf_slice text, const char *what)
{
    return text.size != 0 && memmem(text.data, text.size, what, strlen(what)) != NULL;
}

/* Every "{{" has its "}}", and they do not nest. */
static bool templates_are_whole(struct cf_slice path)
{
    bool is_open = false;
    for (size_t i = 0; i + 1 < path.size; i++) {
        bool opens = path.data[i] == '{' && path.data[i + 1] == '{';
        bool closes = path.data[i] == '}' && path.data[i + 1] == '}';
        if (opens || closes) {
            if (opens == is_open) {
                return false;
            }
            is_open = opens;
            i++;
        }
    }
    return !is_open;
}

static cf_status read_path(struct reading *r)
{
    struct rule *rule = r->rule;
    struct cf_slice path = r->block->labels[0];
    if (path.size != 0 && path.data[0] == '/') {
        path = cf_slice_from(path, 1); /* people write paths as they stand in URLs */
    }
    rule->path = arena_copy(r->policy->arena, path);
    if (contains(path, "+*")) {
        return cf_fail(r->err, CF_INVALID,
                       "line %u: path \"%.*s\": invalid use of wildcards ('+*' is forbidden)",
                       r->block->line, CF_SHOW(shown(path)));
    }
    if (!templates_are_whole(path)) {
        return cf_fail(r->err, CF_INVALID, "line %u: path \"%.*s\": unbalanced templating",
                       r->block->line, CF_SHOW(shown(path)));
    }
    rule->has_template = contains(path, "{{");
    rule_classify(rule);
    return CF_OK;
}

static cf_status read_block(struct reading *r)
{
    struct rule *rule = r->rule;
    CF_TRY(read_path(r));
    for (uint32_t i = 0; i < r->block->value.count; i++) {
        CF_TRY(read_item(r, &r->block->value.items[i]));
    }
    if (rule->max_wrapping_ttl_s != 0 && rule->max_wrapping_ttl_s < rule->min_wrapping_ttl_s) {
        return cf_fail(r->err, CF_INVALID,
                       "line %u: path \"%.*s\": max_wrapping_ttl is below min_wrapping_ttl",
                       r->block->line, CF_SHOW(shown(rule->path)));
    }
    return CF_OK;
}

/* ---- the whole ---- */

static cf_status add_blocks(struct reading *r, const struct hcl_item *item, size_t *room)
{
    struct policy *policy = r->policy;
    const struct hcl_item *blocks;
    size_t count;
    CF_TRY(hcl_blocks(r->scratch, item, 1, &blocks, &count, r->err));
    if (policy->rule_count + count > POLICY_RULES_MAX) {
        return cf_fail(r->err, CF_INVALID, "a policy may hold %d paths at most", POLICY_RULES_MAX);
    }
    if (policy->rule_count + count > *room) {
        *room = 2 * (policy->rule_count + count);
        struct rule *more = arena_alloc(policy->arena, *room * sizeof(*more));
        if (policy->rule_count != 0) {
            memcpy(more, policy->rules, policy->rule_count * sizeof(*more));
        }
        policy->rules = more;
    }
    for (size_t i = 0; i < count; i++) {
        r->block = &blocks[i];
        r->rule = &policy->rules[policy->rule_count];
        CF_TRY(read_block(r));
        policy->rule_count++;
    }
    return CF_OK;
}

static cf_status read_policy(struct policy *policy, struct arena *scratch, struct cf_slice text,
                             struct cf_error *err)
{
    struct reading r = {.policy = policy, .scratch = scratch, .err = err};
    const struct hcl_value *root;
    size_t room = 0;
    CF_TRY(hcl_parse(scratch, policy_text(scratch, text), &root, err));
    for (uint32_t i = 0; i < root->count; i++) {
        const struct hcl_item *item = &root->items[i];
        if (cf_slice_is(item->key, "path")) {
            CF_TRY(add_blocks(&r, item, &room));
        } else if (!cf_slice_is(item->key, "name")) { /* old files name themselves */
            return cf_fail(err, CF_INVALID, "line %u: invalid key \"%.*s\", only path is known",
                           item->line, CF_SHOW(shown(item->key)));
        }
    }
    return CF_OK;
}

struct cf_slice policy_text(struct arena *arena, struct cf_slice text)
{
    CF_BUF(joined) = {0};
    CF_BUF(decoded) = {0};
    for (size_t i = 0; i < text.size; i++) { /* base64 tools wrap their lines */
        if (text.data[i] != '\n' && text.data[i] != '\r') {
            cf_buf_add_byte(&joined, text.data[i]);
        }
    }
    if (joined.size == 0 || joined.size % 4 != 0 ||
        encode_base64_decode(&decoded, cf_buf_slice(&joined), NULL) != CF_OK) {
        return text;
    }
    return arena_copy(arena, cf_buf_slice(&decoded));
}

cf_status policy_parse(struct cf_slice name, struct cf_slice text, struct policy **ret,
                       struct cf_error *err)
{
    struct policy *policy = cf_new(struct policy);
    atomic_init(&policy->references, 1);
    policy->arena = arena_new(1024);
    policy->name = arena_copy(policy->arena, name);
    CF_OWNED(arena) scratch = arena_new(8192);
    cf_status status = read_policy(policy, scratch, text, err);
    if (status == CF_TOO_LARGE) {
        status = cf_fail(err, CF_INVALID, "the text of a policy may have %zu bytes at most",
                         HCL_SIZE_MAX);
    }
    if (status != CF_OK) {
        policy_unref(policy);
        return status;
    }
    *ret = policy;
    return CF_OK;
}

struct policy *policy_ref(struct policy *policy)
{
    atomic_fetch_add_explicit(&policy->references, 1, memory_order_relaxed);
    return policy;
}

void policy_unref(struct policy *policy)
{
    if (policy != NULL &&
        atomic_fetch_sub_explicit(&policy->references, 1, memory_order_acq_rel) == 1) {
        arena_free(policy->arena);
        cf_free(policy);
    }
}

cf_status policy_name(struct arena *arena, struct cf_slice name, struct cf_slice *ret,
                      struct cf_error *err)
{
    struct cf_slice low = lowered(arena, name);
    if (low.size == 0 || low.size > POLICY_NAME_MAX) {
        return cf_fail(err, CF_INVALID, "a policy's name has 1 to %d characters", POLICY_NAME_MAX);
    }
    for (size_t i = 0; i < low.size; i++) {
        uint8_t byte = low.data[i];
        if (!((byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') ||
              (byte != 0 && strchr("._ /-", byte) != NULL))) {
            return cf_fail(err, CF_INVALID,
                           "policy name \"%.*s\" holds other characters than "
                           "letters, digits and \"._ /-\"",
                           CF_SHOW(shown(low)));
        }
    }
    if (cf_slice_is(low, "root")) {
        return cf_fail(err, CF_INVALID, "\"root\" is no name for a policy");
    }
    *ret = low;
    return CF_OK;
}

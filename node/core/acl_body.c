/* node/core/acl_body.c: the parameters of a request against what a rule says about them.
 *
 * Values compare by their text whatever JSON type they have: fields take numbers and booleans as
 * text and text as numbers, so a denied value must not pass in another spelling.
 */
#include "node/base/memory.h"
#include "node/core/mutant.h"
#include "node/core/policy_int.h"

static bool scalar(const struct json *value, struct cf_slice *ret)
{
    bool boolean;
    if (ACL_MUTANT(NUMBERS_ARE_TYPED)) {
        return json_string(value, ret);
    }
    if (json_bool(value, &boolean)) {
        *ret = boolean ? CF_SLICE("true") : CF_SLICE("false");
        return true;
    }
    return json_string(value, ret) || json_number(value, ret);
}

/* '*' at the beginning, at the end or at both stands for any text. */
static bool glob_matches(struct cf_slice glob, struct cf_slice text)
{
    bool any_before = glob.size != 0 && glob.data[0] == '*' && !ACL_MUTANT(GLOB_END_ALONE);
    bool any_after = glob.size != 0 && glob.data[glob.size - 1] == '*';
    struct cf_slice core = cf_slice_from(glob, any_before ? 1 : 0);
    if (any_after && core.size != 0) {
        core.size--;
    }
    if (any_before && any_after) {
        return core.size == 0 ||
               (text.size != 0 && memmem(text.data, text.size, core.data, core.size) != NULL);
    }
    if (any_before) {
        return cf_slice_ends(text, core);
    }
    return any_after ? cf_slice_starts(text, core) : cf_slice_eq(text, glob);
}

static bool value_matches(const struct json *wanted, const struct json *value)
{
    struct cf_slice glob, text;
    if (scalar(wanted, &glob) && scalar(value, &text)) {
        return glob_matches(glob, text);
    }
    return json_equal(wanted, value);
}

static bool value_in(const struct json *values, const struct json *value)
{
    if (json_count(values) == 0) {
        return true; /* any value */
    }
    for (size_t i = 0; i < json_count(values); i++) {
        if (value_matches(json_item(values, i), value)) {
            return true;
        }
    }
    return false;
}

/* A list is denied for each of its items, too: "policies" = ["root"] means every way to ask for it.
 */
static bool value_denied(const struct json *values, const struct json *value)
{
    if (value_in(values, value)) {
        return true;
    }
    for (size_t i = 0; json_is(value, JSON_ARRAY) && i < json_count(value) && !ACL_MUTANT(DENIED_ITEMS_PASS);
         i++) {
        if (value_in(values, json_item(value, i))) {
            return true;
        }
    }
    return false;
}

static bool same_name(struct cf_slice low, struct cf_slice key)
{
    if (low.size != key.size) {
        return false;
    }
    for (size_t i = 0; i < low.size; i++) {
        uint8_t byte = key.data[i];
        byte = byte >= 'A' && byte <= 'Z' && !ACL_MUTANT(NAMES_HAVE_CASE) ? (uint8_t)(byte - 'A' + 'a') : byte;
        if (byte != low.data[i]) {
            return false;
        }
    }
    return true;
}

static const struct parameter *parameter_of(const struct parameters *in, struct cf_slice key)
{
    for (size_t i = 0; i < in->count; i++) {
        if (same_name(in->list[i].name, key)) {
            return &in->list[i];
        }
    }
    return NULL;
}

static bool has_key(const struct json *body, struct cf_slice low)
{
    for (size_t i = 0; i < json_count(body); i++) {
        if (same_name(low, body->members[i].key)) {
            return true;
        }
    }
    return false;
}

static bool accepts_member(const struct rule *rule, const struct json_member *member,
                           bool others_allowed)
{
    const struct parameter *denied = parameter_of(&rule->denied, member->key);
    if (denied != NULL && value_denied(denied->values, member->value)) {
        return false;
    }
    if (rule->allowed.count == 0) {
        return true;
    }
    const struct parameter *allowed = parameter_of(&rule->allowed, member->key);
    return allowed != NULL ? value_in(allowed->values, member->value) : others_allowed;
}

bool rule_accepts_body(const struct rule *rule, const struct json *body)
{
    if (rule->required_count == 0 && rule->allowed.count == 0 && rule->denied.count == 0) {
        return true;
    }
    if (!json_is(body, JSON_OBJECT)) {
        return rule->required_count == 0;
    }
    for (size_t i = 0; i < rule->required_count && !ACL_MUTANT(REQUIRED_UNASKED); i++) {
        if (!has_key(body, rule->required[i])) {
            return false;
        }
    }
    if (json_count(body) != 0 && parameter_of(&rule->denied, CF_SLICE("*")) != NULL &&
        !ACL_MUTANT(DENIED_STAR_PASSES)) {
        return false;
    }
    bool others_allowed =
        parameter_of(&rule->allowed, CF_SLICE("*")) != NULL && !ACL_MUTANT(ALLOWED_STAR_FALLS);
    for (size_t i = 0; i < json_count(body); i++) {
        if (!accepts_member(rule, &body->members[i], others_allowed)) {
            return false;
        }
    }
    return true;
}

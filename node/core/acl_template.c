/* node/core/acl_template.c: {{identity...}} in the paths of rules. */
#include "node/base/memory.h"
#include "node/core/mutant.h"
#include "node/core/policy_int.h"

/* The text at a dotted path below the object. Keys may hold dots themselves (names of groups,
 * metadata), so every way to cut the path is tried; each step goes one level down, and there are at
 * most six. */
static const struct json *walk(const struct json *object, struct cf_slice path)
{
    const struct json *whole = json_get_slice(object, path);
    if (json_is(whole, JSON_STRING)) {
        return whole;
    }
    for (size_t dot = cf_slice_find(path, '.'); dot < path.size;
         dot += 1 + cf_slice_find(cf_slice_from(path, dot + 1), '.')) {
        const struct json *inner = json_get_slice(object, cf_slice_first(path, dot));
        const struct json *found =
            json_is(inner, JSON_OBJECT) ? walk(inner, cf_slice_from(path, dot + 1)) : NULL;
        if (found != NULL) {
            return found;
        }
    }
    return NULL;
}

static struct cf_slice trimmed(struct cf_slice text)
{
    while (text.size != 0 && text.data[0] == ' ') {
        text = cf_slice_from(text, 1);
    }
    while (text.size != 0 && text.data[text.size - 1] == ' ') {
        text.size--;
    }
    return text;
}

/* Names and metadata are chosen by people with fewer rights than the policy's author: a value must
 * not bring wildcards of its own. */
static bool is_plain(struct cf_slice value)
{
    if (ACL_MUTANT(VALUES_BRING_STARS)) {
        return value.size != 0;
    }
    if (value.size == 0 || cf_slice_find(value, '*') < value.size) {
        return value.size == 0 && ACL_MUTANT(EMPTY_VALUES);
    }
    while (value.size != 0) {
        size_t end = cf_slice_find(value, '/');
        if (cf_slice_is(cf_slice_first(value, end), "+")) {
            return false;
        }
        value = cf_slice_from(value, end + 1);
    }
    return true;
}

static bool value_of(struct cf_slice name, const struct json *identity, struct cf_slice *ret)
{
    name = trimmed(name);
    if (!cf_slice_starts(name, CF_SLICE("identity."))) {
        return false;
    }
    const struct json *found = walk(identity, cf_slice_from(name, strlen("identity.")));
    return json_string(found, ret) && is_plain(*ret);
}

/* Offset of two such bytes in a row, or the size. */
static size_t find_pair(struct cf_slice text, uint8_t byte)
{
    for (size_t i = 0; i + 1 < text.size; i++) {
        if (text.data[i] == byte && text.data[i + 1] == byte) {
            return i;
        }
    }
    return text.size;
}

bool template_fill(struct arena *arena, struct cf_slice text, const struct json *identity,
                   struct cf_slice *ret)
{
    CF_BUF(path) = {0};
    if (identity == NULL) {
        return false;
    }
    while (text.size != 0) {
        size_t opens = find_pair(text, '{');
        cf_buf_add_slice(&path, cf_slice_first(text, opens));
        if (opens == text.size) {
            break;
        }
        text = cf_slice_from(text, opens + 2);
        size_t closes = find_pair(text, '}');
        struct cf_slice value;
        if (closes == text.size || !value_of(cf_slice_first(text, closes), identity, &value)) {
            return false;
        }
        cf_buf_add_slice(&path, value);
        text = cf_slice_from(text, closes + 2);
    }
    *ret = arena_copy(arena, cf_buf_slice(&path));
    return true;
}

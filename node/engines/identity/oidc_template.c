/* node/engines/identity/oidc_template.c: claims of a role's template, with the entity's values filled in. */
#include "node/base/memory.h"
#include "node/engines/identity/oidc_int.h"
#include "node/format/duration.h"

static const char *const reserved[] = {"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "namespace",
                                       "nonce", "auth_time", "at_hash", "c_hash"};

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

/* A dotted path below the facts; names may hold dots, so each way to cut is tried, a level a step. */
static const struct json *walk(const struct json *object, struct cf_slice path)
{
    const struct json *whole = json_get_slice(object, path);
    if (whole != NULL) {
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

/* The keys of an object as a list: names or ids of groups. */
static void add_keys(struct cf_buf *to, const struct json *object)
{
    cf_buf_add_byte(to, '[');
    for (size_t i = 0; i < json_count(object); i++) {
        if (i != 0) {
            cf_buf_add_byte(to, ',');
        }
        json_write_string(to, object->members[i].key);
    }
    cf_buf_add_byte(to, ']');
}

static cf_status add_time(struct cf_buf *to, struct cf_slice name, int64_t now_s,
                          struct cf_error *err)
{
    int64_t span_s = 0;
    bool is_plus = cf_slice_starts(name, CF_SLICE("time.now.plus."));
    bool is_minus = cf_slice_starts(name, CF_SLICE("time.now.minus."));
    if (is_plus || is_minus) {
        CF_TRY(duration_parse(cf_slice_from(name, strlen(is_plus ? "time.now.plus."
                                                                 : "time.now.minus.")),
                              &span_s, err));
    } else if (!cf_slice_is(name, "time.now")) {
        return cf_fail(err, CF_INVALID, "unknown value in the template");
    }
    int64_t at;
    if (span_s < 0 || __builtin_add_overflow(now_s, is_minus ? -span_s : span_s, &at)) {
        return cf_fail(err, CF_INVALID, "time in the template is out of range");
    }
    cf_buf_addf(to, "%lld", (long long)at);
    return CF_OK;
}

static cf_status add_value(struct cf_buf *to, struct cf_slice name, const struct json *facts,
                           int64_t now_s, struct cf_error *err)
{
    name = trimmed(name);
    if (cf_slice_is(name, "identity.entity.groups.names")) {
        add_keys(to, json_get(json_get(facts, "groups"), "names"));
        return CF_OK;
    }
    if (cf_slice_is(name, "identity.entity.groups.ids")) {
        add_keys(to, json_get(json_get(facts, "groups"), "ids"));
        return CF_OK;
    }
    if (cf_slice_starts(name, CF_SLICE("time."))) {
        return add_time(to, name, now_s, err);
    }
    if (!cf_slice_starts(name, CF_SLICE("identity.entity."))) {
        return cf_fail(err, CF_INVALID, "unknown value in the template");
    }
    bool is_map = cf_slice_ends(name, CF_SLICE(".metadata")) ||
                  cf_slice_ends(name, CF_SLICE(".custom_metadata"));
    const struct json *found = walk(facts, cf_slice_from(name, strlen("identity.")));
    if (json_is(found, JSON_STRING) || (is_map && json_is(found, JSON_OBJECT))) {
        json_write(to, found);
    } else {
        cf_buf_add_str(to, is_map ? "{}" : "\"\"");
    }
    return CF_OK;
}

static size_t find_pair(struct cf_slice text, uint8_t byte)
{
    for (size_t i = 0; i + 1 < text.size; i++) {
        if (text.data[i] == byte && text.data[i + 1] == byte) {
            return i;
        }
    }
    return text.size;
}

cf_status oidc_fill(struct arena *arena, struct cf_slice text, const struct json *facts,
                    int64_t now_s, struct json **ret, struct cf_error *err)
{
    CF_BUF(filled) = {.max = 1 << 20};
    struct json_limits limits = {
        .depth = 32, .keys = 10000, .items = 100000, .nodes = 200000, .string = 1 << 20};
    while (text.size != 0) {
        size_t opens = find_pair(text, '{');
        size_t closes = find_pair(cf_slice_from(text, opens), '}');
        struct cf_slice rest = cf_slice_from(text, opens);
        /* "{{" also begins an object in an object: then no name of a value follows. */
        bool is_value = opens < text.size && closes < rest.size &&
                        cf_slice_find(cf_slice_first(rest, closes), '"') == closes;
        cf_buf_add_slice(&filled, cf_slice_first(text, opens + (is_value || opens == text.size ? 0 : 1)));
        if (!is_value) {
            text = cf_slice_from(text, opens + 1);
            continue;
        }
        CF_TRY(add_value(&filled, cf_slice_from(cf_slice_first(rest, closes), 2), facts, now_s,
                         err));
        text = cf_slice_from(rest, closes + 2);
    }
    CF_TRY(cf_buf_check(&filled, err));
    if (json_parse(arena, arena_copy(arena, cf_buf_slice(&filled)), &limits, ret, NULL) != CF_OK ||
        !json_is(*ret, JSON_OBJECT)) {
        return cf_fail(err, CF_INVALID, "error parsing template: it must give a JSON object");
    }
    for (size_t i = 0; i < CF_LENGTH(reserved); i++) {
        if (json_get(*ret, reserved[i]) != NULL) {
            return cf_fail(err, CF_INVALID, "top level key \"%s\" not allowed in a template",
                           reserved[i]);
        }
    }
    return CF_OK;
}

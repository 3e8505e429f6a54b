/* node/server/config/values.c: single values, and the keys of one block by its table. */
#include "node/server/config/config_int.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include "node/base/log.h"
#include "node/base/memory.h"

cf_status config_read_text(struct reading *reading, const struct hcl_value *value, void *to)
{
    struct cf_slice text;
    CF_TRY(hcl_to_string(value, "value", &text, reading->err));
    *(const char **)to = arena_text(reading->config->arena, text);
    return CF_OK;
}

cf_status config_read_bool(struct reading *reading, const struct hcl_value *value, void *to)
{
    return hcl_to_bool(value, "value", to, reading->err);
}

cf_status config_read_not(struct reading *reading, const struct hcl_value *value, void *to)
{
    bool on;
    CF_TRY(hcl_to_bool(value, "value", &on, reading->err));
    *(bool *)to = !on;
    return CF_OK;
}

cf_status config_read_int(struct reading *reading, const struct hcl_value *value, void *to)
{
    return hcl_to_int(value, "value", to, reading->err);
}

cf_status config_read_duration(struct reading *reading, const struct hcl_value *value, void *to)
{
    CF_TRY(hcl_to_duration(value, "value", to, reading->err));
    if (*(int64_t *)to <= 0) {
        return cf_fail(reading->err, CF_INVALID, "must be a positive duration such as \"768h\"");
    }
    return CF_OK;
}

/* "512mib", or a whole number of bytes. */
cf_status config_read_size(struct reading *reading, const struct hcl_value *value, void *to)
{
    static const struct {
        const char *unit;
        uint64_t bytes;
    } units[] = {{"", 1},
                 {"kb", 1000},
                 {"kib", 1u << 10},
                 {"mb", 1000000},
                 {"mib", 1u << 20},
                 {"gb", 1000000000},
                 {"gib", 1u << 30},
                 {"tb", 1000000000000},
                 {"tib", (uint64_t)1 << 40}};
    struct cf_slice text;
    CF_TRY(hcl_to_string(value, "value", &text, reading->err));
    uint64_t number = 0, unit = 0;
    size_t at = 0;
    for (; at < text.size && text.data[at] >= '0' && text.data[at] <= '9' && at < 15; at++) {
        number = 10 * number + (uint64_t)(text.data[at] - '0');
    }
    for (size_t i = 0; i < CF_LENGTH(units) && at > 0; i++) {
        size_t size = strlen(units[i].unit);
        if (size == text.size - at && strncasecmp((const char *)text.data + at, units[i].unit, size) == 0) {
            unit = units[i].bytes;
        }
    }
    if (number == 0 || unit == 0 || number > INT64_MAX / unit) {
        return cf_fail(reading->err, CF_INVALID, "must be a size such as \"512mib\" (kb, kib, mb, mib, gb, gib, tb, "
                                                 "tib) or a number of bytes");
    }
    *(uint64_t *)to = number * unit;
    return CF_OK;
}

cf_status config_read_level(struct reading *reading, const struct hcl_value *value, void *to)
{
    struct cf_slice text;
    CF_TRY(hcl_to_string(value, "value", &text, reading->err));
    if (!cf_log_parse_level(text, to)) {
        return cf_fail(reading->err, CF_INVALID,
                       "\"%.*s\" is no log level (trace, debug, info, warn, error)",
                       CF_SHOW(text));
    }
    return CF_OK;
}

cf_status config_read_format(struct reading *reading, const struct hcl_value *value, void *to)
{
    struct cf_slice text;
    CF_TRY(hcl_to_string(value, "value", &text, reading->err));
    if (!cf_slice_is(text, "json") && !cf_slice_is(text, "standard")) {
        return cf_fail(reading->err, CF_INVALID, "must be \"standard\" or \"json\"");
    }
    *(bool *)to = cf_slice_is(text, "json");
    return CF_OK;
}

cf_status config_read_min_version(struct reading *reading, const struct hcl_value *value, void *to)
{
    struct cf_slice text;
    CF_TRY(hcl_to_string(value, "value", &text, reading->err));
    if (!cf_slice_is(text, "tls12") && !cf_slice_is(text, "tls13")) {
        return cf_fail(reading->err, CF_INVALID, "must be \"tls12\" or \"tls13\"");
    }
    *(bool *)to = cf_slice_is(text, "tls13");
    return CF_OK;
}

cf_status config_read_slice(struct reading *reading, const struct hcl_value *value, void *to)
{
    struct cf_slice text;
    CF_TRY(hcl_to_string(value, "value", &text, reading->err));
    *(struct cf_slice *)to = arena_copy(reading->config->arena, text);
    return CF_OK;
}

/* ---- blocks ---- */

cf_status config_at(struct reading *reading, uint32_t line, cf_status status, const char *key)
{
    if (reading->err == NULL) {
        return status;
    }
    return cf_error_prefix(reading->err, status, "%s:%u: \"%s\"", reading->file, line, key);
}

cf_status config_unknown(struct reading *reading, const struct hcl_item *item,
                         const struct known *known, size_t count)
{
    const char *names[CONFIG_KEYS_MAX];
    assert(count <= CONFIG_KEYS_MAX);
    for (size_t i = 0; i < count; i++) {
        names[i] = known[i].name;
    }
    const char *near = hcl_nearest(item->key, names, count);
    return cf_fail(reading->err, CF_INVALID, "%s:%u: unknown key \"%.*s\"%s%s%s", reading->file,
                   item->line, CF_SHOW(item->key), near != NULL ? "; did you mean \"" : "",
                   near != NULL ? near : "", near != NULL ? "\"?" : "; remove it");
}

const struct known *config_find(const struct known *known, size_t count, struct cf_slice key)
{
    for (size_t i = 0; i < count; i++) {
        if (cf_slice_is(key, known[i].name)) {
            return &known[i];
        }
    }
    return NULL;
}

void config_warn_unused(struct reading *reading, const struct hcl_item *item)
{
    cf_warn("config", "%s:%u: \"%.*s\" is known from other servers and has no effect here",
            reading->file, item->line, CF_SHOW(item->key));
}

/* The keys of one object, by a table, into the struct `base`. */
cf_status config_read_object(struct reading *reading, const struct hcl_value *object,
                             const struct known *known, size_t count, void *base)
{
    for (uint32_t i = 0; i < object->count; i++) {
        const struct hcl_item *item = &object->items[i];
        const struct known *key = config_find(known, count, item->key);
        if (key == NULL) {
            return config_unknown(reading, item, known, count);
        }
        if (key->read == NULL) {
            config_warn_unused(reading, item);
            continue;
        }
        cf_status status = key->read(reading, &item->value, (char *)base + key->offset);
        if (status != CF_OK) {
            return config_at(reading, item->line, status, key->name);
        }
    }
    return CF_OK;
}

cf_status config_want_object(struct reading *reading, const struct hcl_value *value)
{
    return value->type == HCL_OBJECT
               ? CF_OK
               : cf_fail(reading->err, CF_INVALID, "must be a block in braces");
}

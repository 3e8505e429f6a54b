/* node/format/hcl.c: items, values and objects; the JSON form. */
#include "node/format/hcl.h"

#include "node/base/memory.h"
#include "node/format/hcl_int.h"
#include "node/format/json_int.h"
#include "node/format/utf8.h"

/* A container's children while it is read; doubled in the arena. */
struct growing {
    void *data;
    uint32_t count, room;
};

static cf_status parse_value(struct hcl_scan *s, struct hcl_value *ret);

static void *grow(struct hcl_scan *s, struct growing *list, size_t size)
{
    if (list->count == list->room) {
        list->room = list->room != 0 ? 2 * list->room : 4;
        void *more = arena_alloc_raw(s->arena, list->room * size);
        if (list->count != 0) {
            memcpy(more, list->data, list->count * size);
        }
        list->data = more;
    }
    return (uint8_t *)list->data + list->count++ * size;
}

/* ---- items ---- */

static cf_status parse_key(struct hcl_scan *s, struct cf_slice *ret)
{
    if (*s->at == '"') {
        return hcl_scan_string(s, ret);
    }
    if (!hcl_is_identifier_start(*s->at)) {
        return hcl_fail(s, s->at == s->end ? "unexpected end of text" : "expected a key");
    }
    *ret = hcl_scan_identifier(s);
    return CF_OK;
}

/* The key, its labels, and what stands between them and the value. */
static cf_status parse_keys(struct hcl_scan *s, struct hcl_item *item)
{
    struct cf_slice labels[HCL_LABELS_MAX];
    CF_TRY(parse_key(s, &item->key));
    CF_TRY(hcl_skip(s));
    while (*s->at != '{' && *s->at != '=' && *s->at != ':') {
        if (item->label_count == HCL_LABELS_MAX) {
            return hcl_fail(s, "too many labels");
        }
        if (s->at == s->end || (*s->at != '"' && !hcl_is_identifier_start(*s->at))) {
            return hcl_fail(s, "expected = or { or a label");
        }
        CF_TRY(parse_key(s, &labels[item->label_count++]));
        CF_TRY(hcl_skip(s));
    }
    if (*s->at == '{') {
        size_t size = item->label_count * sizeof(labels[0]);
        item->labels = size != 0 ? arena_alloc_raw(s->arena, size) : NULL;
        if (size != 0) {
            memcpy(item->labels, labels, size);
        }
        return CF_OK;
    }
    if (item->label_count != 0) {
        return hcl_fail(s, "a key with labels needs a block");
    }
    s->at++;
    return hcl_skip(s);
}

static cf_status parse_item(struct hcl_scan *s, struct hcl_item *ret)
{
    struct hcl_item item = {.line = s->line, .column = hcl_column(s)};
    CF_TRY(parse_keys(s, &item));
    CF_TRY(parse_value(s, &item.value));
    *ret = item;
    return CF_OK;
}

/* Items up to the closing brace, or to the end of the text for the outermost. Commas between them
 * may be there or not, once each. */
static cf_status parse_items(struct hcl_scan *s, bool is_root, struct hcl_value *object)
{
    struct growing items = {0};
    CF_TRY(hcl_skip(s));
    while (is_root ? s->at != s->end : *s->at != '}') {
        struct hcl_item item;
        CF_TRY(parse_item(s, &item));
        *(struct hcl_item *)grow(s, &items, sizeof(item)) = item;
        CF_TRY(hcl_skip(s));
        if (*s->at == ',') {
            s->at++;
            CF_TRY(hcl_skip(s));
        }
    }
    object->items = items.data;
    object->count = items.count;
    return CF_OK;
}

/* ---- values ---- */

static cf_status parse_list(struct hcl_scan *s, struct hcl_value *list)
{
    struct growing values = {0};
    s->at++;
    CF_TRY(hcl_skip(s));
    while (*s->at != ']') {
        struct hcl_value value;
        CF_TRY(parse_value(s, &value));
        *(struct hcl_value *)grow(s, &values, sizeof(value)) = value;
        CF_TRY(hcl_skip(s));
        if (*s->at == ',') {
            s->at++;
            CF_TRY(hcl_skip(s));
        } else if (*s->at != ']') {
            return hcl_fail(s, "expected a comma or ]");
        }
    }
    s->at++;
    list->values = values.data;
    list->count = values.count;
    return CF_OK;
}

static cf_status parse_object(struct hcl_scan *s, struct hcl_value *object)
{
    s->at++;
    CF_TRY(parse_items(s, false, object));
    s->at++;
    return CF_OK;
}

static cf_status parse_container(struct hcl_scan *s, struct hcl_value *value)
{
    if (s->depth == HCL_DEPTH_MAX) {
        return hcl_fail(s, "nested too deep");
    }
    s->depth++;
    value->type = *s->at == '{' ? HCL_OBJECT : HCL_LIST;
    CF_TRY(value->type == HCL_OBJECT ? parse_object(s, value) : parse_list(s, value));
    s->depth--;
    return CF_OK;
}

static cf_status parse_word(struct hcl_scan *s, struct hcl_value *value)
{
    struct hcl_scan start = *s;
    struct cf_slice word = hcl_scan_identifier(s);
    if (s->is_json && cf_slice_is(word, "null")) {
        value->type = HCL_NULL;
        return CF_OK;
    }
    if (!cf_slice_is(word, "true") && !cf_slice_is(word, "false")) {
        return hcl_fail(&start, "unknown word (texts need quotes)");
    }
    value->type = HCL_BOOL;
    value->boolean = cf_slice_is(word, "true");
    return CF_OK;
}

static cf_status parse_value(struct hcl_scan *s, struct hcl_value *ret)
{
    struct hcl_value value = {.line = s->line, .column = hcl_column(s)};
    if (++s->values > HCL_VALUES_MAX) {
        return hcl_fail(s, "too many values");
    }
    if (*s->at == '"') {
        value.type = HCL_STRING;
        CF_TRY(hcl_scan_string(s, &value.text));
    } else if (s->at[0] == '<' && s->at[1] == '<') {
        value.type = HCL_STRING;
        CF_TRY(hcl_scan_heredoc(s, &value.text));
    } else if (*s->at == '{' || *s->at == '[') {
        CF_TRY(parse_container(s, &value));
    } else if (*s->at == '-' || (*s->at >= '0' && *s->at <= '9')) {
        value.type = HCL_NUMBER;
        CF_TRY(hcl_scan_number(s, &value.text));
    } else if (hcl_is_identifier_start(*s->at)) {
        CF_TRY(parse_word(s, &value));
    } else {
        return hcl_fail(s, s->at == s->end ? "unexpected end of text" : "expected a value");
    }
    *ret = value;
    return CF_OK;
}

/* ---- the text as a whole ---- */

/* Refuses bytes that may not stand in any text, in comments neither. */
static cf_status check_bytes(struct hcl_scan *s)
{
    struct hcl_scan at = *s;
    while (at.at != at.end) {
        unsigned length = utf8_length(at.at, at.end);
        if (length == 0 || *at.at == '\0') {
            return hcl_fail(&at, length == 0 ? "invalid UTF-8" : "NUL byte");
        }
        at.at += length;
        if (at.at[-1] == '\n') {
            at.line++;
            at.line_start = at.at;
        }
    }
    return CF_OK;
}

/* The JSON form: strictness is the JSON parser's business, what passes it is also HCL but for
 * escapes, interpolation and null. */
static cf_status check_json(struct hcl_scan *s)
{
    struct cf_slice text = cf_slice_of(s->at, (size_t)(s->end - s->at));
    struct json_limits limits = {.string = HCL_SIZE_MAX,
                                 .keys = HCL_VALUES_MAX,
                                 .items = HCL_VALUES_MAX,
                                 .nodes = HCL_VALUES_MAX};
    struct arena *scratch = arena_new(text.size);
    struct json *node;
    size_t offset = 0;
    cf_status status = json_parse_at(scratch, text, &limits, &node, &offset, s->err);
    arena_free(scratch);
    if (status == CF_OK) {
        return CF_OK;
    }
    for (size_t i = 0; i < offset; i++) {
        if (s->at[i] == '\n') {
            s->line++;
            s->line_start = s->at + i + 1;
        }
    }
    s->at += offset;
    return cf_error_prefix(s->err, status, "line %u, column %u", s->line, hcl_column(s));
}

static cf_status parse_root(struct hcl_scan *s, struct hcl_value *root)
{
    CF_TRY(check_bytes(s));
    if (cf_slice_starts(cf_slice_of(s->at, (size_t)(s->end - s->at)), CF_SLICE("\xef\xbb\xbf"))) {
        s->at += 3;
    }
    const uint8_t *first = s->at;
    while (*first == ' ' || *first == '\t' || *first == '\r' || *first == '\n') {
        first++;
    }
    if (*first != '{') {
        return parse_items(s, true, root);
    }
    s->is_json = true;
    CF_TRY(check_json(s));
    CF_TRY(hcl_skip(s));
    return parse_object(s, root);
}

cf_status hcl_parse(struct arena *arena, struct cf_slice text, const struct hcl_value **ret,
                    struct cf_error *err)
{
    if (text.size > HCL_SIZE_MAX) {
        return cf_fail(err, CF_TOO_LARGE, "text larger than %zu bytes", HCL_SIZE_MAX);
    }
    uint8_t *copy = (uint8_t *)(uintptr_t)arena_copy(arena, text).data;
    struct hcl_scan s = {.arena = arena,
                         .at = copy,
                         .end = copy + text.size,
                         .line_start = copy,
                         .line = 1,
                         .err = err};
    struct hcl_value *root = arena_new_object(arena, struct hcl_value);
    root->type = HCL_OBJECT;
    root->line = root->column = 1;
    CF_TRY(parse_root(&s, root));
    *ret = root;
    return CF_OK;
}

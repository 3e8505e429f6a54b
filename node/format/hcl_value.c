/* node/format/hcl_value.c: what readers of configurations and policies ask of the tree. */
#include "node/base/memory.h"
#include "node/format/duration.h"
#include "node/format/hcl.h"

#define NAME_MAX_COMPARED 48 /* longer names have no neighbours */

/* ---- blocks ---- */

struct expansion {
    struct arena *arena;
    const struct hcl_item *item; /* the one that is expanded: for messages, and for the key */
    unsigned want;
    struct hcl_item *blocks;
    size_t count, room;
    struct cf_error *err;
};

/* A value on its way to a block, with the labels that it has collected. */
struct candidate {
    struct cf_slice labels[HCL_LABELS_MAX];
    uint32_t label_count, line, column;
};

static cf_status expand(struct expansion *x, const struct candidate *from,
                        const struct hcl_value *value);

static cf_status bad_block(const struct expansion *x, const struct candidate *at, const char *what)
{
    return cf_fail(x->err, CF_INVALID, "line %u, column %u: \"%.*s\" %s", at->line, at->column,
                   CF_SHOW(cf_slice_first(x->item->key, 64)), what);
}

static void emit(struct expansion *x, const struct candidate *from, const struct hcl_value *value)
{
    if (x->count == x->room) {
        x->room = x->room != 0 ? 2 * x->room : 1;
        struct hcl_item *more = arena_alloc(x->arena, x->room * sizeof(*more));
        if (x->count != 0) {
            memcpy(more, x->blocks, x->count * sizeof(*more));
        }
        x->blocks = more;
    }
    struct hcl_item *block = &x->blocks[x->count++];
    *block = (struct hcl_item){.key = x->item->key,
                               .line = from->line,
                               .column = from->column,
                               .label_count = from->label_count,
                               .value = *value};
    if (from->label_count != 0) {
        block->labels = arena_alloc(x->arena, from->label_count * sizeof(*block->labels));
        memcpy(block->labels, from->labels, from->label_count * sizeof(*block->labels));
    }
}

/* Adds the labels of an item; false when there are more than wanted. */
static bool add_labels(const struct expansion *x, struct candidate *to, const struct hcl_item *item)
{
    if (item->label_count > x->want - to->label_count) {
        return false;
    }
    for (uint32_t i = 0; i < item->label_count; i++) {
        to->labels[to->label_count++] = item->labels[i];
    }
    return true;
}

/* The keys of an object as further labels. */
static cf_status expand_members(struct expansion *x, const struct candidate *from,
                                const struct hcl_value *object)
{
    for (uint32_t i = 0; i < object->count; i++) {
        const struct hcl_item *member = &object->items[i];
        struct candidate next = *from;
        next.line = member->line;
        next.column = member->column;
        next.labels[next.label_count++] = member->key;
        if ((member->value.type != HCL_OBJECT && member->value.type != HCL_LIST) ||
            !add_labels(x, &next, member)) {
            return bad_block(x, from, "does not have the labels that it needs");
        }
        CF_TRY(expand(x, &next, &member->value));
    }
    return CF_OK;
}

static cf_status expand(struct expansion *x, const struct candidate *from,
                        const struct hcl_value *value)
{
    if (value->type == HCL_LIST) {
        for (uint32_t i = 0; i < value->count; i++) {
            struct candidate next = *from;
            next.line = value->values[i].line;
            next.column = value->values[i].column;
            if (value->values[i].type != HCL_OBJECT) {
                return bad_block(x, &next, "must be a block");
            }
            CF_TRY(expand(x, &next, &value->values[i]));
        }
        return CF_OK;
    }
    if (value->type != HCL_OBJECT) {
        return bad_block(x, from, "must be a block");
    }
    if (from->label_count < x->want) {
        return expand_members(x, from, value);
    }
    emit(x, from, value);
    return CF_OK;
}

cf_status hcl_blocks(struct arena *arena, const struct hcl_item *item, unsigned labels,
                     const struct hcl_item **ret, size_t *ret_count, struct cf_error *err)
{
    struct expansion x = {.arena = arena, .item = item, .want = labels, .err = err};
    struct candidate start = {.line = item->line, .column = item->column};
    if (x.want > HCL_LABELS_MAX || !add_labels(&x, &start, item)) {
        return bad_block(&x, &start, "has too many labels");
    }
    CF_TRY(expand(&x, &start, &item->value));
    *ret = x.blocks;
    *ret_count = x.count;
    return CF_OK;
}

/* ---- access ---- */

const struct hcl_value *hcl_get(const struct hcl_value *object, const char *key)
{
    uint32_t count = object != NULL && object->type == HCL_OBJECT ? object->count : 0;
    for (uint32_t i = count; i > 0; i--) {
        const struct hcl_item *item = &object->items[i - 1];
        if (item->label_count == 0 && cf_slice_is(item->key, key)) {
            return &item->value;
        }
    }
    return NULL;
}

size_t hcl_count(const struct hcl_value *value)
{
    if (value == NULL || value->type == HCL_NULL) {
        return 0;
    }
    return value->type == HCL_LIST ? value->count : 1;
}

const struct hcl_value *hcl_at(const struct hcl_value *value, size_t at)
{
    if (at >= hcl_count(value)) {
        return NULL;
    }
    return value->type == HCL_LIST ? &value->values[at] : value;
}

/* ---- conversions ---- */

static cf_status wrong_type(const struct hcl_value *value, const char *name, const char *want,
                            struct cf_error *err)
{
    if (value == NULL) {
        return cf_fail(err, CF_INVALID, "\"%s\" is missing", name);
    }
    return cf_fail(err, CF_INVALID, "line %u, column %u: \"%s\" must be %s", value->line,
                   value->column, name, want);
}

static bool has_text(const struct hcl_value *value)
{
    return value != NULL && (value->type == HCL_STRING || value->type == HCL_NUMBER);
}

cf_status hcl_to_string(const struct hcl_value *value, const char *name, struct cf_slice *ret,
                        struct cf_error *err)
{
    if (!has_text(value)) {
        return wrong_type(value, name, "a string", err);
    }
    *ret = value->text;
    return CF_OK;
}

cf_status hcl_to_bool(const struct hcl_value *value, const char *name, bool *ret,
                      struct cf_error *err)
{
    if (value != NULL && value->type == HCL_BOOL) {
        *ret = value->boolean;
        return CF_OK;
    }
    if (has_text(value)) {
        bool yes = cf_slice_is(value->text, "true") || cf_slice_is(value->text, "1");
        if (yes || cf_slice_is(value->text, "false") || cf_slice_is(value->text, "0")) {
            *ret = yes;
            return CF_OK;
        }
    }
    return wrong_type(value, name, "true or false", err);
}

/* The value of a digit in bases up to 16, or 16. */
static uint64_t digit_value(uint8_t byte)
{
    uint8_t lower = byte | 0x20;
    if (byte >= '0' && byte <= '9') {
        return (uint64_t)(byte - '0');
    }
    return lower >= 'a' && lower <= 'f' ? (uint64_t)(lower - 'a' + 10) : 16;
}

static bool text_to_int(struct cf_slice text, int64_t *ret)
{
    bool minus = cf_slice_starts(text, CF_SLICE("-"));
    text = cf_slice_from(text, minus ? 1 : 0);
    uint64_t base = 10, value = 0;
    if (cf_slice_starts(text, CF_SLICE("0x")) || cf_slice_starts(text, CF_SLICE("0X"))) {
        base = 16;
        text = cf_slice_from(text, 2);
    } else if (text.size > 1 && text.data[0] == '0') {
        base = 8;
    }
    for (size_t i = 0; i < text.size; i++) {
        uint64_t digit = digit_value(text.data[i]);
        if (digit >= base || __builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            return false;
        }
    }
    if (text.size == 0 || value > (uint64_t)INT64_MAX + minus) {
        return false;
    }
    *ret = minus ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

cf_status hcl_to_int(const struct hcl_value *value, const char *name, int64_t *ret,
                     struct cf_error *err)
{
    if (!has_text(value) || !text_to_int(value->text, ret)) {
        return wrong_type(value, name, "an integer", err);
    }
    return CF_OK;
}

cf_status hcl_to_duration(const struct hcl_value *value, const char *name, int64_t *ret,
                          struct cf_error *err)
{
    if (!has_text(value) || duration_parse(value->text, ret, NULL) != CF_OK) {
        return wrong_type(value, name, "a duration such as \"1h30m\" or seconds", err);
    }
    return CF_OK;
}

/* ---- misspelt names ---- */

/* How many single characters must be added, removed or replaced (Levenshtein), row by row. */
static size_t distance(struct cf_slice a, struct cf_slice b)
{
    size_t row[NAME_MAX_COMPARED + 1];
    for (size_t j = 0; j <= b.size; j++) {
        row[j] = j;
    }
    for (size_t i = 0; i < a.size; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < b.size; j++) {
            size_t replaced = diagonal + (a.data[i] != b.data[j]);
            diagonal = row[j + 1];
            row[j + 1] = cf_min(replaced, 1 + cf_min(row[j], row[j + 1]));
        }
    }
    return row[b.size];
}

const char *hcl_nearest(struct cf_slice name, const char *const *known, size_t count)
{
    const char *nearest = NULL;
    /* Up to a third of the name may be wrong, or there is no telling what was meant. */
    size_t best = cf_max(name.size / 3, 1) + 1;
    for (size_t i = 0; i < count && name.size <= NAME_MAX_COMPARED; i++) {
        struct cf_slice candidate = cf_slice_str(known[i]);
        if (candidate.size > NAME_MAX_COMPARED) {
            continue;
        }
        size_t away = distance(name, candidate);
        if (away < best) {
            best = away;
            nearest = known[i];
        }
    }
    return nearest;
}

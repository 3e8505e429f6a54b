/* node/format/json_parse.c: RFC 8259, strictly.
 *
 * The text is copied into the arena once; strings are decoded in place and point into that copy.
 * The NUL that arena_copy() leaves behind the text ends every scan: it is no token of the grammar
 * and no plain byte of a string.
 */
#include "node/base/memory.h"
#include "node/format/json.h"
#include "node/format/json_int.h"
#include "node/format/utf8.h"

#define SCRATCH_FIRST 32
#define POOL_NODES 16

struct parser {
    struct arena *arena;
    uint8_t *start, *at, *end;
    struct json_limits limits;
    uint32_t depth, nodes;
    struct json *pool; /* nodes are taken from the arena some at a time */
    uint32_t pool_left;
    /* Children of the containers that are open, innermost last; moved to the arena at the end of
     * each. Holds pointers only, no secret. */
    struct json_member *scratch, *scratch_heap;
    size_t scratch_used, scratch_room;
    struct json_member scratch_first[SCRATCH_FIRST];
    struct cf_error *err;
};

static cf_status parse_value(struct parser *p, struct json **ret);

static cf_status fail(struct parser *p, const char *what)
{
    if (p->at >= p->end) {
        return cf_fail(p->err, CF_INVALID, "invalid JSON: unexpected end of input");
    }
    return cf_fail(p->err, CF_INVALID, "invalid JSON at byte %zu: %s", (size_t)(p->at - p->start),
                   what);
}

static cf_status over_limit(struct parser *p, const char *what, size_t limit)
{
    return cf_fail(p->err, CF_INVALID, "JSON over a limit at byte %zu: more than %zu %s",
                   (size_t)(p->at - p->start), limit, what);
}

static inline void skip_space(struct parser *p)
{
    while (*p->at == ' ' || *p->at == '\n' || *p->at == '\t' || *p->at == '\r') {
        p->at++;
    }
}

static struct json *node_new(struct parser *p, enum json_type type)
{
    if (p->pool_left == 0) {
        p->pool = arena_alloc_raw(p->arena, POOL_NODES * sizeof(*p->pool));
        p->pool_left = POOL_NODES;
    }
    struct json *node = p->pool++;
    p->pool_left--;
    *node = (struct json){.type = type};
    return node;
}

static void scratch_grow(struct parser *p)
{
    size_t room = 2 * p->scratch_room;
    bool first = p->scratch_heap == NULL;
    p->scratch_heap = cf_realloc(p->scratch_heap, room * sizeof(*p->scratch));
    if (first) {
        memcpy(p->scratch_heap, p->scratch_first, sizeof(p->scratch_first));
    }
    p->scratch = p->scratch_heap;
    p->scratch_room = room;
}

static inline void scratch_push(struct parser *p, struct json_member member)
{
    if (p->scratch_used == p->scratch_room) {
        scratch_grow(p);
    }
    p->scratch[p->scratch_used++] = member;
}

/* ---- strings ---- */

/* Four hex digits at `from`; false when there are not four. The NUL at the end stops it in time. */
static bool hex4(const uint8_t *from, uint32_t *ret)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t byte = from[i];
        uint8_t lower = byte | 0x20;
        if (byte >= '0' && byte <= '9') {
            value = value << 4 | (uint32_t)(byte - '0');
        } else if (lower >= 'a' && lower <= 'f') {
            value = value << 4 | (uint32_t)(lower - 'a' + 10);
        } else {
            return false;
        }
    }
    *ret = value;
    return true;
}

/* p->at is behind "\u". The text it becomes is never longer than the escape. */
static cf_status unicode_escape(struct parser *p, uint8_t **to)
{
    uint32_t code, low;
    if (!hex4(p->at, &code)) {
        return fail(p, "malformed \\u escape");
    }
    if (code >= 0xdc00 && code <= 0xdfff) {
        return fail(p, "lone surrogate");
    }
    p->at += 4;
    if (code >= 0xd800 && code <= 0xdbff) {
        if (p->at[0] != '\\' || p->at[1] != 'u' || !hex4(p->at + 2, &low) || low < 0xdc00 ||
            low > 0xdfff) {
            return fail(p, "lone surrogate");
        }
        p->at += 6;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    uint8_t bytes[4];
    unsigned length = utf8_encode(code, bytes);
    memcpy(*to, bytes, length);
    *to += length;
    return CF_OK;
}

/* p->at is behind the backslash. */
static cf_status escape(struct parser *p, uint8_t **to)
{
    uint8_t byte = *p->at;
    switch (byte) {
    case '"':
    case '\\':
    case '/':
        break;
    case 'b':
        byte = '\b';
        break;
    case 'f':
        byte = '\f';
        break;
    case 'n':
        byte = '\n';
        break;
    case 'r':
        byte = '\r';
        break;
    case 't':
        byte = '\t';
        break;
    case 'u':
        p->at++;
        return unicode_escape(p, to);
    default:
        return fail(p, "unknown escape");
    }
    p->at++;
    *(*to)++ = byte;
    return CF_OK;
}

/* Moves a run of plain text down over what escapes left free. */
static inline void keep(uint8_t **to, const uint8_t *from, size_t size)
{
    if (*to != from) {
        memmove(*to, from, size);
    }
    *to += size;
}

/* p->at is at the opening quote. */
static cf_status parse_string(struct parser *p, struct cf_slice *ret)
{
    uint8_t *start = ++p->at, *to = start;
    for (;;) {
        uint8_t *run = p->at;
        p->at += json_plain_end(run, p->end) - run;
        keep(&to, run, (size_t)(p->at - run));
        uint8_t byte = *p->at;
        if (byte == '"') {
            break;
        } else if (byte == '\\') {
            p->at++;
            CF_TRY(escape(p, &to));
        } else if (byte >= 0x80) {
            unsigned length = utf8_length(p->at, p->end);
            if (length == 0) {
                return fail(p, "invalid UTF-8");
            }
            keep(&to, p->at, length);
            p->at += length;
        } else {
            return fail(p, "control character in a string");
        }
    }
    *ret = cf_slice_of(start, (size_t)(to - start));
    if (ret->size > p->limits.string) {
        return over_limit(p, "bytes in a string", p->limits.string);
    }
    p->at++;
    return CF_OK;
}

/* ---- numbers and words ---- */

static const uint8_t *digits_end(const uint8_t *at)
{
    while (*at >= '0' && *at <= '9') {
        at++;
    }
    return at;
}

/* The end of the number that starts at `at`, or NULL. Needs a byte behind it that is part of no
 * number, such as the NUL. */
static const uint8_t *number_end(const uint8_t *at)
{
    const uint8_t *from = at + (*at == '-');
    at = digits_end(from);
    if (at == from || (*from == '0' && at != from + 1)) {
        return NULL;
    }
    if (*at == '.') {
        from = at + 1;
        at = digits_end(from);
        if (at == from) {
            return NULL;
        }
    }
    if (*at == 'e' || *at == 'E') {
        from = at + 1 + (at[1] == '+' || at[1] == '-');
        at = digits_end(from);
        if (at == from) {
            return NULL;
        }
    }
    return at;
}

bool json_is_number(struct cf_slice text)
{
    uint8_t copy[128];
    const uint8_t *end;
    if (text.size == 0) {
        return false;
    }
    if (text.size < sizeof(copy)) {
        memcpy(copy, text.data, text.size);
        copy[text.size] = '\0';
        return number_end(copy) == copy + text.size;
    }
    uint8_t *large = cf_alloc(text.size + 1);
    memcpy(large, text.data, text.size);
    large[text.size] = '\0';
    end = number_end(large);
    bool is_number = end == large + text.size;
    cf_wipe(large, text.size);
    cf_free(large);
    return is_number;
}

static cf_status parse_number(struct parser *p, struct json **ret)
{
    const uint8_t *end = number_end(p->at);
    if (end == NULL) {
        return fail(p, "malformed number");
    }
    size_t size = (size_t)(end - p->at);
    if (size > p->limits.string) {
        return over_limit(p, "digits in a number", p->limits.string);
    }
    *ret = node_new(p, JSON_NUMBER);
    (*ret)->text = cf_slice_of(p->at, size);
    p->at += size;
    return CF_OK;
}

static cf_status parse_word(struct parser *p, struct cf_slice word, struct json *node,
                            struct json **ret)
{
    if (!cf_slice_starts(cf_slice_of(p->at, (size_t)(p->end - p->at)), word)) {
        return fail(p, "unknown word");
    }
    p->at += word.size;
    *ret = node;
    return CF_OK;
}

/* ---- containers ---- */

static cf_status parse_member(struct parser *p)
{
    struct json_member member;
    if (*p->at != '"') {
        return fail(p, "expected a key");
    }
    CF_TRY(parse_string(p, &member.key));
    if (memchr(member.key.data, '\0', member.key.size) != NULL) {
        return fail(p, "NUL in the key before");
    }
    skip_space(p);
    if (*p->at != ':') {
        return fail(p, "expected a colon");
    }
    p->at++;
    skip_space(p);
    CF_TRY(parse_value(p, &member.value));
    scratch_push(p, member);
    return CF_OK;
}

static cf_status parse_item(struct parser *p)
{
    struct json_member member = {0};
    CF_TRY(parse_value(p, &member.value));
    scratch_push(p, member);
    return CF_OK;
}

/* Everything between the brackets onto the scratch stack. */
static cf_status parse_children(struct parser *p, bool is_object, uint32_t *ret_count)
{
    uint8_t close = is_object ? '}' : ']';
    uint32_t limit = is_object ? p->limits.keys : p->limits.items, count = 0;
    p->at++;
    skip_space(p);
    if (*p->at == close) {
        p->at++;
        *ret_count = 0;
        return CF_OK;
    }
    for (;;) {
        if (++count > limit) {
            return over_limit(p, is_object ? "keys in an object" : "elements in an array", limit);
        }
        CF_TRY(is_object ? parse_member(p) : parse_item(p));
        skip_space(p);
        uint8_t byte = *p->at;
        if (byte != ',' && byte != close) {
            return fail(p, is_object ? "expected a comma or }" : "expected a comma or ]");
        }
        p->at++;
        if (byte == close) {
            *ret_count = count;
            return CF_OK;
        }
        skip_space(p);
    }
}

static void take_children(struct parser *p, struct json *node, const struct json_member *from)
{
    if (node->type == JSON_OBJECT) {
        node->members = arena_alloc_raw(p->arena, node->count * sizeof(*from));
        memcpy(node->members, from, node->count * sizeof(*from));
        json_object_settle(p->arena, node);
    } else {
        node->items = arena_alloc_raw(p->arena, node->count * sizeof(struct json *));
        for (uint32_t i = 0; i < node->count; i++) {
            node->items[i] = from[i].value;
        }
    }
}

static cf_status parse_container(struct parser *p, enum json_type type, struct json **ret)
{
    if (p->depth == p->limits.depth) {
        return over_limit(p, "levels", p->limits.depth);
    }
    size_t base = p->scratch_used;
    uint32_t count = 0;
    p->depth++;
    CF_TRY(parse_children(p, type == JSON_OBJECT, &count));
    p->depth--;
    struct json *node = node_new(p, type);
    node->count = node->capacity = count;
    if (count != 0) {
        take_children(p, node, p->scratch + base);
    }
    p->scratch_used = base;
    *ret = node;
    return CF_OK;
}

static cf_status parse_value(struct parser *p, struct json **ret)
{
    if (++p->nodes > p->limits.nodes) {
        return over_limit(p, "values", p->limits.nodes);
    }
    switch (*p->at) {
    case '"': {
        struct cf_slice text;
        CF_TRY(parse_string(p, &text));
        *ret = node_new(p, JSON_STRING);
        (*ret)->text = text;
        return CF_OK;
    }
    case '{':
        return parse_container(p, JSON_OBJECT, ret);
    case '[':
        return parse_container(p, JSON_ARRAY, ret);
    case 't':
        return parse_word(p, CF_SLICE("true"), &json_shared_true, ret);
    case 'f':
        return parse_word(p, CF_SLICE("false"), &json_shared_false, ret);
    case 'n':
        return parse_word(p, CF_SLICE("null"), &json_shared_null, ret);
    default:
        if (*p->at == '-' || (*p->at >= '0' && *p->at <= '9')) {
            return parse_number(p, ret);
        }
        return fail(p, "expected a value");
    }
}

/* ---- entry ---- */

static struct json_limits limits_of(const struct json_limits *given)
{
    struct json_limits limits = given != NULL ? *given : (struct json_limits){0};
    limits.depth = limits.depth != 0 ? limits.depth : 300;
    limits.depth = limits.depth < JSON_DEPTH_MAX ? limits.depth : JSON_DEPTH_MAX;
    limits.keys = limits.keys != 0 ? limits.keys : 10000;
    limits.items = limits.items != 0 ? limits.items : 10000;
    limits.nodes = limits.nodes != 0 ? limits.nodes : 200000;
    limits.string = limits.string != 0 ? limits.string : 1 << 20;
    return limits;
}

static cf_status parse_document(struct parser *p, struct json **ret)
{
    struct json *node;
    skip_space(p);
    CF_TRY(parse_value(p, &node));
    skip_space(p);
    if (p->at != p->end) {
        return fail(p, "text after the value");
    }
    *ret = node;
    return CF_OK;
}

cf_status json_parse_at(struct arena *arena, struct cf_slice text, const struct json_limits *limits,
                        struct json **ret, size_t *ret_offset, struct cf_error *err)
{
    struct parser p;
    p.arena = arena;
    p.start = p.at = (uint8_t *)(uintptr_t)arena_copy(arena, text).data;
    p.end = p.start + text.size;
    p.limits = limits_of(limits);
    p.depth = p.nodes = 0;
    p.pool_left = 0;
    p.scratch = p.scratch_first;
    p.scratch_heap = NULL;
    p.scratch_used = 0;
    p.scratch_room = SCRATCH_FIRST;
    p.err = err;
    cf_status status = parse_document(&p, ret);
    cf_free(p.scratch_heap);
    *ret_offset = (size_t)(p.at - p.start);
    return status;
}

cf_status json_parse(struct arena *arena, struct cf_slice text, const struct json_limits *limits,
                     struct json **ret, struct cf_error *err)
{
    size_t offset;
    return json_parse_at(arena, text, limits, ret, &offset, err);
}

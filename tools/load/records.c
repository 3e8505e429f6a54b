/* tools/load/records.c: documents to import. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "node/base/arena.h"
#include "node/base/map.h"
#include "node/base/memory.h"
#include "node/format/json.h"
#include "tools/load/records.h"

#define KEY_MAX 1024u

enum form { FORM_STANZA, FORM_LINE, FORM_WRAPPED, FORM_JSON };

struct record {
    struct cf_slice path;
    struct cf_slice source; /* within text, or in the arena */
    enum form form;
};

struct records {
    struct arena *arena; /* paths and added documents */
    struct arena *scratch;
    struct cf_buf text;
    struct record *at;
    size_t count, room, repeated;
    struct cf_map *by_path; /* position + 1 */
};

static const struct json_limits limits = {
    .keys = 1000000, .items = 1000000, .nodes = 10000000, .string = (size_t)32 * 1024 * 1024};

struct records *records_new(void)
{
    struct records *records = cf_new(struct records);
    records->arena = arena_new(65536);
    records->scratch = arena_new(65536);
    records->by_path = cf_map_new();
    cf_buf_init_secret(&records->text, 0);
    return records;
}

void records_free(struct records *records)
{
    if (records != NULL) {
        arena_free(records->arena);
        arena_free(records->scratch);
        cf_map_free(records->by_path);
        cf_buf_done(&records->text);
        cf_free(records->at);
        cf_free(records);
    }
}

static void put(struct records *records, struct cf_slice path, struct cf_slice source,
                enum form form)
{
    struct record record = {arena_copy(records->arena, path), source, form};
    uintptr_t known = (uintptr_t)cf_map_get(records->by_path, path);
    if (known != 0) {
        records->at[known - 1] = record;
        records->repeated++;
        return;
    }
    if (records->count == records->room) {
        records->room = records->room == 0 ? 1024 : 2 * records->room;
        records->at = cf_realloc(records->at, records->room * sizeof(*records->at));
    }
    records->at[records->count++] = record;
    (void)cf_map_put(records->by_path, path, (void *)(uintptr_t)records->count);
}

void records_add(struct records *records, struct cf_slice path, struct cf_slice json)
{
    put(records, path, arena_copy(records->arena, json), FORM_JSON);
}

/* ---- stanzas ---- */

struct field {
    struct cf_slice name, value; /* value: as it stands, with its continuation lines */
};

/* The next line without its end. */
static struct cf_slice take_line(struct cf_slice *rest)
{
    size_t end = cf_slice_find(*rest, '\n');
    struct cf_slice line = cf_slice_first(*rest, end);
    *rest = cf_slice_from(*rest, end + 1);
    if (line.size > 0 && line.data[line.size - 1] == '\r') {
        line.size--;
    }
    return line;
}

static bool is_blank(struct cf_slice line)
{
    for (size_t i = 0; i < line.size; i++) {
        if (line.data[i] != ' ' && line.data[i] != '\t') {
            return false;
        }
    }
    return true;
}

static bool is_continued(struct cf_slice rest)
{
    return rest.size > 0 && (rest.data[0] == ' ' || rest.data[0] == '\t');
}

/* False at the end of the stanza, and for a line that is no field. */
static bool next_field(struct cf_slice *rest, struct field *ret)
{
    if (rest->size == 0) {
        return false;
    }
    struct cf_slice whole = *rest;
    struct cf_slice line = take_line(rest);
    size_t colon = cf_slice_find(line, ':');
    if (colon == 0 || colon == line.size || is_blank(cf_slice_first(line, 1))) {
        *rest = whole; /* what is left tells the caller that the stanza did not end here */
        return false;
    }
    ret->name = cf_slice_first(line, colon);
    struct cf_slice value = cf_slice_from(line, colon + 1);
    while (value.size > 0 && (value.data[0] == ' ' || value.data[0] == '\t')) {
        value = cf_slice_from(value, 1);
    }
    while (is_continued(*rest)) {
        struct cf_slice more = take_line(rest);
        /* Lines of one value lie side by side in the text. */
        value.size = (size_t)(more.data + more.size - value.data);
    }
    ret->value = value;
    return true;
}

static bool field_of(struct cf_slice stanza, struct cf_slice name, struct cf_slice *ret)
{
    struct field field;
    while (next_field(&stanza, &field)) {
        if (cf_slice_eq(field.name, name)) {
            *ret = field.value;
            return true;
        }
    }
    return false;
}

/* A continuation line loses its first blank; line ends become one newline. */
static void write_value(struct cf_buf *out, struct cf_slice value)
{
    CF_BUF(text) = {0};
    bool first = true;
    if (memchr(value.data, '\n', value.size) == NULL) {
        json_write_string(out, value);
        return;
    }
    while (value.size > 0) {
        struct cf_slice line = take_line(&value);
        cf_buf_add_str(&text, first ? "" : "\n");
        cf_buf_add_slice(&text, first ? line : cf_slice_from(line, 1));
        first = false;
    }
    json_write_string(out, cf_buf_slice(&text));
}

static void write_stanza(struct cf_buf *out, struct cf_slice stanza)
{
    struct field field;
    bool first = true;
    cf_buf_add_byte(out, '{');
    while (next_field(&stanza, &field)) {
        cf_buf_add_str(out, first ? "" : ",");
        json_write_string(out, field.name);
        cf_buf_add_byte(out, ':');
        write_value(out, field.value);
        first = false;
    }
    cf_buf_add_byte(out, '}');
}

/* ---- keys ---- */

/* The value of a field for a key: of a stanza, or a text or number of a JSON object. */
static bool key_part(const struct json *object, struct cf_slice stanza, struct cf_slice name,
                     struct cf_slice *ret)
{
    if (object != NULL) {
        const struct json *value = json_get_slice(object, name);
        return json_string(value, ret) || json_number(value, ret);
    }
    return field_of(stanza, name, ret);
}

static cf_status make_key(const struct json *object, struct cf_slice stanza, const char *key,
                          struct cf_buf *out, struct cf_error *err)
{
    struct cf_slice rest = cf_slice_str(key);
    struct cf_slice value = CF_SLICE_EMPTY;
    bool template = strchr(key, '{') != NULL;
    if (!template) {
        if (!key_part(object, stanza, rest, &value)) {
            return cf_fail(err, CF_INVALID, "there is no field \"%s\"", key);
        }
        cf_buf_add_slice(out, value);
        return CF_OK;
    }
    while (rest.size > 0) {
        size_t open = cf_slice_find(rest, '{');
        cf_buf_add_slice(out, cf_slice_first(rest, open));
        rest = cf_slice_from(rest, open);
        if (rest.size == 0) {
            break;
        }
        size_t close = cf_slice_find(rest, '}');
        struct cf_slice name = cf_slice_from(cf_slice_first(rest, close), 1);
        if (close == rest.size || !key_part(object, stanza, name, &value)) {
            return cf_fail(err, CF_INVALID, "there is no field \"%.*s\" for the key \"%s\"",
                           CF_SHOW(name), key);
        }
        cf_buf_add_slice(out, value);
        rest = cf_slice_from(rest, close + 1);
    }
    return CF_OK;
}

static cf_status check_key(struct cf_slice key, struct cf_error *err)
{
    bool bad =
        key.size == 0 || key.size > KEY_MAX || key.data[0] == '/' || key.data[key.size - 1] == '/';
    for (size_t i = 0; i < key.size && !bad; i++) {
        bad = key.data[i] < 0x20 || (key.data[i] == '/' && key.data[i - 1] == '/');
    }
    return bad ? cf_fail(err, CF_INVALID, "\"%.*s\" cannot be a secret's path",
                         (int)cf_min(key.size, 100), (const char *)key.data)
               : CF_OK;
}

static cf_status add_record(struct records *records, const struct json *object,
                            struct cf_slice source, const char *key, enum form form,
                            const struct records_options *options, struct cf_error *err)
{
    CF_BUF(path) = {.max = 4 * KEY_MAX};
    CF_BUF(own) = {.max = 2 * KEY_MAX};
    CF_TRY(make_key(object, source, key, &own, err));
    CF_TRY(cf_buf_check(&own, err));
    CF_TRY(check_key(cf_buf_slice(&own), err));
    if (options->prefix != NULL && *options->prefix != '\0') {
        cf_buf_addf(&path, "%s/", options->prefix);
    }
    cf_buf_add_slice(&path, cf_buf_slice(&own));
    CF_TRY(cf_buf_check(&path, err));
    put(records, cf_buf_slice(&path), source, form);
    return CF_OK;
}

/* ---- files ---- */

static cf_status parse_index(struct records *records, const struct records_options *options,
                             struct cf_error *err)
{
    struct cf_slice rest = cf_buf_slice(&records->text);
    const char *key = options->key != NULL ? options->key : "Package";
    size_t line_number = 1;
    while (rest.size > 0) {
        struct cf_slice stanza = {rest.data, 0};
        size_t lines = 0;
        struct field field;
        while (rest.size > 0) {
            struct cf_slice line = take_line(&rest);
            lines++;
            if (is_blank(line)) {
                break;
            }
            stanza.size = (size_t)(line.data + line.size - stanza.data);
        }
        struct cf_slice check = stanza;
        while (next_field(&check, &field)) {
        }
        if (check.size > 0) {
            return cf_fail(err, CF_INVALID,
                           "the stanza at line %zu holds a line that is no \"Field: value\"",
                           line_number);
        }
        if (stanza.size > 0) {
            cf_status status = add_record(records, NULL, stanza, key, FORM_STANZA, options, err);
            if (status != CF_OK) {
                return cf_error_prefix(err, status, "stanza at line %zu", line_number);
            }
        }
        line_number += lines;
    }
    return CF_OK;
}

static cf_status parse_line(struct records *records, struct cf_slice line,
                            const struct records_options *options, struct cf_error *err)
{
    struct json *object = NULL;
    arena_reset(records->scratch);
    CF_TRY(json_parse(records->scratch, line, &limits, &object, err));
    if (!json_is(object, JSON_OBJECT)) {
        return cf_fail(err, CF_INVALID, "not a JSON object");
    }
    if (options->key != NULL) {
        return add_record(records, object, line, options->key, FORM_LINE, options, err);
    }
    if (json_get_string(object, "path").size == 0 ||
        !json_is(json_get(object, "data"), JSON_OBJECT)) {
        return cf_fail(err, CF_INVALID,
                       "want {\"path\": \"...\", \"data\": {...}}, or -key=FIELD to name the field "
                       "that is the path");
    }
    return add_record(records, object, line, "path", FORM_WRAPPED, options, err);
}

static cf_status parse_lines(struct records *records, const struct records_options *options,
                             struct cf_error *err)
{
    struct cf_slice rest = cf_buf_slice(&records->text);
    for (size_t number = 1; rest.size > 0; number++) {
        struct cf_slice line = take_line(&rest);
        if (is_blank(line)) {
            continue;
        }
        cf_status status = parse_line(records, line, options, err);
        if (status != CF_OK) {
            return cf_error_prefix(err, status, "line %zu", number);
        }
    }
    return CF_OK;
}

static cf_status parse(struct records *records, const struct records_options *options,
                       struct cf_error *err)
{
    struct cf_slice text = cf_buf_slice(&records->text);
    size_t at = 0;
    while (at < text.size && memchr(" \t\r\n", text.data[at], 4) != NULL) {
        at++;
    }
    bool lines = at < text.size && text.data[at] == '{';
    return lines ? parse_lines(records, options, err) : parse_index(records, options, err);
}

cf_status records_parse(struct cf_slice text, const struct records_options *options,
                        struct records **ret, struct cf_error *err)
{
    CF_OWNED(records) records = records_new();
    cf_buf_add_slice(&records->text, text);
    CF_TRY(parse(records, options, err));
    *ret = records_take(&records);
    return CF_OK;
}

cf_status records_load(const char *path, const struct records_options *options,
                       struct records **ret, struct cf_error *err)
{
    CF_OWNED(records) records = records_new();
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (file == NULL) {
        return cf_fail(err, CF_IO, "open %s: %s", path, strerror(errno));
    }
    size_t got = 0;
    do {
        const size_t step = (size_t)1024 * 1024;
        (void)cf_buf_reserve(&records->text, step);
        got = fread(records->text.data + records->text.size, 1, step, file);
        records->text.size += got;
    } while (got > 0);
    bool failed = ferror(file) != 0;
    if (file != stdin) {
        (void)fclose(file);
    }
    if (failed) {
        return cf_fail(err, CF_IO, "read %s: %s", path, strerror(errno));
    }
    cf_status status = parse(records, options, err);
    if (status != CF_OK) {
        return cf_error_prefix(err, status, "%s", path);
    }
    *ret = records_take(&records);
    return CF_OK;
}

size_t records_count(const struct records *records)
{
    return records->count;
}

size_t records_repeated(const struct records *records)
{
    return records->repeated;
}

struct cf_slice records_path(const struct records *records, size_t at)
{
    return records->at[at].path;
}

bool records_has(const struct records *records, struct cf_slice path)
{
    return cf_map_get(records->by_path, path) != NULL;
}

void records_write(const struct records *records, size_t at, struct cf_buf *out)
{
    const struct record *record = &records->at[at];
    struct json *object = NULL;
    switch (record->form) {
    case FORM_STANZA:
        write_stanza(out, record->source);
        break;
    case FORM_LINE:
    case FORM_JSON:
        cf_buf_add_slice(out, record->source);
        break;
    case FORM_WRAPPED:
        arena_reset(records->scratch);
        if (json_parse(records->scratch, record->source, &limits, &object, NULL) == CF_OK) {
            json_write(out, json_get(object, "data")); /* it was parsed once, when it was read */
        }
        break;
    }
}

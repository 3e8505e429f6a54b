/* tools/cli/params.c: data on the command line. */
#include <string.h>

#include "tools/cli/params.h"

static const struct json_limits file_limits = {
    .keys = 1000000, .items = 1000000, .nodes = 10000000, .string = (size_t)64 * 1024 * 1024};

/* A key that is there already becomes a list of its values. */
static void add(struct cli *cli, struct json *object, struct cf_slice key, struct json *value)
{
    struct json *old = json_get_slice(object, key);
    if (old == NULL) {
        json_object_set(cli->arena, object, key, value);
        return;
    }
    if (!json_is(old, JSON_ARRAY)) {
        struct json *list = json_array_new(cli->arena);
        json_array_add(cli->arena, list, old);
        json_object_set(cli->arena, object, key, list);
        old = list;
    }
    json_array_add(cli->arena, old, value);
}

static cf_status add_document(struct cli *cli, struct json *object, const char *path,
                              struct cf_error *err)
{
    struct cf_slice text = CF_SLICE_EMPTY;
    struct json *document = NULL;
    CF_TRY(cli_read_file(cli, path, &text, err));
    CF_TRY(json_parse(cli->arena, text, &file_limits, &document, err));
    if (!json_is(document, JSON_OBJECT)) {
        return cf_fail(err, CF_INVALID, "the JSON in %s is not an object", path);
    }
    for (uint32_t i = 0; i < document->count; i++) {
        add(cli, object, document->members[i].key, document->members[i].value);
    }
    return CF_OK;
}

static cf_status value_of(struct cli *cli, const char *text, struct json **ret,
                          struct cf_error *err)
{
    struct cf_slice value = cf_slice_str(text);
    if (text[0] == '@' || strcmp(text, "-") == 0) {
        CF_TRY(cli_read_file(cli, text[0] == '@' ? text + 1 : text, &value, err));
    } else if (text[0] == '\\' && text[1] == '@') {
        value = cf_slice_str(text + 1); /* a value that really begins with @ */
    }
    *ret = json_from_string(cli->arena, value);
    return CF_OK;
}

cf_status params_add_pair(struct cli *cli, struct json *object, const char *text,
                          struct cf_error *err)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text) {
        return cf_fail(err, CF_INVALID, "invalid key/value pair \"%s\": format must be key=value",
                       text);
    }
    add(cli, object, cf_slice_of(text, (size_t)(equals - text)),
        json_from_text(cli->arena, equals + 1));
    return CF_OK;
}

static cf_status add_argument(struct cli *cli, struct json *object, const char *text,
                              struct cf_error *err)
{
    const char *equals = strchr(text, '=');
    struct json *value = NULL;
    if (strcmp(text, "-") == 0) {
        return add_document(cli, object, "-", err);
    }
    if (text[0] == '@') {
        return add_document(cli, object, text + 1, err);
    }
    if (equals == NULL || equals == text) {
        return cf_fail(err, CF_INVALID, "invalid key/value pair \"%s\": format must be key=value",
                       text);
    }
    CF_TRY(value_of(cli, equals + 1, &value, err));
    add(cli, object, cf_slice_of(text, (size_t)(equals - text)), value);
    return CF_OK;
}

cf_status params_parse(struct cli *cli, size_t from, struct json **ret, struct cf_error *err)
{
    struct json *object = json_object_new(cli->arena);
    for (size_t i = from; i < cli->args.count; i++) {
        CF_TRY(add_argument(cli, object, cli->args.at[i], err));
    }
    *ret = object;
    return CF_OK;
}

struct json *params_pairs(struct cli *cli, const struct strings *pairs, bool *ok)
{
    struct json *object = json_object_new(cli->arena);
    *ok = true;
    for (size_t i = 0; i < pairs->count; i++) {
        struct cf_error err = {0};
        if (params_add_pair(cli, object, pairs->at[i], &err) != CF_OK) {
            cli_error(cli, "%s", err.message);
            *ok = false;
            return NULL;
        }
    }
    return object;
}

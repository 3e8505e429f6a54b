/* tools/commands/pgp_keys.c: files of public keys as the API takes them: base64 of the binary form. */
#include <ctype.h>
#include <string.h>

#include "node/format/encode.h"
#include "tools/commands/pgp_keys.h"

static bool is_armour(struct cf_slice text)
{
    return cf_slice_starts(text, CF_SLICE("-----BEGIN PGP"));
}

/* RFC 4880 6.2: headers up to an empty line, base64 lines, "=" and a checksum. */
static void add_armoured(struct cf_buf *out, struct cf_slice text)
{
    bool in_body = false;
    while (text.size > 0) {
        size_t size = cf_slice_find(text, '\n');
        struct cf_slice line = cf_slice_first(text, size);
        text = cf_slice_from(text, line.size + 1);
        while (line.size > 0 && isspace(line.data[line.size - 1])) {
            line.size--;
        }
        if (line.size == 0) {
            in_body = true;
        } else if (in_body && (line.data[0] == '=' || line.data[0] == '-')) {
            return;
        } else if (in_body) {
            cf_buf_add_slice(out, line);
        }
    }
}

static bool is_base64(struct cf_slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (!isalnum(text.data[i]) && strchr("+/=", text.data[i]) == NULL) {
            return false;
        }
    }
    return text.size > 0 && text.size % 4 == 0;
}

static struct json *load(struct cli *cli, const char *file)
{
    struct cf_error err = {0};
    struct cf_slice text = CF_SLICE_EMPTY;
    CF_BUF(out) = {0};
    if (strncmp(file, "keybase:", 8) == 0) {
        cli_error(cli, "keys from keybase are not fetched: save \"%s\" to a file and name that", file);
        return NULL;
    }
    if (cli_read_file(cli, file + (file[0] == '@' ? 1 : 0), &text, &err) != CF_OK) {
        cli_error(cli, "Error reading the PGP key: %s", err.message);
        return NULL;
    }
    struct cf_slice trimmed = text;
    while (trimmed.size > 0 && isspace(trimmed.data[trimmed.size - 1])) {
        trimmed.size--;
    }
    if (is_armour(trimmed)) {
        add_armoured(&out, trimmed);
    } else if (is_base64(trimmed)) {
        cf_buf_add_slice(&out, trimmed);
    } else {
        encode_base64(&out, text);
    }
    if (out.size == 0) {
        cli_error(cli, "%s holds no PGP key", file);
        return NULL;
    }
    return json_from_string(cli->arena, cf_buf_slice(&out));
}

bool pgp_key_set(struct cli *cli, struct json *body, const char *name, const char *file)
{
    struct json *key = file != NULL ? load(cli, file) : NULL;
    if (key != NULL) {
        json_set(cli->arena, body, name, key);
    }
    return file == NULL || key != NULL;
}

bool pgp_keys_set(struct cli *cli, struct json *body, const char *name, const struct strings *files)
{
    struct json *keys = json_array_new(cli->arena);
    for (size_t i = 0; i < files->count; i++) {
        const char *rest = files->at[i];
        while (*rest != '\0') {
            size_t size = strcspn(rest, ",");
            struct json *key = load(cli, arena_text(cli->arena, cf_slice_of(rest, size)));
            if (key == NULL) {
                return false;
            }
            json_array_add(cli->arena, keys, key);
            rest += size + (rest[size] == ',' ? 1 : 0);
        }
    }
    if (keys->count > 0) {
        json_set(cli->arena, body, name, keys);
    }
    return true;
}

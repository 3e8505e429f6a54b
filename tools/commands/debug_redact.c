/* tools/commands/debug_redact.c: a JSON tree without secrets. Too much is taken out rather than too
 * little: who needs a value that is missing can ask for it. */
#include <ctype.h>
#include <string.h>

#include "node/base/memory.h"
#include "tools/commands/debug_redact.h"

#define DEPTH_MAX 64

static bool holds(struct cf_slice text, const char *part)
{
    return text.size > 0 && memmem(text.data, text.size, part, strlen(part)) != NULL;
}

/* Names whose texts are secrets, wherever they stand. */
static bool secret_name(struct arena *arena, struct cf_slice name)
{
    static const char *const parts[] = {"token",  "secret",     "passw",  "passphrase", "private",
                                        "credential", "otp",    "unseal", "accessor",   "cookie",
                                        "authorization", "hmac", "share",  "_key"};
    char *lower = arena_text(arena, name);
    for (char *at = lower; *at != '\0'; at++) {
        *at = (char)tolower((unsigned char)*at);
    }
    for (size_t i = 0; i < CF_LENGTH(parts); i++) {
        if (strstr(lower, parts[i]) != NULL) {
            return true;
        }
    }
    return strcmp(lower, "key") == 0 || strcmp(lower, "keys") == 0 || strcmp(lower, "nonce") == 0;
}

static bool token_byte(uint8_t c)
{
    return isalnum(c) || c == '-' || c == '_';
}

/* hvs.xxxx, s.xxxx and the like, anywhere in the text: at least 16 characters behind the dot. */
static bool holds_token(struct cf_slice text)
{
    static const char *const prefixes[] = {"hvs.", "hvb.", "hvr.", "s.", "b.", "r."};
    for (size_t p = 0; p < CF_LENGTH(prefixes); p++) {
        size_t size = strlen(prefixes[p]);
        for (size_t at = 0; at + size + 16 <= text.size; at++) {
            bool starts = memcmp(text.data + at, prefixes[p], size) == 0 &&
                          (at == 0 || !token_byte(text.data[at - 1]));
            size_t run = 0;
            while (starts && at + size + run < text.size && token_byte(text.data[at + size + run])) {
                run++;
            }
            if (run >= 16) {
                return true;
            }
        }
    }
    return false;
}

/* scheme://user:password@host */
static bool holds_login(struct cf_slice text)
{
    const uint8_t *at =
        text.data != NULL && text.size > 0 ? memmem(text.data, text.size, "://", 3) : NULL;
    if (at == NULL) {
        return false;
    }
    struct cf_slice rest = cf_slice_from(text, (size_t)(at - text.data) + 3);
    struct cf_slice authority = cf_slice_first(rest, cf_slice_find(rest, '/'));
    return cf_slice_find(authority, '@') < authority.size;
}

static bool secret_text(struct cf_slice text, const char *token)
{
    return (*token != '\0' && holds(text, token)) || holds(text, "PRIVATE KEY") ||
           holds_token(text) || holds_login(text);
}

static struct json *redact(struct arena *arena, const struct json *from, const char *token,
                           bool secret, int depth)
{
    if (depth > DEPTH_MAX) {
        return json_from_text(arena, DEBUG_REDACTED);
    }
    if (from->type == JSON_STRING) {
        bool hide = (secret && from->text.size > 0) || secret_text(from->text, token);
        return hide ? json_from_text(arena, DEBUG_REDACTED) : json_from_string(arena, from->text);
    }
    if (from->type == JSON_ARRAY) {
        struct json *list = json_array_new(arena);
        for (uint32_t i = 0; i < from->count; i++) {
            json_array_add(arena, list, redact(arena, from->items[i], token, secret, depth + 1));
        }
        return list;
    }
    if (from->type == JSON_OBJECT) {
        struct json *object = json_object_new(arena);
        for (uint32_t i = 0; i < from->count; i++) {
            struct cf_slice key = from->members[i].key;
            bool below = secret || secret_name(arena, key);
            struct cf_slice name = secret_text(key, token) ? CF_SLICE(DEBUG_REDACTED) : key;
            json_object_set(arena, object, name,
                            redact(arena, from->members[i].value, token, below, depth + 1));
        }
        return object;
    }
    return json_copy(arena, from);
}

struct json *debug_redact(struct arena *arena, const struct json *from, const char *token)
{
    return redact(arena, from, token, false, 0);
}

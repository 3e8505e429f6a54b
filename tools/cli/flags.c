/* tools/cli/flags.c: Go-style command line flags. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/slice.h"
#include "node/format/duration.h"
#include "tools/cli/flags.h"

void strings_add(struct arena *arena, struct strings *strings, const char *text)
{
    if (strings->count == strings->room) {
        size_t room = strings->room == 0 ? 8 : 2 * strings->room;
        const char **at = arena_alloc(arena, room * sizeof(*at));
        if (strings->count > 0) {
            memcpy(at, strings->at, strings->count * sizeof(*at));
        }
        strings->at = at;
        strings->room = room;
    }
    strings->at[strings->count++] = text;
}

bool flags_parse_duration(const char *text, int64_t *ret_ms)
{
    int64_t ns = 0;
    if (*text == '\0' || duration_parse_ns(cf_slice_str(text), &ns, NULL) != CF_OK) {
        return false;
    }
    *ret_ms = ns / 1000000;
    return true;
}

static bool parse_bool(const char *text, bool *ret)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *ret = strcmp(text, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

static bool parse_int(const char *text, int64_t *ret)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0') {
        return false;
    }
    *ret = value;
    return true;
}

static cf_status set_value(struct arena *arena, const struct flag *flag, const char *value,
                           struct cf_error *err)
{
    int64_t ms = 0;
    bool good = true;
    switch (flag->type) {
    case FLAG_BOOL:
        good = parse_bool(value, flag->to);
        break;
    case FLAG_INT:
        good = parse_int(value, flag->to);
        break;
    case FLAG_SECONDS:
        good = *value == '\0' || strcmp(value, "system") == 0 || flags_parse_duration(value, &ms);
        *(const char **)flag->to = value;
        break;
    case FLAG_STRING:
        *(const char **)flag->to = value;
        break;
    case FLAG_LIST:
        strings_add(arena, flag->to, value);
        break;
    }
    if (!good) {
        return cf_fail(err, CF_INVALID, "invalid value \"%s\" for flag -%s", value, flag->name);
    }
    if (flag->given != NULL) {
        *flag->given = true;
    }
    return CF_OK;
}

static const struct flag *find(const struct flag *flags, size_t count, const char *name,
                               size_t size)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(flags[i].name) == size && memcmp(flags[i].name, name, size) == 0) {
            return &flags[i];
        }
    }
    return NULL;
}

static bool is_help(const char *name)
{
    return strcmp(name, "h") == 0 || strcmp(name, "help") == 0;
}

/* One flag at argv[*at]; moves *at past what it used. */
static cf_status take_flag(struct arena *arena, const struct flag *flags, size_t count,
                           char *const *argv, size_t *at, bool *help, struct cf_error *err)
{
    const char *text = argv[*at];
    const char *name = text + (text[1] == '-' ? 2 : 1);
    const char *equals = strchr(name, '=');
    size_t size = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct flag *flag = find(flags, count, name, size);
    *at += 1;
    if (size == 0) {
        return cf_fail(err, CF_INVALID, "bad flag syntax: %s", text);
    }
    if (flag == NULL && is_help(name)) {
        *help = true;
        return CF_OK;
    }
    if (flag == NULL) {
        return cf_fail(err, CF_INVALID, "flag provided but not defined: -%.*s", (int)size, name);
    }
    if (equals != NULL) {
        return set_value(arena, flag, equals + 1, err);
    }
    if (flag->type == FLAG_BOOL) {
        return set_value(arena, flag, "true", err);
    }
    if (argv[*at] == NULL) {
        return cf_fail(err, CF_INVALID, "flag needs an argument: -%s", flag->name);
    }
    *at += 1;
    return set_value(arena, flag, argv[*at - 1], err);
}

cf_status flags_parse(struct arena *arena, const struct flag *flags, size_t count,
                      enum flags_where where, char *const *argv, struct strings *rest, bool *help,
                      struct cf_error *err)
{
    size_t at = 0;
    bool open = true;
    while (argv[at] != NULL) {
        const char *text = argv[at];
        /* A lone "-" is an argument (standard input). */
        if (!open || text[0] != '-' || text[1] == '\0') {
            strings_add(arena, rest, text);
            open = open && where == FLAGS_ANYWHERE;
            at++;
        } else if (strcmp(text, "--") == 0) {
            open = false;
            at++;
        } else {
            CF_TRY(take_flag(arena, flags, count, argv, &at, help, err));
        }
    }
    return CF_OK;
}

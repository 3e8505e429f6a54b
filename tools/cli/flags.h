/* tools/cli/flags.h
 *
 * Command line flags as Go programs have them: -name value, -name=value, --name; a boolean takes
 * its value only with "="; "--" ends the flags. A table says what there is. Thread: any; no state.
 */
#ifndef COFFER_CLI_FLAGS_H
#define COFFER_CLI_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/arena.h"
#include "node/base/status.h"

/* Texts in the order they came; they live as the arena or the command line. */
struct strings {
    const char **at;
    size_t count, room;
};

void strings_add(struct arena *arena, struct strings *strings, const char *text);

enum flag_type {
    FLAG_BOOL,    /* bool; -f, -f=false */
    FLAG_STRING,  /* const char * */
    FLAG_INT,     /* int64_t */
    FLAG_SECONDS, /* const char *, checked: 90, 30s, 1h30m */
    FLAG_LIST,    /* struct strings: may be repeated */
};

struct flag {
    const char *name;
    enum flag_type type;
    void *to;    /* of the type said above; keeps its value when the flag is absent */
    bool *given; /* set when the flag is there; may be NULL */
    const char *help;
};

/* Where flags may stand: before the first argument, as Go has it, or anywhere. */
enum flags_where { FLAGS_FIRST, FLAGS_ANYWHERE };

/* Reads `argv` (NULL-terminated); what is no flag goes to `rest`. Of two flags with one name the
 * first in the table counts. CF_INVALID: unknown flag, no value, or a bad one; *help when -h or
 * -help was there. */
CF_CHECKED cf_status flags_parse(struct arena *arena, const struct flag *flags, size_t count,
                                 enum flags_where where, char *const *argv, struct strings *rest,
                                 bool *help, struct cf_error *err);

/* Milliseconds of "90", "90s", "1h30m", "250ms"; false when it is no duration. */
bool flags_parse_duration(const char *text, int64_t *ret_ms);

#endif

/* tools/commands/debug_redact.h: what leaves the house in a support bundle. Pure. Thread: any. */
#ifndef COFFER_COMMANDS_DEBUG_REDACT_H
#define COFFER_COMMANDS_DEBUG_REDACT_H

#include "node/format/json.h"

#define DEBUG_REDACTED "(redacted)"

/* A copy without secrets: values under names that hold them (password, token, key, ...), texts that
 * look like tokens, private keys or addresses with a password, and any text that holds `token`. Numbers
 * and booleans stay, they are what support needs. */
struct json *debug_redact(struct arena *arena, const struct json *from, const char *token);

#endif

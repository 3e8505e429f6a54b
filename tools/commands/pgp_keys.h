/* tools/commands/pgp_keys.h: public keys that shares and root tokens are encrypted for. Thread: main. */
#ifndef COFFER_COMMANDS_PGP_KEYS_H
#define COFFER_COMMANDS_PGP_KEYS_H

#include "node/format/json.h"
#include "tools/cli/cli.h"

/* Each text holds names of files with commas between: a key in binary, armoured, or base64. Sets
 * body[name] to their base64 texts in that order; nothing for none. False after a complaint. */
bool pgp_keys_set(struct cli *cli, struct json *body, const char *name,
                  const struct strings *files);
/* The same for one file, as a text. NULL file: nothing. */
bool pgp_key_set(struct cli *cli, struct json *body, const char *name, const char *file);

#endif

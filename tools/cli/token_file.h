/* tools/cli/token_file.h: ~/.vault-token, the token that commands use when they are given none. The bare token, no
 * line end, readable by its owner alone. */
#ifndef COFFER_TOOLS_TOKEN_FILE_H
#define COFFER_TOOLS_TOKEN_FILE_H

#include "node/base/arena.h"
#include "node/base/slice.h"
#include "node/base/status.h"

/* NULL when there is no home. */
const char *token_file_path(struct arena *arena);
/* Written beside and renamed, so that whoever is interrupted leaves the old token whole. */
CF_CHECKED cf_status token_file_write(struct arena *arena, struct cf_slice token, struct cf_error *err);

#endif

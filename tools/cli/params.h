/* tools/cli/params.h
 *
 * Data on the command line: k=v, k=@file, k=- (standard input), and a whole JSON object from @file
 * or -. Values are strings; a doubled key makes a list. Thread: main.
 */
#ifndef COFFER_CLI_PARAMS_H
#define COFFER_CLI_PARAMS_H

#include "node/base/status.h"
#include "node/format/json.h"
#include "tools/cli/cli.h"

/* Reads arguments `from`.. into a new object. CF_INVALID with the text that follows "Failed to
 * parse K=V data: ". */
CF_CHECKED cf_status params_parse(struct cli *cli, size_t from, struct json **ret,
                                  struct cf_error *err);
/* One k=v without file or standard input, for flags such as -metadata k=v: added to `object`. */
CF_CHECKED cf_status params_add_pair(struct cli *cli, struct json *object, const char *text,
                                     struct cf_error *err);
/* A flag's repeated k=v as an object; NULL (and *ok false after an error line) when malformed. */
struct json *params_pairs(struct cli *cli, const struct strings *pairs, bool *ok);

#endif

/* tools/cli/output.h
 *
 * What the server said, in the format that was asked for: the envelope as a table of its data, as
 * JSON or YAML, or one field of it. All return the command's exit code. Thread: main.
 */
#ifndef COFFER_CLI_OUTPUT_H
#define COFFER_CLI_OUTPUT_H

#include "node/format/json.h"
#include "tools/cli/cli.h"
#include "tools/cli/session.h"
#include "tools/cli/table.h"

/* An answer in the envelope, with -field and -format. For NULL it prints nothing. */
int output_secret(struct cli *cli, const struct reply *reply);
/* A table of some object's members (-format=table), or the object as JSON or YAML; with -field. */
int output_object(struct cli *cli, const struct json *object);
/* A value as JSON or YAML when -format says so: true when it did. */
bool output_machine(struct cli *cli, const struct json *value);
/* The names of a LIST: a table with the heading Keys, or a bare array. */
int output_list(struct cli *cli, const struct reply *reply);
/* A bare value: without a newline, so that scripts get just that, except on a terminal. */
void output_raw(struct cli *cli, struct cf_slice text);
/* One field of an object without newline. Exit code 1 when it is absent. */
int output_field(struct cli *cli, const struct json *object, const char *field);
/* The value behind -field of an envelope; NULL when absent. */
const struct json *output_find_field(struct cli *cli, const struct json *envelope,
                                     const char *field);
/* "WARNING! The following warnings were returned from Vault:" on standard error, if there are. */
void output_warnings(struct cli *cli, const struct json *envelope);
/* Pairs of an object, sorted, durations as such. */
void output_pairs(struct table *table, const struct json *object);
/* The envelope as machines get it: keys in the documented order, without what is absent. */
struct json *output_envelope(struct cli *cli, const struct json *envelope);

#endif

/* tools/cli/render.h
 *
 * JSON values as text for people and scripts: the way the API's Go clients print a value in a table
 * (maps as map[a:1 b:2], lists as [a b], null as <nil>), YAML, and durations. Pure. Thread: any.
 */
#ifndef COFFER_CLI_RENDER_H
#define COFFER_CLI_RENDER_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/slice.h"
#include "node/format/json.h"

/* Go's %v. */
void render_value(struct cf_buf *out, const struct json *value);
/* Go's %q of a list of strings: ["a" "b"]; [] for anything else. */
void render_quoted_list(struct cf_buf *out, const struct json *list);
/* 768h, 1h30m, 5s, 0s. */
void render_duration(struct cf_buf *out, int64_t seconds);
/* Fields whose name says that they hold a time in seconds: ttl, x_ttl, period, lease_max, ... */
bool render_is_duration(struct cf_slice key);
/* As render_value, but a number in such a field as a duration. */
void render_field(struct cf_buf *out, struct cf_slice key, const struct json *value);

/* Block style, keys sorted, strings plain where YAML 1.2 and 1.1 agree on them, else quoted as in
 * JSON. No newline at the end. */
void render_yaml(struct cf_buf *out, const struct json *value);
/* JSON with two blanks a level and sorted keys below the first level. */
void render_json(struct cf_buf *out, struct arena *arena, const struct json *value);

/* Positions of an object's members by key, bytewise; in the arena. */
const uint32_t *render_order(struct arena *arena, const struct json *object);

#endif

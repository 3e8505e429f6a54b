/* node/format/duration.h
 *
 * Durations as the API takes and prints them. Taken are:
 *   a whole number, as JSON number or digits     seconds
 *   numbers with units, ns us ms s m h           "1h30m", "1.5h", "90s"
 *   one whole number with d                      "30d" (does not mix with others)
 * each with one sign in front at most. Everything else is refused: blanks, bare fractions, capital
 * or other units, exponents, and what does not fit into 2^63 ns (292 years), so that nothing that
 * passed overflows later when it is turned into a smaller unit. Zero and the empty text are 0,
 * which callers read as "not given". Negative values pass: some fields give them a meaning, the
 * others refuse them. Thread: any.
 */
#ifndef COFFER_FORMAT_DURATION_H
#define COFFER_FORMAT_DURATION_H

#include <stdint.h>

#include "node/base/slice.h"
#include "node/base/status.h"
#include "node/format/json.h"

#define DURATION_S_MAX (INT64_MAX / 1000000000)

/* In seconds; fractions of a second are cut off. CF_INVALID as above, *ret is then untouched. */
CF_CHECKED cf_status duration_parse(struct cf_slice text, int64_t *ret, struct cf_error *err);
CF_CHECKED cf_status duration_parse_ns(struct cf_slice text, int64_t *ret, struct cf_error *err);

/* From a field of a request: a string or a number; NULL and null are 0. In seconds. */
CF_CHECKED cf_status duration_from_json(const struct json *node, int64_t *ret,
                                        struct cf_error *err);

/* As Go prints them: "3h25m0s", "1m30s", "0s"; below a second "1.5ms", "2µs". Appends. */
void duration_write(struct cf_buf *buf, int64_t seconds);
void duration_write_ns(struct cf_buf *buf, int64_t ns);

#endif

/* node/format/timefmt.h
 *
 * Points in time as text: RFC 3339 in UTC as Go's RFC3339Nano prints it (up to nine decimals
 * without closing zeros, "Z"). Times are int64 ns since 1970, which spans the years 1677 to 2262.
 * Thread: any.
 */
#ifndef COFFER_FORMAT_TIMEFMT_H
#define COFFER_FORMAT_TIMEFMT_H

#include <stdint.h>

#include "node/base/slice.h"
#include "node/base/status.h"

/* A time that was never set, where the API does not use "". */
#define TIMEFMT_NEVER "0001-01-01T00:00:00Z"
#define TIMEFMT_SIZE 31 /* the longest text and its NUL */

/* "2026-03-01T12:00:00.5Z" */
void timefmt_text(int64_t ns, char to[TIMEFMT_SIZE]);
void timefmt_write(struct cf_buf *buf, int64_t ns); /* appends */

/* Takes "Z" or an offset, and any number of decimals (those below a ns are cut off). CF_INVALID for
 * other text, days that the month does not have, leap seconds, years that do not fit. */
CF_CHECKED cf_status timefmt_parse(struct cf_slice text, int64_t *ret_ns, struct cf_error *err);

/* Calendar arithmetic (proleptic Gregorian). */
struct timefmt_civil {
    int64_t year;
    int month, day; /* from 1 */
    int hour, minute, second;
};
struct timefmt_civil timefmt_civil(int64_t seconds); /* since 1970 */
int64_t
timefmt_seconds(const struct timefmt_civil *civil); /* fields in range; year within 0..9999 */

#endif

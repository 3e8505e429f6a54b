/* node/format/timefmt.c: the calendar without the C library (no locale, no time zone, no lock). */
#include "node/format/timefmt.h"

#include <stdio.h>

#define NS_PER_S INT64_C(1000000000)
#define S_PER_DAY INT64_C(86400)
#define DAYS_PER_ERA INT64_C(146097) /* 400 years */
#define DAYS_TO_1970 INT64_C(719468) /* from 1 March of year 0 */

/* Rounds down, unlike division. */
static int64_t floor_div(int64_t value, int64_t by)
{
    return value / by - (value % by < 0);
}

/* Years start in March here, so that the leap day is the last one and month lengths form a line:
 * day 0 of month m (from March) is (153 m + 2) / 5. */
static int64_t days_of(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = floor_div(year, 400);
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * DAYS_PER_ERA + day_of_era - DAYS_TO_1970;
}

struct timefmt_civil timefmt_civil(int64_t seconds)
{
    int64_t days = floor_div(seconds, S_PER_DAY);
    int64_t in_day = seconds - days * S_PER_DAY;
    days += DAYS_TO_1970;
    int64_t era = floor_div(days, DAYS_PER_ERA);
    int64_t day_of_era = days - era * DAYS_PER_ERA;
    /* 1460 days make 4 years less the leap day, 36524 a century, 146096 an era. */
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153; /* from March */
    struct timefmt_civil civil = {
        .day = (int)(day_of_year - (153 * month + 2) / 5 + 1),
        .month = (int)(month < 10 ? month + 3 : month - 9),
        .hour = (int)(in_day / 3600),
        .minute = (int)(in_day / 60 % 60),
        .second = (int)(in_day % 60),
    };
    civil.year = era * 400 + year_of_era + (civil.month <= 2);
    return civil;
}

int64_t timefmt_seconds(const struct timefmt_civil *civil)
{
    return days_of(civil->year, civil->month, civil->day) * S_PER_DAY + civil->hour * 3600 +
           civil->minute * 60 + civil->second;
}

void timefmt_text(int64_t ns, char to[TIMEFMT_SIZE])
{
    int64_t seconds = floor_div(ns, NS_PER_S);
    int64_t fraction = ns % NS_PER_S + (ns % NS_PER_S < 0 ? NS_PER_S : 0);
    struct timefmt_civil at = timefmt_civil(seconds);
    int size = snprintf(to, TIMEFMT_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d", (int)at.year, at.month,
                        at.day, at.hour, at.minute, at.second);
    if (fraction != 0) {
        size += snprintf(to + size, (size_t)(TIMEFMT_SIZE - size), ".%09d", (int)fraction);
        while (to[size - 1] == '0') {
            size--;
        }
    }
    to[size] = 'Z';
    to[size + 1] = '\0';
}

void timefmt_write(struct cf_buf *buf, int64_t ns)
{
    char text[TIMEFMT_SIZE];
    timefmt_text(ns, text);
    cf_buf_add_str(buf, text);
}

/* ---- parsing ---- */

/* `count` digits at the front; false when there are fewer. */
static bool take_number(struct cf_slice *text, size_t count, int *ret)
{
    int value = 0;
    for (size_t i = 0; i < count; i++) {
        if (i >= text->size || text->data[i] < '0' || text->data[i] > '9') {
            return false;
        }
        value = value * 10 + (text->data[i] - '0');
    }
    *text = cf_slice_from(*text, count);
    *ret = value;
    return true;
}

static bool take_byte(struct cf_slice *text, char byte)
{
    bool found = text->size != 0 && text->data[0] == (uint8_t)byte;
    *text = cf_slice_from(*text, found ? 1 : 0);
    return found;
}

static bool take_fraction(struct cf_slice *text, int64_t *ret)
{
    int64_t value = 0, place = NS_PER_S;
    int digit;
    *ret = 0;
    if (!take_byte(text, '.')) {
        return true;
    }
    size_t before = text->size;
    while (take_number(text, 1, &digit)) {
        place /= 10;
        value += place * digit;
    }
    *ret = value;
    return text->size != before;
}

static bool take_offset(struct cf_slice *text, int64_t *ret_s)
{
    int hours, minutes;
    *ret_s = 0;
    if (take_byte(text, 'Z')) {
        return true;
    }
    bool minus = take_byte(text, '-');
    if ((!minus && !take_byte(text, '+')) || !take_number(text, 2, &hours) ||
        !take_byte(text, ':') || !take_number(text, 2, &minutes) || hours > 23 || minutes > 59) {
        return false;
    }
    *ret_s = (minus ? -1 : 1) * (hours * 3600 + minutes * 60);
    return true;
}

static int days_in_month(int64_t year, int month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

static bool take_civil(struct cf_slice *text, struct timefmt_civil *at)
{
    int year;
    if (!take_number(text, 4, &year) || !take_byte(text, '-') ||
        !take_number(text, 2, &at->month) || !take_byte(text, '-') ||
        !take_number(text, 2, &at->day) || !take_byte(text, 'T') ||
        !take_number(text, 2, &at->hour) || !take_byte(text, ':') ||
        !take_number(text, 2, &at->minute) || !take_byte(text, ':') ||
        !take_number(text, 2, &at->second)) {
        return false;
    }
    at->year = year;
    return at->month >= 1 && at->month <= 12 && at->day >= 1 &&
           at->day <= days_in_month(year, at->month) && at->hour < 24 && at->minute < 60 &&
           at->second < 60;
}

cf_status timefmt_parse(struct cf_slice text, int64_t *ret_ns, struct cf_error *err)
{
    struct timefmt_civil at;
    struct cf_slice rest = text;
    int64_t fraction, offset, ns;
    if (!take_civil(&rest, &at) || !take_fraction(&rest, &fraction) ||
        !take_offset(&rest, &offset) || rest.size != 0) {
        return cf_fail(err, CF_INVALID, "invalid time \"%.*s\"", CF_SHOW(cf_slice_first(text, 40)));
    }
    /* In 128 bits: the first second that fits begins before the first ns that does. */
    __int128 wide = (__int128)(timefmt_seconds(&at) - offset) * NS_PER_S + fraction;
    ns = (int64_t)wide;
    if (ns != wide) {
        return cf_fail(err, CF_INVALID, "time \"%.*s\" out of range",
                       CF_SHOW(cf_slice_first(text, 40)));
    }
    *ret_ns = ns;
    return CF_OK;
}

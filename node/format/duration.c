/* node/format/duration.c: Go's notation for durations, and the days that Vault adds to it. */
#include "node/format/duration.h"

#include "node/base/memory.h"

#define NS_PER_S UINT64_C(1000000000)
#define TEXT_MAX 128 /* no sensible duration is longer */

static const struct {
    const char *name;
    uint64_t ns;
} units[] = {
    {"ns", 1},       {"us", 1000},         {"ms", 1000000},
    {"s", NS_PER_S}, {"m", 60 * NS_PER_S}, {"h", 3600 * NS_PER_S},
};

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* The digits at the front of *text, which then starts behind them. */
static struct cf_slice take_digits(struct cf_slice *text)
{
    size_t count = 0;
    while (count < text->size && is_digit(text->data[count])) {
        count++;
    }
    struct cf_slice digits = cf_slice_first(*text, count);
    *text = cf_slice_from(*text, count);
    return digits;
}

/* digits times unit; false on overflow. */
static bool whole_part(struct cf_slice digits, uint64_t unit, uint64_t *ret)
{
    uint64_t value = 0;
    for (size_t i = 0; i < digits.size; i++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(digits.data[i] - '0'), &value)) {
            return false;
        }
    }
    return !__builtin_mul_overflow(value, unit, ret);
}

/* What stands behind the point, always less than unit; beyond 15 digits nothing changes a ns. */
static uint64_t fraction_part(struct cf_slice digits, uint64_t unit)
{
    uint64_t value = 0, place = 1;
    for (size_t i = 0; i < cf_min(digits.size, 15); i++) {
        value = value * 10 + (uint64_t)(digits.data[i] - '0');
        place *= 10;
    }
    return (uint64_t)((unsigned __int128)value * unit / place);
}

/* The unit at the front of *text in ns, 0 when there is none. Units end at a digit or a point. */
static uint64_t take_unit(struct cf_slice *text)
{
    size_t size = 0;
    while (size < text->size && !is_digit(text->data[size]) && text->data[size] != '.') {
        size++;
    }
    struct cf_slice name = cf_slice_first(*text, size);
    *text = cf_slice_from(*text, size);
    for (size_t i = 0; i < CF_LENGTH(units); i++) {
        if (cf_slice_is(name, units[i].name)) {
            return units[i].ns;
        }
    }
    return 0;
}

/* "1h", "1.5h", ".5h"; adds to *total. */
static bool take_term(struct cf_slice *text, uint64_t *total)
{
    struct cf_slice whole = take_digits(text), fraction = CF_SLICE_EMPTY;
    if (text->size != 0 && text->data[0] == '.') {
        *text = cf_slice_from(*text, 1);
        fraction = take_digits(text);
    }
    uint64_t unit = take_unit(text), ns;
    return unit != 0 && whole.size + fraction.size != 0 && whole_part(whole, unit, &ns) &&
           !__builtin_add_overflow(*total, ns, total) &&
           !__builtin_add_overflow(*total, fraction_part(fraction, unit), total);
}

/* Text without sign to ns. */
static bool magnitude(struct cf_slice text, uint64_t *ret)
{
    struct cf_slice rest = text;
    struct cf_slice digits = take_digits(&rest);
    *ret = 0;
    if (digits.size != 0 && rest.size == 0) {
        return whole_part(digits, NS_PER_S, ret);
    }
    if (digits.size != 0 && cf_slice_is(rest, "d")) {
        return whole_part(digits, 24 * 3600 * NS_PER_S, ret);
    }
    while (text.size != 0) {
        if (!take_term(&text, ret)) {
            return false;
        }
    }
    return true;
}

cf_status duration_parse_ns(struct cf_slice text, int64_t *ret, struct cf_error *err)
{
    if (text.size == 0) {
        *ret = 0;
        return CF_OK;
    }
    bool minus = text.data[0] == '-';
    struct cf_slice rest = cf_slice_from(text, minus || text.data[0] == '+' ? 1 : 0);
    uint64_t ns;
    if (rest.size == 0 || text.size > TEXT_MAX || !magnitude(rest, &ns) || ns > INT64_MAX) {
        return cf_fail(err, CF_INVALID, "invalid duration \"%.*s\"",
                       CF_SHOW(cf_slice_first(text, 40)));
    }
    *ret = minus ? -(int64_t)ns : (int64_t)ns;
    return CF_OK;
}

cf_status duration_parse(struct cf_slice text, int64_t *ret, struct cf_error *err)
{
    int64_t ns;
    CF_TRY(duration_parse_ns(text, &ns, err));
    *ret = ns / (int64_t)NS_PER_S;
    return CF_OK;
}

cf_status duration_from_json(const struct json *node, int64_t *ret, struct cf_error *err)
{
    struct cf_slice text;
    int64_t seconds;
    if (node == NULL || node->type == JSON_NULL) {
        *ret = 0;
        return CF_OK;
    }
    if (json_string(node, &text)) {
        return duration_parse(text, ret, err);
    }
    if (json_int64(node, &seconds) && seconds <= DURATION_S_MAX && seconds >= -DURATION_S_MAX) {
        *ret = seconds;
        return CF_OK;
    }
    return cf_fail(err, CF_INVALID, "invalid duration: expected seconds or a text like \"1h30m\"");
}

/* ---- printing ---- */

/* value / unit with as many decimals as it takes. */
static void write_decimal(struct cf_buf *buf, uint64_t value, uint64_t unit)
{
    cf_buf_addf(buf, "%llu", (unsigned long long)(value / unit));
    uint64_t rest = value % unit;
    if (rest != 0) {
        cf_buf_add_byte(buf, '.');
    }
    while (rest != 0) {
        unit /= 10;
        cf_buf_add_byte(buf, (uint8_t)('0' + rest / unit));
        rest %= unit;
    }
}

static void write_magnitude(struct cf_buf *buf, uint64_t seconds, uint64_t ns)
{
    if (seconds == 0 && ns != 0) {
        const char *name = ns < 1000 ? "ns" : ns < 1000000 ? "\xc2\xb5s" : "ms";
        write_decimal(buf, ns, ns < 1000 ? 1 : ns < 1000000 ? 1000 : 1000000);
        cf_buf_add_str(buf, name);
        return;
    }
    if (seconds >= 3600) {
        cf_buf_addf(buf, "%lluh", (unsigned long long)(seconds / 3600));
    }
    if (seconds >= 60) {
        cf_buf_addf(buf, "%llum", (unsigned long long)(seconds / 60 % 60));
    }
    write_decimal(buf, seconds % 60 * NS_PER_S + ns, NS_PER_S);
    cf_buf_add_byte(buf, 's');
}

void duration_write(struct cf_buf *buf, int64_t seconds)
{
    if (seconds < 0) {
        cf_buf_add_byte(buf, '-');
    }
    write_magnitude(buf, seconds < 0 ? 0 - (uint64_t)seconds : (uint64_t)seconds, 0);
}

void duration_write_ns(struct cf_buf *buf, int64_t ns)
{
    uint64_t value = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    if (ns < 0) {
        cf_buf_add_byte(buf, '-');
    }
    write_magnitude(buf, value / NS_PER_S, value % NS_PER_S);
}

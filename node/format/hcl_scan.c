/* node/format/hcl_scan.c: the words of HCL: comments, strings, heredocs, numbers. */
#include <string.h>

#include "node/base/memory.h"
#include "node/format/hcl_int.h"
#include "node/format/utf8.h"

uint32_t hcl_column(const struct hcl_scan *s)
{
    return (uint32_t)(s->at - s->line_start) + 1;
}

cf_status hcl_fail(struct hcl_scan *s, const char *what)
{
    return cf_fail(s->err, CF_INVALID, "line %u, column %u: %s", s->line, hcl_column(s), what);
}

/* s->at is at a newline. */
static void pass_newline(struct hcl_scan *s)
{
    s->at++;
    s->line++;
    s->line_start = s->at;
}

/* ---- between the words ---- */

static void skip_to_line_end(struct hcl_scan *s)
{
    uint8_t *newline = memchr(s->at, '\n', (size_t)(s->end - s->at));
    s->at = newline != NULL ? newline : s->end;
}

static cf_status skip_block_comment(struct hcl_scan *s)
{
    struct hcl_scan start = *s;
    s->at += 2;
    while (s->at[0] != '*' || s->at[1] != '/') {
        if (s->at == s->end) {
            return hcl_fail(&start, "comment without end");
        } else if (*s->at == '\n') {
            pass_newline(s);
        } else {
            s->at++;
        }
    }
    s->at += 2;
    return CF_OK;
}

cf_status hcl_skip(struct hcl_scan *s)
{
    for (;;) {
        if (*s->at == ' ' || *s->at == '\t' || *s->at == '\r') {
            s->at++;
        } else if (*s->at == '\n') {
            pass_newline(s);
        } else if (*s->at == '#' || (s->at[0] == '/' && s->at[1] == '/')) {
            skip_to_line_end(s);
        } else if (s->at[0] == '/' && s->at[1] == '*') {
            CF_TRY(skip_block_comment(s));
        } else {
            return CF_OK;
        }
    }
}

/* ---- identifiers and numbers ---- */

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

bool hcl_is_identifier_start(uint8_t byte)
{
    uint8_t lower = byte | 0x20;
    return (lower >= 'a' && lower <= 'z') || byte == '_' || byte >= 0x80;
}

struct cf_slice hcl_scan_identifier(struct hcl_scan *s)
{
    const uint8_t *start = s->at;
    while (hcl_is_identifier_start(*s->at) || is_digit(*s->at) || *s->at == '-' || *s->at == '.') {
        s->at++;
    }
    return cf_slice_of(start, (size_t)(s->at - start));
}

/* At least one digit, or false. */
static bool pass_digits(struct hcl_scan *s)
{
    const uint8_t *start = s->at;
    while (is_digit(*s->at)) {
        s->at++;
    }
    return s->at != start;
}

static bool pass_hex(struct hcl_scan *s)
{
    const uint8_t *start = s->at;
    while (is_digit(*s->at) || ((*s->at | 0x20) >= 'a' && (*s->at | 0x20) <= 'f')) {
        s->at++;
    }
    return s->at != start;
}

static bool pass_decimal(struct hcl_scan *s)
{
    if (!pass_digits(s)) {
        return false;
    }
    if (*s->at == '.') {
        s->at++;
        if (!pass_digits(s)) {
            return false;
        }
    }
    if (*s->at == 'e' || *s->at == 'E') {
        s->at++;
        s->at += *s->at == '+' || *s->at == '-';
        return pass_digits(s);
    }
    return true;
}

cf_status hcl_scan_number(struct hcl_scan *s, struct cf_slice *ret)
{
    const uint8_t *start = s->at;
    bool ok;
    s->at += *s->at == '-';
    if (s->at[0] == '0' && (s->at[1] | 0x20) == 'x') {
        s->at += 2;
        ok = pass_hex(s);
    } else {
        ok = pass_decimal(s);
    }
    /* "1h" without quotes is a duration that lacks them, not a number and a key. */
    if (!ok || hcl_is_identifier_start(*s->at) || *s->at == '.') {
        return hcl_fail(s, "malformed number (texts need quotes)");
    }
    *ret = cf_slice_of(start, (size_t)(s->at - start));
    return CF_OK;
}

/* ---- quoted strings ---- */

/* Four hex digits; false when there are not four. */
static bool hex4(const uint8_t *from, uint32_t *ret)
{
    *ret = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t lower = from[i] | 0x20;
        if (is_digit(from[i])) {
            *ret = *ret << 4 | (uint32_t)(from[i] - '0');
        } else if (lower >= 'a' && lower <= 'f') {
            *ret = *ret << 4 | (uint32_t)(lower - 'a' + 10);
        } else {
            return false;
        }
    }
    return true;
}

/* s->at is at the first digit. Pairs of surrogates make one character, as in JSON. */
static cf_status unicode_escape(struct hcl_scan *s, uint8_t **to)
{
    uint32_t code, low;
    if (!hex4(s->at, &code) || code == 0) {
        return hcl_fail(s, "malformed \\u escape");
    }
    s->at += 4;
    if (code >= 0xd800 && code <= 0xdfff) {
        if (code > 0xdbff || s->at[0] != '\\' || s->at[1] != 'u' || !hex4(s->at + 2, &low) ||
            low < 0xdc00 || low > 0xdfff) {
            return hcl_fail(s, "lone surrogate");
        }
        s->at += 6;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    *to += utf8_encode(code, *to);
    return CF_OK;
}

/* s->at is at the backslash. */
static cf_status escape(struct hcl_scan *s, uint8_t **to)
{
    static const char names[] = "ntr\"\\/bf", bytes[] = "\n\t\r\"\\/\b\f";
    uint8_t byte = s->at[1];
    if (byte == 'u') {
        s->at += 2;
        return unicode_escape(s, to);
    }
    const char *name = byte != '\0' ? strchr(names, byte) : NULL;
    if (name == NULL || (!s->is_json && name - names >= 5)) {
        return hcl_fail(s, "unknown escape");
    }
    *(*to)++ = (uint8_t)bytes[name - names];
    s->at += 2;
    return CF_OK;
}

/* "${...}" as it stands, quotes, newlines and inner braces included. s->at is at the dollar. */
static cf_status interpolation(struct hcl_scan *s, uint8_t **to)
{
    struct hcl_scan start = *s;
    size_t braces = 0;
    do {
        if (s->at == s->end) {
            return hcl_fail(&start, "${ without end");
        }
        braces += *s->at == '{';
        braces -= *s->at == '}';
        *(*to)++ = *s->at;
        if (*s->at == '\n') {
            pass_newline(s);
        } else {
            s->at++;
        }
    } while (braces != 0 || s->at[-1] != '}');
    return CF_OK;
}

cf_status hcl_scan_string(struct hcl_scan *s, struct cf_slice *ret)
{
    struct hcl_scan quote = *s;
    uint8_t *start = ++s->at, *to = start;
    while (*s->at != '"') {
        if (s->at == s->end || *s->at == '\n') {
            return hcl_fail(&quote, "string without end");
        } else if (*s->at == '\\') {
            CF_TRY(escape(s, &to));
        } else if (s->at[0] == '$' && s->at[1] == '{' && !s->is_json) {
            CF_TRY(interpolation(s, &to));
        } else {
            *to++ = *s->at++;
        }
    }
    s->at++;
    *ret = cf_slice_of(start, (size_t)(to - start));
    return CF_OK;
}

/* ---- heredocs ---- */

/* The line at s->at without blanks in front and a carriage return behind. */
static struct cf_slice bare_line(const struct hcl_scan *s)
{
    struct cf_slice line = cf_slice_of(s->at, (size_t)(s->end - s->at));
    line = cf_slice_first(line, cf_slice_find(line, '\n'));
    while (line.size != 0 && (line.data[0] == ' ' || line.data[0] == '\t')) {
        line = cf_slice_from(line, 1);
    }
    while (line.size != 0 && line.data[line.size - 1] == '\r') {
        line.size--;
    }
    return line;
}

/* Takes `indent` off every line, in place, provided that every line has it. */
static struct cf_slice unindent(uint8_t *text, size_t size, struct cf_slice indent)
{
    struct cf_slice whole = cf_slice_of(text, size), rest = whole;
    while (rest.size != 0) {
        if (!cf_slice_starts(rest, indent)) {
            return whole;
        }
        rest = cf_slice_from(rest, cf_slice_find(rest, '\n') + 1);
    }
    uint8_t *to = text;
    for (rest = whole; rest.size != 0;) {
        rest = cf_slice_from(rest, indent.size);
        size_t line = cf_min(cf_slice_find(rest, '\n') + 1, rest.size);
        memmove(to, rest.data, line);
        to += line;
        rest = cf_slice_from(rest, line);
    }
    return cf_slice_of(text, (size_t)(to - text));
}

/* Behind the line that opens it. */
static cf_status heredoc_body(struct hcl_scan *s, struct cf_slice marker, bool is_indented,
                              const struct hcl_scan *start, struct cf_slice *ret)
{
    uint8_t *body = s->at;
    for (;;) {
        struct cf_slice line = bare_line(s);
        if (cf_slice_eq(line, marker)) {
            size_t size = (size_t)(s->at - body), indent = (size_t)(line.data - s->at);
            struct cf_slice blanks = cf_slice_of(s->at, indent);
            s->at += indent + marker.size;
            *ret = is_indented ? unindent(body, size, blanks) : cf_slice_of(body, size);
            return CF_OK;
        }
        skip_to_line_end(s);
        if (s->at == s->end) {
            struct hcl_scan at_start = *start;
            return hcl_fail(&at_start, "heredoc without end");
        }
        pass_newline(s);
    }
}

cf_status hcl_scan_heredoc(struct hcl_scan *s, struct cf_slice *ret)
{
    struct hcl_scan start = *s;
    s->at += 2;
    bool is_indented = *s->at == '-';
    s->at += is_indented;
    const uint8_t *marker_start = s->at;
    while (hcl_is_identifier_start(*s->at) || is_digit(*s->at)) {
        s->at++;
    }
    struct cf_slice marker = cf_slice_of(marker_start, (size_t)(s->at - marker_start));
    s->at += *s->at == '\r';
    if (marker.size == 0 || *s->at != '\n') {
        return hcl_fail(s, "a heredoc's marker must end its line");
    }
    pass_newline(s);
    return heredoc_body(s, marker, is_indented, &start, ret);
}

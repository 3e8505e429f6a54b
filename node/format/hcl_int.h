/* node/format/hcl_int.h: what the scanner (hcl_scan.c) and the parser (hcl.c) share. */
#ifndef COFFER_FORMAT_HCL_INT_H
#define COFFER_FORMAT_HCL_INT_H

#include "node/format/hcl.h"

/* The arena's own copy of the text, known to be UTF-8 without NUL, followed by a NUL that stops
 * every scan. Strings are decoded in place, which never makes them longer: slices point into the
 * copy. */
struct hcl_scan {
    struct arena *arena;
    uint8_t *at, *end;
    const uint8_t *line_start;
    uint32_t line;
    uint32_t depth, values;
    bool is_json;
    struct cf_error *err;
};

/* CF_INVALID with the position of s->at. */
cf_status hcl_fail(struct hcl_scan *s, const char *what);
uint32_t hcl_column(const struct hcl_scan *s);

/* White space, newlines and comments. CF_INVALID for a comment that does not end. */
CF_CHECKED cf_status hcl_skip(struct hcl_scan *s);

bool hcl_is_identifier_start(uint8_t byte);
/* s->at is at such a byte. */
struct cf_slice hcl_scan_identifier(struct hcl_scan *s);
/* s->at is at the quote. */
CF_CHECKED cf_status hcl_scan_string(struct hcl_scan *s, struct cf_slice *ret);
/* s->at is at "<<". */
CF_CHECKED cf_status hcl_scan_heredoc(struct hcl_scan *s, struct cf_slice *ret);
/* s->at is at a digit or a sign. */
CF_CHECKED cf_status hcl_scan_number(struct hcl_scan *s, struct cf_slice *ret);

#endif

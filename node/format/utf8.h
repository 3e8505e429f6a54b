/* node/format/utf8.h
 *
 * UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. Thread: any.
 */
#ifndef COFFER_FORMAT_UTF8_H
#define COFFER_FORMAT_UTF8_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/slice.h"

/* Length 1..4 of the well-formed sequence that starts at `at` (at < end), 0 when there is none. */
unsigned utf8_length(const uint8_t *at, const uint8_t *end);
bool utf8_valid(struct cf_slice text);
/* Writes a code point (no surrogate, at most U+10FFFF); returns how many bytes, 1..4. */
unsigned utf8_encode(uint32_t code, uint8_t to[4]);

#endif

/* node/format/hcl.h
 *
 * Reader for HCL 1, the language of server configurations and policies, and for its JSON form (a
 * text whose first character is "{"). Strings are UTF-8 without NUL; what stands in ${...} passes
 * through untouched. Items keep their order and are never merged.
 *
 * One thing can be written in several ways:
 *     path "a" { x = 1 }      path = { "a" = { x = 1 } }      {"path": [{"a": {"x": 1}}]}
 * and only the reader of the file knows how many labels a block of that name has. It says so to
 * hcl_blocks(), which turns any of these into the first. All memory is the arena's, which must
 * outlive the nodes; the text may go away. Thread: the arena's owner.
 *
 * Errors are CF_INVALID and start with "line L, column C: " (both from 1, the column in bytes).
 */
#ifndef COFFER_FORMAT_HCL_H
#define COFFER_FORMAT_HCL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/arena.h"
#include "node/base/slice.h"
#include "node/base/status.h"

#define HCL_SIZE_MAX ((size_t)1 << 20) /* of the text */
#define HCL_DEPTH_MAX 64               /* objects and lists within each other */
#define HCL_VALUES_MAX 200000
#define HCL_LABELS_MAX 8 /* of one block */

enum hcl_type {
    HCL_NULL, /* JSON form only */
    HCL_BOOL,
    HCL_NUMBER, /* text: as in the source */
    HCL_STRING, /* text: decoded; heredocs too */
    HCL_LIST,
    HCL_OBJECT,
};

struct hcl_item;

struct hcl_value {
    enum hcl_type type;
    uint32_t line, column;
    uint32_t count; /* of a list or an object */
    union {
        bool boolean;
        struct cf_slice text;
        struct hcl_value *values;
        struct hcl_item *items;
    };
};

/* key [labels...] { ... }   or   key = value (then without labels) */
struct hcl_item {
    struct cf_slice key;
    uint32_t line, column;
    uint32_t label_count;
    struct cf_slice *labels;
    struct hcl_value value;
};

/* The whole text as an object. CF_TOO_LARGE above HCL_SIZE_MAX. */
CF_CHECKED cf_status hcl_parse(struct arena *arena, struct cf_slice text,
                               const struct hcl_value **ret, struct cf_error *err);

/* The item as blocks of exactly `labels` labels, each with an object as its value, in the order of
 * the text. CF_INVALID when it has more labels, or when what should be a block is none. */
CF_CHECKED cf_status hcl_blocks(struct arena *arena, const struct hcl_item *item, unsigned labels,
                                const struct hcl_item **ret, size_t *ret_count,
                                struct cf_error *err);

/* The last value of a key without labels, or NULL. NULL and other types have no keys. */
const struct hcl_value *hcl_get(const struct hcl_value *object, const char *key);

/* A list, or one value that stands for a list of one (as HCL reads it); null is empty. */
size_t hcl_count(const struct hcl_value *value);
const struct hcl_value *hcl_at(const struct hcl_value *value, size_t at);

/* ---- conversions, as lenient as HCL's own; `name` is what the error calls the value ---- */

/* A string or the text of a number. */
CF_CHECKED cf_status hcl_to_string(const struct hcl_value *value, const char *name,
                                   struct cf_slice *ret, struct cf_error *err);
/* true, false, also as strings; 1 and 0. */
CF_CHECKED cf_status hcl_to_bool(const struct hcl_value *value, const char *name, bool *ret,
                                 struct cf_error *err);
/* Decimal, 0x..., 0... (octal), also as strings. */
CF_CHECKED cf_status hcl_to_int(const struct hcl_value *value, const char *name, int64_t *ret,
                                struct cf_error *err);
/* Seconds or a text as in duration.h. In seconds. */
CF_CHECKED cf_status hcl_to_duration(const struct hcl_value *value, const char *name, int64_t *ret,
                                     struct cf_error *err);

/* The known name that differs least from a misspelt one, or NULL when none is near. */
const char *hcl_nearest(struct cf_slice name, const char *const *known, size_t count);

#endif

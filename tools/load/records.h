/* tools/load/records.h
 *
 * Documents to import: a file of JSON lines (an object a line) or a Debian package index (RFC 822
 * stanzas, as `apt-cache dumpavail` and Packages files have them), told apart by the first
 * character. Each document has a path; of two with one path the last counts. Thread: its owner's.
 */
#ifndef COFFER_LOAD_RECORDS_H
#define COFFER_LOAD_RECORDS_H

#include <stdbool.h>

#include "node/base/own.h"
#include "node/base/slice.h"
#include "node/base/status.h"

struct records;

/* Where a document's path comes from:
 *   "Package"            the field of that name
 *   "{Package}/{Version}"  a template of fields
 *   NULL                 an index: the field Package; JSON lines: {"path": "...", "data": {...}} */
struct records_options {
    const char *key;
    const char *prefix; /* put before each path; may be empty or NULL */
};

/* Takes the text over a copy of its own. CF_INVALID with the line when something is malformed, has
 * no key, or a key that cannot be a path. */
CF_CHECKED cf_status records_parse(struct cf_slice text, const struct records_options *options,
                                   struct records **ret, struct cf_error *err);
/* Reads a file, or standard input for "-". */
CF_CHECKED cf_status records_load(const char *path, const struct records_options *options,
                                  struct records **ret, struct cf_error *err);
/* An empty set that records_add() fills. */
struct records *records_new(void);
void records_free(struct records *records); /* NULL is fine */
CF_DEFINE_OWNED(records);
/* A document of JSON text; both are copied. */
void records_add(struct records *records, struct cf_slice path, struct cf_slice json);

size_t records_count(const struct records *records);
size_t records_repeated(const struct records *records); /* dropped for a later one */
/* Borrowed. */
struct cf_slice records_path(const struct records *records, size_t at);
/* True when there is a document with this path. */
bool records_has(const struct records *records, struct cf_slice path);
/* Appends the document as a JSON object. */
void records_write(const struct records *records, size_t at, struct cf_buf *out);

#endif

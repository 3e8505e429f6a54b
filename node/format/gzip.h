/* node/format/gzip.h
 *
 * gzip (RFC 1952) as a stream, in and out, over zlib: this file's .c is its only user. What is
 * written is ciphertext as a rule, so it is framed and checksummed, not compressed. Blocking as its
 * source and sink are. Thread: its owner's.
 */
#ifndef COFFER_FORMAT_GZIP_H
#define COFFER_FORMAT_GZIP_H

#include "node/base/own.h"
#include "node/base/slice.h"
#include "node/base/status.h"

/* Takes bytes; a failure ends the stream. */
struct gzip_sink {
    cf_status (*write)(void *context, struct cf_slice bytes, struct cf_error *err);
    void *context;
};
/* Gives 1..size bytes, or *ret 0 at the end. */
struct gzip_source {
    cf_status (*read)(void *context, void *to, size_t size, size_t *ret, struct cf_error *err);
    void *context;
};

struct gzip_out;
struct gzip_out *gzip_out_new(const struct gzip_sink *sink);
void gzip_out_free(struct gzip_out *out); /* NULL is fine */
CF_DEFINE_OWNED(gzip_out);
CF_CHECKED cf_status gzip_out_add(struct gzip_out *out, struct cf_slice bytes, struct cf_error *err);
/* The trailer with checksum and size. Nothing may be added afterwards. */
CF_CHECKED cf_status gzip_out_end(struct gzip_out *out, struct cf_error *err);

struct gzip_in;
struct gzip_in *gzip_in_new(const struct gzip_source *source);
void gzip_in_free(struct gzip_in *in); /* NULL is fine */
CF_DEFINE_OWNED(gzip_in);
/* Fills `to` whole, unless the end comes before: *ret is then what there was. CF_INVALID for what is
 * no gzip, is damaged, breaks off, or goes on behind its end. */
CF_CHECKED cf_status gzip_in_read(struct gzip_in *in, void *to, size_t size, size_t *ret,
                                  struct cf_error *err);

#endif

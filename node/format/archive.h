/* node/format/archive.h
 *
 * The archive of a cluster's state, as sys/storage/raft/snapshot gives and takes it: a gzip tar of
 * exactly these files, in this order:
 *
 *   meta.json            what it is of: format, index, term, cluster, seal, records, bytes
 *   state.bin            "coffer-state" 1, then records in key order: u32 key size, u32 value size
 *                        (big-endian), key (class, namespace, name), value as the barrier sealed it;
 *                        last a record of two zero sizes and a u64: how many there were
 *   SHA256SUMS           lines "<hex>  <name>" of the two
 *   SHA256SUMS.sealed    proof by the root key that the sums are the cluster's own
 *
 * Read and written as a stream; memory does not grow with the state. The hash is given, so that this
 * folder needs no library for it. Thread: its owner's; blocks as source and sink do.
 */
#ifndef COFFER_FORMAT_ARCHIVE_H
#define COFFER_FORMAT_ARCHIVE_H

#include "node/format/gzip.h"
#include "node/format/tar.h"

#define ARCHIVE_META "meta.json"
#define ARCHIVE_STATE "state.bin"
#define ARCHIVE_SUMS "SHA256SUMS"
#define ARCHIVE_SEALED "SHA256SUMS.sealed"
#define ARCHIVE_META_MAX ((size_t)8 << 20)
#define ARCHIVE_SMALL_MAX ((size_t)4096)       /* of the last two */
#define ARCHIVE_KEY_MAX ((size_t)5 + 4096)     /* class, namespace, name */
#define ARCHIVE_VALUE_MAX ((size_t)16 << 20)
#define ARCHIVE_DIGEST 32

/* SHA-256. */
struct archive_hash {
    void *(*open)(void);
    void (*add)(void *hash, struct cf_slice bytes);
    void (*end)(void *hash, uint8_t ret[ARCHIVE_DIGEST]); /* frees it */
};

/* Bytes of state.bin for records of that many bytes of keys and values. */
uint64_t archive_state_size(uint64_t records, uint64_t bytes);

struct archive_out;
struct archive_out *archive_out_new(const struct gzip_sink *sink, const struct archive_hash *hash,
                                    int64_t mtime_s);
void archive_out_free(struct archive_out *out); /* NULL is fine */
CF_DEFINE_OWNED(archive_out);
/* In this order: meta, begin, each record, end, and sealed with what proves the sums. CF_INTERNAL when
 * the records are not those that begin was told of. */
CF_CHECKED cf_status archive_out_meta(struct archive_out *out, struct cf_slice json,
                                      struct cf_error *err);
CF_CHECKED cf_status archive_out_begin(struct archive_out *out, uint64_t records, uint64_t bytes,
                                       struct cf_error *err);
CF_CHECKED cf_status archive_out_record(struct archive_out *out, struct cf_slice key,
                                        struct cf_slice value, struct cf_error *err);
/* *ret_sums: the text of SHA256SUMS, borrowed. */
CF_CHECKED cf_status archive_out_end(struct archive_out *out, struct cf_slice *ret_sums,
                                     struct cf_error *err);
CF_CHECKED cf_status archive_out_sealed(struct archive_out *out, struct cf_slice proof,
                                        struct cf_error *err);

/* What a reader is told, in this order; a failure ends the reading. Slices are borrowed for the call.
 * Nothing may be done for good before archive_read has returned CF_OK. */
struct archive_visit {
    void *context;
    cf_status (*meta)(void *context, struct cf_slice json, struct cf_error *err);
    cf_status (*record)(void *context, struct cf_slice key, struct cf_slice value,
                        struct cf_error *err);
    cf_status (*sealed)(void *context, struct cf_slice sums, struct cf_slice proof,
                        struct cf_error *err);
};
struct archive_totals {
    uint64_t records, bytes; /* bytes: of keys and values */
};
/* Reads and checks all of it: framing, order, sizes, keys that rise, both digests. CF_INVALID says
 * what is wrong; CF_UNSUPPORTED: a state.bin of a newer format. */
CF_CHECKED cf_status archive_read(const struct gzip_source *source, const struct archive_hash *hash,
                                  const struct archive_visit *visit, struct archive_totals *ret,
                                  struct cf_error *err);

#endif

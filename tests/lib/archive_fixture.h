/* tests/lib/archive_fixture.h: archives in memory, with a checksum that is good enough for tests. */
#ifndef COFFER_TEST_ARCHIVE_H
#define COFFER_TEST_ARCHIVE_H

#include <stdio.h>
#include <string.h>

#include "node/base/map.h"
#include "node/base/memory.h"
#include "node/format/archive.h"

static void *plain_open(void)
{
    return cf_new(struct cf_buf);
}
static void plain_add(void *hash, struct cf_slice bytes)
{
    cf_buf_add_slice(hash, bytes);
}
static void plain_end(void *hash, uint8_t ret[ARCHIVE_DIGEST])
{
    static const uint8_t key[16] = "archives";
    memset(ret, 0, ARCHIVE_DIGEST);
    cf_put_u64(ret, cf_siphash(key, cf_buf_slice(hash)));
    cf_buf_done(hash);
    cf_free(hash);
}
static const struct archive_hash plain_hash = {plain_open, plain_add, plain_end};

static cf_status into_buf(void *context, struct cf_slice bytes, struct cf_error *err)
{
    (void)err;
    cf_buf_add_slice(context, bytes);
    return CF_OK;
}

struct from_slice {
    struct cf_slice left;
    size_t most; /* bytes a read */
};
static cf_status out_of_slice(void *context, void *to, size_t size, size_t *ret, struct cf_error *err)
{
    struct from_slice *from = context;
    (void)err;
    *ret = cf_min(cf_min(size, from->most), from->left.size);
    if (*ret != 0) {
        memcpy(to, from->left.data, *ret);
    }
    from->left = cf_slice_from(from->left, *ret);
    return CF_OK;
}

/* count records "k0000".. with values of growing sizes. False: the writer refused. */
static inline bool make_archive(struct cf_buf *to, unsigned count)
{
    struct gzip_sink sink = {into_buf, to};
    CF_OWNED(archive_out) out = archive_out_new(&sink, &plain_hash, 1);
    static const uint8_t value[5000];
    struct cf_slice sums;
    char key[16];
    uint64_t bytes = 0;
    for (unsigned i = 0; i < count; i++) {
        bytes += 5 + i * 7 % sizeof(value);
    }
    bool fine = archive_out_meta(out, CF_SLICE("{\"format\":1}"), NULL) == CF_OK &&
                archive_out_begin(out, count, bytes, NULL) == CF_OK;
    for (unsigned i = 0; fine && i < count; i++) {
        (void)snprintf(key, sizeof(key), "k%04u", i);
        fine = archive_out_record(out, cf_slice_str(key),
                                  cf_slice_of(value, i * 7 % sizeof(value)), NULL) == CF_OK;
    }
    return fine && archive_out_end(out, &sums, NULL) == CF_OK &&
           archive_out_sealed(out, CF_SLICE("proof"), NULL) == CF_OK;
}

struct seen {
    unsigned metas, records, proofs;
};
static cf_status see_meta(void *context, struct cf_slice json, struct cf_error *err)
{
    (void)json;
    (void)err;
    ((struct seen *)context)->metas++;
    return CF_OK;
}
static cf_status see_record(void *context, struct cf_slice key, struct cf_slice value,
                            struct cf_error *err)
{
    (void)key;
    (void)value;
    (void)err;
    ((struct seen *)context)->records++;
    return CF_OK;
}
static cf_status see_proof(void *context, struct cf_slice sums, struct cf_slice proof,
                           struct cf_error *err)
{
    (void)sums;
    (void)proof;
    (void)err;
    ((struct seen *)context)->proofs++;
    return CF_OK;
}

static inline cf_status read_archive(struct cf_slice bytes, size_t most, struct seen *seen,
                                     struct archive_totals *totals, struct cf_error *err)
{
    struct from_slice from = {bytes, most};
    struct gzip_source source = {out_of_slice, &from};
    struct archive_visit visit = {seen, see_meta, see_record, see_proof};
    *seen = (struct seen){0};
    return archive_read(&source, &plain_hash, &visit, totals, err);
}

#endif

/* node/format/archive.c: writing archives of a cluster's state. */
#include "node/format/archive.h"

#include <string.h>

#include "node/base/memory.h"
#include "node/format/archive_int.h"
#include "node/format/encode.h"

#define GATHER ((size_t)256 << 10)

struct archive_out {
    struct archive_hash hash_ops;
    struct gzip_out *gzip;
    int64_t mtime_s;
    void *hash;             /* of the file under way; NULL: none */
    uint64_t left, size;    /* bytes of the file under way */
    uint64_t records_left, records;
    struct cf_buf gather, sums;
};

uint64_t archive_state_size(uint64_t records, uint64_t bytes)
{
    return ARCHIVE_MAGIC_SIZE + bytes + (records + 1) * ARCHIVE_RECORD_HEADER + 8;
}

struct archive_out *archive_out_new(const struct gzip_sink *sink, const struct archive_hash *hash,
                                    int64_t mtime_s)
{
    struct archive_out *out = cf_new(struct archive_out);
    out->hash_ops = *hash;
    out->mtime_s = mtime_s;
    out->gzip = gzip_out_new(sink);
    return out;
}

void archive_out_free(struct archive_out *out)
{
    if (out != NULL) {
        uint8_t unused[ARCHIVE_DIGEST];
        if (out->hash != NULL) {
            out->hash_ops.end(out->hash, unused);
        }
        gzip_out_free(out->gzip);
        cf_buf_done(&out->gather);
        cf_buf_done(&out->sums);
        cf_free(out);
    }
}

static cf_status begin_file(struct archive_out *out, const char *name, uint64_t size,
                            struct cf_error *err)
{
    uint8_t header[TAR_BLOCK];
    tar_header(name, size, out->mtime_s, header);
    out->left = out->size = size;
    out->hash = out->hash_ops.open();
    return gzip_out_add(out->gzip, cf_slice_of(header, sizeof(header)), err);
}

static cf_status flush(struct archive_out *out, struct cf_error *err)
{
    struct cf_slice bytes = cf_buf_slice(&out->gather);
    if (bytes.size > out->left) {
        return cf_fail(err, CF_INTERNAL, "the state is larger than it was when it was counted");
    }
    out->left -= bytes.size;
    out->hash_ops.add(out->hash, bytes);
    cf_status status = gzip_out_add(out->gzip, bytes, err);
    cf_buf_reset(&out->gather);
    return status;
}

static cf_status end_file(struct archive_out *out, const char *name, struct cf_error *err)
{
    static const uint8_t zeros[TAR_BLOCK];
    uint8_t digest[ARCHIVE_DIGEST];
    CF_TRY(flush(out, err));
    if (out->left != 0) {
        return cf_fail(err, CF_INTERNAL, "the state is smaller than it was when it was counted");
    }
    out->hash_ops.end(out->hash, digest);
    out->hash = NULL;
    if (name != NULL) {
        encode_hex(&out->sums, cf_slice_of(digest, sizeof(digest)));
        cf_buf_addf(&out->sums, "  %s\n", name);
    }
    return gzip_out_add(out->gzip, cf_slice_of(zeros, tar_padding(out->size)), err);
}

cf_status archive_out_meta(struct archive_out *out, struct cf_slice json, struct cf_error *err)
{
    CF_TRY(begin_file(out, ARCHIVE_META, json.size, err));
    cf_buf_add_slice(&out->gather, json);
    return end_file(out, ARCHIVE_META, err);
}

cf_status archive_out_begin(struct archive_out *out, uint64_t records, uint64_t bytes,
                            struct cf_error *err)
{
    out->records = out->records_left = records;
    CF_TRY(begin_file(out, ARCHIVE_STATE, archive_state_size(records, bytes), err));
    cf_buf_add(&out->gather, ARCHIVE_MAGIC, ARCHIVE_MAGIC_SIZE);
    return CF_OK;
}

cf_status archive_out_record(struct archive_out *out, struct cf_slice key, struct cf_slice value,
                             struct cf_error *err)
{
    if (out->records_left == 0) {
        return cf_fail(err, CF_INTERNAL, "the state has more records than were counted");
    }
    out->records_left--;
    cf_buf_add_u32(&out->gather, (uint32_t)key.size);
    cf_buf_add_u32(&out->gather, (uint32_t)value.size);
    cf_buf_add_slice(&out->gather, key);
    cf_buf_add_slice(&out->gather, value);
    return out->gather.size < GATHER ? CF_OK : flush(out, err);
}

cf_status archive_out_end(struct archive_out *out, struct cf_slice *ret_sums, struct cf_error *err)
{
    if (out->records_left != 0) {
        return cf_fail(err, CF_INTERNAL, "the state has fewer records than were counted");
    }
    cf_buf_add_u64(&out->gather, 0);
    cf_buf_add_u64(&out->gather, out->records);
    CF_TRY(end_file(out, ARCHIVE_STATE, err));
    CF_TRY(begin_file(out, ARCHIVE_SUMS, out->sums.size, err));
    cf_buf_add_slice(&out->gather, cf_buf_slice(&out->sums));
    CF_TRY(end_file(out, NULL, err));
    *ret_sums = cf_buf_slice(&out->sums);
    return CF_OK;
}

cf_status archive_out_sealed(struct archive_out *out, struct cf_slice proof, struct cf_error *err)
{
    static const uint8_t zeros[2 * TAR_BLOCK];
    CF_TRY(begin_file(out, ARCHIVE_SEALED, proof.size, err));
    cf_buf_add_slice(&out->gather, proof);
    CF_TRY(end_file(out, NULL, err));
    CF_TRY(gzip_out_add(out->gzip, cf_slice_of(zeros, sizeof(zeros)), err));
    return gzip_out_end(out->gzip, err);
}

/* node/format/archive_read.c: reading archives of a cluster's state, and refusing all others. */
#include <string.h>

#include "node/base/memory.h"
#include "node/format/archive.h"
#include "node/format/archive_int.h"
#include "node/format/encode.h"

#define TRAILING_ZEROS_MAX ((size_t)1 << 20) /* tar pads archives to records of 10 KiB and more */

struct reader {
    struct gzip_in *gzip;
    struct archive_hash hash_ops;
    const struct archive_visit *visit;
    void *hash;    /* of the file under way */
    uint64_t left; /* bytes of it */
    struct tar_entry entry;
    uint8_t meta_digest[ARCHIVE_DIGEST], state_digest[ARCHIVE_DIGEST];
    struct cf_buf last_key, record;
    struct archive_totals totals;
};

/* Exactly `size` bytes of the stream. */
static cf_status take(struct reader *reader, void *to, size_t size, struct cf_error *err)
{
    size_t got;
    CF_TRY(gzip_in_read(reader->gzip, to, size, &got, err));
    return got == size ? CF_OK : cf_fail(err, CF_INVALID, "the archive breaks off");
}

/* The same, of the file under way. */
static cf_status take_file(struct reader *reader, void *to, size_t size, struct cf_error *err)
{
    if (size > reader->left) {
        return cf_fail(err, CF_INVALID, "file \"%s\" of the archive breaks off",
                       reader->entry.name);
    }
    CF_TRY(take(reader, to, size, err));
    reader->left -= size;
    reader->hash_ops.add(reader->hash, cf_slice_of(to, size));
    return CF_OK;
}

static cf_status begin_file(struct reader *reader, const char *name, uint64_t size_max,
                            struct cf_error *err)
{
    uint8_t block[TAR_BLOCK];
    bool at_end;
    CF_TRY(take(reader, block, sizeof(block), err));
    CF_TRY(tar_parse(block, &reader->entry, &at_end, err));
    if (at_end || strcmp(reader->entry.name, name) != 0) {
        return cf_fail(err, CF_INVALID,
                       "this is no snapshot of coffer: file \"%s\" is not where it has to be", name);
    }
    if (reader->entry.size > size_max) {
        return cf_fail(err, CF_INVALID, "file \"%s\" of the archive is too large", name);
    }
    reader->left = reader->entry.size;
    reader->hash = reader->hash_ops.open();
    return CF_OK;
}

static cf_status end_file(struct reader *reader, uint8_t digest[ARCHIVE_DIGEST],
                          struct cf_error *err)
{
    uint8_t padding[TAR_BLOCK];
    reader->hash_ops.end(reader->hash, digest);
    reader->hash = NULL;
    if (reader->left != 0) {
        return cf_fail(err, CF_INVALID, "file \"%s\" of the archive is longer than its content",
                       reader->entry.name);
    }
    return take(reader, padding, tar_padding(reader->entry.size), err);
}

/* A small file, whole. */
static cf_status small_file(struct reader *reader, const char *name, size_t size_max,
                            struct cf_buf *to, uint8_t digest[ARCHIVE_DIGEST], struct cf_error *err)
{
    CF_TRY(begin_file(reader, name, size_max, err));
    size_t size = (size_t)reader->entry.size;
    cf_buf_reset(to);
    if (!cf_buf_reserve(to, size + 1)) {
        return cf_fail(err, CF_INVALID, "file \"%s\" of the archive is too large", name);
    }
    CF_TRY(take_file(reader, to->data, size, err));
    to->size = size;
    return end_file(reader, digest, err);
}

/* ---- state.bin ---- */

static cf_status one_record(struct reader *reader, size_t key_size, size_t value_size,
                            struct cf_error *err)
{
    if (key_size == 0 || key_size > ARCHIVE_KEY_MAX || value_size > ARCHIVE_VALUE_MAX) {
        return cf_fail(err, CF_INVALID, "a record of the archive has an impossible size");
    }
    cf_buf_reset(&reader->record);
    if (!cf_buf_reserve(&reader->record, key_size + value_size)) {
        return cf_fail(err, CF_INVALID, "a record of the archive has an impossible size");
    }
    CF_TRY(take_file(reader, reader->record.data, key_size + value_size, err));
    struct cf_slice key = cf_slice_of(reader->record.data, key_size);
    if (reader->totals.records != 0 &&
        cf_slice_cmp(key, cf_buf_slice(&reader->last_key)) <= 0) {
        return cf_fail(err, CF_INVALID, "the records of the archive are not in order");
    }
    cf_buf_reset(&reader->last_key);
    cf_buf_add_slice(&reader->last_key, key);
    reader->totals.records++;
    reader->totals.bytes += key_size + value_size;
    return reader->visit->record(reader->visit->context, key,
                                 cf_slice_of(reader->record.data + key_size, value_size), err);
}

static cf_status read_state(struct reader *reader, struct cf_error *err)
{
    uint8_t head[ARCHIVE_MAGIC_SIZE], sizes[ARCHIVE_RECORD_HEADER], count[8];
    CF_TRY(begin_file(reader, ARCHIVE_STATE, TAR_SIZE_MAX, err));
    CF_TRY(take_file(reader, head, sizeof(head), err));
    if (memcmp(head, ARCHIVE_MAGIC, ARCHIVE_MAGIC_SIZE - 1) != 0) {
        return cf_fail(err, CF_INVALID,
                       "this is no snapshot of coffer (other servers' snapshots cannot be read)");
    }
    if (head[ARCHIVE_MAGIC_SIZE - 1] != (uint8_t)ARCHIVE_MAGIC[ARCHIVE_MAGIC_SIZE - 1]) {
        return cf_fail(err, CF_UNSUPPORTED,
                       "this snapshot has a newer format: restore it with the version that made it");
    }
    for (;;) {
        CF_TRY(take_file(reader, sizes, sizeof(sizes), err));
        size_t key_size = cf_get_u32(sizes), value_size = cf_get_u32(sizes + 4);
        if (key_size == 0 && value_size == 0) {
            break;
        }
        CF_TRY(one_record(reader, key_size, value_size, err));
    }
    CF_TRY(take_file(reader, count, sizeof(count), err));
    if (cf_get_u64(count) != reader->totals.records) {
        return cf_fail(err, CF_INVALID, "records are missing in the archive");
    }
    return end_file(reader, reader->state_digest, err);
}

/* ---- the whole ---- */

static void add_sum(struct cf_buf *to, const uint8_t digest[ARCHIVE_DIGEST], const char *name)
{
    encode_hex(to, cf_slice_of(digest, ARCHIVE_DIGEST));
    cf_buf_addf(to, "  %s\n", name);
}

static cf_status check_sums(struct reader *reader, struct cf_slice sums, struct cf_error *err)
{
    CF_BUF(want) = {0};
    add_sum(&want, reader->meta_digest, ARCHIVE_META);
    add_sum(&want, reader->state_digest, ARCHIVE_STATE);
    return cf_slice_eq(cf_buf_slice(&want), sums)
               ? CF_OK
               : cf_fail(err, CF_INVALID, "the archive is damaged: its checksums do not fit");
}

/* Two blocks of zeros, and as many more as tar likes. */
static cf_status read_end(struct reader *reader, struct cf_error *err)
{
    uint8_t block[TAR_BLOCK];
    size_t got = sizeof(block), total = 0;
    while (got == sizeof(block) && total <= TRAILING_ZEROS_MAX) {
        CF_TRY(gzip_in_read(reader->gzip, block, sizeof(block), &got, err));
        for (size_t i = 0; i < got; i++) {
            if (block[i] != 0) {
                return cf_fail(err, CF_INVALID, "the archive holds a file too many");
            }
        }
        total += got;
    }
    return total >= 2 * TAR_BLOCK && got == 0
               ? CF_OK
               : cf_fail(err, CF_INVALID, "the end of the tar archive is missing");
}

static cf_status read_all(struct reader *reader, struct cf_error *err)
{
    uint8_t unused[ARCHIVE_DIGEST];
    const struct archive_visit *visit = reader->visit;
    CF_BUF(meta) = {.max = ARCHIVE_META_MAX + 1};
    CF_BUF(sums) = {.max = ARCHIVE_SMALL_MAX + 1};
    CF_BUF(proof) = {.max = ARCHIVE_SMALL_MAX + 1};
    CF_TRY(small_file(reader, ARCHIVE_META, ARCHIVE_META_MAX, &meta, reader->meta_digest, err));
    CF_TRY(visit->meta(visit->context, cf_buf_slice(&meta), err));
    CF_TRY(read_state(reader, err));
    CF_TRY(small_file(reader, ARCHIVE_SUMS, ARCHIVE_SMALL_MAX, &sums, unused, err));
    CF_TRY(check_sums(reader, cf_buf_slice(&sums), err));
    CF_TRY(small_file(reader, ARCHIVE_SEALED, ARCHIVE_SMALL_MAX, &proof, unused, err));
    if (proof.size == 0) {
        return cf_fail(err, CF_INVALID, "the proof of the archive's checksums is empty");
    }
    CF_TRY(read_end(reader, err));
    return visit->sealed(visit->context, cf_buf_slice(&sums), cf_buf_slice(&proof), err);
}

cf_status archive_read(const struct gzip_source *source, const struct archive_hash *hash,
                       const struct archive_visit *visit, struct archive_totals *ret,
                       struct cf_error *err)
{
    struct reader reader = {.hash_ops = *hash, .visit = visit, .gzip = gzip_in_new(source)};
    reader.record.max = ARCHIVE_KEY_MAX + ARCHIVE_VALUE_MAX;
    cf_status status = read_all(&reader, err);
    if (reader.hash != NULL) {
        uint8_t unused[ARCHIVE_DIGEST];
        reader.hash_ops.end(reader.hash, unused);
    }
    gzip_in_free(reader.gzip);
    cf_buf_done(&reader.last_key);
    cf_buf_done(&reader.record);
    if (status == CF_OK) {
        *ret = reader.totals;
    }
    return status;
}

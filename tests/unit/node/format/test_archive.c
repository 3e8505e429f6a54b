/* tests/unit/node/format/test_archive.c: archives go in as they came out; whatever else is refused. */
#include "tests/lib/archive_fixture.h"
#include "test.h"

START_TEST(round_trip)
{
    static const unsigned counts[] = {0, 1, 2, 100, 3000};
    static const size_t pieces[] = {1, 7, 512, 1 << 20};
    for (size_t i = 0; i < CF_LENGTH(counts); i++) {
        CF_BUF(bytes) = {0};
        ck_assert(make_archive(&bytes, counts[i]));
        for (size_t k = 0; k < CF_LENGTH(pieces); k++) {
            struct seen seen;
            struct archive_totals totals;
            ck_ok(read_archive(cf_buf_slice(&bytes), pieces[k], &seen, &totals, &err_));
            ck_assert_uint_eq(seen.metas, 1);
            ck_assert_uint_eq(seen.records, counts[i]);
            ck_assert_uint_eq(seen.proofs, 1);
            ck_assert_uint_eq(totals.records, counts[i]);
        }
    }
}
END_TEST

/* Cut anywhere it is refused, and says so before its proof was shown. */
START_TEST(cut_anywhere)
{
    CF_BUF(bytes) = {0};
    ck_assert(make_archive(&bytes, 20));
    for (size_t size = 0; size < bytes.size; size++) {
        struct seen seen;
        struct archive_totals totals;
        struct cf_error err = {0};
        ck_status(read_archive(cf_slice_first(cf_buf_slice(&bytes), size), 4096, &seen, &totals,
                               &err),
                  CF_INVALID);
        ck_assert(err.message[0] != 0);
        ck_assert_uint_eq(seen.proofs, 0);
    }
}
END_TEST

/* Each bit of an archive counts: but for the gzip header's time, flags and system, all are checked. */
START_TEST(bent_anywhere)
{
    CF_BUF(bytes) = {0};
    ck_assert(make_archive(&bytes, 20));
    for (size_t at = 10; at < bytes.size; at++) {
        struct seen seen;
        struct archive_totals totals;
        bytes.data[at] ^= (uint8_t)(1u << at % 8);
        cf_status status = read_archive(cf_buf_slice(&bytes), 4096, &seen, &totals, NULL);
        ck_assert_msg(status == CF_INVALID || status == CF_UNSUPPORTED, "byte %zu: %s", at,
                      cf_status_name(status));
        ck_assert_uint_eq(seen.proofs, 0);
        bytes.data[at] ^= (uint8_t)(1u << at % 8);
    }
}
END_TEST

START_TEST(more_behind_it)
{
    CF_BUF(bytes) = {0};
    struct seen seen;
    struct archive_totals totals;
    ck_assert(make_archive(&bytes, 3));
    cf_buf_add_byte(&bytes, 0);
    ck_status(read_archive(cf_buf_slice(&bytes), 4096, &seen, &totals, NULL), CF_INVALID);
}
END_TEST

/* An archive of files made by hand, packed as gzip: what is checked behind the framing. */
struct file {
    const char *name, *content;
    char type;
};

static cf_status read_files(const struct file *files, size_t count)
{
    static const uint8_t zeros[1024];
    CF_BUF(bytes) = {0};
    struct gzip_sink sink = {into_buf, &bytes};
    CF_OWNED(gzip_out) out = gzip_out_new(&sink);
    for (size_t i = 0; i < count; i++) {
        uint8_t header[TAR_BLOCK];
        size_t size = strlen(files[i].content);
        tar_header(files[i].name, size, 0, header);
        if (files[i].type != 0) {
            unsigned sum = 0;
            header[156] = (uint8_t)files[i].type;
            memset(header + 148, ' ', 8);
            for (size_t k = 0; k < TAR_BLOCK; k++) {
                sum += header[k];
            }
            (void)snprintf((char *)header + 148, 7, "%06o", sum);
        }
        ck_ok(gzip_out_add(out, cf_slice_of(header, sizeof(header)), NULL));
        ck_ok(gzip_out_add(out, cf_slice_of(files[i].content, size), NULL));
        ck_ok(gzip_out_add(out, cf_slice_of(zeros, tar_padding(size)), NULL));
    }
    ck_ok(gzip_out_add(out, cf_slice_of(zeros, sizeof(zeros)), NULL));
    ck_ok(gzip_out_end(out, NULL));
    struct seen seen;
    struct archive_totals totals;
    return read_archive(cf_buf_slice(&bytes), 4096, &seen, &totals, NULL);
}

START_TEST(other_files)
{
    static const struct {
        struct file files[4];
        size_t count;
    } cases[] = {
        {{{"state.bin", "x", 0}}, 1},                          /* out of order */
        {{{"../meta.json", "{}", 0}}, 1},                      /* a folder */
        {{{"meta.json", "{}", '2'}}, 1},                       /* a link */
        {{{"meta.json", "{}", '5'}}, 1},                       /* a folder */
        {{{"meta.json", "{}", 0}}, 1},                         /* no state */
        {{{"meta.json", "{}", 0}, {"state.bin", "", 0}}, 2},   /* an empty one */
        {{{"meta.json", "{}", 0}, {"state.bin", "other-state-of-another-server", 0}}, 2},
        {{{"meta.json", "{}", 0}, {"state.bin", "coffer-state\2", 0}}, 2}, /* newer */
    };
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        cf_status status = read_files(cases[i].files, cases[i].count);
        ck_assert_msg(status == (i == 7 ? CF_UNSUPPORTED : CF_INVALID), "case %zu: %s", i,
                      cf_status_name(status));
    }
}
END_TEST

/* A writer whose records are not those that it announced says so, and leaves nothing that reads. */
START_TEST(counts_that_lie)
{
    for (unsigned told = 0; told < 4; told += 2) {
        CF_BUF(bytes) = {0};
        struct gzip_sink sink = {into_buf, &bytes};
        CF_OWNED(archive_out) out = archive_out_new(&sink, &plain_hash, 1);
        struct cf_slice sums;
        ck_ok(archive_out_meta(out, CF_SLICE("{}"), NULL));
        ck_ok(archive_out_begin(out, told, 4, NULL));
        cf_status status = archive_out_record(out, CF_SLICE("k"), CF_SLICE("v"), NULL);
        status = status == CF_OK ? archive_out_end(out, &sums, NULL) : status;
        ck_assert_int_eq(status, CF_INTERNAL);
    }
}
END_TEST

TEST_MAIN("node/format/archive", round_trip, cut_anywhere, bent_anywhere, more_behind_it, other_files,
          counts_that_lie)

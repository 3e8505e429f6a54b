/* tests/fuzz/fuzz_archive.c: archives that somebody restores. What is accepted was shown in order and
 * counted; what is refused says why. Input that is no gzip is packed first, so that the tar and the
 * records behind it are reached. */
#include "fuzz.h"
#include "tests/lib/archive_fixture.h"

static void look(struct cf_slice bytes)
{
    struct cf_error err = {0};
    struct archive_totals totals;
    struct seen seen;
    cf_status status = read_archive(bytes, 4096, &seen, &totals, &err);
    if (status == CF_OK) {
        FUZZ_CHECK(seen.metas == 1 && seen.proofs == 1 && seen.records == totals.records);
    } else {
        FUZZ_CHECK(status == CF_INVALID || status == CF_UNSUPPORTED);
        FUZZ_CHECK(err.status == status && err.message[0] != '\0');
        FUZZ_CHECK(seen.proofs == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cf_slice bytes = cf_slice_of(data, size);
    CF_BUF(packed) = {0};
    struct gzip_sink sink = {into_buf, &packed};
    look(bytes);
    CF_OWNED(gzip_out) out = gzip_out_new(&sink);
    FUZZ_CHECK(gzip_out_add(out, bytes, NULL) == CF_OK && gzip_out_end(out, NULL) == CF_OK);
    look(cf_buf_slice(&packed));
    return 0;
}

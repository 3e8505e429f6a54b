/* tests/fuzz/fuzz_duration.c: durations and times that are read come back the same after printing.
 */
#include "fuzz.h"
#include "node/format/duration.h"
#include "node/format/timefmt.h"

static void check_duration(struct cf_slice text)
{
    int64_t ns, seconds, back;
    CF_BUF(buf) = {0};
    if (duration_parse_ns(text, &ns, NULL) != CF_OK) {
        FUZZ_CHECK(duration_parse(text, &seconds, NULL) == CF_INVALID);
        return;
    }
    FUZZ_CHECK(duration_parse(text, &seconds, NULL) == CF_OK);
    FUZZ_CHECK(seconds == ns / 1000000000 && seconds >= -DURATION_S_MAX &&
               seconds <= DURATION_S_MAX);
    duration_write(&buf, seconds);
    FUZZ_CHECK(duration_parse(cf_buf_slice(&buf), &back, NULL) == CF_OK && back == seconds);
    cf_buf_reset(&buf);
    duration_write_ns(&buf, ns);
    /* The micro sign is printed, as Go does, but not read. */
    if (cf_slice_find(cf_buf_slice(&buf), 0xb5) == buf.size) {
        FUZZ_CHECK(duration_parse_ns(cf_buf_slice(&buf), &back, NULL) == CF_OK && back == ns);
    }
}

static void check_time(struct cf_slice text)
{
    int64_t ns, back;
    CF_BUF(buf) = {0};
    if (timefmt_parse(text, &ns, NULL) == CF_OK) {
        timefmt_write(&buf, ns);
        FUZZ_CHECK(timefmt_parse(cf_buf_slice(&buf), &back, NULL) == CF_OK && back == ns);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_duration(cf_slice_of(data, size));
    check_time(cf_slice_of(data, size));
    return 0;
}

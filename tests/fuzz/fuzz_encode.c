/* tests/fuzz/fuzz_encode.c: strict decoders have one spelling for each value. */
#include <ctype.h>

#include "fuzz.h"
#include "node/format/encode.h"
#include "node/format/url.h"

typedef cf_status decode_function(struct cf_buf *buf, struct cf_slice text, struct cf_error *err);
typedef void encode_function(struct cf_buf *buf, struct cf_slice bytes);

static bool same_but_for_case(struct cf_slice a, struct cf_slice b)
{
    bool same = a.size == b.size;
    for (size_t i = 0; same && i < a.size; i++) {
        same = tolower(a.data[i]) == tolower(b.data[i]);
    }
    return same;
}

/* Text that decodes is, but for padding (and for case in hex), what encoding gives. */
static void check(struct cf_slice text, decode_function *decode, encode_function *encode,
                  bool any_case)
{
    CF_BUF(bytes) = {0};
    CF_BUF(again) = {0};
    if (decode(&bytes, text, NULL) != CF_OK) {
        FUZZ_CHECK(bytes.size == 0);
        return;
    }
    encode(&again, cf_buf_slice(&bytes));
    struct cf_slice back = cf_buf_slice(&again);
    while (back.size != 0 && back.data[back.size - 1] == '=') {
        back.size--;
    }
    while (text.size != 0 && text.data[text.size - 1] == '=') {
        text.size--;
    }
    FUZZ_CHECK(any_case ? same_but_for_case(back, text) : cf_slice_eq(back, text));
}

static void check_url(struct cf_slice text)
{
    CF_OWNED(arena) arena = arena_new(1024);
    CF_BUF(buf) = {0};
    struct cf_slice plain, back, rest = text;
    struct url_parameter parameter;
    cf_status status;
    if (url_decode(arena, text, true, &plain, NULL) == CF_OK) {
        FUZZ_CHECK(plain.size <= text.size);
        url_encode(&buf, plain);
        FUZZ_CHECK(url_decode(arena, cf_buf_slice(&buf), true, &back, NULL) == CF_OK);
        FUZZ_CHECK(cf_slice_eq(plain, back));
    }
    while (url_next(arena, &rest, &parameter, &status, NULL)) {
        FUZZ_CHECK(parameter.key.size + parameter.value.size <= text.size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cf_slice text = cf_slice_of(data, size);
    struct uuid uuid;
    check(text, encode_base64_decode, encode_base64, false);
    check(text, encode_base64url_decode, encode_base64url, false);
    check(text, encode_hex_decode, encode_hex, true);
    check_url(text);
    if (encode_uuid_parse(text, &uuid, NULL) == CF_OK) {
        char back[ENCODE_UUID_TEXT + 1];
        encode_uuid_text(uuid, back);
        FUZZ_CHECK(same_but_for_case(text, cf_slice_str(back)));
    }
    return 0;
}

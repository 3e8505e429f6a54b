/* tests/unit/node/format/test_encode.c: text forms of bytes, and what is none. */
#include <ctype.h>

#include "node/base/memory.h"
#include "node/format/encode.h"
#include "test.h"

static void fill_from_prng(void *context, void *bytes, size_t size)
{
    uint8_t *to = bytes;
    for (size_t i = 0; i < size; i++) {
        to[i] = (uint8_t)cf_prng_next(context);
    }
}

/* The vectors of RFC 4648 section 10. */
START_TEST(base64_vectors)
{
    static const char *const cases[][3] = {
        {"", "", ""},
        {"f", "Zg==", "Zg"},
        {"fo", "Zm8=", "Zm8"},
        {"foo", "Zm9v", "Zm9v"},
        {"foob", "Zm9vYg==", "Zm9vYg"},
        {"fooba", "Zm9vYmE=", "Zm9vYmE"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
        {"\xfb\xff\xbf", "+/+/", "-_-_"},
    };
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        CF_BUF(buf) = {0};
        encode_base64(&buf, cf_slice_str(cases[i][0]));
        ck_slice(cf_buf_slice(&buf), cases[i][1]);
        cf_buf_reset(&buf);
        encode_base64url(&buf, cf_slice_str(cases[i][0]));
        ck_slice(cf_buf_slice(&buf), cases[i][2]);
        cf_buf_reset(&buf);
        ck_ok(encode_base64_decode(&buf, cf_slice_str(cases[i][1]), NULL));
        ck_slice(cf_buf_slice(&buf), cases[i][0]);
        cf_buf_reset(&buf);
        ck_ok(encode_base64url_decode(&buf, cf_slice_str(cases[i][2]), NULL));
        ck_slice(cf_buf_slice(&buf), cases[i][0]);
    }
    CF_BUF(buf) = {0};
    ck_ok(encode_base64_decode(&buf, CF_SLICE("Zm8"), NULL));
    ck_ok(encode_base64url_decode(&buf, CF_SLICE("Zm8="), NULL));
    ck_slice(cf_buf_slice(&buf), "fofo");
}
END_TEST

START_TEST(base64_refuses)
{
    static const char *const bad[] = {
        "Z",     "Zg=",   "=",     "==",       "====",   "Zg===",  "Z===",
        "Zm9vY", "Zg==x", "Zg ==", " Zg==",    "Zg==\n", "Zm9v\n", "Zm-v",
        "Zm_v",  "Zh==",  "Zm9=",  "Zm9v====", "Z=9v",   "Zm=v",   "\xc3\xa9Zm",
    };
    CF_BUF(buf) = {0};
    cf_buf_add_str(&buf, "kept");
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        struct cf_error err = {0};
        ck_assert_msg(encode_base64_decode(&buf, cf_slice_str(bad[i]), &err) == CF_INVALID, "%s",
                      bad[i]);
        ck_slice(cf_buf_slice(&buf), "kept");
    }
    ck_status(encode_base64url_decode(&buf, CF_SLICE("+/+/"), NULL), CF_INVALID);
    ck_status(encode_base64_decode(&buf, CF_SLICE("Zm\0v"), NULL), CF_INVALID);
}
END_TEST

START_TEST(random_bytes_round_trip)
{
    struct cf_prng prng;
    cf_prng_seed(&prng, 1);
    for (size_t size = 0; size < 300; size++) {
        uint8_t bytes[300];
        fill_from_prng(&prng, bytes, size);
        CF_BUF(text) = {0};
        CF_BUF(back) = {0};
        encode_base64(&text, cf_slice_of(bytes, size));
        ck_assert_uint_eq(text.size, ENCODE_BASE64_SIZE(size));
        ck_ok(encode_base64_decode(&back, cf_buf_slice(&text), NULL));
        cf_buf_reset(&text);
        encode_base64url(&text, cf_slice_of(bytes, size));
        ck_ok(encode_base64url_decode(&back, cf_buf_slice(&text), NULL));
        cf_buf_reset(&text);
        encode_hex(&text, cf_slice_of(bytes, size));
        ck_ok(encode_hex_decode(&back, cf_buf_slice(&text), NULL));
        ck_assert_uint_eq(back.size, 3 * size);
        for (size_t i = 0; i < 3 && size != 0; i++) {
            ck_assert_mem_eq(back.data + i * size, bytes, size);
        }
    }
}
END_TEST

START_TEST(hex_is_strict)
{
    CF_BUF(buf) = {0};
    encode_hex(&buf, CF_SLICE("\x00\xab\xff"));
    ck_slice(cf_buf_slice(&buf), "00abff");
    cf_buf_reset(&buf);
    ck_ok(encode_hex_decode(&buf, CF_SLICE("00aBFf"), NULL));
    ck_assert(cf_slice_eq(cf_buf_slice(&buf), CF_SLICE("\x00\xab\xff")));
    ck_status(encode_hex_decode(&buf, CF_SLICE("abc"), NULL), CF_INVALID);
    ck_status(encode_hex_decode(&buf, CF_SLICE("ag"), NULL), CF_INVALID);
    ck_status(encode_hex_decode(&buf, CF_SLICE("0x"), NULL), CF_INVALID);
    ck_status(encode_hex_decode(&buf, CF_SLICE(" a"), NULL), CF_INVALID);
    ck_assert_uint_eq(buf.size, 3);
    CF_BUF(small) = {.max = 2};
    ck_status(encode_hex_decode(&small, CF_SLICE("aabbcc"), NULL), CF_TOO_LARGE);
    ck_status(encode_base64_decode(&small, CF_SLICE("Zm9v"), NULL), CF_TOO_LARGE);
    ck_assert_uint_eq(small.size, 0);
}
END_TEST

/* Each of 62 characters within five standard deviations of its share. */
START_TEST(base62_is_even)
{
    struct cf_prng prng;
    cf_prng_seed(&prng, 7);
    struct cf_random random = {&prng, fill_from_prng};
    CF_BUF(buf) = {0};
    encode_base62_random(&buf, &random, 62000);
    ck_assert_uint_eq(buf.size, 62000);
    unsigned counts[256] = {0};
    for (size_t i = 0; i < buf.size; i++) {
        ck_assert(isalnum(buf.data[i]));
        counts[buf.data[i]]++;
    }
    for (int c = 0; c < 128; c++) {
        ck_assert(!isalnum(c) || (counts[c] > 840 && counts[c] < 1160));
    }
}
END_TEST

START_TEST(uuids)
{
    struct cf_prng prng;
    cf_prng_seed(&prng, 3);
    struct cf_random random = {&prng, fill_from_prng};
    for (int i = 0; i < 100; i++) {
        struct uuid uuid = encode_uuid_new(&random), back;
        char text[ENCODE_UUID_TEXT + 1];
        encode_uuid_text(uuid, text);
        ck_assert_uint_eq(strlen(text), ENCODE_UUID_TEXT);
        ck_assert_int_eq(text[14], '4');
        ck_assert_ptr_nonnull(strchr("89ab", text[19]));
        ck_ok(encode_uuid_parse(cf_slice_str(text), &back, NULL));
        ck_assert_mem_eq(uuid.bytes, back.bytes, 16);
    }
    CF_BUF(buf) = {0};
    encode_uuid_add(&buf, &random);
    ck_assert_uint_eq(buf.size, ENCODE_UUID_TEXT);
    struct uuid uuid;
    ck_ok(encode_uuid_parse(CF_SLICE("5B0E6B1C-1c22-3b3b-77f4-6d8f0d2f64e6"), &uuid, NULL));
    static const char *const bad[] = {
        "",
        "5b0e6b1c",
        "5b0e6b1c1c223b3b77f46d8f0d2f64e6",
        "5b0e6b1c-1c22-3b3b-77f4-6d8f0d2f64e",
        "5b0e6b1c-1c22-3b3b-77f4-6d8f0d2f64e61",
        "5b0e6b1c-1c22-3b3b-77f4_6d8f0d2f64e6",
        "5b0e6b1c-1c22-3b3b-77f4-6d8f0d2f64eg",
        "{b0e6b1c-1c22-3b3b-77f4-6d8f0d2f64e}",
    };
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        ck_status(encode_uuid_parse(cf_slice_str(bad[i]), &uuid, NULL), CF_INVALID);
    }
}
END_TEST

TEST_MAIN("node/format/encode", base64_vectors, base64_refuses, random_bytes_round_trip,
          hex_is_strict, base62_is_even, uuids)

/* tests/unit/node/core/test_session.c: X-Vault-Index, made, read and refused. */
#include "node/core/session.h"

#include "node/base/host.h"
#include "node/base/memory.h"
#include "node/format/encode.h"
#include "tests/lib/test.h"

#define CLUSTER "0b0e0b3c-1111-4222-8333-444455556666"

static const uint8_t salt[32] = {1, 2, 3};

static const char *made(struct session_index index, struct cf_buf *to)
{
    cf_buf_reset(to);
    session_write(salt, CLUSTER, index, to);
    return cf_buf_text(to);
}

START_TEST(there_and_back)
{
    CF_BUF(text) = {0};
    struct session_index got = {0};
    ck_ok(session_read(salt, CLUSTER, cf_slice_str(made((struct session_index){17, 4}, &text)), &got, NULL));
    ck_assert_uint_eq(got.local, 17);
    ck_assert_uint_eq(got.replicated, 4);
    /* Several are merged: the most of each. */
    ck_ok(session_read(salt, CLUSTER, cf_slice_str(made((struct session_index){3, 9}, &text)), &got, NULL));
    ck_assert_uint_eq(got.local, 17);
    ck_assert_uint_eq(got.replicated, 9);
    CF_BUF(plain) = {0};
    ck_ok(encode_base64_decode(&plain, cf_slice_str(made((struct session_index){3, 9}, &text)), NULL));
    ck_assert(cf_slice_starts(cf_buf_slice(&plain), CF_SLICE("v1:" CLUSTER ":3:9:")));
}
END_TEST

START_TEST(refused)
{
    static const char *const bad[] = {"", "x", "djE6", "!!", "djE6YTpiOmM6ZA=="};
    CF_BUF(text) = {0};
    struct session_index got = {0};
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        ck_status(session_read(salt, CLUSTER, cf_slice_str(bad[i]), &got, NULL), CF_INVALID);
    }
    struct cf_slice good = cf_slice_str(made((struct session_index){17, 4}, &text));
    uint8_t other[32] = {9};
    ck_status(session_read(other, CLUSTER, good, &got, NULL), CF_INVALID);
    CF_BUF(plain) = {0};
    ck_ok(encode_base64_decode(&plain, good, NULL));
    for (size_t i = 0; i < plain.size; i++) { /* no bit of it may change */
        CF_BUF(changed) = {0};
        plain.data[i] ^= 1;
        encode_base64(&changed, cf_buf_slice(&plain));
        plain.data[i] ^= 1;
        struct session_index none = {0};
        cf_status status = session_read(salt, CLUSTER, cf_buf_slice(&changed), &none, NULL);
        ck_assert_msg(status == CF_INVALID || (none.local == 0 && none.replicated == 0), "byte %zu", i);
    }
    ck_assert_uint_eq(got.local, 0);
}
END_TEST

START_TEST(another_cluster_asks_for_nothing)
{
    CF_BUF(text) = {0};
    struct session_index got = {0};
    struct cf_slice theirs = cf_slice_str(made((struct session_index){17, 4}, &text));
    ck_ok(session_read(salt, "another", theirs, &got, NULL));
    ck_assert_uint_eq(got.local, 0);
    ck_assert_uint_eq(got.replicated, 0);
}
END_TEST

TEST_MAIN("node/core/session", there_and_back, refused, another_cluster_asks_for_nothing)

/* tests/unit/tools/test_answer.c: HTTP answers cut anywhere, hostile ones, and latencies. */
#include "node/base/memory.h"
#include "test.h"
#include "tools/load/answer.h"
#include "tools/load/conn.h"
#include "tools/load/histogram.h"
#include "tools/load/usage.h"

static struct answer answer;

/* Feeds the text in pieces of `step` bytes; the status of the first failure. */
static cf_status feed(const char *text, size_t step)
{
    struct cf_slice rest = cf_slice_str(text);
    answer_done(&answer);
    answer_init(&answer, 1000);
    while (rest.size > 0 && answer.state != ANSWER_COMPLETE) {
        size_t used = 0;
        cf_status status = answer_feed(&answer, cf_slice_first(rest, step), &used, NULL);
        if (status != CF_OK) {
            return status;
        }
        rest = cf_slice_from(rest, used);
    }
    return CF_OK;
}

START_TEST(wherever_it_is_cut)
{
    for (size_t step = 1; step < 80; step++) {
        ck_ok(feed("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello", step));
        ck_assert_int_eq(answer.state, ANSWER_COMPLETE);
        ck_slice(cf_buf_slice(&answer.body), "hello");
        ck_assert(!answer.close);
        ck_ok(feed("HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                   "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n",
                   step));
        ck_assert_int_eq(answer.state, ANSWER_COMPLETE);
        ck_assert_int_eq(answer.status, 503);
        ck_slice(cf_buf_slice(&answer.body), "abcdefg");
        ck_assert(answer.close);
        ck_ok(feed("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", step));
        ck_assert_int_eq(answer.state, ANSWER_COMPLETE);
        ck_assert_int_eq(answer.status, 204);
    }
}
END_TEST

START_TEST(ends_with_the_connection)
{
    ck_ok(feed("HTTP/1.0 200 OK\r\n\r\nabc", 100));
    ck_assert_int_eq(answer.state, ANSWER_UNTIL_CLOSE);
    ck_ok(answer_closed(&answer, NULL));
    ck_slice(cf_buf_slice(&answer.body), "abc");
    ck_ok(feed("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", 100));
    ck_status(answer_closed(&answer, NULL), CF_IO);
}
END_TEST

START_TEST(refuses_what_is_no_http)
{
    ck_status(feed("SSH-2.0-x\r\n\r\n", 100), CF_CORRUPT);
    ck_status(feed("HTTP/1.1 2x0 OK\r\n\r\n", 100), CF_CORRUPT);
    ck_status(feed("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 100), CF_CORRUPT);
    ck_status(feed("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", 100),
              CF_CORRUPT);
    ck_status(feed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 100), CF_CORRUPT);
    ck_status(feed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 100),
              CF_CORRUPT);
}
END_TEST

START_TEST(bounds_head_and_body)
{
    CF_BUF(text) = {0};
    cf_buf_add_str(&text, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 20000; i++) {
        cf_buf_add_str(&text, "A: b\r\n");
    }
    ck_status(feed(cf_buf_text(&text), 4096), CF_TOO_LARGE);
    cf_buf_reset(&text);
    cf_buf_add_str(&text, "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n");
    for (int i = 0; i < 1001; i++) {
        cf_buf_add_byte(&text, 'x');
    }
    ck_status(feed(cf_buf_text(&text), 4096), CF_TOO_LARGE);
    answer_done(&answer);
    answer = (struct answer){0};
}
END_TEST

START_TEST(addresses)
{
    struct conn_target target;
    ck_ok(conn_target_parse("http://127.0.0.1:8200/", NULL, &target, NULL));
    ck_assert_str_eq(target.host, "127.0.0.1");
    ck_assert_str_eq(target.port, "8200");
    ck_assert_str_eq(target.address, "http://127.0.0.1:8200");
    ck_assert(!target.tls);
    ck_ok(conn_target_parse("https://[::1]:9", NULL, &target, NULL));
    ck_assert_str_eq(target.host, "::1");
    ck_assert_str_eq(target.authority, "[::1]:9");
    ck_ok(conn_target_parse("https://vault.example", NULL, &target, NULL));
    ck_assert_str_eq(target.port, "443");
    ck_status(conn_target_parse("ftp://x", NULL, &target, NULL), CF_INVALID);
    ck_status(conn_target_parse("http://", NULL, &target, NULL), CF_INVALID);
    ck_status(conn_target_parse("http://a:b", NULL, &target, NULL), CF_INVALID);
    ck_status(conn_target_parse("http://a:", NULL, &target, NULL), CF_INVALID);
    ck_status(conn_target_parse("http://[::1", NULL, &target, NULL), CF_INVALID);
    ck_status(conn_target_parse("http://a/path", NULL, &target, NULL), CF_INVALID);
    ck_status(conn_target_parse("http://a\r\nb", NULL, &target, NULL), CF_INVALID);
}
END_TEST

START_TEST(quantiles)
{
    struct histogram *h = cf_new(struct histogram);
    ck_assert_uint_eq(histogram_quantile(h, 500), 0);
    for (uint64_t i = 1; i <= 1000; i++) {
        histogram_add(h, i);
    }
    ck_assert_uint_eq(h->max_us, 1000);
    ck_assert_uint_ge(histogram_quantile(h, 500), 500);
    ck_assert_uint_le(histogram_quantile(h, 500), 516);
    ck_assert_uint_eq(histogram_quantile(h, 1000), 1000);
    histogram_add(h, UINT64_MAX); /* beyond the last bucket */
    ck_assert_uint_eq(h->max_us, UINT64_MAX);
    cf_free(h);
}
END_TEST

START_TEST(metrics)
{
    struct usage_counters counters;
    usage_parse_metrics(CF_SLICE("{\"Counters\":[{\"Name\":\"coffer.storage.syncs\",\"Count\":7},"
                                 "{\"Name\":\"other\",\"Count\":1}],"
                                 "\"Gauges\":[{\"Name\":\"coffer_log_entries\",\"Value\":12}]}"),
                        &counters);
    ck_assert(counters.has_syncs && counters.has_entries);
    ck_assert(counters.syncs == 7 && counters.entries == 12);
    usage_parse_metrics(CF_SLICE("{\"Counters\":{}}"), &counters);
    ck_assert(!counters.has_syncs && !counters.has_entries);
    usage_parse_metrics(CF_SLICE("# HELP x"), &counters);
    ck_assert(!counters.has_syncs);
}
END_TEST

TEST_MAIN("tools/load/answer", wherever_it_is_cut, ends_with_the_connection,
          refuses_what_is_no_http, bounds_head_and_body, addresses, quantiles, metrics)

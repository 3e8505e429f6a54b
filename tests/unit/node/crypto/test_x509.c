/* tests/unit/node/crypto/test_x509.c: the promises of node/crypto/x509.h. */
#include "node/crypto/x509.h"

#include "node/base/memory.h"
#include "test.h"

#define DAY 86400
static const struct x509_validity valid = {1700000000, 1700000000 + 10 * DAY};

static struct secret *ca_key, *key;
static struct cf_buf ca, cert, public_key;

static struct x509_names some_names(void)
{
    static const struct cf_slice dns[] = {{(const uint8_t *)"node.example", 12}};
    static const struct cf_slice ips[] = {{(const uint8_t *)"127.0.0.1", 9},
                                          {(const uint8_t *)"::1", 3}};
    return (struct x509_names){CF_SLICE("node-1"), CF_SLICE("coffer://c1/node/n1"), dns, 1, ips, 2};
}

static void make(void)
{
    struct x509_names names = some_names();
    ck_ok(x509_key_new(&ca_key, &err_));
    ck_ok(x509_key_new(&key, &err_));
    ck_ok(x509_ca_new(CF_SLICE("ca of c1"), ca_key, valid, &ca, &err_));
    ck_ok(x509_key_public(key, &public_key, &err_));
    struct x509_issuer issuer = {cf_buf_slice(&ca), ca_key};
    ck_ok(x509_issue(&issuer, cf_buf_slice(&public_key), &names, valid, &cert, &err_));
}

static void clear(void)
{
    secret_free(ca_key);
    secret_free(key);
    cf_buf_done(&ca);
    cf_buf_done(&cert);
    cf_buf_done(&public_key);
}

START_TEST(says_what_it_was_given)
{
    struct x509_info info, again;
    CF_BUF(der) = {0};
    CF_BUF(pem) = {0};
    make();
    ck_ok(x509_read(cf_buf_slice(&cert), &info, &err_));
    ck_assert_str_eq(info.common_name, "node-1");
    ck_assert_str_eq(info.issuer, "ca of c1");
    ck_assert_str_eq(info.uri, "coffer://c1/node/n1");
    ck_assert_int_eq(info.not_before_s, valid.from_s);
    ck_assert_int_eq(info.not_after_s, valid.to_s);
    ck_assert(!info.is_ca);
    ck_assert_uint_eq(strlen(info.serial), 32);
    ck_ok(x509_to_der(cf_buf_slice(&cert), &der, &err_));
    ck_ok(x509_to_pem(cf_buf_slice(&der), &pem, &err_));
    ck_assert(cf_slice_eq(cf_buf_slice(&pem), cf_buf_slice(&cert)));
    ck_ok(x509_read(cf_buf_slice(&der), &again, &err_));
    ck_assert_mem_eq(info.fingerprint, again.fingerprint, 32);
    ck_ok(x509_read(cf_buf_slice(&ca), &again, &err_));
    ck_assert(again.is_ca);
    ck_assert_mem_ne(info.fingerprint, again.fingerprint, 32);
    clear();
}
END_TEST

START_TEST(verifies_chain_and_time)
{
    make();
    struct cf_slice good = cf_buf_slice(&cert), cas = cf_buf_slice(&ca);
    struct secret *other_key;
    CF_BUF(other) = {0};
    ck_ok(x509_key_new(&other_key, &err_));
    ck_ok(
        x509_ca_new(CF_SLICE("ca of c1"), other_key, valid, &other, &err_)); /* the same subject */
    ck_ok(x509_verify(good, cas, valid.from_s + DAY, &err_));
    ck_status(x509_verify(good, cas, valid.from_s - 1, NULL), CF_DENIED);
    ck_status(x509_verify(good, cas, valid.to_s + 1, NULL), CF_DENIED);
    ck_status(x509_verify(good, cf_buf_slice(&other), valid.from_s + DAY, NULL), CF_DENIED);
    ck_status(x509_verify(good, CF_SLICE_EMPTY, valid.from_s + DAY, NULL), CF_DENIED);
    ck_ok(x509_match(good, key, &err_));
    ck_status(x509_match(good, ca_key, NULL), CF_INVALID);
    struct x509_issuer mixed = {cf_buf_slice(&other), ca_key};
    struct x509_names names = some_names();
    CF_BUF(made) = {0};
    ck_status(x509_issue(&mixed, cf_buf_slice(&public_key), &names, valid, &made, NULL),
              CF_INVALID);
    secret_free(other_key);
    clear();
}
END_TEST

START_TEST(requests)
{
    struct x509_info info;
    struct x509_names names = some_names();
    CF_BUF(csr) = {0};
    CF_BUF(of_csr) = {0};
    make();
    ck_ok(x509_csr_new(key, &names, &csr, &err_));
    ck_ok(x509_csr_read(cf_buf_slice(&csr), &info, &of_csr, &err_));
    ck_assert_str_eq(info.common_name, "node-1");
    ck_assert_str_eq(info.uri, "coffer://c1/node/n1");
    ck_assert(cf_slice_eq(cf_buf_slice(&of_csr), cf_buf_slice(&public_key)));
    /* A changed byte is never accepted. Not in the last group of base64: it may hold unused bits. */
    for (size_t i = 30; i + 42 < csr.size; i += 7) {
        uint8_t old = csr.data[i];
        csr.data[i] = old == 'A' ? 'B' : 'A';
        if (old != '\n') {
            ck_assert(x509_csr_read(cf_buf_slice(&csr), &info, NULL, NULL) != CF_OK);
        }
        csr.data[i] = old;
    }
    clear();
}
END_TEST

START_TEST(refuses_bad_names)
{
    make();
    struct x509_issuer issuer = {cf_buf_slice(&ca), ca_key};
    struct cf_slice spki = cf_buf_slice(&public_key);
    CF_BUF(made) = {0};
    uint8_t longer[CERT_URI_MAX + 1];
    memset(longer, 'a', sizeof(longer));
    struct x509_names names = some_names();
    names.common_name = CF_SLICE_EMPTY;
    ck_status(x509_issue(&issuer, spki, &names, valid, &made, NULL), CF_INVALID);
    names.common_name = cf_slice_of(longer, CERT_NAME_MAX + 1);
    ck_status(x509_issue(&issuer, spki, &names, valid, &made, NULL), CF_INVALID);
    names.common_name = CF_SLICE("a\0b");
    ck_status(x509_issue(&issuer, spki, &names, valid, &made, NULL), CF_INVALID);
    names = some_names();
    names.uri = cf_slice_of(longer, sizeof(longer));
    ck_status(x509_issue(&issuer, spki, &names, valid, &made, NULL), CF_INVALID);
    names.uri = CF_SLICE("coffer://a\0b");
    ck_status(x509_issue(&issuer, spki, &names, valid, &made, NULL), CF_INVALID);
    names = some_names();
    struct cf_slice bad_ip = CF_SLICE("300.1.1.1");
    names.ips = &bad_ip;
    names.ip_count = 1;
    ck_status(x509_issue(&issuer, spki, &names, valid, &made, NULL), CF_INVALID);
    ck_assert_uint_eq(made.size, 0);
    clear();
}
END_TEST

/* A certificate cut anywhere, or with a byte more, is refused and nothing is read past its end. */
START_TEST(cut_anywhere)
{
    struct x509_info info;
    CF_BUF(der) = {0};
    make();
    ck_ok(x509_to_der(cf_buf_slice(&cert), &der, &err_));
    for (size_t i = 0; i < der.size; i++) {
        uint8_t *copy = cf_memdup(der.data, i);
        ck_assert(x509_read(cf_slice_of(copy, i), &info, NULL) != CF_OK);
        cf_free(copy);
    }
    cf_buf_add_byte(&der, 0);
    ck_status(x509_read(cf_buf_slice(&der), &info, NULL), CF_INVALID);
    ck_status(x509_read(CF_SLICE("hello"), &info, NULL), CF_INVALID);
    struct secret *junk = secret_copy(CF_SLICE("not a key"));
    CF_BUF(out) = {0};
    ck_status(x509_key_public(junk, &out, NULL), CF_INVALID);
    secret_free(junk);
    ck_ok(x509_key_pem(key, &out, &err_));
    ck_assert(cf_slice_starts(cf_buf_slice(&out), CF_SLICE("-----BEGIN PRIVATE KEY-----")));
    clear();
}
END_TEST

TEST_MAIN("node/crypto/x509", says_what_it_was_given, verifies_chain_and_time, requests,
          refuses_bad_names, cut_anywhere)

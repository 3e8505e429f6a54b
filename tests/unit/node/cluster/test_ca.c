/* tests/unit/node/cluster/test_ca.c: the promises of node/cluster/ca.h and identity.h. */
#include "node/cluster/ca.h"

#include "node/base/memory.h"
#include "node/crypto/x509.h"
#include "test.h"

static const int64_t now = 1800000000;

START_TEST(identities)
{
    struct identity a, b;
    char uri[IDENTITY_URI_SIZE];
    ck_ok(identity_parse(CF_SLICE("coffer://c-1/node/n.1_x"), &a, &err_));
    ck_assert_str_eq(a.cluster, "c-1");
    ck_assert_str_eq(a.role, "node");
    ck_assert_str_eq(a.id, "n.1_x");
    identity_uri(&a, uri);
    ck_assert_str_eq(uri, "coffer://c-1/node/n.1_x");
    static const char *const bad[] = {"",
                                      "coffer://",
                                      "coffer://c",
                                      "coffer://c/node",
                                      "coffer://c/node/",
                                      "coffer:///node/n",
                                      "coffer://c//n",
                                      "http://c/node/n",
                                      "coffer://c/node/n/m",
                                      "coffer://c/node/..",
                                      "coffer://c/no de/n",
                                      "coffer://c/node/n%2e",
                                      "Coffer://c/node/n"};
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        ck_status(identity_parse(cf_slice_str(bad[i]), &b, NULL), CF_INVALID);
    }
    char longest[IDENTITY_PART_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    struct cf_slice node = CF_SLICE("node"), c = CF_SLICE("c");
    ck_ok(identity_make(c, node, cf_slice_of(longest, IDENTITY_PART_MAX), &b, &err_));
    identity_uri(&b, uri);
    ck_ok(identity_parse(cf_slice_str(uri), &a, &err_));
    ck_assert(identity_equal(&a, &b));
    ck_status(identity_make(c, node, cf_slice_of(longest, IDENTITY_PART_MAX + 1), &b, NULL),
              CF_INVALID);
    struct identity any = {.role = "node"}, other = {.role = "primary"};
    ck_assert(identity_matches(&any, &a));
    ck_assert(!identity_matches(&other, &a));
}
END_TEST

START_TEST(issues_and_renews)
{
    struct ca *ca, *again;
    struct node_tls *tls;
    ck_ok(ca_new(CF_SLICE("c1"), now, &ca, &err_));
    ck_ok(ca_issue(ca, CF_SLICE("node"), CF_SLICE("n1"), now, 0, &tls, &err_));
    ck_assert_str_eq(node_tls_identity(tls)->cluster, "c1");
    ck_assert_str_eq(node_tls_identity(tls)->id, "n1");
    ck_assert_int_eq(node_tls_not_after_s(tls), now + CA_NODE_LIFE_S);
    int64_t renew = node_tls_renew_at_s(tls);
    ck_assert_int_gt(renew, now + 240 * CA_DAY_S);
    ck_assert_int_lt(renew, now + 245 * CA_DAY_S);
    ck_ok(x509_verify(node_tls_cert(tls), node_tls_cas(tls), now, &err_));
    struct node_tls *copy = node_tls_copy(tls);
    ck_assert(identity_equal(node_tls_identity(copy), node_tls_identity(tls)));
    node_tls_free(tls);
    ck_ok(ca_load(CF_SLICE("c1"), ca_cert(ca), ca_key(ca), &again, &err_));
    ck_assert_int_eq(ca_renew_at_s(again), ca_renew_at_s(ca));
    ck_ok(ca_issue(again, CF_SLICE("secondary"), CF_SLICE("b"), now, 60, &tls, &err_));
    ck_assert_int_eq(node_tls_not_after_s(tls), now + 60);
    ck_ok(x509_verify(node_tls_cert(tls), ca_cert(ca), now, &err_));
    node_tls_free(tls); /* never beyond the CA's own end */
    ck_ok(ca_issue(again, CF_SLICE("node"), CF_SLICE("b"), now + CA_LIFE_S - 100, 0, &tls, &err_));
    ck_assert_int_eq(node_tls_not_after_s(tls), now + CA_LIFE_S);
    node_tls_free(tls);
    ck_status(ca_load(CF_SLICE("c1"), node_tls_cert(copy), node_tls_key(copy), &again, NULL),
              CF_INVALID);
    ck_status(ca_load(CF_SLICE("c1"), ca_cert(ca), node_tls_key(copy), &again, NULL), CF_INVALID);
    ck_status(ca_issue(ca, CF_SLICE("a/b"), CF_SLICE("x"), now, 0, &tls, NULL), CF_INVALID);
    ck_status(ca_new(CF_SLICE("a b"), now, &again, NULL), CF_INVALID);
    node_tls_free(copy);
    ca_free(again);
    ca_free(ca);
}
END_TEST

START_TEST(signs_only_what_is_allowed)
{
    struct ca *ca;
    struct secret *key;
    struct identity wanted;
    struct node_tls *tls;
    CF_BUF(csr) = {0};
    CF_BUF(cert) = {0};
    struct cf_slice node = CF_SLICE("node"), n2 = CF_SLICE("n2");
    ck_ok(ca_new(CF_SLICE("c1"), now, &ca, &err_));
    ck_ok(x509_key_new(&key, &err_));
    ck_ok(identity_make(CF_SLICE("c1"), node, n2, &wanted, &err_));
    ck_ok(ca_request(&wanted, key, &csr, &err_));
    struct cf_slice request = cf_buf_slice(&csr);
    ck_status(ca_sign(ca, request, node, CF_SLICE("n1"), now, 0, &cert, NULL), CF_DENIED);
    ck_status(ca_sign(ca, request, CF_SLICE("primary"), n2, now, 0, &cert, NULL), CF_DENIED);
    ck_status(ca_sign(ca, CF_SLICE("junk"), node, n2, now, 0, &cert, NULL), CF_INVALID);
    ck_assert_uint_eq(cert.size, 0);
    ck_ok(ca_sign(ca, request, node, n2, now, 0, &cert, &err_));
    ck_ok(node_tls_new(cf_buf_slice(&cert), key, ca_cert(ca), &tls, &err_));
    ck_assert(identity_equal(node_tls_identity(tls), &wanted));
    ck_ok(x509_verify(node_tls_cert(tls), ca_cert(ca), now, &err_));
    node_tls_free(tls);
    secret_free(key);
    ca_free(ca);
}
END_TEST

TEST_MAIN("node/cluster/ca", identities, issues_and_renews, signs_only_what_is_allowed)

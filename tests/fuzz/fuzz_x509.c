/* tests/fuzz/fuzz_x509.c: certificates and requests of strangers. What is accepted has texts that
 * end. */
#include "fuzz.h"
#include "node/base/arena.h"
#include "node/crypto/x509.h"
#include "node/crypto/x509_client.h"
#include "node/crypto/x509_ocsp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cf_slice input = cf_slice_of(data, size);
    struct x509_info info;
    struct cf_error err = {0};
    CF_BUF(out) = {0};
    if (x509_read(input, &info, &err) == CF_OK) {
        FUZZ_CHECK(memchr(info.common_name, 0, sizeof(info.common_name)) != NULL);
        FUZZ_CHECK(memchr(info.issuer, 0, sizeof(info.issuer)) != NULL);
        FUZZ_CHECK(memchr(info.uri, 0, sizeof(info.uri)) != NULL);
        FUZZ_CHECK(memchr(info.serial, 0, sizeof(info.serial)) != NULL);
        FUZZ_CHECK(x509_to_der(input, &out, NULL) == CF_OK);
    } else {
        FUZZ_CHECK(err.message[0] != '\0');
    }
    cf_buf_reset(&out);
    cf_ignore(x509_csr_read(input, &info, &out, NULL) != CF_OK, "either is right");
    CF_OWNED(arena) arena = arena_new(4096);
    struct x509_facts facts;
    struct x509_link link, *links;
    struct x509_crl crl;
    size_t count;
    struct cf_slice servers[X509_OCSP_SERVERS_MAX];
    if (x509_facts_read(input, arena, &facts, NULL) == CF_OK) {
        FUZZ_CHECK(facts.der.size != 0);
        FUZZ_CHECK(memchr(facts.common_name.data != NULL ? facts.common_name.data : data, 0,
                          facts.common_name.size) == NULL);
        cf_ignore(x509_client_verify(facts.der, input, 1800000000, arena, &links, &count, NULL) !=
                      CF_OK,
                  "either is right");
        cf_ignore(x509_client_valid(facts.der, 1800000000, arena, &link, NULL) != CF_OK,
                  "either is right");
    }
    cf_ignore(x509_crl_read(input, arena, &crl, NULL) != CF_OK, "either is right");
    x509_ocsp_servers(input, arena, servers, X509_OCSP_SERVERS_MAX, &count);
    FUZZ_CHECK(count <= X509_OCSP_SERVERS_MAX);
    return 0;
}

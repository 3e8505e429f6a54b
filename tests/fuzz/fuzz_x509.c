/* tests/fuzz/fuzz_x509.c: certificates and requests of strangers. What is accepted has texts that
 * end. */
#include "fuzz.h"
#include "node/crypto/x509.h"

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
    return 0;
}

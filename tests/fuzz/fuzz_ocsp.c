/* tests/fuzz/fuzz_ocsp.c: answers of OCSP responders, which come over plain HTTP from anywhere. Whatever is bent, the word
 * about a certificate is the signed one, or there is none. */
#include "fuzz.h"
#include "node/crypto/x509_ocsp.h"
#include "tests/lib/ocsp_data.h"

static void ask(struct cf_slice answer, const char *about, enum x509_ocsp_status signed_as)
{
    struct x509_ocsp word;
    struct cf_error err = {0};
    cf_status status = x509_ocsp_read(answer, cf_slice_str(about), cf_slice_str(OCSP_CA), cf_slice_str(OCSP_OTHER_CA),
                                      OCSP_AT_S, &word, &err);
    if (status == CF_OK) {
        FUZZ_CHECK(word.status == signed_as);
        FUZZ_CHECK(word.this_update_s != 0 && word.this_update_s <= OCSP_AT_S + 300);
        FUZZ_CHECK(word.next_update_s == 0 || word.next_update_s >= OCSP_AT_S - 300);
    } else {
        FUZZ_CHECK(status == CF_DENIED && err.message[0] != '\0');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cf_slice input = cf_slice_of(data, size);
    ask(input, OCSP_GOOD, X509_OCSP_GOOD);
    ask(input, OCSP_REVOKED, X509_OCSP_REVOKED);
    ask(input, OCSP_UNKNOWN, X509_OCSP_UNKNOWN);
    return 0;
}

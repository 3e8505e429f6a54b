/* tests/fuzz/fuzz_pgp.c: PGP keys of strangers. What is accepted has a fingerprint and takes a message. */
#include "fuzz.h"
#include "node/crypto/pgp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pgp_key *key = NULL;
    struct cf_error err = {0};
    CF_BUF(out) = {0};
    if (pgp_key_parse(cf_slice_of(data, size), &key, &err) == CF_OK) {
        size_t digits = strlen(pgp_key_fingerprint(key));
        FUZZ_CHECK(digits == 40 || digits == 64);
        if (pgp_encrypt(key, CF_SLICE("share"), &out, &err) == CF_OK) {
            FUZZ_CHECK(out.size > 5);
        } else {
            FUZZ_CHECK(err.message[0] != '\0');
        }
    } else {
        FUZZ_CHECK(err.message[0] != '\0');
    }
    pgp_key_free(key);
    return 0;
}

/* node/crypto/ecdsa.c: the two forms of an ECDSA signature. */
#include <openssl/bn.h>
#include <openssl/ecdsa.h>

#include "node/crypto/crypto_int.h"

bool crypto_ecdsa_raw(struct cf_slice der, size_t half, struct cf_buf *out)
{
    uint8_t raw[2 * 66];
    const uint8_t *at = der.data;
    ECDSA_SIG *parts = d2i_ECDSA_SIG(NULL, &at, (long)der.size);
    bool good = parts != NULL &&
                BN_bn2binpad(ECDSA_SIG_get0_r(parts), raw, (int)half) == (int)half &&
                BN_bn2binpad(ECDSA_SIG_get0_s(parts), raw + half, (int)half) == (int)half;
    ECDSA_SIG_free(parts);
    if (good) {
        cf_buf_add(out, raw, 2 * half);
    }
    return good;
}

uint8_t *crypto_ecdsa_der(struct cf_slice raw, size_t half, size_t *ret_size)
{
    uint8_t *der = NULL;
    int length = -1;
    ECDSA_SIG *parts = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw.data, (int)half, NULL);
    BIGNUM *s = BN_bin2bn(raw.data + half, (int)half, NULL);
    if (parts != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(parts, r, s) == 1) {
        r = s = NULL; /* parts owns them now */
        length = i2d_ECDSA_SIG(parts, &der);
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(parts);
    *ret_size = length > 0 ? (size_t)length : 0;
    return length > 0 ? der : NULL;
}

/* node/crypto/sign_int.h: a signing key as this folder sees it (certificates need the OpenSSL
 * form). */
#ifndef COFFER_CRYPTO_SIGN_INT_H
#define COFFER_CRYPTO_SIGN_INT_H

#include <stdbool.h>

#include <openssl/evp.h>

#include "node/crypto/sign.h"

struct sign_key {
    EVP_PKEY *pkey;
    enum sign_kind kind;
    bool has_private;
};

/* Takes over `pkey` (also on failure). CF_INVALID when it is none of the three kinds. */
CF_CHECKED cf_status sign_adopt(EVP_PKEY *pkey, bool has_private, struct sign_key **ret,
                                struct cf_error *err);

#endif

/* node/crypto/x509_int.h: what x509.c and x509_read.c share. */
#ifndef COFFER_CRYPTO_X509_INT_H
#define COFFER_CRYPTO_X509_INT_H

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "node/crypto/x509.h"

/* An error with the reason on top of OpenSSL's queue, which is drained. */
cf_status x509_openssl(struct cf_error *err, cf_status status, const char *what);
CF_CHECKED cf_status x509_load_key(const struct secret *key, EVP_PKEY **ret, struct cf_error *err);
CF_CHECKED cf_status x509_load_cert(struct cf_slice pem_or_der, X509 **ret, struct cf_error *err);
/* Appends what the memory BIO holds and frees it. */
CF_CHECKED cf_status x509_take_bio(BIO *bio, struct cf_buf *ret, struct cf_error *err);

#endif

/* node/crypto/pgp.c: OpenPGP by librnp; the one file that includes it. */
#include "node/crypto/pgp.h"

#include "node/base/memory.h"

#define FINGERPRINT_MAX ((size_t)64) /* hex digits: version 4 has 40, version 6 has 64 */

struct pgp_key {
    struct cf_buf bytes;
    char fingerprint[FINGERPRINT_MAX + 1];
};

void pgp_key_free(struct pgp_key *pgp_key)
{
    if (pgp_key != NULL) {
        cf_buf_done(&pgp_key->bytes);
        cf_free(pgp_key);
    }
}

const char *pgp_key_fingerprint(const struct pgp_key *key)
{
    return key->fingerprint;
}

#if HAVE_RNP

#include <fcntl.h>
#include <rnp/rnp.h>
#include <rnp/rnp_err.h>

/* A keyring of one key, made anew for each use: the library's objects belong to one thread. */
struct ring {
    rnp_ffi_t ffi;
    rnp_key_handle_t primary;
};

static void ring_done(struct ring *ring)
{
    rnp_key_handle_destroy(ring->primary);
    rnp_ffi_destroy(ring->ffi);
}

/* The one primary key of the ring. Several are one person's mistake or another one's trick. */
static cf_status find_primary(struct ring *ring, struct cf_error *err)
{
    rnp_identifier_iterator_t each = NULL;
    const char *fingerprint = NULL;
    unsigned primaries = 0;
    if (rnp_identifier_iterator_create(ring->ffi, &each, "fingerprint") != RNP_SUCCESS) {
        return cf_fail(err, CF_INTERNAL, "cannot look at a PGP key");
    }
    while (rnp_identifier_iterator_next(each, &fingerprint) == RNP_SUCCESS &&
           fingerprint != NULL) {
        rnp_key_handle_t key = NULL;
        bool is_primary = false;
        if (rnp_locate_key(ring->ffi, "fingerprint", fingerprint, &key) != RNP_SUCCESS ||
            key == NULL) {
            continue;
        }
        if (rnp_key_is_primary(key, &is_primary) != RNP_SUCCESS || !is_primary) {
            rnp_key_handle_destroy(key);
            continue;
        }
        primaries++;
        rnp_key_handle_destroy(ring->primary);
        ring->primary = key;
    }
    rnp_identifier_iterator_destroy(each);
    if (primaries == 0) {
        return cf_fail(err, CF_INVALID, "no OpenPGP public key: give one as \"gpg --export\" "
                                        "writes it, in base64");
    }
    return primaries == 1 ? CF_OK
                          : cf_fail(err, CF_INVALID, "%u PGP keys where one is expected", primaries);
}

static cf_status open_ring(struct ring *ring, struct cf_slice bytes, struct cf_error *err)
{
    rnp_input_t input = NULL;
    size_t secrets = 0;
    if (rnp_ffi_create(&ring->ffi, RNP_KEYSTORE_GPG, RNP_KEYSTORE_GPG) != RNP_SUCCESS) {
        return cf_fail(err, CF_INTERNAL, "cannot set up OpenPGP");
    }
    int log = open("/dev/null", O_WRONLY | O_CLOEXEC); /* the library would write on stderr */
    if (log >= 0 && rnp_ffi_set_log_fd(ring->ffi, log) != RNP_SUCCESS) {
        return cf_fail(err, CF_INTERNAL, "cannot set up OpenPGP");
    }
    if (rnp_input_from_memory(&input, bytes.data, bytes.size, false) != RNP_SUCCESS) {
        return cf_fail(err, CF_INVALID, "no OpenPGP public key");
    }
    rnp_result_t result = rnp_import_keys(
        ring->ffi, input, RNP_LOAD_SAVE_PUBLIC_KEYS | RNP_LOAD_SAVE_SECRET_KEYS, NULL);
    rnp_input_destroy(input);
    if (result != RNP_SUCCESS) {
        return cf_fail(err, CF_INVALID, "no OpenPGP public key: give one as \"gpg --export\" "
                                        "writes it, in base64");
    }
    if (rnp_get_secret_key_count(ring->ffi, &secrets) != RNP_SUCCESS || secrets != 0) {
        return cf_fail(err, CF_INVALID, "this is a PGP private key: give the public one, and "
                                        "consider the private one as known to others");
    }
    return find_primary(ring, err);
}

/* Reasons first that people can do something about. */
static cf_status check_use(const struct ring *ring, struct cf_error *err)
{
    rnp_key_handle_t chosen = NULL;
    bool is_revoked = false, is_expired = false, is_valid = false;
    cf_status status = CF_OK;
    if (rnp_key_is_revoked(ring->primary, &is_revoked) != RNP_SUCCESS || is_revoked) {
        return cf_fail(err, CF_INVALID, "this PGP key was revoked by its owner");
    }
    if (rnp_key_is_expired(ring->primary, &is_expired) != RNP_SUCCESS || is_expired) {
        return cf_fail(err, CF_INVALID, "this PGP key has expired");
    }
    if (rnp_key_is_valid(ring->primary, &is_valid) != RNP_SUCCESS || !is_valid) {
        return cf_fail(err, CF_INVALID, "this PGP key has no valid signature of its owner");
    }
    if (rnp_key_get_default_key(ring->primary, "encrypt", 0, &chosen) != RNP_SUCCESS ||
        chosen == NULL) {
        status = cf_fail(err, CF_INVALID, "this PGP key can only sign: it has no valid subkey to "
                                          "encrypt to");
    }
    rnp_key_handle_destroy(chosen);
    return status;
}

static cf_status take_fingerprint(const struct ring *ring, struct pgp_key *key,
                                  struct cf_error *err)
{
    char *text = NULL;
    if (rnp_key_get_fprint(ring->primary, &text) != RNP_SUCCESS) {
        return cf_fail(err, CF_INVALID, "this PGP key has no fingerprint");
    }
    size_t size = cf_min(strlen(text), FINGERPRINT_MAX);
    for (size_t i = 0; i < size; i++) {
        key->fingerprint[i] =
            (char)(text[i] >= 'A' && text[i] <= 'F' ? text[i] - 'A' + 'a' : text[i]);
    }
    rnp_buffer_destroy(text);
    return CF_OK;
}

cf_status pgp_key_parse(struct cf_slice bytes, struct pgp_key **ret, struct cf_error *err)
{
    struct ring ring = {0};
    if (bytes.size == 0 || bytes.size > PGP_KEY_MAX) {
        return cf_fail(err, CF_INVALID, "an OpenPGP public key has 1 to %zu bytes", PGP_KEY_MAX);
    }
    CF_OWNED(pgp_key) key = cf_new(struct pgp_key);
    cf_status status = open_ring(&ring, bytes, err);
    if (status == CF_OK) {
        status = check_use(&ring, err);
    }
    if (status == CF_OK) {
        status = take_fingerprint(&ring, key, err);
    }
    ring_done(&ring);
    CF_TRY(status);
    cf_buf_add_slice(&key->bytes, bytes);
    CF_TRY(cf_buf_check(&key->bytes, err));
    *ret = pgp_key_take(&key);
    return CF_OK;
}

/* The message in the library's memory, which is freed by its output. */
static rnp_result_t make_message(const struct ring *ring, rnp_input_t plain, rnp_output_t to)
{
    rnp_op_encrypt_t op = NULL;
    rnp_result_t result = rnp_op_encrypt_create(&op, ring->ffi, plain, to);
    if (result == RNP_SUCCESS) {
        result = rnp_op_encrypt_add_recipient(op, ring->primary);
    }
    if (result == RNP_SUCCESS) {
        result = rnp_op_encrypt_set_cipher(op, "AES256");
    }
    if (result == RNP_SUCCESS) {
        /* A share does not compress, and sizes tell nothing about it. */
        result = rnp_op_encrypt_set_compression(op, "Uncompressed", 0);
    }
    if (result == RNP_SUCCESS) {
        result = rnp_op_encrypt_execute(op);
    }
    rnp_op_encrypt_destroy(op);
    return result;
}

cf_status pgp_encrypt(const struct pgp_key *key, struct cf_slice plain, struct cf_buf *out,
                      struct cf_error *err)
{
    struct ring ring = {0};
    rnp_input_t from = NULL;
    rnp_output_t to = NULL;
    uint8_t *message = NULL;
    size_t size = 0;
    cf_status status = open_ring(&ring, cf_buf_slice(&key->bytes), err);
    if (status == CF_OK) {
        rnp_result_t result = rnp_input_from_memory(&from, plain.data, plain.size, false);
        if (result == RNP_SUCCESS) {
            result = rnp_output_to_memory(&to, 0);
        }
        if (result == RNP_SUCCESS) {
            result = make_message(&ring, from, to);
        }
        if (result == RNP_SUCCESS) {
            result = rnp_output_memory_get_buf(to, &message, &size, false);
        }
        if (result == RNP_SUCCESS) {
            cf_buf_add(out, message, size);
            status = cf_buf_check(out, err);
        } else {
            status = cf_fail(err, CF_INVALID, "cannot encrypt for the PGP key %s: %s",
                             key->fingerprint, rnp_result_to_string(result));
        }
    }
    rnp_input_destroy(from);
    rnp_output_destroy(to);
    ring_done(&ring);
    return status;
}

#else

static cf_status unsupported(struct cf_error *err)
{
    return cf_fail(err, CF_INVALID, "this build cannot encrypt with PGP: leave the PGP keys out, or "
                                    "use a build with librnp");
}

cf_status pgp_key_parse(struct cf_slice bytes, struct pgp_key **ret, struct cf_error *err)
{
    (void)bytes;
    (void)ret;
    return unsupported(err);
}

cf_status pgp_encrypt(const struct pgp_key *key, struct cf_slice plain, struct cf_buf *out,
                      struct cf_error *err)
{
    (void)key;
    (void)plain;
    (void)out;
    return unsupported(err);
}

#endif

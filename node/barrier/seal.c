/* node/barrier/seal.c: seal configuration, key files, and the wraps from unseal key to keyring. */
#include "node/barrier/seal.h"

#include <assert.h>

#include "node/base/memory.h"
#include "node/crypto/aead.h"
#include "node/crypto/hash.h"
#include "node/crypto/random.h"

#define WRAP_FORMAT 1
#define WRAP_OVERHEAD ((size_t)1 + AEAD_NONCE_SIZE + AEAD_TAG_SIZE)
#define CONFIG_FORMAT 1
/* Only where there is a wrapped key, so that older nodes read all other seals. */
#define CONFIG_FORMAT_WRAPPED 2
/* 1 format | 1 type | 1 shares | 1 threshold | 4 generation | 1 size of key id | key id; in format 2 the wrapped
 * key follows, to the end */
#define CONFIG_HEAD ((size_t)9)

/* Each wrap has a key of its own, derived with one of these. They are part of the formats. */
#define FOR_ROOT CF_SLICE("coffer seal root key 1")
#define FOR_KEYRING CF_SLICE("coffer seal keyring 1")
#define FOR_CHALLENGE CF_SLICE("coffer seal challenge 1")

const char *seal_type_name(enum seal_type type)
{
    return type == SEAL_STATIC ? "static" : type == SEAL_TRANSIT ? "transit" : "shamir";
}

static cf_status check_config(const struct seal_config *config, struct cf_error *err)
{
    size_t id_size = strnlen(config->key_id, sizeof(config->key_id));
    bool has_shares = config->shape.shares != 0 || config->shape.threshold != 0;
    if (id_size == sizeof(config->key_id)) {
        return cf_fail(err, CF_INVALID, "key id of the seal is longer than %zu bytes",
                       SEAL_KEY_ID_MAX);
    }
    if (config->type != SEAL_SHAMIR && !seal_is_auto(config->type)) {
        return cf_fail(err, CF_INVALID, "unknown type of seal");
    }
    size_t wrapped = strnlen(config->wrapped_key, sizeof(config->wrapped_key));
    if ((wrapped != 0) != (config->type == SEAL_TRANSIT) || wrapped > SEAL_WRAPPED_MAX) {
        return cf_fail(err, CF_INVALID, "a seal of type \"%s\" cannot have a wrapped key of %zu bytes",
                       seal_type_name(config->type), wrapped);
    }
    return config->type == SEAL_SHAMIR || has_shares ? shamir_check(config->shape, err) : CF_OK;
}

cf_status seal_config_dump(const struct seal_config *config, struct cf_buf *out,
                           struct cf_error *err)
{
    CF_TRY(check_config(config, err));
    size_t id_size = strlen(config->key_id);
    size_t wrapped = strlen(config->wrapped_key);
    cf_buf_add_byte(out, wrapped != 0 ? CONFIG_FORMAT_WRAPPED : CONFIG_FORMAT);
    cf_buf_add_byte(out, (uint8_t)config->type);
    cf_buf_add_byte(out, (uint8_t)config->shape.shares);
    cf_buf_add_byte(out, (uint8_t)config->shape.threshold);
    cf_buf_add_u32(out, config->generation);
    cf_buf_add_byte(out, (uint8_t)id_size);
    cf_buf_add(out, config->key_id, id_size);
    cf_buf_add(out, config->wrapped_key, wrapped);
    return cf_buf_check(out, err);
}

cf_status seal_config_load(struct cf_slice bytes, struct seal_config *ret, struct cf_error *err)
{
    if (bytes.size != 0 && bytes.data[0] > CONFIG_FORMAT_WRAPPED) {
        return cf_fail(err, CF_UNSUPPORTED,
                       "seal configuration has format %u, which needs a newer version",
                       bytes.data[0]);
    }
    bool is_wrapped = bytes.size != 0 && bytes.data[0] == CONFIG_FORMAT_WRAPPED;
    if (bytes.size < CONFIG_HEAD || bytes.data[0] == 0 || bytes.data[8] > SEAL_KEY_ID_MAX ||
        bytes.size < CONFIG_HEAD + bytes.data[8] ||
        (!is_wrapped && bytes.size != CONFIG_HEAD + bytes.data[8]) ||
        bytes.size > CONFIG_HEAD + bytes.data[8] + SEAL_WRAPPED_MAX) {
        return cf_fail(err, CF_CORRUPT, "seal configuration is malformed");
    }
    struct seal_config config = {
        .type = (enum seal_type)bytes.data[1],
        .shape = {.shares = bytes.data[2], .threshold = bytes.data[3]},
        .generation = cf_get_u32(bytes.data + 4),
    };
    struct cf_slice wrapped = cf_slice_from(bytes, CONFIG_HEAD + bytes.data[8]);
    memcpy(config.key_id, bytes.data + CONFIG_HEAD, bytes.data[8]);
    if (wrapped.size != 0) {
        memcpy(config.wrapped_key, wrapped.data, wrapped.size);
    }
    if (check_config(&config, NULL) != CF_OK || strlen(config.key_id) != bytes.data[8] ||
        strlen(config.wrapped_key) != wrapped.size || is_wrapped != (wrapped.size != 0)) {
        return cf_fail(err, CF_CORRUPT, "seal configuration contradicts itself");
    }
    *ret = config;
    return CF_OK;
}

struct secret *seal_new_key(const struct cf_random *random)
{
    struct secret *key = secret_new(SEAL_KEY_SIZE);
    cf_random_fill(random, secret_bytes(key), SEAL_KEY_SIZE);
    return key;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct cf_slice trim(struct cf_slice text)
{
    while (text.size != 0 && is_space(text.data[0])) {
        text = cf_slice_from(text, 1);
    }
    while (text.size != 0 && is_space(text.data[text.size - 1])) {
        text.size--;
    }
    return text;
}

static int hex_value(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static int base64_value(uint8_t c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+' || c == '-' ? 62
           : c == '/' || c == '_' ? 63
                                  : -1;
}

/* Digits of `bits` bits each into 32 bytes; spare bits at the end have to be 0. */
static bool read_digits(struct cf_slice text, unsigned bits, int (*value_of)(uint8_t), uint8_t *to)
{
    uint32_t pending = 0;
    unsigned have = 0;
    size_t done = 0;
    for (size_t i = 0; i < text.size; i++) {
        int value = value_of(text.data[i]);
        if (value < 0) {
            return false;
        }
        pending = (pending << bits | (uint32_t)value) & 0xffff;
        have += bits;
        if (have >= 8) {
            have -= 8;
            if (done == SEAL_KEY_SIZE) {
                return false;
            }
            to[done++] = (uint8_t)(pending >> have);
        }
    }
    return done == SEAL_KEY_SIZE && (pending & ((1u << have) - 1)) == 0;
}

/* A library that may not know node/format decodes its two small forms itself. */
cf_status seal_static_key(struct cf_slice content, struct secret **ret, struct cf_error *err)
{
    if (content.size == SEAL_KEY_SIZE) {
        *ret = secret_copy(content);
        return CF_OK;
    }
    struct cf_slice text = trim(content);
    CF_OWNED(secret) key = secret_new(SEAL_KEY_SIZE);
    bool good = false;
    if (text.size == 2 * SEAL_KEY_SIZE) {
        good = read_digits(text, 4, hex_value, secret_bytes(key));
    } else if (text.size == 43 || (text.size == 44 && text.data[43] == '=')) {
        good = read_digits(cf_slice_first(text, 43), 6, base64_value, secret_bytes(key));
    }
    if (!good) {
        return cf_fail(err, CF_INVALID,
                       "the key of a static seal is 32 raw bytes, 64 hex digits, or base64 of 32 "
                       "bytes");
    }
    *ret = secret_take(&key);
    return CF_OK;
}

static cf_status wrap_key(struct cf_slice from, struct cf_slice purpose, struct aead_key **ret,
                          struct cf_error *err)
{
    if (from.size != SEAL_KEY_SIZE) {
        return cf_fail(err, CF_INVALID, "a key of %zu bytes opens no seal", from.size);
    }
    uint8_t derived[AEAD_KEY_SIZE];
    hash_hkdf_sha256(from, CF_SLICE_EMPTY, purpose, derived, sizeof(derived));
    cf_status status = aead_key_new(cf_slice_of(derived, sizeof(derived)), ret, err);
    cf_wipe(derived, sizeof(derived));
    return status;
}

static cf_status wrap(struct cf_slice from, struct cf_slice purpose, struct cf_slice plain,
                      struct cf_buf *out, struct cf_error *err)
{
    CF_OWNED(aead_key) key = NULL;
    CF_TRY(wrap_key(from, purpose, &key, err));
    if (!cf_buf_reserve(out, plain.size + WRAP_OVERHEAD)) {
        return cf_buf_check(out, err);
    }
    uint8_t *to = out->data + out->size;
    struct aead_input input = {.aad = cf_slice_of(to, 1), .aad_more = purpose};
    random_public(input.nonce, sizeof(input.nonce));
    to[0] = WRAP_FORMAT;
    memcpy(to + 1, input.nonce, sizeof(input.nonce));
    CF_TRY(aead_seal(key, &input, plain, to + 1 + AEAD_NONCE_SIZE, err));
    out->size += plain.size + WRAP_OVERHEAD;
    return CF_OK;
}

/* `to` takes wrapped.size - WRAP_OVERHEAD bytes. */
static cf_status unwrap(struct cf_slice from, struct cf_slice purpose, struct cf_slice wrapped,
                        uint8_t *to, struct cf_error *err)
{
    CF_OWNED(aead_key) key = NULL;
    CF_TRY(wrap_key(from, purpose, &key, err));
    struct aead_input input = {.aad = cf_slice_first(wrapped, 1), .aad_more = purpose};
    memcpy(input.nonce, wrapped.data + 1, sizeof(input.nonce));
    return aead_open(key, &input, cf_slice_from(wrapped, 1 + AEAD_NONCE_SIZE), to, err);
}

/* Format and size of a record, before any key is tried. */
static cf_status check_wrapped(struct cf_slice wrapped, const char *what, size_t least, size_t most,
                               struct cf_error *err)
{
    if (wrapped.size != 0 && wrapped.data[0] > WRAP_FORMAT) {
        return cf_fail(err, CF_UNSUPPORTED, "%s has format %u, which needs a newer version", what,
                       wrapped.data[0]);
    }
    if (wrapped.size < WRAP_OVERHEAD + least || wrapped.size > WRAP_OVERHEAD + most ||
        wrapped.data[0] != WRAP_FORMAT) {
        return cf_fail(err, CF_CORRUPT, "%s is malformed", what);
    }
    return CF_OK;
}

cf_status seal_wrap_root(struct cf_slice unseal_key, struct cf_slice root_key, struct cf_buf *out,
                         struct cf_error *err)
{
    if (root_key.size != SEAL_KEY_SIZE) {
        return cf_fail(err, CF_INVALID, "a root key has %zu bytes, not %zu", SEAL_KEY_SIZE,
                       root_key.size);
    }
    return wrap(unseal_key, FOR_ROOT, root_key, out, err);
}

cf_status seal_unwrap_root(struct cf_slice unseal_key, struct cf_slice wrapped, struct secret **ret,
                           struct cf_error *err)
{
    CF_TRY(check_wrapped(wrapped, "wrapped root key", SEAL_KEY_SIZE, SEAL_KEY_SIZE, err));
    CF_OWNED(secret) root = secret_new(SEAL_KEY_SIZE);
    if (unwrap(unseal_key, FOR_ROOT, wrapped, secret_bytes(root), err) != CF_OK) {
        /* Damage and a wrong key look alike to the cipher; nearly always it is the key. */
        return cf_fail(err, CF_INVALID, "invalid key: the key shares do not open this seal");
    }
    *ret = secret_take(&root);
    return CF_OK;
}

cf_status seal_verify(struct cf_slice unseal_key, struct cf_slice wrapped, struct cf_error *err)
{
    CF_OWNED(secret) root = NULL;
    return seal_unwrap_root(unseal_key, wrapped, &root, err);
}

cf_status seal_wrap_keyring(struct cf_slice root_key, const struct keyring *keyring,
                            struct cf_buf *out, struct cf_error *err)
{
    CF_BUF(plain) = {.max = SEAL_KEYRING_MAX, .secret = true};
    CF_TRY(keyring_dump(keyring, &plain, err));
    return wrap(root_key, FOR_KEYRING, cf_buf_slice(&plain), out, err);
}

cf_status seal_unwrap_keyring(struct cf_slice root_key, struct cf_slice wrapped,
                              struct keyring **ret, struct cf_error *err)
{
    CF_TRY(check_wrapped(wrapped, "wrapped keyring", 1, SEAL_KEYRING_MAX, err));
    CF_BUF(plain) = {.max = SEAL_KEYRING_MAX, .secret = true};
    size_t size = wrapped.size - WRAP_OVERHEAD;
    if (!cf_buf_reserve(&plain, size)) {
        return cf_buf_check(&plain, err);
    }
    if (unwrap(root_key, FOR_KEYRING, wrapped, plain.data, err) != CF_OK) {
        return cf_fail(err, CF_CORRUPT, "wrapped keyring is damaged or another root key's");
    }
    plain.size = size;
    return keyring_load(cf_buf_slice(&plain), ret, err);
}

/* What both sides compute from the random bytes of a challenge. */
static void answer_to(const uint8_t drawn[32], struct cf_slice identity, uint8_t answer[32])
{
    const struct cf_slice parts[] = {CF_SLICE("coffer join answer 1"), identity};
    hash_hmac_sha256_parts(cf_slice_of(drawn, 32), parts, CF_LENGTH(parts), answer);
}

cf_status seal_challenge_new(struct cf_slice unseal_key, struct cf_slice identity,
                             const struct cf_random *random, struct cf_buf *challenge,
                             uint8_t expected[32], struct cf_error *err)
{
    uint8_t drawn[32];
    cf_random_fill(random, drawn, sizeof(drawn));
    cf_status status =
        wrap(unseal_key, FOR_CHALLENGE, cf_slice_of(drawn, sizeof(drawn)), challenge, err);
    if (status == CF_OK) {
        answer_to(drawn, identity, expected);
    }
    cf_wipe(drawn, sizeof(drawn));
    return status;
}

cf_status seal_challenge_answer(struct cf_slice unseal_key, struct cf_slice identity,
                                struct cf_slice challenge, uint8_t answer[32], struct cf_error *err)
{
    uint8_t drawn[32];
    CF_TRY(check_wrapped(challenge, "challenge", sizeof(drawn), sizeof(drawn), err));
    if (unwrap(unseal_key, FOR_CHALLENGE, challenge, drawn, err) != CF_OK) {
        return cf_fail(err, CF_INVALID, "challenge was not made with the unseal key of this node");
    }
    answer_to(drawn, identity, answer);
    cf_wipe(drawn, sizeof(drawn));
    return CF_OK;
}

bool seal_challenge_check(const uint8_t expected[32], struct cf_slice answer)
{
    return answer.size == 32 && cf_equal_secret(expected, answer.data, 32);
}

/* node/core/pgp_shares.c: key shares as answers hold them, for PGP keys or in plain. */
#include "node/core/pgp_shares.h"

#include "node/base/memory.h"
#include "node/crypto/pgp.h"
#include "node/format/encode.h"

struct pgp_shares {
    struct pgp_key **keys;
    size_t count;
};

void pgp_shares_free(struct pgp_shares *pgp_shares)
{
    if (pgp_shares == NULL) {
        return;
    }
    for (size_t i = 0; i < pgp_shares->count; i++) {
        pgp_key_free(pgp_shares->keys[i]);
    }
    cf_free(pgp_shares->keys);
    cf_free(pgp_shares);
}

static cf_status read_one(struct cf_slice text, size_t number, struct pgp_key **ret,
                          struct cf_error *err)
{
    CF_BUF(bytes) = {.max = PGP_KEY_MAX};
    cf_status status = encode_base64_decode(&bytes, text, NULL);
    if (status != CF_OK) {
        return cf_fail(err, CF_INVALID, "PGP key %zu is not base64, or larger than %zu bytes",
                       number, PGP_KEY_MAX);
    }
    status = pgp_key_parse(cf_buf_slice(&bytes), ret, err);
    return status == CF_OK ? CF_OK : cf_error_prefix(err, status, "PGP key %zu", number);
}

cf_status pgp_shares_read(const struct request *rq, const char *field, size_t count,
                          struct pgp_shares **ret, struct cf_error *err)
{
    struct cf_slice *texts;
    size_t given;
    *ret = NULL;
    CF_TRY(request_list(rq, field, true, &texts, &given, err));
    if (given == 0) {
        return CF_OK;
    }
    if (given != count) {
        return cf_fail(err, CF_INVALID,
                       "incorrect number of PGP keys in \"%s\": %zu for %zu shares", field, given,
                       count);
    }
    CF_OWNED(pgp_shares) keys = cf_new(struct pgp_shares);
    keys->keys = cf_zalloc(count * sizeof(struct pgp_key *));
    for (size_t i = 0; i < count; i++) {
        CF_TRY(read_one(texts[i], i + 1, &keys->keys[i], err));
        keys->count = i + 1;
    }
    *ret = pgp_shares_take(&keys);
    return CF_OK;
}

cf_status pgp_shares_seal_text(const struct pgp_shares *keys, size_t i, struct cf_slice text,
                               struct cf_buf *out, struct cf_error *err)
{
    if (i >= keys->count) {
        return cf_fail(err, CF_INTERNAL, "no PGP key for share %zu", i + 1);
    }
    return pgp_encrypt(keys->keys[i], text, out, err);
}

cf_status pgp_shares_seal(const struct pgp_shares *keys, size_t i, struct cf_slice share,
                          struct cf_buf *out, struct cf_error *err)
{
    if (keys == NULL) {
        cf_buf_add_slice(out, share);
        return cf_buf_check(out, err);
    }
    CF_BUF(text) = {.secret = true};
    encode_hex(&text, share);
    return pgp_shares_seal_text(keys, i, cf_buf_slice(&text), out, err);
}

cf_status pgp_shares_put(const struct pgp_shares *keys, struct secret *const *shares, size_t count,
                         const char *hex_name, const char *base64_name, struct arena *arena,
                         struct json *body, struct cf_error *err)
{
    struct json *hex = json_array_new(arena);
    struct json *base64 = json_array_new(arena);
    for (size_t i = 0; i < count; i++) {
        CF_BUF(bytes) = {.secret = true};
        CF_BUF(text) = {.secret = true};
        CF_TRY(pgp_shares_seal(keys, i, secret_slice(shares[i]), &bytes, err));
        encode_hex(&text, cf_buf_slice(&bytes));
        json_array_add(arena, hex, json_from_string(arena, cf_buf_slice(&text)));
        cf_buf_reset(&text);
        encode_base64(&text, cf_buf_slice(&bytes));
        json_array_add(arena, base64, json_from_string(arena, cf_buf_slice(&text)));
    }
    json_set(arena, body, hex_name, hex);
    json_set(arena, body, base64_name, base64);
    return CF_OK;
}

struct json *pgp_shares_fingerprints(const struct pgp_shares *keys, struct arena *arena)
{
    if (keys == NULL) {
        return json_null();
    }
    struct json *list = json_array_new(arena);
    for (size_t i = 0; i < keys->count; i++) {
        struct cf_slice text = cf_slice_str(pgp_key_fingerprint(keys->keys[i]));
        json_array_add(arena, list, json_from_string(arena, text));
    }
    return list;
}

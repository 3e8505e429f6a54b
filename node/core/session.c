/* node/core/session.c: X-Vault-Index. */
#include "node/core/session.h"

#include "node/base/memory.h"
#include "node/crypto/hash.h"
#include "node/format/encode.h"

#define TEXT_MAX ((size_t)512)
#define MAC_HEX ((size_t)64)

static void mac_of(const uint8_t salt[32], struct cf_slice head, struct cf_buf *hex)
{
    struct cf_slice parts[2] = {CF_SLICE("X-Vault-Index "), head};
    uint8_t mac[HASH_SHA256_SIZE];
    hash_hmac_sha256_parts(cf_slice_of(salt, 32), parts, 2, mac);
    encode_hex(hex, cf_slice_of(mac, sizeof(mac)));
}

void session_write(const uint8_t salt[32], const char *cluster, struct session_index index,
                   struct cf_buf *to)
{
    CF_BUF(text) = {0};
    CF_BUF(mac) = {0};
    cf_buf_addf(&text, "v1:%s:%llu:%llu", cluster, (unsigned long long)index.local,
                (unsigned long long)index.replicated);
    mac_of(salt, cf_buf_slice(&text), &mac);
    cf_buf_add_byte(&text, ':');
    cf_buf_add_slice(&text, cf_buf_slice(&mac));
    encode_base64(to, cf_buf_slice(&text));
}

/* Cuts the part up to the next colon off *rest. */
static struct cf_slice next_part(struct cf_slice *rest)
{
    size_t colon = cf_slice_find(*rest, ':');
    struct cf_slice part = cf_slice_first(*rest, colon);
    *rest = colon < rest->size ? cf_slice_from(*rest, colon + 1) : CF_SLICE_EMPTY;
    return part;
}

static bool read_number(struct cf_slice digits, uint64_t *ret)
{
    uint64_t value = 0;
    if (digits.size == 0 || digits.size > 19) { /* 19 digits always fit */
        return false;
    }
    for (size_t i = 0; i < digits.size; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(digits.data[i] - '0');
    }
    *ret = value;
    return true;
}

cf_status session_read(const uint8_t salt[32], const char *cluster, struct cf_slice text,
                       struct session_index *ret, struct cf_error *err)
{
    CF_BUF(plain) = {.max = TEXT_MAX};
    CF_BUF(mac) = {0};
    struct session_index index;
    if (text.size > TEXT_MAX || encode_base64_decode(&plain, text, NULL) != CF_OK) {
        return cf_fail(err, CF_INVALID, "malformed X-Vault-Index header");
    }
    struct cf_slice rest = cf_buf_slice(&plain);
    struct cf_slice version = next_part(&rest), id = next_part(&rest);
    struct cf_slice local = next_part(&rest), replicated = next_part(&rest);
    if (!cf_slice_is(version, "v1") || !read_number(local, &index.local) ||
        !read_number(replicated, &index.replicated) || rest.size != MAC_HEX) {
        return cf_fail(err, CF_INVALID, "malformed X-Vault-Index header");
    }
    if (!cf_slice_is(id, cluster)) {
        return CF_OK;
    }
    mac_of(salt, cf_slice_first(cf_buf_slice(&plain), plain.size - MAC_HEX - 1), &mac);
    if (!cf_equal_secret(mac.data, rest.data, MAC_HEX)) {
        return cf_fail(err, CF_INVALID, "X-Vault-Index header was not made by this cluster");
    }
    ret->local = cf_max(ret->local, index.local);
    ret->replicated = cf_max(ret->replicated, index.replicated);
    return CF_OK;
}

/* node/server/transit.c: three calls to another server's API. */
#include "node/server/transit.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "node/format/encode.h"
#include "node/server/outgoing.h"

#define TIMEOUT_MS 10000
#define TOKEN_MAX ((size_t)4096)

/* Read anew for each call: a file with the token may be replaced while this node runs. */
static cf_status token_of(const struct config_seal *seal, struct arena *arena, const char **ret,
                          struct cf_error *err)
{
    static const char scheme[] = "file://";
    CF_BUF(text) = {.max = TOKEN_MAX, .secret = true};
    if (strncmp(seal->token, scheme, sizeof(scheme) - 1) != 0) {
        *ret = seal->token;
        return CF_OK;
    }
    const char *path = seal->token + sizeof(scheme) - 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return cf_fail(err, CF_UNAVAILABLE, "seal \"transit\": cannot read the token's file \"%s\": %s",
                       path, strerror(errno));
    }
    ssize_t got = 1;
    while (got > 0 && cf_buf_reserve(&text, 512)) {
        got = read(fd, text.data + text.size, 512);
        text.size += got > 0 ? (size_t)got : 0;
    }
    (void)close(fd);
    while (text.size != 0 && text.data[text.size - 1] <= ' ') {
        text.size--;
    }
    if (got != 0 || text.size == 0) {
        return cf_fail(err, CF_UNAVAILABLE, "seal \"transit\": no token in the file \"%s\"", path);
    }
    *ret = arena_printf(arena, "%.*s", (int)text.size, (const char *)text.data);
    return CF_OK;
}

/* One call; *ret is the member `part` of the answer. */
static cf_status call(const struct config_seal *seal, const char *path, const struct json *body,
                      const char *part, struct arena *arena, struct json **ret,
                      struct cf_error *err)
{
    struct outgoing_target target = {.url = seal->address,
                                     .ns = seal->ns,
                                     .ca_file = seal->ca_file,
                                     .cert_file = seal->cert_file,
                                     .key_file = seal->key_file,
                                     .server_name = seal->server_name,
                                     .skip_verify = seal->skip_verify};
    const char *token;
    struct json *answer;
    int http;
    CF_TRY(token_of(seal, arena, &token, err));
    cf_status status = outgoing_post(&target, path, token, body, TIMEOUT_MS, arena, &http, &answer, err);
    if (status != CF_OK) {
        cf_error_detail(err, "Is that server up, and is this its address? Over TLS its certificate has to come from the CA "
                             "in tls_ca_cert, and to bear the name in the address, or tls_server_name.");
        return status;
    }
    if (http != 200) {
        bool may_heal = http >= 500 || http == 429 || http == 412;
        status = cf_fail(err, may_heal ? CF_UNAVAILABLE : CF_DENIED,
                       "seal \"transit\": %s answers %d to %s: %s", seal->address, http, path,
                       outgoing_errors(arena, answer));
        cf_error_detail(err, may_heal ? "That server has to be unsealed and well."
                                      : "The seal's token has to be valid there, and to be allowed update on encrypt and "
                                        "decrypt of the key.");
        return status;
    }
    *ret = (struct json *)(uintptr_t)json_get(answer, part);
    return CF_OK;
}

static const char *path_to(const struct config_seal *seal, const char *operation,
                           struct arena *arena)
{
    size_t size = strlen(seal->mount_path);
    const char *mount = seal->mount_path;
    while (size != 0 && mount[size - 1] == '/') {
        size--;
    }
    while (size != 0 && mount[0] == '/') {
        mount++;
        size--;
    }
    return arena_printf(arena, "%.*s/%s/%s", (int)size, mount, operation, seal->key_name);
}

cf_status transit_wrap(const struct config_seal *seal, const struct secret *key, struct cf_buf *to,
                       struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(2048);
    CF_BUF(text) = {.secret = true};
    struct json *data;
    struct json *body = json_object_new(arena);
    encode_base64(&text, secret_slice(key));
    json_set_string(arena, body, "plaintext", cf_buf_slice(&text));
    CF_TRY(call(seal, path_to(seal, "encrypt", arena), body, "data", arena, &data, err));
    struct cf_slice wrapped = json_get_string(data, "ciphertext");
    if (wrapped.size == 0 || wrapped.size > SEAL_WRAPPED_MAX ||
        memchr(wrapped.data, 0, wrapped.size) != NULL) {
        return cf_fail(err, CF_DENIED, "seal \"transit\": %s answers no ciphertext of use",
                       seal->address);
    }
    cf_buf_add_slice(to, wrapped);
    return cf_buf_check(to, err);
}

cf_status transit_unwrap(const struct config_seal *seal, struct cf_slice wrapped,
                         struct secret **ret, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(2048);
    CF_BUF(bytes) = {.max = 4 * SEAL_KEY_SIZE, .secret = true};
    struct json *data;
    struct json *body = json_object_new(arena);
    json_set_string(arena, body, "ciphertext", wrapped);
    CF_TRY(call(seal, path_to(seal, "decrypt", arena), body, "data", arena, &data, err));
    if (encode_base64_decode(&bytes, json_get_string(data, "plaintext"), NULL) != CF_OK ||
        bytes.size != SEAL_KEY_SIZE) {
        return cf_fail(err, CF_DENIED, "seal \"transit\": %s decrypts to no key of a seal",
                       seal->address);
    }
    *ret = secret_copy(cf_buf_slice(&bytes));
    return CF_OK;
}

cf_status transit_renew(const struct config_seal *seal, int64_t *ret_ttl_s, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(2048);
    struct json *auth;
    bool renewable = false;
    int64_t ttl_s = 0;
    CF_TRY(call(seal, "auth/token/renew-self", json_object_new(arena), "auth", arena, &auth, err));
    cf_ignore(!json_bool(json_get(auth, "renewable"), &renewable), "absent is false");
    cf_ignore(!json_int64(json_get(auth, "lease_duration"), &ttl_s), "absent is 0");
    *ret_ttl_s = renewable && ttl_s > 0 ? ttl_s : 0;
    return CF_OK;
}

/* "vault:v12:" of "vault:v12:bytes". */
static struct cf_slice version_of(struct cf_slice wrapped)
{
    size_t colon = cf_slice_find(wrapped, ':');
    struct cf_slice rest = cf_slice_from(wrapped, colon + 1);
    return cf_slice_first(wrapped, colon + 1 + cf_slice_find(rest, ':'));
}

bool transit_same_version(struct cf_slice a, struct cf_slice b)
{
    return cf_slice_eq(version_of(a), version_of(b));
}

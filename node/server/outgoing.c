/* node/server/outgoing.c: JSON requests of this node to other servers' APIs. */
#include "node/server/outgoing.h"

#include <curl/curl.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

#include "node/base/memory.h"
#include "node/base/wiping.h"
#include "node/cluster/tls.h"

#define ANSWER_MAX ((size_t)4 << 20)
#define REDIRECTS_MAX 3

void outgoing_init(void)
{
    cf_ignore(curl_global_init_mem(CURL_GLOBAL_DEFAULT, cf_wiping_malloc, cf_wiping_free, cf_wiping_realloc,
                                   cf_wiping_strdup, cf_wiping_calloc) != 0,
              "the first request will say why");
}

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
    struct cf_buf *to = arg;
    cf_buf_add(to, data, size * count);
    return to->overflow ? 0 : size * count;
}

static const char *join_url(struct arena *arena, const char *base, const char *path)
{
    size_t size = strlen(base);
    while (size != 0 && base[size - 1] == '/') {
        size--;
    }
    return arena_printf(arena, "%.*s/v1/%s", (int)size, base, path);
}

/* ---- where a URL leads ---- */

struct place {
    char *host, *port;
};

static void place_done(struct place *place)
{
    curl_free(place->host);
    curl_free(place->port);
}

static cf_status place_of(const char *url, struct place *ret, struct cf_error *err)
{
    CURLU *parsed = curl_url();
    *ret = (struct place){0};
    bool fine = parsed != NULL && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
                curl_url_get(parsed, CURLUPART_HOST, &ret->host, 0) == CURLUE_OK &&
                curl_url_get(parsed, CURLUPART_PORT, &ret->port, CURLU_DEFAULT_PORT) == CURLUE_OK;
    curl_url_cleanup(parsed);
    if (!fine) {
        place_done(ret);
        return cf_fail(err, CF_INVALID, "\"%s\" is no address such as \"https://host:8200\"", url);
    }
    return CF_OK;
}

cf_status outgoing_resolve(const char *url, struct arena *arena, const char **ret, size_t max,
                           size_t *ret_count, struct cf_error *err)
{
    struct place place;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    CF_TRY(place_of(url, &place, err));
    size_t size = strlen(place.host);
    if (place.host[0] == '[' && size > 2) { /* an IPv6 address */
        memmove(place.host, place.host + 1, size - 2);
        place.host[size - 2] = '\0';
    }
    int code = getaddrinfo(place.host, place.port, &hints, &found);
    cf_status status = CF_OK;
    if (code != 0) {
        status = cf_fail(err, CF_UNAVAILABLE, "cannot look up \"%s\": %s", place.host,
                         gai_strerror(code));
    }
    *ret_count = 0;
    for (struct addrinfo *at = found; at != NULL && *ret_count < max; at = at->ai_next) {
        char text[NI_MAXHOST];
        bool known = getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof(text), NULL, 0,
                                 NI_NUMERICHOST) != 0;
        for (size_t i = 0; i < *ret_count && !known; i++) {
            known = strcmp(ret[i], text) == 0;
        }
        if (!known) {
            ret[(*ret_count)++] = arena_printf(arena, "%s", text);
        }
    }
    if (found != NULL) {
        freeaddrinfo(found);
    }
    place_done(&place);
    return status;
}

/* What is verified (server_name) and where it connects to (address) may both differ from the URL's host.
 * *url is replaced; the list is the caller's. */
static cf_status steer(const struct outgoing_target *target, struct arena *arena, const char **url,
                       struct curl_slist **ret, struct cf_error *err)
{
    struct place place;
    *ret = NULL;
    if (target->server_name == NULL && target->address == NULL) {
        return CF_OK;
    }
    CF_TRY(place_of(*url, &place, err));
    const char *shown = target->server_name != NULL ? target->server_name : place.host;
    const char *address = target->address != NULL ? target->address : place.host;
    bool brackets = strchr(address, ':') != NULL && address[0] != '[';
    *ret = curl_slist_append(NULL, arena_printf(arena, "%s:%s:%s%s%s:%s", shown, place.port,
                                                brackets ? "[" : "", address, brackets ? "]" : "",
                                                place.port));
    if (target->server_name != NULL) {
        CURLU *parsed = curl_url();
        char *text = NULL;
        if (curl_url_set(parsed, CURLUPART_URL, *url, 0) == CURLUE_OK &&
            curl_url_set(parsed, CURLUPART_HOST, shown, 0) == CURLUE_OK &&
            curl_url_get(parsed, CURLUPART_URL, &text, 0) == CURLUE_OK) {
            *url = arena_printf(arena, "%s", text);
        }
        curl_free(text);
        curl_url_cleanup(parsed);
    }
    place_done(&place);
    return CF_OK;
}

static void set_pem(CURL *curl, CURLoption option, const char *pem)
{
    struct curl_blob blob = {(void *)(uintptr_t)pem, strlen(pem), CURL_BLOB_COPY};
    (void)curl_easy_setopt(curl, option, &blob);
}

static CURLcode on_ssl_ctx(CURL *curl, void *ssl_ctx, void *arg)
{
    (void)curl;
    (void)arg;
    tls_wipe_decrypted(ssl_ctx); /* a transit seal answers with the key */
    return CURLE_OK;
}

static void set_options(CURL *curl, const struct outgoing_target *target, const char *url,
                        int timeout_ms, struct cf_buf *answer)
{
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, on_ssl_ctx);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)timeout_ms);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    if (target->ca_file != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_CAINFO, target->ca_file);
    }
    if (target->ca_path != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_CAPATH, target->ca_path);
    }
    if (target->cert_file != NULL && target->key_file != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_SSLCERT, target->cert_file);
        (void)curl_easy_setopt(curl, CURLOPT_SSLKEY, target->key_file);
    }
    if (target->skip_verify) {
        (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
        (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (target->ca_pem != NULL) {
        set_pem(curl, CURLOPT_CAINFO_BLOB, target->ca_pem);
    }
    if (target->cert_pem != NULL && target->key_pem != NULL) {
        set_pem(curl, CURLOPT_SSLCERT_BLOB, target->cert_pem);
        set_pem(curl, CURLOPT_SSLKEY_BLOB, target->key_pem);
    }
}

struct hop {
    CURL *curl;
    struct curl_slist *headers, *connect_to;
    const struct cf_buf *body;
    struct cf_buf *answer;
    long http;
    bool carries_token;
    const char *next; /* where a redirect leads; NULL */
};

/* One request, to where `url` leads by way of what the target says. */
static cf_status hop(struct hop *hop, const struct outgoing_target *target, const char *url,
                     int timeout_ms, struct arena *arena, struct cf_error *err)
{
    char reason[CURL_ERROR_SIZE] = "";
    char *next = NULL;
    CF_TRY(steer(target, arena, &url, &hop->connect_to, err));
    curl_easy_reset(hop->curl);
    cf_buf_reset(hop->answer);
    (void)curl_easy_setopt(hop->curl, CURLOPT_CONNECT_TO, hop->connect_to);
    set_options(hop->curl, target, url, timeout_ms, hop->answer);
    (void)curl_easy_setopt(hop->curl, CURLOPT_ERRORBUFFER, reason);
    (void)curl_easy_setopt(hop->curl, CURLOPT_HTTPHEADER, hop->headers);
    (void)curl_easy_setopt(hop->curl, CURLOPT_POSTFIELDS, hop->body->data);
    (void)curl_easy_setopt(hop->curl, CURLOPT_POSTFIELDSIZE, (long)hop->body->size);
    CURLcode code = curl_easy_perform(hop->curl);
    (void)curl_easy_getinfo(hop->curl, CURLINFO_RESPONSE_CODE, &hop->http);
    (void)curl_easy_getinfo(hop->curl, CURLINFO_REDIRECT_URL, &next);
    hop->next = code == CURLE_OK && next != NULL ? arena_printf(arena, "%s", next) : NULL;
    curl_slist_free_all(hop->connect_to);
    hop->connect_to = NULL;
    return code == CURLE_OK
               ? CF_OK
               : cf_fail(err, CF_UNAVAILABLE, "cannot reach %s: %s", target->url,
                         reason[0] != '\0' ? reason : curl_easy_strerror(code));
}

/* A standby sends us on to the active node: the same certificate name is expected there, another address. */
static cf_status hops(struct hop *is, const struct outgoing_target *target, const char *url,
                      int timeout_ms, struct arena *arena, struct cf_error *err)
{
    struct outgoing_target at = *target;
    for (unsigned i = 0; i <= REDIRECTS_MAX; i++) {
        CF_TRY(hop(is, &at, url, timeout_ms, arena, err));
        if (is->next == NULL) {
            return CF_OK;
        }
        if (is->carries_token) {
            return cf_fail(err, CF_UNAVAILABLE,
                           "%s redirects to %s, and a token goes only where it was meant to: "
                           "configure that address",
                           target->url, is->next);
        }
        if (strncmp(url, "https:", 6) == 0 && strncmp(is->next, "https:", 6) != 0) {
            return cf_fail(err, CF_UNAVAILABLE, "%s redirects away from TLS: its api_addr is wrong",
                           target->url);
        }
        url = is->next;
        at.address = NULL;
    }
    return cf_fail(err, CF_UNAVAILABLE, "%s redirects in circles", target->url);
}

cf_status outgoing_post(const struct outgoing_target *target, const char *path, const char *token,
                        const struct json *body, int timeout_ms, struct arena *arena,
                        int *ret_status, struct json **ret, struct cf_error *err)
{
    CF_BUF(text) = {.secret = true};
    CF_BUF(answer) = {.max = ANSWER_MAX, .secret = true};
    struct hop is = {.curl = curl_easy_init(), .body = &text, .answer = &answer};
    if (is.curl == NULL) {
        return cf_fail(err, CF_INTERNAL, "cannot set up a request");
    }
    json_write(&text, body);
    is.headers = curl_slist_append(NULL, "Content-Type: application/json");
    is.headers = curl_slist_append(is.headers, "X-Vault-Request: true");
    if (target->ns != NULL) {
        is.headers =
            curl_slist_append(is.headers, arena_printf(arena, "X-Vault-Namespace: %s", target->ns));
    }
    if (token != NULL) {
        is.carries_token = true;
        is.headers =
            curl_slist_append(is.headers, arena_printf(arena, "X-Vault-Token: %s", token));
    }
    cf_status status =
        hops(&is, target, join_url(arena, target->url, path), timeout_ms, arena, err);
    curl_slist_free_all(is.headers);
    curl_easy_cleanup(is.curl);
    CF_TRY(status);
    *ret_status = (int)is.http;
    *ret = NULL;
    if (answer.size != 0 && json_parse(arena, cf_buf_slice(&answer), NULL, ret, err) != CF_OK) {
        return cf_fail(err, CF_UNAVAILABLE, "%s answered %ld, and not in JSON: is it the API "
                                            "address of a coffer or Vault server?",
                       target->url, is.http);
    }
    return CF_OK;
}

cf_status outgoing_fetch(const char *url, const char *content_type, struct cf_slice body, int timeout_ms,
                         struct cf_buf *to, struct cf_error *err)
{
    static const struct outgoing_target anybody = {0};
    char reason[CURL_ERROR_SIZE] = "", type[128];
    long http = 0;
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = NULL;
    if (curl == NULL) {
        return cf_fail(err, CF_INTERNAL, "cannot set up a request");
    }
    set_options(curl, &anybody, url, timeout_ms, to);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    if (body.size != 0) {
        (void)snprintf(type, sizeof(type), "Content-Type: %.100s", content_type);
        headers = curl_slist_append(NULL, type);
        (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data);
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)body.size);
    }
    CURLcode code = curl_easy_perform(curl);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    if (to->overflow) {
        return cf_fail(err, CF_UNAVAILABLE, "%.120s answers with more than %zu bytes", url, to->max);
    }
    if (code != CURLE_OK) {
        return cf_fail(err, CF_UNAVAILABLE, "cannot reach %.120s: %s", url,
                       reason[0] != '\0' ? reason : curl_easy_strerror(code));
    }
    return http == 200 ? CF_OK : cf_fail(err, CF_UNAVAILABLE, "%.120s answers %ld", url, http);
}

const char *outgoing_errors(struct arena *arena, const struct json *answer)
{
    const struct json *errors = json_get(answer, "errors");
    const char *text = "";
    for (size_t i = 0; i < json_count(errors); i++) {
        struct cf_slice one;
        if (json_string(json_item(errors, i), &one)) {
            text = arena_printf(arena, "%s%s%.*s", text, i != 0 ? "; " : "", CF_SHOW(one));
        }
    }
    return text;
}

/* node/server/outgoing.c: JSON requests of this node to other servers' APIs. */
#include "node/server/outgoing.h"

#include <curl/curl.h>

#include "node/base/memory.h"

#define ANSWER_MAX ((size_t)4 << 20)

void outgoing_init(void)
{
    cf_ignore(curl_global_init(CURL_GLOBAL_DEFAULT) != 0, "the first request will say why");
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

static void set_options(CURL *curl, const struct outgoing_target *target, const char *url,
                        int timeout_ms, struct cf_buf *answer)
{
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 3L);
    (void)curl_easy_setopt(curl, CURLOPT_POSTREDIR, (long)CURL_REDIR_POST_ALL);
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
}

cf_status outgoing_post(const struct outgoing_target *target, const char *path, const char *token,
                        const struct json *body, int timeout_ms, struct arena *arena,
                        int *ret_status, struct json **ret, struct cf_error *err)
{
    char reason[CURL_ERROR_SIZE] = "";
    CF_BUF(text) = {.secret = true};
    CF_BUF(answer) = {.max = ANSWER_MAX, .secret = true};
    long http = 0;
    CURL *curl = curl_easy_init();
    if (curl == NULL) {
        return cf_fail(err, CF_INTERNAL, "cannot set up a request");
    }
    json_write(&text, body);
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    headers = curl_slist_append(headers, "X-Vault-Request: true");
    if (token != NULL) {
        headers = curl_slist_append(headers, arena_printf(arena, "X-Vault-Token: %s", token));
    }
    const char *url = join_url(arena, target->url, path);
    set_options(curl, target, url, timeout_ms, &answer);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, cf_buf_text(&text));
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)text.size);
    CURLcode code = curl_easy_perform(curl);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    if (code != CURLE_OK) {
        return cf_fail(err, CF_UNAVAILABLE, "cannot reach %s: %s", target->url,
                       reason[0] != '\0' ? reason : curl_easy_strerror(code));
    }
    *ret_status = (int)http;
    *ret = NULL;
    if (answer.size != 0 && json_parse(arena, cf_buf_slice(&answer), NULL, ret, err) != CF_OK) {
        return cf_fail(err, CF_UNAVAILABLE, "%s answered %ld, and not in JSON: is it the API "
                                            "address of a coffer or Vault server?",
                       target->url, http);
    }
    return CF_OK;
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

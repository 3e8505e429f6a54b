/* node/core/settings.c: shared settings as a table of the view. */
#include "node/core/settings.h"

#include "node/base/memory.h"

static const char *const usual_headers[] = {"Content-Type",
                                            "X-Requested-With",
                                            "X-Vault-AWS-IAM-Server-ID",
                                            "X-Vault-MFA",
                                            "X-Vault-No-Request-Forwarding",
                                            "X-Vault-Wrap-Format",
                                            "X-Vault-Wrap-TTL",
                                            "X-Vault-Policy-Override",
                                            "Authorization",
                                            "X-Vault-Token"};

static size_t add_texts(const struct json *list, struct cf_slice *to, size_t count)
{
    for (size_t i = 0; i < json_count(list); i++) {
        struct cf_slice text;
        if (json_string(json_item(list, i), &text)) {
            to[count++] = text;
        }
    }
    return count;
}

void cors_from_record(struct arena *arena, const struct json *record, struct cors *ret)
{
    const struct json *origins = json_get(record, "origins"), *headers = json_get(record, "headers");
    struct cf_slice *list = arena_alloc(arena, (json_count(origins) + 1) * sizeof(*list));
    CF_BUF(line) = {0};
    *ret = (struct cors){.is_enabled = record != NULL, .origins = list};
    ret->origin_count = add_texts(origins, list, 0);
    ret->any_origin = ret->origin_count == 1 && cf_slice_is(list[0], "*");
    list = arena_alloc(arena, (json_count(headers) + CF_LENGTH(usual_headers)) * sizeof(*list));
    for (size_t i = 0; i < CF_LENGTH(usual_headers); i++) {
        list[i] = cf_slice_str(usual_headers[i]);
    }
    ret->headers = list;
    ret->header_count = add_texts(headers, list, CF_LENGTH(usual_headers));
    for (size_t i = 0; i < ret->header_count; i++) {
        cf_buf_add_str(&line, i != 0 ? "," : "");
        cf_buf_add_slice(&line, list[i]);
    }
    ret->header_line = arena_copy(arena, cf_buf_slice(&line));
}

bool cors_allows(const struct cors *cors, struct cf_slice origin)
{
    for (size_t i = 0; i < cors->origin_count; i++) {
        if (cf_slice_eq(cors->origins[i], origin)) {
            return true;
        }
    }
    return cors->any_origin;
}

cf_status settings_load(const struct view *view, struct settings **ret, struct cf_error *err)
{
    struct settings *settings = cf_new(struct settings);
    struct cf_slice record;
    struct json *json = NULL;
    settings->arena = arena_new(2048);
    atomic_init(&settings->references, 1);
    cf_status status =
        view_get(view, SETTINGS_CORS_KEY, settings->arena, &record, NULL, err);
    if (status == CF_OK) {
        status = record_decode(record, settings->arena, &json, err);
    }
    if (status != CF_OK && status != CF_NOT_FOUND) {
        settings_unref(settings);
        return status;
    }
    cors_from_record(settings->arena, json, &settings->cors);
    status = quota_table_load(view, settings->arena, &settings->quotas, err);
    if (status != CF_OK) {
        settings_unref(settings);
        return status;
    }
    *ret = settings;
    return CF_OK;
}

struct settings *settings_ref(struct settings *settings)
{
    atomic_fetch_add_explicit(&settings->references, 1, memory_order_relaxed);
    return settings;
}

void settings_unref(struct settings *settings)
{
    if (settings == NULL ||
        atomic_fetch_sub_explicit(&settings->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    arena_free(settings->arena);
    cf_free(settings);
}

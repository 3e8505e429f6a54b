/* node/auth/cert/config.c: settings of the mount, and revocation lists.
 *
 * A record crls/<name> says whose list it is (the hash of the issuer's name) and which serial numbers stand in it. A list
 * counts until it is deleted or replaced, also past its own end: that is the safe side. */
#include "node/auth/cert/cert_int.h"

#include "node/base/memory.h"
#include "node/format/encode.h"
#include "node/format/timefmt.h"

#define CRL_PREFIX "crls/"

/* ---- config ---- */

cf_status cert_config_load(struct request *rq, struct cert_config *ret, struct cf_error *err)
{
    struct json *record;
    *ret = (struct cert_config){0};
    cf_status status = store_get_json(rq, CF_SLICE("config"), &record, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    cf_ignore(!json_bool(json_get(record, "disable_binding"), &ret->disable_binding),
              "absent is false");
    cf_ignore(!json_bool(json_get(record, "enable_identity_alias_metadata"),
                         &ret->enable_identity_alias_metadata),
              "absent is false");
    return CF_OK;
}

static void show(struct request *rq, const struct cert_config *config, struct json *to)
{
    json_set_bool(rq->arena, to, "disable_binding", config->disable_binding);
    json_set_bool(rq->arena, to, "enable_identity_alias_metadata",
                  config->enable_identity_alias_metadata);
}

cf_status cert_config_read(struct request *rq, struct cf_error *err)
{
    struct cert_config config;
    CF_TRY(cert_config_load(rq, &config, err));
    show(rq, &config, response_data(rq));
    return CF_OK;
}

cf_status cert_config_write(struct request *rq, struct cf_error *err)
{
    struct cert_config config;
    struct json *record = json_object_new(rq->arena);
    CF_TRY(cert_config_load(rq, &config, err));
    CF_TRY(request_bool(rq, "disable_binding", config.disable_binding, &config.disable_binding,
                        err));
    CF_TRY(request_bool(rq, "enable_identity_alias_metadata", config.enable_identity_alias_metadata,
                        &config.enable_identity_alias_metadata, err));
    show(rq, &config, record);
    store_put_json(rq, CF_SLICE("config"), record);
    return CF_OK;
}

/* ---- revocation lists ---- */

struct cf_slice cert_crl_record(struct request *rq, struct cf_slice name)
{
    return cf_slice_str(arena_printf(rq->arena, CRL_PREFIX "%.*s", CF_SHOW(name)));
}

static cf_status load(struct request *rq, struct json **ret, struct cf_error *err)
{
    struct cf_slice name = params_lower(rq->arena, rq->captures[0]);
    cf_status status = store_get_json(rq, cert_crl_record(rq, name), ret, err);
    return status == CF_NOT_FOUND
               ? cf_fail(err, CF_INVALID, "no such CRL %.*s", CF_SHOW(cf_slice_first(name, 80)))
               : status;
}

cf_status cert_crl_names(struct request *rq, struct txn_names *ret, struct cf_error *err)
{
    return store_list(rq, CF_SLICE(CRL_PREFIX), CF_SLICE_EMPTY, 0, ret, err);
}

cf_status cert_crls_list(struct request *rq, struct cf_error *err)
{
    struct txn_names names;
    CF_TRY(cert_crl_names(rq, &names, err));
    return response_keys(rq, &names, err);
}

cf_status cert_crl_read(struct request *rq, struct cf_error *err)
{
    struct json *record;
    CF_TRY(load(rq, &record, err));
    json_set(rq->arena, response_data(rq), "serials", json_get(record, "serials"));
    if (json_get(record, "cdp") != NULL) {
        json_set(rq->arena, response_data(rq), "cdp", json_get(record, "cdp"));
    }
    return CF_OK;
}

static cf_status check_name(struct cf_slice name, struct cf_error *err)
{
    return name.size != 0 && name.size <= 256
               ? CF_OK
               : cf_fail(err, CF_INVALID, "'name' parameter cannot be empty, or longer than 256 bytes");
}

static cf_status fetch(struct request *rq, struct cf_slice url, struct x509_crl *ret, struct cf_error *err)
{
    if (!cf_slice_starts(url, CF_SLICE("http://")) && !cf_slice_starts(url, CF_SLICE("https://"))) {
        return cf_fail(err, CF_INVALID, "invalid 'url': it begins with http:// or https://");
    }
    cf_status status = cert_fetch_list(rq, url, 0, ret, err);
    if (status == CF_UNAVAILABLE || status == CF_INVALID) {
        struct cf_error why = *err;
        return cf_fail(err, CF_INVALID, "error fetching CRL: %s", why.message);
    }
    return status;
}

static struct json *cdp_of(struct request *rq, struct cf_slice url, const struct x509_crl *crl)
{
    struct json *cdp = json_object_new(rq->arena);
    CF_BUF(until) = {0};
    if (crl->next_update_s != 0) {
        timefmt_write(&until, crl->next_update_s * 1000000000);
    }
    json_set_string(rq->arena, cdp, "url", url);
    json_set_string(rq->arena, cdp, "valid_until", cf_buf_slice(&until));
    return cdp;
}

cf_status cert_crl_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice text, url, name = params_lower(rq->arena, rq->captures[0]);
    struct x509_crl crl;
    CF_BUF(issuer) = {0};
    CF_TRY(check_name(name, err));
    CF_TRY(request_string(rq, "crl", &text, err));
    CF_TRY(request_string(rq, "url", &url, err));
    if ((text.size == 0) == (url.size == 0)) {
        return cf_fail(err, CF_INVALID, "one of 'crl' or 'url' must be provided, and not both");
    }
    if (text.size != 0 && x509_crl_read(text, rq->arena, &crl, err) != CF_OK) {
        return cf_fail(err, CF_INVALID, "failed to parse CRL");
    }
    if (url.size != 0) {
        CF_TRY(fetch(rq, url, &crl, err));
    }
    struct json *record = json_object_new(rq->arena), *serials = json_object_new(rq->arena);
    for (size_t i = 0; i < crl.count; i++) {
        json_object_set(rq->arena, serials, crl.serials[i], json_object_new(rq->arena));
    }
    encode_hex(&issuer, cf_slice_of(crl.issuer, sizeof(crl.issuer)));
    json_set_string(rq->arena, record, "issuer", cf_buf_slice(&issuer));
    json_set(rq->arena, record, "serials", serials);
    if (url.size != 0) {
        json_set(rq->arena, record, "cdp", cdp_of(rq, url, &crl));
        json_set_int(rq->arena, record, "fetched", request_now_ns(rq) / 1000000000);
    }
    store_put_json(rq, cert_crl_record(rq, name), record);
    return CF_OK;
}

cf_status cert_crl_delete(struct request *rq, struct cf_error *err)
{
    struct json *record;
    CF_TRY(load(rq, &record, err));
    store_delete(rq, cert_crl_record(rq, params_lower(rq->arena, rq->captures[0])));
    return CF_OK;
}

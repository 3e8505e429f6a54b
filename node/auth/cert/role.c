/* node/auth/cert/role.c: the certificates that are trusted, and for whom: records cert/<name>. */
#include "node/auth/cert/cert_int.h"

#include "node/base/memory.h"
#include "node/crypto/x509_ocsp.h"

#define ROLE_PREFIX "cert/"
#define NAME_MAX_SIZE ((size_t)256)

static const char *const list_names[CERT_LIST_COUNT] = {
    [CERT_NAMES] = "allowed_names",
    [CERT_COMMON_NAMES] = "allowed_common_names",
    [CERT_DNS] = "allowed_dns_sans",
    [CERT_EMAILS] = "allowed_email_sans",
    [CERT_URIS] = "allowed_uri_sans",
    [CERT_UNITS] = "allowed_organizational_units",
    [CERT_EXTENSIONS] = "required_extensions",
    [CERT_METADATA] = "allowed_metadata_extensions",
};

static struct cf_slice record_name(struct request *rq, struct cf_slice name)
{
    return cf_slice_str(arena_printf(rq->arena, ROLE_PREFIX "%.*s", CF_SHOW(name)));
}

static cf_status name_of(struct request *rq, struct cf_slice *ret, struct cf_error *err)
{
    if (rq->captures[0].size == 0 || rq->captures[0].size > NAME_MAX_SIZE) {
        return cf_fail(err, CF_INVALID, "missing name, or longer than %zu bytes", NAME_MAX_SIZE);
    }
    *ret = params_lower(rq->arena, rq->captures[0]);
    return CF_OK;
}

static void ocsp_from_record(struct request *rq, const struct json *record, struct cert_ocsp *ret)
{
    *ret = (struct cert_ocsp){.is_enabled = json_get_bool(record, "ocsp_enabled"),
                              .fail_open = json_get_bool(record, "ocsp_fail_open"),
                              .query_all = json_get_bool(record, "ocsp_query_all_servers"),
                              .ca_certificates = json_get_string(record, "ocsp_ca_certificates"),
                              .this_update_max_age_s = json_get_int(record, "ocsp_this_update_max_age")};
    ret->servers.items =
        params_strings(rq->arena, json_get(record, "ocsp_servers_override"), &ret->servers.count);
}

static void show_ocsp(struct request *rq, const struct cert_ocsp *ocsp, struct json *to)
{
    json_set_bool(rq->arena, to, "ocsp_enabled", ocsp->is_enabled);
    json_set_bool(rq->arena, to, "ocsp_fail_open", ocsp->fail_open);
    json_set_bool(rq->arena, to, "ocsp_query_all_servers", ocsp->query_all);
    json_set_string(rq->arena, to, "ocsp_ca_certificates", ocsp->ca_certificates);
    json_set_int(rq->arena, to, "ocsp_this_update_max_age", ocsp->this_update_max_age_s);
    json_set(rq->arena, to, "ocsp_servers_override",
             params_list(rq->arena, ocsp->servers.items, ocsp->servers.count));
}

cf_status cert_role_load(struct request *rq, struct cf_slice name, struct cert_role *ret,
                         struct cf_error *err)
{
    struct json *record;
    CF_TRY(store_get_json(rq, record_name(rq, name), &record, err));
    *ret = (struct cert_role){.name = name,
                              .pem = json_get_string(record, "certificate"),
                              .display_name = json_get_string(record, "display_name")};
    for (size_t i = 0; i < CERT_LIST_COUNT; i++) {
        ret->lists[i].items = params_strings(rq->arena, json_get(record, list_names[i]),
                                             &ret->lists[i].count);
    }
    ocsp_from_record(rq, record, &ret->ocsp);
    params_from_record(rq->arena, record, &ret->params);
    return CF_OK;
}

static void show(struct request *rq, const struct cert_role *role, struct json *to)
{
    json_set_string(rq->arena, to, "certificate", role->pem);
    json_set_string(rq->arena, to, "display_name", role->display_name);
    for (size_t i = 0; i < CERT_LIST_COUNT; i++) {
        const struct cert_patterns *list = &role->lists[i];
        json_set(rq->arena, to, list_names[i],
                 list->count != 0 ? params_list(rq->arena, list->items, list->count)
                                  : json_null());
    }
    show_ocsp(rq, &role->ocsp, to);
    params_show(rq->arena, &role->params, to);
}

cf_status cert_role_names(struct request *rq, struct txn_names *ret, struct cf_error *err)
{
    return store_list(rq, CF_SLICE(ROLE_PREFIX), CF_SLICE_EMPTY, 0, ret, err);
}

cf_status cert_role_exists(struct request *rq, bool *ret, struct cf_error *err)
{
    struct cf_slice name;
    struct cert_role role;
    CF_TRY(name_of(rq, &name, err));
    cf_status status = cert_role_load(rq, name, &role, err);
    *ret = status == CF_OK;
    return status == CF_NOT_FOUND ? CF_OK : status;
}

cf_status cert_role_read(struct request *rq, struct cf_error *err)
{
    struct cf_slice name;
    struct cert_role role;
    CF_TRY(name_of(rq, &name, err));
    cf_status status = cert_role_load(rq, name, &role, err);
    if (status == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(status);
    show(rq, &role, response_data(rq));
    return CF_OK;
}

static cf_status read_certificate(struct request *rq, struct cert_role *role, struct cf_error *err)
{
    struct cf_slice pem;
    struct x509_facts facts;
    CF_TRY(request_string(rq, "certificate", &pem, err));
    role->pem = pem.size != 0 ? pem : role->pem;
    if (role->pem.size == 0 || x509_facts_read(role->pem, rq->arena, &facts, err) != CF_OK ||
        role->pem.data[0] == 0x30) {
        return cf_fail(err, CF_INVALID, "failed to parse certificate");
    }
    if (!facts.is_ca && !facts.may_be_client) {
        return cf_fail(err, CF_INVALID, "nonCA certificates should have TLS client authentication "
                                        "set as an extended key usage");
    }
    return CF_OK;
}

static cf_status read_lists(struct request *rq, struct cert_role *role, struct cf_error *err)
{
    for (size_t i = 0; i < CERT_LIST_COUNT; i++) {
        if (request_field(rq, list_names[i]) != NULL) {
            CF_TRY(request_list(rq, list_names[i], true, &role->lists[i].items,
                                &role->lists[i].count, err));
        }
    }
    const struct cert_patterns *extensions = &role->lists[CERT_EXTENSIONS];
    for (size_t i = 0; i < extensions->count; i++) {
        size_t colon = cf_slice_find(extensions->items[i], ':');
        if (colon == 0 || colon == extensions->items[i].size) {
            return cf_fail(err, CF_INVALID, "required_extensions are of the form \"oid:value\"");
        }
    }
    return CF_OK;
}

static cf_status read_ocsp(struct request *rq, struct cert_ocsp *ocsp, struct cf_error *err)
{
    CF_TRY(request_bool(rq, "ocsp_enabled", ocsp->is_enabled, &ocsp->is_enabled, err));
    CF_TRY(request_bool(rq, "ocsp_fail_open", ocsp->fail_open, &ocsp->fail_open, err));
    CF_TRY(request_bool(rq, "ocsp_query_all_servers", ocsp->query_all, &ocsp->query_all, err));
    CF_TRY(request_duration(rq, "ocsp_this_update_max_age", ocsp->this_update_max_age_s,
                            &ocsp->this_update_max_age_s, NULL, err));
    if (request_field(rq, "ocsp_ca_certificates") != NULL) {
        struct x509_facts facts;
        CF_TRY(request_string(rq, "ocsp_ca_certificates", &ocsp->ca_certificates, err));
        if (ocsp->ca_certificates.size != 0 &&
            x509_facts_read(ocsp->ca_certificates, rq->arena, &facts, err) != CF_OK) {
            return cf_fail(err, CF_INVALID, "failed to parse ocsp_ca_certificates");
        }
    }
    if (request_field(rq, "ocsp_servers_override") != NULL) {
        CF_TRY(request_list(rq, "ocsp_servers_override", true, &ocsp->servers.items, &ocsp->servers.count, err));
    }
    if (ocsp->servers.count > X509_OCSP_SERVERS_MAX) {
        return cf_fail(err, CF_INVALID, "ocsp_servers_override takes up to %zu servers", X509_OCSP_SERVERS_MAX);
    }
    return CF_OK;
}

cf_status cert_role_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice name, display_name;
    struct cert_role role;
    CF_TRY(name_of(rq, &name, err));
    cf_status status = cert_role_load(rq, name, &role, err);
    if (status == CF_NOT_FOUND) {
        role = (struct cert_role){.name = name};
    } else {
        CF_TRY(status);
    }
    CF_TRY(read_ocsp(rq, &role.ocsp, err));
    CF_TRY(read_certificate(rq, &role, err));
    CF_TRY(read_lists(rq, &role, err));
    CF_TRY(params_read(rq, "default", &role.params, err));
    CF_TRY(request_string(rq, "display_name", &display_name, err));
    role.display_name = display_name.size != 0 ? display_name : role.display_name;
    role.display_name = role.display_name.size != 0 ? role.display_name : name;
    struct json *record = json_object_new(rq->arena);
    show(rq, &role, record);
    store_put_json(rq, record_name(rq, name), record);
    return CF_OK;
}

cf_status cert_role_delete(struct request *rq, struct cf_error *err)
{
    struct cf_slice name;
    struct cert_role role;
    CF_TRY(name_of(rq, &name, err));
    cf_status status = cert_role_load(rq, name, &role, err);
    if (status == CF_OK) {
        store_delete(rq, record_name(rq, name));
    }
    return status == CF_NOT_FOUND ? CF_OK : status;
}

cf_status cert_roles_list(struct request *rq, struct cf_error *err)
{
    return response_page(rq, CF_SLICE(ROLE_PREFIX), err);
}

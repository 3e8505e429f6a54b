/* node/auth/cert/login.c: from a client certificate to a token, and the role's say in renewals.
 *
 * TLS has proved that the client has the key; here it is found out whether the certificate is trusted: it is the
 * role's own (pinned, not a CA), or a chain leads from it to one of the role's CAs. */
#include "node/auth/cert/cert_int.h"

#include <stdio.h>

#include "node/base/memory.h"
#include "node/core/cidr.h"
#include "node/format/encode.h"

#define NS_PER_S ((int64_t)1000000000)

static cf_status read_client(struct request *rq, struct x509_facts *ret, struct cf_error *err)
{
    if (rq->peer_certificate.size == 0) {
        return cf_fail(err, CF_INVALID, "tls connection required, with a client certificate");
    }
    cf_status status = x509_facts_read(rq->peer_certificate, rq->arena, ret, err);
    return status == CF_OK ? CF_OK
                           : cf_fail(err, CF_INVALID, "the client certificate cannot be read");
}

/* CF_DENIED: not by this role; err says why. asks: other servers, too (CF_BUSY: see outside.h). */
static cf_status check_role(struct request *rq, const struct cert_role *role,
                            const struct x509_facts *client, bool asks, struct cf_error *err)
{
    int64_t now_s = request_now_ns(rq) / NS_PER_S;
    struct x509_facts own;
    struct x509_link pinned, *links = &pinned;
    size_t count = 1;
    CF_TRY(x509_facts_read(role->pem, rq->arena, &own, err));
    if (own.is_ca) {
        CF_TRY(x509_client_verify(client->der, role->pem, now_s, rq->arena, &links, &count, err));
    } else if (cf_equal_secret(own.fingerprint, client->fingerprint, sizeof(own.fingerprint))) {
        CF_TRY(x509_client_valid(client->der, now_s, rq->arena, &pinned, err));
    } else {
        return cf_fail(err, CF_DENIED, "invalid certificate or no client certificate supplied");
    }
    if (!cert_matches(role, client)) {
        return cf_fail(err, CF_DENIED, "no chain matching all constraints could be found for this "
                                       "login certificate");
    }
    CF_TRY(cert_check_lists(rq, links, count, asks, err));
    return asks ? cert_check_ocsp(rq, &role->ocsp, client->der, &links[0], err) : CF_OK;
}

/* The first role, by name, that takes the certificate; `name` not empty: that one alone. */
static cf_status find_role(struct request *rq, struct cf_slice name,
                           const struct x509_facts *client, bool asks, struct cert_role *ret,
                           struct cf_error *err)
{
    struct txn_names names = {.names = &name, .count = 1};
    struct cf_error last = {0};
    cf_fail(&last, CF_DENIED, "invalid certificate or no client certificate supplied");
    if (name.size == 0) {
        CF_TRY(cert_role_names(rq, &names, err));
    }
    for (size_t i = 0; i < names.count; i++) {
        cf_status status = cert_role_load(rq, names.names[i], ret, err);
        if (status == CF_NOT_FOUND) {
            continue;
        }
        CF_TRY(status);
        status = check_role(rq, ret, client, asks, &last);
        if (status != CF_DENIED) {
            return status == CF_OK ? CF_OK : cf_fail(err, status, "%s", last.message);
        }
    }
    return cf_fail(err, CF_INVALID, "%s", last.message);
}

static void set_hex(struct request *rq, struct json *to, const char *name, struct cf_slice bytes)
{
    CF_BUF(text) = {0};
    for (size_t i = 0; i < bytes.size; i++) {
        cf_buf_addf(&text, "%s%02x", i != 0 ? ":" : "", bytes.data[i]);
    }
    json_set_string(rq->arena, to, name, cf_buf_slice(&text));
}

static struct json *metadata_of(struct request *rq, const struct cert_role *role,
                                const struct x509_facts *client)
{
    struct json *metadata = json_object_new(rq->arena);
    const struct cert_patterns *shown = &role->lists[CERT_METADATA];
    json_set_string(rq->arena, metadata, "cert_name", role->name);
    json_set_string(rq->arena, metadata, "common_name", client->common_name);
    json_set_string(rq->arena, metadata, "serial_number", client->serial);
    set_hex(rq, metadata, "subject_key_id", client->subject_key_id);
    set_hex(rq, metadata, "authority_key_id", client->authority_key_id);
    for (size_t i = 0; i < client->extension_count; i++) {
        struct cf_slice oid = client->extensions[i].oid;
        if (!params_has(shown->items, shown->count, oid)) {
            continue;
        }
        char *key = arena_text(rq->arena, oid); /* dots would not do in templates of policies */
        for (size_t k = 0; k < oid.size; k++) {
            key[k] = key[k] == '.' ? '-' : key[k];
        }
        json_set_string(rq->arena, metadata, key, client->extensions[i].value);
    }
    return metadata;
}

static struct cf_slice fingerprint_of(struct request *rq, const struct x509_facts *client)
{
    CF_BUF(text) = {0};
    encode_hex(&text, cf_slice_of(client->fingerprint, sizeof(client->fingerprint)));
    return arena_copy(rq->arena, cf_buf_slice(&text));
}

cf_status cert_login(struct request *rq, struct cf_error *err)
{
    struct cf_slice name;
    struct x509_facts client;
    struct cert_role role;
    CF_TRY(read_client(rq, &client, err));
    CF_TRY(request_string(rq, "name", &name, err));
    CF_TRY(find_role(rq, params_lower(rq->arena, name), &client, true, &role, err));
    if (role.params.bound_cidr_count != 0 &&
        !cidr_contains(role.params.bound_cidrs, role.params.bound_cidr_count, rq->remote_address)) {
        return cf_fail(err, CF_DENIED, "permission denied");
    }
    struct auth_result *auth = arena_new_object(rq->arena, struct auth_result);
    params_apply(&role.params, auth);
    auth->display_name = params_display_name(rq, role.display_name);
    auth->metadata = metadata_of(rq, &role, &client);
    auth->internal = json_object_new(rq->arena);
    json_set_string(rq->arena, auth->internal, "cert_name", role.name);
    json_set_string(rq->arena, auth->internal, "certificate", fingerprint_of(rq, &client));
    auth->role = role.name;
    auth->alias_name = client.common_name;
    rq->response.auth = auth;
    return CF_OK;
}

bool cert_login_role(struct request *rq, struct cf_slice *ret)
{
    struct cf_slice name;
    struct x509_facts client;
    struct cert_role role;
    if (!rq->is_write_method || !cf_slice_is(rq->relative, "login") ||
        request_string(rq, "name", &name, NULL) != CF_OK || read_client(rq, &client, NULL) != CF_OK ||
        find_role(rq, params_lower(rq->arena, name), &client, false, &role, NULL) != CF_OK) {
        return false;
    }
    *ret = role.name;
    return true;
}

/* The same certificate has to be shown again, and still be good for the role. */
static cf_status check_binding(struct request *rq, const struct cert_role *role,
                               const struct json *internal, struct cf_error *err)
{
    struct x509_facts client;
    struct cf_error reason = {0};
    CF_TRY(read_client(rq, &client, err));
    if (!cf_slice_eq(json_get_string(internal, "certificate"), fingerprint_of(rq, &client))) {
        return cf_fail(err, CF_INVALID, "client identity during renewal not matching client "
                                        "identity used during login");
    }
    cf_status status = check_role(rq, role, &client, true, &reason);
    return status == CF_OK ? CF_OK : cf_fail(err, CF_INVALID, "%s", reason.message);
}

static bool same_policies(const struct auth_params *params, const struct auth_result *auth)
{
    for (size_t i = 0; i < params->policy_count; i++) {
        if (!params_has(auth->policies, auth->policy_count, params->policies[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < auth->policy_count; i++) {
        if (!cf_slice_is(auth->policies[i], "default") &&
            !params_has(params->policies, params->policy_count, auth->policies[i])) {
            return false;
        }
    }
    return true;
}

cf_status cert_renew(struct request *rq, struct auth_result *auth, struct cf_error *err)
{
    struct cert_role role;
    struct cert_config config;
    cf_status status = cert_role_load(rq, json_get_string(auth->internal, "cert_name"), &role, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "the certificate's role does not exist any more, not renewing");
    }
    CF_TRY(status);
    if (!same_policies(&role.params, auth)) {
        return cf_fail(err, CF_INVALID, "policies have changed, not renewing");
    }
    CF_TRY(cert_config_load(rq, &config, err));
    if (!config.disable_binding) {
        CF_TRY(check_binding(rq, &role, auth->internal, err));
    }
    if (role.params.ttl_s != 0) {
        auth->ttl_s = role.params.ttl_s;
    }
    auth->max_ttl_s = role.params.max_ttl_s;
    auth->period_s = role.params.period_s;
    return CF_OK;
}

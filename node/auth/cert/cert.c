/* node/auth/cert/cert.c: logins with TLS client certificates: the table (core-api.md section 12). */
#include "node/auth/cert/cert_int.h"

static const struct field role_fields[] = {
    {"name", FIELD_STRING, "Name of the role"},
    {"certificate", FIELD_STRING, "PEM of the certificate, or of CAs, that is trusted"},
    {"display_name", FIELD_STRING, "Display name of the tokens; the role's when not given"},
    {"allowed_names", FIELD_LIST, "Patterns for common name, DNS and email names"},
    {"allowed_common_names", FIELD_LIST, "Patterns for the common name"},
    {"allowed_dns_sans", FIELD_LIST, "Patterns for DNS names"},
    {"allowed_email_sans", FIELD_LIST, "Patterns for email addresses"},
    {"allowed_uri_sans", FIELD_LIST, "Patterns for URIs"},
    {"allowed_organizational_units", FIELD_LIST, "Patterns for organisational units"},
    {"required_extensions", FIELD_LIST, "oid:pattern of extensions that must be there"},
    {"allowed_metadata_extensions", FIELD_LIST, "Oids of extensions that become metadata"},
    {"ocsp_enabled", FIELD_BOOL, "Asks OCSP responders whether the certificate was revoked"},
    {"ocsp_ca_certificates", FIELD_STRING, "PEM of responders, or CAs of responders, besides the certificate's issuer"},
    {"ocsp_servers_override", FIELD_LIST, "URLs of responders instead of those that the certificate names"},
    {"ocsp_fail_open", FIELD_BOOL, "Lets logins in when no responder can be reached, or none knows the certificate"},
    {"ocsp_query_all_servers", FIELD_BOOL, "Every responder has to call it good"},
    {"ocsp_this_update_max_age", FIELD_DURATION, "How old an answer may be; 0: until its next update"},
    {"period", FIELD_DURATION, "Old name of token_period"},
    AUTH_PARAMS_FIELDS,
    FIELD_END,
};

static const struct field crl_fields[] = {
    {"name", FIELD_STRING, "Name of the list"},
    {"crl", FIELD_STRING, "The list, PEM or DER"},
    {"url", FIELD_STRING, "Where the list is fetched, now and every hour"},
    FIELD_END,
};

static const struct field config_fields[] = {
    {"disable_binding", FIELD_BOOL, "Renewals do not ask for the certificate of the login"},
    {"enable_identity_alias_metadata", FIELD_BOOL, "Metadata of the certificate in the alias"},
    {"ocsp_cache_size", FIELD_INT, "Kept for clients"},
    FIELD_END,
};

static const struct field login_fields[] = {
    {"name", FIELD_STRING, "Only this role is asked"},
    FIELD_END,
};

static const struct route cert_routes[] = {
    {.pattern = "login",
     .write = cert_login,
     .flags = ROUTE_OPEN | ROUTE_LOGIN,
     .fields = login_fields,
     .help = "Logs in with the client certificate of the TLS connection."},
    {.pattern = "certs", .list = cert_roles_list, .help = "Lists the roles."},
    {.pattern = "certs/:name",
     .read = cert_role_read,
     .write = cert_role_write,
     .del = cert_role_delete,
     .fields = role_fields,
     .exists = cert_role_exists,
     .help = "A role: which certificates, and what their tokens are."},
    {.pattern = "crls", .list = cert_crls_list, .help = "Lists the revocation lists."},
    {.pattern = "crls/:name",
     .read = cert_crl_read,
     .write = cert_crl_write,
     .del = cert_crl_delete,
     .fields = crl_fields,
     .help = "A revocation list, which counts until it is deleted."},
    {.pattern = "config",
     .read = cert_config_read,
     .write = cert_config_write,
     .fields = config_fields,
     .help = "Settings of the method."},
    ROUTE_END,
};

/* config.c has the names. */
static const char *const cert_revocations[] = {"crls/", NULL};

const struct engine_ops auth_cert = {
    .type = "cert",
    .kind = ENGINE_AUTH,
    .help = "Logins with TLS client certificates.",
    .routes = cert_routes,
    .revocations = cert_revocations,
    .renew = cert_renew,
    .login_role = cert_login_role,
};

/* node/auth/cert/cert_int.h: what the files of the auth method "cert" share. */
#ifndef COFFER_AUTH_CERT_CERT_INT_H
#define COFFER_AUTH_CERT_CERT_INT_H

#include "node/auth/params.h"
#include "node/core/engine.h"
#include "node/core/mount.h"
#include "node/crypto/x509_client.h"

/* Lists of patterns: any one that matches will do, none: everything does. */
enum cert_list {
    CERT_NAMES, /* common name, DNS or email */
    CERT_COMMON_NAMES,
    CERT_DNS,
    CERT_EMAILS,
    CERT_URIS,
    CERT_UNITS,
    CERT_EXTENSIONS, /* "oid:pattern": all of them */
    CERT_METADATA,   /* oids that become metadata */
    CERT_LIST_COUNT
};

struct cert_patterns {
    struct cf_slice *items;
    size_t count;
};

struct cert_ocsp {
    bool is_enabled, fail_open, query_all;
    struct cert_patterns servers; /* instead of those that the certificate names */
    struct cf_slice ca_certificates; /* PEM: whose responders count, too */
    int64_t this_update_max_age_s; /* 0: any */
};

struct cert_role {
    struct cf_slice name; /* lower case */
    struct cf_slice pem;
    struct cf_slice display_name;
    struct cert_patterns lists[CERT_LIST_COUNT];
    struct cert_ocsp ocsp;
    struct auth_params params;
};

struct cert_config {
    bool disable_binding, enable_identity_alias_metadata;
};

/* ---- role.c ---- */

/* CF_NOT_FOUND. */
CF_CHECKED cf_status cert_role_load(struct request *rq, struct cf_slice name, struct cert_role *ret,
                                    struct cf_error *err);
CF_CHECKED cf_status cert_role_names(struct request *rq, struct txn_names *ret, struct cf_error *err);
cf_status cert_role_exists(struct request *rq, bool *ret, struct cf_error *err);
cf_status cert_role_read(struct request *rq, struct cf_error *err);
cf_status cert_role_write(struct request *rq, struct cf_error *err);
cf_status cert_role_delete(struct request *rq, struct cf_error *err);
cf_status cert_roles_list(struct request *rq, struct cf_error *err);

/* ---- match.c: pure ---- */

/* '*' stands for any characters, anywhere. */
bool cert_glob(struct cf_slice pattern, struct cf_slice text);
bool cert_matches(const struct cert_role *role, const struct x509_facts *facts);

/* ---- config.c: config, and revocation lists ---- */

CF_CHECKED cf_status cert_config_load(struct request *rq, struct cert_config *ret,
                                      struct cf_error *err);
struct cf_slice cert_crl_record(struct request *rq, struct cf_slice name);
CF_CHECKED cf_status cert_crl_names(struct request *rq, struct txn_names *ret, struct cf_error *err);
cf_status cert_config_read(struct request *rq, struct cf_error *err);
cf_status cert_config_write(struct request *rq, struct cf_error *err);
cf_status cert_crls_list(struct request *rq, struct cf_error *err);
cf_status cert_crl_read(struct request *rq, struct cf_error *err);
cf_status cert_crl_write(struct request *rq, struct cf_error *err);
cf_status cert_crl_delete(struct request *rq, struct cf_error *err);

/* ---- revoked.c ---- */

/* CF_DENIED when a list revokes one of them; CF_BUSY: see outside.h (never when !asks). */
CF_CHECKED cf_status cert_check_lists(struct request *rq, const struct x509_link *links, size_t count, bool asks,
                                      struct cf_error *err);
/* As above, by OCSP; link: the client's own. */
CF_CHECKED cf_status cert_check_ocsp(struct request *rq, const struct cert_ocsp *ocsp, struct cf_slice client,
                                     const struct x509_link *link, struct cf_error *err);
/* The list at a URL, as outside_get(). */
CF_CHECKED cf_status cert_fetch_list(struct request *rq, struct cf_slice url, uint64_t max_age_us,
                                     struct x509_crl *ret, struct cf_error *err);

/* ---- login.c ---- */

cf_status cert_login(struct request *rq, struct cf_error *err);
bool cert_login_role(struct request *rq, struct cf_slice *ret);
cf_status cert_renew(struct request *rq, struct auth_result *auth, struct cf_error *err);

#endif

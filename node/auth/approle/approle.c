/* node/auth/approle/approle.c: logins of machines: the table (core-api.md section 12). */
#include "node/auth/approle/approle_int.h"

static const struct field role_fields[] = {
    {"role_name", FIELD_STRING, "Name of the role"},
    {"role_id", FIELD_STRING, "Identifier of the role; drawn when it is not given"},
    {"bind_secret_id", FIELD_BOOL, "A login needs a secret-id"},
    {"secret_id_bound_cidrs", FIELD_LIST, "Networks that logins may come from"},
    {"bound_cidr_list", FIELD_LIST, "Old name of secret_id_bound_cidrs"},
    {"secret_id_num_uses", FIELD_INT, "Logins that a secret-id is good for; 0: any number"},
    {"secret_id_ttl", FIELD_DURATION, "Life of a secret-id; 0: no end"},
    {"period", FIELD_DURATION, "Old name of token_period"},
    {"local_secret_ids", FIELD_BOOL, "Secret-ids stay in this cluster; only at creation"},
    AUTH_PARAMS_FIELDS,
    FIELD_END,
};

static const struct field secret_fields[] = {
    {"role_name", FIELD_STRING, "Name of the role"},
    {"secret_id", FIELD_STRING, "The secret-id"},
    {"metadata", FIELD_STRING, "A JSON object of strings, for the metadata of tokens"},
    {"cidr_list", FIELD_LIST, "Networks that logins with it may come from"},
    {"token_bound_cidrs", FIELD_LIST, "Networks that its tokens may be used from"},
    {"num_uses", FIELD_INT, "Logins that it is good for"},
    {"ttl", FIELD_DURATION, "Its life"},
    FIELD_END,
};

static const struct field accessor_fields[] = {
    {"role_name", FIELD_STRING, "Name of the role"},
    {"secret_id_accessor", FIELD_STRING, "The accessor of the secret-id"},
    FIELD_END,
};

static const struct field login_fields[] = {
    {"role_id", FIELD_STRING, "Identifier of the role"},
    {"secret_id", FIELD_STRING, "The secret-id, if the role binds one"},
    FIELD_END,
};

static const struct field role_id_fields[] = {
    {"role_id", FIELD_STRING, "Identifier of the role"},
    FIELD_END,
};

#define ONE_FIELD(name, text)                                                                      \
    {                                                                                              \
        .pattern = "role/:role_name/" name, .read = approle_field_read,                            \
        .write = approle_field_write, .del = approle_field_delete, .fields = role_fields,          \
        .help = text                                                                               \
    }

static const struct route approle_routes[] = {
    {.pattern = "login",
     .write = approle_login,
     .flags = ROUTE_OPEN | ROUTE_LOGIN,
     .fields = login_fields,
     .help = "Logs in with a role-id and a secret-id."},
    {.pattern = "role", .list = approle_roles_list, .help = "Lists the roles."},
    {.pattern = "role/:role_name",
     .read = approle_role_read,
     .write = approle_role_write,
     .del = approle_role_delete,
     .fields = role_fields,
     .exists = approle_exists,
     .help = "A role: what its logins need, and what its tokens are."},
    {.pattern = "role/:role_name/role-id",
     .read = approle_role_id_read,
     .write = approle_role_id_write,
     .fields = role_id_fields,
     .help = "The identifier of a role."},
    {.pattern = "role/:role_name/secret-id",
     .list = approle_secrets_list,
     .write = approle_secret_generate,
     .fields = secret_fields,
     .help = "Makes a secret-id; lists the accessors of all."},
    {.pattern = "role/:role_name/custom-secret-id",
     .write = approle_secret_custom,
     .fields = secret_fields,
     .help = "Takes a secret-id of the caller's choice."},
    {.pattern = "role/:role_name/secret-id/lookup",
     .write = approle_secret_lookup,
     .flags = ROUTE_READS,
     .fields = secret_fields,
     .help = "What a secret-id is good for."},
    {.pattern = "role/:role_name/secret-id/destroy",
     .write = approle_secret_destroy,
     .del = approle_secret_destroy,
     .fields = secret_fields,
     .help = "Ends a secret-id."},
    {.pattern = "role/:role_name/secret-id-accessor/lookup",
     .write = approle_accessor_lookup,
     .flags = ROUTE_READS,
     .fields = accessor_fields,
     .help = "What the secret-id of an accessor is good for."},
    {.pattern = "role/:role_name/secret-id-accessor/destroy",
     .write = approle_accessor_destroy,
     .del = approle_accessor_destroy,
     .fields = accessor_fields,
     .help = "Ends the secret-id of an accessor."},
    ONE_FIELD("policies", "Policies of the role's tokens."),
    ONE_FIELD("bound-cidr-list", "Old name of secret-id-bound-cidrs."),
    ONE_FIELD("secret-id-bound-cidrs", "Networks that logins may come from."),
    ONE_FIELD("token-bound-cidrs", "Networks that the role's tokens may be used from."),
    ONE_FIELD("bind-secret-id", "Whether a login needs a secret-id."),
    ONE_FIELD("secret-id-num-uses", "Logins that a secret-id is good for."),
    ONE_FIELD("secret-id-ttl", "Life of a secret-id."),
    ONE_FIELD("period", "Renewals give this life, without a maximum."),
    ONE_FIELD("token-num-uses", "Requests that a token is good for."),
    ONE_FIELD("token-ttl", "Life of the role's tokens."),
    ONE_FIELD("token-max-ttl", "Life of the role's tokens at most."),
    {.pattern = "role/:role_name/local-secret-ids",
     .read = approle_field_read,
     .help = "Whether the role's secret-ids stay in this cluster."},
    {.pattern = "tidy/secret-id",
     .write = approle_tidy,
     .help = "Removes secret-ids that have run out."},
    ROUTE_END,
};

/* secret_id.c has the names. */
static const char *const approle_credentials[] = {"secret/", "accessor/", "expire/", NULL};

const struct engine_ops auth_approle = {
    .type = "approle",
    .kind = ENGINE_AUTH,
    .help = "Logins of machines with a role-id and a secret-id.",
    .routes = approle_routes,
    .credentials = approle_credentials,
    .renew = approle_renew,
    .login_role = approle_login_role,
};

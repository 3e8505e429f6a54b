/* node/auth/params.h
 *
 * The parameters that roles and users of all auth methods share (core-api.md section 12):
 * token_policies, token_ttl and so on; and lists of names. Memory is the request's arena. Thread:
 * the request's.
 */
#ifndef COFFER_AUTH_PARAMS_H
#define COFFER_AUTH_PARAMS_H

#include "node/core/request.h"

struct auth_params {
    struct cf_slice
        *policies; /* lower case, sorted, no doubles; "default" only if it was asked for */
    size_t policy_count;
    struct cf_slice *bound_cidrs; /* checked */
    size_t bound_cidr_count;
    int64_t ttl_s, max_ttl_s, explicit_max_ttl_s, period_s, num_uses; /* 0: not set; never < 0 */
    bool no_default_policy;
    struct cf_slice type; /* "default", "service", "batch", "default-service", "default-batch" */
};

/* The help and the known fields of these parameters, for a route's list. */
#define AUTH_PARAMS_FIELDS                                                                         \
    {"token_policies", FIELD_LIST, "Policies of the tokens"},                                      \
        {"token_ttl", FIELD_DURATION, "Life of the tokens"},                                       \
        {"token_max_ttl", FIELD_DURATION, "Life of the tokens at most, renewals included"},        \
        {"token_explicit_max_ttl", FIELD_DURATION, "Hard end of the tokens"},                      \
        {"token_period", FIELD_DURATION, "Renewals give this life, without a maximum"},            \
        {"token_num_uses", FIELD_INT, "Requests that a token is good for; 0: any number"},         \
        {"token_bound_cidrs", FIELD_LIST, "Networks that logins and tokens may come from"},        \
        {"token_no_default_policy", FIELD_BOOL, "The policy \"default\" is not added"},            \
        {"token_type", FIELD_STRING, "default, service, batch"},                                   \
        {"policies", FIELD_LIST, "Old name of token_policies"},                                    \
        {"ttl", FIELD_DURATION, "Old name of token_ttl"},                                          \
        {"max_ttl", FIELD_DURATION, "Old name of token_max_ttl"},                                  \
    {                                                                                              \
        "bound_cidrs", FIELD_LIST,                                                                 \
            "Old name of "                                                                         \
            "token_bound_cidrs"                                                                    \
    }

/* Overlays `params` with what the request names; what it does not name stays. default_type: what an
 * empty token_type means. CF_INVALID for values that cannot be. */
CF_CHECKED cf_status params_read(struct request *rq, const char *default_type,
                                 struct auth_params *params, struct cf_error *err);
/* As members token_... of a record, and back. */
void params_to_record(struct arena *arena, const struct auth_params *params, struct json *record);
void params_from_record(struct arena *arena, const struct json *record, struct auth_params *ret);
/* As members of an answer, without policies, ttl and max_ttl. */
void params_show_common(struct arena *arena, const struct auth_params *params, struct json *data);
/* All of them. */
void params_show(struct arena *arena, const struct auth_params *params, struct json *data);
/* "<mount>-<who>" with the slashes of the mount's path turned to dashes; who empty: the mount alone. */
struct cf_slice params_display_name(struct request *rq, struct cf_slice who);
/* What a login with these parameters asks for. */
void params_apply(const struct auth_params *params, struct auth_result *auth);

/* Lower case, trimmed, sorted, without doubles; the array is changed in place, names that hold
 * capitals are copied. `root` swallows all others. */
size_t params_clean_policies(struct arena *arena, struct cf_slice *names, size_t count);
struct cf_slice params_lower(struct arena *arena, struct cf_slice name);
bool params_has(const struct cf_slice *names, size_t count, struct cf_slice name);
struct json *params_list(struct arena *arena, const struct cf_slice *items, size_t count);
/* A list of strings of a record; empty when absent. */
struct cf_slice *params_strings(struct arena *arena, const struct json *list, size_t *ret_count);

#endif

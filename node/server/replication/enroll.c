/* node/server/replication/enroll.c: the key that a token may be sealed to, and calls that clients of other
 * products may make. */
#include "node/base/memory.h"
#include "node/core/engine.h"
#include "node/crypto/box.h"
#include "node/format/encode.h"
#include "node/server/dr_token.h"
#include "node/server/replication/routes.h"

/* ---- the fields of the calls: for help, the OpenAPI document and the warning about others ---- */

#define DRY_RUN {"dry_run", FIELD_BOOL, "Say what would happen and what is missing; change nothing."}
#define DR_TOKEN {"dr_operation_token", FIELD_STRING, "On a DR secondary: authorises the call."}

const struct field repl_enable_fields[] = {
    {"primary_cluster_addr", FIELD_STRING, "Cluster address that tokens name in place of the nodes' own."},
    DRY_RUN, FIELD_END};
const struct field repl_token_fields[] = {
    {"id", FIELD_STRING, "Unique name of the secondary."},
    {"ttl", FIELD_DURATION, "How long the token may be redeemed (30m)."},
    {"secondary_public_key", FIELD_STRING, "Seals the token to this key of the secondary."}, FIELD_END};
const struct field repl_revoke_fields[] = {
    {"id", FIELD_STRING, "Name of the secondary."},
    {"rotate", FIELD_BOOL, "Replace the data key, too (sys/rotate): what is written from now on is none of its."},
    FIELD_END};
const struct field repl_link_fields[] = {
    {"token", FIELD_STRING, "Secondary token; update-primary: empty forgets the primary."},
    {"primary_api_addr", FIELD_STRING, "API address of the primary in place of the one in the token."},
    {"ca_file", FIELD_STRING, "PEM file on this server that verifies the primary's API certificate."},
    {"ca_path", FIELD_STRING, "Folder of such files on this server."},
    {"client_cert_pem", FIELD_STRING, "Client certificate for the call to the primary's API."},
    {"client_key_pem", FIELD_STRING, "Its key."},
    {"update_primary_addrs", FIELD_LIST, "update-primary: new cluster addresses of the same primary."},
    DRY_RUN, DR_TOKEN, FIELD_END};
const struct field repl_promote_fields[] = {
    {"primary_cluster_addr", FIELD_STRING, "Cluster address that tokens name in place of the nodes' own."},
    {"force", FIELD_BOOL, "Promote although data is being fetched."}, DRY_RUN, DR_TOKEN, FIELD_END};
const struct field repl_dr_fields[] = {DR_TOKEN, FIELD_END};

/* ---- the key ---- */

/* The same key until a primary was reached with it: a call that is repeated must not make the token that was
 * sealed to the first answer useless. */
cf_status repl_generate_public_key(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    struct set_primary set;
    struct cf_slice private_key;
    uint8_t public_key[BOX_PUBLIC_SIZE];
    CF_BUF(text) = {0};
    CF_TRY(repl_kind(rq, &kind, err));
    if (kind == SET_DR && rq->view->role == ROLE_DR_SECONDARY) {
        CF_TRY(dr_token_check(rq, err));
    }
    if (set_read_primary(rq, kind, &set, NULL) == CF_OK) {
        return cf_fail(err, CF_INVALID, "cluster is a %s primary: only a secondary, or what becomes one, "
                                        "needs this key",
                       set_names[kind]);
    }
    cf_status status = txn_get(rq->txn, set_enroll_key(kind), &private_key, err);
    if (status == CF_OK) {
        CF_TRY(box_public_of(private_key, public_key, err));
    } else if (status == CF_NOT_FOUND) {
        CF_OWNED(secret) fresh = NULL;
        CF_TRY(box_key_new(public_key, &fresh, err));
        txn_put(rq->txn, set_enroll_key(kind), secret_slice(fresh));
    } else {
        return status;
    }
    encode_base64(&text, cf_slice_of(public_key, sizeof(public_key)));
    json_set_string(rq->arena, response_data(rq), "secondary_public_key", cf_buf_slice(&text));
    return CF_OK;
}

/* There is no licence; those who ask want to know whether the pages of replication make sense. */
cf_status repl_license_status(struct request *rq, struct cf_error *err)
{
    static const char *const features[] = {"DR Replication", "Namespaces", "Performance Replication"};
    struct json *list = json_array_new(rq->arena);
    struct json *loaded = json_object_new(rq->arena);
    (void)err;
    for (size_t i = 0; i < CF_LENGTH(features); i++) {
        json_array_add(rq->arena, list, json_from_text(rq->arena, features[i]));
    }
    json_set(rq->arena, loaded, "features", list);
    json_set(rq->arena, response_data(rq), "autoloaded", loaded);
    json_set_bool(rq->arena, response_data(rq), "autoloading_used", false);
    return CF_OK;
}

cf_status repl_config_reload(struct request *rq, struct cf_error *err)
{
    struct cf_slice subsystem;
    if (rq->view->role != ROLE_DR_SECONDARY) {
        return cf_fail(err, CF_INVALID, "Not a DR secondary.");
    }
    CF_TRY(dr_token_check(rq, err));
    CF_TRY(request_string(rq, "subsystem", &subsystem, err));
    if (!cf_slice_is(subsystem, "license")) {
        return cf_fail(err, CF_INVALID, "unknown subsystem \"%.*s\"", CF_SHOW(subsystem));
    }
    response_warn(rq, "There is no licence here, so there is nothing to read again.");
    return CF_OK;
}

/* node/core/sys/policies.c: sys/policy and sys/policies/acl: two addresses of the same policies. */
#include "node/base/memory.h"
#include "node/core/policy.h"
#include "node/core/sys/sys_int.h"

static struct key policy_key(struct request *rq, struct cf_slice name)
{
    return (struct key){
        CLASS_REPLICATED, rq->ns,
        cf_slice_str(arena_printf(rq->arena, "%s%.*s", AREA_POLICY, CF_SHOW(name)))};
}

static struct cf_slice lowered_name(struct request *rq)
{
    struct cf_slice name = rq->captures[0];
    uint8_t *copy = arena_alloc_raw(rq->arena, name.size + 1);
    for (size_t i = 0; i < name.size; i++) {
        uint8_t byte = name.data[i];
        copy[i] = byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte - 'A' + 'a') : byte;
    }
    return cf_slice_of(copy, name.size);
}

/* Every name in order, with "root", which is no record, and which the root namespace alone has. */
static cf_status all_names(struct request *rq, struct json **ret, struct cf_error *err)
{
    struct txn_names names;
    struct json *keys = json_array_new(rq->arena);
    struct key prefix = {CLASS_REPLICATED, rq->ns, CF_SLICE(AREA_POLICY)};
    bool has_root = false;
    CF_TRY(txn_scan(rq->txn, prefix, CF_SLICE_EMPTY, 0, &names, err));
    for (size_t i = 0; i <= names.count; i++) {
        if (rq->ns == NAMESPACE_ROOT && !has_root && (i == names.count || cf_slice_cmp(names.names[i], CF_SLICE("root")) > 0)) {
            json_array_add(rq->arena, keys, json_from_text(rq->arena, "root"));
            has_root = true;
        }
        if (i < names.count) {
            json_array_add(rq->arena, keys, json_from_string(rq->arena, names.names[i]));
        }
    }
    *ret = keys;
    return CF_OK;
}

static cf_status text_of(struct request *rq, struct cf_slice name, struct cf_slice *ret,
                         struct cf_error *err)
{
    struct cf_slice record;
    struct json *json;
    if (cf_slice_is(name, "root") && rq->ns == NAMESPACE_ROOT) {
        *ret = CF_SLICE("");
        return CF_OK;
    }
    if (cf_slice_is(name, "response-wrapping")) {
        *ret = cf_slice_str(policy_wrapping_text);
        return CF_OK;
    }
    cf_status status = txn_get(rq->txn, policy_key(rq, name), &record, err);
    if (status == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(status);
    CF_TRY(record_decode(record, rq->arena, &json, err));
    *ret = json_get_string(json, "policy");
    return CF_OK;
}

static cf_status answer(struct request *rq, const char *text_name, struct cf_error *err)
{
    struct cf_slice name = lowered_name(rq), text;
    CF_TRY(text_of(rq, name, &text, err));
    json_set_string(rq->arena, response_data(rq), "name", name);
    json_set_string(rq->arena, response_data(rq), text_name, text);
    return CF_OK;
}

cf_status sys_policy_list(struct request *rq, struct cf_error *err)
{
    struct json *keys;
    CF_TRY(all_names(rq, &keys, err));
    json_set(rq->arena, response_data(rq), "keys", keys);
    json_set(rq->arena, response_data(rq), "policies", keys);
    rq->response.data_at_top = true;
    return CF_OK;
}

cf_status sys_policy_read(struct request *rq, struct cf_error *err)
{
    if (rq->captures[0].size == 0) {
        return sys_policy_list(rq, err);
    }
    rq->response.data_at_top = true;
    return answer(rq, "rules", err);
}

cf_status sys_acl_list(struct request *rq, struct cf_error *err)
{
    struct json *keys;
    CF_TRY(all_names(rq, &keys, err));
    json_set(rq->arena, response_data(rq), "keys", keys);
    return CF_OK;
}

cf_status sys_acl_read(struct request *rq, struct cf_error *err)
{
    return answer(rq, "policy", err);
}

static cf_status given_text(struct request *rq, struct cf_slice *ret, struct cf_error *err)
{
    CF_TRY(request_string(rq, "policy", ret, err));
    if (ret->size == 0) {
        CF_TRY(request_string(rq, "rules", ret, err)); /* what older clients send */
    }
    if (ret->size == 0) {
        return cf_fail(err, CF_INVALID, "'policy' parameter not supplied or empty");
    }
    *ret = policy_text(rq->arena, *ret);
    return CF_OK;
}

cf_status sys_policy_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice name = lowered_name(rq), text;
    struct policy *policy;
    if (cf_slice_is(name, "root") || cf_slice_is(name, "response-wrapping")) {
        return cf_fail(err, CF_INVALID, "cannot update \"%.*s\" policy", CF_SHOW(name));
    }
    CF_TRY(policy_name(rq->arena, name, &name, err));
    CF_TRY(given_text(rq, &text, err));
    cf_status status = policy_parse(name, text, &policy, err);
    if (status != CF_OK) {
        return cf_error_prefix(err, status, "failed to parse policy");
    }
    policy_unref(policy);
    struct json *record = json_object_new(rq->arena);
    json_set_string(rq->arena, record, "policy", text);
    txn_put(rq->txn, policy_key(rq, name), record_encode(rq->arena, record));
    return CF_OK;
}

cf_status sys_policy_delete(struct request *rq, struct cf_error *err)
{
    struct cf_slice name = lowered_name(rq);
    if (cf_slice_is(name, "root") || cf_slice_is(name, "response-wrapping")) {
        return cf_fail(err, CF_INVALID, "cannot delete \"%.*s\" policy", CF_SHOW(name));
    }
    if (cf_slice_is(name, "default")) {
        return cf_fail(err, CF_INVALID, "cannot delete default policy");
    }
    CF_TRY(policy_name(rq->arena, name, &name, err));
    txn_delete(rq->txn, policy_key(rq, name));
    return CF_OK;
}

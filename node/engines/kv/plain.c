/* node/engines/kv/plain.c: version 1: a path holds one object (core-api.md section 8). */
#include "node/core/core.h"
#include "node/engines/kv/kv_int.h"
#include "node/format/duration.h"

static cf_status load(struct request *rq, struct kv_plain *ret, struct cf_error *err)
{
    struct cf_slice path;
    CF_TRY(kv_path(rq, &path, err));
    return kv_plain_load(rq, path, ret, err);
}

static cf_status plain_exists(struct request *rq, bool *ret, struct cf_error *err)
{
    struct kv_plain plain;
    cf_status status = load(rq, &plain, err);
    *ret = status == CF_OK;
    return status == CF_NOT_FOUND ? CF_OK : status;
}

static cf_status plain_read(struct request *rq, struct cf_error *err)
{
    struct kv_plain plain;
    cf_status status = load(rq, &plain, err);
    if (status == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(status);
    int64_t lease_s = plain.lease_s;
    if (lease_s == 0) {
        lease_s = rq->mount->default_lease_ttl_s > 0 ? rq->mount->default_lease_ttl_s
                                                     : core_config(rq->core)->default_lease_ttl_s;
    }
    rq->response.data = json_from_raw(rq->arena, plain.data);
    rq->response.lease_duration_s = lease_s;
    return CF_OK;
}

/* What a member "ttl" or "lease" says, for those who read the secret. 0: nothing that can be read.
 */
static int64_t lease_of(const struct json *body)
{
    const struct json *field = json_get(body, "ttl");
    int64_t lease_s = 0;
    field = field != NULL ? field : json_get(body, "lease");
    if (duration_from_json(field, &lease_s, NULL) != CF_OK || lease_s < 0) {
        return 0;
    }
    return lease_s;
}

static cf_status plain_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice path;
    CF_TRY(kv_path(rq, &path, err));
    if (!kv_names_secret(rq)) {
        return cf_fail(err, CF_INVALID, "missing path");
    }
    if (json_count(rq->body) == 0) {
        return cf_fail(err, CF_INVALID, "missing data fields");
    }
    struct kv_plain plain = {.created_ns = request_now_ns(rq), .lease_s = lease_of(rq->body)};
    CF_TRY(kv_text(rq->arena, rq->body, &plain.data, err));
    kv_plain_save(rq, path, &plain);
    return CF_OK;
}

static cf_status plain_delete(struct request *rq, struct cf_error *err)
{
    struct kv_plain plain;
    cf_status status = load(rq, &plain, err);
    if (status == CF_OK) {
        store_delete(rq, kv_entry_name(rq->arena, rq->captures[0]));
    }
    return status == CF_NOT_FOUND ? CF_OK : status;
}

const struct route kv_plain_routes[] = {
    {.pattern = ":path...",
     .read = plain_read,
     .list = kv_list,
     .scan = kv_scan,
     .write = plain_write,
     .del = plain_delete,
     .exists = plain_exists,
     .help = "Pass-through storage: an object of any fields is kept under the path."},
    ROUTE_END,
};

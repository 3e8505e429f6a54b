/* node/engines/cubbyhole/cubbyhole.c: a store of its own for every token, gone with the token
 * (core-api.md section 10).
 *
 * Keys are AREA_CUBBY<token key>/<path>, of class cluster wherever the request arrives: token.c
 * deletes what begins with the token's key with the token, in the same entry. Nobody but the token itself
 * has a name for it. In a namespace below its own a token has another cubbyhole, with ":<number of that
 * namespace>" before the slash. */
#include "node/core/engine.h"
#include "node/core/mount.h"
#include "node/core/token.h"

/* The names of the caller's cubbyhole. CF_INVALID for callers that have none. */
static cf_status cubby_key(struct request *rq, struct cf_slice path, struct key *ret,
                           struct cf_error *err)
{
    if (!cf_slice_is(rq->caller->type, "service")) {
        return cf_fail(err, CF_INVALID,
                       "cubbyhole operations are only supported by \"service\" type tokens");
    }
    const size_t head = sizeof(AREA_CUBBY) - 1;
    uint8_t *name = arena_alloc_raw(rq->arena, head + TOKEN_KEY_SIZE + 6 + path.size);
    size_t size = head + TOKEN_KEY_SIZE;
    memcpy(name, AREA_CUBBY, head);
    memcpy(name + head, rq->caller->key, TOKEN_KEY_SIZE);
    if (rq->ns != rq->caller->ns) {
        name[size] = ':';
        cf_put_u32(name + size + 1, rq->ns);
        size += 5;
    }
    name[size++] = '/';
    if (path.size != 0) {
        memcpy(name + size, path.data, path.size);
    }
    *ret = (struct key){CLASS_CLUSTER, rq->caller->ns, cf_slice_of(name, size + path.size)};
    return CF_OK;
}

/* The last use of a token has deleted its cubbyhole in this very write set, before the handler: it
 * still sees what was there. That the view is not stale is guarded by the token's record, which was
 * read. */
static bool is_last_use(const struct request *rq)
{
    return rq->caller->num_uses == 1;
}

static struct txn *reader(struct request *rq)
{
    return is_last_use(rq) ? txn_new(rq->arena, rq->view) : rq->txn;
}

static cf_status get(struct request *rq, struct cf_slice *ret, struct cf_error *err)
{
    struct key key;
    CF_TRY(cubby_key(rq, rq->captures[0], &key, err));
    txn_note_read(rq->txn, key_hash(key));
    return txn_get(reader(rq), key, ret, err);
}

static cf_status cubby_exists(struct request *rq, bool *ret, struct cf_error *err)
{
    struct cf_slice record;
    *ret = true;
    if (rq->caller == NULL || !cf_slice_is(rq->caller->type, "service")) {
        return CF_OK; /* the handler refuses */
    }
    cf_status status = get(rq, &record, err);
    *ret = status == CF_OK;
    return status == CF_NOT_FOUND ? CF_OK : status;
}

static cf_status cubby_read(struct request *rq, struct cf_error *err)
{
    struct cf_slice record;
    cf_status status = get(rq, &record, err);
    if (status == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(status);
    if (record.size == 0 || record.data[0] != RECORD_VERSION) {
        return cf_fail(err, CF_CORRUPT, "stored record has an unknown version");
    }
    rq->response.data = json_from_raw(rq->arena, cf_slice_from(record, 1));
    return CF_OK;
}

static cf_status cubby_write(struct request *rq, struct cf_error *err)
{
    struct key key;
    CF_TRY(cubby_key(rq, rq->captures[0], &key, err));
    if (rq->captures[0].size == 0) {
        return cf_fail(err, CF_INVALID, "missing path");
    }
    if (json_count(rq->body) == 0) {
        return cf_fail(err, CF_INVALID, "missing data fields");
    }
    if (!is_last_use(rq)) { /* else nobody could ever read it */
        txn_put(rq->txn, key, record_encode(rq->arena, rq->body));
    }
    return CF_OK;
}

static cf_status cubby_delete(struct request *rq, struct cf_error *err)
{
    struct key key;
    CF_TRY(cubby_key(rq, rq->captures[0], &key, err));
    txn_delete(rq->txn, key);
    return CF_OK;
}

/* The folder with its closing slash, and the page that was asked for. */
static cf_status cubby_list(struct request *rq, struct cf_error *err)
{
    struct key prefix;
    struct txn_names names;
    struct cf_slice after;
    int64_t limit;
    struct cf_slice folder = rq->captures[0];
    if (folder.size != 0 && folder.data[folder.size - 1] != '/') {
        folder = cf_slice_str(arena_printf(rq->arena, "%.*s/", CF_SHOW(folder)));
    }
    CF_TRY(request_string(rq, "after", &after, err));
    CF_TRY(request_int(rq, "limit", 0, &limit, err));
    CF_TRY(cubby_key(rq, folder, &prefix, err));
    bool recurses = rq->operation == OPERATION_SCAN;
    size_t most = limit > 0 ? (size_t)limit : 0;
    CF_TRY((recurses ? txn_scan : txn_list)(reader(rq), prefix, after, most, &names, err));
    return response_keys(rq, &names, err);
}

static const struct route cubbyhole_routes[] = {
    {.pattern = ":path...",
     .read = cubby_read,
     .list = cubby_list,
     .scan = cubby_list,
     .write = cubby_write,
     .del = cubby_delete,
     .exists = cubby_exists,
     .help = "Storage of the calling token: any object, seen by that token alone and gone with it."},
    ROUTE_END,
};

const struct engine_ops engine_cubbyhole = {
    .type = "cubbyhole",
    .kind = ENGINE_SECRETS,
    .help = "The cubbyhole gives every token a store of its own.",
    .routes = cubbyhole_routes,
    .builtin_only = true,
    .is_local = true,
};

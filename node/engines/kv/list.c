/* node/engines/kv/list.c: lists of both versions of the engine: a folder, or all below it. */
#include "node/engines/kv/kv_int.h"

/* The folder that is meant, with its closing slash; the root is empty. */
static cf_status folder_of(struct request *rq, struct cf_slice *ret, struct cf_error *err)
{
    CF_TRY(kv_path(rq, ret, err));
    if (ret->size != 0 && ret->data[ret->size - 1] != '/') {
        *ret = cf_slice_str(arena_printf(rq->arena, "%.*s/", CF_SHOW(*ret)));
    }
    return CF_OK;
}

static cf_status names_of(struct request *rq, struct cf_slice folder, bool recurse,
                          struct txn_names *ret, struct cf_error *err)
{
    struct cf_slice after;
    int64_t limit;
    CF_TRY(request_string(rq, "after", &after, err));
    CF_TRY(request_int(rq, "limit", 0, &limit, err));
    struct key prefix = store_key(rq, kv_entry_name(rq->arena, folder));
    return (recurse ? txn_scan : txn_list)(rq->txn, prefix, after, limit > 0 ? (size_t)limit : 0,
                                           ret, err);
}

static cf_status list(struct request *rq, bool recurse, struct cf_error *err)
{
    struct cf_slice folder;
    struct txn_names names;
    CF_TRY(folder_of(rq, &folder, err));
    CF_TRY(names_of(rq, folder, recurse, &names, err));
    return response_keys(rq, &names, err);
}

cf_status kv_list(struct request *rq, struct cf_error *err)
{
    return list(rq, false, err);
}

cf_status kv_scan(struct request *rq, struct cf_error *err)
{
    return list(rq, true, err);
}

/* With the metadata of every secret (not of folders) beside its name. */
static cf_status list_detailed(struct request *rq, bool recurse, struct cf_error *err)
{
    struct cf_slice folder;
    struct txn_names names;
    struct kv_entry entry;
    CF_TRY(folder_of(rq, &folder, err));
    CF_TRY(names_of(rq, folder, recurse, &names, err));
    CF_TRY(response_keys(rq, &names, err));
    struct json *all = json_object_new(rq->arena);
    for (size_t i = 0; i < names.count; i++) {
        struct cf_slice name = names.names[i];
        if (name.data[name.size - 1] == '/') {
            continue;
        }
        struct cf_slice path =
            cf_slice_str(arena_printf(rq->arena, "%.*s%.*s", CF_SHOW(folder), CF_SHOW(name)));
        CF_TRY(kv_entry_load(rq, path, &entry, err));
        struct json *one = json_object_new(rq->arena);
        kv_show_metadata(rq, &entry, one);
        json_object_set(rq->arena, all, name, one);
    }
    json_set(rq->arena, rq->response.data, "key_info", all);
    return CF_OK;
}

cf_status kv_list_detailed(struct request *rq, struct cf_error *err)
{
    return list_detailed(rq, false, err);
}

cf_status kv_scan_detailed(struct request *rq, struct cf_error *err)
{
    return list_detailed(rq, true, err);
}

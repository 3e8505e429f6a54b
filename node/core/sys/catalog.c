/* node/core/sys/catalog.c: sys/plugins/catalog: which engines and auth methods are built in. */
#include "node/core/core.h"
#include "node/core/sys/sys_int.h"

/* fixed: also those that requests cannot mount. The registry's order is by kind, not by name. */
static bool is_listed(const struct engine_ops *ops, enum engine_kind kind)
{
    return ops->kind == kind && !ops->builtin_only;
}

static const struct engine_ops *next_by_name(struct request *rq, enum engine_kind kind,
                                             const char *after)
{
    const struct engine_ops *best = NULL;
    for (const struct engine_ops *const *at = core_engines(rq->core); *at != NULL; at++) {
        if (is_listed(*at, kind) && strcmp((*at)->type, after) > 0 &&
            (best == NULL || strcmp((*at)->type, best->type) < 0)) {
            best = *at;
        }
    }
    return best;
}

static struct json *names_of(struct request *rq, enum engine_kind kind)
{
    struct json *names = json_array_new(rq->arena);
    for (const struct engine_ops *ops = next_by_name(rq, kind, ""); ops != NULL;
         ops = next_by_name(rq, kind, ops->type)) {
        json_array_add(rq->arena, names, json_from_text(rq->arena, ops->type));
    }
    return names;
}

static void add_details(struct request *rq, enum engine_kind kind, const char *shown,
                        struct json *to)
{
    for (const struct engine_ops *ops = next_by_name(rq, kind, ""); ops != NULL;
         ops = next_by_name(rq, kind, ops->type)) {
        struct json *one = json_object_new(rq->arena);
        json_set_text(rq->arena, one, "name", ops->type);
        json_set_text(rq->arena, one, "type", shown);
        json_set_bool(rq->arena, one, "builtin", true);
        json_set_text(rq->arena, one, "version", "v" COFFER_VERSION "+builtin");
        json_set_text(rq->arena, one, "deprecation_status", "supported");
        json_array_add(rq->arena, to, one);
    }
}

cf_status sys_catalog(struct request *rq, struct cf_error *err)
{
    struct json *data = response_data(rq), *detailed = json_array_new(rq->arena);
    (void)err;
    add_details(rq, ENGINE_AUTH, "auth", detailed);
    add_details(rq, ENGINE_SECRETS, "secret", detailed);
    json_set(rq->arena, data, "auth", names_of(rq, ENGINE_AUTH));
    json_set(rq->arena, data, "database", json_array_new(rq->arena));
    json_set(rq->arena, data, "secret", names_of(rq, ENGINE_SECRETS));
    json_set(rq->arena, data, "detailed", detailed);
    return CF_OK;
}

static bool kind_named(struct cf_slice name, enum engine_kind *ret)
{
    *ret = cf_slice_is(name, "auth") ? ENGINE_AUTH : ENGINE_SECRETS;
    return cf_slice_is(name, "auth") || cf_slice_is(name, "secret");
}

cf_status sys_catalog_list(struct request *rq, struct cf_error *err)
{
    enum engine_kind kind;
    if (!kind_named(rq->captures[0], &kind)) {
        return cf_fail(err, CF_UNSUPPORTED, "1 error occurred:\n\t* unsupported operation\n\n");
    }
    json_set(rq->arena, response_data(rq), "keys", names_of(rq, kind));
    return CF_OK;
}

cf_status sys_catalog_read(struct request *rq, struct cf_error *err)
{
    enum engine_kind kind;
    const struct engine_ops *ops = NULL;
    if (kind_named(rq->captures[0], &kind)) {
        ops = engine_find(core_engines(rq->core), kind, rq->captures[1]);
    }
    if (ops == NULL || !is_listed(ops, kind)) {
        return request_absent(err);
    }
    struct json *data = response_data(rq);
    json_set(rq->arena, data, "args", json_array_new(rq->arena));
    json_set_bool(rq->arena, data, "builtin", true);
    json_set_text(rq->arena, data, "command", "");
    json_set_text(rq->arena, data, "name", ops->type);
    json_set_text(rq->arena, data, "sha256", "");
    json_set_text(rq->arena, data, "version", "v" COFFER_VERSION "+builtin");
    json_set_text(rq->arena, data, "deprecation_status", "supported");
    return CF_OK;
}

cf_status sys_catalog_refuse(struct request *rq, struct cf_error *err)
{
    (void)rq;
    return cf_fail(err, CF_INVALID, "engines and auth methods are part of the server: nothing can be "
                                    "registered or removed; sys/plugins/catalog lists what there is");
}

cf_status sys_plugin_reload(struct request *rq, struct cf_error *err)
{
    (void)rq;
    return cf_fail(err, CF_INVALID, "engines and auth methods are part of the server and run in it: "
                                    "there is nothing to reload");
}

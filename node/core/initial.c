/* node/core/initial.c: the first content of a fresh store, as one command. */
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/core_int.h"
#include "node/core/policy.h"
#include "node/core/token.h"

static void put_record(struct request *rq, uint8_t class, const char *name, struct json *record)
{
    struct key key = {class, rq->ns, cf_slice_str(name)};
    txn_put(rq->txn, key, record_encode(rq->arena, record));
}

static void put_policy(struct request *rq, const char *name, const char *text)
{
    struct json *record = json_object_new(rq->arena);
    json_set_text(rq->arena, record, "policy", text);
    put_record(rq, CLASS_REPLICATED, arena_printf(rq->arena, "%s%s", AREA_POLICY, name), record);
}

static cf_status put_mount(struct request *rq, enum engine_kind kind, const char *type,
                           const char *path, const char *description, struct cf_error *err)
{
    struct mount *mount = arena_new_object(rq->arena, struct mount);
    mount->type = cf_slice_str(type);
    mount->ops = engine_find(rq->core->engines, kind, mount->type);
    if (mount->ops == NULL) {
        return cf_fail(err, CF_INTERNAL, "no engine \"%s\" is built in", type);
    }
    mount->path = cf_slice_str(path);
    mount->description = cf_slice_str(description);
    mount->token_type = kind == ENGINE_AUTH ? CF_SLICE("default-service") : CF_SLICE_EMPTY;
    mount_identify(mount, rq);
    txn_put(rq->txn, mount_key(mount), record_encode(rq->arena, mount_to_record(rq->arena, mount)));
    return CF_OK;
}

static cf_status put_root_token(struct request *rq, struct cf_slice *ret, struct cf_error *err)
{
    static struct cf_slice root = {(const uint8_t *)"root", 4};
    struct token_spec spec = {.entry = {.display_name = CF_SLICE("root"),
                                        .path = CF_SLICE("auth/token/root"),
                                        .type = CF_SLICE("service"),
                                        .policies = &root,
                                        .policy_count = 1,
                                        .is_root = true}};
    struct token_entry *entry;
    return token_create(rq, &spec, ret, &entry, err);
}

/* What every namespace begins with, root included. */
cf_status core_fill_namespace(struct request *rq, struct cf_error *err)
{
    put_policy(rq, "default", policy_default_text);
    CF_TRY(put_mount(rq, ENGINE_SECRETS, "system", "sys/",
                     "system endpoints used for control, policy and debugging", err));
    CF_TRY(put_mount(rq, ENGINE_SECRETS, "identity", "identity/", "identity store", err));
    CF_TRY(put_mount(rq, ENGINE_SECRETS, "cubbyhole", "cubbyhole/",
                     "per-token private secret storage", err));
    return put_mount(rq, ENGINE_AUTH, "token", "auth/token/", "token based credentials", err);
}

static cf_status fill(struct request *rq, struct cf_slice *ret_root_token, struct cf_error *err)
{
    struct view *view = rq->view;
    txn_put(rq->txn, (struct key){CLASS_CLUSTER, NAMESPACE_ROOT, CF_SLICE(AREA_SALT)},
            cf_slice_of(view->salt, sizeof(view->salt)));
    struct json *role = json_object_new(rq->arena);
    char line[ENCODE_UUID_TEXT + 1];
    struct uuid line_id;
    memcpy(line_id.bytes, view->line.bytes, sizeof(line_id.bytes));
    encode_uuid_text(line_id, line);
    json_set_text(rq->arena, role, "role", cluster_role_name(ROLE_ALONE_OR_PRIMARY));
    json_set_text(rq->arena, role, "line", line);
    put_record(rq, CLASS_OWN, AREA_REPL "role", role);
    CF_TRY(core_fill_namespace(rq, err));
    return put_root_token(rq, ret_root_token, err);
}

cf_status core_initial_command(struct core *core, struct keyring *keyring,
                               const struct initial_put *extra,
                               size_t extra_count, const struct cf_random *random,
                               struct cf_buf *to, struct cf_slice *ret_root_token,
                               struct arena *arena, struct cf_error *err)
{
    struct view *view = arena_new_object(arena, struct view);
    view->keyring = keyring;
    view->cache = core->cache;
    view->stamp_ns = cf_wall_ns(cf_host_clock());
    view->stamp_monotonic_us = cf_monotonic_us(cf_host_clock());
    struct uuid line = encode_uuid_new(random);
    memcpy(view->line.bytes, line.bytes, sizeof(line.bytes));
    cf_random_fill(random, view->salt, sizeof(view->salt));
    struct request *rq = arena_new_object(arena, struct request);
    rq->core = core;
    rq->arena = arena;
    rq->random = random;
    rq->view = view;
    rq->txn = txn_new(arena, view);
    CF_TRY(fill(rq, ret_root_token, err));
    for (size_t i = 0; i < extra_count; i++) {
        if (extra[i].is_plain) {
            txn_put_plain(rq->txn, extra[i].key, extra[i].value);
        } else {
            txn_put(rq->txn, extra[i].key, extra[i].value);
        }
    }
    cf_status status = txn_encode(rq->txn, to, err);
    txn_release(rq->txn);
    return status;
}

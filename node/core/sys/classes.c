/* node/core/sys/classes.c: sys/internal/data-classes: what of this cluster's data goes to which other clusters, by what is in
 * its state (replication.md 8, row 20). */
#include "node/core/core_int.h"
#include "node/core/sys/sys_int.h"

/* By class, not by area: an area may be of more than one. Whoever adds an area (key.h) says here what it is. */
static const struct {
    const char *area, *class, *what;
} records[] = {
    {AREA_MOUNT, "replicated", "mounts and auth methods that are not local, with their settings"},
    {AREA_MOUNT, "cluster", "local mounts and auth methods"},
    {AREA_POLICY, "replicated", "ACL policies"},
    {AREA_CONFIG, "replicated", "password policies, quotas and shared settings"},
    {AREA_ROLE, "replicated", "token roles"},
    {AREA_NAMESPACE, "replicated", "namespaces"},
    {AREA_FILTER, "replicated", "filters: each secondary gets its own, DR secondaries get all"},
    {AREA_AUDIT, "replicated", "audit devices that are not local, audited request headers"},
    {AREA_AUDIT, "cluster", "local audit devices"},
    {AREA_TOKEN, "cluster", "service tokens"},
    {AREA_ACCESSOR, "cluster", "accessors of tokens"},
    {AREA_CHILD, "cluster", "which token is whose child"},
    {AREA_SALT, "cluster", "the salt of what is stored of tokens"},
    {AREA_LEASE, "cluster", "leases"},
    {AREA_LEASE_DUE, "cluster", "leases by their end"},
    {AREA_LEASE_OF, "cluster", "leases by their token"},
    {AREA_LEASE_FAILED, "cluster", "leases that could not be revoked"},
    {AREA_EXPIRE, "cluster", "tokens and records by their end"},
    {AREA_CUBBY, "cluster", "cubbyholes and wrapped answers"},
    {AREA_REQUEST, "cluster", "records of forwarded requests"},
    {AREA_NOT_BEFORE, "cluster", "from when on batch tokens are valid"},
    {AREA_REPL, "cluster", "the performance set: its CA, its registered secondaries"},
    {AREA_REPL, "own", "this cluster's role, lineage and link"},
    {AREA_POSITION, "cluster", "how far this cluster has got in the log of its performance primary"},
    {AREA_POSITION, "own", "how far this cluster has got in the log of its DR primary"},
    {AREA_SEAL, "own", "seal configuration, wrapped keys"},
    {AREA_CLUSTER, "own", "members, internal CA, autopilot, scheduled snapshots"},
};

static const char *class_name(uint8_t class)
{
    return class == CLASS_REPLICATED ? "replicated" : class == CLASS_CLUSTER ? "cluster" : "own";
}

static cf_status has_data(struct request *rq, const struct mount *mount, uint8_t class, bool *ret,
                          struct cf_error *err)
{
    CF_BUF(prefix) = {0};
    struct txn_names names;
    cf_buf_add_str(&prefix, AREA_DATA);
    cf_buf_add(&prefix, mount->uuid.bytes, sizeof(mount->uuid.bytes));
    cf_buf_add_byte(&prefix, '/');
    CF_TRY(txn_scan(rq->txn, (struct key){class, mount->ns, cf_buf_slice(&prefix)}, CF_SLICE_EMPTY, 1, &names, err));
    *ret = names.count != 0;
    return CF_OK;
}

static cf_status add_mount(struct request *rq, const struct mount *mount, struct json *to, struct cf_error *err)
{
    struct json *entry = json_object_new(rq->arena), *here = json_array_new(rq->arena);
    static const uint8_t classes[] = {CLASS_REPLICATED, CLASS_CLUSTER};
    for (size_t i = 0; i < CF_LENGTH(classes); i++) {
        bool has = false;
        CF_TRY(has_data(rq, mount, classes[i], &has, err));
        if (has) {
            json_array_add(rq->arena, here, json_from_text(rq->arena, class_name(classes[i])));
        }
    }
    json_set_string(rq->arena, entry, "type", mount->type);
    json_set_string(rq->arena, entry, "accessor", mount->accessor);
    json_set_bool(rq->arena, entry, "local", mount->is_local);
    json_set_text(rq->arena, entry, "class", class_name(mount->class));
    json_set(rq->arena, entry, "classes_stored", here);
    json_object_set(rq->arena, to, mount_shown_path(mount), entry);
    return CF_OK;
}

cf_status sys_data_classes(struct request *rq, struct cf_error *err)
{
    struct json *data = response_data(rq), *classes = json_object_new(rq->arena);
    struct json *secret = json_object_new(rq->arena), *auth = json_object_new(rq->arena);
    struct json *list = json_array_new(rq->arena);
    for (size_t i = 0; i < rq->mounts->count; i++) {
        const struct mount *mount = rq->mounts->mounts[i];
        CF_TRY(add_mount(rq, mount, mount->ops->kind == ENGINE_AUTH ? auth : secret, err));
    }
    for (size_t i = 0; i < CF_LENGTH(records); i++) {
        struct json *record = json_object_new(rq->arena);
        json_set_text(rq->arena, record, "area", records[i].area);
        json_set_text(rq->arena, record, "class", records[i].class);
        json_set_text(rq->arena, record, "data", records[i].what);
        json_array_add(rq->arena, list, record);
    }
    json_set_text(rq->arena, classes, "replicated",
                  "to performance secondaries, unless a filter of theirs keeps the mount back, and to DR secondaries");
    json_set_text(rq->arena, classes, "cluster", "to this cluster's DR secondaries only");
    json_set_text(rq->arena, classes, "own", "to no other cluster");
    json_set(rq->arena, data, "auth", auth);
    json_set(rq->arena, data, "secret", secret);
    json_set(rq->arena, data, "records", list);
    json_set(rq->arena, data, "classes", classes);
    return CF_OK;
}

/* node/core/sys/classes.c: sys/internal/data-classes: what of this cluster's data goes to which other clusters. The classes are
 * those of the records that are stored, not what somebody wrote down of them (replication.md 8, row 20). */
#include "node/core/core_int.h"
#include "node/core/sys/sys_int.h"

static const uint8_t classes[CLASS_COUNT] = {CLASS_REPLICATED, CLASS_CLUSTER, CLASS_OWN};
static const char *const names[CLASS_COUNT] = {"replicated", "cluster", "own"};

/* Beside what engines and auth methods keep. Whoever adds an area (key.h) says here what it is. */
static const struct {
    const char *area, *what;
} areas[] = {
    {AREA_MOUNT, "mounts and auth methods, with their settings"},
    {AREA_POLICY, "ACL policies"},
    {AREA_CONFIG, "password policies, quotas and other settings"},
    {AREA_ROLE, "token roles"},
    {AREA_NAMESPACE, "namespaces"},
    {AREA_FILTER, "filters: each secondary gets its own"},
    {AREA_AUDIT, "audit devices, audited request headers"},
    {AREA_TOKEN, "service tokens"},
    {AREA_ACCESSOR, "accessors of tokens"},
    {AREA_CHILD, "which token is whose child"},
    {AREA_SALT, "the salt of what is stored of tokens"},
    {AREA_LEASE, "leases"},
    {AREA_LEASE_DUE, "leases by their end"},
    {AREA_LEASE_OF, "leases by their token"},
    {AREA_LEASE_FAILED, "leases that could not be revoked"},
    {AREA_EXPIRE, "tokens and records by their end"},
    {AREA_CUBBY, "cubbyholes and wrapped answers"},
    {AREA_REQUEST, "records of forwarded requests"},
    {AREA_NOT_BEFORE, "from when on batch tokens are valid"},
    {AREA_REPL, "roles, links, certificates and secondaries of replication"},
    {AREA_POSITION, "how far this cluster has got in the log of its primary"},
    {AREA_SEAL, "seal configuration, wrapped keys"},
    {AREA_CLUSTER, "members, internal CA, autopilot, scheduled snapshots"},
};

/* The names of the classes in which something below the prefix is stored. */
static cf_status add_stored(struct request *rq, struct key prefix, struct json *to, struct cf_error *err)
{
    struct json *stored = json_array_new(rq->arena);
    struct txn_names found;
    for (size_t i = 0; i < CLASS_COUNT; i++) {
        prefix.class = classes[i];
        CF_TRY(txn_scan(rq->txn, prefix, CF_SLICE_EMPTY, 1, &found, err));
        if (found.count != 0) {
            json_array_add(rq->arena, stored, json_from_text(rq->arena, names[i]));
        }
    }
    json_set(rq->arena, to, "classes_stored", stored);
    return CF_OK;
}

static cf_status add_mount(struct request *rq, const struct mount *mount, struct json *to, struct cf_error *err)
{
    struct json *entry = json_object_new(rq->arena);
    json_set_string(rq->arena, entry, "type", mount->type);
    json_set_string(rq->arena, entry, "accessor", mount->accessor);
    json_set_bool(rq->arena, entry, "local", mount->is_local);
    json_set_text(rq->arena, entry, "class", names[class_number(mount->class)]);
    json_object_set(rq->arena, to, mount_shown_path(mount), entry);
    return add_stored(rq, mount_local_key(rq->arena, mount, CF_SLICE_EMPTY), entry, err);
}

static cf_status add_area(struct request *rq, const char *area, const char *what, struct json *to, struct cf_error *err)
{
    struct json *record = json_object_new(rq->arena);
    json_set_text(rq->arena, record, "area", area);
    json_set_text(rq->arena, record, "data", what);
    json_array_add(rq->arena, to, record);
    return add_stored(rq, (struct key){.ns = rq->ns, .name = cf_slice_str(area)}, record, err);
}

cf_status sys_data_classes(struct request *rq, struct cf_error *err)
{
    struct json *data = response_data(rq), *told = json_object_new(rq->arena);
    struct json *secret = json_object_new(rq->arena), *auth = json_object_new(rq->arena);
    struct json *list = json_array_new(rq->arena);
    for (size_t i = 0; i < rq->mounts->count; i++) {
        const struct mount *mount = rq->mounts->mounts[i];
        CF_TRY(add_mount(rq, mount, mount->ops->kind == ENGINE_AUTH ? auth : secret, err));
    }
    for (size_t i = 0; i < CF_LENGTH(areas); i++) {
        CF_TRY(add_area(rq, areas[i].area, areas[i].what, list, err));
    }
    json_set_text(rq->arena, told, "replicated",
                  "to performance secondaries, unless a filter of theirs keeps the mount back, and to DR secondaries");
    json_set_text(rq->arena, told, "cluster", "to this cluster's DR secondaries only");
    json_set_text(rq->arena, told, "own", "to no other cluster");
    json_set(rq->arena, data, "auth", auth);
    json_set(rq->arena, data, "secret", secret);
    json_set(rq->arena, data, "records", list);
    json_set(rq->arena, data, "classes", told);
    return CF_OK;
}

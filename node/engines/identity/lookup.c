/* node/engines/identity/lookup.c: entities and groups by id, name or alias; 204 for nothing found. */
#include "node/base/memory.h"
#include "node/engines/identity/identity_int.h"

/* What the tables of entities and groups are called. */
struct kind {
    const char *folder, *names, *aliases, *factors, *field;
};

static cf_status find(struct request *rq, const struct kind *kind, struct json **ret,
                      struct cf_error *err)
{
    struct cf_slice id, name, alias_id, alias_name, accessor;
    CF_TRY(request_string(rq, "id", &id, err));
    CF_TRY(request_string(rq, "name", &name, err));
    CF_TRY(request_string(rq, "alias_id", &alias_id, err));
    CF_TRY(request_string(rq, "alias_name", &alias_name, err));
    CF_TRY(request_string(rq, "alias_mount_accessor", &accessor, err));
    size_t given = (id.size != 0) + (name.size != 0) + (alias_id.size != 0) +
                   (alias_name.size != 0 || accessor.size != 0);
    if (given == 0) {
        return cf_fail(err, CF_INVALID, "query parameter not supplied");
    }
    if (given > 1) {
        return cf_fail(err, CF_INVALID, "more than one query parameter was supplied");
    }
    if (id.size != 0) {
        cf_status status = identity_get(rq, kind->folder, id, ret, err);
        return status == CF_NOT_FOUND && cf_slice_is(cf_slice_str(kind->field), "entity")
                   ? identity_follow(rq, IDENTITY_MERGED, id, "to", kind->folder, ret, err)
                   : status;
    }
    if (name.size != 0) {
        return identity_follow(rq, kind->names, identity_fold(rq->arena, name), "id",
                               kind->folder, ret, err);
    }
    if (alias_id.size != 0) {
        return identity_follow(rq, kind->aliases, alias_id, kind->field, kind->folder, ret, err);
    }
    if (alias_name.size == 0 || accessor.size == 0) {
        return cf_fail(err, CF_INVALID,
                       "'alias_name' and 'alias_mount_accessor' must be supplied together");
    }
    return identity_follow(rq, kind->factors, identity_factor(rq->arena, accessor, alias_name),
                           kind->field, kind->folder, ret, err);
}

cf_status identity_lookup_entity(struct request *rq, struct cf_error *err)
{
    static const struct kind kind = {IDENTITY_ENTITY, IDENTITY_NAME, IDENTITY_ALIAS,
                                     IDENTITY_FACTOR, "entity"};
    struct json *entity;
    cf_status status = find(rq, &kind, &entity, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    return identity_entity_answer(rq, entity, err);
}

cf_status identity_lookup_group(struct request *rq, struct cf_error *err)
{
    static const struct kind kind = {IDENTITY_GROUP, IDENTITY_GROUP_NAME, IDENTITY_GROUP_ALIAS,
                                     IDENTITY_GROUP_FACTOR, "group"};
    struct json *group;
    cf_status status = find(rq, &kind, &group, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    return identity_group_answer(rq, group, err);
}

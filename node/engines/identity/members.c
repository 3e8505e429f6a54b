/* node/engines/identity/members.c: both sides of memberships: a group lists its members, and each member the
 * groups that list it, so that a request finds all of its groups by name. */
#include "node/base/memory.h"
#include "node/engines/identity/identity_int.h"


static struct cf_slice text_at(const struct json *list, size_t i)
{
    struct cf_slice text = CF_SLICE_EMPTY;
    cf_ignore(!json_string(json_item(list, i), &text), "we wrote strings");
    return text;
}

static void set_membership(struct request *rq, struct json *record, const char *list,
                           struct cf_slice id, bool joins)
{
    struct json *now = json_get(record, list);
    now = json_is(now, JSON_ARRAY) ? now : json_array_new(rq->arena);
    if (joins) {
        identity_list_add(rq->arena, now, id);
    } else {
        now = identity_list_without(rq->arena, now, id);
    }
    json_set(rq->arena, record, list, now);
}

/* The member's side, of an entity or a group. A member that is gone cannot join, and need not leave. */
static cf_status link_member(struct request *rq, const char *folder, const char *list,
                             const char *what, struct cf_slice member, struct cf_slice group,
                             bool joins, struct cf_error *err)
{
    struct json *record;
    cf_status status = identity_get(rq, folder, member, &record, err);
    if (status == CF_NOT_FOUND) {
        return joins ? cf_fail(err, CF_INVALID, "invalid %s ID \"%.*s\"", what,
                               CF_SHOW(cf_slice_first(member, 80)))
                     : CF_OK;
    }
    CF_TRY(status);
    set_membership(rq, record, list, group, joins);
    identity_put(rq, folder, member, record);
    return CF_OK;
}

cf_status identity_link_entity(struct request *rq, struct cf_slice entity_id,
                               struct cf_slice group_id, bool joins, struct cf_error *err)
{
    return link_member(rq, IDENTITY_ENTITY, "groups", "entity", entity_id, group_id, joins, err);
}

cf_status identity_group_forget(struct request *rq, struct cf_slice group_id,
                                struct cf_slice entity_id, struct cf_slice instead,
                                struct cf_error *err)
{
    struct json *group;
    cf_status status = identity_get(rq, IDENTITY_GROUP, group_id, &group, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    set_membership(rq, group, "entities", entity_id, false);
    if (instead.size != 0) {
        set_membership(rq, group, "entities", instead, true);
    }
    identity_put(rq, IDENTITY_GROUP, group_id, group);
    return CF_OK;
}

static cf_status set_list(struct request *rq, struct json *group, const char *own_list,
                          struct json *wanted, const char *folder, const char *member_list,
                          const char *what, struct cf_error *err)
{
    const struct json *before = json_get(group, own_list);
    struct cf_slice id = json_get_string(group, "id");
    if (wanted == NULL) {
        return CF_OK;
    }
    if (json_count(wanted) > IDENTITY_MEMBERS_MAX) {
        return cf_fail(err, CF_INVALID, "a group has at most %zu members", IDENTITY_MEMBERS_MAX);
    }
    for (size_t i = 0; i < json_count(wanted); i++) {
        if (!identity_list_has(before, text_at(wanted, i))) {
            CF_TRY(link_member(rq, folder, member_list, what, text_at(wanted, i), id, true, err));
        }
    }
    for (size_t i = 0; i < json_count(before); i++) {
        if (!identity_list_has(wanted, text_at(before, i))) {
            CF_TRY(link_member(rq, folder, member_list, what, text_at(before, i), id, false, err));
        }
    }
    json_set(rq->arena, group, own_list, wanted);
    return CF_OK;
}

/* A group may not hold a group that it lies in: walks up from the group. */
static cf_status check_cycle(struct request *rq, const struct json *group,
                             const struct json *wanted, struct cf_error *err)
{
    struct json *above = json_array_new(rq->arena);
    identity_list_add(rq->arena, above, json_get_string(group, "id"));
    const struct json *parents = json_get(group, "parents");
    for (size_t i = 0; i < json_count(parents); i++) {
        identity_list_add(rq->arena, above, text_at(parents, i));
    }
    for (size_t i = 0; i < json_count(above); i++) {
        struct json *record;
        if (identity_list_has(wanted, text_at(above, i))) {
            return cf_fail(err, CF_INVALID, "cyclic relationship detected for member group ID "
                                            "\"%.*s\"",
                           CF_SHOW(cf_slice_first(text_at(above, i), 80)));
        }
        if (json_count(above) > IDENTITY_MEMBERS_MAX) {
            return cf_fail(err, CF_INVALID, "the group lies in too many others");
        }
        cf_status status = identity_get(rq, IDENTITY_GROUP, text_at(above, i), &record, err);
        if (status == CF_NOT_FOUND) {
            continue; /* the new group itself */
        }
        CF_TRY(status);
        parents = json_get(record, "parents");
        for (size_t k = 0; k < json_count(parents); k++) {
            identity_list_add(rq->arena, above, text_at(parents, k));
        }
    }
    return CF_OK;
}

cf_status identity_set_members(struct request *rq, struct json *group, struct json *entities,
                               struct json *groups, struct cf_error *err)
{
    if (groups != NULL) {
        CF_TRY(check_cycle(rq, group, groups, err));
    }
    CF_TRY(set_list(rq, group, "entities", entities, IDENTITY_ENTITY, "groups", "entity", err));
    return set_list(rq, group, "groups", groups, IDENTITY_GROUP, "parents", "group", err);
}

/* node/engines/identity/identity_int.h: what the files of the identity store share. Records: core/identity.h. */
#ifndef COFFER_ENGINES_IDENTITY_INT_H
#define COFFER_ENGINES_IDENTITY_INT_H

#include "node/core/engine.h"
#include "node/core/identity.h"

#define IDENTITY_NAME_MAX ((size_t)512)
/* Members of a group, ids of a batch. */
#define IDENTITY_MEMBERS_MAX ((size_t)10000)

/* ---- record.c ---- */

/* CF_NOT_FOUND (err then says nothing). */
CF_CHECKED cf_status identity_get(struct request *rq, const char *folder, struct cf_slice name,
                                  struct json **ret, struct cf_error *err);
void identity_put(struct request *rq, const char *folder, struct cf_slice name,
                  const struct json *record);
void identity_drop(struct request *rq, const char *folder, struct cf_slice name);
/* The record that a pointer ("name/", "factor/" ...) leads to. CF_NOT_FOUND. */
CF_CHECKED cf_status identity_follow(struct request *rq, const char *pointer, struct cf_slice name,
                                     const char *field, const char *folder, struct json **ret,
                                     struct cf_error *err);
struct json *identity_one(struct arena *arena, const char *name, struct cf_slice value);
struct json *identity_name_record(struct arena *arena, const struct json *of);
bool identity_flag(const struct json *record, const char *name);
/* A field that must be an object of strings; NULL in *ret when it is absent. */
CF_CHECKED cf_status identity_read_map(struct request *rq, const char *name, struct json **ret,
                                       struct cf_error *err);
/* "policies": lower case, no doubles, no "root"; NULL in *ret when absent. */
CF_CHECKED cf_status identity_read_policies(struct request *rq, struct json **ret,
                                            struct cf_error *err);
CF_CHECKED cf_status identity_read_name(struct request *rq, struct cf_slice *ret,
                                        struct cf_error *err);
void identity_set_time(struct request *rq, struct json *to, const char *name,
                       const struct json *record, const char *from);
/* The answer of a list: names of the folder, with what `info` adds for each (NULL: nothing). */
CF_CHECKED cf_status identity_list(struct request *rq, const char *folder,
                                   struct json *(*info)(struct request *rq,
                                                        const struct json *record),
                                   struct cf_error *err);
CF_CHECKED cf_status identity_list_names(struct request *rq, const char *folder,
                                         struct cf_error *err);

/* ---- entity.c ---- */
struct json *identity_alias_json(struct request *rq, const struct json *alias,
                                 struct cf_slice canonical_id);
CF_CHECKED cf_status identity_entity_answer(struct request *rq, const struct json *entity,
                                            struct cf_error *err);
/* Everything of the entity goes: names, aliases, memberships. */
CF_CHECKED cf_status identity_entity_drop(struct request *rq, const struct json *entity,
                                          struct cf_error *err);
cf_status identity_entity_write(struct request *rq, struct cf_error *err);
cf_status identity_entity_read_id(struct request *rq, struct cf_error *err);
cf_status identity_entity_write_id(struct request *rq, struct cf_error *err);
cf_status identity_entity_delete_id(struct request *rq, struct cf_error *err);
cf_status identity_entity_list_ids(struct request *rq, struct cf_error *err);
cf_status identity_entity_read_name(struct request *rq, struct cf_error *err);
cf_status identity_entity_write_name(struct request *rq, struct cf_error *err);
cf_status identity_entity_delete_name(struct request *rq, struct cf_error *err);
cf_status identity_entity_list_names(struct request *rq, struct cf_error *err);
cf_status identity_entity_batch_delete(struct request *rq, struct cf_error *err);

/* ---- merge.c ---- */
cf_status identity_entity_merge(struct request *rq, struct cf_error *err);

/* ---- alias.c ---- */
cf_status identity_alias_write(struct request *rq, struct cf_error *err);
cf_status identity_alias_read(struct request *rq, struct cf_error *err);
cf_status identity_alias_write_id(struct request *rq, struct cf_error *err);
cf_status identity_alias_delete(struct request *rq, struct cf_error *err);
cf_status identity_alias_list(struct request *rq, struct cf_error *err);
cf_status identity_ensure_write(struct request *rq, struct cf_error *err);
/* The auth mount of the accessor in the request's namespace as far as an alias needs it. */
CF_CHECKED cf_status identity_find_mount(struct request *rq, struct cf_slice accessor,
                                         struct identity_alias *ret, struct cf_error *err);

/* ---- group.c ---- */
CF_CHECKED cf_status identity_group_answer(struct request *rq, const struct json *group,
                                           struct cf_error *err);
cf_status identity_group_write(struct request *rq, struct cf_error *err);
cf_status identity_group_read_id(struct request *rq, struct cf_error *err);
cf_status identity_group_write_id(struct request *rq, struct cf_error *err);
cf_status identity_group_delete_id(struct request *rq, struct cf_error *err);
cf_status identity_group_list_ids(struct request *rq, struct cf_error *err);
cf_status identity_group_read_name(struct request *rq, struct cf_error *err);
cf_status identity_group_write_name(struct request *rq, struct cf_error *err);
cf_status identity_group_delete_name(struct request *rq, struct cf_error *err);
cf_status identity_group_list_names(struct request *rq, struct cf_error *err);

/* ---- members.c: both sides of memberships ---- */

/* Makes the lists of the group what is given (NULL: as they are), and the members know. */
CF_CHECKED cf_status identity_set_members(struct request *rq, struct json *group,
                                          struct json *entities, struct json *groups,
                                          struct cf_error *err);
/* The entity leaves or joins the group, whose own record is not touched. */
CF_CHECKED cf_status identity_link_entity(struct request *rq, struct cf_slice entity_id,
                                          struct cf_slice group_id, bool joins,
                                          struct cf_error *err);
/* The group's list of entities, where the entity's own record is written by the caller. */
CF_CHECKED cf_status identity_group_forget(struct request *rq, struct cf_slice group_id,
                                           struct cf_slice entity_id, struct cf_slice instead,
                                           struct cf_error *err);

/* ---- group_alias.c ---- */
cf_status identity_group_alias_write(struct request *rq, struct cf_error *err);
cf_status identity_group_alias_read(struct request *rq, struct cf_error *err);
cf_status identity_group_alias_write_id(struct request *rq, struct cf_error *err);
cf_status identity_group_alias_delete(struct request *rq, struct cf_error *err);
cf_status identity_group_alias_list(struct request *rq, struct cf_error *err);

/* ---- lookup.c ---- */
cf_status identity_lookup_entity(struct request *rq, struct cf_error *err);
cf_status identity_lookup_group(struct request *rq, struct cf_error *err);

#endif

/* node/core/identity.h
 *
 * Who stands behind a token: the entity, the groups that it is in, and the policies of both. Kept in the data
 * of the mount identity/ of the namespace, which node/engines/identity writes; read here for every request
 * of a token with an entity, through a cache. Records are objects:
 *
 *   entity/<id>   id, name, metadata, policies, disabled, creation, update, merged (ids of entities that
 *                 went into it), groups (ids of those that name it), aliases (objects: id, name,
 *                 mount_accessor, mount_type, mount_path, local, metadata, custom_metadata, creation,
 *                 update, merged_from)
 *   name/<folded name>                    id, name
 *   alias/<id>                            entity
 *   factor/<accessor>/<folded name>       entity: whose login that is
 *   merged/<id>                           to: the entity that it went into
 *   group/<id>    id, name, type, metadata, policies, creation, update, entities, groups, parents (ids),
 *                 alias (object as above, external groups only)
 *   gname/<folded name>                   id, name
 *   galias/<id>                           group
 *   gfactor/<accessor>/<folded name>      group
 *
 * Membership stands on both sides, so that all that a request depends on is read by name. Names are compared
 * without regard to case: two spellings of one login are one entity.
 */
#ifndef COFFER_CORE_IDENTITY_H
#define COFFER_CORE_IDENTITY_H

#include "node/core/request.h"

#define IDENTITY_ENTITY "entity/"
#define IDENTITY_NAME "name/"
#define IDENTITY_ALIAS "alias/"
#define IDENTITY_FACTOR "factor/"
#define IDENTITY_MERGED "merged/"
#define IDENTITY_GROUP "group/"
#define IDENTITY_GROUP_NAME "gname/"
#define IDENTITY_GROUP_ALIAS "galias/"
#define IDENTITY_GROUP_FACTOR "gfactor/"

/* Capitals to small letters, in the arena. */
struct cf_slice identity_fold(struct arena *arena, struct cf_slice name);
/* "<accessor>/<folded name>". */
struct cf_slice identity_factor(struct arena *arena, struct cf_slice accessor, struct cf_slice name);
/* A key in the data of identity/ of the request's namespace. CF_INTERNAL when there is no such mount. */
CF_CHECKED cf_status identity_key(const struct request *rq, const char *folder, struct cf_slice name,
                                  struct key *ret, struct cf_error *err);

/* What requests of an entity depend on. Immutable, shared. */
struct identity {
    struct cf_slice id; /* of the entity that it is now: it may have been merged */
    bool exists, is_disabled;
    struct cf_slice *policies; /* of the entity and its groups: sorted, no doubles */
    size_t policy_count;
    struct json *facts; /* as templates see them: {"entity": ..., "groups": ...} */
    const uint64_t *keys; /* key_hash of all that was read */
    size_t key_count;
};

/* As of the view; notes what was read. Borrowed until the end of the run. */
CF_CHECKED cf_status identity_of(struct txn *txn, struct arena *arena, uint32_t ns,
                                 struct cf_slice entity_id, const struct identity **ret,
                                 struct cf_error *err);

/* Who logged in, and where. */
struct identity_alias {
    struct cf_slice accessor, type, path, name;
    bool is_local;
    const struct json *metadata; /* object or NULL */
    /* The method's names of all groups that the login is in now. has_groups false: the method knows of none,
     * and memberships stay as they are. */
    bool has_groups;
    const struct cf_slice *groups;
    size_t group_count;
};

/* The entity of a login; made, or given the login's metadata and groups, where those are new. External groups
 * whose alias is of this mount gain and lose the entity, as the login says; names without such a group count
 * for nothing. CF_DENIED when the entity is disabled. On a performance secondary nothing is written:
 * CF_UNAVAILABLE and rq->ensure (the body of identity/ensure) say what the primary has to do first (design
 * 5.4). */
CF_CHECKED cf_status identity_login(struct request *rq, const struct identity_alias *alias,
                                    struct cf_slice *ret_entity_id, struct cf_error *err);
/* The same, for identity/ensure: what a performance secondary asks for. */
CF_CHECKED cf_status identity_ensure(struct request *rq, const struct identity_alias *alias,
                                     struct cf_slice *ret_entity_id, struct cf_error *err);
/* identity_groups.c: writes the groups that change; *ret_entity_changed: the entity's own list of groups did,
 * and the caller writes it. */
CF_CHECKED cf_status identity_refresh_groups(struct request *rq, struct json *entity,
                                             const struct identity_alias *alias, bool writes,
                                             bool *ret_entity_changed, struct cf_error *err);

/* A new id: a uuid, with the namespace's id behind it. */
struct cf_slice identity_new_id(struct request *rq);
/* A new entity without aliases and policies. */
struct json *identity_new_entity(struct request *rq, struct cf_slice name);
struct json *identity_new_alias(struct request *rq, const struct identity_alias *alias);
/* "entity_<8 hex>" and the like. */
struct cf_slice identity_new_name(struct request *rq, const char *kind);

/* ---- lists of texts ---- */

bool identity_list_has(const struct json *list, struct cf_slice text);
void identity_list_add(struct arena *arena, struct json *list, struct cf_slice text); /* once */
struct json *identity_list_without(struct arena *arena, const struct json *list,
                                   struct cf_slice text);

#endif

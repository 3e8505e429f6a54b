/* node/engines/identity/identity.c: the mount "identity/", which every namespace has: who stands behind logins
 * (core-api.md section 13). Requests depend on it through core/identity.h. */
#include "node/engines/identity/oidc_int.h"

static const struct field entity_fields[] = {
    {"id", FIELD_STRING, "Id of an entity that is changed."},
    {"name", FIELD_STRING, "Name; drawn at random when there is none."},
    {"metadata", FIELD_MAP, "Names and texts, which templates of policies may use."},
    {"policies", FIELD_LIST, "Policies that every token of the entity has."},
    {"disabled", FIELD_BOOL, "Tokens of a disabled entity are refused until it is enabled."},
    FIELD_END};
static const struct field batch_fields[] = {
    {"entity_ids", FIELD_LIST, "Ids of the entities to delete."}, FIELD_END};
static const struct field merge_fields[] = {
    {"from_entity_ids", FIELD_LIST, "Ids of entities that go into the other one."},
    {"to_entity_id", FIELD_STRING, "Id of the entity that stays."},
    {"force", FIELD_BOOL, "Kept for clients."},
    {"conflicting_alias_ids_to_keep", FIELD_LIST, "Which aliases stay where two have one mount."},
    FIELD_END};
static const struct field alias_fields[] = {
    {"id", FIELD_STRING, "Id of an alias that is changed."},
    {"name", FIELD_STRING, "What the auth method calls the login."},
    {"canonical_id", FIELD_STRING, "Id of the entity; absent: a new one."},
    {"entity_id", FIELD_STRING, "Older name of canonical_id."},
    {"mount_accessor", FIELD_STRING, "Accessor of the auth method."},
    {"custom_metadata", FIELD_MAP, "Names and texts of your own."},
    FIELD_END};
static const struct field group_fields[] = {
    {"id", FIELD_STRING, "Id of a group that is changed."},
    {"name", FIELD_STRING, "Name; drawn at random when there is none."},
    {"type", FIELD_STRING, "\"internal\" or \"external\"; stays as it was made."},
    {"metadata", FIELD_MAP, "Names and texts, which templates of policies may use."},
    {"policies", FIELD_LIST, "Policies that every member has."},
    {"member_entity_ids", FIELD_LIST, "The entities in it, in place of those before."},
    {"member_group_ids", FIELD_LIST, "The groups in it, in place of those before."},
    FIELD_END};
static const struct field lookup_fields[] = {
    {"id", FIELD_STRING, "Id."},
    {"name", FIELD_STRING, "Name."},
    {"alias_id", FIELD_STRING, "Id of an alias."},
    {"alias_name", FIELD_STRING, "Name of an alias, with alias_mount_accessor."},
    {"alias_mount_accessor", FIELD_STRING, "Accessor of the alias's mount."},
    FIELD_END};

static const struct field oidc_key_fields[] = {
    {"algorithm", FIELD_STRING, "RS256 (default), RS384, RS512, ES256, ES384, ES512 or EdDSA."},
    {"rotation_period", FIELD_DURATION, "How long a key signs; a new one follows with the next token."},
    {"verification_ttl", FIELD_DURATION, "How long a key counts after it stopped to sign."},
    {"allowed_client_ids", FIELD_LIST, "Client ids of the roles that may use it; \"*\": all."},
    FIELD_END};
static const struct field oidc_role_fields[] = {
    {"key", FIELD_STRING, "Name of the key that signs."},
    {"template", FIELD_STRING, "Claims as JSON with {{...}}, plain or in base64."},
    {"ttl", FIELD_DURATION, "Life of the tokens."},
    {"client_id", FIELD_STRING, "Audience of the tokens; drawn at random when there is none."},
    FIELD_END};
static const struct field oidc_config_fields[] = {
    {"issuer", FIELD_STRING, "Address in \"iss\"; empty: api_addr."}, FIELD_END};
static const struct field introspect_fields[] = {
    {"token", FIELD_STRING, "The identity token."},
    {"client_id", FIELD_STRING, "The audience that it must have."},
    FIELD_END};

static const struct route identity_routes[] = {
    {.pattern = "entity", .write = identity_entity_write, .fields = entity_fields,
     .help = "Makes an entity, or changes the one of that id or name."},
    {.pattern = "entity/batch-delete", .write = identity_entity_batch_delete,
     .fields = batch_fields, .help = "Deletes many entities at once."},
    {.pattern = "entity/merge", .write = identity_entity_merge, .fields = merge_fields,
     .help = "Merges entities into one."},
    {.pattern = "entity/id", .list = identity_entity_list_ids, .help = "The ids of all entities."},
    {.pattern = "entity/id/:id", .read = identity_entity_read_id,
     .write = identity_entity_write_id, .del = identity_entity_delete_id,
     .fields = entity_fields, .help = "An entity by its id."},
    {.pattern = "entity/name", .list = identity_entity_list_names,
     .help = "The names of all entities."},
    {.pattern = "entity/name/:name...", .read = identity_entity_read_name,
     .write = identity_entity_write_name, .del = identity_entity_delete_name,
     .fields = entity_fields, .help = "An entity by its name."},
    {.pattern = "entity-alias", .write = identity_alias_write, .fields = alias_fields,
     .help = "Ties a login to an entity."},
    {.pattern = "entity-alias/id", .list = identity_alias_list, .help = "The ids of all aliases."},
    {.pattern = "entity-alias/id/:id", .read = identity_alias_read,
     .write = identity_alias_write_id, .del = identity_alias_delete, .fields = alias_fields,
     .help = "An alias by its id."},
    {.pattern = "group", .write = identity_group_write, .fields = group_fields,
     .help = "Makes a group, or changes the one of that id or name."},
    {.pattern = "group/id", .list = identity_group_list_ids, .help = "The ids of all groups."},
    {.pattern = "group/id/:id", .read = identity_group_read_id, .write = identity_group_write_id,
     .del = identity_group_delete_id, .fields = group_fields, .help = "A group by its id."},
    {.pattern = "group/name", .list = identity_group_list_names,
     .help = "The names of all groups."},
    {.pattern = "group/name/:name...", .read = identity_group_read_name,
     .write = identity_group_write_name, .del = identity_group_delete_name,
     .fields = group_fields, .help = "A group by its name."},
    {.pattern = "group-alias", .write = identity_group_alias_write, .fields = alias_fields,
     .help = "Ties a group of an auth method to an external group."},
    {.pattern = "group-alias/id", .list = identity_group_alias_list,
     .help = "The ids of all group aliases."},
    {.pattern = "group-alias/id/:id", .read = identity_group_alias_read,
     .write = identity_group_alias_write_id, .del = identity_group_alias_delete,
     .fields = alias_fields, .help = "A group alias by its id."},
    {.pattern = "lookup/entity", .write = identity_lookup_entity, .flags = ROUTE_READS,
     .fields = lookup_fields, .help = "An entity by id, name or alias."},
    {.pattern = "lookup/group", .write = identity_lookup_group, .flags = ROUTE_READS,
     .fields = lookup_fields, .help = "A group by id, name or alias."},
    {.pattern = "oidc/config", .read = oidc_config_read, .write = oidc_config_write,
     .fields = oidc_config_fields, .help = "The issuer of identity tokens."},
    {.pattern = "oidc/key", .list = oidc_key_list, .help = "The keys of identity tokens."},
    {.pattern = "oidc/key/:name", .read = oidc_key_read, .write = oidc_key_write,
     .del = oidc_key_delete, .flags = ROUTE_SLOW, .fields = oidc_key_fields,
     .help = "A named key that signs identity tokens."},
    {.pattern = "oidc/key/:name/rotate", .write = oidc_key_rotate, .flags = ROUTE_SLOW,
     .fields = oidc_key_fields, .help = "Has a new key sign from now on."},
    {.pattern = "oidc/role", .list = oidc_role_list, .help = "The roles of identity tokens."},
    {.pattern = "oidc/role/:name", .read = oidc_role_read, .write = oidc_role_write,
     .del = oidc_role_delete, .fields = oidc_role_fields,
     .help = "What identity tokens of a role say."},
    {.pattern = "oidc/token/:name", .read = oidc_token, .flags = ROUTE_SLOW | ROUTE_WRITE,
     .help = "An identity token of the calling token's entity."},
    {.pattern = "oidc/introspect", .write = oidc_introspect, .flags = ROUTE_READS | ROUTE_SLOW,
     .fields = introspect_fields, .help = "Whether an identity token is good."},
    {.pattern = "oidc/.well-known/keys", .read = oidc_keys, .flags = ROUTE_OPEN,
     .help = "The public keys of identity tokens."},
    {.pattern = "oidc/.well-known/openid-configuration", .read = oidc_discovery,
     .flags = ROUTE_OPEN, .help = "Where the public keys are, and what they sign."},
    {.pattern = "ensure", .write = identity_ensure_write,
     .help = "For the clusters of a replica set."},
    ROUTE_END,
};

const struct engine_ops engine_identity = {
    .type = "identity",
    .kind = ENGINE_SECRETS,
    .help = "The identity store: entities, their logins and groups.",
    .routes = identity_routes,
    .builtin_only = true,
};

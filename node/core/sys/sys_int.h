/* node/core/sys/sys_int.h: the handlers of sys/ and what they share. */
#ifndef COFFER_CORE_SYS_SYS_INT_H
#define COFFER_CORE_SYS_SYS_INT_H

#include "node/core/mount.h"
#include "node/core/sys/sys.h"

/* ---- mount_entry.c: mounts as clients see and write them ---- */

/* "secret/" for secrets engines, "userpass/" for auth methods: without the "auth/". */
struct cf_slice mount_shown_path(const struct mount *mount);
struct json *mount_entry_json(struct request *rq, const struct mount *mount);
struct json *mount_tuning_json(struct request *rq, const struct mount *mount);
/* Reads the tunable settings that `from` (an object, or NULL) names into the mount. */
CF_CHECKED cf_status mount_config_read(struct request *rq, const struct json *from,
                                       struct mount *mount, struct cf_error *err);
/* The options given, laid over those that the mount has. */
CF_CHECKED cf_status mount_options_read(struct request *rq, struct mount *mount,
                                        struct cf_error *err);

/* ---- mounts.c ---- */

/* "x/y/" of "x/y" or "/x/y/", with "auth/" in front for auth methods; in the arena. */
struct cf_slice mount_path_of(struct request *rq, enum engine_kind kind, struct cf_slice path);
/* The mount that the path equals, contains or lies in; NULL when it is free. */
const struct mount *mount_in_the_way(const struct request *rq, struct cf_slice path);
/* The namespace that the path would hide, or lie in; NULL when there is none. */
const struct namespace *namespace_in_the_way(const struct request *rq, struct cf_slice path);
/* Makes two changes of the namespace's mount table that run side by side collide. class: of the entry that
 * changes. */
CF_CHECKED cf_status mount_table_guard(struct request *rq, uint8_t class, struct cf_error *err);
/* As that, and stores the entry. */
CF_CHECKED cf_status mount_store(struct request *rq, const struct mount *mount,
                                 struct cf_error *err);
cf_status sys_mounts_list(struct request *rq, struct cf_error *err);
cf_status sys_mounts_read(struct request *rq, struct cf_error *err);
cf_status sys_mounts_write(struct request *rq, struct cf_error *err);
cf_status sys_mounts_delete(struct request *rq, struct cf_error *err);
cf_status sys_auth_list(struct request *rq, struct cf_error *err);
cf_status sys_auth_read(struct request *rq, struct cf_error *err);
cf_status sys_auth_write(struct request *rq, struct cf_error *err);
cf_status sys_auth_delete(struct request *rq, struct cf_error *err);

/* ---- namespaces.c ---- */
cf_status sys_namespace_list(struct request *rq, struct cf_error *err);
cf_status sys_namespace_scan(struct request *rq, struct cf_error *err);
cf_status sys_namespace_read(struct request *rq, struct cf_error *err);
cf_status sys_namespace_write(struct request *rq, struct cf_error *err);
cf_status sys_namespace_patch(struct request *rq, struct cf_error *err);
cf_status sys_namespace_delete(struct request *rq, struct cf_error *err);
cf_status sys_namespace_lock(struct request *rq, struct cf_error *err);
cf_status sys_namespace_unlock(struct request *rq, struct cf_error *err);

/* CF_INVALID while it is on its way to another namespace. */
CF_CHECKED cf_status mount_is_at_rest(const struct mount *mount, struct cf_error *err);

/* ---- remount.c ---- */
cf_status sys_remount(struct request *rq, struct cf_error *err);
cf_status sys_remount_status(struct request *rq, struct cf_error *err);

/* ---- policies.c ---- */
cf_status sys_policy_list(struct request *rq, struct cf_error *err);
cf_status sys_policy_read(struct request *rq, struct cf_error *err);
cf_status sys_acl_list(struct request *rq, struct cf_error *err);
cf_status sys_acl_read(struct request *rq, struct cf_error *err);
cf_status sys_policy_write(struct request *rq, struct cf_error *err);
cf_status sys_policy_delete(struct request *rq, struct cf_error *err);

/* ---- capabilities.c ---- */
cf_status sys_capabilities(struct request *rq, struct cf_error *err);
cf_status sys_capabilities_self(struct request *rq, struct cf_error *err);
cf_status sys_capabilities_accessor(struct request *rq, struct cf_error *err);
cf_status sys_resultant_acl(struct request *rq, struct cf_error *err);

/* ---- wrapping.c ---- */
cf_status sys_wrapping_wrap(struct request *rq, struct cf_error *err);
cf_status sys_wrapping_unwrap(struct request *rq, struct cf_error *err);
cf_status sys_wrapping_lookup(struct request *rq, struct cf_error *err);
cf_status sys_wrapping_rewrap(struct request *rq, struct cf_error *err);

/* ---- leases.c ---- */
cf_status sys_lease_lookup(struct request *rq, struct cf_error *err);
cf_status sys_lease_list(struct request *rq, struct cf_error *err);
cf_status sys_lease_renew(struct request *rq, struct cf_error *err);
cf_status sys_lease_revoke(struct request *rq, struct cf_error *err);
cf_status sys_lease_revoke_prefix(struct request *rq, struct cf_error *err);
cf_status sys_lease_revoke_force(struct request *rq, struct cf_error *err);
cf_status sys_lease_irrevocable(struct request *rq, struct cf_error *err);
cf_status sys_lease_tidy(struct request *rq, struct cf_error *err);
cf_status sys_lease_count(struct request *rq, struct cf_error *err);

/* ---- tools.c ---- */
cf_status sys_tools_random(struct request *rq, struct cf_error *err);
cf_status sys_tools_hash(struct request *rq, struct cf_error *err);
cf_status sys_key_status(struct request *rq, struct cf_error *err);

/* ---- internal.c ---- */
cf_status sys_ui_mounts(struct request *rq, struct cf_error *err);
cf_status sys_ui_mount(struct request *rq, struct cf_error *err);
cf_status sys_count_tokens(struct request *rq, struct cf_error *err);
cf_status sys_count_entities(struct request *rq, struct cf_error *err);
cf_status sys_count_requests(struct request *rq, struct cf_error *err);
cf_status sys_count_activity(struct request *rq, struct cf_error *err);
cf_status sys_count_config(struct request *rq, struct cf_error *err);
cf_status sys_inspect_router(struct request *rq, struct cf_error *err);

/* ---- classes.c ---- */
cf_status sys_data_classes(struct request *rq, struct cf_error *err);

/* ---- config.c ---- */
cf_status sys_cors_read(struct request *rq, struct cf_error *err);
cf_status sys_cors_write(struct request *rq, struct cf_error *err);
cf_status sys_cors_delete(struct request *rq, struct cf_error *err);
cf_status sys_ui_header_list(struct request *rq, struct cf_error *err);
cf_status sys_ui_header_read(struct request *rq, struct cf_error *err);
cf_status sys_ui_header_write(struct request *rq, struct cf_error *err);
cf_status sys_ui_header_delete(struct request *rq, struct cf_error *err);

/* ---- quotas.c ---- */
cf_status sys_quota_config_read(struct request *rq, struct cf_error *err);
cf_status sys_quota_config_write(struct request *rq, struct cf_error *err);
cf_status sys_quota_list(struct request *rq, struct cf_error *err);
cf_status sys_quota_read(struct request *rq, struct cf_error *err);
cf_status sys_quota_write(struct request *rq, struct cf_error *err);
cf_status sys_quota_delete(struct request *rq, struct cf_error *err);
cf_status sys_lease_quota_list(struct request *rq, struct cf_error *err);
cf_status sys_lease_quota_read(struct request *rq, struct cf_error *err);
cf_status sys_lease_quota_write(struct request *rq, struct cf_error *err);
cf_status sys_lease_quota_delete(struct request *rq, struct cf_error *err);

/* ---- raw.c ---- */
cf_status sys_raw_read(struct request *rq, struct cf_error *err);
cf_status sys_raw_list(struct request *rq, struct cf_error *err);
cf_status sys_raw_write(struct request *rq, struct cf_error *err);
cf_status sys_raw_delete(struct request *rq, struct cf_error *err);

/* ---- openapi.c ---- */
cf_status sys_openapi(struct request *rq, struct cf_error *err);

/* ---- catalog.c ---- */
cf_status sys_catalog(struct request *rq, struct cf_error *err);
cf_status sys_catalog_list(struct request *rq, struct cf_error *err);
cf_status sys_catalog_read(struct request *rq, struct cf_error *err);
cf_status sys_catalog_refuse(struct request *rq, struct cf_error *err);
cf_status sys_plugin_reload(struct request *rq, struct cf_error *err);

/* ---- audit.c ---- */
cf_status sys_audit_list(struct request *rq, struct cf_error *err);
cf_status sys_audit_enable(struct request *rq, struct cf_error *err);
cf_status sys_audit_disable(struct request *rq, struct cf_error *err);
cf_status sys_audit_hash(struct request *rq, struct cf_error *err);
cf_status sys_audit_headers(struct request *rq, struct cf_error *err);
cf_status sys_audit_header_read(struct request *rq, struct cf_error *err);
cf_status sys_audit_header_write(struct request *rq, struct cf_error *err);
cf_status sys_audit_header_delete(struct request *rq, struct cf_error *err);

/* ---- locked_users.c ---- */
cf_status sys_locked_users(struct request *rq, struct cf_error *err);
cf_status sys_unlock_user(struct request *rq, struct cf_error *err);

/* ---- password_policies.c ---- */
cf_status sys_password_list(struct request *rq, struct cf_error *err);
cf_status sys_password_read(struct request *rq, struct cf_error *err);
cf_status sys_password_write(struct request *rq, struct cf_error *err);
cf_status sys_password_delete(struct request *rq, struct cf_error *err);

#endif

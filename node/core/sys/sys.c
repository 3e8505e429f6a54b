/* node/core/sys/sys.c: the route table of sys/, as far as a view and a write set answer it. */
#include "node/core/sys/sys_int.h"

static const struct field mount_fields[] = {
    {"type", FIELD_STRING, "Type of the engine, such as \"kv\" or \"transit\"."},
    {"description", FIELD_STRING, "For people."},
    {"config", FIELD_MAP, "Settings that can be tuned later."},
    {"options", FIELD_MAP, "Options of the engine, such as the version of kv."},
    {"local", FIELD_BOOL, "Keeps the mount out of replication."},
    {"seal_wrap", FIELD_BOOL, "Kept for clients: everything is sealed."},
    {"external_entropy_access", FIELD_BOOL, "Kept for clients."},
    {"plugin_name", FIELD_STRING, "Name of the engine when the type is \"plugin\"."},
    {"default_lease_ttl", FIELD_DURATION, "Lease time when none is asked for; tuning only."},
    {"max_lease_ttl", FIELD_DURATION, "Longest lease time; tuning only."},
    {"force_no_cache", FIELD_BOOL, "Kept for clients; tuning only."},
    {"listing_visibility", FIELD_STRING, "\"unauth\" shows the mount to anybody; tuning only."},
    {"token_type", FIELD_STRING, "Type of the tokens of an auth method; tuning only."},
    {"user_lockout_config", FIELD_MAP, "When users of an auth method are locked out; tuning only."},
    {"audit_non_hmac_request_keys", FIELD_LIST, "Keys that audit logs show; tuning only."},
    {"audit_non_hmac_response_keys", FIELD_LIST, "Keys that audit logs show; tuning only."},
    {"passthrough_request_headers", FIELD_LIST, "Headers for the engine; tuning only."},
    {"read_consistency", FIELD_STRING,
     "\"stale\": reads are answered from what a node has, without asking the others; tuning only."},
    {"allowed_response_headers", FIELD_LIST, "Headers from the engine; tuning only."},
    {"plugin_version", FIELD_STRING, "Must be empty: engines are built in; tuning only."},
    FIELD_END};

static const struct field remount_fields[] = {
    {"from", FIELD_STRING, "Path of the mount; auth methods with \"auth/\" in front."},
    {"to", FIELD_STRING, "Its new path."},
    FIELD_END};

static const struct field namespace_fields[] = {
    {"custom_metadata", FIELD_MAP, "Names and texts for people; a patch removes those that are null."},
    {"unlock_key", FIELD_STRING, "What api-lock/lock answered."},
    {"path", FIELD_STRING, "The namespace that is locked or unlocked."},
    FIELD_END};

static const struct field policy_fields[] = {
    {"policy", FIELD_STRING, "The policy as HCL or JSON, plain or in base64."},
    {"rules", FIELD_STRING, "Older name of \"policy\"."},
    {"name", FIELD_STRING, "Name of the policy."},
    FIELD_END};

static const struct field capabilities_fields[] = {
    {"token", FIELD_STRING, "The token that is asked about."},
    {"accessor", FIELD_STRING, "Accessor of the token that is asked about."},
    {"path", FIELD_LIST, "Older name of \"paths\"."},
    {"paths", FIELD_LIST, "The paths that are asked about."},
    FIELD_END};

static const struct field token_fields[] = {
    {"token", FIELD_STRING, "The wrapping token; absent: the request's own."}, FIELD_END};

static const struct field lease_quota_fields[] = {
    {"name", FIELD_STRING, "The quota."},
    {"path", FIELD_STRING, "Namespace, mount or path that it is for; empty: everything."},
    {"max_leases", FIELD_INT, "So many leases there may be."},
    {"role", FIELD_STRING, "Of an auth mount: logins of this role alone."},
    {"inheritable", FIELD_BOOL, "Of a namespace: those below it, too."},
    FIELD_END,
};
static const struct field lease_fields[] = {
    {"lease_id", FIELD_STRING, "The lease."},
    {"url_lease_id", FIELD_STRING, "The lease, in the path."},
    {"increment", FIELD_DURATION, "Time from now that is asked for."},
    {"sync", FIELD_BOOL, "Revocations are done when they are answered, with and without it."},
    {"prefix", FIELD_STRING, "Beginning of the lease ids."},
    {"type", FIELD_STRING, "\"irrevocable\"."},
    {"include_child_namespaces", FIELD_BOOL, "Kept for clients."},
    {"limit", FIELD_STRING, "Leases to show at most."},
    FIELD_END};

static const struct field tool_fields[] = {
    {"bytes", FIELD_INT, "How many random bytes."},
    {"source", FIELD_STRING, "\"platform\", \"seal\" or \"all\"."},
    {"format", FIELD_STRING, "\"base64\" or \"hex\"."},
    {"algorithm", FIELD_STRING, "sha2-224 to sha2-512, sha3-224 to sha3-512."},
    {"input", FIELD_STRING, "What is hashed, in base64."},
    FIELD_END};

static const struct field locked_fields[] = {
    {"mount_accessor", FIELD_STRING, "Accessor of an auth method."},
    {"alias_identifier", FIELD_STRING, "The user."},
    FIELD_END};

static const struct field audit_fields[] = {
    {"type", FIELD_STRING, "\"file\", \"socket\" or \"syslog\"."},
    {"description", FIELD_STRING, "For people."},
    {"options", FIELD_MAP, "Options of the device, such as file_path."},
    {"local", FIELD_BOOL, "Keeps the device out of replication."},
    FIELD_END};

static const struct field audit_hash_fields[] = {
    {"input", FIELD_STRING, "The text whose hash is asked for."}, FIELD_END};

static const struct field audit_header_fields[] = {
    {"hmac", FIELD_BOOL, "Records the hash of the header instead of its value."}, FIELD_END};

static const struct field cors_fields[] = {
    {"allowed_origins", FIELD_LIST, "Origins such as \"https://ui.example.com\", or \"*\"."},
    {"allowed_headers", FIELD_LIST, "Headers that they may send besides the usual ones."},
    FIELD_END};

static const struct field quota_config_fields[] = {
    {"rate_limit_exempt_paths", FIELD_LIST, "Paths that are never limited; \"x*\" for all that begin so."},
    {"enable_rate_limit_audit_logging", FIELD_BOOL, "Records refused requests, too."},
    {"enable_rate_limit_response_headers", FIELD_BOOL, "Adds X-Ratelimit-... to answers."},
    FIELD_END};

static const struct field quota_fields[] = {
    {"path", FIELD_STRING, "Namespace, mount, or path below a mount; empty: everything."},
    {"rate", FIELD_ANY, "Requests that a client may send in an interval."},
    {"interval", FIELD_DURATION, "Length of the interval; 1s."},
    {"block_interval", FIELD_DURATION, "How long a client is refused that went over the limit."},
    {"role", FIELD_STRING, "Role of logins; the path is an auth method's."},
    {"inheritable", FIELD_BOOL, "Also counts in namespaces below that have no limit of their own."},
    {"type", FIELD_STRING, "Kept for clients."},
    {"name", FIELD_STRING, "Name of the rule."},
    FIELD_END};

static const struct field raw_fields[] = {
    {"value", FIELD_STRING, "The record."},
    {"encoding", FIELD_STRING, "\"base64\" for what is no text."},
    FIELD_END};

static const struct field ui_header_fields[] = {
    {"values", FIELD_LIST, "The values of the header."},
    {"multivalue", FIELD_BOOL, "Answers all values instead of the first."},
    FIELD_END};

/* clang-format off */
static const struct route routes[] = {
    /* ---- user lockout ---- */
    {.pattern = "locked-users", .read = sys_locked_users, .fields = locked_fields,
     .help = "The users who are locked out, by auth method."},
    {.pattern = "locked-users/:mount_accessor/unlock/:alias_identifier...",
     .write = sys_unlock_user, .fields = locked_fields,
     .help = "Lets a user in again who failed to log in too often."},
    /* ---- audit ---- */
    {.pattern = "audit", .read = sys_audit_list, .flags = ROUTE_SUDO,
     .help = "The audit devices."},
    {.pattern = "audit/:path...", .write = sys_audit_enable, .del = sys_audit_disable,
     .flags = ROUTE_SUDO | ROUTE_SLOW, .fields = audit_fields,
     .help = "Enables and disables the audit device at a path."},
    {.pattern = "audit-hash/:path...", .write = sys_audit_hash, .flags = ROUTE_READS,
     .fields = audit_hash_fields,
     .help = "The hash under which a text stands in the records of a device."},
    {.pattern = "config/auditing/request-headers", .read = sys_audit_headers, .flags = ROUTE_SUDO,
     .help = "The headers of requests that are recorded."},
    {.pattern = "config/auditing/request-headers/:header", .read = sys_audit_header_read,
     .write = sys_audit_header_write, .del = sys_audit_header_delete, .flags = ROUTE_SUDO,
     .fields = audit_header_fields, .help = "Whether and how a header of requests is recorded."},

    /* ---- settings ---- */
    {.pattern = "config/cors", .read = sys_cors_read, .write = sys_cors_write,
     .del = sys_cors_delete, .flags = ROUTE_SUDO, .fields = cors_fields,
     .help = "Which origins pages may call from."},
    {.pattern = "config/ui/headers", .list = sys_ui_header_list, .flags = ROUTE_SUDO,
     .help = "The headers that the user interface is served with."},
    {.pattern = "config/ui/headers/:header", .read = sys_ui_header_read,
     .write = sys_ui_header_write, .del = sys_ui_header_delete, .flags = ROUTE_SUDO,
     .fields = ui_header_fields, .help = "A header that the user interface is served with."},

    /* ---- quotas ---- */
    {.pattern = "quotas/config", .read = sys_quota_config_read, .write = sys_quota_config_write,
     .fields = quota_config_fields, .help = "What is exempt from rate limits, and what is told."},
    {.pattern = "quotas/rate-limit", .list = sys_quota_list, .help = "The rate limits."},
    {.pattern = "quotas/rate-limit/:name", .read = sys_quota_read, .write = sys_quota_write,
     .del = sys_quota_delete, .fields = quota_fields, .help = "How often a client may come."},
    {.pattern = "quotas/lease-count", .list = sys_lease_quota_list, .help = "The limits of leases."},
    {.pattern = "quotas/lease-count/:name", .read = sys_lease_quota_read, .write = sys_lease_quota_write,
     .del = sys_lease_quota_delete, .flags = ROUTE_ACTIVE, .fields = lease_quota_fields,
     .help = "How many leases there may be; counted by the active node."},

    /* ---- mounts ---- */
    {.pattern = "mounts", .read = sys_mounts_list,
     .help = "The secrets engines and where they are mounted."},
    {.pattern = "mounts/:path...", .read = sys_mounts_read, .write = sys_mounts_write,
     .del = sys_mounts_delete, .fields = mount_fields,

     .help = "Enables, shows and disables the secrets engine at a path; with /tune, "
             "changes its settings."},
    {.pattern = "auth", .read = sys_auth_list,
     .help = "The auth methods and where they are mounted."},
    {.pattern = "auth/:path...", .read = sys_auth_read, .write = sys_auth_write,
     .del = sys_auth_delete, .flags = ROUTE_SUDO, .fields = mount_fields,

     .help = "Enables, shows and disables the auth method at a path; with /tune, changes "
             "its settings."},
    {.pattern = "remount", .write = sys_remount, .flags = ROUTE_SUDO, .fields = remount_fields,
     .help = "Moves a mount with its data to another path."},
    {.pattern = "remount/status/:migration_id", .read = sys_remount_status,
     .help = "How a remount went."},

    /* ---- namespaces ---- */
    {.pattern = "namespaces", .list = sys_namespace_list, .scan = sys_namespace_scan,
     .help = "The namespaces directly below this one; scanned, all that are below it."},
    {.pattern = "namespaces/api-lock/lock", .write = sys_namespace_lock,
     .fields = namespace_fields, .help = "Locks the request's namespace and those below it."},
    {.pattern = "namespaces/api-lock/unlock", .write = sys_namespace_unlock,
     .fields = namespace_fields, .help = "Unlocks the request's namespace."},
    {.pattern = "namespaces/api-lock/lock/:path...", .write = sys_namespace_lock,
     .fields = namespace_fields,
     .help = "Locks a namespace and those below it; answers the key that unlocks it."},
    {.pattern = "namespaces/api-lock/unlock/:path...", .write = sys_namespace_unlock,
     .fields = namespace_fields, .help = "Unlocks a namespace; without the key for sudo."},
    {.pattern = "namespaces/:path...", .read = sys_namespace_read, .write = sys_namespace_write,
     .patch = sys_namespace_patch, .del = sys_namespace_delete, .fields = namespace_fields,
     .help = "Makes, shows, changes and deletes a namespace directly below this one."},

    /* ---- policies ---- */
    {.pattern = "policy", .read = sys_policy_list, .list = sys_policy_list,
     .help = "The names of the ACL policies."},
    {.pattern = "policy/:name...", .read = sys_policy_read, .write = sys_policy_write,
     .del = sys_policy_delete, .fields = policy_fields, .help = "An ACL policy (older path)."},
    {.pattern = "policies/acl", .list = sys_acl_list, .help = "The names of the ACL policies."},
    {.pattern = "policies/acl/:name...", .read = sys_acl_read, .write = sys_policy_write,
     .del = sys_policy_delete, .fields = policy_fields, .help = "An ACL policy."},
    {.pattern = "policies/password", .list = sys_password_list,
     .help = "The names of the password policies."},
    {.pattern = "policies/password/:name...", .read = sys_password_read,
     .write = sys_password_write, .del = sys_password_delete, .fields = policy_fields,
     .help = "A password policy; with /generate, a password that obeys it."},

    /* ---- what a token may do ---- */
    {.pattern = "capabilities", .write = sys_capabilities, .flags = ROUTE_READS,
     .fields = capabilities_fields, .help = "What a token may do on some paths."},
    {.pattern = "capabilities-self", .write = sys_capabilities_self, .flags = ROUTE_READS,
     .fields = capabilities_fields, .help = "What the own token may do on some paths."},
    {.pattern = "capabilities-accessor", .write = sys_capabilities_accessor, .flags = ROUTE_READS,
     .fields = capabilities_fields, .help = "What the token of an accessor may do on some paths."},
    {.pattern = "internal/ui/resultant-acl", .read = sys_resultant_acl,
     .help = "All rules of the own token's policies, united."},

    /* ---- wrapping ---- */
    {.pattern = "wrapping/wrap", .read = sys_wrapping_wrap, .write = sys_wrapping_wrap,
     .help = "Wraps the body of the request under a token of one use."},
    {.pattern = "wrapping/unwrap", .write = sys_wrapping_unwrap, .flags = ROUTE_WRAPPING,
     .fields = token_fields, .help = "Answers what a wrapping token holds, and uses it up."},
    {.pattern = "wrapping/lookup", .read = sys_wrapping_lookup, .write = sys_wrapping_lookup,
     .flags = ROUTE_OPEN | ROUTE_READS | ROUTE_WRAPPING, .fields = token_fields,
     .help = "When and where a wrapping token was made."},
    {.pattern = "wrapping/rewrap", .write = sys_wrapping_rewrap, .fields = token_fields,
     .help = "Moves what a wrapping token holds to a new one."},

    /* ---- leases ---- */
    {.pattern = "leases/lookup", .write = sys_lease_lookup, .flags = ROUTE_READS,
     .fields = lease_fields, .help = "A lease by its id."},
    {.pattern = "leases/lookup/:prefix...", .list = sys_lease_list, .flags = ROUTE_SUDO,
     .help = "The leases below a prefix."},
    {.pattern = "leases/renew", .write = sys_lease_renew, .fields = lease_fields,
     .help = "Renews a lease."},
    {.pattern = "leases/renew/:url_lease_id...", .write = sys_lease_renew, .fields = lease_fields,
     .help = "Renews a lease."},
    {.pattern = "renew", .write = sys_lease_renew, .fields = lease_fields,
     .help = "Renews a lease (older path)."},
    {.pattern = "renew/:url_lease_id...", .write = sys_lease_renew, .fields = lease_fields,
     .help = "Renews a lease (older path)."},
    {.pattern = "leases/revoke", .write = sys_lease_revoke, .fields = lease_fields,
     .help = "Revokes a lease."},
    {.pattern = "leases/revoke/:url_lease_id...", .write = sys_lease_revoke,
     .fields = lease_fields, .help = "Revokes a lease."},
    {.pattern = "revoke", .write = sys_lease_revoke, .fields = lease_fields,
     .help = "Revokes a lease (older path)."},
    {.pattern = "revoke/:url_lease_id...", .write = sys_lease_revoke, .fields = lease_fields,
     .help = "Revokes a lease (older path)."},
    {.pattern = "leases/revoke-prefix/:prefix...", .write = sys_lease_revoke_prefix,
     .flags = ROUTE_SUDO, .fields = lease_fields, .help = "Revokes every lease below a prefix."},
    {.pattern = "leases/revoke-force/:prefix...", .write = sys_lease_revoke_force,
     .flags = ROUTE_SUDO, .fields = lease_fields,
     .help = "Revokes every lease below a prefix, come what may."},
    {.pattern = "revoke-prefix/:prefix...", .write = sys_lease_revoke_prefix,
     .flags = ROUTE_SUDO, .fields = lease_fields,
     .help = "Revokes every lease below a prefix (older path)."},
    {.pattern = "revoke-force/:prefix...", .write = sys_lease_revoke_force,
     .flags = ROUTE_SUDO, .fields = lease_fields,
     .help = "Revokes every lease below a prefix (older path)."},
    {.pattern = "leases/tidy", .write = sys_lease_tidy, .flags = ROUTE_READS,
     .help = "Cleans up leases."},
    {.pattern = "leases/count", .read = sys_lease_count,
     .help = "How many leases of a type there are."},
    {.pattern = "leases", .read = sys_lease_irrevocable, .flags = ROUTE_SUDO,
     .help = "The leases of a type."},

    /* ---- tools ---- */
    {.pattern = "tools/random", .write = sys_tools_random, .flags = ROUTE_READS,
     .fields = tool_fields, .help = "Random bytes."},
    {.pattern = "tools/random/:urlbytes", .write = sys_tools_random, .flags = ROUTE_READS,
     .fields = tool_fields, .help = "Random bytes."},
    {.pattern = "tools/random/:source/:urlbytes", .write = sys_tools_random, .flags = ROUTE_READS,
     .fields = tool_fields, .help = "Random bytes."},
    {.pattern = "tools/hash", .write = sys_tools_hash, .flags = ROUTE_READS,
     .fields = tool_fields, .help = "The hash of an input."},
    {.pattern = "tools/hash/:urlalgorithm", .write = sys_tools_hash, .flags = ROUTE_READS,
     .fields = tool_fields, .help = "The hash of an input."},

    /* ---- raw ---- */
    {.pattern = "raw/:path...", .read = sys_raw_read, .list = sys_raw_list, .write = sys_raw_write,
     .del = sys_raw_delete, .flags = ROUTE_SUDO, .fields = raw_fields,
     .help = "Records as they are stored, opened; off unless the configuration asks for it."},

    /* ---- about the server ---- */
    {.pattern = "key-status", .read = sys_key_status, .flags = ROUTE_ACTIVE, .help = "The active key of the barrier."},
    {.pattern = "internal/ui/mounts", .read = sys_ui_mounts, .flags = ROUTE_OPEN,
     .help = "The mounts that the caller may see."},
    {.pattern = "internal/ui/mounts/:path...", .read = sys_ui_mount, .flags = ROUTE_OPEN,
     .help = "The mount that serves a path."},
    {.pattern = "internal/counters/tokens", .read = sys_count_tokens, .flags = ROUTE_SLOW,
     .help = "How many tokens there are."},
    {.pattern = "internal/counters/entities", .read = sys_count_entities, .flags = ROUTE_SLOW,
     .help = "How many entities there are."},
    {.pattern = "internal/counters/requests", .read = sys_count_requests,
     .help = "Gone: says so."},
    {.pattern = "internal/counters/activity", .read = sys_count_activity,
     .help = "Activity of clients, which is not collected."},
    {.pattern = "internal/counters/activity/monthly", .read = sys_count_activity,
     .help = "Activity of clients, which is not collected."},
    {.pattern = "internal/counters/config", .read = sys_count_config,
     .help = "Whether activity of clients is collected."},
    {.pattern = "internal/inspect/router/:tag", .read = sys_inspect_router, .flags = ROUTE_SUDO,
     .help = "The mounts by path (root), uuid, accessor or storage."},
    {.pattern = "internal/data-classes", .read = sys_data_classes,
     .help = "Which data goes to which other clusters: mounts by their class, and what is kept beside them."},
    {.pattern = "internal/specs/openapi", .read = sys_openapi, .write = sys_openapi,
     .flags = ROUTE_READS, .help = "This document."},
    {.pattern = "plugins/catalog", .read = sys_catalog, .help = "The engines that are built in."},
    {.pattern = "plugins/catalog/:type/:name", .read = sys_catalog_read,
     .write = sys_catalog_refuse, .del = sys_catalog_refuse, .flags = ROUTE_SUDO | ROUTE_READS,
     .help = "An engine."},
    {.pattern = "plugins/reload/backend", .write = sys_plugin_reload, .flags = ROUTE_SUDO | ROUTE_READS,
     .help = "Engines are part of the server: refused."},
    {.pattern = "plugins/catalog/:type", .list = sys_catalog_list, .flags = ROUTE_SUDO,
     .help = "The engines of a type."},
    ROUTE_END,
};
/* clang-format on */

const struct engine_ops engine_system = {
    .type = "system",
    .kind = ENGINE_SECRETS,
    .help = "Mounts, policies, leases, wrapping and tools of the server itself.",
    .routes = routes,
    .builtin_only = true,
};

/* node/server/config.h
 *
 * The server's configuration: HCL or JSON as Vault's (core-api.md section 22), one file or all *.hcl and
 * *.json of a folder. A key that only other Vault servers use draws a warning; any other unknown key is
 * an error with file, line and the nearest known name.
 */
#ifndef COFFER_SERVER_CONFIG_H
#define COFFER_SERVER_CONFIG_H

#include "node/barrier/seal.h"
#include "node/base/arena.h"
#include "node/base/log.h"
#include "node/base/own.h"
#include "node/base/status.h"
#include "node/core/audit.h"
#include "node/core/lockout.h"

#define CONFIG_LISTENERS_MAX ((size_t)8)
#define CONFIG_JOINS_MAX ((size_t)16)
#define CONFIG_LOCKOUTS_MAX ((size_t)8)
#define CONFIG_AUDITS_MAX AUDIT_CLASS_MAX

enum storage_type { STORAGE_RAFT, STORAGE_FILE, STORAGE_INMEM };

struct config_listener {
    const char *address, *cluster_address; /* host:port; cluster_address NULL: port + 1 */
    bool tls_disable, tls_disable_client_certs, tls_require_client_cert, only_tls13;
    const char *tls_cert_file, *tls_key_file, *tls_client_ca_file;
    bool unauthenticated_metrics;
    bool allow_unauthed_rekey, allow_unauthed_generate_root; /* without a token: only where asked for */
    int64_t request_size_max;
};

struct config_join {
    const char *leader_api_addr, *ca_cert_file, *client_cert_file, *client_key_file;
    const char *ca_cert, *client_cert, *client_key; /* PEM texts, instead of files */
    const char *tls_servername;
    const char *auto_join; /* refused, with words */
};

#define CONFIG_SEALS_MAX ((size_t)2)

/* One seal stanza. Texts are NULL when absent. */
struct config_seal {
    enum seal_type type;
    bool disabled; /* the one that a change of the seal leads away from */
    const char *key_id, *key; /* static: current_key "file:///..." or the text itself */
    const char *previous_id, *previous_key; /* static: both or neither; as key_id and key */
    /* transit: another server's engine of that name. token and paths may be "file:///..." or come from
     * VAULT_ADDR, VAULT_TOKEN. */
    const char *address, *token, *key_name, *mount_path, *ns;
    const char *ca_file, *cert_file, *key_file, *server_name;
    bool skip_verify, disable_renewal;
};

struct config {
    struct arena *arena;
    const char **paths; /* what it was read from, for a reload */
    size_t path_count;
    enum storage_type storage;
    const char *path, *node_id;
    const char *snapshot_path; /* scheduled snapshots go here or below; NULL: nowhere */
    /* How many entries of log stay for a node that comes back, and how long the state may be behind on
     * disk, which the log can't be cut before. 0: the driver's own. */
    int64_t trailing_logs, snapshot_interval_s;
    bool state_wal; /* the state goes through the WAL, too: slower; to rule out a suspicion */
    struct config_join joins[CONFIG_JOINS_MAX];
    size_t join_count;
    bool join_as_non_voter;
    int64_t node_cert_ttl_s; /* how long this cluster's node certificates last; 0: 90 days */
    int64_t secondary_cert_ttl_s; /* certificates between this primary and its secondaries; 0: 365 days */
    struct config_listener listeners[CONFIG_LISTENERS_MAX];
    size_t listener_count;
    const char *api_addr, *cluster_addr, *cluster_name;
    bool forwards_by_header; /* replication.allow_forwarding_via_header */
    int64_t log_retention_s;    /* replication.: for a secondary that is away; 0: a day */
    uint64_t log_retention_bytes; /* replication.: the log is cut there, whoever needs it; 0: 1 GiB */
    int64_t compare_interval_s; /* replication.: a secondary compares its data so often; 0: a minute */
    unsigned open_ceremonies; /* enable_unauthenticated_access: bit 0 rekey, 1 generate-root */
    bool ui, disable_mlock, raw_storage_endpoint, log_json;
    enum cf_log_level log_level;
    int64_t default_lease_ttl_s, max_lease_ttl_s;
    struct config_seal seals[CONFIG_SEALS_MAX];
    size_t seal_count;
    const char *pid_file;
    struct lockout_rule lockouts[CONFIG_LOCKOUTS_MAX];
    size_t lockout_count;
    struct audit_stanza audits[CONFIG_AUDITS_MAX];
    size_t audit_count;
    bool audit_by_api, audit_may_prefix;
    /* Where devices that requests make may put files: audit_directories, else the folder of the
     * configuration and /var/log/coffer. Ends with NULL. */
    const char **audit_directories;
    /* -dev */
    bool is_dev;
    const char *dev_root_token;
    bool dev_keeps_token; /* in ~/.vault-token, for commands */
};

/* paths: files or folders, merged in order. Errors name file and line. Warnings are logged. */
CF_CHECKED cf_status config_load(const char *const *paths, size_t count, struct config **ret,
                                 struct cf_error *err);
/* What `server -dev` runs with: memory, plain HTTP, one share, kv v2 at secret/. */
struct config *config_dev(const char *root_token, const char *listen_address);
void config_free(struct config *config); /* NULL is fine */
CF_DEFINE_OWNED(config);

/* Every key that is known: the block it stands in ("top", "listener", "storage.retry_join", ...), its
 * name, and whether it has an effect here. deploy/configuration.md is compared with this. */
typedef void (*config_visit)(void *context, const char *block, const char *key, bool has_effect);
void config_each_key(config_visit visit, void *context);
/* The seal that unseals by itself, or NULL: Shamir. */
const struct config_seal *config_auto_seal(const struct config *config);
/* The stanza with disabled = "true", or NULL. */
const struct config_seal *config_old_seal(const struct config *config);

const char *storage_type_name(enum storage_type type);

#endif

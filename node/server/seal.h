/* node/server/seal.h
 *
 * The life of the barrier on this node: sys/init, unseal, seal, seal-status. The records are plain keys of
 * class own: seal/config, seal/root (the root key under the unseal key), seal/keyring (the data keys under
 * the root key), seal/recovery (auto seals: the root key under the recovery key).
 */
#ifndef COFFER_SERVER_SEAL_H
#define COFFER_SERVER_SEAL_H

#include "node/server/node.h"

#define SEAL_KEY_CONFIG ((struct key){CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(AREA_SEAL "config")})
#define SEAL_KEY_ROOT ((struct key){CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(AREA_SEAL "root")})
#define SEAL_KEY_KEYRING ((struct key){CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(AREA_SEAL "keyring")})
/* The unseal key under the root key; there after a rekey or a change of the seal. */
#define SEAL_KEY_UNSEAL ((struct key){CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(AREA_SEAL "unseal")})
#define SEAL_KEY_RECOVERY ((struct key){CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(AREA_SEAL "recovery")})

/* Reactor threads: take an exchange and answer it, now or later. */
void seal_handle_init(struct node *node, struct http_exchange *x);
void seal_handle_unseal(struct node *node, struct http_exchange *x);
void seal_handle_status(struct node *node, struct http_exchange *x);

/* Main loop: this node seals itself (keys wiped, caches dropped). */
void seal_now(struct node *node);
/* Main loop: state has moved on while an unseal key waits (also at the start with a static key). */
void seal_state_arrived(struct node *node);
/* Main loop, at the start: reads the key files of a static seal. CF_INVALID with what to do. */
CF_CHECKED cf_status seal_configure(struct node *node, struct cf_error *err);
/* Main loop, once the state is open: a cluster with a static key can't open a node whose configuration
 * does not name it. CF_INVALID with what to add; CF_OK while there is no state to ask. */
CF_CHECKED cf_status seal_check_config(struct node *node, struct cf_error *err);
/* The leader is ready and sys/init waits for it. */
void seal_leader_ready(struct node *node);
/* CF_OK and the configuration, or CF_NOT_FOUND while there is none. Any thread. */
CF_CHECKED cf_status seal_config_of(struct node *node, struct seal_config *ret,
                                    struct cf_error *err);
/* Whether `key` (combined unseal or recovery shares) proves authority over this cluster. Any thread. */
CF_CHECKED cf_status seal_authority(struct node *node, const struct secret *key,
                                    struct cf_error *err);
/* The unseal key of an unsealed node, as a copy: the one that opens the root key as it is stored now (the seal
 * may have been changed while this node was open). CF_SEALED. Any thread. */
CF_CHECKED cf_status seal_unseal_key(struct node *node, struct secret **ret, struct cf_error *err);
/* The root key of an unsealed node, as a copy. CF_SEALED. Any thread. */
CF_CHECKED cf_status seal_root_key(struct node *node, struct secret **ret, struct cf_error *err);
/* The keyring wrapped by this cluster's root key, as seal/keyring holds it. CF_SEALED. Any thread. */
CF_CHECKED cf_status seal_wrap(struct node *node, const struct keyring *keyring, struct cf_buf *to,
                               struct cf_error *err);
/* core_set_keyring_loader()'s function; context is the node. */
cf_status seal_load_keyring(void *context, struct cf_slice wrapped, struct keyring **ret,
                            struct cf_error *err);
/* A combined key for a node that is joining: kept until the state arrives. Main loop. */
void seal_keep_key(struct node *node, struct secret *key);
/* In a run of system_submit(): a record of the seal as it stands, in the read set, too. CF_NOT_FOUND. */
CF_CHECKED cf_status seal_read_plain(struct request *rq, struct key key, struct cf_slice *ret,
                                     struct cf_error *err);
/* Adds a share that arrived as hex or base64 text to `progress`. */
CF_CHECKED cf_status seal_decode_share(struct cf_slice text, struct cf_buf *to,
                                       struct cf_error *err);

#endif

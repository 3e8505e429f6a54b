/* node/server/rekey.h
 *
 * New unseal shares (sys/rekey/..., sys/rotate/root/...) or recovery shares (sys/rekey-recovery-key/...,
 * sys/rotate/recovery/...). Enough holders of the present shares together start it off; what changes are
 * a new share key, the root key wrapped by it, and the shape: one log entry, at the end. Before that
 * nothing is stored, so that a crash at any step leaves the old shares as they are, and the
 * ceremony begins anew. With require_verification that entry waits until enough of the new shares were
 * given back.
 *
 * The new unseal key is kept under the root key, too (seal/unseal): other nodes that are unsealed know the
 * root key alone, and have to know the unseal key as soon as one of them admits a joining node.
 */
#ifndef COFFER_SERVER_REKEY_H
#define COFFER_SERVER_REKEY_H

#include "node/server/node.h"

struct rekey;
struct rekey *rekey_new(void);
void rekey_free(struct rekey *rekey); /* NULL is fine; after the core */

/* Host routes; which of the two kinds, and the form of the answer, go by the path. */
CF_CHECKED cf_status rekey_read(struct request *rq, struct cf_error *err);
CF_CHECKED cf_status rekey_start(struct request *rq, struct cf_error *err);
CF_CHECKED cf_status rekey_cancel(struct request *rq, struct cf_error *err);
CF_CHECKED cf_status rekey_update(struct request *rq, struct cf_error *err);
CF_CHECKED cf_status rekey_verify_read(struct request *rq, struct cf_error *err);
CF_CHECKED cf_status rekey_verify(struct request *rq, struct cf_error *err);
CF_CHECKED cf_status rekey_verify_restart(struct request *rq, struct cf_error *err);
/* Not of the host: they read and write a record. */
CF_CHECKED cf_status rekey_backup_read(struct request *rq, struct cf_error *err);
CF_CHECKED cf_status rekey_backup_delete(struct request *rq, struct cf_error *err);

#endif

/* node/server/rekey_int.h: a rekey from the inside; rekey.c is the ceremony, rekey_commit.c the keys. */
#ifndef COFFER_SERVER_REKEY_INT_H
#define COFFER_SERVER_REKEY_INT_H

#include "node/core/pgp_shares.h"
#include "node/format/encode.h"
#include "node/server/rekey.h"
#include "node/server/seal.h"

enum rekey_kind { REKEY_UNSEAL, REKEY_RECOVERY };

/* One ceremony; guarded by the lock of struct rekey. */
struct ceremony_state {
    bool is_started, verifies, backs_up;
    bool is_busy; /* the last share is in: what follows is under way on a worker */
    char nonce[ENCODE_UUID_TEXT + 1], verification_nonce[ENCODE_UUID_TEXT + 1];
    struct shamir_shape shape; /* of the new shares */
    uint32_t generation;       /* of the seal that it began with */
    struct pgp_shares *keys;   /* NULL: shares in plain */
    struct seal_progress *progress;
    struct secret *fresh; /* the new key, shown to its holders and not in force yet */
    struct json *backup;  /* of the record, in backup_arena; NULL: none */
    struct arena *backup_arena;
};

struct rekey {
    pthread_mutex_t lock;
    struct ceremony_state states[2]; /* by enum rekey_kind */
};

/* The new key for the proved authority: read from the newest state, checked against it, one entry. */
struct rekey_change {
    enum rekey_kind kind;
    uint32_t generation;
    struct shamir_shape shape;
    const struct secret *fresh;
    const struct json *backup; /* NULL: none */
};
/* Inside a run. CF_CONFLICT-free: writes seal/config, and seal/root with seal/unseal or seal/recovery. */
CF_CHECKED cf_status rekey_write(struct request *rq, struct node *node,
                                 const struct rekey_change *change, struct cf_error *err);
/* New shares of `fresh`, for the body of an answer and, when *backup is not NULL, for the record. */
CF_CHECKED cf_status rekey_show_shares(const struct ceremony_state *state,
                                       const struct secret *fresh, struct arena *arena,
                                       struct json *body, struct json *backup,
                                       struct cf_error *err);
struct key rekey_backup_key(enum rekey_kind kind);

#endif

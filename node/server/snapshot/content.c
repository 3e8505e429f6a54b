/* node/server/snapshot/content.c: what the new state is made of.
 *
 * The archive's, but for what must not come out of the past: replication's records of this cluster,
 * and whatever gives access by itself (README.md has the table). */
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/command.h"
#include "node/core/token.h"
#include "node/crypto/box.h"
#include "node/server/replication/lineage.h"
#include "node/server/seal.h"
#include "node/server/snapshot/restore_int.h"

/* ---- which names give access ---- */

static const struct cf_slice credential_areas[] = {
    {(const uint8_t *)AREA_TOKEN, sizeof(AREA_TOKEN) - 1},
    {(const uint8_t *)AREA_ACCESSOR, sizeof(AREA_ACCESSOR) - 1},
    {(const uint8_t *)AREA_CHILD, sizeof(AREA_CHILD) - 1},
    {(const uint8_t *)AREA_CUBBY, sizeof(AREA_CUBBY) - 1},
    {(const uint8_t *)AREA_EXPIRE, sizeof(AREA_EXPIRE) - 1},
    {(const uint8_t *)AREA_LEASE, sizeof(AREA_LEASE) - 1},
    {(const uint8_t *)AREA_LEASE_DUE, sizeof(AREA_LEASE_DUE) - 1},
    {(const uint8_t *)AREA_LEASE_OF, sizeof(AREA_LEASE_OF) - 1},
    {(const uint8_t *)AREA_LEASE_FAILED, sizeof(AREA_LEASE_FAILED) - 1},
};

static bool is_credential(const struct restore *restore, struct key key)
{
    for (size_t i = 0; key.class == CLASS_CLUSTER && i < CF_LENGTH(credential_areas); i++) {
        if (cf_slice_starts(key.name, credential_areas[i])) {
            return true;
        }
    }
    return areas_hold(&restore->areas, AREA_OF_CREDENTIALS, key.name);
}

/* What an entry of the expiry index is about, when that is a token: its key. */
static bool expires_token(struct cf_slice name, struct cf_slice *ret)
{
    const size_t head = sizeof(AREA_EXPIRE) - 1 + 8;
    if (!cf_slice_starts(name, CF_SLICE(AREA_EXPIRE)) || name.size < head + 1 + TOKEN_KEY_SIZE ||
        name.data[head] != 't') {
        return false;
    }
    *ret = cf_slice_first(cf_slice_from(name, head + 1), TOKEN_KEY_SIZE);
    return true;
}

/* Leases stay when tokens are void: what they stand for has to be revoked some day. */
static bool outlives_tokens(struct key key)
{
    struct cf_slice token;
    return cf_slice_starts(key.name, CF_SLICE(AREA_LEASE)) ||
           cf_slice_starts(key.name, CF_SLICE(AREA_LEASE_DUE)) ||
           cf_slice_starts(key.name, CF_SLICE(AREA_LEASE_FAILED)) ||
           (cf_slice_starts(key.name, CF_SLICE(AREA_EXPIRE)) && !expires_token(key.name, &token));
}

/* ---- from the archive ---- */

static cf_status add_credential(struct restore *restore, struct key key, struct cf_slice value,
                                struct cf_error *err)
{
    switch (restore->credentials) {
    case CREDENTIALS_KEEP:
        return stage_put(restore, key, value, err);
    case CREDENTIALS_VOID:
        return outlives_tokens(key) ? stage_put(restore, key, value, err) : CF_OK;
    case CREDENTIALS_COMPARE:
        cf_map_put(restore->known, key.name, restore); /* its own copy is the one that counts */
        break;
    }
    return CF_OK;
}

static cf_status add_record(void *context, struct cf_slice bytes, struct cf_slice value,
                            struct cf_error *err)
{
    struct restore *restore = context;
    struct key key;
    if (!snapshot_key_decode(bytes, &key)) {
        return cf_fail(err, CF_INVALID, "a record of the snapshot has a key that is none of ours");
    }
    if (key.class == CLASS_OWN) {
        bool is_role = cf_slice_is(key.name, AREA_REPL "role");
        return restore->is_foreign && is_role ? stage_put(restore, key, value, err) : CF_OK;
    }
    if (cf_slice_starts(key.name, CF_SLICE(AREA_REPL)) ||
        cf_slice_starts(key.name, CF_SLICE(AREA_POSITION)) ||
        cf_slice_starts(key.name, CF_SLICE(AREA_REQUEST))) {
        return CF_OK;
    }
    if (cf_slice_starts(key.name, CF_SLICE(AREA_NOT_BEFORE))) {
        return restore->keep_tokens ? stage_put(restore, key, value, err) : CF_OK;
    }
    if (is_credential(restore, key)) {
        return add_credential(restore, key, value, err);
    }
    return stage_put(restore, key, value, err);
}

static cf_status pass_meta(void *context, struct cf_slice json, struct cf_error *err)
{
    (void)context;
    (void)json;
    (void)err;
    return CF_OK;
}

static cf_status pass_proof(void *context, struct cf_slice sums, struct cf_slice proof,
                            struct cf_error *err)
{
    (void)proof;
    return pass_meta(context, sums, err);
}

cf_status content_from_archive(struct restore *restore, struct cf_error *err)
{
    struct archive_visit visit = {restore, pass_meta, add_record, pass_proof};
    struct archive_totals unused;
    struct gzip_source source;
    CF_TRY(restore_source(restore, &source, err));
    CF_TRY(archive_read(&source, &snapshot_hash, &visit, &unused, err));
    return stage_flush(restore, err);
}

/* ---- from the present state ---- */

static bool knows(const struct restore *restore, const char *area, struct cf_slice rest)
{
    CF_BUF(name) = {0};
    cf_buf_add_str(&name, area);
    cf_buf_add_slice(&name, rest);
    return cf_map_get(restore->known, cf_buf_slice(&name)) != NULL;
}

/* Did the archive have the token, lease or secret id that this record of the present state is about? */
static bool is_in_both(const struct restore *restore, struct key key)
{
    struct cf_slice name = key.name;
    if (cf_slice_starts(name, CF_SLICE(AREA_CHILD))) {
        return knows(restore, AREA_TOKEN,
                     cf_slice_from(name, sizeof(AREA_CHILD) - 1 + TOKEN_KEY_SIZE));
    }
    if (cf_slice_starts(name, CF_SLICE(AREA_CUBBY))) {
        return knows(restore, AREA_TOKEN,
                     cf_slice_first(cf_slice_from(name, sizeof(AREA_CUBBY) - 1), TOKEN_KEY_SIZE));
    }
    struct cf_slice token;
    if (cf_slice_starts(name, CF_SLICE(AREA_EXPIRE))) { /* what is left of a revocation is of the present */
        return !expires_token(name, &token) || knows(restore, AREA_TOKEN, token);
    }
    if (cf_slice_starts(name, CF_SLICE(AREA_LEASE_DUE))) {
        return knows(restore, AREA_LEASE, cf_slice_from(name, sizeof(AREA_LEASE_DUE) - 1 + 16 + 8 + 4));
    }
    if (cf_slice_starts(name, CF_SLICE(AREA_LEASE_FAILED))) {
        return knows(restore, AREA_LEASE, cf_slice_from(name, sizeof(AREA_LEASE_FAILED) - 1 + 8));
    }
    if (cf_slice_starts(name, CF_SLICE(AREA_LEASE_OF))) {
        return knows(restore, AREA_LEASE, cf_slice_from(name, sizeof(AREA_LEASE_OF) - 1 + TOKEN_KEY_SIZE + 4));
    }
    return cf_map_get(restore->known, name) != NULL;
}

/* Sealed for this line; the state that comes may be another's. */
static cf_status carry_one(void *context, struct key key, struct cf_slice value,
                           struct cf_error *err)
{
    struct restore *restore = context;
    const struct view *view = restore->view;
    struct barrier_name name = {key.class, key.ns, key.name};
    if (key.class != CLASS_CLUSTER ||
        memcmp(view->line.bytes, restore->line.bytes, sizeof(view->line.bytes)) == 0) {
        return stage_put(restore, key, value, err);
    }
    CF_BUF(plain) = {.secret = true};
    CF_BUF(sealed) = {0};
    CF_TRY(barrier_open_buf(view->keyring, &name, &view->line, value, &plain, err));
    CF_TRY(barrier_seal(view->keyring, &name, &restore->line, cf_buf_slice(&plain), &sealed, err));
    return stage_put(restore, key, cf_buf_slice(&sealed), err);
}

/* Credentials that are in both; and all that takes access away. */
static cf_status add_present(void *context, struct key key, struct cf_slice value,
                             struct cf_error *err)
{
    struct restore *restore = context;
    bool goes_on = areas_hold(&restore->areas, AREA_OF_REVOCATIONS, key.name) ||
                   (restore->credentials == CREDENTIALS_COMPARE && is_credential(restore, key) &&
                    is_in_both(restore, key));
    return goes_on ? carry_one(context, key, value, err) : CF_OK;
}

/* What this cluster keeps of its own without a seal (settings, members) needs no keys to go on. */
static cf_status carry_plain(void *context, struct key key, struct cf_slice value,
                             struct cf_error *err)
{
    struct restore *restore = context;
    struct barrier_name name = {key.class, key.ns, key.name};
    struct cf_slice unused;
    bool is_sealed = barrier_open(restore->view->keyring, &name, NULL, value, restore->facts.arena,
                                  &unused, NULL) == CF_OK;
    return is_sealed ? CF_OK : stage_put(restore, key, value, err);
}

cf_status content_from_present(struct restore *restore, struct cf_error *err)
{
    const struct view *view = restore->view;
    static const uint8_t classes[] = {CLASS_CLUSTER, CLASS_REPLICATED};
    if (restore->is_foreign) {
        CF_TRY(snapshot_walk(view, CLASS_OWN, CF_SLICE(AREA_CLUSTER), carry_plain, restore, err));
        return stage_flush(restore, err);
    }
    for (size_t i = 0; i < CF_LENGTH(classes); i++) {
        CF_TRY(snapshot_walk(view, classes[i], CF_SLICE(AREA_REPL), carry_one, restore, err));
        CF_TRY(snapshot_walk(view, classes[i], CF_SLICE(AREA_POSITION), carry_one, restore, err));
    }
    /* Of every namespace; the shared class only if an engine has something of the kind. */
    if (restore->credentials == CREDENTIALS_COMPARE || areas_any(&restore->areas)) {
        CF_TRY(snapshot_walk(view, CLASS_CLUSTER, CF_SLICE_EMPTY, add_present, restore, err));
    }
    if (areas_any(&restore->areas)) {
        CF_TRY(snapshot_walk(view, CLASS_REPLICATED, CF_SLICE_EMPTY, add_present, restore, err));
    }
    return stage_flush(restore, err);
}

/* ---- the entry of the switch ---- */

static cf_status merge_keyrings(struct restore *restore, struct request *rq, struct cf_error *err)
{
    const struct keyring *ours = rq->view->keyring;
    CF_OWNED(keyring) fresh = NULL;
    CF_OWNED(keyring) both = NULL;
    CF_BUF(wrapped) = {0};
    if (keyring_includes(ours, restore->keyring)) {
        return CF_OK;
    }
    struct keyring_info theirs;
    struct key_id active = keyring_active(ours).id;
    if (keyring_find(restore->keyring, active, &theirs, NULL) == CF_OK && theirs.retired) {
        CF_TRY(keyring_rotate(ours, rq->random, request_now_ns(rq), &fresh, err));
        ours = fresh;
        active = keyring_active(ours).id;
    }
    CF_TRY(keyring_union(ours, restore->keyring, active, &both, err));
    CF_TRY(seal_wrap(restore->node, both, &wrapped, err));
    txn_put_plain(rq->txn, SEAL_KEY_KEYRING, cf_buf_slice(&wrapped));
    return CF_OK;
}

static void void_batch_tokens(const struct restore *restore, struct request *rq)
{
    uint8_t now[8];
    if (!restore->keep_tokens) {
        cf_put_u64(now, (uint64_t)request_now_ns(rq));
        txn_put_plain(rq->txn, TOKEN_NOT_BEFORE_KEY, cf_slice_of(now, sizeof(now)));
    }
}

static cf_status put_aside_one(void *context, struct key key, struct cf_slice value,
                               struct cf_error *err)
{
    struct restore *restore = context;
    struct barrier_name name = {key.class, key.ns, key.name};
    struct cf_slice plain;
    (void)err;
    if (barrier_open(restore->view->keyring, &name, NULL, value, restore->facts.arena, &plain,
                     NULL) != CF_OK) {
        return CF_OK; /* plain, and staged as it is */
    }
    cf_buf_add_u32(&restore->carried, (uint32_t)key.name.size);
    cf_buf_add_u32(&restore->carried, (uint32_t)plain.size);
    cf_buf_add_slice(&restore->carried, key.name);
    cf_buf_add_slice(&restore->carried, plain);
    return CF_OK;
}

/* What this cluster has of its own (its CA) is sealed by keys that go: only who opens the snapshot's
 * seal can take it up again. */
static cf_status put_aside(struct restore *restore, struct request *rq, struct cf_error *err)
{
    CF_BUF(public_key) = {.max = BOX_PUBLIC_SIZE};
    CF_BUF(box) = {0};
    if (encode_base64_decode(&public_key, json_get_string(restore->facts.meta, "restore_key"),
                             NULL) != CF_OK ||
        public_key.size != BOX_PUBLIC_SIZE) {
        return cf_fail(err, CF_INVALID, "the snapshot does not say what key to put things aside for");
    }
    CF_TRY(snapshot_walk(restore->view, CLASS_OWN, CF_SLICE(AREA_CLUSTER), put_aside_one, restore,
                         err));
    CF_TRY(box_seal(cf_buf_slice(&public_key), cf_buf_slice(&restore->carried),
                    CF_SLICE("coffer carried"), &box, err));
    txn_put_plain(rq->txn, SNAPSHOT_CARRIED_KEY, cf_buf_slice(&box));
    return CF_OK;
}

static cf_status foreign_effects(struct restore *restore, struct request *rq, struct cf_error *err)
{
    const struct archive_facts *facts = &restore->facts;
    txn_put_plain(rq->txn, SEAL_KEY_CONFIG, facts->seal_config);
    txn_put_plain(rq->txn, SEAL_KEY_ROOT, facts->seal_root);
    txn_put_plain(rq->txn, SEAL_KEY_KEYRING, facts->seal_keyring);
    if (facts->seal_recovery.size != 0) {
        txn_put_plain(rq->txn, SEAL_KEY_RECOVERY, facts->seal_recovery);
    }
    return put_aside(restore, rq, err);
}

/* The state jumps back: both lineages get a new epoch, so that nobody goes on from a position that is gone. */
static cf_status new_epoch(struct restore *restore, struct request *rq, enum set_kind kind,
                           struct cf_error *err)
{
    int64_t index = 0, term = 0;
    struct cf_slice record = CF_SLICE_EMPTY;
    struct cf_slice sealed = restore->facts.lineages[kind];
    struct key key = set_lineage_key(kind);
    struct barrier_name name = {key.class, key.ns, key.name};
    if (sealed.size != 0) {
        CF_TRY(barrier_open(restore->keyring, &name, key.class == CLASS_CLUSTER ? &restore->line : NULL,
                            sealed, restore->facts.arena, &record, err));
    }
    cf_ignore(!json_int64(json_get(restore->facts.meta, "Index"), &index), "0: from the beginning");
    cf_ignore(!json_int64(json_get(restore->facts.meta, "Term"), &term), "0: from the beginning");
    return lineage_restored(rq, kind, record, (uint64_t)term, (uint64_t)index, err);
}

static cf_status own_effects(struct restore *restore, struct request *rq, struct cf_error *err)
{
    CF_TRY(merge_keyrings(restore, rq, err));
    if (memcmp(rq->view->line.bytes, restore->line.bytes, sizeof(restore->line.bytes)) != 0) {
        set_write_role(rq, rq->view->role, &restore->line);
    }
    CF_TRY(new_epoch(restore, rq, SET_PERFORMANCE, err));
    return new_epoch(restore, rq, SET_DR, err);
}

cf_status content_switch(struct restore *restore, struct request *rq, struct command *command,
                         struct cf_error *err)
{
    struct op *ops;
    *command = (struct command){.id = COMMAND_SWITCH,
                                .stage_generation = restore->generation,
                                .switch_classes = 1u << class_number(CLASS_REPLICATED) |
                                                  1u << class_number(CLASS_CLUSTER)};
    void_batch_tokens(restore, rq);
    if (restore->is_foreign) {
        command->switch_classes |= 1u << class_number(CLASS_OWN);
        CF_TRY(foreign_effects(restore, rq, err));
    } else {
        CF_TRY(own_effects(restore, rq, err));
    }
    CF_TRY(txn_seal(rq->txn, &ops, &command->op_count, err));
    command->ops = ops;
    return CF_OK;
}

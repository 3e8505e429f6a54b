/* node/server/rekey_commit.c: the new key of a rekey, its shares, and the one entry that puts it in force. */
#include "node/base/memory.h"
#include "node/server/rekey_int.h"

struct key rekey_backup_key(enum rekey_kind kind)
{
    return (struct key){CLASS_OWN, NAMESPACE_ROOT,
                        kind == REKEY_UNSEAL ? CF_SLICE(AREA_CLUSTER "rekey-backup")
                                             : CF_SLICE(AREA_CLUSTER "rekey-backup-recovery")};
}

/* Plain records do not open as sealed values: the read is for the read set alone. */
static void note_read(struct request *rq, struct key key)
{
    txn_note_read(rq->txn, key_hash(key));
}

static cf_status put_config(struct request *rq, const struct rekey_change *change,
                            struct cf_error *err)
{
    struct seal_config config;
    struct cf_slice bytes;
    CF_BUF(out) = {0};
    note_read(rq, SEAL_KEY_CONFIG);
    CF_TRY(view_get_raw(rq->view, SEAL_KEY_CONFIG, rq->arena, &bytes, err));
    CF_TRY(seal_config_load(bytes, &config, err));
    if (config.generation != change->generation) {
        return cf_fail(err, CF_INVALID,
                       "the seal was changed meanwhile: start again with the shares that count now");
    }
    config.shape = change->shape;
    config.generation++;
    CF_TRY(seal_config_dump(&config, &out, err));
    txn_put_plain(rq->txn, SEAL_KEY_CONFIG, cf_buf_slice(&out));
    return CF_OK;
}

static cf_status put_wrapped(struct request *rq, struct key key, const struct secret *under,
                             const struct secret *what, struct cf_error *err)
{
    CF_BUF(out) = {0};
    note_read(rq, key);
    CF_TRY(seal_wrap_root(secret_slice(under), secret_slice(what), &out, err));
    txn_put_plain(rq->txn, key, cf_buf_slice(&out));
    return CF_OK;
}

cf_status rekey_write(struct request *rq, struct node *node, const struct rekey_change *change,
                      struct cf_error *err)
{
    CF_OWNED(secret) root = NULL;
    CF_TRY(put_config(rq, change, err));
    CF_TRY(seal_root_key(node, &root, err));
    if (change->kind == REKEY_UNSEAL) {
        CF_TRY(put_wrapped(rq, SEAL_KEY_ROOT, change->fresh, root, err));
        CF_TRY(put_wrapped(rq, SEAL_KEY_UNSEAL, root, change->fresh, err));
    } else {
        CF_TRY(put_wrapped(rq, SEAL_KEY_RECOVERY, change->fresh, root, err));
    }
    if (change->backup != NULL) {
        txn_put(rq->txn, rekey_backup_key(change->kind),
                record_encode(rq->arena, change->backup));
    }
    return CF_OK;
}

/* {"nonce": ..., "keys": {fingerprint: [hex]}, "keys_base64": {...}} */
static cf_status add_backup(const struct ceremony_state *state, struct secret *const *shares,
                            struct json *backup, struct arena *arena, struct cf_error *err)
{
    struct json *names = pgp_shares_fingerprints(state->keys, arena);
    struct json *hex = json_object_new(arena), *base64 = json_object_new(arena);
    for (unsigned i = 0; i < state->shape.shares; i++) {
        CF_BUF(message) = {0};
        CF_BUF(text) = {0};
        struct cf_slice name;
        CF_TRY(pgp_shares_seal(state->keys, i, secret_slice(shares[i]), &message, err));
        if (!json_string(json_item(names, i), &name)) {
            return cf_fail(err, CF_INTERNAL, "a PGP key has no fingerprint");
        }
        struct json *hexes = json_get_slice(hex, name), *others = json_get_slice(base64, name);
        if (hexes == NULL) { /* one person may hold several shares */
            json_object_set(arena, hex, name, hexes = json_array_new(arena));
            json_object_set(arena, base64, name, others = json_array_new(arena));
        }
        encode_hex(&text, cf_buf_slice(&message));
        json_array_add(arena, hexes, json_from_string(arena, cf_buf_slice(&text)));
        cf_buf_reset(&text);
        encode_base64(&text, cf_buf_slice(&message));
        json_array_add(arena, others, json_from_string(arena, cf_buf_slice(&text)));
    }
    json_set_text(arena, backup, "nonce", state->nonce);
    json_set(arena, backup, "keys", hex);
    json_set(arena, backup, "keys_base64", base64);
    return CF_OK;
}

cf_status rekey_show_shares(const struct ceremony_state *state, const struct secret *fresh,
                            struct arena *arena, struct json *body, struct json *backup,
                            struct cf_error *err)
{
    struct secret *shares[SHAMIR_SHARES_MAX] = {NULL};
    CF_TRY(shamir_split(secret_slice(fresh), state->shape, core_random(), shares, err));
    cf_status status = pgp_shares_put(state->keys, shares, state->shape.shares, "keys",
                                      "keys_base64", arena, body, err);
    if (status == CF_OK && backup != NULL) {
        status = add_backup(state, shares, backup, arena, err);
    }
    for (size_t i = 0; i < CF_LENGTH(shares); i++) {
        secret_free(shares[i]);
    }
    return status;
}

/* ---- the backup, until it is deleted ---- */

static enum rekey_kind kind_of(const struct request *rq)
{
    return memmem(rq->relative.data, rq->relative.size, "recovery", 8) != NULL ? REKEY_RECOVERY
                                                                            : REKEY_UNSEAL;
}

cf_status rekey_backup_read(struct request *rq, struct cf_error *err)
{
    struct cf_slice record;
    cf_status status = txn_get(rq->txn, rekey_backup_key(kind_of(rq)), &record, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_NOT_FOUND, "no backed-up keys found");
    }
    CF_TRY(status);
    return record_decode(record, rq->arena, &rq->response.data, err);
}

cf_status rekey_backup_delete(struct request *rq, struct cf_error *err)
{
    (void)err;
    txn_delete(rq->txn, rekey_backup_key(kind_of(rq)));
    return CF_OK;
}

/* node/server/rekey.c: the ceremony of a rekey. */
#include "node/server/rekey.h"

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/system.h"
#include "node/server/rekey_int.h"

struct rekey *rekey_new(void)
{
    struct rekey *rekey = cf_new(struct rekey);
    pthread_mutex_init(&rekey->lock, NULL);
    for (size_t i = 0; i < CF_LENGTH(rekey->states); i++) {
        rekey->states[i].progress = seal_progress_new();
    }
    return rekey;
}

static void forget(struct ceremony_state *state)
{
    struct seal_progress *progress = state->progress;
    seal_progress_reset(progress);
    secret_free(state->fresh);
    pgp_shares_free(state->keys);
    arena_free(state->backup_arena);
    *state = (struct ceremony_state){.progress = progress};
}

void rekey_free(struct rekey *rekey)
{
    if (rekey == NULL) {
        return;
    }
    for (size_t i = 0; i < CF_LENGTH(rekey->states); i++) {
        forget(&rekey->states[i]);
        seal_progress_free(rekey->states[i].progress);
    }
    pthread_mutex_destroy(&rekey->lock);
    cf_free(rekey);
}

static struct node *node_of(const struct request *rq)
{
    return core_host_context(rq->core);
}

static enum rekey_kind kind_of(const struct request *rq)
{
    return memmem(rq->relative.data, rq->relative.size, "recovery", 8) != NULL ? REKEY_RECOVERY
                                                                            : REKEY_UNSEAL;
}

static cf_status with_body(struct request *rq, struct json *body)
{
    rq->response.data = body;
    rq->response.no_envelope = !cf_slice_starts(rq->relative, CF_SLICE("rotate/"));
    core_host_done(rq, CF_OK);
    return CF_OK;
}

/* The seal, and whether it has shares of that kind. */
static cf_status config_for(struct request *rq, struct seal_config *ret, struct cf_error *err)
{
    CF_TRY(seal_config_of(node_of(rq), ret, err));
    if (kind_of(rq) == REKEY_RECOVERY && ret->type == SEAL_SHAMIR) {
        return cf_fail(err, CF_INVALID, "recovery rekeying not supported: this cluster has unseal "
                                        "shares, which sys/rekey replaces");
    }
    if (kind_of(rq) == REKEY_UNSEAL && ret->type != SEAL_SHAMIR) {
        return cf_fail(err, CF_INVALID,
                       "this cluster unseals itself and has no unseal shares: sys/rekey-recovery-key "
                       "replaces its recovery shares");
    }
    return CF_OK;
}

/* ---- the state; the lock is held ---- */

static struct json *describe(const struct ceremony_state *state, const struct seal_config *config,
                             struct arena *arena)
{
    bool counts = state->is_started && state->fresh == NULL;
    struct json *body = json_object_new(arena);
    json_set_text(arena, body, "nonce", state->nonce);
    json_set_bool(arena, body, "started", state->is_started);
    json_set_int(arena, body, "t", state->shape.threshold);
    json_set_int(arena, body, "n", state->shape.shares);
    json_set_int(arena, body, "progress", counts ? seal_progress_count(state->progress) : 0);
    json_set_int(arena, body, "required", config->shape.threshold);
    json_set(arena, body, "pgp_fingerprints", pgp_shares_fingerprints(state->keys, arena));
    json_set_bool(arena, body, "backup", state->backs_up);
    json_set_bool(arena, body, "verification_required", state->verifies);
    if (state->verification_nonce[0] != '\0') {
        json_set_text(arena, body, "verification_nonce", state->verification_nonce);
    }
    return body;
}

static struct json *describe_verification(const struct ceremony_state *state, struct arena *arena)
{
    struct json *body = json_object_new(arena);
    json_set_text(arena, body, "nonce", state->verification_nonce);
    json_set_bool(arena, body, "started", state->fresh != NULL);
    json_set_int(arena, body, "t", state->shape.threshold);
    json_set_int(arena, body, "n", state->shape.shares);
    json_set_int(arena, body, "progress",
                 state->fresh != NULL ? seal_progress_count(state->progress) : 0);
    return body;
}

cf_status rekey_read(struct request *rq, struct cf_error *err)
{
    struct rekey *rekey = node_of(rq)->rekey;
    struct seal_config config;
    CF_TRY(config_for(rq, &config, err));
    pthread_mutex_lock(&rekey->lock);
    struct json *body = describe(&rekey->states[kind_of(rq)], &config, rq->arena);
    pthread_mutex_unlock(&rekey->lock);
    return with_body(rq, body);
}

/* ---- start and cancel ---- */

static cf_status read_shape(struct request *rq, struct shamir_shape *ret, struct cf_error *err)
{
    int64_t shares, threshold;
    CF_TRY(request_int(rq, "secret_shares", 0, &shares, err));
    CF_TRY(request_int(rq, "secret_threshold", 0, &threshold, err));
    if (shares < 1 || shares > 255 || threshold < 1 || threshold > shares ||
        (shares > 1 && threshold == 1)) {
        return cf_fail(err, CF_INVALID,
                       "invalid rekey seal configuration: give secret_shares (1 to 255) and "
                       "secret_threshold (2 to secret_shares; 1 for a single share)");
    }
    *ret = (struct shamir_shape){(unsigned)shares, (unsigned)threshold};
    return CF_OK;
}

cf_status rekey_start(struct request *rq, struct cf_error *err)
{
    struct rekey *rekey = node_of(rq)->rekey;
    struct ceremony_state *state = &rekey->states[kind_of(rq)];
    struct seal_config config;
    struct shamir_shape shape;
    bool verifies, backs_up;
    CF_OWNED(pgp_shares) keys = NULL;
    CF_TRY(config_for(rq, &config, err));
    CF_TRY(read_shape(rq, &shape, err));
    CF_TRY(request_bool(rq, "require_verification", false, &verifies, err));
    CF_TRY(request_bool(rq, "backup", false, &backs_up, err));
    CF_TRY(pgp_shares_read(rq, "pgp_keys", shape.shares, &keys, err));
    if (backs_up && keys == NULL) {
        return cf_fail(err, CF_INVALID, "cannot request a backup of the new keys without providing "
                                        "PGP keys for encryption");
    }
    pthread_mutex_lock(&rekey->lock);
    if (state->is_started) {
        pthread_mutex_unlock(&rekey->lock);
        return cf_fail(err, CF_INVALID, "rekey already in progress");
    }
    state->is_started = true;
    state->verifies = verifies;
    state->backs_up = backs_up;
    state->shape = shape;
    state->generation = config.generation;
    state->keys = pgp_shares_take(&keys);
    encode_uuid_text(encode_uuid_new(rq->random), state->nonce);
    struct json *body = describe(state, &config, rq->arena);
    pthread_mutex_unlock(&rekey->lock);
    cf_warn("core", "a rekey was started: %u shares, threshold %u", shape.shares, shape.threshold);
    return with_body(rq, body);
}

/* Whoever comes without a token has to know the ceremony: else anybody could end those of others. */
static cf_status may_end(const struct request *rq, struct cf_slice nonce, const char *expected,
                         struct cf_error *err)
{
    if (nonce.size != 0 ? !cf_slice_is(nonce, expected) : rq->caller == NULL) {
        return cf_fail(err, CF_DENIED, "cancelling needs the nonce of the operation: nonce=...");
    }
    return CF_OK;
}

cf_status rekey_cancel(struct request *rq, struct cf_error *err)
{
    struct rekey *rekey = node_of(rq)->rekey;
    struct ceremony_state *state = &rekey->states[kind_of(rq)];
    struct cf_slice nonce;
    CF_TRY(request_string(rq, "nonce", &nonce, err));
    pthread_mutex_lock(&rekey->lock);
    cf_status status = CF_OK;
    if (state->is_busy) {
        status = cf_fail(err, CF_INVALID, "the last share is in: too late to cancel");
    } else if (state->is_started) {
        status = may_end(rq, nonce, state->nonce, err);
    }
    if (status == CF_OK) {
        forget(state);
    }
    pthread_mutex_unlock(&rekey->lock);
    CF_TRY(status);
    core_host_done(rq, CF_OK);
    return CF_OK;
}

/* ---- shares ---- */

/* Adds the share of the request. *ret is the key when it was the last one. The lock is held. */
static cf_status take_share(struct request *rq, struct ceremony_state *state, struct cf_slice key,
                            struct shamir_shape shape, struct secret **ret, struct cf_error *err)
{
    struct cf_buf share;
    cf_buf_init_secret(&share, 4096);
    cf_status status = seal_decode_share(key, &share, err);
    if (status == CF_OK) {
        status = seal_progress_add(state->progress, shape, cf_buf_slice(&share), rq->random, ret,
                                   err);
    }
    cf_buf_done(&share);
    return status;
}

static cf_status read_share(struct request *rq, struct cf_slice *ret_key,
                            struct cf_slice *ret_nonce, struct cf_error *err)
{
    CF_TRY(request_string(rq, "key", ret_key, err));
    CF_TRY(request_string(rq, "nonce", ret_nonce, err));
    return ret_key->size != 0
               ? CF_OK
               : cf_fail(err, CF_INVALID, "'key' must be specified in request body as JSON");
}

/* What is left to do when enough shares are in. */
struct ending {
    struct request *rq;
    struct node *node;
    enum rekey_kind kind;
    struct secret *fresh;
    struct json *body;
};

static cf_status run_ending(struct request *run, void *context, struct cf_error *err)
{
    struct ending *ending = context;
    struct ceremony_state *state = &ending->node->rekey->states[ending->kind];
    /* Busy: nobody else touches it. */
    struct rekey_change change = {.kind = ending->kind,
                                  .generation = state->generation,
                                  .shape = state->shape,
                                  .fresh = ending->fresh,
                                  .backup = state->backup};
    return rekey_write(run, ending->node, &change, err);
}

static void ended(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct ending *ending = context;
    struct request *rq = ending->rq;
    struct rekey *rekey = ending->node->rekey;
    pthread_mutex_lock(&rekey->lock);
    forget(&rekey->states[ending->kind]);
    pthread_mutex_unlock(&rekey->lock);
    secret_free(ending->fresh);
    rq->index = index;
    if (status != CF_OK) {
        rq->error = *err;
        core_host_done(rq, status);
        return;
    }
    cf_warn("core", "the %s shares were replaced: the old ones open nothing any more",
            ending->kind == REKEY_UNSEAL ? "unseal" : "recovery");
    cf_ignore(with_body(rq, ending->body), "it answers");
}

/* The lock is held; takes over the key. */
static void end(struct request *rq, struct ceremony_state *state, enum rekey_kind kind,
                struct secret *fresh, struct json *body)
{
    struct ending *ending = arena_new_object(rq->arena, struct ending);
    *ending = (struct ending){rq, node_of(rq), kind, fresh, body};
    state->is_busy = true;
    struct system_work work = {run_ending, ended, ending};
    system_submit(rq->core, &work);
}

static struct json *result_of(const struct ceremony_state *state, struct arena *arena)
{
    struct json *body = json_object_new(arena);
    json_set_text(arena, body, "nonce", state->nonce);
    json_set_bool(arena, body, "complete", true);
    json_set(arena, body, "pgp_fingerprints", pgp_shares_fingerprints(state->keys, arena));
    json_set_bool(arena, body, "backup", state->backs_up);
    json_set_bool(arena, body, "verification_required", state->verifies);
    return body;
}

/* The present shares have proved themselves: a new key and its shares. The lock is held. */
static cf_status authorized(struct request *rq, struct ceremony_state *state, enum rekey_kind kind,
                            struct json **ret, struct cf_error *err)
{
    CF_OWNED(secret) fresh = seal_new_key(rq->random);
    struct json *body = result_of(state, rq->arena);
    if (state->backs_up) {
        state->backup_arena = arena_new(4096);
    }
    struct json *backup = state->backs_up ? json_object_new(rq->arena) : NULL;
    CF_TRY(rekey_show_shares(state, fresh, rq->arena, body, backup, err));
    state->backup = backup != NULL ? json_copy(state->backup_arena, backup) : NULL;
    if (!state->verifies) {
        end(rq, state, kind, secret_take(&fresh), body);
        *ret = NULL;
        return CF_OK;
    }
    encode_uuid_text(encode_uuid_new(rq->random), state->verification_nonce);
    json_set_text(rq->arena, body, "verification_nonce", state->verification_nonce);
    state->fresh = secret_take(&fresh);
    *ret = body;
    return CF_OK;
}

static cf_status update(struct request *rq, struct ceremony_state *state,
                        const struct seal_config *config, struct json **ret, struct cf_error *err)
{
    struct cf_slice key, nonce;
    CF_OWNED(secret) proof = NULL;
    CF_TRY(read_share(rq, &key, &nonce, err));
    if (!state->is_started || state->is_busy) {
        return cf_fail(err, CF_INVALID, "no rekey in progress");
    }
    if (state->fresh != NULL) {
        return cf_fail(err, CF_INVALID,
                       "rekey operation already finished; verification must be performed; nonce for "
                       "the verification operation is \"%s\"",
                       state->verification_nonce);
    }
    if (!cf_slice_is(nonce, state->nonce)) {
        return cf_fail(err, CF_INVALID, "incorrect nonce supplied; nonce for this rekey operation "
                                        "is \"%s\"",
                       state->nonce);
    }
    if (config->generation != state->generation) {
        return cf_fail(err, CF_INVALID, "the seal was changed meanwhile: cancel, and start again");
    }
    CF_TRY(take_share(rq, state, key, config->shape, &proof, err));
    if (proof == NULL) {
        *ret = describe(state, config, rq->arena);
        return CF_OK;
    }
    if (seal_authority(node_of(rq), proof, err) != CF_OK) {
        return cf_fail(err, CF_INVALID, "root key verification failed: the shares do not fit; "
                                        "the rekey goes on with the first share");
    }
    return authorized(rq, state, kind_of(rq), ret, err);
}

cf_status rekey_update(struct request *rq, struct cf_error *err)
{
    struct rekey *rekey = node_of(rq)->rekey;
    struct seal_config config;
    struct json *body = NULL;
    CF_TRY(config_for(rq, &config, err));
    pthread_mutex_lock(&rekey->lock);
    cf_status status = update(rq, &rekey->states[kind_of(rq)], &config, &body, err);
    pthread_mutex_unlock(&rekey->lock);
    CF_TRY(status);
    return body != NULL ? with_body(rq, body) : CF_OK; /* else `ended` answers */
}

/* ---- verification: the holders of the new shares show that they have them ---- */

cf_status rekey_verify_read(struct request *rq, struct cf_error *err)
{
    struct rekey *rekey = node_of(rq)->rekey;
    struct ceremony_state *state = &rekey->states[kind_of(rq)];
    struct seal_config config;
    CF_TRY(config_for(rq, &config, err));
    pthread_mutex_lock(&rekey->lock);
    struct json *body = state->is_started ? describe_verification(state, rq->arena) : NULL;
    pthread_mutex_unlock(&rekey->lock);
    return body != NULL ? with_body(rq, body)
                        : cf_fail(err, CF_INVALID, "no rekey configuration found");
}

static cf_status verify(struct request *rq, struct ceremony_state *state, struct json **ret,
                        struct cf_error *err)
{
    struct cf_slice key, nonce;
    CF_OWNED(secret) shown = NULL;
    CF_TRY(read_share(rq, &key, &nonce, err));
    if (!state->is_started || state->is_busy || state->fresh == NULL) {
        return cf_fail(err, CF_INVALID, state->is_started ? "no rekey verification in progress"
                                                          : "no rekey in progress");
    }
    if (!cf_slice_is(nonce, state->verification_nonce)) {
        return cf_fail(err, CF_INVALID, "incorrect nonce supplied; nonce for this verify operation "
                                        "is \"%s\"",
                       state->verification_nonce);
    }
    CF_TRY(take_share(rq, state, key, state->shape, &shown, err));
    if (shown == NULL) {
        *ret = describe_verification(state, rq->arena);
        return CF_OK;
    }
    if (!secret_equal(state->fresh, secret_slice(shown))) {
        return cf_fail(err, CF_INVALID, "rekey verification failed; incorrect key shares supplied");
    }
    struct json *body = json_object_new(rq->arena);
    json_set_text(rq->arena, body, "nonce", state->verification_nonce);
    json_set_bool(rq->arena, body, "complete", true);
    end(rq, state, kind_of(rq), secret_take(&state->fresh), body);
    *ret = NULL;
    return CF_OK;
}

cf_status rekey_verify(struct request *rq, struct cf_error *err)
{
    struct rekey *rekey = node_of(rq)->rekey;
    struct seal_config config;
    struct json *body = NULL;
    CF_TRY(config_for(rq, &config, err));
    pthread_mutex_lock(&rekey->lock);
    cf_status status = verify(rq, &rekey->states[kind_of(rq)], &body, err);
    pthread_mutex_unlock(&rekey->lock);
    CF_TRY(status);
    return body != NULL ? with_body(rq, body) : CF_OK;
}

cf_status rekey_verify_restart(struct request *rq, struct cf_error *err)
{
    struct rekey *rekey = node_of(rq)->rekey;
    struct ceremony_state *state = &rekey->states[kind_of(rq)];
    struct cf_slice nonce;
    struct json *body = NULL;
    CF_TRY(request_string(rq, "nonce", &nonce, err));
    pthread_mutex_lock(&rekey->lock);
    cf_status status = state->fresh == NULL || state->is_busy
                           ? cf_fail(err, CF_INVALID, "no rekey verification in progress")
                           : may_end(rq, nonce, state->verification_nonce, err);
    if (status == CF_OK) {
        seal_progress_reset(state->progress);
        encode_uuid_text(encode_uuid_new(rq->random), state->verification_nonce);
        body = describe_verification(state, rq->arena);
    }
    pthread_mutex_unlock(&rekey->lock);
    CF_TRY(status);
    return with_body(rq, body);
}

/* node/server/ceremony.c: generate-root and the DR operation token. */
#include "node/server/ceremony.h"

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/pgp_shares.h"
#include "node/core/system.h"
#include "node/core/token.h"
#include "node/crypto/hash.h"
#include "node/format/encode.h"
#include "node/server/cluster.h"
#include "node/server/dr_token.h"
#include "node/server/seal.h"

#define OTP_SIZE 26
#define START_INTERVAL_US ((uint64_t)1000000)

enum ceremony_kind { CEREMONY_ROOT, CEREMONY_DR };

static const struct {
    const char *path;
    enum ceremony_kind kind;
    bool is_update;
} paths[] = {
    {"sys/generate-root/attempt", CEREMONY_ROOT, false},
    {"sys/generate-root/update", CEREMONY_ROOT, true},
    {"sys/replication/dr/secondary/generate-operation-token/attempt", CEREMONY_DR, false},
    {"sys/replication/dr/secondary/generate-operation-token/update", CEREMONY_DR, true},
};

struct ceremony {
    pthread_mutex_t lock;
    bool is_started;
    enum ceremony_kind kind;
    char nonce[ENCODE_UUID_TEXT + 1];
    uint8_t otp[OTP_SIZE];
    struct pgp_shares *keys; /* encrypts the token in place of the password; NULL: none */
    struct seal_progress *progress;
    uint64_t last_start_us;
};

struct ceremony *ceremony_new(void)
{
    struct ceremony *ceremony = cf_new(struct ceremony);
    pthread_mutex_init(&ceremony->lock, NULL);
    ceremony->progress = seal_progress_new();
    return ceremony;
}

void ceremony_free(struct ceremony *ceremony)
{
    if (ceremony == NULL) {
        return;
    }
    seal_progress_free(ceremony->progress);
    pgp_shares_free(ceremony->keys);
    pthread_mutex_destroy(&ceremony->lock);
    cf_wipe(ceremony->otp, sizeof(ceremony->otp));
    cf_free(ceremony);
}

static void reset(struct ceremony *ceremony)
{
    ceremony->is_started = false;
    ceremony->nonce[0] = '\0';
    cf_wipe(ceremony->otp, sizeof(ceremony->otp));
    pgp_shares_free(ceremony->keys);
    ceremony->keys = NULL;
    seal_progress_reset(ceremony->progress);
}

bool ceremony_is_open(const struct http_exchange *x, struct cf_slice path)
{
    const struct config_listener *listener = http_listener_context(x);
    return (cf_slice_is(path, "metrics") && listener->unauthenticated_metrics) ||
           (cf_slice_starts(path, CF_SLICE("rekey")) &&
            __atomic_load_n(&listener->allow_unauthed_rekey, __ATOMIC_RELAXED)) ||
           (cf_slice_starts(path, CF_SLICE("generate-root/")) &&
            __atomic_load_n(&listener->allow_unauthed_generate_root, __ATOMIC_RELAXED));
}

void ceremony_reopen(struct config_listener *listener, const struct config_listener *fresh)
{
    __atomic_store_n(&listener->allow_unauthed_rekey, fresh->allow_unauthed_rekey,
                     __ATOMIC_RELAXED);
    __atomic_store_n(&listener->allow_unauthed_generate_root, fresh->allow_unauthed_generate_root,
                     __ATOMIC_RELAXED);
}

static struct json *fingerprint_of(const struct pgp_shares *keys, struct arena *arena)
{
    struct json *first = json_item(pgp_shares_fingerprints(keys, arena), 0);
    return first != NULL ? first : json_from_text(arena, "");
}

/* ---- the state as JSON; the lock is held ---- */

static struct json *describe(struct ceremony *ceremony, enum ceremony_kind kind,
                             const struct seal_config *config, struct arena *arena)
{
    bool mine = ceremony->is_started && ceremony->kind == kind;
    struct json *body = json_object_new(arena);
    json_set_text(arena, body, "nonce", mine ? ceremony->nonce : "");
    json_set_bool(arena, body, "started", mine);
    json_set_int(arena, body, "progress", mine ? seal_progress_count(ceremony->progress) : 0);
    json_set_int(arena, body, "required", config->shape.threshold);
    json_set_bool(arena, body, "complete", false);
    json_set_text(arena, body, "encoded_token", "");
    json_set_text(arena, body, "encoded_root_token", "");
    json_set(arena, body, "pgp_fingerprint", fingerprint_of(mine ? ceremony->keys : NULL, arena));
    json_set_text(arena, body, "otp", "");
    json_set_int(arena, body, "otp_length", OTP_SIZE);
    return body;
}

/* ---- attempt ---- */

static cf_status start(struct ceremony *ceremony, enum ceremony_kind kind, struct request *rq,
                       struct cf_slice *ret_otp, struct cf_error *err)
{
    struct cf_slice otp;
    CF_OWNED(pgp_shares) keys = NULL;
    CF_TRY(request_string(rq, "otp", &otp, err));
    CF_TRY(pgp_shares_read(rq, "pgp_key", 1, &keys, err));
    if (keys != NULL && otp.size != 0) {
        return cf_fail(err, CF_INVALID, "give \"otp\" or \"pgp_key\", not both");
    }
    if (ceremony->is_started) {
        return cf_fail(err, CF_INVALID,
                       ceremony->kind == kind
                           ? "root generation already in progress"
                           : "incorrect strategy supplied; a generate root operation of another "
                             "type is already in progress");
    }
    if (otp.size != 0 && otp.size != OTP_SIZE) {
        return cf_fail(err, CF_INVALID, "OTP string is wrong length");
    }
    uint64_t now = loop_now_us();
    if (kind == CEREMONY_DR && ceremony->last_start_us != 0 &&
        now - ceremony->last_start_us < START_INTERVAL_US) {
        return cf_fail(err, CF_RATE_LIMITED, "another ceremony was started a moment ago: wait a "
                                             "second");
    }
    ceremony->last_start_us = now;
    *ret_otp = CF_SLICE_EMPTY;
    if (otp.size == 0) {
        CF_BUF(text) = {.secret = true};
        encode_base62_random(&text, rq->random, OTP_SIZE);
        otp = arena_copy(rq->arena, cf_buf_slice(&text));
        *ret_otp = keys == NULL ? otp : CF_SLICE_EMPTY;
    }
    ceremony->keys = pgp_shares_take(&keys);
    memcpy(ceremony->otp, otp.data, OTP_SIZE);
    encode_uuid_text(encode_uuid_new(rq->random), ceremony->nonce);
    ceremony->kind = kind;
    ceremony->is_started = true;
    return CF_OK;
}

static void attempt(struct node *node, struct http_exchange *x, struct request *rq,
                    enum ceremony_kind kind, const struct seal_config *config)
{
    struct ceremony *ceremony = node->ceremony;
    struct cf_error err = {0};
    struct json *body = NULL;
    cf_status status = CF_OK;
    pthread_mutex_lock(&ceremony->lock);
    if (rq->operation == OPERATION_UPDATE) {
        struct cf_slice otp;
        status = start(ceremony, kind, rq, &otp, &err);
        if (status == CF_OK) {
            body = describe(ceremony, kind, config, rq->arena);
            json_set_string(rq->arena, body, "otp", otp);
        }
    } else if (rq->operation == OPERATION_DELETE) {
        struct cf_slice nonce;
        status = request_string(rq, "nonce", &nonce, &err);
        bool other = nonce.size != 0 && !cf_slice_is(nonce, ceremony->nonce);
        bool must_know = kind == CEREMONY_DR;
        if (status == CF_OK && ceremony->is_started && ceremony->kind == kind &&
            (other || (must_know && nonce.size == 0))) {
            status = cf_fail(&err, CF_DENIED, "cancelling needs the nonce of the attempt");
        } else if (status == CF_OK && (!ceremony->is_started || ceremony->kind == kind)) {
            reset(ceremony);
        }
    } else {
        body = describe(ceremony, kind, config, rq->arena);
    }
    pthread_mutex_unlock(&ceremony->lock);
    if (status != CF_OK) {
        api_answer_error(x, status, &err);
    } else if (body == NULL) {
        http_respond(x, 204, NULL, CF_SLICE_EMPTY);
    } else {
        api_answer_json(x, 200, body);
    }
}

/* ---- update: shares, and in the end the token ---- */

struct update {
    struct node *node;
    struct http_exchange *x;
    struct arena *arena;
    enum ceremony_kind kind;
    uint8_t otp[OTP_SIZE];
    struct pgp_shares *keys; /* or NULL */
    struct cf_slice token;
    unsigned required;
    char nonce[ENCODE_UUID_TEXT + 1];
    cf_status status;
    struct cf_error err;
};

/* The token as it leaves: mixed with the password, or for the owner of the key alone. */
static cf_status encode_token(const struct update *update, struct cf_buf *text,
                              struct cf_error *err)
{
    if (update->keys != NULL) {
        CF_BUF(message) = {0};
        CF_TRY(pgp_shares_seal_text(update->keys, 0, update->token, &message, err));
        encode_base64(text, cf_buf_slice(&message));
        return CF_OK;
    }
    uint8_t mixed[OTP_SIZE];
    for (size_t i = 0; i < OTP_SIZE; i++) {
        mixed[i] = (uint8_t)(update->token.data[i] ^ update->otp[i]);
    }
    encode_base64(text, cf_slice_of(mixed, sizeof(mixed)));
    while (text->size != 0 && text->data[text->size - 1] == '=') {
        text->size--;
    }
    cf_wipe(mixed, sizeof(mixed));
    return CF_OK;
}

static void update_answer(void *arg)
{
    struct update *update = arg;
    CF_BUF(text) = {.secret = true};
    if (update->status == CF_OK) {
        update->status = encode_token(update, &text, &update->err);
    }
    if (update->status != CF_OK) {
        api_answer_error(update->x, update->status, &update->err);
    } else {
        struct json *body = json_object_new(update->arena);
        json_set_text(update->arena, body, "nonce", update->nonce);
        json_set_bool(update->arena, body, "started", true);
        json_set_int(update->arena, body, "progress", update->required);
        json_set_int(update->arena, body, "required", update->required);
        json_set_bool(update->arena, body, "complete", true);
        json_set_string(update->arena, body, "encoded_token", cf_buf_slice(&text));
        json_set_string(update->arena, body, "encoded_root_token",
                        update->kind == CEREMONY_ROOT ? cf_buf_slice(&text) : CF_SLICE_EMPTY);
        json_set(update->arena, body, "pgp_fingerprint",
                 fingerprint_of(update->keys, update->arena));
        json_set_text(update->arena, body, "otp", "");
        json_set_int(update->arena, body, "otp_length", OTP_SIZE);
        api_answer_json(update->x, 200, body);
    }
    cf_wipe(update->otp, sizeof(update->otp));
    pgp_shares_free(update->keys);
    arena_free(update->arena);
    cf_free(update);
}

static cf_status make_token(struct request *rq, void *context, struct cf_error *err)
{
    static struct cf_slice root = {(const uint8_t *)"root", 4};
    struct update *update = context;
    struct cf_slice id;
    if (update->kind == CEREMONY_DR) {
        CF_TRY(dr_token_create(rq, &id, err));
    } else {
        struct token_spec spec = {.entry = {.display_name = CF_SLICE("root"),
                                            .path = CF_SLICE("auth/token/root"),
                                            .type = CF_SLICE("service"),
                                            .policies = &root,
                                            .policy_count = 1,
                                            .is_root = true}};
        struct token_entry *entry;
        CF_TRY(token_create(rq, &spec, &id, &entry, err));
    }
    if (id.size != OTP_SIZE) {
        return cf_fail(err, CF_INTERNAL, "token has an unexpected length");
    }
    update->token = arena_copy(update->arena, id);
    return CF_OK;
}

static void token_made(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct update *update = context;
    (void)index;
    update->status = status;
    update->err = *err;
    loop_post(http_loop(update->x), update_answer, update);
}

/* The lock is held. *ret_key is set with the last share. */
static cf_status take_share(struct node *node, struct request *rq, enum ceremony_kind kind,
                            const struct seal_config *config, struct secret **ret_key,
                            struct cf_error *err)
{
    struct ceremony *ceremony = node->ceremony;
    struct cf_slice key, nonce;
    struct cf_buf share;
    CF_TRY(request_string(rq, "key", &key, err));
    CF_TRY(request_string(rq, "nonce", &nonce, err));
    if (!ceremony->is_started || ceremony->kind != kind) {
        return cf_fail(err, CF_INVALID, "no root generation in progress");
    }
    if (!cf_slice_is(nonce, ceremony->nonce)) {
        return cf_fail(err, CF_INVALID, "incorrect nonce supplied; nonce for this root generation "
                                        "operation is needed");
    }
    if (key.size == 0) {
        return cf_fail(err, CF_INVALID, "'key' must be specified in request body as JSON");
    }
    cf_buf_init_secret(&share, 4096);
    cf_status status = seal_decode_share(key, &share, err);
    if (status == CF_OK) {
        status = seal_progress_add(ceremony->progress, config->shape, cf_buf_slice(&share),
                                   rq->random, ret_key, err);
    }
    cf_buf_done(&share);
    CF_TRY(status);
    if (*ret_key == NULL) {
        return CF_OK;
    }
    status = seal_authority(node, *ret_key, err);
    if (status != CF_OK) {
        secret_free(*ret_key);
        *ret_key = NULL;
        return cf_fail(err, CF_INVALID, "the shares do not fit: root generation starts anew with "
                                        "the first share");
    }
    return CF_OK;
}

static void update(struct node *node, struct http_exchange *x, struct request *rq,
                   enum ceremony_kind kind, const struct seal_config *config)
{
    struct ceremony *ceremony = node->ceremony;
    struct cf_error err = {0};
    struct secret *key = NULL;
    struct json *body = NULL;
    struct update *update = NULL;
    pthread_mutex_lock(&ceremony->lock);
    cf_status status = take_share(node, rq, kind, config, &key, &err);
    if (status == CF_OK && key == NULL) {
        body = describe(ceremony, kind, config, rq->arena);
    } else if (status == CF_OK) {
        update = cf_new(struct update);
        update->node = node;
        update->x = x;
        update->arena = arena_new(1024);
        update->kind = kind;
        update->required = config->shape.threshold;
        memcpy(update->otp, ceremony->otp, OTP_SIZE);
        update->keys = ceremony->keys;
        ceremony->keys = NULL;
        memcpy(update->nonce, ceremony->nonce, sizeof(update->nonce));
        reset(ceremony);
    }
    pthread_mutex_unlock(&ceremony->lock);
    secret_free(key);
    if (update != NULL) {
        cf_warn("audit", "a token of full power was made by the ceremony of %s",
                kind == CEREMONY_DR ? "generate-operation-token" : "generate-root");
        struct system_work work = {make_token, token_made, update};
        system_submit(node->core, &work);
    } else if (status != CF_OK) {
        api_answer_error(x, status, &err);
    } else {
        api_answer_json(x, 200, body);
    }
}

bool ceremony_handle(struct node *node, struct http_exchange *x, struct cf_slice path)
{
    for (size_t i = 0; i < CF_LENGTH(paths); i++) {
        if (!cf_slice_is(path, paths[i].path)) {
            continue;
        }
        struct seal_config config;
        struct request *rq;
        if (!api_read_request(node->api, x, &rq)) {
            return true;
        }
        if (atomic_load(&node->is_sealed) || seal_config_of(node, &config, NULL) != CF_OK) {
            http_respond_error(x, 503, cf_status_text(CF_SEALED));
        } else if (paths[i].kind == CEREMONY_DR && !dr_token_is_due(node)) {
            http_respond_error(x, 400, "Not a DR secondary.");
        } else if (paths[i].kind == CEREMONY_ROOT && dr_token_is_due(node)) {
            http_respond_error(x, 400, "path disabled in replication DR secondary mode");
        } else if (!node_proposer(node)->is_active(node)) {
            cluster_forward_exchange(node, x, rq);
        } else if (paths[i].kind == CEREMONY_ROOT && !core_would_allow(node->core, rq)) {
            http_respond_error(x, 403, cf_status_text(CF_DENIED));
        } else if (!paths[i].is_update) {
            attempt(node, x, rq, paths[i].kind, &config);
        } else if (rq->operation != OPERATION_UPDATE) {
            http_respond_error(x, 405, NULL);
        } else {
            update(node, x, rq, paths[i].kind, &config);
        }
        return true;
    }
    return false;
}

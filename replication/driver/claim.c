/* replication/driver/claim.c: telling a former primary that it was replaced (design 5.5). */
#include <stdio.h>

#include "node/base/log.h"
#include "replication/driver/driver_int.h"

enum { HOPS_MAX = 4 }; /* in a row; after that it waits as after an answer */
#define CLAIM_AGAIN_US ((uint64_t)5 * 1000000)

struct repl_claimant {
    struct repl_driver *driver;
    enum repl_kind kind;
    char set_id[REPL_ID_SIZE];
    struct repl_channel channel;
    struct node_tls *tls;
    struct repl_address_list addresses;
    size_t rotation;
    char redirect[REPL_ADDRESS_SIZE];
    unsigned hops;
    bool dial_anew;
    struct rpc_client *client;
    struct loop_timer *timer;
    struct rpc_pending *asked;
    void (*heard)(void *ctx, bool fenced, const char *text);
    void *ctx;
};

/* What the answer says goes to another node, or to the operator. */
static bool follow(struct repl_claimant *claimant, const Coffer__Repl__ClaimAnswer *answer)
{
    struct cf_slice plain;
    if (!repl_address_plain(message_slice(answer->redirect), &plain) ||
        claimant->hops++ >= HOPS_MAX) {
        claimant->hops = 0;
        return false;
    }
    (void)snprintf(claimant->redirect, sizeof(claimant->redirect), "%.*s", CF_SHOW(plain));
    claimant->dial_anew = true;
    loop_timer_set_in(claimant->timer, 0);
    return true;
}

static void on_answer(void *arg, const struct rpc_result *result)
{
    struct repl_claimant *claimant = arg;
    CF_OWNED(arena) arena = arena_new(512);
    Coffer__Repl__ClaimAnswer *answer;
    struct cf_error err = *result->err;
    char text[256];
    claimant->asked = NULL;
    bool fenced = false;
    if (result->status == CF_OK && message_unpack(coffer__repl__claim_answer, result->response,
                                                  arena, &answer, &err) == CF_OK) {
        if (follow(claimant, answer)) {
            return;
        }
        fenced = answer->fenced;
        if (answer->redirect.len != 0) {
            (void)snprintf(text, sizeof(text), "it names %.*s as its active node, which does not answer us",
                           CF_SHOW(cf_slice_first(message_slice(answer->redirect), 128)));
        } else {
            (void)snprintf(text, sizeof(text), "%.*s",
                           CF_SHOW(cf_slice_first(message_slice(answer->message), 255)));
        }
    } else {
        (void)snprintf(text, sizeof(text), "%s", err.message);
    }
    claimant->dial_anew = !fenced; /* perhaps another node of it knows more */
    claimant->rotation += !fenced;
    loop_timer_set_in(claimant->timer, CLAIM_AGAIN_US);
    if (claimant->heard != NULL) {
        claimant->heard(claimant->ctx, fenced, text);
    }
}

static void claim(struct repl_claimant *claimant)
{
    const struct repl_host *host = &claimant->driver->host;
    struct rpc_link *link =
        claimant->client != NULL ? rpc_client_link(claimant->client, RPC_LATENCY) : NULL;
    Coffer__Repl__Claim message = COFFER__REPL__CLAIM__INIT;
    CF_BUF(lineage_bytes) = {0};
    CF_BUF(proof) = {.max = REPL_PROOF_MAX};
    CF_BUF(bytes) = {0};
    if (link == NULL || claimant->asked != NULL) {
        return; /* the next connection comes by here */
    }
    struct repl_lineage *lineage = cf_new(struct repl_lineage);
    host->lineage(host->ctx, claimant->kind, lineage);
    repl_lineage_encode(lineage, &lineage_bytes);
    cf_free(lineage);
    host->claim_sign(host->ctx, claimant->kind, &proof);
    message.lineage = message_bytes(cf_buf_slice(&lineage_bytes));
    message.proof = message_bytes(cf_buf_slice(&proof));
    message_pack(&message.base, &bytes);
    cf_ignore(rpc_link_call(link, RPC_REPL_CLAIM, cf_buf_slice(&bytes),
                            loop_now_us() + REPL_ANSWER_US, on_answer, claimant, &claimant->asked,
                            NULL),
              "a lost link is dialled again");
}

static void on_up(void *ctx, struct rpc_link *link)
{
    struct repl_claimant *claimant = ctx;
    rpc_link_set_user(link, &claimant->channel);
    loop_timer_set_in(claimant->timer, 0);
}

static cf_status dial(struct repl_claimant *claimant, struct cf_error *err)
{
    struct cf_slice slices[REPL_ADDRESSES_MAX + 1];
    size_t count = 0;
    struct rpc_client_config config = {
        .alpn = claimant->kind == REPL_DR ? TLS_ALPN_DR : TLS_ALPN_PERF,
        .who = claimant->kind == REPL_DR ? RPC_BY_DR : RPC_BY_PERF,
        .tls = claimant->tls,
        .expect = {.role = IDENTITY_PRIMARY},
        .backoff_min_us = REPL_HEARTBEAT_US / 2,
        .backoff_max_us = CLAIM_AGAIN_US,
        .up = on_up,
        .ctx = claimant,
    };
    const struct repl_address_list *list = &claimant->addresses;
    (void)snprintf(config.expect.cluster, sizeof(config.expect.cluster), "%s", claimant->set_id);
    if (claimant->redirect[0] != '\0') {
        slices[count++] = cf_slice_str(claimant->redirect);
    }
    for (size_t i = 0; i < list->count; i++) {
        slices[count++] = cf_slice_str(list->text[(i + claimant->rotation) % list->count]);
    }
    return rpc_client_new(claimant->driver->rpc, &config, slices, count, &claimant->client, err);
}

static void on_timer(void *arg)
{
    struct repl_claimant *claimant = arg;
    if (claimant->dial_anew) {
        claimant->dial_anew = false;
        rpc_client_free(claimant->client);
        claimant->client = NULL;
        cf_ignore(dial(claimant, NULL), "the list was good before");
        claimant->redirect[0] = '\0';
    } else {
        claim(claimant);
    }
}

cf_status repl_claimant_new(struct repl_driver *driver, const struct repl_claimant_config *config,
                            struct repl_claimant **ret, struct cf_error *err)
{
    struct cf_slice plain;
    CF_OWNED(repl_claimant) claimant = cf_new(struct repl_claimant);
    for (size_t i = 0; i < config->addresses->count; i++) {
        if (repl_address_plain(cf_slice_str(config->addresses->text[i]), &plain)) {
            (void)repl_address_add(&claimant->addresses, plain);
        }
    }
    (void)snprintf(claimant->set_id, sizeof(claimant->set_id), "%s", config->set_id);
    claimant->driver = driver;
    claimant->kind = config->kind;
    claimant->tls = node_tls_copy(config->tls);
    claimant->heard = config->heard;
    claimant->ctx = config->ctx;
    claimant->channel = (struct repl_channel){CHANNEL_CLAIM, config->kind, claimant};
    claimant->timer = loop_timer_new(driver->loop, on_timer, claimant);
    CF_TRY(dial(claimant, err));
    *ret = repl_claimant_take(&claimant);
    return CF_OK;
}

void repl_claimant_free(struct repl_claimant *claimant)
{
    if (claimant == NULL) {
        return;
    }
    if (claimant->asked != NULL) {
        rpc_cancel(claimant->asked);
    }
    rpc_client_free(claimant->client);
    loop_timer_free(claimant->timer);
    node_tls_free(claimant->tls);
    cf_free(claimant);
}

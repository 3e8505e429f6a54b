/* node/core/ensure.c: what a performance secondary has its primary do before a request goes on here
 * (design 5.4): a request of the node's own, which the frame forwards like any other that writes what is
 * replicated, and which is answered once its effect is here. */
#include "node/base/memory.h"
#include "node/core/frame_int.h"
#include "node/core/namespace.h"
#include "node/core/token.h"

struct ensure {
    struct request rq;
    void (*done)(void *arg, cf_status status, const struct cf_error *err);
    void *arg;
};

static struct cf_slice root_policy = {(const uint8_t *)"root", 4};
/* This cluster vouches for itself. */
static const struct token_entry itself = {.display_name = {(const uint8_t *)"login", 5},
                                          .type = {(const uint8_t *)"service", 7},
                                          .policies = &root_policy,
                                          .policy_count = 1,
                                          .is_root = true};

static void on_worker(struct request *rq, void (*run)(void *), void *arg)
{
    core_work(rq->core, run, arg);
}

static void ended(struct request *rq)
{
    struct ensure *ensure = cf_container(rq, struct ensure, rq);
    struct cf_error err = rq->error;
    void (*done)(void *, cf_status, const struct cf_error *) = ensure->done;
    void *arg = ensure->arg;
    cf_status status = rq->error.status;
    if (status == CF_OK && rq->response.status >= 400) { /* the primary's answer, as it came */
        status = cf_fail(&err, CF_UNAVAILABLE, "the primary refused to note the entity of the login");
    }
    arena_free(rq->arena);
    cf_free(ensure);
    done(arg, status, &err);
}

static void submit(void *arg)
{
    struct ensure *ensure = arg;
    core_submit(ensure->rq.core, &ensure->rq);
}

void ensure_start(const struct request *origin,
                  void (*done)(void *arg, cf_status status, const struct cf_error *err), void *arg)
{
    struct ensure *ensure = cf_new(struct ensure);
    struct request *rq = &ensure->rq;
    CF_BUF(body) = {.secret = true};
    ensure->done = done;
    ensure->arg = arg;
    rq->core = origin->core;
    rq->arena = arena_new(2048);
    memcpy(rq->id, origin->id, sizeof(rq->id));
    rq->operation = OPERATION_UPDATE;
    rq->path = cf_slice_str(
        arena_printf(rq->arena, "%.*sidentity/ensure", CF_SHOW(origin->nspace->path)));
    rq->body = json_copy(rq->arena, origin->ensure);
    json_write(&body, rq->body);
    rq->raw_body = arena_copy(rq->arena, cf_buf_slice(&body));
    rq->remote_address = arena_copy(rq->arena, origin->remote_address);
    rq->remote_port = origin->remote_port;
    rq->foreign = &itself;
    rq->is_forwarded = true; /* it is for this node to run */
    rq->deadline_us = origin->deadline_us;
    rq->random = origin->random;
    rq->post = on_worker;
    rq->done = ended;
    core_work(rq->core, submit, ensure);
}

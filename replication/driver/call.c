/* replication/driver/call.c
 *
 * Requests that a secondary forwards to the primary's active node, on a connection of their own: a
 * stream may end at any node of the primary, and its bulk must not delay a client. A node that is
 * not active names the one that is; then the call, which had no effect, is sent there.
 */
#include <stdio.h>

#include "replication/driver/receive_int.h"

enum { HOPS_MAX = 3 };

struct repl_caller {
    struct cf_list in_secondary;
    struct rpc_client *client;
    unsigned waiting; /* calls under way */
    bool retired;     /* another one is used now */
    char preferred[REPL_ADDRESS_SIZE]; /* the active node, as a redirect named it; or "" */
};

struct call {
    struct cf_list in_secondary;
    struct repl_secondary *s;
    struct repl_caller *caller;
    struct rpc_pending *pending;
    struct cf_buf request;
    uint64_t deadline_us;
    unsigned hops, level;
    repl_call_fn done;
    void *arg;
};

static void on_failed(void *ctx, const char *address, const struct cf_error *why)
{
    receive_note_failure(ctx, address, why);
}

static cf_status caller_new(struct repl_secondary *s, const char *preferred,
                            struct repl_caller **ret, struct cf_error *err)
{
    struct rpc_client_config config = receive_client_config(s);
    struct repl_address_list list;
    struct cf_slice slices[REPL_ADDRESSES_MAX];
    struct rpc_client *client;
    config.failed = on_failed;
    config.ctx = s;
    config.is_impatient = true;
    receive_dial_list(s, preferred, 0, &list);
    receive_slices(&list, slices);
    if (list.count == 0) {
        return cf_fail(err, CF_UNAVAILABLE, "no address of a primary is known");
    }
    CF_TRY(rpc_client_new(s->driver->rpc, &config, slices, list.count, &client, err));
    struct repl_caller *caller = cf_new(struct repl_caller);
    caller->client = client;
    (void)snprintf(caller->preferred, sizeof(caller->preferred), "%s", preferred);
    cf_list_add_head(&s->callers, &caller->in_secondary);
    *ret = caller;
    return CF_OK;
}

static void caller_free(struct repl_caller *caller)
{
    cf_list_remove(&caller->in_secondary);
    rpc_client_free(caller->client);
    cf_free(caller);
}

void call_retire(struct repl_secondary *s)
{
    cf_list_for (at, &s->callers) {
        cf_container(at, struct repl_caller, in_secondary)->retired = true;
    }
}

/* A caller lives as long as the secondary does: without this it would dial the nodes that were known at its first call, and
 * none of a DR secondary that took the primary's place. */
void call_addresses(struct repl_secondary *s)
{
    struct repl_address_list list;
    struct cf_slice slices[REPL_ADDRESSES_MAX];
    cf_list_for (at, &s->callers) {
        struct repl_caller *caller = cf_container(at, struct repl_caller, in_secondary);
        receive_dial_list(s, caller->preferred, 0, &list);
        receive_slices(&list, slices);
        cf_ignore(!caller->retired && rpc_client_set_addresses(caller->client, slices, list.count, NULL) != CF_OK,
                  "they were read as addresses");
    }
}

void call_tidy(struct repl_secondary *s)
{
    cf_list_for_safe (at, &s->callers) {
        struct repl_caller *caller = cf_container(at, struct repl_caller, in_secondary);
        if (caller->retired && caller->waiting == 0) {
            caller_free(caller);
        }
    }
}

static cf_status current(struct repl_secondary *s, struct repl_caller **ret, struct cf_error *err)
{
    cf_list_for (at, &s->callers) {
        struct repl_caller *caller = cf_container(at, struct repl_caller, in_secondary);
        if (!caller->retired) {
            *ret = caller;
            return CF_OK;
        }
    }
    return caller_new(s, "", ret, err);
}

static void call_end(struct call *call, cf_status status, bool sent, const struct cf_error *err,
                     struct cf_slice response)
{
    struct repl_call_result result = {status, sent, err, response, call->level};
    repl_call_fn done = call->done;
    void *arg = call->arg;
    cf_list_remove(&call->in_secondary);
    cf_buf_done(&call->request);
    cf_free(call);
    done(arg, &result);
}

static cf_status call_send(struct call *call, struct cf_error *err);

/* To the node that was named; a second call that was redirected there finds the caller made. */
static cf_status follow(struct call *call, struct repl_caller *from, struct cf_slice leader,
                        struct cf_error *err)
{
    struct repl_caller *caller;
    struct cf_slice plain;
    char text[REPL_ADDRESS_SIZE];
    if (call->hops++ >= HOPS_MAX || !repl_address_plain(leader, &plain)) {
        return cf_fail(err, CF_NOT_LEADER, "the primary has no active node now, try again");
    }
    (void)snprintf(text, sizeof(text), "%.*s", CF_SHOW(plain));
    if (!from->retired) {
        call_retire(call->s);
        CF_TRY(caller_new(call->s, text, &caller, err));
    }
    return call_send(call, err);
}

static void on_done(void *arg, const struct rpc_result *result)
{
    struct call *call = arg;
    struct repl_caller *from = call->caller;
    CF_OWNED(arena) arena = arena_new(4096);
    Coffer__Repl__CallAnswer *answer;
    struct cf_error err = *result->err;
    from->waiting--;
    call->caller = NULL;
    call->pending = NULL;
    call->level = result->level;
    if (result->status != CF_OK) {
        call_end(call, result->status, result->sent, &err, CF_SLICE_EMPTY);
    } else if (message_unpack(coffer__repl__call_answer, result->response, arena, &answer, &err) !=
               CF_OK) {
        (void)cf_error_prefix(&err, CF_UNKNOWN_OUTCOME, "the primary's answer can't be read");
        call_end(call, CF_UNKNOWN_OUTCOME, true, &err, CF_SLICE_EMPTY);
    } else if (!answer->not_leader) {
        call_end(call, CF_OK, true, &err, message_slice(answer->data));
    } else if (call->s->freed || follow(call, from, message_slice(answer->leader), &err) != CF_OK) {
        cf_status status = err.status != CF_OK ? err.status : CF_UNAVAILABLE;
        call_end(call, status, false, &err, CF_SLICE_EMPTY);
    }
}

static cf_status call_send(struct call *call, struct cf_error *err)
{
    struct repl_caller *caller;
    CF_TRY(current(call->s, &caller, err));
    CF_TRY(rpc_client_call(caller->client, RPC_LATENCY, RPC_REPL_CALL, cf_buf_slice(&call->request),
                           call->deadline_us, on_done, call, &call->pending, err));
    call->caller = caller;
    caller->waiting++;
    return CF_OK;
}

cf_status repl_secondary_call(struct repl_secondary *s, struct cf_slice bytes, uint64_t deadline_us,
                              repl_call_fn done, void *arg, struct cf_error *err)
{
    Coffer__Repl__Call message = COFFER__REPL__CALL__INIT;
    if (bytes.size > REPL_CALL_BYTES_MAX) {
        return cf_fail(err, CF_TOO_LARGE, "a request of %zu bytes", bytes.size);
    }
    struct call *call = cf_new(struct call);
    call->s = s;
    call->deadline_us = deadline_us;
    call->done = done;
    call->arg = arg;
    cf_buf_init_secret(&call->request, 0); /* requests carry secrets */
    message.data = message_bytes(bytes);
    message_pack(&message.base, &call->request);
    cf_list_add_tail(&s->calls, &call->in_secondary);
    cf_status status = call_send(call, err);
    if (status != CF_OK) {
        cf_list_remove(&call->in_secondary);
        cf_buf_done(&call->request);
        cf_free(call);
    }
    return status;
}

void call_free_all(struct repl_secondary *s)
{
    while (!cf_list_empty(&s->callers)) { /* ends their calls */
        caller_free(cf_container(s->callers.next, struct repl_caller, in_secondary));
    }
}

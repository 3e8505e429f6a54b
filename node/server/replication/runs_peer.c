/* node/server/replication/runs_peer.c: runs of a copy from node to node. Main loop, and the applier where it waits. */
#include <time.h>

#include "consensus/driver/driver.h"
#include "consensus/driver/rpc_transport.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/server/cluster_int.h"
#include "node/server/replication/runs_int.h"
#include "proto/message.h"
#include "proto/repl.pb-c.h"

#define ANSWER_US ((uint64_t)30 * 1000000)
#define AGAIN_MS 500

/* ---- serving ---- */

/* A run that came, or is asked for, on a worker. */
struct job {
    struct runs *runs;
    struct rpc_call *call;
    uint32_t generation;
    uint8_t name[RUN_NAME_SIZE];
    struct cf_buf bytes;
    bool is_read;
    cf_status status;
    struct cf_error err;
};

/* Files that the log's switch names are gone from this node, and another one needs them: removed by hand, or by a damaged
 * disk. The log must not lead anybody there any more; who comes then takes the state from the leader. */
static void cut_log(const struct job *job)
{
    struct node *node = job->runs->node;
    struct view *view = core_view(node->core);
    bool is_current = view != NULL && (view->generation[class_number(CLASS_REPLICATED)] == job->generation ||
                                       view->generation[class_number(CLASS_CLUSTER)] == job->generation);
    if (is_current && node->driver != NULL) {
        cf_warn("replication", "another node needs files of the last copy, and they are gone here: the log is cut");
        raft_driver_purge(node->driver, view->index, kv_snapshot_number(view->snapshot));
    }
    view_unref(view);
}

static void served(void *arg)
{
    struct job *job = arg;
    if (job->is_read && job->status == CF_NOT_FOUND) {
        cut_log(job);
    }
    if (job->status != CF_OK) {
        rpc_fail(job->call, &job->err);
    } else if (job->is_read) {
        Coffer__Repl__Run answer = COFFER__REPL__RUN__INIT;
        CF_BUF(bytes) = {0};
        answer.data = message_bytes(cf_buf_slice(&job->bytes));
        message_pack(&answer.base, &bytes);
        rpc_reply(job->call, cf_buf_slice(&bytes));
    } else {
        rpc_reply(job->call, CF_SLICE_EMPTY);
    }
    cf_buf_done(&job->bytes);
    cf_free(job);
}

static void serve(void *arg)
{
    struct job *job = arg;
    struct cf_slice name = cf_slice_of(job->name, sizeof(job->name));
    job->status = job->is_read
                      ? runs_read(job->runs, job->generation, name, &job->bytes, &job->err)
                      : runs_keep(job->runs, job->generation, name, cf_buf_slice(&job->bytes),
                                  &job->err);
    loop_post(job->runs->node->loop, served, job);
}

static void serve_on_worker(struct runs *runs, struct rpc_call *call, uint32_t generation,
                            ProtobufCBinaryData name, struct cf_slice bytes, bool is_read)
{
    struct cf_error err = {0};
    if (name.len != RUN_NAME_SIZE || generation == 0) {
        (void)cf_fail(&err, CF_INVALID, "that is no name of a run");
        rpc_fail(call, &err);
        return;
    }
    struct job *job = cf_new(struct job);
    job->runs = runs;
    job->call = call;
    job->generation = generation;
    memcpy(job->name, name.data, RUN_NAME_SIZE);
    cf_buf_init(&job->bytes, RUN_BYTES_MAX);
    cf_buf_add_slice(&job->bytes, bytes);
    job->is_read = is_read;
    core_work(runs->node->core, serve, job);
}

static void on_put(void *ctx, struct rpc_link *link, struct cf_slice bytes, struct rpc_call *call)
{
    struct runs *runs = ctx;
    CF_OWNED(arena) arena = arena_new(4096);
    Coffer__Repl__RunPut *message;
    struct cf_error err = {0};
    (void)link;
    if (call == NULL) {
        return; /* nobody sends it one-way */
    }
    cf_status status = message_unpack(coffer__repl__run_put, bytes, arena, &message, &err);
    if (status == CF_OK && runs->node->driver != NULL &&
        message->term < raft_driver_term(runs->node->driver)) {
        /* What a deposed leader still sends must not take the place of its successor's stage. */
        status = cf_fail(&err, CF_NOT_LEADER, "that node does not lead any more");
    }
    if (status != CF_OK) {
        rpc_fail(call, &err);
        return;
    }
    serve_on_worker(runs, call, message->generation, message->hash, message_slice(message->data),
                    false);
}

static void on_get(void *ctx, struct rpc_link *link, struct cf_slice bytes, struct rpc_call *call)
{
    CF_OWNED(arena) arena = arena_new(512);
    Coffer__Repl__RunGet *message;
    struct cf_error err = {0};
    (void)link;
    if (call == NULL) {
        return;
    }
    if (message_unpack(coffer__repl__run_get, bytes, arena, &message, &err) != CF_OK) {
        rpc_fail(call, &err);
        return;
    }
    serve_on_worker(ctx, call, message->generation, message->hash, CF_SLICE_EMPTY, true);
}

void runs_serve(struct runs *runs)
{
    rpc_handle(cluster_rpc(runs->node), RPC_RUN_PUT, on_put, runs);
    rpc_handle(cluster_rpc(runs->node), RPC_RUN_GET, on_get, runs);
    runs->is_serving = true;
}

/* ---- pushing ---- */

struct push {
    runs_fn fn;
    void *arg;
    cf_status status;
    struct cf_error err;
};

static void not_pushed(void *arg)
{
    struct push *push = arg;
    push->fn(push->arg, push->status, &push->err);
    cf_free(push);
}

static void pushed(void *arg, const struct rpc_result *result)
{
    struct push *push = arg;
    push->fn(push->arg, result->status, result->err);
    cf_free(push);
}

void runs_message(uint64_t term, uint32_t generation, struct cf_slice name, struct cf_slice bytes,
                  struct cf_buf *to)
{
    Coffer__Repl__RunPut message = COFFER__REPL__RUN_PUT__INIT;
    message.term = term;
    message.generation = generation;
    message.hash = message_bytes(name);
    message.data = message_bytes(bytes);
    message_pack(&message.base, to);
}

static cf_status call_peer(struct runs *runs, uint64_t peer, enum rpc_id id, struct cf_slice message,
                           rpc_done_fn fn, void *arg, struct rpc_pending **ret, struct cf_error *err)
{
    struct raft_rpc *transport = runs->node->cluster->transport;
    if (transport == NULL || !runs->is_serving) {
        return cf_fail(err, CF_UNAVAILABLE, "this node is stopping");
    }
    return raft_rpc_call(transport, peer, id, message, loop_now_us() + ANSWER_US, fn, arg, ret, err);
}

void runs_push(struct runs *runs, uint64_t peer, struct cf_slice message, runs_fn fn, void *arg)
{
    struct push *push = cf_new(struct push);
    push->fn = fn;
    push->arg = arg;
    push->status = call_peer(runs, peer, RPC_RUN_PUT, message, pushed, push, NULL, &push->err);
    if (push->status != CF_OK) {
        loop_post(runs->node->loop, not_pushed, push);
    }
}

/* ---- fetching ---- */

struct fetch {
    struct cf_list link;
    struct runs *runs;
    bool is_over; /* the node stops, nobody waits */
    uint32_t generation;
    struct cf_buf names;
    size_t at; /* the one that is asked for */
    uint64_t peers[RAFT_MEMBERS_MAX];
    size_t peer_count, peer, tried; /* the last that had one is asked first */
    bool is_unreachable;
    struct rpc_pending *asked;
    runs_fn fn;
    void *arg;
    /* on a worker */
    struct cf_buf bytes;
    cf_status status;
    struct cf_error err;
};

static void ask(struct fetch *fetch);

static void fetch_end(struct fetch *fetch, cf_status status, const struct cf_error *err)
{
    cf_list_remove(&fetch->link);
    fetch->fn(fetch->arg, status, err);
    cf_buf_done(&fetch->names);
    cf_buf_done(&fetch->bytes);
    cf_free(fetch);
}

static struct cf_slice wanted(const struct fetch *fetch)
{
    return cf_slice_first(cf_slice_from(cf_buf_slice(&fetch->names), fetch->at), RUN_NAME_SIZE);
}

static void kept(void *arg)
{
    struct fetch *fetch = arg;
    if (fetch->is_over) {
        cf_buf_done(&fetch->names);
        cf_buf_done(&fetch->bytes);
        cf_free(fetch);
        return;
    }
    cf_buf_reset(&fetch->bytes);
    if (fetch->status == CF_OK) {
        fetch->at += RUN_NAME_SIZE;
        fetch->tried = 0;
        fetch->is_unreachable = false;
    } else if (fetch->status == CF_CORRUPT) { /* of that node */
        fetch->tried++;
    } else {
        fetch_end(fetch, fetch->status, &fetch->err);
        return;
    }
    ask(fetch);
}

static void keep(void *arg)
{
    struct fetch *fetch = arg;
    fetch->status = runs_keep(fetch->runs, fetch->generation, wanted(fetch),
                              cf_buf_slice(&fetch->bytes), &fetch->err);
    loop_post(fetch->runs->node->loop, kept, fetch);
}

static void on_run(void *arg, const struct rpc_result *result)
{
    struct fetch *fetch = arg;
    CF_OWNED(arena) arena = arena_new(4096);
    Coffer__Repl__Run *run;
    fetch->asked = NULL;
    if (result->status == CF_OK &&
        message_unpack(coffer__repl__run, result->response, arena, &run, NULL) == CF_OK) {
        cf_buf_add_slice(&fetch->bytes, message_slice(run->data));
        core_work(fetch->runs->node->core, keep, fetch);
        return;
    }
    bool has_none = result->status == CF_NOT_FOUND || result->status == CF_UNSUPPORTED;
    fetch->is_unreachable = fetch->is_unreachable || !has_none;
    fetch->tried++;
    ask(fetch);
}

static void ask(struct fetch *fetch)
{
    struct cf_error err = {0};
    while (fetch->at < fetch->names.size &&
           runs_has(fetch->runs, fetch->generation, wanted(fetch))) {
        fetch->at += RUN_NAME_SIZE;
    }
    if (fetch->at >= fetch->names.size) {
        fetch_end(fetch, CF_OK, &err);
        return;
    }
    for (; fetch->tried < fetch->peer_count; fetch->tried++) {
        Coffer__Repl__RunGet message = COFFER__REPL__RUN_GET__INIT;
        CF_BUF(bytes) = {0};
        fetch->peer = (fetch->peer + (fetch->tried > 0)) % fetch->peer_count;
        message.generation = fetch->generation;
        message.hash = message_bytes(wanted(fetch));
        message_pack(&message.base, &bytes);
        if (call_peer(fetch->runs, fetch->peers[fetch->peer], RPC_RUN_GET, cf_buf_slice(&bytes),
                      on_run, fetch, &fetch->asked, &err) == CF_OK) {
            return;
        }
        fetch->is_unreachable = true;
    }
    cf_status status = fetch->is_unreachable
                           ? cf_fail(&err, CF_UNAVAILABLE, "a node that may have a run of the copy is away")
                           : cf_fail(&err, CF_NOT_FOUND, "no node has that run of the copy any more");
    fetch_end(fetch, status, &err);
}

static void begin(void *arg)
{
    struct fetch *fetch = arg;
    if (fetch->is_over) {
        kept(fetch);
        return;
    }
    ask(fetch);
}

void runs_fetch(struct runs *runs, uint32_t generation, struct cf_slice names, runs_fn fn, void *arg)
{
    struct fetch *fetch = cf_new(struct fetch);
    struct raft_driver_status *status = cf_new(struct raft_driver_status);
    fetch->runs = runs;
    fetch->generation = generation;
    fetch->fn = fn;
    fetch->arg = arg;
    cf_buf_add_slice(&fetch->names, names);
    cf_buf_init(&fetch->bytes, RUN_BYTES_MAX);
    cf_list_add_tail(&runs->fetches, &fetch->link);
    if (runs->node->driver != NULL) {
        raft_driver_status(runs->node->driver, status);
    }
    for (size_t i = 0; i < status->peer_count; i++) {
        if (status->peers[i].id != status->id) {
            fetch->peers[fetch->peer_count++] = status->peers[i].id;
        }
    }
    cf_free(status);
    loop_post(runs->node->loop, begin, fetch);
}

void runs_stop(struct runs *runs)
{
    struct cf_error err = {0};
    (void)cf_fail(&err, CF_UNAVAILABLE, "this node is stopping");
    rpc_handle(cluster_rpc(runs->node), RPC_RUN_PUT, NULL, NULL);
    rpc_handle(cluster_rpc(runs->node), RPC_RUN_GET, NULL, NULL);
    runs->is_serving = false;
    while (!cf_list_empty(&runs->fetches)) {
        struct fetch *fetch = cf_container(runs->fetches.next, struct fetch, link);
        if (fetch->asked != NULL) {
            rpc_cancel(fetch->asked);
            fetch_end(fetch, CF_UNAVAILABLE, &err);
            continue;
        }
        /* A worker or a task of the loop has it, and frees it. */
        cf_list_remove(&fetch->link);
        fetch->fn(fetch->arg, CF_UNAVAILABLE, &err);
        fetch->is_over = true;
    }
    pthread_mutex_lock(&runs->lock);
    runs->is_stopping = true;
    pthread_cond_broadcast(&runs->wake);
    pthread_mutex_unlock(&runs->lock);
}

/* ---- the applier waits ---- */

static void answered(void *arg, cf_status status, const struct cf_error *err)
{
    struct runs *runs = arg;
    if (status != CF_OK) {
        cf_warn("replication", "runs of the copy are lacking here: %s", err->message);
    }
    pthread_mutex_lock(&runs->lock);
    runs->is_answered = true;
    runs->answer = status;
    pthread_cond_broadcast(&runs->wake);
    pthread_mutex_unlock(&runs->lock);
}

static void want(void *arg)
{
    struct runs *runs = arg;
    struct cf_error err = {0};
    pthread_mutex_lock(&runs->lock);
    CF_BUF(names) = runs->wanted;
    uint32_t generation = runs->generation;
    runs->wanted = (struct cf_buf){0};
    bool is_stopping = runs->is_stopping;
    pthread_mutex_unlock(&runs->lock);
    if (is_stopping || !runs->is_serving) {
        answered(runs, cf_fail(&err, CF_UNAVAILABLE, "this node is not ready to ask"), &err);
        return;
    }
    cf_info("replication", "%zu runs of the copy are lacking here: asking the other nodes",
            names.size / RUN_NAME_SIZE);
    runs_fetch(runs, generation, cf_buf_slice(&names), answered, runs);
}

static void rest(struct runs *runs)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)AGAIN_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_cond_timedwait(&runs->wake, &runs->lock, &until);
}

cf_status runs_wait(struct runs *runs, uint32_t generation, struct cf_slice names,
                    struct cf_error *err)
{
    pthread_mutex_lock(&runs->lock);
    runs->generation = generation;
    cf_buf_reset(&runs->wanted);
    cf_buf_add_slice(&runs->wanted, names);
    runs->is_answered = false;
    pthread_mutex_unlock(&runs->lock);
    loop_post(runs->node->loop, want, runs);
    pthread_mutex_lock(&runs->lock);
    while (!runs->is_answered && !runs->is_stopping) {
        pthread_cond_wait(&runs->wake, &runs->lock);
    }
    cf_status answer = runs->is_answered ? runs->answer : CF_UNAVAILABLE;
    if (answer == CF_UNAVAILABLE && !runs->is_stopping) {
        rest(runs);
    }
    bool is_stopping = runs->is_stopping;
    pthread_mutex_unlock(&runs->lock);
    if (is_stopping) {
        return cf_fail(err, CF_UNAVAILABLE, "this node is stopping");
    }
    if (answer == CF_NOT_FOUND) {
        raft_store_set_damaged(runs->node->store);
        (void)cf_fail(err, CF_CORRUPT, "no node has all of the copy that the log switches to");
        cf_error_detail(err, "This node was away for longer than the others keep the files of a copy. It starts "
                             "again and takes all of the state from its leader.");
        return CF_CORRUPT;
    }
    return answer == CF_UNAVAILABLE || answer == CF_OK
               ? CF_OK
               : cf_fail(err, answer, "a run of the copy could not be kept");
}

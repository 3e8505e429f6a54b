/* tests/unit/node/core/bench.c: the core with a proposer under control. */
#include "bench.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "node/base/memory.h"
#include "node/core/command.h"
#include "node/core/envelope.h"
#include "node/core/txn.h"
#include "node/crypto/random.h"
#include "node/format/encode.h"
#include "node/server/registry.h"

static void apply_payload(struct bench *bench, uint64_t index)
{
    struct cf_error err = {0};
    CF_OWNED(kv_batch) batch = kv_batch_new(bench->kv);
    cf_status status =
        core_apply(bench->core, index, cf_buf_slice(&bench->log[index]), batch, &err);
    if (status == CF_OK) {
        core_apply_end(bench->core, batch);
        status = kv_commit(bench->kv, batch, KV_NO_WAL, &err);
    }
    if (status != CF_OK) {
        (void)fprintf(stderr, "bench: apply failed: %s\n", err.message);
        abort();
    }
    core_applied(bench->core, index);
}

static void apply_entry(struct bench *bench, uint64_t index)
{
    apply_payload(bench, index);
    bench->applied = index;
}

static void remember(struct bench *bench, struct cf_slice payload)
{
    assert(bench->appended + 1 < CF_LENGTH(bench->log));
    cf_buf_add_slice(&bench->log[++bench->appended], payload);
    struct cf_buf *entry = &bench->log[bench->appended];
    command_set_stamp(entry, (int64_t)cf_get_u64(entry->data) + bench->ahead_ns);
}

void bench_apply(struct bench *bench)
{
    pthread_mutex_lock(&bench->lock);
    while (bench->applied < bench->appended) {
        uint64_t index = bench->applied + 1;
        apply_entry(bench, index);
        struct proposal *proposal = bench->waiting[index];
        bench->waiting[index] = NULL;
        if (proposal != NULL) {
            proposal->done(proposal, CF_OK, index);
        }
    }
    pthread_mutex_unlock(&bench->lock);
}

static void append(struct bench *bench, struct proposal *proposal)
{
    cf_status status = core_admit(bench->core, proposal, bench->appended + 1);
    if (status != CF_OK) {
        bench->conflicts++;
        proposal->done(proposal, status, 0);
        return;
    }
    remember(bench, cf_buf_slice(&proposal->payload));
    bench->waiting[bench->appended] = proposal;
    if (!bench->holds_entries) {
        bench_apply(bench);
    }
}

/* ---- an appender and an applier of their own ---- */

struct bench_threads {
    pthread_t appender, applier;
    pthread_mutex_t lock; /* queue, appended, applied, ending */
    pthread_cond_t changed;
    struct proposal *queue[BENCH_HELD_MAX];
    size_t queued;
    bool ending;
    uint32_t seed;
};

/* The one that a node of many reactors would happen to take next. */
static struct proposal *take_any(struct bench_threads *threads)
{
    threads->seed = threads->seed * 1664525 + 1013904223;
    size_t i = (threads->seed >> 8) % threads->queued;
    struct proposal *proposal = threads->queue[i];
    threads->queue[i] = threads->queue[--threads->queued];
    return proposal;
}

static void *appender(void *arg)
{
    struct bench *bench = arg;
    struct bench_threads *threads = bench->threads;
    pthread_mutex_lock(&threads->lock);
    for (;;) {
        while (threads->queued == 0 && !threads->ending) {
            pthread_cond_wait(&threads->changed, &threads->lock);
        }
        if (threads->queued == 0) {
            break;
        }
        struct proposal *proposal = take_any(threads);
        cf_status status = core_admit(bench->core, proposal, bench->appended + 1);
        if (status == CF_OK) {
            remember(bench, cf_buf_slice(&proposal->payload));
            bench->waiting[bench->appended] = proposal;
            pthread_cond_broadcast(&threads->changed);
        } else {
            bench->conflicts++;
            pthread_mutex_unlock(&threads->lock);
            proposal->done(proposal, status, 0);
            pthread_mutex_lock(&threads->lock);
        }
    }
    pthread_mutex_unlock(&threads->lock);
    return NULL;
}

static void *applier(void *arg)
{
    struct bench *bench = arg;
    struct bench_threads *threads = bench->threads;
    pthread_mutex_lock(&threads->lock);
    for (;;) {
        while (bench->applied == bench->appended && !threads->ending) {
            pthread_cond_wait(&threads->changed, &threads->lock);
        }
        if (bench->applied == bench->appended) {
            break;
        }
        uint64_t index = bench->applied + 1;
        struct proposal *proposal = bench->waiting[index];
        bench->waiting[index] = NULL;
        pthread_mutex_unlock(&threads->lock);
        apply_payload(bench, index);
        if (proposal != NULL) {
            proposal->done(proposal, CF_OK, index);
        }
        pthread_mutex_lock(&threads->lock);
        bench->applied = index;
    }
    pthread_mutex_unlock(&threads->lock);
    return NULL;
}

void bench_threads_start(struct bench *bench)
{
    struct bench_threads *threads = cf_new(struct bench_threads);
    pthread_mutex_init(&threads->lock, NULL);
    pthread_cond_init(&threads->changed, NULL);
    bench->threads = threads;
    int failed = pthread_create(&threads->appender, NULL, appender, bench) |
                 pthread_create(&threads->applier, NULL, applier, bench);
    assert(failed == 0);
    (void)failed;
}

void bench_threads_stop(struct bench *bench)
{
    struct bench_threads *threads = bench->threads;
    pthread_mutex_lock(&threads->lock);
    threads->ending = true;
    pthread_cond_broadcast(&threads->changed);
    pthread_mutex_unlock(&threads->lock);
    pthread_join(threads->appender, NULL); /* nobody submits: it has appended all there was */
    pthread_join(threads->applier, NULL);
    pthread_cond_destroy(&threads->changed);
    pthread_mutex_destroy(&threads->lock);
    bench->threads = NULL;
    cf_free(threads);
}

static void enqueue(struct bench_threads *threads, struct proposal *proposal)
{
    pthread_mutex_lock(&threads->lock);
    assert(threads->queued < BENCH_HELD_MAX);
    threads->queue[threads->queued++] = proposal;
    pthread_cond_broadcast(&threads->changed);
    pthread_mutex_unlock(&threads->lock);
}

static void propose(void *context, struct proposal *proposal)
{
    struct bench *bench = context;
    if (bench->threads != NULL) {
        enqueue(bench->threads, proposal);
        return;
    }
    pthread_mutex_lock(&bench->lock);
    if (bench->refusal != CF_OK) {
        proposal->done(proposal, bench->refusal, 0);
    } else if (bench->holds) {
        assert(bench->held_count < BENCH_HELD_MAX);
        bench->held[bench->held_count++] = proposal;
    } else {
        append(bench, proposal);
    }
    pthread_mutex_unlock(&bench->lock);
}

void bench_release(struct bench *bench, size_t i)
{
    pthread_mutex_lock(&bench->lock);
    assert(i < bench->held_count);
    struct proposal *proposal = bench->held[i];
    bench->held_count--;
    for (size_t n = i; n < bench->held_count; n++) {
        bench->held[n] = bench->held[n + 1];
    }
    append(bench, proposal);
    pthread_mutex_unlock(&bench->lock);
}

static void read_index(void *context, struct read_wait *wait)
{
    struct bench *bench = context;
    pthread_mutex_t *lock = bench->threads != NULL ? &bench->threads->lock : &bench->lock;
    pthread_mutex_lock(lock);
    bench->reads_asked++;
    uint64_t index = bench->appended;
    pthread_mutex_unlock(lock);
    wait->done(wait, CF_OK, index);
}

static bool read_ready(void *context)
{
    struct bench *bench = context;
    return !bench->is_passive && !bench->asks;
}

static bool is_active(void *context)
{
    return !((struct bench *)context)->is_passive;
}

/* ---- the host: one route, and forwards that stay where they are ---- */

static cf_status host_count(struct request *rq, struct cf_error *err)
{
    struct bench *bench = core_host_context(rq->core);
    (void)err;
    bench->host_calls++;
    json_set_int(rq->arena, response_data(rq), "calls", bench->host_calls);
    core_host_done(rq, CF_OK);
    return CF_OK;
}

static const struct route host_routes[] = {
    {.pattern = "bench-host", .read = host_count, .write = host_count, .flags = ROUTE_HOST},
    ROUTE_END,
};

static void forward(void *context, struct request *rq, bool to_primary)
{
    struct bench *bench = context;
    bench->to_primary = to_primary;
    bench->forwarded = rq;
    __atomic_add_fetch(&bench->forwards, 1, __ATOMIC_RELEASE);
}

/* ---- its life ---- */

const struct audit_ops *const *bench_audit;
const struct engine_ops *const *bench_engines = registry_engines;

struct bench *bench_new(void)
{
    struct bench *bench = cf_new(struct bench);
    struct cf_error err = {0};
    CF_OWNED(arena) arena = arena_new(8192);
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&bench->lock, &recursive);
    pthread_mutexattr_destroy(&recursive);
    bench->kv = kv_open_memory();
    struct proposer proposer = {bench, propose, read_index, read_ready, is_active};
    struct core_config config = {.default_lease_ttl_s = 768 * 3600,
                                 .max_lease_ttl_s = 768 * 3600,
                                 .workers = 2,
                                 .audit = {.ops = bench_audit},
                                 .audit_by_api = true};
    struct core_host host = {bench, host_routes, forward};
    bench->core = core_new(&config, bench_engines, &proposer, &host);
    cf_status status = kv_family_create(bench->kv, "state-0", &bench->state, &err);
    assert(status == CF_OK);
    status = core_state_changed(bench->core, bench->kv, bench->state, 0, &err);
    assert(status == CF_OK);
    bench->keyring = keyring_new_first(random_system(), cf_wall_ns(cf_host_clock()));
    CF_BUF(payload) = {0};
    struct cf_slice token;
    status = core_initial_command(bench->core, bench->keyring, NULL, 0, random_system(), &payload,
                                  &token, arena, &err);
    assert(status == CF_OK);
    (void)snprintf(bench->root, sizeof(bench->root), "%.*s", CF_SHOW(token));
    command_set_stamp(&payload, cf_wall_ns(cf_host_clock()));
    remember(bench, cf_buf_slice(&payload));
    bench_apply(bench);
    core_unsealed(bench->core, bench->keyring);
    core_became_leader(bench->core, bench->appended);
    return bench;
}

void bench_free(struct bench *bench)
{
    if (bench == NULL) {
        return;
    }
    core_free(bench->core);
    keyring_unref(bench->keyring);
    kv_family_unref(bench->state);
    kv_close(bench->kv);
    for (size_t i = 0; i < CF_LENGTH(bench->log); i++) {
        cf_buf_done(&bench->log[i]);
    }
    pthread_mutex_destroy(&bench->lock);
    cf_free(bench);
}

cf_status bench_payload(struct bench *bench, struct cf_slice payload, struct cf_error *err)
{
    struct proposal proposal = {0};
    cf_buf_add_slice(&proposal.payload, payload);
    pthread_mutex_lock(&bench->lock);
    cf_status status = core_admit(bench->core, &proposal, bench->appended + 1);
    (void)err;
    if (status == CF_OK) {
        remember(bench, cf_buf_slice(&proposal.payload));
        bench_apply(bench);
    }
    pthread_mutex_unlock(&bench->lock);
    cf_buf_done(&proposal.payload);
    return status;
}

cf_status bench_command(struct bench *bench, const struct command *command, struct cf_error *err)
{
    CF_BUF(payload) = {0};
    CF_TRY(command_encode(&payload, command, err));
    return bench_payload(bench, cf_buf_slice(&payload), err);
}

void bench_advance(struct bench *bench, int64_t seconds)
{
    struct command tick = {.id = COMMAND_TICK};
    pthread_mutex_lock(&bench->lock);
    bench->ahead_ns += seconds * 1000000000;
    pthread_mutex_unlock(&bench->lock);
    cf_status status = bench_command(bench, &tick, NULL);
    assert(status == CF_OK);
}

struct command bench_entry(struct bench *bench, uint64_t index, struct arena *arena)
{
    struct command command;
    cf_status status = command_decode(cf_buf_slice(&bench->log[index]), arena, &command, NULL);
    assert(status == CF_OK);
    return command;
}

/* ---- requests ---- */

static void post(struct request *rq, void (*run)(void *), void *arg)
{
    (void)rq;
    run(arg);
}

static void done(struct request *rq)
{
    struct call *call = rq->transport;
    CF_BUF(body) = {0};
    call->status = envelope_status(rq);
    envelope_body(rq, &body);
    if (body.size != 0 && body.data[0] == '{') {
        cf_status parsed = json_parse(call->arena, cf_buf_slice(&body), NULL, &call->answer, NULL);
        assert(parsed == CF_OK);
    }
    __atomic_store_n(&call->is_done, true, __ATOMIC_RELEASE);
}

static enum operation operation_of(const char *name)
{
    switch (name[0]) {
    case 'G':
        return OPERATION_READ;
    case 'L':
        return OPERATION_LIST;
    case 'D':
        return OPERATION_DELETE;
    case 'H':
        return OPERATION_HELP;
    case 'S':
        return OPERATION_SCAN;
    default:
        return name[1] == 'A' ? OPERATION_PATCH : OPERATION_UPDATE;
    }
}

struct call *bench_start(struct bench *bench, const char *token, const char *operation,
                         const char *path, const char *body)
{
    struct call *call = cf_new(struct call);
    call->bench = bench;
    call->arena = arena_new(8192);
    struct request *rq = &call->rq;
    rq->arena = call->arena;
    rq->random = random_system();
    (void)snprintf(rq->id, sizeof(rq->id), "00000000-0000-4000-8000-000000000000");
    rq->operation = operation_of(operation);
    rq->path = arena_copy(call->arena, cf_slice_str(path));
    rq->token = arena_copy(call->arena, cf_slice_str(token != NULL ? token : bench->root));
    rq->remote_address = CF_SLICE("127.0.0.1");
    rq->wrap_ttl_s = bench->wrap_ttl_s;
    rq->post = post;
    rq->done = done;
    rq->transport = call;
    rq->once = bench->once;
    rq->is_forwarded = bench->once.is_present;
    if (body != NULL) {
        rq->raw_body = arena_copy(call->arena, cf_slice_str(body));
        cf_status parsed = json_parse(call->arena, arena_copy(call->arena, cf_slice_str(body)),
                                      NULL, &rq->body, NULL);
        assert(parsed == CF_OK);
    }
    core_submit(bench->core, rq);
    return call;
}

void call_free(struct call *call)
{
    if (call != NULL) {
        assert(call->is_done);
        arena_free(call->arena);
        cf_free(call);
    }
}

const char *call_at(struct call *call, const char *dotted)
{
    const struct json *at = call->answer;
    char part[128];
    struct cf_slice string;
    CF_BUF(text) = {0};
    while (*dotted != '\0' && at != NULL) {
        size_t size = strcspn(dotted, ".");
        (void)snprintf(part, sizeof(part), "%.*s", (int)size, dotted);
        at = json_is(at, JSON_ARRAY) ? json_item(at, strtoul(part, NULL, 10)) : json_get(at, part);
        dotted += size + (dotted[size] == '.');
    }
    if (json_string(at, &string)) {
        cf_buf_add_slice(&text, string);
    } else if (at != NULL) {
        json_write(&text, at);
    }
    (void)snprintf(call->text, sizeof(call->text), "%.*s", CF_SHOW(cf_buf_slice(&text)));
    return call->text;
}

static bool wait_for(const bool *flag)
{
    for (int i = 0; i < 5000; i++) {
        if (__atomic_load_n(flag, __ATOMIC_ACQUIRE)) {
            return true;
        }
        struct timespec pause = {0, i < 2000 ? 100 * 1000 : 10 * 1000 * 1000}; /* a worker has it */
        (void)nanosleep(&pause, NULL);
    }
    return false;
}

void call_wait(struct call *call)
{
    bool ended = wait_for(&call->is_done);
    assert(ended);
}

void bench_wait_forwards(struct bench *bench, unsigned count)
{
    for (int i = 0; i < 3000; i++) {
        if (__atomic_load_n(&bench->forwards, __ATOMIC_ACQUIRE) == count) {
            return;
        }
        struct timespec pause = {0, 10 * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    abort();
}

void bench_wait_held(struct bench *bench, size_t count)
{
    for (int i = 0; i < 30000; i++) {
        pthread_mutex_lock(&bench->lock);
        size_t held = bench->held_count;
        pthread_mutex_unlock(&bench->lock);
        if (held == count) {
            return;
        }
        struct timespec pause = {0, 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    abort();
}

void bench_wait(const _Atomic bool *flag)
{
    bool came = wait_for((const bool *)flag);
    assert(came);
}

int bench_call(struct bench *bench, const char *token, const char *operation, const char *path,
               const char *body, const char *dotted, char *text)
{
    CF_OWNED(call) call = bench_start(bench, token, operation, path, body);
    bool came = wait_for(&call->is_done);
    assert(came);
    if (text != NULL) {
        (void)snprintf(text, 512, "%s", call_at(call, dotted));
    }
    return call->status;
}

void bench_token(struct bench *bench, const char *body, char *to)
{
    char text[512];
    int status =
        bench_call(bench, NULL, "POST", "auth/token/create", body, "auth.client_token", text);
    assert(status == 200 && strlen(text) < 64);
    (void)snprintf(to, 64, "%s", text);
}

void bench_role(struct bench *b, const char *role)
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_BUF(payload) = {0};
    struct view *view = core_view(b->core);
    struct txn *txn = txn_new(arena, view);
    struct uuid line;
    char id[37];
    struct json *record = json_object_new(arena);
    memcpy(line.bytes, view->line.bytes, sizeof(line.bytes));
    encode_uuid_text(line, id);
    json_set_text(arena, record, "role", role);
    json_set_text(arena, record, "line", id);
    txn_put(txn, (struct key){CLASS_OWN, 0, CF_SLICE("repl/role")}, record_encode(arena, record));
    pthread_mutex_lock(&b->lock); /* workers of requests before may still look */
    struct proposal proposal = {.claim = txn_claim(txn)};
    cf_status status = txn_encode(txn, &proposal.payload, NULL);
    assert(status == CF_OK);
    status = core_admit(b->core, &proposal, b->appended + 1);
    assert(status == CF_OK);
    cf_buf_add_slice(&b->log[++b->appended], cf_buf_slice(&proposal.payload));
    bench_apply(b);
    pthread_mutex_unlock(&b->lock);
    cf_buf_done(&proposal.payload);
    txn_release(txn);
    view_unref(view);
}

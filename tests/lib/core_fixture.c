/* tests/lib/core_fixture.c: the real core over memory, with a proposer that applies at once. */
#include "core_fixture.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "node/base/memory.h"
#include "node/core/command.h"
#include "node/core/envelope.h"
#include "node/crypto/random.h"
#include "node/format/url.h"
#include "node/server/registry.h"

struct fixture {
    struct kv *kv;
    struct kv_family *state;
    struct core *core;
    struct keyring *keyring;
    uint64_t index;
    int64_t ahead_ns;
    char root[64];
    struct arena *arena; /* of the last call */
    const struct json *answer;
    _Atomic bool is_done;
    char text[4096];
    struct cf_slice peer;
};

static void apply_payload(struct fixture *fixture, struct cf_slice payload)
{
    struct cf_error err = {0};
    struct kv_batch *batch = kv_batch_new(fixture->kv);
    cf_status status = core_apply(fixture->core, fixture->index, payload, batch, &err);
    if (status == CF_OK) {
        core_apply_end(fixture->core, batch);
        status = kv_commit(fixture->kv, batch, KV_NO_WAL, &err);
    }
    if (status != CF_OK) {
        (void)fprintf(stderr, "fixture: apply failed: %s\n", err.message);
        abort();
    }
    kv_batch_free(batch);
    core_applied(fixture->core, fixture->index);
}

static void propose(void *context, struct proposal *proposal)
{
    struct fixture *fixture = context;
    cf_status status = core_admit(fixture->core, proposal, fixture->index + 1);
    if (status != CF_OK) {
        proposal->done(proposal, status, 0);
        return;
    }
    fixture->index++;
    if (fixture->ahead_ns != 0) {
        int64_t stamp = (int64_t)cf_get_u64(proposal->payload.data);
        command_set_stamp(&proposal->payload, stamp + fixture->ahead_ns);
    }
    apply_payload(fixture, cf_buf_slice(&proposal->payload));
    proposal->done(proposal, CF_OK, fixture->index);
}

static void read_index(void *context, struct read_wait *wait)
{
    struct fixture *fixture = context;
    wait->done(wait, CF_OK, fixture->index);
}

static bool always(void *context)
{
    (void)context;
    return true;
}

struct fixture *fixture_new_with(const struct core_host *host)
{
    struct fixture *fixture = cf_new(struct fixture);
    struct cf_error err = {0};
    fixture->kv = kv_open_memory();
    fixture->arena = arena_new(8192);
    struct proposer proposer = {fixture, propose, read_index, always, always};
    struct core_config config = {768 * 3600, 768 * 3600, true, 1};
    fixture->core = core_new(&config, registry_engines, &proposer, host);
    cf_status status = kv_family_create(fixture->kv, "state-0", &fixture->state, &err);
    assert(status == CF_OK);
    status = core_state_changed(fixture->core, fixture->kv, fixture->state, 0, &err);
    assert(status == CF_OK);
    const struct cf_random *random = random_system();
    fixture->keyring = keyring_new_first(random, cf_wall_ns(cf_host_clock()));
    CF_BUF(payload) = {0};
    struct cf_slice token;
    status = core_initial_command(fixture->core, fixture->keyring, NULL, 0, random, &payload,
                                  &token, fixture->arena, &err);
    if (status != CF_OK) {
        (void)fprintf(stderr, "fixture: %s\n", err.message);
        abort();
    }
    (void)snprintf(fixture->root, sizeof(fixture->root), "%.*s", CF_SHOW(token));
    command_set_stamp(&payload, cf_wall_ns(cf_host_clock()));
    fixture->index = 1;
    apply_payload(fixture, cf_buf_slice(&payload));
    core_unsealed(fixture->core, fixture->keyring);
    core_became_leader(fixture->core, fixture->index);
    return fixture;
}

struct fixture *fixture_new(void)
{
    struct core_host host = {0};
    return fixture_new_with(&host);
}

void fixture_free(struct fixture *fixture)
{
    if (fixture == NULL) {
        return;
    }
    core_free(fixture->core);
    keyring_unref(fixture->keyring);
    kv_family_unref(fixture->state);
    kv_close(fixture->kv);
    arena_free(fixture->arena);
    cf_free(fixture);
}

const char *fixture_root(const struct fixture *fixture)
{
    return fixture->root;
}

void fixture_set_peer(struct fixture *fixture, struct cf_slice certificate)
{
    fixture->peer = certificate;
}

struct core *fixture_core(struct fixture *fixture)
{
    return fixture->core;
}

uint64_t fixture_index(const struct fixture *fixture)
{
    return fixture->index;
}

static void request_post(struct request *rq, void (*run)(void *), void *arg)
{
    (void)rq;
    run(arg);
}

static void request_done(struct request *rq)
{
    struct fixture *fixture = rq->transport;
    fixture->is_done = true;
}

static enum operation operation_of(const char *name)
{
    static const struct {
        const char *name;
        enum operation operation;
    } names[] = {{"GET", OPERATION_READ},     {"LIST", OPERATION_LIST},   {"SCAN", OPERATION_SCAN},
                 {"POST", OPERATION_UPDATE},  {"PUT", OPERATION_UPDATE},  {"PATCH", OPERATION_PATCH},
                 {"DELETE", OPERATION_DELETE}, {"HELP", OPERATION_HELP}};
    for (size_t i = 0; i < CF_LENGTH(names); i++) {
        if (strcmp(names[i].name, name) == 0) {
            return names[i].operation;
        }
    }
    abort();
}

/* "a=b&c=d" without escapes, which tests do not need. */
static struct json *parse_query(struct arena *arena, struct cf_slice query)
{
    struct json *object = json_object_new(arena);
    while (query.size != 0) {
        size_t end = cf_slice_find(query, '&');
        struct cf_slice pair = cf_slice_first(query, end);
        size_t equals = cf_slice_find(pair, '=');
        json_object_set(arena, object, cf_slice_first(pair, equals),
                        json_from_string(arena, cf_slice_from(pair, equals + 1)));
        query = cf_slice_from(query, end + 1);
    }
    return object;
}

int fixture_call_wrapped(struct fixture *fixture, const char *token, const char *operation,
                         const char *path, const char *body, int64_t wrap_ttl_s,
                         const struct json **ret)
{
    struct cf_error err = {0};
    arena_reset(fixture->arena);
    fixture->answer = NULL;
    struct request *rq = arena_new_object(fixture->arena, struct request);
    rq->arena = fixture->arena;
    rq->random = random_system();
    (void)snprintf(rq->id, sizeof(rq->id), "00000000-0000-4000-8000-000000000000");
    rq->operation = operation_of(operation);
    struct cf_slice whole = arena_copy(fixture->arena, cf_slice_str(path));
    size_t mark = cf_slice_find(whole, '?');
    rq->path = cf_slice_first(whole, mark);
    rq->query = mark < whole.size
                    ? parse_query(fixture->arena, cf_slice_from(whole, mark + 1))
                    : NULL;
    rq->token = arena_copy(fixture->arena, cf_slice_str(token != NULL ? token : fixture->root));
    rq->remote_address = CF_SLICE("127.0.0.1");
    rq->wrap_ttl_s = wrap_ttl_s;
    rq->peer_certificate = fixture->peer;
    rq->post = request_post;
    rq->done = request_done;
    rq->transport = fixture;
    if (body != NULL) {
        rq->raw_body = arena_copy(fixture->arena, cf_slice_str(body));
        cf_status parsed = json_parse(fixture->arena, rq->raw_body, NULL, &rq->body, &err);
        assert(parsed == CF_OK);
    }
    fixture->is_done = false;
    core_submit(fixture->core, rq);
    for (int i = 0; i < 3000 && !fixture->is_done; i++) {
        struct timespec pause = {0, 10 * 1000 * 1000}; /* a worker has it */
        (void)nanosleep(&pause, NULL);
    }
    assert(fixture->is_done);
    CF_BUF(text) = {0};
    envelope_body(rq, &text);
    struct json *answer = NULL;
    if (text.size != 0 && rq->response.content_type == NULL) {
        cf_status parsed = json_parse(fixture->arena, cf_buf_slice(&text), NULL, &answer, &err);
        assert(parsed == CF_OK);
    }
    fixture->answer = answer;
    if (ret != NULL) {
        *ret = answer;
    }
    return envelope_status(rq);
}

int fixture_call(struct fixture *fixture, const char *token, const char *operation,
                 const char *path, const char *body, const struct json **ret)
{
    return fixture_call_wrapped(fixture, token, operation, path, body, 0, ret);
}

const char *fixture_at(struct fixture *fixture, const char *dotted)
{
    const struct json *at = fixture->answer;
    char part[256];
    while (*dotted != '\0' && at != NULL) {
        size_t size = strcspn(dotted, ".");
        (void)snprintf(part, sizeof(part), "%.*s", (int)size, dotted);
        at = json_is(at, JSON_ARRAY) ? json_item(at, (size_t)strtoul(part, NULL, 10))
                                     : json_get(at, part);
        dotted += size + (dotted[size] == '.');
    }
    CF_BUF(text) = {0};
    struct cf_slice string;
    if (json_string(at, &string)) {
        cf_buf_add_slice(&text, string);
    } else if (at != NULL) {
        json_write(&text, at);
    }
    (void)snprintf(fixture->text, sizeof(fixture->text), "%.*s", CF_SHOW(cf_buf_slice(&text)));
    return fixture->text;
}

bool fixture_error_has(struct fixture *fixture, const char *text)
{
    const struct json *errors = json_get(fixture->answer, "errors");
    for (size_t i = 0; i < json_count(errors); i++) {
        struct cf_slice message;
        if (json_string(json_item(errors, i), &message) &&
            memmem(message.data, message.size, text, strlen(text)) != NULL) {
            return true;
        }
    }
    return false;
}

void fixture_advance(struct fixture *fixture, int64_t seconds)
{
    fixture->ahead_ns += seconds * 1000000000;
    CF_BUF(tick) = {0};
    struct command command = {.id = COMMAND_TICK};
    cf_status status = command_encode(&tick, &command, NULL);
    assert(status == CF_OK);
    command_set_stamp(&tick, cf_wall_ns(cf_host_clock()) + fixture->ahead_ns);
    fixture->index++;
    apply_payload(fixture, cf_buf_slice(&tick));
}

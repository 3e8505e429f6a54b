/* tools/load/fleet.c: the requests of an import over many connections. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "node/base/arena.h"
#include "node/base/host.h"
#include "node/base/memory.h"
#include "node/format/json.h"
#include "node/format/url.h"
#include "tools/load/fleet.h"
#include "tools/load/wire.h"

#define REQUEST_TIMEOUT_MS 30000u
#define BACKOFF_FIRST_US 50000u
#define BACKOFF_MAX_US 2000000u
#define LIST_TIMEOUT_MS 120000
#define FOLDERS_MAX 100000u

struct job {
    size_t at;
    unsigned tries;
    bool taken;
    uint64_t not_before_us;
};

struct fleet {
    const struct fleet_setup *setup;
    struct fleet_result *result;
    struct job jobs[WIRE_SLOTS_MAX]; /* of each slot */
    size_t next;
    bool writes, given_up;
    void (*seen)(void *context, size_t at, int status, struct cf_slice body);
    void *context;
    struct cf_buf path, body, headers;
};

static uint64_t now_us(void)
{
    return cf_monotonic_us(cf_host_clock());
}

static void add_headers(struct cf_buf *out, const struct fleet_setup *setup)
{
    if (setup->name_space != NULL && *setup->name_space != '\0') {
        cf_buf_addf(out, "X-Vault-Namespace: %s\r\n", setup->name_space);
    }
}

static struct cf_slice token_of(const struct fleet_setup *setup)
{
    return cf_slice_str(setup->token);
}

static void make_path(struct cf_buf *out, const struct fleet_setup *setup, const char *part,
                      struct cf_slice path)
{
    cf_buf_reset(out);
    cf_buf_add_str(out, "/v1/");
    url_encode_path(out, cf_slice_str(setup->mount));
    cf_buf_addf(out, "/%s/", part);
    url_encode_path(out, path);
}

static enum wire_next on_next(void *context, struct wire_slot *slot, struct cf_buf *out)
{
    struct fleet *fleet = context;
    const struct fleet_setup *setup = fleet->setup;
    struct job *job = &fleet->jobs[slot->number];
    if (!job->taken) {
        if (fleet->given_up || fleet->next == records_count(setup->records)) {
            return WIRE_STOP;
        }
        *job = (struct job){.at = fleet->next++, .taken = true};
    }
    if (job->not_before_us > now_us()) {
        slot->wake_us = job->not_before_us;
        return fleet->given_up ? WIRE_STOP : WIRE_WAIT;
    }
    make_path(&fleet->path, setup, "data", records_path(setup->records, job->at));
    cf_buf_reset(&fleet->body);
    if (fleet->writes) {
        cf_buf_add_str(&fleet->body, "{\"data\":");
        records_write(setup->records, job->at, &fleet->body);
        cf_buf_add_byte(&fleet->body, '}');
    }
    conn_write_request(out, slot->target, fleet->writes ? "POST" : "GET",
                       cf_buf_slice(&fleet->path), token_of(setup), cf_buf_slice(&fleet->headers),
                       cf_buf_slice(&fleet->body));
    job->tries++;
    return WIRE_SEND;
}

static void note_failure(struct fleet *fleet, struct job *job, const char *what, int status,
                         struct cf_slice text)
{
    struct fleet_result *result = fleet->result;
    struct cf_slice path = records_path(fleet->setup->records, job->at);
    if (result->failed == 0) {
        (void)snprintf(result->first_error, sizeof(result->first_error), "%.*s: %s%.*s",
                       (int)cf_min(path.size, 100), (const char *)path.data, what,
                       (int)cf_min(text.size, 300), (const char *)text.data);
    }
    result->failed++;
    job->taken = false;
    fleet->given_up =
        fleet->given_up || result->failed >= fleet->setup->failures_max || status == 403;
}

/* Whether it is worth another try; if so it is arranged. */
static bool try_again(struct fleet *fleet, struct job *job)
{
    if (job->tries >= fleet->setup->tries || fleet->given_up) {
        return false;
    }
    unsigned doublings = job->tries < 6 ? job->tries : 6;
    uint64_t wait_us = (uint64_t)BACKOFF_FIRST_US << doublings;
    job->not_before_us = now_us() + (wait_us < BACKOFF_MAX_US ? wait_us : BACKOFF_MAX_US);
    fleet->result->retries++;
    return true;
}

static void on_answer(void *context, struct wire_slot *slot, int status, struct cf_slice body,
                      uint64_t latency_us)
{
    struct fleet *fleet = context;
    struct job *job = &fleet->jobs[slot->number];
    bool fine = status == 200 || status == 204 || (!fleet->writes && status == 404);
    (void)latency_us;
    if (fine) {
        fleet->result->done++;
        fleet->result->bytes += fleet->writes ? 0 : body.size;
        if (fleet->seen != NULL) {
            fleet->seen(fleet->context, job->at, status, body);
        }
        job->taken = false;
        return;
    }
    /* 400 "Upgrading ...": a new KV v2 mount sets itself up. 403 is for good. */
    bool upgrading = status == 400 && memmem(body.data, body.size, "pgrading", 8) != NULL;
    bool passing = upgrading || status == 412 || status == 429 || status == 472 || status == 473 ||
                   status >= 500;
    if (!passing || !try_again(fleet, job)) {
        char what[32];
        (void)snprintf(what, sizeof(what), "HTTP %d ", status);
        note_failure(fleet, job, what, status, body);
    }
}

static void on_lost(void *context, struct wire_slot *slot, const struct cf_error *err)
{
    struct fleet *fleet = context;
    struct job *job = &fleet->jobs[slot->number];
    if (!job->taken || !try_again(fleet, job)) {
        note_failure(fleet, job, "no answer: ", 0, cf_slice_str(err->message));
    }
}

static bool on_tick(void *context, uint64_t now)
{
    struct fleet *fleet = context;
    (void)now;
    if (fleet->setup->progress != NULL) {
        term_progress_show(fleet->setup->progress, fleet->result->done);
    }
    return true;
}

static cf_status run(struct fleet *fleet, struct cf_error *err)
{
    static const struct wire_ops ops = {on_next, on_answer, on_lost, on_tick};
    const struct fleet_setup *setup = fleet->setup;
    struct wire_setup wire = {.targets = setup->targets,
                              .target_count = setup->target_count,
                              .slots = setup->parallel,
                              .timeout_ms = REQUEST_TIMEOUT_MS};
    cf_buf_init_secret(&fleet->body, 0);
    add_headers(&fleet->headers, setup);
    cf_status status = wire_run(&wire, &ops, fleet, err);
    cf_buf_done(&fleet->path);
    cf_buf_done(&fleet->body);
    cf_buf_done(&fleet->headers);
    return status;
}

cf_status fleet_write(const struct fleet_setup *setup, struct fleet_result *result,
                      struct cf_error *err)
{
    struct fleet *fleet = cf_new(struct fleet);
    *result = (struct fleet_result){0};
    fleet->setup = setup;
    fleet->result = result;
    fleet->writes = true;
    cf_status status = run(fleet, err);
    cf_free(fleet);
    return status;
}

cf_status fleet_read(const struct fleet_setup *setup,
                     void (*seen)(void *context, size_t at, int status, struct cf_slice body),
                     void *context, struct fleet_result *result, struct cf_error *err)
{
    struct fleet *fleet = cf_new(struct fleet);
    *result = (struct fleet_result){0};
    fleet->setup = setup;
    fleet->result = result;
    fleet->seen = seen;
    fleet->context = context;
    cf_status status = run(fleet, err);
    cf_free(fleet);
    return status;
}

/* ---- lists ---- */

struct walk {
    const struct fleet_setup *setup;
    struct arena *arena;
    struct cf_slice *folders; /* still to be listed; each ends with a slash, or is empty */
    size_t count, room;
    struct cf_buf path, headers;
    void (*found)(void *context, struct cf_slice path);
    void *context;
};

static void push_folder(struct walk *walk, struct cf_slice folder)
{
    if (walk->count == walk->room) {
        walk->room = walk->room == 0 ? 64 : 2 * walk->room;
        walk->folders = cf_realloc(walk->folders, walk->room * sizeof(*walk->folders));
    }
    walk->folders[walk->count++] = arena_copy(walk->arena, folder);
}

static cf_status take_names(struct walk *walk, struct cf_slice folder, struct cf_slice body,
                            struct cf_error *err)
{
    static const struct json_limits limits = {.items = 100000000, .nodes = 200000000};
    CF_OWNED(arena) scratch = arena_new(65536);
    CF_BUF(path) = {0};
    struct json *answer = NULL;
    CF_TRY(json_parse(scratch, body, &limits, &answer, err));
    const struct json *keys = json_get(json_get(answer, "data"), "keys");
    for (size_t i = 0; json_is(keys, JSON_ARRAY) && i < keys->count; i++) {
        struct cf_slice name = CF_SLICE_EMPTY;
        if (!json_string(keys->items[i], &name) || name.size == 0) {
            continue;
        }
        cf_buf_reset(&path);
        cf_buf_add_slice(&path, folder);
        cf_buf_add_slice(&path, name);
        if (name.data[name.size - 1] != '/') {
            walk->found(walk->context, cf_buf_slice(&path));
        } else if (walk->count < FOLDERS_MAX) {
            push_folder(walk, cf_buf_slice(&path));
        } else {
            return cf_fail(err, CF_TOO_LARGE, "more than %u folders", FOLDERS_MAX);
        }
    }
    return CF_OK;
}

static cf_status list_folder(struct walk *walk, struct conn *conn, struct cf_slice folder,
                             struct cf_error *err)
{
    const struct fleet_setup *setup = walk->setup;
    make_path(&walk->path, setup, "metadata", folder);
    cf_buf_add_str(&walk->path, "?list=true");
    cf_status status = CF_OK;
    for (unsigned tries = 0; tries < setup->tries; tries++) {
        conn_write_request(conn_request(conn), setup->targets, "GET", cf_buf_slice(&walk->path),
                           token_of(setup), cf_buf_slice(&walk->headers), CF_SLICE_EMPTY);
        status = conn_call(conn, LIST_TIMEOUT_MS, err);
        if (status == CF_OK && conn_status(conn) < 500 && conn_status(conn) != 412 &&
            conn_status(conn) != 429) {
            break;
        }
        struct timespec wait = {.tv_nsec = 200000000};
        (void)nanosleep(&wait, NULL);
    }
    CF_TRY(status);
    if (conn_status(conn) == 404) {
        return CF_OK;
    }
    if (conn_status(conn) != 200) {
        return cf_fail(err, CF_DENIED, "list of %s/%.*s: HTTP %d %.*s", setup->mount,
                       CF_SHOW(folder), conn_status(conn), (int)cf_min(conn_body(conn).size, 120),
                       (const char *)conn_body(conn).data);
    }
    status = take_names(walk, folder, conn_body(conn), err);
    load_conn_finish(conn);
    return status;
}

cf_status fleet_list(const struct fleet_setup *setup, const char *prefix,
                     void (*found)(void *context, struct cf_slice path), void *context,
                     struct cf_error *err)
{
    struct walk walk = {.setup = setup, .found = found, .context = context};
    CF_OWNED(conn) conn = load_conn_new(setup->targets);
    CF_BUF(first) = {0};
    walk.arena = arena_new(65536);
    add_headers(&walk.headers, setup);
    if (prefix != NULL && *prefix != '\0') {
        cf_buf_addf(&first, "%s/", prefix);
    }
    push_folder(&walk, cf_buf_slice(&first));
    cf_status status = CF_OK;
    while (status == CF_OK && walk.count > 0) {
        status = list_folder(&walk, conn, walk.folders[--walk.count], err);
    }
    cf_free(walk.folders);
    cf_buf_done(&walk.path);
    cf_buf_done(&walk.headers);
    arena_free(walk.arena);
    return status;
}

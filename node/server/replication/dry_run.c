/* node/server/replication/dry_run.c: what a call would do and what is missing. */
#include "node/server/replication/dry_run.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/base/host.h"
#include "node/base/memory.h"
#include "node/core/core.h"
#include "node/server/node.h"
#include "node/server/replication/package.h"

#define ADDRESSES_MAX 16 /* that are dialled: an operator waits for the answer */

/* The body of a deletion is nobody's to read otherwise (node/http/api.c), but who asks for a dry run there must not get a real
 * one. A body that can't be read may have asked for it. */
static cf_status look_into_body(struct request *rq, bool *wanted, struct cf_error *err)
{
    struct json *given = rq->body;
    if (rq->operation != OPERATION_DELETE || given != NULL || rq->raw_body.size == 0) {
        return CF_OK;
    }
    bool is_asked = false;
    cf_status status = json_parse(rq->arena, rq->raw_body, NULL, &rq->body, err);
    if (status == CF_OK && json_is(rq->body, JSON_OBJECT) && json_get(rq->body, "dry_run") != NULL) {
        status = request_bool(rq, "dry_run", false, &is_asked, err);
    } else if (status != CF_OK) {
        status = cf_fail(err, CF_INVALID, "the body of this request is no JSON: leave it out, or give dry_run there");
    }
    *wanted = *wanted || is_asked;
    rq->body = given;
    return status;
}

cf_status dry_run_begin(struct dry_run *dry, struct request *rq, struct cf_error *err)
{
    *dry = (struct dry_run){.rq = rq};
    CF_TRY(request_bool(rq, "dry_run", false, &dry->wanted, err));
    CF_TRY(look_into_body(rq, &dry->wanted, err));
    if (dry->wanted) {
        dry->effects = json_array_new(rq->arena);
        dry->checks = json_array_new(rq->arena);
        dry->missing = json_array_new(rq->arena);
    }
    return CF_OK;
}

static struct json *text_of(struct dry_run *dry, const char *fmt, va_list args)
{
    char line[1024];
    (void)vsnprintf(line, sizeof(line), fmt, args);
    return json_from_text(dry->rq->arena, line);
}

void dry_run_effect(struct dry_run *dry, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    json_array_add(dry->rq->arena, dry->effects, text_of(dry, fmt, args));
    va_end(args);
}

static void add_check(struct dry_run *dry, const char *check, bool ok, const char *fmt, va_list args)
{
    struct arena *arena = dry->rq->arena;
    struct json *one = json_object_new(arena);
    struct json *text = text_of(dry, fmt, args);
    struct cf_slice said;
    cf_ignore(!json_string(text, &said), "it is a string");
    json_set_text(arena, one, "check", check);
    json_set_bool(arena, one, "ok", ok);
    json_set(arena, one, "text", text);
    json_array_add(arena, dry->checks, one);
    if (!ok) {
        json_array_add(arena, dry->missing,
                       json_from_text(arena, arena_printf(arena, "%s: %.*s", check, CF_SHOW(said))));
    }
}

void dry_run_check(struct dry_run *dry, const char *check, bool ok, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add_check(dry, check, ok, fmt, args);
    va_end(args);
}

void dry_run_note(struct dry_run *dry, const char *check, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add_check(dry, check, true, fmt, args);
    va_end(args);
}

cf_status dry_run_end(struct dry_run *dry)
{
    struct arena *arena = dry->rq->arena;
    struct json *data = response_data(dry->rq);
    json_set_bool(arena, data, "dry_run", true);
    json_set_bool(arena, data, "would_succeed", json_count(dry->missing) == 0);
    json_set(arena, data, "effects", dry->effects);
    json_set(arena, data, "checks", dry->checks);
    json_set(arena, data, "missing", dry->missing);
    return CF_OK;
}

/* ---- single checks ---- */

void dry_run_clock(struct dry_run *dry, int64_t ms)
{
    bool near = ms > -DRY_RUN_CLOCK_MS && ms < DRY_RUN_CLOCK_MS;
    dry_run_check(dry, "clock", near, near ? "the primary's clock less ours: %lld ms"
                                           : "the primary's clock less ours: %lld ms; set the clocks "
                                             "first, tokens and certificates depend on them",
                  (long long)ms);
}

void dry_run_space(struct dry_run *dry, uint64_t wanted_bytes)
{
    struct node *node = core_host_context(dry->rq->core);
    uint64_t left = 0, total = 0;
    if (node->kv == NULL || kv_space(node->kv, &left, &total, NULL) != CF_OK) {
        dry_run_note(dry, "space", "the free room on the disk is not known");
        return;
    }
    if (left == UINT64_MAX) {
        dry_run_note(dry, "space", "the state is kept in memory");
        return;
    }
    /* The copy passes through the log once and lies beside the present data until the switch. */
    uint64_t need = 2 * wanted_bytes;
    dry_run_check(dry, "space", left > need, "%llu MiB free on this node, the copy takes about %llu MiB "
                                             "while it is made",
                  (unsigned long long)(left >> 20), (unsigned long long)((need >> 20) + 1));
}

/* "" or why nobody accepted. */
static const char *dial(const char *host, const char *port, int timeout_ms)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int status = getaddrinfo(host, port, &hints, &found);
    if (status != 0) {
        return gai_strerror(status);
    }
    int error = ETIMEDOUT;
    for (const struct addrinfo *at = found; at != NULL && error != 0; at = at->ai_next) {
        int fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
            error = errno;
            continue;
        }
        error = connect(fd, at->ai_addr, at->ai_addrlen) == 0 ? 0 : errno;
        if (error == EINPROGRESS) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            socklen_t size = sizeof(error);
            error = poll(&wait, 1, timeout_ms) == 1 ? 0 : ETIMEDOUT;
            if (error == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
                error = errno;
            }
        }
        (void)close(fd);
    }
    freeaddrinfo(found);
    return error == 0 ? "" : strerror(error); /* glibc's texts are static */
}

void dry_run_dial(struct dry_run *dry, const struct cf_slice *addresses, size_t count, int timeout_ms)
{
    struct arena *arena = dry->rq->arena;
    size_t answered = 0;
    count = cf_min(count, (size_t)ADDRESSES_MAX);
    struct json *results = json_array_new(arena);
    for (size_t i = 0; i < count; i++) {
        struct cf_slice one = package_address(addresses[i]);
        size_t colon = one.size;
        while (colon != 0 && one.data[colon - 1] != ':') {
            colon--;
        }
        const char *why = "no port: write host:port";
        if (colon != 0) {
            struct cf_slice host = cf_slice_first(one, colon - 1);
            if (host.size > 2 && host.data[0] == '[' && host.data[host.size - 1] == ']') {
                host = cf_slice_first(cf_slice_from(host, 1), host.size - 2);
            }
            why = dial(arena_text(arena, host), arena_text(arena, cf_slice_from(one, colon)),
                       timeout_ms / (int)count);
        }
        struct json *result = json_object_new(arena);
        json_set_string(arena, result, "address", one);
        json_set_bool(arena, result, "reached", why[0] == '\0');
        json_set_text(arena, result, "error", why);
        json_array_add(arena, results, result);
        answered += why[0] == '\0';
    }
    json_set(arena, response_data(dry->rq), "addresses", results);
    dry_run_check(dry, "cluster addresses", answered != 0,
                  "%zu of %zu accept connections%s", answered, count,
                  answered != 0 ? "" : ": the cluster port (8201) of a node of the primary has to be "
                                       "reachable from here, without anything that ends TLS in between");
}

void repl_dry_addresses(struct dry_run *dry, struct cf_slice primary_cluster_addr)
{
    struct cf_slice address = package_address(primary_cluster_addr);
    if (address.size == 0) {
        struct node *node = core_host_context(dry->rq->core);
        dry_run_note(dry, "primary_cluster_addr", "tokens name the cluster addresses of all nodes, as %s",
                     node->config->cluster_addr != NULL ? node->config->cluster_addr : "-");
        return;
    }
    size_t colon = cf_slice_find(address, ':');
    bool good = colon != 0 && colon + 1 < address.size;
    dry_run_check(dry, "primary_cluster_addr", good,
                  good ? "tokens name %.*s" : "%.*s is no host:port", CF_SHOW(address));
}

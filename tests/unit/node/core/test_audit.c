/* tests/unit/node/core/test_audit.c: the audit step against devices that take, refuse and hang; what their
 * records hold and what they must not. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "node/base/memory.h"
#include "node/core/system.h"
#include "test.h"

/* ---- devices of the test: "which" says which of them ---- */

static struct outlet {
    _Atomic bool hangs, is_trusted;
    _Atomic int refuses; /* a cf_status */
    _Atomic unsigned writes, reopened;
    _Atomic unsigned taken; /* records, also those that were forgotten */
    pthread_mutex_t lock;
    struct cf_buf text;
} outlets[3];

static struct bench *b;

static cf_status test_make(const struct audit_settings *settings, void **ret, struct cf_error *err)
{
    struct cf_slice which = audit_option(settings, "which", "0");
    if (which.size != 1 || which.data[0] < '0' || which.data[0] > '2') {
        return cf_fail(err, CF_INVALID, "no such outlet");
    }
    outlets[which.data[0] - '0'].is_trusted = settings->is_trusted;
    *ret = &outlets[which.data[0] - '0'];
    return CF_OK;
}

static cf_status test_write(void *device, struct cf_slice lines, const _Atomic bool *stop,
                            struct cf_error *err)
{
    struct outlet *outlet = device;
    while (outlet->hangs && !*stop) {
        struct timespec pause = {0, 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    if (outlet->refuses != CF_OK) {
        return cf_fail(err, (cf_status)outlet->refuses, "it refuses");
    }
    pthread_mutex_lock(&outlet->lock);
    cf_buf_add_slice(&outlet->text, lines);
    for (size_t i = 0; i < lines.size; i++) {
        outlet->taken += lines.data[i] == '\n';
    }
    pthread_mutex_unlock(&outlet->lock);
    outlet->writes++;
    return CF_OK;
}

static void test_reopen(void *device)
{
    ((struct outlet *)device)->reopened++;
}

static void test_free(void *device)
{
    (void)device;
}

static const char *const options[] = {"which", NULL};
static const struct audit_ops ops = {"test", options, test_make, test_write, test_reopen, test_free};
static const struct audit_ops *const all[] = {&ops, NULL};

static void tear_down(void)
{
    bench_free(b);
    b = NULL;
    for (size_t i = 0; i < CF_LENGTH(outlets); i++) {
        cf_buf_done(&outlets[i].text);
    }
}

#define ck_call(want, operation, path, body)                                                       \
    do {                                                                                           \
        char seen_[512];                                                                           \
        int got_ = bench_call(b, NULL, (operation), (path), (body), "errors.0", seen_);            \
        ck_assert_msg(got_ == (want), "%s %s: %d, not %d: %s", (operation), (path), got_, (want),  \
                      seen_);                                                                      \
    } while (0)

static void enable(const char *path, const char *which, const char *more)
{
    char where[64], body[256];
    (void)snprintf(where, sizeof(where), "sys/audit/%s", path);
    (void)snprintf(body, sizeof(body), "{\"type\":\"test\",\"options\":{\"which\":\"%s\"%s}}", which,
                   more);
    ck_call(204, "POST", where, body);
}

static void set_up(void)
{
    for (size_t i = 0; i < CF_LENGTH(outlets); i++) {
        outlets[i] = (struct outlet){.text = {0}};
        pthread_mutex_init(&outlets[i].lock, NULL);
    }
    bench_audit = all;
    b = bench_new();
    ck_call(204, "POST", "sys/mounts/s", "{\"type\":\"kv\"}");
    enable("a", "0", "");
}

static bool has(int which, const char *text)
{
    struct outlet *outlet = &outlets[which];
    pthread_mutex_lock(&outlet->lock);
    bool found = outlet->text.size != 0 &&
                 memmem(outlet->text.data, outlet->text.size, text, strlen(text)) != NULL;
    pthread_mutex_unlock(&outlet->lock);
    return found;
}

static unsigned lines(int which)
{
    unsigned count = 0;
    pthread_mutex_lock(&outlets[which].lock);
    for (size_t i = 0; i < outlets[which].text.size; i++) {
        count += outlets[which].text.data[i] == '\n';
    }
    pthread_mutex_unlock(&outlets[which].lock);
    return count;
}

static void forget(void)
{
    for (size_t i = 0; i < CF_LENGTH(outlets); i++) {
        pthread_mutex_lock(&outlets[i].lock);
        cf_buf_reset(&outlets[i].text);
        pthread_mutex_unlock(&outlets[i].lock);
    }
}

static struct audit_status status_of(const char *path)
{
    struct audit_status list[AUDIT_DEVICES_MAX];
    size_t count = audit_status(core_audit(b->core), list, CF_LENGTH(list));
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i].path, path) == 0) {
            return list[i];
        }
    }
    ck_abort_msg("no device at %s", path);
}

/* Bounded; for what a device's thread does by itself. */
static void until_failed(const char *path, bool is_failed)
{
    for (int i = 0; i < 3000; i++) {
        if (status_of(path).is_failed == is_failed) {
            return;
        }
        struct timespec pause = {0, 10 * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    ck_abort_msg("%s is not %s", path, is_failed ? "failed" : "well again");
}

/* Bounded. Every record of the device has been tried: it is in the outlet or counted as lost. Its trial record, which
 * enabling it wrote, is no record of the device. */
static void until_tried(const char *path, int which)
{
    for (int i = 0; i < 3000; i++) {
        struct audit_status status = status_of(path);
        if (status.records == status.lost + outlets[which].taken - 1) {
            return;
        }
        struct timespec pause = {0, 10 * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    ck_abort_msg("records of %s still wait", path);
}

/* ---- who takes a record ---- */

START_TEST(audit_fail_closed)
{
    set_up();
    ck_call(204, "POST", "s/a", "{\"x\":\"1\"}");
    uint64_t before = b->appended;
    outlets[0].refuses = CF_IO;
    ck_call(500, "POST", "s/a", "{\"x\":\"2\"}");
    ck_call(500, "GET", "s/a", NULL);
    ck_call(500, "DELETE", "sys/audit/a", NULL); /* also the way out of it */
    ck_call(500, "GET", "sys/bench-host", NULL);
    ck_assert_uint_eq(b->host_calls, 0);
    ck_assert_uint_eq(b->appended, before);
    ck_assert(status_of("a/").is_failed);
    ck_assert_uint_gt(status_of("a/").lost, 0);
    outlets[0].refuses = CF_OK;
    ck_call(200, "GET", "s/a", NULL); /* tried with each record */
    ck_assert(!status_of("a/").is_failed);
    ck_call(204, "DELETE", "sys/audit/a", NULL);
    tear_down();
}
END_TEST

/* The primary chose them, for its own machines: on a performance secondary a shared device that cannot be opened holds nobody up,
 * until it has worked there, and unless one was made for that cluster. */
START_TEST(of_another_cluster)
{
    set_up();
    outlets[1].refuses = CF_IO;
    enable("b", "1", ",\"skip_test\":\"true\"");
    ck_call(204, "DELETE", "sys/audit/a", NULL);
    ck_call(500, "GET", "s/a", NULL); /* of a primary each one counts */
    bench_role(b, "performance-secondary");
    until_failed("b/", true);
    ck_call(404, "GET", "s/a", NULL);
    ck_assert(!status_of("b/").has_worked);
    ck_call(204, "POST", "sys/audit/c", "{\"type\":\"test\",\"local\":true,\"options\":{\"which\":\"2\"}}");
    ck_call(404, "GET", "s/a", NULL);
    ck_assert_uint_ge(lines(2), 2);
    outlets[2].refuses = CF_IO;
    ck_call(500, "GET", "s/a", NULL);
    outlets[2].refuses = CF_OK;
    ck_call(404, "GET", "s/a", NULL);
    outlets[1].refuses = CF_OK;
    until_failed("b/", false);
    ck_assert(status_of("b/").has_worked);
    ck_call(204, "DELETE", "sys/audit/c", NULL);
    ck_call(404, "GET", "s/a", NULL);
    outlets[1].refuses = CF_IO; /* that it fails after it has worked is a fault like any other */
    ck_call(500, "GET", "s/a", NULL);
    outlets[1].refuses = CF_OK;
    tear_down();
}
END_TEST

static struct {
    bool ended;
    cf_status status;
} reconciled;

static void reconcile_done(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    (void)context;
    (void)index;
    (void)err;
    reconciled.status = status;
    __atomic_store_n(&reconciled.ended, true, __ATOMIC_RELEASE);
}

/* The configuration of this node has one stanza, for that outlet. Returns the entries that the active node wrote for it. */
static uint64_t configure(const char *path, const char *which)
{
    CF_OWNED(arena) arena = arena_new(1024);
    uint64_t before = b->appended;
    struct json *said = json_object_new(arena);
    json_set_text(arena, said, "which", which);
    struct audit_stanza stanza = {.type = CF_SLICE("test"), .path = cf_slice_str(path), .options = said};
    struct audit_stanzas stanzas = {&stanza, 1};
    audit_set_own(core_audit(b->core), &stanzas);
    reconciled.ended = false;
    struct system_work work = {audit_reconcile, reconcile_done, &stanzas};
    system_submit(b->core, &work);
    for (int i = 0; i < 3000 && !__atomic_load_n(&reconciled.ended, __ATOMIC_ACQUIRE); i++) {
        struct timespec pause = {0, 10 * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    ck_assert(reconciled.ended);
    ck_assert_int_eq(reconciled.status, CF_OK);
    return b->appended - before;
}

static bool is_foreign(const char *path)
{
    struct view *view = core_view(b->core);
    const struct audit_entry *entry = audit_table_find(view->audit, cf_slice_str(path));
    ck_assert_ptr_nonnull(entry);
    bool is = entry->is_foreign;
    view_unref(view);
    return is;
}

static const char the_primary[37] = "11111111-1111-4111-8111-111111111111";
static const char this_one[37] = "22222222-2222-4222-8222-222222222222";

/* A device of the primary's configuration counts, and is trusted with its target, only if ours names the same. */
START_TEST(of_another_configuration)
{
    const struct audit_stanzas none = {NULL, 0};
    set_up();
    ck_call(204, "DELETE", "sys/audit/a", NULL);
    core_set_cluster_id(b->core, the_primary);
    ck_assert_uint_eq(configure("m/", "1"), 1);
    ck_assert(!is_foreign("m/"));
    ck_assert(outlets[1].is_trusted);
    ck_call(404, "GET", "s/a", NULL);
    outlets[1].refuses = CF_IO;
    audit_set_own(core_audit(b->core), &none);
    core_set_cluster_id(b->core, this_one);
    bench_role(b, "performance-secondary");
    ck_assert(is_foreign("m/")); /* the same record under another role */
    ck_assert(!outlets[1].is_trusted);
    until_failed("m/", true);
    ck_call(404, "GET", "s/a", NULL);
    ck_assert_uint_eq(configure("m/", "1"), 1); /* named since: all nodes look again */
    ck_assert(!is_foreign("m/"));
    ck_assert(outlets[1].is_trusted);
    ck_call(500, "GET", "s/a", NULL);
    ck_assert_uint_eq(configure("m/", "1"), 0);
    ck_assert_uint_eq(configure("m/", "2"), 0); /* of other options, so another device; its name is taken */
    tear_down();
}
END_TEST

/* Between a promotion and the first look into the own configuration the other cluster's device is in the table. */
START_TEST(promoted_over_another_configuration)
{
    const struct audit_stanzas none = {NULL, 0};
    set_up();
    ck_call(204, "DELETE", "sys/audit/a", NULL);
    core_set_cluster_id(b->core, the_primary);
    ck_assert_uint_eq(configure("m/", "1"), 1);
    audit_set_own(core_audit(b->core), &none);
    core_set_cluster_id(b->core, this_one);
    bench_role(b, "dr-secondary");
    ck_assert(!outlets[1].is_trusted);
    bench_role(b, "primary");
    ck_assert(!is_foreign("m/"));
    ck_assert(!outlets[1].is_trusted);
    ck_assert_uint_eq(configure("m/", "0"), 1); /* of the same name: replaced */
    ck_assert(outlets[0].is_trusted);
    forget();
    ck_call(404, "GET", "s/a", NULL);
    ck_assert_uint_eq(lines(0), 2);
    ck_assert_uint_eq(lines(1), 0);
    ck_assert_uint_eq(configure("m/", "1"), 0); /* our own is never changed */
    ck_assert_uint_eq(configure("n/", "2"), 1); /* one entry: this one comes, the other one goes */
    ck_assert(outlets[2].is_trusted);
    struct view *view = core_view(b->core);
    ck_assert_ptr_null(audit_table_find(view->audit, CF_SLICE("m/")));
    view_unref(view);
    tear_down();
}
END_TEST

/* A DR secondary mirrors the local devices as well: none of them may keep an operator from promoting it. */
START_TEST(of_a_mirrored_cluster)
{
    set_up();
    ck_call(204, "POST", "sys/audit/c", "{\"type\":\"test\",\"local\":true,\"options\":{\"which\":\"1\"}}");
    ck_assert_uint_eq(configure("m/", "2"), 1);
    outlets[0].refuses = outlets[1].refuses = CF_IO;
    ck_call(404, "GET", "s/a", NULL);
    ck_assert(!is_foreign("c/") && !is_foreign("a/"));
    bench_role(b, "dr-secondary");
    ck_assert(is_foreign("c/") && is_foreign("a/"));
    ck_assert(!is_foreign("m/")); /* our own configuration names it, so it has to work here, too */
    bench_role(b, "primary"); /* promoted: they are its own */
    ck_assert(!is_foreign("c/") && !is_foreign("a/"));
    ck_call(404, "GET", "s/a", NULL);
    outlets[2].refuses = CF_IO;
    ck_call(500, "GET", "s/a", NULL);
    tear_down();
}
END_TEST

START_TEST(one_that_takes_it_is_enough)
{
    set_up();
    enable("b", "1", "");
    outlets[0].refuses = CF_IO;
    forget();
    ck_call(204, "POST", "s/a", "{\"x\":\"1\"}");
    ck_assert_uint_eq(lines(0), 0);
    ck_assert_uint_eq(lines(1), 2);
    ck_assert(status_of("a/").is_failed);
    until_tried("a/", 0); /* the answer's record may come to a device that has failed with the request's */
    ck_assert_uint_eq(lines(0), 0);
    outlets[0].refuses = CF_OK;
    until_failed("a/", false); /* by itself, within a second or so */
    ck_call(200, "GET", "s/a", NULL);
    ck_assert_uint_eq(lines(0), 2);
    ck_assert_uint_eq(lines(1), 4);
    tear_down();
}
END_TEST

/* P-32. That nobody waits longer than 500 ms is the watcher's doing: a request ends although the write never
 * does, and later ones do not wait for the failed device at all (their records are in the other one). */
START_TEST(audit_blocked_device)
{
    set_up();
    enable("b", "1", "");
    outlets[0].hangs = true;
    forget();
    ck_call(204, "POST", "s/a", "{\"x\":\"1\"}");
    ck_assert(status_of("a/").is_failed);
    for (int i = 0; i < 100; i++) {
        ck_call(200, "GET", "s/a", NULL);
    }
    ck_assert_uint_eq(lines(0), 0);
    ck_assert_uint_eq(lines(1), 202);
    outlets[0].hangs = false;
    until_failed("a/", false);
    ck_call(200, "GET", "s/a", NULL);
    ck_assert_uint_eq(lines(0), 204); /* what waited for it went in, too */
    tear_down();
}
END_TEST

START_TEST(alone_and_blocked)
{
    set_up();
    outlets[0].hangs = true;
    uint64_t before = b->appended;
    ck_call(500, "POST", "s/a", "{\"x\":\"1\"}");
    ck_call(500, "POST", "s/a", "{\"x\":\"1\"}");
    ck_assert_uint_eq(b->appended, before);
    outlets[0].hangs = false;
    until_failed("a/", false);
    ck_call(204, "POST", "s/a", "{\"x\":\"1\"}");
    tear_down();
}
END_TEST

/* What was authorised before a device was enabled runs again, and is recorded there. */
START_TEST(no_write_past_a_new_device)
{
    set_up();
    b->holds = true;
    CF_OWNED(call) held = bench_start(b, NULL, "POST", "s/a", "{\"x\":\"1\"}");
    bench_wait_held(b, 1);
    b->holds = false;
    enable("b", "1", "");
    forget();
    bench_release(b, 0);
    call_wait(held);
    ck_assert_int_eq(held->status, 204);
    ck_assert(has(1, "\"path\":\"s/a\""));
    ck_assert_uint_eq(lines(1), 2);
    call_free(call_take(&held));
    tear_down();
}
END_TEST

START_TEST(enabling_and_disabling)
{
    set_up();
    ck_call(400, "POST", "sys/audit/a", "{\"type\":\"test\"}");
    ck_call(400, "POST", "sys/audit/a/b", "{\"type\":\"test\"}");
    ck_call(400, "POST", "sys/audit/x", "{\"type\":\"none\"}");
    ck_call(400, "POST", "sys/audit/x", "{\"type\":\"test\",\"options\":{\"other\":\"1\"}}");
    ck_call(400, "POST", "sys/audit/x", "{\"type\":\"test\",\"options\":{\"which\":\"7\"}}");
    ck_call(400, "POST", "sys/audit/x", "{\"type\":\"test\",\"options\":{\"format\":\"jsonx\"}}");
    ck_call(400, "POST", "sys/audit/x", "{\"type\":\"test\",\"options\":{\"log_raw\":\"maybe\"}}");
    ck_call(400, "POST", "sys/audit/x", "{\"type\":\"test\",\"options\":{\"prefix\":\"p\"}}");
    outlets[1].refuses = CF_IO;
    ck_call(400, "POST", "sys/audit/x", "{\"type\":\"test\",\"options\":{\"which\":\"1\"}}");
    enable("x", "1", ",\"skip_test\":\"true\"");
    ck_call(204, "DELETE", "sys/audit/x", NULL);
    ck_call(204, "DELETE", "sys/audit/x", NULL);
    outlets[1].refuses = CF_OK;
    for (int i = 0; i < 7; i++) {
        char path[8];
        (void)snprintf(path, sizeof(path), "x%d", i);
        enable(path, "1", "");
    }
    ck_call(400, "POST", "sys/audit/x9", "{\"type\":\"test\"}");
    ck_call(204, "POST", "sys/audit/x9", "{\"type\":\"test\",\"local\":true}");
    forget();
    ck_call(404, "GET", "s/none", NULL);
    ck_assert_uint_eq(lines(1), 14);
    ck_assert_uint_eq(lines(0), 4);
    unsigned before = outlets[0].reopened;
    audit_reopen(core_audit(b->core));
    for (int i = 0; i < 3000 && outlets[0].reopened < before + 2; i++) {
        struct timespec pause = {0, 10 * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    ck_assert_uint_eq(outlets[0].reopened, before + 2);
    tear_down();
}
END_TEST

/* ---- what a record holds ---- */

/* P-33, P-18: no value of a request or an answer, no token, no accessor, whichever way it came in. */
START_TEST(audit_redaction)
{
    static const char *const secrets[] = {"hunter2", "canary-in-a-list", "deep-canary",
                                          "new\\nline", "wrapped-canary", "canary-p4ssword"};
    char token[512], accessor[512];
    set_up();
    forget();
    ck_call(204, "POST", "s/a", "{\"password\":\"hunter2\",\"list\":[\"canary-in-a-list\"],"
                                "\"deep\":{\"er\":{\"x\":\"deep-canary\",\"n\":17,\"b\":true}},"
                                "\"e\":\"new\\nline\"}");
    ck_call(200, "GET", "s/a", NULL);
    ck_call(204, "POST", "sys/auth/up", "{\"type\":\"userpass\"}");
    ck_call(204, "POST", "auth/up/users/u", "{\"password\":\"canary-p4ssword\"}");
    ck_call(200, "POST", "auth/up/login/u", "{\"password\":\"canary-p4ssword\"}");
    b->wrap_ttl_s = 60;
    ck_assert_int_eq(bench_call(b, NULL, "POST", "sys/wrapping/wrap", "{\"w\":\"wrapped-canary\"}",
                                "wrap_info.token", token), 200);
    b->wrap_ttl_s = 0;
    ck_assert_int_eq(bench_call(b, token, "POST", "sys/wrapping/unwrap", NULL, "data.w", accessor),
                     200);
    ck_assert_str_eq(accessor, "wrapped-canary");
    ck_assert_int_eq(bench_call(b, NULL, "POST", "auth/token/create", "{}", "auth.accessor",
                                accessor), 200);
    for (size_t i = 0; i < CF_LENGTH(secrets); i++) {
        ck_assert_msg(!has(0, secrets[i]), "%s is in the log", secrets[i]);
    }
    ck_assert(!has(0, b->root));
    ck_assert(!has(0, token));
    ck_assert(!has(0, accessor));
    ck_assert(has(0, "\"n\":17"));
    ck_assert(has(0, "\"b\":true"));
    char hash[512], body[600];
    (void)snprintf(body, sizeof(body), "{\"input\":\"hunter2\"}");
    ck_assert_int_eq(bench_call(b, NULL, "POST", "sys/audit-hash/a", body, "data.hash", hash), 200);
    ck_assert(has(0, hash));
    ck_assert_int_eq(bench_call(b, NULL, "POST", "sys/audit-hash/a", "{\"input\":\"new\\nline\"}",
                                "data.hash", hash), 200);
    ck_assert(has(0, hash)); /* of the text itself, not of how it was written */
    (void)snprintf(body, sizeof(body), "{\"input\":\"%s\"}", accessor);
    ck_assert_int_eq(bench_call(b, NULL, "POST", "sys/audit-hash/a", body, "data.hash", hash), 200);
    ck_assert(has(0, hash));
    tear_down();
}
END_TEST

START_TEST(options_of_a_device)
{
    set_up();
    enable("raw", "1", ",\"log_raw\":\"true\"");
    enable("plain", "2", ",\"hmac_accessor\":\"false\",\"elide_list_responses\":\"true\"");
    char accessor[512];
    ck_assert_int_eq(bench_call(b, NULL, "POST", "auth/token/create", "{}", "auth.accessor",
                                accessor), 200);
    ck_call(204, "POST", "s/a", "{\"x\":\"visible\\n\"}");
    ck_call(200, "LIST", "s", NULL);
    ck_assert(has(1, "visible\\n"));
    ck_assert(has(1, b->root));
    ck_assert(!has(2, "visible"));
    ck_assert(has(2, accessor));
    ck_assert(!has(0, accessor));
    ck_assert(has(2, "\"data\":{\"keys\":1}"));
    ck_assert(!has(0, "\"data\":{\"keys\":1}"));
    tear_down();
}
END_TEST

START_TEST(keys_that_a_mount_shows)
{
    set_up();
    ck_call(204, "POST", "sys/mounts/s/tune",
            "{\"audit_non_hmac_request_keys\":[\"open\"],\"audit_non_hmac_response_keys\":\"shown\"}");
    ck_call(204, "POST", "s/a", "{\"open\":[\"req-open\"],\"shown\":\"req-shown\",\"x\":\"req-x\"}");
    ck_assert(has(0, "req-open"));
    ck_assert(!has(0, "req-shown"));
    ck_call(200, "GET", "s/a", NULL);
    ck_assert(has(0, "req-shown"));
    ck_assert(!has(0, "req-x"));
    tear_down();
}
END_TEST

/* Each line is one JSON object, request before answer, with the members that tools look for. */
START_TEST(members_of_a_record)
{
    set_up();
    forget();
    ck_call(204, "POST", "s/a", "{\"x\":\"1\"}");
    ck_call(404, "GET", "nowhere", NULL);
    CF_OWNED(arena) arena = arena_new(8192);
    struct cf_slice rest = cf_buf_slice(&outlets[0].text);
    static const char *const types[] = {"request", "response", "request", "response"};
    for (size_t i = 0; i < CF_LENGTH(types); i++) {
        struct json *line;
        size_t end = cf_slice_find(rest, '\n');
        ck_assert_int_eq(json_parse(arena, cf_slice_first(rest, end), NULL, &line, NULL), CF_OK);
        rest = cf_slice_from(rest, end + 1);
        const struct json *request = json_get(line, "request"), *auth = json_get(line, "auth");
        ck_assert(cf_slice_is(json_get_string(line, "type"), types[i]));
        ck_assert_uint_eq(json_get_string(request, "id").size, 36);
        ck_assert(cf_slice_is(json_get_string(request, "remote_address"), "127.0.0.1"));
        ck_assert(cf_slice_is(json_get_string(json_get(request, "namespace"), "id"), "root"));
        ck_assert(cf_slice_is(json_get_string(auth, "display_name"), "root"));
        ck_assert(cf_slice_is(json_get_string(auth, "token_type"), "service"));
        ck_assert(json_get(json_get(auth, "policy_results"), "allowed") != NULL);
        ck_assert_int_eq(json_get(line, "response") != NULL, i == 1);
        ck_assert_int_eq(json_get_string(line, "error").size != 0, i >= 2);
        if (i < 2) {
            ck_assert(cf_slice_is(json_get_string(request, "operation"), "create"));
            ck_assert(cf_slice_is(json_get_string(request, "mount_point"), "s/"));
            ck_assert(cf_slice_is(json_get_string(request, "mount_class"), "secret"));
        }
    }
    ck_assert_uint_eq(rest.size, 0);
    tear_down();
}
END_TEST

TEST_MAIN("node/core/audit", audit_fail_closed, of_another_cluster, of_another_configuration,
          promoted_over_another_configuration, of_a_mirrored_cluster,
          one_that_takes_it_is_enough, audit_blocked_device,
          alone_and_blocked, no_write_past_a_new_device, enabling_and_disabling, audit_redaction,
          options_of_a_device, keys_that_a_mount_shows, members_of_a_record)

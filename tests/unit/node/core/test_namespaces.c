/* tests/unit/node/core/test_namespaces.c: stores below paths of their own, and that nothing passes
 * between them. */
#include <time.h>

#include "bench.h"
#include "node/base/memory.h"
#include "node/core/core_int.h"
#include "node/core/mount_move.h"
#include "tests/lib/test.h"

static struct bench *b;
static char text[1024];

static void set_up(void)
{
    bench_free(b);
    b = bench_new();
}

static int call(const char *token, const char *operation, const char *path, const char *body,
                const char *at)
{
    return bench_call(b, token, operation, path, body, at, text);
}

#define ck_call(want, token, operation, path, body, at)                                            \
    do {                                                                                           \
        int got_ = call((token), (operation), (path), (body), (at));                               \
        ck_assert_msg(got_ == (want), "%s %s: %d \"%s\"", (operation), (path), got_, text);        \
    } while (0)

/* The text of the last answer, whole. */
static void keep(char *to, size_t room)
{
    ck_assert_uint_lt(strlen(text), room);
    memcpy(to, text, strlen(text) + 1);
}

static void make(const char *path)
{
    ck_call(200, NULL, "POST", path, "{\"custom_metadata\":{\"k\":\"v\"}}", "data.path");
}

static void token_of(const char *path, const char *body, char *to)
{
    ck_call(200, NULL, "POST", path, body, "auth.client_token");
    keep(to, 128);
}

/* Keys of the namespace in the store, all classes. */
static size_t keys_of(uint32_t ns)
{
    size_t count = 0;
    CF_OWNED(kv_iterator)
    iterator =
        kv_iterator_new(kv_now(b->kv), b->state, (struct kv_range){{NULL, 0}, {NULL, 0}, false});
    for (kv_seek_first(iterator); kv_valid(iterator); kv_next(iterator)) {
        struct key key;
        uint32_t generation;
        count += key_decode(kv_key(iterator), &key, &generation) && key.ns == ns;
    }
    return count;
}

START_TEST(made_shown_listed)
{
    set_up();
    ck_call(404, NULL, "LIST", "sys/namespaces", NULL, "errors");
    make("sys/namespaces/a");
    make("a/sys/namespaces/b");
    make("sys/namespaces/a-b");
    ck_call(200, NULL, "GET", "sys/namespaces/a", NULL, "data.custom_metadata.k");
    ck_assert_str_eq(text, "v");
    ck_call(200, NULL, "LIST", "sys/namespaces", NULL, "data.keys");
    ck_assert_str_eq(text, "[\"a-b/\",\"a/\"]");
    ck_call(200, NULL, "SCAN", "sys/namespaces", NULL, "data.keys");
    ck_assert_str_eq(text, "[\"a-b/\",\"a/\",\"a/b/\"]");
    ck_call(200, NULL, "LIST", "a/sys/namespaces", NULL, "data.keys");
    ck_assert_str_eq(text, "[\"b/\"]");
    ck_call(200, NULL, "GET", "a/sys/namespaces/b", NULL, "data.path");
    ck_assert_str_eq(text, "a/b/");
    ck_call(200, NULL, "PATCH", "sys/namespaces/a",
            "{\"custom_metadata\":{\"x\":\"y\",\"k\":null}}", "data.custom_metadata");
    ck_assert_str_eq(text, "{\"x\":\"y\"}");
    ck_call(200, NULL, "POST", "sys/namespaces/a", NULL, "data.custom_metadata");
    ck_assert_str_eq(text, "{}");
    ck_call(404, NULL, "GET", "sys/namespaces/none", NULL, "errors");
    ck_call(404, NULL, "PATCH", "sys/namespaces/none", "{\"custom_metadata\":null}", "errors.0");
}
END_TEST

START_TEST(names_that_are_refused)
{
    static const char *const bad[] = {"root", "sys", "audit", "auth", "cubbyhole", "identity",
                                      "a b",  "a/b", "a*",    "+",    "..",        "."};
    set_up();
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "sys/namespaces/%s", bad[i]);
        ck_call(400, NULL, "POST", path, NULL, "errors.0");
    }
    ck_call(400, NULL, "POST", "sys/namespaces/a", "{\"custom_metadata\":{\"k\":1}}", "errors.0");
    ck_call(400, NULL, "POST", "sys/namespaces/a", "{\"custom_metadata\":\"x\"}", "errors.0");
    ck_assert_uint_eq(keys_of(1), 0);
}
END_TEST

/* One log entry makes a namespace, with all that it begins with. */
START_TEST(one_entry)
{
    set_up();
    uint64_t before = b->applied;
    make("sys/namespaces/a");
    ck_assert_uint_eq(b->applied, before + 1);
    ck_call(200, NULL, "GET", "a/sys/mounts", NULL, "data.sys/.type");
    ck_assert_str_eq(text, "ns_system");
    ck_call(200, NULL, "GET", "a/sys/mounts", NULL, "data.identity/.type");
    ck_assert_str_eq(text, "ns_identity");
    ck_call(200, NULL, "GET", "a/sys/auth", NULL, "data.token/.type");
    ck_assert_str_eq(text, "ns_token");
    ck_call(200, NULL, "LIST", "a/sys/policies/acl", NULL, "data.keys");
    ck_assert_str_eq(text, "[\"default\"]");
}
END_TEST

START_TEST(mounts_and_names_do_not_hide_each_other)
{
    set_up();
    make("sys/namespaces/a");
    ck_call(400, NULL, "POST", "sys/mounts/a", "{\"type\":\"kv\"}", "errors.0");
    ck_call(400, NULL, "POST", "sys/mounts/a/x", "{\"type\":\"kv\"}", "errors.0");
    ck_call(204, NULL, "POST", "sys/mounts/m/n", "{\"type\":\"kv\"}", "errors.0");
    ck_call(400, NULL, "POST", "sys/namespaces/m", NULL, "errors.0");
    ck_call(400, NULL, "POST", "sys/remount", "{\"from\":\"a/x\",\"to\":\"a/y\"}", "errors.0");
    ck_assert_ptr_nonnull(strstr(text, "no matching mount at \"a/x/\""));
    ck_call(204, NULL, "POST", "sys/mounts/ab", "{\"type\":\"kv\"}", "errors.0");
    ck_call(204, NULL, "PUT", "ab/x", "{\"v\":\"1\"}", "errors.0");
    ck_call(200, NULL, "GET", "ab/x", NULL, "data.v");
}
END_TEST

START_TEST(mounts_belong_to_one)
{
    set_up();
    make("sys/namespaces/a");
    make("a/sys/namespaces/b");
    ck_call(204, NULL, "POST", "a/sys/mounts/kv", "{\"type\":\"kv\"}", "errors.0");
    ck_call(204, NULL, "POST", "a/b/sys/mounts/kv", "{\"type\":\"kv\"}", "errors.0");
    ck_call(204, NULL, "PUT", "a/kv/x", "{\"v\":\"a\"}", "errors.0");
    ck_call(204, NULL, "PUT", "a/b/kv/x", "{\"v\":\"b\"}", "errors.0");
    ck_call(200, NULL, "GET", "a/kv/x", NULL, "data.v");
    ck_assert_str_eq(text, "a");
    ck_call(200, NULL, "GET", "a/b/kv/x", NULL, "data.v");
    ck_assert_str_eq(text, "b");
    ck_call(404, NULL, "GET", "kv/x", NULL, "errors.0");
    ck_call(204, NULL, "DELETE", "a/sys/mounts/kv", NULL, "errors.0");
    ck_call(404, NULL, "GET", "a/kv/x", NULL, "errors.0");
    ck_call(200, NULL, "GET", "a/b/kv/x", NULL, "data.v");
}
END_TEST

START_TEST(some_paths_are_of_root)
{
    set_up();
    make("sys/namespaces/a");
    ck_call(400, NULL, "GET", "a/sys/audit", NULL, "errors.0");
    ck_assert_str_eq(text, "operation only available in root namespace");
    ck_call(400, NULL, "GET", "a/sys/key-status", NULL, "errors.0");
    ck_call(400, NULL, "POST", "a/sys/seal", NULL, "errors.0");
    ck_call(200, NULL, "GET", "a/sys/internal/ui/mounts", NULL, "data.secret.sys/.type");
}
END_TEST

START_TEST(tokens_carry_their_namespace)
{
    char own[128], accessor[128], id[32];
    set_up();
    make("sys/namespaces/a");
    make("sys/namespaces/z");
    make("a/sys/namespaces/b");
    ck_call(200, NULL, "GET", "sys/namespaces/a", NULL, "data.id");
    (void)snprintf(id, sizeof(id), ".%.20s", text);
    token_of("a/auth/token/create", "{\"policies\":[\"default\"]}", own);
    ck_assert_str_eq(own + strlen(own) - strlen(id), id);
    ck_call(200, own, "GET", "a/auth/token/lookup-self", NULL, "data.accessor");
    keep(accessor, sizeof(accessor));
    ck_assert_str_eq(accessor + strlen(accessor) - strlen(id), id);
    ck_call(200, own, "GET", "a/auth/token/lookup-self", NULL, "data.namespace_path");
    ck_assert_str_eq(text, "a/");
    ck_call(200, own, "GET", "a/auth/token/lookup-self", NULL, "data.policies");
    ck_assert_str_eq(text, "[\"default\"]");
    /* never upward, never aside */
    ck_call(403, own, "GET", "auth/token/lookup-self", NULL, "errors.0");
    ck_call(403, own, "GET", "z/auth/token/lookup-self", NULL, "errors.0");
    /* another id behind the same token is another token */
    char other[160];
    ck_call(200, NULL, "GET", "sys/namespaces/z", NULL, "data.id");
    (void)snprintf(other, sizeof(other), "%.*s.%.20s", (int)(strlen(own) - strlen(id)), own, text);
    ck_call(403, other, "GET", "z/auth/token/lookup-self", NULL, "errors.0");
    (void)snprintf(other, sizeof(other), "%.*s", (int)(strlen(own) - strlen(id)), own);
    ck_call(403, other, "GET", "auth/token/lookup-self", NULL, "errors.0");
    (void)snprintf(other, sizeof(other), "%s.root", b->root);
    ck_call(403, other, "GET", "auth/token/lookup-self", NULL, "errors.0");
    /* from above, only sudo, only what is asked for, never root */
    ck_call(400, NULL, "POST", "a/auth/token/create", "{\"policies\":[\"root\"]}", "errors.0");
    ck_call(400, NULL, "POST", "a/auth/token/create", "{\"id\":\"mine\"}", "errors.0");
    ck_call(200, NULL, "POST", "a/auth/token/create", NULL, "auth.policies");
    ck_assert_str_eq(text, "[\"default\"]");
}
END_TEST

START_TEST(policies_speak_below_their_namespace)
{
    char admin[128], mine[128];
    set_up();
    make("sys/namespaces/a");
    make("a/sys/namespaces/b");
    make("sys/namespaces/z");
    ck_call(204, NULL, "POST", "a/b/sys/mounts/kv", "{\"type\":\"kv\"}", "errors.0");
    ck_call(204, NULL, "POST", "z/sys/mounts/kv", "{\"type\":\"kv\"}", "errors.0");
    ck_call(204, NULL, "PUT", "a/b/kv/x", "{\"v\":\"1\"}", "errors.0");
    ck_call(204, NULL, "POST", "a/sys/policies/acl/p",
            "{\"policy\":\"path \\\"b/kv/*\\\" { capabilities = [\\\"read\\\", \\\"list\\\"] } "
            "path \\\"b/sys/capabilities-self\\\" { capabilities = [\\\"update\\\"] }\"}",
            "errors.0");
    token_of("a/auth/token/create", "{\"policies\":[\"p\"]}", mine);
    ck_call(200, mine, "GET", "a/b/kv/x", NULL, "data.v");
    ck_call(200, mine, "LIST", "a/b/kv", NULL, "data.keys");
    ck_call(403, mine, "PUT", "a/b/kv/x", "{\"v\":\"2\"}", "errors.0");
    ck_call(403, mine, "GET", "z/kv/x", NULL, "errors.0");
    ck_call(200, mine, "POST", "a/b/sys/capabilities-self", "{\"paths\":[\"kv/x\"]}",
            "data.capabilities");
    ck_assert_str_eq(text, "[\"list\",\"read\"]");
    /* the same name elsewhere is another policy, the cache included */
    ck_call(204, NULL, "POST", "z/sys/policies/acl/p",
            "{\"policy\":\"path \\\"kv/*\\\" { capabilities = [\\\"create\\\"] }\"}", "errors.0");
    token_of("z/auth/token/create", "{\"policies\":[\"p\"]}", admin);
    ck_call(204, admin, "PUT", "z/kv/x", "{\"v\":\"2\"}", "errors.0");
    ck_call(403, admin, "GET", "z/kv/x", NULL, "errors.0");
    ck_call(200, mine, "GET", "a/b/kv/x", NULL, "data.v");
    ck_call(404, NULL, "GET", "sys/policies/acl/p", NULL, "errors");
    /* of root: names the whole path */
    ck_call(204, NULL, "POST", "sys/policies/acl/r",
            "{\"policy\":\"path \\\"a/+/kv/*\\\" { capabilities = [\\\"read\\\"] }\"}", "errors.0");
    token_of("auth/token/create", "{\"policies\":[\"r\"]}", admin);
    ck_call(200, admin, "GET", "a/b/kv/x", NULL, "data.v");
    ck_call(403, admin, "GET", "z/kv/x", NULL, "errors.0");
}
END_TEST

/* A lease, a token or an accessor of one namespace is nothing that a sibling could act on, however
 * mighty its token is there. */
START_TEST(siblings_do_not_reach_each_other)
{
    char admin[128], victim[128], accessor[128], body[512], lease[256];
    static const char all[] =
        "{\"policy\":\"path \\\"*\\\" { capabilities = [\\\"create\\\", \\\"read\\\", "
        "\\\"update\\\", \\\"delete\\\", \\\"list\\\", \\\"sudo\\\"] }\"}";
    set_up();
    make("sys/namespaces/a");
    make("sys/namespaces/z");
    ck_call(204, NULL, "POST", "z/sys/policies/acl/all", all, "errors.0");
    token_of("z/auth/token/create", "{\"policies\":[\"all\"]}", admin);
    token_of("a/auth/token/create", "{\"policies\":[\"default\"]}", victim);
    ck_call(200, victim, "GET", "a/auth/token/lookup-self", NULL, "data.accessor");
    keep(accessor, sizeof(accessor));
    static const char *const by_token[] = {"lookup", "renew", "revoke", "revoke-orphan"};
    for (size_t i = 0; i < CF_LENGTH(by_token); i++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "z/auth/token/%s", by_token[i]);
        (void)snprintf(body, sizeof(body), "{\"token\":\"%s\"}", victim);
        (void)call(admin, "POST", path, body, "errors.0");
        ck_call(200, victim, "GET", "a/auth/token/lookup-self", NULL, "data.ttl");
    }
    (void)snprintf(body, sizeof(body), "{\"token\":\"%s\"}", victim);
    ck_call(403, admin, "POST", "z/auth/token/lookup", body, "errors.0");
    ck_call(403, admin, "POST", "z/auth/token/renew", body, "errors.0");
    ck_call(400, admin, "POST", "z/auth/token/revoke-orphan", body, "errors.0");
    (void)snprintf(body, sizeof(body), "{\"token\":\"%s\",\"paths\":[\"x\"]}", victim);
    ck_call(400, admin, "POST", "z/sys/capabilities", body, "errors.0");
    (void)snprintf(body, sizeof(body), "{\"accessor\":\"%s\",\"paths\":[\"x\"]}", accessor);
    ck_call(400, admin, "POST", "z/auth/token/lookup-accessor", body, "errors.0");
    ck_call(400, admin, "POST", "z/auth/token/renew-accessor", body, "errors.0");
    ck_call(200, admin, "POST", "z/auth/token/revoke-accessor", body, "warnings.0");
    ck_call(400, admin, "POST", "z/sys/capabilities-accessor", body, "errors.0");
    ck_call(200, NULL, "LIST", "a/sys/leases/lookup/auth/token/create", NULL, "data.keys.0");
    (void)snprintf(lease, sizeof(lease), "auth/token/create/%.200s", text);
    (void)snprintf(body, sizeof(body), "{\"lease_id\":\"%s\"}", lease);
    ck_call(400, admin, "POST", "z/sys/leases/lookup", body, "errors.0");
    ck_call(400, admin, "POST", "z/sys/leases/renew", body, "errors.0");
    ck_call(204, admin, "POST", "z/sys/leases/revoke", body, "errors.0");
    ck_call(204, admin, "POST", "z/sys/leases/revoke-prefix/auth/token", NULL, "errors.0");
    ck_call(200, victim, "GET", "a/auth/token/lookup-self", NULL, "data.ttl");
    ck_call(403, admin, "GET", "z/auth/token/lookup-self", NULL, "errors.0"); /* was below it */
    /* in its own namespace all of it works */
    ck_call(200, NULL, "POST", "a/sys/leases/lookup", body, "data.id");
    ck_assert_str_eq(text, lease);
    ck_call(204, NULL, "POST", "a/sys/leases/revoke", body, "errors.0");
    ck_call(403, victim, "GET", "a/auth/token/lookup-self", NULL, "errors.0");
}
END_TEST

/* The children of a token are its own wherever they live. */
START_TEST(trees_reach_down)
{
    char parent[128], child[128];
    set_up();
    make("sys/namespaces/a");
    token_of("auth/token/create", "{\"policies\":[\"root\"],\"ttl\":\"1h\"}", parent);
    ck_call(200, parent, "POST", "a/auth/token/create", "{}", "auth.client_token");
    keep(child, sizeof(child));
    ck_call(200, child, "GET", "a/auth/token/lookup-self", NULL, "data.ttl");
    ck_call(204, parent, "POST", "auth/token/revoke-self", NULL, "errors.0");
    ck_call(403, child, "GET", "a/auth/token/lookup-self", NULL, "errors.0");
}
END_TEST

START_TEST(cubbyholes_and_wrapping)
{
    char mine[128], wrapped[128], body[256];
    set_up();
    make("sys/namespaces/a");
    ck_call(204, NULL, "PUT", "cubbyhole/x", "{\"v\":\"root\"}", "errors.0");
    ck_call(404, NULL, "GET", "a/cubbyhole/x", NULL, "errors");
    ck_call(204, NULL, "PUT", "a/cubbyhole/x", "{\"v\":\"a\"}", "errors.0");
    ck_call(200, NULL, "GET", "cubbyhole/x", NULL, "data.v");
    ck_assert_str_eq(text, "root");
    token_of("a/auth/token/create", "{}", mine);
    ck_call(204, mine, "PUT", "a/cubbyhole/x", "{\"v\":\"own\"}", "errors.0");
    ck_call(200, NULL, "GET", "a/cubbyhole/x", NULL, "data.v");
    ck_assert_str_eq(text, "a");
    /* What was wrapped in one namespace opens from anywhere, once; its token does nothing else there. */
    b->wrap_ttl_s = 60;
    ck_call(200, NULL, "GET", "a/cubbyhole/x", NULL, "wrap_info.token");
    b->wrap_ttl_s = 0;
    keep(wrapped, sizeof(wrapped));
    (void)snprintf(body, sizeof(body), "{\"token\":\"%s\"}", wrapped);
    ck_call(200, "", "POST", "sys/wrapping/lookup", body, "data.creation_path");
    ck_assert_str_eq(text, "cubbyhole/x");
    ck_call(403, wrapped, "GET", "cubbyhole/x", NULL, "errors.0");
    ck_call(403, wrapped, "GET", "a/cubbyhole/x", NULL, "errors.0");
    ck_call(200, wrapped, "POST", "sys/wrapping/unwrap", NULL, "");
    ck_call(400, NULL, "POST", "a/sys/wrapping/unwrap", body, "errors.0");
}
END_TEST

START_TEST(a_lock_keeps_everybody_out)
{
    char key[64], body[128], mine[128];
    set_up();
    make("sys/namespaces/a");
    make("a/sys/namespaces/b");
    token_of("a/auth/token/create", "{}", mine);
    ck_call(400, NULL, "POST", "sys/namespaces/api-lock/lock", NULL, "errors.0");
    ck_call(200, NULL, "POST", "sys/namespaces/api-lock/lock/a", NULL, "data.unlock_key");
    keep(key, sizeof(key));
    ck_call(200, NULL, "GET", "sys/namespaces/a", NULL, "data.locked");
    ck_assert_str_eq(text, "true");
    ck_call(503, NULL, "GET", "a/sys/mounts", NULL, "errors.0");
    ck_call(503, NULL, "GET", "a/b/sys/mounts", NULL, "errors.0");
    ck_call(503, mine, "GET", "a/auth/token/lookup-self", NULL, "errors.0");
    ck_call(400, NULL, "POST", "sys/namespaces/api-lock/lock/a", NULL, "errors.0");
    ck_call(400, NULL, "POST", "sys/namespaces/api-lock/lock/a/b", NULL, "errors.0");
    ck_call(400, NULL, "POST", "sys/namespaces/api-lock/unlock/a", "{\"unlock_key\":\"x\"}",
            "errors.0");
    ck_assert_str_eq(text, "incorrect unlock key");
    (void)snprintf(body, sizeof(body), "{\"unlock_key\":\"%s\"}", key);
    ck_call(204, NULL, "POST", "sys/namespaces/api-lock/unlock/a", body, "errors.0");
    ck_call(200, NULL, "GET", "a/sys/mounts", NULL, "data.sys/.type");
    ck_call(400, NULL, "POST", "sys/namespaces/api-lock/unlock/a", body, "errors.0");
    ck_call(200, NULL, "POST", "sys/namespaces/api-lock/lock/a", NULL, "data.unlock_key");
    ck_call(200, NULL, "POST", "a/sys/namespaces/api-lock/unlock", "{}", "warnings.0");
    ck_call(200, mine, "GET", "a/auth/token/lookup-self", NULL, "data.ttl");
}
END_TEST

static void wait_gone(uint32_t ns)
{
    size_t left = SIZE_MAX;
    for (int i = 0; i < 3000 && left != 0; i++) {
        pthread_mutex_lock(&b->lock);
        left = keys_of(ns);
        pthread_mutex_unlock(&b->lock);
        struct timespec pause = {0, 10 * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    ck_assert_uint_eq(left, 0);
}

START_TEST(deleting)
{
    char mine[128], outside[128];
    set_up();
    make("sys/namespaces/a");
    make("a/sys/namespaces/b");
    token_of("auth/token/create", "{}", outside);
    ck_call(204, NULL, "POST", "a/b/sys/mounts/kv", "{\"type\":\"kv\"}", "errors.0");
    ck_call(204, NULL, "PUT", "a/b/kv/x", "{\"v\":\"1\"}", "errors.0");
    for (int i = 0; i < 300; i++) { /* more than a round takes */
        token_of("a/b/auth/token/create", "{}", mine);
    }
    ck_call(400, NULL, "DELETE", "sys/namespaces/a", NULL, "errors.0");
    ck_call(200, NULL, "DELETE", "a/sys/namespaces/b", NULL, "data.status");
    ck_assert_str_eq(text, "in-progress");
    /* at once: nobody gets in */
    ck_call(404, NULL, "GET", "a/b/kv/x", NULL, "errors.0");
    ck_assert_str_eq(text, "namespace not found");
    ck_call(404, mine, "GET", "a/b/auth/token/lookup-self", NULL, "errors.0");
    ck_call(200, NULL, "GET", "a/sys/namespaces/b", NULL, "data.tainted");
    ck_assert_str_eq(text, "true");
    ck_call(400, NULL, "POST", "a/sys/namespaces/b", NULL, "errors.0");
    ck_assert_uint_ne(keys_of(2), 0);
    core_background_start(b->core);
    wait_gone(2);
    core_background_stop(b->core);
    ck_call(404, NULL, "GET", "a/sys/namespaces/b", NULL, "errors");
    ck_call(200, NULL, "DELETE", "a/sys/namespaces/b", NULL, "warnings.0");
    ck_call(200, outside, "GET", "auth/token/lookup-self", NULL, "data.ttl");
    /* a new one of that name is empty, and has another number */
    make("a/sys/namespaces/b");
    ck_assert_uint_eq(keys_of(2), 0);
    ck_assert_uint_ne(keys_of(3), 0);
    ck_call(404, NULL, "GET", "a/b/kv/x", NULL, "errors.0");
    ck_call(403, mine, "GET", "a/b/auth/token/lookup-self", NULL, "errors.0");
}
END_TEST

/* ---- moving a mount to another namespace ---- */

static void wait_moved(const char *id, const char *want)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "sys/remount/status/%s", id);
    for (int i = 0; i < 3000; i++) {
        ck_call(200, NULL, "GET", path, NULL, "data.migration_info.status");
        if (strcmp(text, "in-progress") != 0) {
            break;
        }
        struct timespec pause = {0, 10 * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    ck_assert_str_eq(text, want);
}

static void move(const char *body, char *id)
{
    ck_call(200, NULL, "POST", "sys/remount", body, "data.migration_id");
    keep(id, 64);
}

static uint64_t biggest_entry(uint64_t from)
{
    uint64_t biggest = 0;
    for (uint64_t i = from; i <= b->appended; i++) {
        biggest = cf_max(biggest, (uint64_t)b->log[i].size);
    }
    return biggest;
}

/* With its data, uuid and accessor; in bounded entries; back again. */
START_TEST(a_mount_moves_between_namespaces)
{
    char id[64], accessor[128], path[128], body[2400];
    set_up();
    make("sys/namespaces/a");
    make("sys/namespaces/b");
    ck_call(204, NULL, "POST", "a/sys/mounts/kv", "{\"type\":\"kv\",\"options\":{\"version\":\"2\"}}", "errors.0");
    ck_call(200, NULL, "GET", "a/sys/mounts/kv", NULL, "data.accessor");
    keep(accessor, sizeof(accessor));
    char fill[2001];
    memset(fill, 'x', 2000);
    fill[2000] = '\0';
    for (int i = 0; i < 400; i++) {
        (void)snprintf(path, sizeof(path), "a/kv/data/k%d", i);
        (void)snprintf(body, sizeof(body), "{\"data\":{\"v\":\"%d\",\"fill\":\"%s\"}}", i, fill);
        ck_call(200, NULL, "POST", path, body, "errors.0");
    }
    size_t keys_before = keys_of(1);
    uint64_t first = b->appended + 1;
    move("{\"from\":\"a/kv\",\"to\":\"b/there/kv\"}", id);
    ck_call(503, NULL, "GET", "a/kv/data/k1", NULL, "errors.0");
    ck_call(503, NULL, "POST", "b/there/kv/data/k1", "{\"data\":{\"v\":\"2\"}}", "errors.0");
    ck_call(400, NULL, "DELETE", "a/sys/mounts/kv", NULL, "errors.0");
    ck_call(400, NULL, "POST", "a/sys/mounts/kv/tune", "{\"description\":\"d\"}", "errors.0");
    ck_call(400, NULL, "DELETE", "b/sys/mounts/there/kv", NULL, "errors.0");
    ck_call(400, NULL, "DELETE", "sys/namespaces/a", NULL, "errors.0");
    ck_call(400, NULL, "DELETE", "sys/namespaces/b", NULL, "errors.0");
    ck_call(400, NULL, "POST", "sys/remount", "{\"from\":\"a/kv\",\"to\":\"kv\"}", "errors.0");
    ck_call(400, NULL, "POST", "b/sys/mounts/there", "{\"type\":\"kv\"}", "errors.0");
    core_background_start(b->core);
    wait_moved(id, "success");
    core_background_stop(b->core);
    ck_assert_uint_lt(biggest_entry(first), 1200 * 1024);
    ck_assert_uint_ge(b->appended - first, 3); /* it took several */
    ck_assert_uint_le(keys_of(1), keys_before - 400);
    ck_call(404, NULL, "GET", "a/kv/data/k1", NULL, "errors.0");
    for (int i = 0; i < 400; i++) {
        char want[16];
        (void)snprintf(path, sizeof(path), "b/there/kv/data/k%d", i);
        (void)snprintf(want, sizeof(want), "%d", i);
        ck_call(200, NULL, "GET", path, NULL, "data.data.v");
        ck_assert_str_eq(text, want);
    }
    ck_call(200, NULL, "GET", "b/sys/mounts/there/kv", NULL, "data.accessor");
    ck_assert_str_eq(text, accessor);
    (void)snprintf(path, sizeof(path), "sys/remount/status/%s", id);
    ck_call(200, NULL, "GET", path, NULL, "data.migration_info.source_mount");
    ck_assert_str_eq(text, "a/kv/");
    ck_call(200, NULL, "GET", path, NULL, "data.migration_info.target_mount");
    ck_assert_str_eq(text, "b/there/kv/");
    move("{\"from\":\"b/there/kv\",\"to\":\"kv\"}", id);
    core_background_start(b->core);
    wait_moved(id, "success");
    core_background_stop(b->core);
    ck_call(200, NULL, "GET", "kv/data/k399", NULL, "data.data.v");
    ck_assert_str_eq(text, "399");
    ck_call(200, NULL, "DELETE", "sys/namespaces/b", NULL, "data.status");
    ck_call(204, NULL, "DELETE", "sys/mounts/kv", NULL, "errors.0");
}
END_TEST

/* Another node goes on where the one before stopped, after any number of its entries: each round is made by a core
 * that is new to the matter. */
START_TEST(a_move_goes_on_after_any_entry)
{
    char id[64], path[128];
    set_up();
    make("sys/namespaces/a");
    ck_call(204, NULL, "POST", "sys/mounts/kv", "{\"type\":\"kv\"}", "errors.0");
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(path, sizeof(path), "kv/k%d", i);
        ck_call(204, NULL, "PUT", path, "{\"v\":\"1\"}", "errors.0");
    }
    move("{\"from\":\"kv\",\"to\":\"a/kv\"}", id);
    unsigned stops = 0;
    (void)snprintf(path, sizeof(path), "sys/remount/status/%s", id);
    for (;; stops++) {
        ck_call(200, NULL, "GET", path, NULL, "data.migration_info.status");
        if (strcmp(text, "in-progress") != 0) {
            break;
        }
        ck_assert_uint_lt(stops, 100);
        ck_call(503, NULL, "GET", "kv/k1", NULL, "errors.0");
        ck_call(503, NULL, "GET", "a/kv/k1", NULL, "errors.0");
        struct view *view = core_view(b->core);
        CF_OWNED(arena) arena = arena_new(4096);
        struct txn *txn = txn_new(arena, view);
        bool more;
        ck_assert_int_eq(mount_move_round(txn, arena, &more, NULL), CF_OK);
        ck_assert(more && txn_has_writes(txn));
        CF_BUF(payload) = {0};
        ck_assert_int_eq(txn_encode(txn, &payload, NULL), CF_OK);
        ck_assert_int_eq(bench_payload(b, cf_buf_slice(&payload), NULL), CF_OK);
        txn_release(txn);
        view_unref(view);
    }
    ck_assert_str_eq(text, "success");
    ck_assert_uint_gt(stops, 3);
    ck_call(200, NULL, "LIST", "a/kv", NULL, "data.keys.999");
    ck_assert_str_eq(text, "k999");
    ck_call(404, NULL, "GET", "kv/k1", NULL, "errors.0");
}
END_TEST

/* Tokens of the method end; the method works on in its new place, quotas go with it. */
START_TEST(an_auth_method_moves)
{
    char id[64], token[128];
    set_up();
    make("sys/namespaces/a");
    ck_call(204, NULL, "POST", "sys/auth/people", "{\"type\":\"userpass\"}", "errors.0");
    ck_call(204, NULL, "POST", "auth/people/users/amy", "{\"password\":\"pw\"}", "errors.0");
    ck_call(204, NULL, "POST", "sys/quotas/rate-limit/q", "{\"path\":\"auth/people\",\"rate\":1000}", "errors.0");
    ck_call(200, "", "POST", "auth/people/login/amy", "{\"password\":\"pw\"}", "auth.client_token");
    keep(token, sizeof(token));
    ck_call(400, NULL, "POST", "sys/remount", "{\"from\":\"auth/people\",\"to\":\"a/people\"}", "errors.0");
    ck_call(400, NULL, "POST", "sys/remount", "{\"from\":\"auth/people\",\"to\":\"a/auth/token\"}", "errors.0");
    ck_call(400, NULL, "POST", "sys/remount", "{\"from\":\"auth/token\",\"to\":\"a/auth/people\"}", "errors.0");
    move("{\"from\":\"auth/people\",\"to\":\"a/auth/people\"}", id);
    ck_call(503, "", "POST", "auth/people/login/amy", "{\"password\":\"pw\"}", "errors.0");
    ck_call(403, token, "GET", "auth/token/lookup-self", NULL, "errors.0");
    core_background_start(b->core);
    wait_moved(id, "success");
    core_background_stop(b->core);
    ck_call(403, token, "GET", "auth/token/lookup-self", NULL, "errors.0");
    ck_call(200, "", "POST", "a/auth/people/login/amy", "{\"password\":\"pw\"}", "auth.client_token");
    ck_call(200, NULL, "GET", "sys/quotas/rate-limit/q", NULL, "data.path");
    ck_assert_str_eq(text, "a/auth/people/");
}
END_TEST

/* What the caller needs in both namespaces. */
START_TEST(a_move_is_allowed_in_both)
{
    static const char *const rules[] = {
        "path \\\"sys/remount\\\" { capabilities = [\\\"update\\\",\\\"sudo\\\"] }",
        "path \\\"a/sys/remount\\\" { capabilities = [\\\"update\\\",\\\"sudo\\\"] }",
        "path \\\"b/sys/remount\\\" { capabilities = [\\\"update\\\"] }",
        "path \\\"b/sys/remount\\\" { capabilities = [\\\"update\\\",\\\"sudo\\\"] }",
    };
    static const unsigned sets[] = {1, 1 | 2, 1 | 8, 2 | 8, 1 | 2 | 4, 1 | 2 | 8};
    char token[128], body[1024];
    set_up();
    make("sys/namespaces/a");
    make("sys/namespaces/b");
    ck_call(204, NULL, "POST", "a/sys/mounts/kv", "{\"type\":\"kv\"}", "errors.0");
    token_of("auth/token/create", "{\"policies\":[\"mover\"]}", token);
    for (size_t i = 0; i < CF_LENGTH(sets); i++) {
        size_t at = (size_t)snprintf(body, sizeof(body), "{\"policy\":\"");
        for (unsigned k = 0; k < CF_LENGTH(rules); k++) {
            at += (size_t)snprintf(body + at, sizeof(body) - at, "%s ", sets[i] & 1u << k ? rules[k] : "");
        }
        (void)snprintf(body + at, sizeof(body) - at, "\"}");
        ck_call(204, NULL, "POST", "sys/policies/acl/mover", body, "errors.0");
        bool is_last = i + 1 == CF_LENGTH(sets);
        ck_call(is_last ? 200 : 403, token, "POST", "sys/remount", "{\"from\":\"a/kv\",\"to\":\"b/kv\"}", "errors.0");
    }
}
END_TEST

/* Whoever was let in before the move began writes nothing below it. */
START_TEST(no_write_lands_below_a_mount_that_left)
{
    char id[64];
    set_up();
    make("sys/namespaces/a");
    ck_call(204, NULL, "POST", "sys/mounts/kv", "{\"type\":\"kv\"}", "errors.0");
    b->holds = true;
    CF_OWNED(call) late = bench_start(b, NULL, "PUT", "kv/late", "{\"v\":\"1\"}");
    bench_wait_held(b, 1);
    struct proposal *held = b->held[0];
    b->held_count = 0;
    b->holds = false;
    move("{\"from\":\"kv\",\"to\":\"a/kv\"}", id);
    b->held[0] = held;
    b->held_count = 1;
    bench_release(b, 0);
    call_wait(late);
    ck_assert_int_eq(late->status, 503);
    ck_assert_uint_eq(b->conflicts, 1);
}
END_TEST

/* The mounts of a namespace are read again only when they change. */
START_TEST(tables_are_kept)
{
    set_up();
    make("sys/namespaces/a");
    make("sys/namespaces/z");
    struct view *before = core_view(b->core);
    ck_call(204, NULL, "POST", "z/sys/mounts/kv", "{\"type\":\"kv\"}", "errors.0");
    struct view *after = core_view(b->core);
    ck_assert_ptr_eq(namespace_by_number(before->namespaces, 1)->mounts,
                     namespace_by_number(after->namespaces, 1)->mounts);
    ck_assert_ptr_ne(namespace_by_number(before->namespaces, 2)->mounts,
                     namespace_by_number(after->namespaces, 2)->mounts);
    ck_assert_ptr_eq(before->mounts, after->mounts);
    view_unref(before);
    view_unref(after);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {made_shown_listed,
                                  names_that_are_refused,
                                  one_entry,
                                  mounts_and_names_do_not_hide_each_other,
                                  mounts_belong_to_one,
                                  some_paths_are_of_root,
                                  tokens_carry_their_namespace,
                                  policies_speak_below_their_namespace,
                                  siblings_do_not_reach_each_other,
                                  trees_reach_down,
                                  cubbyholes_and_wrapping,
                                  a_lock_keeps_everybody_out,
                                  deleting,
                                  tables_are_kept,
                                  a_mount_moves_between_namespaces,
                                  a_move_goes_on_after_any_entry,
                                  an_auth_method_moves,
                                  a_move_is_allowed_in_both,
                                  no_write_lands_below_a_mount_that_left};
    int status = test_run("node/core/namespaces", tests, sizeof(tests) / sizeof(tests[0]));
    bench_free(b);
    return status;
}

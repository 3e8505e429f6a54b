/* tests/unit/node/core/test_login_groups.c: external groups: a method that knows which groups a login is in moves its
 * entity in and out of them with each login; a method that knows of none leaves them alone. */
#include "bench.h"
#include "node/base/memory.h"
#include "node/core/mount.h"
#include "node/server/registry.h"
#include "tests/lib/test.h"

/* A method that lets everybody in, with the groups that the body names. */
static cf_status log_in(struct request *rq, struct cf_error *err)
{
    struct auth_result *auth = arena_new_object(rq->arena, struct auth_result);
    struct cf_slice *groups;
    auth->display_name = auth->alias_name = rq->captures[0];
    auth->has_groups = request_field(rq, "groups") != NULL;
    CF_TRY(request_list(rq, "groups", true, &groups, &auth->group_count, err));
    auth->groups = groups;
    rq->response.auth = auth;
    return CF_OK;
}

static const struct route routes[] = {
    {.pattern = "login/:name", .write = log_in, .flags = ROUTE_OPEN | ROUTE_LOGIN, .help = "Lets everybody in."},
    ROUTE_END,
};
static const struct engine_ops directory = {.type = "directory", .kind = ENGINE_AUTH, .help = "Groups.", .routes = routes};

static struct bench *b;
static char text[512];

static void must(int want, const char *token, const char *operation, const char *path, const char *body,
                 const char *dotted)
{
    int status = bench_call(b, token, operation, path, body, dotted, text);
    ck_assert_msg(status == want, "%s %s: %d \"%s\"", operation, path, status, text);
}

static void set_up(void)
{
    static const struct engine_ops *engines[64];
    char body[256];
    size_t count = 0;
    for (; registry_engines[count] != NULL; count++) {
        engines[count] = registry_engines[count];
    }
    engines[count] = &directory;
    bench_engines = engines;
    b = bench_new();
    must(204, NULL, "POST", "sys/auth/dir", "{\"type\":\"directory\"}", "errors.0");
    must(204, NULL, "POST", "sys/policies/acl/staff",
         "{\"policy\":\"path \\\"sys/mounts\\\" { capabilities = [\\\"read\\\"] }\"}", "errors.0");
    must(200, NULL, "POST", "identity/group", "{\"name\":\"staff\",\"type\":\"external\",\"policies\":[\"staff\"]}",
         "data.id");
    char group[64];
    snprintf(group, sizeof(group), "%.60s", text);
    must(200, NULL, "GET", "sys/auth/dir", NULL, "data.accessor");
    snprintf(body, sizeof(body), "{\"name\":\"Staff\",\"mount_accessor\":\"%.60s\",\"canonical_id\":\"%s\"}", text, group);
    must(200, NULL, "POST", "identity/group-alias", body, "errors.0");
}

static void ck_members(const char *want)
{
    must(200, NULL, "GET", "identity/group/name/staff", NULL, "data.member_entity_ids");
    ck_assert_str_eq(text, want);
}

START_TEST(logins_move_in_and_out)
{
    char token[64], entity[96], members[128];
    set_up();
    CF_OWNED(call) first = bench_start(b, "", "POST", "auth/dir/login/ann", "{\"groups\":\"staff,unknown\"}");
    call_wait(first);
    ck_assert_int_eq(first->status, 200);
    snprintf(token, sizeof(token), "%.60s", call_at(first, "auth.client_token"));
    snprintf(entity, sizeof(entity), "%.60s", call_at(first, "auth.entity_id"));
    snprintf(members, sizeof(members), "[\"%s\"]", entity);
    ck_members(members);
    must(200, token, "GET", "sys/mounts", NULL, "errors.0");
    must(200, "", "POST", "auth/dir/login/ann", "{\"groups\":\"staff\"}", "auth.identity_policies");
    ck_assert_str_eq(text, "[\"staff\"]");
    uint64_t before = b->appended;
    must(200, "", "POST", "auth/dir/login/bob", "{\"groups\":[]}", "auth.identity_policies");
    ck_assert_str_eq(text, "");
    ck_assert_uint_eq(b->appended, before + 1); /* entity, membership and token in one entry */
    ck_members(members);
    must(200, "", "POST", "auth/dir/login/ann", "{}", "auth.entity_id"); /* knows of none: nothing changes */
    ck_assert_str_eq(text, entity);
    ck_members(members);
    must(200, "", "POST", "auth/dir/login/ann", "{\"groups\":[]}", "auth.entity_id");
    ck_members("[]");
    must(403, token, "GET", "sys/mounts", NULL, "errors.0"); /* of tokens made before, too */
    must(200, "", "POST", "auth/dir/login/ann", "{\"groups\":[\"STAFF\"]}", "auth.entity_id");
    ck_members(members);
    must(200, token, "GET", "sys/mounts", NULL, "errors.0");
    bench_free(b);
}
END_TEST

/* Nobody puts members into a group that its method keeps. */
START_TEST(an_external_group_is_its_methods)
{
    set_up();
    must(200, "", "POST", "auth/dir/login/ann", "{}", "auth.entity_id");
    char body[160];
    snprintf(body, sizeof(body), "{\"member_entity_ids\":[\"%.60s\"]}", text);
    must(400, NULL, "POST", "identity/group/name/staff", body, "errors.0");
    ck_members("[]");
    bench_free(b);
}
END_TEST

TEST_MAIN("node/core/login groups", logins_move_in_and_out, an_external_group_is_its_methods)

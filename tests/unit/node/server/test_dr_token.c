/* tests/unit/node/server/test_dr_token.c: what authorises a call on a DR secondary. */
#include "node/base/memory.h"
#include "node/server/dr_token.h"
#include "repl_world.h"

#define DISABLE "sys/replication/dr/secondary/disable"
#define DELETE "sys/replication/dr/secondary/operation-token/delete"

static char operation_token[64];

static cf_status become_secondary(struct request *rq, struct cf_error *err)
{
    struct cf_slice text;
    struct set_link link = {.set_id = CF_SLICE("0f8e3c52-0000-4000-8000-000000000001"),
                            .secondary_id = CF_SLICE("b"),
                            .state = CF_SLICE("secondary")};
    set_write_link(rq, SET_DR, &link);
    set_write_role(rq, ROLE_DR_SECONDARY, &rq->view->line);
    CF_TRY(dr_token_create(rq, &text, err));
    snprintf(operation_token, sizeof(operation_token), "%.*s", CF_SHOW(text));
    return CF_OK;
}

static const char *with_token(const char *text)
{
    static char body[8192];
    snprintf(body, sizeof(body), "{\"dr_operation_token\":\"%s\"}", text);
    return body;
}

static const char *make_token(const char *fields)
{
    static char token[4096];
    char body[512];
    snprintf(body, sizeof(body), "{\"policies\":[\"failover\"],%s}", fields);
    ck_post(200, "auth/token/create", body);
    snprintf(token, sizeof(token), "%s", fixture_at(world, "auth.client_token"));
    return token;
}

static char batch[4096], service[4096], child[4096];

static void set_up(const char *policy)
{
    char body[1024];
    world_begin();
    snprintf(body, sizeof(body), "{\"policy\":\"%s\"}", policy);
    ck_post(204, "sys/policies/acl/failover", body);
    snprintf(batch, sizeof(batch), "%s", make_token("\"type\":\"batch\",\"ttl\":\"1h\",\"no_parent\":true"));
    snprintf(service, sizeof(service), "%s", make_token("\"ttl\":\"1h\",\"no_parent\":true"));
    ck_assert_int_eq(fixture_call(world, NULL, "POST", "auth/token/create",
                                  "{\"type\":\"batch\",\"ttl\":\"1h\",\"policies\":[\"failover\"]}", NULL),
                     200);
    snprintf(child, sizeof(child), "%s", fixture_at(world, "auth.client_token"));
    ck_run(become_secondary);
}

#define ALLOWS "path \\\"" DISABLE "\\\" { capabilities = [\\\"update\\\"] }"

#define ck_denied(text, path, body)                                                                \
    do {                                                                                           \
        ck_post(403, path, body);                                                                  \
        ck_assert_msg(fixture_error_has(world, (text)), "%s", fixture_at(world, "errors.0"));      \
    } while (0)

/* Its policy names one path: that call, and no other. */
START_TEST(batch_tokens_are_bound_to_paths)
{
    set_up(ALLOWS);
    ck_denied("policies of this batch token say nothing of", DELETE, with_token(batch));
    ck_assert_int_eq(world_role(), ROLE_DR_SECONDARY);
    ck_post(200, DISABLE, with_token(batch));
    ck_assert_int_eq(world_role(), ROLE_ALONE_OR_PRIMARY);
    world_end();
}
END_TEST

START_TEST(only_orphan_batch_tokens)
{
    set_up(ALLOWS);
    ck_denied("orphan batch token", DISABLE, with_token(service));
    ck_denied("orphan batch token", DISABLE, with_token(fixture_root(world)));
    ck_denied("unknown", DISABLE, with_token("hvb.nonsense"));
    ck_denied("needs dr_operation_token in the body", DISABLE, "{}");
    ck_assert_int_eq(world_role(), ROLE_DR_SECONDARY);
    world_end();
}
END_TEST

START_TEST(batch_tokens_end)
{
    set_up(ALLOWS);
    fixture_advance(world, 3601);
    ck_denied("its time is up", DISABLE, with_token(batch));
    ck_assert_int_eq(world_role(), ROLE_DR_SECONDARY);
    world_end();
}
END_TEST

/* The ceremony's token has no end but its deletion, and means nothing on any other path. */
START_TEST(lives_until_it_is_deleted)
{
    set_up(ALLOWS);
    fixture_advance(world, (int64_t)10 * 365 * 86400);
    ck_assert_int_eq(fixture_call(world, operation_token, "GET", "sys/mounts", NULL, NULL), 400);
    ck_assert(fixture_error_has(world, "path disabled in replication DR secondary mode"));
    ck_post(204, DELETE, with_token(operation_token));
    ck_denied("was deleted", DISABLE, with_token(operation_token));
    world_end();
}
END_TEST

/* Whatever token comes with it: all that is not on the list of open calls is refused alike. */
START_TEST(all_else_is_refused)
{
    static const char *const closed[] = {
        "secret/data/a", "sys/mounts", "auth/token/lookup-self", "sys/policies/acl/x", "sys/audit",
        "sys/replication/performance/primary/enable", "sys/replication/performance/secondary/enable",
        "sys/replication/performance/secondary/disable", "sys/replication/performance/secondary/promote",
        "sys/replication/performance/secondary/update-primary", "sys/replication/dr/primary/enable",
        "sys/replication/dr/primary/secondary-token", "sys/replication/dr/primary/revoke-secondary",
        "sys/replication/dr/primary/disable", "sys/replication/dr/primary/demote",
        "sys/replication/dr/primary/redeem", "sys/replication/primary/enable",
        "sys/replication/secondary/disable",
    };
    set_up(ALLOWS);
    for (size_t i = 0; i < CF_LENGTH(closed); i++) {
        for (int k = 0; k < 3; k++) {
            const char *token = k == 0 ? "" : k == 1 ? fixture_root(world) : service;
            int status = fixture_call(world, token, "POST", closed[i], "{}", NULL);
            ck_assert_msg(status == 400, "%s: %d", closed[i], status);
            ck_assert_msg(fixture_error_has(world, "path disabled in replication DR secondary mode"),
                          "%s: %s", closed[i], fixture_at(world, "errors.0"));
        }
    }
    world_end();
}
END_TEST

static cf_status become_another_line(struct request *rq, struct cf_error *err)
{
    struct line_id line = {{9, 9, 9}};
    (void)err;
    set_write_role(rq, ROLE_ALONE_OR_PRIMARY, &line);
    return CF_OK;
}

/* Of the clusters of a set each knows an orphan; one with a parent is known where its parent lives. */
START_TEST(orphans_are_good_in_the_whole_set)
{
    set_up(ALLOWS);
    ck_post(200, DISABLE, with_token(operation_token));
    ck_assert_int_eq(fixture_call(world, batch, "GET", "auth/token/lookup-self", NULL, NULL), 200);
    ck_assert_int_eq(fixture_call(world, child, "GET", "auth/token/lookup-self", NULL, NULL), 200);
    ck_run(become_another_line); /* as a performance secondary sees it, with the same keyring */
    ck_assert_int_eq(fixture_call(world, batch, "GET", "auth/token/lookup-self", NULL, NULL), 200);
    ck_assert_int_eq(fixture_call(world, child, "GET", "auth/token/lookup-self", NULL, NULL), 403);
    world_end();
}
END_TEST

START_TEST(open_calls)
{
    set_up(ALLOWS);
    ck_assert_int_eq(fixture_call(world, "", "GET", "sys/replication/dr/secondary/license/status", NULL,
                                  NULL), 200);
    ck_post(200, "sys/replication/dr/secondary/config/reload/license", with_token(operation_token));
    ck_refused("unknown subsystem", "sys/replication/dr/secondary/config/reload/x",
               with_token(operation_token));
    ck_denied("permission denied", "sys/replication/dr/secondary/generate-public-key", "{}");
    ck_post(200, "sys/replication/dr/secondary/generate-public-key", with_token(operation_token));
    world_end();
}
END_TEST

TEST_MAIN("node/server/dr_token", batch_tokens_are_bound_to_paths, only_orphan_batch_tokens,
          batch_tokens_end, lives_until_it_is_deleted, all_else_is_refused,
          orphans_are_good_in_the_whole_set, open_calls)

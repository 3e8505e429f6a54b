/* tests/unit/node/core/test_grant.c: what a login's token is made of, to a performance secondary and back. */
#include "node/base/arena.h"
#include "node/base/memory.h"
#include "node/core/grant.h"
#include "tests/lib/test.h"

static struct arena *arena;

static struct auth_result *round_trip(const struct auth_result *auth)
{
    CF_BUF(body) = {0};
    struct json *answer = json_object_new(arena), *data = json_object_new(arena);
    struct auth_result *ret;
    json_set(arena, data, "grant", grant_of(arena, auth));
    json_set(arena, answer, "data", data);
    json_write(&body, answer);
    struct json *grant = grant_in(arena, arena_copy(arena, cf_buf_slice(&body)));
    ck_ok(grant_read(arena, grant, &ret, NULL));
    return ret;
}

static void ck_list(const struct cf_slice *got, size_t got_count, const struct cf_slice *want, size_t count)
{
    ck_assert_uint_eq(got_count, count);
    for (size_t i = 0; i < count; i++) {
        ck_assert(cf_slice_eq(got[i], want[i]));
    }
}

START_TEST(every_part_arrives)
{
    arena = arena_new(4096);
    struct cf_slice policies[] = {CF_SLICE("p"), CF_SLICE("q")}, groups[] = {CF_SLICE("g")},
                    cidrs[] = {CF_SLICE("10.0.0.0/8")};
    struct auth_result auth = {.display_name = CF_SLICE("a-\"b\""),
                               .policies = policies,
                               .policy_count = 2,
                               .metadata = json_object_new(arena),
                               .alias_name = CF_SLICE("alias"),
                               .role = CF_SLICE("web"),
                               .has_groups = true,
                               .groups = groups,
                               .group_count = 1,
                               .internal = json_object_new(arena),
                               .ttl_s = 1,
                               .max_ttl_s = 2,
                               .explicit_max_ttl_s = 3,
                               .period_s = 4,
                               .num_uses = 5,
                               .bound_cidrs = cidrs,
                               .bound_cidr_count = 1,
                               .no_default_policy = true,
                               .not_renewable = true,
                               .is_batch = true};
    json_set_text(arena, auth.metadata, "m", "1");
    json_set_text(arena, auth.internal, "role_name", "r");
    struct auth_result *got = round_trip(&auth);
    ck_slice(got->display_name, "a-\"b\"");
    ck_slice(got->alias_name, "alias");
    ck_slice(got->role, "web");
    ck_list(got->policies, got->policy_count, policies, 2);
    ck_list(got->groups, got->group_count, groups, 1);
    ck_list(got->bound_cidrs, got->bound_cidr_count, cidrs, 1);
    ck_assert(json_equal(got->metadata, auth.metadata) && json_equal(got->internal, auth.internal));
    ck_assert(got->ttl_s == 1 && got->max_ttl_s == 2 && got->explicit_max_ttl_s == 3 && got->period_s == 4);
    ck_assert(got->num_uses == 5 && got->has_groups && got->no_default_policy && got->not_renewable && got->is_batch);
    struct auth_result bare = {0};
    got = round_trip(&bare);
    ck_assert(got->metadata == NULL && got->internal == NULL && got->policy_count == 0 && !got->is_batch);
    arena_free(arena);
}
END_TEST

/* Whatever a primary of another kind answers: no token is made of it. */
START_TEST(what_is_none_is_refused)
{
    arena = arena_new(4096);
    static const char *const bodies[] = {
        "", "no JSON", "{}", "{\"data\":null}", "{\"data\":{\"grant\":[]}}", "{\"data\":{\"grant\":{}}}",
        "{\"auth\":{\"client_token\":\"s.x\"}}",
        "{\"data\":{\"grant\":{\"display_name\":\"d\",\"policies\":[\"root\"]}}}"};
    for (size_t i = 0; i < CF_LENGTH(bodies); i++) {
        struct auth_result *auth;
        struct json *grant = grant_in(arena, arena_copy(arena, cf_slice_str(bodies[i])));
        ck_status(grant_read(arena, grant, &auth, NULL), CF_CORRUPT);
    }
    /* Each member is asked for, and its type. */
    struct auth_result bare = {0};
    struct json *whole = grant_of(arena, &bare);
    for (size_t i = 0; i < json_count(whole); i++) {
        struct auth_result *auth;
        struct json *less = json_object_new(arena);
        for (size_t k = 0; k < json_count(whole); k++) {
            json_object_set(arena, less, whole->members[k].key,
                            k == i ? json_from_string(arena, CF_SLICE("7 kinds")) : whole->members[k].value);
        }
        bool is_text = cf_slice_is(whole->members[i].key, "display_name") || cf_slice_is(whole->members[i].key, "alias") ||
                       cf_slice_is(whole->members[i].key, "role");
        ck_status(grant_read(arena, less, &auth, NULL), is_text ? CF_OK : CF_CORRUPT);
    }
    arena_free(arena);
}
END_TEST

TEST_MAIN("node/core/grant", every_part_arrives, what_is_none_is_refused)

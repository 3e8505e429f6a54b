/* tests/unit/node/server/test_secondary_token.c: tokens that are sealed to a public key, repeated calls, the
 * registry, old paths. */
#include "node/base/memory.h"
#include "node/crypto/box.h"
#include "node/format/encode.h"
#include "node/server/replication/package.h"
#include "repl_world.h"

#define P "sys/replication/performance/"

static const char *get(const char *dotted)
{
    static char text[8192];
    snprintf(text, sizeof(text), "%s", fixture_at(world, dotted));
    return text;
}

START_TEST(sealed_to_a_public_key)
{
    CF_OWNED(secret) private_key = NULL;
    CF_OWNED(arena) arena = arena_new(4096);
    uint8_t public_key[BOX_PUBLIC_SIZE], other[BOX_PUBLIC_SIZE];
    CF_OWNED(secret) other_key = NULL;
    CF_BUF(text) = {0};
    CF_BUF(sealed) = {0};
    struct package package;
    char body[256];
    world_begin();
    ck_ok(box_key_new(public_key, &private_key, NULL));
    ck_ok(box_key_new(other, &other_key, NULL));
    encode_base64(&text, cf_slice_of(public_key, sizeof(public_key)));
    ck_post(200, P "primary/enable", "{\"primary_cluster_addr\":\"https://a.example:8201/\"}");
    snprintf(body, sizeof(body), "{\"id\":\"b\",\"secondary_public_key\":\"%s\"}", cf_buf_text(&text));
    ck_post(200, P "primary/secondary-token", body);
    ck_assert_str_eq(fixture_at(world, "wrap_info.token"), "");
    struct cf_slice token = cf_slice_str(get("data.token"));
    ck_assert(cf_slice_starts(token, CF_SLICE(PACKAGE_TOKEN_PREFIX)));
    ck_ok(encode_base64url_decode(&sealed, cf_slice_from(token, strlen(PACKAGE_TOKEN_PREFIX)), NULL));
    ck_ok(package_open(arena, secret_slice(private_key), cf_buf_slice(&sealed), &package, NULL));
    ck_assert_int_eq(package.kind, SET_PERFORMANCE);
    ck_assert(cf_slice_is(package.link.secondary_id, "b"));
    ck_assert_uint_eq(package.link.address_count, 1);
    ck_assert(cf_slice_is(package.link.addresses[0], "a.example:8201"));
    ck_assert_uint_ne(package.link.key.size, 0);
    ck_assert_int_gt(package.expires_ns, 0);
    ck_status(package_open(arena, secret_slice(other_key), cf_buf_slice(&sealed), &package, NULL),
              CF_INVALID);
    for (size_t size = 0; size < sealed.size; size += 7) {
        ck_status(package_open(arena, secret_slice(private_key),
                               cf_slice_first(cf_buf_slice(&sealed), size), &package, NULL),
                  CF_INVALID);
    }
    ck_refused("secondary_public_key is malformed", P "primary/secondary-token",
               "{\"id\":\"c\",\"secondary_public_key\":\"YQ==\"}");
    world_end();
}
END_TEST

/* The same key until it was used: else a call that is repeated makes the token for the first answer void. */
START_TEST(public_key_stays)
{
    world_begin();
    ck_post(200, P "secondary/generate-public-key", "{}");
    char first[128];
    snprintf(first, sizeof(first), "%s", fixture_at(world, "data.secondary_public_key"));
    ck_assert_uint_eq(strlen(first), 44);
    uint64_t index = fixture_index(world);
    ck_post(200, P "secondary/generate-public-key", "{}");
    ck_assert_str_eq(fixture_at(world, "data.secondary_public_key"), first);
    ck_assert_uint_eq(fixture_index(world), index);
    ck_post(200, "sys/replication/dr/secondary/generate-public-key", "{}");
    ck_assert_str_ne(fixture_at(world, "data.secondary_public_key"), first);
    ck_post(200, P "primary/enable", "{}");
    ck_refused("cluster is a performance primary", P "secondary/generate-public-key", "{}");
    world_end();
}
END_TEST

#define ck_again(path, body)                                                                       \
    do {                                                                                           \
        ck_post(200, path, body);                                                                  \
        uint64_t index_ = fixture_index(world);                                                    \
        ck_post(200, path, body);                                                                  \
        ck_assert_msg(strstr(fixture_at(world, "warnings.0"), "nothing was changed") != NULL, "%s",\
                      fixture_at(world, "warnings.0"));                                            \
        ck_assert_uint_eq(fixture_index(world), index_);                                           \
    } while (0)

START_TEST(repeated_calls_change_nothing)
{
    world_begin();
    ck_refused("cluster is not a performance primary", P "primary/disable", "{}"); /* it never was */
    ck_again(P "primary/enable", "{}");
    ck_post(200, P "primary/secondary-token", "{\"id\":\"b\"}");
    ck_again(P "primary/revoke-secondary", "{\"id\":\"b\"}");
    ck_again(P "primary/disable", "{}");
    ck_post(200, P "primary/enable", "{}");
    ck_again(P "primary/demote", "{}");
    ck_assert_int_eq(world_role(), ROLE_PERFORMANCE_SECONDARY);
    ck_refused("cluster is not a performance primary", P "primary/disable", "{}");
    ck_again(P "secondary/promote", "{}");
    ck_assert_int_eq(world_role(), ROLE_ALONE_OR_PRIMARY);
    ck_post(200, P "primary/demote", "{}");
    ck_again(P "secondary/disable", "{}");
    ck_assert_int_eq(world_role(), ROLE_ALONE_OR_PRIMARY);
    ck_refused("cluster is not a performance primary", P "primary/demote", "{}");
    world_end();
}
END_TEST

START_TEST(registry)
{
    world_begin();
    ck_post(200, P "primary/enable", "{}");
    ck_post(200, P "primary/secondary-token", "{\"id\":\"b\"}");
    ck_assert_int_eq(fixture_call(world, NULL, "GET", P "primary/secondaries/b", NULL, NULL), 200);
    ck_assert_str_eq(fixture_at(world, "data.state"), "pending");
    ck_assert_str_eq(fixture_at(world, "data.token_is_valid"), "true");
    ck_assert_str_eq(fixture_at(world, "data.token_was_redeemed"), "false");
    fixture_advance(world, 1801);
    ck_assert_int_eq(fixture_call(world, NULL, "GET", P "primary/secondaries/b", NULL, NULL), 200);
    ck_assert_str_eq(fixture_at(world, "data.token_is_valid"), "false");
    ck_assert_int_eq(fixture_call(world, NULL, "DELETE", P "primary/secondaries/b", NULL, NULL), 400);
    ck_assert(fixture_error_has(world, "is not revoked"));
    ck_post(200, P "primary/revoke-secondary", "{\"id\":\"b\"}");
    ck_assert_int_eq(fixture_call(world, NULL, "DELETE", P "primary/secondaries/b", NULL, NULL), 204);
    ck_assert_int_eq(fixture_call(world, NULL, "GET", P "primary/secondaries/b", NULL, NULL), 404);
    ck_assert_int_eq(fixture_call(world, NULL, "DELETE", P "primary/secondaries/b", NULL, NULL), 404);
    world_end();
}
END_TEST

/* Paths of the time when there was one kind, and one that is gone. */
START_TEST(old_paths)
{
    world_begin();
    ck_post(200, "sys/replication/primary/enable", "{}");
    ck_post(200, "sys/replication/primary/secondary-token", "{\"id\":\"b\"}");
    ck_assert_int_eq(fixture_call(world, NULL, "GET", P "primary/secondaries/b", NULL, NULL), 200);
    ck_post(200, "sys/replication/primary/revoke-secondary", "{\"id\":\"b\"}");
    ck_post(200, "sys/replication/primary/demote", "{}");
    ck_post(200, "sys/replication/secondary/promote", "{}");
    ck_post(200, "sys/replication/primary/disable", "{}");
    ck_refused("cluster is not a dr primary", "sys/replication/dr/primary/disable", "{}");
    ck_assert_int_eq(fixture_call(world, NULL, "GET", P "primary/mount-filter/b", NULL, NULL), 404);
    ck_assert(fixture_error_has(world, "paths-filter"));
    ck_assert_int_eq(fixture_call(world, NULL, "GET", "sys/replication/dr/secondary/promote", NULL, NULL),
                     405);
    world_end();
}
END_TEST

START_TEST(dry_runs_change_nothing)
{
    world_begin();
    uint64_t index = fixture_index(world);
    ck_post(200, P "primary/enable", "{\"dry_run\":true}");
    ck_assert_str_eq(fixture_at(world, "data.would_succeed"), "true");
    ck_post(200, P "primary/enable", "{\"dry_run\":true,\"primary_cluster_addr\":\"nonsense\"}");
    ck_assert_str_eq(fixture_at(world, "data.would_succeed"), "false");
    ck_assert_str_ne(fixture_at(world, "data.missing.0"), "");
    ck_refused("cluster is not a performance primary", P "primary/demote", "{\"dry_run\":true}");
    ck_post(400, P "primary/enable", "{\"dry_run\":\"maybe\"}");
    ck_assert_uint_eq(fixture_index(world), index);
    ck_post(200, P "primary/enable", "{}");
    index = fixture_index(world);
    ck_post(200, P "primary/demote", "{\"dry_run\":true}");
    ck_assert_str_eq(fixture_at(world, "data.dry_run"), "true");
    ck_assert_uint_eq(fixture_index(world), index);
    ck_assert_int_eq(world_role(), ROLE_ALONE_OR_PRIMARY);
    world_end();
}
END_TEST

TEST_MAIN("node/server/secondary_token", sealed_to_a_public_key, public_key_stays,
          repeated_calls_change_nothing, registry, old_paths, dry_runs_change_nothing)

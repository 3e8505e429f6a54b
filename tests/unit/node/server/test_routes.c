/* tests/unit/node/server/test_routes.c: sys/replication/ through the frame, as far as it only reads
 * and writes the store. */
#include "node/base/memory.h"
#include "node/crypto/box.h"
#include "node/format/encode.h"
#include "node/server/dr_token.h"
#include "node/server/replication/routes.h"
#include "repl_world.h"
#include "replication/core/lineage.h"

#define ENABLE "{\"primary_cluster_addr\":\"primary.example:8201\"}"

static char token[4096];
static char public_key[64];
static struct secret *private_key;

static void set_up(void)
{
    uint8_t bytes[32];
    CF_BUF(text) = {0};
    world_begin();
    ck_ok(box_key_new(bytes, &private_key, NULL));
    encode_base64(&text, cf_slice_of(bytes, sizeof(bytes)));
    snprintf(public_key, sizeof(public_key), "%s", cf_buf_text(&text));
}

static void tear_down(void)
{
    secret_free(private_key);
    world_end();
}

static void get_token(const char *kind, const char *id)
{
    char path[128], body[128];
    snprintf(path, sizeof(path), "sys/replication/%s/primary/secondary-token", kind);
    snprintf(body, sizeof(body), "{\"id\":\"%s\"}", id);
    ck_post(200, path, body);
    snprintf(token, sizeof(token), "%s", fixture_at(world, "wrap_info.token"));
    ck_assert_uint_gt(strlen(token), 100);
}

static int redeem(const char *kind, const char *cluster)
{
    char path[128], body[8192];
    snprintf(path, sizeof(path), "sys/replication/%s/primary/redeem", kind);
    snprintf(body, sizeof(body), "{\"token\":\"%s\",\"cluster_id\":\"%s\",\"public_key\":\"%s\"}",
             token, cluster, public_key);
    return fixture_call(world, "", "POST", path, body, NULL);
}

#define ck_redeem_refused(text, kind, cluster)                                                     \
    do {                                                                                           \
        ck_assert_int_eq(redeem((kind), (cluster)), 400);                                          \
        ck_assert_msg(fixture_error_has(world, (text)), "%s", fixture_at(world, "errors.0"));      \
    } while (0)

START_TEST(enable_once)
{
    set_up();
    ck_refused("cluster is not a performance primary",
               "sys/replication/performance/primary/secondary-token", "{\"id\":\"b\"}");
    ck_refused("cluster is not a dr primary", "sys/replication/dr/primary/disable", "{}");
    ck_refused("cluster is not a dr primary", "sys/replication/dr/primary/demote", "{}");
    ck_post(404, "sys/replication/other/primary/enable", "{}");
    ck_post(200, "sys/replication/performance/primary/enable", ENABLE);
    ck_post(200, "sys/replication/performance/primary/enable", ENABLE); /* again: nothing happens */
    ck_assert(strstr(fixture_at(world, "warnings.0"), "nothing was changed") != NULL);
    ck_post(200, "sys/replication/performance/primary/enable", "{}");
    ck_refused("cluster is a performance primary already",
               "sys/replication/performance/primary/enable",
               "{\"primary_cluster_addr\":\"other:8201\"}");
    ck_post(200, "sys/replication/dr/primary/enable",
            ENABLE); /* the other kind is another matter */
    ck_post(200, "sys/replication/performance/primary/disable", "{}");
    ck_post(200, "sys/replication/performance/primary/enable", ENABLE);
    ck_assert_int_eq(world_role(), ROLE_ALONE_OR_PRIMARY);
    tear_down();
}
END_TEST

START_TEST(ids_of_secondaries)
{
    static const char *const bad[] = {"",    "a b",      "../x",     "-x",   ".x",
                                      "a/b", "a\\u0000", "\xc3\xa9", "a\\nb"};
    static const char path[] = "sys/replication/performance/primary/secondary-token";
    char body[256];
    set_up();
    ck_post(200, "sys/replication/performance/primary/enable", ENABLE);
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        snprintf(body, sizeof(body), "{\"id\":\"%s\"}", bad[i]);
        ck_refused("secondary id", path, body);
    }
    snprintf(body, sizeof(body), "{\"id\":\"%065d\"}", 1);
    ck_refused("64 at most", path, body);
    snprintf(body, sizeof(body), "{\"id\":\"%064d\"}", 1);
    ck_post(200, path, body);
    get_token("performance", "b");
    ck_refused("already exists", path, "{\"id\":\"b\"}");
    ck_refused("ttl may be a year at most", path, "{\"id\":\"c\",\"ttl\":9000000000}");
    ck_refused("secondary_public_key", path, "{\"id\":\"c\",\"secondary_public_key\":\"x\"}");
    tear_down();
}
END_TEST

START_TEST(revoked_and_made_anew)
{
    static const char path[] = "sys/replication/performance/primary/revoke-secondary";
    set_up();
    ck_post(200, "sys/replication/performance/primary/enable", ENABLE);
    get_token("performance", "b");
    ck_refused("no secondary \"x\" is registered", path, "{\"id\":\"x\"}");
    ck_refused("no secondary", path, "{\"id\":\"b\\u0000c\"}"); /* is not "b" */
    ck_refused("no secondary", path, "{}");
    ck_assert_int_eq(redeem("performance", "cluster-1"), 200);
    ck_post(200, path, "{\"id\":\"b\"}");
    ck_redeem_refused("was revoked", "performance", "cluster-1");
    char old[sizeof(token)];
    memcpy(old, token, sizeof(old));
    get_token("performance", "b");
    ck_assert_int_eq(redeem("performance", "cluster-2"), 200); /* bound anew */
    memcpy(token, old, sizeof(token));
    ck_redeem_refused("not valid any more", "performance", "cluster-1");
    tear_down();
}
END_TEST

/* The package opens with the key that it was asked for with, and names the set's CA and the client
 * pair. */
static void open_package(char id[64], char ca[8192])
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_BUF(sealed) = {0};
    CF_BUF(opened) = {.secret = true};
    struct json *package;
    ck_ok(encode_base64_decode(&sealed, cf_slice_str(fixture_at(world, "data.package")), NULL));
    ck_ok(box_open(secret_slice(private_key), cf_buf_slice(&sealed),
                   CF_SLICE("coffer secondary package"), &opened, NULL));
    ck_ok(json_parse(arena, cf_buf_slice(&opened), NULL, &package, NULL));
    snprintf(id, 64, "%.*s", CF_SHOW(json_get_string(package, "id")));
    snprintf(ca, 8192, "%.*s", CF_SHOW(json_get_string(package, "ca")));
    ck_assert_uint_ne(json_get_string(package, "cert").size, 0);
    ck_assert_uint_ne(json_get_string(package, "key").size, 0);
    ck_assert_uint_eq(json_count(json_get(package, "addresses")), 1);
}

START_TEST(redeemed_by_one_cluster)
{
    char id[64], first[8192], again[8192];
    set_up();
    ck_post(200, "sys/replication/performance/primary/enable", ENABLE);
    ck_post(200, "sys/replication/dr/primary/enable", ENABLE);
    get_token("performance", "b");
    ck_redeem_refused("cluster_id", "performance", ""); /* would be bound to nobody */
    ck_redeem_refused("this is a token for performance", "dr", "cluster-1");
    ck_assert_int_eq(redeem("performance", "cluster-1"), 200);
    open_package(id, first);
    ck_assert_str_eq(id, "b");
    ck_assert_int_eq(redeem("performance", "cluster-1"), 200);
    open_package(id, again);
    ck_assert_str_eq(first, again);
    ck_redeem_refused("was redeemed already", "performance", "cluster-2");
    ck_assert_int_eq(redeem("performance", "cluster-1"), 200); /* the other one spoiled nothing */
    fixture_advance(world, 1801);
    ck_redeem_refused("has expired", "performance", "cluster-1");
    tear_down();
}
END_TEST

static cf_status activate(struct request *rq, struct cf_error *err)
{
    struct set_secondary secondary;
    CF_TRY(set_read_secondary(rq, SET_PERFORMANCE, CF_SLICE("b"), &secondary, err));
    secondary.state = CF_SLICE("active");
    set_write_secondary(rq, SET_PERFORMANCE, &secondary);
    return CF_OK;
}

START_TEST(redeem_is_over_once_active)
{
    set_up();
    ck_post(200, "sys/replication/performance/primary/enable", ENABLE);
    get_token("performance", "b");
    ck_assert_int_eq(redeem("performance", "cluster-1"), 200);
    ck_run(activate);
    ck_redeem_refused("was redeemed already", "performance", "cluster-1");
    ck_post(200, "sys/replication/performance/primary/disable", "{}");
    ck_redeem_refused("is not a performance primary", "performance", "cluster-1");
    ck_post(200, "sys/replication/performance/primary/enable", ENABLE);
    ck_redeem_refused("not valid any more", "performance",
                      "cluster-1"); /* the registry went with it */
    tear_down();
}
END_TEST

START_TEST(redeem_malformed)
{
    static const char path[] = "sys/replication/performance/primary/redeem";
    char body[8192];
    set_up();
    ck_post(200, "sys/replication/performance/primary/enable", ENABLE);
    get_token("performance", "b");
    ck_post(400, path, "{}");
    snprintf(body, sizeof(body), "{\"token\":\"x.y.z\",\"cluster_id\":\"c\",\"public_key\":\"%s\"}",
             public_key);
    ck_refused("secondary token is malformed", path, body);
    snprintf(body, sizeof(body), "{\"token\":\"%s\",\"cluster_id\":\"c\",\"public_key\":\"!\"}",
             token);
    ck_post(400, path, body);
    snprintf(body, sizeof(body), "{\"token\":\"%s\",\"cluster_id\":\"c\",\"public_key\":\"YQ==\"}",
             token);
    ck_post(400, path, body); /* one byte is no key; and nobody is bound by it: */
    ck_assert_int_eq(redeem("performance", "cluster-1"), 200);
    tear_down();
}
END_TEST

/* ---- roles ---- */

static char operation_token[64];
static struct repl_lineage lineage;
static struct repl_position position;
static bool has_position;

static cf_status read_state(struct request *rq, struct cf_error *err)
{
    struct cf_slice bytes;
    CF_TRY(set_read_bytes(rq, set_lineage_key(SET_DR), &bytes, err));
    CF_TRY(repl_lineage_decode(bytes, &lineage, err));
    cf_status status = set_read_bytes(rq, set_position_key(SET_DR), &bytes, err);
    has_position = status == CF_OK;
    return status == CF_NOT_FOUND ? CF_OK : status;
}

/* What a switch to a complete copy leaves: a DR secondary at a position of epoch 1. */
static cf_status become_secondary(struct request *rq, struct cf_error *err)
{
    CF_BUF(bytes) = {0};
    struct cf_slice text;
    struct set_link link = {.set_id = CF_SLICE("0f8e3c52-0000-4000-8000-000000000001"),
                            .secondary_id = CF_SLICE("b"),
                            .state = CF_SLICE("secondary")};
    struct repl_epoch epoch = {.number = 1, .id = {7}};
    CF_TRY(repl_lineage_raise(&lineage, &epoch, &(struct repl_position){0}, err));
    repl_lineage_encode(&lineage, &bytes);
    txn_put(rq->txn, set_lineage_key(SET_DR), cf_buf_slice(&bytes));
    position = (struct repl_position){epoch, 3, 90};
    cf_buf_reset(&bytes);
    repl_position_encode(&position, &bytes);
    txn_put(rq->txn, set_position_key(SET_DR), cf_buf_slice(&bytes));
    set_write_link(rq, SET_DR, &link);
    set_write_role(rq, ROLE_DR_SECONDARY, &rq->view->line);
    CF_TRY(dr_token_create(rq, &text, err));
    snprintf(operation_token, sizeof(operation_token), "%.*s", CF_SHOW(text));
    return CF_OK;
}

static const char *with_token(const char *text)
{
    static char body[128];
    snprintf(body, sizeof(body), "{\"dr_operation_token\":\"%s\"}", text);
    return body;
}

START_TEST(promote_demote)
{
    static const char promote[] = "sys/replication/dr/secondary/promote";
    memset(&lineage, 0, sizeof(lineage));
    set_up();
    ck_refused("Not a DR secondary", promote, "{}");
    ck_run(become_secondary);
    ck_assert_int_eq(world_role(), ROLE_DR_SECONDARY);
    ck_post(403, promote, "{}"); /* the root token counts for nothing there */
    ck_post(403, promote, with_token("s.wrong"));
    ck_post(200, promote, with_token(operation_token));
    ck_assert_int_eq(world_role(), ROLE_ALONE_OR_PRIMARY);
    ck_run(read_state);
    ck_assert_uint_eq(lineage.count, 2);
    ck_assert_uint_eq(repl_lineage_current(&lineage).number, 2);
    ck_assert_uint_eq(lineage.branches[1].index, 90);
    uint64_t index = fixture_index(world);
    ck_post(200, promote, with_token(operation_token)); /* again: nothing happens */
    ck_assert_uint_eq(fixture_index(world), index);
    ck_run(read_state);
    ck_assert_uint_eq(lineage.count, 2);
    /* Demoted, it stands at the end of its own epoch, not where it stood in the former one. */
    ck_post(200, "sys/replication/dr/primary/demote", "{}");
    ck_assert_int_eq(world_role(), ROLE_DR_SECONDARY);
    ck_run(read_state);
    ck_assert(!has_position);
    ck_assert_uint_eq(lineage.count, 2);
    tear_down();
}
END_TEST

START_TEST(promoted_then_disabled)
{
    memset(&lineage, 0, sizeof(lineage));
    set_up();
    ck_run(become_secondary);
    ck_post(200, "sys/replication/dr/secondary/promote", with_token(operation_token));
    ck_refused("cluster is a dr primary already", "sys/replication/dr/primary/enable", ENABLE);
    /* A promoted cluster is no secondary, whatever it keeps of its link. */
    ck_refused("Not a DR secondary", "sys/replication/dr/secondary/disable", "{}");
    ck_refused("Not a DR secondary", "sys/replication/dr/secondary/update-primary", "{\"token\":\"\"}");
    ck_post(200, "sys/replication/dr/primary/disable", "{}");
    ck_post(200, "sys/replication/dr/primary/enable", ENABLE); /* is no secondary of anybody */
    ck_run(read_state);
    ck_assert_uint_eq(lineage.count, 2);
    tear_down();
}
END_TEST

static cf_status begin_bootstrap(struct request *rq, struct cf_error *err)
{
    struct set_link link;
    CF_TRY(set_read_link(rq, SET_DR, &link, err));
    link.state = CF_SLICE("bootstrapping");
    set_write_link(rq, SET_DR, &link);
    return CF_OK;
}

START_TEST(half_a_copy_is_not_promoted)
{
    memset(&lineage, 0, sizeof(lineage));
    set_up();
    ck_run(become_secondary);
    ck_run(begin_bootstrap);
    char body[160];
    snprintf(body, sizeof(body), "{\"dr_operation_token\":\"%s\",\"force\":true}", operation_token);
    ck_post(503, "sys/replication/dr/secondary/promote", body);
    ck_assert_int_eq(world_role(), ROLE_DR_SECONDARY);
    ck_post(204, "sys/replication/dr/secondary/operation-token/delete",
            with_token(operation_token));
    ck_post(403, "sys/replication/dr/secondary/disable", with_token(operation_token));
    tear_down();
}
END_TEST

static cf_status become_bootstrapping(struct request *rq, struct cf_error *err)
{
    (void)err;
    set_write_role(rq, ROLE_BOOTSTRAPPING, &rq->view->line);
    return CF_OK;
}

/* As update-primary does it: a run of the node itself, with the caller of the request but no route.
 */
static cf_status authorise_without_route(struct request *rq, struct cf_error *err)
{
    const struct route *route = rq->route;
    const struct token_entry *caller = rq->caller;
    (void)err;
    rq->route = NULL;
    ck_ok(repl_authorise_secondary(rq, SET_DR, NULL));
    rq->caller = NULL;
    ck_status(repl_authorise_secondary(rq, SET_DR, NULL), CF_DENIED);
    rq->caller = caller;
    rq->route = route;
    return CF_OK;
}

START_TEST(authority_while_bootstrapping)
{
    set_up();
    ck_run(become_bootstrapping);
    ck_run(authorise_without_route);
    tear_down();
}
END_TEST

START_TEST(disable_forgets)
{
    memset(&lineage, 0, sizeof(lineage));
    set_up();
    ck_run(become_secondary);
    ck_refused("disabled in replication DR secondary mode", "sys/replication/dr/primary/enable",
               ENABLE);
    ck_post(200, "sys/replication/dr/secondary/disable", with_token(operation_token));
    ck_assert_int_eq(world_role(), ROLE_ALONE_OR_PRIMARY);
    ck_assert_int_eq(world_run(read_state), 404); /* no lineage */
    tear_down();
}
END_TEST

TEST_MAIN("node/server/replication/routes", enable_once, ids_of_secondaries, revoked_and_made_anew,
          redeemed_by_one_cluster, redeem_is_over_once_active, redeem_malformed, promote_demote,
          promoted_then_disabled, half_a_copy_is_not_promoted, authority_while_bootstrapping,
          disable_forgets)

/* tests/unit/node/server/test_recover_file.c: peers.json, as other servers' operators write it. */
#include "node/server/recover_file.h"

#include "node/base/memory.h"
#include "test.h"

static struct arena *arena;
static struct recover_file file;
static struct cf_error err;

static cf_status parse(const char *text)
{
    err = (struct cf_error){0};
    return recover_file_parse(cf_slice_str(text), arena, &file, &err);
}

START_TEST(takes_both_forms)
{
    arena = arena_new(1024);
    ck_ok(parse("[{\"id\": \"n1\", \"address\": \"10.0.0.1:8201\", \"non_voter\": false},\n"
                " {\"id\": \"n2\", \"address\": \"https://[::1]:8201\", \"non_voter\": true}]"));
    ck_assert_uint_eq(file.count, 2);
    ck_assert_str_eq(file.peers[0].id, "n1");
    ck_assert_str_eq(file.peers[0].address, "10.0.0.1:8201");
    ck_assert_str_eq(file.peers[1].address, "[::1]:8201");
    ck_assert(!file.peers[0].is_non_voter && file.peers[1].is_non_voter);
    ck_assert_ptr_eq(recover_file_find(&file, "n2", "x", "y"), &file.peers[1]);
    ck_assert_ptr_eq(recover_file_find(&file, "x", "n1", "y"), &file.peers[0]);
    ck_assert_ptr_null(recover_file_find(&file, "x", "y", "10.0.0.1:8201"));
    ck_ok(parse("[\"a.example:8201\"]"));
    ck_assert_ptr_eq(recover_file_find(&file, "x", "y", "a.example:8201"), &file.peers[0]);
    arena_free(arena);
}
END_TEST

START_TEST(refuses)
{
    static const char *const bad[][2] = {
        {"", "no JSON"},
        {"{}", "a list of peers"},
        {"[]", "a list of peers"},
        {"[1]", "peer 1 is neither"},
        {"[\"a:1\", {}]", "peer 2: \"id\""},
        {"[{\"id\": \"\", \"address\": \"a:1\"}]", "peer 1: \"id\""},
        {"[{\"id\": 1, \"address\": \"a:1\"}]", "peer 1: \"id\""},
        {"[{\"id\": \"a\"}]", "peer 1: \"address\""},
        {"[{\"id\": \"a\", \"address\": \"a\"}]", "host:port"},
        {"[{\"id\": \"a\", \"address\": \":1\"}]", "host:port"},
        {"[{\"id\": \"a\", \"address\": \"a:\"}]", "host:port"},
        {"[{\"id\": \"a\", \"address\": \"a:0\"}]", "host:port"},
        {"[{\"id\": \"a\", \"address\": \"a:65536\"}]", "host:port"},
        {"[{\"id\": \"a\", \"address\": \"a b:1\"}]", "host:port"},
        {"[{\"id\": \"a\", \"address\": \"a:1\", \"non_voter\": \"x\"}]", "non_voter"},
        {"[{\"id\": \"a\", \"address\": \"a:1\"}, {\"id\": \"a\", \"address\": \"b:1\"}]", "twice"},
        {"[\"a:1\", \"a:1\"]", "twice"},
    };
    arena = arena_new(1024);
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        ck_assert_msg(parse(bad[i][0]) == CF_INVALID && strstr(err.message, bad[i][1]) != NULL,
                      "%s: %s", bad[i][0], err.message);
    }
    CF_BUF(many) = {0};
    for (int i = 0; i <= RECOVER_PEERS_MAX; i++) {
        cf_buf_addf(&many, "%s\"a:%d\"", i == 0 ? "[" : ",", i + 1);
    }
    cf_buf_addf(&many, "]");
    ck_assert_int_eq(recover_file_parse(cf_buf_slice(&many), arena, &file, &err), CF_INVALID);
    arena_free(arena);
}
END_TEST

TEST_MAIN("node/server/recover_file", takes_both_forms, refuses)

/* tests/unit/tools/test_replication.c: the table of sys/replication/status. */
#include "test.h"
#include "tools/commands/replication.h"

static const char primary[] =
    "{\"dr\":{\"mode\":\"disabled\"},\"performance\":{\"mode\":\"primary\",\"state\":\"running\","
    "\"last_performance_wal\":230,\"last_wal\":300,\"secondaries\":["
    "{\"node_id\":\"b1\",\"connection_status\":\"connected\",\"last_remote_wal\":223,"
    "\"replication_primary_canary_age_ms\":\"696\"},"
    "{\"node_id\":\"b2\",\"connection_status\":\"disconnected\",\"lag_entries\":5,"
    "\"lag_bytes\":1000,\"lag_ms\":1500}]}}";

static const char secondary[] =
    "{\"dr\":{\"mode\":\"secondary\",\"state\":\"stream-wals\",\"connection_state\":\"ready\","
    "\"secondary_id\":\"c\",\"last_remote_wal\":0,\"primaries\":["
    "{\"replication_primary_canary_age_ms\":\"-1\"}]}}";

/* The lines of the table without its heading. */
static char *print(const char *text)
{
    char *out = NULL;
    size_t size = 0;
    struct arena *arena = arena_new(4096);
    struct json *data = NULL;
    struct table table;
    ck_ok(json_parse(arena, cf_slice_str(text), NULL, &data, NULL));
    table_init(&table, arena);
    replication_rows(&table, "A", data);
    FILE *to = open_memstream(&out, &size);
    table_print(&table, false, to);
    (void)fclose(to);
    arena_free(arena);
    return out;
}

START_TEST(a_primary_shows_its_secondaries)
{
    char *text = print(primary);
    ck_assert_str_eq(text, "A    performance    primary         running    -     -               "
                           "230    -    -       -\n"
                           "A    performance    -> secondary    -          b1    connected       "
                           "223    7    -       0.7\n"
                           "A    performance    -> secondary    -          b2    disconnected    - "
                           "     5    1000    1.5\n");
    free(text);
}
END_TEST

START_TEST(a_secondary_shows_itself)
{
    char *text = print(secondary);
    ck_assert_str_eq(text,
                     "A    dr    secondary    stream-wals    c    ready    0    -    -    0.0\n");
    free(text);
}
END_TEST

START_TEST(off_or_strange)
{
    static const char *const all[] = {"{\"dr\":{\"mode\":\"disabled\"}}", "{}", "[]", "null",
                                      "{\"dr\":[],\"performance\":7}"};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        char *text = print(all[i]);
        ck_assert_str_eq(text, "A    -    disabled\n");
        free(text);
    }
}
END_TEST

static void ck_progress(const char *want, const char *side)
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_BUF(text) = {0};
    struct json *json = NULL;
    ck_ok(json_parse(arena, cf_slice_str(side), NULL, &json, NULL));
    replication_progress(&text, "A", "dr", json);
    ck_assert_str_eq(cf_buf_text(&text), want);
}

START_TEST(a_copy_under_way)
{
    ck_progress("", "{\"state\":\"stream-wals\"}");
    ck_progress("A dr  [##########..........] 50%  12.0 of 24.0 MiB, 10400 keys, 60.0 MiB/s, 1 s left\n",
                "{\"merkle_sync_progress\":{\"sync_progress\":10400,\"sync_total_keys\":20000,"
                "\"bytes\":12582912,\"total_bytes\":25165824,\"bytes_per_second\":62914560,"
                "\"seconds_left\":1}}");
    /* The total is an estimate, or not known. */
    ck_progress("A dr  [####################] 100%  2.0 of 1.0 MiB, 3 keys\n",
                "{\"merkle_sync_progress\":{\"sync_progress\":3,\"bytes\":2097152,"
                "\"total_bytes\":1048576,\"bytes_per_second\":0}}");
    ck_progress("A dr  0.0 MiB, 0 keys\n", "{\"merkle_sync_progress\":{}}");
    ck_progress("A dr  0.0 MiB, 0 keys\n", "{\"merkle_sync_progress\":{\"total_bytes\":-7}}");
}
END_TEST

TEST_MAIN("tools/commands/replication", a_copy_under_way, a_primary_shows_its_secondaries, a_secondary_shows_itself,
          off_or_strange)

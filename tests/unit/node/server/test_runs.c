/* tests/unit/node/server/test_runs.c: the files of a copy: made, kept, taken over, removed. */
#include <sys/stat.h>
#include <sys/time.h>

#include "node/crypto/hash.h"
#include "node/server/replication/runs_int.h"
#include "tests/unit/node/storage/suite.h"

enum { GENERATION = 0x00c0ffee };

static struct node node;
static struct config config;
static struct runs *runs;

static void begin(void)
{
    char db[80];
    node = (struct node){.config = &config};
    config = (struct config){.path = dir_begin()};
    (void)snprintf(db, sizeof(db), "%s/db", test_dir);
    ck_ok(kv_open(db, NULL, &node.kv, NULL));
    ck_ok(raft_store_open(node.kv, &node.store, NULL));
    runs = runs_new(&node);
    ck_assert_ptr_nonnull(runs);
}

static void end(void)
{
    runs_free(runs);
    raft_store_free(node.store);
    kv_close(node.kv);
    dir_end();
}

static struct op record(const char *name, const char *value)
{
    return (struct op){OP_PUT, {CLASS_REPLICATED, 0, text(name)}, text(value)};
}

/* A run of two records; its name. */
static void make(uint32_t generation, const char *value, uint8_t name[RUN_NAME_SIZE], struct cf_buf *bytes)
{
    struct op ops[2] = {record("b", value), record("a", value)}; /* in any order */
    ck_ok(runs_make(runs, generation, 7, ops, 2, name, bytes, NULL));
}

static struct cf_slice name_of(const uint8_t name[RUN_NAME_SIZE])
{
    return cf_slice_of(name, RUN_NAME_SIZE);
}

static void folder_of(uint32_t generation, const char *suffix, char path[160])
{
    (void)snprintf(path, 160, "%s/db/runs/%08x%s", test_dir, generation, suffix);
}

static bool is_there(uint32_t generation, const char *suffix)
{
    char path[160];
    folder_of(generation, suffix, path);
    return access(path, F_OK) == 0;
}

START_TEST(are_made_and_read)
{
    uint8_t name[RUN_NAME_SIZE], digest[RUN_NAME_SIZE];
    CF_BUF(bytes) = {0};
    CF_BUF(again) = {0};
    begin();
    make(GENERATION, "v", name, &bytes);
    hash_sha256(cf_buf_slice(&bytes), digest);
    ck_assert_mem_eq(name, digest, sizeof(name));
    ck_assert(runs_has(runs, GENERATION, name_of(name)));
    ck_assert(!runs_has(runs, GENERATION + 1, name_of(name)));
    ck_assert(!runs_has(runs, GENERATION, cf_slice_of(name, 31)));
    ck_ok(runs_read(runs, GENERATION, name_of(name), &again, NULL));
    ck_assert(cf_slice_eq(cf_buf_slice(&bytes), cf_buf_slice(&again)));
    name[0] ^= 1;
    ck_status(runs_read(runs, GENERATION, name_of(name), &again, NULL), CF_NOT_FOUND);
    end();
}
END_TEST

/* What another node sent is what its name says, or it is not kept. */
START_TEST(are_kept)
{
    uint8_t name[RUN_NAME_SIZE];
    CF_BUF(bytes) = {0};
    CF_BUF(got) = {0};
    struct cf_error err = {0};
    begin();
    make(GENERATION, "v", name, &bytes);
    bytes.data[bytes.size / 2] ^= 1;
    ck_status(runs_keep(runs, GENERATION + 1, name_of(name), cf_buf_slice(&bytes), &err), CF_CORRUPT);
    ck_status(runs_keep(runs, GENERATION + 1, cf_slice_of(name, 4), cf_buf_slice(&bytes), &err), CF_CORRUPT);
    ck_assert(!is_there(GENERATION + 1, ""));
    bytes.data[bytes.size / 2] ^= 1;
    ck_ok(runs_keep(runs, GENERATION + 1, name_of(name), cf_buf_slice(&bytes), NULL));
    ck_ok(runs_keep(runs, GENERATION + 1, name_of(name), cf_buf_slice(&bytes), NULL)); /* twice */
    ck_ok(runs_read(runs, GENERATION + 1, name_of(name), &got, NULL));
    ck_assert(cf_slice_eq(cf_buf_slice(&bytes), cf_buf_slice(&got)));
    ck_assert(!is_there(GENERATION, "")); /* one stage at a time */
    end();
}
END_TEST

static const char *value_of(const char *name, uint32_t generation)
{
    static char value[64];
    CF_OWNED(kv_family) family = raft_store_state(node.store);
    CF_BUF(key) = {0};
    KV_VALUE(found) = {0};
    key_encode(&key, (struct key){CLASS_REPLICATED, 0, text(name)}, generation);
    if (kv_get(kv_now(node.kv), family, cf_buf_slice(&key), &found, NULL) != CF_OK) {
        return NULL;
    }
    ck_assert_uint_eq(cf_get_u64(found.bytes.data), 7); /* its modification index */
    (void)snprintf(value, sizeof(value), "%.*s", CF_SHOW(cf_slice_from(found.bytes, VALUE_HEADER_SIZE)));
    return value;
}

static struct command switch_to(const struct cf_slice *names, size_t count)
{
    return (struct command){.id = COMMAND_SWITCH, .stage_generation = GENERATION, .runs = names, .run_count = count};
}

START_TEST(are_taken_over)
{
    uint8_t name[2][RUN_NAME_SIZE];
    struct cf_slice names[2] = {name_of(name[0]), name_of(name[1])};
    struct op other = record("c", "of the second run");
    CF_BUF(bytes) = {0};
    begin();
    make(GENERATION, "of the first run", name[0], &bytes);
    cf_buf_reset(&bytes);
    ck_ok(runs_make(runs, GENERATION, 7, &other, 1, name[1], &bytes, NULL));
    ck_assert_ptr_null(value_of("a", GENERATION));
    struct command command = switch_to(names, 2);
    for (int time = 0; time < 2; time++) { /* and once more: the node died before it had noted it */
        ck_ok(runs_take(runs, &command, 41, NULL));
        ck_assert_str_eq(value_of("a", GENERATION), "of the first run");
        ck_assert_str_eq(value_of("b", GENERATION), "of the first run");
        ck_assert_str_eq(value_of("c", GENERATION), "of the second run");
        ck_assert(is_there(GENERATION, "-41") && !is_there(GENERATION, ""));
        ck_assert(runs_has(runs, GENERATION, names[0])); /* for whoever was away */
    }
    /* They stay as long as the log leads there. */
    runs_tidy(runs, 41);
    ck_assert(is_there(GENERATION, "-41"));
    runs_tidy(runs, 42);
    ck_assert(!is_there(GENERATION, "-41"));
    ck_assert_str_eq(value_of("a", GENERATION), "of the first run");
    end();
}
END_TEST

/* A stage goes when another one begins, or when nobody goes on with it; what was taken over is none. */
START_TEST(stages_end)
{
    uint8_t name[RUN_NAME_SIZE];
    struct cf_slice names[1] = {name_of(name)};
    struct timeval old[2] = {{1000, 0}, {1000, 0}};
    char path[160];
    CF_BUF(bytes) = {0};
    begin();
    make(GENERATION, "v", name, &bytes);
    struct command command = switch_to(names, 1);
    ck_ok(runs_take(runs, &command, 41, NULL));
    make(GENERATION + 1, "v", name, &bytes);
    ck_assert(is_there(GENERATION, "-41") && is_there(GENERATION + 1, ""));
    make(GENERATION + 2, "v", name, &bytes);
    ck_assert(is_there(GENERATION, "-41") && !is_there(GENERATION + 1, "") && is_there(GENERATION + 2, ""));
    runs_tidy(runs, 1);
    ck_assert(is_there(GENERATION + 2, ""));
    folder_of(GENERATION + 2, "", path);
    ck_assert_int_eq(utimes(path, old), 0);
    runs_tidy(runs, 1);
    ck_assert(is_there(GENERATION, "-41") && !is_there(GENERATION + 2, ""));
    ck_assert(atomic_load(&runs->holds));
    runs_tidy(runs, 100);
    ck_assert(!atomic_load(&runs->holds)); /* nothing to tidy any more */
    end();
}
END_TEST

START_TEST(keep_no_more_than_a_frame)
{
    uint8_t name[RUN_NAME_SIZE];
    CF_BUF(bytes) = {0};
    char path[400];
    begin();
    make(GENERATION, "v", name, &bytes);
    (void)snprintf(path, sizeof(path), "%s/db/runs/%08x/", test_dir, GENERATION);
    for (size_t i = 0, at = strlen(path); i < RUN_NAME_SIZE; i++, at += 2) {
        (void)snprintf(path + at, 3, "%02x", name[i]);
    }
    ck_assert_int_eq(truncate(path, (off_t)RUN_BYTES_MAX + 1), 0);
    ck_status(runs_read(runs, GENERATION, name_of(name), &bytes, NULL), CF_TOO_LARGE);
    end();
}
END_TEST

TEST_MAIN("node/server/runs", are_made_and_read, are_kept, are_taken_over, stages_end, keep_no_more_than_a_frame)

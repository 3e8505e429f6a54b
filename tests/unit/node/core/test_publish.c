/* tests/unit/node/core/test_publish.c: from log entries to views: generations, roles, time,
 * sealing. */
#include "bench.h"
#include "node/barrier/barrier.h"
#include "node/base/memory.h"
#include "node/core/mount.h"
#include "node/core/request.h"
#include "node/core/txn.h"
#include "node/server/registry.h"
#include "tests/lib/test.h"

static struct bench *b;

static void tear_down(void)
{
    bench_free(b);
    b = NULL;
}

static void set_up(void)
{
    tear_down();
    b = bench_new();
}

#define COMMAND_OF(command_id, ops_)                                                               \
    (struct command)                                                                               \
    {                                                                                              \
        .id = (command_id), .ops = (ops_), .op_count = CF_LENGTH(ops_)                             \
    }

static struct op put_of(uint8_t class, const char *name, const char *value)
{
    return (struct op){OP_PUT, {class, 0, cf_slice_str(name)}, cf_slice_str(value)};
}

static void run(struct command command)
{
    ck_ok(bench_command(b, &command, NULL));
}

/* The bytes as stored; "-" when absent. */
static const char *raw(struct view *view, struct arena *arena, uint8_t class, const char *name)
{
    struct cf_slice value;
    cf_status status =
        view_get_raw(view, (struct key){class, 0, cf_slice_str(name)}, arena, &value, NULL);
    ck_assert(status == CF_OK || status == CF_NOT_FOUND);
    return status == CF_OK ? arena_text(arena, value) : "-";
}

static bool add_name(void *context, struct cf_slice rest)
{
    cf_buf_add_slice(context, rest);
    cf_buf_add_byte(context, ' ');
    return true;
}

static const char *names(struct view *view, struct arena *arena, uint8_t class, const char *prefix)
{
    CF_BUF(text) = {0};
    ck_ok(view_walk(view, (struct key){class, 0, cf_slice_str(prefix)}, CF_SLICE_EMPTY, add_name,
                    &text, NULL));
    return arena_text(arena, cf_buf_slice(&text));
}

/* Keys of a class on disk that are not of the generation. */
static size_t others(uint8_t class, uint32_t generation)
{
    size_t count = 0;
    CF_OWNED(kv_iterator)
    iterator =
        kv_iterator_new(kv_now(b->kv), b->state, (struct kv_range){{NULL, 0}, {NULL, 0}, false});
    for (kv_seek_first(iterator); kv_valid(iterator); kv_next(iterator)) {
        struct key key;
        uint32_t got;
        if (key_decode(kv_key(iterator), &key, &got) && key.class == class) {
            count += got != generation;
        }
    }
    return count;
}

/* A reader sees the old copy or the new one, whole. */
START_TEST(generations)
{
    set_up();
    CF_OWNED(arena) arena = arena_new(4096);
    const struct op old_data[] = {put_of('r', "x/1", "old"), put_of('r', "x/2", "old"),
                                  put_of('c', "x/1", "mine")};
    run(COMMAND_OF(COMMAND_WRITE, old_data));
    const struct op first[] = {put_of('r', "x/2", "new"), put_of('r', "x/3", "new")};
    struct command stage = COMMAND_OF(COMMAND_STAGE, first);
    stage.stage_generation = 4;
    run(stage);
    stage.stage_generation = 2; /* what an interrupted copy has left */
    run(stage);
    stage.stage_generation = 9;
    run(stage);
    struct view *before = core_view(b->core);
    ck_assert_str_eq(names(before, arena, 'r', "x/"), "1 2 ");
    ck_assert_str_eq(raw(before, arena, 'r', "x/2"), "old");
    ck_assert_uint_eq(before->generation[0], 0);

    const struct op own[] = {put_of('o', "x/own", "switched"), put_of('r', "x/4", "with it")};
    struct command change = COMMAND_OF(COMMAND_SWITCH, own);
    change.stage_generation = 4;
    change.switch_classes = 1u << class_number('r');
    run(change);
    struct view *after = core_view(b->core);
    ck_assert_str_eq(names(after, arena, 'r', "x/"), "2 3 4 ");
    ck_assert_str_eq(raw(after, arena, 'r', "x/2"), "new");
    ck_assert_str_eq(raw(after, arena, 'c', "x/1"), "mine"); /* other classes stay */
    ck_assert_str_eq(raw(after, arena, 'o', "x/own"), "switched");
    ck_assert_uint_eq(after->generation[0], 4);
    ck_assert_uint_eq(after->generation[1], 0);
    ck_assert_uint_eq(others('r', 4), 0);
    /* Who began before goes on as before. */
    ck_assert_str_eq(names(before, arena, 'r', "x/"), "1 2 ");
    ck_assert_str_eq(raw(before, arena, 'r', "x/2"), "old");
    view_unref(before);
    view_unref(after);

    /* Later writes go into the new one. */
    const struct op later[] = {put_of('r', "x/5", "later")};
    run(COMMAND_OF(COMMAND_WRITE, later));
    after = core_view(b->core);
    ck_assert_str_eq(names(after, arena, 'r', "x/"), "2 3 4 5 ");
    view_unref(after);
    ck_assert_uint_eq(others('r', 4), 0);
}
END_TEST

START_TEST(switching_several_classes)
{
    set_up();
    const struct op staged[] = {put_of('r', "x", "1"), put_of('c', "x", "2")};
    struct command stage = COMMAND_OF(COMMAND_STAGE, staged);
    stage.stage_generation = 1;
    run(stage);
    struct command change = {.id = COMMAND_SWITCH, .stage_generation = 1, .switch_classes = 3};
    run(change);
    ck_assert_uint_eq(others('r', 1), 0);
    ck_assert_uint_eq(others('c', 1), 0);
    ck_assert_uint_eq(others('o', 0), 0);
    struct view *view = core_view(b->core);
    ck_assert_uint_eq(view->generation[2], 0);
    ck_assert_uint_eq(view->mounts->count, 0); /* the tables are of the new copy, which has none */
    view_unref(view);
}
END_TEST

START_TEST(deleted_prefixes)
{
    set_up();
    CF_OWNED(arena) arena = arena_new(4096);
    const struct op some[] = {put_of('r', "x\xff", "1"),   put_of('r', "x\xff\xff/a", "1"),
                              put_of('r', "x\xfe", "1"),   put_of('r', "y", "1"),
                              put_of('c', "x\xff/a", "1"), put_of('r', "x", "1")};
    run(COMMAND_OF(COMMAND_WRITE, some));
    const struct op cut[] = {{OP_DELETE_PREFIX, {'r', 0, cf_slice_str("x\xff")}, {NULL, 0}},
                             put_of('r', "x\xff/new", "1")};
    run(COMMAND_OF(COMMAND_WRITE, cut));
    struct view *view = core_view(b->core);
    ck_assert_str_eq(names(view, arena, 'r', "x"), " \xfe \xff/new ");
    ck_assert_str_eq(names(view, arena, 'r', "y"), " ");
    ck_assert_str_eq(names(view, arena, 'c', "x"), "\xff/a ");
    view_unref(view);
    const struct op all[] = {{OP_DELETE_PREFIX, {'r', 0, {NULL, 0}}, {NULL, 0}}};
    run(COMMAND_OF(COMMAND_WRITE, all));
    view = core_view(b->core);
    ck_assert_str_eq(names(view, arena, 'r', ""), "");
    ck_assert_str_eq(names(view, arena, 'c', "x"), "\xff/a ");
    ck_assert_uint_eq(view->mounts->count, 0);
    view_unref(view);
}
END_TEST

START_TEST(shipped_entries)
{
    set_up();
    CF_OWNED(arena) arena = arena_new(4096);
    const struct op first[] = {put_of('r', "x/1", "1"), put_of('r', "x/2", "1")};
    const struct op second[] = {{OP_DELETE, {'r', 0, CF_SLICE("x/1")}, {NULL, 0}},
                                put_of('r', "x/2", "2")};
    const struct op own[] = {put_of('o', "x/position", "p")};
    const struct source_entry entries[] = {{1, 70, 5, first, 2}, {1, 71, 6, second, 2}};
    struct command shipped = COMMAND_OF(COMMAND_SHIPPED, own);
    shipped.entries = entries;
    shipped.entry_count = 2;
    run(shipped);
    struct view *view = core_view(b->core);
    ck_assert_str_eq(names(view, arena, 'r', "x/"), "2 ");
    ck_assert_str_eq(raw(view, arena, 'r', "x/2"), "2");
    ck_assert_str_eq(raw(view, arena, 'o', "x/position"), "p");
    struct cf_slice value;
    uint64_t index = 0;
    ck_status(view_get(view, (struct key){'r', 0, CF_SLICE("x/2")}, arena, &value, &index, NULL),
              CF_CORRUPT); /* not sealed; but the index is the local log's */
    ck_assert_uint_eq(index, b->applied);
    view_unref(view);
}
END_TEST

/* ---- roles ---- */

static unsigned told;

static void tell(void *context)
{
    (void)context;
    told++;
}

/* Writes the role's record as node/server does. */
static void set_role(const char *role)
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_BUF(payload) = {0};
    struct view *view = core_view(b->core);
    struct txn *txn = txn_new(arena, view);
    struct uuid line;
    char text[37];
    struct json *record = json_object_new(arena);
    memcpy(line.bytes, view->line.bytes, sizeof(line.bytes));
    encode_uuid_text(line, text);
    json_set_text(arena, record, "role", role);
    json_set_text(arena, record, "line", text);
    txn_put(txn, (struct key){CLASS_OWN, 0, CF_SLICE("repl/role")}, record_encode(arena, record));
    ck_ok(txn_encode(txn, &payload, NULL));
    txn_release(txn);
    view_unref(view);
    ck_ok(bench_payload(b, cf_buf_slice(&payload), NULL));
}

static enum cluster_role role(void)
{
    struct view *view = core_view(b->core);
    enum cluster_role role = view->role;
    view_unref(view);
    return role;
}

START_TEST(roles)
{
    char text[512];
    set_up();
    told = 0;
    core_on_replication_change(b->core, tell, NULL);
    ck_assert_int_eq(role(), ROLE_ALONE_OR_PRIMARY);
    set_role("dr-secondary");
    ck_assert_int_eq(role(), ROLE_DR_SECONDARY);
    ck_assert_uint_eq(told, 1);
    ck_assert_int_eq(bench_call(b, NULL, "GET", "sys/mounts", NULL, "errors.0", text), 400);
    ck_assert_str_eq(text, "path disabled in replication DR secondary mode");
    set_role("fenced");
    ck_assert_int_eq(bench_call(b, NULL, "GET", "sys/mounts", NULL, "", text), 503);
    set_role("bootstrapping");
    ck_assert_int_eq(bench_call(b, NULL, "GET", "sys/mounts", NULL, "", text), 503);
    set_role("primary");
    ck_assert_int_eq(bench_call(b, NULL, "GET", "sys/mounts", NULL, "", text), 200);
    ck_assert_uint_eq(told, 4);
    bench_advance(b, 1);
    ck_assert_int_eq(bench_call(b, NULL, "POST", "sys/mounts/x", "{\"type\":\"kv\"}", "", text),
                     204);
    ck_assert_uint_eq(told, 4); /* nothing of replication's */
    const struct op gone[] = {{OP_DELETE_PREFIX, {'c', 0, CF_SLICE("repl/dr/")}, {NULL, 0}}};
    run(COMMAND_OF(COMMAND_WRITE, gone));
    ck_assert_uint_eq(told, 5);
    for (int i = ROLE_ALONE_OR_PRIMARY; i <= ROLE_BOOTSTRAPPING; i++) {
        set_role(cluster_role_name((enum cluster_role)i));
        ck_assert_int_eq(role(), i);
    }
}
END_TEST

/* What the append says of a write of the node's own. */
static cf_status admitted(uint8_t class, const char *name, bool and_role)
{
    CF_OWNED(arena) arena = arena_new(4096);
    struct proposal proposal = {.deadline_us = UINT64_MAX};
    struct view *view = core_view(b->core);
    struct txn *txn = txn_new(arena, view);
    txn_put(txn, (struct key){class, 0, cf_slice_str(name)}, CF_SLICE("{}"));
    if (and_role) {
        txn_put(txn, (struct key){CLASS_OWN, 0, CF_SLICE("repl/role")}, CF_SLICE("{}"));
    }
    cf_buf_init(&proposal.payload, 4096);
    ck_ok(txn_encode(txn, &proposal.payload, NULL));
    proposal.claim = txn_claim(txn);
    cf_status status = core_admit(b->core, &proposal, b->appended + 1);
    cf_buf_done(&proposal.payload);
    txn_release(txn);
    view_unref(view);
    return status;
}

/* Design 3.4: what a DR secondary mirrors has one writer, the receiver. */
START_TEST(one_writer_on_a_dr_secondary)
{
    set_up();
    set_role("dr-secondary");
    ck_status(admitted(CLASS_REPLICATED, "x/counter", false), CF_READ_ONLY);
    ck_status(admitted(CLASS_CLUSTER, "x/counter", false), CF_READ_ONLY);
    ck_status(admitted(CLASS_OWN, "x/counter", false), CF_OK);
    ck_status(admitted(CLASS_REPLICATED, "x/counter", true), CF_OK); /* a promotion takes it over */
    set_role("primary");
    ck_status(admitted(CLASS_REPLICATED, "x/counter", false), CF_OK);
}
END_TEST

/* ---- time ---- */

START_TEST(time_goes_on)
{
    set_up();
    struct view *view = core_view(b->core);
    int64_t before = view_now_ns(view);
    view_unref(view);
    bench_advance(b, 3600);
    view = core_view(b->core);
    ck_assert_int_ge(view_now_ns(view), before + 3600LL * 1000000000);
    int64_t now = view_now_ns(view);
    ck_assert_int_ge(view_now_ns(view), now);
    view_unref(view);
    /* An entry with an older stamp turns nothing back. */
    b->ahead_ns = 0;
    bench_advance(b, 0);
    view = core_view(b->core);
    ck_assert_int_ge(view_now_ns(view), now);
    view_unref(view);
}
END_TEST

START_TEST(stamps_only_rise)
{
    set_up();
    CF_OWNED(arena) arena = arena_new(4096);
    int64_t last = bench_entry(b, 1, arena).stamp_ns;
    for (int i = 0; i < 50; i++) {
        bench_advance(b, 0);
        int64_t stamp = bench_entry(b, b->applied, arena).stamp_ns;
        ck_assert_int_gt(stamp, last);
        last = stamp;
    }
    /* A new leader goes on from what is applied, though its clock be behind. */
    bench_advance(b, 3600);
    core_became_leader(b->core, b->applied);
    b->ahead_ns = 0;
    bench_advance(b, 0);
    ck_assert_int_gt(bench_entry(b, b->applied, arena).stamp_ns,
                     bench_entry(b, b->applied - 1, arena).stamp_ns);
}
END_TEST

/* What the state keeps beside the keys: a fresh core over the same store. */
START_TEST(restart)
{
    set_up();
    CF_OWNED(arena) arena = arena_new(4096);
    const struct op staged[] = {put_of('c', "x", "1")};
    struct command stage = COMMAND_OF(COMMAND_STAGE, staged);
    stage.stage_generation = 6;
    run(stage);
    struct command change = {
        .id = COMMAND_SWITCH, .stage_generation = 6, .switch_classes = 1u << class_number('c')};
    run(change);
    bench_advance(b, 7200);
    struct view *before = core_view(b->core);

    struct proposer proposer = {0};
    struct core_config config = {1, 1, false, 1};
    struct core_host host = {0};
    struct core *again = core_new(&config, core_engines(b->core), &proposer, &host);
    ck_assert_ptr_null(core_view(again));
    ck_ok(core_state_changed(again, b->kv, b->state, b->applied, NULL));
    struct view *after = core_view(again);
    ck_assert_uint_eq(after->index, before->index);
    ck_assert_int_eq(after->stamp_ns, before->stamp_ns);
    ck_assert_mem_eq(after->generation, before->generation, sizeof(after->generation));
    ck_assert_ptr_null(after->keyring); /* sealed */
    ck_assert_ptr_null(after->mounts);
    ck_assert_str_eq(raw(after, arena, 'c', "x"), "1");
    struct cf_slice value;
    ck_status(
        view_get(after, (struct key){'o', 0, CF_SLICE("repl/role")}, arena, &value, NULL, NULL),
        CF_SEALED);
    view_unref(after);
    core_unsealed(again, b->keyring);
    after = core_view(again);
    ck_assert_mem_eq(after->line.bytes, before->line.bytes, sizeof(after->line.bytes));
    ck_assert_int_eq(after->role, before->role);
    view_unref(after);
    view_unref(before);
    core_free(again);
}
END_TEST

/* ---- publication ---- */

static bool has_mount(const char *path)
{
    struct view *view = core_view(b->core);
    bool found = mount_table_find(view->mounts, cf_slice_str(path)) != NULL;
    view_unref(view);
    return found;
}

/* Unsealing publishes, on another thread than the applier's: what it meets half-done must not be
 * taken for done. */
START_TEST(unsealed_amid_a_batch)
{
    char text[512];
    set_up();
    b->holds_entries = true;
    struct call *call = bench_start(b, NULL, "POST", "sys/mounts/x", "{\"type\":\"kv\"}");
    uint64_t index = b->appended;
    ck_assert_uint_eq(index, b->applied + 1);
    CF_OWNED(kv_batch) batch = kv_batch_new(b->kv);
    ck_ok(core_apply(b->core, index, cf_buf_slice(&b->log[index]), batch, NULL));
    core_apply_end(b->core, batch);
    core_unsealed(b->core, b->keyring);
    ck_assert(!has_mount("x/"));
    ck_ok(kv_commit(b->kv, batch, KV_NO_WAL, NULL));
    core_applied(b->core, index);
    ck_assert(has_mount("x/"));
    b->holds_entries = false;
    bench_apply(b);
    ck_assert(call->is_done);
    ck_assert_int_eq(call->status, 204);
    call_free(call);
    ck_assert_int_eq(bench_call(b, NULL, "GET", "sys/mounts/x", NULL, "", text), 200);
}
END_TEST

static unsigned ran, reached_count;

static void on_wait(struct index_wait *wait, bool reached)
{
    (void)wait;
    ran++;
    reached_count += reached;
}

START_TEST(waits)
{
    set_up();
    ran = reached_count = 0;
    struct index_wait now = {.index = b->applied, .run = on_wait};
    struct index_wait next = {.index = b->applied + 1, .run = on_wait};
    struct index_wait far = {.index = b->applied + 100, .run = on_wait};
    struct index_wait leading = {.index = b->applied + 100, .while_active = true, .run = on_wait};
    core_wait_index(b->core, &now);
    ck_assert_uint_eq(ran, 1);
    core_wait_index(b->core, &next);
    core_wait_index(b->core, &far);
    core_wait_index(b->core, &leading);
    ck_assert_uint_eq(ran, 1);
    bench_advance(b, 0);
    ck_assert_uint_eq(ran, 2);
    ck_assert_uint_eq(reached_count, 2);
    core_background_stop(b->core); /* the index of a leader's log may never come now */
    ck_assert_uint_eq(ran, 3);
    ck_assert_uint_eq(reached_count, 2);
    core_sealed(b->core);
    ck_assert_uint_eq(ran, 4);
    ck_assert_uint_eq(reached_count, 2);
}
END_TEST

START_TEST(sealed_and_unsealed)
{
    char token[64], text[512];
    set_up();
    bench_token(b, "{\"policies\":[\"default\"],\"ttl\":\"1h\"}", token);
    ck_assert_int_eq(bench_call(b, token, "GET", "auth/token/lookup-self", NULL, "", text), 200);
    core_sealed(b->core);
    struct view *view = core_view(b->core);
    ck_assert_ptr_null(view->keyring);
    ck_assert_ptr_null(view->mounts);
    static const uint8_t zero[32];
    ck_assert_mem_eq(view->salt, zero, sizeof(zero));
    view_unref(view);
    ck_assert_int_eq(bench_call(b, token, "GET", "auth/token/lookup-self", NULL, "errors.0", text),
                     503);
    ck_assert_str_eq(text, "Vault is sealed");
    bench_advance(b, 0); /* a sealed node applies */
    core_unsealed(b->core, b->keyring);
    ck_assert_int_eq(bench_call(b, token, "GET", "auth/token/lookup-self", NULL, "", text), 200);
}
END_TEST

START_TEST(malformed_entries_stop)
{
    set_up();
    CF_OWNED(kv_batch) batch = kv_batch_new(b->kv);
    struct cf_error err = {0};
    ck_status(core_apply(b->core, b->applied + 1, CF_SLICE("short"), batch, &err), CF_CORRUPT);
    ck_status(core_apply(b->core, b->applied + 1, CF_SLICE("12345678\1\77body"), batch, &err),
              CF_CORRUPT);
    ck_status(core_apply(b->core, b->applied + 1, CF_SLICE("12345678\377\1"), batch, &err),
              CF_UNSUPPORTED);
    ck_assert_uint_eq(kv_batch_count(batch), 0);
}
END_TEST

/* ---- after a crash: the tail of the log is applied again, by another process (P-53) ---- */

static _Atomic unsigned outside; /* proposals, reads, forwards that a replay made */

static void note_proposal(void *context, struct proposal *proposal)
{
    (void)context;
    atomic_fetch_add(&outside, 1);
    proposal->done(proposal, CF_UNAVAILABLE, 0);
}

static void note_read(void *context, struct read_wait *wait)
{
    (void)context;
    atomic_fetch_add(&outside, 1);
    wait->done(wait, CF_UNAVAILABLE, 0);
}

static bool never(void *context)
{
    (void)context;
    return false;
}

static void note_forward(void *context, struct request *rq, bool to_primary)
{
    (void)context;
    (void)to_primary;
    atomic_fetch_add(&outside, 1);
    core_host_done(rq, CF_UNAVAILABLE);
}

/* A process of its own, sealed, that applies from..to in batches of so many entries. */
static void apply_range(struct kv *kv, struct kv_family *family, uint64_t from, uint64_t to,
                        uint64_t batch_entries)
{
    struct proposer proposer = {NULL, note_proposal, note_read, never, never};
    struct core_config config = {.default_lease_ttl_s = 3600, .max_lease_ttl_s = 3600, .workers = 1};
    struct core_host host = {NULL, NULL, note_forward};
    struct core *core = core_new(&config, registry_engines, &proposer, &host);
    ck_ok(core_state_changed(core, kv, family, from - 1, NULL));
    for (uint64_t at = from; at <= to;) {
        CF_OWNED(kv_batch) batch = kv_batch_new(kv);
        uint64_t last = cf_min(at + batch_entries - 1, to);
        for (; at <= last; at++) {
            ck_ok(core_apply(core, at, cf_buf_slice(&b->log[at]), batch, NULL));
        }
        core_apply_end(core, batch);
        ck_ok(kv_commit(kv, batch, KV_NO_WAL, NULL));
        core_applied(core, last);
    }
    core_free(core);
}

static void all_bytes(struct kv *kv, struct kv_family *family, struct cf_buf *to)
{
    CF_OWNED(kv_iterator) it = kv_iterator_new(kv_now(kv), family, (struct kv_range){.bulk = true});
    for (kv_seek_first(it); kv_valid(it); kv_next(it)) {
        cf_buf_add_u64(to, kv_key(it).size);
        cf_buf_add_slice(to, kv_key(it));
        cf_buf_add_u64(to, kv_bytes(it).size);
        cf_buf_add_slice(to, kv_bytes(it));
    }
    ck_ok(kv_iterator_check(it, NULL));
}

static void some_history(void)
{
    static const struct op ops[] = {{OP_DELETE_PREFIX, {CLASS_CLUSTER, 0, {(const uint8_t *)"x/", 2}}, {NULL, 0}}};
    char path[64];
    ck_assert_int_eq(bench_call(b, b->root, "POST", "sys/mounts/kv", "{\"type\":\"kv\"}", NULL, NULL), 204);
    for (int i = 0; i < 12; i++) {
        (void)snprintf(path, sizeof(path), "kv/k%d", i % 7);
        ck_assert_int_eq(bench_call(b, b->root, "POST", path, i % 2 == 0 ? "{\"a\":\"1\"}" : "{\"a\":\"22\"}", NULL, NULL), 204);
    }
    ck_assert_int_eq(bench_call(b, b->root, "DELETE", "kv/k3", NULL, NULL, NULL), 204);
    ck_assert_int_eq(bench_call(b, b->root, "POST", "auth/token/create", "{\"ttl\":\"1h\"}", NULL, NULL), 200);
    run(COMMAND_OF(COMMAND_WRITE, ops));
    ck_assert_int_eq(bench_call(b, b->root, "DELETE", "sys/mounts/kv", NULL, NULL, NULL), 204);
}

/* Wherever the process died, and however the entries fall into batches: the same bytes as where they were applied
 * first. And nothing but the state is touched. */
static void replay(bool looks_outside)
{
    CF_BUF(want) = {0};
    some_history();
    uint64_t last = b->applied;
    all_bytes(b->kv, b->state, &want);
    atomic_store(&outside, 0);
    unsigned hosts = b->host_calls, forwards = b->forwards;
    for (uint64_t died = 1; died < last; died++) {
        struct kv *kv = kv_open_memory();
        struct kv_family *family = NULL;
        CF_BUF(got) = {0};
        ck_ok(kv_family_create(kv, "state-0", &family, NULL));
        apply_range(kv, family, 1, died, 1 + died % 3);
        apply_range(kv, family, died + 1, last, 1 + died % 5);
        all_bytes(kv, family, &got);
        ck_assert_msg(cf_slice_eq(cf_buf_slice(&got), cf_buf_slice(&want)), "died at %d of %d",
                      (int)died, (int)last);
        kv_family_unref(family);
        kv_close(kv);
    }
    if (looks_outside) {
        ck_assert_uint_eq(atomic_load(&outside), 0);
        ck_assert_uint_eq(b->host_calls, hosts);
        ck_assert_uint_eq(b->forwards, forwards);
        ck_assert_uint_eq(b->appended, last);
    }
}

START_TEST(apply_replay_identical)
{
    set_up();
    replay(false);
}
END_TEST

START_TEST(apply_replay_no_side_effect)
{
    set_up();
    replay(true);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {generations,
                                  switching_several_classes,
                                  deleted_prefixes,
                                  shipped_entries,
                                  roles,
                                  one_writer_on_a_dr_secondary,
                                  time_goes_on,
                                  stamps_only_rise,
                                  restart,
                                  unsealed_amid_a_batch,
                                  waits,
                                  sealed_and_unsealed,
                                  malformed_entries_stop,
                                  apply_replay_identical,
                                  apply_replay_no_side_effect};
    int failed = test_run("node/core/publish", tests, CF_LENGTH(tests));
    tear_down();
    return failed;
}

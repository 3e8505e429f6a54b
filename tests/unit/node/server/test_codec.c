/* tests/unit/node/server/test_codec.c: what leaves a cluster, what may come in, and pages. */
#include "node/server/replication/codec.h"

#include "node/base/memory.h"
#include "state.h"

#define OP(op, class, name, value)                                                                 \
    {                                                                                              \
        (op), {(class), 0, CF_SLICE(name)}, CF_SLICE(value)                                        \
    }

static const struct op mixed[] = {
    OP(OP_PUT, CLASS_REPLICATED, "r1", "1"), OP(OP_PUT, CLASS_CLUSTER, "c1", "2"),
    OP(OP_PUT, CLASS_OWN, "o1", "3"),        OP(OP_DELETE_PREFIX, CLASS_REPLICATED, "r/", ""),
    OP(OP_DELETE, CLASS_CLUSTER, "c2", ""),
};
static const struct op only_own[] = {OP(OP_PUT, CLASS_OWN, "o1", "3")};
static const struct op position[] = {OP(OP_PUT, CLASS_CLUSTER, "replpos/performance", "p")};

static struct arena *arena;

static struct cf_slice encoded(const struct command *command, int64_t stamp_ns)
{
    CF_BUF(buf) = {0};
    ck_ok(command_encode(&buf, command, NULL));
    command_set_stamp(&buf, stamp_ns);
    return arena_copy(arena, cf_buf_slice(&buf));
}

static struct cf_slice write_of(const struct op *ops, size_t count)
{
    return encoded(&(struct command){.id = COMMAND_WRITE, .ops = ops, .op_count = count}, 55);
}

/* The batch as the other side sees it. */
static struct command sent(const struct codec_batch *batch)
{
    CF_BUF(buf) = {0};
    struct command command;
    ck_ok(codec_encode(batch, &buf, NULL));
    ck_assert_uint_ne(buf.size, 0);
    ck_ok(command_decode(arena_copy(arena, cf_buf_slice(&buf)), arena, &command, NULL));
    ck_assert_int_eq((int)command.id, COMMAND_SHIPPED);
    ck_assert_uint_eq(command.op_count, 0);
    return command;
}

static void ck_names(const struct source_entry *entry, const char *names)
{
    CF_BUF(got) = {0};
    for (size_t i = 0; i < entry->op_count; i++) {
        cf_buf_addf(&got, "%s%.*s", i != 0 ? " " : "", CF_SHOW(entry->ops[i].key.name));
    }
    ck_assert_str_eq(cf_buf_text(&got), names);
}

START_TEST(what_ships)
{
    for (unsigned class = 0; class < 256; class ++) {
        bool r = class == CLASS_REPLICATED, c = class == CLASS_CLUSTER;
        ck_assert(codec_ships(REPL_PERFORMANCE, (uint8_t) class) == r);
        ck_assert(codec_ships(REPL_DR, (uint8_t) class) == (r || c));
    }
}
END_TEST

START_TEST(writes_by_kind)
{
    bool switched;
    for (enum repl_kind kind = 0; kind < REPL_KIND_COUNT; kind++) {
        CF_BUF(nothing) = {0};
        arena = arena_new(4096);
        struct codec_batch batch = {.arena = arena, .kind = kind};
        ck_ok(codec_add(&batch, 3, 41, write_of(only_own, 1), &switched, NULL));
        ck_ok(codec_add(&batch, 3, 42, encoded(&(struct command){.id = COMMAND_TICK}, 9), &switched,
                        NULL));
        ck_ok(codec_encode(&batch, &nothing, NULL));
        ck_assert_uint_eq(nothing.size, 0); /* of no concern to anybody */
        ck_ok(codec_add(&batch, 4, 43, write_of(mixed, CF_LENGTH(mixed)), &switched, NULL));
        ck_assert(!switched);
        struct command command = sent(&batch);
        ck_assert_uint_eq(command.entry_count, 1);
        ck_assert(command.entries[0].term == 4 && command.entries[0].index == 43);
        ck_assert(command.entries[0].stamp_ns == 55);
        ck_names(&command.entries[0], kind == REPL_DR ? "r1 c1 r/ c2" : "r1 r/");
        arena_free(arena);
    }
}
END_TEST

START_TEST(switch_is_told)
{
    bool switched = false;
    arena = arena_new(4096);
    struct codec_batch batch = {.arena = arena, .kind = REPL_DR};
    struct command stage = {
        .id = COMMAND_STAGE, .ops = mixed, .op_count = 1, .stage_generation = 3};
    struct command change = {.id = COMMAND_SWITCH,
                             .ops = only_own,
                             .op_count = 1,
                             .stage_generation = 3,
                             .switch_classes = 3};
    ck_ok(codec_add(&batch, 1, 1, encoded(&stage, 0), &switched, NULL));
    ck_assert(!switched && batch.count == 0); /* a stage is nobody's to see */
    ck_ok(codec_add(&batch, 1, 2, encoded(&change, 0), &switched, NULL));
    ck_assert(switched && batch.count == 0);
    ck_status(codec_add(&batch, 1, 3, CF_SLICE("short"), &switched, NULL), CF_CORRUPT);
    arena_free(arena);
}
END_TEST

/* An entry of three received ones, and our position beside them. */
static struct cf_slice received(void)
{
    static const struct op a[] = {OP(OP_PUT, CLASS_REPLICATED, "a", "1")};
    static const struct op b[] = {OP(OP_PUT, CLASS_CLUSTER, "b", "2"),
                                  OP(OP_DELETE, CLASS_REPLICATED, "a", "")};
    static const struct op c[] = {OP(OP_PUT, CLASS_REPLICATED, "c", "3")};
    static const struct source_entry entries[] = {
        {2, 10, 1, a, 1}, {2, 12, 2, b, 2}, {3, 13, 3, c, 1}};
    return encoded(&(struct command){.id = COMMAND_SHIPPED,
                                     .ops = position,
                                     .op_count = 1,
                                     .entries = entries,
                                     .entry_count = 3},
                   77);
}

START_TEST(received_entries_become_one)
{
    bool switched;
    for (enum repl_kind kind = 0; kind < REPL_KIND_COUNT; kind++) {
        arena = arena_new(4096);
        struct codec_batch batch = {.arena = arena, .kind = kind};
        ck_ok(codec_add(&batch, 8, 100, received(), &switched, NULL));
        struct command command = sent(&batch);
        ck_assert_uint_eq(command.entry_count, 1);
        ck_assert(command.entries[0].term == 8 && command.entries[0].index == 100);
        ck_assert(command.entries[0].stamp_ns == 77);
        /* DR secondaries of a performance secondary carry on with its link: they get its position.
         */
        ck_names(&command.entries[0], kind == REPL_DR ? "a b a c replpos/performance" : "a a c");
        arena_free(arena);
    }
}
END_TEST

START_TEST(above_cuts)
{
    static const struct {
        uint64_t above;
        const char *names;
    } cuts[] = {{9, "a b a c replpos/performance"},
                {10, "b a c replpos/performance"},
                {11, "b a c replpos/performance"},
                {12, "c replpos/performance"},
                {13, NULL},
                {UINT64_MAX, NULL}};
    for (size_t i = 0; i < CF_LENGTH(cuts); i++) {
        bool is_shipped;
        uint64_t oldest, newest;
        arena = arena_new(4096);
        struct codec_batch batch = {.arena = arena, .kind = REPL_DR};
        ck_ok(codec_add_shipped(&batch, 8, 100, received(), cuts[i].above, &is_shipped, &oldest,
                                &newest, NULL));
        ck_assert(is_shipped && oldest == 10 && newest == 13);
        ck_assert_uint_eq(batch.count, cuts[i].names != NULL ? 1 : 0);
        if (batch.count != 0) {
            struct command command = sent(&batch);
            ck_names(&command.entries[0], cuts[i].names);
        }
        /* Entries of our own are not this function's business. */
        ck_ok(codec_add_shipped(&batch, 8, 101, write_of(mixed, 1), 0, &is_shipped, &oldest,
                                &newest, NULL));
        ck_assert(!is_shipped && oldest == 0 && newest == 0);
        arena_free(arena);
    }
}
END_TEST

/* ---- receiving ---- */

static cf_status receive(enum repl_kind kind, struct cf_slice batch, struct command *ret,
                         struct window_claim **claim)
{
    CF_BUF(to) = {0};
    cf_status status = codec_receive(kind, batch, position, 1, arena, &to, claim, NULL);
    if (status == CF_OK) {
        ck_ok(command_decode(arena_copy(arena, cf_buf_slice(&to)), arena, ret, NULL));
    }
    return status;
}

static struct cf_slice batch_of(const struct op *ops, size_t count)
{
    const struct source_entry entry = {2, 10, 5, ops, count};
    return encoded(&(struct command){.id = COMMAND_SHIPPED, .entries = &entry, .entry_count = 1},
                   0);
}

START_TEST(received_with_the_position)
{
    struct command command;
    struct window_claim *claim;
    static const struct op ops[] = {OP(OP_PUT, CLASS_REPLICATED, "a", "1"),
                                    OP(OP_DELETE_PREFIX, CLASS_REPLICATED, "b/", "")};
    arena = arena_new(4096);
    ck_ok(receive(REPL_PERFORMANCE, batch_of(ops, 2), &command, &claim));
    ck_assert_int_eq((int)command.id, COMMAND_SHIPPED);
    ck_assert_uint_eq(command.entry_count, 1);
    ck_assert(command.entries[0].term == 2 && command.entries[0].index == 10);
    ck_names(&command.entries[0], "a b/");
    ck_assert_uint_eq(command.op_count, 1);
    ck_slice(command.ops[0].key.name, "replpos/performance");
    ck_assert_uint_eq(claim->write_count, 3); /* local requests hear of every key */
    ck_assert(claim->read_count == 0 && claim->range_count == 0);
    ck_slice(claim->writes[0].name, "a");
    ck_slice(claim->writes[1].name, "b/");
    ck_slice(claim->writes[2].name, "replpos/performance");
    ck_assert(!claim->is_range[0] && claim->is_range[1] && !claim->is_range[2]);
    /* Nothing of concern to us: the position still moves. */
    ck_ok(receive(REPL_PERFORMANCE, CF_SLICE_EMPTY, &command, &claim));
    ck_assert(command.entry_count == 0 && command.op_count == 1 && claim->write_count == 1);
    arena_free(arena);
}
END_TEST

START_TEST(what_must_not_come)
{
    struct command command;
    struct window_claim *claim;
    arena = arena_new(4096);
    for (size_t i = 0; i < CF_LENGTH(mixed); i++) {
        uint8_t class = mixed[i].key.class;
        struct cf_slice batch = batch_of(mixed, i + 1);
        bool dr = i < 2, performance = i < 1; /* the second is of class c, the third of class o */
        ck_status(receive(REPL_DR, batch, &command, &claim), dr ? CF_OK : CF_CORRUPT);
        ck_status(receive(REPL_PERFORMANCE, batch, &command, &claim),
                  performance ? CF_OK : CF_CORRUPT);
        batch = batch_of(&mixed[i], 1);
        ck_status(receive(REPL_DR, batch, &command, &claim),
                  class == CLASS_OWN ? CF_CORRUPT : CF_OK);
        ck_status(receive(REPL_PERFORMANCE, batch, &command, &claim),
                  class == CLASS_REPLICATED ? CF_OK : CF_CORRUPT);
    }
    /* Other commands, and own effects smuggled in beside the entries. */
    ck_status(receive(REPL_DR, write_of(mixed, 1), &command, &claim), CF_CORRUPT);
    ck_status(receive(REPL_DR, received(), &command, &claim), CF_CORRUPT);
    ck_status(receive(REPL_DR, CF_SLICE("x"), &command, &claim), CF_CORRUPT);
    /* Indexes rise from 1. */
    struct source_entry two[] = {{2, 10, 5, mixed, 1}, {2, 11, 5, mixed, 1}};
    struct command pair = {.id = COMMAND_SHIPPED, .entries = two, .entry_count = 2};
    ck_ok(receive(REPL_DR, encoded(&pair, 0), &command, &claim));
    two[1].index = 10;
    ck_status(receive(REPL_DR, encoded(&pair, 0), &command, &claim), CF_CORRUPT);
    two[0].index = 0;
    ck_status(receive(REPL_DR, encoded(&pair, 0), &command, &claim), CF_CORRUPT);
    struct cf_slice good = batch_of(mixed, 1);
    for (size_t size = 1; size < good.size; size++) {
        uint8_t *copy = cf_memdup(good.data, size);
        cf_status status = receive(REPL_DR, cf_slice_of(copy, size), &command, &claim);
        ck_assert(status == CF_OK || status == CF_CORRUPT);
        cf_free(copy);
    }
    arena_free(arena);
}
END_TEST

/* ---- pages ---- */

struct walk {
    struct op ops[64];
    size_t count, pages;
};

/* All pages of that size; what they hold goes into `to`, staged and at once current there. */
static void walk_pages(const struct state *from, enum repl_kind kind, size_t max_bytes,
                       struct walk *walk, struct state *to)
{
    CF_BUF(cursor) = {0};
    bool done = false;
    *walk = (struct walk){0};
    while (!done) {
        CF_BUF(page) = {0};
        CF_BUF(next) = {0};
        CF_BUF(entry) = {0};
        struct command command;
        uint64_t keys = 99;
        ck_ok(codec_page(&from->view, kind, NULL, cf_buf_slice(&cursor), CF_SLICE_EMPTY, max_bytes,
                         &page, &next, &keys, &done, NULL));
        ck_ok(codec_stage(kind, cf_buf_slice(&page), 77, &entry, NULL));
        ck_ok(command_decode(arena_copy(arena, cf_buf_slice(&entry)), arena, &command, NULL));
        ck_assert_int_eq((int)command.id, COMMAND_STAGE);
        ck_assert_uint_eq(command.stage_generation, 77);
        ck_assert_uint_eq(command.op_count, keys);
        ck_assert(done || keys != 0); /* it gets on */
        for (size_t i = 1; i < keys; i++) {
            ck_assert_int_eq(command.ops[i].key.class, command.ops[0].key.class);
        }
        ck_assert(done == (next.size == 0));
        ck_assert_uint_le(walk->count + keys, CF_LENGTH(walk->ops));
        memcpy(walk->ops + walk->count, command.ops, keys * sizeof(walk->ops[0]));
        walk->count += keys;
        walk->pages++;
        cf_buf_reset(&cursor);
        cf_buf_add_slice(&cursor, cf_buf_slice(&next));
    }
    for (size_t i = 0; i < walk->count; i++) {
        state_put(to, walk->ops[i].key, walk->ops[i].value);
    }
}

/* The pairs of one class, in order, from walk->ops[at] on. */
static size_t ck_class(const struct walk *walk, size_t at, uint8_t class)
{
    for (size_t i = 0; i < CF_LENGTH(state_pairs); i++) {
        const struct state_pair *pair = &state_pairs[i];
        if (pair->key.class != class) {
            continue;
        }
        const struct op *op = &walk->ops[at++];
        ck_assert_int_eq(op->kind, OP_PUT);
        ck_assert(op->key.class == class && op->key.ns == pair->key.ns);
        ck_assert(cf_slice_eq(op->key.name, pair->key.name));
        ck_assert(cf_slice_eq(op->value, pair->value)); /* without the modification index */
    }
    return at;
}

static void ck_same_root(const struct state *a, const struct state *b, enum repl_kind kind)
{
    char ra[ROOT_TEXT_SIZE], rb[ROOT_TEXT_SIZE];
    state_root(a, kind, ra);
    state_root(b, kind, rb);
    ck_assert_str_eq(ra, rb);
}

START_TEST(pages_of_every_size)
{
    struct state from;
    state_begin(&from, 5, 1000);
    state_fill(&from);
    state_put_at(&from, KEY(CLASS_REPLICATED, 0, "old"), 4, CF_SLICE("x"));
    state_put_at(&from, KEY(CLASS_REPLICATED, 0, "stage"), 6, CF_SLICE("x"));
    state_put_at(&from, KEY(CLASS_CLUSTER, 0, "old"), 5, CF_SLICE("x"));
    for (enum repl_kind kind = 0; kind < REPL_KIND_COUNT; kind++) {
        for (size_t max_bytes = 1; max_bytes < 1000; max_bytes += max_bytes < 50 ? 1 : 23) {
            struct walk walk;
            struct state to;
            arena = arena_new(4096);
            state_begin(&to, 40, 1);
            walk_pages(&from, kind, max_bytes, &walk, &to);
            size_t at = kind == REPL_DR ? ck_class(&walk, 0, CLASS_CLUSTER) : 0; /* in the order of the store */
            at = ck_class(&walk, at, CLASS_REPLICATED);
            ck_assert_uint_eq(at, walk.count); /* and not a key more */
            if (max_bytes == 1) {
                ck_assert_uint_eq(walk.pages, walk.count + 1); /* one key each, then none */
            }
            ck_same_root(&from, &to, kind);
            state_end(&to);
            arena_free(arena);
        }
    }
    state_end(&from);
}
END_TEST

START_TEST(pages_of_nothing)
{
    struct state from, to;
    struct walk walk;
    arena = arena_new(4096);
    state_begin(&from, 5, 1);
    state_begin(&to, 6, 1);
    state_put(&from, KEY(CLASS_OWN, 0, "o"), CF_SLICE("never"));
    walk_pages(&from, REPL_DR, 100, &walk, &to);
    ck_assert(walk.count == 0 && walk.pages == 1);
    state_put(&from, KEY(CLASS_CLUSTER, 0, "c"), CF_SLICE("v"));
    walk_pages(&from, REPL_PERFORMANCE, 100, &walk, &to);
    ck_assert(walk.count == 0 && walk.pages == 1);
    walk_pages(&from, REPL_DR, 100, &walk, &to);
    ck_assert(walk.count == 1 && walk.pages == 2); /* a page holds one class */
    state_end(&from);
    state_end(&to);
    arena_free(arena);
}
END_TEST

static cf_status page_at(const struct state *from, enum repl_kind kind, struct key key,
                         uint32_t generation, uint64_t *keys)
{
    CF_BUF(cursor) = {0};
    CF_BUF(page) = {0};
    CF_BUF(next) = {0};
    bool done;
    key_encode(&cursor, key, generation);
    return codec_page(&from->view, kind, NULL, cf_buf_slice(&cursor), CF_SLICE_EMPTY, 1 << 20, &page,
                      &next, keys, &done, NULL);
}

/* A cursor comes over the wire: it opens nothing that the first page would not. */
START_TEST(cursors_from_elsewhere)
{
    struct state from;
    uint64_t keys;
    state_begin(&from, 5, 1);
    state_fill(&from);
    state_put_at(&from, KEY(CLASS_REPLICATED, 0, "old"), 4, CF_SLICE("x"));
    state_put_at(&from, KEY(CLASS_REPLICATED, 0, "stage"), 6, CF_SLICE("x"));
    ck_status(page_at(&from, REPL_DR, KEY(CLASS_OWN, 0, ""), 7, &keys), CF_INVALID);
    ck_status(page_at(&from, REPL_PERFORMANCE, KEY(CLASS_CLUSTER, 0, ""), 6, &keys), CF_INVALID);
    ck_status(page_at(&from, REPL_DR, KEY('x', 0, ""), 5, &keys), CF_INVALID);
    ck_status(page_at(&from, REPL_DR, KEY(CLASS_REPLICATED, 0, ""), 4, &keys), CF_INVALID);
    ck_ok(page_at(&from, REPL_PERFORMANCE, KEY(CLASS_REPLICATED, 0, ""), 6, &keys));
    ck_assert_uint_eq(keys, 0); /* behind the end */
    ck_ok(page_at(&from, REPL_DR, KEY(CLASS_CLUSTER, 0, ""), 6, &keys));
    ck_assert_uint_ge(keys, 3);
    state_end(&from);
}
END_TEST

/* A page that was there before is asked for with its bounds: the same state gives the same bytes, and what was added
 * behind the bound does not matter. */
START_TEST(pages_with_a_bound)
{
    struct state from;
    CF_BUF(first) = {0};
    CF_BUF(middle) = {0};
    CF_BUF(again) = {0};
    CF_BUF(rest) = {0};
    uint64_t keys, fewer;
    bool done;
    state_begin(&from, 5, 1);
    state_fill(&from);
    ck_ok(codec_page(&from.view, REPL_DR, NULL, CF_SLICE_EMPTY, CF_SLICE_EMPTY, 60, &first, &middle, &keys,
                     &done, NULL));
    ck_assert(!done);
    ck_ok(codec_page(&from.view, REPL_DR, NULL, CF_SLICE_EMPTY, cf_buf_slice(&middle), 1 << 20, &again, &rest,
                     &fewer, &done, NULL));
    ck_assert(!done && cf_slice_eq(cf_buf_slice(&rest), cf_buf_slice(&middle)));
    ck_assert_uint_eq(fewer, keys);
    ck_assert(cf_slice_eq(cf_buf_slice(&first), cf_buf_slice(&again)));
    /* A bound that no page gave, or that lies before the cursor. */
    ck_status(codec_page(&from.view, REPL_DR, NULL, cf_buf_slice(&middle), cf_buf_slice(&middle), 60, &again,
                         &rest, &keys, &done, NULL), CF_INVALID);
    ck_status(codec_page(&from.view, REPL_DR, NULL, CF_SLICE_EMPTY, CF_SLICE("o"), 60, &again, &rest, &keys,
                         &done, NULL), CF_INVALID);
    state_end(&from);
}
END_TEST

static cf_status stage(enum repl_kind kind, enum command_id id, const struct op *op)
{
    CF_BUF(to) = {0};
    struct command command = {.id = id, .ops = op, .op_count = 1};
    return codec_stage(kind, encoded(&command, 0), 77, &to, NULL);
}

START_TEST(pages_that_are_none)
{
    CF_BUF(to) = {0};
    arena = arena_new(4096);
    ck_ok(stage(REPL_DR, COMMAND_STAGE, &mixed[0]));
    ck_ok(stage(REPL_DR, COMMAND_STAGE, &mixed[1]));
    ck_status(stage(REPL_PERFORMANCE, COMMAND_STAGE, &mixed[1]), CF_CORRUPT);
    ck_status(stage(REPL_DR, COMMAND_STAGE, &mixed[2]), CF_CORRUPT);
    ck_status(stage(REPL_DR, COMMAND_STAGE, &mixed[3]), CF_CORRUPT); /* deletes */
    ck_status(stage(REPL_DR, COMMAND_STAGE, &mixed[4]), CF_CORRUPT);
    ck_status(stage(REPL_DR, COMMAND_WRITE, &mixed[0]), CF_CORRUPT);
    ck_status(stage(REPL_DR, COMMAND_SWITCH, &mixed[0]), CF_CORRUPT);
    ck_status(codec_stage(REPL_DR, CF_SLICE_EMPTY, 77, &to, NULL), CF_CORRUPT);
    ck_status(codec_stage(REPL_DR, CF_SLICE("no page"), 77, &to, NULL), CF_CORRUPT);
    arena_free(arena);
}
END_TEST

TEST_MAIN("node/server/replication/codec", what_ships, writes_by_kind, switch_is_told,
          received_entries_become_one, above_cuts, received_with_the_position, what_must_not_come,
          pages_of_every_size, pages_of_nothing, pages_with_a_bound, cursors_from_elsewhere, pages_that_are_none)

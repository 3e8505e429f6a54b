/* tests/unit/node/core/test_window.c: who may append, and who waits for whom. */
#include "node/core/window.h"

#include "node/base/host.h"
#include "node/base/memory.h"
#include "tests/lib/test.h"

static struct window *w;

static void set_up(void)
{
    window_free(w);
    w = window_new(64, 4096);
}

static struct key key(const char *name)
{
    return (struct key){CLASS_CLUSTER, NAMESPACE_ROOT, cf_slice_str(name)};
}

/* A claim of at most four of each; names end with NULL. */
struct claim {
    struct window_claim claim;
    uint64_t reads[4];
    struct key ranges[4], writes[4];
    bool is_range[4];
};

static struct window_claim *at(struct claim *c, uint64_t view_index)
{
    *c = (struct claim){.claim = {.view_index = view_index,
                                  .reads = c->reads,
                                  .ranges = c->ranges,
                                  .writes = c->writes,
                                  .is_range = c->is_range}};
    return &c->claim;
}

static void reads(struct claim *c, const char *name)
{
    c->reads[c->claim.read_count++] = key_hash(key(name));
}

static void lists(struct claim *c, const char *prefix)
{
    c->ranges[c->claim.range_count++] = key(prefix);
}

static void writes(struct claim *c, const char *name)
{
    c->writes[c->claim.write_count++] = key(name);
}

static void deletes_prefix(struct claim *c, const char *prefix)
{
    c->is_range[c->claim.write_count] = true;
    writes(c, prefix);
}

static void append(uint64_t index, const char *name)
{
    struct claim c;
    at(&c, index - 1);
    writes(&c, name);
    window_appended(w, &c.claim, index);
}

static cf_status check(struct claim *c, uint64_t *retry)
{
    *retry = 0;
    return window_check(w, &c->claim, retry);
}

#define ck_conflict(c, want)                                                                       \
    do {                                                                                           \
        uint64_t retry_;                                                                           \
        ck_status(check((c), &retry_), CF_CONFLICT);                                               \
        ck_assert_uint_eq(retry_, (want));                                                         \
    } while (0)
#define ck_free(c)                                                                                 \
    do {                                                                                           \
        uint64_t retry_;                                                                           \
        ck_status(check((c), &retry_), CF_OK);                                                     \
    } while (0)

START_TEST(point_reads)
{
    set_up();
    struct claim c;
    append(5, "a");
    append(6, "b");
    append(9, "a");
    at(&c, 4);
    reads(&c, "a");
    ck_conflict(&c, 9); /* the newest: one more run is enough */
    at(&c, 8);
    reads(&c, "a");
    ck_conflict(&c, 9);
    at(&c, 9);
    reads(&c, "a");
    reads(&c, "b");
    ck_free(&c);
    at(&c, 5);
    reads(&c, "b");
    ck_conflict(&c, 6);
    at(&c, 4);
    reads(&c, "c");
    writes(&c, "a"); /* writes alone are unconditional */
    ck_free(&c);
}
END_TEST

START_TEST(classes_and_namespaces_are_apart)
{
    set_up();
    struct claim c;
    append(5, "a");
    at(&c, 4);
    c.reads[c.claim.read_count++] = key_hash((struct key){CLASS_OWN, 0, CF_SLICE("a")});
    c.reads[c.claim.read_count++] = key_hash((struct key){CLASS_CLUSTER, 7, CF_SLICE("a")});
    c.ranges[c.claim.range_count++] = (struct key){CLASS_OWN, 0, CF_SLICE("")};
    c.ranges[c.claim.range_count++] = (struct key){CLASS_CLUSTER, 7, CF_SLICE("")};
    ck_free(&c);
}
END_TEST

START_TEST(listed_ranges)
{
    set_up();
    struct claim c;
    append(5, "d/x/1");
    at(&c, 4);
    lists(&c, "d/x/");
    ck_conflict(&c, 5);
    at(&c, 4);
    lists(&c, "d/y/");
    lists(&c, "d/x/1/"); /* below the key: not it */
    ck_free(&c);
    at(&c, 5);
    lists(&c, "");
    ck_free(&c);
    append(6, "d/y");
    at(&c, 5);
    lists(&c, "d/y/");
    ck_free(&c);
    at(&c, 5);
    lists(&c, ""); /* everything of the class */
    ck_conflict(&c, 6);
}
END_TEST

START_TEST(deleted_prefixes)
{
    set_up();
    struct claim c;
    at(&c, 4);
    deletes_prefix(&c, "d/x/");
    window_appended(w, &c.claim, 5);
    static const char *const meeting[] = {"d/x/", "d/", "", "d/x/y/"};
    for (size_t i = 0; i < CF_LENGTH(meeting); i++) {
        at(&c, 4);
        lists(&c, meeting[i]);
        ck_conflict(&c, 5);
        at(&c, 4);
        deletes_prefix(&c, meeting[i]);
        ck_conflict(&c, 5);
    }
    at(&c, 4);
    writes(&c, "d/x/1"); /* made from what was there before */
    ck_conflict(&c, 5);
    at(&c, 4);
    lists(&c, "d/y/");
    writes(&c, "d/x");
    writes(&c, "d/y/1");
    reads(&c, "d/x/1"); /* the header says why a point read alone does not meet it */
    ck_free(&c);
    at(&c, 5);
    writes(&c, "d/x/1");
    ck_free(&c);
}
END_TEST

/* What was forgotten counts as touched: an older view runs again, whatever it read. */
START_TEST(forgetting_raises_the_floor)
{
    set_up();
    struct claim c;
    char name[16];
    for (uint64_t i = 1; i <= 200; i++) {
        snprintf(name, sizeof(name), "k%u", (unsigned)i);
        append(i, name);
    }
    at(&c, 100);
    reads(&c, "other");
    uint64_t retry;
    ck_status(check(&c, &retry), CF_CONFLICT);
    ck_assert_uint_ge(retry, 136); /* 64 keys are remembered */
    ck_assert_uint_lt(retry, 200);
    at(&c, retry);
    reads(&c, "other");
    reads(&c, "k100");
    ck_free(&c);
    at(&c, retry);
    reads(&c, "k200");
    ck_conflict(&c, 200);
}
END_TEST

START_TEST(bytes_are_capped_too)
{
    set_up();
    struct claim c;
    char name[1024];
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    append(1, "a");
    for (uint64_t i = 2; i <= 6; i++) {
        append(i, name);
    }
    at(&c, 0);
    reads(&c, "a");
    uint64_t retry;
    ck_status(check(&c, &retry), CF_CONFLICT);
    ck_assert_uint_gt(retry, 1);
    /* A single name above the cap is still seen. */
    CF_BUF(huge) = {0};
    for (int i = 0; i < 8; i++) {
        cf_buf_add_str(&huge, name);
    }
    append(7, cf_buf_text(&huge));
    at(&c, 6);
    reads(&c, cf_buf_text(&huge));
    ck_status(check(&c, &retry), CF_CONFLICT);
}
END_TEST

START_TEST(large_batches_touch_everything)
{
    set_up();
    struct key many[40];
    bool is_range[40] = {0};
    for (size_t i = 0; i < CF_LENGTH(many); i++) {
        many[i] = key("m");
    }
    struct window_claim large = {.writes = many, .is_range = is_range, .write_count = 40};
    struct claim c;
    window_appended(w, &large, 9);
    at(&c, 8);
    reads(&c, "unrelated");
    ck_conflict(&c, 9);
    window_appended_all(w, 12);
    at(&c, 11);
    ck_conflict(&c, 12);
    at(&c, 12);
    reads(&c, "m");
    ck_free(&c);
}
END_TEST

START_TEST(a_new_leader_knows_nothing)
{
    set_up();
    struct claim c;
    append(5, "a");
    window_reset(w, 20);
    at(&c, 19);
    ck_conflict(&c, 20);
    at(&c, 20);
    reads(&c, "a");
    lists(&c, "");
    ck_free(&c);
}
END_TEST

START_TEST(applied_entries_keep_a_tail)
{
    set_up();
    struct claim c;
    append(5, "a");
    window_applied(w, 6);
    at(&c, 4);
    reads(&c, "a");
    ck_conflict(&c, 5);
    window_applied(w, 100000); /* forgotten, hence touched for all older views */
    at(&c, 4);
    reads(&c, "b");
    ck_conflict(&c, 5);
}
END_TEST

/* ---- tickets ---- */

START_TEST(younger_writers_wait)
{
    set_up();
    struct claim old, young;
    at(&old, 4);
    reads(&old, "a");
    lists(&old, "l/");
    writes(&old, "b");
    old.claim.ticket = window_ticket(w, &old.claim);
    ck_assert_uint_ne(old.claim.ticket, 0);

    static const char *const in_set[] = {"a", "b", "l/1"};
    for (size_t i = 0; i < CF_LENGTH(in_set); i++) {
        at(&young, 10);
        writes(&young, in_set[i]);
        ck_conflict(&young, 0);
        ck_assert(window_must_wait(w, &young.claim));
        young.claim.ticket =
            window_ticket(w, &young.claim); /* a ticket does not help a younger one */
        ck_conflict(&young, 0);
        window_ticket_end(w, young.claim.ticket);
    }
    at(&young, 10);
    deletes_prefix(&young, "z/"); /* rare: they wait for all that are older */
    ck_conflict(&young, 0);
    at(&young, 10);
    writes(&young, "c");
    reads(&young, "a");
    lists(&young, "l/"); /* readers do not disturb it */
    ck_free(&young);
    ck_assert(!window_must_wait(w, &young.claim));

    ck_free(&old);
    window_ticket_end(w, old.claim.ticket);
    at(&young, 10);
    writes(&young, "a");
    ck_free(&young);
    window_ticket_end(w, old.claim.ticket); /* unknown by now */
    window_ticket_end(w, 12345);
}
END_TEST

START_TEST(older_ones_ignore_younger_tickets)
{
    set_up();
    struct claim first, second;
    at(&first, 4);
    writes(&first, "a");
    first.claim.ticket = window_ticket(w, &first.claim);
    at(&second, 4);
    writes(&second, "a");
    second.claim.ticket = window_ticket(w, &second.claim);
    ck_assert_uint_lt(first.claim.ticket, second.claim.ticket);
    ck_free(&first);
    ck_conflict(&second, 0);
    window_ticket_end(w, first.claim.ticket);
    ck_free(&second);
}
END_TEST

/* Twenty requests on one key, each of them rerun as often as the window says: they get through in
 * the order of their tickets, and none is passed by who came later. */
START_TEST(the_oldest_gets_through)
{
    set_up();
    enum { COUNT = 20 };
    struct claim c[COUNT];
    uint64_t index = 1, views[COUNT] = {0};
    bool done[COUNT] = {0};
    unsigned next = 0;
    append(index, "hot");
    for (int i = 0; i < COUNT; i++) { /* all lose the check once, and take tickets */
        at(&c[i], 0);
        reads(&c[i], "hot");
        writes(&c[i], "hot");
        ck_conflict(&c[i], 1);
        c[i].claim.ticket = window_ticket(w, &c[i].claim);
    }
    for (int round = 0; round < 2 * COUNT && next < COUNT; round++) {
        for (int i = COUNT - 1; i >= 0; i--) { /* the youngest tries first */
            uint64_t ticket = c[i].claim.ticket, retry;
            if (done[i]) {
                continue;
            }
            at(&c[i], views[i]);
            reads(&c[i], "hot");
            writes(&c[i], "hot");
            c[i].claim.ticket = ticket;
            if (check(&c[i], &retry) == CF_OK) {
                ck_assert_int_eq(i, (int)next);
                window_appended(w, &c[i].claim, ++index);
                window_ticket_end(w, ticket);
                done[i] = true;
                next++;
            }
            views[i] = index;
        }
    }
    ck_assert_uint_eq(next, COUNT);
}
END_TEST

START_TEST(reset_forgets_tickets)
{
    set_up();
    struct claim c;
    at(&c, 4);
    writes(&c, "a");
    ck_assert_uint_ne(window_ticket(w, &c.claim), 0);
    window_reset(w, 4);
    ck_free(&c);
}
END_TEST

/* Against a plain model: a list of everything that was ever appended. */
/* A ticket from before is none: its holder takes a new one, and waits for those that others hold by then. */
START_TEST(tickets_end_with_the_leadership)
{
    struct claim old, holder, first;
    set_up();
    at(&old, 1);
    reads(&old, "a");
    writes(&old, "a");
    old.claim.ticket = window_ticket(w, &old.claim);
    ck_assert(!window_wants_ticket(w, &old.claim));
    window_reset(w, 10);
    ck_assert(window_wants_ticket(w, &old.claim));
    at(&holder, 10);
    writes(&holder, "a");
    ck_assert_uint_ne(window_ticket(w, &holder.claim), 0);
    old.claim.view_index = 10;
    ck_conflict(&old, 0);
    at(&first, UINT64_MAX);
    first.claim.ticket = WINDOW_TICKET_FIRST;
    ck_assert(!window_wants_ticket(w, &first.claim));
    ck_free(&first); /* and it waits for nobody */
}
END_TEST

START_TEST(agrees_with_a_model)
{
    static const char *const names[] = {"a", "b", "d/1", "d/2", "d/x/1", "d/x/2", "e/1"};
    static const char *const prefixes[] = {"d/", "d/x/", "e/", ""};
    static const uint64_t seeds[] = {1, 2, 3, 4, 5, 6, 7, 8};
    for (size_t s = 0; s < CF_LENGTH(seeds); s++) {
        CF_OWNED(window) window = window_new(4096, 1 << 20);
        const char *log[600];
        bool is_range[600];
        struct cf_prng prng;
        cf_prng_seed(&prng, seeds[s]);
        for (uint64_t index = 1; index < 600; index++) {
            struct claim c;
            at(&c, index - 1);
            is_range[index] = cf_prng_below(&prng, 8) == 0;
            log[index] = is_range[index] ? prefixes[cf_prng_below(&prng, 3)]
                                         : names[cf_prng_below(&prng, CF_LENGTH(names))];
            (is_range[index] ? deletes_prefix : writes)(&c, log[index]);
            window_appended(window, &c.claim, index);

            uint64_t view = index - cf_min(index, cf_prng_below(&prng, 12));
            const char *read = names[cf_prng_below(&prng, CF_LENGTH(names))];
            const char *range = prefixes[cf_prng_below(&prng, CF_LENGTH(prefixes))];
            const char *write = names[cf_prng_below(&prng, CF_LENGTH(names))];
            uint64_t want = 0, retry = 0;
            for (uint64_t i = view + 1; i <= index; i++) {
                struct cf_slice hit = cf_slice_str(log[i]), r = cf_slice_str(range);
                bool meets = cf_slice_starts(hit, r) || (!is_range[i] && strcmp(log[i], read) == 0);
                if (is_range[i]) {
                    meets = meets || cf_slice_starts(r, hit) ||
                            cf_slice_starts(cf_slice_str(write), hit);
                }
                want = meets ? i : want;
            }
            at(&c, view);
            reads(&c, read);
            lists(&c, range);
            writes(&c, write);
            ck_status(window_check(window, &c.claim, &retry), want != 0 ? CF_CONFLICT : CF_OK);
            ck_assert_uint_eq(retry, want);
        }
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {point_reads,
                                  classes_and_namespaces_are_apart,
                                  listed_ranges,
                                  deleted_prefixes,
                                  forgetting_raises_the_floor,
                                  bytes_are_capped_too,
                                  large_batches_touch_everything,
                                  a_new_leader_knows_nothing,
                                  applied_entries_keep_a_tail,
                                  younger_writers_wait,
                                  older_ones_ignore_younger_tickets,
                                  the_oldest_gets_through,
                                  reset_forgets_tickets,
                                  tickets_end_with_the_leadership,
                                  agrees_with_a_model};
    int failed = test_run("node/core/window", tests, CF_LENGTH(tests));
    window_free(w);
    return failed;
}

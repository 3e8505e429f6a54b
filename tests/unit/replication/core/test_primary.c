/* tests/unit/replication/core/test_primary.c: the sender for one secondary, rule by rule. */
#include "replication/core/primary.h"
#include "test.h"

static struct primary p;
static struct primary_update update;
static struct repl_lineage own, theirs;
static uint64_t now_ms;

static struct repl_position at(uint32_t number, uint64_t index)
{
    struct repl_position position = {{number, {(uint8_t)number}}, index > 0, index};
    return position;
}
static cf_status feed(struct primary_event ev)
{
    ev.now_ms = now_ms;
    return primary_step(&p, &ev, &update, NULL);
}
static void set_up(void)
{
    struct repl_epoch first = at(1, 1).epoch;
    now_ms = 1000;
    own = (struct repl_lineage){0};
    ck_ok(repl_lineage_raise(&own, &first, NULL, &err_));
    theirs = own;
    primary_init(&p);
}
static cf_status hello(struct repl_position position, bool known, bool verified, uint64_t index)
{
    return feed((struct primary_event){.type = PRIMARY_EV_HELLO,
                                       .own = &own,
                                       .theirs = &theirs,
                                       .position = position,
                                       .known = known,
                                       .verified = verified,
                                       .index = index});
}
static cf_status start(uint64_t index)
{
    return feed((struct primary_event){.type = PRIMARY_EV_START, .position = at(1, index)});
}
static cf_status read(uint64_t to, uint64_t bytes)
{
    return feed((struct primary_event){
        .type = PRIMARY_EV_READ, .to = at(1, to), .bytes = bytes, .entries = 1});
}
static cf_status ack(uint64_t seq, uint64_t index)
{
    return feed(
        (struct primary_event){.type = PRIMARY_EV_ACK, .seq = seq, .position = at(1, index)});
}
static cf_status advance(uint64_t index)
{
    return feed((struct primary_event){.type = PRIMARY_EV_ADVANCED, .index = index});
}
static void stream(uint64_t from, uint64_t index)
{
    set_up();
    ck_ok(hello(at(1, from), true, false, index));
    ck_assert_int_eq(update.verdict, REPL_STREAM);
    ck_assert(!update.read); /* not before it says so */
    ck_ok(start(from));
    ck_assert(update.read);
    ck_assert_uint_eq(update.read_from.index, from);
}

START_TEST(reads_sends_and_rests)
{
    stream(40, 42);
    ck_ok(read(42, 100));
    ck_assert(update.send && update.read);
    ck_assert_uint_eq(update.seq, 1);
    ck_assert_uint_eq(update.from.index, 40);
    ck_assert_uint_eq(update.to.index, 42);
    ck_ok(read(42, 0)); /* nothing new */
    ck_assert(!update.send && !update.read);
    ck_assert_uint_eq(primary_lag(&p, now_ms).entries, 2);
    ck_assert_uint_eq(primary_lag(&p, now_ms).bytes, 100);
    ck_ok(ack(1, 42));
    ck_assert(!update.read);
    ck_assert_uint_eq(primary_lag(&p, now_ms).entries, 0);
    ck_ok(advance(43));
    ck_assert(update.read);
}
END_TEST

START_TEST(credit_holds_it_back)
{
    stream(1, 1000);
    uint64_t index = 1;
    while (update.read) {
        ck_ok(read(++index, 1 << 20));
    }
    ck_assert_uint_eq(p.flight_bytes, PRIMARY_CREDIT_BYTES);
    ck_ok(ack(1, 2));
    ck_assert(update.read);
    stream(1, 1000);
    index = 1;
    while (update.read) {
        ck_ok(read(++index, 1));
    }
    ck_assert_uint_eq(p.seq_sent, PRIMARY_BATCHES_MAX);
    ck_ok(ack(PRIMARY_BATCHES_MAX, index));
    ck_assert(update.read);
    ck_assert_uint_eq(p.flight_bytes, 0);
}
END_TEST

/* All of a batch was filtered: it goes with the next one, or with the next heartbeat. */
START_TEST(filtered_positions_travel)
{
    stream(10, 30);
    ck_ok(read(20, 0));
    ck_assert(!update.send);
    ck_assert_uint_eq(update.read_from.index, 20);
    ck_ok(read(25, 50));
    ck_assert(update.send);
    ck_assert_uint_eq(update.from.index, 10);
    ck_assert_uint_eq(update.to.index, 25);
    ck_ok(read(30, 0));
    ck_ok(read(30, 0));
    now_ms += PRIMARY_HEARTBEAT_MS;
    ck_ok(feed((struct primary_event){.type = PRIMARY_EV_TICK}));
    ck_assert(update.heartbeat && update.send);
    ck_assert_uint_eq(update.from.index, 25);
    ck_assert_uint_eq(update.to.index, 30);
    ck_ok(feed((struct primary_event){.type = PRIMARY_EV_TICK}));
    ck_assert(!update.heartbeat && !update.send);
}
END_TEST

START_TEST(acknowledgements_must_be_of_what_was_sent)
{
    static const struct {
        uint64_t seq, index;
    } bad[] = {{2, 42}, {0, 40}, {1, 41}, {UINT64_MAX, 42}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        stream(40, 42);
        ck_ok(read(42, 100));
        ck_status(ack(bad[i].seq, bad[i].index), CF_CORRUPT);
        ck_assert(update.close);
        ck_assert_uint_eq(primary_floor(&p), 40);
    }
    set_up();
    ck_status(start(5), CF_CORRUPT);
    ck_assert(update.close);
}
END_TEST

START_TEST(bootstraps_who_cannot_stream)
{
    set_up();
    ck_ok(hello(at(0, 0), false, false, 50)); /* holds nothing */
    ck_assert_int_eq(update.verdict, REPL_BOOTSTRAP);
    ck_assert_uint_eq(primary_floor(&p), 50);
    ck_ok(feed((struct primary_event){.type = PRIMARY_EV_SNAPSHOT, .position = at(1, 55)}));
    ck_ok(feed((struct primary_event){.type = PRIMARY_EV_LOST}));
    ck_ok(hello(at(0, 0), false, false, 80)); /* may resume that snapshot: its log stays */
    ck_assert_uint_eq(primary_floor(&p), 55);
    ck_ok(hello(at(1, 55), true, false, 80));
    ck_assert_int_eq(update.verdict, REPL_STREAM);
    ck_assert_uint_eq(primary_floor(&p), 55);
    ck_ok(hello(at(1, 3), false, false, 80)); /* compacted */
    ck_assert_int_eq(update.verdict, REPL_BOOTSTRAP);
    ck_status(feed((struct primary_event){.type = PRIMARY_EV_START, .position = at(1, 3)}),
              CF_CORRUPT);
    /* Beyond a branch point, whatever the log says. */
    struct repl_epoch second = at(2, 1).epoch;
    struct repl_position branch = at(1, 90);
    set_up();
    ck_ok(repl_lineage_raise(&own, &second, &branch, &err_));
    ck_ok(hello(at(1, 91), true, false, 100));
    ck_assert_int_eq(update.verdict, REPL_BOOTSTRAP);
    ck_ok(hello(at(1, 90), true, false, 100));
    ck_assert_int_eq(update.verdict, REPL_STREAM);
    ck_assert_uint_eq(primary_floor(&p), 0); /* where that is in our log is not known yet */
}
END_TEST

START_TEST(a_compacted_log_ends_the_stream)
{
    stream(40, 42);
    ck_status(feed((struct primary_event){.type = PRIMARY_EV_READ, .status = CF_NOT_FOUND}),
              CF_NOT_FOUND);
    ck_assert(update.close);
}
END_TEST

START_TEST(newer_epochs_fence_when_proved)
{
    struct repl_epoch second = at(2, 1).epoch;
    struct repl_position branch = at(1, 90);
    set_up();
    ck_ok(repl_lineage_raise(&theirs, &second, &branch, &err_));
    ck_status(hello(at(2, 5), false, false, 100), CF_DENIED);
    ck_assert(update.alarm && update.close && !update.fence);
    ck_assert_int_eq(update.verdict, REPL_REFUSED);
    ck_status(hello(at(2, 5), false, true, 100), CF_CONFLICT);
    ck_assert(update.fence && update.close && !update.alarm);
    ck_assert_int_eq(update.verdict, REPL_DEPOSED);
}
END_TEST

/* Age of the oldest entry that the secondary does not have, also when marks were thinned out. */
START_TEST(lag_in_time)
{
    stream(1, 1);
    ck_assert_uint_eq(primary_lag(&p, now_ms).ms, 0);
    now_ms = 5000;
    ck_ok(advance(2));
    now_ms = 9000;
    ck_ok(advance(3));
    ck_assert_uint_eq(primary_lag(&p, 10000).ms, 5000);
    ck_ok(read(2, 10));
    ck_ok(ack(1, 2));
    ck_assert_uint_eq(primary_lag(&p, 10000).ms, 1000);
    for (uint64_t i = 4; i < 1000; i++) {
        now_ms++;
        ck_ok(advance(i));
    }
    ck_assert_uint_eq(primary_lag(&p, 10000).ms, 1000);
    ck_assert_uint_le(p.mark_count, PRIMARY_MARKS);
    for (uint64_t i = 3; i < 999; i++) { /* never younger than the first one that lacks (i + 1) really is */
        ck_ok(read(i, 10));
        ck_ok(ack(i - 1, i));
        ck_assert_uint_ge(primary_lag(&p, 20000).ms, 20000 - (9000 + i + 1 - 3));
    }
    ck_ok(read(999, 10));
    ck_ok(ack(998, 999));
    ck_assert_uint_eq(primary_lag(&p, 99999).ms, 0);
}
END_TEST

/* Also of what was on its way when the connection went, and before anything was sent at all. */
/* A standby that does not hear its leader does not know what it lacks, nor, later, how old that is. */
START_TEST(lag_of_a_node_that_was_cut_off)
{
    stream(1, 1);
    p.silent_ms = PRIMARY_HEARTBEAT_MS; /* as long as that: any busy moment */
    ck_assert_uint_eq(primary_lag(&p, 9000).ms, 0);
    p.silent_ms = 4000;
    ck_assert_uint_eq(primary_lag(&p, 9000).ms, 4000);
    now_ms = 10000;
    ck_ok(advance(5)); /* its leader is back, with all that it did */
    p.silent_ms = 0;
    ck_assert_uint_eq(primary_lag(&p, 10000).ms, 4000);
    ck_ok(read(5, 10));
    ck_ok(ack(1, 5));
    ck_assert_uint_eq(primary_lag(&p, 10000).ms, 0);
}
END_TEST

START_TEST(lag_in_bytes)
{
    stream(40, 50);
    struct primary_event five = {.type = PRIMARY_EV_READ, .to = at(1, 45), .bytes = 500, .entries = 5};
    ck_ok(feed(five));
    ck_assert_uint_eq(primary_lag(&p, now_ms).bytes, 1000);
    ck_ok(feed((struct primary_event){.type = PRIMARY_EV_LOST}));
    ck_assert_uint_eq(primary_lag(&p, now_ms).entries, 10);
    ck_assert_uint_eq(primary_lag(&p, now_ms).bytes, 1000);
    stream(40, 50); /* another node serves: it knows its log alone */
    p.entry_bytes = 70;
    ck_assert_uint_eq(primary_lag(&p, now_ms).bytes, 700);
    p.entry_bytes = 0;
    ck_assert_uint_gt(primary_lag(&p, now_ms).bytes, 0);
    ck_ok(read(50, 500));
    ck_ok(ack(1, 50));
    ck_assert_uint_eq(primary_lag(&p, now_ms).bytes, 0);
}
END_TEST

START_TEST(floor_survives_a_lost_connection)
{
    set_up();
    ck_assert_uint_eq(primary_floor(&p), 0); /* never heard of */
    stream(40, 42);
    ck_ok(read(42, 100));
    ck_ok(ack(1, 42));
    ck_ok(feed((struct primary_event){.type = PRIMARY_EV_LOST}));
    ck_ok(advance(100));
    ck_assert(!update.read);
    ck_assert_uint_eq(primary_floor(&p), 42);
    ck_assert_uint_eq(primary_lag(&p, now_ms).entries, 58);
}
END_TEST

TEST_MAIN("replication/core/primary", reads_sends_and_rests, credit_holds_it_back,
          filtered_positions_travel, acknowledgements_must_be_of_what_was_sent,
          bootstraps_who_cannot_stream, a_compacted_log_ends_the_stream,
          newer_epochs_fence_when_proved, lag_in_time, lag_of_a_node_that_was_cut_off, lag_in_bytes, floor_survives_a_lost_connection)

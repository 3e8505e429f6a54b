/* tests/unit/replication/core/test_secondary.c: the receiver, rule by rule. */
#include "replication/core/secondary.h"
#include "node/base/memory.h"
#include "test.h"

static struct secondary s;
static struct secondary_update update;
static struct repl_lineage own, theirs;
static uint64_t now_ms;

static struct repl_position at(uint32_t number, uint64_t index)
{
    struct repl_position position = {{number, {(uint8_t)number}}, index > 0, index};
    return position;
}
static cf_status feed(struct secondary_event ev)
{
    ev.now_ms = now_ms;
    ev.session = s.session;
    return secondary_step(&s, &ev, &update, NULL);
}
static bool asks(unsigned requests)
{
    return (update.requests & requests) == requests;
}

static void set_up(void)
{
    struct repl_epoch first = at(1, 1).epoch;
    now_ms = 1000;
    own = theirs = (struct repl_lineage){0};
    ck_ok(repl_lineage_raise(&own, &first, NULL, &err_));
    theirs = own;
    secondary_init(&s, 7);
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_ENABLED}));
    ck_assert(asks(SECONDARY_CONNECT));
}
static cf_status answer(enum repl_verdict verdict, struct repl_position position, bool verified)
{
    if (s.state == SECONDARY_CONNECTING) {
        ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_CONNECTED}));
        ck_assert(asks(SECONDARY_HELLO));
    }
    return feed((struct secondary_event){.type = SECONDARY_EV_ANSWER,
                                         .verdict = verdict,
                                         .position = position,
                                         .own = &own,
                                         .theirs = &theirs,
                                         .verified = verified});
}
static cf_status batch(uint64_t seq, uint64_t from, uint64_t to)
{
    return feed((struct secondary_event){
        .type = SECONDARY_EV_BATCH, .seq = seq, .from = at(1, from), .to = at(1, to)});
}
static cf_status proposed(uint64_t seq, cf_status status)
{
    return feed(
        (struct secondary_event){.type = SECONDARY_EV_PROPOSED, .seq = seq, .status = status});
}
static void stream(void)
{
    set_up();
    ck_ok(answer(REPL_STREAM, at(1, 41), false));
    ck_assert(asks(SECONDARY_START));
    ck_assert_uint_eq(update.position.index, 41);
    ck_assert_str_eq(secondary_state_text(&s), "stream-wals");
}

START_TEST(streams_and_acknowledges_what_is_committed)
{
    stream();
    ck_ok(batch(1, 41, 45));
    ck_assert(asks(SECONDARY_PROPOSE));
    ck_assert(!asks(SECONDARY_ACK));
    ck_ok(batch(2, 45, 50));
    ck_ok(proposed(2, CF_OK)); /* done before the first: not acknowledged alone */
    ck_assert(!asks(SECONDARY_ACK));
    ck_ok(proposed(1, CF_OK));
    ck_assert(asks(SECONDARY_ACK));
    ck_assert_uint_eq(update.ack_seq, 2);
    ck_assert_uint_eq(update.position.index, 50);
    secondary_done(&s);
}
END_TEST

/* A batch that does not continue from our position stops the stream. */
START_TEST(refuses_gaps_and_repeats)
{
    static const struct {
        uint64_t seq, from, to;
    } bad[] = {{1, 43, 48}, {2, 41, 45}, {1, 41, 41}, {1, 41, 40}, {0, 41, 45}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        stream();
        ck_status(batch(bad[i].seq, bad[i].from, bad[i].to), CF_CORRUPT);
        ck_assert(asks(SECONDARY_CLOSE_LINK | SECONDARY_SET_TIMER));
        ck_assert(!asks(SECONDARY_PROPOSE));
        secondary_done(&s);
    }
}
END_TEST

START_TEST(proposals_are_bounded)
{
    stream();
    for (uint64_t i = 1; i <= SECONDARY_QUEUE_MAX; i++) {
        ck_ok(batch(i, 40 + i, 41 + i));
        ck_assert_uint_eq(update.propose_count, i <= SECONDARY_PROPOSALS_MAX);
    }
    ck_assert_uint_eq(s.proposals, SECONDARY_PROPOSALS_MAX);
    ck_ok(proposed(1, CF_OK));
    ck_assert(asks(SECONDARY_PROPOSE));
    ck_assert_uint_eq(update.propose_first, SECONDARY_PROPOSALS_MAX + 1);
    ck_ok(batch(SECONDARY_QUEUE_MAX + 1, 41 + SECONDARY_QUEUE_MAX, 42 + SECONDARY_QUEUE_MAX));
    ck_status(batch(SECONDARY_QUEUE_MAX + 2, 42 + SECONDARY_QUEUE_MAX, 43 + SECONDARY_QUEUE_MAX),
              CF_CORRUPT);
    secondary_done(&s);
}
END_TEST

/* The hello waits until what we proposed has come to an end; a failure reconnects. */
START_TEST(hello_waits_for_proposals)
{
    stream();
    ck_ok(batch(1, 41, 45));
    ck_ok(batch(2, 45, 46));
    uint64_t old = s.session;
    ck_status(proposed(1, CF_NOT_LEADER), CF_NOT_LEADER);
    ck_assert(asks(SECONDARY_CLOSE_LINK | SECONDARY_SET_TIMER));
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_TIMEOUT}));
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_CONNECTED}));
    ck_assert(!asks(SECONDARY_HELLO));
    struct secondary_event late = {
        .type = SECONDARY_EV_PROPOSED, .seq = 2, .session = old, .status = CF_OK};
    ck_ok(secondary_step(&s, &late, &update, &err_));
    ck_assert(asks(SECONDARY_HELLO));
    ck_assert(!asks(SECONDARY_ACK));
    secondary_done(&s);
}
END_TEST

START_TEST(backoff_grows_to_a_bound_with_jitter)
{
    set_up();
    for (unsigned i = 0, expect = SECONDARY_BACKOFF_MIN_MS; i < 12; i++) {
        ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_LOST}));
        ck_assert(asks(SECONDARY_SET_TIMER));
        uint64_t wait = update.timeout_at_ms - now_ms;
        ck_assert_uint_ge(wait, expect / 2);
        ck_assert_uint_le(wait, expect);
        expect = 2 * expect > SECONDARY_BACKOFF_MAX_MS ? SECONDARY_BACKOFF_MAX_MS : 2 * expect;
        now_ms = update.timeout_at_ms;
        ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_TIMEOUT}));
        ck_assert(asks(SECONDARY_CONNECT));
    }
    secondary_done(&s);
}
END_TEST

/* Pages in turn, one ahead; then the switch, then hello again. */
START_TEST(bootstraps_by_pages)
{
    set_up();
    ck_ok(answer(REPL_BOOTSTRAP, at(0, 0), false));
    ck_assert(asks(SECONDARY_OPEN));
    ck_assert_uint_eq(update.snapshot_id, 0);
    struct secondary_event snapshot = {
        .type = SECONDARY_EV_SNAPSHOT, .snapshot_id = 5, .position = at(1, 90), .keys = 3};
    ck_ok(feed(snapshot));
    ck_assert(asks(SECONDARY_STAGE_BEGIN));
    struct secondary_event staged = {.type = SECONDARY_EV_STAGED};
    ck_ok(feed(staged));
    ck_assert(asks(SECONDARY_FETCH_PAGE));
    ck_assert_uint_eq(update.cursor.size, 0);
    struct secondary_event page = {.type = SECONDARY_EV_PAGE, .cursor = CF_SLICE("b"), .keys = 1};
    ck_ok(feed(page));
    ck_assert(asks(SECONDARY_STAGE_PAGE | SECONDARY_FETCH_PAGE));
    ck_slice(update.cursor, "b");
    page.cursor = CF_SLICE("c");
    ck_ok(feed(page)); /* waits for the stage */
    ck_assert_uint_eq(update.requests, 0);
    ck_ok(feed(staged));
    ck_assert(asks(SECONDARY_STAGE_PAGE | SECONDARY_FETCH_PAGE));
    ck_slice(update.cursor, "c");
    /* Cut: resumes behind the last page that was staged. */
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_LOST}));
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_TIMEOUT}));
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_CONNECTED}));
    ck_assert(!asks(SECONDARY_HELLO)); /* a page is still being staged */
    ck_ok(feed(staged));
    ck_assert(asks(SECONDARY_HELLO));
    ck_ok(answer(REPL_BOOTSTRAP, at(0, 0), false));
    ck_assert_uint_eq(update.snapshot_id, 5);
    ck_ok(feed(snapshot));
    ck_assert(!asks(SECONDARY_STAGE_BEGIN));
    ck_slice(update.cursor, "c");
    page.done = true;
    page.cursor = CF_SLICE("");
    ck_ok(feed(page));
    ck_ok(feed(staged));
    ck_assert(asks(SECONDARY_STAGE_SWITCH));
    ck_assert_uint_eq(update.position.index, 90);
    ck_ok(feed(staged));
    ck_assert(asks(SECONDARY_HELLO));
    ck_ok(answer(REPL_STREAM, at(1, 90), false));
    ck_assert(asks(SECONDARY_START));
    secondary_done(&s);
}
END_TEST

static cf_status answer_with_data(void)
{
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_CONNECTED}));
    return feed((struct secondary_event){.type = SECONDARY_EV_ANSWER,
                                         .verdict = REPL_BOOTSTRAP,
                                         .own = &own,
                                         .theirs = &theirs,
                                         .has_data = true});
}
static const struct secondary_event offered = {
    .type = SECONDARY_EV_SNAPSHOT, .snapshot_id = 5, .position = {{1, {1}}, 1, 90}};

/* Where there is data already, what differs is fetched; then hello again. */
START_TEST(repairs_what_differs)
{
    set_up();
    ck_ok(answer_with_data());
    ck_assert(asks(SECONDARY_OPEN));
    ck_assert_uint_eq(update.snapshot_id, 0);
    ck_assert_str_eq(secondary_state_text(&s), "merkle-diff");
    ck_ok(feed(offered));
    ck_assert_uint_eq(update.requests, SECONDARY_REPAIR);
    ck_assert_uint_eq(update.snapshot_id, 5);
    ck_assert_uint_eq(update.position.index, 90);
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_REPAIRED}));
    ck_assert_uint_eq(update.requests, SECONDARY_HELLO);
    ck_assert_uint_eq(s.repairs, 1);
    ck_assert_uint_eq(s.bootstraps, 0);
    secondary_done(&s);
}
END_TEST

/* What a repair can't do a copy does, once; the next gap is repaired again. */
START_TEST(a_copy_where_a_repair_is_none)
{
    static const cf_status reasons[] = {CF_TOO_LARGE, CF_UNSUPPORTED, CF_CORRUPT};
    for (size_t i = 0; i < CF_LENGTH(reasons); i++) {
        set_up();
        ck_ok(answer_with_data());
        ck_ok(feed(offered));
        ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_REPAIRED, .status = reasons[i]}));
        ck_assert_uint_eq(update.requests, SECONDARY_OPEN);
        ck_assert_uint_eq(update.snapshot_id, 0);
        ck_assert_str_eq(secondary_state_text(&s), "merkle-sync");
        ck_ok(feed(offered));
        ck_assert_uint_eq(update.requests, SECONDARY_STAGE_BEGIN);
        ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_STAGED}));
        ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_LOST}));
        ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_TIMEOUT}));
        ck_ok(answer_with_data());
        ck_ok(feed(offered)); /* no second attempt before it has streamed: the copy goes on */
        ck_assert_uint_eq(update.requests, SECONDARY_FETCH_PAGE);
        ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_LOST}));
        ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_TIMEOUT}));
        ck_ok(answer(REPL_STREAM, at(1, 95), false));
        ck_assert(asks(SECONDARY_START));
        ck_assert(!s.repair_failed);
        secondary_done(&s);
    }
}
END_TEST

/* A connection that is lost ends the attempt, not the way: the next hello waits for the last word of the one
 * before, and repairs again. */
START_TEST(a_repair_that_was_cut)
{
    set_up();
    ck_ok(answer_with_data());
    ck_ok(feed(offered));
    uint64_t session = s.session;
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_LOST}));
    ck_assert(asks(SECONDARY_CLOSE_LINK | SECONDARY_SET_TIMER));
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_TIMEOUT}));
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_CONNECTED}));
    ck_assert(!asks(SECONDARY_HELLO));
    struct secondary_event late = {
        .type = SECONDARY_EV_REPAIRED, .session = session, .status = CF_UNAVAILABLE};
    ck_ok(secondary_step(&s, &late, &update, NULL));
    ck_assert(asks(SECONDARY_HELLO));
    ck_assert_uint_eq(s.repairs, 0);
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_ANSWER,
                                        .verdict = REPL_BOOTSTRAP,
                                        .own = &own,
                                        .theirs = &theirs,
                                        .has_data = true}));
    ck_ok(feed(offered));
    ck_assert_uint_eq(update.requests, SECONDARY_REPAIR);
    /* One that our own cluster did not take is tried again, too. */
    ck_status(feed((struct secondary_event){.type = SECONDARY_EV_REPAIRED, .status = CF_NOT_LEADER}),
              CF_NOT_LEADER);
    ck_assert(asks(SECONDARY_CLOSE_LINK | SECONDARY_SET_TIMER));
    ck_assert(!s.repair_failed);
    secondary_done(&s);
}
END_TEST


START_TEST(another_snapshot_begins_anew)
{
    set_up();
    struct secondary_event snapshot = {
        .type = SECONDARY_EV_SNAPSHOT, .snapshot_id = 5, .position = at(1, 90)};
    struct secondary_event staged = {.type = SECONDARY_EV_STAGED};
    ck_ok(answer(REPL_BOOTSTRAP, at(0, 0), false));
    ck_ok(feed(snapshot));
    ck_ok(feed(staged));
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_LOST}));
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_TIMEOUT}));
    ck_ok(answer(REPL_BOOTSTRAP, at(0, 0), false));
    snapshot.snapshot_id = 6;
    ck_ok(feed(snapshot));
    ck_assert(asks(SECONDARY_STAGE_BEGIN));
    /* And one that is gone is not asked for again. */
    ck_ok(feed(staged));
    ck_status(feed((struct secondary_event){.type = SECONDARY_EV_PAGE, .status = CF_NOT_FOUND}),
              CF_NOT_FOUND);
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_TIMEOUT}));
    ck_ok(answer(REPL_BOOTSTRAP, at(0, 0), false));
    ck_assert_uint_eq(update.snapshot_id, 0);
    secondary_done(&s);
}
END_TEST

/* What one receiver has saved, another one of the same cluster goes on with; nonsense begins anew. */
START_TEST(a_copy_is_taken_over)
{
    struct secondary_stage stage = {.snapshot_id = 5,
                                    .position = at(1, 90),
                                    .staged_keys = 7,
                                    .staged_bytes = 700,
                                    .cursor = CF_SLICE("c7")};
    set_up(); /* for the lineages */
    secondary_done(&s);
    secondary_init(&s, 7);
    stage.cursor = CF_SLICE_EMPTY;
    secondary_resume(&s, &stage);
    ck_assert_uint_eq(secondary_stage_of(&s).snapshot_id, 0);
    stage.cursor = CF_SLICE("c7");
    secondary_resume(&s, &stage);
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_ENABLED}));
    ck_ok(answer(REPL_BOOTSTRAP, at(0, 0), false));
    ck_assert(asks(SECONDARY_OPEN));
    ck_assert_uint_eq(update.snapshot_id, 5);
    struct secondary_event snapshot = {
        .type = SECONDARY_EV_SNAPSHOT, .snapshot_id = 5, .position = at(1, 90)};
    ck_ok(feed(snapshot));
    ck_assert_uint_eq(update.requests, SECONDARY_FETCH_PAGE);
    ck_slice(update.cursor, "c7");
    ck_assert_uint_eq(secondary_stage_of(&s).staged_bytes, 700);
    /* What it is with the page that is being staged is kept together with that. */
    ck_ok(feed((struct secondary_event){
        .type = SECONDARY_EV_PAGE, .cursor = CF_SLICE("c8"), .keys = 2, .bytes = 10}));
    ck_assert(asks(SECONDARY_STAGE_PAGE));
    struct secondary_stage behind = secondary_stage_behind(&s);
    ck_slice(behind.cursor, "c8");
    ck_assert_uint_eq(behind.staged_bytes, 710);
    ck_assert_uint_eq(behind.staged_keys, 9);
    ck_assert(!behind.is_whole);
    ck_slice(secondary_stage_of(&s).cursor, "c7");
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_STAGED}));
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_PAGE, .bytes = 1, .done = true}));
    ck_assert(secondary_stage_behind(&s).is_whole);
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_STAGED}));
    ck_assert(secondary_stage_of(&s).is_whole && asks(SECONDARY_STAGE_SWITCH));
    secondary_done(&s);
}
END_TEST

START_TEST(lineage_of_the_answer_is_judged)
{
    struct repl_epoch second = at(2, 1).epoch;
    struct repl_position branch = at(1, 90);
    set_up();
    ck_ok(repl_lineage_raise(&theirs, &second, &branch, &err_));
    ck_status(answer(REPL_STREAM, at(1, 41), false), CF_DENIED); /* unproved */
    ck_assert(asks(SECONDARY_ALARM | SECONDARY_CLOSE_LINK));
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_TIMEOUT}));
    ck_ok(answer(REPL_STREAM, at(1, 41), true));
    ck_assert(asks(SECONDARY_ADOPT));
    ck_assert(!asks(SECONDARY_START));
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_ADOPTED}));
    ck_assert(asks(SECONDARY_START));
    /* An old epoch never comes back on this stream. */
    ck_status(batch(1, 41, 45), CF_CORRUPT);
    secondary_done(&s);

    set_up(); /* beyond the branch point nobody can stream to us */
    ck_ok(repl_lineage_raise(&theirs, &second, &branch, &err_));
    ck_status(answer(REPL_STREAM, at(1, 91), true), CF_CORRUPT);
    secondary_done(&s);

    set_up(); /* a primary that is behind us */
    ck_ok(repl_lineage_raise(&own, &second, &branch, &err_));
    ck_status(answer(REPL_STREAM, at(1, 41), true), CF_CONFLICT);
    ck_assert(asks(SECONDARY_CLOSE_LINK));
    secondary_done(&s);
}
END_TEST

START_TEST(keyring_goes_first)
{
    set_up();
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_CONNECTED}));
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_ANSWER,
                                        .verdict = REPL_STREAM,
                                        .position = at(1, 41),
                                        .own = &own,
                                        .theirs = &theirs,
                                        .has_keyring = true}));
    ck_assert(asks(SECONDARY_INSTALL));
    ck_assert(!asks(SECONDARY_START));
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_INSTALLED}));
    ck_assert(asks(SECONDARY_START));
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_KEYRING}));
    ck_assert(asks(SECONDARY_INSTALL));
    ck_ok(batch(1, 41, 45)); /* came after it: waits for it */
    ck_assert(!asks(SECONDARY_PROPOSE));
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_KEYRING}));
    ck_assert(!asks(SECONDARY_INSTALL));
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_INSTALLED}));
    ck_assert(asks(SECONDARY_INSTALL)); /* the second one */
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_INSTALLED}));
    ck_assert(asks(SECONDARY_PROPOSE));
    secondary_done(&s);
}
END_TEST

START_TEST(redirects_end)
{
    set_up();
    for (unsigned i = 0; i <= SECONDARY_REDIRECTS_MAX; i++) {
        ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_CONNECTED}));
        cf_status status = feed((struct secondary_event){
            .type = SECONDARY_EV_ANSWER, .verdict = REPL_REDIRECT, .has_redirect = true});
        ck_assert_int_eq(status, i < SECONDARY_REDIRECTS_MAX ? CF_OK : CF_UNAVAILABLE);
        ck_assert_int_eq(update.timeout_at_ms == now_ms, i < SECONDARY_REDIRECTS_MAX);
        ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_TIMEOUT}));
    }
    secondary_done(&s);
}
END_TEST

START_TEST(out_of_turn_and_closed)
{
    set_up();
    ck_status(batch(1, 0, 1), CF_CORRUPT); /* before any hello */
    ck_status(feed((struct secondary_event){.type = SECONDARY_EV_PAGE}), CF_INVALID);
    ck_assert_uint_eq(update.requests, 0);
    ck_ok(feed((struct secondary_event){.type = SECONDARY_EV_CLOSE}));
    ck_assert(asks(SECONDARY_CLOSE_LINK));
    ck_status(feed((struct secondary_event){.type = SECONDARY_EV_TIMEOUT}), CF_INVALID);
    ck_status(feed((struct secondary_event){.type = SECONDARY_EV_COUNT}), CF_INVALID);
    secondary_done(&s);
}
END_TEST

TEST_MAIN("replication/core/secondary", streams_and_acknowledges_what_is_committed,
          refuses_gaps_and_repeats, proposals_are_bounded, hello_waits_for_proposals,
          backoff_grows_to_a_bound_with_jitter, bootstraps_by_pages, repairs_what_differs,
          a_copy_where_a_repair_is_none, a_repair_that_was_cut, another_snapshot_begins_anew,
          a_copy_is_taken_over,
          lineage_of_the_answer_is_judged, keyring_goes_first, redirects_end,
          out_of_turn_and_closed)

/* tests/unit/replication/driver/test_driver.c: the promises of replication/driver/driver.h: drivers
 * in one process, over loopback and mutual TLS, with clusters in memory behind them. */
#include <time.h>

#include "fake.h"

static struct fake *p, *p2, *s;

static void set_up(enum repl_kind kind)
{
    fake_set_up();
    p = fake_new(true);
    p2 = NULL;
    s = fake_new(false);
    fake_serve(p, kind);
}

static void tear_down(void)
{
    fake_free(s);
    fake_free(p2);
    fake_free(p);
    fake_tear_down();
    s = p = p2 = NULL;
}

/* s has all of `arg` (a primary), and both sides know. */
static bool caught_up(const void *arg)
{
    const struct fake *of = arg;
    CF_BUF(full) = {0};
    struct repl_peer_status status[2];
    fake_full(of, &full);
    return cf_slice_eq(cf_buf_slice(&full), cf_buf_slice(&s->state)) &&
           repl_primary_status(of->primary, status, 2) == 1 && status[0].connected &&
           status[0].position.index == of->last;
}
static bool has_error(const void *arg)
{
    struct repl_secondary_status status;
    repl_secondary_status(s->secondary, &status);
    return strstr(status.error, arg) != NULL;
}
static bool disconnected(const void *arg)
{
    struct repl_peer_status status[2];
    (void)arg;
    return repl_primary_status(p->primary, status, 2) == 1 && !status[0].connected;
}

static void append_many(struct fake *to, unsigned count)
{
    char text[32];
    for (unsigned i = 0; i < count; i++) {
        snprintf(text, sizeof(text), "entry-%u;", (unsigned)to->last);
        fake_append(to, text);
    }
}

/* A new secondary gets keyring and snapshot, then the stream; both sides can show it. */
START_TEST(bootstraps_and_streams)
{
    struct repl_secondary_status status;
    struct repl_peer_status peer;
    set_up(REPL_DR);
    append_many(p, 20);
    fake_follow(s, REPL_DR, fake_ca, "s1", p, NULL);
    fake_until(caught_up, p);
    ck_assert_uint_eq(s->switches, 1);
    ck_assert_uint_gt(p->pages, 1);
    ck_assert(!p->open); /* the snapshot was closed */
    ck_assert_uint_ge(s->installs, 1);
    ck_assert_str_eq(s->learned, p->own_address);
    ck_assert_str_eq(s->learned_peer, "127.0.0.1:1");
    append_many(p, 300);
    fake_until(caught_up, p);
    ck_assert_uint_eq(s->switches, 1);
    repl_secondary_status(s->secondary, &status);
    ck_assert_str_eq(status.state, "stream-wals");
    ck_assert_str_eq(status.connection_state, "ready");
    ck_assert_str_eq(status.error, "");
    ck_assert_str_eq(status.primary.api_address, "https://api:8200");
    ck_assert_uint_eq(status.position.index, 320);
    ck_assert_uint_eq(status.bootstraps, 1);
    ck_assert_uint_eq(repl_primary_status(p->primary, &peer, 1), 1);
    ck_assert_str_eq(peer.id, "s1");
    ck_assert_str_eq(peer.state, "stream-wals");
    ck_assert_uint_eq(peer.lag_entries, 0);
    ck_assert_uint_eq(peer.lag_ms, 0);
    ck_assert_uint_eq(peer.needs, 320);
    ck_assert_uint_ge(p->peer_changes, 3); /* came, had its copy, streams */
    ck_assert(repl_primary_shipped(p->primary, "s1", 320));
    ck_assert(!repl_primary_shipped(p->primary, "s1", 321));
    ck_assert(!repl_primary_shipped(p->primary, "other", 1));
    tear_down();
}
END_TEST

static bool filtered_through(const void *arg)
{
    (void)arg;
    return s->position.index == p->last;
}

/* What a filter leaves out moves the position, without a batch for each. */
START_TEST(filtered_entries_move_the_position)
{
    set_up(REPL_PERFORMANCE);
    append_many(p, 3);
    fake_follow(s, REPL_PERFORMANCE, fake_ca, "s1", p, NULL);
    fake_until(caught_up, p);
    unsigned before = s->proposals;
    for (unsigned i = 0; i < 200; i++) {
        fake_append(p, "-local");
    }
    fake_until(filtered_through, NULL);
    ck_assert_uint_le(s->proposals, before + 2);
    tear_down();
}
END_TEST

START_TEST(resumes_after_a_cut)
{
    set_up(REPL_DR);
    append_many(p, 5);
    fake_follow(s, REPL_DR, fake_ca, "s1", p, NULL);
    fake_until(caught_up, p);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_ge(repl_primary_close(p->primary, NULL, "cut by the test"), 1);
        ck_assert(disconnected(NULL));
        append_many(p, 50);
        fake_until(caught_up, p);
    }
    s->fail_proposals = true; /* our own leadership is lost: nothing is skipped, nothing doubled */
    append_many(p, 50);
    fake_until(has_error, "not the leader");
    s->fail_proposals = false;
    fake_until(caught_up, p);
    ck_assert_uint_eq(s->switches, 1);
    tear_down();
}
END_TEST

/* Compaction past its position: the old state stays until the new one is whole. */
START_TEST(bootstraps_again_when_compacted)
{
    set_up(REPL_DR);
    append_many(p, 5);
    fake_follow(s, REPL_DR, fake_ca, "s1", p, NULL);
    fake_until(caught_up, p);
    repl_secondary_free(s->secondary);
    s->secondary = NULL;
    append_many(p, 30);
    p->compacted = 20;
    fake_follow(s, REPL_DR, fake_ca, "s1", p, NULL);
    fake_until(caught_up, p);
    ck_assert_uint_eq(s->switches, 2);
    tear_down();
}
END_TEST

/* Where there is a copy of the data already, only what differs moves; where that can't be, everything. */
START_TEST(repairs_when_compacted)
{
    set_up(REPL_DR);
    append_many(p, 5);
    fake_follow(s, REPL_DR, fake_ca, "s1", p, NULL);
    fake_until(caught_up, p);
    for (unsigned round = 1; round <= 2; round++) {
        repl_secondary_free(s->secondary);
        s->secondary = NULL;
        append_many(p, 30);
        p->compacted = p->last - 10;
        s->has_data = true;
        s->repair_fails = round == 2;
        fake_follow(s, REPL_DR, fake_ca, "s1", p, NULL);
        fake_until(caught_up, p);
        ck_assert_uint_eq(s->switches, round);
        ck_assert_uint_eq(s->repairs, 1);
        ck_assert_uint_eq(s->repair_begins, round);
        ck_assert_uint_eq(s->repair_ends, round);
        ck_assert_uint_eq(p->questions, 1);
    }
    struct repl_secondary_status *status = cf_new(struct repl_secondary_status);
    repl_secondary_status(s->secondary, status);
    ck_assert_uint_eq(status->bootstraps, 1);
    cf_free(status);
    tear_down();
}
END_TEST

static bool asked(const void *arg)
{
    (void)arg;
    return p->held_reply != NULL;
}
static bool compared(const void *arg)
{
    return s->repairs == *(const unsigned *)arg;
}

static bool compares(const void *arg)
{
    (void)arg;
    return repl_secondary_compare(s->secondary);
}

/* A comparison while streaming; one whose answer is outstanding ends with its connection, and the answer that
 * comes later harms nobody. */
START_TEST(compares_while_streaming)
{
    unsigned one = 1, two = 2;
    set_up(REPL_DR);
    append_many(p, 5);
    fake_follow(s, REPL_DR, fake_ca, "s1", p, NULL);
    fake_until(caught_up, p);
    fake_until(compares, NULL); /* the primary may know its position before it streams */
    ck_assert(!repl_secondary_compare(s->secondary)); /* one at a time */
    fake_until(compared, &one);
    p->holds_answers = true;
    ck_assert(repl_secondary_compare(s->secondary));
    fake_until(asked, NULL);
    repl_secondary_restart(s->secondary);
    append_many(p, 5);
    fake_until(caught_up, p);
    ck_assert_uint_eq(s->repair_ends, 2);
    struct cf_error late = {.status = CF_BUSY};
    repl_reply_fail(p->held_reply, &late);
    p->holds_answers = false;
    fake_until(compares, NULL); /* what was appended may have come over the connection of before */
    fake_until(compared, &two);
    ck_assert_uint_eq(s->switches, 1);
    tear_down();
}
END_TEST

START_TEST(redirects_to_who_may_serve)
{
    set_up(REPL_DR);
    p2 = fake_new(true);
    fake_serve(p2, REPL_DR);
    p2->may_serve = false;
    snprintf(p2->redirect, sizeof(p2->redirect), "https://%.200s", p->own_address);
    append_many(p, 10);
    fake_follow(s, REPL_DR, fake_ca, "s1", p2, NULL);
    fake_until(caught_up, p);
    /* A node that may no longer serve lets go. */
    p->may_serve = false;
    fake_until(disconnected, NULL);
    fake_until(has_error, "");
    p->may_serve = true;
    append_many(p, 1);
    fake_until(caught_up, p);
    tear_down();
}
END_TEST

/* The nodes of one cluster have one log; in the fake it is appended to on each of them. */
static void append_both(unsigned count)
{
    append_many(p, count);
    append_many(p2, count);
}
static bool served_by_standby(const void *arg)
{
    (void)arg;
    return caught_up(p2);
}
static bool served_by_active(const void *arg)
{
    (void)arg;
    return caught_up(p);
}

/* The active node is relieved; and it serves itself what its standby does not hold. */
START_TEST(a_standby_serves)
{
    struct repl_peer_status status[2];
    set_up(REPL_DR);
    p2 = fake_new(true);
    fake_serve(p2, REPL_DR);
    p->standby = p2;
    snprintf(p2->redirect, sizeof(p2->redirect), "%s", p->own_address);
    append_both(10);
    fake_follow(s, REPL_DR, fake_ca, "s1", p, NULL);
    fake_until(served_by_standby, NULL);
    ck_assert_uint_eq(repl_primary_status(p->primary, status, 2), 1);
    ck_assert(!status[0].connected);
    ck_assert_uint_eq(s->switches, 1);
    /* The standby comes back by snapshot: its log begins behind what the secondary has. */
    ck_assert_uint_ge(repl_primary_close(p2->primary, NULL, "cut by the test"), 1);
    append_both(10);
    p2->compacted = 20;
    fake_until(served_by_active, NULL);
    ck_assert_uint_eq(s->switches, 1); /* from hand to hand, without another copy */
    /* And the active node goes: the standby leads now. */
    p->may_serve = false;
    p->standby = NULL;
    p2->redirect[0] = '\0';
    snprintf(p->redirect, sizeof(p->redirect), "%s", p2->own_address);
    fake_until(served_by_standby, NULL);
    append_both(5);
    fake_until(served_by_standby, NULL);
    ck_assert_uint_eq(s->switches, 1);
    tear_down();
}
END_TEST

START_TEST(revoking_cuts_at_once)
{
    set_up(REPL_DR);
    append_many(p, 5);
    fake_follow(s, REPL_DR, fake_ca, "s1", p, NULL);
    fake_until(caught_up, p);
    p->revoked = true;
    ck_assert_uint_eq(repl_primary_close(p->primary, "nobody", "revoked"), 0);
    ck_assert_uint_ge(repl_primary_close(p->primary, "s1", "secondary \"s1\" is revoked"), 1);
    ck_assert(disconnected(NULL));
    append_many(p, 1);
    fake_until(has_error, "is revoked");
    ck_assert_uint_eq(s->position.index, 5);
    tear_down();
}
END_TEST

static bool copied(const void *arg)
{
    (void)arg;
    return s->switches == 0 && s->kept.is.snapshot_id != 0;
}

/* Another node of the secondary receives from now on: it goes on where the first one was. */
START_TEST(a_copy_is_taken_over)
{
    set_up(REPL_DR);
    append_many(p, 400);
    fake_follow(s, REPL_DR, fake_ca, "s1", p, NULL);
    fake_until(copied, NULL);
    repl_secondary_free(s->secondary);
    s->secondary = NULL;
    uint64_t pages = p->pages;
    ck_assert_uint_eq(s->stage_begins, 1);
    append_many(p, 5);
    fake_follow(s, REPL_DR, fake_ca, "s1", p, NULL);
    fake_until(caught_up, p);
    ck_assert_uint_eq(s->stage_begins, 1);
    ck_assert_uint_eq(s->switches, 1);
    ck_assert_uint_eq(p->snapshots, 1);
    ck_assert_uint_ge(pages, 1);
    ck_assert_uint_lt(pages, p->pages);
    ck_assert_str_eq(s->last_kept.address, p->own_address);
    tear_down();
}
END_TEST

/* Of another snapshot only the pages that differ are sent. */
START_TEST(the_same_page_is_not_sent_again)
{
    set_up(REPL_DR);
    append_many(p, 40);
    CF_BUF(all) = {0};
    fake_full(p, &all);
    cf_buf_add_slice(&s->known, cf_slice_first(cf_buf_slice(&all), 16)); /* a page */
    fake_follow(s, REPL_DR, fake_ca, "s1", p, NULL);
    fake_until(caught_up, p);
    struct repl_secondary_status status;
    repl_secondary_status(s->secondary, &status);
    ck_assert_uint_eq(p->same, 1);
    ck_assert_uint_eq(status.copied_bytes, all.size - 16);
    cf_buf_done(&s->known);
    tear_down();
}
END_TEST

static bool address_error(const void *arg)
{
    struct repl_secondary_status status;
    repl_secondary_status(s->secondary, &status);
    return status.address_count == 1 && strstr(status.addresses[0].last_error, arg) != NULL;
}

/* A secondary of another set's CA: the error says that it is the certificate. */
START_TEST(wrong_ca_says_so)
{
    struct ca *other;
    set_up(REPL_DR);
    ck_ok(ca_new(CF_SLICE("set-1"), time(NULL), &other, &err_));
    fake_follow(s, REPL_DR, other, "s1", p, NULL);
    fake_until(address_error, "certificate");
    ck_assert(has_error("certificate"));
    ca_free(other);
    tear_down();
}
END_TEST

/* A node that is no primary of that kind, and one that is nobody at all. */
START_TEST(wrong_kind_and_nobody_say_so)
{
    set_up(REPL_PERFORMANCE);
    fake_follow(s, REPL_DR, fake_ca, "s1", p, NULL);
    fake_until(has_error, " ");
    ck_assert_uint_eq(s->switches, 0);
    tear_down();
}
END_TEST

/* The second address was tried after the first one had refused. */
static bool tried_both(const void *arg)
{
    struct repl_secondary_status status;
    int64_t *refused_ns = (int64_t *)(uintptr_t)arg;
    repl_secondary_status(s->secondary, &status);
    if (*refused_ns == 0 && status.address_count == 2 && status.addresses[0].last_error[0] != '\0') {
        *refused_ns = status.addresses[0].tried_ns;
    }
    return *refused_ns != 0 && status.addresses[1].tried_ns > *refused_ns;
}

/* Of two addresses one is dead and one refuses: the error is the one that says what to do. */
START_TEST(a_refusal_is_not_hidden_by_a_dead_node)
{
    struct repl_secondary_status status;
    set_up(REPL_PERFORMANCE);
    p2 = fake_new(true);
    char dead[REPL_ADDRESS_SIZE];
    snprintf(dead, sizeof(dead), "%s", p2->own_address);
    fake_free(p2);
    p2 = NULL;
    fake_follow(s, REPL_DR, fake_ca, "s1", p, NULL); /* a kind that it does not serve */
    struct repl_address_list list = {0};
    ck_assert(repl_address_add(&list, cf_slice_str(p->own_address)));
    ck_assert(repl_address_add(&list, cf_slice_str(dead)));
    ck_ok(repl_secondary_set_addresses(s->secondary, &list, &err_));
    int64_t refused_ns = 0;
    fake_until(tried_both, &refused_ns);
    repl_secondary_status(s->secondary, &status);
    ck_assert_msg(strstr(status.addresses[1].last_error, "nothing listens") != NULL, "%s", status.addresses[1].last_error);
    ck_assert_str_eq(status.error, status.addresses[0].last_error);
    tear_down();
}
END_TEST

static struct {
    unsigned count;
    cf_status status;
    bool sent;
    char text[128], message[256];
} answer;

static void on_answer(void *arg, const struct repl_call_result *result)
{
    (void)arg;
    answer.count++;
    answer.status = result->status;
    answer.sent = result->sent;
    snprintf(answer.text, sizeof(answer.text), "%.*s", CF_SHOW(result->response));
    snprintf(answer.message, sizeof(answer.message), "%s", result->err->message);
}
static bool answered(const void *arg)
{
    return answer.count == *(const unsigned *)arg;
}
static void call(const char *text, unsigned want)
{
    ck_ok(repl_secondary_call(s->secondary, cf_slice_str(text), loop_now_us() + 30000000, on_answer,
                              NULL, &err_));
    fake_until(answered, &want);
}

START_TEST(forwards_calls)
{
    answer.count = 0;
    set_up(REPL_PERFORMANCE);
    p2 = fake_new(true);
    fake_serve(p2, REPL_PERFORMANCE);
    p2->not_leader = true;
    snprintf(p2->redirect, sizeof(p2->redirect), "%s", p->own_address);
    fake_follow(s, REPL_PERFORMANCE, fake_ca, "s1", p2, p);
    call("one", 1);
    ck_assert_int_eq(answer.status, CF_OK);
    ck_assert_str_eq(answer.text, "answer to one");
    ck_assert_uint_eq(p2->calls, 1);
    call("fail", 2);
    ck_assert_int_eq(answer.status, CF_DENIED);
    ck_assert_str_eq(answer.message, "permission denied");
    ck_assert_uint_eq(p2->calls, 1); /* the redirect is remembered */
    p->not_leader = true;            /* nobody leads */
    call("two", 3);
    ck_assert_int_eq(answer.status, CF_NOT_LEADER);
    ck_assert(!answer.sent);
    p->not_leader = false;
    call("three", 4);
    ck_assert_str_eq(answer.text, "answer to three");
    tear_down();
    ck_assert_uint_eq(answer.count, 4);
}
END_TEST

/* The hundredth time it is asked. */
static bool soon(const void *arg)
{
    static unsigned asked;
    (void)arg;
    return ++asked % 100 == 0;
}
static bool knows_peer(const void *arg)
{
    return strcmp(s->learned_peer, ((const struct fake *)arg)->own_address) == 0;
}

/* A caller was made before the secondary heard of who takes over: calls go there all the same, without a new configuration. */
START_TEST(calls_follow_what_was_learned)
{
    answer.count = 0;
    set_up(REPL_PERFORMANCE);
    append_many(p, 3);
    fake_follow(s, REPL_PERFORMANCE, fake_ca, "s1", p, NULL);
    fake_until(caught_up, p);
    call("one", 1);
    ck_assert_str_eq(answer.text, "answer to one");
    p2 = fake_new(true);
    fake_serve(p2, REPL_PERFORMANCE);
    snprintf(p->peer_address, sizeof(p->peer_address), "%s", p2->own_address);
    fake_until(knows_peer, p2); /* with a heartbeat */
    fake_free(p);
    p = NULL;
    for (unsigned i = 2; i < 100 && p2->calls == 0; i++) { /* between attempts it is refused at once */
        struct cf_error err = {0};
        cf_status status = repl_secondary_call(s->secondary, CF_SLICE("two"), loop_now_us() + 30000000, on_answer,
                                               NULL, &err);
        if (status == CF_OK) {
            unsigned want = answer.count + 1;
            fake_until(answered, &want);
        }
        fake_until(soon, NULL);
    }
    ck_assert_uint_eq(p2->calls, 1);
    ck_assert_str_eq(answer.text, "answer to two");
    tear_down();
}
END_TEST

static void promote(struct fake *fake, uint64_t at)
{
    struct repl_epoch next = {.number = repl_lineage_current(&fake->lineage).number + 1, .id = {9}};
    struct repl_position branch = {repl_lineage_current(&fake->lineage), 1, at};
    ck_ok(repl_lineage_raise(&fake->lineage, &next, &branch, &err_));
    snprintf(fake->proof, sizeof(fake->proof), "proof");
}

/* p2 was promoted where s stands: s adopts the epoch and streams on, without a snapshot. Then it
 * tells the old primary, when it meets it. */
START_TEST(follows_a_promoted_one_and_fences_the_old)
{
    set_up(REPL_DR);
    append_many(p, 10);
    fake_follow(s, REPL_DR, fake_ca, "s1", p, NULL);
    fake_until(caught_up, p);
    p2 = fake_new(true);
    append_many(p2, 10);
    promote(p2, 10);
    fake_serve(p2, REPL_DR);
    struct repl_address_list list = {0};
    ck_assert(repl_address_add(&list, cf_slice_str(p2->own_address)));
    ck_ok(repl_secondary_set_addresses(s->secondary, &list, &err_));
    append_many(p2, 10);
    fake_until(caught_up, p2);
    ck_assert_uint_eq(s->adoptions, 1);
    ck_assert_uint_eq(s->switches, 1);
    ck_assert_uint_eq(repl_lineage_current(&s->lineage).number, 2);
    /* Back to the old one: it learns that it is over. */
    list.count = 0;
    ck_assert(repl_address_add(&list, cf_slice_str(p->own_address)));
    ck_ok(repl_secondary_set_addresses(s->secondary, &list, &err_));
    fake_until(has_error, "no longer the primary");
    ck_assert_uint_ge(p->fences, 1);
    ck_assert_str_eq(p->fenced_by, "s1");
    tear_down();
}
END_TEST

/* Beyond the branch point: diverged, so its surplus goes by a snapshot. */
START_TEST(diverged_secondary_bootstraps)
{
    set_up(REPL_DR);
    append_many(p, 12);
    fake_follow(s, REPL_DR, fake_ca, "s1", p, NULL);
    fake_until(caught_up, p);
    p2 = fake_new(true);
    append_many(p2, 10);
    promote(p2, 10);
    fake_serve(p2, REPL_DR);
    struct repl_address_list list = {0};
    ck_assert(repl_address_add(&list, cf_slice_str(p2->own_address)));
    ck_ok(repl_secondary_set_addresses(s->secondary, &list, &err_));
    fake_until(caught_up, p2);
    ck_assert_uint_eq(s->switches, 2);
    tear_down();
}
END_TEST

static struct {
    unsigned count;
    bool fenced;
    char text[256];
} heard;
static void on_heard(void *ctx, bool fenced, const char *text)
{
    (void)ctx;
    heard.count++;
    heard.fenced = fenced;
    snprintf(heard.text, sizeof(heard.text), "%s", text);
}
static bool was_heard(const void *arg)
{
    (void)arg;
    return heard.count > 0;
}

START_TEST(claims_need_a_proof)
{
    struct repl_claimant *claimant;
    struct repl_address_list list = {0};
    set_up(REPL_DR);
    CF_OWNED(node_tls) tls = fake_tls(fake_ca, IDENTITY_SECONDARY, "s1");
    ck_assert(repl_address_add(&list, cf_slice_str(p->own_address)));
    s->lineage = p->lineage;
    promote(s, 10);
    struct repl_claimant_config config = {
        .kind = REPL_DR, .set_id = "set-1", .tls = tls, .addresses = &list, .heard = on_heard};
    for (unsigned round = 0; round < 2; round++) {
        heard.count = 0;
        snprintf(s->proof, sizeof(s->proof), "%s", round == 0 ? "lies" : "proof");
        ck_ok(repl_claimant_new(s->driver, &config, &claimant, &err_));
        fake_until(was_heard, NULL);
        repl_claimant_free(claimant);
        ck_assert(heard.fenced == (round == 1));
        ck_assert_uint_eq(p->alarms, 1);
        ck_assert_uint_eq(p->fences, round);
    }
    ck_assert_ptr_nonnull(strstr(p->alarm, "without proof"));
    tear_down();
}
END_TEST

/* A node that can't commit the fence sends the claim, and the hello, to one that can. */
START_TEST(claims_reach_the_active_node)
{
    struct repl_claimant *claimant;
    struct repl_address_list list = {0};
    set_up(REPL_DR);
    p2 = fake_new(true);
    fake_serve(p2, REPL_DR);
    p2->may_serve = false;
    snprintf(p2->redirect, sizeof(p2->redirect), "%s", p->own_address);
    CF_OWNED(node_tls) tls = fake_tls(fake_ca, IDENTITY_SECONDARY, "s1");
    ck_assert(repl_address_add(&list, cf_slice_str(p2->own_address)));
    s->lineage = p->lineage;
    promote(s, 10);
    struct repl_claimant_config config = {
        .kind = REPL_DR, .set_id = "set-1", .tls = tls, .addresses = &list, .heard = on_heard};
    heard.count = 0;
    ck_ok(repl_claimant_new(s->driver, &config, &claimant, &err_));
    fake_until(was_heard, NULL);
    repl_claimant_free(claimant);
    ck_assert(heard.fenced);
    ck_assert_uint_eq(p->fences, 1);
    ck_assert_uint_eq(p2->fences, 0);
    fake_follow(s, REPL_DR, fake_ca, "s1", p2, NULL);
    fake_until(has_error, "no longer the primary");
    ck_assert_uint_ge(p->fences, 2);
    ck_assert_uint_eq(p2->fences, 0);
    tear_down();
}
END_TEST

/* An unproved primary of a newer epoch is not followed. */
START_TEST(unproved_primary_is_not_followed)
{
    set_up(REPL_DR);
    append_many(p, 10);
    fake_follow(s, REPL_DR, fake_ca, "s1", p, NULL);
    fake_until(caught_up, p);
    promote(p, 10);
    p->proof[0] = '\0';
    (void)repl_primary_close(p->primary, NULL, "cut by the test");
    fake_until(has_error, "without proof");
    ck_assert_uint_eq(s->adoptions, 0);
    ck_assert_uint_ge(s->alarms, 1);
    tear_down();
}
END_TEST

START_TEST(lists_of_addresses_are_bounded)
{
    struct repl_address_list list = {0};
    char text[300];
    memset(text, 'a', sizeof(text));
    ck_assert(!repl_address_add(&list, cf_slice_of(text, sizeof(text))));
    ck_assert(!repl_address_add(&list, CF_SLICE("")));
    for (unsigned i = 0; i < REPL_ADDRESSES_MAX; i++) {
        snprintf(text, sizeof(text), "h%u:1", i);
        ck_assert(repl_address_add(&list, cf_slice_str(text)));
        ck_assert(!repl_address_add(&list, cf_slice_str(text)));
    }
    ck_assert(!repl_address_add(&list, CF_SLICE("one:1")));
}
END_TEST

TEST_MAIN("replication/driver/driver", bootstraps_and_streams, filtered_entries_move_the_position,
          resumes_after_a_cut, bootstraps_again_when_compacted, redirects_to_who_may_serve, a_standby_serves,
          repairs_when_compacted, compares_while_streaming,
          revoking_cuts_at_once, a_copy_is_taken_over, the_same_page_is_not_sent_again, wrong_ca_says_so, wrong_kind_and_nobody_say_so,
          a_refusal_is_not_hidden_by_a_dead_node, forwards_calls,
          calls_follow_what_was_learned, follows_a_promoted_one_and_fences_the_old, diverged_secondary_bootstraps,
          claims_need_a_proof, claims_reach_the_active_node, unproved_primary_is_not_followed,
          lists_of_addresses_are_bounded)

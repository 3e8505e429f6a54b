/* Autopilot's decisions, as a table: three voters that are well, one thing different in each row. */
#include "consensus/core/autopilot.h"
#include "consensus/core/raft.h"
#include "node/base/memory.h"
#include "test.h"

#define S ((uint64_t)1000 * 1000)
#define LAST 5000

enum { LEADER = 1, FIRST = 2, SECOND = 3, NEW = 4 };

struct row {
    const char *name;
    /* what differs */
    bool cleanup;
    uint32_t min_quorum;
    uint64_t dead_s;          /* dead_contact; 0: 60 s */
    uint64_t led_s;           /* how long this node leads; 0: 1000 s */
    uint64_t silent_s[5];     /* by id: not heard since */
    uint64_t behind[5];       /* by id: entries */
    uint32_t condition[5];    /* by id */
    unsigned learners;        /* bit 1 << id: no voter */
    unsigned non_voters;      /* bit: never to vote */
    unsigned fetching;        /* bit */
    uint64_t watched_s;       /* how long they have been like that; 0: 12 s */
    bool changing;
    bool old_software;        /* NEW knows level 1 where the others work at 2 */
    bool never;               /* stabilization is off */
    unsigned absent;          /* bit: no member at all */
    /* what must come out */
    enum autopilot_act act;
    uint64_t id;
};

#define BIT(id) (1u << (id))

static const struct row rows[] = {
    {"all well: nothing", .learners = 0},
    {"a learner that keeps up votes", .learners = BIT(NEW), .act = AUTOPILOT_PROMOTE, .id = NEW},
    {"not before the time is up", .learners = BIT(NEW), .watched_s = 9},
    {"at once-ish in a young leadership", .learners = BIT(NEW), .watched_s = 3, .led_s = 4,
     .act = AUTOPILOT_PROMOTE, .id = NEW},
    {"but even then not at once", .learners = BIT(NEW), .watched_s = 1, .led_s = 4},
    {"a non-voter never", .learners = BIT(NEW), .non_voters = BIT(NEW), .watched_s = 900},
    {"not one that lags", .learners = BIT(NEW), .behind[NEW] = 1001},
    {"one that lags just within", .learners = BIT(NEW), .behind[NEW] = 1000,
     .act = AUTOPILOT_PROMOTE, .id = NEW},
    {"not one that is silent", .learners = BIT(NEW), .silent_s[NEW] = 11},
    {"not one whose disk hangs", .learners = BIT(NEW), .condition[NEW] = RAFT_STALLED},
    {"not one whose log is broken", .learners = BIT(NEW), .condition[NEW] = RAFT_RECOVERING},
    {"a sealed one may", .learners = BIT(NEW), .condition[NEW] = RAFT_SEALED,
     .act = AUTOPILOT_PROMOTE, .id = NEW},
    {"not one that takes a snapshot", .learners = BIT(NEW), .fetching = BIT(NEW)},
    {"not one that can't read what is written", .learners = BIT(NEW), .old_software = true},
    {"not while a change is pending", .learners = BIT(NEW), .changing = true},
    {"not when switched off", .learners = BIT(NEW), .never = true, .watched_s = 500},

    {"cleanup is off by default", .silent_s[NEW] = 900},
    {"a dead one goes", .cleanup = true, .min_quorum = 3, .silent_s[NEW] = 61,
     .act = AUTOPILOT_REMOVE, .id = NEW},
    {"not before its time", .cleanup = true, .min_quorum = 3, .silent_s[NEW] = 59},
    {"not without min_quorum", .cleanup = true, .min_quorum = 0, .silent_s[NEW] = 900},
    {"not below min_quorum", .cleanup = true, .min_quorum = 4, .silent_s[NEW] = 900},
    {"not when three voters would be two", .cleanup = true, .min_quorum = 3, .absent = BIT(NEW),
     .silent_s[SECOND] = 900},
    {"not while another is unwell", .cleanup = true, .min_quorum = 3, .silent_s[NEW] = 900,
     .dead_s = 890, .silent_s[SECOND] = 20},
    {"not while another lags", .cleanup = true, .min_quorum = 3, .silent_s[NEW] = 900,
     .behind[FIRST] = 2000},
    {"never two at once", .cleanup = true, .min_quorum = 3, .silent_s[NEW] = 900,
     .silent_s[SECOND] = 900},
    {"not while a change is pending", .cleanup = true, .min_quorum = 3, .silent_s[NEW] = 900,
     .changing = true},
    {"a new leader gives everybody the whole time", .cleanup = true, .min_quorum = 3,
     .silent_s[NEW] = 900, .led_s = 50, .watched_s = 50},
    {"a dead learner goes, and costs no vote", .cleanup = true, .min_quorum = 3,
     .learners = BIT(NEW), .silent_s[NEW] = 61, .act = AUTOPILOT_REMOVE, .id = NEW},
    {"nobody while the leader itself is ill", .cleanup = true, .min_quorum = 3,
     .silent_s[NEW] = 900, .condition[LEADER] = RAFT_STALLED},
};

static size_t fill(const struct row *row, uint64_t now_us, struct autopilot_server *servers)
{
    size_t count = 0;
    for (unsigned id = LEADER; id <= NEW; id++) {
        uint64_t silent_us = row->silent_s[id] * S;
        if (row->absent & BIT(id)) {
            continue;
        }
        servers[count++] = (struct autopilot_server){
            .id = id,
            .is_self = id == LEADER,
            .is_voter = !(row->learners & BIT(id)),
            .is_non_voter = (row->non_voters & BIT(id)) != 0,
            .is_fetching = (row->fetching & BIT(id)) != 0,
            .heard_us = now_us - silent_us,
            .match = LAST - row->behind[id],
            .condition = row->condition[id],
            .features = id == NEW && row->old_software ? 1 : 2};
    }
    return count;
}

/* Steps every 100 ms; the first thing that is done is the result. What is silent stays so: its time
 * grows into the row's value at the end. */
static struct autopilot_action run(const struct row *row, struct autopilot *autopilot)
{
    uint64_t end_us = 100000 * S;
    uint64_t watched_us = (row->watched_s != 0 ? row->watched_s : 12) * S;
    uint64_t led_us = (row->led_s != 0 ? row->led_s : 1000) * S;
    autopilot_config_default(&autopilot->config);
    autopilot->config.cleanup_dead_servers = row->cleanup;
    autopilot->config.min_quorum = row->min_quorum;
    autopilot->config.dead_contact_us = (row->dead_s != 0 ? row->dead_s : 60) * S;
    if (row->never) {
        autopilot->config.stabilization_us = UINT64_MAX;
    }
    autopilot_begin(autopilot, end_us - led_us);
    struct autopilot_action last = {0};
    for (unsigned id = FIRST; id <= NEW; id++) { /* silence has to be watched to be believed */
        watched_us = cf_max(watched_us, cf_min(row->silent_s[id] * S, led_us));
    }
    for (uint64_t now_us = end_us - watched_us; now_us <= end_us; now_us += S / 10) {
        struct autopilot_server servers[5];
        struct autopilot_input input = {.now_us = now_us,
                                        .last_index = LAST,
                                        .is_changing = row->changing,
                                        .servers = servers};
        input.count = fill(row, end_us, servers);
        for (size_t i = 0; i < input.count; i++) {
            uint64_t silent_since = end_us - row->silent_s[servers[i].id] * S;
            servers[i].heard_us = row->silent_s[servers[i].id] != 0 && silent_since < now_us
                                      ? silent_since
                                      : now_us;
        }
        last = autopilot_step(autopilot, &input);
        if (last.act != AUTOPILOT_NOTHING) {
            break;
        }
    }
    return last;
}

START_TEST(the_table)
{
    for (size_t i = 0; i < CF_LENGTH(rows); i++) {
        struct autopilot autopilot;
        struct autopilot_action got = run(&rows[i], &autopilot);
        ck_assert_msg(got.act == rows[i].act && got.id == rows[i].id,
                      "%s: did %d to %u, wanted %d to %u", rows[i].name, (int)got.act,
                      (unsigned)got.id, (int)rows[i].act, (unsigned)rows[i].id);
    }
}
END_TEST

/* One unwell moment, and the time begins anew. */
START_TEST(a_hiccup_starts_the_time_anew)
{
    struct autopilot autopilot;
    struct row row = {.learners = BIT(NEW)};
    struct autopilot_server servers[5];
    autopilot_config_default(&autopilot.config);
    autopilot_begin(&autopilot, 0);
    uint64_t promoted_us = 0;
    for (uint64_t now_us = 1000 * S; promoted_us == 0 && now_us < 1100 * S; now_us += S / 10) {
        struct autopilot_input input = {.now_us = now_us, .last_index = LAST, .servers = servers};
        input.count = fill(&row, now_us, servers);
        servers[NEW - 1].condition = now_us == 1008 * S ? RAFT_STALLED : 0;
        if (autopilot_step(&autopilot, &input).act == AUTOPILOT_PROMOTE) {
            promoted_us = now_us;
        }
        ck_assert_ptr_nonnull(autopilot_find(&autopilot, NEW));
    }
    ck_assert_uint_eq(promoted_us, 1018 * S + S / 10);
    ck_assert_ptr_null(autopilot_find(&autopilot, 99));
}
END_TEST

START_TEST(tolerance)
{
    static const struct {
        unsigned voters, healthy, want;
    } cases[] = {{1, 1, 0}, {2, 2, 0}, {3, 3, 1}, {3, 2, 0}, {3, 1, 0}, {4, 4, 1}, {5, 5, 2},
                 {5, 4, 1}, {0, 0, 0}};
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        ck_assert_uint_eq(autopilot_tolerance(cases[i].voters, cases[i].healthy), cases[i].want);
    }
}
END_TEST

TEST_MAIN("consensus/core/autopilot", the_table, a_hiccup_starts_the_time_anew, tolerance)

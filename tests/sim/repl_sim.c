/* tests/sim/repl_sim.c
 *
 * The command.
 *     repl_sim --seeds A..B [--marks]        runs seeds A to B inclusive; exit status 1 at a failure
 *     repl_sim --seed N [--trace]            one seed, with its options and what happened
 *     repl_sim --twice A..B                  runs each twice and compares the traces
 *     repl_sim --regress FILE                the seeds of a file, one a line; # begins a comment
 *     repl_sim --shrink N                    the fewest faults with which a seed fails the same invariant
 *     repl_sim --set NAME=VALUE ...          with any of these: an option, whatever is drawn
 *     repl_sim --mutant NAME ...             (mutants build) with that mistake; --seeds wants a failure
 * COFFER_SIM_SEEDS=K: of each range only the first K seeds are run.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/repl_world.h"

static const char *const mark_names[] = {
    [MARK_STREAMED] = "streamed",
    [MARK_BOOTSTRAPPED] = "bootstrapped",
    [MARK_RESUMED] = "bootstrap-resumed",
    [MARK_RESTARTED] = "bootstrap-restarted",
    [MARK_TAKEN_OVER] = "bootstrap-taken-over",
    [MARK_PROMOTED] = "promoted",
    [MARK_FENCED] = "fenced",
    [MARK_DIVERGED] = "diverged",
    [MARK_TRANSLATED] = "translated",
    [MARK_CUT_ENTRY] = "entry-cut",
    [MARK_ROGUE] = "unproved-claim",
    [MARK_GAP] = "lost-batch",
    [MARK_TWO_PRIMARIES] = "two-primaries",
    [MARK_TWO_PROMOTED] = "three-primaries",
    [MARK_LINE_PROMOTED] = "line-promoted",
    [MARK_FILTERED] = "filtered",
    [MARK_NARROWED] = "filter-narrowed",
    [MARK_WIDENED] = "filter-widened",
    [MARK_GONE] = "mount-taken-away",
    [MARK_REPAIRED] = "repaired",
    [MARK_REPAIR_TOO_LARGE] = "repair-too-large",
    [MARK_REPAIR_LOST] = "repair-lost",
    [MARK_REPAIR_NOTHING] = "repair-of-nothing",
    [MARK_STANDBY_SERVES] = "standby-serves",
    [MARK_STANDBY_LACKS] = "standby-lacks",
    [MARK_SNAPSHOT_NODE] = "node-by-snapshot",
    [MARK_MOVED] = "stream-moved",
    [MARK_FLOOR_HELD] = "floor-held",
    [MARK_FLOOR_INHERITED] = "floor-inherited",
    [MARK_OVERDUE] = "overdue",
    [MARK_CAP] = "log-at-its-cap",
    [MARK_DRILL] = "planned-failover",
    [MARK_FAILBACK] = "former-primary-attached",
    [MARK_CALL_RAN] = "call-ran",
    [MARK_CALL_REPLAYED] = "call-replayed",
    [MARK_CALL_UNTOUCHED] = "call-untouched",
    [MARK_CALL_UNKNOWN] = "call-unknown",
    [MARK_CALL_OVER_PROMOTION] = "call-again-after-promotion",
};
_Static_assert(CF_LENGTH(mark_names) == MARK_COUNT, "every mark has a name");
_Static_assert(MARK_COUNT <= 64, "a mark is a bit");

#ifdef REPL_MUTATIONS
static const char *const mutant_names[] = {
    [REPL_MUTANT_NONE] = "none",
    [REPL_MUTANT_ACCEPT_GAP] = "accept-gap",
    [REPL_MUTANT_HELLO_EARLY] = "hello-early",
    [REPL_MUTANT_RESUME_BLINDLY] = "resume-blindly",
    [REPL_MUTANT_STREAM_BEYOND] = "stream-beyond",
    [REPL_MUTANT_TRUST_CLAIMS] = "trust-claims",
    [REPL_MUTANT_NEVER_FENCE] = "never-fence",
    [REPL_MUTANT_ACK_EARLY] = "ack-early",
    [REPL_MUTANT_REPAIR_ENDLESS] = "repair-endless",
    [REPL_MUTANT_TRANSLATE_WITHOUT_BASE] = "translate-without-base",
    [REPL_MUTANT_TRANSLATE_ANY_EPOCH] = "translate-any-epoch",
    [REPL_MUTANT_TRANSLATE_ALL] = "translate-all",
    [REPL_MUTANT_TRANSLATE_PAST_REPAIR] = "translate-past-repair",
    [REPL_MUTANT_LINE_NEVER_FENCED] = "line-never-fenced",
    [REPL_MUTANT_OTHER_EPOCH_REACHED] = "other-epoch-reached",
    [REPL_MUTANT_HOLDS_NOT_ASKED] = "holds-not-asked",
    [REPL_MUTANT_FIRST_STANDBY_ONLY] = "first-standby-only",
    [REPL_MUTANT_FLOOR_FORGETS] = "floor-forgets",
    [REPL_MUTANT_FLOOR_OF_LAST] = "floor-of-last",
    [REPL_MUTANT_FLOOR_ENDLESS] = "floor-endless",
    [REPL_MUTANT_FLOOR_OF_CUT_OFF] = "floor-of-cut-off",
    [REPL_MUTANT_HOLDING_FREED] = "holding-freed",
    [REPL_MUTANT_LAG_OF_SENT] = "lag-of-sent",
    [REPL_MUTANT_LAG_YOUNG] = "lag-young",
    [REPL_MUTANT_LAG_OF_NEWCOMER] = "lag-of-newcomer",
    [REPL_MUTANT_LAG_SILENT] = "lag-silent",
    [REPL_MUTANT_LAG_BLIND] = "lag-blind",
    [REPL_MUTANT_CREDIT_IGNORED] = "credit-ignored",
    [REPL_MUTANT_FILTER_LATE] = "filter-late",
    [REPL_MUTANT_FILTER_STAYS] = "filter-stays",
    [REPL_MUTANT_FILTER_WIDENED] = "filter-widened",
    [REPL_MUTANT_FILTER_GONE] = "filter-gone",
    [REPL_MUTANT_FILTER_OPEN] = "filter-open",
    [REPL_MUTANT_RECORD_UNREAD] = "record-unread",
    [REPL_MUTANT_TWO_IDS] = "two-ids",
    [REPL_MUTANT_SET_ANYWHERE] = "set-anywhere",
    [REPL_MUTANT_REPAIR_SURPLUS] = "repair-surplus",
};
_Static_assert(CF_LENGTH(mutant_names) == REPL_MUTANT_COUNT, "every mutant has a name");
#endif

enum { SETS_MAX = 40 };
static struct sim_override overrides[SETS_MAX + 1];
static size_t override_count;

/* ---- the command ---- */

static bool parse_range(const char *text, uint64_t *first, uint64_t *last)
{
    char *end;
    *first = *last = strtoull(text, &end, 10);
    if (strncmp(end, "..", 2) == 0) {
        *last = strtoull(end + 2, &end, 10);
    }
    const char *limit = getenv("COFFER_SIM_SEEDS");
    if (limit != NULL && *last - *first >= strtoull(limit, NULL, 10)) {
        *last = *first + strtoull(limit, NULL, 10) - 1;
    }
    return *end == '\0' && *last >= *first;
}

static int run_range(uint64_t first, uint64_t last, bool twice, bool marks)
{
    uint64_t reached = 0;
    int failed = 0;
    for (uint64_t seed = first; seed <= last; seed++) {
        uint64_t hash = run_seed(seed, overrides, false, &reached, false);
        if (twice && run_seed(seed, overrides, false, &reached, false) != hash) {
            fprintf(stderr, "seed %" PRIu64 ": two runs differ\n", seed);
            return 1;
        }
    }
    printf("seeds %" PRIu64 "..%" PRIu64 ": %" PRIu64 " passed\n", first, last, last - first + 1);
    for (unsigned i = 0; marks && i < MARK_COUNT; i++) {
        if ((reached >> i & 1) == 0) {
            fprintf(stderr, "never reached: %s\n", mark_names[i]);
            failed = 1;
        }
    }
    return failed;
}

/* In a child, because a failure ends the process. The invariant that broke, or "" when none did. */
static const char *fails(uint64_t seed)
{
    static char text[4096];
    int ends[2];
    size_t size = 0;
    if (pipe(ends) != 0) {
        return "";
    }
    pid_t child = fork();
    if (child == 0) {
        uint64_t reached = 0;
        (void)dup2(ends[1], STDERR_FILENO);
        cf_ignore((int)run_seed(seed, overrides, false, &reached, false), "whether it returns is what counts");
        _exit(0);
    }
    (void)close(ends[1]);
    for (ssize_t got; size < sizeof(text) - 1 &&
                      (got = read(ends[0], text + size, sizeof(text) - 1 - size)) > 0;) {
        size += (size_t)got;
    }
    (void)close(ends[0]);
    text[size] = '\0';
    int status = 0;
    bool broke = child > 0 && waitpid(child, &status, 0) == child && status != 0;
    return broke ? text : "";
}

/* The name of an invariant, as sim_fail() prints it: "seed N: NAME violated at ...". */
static void invariant_of(const char *text, char ret[64])
{
    const char *end = strstr(text, " violated at "), *from = strstr(text, ": ");
    bool named = end != NULL && from != NULL && from < end;
    const char *broke = text[0] != '\0' ? "an assertion" : "";
    (void)snprintf(ret, 64, "%.*s", named ? (int)cf_min((size_t)(end - from - 2), 63) : 63,
                   named ? from + 2 : broke);
}

static bool add_override(const char *name, size_t size, uint64_t value)
{
    static char names[SETS_MAX][40];
    if (override_count == SETS_MAX || size >= sizeof(names[0])) {
        return false;
    }
    memcpy(names[override_count], name, size);
    names[override_count][size] = '\0';
    overrides[override_count] = (struct sim_override){names[override_count], value};
    overrides[++override_count] = (struct sim_override){0};
    return true;
}

static bool parse_set(const char *text)
{
    const char *equals = strchr(text, '=');
    return equals != NULL &&
           add_override(text, (size_t)(equals - text), strtoull(equals + 1, NULL, 10));
}

/* Whole classes of faults off, fewer clusters, less time: whatever leaves the same invariant broken. */
static int shrink(uint64_t seed)
{
    static const char *const faults[] = {
        "crash", "cut", "cut_off", "leader_change", "lost_batch_permille", "failed_proposal_permille",
        "expired_snapshot_permille", "rogue_permille", "filter_ms", "mounts_permille", "call_ms",
        "lost_answer_permille", "slow_commit", "drills", "promotions"};
    static const uint64_t topologies[] = {1, 2, 3, 5, 10};
    char wanted[64], now[64];
    invariant_of(fails(seed), wanted);
    if (wanted[0] == '\0') {
        fprintf(stderr, "seed %" PRIu64 " does not fail\n", seed);
        return 1;
    }
    for (size_t i = 0; i < CF_LENGTH(topologies) + CF_LENGTH(faults) + 7; i++) {
        size_t before = override_count, fault = i - CF_LENGTH(topologies);
        const char *name = i < CF_LENGTH(topologies) ? "topology"
                           : fault < CF_LENGTH(faults) ? faults[fault]
                                                       : "safety_s";
        uint64_t value = i < CF_LENGTH(topologies)   ? topologies[i]
                         : fault < CF_LENGTH(faults) ? 0
                                                     : 3 + fault - CF_LENGTH(faults);
        bool again = false;
        for (size_t k = 0; k < before; k++) {
            again |= strcmp(overrides[k].name, name) == 0;
        }
        if (again || !add_override(name, strlen(name), value)) {
            continue;
        }
        invariant_of(fails(seed), now);
        if (strcmp(now, wanted) != 0) {
            override_count = before;
            overrides[before] = (struct sim_override){0};
        }
    }
    printf("repl_sim --seed %" PRIu64, seed);
    for (size_t i = 0; i < override_count; i++) {
        printf(" --set %s=%" PRIu64, overrides[i].name, overrides[i].value);
    }
    printf(" --trace # %s\n", wanted);
    return 0;
}

static int regress(const char *path)
{
    FILE *file = fopen(path, "r");
    char line[512];
    uint64_t reached = 0;
    unsigned count = 0;
    if (file == NULL) {
        perror(path);
        return 2;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        if (line[0] >= '0' && line[0] <= '9') {
            cf_ignore((int)run_seed(strtoull(line, NULL, 10), overrides, false, &reached, false), "no failure");
            count++;
        }
    }
    (void)fclose(file);
    printf("%u seeds that once failed: passed\n", count);
    return 0;
}

#ifdef REPL_MUTATIONS
static bool choose_mutant(const char *name)
{
    for (unsigned i = 1; i < REPL_MUTANT_COUNT; i++) {
        if (strcmp(name, mutant_names[i]) == 0) {
            repl_mutation = (enum repl_mutant)i;
        }
    }
    if (repl_mutation == REPL_MUTANT_NONE) {
        fprintf(stderr, "no such mutant: %s\n", name);
    }
    return repl_mutation != REPL_MUTANT_NONE;
}

static int hunt(const char *name, uint64_t first, uint64_t last)
{
    for (uint64_t seed = first; seed <= last; seed++) {
        char invariant[64];
        const char *text = fails(seed);
        if (text[0] != '\0') {
            invariant_of(text, invariant);
            printf("%s: caught by %s after %" PRIu64 " seeds\n", name, invariant, seed - first + 1);
            return 0;
        }
    }
    printf("%s: NOT caught\n", name);
    return 1;
}
#endif

struct arguments {
    uint64_t first, last;
    bool one, trace, twice, marks, shrinks, sound;
    const char *mutant, *regress;
};

static struct arguments parse(int argc, char **argv)
{
    static const struct option options[] = {{"seeds", required_argument, NULL, 'r'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"trace", no_argument, NULL, 't'},
                                            {"twice", required_argument, NULL, '2'},
                                            {"mutant", required_argument, NULL, 'x'},
                                            {"regress", required_argument, NULL, 'g'},
                                            {"shrink", required_argument, NULL, 'k'},
                                            {"set", required_argument, NULL, '='},
                                            {"marks", no_argument, NULL, 'm'},
                                            {NULL, 0, NULL, 0}};
    struct arguments a = {.first = 1, .last = 100, .sound = true};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--mutant") == 0) {
            (void)unsetenv("COFFER_SIM_SEEDS"); /* a hunt needs the seeds that it was given */
        }
    }
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'r' || c == 's' || c == '2' || c == 'k') {
            a.one = c == 's';
            a.twice = c == '2';
            a.shrinks = c == 'k';
            a.sound &= parse_range(optarg, &a.first, &a.last);
        } else if (c == 't') {
            a.trace = true;
        } else if (c == 'm') {
            a.marks = getenv("COFFER_SIM_SEEDS") == NULL; /* a fraction need not reach them all */
        } else if (c == 'x') {
            a.mutant = optarg;
        } else if (c == 'g') {
            a.regress = optarg;
        } else {
            a.sound &= c == '=' && parse_set(optarg);
        }
    }
    a.sound &= optind == argc;
    return a;
}

int main(int argc, char **argv)
{
    struct arguments a = parse(argc, argv);
    uint64_t reached = 0;
    if (!a.sound) {
        fprintf(stderr, "usage: repl_sim --seeds A..B [--marks] | --seed N [--trace] | --twice A..B | "
                        "--regress FILE | --shrink N, and --set NAME=VALUE\n");
        return 2;
    }
#ifdef REPL_MUTATIONS
    if (a.mutant != NULL && !choose_mutant(a.mutant)) {
        return 2;
    }
    if (a.mutant != NULL && !a.one && !a.shrinks) {
        return hunt(a.mutant, a.first, a.last);
    }
#else
    if (a.mutant != NULL) {
        fprintf(stderr, "this build has no mutants; use repl_sim_mutants\n");
        return 2;
    }
#endif
    if (a.regress != NULL) {
        return regress(a.regress);
    }
    if (a.shrinks) {
        return shrink(a.first);
    }
    if (a.one) {
        cf_ignore((int)run_seed(a.first, overrides, a.trace, &reached, true), "printed");
        return 0;
    }
    return run_range(a.first, a.last, a.twice, a.marks);
}

/* tests/sim/sim.c
 *
 * The command.
 *     sim --seeds A..B [--jobs N] [--marks]   runs seeds A to B inclusive; exit status 1 at a
 * failure sim --seed N [--trace]                  one seed, with its options and what happened sim
 * --twice A..B                        runs each twice and compares the traces sim --regress FILE
 * runs the seeds that a file lists sim --mutant NAME --seeds A..B          (mutants build) wants a
 * failure within A..B COFFER_SIM_SEEDS=K divides the work: of each range only the first K seeds are
 * run.
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/script.h"

static const char *const mark_names[] = {
    [MARK_LEADER] = "leader",
    [MARK_TRUNCATED] = "truncated",
    [MARK_SNAPSHOT_INSTALLED] = "snapshot-installed",
    [MARK_JOINT] = "joint",
    [MARK_JOINT_LEFT] = "joint-left",
    [MARK_LEADER_REMOVED] = "leader-removed",
    [MARK_TRANSFERRED] = "transferred",
    [MARK_TORN_WRITE] = "torn-write",
    [MARK_WHOLE_BEHIND_TORN] = "whole-behind-torn",
    [MARK_VOTE_FORGOTTEN] = "vote-forgotten",
    [MARK_TORN_CRASH] = "torn-crash",
    [MARK_READ_FORWARDED] = "read",
    [MARK_READ_LEASE] = "read-by-lease",
    [MARK_CONFIG_ROLLED_BACK] = "config-rolled-back",
    [MARK_BUSY_PROPOSAL] = "busy-proposal",
    [MARK_OLD_TERM_COMMITTED] = "old-term-committed",
    [MARK_WRITES_IN_FLIGHT] = "writes-in-flight",
    [MARK_COMPACTED] = "compacted",
    [MARK_LEARNER_PROMOTED] = "learner-promoted",
    [MARK_CORRUPT_FRAME] = "corrupt-frame",
    [MARK_FORMER_LIFE] = "frame-of-a-former-life",
    [MARK_MALFORMED_FRAME] = "malformed-frame",
    [MARK_SNAPSHOT_FAILED] = "snapshot-failed",
    [MARK_REMOVED_TOLD] = "removed-told",
    [MARK_DISK_LOST] = "disk-lost",
    [MARK_RECOVERED] = "recovered",
    [MARK_DISK_LOST_SILENTLY] = "older-image",
    [MARK_COMMIT_BEYOND_LAST] = "commit-beyond-last",
    [MARK_ROT_FOUND] = "rot-found",
    [MARK_FSYNC_FAILED] = "fsync-failed",
    [MARK_DISK_STALLED] = "disk-stalled",
    [MARK_SWIZZLED] = "swizzled",
    [MARK_UPGRADED] = "upgraded",
    [MARK_LEVEL_2] = "level-2",
    [MARK_BACKTRACKED] = "reject-hint-used",
    [MARK_WINDOW_FULL] = "window-full",
    [MARK_DOUBLE_OFFER] = "double-offer",
    [MARK_READ_RETRIED] = "read-retried",
    [MARK_LIVE_TRANSFER] = "transferred-when-healthy",
    [MARK_ISOLATED] = "leader-cut-off-and-asked",
};
_Static_assert(CF_LENGTH(mark_names) == MARK_COUNT, "every mark has a name");

struct shared { /* between the parent and the workers */
    uint64_t reached[64];
    uint64_t at_seed[64];
    uint64_t done[64];
};

static struct shared *shared;
static unsigned worker;

/* An assert of the core fired: say in which seed. */
static void on_abort(int number)
{
    char text[64];
    int size = snprintf(text, sizeof(text), "seed %" PRIu64 ": an assertion failed (signal %d)\n",
                        shared->at_seed[worker], number);
    cf_ignore(write(STDERR_FILENO, text, (size_t)size) < 0, "nothing else can be done");
    _exit(1);
}

static void run_range(uint64_t first, uint64_t last, unsigned index, unsigned jobs, bool twice)
{
    worker = index;
    for (uint64_t seed = first + index; seed <= last; seed += jobs) {
        shared->at_seed[index] = seed;
        uint64_t hash = run_seed(seed, false, &shared->reached[index], false);
        if (twice && run_seed(seed, false, &shared->reached[index], false) != hash) {
            fprintf(stderr, "seed %" PRIu64 ": two runs differ\n", seed);
            _exit(1);
        }
        shared->done[index]++;
    }
}

/* Each job in a process of its own; 0 when all went well. */
static int run_jobs(uint64_t first, uint64_t last, unsigned jobs, bool twice)
{
    int failed = 0;
    for (unsigned i = 0; i < jobs; i++) {
        pid_t child = fork();
        if (child == 0) {
            run_range(first, last, i, jobs, twice);
            exit(0);
        }
        failed |= child < 0;
    }
    int status;
    while (wait(&status) > 0) {
        failed |= !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    }
    return failed;
}

static bool parse_range(const char *text, uint64_t *first, uint64_t *last)
{
    char *end;
    *first = *last = strtoull(text, &end, 10);
    if (strncmp(end, "..", 2) == 0) {
        *last = strtoull(end + 2, &end, 10);
    }
    return *end == '\0' && *last >= *first;
}

/* A fraction of the work, for slow builds. Not for mutants: they are hunted until they are caught.
 */
static void apply_limit(uint64_t first, uint64_t *last)
{
    const char *text = getenv("COFFER_SIM_SEEDS");
    uint64_t limit = text != NULL ? strtoull(text, NULL, 10) : 0;
    if (limit != 0 && *last - first >= limit) {
        *last = first + limit - 1;
    }
}

static int report(uint64_t first, uint64_t last, unsigned jobs, int failed, bool marks)
{
    uint64_t reached = 0, done = 0;
    for (unsigned i = 0; i < jobs; i++) {
        reached |= shared->reached[i];
        done += shared->done[i];
    }
    printf("seeds %" PRIu64 "..%" PRIu64 ": %" PRIu64 " passed\n", first, last, done);
    int missed = 0;
    for (unsigned i = 0; marks && !failed && i < MARK_COUNT; i++) {
        if ((reached >> i & 1) == 0) {
            fprintf(stderr, "never reached: %s\n", mark_names[i]);
            missed = 1;
        }
    }
    return failed | missed;
}

/* ---- scenarios ------------------------------------------------------------------------------ */

static char *read_text(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = cf_array(1 << 20, 1);
    size_t size = file != NULL ? fread(text, 1, (1 << 20) - 1, file) : 0;
    text[size] = '\0';
    if (file == NULL || fclose(file) != 0 || size == 0) {
        fprintf(stderr, "cannot read %s\n", path);
        cf_free(text);
        return NULL;
    }
    return text;
}

static char broken[32]; /* of a scenario's child, shared with it by a pipe */
static int broken_pipe;

static void tell_broken(struct sim_engine *e, const char *invariant, const char *text)
{
    (void)e;
    cf_ignore(write(broken_pipe, invariant, strlen(invariant)) < 0, "the parent sees nothing then");
    printf("  %s: %s\n", invariant, text);
    (void)fflush(stdout);
}

static void tell_abort(int number)
{
    (void)number;
    tell_broken(NULL, "assert", "an assertion of the core");
    _exit(1);
}

/* Runs a scenario in a child of its own. 0 when its expectations hold; broken[] has the invariant
 * that did not. */
static int run_apart(const char *path, const char *text, bool verbose)
{
    int ends[2], status = 1;
    if (pipe(ends) != 0) {
        return 2;
    }
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        uint64_t reached = 0;
        broken_pipe = ends[1];
        world_on_fail = tell_broken;
        bool ready = signal(SIGABRT, tell_abort) != SIG_ERR;
        struct script *script = ready ? script_parse(path, text) : NULL;
        bool met = script != NULL && script_run(script, path, verbose, &reached);
        script_free(script);
        exit(met ? 0 : 1);
    }
    cf_ignore(close(ends[1]), "the child has it");
    ssize_t size = read(ends[0], broken, sizeof(broken) - 1);
    broken[size > 0 ? size : 0] = '\0';
    cf_ignore(close(ends[0]), "it is read");
    return child > 0 && waitpid(child, &status, 0) == child && status == 0 ? 0 : 1;
}

#ifdef RAFT_MUTATIONS
static bool set_mutant(const char *name);

/* With its deliberate bug, a scenario has to break the invariant that it names. */
static int run_mutated(const char *path, const char *text, const struct script_head *head)
{
    if (head->mutant[0] == '\0') {
        return 0;
    }
    if (!set_mutant(head->mutant)) {
        return 1;
    }
    int failed = run_apart(path, text, false);
    raft_mutation = MUTANT_NONE;
    if (failed == 0 || (head->finds[0] != '\0' && strcmp(broken, head->finds) != 0)) {
        fprintf(stderr, "%s: mutant %s is to be found by \"%s\", found: \"%s\"\n", path,
                head->mutant, head->finds, failed ? broken : "nothing");
        return 1;
    }
    return 0;
}
#endif

/* Static, so that the child, which ends with exit(), still refers to what its parent holds. */
static char *scenario_text;
static struct script *scenario;

static int run_scenario(const char *path, bool verbose)
{
    scenario_text = read_text(path);
    scenario = scenario_text != NULL ? script_parse(path, scenario_text) : NULL;
    if (scenario == NULL) {
        return 1;
    }
    int failed = run_apart(path, scenario_text, verbose);
    if (broken[0] != '\0') {
        fprintf(stderr, "%s: %s does not hold\n", path, broken);
    }
#ifdef RAFT_MUTATIONS
    failed |= run_mutated(path, scenario_text, &scenario->head);
#endif
    script_free(scenario);
    cf_free(scenario_text);
    return failed;
}

static int run_scenarios(char **paths, int count, bool verbose)
{
    int failed = 0, passed = 0;
    for (int i = 0; i < count; i++) {
        int result = run_scenario(paths[i], verbose);
        failed |= result;
        passed += result == 0;
    }
    printf("%d of %d scenarios passed\n", passed, count);
    return failed | (count == 0);
}

/* Lines: a seed, then a word or two on what it once found; # begins a comment. */
static int run_file(const char *path)
{
    FILE *file = fopen(path, "r");
    char line[256];
    uint64_t reached = 0, count = 0;
    if (file == NULL) {
        fprintf(stderr, "cannot read %s\n", path);
        return 1;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        if (line[0] >= '0' && line[0] <= '9') {
            shared->at_seed[0] = strtoull(line, NULL, 10);
            cf_ignore((int)run_seed(shared->at_seed[0], false, &reached, false), "the trace");
            count++;
        }
    }
    (void)fclose(file);
    printf("%" PRIu64 " regressions passed\n", count);
    return 0;
}

#ifdef RAFT_MUTATIONS
static const char *const mutant_names[] = {
    [MUTANT_NONE] = "none",
    [MUTANT_COMMIT_OLD_TERM] = "commit-old-term",
    [MUTANT_VOTE_BEFORE_SYNC] = "vote-before-sync",
    [MUTANT_ACK_BEFORE_PERSIST] = "ack-before-persist",
    [MUTANT_READ_BEFORE_COMMIT] = "read-before-commit",
    [MUTANT_PREVOTE_CLEARS_VOTE] = "prevote-clears-vote",
    [MUTANT_APPLY_BEFORE_DURABLE] = "apply-before-durable",
    [MUTANT_SELF_MATCH_BEFORE_SYNC] = "self-match-before-sync",
    [MUTANT_READ_WITHOUT_ROUND] = "read-without-round",
    [MUTANT_ABA_COMPLETION] = "aba-completion",
    [MUTANT_CHANGE_BEFORE_COMMIT] = "change-before-commit",
    [MUTANT_JOINT_ONE_MAJORITY] = "joint-one-majority",
    [MUTANT_GRANT_OLD_LOG] = "grant-old-log",
    [MUTANT_CONFIG_NO_ROLLBACK] = "config-no-rollback",
    [MUTANT_VOTE_TWICE] = "vote-twice",
    [MUTANT_RECOVERING_VOTES] = "recovering-votes",
    [MUTANT_RECOVERED_EARLY] = "recovered-early",
    [MUTANT_READ_RETRY_SAME_ID] = "read-retry-same-id",
    [MUTANT_COMMIT_BEYOND_CLAMPED] = "commit-beyond-clamped",
    [MUTANT_REMOVED_LEADER_STAYS] = "removed-leader-stays",
    [MUTANT_SNAP_DOUBLE_INSTALL] = "snap-double-install",
    [MUTANT_RELOAD_BASE_CONFIG] = "reload-base-config",
    [MUTANT_STALLED_LEADS] = "stalled-leads",
    [MUTANT_EXLEADER_STICKY] = "exleader-sticky",
    [MUTANT_PREVOTE_RESETS_TIMER] = "prevote-resets-timer",
    [MUTANT_NO_STICKINESS] = "no-stickiness",
    [MUTANT_REMOVED_NOT_TOLD] = "removed-not-told",
    [MUTANT_TRANSFER_PROPOSES] = "transfer-proposes",
    [MUTANT_TRANSFER_EARLY] = "transfer-early",
    [MUTANT_TRANSFER_PREVOTE] = "transfer-prevote",
    [MUTANT_CONFIG_COMPACTED] = "config-compacted",
    [MUTANT_TRUNCATE_FORGETS] = "truncate-forgets",
    [MUTANT_DEMOTED_STAYS_OUT] = "demoted-stays-out",
    [MUTANT_JOINT_LEFT_EARLY] = "joint-left-early",
    [MUTANT_NO_CHECK_QUORUM] = "no-check-quorum",
    [MUTANT_REJECT_NO_CONTACT] = "reject-no-contact",
    [MUTANT_WINDOW_IGNORED] = "window-ignored",
    [MUTANT_LEARNER_COUNTS] = "learner-counts",
    [MUTANT_LEASE_NO_MARGIN] = "lease-no-margin",
    [MUTANT_LEASE_AFTER_TRANSFER] = "lease-after-transfer",
    [MUTANT_APPEND_COMMIT_UNCUT] = "append-commit-uncut",
    [MUTANT_FORMER_LIVES] = "former-lives",
};
_Static_assert(CF_LENGTH(mutant_names) == MUTANT_COUNT, "every mutant has a name");

static bool set_mutant(const char *name)
{
    for (unsigned i = 1; i < MUTANT_COUNT; i++) {
        if (strcmp(name, mutant_names[i]) == 0) {
            raft_mutation = (enum raft_mutant)i;
        }
    }
    if (raft_mutation == MUTANT_NONE) {
        fprintf(stderr, "no such mutant: %s\n", name);
    }
    return raft_mutation != MUTANT_NONE;
}

/* Seeds one by one until the mutant is caught. */
static int hunt(const char *name, uint64_t first, uint64_t last)
{
    if (!set_mutant(name)) {
        return 2;
    }
    int failed = run_jobs(first, last, 1, false);
    printf("%s: %s after %" PRIu64 " seeds\n", name, failed ? "caught" : "NOT caught",
           shared->done[0] + (failed != 0));
    return failed ? 0 : 1;
}
#endif

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seeds", required_argument, NULL, 'r'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"jobs", required_argument, NULL, 'j'},
                                            {"trace", no_argument, NULL, 't'},
                                            {"twice", required_argument, NULL, '2'},
                                            {"marks", no_argument, NULL, 'm'},
                                            {"mutant", required_argument, NULL, 'x'},
                                            {"regress", required_argument, NULL, 'f'},
                                            {"scenario", no_argument, NULL, 'c'},
                                            {"shrink", required_argument, NULL, 'k'},
                                            {NULL, 0, NULL, 0}};
    uint64_t first = 1, last = 100;
    unsigned jobs = 1;
    bool scenarios = false, shrink = false;
    bool one = false, trace = false, twice = false, marks = false, sound = true;
    const char *mutant = NULL, *file = NULL;
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || signal(SIGABRT, on_abort) == SIG_ERR) {
        return 2;
    }
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case '2':
        case 'r':
        case 's':
            twice = c == '2';
            one = c == 's';
            sound &= parse_range(optarg, &first, &last);
            break;
        case 'j':
            jobs = (unsigned)strtoul(optarg, NULL, 10);
            sound &= jobs >= 1 && jobs <= 64;
            break;
        case 'c':
            scenarios = true;
            break;
        case 'k':
            shrink = true;
            sound &= parse_range(optarg, &first, &last);
            break;
        case 't':
            trace = true;
            break;
        case 'm':
            marks = getenv("COFFER_SIM_SEEDS") == NULL; /* a fraction need not reach them all */
            break;
        case 'x':
            mutant = optarg;
            break;
        case 'f':
            file = optarg;
            break;
        default:
            sound = false;
            break;
        }
    }
    if (!sound || (optind != argc && !scenarios)) {
        fprintf(stderr, "usage: sim --seeds A..B [--jobs N] [--marks] | --seed N [--trace] | "
                        "--twice A..B | --regress FILE | --shrink SEED [--mutant NAME] | "
                        "--scenario [--trace] FILE...\n");
        return 2;
    }
    if (scenarios) {
        return run_scenarios(argv + optind, argc - optind, trace);
    }
#ifdef RAFT_MUTATIONS
    if (shrink) {
        return mutant == NULL || set_mutant(mutant) ? shrink_seed(first, mutant) : 2;
    }
    if (one && mutant != NULL && !set_mutant(mutant)) {
        return 2;
    }
    if (mutant != NULL && !one) {
        return hunt(mutant, first, last);
    }
#else
    if (mutant != NULL) {
        fprintf(stderr, "this build has no mutants; use sim_mutants\n");
        return 2;
    }
    if (shrink) {
        return shrink_seed(first, NULL);
    }
#endif
    if (file != NULL) {
        return run_file(file);
    }
    apply_limit(first, &last);
    if (one) {
        uint64_t reached = 0;
        shared->at_seed[0] = first;
        cf_ignore((int)run_seed(first, trace, &reached, true), "printed");
        return 0;
    }
    return report(first, last, jobs, run_jobs(first, last, jobs, twice), marks);
}

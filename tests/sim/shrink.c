/* tests/sim/shrink.c
 *
 * Makes a failing seed short. First as a seed: the run ends where it failed, classes of faults are
 * off, nodes, clients and sizes are fewer. Then as a scenario: what happened is written down line
 * by line, and lines are left out (Zeller's ddmin) as long as the same invariant breaks; at last
 * what is left is made plain. Each attempt is a process of its own.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/script.h"

#define RECORD_MAX ((size_t)64 << 20)
#define ATTEMPT_S 60

/* Between an attempt and the shrinker. */
struct attempt {
    char invariant[32]; /* that broke; "" none */
    char text[512];
    uint64_t at_us;
    size_t record_size;
    char record[RECORD_MAX];
};

static struct attempt *attempt;
static struct cf_buf record;
static uint64_t attempts;

static void note_failure(struct sim_engine *e, const char *invariant, const char *text)
{
    (void)snprintf(attempt->invariant, sizeof(attempt->invariant), "%s", invariant);
    (void)snprintf(attempt->text, sizeof(attempt->text), "%s", text);
    attempt->at_us = e != NULL ? e->now_us : 0;
    attempt->record_size = cf_min(record.size, RECORD_MAX - 1);
    if (attempt->record_size > 0) {
        memcpy(attempt->record, record.data, attempt->record_size);
    }
}

static void note_abort(int number)
{
    (void)number;
    note_failure(NULL, "assert", "an assertion of the core");
    _exit(1);
}

/* Runs body(context) in a child; the invariant that broke, "" when none did. */
static const char *attempt_in_child(void (*body)(void *context), void *context)
{
    attempt->invariant[0] = '\0';
    attempt->record_size = 0;
    attempts++;
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        cf_ignore(freopen("/dev/null", "w", stderr) == NULL, "only less quiet");
        cf_ignore(freopen("/dev/null", "w", stdout) == NULL, "only less quiet");
        world_on_fail = note_failure;
        if (signal(SIGABRT, note_abort) == SIG_ERR) {
            _exit(2);
        }
        alarm(ATTEMPT_S);
        body(context);
        _exit(0);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return "";
    }
    return attempt->invariant;
}

/* ---- as a seed ------------------------------------------------------------------------------ */

struct seeded {
    uint64_t seed;
    struct sim_override overrides[SCRIPT_OVERRIDES];
    size_t count;
    bool records;
};

static void run_seeded(void *context)
{
    struct seeded *s = context;
    uint64_t reached = 0;
    cf_buf_init(&record, RECORD_MAX);
    cf_ignore((int)run_seed_with(s->seed, s->overrides, s->records ? &record : NULL, false,
                                 &reached, false), "it fails, or not");
}

static bool try_option(struct seeded *s, const char *invariant, const char *name, uint64_t value)
{
    if (s->count + 1 >= SCRIPT_OVERRIDES) {
        return false;
    }
    s->overrides[s->count] = (struct sim_override){name, value};
    s->overrides[s->count + 1] = (struct sim_override){NULL, 0};
    if (strcmp(attempt_in_child(run_seeded, s), invariant) == 0) {
        s->count++;
        return true;
    }
    s->overrides[s->count] = (struct sim_override){NULL, 0};
    return false;
}

static void shrink_options(struct seeded *s, const char *invariant, uint64_t at_us)
{
    static const char *const classes[] = {
        "crash", "pause", "partition", "condition", "change", "transfer", "corrupt_permille",
        "drop_permille", "duplicate_permille", "slow_permille", "lose_permille", "drift_permille",
        "rot_permille", "torn_permille", "older_vote_permille", "older_image_permille", "fsync_fail_permille", "upgrade",
        "reader_busy_permille", "lease", "preferred", "fsync_spike_permille", "drain_us",
        "timer_late_us", "learners"};
    static const struct sim_override fewer[] = {
        {"size_class", 2}, {"clients", 1}, {"client_us", 80000}, {"payload_max", 1},
        {"read_permille", 50}, {"append_bytes", 4096}, {"window_class", 3}};
    cf_ignore(try_option(s, invariant, "stop_us", at_us + 1), "liveness fails at the end");
    for (size_t i = 0; i < CF_LENGTH(classes); i++) {
        cf_ignore(try_option(s, invariant, classes[i], 0), "it may be needed");
    }
    for (size_t i = 0; i < CF_LENGTH(fewer); i++) {
        cf_ignore(try_option(s, invariant, fewer[i].name, fewer[i].value), "it may be needed");
    }
}

/* ---- as lines ------------------------------------------------------------------------------- */

struct lines {
    char **at;
    size_t count;
};

static void run_lines(void *context)
{
    struct lines *l = context;
    struct cf_buf text;
    uint64_t reached = 0;
    cf_buf_init(&text, RECORD_MAX);
    cf_buf_addf(&text, "lenient\n");
    for (size_t i = 0; i < l->count; i++) {
        if (l->at[i] != NULL) {
            cf_buf_addf(&text, "%s\n", l->at[i]);
        }
    }
    struct script *script = script_parse("attempt", cf_buf_text(&text));
    if (script != NULL) {
        cf_ignore(script_run(script, "attempt", false, &reached) ? 0 : 1, "the invariant counts");
    }
}

static bool still_fails(struct lines *l, const char *invariant)
{
    return strcmp(attempt_in_child(run_lines, l), invariant) == 0;
}

static struct lines split(char *text, size_t size)
{
    struct lines l = {cf_array(size + 1, sizeof(char *)), 0};
    for (char *end, *line = text; line < text + size; line = end + 1) {
        end = memchr(line, '\n', (size_t)(text + size - line));
        if (end == NULL) {
            break;
        }
        *end = '\0';
        l.at[l.count++] = line;
    }
    return l;
}

/* All lines with these two words in them go, when the failure stays. */
static void leave_out_kind(struct lines *l, const char *invariant, const char *verb,
                           const char *word)
{
    struct lines less = {cf_array(l->count + 1, sizeof(char *)), 0};
    for (size_t i = 0; i < l->count; i++) {
        bool matches = strncmp(l->at[i], verb, strlen(verb)) == 0 && strstr(l->at[i], word) != NULL;
        if (!matches) {
            less.at[less.count++] = l->at[i];
        }
    }
    if (less.count < l->count && still_fails(&less, invariant)) {
        cf_free(l->at);
        *l = less;
    } else {
        cf_free(less.at);
    }
}

/* Whole kinds of events, links and nodes: a few attempts that save thousands. */
static void leave_out_kinds(struct lines *l, const char *invariant)
{
    static const char *const verbs[] = {"read ",      "flush ",   "compact ",     "unreachable ",
                                        "logready ",  "apply ",   "snapstep ",    "condition ",
                                        "transfer ",  "change ",  "drain ",       "tick ",
                                        "write ",     "crash ",   "lose ",        "wait "};
    static const char *const kinds[] = {" read-index ", " read-index-reply", " snapshot ",
                                        " snapshot-reply", " pre-vote-reply", " pre-vote ",
                                        " heartbeat-reply", " heartbeat ", " append-reply ",
                                        " append ", " x=1", " timeout-now"};
    char text[32];
    for (size_t i = 0; i < CF_LENGTH(verbs); i++) {
        leave_out_kind(l, invariant, verbs[i], "");
    }
    for (size_t i = 0; i < CF_LENGTH(kinds); i++) {
        leave_out_kind(l, invariant, "deliver ", kinds[i]);
    }
    for (unsigned a = 1; a <= SIM_NODES; a++) {
        (void)snprintf(text, sizeof(text), " %u ", a);
        leave_out_kind(l, invariant, "", text);
        for (unsigned b = 1; b <= SIM_NODES; b++) {
            (void)snprintf(text, sizeof(text), " %u>%u ", a, b);
            leave_out_kind(l, invariant, "deliver ", text);
        }
    }
}

/* "deliver 1>2 append t=3 i=7" fits one message of one history: with a line less before it, nothing
 * may fit. "The latest append" is as good most times, and lets the rest go. */
static void loosen(struct lines *l, const char *invariant)
{
    for (size_t size = l->count; size >= 1; size /= 2) {
        for (size_t from = 0; from < l->count; from += size) {
            struct lines looser = {cf_memdup(l->at, l->count * sizeof(char *)), l->count};
            bool any = false;
            for (size_t i = from; i < cf_min(l->count, from + size); i++) {
                char text[SCRIPT_LINE_MAX], kind[32];
                uint64_t a, b;
                if (strstr(l->at[i], "latest") == NULL &&
                    sscanf(l->at[i], "deliver %" SCNu64 ">%" SCNu64 " %31s", &a, &b, kind) == 3) {
                    (void)snprintf(text, sizeof(text), "deliver %" PRIu64 ">%" PRIu64 " %s latest",
                                   a, b, kind);
                    looser.at[i] = cf_memdup(text, strlen(text) + 1);
                    any = true;
                }
            }
            if (any && still_fails(&looser, invariant)) {
                cf_free(l->at);
                *l = looser;
            } else {
                cf_free(looser.at);
            }
        }
        if (size < 16) {
            return;
        }
    }
}

/* Leaves out runs of lines, long ones first, until no single one can go. */
static void leave_out(struct lines *l, const char *invariant)
{
    for (size_t size = l->count / 2; size >= 1;) {
        bool any = false;
        for (size_t from = 0; from < l->count;) {
            size_t n = cf_min(size, l->count - from);
            struct lines less = {cf_array(l->count, sizeof(char *)), l->count - n};
            memcpy(less.at, l->at, from * sizeof(char *));
            memcpy(less.at + from, l->at + from + n, (l->count - from - n) * sizeof(char *));
            if (still_fails(&less, invariant)) {
                cf_free(l->at);
                *l = less;
                any = true;
            } else {
                cf_free(less.at);
                from += n;
            }
        }
        size = any && size == 1 ? 1 : size / 2;
    }
}

static void replace(struct lines *l, size_t i, const char *text, const char *invariant)
{
    char *before = l->at[i];
    if (strcmp(before, text) == 0) {
        return;
    }
    l->at[i] = cf_memdup(text, strlen(text) + 1);
    if (!still_fails(l, invariant)) {
        cf_free(l->at[i]);
        l->at[i] = before;
    }
}

static void join_waits(struct lines *l)
{
    size_t kept = 0;
    for (size_t i = 0; i < l->count; i++) {
        uint64_t a, b;
        if (kept > 0 && sscanf(l->at[kept - 1], "wait %" SCNu64, &a) == 1 &&
            sscanf(l->at[i], "wait %" SCNu64, &b) == 1) {
            char text[SCRIPT_LINE_MAX];
            (void)snprintf(text, sizeof(text), "wait %" PRIu64, a + b);
            l->at[kept - 1] = cf_memdup(text, strlen(text) + 1);
        } else {
            l->at[kept++] = l->at[i];
        }
    }
    l->count = kept;
}

/* The same with rounder numbers and fewer words, where that fails, too. */
static void make_plain(struct lines *l, const char *invariant)
{
    for (size_t i = 0; i < l->count; i++) {
        char text[SCRIPT_LINE_MAX];
        uint64_t a, b;
        char kind[32];
        (void)snprintf(text, sizeof(text), "%s", l->at[i]);
        size_t size = strlen(text);
        if (size > 2 && strcmp(text + size - 2, " +") == 0) {
            text[size - 2] = '\0';
            replace(l, i, text, invariant);
        }
        if (sscanf(l->at[i], "wait %" SCNu64, &a) == 1) {
            for (uint64_t unit = 100000; unit >= 1000; unit /= 10) {
                (void)snprintf(text, sizeof(text), "wait %" PRIu64, (a + unit - 1) / unit * unit);
                replace(l, i, text, invariant);
                if (sscanf(l->at[i], "wait %" SCNu64, &b) == 1 && b % unit == 0) {
                    break;
                }
            }
        } else if (sscanf(l->at[i], "deliver %" SCNu64 ">%" SCNu64 " %31s", &a, &b, kind) == 3) {
            (void)snprintf(text, sizeof(text), "deliver %" PRIu64 ">%" PRIu64 " %s", a, b, kind);
            replace(l, i, text, invariant);
        } else if (sscanf(l->at[i], "write %" SCNu64, &a) == 1) {
            (void)snprintf(text, sizeof(text), "write %" PRIu64, a);
            replace(l, i, text, invariant);
        } else if (sscanf(l->at[i], "sync %" SCNu64, &a) == 1) {
            (void)snprintf(text, sizeof(text), "sync %" PRIu64, a);
            replace(l, i, text, invariant);
        } else if (sscanf(l->at[i], "apply %" SCNu64, &a) == 1) {
            (void)snprintf(text, sizeof(text), "apply %" PRIu64, a);
            replace(l, i, text, invariant);
        }
    }
}

/* ---- both ----------------------------------------------------------------------------------- */

static void print_head(uint64_t seed, const char *mutant, const char *invariant, const char *text)
{
    printf("# Shrunk from seed %" PRIu64 ": %s: %s\n", seed, invariant, text);
    if (mutant != NULL) {
        printf("mutant %s\n", mutant);
    }
    printf("finds %s\n", invariant);
}

int shrink_seed(uint64_t seed, const char *mutant)
{
    attempt =
        mmap(NULL, sizeof(*attempt), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (attempt == MAP_FAILED) {
        return 2;
    }
    struct seeded s = {.seed = seed};
    char invariant[sizeof(attempt->invariant)], text[sizeof(attempt->text)];
    memcpy(invariant, attempt_in_child(run_seeded, &s), sizeof(invariant));
    memcpy(text, attempt->text, sizeof(text));
    if (invariant[0] == '\0') {
        fprintf(stderr, "seed %" PRIu64 " does not fail\n", seed);
        return 1;
    }
    shrink_options(&s, invariant, attempt->at_us);
    s.records = true;
    cf_ignore(attempt_in_child(run_seeded, &s) == NULL, "it failed a moment ago");
    struct lines l = split(cf_memdup(attempt->record, attempt->record_size), attempt->record_size);
    size_t recorded = l.count;
    bool explicit = recorded > 0 && still_fails(&l, invariant);
    if (explicit) {
        leave_out_kinds(&l, invariant);
        loosen(&l, invariant);
        leave_out_kinds(&l, invariant);
        leave_out(&l, invariant);
        join_waits(&l);
        make_plain(&l, invariant);
        leave_out(&l, invariant);
        explicit = still_fails(&l, invariant);
    }
    print_head(seed, mutant, invariant, explicit ? attempt->text : text);
    if (explicit) {
        printf("lenient\n");
        for (size_t i = 0; i < l.count; i++) {
            printf("%s\n", l.at[i]);
        }
    } else { /* a failure of the liveness phase: the seed with what it needs */
        printf("seed %" PRIu64 "\n", seed);
        for (size_t i = 0; i < s.count; i++) {
            printf("set %s %" PRIu64 "\n", s.overrides[i].name, s.overrides[i].value);
        }
    }
    fprintf(stderr, "%zu lines recorded, %zu left, after %" PRIu64 " attempts\n", recorded,
            explicit ? l.count : s.count, attempts);
    return 0;
}

/* tests/sim/script.c: the language of scenarios. */
#include "tests/sim/script.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- parsing -------------------------------------------------------------------------------- */

static bool parse_head(struct script_head *h, const char *line)
{
    char name[64];
    uint64_t value;
    if (sscanf(line, "seed %" SCNu64, &h->seed) == 1 ||
        sscanf(line, "mutant %63s", h->mutant) == 1 || sscanf(line, "finds %31s", h->finds) == 1 ||
        sscanf(line, "nodes %u %u", &h->voters, &h->learners) >= 1) {
        return true;
    }
    if (strcmp(line, "lenient") == 0) {
        h->lenient = true;
        return true;
    }
    if (sscanf(line, "set %63s %" SCNu64, name, &value) == 2 &&
        h->override_count + 1 < SCRIPT_OVERRIDES) {
        h->overrides[h->override_count++] =
            (struct sim_override){cf_memdup(name, strlen(name) + 1), value};
        return true;
    }
    return false;
}

/* The world of a scenario, unless it sets something else: nothing is tiny, nothing fails. */
static const struct sim_override plain[] = {
    {"heartbeat_ms", 50},     {"election_heartbeats", 10}, {"append_bytes", 4096},
    {"window_class", 3},      {"window_bytes", 65536},     {"uncommitted_bytes", 65536},
    {"reader_busy_permille", 0}, {"lease", 0},             {"preferred", 0},
    {"drain_us", 0},          {"corrupt_permille", 0},     {"drop_permille", 0},
    {"duplicate_permille", 0}, {"slow_permille", 0},       {"drift_permille", 0},
    {"upgrade", 0},           {"fsync_fail_permille", 0}};

struct script *script_parse(const char *name, const char *text)
{
    struct script *s = cf_new(struct script);
    *s = (struct script){.head = {.voters = 3}};
    while (*text != '\0') {
        size_t size = strcspn(text, "\n");
        char line[SCRIPT_LINE_MAX + 1] = "";
        size_t skip = strspn(text, " \t");
        if (size > SCRIPT_LINE_MAX) {
            fprintf(stderr, "%s: a line is longer than %d characters\n", name, SCRIPT_LINE_MAX);
            script_free(s);
            return NULL;
        }
        if (skip < size) {
            memcpy(line, text + skip, size - skip);
            char *comment = strchr(line, '#');
            size_t end = comment != NULL ? (size_t)(comment - line) : size - skip;
            while (end > 0 && (line[end - 1] == ' ' || line[end - 1] == '\t')) {
                end--;
            }
            line[end] = '\0';
        }
        text += size + (text[size] == '\n');
        if (line[0] != '\0' && !parse_head(&s->head, line)) {
            raft_grow(&s->lines, &s->capacity, s->count + 1, sizeof(s->lines[0]));
            s->lines[s->count++] = cf_memdup(line, strlen(line) + 1);
        }
    }
    return s;
}

void script_free(struct script *s)
{
    if (s == NULL) {
        return;
    }
    for (size_t i = 0; i < s->count; i++) {
        cf_free(s->lines[i]);
    }
    for (size_t i = 0; i < s->flight_count; i++) {
        packet_free(s->flight[i].packet);
    }
    for (size_t i = 0; i < s->head.override_count; i++) {
        cf_free((void *)(uintptr_t)s->head.overrides[i].name);
    }
    cf_free(s->lines);
    cf_free(s->flight);
    cf_free(s);
}

/* ---- messages ------------------------------------------------------------------------------- */

bool script_holds(const struct world *w)
{
    return w->script != NULL && w->script->hold;
}

void script_in_flight(struct world *w, struct packet *p)
{
    struct script *s = w->script;
    raft_grow(&s->flight, &s->flight_capacity, s->flight_count + 1, sizeof(s->flight[0]));
    struct script_packet *f = &s->flight[s->flight_count++];
    *f = (struct script_packet){.packet = p};
    script_name_packet(p, f->name, sizeof(f->name));
}

/* The oldest packet on its way that fits (with "latest" behind it the newest); a field that is not
 * named fits anything. With all fields named, one that was taken already may come again. */
static struct script_packet *find_packet(struct script *s, uint64_t from, uint64_t to,
                                         const char *what)
{
    struct script_packet *again = NULL;
    const char *latest = strstr(what, "latest");
    size_t size = latest != NULL ? (size_t)(latest - what) : strlen(what);
    size -= size > 0 && what[size - 1] == ' ';
    for (size_t at = 0; at < s->flight_count; at++) {
        size_t i = latest != NULL ? s->flight_count - 1 - at : at;
        struct script_packet *f = &s->flight[i];
        if (f->packet->msg.from != from || f->packet->msg.to != to ||
            strncmp(f->name, what, size) != 0) {
            continue;
        }
        bool whole = f->name[size] == '\0';
        if (!f->taken && (whole || f->name[size] == ' ' || size == 0)) {
            return f;
        }
        again = whole ? f : again;
    }
    return again;
}

static void deliver(struct world *w, struct script_packet *f)
{
    struct sim_node *to = world_node(w, f->packet->msg.to);
    f->taken = true;
    if (to->alive) {
        struct packet *copy = packet_copy(f->packet);
        transport_receive(w, to, copy);
        packet_free(copy);
        node_after_input(w, to);
    }
}

static bool deliver_or_drop(struct world *w, const char *line, bool drops)
{
    uint64_t from, to;
    int used = 0;
    if (sscanf(line, "%*s %" SCNu64 ">%" SCNu64 " %n", &from, &to, &used) != 2) {
        return false;
    }
    struct script_packet *f = find_packet(w->script, from, to, used != 0 ? line + used : "");
    if (f == NULL) {
        return false;
    }
    if (drops) {
        f->taken = true;
    } else {
        deliver(w, f);
    }
    return true;
}

/* ---- everything that moves by itself, until nothing does ------------------------------------ */

static bool settle_node(struct world *w, struct sim_node *n)
{
    if (!n->alive) {
        return false;
    }
    node_drain(w, n);
    if (n->disk.queue_count > 0 && !w->script->held_disk[node_slot(w, n)]) {
        node_sync(w, n, n->disk.queue_count, false);
        node_drain(w, n);
        return true;
    }
    if (n->state.applied < n->apply_to) {
        node_apply(w, n, UINT64_MAX);
        return true;
    }
    return false;
}

static bool settle(struct world *w)
{
    struct script *s = w->script;
    size_t next = 0;
    for (unsigned steps = 0; steps < 100000; steps++) {
        bool moved = false;
        for (unsigned i = 0; i < SIM_NODES; i++) {
            moved |= settle_node(w, &w->nodes[i]);
        }
        while (next < s->flight_count && s->flight[next].taken) {
            next++;
        }
        if (next < s->flight_count) {
            deliver(w, &s->flight[next]); /* what is cut off dies on arrival */
            moved = true;
        }
        if (!moved) {
            return true;
        }
    }
    return false;
}

static bool run_ms(struct world *w, uint64_t ms)
{
    uint64_t until_us = w->engine.now_us + 1000 * ms, step_us = w->options.heartbeat_us / 4;
    for (unsigned step = 0; w->engine.now_us < until_us; step++) {
        w->engine.now_us += step_us;
        for (unsigned i = 0; i < SIM_NODES; i++) {
            struct sim_node *n = &w->nodes[i];
            if (n->alive) {
                node_tick(w, n);
                node_after_input(w, n);
            }
            for (uint64_t peer = 1; n->alive && step % 4 == 0 && peer <= SIM_NODES; peer++) {
                transport_snapshot_step(w, n, peer);
            }
        }
        if (!settle(w)) {
            return false;
        }
    }
    return true;
}

/* ---- lines about one node ------------------------------------------------------------------- */

static void tick(struct world *w, struct sim_node *n, bool times_out)
{
    struct raft *r = n->raft;
    uint64_t now = node_now(w, n);
    if (times_out) {
        r->election_deadline_us = now;
    } else if (r->role != RAFT_LEADER && r->election_deadline_us <= now) {
        r->election_deadline_us = now + 1; /* elections begin where the scenario says so */
    }
    node_tick(w, n);
}

static bool change(struct world *w, struct sim_node *n, const char *list)
{
    struct raft_membership target = {0};
    char role;
    uint64_t id;
    for (int used = 0; sscanf(list, " %c%" SCNu64 "%n", &role, &id, &used) == 2; list += used) {
        cf_status status = raft_membership_set(&target, id, role == 'v' ? RAFT_VOTER : RAFT_LEARNER,
                                               1, "", "", NULL);
        if (status != CF_OK) {
            return false;
        }
    }
    return load_change(w, n, &target) == CF_OK;
}

/* A node that is up: an input, then (unless held) the drain. */
static bool input(struct world *w, struct sim_node *n, const char *verb, const char *rest,
                  uint64_t a, uint64_t b)
{
    bool done = true;
    if (strcmp(verb, "tick") == 0 || strcmp(verb, "timeout") == 0) {
        tick(w, n, verb[2] == 'm');
    } else if (strcmp(verb, "sync") == 0) {
        done = n->disk.queue_count > 0;
        node_sync(w, n, a != 0 ? (size_t)a : n->disk.queue_count, strstr(rest, "each") != NULL);
    } else if (strcmp(verb, "apply") == 0) {
        done = n->state.applied < n->apply_to;
        node_apply(w, n, a != 0 ? a : UINT64_MAX);
    } else if (strcmp(verb, "write") == 0) {
        uint64_t before = n->raft->log.last;
        load_write(w, n, a >= 1 && a <= 3 ? (size_t)a : 1, b >= 8 && b <= 4096 ? (size_t)b : 8);
        done = n->raft->log.last > before;
    } else if (strcmp(verb, "read") == 0) {
        size_t before = n->read_count;
        load_read(w, n);
        done = n->read_count > before;
    } else if (strcmp(verb, "transfer") == 0) {
        done = load_transfer(w, n, a) == CF_OK;
    } else if (strcmp(verb, "change") == 0) {
        done = change(w, n, rest);
    } else if (strcmp(verb, "condition") == 0) {
        n->condition = (uint32_t)a;
        raft_set_condition(n->raft, node_now(w, n), n->condition);
    } else if (strcmp(verb, "unreachable") == 0) {
        raft_on_unreachable(n->raft, node_now(w, n), a);
    } else if (strcmp(verb, "logready") == 0) {
        raft_on_log_ready(n->raft, node_now(w, n));
    } else if (strcmp(verb, "snapstep") == 0) {
        done = a >= 1 && a <= SIM_NODES && n->transfers[a - 1].active;
        if (done) {
            transport_snapshot_step(w, n, a);
        }
    } else if (strcmp(verb, "flush") == 0) {
        node_flush(w, n);
    } else if (strcmp(verb, "compact") == 0) {
        uint64_t before = n->raft->log.base_index;
        node_compact(w, n, a);
        done = n->raft->log.base_index > before;
    } else if (strcmp(verb, "drain") != 0) {
        return false;
    }
    node_after_input(w, n);
    return done;
}

/* Birth, death and disks. */
static bool life(struct world *w, const char *verb, const char *rest, uint64_t id, uint64_t a)
{
    struct sim_node *n = world_node(w, id);
    if (strcmp(verb, "add") == 0 && !n->exists) {
        node_create(w, (unsigned)id - 1, NULL);
        return true;
    }
    if (strcmp(verb, "crash") == 0 && n->alive) { /* a: unsynced writes that survive it */
        node_crash(w, n, (size_t)a);
        return true;
    }
    if (strcmp(verb, "start") == 0 && n->exists && !n->alive) {
        node_start(w, n);
        return true;
    }
    if (strcmp(verb, "lose") == 0 && n->exists && !n->alive && a > n->disk.base.index &&
        a <= disk_last(&n->disk)) {
        faults_lose(w, n, a, strstr(rest, "silently") != NULL);
        return true;
    }
    if (strcmp(verb, "forget") == 0 && n->exists && !n->alive && a <= n->disk.hard.term) {
        faults_forget(w, n, a);
        return true;
    }
    return false;
}

/* ---- expectations --------------------------------------------------------------------------- */

static bool look(struct world *w, const char *what, struct sim_node *n, uint64_t *ret)
{
    struct raft_status s = {0};
    if (n->alive) {
        raft_status(n->raft, &s);
    }
    const struct {
        const char *name;
        uint64_t value;
    } things[] = {{"term", s.term},
                  {"vote", s.vote},
                  {"knows-leader", s.leader},
                  {"commit", s.commit},
                  {"applied", n->state.applied},
                  {"last", s.last_index},
                  {"durable", s.durable},
                  {"base", s.base_index},
                  {"condition", s.soft.condition},
                  {"removed", s.soft.removed},
                  {"joint", s.joint},
                  {"config", s.config_index},
                  {"members", n->alive ? raft_membership(n->raft)->count : 0},
                  {"transfer", s.transfer_to},
                  {"reads", n->read_count},
                  {"pending", n->pending_count},
                  {"served", w->served_reads},
                  {"acknowledged", w->acked_writes},
                  {"alive", n->alive},
                  {"leads", n->alive && n->raft->role == RAFT_LEADER},
                  {"asks", n->alive && n->raft->role == RAFT_PRE_CANDIDATE},
                  {"pre-votes", n->alive ? n->raft->counters.pre_votes : 0},
                  {"rejected", n->alive ? n->raft->counters.appends_rejected : 0}};
    for (size_t i = 0; i < CF_LENGTH(things); i++) {
        if (strcmp(what, things[i].name) == 0) {
            *ret = things[i].value;
            return true;
        }
    }
    return false;
}

static bool expect(struct world *w, const char *line)
{
    char what[32], relation[4];
    uint64_t id, wanted, found;
    if (strcmp(line, "assert no leader") == 0) {
        return load_leader(w) == NULL;
    }
    if (sscanf(line, "assert leader %" SCNu64, &id) == 1) {
        return load_leader(w) == world_node(w, id);
    }
    int read =
        sscanf(line, "assert %31s %" SCNu64 " %3[<>=!] %" SCNu64, what, &id, relation, &wanted);
    if (read != 4 || world_node(w, id) == NULL || !look(w, what, world_node(w, id), &found)) {
        return false;
    }
    bool met = strcmp(relation, "=") == 0    ? found == wanted
               : strcmp(relation, "!=") == 0 ? found != wanted
               : strcmp(relation, ">=") == 0 ? found >= wanted
               : strcmp(relation, "<=") == 0 ? found <= wanted
                                             : false;
    if (!met) {
        fprintf(stderr, "%s of node %" PRIu64 " is %" PRIu64 "\n", what, id, found);
    }
    return met;
}

/* ---- one line, all lines -------------------------------------------------------------------- */

static bool network(struct world *w, const char *line, bool *ret_known)
{
    uint64_t a, b;
    *ret_known = true;
    if (strcmp(line, "heal") == 0) {
        sim_net_heal(&w->net);
    } else if (sscanf(line, "cut %" SCNu64 ">%" SCNu64, &a, &b) == 2 && world_node(w, a) != NULL &&
               world_node(w, b) != NULL) {
        w->net.cut[a - 1][b - 1] = true;
    } else if (sscanf(line, "isolate %" SCNu64, &a) == 1 && world_node(w, a) != NULL) {
        faults_swizzle(w, (unsigned)a - 1, true);
    } else if (sscanf(line, "disk %" SCNu64, &a) == 1 && world_node(w, a) != NULL) {
        w->script->held_disk[a - 1] = strstr(line, "hold") != NULL;
    } else if (sscanf(line, "clock %" SCNu64 " %" SCNu64, &a, &b) == 2 &&
               world_node(w, a) != NULL && b >= 500 && b <= 2000) {
        node_set_clock(w, world_node(w, a), b);
    } else if (sscanf(line, "wait %" SCNu64, &a) == 1) {
        w->engine.now_us += a;
    } else if (sscanf(line, "run %" SCNu64, &a) == 1) {
        return run_ms(w, a);
    } else if (strcmp(line, "settle") == 0) {
        return settle(w);
    } else if (strncmp(line, "deliver ", 8) == 0 || strncmp(line, "drop ", 5) == 0) {
        return deliver_or_drop(w, line, line[1] == 'r');
    } else if (strncmp(line, "assert ", 7) == 0) {
        return expect(w, line);
    } else {
        *ret_known = false;
    }
    return true;
}

static bool perform(struct world *w, const char *line)
{
    char verb[32];
    uint64_t id, a = 0, b = 0;
    int used = 0;
    bool refused = strncmp(line, "refuse ", 7) == 0; /* the core says no, or there is none */
    line += refused ? 7 : 0;
    bool known, done = network(w, line, &known);
    if (known) {
        return done != refused;
    }
    if (sscanf(line, "%31s %" SCNu64 "%n", verb, &id, &used) != 2 || world_node(w, id) == NULL) {
        return false;
    }
    cf_ignore(sscanf(line + used, "%" SCNu64 " %" SCNu64, &a, &b) < 0, "they are optional");
    if (life(w, verb, line + used, id, a)) {
        return !refused;
    }
    struct sim_node *n = world_node(w, id);
    return n->alive && input(w, n, verb, line + used, a, b) != refused;
}

static bool run_lines(struct world *w, const char *name)
{
    struct script *s = w->script;
    for (s->at = 0; s->at < s->count; s->at++) {
        char line[SCRIPT_LINE_MAX + 1];
        size_t size = strlen(s->lines[s->at]);
        memcpy(line, s->lines[s->at], size + 1);
        s->hold = size > 2 && strcmp(line + size - 2, " +") == 0;
        line[s->hold ? size - 2 : size] = '\0';
        sim_trace(&w->engine, "-- %s", s->lines[s->at]);
        w->engine.events++;
        if (!perform(w, line) && !s->head.lenient) {
            fprintf(stderr, "%s: line \"%s\" (%zu) does not hold\n", name, s->lines[s->at],
                    s->at + 1);
            return false;
        }
    }
    return true;
}

bool script_run(struct script *s, const char *name, bool verbose, uint64_t *ret_reached)
{
    struct sim_override all[SCRIPT_OVERRIDES + CF_LENGTH(plain) + 1] = {0};
    if (s->head.seed != 0) {
        cf_ignore((int)run_seed_with(s->head.seed, s->head.overrides, NULL, verbose, ret_reached,
                                     false), "the trace");
        return true;
    }
    memcpy(all, plain, sizeof(plain));
    memcpy(all + CF_LENGTH(plain), s->head.overrides,
           s->head.override_count * sizeof(s->head.overrides[0]));
    struct world *w = world_new(1, verbose, all);
    w->script = s;
    world_found(w, s->head.voters, s->head.learners);
    for (unsigned i = 0; i < SIM_NODES; i++) {
        if (w->nodes[i].exists) {
            node_start(w, &w->nodes[i]);
        }
    }
    bool met = run_lines(w, name);
    *ret_reached |= w->engine.reached;
    world_free(w);
    return met;
}

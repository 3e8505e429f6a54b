/* node/server/autopilot.c: autopilot's settings and state, as operators see them. */
#include "node/server/autopilot.h"

#include <stdio.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/system.h"
#include "node/format/duration.h"
#include "node/format/timefmt.h"
#include "node/server/cluster.h"
#include "node/server/cluster_int.h"
#include "node/server/raft_routes.h"

#define CONFIG_KEY ((struct key){CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(AREA_CLUSTER "autopilot")})
#define MEMBER_PREFIX AREA_CLUSTER "member/" /* <16 hex digits> */
#define FEED_US ((uint64_t)1000 * 1000)
#define SECOND_US ((uint64_t)1000 * 1000)
/* A member is noted before it is added: what is younger than this may still be on its way. */
#define NOTE_KEEP_NS ((int64_t)600 * 1000000000)
#define NOTES_MAX ((size_t)256)
#define CONFIG_DURATION_S_MAX ((int64_t)10 * 365 * 86400)

static struct node *node_of(struct request *rq)
{
    return core_host_context(rq->core);
}

/* ---- the settings: a table of durations and counts, all optional in the record ---- */

struct setting {
    const char *name;
    size_t offset; /* of a uint64_t of microseconds, or a count */
    bool is_duration;
    int64_t least;
};

#define IN(field) offsetof(struct settings, field)
struct settings {
    bool cleanup_dead_servers, disable_upgrade_migration;
    int64_t dead_server_last_contact_threshold, last_contact_threshold, server_stabilization_time;
    int64_t max_trailing_logs, min_quorum;
};

static const struct setting numbers[] = {
    {"dead_server_last_contact_threshold", IN(dead_server_last_contact_threshold), true, 1},
    {"last_contact_threshold", IN(last_contact_threshold), true, 1},
    {"server_stabilization_time", IN(server_stabilization_time), true, 0},
    {"max_trailing_logs", IN(max_trailing_logs), false, 0},
    {"min_quorum", IN(min_quorum), false, 0},
};
/* The second is kept for clients: nodes are upgraded in their place, whatever it says. */
static const struct setting switches[] = {
    {"cleanup_dead_servers", IN(cleanup_dead_servers), false, 0},
    {"disable_upgrade_migration", IN(disable_upgrade_migration), false, 0},
};

static struct settings defaults(void)
{
    struct autopilot_config config;
    autopilot_config_default(&config);
    return (struct settings){
        .dead_server_last_contact_threshold = (int64_t)(config.dead_contact_us / SECOND_US),
        .last_contact_threshold = (int64_t)(config.last_contact_us / SECOND_US),
        .server_stabilization_time = (int64_t)(config.stabilization_us / SECOND_US),
        .max_trailing_logs = (int64_t)config.max_trailing_logs};
}

static int64_t *number_of(struct settings *settings, const struct setting *setting)
{
    return (int64_t *)(void *)((char *)settings + setting->offset);
}

static bool *switch_of(struct settings *settings, const struct setting *setting)
{
    return (bool *)((char *)settings + setting->offset);
}

static void settings_read(struct settings *settings, const struct json *record)
{
    for (size_t i = 0; i < CF_LENGTH(numbers); i++) {
        cf_ignore(!json_int64(json_get(record, numbers[i].name), number_of(settings, &numbers[i])),
                  "absent: the default");
    }
    for (size_t i = 0; i < CF_LENGTH(switches); i++) {
        cf_ignore(!json_bool(json_get(record, switches[i].name), switch_of(settings, &switches[i])),
                  "absent: the default");
    }
}

static struct autopilot_config to_config(const struct settings *settings)
{
    struct autopilot_config config;
    autopilot_config_default(&config);
    config.cleanup_dead_servers = settings->cleanup_dead_servers;
    config.last_contact_us = (uint64_t)settings->last_contact_threshold * SECOND_US;
    config.dead_contact_us = (uint64_t)settings->dead_server_last_contact_threshold * SECOND_US;
    config.stabilization_us = (uint64_t)settings->server_stabilization_time * SECOND_US;
    config.max_trailing_logs = (uint64_t)settings->max_trailing_logs;
    config.min_quorum = (uint32_t)settings->min_quorum;
    return config;
}

static cf_status check(const struct settings *settings, struct cf_error *err)
{
    if (settings->cleanup_dead_servers && settings->min_quorum < 3) {
        return cf_fail(err, CF_INVALID,
                       "min_quorum must be set when cleanup_dead_servers is set and it should at "
                       "least be 3; cleanup_dead_servers: true, min_quorum: %lld",
                       (long long)settings->min_quorum);
    }
    if (settings->cleanup_dead_servers && settings->dead_server_last_contact_threshold < 60) {
        return cf_fail(err, CF_INVALID,
                       "dead_server_last_contact_threshold should not be set to less than 1m; "
                       "received: %llds",
                       (long long)settings->dead_server_last_contact_threshold);
    }
    return CF_OK;
}

/* Changes *settings by what the request gives. */
static cf_status take_fields(struct request *rq, struct settings *settings, bool *ret_any,
                             struct cf_error *err)
{
    for (size_t i = 0; i < CF_LENGTH(numbers); i++) {
        const struct setting *setting = &numbers[i];
        int64_t *to = number_of(settings, setting);
        int64_t most = setting->is_duration ? CONFIG_DURATION_S_MAX : INT32_MAX;
        if (request_field(rq, setting->name) == NULL) {
            continue;
        }
        *ret_any = true;
        CF_TRY(setting->is_duration ? request_duration(rq, setting->name, 0, to, NULL, err)
                                    : request_int(rq, setting->name, 0, to, err));
        if (*to < setting->least || *to > most) {
            return cf_fail(err, CF_INVALID, "\"%s\" must be %s%s", setting->name,
                           setting->least > 0 ? "greater than zero" : "zero or more",
                           setting->is_duration ? ", and at most ten years" : "");
        }
    }
    for (size_t i = 0; i < CF_LENGTH(switches); i++) {
        bool *to = switch_of(settings, &switches[i]);
        *ret_any = *ret_any || request_field(rq, switches[i].name) != NULL;
        CF_TRY(request_bool(rq, switches[i].name, *to, to, err));
    }
    return CF_OK;
}

/* As of the view, whatever this run wrote; the key goes into the read set. */
static cf_status load(struct request *rq, struct settings *ret, struct cf_error *err)
{
    struct cf_slice bytes;
    struct json *record;
    *ret = defaults();
    txn_note_read(rq->txn, key_hash(CONFIG_KEY));
    cf_status status = view_get_raw(rq->view, CONFIG_KEY, rq->arena, &bytes, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    CF_TRY(record_decode(bytes, rq->arena, &record, err));
    settings_read(ret, record);
    return CF_OK;
}

cf_status autopilot_read_configuration(struct request *rq, struct cf_error *err)
{
    struct settings settings;
    CF_TRY(raft_check_dr_token(rq, err));
    CF_TRY(raft_want(rq, err));
    CF_TRY(load(rq, &settings, err));
    struct json *data = response_data(rq);
    for (size_t i = 0; i < CF_LENGTH(switches); i++) {
        json_set_bool(rq->arena, data, switches[i].name, *switch_of(&settings, &switches[i]));
    }
    for (size_t i = 0; i < CF_LENGTH(numbers); i++) {
        int64_t value = *number_of(&settings, &numbers[i]);
        CF_BUF(text) = {0};
        if (numbers[i].is_duration) {
            duration_write(&text, value);
            json_set_string(rq->arena, data, numbers[i].name, cf_buf_slice(&text));
        } else {
            json_set_int(rq->arena, data, numbers[i].name, value);
        }
    }
    return CF_OK;
}

cf_status autopilot_write_configuration(struct request *rq, struct cf_error *err)
{
    struct settings settings;
    bool any = false;
    CF_TRY(raft_check_dr_token(rq, err));
    CF_TRY(raft_want(rq, err));
    CF_TRY(load(rq, &settings, err));
    CF_TRY(take_fields(rq, &settings, &any, err));
    CF_TRY(check(&settings, err));
    if (!any) {
        return CF_OK;
    }
    struct json *record = json_object_new(rq->arena);
    for (size_t i = 0; i < CF_LENGTH(switches); i++) {
        json_set_bool(rq->arena, record, switches[i].name, *switch_of(&settings, &switches[i]));
    }
    for (size_t i = 0; i < CF_LENGTH(numbers); i++) {
        json_set_int(rq->arena, record, numbers[i].name, *number_of(&settings, &numbers[i]));
    }
    txn_put_plain(rq->txn, CONFIG_KEY, record_encode(rq->arena, record));
    return CF_OK;
}

/* ---- members ---- */

static struct key member_key(struct arena *arena, uint64_t id)
{
    const char *name = arena_printf(arena, MEMBER_PREFIX "%016llx", (unsigned long long)id);
    return (struct key){CLASS_OWN, NAMESPACE_ROOT, cf_slice_str(name)};
}

static bool is_member(const struct raft_driver_status *members, struct cf_slice id_text)
{
    for (size_t i = 0; i < members->peer_count; i++) {
        char text[17];
        cluster_id_text(members->peers[i].id, text);
        if (cf_slice_is(id_text, text)) {
            return true;
        }
    }
    return false;
}

struct notes {
    struct arena *arena;
    struct cf_slice ids[NOTES_MAX];
    size_t count;
};

static bool each_note(void *context, struct cf_slice rest)
{
    struct notes *notes = context;
    if (notes->count < NOTES_MAX) {
        notes->ids[notes->count++] = arena_copy(notes->arena, rest);
    }
    return notes->count < NOTES_MAX;
}

static cf_status walk_notes(const struct view *view, struct arena *arena, struct notes **ret,
                            struct cf_error *err)
{
    struct key prefix = {CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(MEMBER_PREFIX)};
    *ret = arena_new_object(arena, struct notes);
    (*ret)->arena = arena;
    (*ret)->count = 0;
    return view_walk(view, prefix, CF_SLICE_EMPTY, each_note, *ret, err);
}

static cf_status note_of(const struct view *view, struct arena *arena, struct cf_slice id,
                         struct json **ret, struct cf_error *err)
{
    const char *name = arena_printf(arena, MEMBER_PREFIX "%.*s", CF_SHOW(id));
    struct key key = {CLASS_OWN, NAMESPACE_ROOT, cf_slice_str(name)};
    struct cf_slice bytes;
    CF_TRY(view_get_raw(view, key, arena, &bytes, err));
    return record_decode(bytes, arena, ret, err);
}

/* Ids are never used again, so a note of a member that left is worth nothing. */
static cf_status forget_others(struct request *rq, const struct raft_driver_status *members,
                               struct cf_error *err)
{
    struct notes *notes;
    CF_TRY(walk_notes(rq->view, rq->arena, &notes, err));
    for (size_t i = 0; i < notes->count; i++) {
        struct json *record;
        int64_t at_ns = 0;
        if (is_member(members, notes->ids[i])) {
            continue;
        }
        CF_TRY(note_of(rq->view, rq->arena, notes->ids[i], &record, err));
        cf_ignore(!json_int64(json_get(record, "noted_ns"), &at_ns), "0: old");
        if (request_now_ns(rq) - at_ns > NOTE_KEEP_NS) {
            const char *name = arena_printf(rq->arena, MEMBER_PREFIX "%.*s", CF_SHOW(notes->ids[i]));
            txn_delete(rq->txn, (struct key){CLASS_OWN, NAMESPACE_ROOT, cf_slice_str(name)});
        }
    }
    return CF_OK;
}

cf_status autopilot_note_member(struct request *rq, uint64_t id, struct cf_slice name,
                                bool is_non_voter, const struct raft_driver_status *members,
                                struct cf_error *err)
{
    CF_TRY(forget_others(rq, members, err));
    struct json *record = json_object_new(rq->arena);
    json_set_string(rq->arena, record, "name", name);
    json_set_bool(rq->arena, record, "non_voter", is_non_voter);
    json_set_int(rq->arena, record, "noted_ns", request_now_ns(rq));
    txn_put_plain(rq->txn, member_key(rq->arena, id), record_encode(rq->arena, record));
    return CF_OK;
}

/* ---- to the driver ---- */

struct autopilot_feed {
    struct node *node;
    struct loop_timer *timer;
};

static struct settings settings_of_view(const struct view *view, struct arena *arena)
{
    struct settings settings = defaults();
    struct cf_slice bytes;
    struct json *record;
    if (view_get_raw(view, CONFIG_KEY, arena, &bytes, NULL) == CF_OK &&
        record_decode(bytes, arena, &record, NULL) == CF_OK) {
        settings_read(&settings, record);
    }
    return settings;
}

uint64_t autopilot_last_contact_us(struct node *node)
{
    CF_OWNED(arena) arena = arena_new(1024);
    struct view *view = core_view(node->core);
    struct settings settings = view != NULL ? settings_of_view(view, arena) : defaults();
    view_unref(view);
    return (uint64_t)settings.last_contact_threshold * SECOND_US;
}

static cf_status feed(struct node *node, const struct view *view, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(4096);
    uint64_t non_voters[RAFT_MEMBERS_MAX];
    size_t count = 0;
    struct notes *notes;
    struct raft_driver_status *status = arena_new_object(arena, struct raft_driver_status);
    struct settings settings = settings_of_view(view, arena);
    raft_driver_status(node->driver, status);
    CF_TRY(walk_notes(view, arena, &notes, err));
    for (size_t i = 0; i < notes->count; i++) {
        struct json *record;
        bool is_non_voter = false;
        uint64_t id;
        CF_TRY(note_of(view, arena, notes->ids[i], &record, err));
        cf_ignore(!json_bool(json_get(record, "non_voter"), &is_non_voter), "absent is no");
        if (is_non_voter && count < CF_LENGTH(non_voters) &&
            cluster_id_parse(arena_text(arena, notes->ids[i]), &id)) {
            non_voters[count++] = id;
        }
    }
    struct autopilot_config config = to_config(&settings);
    raft_driver_set_autopilot(node->driver, &config, non_voters, count);
    return CF_OK;
}

static void on_timer(void *arg)
{
    struct autopilot_feed *is = arg;
    struct node *node = is->node;
    struct cf_error err = {0};
    if (!raft_driver_is_leader(node->driver)) {
        return;
    }
    struct view *view = core_view(node->core);
    if (view != NULL && feed(node, view, &err) != CF_OK) {
        cf_err("server", "autopilot rests, its records cannot be read: %s", err.message);
    }
    view_unref(view);
    loop_timer_set_in(is->timer, FEED_US);
}

void autopilot_feed_start(struct node *node)
{
    if (node->autopilot == NULL) {
        node->autopilot = cf_new(struct autopilot_feed);
        node->autopilot->node = node;
        node->autopilot->timer = loop_timer_new(node->loop, on_timer, node->autopilot);
    }
    on_timer(node->autopilot);
}

void autopilot_feed_stop(struct node *node)
{
    if (node->autopilot != NULL) {
        loop_timer_cancel(node->autopilot->timer);
    }
}

void autopilot_feed_free(struct autopilot_feed *is)
{
    if (is != NULL) {
        loop_timer_free(is->timer);
        cf_free(is);
    }
}

/* ---- the state ---- */

static const char *contact_status(const struct autopilot *autopilot, bool leads,
                                  const struct raft_peer_info *peer)
{
    uint64_t now_us = loop_now_us();
    bool heard = leads || (peer->heard_us != 0 &&
                           now_us - cf_min(peer->heard_us, now_us) <=
                               autopilot->config.last_contact_us);
    return heard ? "alive" : "failed";
}

static struct json *server_of(struct request *rq, const struct raft_driver_status *status,
                              const struct autopilot *autopilot, const struct raft_peer_info *peer)
{
    struct node *node = node_of(rq);
    const struct autopilot_health *health = autopilot_find(autopilot, peer->id);
    bool leads = peer->id == status->leader;
    bool votes = peer->role != RAFT_LEARNER;
    uint64_t now_us = loop_now_us(), term = status->last_term;
    uint64_t last = leads ? status->last_index : peer->match;
    uint64_t stable_us = health != NULL ? now_us - cf_min(health->stable_since_us, now_us) : 0;
    char since[TIMEFMT_SIZE];
    timefmt_text(cf_wall_ns(cf_host_clock()) - (int64_t)stable_us * 1000, since);
    if (last != status->last_index) {
        cf_ignore(raft_driver_log_term(node->driver, last, &term, NULL) != CF_OK,
                  "compacted: the newest term is close enough");
    }
    const char *name = raft_peer_name(rq, peer);
    struct json *server = json_object_new(rq->arena);
    json_set_text(rq->arena, server, "id", name);
    json_set_text(rq->arena, server, "name", name);
    json_set_text(rq->arena, server, "address", peer->address);
    json_set_text(rq->arena, server, "node_status", contact_status(autopilot, leads, peer));
    json_set_text(rq->arena, server, "node_type", votes ? "voter" : "non-voter");
    json_set_text(rq->arena, server, "status", leads ? "leader" : votes ? "voter" : "non-voter");
    json_set_bool(rq->arena, server, "healthy", health != NULL && health->is_healthy);
    json_set_text(rq->arena, server, "stable_since", since);
    json_set_int(rq->arena, server, "last_term", (int64_t)term);
    json_set_int(rq->arena, server, "last_index", (int64_t)last);
    json_set_text(rq->arena, server, "last_contact", raft_last_contact(rq, status, peer));
    json_set_int(rq->arena, server, "feature_level", peer->features);
    json_set_string(rq->arena, server, "version",
                    peer->id == status->id ? CF_SLICE(COFFER_VERSION)
                                           : cluster_peer_version(node, rq->arena, peer->id));
    return server;
}

static void state_run(void *arg)
{
    struct request *rq = arg;
    struct node *node = node_of(rq);
    const struct raft_driver_status *status = raft_status_of(rq);
    struct autopilot *autopilot = arena_new_object(rq->arena, struct autopilot);
    raft_driver_autopilot(node->driver, autopilot);
    struct json *servers = json_object_new(rq->arena);
    struct json *voters = json_array_new(rq->arena), *others = json_array_new(rq->arena);
    struct json *data = response_data(rq);
    unsigned voter_count = 0, healthy_voters = 0;
    bool all_healthy = status->peer_count != 0;
    for (size_t i = 0; i < status->peer_count; i++) {
        const struct raft_peer_info *peer = &status->peers[i];
        const struct autopilot_health *health = autopilot_find(autopilot, peer->id);
        const char *name = raft_peer_name(rq, peer);
        bool votes = peer->role != RAFT_LEARNER, healthy = health != NULL && health->is_healthy;
        json_object_set(rq->arena, servers, cf_slice_str(name),
                        server_of(rq, status, autopilot, peer));
        json_array_add(rq->arena, votes ? voters : others, json_from_text(rq->arena, name));
        voter_count += votes;
        healthy_voters += votes && healthy;
        all_healthy = all_healthy && healthy;
        if (peer->id == status->leader) {
            json_set_text(rq->arena, data, "leader", name);
        }
    }
    json_set_bool(rq->arena, data, "healthy", all_healthy);
    json_set_int(rq->arena, data, "failure_tolerance",
                 autopilot_tolerance(voter_count, healthy_voters));
    json_set(rq->arena, data, "voters", voters);
    if (json_count(others) != 0) {
        json_set(rq->arena, data, "non_voters", others);
    }
    json_set(rq->arena, data, "servers", servers);
    core_host_done(rq, CF_OK);
}

/* On the main loop, whose links know the versions. */
cf_status autopilot_read_state(struct request *rq, struct cf_error *err)
{
    CF_TRY(raft_check_dr_token(rq, err));
    CF_TRY(raft_want(rq, err));
    loop_post(node_of(rq)->loop, state_run, rq);
    return CF_OK;
}

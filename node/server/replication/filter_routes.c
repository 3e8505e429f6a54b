/* node/server/replication/filter_routes.c: paths-filter and dynamic-filter (replication.md 2.3).
 *
 * Pure like every handler. The write set of a change is the record alone; what it means for what a secondary has
 * already follows where the stream comes past that entry (filter.h). */
#include "node/server/replication/filter_routes.h"

#include <ctype.h>

#include "node/base/memory.h"
#include "node/core/mount.h"
#include "node/server/replication/dry_run.h"
#include "node/server/replication/filter.h"
#include "node/server/replication/set.h"

#define ID_MAX ((size_t)64)
#define PATH_SIZE_MAX ((size_t)1024)

const struct field filter_route_fields[] = {
    {"mode", FIELD_STRING, "allow: only the paths go to the secondary. deny: all but the paths."},
    {"paths", FIELD_LIST, "Mounts (\"secret/\"), namespaces (\"team/\"), or both."},
    {"force", FIELD_BOOL, "Also for a secondary that is not registered yet."},
    {"dry_run", FIELD_BOOL, "Says what would happen, and changes nothing."},
    FIELD_END};

/* ---- the request ---- */

static cf_status want_primary(struct request *rq, struct cf_error *err)
{
    struct set_primary set;
    cf_status status = set_read_primary(rq, SET_PERFORMANCE, &set, err);
    return status == CF_NOT_FOUND
               ? cf_fail(err, CF_INVALID, "cluster is not a performance primary")
               : status;
}

static bool is_id(struct cf_slice id)
{
    bool good = id.size != 0 && id.size <= ID_MAX && id.data[0] != '.' && id.data[0] != '-';
    for (size_t i = 0; i < id.size && good; i++) {
        good = isalnum(id.data[i]) || memchr("-._", id.data[i], 3) != NULL;
    }
    return good;
}

static cf_status is_registered(struct request *rq, struct cf_slice id, bool *ret,
                               struct cf_error *err)
{
    struct set_secondary secondary;
    cf_status status = set_read_secondary(rq, SET_PERFORMANCE, id, &secondary, err);
    *ret = status == CF_OK && !cf_slice_is(secondary.state, "revoked");
    return status == CF_NOT_FOUND ? CF_OK : status;
}

static bool is_singleton(const struct request *rq, struct cf_slice path)
{
    static const char *const fixed[] = {"sys/", "identity/", "cubbyhole/", "auth/token/"};
    const struct namespace *ns = namespace_table_match(rq->view->namespaces, path);
    struct cf_slice rest = cf_slice_from(path, ns->path.size);
    for (size_t i = 0; i < CF_LENGTH(fixed); i++) {
        if (cf_slice_is(rest, fixed[i])) {
            return true;
        }
    }
    return false;
}

/* "secret/" of "/secret". */
static cf_status read_path(struct request *rq, struct cf_slice given, struct cf_slice *ret,
                           struct cf_error *err)
{
    while (given.size != 0 && given.data[0] == '/') {
        given = cf_slice_from(given, 1);
    }
    while (given.size != 0 && given.data[given.size - 1] == '/') {
        given.size--;
    }
    if (given.size == 0 || given.size > PATH_SIZE_MAX) {
        return cf_fail(err, CF_INVALID, "a path of a filter has 1 to %zu bytes", PATH_SIZE_MAX);
    }
    *ret = cf_slice_str(arena_printf(rq->arena, "%.*s/", CF_SHOW(given)));
    if (is_singleton(rq, *ret)) {
        return cf_fail(err, CF_INVALID, "\"%.*s\" cannot be filtered: every cluster needs its own",
                       CF_SHOW(cf_slice_first(*ret, 80)));
    }
    return CF_OK;
}

static cf_status read_rules(struct request *rq, struct filter_rules *ret, struct cf_error *err)
{
    struct cf_slice mode;
    CF_TRY(request_string(rq, "mode", &mode, err));
    CF_TRY(request_list(rq, "paths", true, &ret->paths, &ret->count, err));
    if (mode.size != 0 && !cf_slice_is(mode, "allow") && !cf_slice_is(mode, "deny")) {
        return cf_fail(err, CF_INVALID, "mode must be \"allow\" or \"deny\"");
    }
    if (ret->count > FILTER_PATHS_MAX) {
        return cf_fail(err, CF_INVALID, "a filter has %zu paths at most", FILTER_PATHS_MAX);
    }
    ret->mode = cf_slice_is(mode, "deny") ? FILTER_DENY : FILTER_ALLOW;
    for (size_t i = 0; i < ret->count; i++) {
        CF_TRY(read_path(rq, ret->paths[i], &ret->paths[i], err));
    }
    filter_rules_sort(ret);
    return CF_OK;
}

/* No record: mode FILTER_NONE. */
static cf_status read_stored(struct request *rq, struct cf_slice id, struct filter_rules *ret,
                             struct cf_error *err)
{
    struct cf_slice record;
    *ret = (struct filter_rules){.mode = FILTER_NONE};
    cf_status status = txn_get(rq->txn, filter_record_key(rq->arena, id), &record, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    return filter_decode(rq->arena, record, ret, err);
}

/* ---- what a change comes to ---- */

struct change {
    struct json *removed, *copied; /* paths of mounts and namespaces */
    uint64_t removed_bytes, copied_bytes;
};

static uint64_t data_size(const struct view *view, const struct mount *mount)
{
    CF_BUF(name) = {0};
    CF_BUF(from) = {0};
    CF_BUF(to) = {0};
    uint32_t generation = view->generation[class_number(CLASS_REPLICATED)];
    cf_buf_add_str(&name, AREA_DATA);
    cf_buf_add(&name, mount->uuid.bytes, sizeof(mount->uuid.bytes));
    cf_buf_add_byte(&name, '/');
    struct key key = {CLASS_REPLICATED, mount->ns, cf_buf_slice(&name)};
    key_encode(&from, key, generation);
    name.data[name.size - 1]++;
    key.name = cf_buf_slice(&name);
    key_encode(&to, key, generation);
    return kv_approximate_size(view->state, cf_buf_slice(&from), cf_buf_slice(&to));
}

static void note(struct request *rq, struct json *list, struct cf_slice head, struct cf_slice tail)
{
    CF_BUF(path) = {0};
    cf_buf_add_slice(&path, head);
    cf_buf_add_slice(&path, tail);
    json_array_add(rq->arena, list, json_from_string(rq->arena, cf_buf_slice(&path)));
}

static void compare_mounts(struct request *rq, const struct namespace *ns,
                           const struct filter_rules *before, const struct filter_rules *after,
                           struct change *change)
{
    for (size_t i = 0; i < ns->mounts->count; i++) {
        const struct mount *mount = ns->mounts->mounts[i];
        bool passed = filter_passes_mount(before, ns, mount->path, mount->is_fixed);
        bool passes = filter_passes_mount(after, ns, mount->path, mount->is_fixed);
        if (mount->is_local || passed == passes) {
            continue;
        }
        *(passes ? &change->copied_bytes : &change->removed_bytes) += data_size(rq->view, mount);
        if (!mount->is_fixed) {
            note(rq, passes ? change->copied : change->removed, ns->path, mount->path);
        }
    }
}

/* By what is there now. A mount or namespace that is made meanwhile makes this run again. */
static struct change compare(struct request *rq, const struct filter_rules *before,
                             const struct filter_rules *after)
{
    const struct namespace_table *table = rq->view->namespaces;
    struct change change = {.removed = json_array_new(rq->arena),
                            .copied = json_array_new(rq->arena)};
    txn_note_read(rq->txn, key_hash((struct key){CLASS_REPLICATED, NAMESPACE_ROOT,
                                                 CF_SLICE(NAMESPACE_TABLE_GUARD)}));
    for (size_t i = 0; i < table->count; i++) {
        const struct namespace *ns = table->list[i];
        bool passed = filter_passes_namespace(before, ns);
        bool passes = filter_passes_namespace(after, ns);
        txn_note_read(rq->txn, key_hash((struct key){CLASS_REPLICATED, ns->number,
                                                     CF_SLICE(MOUNT_TABLE_GUARD)}));
        if (passed != passes) {
            note(rq, passes ? change.copied : change.removed, ns->path, CF_SLICE_EMPTY);
        }
        compare_mounts(rq, ns, before, after, &change);
    }
    return change;
}

static void tell_paths(struct dry_run *dry, const char *what, const struct json *paths, uint64_t bytes)
{
    struct cf_slice path;
    for (size_t i = 0; i < json_count(paths); i++) {
        if (json_string(json_item(paths, i), &path)) {
            dry_run_effect(dry, "\"%.*s\" %s", CF_SHOW(path), what);
        }
    }
    if (bytes != 0) {
        dry_run_effect(dry, "about %llu KiB in all: each of them %s", (unsigned long long)((bytes >> 10) + 1), what);
    }
}

/* The form of all dry runs, and the lists for programs. */
static cf_status show_change(struct dry_run *dry, struct cf_slice id, const struct change *change,
                             struct cf_error *err)
{
    struct request *rq = dry->rq;
    struct json *data = response_data(rq);
    bool registered;
    CF_TRY(is_registered(rq, id, &registered, err));
    if (registered) {
        dry_run_note(dry, "secondary", "\"%.*s\" is registered", CF_SHOW(id));
    } else {
        dry_run_note(dry, "secondary", "\"%.*s\" is not registered yet: the filter waits for it", CF_SHOW(id));
    }
    tell_paths(dry, "goes from every disk of that secondary and of its DR secondaries", change->removed,
               change->removed_bytes);
    tell_paths(dry, "is copied to that secondary", change->copied, change->copied_bytes);
    if (json_count(change->removed) + json_count(change->copied) == 0) {
        dry_run_effect(dry, "nothing that is there now comes or goes");
    }
    json_set(rq->arena, data, "would_be_removed", change->removed);
    json_set_int(rq->arena, data, "would_be_removed_bytes", (int64_t)change->removed_bytes);
    json_set(rq->arena, data, "would_be_copied", change->copied);
    json_set_int(rq->arena, data, "would_be_copied_bytes", (int64_t)change->copied_bytes);
    return dry_run_end(dry);
}

/* What is let through from now on, and is there already, is fetched: no stream passes this entry. */
static void mark_change(struct request *rq, struct cf_slice id, const struct change *change)
{
    if (json_count(change->removed) != 0) {
        txn_put(rq->txn, filter_narrowed_key(rq->arena, id), cf_slice_of(rq->id, strlen(rq->id)));
    }
    if (json_count(change->copied) != 0) {
        txn_put(rq->txn, filter_widened_key(rq->arena, id), cf_slice_of(rq->id, strlen(rq->id)));
    }
}

static bool is_there(const struct request *rq, struct cf_slice path)
{
    const struct namespace_table *table = rq->view->namespaces;
    const struct namespace *ns = namespace_table_match(table, path);
    struct cf_slice rest = cf_slice_from(path, ns->path.size);
    return rest.size == 0 || mount_table_find(ns->mounts, rest) != NULL;
}

static void warn_absent(struct request *rq, const struct filter_rules *rules)
{
    for (size_t i = 0; i < rules->count; i++) {
        if (!is_there(rq, rules->paths[i])) {
            response_warn(rq, "there is no mount or namespace \"%.*s\" yet: what will be made "
                              "there is %s",
                          CF_SHOW(rules->paths[i]),
                          rules->mode == FILTER_DENY ? "held back" : "let through");
        }
    }
}

static void tell_absent(struct dry_run *dry, const struct filter_rules *rules)
{
    for (size_t i = 0; i < rules->count; i++) {
        dry_run_note(dry, "path", is_there(dry->rq, rules->paths[i]) ? "\"%.*s\" is there"
                                                                     : "\"%.*s\" is no mount or namespace yet",
                     CF_SHOW(rules->paths[i]));
    }
}

static bool are_equal(const struct filter_rules *a, const struct filter_rules *b)
{
    bool equal = a->mode == b->mode && a->count == b->count;
    for (size_t i = 0; i < a->count && equal; i++) {
        equal = cf_slice_eq(a->paths[i], b->paths[i]);
    }
    return equal;
}

/* ---- paths-filter ---- */

static cf_status check_id(struct request *rq, struct cf_slice id, struct cf_error *err)
{
    bool force, registered;
    CF_TRY(request_bool(rq, "force", false, &force, err));
    if (!is_id(id)) {
        return cf_fail(err, CF_INVALID, "secondary id may hold letters, digits, \"-\", \"_\" and "
                                        "\".\" only, 64 at most");
    }
    CF_TRY(is_registered(rq, id, &registered, err));
    return registered || force
               ? CF_OK
               : cf_fail(err, CF_INVALID,
                         "no secondary \"%.*s\" is registered: the filter of a misspelt one would "
                         "hold nothing back. With force=true it is kept for one to come",
                         CF_SHOW(id));
}

cf_status filter_route_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice id = rq->captures[0];
    struct filter_rules before, after = {0};
    struct dry_run dry;
    CF_TRY(want_primary(rq, err));
    CF_TRY(check_id(rq, id, err));
    CF_TRY(dry_run_begin(&dry, rq, err));
    CF_TRY(read_rules(rq, &after, err));
    CF_TRY(read_stored(rq, id, &before, err));
    struct change change = compare(rq, &before, &after);
    warn_absent(rq, &after);
    if (dry.wanted) {
        tell_absent(&dry, &after);
        return show_change(&dry, id, &change, err);
    }
    if (!are_equal(&before, &after)) {
        txn_put(rq->txn, filter_record_key(rq->arena, id), filter_encode(rq->arena, &after));
        mark_change(rq, id, &change);
    }
    return CF_OK;
}

static void show_rules(struct request *rq, const struct filter_rules *rules)
{
    struct json *paths = json_array_new(rq->arena);
    for (size_t i = 0; i < rules->count; i++) {
        json_array_add(rq->arena, paths, json_from_string(rq->arena, rules->paths[i]));
    }
    json_set_text(rq->arena, response_data(rq), "mode",
                  rules->mode == FILTER_DENY ? "deny" : "allow");
    json_set(rq->arena, response_data(rq), "paths", paths);
}

cf_status filter_route_read(struct request *rq, struct cf_error *err)
{
    struct filter_rules rules;
    CF_TRY(want_primary(rq, err));
    CF_TRY(read_stored(rq, rq->captures[0], &rules, err));
    if (rules.mode == FILTER_NONE) {
        return request_absent(err);
    }
    show_rules(rq, &rules);
    return CF_OK;
}

cf_status filter_route_delete(struct request *rq, struct cf_error *err)
{
    struct cf_slice id = rq->captures[0];
    struct filter_rules before, after = {.mode = FILTER_NONE};
    struct dry_run dry;
    CF_TRY(want_primary(rq, err));
    CF_TRY(dry_run_begin(&dry, rq, err));
    CF_TRY(read_stored(rq, id, &before, err));
    struct change change = compare(rq, &before, &after);
    if (dry.wanted) {
        return show_change(&dry, id, &change, err);
    }
    if (before.mode != FILTER_NONE) {
        txn_delete(rq->txn, filter_record_key(rq->arena, id));
        mark_change(rq, id, &change);
    }
    return CF_OK;
}

/* ---- dynamic-filter ---- */

static void show_filtered(struct request *rq, const struct filter_rules *rules)
{
    const struct namespace_table *table = rq->view->namespaces;
    struct json *mounts = json_array_new(rq->arena), *namespaces = json_array_new(rq->arena);
    for (size_t i = 0; i < table->count; i++) {
        const struct namespace *ns = table->list[i];
        if (!filter_passes_namespace(rules, ns)) {
            note(rq, namespaces, ns->path, CF_SLICE_EMPTY);
        }
        for (size_t m = 0; m < ns->mounts->count; m++) {
            const struct mount *mount = ns->mounts->mounts[m];
            if (!mount->is_local && !mount->is_fixed &&
                !filter_passes_mount(rules, ns, mount->path, false)) {
                note(rq, mounts, ns->path, mount->path);
            }
        }
    }
    json_set(rq->arena, response_data(rq), "dynamic_filtered_mounts", mounts);
    json_set(rq->arena, response_data(rq), "dynamic_filtered_namespaces", namespaces);
}

cf_status filter_route_dynamic(struct request *rq, struct cf_error *err)
{
    struct filter_rules rules;
    bool registered;
    CF_TRY(want_primary(rq, err));
    CF_TRY(read_stored(rq, rq->captures[0], &rules, err));
    CF_TRY(is_registered(rq, rq->captures[0], &registered, err));
    if (rules.mode == FILTER_NONE && !registered) {
        return request_absent(err);
    }
    show_filtered(rq, &rules);
    if (rules.mode != FILTER_NONE) {
        show_rules(rq, &rules);
    }
    return CF_OK;
}

/* What was held back has no name here: in mode deny the rules are what is known of it. */
cf_status filter_route_dynamic_here(struct request *rq, struct cf_error *err)
{
    struct set_link link;
    struct filter_rules rules;
    cf_status status = set_read_link(rq, SET_PERFORMANCE, &link, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "cluster is not a performance secondary");
    }
    CF_TRY(status);
    if (!cf_slice_eq(rq->captures[0], link.secondary_id)) {
        return request_absent(err);
    }
    CF_TRY(read_stored(rq, rq->captures[0], &rules, err));
    struct json *mounts = json_array_new(rq->arena);
    for (size_t i = 0; i < rules.count && rules.mode == FILTER_DENY; i++) {
        note(rq, mounts, rules.paths[i], CF_SLICE_EMPTY);
    }
    json_set(rq->arena, response_data(rq), "dynamic_filtered_mounts", mounts);
    json_set(rq->arena, response_data(rq), "dynamic_filtered_namespaces",
             json_array_new(rq->arena));
    if (rules.mode != FILTER_NONE) {
        show_rules(rq, &rules);
        response_warn(rq, "names of what is held back are not known here: the primary's "
                          "sys/replication/performance/primary/dynamic-filter/%.*s has them all",
                      CF_SHOW(rq->captures[0]));
    }
    return CF_OK;
}

cf_status filter_route_former(struct request *rq, struct cf_error *err)
{
    (void)rq;
    return cf_fail(err, CF_NOT_FOUND, "mount-filter was replaced: use "
                                      "sys/replication/performance/primary/paths-filter/:id");
}

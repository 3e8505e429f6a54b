/* node/server/replication/filter.c: what of class replicated goes to one performance secondary. */
#include "node/server/replication/filter.h"

#include <stdlib.h>

#include "node/base/map.h"
#include "node/base/memory.h"
#include "node/core/request.h"
#include "replication/core/mutant.h"

#define RULE_FOLDER AREA_FILTER "rule/"
#define WIDE_FOLDER AREA_FILTER "wide/"
#define THIN_FOLDER AREA_FILTER "thin/"
#define UUID_SIZE sizeof(((struct uuid *)NULL)->bytes)
#define DATA_PREFIX_SIZE (sizeof(AREA_DATA) - 1 + UUID_SIZE + 1)

/* ---- rules ---- */

static int by_bytes(const void *a, const void *b)
{
    return cf_slice_cmp(*(const struct cf_slice *)a, *(const struct cf_slice *)b);
}

void filter_rules_sort(struct filter_rules *rules)
{
    size_t kept = 0;
    if (rules->count != 0) {
        qsort(rules->paths, rules->count, sizeof(*rules->paths), by_bytes);
    }
    for (size_t i = 0; i < rules->count; i++) {
        if (kept == 0 || !cf_slice_eq(rules->paths[i], rules->paths[kept - 1])) {
            rules->paths[kept++] = rules->paths[i];
        }
    }
    rules->count = kept;
}

/* A rule and `head` followed by `tail`. */
static int compare(struct cf_slice rule, struct cf_slice head, struct cf_slice tail)
{
    int order = cf_slice_cmp(cf_slice_first(rule, head.size), head);
    return order != 0 ? order : cf_slice_cmp(cf_slice_from(rule, head.size), tail);
}

/* The first rule that is not below `head` followed by `tail`. */
static size_t find(const struct filter_rules *rules, struct cf_slice head, struct cf_slice tail)
{
    size_t low = 0, high = rules->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(rules->paths[middle], head, tail) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_listed(const struct filter_rules *rules, struct cf_slice head, struct cf_slice tail)
{
    size_t at = find(rules, head, tail);
    return at < rules->count && compare(rules->paths[at], head, tail) == 0;
}

static bool is_inside_listed(const struct filter_rules *rules, const struct namespace *ns)
{
    for (; ns != NULL && ns->number != NAMESPACE_ROOT; ns = ns->parent) {
        if (is_listed(rules, ns->path, CF_SLICE_EMPTY)) {
            return true;
        }
    }
    return false;
}

/* Something listed lies in the namespace: it has to be there, with its policies and entities. */
static bool holds_listed(const struct filter_rules *rules, const struct namespace *ns)
{
    size_t at = find(rules, ns->path, CF_SLICE_EMPTY);
    return at < rules->count && cf_slice_starts(rules->paths[at], ns->path);
}

bool filter_passes_namespace(const struct filter_rules *rules, const struct namespace *ns)
{
    if (rules->mode == FILTER_NONE || ns->number == NAMESPACE_ROOT) {
        return true;
    }
    bool listed = is_inside_listed(rules, ns);
    return rules->mode == FILTER_DENY ? !listed : listed || holds_listed(rules, ns);
}

bool filter_passes_mount(const struct filter_rules *rules, const struct namespace *ns,
                         struct cf_slice path, bool is_fixed)
{
    if (rules->mode == FILTER_NONE || !filter_passes_namespace(rules, ns)) {
        return rules->mode == FILTER_NONE;
    }
    if (is_fixed) {
        return true;
    }
    bool listed = is_listed(rules, ns->path, path) || is_inside_listed(rules, ns);
    return listed == (rules->mode == FILTER_ALLOW) || REPL_MUTATED(REPL_MUTANT_FILTER_OPEN);
}

/* ---- records ---- */

static struct key key_of(struct arena *arena, const char *folder, struct cf_slice id)
{
    return (struct key){CLASS_REPLICATED, NAMESPACE_ROOT,
                        cf_slice_str(arena_printf(arena, "%s%.*s", folder, CF_SHOW(id)))};
}

struct key filter_record_key(struct arena *arena, struct cf_slice id)
{
    return key_of(arena, RULE_FOLDER, id);
}

struct key filter_widened_key(struct arena *arena, struct cf_slice id)
{
    return key_of(arena, WIDE_FOLDER, id);
}

struct key filter_narrowed_key(struct arena *arena, struct cf_slice id)
{
    return key_of(arena, THIN_FOLDER, id);
}

struct cf_slice filter_encode(struct arena *arena, const struct filter_rules *rules)
{
    struct json *record = json_object_new(arena);
    struct json *paths = json_array_new(arena);
    for (size_t i = 0; i < rules->count; i++) {
        json_array_add(arena, paths, json_from_borrowed(arena, rules->paths[i]));
    }
    json_set_text(arena, record, "mode", rules->mode == FILTER_DENY ? "deny" : "allow");
    json_set(arena, record, "paths", paths);
    return record_encode(arena, record);
}

cf_status filter_decode(struct arena *arena, struct cf_slice record, struct filter_rules *ret,
                        struct cf_error *err)
{
    struct json *json;
    CF_TRY(record_decode(record, arena, &json, err));
    struct cf_slice mode = json_get_string(json, "mode");
    const struct json *paths = json_get(json, "paths");
    if ((!cf_slice_is(mode, "deny") && !cf_slice_is(mode, "allow")) ||
        !json_is(paths, JSON_ARRAY)) {
        return cf_fail(err, CF_CORRUPT, "the record of a paths filter is malformed");
    }
    struct filter_rules rules = {
        .mode = cf_slice_is(mode, "deny") ? FILTER_DENY : FILTER_ALLOW,
        .paths = arena_alloc(arena, (json_count(paths) + 1) * sizeof(*rules.paths))};
    for (size_t i = 0; i < json_count(paths); i++) {
        if (json_string(json_item(paths, i), &rules.paths[rules.count])) {
            rules.count++;
        }
    }
    filter_rules_sort(&rules);
    *ret = rules;
    return CF_OK;
}

/* ---- a filter as of a view ---- */

/* Absent is 0. */
static cf_status read_index(const struct view *view, struct key key, struct arena *arena,
                            struct cf_slice *value, uint64_t *ret, struct cf_error *err)
{
    cf_status status = view_get(view, key, arena, value, ret, err);
    if (status == CF_NOT_FOUND) {
        *ret = 0;
        return CF_OK;
    }
    return status;
}

static cf_status fill(const struct view *view, struct filter *filter, struct cf_error *err)
{
    struct arena *arena = filter->arena;
    struct cf_slice record = CF_SLICE_EMPTY, mark;
    CF_TRY(read_index(view, filter_record_key(arena, filter->id), arena, &record, &filter->changed,
                      err));
    CF_TRY(read_index(view, filter_widened_key(arena, filter->id), arena, &mark, &filter->widened,
                      err));
    return filter->changed != 0 ? filter_decode(arena, record, &filter->rules, err) : CF_OK;
}

cf_status filter_load(const struct view *view, struct cf_slice id, struct filter **ret,
                      struct cf_error *err)
{
    struct filter *filter = cf_new(struct filter);
    atomic_init(&filter->references, 1);
    filter->arena = arena_new(1024);
    filter->id = arena_copy(filter->arena, id);
    filter->table = namespace_table_ref(view->namespaces);
    cf_status status = fill(view, filter, err);
    if (status != CF_OK) {
        filter_unref(filter);
        return status;
    }
    *ret = filter;
    return CF_OK;
}

bool filter_stands(const struct filter *filter, const struct view *view)
{
    CF_OWNED(arena) arena = arena_new(512);
    struct filter now = {.arena = arena, .id = filter->id};
    return fill(view, &now, NULL) == CF_OK && now.changed == filter->changed &&
           now.widened == filter->widened;
}

struct filter *filter_ref(struct filter *filter)
{
    atomic_fetch_add_explicit(&filter->references, 1, memory_order_relaxed);
    return filter;
}

void filter_unref(struct filter *filter)
{
    if (filter != NULL &&
        atomic_fetch_sub_explicit(&filter->references, 1, memory_order_acq_rel) == 1) {
        namespace_table_unref(filter->table);
        arena_free(filter->arena);
        cf_free(filter);
    }
}

/* ---- keys ---- */

enum verdict { PASSES, IS_FILTERED, IS_GONE, IS_NOBODYS };

/* What a key is a part of: a mount, or (has_uuid false) a whole namespace. */
struct part {
    uint32_t ns;
    bool has_uuid;
    struct uuid uuid;
};

static enum verdict judge_namespace(const struct filter *filter, uint32_t number,
                                    struct part *part, const struct namespace **ret)
{
    const struct namespace *ns = namespace_by_number(filter->table, number);
    *part = (struct part){.ns = number};
    *ret = ns;
    if (ns == NULL) {
        return IS_GONE;
    }
    return filter_passes_namespace(&filter->rules, ns) ? PASSES : IS_FILTERED;
}

static enum verdict judge_mount(const struct filter *filter, const struct namespace *ns,
                                struct uuid uuid, struct part *part)
{
    const struct mount *mount = mount_table_by_uuid(ns->mounts, uuid);
    *part = (struct part){.ns = ns->number, .has_uuid = true, .uuid = uuid};
    if (mount == NULL) {
        return IS_GONE;
    }
    return filter_passes_mount(&filter->rules, ns, mount->path, mount->is_fixed) ? PASSES
                                                                               : IS_FILTERED;
}

static bool parse_number(struct cf_slice text, uint32_t *ret)
{
    char digits[9] = {0}, *end;
    if (text.size != 8) {
        return false;
    }
    memcpy(digits, text.data, 8);
    *ret = (uint32_t)strtoul(digits, &end, 16);
    return *end == '\0';
}

static bool is_own_record(const struct filter *filter, struct cf_slice name)
{
    struct cf_slice rest = cf_slice_from(name, sizeof(RULE_FOLDER) - 1); /* all are as long */
    return (cf_slice_starts(name, CF_SLICE(RULE_FOLDER)) ||
            cf_slice_starts(name, CF_SLICE(WIDE_FOLDER)) ||
            cf_slice_starts(name, CF_SLICE(THIN_FOLDER))) &&
           cf_slice_eq(rest, filter->id);
}

static enum verdict judge(const struct filter *filter, struct key key, struct part *part)
{
    const struct namespace *ns, *other;
    struct uuid uuid;
    uint32_t number;
    if (cf_slice_starts(key.name, CF_SLICE(AREA_FILTER))) {
        return is_own_record(filter, key.name) ? PASSES : IS_NOBODYS;
    }
    if (filter->rules.mode == FILTER_NONE) {
        return PASSES;
    }
    enum verdict verdict = judge_namespace(filter, key.ns, part, &ns);
    if (verdict != PASSES) {
        return verdict;
    }
    if (cf_slice_starts(key.name, CF_SLICE(AREA_DATA)) && key.name.size >= DATA_PREFIX_SIZE) {
        memcpy(uuid.bytes, key.name.data + sizeof(AREA_DATA) - 1, sizeof(uuid.bytes));
        return judge_mount(filter, ns, uuid, part);
    }
    if (cf_slice_starts(key.name, CF_SLICE(AREA_MOUNT)) &&
        encode_uuid_parse(cf_slice_from(key.name, sizeof(AREA_MOUNT) - 1), &uuid, NULL) == CF_OK) {
        return judge_mount(filter, ns, uuid, part);
    }
    if (key.ns == NAMESPACE_ROOT && cf_slice_starts(key.name, CF_SLICE(AREA_NAMESPACE)) &&
        parse_number(cf_slice_from(key.name, sizeof(AREA_NAMESPACE) - 1), &number)) {
        return judge_namespace(filter, number, part, &other);
    }
    return PASSES;
}

bool filter_passes(const struct filter *filter, struct key key)
{
    struct part part;
    return filter == NULL || key.class != CLASS_REPLICATED || judge(filter, key, &part) == PASSES;
}

static void add_data_prefix(struct cf_buf *name, struct uuid uuid)
{
    cf_buf_add_str(name, AREA_DATA);
    cf_buf_add(name, uuid.bytes, sizeof(uuid.bytes));
    cf_buf_add_byte(name, '/');
}

void filter_skip(const struct filter *filter, struct key key, uint32_t generation,
                 struct cf_buf *to)
{
    struct part part = {0};
    enum verdict verdict = judge(filter, key, &part);
    bool is_part = verdict == IS_FILTERED || verdict == IS_GONE;
    if (is_part && !part.has_uuid && part.ns == key.ns && key.ns != UINT32_MAX) {
        key_encode(to, (struct key){key.class, key.ns + 1, CF_SLICE_EMPTY}, generation);
    } else if (is_part && part.has_uuid && cf_slice_starts(key.name, CF_SLICE(AREA_DATA))) {
        CF_BUF(name) = {0};
        add_data_prefix(&name, part.uuid);
        name.data[name.size - 1]++; /* behind the slash */
        key_encode(to, (struct key){key.class, key.ns, cf_buf_slice(&name)}, generation);
    } else {
        key_encode(to, key, generation);
        cf_buf_add_byte(to, 0);
    }
}

/* ---- a stream ---- */

struct sieve {
    struct filter_pass *pass;
    struct arena *arena;
    struct op *ops;
    size_t count, room;
};

static void keep(struct sieve *sieve, const struct op *op)
{
    if (sieve->count == sieve->room) {
        size_t room = cf_max(2 * sieve->room, 16);
        struct op *fresh = arena_alloc_raw(sieve->arena, room * sizeof(*fresh));
        if (sieve->count != 0) {
            memcpy(fresh, sieve->ops, sieve->count * sizeof(*fresh));
        }
        sieve->ops = fresh;
        sieve->room = room;
    }
    sieve->ops[sieve->count++] = *op;
}

/* Tells the secondary to delete the part, once a batch: its entry and its data, in one entry of the log. */
static void remove_part(struct sieve *sieve, const struct part *part)
{
    struct arena *arena = sieve->arena;
    CF_BUF(name) = {0};
    uint8_t id[4 + UUID_SIZE];
    struct op entry = {.kind = OP_DELETE}, data = {.kind = OP_DELETE_PREFIX};
    cf_put_u32(id, part->ns);
    memcpy(id + 4, part->uuid.bytes, UUID_SIZE);
    if (cf_map_put(sieve->pass->gone, cf_slice_of(id, part->has_uuid ? sizeof(id) : 4), arena) !=
        NULL) {
        return;
    }
    if (part->has_uuid) {
        char text[ENCODE_UUID_TEXT + 1];
        encode_uuid_text(part->uuid, text);
        add_data_prefix(&name, part->uuid);
        entry.key = key_of(arena, AREA_MOUNT, cf_slice_str(text));
        entry.key.ns = part->ns;
    } else {
        entry.key = namespace_key(arena, part->ns);
    }
    data.key = (struct key){CLASS_REPLICATED, part->ns, arena_copy(arena, cf_buf_slice(&name))};
    keep(sieve, &entry);
    keep(sieve, &data);
}

/* A deletion that names nothing but the part. */
static bool ends_part(const struct op *op)
{
    switch (op->kind) {
    case OP_DELETE:
        return cf_slice_starts(op->key.name, CF_SLICE(AREA_MOUNT)) ||
               cf_slice_starts(op->key.name, CF_SLICE(AREA_NAMESPACE));
    case OP_DELETE_PREFIX:
        return op->key.name.size == 0 || op->key.name.size == DATA_PREFIX_SIZE;
    case OP_PUT:
        break;
    }
    return false;
}

static void sift(struct sieve *sieve, uint64_t index, const struct op *op)
{
    const struct filter *filter = sieve->pass->filter;
    struct part part = {0};
    switch (op->key.class == CLASS_REPLICATED ? judge(filter, op->key, &part) : PASSES) {
    case PASSES:
        keep(sieve, op);
        break;
    case IS_NOBODYS:
        break;
    case IS_FILTERED:
        if (index < filter->changed && !REPL_MUTATED(REPL_MUTANT_FILTER_LATE)) { /* it has what was not filtered then: nothing is left half done */
            remove_part(sieve, &part);
        }
        break;
    case IS_GONE:
        if (ends_part(op) || REPL_MUTATED(REPL_MUTANT_FILTER_GONE)) {
            keep(sieve, op);
        } else {
            remove_part(sieve, &part);
        }
        break;
    }
}

/* At the position of the change: everything that is filtered and there. */
static void remove_filtered(struct sieve *sieve)
{
    const struct filter *filter = sieve->pass->filter;
    for (size_t i = 0; i < filter->table->count; i++) {
        const struct namespace *ns = filter->table->list[i];
        if (!filter_passes_namespace(&filter->rules, ns)) {
            remove_part(sieve, &(struct part){.ns = ns->number});
            continue;
        }
        for (size_t m = 0; m < ns->mounts->count; m++) {
            const struct mount *mount = ns->mounts->mounts[m];
            if (!mount->is_local &&
                !filter_passes_mount(&filter->rules, ns, mount->path, mount->is_fixed)) {
                remove_part(sieve, &(struct part){ns->number, true, mount->uuid});
            }
        }
    }
}

const struct op *filter_ops(struct filter_pass *pass, struct arena *arena, uint64_t index,
                            const struct op *ops, size_t *count)
{
    struct sieve sieve = {.pass = pass, .arena = arena};
    if (pass == NULL || *count == 0) {
        return ops;
    }
    if (pass->gone == NULL) {
        pass->gone = cf_map_new();
    }
    for (size_t i = 0; i < *count; i++) {
        sift(&sieve, index, &ops[i]);
    }
    if (index == pass->filter->changed && !REPL_MUTATED(REPL_MUTANT_FILTER_STAYS)) {
        remove_filtered(&sieve);
    }
    *count = sieve.count;
    return sieve.ops;
}

void filter_pass_done(struct filter_pass *pass)
{
    if (pass != NULL) {
        cf_map_free(pass->gone);
        pass->gone = NULL;
    }
}

bool filter_can_stream(const struct filter *filter, uint64_t index)
{
    return filter == NULL || index > filter->widened || REPL_MUTATED(REPL_MUTANT_FILTER_WIDENED);
}

/* ---- requests ---- */

bool filter_hides(const struct view *view, struct cf_slice id, struct cf_slice path)
{
    struct filter *filter;
    if (filter_load(view, id, &filter, NULL) != CF_OK) {
        return true; /* what cannot be read is no permission */
    }
    const struct namespace *ns = namespace_table_match(filter->table, path);
    const struct mount *mount =
        mount_table_match(ns->mounts, cf_slice_from(path, ns->path.size));
    bool passes = mount != NULL && !mount->is_local
                      ? filter_passes_mount(&filter->rules, ns, mount->path, mount->is_fixed)
                      : filter_passes_namespace(&filter->rules, ns);
    filter_unref(filter);
    return !passes;
}

cf_status filter_check_move(struct request *rq, const struct namespace *from_ns, struct cf_slice from,
                            const struct namespace *to_ns, struct cf_slice to,
                            struct cf_error *err)
{
    struct txn_names ids;
    CF_TRY(txn_list(rq->txn, (struct key){CLASS_REPLICATED, NAMESPACE_ROOT, CF_SLICE(RULE_FOLDER)},
                    CF_SLICE_EMPTY, 0, &ids, err));
    for (size_t i = 0; i < ids.count; i++) {
        struct filter_rules rules;
        struct cf_slice record;
        CF_TRY(txn_get(rq->txn, filter_record_key(rq->arena, ids.names[i]), &record, err));
        CF_TRY(filter_decode(rq->arena, record, &rules, err));
        bool before = filter_passes_mount(&rules, from_ns, from, false);
        if (before != filter_passes_mount(&rules, to_ns, to, false)) {
            return cf_fail(err, CF_INVALID,
                           "the paths filter of secondary \"%.*s\" %s \"%.*s\" and %s \"%.*s\": "
                           "change the filter first",
                           CF_SHOW(ids.names[i]), before ? "lets through" : "holds back",
                           CF_SHOW(cf_slice_first(from, 40)), before ? "holds back" : "lets through",
                           CF_SHOW(cf_slice_first(to, 40)));
        }
    }
    return CF_OK;
}

/* tests/sim/repl_state.c
 *
 * What a cluster's state machine holds, and how it is taken apart: effects of entries, records of copies
 * and repairs, and both through the real filter (node/server/replication/filter.c), for which a few
 * mounts of the root namespace are made up.
 */
#include <stdio.h>

#include "node/base/map.h"
#include "node/server/replication/filter.h"
#include "replication/core/mutant.h"
#include "tests/sim/repl_world.h"

void effects_add(struct effects *effects, const struct effect *effect)
{
    if (effects->count == effects->capacity) {
        effects->capacity = effects->capacity * 2 + 8;
        effects->all = cf_realloc(effects->all, effects->capacity * sizeof(effects->all[0]));
    }
    effects->all[effects->count++] = *effect;
}

void effects_copy(struct effects *to, const struct effects *from)
{
    for (size_t i = 0; i < from->count; i++) {
        effects_add(to, &from->all[i]);
    }
}

void effects_done(struct effects *effects)
{
    cf_free(effects->all);
    *effects = (struct effects){0};
}

static uint8_t class_of(const struct effect *effect)
{
    return effect->type <= FX_FILTER ? CLASS_REPLICATED : CLASS_CLUSTER;
}

bool effect_ships(enum repl_kind kind, const struct effect *effect)
{
    return kind == REPL_DR || class_of(effect) == CLASS_REPLICATED;
}

/* ---- the state ---- */

uint64_t bits_word(const uint64_t *words, unsigned bit)
{
    return words[bit / 64] >> bit % 64 & 1;
}

static void set_bit(uint64_t *words, uint64_t bit, bool on)
{
    uint64_t mask = (uint64_t)1 << bit % 64;
    words[bit / 64] = on ? words[bit / 64] | mask : words[bit / 64] & ~mask;
}

void state_apply(struct world *w, struct state *state, const struct effect *effect, uint64_t index)
{
    unsigned slot = effect->slot;
    switch ((enum effect_type)effect->type) {
    case FX_MOUNT:
        state->gen[slot] = effect->gen;
        state->orphan[slot] = 0;
        memset(state->value[slot], 0, sizeof(state->value[slot]));
        break;
    case FX_UNMOUNT:
        state->orphan[slot] = state->orphan[slot] == effect->gen ? 0 : state->orphan[slot];
        state->ended[slot] = effect->gen;
        if (state->gen[slot] == effect->gen) {
            state->gen[slot] = 0;
            memset(state->value[slot], 0, sizeof(state->value[slot]));
        }
        break;
    case FX_PUT:
        if (state->gen[slot] == 0 && state->ended[slot] == effect->gen && effect->value != 0) {
            state->orphan[slot] = effect->gen; /* check_orphan() says whether that may be */
        } else if (state->gen[slot] != effect->gen && effect->value != 0) {
            sim_fail(&w->engine, "P-36 orphan", "a key of mount %u.%u came, and %u.%u is there", slot,
                     effect->gen, slot, state->gen[slot]);
        }
        if (state->gen[slot] == effect->gen) {
            state->value[slot][effect->key] = effect->value;
        }
        break;
    case FX_RAN:
    case FX_UNRAN:
        set_bit(state->ran, effect->value, effect->type == FX_RAN);
        break;
    case FX_FILTER:
        state->denied = (unsigned)effect->value;
        state->changed = effect->key == 2 ? 0 : index; /* 2: its records are gone */
        state->widened = effect->key == 1 ? index : effect->key == 2 ? 0 : state->widened;
        break;
    case FX_LOCAL:
        state->local[slot] = effect->value;
        break;
    case FX_RECORD:
    case FX_UNRECORD:
        set_bit(state->record, effect->value, effect->type == FX_RECORD);
        break;
    case FX_POSITION:
        state->set_position = (struct repl_position){0};
        if (effect->value != 0) {
            state->set_position = (struct repl_position){w->truths[effect->gen].epoch, effect->term,
                                                         effect->value};
        }
        break;
    case FX_LINEAGE:
        state->set_lineage = (unsigned)effect->value;
        break;
    }
}

static void add_bits(const uint64_t *words, enum effect_type type, struct effects *ret)
{
    for (unsigned i = 0; i < CALLS_MAX; i++) {
        if (bits_word(words, i) != 0) {
            effects_add(ret, &(struct effect){.type = (uint8_t)type, .value = i});
        }
    }
}

static void add_cluster_class(const struct world *w, const struct state *state, struct effects *ret)
{
    for (unsigned i = 0; i < LOCALS; i++) {
        if (state->local[i] != 0) {
            effects_add(ret, &(struct effect){
                                 .type = FX_LOCAL, .slot = (uint8_t)i, .value = state->local[i]});
        }
    }
    add_bits(state->record, FX_RECORD, ret);
    const struct repl_position *at = &state->set_position;
    for (unsigned i = 0; i < w->truth_count && at->index != 0; i++) {
        if (w->truths[i].kind == REPL_PERFORMANCE &&
            repl_epoch_equal(&w->truths[i].epoch, &at->epoch)) {
            effects_add(ret, &(struct effect){
                                 .type = FX_POSITION, .gen = i, .term = at->term, .value = at->index});
        }
    }
    if (state->set_lineage != 0) {
        effects_add(ret, &(struct effect){.type = FX_LINEAGE, .value = state->set_lineage});
    }
}

struct effect effect_undone(const struct effect *record)
{
    struct effect undone = *record;
    switch ((int)record->type) {
    case FX_MOUNT:
        undone.type = FX_UNMOUNT;
        break;
    case FX_RAN:
        undone.type = FX_UNRAN;
        break;
    case FX_RECORD:
        undone.type = FX_UNRECORD;
        break;
    case FX_FILTER:
        undone.key = 2;
        undone.value = 0;
        break;
    default:
        undone.value = 0;
        break;
    }
    return undone;
}

void state_drop(struct state *state, enum repl_kind kind)
{
    memset(state->gen, 0, sizeof(state->gen));
    memset(state->ended, 0, sizeof(state->ended));
    memset(state->orphan, 0, sizeof(state->orphan));
    memset(state->value, 0, sizeof(state->value));
    memset(state->ran, 0, sizeof(state->ran));
    state->denied = 0;
    state->changed = state->widened = 0;
    if (kind == REPL_DR) {
        memset(state->local, 0, sizeof(state->local));
        memset(state->record, 0, sizeof(state->record));
        state->set_position = (struct repl_position){0};
        state->set_lineage = 0;
    }
}

/* ---- the real filter ---- */

struct sieve {
    struct filter filter;
    struct filter_pass pass;
    struct arena *arena;
    struct namespace_table table;
    struct namespace root, *list[1];
    struct mount_table mounts;
    struct mount all[MOUNTS];
    const struct mount *by_path[MOUNTS];
    struct cf_slice paths[MOUNTS];
};

static const char *const paths[MOUNTS] = {"m0/", "m1/", "m2/", "m3/"};

static struct uuid uuid_of(unsigned slot, uint32_t gen)
{
    struct uuid uuid = {0};
    uuid.bytes[0] = (uint8_t)(slot + 1);
    cf_put_u32(uuid.bytes + 4, gen);
    return uuid;
}

struct sieve *sieve_new(const struct state *seen)
{
    struct sieve *s = cf_new(struct sieve);
    s->arena = arena_new(4096);
    s->mounts.by_uuid = cf_map_new();
    for (unsigned i = 0; i < MOUNTS; i++) {
        struct mount *mount = &s->all[i];
        if (seen->gen[i] != 0) {
            mount->path = cf_slice_str(paths[i]);
            mount->uuid = uuid_of(i, seen->gen[i]);
            cf_map_put(s->mounts.by_uuid, cf_slice_of(mount->uuid.bytes, sizeof(mount->uuid.bytes)), mount);
            s->by_path[s->mounts.count++] = mount;
        }
        if ((seen->denied >> i & 1) != 0) {
            s->paths[s->filter.rules.count++] = cf_slice_str(paths[i]);
        }
    }
    s->mounts.mounts = s->by_path;
    s->root.path = CF_SLICE_EMPTY;
    s->root.mounts = &s->mounts;
    s->list[0] = &s->root;
    s->table.list = s->list;
    s->table.count = 1;
    s->filter.id = CF_SLICE("b");
    s->filter.rules.mode = s->filter.rules.count != 0 ? FILTER_DENY : FILTER_NONE;
    s->filter.rules.paths = s->paths;
    s->filter.table = &s->table;
    s->filter.changed = seen->changed;
    s->filter.widened = seen->widened;
    s->pass.filter = &s->filter;
    return s;
}

void sieve_free(struct sieve *s)
{
    if (s != NULL) {
        filter_pass_done(&s->pass);
        cf_map_free(s->mounts.by_uuid);
        arena_free(s->arena);
        cf_free(s);
    }
}

bool sieve_can_stream(const struct sieve *s, uint64_t index)
{
    return filter_can_stream(s != NULL ? &s->filter : NULL, index);
}

static struct cf_slice data_name(struct arena *arena, const struct effect *effect, bool with_key)
{
    CF_BUF(name) = {0};
    struct uuid uuid = uuid_of(effect->slot, effect->gen);
    cf_buf_add_str(&name, AREA_DATA);
    cf_buf_add(&name, uuid.bytes, sizeof(uuid.bytes));
    cf_buf_add_byte(&name, '/');
    if (with_key) {
        cf_buf_add_byte(&name, (uint8_t)('a' + effect->key));
    }
    return arena_copy(arena, cf_buf_slice(&name));
}

static struct cf_slice mount_name(struct arena *arena, const struct effect *effect)
{
    char text[ENCODE_UUID_TEXT + 1];
    encode_uuid_text(uuid_of(effect->slot, effect->gen), text);
    return cf_slice_str(arena_printf(arena, AREA_MOUNT "%s", text));
}

static struct key key_of(struct arena *arena, const struct effect *effect)
{
    struct key key = {CLASS_REPLICATED, NAMESPACE_ROOT, CF_SLICE("config/other")};
    switch ((int)effect->type) {
    case FX_MOUNT:
    case FX_UNMOUNT:
        key.name = mount_name(arena, effect);
        break;
    case FX_PUT:
        key.name = data_name(arena, effect, true);
        break;
    case FX_FILTER:
        key.name = CF_SLICE(AREA_FILTER "rule/b");
        break;
    default:
        break;
    }
    return key;
}

/* An unmount is two deletions: of the entry, and of the data. */
static size_t ops_of(struct arena *arena, const struct effect *effect, struct op ops[2])
{
    ops[0] = (struct op){.kind = effect->type == FX_UNMOUNT ? OP_DELETE : OP_PUT,
                         .key = key_of(arena, effect),
                         .value = arena_copy(arena, cf_slice_of(effect, sizeof(*effect)))};
    ops[1] = (struct op){.kind = OP_DELETE_PREFIX,
                         .key = {CLASS_REPLICATED, NAMESPACE_ROOT, data_name(arena, effect, false)}};
    return effect->type == FX_UNMOUNT ? 2 : 1;
}

/* What the filter put in the place of others: the deletion of a mount. */
static void add_unmount(struct cf_slice name, struct effects *ret)
{
    struct uuid uuid;
    if (cf_slice_starts(name, CF_SLICE(AREA_MOUNT)) &&
        encode_uuid_parse(cf_slice_from(name, sizeof(AREA_MOUNT) - 1), &uuid, NULL) == CF_OK) {
        effects_add(ret, &(struct effect){.type = FX_UNMOUNT,
                                          .slot = (uint8_t)(uuid.bytes[0] - 1),
                                          .gen = cf_get_u32(uuid.bytes + 4)});
    }
}

void sieve_pass(struct world *w, struct sieve *s, uint64_t index, const struct effects *from,
                struct effects *ret)
{
    struct op *ops;
    size_t count = 0;
    if (s == NULL) {
        effects_copy(ret, from);
        return;
    }
    ops = arena_alloc(s->arena, (2 * from->count + 1) * sizeof(*ops));
    for (size_t i = 0; i < from->count; i++) {
        count += ops_of(s->arena, &from->all[i], ops + count);
    }
    size_t before = count;
    const struct op *left = filter_ops(&s->pass, s->arena, index, ops, &count);
    for (size_t i = 0; i < count; i++) {
        struct effect effect;
        if (left[i].value.size == sizeof(effect)) {
            memcpy(&effect, left[i].value.data, sizeof(effect));
            effects_add(ret, &effect);
        } else if (left[i].kind == OP_DELETE) {
            sim_reached(&w->engine, MARK_GONE);
            add_unmount(left[i].key.name, ret);
        }
    }
    if (count < before) {
        sim_reached(&w->engine, MARK_FILTERED);
    }
}

bool is_filtered(unsigned peer, enum repl_kind kind)
{
    return kind == REPL_PERFORMANCE && peer % 2 == 1; /* both clusters of line 1 go by one name */
}

/* ---- copies ---- */

static void add_record(struct sieve *s, const struct effect *record, struct effects *ret)
{
    if (s == NULL || filter_passes(&s->filter, key_of(s->arena, record))) {
        effects_add(ret, record);
    }
}

static void add_mounts(const struct state *state, struct sieve *s, struct effects *ret)
{
    for (unsigned i = 0; i < MOUNTS; i++) {
        struct effect record = {.type = FX_MOUNT, .slot = (uint8_t)i, .gen = state->gen[i]};
        if (state->gen[i] != 0) {
            add_record(s, &record, ret);
        }
        for (unsigned k = 0; k < KEYS; k++) {
            struct effect put = {.type = FX_PUT,
                                 .slot = (uint8_t)i,
                                 .key = (uint8_t)k,
                                 .gen = state->gen[i],
                                 .value = state->value[i][k]};
            if (put.value != 0) {
                add_record(s, &put, ret);
            }
        }
    }
}

void state_records(const struct world *w, const struct state *state, enum repl_kind kind,
                   bool through_filter, struct effects *ret)
{
    struct sieve *s = through_filter ? sieve_new(state) : NULL;
    add_mounts(state, s, ret);
    sieve_free(s);
    add_bits(state->ran, FX_RAN, ret);
    if (state->changed != 0) {
        effects_add(ret, &(struct effect){.type = FX_FILTER,
                                          .key = state->widened != 0,
                                          .value = state->denied});
    }
    if (kind == REPL_DR) {
        add_cluster_class(w, state, ret);
    }
}

/* ---- lineages ---- */

unsigned lineage_id(struct world *w, const struct repl_lineage *lineage)
{
    for (unsigned i = 0; i < w->lineage_count; i++) {
        if (repl_lineage_compare(w->lineages[i], lineage, NULL) == REPL_SAME) {
            return i;
        }
    }
    if (w->lineage_count == LINEAGES_MAX) {
        sim_fail(&w->engine, "contract", "more than %d lineages", LINEAGES_MAX);
    }
    w->lineages[w->lineage_count] = cf_memdup(lineage, sizeof(*lineage));
    return w->lineage_count++;
}

const struct repl_lineage *lineage_of(const struct world *w, unsigned id)
{
    return w->lineages[id];
}

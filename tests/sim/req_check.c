/* tests/sim/req_check.c: the state as the log says, and what must hold. */
#include "req_world.h"

#include <string.h>

#define SECOND ((int64_t)1000000000)
/* Good clocks are within two seconds of the truth, drift and slewing beside. */
#define AHEAD_MAX (6 * SECOND)

static bool is_below(const struct effect *prefix, struct cf_slice name)
{
    return name.size >= prefix->size && memcmp(name.data, prefix->name, prefix->size) == 0;
}

static bool decides(const struct effect *effect, struct key key, uint64_t hash)
{
    return effect->is_prefix ? is_below(effect, key.name)
                             : effect->hash == hash && effect->size == key.name.size &&
                                   memcmp(effect->name, key.name.data, effect->size) == 0;
}

bool state_get(const struct world *w, struct key key, uint64_t at, int64_t *ret)
{
    uint64_t hash = key_hash(key);
    for (uint64_t i = at; i > 0; i--) {
        const struct entry *entry = w->log[i];
        for (unsigned k = entry->effect_count; k-- > 0;) {
            if (decides(&entry->effects[k], key, hash)) {
                *ret = entry->effects[k].value;
                return !entry->effects[k].is_prefix;
            }
        }
    }
    return false;
}

int64_t state_count(const struct world *w, struct key prefix, uint64_t at)
{
    int64_t count = 0;
    for (uint64_t i = at; i > 0; i--) {
        const struct entry *entry = w->log[i];
        for (unsigned k = entry->effect_count; k-- > 0;) {
            const struct effect *effect = &entry->effects[k];
            if (effect->is_prefix && is_below(effect, prefix.name)) {
                return count; /* deleted as a whole; names are made once */
            }
            count += !effect->is_prefix && effect->size > prefix.name.size &&
                     memcmp(effect->name, prefix.name.data, prefix.name.size) == 0;
        }
    }
    return count;
}

uint64_t state_conflict(const struct world *w, const struct run *run, bool *by_range)
{
    const struct window_claim *claim = &run->claim;
    *by_range = false;
    for (uint64_t i = w->last; i > run->view; i--) {
        const struct entry *entry = w->log[i];
        for (unsigned k = 0; k < entry->effect_count; k++) {
            const struct effect *effect = &entry->effects[k];
            for (size_t r = 0; r < claim->read_count; r++) {
                if (!effect->is_prefix && effect->hash == claim->reads[r]) {
                    return i;
                }
            }
            struct cf_slice name = cf_slice_of(effect->name, effect->size);
            for (size_t r = 0; r < claim->range_count; r++) {
                if (cf_slice_starts(name, claim->ranges[r].name) ||
                    (effect->is_prefix && cf_slice_starts(claim->ranges[r].name, name))) {
                    *by_range = true;
                    return i;
                }
            }
            for (size_t r = 0; effect->is_prefix && r < claim->write_count; r++) {
                if (cf_slice_starts(claim->writes[r].name, name)) {
                    return i;
                }
            }
        }
    }
    return 0;
}

void check_admitted(struct world *w, const struct run *run)
{
    bool by_range;
    uint64_t index = state_conflict(w, run, &by_range);
    if (index != 0) {
        sim_fail(&w->engine, by_range ? "no phantom" : "no lost update",
                 "an append read at %llu what entry %llu changed", (unsigned long long)run->view,
                 (unsigned long long)index);
    }
}

static void check_request(struct world *w, const struct entry *entry, struct request *rq)
{
    if (entry->is_record_only) {
        return;
    }
    if (++rq->effects > 1) {
        sim_fail(&w->engine, "no double execution", "request %u has %u effects", rq->number,
                 rq->effects);
    }
    rq->effect_answer = entry->answer;
    if (rq->outcome == ENDED_ERROR || rq->outcome == ENDED_UNTOUCHED) {
        sim_fail(&w->engine, "an error means no effect", "request %u was refused", rq->number);
    }
}

static void check_stamp(struct world *w, const struct entry *entry, uint64_t index)
{
    if (index > 1 && entry->stamp_ns <= w->log[index - 1]->stamp_ns) {
        sim_fail(&w->engine, "stamps grow", "%lld after %lld", (long long)entry->stamp_ns,
                 (long long)w->log[index - 1]->stamp_ns);
    }
    int64_t ahead = entry->stamp_ns - (int64_t)entry->true_us * 1000;
    if (ahead > AHEAD_MAX) {
        sim_fail(&w->engine, "one wrong clock expires nothing", "a stamp is %lld s ahead",
                 (long long)(ahead / SECOND));
    }
}

void check_commit(struct world *w, const struct entry *entry, uint64_t index)
{
    int64_t now = 0;
    check_stamp(w, entry, index);
    if (!entry->is_record_only && (entry->what == DO_INCREMENT || entry->what == DO_CAS)) {
        struct key key = {CLASS_CLUSTER, 0,
                          cf_slice_of(entry->effects[0].name, entry->effects[0].size)};
        if (!state_get(w, key, index - 1, &now)) {
            now = 0;
        }
        if (now != entry->saw) {
            sim_fail(&w->engine, "no lost update", "entry %llu adds to %lld, there is %lld",
                     (unsigned long long)index, (long long)entry->saw, (long long)now);
        }
    } else if (!entry->is_record_only && entry->what == DO_COUNT_RANGE) {
        struct key prefix = {CLASS_CLUSTER, 0, CF_SLICE("r/")};
        now = state_count(w, prefix, index - 1);
        if (now != entry->saw) {
            sim_fail(&w->engine, "no phantom", "entry %llu counted %lld, there are %lld",
                     (unsigned long long)index, (long long)entry->saw, (long long)now);
        }
    }
    if (entry->request != 0) {
        check_request(w, entry, &w->requests[entry->request - 1]);
    }
}

void check_ended(struct world *w, const struct request *rq)
{
    bool refused = rq->outcome == ENDED_ERROR || rq->outcome == ENDED_UNTOUCHED;
    if (refused && rq->effects != 0) {
        sim_fail(&w->engine, "an error means no effect", "request %u was refused, and has one",
                 rq->number);
    }
    if (rq->outcome == ENDED_OK && (rq->effects != 1 || rq->answer != rq->effect_answer)) {
        sim_fail(&w->engine, "an answer is the effect's", "request %u: %u effects, %lld for %lld",
                 rq->number, rq->effects, (long long)rq->answer, (long long)rq->effect_answer);
    }
}

void check_all(struct world *w)
{
    for (uint32_t i = 0; i < w->request_count; i++) {
        const struct request *rq = &w->requests[i];
        if (rq->outcome == NOT_ENDED) {
            sim_fail(&w->engine, "every request ends", "request %u has not", rq->number);
        }
        check_ended(w, rq);
    }
}

/* replication/core/lineage.c: lineages compared, extended, as bytes. */
#include "replication/core/lineage.h"

#include "replication/core/mutant.h"

enum { LINEAGE_VERSION = 1, LINEAGE_OF_SET = 1, BRANCH_SIZE = 20 + 20 + 16 + 1 };
#define HEADER_SIZE ((size_t)6)
_Static_assert(HEADER_SIZE + (size_t)REPL_LINEAGE_MAX * BRANCH_SIZE <= REPL_LINEAGE_SIZE_MAX,
               "a full lineage fits");

struct repl_epoch repl_lineage_current(const struct repl_lineage *lineage)
{
    struct repl_epoch none = {0};
    return lineage->count > 0 ? lineage->branches[lineage->count - 1].epoch : none;
}

int repl_lineage_find(const struct repl_lineage *lineage, const struct repl_epoch *epoch)
{
    for (size_t i = 0; i < lineage->count; i++) {
        if (repl_epoch_equal(&lineage->branches[i].epoch, epoch)) {
            return (int)i;
        }
    }
    return -1;
}

/* The same epoch with another branch point is another history: nobody raises one twice. */
static bool same_branch(const struct repl_branch *a, const struct repl_branch *b)
{
    return repl_epoch_equal(&a->epoch, &b->epoch) && repl_epoch_equal(&a->parent, &b->parent) &&
           a->term == b->term && a->index == b->index;
}

static size_t common_count(const struct repl_lineage *a, const struct repl_lineage *b)
{
    size_t count = 0;
    while (count < a->count && count < b->count &&
           same_branch(&a->branches[count], &b->branches[count])) {
        count++;
    }
    return count;
}

enum repl_relation repl_lineage_compare(const struct repl_lineage *ours,
                                        const struct repl_lineage *theirs, size_t *common)
{
    size_t shared = common_count(ours, theirs);
    if (common != NULL) {
        *common = shared;
    }
    if (shared == ours->count && shared == theirs->count) {
        return REPL_SAME;
    }
    if (shared == ours->count) {
        return REPL_OURS_OLDER;
    }
    if (shared == theirs->count) {
        return REPL_THEIRS_OLDER;
    }
    struct repl_epoch mine = repl_lineage_current(ours), other = repl_lineage_current(theirs);
    return repl_epoch_cmp(&mine, &other) < 0 ? REPL_DIVERGED_LOST : REPL_DIVERGED_WON;
}

bool repl_lineage_branch_point(const struct repl_lineage *a, const struct repl_lineage *b,
                               struct repl_position *ret)
{
    size_t shared = common_count(a, b);
    if (shared == 0) {
        return false;
    }
    struct repl_position point = {.epoch = a->branches[shared - 1].epoch, .index = UINT64_MAX};
    const struct repl_lineage *both[2] = {a, b};
    for (size_t i = 0; i < 2; i++) {
        if (shared < both[i]->count && both[i]->branches[shared].index < point.index) {
            point.term = both[i]->branches[shared].term;
            point.index = both[i]->branches[shared].index;
        }
    }
    *ret = point;
    return true;
}

bool repl_lineage_includes(const struct repl_lineage *lineage, const struct repl_position *position)
{
    if (position->index == 0) {
        return true;
    }
    int at = repl_lineage_find(lineage, &position->epoch);
    if (at < 0) {
        return false;
    }
    if ((size_t)at + 1 == lineage->count) {
        return true;
    }
    const struct repl_branch *left = &lineage->branches[at + 1];
    return position->index <= left->index && position->term <= left->term;
}

cf_status repl_lineage_raise(struct repl_lineage *lineage, const struct repl_epoch *epoch,
                             const struct repl_position *at, struct cf_error *err)
{
    struct repl_epoch current = repl_lineage_current(lineage);
    struct repl_branch branch = {.epoch = *epoch};
    size_t keep = 0;
    if (epoch->number <= current.number) {
        return cf_fail(err, CF_INVALID, "epoch %u is not above %u", epoch->number, current.number);
    }
    if (lineage->count > 0) {
        int found = at->index != 0 ? repl_lineage_find(lineage, &at->epoch) : -1;
        if (found < 0 || !repl_lineage_includes(lineage, at)) {
            return cf_fail(err, CF_INVALID, "a branch point outside of the lineage");
        }
        keep = (size_t)found + 1;
        branch.parent = at->epoch;
        branch.term = at->term;
        branch.index = at->index;
    }
    if (keep == REPL_LINEAGE_MAX) {
        return cf_fail(err, CF_TOO_LARGE, "a lineage of more than %d epochs", REPL_LINEAGE_MAX);
    }
    lineage->count = keep + 1;
    lineage->branches[keep] = branch;
    return CF_OK;
}

struct repl_position repl_lineage_beginning(const struct repl_lineage *lineage)
{
    return (struct repl_position){.epoch = lineage->branches[0].epoch, .term = 1, .index = 1};
}

static bool has_id(const struct repl_lineage *lineage, const struct repl_epoch *epoch)
{
    for (size_t i = 0; i < lineage->count; i++) {
        if (memcmp(lineage->branches[i].epoch.id, epoch->id, sizeof(epoch->id)) == 0) {
            return true;
        }
    }
    return false;
}

/* How many promotions of the line up to that place the set does not know of yet. */
static unsigned unknown_to(const struct repl_lineage *set, const struct repl_lineage *line, int place)
{
    unsigned count = 0;
    for (; place > 0 && !has_id(set, &line->branches[place].epoch); place--) {
        count++;
    }
    return REPL_MUTATED(REPL_MUTANT_SET_ANYWHERE) ? 0 : count;
}

static struct repl_epoch next_of(const struct repl_lineage *lineage, const uint8_t id[16])
{
    struct repl_epoch next = {.number = repl_lineage_current(lineage).number + 1};
    memcpy(next.id, id, sizeof(next.id));
    return next;
}

cf_status repl_lineage_promote(struct repl_lineage *line, struct repl_lineage *set,
                               const struct repl_position *at, const uint8_t id[16],
                               struct cf_error *err)
{
    struct repl_epoch next = next_of(line, id);
    if (set != NULL && set->count > 0) {
        struct repl_epoch next_set = next_of(set, id);
        struct repl_position at_set = {repl_lineage_current(set), at->term, at->index};
        if (unknown_to(set, line, repl_lineage_find(line, &at->epoch)) > 0) {
            at_set = repl_lineage_beginning(set);
        }
        /* Each promotion of the line has raised the set, also one that the line adopted without its data: ours
         * must not be taken for an older one there, and for a newer one in the line. */
        next_set.number += unknown_to(set, line, (int)line->count - 1);
        if (REPL_MUTATED(REPL_MUTANT_TWO_IDS)) {
            next_set.id[0] ^= 0xff;
        }
        CF_TRY(repl_lineage_raise(set, &next_set, &at_set, err));
    }
    return repl_lineage_raise(line, &next, at, err);
}

static void add_epoch(const struct repl_epoch *epoch, struct cf_buf *out)
{
    cf_buf_add_u32(out, epoch->number);
    cf_buf_add(out, epoch->id, sizeof(epoch->id));
}

static struct repl_epoch get_epoch(const uint8_t *from)
{
    struct repl_epoch epoch = {.number = cf_get_u32(from)};
    memcpy(epoch.id, from + 4, sizeof(epoch.id));
    return epoch;
}

void repl_lineage_encode(const struct repl_lineage *lineage, struct cf_buf *out)
{
    cf_buf_add_byte(out, LINEAGE_VERSION);
    cf_buf_add_byte(out, LINEAGE_OF_SET);
    cf_buf_add_u32(out, (uint32_t)lineage->count);
    for (size_t i = 0; i < lineage->count; i++) {
        const struct repl_branch *branch = &lineage->branches[i];
        add_epoch(&branch->epoch, out);
        add_epoch(&branch->parent, out);
        cf_buf_add_u64(out, branch->term);
        cf_buf_add_u64(out, branch->index);
        cf_buf_add_byte(out, 0);
    }
}

static cf_status check_branch(const struct repl_lineage *lineage, size_t at, struct cf_error *err)
{
    const struct repl_branch *branch = &lineage->branches[at];
    struct repl_epoch parent = {0};
    if (at > 0) {
        parent = lineage->branches[at - 1].epoch;
    }
    if (!repl_epoch_equal(&branch->parent, &parent) || branch->epoch.number <= parent.number ||
        (branch->index == 0) != (branch->term == 0) || branch->index == UINT64_MAX) {
        return cf_fail(err, CF_CORRUPT, "an impossible lineage");
    }
    return CF_OK;
}

cf_status repl_lineage_decode(struct cf_slice bytes, struct repl_lineage *ret, struct cf_error *err)
{
    if (bytes.size < HEADER_SIZE) {
        return cf_fail(err, CF_CORRUPT, "a lineage of %zu bytes", bytes.size);
    }
    if (bytes.data[0] != LINEAGE_VERSION || bytes.data[1] != LINEAGE_OF_SET) {
        return cf_fail(err, CF_UNSUPPORTED, "a lineage of version %u, kind %u", bytes.data[0],
                       bytes.data[1]);
    }
    size_t count = cf_get_u32(bytes.data + 2);
    if (count > REPL_LINEAGE_MAX || bytes.size != HEADER_SIZE + count * BRANCH_SIZE) {
        return cf_fail(err, CF_CORRUPT, "a lineage of %zu bytes for %zu epochs", bytes.size, count);
    }
    struct repl_lineage lineage = {.count = count};
    for (size_t i = 0; i < count; i++) {
        const uint8_t *from = bytes.data + HEADER_SIZE + i * BRANCH_SIZE;
        lineage.branches[i] = (struct repl_branch){.epoch = get_epoch(from),
                                                   .parent = get_epoch(from + 20),
                                                   .term = cf_get_u64(from + 40),
                                                   .index = cf_get_u64(from + 48)};
        CF_TRY(check_branch(&lineage, i, err));
    }
    *ret = lineage;
    return CF_OK;
}

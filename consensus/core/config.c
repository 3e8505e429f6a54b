/* consensus/core/config.c
 *
 * Which configuration is in force: the newest of the log, from the moment it is appended (thesis
 * 4.1), with everything needed to take it back when the entry is truncated. And how a leader
 * changes it: one step where that is safe, else through a joint configuration that it leaves by
 * itself.
 */
#include "consensus/core/raft_int.h"

const struct raft_config *raft_config_in_force(const struct raft *r)
{
    return r->configs.list[r->configs.count - 1];
}

const struct raft_config *raft_config_at(const struct raft *r, uint64_t index)
{
    size_t at = r->configs.count - 1;
    while (at > 0 && r->configs.list[at]->index > index) {
        at--;
    }
    return r->configs.list[at];
}

bool raft_config_is_committed(const struct raft *r)
{
    return raft_config_in_force(r)->index <= r->log.commit;
}

/* Something else is in force now. */
static void changed(struct raft *r)
{
    r->membership_changed = true;
    if (raft_membership_find(&raft_config_in_force(r)->membership, r->options.id) != NULL) {
        r->was_member = true;
        r->told_removed = false;
    }
    memset(r->votes, VOTE_UNKNOWN, sizeof(r->votes));
    if (r->role == RAFT_LEADER) {
        raft_replicate_sync_peers(r);
    }
}

static void push(struct raft *r, uint64_t index, uint64_t term, const struct raft_membership *m)
{
    struct raft_configs *c = &r->configs;
    raft_grow(&c->list, &c->capacity, c->count + 1, sizeof(c->list[0]));
    struct raft_config *config = cf_new(struct raft_config);
    *config = (struct raft_config){index, term, *m};
    c->list[c->count++] = config;
}

void raft_config_push(struct raft *r, uint64_t index, uint64_t term,
                      const struct raft_membership *m)
{
    push(r, index, term, m);
    changed(r);
}

void raft_config_rollback(struct raft *r, uint64_t from)
{
    struct raft_configs *c = &r->configs;
    bool any = false;
    if (MUTANT(MUTANT_CONFIG_NO_ROLLBACK)) {
        return;
    }
    while (c->count > 1 && c->list[c->count - 1]->index >= from) {
        cf_free(c->list[--c->count]);
        any = true;
    }
    if (any) {
        changed(r);
    }
}

void raft_configs_done(struct raft_configs *configs)
{
    for (size_t i = 0; i < configs->count; i++) {
        cf_free(configs->list[i]);
    }
    cf_free(configs->list);
    *configs = (struct raft_configs){0};
}

void raft_config_reset(struct raft *r, const struct raft_base *base)
{
    raft_configs_done(&r->configs);
    push(r, base->index, base->term, &base->membership);
    changed(r);
}

void raft_config_compact(struct raft *r, uint64_t index)
{
    struct raft_configs *c = &r->configs;
    size_t drop = 0;
    while (drop + 1 < c->count &&
           (c->list[drop + 1]->index <= index || MUTANT(MUTANT_CONFIG_COMPACTED))) {
        cf_free(c->list[drop++]);
    }
    c->count -= drop;
    memmove(c->list, c->list + drop, c->count * sizeof(c->list[0]));
}

bool raft_is_removed(const struct raft *r)
{
    const struct raft_membership *committed = &raft_config_at(r, r->log.commit)->membership;
    const struct raft_membership *newest = &raft_config_in_force(r)->membership;
    return r->told_removed || (r->was_member && committed->count != 0 &&
                               raft_membership_find(committed, r->options.id) == NULL &&
                               raft_membership_find(newest, r->options.id) == NULL);
}

/* ---- changing it ---------------------------------------------------------------------------- */

static void append_config(struct raft *r, const struct raft_membership *m)
{
    CF_BUF(payload) = {.max = 0};
    raft_membership_encode(m, &payload);
    struct raft_entry *entry = raft_entry_new(RAFT_ENTRY_CONFIG, 0, cf_buf_slice(&payload));
    raft_replicate_append(r, entry);
    raft_entry_unref(entry);
    raft_config_push(r, r->log.last, r->term, m);
}

/* How many votes differ between the two (both simple). */
static unsigned votes_changed(const struct raft_membership *a, const struct raft_membership *b)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < a->count; i++) {
        if ((a->members[i].role & RAFT_VOTER) != 0) {
            count += !raft_membership_votes(b, a->members[i].id);
        }
    }
    for (uint32_t i = 0; i < b->count; i++) {
        if ((b->members[i].role & RAFT_VOTER) != 0) {
            count += !raft_membership_votes(a, b->members[i].id);
        }
    }
    return count;
}

/* The joint configuration between two simple ones. */
static cf_status join(const struct raft_membership *old, const struct raft_membership *target,
                      struct raft_membership *ret, struct cf_error *err)
{
    struct raft_membership joint = *target;
    for (uint32_t i = 0; i < old->count; i++) {
        const struct raft_member *voter = &old->members[i];
        if ((voter->role & RAFT_VOTER) == 0) {
            continue;
        }
        const struct raft_member *after = raft_membership_find(target, voter->id);
        uint8_t role = (uint8_t)(RAFT_OUTGOING | (after != NULL ? after->role : 0));
        const struct raft_member *texts = after != NULL ? after : voter;
        CF_TRY(raft_membership_set(&joint, voter->id, role, texts->features, texts->address,
                                   texts->name, err));
    }
    CF_TRY(raft_membership_check(&joint, err));
    *ret = joint;
    return CF_OK;
}

/* What a joint configuration becomes. */
static struct raft_membership leave(const struct raft_membership *joint)
{
    struct raft_membership simple = {0};
    for (uint32_t i = 0; i < joint->count; i++) {
        struct raft_member member = joint->members[i];
        member.role &= (uint8_t)~RAFT_OUTGOING;
        if (member.role != 0) {
            simple.members[simple.count++] = member;
        }
    }
    return simple;
}

static cf_status check_target(const struct raft *r, const struct raft_membership *target,
                              struct cf_error *err)
{
    CF_TRY(raft_membership_check(target, err));
    if (raft_membership_is_joint(target)) {
        return cf_fail(err, CF_INVALID, "the target configuration must not be joint");
    }
    for (uint32_t i = 0; i < target->count; i++) {
        const struct raft_member *m = &target->members[i];
        if (memchr(m->address, 0, sizeof(m->address)) == NULL ||
            memchr(m->name, 0, sizeof(m->name)) == NULL) {
            return cf_fail(err, CF_INVALID, "address or name of a cluster member is too long");
        }
    }
    if (raft_membership_equal(target, &raft_config_in_force(r)->membership)) {
        return cf_fail(err, CF_EXISTS, "the configuration is the one in force");
    }
    return CF_OK;
}

cf_status raft_change_membership(struct raft *r, uint64_t now_us,
                                 const struct raft_membership *target, uint64_t *ret_index,
                                 struct cf_error *err)
{
    raft_advance_time(r, now_us);
    if (r->role != RAFT_LEADER) {
        return cf_fail(err, CF_NOT_LEADER, "this node does not lead the cluster");
    }
    /* Ongaro 2015: without an entry of this term committed, two leaders could change one voter each
     * away from the same configuration, and their majorities need not meet. */
    if (!raft_read_is_ready(r) && !MUTANT(MUTANT_CHANGE_BEFORE_COMMIT)) {
        return cf_fail(err, CF_BUSY, "the leader has not committed an entry of its term yet");
    }
    const struct raft_membership *now = &raft_config_in_force(r)->membership;
    if (r->transfer_to != RAFT_NONE || raft_membership_is_joint(now) ||
        (!raft_config_is_committed(r) && !MUTANT(MUTANT_CHANGE_BEFORE_COMMIT))) {
        return cf_fail(err, CF_BUSY, "another change of the cluster is under way");
    }
    CF_TRY(check_target(r, target, err));
    struct raft_membership next = *target;
    if (votes_changed(now, target) > 1) {
        CF_TRY(join(now, target, &next, err));
    }
    append_config(r, &next);
    *ret_index = r->log.last;
    return CF_OK;
}

void raft_config_committed(struct raft *r)
{
    bool committed = raft_config_is_committed(r) || MUTANT(MUTANT_JOINT_LEFT_EARLY);
    if (r->role != RAFT_LEADER || !committed) {
        return;
    }
    const struct raft_membership *m = &raft_config_in_force(r)->membership;
    if (raft_membership_is_joint(m)) {
        /* Also a joint configuration that an earlier leader began: it is committed beneath an
         * entry of this term by now (camunda#60086). */
        struct raft_membership simple = leave(m);
        append_config(r, &simple);
    } else if (!raft_membership_votes(m, r->options.id) && !MUTANT(MUTANT_REMOVED_LEADER_STAYS)) {
        raft_transfer_and_leave(r); /* thesis 4.2.2: removed itself */
    }
}

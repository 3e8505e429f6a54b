/* consensus/core/amnesia.c
 *
 * A node whose disk went back in time (an older image of the machine was restored) has forgotten entries that it
 * acknowledged, and votes that it gave. Its log looks sound, so only others can tell (consensus.md 13.8): each node
 * remembers, of each member, the highest entry that it acknowledged and that is committed, and says so in every message
 * to it. Committed entries are never truncated: who lacks that one, or has another in its place, has lost it. It is
 * RECOVERING and AMNESIAC then: no vote and no candidacy any more, under this id (README.md). Who knows of its loss by
 * itself (damage that was found) has its term and vote, and is merely RECOVERING.
 *
 * Only a leader hears acknowledgements. It spreads what it remembers in its heartbeats, one member in each, so that the
 * memory survives it; a node that refuses a candidate for it says why in the same message.
 */
#include "consensus/core/raft_int.h"

static struct raft_acked *find(struct raft *r, uint64_t id)
{
    for (size_t i = 0; i < CF_LENGTH(r->acked); i++) {
        if (r->acked[i].id == id) {
            return &r->acked[i];
        }
    }
    return NULL;
}

/* For somebody new: nobody's place, or that of one that is no member any more. */
static struct raft_acked *place(struct raft *r)
{
    struct raft_acked *free = find(r, RAFT_NONE);
    const struct raft_membership *m = &raft_config_in_force(r)->membership;
    for (size_t i = 0; free == NULL && i < CF_LENGTH(r->acked); i++) {
        free = raft_membership_find(m, r->acked[i].id) == NULL ? &r->acked[i] : NULL;
    }
    return free;
}

void raft_amnesia_note(struct raft *r, uint64_t id, uint64_t index, uint64_t term)
{
    if (id == RAFT_NONE || index == 0 || term == 0) {
        return;
    }
    struct raft_acked *acked = find(r, id);
    if (acked == NULL && (acked = place(r)) != NULL) {
        *acked = (struct raft_acked){.id = id};
    }
    if (acked != NULL && index > acked->index) {
        acked->index = index;
        acked->term = term;
    }
}

void raft_amnesia_note_peers(struct raft *r)
{
    for (size_t i = 0; i < r->peer_count; i++) {
        uint64_t match = r->peers[i].match, term;
        uint64_t index = match < r->log.commit ? match : r->log.commit;
        if (raft_log_term(&r->log, index, &term)) {
            raft_amnesia_note(r, r->peers[i].id, index, term);
        }
    }
}

void raft_amnesia_tell(struct raft *r, struct raft_msg *m)
{
    const struct raft_acked *own = find(r, m->to);
    size_t count = 0;
    if (own != NULL && own->id != RAFT_NONE) {
        m->acked = *own;
    }
    while (count < CF_LENGTH(r->acked) && r->acked[count].id != RAFT_NONE) {
        count++;
    }
    for (size_t i = 0; m->kind == RAFT_MSG_HEARTBEAT && i < count; i++) {
        const struct raft_acked *other = &r->acked[(r->round + i) % count]; /* another one in each round */
        if (other->id != m->to) {
            m->acked_other = *other;
            return;
        }
    }
}

uint32_t raft_amnesia_condition(const struct raft *r)
{
    bool known = (r->condition & RAFT_RECOVERING) != 0; /* damage, which is mended */
    return RAFT_RECOVERING | (known || r->options.amnesia_ends ? 0 : RAFT_AMNESIAC);
}

bool raft_amnesia_forgot(struct raft *r, const struct raft_msg *vote)
{
    const struct raft_acked *acked = find(r, vote->from);
    return acked != NULL && acked->index > vote->log_index && !MUTANT(MUTANT_COMMIT_BEYOND_CLAMPED);
}

void raft_amnesia_hear(struct raft *r, const struct raft_msg *m)
{
    uint64_t term;
    const struct raft_acked *acked = &m->acked;
    bool lost = acked->index > r->log.last ||
                (raft_log_term(&r->log, acked->index, &term) && term != acked->term);
    if (acked->index != 0 && lost && (r->condition & RAFT_RECOVERING) == 0 &&
        !MUTANT(MUTANT_COMMIT_BEYOND_CLAMPED)) {
        r->counters.amnesia++;
        raft_set_condition(r, r->now_us, r->condition | raft_amnesia_condition(r));
        if (r->role != RAFT_LEADER) {
            r->role = RAFT_FOLLOWER;
            r->own_vote_waits = false;
        }
    }
    raft_amnesia_note(r, m->acked_other.id, m->acked_other.index, m->acked_other.term);
}

/* consensus/core/membership.c: configurations as values: editing, checking, encoding. */
#include "consensus/core/raft_int.h"

#define ENCODING_VERSION 1

const struct raft_member *raft_membership_find(const struct raft_membership *m, uint64_t id)
{
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->members[i].id == id) {
            return &m->members[i];
        }
    }
    return NULL;
}

static bool role_is_possible(uint8_t role)
{
    return role == RAFT_VOTER || role == RAFT_LEARNER || role == RAFT_OUTGOING ||
           role == (RAFT_VOTER | RAFT_OUTGOING) || role == (RAFT_LEARNER | RAFT_OUTGOING);
}

cf_status raft_membership_set(struct raft_membership *m, uint64_t id, uint8_t role,
                              uint32_t features, const char *address, const char *name,
                              struct cf_error *err)
{
    if (id == RAFT_NONE || !role_is_possible(role)) {
        return cf_fail(err, CF_INVALID, "impossible member of a cluster");
    }
    if (strlen(address) >= RAFT_ADDRESS_MAX || strlen(name) >= RAFT_NAME_MAX) {
        return cf_fail(err, CF_TOO_LARGE, "address or name of a cluster member is too long");
    }
    uint32_t at = 0;
    while (at < m->count && m->members[at].id < id) {
        at++;
    }
    if (at == m->count || m->members[at].id != id) {
        if (m->count == RAFT_MEMBERS_MAX) {
            return cf_fail(err, CF_TOO_LARGE, "a cluster has at most %d members", RAFT_MEMBERS_MAX);
        }
        memmove(&m->members[at + 1], &m->members[at], (m->count - at) * sizeof(m->members[0]));
        m->count++;
    }
    m->members[at] = (struct raft_member){.id = id, .role = role, .features = features};
    memcpy(m->members[at].address, address, strlen(address));
    memcpy(m->members[at].name, name, strlen(name));
    return CF_OK;
}

bool raft_membership_remove(struct raft_membership *m, uint64_t id)
{
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->members[i].id == id) {
            m->count--;
            memmove(&m->members[i], &m->members[i + 1], (m->count - i) * sizeof(m->members[0]));
            return true;
        }
    }
    return false;
}

bool raft_membership_is_joint(const struct raft_membership *m)
{
    for (uint32_t i = 0; i < m->count; i++) {
        if ((m->members[i].role & RAFT_OUTGOING) != 0) {
            return true;
        }
    }
    return false;
}

bool raft_membership_votes(const struct raft_membership *m, uint64_t id)
{
    const struct raft_member *member = raft_membership_find(m, id);
    return member != NULL && (member->role & (RAFT_VOTER | RAFT_OUTGOING)) != 0;
}

bool raft_membership_equal(const struct raft_membership *a, const struct raft_membership *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        const struct raft_member *x = &a->members[i], *y = &b->members[i];
        if (x->id != y->id || x->role != y->role || x->features != y->features ||
            strcmp(x->address, y->address) != 0 || strcmp(x->name, y->name) != 0) {
            return false;
        }
    }
    return true;
}

cf_status raft_membership_check(const struct raft_membership *m, struct cf_error *err)
{
    unsigned voters = 0, outgoing = 0;
    if (m->count > RAFT_MEMBERS_MAX) {
        return cf_fail(err, CF_INVALID, "a cluster has at most %d members", RAFT_MEMBERS_MAX);
    }
    for (uint32_t i = 0; i < m->count; i++) {
        const struct raft_member *member = &m->members[i];
        if (member->id == RAFT_NONE || (i > 0 && member->id <= m->members[i - 1].id)) {
            return cf_fail(err, CF_INVALID, "member ids are zero, repeated or out of order");
        }
        if (!role_is_possible(member->role)) {
            return cf_fail(err, CF_INVALID, "a member's role is impossible");
        }
        voters += (member->role & RAFT_VOTER) != 0;
        outgoing += (member->role & RAFT_OUTGOING) != 0;
    }
    if (voters == 0) {
        return cf_fail(err, CF_INVALID, "a cluster needs at least one voter");
    }
    if (voters > RAFT_VOTERS_MAX || outgoing > RAFT_VOTERS_MAX) {
        return cf_fail(err, CF_INVALID, "a cluster has at most %d voters", RAFT_VOTERS_MAX);
    }
    return CF_OK;
}

static void add_text(struct cf_buf *out, const char *text)
{
    size_t size = strlen(text);
    cf_buf_add_byte(out, (uint8_t)size);
    cf_buf_add(out, text, size);
}

void raft_membership_encode(const struct raft_membership *m, struct cf_buf *out)
{
    cf_buf_add_byte(out, ENCODING_VERSION);
    cf_buf_add_byte(out, (uint8_t)m->count);
    for (uint32_t i = 0; i < m->count; i++) {
        cf_buf_add_u64(out, m->members[i].id);
        cf_buf_add_byte(out, m->members[i].role);
        cf_buf_add_u32(out, m->members[i].features);
        add_text(out, m->members[i].address);
        add_text(out, m->members[i].name);
    }
}

static bool take(struct cf_slice *from, size_t size, const uint8_t **ret)
{
    if (from->size < size) {
        return false;
    }
    *ret = from->data;
    *from = cf_slice_from(*from, size);
    return true;
}

static bool take_text(struct cf_slice *from, char *to, size_t max)
{
    const uint8_t *at;
    if (!take(from, 1, &at)) {
        return false;
    }
    size_t size = *at;
    if (size >= max || !take(from, size, &at) || memchr(at, 0, size) != NULL) {
        return false;
    }
    memcpy(to, at, size);
    return true;
}

static bool take_member(struct cf_slice *from, struct raft_member *ret)
{
    const uint8_t *at;
    if (!take(from, 13, &at)) {
        return false;
    }
    ret->id = cf_get_u64(at);
    ret->role = at[8];
    ret->features = cf_get_u32(at + 9);
    return take_text(from, ret->address, sizeof(ret->address)) &&
           take_text(from, ret->name, sizeof(ret->name));
}

cf_status raft_membership_decode(struct cf_slice bytes, struct raft_membership *ret,
                                 struct cf_error *err)
{
    struct raft_membership m = {0};
    const uint8_t *at;
    if (!take(&bytes, 2, &at) || at[0] != ENCODING_VERSION || at[1] > RAFT_MEMBERS_MAX) {
        return cf_fail(err, CF_CORRUPT, "malformed cluster configuration");
    }
    m.count = at[1];
    for (uint32_t i = 0; i < m.count; i++) {
        if (!take_member(&bytes, &m.members[i])) {
            return cf_fail(err, CF_CORRUPT, "malformed cluster configuration");
        }
    }
    if (bytes.size != 0 || (m.count != 0 && raft_membership_check(&m, NULL) != CF_OK)) {
        return cf_fail(err, CF_CORRUPT, "malformed cluster configuration");
    }
    *ret = m;
    return CF_OK;
}

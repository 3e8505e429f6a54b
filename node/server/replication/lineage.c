/* node/server/replication/lineage.c: the lineage of epochs in the store. */
#include "node/server/replication/lineage.h"

#include "node/base/memory.h"
#include "replication/core/lineage.h"

static cf_status read_lineage(struct request *rq, enum set_kind kind, struct repl_lineage **ret,
                              struct cf_error *err)
{
    struct cf_slice bytes;
    *ret = arena_new_object(rq->arena, struct repl_lineage);
    cf_status status = txn_get(rq->txn, set_lineage_key(kind), &bytes, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    return repl_lineage_decode(bytes, *ret, err);
}

static void write_lineage(struct request *rq, enum set_kind kind, const struct repl_lineage *lineage)
{
    CF_BUF(bytes) = {0};
    repl_lineage_encode(lineage, &bytes);
    txn_put(rq->txn, set_lineage_key(kind), cf_buf_slice(&bytes));
    txn_delete(rq->txn, set_proof_key(kind)); /* of the epoch before; ours is signed when asked for */
}

static cf_status raise(struct request *rq, enum set_kind kind, struct repl_lineage *lineage,
                       const struct repl_position *at, struct cf_error *err)
{
    struct repl_epoch epoch = {.number = repl_lineage_current(lineage).number + 1};
    cf_random_fill(rq->random, epoch.id, sizeof(epoch.id));
    CF_TRY(repl_lineage_raise(lineage, &epoch, at, err));
    write_lineage(rq, kind, lineage);
    return CF_OK;
}

/* The lineage is its primary's then: what becomes of our own log does not branch it. */
static bool is_follower(struct request *rq, enum set_kind kind)
{
    struct set_link link;
    return set_read_link(rq, kind, &link, NULL) == CF_OK && !cf_slice_is(link.state, "promoted");
}

cf_status lineage_ensure(struct request *rq, enum set_kind kind, struct cf_error *err)
{
    struct repl_lineage *lineage;
    CF_TRY(read_lineage(rq, kind, &lineage, err));
    return lineage->count != 0 ? CF_OK
                               : raise(rq, kind, lineage, &(struct repl_position){0}, err);
}

/* The line, and the set that it is the shared primary of. */
static cf_status take_line_over(struct request *rq, struct repl_lineage *line,
                                const struct repl_position *at, struct cf_error *err)
{
    struct repl_lineage *lineage = NULL;
    struct set_primary set;
    uint8_t id[sizeof(at->epoch.id)];
    cf_status status = set_read_primary(rq, SET_PERFORMANCE, &set, err);
    if (status == CF_OK) {
        CF_TRY(read_lineage(rq, SET_PERFORMANCE, &lineage, err));
    } else if (status != CF_NOT_FOUND) { /* a performance secondary's line, or no performance replication at all */
        return status;
    }
    cf_random_fill(rq->random, id, sizeof(id));
    CF_TRY(repl_lineage_promote(line, lineage, at, id, err));
    write_lineage(rq, SET_DR, line);
    if (lineage != NULL && lineage->count != 0) {
        write_lineage(rq, SET_PERFORMANCE, lineage);
        return CF_OK;
    }
    return lineage != NULL ? lineage_ensure(rq, SET_PERFORMANCE, err) : CF_OK;
}

cf_status lineage_promote(struct request *rq, enum set_kind kind, struct cf_error *err)
{
    struct repl_lineage *lineage;
    struct repl_position at;
    struct cf_slice bytes;
    CF_TRY(read_lineage(rq, kind, &lineage, err));
    cf_status status = txn_get(rq->txn, set_position_key(kind), &bytes, err);
    if (status == CF_NOT_FOUND) {
        /* Demoted and promoted again without ever having followed: its own log goes on. */
        return lineage_ensure(rq, kind, err);
    }
    CF_TRY(status);
    CF_TRY(repl_position_decode(bytes, &at, err));
    return kind == SET_DR ? take_line_over(rq, lineage, &at, err)
                          : raise(rq, kind, lineage, &at, err);
}

cf_status lineage_restored(struct request *rq, enum set_kind kind, struct cf_slice taken, uint64_t term,
                           uint64_t index, struct cf_error *err)
{
    struct repl_lineage *lineage;
    CF_TRY(read_lineage(rq, kind, &lineage, err));
    if (lineage->count == 0 || is_follower(rq, kind)) {
        return CF_OK;
    }
    struct repl_position at = repl_lineage_beginning(lineage);
    struct repl_lineage *then = arena_new_object(rq->arena, struct repl_lineage);
    if (taken.size != 0 && repl_lineage_decode(taken, then, NULL) == CF_OK && then->count != 0) {
        struct repl_epoch epoch = repl_lineage_current(then);
        if (repl_lineage_find(lineage, &epoch) >= 0) {
            at = (struct repl_position){epoch, term, index};
        }
    }
    return raise(rq, kind, lineage, &at, err);
}

cf_status lineage_recovered(struct request *rq, uint64_t recovery_epoch, uint64_t term,
                            uint64_t index, struct cf_error *err)
{
    struct key key = {CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(AREA_REPL "recovered")};
    struct cf_slice noted;
    struct repl_lineage *lineage;
    uint8_t now[8];
    cf_put_u64(now, recovery_epoch);
    cf_status status = recovery_epoch == 0 ? CF_OK : txn_get(rq->txn, key, &noted, err);
    if (recovery_epoch == 0 ||
        (status == CF_OK && cf_slice_eq(noted, cf_slice_of(now, sizeof(now))))) {
        return CF_OK;
    }
    if (status != CF_OK && status != CF_NOT_FOUND) {
        return status;
    }
    txn_put(rq->txn, key, cf_slice_of(now, sizeof(now)));
    for (enum set_kind kind = 0; kind < SET_KINDS; kind++) {
        CF_TRY(read_lineage(rq, kind, &lineage, err));
        if (lineage->count == 0 || is_follower(rq, kind)) {
            continue;
        }
        struct repl_position at = {repl_lineage_current(lineage), term, index};
        if (index == 0) {
            at = repl_lineage_beginning(lineage);
        }
        CF_TRY(raise(rq, kind, lineage, &at, err));
    }
    return CF_OK;
}

void lineage_forget(struct request *rq, enum set_kind kind)
{
    txn_delete(rq->txn, set_lineage_key(kind));
    txn_delete(rq->txn, set_proof_key(kind));
}

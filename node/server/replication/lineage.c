/* node/server/replication/lineage.c: the lineage of epochs in the store. */
#include "node/server/replication/lineage.h"

#include "node/base/memory.h"
#include "replication/core/lineage.h"

static cf_status read_lineage(struct request *rq, struct repl_lineage **ret, struct cf_error *err)
{
    struct cf_slice bytes;
    *ret = arena_new_object(rq->arena, struct repl_lineage);
    cf_status status = txn_get(rq->txn, set_lineage_key(), &bytes, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    return repl_lineage_decode(bytes, *ret, err);
}

static void write_lineage(struct request *rq, const struct repl_lineage *lineage)
{
    CF_BUF(bytes) = {0};
    repl_lineage_encode(lineage, &bytes);
    txn_put(rq->txn, set_lineage_key(), cf_buf_slice(&bytes));
}

static cf_status raise(struct request *rq, struct repl_lineage *lineage,
                       const struct repl_position *at, struct cf_error *err)
{
    struct repl_epoch epoch = {.number = repl_lineage_current(lineage).number + 1};
    cf_random_fill(rq->random, epoch.id, sizeof(epoch.id));
    CF_TRY(repl_lineage_raise(lineage, &epoch, at, err));
    write_lineage(rq, lineage);
    txn_delete(rq->txn, set_proof_key()); /* that was of the epoch before; ours is signed when asked for */
    return CF_OK;
}

/* Where everybody who follows has to begin anew: behind the entry that every log begins with, a
 * configuration. (Index 0 is no branch point: it stands for "nowhere yet".) */
static struct repl_position beginning(const struct repl_lineage *lineage)
{
    return (struct repl_position){.epoch = lineage->branches[0].epoch, .term = 1, .index = 1};
}

cf_status lineage_ensure(struct request *rq, struct cf_error *err)
{
    struct repl_lineage *lineage;
    CF_TRY(read_lineage(rq, &lineage, err));
    return lineage->count != 0 ? CF_OK
                               : raise(rq, lineage, &(struct repl_position){0}, err);
}

cf_status lineage_promote(struct request *rq, enum set_kind kind, struct cf_error *err)
{
    struct repl_lineage *lineage;
    struct repl_position at;
    struct cf_slice bytes;
    CF_TRY(read_lineage(rq, &lineage, err));
    cf_status status = txn_get(rq->txn, set_position_key(kind), &bytes, err);
    if (status == CF_NOT_FOUND) {
        /* Demoted and promoted again without ever having followed: its own log goes on. */
        return lineage_ensure(rq, err);
    }
    CF_TRY(status);
    CF_TRY(repl_position_decode(bytes, &at, err));
    return raise(rq, lineage, &at, err);
}

cf_status lineage_restored(struct request *rq, struct cf_slice taken, uint64_t term, uint64_t index,
                           struct cf_error *err)
{
    struct repl_lineage *lineage;
    CF_TRY(read_lineage(rq, &lineage, err));
    if (lineage->count == 0) {
        return CF_OK;
    }
    struct repl_position at = beginning(lineage);
    struct repl_lineage *then = arena_new_object(rq->arena, struct repl_lineage);
    if (taken.size != 0 && repl_lineage_decode(taken, then, NULL) == CF_OK && then->count != 0) {
        struct repl_epoch epoch = repl_lineage_current(then);
        if (repl_lineage_find(lineage, &epoch) >= 0) {
            at = (struct repl_position){epoch, term, index};
        }
    }
    return raise(rq, lineage, &at, err);
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
    CF_TRY(read_lineage(rq, &lineage, err));
    if (lineage->count == 0) {
        return CF_OK;
    }
    struct repl_position at = {repl_lineage_current(lineage), term, index};
    if (index == 0) {
        at = beginning(lineage);
    }
    return raise(rq, lineage, &at, err);
}

cf_status lineage_forget(struct request *rq, struct cf_error *err)
{
    (void)err;
    txn_delete(rq->txn, set_lineage_key());
    txn_delete(rq->txn, set_proof_key());
    return CF_OK;
}

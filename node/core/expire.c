/* node/core/expire.c: the active node's background work: what has run out is revoked.
 *
 * The store keeps an index by expiry time (AREA_EXPIRE), so that a round costs what is due and
 * nothing else. A round is an ordinary run: a view, a write set, one log entry with its read set
 * checked. */
#include <pthread.h>
#include <time.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/core_int.h"
#include "node/core/lease.h"
#include "node/core/mount_move.h"
#include "node/core/namespace.h"
#include "node/core/sys/lease_store.h"
#include "node/core/token.h"

#define ROUND_MS 500
#define DUE_MAX ((size_t)256)
/* Tokens that one round deletes, those below the ones that are due included. */
#define TOKENS_MAX ((size_t)500)

/* A busy expiry drops old request records every so many rounds. */
#define RECORDS_EVERY 16

struct expirer {
    struct core *core;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool running, stopping, is_started, is_woken;
    unsigned rounds;
    uint64_t cleaned_table; /* the tables in which no mount is left to clean up after; 0: none */
    /* of the proposal in flight */
    struct proposal proposal;
    bool done;
    cf_status status;
};

struct due {
    int64_t now_ms;
    struct arena *arena;
    struct cf_slice names[DUE_MAX];
    size_t count;
};

static bool each_due(void *context, struct cf_slice rest)
{
    struct due *due = context;
    if (rest.size < 9 || (int64_t)cf_get_u64(rest.data) > due->now_ms) {
        return false;
    }
    due->names[due->count++] = arena_copy(due->arena, rest);
    return due->count < DUE_MAX;
}

static void proposed(struct proposal *proposal, cf_status status, uint64_t index)
{
    struct expirer *expirer = cf_container(proposal, struct expirer, proposal);
    (void)index;
    pthread_mutex_lock(&expirer->lock);
    expirer->status = status;
    expirer->done = true;
    pthread_cond_signal(&expirer->wake);
    pthread_mutex_unlock(&expirer->lock);
}

static cf_status propose_and_wait(struct expirer *expirer, struct txn *txn, struct cf_error *err)
{
    struct proposer *proposer = &expirer->core->proposer;
    struct proposal *proposal = &expirer->proposal;
    *proposal = (struct proposal){.done = proposed, .deadline_us = UINT64_MAX, .frees = true};
    cf_buf_init(&proposal->payload, TRANSACTION_BYTES_MAX + COMMAND_HEADER_SIZE);
    cf_status status = txn_encode(txn, &proposal->payload, err);
    if (status == CF_OK) {
        proposal->claim = txn_claim(txn);
        proposal->claim->ticket = UINT64_MAX; /* younger than any request: it holds no ticket */
        expirer->done = false;
        proposer->propose(proposer->context, proposal);
        pthread_mutex_lock(&expirer->lock);
        while (!expirer->done) {
            pthread_cond_wait(&expirer->wake, &expirer->lock);
        }
        status = expirer->status;
        pthread_mutex_unlock(&expirer->lock);
    }
    cf_buf_done(&proposal->payload);
    return status;
}

/* ret_left: the entry stands for more than fits into one round, and stays. */
static cf_status revoke_due(struct txn *txn, struct arena *arena, struct cf_slice name,
                            size_t *room, bool *ret_left, struct cf_error *err)
{
    struct cf_slice what = cf_slice_from(name, 8);
    bool of_root = what.size == 1 + TOKEN_KEY_SIZE;
    if ((of_root || what.size == 1 + TOKEN_KEY_SIZE + 4) && what.data[0] == 't') {
        const struct token_entry *entry;
        uint32_t ns = of_root ? NAMESPACE_ROOT : cf_get_u32(what.data + 1 + TOKEN_KEY_SIZE);
        cf_status status = token_by_key(txn, arena, ns, what.data + 1, &entry, err);
        if (status == CF_OK && (uint64_t)(entry->expire_ns / 1000000) <= cf_get_u64(name.data)) {
            return token_revoke_some(txn, arena, entry, room, ret_left, err);
        }
        if (status != CF_OK && status != CF_NOT_FOUND && status != CF_DENIED) {
            return status;
        }
    }
    CF_BUF(name_buf) = {0};
    cf_buf_add_str(&name_buf, AREA_EXPIRE);
    cf_buf_add_slice(&name_buf, name);
    struct key key = {CLASS_CLUSTER, NAMESPACE_ROOT, arena_copy(arena, cf_buf_slice(&name_buf))};
    if (lease_is_prefix_entry(what)) {
        CF_TRY(lease_revoke_entry(txn, arena, key, what, DUE_MAX, ret_left, err));
    } else if (what.size != 0 && what.data[0] == LEASE_EXPIRE_TOKEN) {
        CF_TRY(lease_end_of_token(txn, arena, cf_slice_from(what, 1), DUE_MAX, ret_left, err));
    }
    if (*ret_left) {
        return CF_OK;
    }
    /* The index entry points at nothing that is due: it goes. */
    txn_delete(txn, key);
    return CF_OK;
}

/* After the tables changed, until nothing is left to do about them. */
static cf_status clean_mounts(struct expirer *expirer, struct txn *txn, struct arena *arena, struct cf_error *err)
{
    const struct view *view = txn_view(txn);
    size_t mark = txn_mark(txn);
    if (view->role != ROLE_PERFORMANCE_SECONDARY) {
        expirer->cleaned_table = 0;
        return CF_OK;
    }
    if (expirer->cleaned_table == view->namespaces->index) {
        return CF_OK;
    }
    CF_TRY(mount_clean(txn, arena, err));
    if (txn_mark(txn) == mark) {
        expirer->cleaned_table = view->namespaces->index;
    }
    return CF_OK;
}

/* Adds what is due to the write set, as far as there is room. An entry that cannot be read is
 * passed over: it must not keep the others alive. is_moving: data is on its way between namespaces. ret_more: not all of it fitted. */
static cf_status revoke_all(struct txn *txn, struct arena *arena, struct due *due, bool is_moving, bool *ret_more,
                            struct cf_error *err)
{
    const struct view *view = txn_view(txn);
    struct key prefix = {CLASS_CLUSTER, NAMESPACE_ROOT, CF_SLICE(AREA_EXPIRE)};
    size_t room = TOKENS_MAX;
    bool left = false;
    due->arena = arena;
    due->now_ms = view_now_ns(view) / 1000000;
    CF_TRY(view_walk(view, prefix, CF_SLICE_EMPTY, each_due, due, err));
    for (size_t i = 0; i < due->count && room != 0; i++) {
        bool is_left = false;
        size_t mark = txn_mark(txn);
        cf_status status = revoke_due(txn, arena, due->names[i], &room, &is_left, err);
        if (status != CF_OK) {
            txn_rollback(txn, mark);
            cf_warn("core", "what has run out cannot be revoked, will try again: %s %s",
                    err->message, err->detail);
        }
        left = left || is_left;
    }
    bool cleans = false;
    if (!is_moving) { /* what is being carried out of a namespace that is gone is not nobody's */
        CF_TRY(namespace_clean(txn, arena, &cleans, err));
    }
    *ret_more = left || cleans || room == 0 || due->count == DUE_MAX;
    return CF_OK;
}

/* Apart from the rest: what cannot be moved must not keep alive what has run out. */
static bool move_mounts(struct expirer *expirer, const struct view *view)
{
    struct core *core = expirer->core;
    CF_OWNED(arena) arena = arena_new(16384);
    struct cf_error err = {0};
    struct txn *txn = txn_new(arena, view);
    bool more;
    txn_note_read(txn, core->role_hash);
    cf_status status = mount_move_round(txn, arena, &more, &err);
    if (status == CF_OK && txn_has_writes(txn)) {
        status = propose_and_wait(expirer, txn, &err);
    }
    if (status != CF_OK && status != CF_CONFLICT && status != CF_NOT_LEADER) {
        cf_warn("core", "a mount cannot be moved, will try again: %s %s", cf_status_name(status), err.message);
    }
    txn_release(txn);
    return more && status == CF_OK;
}

/* True when there may be more to do at once. */
static bool round_of(struct expirer *expirer)
{
    struct core *core = expirer->core;
    struct view *view = core_view(core);
    bool more = false;
    if (view != NULL && view->keyring != NULL && view->mounts != NULL &&
        (view->role == ROLE_ALONE_OR_PRIMARY || view->role == ROLE_PERFORMANCE_SECONDARY) &&
        core->proposer.is_active(core->proposer.context)) {
        CF_OWNED(arena) arena = arena_new(16384);
        struct cf_error err = {0};
        bool moves = move_mounts(expirer, view);
        struct txn *txn = txn_new(arena, view);
        struct due *due = arena_new_object(arena, struct due);
        txn_note_read(txn, core->role_hash);
        cf_status status = core_count_leases(core, view, &err);
        if (status != CF_OK) {
            cf_warn("core", "leases cannot be counted, will try again: %s %s", err.message, err.detail);
            err = (struct cf_error){0};
        }
        status = revoke_all(txn, arena, due, moves, &more, &err);
        if (status == CF_OK && !moves) {
            status = clean_mounts(expirer, txn, arena, &err);
        }
        if (status == CF_OK) {
            status = revoker_round(core->revoker, view, arena, &err);
        }
        if (status == CF_OK && (!txn_has_writes(txn) || expirer->rounds++ % RECORDS_EVERY == 0)) {
            status = once_drop_old(txn, &err);
        }
        if (status == CF_OK && txn_has_writes(txn)) {
            status = propose_and_wait(expirer, txn, &err);
            more = more && status == CF_OK;
        } else {
            more = false; /* nothing that could be done */
        }
        if (status != CF_OK && status != CF_CONFLICT && status != CF_NOT_LEADER) {
            cf_warn("core", "expiry of %zu entries failed, will try again: %s %s", due->count,
                    cf_status_name(status), err.message);
        }
        txn_release(txn);
        more = more || moves;
    }
    view_unref(view);
    return more;
}

static void *expirer_main(void *arg)
{
    struct expirer *expirer = arg;
    pthread_mutex_lock(&expirer->lock);
    while (!expirer->stopping) {
        bool more = false;
        if (expirer->running) {
            pthread_mutex_unlock(&expirer->lock);
            more = round_of(expirer);
            pthread_mutex_lock(&expirer->lock);
        }
        if (expirer->is_woken) {
            expirer->is_woken = false;
        } else if (!more && !expirer->stopping) {
            struct timespec until;
            (void)clock_gettime(CLOCK_REALTIME, &until);
            until.tv_nsec += ROUND_MS * 1000000L;
            until.tv_sec += until.tv_nsec / 1000000000L;
            until.tv_nsec %= 1000000000L;
            if (expirer->running) {
                pthread_cond_timedwait(&expirer->wake, &expirer->lock, &until);
            } else {
                pthread_cond_wait(&expirer->wake, &expirer->lock);
            }
        }
    }
    pthread_mutex_unlock(&expirer->lock);
    return NULL;
}

struct expirer *expirer_new(struct core *core)
{
    struct expirer *expirer = cf_new(struct expirer);
    expirer->core = core;
    pthread_mutex_init(&expirer->lock, NULL);
    pthread_cond_init(&expirer->wake, NULL);
    return expirer;
}

void expirer_stop(struct expirer *expirer)
{
    if (expirer->is_started) {
        pthread_mutex_lock(&expirer->lock);
        expirer->stopping = true;
        pthread_cond_signal(&expirer->wake);
        pthread_mutex_unlock(&expirer->lock);
        pthread_join(expirer->thread, NULL);
        expirer->is_started = false;
        expirer->stopping = false;
    }
}

void expirer_wake(struct expirer *expirer)
{
    pthread_mutex_lock(&expirer->lock);
    expirer->is_woken = true;
    pthread_cond_signal(&expirer->wake);
    pthread_mutex_unlock(&expirer->lock);
}

void expirer_free(struct expirer *expirer)
{
    if (expirer == NULL) {
        return;
    }
    expirer_stop(expirer);
    pthread_cond_destroy(&expirer->wake);
    pthread_mutex_destroy(&expirer->lock);
    cf_free(expirer);
}

static void set_running(struct expirer *expirer, bool running)
{
    pthread_mutex_lock(&expirer->lock);
    expirer->running = running;
    if (running && !expirer->is_started) {
        expirer->is_started = pthread_create(&expirer->thread, NULL, expirer_main, expirer) == 0;
    }
    pthread_cond_signal(&expirer->wake);
    pthread_mutex_unlock(&expirer->lock);
}

void core_background_start(struct core *core)
{
    set_running(core->expirer, true);
}

void core_background_stop(struct core *core)
{
    set_running(core->expirer, false);
    core_run_waits(core, WAITS_WHILE_ACTIVE);
    core_wake_parked(core);
}

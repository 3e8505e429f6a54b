/* node/core/audit_config.c: the audit devices that the server's configuration names.
 *
 * The active node makes the table in the store agree with its configuration, so that all nodes record to
 * the same devices under the same salt. What a request made is left alone; so is, on a performance secondary, what the
 * primary made. A device that is there is never changed: it would be another log under the same name; one of another cluster's
 * configuration is replaced once this cluster is the primary.
 *
 * A device of another cluster's configuration, on a secondary, is trusted with its target (a file anywhere, a pipe) only on
 * nodes whose own configuration has the same stanza: the operator of the one cluster is not that of the other's machines. */
#include <pthread.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/audit_int.h"
#include "node/core/core_int.h"

/* ---- the gate ---- */

struct audit_gate {
    _Atomic bool is_shut;
    pthread_mutex_t lock;
    struct cf_list held;
    struct core *core;
};

struct audit_gate *audit_gate_new(struct core *core)
{
    struct audit_gate *gate = cf_new(struct audit_gate);
    gate->core = core;
    pthread_mutex_init(&gate->lock, NULL);
    cf_list_init(&gate->held);
    return gate;
}

void audit_gate_free(struct audit_gate *gate)
{
    pthread_mutex_destroy(&gate->lock);
    cf_free(gate);
}

bool audit_gate_holds(struct audit_gate *gate, struct audit_held *held)
{
    const struct proposer *proposer = &gate->core->proposer;
    if (!atomic_load_explicit(&gate->is_shut, memory_order_acquire) ||
        !proposer->is_active(proposer->context)) {
        return false;
    }
    pthread_mutex_lock(&gate->lock);
    bool holds = atomic_load(&gate->is_shut);
    if (holds) {
        cf_list_add_tail(&gate->held, &held->link);
    }
    pthread_mutex_unlock(&gate->lock);
    return holds;
}

void audit_hold(struct core *core)
{
    atomic_store(&core->audit_gate->is_shut, true);
}

void audit_release(struct core *core)
{
    struct audit_gate *gate = core->audit_gate;
    struct cf_list held;
    cf_list_init(&held);
    pthread_mutex_lock(&gate->lock);
    atomic_store(&gate->is_shut, false);
    cf_list_splice_tail(&held, &gate->held);
    pthread_mutex_unlock(&gate->lock);
    cf_list_for_safe(at, &held)
    {
        struct audit_held *one = cf_container(at, struct audit_held, link);
        cf_list_remove(at);
        one->run(one);
    }
}

/* ---- what this node's configuration names ---- */

struct audit_own {
    pthread_mutex_t lock;
    struct arena *arena;
    struct audit_stanza *list;
    size_t count;
};

struct audit_own *audit_own_new(void)
{
    struct audit_own *own = cf_new(struct audit_own);
    pthread_mutex_init(&own->lock, NULL);
    own->arena = arena_new(1024);
    return own;
}

void audit_own_free(struct audit_own *own)
{
    pthread_mutex_destroy(&own->lock);
    arena_free(own->arena);
    cf_free(own);
}

void audit_set_own(struct audit_broker *broker, const struct audit_stanzas *stanzas)
{
    struct audit_own *own = audit_own_of(broker);
    pthread_mutex_lock(&own->lock);
    arena_reset(own->arena);
    own->list = arena_alloc(own->arena, (stanzas->count + 1) * sizeof(*own->list));
    own->count = stanzas->count;
    for (size_t i = 0; i < stanzas->count; i++) {
        const struct audit_stanza *from = &stanzas->list[i];
        own->list[i] = (struct audit_stanza){
            .type = arena_copy(own->arena, from->type),
            .path = arena_copy(own->arena, from->path),
            .options = from->options != NULL ? json_copy(own->arena, from->options) : NULL,
        };
    }
    pthread_mutex_unlock(&own->lock);
}

static bool same_options(const struct json *a, const struct json *b)
{
    return json_count(a) == json_count(b) && (json_count(a) == 0 || json_equal(a, b));
}

static bool is_of_stanza(const struct audit_entry *entry, const struct audit_stanza *stanza)
{
    return cf_slice_eq(entry->path, stanza->path) && cf_slice_eq(entry->type, stanza->type) &&
           same_options(entry->options, stanza->options);
}

bool audit_is_own(struct audit_broker *broker, const struct audit_entry *entry)
{
    struct audit_own *own = audit_own_of(broker);
    bool is_own = false;
    pthread_mutex_lock(&own->lock);
    for (size_t i = 0; i < own->count; i++) {
        is_own = is_own || is_of_stanza(entry, &own->list[i]);
    }
    pthread_mutex_unlock(&own->lock);
    return is_own;
}

/* ---- the table ---- */

static struct audit_entry entry_of(const struct request *rq, const struct audit_stanza *stanza)
{
    /* What is shared is the primary's to write. */
    bool is_secondary = rq->view != NULL && rq->view->role == ROLE_PERFORMANCE_SECONDARY;
    return (struct audit_entry){
        .path = stanza->path,
        .type = stanza->type,
        .description = stanza->description,
        .options = stanza->options,
        .cluster = cf_slice_str(rq->core->cluster_id),
        .is_local = stanza->is_local || is_secondary,
        .is_configured = true,
        .is_trusted = true,
    };
}

cf_status audit_stanza_check(struct core *core, const struct audit_stanza *stanza,
                             struct cf_error *err)
{
    struct request rq = {.core = core};
    struct audit_entry entry = entry_of(&rq, stanza);
    cf_status status = audit_check(&rq, &entry, err);
    status = status == CF_OK ? audit_try_make(core->audit, &entry, err) : status;
    return status == CF_OK ? CF_OK
                           : cf_error_prefix(err, CF_INVALID, "audit device \"%.*s\"",
                                             CF_SHOW(stanza->path));
}

/* The stanza's device is in the table; says what does not agree. */
static void compare(const struct audit_entry *entry, const struct audit_stanza *stanza)
{
    if (!entry->is_configured) {
        cf_err("audit",
               "device \"%.*s\" of the configuration was made through the API before: disable that one "
               "and send SIGHUP",
               CF_SHOW(stanza->path));
    } else if (!is_of_stanza(entry, stanza)) {
        cf_err("audit",
               "device \"%.*s\" stands in the configuration with another type or other options than it "
               "was made with, and stays as it is: give the changed one another name",
               CF_SHOW(stanza->path));
    }
}

/* After a promotion: the former primary's configuration had another device under that name. Its log is elsewhere, so this is
 * no change of a log that goes on. */
static bool is_left_over(const struct request *rq, const struct audit_entry *there, const struct audit_stanza *stanza)
{
    bool is_theirs = there->is_configured && there->cluster.size != 0 &&
                     !cf_slice_is(there->cluster, rq->core->cluster_id);
    return rq->view->role == ROLE_ALONE_OR_PRIMARY && is_theirs && !is_of_stanza(there, stanza);
}

static cf_status add_missing(struct request *rq, const struct audit_stanzas *stanzas,
                             struct cf_error *err)
{
    for (size_t i = 0; i < stanzas->count; i++) {
        const struct audit_stanza *stanza = &stanzas->list[i];
        const struct audit_entry *there = audit_table_find(rq->view->audit, stanza->path);
        bool replaces = there != NULL && is_left_over(rq, there, stanza);
        if (there != NULL && !replaces) {
            compare(there, stanza);
            if (there->is_foreign && there->is_configured && is_of_stanza(there, stanza)) {
                CF_TRY(audit_take_guard(rq, true, err)); /* named since: tables are loaded anew, and it is trusted */
            }
            continue;
        }
        struct audit_entry entry = entry_of(rq, stanza);
        struct cf_error reason = {0};
        if (audit_check(rq, &entry, &reason) != CF_OK ||
            (!replaces && audit_check_free(rq, &entry, &reason) != CF_OK)) {
            cf_err("audit", "device \"%.*s\" of the configuration cannot be enabled: %s",
                   CF_SHOW(stanza->path), reason.message);
            continue;
        }
        if (replaces) {
            CF_TRY(audit_take_guard(rq, there->is_local, err));
            txn_delete(rq->txn, audit_entry_key(rq->arena, there));
        }
        CF_TRY(audit_take_guard(rq, entry.is_local, err));
        audit_store(rq, &entry);
    }
    return CF_OK;
}

static cf_status drop_others(struct request *rq, const struct audit_stanzas *stanzas,
                             struct cf_error *err)
{
    const struct audit_table *table = rq->view->audit;
    bool is_secondary = rq->view->role == ROLE_PERFORMANCE_SECONDARY;
    for (size_t i = 0; i < table->count; i++) {
        const struct audit_entry *entry = &table->entries[i];
        bool stays = !entry->is_configured || (is_secondary && !entry->is_local);
        for (size_t k = 0; k < stanzas->count; k++) {
            stays = stays || cf_slice_eq(stanzas->list[k].path, entry->path);
        }
        if (!stays) {
            CF_TRY(audit_take_guard(rq, entry->is_local, err));
            txn_delete(rq->txn, audit_entry_key(rq->arena, entry));
            cf_info("audit", "device \"%.*s\" is gone from the configuration, and disabled",
                    CF_SHOW(entry->path));
        }
    }
    return CF_OK;
}

cf_status audit_reconcile(struct request *rq, void *context, struct cf_error *err)
{
    const struct audit_stanzas *stanzas = context;
    if (rq->view->audit == NULL) {
        return cf_fail(err, CF_SEALED, "%s", cf_status_text(CF_SEALED));
    }
    if (rq->view->role != ROLE_ALONE_OR_PRIMARY &&
        rq->view->role != ROLE_PERFORMANCE_SECONDARY) {
        return CF_OK; /* its table is another cluster's, or nobody's to write */
    }
    txn_note_read(rq->txn, rq->core->role_hash);
    CF_TRY(drop_others(rq, stanzas, err));
    return add_missing(rq, stanzas, err);
}

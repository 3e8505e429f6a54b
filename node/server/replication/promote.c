/* node/server/replication/promote.c: promotion of a secondary.
 *
 *   main loop: what does the link know?  -->  dry_run: say it  |  else: one entry (secondary.c) */
#include "node/server/replication/promote.h"

#include "node/base/memory.h"
#include "node/base/step.h"
#include "node/core/audit.h"
#include "node/core/engine.h"
#include "node/core/system.h"
#include "node/format/timefmt.h"
#include "node/server/audit.h"
#include "node/server/replication/dry_run.h"
#include "node/server/replication/promotion.h"
#include "node/server/replication/repl_int.h"
#include "node/server/replication/routes.h"

struct promoting {
    struct request *rq;
    enum set_kind kind;
    struct dry_run dry;
    bool runs; /* a link is kept; else `link` says nothing */
    struct repl_secondary_status link;
};

static bool is_copying(const struct promoting *promotion)
{
    return promotion->runs && (strcmp(promotion->link.state, "merkle-sync") == 0 ||
                               strcmp(promotion->link.state, "merkle-diff") == 0);
}

static cf_status write_promotion(struct request *rq, void *context, struct cf_error *err)
{
    struct promoting *promotion = context;
    repl_act_for(rq, promotion->rq);
    CF_TRY(repl_promote(rq, promotion->kind, is_copying(promotion), err));
    promotion->rq->response.warnings = NULL;
    for (const struct warning *warning = rq->response.warnings; warning != NULL;
         warning = warning->next) {
        response_warn(promotion->rq, "%s", arena_printf(promotion->rq->arena, "%s", warning->text));
    }
    return CF_OK;
}

static void promoted(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct promoting *promotion = context;
    struct request *rq = promotion->rq;
    cf_step("written");
    rq->index = index;
    if (status != CF_OK) {
        rq->error = *err;
    }
    core_host_done(rq, status);
}

/* ---- dry run ---- */

static void tell_others(struct dry_run *dry, enum set_kind kind)
{
    if (kind == SET_PERFORMANCE) {
        dry_run_effect(dry, "tokens and leases of this cluster stay valid; every other secondary of the set "
                            "needs a token of this cluster (update-primary)");
    } else {
        dry_run_effect(dry, "tokens and leases of the primary are valid here; leases that ran out meanwhile "
                            "are revoked");
        dry_run_effect(dry, "performance secondaries that learned this cluster's addresses follow by "
                            "themselves; other DR secondaries need update-primary with a token of this "
                            "cluster");
    }
    dry_run_effect(dry, "a new epoch begins; the former primary is fenced as soon as it can be told, and "
                        "what it took and did not ship is lost");
}

/* Devices of requests stay, of those of configurations the ones that this cluster's names, too. */
static void tell_audit(struct dry_run *dry)
{
    const struct node *node = core_host_context(dry->rq->core);
    const struct audit_table *table = dry->rq->view->audit;
    size_t stays = 0, works = 0, added = node_audit_stanza_count(node);
    for (size_t i = 0; i < table->count; i++) {
        const struct audit_entry *entry = &table->entries[i];
        /* One of the same name and of other options is replaced. */
        bool is_named = node_audit_names(node, entry->path) && !(entry->is_configured && entry->is_foreign);
        added -= is_named;
        stays += !entry->is_configured || is_named;
        works += (!entry->is_configured || is_named) && audit_works(entry);
    }
    if (stays != 0 && works == 0 && added == 0) {
        dry_run_check(dry, "audit devices", false, "none of the %zu audit devices can be written to on this node: once "
                                                   "promoted, it answers nobody; name one that can in its "
                                                   "configuration and send SIGHUP", stays);
    } else if (stays + added == 0 && table->count != 0) {
        dry_run_note(dry, "audit devices", "the devices are of the primary's configuration, and ours names none: once "
                                           "promoted, nothing is recorded; name one in the configuration of this cluster");
    } else if (stays + added != 0) {
        dry_run_note(dry, "audit devices", "%zu of %zu can be written to on this node, %zu are added from its configuration",
                     works, stays, added);
    }
}

static cf_status tell(struct promoting *promotion, struct cf_error *err)
{
    struct dry_run *dry = &promotion->dry;
    struct request *rq = promotion->rq;
    const struct repl_secondary_status *at = &promotion->link;
    struct set_link link;
    struct set_primary set;
    char text[TIMEFMT_SIZE];
    bool already;
    cf_status status = repl_check_promote(rq, promotion->kind, false, &link, &already, err);
    if (status == CF_UNAVAILABLE) {
        dry_run_check(dry, "state", false, "%s", err->message);
        return dry_run_end(dry);
    }
    CF_TRY(status);
    if (already) {
        dry_run_note(dry, "state", "this cluster was promoted already: nothing would change");
        return dry_run_end(dry);
    }
    bool streams = promotion->runs && strcmp(at->state, "stream-wals") == 0;
    bool copies = is_copying(promotion);
    dry_run_check(dry, "state", !copies, copies ? "%s: data is being fetched, promotion needs force=true"
                                                : "%s",
                  promotion->runs ? at->state : "idle");
    timefmt_text(at->primary.last_heartbeat_ns, text);
    if (streams) {
        dry_run_note(dry, "lag", "%llu entries, %llu bytes, %llu ms behind the primary",
                     (unsigned long long)at->lag_entries, (unsigned long long)at->lag_bytes,
                     (unsigned long long)at->lag_ms);
    } else {
        dry_run_note(dry, "lag", "not streaming; the primary was last heard %s, with %llu entries more than "
                                 "here; what it wrote since is not known",
                     at->primary.last_heartbeat_ns != 0 ? text : "never by this node",
                     (unsigned long long)at->lag_entries);
    }
    if (promotion->kind == SET_PERFORMANCE) {
        bool proves = promotion_is_current(rq, &link);
        dry_run_note(dry, "proof", proves ? "a promotion certificate (serial %llu) will prove the new epoch to the "
                                            "former primary"
                                          : "no good promotion certificate (serial %llu): the former primary will "
                                            "not be fenced by itself, demote it",
                     (unsigned long long)promotion_serial(&link));
    }
    bool alive = promotion->runs && at->primary.connected;
    dry_run_note(dry, "primary", alive ? "%s answers: demote it first, else there are two primaries until "
                                         "it is fenced"
                                       : "%s does not answer",
                 at->primary.cluster_address[0] != '\0' ? at->primary.cluster_address : "it");
    tell_audit(dry);
    json_set_int(rq->arena, response_data(rq), "last_remote_wal", (int64_t)at->position.index);
    json_set_int(rq->arena, response_data(rq), "lag_entries", (int64_t)at->lag_entries);
    json_set_int(rq->arena, response_data(rq), "lag_bytes", (int64_t)at->lag_bytes);
    json_set_int(rq->arena, response_data(rq), "lag_ms", (int64_t)at->lag_ms);
    if (promotion->kind == SET_DR &&
        set_read_primary(rq, SET_PERFORMANCE, &set, NULL) == CF_OK) {
        dry_run_effect(dry, "this cluster is the performance primary, too");
    }
    tell_others(dry, promotion->kind);
    return dry_run_end(dry);
}

/* ---- the call ---- */

static void on_loop(void *arg)
{
    struct promoting *promotion = arg;
    struct request *rq = promotion->rq;
    struct node *node = core_host_context(rq->core);
    struct repl_side *side =
        &node->replication->sides[promotion->kind == SET_DR ? REPL_DR : REPL_PERFORMANCE];
    promotion->runs = side->secondary != NULL;
    if (promotion->runs) {
        repl_secondary_status(side->secondary, &promotion->link);
    }
    if (promotion->dry.wanted) {
        core_host_done(rq, tell(promotion, &rq->error));
        return;
    }
    struct system_work work = {write_promotion, promoted, promotion};
    system_submit(rq->core, &work);
}

cf_status replication_promote(struct request *rq, struct cf_error *err)
{
    struct promoting *promotion = arena_new_object(rq->arena, struct promoting);
    struct set_link link;
    bool already;
    promotion->rq = rq;
    CF_TRY(repl_kind(rq, &promotion->kind, err));
    CF_TRY(dry_run_begin(&promotion->dry, rq, err));
    /* Refused here at once, without an entry; the entry asks again. */
    cf_status status = repl_check_promote(rq, promotion->kind, false, &link, &already, err);
    if (status != CF_OK && !(status == CF_UNAVAILABLE && promotion->dry.wanted)) {
        return status;
    }
    struct node *node = core_host_context(rq->core);
    loop_post(node->loop, on_loop, promotion);
    return CF_OK;
}

/* node/server/audit.c: the audit devices of the configuration, rotation, and full disks. */
#include "node/server/audit.h"

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/system.h"
#include "node/server/cluster.h"
#include "node/server/registry.h"

#define RETRY_US ((uint64_t)1000 * 1000)

struct node_audit {
    struct node *node;
    struct loop_timer *retry;
    struct audit_stanzas stanzas;
    struct config *config; /* of the last reload, which holds the stanzas; NULL: the node's own */
    bool is_running, again;
    cf_status status;
    char message[160];
};

/* ---- full disks ---- */

static void stepped_down(void *arg, cf_status status)
{
    (void)arg;
    if (status != CF_OK) {
        cf_err("audit", "leadership could not be handed over: %s", cf_status_text(status));
    }
}

static void step_down(void *arg)
{
    struct node *node = arg;
    if (node->driver != NULL && raft_driver_is_leader(node->driver) && !node->is_stopping) {
        cf_err("audit", "the disk of the audit log is full and no other device works: handing "
                        "leadership over; free space, or this node answers nobody");
        cluster_step_down(node, stepped_down, NULL);
    }
}

static void on_full(void *context)
{
    struct node *node = context;
    loop_post(node->loop, step_down, node);
}

struct audit_options node_audit_options(struct node *node)
{
    return (struct audit_options){
        .ops = registry_audit,
        .directories = (const char *const *)node->config->audit_directories,
        .forbidden = node->config->path,
        .on_full = on_full,
        .context = node,
    };
}

/* ---- the table ---- */

static void run(struct node_audit *audit);

static void on_retry(void *arg)
{
    node_audit_reconcile(arg);
}

static void ended(void *arg)
{
    struct node_audit *audit = arg;
    struct node *node = audit->node;
    bool is_active = node->driver != NULL && raft_driver_is_leader(node->driver) &&
                     !atomic_load(&node->is_sealed);
    audit->is_running = false;
    if (audit->again && !node->is_stopping) {
        audit->again = false;
        run(audit);
    } else if (audit->status == CF_OK || !is_active) {
        audit_release(node->core);
    } else {
        cf_warn("audit", "the devices of the configuration are not there yet, requests wait: %s",
                audit->message);
        loop_timer_set_in(audit->retry, RETRY_US);
    }
}

static void done(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct node_audit *audit = context;
    (void)index;
    audit->status = status;
    memcpy(audit->message, status != CF_OK ? err->message : "", status != CF_OK ? sizeof(audit->message) : 1);
    loop_post(audit->node->loop, ended, audit);
}

static cf_status reconcile(struct request *rq, void *context, struct cf_error *err)
{
    struct node_audit *audit = context;
    return audit_reconcile(rq, &audit->stanzas, err);
}

static void run(struct node_audit *audit)
{
    struct system_work work = {reconcile, done, audit};
    audit->is_running = true;
    system_submit(audit->node->core, &work);
}

void node_audit_reconcile(struct node *node)
{
    struct node_audit *audit = node->audit;
    if (audit->is_running) {
        audit->again = true;
    } else {
        run(audit);
    }
}

void node_audit_role_changed(struct node *node)
{
    if (node->audit->stanzas.count != 0) {
        audit_hold(node->core);
    }
    node_audit_reconcile(node);
}

bool node_audit_names(const struct node *node, struct cf_slice path)
{
    const struct audit_stanzas *stanzas = &node->audit->stanzas;
    for (size_t i = 0; i < stanzas->count; i++) {
        if (cf_slice_eq(stanzas->list[i].path, path)) {
            return true;
        }
    }
    return false;
}

size_t node_audit_stanza_count(const struct node *node)
{
    return node->audit->stanzas.count;
}

cf_status node_audit_start(struct node *node, struct cf_error *err)
{
    const struct config *config = node->config;
    for (size_t i = 0; i < config->audit_count; i++) {
        CF_TRY(audit_stanza_check(node->core, &config->audits[i], err));
    }
    struct node_audit *audit = cf_new(struct node_audit);
    audit->node = node;
    audit->stanzas = (struct audit_stanzas){config->audits, config->audit_count};
    audit_set_own(core_audit(node->core), &audit->stanzas);
    audit->retry = loop_timer_new(node->loop, on_retry, node);
    node->audit = audit;
    if (config->audit_count != 0) {
        audit_hold(node->core);
    }
    return CF_OK;
}

void node_audit_free(struct node *node)
{
    struct node_audit *audit = node->audit;
    if (audit != NULL) {
        loop_timer_free(audit->retry);
        config_free(audit->config);
        cf_free(audit);
    }
}

void node_audit_reload(struct node *node, struct config *fresh)
{
    struct node_audit *audit = node->audit;
    struct cf_error err = {0};
    audit_reopen(core_audit(node->core));
    for (size_t i = 0; i < fresh->audit_count; i++) {
        if (audit_stanza_check(node->core, &fresh->audits[i], &err) != CF_OK) {
            cf_err("audit", "audit devices not reloaded, the old ones stay: %s", err.message);
            config_free(fresh);
            return;
        }
    }
    if (audit->is_running) {
        cf_warn("audit", "audit devices not reloaded: the last change is under way; send SIGHUP again");
        config_free(fresh);
        return;
    }
    config_free(audit->config);
    audit->config = fresh;
    audit->stanzas = (struct audit_stanzas){fresh->audits, fresh->audit_count};
    audit_set_own(core_audit(node->core), &audit->stanzas);
    if (node->driver != NULL && raft_driver_is_leader(node->driver) &&
        !atomic_load(&node->is_sealed)) {
        run(audit);
    }
}

/* node/server/replication/replication.c: which links this node keeps, by what the store says.
 *
 * Everything follows the records: an applied change below AREA_REPL, a change of leadership, unsealing and
 * sealing call node_replication_refresh(), which starts and stops what should and should not run. */
#include "node/server/replication.h"

#include <stdio.h>

#include "consensus/driver/driver.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/base/step.h"
#include "node/crypto/hash.h"
#include "node/crypto/x509.h"
#include "node/server/audit.h"
#include "node/server/cluster.h"
#include "node/server/replication/certificate.h"
#include "node/server/replication/merkle.h"
#include "node/server/replication/promotion.h"
#include "node/server/replication/repl_int.h"
#include "node/server/replication/runs.h"

/* One is a run of the stage on the other side: as few files as possible, but a primary's loop is held up by each. */
#define PAGE_BYTES ((size_t)4 << 20)

static void refresh(struct node_replication *replication);

/* ---- life ---- */

static void refresh_posted(void *arg)
{
    struct node_replication *replication = arg;
    atomic_store(&replication->refresh_posted, false);
    refresh(replication);
    cf_step("refreshed");
}

/* Any thread. */
static void changed(void *context)
{
    struct node_replication *replication = context;
    cf_step("applied");
    if (!atomic_exchange(&replication->refresh_posted, true)) {
        loop_post(replication->node->loop, refresh_posted, replication);
    }
}

struct node_replication *node_replication_new(struct node *node)
{
    struct node_replication *replication = cf_new(struct node_replication);
    replication->node = node;
    cf_list_init(&replication->waiting);
    cf_list_init(&replication->rows);
    pthread_mutex_init(&replication->gauges_lock, NULL);
    replication->retention.floor = UINT64_MAX;
    for (size_t i = 0; i < REPL_KIND_COUNT; i++) {
        atomic_init(&replication->modes[i], "disabled");
    }
    core_on_replication_change(node->core, changed, replication);
    return replication;
}

void node_replication_start(struct node *node)
{
    struct node_replication *replication = node->replication;
    struct repl_host host = repl_host_table(replication);
    struct repl_driver_config config = {.loop = node->loop,
                                        .rpc = cluster_rpc(node),
                                        .clock = cf_host_clock(),
                                        .random = core_random(),
                                        .page_bytes = PAGE_BYTES,
                                        .host = &host};
    replication->driver = repl_driver_new(&config);
    repl_report_start(replication);
    if (node->runs != NULL) {
        runs_serve(node->runs);
    }
    merkle_start(replication);
    certificates_start(replication);
    repl_encryptions_start(replication);
    refresh(replication);
}

static void stop_links(struct node_replication *replication)
{
    repl_claimant_free(replication->claimant);
    replication->claimant = NULL;
    repl_encryptions_forget(replication);
    for (size_t i = 0; i < REPL_KIND_COUNT; i++) {
        struct repl_side *side = &replication->sides[i];
        certificate_forget(&side->certificate);
        repl_secondary_free(side->secondary);
        copy_drop(side);
        repl_primary_free(side->primary);
        side->secondary = NULL;
        side->primary = NULL;
    }
    repl_snapshots_close(replication);
}

void node_replication_stop(struct node *node)
{
    struct node_replication *replication = node->replication;
    certificates_stop(replication);
    repl_encryptions_stop(replication);
    stop_links(replication);
    if (node->runs != NULL) {
        runs_stop(node->runs);
    }
    repl_report_stop(replication);
    merkle_stop(replication);
    repl_driver_free(replication->driver);
    replication->driver = NULL;
}

void node_replication_free(struct node_replication *replication)
{
    if (replication != NULL) {
        pthread_mutex_destroy(&replication->gauges_lock);
        for (size_t i = 0; i < REPL_KIND_COUNT; i++) {
            cf_buf_done(&replication->sides[i].proof);
            cf_buf_done(&replication->sides[i].registered);
        }
        repl_filters_free(replication);
        cf_free(replication->merkle);
        cf_free(replication);
    }
}

/* ---- what others ask ---- */

void node_replication_modes(struct node *node, const char **performance, const char **dr)
{
    bool sealed = atomic_load(&node->is_sealed);
    *performance = sealed ? "unknown" : atomic_load(&node->replication->modes[REPL_PERFORMANCE]);
    *dr = sealed ? "unknown" : atomic_load(&node->replication->modes[REPL_DR]);
}

static void advanced(void *arg)
{
    struct node_replication *replication = arg;
    struct raft_driver *raft = replication->node->driver;
    if (raft != NULL && raft_driver_applied(raft) < atomic_load(&replication->advanced)) {
        /* The view is out, the driver has not said so yet (it does in a moment): what is pushed is read
         * from its log, so a push now would miss the newest entry and nobody would come again. */
        loop_post(replication->node->loop, advanced, replication);
        return;
    }
    atomic_store(&replication->advance_posted, false);
    if (replication->driver != NULL) {
        repl_driver_advanced(replication->driver, atomic_load(&replication->advanced));
    }
    repl_calls_advanced(replication);
}

void node_replication_applied(struct node *node, uint64_t index)
{
    struct node_replication *replication = node->replication;
    atomic_store(&replication->advanced, index);
    if (!atomic_load(&replication->is_linked) && !atomic_load(&replication->has_waiting)) {
        return;
    }
    if (!atomic_exchange(&replication->advance_posted, true)) {
        loop_post(node->loop, advanced, replication);
    }
}

void node_replication_refresh(struct node *node)
{
    refresh(node->replication);
}

/* ---- starting and stopping ---- */

static void start_primary(struct node_replication *replication, enum repl_kind kind,
                          const struct set_primary *set)
{
    struct cf_error err = {0};
    CF_OWNED(node_tls) tls = NULL;
    cf_status status = certificate_of_server(replication->node, set, &tls, &err);
    if (status == CF_OK) {
        struct repl_primary_config config = {.kind = kind, .tls = tls};
        status = repl_primary_new(replication->driver, &config,
                                  &replication->sides[kind].primary, &err);
    }
    if (status != CF_OK) {
        cf_err("replication", "cannot serve %s secondaries: %s", repl_kind_name(kind),
               err.message);
    } else {
        replication->sides[kind].served_renew_at_s = node_tls_renew_at_s(tls);
        cf_info("replication", "serving %s secondaries", repl_kind_name(kind));
    }
}

static cf_status link_tls(const struct set_link *link, struct node_tls **ret, struct cf_error *err)
{
    if (link->key.size == 0 || link->cert.size == 0) {
        return cf_fail(err, CF_INVALID, "this cluster has no credentials for a primary: "
                                        "update-primary with a token gives it some");
    }
    CF_OWNED(secret) key = secret_copy(link->key);
    return node_tls_new(link->cert, key, link->ca, ret, err);
}

/* Without our own: the primary hands on all addresses of its DR secondaries, and we may be one. */
static void list_addresses(struct node_replication *replication, const struct cf_slice *addresses,
                           size_t count, struct repl_address_list *ret)
{
    struct raft_driver_status *status = cf_new(struct raft_driver_status);
    raft_driver_status(replication->node->driver, status);
    ret->count = 0;
    for (size_t i = 0; i < count; i++) {
        bool own = false;
        for (size_t n = 0; n < status->peer_count; n++) {
            own = own || cf_slice_is(addresses[i], status->peers[n].address);
        }
        if (!own) {
            cf_ignore(!repl_address_add(ret, addresses[i]), "a double, or the list is full");
        }
    }
    cf_free(status);
}

#define MOVED_NS ((int64_t)600 * 1000000000) /* longer ago: the periodic comparison has been there */

static void start_secondary(struct node_replication *replication, enum repl_kind kind,
                            const struct set_link *link, struct arena *arena)
{
    struct cf_error err = {0};
    CF_OWNED(node_tls) tls = NULL;
    struct repl_address_list *addresses = arena_new_object(arena, struct repl_address_list);
    list_addresses(replication, link->addresses, link->address_count, addresses);
    cf_status status = link_tls(link, &tls, &err);
    if (status == CF_OK) {
        struct repl_secondary_config config = {.kind = kind,
                                               .set_id = arena_text(arena, link->set_id),
                                               .tls = tls,
                                               .addresses = addresses};
        status = repl_secondary_new(replication->driver, &config,
                                    &replication->sides[kind].secondary, &err);
    }
    if (status == CF_OK) {
        int64_t age_ns = cf_wall_ns(cf_host_clock()) - link->started_ns;
        replication->sides[kind].compare_soon = cf_slice_is(link->state, "secondary") && age_ns < MOVED_NS;
        hash_sha256(link->cert, replication->sides[kind].certificate_hash);
        replication->sides[kind].certificate.tls = node_tls_take(&tls);
    }
    if (status != CF_OK) {
        cf_err("replication", "cannot follow the %s primary: %s", repl_kind_name(kind),
               err.message);
    } else {
        cf_info("replication", "following the %s primary at %s (%zu addresses)",
                repl_kind_name(kind), addresses->count != 0 ? addresses->text[0] : "-",
                addresses->count);
    }
}

/* What a change of means a new connection: what an operator does, not the state, nor a renewed certificate. */
static void link_hash(const struct set_link *link, uint8_t digest[32])
{
    CF_BUF(bytes) = {0};
    cf_buf_add_slice(&bytes, link->set_id);
    cf_buf_add_u64(&bytes, (uint64_t)link->started_ns); /* moves with each call of an operator */
    hash_sha256(cf_buf_slice(&bytes), digest);
}

/* Between two looks a set may have ended and another one begun: a node that starts sees states of long ago on its way. */
static void set_hash(const struct set_primary *set, uint8_t digest[32])
{
    CF_BUF(bytes) = {0};
    cf_buf_add_slice(&bytes, set->id);
    cf_buf_add_slice(&bytes, set->ca);
    hash_sha256(cf_buf_slice(&bytes), digest);
}

static void refresh_primary(struct node_replication *replication, enum repl_kind kind,
                            struct reader *reader)
{
    struct repl_side *side = &replication->sides[kind];
    struct set_primary set;
    uint8_t digest[32];
    side->is_primary =
        set_read_primary(&reader->rq, repl_set_kind(kind), &set, NULL) == CF_OK;
    bool serves = side->is_primary &&
                  (replication->role == ROLE_ALONE_OR_PRIMARY ||
                   (replication->role == ROLE_PERFORMANCE_SECONDARY && kind == REPL_DR));
    if (side->is_primary) {
        (void)snprintf(side->set_id, sizeof(side->set_id), "%.*s", CF_SHOW(set.id));
        set_hash(&set, digest);
    }
    if (side->primary != NULL && (!serves || memcmp(digest, side->primary_hash, sizeof(digest)) != 0)) {
        repl_primary_free(side->primary);
        side->primary = NULL;
    }
    if (serves && side->primary == NULL) {
        memcpy(side->primary_hash, digest, sizeof(digest));
        start_primary(replication, kind, &set);
    }
    cf_buf_reset(&side->registered);
    side->registered_count = 0;
    if (side->primary == NULL) {
        return;
    }
    /* The revoked are cut at once. */
    struct txn_names ids = {0};
    cf_ignore(set_list_secondaries(&reader->rq, repl_set_kind(kind), &ids, NULL) != CF_OK,
              "tried again with the next change");
    for (size_t i = 0; i < ids.count; i++) {
        struct set_secondary secondary;
        if (set_read_secondary(&reader->rq, repl_set_kind(kind), ids.names[i], &secondary, NULL) !=
            CF_OK) {
            continue;
        }
        if (cf_slice_is(secondary.state, "revoked")) {
            (void)repl_primary_close(side->primary,
                                     arena_text(reader->rq.arena, ids.names[i]), "revoked");
        } else {
            cf_buf_add_byte(&side->registered, cf_slice_is(secondary.state, "active") ? 'a' : 'p');
            cf_buf_add_slice(&side->registered, ids.names[i]);
            cf_buf_add_byte(&side->registered, 0);
            side->registered_count++;
        }
    }
}

static bool follows(const struct node_replication *replication, enum repl_kind kind,
                    const struct set_link *link)
{
    bool wanted = cf_slice_is(link->state, "bootstrapping") || cf_slice_is(link->state, "secondary");
    switch (replication->role) {
    case ROLE_BOOTSTRAPPING:
        return wanted;
    case ROLE_PERFORMANCE_SECONDARY:
        return wanted && kind == REPL_PERFORMANCE;
    case ROLE_DR_SECONDARY: /* the performance link in its store is its primary's */
        return wanted && kind == REPL_DR;
    case ROLE_ALONE_OR_PRIMARY:
    case ROLE_FENCED:
        break;
    }
    return false;
}

/* The stream stays: it is for the next connection. */
static void use_renewed(struct repl_side *side, enum repl_kind kind, const struct set_link *link)
{
    struct cf_error err = {0};
    CF_OWNED(node_tls) tls = NULL;
    uint8_t digest[32];
    hash_sha256(link->cert, digest);
    if (memcmp(digest, side->certificate_hash, sizeof(digest)) == 0) {
        return;
    }
    cf_status status = link_tls(link, &tls, &err);
    if (status == CF_OK) {
        status = repl_secondary_set_tls(side->secondary, tls, &err);
    }
    if (status != CF_OK) {
        cf_err("replication", "cannot use the renewed certificate for the %s primary: %s",
               repl_kind_name(kind), err.message);
        return;
    }
    memcpy(side->certificate_hash, digest, sizeof(digest));
    certificate_forget(&side->certificate);
    side->certificate.tls = node_tls_take(&tls);
    cf_info("replication", "this cluster's certificate for the %s primary was renewed", repl_kind_name(kind));
}

static void refresh_secondary(struct node_replication *replication, enum repl_kind kind,
                              struct reader *reader, bool leads)
{
    struct repl_side *side = &replication->sides[kind];
    struct set_link link;
    uint8_t digest[32];
    bool has_link = set_read_link(&reader->rq, repl_set_kind(kind), &link, NULL) == CF_OK;
    (void)snprintf(side->link_state, sizeof(side->link_state), "%.*s",
                   has_link ? (int)link.state.size : 0, has_link ? (const char *)link.state.data
                                                                 : "");
    bool wanted = has_link && leads && follows(replication, kind, &link);
    if (has_link) {
        link_hash(&link, digest);
    }
    if (side->secondary != NULL &&
        (!wanted || memcmp(digest, side->secondary_hash, sizeof(digest)) != 0)) {
        certificate_forget(&side->certificate);
        repl_encryptions_forget(replication);
        repl_secondary_free(side->secondary);
        copy_drop(side);
        side->secondary = NULL;
    }
    if (side->secondary != NULL) {
        use_renewed(side, kind, &link);
    }
    if (wanted && side->secondary == NULL) {
        memcpy(side->secondary_hash, digest, sizeof(digest));
        side->tail_known = false;
        start_secondary(replication, kind, &link, reader->rq.arena);
    }
    if (side->secondary != NULL) {
        side->certificate.promotion_serial = promotion_serial(&link);
        side->certificate.promotion_due = kind == REPL_PERFORMANCE && cf_slice_is(link.state, "secondary") &&
                                          !promotion_is_current(&reader->rq, &link);
    }
}

static void heard(void *ctx, bool fenced, const char *text)
{
    (void)ctx;
    cf_info("replication", "the former primary answered: %s%s", text,
            fenced ? " (it is fenced now)" : "");
}

/* A promoted secondary goes on telling its former primary. */
static void refresh_claimant(struct node_replication *replication, struct reader *reader,
                             bool leads)
{
    struct request *rq = &reader->rq;
    struct cf_slice bytes;
    struct json *record;
    struct set_link link;
    enum set_kind kind;
    struct cf_error err = {0};
    /* Who took over a performance secondary's line is one now: it has a claim, too. */
    bool wanted = leads && (replication->role == ROLE_ALONE_OR_PRIMARY ||
                            replication->role == ROLE_PERFORMANCE_SECONDARY) &&
                  set_read_bytes(rq, set_former_key(), &bytes, NULL) == CF_OK &&
                  record_decode(bytes, rq->arena, &record, NULL) == CF_OK &&
                  set_kind_of(json_get_string(record, "kind"), &kind) &&
                  set_read_link(rq, kind, &link, NULL) == CF_OK && link.cert.size != 0;
    if (!wanted) {
        repl_claimant_free(replication->claimant);
        replication->claimant = NULL;
        return;
    }
    uint8_t digest[32];
    link_hash(&link, digest);
    if (replication->claimant != NULL && memcmp(digest, replication->claimant_hash, sizeof(digest)) == 0) {
        return;
    }
    repl_claimant_free(replication->claimant);
    replication->claimant = NULL;
    memcpy(replication->claimant_hash, digest, sizeof(digest));
    CF_OWNED(node_tls) tls = NULL;
    struct repl_address_list *addresses = arena_new_object(rq->arena, struct repl_address_list);
    list_addresses(replication, link.addresses, link.address_count, addresses);
    cf_status status = link_tls(&link, &tls, &err);
    if (status == CF_OK) {
        struct repl_claimant_config config = {
            .kind = kind == SET_DR ? REPL_DR : REPL_PERFORMANCE,
            .set_id = arena_text(rq->arena, link.set_id),
            .tls = tls,
            .addresses = addresses,
            .heard = heard};
        status = repl_claimant_new(replication->driver, &config, &replication->claimant, &err);
    }
    if (status != CF_OK) {
        cf_err("replication", "cannot tell the former primary of our epoch: %s", err.message);
    }
}

static void read_lineage(struct node_replication *replication, enum repl_kind kind,
                         struct reader *reader)
{
    struct cf_slice bytes;
    struct repl_side *side = &replication->sides[kind];
    struct repl_lineage *fresh = arena_new_object(reader->rq.arena, struct repl_lineage);
    if (set_read_bytes(&reader->rq, set_lineage_key(repl_set_kind(kind)), &bytes, NULL) == CF_OK) {
        cf_ignore(repl_lineage_decode(bytes, fresh, NULL) != CF_OK, "then there is none");
    }
    side->lineage = *fresh;
    cf_buf_done(&side->proof);
    cf_buf_init(&side->proof, REPL_PROOF_MAX);
    if (set_read_bytes(&reader->rq, set_proof_key(repl_set_kind(kind)), &bytes, NULL) == CF_OK) {
        cf_buf_add_slice(&side->proof, bytes);
    }
}

static const char *mode_of(const struct node_replication *replication, enum repl_kind kind)
{
    const struct repl_side *side = &replication->sides[kind];
    if (kind == REPL_PERFORMANCE && replication->role == ROLE_DR_SECONDARY) {
        return "disabled";
    }
    if (side->is_primary) {
        return "primary";
    }
    if (strcmp(side->link_state, "bootstrapping") == 0) {
        return "bootstrapping";
    }
    return side->link_state[0] != '\0' && strcmp(side->link_state, "promoted") != 0 ? "secondary"
                                                                                    : "disabled";
}

static void refresh(struct node_replication *replication)
{
    struct node *node = replication->node;
    struct reader reader;
    if (replication->driver == NULL || node->driver == NULL) {
        return;
    }
    bool leads = raft_driver_is_leader(node->driver);
    if (atomic_load(&node->is_sealed) || !reader_begin(&reader, node)) {
        stop_links(replication);
        if (!atomic_load(&node->is_sealed)) {
            reader_end(&reader);
        }
        return;
    }
    enum cluster_role before = replication->role;
    replication->role = reader.rq.view->role;
    if (before != replication->role) {
        cf_info("replication", "this cluster is now %s", cluster_role_name(replication->role));
        replication->is_fencing = false;
        if (leads) {
            node_audit_role_changed(node);
        }
    }
    for (size_t i = 0; i < REPL_KIND_COUNT; i++) {
        read_lineage(replication, (enum repl_kind)i, &reader);
    }
    repl_filter_refresh(replication, &reader);
    bool linked = false;
    for (size_t i = 0; i < REPL_KIND_COUNT; i++) {
        enum repl_kind kind = (enum repl_kind)i;
        refresh_primary(replication, kind, &reader);
        refresh_secondary(replication, kind, &reader, leads);
        atomic_store(&replication->modes[i], mode_of(replication, kind));
        linked = linked || replication->sides[i].primary != NULL;
    }
    refresh_claimant(replication, &reader, leads);
    repl_report_refresh(replication, leads);
    atomic_store(&replication->is_linked, linked);
    reader_end(&reader);
}

/* node/server/replication/host.c: the primary's half of struct repl_host: log and state for others. */
#include <stdio.h>

#include "consensus/driver/driver.h"
#include "node/base/host.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/base/step.h"
#include "node/core/system.h"
#include "node/crypto/box.h"
#include "node/crypto/sign.h"
#include "node/crypto/x509.h"
#include "node/format/encode.h"
#include "node/server/cluster.h"
#include "node/server/replication/certificate.h"
#include "node/server/replication/codec.h"
#include "node/server/replication/promotion.h"
#include "node/server/replication/repl_int.h"
#include "replication/core/fence.h"
#include "replication/core/translate.h"

#define OPS_MAX 8000 /* of one batch, beyond its first entry */
#define SCAN_BYTES ((size_t)1 << 20)

static struct raft_driver *raft_of(struct node_replication *replication)
{
    return replication->node->driver;
}

/* ---- lineage and claims ---- */

static void host_lineage(void *ctx, enum repl_kind kind, struct repl_lineage *ret)
{
    struct node_replication *replication = ctx;
    *ret = replication->sides[kind].lineage;
}

void repl_claim_text(const struct repl_lineage *lineage, struct cf_buf *to)
{
    cf_buf_add_str(to, "coffer lineage claim\n");
    repl_lineage_encode(lineage, to);
}

static void host_claim_sign(void *ctx, enum repl_kind kind, struct cf_buf *proof)
{
    struct node_replication *replication = ctx;
    struct reader reader;
    struct cf_slice der;
    struct repl_side *side = &replication->sides[kind];
    if (side->proof.size == 0 && side->lineage.count != 0 && reader_begin(&reader, replication->node)) {
        CF_OWNED(sign_key) key = NULL;
        CF_BUF(text) = {0};
        CF_BUF(signature) = {0};
        repl_claim_text(&side->lineage, &text);
        if (set_read_bytes(&reader.rq, set_line_key(repl_set_kind(kind)), &der, NULL) == CF_OK &&
            sign_load_private(der, &key, NULL) == CF_OK &&
            sign_make(key, cf_buf_slice(&text), &signature, NULL) == CF_OK) {
            if (kind == REPL_PERFORMANCE) {
                promotion_proof(&reader.rq, cf_buf_slice(&signature), &side->proof);
            } else {
                cf_buf_add_slice(&side->proof, cf_buf_slice(&signature));
            }
        }
        reader_end(&reader);
    }
    cf_buf_add_slice(proof, cf_buf_slice(&side->proof));
}

/* The operator gave this secondary a token of that very epoch's primary: that it follows it needs no other proof. (Nobody is
 * fenced for it: a primary has no such link.) */
static bool is_vouched(struct request *rq, const struct repl_lineage *lineage)
{
    struct set_link link;
    CF_BUF(hex) = {0};
    bool follows = rq->view->role == ROLE_PERFORMANCE_SECONDARY || rq->view->role == ROLE_BOOTSTRAPPING;
    if (!follows || lineage->count == 0 || set_read_link(rq, SET_PERFORMANCE, &link, NULL) != CF_OK) {
        return false;
    }
    struct repl_epoch epoch = repl_lineage_current(lineage);
    encode_hex(&hex, cf_slice_of(epoch.id, sizeof(epoch.id)));
    return link.vouched.size != 0 && cf_slice_eq(link.vouched, cf_buf_slice(&hex));
}

/* Of the line: by the line's key alone. Of the set: also by a chain of promotion certificates. */
static cf_status verify_claim(struct request *rq, enum repl_kind kind, const struct repl_lineage *lineage,
                              struct cf_slice proof, struct cf_error *err)
{
    struct cf_slice der;
    CF_OWNED(sign_key) key = NULL;
    CF_BUF(text) = {0};
    if (kind == REPL_PERFORMANCE && is_vouched(rq, lineage)) {
        return CF_OK;
    }
    repl_claim_text(lineage, &text);
    if (set_read_bytes(rq, set_line_public_key(repl_set_kind(kind)), &der, NULL) != CF_OK) {
        return cf_fail(err, CF_DENIED, "this cluster has no key to check proofs with");
    }
    if (kind == REPL_PERFORMANCE) {
        return promotion_verify(rq, der, lineage, cf_buf_slice(&text), proof, err);
    }
    CF_TRY(sign_load_public(der, &key, err));
    return sign_check(key, cf_buf_slice(&text), proof, NULL) == CF_OK
               ? CF_OK
               : cf_fail(err, CF_DENIED, "the claim is not signed by the line's key");
}

static bool host_claim_verify(void *ctx, enum repl_kind kind, const struct repl_lineage *lineage,
                              struct cf_slice proof)
{
    struct node_replication *replication = ctx;
    struct reader reader;
    struct cf_error err = {0};
    cf_status status = CF_SEALED;
    if (reader_begin(&reader, replication->node)) {
        status = verify_claim(&reader.rq, kind, lineage, proof, &err);
    } else {
        cf_fail(&err, status, "this node is sealed");
    }
    reader_end(&reader);
    (void)snprintf(replication->sides[kind].alarms.reason, sizeof(replication->sides[kind].alarms.reason), "%s",
                   status == CF_OK ? "" : err.message);
    return status == CF_OK;
}

struct fence_work {
    struct node_replication *replication;
    enum repl_kind kind;
    char by[256];
    struct repl_lineage lineage;
    struct cf_buf proof;
};

static bool may_be_fenced(enum cluster_role role, enum repl_kind kind)
{
    return fence_concerns(role == ROLE_ALONE_OR_PRIMARY, role == ROLE_PERFORMANCE_SECONDARY, kind);
}

static cf_status write_fence(struct request *rq, void *context, struct cf_error *err)
{
    struct fence_work *work = context;
    if (may_be_fenced(rq->view->role, work->kind)) {
        /* Once more, of the moment of this entry: the secondary may have been revoked since. */
        CF_TRY(verify_claim(rq, work->kind, &work->lineage, cf_buf_slice(&work->proof), err));
        struct json *record = json_object_new(rq->arena);
        json_set_text(rq->arena, record, "by", work->by);
        json_set_int(rq->arena, record, "epoch", repl_lineage_current(&work->lineage).number);
        json_set_int(rq->arena, record, "since", request_now_ns(rq));
        txn_put(rq->txn, set_fence_key(), record_encode(rq->arena, record));
        set_write_role(rq, ROLE_FENCED, &rq->view->line);
    }
    return CF_OK;
}

static void fence_written(void *context, cf_status status, uint64_t index,
                          const struct cf_error *err)
{
    struct fence_work *work = context;
    (void)index;
    if (status == CF_OK) {
        cf_err("replication", "FENCED: %s has shown epoch %u, which is newer than ours: this "
                              "cluster answers no client any more. Demote it, or attach it to the "
                              "new primary",
               work->by, repl_lineage_current(&work->lineage).number);
    } else {
        cf_warn("replication", "cannot record the fence: %s", err->message);
        work->replication->is_fencing = false;
    }
    cf_buf_done(&work->proof);
    cf_free(work);
}

static void host_fence(void *ctx, enum repl_kind kind, const struct repl_lineage *lineage,
                       struct cf_slice proof, const char *by)
{
    struct node_replication *replication = ctx;
    if (replication->is_fencing || !may_be_fenced(replication->role, kind) ||
        !raft_driver_is_leader(raft_of(replication))) {
        return;
    }
    replication->is_fencing = true;
    struct fence_work *work = cf_new(struct fence_work);
    work->replication = replication;
    work->kind = kind;
    work->lineage = *lineage;
    cf_buf_init(&work->proof, REPL_PROOF_MAX);
    cf_buf_add_slice(&work->proof, proof);
    (void)snprintf(work->by, sizeof(work->by), "%s", by);
    struct system_work job = {write_fence, fence_written, work};
    system_submit(replication->node->core, &job);
}

#define ALARM_AGAIN_US ((uint64_t)60 * 1000000)

/* Who claims once claims again: counted each time, logged once a minute. */
static void host_alarm(void *ctx, enum repl_kind kind, const char *text)
{
    struct node_replication *replication = ctx;
    struct repl_alarms *alarms = &replication->sides[kind].alarms;
    uint64_t now = loop_now_us();
    char whole[sizeof(alarms->text)];
    (void)snprintf(whole, sizeof(whole), "%s%s%s", text, alarms->reason[0] != '\0' ? ": " : "", alarms->reason);
    if (strcmp(whole, alarms->text) != 0 || now - alarms->logged_us >= ALARM_AGAIN_US) {
        cf_err("replication", "ALARM: %s: %s", repl_kind_name(kind), whole);
        alarms->logged_us = now;
    }
    memcpy(alarms->text, whole, sizeof(whole));
    alarms->last_ns = cf_wall_ns(cf_host_clock());
    alarms->count++;
}

/* ---- addresses ---- */

static void host_own_addresses(void *ctx, enum repl_kind kind, struct repl_address_list *ret)
{
    struct node_replication *replication = ctx;
    struct raft_driver_status *status = cf_new(struct raft_driver_status);
    (void)kind;
    ret->count = 0;
    raft_driver_status(raft_of(replication), status);
    for (size_t i = 0; i < status->peer_count; i++) {
        cf_ignore(!repl_address_add(ret, cf_slice_str(status->peers[i].address)),
                  "a list is full, or has it");
    }
    cf_free(status);
}

static void host_peer_addresses(void *ctx, enum repl_kind kind, struct repl_address_list *ret)
{
    struct node_replication *replication = ctx;
    (void)kind;
    *ret = replication->sides[REPL_DR].learned; /* where the primary may move to */
}

/* A standby whose leader is silent for so long may be the one that is cut off. */
#define CONTACT_US ((uint64_t)5 * 1000000)
#define FIT_US ((uint64_t)2 * 1000000)

static void add_standbys(const struct raft_driver_status *status, struct repl_places *ret)
{
    uint64_t now = loop_now_us();
    for (size_t i = 0; i < status->peer_count && ret->standby_count < REPL_STANDBYS_MAX; i++) {
        const struct raft_peer_info *peer = &status->peers[i];
        bool fit = peer->id != status->id && peer->match != 0 && peer->heard_us + FIT_US > now &&
                   (peer->condition & (RAFT_SEALED | RAFT_STALLED | RAFT_RECOVERING)) == 0;
        if (fit) {
            ret->holds_to[ret->standby_count] = peer->match;
            (void)snprintf(ret->standbys[ret->standby_count++], REPL_ADDRESS_SIZE, "%s",
                           peer->address);
        }
    }
}

static void host_places(void *ctx, enum repl_kind kind, struct repl_places *ret)
{
    struct node_replication *replication = ctx;
    struct node *node = replication->node;
    CF_OWNED(arena) arena = arena_new(16384);
    struct raft_driver_status *status = arena_new_object(arena, struct raft_driver_status);
    raft_driver_status(raft_of(replication), status);
    ret->is_active = raft_driver_is_leader(node->driver);
    ret->entry_bytes = status->last_index >= status->first_index
                           ? status->log_bytes / (status->last_index - status->first_index + 1)
                           : 0;
    replication->contact_us = ret->is_active
                                  ? loop_now_us()
                                  : cf_max(replication->contact_us, status->leader_heard_us);
    uint64_t silent_us = loop_now_us() - replication->contact_us;
    bool in_contact = silent_us < CONTACT_US;
    ret->silent_ms = ret->is_active ? 0 : silent_us / 1000;
    ret->may_serve = !atomic_load(&node->is_sealed) && replication->sides[kind].is_primary &&
                     replication->role != ROLE_FENCED && in_contact;
    struct cluster_peer leader;
    if (ret->is_active) {
        add_standbys(status, ret);
    } else if (cluster_leader(node, arena, &leader)) {
        (void)snprintf(ret->active, sizeof(ret->active), "%.*s", CF_SHOW(leader.cluster_addr));
    }
}

/* ---- the registry ---- */

struct secondary_note {
    enum set_kind kind;
    char id[REPL_ID_SIZE];
};

static cf_status write_active(struct request *rq, void *context, struct cf_error *err)
{
    struct secondary_note *note = context;
    struct set_secondary secondary;
    CF_TRY(set_read_secondary(rq, note->kind, cf_slice_str(note->id), &secondary, err));
    if (cf_slice_is(secondary.state, "pending")) {
        secondary.state = CF_SLICE("active");
        secondary.key = CF_SLICE_EMPTY; /* nobody needs it from here any more */
        if (cf_slice_is(secondary.bound_to, SET_SEALED)) { /* it came to a standby first */
            secondary.bound_to = CF_SLICE(SET_SEALED_USED);
        }
        set_write_secondary(rq, note->kind, &secondary);
        cf_step("activate");
    }
    return CF_OK;
}

static void noted(void *context, cf_status status, uint64_t index,
                           const struct cf_error *err)
{
    (void)status; /* tried again with the next connection */
    (void)index;
    (void)err;
    cf_free(context);
}

/* A sealed token has reached its owner: its time no longer matters. */
static cf_status write_used(struct request *rq, void *context, struct cf_error *err)
{
    struct secondary_note *note = context;
    struct set_secondary secondary;
    CF_TRY(set_read_secondary(rq, note->kind, cf_slice_str(note->id), &secondary, err));
    if (cf_slice_is(secondary.bound_to, SET_SEALED)) {
        secondary.bound_to = CF_SLICE(SET_SEALED_USED);
        set_write_secondary(rq, note->kind, &secondary);
    }
    return CF_OK;
}

static void note_secondary(struct node_replication *replication, enum repl_kind kind, const char *id,
                           cf_status (*write)(struct request *, void *, struct cf_error *))
{
    struct secondary_note *note = cf_new(struct secondary_note);
    note->kind = repl_set_kind(kind);
    (void)snprintf(note->id, sizeof(note->id), "%s", id);
    struct system_work work = {write, noted, note};
    system_submit(replication->node->core, &work);
}

static cf_status host_authorise(void *ctx, enum repl_kind kind, const char *id,
                                const uint8_t fingerprint[32], struct cf_error *err)
{
    struct node_replication *replication = ctx;
    struct reader reader;
    struct set_secondary secondary;
    cf_status status = CF_UNAVAILABLE;
    bool uses_sealed = false;
    if (!reader_begin(&reader, replication->node)) {
        status = cf_fail(err, CF_UNAVAILABLE, "this node is sealed");
    } else if (set_read_secondary(&reader.rq, repl_set_kind(kind), cf_slice_str(id), &secondary,
                                  NULL) != CF_OK) {
        status = cf_fail(err, CF_DENIED, "no secondary \"%s\" is registered here: make a new token on the "
                                         "primary and give it to update-primary",
                         id);
    } else if ((status = certificate_check(&secondary, fingerprint, err)) != CF_OK) {
        uses_sealed = false; /* the error says which and why */
    } else if (cf_slice_is(secondary.bound_to, SET_SEALED) &&
               request_now_ns(&reader.rq) >= secondary.expires_ns) {
        status = cf_fail(err, CF_DENIED, "the token of \"%s\" was not used in time: revoke it and make a "
                                         "new one",
                         id);
    } else {
        status = CF_OK;
        uses_sealed = cf_slice_is(secondary.bound_to, SET_SEALED);
    }
    reader_end(&reader);
    if (uses_sealed) {
        note_secondary(replication, kind, id, write_used);
    }
    return status;
}

/* Its copy is verified: the token is used up. */
void repl_activate(struct node_replication *replication, enum repl_kind kind, const char *id)
{
    if (!raft_driver_is_leader(raft_of(replication))) {
        return; /* the active node does it when it hears of the stream */
    }
    note_secondary(replication, kind, id, write_active);
}

/* ---- positions ---- */

bool repl_own_position(struct node_replication *replication, enum repl_kind kind, uint64_t index,
                       struct repl_position *ret)
{
    *ret = (struct repl_position){.epoch = repl_lineage_current(&replication->sides[kind].lineage),
                                  .index = index};
    return raft_driver_log_term(raft_of(replication), index, &ret->term, NULL) == CF_OK;
}

static void host_applied(void *ctx, enum repl_kind kind, struct repl_position *ret,
                         int64_t *stamp_ns)
{
    struct node_replication *replication = ctx;
    struct view *view = core_view(replication->node->core);
    *ret = (struct repl_position){0};
    *stamp_ns = 0;
    if (view != NULL) {
        cf_ignore(!repl_own_position(replication, kind, view->index, ret), "stays at nothing");
        *stamp_ns = view->stamp_ns;
        view_unref(view);
    }
}

/* Where a stream goes on in our log: the index after the position. Entries before cut_end hold what came from a log
 * before ours, and only what was above `above` there goes out. */
struct start {
    uint64_t index, above, cut_end;
};

/* Is a lineage of ours written by that entry (for the kind: replication/core/translate.h), or the state replaced? What
 * was received may write the set's lineage, too: that is the primary's. */
static bool begins(struct arena *arena, enum repl_kind kind, struct cf_slice payload)
{
    struct command command;
    if (command_decode(payload, arena, &command, NULL) != CF_OK) {
        return false;
    }
    bool is_begin = command.id == COMMAND_SWITCH;
    struct key line = set_lineage_key(SET_DR), set = set_lineage_key(SET_PERFORMANCE);
    for (size_t i = 0; i < command.op_count && !is_begin; i++) {
        struct key key = command.ops[i].key;
        is_begin = (key.class == line.class && cf_slice_eq(key.name, line.name)) ||
                   (kind == REPL_PERFORMANCE && key.class == set.class && cf_slice_eq(key.name, set.name));
    }
    return is_begin;
}

static void translate_run(struct translation *translation, enum repl_kind kind,
                          const struct raft_log_run *run)
{
    CF_OWNED(arena) arena = arena_new(256 * 1024);
    struct codec_batch scratch = {.arena = arena, .kind = REPL_DR};
    for (size_t i = 0; i < run->count; i++) {
        const struct raft_entry *entry = run->entries[i];
        struct translate_entry one = {.index = entry->index};
        if (entry->type == RAFT_ENTRY_DATA) {
            one.begins = begins(arena, kind, entry->payload);
            cf_ignore(codec_add_shipped(&scratch, entry->term, entry->index, entry->payload, 0,
                                        &one.is_shipped, &one.oldest, &one.newest, NULL) != CF_OK,
                      "an entry that does not decode is none of these");
        }
        translate_entry(translation, &one);
    }
}

/* Where in our own log the stream of somebody at `from` (of the epoch before) goes on, and up to where our
 * entries are cut for it. */
static cf_status translate(struct node_replication *replication, enum repl_kind kind,
                           const struct repl_position *from, struct start *ret, struct cf_error *err)
{
    struct raft_driver *raft = raft_of(replication);
    uint64_t at = raft_driver_log_first(raft);
    struct translation translation;
    if (!translate_may(&replication->sides[kind].lineage, from)) {
        return cf_fail(err, CF_NOT_FOUND, "that position is beyond where the histories part");
    }
    translate_begin(&translation, from->index);
    for (bool over = false; !over;) {
        struct raft_log_run run;
        CF_TRY(raft_driver_log_read(raft, at, SCAN_BYTES, &run, err));
        translate_run(&translation, kind, &run);
        over = run.count == 0;
        at += run.count;
        raft_log_run_done(&run);
    }
    ret->above = from->index;
    if (!translate_end(&translation, &ret->index, &ret->cut_end)) {
        return cf_fail(err, CF_NOT_FOUND, "that position left the log");
    }
    return CF_OK;
}

static cf_status find_start(struct node_replication *replication, enum repl_kind kind,
                            const struct repl_position *from, struct start *ret, struct cf_error *err)
{
    struct repl_epoch current = repl_lineage_current(&replication->sides[kind].lineage);
    uint64_t term;
    *ret = (struct start){0};
    if (from->index == 0) {
        return cf_fail(err, CF_NOT_FOUND, "nothing is there yet");
    }
    if (!repl_epoch_equal(&from->epoch, &current)) {
        return translate(replication, kind, from, ret, err);
    }
    cf_status status = raft_driver_log_term(raft_of(replication), from->index, &term, err);
    if (status != CF_OK || term != from->term) {
        return cf_fail(err, CF_NOT_FOUND, "that position is not in the log");
    }
    ret->index = from->index + 1;
    return CF_OK;
}

static bool host_position_known(void *ctx, enum repl_kind kind, const char *id,
                                const struct repl_position *position)
{
    struct node_replication *replication = ctx;
    struct start start;
    if (find_start(replication, kind, position, &start, NULL) != CF_OK ||
        start.index <= replication->sides[kind].switched_at ||
        !repl_filter_streams(replication, kind, id, start.index)) {
        return false;
    }
    repl_activate(replication, kind, id);
    return true;
}

/* ---- batches ---- */

static uint64_t keyring_version(struct node_replication *replication)
{
    struct view *view = core_view(replication->node->core);
    uint64_t version =
        view != NULL && view->keyring != NULL ? keyring_count(view->keyring) : 0;
    view_unref(view);
    return version;
}

static cf_status add_run(struct codec_batch *batch, const struct raft_log_run *run,
                         const struct start *start, struct repl_batch *ret, uint64_t *switched_at, struct cf_error *err)
{
    for (size_t i = 0; i < run->count; i++) {
        const struct raft_entry *entry = run->entries[i];
        bool switched = false, is_shipped = false;
        uint64_t oldest, newest;
        if (i != 0 && batch->op_count >= OPS_MAX) {
            return CF_OK;
        }
        if (entry->type == RAFT_ENTRY_DATA) {
            struct cf_slice payload = entry->payload;
            if (entry->index < start->cut_end) {
                CF_TRY(codec_add_shipped(batch, entry->term, entry->index, payload, start->above,
                                         &is_shipped, &oldest, &newest, err));
            }
            if (!is_shipped) {
                CF_TRY(codec_add(batch, entry->term, entry->index, payload, &switched, err));
            }
            if (payload.size >= 8 && cf_get_u64(payload.data) != 0) {
                ret->stamp_ns = (int64_t)cf_get_u64(payload.data);
            }
        }
        if (switched) {
            *switched_at = entry->index;
            return cf_fail(err, CF_NOT_FOUND, "the state was replaced after that position");
        }
        ret->to.term = entry->term;
        ret->to.index = entry->index;
        ret->entries++;
    }
    return CF_OK;
}

/* A record changed, and the links do not know it yet: was this one revoked? What is applied after a revocation must
 * not leave. The flag is set before the driver counts the entry as applied, so a run that was read has it. */
static bool is_cut(struct node_replication *replication, enum repl_kind kind, const char *id)
{
    struct reader reader;
    struct set_secondary secondary;
    if (!atomic_load(&replication->refresh_posted)) {
        return false;
    }
    bool cut = !reader_begin(&reader, replication->node) ||
               set_read_secondary(&reader.rq, repl_set_kind(kind), cf_slice_str(id), &secondary, NULL) !=
                   CF_OK ||
               cf_slice_is(secondary.state, "revoked");
    reader_end(&reader);
    return cut;
}

static cf_status host_read_batch(void *ctx, enum repl_kind kind, const char *id,
                                 const struct repl_position *from, size_t max_bytes,
                                 struct repl_batch *ret, struct cf_error *err)
{
    struct node_replication *replication = ctx;
    struct raft_log_run run;
    struct filter_pass pass = {0};
    struct start start;
    uint64_t seen;
    CF_TRY(find_start(replication, kind, from, &start, err));
    ret->to = *from;
    ret->entries = 0;
    ret->keyring_version = keyring_version(replication);
    CF_TRY(raft_driver_log_read(raft_of(replication), start.index, max_bytes, &run, err));
    struct filter *filter = NULL;
    cf_status status = repl_filter_of(replication, kind, id, &filter, &seen, err);
    if (status == CF_OK && !filter_can_stream(filter, start.index)) {
        status = cf_fail(err, CF_NOT_FOUND, "the paths filter lets more through than it did there");
    }
    /* A filter knows nothing of what is newer than its view. */
    bool is_newer = run.count != 0 && run.entries[run.count - 1]->index > seen;
    if (status != CF_OK || run.count == 0 || is_newer || is_cut(replication, kind, id)) {
        raft_log_run_done(&run);
        return status;
    }
    pass.filter = filter;
    CF_OWNED(arena) arena = arena_new(64 * 1024);
    struct codec_batch batch = {
        .arena = arena, .kind = kind, .filter = filter != NULL ? &pass : NULL};
    ret->to.epoch = repl_lineage_current(&replication->sides[kind].lineage);
    status = add_run(&batch, &run, &start, ret, &replication->sides[kind].switched_at, err);
    if (status == CF_OK) {
        status = codec_encode(&batch, &ret->bytes, err);
    }
    filter_pass_done(&pass);
    raft_log_run_done(&run);
    return status;
}

/* ---- snapshots ---- */

struct repl_open_snapshot *repl_find_snapshot(struct node_replication *replication, uint64_t id)
{
    for (size_t i = 0; i < REPL_SNAPSHOTS_MAX; i++) {
        if (replication->snapshots[i].id == id) {
            return &replication->snapshots[i];
        }
    }
    return NULL;
}

/* How much a copy is, for its progress. What is not in files yet counts as spread over the classes as the files are; of what
 * a filter leaves out nothing is known here. */
static void estimate(const struct view *view, enum repl_kind kind, struct repl_snapshot *ret)
{
    uint8_t from[1] = {kind == REPL_DR ? CLASS_CLUSTER : CLASS_REPLICATED};
    uint8_t to[1] = {CLASS_REPLICATED + 1};
    uint64_t unflushed;
    uint64_t keys = kv_approximate_keys(view->state, &unflushed);
    uint64_t all = kv_approximate_size(view->state, CF_SLICE_EMPTY, CF_SLICE_EMPTY);
    uint64_t bytes = kv_approximate_size(view->state, cf_slice_of(from, 1), cf_slice_of(to, 1));
    double part = all != 0 ? (double)bytes / (double)all : 1;
    ret->keys = (uint64_t)((double)keys * part);
    ret->bytes = bytes + (uint64_t)((double)unflushed * part);
}

static cf_status host_snapshot_open(void *ctx, enum repl_kind kind, const char *id,
                                    struct repl_snapshot *ret, struct cf_error *err)
{
    struct node_replication *replication = ctx;
    struct repl_open_snapshot *place = repl_find_snapshot(replication, 0);
    struct view *view = core_view(replication->node->core);
    struct filter *filter = NULL;
    if (place == NULL || view == NULL || view->keyring == NULL ||
        repl_filter_of(replication, kind, id, &filter, NULL, err) != CF_OK ||
        !repl_own_position(replication, kind, view->index, &ret->position)) {
        view_unref(view);
        return cf_fail(err, CF_BUSY, "no copy can be served now: try again");
    }
    do { /* another node must not take it for one of its own */
        cf_random_fill(core_random(), &ret->id, sizeof(ret->id));
    } while (ret->id == 0);
    ret->keyring_version = keyring_count(view->keyring);
    estimate(view, kind, ret);
    *place = (struct repl_open_snapshot){ret->id, view, filter != NULL ? filter_ref(filter) : NULL,
                                          NULL, NULL};
    return CF_OK;
}

static void host_snapshot_close(void *ctx, enum repl_kind kind, uint64_t id)
{
    struct node_replication *replication = ctx;
    struct repl_open_snapshot *snapshot = id != 0 ? repl_find_snapshot(replication, id) : NULL;
    (void)kind;
    if (snapshot != NULL) {
        repl_pages_close(snapshot);
        repair_source_unref(snapshot->source);
        filter_unref(snapshot->filter);
        view_unref(snapshot->view);
        *snapshot = (struct repl_open_snapshot){0};
    }
}

void repl_snapshots_close(struct node_replication *replication)
{
    for (size_t i = 0; i < REPL_SNAPSHOTS_MAX; i++) {
        repl_pages_close(&replication->snapshots[i]);
        repair_source_unref(replication->snapshots[i].source);
        filter_unref(replication->snapshots[i].filter);
        view_unref(replication->snapshots[i].view);
        replication->snapshots[i] = (struct repl_open_snapshot){0};
    }
}

/* ---- keys ---- */

/* The line's id, then the dump of the keyring; sealed to the secondary's own key. */
static cf_status host_keyring(void *ctx, enum repl_kind kind, const char *id,
                              struct cf_slice public_key, struct cf_buf *ret, uint64_t *version,
                              struct cf_error *err)
{
    struct node_replication *replication = ctx;
    struct view *view = core_view(replication->node->core);
    struct cf_buf plain;
    (void)id;
    (void)kind;
    if (view == NULL || view->keyring == NULL) {
        view_unref(view);
        return cf_fail(err, CF_SEALED, "Vault is sealed");
    }
    cf_buf_init_secret(&plain, 0);
    cf_buf_add(&plain, view->line.bytes, sizeof(view->line.bytes));
    cf_status status = keyring_dump(view->keyring, &plain, err);
    if (status == CF_OK) {
        *version = keyring_count(view->keyring);
        status = box_seal(public_key, cf_buf_slice(&plain), CF_SLICE("coffer keyring"), ret, err);
    }
    cf_buf_done(&plain);
    view_unref(view);
    return status;
}

struct repl_host repl_host_table(struct node_replication *replication)
{
    struct repl_host host = {
        .ctx = replication,
        .lineage = host_lineage,
        .claim_sign = host_claim_sign,
        .claim_verify = host_claim_verify,
        .fence = host_fence,
        .alarm = host_alarm,
        .own_addresses = host_own_addresses,
        .authorise = host_authorise,
        .places = host_places,
        .peer_changed = repl_report_soon,
        .applied = host_applied,
        .position_known = host_position_known,
        .read_batch = host_read_batch,
        .snapshot_open = host_snapshot_open,
        .snapshot_read = repl_read_page,
        .snapshot_close = host_snapshot_close,
        .serve_repair = repl_serve_repair,
        .keyring = host_keyring,
        .peer_addresses = host_peer_addresses,
        .serve_call = calls_serve,
    };
    repl_receive_table(&host);
    repl_repair_table(&host);
    return host;
}

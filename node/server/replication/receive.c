/* node/server/replication/receive.c: the secondary's half of struct repl_host: what came from the primary
 * becomes entries of our own log.
 *
 * Batches are one entry each, with the new source position in the same entry. A bootstrap is staged page by
 * page, entry by entry, into a generation of its own, and switched to by one entry: serving and promotion
 * see the old state or the new one, never a mix, on every node of the cluster at the same index. */
#include "consensus/driver/driver.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/base/step.h"
#include "node/core/system.h"
#include "node/crypto/box.h"
#include "node/server/cluster.h"
#include "node/server/replication/codec.h"
#include "node/server/replication/repl_int.h"
#include "node/server/replication/stage_record.h"
#include "node/server/seal.h"

#define LINE_KEY ((struct key){CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(AREA_POSITION "line")})

/* One proposal on its way; ends on the main loop. */
struct shipped {
    struct proposal proposal;
    struct node_replication *replication;
    enum repl_kind kind;
    struct arena *arena;
    bool is_batch;
    struct repl_position from, to;
    repl_done_fn done;
    void *arg;
    cf_status status;
    const char *step; /* for tests: node/base/step.h */
};

static void ended(void *arg)
{
    struct shipped *shipped = arg;
    struct repl_side *side = &shipped->replication->sides[shipped->kind];
    struct cf_error err = {.status = shipped->status};
    if (shipped->status != CF_OK) {
        cf_fail(&err, shipped->status, "%s", cf_status_text(shipped->status));
    }
    if (shipped->is_batch) {
        side->in_flight--;
        side->tail_known = side->tail_known && shipped->status == CF_OK;
    }
    cf_step(shipped->step);
    shipped->done(shipped->arg, shipped->status, &err);
    cf_buf_done(&shipped->proposal.payload);
    arena_free(shipped->arena);
    cf_free(shipped);
}

static void proposed(struct proposal *proposal, cf_status status, uint64_t index)
{
    struct shipped *shipped = cf_container(proposal, struct shipped, proposal);
    (void)index;
    shipped->status = status;
    loop_post(shipped->replication->node->loop, ended, shipped);
}

/* At append: batches follow each other without a gap, whatever became of the one before. */
static cf_status check_append(struct proposal *proposal, uint64_t index)
{
    struct shipped *shipped = cf_container(proposal, struct shipped, proposal);
    struct repl_side *side = &shipped->replication->sides[shipped->kind];
    /* The same index again: the append before this one was refused after its check. */
    if (side->is_broken || index == side->appended_index ||
        !repl_position_equal(&shipped->from, &side->appended)) {
        side->is_broken = true;
        return CF_CONFLICT;
    }
    side->appended = shipped->to;
    side->appended_index = index;
    return CF_OK;
}

static struct shipped *shipped_new(struct node_replication *replication, enum repl_kind kind,
                                   const char *step, repl_done_fn done, void *arg)
{
    struct shipped *shipped = cf_new(struct shipped);
    shipped->step = step;
    shipped->replication = replication;
    shipped->kind = kind;
    shipped->arena = arena_new(16384);
    shipped->done = done;
    shipped->arg = arg;
    shipped->proposal.done = proposed;
    shipped->proposal.deadline_us = UINT64_MAX;
    cf_buf_init(&shipped->proposal.payload, REPL_BATCH_BYTES_MAX + ((size_t)1 << 20));
    return shipped;
}

static void propose(struct shipped *shipped)
{
    const struct proposer *proposer = node_proposer(shipped->replication->node);
    proposer->propose(proposer->context, &shipped->proposal);
}

static void refuse(struct shipped *shipped, cf_status status, const struct cf_error *err)
{
    cf_err("replication", "%s: %s", repl_kind_name(shipped->kind), err->message);
    shipped->status = status;
    loop_post(shipped->replication->node->loop, ended, shipped);
}

/* ---- positions ---- */

bool repl_applied_position(struct node_replication *replication, enum repl_kind kind,
                           struct repl_position *ret)
{
    struct reader reader;
    struct cf_slice bytes;
    bool found = reader_begin(&reader, replication->node) &&
                 set_read_bytes(&reader.rq, set_position_key(repl_set_kind(kind)), &bytes, NULL) ==
                     CF_OK &&
                 repl_position_decode(bytes, ret, NULL) == CF_OK;
    reader_end(&reader);
    return found;
}

static cf_status receive_last_position(void *ctx, enum repl_kind kind, struct repl_position *ret,
                                       struct cf_error *err)
{
    struct node_replication *replication = ctx;
    struct repl_side *side = &replication->sides[kind];
    if (!raft_driver_is_leader(replication->node->driver) ||
        atomic_load(&replication->node->is_sealed)) {
        return cf_fail(err, CF_UNAVAILABLE, "this node is not the active one");
    }
    if (side->in_flight != 0) {
        return cf_fail(err, CF_UNAVAILABLE, "batches are still under way");
    }
    if (strcmp(side->link_state, "bootstrapping") == 0 || side->must_repair ||
        !repl_applied_position(replication, kind, ret)) {
        *ret = (struct repl_position){0};
    }
    side->tail = *ret;
    side->tail_known = true;
    side->appended = *ret;
    side->appended_index = 0;
    side->is_broken = false;
    return CF_OK;
}

/* ---- batches ---- */

static cf_status position_op(struct reader *reader, enum repl_kind kind,
                             const struct repl_position *to, struct op **ret, size_t *count,
                             struct cf_error *err)
{
    CF_BUF(bytes) = {0};
    repl_position_encode(to, &bytes);
    txn_put(reader->rq.txn, set_position_key(repl_set_kind(kind)), cf_buf_slice(&bytes));
    return txn_seal(reader->rq.txn, ret, count, err);
}

/* The claim's keys must outlive the reader's arena and the caller's bytes. */
static void copy_names(struct shipped *shipped)
{
    struct window_claim *claim = shipped->proposal.claim;
    struct key *keys = (struct key *)(uintptr_t)claim->writes;
    for (size_t i = 0; i < claim->write_count; i++) {
        keys[i].name = arena_copy(shipped->arena, keys[i].name);
    }
}

static cf_status build_batch(struct shipped *shipped, const struct repl_position *to,
                             struct cf_slice bytes, struct cf_error *err)
{
    struct reader reader;
    struct op *own;
    size_t own_count;
    cf_status status =
        reader_begin(&reader, shipped->replication->node)
            ? position_op(&reader, shipped->kind, to, &own, &own_count, err)
            : cf_fail(err, CF_SEALED, "Vault is sealed");
    if (status == CF_OK) {
        status = codec_receive(shipped->kind, bytes, own, own_count, shipped->arena,
                               &shipped->proposal.payload, &shipped->proposal.claim, err);
    }
    if (status == CF_OK) {
        copy_names(shipped);
    }
    reader_end(&reader);
    return status;
}

static void receive_propose_batch(void *ctx, enum repl_kind kind, const struct repl_position *from,
                                  const struct repl_position *to, struct cf_slice bytes,
                                  repl_done_fn done, void *arg)
{
    struct node_replication *replication = ctx;
    struct repl_side *side = &replication->sides[kind];
    struct cf_error err = {0};
    struct shipped *shipped = shipped_new(replication, kind, "batch", done, arg);
    shipped->is_batch = true;
    shipped->from = *from;
    shipped->to = *to;
    shipped->proposal.check = check_append;
    side->in_flight++;
    if (!side->tail_known || !repl_position_equal(from, &side->tail)) {
        cf_fail(&err, CF_CONFLICT, "the batch does not continue from the end of the log");
        refuse(shipped, CF_CONFLICT, &err);
        return;
    }
    cf_status status = build_batch(shipped, to, bytes, &err);
    if (status != CF_OK) {
        refuse(shipped, status, &err);
        return;
    }
    side->tail = *to;
    propose(shipped);
}

/* ---- the stage ---- */

static void posted_ok(void *arg)
{
    struct shipped *shipped = arg;
    shipped->status = CF_OK;
    ended(shipped);
}

static void receive_stage_begin(void *ctx, enum repl_kind kind, repl_done_fn done, void *arg)
{
    struct node_replication *replication = ctx;
    struct repl_side *side = &replication->sides[kind];
    if (copy_begin(replication, kind)) {
        loop_post(replication->node->loop, posted_ok,
                  shipped_new(replication, kind, "stage", done, arg));
        return;
    }
    struct view *view = core_view(replication->node->core);
    /* Never a generation that is current; what an interrupted copy has left goes with the switch. */
    do {
        cf_random_fill(core_random(), &side->stage_generation, sizeof(side->stage_generation));
    } while (side->stage_generation == 0 || side->stage_generation == UINT32_MAX ||
             (view != NULL && (side->stage_generation == view->generation[0] ||
                               side->stage_generation == view->generation[1])));
    view_unref(view);
    loop_post(replication->node->loop, posted_ok, shipped_new(replication, kind, "stage", done, arg));
}

static void receive_stage_page(void *ctx, enum repl_kind kind, struct cf_buf *bytes, bool same,
                               const struct repl_stage *behind, repl_done_fn done, void *arg)
{
    struct node_replication *replication = ctx;
    struct cf_error err = {0};
    if (replication->sides[kind].stage != NULL) {
        copy_page(replication, kind, bytes, same, behind, done, arg);
        return;
    }
    struct shipped *shipped = shipped_new(replication, kind, "page", done, arg);
    static struct window_claim nothing = {.view_index = UINT64_MAX, .ticket = UINT64_MAX};
    shipped->proposal.claim = &nothing; /* the stage is nobody's to read */
    cf_status status = codec_stage(kind, cf_buf_slice(bytes), replication->sides[kind].stage_generation,
                                   &shipped->proposal.payload, &err);
    if (status != CF_OK) {
        refuse(shipped, status, &err);
        return;
    }
    propose(shipped);
}

/* The effects that stand beside the switch: role, link, position, lineage, and on a performance secondary
 * what a cluster has of its own. */
static cf_status switch_effects(struct reader *reader, enum repl_kind kind, bool is_first,
                                const struct repl_position *position,
                                const struct repl_lineage *lineage, struct cf_slice proof,
                                struct cf_error *err)
{
    struct request *rq = &reader->rq;
    struct set_link link;
    struct cf_slice line_bytes;
    struct line_id line = rq->view->line;
    CF_BUF(bytes) = {0};
    CF_TRY(set_read_link(rq, repl_set_kind(kind), &link, err));
    link.state = CF_SLICE("secondary");
    set_write_link(rq, repl_set_kind(kind), &link);
    if (kind == REPL_DR && set_read_bytes(rq, LINE_KEY, &line_bytes, NULL) == CF_OK &&
        line_bytes.size == sizeof(line.bytes)) {
        memcpy(line.bytes, line_bytes.data, sizeof(line.bytes)); /* we are that line's copy now */
    }
    set_write_role(rq, kind == REPL_DR ? ROLE_DR_SECONDARY : ROLE_PERFORMANCE_SECONDARY, &line);
    repl_position_encode(position, &bytes);
    txn_put(rq->txn, set_position_key(repl_set_kind(kind)), cf_buf_slice(&bytes));
    cf_buf_reset(&bytes);
    repl_lineage_encode(lineage, &bytes);
    txn_put(rq->txn, set_lineage_key(repl_set_kind(kind)), cf_buf_slice(&bytes));
    if (proof.size != 0) {
        txn_put(rq->txn, set_proof_key(repl_set_kind(kind)), proof);
    }
    stage_forget(rq, kind);
    if (kind == REPL_PERFORMANCE && is_first) {
        /* Tokens are per cluster: the old ones are void with the old salt. */
        uint8_t salt[32];
        cf_random_fill(rq->random, salt, sizeof(salt));
        txn_put(rq->txn, (struct key){CLASS_CLUSTER, NAMESPACE_ROOT, CF_SLICE(AREA_SALT)},
                cf_slice_of(salt, sizeof(salt)));
        cf_wipe(salt, sizeof(salt));
    }
    return CF_OK;
}

static cf_status build_switch(struct shipped *shipped, const struct repl_position *position,
                              const struct repl_lineage *lineage, struct cf_slice proof,
                              struct cf_error *err)
{
    struct node_replication *replication = shipped->replication;
    struct repl_side *side = &replication->sides[shipped->kind];
    bool is_first = strcmp(side->link_state, "bootstrapping") == 0;
    struct reader reader;
    struct command command = {.id = COMMAND_SWITCH, .stage_generation = side->stage_generation};
    struct op *own;
    cf_status status = reader_begin(&reader, replication->node)
                           ? switch_effects(&reader, shipped->kind, is_first, position, lineage,
                                            proof, err)
                           : cf_fail(err, CF_SEALED, "Vault is sealed");
    if (status == CF_OK) {
        status = txn_seal(reader.rq.txn, &own, &command.op_count, err);
    }
    if (status == CF_OK) {
        command.ops = own;
        if (side->stage != NULL) {
            command.runs = copy_run_names(side, shipped->arena, &command.run_count);
        }
        command.switch_classes = 1u << class_number(CLASS_REPLICATED);
        if (shipped->kind == REPL_DR || is_first) {
            command.switch_classes |= 1u << class_number(CLASS_CLUSTER);
        }
        status = command_encode(&shipped->proposal.payload, &command, err);
    }
    reader_end(&reader);
    return status;
}

/* A switch that waits for the last pages to be in. */
struct switching {
    struct node_replication *replication;
    enum repl_kind kind;
    struct repl_position position;
    struct repl_lineage lineage;
    struct cf_buf proof;
    repl_done_fn done;
    void *arg;
};

static void propose_switch(struct switching *switching)
{
    struct node_replication *replication = switching->replication;
    enum repl_kind kind = switching->kind;
    struct cf_error err = {0};
    struct shipped *shipped =
        shipped_new(replication, kind, "switched", switching->done, switching->arg);
    replication->sides[kind].tail_known = false;
    cf_status status = build_switch(shipped, &switching->position, &switching->lineage,
                                    cf_buf_slice(&switching->proof), &err);
    copy_drop(&replication->sides[kind]); /* whatever becomes of it, the store's record tells */
    if (status != CF_OK) {
        refuse(shipped, status, &err);
        return;
    }
    cf_info("replication", "%s: the copy is complete, switching to it", repl_kind_name(kind));
    cf_step("switch");
    propose(shipped);
}

static void on_staged(void *arg, cf_status status, const struct cf_error *err)
{
    struct switching *switching = arg;
    if (status == CF_OK) {
        propose_switch(switching);
    } else {
        switching->done(switching->arg, status, err);
    }
    cf_buf_done(&switching->proof);
    cf_free(switching);
}

static void receive_stage_switch(void *ctx, enum repl_kind kind,
                                 const struct repl_position *position,
                                 const struct repl_lineage *lineage, struct cf_slice proof,
                                 repl_done_fn done, void *arg)
{
    static const struct cf_error fine;
    struct node_replication *replication = ctx;
    struct switching *switching = cf_new(struct switching);
    switching->replication = replication;
    switching->kind = kind;
    switching->position = *position;
    switching->lineage = *lineage;
    cf_buf_add_slice(&switching->proof, proof);
    switching->done = done;
    switching->arg = arg;
    if (replication->sides[kind].stage != NULL) {
        copy_finish(replication, kind, on_staged, switching);
    } else {
        on_staged(switching, CF_OK, &fine);
    }
}

/* ---- a repair ---- */

/* At append: what it was compared with is still the end of the stream. */
static cf_status check_repair(struct proposal *proposal, uint64_t index)
{
    struct shipped *shipped = cf_container(proposal, struct shipped, proposal);
    struct repl_side *side = &shipped->replication->sides[shipped->kind];
    (void)index;
    return side->in_flight == 0 && !side->tail_known ? CF_OK : CF_CONFLICT;
}

static cf_status build_repair(struct shipped *shipped, const struct op *ops, size_t count,
                              const struct repl_position *position,
                              const struct repl_lineage *lineage, struct cf_slice proof,
                              struct cf_error *err)
{
    struct reader reader;
    struct op *own;
    size_t own_count;
    cf_status status =
        reader_begin(&reader, shipped->replication->node)
            ? switch_effects(&reader, shipped->kind, false, position, lineage, proof, err)
            : cf_fail(err, CF_SEALED, "Vault is sealed");
    if (status == CF_OK) {
        status = txn_seal(reader.rq.txn, &own, &own_count, err);
    }
    if (status == CF_OK) {
        status = codec_repair(ops, count, own, own_count, shipped->arena,
                              &shipped->proposal.payload, &shipped->proposal.claim, err);
    }
    if (status == CF_OK) {
        copy_names(shipped);
    }
    reader_end(&reader);
    return status;
}

void repl_propose_repair(struct node_replication *replication, enum repl_kind kind,
                         const struct op *ops, size_t count, const struct repl_position *position,
                         const struct repl_lineage *lineage, struct cf_slice proof,
                         repl_done_fn done, void *arg)
{
    struct cf_error err = {0};
    struct shipped *shipped = shipped_new(replication, kind, "repaired", done, arg);
    replication->sides[kind].tail_known = false; /* no batch may follow before the next hello */
    shipped->proposal.check = check_repair;
    cf_status status = build_repair(shipped, ops, count, position, lineage, proof, &err);
    if (status != CF_OK) {
        refuse(shipped, status, &err);
        return;
    }
    propose(shipped);
}

/* ---- keys and lineage: ordinary runs of the node itself ---- */

struct own_work {
    struct node_replication *replication;
    enum repl_kind kind;
    repl_done_fn done;
    void *arg;
    struct cf_buf first, second;
    cf_status status;
    struct cf_error err;
};

static void own_ended(void *arg)
{
    struct own_work *work = arg;
    cf_step("own");
    work->done(work->arg, work->status, &work->err);
    cf_buf_done(&work->first);
    cf_buf_done(&work->second);
    cf_free(work);
}

static void own_written(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct own_work *work = context;
    (void)index;
    work->status = status;
    work->err = *err;
    loop_post(work->replication->node->loop, own_ended, work);
}

static struct own_work *own_work_new(struct node_replication *replication, enum repl_kind kind,
                                     repl_done_fn done, void *arg)
{
    struct own_work *work = cf_new(struct own_work);
    work->replication = replication;
    work->kind = kind;
    work->done = done;
    work->arg = arg;
    cf_buf_init_secret(&work->first, 0);
    cf_buf_init_secret(&work->second, 0);
    return work;
}

static cf_status write_lineage(struct request *rq, void *context, struct cf_error *err)
{
    struct own_work *work = context;
    (void)err;
    txn_put(rq->txn, set_lineage_key(repl_set_kind(work->kind)), cf_buf_slice(&work->first));
    txn_put(rq->txn, set_proof_key(repl_set_kind(work->kind)), cf_buf_slice(&work->second));
    return CF_OK;
}

static void receive_adopt(void *ctx, enum repl_kind kind, const struct repl_lineage *lineage,
                          struct cf_slice proof, repl_done_fn done, void *arg)
{
    struct node_replication *replication = ctx;
    struct own_work *work = own_work_new(replication, kind, done, arg);
    repl_lineage_encode(lineage, &work->first);
    cf_buf_add_slice(&work->second, proof);
    struct system_work job = {write_lineage, own_written, work};
    system_submit(replication->node->core, &job);
}

static cf_status open_keyring(struct request *rq, struct own_work *work, struct keyring **ret,
                              struct line_id *line, struct cf_error *err)
{
    struct set_link link;
    struct cf_buf plain;
    CF_TRY(set_read_link(rq, repl_set_kind(work->kind), &link, err));
    cf_buf_init_secret(&plain, REPL_KEYRING_MAX);
    cf_status status = box_open(link.box_key, cf_buf_slice(&work->first),
                                CF_SLICE("coffer keyring"), &plain, err);
    if (status == CF_OK && plain.size <= sizeof(line->bytes)) {
        status = cf_fail(err, CF_CORRUPT, "the primary's keyring is malformed");
    }
    if (status == CF_OK) {
        memcpy(line->bytes, plain.data, sizeof(line->bytes));
        status = keyring_load(cf_slice_from(cf_buf_slice(&plain), sizeof(line->bytes)), ret, err);
    }
    cf_buf_done(&plain);
    return status;
}

static cf_status write_keyring(struct request *rq, void *context, struct cf_error *err)
{
    struct own_work *work = context;
    struct node *node = work->replication->node;
    struct line_id line;
    CF_OWNED(keyring) theirs = NULL;
    CF_OWNED(keyring) both = NULL;
    CF_BUF(wrapped) = {0};
    CF_TRY(open_keyring(rq, work, &theirs, &line, err));
    if (!keyring_includes(rq->view->keyring, theirs)) {
        CF_TRY(keyring_union(rq->view->keyring, theirs, keyring_active(theirs).id, &both, err));
        CF_TRY(seal_wrap(node, both, &wrapped, err));
        txn_put_plain(rq->txn, SEAL_KEY_KEYRING, cf_buf_slice(&wrapped));
    }
    txn_put(rq->txn, LINE_KEY, cf_slice_of(line.bytes, sizeof(line.bytes)));
    struct cf_slice enrolled;
    if (set_read_bytes(rq, set_enroll_key(repl_set_kind(work->kind)), &enrolled, NULL) == CF_OK) {
        /* A primary was reached: the key that a token may have been sealed to has done its work. */
        txn_delete(rq->txn, set_enroll_key(repl_set_kind(work->kind)));
    }
    return CF_OK;
}

static void receive_install_keyring(void *ctx, enum repl_kind kind, struct cf_slice sealed,
                                    repl_done_fn done, void *arg)
{
    struct node_replication *replication = ctx;
    struct own_work *work = own_work_new(replication, kind, done, arg);
    cf_buf_add_slice(&work->first, sealed);
    struct system_work job = {write_keyring, own_written, work};
    system_submit(replication->node->core, &job);
}

static void receive_public_key(void *ctx, enum repl_kind kind, struct cf_buf *ret)
{
    struct node_replication *replication = ctx;
    struct reader reader;
    struct set_link link;
    uint8_t public_key[32];
    if (reader_begin(&reader, replication->node) &&
        set_read_link(&reader.rq, repl_set_kind(kind), &link, NULL) == CF_OK &&
        box_public_of(link.box_key, public_key, NULL) == CF_OK) {
        cf_buf_add(ret, public_key, sizeof(public_key));
    }
    reader_end(&reader);
}

/* ---- addresses ---- */

static cf_status write_addresses(struct request *rq, void *context, struct cf_error *err)
{
    struct own_work *work = context;
    struct repl_address_list learned;
    struct set_link link;
    CF_TRY(set_read_link(rq, repl_set_kind(work->kind), &link, err));
    memcpy(&learned, work->first.data, sizeof(learned)); /* as it was when this was ordered */
    size_t count = link.address_count; /* what the operator gave stays first */
    struct cf_slice *all = arena_alloc(rq->arena, (count + learned.count + 1) * sizeof(*all));
    memcpy(all, link.addresses, count * sizeof(*all));
    for (size_t i = 0; i < learned.count; i++) {
        struct cf_slice one = cf_slice_str(learned.text[i]);
        bool known = false;
        for (size_t n = 0; n < count; n++) {
            known = known || cf_slice_eq(all[n], one);
        }
        if (!known) {
            all[count++] = arena_copy(rq->arena, one);
        }
    }
    if (count != link.address_count) {
        link.addresses = all;
        link.address_count = cf_min(count, REPL_ADDRESSES_MAX);
        set_write_link(rq, repl_set_kind(work->kind), &link);
    }
    return CF_OK;
}

static void addresses_done(void *arg, cf_status status, const struct cf_error *err)
{
    (void)arg;
    if (status != CF_OK) {
        cf_debug("replication", "learned addresses were not kept: %s", err->message);
    }
}

static void receive_learned(void *ctx, enum repl_kind kind, const char *id,
                            const struct repl_address_list *addresses,
                            const struct repl_address_list *peers)
{
    struct node_replication *replication = ctx;
    struct repl_side *side = &replication->sides[kind];
    size_t before = side->learned.count;
    for (size_t i = 0; i < addresses->count; i++) {
        cf_ignore(!repl_address_add(&side->learned, cf_slice_str(addresses->text[i])),
                  "known, or the list is full");
    }
    for (size_t i = 0; peers != NULL && i < peers->count; i++) {
        cf_ignore(!repl_address_add(&side->learned, cf_slice_str(peers->text[i])),
                  "known, or the list is full");
    }
    if (id[0] == '\0' && side->learned.count != before) {
        struct own_work *work = own_work_new(replication, kind, addresses_done, NULL);
        cf_buf_add(&work->first, &side->learned, sizeof(side->learned));
        struct system_work job = {write_addresses, own_written, work};
        system_submit(replication->node->core, &job);
    }
}

void repl_receive_table(struct repl_host *host)
{
    host->last_position = receive_last_position;
    host->propose_batch = receive_propose_batch;
    host->adopt = receive_adopt;
    host->stage_load = copy_load;
    host->stage_known = copy_known;
    host->stage_begin = receive_stage_begin;
    host->stage_page = receive_stage_page;
    host->stage_switch = receive_stage_switch;
    host->install_keyring = receive_install_keyring;
    host->public_key = receive_public_key;
    host->learned = receive_learned;
}

/* node/server/replication/stage_make.c: a page of a copy becomes a run on this node and on the others. A name remembers its page,
 * too: where the primary has to open another snapshot, pages that did not change since are not moved again. */
#include "consensus/driver/driver.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/crypto/hash.h"
#include "node/server/replication/codec.h"
#include "node/server/replication/stage_int.h"

/* ---- a run goes to the other nodes ---- */

struct sent {
    struct copy_stage *stage;
    struct piece *piece;
    bool is_voter;
};

static void judge(struct copy_stage *stage, struct piece *piece)
{
    struct cf_error err = {0};
    if (!piece->is_safe && piece->have >= piece->needed) {
        piece->is_safe = true;
        stage->in_flight -= piece->size;
    } else if (!piece->is_safe && piece->have + piece->asked < piece->needed) {
        stage_fail(stage, cf_fail(&err, CF_UNAVAILABLE, "no majority of this cluster takes the copy"), &err);
    }
    stage_pump(stage);
}

static void on_sent(void *arg, cf_status status, const struct cf_error *err)
{
    struct sent *sent = arg;
    struct copy_stage *stage = sent->stage;
    stage->pushes--;
    sent->piece->asked -= sent->is_voter;
    sent->piece->have += sent->is_voter && status == CF_OK;
    if (!stage->is_over) {
        if (status != CF_OK) {
            cf_debug("replication", "a node did not take a run of the copy: %s", err->message);
        }
        judge(stage, sent->piece);
    }
    stage_unref(stage);
    cf_free(sent);
}

static void push(struct copy_stage *stage, struct piece *piece, struct cf_slice message)
{
    struct node *node = stage->replication->node;
    struct raft_driver_status *status = cf_new(struct raft_driver_status);
    unsigned voters = 0;
    raft_driver_status(node->driver, status);
    for (size_t i = 0; i < status->peer_count; i++) {
        const struct raft_peer_info *peer = &status->peers[i];
        bool is_voter = (peer->role & RAFT_VOTER) != 0;
        voters += is_voter;
        if (peer->id == status->id) {
            piece->have += is_voter;
            continue;
        }
        struct sent *sent = cf_new(struct sent);
        *sent = (struct sent){stage, piece, is_voter};
        stage->refs++;
        stage->pushes++;
        piece->asked += is_voter;
        runs_push(node->runs, peer->id, message, on_sent, sent);
    }
    piece->needed = voters / 2 + 1;
    cf_free(status);
}

/* ---- a page becomes a run ---- */

struct making {
    struct copy_stage *stage;
    struct piece *piece;
    struct runs *runs;
    struct loop *loop;
    enum repl_kind kind;
    uint32_t generation;
    uint64_t index, term;
    struct cf_buf page, message;
    struct stage_piece made;
    cf_status status;
    struct cf_error err;
};

static void made(void *arg)
{
    struct making *making = arg;
    struct copy_stage *stage = making->stage;
    struct piece *piece = making->piece;
    if (!stage->is_over && making->status != CF_OK) {
        cf_err("replication", "%s: a page of the copy: %s %s", repl_kind_name(stage->kind),
               making->err.message, making->err.detail);
        stage_fail(stage, making->status, &making->err);
    } else if (!stage->is_over) {
        piece->is.has_run = making->made.has_run;
        memcpy(piece->is.run, making->made.run, sizeof(piece->is.run));
        memcpy(piece->is.page, making->made.page, sizeof(piece->is.page));
        if (piece->is.has_run) {
            push(stage, piece, cf_buf_slice(&making->message));
        }
        judge(stage, piece);
    }
    stage_unref(stage);
    cf_buf_done(&making->page);
    cf_buf_done(&making->message);
    cf_free(making);
}

static cf_status make_run(struct making *making, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(65536);
    CF_BUF(bytes) = {.max = RUN_BYTES_MAX};
    const struct op *ops;
    size_t count;
    struct cf_slice page = cf_buf_slice(&making->page);
    hash_sha256(page, making->made.page);
    CF_TRY(codec_records(making->kind, page, arena, &ops, &count, err));
    making->made.has_run = count != 0;
    if (count == 0) {
        return CF_OK;
    }
    CF_TRY(runs_make(making->runs, making->generation, making->index, ops, count, making->made.run,
                     &bytes, err));
    runs_message(making->term, making->generation,
                 cf_slice_of(making->made.run, sizeof(making->made.run)), cf_buf_slice(&bytes),
                 &making->message);
    return CF_OK;
}

static void work(void *arg)
{
    struct making *making = arg;
    making->status = make_run(making, &making->err);
    loop_post(making->loop, made, making);
}

void stage_make(struct copy_stage *stage, struct piece *piece, struct cf_buf *page)
{
    struct node *node = stage->replication->node;
    struct making *making = cf_new(struct making);
    stage->refs++;
    making->stage = stage;
    making->piece = piece;
    making->runs = node->runs;
    making->loop = node->loop;
    making->kind = stage->kind;
    making->generation = stage->record.generation;
    making->index = stage->record.index;
    making->term = raft_driver_term(node->driver);
    making->page = *page;
    *page = (struct cf_buf){0};
    core_work(node->core, work, making);
}

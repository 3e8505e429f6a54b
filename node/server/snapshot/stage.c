/* node/server/snapshot/stage.c: the new state on its way through the log, beside the old one.
 *
 * Pages of puts into a generation that nobody reads, as a bootstrap's (design 5.3): durable on a
 * majority, the same on every node at the same index, and gone with the next switch if broken off. */
#include "node/base/memory.h"
#include "node/core/command.h"
#include "node/core/window.h"
#include "node/server/snapshot/restore_int.h"

#define PAGE_BYTES ((size_t)1 << 20)
#define IN_FLIGHT_MAX 8

struct page {
    struct proposal proposal;
    struct restore *restore;
    struct window_claim claim;
};

static void proposed(struct proposal *proposal, cf_status status, uint64_t index)
{
    struct page *page = cf_container(proposal, struct page, proposal);
    struct restore *restore = page->restore;
    cf_buf_done(&proposal->payload);
    cf_free(page);
    pthread_mutex_lock(&restore->lock);
    restore->in_flight--;
    if (status != CF_OK && restore->status == CF_OK) {
        restore->status = status;
    }
    restore->index = index > restore->index ? index : restore->index;
    pthread_cond_signal(&restore->wake);
    pthread_mutex_unlock(&restore->lock);
}

/* Waits until at most `left` are on their way. */
static cf_status wait_for(struct restore *restore, unsigned left, struct cf_error *err)
{
    pthread_mutex_lock(&restore->lock);
    while (restore->in_flight > left) {
        pthread_cond_wait(&restore->wake, &restore->lock);
    }
    cf_status status = restore->status;
    pthread_mutex_unlock(&restore->lock);
    return status == CF_OK ? CF_OK : cf_fail(err, status, "%s", cf_status_text(status));
}

static cf_status send_on(struct restore *restore, const struct command *command, bool unconditional,
                         struct cf_error *err)
{
    struct page *page = cf_new(struct page);
    page->restore = restore;
    /* The stage is nobody's to read; the switch touches everything. */
    page->claim = (struct window_claim){.view_index = UINT64_MAX, .ticket = UINT64_MAX};
    page->proposal.claim = unconditional ? NULL : &page->claim;
    page->proposal.is_restore = true;
    page->proposal.deadline_us = UINT64_MAX;
    page->proposal.done = proposed;
    cf_buf_init(&page->proposal.payload, (size_t)12 << 20);
    cf_status status = command_encode(&page->proposal.payload, command, err);
    if (status != CF_OK) {
        cf_buf_done(&page->proposal.payload);
        cf_free(page);
        return status;
    }
    pthread_mutex_lock(&restore->lock);
    restore->in_flight++;
    pthread_mutex_unlock(&restore->lock);
    const struct proposer *proposer = node_proposer(restore->node);
    proposer->propose(proposer->context, &page->proposal);
    return CF_OK;
}

static cf_status send_page(struct restore *restore, struct cf_error *err)
{
    struct command command = {.id = COMMAND_STAGE,
                              .stage_generation = restore->generation,
                              .ops = restore->ops,
                              .op_count = restore->op_count};
    cf_status status = wait_for(restore, IN_FLIGHT_MAX - 1, err);
    if (status == CF_OK) {
        status = send_on(restore, &command, false, err);
    }
    arena_reset(restore->batch_arena);
    restore->op_count = restore->op_bytes = 0;
    return status;
}

cf_status stage_put(struct restore *restore, struct key key, struct cf_slice value,
                    struct cf_error *err)
{
    if (restore->op_count == STAGE_OPS || restore->op_bytes >= PAGE_BYTES ||
        (restore->op_count != 0 && restore->op_bytes + value.size > 4 * PAGE_BYTES)) {
        CF_TRY(send_page(restore, err));
    }
    key.name = arena_copy(restore->batch_arena, key.name);
    restore->ops[restore->op_count++] =
        (struct op){OP_PUT, key, arena_copy(restore->batch_arena, value)};
    restore->op_bytes += key.name.size + value.size + 32;
    return CF_OK;
}

cf_status stage_flush(struct restore *restore, struct cf_error *err)
{
    if (restore->op_count != 0) {
        CF_TRY(send_page(restore, err));
    }
    return wait_for(restore, 0, err);
}

cf_status stage_propose(struct restore *restore, const struct command *command, bool unconditional,
                        struct cf_error *err)
{
    CF_TRY(send_on(restore, command, unconditional, err));
    return wait_for(restore, 0, err);
}

void stage_drop(struct restore *restore)
{
    struct op ops[] = {
        {OP_DELETE_PREFIX, {CLASS_REPLICATED, NAMESPACE_ROOT, CF_SLICE_EMPTY}, CF_SLICE_EMPTY},
        {OP_DELETE_PREFIX, {CLASS_CLUSTER, NAMESPACE_ROOT, CF_SLICE_EMPTY}, CF_SLICE_EMPTY},
        {OP_DELETE_PREFIX, {CLASS_OWN, NAMESPACE_ROOT, CF_SLICE_EMPTY}, CF_SLICE_EMPTY},
    };
    struct command command = {.id = COMMAND_STAGE,
                              .stage_generation = restore->generation,
                              .ops = ops,
                              .op_count = CF_LENGTH(ops)};
    if (restore->generation != 0) {
        cf_ignore(wait_for(restore, 0, NULL), "what failed is why it is dropped");
        restore->status = CF_OK;
        cf_ignore(stage_propose(restore, &command, false, NULL),
                  "the next switch drops what nobody reads");
    }
}

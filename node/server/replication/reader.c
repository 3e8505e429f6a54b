/* node/server/replication/reader.c: reading records outside of a request. */
#include "node/server/replication/reader.h"

bool reader_begin(struct reader *reader, struct node *node)
{
    *reader = (struct reader){.rq = {.core = node->core, .random = core_random()}};
    reader->rq.arena = arena_new(4096);
    reader->rq.view = core_view(node->core);
    if (reader->rq.view == NULL || reader->rq.view->keyring == NULL) {
        return false;
    }
    reader->rq.txn = txn_new(reader->rq.arena, reader->rq.view);
    return true;
}

void reader_end(struct reader *reader)
{
    txn_release(reader->rq.txn);
    view_unref(reader->rq.view);
    arena_free(reader->rq.arena);
    *reader = (struct reader){0};
}

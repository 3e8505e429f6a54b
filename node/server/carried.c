/* node/server/carried.c: headers of a forwarded request. */
#include "node/server/carried.h"

#include "node/core/audit.h"
#include "proto/message.h"

void carried_pack(const struct request *rq, Coffer__Forward__Request *to)
{
    if (rq->header_count == 0) {
        return;
    }
    Coffer__Forward__Header *headers = arena_alloc(rq->arena, rq->header_count * sizeof(*headers));
    to->headers = arena_alloc(rq->arena, rq->header_count * sizeof(struct Coffer__Forward__Header *));
    to->n_headers = rq->header_count;
    for (size_t i = 0; i < rq->header_count; i++) {
        coffer__forward__header__init(&headers[i]);
        headers[i].name = message_bytes(rq->headers[i].name);
        headers[i].value = message_bytes(rq->headers[i].value);
        to->headers[i] = &headers[i];
    }
}

cf_status carried_unpack(const Coffer__Forward__Request *from, struct request *rq, struct cf_error *err)
{
    if (from->n_headers > AUDIT_HEADERS_MAX) {
        return cf_fail(err, CF_INVALID, "malformed forwarded request");
    }
    rq->header = audit_carried_header;
    struct carried_header *headers = arena_alloc(rq->arena, (from->n_headers + 1) * sizeof(*headers));
    for (size_t i = 0; i < from->n_headers; i++) {
        headers[i] = (struct carried_header){message_slice(from->headers[i]->name), message_slice(from->headers[i]->value)};
    }
    rq->headers = headers;
    rq->header_count = from->n_headers;
    return CF_OK;
}

/* node/server/carried.h: what of a client's headers goes along with a forwarded request: those that the audit log takes
 * down, so that both sides record the same. */
#ifndef COFFER_SERVER_CARRIED_H
#define COFFER_SERVER_CARRIED_H

#include "node/core/request.h"
#include "proto/forward.pb-c.h"

/* rq->headers into the message, which borrows from the request and its arena. */
void carried_pack(const struct request *rq, Coffer__Forward__Request *to);
/* rq->headers and rq->header; borrows from the message. CF_INVALID. */
CF_CHECKED cf_status carried_unpack(const Coffer__Forward__Request *from, struct request *rq, struct cf_error *err);

#endif

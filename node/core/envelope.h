/* node/core/envelope.h: the body of an answer (core-api.md section 2). Pure. */
#ifndef COFFER_CORE_ENVELOPE_H
#define COFFER_CORE_ENVELOPE_H

#include "node/core/request.h"

/* The HTTP status of a finished request: response.status, or 200 / 204 by content, or the error's. */
int envelope_status(const struct request *rq);
/* Appends the body of the finished request (nothing for 204): the envelope, bare data, or errors. */
void envelope_body(const struct request *rq, struct cf_buf *to);
/* The envelope of the response as it is now, whatever rq->error says (used by wrapping). */
void envelope_write(const struct request *rq, struct cf_buf *to);
/* {"errors": ["message"]} or {"errors": []} for an empty message. */
void envelope_error(const char *message, struct cf_buf *to);

#endif

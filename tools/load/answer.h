/* tools/load/answer.h
 *
 * The reading half of a small HTTP/1.1 client: bytes in, one answer out. Pure; it does no I/O.
 * Knows Content-Length, chunked bodies and bodies that end with the connection (RFC 9112, 6.3).
 * Thread: its owner's.
 */
#ifndef COFFER_LOAD_ANSWER_H
#define COFFER_LOAD_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/slice.h"
#include "node/base/status.h"

#define ANSWER_HEAD_MAX ((size_t)64 * 1024)

enum answer_state {
    ANSWER_HEAD,
    ANSWER_LENGTH,
    ANSWER_CHUNK_SIZE,
    ANSWER_CHUNK,
    ANSWER_CHUNK_END,
    ANSWER_TRAILER,
    ANSWER_UNTIL_CLOSE,
    ANSWER_COMPLETE,
};

struct answer {
    enum answer_state state;
    struct cf_buf line, body; /* line: the head, later one chunk's line */
    uint64_t left;            /* bytes of the body or chunk still to come */
    int status;
    bool close; /* the server ends the connection after this answer */
};

/* body_max: a longer body is CF_TOO_LARGE. */
void answer_init(struct answer *answer, size_t body_max);
void answer_done(struct answer *answer);
/* Ready for the next answer; keeps its memory. */
void answer_reset(struct answer *answer);
/* Takes bytes from the connection; *used of them belong to this answer (what is left over came
 * unasked). Complete when state is ANSWER_COMPLETE. CF_CORRUPT: what came is no HTTP. */
CF_CHECKED cf_status answer_feed(struct answer *answer, struct cf_slice in, size_t *used,
                                 struct cf_error *err);
/* The server closed the connection: completes an answer that ends this way, else CF_IO. */
CF_CHECKED cf_status answer_closed(struct answer *answer, struct cf_error *err);

#endif

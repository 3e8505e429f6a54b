/* tests/unit/tools/fake_server.h: a small HTTP server within the test: scripted answers, and a KV
 * v2 mount at kv/ that keeps what is written. Thread: any; its own threads serve. */
#ifndef COFFER_TEST_FAKE_SERVER_H
#define COFFER_TEST_FAKE_SERVER_H

#include <stddef.h>

struct fake_server;

/* Listens on a free port of 127.0.0.1. */
struct fake_server *fake_server_new(void);
/* All connections must be closed by then. */
void fake_server_free(struct fake_server *server);
const char *fake_server_address(const struct fake_server *server);

/* The next answer to "METHOD /path?query"; the last one given for it stays. Texts are borrowed.
 * location: for redirects, or NULL. */
void fake_server_answer(struct fake_server *server, const char *request, int status,
                        const char *body, const char *location);
/* Head and body of the last request that had a scripted answer, copied; "" when none came. */
const char *fake_server_last(struct fake_server *server);
size_t fake_server_count(struct fake_server *server); /* requests so far */

#endif

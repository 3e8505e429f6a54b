/* tests/lib/core_fixture.h
 *
 * A whole secrets store in one thread, for tests of engines, auth methods and the frame: the real core
 * over the in-memory store, with a proposer that appends and applies at once. Requests go through the
 * frame like any other: route, token, policy, handler, write set, seal, apply.
 */
#ifndef COFFER_CORE_FIXTURE_H
#define COFFER_CORE_FIXTURE_H

#include "node/core/core.h"

struct fixture;

struct fixture *fixture_new(void); /* every engine of the registry; initialised and unsealed */
/* With routes of the host's own below sys/ (core.h); their context must outlive the fixture. */
struct fixture *fixture_new_with(const struct core_host *host);
void fixture_free(struct fixture *fixture);
CF_DEFINE_OWNED(fixture);
const char *fixture_root(const struct fixture *fixture);
struct core *fixture_core(struct fixture *fixture);
uint64_t fixture_index(const struct fixture *fixture); /* log entries so far */

/* Sends a request. operation: GET LIST SCAN POST PUT PATCH DELETE, HELP for ?help=1. path below /v1/, with ?query if any.
 * body: JSON text or NULL. token NULL: the root token; "": none. Returns the HTTP status. The answer is
 * parsed into *ret (may be NULL; NULL is stored when there is no body) and lives until the next call. */
int fixture_call(struct fixture *fixture, const char *token, const char *operation,
                 const char *path, const char *body, const struct json **ret);
/* As fixture_call with a wrapping TTL in seconds. */
int fixture_call_wrapped(struct fixture *fixture, const char *token, const char *operation,
                         const char *path, const char *body, int64_t wrap_ttl_s,
                         const struct json **ret);
/* The client certificate of the next calls (DER, borrowed); empty: none. */
void fixture_set_peer(struct fixture *fixture, struct cf_slice certificate);
/* The text at a dotted path of the last answer ("data.keys.0"); "" when absent. Numbers and booleans as
 * they were written. */
const char *fixture_at(struct fixture *fixture, const char *dotted);
/* Whether some error of the last answer contains the text. */
bool fixture_error_has(struct fixture *fixture, const char *text);
/* Moves the store's clock on: the next entries are stamped so much later, and so are views. */
void fixture_advance(struct fixture *fixture, int64_t seconds);

#endif

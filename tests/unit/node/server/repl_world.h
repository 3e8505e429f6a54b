/* tests/unit/node/server/repl_world.h
 *
 * The real core with the routes of replication that need no link, and a way to run code inside of a
 * request: it reads and writes through a transaction that is committed when it returns CF_OK.
 */
#ifndef COFFER_TEST_REPL_WORLD_H
#define COFFER_TEST_REPL_WORLD_H

#include "node/server/node.h"
#include "node/server/replication/set.h"
#include "tests/lib/core_fixture.h"
#include "tests/lib/test.h"

extern struct fixture *world;   /* after world_begin() */
extern struct node *world_node; /* api_addr, the core and the lock of the seal: nothing runs */

void world_begin(void);
void world_end(void);
/* Runs the body as a request of the root token; its HTTP status (204: done). */
int world_run(cf_status (*body)(struct request *rq, struct cf_error *err));
/* A POST with the root token. */
int world_post(const char *path, const char *body);
/* The role of the newest view. */
enum cluster_role world_role(void);

#define ck_run(body) ck_assert_msg(world_run(body) == 204, "%s", fixture_at(world, "errors.0"))
#define ck_post(want, path, body)                                                                  \
    do {                                                                                           \
        int got_ = world_post((path), (body));                                                     \
        ck_assert_msg(got_ == (want), "%s: %d, error \"%s\"", (path), got_,                        \
                      fixture_at(world, "errors.0"));                                              \
    } while (0)
#define ck_refused(text, path, body)                                                               \
    do {                                                                                           \
        ck_post(400, path, body);                                                                  \
        ck_assert_msg(fixture_error_has(world, (text)), "%s: \"%s\"", (path),                      \
                      fixture_at(world, "errors.0"));                                              \
    } while (0)

#endif

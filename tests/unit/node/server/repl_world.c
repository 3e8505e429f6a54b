/* tests/unit/node/server/repl_world.c: the core with the routes of replication that need no link.
 */
#include "repl_world.h"

#include "node/base/memory.h"
#include "node/server/replication/enable.h"
#include "node/server/replication/filter.h"
#include "node/server/replication/filter_routes.h"
#include "node/server/replication/merkle.h"
#include "node/server/replication/promote.h"
#include "node/server/replication/routes.h"
#include "node/server/replication/status.h"
#include "node/server/rotation.h"
#include "node/server/versions.h"

struct fixture *world;
struct node *world_node;

static cf_status (*current)(struct request *rq, struct cf_error *err);

static cf_status run_current(struct request *rq, struct cf_error *err)
{
    return current(rq, err);
}

/* As in node/server/host.c; a promotion asks no link, there is none. */
static const struct route routes[] = {
    {.pattern = "test-run", .write = run_current, .flags = ROUTE_ANY_ROLE},
    {.pattern = "replication/dr/secondary/promote",
     .write = repl_secondary_promote,
     .flags = ROUTE_OPEN | ROUTE_ANY_ROLE},
    {.pattern = "replication/performance/secondary/promote",
     .write = repl_secondary_promote,
     .flags = ROUTE_ANY_ROLE | ROUTE_NOT_DR},
    {.pattern = "replication/secondary/promote",
     .write = repl_secondary_promote,
     .flags = ROUTE_ANY_ROLE | ROUTE_NOT_DR},
#include "node/server/replication/routes.def"
    {.pattern = "rotate/config",
     .read = rotation_read_config,
     .write = rotation_write_config,
     .fields = rotation_fields},
    {.pattern = "version-history", .list = versions_list},
    ROUTE_END,
};

static struct config config = {.api_addr = "https://primary.example:8200"};

void world_begin(void)
{
    world_node = cf_new(struct node);
    world_node->config = &config;
    (void)pthread_mutex_init(&world_node->seal_lock, NULL);
    struct core_host host = {
        .context = world_node, .routes = routes, .check_move = filter_check_move};
    world = fixture_new_with(&host);
    world_node->core = fixture_core(world);
}

void world_end(void)
{
    fixture_free(world);
    secret_free(world_node->root_key);
    secret_free(world_node->unseal_key);
    (void)pthread_mutex_destroy(&world_node->seal_lock);
    cf_free(world_node);
    world = NULL;
}

int world_run(cf_status (*body)(struct request *rq, struct cf_error *err))
{
    current = body;
    return world_post("sys/test-run", NULL);
}

int world_post(const char *path, const char *body)
{
    return fixture_call(world, NULL, "POST", path, body, NULL);
}

enum cluster_role world_role(void)
{
    struct view *view = core_view(fixture_core(world));
    enum cluster_role role = view->role;
    view_unref(view);
    return role;
}

/* node/server/replication.c: this node's part in replication between clusters. */
#include "node/server/replication.h"

#include "node/base/memory.h"

struct node_replication {
    struct node *node;
};

struct node_replication *node_replication_new(struct node *node)
{
    struct node_replication *replication = cf_new(struct node_replication);
    replication->node = node;
    return replication;
}

void node_replication_free(struct node_replication *replication)
{
    cf_free(replication);
}

void node_replication_modes(struct node *node, const char **performance, const char **dr)
{
    bool sealed = atomic_load(&node->is_sealed);
    *performance = sealed ? "unknown" : "disabled";
    *dr = *performance;
}

void node_replication_applied(struct node *node, uint64_t index)
{
    (void)node;
    (void)index;
}

void node_replication_refresh(struct node *node)
{
    (void)node;
}

void node_replication_forward(struct node *node, struct request *rq)
{
    (void)node;
    cf_fail(&rq->error, CF_READ_ONLY, "the primary cannot be reached");
    core_host_done(rq, CF_READ_ONLY);
}

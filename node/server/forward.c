/* node/server/forward.c: requests on their way from a standby to the active node. */
#include "node/server/cluster_int.h"

void forward_serve(struct cluster *cluster)
{
    (void)cluster;
}

void cluster_forward(void *context, struct request *rq, bool to_primary)
{
    (void)context;
    (void)to_primary;
    cf_fail(&rq->error, CF_UNAVAILABLE, "no active node, try again");
    core_host_done(rq, CF_UNAVAILABLE);
}

void cluster_forward_exchange(struct node *node, struct http_exchange *x, struct request *rq)
{
    (void)node;
    (void)rq;
    http_respond_error(x, 503, "no active node, try again");
}

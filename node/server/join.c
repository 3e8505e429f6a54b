/* node/server/join.c: joining a cluster, from both sides. */
#include "node/server/cluster_int.h"

void join_free(struct joining *joining)
{
    (void)joining;
}

bool cluster_is_joining(struct node *node)
{
    (void)node;
    return false;
}

void cluster_join_with(struct node *node, struct secret *key)
{
    (void)node;
    secret_free(key);
}

bool cluster_pending_seal(struct node *node, struct seal_config *ret)
{
    (void)node;
    (void)ret;
    return false;
}

void cluster_start_joining(struct node *node)
{
    (void)node;
}

void cluster_handle_join(struct node *node, struct http_exchange *x)
{
    (void)node;
    http_respond_error(x, 503, NULL);
}

bool cluster_handle_bootstrap(struct node *node, struct http_exchange *x, struct cf_slice path)
{
    (void)node;
    (void)x;
    (void)path;
    return false;
}

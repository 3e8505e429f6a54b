/* node/server/dev.h: server -dev, once it is unsealed. */
#ifndef COFFER_SERVER_DEV_H
#define COFFER_SERVER_DEV_H

#include "node/server/node.h"

/* kv v2 at secret/, the root token that was asked for, in the file for commands unless the configuration says
 * otherwise; then prints it. */
void dev_set_up(struct node *node, struct cf_slice root_token);

#endif

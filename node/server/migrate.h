/* node/server/migrate.h
 *
 * From one seal to another: Shamir, static, transit. The configuration names the new seal (and the old one with
 * disabled = "true", unless that is Shamir); operators give the shares of the old seal with "migrate": true.
 * That opens the node as it was. As soon as an opened node is active, one entry changes everything: seal
 * configuration, the root key under the new unseal key, and what proves the recovery shares. Before that entry
 * the old seal opens every node, after it the new one does, whatever crashes in between. Unseal shares become
 * recovery shares of an auto seal, and the other way round: people keep what they have.
 */
#ifndef COFFER_SERVER_MIGRATE_H
#define COFFER_SERVER_MIGRATE_H

#include "node/server/node.h"

/* Whether the configuration asks for another seal than the stored one, and says where from. Any thread. */
bool migrate_is_pending(const struct node *node, const struct seal_config *stored);
/* Main loop: this node was opened for a change of the seal, or became active: begins if it can. */
void migrate_try(struct node *node);
void migrate_free(struct migration *migration); /* after the core: a worker may have it. NULL is fine */

#endif

/* node/server/auto_seal.h
 *
 * The seal that opens by itself, beyond a key file: asks the other server for the unseal key at the start and
 * again, with back-off, until it answers; renews the token; and, on the active node, encrypts the unseal key anew
 * when the other server's key was rotated. Main loop, unless it says otherwise.
 */
#ifndef COFFER_SERVER_AUTO_SEAL_H
#define COFFER_SERVER_AUTO_SEAL_H

#include "node/server/node.h"

struct auto_seal *auto_seal_new(struct node *node); /* NULL: the configuration has no transit seal */
void auto_seal_free(struct auto_seal *auto_seal);   /* after the core: a worker may have it. NULL is fine */
/* The state is here and this node is sealed: gets the unseal key, then calls seal_state_arrived(). Harmless
 * while it is under way. */
void auto_seal_fetch(struct auto_seal *auto_seal);

#endif

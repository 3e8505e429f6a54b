/* node/server/ceremony.h
 *
 * generate-root and the DR operation token: enough key holders together make a token of full power
 * (replication.md 2.6, core-api.md 15). One attempt at a time, of either kind.
 */
#ifndef COFFER_SERVER_CEREMONY_H
#define COFFER_SERVER_CEREMONY_H

#include "node/server/node.h"

struct ceremony *ceremony_new(void);
void ceremony_free(struct ceremony *ceremony); /* NULL is fine */
/* Whether the listener of x takes the ceremony without a token; path is below sys/. */
bool ceremony_is_open(const struct http_exchange *x, struct cf_slice path);
/* Takes over what a configuration that was read again says of that: a way in when every token is lost. */
void ceremony_reopen(struct config_listener *listener, const struct config_listener *fresh);
/* Reactor threads: true when the path is one of the ceremony's; it then answers. */
bool ceremony_handle(struct node *node, struct http_exchange *x, struct cf_slice path);

#endif

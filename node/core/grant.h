/* node/core/grant.h
 *
 * What a login's token is made of, on its way from a primary to the performance secondary that was asked (design
 * 5.4): a login that changes shared data (a counted secret-id) runs at the primary, where its use is spent, under a
 * record that answers retries; tokens are each cluster's own, so the secondary makes the token. Its entity is in the
 * primary's entry, and so there when the answer counts. Pure.
 */
#ifndef COFFER_CORE_GRANT_H
#define COFFER_CORE_GRANT_H

#include "node/core/request.h"

/* Both ways, into the arena; what the frame fills in is left out. CF_CORRUPT: it is none. */
struct json *grant_of(struct arena *arena, const struct auth_result *auth);
CF_CHECKED cf_status grant_read(struct arena *arena, const struct json *grant, struct auth_result **ret,
                                struct cf_error *err);
/* The grant in the body of the primary's answer; an empty object when there is none, which grant_read refuses. */
struct json *grant_in(struct arena *arena, struct cf_slice body);

#endif

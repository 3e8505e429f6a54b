/* node/core/cidr.h
 *
 * Addresses and networks (RFC 4632, RFC 4291) that tokens and logins are bound to: "10.0.0.0/8", "::1". An
 * IPv4 address inside IPv6 (::ffff:a.b.c.d) counts as the IPv4 address. Pure. Thread: any.
 */
#ifndef COFFER_CORE_CIDR_H
#define COFFER_CORE_CIDR_H

#include <stdbool.h>
#include <stddef.h>

#include "node/base/slice.h"

/* Whether the text is an address, or an address and the length of a prefix. */
bool cidr_is_valid(struct cf_slice text);
/* Whether the address lies in one of the networks. False for what is no address. */
bool cidr_contains(const struct cf_slice *networks, size_t count, struct cf_slice address);
/* Whether all addresses of the network are addresses of the other. Both valid. */
bool cidr_within(struct cf_slice network, struct cf_slice other);

#endif

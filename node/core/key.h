/* node/core/key.h
 *
 * Where bytes live (design 3.4). A state key on disk is
 *
 *     class (1 byte) | generation (4, big-endian) | namespace (4, big-endian) | name
 *
 * The class says where the data goes, the generation which copy of the class is current (a bootstrap
 * fills a fresh one, then switches), the namespace is 0 for root. Log entries and replication carry
 * class, namespace and name; each cluster adds its own current generation. A value on disk is the
 * modification index (8, big-endian: the local log's) and then the sealed bytes.
 *
 * Names begin with one of the area prefixes below; they reach disk and wire: add, never reuse, and say in
 * sys/classes.c what is in it.
 */
#ifndef COFFER_CORE_KEY_H
#define COFFER_CORE_KEY_H

#include <stdint.h>

#include "node/base/slice.h"

enum key_class {
    CLASS_REPLICATED = 'r', /* to all secondaries */
    CLASS_CLUSTER = 'c',    /* to DR secondaries only */
    CLASS_OWN = 'o',        /* nobody: this cluster's Raft and snapshots only */
};
#define CLASS_COUNT 3

#define NAMESPACE_ROOT ((uint32_t)0)
#define KEY_HEADER_SIZE ((size_t)9)
#define KEY_NAME_MAX ((size_t)4096)
#define VALUE_HEADER_SIZE ((size_t)8)

/* The areas. Sealed by the barrier unless it says "plain". */
#define AREA_MOUNT "mount/"         /* r or c: <uuid> -> mount entry */
#define AREA_POLICY "policy/"       /* r: <name> -> policy */
#define AREA_DATA "d/"              /* r or c: <16 raw bytes of mount uuid>/<path>: an engine's own */
#define AREA_TOKEN "token/"         /* c: <32 raw bytes: HMAC of the token> -> token entry */
#define AREA_ACCESSOR "accessor/"   /* c: <HMAC of the accessor> -> token key, accessor */
#define AREA_CHILD "child/"         /* c: <parent token key><child token key> -> nothing */
#define AREA_EXPIRE "expire/"       /* c: <8 bytes unix ms><mark, key> -> what to revoke */
#define AREA_LEASE "lease/"         /* c: <lease id> -> lease */
#define AREA_CUBBY "cubby/"         /* c: <token key>/<path> -> a token's cubbyhole */
#define AREA_ROLE "tokenrole/"      /* r: token roles */
#define AREA_CONFIG "config/"       /* r: shared settings */
#define AREA_SALT "salt"            /* c: the salt of token and accessor HMACs */
#define AREA_REQUEST "request/"     /* c: <8 bytes group><request id>: records of forwarded requests; floor */
#define AREA_REPL "repl/"           /* c: performance set: CA, registry; o: role, lineage, link */
#define AREA_POSITION "replpos/"   /* c, o: where a link has got to in its primary's log */
#define AREA_NAMESPACE "namespace/" /* r: <8 hex digits: its number> -> namespace */
#define AREA_SEAL "seal/"           /* o, plain: config, wrapped root key, wrapped keyring */
#define AREA_AUDIT "audit/"         /* r or c: dev/<uuid> -> audit device; r: headers; table: a guard */
#define AREA_CLUSTER "cluster/"     /* o: internal CA; plain: autopilot, member/<id> (a sealed leader reads them) */
#define AREA_LEASE_DUE "leasedue/"  /* c: <16 raw bytes of mount uuid><8 bytes unix ms><namespace 4><lease id> */
#define AREA_LEASE_OF "leaseof/"    /* c: <token key><namespace 4><lease id>: what a token has to its name */
#define AREA_LEASE_FAILED "leasefail/" /* c: <8 bytes unix ms: its end><lease id>: irrevocable */
#define AREA_FILTER "filter/" /* r: rule/, wide/, thin/<secondary>: what goes there; to that one and to DR secondaries */
#define AREA_NOT_BEFORE "not-before" /* c, plain: 8 bytes unix ns; older batch tokens are void */

struct key {
    uint8_t class; /* enum key_class */
    uint32_t ns;
    struct cf_slice name;
};

/* Appends the on-disk form. */
void key_encode(struct cf_buf *to, struct key key, uint32_t generation);
/* Borrowed parts of an on-disk key; false when it is none of ours. */
bool key_decode(struct cf_slice stored, struct key *ret, uint32_t *ret_generation);
/* What the write window and the caches know a key by (keyed hash of class, namespace, name). */
uint64_t key_hash(struct key key);
/* 0, 1, 2 for r, c, o; CLASS_COUNT for anything else. */
unsigned class_number(uint8_t class);

#endif

/* node/core/policy.h
 *
 * ACL policies (core-api.md section 6): text to rules, rules of several policies to one ACL, and the
 * decision for a request. Pure; a compiled policy and an ACL are immutable and reference-counted.
 */
#ifndef COFFER_CORE_POLICY_H
#define COFFER_CORE_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/arena.h"
#include "node/base/slice.h"
#include "node/base/status.h"
#include "node/core/request.h"
#include "node/format/json.h"

enum capability {
    CAPABILITY_CREATE = 1 << 0,
    CAPABILITY_READ = 1 << 1,
    CAPABILITY_UPDATE = 1 << 2,
    CAPABILITY_DELETE = 1 << 3,
    CAPABILITY_LIST = 1 << 4,
    CAPABILITY_SUDO = 1 << 5,
    CAPABILITY_DENY = 1 << 6,
    CAPABILITY_PATCH = 1 << 7,
    CAPABILITY_SCAN = 1 << 8,
};
#define CAPABILITY_COUNT 9
#define POLICY_NAME_MAX 512

/* The names of the bits, sorted, in static memory; returns how many. */
size_t capability_names(unsigned bits, const char *ret[CAPABILITY_COUNT]);

struct policy;
struct acl;

/* Compiles text (HCL, JSON, or either in base64). CF_INVALID with line and column. */
CF_CHECKED cf_status policy_parse(struct cf_slice name, struct cf_slice text, struct policy **ret,
                                  struct cf_error *err);
/* The text itself: decoded (into the arena) when all of it is base64, else as it is. */
struct cf_slice policy_text(struct arena *arena, struct cf_slice text);
struct policy *policy_ref(struct policy *policy);
void policy_unref(struct policy *policy);

/* Unites policies. is_root: the root policy is among them. Templates are filled in from `identity` (an
 * object as the templates see it, or NULL: rules with templates are dropped). */
CF_CHECKED cf_status acl_new(struct policy *const *policies, size_t count, bool is_root,
                             const struct json *identity, struct acl **ret, struct cf_error *err);
struct acl *acl_ref(struct acl *acl);
void acl_unref(struct acl *acl);
bool acl_is_root(const struct acl *acl);

struct acl_request {
    struct cf_slice path; /* canonical; for list and scan with the closing slash */
    enum operation operation;
    const struct json *body; /* for parameters; NULL: none */
    int64_t wrap_ttl_s;      /* 0: no wrapping asked for */
    bool needs_sudo;         /* root-protected path */
};
/* Whether the request is allowed. For root everything is. */
bool acl_allows(const struct acl *acl, const struct acl_request *request);
/* Whether it makes a difference to acl_allows() if a write to the path creates or updates. */
bool acl_tells_creation(const struct acl *acl, struct cf_slice path);
/* Bits of enum capability on the path; CAPABILITY_DENY alone for nothing. Root: see acl_is_root. */
unsigned acl_capabilities(const struct acl *acl, struct cf_slice path);
/* Whether any rule that is not a pure deny touches the path or something below it (ui/mounts). */
bool acl_touches(const struct acl *acl, struct cf_slice prefix);
/* The united rules in the order of their paths, for sys/internal/ui/resultant-acl. is_glob: it
 * has wildcards; a closing '*' is left out of path, which is borrowed from the ACL. */
void acl_each(const struct acl *acl,
              void (*each)(void *context, struct cf_slice path, bool is_glob, unsigned capabilities),
              void *context);

/* Text of the policy that every cluster begins with, and of response-wrapping. */
extern const char policy_default_text[];
extern const char policy_wrapping_text[];
/* Lower case, [a-z0-9._ /-] and not "root": names as sys/policy takes them, folded into the arena. */
CF_CHECKED cf_status policy_name(struct arena *arena, struct cf_slice name, struct cf_slice *ret,
                                 struct cf_error *err);

#endif

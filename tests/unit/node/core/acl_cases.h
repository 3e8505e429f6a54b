/* tests/unit/node/core/acl_cases.h
 *
 * Policies and requests at random, decided by node/core and by the model of tests/lib/acl_model.h. The
 * policies are texts, in HCL, in its JSON form or in base64, so that what reads them is compared, too.
 */
#ifndef COFFER_TEST_ACL_CASES_H
#define COFFER_TEST_ACL_CASES_H

#include "node/base/slice.h"

/* How often each thing was met in cases that were run: a generator that misses one shows nothing. */
enum acl_mark {
    ACL_ALLOWED,
    ACL_REFUSED,
    ACL_BY_EXACT,
    ACL_BY_WILD,
    ACL_TWO_FIT,      /* more than one wildcard rule fits */
    ACL_UNITED,       /* rules of several policies decide together */
    ACL_DENIED,       /* a deny decides */
    ACL_FILLED,       /* the rule had a template */
    ACL_DROPPED,      /* a rule fell away for want of a value */
    ACL_PARAMETERS,   /* parameters made the difference */
    ACL_WRAPPING,     /* the wrapping TTL did */
    ACL_SUDO,         /* the missing sudo did */
    ACL_LIST_SLASH,   /* an exact rule without the closing slash decided about a list */
    ACL_MARK_COUNT,
};
extern const char *const acl_mark_names[ACL_MARK_COUNT];

struct acl_run {
    uint64_t cases;
    uint64_t marks[ACL_MARK_COUNT];
    char difference[8192]; /* the first one; "" */
};
/* At least `count` cases from the seed, or up to the first difference. */
void acl_cases(uint64_t seed, uint64_t count, struct acl_run *run);

#endif

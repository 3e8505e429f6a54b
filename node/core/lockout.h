/* node/core/lockout.h
 *
 * User lockout: whoever fails to log in too often is refused for a while, the right password included. The
 * method names the canonical user (small letters ...), so no spelling of a name counts for itself. A failure is a log
 * entry of class cluster: it holds on every node and across failovers, and two of them at once count as two.
 *
 * Names that do not exist are counted as well, or a lock would tell which ones do; they share a fixed number
 * of records, so that made-up names fill no disk.
 */
#ifndef COFFER_CORE_LOCKOUT_H
#define COFFER_CORE_LOCKOUT_H

#include "node/core/request.h"

struct lockout_settings {
    bool is_off;
    int64_t threshold;  /* failures; 0: not set */
    int64_t duration_s; /* of the lock; 0: not set */
    int64_t reset_s;    /* after so long without a failure the count begins anew; 0: not set */
};

/* What the configuration says of a type of methods, "all" for those without a word of their own. */
struct lockout_rule {
    struct cf_slice type;
    struct lockout_settings settings;
};

/* Of the request's mount: its tuning, else the configuration, else 5 failures and 15 minutes. */
struct lockout_settings lockout_settings_of(const struct request *rq);

/* Before anything is compared. CF_DENIED while the user is locked out. */
CF_CHECKED cf_status lockout_check(struct request *rq, struct cf_slice user, bool exists,
                                   struct cf_error *err);
/* A failed proof. What it writes stays, although the request fails. */
CF_CHECKED cf_status lockout_failed(struct request *rq, struct cf_slice user, bool exists,
                                    struct cf_error *err);
/* A good one: nothing is held against the user any more. */
CF_CHECKED cf_status lockout_passed(struct request *rq, struct cf_slice user, struct cf_error *err);

/* Of any mount: who is locked out now, sorted; and forgetting about one. */
CF_CHECKED cf_status lockout_list(struct request *rq, const struct mount *mount, struct json **ret,
                                  struct cf_error *err);
void lockout_forget(struct request *rq, const struct mount *mount, struct cf_slice user);

#endif

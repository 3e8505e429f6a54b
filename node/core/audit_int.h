/* node/core/audit_int.h: what the files of the audit step share. */
#ifndef COFFER_CORE_AUDIT_INT_H
#define COFFER_CORE_AUDIT_INT_H

#include "node/core/audit.h"

/* {"<header>": {"hmac": true}}: which headers of requests are recorded. */
#define AUDIT_HEADERS_KEY                                                                          \
    ((struct key){CLASS_REPLICATED, NAMESPACE_ROOT, CF_SLICE(AREA_AUDIT "headers")})

/* audit.c: the device that runs for the entry (by uuid), with a reference; made when there is none.
 * NULL: this node has no such type. */
struct audit_device *audit_device_for(struct audit_broker *broker, const struct audit_entry *entry);
void audit_device_unref(struct audit_device *device); /* NULL is fine */

/* audit_config.c: what the configuration of this node names. The broker has one. */
struct audit_own;
struct audit_own *audit_own_new(void);
void audit_own_free(struct audit_own *own);
struct audit_own *audit_own_of(struct audit_broker *broker); /* audit.c */
/* Does it name the entry's device, of that type and with those options? Any thread. */
bool audit_is_own(struct audit_broker *broker, const struct audit_entry *entry);

/* audit.c: makes a device of the entry and frees it again: are the options good? CF_INVALID. */
CF_CHECKED cf_status audit_try_make(const struct audit_broker *broker,
                                    const struct audit_entry *entry, struct cf_error *err);

/* audit_config.c: requests that wait for audit_release(). */
struct audit_held {
    struct cf_list link;
    void (*run)(struct audit_held *held); /* any thread; may not block */
};
struct audit_gate *audit_gate_new(struct core *core);
void audit_gate_free(struct audit_gate *gate);
/* True: held->run comes later. */
bool audit_gate_holds(struct audit_gate *gate, struct audit_held *held);

/* sys/audit.c, for the devices of the configuration, too (audit_config.c). */
/* The type and the options, as far as that can be told without the target. CF_INVALID. */
CF_CHECKED cf_status audit_check(const struct request *rq, struct audit_entry *entry,
                                 struct cf_error *err);
/* Whether its path is free, and there is room. */
CF_CHECKED cf_status audit_check_free(const struct request *rq, const struct audit_entry *entry,
                                      struct cf_error *err);
/* Every change of the table of a class reads and writes one key, which is in all read sets. */
CF_CHECKED cf_status audit_take_guard(struct request *rq, bool is_local, struct cf_error *err);
/* With a new uuid and salt. */
void audit_store(struct request *rq, struct audit_entry *entry);

#endif

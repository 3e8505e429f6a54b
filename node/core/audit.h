/* node/core/audit.h
 *
 * The audit step of the frame (design 3.8): the request is recorded before its handler's effect is
 * proposed, and so is the answer; a failure of every device withholds both. Devices are tables; the
 * broker asks all of them and is content when one took the record.
 */
#ifndef COFFER_CORE_AUDIT_H
#define COFFER_CORE_AUDIT_H

#include "node/core/request.h"

enum audit_phase {
    AUDIT_REQUEST,  /* before the handler's effect */
    AUDIT_RESPONSE, /* before the append and before the client */
    AUDIT_OUTCOME,  /* the commit was lost after both: says so */
};

struct audit_device {
    const char *type;
    void *state;
    /* One record. Called on the request's thread; must not block longer than 500 ms. */
    cf_status (*record)(void *state, enum audit_phase phase, const struct request *rq,
                        struct cf_error *err);
};

struct audit_broker;

struct audit_broker *audit_broker_new(void);
void audit_broker_free(struct audit_broker *broker);
/* The device is copied. Before threads use the broker, or from the one that owns it. */
void audit_broker_add(struct audit_broker *broker, const struct audit_device *device);
/* CF_OK when there is no device or one of them took the record. */
CF_CHECKED cf_status audit_record(struct audit_broker *broker, enum audit_phase phase,
                                  const struct request *rq, struct cf_error *err);

#endif

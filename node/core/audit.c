/* node/core/audit.c: the broker between the frame and the audit devices. */
#include "node/core/audit.h"

#include "node/base/memory.h"

#define DEVICES_MAX ((size_t)8)

struct audit_broker {
    struct audit_device devices[DEVICES_MAX];
    size_t count;
};

struct audit_broker *audit_broker_new(void)
{
    return cf_new(struct audit_broker);
}

void audit_broker_free(struct audit_broker *broker)
{
    cf_free(broker);
}

void audit_broker_add(struct audit_broker *broker, const struct audit_device *device)
{
    if (broker->count < DEVICES_MAX) {
        broker->devices[broker->count++] = *device;
    }
}

cf_status audit_record(struct audit_broker *broker, enum audit_phase phase,
                       const struct request *rq, struct cf_error *err)
{
    cf_status last = CF_OK;
    bool taken = broker->count == 0;
    for (size_t i = 0; i < broker->count; i++) {
        const struct audit_device *device = &broker->devices[i];
        cf_status status = device->record(device->state, phase, rq, err);
        taken = taken || status == CF_OK;
        last = status != CF_OK ? status : last;
    }
    if (taken) {
        return CF_OK;
    }
    (void)cf_error_prefix(err, last, "no audit device took the record");
    return CF_INTERNAL;
}

/* node/core/settings.h
 *
 * Shared settings that every request may depend on, as a table of the view: who may call from other
 * origins (sys/config/cors), and how often (sys/quotas). Immutable; made by the applier when a record below one of these
 * names changes. Thread: any.
 */
#ifndef COFFER_CORE_SETTINGS_H
#define COFFER_CORE_SETTINGS_H

#include "node/core/quota.h"
#include "node/core/request.h"
#include "node/core/view.h"

#define SETTINGS_CORS AREA_CONFIG "cors"
#define SETTINGS_CORS_KEY ((struct key){CLASS_REPLICATED, NAMESPACE_ROOT, CF_SLICE(SETTINGS_CORS)})

struct cors {
    bool is_enabled, any_origin;
    const struct cf_slice *origins;
    size_t origin_count;
    const struct cf_slice *headers; /* that callers may send, the usual ones first */
    size_t header_count;
    struct cf_slice header_line; /* the same, joined by commas */
};

struct settings {
    struct arena *arena;
    struct cors cors;
    struct quota_table quotas;
    _Atomic unsigned references;
};

CF_CHECKED cf_status settings_load(const struct view *view, struct settings **ret,
                                   struct cf_error *err);
struct settings *settings_ref(struct settings *settings);
void settings_unref(struct settings *settings); /* NULL is fine */

/* From the record, which may be NULL: then nothing is enabled. */
void cors_from_record(struct arena *arena, const struct json *record, struct cors *ret);
/* An origin as a browser sends it: compared whole, byte by byte. */
bool cors_allows(const struct cors *cors, struct cf_slice origin);

#endif

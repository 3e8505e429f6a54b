/* node/server/registry.c: the lists of engines and auth methods as an array. */
#include "node/server/registry.h"

#include "node/core/sys/sys.h"

#define ENGINE(name) extern const struct engine_ops engine_##name;
#include "node/engines/engines.def"
#undef ENGINE
#define AUTH(name) extern const struct engine_ops auth_##name;
#include "node/auth/auth.def"
#undef AUTH
#define AUDIT(name) extern const struct audit_ops audit_##name;
#include "node/audit/audit.def"
#undef AUDIT

const struct engine_ops *const registry_engines[] = {
    &engine_system,
#define ENGINE(name) &engine_##name,
#include "node/engines/engines.def"
#undef ENGINE
#define AUTH(name) &auth_##name,
#include "node/auth/auth.def"
#undef AUTH
    NULL,
};

const struct audit_ops *const registry_audit[] = {
#define AUDIT(name) &audit_##name,
#include "node/audit/audit.def"
#undef AUDIT
    NULL,
};

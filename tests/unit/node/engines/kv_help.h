/* tests/unit/node/engines/kv_help.h: a store with a kv mount at "kv/", for the tests of the engine.
 */
#ifndef COFFER_TEST_KV_HELP_H
#define COFFER_TEST_KV_HELP_H

#include "core_fixture.h"
#include "node/base/memory.h"
#include "test.h"

static inline struct fixture *kv_fixture(const char *version)
{
    struct fixture *fixture = fixture_new();
    char body[128];
    (void)snprintf(body, sizeof(body), "{\"type\":\"kv\",\"options\":{\"version\":\"%s\"}}",
                   version);
    ck_assert_int_eq(fixture_call(fixture, NULL, "POST", "sys/mounts/kv", body, NULL), 204);
    return fixture;
}

#define ck_call(want, fixture, operation, path, body)                                              \
    do {                                                                                           \
        int got_ = fixture_call((fixture), NULL, (operation), (path), (body), NULL);               \
        ck_assert_msg(got_ == (want), "%s %s: %d, not %d: %s", (operation), (path), got_, (want),  \
                      fixture_at((fixture), "errors.0"));                                          \
    } while (0)
#define ck_at(fixture, dotted, want) ck_assert_str_eq(fixture_at((fixture), (dotted)), (want))

#endif

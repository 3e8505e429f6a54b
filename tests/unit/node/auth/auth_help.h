/* tests/unit/node/auth/auth_help.h: tokens and policies for the tests of auth methods. */
#ifndef COFFER_TEST_AUTH_HELP_H
#define COFFER_TEST_AUTH_HELP_H

#include "core_fixture.h"
#include "node/base/memory.h"
#include "test.h"

#define TOKEN_TEXT 2048

/* With the root token. */
#define ck_call(want, fixture, operation, path, body)                                              \
    ck_call_as(want, fixture, NULL, operation, path, body)
#define ck_call_as(want, fixture, token, operation, path, body)                                    \
    do {                                                                                           \
        int got_ = fixture_call((fixture), (token), (operation), (path), (body), NULL);            \
        ck_assert_msg(got_ == (want), "%s %s: %d, not %d: %s", (operation), (path), got_, (want),  \
                      fixture_at((fixture), "errors.0"));                                          \
    } while (0)
#define ck_at(fixture, dotted, want) ck_assert_str_eq(fixture_at((fixture), (dotted)), (want))
#define ck_error(fixture, text)                                                                    \
    ck_assert_msg(fixture_error_has((fixture), (text)), "%s", fixture_at((fixture), "errors"))

/* `dotted` of the last answer, which a next call would overwrite. */
static inline void keep(struct fixture *f, const char *dotted, char to[TOKEN_TEXT])
{
    (void)snprintf(to, TOKEN_TEXT, "%s", fixture_at(f, dotted));
    ck_assert_str_ne(to, "");
}

/* auth/token/create by the caller (NULL: root). */
static inline void make_token(struct fixture *f, const char *caller, const char *body,
                              char to[TOKEN_TEXT])
{
    ck_call_as(200, f, caller, "POST", "auth/token/create", body);
    keep(f, "auth.client_token", to);
}

static inline void make_policy(struct fixture *f, const char *name, const char *rules)
{
    char path[128];
    CF_BUF(body) = {0};
    (void)snprintf(path, sizeof(path), "sys/policies/acl/%s", name);
    cf_buf_add_str(&body, "{\"policy\":\"");
    for (; *rules != '\0'; rules++) {
        if (*rules == '"') {
            cf_buf_add_byte(&body, '\\');
        }
        cf_buf_add_byte(&body, (uint8_t)*rules);
    }
    cf_buf_add_str(&body, "\"}");
    ck_call(204, f, "POST", path, cf_buf_text(&body));
}

/* A body {"<field>":"<value>"}. */
static inline const char *with(const char *field, const char *value)
{
    static char body[TOKEN_TEXT + 64];
    (void)snprintf(body, sizeof(body), "{\"%s\":\"%s\"}", field, value);
    return body;
}

#define MAY_CREATE "path \"auth/token/create\" { capabilities=[\"create\",\"update\"] }"

#endif

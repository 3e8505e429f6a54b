/* tests/unit/node/auth/test_cert.c: logins with client certificates: trust, names, revocation, renewals. */
#include <stdatomic.h>

#include "auth_help.h"
#include "cert_data.h"
#include "node/base/host.h"
#include "node/core/outside.h"
#include "node/crypto/x509_client.h"

static struct arena *arena;

/* A PEM of cert_data.h with real newlines. */
static struct cf_slice pem(const char *text)
{
    CF_BUF(out) = {0};
    for (; *text != '\0'; text++) {
        bool newline = text[0] == '\\' && text[1] == 'n';
        cf_buf_add_byte(&out, newline ? '\n' : (uint8_t)*text);
        text += newline;
    }
    return arena_copy(arena, cf_buf_slice(&out));
}

static struct cf_slice der(const char *text)
{
    struct x509_facts facts;
    ck_assert_int_eq(x509_facts_read(pem(text), arena, &facts, NULL), CF_OK);
    return facts.der;
}

static struct fixture *with_role(const char *name, const char *certificate, const char *more)
{
    arena = arena_new(16384);
    struct fixture *f = fixture_new();
    char path[64];
    ck_call(204, f, "POST", "sys/auth/ce", "{\"type\":\"cert\"}");
    (void)snprintf(path, sizeof(path), "auth/ce/certs/%s", name);
    ck_call(204, f, "POST", path,
            arena_printf(arena, "{\"certificate\":\"%s\"%s}", certificate, more));
    return f;
}

static void done(struct fixture *f)
{
    fixture_free(f);
    arena_free(arena);
}

static int login(struct fixture *f, const char *certificate)
{
    fixture_set_peer(f, certificate != NULL ? der(certificate) : CF_SLICE_EMPTY);
    return fixture_call(f, "", "POST", "auth/ce/login", "{}", NULL);
}

START_TEST(a_ca)
{
    struct fixture *f = with_role("ca", PEM_CA, ",\"token_policies\":\"p\",\"token_ttl\":\"1h\"");
    uint64_t before = fixture_index(f);
    ck_assert_int_eq(login(f, PEM_CLIENT), 200);
    ck_assert_uint_eq(fixture_index(f), before + 1);
    ck_at(f, "auth.policies", "[\"default\",\"p\"]");
    ck_at(f, "auth.metadata.cert_name", "ca");
    ck_at(f, "auth.metadata.common_name", "web");
    ck_at(f, "auth.metadata.serial_number", "4096");
    ck_assert_str_ne(fixture_at(f, "auth.metadata.subject_key_id"), "");
    ck_at(f, "auth.lease_duration", "3600");
    ck_assert_int_eq(login(f, PEM_SECOND), 200);
    ck_assert_int_eq(login(f, NULL), 400);
    ck_error(f, "tls connection required");
    ck_assert_int_eq(login(f, PEM_SERVER), 400); /* not made for clients */
    ck_assert_int_eq(login(f, PEM_OLD), 400);
    ck_error(f, "expired");
    ck_assert_int_eq(login(f, PEM_OTHER), 400);
    fixture_set_peer(f, CF_SLICE("junk"));
    ck_call_as(400, f, "", "POST", "auth/ce/login", "{}");
    done(f);
}
END_TEST

START_TEST(a_pinned_certificate)
{
    struct fixture *f = with_role("Web", PEM_CLIENT, "");
    ck_assert_int_eq(login(f, PEM_CLIENT), 200);
    ck_at(f, "auth.metadata.cert_name", "web");
    ck_assert_int_eq(login(f, PEM_SECOND), 400);
    ck_call(204, f, "POST", "auth/ce/certs/old",
            arena_printf(arena, "{\"certificate\":\"%s\"}", PEM_OLD));
    ck_assert_int_eq(login(f, PEM_OLD), 400);
    ck_call(400, f, "POST", "auth/ce/certs/server",
            arena_printf(arena, "{\"certificate\":\"%s\"}", PEM_SERVER));
    ck_error(f, "client authentication");
    fixture_set_peer(f, der(PEM_CLIENT));
    ck_call_as(400, f, "", "POST", "auth/ce/login", "{\"name\":\"old\"}");
    ck_call_as(400, f, "", "POST", "auth/ce/login", "{\"name\":\"none\"}");
    ck_call_as(200, f, "", "POST", "auth/ce/login", "{\"name\":\"WEB\"}");
    done(f);
}
END_TEST

START_TEST(constraints)
{
    static const struct {
        const char *body;
        bool passes;
    } rules[] = {
        {"\"allowed_names\":\"w*\"", true},
        {"\"allowed_names\":[\"no\",\"*.example.com\"]", true},
        {"\"allowed_names\":\"ops@*\"", true},
        {"\"allowed_names\":\"spiffe*\"", false},
        {"\"allowed_common_names\":\"web\"", true},
        {"\"allowed_common_names\":\"we\"", false},
        {"\"allowed_dns_sans\":\"*.example.com\"", true},
        {"\"allowed_dns_sans\":\"web\"", false},
        {"\"allowed_email_sans\":\"*@example.com\"", true},
        {"\"allowed_email_sans\":\"dev@example.com\"", false},
        {"\"allowed_uri_sans\":\"spiffe://*/web\"", true},
        {"\"allowed_uri_sans\":\"spiffe://*/db\"", false},
        {"\"allowed_organizational_units\":\"ops\"", true},
        {"\"allowed_organizational_units\":\"dev\"", false},
        {"\"required_extensions\":\"1.3.6.1.4.1.99999.1:blue-*\"", true},
        {"\"required_extensions\":[\"1.3.6.1.4.1.99999.1:blue-*\",\"1.2.3:x\"]", false},
        {"\"required_extensions\":\"1.3.6.1.4.1.99999.1:red-*\"", false},
        {"\"token_bound_cidrs\":\"127.0.0.1\"", true},
    };
    struct fixture *f = with_role("r", PEM_CA, "");
    for (size_t i = 0; i < CF_LENGTH(rules); i++) {
        ck_call(204, f, "DELETE", "auth/ce/certs/r", NULL);
        ck_call(204, f, "POST", "auth/ce/certs/r",
                arena_printf(arena, "{\"certificate\":\"%s\",%s}", PEM_CA, rules[i].body));
        int status = login(f, PEM_CLIENT);
        ck_assert_msg((status == 200) == rules[i].passes, "%s: %d", rules[i].body, status);
    }
    ck_call(204, f, "POST", "auth/ce/certs/r", "{\"token_bound_cidrs\":\"10.0.0.0/8\"}");
    ck_assert_int_eq(login(f, PEM_CLIENT), 403);
    ck_call(400, f, "POST", "auth/ce/certs/r", "{\"required_extensions\":\"no colon\"}");
    ck_call(204, f, "POST", "auth/ce/certs/r", "{\"token_bound_cidrs\":\"\",\"ocsp_enabled\":true}");
    ck_assert_int_eq(login(f, PEM_CLIENT), 400);
    ck_error(f, "names no OCSP server");
    ck_call(204, f, "POST", "auth/ce/certs/r", "{\"ocsp_servers_override\":\"http://127.0.0.1:1\"}");
    ck_assert_int_eq(login(f, PEM_CLIENT), 400); /* asked, on another thread, and run again */
    ck_error(f, "asks no other servers");
    ck_call(204, f, "POST", "auth/ce/certs/r", "{\"ocsp_fail_open\":true}");
    ck_assert_int_eq(login(f, PEM_CLIENT), 200);
    ck_call(400, f, "POST", "auth/ce/certs/r", "{\"ocsp_ca_certificates\":\"junk\"}");
    ck_call(400, f, "POST", "auth/ce/certs/r", "{\"ocsp_servers_override\":\"a,b,c,d,e,f,g,h,i\"}");
    done(f);
}
END_TEST

START_TEST(metadata_of_extensions)
{
    struct fixture *f =
        with_role("r", PEM_CA, ",\"allowed_metadata_extensions\":\"1.3.6.1.4.1.99999.1\"");
    ck_assert_int_eq(login(f, PEM_CLIENT), 200);
    ck_at(f, "auth.metadata.1-3-6-1-4-1-99999-1", "blue-team");
    done(f);
}
END_TEST

/* A serial number counts for its issuer alone. */
START_TEST(revocation)
{
    struct fixture *f = with_role("r", PEM_CA, "");
    ck_call(204, f, "POST", "auth/ce/crls/other",
            arena_printf(arena, "{\"crl\":\"%s\"}", PEM_OTHER_CRL));
    ck_assert_int_eq(login(f, PEM_SECOND), 200);
    ck_call(204, f, "POST", "auth/ce/crls/mine",
            arena_printf(arena, "{\"crl\":\"%s\"}", PEM_CA_CRL));
    ck_assert_int_eq(login(f, PEM_SECOND), 400);
    ck_error(f, "revoked");
    ck_assert_int_eq(login(f, PEM_CLIENT), 200);
    ck_call(200, f, "GET", "auth/ce/crls/mine", NULL);
    ck_at(f, "data.serials.4097", "{}");
    ck_call(200, f, "LIST", "auth/ce/crls", NULL);
    ck_at(f, "data.keys", "[\"mine\",\"other\"]");
    ck_call(204, f, "DELETE", "auth/ce/crls/mine", NULL);
    ck_assert_int_eq(login(f, PEM_SECOND), 200);
    ck_call(400, f, "DELETE", "auth/ce/crls/mine", NULL);
    ck_call(400, f, "GET", "auth/ce/crls/mine", NULL);
    ck_call(400, f, "POST", "auth/ce/crls/x", "{}");
    ck_call(400, f, "POST", "auth/ce/crls/x", "{\"crl\":\"junk\"}");
    ck_call(400, f, "POST", "auth/ce/crls/x", "{\"url\":\"http://127.0.0.1/x.crl\"}");
    done(f);
}
END_TEST

/* ---- a list at a URL, with a clock of the test's own ---- */

#define HOUR_S ((int64_t)3600)

static struct {
    _Atomic uint64_t now_us;
    _Atomic unsigned asked;
    _Atomic bool is_down;
    struct cf_slice list; /* changed between calls alone: those who fetch have come back by then */
} web;

static uint64_t web_monotonic(void *context)
{
    (void)context;
    return atomic_load(&web.now_us);
}

static int64_t web_wall(void *context)
{
    (void)context;
    return (int64_t)atomic_load(&web.now_us) * 1000;
}

static const struct cf_clock web_clock = {NULL, web_monotonic, web_wall};

static cf_status web_fetch(void *context, const struct outside_ask *ask, int timeout_ms, struct cf_buf *to,
                           struct cf_error *err)
{
    (void)context;
    (void)timeout_ms;
    atomic_fetch_add(&web.asked, 1);
    if (atomic_load(&web.is_down) || !cf_slice_is(ask->url, "http://lists/ca")) {
        return cf_fail(err, CF_UNAVAILABLE, "nobody is there");
    }
    cf_buf_add_slice(to, web.list);
    return CF_OK;
}

/* Both clocks: the store's, by which the list in the record ages, and the node's, by which answers do. */
static void pass(struct fixture *f, int64_t seconds)
{
    atomic_fetch_add(&web.now_us, (uint64_t)seconds * 1000000);
    fixture_advance(f, seconds);
}

static struct fixture *with_web(void)
{
    struct core_host host = {.fetch = web_fetch, .clock = &web_clock};
    arena = arena_new(16384);
    atomic_store(&web.now_us, (uint64_t)1000 * 1000000);
    atomic_store(&web.asked, 0);
    atomic_store(&web.is_down, false);
    web.list = pem(PEM_OTHER_CRL);
    struct fixture *f = fixture_new_with(&host);
    ck_call(204, f, "POST", "sys/auth/ce", "{\"type\":\"cert\"}");
    ck_call(204, f, "POST", "auth/ce/certs/r", arena_printf(arena, "{\"certificate\":\"%s\"}", PEM_CA));
    ck_call(204, f, "POST", "auth/ce/crls/web", "{\"url\":\"http://lists/ca\"}");
    ck_assert_uint_eq(atomic_load(&web.asked), 1);
    return f;
}

/* What is newly on the list counts an hour after the list was fetched, and no list is fetched more often. */
START_TEST(lists_are_fetched_each_hour)
{
    struct fixture *f = with_web();
    web.list = pem(PEM_CA_CRL);
    pass(f, HOUR_S - 60);
    ck_assert_int_eq(login(f, PEM_SECOND), 200);
    ck_assert_uint_eq(atomic_load(&web.asked), 1);
    for (unsigned hour = 0; hour < 3; hour++) {
        pass(f, HOUR_S + 1);
        for (unsigned again = 0; again < 3; again++) {
            ck_assert_int_eq(login(f, PEM_SECOND), 400);
            ck_error(f, "revoked");
            ck_assert_int_eq(login(f, PEM_CLIENT), 200);
            ck_assert_uint_eq(atomic_load(&web.asked), 2 + hour);
        }
    }
    web.list = pem(PEM_OTHER_CRL); /* taken off it again */
    ck_assert_int_eq(login(f, PEM_SECOND), 400);
    pass(f, HOUR_S + 1);
    ck_assert_int_eq(login(f, PEM_SECOND), 200);
    ck_assert_uint_eq(atomic_load(&web.asked), 5);
    done(f);
}
END_TEST

/* The server of the list is away, or hands out something else: the last list counts, also past its hour. */
START_TEST(the_last_list_counts)
{
    struct fixture *f = with_web();
    web.list = pem(PEM_CA_CRL);
    pass(f, HOUR_S + 1);
    ck_assert_int_eq(login(f, PEM_SECOND), 400);
    ck_assert_uint_eq(atomic_load(&web.asked), 2);
    atomic_store(&web.is_down, true);
    pass(f, HOUR_S + 1);
    for (unsigned again = 0; again < 3; again++) {
        ck_assert_int_eq(login(f, PEM_SECOND), 400);
        ck_error(f, "revoked");
        ck_assert_int_eq(login(f, PEM_CLIENT), 200);
        ck_assert_uint_eq(atomic_load(&web.asked), 3); /* a server that is away holds up one login in five seconds */
    }
    atomic_store(&web.is_down, false);
    web.list = CF_SLICE("<html>please log in</html>");
    pass(f, 6);
    ck_assert_int_eq(login(f, PEM_SECOND), 400);
    ck_error(f, "revoked");
    ck_assert_int_eq(login(f, PEM_CLIENT), 200);
    ck_assert_uint_eq(atomic_load(&web.asked), 4);
    web.list = pem(PEM_OTHER_CRL);
    pass(f, 6);
    ck_assert_int_eq(login(f, PEM_SECOND), 200);
    ck_assert_uint_eq(atomic_load(&web.asked), 5);
    done(f);
}
END_TEST

START_TEST(renewals_are_bound)
{
    struct fixture *f = with_role("r", PEM_CA, ",\"token_ttl\":\"1h\"");
    char token[TOKEN_TEXT];
    ck_assert_int_eq(login(f, PEM_CLIENT), 200);
    keep(f, "auth.client_token", token);
    ck_call_as(200, f, token, "POST", "auth/token/renew-self", "{}");
    fixture_set_peer(f, der(PEM_SECOND));
    ck_call_as(400, f, token, "POST", "auth/token/renew-self", "{}");
    fixture_set_peer(f, CF_SLICE_EMPTY);
    ck_call_as(400, f, token, "POST", "auth/token/renew-self", "{}");
    ck_call(200, f, "GET", "auth/ce/config", NULL);
    ck_at(f, "data.disable_binding", "false");
    ck_call(204, f, "POST", "auth/ce/config", "{\"disable_binding\":true}");
    ck_call_as(200, f, token, "POST", "auth/token/renew-self", "{}");
    ck_call(204, f, "POST", "auth/ce/certs/r", "{\"token_policies\":\"more\"}");
    ck_call_as(400, f, token, "POST", "auth/token/renew-self", "{}");
    ck_error(f, "policies have changed");
    ck_call(204, f, "DELETE", "auth/ce/certs/r", NULL);
    ck_call_as(400, f, token, "POST", "auth/token/renew-self", "{}");
    done(f);
}
END_TEST

TEST_MAIN("node/auth/cert", a_ca, a_pinned_certificate, constraints, metadata_of_extensions,
          revocation, lists_are_fetched_each_hour, the_last_list_counts, renewals_are_bound)

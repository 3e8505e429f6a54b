/* tests/unit/node/engines/test_identity.c: entities, aliases and groups, and what they do to tokens. */
#include "tests/lib/core_fixture.h"
#include "tests/lib/test.h"

static struct fixture *f;
static char mount[64];

static void keep(const char *at, char *to, size_t room)
{
    const char *text = fixture_at(f, at);
    ck_assert_uint_lt(strlen(text), room);
    memcpy(to, text, strlen(text) + 1);
}

#define ck_as(want, token, operation, path, body)                                                  \
    do {                                                                                           \
        int got_ = fixture_call(f, (token), (operation), (path), (body), NULL);                    \
        ck_assert_msg(got_ == (want), "%s %s: %d, error \"%s\"", (operation), (path), got_,        \
                      fixture_at(f, "errors.0"));                                                  \
    } while (0)
#define ck_call(want, operation, path, body) ck_as(want, NULL, operation, path, body)
#define ck_at(path, want) ck_assert_str_eq(fixture_at(f, (path)), (want))

/* A store with userpass at auth/u, user "bob". */
static void set_up(void)
{
    fixture_free(f);
    f = fixture_new();
    ck_call(204, "POST", "sys/auth/u", "{\"type\":\"userpass\"}");
    ck_call(200, "GET", "sys/auth/u", NULL);
    keep("data.accessor", mount, sizeof(mount));
    ck_call(204, "POST", "auth/u/users/bob", "{\"password\":\"p\"}");
    ck_call(204, "POST", "sys/mounts/kv", "{\"type\":\"kv\"}");
    ck_call(204, "PUT", "kv/red/x", "{\"v\":\"1\"}");
}

static void login(char token[128])
{
    ck_as(200, "", "POST", "auth/u/login/bob", "{\"password\":\"p\"}");
    keep("auth.client_token", token, 128);
}

static void make(const char *path, const char *body, char id[80])
{
    ck_call(200, "POST", path, body);
    keep("data.id", id, 80);
}

static const char *with(const char *fmt, const char *a, const char *b)
{
    static char texts[4][512]; /* a path and a body may be made of one line */
    static unsigned turn;
    char *text = texts[turn++ % 4], *at = text;
    const char *values[] = {a, b};
    size_t next = 0;
    for (; *fmt != '\0'; fmt++) {
        if (*fmt == '$') {
            size_t size = strlen(values[next]);
            memcpy(at, values[next++], size);
            at += size;
        } else {
            *at++ = *fmt;
        }
    }
    *at = '\0';
    return text;
}

/* A login makes its entity, in the one entry that makes its token; the next one finds it. */
START_TEST(logins_make_entities)
{
    char token[128], id[80];
    set_up();
    uint64_t before = fixture_index(f);
    login(token);
    keep("auth.entity_id", id, sizeof(id));
    ck_assert_uint_eq(strlen(id), 36);
    ck_assert_uint_eq(fixture_index(f), before + 1);
    ck_as(200, token, "GET", "auth/token/lookup-self", NULL);
    ck_at("data.entity_id", id);
    ck_call(200, "GET", with("identity/entity/id/$", id, NULL), NULL);
    ck_at("data.aliases.0.name", "bob");
    ck_at("data.aliases.0.mount_accessor", mount);
    ck_at("data.aliases.0.mount_path", "auth/u/");
    ck_at("data.aliases.0.metadata.username", "bob");
    ck_assert_int_eq(strncmp(fixture_at(f, "data.name"), "entity_", 7), 0);
    login(token);
    ck_at("auth.entity_id", id);
    ck_as(200, "", "POST", "auth/u/login/BOB", "{\"password\":\"p\"}");
    ck_at("auth.entity_id", id); /* one login in two spellings is one entity */
    ck_call(200, "LIST", "identity/entity/id", NULL);
    ck_at("data.keys.1", "");
}
END_TEST

START_TEST(policies_count_at_once)
{
    char token[128], id[80], group[80], outer[80];
    set_up();
    ck_call(204, "POST", "sys/policies/acl/reads",
            "{\"policy\":\"path \\\"kv/red/*\\\" { capabilities = [\\\"read\\\"] }\"}");
    login(token);
    keep("auth.entity_id", id, sizeof(id));
    ck_as(403, token, "GET", "kv/red/x", NULL);
    ck_call(204, "POST", with("identity/entity/id/$", id, NULL), "{\"policies\":\"Reads\"}");
    ck_as(200, token, "GET", "kv/red/x", NULL);
    ck_as(200, token, "GET", "auth/token/lookup-self", NULL);
    ck_at("data.identity_policies", "[\"reads\"]");
    ck_at("data.policies", "[\"default\"]");
    ck_call(204, "POST", with("identity/entity/id/$", id, NULL), "{\"policies\":[]}");
    ck_as(403, token, "GET", "kv/red/x", NULL);
    /* of a group, and of a group around it */
    make("identity/group", with("{\"name\":\"in\",\"member_entity_ids\":[\"$\"]}", id, NULL), group);
    make("identity/group",
         with("{\"name\":\"out\",\"policies\":[\"reads\"],\"member_group_ids\":[\"$\"]}", group, NULL),
         outer);
    ck_as(200, token, "GET", "kv/red/x", NULL);
    ck_as(200, "", "POST", "auth/u/login/bob", "{\"password\":\"p\"}");
    ck_at("auth.identity_policies", "[\"reads\"]");
    ck_at("auth.policies", "[\"default\",\"reads\"]");
    ck_at("auth.token_policies", "[\"default\"]");
    ck_call(200, "GET", with("identity/entity/id/$", id, NULL), NULL);
    ck_assert_str_eq(fixture_at(f, "data.direct_group_ids.0"), group);
    ck_assert_str_eq(fixture_at(f, "data.inherited_group_ids.0"), outer);
    ck_call(200, "GET", with("identity/group/id/$", group, NULL), NULL);
    ck_assert_str_eq(fixture_at(f, "data.parent_group_ids.0"), outer);
    /* a group cannot lie in itself */
    ck_call(400, "POST", with("identity/group/id/$", group, NULL),
            with("{\"member_group_ids\":[\"$\"]}", outer, NULL));
    ck_call(204, "POST", with("identity/group/id/$", group, NULL), "{\"member_entity_ids\":[]}");
    ck_as(403, token, "GET", "kv/red/x", NULL);
    ck_call(204, "DELETE", "identity/group/name/OUT", NULL);
    ck_call(200, "GET", with("identity/group/id/$", group, NULL), NULL);
    ck_at("data.parent_group_ids", "null");
}
END_TEST

START_TEST(disabled_and_deleted)
{
    char token[128], id[80];
    set_up();
    login(token);
    keep("auth.entity_id", id, sizeof(id));
    ck_call(204, "POST", with("identity/entity/id/$", id, NULL), "{\"disabled\":true}");
    ck_as(403, token, "GET", "auth/token/lookup-self", NULL);
    ck_as(403, "", "POST", "auth/u/login/bob", "{\"password\":\"p\"}");
    ck_call(204, "POST", with("identity/entity/id/$", id, NULL), "{\"disabled\":false}");
    ck_as(200, token, "GET", "auth/token/lookup-self", NULL);
    ck_call(204, "DELETE", with("identity/entity/id/$", id, NULL), NULL);
    ck_as(403, token, "GET", "auth/token/lookup-self", NULL);
    ck_call(404, "LIST", "identity/entity-alias/id", NULL);
    login(token);
    ck_assert_str_ne(fixture_at(f, "auth.entity_id"), id);
}
END_TEST

/* {{...}} in the paths of policies: the entity's values, and never more than the author meant. */
START_TEST(templates)
{
    char token[128], id[80], group[80], body[1024];
    set_up();
    login(token);
    keep("auth.entity_id", id, sizeof(id));
    make("identity/group", with("{\"name\":\"team\",\"member_entity_ids\":[\"$\"]}", id, NULL), group);
    static const struct {
        const char *path, *reach;
    } cases[] = {
        {"kv/{{identity.entity.metadata.team}}/*", "kv/red/x"},
        {"kv/{{identity.entity.aliases.$.name}}/*", "kv/bob/x"},
        {"kv/{{identity.entity.aliases.$.metadata.username}}/*", "kv/bob/x"},
        {"kv/{{identity.groups.names.team.id}}/*", NULL},
        {"kv/{{identity.entity.id}}/*", NULL},
    };
    ck_call(204, "PUT", "kv/bob/x", "{\"v\":\"1\"}");
    ck_call(204, "PUT", with("kv/$/x", group, NULL), "{\"v\":\"1\"}");
    ck_call(204, "PUT", with("kv/$/x", id, NULL), "{\"v\":\"1\"}");
    ck_call(204, "POST", with("identity/entity/id/$", id, NULL),
            "{\"policies\":[\"t\"],\"metadata\":{\"team\":\"red\"}}");
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        (void)snprintf(body, sizeof(body),
                       "{\"policy\":\"path \\\"%s\\\" { capabilities = [\\\"read\\\"] }\"}",
                       with(cases[i].path, mount, NULL));
        ck_call(204, "POST", "sys/policies/acl/t", body);
        const char *reach = cases[i].reach != NULL ? cases[i].reach
                                                   : with("kv/$/x", i == 3 ? group : id, NULL);
        ck_as(200, token, "GET", reach, NULL);
        ck_as(403, token, "GET", "kv/blue/x", NULL);
    }
    /* A value must not bring a wildcard of its own. */
    ck_call(204, "POST", "sys/policies/acl/t",
            "{\"policy\":\"path \\\"kv/{{identity.entity.metadata.team}}/x\\\" { capabilities = "
            "[\\\"read\\\"] }\"}");
    ck_as(200, token, "GET", "kv/red/x", NULL);
    ck_call(204, "POST", with("identity/entity/id/$", id, NULL), "{\"metadata\":{\"team\":\"+\"}}");
    ck_as(403, token, "GET", "kv/red/x", NULL);
    ck_call(204, "POST", with("identity/entity/id/$", id, NULL), "{\"metadata\":{\"team\":\"*\"}}");
    ck_as(403, token, "GET", "kv/red/x", NULL);
}
END_TEST

START_TEST(names_and_ids)
{
    char id[80], other[80];
    set_up();
    make("identity/entity", "{\"name\":\"Ann\",\"metadata\":{\"a\":\"b\"}}", id);
    ck_call(200, "GET", "identity/entity/name/ann", NULL); /* whatever the spelling */
    ck_at("data.name", "Ann");
    ck_call(204, "POST", "identity/entity", "{\"name\":\"ANN\",\"policies\":[\"p\"]}");
    ck_call(200, "GET", with("identity/entity/id/$", id, NULL), NULL);
    ck_at("data.policies", "[\"p\"]");
    ck_at("data.metadata.a", "b");
    make("identity/entity", "{\"name\":\"ben\"}", other);
    ck_call(400, "POST", with("identity/entity/id/$", other, NULL), "{\"name\":\"aNN\"}");
    ck_call(204, "POST", with("identity/entity/id/$", other, NULL), "{\"name\":\"Ben\"}");
    ck_call(200, "LIST", "identity/entity/name", NULL);
    ck_at("data.keys", "[\"Ann\",\"Ben\"]");
    ck_call(400, "POST", "identity/entity", "{\"id\":\"nobody\"}");
    ck_call(400, "POST", "identity/entity", "{\"policies\":[\"Root\"]}");
    ck_call(400, "POST", "identity/entity", "{\"metadata\":{\"a\":1}}");
    ck_call(204, "POST", "identity/entity/batch-delete",
            with("{\"entity_ids\":[\"$\",\"$\",\"gone\"]}", id, other));
    ck_call(404, "LIST", "identity/entity/id", NULL);
    ck_call(404, "LIST", "identity/entity/name", NULL);
}
END_TEST

START_TEST(aliases)
{
    char id[80], other[80], alias[80];
    set_up();
    make("identity/entity", "{\"name\":\"a\"}", id);
    make("identity/entity", "{\"name\":\"b\"}", other);
    ck_call(200, "POST", "identity/entity-alias",
            with("{\"name\":\"Bob\",\"mount_accessor\":\"$\",\"canonical_id\":\"$\"}", mount, id));
    keep("data.id", alias, sizeof(alias));
    /* the login of that name is this entity's, in any case */
    ck_as(200, "", "POST", "auth/u/login/bob", "{\"password\":\"p\"}");
    ck_at("auth.entity_id", id);
    /* one alias a mount */
    ck_call(400, "POST", "identity/entity-alias",
            with("{\"name\":\"eve\",\"mount_accessor\":\"$\",\"canonical_id\":\"$\"}", mount, id));
    /* the same name and mount: moves to the other entity */
    ck_call(200, "POST", "identity/entity-alias",
            with("{\"name\":\"bOB\",\"mount_accessor\":\"$\",\"canonical_id\":\"$\"}", mount, other));
    ck_at("data.id", alias);
    ck_as(200, "", "POST", "auth/u/login/bob", "{\"password\":\"p\"}");
    ck_at("auth.entity_id", other);
    ck_call(200, "GET", with("identity/entity/id/$", id, NULL), NULL);
    ck_at("data.aliases", "[]");
    ck_call(200, "POST", "identity/lookup/entity",
            with("{\"alias_name\":\"BOB\",\"alias_mount_accessor\":\"$\"}", mount, NULL));
    ck_at("data.id", other);
    ck_call(200, "POST", "identity/lookup/entity", with("{\"alias_id\":\"$\"}", alias, NULL));
    ck_call(400, "POST", "identity/lookup/entity", "{\"id\":\"a\",\"name\":\"b\"}");
    ck_call(200, "POST", with("identity/entity-alias/id/$", alias, NULL), "{\"name\":\"carl\"}");
    ck_call(204, "POST", "identity/lookup/entity",
            with("{\"alias_name\":\"bob\",\"alias_mount_accessor\":\"$\"}", mount, NULL));
    ck_call(204, "DELETE", with("identity/entity-alias/id/$", alias, NULL), NULL);
    ck_call(204, "POST", "identity/lookup/entity",
            with("{\"alias_name\":\"carl\",\"alias_mount_accessor\":\"$\"}", mount, NULL));
    /* clusters only */
    ck_call(404, "POST", "identity/ensure", "{\"name\":\"x\",\"mount_accessor\":\"y\"}");
}
END_TEST

START_TEST(merging)
{
    char token[128], id[80], to[80], group[80];
    set_up();
    ck_call(204, "POST", "sys/policies/acl/reads",
            "{\"policy\":\"path \\\"kv/red/*\\\" { capabilities = [\\\"read\\\"] }\"}");
    login(token);
    keep("auth.entity_id", id, sizeof(id));
    make("identity/entity", "{\"name\":\"stays\",\"policies\":[\"reads\"]}", to);
    make("identity/group", with("{\"name\":\"g\",\"member_entity_ids\":[\"$\"]}", id, NULL), group);
    ck_as(403, token, "GET", "kv/red/x", NULL);
    ck_call(204, "POST", "identity/entity/merge",
            with("{\"from_entity_ids\":[\"$\"],\"to_entity_id\":\"$\"}", id, to));
    /* tokens of the one that went are those of the one that stays */
    ck_as(200, token, "GET", "kv/red/x", NULL);
    ck_as(200, token, "GET", "auth/token/lookup-self", NULL);
    ck_at("data.entity_id", to);
    ck_call(200, "GET", with("identity/group/id/$", group, NULL), NULL);
    ck_assert_str_eq(fixture_at(f, "data.member_entity_ids.0"), to);
    login(token);
    ck_at("auth.entity_id", to);
    /* two aliases at one mount: the request has to choose */
    ck_call(200, "POST", "identity/entity-alias",
            with("{\"name\":\"eve\",\"mount_accessor\":\"$\"}", mount, NULL));
    keep("data.canonical_id", id, sizeof(id));
    char alias[80], body[512];
    keep("data.id", alias, sizeof(alias));
    ck_call(400, "POST", "identity/entity/merge",
            with("{\"from_entity_ids\":[\"$\"],\"to_entity_id\":\"$\"}", id, to));
    (void)snprintf(body, sizeof(body),
                   "{\"from_entity_ids\":[\"%s\"],\"to_entity_id\":\"%s\","
                   "\"conflicting_alias_ids_to_keep\":[\"%s\"]}",
                   id, to, alias);
    ck_call(204, "POST", "identity/entity/merge", body);
    ck_call(200, "GET", with("identity/entity/id/$", to, NULL), NULL);
    ck_at("data.aliases.0.name", "eve");
    ck_at("data.aliases.1.name", "");
}
END_TEST

START_TEST(external_groups)
{
    char id[80], group[80], inner[80];
    set_up();
    make("identity/entity", "{}", id);
    make("identity/group", "{\"name\":\"ext\",\"type\":\"external\"}", group);
    make("identity/group", "{\"name\":\"int\"}", inner);
    ck_call(400, "POST", with("identity/group/id/$", group, NULL),
            with("{\"member_entity_ids\":[\"$\"]}", id, NULL));
    ck_call(400, "POST", with("identity/group/id/$", group, NULL), "{\"type\":\"internal\"}");
    ck_call(400, "POST", "identity/group-alias",
            with("{\"name\":\"g\",\"mount_accessor\":\"$\",\"canonical_id\":\"$\"}", mount, inner));
    ck_call(200, "POST", "identity/group-alias",
            with("{\"name\":\"g\",\"mount_accessor\":\"$\",\"canonical_id\":\"$\"}", mount, group));
    ck_call(200, "GET", with("identity/group/id/$", group, NULL), NULL);
    ck_at("data.alias.name", "g");
    ck_call(200, "POST", "identity/lookup/group",
            with("{\"alias_name\":\"G\",\"alias_mount_accessor\":\"$\"}", mount, NULL));
    ck_assert_str_eq(fixture_at(f, "data.id"), group);
    ck_call(204, "DELETE", with("identity/group/id/$", group, NULL), NULL);
    ck_call(404, "LIST", "identity/group-alias/id", NULL);
}
END_TEST

/* Entities of one namespace are nobody in another. */
START_TEST(namespaces)
{
    char id[80];
    set_up();
    ck_call(200, "POST", "sys/namespaces/n", NULL);
    keep("data.id", id, sizeof(id));
    ck_call(204, "POST", "n/sys/auth/u", "{\"type\":\"userpass\"}");
    ck_call(204, "POST", "n/auth/u/users/bob", "{\"password\":\"p\"}");
    ck_as(200, "", "POST", "n/auth/u/login/bob", "{\"password\":\"p\"}");
    char entity[80];
    keep("auth.entity_id", entity, sizeof(entity));
    ck_assert_str_eq(entity + 37, id); /* its ids end in the namespace's */
    ck_call(404, "GET", with("identity/entity/id/$", entity, NULL), NULL);
    ck_call(200, "GET", with("n/identity/entity/id/$", entity, NULL), NULL);
    ck_assert_str_eq(fixture_at(f, "data.namespace_id"), id);
    ck_call(404, "LIST", "identity/entity/id", NULL);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {logins_make_entities, policies_count_at_once, disabled_and_deleted,
                                  templates,            names_and_ids,          aliases,
                                  merging,              external_groups,        namespaces};
    int status = test_run("node/engines/identity", tests, sizeof(tests) / sizeof(tests[0]));
    fixture_free(f);
    return status;
}

/* tests/unit/node/core/test_policy.c: the text of policies, and what is refused. */
#include "node/core/policy.h"

#include "tests/lib/test.h"

static struct cf_error err;

static cf_status parse(const char *text)
{
    struct policy *policy = NULL;
    err = (struct cf_error){0};
    cf_status status = policy_parse(CF_SLICE("p"), cf_slice_str(text), &policy, &err);
    policy_unref(policy);
    return status;
}

static unsigned bits_of(const char *text, const char *path)
{
    struct policy *policy = NULL;
    struct acl *acl = NULL;
    ck_ok(policy_parse(CF_SLICE("p"), cf_slice_str(text), &policy, &err));
    ck_ok(acl_new(&policy, 1, false, NULL, &acl, &err));
    policy_unref(policy); /* the ACL keeps what it needs */
    unsigned bits = acl_capabilities(acl, cf_slice_str(path));
    acl_unref(acl);
    return bits;
}

START_TEST(reads_every_form)
{
    unsigned want = CAPABILITY_READ | CAPABILITY_LIST;
    ck_assert_uint_eq(bits_of("path \"a/*\" { capabilities = [\"read\", \"list\"] }", "a/b"), want);
    ck_assert_uint_eq(bits_of("{\"path\":{\"a/*\":{\"capabilities\":[\"read\",\"list\"]}}}", "a/b"),
                      want);
    ck_assert_uint_eq(bits_of("{\"path\":[{\"a/*\":{\"capabilities\":[\"read\"]}},"
                              "{\"a/*\":{\"capabilities\":[\"list\"]}}]}",
                              "a/b"),
                      want);
    /* path "a/star" { capabilities = ["read"] }, with lines as base64 tools make them */
    ck_assert_uint_eq(bits_of("cGF0aCAiYS8qIiB7IGNhcGFiaWxp\r\ndGllcyA9IFsicmVhZCJdIH0=\n", "a/b"),
                      CAPABILITY_READ);
    ck_assert_uint_eq(bits_of("# nothing\n", "a"), CAPABILITY_DENY);
    ck_assert_uint_eq(bits_of("path \"/a\" { capabilities = [\"read\"] }", "a"), CAPABILITY_READ);
    ck_assert_uint_eq(bits_of("name = \"p\" path \"a\" { capabilities = \"read\" }", "a"),
                      CAPABILITY_READ);
}
END_TEST

START_TEST(reads_the_old_form)
{
    unsigned write = CAPABILITY_CREATE | CAPABILITY_READ | CAPABILITY_UPDATE | CAPABILITY_DELETE |
                     CAPABILITY_LIST;
    ck_assert_uint_eq(bits_of("path \"a\" { policy = \"read\" }", "a"),
                      CAPABILITY_READ | CAPABILITY_LIST);
    ck_assert_uint_eq(bits_of("path \"a\" { policy = \"write\" }", "a"), write);
    ck_assert_uint_eq(bits_of("path \"a\" { policy = \"sudo\" }", "a"), write | CAPABILITY_SUDO);
    ck_assert_uint_eq(bits_of("path \"a\" { policy = \"deny\" }", "a"), CAPABILITY_DENY);
    ck_status(parse("path \"a\" { policy = \"banana\" }"), CF_INVALID);
}
END_TEST

START_TEST(refuses_with_the_line)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"path \"x\" { capabilities = [\"banana\"] }", "invalid capability \"banana\""},
        {"path \"x\" {", "line 1"},
        {"\npth \"x\" { capabilities = [\"read\"] }", "line 2: invalid key \"pth\""},
        {"path \"x\" {\n capabilites = [\"read\"]\n}", "line 2: path \"x\": invalid key"},
        {"path \"+*\" { capabilities = [\"read\"] }", "'+*' is forbidden"},
        {"path \"a/+*\" { capabilities = [\"read\"] }", "'+*' is forbidden"},
        {"path \"a/{{identity.entity.id\" { capabilities = [\"read\"] }", "unbalanced"},
        {"path \"a/}}{{\" { capabilities = [\"read\"] }", "unbalanced"},
        {"path \"x\" { allowed_parameters = 3 }", "line 1"},
        {"path \"x\" { allowed_parameters = { a = { b = 1 } } }", "expected a list"},
        {"path \"x\" { min_wrapping_ttl = \"soon\" }", ""},
        {"path \"x\" { min_wrapping_ttl = \"-1s\" }", "negative"},
        {"path \"x\" { min_wrapping_ttl = \"60s\" max_wrapping_ttl = \"10s\" }", "below"},
        {"path = 3", ""},
        {"path \"a\" \"b\" { capabilities = [\"read\"] }", ""},
        {"\x01\x02", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(parse(cases[i].text) == CF_INVALID, "%s", cases[i].text);
        ck_assert_msg(strstr(err.message, cases[i].message) != NULL, "%s: %s", cases[i].text,
                      err.message);
    }
    ck_ok(parse("path \"a+b/*\" { capabilities=[\"read\"] }"));
    ck_ok(parse("path \"a\" {}"));
}
END_TEST

START_TEST(builtin_texts_parse)
{
    ck_ok(parse(policy_default_text));
    ck_ok(parse(policy_wrapping_text));
    ck_assert_uint_eq(bits_of(policy_default_text, "auth/token/lookup-self"), CAPABILITY_READ);
    ck_assert_uint_eq(bits_of(policy_default_text, "sys/tools/random"), CAPABILITY_DENY);
    ck_assert_uint_eq(bits_of(policy_default_text, "sys/wrapping/rewrap"), CAPABILITY_DENY);
    ck_assert_uint_eq(bits_of(policy_default_text, "sys/tools/hash/sha2-512"), CAPABILITY_UPDATE);
    ck_assert_uint_eq(bits_of(policy_default_text, "secret/a"), CAPABILITY_DENY);
}
END_TEST

START_TEST(decodes_base64_only)
{
    CF_OWNED(arena) arena = arena_new(256);
    ck_slice(policy_text(arena, CF_SLICE("cGF0aCAiYSI=")), "path \"a\"");
    ck_slice(policy_text(arena, CF_SLICE("path \"a\" {}")), "path \"a\" {}");
    ck_slice(policy_text(arena, CF_SLICE("")), "");
}
END_TEST

START_TEST(names_are_folded_and_checked)
{
    CF_OWNED(arena) arena = arena_new(256);
    struct cf_slice name;
    ck_ok(policy_name(arena, CF_SLICE("Team-A/dev_1.x"), &name, &err));
    ck_slice(name, "team-a/dev_1.x");
    ck_status(policy_name(arena, CF_SLICE("Root"), &name, &err), CF_INVALID);
    ck_status(policy_name(arena, CF_SLICE(""), &name, &err), CF_INVALID);
    ck_status(policy_name(arena, CF_SLICE("a\0b"), &name, &err), CF_INVALID);
    ck_status(policy_name(arena, CF_SLICE("a*"), &name, &err), CF_INVALID);
}
END_TEST

START_TEST(capability_names_are_sorted)
{
    const char *names[CAPABILITY_COUNT];
    ck_assert_uint_eq(
        capability_names(CAPABILITY_UPDATE | CAPABILITY_CREATE | CAPABILITY_READ, names), 3);
    ck_assert_str_eq(names[0], "create");
    ck_assert_str_eq(names[1], "read");
    ck_assert_str_eq(names[2], "update");
    ck_assert_uint_eq(capability_names(0, names), 0);
}
END_TEST

TEST_MAIN("node/core/policy", reads_every_form, reads_the_old_form, refuses_with_the_line,
          builtin_texts_parse, decodes_base64_only, names_are_folded_and_checked,
          capability_names_are_sorted)

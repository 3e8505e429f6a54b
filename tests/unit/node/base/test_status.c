/* The error idiom: the table, prefixes, what reaches whom. */
#include "test.h"

static cf_status inner(struct cf_error *err)
{
    cf_fail(err, CF_DENIED, "no entry for \"%s\"", "x");
    cf_error_detail(err, "Looked in %d places.", 3);
    return CF_DENIED;
}

static cf_status outer(struct cf_error *err)
{
    CF_TRY(inner(err));
    return CF_OK;
}

START_TEST(carries_the_first_cause)
{
    struct cf_error err;
    ck_assert_int_eq(outer(&err), CF_DENIED);
    ck_assert_str_eq(err.message, "no entry for \"x\"");
    ck_assert_str_eq(err.detail, "Looked in 3 places.");
    ck_assert_int_eq(cf_error_prefix(&err, CF_OK, "opening"), CF_DENIED);
    ck_assert_str_eq(err.message, "opening: no entry for \"x\"");
    ck_assert_int_eq(outer(NULL), CF_DENIED);
}
END_TEST

START_TEST(table_answers_for_any_number)
{
    ck_assert_int_eq(cf_status_http(CF_SEALED), 503);
    ck_assert_str_eq(cf_status_text(CF_SEALED), "Vault is sealed");
    ck_assert_int_eq(cf_status_http((cf_status)9999), 500);
    ck_assert_int_eq(cf_status_http((cf_status)-1), 500);
}
END_TEST

TEST_MAIN("node/base/status", carries_the_first_cause, table_answers_for_any_number)

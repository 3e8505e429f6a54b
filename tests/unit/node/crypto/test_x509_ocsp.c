/* tests/unit/node/crypto/test_x509_ocsp.c: the promises of node/crypto/x509_ocsp.h, over the responses of tests/data/ocsp. */
#include "node/crypto/x509_ocsp.h"

#include <stdio.h>
#include <stdlib.h>

#include "node/base/memory.h"
#include "test.h"
#include "tests/lib/ocsp_data.h"

static struct cf_error said;

static void read_answer(const char *name, struct cf_buf *to)
{
    char path[512];
    const char *folder = getenv("COFFER_OCSP_DATA");
    ck_assert_ptr_nonnull(folder);
    (void)snprintf(path, sizeof(path), "%s/%s.der", folder, name);
    FILE *file = fopen(path, "re");
    ck_assert_msg(file != NULL, "%s", path);
    for (int byte = fgetc(file); byte != EOF; byte = fgetc(file)) {
        cf_buf_add_byte(to, (uint8_t)byte);
    }
    (void)fclose(file);
}

static cf_status read_word(const char *name, const char *about, const char *trusted, struct x509_ocsp *ret)
{
    CF_BUF(answer) = {0};
    read_answer(name, &answer);
    said = (struct cf_error){0};
    return x509_ocsp_read(cf_buf_slice(&answer), cf_slice_str(about), cf_slice_str(OCSP_CA), cf_slice_str(trusted),
                          OCSP_AT_S, ret, &said);
}

START_TEST(words)
{
    static const struct {
        const char *name, *about;
        enum x509_ocsp_status status;
    } cases[] = {{"good", OCSP_GOOD, X509_OCSP_GOOD},
                 {"no-next", OCSP_GOOD, X509_OCSP_GOOD},
                 {"revoked", OCSP_REVOKED, X509_OCSP_REVOKED},
                 {"unknown", OCSP_UNKNOWN, X509_OCSP_UNKNOWN},
                 {"delegate", OCSP_GOOD, X509_OCSP_GOOD},
                 {"delegate-revoked", OCSP_REVOKED, X509_OCSP_REVOKED}};
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        struct x509_ocsp word;
        ck_assert_msg(read_word(cases[i].name, cases[i].about, "", &word) == CF_OK, "%s: %s", cases[i].name, said.message);
        ck_assert_msg(word.status == cases[i].status, "%s", cases[i].name);
        ck_assert_int_eq(word.this_update_s, 1577836800); /* 2020-01-01 */
        ck_assert_int_eq(word.next_update_s, strcmp(cases[i].name, "no-next") == 0 ? 0 : 4701974400);
    }
}
END_TEST

START_TEST(what_says_nothing)
{
    static const struct {
        const char *name, *about, *why;
    } cases[] = {{"good", OCSP_REVOKED, "another certificate"}, {"revoked", OCSP_GOOD, "another certificate"},
                 {"not-made-for-it", OCSP_GOOD, "not signed"},  {"stranger", OCSP_GOOD, "not signed"},
                 {"trusted", OCSP_GOOD, "not signed"},          {"bent-signature", OCSP_GOOD, "not signed"},
                 {"old", OCSP_GOOD, "too old"},                 {"future", OCSP_GOOD, "not yet valid"},
                 {"try-later", OCSP_GOOD, "trylater"},          {"cut", OCSP_GOOD, "cannot be read"},
                 {"request", OCSP_GOOD, "cannot be read"}};
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        struct x509_ocsp word;
        ck_assert_msg(read_word(cases[i].name, cases[i].about, "", &word) == CF_DENIED, "%s", cases[i].name);
        ck_assert_msg(strstr(said.message, cases[i].why) != NULL, "%s: %s", cases[i].name, said.message);
    }
}
END_TEST

/* A role may name another CA, whose responders then count; for OCSP made ones alone, or itself. */
START_TEST(responders_that_a_role_names)
{
    struct x509_ocsp word;
    ck_assert_msg(read_word("trusted", OCSP_GOOD, OCSP_OTHER_CA, &word) == CF_OK, "%s", said.message);
    ck_assert_int_eq(word.status, X509_OCSP_GOOD);
    ck_assert_msg(read_word("stranger", OCSP_GOOD, OCSP_OTHER_CA, &word) == CF_OK, "%s", said.message);
    ck_status(read_word("not-made-for-it", OCSP_GOOD, OCSP_OTHER_CA, &word), CF_DENIED);
}
END_TEST

START_TEST(the_question)
{
    CF_OWNED(arena) arena = arena_new(4096);
    struct cf_slice first, second;
    CF_BUF(known) = {0};
    read_answer("request", &known);
    ck_ok(x509_ocsp_ask(cf_slice_str(OCSP_GOOD), cf_slice_str(OCSP_CA), arena, &first, &said));
    ck_ok(x509_ocsp_ask(cf_slice_str(OCSP_GOOD), cf_slice_str(OCSP_CA), arena, &second, &said));
    ck_assert(cf_slice_eq(first, second));
    ck_assert(cf_slice_eq(first, cf_buf_slice(&known)));
    ck_status(x509_ocsp_ask(CF_SLICE("junk"), cf_slice_str(OCSP_CA), arena, &second, &said), CF_INVALID);
}
END_TEST

TEST_MAIN("node/crypto/x509_ocsp", words, what_says_nothing, responders_that_a_role_names, the_question)

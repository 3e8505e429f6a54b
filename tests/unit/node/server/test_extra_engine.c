/* tests/unit/node/server/test_extra_engine.c: a folder and a line are all that an engine needs. The registry is
 * compiled once more with one line more in engines.def, and linked with extra/example.c: nothing else of the
 * tree is, and the engine mounts, answers, warns, and is in the catalogue, the document and the help. */
#include "tests/lib/core_fixture.h"
#include "tests/lib/test.h"

static struct fixture *f;

#define ck_call(want, operation, path, body)                                                       \
    do {                                                                                           \
        int got_ = fixture_call(f, NULL, (operation), (path), (body), NULL);                       \
        ck_assert_msg(got_ == (want), "%s %s: %d", (operation), (path), got_);                     \
    } while (0)

START_TEST(serves)
{
    ck_call(204, "POST", "sys/mounts/notes", "{\"type\":\"example\"}");
    ck_call(204, "POST", "notes/note/a", "{\"text\":\"kept\"}");
    ck_call(200, "GET", "notes/note/a", NULL);
    ck_assert_str_eq(fixture_at(f, "data.text"), "kept");
    ck_call(404, "GET", "notes/note/b", NULL);
    ck_call(405, "DELETE", "notes/note/a", NULL);
    ck_call(200, "POST", "notes/note/a", "{\"text\":\"x\",\"other\":1}");
    ck_assert_ptr_nonnull(strstr(fixture_at(f, "warnings.0"), "[other]"));
}
END_TEST

START_TEST(is_told_of)
{
    ck_call(200, "HELP", "notes/note/a", NULL);
    ck_assert_str_eq(fixture_at(f, "help"), "One note.");
    ck_call(200, "GET", "sys/plugins/catalog/secret/example", NULL);
    ck_call(200, "GET", "sys/internal/specs/openapi", NULL);
    ck_assert_str_eq(fixture_at(f, "paths./notes/note/{name}.post.requestBody.content.application/json."
                                   "schema.properties.text.type"),
                     "string");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {serves, is_told_of};
    f = fixture_new();
    int status = test_run("node/server/extra_engine", tests, 2);
    fixture_free(f);
    return status;
}

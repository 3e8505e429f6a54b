/* tests/fuzz/fuzz_template.c: any text as a template, over any facts: of a policy's path, and of claims. The
 * input is the template, a zero byte, and the facts as JSON. */
#include "fuzz.h"
#include "node/core/policy_int.h"
#include "node/engines/identity/oidc_int.h"

static size_t stars(struct cf_slice text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.size; i++) {
        count += text.data[i] == '*';
    }
    return count;
}

/* Segments that are a plus sign: wildcards, too. */
static size_t pluses(struct cf_slice text)
{
    size_t count = 0;
    while (text.size != 0) {
        size_t end = cf_slice_find(text, '/');
        count += cf_slice_is(cf_slice_first(text, end), "+");
        text = cf_slice_from(text, end + 1);
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cf_slice input = cf_slice_of(data, size), path;
    size_t end = cf_slice_find(input, 0);
    struct cf_slice text = cf_slice_first(input, end);
    struct json *facts = NULL, *claims;
    CF_OWNED(arena) arena = arena_new(4096);
    struct cf_error err;
    if (json_parse(arena, cf_slice_from(input, end + 1), NULL, &facts, &err) != CF_OK) {
        facts = json_object_new(arena);
    }
    if (template_fill(arena, text, facts, &path)) {
        FUZZ_CHECK(stars(path) <= stars(text)); /* a value brings no wildcard */
        bool is_whole = cf_slice_find(text, '{') == text.size;
        FUZZ_CHECK(!is_whole || (cf_slice_eq(path, text) && pluses(path) == pluses(text)));
    }
    if (oidc_fill(arena, text, facts, 1700000000, &claims, &err) == CF_OK) {
        FUZZ_CHECK(json_is(claims, JSON_OBJECT));
        FUZZ_CHECK(json_get(claims, "sub") == NULL && json_get(claims, "aud") == NULL);
    }
    return 0;
}

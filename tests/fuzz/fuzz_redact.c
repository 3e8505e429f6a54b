/* tests/fuzz/fuzz_redact.c: a JSON text as an audit device sees it: the same whether its strings are replaced in
 * the text or in the parsed tree, valid, and without any string of the original as a value. */
#include "fuzz.h"
#include "node/base/arena.h"
#include "node/core/audit.h"

/* Every string that is a value is a hash, or a time. */
static void check_values(const struct json *node)
{
    struct cf_slice text;
    if (json_string(node, &text)) {
        bool is_hash = text.size == AUDIT_HASH_SIZE && cf_slice_starts(text, CF_SLICE("hmac-sha256:"));
        FUZZ_CHECK(is_hash || (text.size >= 20 && text.size <= 35 && text.data[10] == 'T'));
    }
    for (uint32_t i = 0; i < json_count(node); i++) {
        check_values(node->type == JSON_OBJECT ? node->members[i].value : node->items[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CF_OWNED(arena) arena = arena_new(4096);
    struct audit_entry entry = {.path = CF_SLICE("f/"), .salt = {1, 2, 3}};
    struct cf_slice text = cf_slice_of(data, size);
    struct json *tree = NULL, *from_tree = NULL, *from_text = NULL;
    CF_BUF(by_text) = {0};
    CF_BUF(by_tree) = {0};
    /* Text that is no JSON must not be read past its end, and shows nothing between quotes. */
    audit_write_value(&by_text, &entry, arena, json_from_raw(arena, text), CF_SLICE_EMPTY, NULL);
    if (json_parse(arena, text, NULL, &tree, NULL) != CF_OK) {
        return 0;
    }
    audit_write_value(&by_tree, &entry, arena, tree, CF_SLICE_EMPTY, NULL);
    FUZZ_CHECK(memchr(by_text.data, '\n', by_text.size) == NULL); /* a line is a record */
    /* Hashes make strings longer than what was read: limits other than of size stay within. */
    FUZZ_CHECK(json_parse(arena, cf_buf_slice(&by_tree), NULL, &from_tree, NULL) == CF_OK);
    FUZZ_CHECK(json_parse(arena, cf_buf_slice(&by_text), NULL, &from_text, NULL) == CF_OK);
    FUZZ_CHECK(json_equal(from_tree, from_text));
    check_values(from_tree);
    return 0;
}

/* tests/fuzz/fuzz_json.c: what the JSON parser accepts comes back the same after writing. */
#include "fuzz.h"
#include "node/format/json.h"

typedef void write_function(struct cf_buf *buf, const struct json *node);

static void check_round_trip(struct arena *arena, const struct json *node, write_function *write)
{
    CF_BUF(buf) = {0};
    struct json *again = NULL;
    write(&buf, node);
    /* Escapes make strings longer, never the decoded form: what was within the limits stays so. */
    FUZZ_CHECK(json_parse(arena, cf_buf_slice(&buf), NULL, &again, NULL) == CF_OK);
    FUZZ_CHECK(json_equal(node, again));
}

static void look_at(struct arena *arena, struct json *node)
{
    int64_t integer;
    uint64_t unsigned_integer;
    (void)json_int64(node, &integer);
    (void)json_uint64(node, &unsigned_integer);
    for (uint32_t i = 0; i < json_count(node); i++) {
        if (node->type == JSON_OBJECT) {
            struct json_member member = node->members[i];
            FUZZ_CHECK(json_get_slice(node, member.key) == member.value);
        }
        look_at(arena, node->type == JSON_OBJECT ? node->members[i].value : node->items[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CF_OWNED(arena) arena = arena_new(4096);
    struct cf_error err = {0};
    struct json *node = NULL;
    cf_status status = json_parse(arena, cf_slice_of(data, size), NULL, &node, &err);
    if (status != CF_OK) {
        FUZZ_CHECK(status == CF_INVALID && err.message[0] != '\0' && node == NULL);
        return 0;
    }
    look_at(arena, node);
    check_round_trip(arena, node, json_write);
    check_round_trip(arena, node, json_write_sorted);
    check_round_trip(arena, node, json_write_pretty);
    FUZZ_CHECK(json_equal(node, json_copy(arena, node)));
    struct json *merged = json_merge_patch(arena, node, node);
    if (node->type != JSON_OBJECT) {
        FUZZ_CHECK(json_equal(node, merged));
    }
    return 0;
}

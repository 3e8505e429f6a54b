/* tests/fuzz/fuzz_hcl.c: any text as a configuration or policy; every accessor over what it gave.
 */
#include "fuzz.h"
#include "node/format/hcl.h"

static void look_at(struct arena *arena, const struct hcl_value *value, unsigned depth)
{
    struct cf_slice text;
    bool flag;
    int64_t number;
    struct cf_error err;
    FUZZ_CHECK(depth <= HCL_DEPTH_MAX);
    FUZZ_CHECK(value->line != 0 && value->column != 0);
    cf_ignore(hcl_to_string(value, "s", &text, &err), "any type may come");
    cf_ignore(hcl_to_bool(value, "b", &flag, &err), "any type may come");
    cf_ignore(hcl_to_int(value, "i", &number, &err), "any type may come");
    cf_ignore(hcl_to_duration(value, "d", &number, &err), "any type may come");
    if (value->type != HCL_OBJECT) {
        for (size_t i = 0; value->type == HCL_LIST && i < hcl_count(value); i++) {
            look_at(arena, hcl_at(value, i), depth + 1);
        }
        return;
    }
    for (uint32_t i = 0; i < value->count; i++) {
        const struct hcl_item *item = &value->items[i], *blocks;
        size_t count;
        look_at(arena, &item->value, depth + 1);
        for (unsigned labels = 0; depth == 0 && labels < 3; labels++) {
            if (hcl_blocks(arena, item, labels, &blocks, &count, &err) == CF_OK) {
                for (size_t j = 0; j < count; j++) {
                    FUZZ_CHECK(blocks[j].label_count == labels);
                    FUZZ_CHECK(blocks[j].value.type == HCL_OBJECT);
                }
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CF_OWNED(arena) arena = arena_new(4096);
    struct cf_error err = {0};
    const struct hcl_value *root = NULL;
    cf_status status = hcl_parse(arena, cf_slice_of(data, size), &root, &err);
    if (status == CF_OK) {
        look_at(arena, root, 0);
    } else {
        FUZZ_CHECK(root == NULL);
        FUZZ_CHECK(status == CF_TOO_LARGE || strncmp(err.message, "line ", 5) == 0);
    }
    return 0;
}

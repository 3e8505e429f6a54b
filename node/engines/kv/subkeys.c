/* node/engines/kv/subkeys.c: the structure of a secret without its values. */
#include "node/engines/kv/kv_int.h"

/* The object with every leaf turned to null; below `depth` levels (0: no limit) all is leaf. The
 * depth of stored documents is bounded by the parser, so the recursion is, too. */
static struct json *keys_of(struct arena *arena, const struct json *object, int64_t depth)
{
    struct json *copy = json_object_new(arena);
    for (size_t i = 0; i < json_count(object); i++) {
        const struct json_member *member = &object->members[i];
        bool is_leaf =
            !json_is(member->value, JSON_OBJECT) || json_count(member->value) == 0 || depth == 1;
        json_object_set(arena, copy, member->key,
                        is_leaf ? NULL : keys_of(arena, member->value, depth > 0 ? depth - 1 : 0));
    }
    return copy;
}

cf_status kv_subkeys_read(struct request *rq, struct cf_error *err)
{
    struct kv_entry entry;
    uint64_t number;
    bool is_gone;
    int64_t depth;
    struct cf_slice text;
    struct json *data;
    if (!kv_names_secret(rq)) {
        return kv_hint(rq, err);
    }
    CF_TRY(request_int(rq, "depth", 0, &depth, err));
    if (depth < 0) {
        return cf_fail(err, CF_INVALID, "depth must not be negative");
    }
    CF_TRY(kv_find_version(rq, &entry, "subkeys", &number, &is_gone, err));
    if (is_gone) {
        return CF_OK;
    }
    CF_TRY(kv_version_data(rq, &entry, number, &text, err));
    static const struct json_limits limits = {.depth = JSON_DEPTH_MAX,
                                              .keys = 200000,
                                              .items = 200000,
                                              .nodes = 2000000,
                                              .string = (size_t)64 << 20};
    if (json_parse(rq->arena, text, &limits, &data, NULL) != CF_OK) {
        return cf_fail(err, CF_CORRUPT, "stored secret is malformed");
    }
    json_set(rq->arena, rq->response.data, "subkeys", keys_of(rq->arena, data, depth));
    return CF_OK;
}

/* tests/unit/node/server/extra/example.c: a secrets engine that the tree does not know (test_extra_engine.c). */
#include "node/core/engine.h"

static cf_status example_read(struct request *rq, struct cf_error *err)
{
    struct json *record;
    cf_status status = store_get_json(rq, rq->captures[0], &record, err);
    if (status == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(status);
    rq->response.data = record;
    return CF_OK;
}

static cf_status example_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice text;
    CF_TRY(request_string(rq, "text", &text, err));
    struct json *record = json_object_new(rq->arena);
    json_set_string(rq->arena, record, "text", text);
    store_put_json(rq, rq->captures[0], record);
    return CF_OK;
}

static const struct field example_fields[] = {{"text", FIELD_STRING, "What is kept."}, FIELD_END};

static const struct route example_routes[] = {
    {.pattern = "note/:name", .read = example_read, .write = example_write, .fields = example_fields,
     .help = "One note."},
    ROUTE_END,
};

const struct engine_ops engine_example = {
    .type = "example",
    .kind = ENGINE_SECRETS,
    .help = "Keeps notes.",
    .routes = example_routes,
};

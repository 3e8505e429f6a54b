/* node/core/sys/openapi.c: an OpenAPI 3 document of every mount, made from the route tables. */
#include "node/core/core_int.h"
#include "node/core/sys/sys_int.h"

static cf_status never(struct request *rq, struct cf_error *err)
{
    (void)rq;
    return cf_fail(err, CF_INTERNAL, "this path is answered by the node itself");
}

/* What the node answers before there is a view, so that it stands in no table: for the document
 * only. */
static const struct route node_routes[] = {
    {.pattern = "health", .read = never, .flags = ROUTE_OPEN, .help = "The state of this node."},
    {.pattern = "init",
     .read = never,
     .write = never,
     .flags = ROUTE_OPEN,
     .help = "Whether the store is initialised; initialises it."},
    {.pattern = "leader", .read = never, .flags = ROUTE_OPEN, .help = "The active node."},
    {.pattern = "seal-status",
     .read = never,
     .flags = ROUTE_OPEN,
     .help = "The state of the seal."},
    {.pattern = "unseal", .write = never, .flags = ROUTE_OPEN, .help = "Takes a share of the key."},
    {.pattern = "generate-root/attempt",
     .read = never,
     .write = never,
     .del = never,
     .flags = ROUTE_OPEN,
     .help = "Begins, shows and cancels the making of a root token."},
    {.pattern = "generate-root/update",
     .write = never,
     .flags = ROUTE_OPEN,
     .help = "Takes a share for the making of a root token."},
    {.pattern = "storage/raft/join",
     .write = never,
     .flags = ROUTE_OPEN,
     .help = "Joins this node to a cluster."},
    ROUTE_END};

static const char *const field_types[] = {
    [FIELD_STRING] = "string",   [FIELD_INT] = "integer", [FIELD_BOOL] = "boolean",
    [FIELD_DURATION] = "string", [FIELD_LIST] = "array",  [FIELD_MAP] = "object",
    [FIELD_ANY] = NULL,
};

static struct json *schema_of(struct arena *arena, enum field_type type, const char *help)
{
    struct json *schema = json_object_new(arena);
    if (field_types[type] != NULL) {
        json_set_text(arena, schema, "type", field_types[type]);
    }
    if (type == FIELD_LIST) {
        json_set(arena, schema, "items", schema_of(arena, FIELD_STRING, NULL));
    }
    if (help != NULL) {
        json_set_text(arena, schema, "description", help);
    }
    return schema;
}

static struct json *path_parameter(struct arena *arena, struct cf_slice name)
{
    struct json *parameter = json_object_new(arena);
    json_set_string(arena, parameter, "name", name);
    json_set_text(arena, parameter, "in", "path");
    json_set_bool(arena, parameter, "required", true);
    json_set(arena, parameter, "schema", schema_of(arena, FIELD_STRING, NULL));
    return parameter;
}

/* "a/:b/:c..." below a mount as "/mount/a/{b}/{c}", and the parameters that it names. */
static struct cf_slice path_of(struct arena *arena, struct cf_slice mount, const char *pattern,
                               struct json *parameters)
{
    CF_BUF(path) = {0};
    cf_buf_add_byte(&path, '/');
    cf_buf_add_slice(&path, mount);
    while (*pattern != '\0') {
        size_t size = strcspn(pattern, "/");
        if (pattern[0] == ':') {
            struct cf_slice name = cf_slice_of(pattern + 1, strcspn(pattern + 1, "./"));
            cf_buf_addf(&path, "{%.*s}", CF_SHOW(name));
            json_array_add(arena, parameters, path_parameter(arena, name));
        } else {
            cf_buf_add(&path, pattern, size);
        }
        pattern += size;
        if (*pattern == '/') {
            cf_buf_add_byte(&path, '/');
            pattern++;
        }
    }
    return arena_copy(arena, cf_buf_slice(&path));
}

static struct json *body_of(struct arena *arena, const struct route *route)
{
    struct json *properties = json_object_new(arena), *schema = json_object_new(arena);
    struct json *media = json_object_new(arena), *content = json_object_new(arena);
    struct json *body = json_object_new(arena);
    for (const struct field *field = route->fields; field != NULL && field->name != NULL; field++) {
        json_set(arena, properties, field->name, schema_of(arena, field->type, field->help));
    }
    json_set_text(arena, schema, "type", "object");
    json_set(arena, schema, "properties", properties);
    json_set(arena, media, "schema", schema);
    json_set(arena, content, "application/json", media);
    json_set(arena, body, "content", content);
    return body;
}

static struct json *responses(struct arena *arena, const char *status, const char *description)
{
    struct json *all = json_object_new(arena), *one = json_object_new(arena);
    json_set_text(arena, one, "description", description);
    json_set(arena, all, status, one);
    return all;
}

static void add_operation(struct arena *arena, struct json *item, const char *method,
                          const struct route *route, bool has_body)
{
    struct json *operation = json_object_new(arena);
    if (route->help != NULL) {
        json_set_text(arena, operation, "summary", route->help);
    }
    if (has_body) {
        json_set(arena, operation, "requestBody", body_of(arena, route));
    }
    json_set(arena, operation, "responses", responses(arena, "200", "OK"));
    json_set(arena, item, method, operation);
}

static struct json *path_item(struct arena *arena, const struct route *route,
                              struct json *parameters)
{
    struct json *item = json_object_new(arena);
    if (route->help != NULL) {
        json_set_text(arena, item, "description", route->help);
    }
    if (json_count(parameters) != 0) {
        json_set(arena, item, "parameters", parameters);
    }
    if ((route->flags & ROUTE_SUDO) != 0) {
        json_set_bool(arena, item, "x-vault-sudo", true);
    }
    if ((route->flags & ROUTE_OPEN) != 0) {
        json_set_bool(arena, item, "x-vault-unauthenticated", true);
    }
    if (route->read != NULL || route->list != NULL) {
        add_operation(arena, item, "get", route, false);
    }
    if (route->write != NULL) {
        add_operation(arena, item, "post", route, true);
    }
    if (route->patch != NULL) {
        add_operation(arena, item, "patch", route, true);
    }
    if (route->del != NULL) {
        add_operation(arena, item, "delete", route, false);
    }
    return item;
}

static void add_routes(struct arena *arena, struct json *paths, struct cf_slice mount,
                       const struct route *routes)
{
    for (; routes != NULL && routes->pattern != NULL; routes++) {
        struct json *parameters = json_array_new(arena);
        struct cf_slice path = path_of(arena, mount, routes->pattern, parameters);
        if (json_get_slice(paths, path) == NULL) { /* the first match serves it */
            json_object_set(arena, paths, path, path_item(arena, routes, parameters));
        }
    }
}

cf_status sys_openapi(struct request *rq, struct cf_error *err)
{
    struct arena *arena = rq->arena;
    const struct mount_table *table = rq->mounts;
    struct json *info = json_object_new(arena), *paths = json_object_new(arena);
    (void)err;
    json_set_text(arena, info, "title", "coffer");
    json_set_text(arena, info, "description",
                  "HTTP API of this server and its mounts. Paths are "
                  "below /v1; the token goes into X-Vault-Token.");
    json_set_text(arena, info, "version", COFFER_VERSION);
    add_routes(arena, paths, CF_SLICE("sys/"), rq->core->host.routes);
    add_routes(arena, paths, CF_SLICE("sys/"), node_routes);
    for (size_t i = 0; i < table->count; i++) {
        const struct mount *mount = table->mounts[i];
        add_routes(arena, paths, mount->path,
                   mount->ops->select != NULL ? mount->ops->select(mount) : mount->ops->routes);
    }
    struct json *document = response_data(rq);
    json_set_text(arena, document, "openapi", "3.0.2");
    json_set(arena, document, "info", info);
    json_set(arena, document, "paths", paths);
    rq->response.no_envelope = true;
    return CF_OK;
}

/* node/core/sys/openapi.c: an OpenAPI 3 document of every mount, made from the route tables. */
#include "node/core/core_int.h"
#include "node/core/sys/sys.h"
#include "node/core/sys/sys_int.h"

static cf_status never(struct request *rq, struct cf_error *err)
{
    (void)rq;
    return cf_fail(err, CF_INTERNAL, "this path is answered by the node itself");
}

const struct route sys_node_routes[] = {
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

static struct json *parameter(struct arena *arena, struct cf_slice name, const char *in,
                              bool is_required, struct json *schema)
{
    struct json *one = json_object_new(arena);
    json_set_string(arena, one, "name", name);
    json_set_text(arena, one, "in", in);
    json_set_bool(arena, one, "required", is_required);
    json_set(arena, one, "schema", schema);
    return one;
}

/* A mount's path as it stands in URLs; braces would begin a parameter. */
static void add_mount(struct cf_buf *path, struct cf_slice mount)
{
    for (size_t i = 0; i < mount.size; i++) {
        bool is_brace = mount.data[i] == '{' || mount.data[i] == '}';
        cf_buf_addf(path, is_brace ? "%%%02X" : "%c", (unsigned)mount.data[i]);
    }
}

/* "a/:b/:c..." below a mount as "/mount/a/{b}/{c}", and the parameters that it names. */
static struct cf_slice path_of(struct arena *arena, struct cf_slice mount, const char *pattern,
                               struct json *parameters)
{
    CF_BUF(path) = {0};
    cf_buf_add_byte(&path, '/');
    add_mount(&path, mount);
    while (*pattern != '\0') {
        size_t size = strcspn(pattern, "/");
        if (pattern[0] == ':') {
            struct cf_slice name = cf_slice_of(pattern + 1, strcspn(pattern + 1, "./"));
            cf_buf_addf(&path, "{%.*s}", CF_SHOW(name));
            json_array_add(arena, parameters,
                           parameter(arena, name, "path", true, schema_of(arena, FIELD_STRING, NULL)));
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

static struct json *body_of(struct arena *arena, const struct route *route, const char *type)
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
    json_set(arena, content, type, media);
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

/* "get-sys-policies-acl-name": what generated clients call it. The path makes it unique: '_' stands for what is
 * no letter, digit or '-', but "/", which is '.', and braces stay out of it by a sign of their own. */
static struct cf_slice operation_id(struct arena *arena, const char *method, struct cf_slice path)
{
    CF_BUF(id) = {0};
    cf_buf_add_str(&id, method);
    for (size_t i = 0; i < path.size; i++) {
        uint8_t byte = path.data[i];
        bool is_plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                        (byte >= '0' && byte <= '9') || byte == '-';
        if (is_plain) {
            cf_buf_add_byte(&id, byte);
        } else if (byte == '/') {
            cf_buf_add_byte(&id, '.');
        } else if (byte == '{') {
            cf_buf_add_byte(&id, '_');
        } else if (byte != '}') {
            cf_buf_addf(&id, "_%02x", (unsigned)byte);
        }
    }
    return arena_copy(arena, cf_buf_slice(&id));
}

struct item {
    struct arena *arena;
    struct json *json;
    const struct route *route;
    struct cf_slice path, mount;
};

/* body_type: the content type of its body; NULL: it has none. */
static struct json *add_operation(const struct item *item, const char *method, const char *body_type)
{
    struct arena *arena = item->arena;
    struct json *operation = json_object_new(arena), *tags = json_array_new(arena);
    struct cf_slice tag = item->mount;
    tag.size -= tag.size != 0 ? 1 : 0;
    json_array_add(arena, tags, json_from_string(arena, tag));
    json_set_string(arena, operation, "operationId", operation_id(arena, method, item->path));
    json_set(arena, operation, "tags", tags);
    if (item->route->help != NULL) {
        json_set_text(arena, operation, "summary", item->route->help);
    }
    if (body_type != NULL) {
        json_set(arena, operation, "requestBody", body_of(arena, item->route, body_type));
    }
    json_set(arena, operation, "responses", responses(arena, "200", "OK"));
    json_set(arena, item->json, method, operation);
    return operation;
}

/* GET reads, or lists and scans when the query says so. */
static void add_get(const struct item *item)
{
    struct arena *arena = item->arena;
    const struct route *route = item->route;
    const struct {
        const char *name;
        bool is_there;
    } forms[] = {{"list", route->list != NULL}, {"scan", route->scan != NULL}};
    struct json *parameters = json_array_new(arena);
    struct json *operation = add_operation(item, "get", NULL);
    for (size_t i = 0; i < CF_LENGTH(forms); i++) {
        if (!forms[i].is_there) {
            continue;
        }
        struct json *schema = schema_of(arena, FIELD_STRING, NULL), *values = json_array_new(arena);
        json_array_add(arena, values, json_from_text(arena, "true"));
        json_set(arena, schema, "enum", values);
        bool is_only = route->read == NULL && (route->list == NULL || route->scan == NULL);
        json_array_add(arena, parameters,
                       parameter(arena, cf_slice_str(forms[i].name), "query", is_only, schema));
    }
    if (json_count(parameters) != 0) {
        json_set(arena, operation, "parameters", parameters);
    }
}

static struct json *path_item(struct arena *arena, const struct route *route, struct cf_slice mount,
                              struct cf_slice path, struct json *parameters)
{
    struct json *item = json_object_new(arena);
    const struct item about = {arena, item, route, path, mount};
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
    if (route->read != NULL || route->list != NULL || route->scan != NULL) {
        add_get(&about);
    }
    if (route->write != NULL) {
        (void)add_operation(&about, "post", "application/json");
    }
    if (route->patch != NULL) {
        (void)add_operation(&about, "patch", "application/merge-patch+json");
    }
    if (route->del != NULL) {
        (void)add_operation(&about, "delete", NULL);
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
            json_object_set(arena, paths, path, path_item(arena, routes, mount, path, parameters));
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
    add_routes(arena, paths, CF_SLICE("sys/"), sys_node_routes);
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

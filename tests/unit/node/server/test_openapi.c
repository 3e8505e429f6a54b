/* tests/unit/node/server/test_openapi.c: the OpenAPI document and the help against the tables that they come
 * from: every route of every table is there with its operations, every parameter that is declared is accepted,
 * and the document is what OpenAPI 3.0 demands. (tests/clients has a validator of others look at it, too.) */
#include "node/base/map.h"
#include "node/base/memory.h"
#include "node/core/core_int.h"
#include "node/core/mount.h"
#include "node/core/route.h"
#include "node/server/host.h"
#include "node/server/registry.h"
#include "tests/lib/core_fixture.h"
#include "tests/lib/test.h"

static struct fixture *f;
static struct arena *arena;

/* ---- the tables ---- */

struct table {
    const char *mount;
    const struct route *routes;
};
static struct table tables[32];
static size_t table_count;

static void add_table(const char *mount, const struct route *routes)
{
    ck_assert_uint_lt(table_count, 32);
    tables[table_count++] = (struct table){mount, routes};
}

static const struct engine_ops *ops_of(enum engine_kind kind, const char *type)
{
    const struct engine_ops *ops = engine_find(registry_engines, kind, cf_slice_str(type));
    ck_assert_ptr_nonnull(ops);
    return ops;
}

/* Every engine and method of the registry, mounted once; kv in both versions. */
START_TEST(mounts_all)
{
    struct core_host host = {.routes = host_routes};
    char path[128], body[128];
    f = fixture_new_with(&host);
    add_table("sys/", host_routes);
    for (size_t i = 0; registry_engines[i] != NULL; i++) {
        const struct engine_ops *ops = registry_engines[i];
        bool is_auth = ops->kind == ENGINE_AUTH;
        (void)snprintf(path, sizeof(path), "%s%s/", is_auth ? "auth/" : "",
                       strcmp(ops->type, "system") == 0 ? "sys" : ops->type);
        if (!ops->builtin_only && ops->select == NULL) {
            char at[160];
            (void)snprintf(at, sizeof(at), "sys/%s/%s", is_auth ? "auth" : "mounts", ops->type);
            (void)snprintf(body, sizeof(body), "{\"type\":\"%s\"}", ops->type);
            ck_assert_int_eq(fixture_call(f, NULL, "POST", at, body, NULL), 204);
        }
        if (ops->select == NULL) {
            add_table(arena_printf(arena, "%s", path), ops->routes);
        }
    }
    for (int version = 1; version <= 2; version++) {
        struct mount mount = {.type = CF_SLICE("kv"), .options = json_object_new(arena)};
        json_set_text(arena, mount.options, "version", version == 1 ? "1" : "2");
        (void)snprintf(path, sizeof(path), "sys/mounts/kv%d", version);
        (void)snprintf(body, sizeof(body), "{\"type\":\"kv\",\"options\":{\"version\":\"%d\"}}", version);
        ck_assert_int_eq(fixture_call(f, NULL, "POST", path, body, NULL), 204);
        add_table(arena_printf(arena, "kv%d/", version), ops_of(ENGINE_SECRETS, "kv")->select(&mount));
    }
}
END_TEST

/* A request path of the pattern, each parameter filled with `value`. */
static const char *filled(const char *mount, const char *pattern, const char *value, bool braces)
{
    CF_BUF(path) = {0};
    cf_buf_add_str(&path, mount);
    while (*pattern != '\0') {
        size_t size = strcspn(pattern, "/");
        if (pattern[0] == ':' && braces) {
            cf_buf_addf(&path, "{%.*s}", (int)strcspn(pattern + 1, "./"), pattern + 1);
        } else if (pattern[0] == ':') {
            cf_buf_add_str(&path, value);
        } else {
            cf_buf_add(&path, pattern, size);
        }
        pattern += size;
        if (*pattern == '/') {
            cf_buf_add_byte(&path, *pattern++);
        }
    }
    return arena_text(arena, cf_buf_slice(&path));
}

static const struct json *document(void)
{
    static struct json *kept;
    const struct json *answer;
    if (kept == NULL) {
        ck_assert_int_eq(fixture_call(f, NULL, "GET", "sys/internal/specs/openapi", NULL, &answer), 200);
        kept = json_copy(arena, answer);
    }
    return kept;
}

/* ---- the document ---- */

static const struct json *operation(const struct table *table, const struct route *route, const char *method)
{
    const char *path = arena_printf(arena, "/%s", filled(table->mount, route->pattern, "", true));
    const struct json *item = json_get(json_get(document(), "paths"), path);
    ck_assert_msg(item != NULL, "%s is not in the document", path);
    return json_get(item, method);
}

static bool has_query(const struct json *get, const char *name)
{
    const struct json *parameters = json_get(get, "parameters");
    for (size_t i = 0; i < json_count(parameters); i++) {
        if (cf_slice_is(json_get_string(json_item(parameters, i), "name"), name)) {
            return cf_slice_is(json_get_string(json_item(parameters, i), "in"), "query");
        }
    }
    return false;
}

static void check_fields(const struct route *route, const struct json *op, const char *type)
{
    const struct json *content = json_get(json_get(op, "requestBody"), "content");
    const struct json *properties = json_get(json_get(json_get(content, type), "schema"), "properties");
    ck_assert_ptr_nonnull(properties);
    for (const struct field *field = route->fields; field != NULL && field->name != NULL; field++) {
        ck_assert_msg(json_get(properties, field->name) != NULL, "%s: no \"%s\"", route->pattern,
                      field->name);
    }
}

START_TEST(every_route_is_there)
{
    size_t routes = 0;
    for (size_t i = 0; i < table_count; i++) {
        CF_OWNED(cf_map) seen = cf_map_new();
        for (const struct route *route = tables[i].routes; route->pattern != NULL; route++) {
            const char *path = filled(tables[i].mount, route->pattern, "", true);
            if (cf_map_get(seen, cf_slice_str(path)) != NULL) {
                continue; /* the first match serves it */
            }
            cf_map_put(seen, cf_slice_str(path), seen);
            const struct json *get = operation(&tables[i], route, "get");
            ck_assert((get != NULL) == (route->read != NULL || route->list != NULL || route->scan != NULL));
            ck_assert(has_query(get, "list") == (route->list != NULL));
            ck_assert(has_query(get, "scan") == (route->scan != NULL));
            const struct json *post = operation(&tables[i], route, "post");
            ck_assert((post != NULL) == (route->write != NULL));
            const struct json *patch = operation(&tables[i], route, "patch");
            ck_assert((patch != NULL) == (route->patch != NULL));
            ck_assert((operation(&tables[i], route, "delete") != NULL) == (route->del != NULL));
            if (post != NULL) {
                check_fields(route, post, "application/json");
            }
            if (patch != NULL) {
                check_fields(route, patch, "application/merge-patch+json");
            }
            routes++;
        }
    }
    ck_assert_uint_ge(routes, 200);
}
END_TEST

/* Whatever "$ref" says is there, in the whole of the document. */
static void check_references(const struct json *at)
{
    struct cf_slice to = json_get_string(at, "$ref");
    const struct json *found = document();
    ck_assert(to.size == 0 || cf_slice_starts(to, CF_SLICE("#/")));
    for (to = cf_slice_from(to, 2); to.size != 0; to = cf_slice_from(to, cf_slice_find(to, '/') + 1)) {
        found = json_get_slice(found, cf_slice_first(to, cf_slice_find(to, '/')));
        ck_assert_ptr_nonnull(found);
    }
    for (size_t i = 0; json_is(at, JSON_OBJECT) && i < json_count(at); i++) {
        check_references(at->members[i].value);
    }
    for (size_t i = 0; json_is(at, JSON_ARRAY) && i < json_count(at); i++) {
        check_references(json_item(at, i));
    }
}

/* Of one path: its parameters are declared, each once; operations have what they must have. */
static void check_item(struct cf_slice path, const struct json *item, struct cf_map *ids, struct cf_map *shapes)
{
    static const char *const known[] = {"description", "parameters", "get", "post", "patch", "delete"};
    CF_BUF(shape) = {0};
    const struct json *parameters = json_get(item, "parameters");
    size_t named = 0;
    for (struct cf_slice rest = path; rest.size != 0;) {
        size_t open = cf_slice_find(rest, '{');
        cf_buf_add_slice(&shape, cf_slice_first(rest, open));
        if (open == rest.size) {
            break;
        }
        rest = cf_slice_from(rest, open + 1);
        struct cf_slice name = cf_slice_first(rest, cf_slice_find(rest, '}'));
        const struct json *one = json_item(parameters, named++);
        ck_assert_msg(cf_slice_eq(json_get_string(one, "name"), name), "%.*s", CF_SHOW(path));
        ck_assert(cf_slice_is(json_get_string(one, "in"), "path"));
        rest = cf_slice_from(rest, name.size + 1);
        cf_buf_add_str(&shape, "{}");
    }
    ck_assert_uint_eq(json_count(parameters), named);
    ck_assert_msg(cf_map_get(shapes, cf_buf_slice(&shape)) == NULL,
                  "%.*s is the same template as another path", CF_SHOW(path));
    cf_map_put(shapes, cf_buf_slice(&shape), shapes);
    for (size_t i = 0; i < json_count(item); i++) {
        struct cf_slice key = item->members[i].key;
        bool is_known = cf_slice_starts(key, CF_SLICE("x-vault-"));
        for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
            is_known = is_known || cf_slice_is(key, known[k]);
        }
        ck_assert_msg(is_known, "%.*s: %.*s", CF_SHOW(path), CF_SHOW(key));
        const struct json *op = item->members[i].value;
        if (!json_is(op, JSON_OBJECT)) {
            continue;
        }
        struct cf_slice id = json_get_string(op, "operationId");
        ck_assert_uint_gt(id.size, 0);
        ck_assert_msg(cf_map_get(ids, id) == NULL, "operationId \"%.*s\" twice", CF_SHOW(id));
        cf_map_put(ids, id, ids);
        ck_assert_uint_gt(json_count(json_get(op, "responses")), 0);
        ck_assert_uint_gt(json_get_string(op, "summary").size, 0);
    }
}

START_TEST(is_a_valid_document)
{
    CF_OWNED(cf_map) ids = cf_map_new();
    CF_OWNED(cf_map) shapes = cf_map_new();
    const struct json *paths = json_get(document(), "paths");
    ck_slice(json_get_string(document(), "openapi"), "3.0.2");
    ck_assert_uint_gt(json_get_string(json_get(document(), "info"), "version").size, 0);
    ck_assert_uint_gt(json_get_string(json_get(document(), "info"), "title").size, 0);
    for (size_t i = 0; i < json_count(paths); i++) {
        ck_assert(paths->members[i].key.data[0] == '/');
        check_item(paths->members[i].key, paths->members[i].value, ids, shapes);
    }
    check_references(document());
}
END_TEST

/* ---- help ---- */

START_TEST(every_path_has_help)
{
    for (size_t i = 0; i < table_count; i++) {
        for (const struct route *route = tables[i].routes; route->pattern != NULL; route++) {
            const char *path = filled(tables[i].mount, route->pattern, "x", false);
            ck_assert_msg(route->help != NULL, "%s has none", path);
            ck_assert_int_eq(fixture_call(f, NULL, "HELP", path, NULL, NULL), 200);
            ck_assert_msg(strlen(fixture_at(f, "help")) > 5, "%s: \"%s\"", path, fixture_at(f, "help"));
        }
    }
}
END_TEST

/* ---- parameters ---- */

static struct json *sample(const struct field *field)
{
    struct json *value;
    switch (field->type) {
    case FIELD_STRING:
    case FIELD_ANY:
        return json_from_text(arena, "x");
    case FIELD_INT:
        return json_from_int(arena, 1);
    case FIELD_BOOL:
        return json_from_bool(true);
    case FIELD_DURATION:
        return json_from_text(arena, "1h");
    case FIELD_LIST:
        value = json_array_new(arena);
        json_array_add(arena, value, json_from_text(arena, "x"));
        return value;
    case FIELD_MAP:
        value = json_object_new(arena);
        json_set_text(arena, value, "k", "v");
        return value;
    }
    return json_null();
}

static bool warns_of_parameters(void)
{
    return strstr(fixture_at(f, "warnings"), "unrecognized parameters") != NULL;
}

/* Where leases under a new quota have to be counted first, by whoever expires leases on an active node. */
static int call(const char *method, const char *path, const char *body)
{
    struct cf_error err = {0};
    int status = fixture_call(f, NULL, method, path, body, NULL);
    if (status == 503) {
        struct view *view = core_view(fixture_core(f));
        ck_assert_int_eq(core_count_leases(fixture_core(f), view, &err), CF_OK);
        view_unref(view);
        status = fixture_call(f, NULL, method, path, body, NULL);
    }
    return status;
}

/* Each alone and all together, with the root token, which nothing is refused to: the request gets to the
 * handler, which may object to the value, and nobody says that the parameter is not known. */
static size_t send_fields(const char *path, const struct route *route, const char *method)
{
    struct json *all = json_object_new(arena);
    size_t sent = 0;
    for (const struct field *field = route->fields;; field++) {
        struct json *body = json_object_new(arena);
        if (field->name != NULL) {
            json_set(arena, body, field->name, sample(field));
            json_set(arena, all, field->name, sample(field));
        }
        CF_BUF(text) = {0};
        json_write(&text, field->name != NULL ? body : all);
        int status = call(method, path, cf_buf_text(&text));
        ck_assert_msg(status != 405 && status < 500, "%s %s %s: %d", method, path, cf_buf_text(&text), status);
        ck_assert_msg(!fixture_error_has(f, "unsupported path"), "%s %s", method, path);
        ck_assert_msg(!warns_of_parameters(), "%s %s %s", method, path, cf_buf_text(&text));
        sent++;
        if (field->name == NULL) {
            return sent;
        }
    }
}

START_TEST(every_parameter_is_accepted)
{
    size_t sent = 0;
    for (size_t i = 0; i < table_count; i++) {
        for (const struct route *route = tables[i].routes; route->pattern != NULL; route++) {
            if (route->fields == NULL || tables[i].routes == host_routes) {
                continue; /* what the host answers needs a node: tests/cluster */
            }
            const char *path = filled(tables[i].mount, route->pattern, "x", false);
            sent += route->write != NULL ? send_fields(path, route, "POST") : 0;
            sent += route->patch != NULL ? send_fields(path, route, "PATCH") : 0;
        }
    }
    ck_assert_uint_ge(sent, 300);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {mounts_all, every_route_is_there, is_a_valid_document, every_path_has_help,
                                  every_parameter_is_accepted};
    arena = arena_new(65536);
    int status = test_run("node/server/openapi", tests, sizeof(tests) / sizeof(tests[0]));
    fixture_free(f);
    arena_free(arena);
    return status;
}

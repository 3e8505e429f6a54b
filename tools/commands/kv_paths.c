/* tools/commands/kv_paths.c: KV mounts and headings. */
#include <string.h>

#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/commands/kv_paths.h"

void kv_split(struct cli *cli, const char *mount_path, const char *text, struct kv_path *ret)
{
    const char *mount = cli_clean_path(cli, mount_path);
    const char *path = cli_clean_path(cli, text);
    /* In a namespace the server names the mount from the root: cut from the left until it fits. */
    while (strncmp(path, mount, strlen(mount)) != 0) {
        const char *slash = strchr(mount, '/');
        if (slash == NULL) {
            break;
        }
        mount = slash + 1;
    }
    size_t size = strlen(mount);
    ret->mount = mount;
    ret->key = strncmp(path, mount, size) == 0 ? cli_clean_path(cli, path + size) : path;
}

int kv_resolve(struct cli *cli, const char *mount, const char *text, struct kv_path *ret)
{
    const char *asked = cli_clean_path(cli, mount != NULL ? mount : text);
    const char *path = arena_printf(cli->arena, "sys/internal/ui/mounts/%s", asked);
    struct call call = {.method = "GET", .path = path, .wrap_ttl = "", .absent_ok = true};
    struct cf_error err = {0};
    struct reply reply;
    bool printing = cli->output_curl;
    cli->output_curl = false; /* the question must be asked to know what the command would send */
    cf_status status = session_call(cli, &call, &reply, &err);
    cli->output_curl = printing;
    if (status != CF_OK) {
        cli_error(cli, "%s", err.message);
        return CLI_REFUSED;
    }
    if (reply.status != 200 && reply.status != 404) {
        cli_error(cli, "%s", session_error_text(cli, &reply));
        return CLI_REFUSED;
    }
    /* 404: an old server without this path; KV v1 it is. */
    const struct json *data = json_get(reply.json, "data");
    struct cf_slice found = json_get_string(data, "path");
    struct cf_slice version = json_get_string(json_get(data, "options"), "version");
    const char *mount_path = found.size > 0 ? arena_text(cli->arena, found) : "";
    *ret = (struct kv_path){.v2 = cf_slice_is(version, "2")};
    if (mount != NULL) {
        ret->mount = asked;
        ret->key = cli_clean_path(cli, text);
    } else {
        kv_split(cli, mount_path, text, ret);
    }
    return CLI_FINE;
}

const char *kv_full_path(struct cli *cli, const struct kv_path *path, const char *part)
{
    const char *full = *path->mount != '\0' ? arena_printf(cli->arena, "%s/", path->mount) : "";
    if (path->v2 && part != NULL) {
        full = arena_printf(cli->arena, "%s%s/", full, part);
    }
    return cli_clean_path(cli, arena_printf(cli->arena, "%s%s", full, path->key));
}

static void heading(struct cli *cli, const char *title, size_t width)
{
    long left = (long)width - (long)(strlen(title) + 2);
    size_t signs = left > 0 ? (size_t)left : 4;
    signs = (signs + 1) / 2;
    char line[128];
    signs = cf_min(signs, sizeof(line) - 1);
    memset(line, '=', signs);
    line[signs] = '\0';
    cli_say(cli, "%s %s %s", line, title, line);
}

void kv_heading(struct cli *cli, const char *title, const struct json *object)
{
    size_t longest = 0;
    for (size_t i = 0; json_is(object, JSON_OBJECT) && i < object->count; i++) {
        longest = cf_max(longest, object->members[i].key.size);
    }
    heading(cli, title, longest + strlen("    Value"));
}

void kv_path_heading(struct cli *cli, const char *title, const char *path)
{
    heading(cli, title, strlen(path));
    cli_say(cli, "%s\n", path);
}

void kv_pairs(struct cli *cli, const struct json *object)
{
    struct table table;
    table_init(&table, cli->arena);
    table_pair(&table, "Key", CF_SLICE("Value"));
    output_pairs(&table, object);
    if (table.count > 1) {
        table_print(&table, true, cli->out);
    }
}

struct json *kv_versions(struct cli *cli, const struct strings *texts)
{
    struct json *list = json_array_new(cli->arena);
    for (size_t i = 0; i < texts->count; i++) {
        struct cf_slice rest = cf_slice_str(texts->at[i]);
        while (rest.size > 0) {
            size_t comma = cf_slice_find(rest, ',');
            const char *one =
                cli_clean_path(cli, arena_text(cli->arena, cf_slice_first(rest, comma)));
            if (*one != '\0') {
                json_array_add(cli->arena, list, json_from_text(cli->arena, one));
            }
            rest = cf_slice_from(rest, comma + 1);
        }
    }
    return list->count > 0 ? list : NULL;
}

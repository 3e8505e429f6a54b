/* tools/commands/raft_snapshot.c: snapshot files, looked at without a server. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "node/crypto/hash.h"
#include "node/format/archive.h"
#include "tools/cli/output.h"
#include "tools/cli/term.h"
#include "tools/commands.h"

struct looking {
    struct cli *cli;
    FILE *file;
    struct term_progress progress;
    bool shows_progress; /* false: quietly */
    uint64_t done;
    struct json *meta;
    uint64_t classes[3], class_bytes[3]; /* r, c, o */
};

static void *open_hash(void)
{
    return hash_new(HASH_SHA256);
}
static void add_hash(void *hash, struct cf_slice bytes)
{
    hash_add(hash, bytes);
}
static void end_hash(void *hash, uint8_t ret[ARCHIVE_DIGEST])
{
    hash_end(hash, ret);
    hash_free(hash);
}

static const struct archive_hash sha256 = {open_hash, add_hash, end_hash};

static cf_status read_file(void *context, void *to, size_t size, size_t *ret, struct cf_error *err)
{
    struct looking *looking = context;
    *ret = fread(to, 1, size, looking->file);
    looking->done += *ret;
    if (looking->shows_progress) {
        term_progress_show(&looking->progress, looking->done);
    }
    return ferror(looking->file) ? cf_fail(err, CF_IO, "read: %s", strerror(errno)) : CF_OK;
}

static cf_status see_meta(void *context, struct cf_slice json, struct cf_error *err)
{
    struct looking *looking = context;
    if (json_parse(looking->cli->arena, json, NULL, &looking->meta, NULL) != CF_OK ||
        !json_is(looking->meta, JSON_OBJECT)) {
        return cf_fail(err, CF_INVALID, "meta.json is no JSON object");
    }
    return CF_OK;
}

static cf_status see_record(void *context, struct cf_slice key, struct cf_slice value,
                            struct cf_error *err)
{
    static const char letters[] = "rco";
    struct looking *looking = context;
    const char *at = memchr(letters, key.data[0], 3);
    if (at == NULL) {
        return cf_fail(err, CF_INVALID, "a record has a class that is none");
    }
    looking->classes[at - letters]++;
    looking->class_bytes[at - letters] += key.size + value.size;
    return CF_OK;
}

static cf_status see_proof(void *context, struct cf_slice sums, struct cf_slice proof,
                           struct cf_error *err)
{
    (void)context;
    (void)sums;
    (void)proof;
    (void)err;
    return CF_OK;
}

static void set_class(struct looking *looking, struct json *to, const char *name, unsigned class)
{
    struct arena *arena = looking->cli->arena;
    json_set_text(arena, to, name,
                  arena_printf(arena, "%llu records, %llu bytes",
                               (unsigned long long)looking->classes[class],
                               (unsigned long long)looking->class_bytes[class]));
}

static void print(struct looking *looking, bool all)
{
    struct cli *cli = looking->cli;
    struct json *shown = json_object_new(cli->arena);
    static const char *const names[][2] = {
        {"Index", "index"},           {"Term", "term"},       {"taken", "taken"},
        {"cluster_id", "cluster_id"}, {"cluster_name", "cluster_name"},
        {"node_id", "node_id"},       {"role", "role"},       {"made_by", "made_by"},
        {"records", "records"},       {"bytes", "bytes"},
    };
    for (size_t i = 0; i < CF_LENGTH(names); i++) {
        json_set(cli->arena, shown, names[i][1], json_get(looking->meta, names[i][0]));
    }
    const struct json *seal = json_get(looking->meta, "seal");
    int64_t shares = 0, threshold = 0;
    (void)json_int64(json_get(seal, "shares"), &shares);
    (void)json_int64(json_get(seal, "threshold"), &threshold);
    json_set_text(cli->arena, shown, "seal",
                  arena_printf(cli->arena, "%.*s, %lld of %lld shares",
                               CF_SHOW(json_get_string(seal, "type")), (long long)threshold,
                               (long long)shares));
    if (all) {
        set_class(looking, shown, "replicated", 0);
        set_class(looking, shown, "cluster", 1);
        set_class(looking, shown, "own", 2);
    }
    if (output_machine(cli, shown)) {
        return;
    }
    struct table table;
    table_init(&table, cli->arena);
    table_pair(&table, "Key", CF_SLICE("Value"));
    output_pairs(&table, shown);
    table_print(&table, true, cli->out);
}

static int look(struct cli *cli, char *const *argv, bool inspects)
{
    struct looking looking = {.cli = cli};
    struct gzip_source source = {read_file, &looking};
    struct archive_visit visit = {&looking, see_meta, see_record, see_proof};
    struct archive_totals totals;
    struct cf_error err = {0};
    struct stat info;
    int code = cli_parse(cli, NULL, 0, CLI_FORMAT, argv);
    if (code != CLI_GO) {
        return code;
    }
    if (cli->args.count != 1) {
        cli_error(cli, "Incorrect arguments (expected 1, got %zu)", cli->args.count);
        return CLI_USAGE;
    }
    const char *path = cli_arg(cli, 0);
    looking.file = fopen(path, "re");
    if (looking.file == NULL || fstat(fileno(looking.file), &info) != 0) {
        cli_error(cli, "Error opening snapshot file: open %s: %s", path, strerror(errno));
        return CLI_USAGE;
    }
    looking.shows_progress = true;
    term_progress_start_bytes(&looking.progress, cli->err, "Reading", (uint64_t)info.st_size);
    cf_status status = archive_read(&source, &sha256, &visit, &totals, &err);
    term_progress_end(&looking.progress, looking.done);
    (void)fclose(looking.file);
    if (status != CF_OK) {
        cli_error(cli, "Error reading the snapshot: %s: %s", path, err.message);
        return CLI_REFUSED;
    }
    print(&looking, inspects);
    if (!inspects) {
        cli_say(cli, "Success! The snapshot is whole: %llu records, all checksums fit. Whether its "
                     "keys fit a cluster, \"restore -dry-run\" tells there.",
                (unsigned long long)totals.records);
    }
    return CLI_FINE;
}

bool raft_snapshot_is_whole(struct cli *cli, FILE *file)
{
    struct looking looking = {.cli = cli, .file = file};
    struct gzip_source source = {read_file, &looking};
    struct archive_visit visit = {&looking, see_meta, see_record, see_proof};
    struct archive_totals unused;
    rewind(file);
    return archive_read(&source, &sha256, &visit, &unused, NULL) == CF_OK;
}

int command_raft_snapshot_inspect(struct cli *cli, char *const *argv)
{
    return look(cli, argv, true);
}

int command_raft_snapshot_verify(struct cli *cli, char *const *argv)
{
    return look(cli, argv, false);
}

/* tools/commands/debug.c: debug: an archive for support. What the server says of itself, once and over
 * some time, as JSON files without secrets, and an index of what could be had. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "node/format/gzip.h"
#include "node/format/tar.h"
#include "tools/cli/session.h"
#include "tools/commands.h"
#include "tools/commands/debug_redact.h"

#define SAMPLES_MAX 1000
#define MS_MIN 1000

/* What is asked: the name of the file and of -target, the path, and whether again and again. */
static const struct source {
    const char *name, *path, *target;
    bool polled;
} sources[] = {
    {"config", "sys/config/state/sanitized", "config", false},
    {"host_info", "sys/host-info", "host", false},
    {"version_history", "sys/version-history?list", "server-status", false},
    {"loggers", "sys/loggers", "log", false},
    {"license", "sys/license/status", "server-status", false},
    {"raft_configuration", "sys/storage/raft/configuration", "raft", false},
    {"raft_autopilot", "sys/storage/raft/autopilot/state", "raft", false},
    {"counters_tokens", "sys/internal/counters/tokens", "metrics", false},
    {"counters_entities", "sys/internal/counters/entities", "metrics", false},
    {"seal_status", "sys/seal-status", "server-status", true},
    {"health", "sys/health", "server-status", true},
    {"leader", "sys/leader", "server-status", true},
    {"ha_status", "sys/ha-status", "server-status", true},
    {"replication_status", "sys/replication/status", "replication-status", true},
    {"in_flight_requests", "sys/in-flight-req", "requests", true},
    {"metrics", "sys/metrics", "metrics", true},
};

struct bundle {
    struct cli *cli;
    FILE *file;
    struct gzip_out *out;
    struct json *index, *errors;
    size_t files;
    struct strings targets;
};

static cf_status to_file(void *context, struct cf_slice bytes, struct cf_error *err)
{
    FILE *file = context;
    return fwrite(bytes.data, 1, bytes.size, file) == bytes.size
               ? CF_OK
               : cf_fail(err, CF_IO, "cannot write the bundle: %s", strerror(errno));
}

static cf_status add_file(struct bundle *bundle, const char *name, const struct json *content,
                          struct cf_error *err)
{
    static const uint8_t zeros[TAR_BLOCK] = {0};
    uint8_t header[TAR_BLOCK];
    CF_BUF(text) = {0};
    json_write_pretty(&text, content);
    cf_buf_add_byte(&text, '\n');
    tar_header(arena_printf(bundle->cli->arena, "%s.json", name), text.size, (int64_t)time(NULL),
               header);
    CF_TRY(gzip_out_add(bundle->out, cf_slice_of(header, sizeof(header)), err));
    CF_TRY(gzip_out_add(bundle->out, cf_buf_slice(&text), err));
    bundle->files++;
    return gzip_out_add(bundle->out, cf_slice_of(zeros, tar_padding(text.size)), err);
}

static bool wanted(const struct bundle *bundle, const struct source *source)
{
    for (size_t i = 0; i < bundle->targets.count; i++) {
        if (strcmp(bundle->targets.at[i], source->target) == 0) {
            return true;
        }
    }
    return bundle->targets.count == 0;
}

static const char *now_text(struct cli *cli)
{
    char text[32];
    struct tm parts;
    time_t now = time(NULL);
    (void)strftime(text, sizeof(text), "%Y-%m-%dT%H-%M-%SZ", gmtime_r(&now, &parts));
    return arena_printf(cli->arena, "%s", text);
}

/* One question. What went wrong stands in the index; it ends nothing. */
static struct json *ask(struct bundle *bundle, const struct source *source)
{
    struct cli *cli = bundle->cli;
    struct cf_error err = {0};
    struct reply reply;
    bool lists = strchr(source->path, '?') != NULL;
    const char *path = arena_text(cli->arena, cf_slice_of(source->path, strcspn(source->path, "?")));
    struct call call = {.method = lists ? "LIST" : "GET", .path = path, .wrap_ttl = ""};
    cf_status status = session_call(cli, &call, &reply, &err);
    struct json *answer = json_object_new(cli->arena);
    json_set_text(cli->arena, answer, "timestamp", now_text(cli));
    json_set_int(cli->arena, answer, "status", status == CF_OK ? reply.status : 0);
    if (status == CF_OK && reply.json != NULL) {
        json_set(cli->arena, answer, "answer",
                 debug_redact(cli->arena, reply.json, session_token(cli)));
    }
    /* Health says by its status what a node is; others say that they cannot tell. */
    bool told = status == CF_OK && (reply.status < 300 || strcmp(source->name, "health") == 0);
    if (!told) {
        struct json *error = json_object_new(cli->arena);
        json_set_text(cli->arena, error, "path", source->path);
        json_set_int(cli->arena, error, "status", status == CF_OK ? reply.status : 0);
        json_set_text(cli->arena, error, "error", status == CF_OK ? "see the file" : err.message);
        json_array_add(cli->arena, bundle->errors, error);
    }
    return answer;
}

static void nap(int64_t ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

static cf_status capture(struct bundle *bundle, int64_t duration_ms, int64_t interval_ms,
                         struct cf_error *err)
{
    struct json *samples[CF_LENGTH(sources)];
    int64_t rounds = duration_ms / interval_ms + 1;
    rounds = rounds > SAMPLES_MAX ? SAMPLES_MAX : rounds;
    for (size_t i = 0; i < CF_LENGTH(sources); i++) {
        samples[i] = json_array_new(bundle->cli->arena);
    }
    for (int64_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < CF_LENGTH(sources); i++) {
            if (wanted(bundle, &sources[i]) && (round == 0 || sources[i].polled)) {
                json_array_add(bundle->cli->arena, samples[i], ask(bundle, &sources[i]));
            }
        }
        nap(round + 1 < rounds ? interval_ms : 0);
    }
    for (size_t i = 0; i < CF_LENGTH(sources); i++) {
        if (wanted(bundle, &sources[i])) {
            CF_TRY(add_file(bundle, sources[i].name, samples[i], err));
        }
    }
    json_set_text(bundle->cli->arena, bundle->index, "ended", now_text(bundle->cli));
    json_set_int(bundle->cli->arena, bundle->index, "samples", rounds);
    return add_file(bundle, "index", bundle->index, err);
}

static cf_status write_bundle(struct bundle *bundle, int64_t duration_ms, int64_t interval_ms,
                              struct cf_error *err)
{
    static const uint8_t zeros[2 * TAR_BLOCK] = {0};
    struct gzip_sink sink = {to_file, bundle->file};
    CF_OWNED(gzip_out) out = gzip_out_new(&sink);
    bundle->out = out;
    CF_TRY(capture(bundle, duration_ms, interval_ms, err));
    CF_TRY(gzip_out_add(out, cf_slice_of(zeros, sizeof(zeros)), err));
    CF_TRY(gzip_out_end(out, err));
    return fflush(bundle->file) == 0 && fsync(fileno(bundle->file)) == 0
               ? CF_OK
               : cf_fail(err, CF_IO, "cannot write the bundle: %s", strerror(errno));
}

static void begin_index(struct bundle *bundle, const char *duration, const char *interval)
{
    struct arena *arena = bundle->cli->arena;
    bundle->index = json_object_new(arena);
    bundle->errors = json_array_new(arena);
    json_set_int(arena, bundle->index, "version", 1);
    json_set_text(arena, bundle->index, "address", bundle->cli->address);
    json_set_text(arena, bundle->index, "client_version", COFFER_VERSION);
    json_set_text(arena, bundle->index, "duration", duration);
    json_set_text(arena, bundle->index, "interval", interval);
    json_set_text(arena, bundle->index, "started", now_text(bundle->cli));
    json_set(arena, bundle->index, "errors", bundle->errors);
    bundle->index = debug_redact(arena, bundle->index, session_token(bundle->cli));
    json_set(arena, bundle->index, "errors", bundle->errors);
}

static bool known_targets(struct cli *cli, const struct strings *targets)
{
    for (size_t i = 0; i < targets->count; i++) {
        bool known = false;
        for (size_t s = 0; s < CF_LENGTH(sources) && !known; s++) {
            known = strcmp(targets->at[i], sources[s].target) == 0;
        }
        if (!known) {
            cli_error(cli,
                      "Unknown target \"%s\": use config, host, log, metrics, raft, "
                      "replication-status, requests or server-status",
                      targets->at[i]);
            return false;
        }
    }
    return true;
}

static int run(struct cli *cli, struct bundle *bundle, const char *path, int64_t duration_ms,
               int64_t interval_ms)
{
    struct cf_error err = {0};
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bundle->file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (bundle->file == NULL) {
        cli_error(cli, "Cannot make the bundle %s: %s", path, strerror(errno));
        return CLI_USAGE;
    }
    cf_status status = write_bundle(bundle, duration_ms, interval_ms, &err);
    (void)fclose(bundle->file);
    if (status != CF_OK) {
        (void)unlink(path);
        cli_error(cli, "Error capturing: %s", err.message);
        return CLI_REFUSED;
    }
    for (size_t i = 0; i < bundle->errors->count; i++) {
        const struct json *error = bundle->errors->items[i];
        int64_t code = 0;
        (void)json_int64(json_get(error, "status"), &code);
        cli_error(cli, "Not captured: %.*s (status %" PRId64 ")",
                  CF_SHOW(json_get_string(error, "path")), code);
    }
    cli_say(cli, "Success! Bundle written to: %s (%zu files)", path, bundle->files);
    return CLI_FINE;
}

int command_debug(struct cli *cli, char *const *argv)
{
    const char *duration = "2m";
    const char *interval = "30s";
    const char *output = NULL;
    struct bundle bundle = {.cli = cli};
    int64_t duration_ms = 0;
    int64_t interval_ms = 0;
    const struct flag flags[] = {
        {"duration", FLAG_SECONDS, &duration, NULL, "For how long to collect (2m); 0: once."},
        {"interval", FLAG_SECONDS, &interval, NULL, "Pause between two samples (30s)."},
        {"output", FLAG_STRING, &output, NULL, "File to write; must not be there yet."},
        {"target", FLAG_LIST, &bundle.targets, NULL,
         "Only this: config, host, log, metrics, raft, replication-status, requests, "
         "server-status; repeatable."},
    };
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv, (struct cli_rule){CLI_SERVER, 0, 0});
    if (code != CLI_GO) {
        return code;
    }
    bool fine = flags_parse_duration(duration, &duration_ms) &&
                flags_parse_duration(interval, &interval_ms) && interval_ms >= MS_MIN;
    if (!fine) {
        cli_error(cli, "-duration and -interval are durations such as 30s, the second at least 1s");
        return CLI_USAGE;
    }
    if (!known_targets(cli, &bundle.targets)) {
        return CLI_USAGE;
    }
    if (cli->output_curl || cli->output_policy) {
        cli_error(cli, "debug sends many requests: it has no -output-curl-string or -output-policy");
        return CLI_USAGE;
    }
    begin_index(&bundle, duration, interval);
    const char *path = output != NULL
                           ? output
                           : arena_printf(cli->arena, "coffer-debug-%s.tar.gz", now_text(cli));
    return run(cli, &bundle, path, duration_ms, interval_ms);
}

/* tools/cli/cli.c: streams, common flags and messages of all commands. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/memory.h"
#include "node/format/hcl.h"
#include "tools/cli/cli.h"
#include "tools/cli/session.h"
#include "tools/cli/table.h"

#define FILE_MAX ((size_t)64 * 1024 * 1024)
#define FLAGS_MAX 96

void cli_init(struct cli *cli, FILE *in, FILE *out, FILE *err)
{
    *cli = (struct cli){.in = in, .out = out, .err = err};
    cli->arena = arena_new(16384);
    cli->format = "table";
    cli->command = "";
    cli->usage = "";
    cli->help = "";
}

void cli_done(struct cli *cli)
{
    session_free(cli->session);
    arena_free(cli->arena);
    cli->session = NULL;
    cli->arena = NULL;
}

const char *cli_env(const char *name)
{
    static const char *const prefixes[] = {"COFFER_", "VAULT_"};
    char full[128];
    for (size_t i = 0; i < CF_LENGTH(prefixes); i++) {
        (void)snprintf(full, sizeof(full), "%s%s", prefixes[i], name);
        const char *value = getenv(full);
        if (value != NULL && *value != '\0') {
            return value;
        }
    }
    return NULL;
}

static void take_env(const char *name, const char **to)
{
    const char *value = cli_env(name);
    if (value != NULL) {
        *to = value;
    }
}

static void read_environment(struct cli *cli)
{
    const char *skip = cli_env("SKIP_VERIFY");
    if (cli->address == NULL) {
        cli->address = "https://127.0.0.1:8200";
    }
    take_env("ADDR", &cli->address);
    take_env("TOKEN", &cli->token);
    take_env("NAMESPACE", &cli->name_space);
    take_env("WRAP_TTL", &cli->wrap_ttl);
    take_env("FORMAT", &cli->format);
    take_env("CACERT", &cli->tls.ca_cert);
    take_env("CAPATH", &cli->tls.ca_path);
    take_env("CLIENT_CERT", &cli->tls.client_cert);
    take_env("CLIENT_KEY", &cli->tls.client_key);
    take_env("TLS_SERVER_NAME", &cli->tls.server_name);
    cli->tls.skip_verify = skip != NULL && strcmp(skip, "0") != 0 && strcmp(skip, "false") != 0;
}

/* All flags of a command: its own first, so that they hide common ones of the same name. */
static size_t gather(struct cli *cli, const struct flag *own, size_t count, unsigned groups,
                     struct flag *all)
{
    const struct flag server[] = {
        {"address", FLAG_STRING, &cli->address, NULL, "Address of the server (COFFER_ADDR)."},
        {"token", FLAG_STRING, &cli->token, &cli->token_given, "Token (COFFER_TOKEN)."},
        {"namespace", FLAG_STRING, &cli->name_space, NULL, "Namespace (COFFER_NAMESPACE)."},
        {"ns", FLAG_STRING, &cli->name_space, NULL, "The same as -namespace."},
        {"ca-cert", FLAG_STRING, &cli->tls.ca_cert, NULL, "CA certificate file (COFFER_CACERT)."},
        {"ca-path", FLAG_STRING, &cli->tls.ca_path, NULL, "Folder of CA certificates."},
        {"client-cert", FLAG_STRING, &cli->tls.client_cert, NULL, "Client certificate file."},
        {"client-key", FLAG_STRING, &cli->tls.client_key, NULL, "Key of the client certificate."},
        {"tls-server-name", FLAG_STRING, &cli->tls.server_name, NULL, "Name to check and send."},
        {"tls-skip-verify", FLAG_BOOL, &cli->tls.skip_verify, NULL, "Trust any certificate."},
        {"header", FLAG_LIST, &cli->headers, NULL, "Header to send, name=value; repeatable."},
        {"wrap-ttl", FLAG_SECONDS, &cli->wrap_ttl, NULL, "Wrap the answer for so long."},
        {"output-curl-string", FLAG_BOOL, &cli->output_curl, NULL,
         "Print the request as a curl command and do not send it."},
        {"output-policy", FLAG_BOOL, &cli->output_policy, NULL,
         "Print the policy that the request needs and do not send it."},
        {"mfa", FLAG_LIST, &cli->mfa, NULL, "Not supported: this server has no MFA of its own."},
        {"non-interactive", FLAG_BOOL, &cli->non_interactive, NULL, "Never ask at the terminal."},
    };
    const struct flag format[] = {
        {"format", FLAG_STRING, &cli->format, NULL, "table, json, yaml or raw (COFFER_FORMAT)."},
        {"detailed", FLAG_BOOL, &cli->detailed, NULL, "Show more, where there is more."},
    };
    const struct flag field[] = {
        {"field", FLAG_STRING, &cli->field, NULL, "Print only this field, without a newline."},
    };
    size_t total = 0;
    for (size_t i = 0; i < count && total < FLAGS_MAX; i++) {
        all[total++] = own[i];
    }
    for (size_t i = 0; groups & CLI_SERVER && i < CF_LENGTH(server) && total < FLAGS_MAX; i++) {
        all[total++] = server[i];
    }
    for (size_t i = 0; groups & CLI_FORMAT && i < CF_LENGTH(format) && total < FLAGS_MAX; i++) {
        all[total++] = format[i];
    }
    for (size_t i = 0; groups & CLI_FIELD && i < CF_LENGTH(field) && total < FLAGS_MAX; i++) {
        all[total++] = field[i];
    }
    return total;
}

void cli_print_help(struct cli *cli, const struct flag *own, size_t count, unsigned groups,
                    FILE *out)
{
    struct flag all[FLAGS_MAX];
    size_t total = gather(cli, own, count, groups, all);
    (void)fprintf(out, "Usage: coffer %s %s\n\n  %s\n\nFlags:\n\n", cli->command, cli->usage,
                  cli->help);
    struct table table;
    table_init(&table, cli->arena);
    for (size_t i = 0; i < total; i++) {
        static const char *const values[] = {
            [FLAG_BOOL] = "",           [FLAG_STRING] = "=<text>",
            [FLAG_INT] = "=<number>",   [FLAG_SECONDS] = "=<duration>",
            [FLAG_LIST] = "=<text>...",
        };
        table_row(&table);
        table_cellf(&table, "-%s%s", all[i].name, values[all[i].type]);
        table_cell(&table, cf_slice_str(all[i].help));
    }
    table_print(&table, false, out);
}

static bool known_format(const char *format)
{
    static const char *const known[] = {"table", "json", "yaml", "yml", "raw", "pretty"};
    for (size_t i = 0; i < CF_LENGTH(known); i++) {
        if (strcmp(format, known[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Go ignores flags after the first argument; whoever writes them there should hear about it. */
static void warn_late_flags(struct cli *cli, const struct flag *all, size_t total)
{
    for (size_t i = 0; i < cli->args.count; i++) {
        const char *text = cli->args.at[i];
        const char *name = text + strspn(text, "-");
        if (text[0] != '-' || name - text > 2) {
            continue;
        }
        for (size_t j = 0; j < total; j++) {
            size_t size = strlen(all[j].name);
            if (strncmp(name, all[j].name, size) == 0 &&
                (name[size] == '\0' || name[size] == '=')) {
                cli_error(cli,
                          "Command flags must be provided before positional arguments. The "
                          "following argument will not be parsed as a flag: %s",
                          text);
                break;
            }
        }
    }
}

/* For "flag provided but not defined: -x" the flag that may have been meant. */
static void name_nearest(struct cli *cli, const struct flag *all, size_t total, const char *message)
{
    static const char unknown[] = "flag provided but not defined: -";
    const char *names[FLAGS_MAX];
    if (strncmp(message, unknown, strlen(unknown)) != 0) {
        return;
    }
    for (size_t i = 0; i < total; i++) {
        names[i] = all[i].name;
    }
    const char *near = hcl_nearest(cf_slice_str(message + strlen(unknown)), names, total);
    if (near != NULL) {
        cli_error(cli, "Did you mean -%s?", near);
    }
}

int cli_parse(struct cli *cli, const struct flag *own, size_t count, unsigned groups,
              char *const *argv)
{
    struct flag all[FLAGS_MAX];
    struct cf_error err = {0};
    bool help = false;
    enum flags_where where = groups & CLI_ANYWHERE ? FLAGS_ANYWHERE : FLAGS_FIRST;
    read_environment(cli);
    size_t total = gather(cli, own, count, groups, all);
    cf_status status = flags_parse(cli->arena, all, total, where, argv, &cli->args, &help, &err);
    if (help) {
        cli_print_help(cli, own, count, groups, cli->out);
        return CLI_FINE;
    }
    if (status != CF_OK) {
        cli_error(cli, "%s", err.message);
        name_nearest(cli, all, total, err.message);
        cli_error(cli, "Try: coffer %s -help", cli->command);
        return CLI_USAGE;
    }
    if (cli->mfa.count > 0) {
        cli_error(cli, "The flag -mfa is not supported: logins with a second factor are not part of "
                       "this command line; use sys/mfa of the server that asks for it");
        return CLI_USAGE;
    }
    if (groups & CLI_FORMAT && !known_format(cli->format)) {
        cli_error(cli, "Invalid output format: %s", cli->format);
        return CLI_USAGE;
    }
    if (where == FLAGS_FIRST) {
        warn_late_flags(cli, all, total);
    }
    return CLI_GO;
}

int cli_begin(struct cli *cli, const struct flag *own, size_t count, char *const *argv,
              struct cli_rule rule)
{
    int code = cli_parse(cli, own, count, rule.groups, argv);
    if (code != CLI_GO) {
        return code;
    }
    return cli_want(cli, rule.min, rule.max, rule.expected) ? CLI_GO : CLI_USAGE;
}

bool cli_want(struct cli *cli, size_t min, size_t max, const char *expected)
{
    char number[24];
    size_t count = cli->args.count;
    if (count >= min && count <= max) {
        return true;
    }
    if (expected == NULL) {
        (void)snprintf(number, sizeof(number), "%zu", count < min ? min : max);
        expected = number;
    }
    cli_error(cli, "%s arguments (expected %s, got %zu)", count < min ? "Not enough" : "Too many",
              expected, count);
    return false;
}

const char *cli_arg(const struct cli *cli, size_t at)
{
    return at < cli->args.count ? cli->args.at[at] : NULL;
}

void cli_say(struct cli *cli, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vfprintf(cli->out, fmt, args);
    va_end(args);
    (void)fputc('\n', cli->out);
}

void cli_error(struct cli *cli, const char *fmt, ...)
{
    va_list args;
    (void)fflush(cli->out);
    va_start(args, fmt);
    (void)vfprintf(cli->err, fmt, args);
    va_end(args);
    (void)fputc('\n', cli->err);
}

int cli_fail(struct cli *cli, const char *context, const struct cf_error *err)
{
    cli_error(cli, "%s: %s", context, err->message);
    return CLI_REFUSED;
}

bool cli_format_is(const struct cli *cli, const char *format)
{
    return strcmp(cli->format, format) == 0 ||
           (strcmp(cli->format, "yml") == 0 && strcmp(format, "yaml") == 0);
}

const char *cli_clean_path(struct cli *cli, const char *path)
{
    static const char cut[] = "/ \t\r\n";
    path += strspn(path, cut);
    size_t size = strlen(path);
    while (size > 0 && strchr(cut, path[size - 1]) != NULL) {
        size--;
    }
    return arena_text(cli->arena, cf_slice_of(path, size));
}

const char *cli_mount_path(struct cli *cli, const char *path)
{
    return arena_printf(cli->arena, "%s/", cli_clean_path(cli, path));
}

cf_status cli_read_file(struct cli *cli, const char *path, struct cf_slice *ret,
                        struct cf_error *err)
{
    bool from_input = strcmp(path, "-") == 0;
    CF_BUF(text) = {.max = FILE_MAX, .secret = true};
    FILE *file = from_input ? cli->in : fopen(path, "re");
    if (file == NULL) {
        return cf_fail(err, errno == ENOENT ? CF_NOT_FOUND : CF_IO, "open %s: %s", path,
                       strerror(errno));
    }
    size_t got = 0;
    do {
        uint8_t block[16384];
        got = fread(block, 1, sizeof(block), file);
        cf_buf_add(&text, block, got);
        cf_wipe(block, got);
    } while (got > 0 && !text.overflow);
    bool failed = ferror(file) != 0;
    if (!from_input) {
        (void)fclose(file);
    }
    if (failed) {
        return cf_fail(err, CF_IO, "read %s: %s", path, strerror(errno));
    }
    CF_TRY(cf_buf_check(&text, err));
    *ret = arena_copy(cli->arena, cf_buf_slice(&text));
    return CF_OK;
}

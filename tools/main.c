/* tools/main.c: finds the command that the words name, and help. */
#include <signal.h>
#include <string.h>

#include "node/base/memory.h"
#include "node/base/wiping.h"
#include "node/format/hcl.h"
#include "tools/cli/session.h"
#include "tools/cli/table.h"
#include "tools/commands.h"
#include "tools/completion.h"
#include "tools/tools.h"

#define EXIT_UNKNOWN 127

static const struct command {
    const char *words;
    int (*run)(struct cli *cli, char *const *argv);
    const char *usage, *help;
} commands[] = {
#define COMMAND(words, function, usage, help) {words, function, usage, help},
#include "tools/commands.def"
#undef COMMAND
};

/* How many of argv's words the command's name takes when it matches; 0 when it does not. */
static size_t match(const char *words, char *const *argv)
{
    size_t used = 0;
    while (*words != '\0') {
        size_t size = strcspn(words, " ");
        if (argv[used] == NULL || strlen(argv[used]) != size ||
            memcmp(argv[used], words, size) != 0) {
            return 0;
        }
        used++;
        words += size;
        words += *words == ' ' ? 1 : 0;
    }
    return used;
}

static const struct command *find(char *const *argv, size_t *used)
{
    const struct command *found = NULL;
    *used = 0;
    for (size_t i = 0; i < CF_LENGTH(commands); i++) {
        size_t words = match(commands[i].words, argv);
        if (words > *used) {
            *used = words;
            found = &commands[i];
        }
    }
    return found;
}

/* The commands below `prefix` ("" for all); returns how many there are. */
static size_t print_group(struct cli *cli, const char *prefix, FILE *out)
{
    struct table table;
    size_t size = strlen(prefix);
    table_init(&table, cli->arena);
    if (size == 0) {
        table_pair(&table, "server", CF_SLICE("Starts a node; see server -help."));
    }
    for (size_t i = 0; i < CF_LENGTH(commands); i++) {
        if (strncmp(commands[i].words, prefix, size) == 0 &&
            (size == 0 || commands[i].words[size] == ' ')) {
            table_pair(&table, commands[i].words, cf_slice_str(commands[i].help));
        }
    }
    if (table.count > 0) {
        (void)fprintf(out, "Usage: coffer %s%s<command> [args]\n\n", prefix, size > 0 ? " " : "");
        table_print(&table, false, out);
    }
    return table.count;
}

static bool is_help(const char *text)
{
    return strcmp(text, "-h") == 0 || strcmp(text, "-help") == 0 || strcmp(text, "--help") == 0 ||
           strcmp(text, "help") == 0;
}

/* The command whose words differ least from what was typed. */
static const char *nearest(const char *words)
{
    const char *names[CF_LENGTH(commands) + 1] = {"server"};
    for (size_t i = 0; i < CF_LENGTH(commands); i++) {
        names[i + 1] = commands[i].words;
    }
    const char *near = hcl_nearest(cf_slice_str(words), names, CF_LENGTH(names));
    if (near != NULL) {
        return near;
    }
    /* "kv puut secret/a": the first two words alone, or the first. */
    char first[64];
    size_t size = strcspn(words, " ");
    if (words[size] == '\0') {
        return NULL;
    }
    size_t second = size + 1 + strcspn(words + size + 1, " ");
    size = words[second] != '\0' ? second : size;
    (void)snprintf(first, sizeof(first), "%.*s", (int)size, words);
    return nearest(first);
}

/* Words that only begin commands ("kv", "operator raft"), or none at all. */
static int no_command(struct cli *cli, char *const *argv)
{
    CF_BUF(prefix) = {0};
    size_t at = 0;
    bool help = false;
    for (; argv[at] != NULL && !help; at++) {
        if (is_help(argv[at])) {
            help = true;
        } else if (argv[at][0] != '-') {
            cf_buf_add_str(&prefix, at > 0 ? " " : "");
            cf_buf_add_str(&prefix, argv[at]);
        }
    }
    if (at == 0 || (at == 1 && help)) {
        (void)print_group(cli, "", help ? cli->out : cli->err);
        return help ? CLI_FINE : EXIT_UNKNOWN;
    }
    if (print_group(cli, cf_buf_text(&prefix), help ? cli->out : cli->err) > 0) {
        return help ? CLI_FINE : CLI_USAGE;
    }
    const char *near = nearest(cf_buf_text(&prefix));
    cli_error(cli, "Unknown command: %s", cf_buf_text(&prefix));
    if (near != NULL) {
        cli_error(cli, "Did you mean \"coffer %s\"?", near);
    }
    cli_error(cli, "Try: coffer -help");
    return EXIT_UNKNOWN;
}

static int run_command(struct cli *cli, char *const *argv)
{
    size_t used = 0;
    /* "coffer help kv put" is "coffer kv put -help". */
    if (argv[0] != NULL && strcmp(argv[0], "help") == 0 && argv[1] != NULL) {
        static char flag[] = "-help";
        char *const help[] = {flag, NULL};
        const struct command *command = find(argv + 1, &used);
        if (command != NULL) {
            cli->command = command->words;
            cli->usage = command->usage;
            cli->help = command->help;
            return command->run(cli, help);
        }
        return print_group(cli, argv[1], cli->out) > 0 ? CLI_FINE : no_command(cli, argv + 1);
    }
    if (argv[0] != NULL && (strcmp(argv[0], "-version") == 0 || strcmp(argv[0], "--version") == 0 ||
                            strcmp(argv[0], "-v") == 0)) {
        return command_version(cli, argv + 1);
    }
    if (argv[0] != NULL && (strcmp(argv[0], "-autocomplete-install") == 0 ||
                            strcmp(argv[0], "-autocomplete-uninstall") == 0)) {
        return completion_install(cli, strcmp(argv[0], "-autocomplete-install") == 0);
    }
    const struct command *command = find(argv, &used);
    if (command == NULL) {
        return no_command(cli, argv);
    }
    cli->command = command->words;
    cli->usage = command->usage;
    cli->help = command->help;
    int code = command->run(cli, argv + used);
    return code == SESSION_PRINTED ? CLI_FINE : code;
}

int tools_run(int argc, char *const *argv, FILE *in, FILE *out, FILE *err)
{
    static char *const none[] = {NULL};
    struct cli cli;
    cli_init(&cli, in, out, err);
    int code = run_command(&cli, argc > 0 ? argv + 1 : none);
    if (fflush(out) != 0 && code == CLI_FINE) {
        code = CLI_USAGE;
    }
    cli_done(&cli);
    return code;
}

int tools_main(int argc, char **argv)
{
    (void)signal(SIGPIPE, SIG_IGN); /* a server that goes away is an error, not the end */
    (void)curl_global_init_mem(CURL_GLOBAL_DEFAULT, cf_wiping_malloc, cf_wiping_free, cf_wiping_realloc,
                               cf_wiping_strdup, cf_wiping_calloc);
    int code = tools_run(argc, argv, stdin, stdout, stderr);
    curl_global_cleanup();
    return code;
}

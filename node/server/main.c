/* node/server/main.c: the one binary, server and command line. */
#include <stdio.h>
#include <string.h>

#include "node/server/diagnose.h"
#include "node/server/node.h"
#include "node/server/recover.h"
#include "tools/tools.h"

#define CONFIGS_MAX 16

struct options {
    const char *configs[CONFIGS_MAX];
    size_t config_count;
    bool dev, dev_no_store_token;
    const char *dev_root_token, *dev_listen, *log_level, *log_format;
};

/* -name=value, --name=value, -name value; NULL when the argument is another one. */
static const char *value_of(const char *name, char **argv, int argc, int *at)
{
    const char *arg = argv[*at];
    arg += arg[0] == '-';
    arg += arg[0] == '-';
    size_t size = strlen(name);
    if (arg == argv[*at] || strncmp(arg, name, size) != 0) {
        return NULL;
    }
    if (arg[size] == '=') {
        return arg + size + 1;
    }
    if (arg[size] == '\0' && *at + 1 < argc) {
        return argv[++*at];
    }
    return NULL;
}

static bool is_flag(const char *name, const char *arg)
{
    return strcmp(arg + (arg[0] == '-') + (arg[0] == '-' && arg[1] == '-'), name) == 0 &&
           arg[0] == '-';
}

static int usage(const char *what)
{
    (void)fprintf(stderr,
                  "coffer: %s\nUsage: coffer server -config=FILE [-config=FILE ...] "
                  "[-log-level=LEVEL] [-log-format=standard|json]\n"
                  "       coffer server -dev [-dev-root-token-id=ID] [-dev-listen-address=HOST:PORT] "
                  "[-dev-no-store-token]\n",
                  what);
    return 1;
}

static int parse(int argc, char **argv, struct options *options)
{
    for (int i = 0; i < argc; i++) {
        const char *value;
        if ((value = value_of("config", argv, argc, &i)) != NULL) {
            if (options->config_count == CONFIGS_MAX) {
                return usage("too many -config options");
            }
            options->configs[options->config_count++] = value;
        } else if ((value = value_of("dev-root-token-id", argv, argc, &i)) != NULL) {
            options->dev_root_token = value;
        } else if ((value = value_of("dev-listen-address", argv, argc, &i)) != NULL) {
            options->dev_listen = value;
        } else if ((value = value_of("log-level", argv, argc, &i)) != NULL) {
            options->log_level = value;
        } else if ((value = value_of("log-format", argv, argc, &i)) != NULL) {
            options->log_format = value;
        } else if (is_flag("dev-no-store-token", argv[i])) {
            options->dev_no_store_token = true;
        } else if (is_flag("dev", argv[i])) {
            options->dev = true;
        } else {
            char text[200];
            (void)snprintf(text, sizeof(text), "unknown option \"%s\"", argv[i]);
            return usage(text);
        }
    }
    return 0;
}

static int run_server(int argc, char **argv)
{
    struct options options = {.dev_listen = "127.0.0.1:8200"};
    struct cf_error err = {0};
    CF_OWNED(config) config = NULL;
    int bad = parse(argc, argv, &options);
    if (bad != 0) {
        return bad;
    }
    if (options.dev) {
        config = config_dev(options.dev_root_token, options.dev_listen);
    } else if (options.config_count == 0) {
        return usage("give a configuration with -config, or -dev");
    } else if (config_load(options.configs, options.config_count, &config, &err) != CF_OK) {
        (void)fprintf(stderr, "coffer: %s\n", err.message);
        return 1;
    }
    if (options.log_level != NULL &&
        !cf_log_parse_level(cf_slice_str(options.log_level), &config->log_level)) {
        return usage("unknown log level; use trace, debug, info, warn or error");
    }
    if (options.log_format != NULL) {
        config->log_json = strcmp(options.log_format, "json") == 0;
        if (!config->log_json && strcmp(options.log_format, "standard") != 0) {
            return usage("unknown log format; use standard or json");
        }
    }
    config->dev_keeps_token = options.dev && !options.dev_no_store_token;
    return node_run(config);
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "server") == 0) {
        return run_server(argc - 2, argv + 2);
    }
    tools_offline_recovery = recover_run;
    tools_offline_diagnosis = diagnose_run;
    return tools_main(argc, argv);
}

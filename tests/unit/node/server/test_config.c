/* tests/unit/node/server/test_config.c: the server's configuration: what it may say, and how it is
 * refused. */
#include "node/server/config.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "tests/lib/test.h"

static char folder[64];
static struct config *config;
static struct cf_error err;

static void clean_up(void)
{
    char command[128];
    config_free(config);
    config = NULL;
    if (folder[0] != '\0') {
        snprintf(command, sizeof(command), "rm -r %s", folder);
        if (system(command) != 0) {
            (void)fprintf(stderr, "%s failed\n", command);
        }
        folder[0] = '\0';
    }
}

static void set_up(void)
{
    clean_up();
    snprintf(folder, sizeof(folder), "/tmp/coffer-config-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static const char *path_of(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

static cf_status load_path(const char *path)
{
    config_free(config);
    config = NULL;
    err = (struct cf_error){0};
    return config_load(&path, 1, &config, &err);
}

static cf_status load(const char *text)
{
    write_file("c.hcl", text);
    return load_path(path_of("c.hcl"));
}

#define STORAGE "storage \"raft\" { path = \"/data\" node_id = \"n1\" }\n"
#define LISTENER "listener \"tcp\" { address = \"10.0.0.1:8200\" tls_disable = true }\n"

START_TEST(the_whole)
{
    set_up();
    ck_ok(
        load("api_addr = \"https://a:8200\"\n"
             "cluster_addr = \"https://a:8201\"\n"
             "cluster_name = \"east\"\n"
             "ui = true\n"
             "disable_mlock = true\n"
             "log_level = \"debug\"\n"
             "log_format = \"json\"\n"
             "default_lease_ttl = \"1h\"\n"
             "max_lease_ttl = \"24h\"\n"
             "pid_file = \"/run/x\"\n"
             "storage \"raft\" {\n"
             "  path = \"/data\"\n"
             "  node_id = \"n1\"\n"
             "  retry_join { leader_api_addr = \"https://b:8200\" leader_ca_cert_file = \"/ca\" }\n"
             "  retry_join { leader_api_addr = \"https://c:8200\" }\n"
             "}\n"
             "listener \"tcp\" {\n"
             "  address = \"0.0.0.0:8200\"\n"
             "  cluster_address = \"0.0.0.0:9999\"\n"
             "  tls_cert_file = \"/cert\"\n"
             "  tls_key_file = \"/key\"\n"
             "  tls_min_version = \"tls13\"\n"
             "  telemetry { unauthenticated_metrics_access = true }\n"
             "}\n"
             "seal \"static\" { current_key_id = \"k1\" current_key = \"file:///key\" }\n"));
    ck_assert_str_eq(config->api_addr, "https://a:8200");
    ck_assert_str_eq(config->cluster_addr, "https://a:8201");
    ck_assert_str_eq(config->cluster_name, "east");
    ck_assert(config->ui && config->disable_mlock && config->log_json);
    ck_assert_int_eq(config->log_level, CF_LOG_DEBUG);
    ck_assert_int_eq(config->default_lease_ttl_s, 3600);
    ck_assert_int_eq(config->max_lease_ttl_s, 86400);
    ck_assert_int_eq(config->storage, STORAGE_RAFT);
    ck_assert_str_eq(config->path, "/data");
    ck_assert_str_eq(config->node_id, "n1");
    ck_assert_uint_eq(config->join_count, 2);
    ck_assert_str_eq(config->joins[0].ca_cert_file, "/ca");
    ck_assert_str_eq(config->joins[1].leader_api_addr, "https://c:8200");
    ck_assert_ptr_null(config->joins[1].ca_cert_file);
    ck_assert_uint_eq(config->listener_count, 1);
    const struct config_listener *listener = &config->listeners[0];
    ck_assert_str_eq(listener->address, "0.0.0.0:8200");
    ck_assert_str_eq(listener->cluster_address, "0.0.0.0:9999");
    ck_assert_str_eq(listener->tls_cert_file, "/cert");
    ck_assert(listener->only_tls13 && !listener->tls_disable && listener->unauthenticated_metrics);
    ck_assert_uint_eq(config->seal_count, 1);
    ck_assert_str_eq(config_auto_seal(config)->key_id, "k1");
    ck_assert_str_eq(config_auto_seal(config)->key, "file:///key");
    ck_assert_ptr_null(config_old_seal(config));
    ck_assert_uint_eq(config->path_count, 1);
    ck_assert(!config->is_dev);
}
END_TEST

#define TRANSIT "seal \"transit\" { address = \"https://o:8200\" token = \"t\" key_name = \"k\" mount_path = \"m\" "
#define STATIC "seal \"static\" { current_key_id = \"k1\" current_key = \"file:///key\" "

START_TEST(seals)
{
    set_up();
    ck_ok(load(STORAGE LISTENER TRANSIT "tls_ca_cert = \"/ca\" namespace = \"ns/\" disable_renewal = \"true\" }\n"));
    const struct config_seal *seal = config_auto_seal(config);
    ck_assert_int_eq(seal->type, SEAL_TRANSIT);
    ck_assert_str_eq(seal->address, "https://o:8200");
    ck_assert_str_eq(seal->ca_file, "/ca");
    ck_assert_str_eq(seal->ns, "ns/");
    ck_assert(seal->disable_renewal && !seal->skip_verify);
    ck_ok(load(STORAGE LISTENER STATIC "disabled = \"true\" }\n" TRANSIT "}\n"));
    ck_assert_int_eq(config_auto_seal(config)->type, SEAL_TRANSIT);
    ck_assert_int_eq(config_old_seal(config)->type, SEAL_STATIC);
    ck_ok(load(STORAGE LISTENER STATIC "previous_key_id = \"k0\" previous_key = \"file:///old\" }\n"));
    ck_assert_str_eq(config_auto_seal(config)->previous_id, "k0");
    ck_assert_str_eq(config_auto_seal(config)->previous_key, "file:///old");
    ck_status(load(STORAGE LISTENER STATIC "previous_key_id = \"k0\" }\n"), CF_INVALID);
    ck_status(load(STORAGE LISTENER STATIC "previous_key = \"file:///old\" }\n"), CF_INVALID);
    ck_status(load(STORAGE LISTENER STATIC "previous_key_id = \"k1\" previous_key = \"file:///old\" }\n"), CF_INVALID);
    ck_status(load(STORAGE LISTENER STATIC "}\n" TRANSIT "}\n"), CF_INVALID);
    ck_status(load(STORAGE LISTENER TRANSIT "}\n" TRANSIT "disabled = true }\n"), CF_INVALID);
    ck_status(load(STORAGE LISTENER "seal \"transit\" { token = \"t\" }\n"), CF_INVALID);
    ck_status(load(STORAGE LISTENER "seal \"gcpckms\" { }\n"), CF_INVALID);
}
END_TEST

START_TEST(defaults)
{
    set_up();
    ck_ok(load(STORAGE LISTENER));
    ck_assert_str_eq(config->api_addr, "http://10.0.0.1:8200");
    ck_assert_str_eq(config->cluster_addr, "https://10.0.0.1:8201");
    ck_assert_str_eq(config->listeners[0].cluster_address, "10.0.0.1:8201");
    ck_assert_int_eq(config->default_lease_ttl_s, 768 * 3600);
    ck_assert_int_eq(config->max_lease_ttl_s, 768 * 3600);
    ck_assert_int_eq(config->log_level, CF_LOG_INFO);
    ck_assert_ptr_null(config_auto_seal(config));
    ck_assert(!config->listeners[0].allow_unauthed_rekey); /* a token is asked for */
    ck_assert(!config->listeners[0].allow_unauthed_generate_root);
    ck_ok(load(STORAGE LISTENER "enable_unauthenticated_access = [\"generate-root\"]\n"));
    ck_assert(!config->listeners[0].allow_unauthed_rekey);
    ck_assert(config->listeners[0].allow_unauthed_generate_root);
    ck_status(load(STORAGE LISTENER "enable_unauthenticated_access = [\"everything\"]\n"),
              CF_INVALID);
    ck_ok(load("storage \"inmem\" {}\nlistener \"tcp\" { tls_disable = 1 "
               "disable_unauthed_rekey_endpoints = false }"));
    ck_assert(config->listeners[0].allow_unauthed_rekey);
    ck_ok(load("storage \"inmem\" {}\nlistener \"tcp\" { tls_disable = 1 "
               "disable_unauthed_rekey_endpoints = true }"));
    ck_assert_str_eq(config->listeners[0].address, "127.0.0.1:8200");
    ck_assert_ptr_nonnull(config->node_id);
    ck_assert(!config->listeners[0].allow_unauthed_rekey);
    /* Who listens everywhere does so on the cluster port, too, and is told to others by loopback
     * when nothing better is said. */
    ck_ok(load(STORAGE "listener \"tcp\" { address = \"0.0.0.0:8300\" tls_disable = true }"));
    ck_assert_str_eq(config->listeners[0].cluster_address, "0.0.0.0:8301");
    ck_assert_str_eq(config->cluster_addr, "https://127.0.0.1:8301");
    ck_assert_str_eq(config->api_addr, "http://127.0.0.1:8300");
    ck_ok(load(STORAGE "listener \"tcp\" { address = \"[::]:8300\" tls_disable = true }"));
    ck_assert_str_eq(config->listeners[0].cluster_address, "[::]:8301");
    ck_ok(load(STORAGE "listener \"tcp\" { address = \"[::1]:8300\" tls_disable = true }"));
    ck_assert_str_eq(config->cluster_addr, "https://[::1]:8301");
}
END_TEST

START_TEST(json)
{
    set_up();
    write_file("c.json", "{\"storage\": {\"file\": {\"path\": \"/d\"}},"
                         " \"listener\": [{\"tcp\": {\"address\": \"a:1\", \"tls_disable\": true}},"
                         " {\"tcp\": {\"address\": \"b:2\", \"tls_disable\": \"true\"}}],"
                         " \"ui\": true}");
    ck_ok(load_path(path_of("c.json")));
    ck_assert_int_eq(config->storage, STORAGE_FILE);
    ck_assert_uint_eq(config->listener_count, 2);
    ck_assert_str_eq(config->listeners[1].address, "b:2");
    ck_assert(config->ui);
}
END_TEST

START_TEST(folders_and_several_files)
{
    set_up();
    write_file("b.json", "{\"cluster_name\": \"second\"}");
    write_file("a.hcl", STORAGE LISTENER "cluster_name = \"first\"");
    write_file("c.txt", "not read {{{");
    ck_ok(load_path(folder));
    ck_assert_str_eq(config->cluster_name, "second"); /* in the order of names */
    const char *paths[] = {path_of("b.json"), path_of("a.hcl")};
    config_free(config);
    config = NULL;
    ck_ok(config_load(paths, 2, &config, &err));
    ck_assert_str_eq(config->cluster_name, "first");
    ck_assert_uint_eq(config->path_count, 2);
    ck_assert_str_eq(config->paths[0], path_of("b.json"));
}
END_TEST

/* Two places for the data, or two keys, in one file or in two. */
START_TEST(what_there_can_be_only_one_of)
{
    set_up();
    ck_status(load(STORAGE LISTENER "storage \"file\" { path = \"/e\" }\n"), CF_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "c.hcl:3: a second storage block"));
    ck_status(load(STORAGE LISTENER "backend \"inmem\" {}\n"), CF_INVALID);
    write_file("b.hcl", STORAGE);
    write_file("c.hcl", STORAGE LISTENER);
    ck_status(load_path(folder), CF_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "c.hcl:1: a second storage block"));
    ck_status(load(STORAGE LISTENER
                   "seal \"static\" { current_key_id = \"a\" current_key = \"file:///a\" }\n"
                   "seal \"static\" { current_key_id = \"b\" current_key = \"file:///b\" }\n"),
              CF_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "c.hcl:4: a second seal"));
}
END_TEST

/* What other servers of the API know is no error. */
START_TEST(keys_of_other_servers)
{
    set_up();
    ck_ok(load(STORAGE LISTENER "cache_size = 5\ntelemetry { statsd_address = \"x\" }\n"
                                "plugin_directory = \"/p\"\nservice_registration \"consul\" {}\n"));
    ck_ok(load("storage \"raft\" { path = \"/d\" performance_multiplier = 1 }\n"
               "listener \"tcp\" { tls_disable = true http_idle_timeout = \"5m\" }"));
}
END_TEST

static void ck_refused(const char *text, const char *message)
{
    cf_status status = load(text);
    ck_assert_msg(status == CF_INVALID && strstr(err.message, message) != NULL,
                  "%s: %s \"%s\", not \"%s\"", text, cf_status_name(status), err.message, message);
    ck_assert_ptr_null(config);
}

#define TOP "storage \"inmem\" {}\nlistener \"tcp\" {\n tls_disable = true\n}\n"

START_TEST(audit_and_lockout)
{
    set_up();
    write_file("a.hcl", TOP "audit \"file\" \"main\" {\n description = \"d\"\n local = true\n"
                            " options {\n file_path = \"/x/a.log\"\n log_raw = false\n"
                            " mode = \"0600\"\n }\n}\n"
                            "audit \"socket\" \"far/\" {\n options {\n address = \"h:1\"\n }\n}\n"
                            "user_lockout \"userpass\" {\n lockout_threshold = \"7\"\n"
                            " lockout_duration = \"1h\"\n lockout_counter_reset = \"2m\"\n}\n"
                            "user_lockout \"all\" {\n disable_lockout = true\n}\n"
                            "audit_directories = [\"/a\", \"/b\"]\n"
                            "unsafe_allow_api_audit_creation = true\n"
                            "allow_audit_log_prefixing = true\n");
    ck_assert_msg(load_path(path_of("a.hcl")) == CF_OK, "%s", err.message);
    ck_assert_uint_eq(config->audit_count, 2);
    ck_assert(cf_slice_is(config->audits[0].type, "file"));
    ck_assert(cf_slice_is(config->audits[0].path, "main/"));
    ck_assert(cf_slice_is(config->audits[0].description, "d"));
    ck_assert(config->audits[0].is_local);
    ck_assert(cf_slice_is(json_get_string(config->audits[0].options, "file_path"), "/x/a.log"));
    ck_assert(cf_slice_is(json_get_string(config->audits[0].options, "log_raw"), "false"));
    ck_assert(cf_slice_is(config->audits[1].path, "far/"));
    ck_assert_uint_eq(config->lockout_count, 2);
    ck_assert(cf_slice_is(config->lockouts[0].type, "userpass"));
    ck_assert_int_eq(config->lockouts[0].settings.threshold, 7);
    ck_assert_int_eq(config->lockouts[0].settings.duration_s, 3600);
    ck_assert_int_eq(config->lockouts[0].settings.reset_s, 120);
    ck_assert(config->lockouts[1].settings.is_off);
    ck_assert_str_eq(config->audit_directories[0], "/a");
    ck_assert_str_eq(config->audit_directories[1], "/b");
    ck_assert_ptr_null(config->audit_directories[2]);
    ck_assert(config->audit_by_api && config->audit_may_prefix);
    /* Without a word of it: where the configuration lies, and the usual folder. */
    write_file("b.hcl", TOP);
    ck_assert_msg(load_path(path_of("b.hcl")) == CF_OK, "%s", err.message);
    ck_assert_str_eq(config->audit_directories[0], folder);
    ck_assert_str_eq(config->audit_directories[1], "/var/log/coffer");
    ck_assert(!config->audit_by_api && !config->audit_may_prefix);
    static const char *const bad[] = {
        TOP "audit \"file\" \"a\" {}\naudit \"file\" \"a/b\" {}\n",
        TOP "audit \"file\" \"/\" {}\n",
        TOP "audit \"file\" \"a\" {\n color = \"red\"\n}\n",
        TOP "audit \"file\" \"a\" {\n options = 7\n}\n",
        TOP "audit_directories = [\"here\"]\n",
        TOP "user_lockout \"all\" {\n lockout_threshold = -1\n}\n",
        TOP "user_lockout \"all\" {\n lockout_duration = \"soon\"\n}\n",
        TOP "user_lockout \"all\" {\n lockout_thresh = 1\n}\n",
    };
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        write_file("c.hcl", bad[i]);
        ck_assert_msg(load_path(path_of("c.hcl")) == CF_INVALID, "%s", bad[i]);
        ck_assert_msg(strstr(err.message, "c.hcl:") != NULL, "%s", err.message);
    }
    clean_up();
}
END_TEST

START_TEST(replication)
{
    set_up();
    static const struct {
        const char *text;
        uint64_t bytes;
    } sizes[] = {{"\"64mib\"", 64 << 20},      {"\"2GiB\"", (uint64_t)2 << 30}, {"1048576", 1 << 20},
                 {"\"1048577\"", (1 << 20) + 1}, {"\"5mb\"", 5000000}};
    for (size_t i = 0; i < CF_LENGTH(sizes); i++) {
        char text[256];
        (void)snprintf(text, sizeof(text), TOP "replication {\n log_retention = \"2h\"\n log_retention_size = %s\n}\n",
                       sizes[i].text);
        write_file("a.hcl", text);
        ck_assert_msg(load_path(path_of("a.hcl")) == CF_OK, "%s: %s", text, err.message);
        ck_assert_uint_eq(config->log_retention_bytes, sizes[i].bytes);
        ck_assert_int_eq(config->log_retention_s, 7200);
    }
    static const char *const bad[] = {"\"\"",      "\"mib\"",  "\"0mib\"",  "\"-1mib\"", "\"1 mib\"",
                                      "\"64m\"",   "\"1kib\"",  "1048575",
                                      "\"99999999tib\"", "\"99999999999999999999\""};
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        char text[256];
        (void)snprintf(text, sizeof(text), TOP "replication {\n log_retention_size = %s\n}\n", bad[i]);
        write_file("b.hcl", text);
        ck_assert_msg(load_path(path_of("b.hcl")) == CF_INVALID, "%s", bad[i]);
        ck_assert_msg(strstr(err.message, "b.hcl:") != NULL && strstr(err.message, "mib") != NULL, "%s: %s", bad[i],
                      err.message);
    }
    clean_up();
}
END_TEST

/* Each refusal names file and line, and what to do. */
START_TEST(refusals)
{
    set_up();
    ck_refused(STORAGE LISTENER "\nclustername = \"x\"",
               "c.hcl:4: unknown key \"clustername\"; did you mean \"cluster_name\"?");
    ck_refused(STORAGE LISTENER "zzqqzzqq = 1", "unknown key \"zzqqzzqq\"; remove it");
    ck_refused("storage \"raft\" {\n path = \"/d\"\n nodeid = \"x\"\n}\n" LISTENER,
               "c.hcl:3: unknown key \"nodeid\"; did you mean \"node_id\"?");
    ck_refused(STORAGE "listener \"tcp\" {\n addres = \"x\"\n}", "did you mean \"address\"?");
    ck_refused(STORAGE "listener \"tcp\" { address = \"a:1\" }",
               "needs tls_cert_file and tls_key_file");
    ck_refused(STORAGE "listener \"udp\" { }", "unknown listener type \"udp\"; use \"tcp\"");
    ck_refused("storage \"consul\" { }\n" LISTENER, "unknown storage \"consul\"; use \"raft\"");
    ck_refused("storage \"raft\" { }\n" LISTENER, "storage \"raft\" needs a path");
    ck_refused("storage \"raft\" { path = \"/d\" retry_join { auto_join = \"x\" } }\n" LISTENER,
               "auto_join is not supported");
    ck_refused("storage \"raft\" { path = \"/d\" retry_join { leader_ca_cert_file = \"x\" } }\n" LISTENER,
               "needs leader_api_addr");
    ck_refused("storage \"raft\" { path = \"/d\" retry_join { leader_api_addr = \"x\" "
               "leader_client_cert = \"x\" } }\n" LISTENER, "needs its key");
    ck_refused(LISTENER, "no storage block");
    ck_refused(STORAGE, "no listener block");
    ck_refused("", "no storage block");
    ck_refused(STORAGE LISTENER "seal \"awskms\" {}", "unknown seal \"awskms\"");
    ck_refused(STORAGE LISTENER "seal \"static\" {}", "needs current_key_id and current_key");
    ck_refused(STORAGE LISTENER "ui = \"perhaps\"", "c.hcl:3: \"ui\"");
    ck_refused(STORAGE LISTENER "log_level = \"loud\"", "\"loud\" is no log level");
    ck_refused(STORAGE LISTENER "log_format = \"xml\"", "\"standard\" or \"json\"");
    ck_refused(STORAGE LISTENER "max_lease_ttl = \"0s\"", "positive duration");
    ck_refused(STORAGE LISTENER "max_lease_ttl = \"1 fortnight\"", "c.hcl:3: \"max_lease_ttl\"");
    ck_refused(STORAGE LISTENER "cluster_name = [1]", "c.hcl:3: \"cluster_name\"");
    ck_refused(STORAGE LISTENER "ui = ", "c.hcl");
    ck_refused("storage = 5\n" LISTENER, "c.hcl:1: \"storage\"");
    ck_refused("storage \"raft\" { path = \"/d\" \n", "c.hcl");
    ck_refused("{", "c.hcl");
    ck_refused("\x01\x02", "c.hcl");
}
END_TEST

START_TEST(too_many)
{
    set_up();
    CF_BUF(text) = {0};
    cf_buf_add_str(&text, STORAGE);
    for (size_t i = 0; i < CONFIG_LISTENERS_MAX; i++) {
        cf_buf_add_str(&text, LISTENER);
    }
    ck_ok(load(cf_buf_text(&text)));
    cf_buf_add_str(&text, LISTENER);
    ck_refused(cf_buf_text(&text), "more than 8 listeners");
    cf_buf_reset(&text);
    cf_buf_add_str(&text, LISTENER "storage \"raft\" { path = \"/d\"\n");
    for (size_t i = 0; i < CONFIG_JOINS_MAX + 1; i++) {
        cf_buf_add_str(&text, "retry_join { leader_api_addr = \"https://x:1\" }\n");
    }
    cf_buf_add_str(&text, "}");
    ck_refused(cf_buf_text(&text), "more than 16 retry_join blocks");
}
END_TEST

START_TEST(files_that_are_none)
{
    set_up();
    ck_status(load_path(path_of("absent.hcl")), CF_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "absent.hcl"));
    ck_status(load_path(folder), CF_INVALID); /* empty */
    ck_assert_ptr_nonnull(strstr(err.message, "no .hcl or .json file"));
    ck_status(load_path("/dev/null"), CF_INVALID);
    CF_BUF(large) = {0};
    for (int i = 0; i < 1200; i++) {
        cf_buf_addf(&large, "# %01000d\n", 0);
    }
    ck_refused(cf_buf_text(&large), "at most 1 MiB");
}
END_TEST

START_TEST(dev)
{
    set_up();
    config = config_dev("root", "127.0.0.1:8300");
    ck_assert(config->is_dev);
    ck_assert_int_eq(config->storage, STORAGE_INMEM);
    ck_assert_str_eq(config->dev_root_token, "root");
    ck_assert_str_eq(config->listeners[0].address, "127.0.0.1:8300");
    ck_assert(config->listeners[0].tls_disable);
    ck_assert_str_eq(config->api_addr, "http://127.0.0.1:8300");
    ck_assert_uint_eq(config->path_count, 0);
    ck_assert_str_eq(storage_type_name(STORAGE_RAFT), "raft");
    ck_assert_str_eq(storage_type_name(STORAGE_INMEM), "inmem");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {the_whole,
                                  seals,
                                  defaults,
                                  json,
                                  folders_and_several_files, what_there_can_be_only_one_of,
                                  keys_of_other_servers,
                                  audit_and_lockout, replication, refusals,
                                  too_many,
                                  files_that_are_none,
                                  dev};
    cf_log_set_level(CF_LOG_ERROR); /* warnings are expected */
    int failed = test_run("node/server/config", tests, CF_LENGTH(tests));
    clean_up();
    return failed;
}

/* tools/cli/session.c: requests to a server over libcurl. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "node/format/url.h"
#include "tools/cli/session.h"
#include "tools/cli/term.h"
#include "tools/cli/token_file.h"

#define BODY_MAX ((size_t)256 * 1024 * 1024)
#define RETRIES_DEFAULT 2
#define RETRY_FIRST_MS 250u
#define TIMEOUT_DEFAULT_MS 60000
#define TOKEN_MAX ((size_t)64 * 1024)

struct session {
    CURL *curl;
    char *token;
    int64_t timeout_ms;
    int64_t retries;
};

/* What libcurl's callbacks fill in during one exchange. */
struct exchange {
    CURL *curl;
    struct cf_buf body;
    char location[1024];
    FILE *download, *upload;
    bool live, download_failed;
    const char *title; /* NULL: no progress */
    FILE *err;
    bool has_progress;
    struct term_progress progress;
    uint64_t size, moved;
};

void session_free(struct session *session)
{
    if (session != NULL) {
        curl_easy_cleanup(session->curl);
        if (session->token != NULL) {
            cf_wipe(session->token, strlen(session->token));
        }
        cf_free(session->token);
        cf_free(session);
    }
}

static char *load_token(struct cli *cli)
{
    char text[4096];
    const char *path = token_file_path(cli->arena);
    if (cli->token != NULL) {
        return cf_strdup(cli_clean_path(cli, cli->token));
    }
    FILE *file = path != NULL ? fopen(path, "re") : NULL;
    if (file == NULL) {
        return cf_strdup("");
    }
    size_t size = fread(text, 1, sizeof(text) - 1, file);
    text[size] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    (void)fclose(file);
    char *token = cf_strdup(text);
    cf_wipe(text, sizeof(text));
    return token;
}

static cf_status session_open(struct cli *cli, struct cf_error *err)
{
    if (cli->session != NULL) {
        return CF_OK;
    }
    struct session *session = cf_new(struct session);
    const char *timeout = cli_env("CLIENT_TIMEOUT");
    const char *retries = cli_env("MAX_RETRIES");
    session->curl = curl_easy_init();
    session->token = load_token(cli);
    session->timeout_ms = TIMEOUT_DEFAULT_MS;
    session->retries = RETRIES_DEFAULT;
    cli->session = session;
    if (session->curl == NULL) {
        return cf_fail(err, CF_IO, "the HTTP library does not start");
    }
    if (timeout != NULL && !flags_parse_duration(timeout, &session->timeout_ms)) {
        return cf_fail(err, CF_INVALID, "COFFER_CLIENT_TIMEOUT is no duration: \"%s\"", timeout);
    }
    if (retries != NULL) {
        session->retries = strtol(retries, NULL, 10);
    }
    return CF_OK;
}

const char *session_token(struct cli *cli)
{
    cf_ignore(session_open(cli, NULL), "without a session the token is empty");
    return cli->session->token;
}

/* The size of a streamed answer is not known before its end; a server may tell about how much it will be. */
#define APPROXIMATE_SIZE "x-coffer-approximate-size:"

static void show_moved(struct exchange *exchange, size_t count)
{
    if (exchange->title == NULL) {
        return;
    }
    if (!exchange->has_progress) {
        exchange->has_progress = true;
        term_progress_start_bytes(&exchange->progress, exchange->err, exchange->title, exchange->size);
    }
    exchange->moved += count;
    term_progress_show(&exchange->progress, exchange->moved);
}

static void end_progress(struct exchange *exchange)
{
    if (exchange->has_progress) {
        term_progress_end(&exchange->progress, exchange->moved);
    }
    exchange->has_progress = false;
    exchange->moved = 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct exchange *exchange = context;
    long status = 0;
    (void)curl_easy_getinfo(exchange->curl, CURLINFO_RESPONSE_CODE, &status);
    if (exchange->download != NULL && status == 200) {
        if (fwrite(data, size, count, exchange->download) != count) {
            exchange->download_failed = true;
            return 0;
        }
        if (exchange->live) {
            (void)fflush(exchange->download);
        }
        show_moved(exchange, size * count);
    } else {
        cf_buf_add(&exchange->body, data, size * count);
    }
    return exchange->body.overflow ? 0 : size * count;
}

static size_t on_header(char *data, size_t size, size_t count, void *context)
{
    struct exchange *exchange = context;
    static const char name[] = "location:";
    size_t total = size * count;
    if (total > sizeof(name) && strncasecmp(data, name, sizeof(name) - 1) == 0) {
        const char *from = data + sizeof(name) - 1;
        size_t left = total - (sizeof(name) - 1);
        while (left > 0 && *from == ' ') {
            from++;
            left--;
        }
        (void)snprintf(exchange->location, sizeof(exchange->location), "%.*s", (int)left, from);
        exchange->location[strcspn(exchange->location, "\r\n")] = '\0';
    }
    static const char size_name[] = APPROXIMATE_SIZE;
    if (exchange->download != NULL && total > sizeof(size_name) &&
        strncasecmp(data, size_name, sizeof(size_name) - 1) == 0) {
        exchange->size = strtoull(data + sizeof(size_name) - 1, NULL, 10); /* the line ends in CR LF */
    }
    return total;
}

static size_t on_upload(char *to, size_t size, size_t count, void *context)
{
    struct exchange *exchange = context;
    size_t got = fread(to, 1, size * count, exchange->upload);
    if (got > 0) {
        show_moved(exchange, got);
    } else {
        end_progress(exchange); /* what follows is the server's work */
    }
    return got;
}

static const char *trimmed_address(struct cli *cli)
{
    size_t size = strlen(cli->address);
    while (size > 0 && cli->address[size - 1] == '/') {
        size--;
    }
    return arena_text(cli->arena, cf_slice_of(cli->address, size));
}

static bool lists(const struct call *call)
{
    return strcmp(call->method, "LIST") == 0 || strcmp(call->method, "SCAN") == 0;
}

static const char *make_url(struct cli *cli, const struct call *call)
{
    CF_BUF(url) = {0};
    char separator = '?';
    cf_buf_add_str(&url, trimmed_address(cli));
    cf_buf_add_str(&url, "/v1/");
    url_encode_path(&url, cf_slice_str(call->path));
    if (lists(call)) {
        cf_buf_add_str(&url, strcmp(call->method, "LIST") == 0 ? "?list=true" : "?scan=true");
        separator = '&';
    }
    for (size_t i = 0; json_is(call->query, JSON_OBJECT) && i < call->query->count; i++) {
        const struct json *value = call->query->members[i].value;
        cf_buf_add_byte(&url, (uint8_t)separator);
        url_encode(&url, call->query->members[i].key);
        cf_buf_add_byte(&url, '=');
        if (json_is(value, JSON_STRING)) {
            url_encode(&url, value->text);
        } else {
            CF_BUF(text) = {0};
            json_write(&text, value);
            url_encode(&url, cf_buf_slice(&text));
        }
        separator = '&';
    }
    return arena_text(cli->arena, cf_buf_slice(&url));
}

static void add_header(struct cli *cli, struct curl_slist **list, const char *name,
                       const char *value)
{
    if (value != NULL && *value != '\0' && strpbrk(value, "\r\n") == NULL) {
        *list = curl_slist_append(*list, arena_printf(cli->arena, "%s: %s", name, value));
    }
}

static struct curl_slist *make_headers(struct cli *cli, const struct call *call)
{
    struct curl_slist *list = curl_slist_append(NULL, "X-Vault-Request: true");
    const char *type = strcmp(call->method, "PATCH") == 0 ? "application/merge-patch+json"
                       : call->upload != NULL             ? "application/octet-stream"
                                                          : "application/json";
    list = curl_slist_append(list, "Expect:");
    add_header(cli, &list, "Content-Type",
               call->body != NULL || call->upload != NULL ? type : NULL);
    add_header(cli, &list, "X-Vault-Token",
               call->token != NULL ? call->token : cli->session->token);
    add_header(cli, &list, "X-Vault-Namespace", call->at_root ? NULL : cli->name_space);
    add_header(cli, &list, "X-Vault-Wrap-TTL",
               call->wrap_ttl != NULL ? call->wrap_ttl : cli->wrap_ttl);
    for (size_t i = 0; i < cli->headers.count; i++) {
        const char *equals = strchr(cli->headers.at[i], '=');
        if (equals != NULL) {
            struct cf_slice name =
                cf_slice_of(cli->headers.at[i], (size_t)(equals - cli->headers.at[i]));
            add_header(cli, &list, arena_text(cli->arena, name), equals + 1);
        }
    }
    return list;
}

/* A server of one's own machine is never behind a proxy. */
static bool is_local(const char *url)
{
    const char *host = strstr(url, "://");
    host = host != NULL ? host + 3 : url;
    return strncmp(host, "127.", 4) == 0 || strncmp(host, "localhost", 9) == 0 ||
           strncmp(host, "[::1]", 5) == 0;
}

/* The certificate is checked against tls-server-name by asking for that name at this address. */
static const char *apply_server_name(struct cli *cli, CURL *curl, const char *url,
                                     struct curl_slist **connect_to)
{
    const char *name = cli->tls.server_name;
    if (name == NULL || strncmp(url, "https://", 8) != 0) {
        return url;
    }
    const char *authority = url + 8;
    size_t size = strcspn(authority, "/?");
    const char *colon = memrchr(authority, ':', size);
    bool has_port = colon != NULL && memchr(colon, ']', size - (size_t)(colon - authority)) == NULL;
    int host = (int)(has_port ? colon - authority : (ptrdiff_t)size);
    const char *port =
        has_port
            ? arena_text(cli->arena, cf_slice_of(colon + 1, size - (size_t)(colon + 1 - authority)))
            : "443";
    *connect_to = curl_slist_append(
        NULL, arena_printf(cli->arena, "%s:%s:%.*s:%s", name, port, host, authority, port));
    (void)curl_easy_setopt(curl, CURLOPT_CONNECT_TO, *connect_to);
    return arena_printf(cli->arena, "https://%s:%s%s", name, port, authority + size);
}

static void apply_body(CURL *curl, const struct call *call, const char *method,
                       struct cf_slice body)
{
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    if (call->upload != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_upload);
        (void)fseek(call->upload, 0, SEEK_END);
        (void)curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)ftell(call->upload));
        rewind(call->upload);
    } else if (call->body != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.size);
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data);
    } else if (strcmp(method, "PUT") == 0 || strcmp(method, "POST") == 0) {
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, 0L);
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
    }
}

static const char *sent_method(const struct call *call)
{
    return lists(call) ? "GET" : call->method;
}

static cf_status exchange_once(struct cli *cli, const struct call *call, const char *url,
                               struct cf_slice body, struct exchange *exchange, int *status,
                               struct cf_error *err)
{
    CURL *curl = cli->session->curl;
    struct curl_slist *connect_to = NULL;
    struct curl_slist *headers = make_headers(cli, call);
    bool streams = call->upload != NULL || call->download != NULL;
    char detail[CURL_ERROR_SIZE] = "";
    curl_easy_reset(curl);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
    cf_buf_reset(&exchange->body);
    exchange->curl = curl;
    exchange->location[0] = '\0';
    tls_apply(&cli->tls, curl);
    (void)curl_easy_setopt(curl, CURLOPT_URL, apply_server_name(cli, curl, url, &connect_to));
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, streams ? 0L : (long)cli->session->timeout_ms);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, exchange);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, exchange);
    (void)curl_easy_setopt(curl, CURLOPT_READDATA, exchange);
    if (is_local(url)) {
        (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    }
    apply_body(curl, call, sent_method(call), body);
    if (call->upload != NULL) {
        struct stat info;
        exchange->size = fstat(fileno(call->upload), &info) == 0 ? (uint64_t)info.st_size : 0;
    }
    CURLcode code = curl_easy_perform(curl);
    end_progress(exchange);
    long answered = 0;
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answered);
    long os_errno = 0;
    (void)curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_errno);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL); /* the buffer ends here */
    curl_slist_free_all(headers);
    curl_slist_free_all(connect_to);
    *status = (int)answered;
    if (exchange->download_failed) {
        return cf_fail(err, CF_IO, "cannot write what comes: %s", strerror(errno));
    }
    if (code == CURLE_OPERATION_TIMEDOUT) {
        return cf_fail(err, CF_TIMEOUT, "%s \"%s\": no answer in time", sent_method(call), url);
    }
    if (code != CURLE_OK) {
        const char *why = code == CURLE_COULDNT_CONNECT && os_errno != 0 ? strerror((int)os_errno)
                          : *detail != '\0'                              ? detail
                                                                         : curl_easy_strerror(code);
        return cf_fail(err, CF_IO, "%s \"%s\": %s", sent_method(call), url, why);
    }
    return CF_OK;
}

/* Busy, or not up to date yet: the request had no effect, so any may be sent again. A sealed server
 * stays sealed. */
static bool worth_a_retry(int status, struct cf_slice body)
{
    if (status != 412 && status != 429 && status != 502 && status != 503) {
        return false;
    }
    return memmem(body.data, body.size, "sealed", 6) == NULL;
}

/* A standby that does not forward names the active node: once, and never down from https. */
static bool redirects(const struct exchange *exchange, int status, const char *url)
{
    bool allowed = status == 307 || status == 308;
    if (!allowed || exchange->location[0] == '\0') {
        return false;
    }
    bool from_tls = strncmp(url, "https://", 8) == 0;
    return strncmp(exchange->location, from_tls ? "https://" : "http", from_tls ? 8 : 4) == 0;
}

static void print_curl(struct cli *cli, const struct call *call, const char *url,
                       struct cf_slice body)
{
    (void)fprintf(cli->out, "curl -X %s -H \"X-Vault-Request: true\"", sent_method(call));
    if (*session_token(cli) != '\0') {
        (void)fputs(" -H \"X-Vault-Token: $(coffer print token)\"", cli->out);
    }
    if (cli->name_space != NULL) {
        (void)fprintf(cli->out, " -H \"X-Vault-Namespace: %s\"", cli->name_space);
    }
    if (body.size > 0) {
        (void)fputs(" -d '", cli->out);
        for (size_t i = 0; i < body.size; i++) {
            (void)fputs(body.data[i] == '\'' ? "'\"'\"'" : "", cli->out);
            if (body.data[i] != '\'') {
                (void)fputc(body.data[i], cli->out);
            }
        }
        (void)fputc('\'', cli->out);
    }
    (void)fprintf(cli->out, " '%s'\n", url);
}

/* Paths that want sudo whatever else a policy says, as globs: "*" at the end only. */
static bool wants_sudo(const char *path)
{
    static const char *const known[] = {
        "auth/token/accessors", "sys/audit",  "sys/audit/*", "sys/auth/*",
        "sys/config/auditing/*", "sys/config/cors", "sys/config/ui/*", "sys/leases",
        "sys/leases/lookup/*", "sys/leases/revoke-force/*", "sys/leases/revoke-prefix/*",
        "sys/raw", "sys/raw/*", "sys/remount", "sys/revoke-force/*", "sys/revoke-prefix/*",
        "sys/rotate", "sys/rotate/*", "sys/seal", "sys/step-down", "sys/internal/inspect/*"};
    for (size_t i = 0; i < CF_LENGTH(known); i++) {
        size_t size = strlen(known[i]);
        bool open = known[i][size - 1] == '*';
        if (open ? strncmp(path, known[i], size - 1) == 0 : strcmp(path, known[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void print_policy(struct cli *cli, const struct call *call)
{
    static const struct {
        const char *method, *capabilities;
    } known[] = {{"GET", "\"read\""},     {"LIST", "\"list\""},
                 {"SCAN", "\"scan\""},    {"PUT", "\"create\", \"update\""},
                 {"PATCH", "\"patch\""},  {"POST", "\"create\", \"update\""},
                 {"DELETE", "\"delete\""}};
    const char *path = cli_clean_path(cli, call->path);
    for (size_t i = 0; i < CF_LENGTH(known); i++) {
        if (strcmp(known[i].method, call->method) == 0) {
            (void)fprintf(cli->out, "path \"%s\" {\n  capabilities = [%s%s]\n}\n", path,
                          known[i].capabilities, wants_sudo(path) ? ", \"sudo\"" : "");
        }
    }
}

static void parse_reply(struct cli *cli, struct reply *reply)
{
    static const struct json_limits limits = {
        .keys = 10000000, .items = 10000000, .nodes = 100000000, .string = BODY_MAX};
    struct json *json = NULL;
    if (reply->body.size == 0 ||
        json_parse(cli->arena, reply->body, &limits, &json, NULL) != CF_OK) {
        return;
    }
    if (json_is(json, JSON_OBJECT) || json_is(json, JSON_ARRAY)) {
        reply->json = json;
    }
}

cf_status session_call(struct cli *cli, const struct call *call, struct reply *reply,
                       struct cf_error *err)
{
    CF_BUF(body) = {.secret = true};
    struct exchange exchange = {.download = call->download, .upload = call->upload, .live = call->live,
                                .title = call->progress, .err = cli->err};
    cf_buf_init_secret(&exchange.body, BODY_MAX);
    *reply = (struct reply){.method = sent_method(call), .name_space = cli->name_space};
    CF_TRY(session_open(cli, err));
    if (call->body != NULL) {
        json_write(&body, call->body);
    }
    const char *url = make_url(cli, call);
    reply->url = url;
    if (cli->output_policy) {
        print_policy(cli, call);
        return CF_OK;
    }
    if (cli->output_curl) {
        print_curl(cli, call, url, cf_buf_slice(&body));
        return CF_OK;
    }
    bool redirected = false;
    cf_status status = CF_OK;
    for (int64_t tries = 0;; tries++) {
        status = exchange_once(cli, call, url, cf_buf_slice(&body), &exchange, &reply->status, err);
        if (status == CF_OK && !redirected && redirects(&exchange, reply->status, url)) {
            url = arena_text(cli->arena, cf_slice_str(exchange.location));
            redirected = true;
            continue;
        }
        if (status != CF_OK || call->upload != NULL || tries >= cli->session->retries ||
            !worth_a_retry(reply->status, cf_buf_slice(&exchange.body))) {
            break;
        }
        (void)usleep((useconds_t)(RETRY_FIRST_MS << cf_min((size_t)tries, 4)) * 1000);
    }
    reply->body = arena_copy(cli->arena, cf_buf_slice(&exchange.body));
    cf_buf_done(&exchange.body);
    parse_reply(cli, reply);
    return status;
}

const char *session_error_text(struct cli *cli, const struct reply *reply)
{
    CF_BUF(text) = {0};
    const struct json *errors = json_get(reply->json, "errors");
    cf_buf_add_str(&text, "Error making API request.\n\n");
    if (reply->name_space != NULL && *reply->name_space != '\0') {
        cf_buf_addf(&text, "Namespace: %s\n", reply->name_space);
    }
    cf_buf_addf(&text, "URL: %s %s\nCode: %d. ", reply->method, reply->url, reply->status);
    if (!json_is(errors, JSON_ARRAY)) {
        cf_buf_add_str(&text, "Raw Message:\n\n");
        cf_buf_add_slice(&text, reply->body);
        return arena_text(cli->arena, cf_buf_slice(&text));
    }
    cf_buf_add_str(&text, "Errors:\n\n");
    for (size_t i = 0; i < errors->count; i++) {
        struct cf_slice message = CF_SLICE_EMPTY;
        (void)json_string(errors->items[i], &message);
        cf_buf_add_str(&text, i > 0 ? "\n* " : "* ");
        cf_buf_add_slice(&text, message);
    }
    return arena_text(cli->arena, cf_buf_slice(&text));
}

int session_do(struct cli *cli, const struct call *call, struct reply *reply, const char *doing,
               ...)
{
    struct cf_error err = {0};
    cf_status status = session_call(cli, call, reply, &err);
    if (status == CF_OK && (cli->output_curl || cli->output_policy)) {
        return SESSION_PRINTED;
    }
    bool fine = reply->status >= 200 && reply->status < 300;
    if (status == CF_OK && (fine || (call->absent_ok && reply->status == 404))) {
        return CLI_FINE;
    }
    (void)fflush(cli->out);
    va_list args;
    va_start(args, doing);
    (void)vfprintf(cli->err, doing, args);
    va_end(args);
    cli_error(cli, ": %s", status != CF_OK ? err.message : session_error_text(cli, reply));
    return CLI_REFUSED;
}

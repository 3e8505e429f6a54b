/* tools/cli/session.h
 *
 * Requests to a server over libcurl: one at a time, with the token, namespace and headers of the
 * command line. Follows one 307 of a standby by itself (libcurl's own redirects are off: the token
 * must not go wherever an answer says), tries again when a server is busy. Thread: main.
 */
#ifndef COFFER_CLI_SESSION_H
#define COFFER_CLI_SESSION_H

#include <stdbool.h>
#include <stdio.h>

#include "node/base/slice.h"
#include "node/base/status.h"
#include "node/format/json.h"
#include "tools/cli/cli.h"

struct session;

struct call {
    const char *method;       /* GET, PUT, POST, PATCH, DELETE; LIST and SCAN are sent as GET ?list=true, ?scan=true */
    const char *path;         /* without /v1/ and not escaped */
    const struct json *query; /* object: its members become query parameters; NULL for none */
    const struct json *body;  /* NULL for none */
    FILE *upload;             /* instead of body: sent as it is */
    FILE *download;           /* where the body of a 200 goes; reply->body then stays empty */
    bool live;                /* download: each piece is flushed as it comes */
    const char *progress;     /* of upload or download, under this title on standard error; NULL: none */
    const char *token;        /* in place of the session's; "" for none */
    const char *wrap_ttl;     /* in place of the command line's; "" for none */
    bool at_root;             /* no namespace header */
    bool absent_ok;           /* 404 is an answer like others for session_do() */
};

struct reply {
    int status;
    struct cf_slice body;
    struct json *json;  /* NULL when the body is no JSON object or array */
    const char *method; /* as sent */
    const char *url;
    const char *name_space;
};

void session_free(struct session *session); /* NULL is fine */

/* CF_OK whatever the status of the answer is; CF_IO, CF_TIMEOUT, CF_INVALID when there is none.
 * What reply points to lives in cli->arena. */
CF_CHECKED cf_status session_call(struct cli *cli, const struct call *call, struct reply *reply,
                                  struct cf_error *err);

/* As session_call, and says what went wrong: 0 for a status of 200-299 (or 404 when absent_ok),
 * else the exit code 2 after "<doing>: ..." on standard error (the request was not sent for
 * -output-curl-string and -output-policy: SESSION_PRINTED). */
#define SESSION_PRINTED (-2)
int session_do(struct cli *cli, const struct call *call, struct reply *reply, const char *doing,
               ...) CF_PRINTF(4, 5);

/* The text scripts know: "Error making API request.\n\nURL: ...\nCode: 400. Errors:\n\n* ...". */
const char *session_error_text(struct cli *cli, const struct reply *reply);

/* The token in use: command line, environment, or the helper's file; "" when there is none. */
const char *session_token(struct cli *cli);

#endif

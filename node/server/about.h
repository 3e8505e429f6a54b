/* node/server/about.h: what a node tells of itself to those with a token: loggers, requests in
 * flight, its host, its configuration without secrets. */
#ifndef COFFER_SERVER_ABOUT_H
#define COFFER_SERVER_ABOUT_H

#include "node/server/node.h"

CF_CHECKED cf_status about_loggers_read(struct request *rq, struct cf_error *err);
CF_CHECKED cf_status about_loggers_write(struct request *rq, struct cf_error *err);
CF_CHECKED cf_status about_loggers_delete(struct request *rq, struct cf_error *err);
CF_CHECKED cf_status about_in_flight(struct request *rq, struct cf_error *err);
CF_CHECKED cf_status about_host(struct request *rq, struct cf_error *err);
CF_CHECKED cf_status about_configuration(struct request *rq, struct cf_error *err);
CF_CHECKED cf_status about_absent(struct request *rq, struct cf_error *err);
extern const struct field about_logger_fields[];

#endif

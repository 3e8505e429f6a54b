/* node/server/versions.h
 *
 * Which versions served this cluster, since when: records of class own, made by the active node the first
 * time that a version is active.
 */
#ifndef COFFER_SERVER_VERSIONS_H
#define COFFER_SERVER_VERSIONS_H

#include "node/server/node.h"

/* Inside a run: notes the version of this process unless it is known. */
CF_CHECKED cf_status versions_note(struct request *rq, struct cf_error *err);
/* The record of a fresh cluster; in the arena. */
struct initial_put versions_initial_put(struct arena *arena);
/* sys/version-history */
CF_CHECKED cf_status versions_list(struct request *rq, struct cf_error *err);

#endif

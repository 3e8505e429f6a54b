/* node/server/admit.h: nodes that have asked to join and have not proved themselves yet. */
#ifndef COFFER_SERVER_ADMIT_H
#define COFFER_SERVER_ADMIT_H

struct admissions;

struct admissions *admissions_new(void);
void admissions_free(struct admissions *admissions); /* NULL is fine */

#endif

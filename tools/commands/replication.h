/* tools/commands/replication.h: the table of sys/replication/status, for tests too. */
#ifndef COFFER_COMMANDS_REPLICATION_H
#define COFFER_COMMANDS_REPLICATION_H

#include "node/format/json.h"
#include "tools/cli/table.h"

void replication_heading(struct table *table);
/* The rows of one cluster: `data` is the answer's data, `who` names the cluster. */
void replication_rows(struct table *table, const char *who, const struct json *data);

/* A line with bar, bytes, keys, rate and time left while the side copies; else nothing. */
void replication_progress(struct cf_buf *to, const char *who, const char *kind,
                          const struct json *side);

#endif

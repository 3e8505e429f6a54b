/* tools/commands/replication.h: the table of sys/replication/status, for tests too. */
#ifndef COFFER_COMMANDS_REPLICATION_H
#define COFFER_COMMANDS_REPLICATION_H

#include "node/format/json.h"
#include "tools/cli/table.h"

void replication_heading(struct table *table);
/* The rows of one cluster: `data` is the answer's data, `who` names the cluster. */
void replication_rows(struct table *table, const char *who, const struct json *data);

#endif

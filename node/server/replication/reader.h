/* node/server/replication/reader.h: reading records outside of a request, on one view. */
#ifndef COFFER_SERVER_REPLICATION_READER_H
#define COFFER_SERVER_REPLICATION_READER_H

#include "node/server/node.h"
#include "node/server/replication/set.h"

struct reader {
    struct request rq; /* for the set_read_... functions */
};

/* False while the node is sealed or has no state. Ends with reader_end() either way. */
bool reader_begin(struct reader *reader, struct node *node);
void reader_end(struct reader *reader);

#endif

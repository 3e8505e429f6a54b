/* node/server/snapshot/restore_int.h: what the files of a restore share. */
#ifndef COFFER_SERVER_SNAPSHOT_RESTORE_INT_H
#define COFFER_SERVER_SNAPSHOT_RESTORE_INT_H

#include <pthread.h>

#include "node/base/map.h"
#include "node/barrier/barrier.h"
#include "node/server/replication/set.h"
#include "node/server/snapshot/areas.h"
#include "node/server/snapshot/snapshot.h"

struct snapshots {
    struct node *node;
    pthread_mutex_t lock; /* guards running */
    pthread_cond_t wake;
    unsigned running;
    atomic_bool is_stopping;
    atomic_bool is_restoring; /* one at a time */
    atomic_bool holds_writes; /* only the restore's own proposals are admitted */
};

/* The body of a request, in a file without a name. fd -1: it was not kept. */
struct spool {
    struct http_sink sink;
    int fd;
    cf_status status; /* of writing it */
};

/* What becomes of tokens, accessors, wraps and whatever else gives access by itself. */
enum credentials {
    CREDENTIALS_COMPARE, /* those that the present state has, too, as it has them */
    CREDENTIALS_VOID,    /* none: the present state knows nothing of them */
    CREDENTIALS_KEEP,    /* all: asked for */
};

#define KEYS_SEEN_MAX ((size_t)4096)
#define STAGE_OPS ((size_t)4096) /* in one entry of the stage */

/* What the archive says about itself, checked. Slices are of the arena. */
struct archive_facts {
    struct arena *arena;
    struct json *meta;
    struct archive_totals totals;
    struct cf_slice seal_config, seal_root, seal_keyring, seal_recovery; /* as they stand */
    struct cf_slice role, salt, lineages[SET_KINDS];                     /* sealed */
    struct cf_slice sums, proof;
    struct key_id *key_ids; /* that its values need */
    size_t key_id_count;
    struct raw_mount { /* sealed entries of its mount table */
        struct raw_mount *next;
        struct key key;
        struct cf_slice value;
    } *mounts;
};

struct restore {
    struct node *node;
    struct request *rq;
    int fd;
    bool force, keep_tokens, dry_run;
    struct archive_facts facts;
    /* Its keys; NULL when none of ours opens them. */
    struct secret *root_key;
    struct keyring *keyring;
    struct line_id line;
    enum credentials credentials;
    struct view *view; /* of the present state */
    struct areas areas; /* of the archive's engines */
    bool knows_areas;   /* false: of an archive under other keys that does not tell them */
    struct cf_map *known; /* CREDENTIALS_COMPARE: names of credentials in the archive */
    bool is_foreign;      /* its own seal comes with it: forced */
    struct cf_buf carried; /* own records that are put aside for its keys; secret */
    uint32_t generation;
    /* Entries on their way. */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    unsigned in_flight;
    cf_status status; /* of the first that failed */
    uint64_t index;   /* of the last that was applied */
    struct arena *batch_arena;
    struct op *ops;
    size_t op_count, op_bytes;
};

/* inspect.c: reads the archive whole and checks everything that can be checked without its keys. */
CF_CHECKED cf_status restore_inspect(struct restore *restore, struct cf_error *err);
/* inspect.c: its keys, if those of this cluster open them; then what only they can tell.
 * *ret_opens false: they do not. */
CF_CHECKED cf_status restore_open_keys(struct restore *restore, bool *ret_opens,
                                       struct cf_error *err);
CF_CHECKED cf_status restore_source(struct restore *restore, struct gzip_source *ret,
                                    struct cf_error *err);

/* stage.c: entries of the stage. Blocks when enough are on their way. */
CF_CHECKED cf_status stage_put(struct restore *restore, struct key key, struct cf_slice value,
                               struct cf_error *err);
CF_CHECKED cf_status stage_flush(struct restore *restore, struct cf_error *err); /* and waits */
/* The payload goes through as one entry; waits until it is applied here. */
CF_CHECKED cf_status stage_propose(struct restore *restore, const struct command *command,
                                   bool unconditional, struct cf_error *err);
/* A stage that will not be switched to goes again. */
void stage_drop(struct restore *restore);

/* content.c: what of the archive, and of the present state, makes the new one. */
CF_CHECKED cf_status content_from_archive(struct restore *restore, struct cf_error *err);
CF_CHECKED cf_status content_from_present(struct restore *restore, struct cf_error *err);
/* The effects that stand in the entry of the switch. */
CF_CHECKED cf_status content_switch(struct restore *restore, struct request *rq,
                                    struct command *command, struct cf_error *err);

#endif

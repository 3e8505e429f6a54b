/* node/core/command.h
 *
 * What a log entry of type DATA says:
 *
 *     stamp (8 bytes, unix ns, filled in by the leader at append) | feature level (1) | command (1) | body
 *
 * The body is a protobuf message of proto/log.proto. Commands reach disk and wire: see command.def.
 */
#ifndef COFFER_CORE_COMMAND_H
#define COFFER_CORE_COMMAND_H

#include <stdint.h>

#include "node/base/arena.h"
#include "node/base/slice.h"
#include "node/base/status.h"
#include "node/core/key.h"

#define COMMAND_HEADER_SIZE ((size_t)10)
#define COMMAND_RUN_NAME_SIZE ((size_t)32)
#define TRANSACTION_BYTES_MAX ((size_t)8 << 20)

enum command_id {
#define COMMAND(name, id, about) COMMAND_##name = (id),
#include "node/core/command.def"
#undef COMMAND
};

enum op_kind { OP_PUT = 1, OP_DELETE = 2, OP_DELETE_PREFIX = 3 };

/* One effect: unconditional, so that apply cannot refuse and the bytes can be shipped. */
struct op {
    enum op_kind kind;
    struct key key;
    struct cf_slice value; /* sealed; of a put */
};

/* A run of effects that came from another cluster's log, with the position it had there. */
struct source_entry {
    uint64_t term, index;
    int64_t stamp_ns;
    const struct op *ops;
    size_t op_count;
};

struct command {
    int64_t stamp_ns;
    uint8_t feature_level;
    enum command_id id;
    const struct op *ops; /* WRITE, STAGE; of SHIPPED and SWITCH those of class own */
    size_t op_count;
    const struct source_entry *entries; /* SHIPPED */
    size_t entry_count;
    uint32_t stage_generation; /* STAGE, SWITCH */
    uint32_t switch_classes;   /* SWITCH: bit class_number() */
    /* SWITCH: names (SHA-256) of the runs that hold the generation; whoever applies it has taken them over before
     * (node/server/replication/runs.h). */
    const struct cf_slice *runs;
    size_t run_count;
    /* SHIPPED, STAGE, to be encoded: what comes from another cluster, or goes to one. Its class cluster is kept there as
     * bytes and read by nobody before a promotion, so it asks for no level; what a secondary reads (class replicated) does. */
    bool is_mirrored;
};

/* Appends a whole payload with stamp 0. CF_TOO_LARGE above TRANSACTION_BYTES_MAX for WRITE, or past the
 * buffer's maximum. */
CF_CHECKED cf_status command_encode(struct cf_buf *to, const struct command *command,
                                    struct cf_error *err);
/* Slices point into payload; arrays are of the arena. CF_CORRUPT when malformed, CF_UNSUPPORTED for a
 * newer feature level. */
CF_CHECKED cf_status command_decode(struct cf_slice payload, struct arena *arena,
                                    struct command *ret, struct cf_error *err);
/* The feature level that a payload needs (node/base/level.h), by what is in it: command_encode() wrote it down. */
unsigned command_level(struct cf_slice payload);
/* At append. payload holds at least COMMAND_HEADER_SIZE bytes. */
void command_set_stamp(struct cf_buf *payload, int64_t stamp_ns);

#endif

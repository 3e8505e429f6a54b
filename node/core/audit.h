/* node/core/audit.h
 *
 * The audit step of the frame (design 3.8): the request is recorded before its handler's effect is
 * proposed, and so is the answer; when no device takes a record, both are withheld.
 *
 *   frame ── audit_add ──▶ device's queue ──▶ its writer thread ──▶ one write for all that waits
 *        └── audit_wait ◀── taken, refused, or given up on after 500 ms ──┘
 *
 * Which devices there are stands in the store and is part of a view (struct audit_table), so a request
 * is recorded by the devices of the view that authorised it, and enabling one is part of its read set.
 * A device (struct audit_device) is what runs: made when a table names it first, shared by the tables
 * of later views, ended with the last of them. What can be written to is a folder of node/audit with
 * one struct audit_ops.
 */
#ifndef COFFER_CORE_AUDIT_H
#define COFFER_CORE_AUDIT_H

#include <stdatomic.h>

#include "node/base/list.h"
#include "node/core/request.h"

#define AUDIT_DEVICES_MAX ((size_t)16)
#define AUDIT_CLASS_MAX ((size_t)8) /* shared ones, and local ones */
#define AUDIT_HASH_SIZE ((size_t)76) /* "hmac-sha256:" and 64 digits */

/* Reading one of these is part of every request: who enables or disables a device writes the one of its
 * class, and what was authorised before lands after it only if it is recorded there, too. */
#define AUDIT_GUARD AREA_AUDIT "table"

enum audit_phase {
    AUDIT_REQUEST,  /* before the handler's effect */
    AUDIT_RESPONSE, /* before the append and before the client */
    AUDIT_OUTCOME,  /* the commit was lost after both: says so */
};

/* ---- what a folder of node/audit defines ---- */

/* What a device is made from; borrowed, lives as long as the device. */
struct audit_settings {
    struct cf_slice path;       /* "file/", for messages */
    const struct json *options; /* object of strings, or NULL */
    bool is_trusted; /* named by the configuration of this cluster, so its target is its operator's will */
    const char *const *directories; /* where others may put files; ends with NULL */
    const char *forbidden;          /* no file below this one: the data directory; NULL: none */
};

struct audit_ops {
    const char *type;
    const char *const *options; /* that it knows besides those of all devices; ends with NULL */
    /* Checks the options. Waits for nothing. CF_INVALID. */
    cf_status (*make)(const struct audit_settings *settings, void **ret, struct cf_error *err);
    /* Writes whole lines, each with its newline, or (no lines) only makes sure that it could. Thread: the
     * device's own, so it may wait, but looks at *stop every second. CF_NO_SPACE: the disk is full. */
    cf_status (*write)(void *device, struct cf_slice lines, const _Atomic bool *stop,
                       struct cf_error *err);
    /* Before the next write: open the target anew (rotation). Same thread. */
    void (*reopen)(void *device);
    void (*free)(void *device);
};

/* The text of an option, or `absent`. */
struct cf_slice audit_option(const struct audit_settings *settings, const char *name,
                             const char *absent);

/* ---- the table of a view ---- */

struct audit_device;
struct audit_broker;

struct audit_entry {
    struct cf_slice path, type, description, prefix; /* path with its closing slash */
    struct json *options;                            /* object of strings, or NULL */
    char uuid[37];
    struct cf_slice cluster; /* whose configuration names it: an id, or empty */
    bool is_local, is_configured;
    bool is_foreign; /* another cluster chose it: on a secondary, unless this node's own configuration names it, too */
    bool is_trusted; /* the configuration of this cluster or this node names it */
    bool log_raw, plain_accessor, elide_lists;
    uint8_t salt[32];
    struct audit_device *device; /* NULL: of a type that this node does not have; takes nothing */
};

struct audit_header {
    struct cf_slice name; /* small letters */
    bool hmac;
};

#define AUDIT_HEADERS_MAX ((size_t)64)

struct audit_table {
    struct arena *arena;
    struct audit_entry entries[AUDIT_DEVICES_MAX]; /* sorted by path */
    size_t count;
    struct audit_header *headers;
    size_t header_count;
    _Atomic unsigned references;
};

/* cluster_id: this cluster's, by which it knows the devices of its own configuration. */
CF_CHECKED cf_status audit_table_load(const struct view *view, struct audit_broker *broker,
                                      const char *cluster_id, struct audit_table **ret, struct cf_error *err);
struct audit_table *audit_table_ref(struct audit_table *table);
void audit_table_unref(struct audit_table *table); /* NULL is fine */
/* NULL when there is none at that path (with its closing slash). */
const struct audit_entry *audit_table_find(const struct audit_table *table, struct cf_slice path);

/* Fills in what the options say to all devices (log_raw, hmac_accessor, elide_list_responses, prefix,
 * format). CF_INVALID. */
CF_CHECKED cf_status audit_read_options(struct audit_entry *entry, struct cf_error *err);
struct json *audit_entry_record(struct arena *arena, const struct audit_entry *entry);
struct key audit_entry_key(struct arena *arena, const struct audit_entry *entry);

/* ---- hashes and records ---- */

/* "hmac-sha256:..." of a text under the device's salt. Not terminated. */
void audit_hash(const struct audit_entry *entry, struct cf_slice text, char to[AUDIT_HASH_SIZE]);
/* A value with its strings hashed, but for those below `plain` keys and times (RFC 3339). `key` is the
 * key that the value stands under. arena: for what has to be decoded. */
void audit_write_value(struct cf_buf *to, const struct audit_entry *entry, struct arena *arena,
                       const struct json *value, struct cf_slice key, const struct json *plain);
/* One line for the entry's device. */
void audit_write_record(struct cf_buf *to, const struct audit_entry *entry,
                        const struct audit_table *table, enum audit_phase phase,
                        const struct request *rq);

/* Before a request is forwarded, on its own thread: rq->headers are those that it has of the table's (sys/config/auditing),
 * which go along. */
void audit_carry_headers(struct request *rq);
/* rq->header of a request that was forwarded: looks into rq->headers. */
bool audit_carried_header(const struct request *rq, struct cf_slice name, struct cf_slice *ret);

/* ---- the broker ---- */

struct audit_options {
    const struct audit_ops *const *ops; /* ends with NULL; NULL: none */
    const char *const *directories;     /* ends with NULL; NULL: none */
    const char *forbidden;
    /* A disk is full and no device took a record. At most every 30 s, on a writer's thread. */
    void (*on_full)(void *context);
    void *context;
};

struct audit_broker *audit_broker_new(const struct audit_options *options);
/* After the last table. Waits a moment for the writers. */
void audit_broker_free(struct audit_broker *broker);
struct audit_stanzas;
/* What the configuration of this node names; copied. Tables that are loaded from now on go by it. Any thread. */
void audit_set_own(struct audit_broker *broker, const struct audit_stanzas *stanzas);
/* NULL when this node has no such type. */
const struct audit_ops *audit_find(const struct audit_broker *broker, struct cf_slice type);
/* Does the entry's device run here, and did its last write succeed? Any thread. */
bool audit_works(const struct audit_entry *entry);
/* Is it another cluster's, of no use on this node, and so no reason to refuse requests? Any thread. */
bool audit_is_excused(const struct audit_entry *entry);
/* Could a device with these settings write? Makes one and, unless skip_test, lets it write a line. Takes
 * as long as that takes: on a worker. CF_INVALID. */
CF_CHECKED cf_status audit_probe(const struct audit_broker *broker, const struct audit_entry *entry,
                                 struct cf_error *err);
/* All targets are opened anew with their next record. Any thread. */
void audit_reopen(struct audit_broker *broker);
struct audit_status {
    char path[128];
    bool is_failed, has_worked; /* worked: since it was made on this node */
    uint64_t records, lost; /* lines; lost: not taken by this device */
};
/* Of the devices that run; at most `max`. Any thread. */
size_t audit_status(struct audit_broker *broker, struct audit_status *to, size_t max);

/* ---- devices of the configuration ---- */

struct audit_stanza {
    struct cf_slice type, path, description; /* path with its closing slash */
    struct json *options;                    /* object of strings, or NULL */
    bool is_local;
};

/* Could there be such a device? Looks at type and options, not at the target. CF_INVALID. */
CF_CHECKED cf_status audit_stanza_check(struct core *core, const struct audit_stanza *stanza,
                                        struct cf_error *err);
/* A run of system.h: makes the table hold the stanzas, and none of the configuration's beside them. */
struct audit_stanzas {
    const struct audit_stanza *list;
    size_t count;
};
cf_status audit_reconcile(struct request *rq, void *stanzas, struct cf_error *err);
/* From the start of a node with stanzas until its table was first reconciled, requests wait on it while it
 * is active: none passes unrecorded before the devices are there. Any thread. */
void audit_hold(struct core *core);
void audit_release(struct core *core);

/* ---- one run of a request ---- */

struct audit_slot {
    struct cf_list link; /* in the device's waits */
    struct audit_device *device;
    struct audit_trail *trail;
    uint64_t first, last; /* of the device's records; 0: none */
    uint64_t since_us;
    bool refused;
};

/* What a run has recorded. Zeroed at its start; lives until its wait is over. The device pointers are of
 * the table, which the run's view holds. */
struct audit_trail {
    const struct audit_table *table;
    struct audit_slot slots[AUDIT_DEVICES_MAX];
    _Atomic unsigned pending;
    _Atomic unsigned taken;
    void (*done)(struct audit_trail *trail, bool taken);
};

/* Hands one record to every device of the view's table. Waits for nothing. */
void audit_add(struct audit_trail *trail, enum audit_phase phase, const struct request *rq);
/* Calls done(taken) once every device has written, or refused, all that was added, or 500 ms have
 * passed; devices that have failed are not waited for while another works. From any thread, with no lock held, or at
 * once. taken: one of the devices has all of it, or there is none; foreign devices that have not worked here since the
 * start are none, once that is known. */
void audit_wait(struct audit_trail *trail, void (*done)(struct audit_trail *trail, bool taken));

#endif

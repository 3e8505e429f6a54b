/* node/server/config/config_int.h: how configurations are read: tables of keys, one a kind of block. A table says
 * for each key where its value goes and what reads it; the reference page is compared with the same tables. For this
 * folder only. */
#ifndef COFFER_SERVER_CONFIG_INT_H
#define COFFER_SERVER_CONFIG_INT_H

#include "node/format/hcl.h"
#include "node/server/config.h"

struct reading {
    struct config *config;
    const char *file;
    struct cf_error *err;
};

typedef cf_status (*read_value)(struct reading *reading, const struct hcl_value *value, void *to);

struct known {
    const char *name;
    read_value read; /* NULL: other Vault servers use it, this one does not */
    size_t offset;   /* in what the block is read into; at the top with read NULL, 1: a kind of block */
};

struct config_table {
    const char *block; /* "listener"; NULL ends a list of tables */
    const struct known *keys;
    size_t count;
};
#define CONFIG_KEYS_MAX 160 /* of one table */
extern const struct config_table config_listener_tables[], config_storage_tables[], config_seal_tables[],
    config_other_tables[];

/* ---- values.c: what `to` points to is in the name ---- */

cf_status config_read_text(struct reading *reading, const struct hcl_value *value, void *to); /* const char * */
cf_status config_read_slice(struct reading *reading, const struct hcl_value *value, void *to);
cf_status config_read_bool(struct reading *reading, const struct hcl_value *value, void *to);
cf_status config_read_not(struct reading *reading, const struct hcl_value *value, void *to); /* bool, reversed */
cf_status config_read_int(struct reading *reading, const struct hcl_value *value, void *to);
cf_status config_read_duration(struct reading *reading, const struct hcl_value *value, void *to); /* s, above 0 */
cf_status config_read_size(struct reading *reading, const struct hcl_value *value, void *to); /* uint64_t, above 0 */
cf_status config_read_level(struct reading *reading, const struct hcl_value *value, void *to);
cf_status config_read_format(struct reading *reading, const struct hcl_value *value, void *to); /* bool: json */
cf_status config_read_min_version(struct reading *reading, const struct hcl_value *value, void *to);

/* The keys of one object, by a table, into the struct `base`. */
cf_status config_read_object(struct reading *reading, const struct hcl_value *object, const struct known *known,
                             size_t count, void *base);
cf_status config_want_object(struct reading *reading, const struct hcl_value *value);
const struct known *config_find(const struct known *known, size_t count, struct cf_slice key);
/* The error for a key that is in no table, with the nearest one that is. */
cf_status config_unknown(struct reading *reading, const struct hcl_item *item, const struct known *known,
                         size_t count);
void config_warn_unused(struct reading *reading, const struct hcl_item *item);
/* Puts file, line and key in front of an error. */
cf_status config_at(struct reading *reading, uint32_t line, cf_status status, const char *key);

/* ---- blocks ---- */

cf_status config_read_listener(struct reading *reading, const struct hcl_item *block);
cf_status config_read_storage(struct reading *reading, const struct hcl_item *block);
cf_status config_read_seal(struct reading *reading, const struct hcl_item *block);
cf_status config_read_lockout(struct reading *reading, const struct hcl_item *block);
cf_status config_read_audit(struct reading *reading, const struct hcl_item *block);
cf_status config_read_replication(struct reading *reading, const struct hcl_value *value, void *to);
cf_status config_read_top(struct reading *reading, const struct hcl_value *top);

/* ---- the whole ---- */

struct config *config_new(void);
/* Addresses and names that were not given, from those that were. */
void config_derive(struct config *config);
/* Where audit files may be, unless it was given: the folders of these paths, and the usual one. */
void config_derive_audit(struct config *config, const char *const *paths, size_t count);

#endif

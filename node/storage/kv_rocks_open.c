/* node/storage/kv_rocks_open.c: opens, creates and closes a RocksDB; the options and why. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/storage/kv_dir.h"
#include "node/storage/kv_rocks.h"

#define OPEN_SPACE ((uint64_t)32 << 20)

/* Options that have no setter in the C API, or read better as text. Why:
 * - paranoid_checks, force_consistency_checks: stop rather than read on past damage;
 * - kPointInTimeRecovery with recycling off: replay ends at the first bad record and never skips a
 *   hole; WAL-off writes leave gaps that recycled logs take for loss (rocksdb#12403);
 * - track_and_verify_wals_in_manifest: a WAL file that vanished is an error, not an empty log;
 * - no compression: everything in here is ciphertext;
 * - table_cache_numshardbits: open files are spread over 2^n shards with a share of max_open_files
 *   each; with the default (64 shards) two files in one shard would close each other all the time;
 * - memtable_whole_key_filtering: a look-up that ends in a file does not walk the skip lists first;
 * - compaction_readahead_size: otherwise a compaction reads block by block, a system call each;
 * - statistics dumps off: they cost wake-ups and nobody reads them. */
static const char fixed_options[] =
    "paranoid_checks=true;wal_recovery_mode=kPointInTimeRecovery;recycle_log_file_num=0;"
    "track_and_verify_wals_in_manifest=true;wal_bytes_per_sync=0;use_fsync=false;"
    "avoid_flush_during_recovery=false;avoid_flush_during_shutdown=true;manual_wal_flush=false;"
    "keep_log_file_num=2;info_log_level=ERROR_LEVEL;max_log_file_size=1048576;"
    "stats_dump_period_sec=0;stats_persist_period_sec=0;"
    "max_background_jobs=2;max_file_opening_threads=1;bytes_per_sync=1048576;"
    "table_cache_numshardbits=2;compaction_readahead_size=262144;"
    "compression=kNoCompression;bottommost_compression=kNoCompression;"
    "force_consistency_checks=true;level_compaction_dynamic_level_bytes=true;"
    "max_write_buffer_number=2;arena_block_size=131072;"
    "memtable_whole_key_filtering=true;memtable_prefix_bloom_size_ratio=0.05;"
    "target_file_size_base=16777216;max_bytes_for_level_base=67108864";

static const struct kv_options defaults = {
    .cache_bytes = (size_t)8 << 20,
    .write_buffer_bytes = (size_t)4 << 20,
    .all_write_buffers_bytes = (size_t)8 << 20,
    .open_files_max = 256,
    .wal_bytes_max = (uint64_t)64 << 20,
};

static cf_status classify(const char *text)
{
    if (strstr(text, "No space left") != NULL || strstr(text, "Disk quota exceeded") != NULL) {
        return CF_NO_SPACE;
    }
    if (strncmp(text, "Corruption", 10) == 0) {
        return CF_CORRUPT;
    }
    return strncmp(text, "IO error", 8) == 0 ? CF_IO : CF_INTERNAL;
}

/* The disk's trouble goes to the log as RocksDB tells it; a client sees one line. */
cf_status rocks_status(char *text, const char *what, struct cf_error *err)
{
    if (text == NULL) {
        return CF_OK;
    }
    cf_status status = classify(text);
    cf_fail(err, status, "%s",
            status == CF_NO_SPACE  ? "storage is full"
            : status == CF_CORRUPT ? "stored data is damaged"
            : status == CF_IO      ? "storage input/output error"
                                   : "storage refuses the operation");
    cf_error_detail(err, "RocksDB, while it was to %s: %s.", what, text);
    rocksdb_free(text);
    return status;
}

struct rocks_family *rocks_family_new(struct kv *kv, const char *name,
                                      rocksdb_column_family_handle_t *handle)
{
    struct rocks_family *family = cf_new(struct rocks_family);
    kv_family_init(&family->base, kv, name);
    family->handle = handle;
    return family;
}

static size_t or_default(size_t value, size_t other)
{
    return value != 0 ? value : other;
}

static cf_status make_options(struct rocks_kv *kv, const struct kv_options *from,
                              struct cf_error *err)
{
    kv->cache = rocksdb_cache_create_lru(or_default(from->cache_bytes, defaults.cache_bytes));
    kv->table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(kv->table, kv->cache);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(kv->table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(kv->table, 1);
    /* The table options own the policy from here on. */
    rocksdb_block_based_options_set_filter_policy(kv->table, rocksdb_filterpolicy_create_bloom(10));
    rocksdb_block_based_options_set_format_version(kv->table, 5);

    CF_BUF(text) = {0};
    cf_buf_addf(
        &text, "%s;max_open_files=%d;write_buffer_size=%zu;db_write_buffer_size=%zu;", // NOLINT
        fixed_options, from->open_files_max != 0 ? from->open_files_max : defaults.open_files_max,
        or_default(from->write_buffer_bytes, defaults.write_buffer_bytes),
        or_default(from->all_write_buffers_bytes, defaults.all_write_buffers_bytes));
    cf_buf_addf(&text, "max_manifest_file_size=%zu;", ROCKS_MANIFEST_BYTES);
    cf_buf_addf(&text, "max_total_wal_size=%zu",
                or_default(from->wal_bytes_max, defaults.wal_bytes_max));
    rocksdb_options_t *base = rocksdb_options_create();
    kv->options = rocksdb_options_create();
    char *error = NULL;
    rocksdb_get_options_from_string(base, cf_buf_text(&text), kv->options, &error);
    rocksdb_options_destroy(base);
    rocksdb_options_set_block_based_table_factory(kv->options, kv->table);

    kv->read_now = rocksdb_readoptions_create();
    kv->read_persisted = rocksdb_readoptions_create();
    rocksdb_readoptions_set_read_tier(kv->read_persisted, 2 /* kPersistedTier */);
    kv->write_wal = rocksdb_writeoptions_create();
    kv->write_no_wal = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(kv->write_no_wal, 1);
    kv->flush = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(kv->flush, 1);
    return rocks_status(error, "read its options", err);
}

/* Frees everything that can be made before the database is open, too. */
void rocks_close(struct kv *base)
{
    struct rocks_kv *kv = rocks(base);
    if (kv->unused != NULL) {
        rocksdb_column_family_handle_destroy(kv->unused);
    }
    if (kv->db != NULL) {
        rocksdb_close(kv->db);
    }
    if (kv->table != NULL) {
        rocksdb_readoptions_destroy(kv->read_now);
        rocksdb_readoptions_destroy(kv->read_persisted);
        rocksdb_writeoptions_destroy(kv->write_wal);
        rocksdb_writeoptions_destroy(kv->write_no_wal);
        rocksdb_flushoptions_destroy(kv->flush);
        rocksdb_options_destroy(kv->options);
        rocksdb_block_based_options_destroy(kv->table);
        rocksdb_cache_destroy(kv->cache);
    }
    if (kv->note >= 0) {
        close(kv->note);
    }
    cf_free(kv->path);
    kv_base_done(base);
}

/* Says what a failed open means to an operator; takes over text. */
static cf_status explain_open(const char *path, char *text, struct cf_error *err)
{
    cf_status status;
    if (strstr(text, "lock hold by current process") != NULL) {
        status = cf_fail(err, CF_EXISTS, "\"%s\" is in use by this process already", path);
    } else if (strstr(text, "/LOCK") != NULL && strstr(text, "lock") != NULL) {
        long pid = kv_dir_holder(path);
        status = pid != 0 ? cf_fail(err, CF_EXISTS, "\"%s\" is in use by process %ld", path, pid)
                          : cf_fail(err, CF_EXISTS, "\"%s\" is in use by another process", path);
    } else if (strstr(text, "CURRENT") != NULL || strstr(text, "does not exist") != NULL) {
        status = cf_fail(err, CF_CORRUPT, "the database in \"%s\" has lost its file CURRENT", path);
    } else {
        status = classify(text);
        cf_fail(err, status, "%s \"%s\"",
                status == CF_NO_SPACE  ? "no space left for the database in"
                : status == CF_CORRUPT ? "there is damage in the database in"
                                       : "can't open the database in",
                path);
    }
    if (status == CF_EXISTS) { /* nothing is wrong with it: no advice to remove it */
        cf_error_detail(err, "Stop that one first, or configure another path.");
    } else {
        cf_error_detail(err,
                        "RocksDB says: %s. If files are lost, restore the directory as a whole, or "
                        "remove it and let this node join its cluster again.",
                        text);
    }
    rocksdb_free(text);
    return status;
}

static cf_status open_database(struct rocks_kv *kv, bool fresh, struct cf_error *err)
{
    static const char *const only_default[] = {"default"};
    char db_path[PATH_MAX];
    snprintf(db_path, sizeof(db_path), "%s/db", kv->path);
    char *error = NULL, **listed = NULL;
    size_t count = 1;
    if (!fresh) {
        listed = rocksdb_list_column_families(kv->options, db_path, &count, &error);
        if (error != NULL) {
            rocksdb_list_column_families_destroy(listed, 0); /* it is allocated all the same */
            return explain_open(kv->path, error, err);
        }
    }
    const char *const *names = fresh ? only_default : (const char *const *)listed;
    const rocksdb_options_t **options = cf_array(count, sizeof(*options));
    rocksdb_column_family_handle_t **handles = cf_array(count, sizeof(*handles));
    for (size_t i = 0; i < count; i++) {
        options[i] = kv->options;
    }
    rocksdb_options_set_create_if_missing(kv->options, fresh);
    kv->db = rocksdb_open_column_families(kv->options, db_path, (int)count, names, options, handles,
                                          &error);
    for (size_t i = 0; i < count && error == NULL; i++) {
        if (strcmp(names[i], "default") == 0) {
            kv->unused = handles[i];
        } else if (rocks_is_filler(names[i])) { /* a crash left it */
            rocksdb_drop_column_family(kv->db, handles[i], &error);
            rocksdb_column_family_handle_destroy(handles[i]);
        } else {
            kv_register(&kv->base, &rocks_family_new(&kv->base, names[i], handles[i])->base);
        }
    }
    if (listed != NULL) {
        rocksdb_list_column_families_destroy(listed, count);
    }
    cf_free(options);
    cf_free(handles);
    return error == NULL ? CF_OK : explain_open(kv->path, error, err);
}

cf_status kv_open(const char *path, const struct kv_options *options, struct kv **ret,
                  struct cf_error *err)
{
    enum kv_dir_state state;
    uint64_t left = 0, total = 0;
    CF_TRY(kv_dir_prepare(path, options != NULL && options->must_exist, &state, err));
    struct rocks_kv *rocks_kv = cf_new(struct rocks_kv);
    kv_base_init(&rocks_kv->base, &rocks_ops);
    rocks_kv->path = cf_strdup(path);
    rocks_kv->note = kv_dir_open_note(path);
    CF_OWNED(kv) kv = &rocks_kv->base;
    if (kv_space(kv, &left, &total, NULL) == CF_OK && left < OPEN_SPACE) {
        /* An open writes: without room it would be refused, and nobody could delete anything. */
        cf_ignore(kv_dir_ballast(path, 0, NULL), "the open will tell");
    }
    CF_TRY(make_options(rocks_kv, options != NULL ? options : &defaults, err));
    rocks_loader_clean(path);
    CF_TRY(rocks_manifest_mend(path, err));
    CF_TRY(open_database(rocks_kv, state == KV_DIR_NEW, err));
    if (state == KV_DIR_NEW) {
        CF_TRY(kv_dir_ready(path, err));
    }
    *ret = kv_take(&kv);
    return CF_OK;
}

/* node/storage/kv_rocks_names.c: makes RocksDB begin a new manifest.
 *
 * A manifest names the first and the last key of each file that ever was, until the next one begins with the files of
 * today: at an open, or with the first edit after it has passed max_manifest_file_size. There is no call for that. A family
 * with a name that is as long as the limit takes it past that, and its end is the edit that begins the new one. */
#include <string.h>

#include "node/base/memory.h"
#include "node/storage/kv_rocks.h"

#define FILLER '~' /* no family of ours begins with it */

bool rocks_is_filler(const char *family)
{
    return family[0] == FILLER;
}

cf_status rocks_forget_names(struct kv *base, struct cf_error *err)
{
    struct rocks_kv *kv = rocks(base);
    char *error = NULL;
    char *name = cf_array(ROCKS_MANIFEST_BYTES + 1, 1);
    memset(name, FILLER, ROCKS_MANIFEST_BYTES);
    rocksdb_column_family_handle_t *handle =
        rocksdb_create_column_family(kv->db, kv->options, name, &error);
    if (error == NULL) {
        rocksdb_drop_column_family(kv->db, handle, &error);
        rocksdb_column_family_handle_destroy(handle);
    }
    cf_free(name);
    return rocks_status(error, "begin a new list of files", err);
}

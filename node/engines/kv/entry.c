/* node/engines/kv/entry.c: entries and versions as records. */
#include "node/base/memory.h"
#include "node/engines/kv/kv_int.h"

#define KIND_PLAIN 1
#define KIND_VERSIONED 2
#define PLAIN_HEAD ((size_t)18)
#define VERSIONED_HEAD ((size_t)55)
#define VERSION_SIZE ((size_t)17)
#define FLAG_CAS_REQUIRED 1
#define FLAG_HAS_DATA 2
#define VERSION_DESTROYED 1
#define VERSION_DELETED 2

/* ---- names ---- */

cf_status kv_path(struct request *rq, struct cf_slice *ret, struct cf_error *err)
{
    *ret = rq->captures[0];
    return ret->size <= KV_PATH_MAX
               ? CF_OK
               : cf_fail(err, CF_INVALID, "path is longer than %zu bytes", KV_PATH_MAX);
}

bool kv_names_secret(const struct request *rq)
{
    struct cf_slice path = rq->captures[0];
    return path.size != 0 && path.data[path.size - 1] != '/';
}

static struct cf_slice joined(struct arena *arena, const void *head, size_t head_size,
                              struct cf_slice path)
{
    uint8_t *name = arena_alloc_raw(arena, head_size + path.size);
    memcpy(name, head, head_size);
    if (path.size != 0) {
        memcpy(name + head_size, path.data, path.size);
    }
    return cf_slice_of(name, head_size + path.size);
}

struct cf_slice kv_entry_name(struct arena *arena, struct cf_slice path)
{
    return joined(arena, "k/", 2, path);
}

/* The number stands in front, so that no path can be taken for another's version. */
static struct cf_slice version_name(struct arena *arena, struct cf_slice path, uint64_t number)
{
    uint8_t head[10] = {'v', '/'};
    cf_put_u64(head + 2, number);
    return joined(arena, head, sizeof(head), path);
}

cf_status kv_text(struct arena *arena, const struct json *node, struct cf_slice *ret,
                  struct cf_error *err)
{
    CF_BUF(text) = {.max = TRANSACTION_BYTES_MAX, .secret = true};
    json_write_sorted(&text, node);
    if (text.overflow) {
        return cf_fail(err, CF_TOO_LARGE, "the request writes more than %zu bytes at once",
                       TRANSACTION_BYTES_MAX);
    }
    *ret = arena_copy(arena, cf_buf_slice(&text));
    return CF_OK;
}

/* ---- entries ---- */

static cf_status damaged(struct cf_error *err)
{
    return cf_fail(err, CF_CORRUPT, "stored secret is malformed");
}

static cf_status check_record(struct cf_slice record, struct cf_error *err)
{
    if (record.size < PLAIN_HEAD) {
        return damaged(err);
    }
    if (record.data[0] != RECORD_VERSION ||
        (record.data[1] != KIND_PLAIN && record.data[1] != KIND_VERSIONED)) {
        cf_fail(err, CF_CORRUPT, "stored secret has an unknown form");
        cf_error_detail(err, "It was written by a newer coffer: upgrade this node.");
        return CF_CORRUPT;
    }
    return CF_OK;
}

static struct kv_plain plain_of(struct cf_slice record)
{
    return (struct kv_plain){.created_ns = (int64_t)cf_get_u64(record.data + 2),
                             .lease_s = (int64_t)cf_get_u64(record.data + 10),
                             .data = cf_slice_from(record, PLAIN_HEAD)};
}

static void put_version(uint8_t *to, const struct kv_version *version)
{
    cf_put_u64(to, (uint64_t)version->created_ns);
    cf_put_u64(to + 8, (uint64_t)version->deletion_ns);
    to[16] = (uint8_t)((version->destroyed ? VERSION_DESTROYED : 0) |
                       (version->deleted ? VERSION_DELETED : 0));
}

/* What version 1 wrote is version 1 of the secret. */
static void entry_of_plain(struct arena *arena, struct cf_slice record, struct kv_entry *ret)
{
    struct kv_plain plain = plain_of(record);
    struct kv_version first = {.created_ns = plain.created_ns};
    uint8_t *versions = arena_alloc_raw(arena, VERSION_SIZE);
    put_version(versions, &first);
    ret->created_ns = ret->updated_ns = plain.created_ns;
    ret->current = 1;
    ret->count = 1;
    ret->versions = versions;
    ret->has_data = true;
    ret->data = plain.data;
}

static cf_status entry_of_record(struct cf_slice record, struct kv_entry *ret, struct cf_error *err)
{
    if (record.size < VERSIONED_HEAD) {
        return damaged(err);
    }
    const uint8_t *at = record.data;
    ret->cas_required = (at[2] & FLAG_CAS_REQUIRED) != 0;
    ret->has_data = (at[2] & FLAG_HAS_DATA) != 0;
    ret->created_ns = (int64_t)cf_get_u64(at + 3);
    ret->updated_ns = (int64_t)cf_get_u64(at + 11);
    ret->current = cf_get_u64(at + 19);
    ret->oldest = cf_get_u64(at + 27);
    ret->max_versions = cf_get_u32(at + 35);
    ret->delete_after_s = (int64_t)cf_get_u64(at + 39);
    ret->count = cf_get_u32(at + 47);
    size_t custom_size = cf_get_u32(at + 51);
    struct cf_slice rest = cf_slice_from(record, VERSIONED_HEAD);
    if (custom_size > rest.size || ret->count > (rest.size - custom_size) / VERSION_SIZE ||
        ret->count > ret->current) {
        return damaged(err);
    }
    ret->custom_metadata = cf_slice_first(rest, custom_size);
    rest = cf_slice_from(rest, custom_size);
    ret->versions = rest.data;
    ret->data = cf_slice_from(rest, ret->count * VERSION_SIZE);
    return CF_OK;
}

cf_status kv_entry_load(struct request *rq, struct cf_slice path, struct kv_entry *ret,
                        struct cf_error *err)
{
    struct cf_slice record;
    *ret = (struct kv_entry){.path = path};
    cf_status status = store_get(rq, kv_entry_name(rq->arena, path), &record, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    CF_TRY(check_record(record, err));
    ret->exists = true;
    if (record.data[1] == KIND_PLAIN) {
        entry_of_plain(rq->arena, record, ret);
        return CF_OK;
    }
    return entry_of_record(record, ret, err);
}

static void put_data(struct request *rq, const struct kv_entry *entry, uint64_t number,
                     struct cf_slice data)
{
    CF_BUF(record) = {.secret = true};
    cf_buf_reserve(&record, data.size + 1);
    cf_buf_add_byte(&record, RECORD_VERSION);
    cf_buf_add_slice(&record, data);
    store_put(rq, version_name(rq->arena, entry->path, number), cf_buf_slice(&record));
}

void kv_entry_save(struct request *rq, struct kv_entry *entry)
{
    CF_BUF(record) = {.secret = true};
    if (entry->has_data && entry->data.size > KV_INLINE_MAX) {
        put_data(rq, entry, entry->current, entry->data);
        entry->has_data = false;
    }
    size_t versions_size = entry->count * VERSION_SIZE;
    cf_buf_reserve(&record, VERSIONED_HEAD + entry->custom_metadata.size + versions_size +
                                (entry->has_data ? entry->data.size : 0));
    cf_buf_add_byte(&record, RECORD_VERSION);
    cf_buf_add_byte(&record, KIND_VERSIONED);
    cf_buf_add_byte(&record, (uint8_t)((entry->cas_required ? FLAG_CAS_REQUIRED : 0) |
                                       (entry->has_data ? FLAG_HAS_DATA : 0)));
    cf_buf_add_u64(&record, (uint64_t)entry->created_ns);
    cf_buf_add_u64(&record, (uint64_t)entry->updated_ns);
    cf_buf_add_u64(&record, entry->current);
    cf_buf_add_u64(&record, entry->oldest);
    cf_buf_add_u32(&record, entry->max_versions);
    cf_buf_add_u64(&record, (uint64_t)entry->delete_after_s);
    cf_buf_add_u32(&record, (uint32_t)entry->count);
    cf_buf_add_u32(&record, (uint32_t)entry->custom_metadata.size);
    cf_buf_add_slice(&record, entry->custom_metadata);
    cf_buf_add(&record, entry->versions, versions_size);
    if (entry->has_data) {
        cf_buf_add_slice(&record, entry->data);
    }
    store_put(rq, kv_entry_name(rq->arena, entry->path), cf_buf_slice(&record));
}

void kv_entry_remove(struct request *rq, const struct kv_entry *entry)
{
    struct kv_version version;
    for (uint64_t i = entry->current - entry->count + 1; i <= entry->current; i++) {
        bool is_here = i == entry->current && entry->has_data;
        if (!is_here && kv_version_get(entry, i, &version) && !version.destroyed) {
            store_delete(rq, version_name(rq->arena, entry->path, i));
        }
    }
    store_delete(rq, kv_entry_name(rq->arena, entry->path));
}

/* ---- versions ---- */

static bool has_version(const struct kv_entry *entry, uint64_t number)
{
    return number <= entry->current && number > entry->current - entry->count;
}

static size_t version_offset(const struct kv_entry *entry, uint64_t number)
{
    return (size_t)(number - (entry->current - entry->count + 1)) * VERSION_SIZE;
}

bool kv_version_get(const struct kv_entry *entry, uint64_t number, struct kv_version *ret)
{
    if (!has_version(entry, number)) {
        return false;
    }
    const uint8_t *at = entry->versions + version_offset(entry, number);
    *ret = (struct kv_version){.created_ns = (int64_t)cf_get_u64(at),
                               .deletion_ns = (int64_t)cf_get_u64(at + 8),
                               .destroyed = (at[16] & VERSION_DESTROYED) != 0,
                               .deleted = (at[16] & VERSION_DELETED) != 0};
    return true;
}

/* The versions as they are read may be the store's: a copy, with the first `drop` left out. */
static uint8_t *copy_versions(struct arena *arena, const struct kv_entry *entry, size_t drop,
                              size_t more)
{
    size_t kept = entry->count - drop;
    uint8_t *copy = arena_alloc_raw(arena, (kept + more) * VERSION_SIZE + 1);
    if (kept != 0) {
        memcpy(copy, entry->versions + drop * VERSION_SIZE, kept * VERSION_SIZE);
    }
    return copy;
}

void kv_version_set(struct arena *arena, struct kv_entry *entry, uint64_t number,
                    const struct kv_version *version)
{
    if (entry->own_versions == NULL) {
        entry->own_versions = copy_versions(arena, entry, 0, 0);
        entry->versions = entry->own_versions;
    }
    put_version(entry->own_versions + version_offset(entry, number), version);
}

/* How many of the oldest go when there will be one more. */
static size_t surplus(const struct kv_entry *entry, uint32_t max_versions)
{
    size_t count = entry->count + 1;
    size_t beyond = count > max_versions ? count - max_versions : 0;
    return cf_min(beyond, KV_PRUNE_MAX);
}

void kv_version_add(struct request *rq, struct kv_entry *entry, const struct kv_version *version,
                    struct cf_slice data, uint32_t max_versions)
{
    size_t drop = surplus(entry, max_versions);
    uint64_t first_kept = entry->current - entry->count + 1 + drop;
    struct kv_version old;
    for (uint64_t i = first_kept - drop; i < first_kept; i++) {
        bool is_here = i == entry->current && entry->has_data;
        if (!is_here && kv_version_get(entry, i, &old) && !old.destroyed) {
            store_delete(rq, version_name(rq->arena, entry->path, i));
        }
    }
    if (entry->has_data && entry->current >= first_kept) {
        put_data(rq, entry, entry->current, entry->data); /* it makes room for the new one */
    }
    uint8_t *versions = copy_versions(rq->arena, entry, drop, 1);
    entry->count = entry->count - drop + 1;
    put_version(versions + (entry->count - 1) * VERSION_SIZE, version);
    entry->versions = entry->own_versions = versions;
    entry->current++;
    entry->oldest = drop != 0 ? first_kept : entry->oldest;
    entry->updated_ns = version->created_ns;
    if (!entry->exists) {
        entry->created_ns = version->created_ns;
        entry->exists = true;
    }
    entry->has_data = true;
    entry->data = data;
}

cf_status kv_version_data(struct request *rq, const struct kv_entry *entry, uint64_t number,
                          struct cf_slice *ret, struct cf_error *err)
{
    struct cf_slice record;
    if (number == entry->current && entry->has_data) {
        *ret = entry->data;
        return CF_OK;
    }
    cf_status status = store_get(rq, version_name(rq->arena, entry->path, number), &record, err);
    if (status == CF_NOT_FOUND) {
        return damaged(err); /* it is neither destroyed nor pruned */
    }
    CF_TRY(status);
    if (record.size < 2 || record.data[0] != RECORD_VERSION) {
        return damaged(err);
    }
    *ret = cf_slice_from(record, 1);
    return CF_OK;
}

void kv_version_wipe(struct request *rq, struct kv_entry *entry, uint64_t number)
{
    if (number == entry->current && entry->has_data) {
        entry->has_data = false;
        entry->data = CF_SLICE_EMPTY;
    } else {
        store_delete(rq, version_name(rq->arena, entry->path, number));
    }
}

bool kv_version_is_gone(const struct request *rq, const struct kv_version *version)
{
    return version->destroyed || version->deleted ||
           (version->deletion_ns != 0 && version->deletion_ns <= request_now_ns(rq));
}

/* ---- plain entries ---- */

cf_status kv_plain_load(struct request *rq, struct cf_slice path, struct kv_plain *ret,
                        struct cf_error *err)
{
    struct cf_slice record;
    CF_TRY(store_get(rq, kv_entry_name(rq->arena, path), &record, err));
    CF_TRY(check_record(record, err));
    if (record.data[1] != KIND_PLAIN) {
        return cf_fail(err, CF_CORRUPT, "stored secret is one of kv version 2");
    }
    *ret = plain_of(record);
    return CF_OK;
}

void kv_plain_save(struct request *rq, struct cf_slice path, const struct kv_plain *plain)
{
    CF_BUF(record) = {.secret = true};
    cf_buf_reserve(&record, PLAIN_HEAD + plain->data.size);
    cf_buf_add_byte(&record, RECORD_VERSION);
    cf_buf_add_byte(&record, KIND_PLAIN);
    cf_buf_add_u64(&record, (uint64_t)plain->created_ns);
    cf_buf_add_u64(&record, (uint64_t)plain->lease_s);
    cf_buf_add_slice(&record, plain->data);
    store_put(rq, kv_entry_name(rq->arena, path), cf_buf_slice(&record));
}

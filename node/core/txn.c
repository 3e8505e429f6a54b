/* node/core/txn.c: the read set and the write set of one run of a request. */
#include "node/core/txn.h"

#include <stdlib.h>

#include "node/barrier/barrier.h"
#include "node/base/memory.h"

struct pending {
    enum op_kind kind;
    struct key key;
    uint64_t hash;
    struct cf_slice value;
    bool is_plain;
    uint32_t older; /* number + 1 of an older one in the same bucket (of prefixes: the prefix before) */
};

/* From here on own writes are found by a table: a request that revokes a tree writes thousands. */
#define INDEXED_MIN ((size_t)16)

/* The last few reads: what decides whether a request creates or updates is read again by its handler.
 * The view stands still, so that an answer stays the answer. */
#define FREES_PUT_MAX 4096 /* of a request that deletes: a list without a name, a use of a token */
#define RECENT_MAX 4

struct recent {
    struct key key;
    uint64_t hash;
    cf_status status; /* CF_OK or CF_NOT_FOUND */
    struct cf_slice value;
};

struct kept {
    struct kept *next;
    void *object;
    void (*unref)(void *object);
};

struct txn {
    struct arena *arena;
    const struct view *view;
    uint64_t *reads;
    size_t read_count, read_room;
    struct key *ranges;
    size_t range_count, range_room;
    struct pending *writes;
    size_t write_count, write_room;
    uint32_t *buckets; /* number + 1 of the newest; NULL: there are few */
    size_t bucket_count;
    uint32_t newest_prefix; /* number + 1 of the last deleted prefix */
    struct kept *kept;
    struct lease_delta *deltas;
    size_t delta_count, delta_room;
    struct recent recent[RECENT_MAX];
    size_t recent_count; /* ever noted; the newest is at (recent_count - 1) % RECENT_MAX */
};

struct txn *txn_new(struct arena *arena, const struct view *view)
{
    struct txn *txn = arena_new_object(arena, struct txn);
    txn->arena = arena;
    txn->view = view;
    return txn;
}

/* Room for one more; the old array stays in the arena (there are few, and small ones). */
static void *more(struct arena *arena, void *old, size_t count, size_t *room, size_t size)
{
    if (count < *room) {
        return old;
    }
    *room = cf_max(2 * *room, 8);
    void *fresh = arena_alloc_raw(arena, *room * size);
    if (count != 0) {
        memcpy(fresh, old, count * size);
    }
    return fresh;
}

void txn_note_read(struct txn *txn, uint64_t hash)
{
    txn->reads = more(txn->arena, txn->reads, txn->read_count, &txn->read_room, sizeof(uint64_t));
    txn->reads[txn->read_count++] = hash;
}

static void note_range(struct txn *txn, struct key prefix)
{
    txn->ranges =
        more(txn->arena, txn->ranges, txn->range_count, &txn->range_room, sizeof(struct key));
    prefix.name = arena_copy(txn->arena, prefix.name);
    txn->ranges[txn->range_count++] = prefix;
}

static bool same_space(struct key a, struct key b)
{
    return a.class == b.class && a.ns == b.ns;
}

/* ---- own writes: a table of chains from newer to older, so that a rollback takes heads off ---- */

static uint32_t *bucket_of(const struct txn *txn, uint64_t hash)
{
    return &txn->buckets[(hash ^ hash >> 32) & (txn->bucket_count - 1)];
}

static void index_write(struct txn *txn, size_t i)
{
    struct pending *write = &txn->writes[i];
    uint32_t *head =
        write->kind == OP_DELETE_PREFIX ? &txn->newest_prefix : bucket_of(txn, write->hash);
    write->older = *head;
    *head = (uint32_t)i + 1;
}

/* Doubles with the writes; before INDEXED_MIN only prefixes are chained. */
static void index_grow(struct txn *txn)
{
    if (txn->write_count < INDEXED_MIN || txn->write_count <= txn->bucket_count) {
        return;
    }
    txn->bucket_count = cf_max(2 * txn->bucket_count, 4 * INDEXED_MIN);
    txn->buckets = arena_alloc(txn->arena, txn->bucket_count * sizeof(*txn->buckets));
    txn->newest_prefix = 0;
    for (size_t i = 0; i < txn->write_count; i++) {
        index_write(txn, i);
    }
}

static const struct pending *last_put_or_delete(const struct txn *txn, struct key key)
{
    uint64_t hash = key_hash(key);
    if (txn->buckets == NULL) {
        for (size_t i = txn->write_count; i-- > 0;) {
            const struct pending *write = &txn->writes[i];
            if (write->kind != OP_DELETE_PREFIX && write->hash == hash &&
                same_space(write->key, key) && cf_slice_eq(key.name, write->key.name)) {
                return write;
            }
        }
        return NULL;
    }
    for (uint32_t at = *bucket_of(txn, hash); at != 0; at = txn->writes[at - 1].older) {
        const struct pending *write = &txn->writes[at - 1];
        if (write->hash == hash && same_space(write->key, key) &&
            cf_slice_eq(key.name, write->key.name)) {
            return write;
        }
    }
    return NULL;
}

/* The last of our own writes that decides the key, or NULL. */
static const struct pending *own_write(const struct txn *txn, struct key key)
{
    if (txn->write_count == 0) {
        return NULL;
    }
    const struct pending *last = last_put_or_delete(txn, key);
    for (uint32_t at = txn->newest_prefix; at != 0; at = txn->writes[at - 1].older) {
        const struct pending *prefix = &txn->writes[at - 1];
        if (last != NULL && prefix < last) {
            break;
        }
        if (same_space(prefix->key, key) && cf_slice_starts(key.name, prefix->key.name)) {
            return prefix;
        }
    }
    return last;
}

static const struct recent *find_recent(const struct txn *txn, struct key key, uint64_t hash)
{
    for (size_t i = 0; i < cf_min(txn->recent_count, RECENT_MAX); i++) {
        const struct recent *recent = &txn->recent[i];
        if (recent->hash == hash && same_space(recent->key, key) &&
            cf_slice_eq(recent->key.name, key.name)) {
            return recent;
        }
    }
    return NULL;
}

static void note_recent(struct txn *txn, struct key key, uint64_t hash, cf_status status,
                        struct cf_slice value)
{
    if (status == CF_OK || status == CF_NOT_FOUND) {
        key.name = arena_copy(txn->arena, key.name);
        txn->recent[txn->recent_count++ % RECENT_MAX] = (struct recent){key, hash, status, value};
    }
}

cf_status txn_get(struct txn *txn, struct key key, struct cf_slice *ret, struct cf_error *err)
{
    const struct pending *own = own_write(txn, key);
    if (own != NULL) {
        if (own->kind != OP_PUT) {
            return cf_fail(err, CF_NOT_FOUND, "%s", "");
        }
        *ret = own->value;
        return CF_OK;
    }
    uint64_t hash = key_hash(key);
    const struct recent *recent = find_recent(txn, key, hash);
    if (recent != NULL && recent->status != CF_OK) {
        return cf_fail(err, recent->status, "no such key");
    }
    if (recent != NULL) {
        *ret = recent->value;
        return CF_OK;
    }
    txn_note_read(txn, hash);
    struct cf_slice value = CF_SLICE_EMPTY;
    cf_status status = view_get(txn->view, key, txn->arena, &value, NULL, err);
    note_recent(txn, key, hash, status, value);
    CF_TRY(status);
    *ret = value;
    return CF_OK;
}

static void add_write(struct txn *txn, enum op_kind kind, struct key key, struct cf_slice value,
                      bool is_plain)
{
    txn->writes =
        more(txn->arena, txn->writes, txn->write_count, &txn->write_room, sizeof(struct pending));
    key.name = arena_copy(txn->arena, key.name);
    txn->writes[txn->write_count++] =
        (struct pending){.kind = kind,
                         .key = key,
                         .hash = kind == OP_DELETE_PREFIX ? 0 : key_hash(key),
                         .value = kind == OP_PUT ? arena_copy(txn->arena, value) : CF_SLICE_EMPTY,
                         .is_plain = is_plain};
    if (txn->buckets != NULL || kind == OP_DELETE_PREFIX) {
        index_write(txn, txn->write_count - 1);
    }
    index_grow(txn);
}

void txn_put(struct txn *txn, struct key key, struct cf_slice value)
{
    add_write(txn, OP_PUT, key, value, false);
}

void txn_put_plain(struct txn *txn, struct key key, struct cf_slice value)
{
    add_write(txn, OP_PUT, key, value, true);
}

void txn_delete(struct txn *txn, struct key key)
{
    add_write(txn, OP_DELETE, key, CF_SLICE_EMPTY, false);
}

void txn_delete_prefix(struct txn *txn, struct key prefix)
{
    add_write(txn, OP_DELETE_PREFIX, prefix, CF_SLICE_EMPTY, false);
}

/* ---- listing ---- */

struct listing {
    struct txn *txn;
    struct key prefix;
    bool whole_names;
    struct cf_slice after;
    size_t limit, count, room;
    struct cf_slice *names;
};

static struct cf_slice shown(const struct listing *listing, struct cf_slice rest)
{
    if (listing->whole_names) {
        return rest;
    }
    size_t slash = cf_slice_find(rest, '/');
    return slash < rest.size ? cf_slice_first(rest, slash + 1) : rest;
}

static void add_name(struct listing *listing, struct cf_slice name)
{
    listing->names = more(listing->txn->arena, listing->names, listing->count, &listing->room,
                          sizeof(struct cf_slice));
    listing->names[listing->count++] = arena_copy(listing->txn->arena, name);
}

static bool each_name(void *context, struct cf_slice rest)
{
    struct listing *listing = context;
    struct cf_slice name = shown(listing, rest);
    if (name.size == 0 || cf_slice_cmp(name, listing->after) <= 0 ||
        (listing->count != 0 && cf_slice_eq(name, listing->names[listing->count - 1]))) {
        return true;
    }
    struct key whole = listing->prefix;
    CF_BUF(joined) = {0};
    cf_buf_add_slice(&joined, listing->prefix.name);
    cf_buf_add_slice(&joined, rest);
    whole.name = cf_buf_slice(&joined);
    const struct pending *own =
        listing->txn->write_count != 0 ? own_write(listing->txn, whole) : NULL;
    if (own != NULL && own->kind != OP_PUT) {
        return true; /* deleted by this very request */
    }
    add_name(listing, name);
    return listing->limit == 0 || listing->count < listing->limit;
}

static int by_bytes(const void *a, const void *b)
{
    return cf_slice_cmp(*(const struct cf_slice *)a, *(const struct cf_slice *)b);
}

/* Names that only this request's own puts made: merged in afterwards. */
static void add_own(struct listing *listing)
{
    size_t before = listing->count;
    for (size_t i = 0; i < listing->txn->write_count; i++) {
        const struct pending *write = &listing->txn->writes[i];
        if (write->kind == OP_PUT && same_space(write->key, listing->prefix) &&
            cf_slice_starts(write->key.name, listing->prefix.name) &&
            own_write(listing->txn, write->key) == write) {
            struct cf_slice name =
                shown(listing, cf_slice_from(write->key.name, listing->prefix.name.size));
            if (name.size != 0 && cf_slice_cmp(name, listing->after) > 0) {
                add_name(listing, name);
            }
        }
    }
    if (listing->count == before) {
        return;
    }
    qsort(listing->names, listing->count, sizeof(*listing->names), by_bytes);
    size_t kept = 0;
    for (size_t i = 0; i < listing->count; i++) {
        if (kept == 0 || !cf_slice_eq(listing->names[i], listing->names[kept - 1])) {
            listing->names[kept++] = listing->names[i];
        }
    }
    listing->count = listing->limit != 0 ? cf_min(kept, listing->limit) : kept;
}

static cf_status list(struct txn *txn, struct key prefix, struct cf_slice after, size_t limit,
                      bool whole_names, struct txn_names *ret, struct cf_error *err)
{
    struct listing listing = {.txn = txn,
                              .prefix = prefix,
                              .whole_names = whole_names,
                              .after = after,
                              .limit = limit};
    note_range(txn, prefix);
    CF_TRY(view_walk(txn->view, prefix, after, each_name, &listing, err));
    add_own(&listing);
    *ret = (struct txn_names){listing.names, listing.count};
    return CF_OK;
}

cf_status txn_list(struct txn *txn, struct key prefix, struct cf_slice after, size_t limit,
                   struct txn_names *ret, struct cf_error *err)
{
    return list(txn, prefix, after, limit, false, ret, err);
}

cf_status txn_scan(struct txn *txn, struct key prefix, struct cf_slice after, size_t limit,
                   struct txn_names *ret, struct cf_error *err)
{
    return list(txn, prefix, after, limit, true, ret, err);
}

/* ---- the end of the run ---- */

void txn_keep(struct txn *txn, void *object, void (*unref)(void *object))
{
    struct kept *kept = arena_new_object(txn->arena, struct kept);
    *kept = (struct kept){txn->kept, object, unref};
    txn->kept = kept;
}

void txn_release(struct txn *txn)
{
    if (txn == NULL) {
        return;
    }
    for (struct kept *kept = txn->kept; kept != NULL; kept = kept->next) {
        kept->unref(kept->object);
    }
    txn->kept = NULL;
}

bool txn_has_writes(const struct txn *txn)
{
    return txn->write_count != 0;
}

bool txn_writes_key(const struct txn *txn, struct key key)
{
    return own_write(txn, key) != NULL;
}

unsigned txn_write_classes(const struct txn *txn)
{
    unsigned classes = 0;
    for (size_t i = 0; i < txn->write_count; i++) {
        classes |= 1u << class_number(txn->writes[i].key.class);
    }
    return classes;
}

bool txn_frees(const struct txn *txn)
{
    size_t put = 0;
    bool deletes = false;
    for (size_t i = 0; i < txn->write_count; i++) {
        deletes |= txn->writes[i].kind != OP_PUT;
        put += txn->writes[i].value.size;
    }
    return deletes && put <= FREES_PUT_MAX;
}

size_t txn_mark(const struct txn *txn)
{
    return txn->write_count;
}

void txn_rollback(struct txn *txn, size_t mark)
{
    while (txn->write_count > mark) {
        const struct pending *write = &txn->writes[--txn->write_count];
        if (write->kind == OP_DELETE_PREFIX) {
            txn->newest_prefix = write->older;
        } else if (txn->buckets != NULL) {
            *bucket_of(txn, write->hash) = write->older;
        }
    }
    while (txn->delta_count != 0 && txn->deltas[txn->delta_count - 1].mark >= mark) {
        txn->delta_count--;
    }
}

/* Noted before the write that it is about. */
void txn_count_lease(struct txn *txn, uint64_t rule, int32_t change)
{
    txn->deltas = more(txn->arena, txn->deltas, txn->delta_count, &txn->delta_room, sizeof(*txn->deltas));
    txn->deltas[txn->delta_count++] = (struct lease_delta){rule, change, (uint32_t)txn->write_count};
}

cf_status txn_seal(struct txn *txn, struct op **ret, size_t *ret_count, struct cf_error *err)
{
    struct op *ops = arena_alloc_raw(txn->arena, txn->write_count * sizeof(*ops));
    size_t count = 0;
    for (size_t i = 0; i < txn->write_count; i++) {
        struct pending *write = &txn->writes[i];
        if (own_write(txn, write->key) != write && write->kind != OP_DELETE_PREFIX) {
            continue; /* overtaken by a later write of the same request */
        }
        if (write->key.name.size > KEY_NAME_MAX) {
            return cf_fail(err, CF_INVALID, "path is too long");
        }
        struct op *op = &ops[count++];
        *op = (struct op){.kind = write->kind, .key = write->key, .value = write->value};
        if (write->kind == OP_PUT && !write->is_plain) {
            CF_BUF(sealed) = {0};
            struct barrier_name name = {write->key.class, write->key.ns, write->key.name};
            CF_TRY(barrier_seal(txn->view->keyring, &name, &txn->view->line, write->value, &sealed,
                                err));
            op->value = arena_copy(txn->arena, cf_buf_slice(&sealed));
        }
    }
    *ret = ops;
    *ret_count = count;
    return CF_OK;
}

cf_status txn_encode(struct txn *txn, struct cf_buf *to, struct cf_error *err)
{
    struct command command = {.id = COMMAND_WRITE};
    struct op *ops;
    CF_TRY(txn_seal(txn, &ops, &command.op_count, err));
    command.ops = ops;
    return command_encode(to, &command, err);
}

struct window_claim *txn_claim(struct txn *txn)
{
    struct window_claim *claim = arena_new_object(txn->arena, struct window_claim);
    struct key *writes = arena_alloc_raw(txn->arena, txn->write_count * sizeof(*writes));
    bool *is_range = arena_alloc_raw(txn->arena, txn->write_count * sizeof(*is_range));
    for (size_t i = 0; i < txn->write_count; i++) {
        writes[i] = txn->writes[i].key;
        is_range[i] = txn->writes[i].kind == OP_DELETE_PREFIX;
    }
    *claim = (struct window_claim){.view_index = txn->view->index,
                                   .reads = txn->reads,
                                   .read_count = txn->read_count,
                                   .ranges = txn->ranges,
                                   .range_count = txn->range_count,
                                   .writes = writes,
                                   .is_range = is_range,
                                   .write_count = txn->write_count,
                                   .deltas = txn->deltas,
                                   .delta_count = txn->delta_count};
    return claim;
}

const struct view *txn_view(const struct txn *txn)
{
    return txn->view;
}

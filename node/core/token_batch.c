/* node/core/token_batch.c: tokens that are nowhere but in their own text.
 *
 * The text is "b." and base64url of a barrier value that holds the entry in short. So every node of the cluster
 * knows it without a look at the store; it cannot be changed, listed or revoked by itself. It ends with its TTL, its
 * parent and its auth mount. An orphan is sealed under what all clusters of a replica set share, and is good on each
 * of them; one with a parent under what its line of clusters has alone, as its parent lives nowhere else. */
#include "node/core/token_int.h"

#include "node/base/memory.h"
#include "node/core/namespace.h"

#define BATCH_PREFIX "b."
#define BATCH_TEXT_MAX ((size_t)8192)
/* The name that the values are sealed for; no record has it. */
#define BATCH_NAME CF_SLICE(AREA_TOKEN "batch")

bool token_is_batch(struct cf_slice id)
{
    return id.size <= BATCH_TEXT_MAX && cf_slice_starts(id, CF_SLICE(BATCH_PREFIX));
}

static struct barrier_name sealed_name(bool has_parent)
{
    return (struct barrier_name){has_parent ? CLASS_CLUSTER : CLASS_REPLICATED, NAMESPACE_ROOT,
                                 BATCH_NAME};
}

cf_status token_create_batch(struct request *rq, struct token_spec *spec, struct cf_slice *ret_id,
                             struct token_entry **ret, struct cf_error *err)
{
    struct token_entry *entry = arena_new_object(rq->arena, struct token_entry);
    *entry = spec->entry;
    entry->ns = rq->ns;
    entry->type = CF_SLICE("batch");
    entry->accessor = CF_SLICE_EMPTY;
    entry->is_renewable = false;
    entry->num_uses = 0;
    entry->internal = NULL; /* for renewals, of which there are none */
    entry->creation_ns = request_now_ns(rq);
    entry->creation_ttl_s = spec->ttl_s;
    entry->expire_ns = entry->creation_ns + spec->ttl_s * 1000000000;
    token_sort_policies(rq->arena, entry);
    if (spec->ttl_s <= 0 || spec->entry.is_root) {
        return cf_fail(err, CF_INVALID, "batch tokens cannot be root tokens");
    }
    CF_BUF(sealed) = {0};
    CF_BUF(text) = {.max = BATCH_TEXT_MAX, .secret = true};
    struct barrier_name name = sealed_name(entry->has_parent);
    CF_TRY(barrier_seal(rq->view->keyring, &name, &rq->view->line,
                        token_to_record(rq->arena, entry), &sealed, err));
    cf_buf_add_str(&text, BATCH_PREFIX);
    encode_base64url(&text, cf_buf_slice(&sealed));
    if (text.overflow) {
        return cf_fail(err, CF_INVALID,
                       "policies and metadata are too long for a batch token; use a service token");
    }
    *ret_id = namespace_mark(rq->arena, rq->nspace, arena_copy(rq->arena, cf_buf_slice(&text)));
    CF_TRY(token_key_of(rq->txn, *ret_id, entry->key, err));
    *ret = entry;
    return CF_OK;
}

bool token_mount_exists(struct txn *txn, uint32_t ns, struct uuid uuid)
{
    const struct namespace *whose = namespace_by_number(txn_view(txn)->namespaces, ns);
    const struct mount *mount = whose != NULL ? mount_table_by_uuid(whose->mounts, uuid) : NULL;
    if (mount != NULL) {
        txn_note_read(txn, mount->entry_hash);
    }
    return mount != NULL;
}

/* A restore cannot find them in the store, so it voids them by their time. */
static cf_status check_time(struct txn *txn, struct arena *arena, const struct token_entry *entry,
                            struct cf_error *err)
{
    struct cf_slice bytes;
    txn_note_read(txn, key_hash(TOKEN_NOT_BEFORE_KEY));
    cf_status status = view_get_raw(txn_view(txn), TOKEN_NOT_BEFORE_KEY, arena, &bytes, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    return bytes.size == 8 && entry->creation_ns > (int64_t)cf_get_u64(bytes.data)
               ? CF_OK
               : cf_fail(err, CF_DENIED, "bad token");
}

static cf_status check_roots(struct txn *txn, struct arena *arena, const struct token_entry *entry,
                             struct cf_error *err)
{
    const struct token_entry *parent;
    const struct view *view = txn_view(txn);
    if (!token_mount_exists(txn, entry->ns, entry->mount_uuid)) {
        return cf_fail(err, CF_DENIED, "bad token");
    }
    if (!entry->has_parent) {
        return CF_OK;
    }
    cf_status status = token_load(txn, arena, entry->parent_ns, entry->parent, &parent, err);
    if (status == CF_NOT_FOUND ||
        (status == CF_OK &&
         ((parent->expire_ns != 0 && view_now_ns(view) >= parent->expire_ns) ||
          !token_family_is_live(txn, arena, parent)))) {
        return cf_fail(err, CF_DENIED, "bad token");
    }
    return status;
}

cf_status token_open_batch(struct txn *txn, struct arena *arena, struct cf_slice id,
                           const struct namespace *ns, const struct token_entry **ret,
                           struct cf_error *err)
{
    const struct view *view = txn_view(txn);
    CF_BUF(sealed) = {.max = BATCH_TEXT_MAX};
    struct cf_slice record;
    struct barrier_name shared = sealed_name(false), own = sealed_name(true);
    uint8_t key[TOKEN_KEY_SIZE];
    struct cf_slice text = cf_slice_from(id, sizeof(BATCH_PREFIX) - 1);
    text = cf_slice_first(text, cf_slice_find(text, '.')); /* without the namespace's id */
    if (encode_base64url_decode(&sealed, text, NULL) != CF_OK ||
        (barrier_open(view->keyring, &shared, NULL, cf_buf_slice(&sealed), arena, &record, NULL) !=
             CF_OK &&
         barrier_open(view->keyring, &own, &view->line, cf_buf_slice(&sealed), arena, &record,
                      NULL) != CF_OK)) {
        return cf_fail(err, CF_DENIED, "bad token");
    }
    struct token_entry *entry = arena_new_object(arena, struct token_entry);
    CF_TRY(token_key_of(txn, id, key, err));
    CF_TRY(token_from_record(arena, ns->number, key, record, entry, err));
    CF_TRY(check_time(txn, arena, entry, err));
    CF_TRY(check_roots(txn, arena, entry, err));
    *ret = entry;
    return CF_OK;
}

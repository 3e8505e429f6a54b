/* node/server/snapshot/write.c: a view as an archive. */
#include <string.h>

#include "node/base/memory.h"
#include "node/crypto/box.h"
#include "node/crypto/hash.h"
#include "node/format/encode.h"
#include "node/format/timefmt.h"
#include "node/server/seal.h"
#include "node/server/snapshot/areas.h"
#include "node/server/snapshot/snapshot.h"

#define FORMAT 1
#define PROOF_VERSION 1
/* So that meta.json stays small enough to be read; above that a restore under other keys says that
 * it cannot tell. */
#define CREDENTIALS_MAX (ARCHIVE_META_MAX / 128)
#define CLASSES "cor" /* in the order of their bytes: keys rise through the whole archive */

/* ---- SHA-256, for the archive ---- */

static void *open_hash(void)
{
    return hash_new(HASH_SHA256);
}

static void add_hash(void *hash, struct cf_slice bytes)
{
    hash_add(hash, bytes);
}

static void end_hash(void *hash, uint8_t ret[ARCHIVE_DIGEST])
{
    hash_end(hash, ret);
    hash_free(hash);
}

const struct archive_hash snapshot_hash = {open_hash, add_hash, end_hash};

void snapshot_proof(const struct secret *root_key, struct cf_slice sums,
                    uint8_t ret[SNAPSHOT_PROOF_SIZE])
{
    uint8_t key[32];
    hash_hkdf_sha256(secret_slice(root_key), CF_SLICE_EMPTY, CF_SLICE("coffer snapshot sums"), key,
                     sizeof(key));
    ret[0] = PROOF_VERSION;
    hash_hmac_sha256(cf_slice_of(key, sizeof(key)), sums, ret + 1);
    cf_wipe(key, sizeof(key));
}

cf_status snapshot_box_key(const struct secret *root_key, struct secret **ret,
                           uint8_t public_key[32], struct cf_error *err)
{
    uint8_t key[BOX_PRIVATE_SIZE];
    hash_hkdf_sha256(secret_slice(root_key), CF_SLICE_EMPTY, CF_SLICE("coffer snapshot box"), key,
                     sizeof(key));
    struct secret *copy = secret_copy(cf_slice_of(key, sizeof(key)));
    cf_wipe(key, sizeof(key));
    cf_status status = box_public_of(secret_slice(copy), public_key, err);
    if (status != CF_OK) {
        secret_free(copy);
        return status;
    }
    *ret = copy;
    return CF_OK;
}

/* ---- walking ---- */

bool snapshot_key_decode(struct cf_slice bytes, struct key *ret)
{
    if (bytes.size < 6 || bytes.size - 5 > KEY_NAME_MAX ||
        class_number(bytes.data[0]) >= CLASS_COUNT) {
        return false;
    }
    *ret = (struct key){bytes.data[0], cf_get_u32(bytes.data + 1), cf_slice_from(bytes, 5)};
    return true;
}

cf_status snapshot_walk(const struct view *view, uint8_t class, struct cf_slice prefix,
                        snapshot_visit_fn visit, void *context, struct cf_error *err)
{
    uint32_t generation = view->generation[class_number(class)];
    CF_BUF(lower) = {0};
    CF_BUF(upper) = {0};
    cf_buf_add_byte(&lower, class);
    cf_buf_add_u32(&lower, generation);
    cf_buf_add_slice(&upper, cf_buf_slice(&lower));
    if (prefix.size != 0) {
        cf_buf_add_u32(&lower, NAMESPACE_ROOT);
        cf_buf_add_u32(&upper, NAMESPACE_ROOT);
        cf_buf_add_slice(&lower, prefix);
        cf_buf_add_slice(&upper, prefix);
    }
    while (upper.size > 1 && upper.data[upper.size - 1] == 0xff) {
        upper.size--;
    }
    upper.data[upper.size - 1]++;
    CF_OWNED(kv_iterator)
    it = kv_iterator_new(
        (struct kv_view){view->db, view->snapshot}, view->state,
        (struct kv_range){.lower = cf_buf_slice(&lower), .upper = cf_buf_slice(&upper), .bulk = true});
    for (kv_seek_first(it); kv_valid(it); kv_next(it)) {
        struct key key;
        uint32_t unused;
        struct cf_slice value = kv_bytes(it);
        if (!key_decode(kv_key(it), &key, &unused) || value.size < VALUE_HEADER_SIZE) {
            return cf_fail(err, CF_CORRUPT, "a record of the state is malformed");
        }
        CF_TRY(visit(context, key, cf_slice_from(value, VALUE_HEADER_SIZE), err));
    }
    return kv_iterator_check(it, err);
}

static cf_status walk_all(const struct view *view, snapshot_visit_fn visit, void *context,
                          struct cf_error *err)
{
    for (const char *class = CLASSES; *class != 0; class++) {
        CF_TRY(snapshot_walk(view, (uint8_t)*class, CF_SLICE_EMPTY, visit, context, err));
    }
    return CF_OK;
}

/* ---- the archive ---- */

struct writing {
    struct archive_out *out;
    struct snapshot_info info;
    struct cf_buf key;
};

/* Records of answers that were given: nobody asks for them again after a restore. */
static bool is_left_out(struct key key)
{
    return key.class == CLASS_CLUSTER && cf_slice_starts(key.name, CF_SLICE(AREA_REQUEST));
}

static cf_status count_one(void *context, struct key key, struct cf_slice value, struct cf_error *err)
{
    struct writing *writing = context;
    (void)err;
    if (!is_left_out(key)) {
        writing->info.records++;
        writing->info.bytes += 5 + key.name.size + value.size;
    }
    return CF_OK;
}

static cf_status write_one(void *context, struct key key, struct cf_slice value, struct cf_error *err)
{
    struct writing *writing = context;
    if (is_left_out(key)) {
        return CF_OK;
    }
    cf_buf_reset(&writing->key);
    cf_buf_add_byte(&writing->key, key.class);
    cf_buf_add_u32(&writing->key, key.ns);
    cf_buf_add_slice(&writing->key, key.name);
    return archive_out_record(writing->out, cf_buf_slice(&writing->key), value, err);
}

static cf_status make_meta(struct node *node, const struct view *view,
                           const struct secret *root_key, const struct snapshot_info *info,
                           struct cf_buf *to, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_OWNED(secret) box = NULL;
    struct seal_config seal;
    char cluster[37], time[TIMEFMT_SIZE];
    uint8_t public_key[32];
    CF_BUF(box_text) = {0};
    CF_TRY(seal_config_of(node, &seal, err));
    CF_TRY(snapshot_box_key(root_key, &box, public_key, err));
    encode_base64(&box_text, cf_slice_of(public_key, sizeof(public_key)));
    node_cluster_id(node, cluster);
    timefmt_text(cf_wall_ns(cf_host_clock()), time);
    struct json *meta = json_object_new(arena);
    json_set_int(arena, meta, "Version", 1);
    json_set_text(arena, meta, "ID",
                  arena_printf(arena, "coffer-%llu-%llu", (unsigned long long)info->term,
                               (unsigned long long)info->index));
    json_set_int(arena, meta, "Index", (int64_t)info->index);
    json_set_int(arena, meta, "Term", (int64_t)info->term);
    json_set_int(arena, meta, "Size",
                 (int64_t)archive_state_size(info->records, info->bytes));
    json_set_int(arena, meta, "format", FORMAT);
    json_set_text(arena, meta, "made_by", "coffer " COFFER_VERSION);
    json_set_text(arena, meta, "taken", time);
    json_set_text(arena, meta, "cluster_id", cluster);
    json_set_text(arena, meta, "cluster_name", node_cluster_name(node));
    json_set_text(arena, meta, "node_id", node->config->node_id);
    json_set_text(arena, meta, "role", cluster_role_name(view->role));
    json_set_int(arena, meta, "records", (int64_t)info->records);
    json_set_int(arena, meta, "bytes", (int64_t)info->bytes);
    struct json *credentials = areas_to_json(arena, view);
    if (json_count(credentials) <= CREDENTIALS_MAX) {
        json_set(arena, meta, "credentials", credentials);
    }
    json_set_string(arena, meta, "restore_key", cf_buf_slice(&box_text));
    struct json *sealed = json_object_new(arena);
    json_set_text(arena, sealed, "type", seal_type_name(seal.type));
    json_set_int(arena, sealed, "shares", seal.shape.shares);
    json_set_int(arena, sealed, "threshold", seal.shape.threshold);
    json_set_int(arena, sealed, "generation", seal.generation);
    json_set_text(arena, sealed, "key_id", seal.key_id);
    json_set(arena, meta, "seal", sealed);
    json_write(to, meta);
    return CF_OK;
}

static cf_status write_archive(struct node *node, struct view *view, struct writing *writing,
                               struct cf_error *err)
{
    CF_OWNED(secret) root_key = NULL;
    CF_BUF(meta) = {0};
    struct cf_slice sums;
    uint8_t proof[SNAPSHOT_PROOF_SIZE];
    struct snapshot_info *info = &writing->info;
    CF_TRY(seal_root_key(node, &root_key, err));
    info->index = view->index;
    /* The entry may have left the log in a node that just took a snapshot itself: then it is unknown. */
    cf_status status = raft_driver_log_term(atomic_load(&node->driver_shared), view->index,
                                            &info->term, NULL);
    info->term = status == CF_OK ? info->term : 0;
    CF_TRY(walk_all(view, count_one, writing, err));
    CF_TRY(make_meta(node, view, root_key, info, &meta, err));
    CF_TRY(archive_out_meta(writing->out, cf_buf_slice(&meta), err));
    CF_TRY(archive_out_begin(writing->out, info->records, info->bytes, err));
    CF_TRY(walk_all(view, write_one, writing, err));
    CF_TRY(archive_out_end(writing->out, &sums, err));
    snapshot_proof(root_key, sums, proof);
    return archive_out_sealed(writing->out, cf_slice_of(proof, sizeof(proof)), err);
}

cf_status snapshot_write(struct node *node, struct view *view, const struct gzip_sink *sink,
                         struct snapshot_info *ret, struct cf_error *err)
{
    struct writing writing = {.out = archive_out_new(sink, &snapshot_hash,
                                                     cf_wall_ns(cf_host_clock()) / 1000000000)};
    cf_status status = write_archive(node, view, &writing, err);
    archive_out_free(writing.out);
    cf_buf_done(&writing.key);
    *ret = writing.info;
    return status;
}

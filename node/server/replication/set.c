/* node/server/replication/set.c: the records of replication sets. */
#include "node/server/replication/set.h"

#include "node/base/memory.h"
#include "node/format/encode.h"

const char *const set_names[SET_KINDS] = {[SET_PERFORMANCE] = "performance", [SET_DR] = "dr"};

bool set_kind_of(struct cf_slice name, enum set_kind *ret)
{
    for (size_t i = 0; i < SET_KINDS; i++) {
        if (cf_slice_is(name, set_names[i])) {
            *ret = (enum set_kind)i;
            return true;
        }
    }
    return false;
}

/* ---- keys ---- */

static uint8_t class_of(enum set_kind kind)
{
    return kind == SET_PERFORMANCE ? CLASS_CLUSTER : CLASS_OWN;
}

static struct key record_key(struct request *rq, enum set_kind kind, const char *what,
                             struct cf_slice id)
{
    return (struct key){class_of(kind), NAMESPACE_ROOT,
                        cf_slice_str(arena_printf(rq->arena, "%s%s/%s%.*s", AREA_REPL,
                                                  set_names[kind], what, CF_SHOW(id)))};
}

struct key set_prefix(enum set_kind kind)
{
    return (struct key){class_of(kind), NAMESPACE_ROOT,
                        kind == SET_PERFORMANCE ? CF_SLICE(AREA_REPL "performance/")
                                                : CF_SLICE(AREA_REPL "dr/")};
}

struct key set_lineage_key(enum set_kind kind)
{
    return (struct key){class_of(kind), NAMESPACE_ROOT,
                        kind == SET_PERFORMANCE ? CF_SLICE(AREA_REPL "set-lineage")
                                                : CF_SLICE(AREA_REPL "lineage")};
}

struct key set_position_key(enum set_kind kind)
{
    /* Not below AREA_REPL: it changes with every batch, and no table is made from it. */
    return (struct key){class_of(kind), NAMESPACE_ROOT,
                        kind == SET_PERFORMANCE ? CF_SLICE(AREA_POSITION "performance")
                                                : CF_SLICE(AREA_POSITION "dr")};
}

struct key set_line_key(enum set_kind kind)
{
    return (struct key){CLASS_CLUSTER, NAMESPACE_ROOT,
                        kind == SET_PERFORMANCE ? CF_SLICE(AREA_REPL "set-key")
                                                : CF_SLICE(AREA_REPL "line-key")};
}

struct key set_jwt_key(void)
{
    return (struct key){CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(AREA_REPL "jwt-key")};
}

struct key set_line_public_key(enum set_kind kind)
{
    return kind == SET_PERFORMANCE
               ? (struct key){CLASS_REPLICATED, NAMESPACE_ROOT, CF_SLICE(AREA_REPL "set-public")}
               : (struct key){CLASS_CLUSTER, NAMESPACE_ROOT, CF_SLICE(AREA_REPL "line-public")};
}

struct key set_chain_key(void)
{
    return (struct key){CLASS_CLUSTER, NAMESPACE_ROOT, CF_SLICE(AREA_REPL "set-chain")};
}

struct key set_promotion_key(struct request *rq, struct cf_slice id)
{
    return (struct key){CLASS_REPLICATED, NAMESPACE_ROOT,
                        cf_slice_str(arena_printf(rq->arena, AREA_REPL "promotion/%.*s", CF_SHOW(id)))};
}

struct key set_fence_key(void)
{
    return (struct key){CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(AREA_REPL "fence")};
}

struct key set_proof_key(enum set_kind kind)
{
    return (struct key){class_of(kind), NAMESPACE_ROOT,
                        kind == SET_PERFORMANCE ? CF_SLICE(AREA_REPL "set-proof")
                                                : CF_SLICE(AREA_REPL "proof")};
}

struct key set_enroll_key(enum set_kind kind)
{
    return (struct key){CLASS_OWN, NAMESPACE_ROOT,
                        kind == SET_PERFORMANCE ? CF_SLICE(AREA_REPL "enroll-performance")
                                                : CF_SLICE(AREA_REPL "enroll-dr")};
}

struct key set_former_key(void)
{
    return (struct key){CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(AREA_REPL "former")};
}

/* ---- fields ---- */

static void set_bytes(struct request *rq, struct json *record, const char *name,
                      struct cf_slice bytes)
{
    CF_BUF(text) = {.secret = true};
    encode_base64(&text, bytes);
    json_set_string(rq->arena, record, name, cf_buf_slice(&text));
}

static cf_status get_bytes(struct request *rq, const struct json *record, const char *name,
                           struct cf_slice *ret, struct cf_error *err)
{
    struct cf_slice text = json_get_string(record, name);
    CF_BUF(bytes) = {.secret = true};
    *ret = CF_SLICE_EMPTY;
    if (text.size != 0) {
        CF_TRY(encode_base64_decode(&bytes, text, err));
        *ret = arena_copy(rq->arena, cf_buf_slice(&bytes));
    }
    return CF_OK;
}

static cf_status read_record(struct request *rq, struct key key, struct json **ret,
                             struct cf_error *err)
{
    struct cf_slice bytes;
    CF_TRY(txn_get(rq->txn, key, &bytes, err));
    return record_decode(bytes, rq->arena, ret, err);
}

static void write_record(struct request *rq, struct key key, const struct json *record)
{
    txn_put(rq->txn, key, record_encode(rq->arena, record));
}

cf_status set_read_bytes(struct request *rq, struct key key, struct cf_slice *ret,
                         struct cf_error *err)
{
    return txn_get(rq->txn, key, ret, err);
}

/* ---- primary ---- */

cf_status set_read_primary(struct request *rq, enum set_kind kind, struct set_primary *ret,
                           struct cf_error *err)
{
    struct json *record;
    CF_TRY(read_record(rq, record_key(rq, kind, "primary", CF_SLICE_EMPTY), &record, err));
    *ret = (struct set_primary){
        .id = json_get_string(record, "id"),
        .ca = json_get_string(record, "ca"),
        .primary_cluster_addr = json_get_string(record, "primary_cluster_addr")};
    return get_bytes(rq, record, "ca_key", &ret->ca_key, err);
}

void set_write_primary(struct request *rq, enum set_kind kind, const struct set_primary *set)
{
    struct json *record = json_object_new(rq->arena);
    json_set_string(rq->arena, record, "id", set->id);
    json_set_string(rq->arena, record, "ca", set->ca);
    json_set_string(rq->arena, record, "primary_cluster_addr", set->primary_cluster_addr);
    set_bytes(rq, record, "ca_key", set->ca_key);
    write_record(rq, record_key(rq, kind, "primary", CF_SLICE_EMPTY), record);
}

void set_delete_primary(struct request *rq, enum set_kind kind)
{
    txn_delete(rq->txn, record_key(rq, kind, "primary", CF_SLICE_EMPTY));
    txn_delete_prefix(rq->txn, record_key(rq, kind, "secondary/", CF_SLICE_EMPTY));
}

static cf_status move_record(struct request *rq, struct key from, struct key to, struct cf_error *err)
{
    struct cf_slice bytes;
    CF_TRY(txn_get(rq->txn, from, &bytes, err));
    txn_put(rq->txn, to, bytes);
    txn_delete(rq->txn, from);
    return CF_OK;
}

cf_status set_put_primary_aside(struct request *rq, enum set_kind kind, struct cf_error *err)
{
    return move_record(rq, record_key(rq, kind, "primary", CF_SLICE_EMPTY),
                       record_key(rq, kind, "aside", CF_SLICE_EMPTY), err);
}

cf_status set_restore_primary(struct request *rq, enum set_kind kind, struct cf_error *err)
{
    return move_record(rq, record_key(rq, kind, "aside", CF_SLICE_EMPTY),
                       record_key(rq, kind, "primary", CF_SLICE_EMPTY), err);
}

void set_drop_aside(struct request *rq, enum set_kind kind)
{
    txn_delete(rq->txn, record_key(rq, kind, "aside", CF_SLICE_EMPTY));
    txn_delete_prefix(rq->txn, record_key(rq, kind, "secondary/", CF_SLICE_EMPTY));
}

/* ---- the registry ---- */

cf_status set_read_secondary(struct request *rq, enum set_kind kind, struct cf_slice id,
                             struct set_secondary *ret, struct cf_error *err)
{
    struct json *record;
    CF_TRY(read_record(rq, record_key(rq, kind, "secondary/", id), &record, err));
    *ret = (struct set_secondary){.id = arena_copy(rq->arena, id),
                                  .state = json_get_string(record, "state"),
                                  .jti = json_get_string(record, "jti"),
                                  .bound_to = json_get_string(record, "bound_to"),
                                  .cert = json_get_string(record, "cert"),
                                  .next_cert = json_get_string(record, "next_cert"),
                                  .created_ns = json_get_int(record, "created"),
                                  .expires_ns = json_get_int(record, "expires")};
    return get_bytes(rq, record, "key", &ret->key, err);
}

void set_write_secondary(struct request *rq, enum set_kind kind,
                         const struct set_secondary *secondary)
{
    struct json *record = json_object_new(rq->arena);
    json_set_string(rq->arena, record, "state", secondary->state);
    json_set_string(rq->arena, record, "jti", secondary->jti);
    json_set_string(rq->arena, record, "bound_to", secondary->bound_to);
    json_set_string(rq->arena, record, "cert", secondary->cert);
    if (secondary->next_cert.size != 0) {
        json_set_string(rq->arena, record, "next_cert", secondary->next_cert);
    }
    set_bytes(rq, record, "key", secondary->key);
    json_set_int(rq->arena, record, "created", secondary->created_ns);
    json_set_int(rq->arena, record, "expires", secondary->expires_ns);
    write_record(rq, record_key(rq, kind, "secondary/", secondary->id), record);
}

void set_delete_secondary(struct request *rq, enum set_kind kind, struct cf_slice id)
{
    txn_delete(rq->txn, record_key(rq, kind, "secondary/", id));
}

cf_status set_list_secondaries(struct request *rq, enum set_kind kind, struct txn_names *ret,
                               struct cf_error *err)
{
    return txn_scan(rq->txn, record_key(rq, kind, "secondary/", CF_SLICE_EMPTY), CF_SLICE_EMPTY, 0,
                    ret, err);
}

/* ---- what was given up ---- */

void set_write_ended(struct request *rq, enum set_kind kind, const char *as)
{
    struct json *record = json_object_new(rq->arena);
    json_set_text(rq->arena, record, "as", as);
    write_record(rq, record_key(rq, kind, "ended", CF_SLICE_EMPTY), record);
}

bool set_has_ended(struct request *rq, enum set_kind kind, const char *as)
{
    struct json *record;
    struct key key = record_key(rq, kind, "ended", CF_SLICE_EMPTY);
    return read_record(rq, key, &record, NULL) == CF_OK &&
           cf_slice_is(json_get_string(record, "as"), as);
}

/* ---- link ---- */

cf_status set_read_link(struct request *rq, enum set_kind kind, struct set_link *ret,
                        struct cf_error *err)
{
    struct json *record;
    CF_TRY(read_record(rq, record_key(rq, kind, "link", CF_SLICE_EMPTY), &record, err));
    const struct json *addresses = json_get(record, "addresses");
    *ret = (struct set_link){.set_id = json_get_string(record, "set_id"),
                             .secondary_id = json_get_string(record, "secondary_id"),
                             .cert = json_get_string(record, "cert"),
                             .ca = json_get_string(record, "ca"),
                             .state = json_get_string(record, "state"),
                             .token_id = json_get_string(record, "token_id"),
                             .vouched = json_get_string(record, "vouched"),
                             .address_count = json_count(addresses),
                             .started_ns = json_get_int(record, "started")};
    ret->addresses = arena_alloc(rq->arena, (ret->address_count + 1) * sizeof(struct cf_slice));
    for (size_t i = 0; i < ret->address_count; i++) {
        cf_ignore(!json_string(json_item(addresses, i), &ret->addresses[i]), "we wrote strings");
    }
    CF_TRY(get_bytes(rq, record, "key", &ret->key, err));
    CF_TRY(get_bytes(rq, record, "promotion", &ret->promotion, err));
    CF_TRY(get_bytes(rq, record, "promotion_key", &ret->promotion_key, err));
    return get_bytes(rq, record, "box_key", &ret->box_key, err);
}

void set_write_link(struct request *rq, enum set_kind kind, const struct set_link *link)
{
    struct json *record = json_object_new(rq->arena);
    struct json *addresses = json_array_new(rq->arena);
    for (size_t i = 0; i < link->address_count; i++) {
        json_array_add(rq->arena, addresses, json_from_string(rq->arena, link->addresses[i]));
    }
    json_set_string(rq->arena, record, "set_id", link->set_id);
    json_set_string(rq->arena, record, "secondary_id", link->secondary_id);
    json_set_string(rq->arena, record, "cert", link->cert);
    json_set_string(rq->arena, record, "ca", link->ca);
    json_set_string(rq->arena, record, "state", link->state);
    json_set_string(rq->arena, record, "token_id", link->token_id);
    json_set_string(rq->arena, record, "vouched", link->vouched);
    json_set(rq->arena, record, "addresses", addresses);
    json_set_int(rq->arena, record, "started", link->started_ns);
    set_bytes(rq, record, "key", link->key);
    set_bytes(rq, record, "box_key", link->box_key);
    if (link->promotion.size != 0) {
        set_bytes(rq, record, "promotion", link->promotion);
        set_bytes(rq, record, "promotion_key", link->promotion_key);
    }
    write_record(rq, record_key(rq, kind, "link", CF_SLICE_EMPTY), record);
}

void set_delete_link(struct request *rq, enum set_kind kind)
{
    txn_delete(rq->txn, record_key(rq, kind, "link", CF_SLICE_EMPTY));
}

void set_write_role(struct request *rq, enum cluster_role role, const struct line_id *line)
{
    struct json *record = json_object_new(rq->arena);
    struct uuid id;
    char text[ENCODE_UUID_TEXT + 1];
    memcpy(id.bytes, line->bytes, sizeof(id.bytes));
    encode_uuid_text(id, text);
    json_set_text(rq->arena, record, "role", cluster_role_name(role));
    json_set_text(rq->arena, record, "line", text);
    struct key key = {CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(AREA_REPL "role")};
    write_record(rq, key, record);
}

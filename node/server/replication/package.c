/* node/server/replication/package.c: what a secondary token stands for, sealed and opened. */
#include "node/server/replication/package.h"

#include "consensus/driver/driver.h"
#include "node/base/memory.h"
#include "node/core/core.h"
#include "node/crypto/box.h"
#include "node/format/encode.h"
#include "node/server/node.h"
#include "replication/core/lineage.h"

#define PACKAGE_INFO CF_SLICE("coffer secondary package")

struct cf_slice package_address(struct cf_slice text)
{
    size_t scheme = cf_slice_starts(text, CF_SLICE("https://")) ? sizeof("https://") - 1 : 0;
    struct cf_slice rest = cf_slice_from(text, scheme);
    bool closes = rest.size != 0 && rest.data[rest.size - 1] == '/';
    return cf_slice_first(rest, rest.size - closes);
}

/* All nodes of the primary, unless the operator named one place for them (a balancer, a NAT). */
struct json *package_addresses(struct request *rq, const struct set_primary *set)
{
    struct node *node = core_host_context(rq->core);
    struct json *addresses = json_array_new(rq->arena);
    if (set->primary_cluster_addr.size != 0) {
        json_array_add(rq->arena, addresses,
                       json_from_borrowed(rq->arena, set->primary_cluster_addr));
        return addresses;
    }
    struct raft_driver_status *status = arena_new_object(rq->arena, struct raft_driver_status);
    raft_driver_status(atomic_load(&node->driver_shared), status);
    for (size_t i = 0; i < status->peer_count; i++) {
        json_array_add(rq->arena, addresses, json_from_text(rq->arena, status->peers[i].address));
    }
    return addresses;
}

/* Empty when there is none. */
static struct cf_slice epoch_text(struct request *rq, enum set_kind kind)
{
    struct cf_slice bytes;
    CF_BUF(hex) = {0};
    struct repl_lineage *lineage = arena_new_object(rq->arena, struct repl_lineage);
    if (set_read_bytes(rq, set_lineage_key(kind), &bytes, NULL) == CF_OK &&
        repl_lineage_decode(bytes, lineage, NULL) == CF_OK && lineage->count != 0) {
        struct repl_epoch epoch = repl_lineage_current(lineage);
        encode_hex(&hex, cf_slice_of(epoch.id, sizeof(epoch.id)));
    }
    return arena_copy(rq->arena, cf_buf_slice(&hex));
}

cf_status package_seal(struct request *rq, enum set_kind kind, const struct set_primary *set,
                       const struct set_secondary *secondary, struct cf_slice public_key,
                       struct cf_buf *ret, struct cf_error *err)
{
    struct json *package = json_object_new(rq->arena);
    struct cf_buf text;
    CF_BUF(key) = {.secret = true};
    encode_base64(&key, secondary->key);
    json_set_text(rq->arena, package, "kind", set_names[kind]);
    json_set_string(rq->arena, package, "set_id", set->id);
    json_set_string(rq->arena, package, "id", secondary->id);
    json_set_int(rq->arena, package, "expires", secondary->expires_ns);
    json_set_string(rq->arena, package, "ca", set->ca);
    json_set_string(rq->arena, package, "cert", secondary->cert);
    json_set_string(rq->arena, package, "key", cf_buf_slice(&key));
    json_set(rq->arena, package, "addresses", package_addresses(rq, set));
    json_set_string(rq->arena, package, "epoch", epoch_text(rq, kind));
    cf_buf_init_secret(&text, 0);
    json_write(&text, package);
    cf_status status = box_seal(public_key, cf_buf_slice(&text), PACKAGE_INFO, ret, err);
    cf_buf_done(&text);
    return status;
}

static cf_status read_link(struct arena *arena, const struct json *json, struct set_link *link,
                           struct cf_error *err)
{
    CF_BUF(key) = {.secret = true};
    const struct json *addresses = json_get(json, "addresses");
    *link = (struct set_link){.set_id = json_get_string(json, "set_id"),
                              .secondary_id = json_get_string(json, "id"),
                              .ca = json_get_string(json, "ca"),
                              .cert = json_get_string(json, "cert"),
                              .vouched = json_get_string(json, "epoch")};
    CF_TRY(encode_base64_decode(&key, json_get_string(json, "key"), err));
    link->key = arena_copy(arena, cf_buf_slice(&key));
    link->addresses = arena_alloc(arena, (json_count(addresses) + 1) * sizeof(struct cf_slice));
    for (size_t i = 0; i < json_count(addresses); i++) {
        struct cf_slice one;
        if (json_string(json_item(addresses, i), &one)) {
            link->addresses[link->address_count++] = package_address(one);
        }
    }
    return CF_OK;
}

cf_status package_open(struct arena *arena, struct cf_slice private_key, struct cf_slice sealed,
                       struct package *ret, struct cf_error *err)
{
    CF_BUF(opened) = {.secret = true};
    struct json *json;
    if (box_open(private_key, sealed, PACKAGE_INFO, &opened, NULL) != CF_OK) {
        return cf_fail(err, CF_INVALID, "the package was sealed to another key than this cluster's");
    }
    CF_TRY(json_parse(arena, cf_buf_slice(&opened), NULL, &json, err));
    *ret = (struct package){0};
    CF_TRY(read_link(arena, json, &ret->link, err));
    const struct set_link *link = &ret->link;
    cf_ignore(!json_int64(json_get(json, "expires"), &ret->expires_ns), "a primary of before: no end");
    bool complete = set_kind_of(json_get_string(json, "kind"), &ret->kind) && link->set_id.size != 0 &&
                    link->ca.size != 0 && link->cert.size != 0 && link->address_count != 0;
    return complete ? CF_OK : cf_fail(err, CF_INVALID, "the primary's package is incomplete");
}

/* node/server/recover_file.c: see recover_file.h. */
#include "node/server/recover_file.h"

#include <string.h>

#include "consensus/core/membership.h"
#include "node/base/memory.h"
#include "node/format/json.h"

#define TEXT_MAX ((size_t)1 << 20)

static cf_status read_address(struct cf_slice text, size_t number, struct arena *arena,
                              const char **ret, struct cf_error *err)
{
    static const char *const schemes[] = {"https://", "http://"};
    for (size_t i = 0; i < CF_LENGTH(schemes); i++) {
        if (cf_slice_starts(text, cf_slice_str(schemes[i]))) {
            text = cf_slice_from(text, strlen(schemes[i]));
        }
    }
    size_t colon = text.size;
    while (colon > 0 && text.data[colon - 1] != ':') {
        colon--;
    }
    uint32_t port = 0;
    bool fine = colon > 1 && colon < text.size && text.size < RAFT_ADDRESS_MAX;
    for (size_t i = colon; fine && i < text.size; i++) {
        fine = text.data[i] >= '0' && text.data[i] <= '9' && port < 65536;
        port = 10 * port + (uint32_t)(text.data[i] - '0');
    }
    for (size_t i = 0; fine && i < text.size; i++) {
        fine = text.data[i] > ' ' && text.data[i] <= '~' && text.data[i] != '/';
    }
    if (!fine || port == 0 || port > 65535) {
        return cf_fail(err, CF_INVALID, "peer %zu: \"address\" must be \"host:port\"", number);
    }
    *ret = arena_text(arena, text);
    return CF_OK;
}

static cf_status read_peer(const struct json *item, size_t number, struct arena *arena,
                           struct recover_peer *ret, struct cf_error *err)
{
    struct cf_slice id = CF_SLICE_EMPTY, address = CF_SLICE_EMPTY;
    *ret = (struct recover_peer){.id = ""};
    if (json_string(item, &address)) {
        return read_address(address, number, arena, &ret->address, err);
    }
    if (!json_is(item, JSON_OBJECT)) {
        return cf_fail(err, CF_INVALID, "peer %zu is neither an object nor an address", number);
    }
    if (!json_string(json_get(item, "id"), &id) || id.size == 0 || id.size >= RAFT_NAME_MAX ||
        memchr(id.data, 0, id.size) != NULL) {
        return cf_fail(err, CF_INVALID, "peer %zu: \"id\" must be the node_id of a node", number);
    }
    const struct json *non_voter = json_get(item, "non_voter");
    if (non_voter != NULL && !json_bool(non_voter, &ret->is_non_voter)) {
        return cf_fail(err, CF_INVALID, "peer %zu: \"non_voter\" must be true or false", number);
    }
    if (!json_string(json_get(item, "address"), &address)) {
        return cf_fail(err, CF_INVALID, "peer %zu: \"address\" must be \"host:port\"", number);
    }
    ret->id = arena_text(arena, id);
    return read_address(address, number, arena, &ret->address, err);
}

cf_status recover_file_parse(struct cf_slice text, struct arena *arena, struct recover_file *ret,
                             struct cf_error *err)
{
    struct recover_file file = {.count = 0};
    struct json *list;
    if (text.size > TEXT_MAX) {
        return cf_fail(err, CF_INVALID, "the file is larger than 1 MiB");
    }
    cf_status status = json_parse(arena, text, NULL, &list, err);
    if (status != CF_OK) {
        return cf_fail(err, CF_INVALID, "the file is no JSON");
    }
    if (!json_is(list, JSON_ARRAY) || json_count(list) == 0) {
        return cf_fail(err, CF_INVALID, "the file must hold a list of peers: [{\"id\": \"n1\", "
                                        "\"address\": \"host:8201\"}]");
    }
    if (json_count(list) > RECOVER_PEERS_MAX) {
        return cf_fail(err, CF_INVALID, "more than %d peers", RECOVER_PEERS_MAX);
    }
    for (size_t i = 0; i < json_count(list); i++) {
        struct recover_peer *peer = &file.peers[file.count];
        CF_TRY(read_peer(json_item(list, i), i + 1, arena, peer, err));
        for (size_t n = 0; n < file.count; n++) {
            if (strcmp(file.peers[n].address, peer->address) == 0 ||
                (peer->id[0] != '\0' && strcmp(file.peers[n].id, peer->id) == 0)) {
                return cf_fail(err, CF_INVALID, "peer %zu is there twice", i + 1);
            }
        }
        file.count++;
    }
    *ret = file;
    return CF_OK;
}

const struct recover_peer *recover_file_find(const struct recover_file *file, const char *name,
                                             const char *internal_id, const char *address)
{
    for (size_t i = 0; i < file->count; i++) {
        const struct recover_peer *peer = &file->peers[i];
        if (peer->id[0] != '\0' ? strcmp(peer->id, name) == 0 || strcmp(peer->id, internal_id) == 0
                                : strcmp(peer->address, address) == 0) {
            return peer;
        }
    }
    return NULL;
}

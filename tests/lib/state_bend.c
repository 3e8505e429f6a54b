/* tests/lib/state_bend.c
 *
 * A bad controller, or a bug: changes one byte of records in the state of a stopped node, with checksums that are
 * right, so that nothing but a comparison with somebody else's data can find it.
 *     state_bend DATA_DIRECTORY CLASS PREFIX COUNT     CLASS: r or c; names below PREFIX; prints how many
 */
#include <stdio.h>
#include <stdlib.h>

#include "node/base/memory.h"
#include "node/core/key.h"
#include "node/storage/kv.h"

struct bending {
    struct kv *kv;
    uint8_t class;
    struct cf_slice prefix;
    unsigned wanted, bent;
};

static void bend_family(struct bending *bending, struct kv_family *family)
{
    CF_OWNED(kv_batch) batch = kv_batch_new(bending->kv);
    uint8_t from[1] = {bending->class}, to[1] = {(uint8_t)(bending->class + 1)};
    struct kv_range range = {cf_slice_of(from, 1), cf_slice_of(to, 1), false};
    CF_OWNED(kv_iterator) it = kv_iterator_new(kv_now(bending->kv), family, range);
    for (kv_seek_first(it); kv_valid(it) && bending->bent < bending->wanted; kv_next(it)) {
        struct key key;
        uint32_t generation;
        struct cf_slice stored = kv_bytes(it);
        if (!key_decode(kv_key(it), &key, &generation) || !cf_slice_starts(key.name, bending->prefix) ||
            stored.size <= VALUE_HEADER_SIZE) {
            continue;
        }
        CF_BUF(value) = {0};
        cf_buf_add_slice(&value, stored);
        value.data[value.size - 1] ^= 0x40;
        kv_batch_put(batch, family, kv_key(it), cf_buf_slice(&value));
        bending->bent++;
    }
    struct cf_error err = {0};
    if (kv_commit(bending->kv, batch, KV_NO_WAL, &err) != CF_OK || kv_flush(family, &err) != CF_OK) {
        fprintf(stderr, "state_bend: %s %s\n", err.message, err.detail);
        exit(1);
    }
}

static void visit(void *context, const char *name)
{
    struct bending *bending = context;
    struct kv_family *family;
    if (strncmp(name, "state", 5) == 0 && kv_family_open(bending->kv, name, &family, NULL) == CF_OK) {
        bend_family(bending, family);
        kv_family_unref(family);
    }
}

int main(int argc, char **argv)
{
    struct bending bending = {0};
    struct kv_options options = {.must_exist = true};
    struct cf_error err = {0};
    if (argc != 5) {
        fprintf(stderr, "usage: state_bend DATA_DIRECTORY CLASS PREFIX COUNT\n");
        return 2;
    }
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/db", argv[1]);
    if (kv_open(path, &options, &bending.kv, &err) != CF_OK) {
        fprintf(stderr, "state_bend: %s %s\n", err.message, err.detail);
        return 1;
    }
    bending.class = (uint8_t)argv[2][0];
    bending.prefix = cf_slice_str(argv[3]);
    bending.wanted = (unsigned)strtoul(argv[4], NULL, 10);
    kv_family_each(bending.kv, visit, &bending);
    kv_close(bending.kv);
    printf("%u\n", bending.bent);
    return bending.bent == bending.wanted ? 0 : 1;
}

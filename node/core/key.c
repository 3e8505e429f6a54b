/* node/core/key.c: the on-disk form of keys. */
#include "node/core/key.h"

#include "node/base/map.h"

void key_encode(struct cf_buf *to, struct key key, uint32_t generation)
{
    cf_buf_add_byte(to, key.class);
    cf_buf_add_u32(to, generation);
    cf_buf_add_u32(to, key.ns);
    cf_buf_add_slice(to, key.name);
}

bool key_decode(struct cf_slice stored, struct key *ret, uint32_t *ret_generation)
{
    if (stored.size < KEY_HEADER_SIZE || class_number(stored.data[0]) == CLASS_COUNT) {
        return false;
    }
    *ret_generation = cf_get_u32(stored.data + 1);
    *ret = (struct key){.class = stored.data[0],
                        .ns = cf_get_u32(stored.data + 5),
                        .name = cf_slice_from(stored, KEY_HEADER_SIZE)};
    return true;
}

uint64_t key_hash(struct key key)
{
    /* Names are long enough that hashing the rest apart costs less than joining the two. */
    uint64_t hash = cf_hash(key.name);
    return hash ^ ((uint64_t)key.class << 56 | (uint64_t)key.ns << 8) * 0x9e3779b97f4a7c15U;
}

unsigned class_number(uint8_t class)
{
    switch (class) {
    case CLASS_REPLICATED:
        return 0;
    case CLASS_CLUSTER:
        return 1;
    case CLASS_OWN:
        return 2;
    default:
        return CLASS_COUNT;
    }
}

/* consensus/driver/snap_format.h
 *
 * What the chunks of a snapshot hold: records in key order, u32 key size, u32 value size, key,
 * value (big-endian). Each chunk has a CRC-32C; the whole has a sum over its records that does not
 * depend on where chunks begin, so that a resumed transfer is checked as one.
 */
#ifndef COFFER_CONSENSUS_DRIVER_SNAP_FORMAT_H
#define COFFER_CONSENSUS_DRIVER_SNAP_FORMAT_H

#include "consensus/core/entry.h"
#include "node/base/map.h"
#include "node/base/slice.h"

#define SNAP_RECORD_HEADER 8

struct snap_sum {
    uint64_t records, sum;
};

static inline void snap_sum_add(struct snap_sum *sum, struct cf_slice key, struct cf_slice value)
{
    static const uint8_t fixed[16] = "coffer snapshot"; /* no secret: it is a checksum */
    sum->records++;
    sum->sum += cf_siphash(fixed, key) * 3 + cf_siphash(fixed, value) * 5 + key.size;
}

static inline void snap_add_record(struct cf_buf *to, struct cf_slice key, struct cf_slice value)
{
    cf_buf_add_u32(to, (uint32_t)key.size);
    cf_buf_add_u32(to, (uint32_t)value.size);
    cf_buf_add_slice(to, key);
    cf_buf_add_slice(to, value);
}

/* Takes the first record off *data; false when none is complete. */
static inline bool snap_take_record(struct cf_slice *data, struct cf_slice *key,
                                    struct cf_slice *value)
{
    if (data->size < SNAP_RECORD_HEADER) {
        return false;
    }
    size_t key_size = cf_get_u32(data->data), value_size = cf_get_u32(data->data + 4);
    struct cf_slice rest = cf_slice_from(*data, SNAP_RECORD_HEADER);
    if (key_size == 0 || key_size > rest.size || value_size > rest.size - key_size) {
        return false;
    }
    *key = cf_slice_first(rest, key_size);
    *value = cf_slice_first(cf_slice_from(rest, key_size), value_size);
    *data = cf_slice_from(rest, key_size + value_size);
    return true;
}

#endif

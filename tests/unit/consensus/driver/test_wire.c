/* tests/unit/consensus/driver/test_wire.c: frames and snapshot records: there and back, and
 * whatever bytes a peer may send instead. */
#include "consensus/core/raft_int.h"
#include "consensus/driver/snap_format.h"
#include "consensus/driver/wire.h"
#include "node/base/host.h"
#include "test.h"

static struct raft_entry *make(uint64_t index, const char *payload)
{
    struct raft_entry *entry = raft_entry_new(RAFT_ENTRY_DATA, 5, cf_slice_str(payload));
    raft_entry_seal(entry, 3, index);
    return entry;
}

static struct raft_frame append_frame(struct raft_entry **entries, size_t count)
{
    return (struct raft_frame){
        .kind = RAFT_MSG_APPEND,
        .msg = {.from = UINT64_MAX,
                .to = 2,
                .term = 3,
                .flags = 7,
                .log_index = 8,
                .log_term = 2,
                .commit = 7,
                .reject = true,
                .hint_index = 11,
                .hint_term = 12,
                .last_index = 13,
                .round = 14,
                .read_id = {15, 16, 17},
                .acked = {.index = 18, .term = 19},
                .acked_other = {20, 21, 22},
                .entries = entries,
                .entry_count = count},
        .identity = {.cluster_id = "123456789012345", .recovery_epoch = 4},
        .incarnation = 99,
        .features = 1,
        .floor = UINT64_MAX,
        .wall_ns = -5,
    };
}

START_TEST(append_there_and_back)
{
    struct raft_entry *entries[] = {make(9, "one"), make(10, "")};
    struct raft_frame frame = append_frame(entries, 2), back;
    CF_BUF(bytes) = {0};
    raft_wire_pack(&frame, &bytes);
    struct raft_wire_room room;
    ck_ok(raft_wire_unpack(cf_buf_slice(&bytes), &back, &room, NULL));
    ck_assert_uint_eq(back.kind, RAFT_MSG_APPEND);
    ck_assert_uint_eq(back.msg.from, UINT64_MAX);
    ck_assert_uint_eq(back.msg.flags, 7);
    ck_assert_uint_eq(back.msg.log_index, 8);
    ck_assert_uint_eq(back.msg.log_term, 2);
    ck_assert(back.msg.reject);
    ck_assert_uint_eq(back.msg.hint_index, 11);
    ck_assert_uint_eq(back.msg.hint_term, 12);
    ck_assert_uint_eq(back.msg.last_index, 13);
    ck_assert_uint_eq(back.msg.round, 14);
    ck_assert_uint_eq(back.msg.read_id.seq, 17);
    ck_assert_uint_eq(back.msg.acked.index, 18);
    ck_assert_uint_eq(back.msg.acked.term, 19);
    ck_assert_uint_eq(back.msg.acked_other.id, 20);
    ck_assert_uint_eq(back.msg.acked_other.index, 21);
    ck_assert_uint_eq(back.msg.acked_other.term, 22);
    ck_assert_mem_eq(back.identity.cluster_id, "123456789012345", 16);
    ck_assert_uint_eq(back.identity.recovery_epoch, 4);
    ck_assert_uint_eq(back.floor, UINT64_MAX);
    ck_assert_int_eq(back.wall_ns, -5);
    ck_assert_uint_eq(back.msg.entry_count, 2);
    ck_slice(back.msg.entries[0]->payload, "one");
    ck_assert_uint_eq(back.msg.entries[1]->index, 10);
    ck_assert_uint_eq(back.msg.entries[1]->crc32c, entries[1]->crc32c);
    ck_assert_uint_eq(back.msg.entries[0]->flags, 5);
    raft_wire_done(&room);
    raft_entry_unref(entries[0]);
    raft_entry_unref(entries[1]);
}
END_TEST

START_TEST(snapshot_there_and_back)
{
    struct raft_frame frame = {
        .kind = RAFT_FRAME_SNAP_CHUNK,
        .msg = {.from = 1, .to = 2, .term = 3},
        .snap = {.id = 4,
                 .index = 5,
                 .term = 6,
                 .seq = 7,
                 .records = 8,
                 .sum = UINT64_MAX,
                 .bytes = 9,
                 .status = 10,
                 .crc32c = 11,
                 .membership = CF_SLICE("m"),
                 .data = CF_SLICE("data"),
                 .key = CF_SLICE("k")},
    };
    CF_BUF(bytes) = {0};
    raft_wire_pack(&frame, &bytes);
    struct raft_frame back;
    struct raft_wire_room room;
    ck_ok(raft_wire_unpack(cf_buf_slice(&bytes), &back, &room, NULL));
    ck_assert_uint_eq(back.snap.id, 4);
    ck_assert_uint_eq(back.snap.sum, UINT64_MAX);
    ck_assert_uint_eq(back.snap.status, 10);
    ck_slice(back.snap.data, "data");
    ck_slice(back.snap.membership, "m");
    ck_slice(back.snap.key, "k");
    raft_wire_done(&room);
}
END_TEST

/* Every cut and every flipped bit is refused, or read as a frame whose entries have right sums. */
START_TEST(bent_frames)
{
    struct raft_entry *entries[] = {make(9, "payload of the first"), make(10, "and the second")};
    struct raft_frame frame = append_frame(entries, 2), back;
    CF_BUF(bytes) = {0};
    raft_wire_pack(&frame, &bytes);
    struct raft_wire_room room;
    for (size_t size = 0; size <= bytes.size; size++) {
        if (raft_wire_unpack(cf_slice_first(cf_buf_slice(&bytes), size), &back, &room, NULL) ==
            CF_OK) {
            for (size_t i = 0; i < back.msg.entry_count; i++) {
                ck_ok(raft_entry_check(back.msg.entries[i], NULL));
            }
        }
        raft_wire_done(&room);
    }
    for (size_t bit = 0; bit < 8 * bytes.size; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (raft_wire_unpack(cf_buf_slice(&bytes), &back, &room, NULL) == CF_OK) {
            for (size_t i = 0; i < back.msg.entry_count; i++) {
                ck_ok(raft_entry_check(back.msg.entries[i], NULL));
            }
        }
        raft_wire_done(&room);
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    raft_entry_unref(entries[0]);
    raft_entry_unref(entries[1]);
}
END_TEST

START_TEST(random_bytes)
{
    struct cf_prng prng;
    cf_prng_seed(&prng, 11);
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[64];
        size_t size = (size_t)cf_prng_below(&prng, sizeof(bytes));
        for (size_t i = 0; i < size; i++) {
            bytes[i] = (uint8_t)cf_prng_next(&prng);
        }
        struct raft_frame frame;
        struct raft_wire_room room;
        cf_ignore(raft_wire_unpack(cf_slice_of(bytes, size), &frame, &room, NULL),
                  "must merely not crash");
        raft_wire_done(&room);
        struct cf_slice data = cf_slice_of(bytes, size), key, value;
        while (snap_take_record(&data, &key, &value)) {
            ck_assert_uint_gt(key.size, 0);
            ck_assert(key.data + key.size == value.data);
            ck_assert(value.data + value.size <= bytes + size);
        }
    }
}
END_TEST

START_TEST(unknown_kinds)
{
    struct raft_frame frame = {.kind = RAFT_FRAME_KINDS, .msg = {.from = 1, .to = 2}}, back;
    struct raft_wire_room room;
    const uint32_t kinds[] = {0, RAFT_MSG_KINDS, RAFT_FRAME_SNAP_OFFER - 1, RAFT_FRAME_KINDS};
    for (size_t i = 0; i < CF_LENGTH(kinds); i++) {
        frame.kind = kinds[i];
        CF_BUF(bytes) = {0};
        raft_wire_pack(&frame, &bytes);
        ck_status(raft_wire_unpack(cf_buf_slice(&bytes), &back, &room, &(struct cf_error){0}),
                  CF_UNSUPPORTED);
        raft_wire_done(&room);
    }
}
END_TEST

/* The sum of a snapshot depends on its records, not on where chunks begin, and on every byte. */
START_TEST(sums)
{
    struct snap_sum a = {0}, b = {0}, c = {0};
    snap_sum_add(&a, CF_SLICE("k1"), CF_SLICE("v1"));
    snap_sum_add(&a, CF_SLICE("k2"), CF_SLICE("v2"));
    snap_sum_add(&b, CF_SLICE("k2"), CF_SLICE("v2"));
    snap_sum_add(&b, CF_SLICE("k1"), CF_SLICE("v1"));
    ck_assert_uint_eq(a.sum, b.sum);
    snap_sum_add(&c, CF_SLICE("k1"), CF_SLICE("v2"));
    snap_sum_add(&c, CF_SLICE("k2"), CF_SLICE("v2"));
    ck_assert_uint_ne(a.sum, c.sum);
}
END_TEST

TEST_MAIN("consensus/driver/wire", append_there_and_back, snapshot_there_and_back, bent_frames,
          random_bytes, unknown_kinds, sums)

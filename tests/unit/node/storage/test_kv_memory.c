/* tests/unit/node/storage/test_kv_memory.c: the promises of kv.h over the in-memory backend. */
#include "tests/unit/node/storage/suite.h"

#define OVER_MEMORY(name)                                                                          \
    START_TEST(name)                                                                               \
    {                                                                                              \
        CF_OWNED(kv) kv = kv_open_memory();                                                        \
        suite_##name(kv);                                                                          \
    }                                                                                              \
    END_TEST

OVER_MEMORY(points)
OVER_MEMORY(batches)
OVER_MEMORY(iterators)
OVER_MEMORY(snapshots)
OVER_MEMORY(families)
OVER_MEMORY(model)
OVER_MEMORY(race)
OVER_MEMORY(load)

/* Sorted input must not make a deep tree: 200,000 keys, forwards, with a snapshot in between. */
START_TEST(many_keys)
{
    CF_OWNED(kv) kv = kv_open_memory();
    CF_OWNED(kv_family) family = NULL;
    ck_ok(kv_family_create(kv, "many", &family, NULL));
    CF_OWNED(kv_batch) batch = kv_batch_new(kv);
    CF_OWNED(kv_snapshot) half = NULL;
    for (uint64_t i = 1; i <= 200000; i++) {
        uint8_t key[8];
        cf_put_u64(key, i);
        kv_batch_reset(batch);
        kv_batch_put(batch, family, cf_slice_of(key, 8), cf_slice_of(key, 8));
        ck_ok(kv_commit(kv, batch, KV_NO_WAL, NULL));
        if (i == 100000) {
            half = kv_snapshot_new(kv);
        }
    }
    ck_assert_uint_eq(kv_approximate_size(family, CF_SLICE_EMPTY, CF_SLICE_EMPTY), 200000 * 16);
    uint64_t unflushed = 1;
    ck_assert_uint_eq(kv_approximate_keys(family, &unflushed), 200000);
    ck_assert_uint_eq(unflushed, 0);
    CF_OWNED(kv_iterator)
    it = kv_iterator_new((struct kv_view){kv, half}, family, (struct kv_range){0});
    uint64_t want = 0;
    for (kv_seek_first(it); kv_valid(it); kv_next(it)) {
        ck_assert_uint_eq(cf_get_u64(kv_key(it).data), ++want);
    }
    ck_assert_uint_eq(want, 100000);
    ck_ok(kv_delete_bulk(family, CF_SLICE_EMPTY, CF_SLICE_EMPTY, KV_NO_WAL, NULL));
    ck_assert_uint_eq(kv_approximate_size(family, CF_SLICE_EMPTY, CF_SLICE_EMPTY), 0);
    ck_assert_uint_eq(kv_approximate_keys(family, &unflushed), 0);
}
END_TEST

TEST_MAIN("node/storage/kv_memory", points, batches, iterators, snapshots, families, model, race, load,
          many_keys)

/* The request arena: alignment, reset, wiping. */
#include "node/base/arena.h"
#include "test.h"

START_TEST(hands_out_aligned_zeroed_memory)
{
    CF_OWNED(arena) arena = arena_new(256);
    for (size_t size = 1; size < 3000; size += 37) {
        const unsigned char *memory = arena_alloc(arena, size);
        ck_assert_uint_eq((uintptr_t)memory % 16, 0);
        for (size_t i = 0; i < size; i++) {
            ck_assert_uint_eq(memory[i], 0);
        }
    }
}
END_TEST

/* A secret of one request must not be readable in the memory of the next. */
START_TEST(reset_wipes)
{
    CF_OWNED(arena) arena = arena_new(256);
    struct cf_slice copy = arena_copy(arena, CF_SLICE("top secret"));
    ck_assert(arena_used(arena) > 0);
    const uint8_t *where = copy.data;
    arena_reset(arena);
    ck_assert_uint_eq(arena_used(arena), 0);
    uint8_t *again = arena_alloc_raw(arena, 11);
    ck_assert_ptr_eq(again, where);
    ck_assert_uint_eq(again[0], 0);
    ck_assert_str_eq(arena_printf(arena, "%s-%d", "x", 5), "x-5");
}
END_TEST

TEST_MAIN("node/base/arena", hands_out_aligned_zeroed_memory, reset_wipes)

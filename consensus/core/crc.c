/* consensus/core/crc.c: CRC-32C, by the processor's instruction or by tables of eight. */
#include "consensus/core/raft_int.h"

#define POLYNOMIAL 0x82f63b78U /* Castagnoli, reflected: RFC 3720 appendix B.4 */

/* Filled on first use; writing the same values from two threads at once is harmless, but a reader
 * must not see the flag before the tables. */
static uint32_t tables[8][256];
static atomic_bool tables_filled;

static void fill_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? POLYNOMIAL : 0);
        }
        __atomic_store_n(&tables[0][byte], crc, __ATOMIC_RELAXED);
    }
    for (int slice = 1; slice < 8; slice++) {
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t before = __atomic_load_n(&tables[slice - 1][byte], __ATOMIC_RELAXED);
            uint32_t low = __atomic_load_n(&tables[0][before & 0xff], __ATOMIC_RELAXED);
            __atomic_store_n(&tables[slice][byte], (before >> 8) ^ low, __ATOMIC_RELAXED);
        }
    }
    atomic_store_explicit(&tables_filled, true, memory_order_release);
}

static uint32_t crc_by_tables(uint32_t crc, const uint8_t *at, size_t size)
{
    if (!atomic_load_explicit(&tables_filled, memory_order_acquire)) {
        fill_tables();
    }
    for (; size >= 8; at += 8, size -= 8) {
        uint32_t low, high;
        memcpy(&low, at, 4);
        memcpy(&high, at + 4, 4);
        low ^= crc;
        crc = tables[7][low & 0xff] ^ tables[6][low >> 8 & 0xff] ^ tables[5][low >> 16 & 0xff] ^
              tables[4][low >> 24] ^ tables[3][high & 0xff] ^ tables[2][high >> 8 & 0xff] ^
              tables[1][high >> 16 & 0xff] ^ tables[0][high >> 24];
    }
    for (; size > 0; at++, size--) {
        crc = tables[0][(crc ^ *at) & 0xff] ^ (crc >> 8);
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_by_processor(uint32_t crc, const uint8_t *at,
                                                                   size_t size)
{
    uint64_t wide = crc;
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; size > 0; at++, size--) {
        crc = __builtin_ia32_crc32qi(crc, *at);
    }
    return crc;
}
#endif

uint32_t raft_crc32c(uint32_t crc, const void *bytes, size_t size)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) {
        return ~crc_by_processor(~crc, bytes, size);
    }
#endif
    return ~crc_by_tables(~crc, bytes, size);
}

/* For the unit test, which compares both ways. */
uint32_t raft_crc32c_portable(uint32_t crc, const void *bytes, size_t size)
{
    return ~crc_by_tables(~crc, bytes, size);
}

/* Digests, HMAC and HKDF against published vectors. */
#include "hex.h"
#include "node/base/memory.h"
#include "node/crypto/hash.h"
#include "test.h"

/* FIPS 180-4 and FIPS 202: "abc". */
static const struct {
    const char *name, *digest;
} abc[] = {
    {"sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"},
    {"sha2-224", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"},
    {"sha2-256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"sha2-384",
     "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358bae"
     "ca134c825a7"},
    {"sha2-512",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3"
     "c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
    {"sha3-224", "e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf"},
    {"sha3-256", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"},
    {"sha3-384",
     "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f539f1ed"
     "f228376d25"},
    {"sha3-512",
     "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7ec"
     "57647e3934057340b4cf408d5a56592f8274eec53f0"},
};

START_TEST(digests_are_the_published_ones)
{
    CF_OWNED(arena) arena = arena_new(4096);
    ck_assert_uint_eq(CF_LENGTH(abc), HASH_KIND_COUNT);
    for (size_t i = 0; i < CF_LENGTH(abc); i++) {
        enum hash_kind kind;
        uint8_t out[HASH_SIZE_MAX];
        ck_assert(hash_find(cf_slice_str(abc[i].name), &kind));
        ck_assert_str_eq(hash_name(kind), abc[i].name);
        ck_assert_uint_eq(hash_once(kind, CF_SLICE("abc"), out), strlen(abc[i].digest) / 2);
        ck_assert_uint_eq(hash_size(kind), strlen(abc[i].digest) / 2);
        ck_hex(arena, cf_slice_of(out, hash_size(kind)), abc[i].digest);
        CF_OWNED(hash) hash = hash_new(kind);
        for (int again = 0; again < 2; again++) { /* hash_end() starts over */
            hash_add(hash, CF_SLICE("a"));
            hash_add(hash, CF_SLICE_EMPTY);
            hash_add(hash, CF_SLICE("bc"));
            ck_assert_uint_eq(hash_end(hash, out), hash_size(kind));
            ck_hex(arena, cf_slice_of(out, hash_size(kind)), abc[i].digest);
        }
    }
}
END_TEST

START_TEST(knows_no_other_names)
{
    enum hash_kind kind = HASH_SHA512;
    ck_assert(!hash_find(CF_SLICE("sha2-999"), &kind));
    ck_assert(!hash_find(CF_SLICE(""), &kind));
    ck_assert(!hash_find(CF_SLICE("SHA2-256"), &kind));
    ck_assert_int_eq(kind, HASH_SHA512);
}
END_TEST

START_TEST(short_forms_agree)
{
    CF_OWNED(arena) arena = arena_new(4096);
    uint8_t out[32];
    hash_sha256(CF_SLICE_EMPTY, out);
    ck_hex(arena, cf_slice_of(out, 32),
           "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    const struct cf_slice parts[] = {CF_SLICE("ab"), CF_SLICE_EMPTY, CF_SLICE("c")};
    hash_sha256_parts(parts, CF_LENGTH(parts), out);
    ck_hex(arena, cf_slice_of(out, 32), abc[2].digest);
    hash_sha1(CF_SLICE("abc"), out);
    ck_hex(arena, cf_slice_of(out, 20), abc[0].digest);
}
END_TEST

#define AA20 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define DD25 "dddddddddddddddddddddddddddddddddddddddddddddddddd"
#define AA131 AA20 AA20 AA20 AA20 AA20 AA20 "aaaaaaaaaaaaaaaaaaaaaa"

/* RFC 4231 4.2 to 4.8 (SHA-256); 4.6 truncates and is left out. */
static const struct {
    const char *key, *data, *mac;
} hmacs[] = {
    {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
     "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
    {"4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
     "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
    {AA20, DD25 DD25, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
    {"0102030405060708090a0b0c0d0e0f10111213141516171819",
     "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
     "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
     "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
    {AA131,
     "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b"
     "6579204669727374",
     "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
};

START_TEST(hmac_follows_rfc_4231)
{
    CF_OWNED(arena) arena = arena_new(4096);
    for (size_t i = 0; i < CF_LENGTH(hmacs); i++) {
        uint8_t out[32];
        struct cf_slice key = hex(arena, hmacs[i].key), data = hex(arena, hmacs[i].data);
        hash_hmac_sha256(key, data, out);
        ck_hex(arena, cf_slice_of(out, 32), hmacs[i].mac);
        const struct cf_slice parts[] = {cf_slice_first(data, 3), cf_slice_from(data, 3)};
        hash_hmac_sha256_parts(key, parts, 2, out);
        ck_hex(arena, cf_slice_of(out, 32), hmacs[i].mac);
    }
    uint8_t out[64]; /* RFC 4231 4.3 with SHA-512, RFC 2202 case 2 with SHA-1 */
    ck_assert_uint_eq(
        hash_hmac(HASH_SHA512, CF_SLICE("Jefe"), CF_SLICE("what do ya want for nothing?"), out),
        64);
    ck_hex(arena, cf_slice_of(out, 64),
           "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f6"
           "5f8f0"
           "e6fdcaeab1a34d4a6b4b636e070a38bce737");
    ck_assert_uint_eq(
        hash_hmac(HASH_SHA1, CF_SLICE("Jefe"), CF_SLICE("what do ya want for nothing?"), out), 20);
    ck_hex(arena, cf_slice_of(out, 20), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
}
END_TEST

/* RFC 5869 appendix A.1 to A.3. */
static const struct {
    const char *key, *salt, *info, *made;
} hkdfs[] = {
    {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
     "f0f1f2f3f4f5f6f7f8f9",
     "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
    {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2"
     "e"
     "2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
     "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8"
     "e"
     "8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
     "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcddd"
     "e"
     "dfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
     "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590"
     "e"
     "09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"},
    {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
     "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
};

START_TEST(hkdf_follows_rfc_5869)
{
    CF_OWNED(arena) arena = arena_new(4096);
    for (size_t i = 0; i < CF_LENGTH(hkdfs); i++) {
        uint8_t out[128];
        size_t size = strlen(hkdfs[i].made) / 2;
        hash_hkdf_sha256(hex(arena, hkdfs[i].key), hex(arena, hkdfs[i].salt),
                         hex(arena, hkdfs[i].info), out, size);
        ck_hex(arena, cf_slice_of(out, size), hkdfs[i].made);
    }
    uint8_t *most = arena_alloc(arena, HASH_HKDF_MAX);
    uint8_t first[32];
    hash_hkdf_sha256(CF_SLICE("k"), CF_SLICE("s"), CF_SLICE("i"), most, HASH_HKDF_MAX);
    hash_hkdf_sha256(CF_SLICE("k"), CF_SLICE("s"), CF_SLICE("i"), first, sizeof(first));
    ck_assert_int_eq(memcmp(most, first, sizeof(first)), 0);
}
END_TEST

TEST_MAIN("node/crypto/hash", digests_are_the_published_ones, knows_no_other_names,
          short_forms_agree, hmac_follows_rfc_4231, hkdf_follows_rfc_5869)

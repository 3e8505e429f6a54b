/* tests/unit/node/core/test_cidr.c: addresses and networks that tokens are bound to. */
#include "node/base/memory.h"
#include "node/core/cidr.h"
#include "test.h"

START_TEST(what_is_a_network)
{
    static const char *const good[] = {"10.0.0.0/8", "1.2.3.4", "0.0.0.0/0",         "::/0",
                                       "::1/128",    "fe80::1", "::ffff:1.2.3.4/120"};
    static const char *const bad[] = {"",
                                      "10.0.0.0/",
                                      "10.0.0.0/33",
                                      "10.0.0/8",
                                      "::1/129",
                                      "1.2.3.4/-1",
                                      "1.2.3.4/ 8",
                                      "here",
                                      "1.2.3.4/8/",
                                      " 1.2.3.4",
                                      "01.2.3.4.5",
                                      "1.2.3.4/0008",
                                      "1111:2222:3333:4444:5555:6666:7777:8888:9999/1"};
    for (size_t i = 0; i < CF_LENGTH(good); i++) {
        ck_assert_msg(cidr_is_valid(cf_slice_str(good[i])), "%s", good[i]);
    }
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        ck_assert_msg(!cidr_is_valid(cf_slice_str(bad[i])), "%s", bad[i]);
    }
    ck_assert(!cidr_is_valid(cf_slice_of("1.2.3.4\0x", 9)));
}
END_TEST

START_TEST(what_lies_in_one)
{
    static const struct {
        const char *network, *address;
        bool want;
    } cases[] = {{"10.0.0.0/8", "10.255.1.2", true},
                 {"10.0.0.0/8", "11.0.0.0", false},
                 {"10.128.0.0/9", "10.127.255.255", false},
                 {"10.128.0.0/9", "10.128.0.1", true},
                 {"1.2.3.4", "1.2.3.4", true},
                 {"1.2.3.4", "1.2.3.5", false},
                 {"0.0.0.0/0", "9.9.9.9", true},
                 {"0.0.0.0/0", "::1", false},
                 {"::/0", "::1", true},
                 {"::/0", "9.9.9.9", false},
                 {"10.0.0.0/8", "::ffff:10.1.1.1", true},
                 {"fe80::/10", "fe80::1", true},
                 {"fe80::/10", "fec0::1", false},
                 {"10.0.0.0/8", "10.0.0.1/8", false},
                 {"10.0.0.0/8", "", false},
                 {"10.0.0.0/8", "nonsense", false}};
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        struct cf_slice network = cf_slice_str(cases[i].network);
        ck_assert_msg(cidr_contains(&network, 1, cf_slice_str(cases[i].address)) == cases[i].want,
                      "%s in %s", cases[i].address, cases[i].network);
    }
    ck_assert(!cidr_contains(NULL, 0, CF_SLICE("1.2.3.4")));
}
END_TEST

TEST_MAIN("node/core/cidr", what_is_a_network, what_lies_in_one)

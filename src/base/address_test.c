/* SPDX-License-Identifier: Apache-2.0 */
#include "base/address.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct address parse(const char *text) {
    struct address a;
    assert_int_equal(address_parse(text, &a), 0);
    return a;
}

static bool near(const char *a, const char *b, int prefix) {
    struct address x = parse(a), y = parse(b);
    return address_near(&x, &y, prefix);
}

static void test_addresses(void **state) {
    static const char *const bad[] = {"",      "1.2.3", "1.2.3.4.5", "1.2.3.256", "fe80::1%eth0",
                                      "[::1]", "a",     "1.2.3.4/8", ":"};
    struct address a;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(address_parse(bad[i], &a), -EINVAL);
    assert_true(near("2001:db8::7", "2001:DB8:0:0::7", 128));
    assert_false(near("2001:db8::7", "2001:db8::8", 128));
    assert_false(near("1.2.3.4", "::ffff:1.2.3.4", 0));
    a = parse("127.3.2.1");
    assert_true(address_is_loopback(&a));
    a = parse("::1");
    assert_true(address_is_loopback(&a));
    a = parse("10.0.0.1");
    assert_false(address_is_loopback(&a));
}

static void test_networks(void **state) {
    struct address a;
    int prefix;
    assert_int_equal(address_parse_network("192.0.2.7/24", &a, &prefix), 0);
    assert_int_equal(prefix, 24);
    assert_int_equal(address_parse_network("2001:db8::7/64", &a, &prefix), 0);
    static const char *const bad[] = {"192.0.2.7", "192.0.2.7/", "192.0.2.7/33", "192.0.2.7/-1", "192.0.2.7/2x", "x/8"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(address_parse_network(bad[i], &a, &prefix), -EINVAL);
    assert_true(near("192.0.2.7", "192.0.2.200", 24));
    assert_false(near("192.0.2.7", "192.0.3.7", 24));
    assert_true(near("192.0.2.7", "192.0.3.7", 23));
    assert_true(near("10.0.0.1", "203.0.113.9", 0));
    assert_false(near("10.0.0.1", "138.0.0.1", 1));
}

static void test_host(void **state) {
    static const char *const good[] = {"192.0.2.7", "127.0.0.1", "::1", "2001:db8::7", "223.255.255.254"};
    static const char *const bad[] = {"0.0.0.0",         "0.1.2.3", "224.0.0.1", "239.1.2.3",
                                      "255.255.255.255", "::",      "ff02::1"};
    struct address a;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(address_parse(good[i], &a) == 0 && address_is_host(&a));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_true(address_parse(bad[i], &a) == 0 && !address_is_host(&a));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_host), cmocka_unit_test(test_addresses),
                                       cmocka_unit_test(test_networks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

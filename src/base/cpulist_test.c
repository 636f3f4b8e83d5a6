/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cpulist.h"

#include "base/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void round_trip(const char *text, const char *wanted, size_t count) {
    struct cpulist c;
    assert_int_equal(cpulist_parse(text, &c), 0);
    _cleanup_free_ char *got = cpulist_text(&c);
    assert_string_equal(got, wanted);
    assert_int_equal(cpulist_count(&c), count);
}

static void test_good(void **state) {
    round_trip("", "", 0);
    round_trip("\n", "", 0);
    round_trip("0", "0", 1);
    round_trip("0-3,8\n", "0-3,8", 5);
    round_trip("8,0-3", "0-3,8", 5);
    round_trip("0,1,2,4095", "0-2,4095", 4);
    round_trip("0-4095", "0-4095", 4096);
    round_trip("3,3-5,4", "3-5", 3);
}

static void test_bad(void **state) {
    static const char *const texts[] = {"a", "-1", "1-", "1,,2", "1,", ",1", "3-1", "1 2", "0x1", "1-2-3", "1, 2"};
    struct cpulist c = {.bits = {7}};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_int_equal(cpulist_parse(texts[i], &c), -EINVAL);
    assert_int_equal(cpulist_parse("4096", &c), -ERANGE);
    assert_int_equal(cpulist_parse("0-99999999999999999999", &c), -ERANGE);
    assert_int_equal(c.bits[0], 7);
}

static void test_sets(void **state) {
    struct cpulist a, b;
    cpulist_parse("0-3", &a);
    cpulist_parse("2-8", &b);
    assert_false(cpulist_within(&a, &b));
    cpulist_and(&a, &b);
    assert_true(cpulist_within(&a, &b));
    _cleanup_free_ char *text = cpulist_text(&a);
    assert_string_equal(text, "2-3");
    assert_false(cpulist_has(&a, CPULIST_MAX));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad),
                                       cmocka_unit_test(test_sets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

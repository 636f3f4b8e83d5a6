/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "manager/samples_due.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define N 1000

static void test_small_fleet(void **state) {
    int64_t due = 0;
    uint64_t n = 0;
    assert_int_equal(samples_interval(0), 0);
    assert_int_equal(samples_interval(1), 0);
    assert_int_equal(samples_interval(200), 0);
    for (int64_t now = 5000; now < 100000; now += 1990)
        assert_true(sample_is_due(&due, now, 200, &n));
}

/* Each server sends one every two seconds, all within a tenth of one. */
static void test_large_fleet(void **state) {
    int64_t due[N] = {0};
    uint64_t n = 0;
    size_t taken[N] = {0}, most = 0;
    assert_int_equal(samples_interval(N), 10000);
    for (int64_t now = 1000; now < 101000; now += 2000) {
        size_t at_once = 0;
        for (int i = 0; i < N; i++)
            if (sample_is_due(&due[i], now + i / 10, N, &n)) {
                taken[i]++;
                at_once++;
            }
        if (now > 1000 && at_once > most)
            most = at_once;
    }
    assert_int_equal(n, N);
    assert_in_range(most, 180, 220);
    for (int i = 0; i < N; i++)
        assert_in_range(taken[i], 10, 12); /* the first, and one in each ten seconds */
}

static void test_change_of_size(void **state) {
    int64_t due = 0;
    uint64_t n = 8;
    assert_true(sample_is_due(&due, 1000, 10, &n)); /* a small one */
    assert_true(sample_is_due(&due, 3000, 1000, &n));
    assert_false(sample_is_due(&due, 5000, 1000, &n)); /* it has grown */
    assert_true(sample_is_due(&due, 13000, 1000, &n));
    assert_false(sample_is_due(&due, 14000, 1000, &n));
    assert_true(sample_is_due(&due, 15000, 300, &n)); /* due in 8 s, and none is that far any more */
    assert_false(sample_is_due(&due, 17000, 300, &n));
    assert_true(sample_is_due(&due, 18000, 300, &n));
    assert_true(sample_is_due(&due, 500000, 300, &n)); /* after a silence it does not make up for it */
    assert_false(sample_is_due(&due, 502000, 300, &n));
    assert_true(sample_is_due(&due, 503000, 300, &n));
    assert_true(sample_is_due(&due, 503001, 20, &n));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_fleet),
        cmocka_unit_test(test_large_fleet),
        cmocka_unit_test(test_change_of_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

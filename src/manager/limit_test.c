/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/limit.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void test_burst_and_refill(void **state) {
    struct limiter *l = limiter_new(10, 20, 100);
    int wait = 0;
    for (int i = 0; i < 20; i++)
        assert_true(limiter_take(l, "a", 1000, NULL));
    assert_false(limiter_take(l, "a", 1000, &wait));
    assert_int_equal(wait, 1);
    assert_true(limiter_take(l, "b", 1000, NULL)); /* others are not concerned */
    assert_true(limiter_take(l, "a", 1100, NULL)); /* a tenth of a second later: one token */
    assert_false(limiter_take(l, "a", 1100, NULL));
    for (int i = 0; i < 20; i++)
        assert_true(limiter_take(l, "a", 100000, NULL)); /* full again, and no more than full */
    assert_false(limiter_take(l, "a", 100000, NULL));
    limiter_free(l);
}

static void test_slow_rate(void **state) {
    struct limiter *l = limiter_new(10 / 60.0, 10, 100);
    int wait = 0;
    for (int i = 0; i < 10; i++) {
        assert_true(limiter_peek(l, "a", 0, &wait)); /* looking takes nothing */
        assert_true(limiter_peek(l, "a", 0, &wait));
        assert_true(limiter_take(l, "a", 0, NULL));
    }
    assert_false(limiter_peek(l, "a", 0, &wait));
    assert_int_equal(wait, 6);
    assert_true(limiter_peek(l, "a", 6001, &wait));
    limiter_free(l);
}

static void test_given_back(void **state) {
    struct limiter *l = limiter_new(10 / 60.0, 10, 100);
    limiter_give(l, "nobody"); /* who has no bucket has a full one */
    assert_int_equal(limiter_count(l), 0);
    for (int i = 0; i < 100; i++) { /* success costs nothing */
        assert_true(limiter_take(l, "a", 0, NULL));
        limiter_give(l, "a");
    }
    limiter_give(l, "a"); /* and earns nothing */
    for (int i = 0; i < 10; i++)
        assert_true(limiter_take(l, "a", 0, NULL));
    assert_false(limiter_take(l, "a", 0, NULL));
    limiter_free(l);
}

static void test_cap(void **state) {
    struct limiter *l = limiter_new(1, 2, 1000);
    char name[32];
    for (int i = 0; i < 100000; i++) {
        snprintf(name, sizeof name, "client%d", i);
        limiter_take(l, name, 1000 + i / 100, NULL);
        assert_true(limiter_count(l) <= 1000);
    }
    limiter_free(l);
}

static void test_clock_that_goes_back(void **state) {
    struct limiter *l = limiter_new(1, 1, 10);
    assert_true(limiter_take(l, "a", 5000, NULL));
    assert_false(limiter_take(l, "a", 4000, NULL));
    assert_true(limiter_take(l, "a", 5100, NULL));
    limiter_free(l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst_and_refill),     cmocka_unit_test(test_slow_rate),
        cmocka_unit_test(test_given_back),           cmocka_unit_test(test_cap),
        cmocka_unit_test(test_clock_that_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

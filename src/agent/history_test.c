/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/history.h"

#include "base/json.h"
#include "base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define VM "0192aaaa-0000-7000-8000-000000000001"

static json_t *print(const struct history *h, const char *id, enum api_metric_range range, int64_t now) {
    _cleanup_buf_ struct buf out = {0};
    json_t *j = NULL;
    struct api_metric_history parsed;
    history_print(h, id, range, now, &out);
    assert_int_equal(json_parse(out.data, out.len, &j, NULL), 0);
    assert_int_equal(api_metric_history_parse(j, API_PEER, &parsed, NULL), 0);
    api_metric_history_done(&parsed);
    return j;
}

static size_t points(const json_t *j, const char *name) { return json_array_size(json_object_get(j, name)); }
static double point(const json_t *j, const char *name, size_t i) {
    return json_number_value(json_array_get(json_object_get(j, name), i));
}

static void feed(struct history *h, int64_t from, int64_t to, double cpu, double net) {
    for (int64_t t = from; t < to; t += 2)
        history_add(h, VM, t, (double[]){cpu, 1 << 28, 1000, 0, net, net});
}

static void values(void **state) {
    for (double v = 0.001; v < 1e13; v *= 1.37) {
        double back = history_unpack(history_pack(v));
        assert_true(fabs(back - v) <= v / 1000);
    }
    assert_true(history_unpack(history_pack(0)) == 0);
    assert_true(history_unpack(history_pack(-1)) == 0);
    assert_true(history_unpack(history_pack(1e-9)) == 0);
    assert_true(history_unpack(history_pack(1e300)) > 1e13);
    assert_true(isnan(history_unpack(history_pack(NAN))));
    for (int packed = 1; packed < UINT16_MAX; packed++)
        assert_int_equal(history_pack(history_unpack((uint16_t)packed)), packed);
}

static void averages(void **state) {
    struct history *h = history_new();
    history_add(h, VM, 1000, (double[]){1, 100, 0, 0, NAN, NAN});
    history_add(h, VM, 1004, (double[]){2, 100, 0, 0, NAN, NAN});
    history_add(h, VM, 1010, (double[]){5, 100, 0, 0, NAN, NAN});
    _cleanup_json_ json_t *j = print(h, VM, API_METRIC_RANGE_1H, 1012);
    assert_int_equal(json_int(j, "step", 0), 10);
    assert_int_equal(points(j, "times"), 1); /* what is being added up is not shown */
    assert_true(point(j, "cpu", 0) == 1.5);
    assert_true(point(j, "times", 0) == 1000);
    assert_int_equal(points(j, "memory"), 1);
    assert_int_equal(points(j, "net_send"), 0); /* not known */
    _cleanup_json_ json_t *none = print(h, "another", API_METRIC_RANGE_24H, 1012);
    assert_int_equal(points(none, "times"), 0);
    history_free(h);
}

static void rings(void **state) {
    struct history *h = history_new();
    int64_t begin = 1000000 * 120;
    feed(h, begin, begin + 26 * 3600, 0.5, NAN);
    int64_t now = begin + 26 * 3600;
    _cleanup_json_ json_t *hour = print(h, VM, API_METRIC_RANGE_1H, now),
                          *day = print(h, VM, API_METRIC_RANGE_24H, now);
    assert_int_equal(points(hour, "times"), 359); /* the last one is being added up */
    assert_int_equal(points(hour, "cpu"), 359);
    assert_int_equal(points(day, "times"), 719);
    assert_int_equal(json_int(day, "step", 0), 120);
    for (size_t i = 1; i < 359; i++)
        assert_true(point(hour, "times", i) == point(hour, "times", i - 1) + 10);
    /* Away for ten minutes, then with a network. */
    feed(h, now + 600, now + 700, 2, 77);
    _cleanup_json_ json_t *gap = print(h, VM, API_METRIC_RANGE_1H, now + 700);
    size_t n = points(gap, "times");
    assert_true(n < 320 && n > 290);
    assert_int_equal(points(gap, "net_send"), n);
    assert_true(point(gap, "net_send", 0) == 0 && fabs(point(gap, "net_send", n - 1) - 77) < 0.1);
    /* Two days later nothing of it is shown, and then it goes. */
    _cleanup_json_ json_t *old = print(h, VM, API_METRIC_RANGE_24H, now + 200000);
    assert_int_equal(points(old, "times"), 0);
    history_trim(h, now + 200000);
    _cleanup_buf_ struct buf saved = {0};
    history_save(h, &saved);
    assert_int_equal(saved.len, 8);
    history_free(h);
}

static void clock_goes_back(void **state) {
    struct history *h = history_new();
    feed(h, 5000000, 5001000, 1, NAN);
    feed(h, 4000000, 4001000, 2, NAN);
    _cleanup_json_ json_t *j = print(h, VM, API_METRIC_RANGE_1H, 4001000);
    assert_in_range(points(j, "times"), 98, 100);
    assert_true(point(j, "cpu", 5) == 2);
    feed(h, -100, 0, 2, NAN);
    history_free(h);
}

static void saved(void **state) {
    struct history *h = history_new(), *again = history_new();
    int64_t begin = 2000000 * 120;
    feed(h, begin, begin + 5000, 0.25, 10);
    history_add(h, "", begin, (double[]){1, 2, 3, 4, 5, 6});
    history_add(h, "", begin + 500, (double[]){1, 2, 3, 4, 5, 6});
    _cleanup_buf_ struct buf file = {0};
    history_save(h, &file);
    history_load(again, file.data, file.len);
    history_trim(again, begin + 5000);
    for (int range = 0; range < 2; range++) {
        _cleanup_json_ json_t *a = print(h, VM, (enum api_metric_range)range, begin + 5000),
                              *b = print(again, VM, (enum api_metric_range)range, begin + 5000);
        assert_true(points(a, "times") > 30);
        assert_true(json_equal(a, b));
    }
    feed(again, begin + 5000, begin + 9000, 0.25, 10); /* and it goes on */
    _cleanup_json_ json_t *on = print(again, VM, API_METRIC_RANGE_1H, begin + 9000);
    assert_in_range(points(on, "times"), 355, 360);
    struct history *young = history_new(), *reread = history_new();
    feed(young, begin, begin + 60, 1, 1); /* nothing for the day yet */
    _cleanup_buf_ struct buf small = {0};
    history_save(young, &small);
    history_load(reread, small.data, small.len);
    history_trim(reread, begin + 60);
    _cleanup_json_ json_t *few = print(reread, VM, API_METRIC_RANGE_1H, begin + 60);
    assert_int_equal(points(few, "times"), 5);
    history_free(young);
    history_free(reread);
    /* Cut anywhere and broken anywhere it is no harm. */
    for (size_t len = 0; len < file.len; len += 97) {
        struct history *cut = history_new();
        char *copy = xmemdup(file.data, len ? len : 1);
        history_load(cut, copy, len);
        free(copy);
        history_free(cut);
    }
    for (size_t at = 0; at < 200 && at < file.len; at++) {
        struct history *broken = history_new();
        char *copy = xmemdup(file.data, file.len);
        copy[at] = (char)0xff;
        history_load(broken, copy, file.len);
        __attribute__((unused)) _cleanup_json_ json_t *j = print(broken, VM, API_METRIC_RANGE_1H, begin + 5000);
        free(copy);
        history_free(broken);
    }
    history_free(h);
    history_free(again);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),          cmocka_unit_test(averages), cmocka_unit_test(rings),
        cmocka_unit_test(clock_goes_back), cmocka_unit_test(saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

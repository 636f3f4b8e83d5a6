/* SPDX-License-Identifier: Apache-2.0 */
#include "base/units.h"

#include "base/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void test_seconds(void **state) {
    static const struct {
        const char *text;
        int64_t seconds;
        const char *shown;
    } good[] = {{"0", 0, "0 s"},       {"90", 90, "90 s"},      {"90s", 90, "90 s"},      {"10m", 600, "10 min"},
                {"2h", 7200, "2 h"},   {"2 h", 7200, "2 h"},    {"7d", 604800, "7 d"},    {"36h", 129600, "36 h"},
                {"15min", 900, "15 min"}};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int64_t n = -1;
        char text[SECONDS_TEXT_MAX];
        assert_int_equal(seconds_parse(good[i].text, &n), 0);
        assert_true(n == good[i].seconds);
        assert_string_equal(seconds_format(n, text), good[i].shown);
    }
    static const char *const bad[] = {"", "h", "-1", "1.5h", "1w", "1 hour", "2hh", " 1", "0x10"};
    int64_t n = 7;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(seconds_parse(bad[i], &n), -EINVAL);
    assert_int_equal(seconds_parse("9223372036854775807d", &n), -ERANGE);
    assert_int_equal(seconds_parse("99999999999999999999", &n), -ERANGE);
    assert_int_equal(n, 7);
}

static void test_size_parse(void **state) {
    static const struct {
        const char *text;
        int64_t bytes;
    } good[] = {
        {"0", 0},
        {"1048576", 1048576},
        {"256MiB", 256LL << 20},
        {"256M", 256LL << 20},
        {"256mb", 256LL << 20},
        {"10G", 10LL << 30},
        {"1.5GiB", 3LL << 29},
        {"0.5K", 512},
        {"1 TiB", 1LL << 40},
        {"7P", 7LL << 50},
        {"512B", 512},
        {"1.0", 1},
        {"9223372036854775807", INT64_MAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int64_t n = -1;
        assert_int_equal(size_parse(good[i].text, &n), 0);
        assert_true(n == good[i].bytes);
    }
    static const struct {
        const char *text;
        int error;
    } bad[] = {
        {"", -EINVAL},         {"M", -EINVAL},
        {"-1", -EINVAL},       {"+1", -EINVAL},
        {" 1", -EINVAL},       {"1X", -EINVAL},
        {"1MM", -EINVAL},      {"1M ", -EINVAL},
        {"1.M", -EINVAL},      {"1.5", -EINVAL},
        {"0x10", -EINVAL},     {"1e3", -EINVAL},
        {"1,5G", -EINVAL},     {"9223372036854775808", -ERANGE},
        {"9999999P", -ERANGE}, {"8192P", -ERANGE},
        {"1GiBx", -EINVAL},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t n = 77;
        assert_int_equal(size_parse(bad[i].text, &n), bad[i].error);
        assert_true(n == 77);
    }
}

static void test_size_format(void **state) {
    static const struct {
        int64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1 KiB"},
        {1536, "1.5 KiB"},
        {256LL << 20, "256 MiB"},
        {3LL << 29, "1.5 GiB"},
        {10LL << 40, "10 TiB"},
        {INT64_MAX, "8192 PiB"},
    };
    char buf[SIZE_TEXT_MAX];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(size_format(cases[i].bytes, buf), cases[i].text);
    for (int64_t n = 1; n > 0 && n < INT64_MAX / 3; n = n * 3 + 1) { /* what is shown can be given back */
        int64_t back;
        assert_int_equal(size_parse(size_format(n, buf), &back), 0);
        assert_true(back >= n - n / 10 && back <= n + n / 10);
    }
    size_format(INT64_MIN, buf);
}

static void test_time(void **state) {
    char buf[TIME_TEXT_MAX];
    int64_t ms;
    assert_string_equal(time_format(0, buf), "1970-01-01T00:00:00.000Z");
    assert_string_equal(time_format(1795228200123LL, buf), "2026-11-21T02:30:00.123Z");
    assert_string_equal(time_format(951782399999LL, buf), "2000-02-28T23:59:59.999Z");
    assert_string_equal(time_format(951782400000LL, buf), "2000-02-29T00:00:00.000Z");
    assert_string_equal(time_format(253402300799999LL, buf), "9999-12-31T23:59:59.999Z");
    assert_string_equal(time_format(-1, buf), "1970-01-01T00:00:00.000Z");
    for (int64_t t = 0; t < 253402300799999LL; t += 86399999 * 37LL) {
        assert_int_equal(time_parse(time_format(t, buf), &ms), 0);
        assert_true(ms == t);
    }
    assert_int_equal(time_parse("2026-11-21T02:30:00Z", &ms), 0);
    assert_true(ms == 1795228200000LL);
    assert_int_equal(time_parse("2024-02-29T00:00:00.5Z", &ms), 0);
    assert_true(ms % 1000 == 500);
    assert_int_equal(time_parse("2026-11-21T02:30:00.123456789Z", &ms), 0);
    assert_true(ms == 1795228200123LL);
    static const char *const bad[] = {
        "",
        "2026-11-21",
        "2026-11-21T02:30:00",
        "2026-11-21T02:30:00+01:00",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-32T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z",
        "2026-01-01 00:00:00Z",
        "1969-12-31T23:59:59Z",
        "2026-01-01T 1:00:00Z",
        "2026-01-01T00:00:00.Z",
        "2026-1-01T00:00:00Z",
        "+026-01-01T00:00:00Z",
        "2026-01-01T-1:00:00Z",
        "2026-01-01T00:00:00ZZ",
        "2026-01-01T00:00:00.1x",
        "12026-01-01T00:00:00Z",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (time_parse(bad[i], &ms) != -EINVAL)
            fail_msg("%s is taken for a time", bad[i]);
}

static void test_skew(void **state) {
    char buf[SKEW_TEXT_MAX];
    assert_string_equal(skew_format(-3660000, buf), "61 min behind");
    assert_string_equal(skew_format(3600000, buf), "60 min ahead of");
    assert_string_equal(skew_format(-3 * 3600000, buf), "3 hours behind");
    assert_string_equal(skew_format(5 * 86400000LL, buf), "5 days ahead of");
    assert_string_equal(skew_format(90000, buf), "90 s ahead of");
    assert_string_equal(skew_format(0, buf), "0 s ahead of");
    skew_format(INT64_MIN, buf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_skew),
        cmocka_unit_test(test_size_parse),
        cmocka_unit_test(test_seconds),
        cmocka_unit_test(test_size_format),
        cmocka_unit_test(test_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

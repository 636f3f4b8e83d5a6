/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include "base/buf.h"
#include "base/id.h"
#include "base/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void expect_refused(const char *text, size_t len, enum error_code code) {
    struct error e = ERROR_INIT;
    json_t *j = NULL;
    assert_true(json_parse(text, len, &j, &e) < 0);
    assert_null(j);
    assert_int_equal(e.code, code);
    assert_non_null(e.message);
    error_done(&e);
}

static void test_refusals(void **state) {
    static const char *const bad[] = {
        "",
        "{",
        "{} x",
        "{}{}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":}",
        "{'a':1}",
        "{\"a\":1,}",
        "[1,]",
        "[01]",
        "[1e999]",
        "[99999999999999999999]",
        "[\"\\u0000\"]",
        "[\"\\ud800\"]",
        "[\"\xff\"]",
        "[\"\xc0\x80\"]",
        "[\"a\nb\"]",
        "nul",
        "\"string\"",
        "7",
        "[NaN]",
        "\xef\xbb\xbf{}",
        "[tru]",
        "{\"a\" 1}",
        "[\"\\x\"]",
        "/* c */ {}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect_refused(bad[i], strlen(bad[i]), ERR_INVALID);
    expect_refused("[1]\0", 4, ERR_INVALID);
    expect_refused("[\"a\0b\"]", 7, ERR_INVALID);
}

static void test_depth(void **state) {
    char text[30000];
    for (int depth = 1; depth < 10000; depth += depth < 70 ? 1 : 1111) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        if (depth > JSON_MAX_DEPTH) {
            expect_refused(text, 2 * (size_t)depth, ERR_TOO_LARGE);
        } else {
            json_t *j;
            assert_int_equal(json_parse(text, 2 * (size_t)depth, &j, NULL), 0);
            json_decref(j);
        }
    }
    memset(text, '[', 10000); /* never closed */
    expect_refused(text, 10000, ERR_TOO_LARGE);
    /* Brackets inside strings do not count. */
    memset(text, '[', 200);
    text[1] = '"';
    memcpy(text + 198, "\"]", 2);
    json_t *j;
    assert_int_equal(json_parse(text, 200, &j, NULL), 0);
    json_decref(j);
    static const char escaped[] = "[\"\\\\\", \"\\\"[[[[\"]";
    assert_int_equal(json_parse(escaped, sizeof escaped - 1, &j, NULL), 0);
    json_decref(j);
}

static void test_accessors(void **state) {
    struct error e = ERROR_INIT;
    static const char text[] = "{\"s\":\"x\",\"i\":9007199254740993,\"r\":1.5,\"b\":true,\"n\":null,\"a\":[]}";
    _cleanup_json_ json_t *j = NULL;
    assert_int_equal(json_parse(text, sizeof text - 1, &j, &e), 0);
    assert_string_equal(json_str(j, "s"), "x");
    assert_string_equal(json_str(j, "i"), "");
    assert_string_equal(json_str(NULL, "i"), "");
    assert_true(json_int(j, "i", 0) == 9007199254740993LL);
    assert_int_equal(json_int(j, "r", 5), 5);
    assert_int_equal(json_int(j, "missing", 5), 5);
    assert_true(json_num(j, "r", 0) == 1.5);
    assert_true(json_num(j, "n", 2) == 2);
    assert_true(json_bool(j, "b", false));
    assert_true(json_bool(j, "s", true));
    json_set_str(j, "s", NULL);
    json_set_int(j, "i", -1);
    char *out = json_text(j);
    assert_string_equal(out, "{\"s\":\"\",\"i\":-1,\"r\":1.5,\"b\":true,\"n\":null,\"a\":[]}");
    free(out);
}

/* The examples of RFC 7396, appendix A. */
static void test_merge_patch(void **state) {
    static const char *const cases[][3] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
        {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
        {"{\"a\":\"foo\"}", "null", "null"},
        {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
        {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
        {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *target = json_loads(cases[i][0], JSON_DECODE_ANY, NULL);
        json_t *patch = json_loads(cases[i][1], JSON_DECODE_ANY, NULL);
        json_t *want = json_loads(cases[i][2], JSON_DECODE_ANY, NULL);
        json_t *got = json_merge_patch(target, patch);
        assert_true(json_equal(got, want));
        json_decref(target);
        json_decref(patch);
        json_decref(want);
        json_decref(got);
    }
}

static void test_tame(void **state) {
    struct buf text = {0};
    json_t *j = NULL;
    buf_adds(&text, "{\"a\":[\"x\\u001b[31m\\ny\",9223372036854775807,-9223372036854775807,1e300,-1e300,7,\"z");
    for (size_t i = 0; i < JSON_TAME_TEXT / 2 + 10; i++)
        buf_adds(&text, "\xc3\xa4");
    buf_adds(&text, "\"]}");
    assert_int_equal(json_parse(text.data, text.len, &j, NULL), 0);
    buf_done(&text);
    json_tame(j);
    const json_t *a = json_object_get(j, "a");
    assert_string_equal(json_string_value(json_array_get(a, 0)), "x?[31m\ny");
    assert_int_equal(json_integer_value(json_array_get(a, 1)), JSON_TAME_NUMBER);
    assert_int_equal(json_integer_value(json_array_get(a, 2)), -JSON_TAME_NUMBER);
    assert_true(json_real_value(json_array_get(a, 3)) == (double)JSON_TAME_NUMBER);
    assert_true(json_real_value(json_array_get(a, 4)) == -(double)JSON_TAME_NUMBER);
    assert_int_equal(json_integer_value(json_array_get(a, 5)), 7);
    /* "z" and characters of two bytes: the last whole one ends before the limit. */
    assert_int_equal(json_string_length(json_array_get(a, 6)), JSON_TAME_TEXT - 1);
    assert_true(utf8_valid(json_string_value(json_array_get(a, 6))));
    json_decref(j);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tame),      cmocka_unit_test(test_refusals),    cmocka_unit_test(test_depth),
        cmocka_unit_test(test_accessors), cmocka_unit_test(test_merge_patch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text.h"

#include "base/mem.h"
#include "base/units.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "cli/yaml.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void expect_safe(const char *in, const char *out) {
    char *s = text_safe(in);
    assert_string_equal(s, out);
    free(s);
}

static void escapes(void **state) {
    expect_safe("hello", "hello");
    expect_safe("\033[31mred\033[0m", "\\x1b[31mred\\x1b[0m");
    expect_safe("a\nb\tc\rd\x7f", "a\\nb\\tc\\rd\\x7f");
    expect_safe("\xc2\x9b"
                "31m",
                "\\u009b31m"); /* C1: some terminals take it for ESC [ */
    expect_safe("a\xff\xc3", "a\\xff\\xc3");
    expect_safe("\xe2\x80\xae"
                "gnp.exe",
                "\\u202egnp.exe"); /* right-to-left override */
    expect_safe("服务器", "服务器");
    expect_safe("\xf3\xa0\x80\x81", "\\U000e0001"); /* a tag character */
    expect_safe("\xc0\xaf", "\\xc0\\xaf");          /* overlong */
    expect_safe("\xed\xa0\x80", "\\xed\\xa0\\x80"); /* a surrogate */
    char *lines = text_safe_lines("a\n\tb\033c");
    assert_string_equal(lines, "a\n\tb\\x1bc");
    free(lines);
}

static void escapes_json(void **state) {
    struct buf b = {0};
    static const char in[] = "\"a\xc2\x9b\xe2\x80\xae\x7f\xf3\xa0\x80\x81\xe4\xb8\xad\"";
    text_escape_json(&b, in, sizeof in - 1);
    assert_string_equal(b.data, "\"a\\u009b\\u202e\\u007f\\udb40\\udc01\xe4\xb8\xad\"");
    json_t *was = json_loads(in, JSON_DECODE_ANY, NULL), *is = json_loads(b.data, JSON_DECODE_ANY, NULL);
    assert_non_null(was);
    assert_true(json_equal(was, is));
    json_decref(was);
    json_decref(is);
    buf_done(&b);
}

static void widths(void **state) {
    assert_int_equal(text_width("abc"), 3);
    assert_int_equal(text_width("服务器"), 6);
    assert_int_equal(text_width("e\xcc\x81"), 1); /* a combining accent */
    struct buf b = {0};
    assert_int_equal(text_fit(&b, "服务器一号", 7), 7);
    assert_string_equal(b.data, "服务器…");
    buf_done(&b);
    assert_int_equal(text_fit(&b, "服务器一号", 6), 5); /* half a character does not fit */
    assert_string_equal(b.data, "服务…");
    buf_done(&b);
    text_wrap(&b, "one two three four five six seven", 4, 24);
    assert_string_equal(b.data, "one two three four\n    five six seven");
    buf_done(&b);
}

static void nearest(void **state) {
    static const char *const words[] = {"memory", "machine", "start", "cpus", "console"};
    assert_string_equal(text_nearest("memroy", words, 5), "memory");
    assert_string_equal(text_nearest("Memory", words, 5), "memory");
    assert_string_equal(text_nearest("cons", words, 5), "console");
    assert_string_equal(text_nearest("cpu", words, 5), "cpus");
    assert_null(text_nearest("xyzzy", words, 5));
    assert_null(text_nearest("a", words, 5));
    char *long_word = xmalloc(100000);
    memset(long_word, 'm', 99999);
    long_word[99999] = 0;
    assert_null(text_nearest(long_word, words, 5));
    free(long_word);
}

static char *table_text(size_t width, bool colour) {
    struct table *t = table_new();
    table_column(t, "NAME", TABLE_LEFT);
    table_column(t, "MEMORY", TABLE_RIGHT);
    table_column(t, "STATE", TABLE_LEFT);
    table_cell(t, "网页", NULL);
    table_cell(t, "256 MiB", NULL);
    table_cell(t, "running", "32");
    table_cell(t, "a\033[2Jb", NULL);
    table_cell(t, "1.5 GiB", NULL);
    table_cell(t, "", NULL);
    struct buf b = {0};
    table_print(t, &b, width, colour);
    table_free(t);
    return buf_take(&b);
}

static void narrow_table(size_t width, const char *wanted) {
    struct table *t = table_new();
    static const char *const cells[] = {"one", "-", "a long reason", "-", "two", "-", "short", "-"};
    struct buf b = {0};
    table_column(t, "NAME", TABLE_LEFT);
    table_column(t, "CLEARED", TABLE_LEFT);
    table_column(t, "WHY", TABLE_LEFT);
    table_column(t, "BY", TABLE_RIGHT);
    for (size_t i = 0; i < ARRAY_LEN(cells); i++)
        table_cell(t, cells[i], NULL);
    table_print(t, &b, width, false);
    table_free(t);
    assert_string_equal(b.data, wanted);
    buf_done(&b);
}

/* Columns with nothing in them go first, and only as many as it takes. */
static void narrow_tables(void **state) {
    narrow_table(
        0, "NAME  CLEARED  WHY            BY\none   -        a long reason   -\ntwo   -        short           -\n");
    narrow_table(30, "NAME  CLEARED  WHY\none   -        a long reason\ntwo   -        short\n");
    narrow_table(20, "NAME  WHY\none   a long reason\ntwo   short\n");
    narrow_table(16, "NAME  WHY\none   a long re…\ntwo   short\n");
}

static void tables(void **state) {
    char *s = table_text(0, false);
    assert_string_equal(s, "NAME        MEMORY  STATE\n"
                           "网页       256 MiB  running\n"
                           "a\\x1b[2Jb  1.5 GiB\n");
    free(s);
    s = table_text(25, true);
    assert_non_null(strstr(s, "\033[32mrunning\033[0m"));
    assert_non_null(strstr(s, "a\\x1b[2…"));
    assert_null(strstr(s, "\033[2J"));
    free(s);
}

static char *yaml_of(const char *json) {
    json_t *j = json_loads(json, JSON_DECODE_ANY, NULL);
    assert_non_null(j);
    struct buf b = {0};
    yaml_print(&b, j);
    json_decref(j);
    return buf_take(&b);
}

static void yaml_words(void **state) {
    static const char *const plain[] = {"hello", "web-1", "a b", "qemu.7", "x/y", "a@b"};
    static const char *const quoted[] = {"",     "true", "No",    "null", "12",     "1.5", "2026-11-21", "a: b",
                                         "a #b", "- a",  "a,b",   "[a]",  "{a}",    "&a",  "*a",         "!a",
                                         "a ",   " a",   "a\nb",  "~",    "0x10",   "off", "y",          "=",
                                         "a:b",  "'a'",  "\"a\"", "%a",   "服务器", "a  b"};
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        assert_true(yaml_plain(plain[i]));
    for (size_t i = 0; i < ARRAY_LEN(quoted); i++)
        if (yaml_plain(quoted[i]))
            fail_msg("%s is not plain", quoted[i]);
}

static void yaml_blocks(void **state) {
    char *s =
        yaml_of("{\"name\":\"hello\",\"empty\":\"\",\"n\":12,\"ok\":true,\"none\":null,\"tags\":[],\"o\":{},"
                "\"disks\":[{\"size\":1,\"bus\":\"sata\"},{\"size\":2}],\"deep\":[[1,\"2\"],[]],\"text\":\"a\\nb\"}");
    assert_string_equal(s, "name: hello\nempty: \"\"\n\"n\": 12\nok: true\nnone: null\ntags: []\no: {}\n"
                           "disks:\n  - size: 1\n    bus: sata\n  - size: 2\n"
                           "deep:\n  - - 1\n    - \"2\"\n  - []\ntext: \"a\\nb\"\n");
    free(s);
    s = yaml_of("[]");
    assert_string_equal(s, "[]\n");
    free(s);
    s = yaml_of("{\"\\u001b[31m\":\"\\u009b\"}");
    assert_string_equal(s, "\"\\u001B[31m\": \"\\u009b\"\n");
    free(s);
}

int main(void) {
    text_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escapes),    cmocka_unit_test(escapes_json), cmocka_unit_test(widths),
        cmocka_unit_test(nearest),    cmocka_unit_test(tables),       cmocka_unit_test(narrow_tables),
        cmocka_unit_test(yaml_words), cmocka_unit_test(yaml_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/id.h"

#include "base/map.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void test_uuid(void **state) {
    struct idgen g, same, zero;
    idgen_init(&g, (uint64_t[4]){1, 2, 3, 4});
    idgen_init(&same, (uint64_t[4]){1, 2, 3, 4});
    idgen_init(&zero, (uint64_t[4]){0, 0, 0, 0});
    assert_true(idgen_next(&zero) != idgen_next(&zero) || idgen_next(&zero) != 0);
    char id[UUID_LEN + 1], other[UUID_LEN + 1], before[UUID_LEN + 1] = "";
    struct map seen = {0};
    for (int i = 0; i < 20000; i++) {
        int64_t ms = 1795219200000LL + i;
        uuid_make(&g, ms, id);
        uuid_make(&same, ms, other);
        assert_string_equal(id, other); /* the seed decides */
        assert_true(uuid_valid(id));
        assert_int_equal(id[14], '7');
        assert_non_null(strchr("89ab", id[19]));
        assert_true(strcmp(before, id) < 0); /* later sorts behind */
        assert_null(map_put(&seen, id, id));
        memcpy(before, id, sizeof id);
    }
    map_done(&seen);
    uuid_make(&g, 0x0123456789abLL, id);
    assert_memory_equal(id, "01234567-89ab-7", 15);
    assert_false(uuid_valid(NULL));
    assert_false(uuid_valid(""));
    assert_false(uuid_valid("01234567-89AB-7123-8123-0123456789ab"));
    assert_false(uuid_valid("01234567-89ab-7123-8123-0123456789a"));
    assert_false(uuid_valid("01234567-89ab-7123-8123-0123456789abc"));
    assert_false(uuid_valid("01234567089ab-7123-8123-0123456789ab"));
    assert_true(uuid_valid("01234567-89ab-7123-8123-0123456789ab"));
}

static void test_labels(void **state) {
    static const char *const good[] = {"debian 12 (copy).iso", "Ärger.iso", "映像.qcow2", "می\u200cخواهم.img",
                                       "a/b\\c"};
    static const char *const bad[] = {"a\nb",     "a\tb",     "a\x7f",   "a\xc2\x85", "gpj.\u202eexe",
                                      "a\u2066b", "a\u200bb", "a\ufeff", "a\u2028b",  "\xff"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (label_problem(good[i]))
            fail_msg("\"%s\" %s", good[i], label_problem(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (!label_problem(bad[i]))
            fail_msg("number %zu is taken", i);
}

static void test_names(void **state) {
    static const char *const good[] = {"a",    "web-1", "Web server 2", "a.b_c",   "数据库",          "Größe",
                                       "база", "1",     "vm 数 1",      "données", "\xf0\xa0\x80\x80"};
    static const char *const bad[] = {
        "",
        " a",
        "a ",
        "a  b",
        "-a",
        "a-",
        ".a",
        "a..b",
        "a/b",
        "a\\b",
        "<b>",
        "a&b",
        "a\"b",
        "a'b",
        "a\nb",
        "a\x7f",
        "a\tb",
        "a:b",
        "a,b",
        "a;b",
        "a$b",
        "a%b",
        "a*b",
        "a@b",
        "\xff",
        "a\xc3",
        "\xc0\xaf",
        "\xed\xa0\x80",
        "\xf4\x90\x80\x80",
        "01234567-89ab-7123-8123-0123456789ab",
        "a\xe2\x80\xae"
        "b" /* right-to-left override */,
        "a\xe2\x80\x8b"
        "b" /* zero width space */,
        "a\xc2\xa0"
        "b" /* no-break space */,
        "a\xef\xbb\xbf"
        "b",
        "..",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (name_problem(good[i]))
            fail_msg("\"%s\" %s", good[i], name_problem(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (!name_problem(bad[i]))
            fail_msg("\"%s\" is taken for a name", bad[i]);
    char name[400];
    memset(name, 'n', sizeof name);
    name[128] = 0;
    assert_null(name_problem(name));
    name[128] = 'n';
    name[129] = 0;
    assert_non_null(name_problem(name));
    name[128] = 'n';
    name[300] = 0;
    memset(name, 'n', 300);
    assert_string_equal(name_problem(name), "is longer than 128 bytes");
}

static void test_paths(void **state) {
    static const char *const good[] = {"/", "/a", "/a/b.c", "/var/lib/tarn", "/a/...", "/a/.b", "/数", "/a b"};
    static const char *const bad[] = {"",   "a",      "./a",  "/..",    "/a/..", "/a/../b",
                                      "/.", "/a/./b", "/a\n", "/a\x7f", "/\xff"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_null(path_problem(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_non_null(path_problem(bad[i]));
}

static void test_macs(void **state) {
    assert_null(mac_problem("52:54:00:12:34:56"));
    assert_null(mac_problem("fe:FF:aA:00:00:00"));
    static const char *const bad[] = {"",
                                      "52:54:00:12:34",
                                      "52:54:00:12:34:5g",
                                      "52-54-00-12-34-56",
                                      "525400123456",
                                      "52:54:00:12:34:567",
                                      "01:00:5e:00:00:01",
                                      "ff:ff:ff:ff:ff:ff",
                                      "52:54:00:12:34: 6"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_non_null(mac_problem(bad[i]));
}

static void test_utf8(void **state) {
    assert_true(utf8_valid(""));
    assert_true(utf8_valid("\xc2\x80 \xdf\xbf \xe0\xa0\x80 \xef\xbf\xbf \xf0\x90\x80\x80 \xf4\x8f\xbf\xbf"));
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf8\x88\x80\x80\x80",
                                      "\xe4\xb8",
                                      "\xc3",
                                      "\xfe",
                                      "\xf1\x80\x80"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(utf8_valid(bad[i]));
}

static void test_path_overlaps(void **state) {
    static const struct {
        const char *a, *b;
        bool overlap;
    } cases[] = {{"/srv/a", "/srv/a", true},   {"/srv/a", "/srv//a/", true},  {"/srv/a", "/srv/a/b/c", true},
                 {"/srv/a/b", "/srv/a", true}, {"/srv/a", "/srv/ab", false},  {"/srv/a", "/srv/b/a", false},
                 {"/", "/srv", true},          {"/srv/ab/c", "/srv/a", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(path_overlaps(cases[i].a, cases[i].b), cases[i].overlap);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path_overlaps), cmocka_unit_test(test_uuid),  cmocka_unit_test(test_labels),
        cmocka_unit_test(test_names),         cmocka_unit_test(test_paths), cmocka_unit_test(test_macs),
        cmocka_unit_test(test_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/parse.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void test_decimal(void **state) {
    int64_t v = -7;
    assert_int_equal(decimal_parse("0", &v), 0);
    assert_int_equal(v, 0);
    assert_int_equal(decimal_parse("999999999999999999", &v), 0);
    assert_true(v == 999999999999999999);
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "5,5", "0x10", "1e3", "9999999999999999999", "１"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_true(decimal_parse(bad[i], &v) < 0);
    assert_true(v == 999999999999999999); /* untouched by failures */
}

static void test_cookies(void **state) {
    char v[16];
    assert_true(cookie_find("tarn_session=abc", "tarn_session", v, sizeof v));
    assert_string_equal(v, "abc");
    assert_true(cookie_find("a=1; tarn_session=x.y-z ; b=2", "tarn_session", v, sizeof v));
    assert_string_equal(v, "x.y-z");
    assert_false(cookie_find("xtarn_session=abc", "tarn_session", v, sizeof v));
    assert_false(cookie_find("tarn_sessionx=abc", "tarn_session", v, sizeof v));
    assert_false(cookie_find("tarn_session=", "tarn_session", v, sizeof v));
    assert_false(cookie_find("tarn_session", "tarn_session", v, sizeof v));
    assert_false(cookie_find("tarn_session=a b", "tarn_session", v, sizeof v));
    assert_false(cookie_find("tarn_session=\"abc\"", "tarn_session", v, sizeof v));
    assert_false(cookie_find("tarn_session=0123456789abcdef", "tarn_session", v, sizeof v)); /* too long */
    assert_false(cookie_find("", "tarn_session", v, sizeof v));
    assert_false(cookie_find(";;; ;", "tarn_session", v, sizeof v));
}

static void test_clients(void **state) {
    static const char *const pairs[][2] = {
        {"192.0.2.7", "192.0.2.7"},
        {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
        {"2001:db8:1:2::1", "2001:db8:1:2::"},
        {"fe80::1:2", "fe80::1:2"},
        {"::1", "::1"},
        {"", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        char client[INET6_ADDRSTRLEN];
        client_of(pairs[i][0], client);
        assert_string_equal(client, pairs[i][1]);
    }
}

static void test_bearer(void **state) {
    char v[16];
    assert_true(bearer_find("Bearer abc", v, sizeof v));
    assert_string_equal(v, "abc");
    assert_true(bearer_find("bearer   abc", v, sizeof v));
    assert_false(bearer_find("Basic abc", v, sizeof v));
    assert_false(bearer_find("Bearer", v, sizeof v));
    assert_false(bearer_find("Bearer ", v, sizeof v));
    assert_false(bearer_find("Bearer a b", v, sizeof v));
    assert_false(bearer_find("Bearer 0123456789abcdef", v, sizeof v));
}

static void test_origin(void **state) {
    assert_true(origin_matches("https://tarn.example:8443", "tarn.example:8443"));
    assert_true(origin_matches("https://Tarn.Example", "tarn.example:443"));
    assert_true(origin_matches("https://[::1]:8443", "[::1]:8443"));
    assert_false(origin_matches("http://tarn.example:8443", "tarn.example:8443"));
    assert_false(origin_matches("https://tarn.example:8443", "tarn.example:8444"));
    assert_false(origin_matches("https://tarn.example.evil:8443", "tarn.example:8443"));
    assert_false(origin_matches("https://tarn.example:8443/", "tarn.example:8443"));
    assert_false(origin_matches("null", "tarn.example"));
    assert_false(origin_matches("https://", ""));
}

static void test_if_match(void **state) {
    char v[24];
    assert_int_equal(if_match_parse("\"42\"", v), 0);
    assert_string_equal(v, "42");
    assert_int_equal(if_match_parse("42", v), 0);
    assert_int_equal(if_match_parse("*", v), 1);
    static const char *const bad[] = {"",  "\"\"", "\"42", "W/\"42\"", "\"1\", \"2\"", "-1", "\"1234567890123456789\"",
                                      "\""};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_true(if_match_parse(bad[i], v) < 0);
}

static void test_listen(void **state) {
    char host[64];
    int port;
    assert_int_equal(listen_parse("127.0.0.1:8443", host, &port), 0);
    assert_string_equal(host, "127.0.0.1");
    assert_int_equal(port, 8443);
    assert_int_equal(listen_parse("[::1]:1", host, &port), 0);
    assert_string_equal(host, "::1");
    assert_int_equal(listen_parse(":0", host, &port), 0);
    assert_string_equal(host, "");
    assert_int_equal(listen_parse("8443", host, &port), 0);
    assert_int_equal(port, 8443);
    static const char *const bad[] = {"",      ":",          "::1:8443", "[::1]", "[::1:80",
                                      "host:", "host:99999", "host:-1",  "host:x"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_true(listen_parse(bad[i], host, &port) < 0);
}

static void test_versions(void **state) {
    assert_int_equal(version_compare("0.1.0", "0.1"), VERSION_FITS);
    assert_int_equal(version_compare("1.4", "1.5.9-rc1"), VERSION_FITS);
    assert_int_equal(version_compare("1.4", "1.3"), VERSION_FITS);
    assert_int_equal(version_compare("1.4", "1.2"), VERSION_PEER_OLDER);
    assert_int_equal(version_compare("1.4", "1.6"), VERSION_PEER_NEWER);
    assert_int_equal(version_compare("1.0", "0.9"), VERSION_PEER_OLDER);
    assert_int_equal(version_compare("1.0", "2.0"), VERSION_PEER_NEWER);
    static const char *const bad[] = {"", "1", "1.", ".1", "1.x", "v1.0", "1.0x", "1.12345678901"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(version_compare("1.0", bad[i]), VERSION_MALFORMED);
}

static void test_lists_and_paths(void **state) {
    assert_true(list_has("vm,job", "vm"));
    assert_true(list_has("vm,job", "job"));
    assert_false(list_has("vm,job", "jo"));
    assert_false(list_has("", "vm"));
    char *s = path_encode("/vms/50%/é");
    assert_string_equal(s, "/vms/50%25/é");
    free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decimal), cmocka_unit_test(test_cookies),  cmocka_unit_test(test_clients),
        cmocka_unit_test(test_bearer),  cmocka_unit_test(test_origin),   cmocka_unit_test(test_if_match),
        cmocka_unit_test(test_listen),  cmocka_unit_test(test_versions), cmocka_unit_test(test_lists_and_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/site_pure.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void test_codings(void **state) {
    assert_true(coding_accepted("gzip, deflate, br, zstd", "br"));
    assert_true(coding_accepted("gzip, deflate, br, zstd", "gzip"));
    assert_true(coding_accepted("GZIP;q=0.5 , br;q=1.0", "gzip"));
    assert_true(coding_accepted("*", "br"));
    assert_true(coding_accepted("br;q=0, *;q=0.1", "gzip"));
    assert_true(coding_accepted("br;q=0.001", "br"));
    assert_false(coding_accepted("", "br"));
    assert_false(coding_accepted("gzip, deflate", "br"));
    assert_false(coding_accepted("brotli", "br"));
    assert_false(coding_accepted("xbr", "br"));
    assert_false(coding_accepted("br;q=0", "br"));
    assert_false(coding_accepted("br; q=0.000 , gzip", "br"));
    assert_false(coding_accepted("br;q=0, *", "br"));
    assert_false(coding_accepted("*;q=0", "br"));
    assert_false(coding_accepted(",,;;, ;q=1", "br"));
}

static void test_etags(void **state) {
    assert_true(etag_listed("\"abc\"", "\"abc\""));
    assert_true(etag_listed("W/\"abc\"", "\"abc\""));
    assert_true(etag_listed("\"x\", \"abc\"", "\"abc\""));
    assert_true(etag_listed("\"x,y\" ,W/\"z\",\"abc\"", "\"abc\""));
    assert_true(etag_listed("*", "\"abc\""));
    assert_false(etag_listed("", "\"abc\""));
    assert_false(etag_listed("abc", "\"abc\""));
    assert_false(etag_listed("\"abc", "\"abc\""));
    assert_false(etag_listed("\"abcd\"", "\"abc\""));
    assert_false(etag_listed("\"ab\", c\"", "\"abc\""));
    assert_false(etag_listed("W/", "\"abc\""));
}

static void test_types(void **state) {
    assert_string_equal(media_type("/index.html"), "text/html; charset=utf-8");
    assert_string_equal(media_type("/assets/index-Ab3.JS"), "text/javascript; charset=utf-8");
    assert_string_equal(media_type("/a.b/c.woff2"), "font/woff2");
    assert_string_equal(media_type("/favicon.svg"), "image/svg+xml");
    assert_string_equal(media_type("/a.html.exe"), "application/octet-stream");
    assert_string_equal(media_type("/plain"), "application/octet-stream");
}

static void test_routes(void **state) {
    static const char *const yes[] = {"/", "/vms", "/vms/0d9f", "/vms/a.b/console", "/apiary", "/agents"};
    static const char *const no[] = {"/favicon.ico", "/vms/a.b", "/api", "/api/v1/nothing", "/api/", "/agent/v1",
                                     "/assets/x",    "/.git",    "/x/.", "/x/..",           ""};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        if (!path_is_route(yes[i]))
            fail_msg("%s is a route", yes[i]);
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        if (path_is_route(no[i]))
            fail_msg("%s is none", no[i]);
}

static void test_local_hosts(void **state) {
    assert_true(host_is_local("localhost:8443"));
    assert_true(host_is_local("127.0.0.1:8443"));
    assert_true(host_is_local("[::1]:8443"));
    assert_false(host_is_local("tarn.example"));
    assert_false(host_is_local(""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codings), cmocka_unit_test(test_etags),       cmocka_unit_test(test_types),
        cmocka_unit_test(test_routes),  cmocka_unit_test(test_local_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

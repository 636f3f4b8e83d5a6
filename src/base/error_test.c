/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include "base/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void test_codes(void **state) {
    for (int i = 0; i < ERR_COUNT_; i++) {
        enum error_code c = (enum error_code)i;
        assert_int_equal(error_code_parse(error_code_text(c)), c);
        assert_true(error_http_status(c) >= 200 && error_http_status(c) < 600);
        assert_true(error_exit_code(c) >= 0 && error_exit_code(c) < 126);
        assert_true(c == ERR_OK || (error_errno(c) > 0 && error_exit_code(c) > 0));
        for (int k = 0; k < i; k++)
            assert_string_not_equal(error_code_text(c), error_code_text((enum error_code)k));
    }
    assert_int_equal(error_code_parse("no such code"), ERR_INTERNAL);
    assert_int_equal(error_code_parse(NULL), ERR_INTERNAL);
    assert_string_equal(error_code_text((enum error_code)999), "internal");
}

static void test_set(void **state) {
    _cleanup_error_ struct error e = ERROR_INIT;
    assert_int_equal(error_set(&e, ERR_NOT_FOUND, "no %s", "vm"), -ENOENT);
    assert_string_equal(e.message, "no vm");
    assert_null(e.field);
    assert_int_equal(error_set_field(&e, ERR_INVALID, "name", "%s, so there", e.message), -EINVAL); /* of the old one */
    assert_string_equal(e.message, "no vm, so there");
    assert_string_equal(e.field, "name");
    error_prefix_field(&e, "disks[0]");
    assert_string_equal(e.field, "disks[0].name");
    assert_int_equal(error_set_field(&e, ERR_INVALID, "[3]", "x"), -EINVAL);
    error_prefix_field(&e, "tags");
    assert_string_equal(e.field, "tags[3]");
    assert_int_equal(error_set(&e, ERR_INVALID, "x"), -EINVAL);
    error_prefix_field(&e, "cpus");
    assert_string_equal(e.field, "cpus");
    assert_int_equal(error_set(NULL, ERR_IO, "nobody listens"), -EIO);
    error_prefix_field(NULL, "x");
    error_done(NULL);
    struct error none = ERROR_INIT, other = ERROR_INIT;
    error_prefix_field(&none, "x");
    assert_null(none.field);
    error_move(&other, &e);
    assert_null(e.message);
    assert_int_equal(error_copy(&e, &other), -EINVAL);
    assert_string_equal(e.field, "cpus");
    error_done(&other);
    error_done(&other);
}

static void test_json(void **state) {
    _cleanup_error_ struct error e = ERROR_INIT, back = ERROR_INIT;
    error_set_field(&e, ERR_TOO_LARGE, "name", "is too \"long\"");
    json_t *j = error_print(&e);
    assert_int_equal(error_parse(&back, j), -E2BIG);
    assert_int_equal(back.code, ERR_TOO_LARGE);
    assert_string_equal(back.message, e.message);
    assert_string_equal(back.field, "name");
    json_decref(j);
    /* A message with bytes that are no UTF-8, as a cut-off name may leave, still arrives. */
    error_set(&e, ERR_INVALID, "near '%s'", "\xe4\xb8");
    j = error_print(&e);
    assert_string_equal(json_string_value(json_object_get(j, "message")), "near '?"
                                                                          "?'");
    json_decref(j);
    error_set_field(&e, ERR_INVALID, "\xff", "unknown field");
    j = error_print(&e);
    assert_string_equal(json_string_value(json_object_get(j, "field")), "?");
    json_decref(j);
    /* Whatever a peer sends. */
    const char *const texts[] = {"{}", "[]", "{\"code\": 7, \"message\": []}", "{\"code\": \"ok\"}",
                                 "{\"code\": \"martian\"}"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        j = json_loads(texts[i], 0, NULL);
        assert_true(error_parse(&back, j) < 0);
        assert_int_equal(back.code, ERR_INTERNAL);
        assert_non_null(back.message);
        json_decref(j);
    }
    assert_true(error_parse(&back, NULL) < 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/fence.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void input(void **state) {
    char *options[] = {(char *)"lanplus=1", (char *)"cipher=3"};
    struct api_fence f = {.agent = (char *)"fence_ipmilan",
                          .address = (char *)"10.0.0.9",
                          .port = 623,
                          .user = (char *)"admin",
                          .password = (char *)"a b=c",
                          .options = options,
                          .n_options = 2};
    _cleanup_free_ char *text = NULL;
    assert_int_equal(fence_input(&f, "off", &text, NULL), 0);
    assert_string_equal(text,
                        "action=off\nip=10.0.0.9\nipport=623\nusername=admin\npassword=a b=c\nlanplus=1\ncipher=3\n");
}

/* One line must not become two, and no option another action. */
static void input_refused(void **state) {
    static const char *const options[] = {
        "action=on", "x", "=1", "a b=1", "passwd=1", "x=1\naction=on", "status_file=/etc/passwd"};
    struct api_fence f = {.agent = (char *)"fence_ipmilan", .address = (char *)"h", .password = (char *)"a\naction=on"};
    char *text = NULL, *option[1];
    assert_true(fence_input(&f, "off", &text, NULL) < 0);
    f.password = (char *)"";
    f.options = option;
    f.n_options = 1;
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        option[0] = (char *)options[i];
        assert_true(fence_input(&f, "off", &text, NULL) < 0);
    }
    assert_null(text);
}

static void names_refused(void **state) {
    static const char *const names[] = {"",           "fence_",  "sh",        "fence_x/../sh",
                                        "../fence_x", "fence_X", "fence_a b", "fence_dummy"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        _cleanup_error_ struct error e = ERROR_INIT;
        struct api_fence_run run = {.action = (char *)"off", .fence = {.agent = (char *)names[i]}};
        struct fence *f = NULL;
        assert_true(fence_run(NULL, &run, 1, NULL, NULL, &f, &e) < 0);
        assert_int_equal(e.code, ERR_INVALID);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(input), cmocka_unit_test(input_refused),
                                       cmocka_unit_test(names_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

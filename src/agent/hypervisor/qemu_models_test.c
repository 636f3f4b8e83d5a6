/* SPDX-License-Identifier: Apache-2.0 */
/* What QEMU 7.2 has said with TCG, cut to a few models. */
#include "agent/hypervisor/qemu_models.h"

#include "base/mem.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const char *golden;

static void test_golden(void **state) {
    _cleanup_free_ char *text = NULL;
    size_t len, n = 0;
    char **names = NULL;
    assert_int_equal(read_file_at(AT_FDCWD, golden, 1 << 20, &text, &len), 0);
    assert_int_equal(qemu_models_parse(text, len, &names, &n), 0);
    /* max and host are other CPUs elsewhere; those with features that are missing here, and versions, are left out. */
    static const char *const wanted[] = {"Nehalem", "Westmere", "kvm64", "qemu64"};
    assert_int_equal(n, ARRAY_LEN(wanted));
    for (size_t i = 0; i < n; i++)
        assert_string_equal(names[i], wanted[i]);
    qemu_models_free(names, n);
}

static void test_nonsense(void **state) {
    static const char *const texts[] = {"", "\n\n", "{}", "{\"return\": {}}", "[", "{\"error\": {}}\n"};
    char **names = NULL;
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_int_equal(qemu_models_parse(texts[i], strlen(texts[i]), &names, &n), -EBADMSG);
    static const char odd[] =
        "{\"return\": [1, {}, {\"name\": \"a b\", \"unavailable-features\": [], \"migration-safe\": "
        "true}, {\"name\": \"x\", \"unavailable-features\": 7, \"migration-safe\": true}]}";
    assert_int_equal(qemu_models_parse(odd, strlen(odd), &names, &n), 0);
    assert_int_equal(n, 0);
    qemu_models_free(names, n);
}

static void test_memory(void **state) {
    char dir[] = "/tmp/tarn-models-XXXXXX";
    assert_non_null(mkdtemp(dir));
    _cleanup_close_ int fd = open_dir(dir);
    char *const models[] = {(char *)"a", (char *)"b"};
    char **names = NULL;
    size_t n = 0;
    assert_true(qemu_models_recall(fd, "key", &names, &n) < 0);
    assert_int_equal(qemu_models_remember(fd, "key", models, 2), 0);
    assert_true(qemu_models_recall(fd, "another", &names, &n) < 0);
    assert_int_equal(qemu_models_recall(fd, "key", &names, &n), 0);
    assert_int_equal(n, 2);
    assert_string_equal(names[1], "b");
    qemu_models_free(names, n);
    assert_int_equal(write_file_at(fd, "cpu-models.json", "{", 1, 0600), 0);
    assert_true(qemu_models_recall(fd, "key", &names, &n) < 0);
    assert_int_equal(remove_tree_at(AT_FDCWD, dir), 0);
}

int main(int argc, char **argv) {
    golden = argc > 1 ? argv[1] : "";
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden), cmocka_unit_test(test_nonsense),
                                       cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

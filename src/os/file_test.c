/* SPDX-License-Identifier: Apache-2.0 */
#include "os/file.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];
static int fd = -1;

static int setup(void **state) {
    snprintf(dir, sizeof dir, "/tmp/file-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    fd = open_dir(dir);
    assert_true(fd >= 0);
    return 0;
}

static int teardown(void **state) {
    close_fd(&fd);
    assert_int_equal(remove_tree_at(AT_FDCWD, dir), 0);
    assert_int_equal(access(dir, F_OK), -1);
    return 0;
}

static void write_text(const char *name, const char *text) {
    assert_int_equal(write_file_at(fd, name, text, strlen(text), 0640), 0);
}

static void test_read_and_write(void **state) {
    char *text = NULL;
    size_t len = 0;
    write_text("a", "first");
    write_text("a", "second");
    assert_int_equal(read_file_at(fd, "a", 100, &text, &len), 0);
    assert_string_equal(text, "second");
    assert_int_equal(len, 6);
    free(text);
    text = NULL;
    assert_int_equal(read_file_at(fd, "a", 5, &text, &len), -EFBIG);
    assert_int_equal(read_file_at(fd, "b", 5, &text, &len), -ENOENT);
    assert_int_equal(read_file_at(fd, ".", 5, &text, &len), -EISDIR);
    assert_null(text);
    struct stat st;
    assert_int_equal(fstatat(fd, "a", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(read_file_at(AT_FDCWD, "/proc/self/status", 1 << 20, &text, &len), 0); /* its size says 0 */
    assert_true(len > 100);
    free(text);
    assert_int_equal(mkfifoat(fd, "fifo", 0600), 0);
    assert_int_equal(read_file_at(fd, "fifo", 100, &text, &len), -EINVAL); /* and does not hang */
    write_text("empty", "");
    assert_int_equal(read_file_at(fd, "empty", 0, &text, &len), 0);
    assert_string_equal(text, "");
    free(text);
}

static void test_nothing_above(void **state) {
    char *text = NULL;
    assert_int_equal(symlinkat("/etc/passwd", fd, "link"), 0);
    assert_int_equal(symlinkat("/etc", fd, "etc"), 0);
    assert_int_equal(symlinkat("a", fd, "inner"), 0);
    write_text("a", "x");
    const char *const bad[] = {"link", "etc/passwd", "../x", "/etc/passwd", "inner", "etc", NULL};
    for (int i = 0; bad[i]; i++) {
        assert_true(open_beneath(fd, bad[i], O_RDONLY, 0) < 0);
        assert_true(read_file_at(fd, bad[i], 1 << 20, &text, NULL) < 0);
    }
    assert_int_equal(write_file_at(fd, "etc/tarn-test", "x", 1, 0600), -ELOOP);
    assert_int_equal(write_file_at(fd, "../tarn-test", "x", 1, 0600), -EXDEV);
    assert_int_equal(write_file_at(fd, "..", "x", 1, 0600), -EINVAL);
    assert_int_equal(write_file_at(fd, "", "x", 1, 0600), -EINVAL);
    /* A link in the place of the file is replaced, not followed. */
    write_text("inner", "y");
    assert_int_equal(read_file_at(fd, "a", 10, &text, NULL), 0);
    assert_string_equal(text, "x");
    free(text);
    char path[96];
    snprintf(path, sizeof path, "%s/etc", dir);
    assert_int_equal(open_dir(path), -ENOTDIR);
    assert_int_equal(open_dir("tmp"), -EINVAL);
}

static void test_failed_write_leaves_nothing(void **state) {
    assert_true(make_dir(fd, "d", 0700) >= 0);
    assert_int_equal(write_file_at(fd, "d", "x", 1, 0600), -EISDIR);
    assert_int_equal(write_file_at(fd, "none/x", "x", 1, 0600), -ENOENT);
    assert_int_equal(unlinkat(fd, "d", AT_REMOVEDIR), 0);
    assert_int_equal(rmdir(dir), 0); /* empty: no temporary file is left */
    assert_int_equal(mkdir(dir, 0700), 0);
}

static void test_directories(void **state) {
    int d = make_dir(fd, "d", 0700);
    assert_true(d >= 0);
    close(d);
    d = make_dir(fd, "d", 0700);
    assert_true(d >= 0);
    assert_int_equal(write_file_at(d, "f", "x", 1, 0600), 0);
    close(d);
    assert_int_equal(make_dir(fd, "d/f", 0700), -ENOTDIR);
    assert_int_equal(make_dir(fd, "../d", 0700), -EXDEV);
    char path[128];
    snprintf(path, sizeof path, "%s/x//y/z/", dir);
    assert_int_equal(make_dirs(path, 0700), 0);
    assert_int_equal(make_dirs(path, 0700), 0);
    assert_int_equal(faccessat(fd, "x/y/z", F_OK, 0), 0);
    snprintf(path, sizeof path, "%s/d/f", dir);
    assert_int_equal(make_dirs(path, 0700), -ENOTDIR);
    assert_int_equal(make_dirs("", 0700), -EINVAL);
    assert_int_equal(make_dirs("/", 0700), 0);
}

static void test_remove_tree(void **state) {
    char name[64];
    int d = make_dir(fd, "t", 0700);
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "f%d", i);
        close(openat(d, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    }
    close(make_dir(d, "sub", 0700));
    close(make_dir(d, "sub/sub", 0700));
    assert_int_equal(write_file_at(fd, "keep", "x", 1, 0600), 0);
    assert_int_equal(symlinkat("../keep", d, "link"), 0);
    assert_int_equal(symlinkat("/tmp", d, "sub/link"), 0);
    close(d);
    assert_int_equal(remove_tree_at(fd, "t"), 0);
    assert_int_equal(faccessat(fd, "t", F_OK, AT_SYMLINK_NOFOLLOW), -1);
    assert_int_equal(faccessat(fd, "keep", F_OK, 0), 0);
    assert_int_equal(access("/tmp", F_OK), 0);
    assert_int_equal(remove_tree_at(fd, "t"), 0);
    assert_int_equal(remove_tree_at(fd, "t/u"), 0);
    assert_int_equal(remove_tree_at(fd, "keep"), 0);
    assert_int_equal(remove_tree_at(fd, ".."), -EINVAL);
    /* A tree as deep as an attacker likes is refused, not followed into running out of descriptors. */
    d = make_dir(fd, "deep", 0700);
    for (int i = 0; i < 300; i++) {
        int next = make_dir(d, "d", 0700);
        close(d);
        d = next;
    }
    close(d);
    assert_int_equal(remove_tree_at(fd, "deep"), -ELOOP);
    for (int rest = 300; rest > 0; rest -= 90) { /* from below, so that the directory can be removed */
        char path[512] = "deep";
        for (int i = 0; i < rest - 90 && i < 210; i++)
            memcpy(path + 4 + 2 * i, "/d", 3);
        assert_int_equal(remove_tree_at(fd, path), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_read_and_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_above, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_write_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_directories, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remove_tree, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/cluster.h"

#include "base/mem.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];

static int setup(void **state) {
    struct deadman_link *l = xcalloc(1, sizeof *l);
    snprintf(dir, sizeof dir, "/tmp/tarn-deadman-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(deadman_link_open(l, dir), 0);
    *state = l;
    return 0;
}

static int teardown(void **state) {
    struct deadman_link *l = *state;
    unlinkat(l->dirfd, DEADMAN_STATE, 0);
    deadman_link_close(l);
    free(l);
    return rmdir(dir);
}

static void leave_page(struct deadman_link *l, const char *boot, uint32_t seq) {
    struct deadman_page page = {.seq = seq, .magic = DEADMAN_PAGE_MAGIC, .state = {.proof = 42, .armed = 1}};
    snprintf(page.state.boot, sizeof page.state.boot, "%s", boot);
    assert_int_equal(write_file_at(l->dirfd, DEADMAN_STATE, &page, sizeof page, 0600), 0);
}

static char *this_boot(void) {
    char *boot = NULL;
    size_t len;
    assert_true(read_file_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &boot, &len) >= 0);
    return boot;
}

/* Nobody lives: what was armed and proved last counts, for this boot only, even if it was killed while it wrote. */
static void left_behind(void **state) {
    struct deadman_link *l = *state;
    struct deadman_state s = {0};
    _cleanup_free_ char *boot = this_boot();
    assert_false(deadman_link_left(l, &s));
    leave_page(l, boot, 4);
    assert_true(deadman_link_left(l, &s));
    assert_int_equal(s.proof, 42);
    assert_true(s.armed);
    assert_false(deadman_link_read(l, &s));
    leave_page(l, boot, 5);
    assert_true(deadman_link_left(l, &s));
    leave_page(l, "01234567-89ab-cdef-0123-456789abcdef\n", 4);
    assert_false(deadman_link_left(l, &s));
    leave_page(l, "", 4);
    assert_false(deadman_link_left(l, &s));
}

/* Whoever leaves the pool leaves no lease for the deadman of the next one. */
static void nothing_remains(void **state) {
    struct deadman_link *l = *state;
    struct deadman_state s;
    _cleanup_free_ char *boot = this_boot();
    leave_page(l, boot, 4);
    assert_int_equal(deadman_link_connect(l), -ENOENT);
    deadman_link_quit(l);
    assert_false(deadman_link_left(l, &s));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(left_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_remains, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

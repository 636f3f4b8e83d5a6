/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/ring.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void add(struct ring *r, int64_t revision, const char *kind) {
    ring_add(r, revision, kind, xasprintf("%lld %s", (long long)revision, kind), strcmp(kind, "progress") == 0);
}

static bool only_vm(const void *ctx, const char *kind) { return strcmp(kind, "vm") == 0; }

static void test_resume(void **state) {
    struct ring r;
    uint64_t at;
    ring_init(&r, 100, 10000, 50); /* a manager that has just started at revision 50 */
    assert_false(ring_resume(&r, 49, NULL, NULL, &at));
    assert_true(ring_resume(&r, 50, NULL, NULL, &at));
    assert_int_equal(at, 0);
    for (int i = 51; i <= 60; i++)
        add(&r, i, "vm");
    assert_true(ring_resume(&r, 50, NULL, NULL, &at));
    assert_int_equal(at, 0);
    assert_true(ring_resume(&r, 55, NULL, NULL, &at));
    assert_int_equal(ring_get(&r, at)->revision, 56);
    assert_true(ring_resume(&r, 60, NULL, NULL, &at));
    assert_int_equal(at, r.next);
    assert_null(ring_get(&r, at));
    ring_done(&r);
}

static void test_overwritten(void **state) {
    struct ring r;
    uint64_t at;
    ring_init(&r, 10, 10000, 0);
    for (int i = 1; i <= 25; i++)
        add(&r, i, "vm");
    assert_int_equal(r.n, 10);
    assert_null(ring_get(&r, 14));
    assert_int_equal(ring_get(&r, 15)->revision, 16);
    assert_false(ring_resume(&r, 14, NULL, NULL, &at));
    assert_false(ring_resume(&r, 15, NULL, NULL, &at)); /* more items of 15 may have gone than were told */
    assert_true(ring_resume(&r, 16, NULL, NULL, &at));
    assert_int_equal(ring_get(&r, at)->revision, 17);
    ring_done(&r);
}

static void test_bytes_are_capped(void **state) {
    struct ring r;
    ring_init(&r, 1000, 100, 0);
    for (int i = 1; i <= 500; i++)
        add(&r, i, "vm");
    assert_true(r.bytes <= 100);
    assert_true(r.n > 5);
    ring_add(&r, 501, "vm", memset(xcalloc(1, 1001), 'x', 1000), false); /* longer than all: it alone */
    assert_int_equal(r.n, 1);
    ring_done(&r);
}

/* Several items of one revision: who was told only some gets them again, who is told one never gets it twice. */
static void test_one_revision_of_several(void **state) {
    struct ring r;
    uint64_t at;
    ring_init(&r, 100, 10000, 0);
    add(&r, 1, "job");
    add(&r, 2, "vm");
    add(&r, 2, "event");
    add(&r, 2, "progress");
    add(&r, 3, "job");
    assert_true(ring_resume(&r, 2, NULL, NULL, &at));
    assert_int_equal(at, 1);
    assert_true(ring_resume(&r, 2, only_vm, NULL, &at));
    assert_int_equal(ring_get(&r, at)->revision, 3);
    ring_done(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_overwritten),
        cmocka_unit_test(test_bytes_are_capped),
        cmocka_unit_test(test_one_revision_of_several),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

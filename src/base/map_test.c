/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void test_basics(void **state) {
    struct map m = {0};
    int one = 1, two = 2;
    assert_null(map_get(&m, "a"));
    assert_null(map_get(&m, NULL));
    assert_null(map_remove(&m, "a"));
    assert_null(map_put(&m, "a", &one));
    assert_ptr_equal(map_put(&m, "a", &two), &one);
    assert_ptr_equal(map_get(&m, "a"), &two);
    assert_int_equal(map_count(&m), 1);
    assert_null(map_put(&m, "", &one)); /* the empty key is a key */
    assert_ptr_equal(map_get(&m, ""), &one);
    assert_ptr_equal(map_remove(&m, "a"), &two);
    assert_null(map_remove(&m, "a"));
    assert_null(map_get(&m, "a"));
    assert_null(map_put(&m, "a", &one));
    assert_int_equal(map_count(&m), 2);
    map_done(&m);
    assert_int_equal(map_count(&m), 0);
}

enum { KEYS = 3000 };

/* The key that a map which borrows is given. Before another is given it has no further use for the last one. */
static const char *lend(const char *key, int k) {
    static char *lent[KEYS];
    free(lent[k]);
    return lent[k] = key ? xstrdup(key) : NULL;
}

/* Against an array that is right by its simplicity: a million random puts, gets and removes. */
static void random_walk(bool borrows) {
    char *model[KEYS] = {0};
    static char values[KEYS];
    struct map m = {.borrows = borrows};
    size_t count = 0;
    unsigned seed = 12345;
    map_seed(1, 2);
    for (int i = 0; i < 1000000; i++) {
        seed = seed * 1664525 + 1013904223;
        int k = (int)(seed >> 8) % KEYS;
        char key[32];
        snprintf(key, sizeof key, "key-%d", k);
        switch (seed >> 29) {
        case 0:
        case 1:
        case 2:
            if (borrows) {
                _cleanup_free_ char *lent = xstrdup(key);
                assert_ptr_equal(map_put(&m, lent, &values[k]), model[k]);
                assert_ptr_equal(map_put(&m, lend(key, k), &values[k]), &values[k]);
            } else {
                assert_ptr_equal(map_put(&m, key, &values[k]), model[k]);
            }
            count += !model[k];
            model[k] = &values[k];
            break;
        case 3:
        case 4:
            assert_ptr_equal(map_remove(&m, key), model[k]);
            lend(NULL, k);
            count -= model[k] != NULL;
            model[k] = NULL;
            break;
        default:
            assert_ptr_equal(map_get(&m, key), model[k]);
        }
        assert_int_equal(map_count(&m), count);
    }
    assert_true(m.cap <= 4 * KEYS * 2); /* removed keys do not make it grow for ever */
    for (int k = 0; k < KEYS; k++)
        lend(NULL, k);
    map_done(&m);
}

static void test_random(void **state) { random_walk(false); }
static void test_borrowed(void **state) { random_walk(true); }

static void test_visit(void **state) {
    struct map m = {0};
    char key[32];
    int seen[1000] = {0};
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "%d", i);
        map_put(&m, key, &seen[i]);
    }
    size_t pos = 0, n = 0;
    const char *k;
    void *v;
    while (map_next(&m, &pos, &k, &v)) {
        assert_int_equal(atoi(k), (int *)v - seen);
        ++*(int *)v;
        n++;
        if (n % 2)
            assert_ptr_equal(map_remove(&m, k), v); /* while visiting */
    }
    assert_int_equal(n, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(seen[i], 1);
    assert_int_equal(map_count(&m), 500);
    pos = 0;
    for (n = 0; map_next(&m, &pos, NULL, NULL); n++)
        ;
    assert_int_equal(n, 500);
    map_done(&m);
}

/* Keys of every length below and above SipHash's block. */
static void test_lengths(void **state) {
    struct map m = {0};
    char key[65] = "";
    static int values[64];
    for (int i = 0; i < 64; i++) {
        map_put(&m, key, &values[i]);
        key[i] = 'k';
    }
    memset(key, 0, sizeof key);
    for (int i = 0; i < 64; i++) {
        assert_ptr_equal(map_get(&m, key), &values[i]);
        key[i] = 'k';
    }
    assert_null(map_get(&m, key));
    map_done(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_basics),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_borrowed),
        cmocka_unit_test(test_visit),
        cmocka_unit_test(test_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* mem, buf, batch and list: small, and under the sanitizers. */
#include "base/mem.h"

#include "base/batch.h"
#include "base/buf.h"
#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void test_strings(void **state) {
    assert_null(xstrdup(NULL));
    char *s = xasprintf("%s-%d", "a", 7);
    assert_string_equal(s, "a-7");
    str_set(&s, s); /* of itself */
    assert_string_equal(s, "a-7");
    str_set(&s, NULL);
    assert_null(s);
    str_take(&s, xstrndup("abcdef", 3));
    assert_string_equal(s, "abc");
    char *moved = TAKE_PTR(s);
    assert_null(s);
    free(moved);
    assert_true(str_eq(NULL, NULL) && str_eq("a", "a") && !str_eq("a", NULL) && !str_eq("a", "b"));
    assert_true(str_empty(NULL) && str_empty("") && !str_empty("x"));
    assert_string_equal(str_or("", "b"), "b");
    assert_string_equal(str_or("a", "b"), "a");
    void *p = xmemdup(NULL, 0);
    assert_non_null(p);
    free(p);
    free(xmalloc(0));
    free(xcalloc(0, 8));
}

static void test_buf(void **state) {
    _cleanup_buf_ struct buf b = {0};
    buf_add(&b, NULL, 0);
    assert_string_equal(b.data, "");
    buf_adds(&b, "abc");
    buf_addc(&b, 'd');
    buf_addf(&b, "-%05d", 42);
    assert_string_equal(b.data, "abcd-00042");
    assert_int_equal(b.len, 10);
    buf_consume(&b, 5);
    assert_string_equal(b.data, "00042");
    buf_consume(&b, 0);
    assert_int_equal(b.len, 5);
    buf_consume(&b, 1000);
    assert_int_equal(b.len, 0);
    assert_string_equal(b.data, "");
    for (int i = 0; i < 10000; i++)
        buf_add(&b, "0123456789", 10);
    assert_int_equal(b.len, 100000);
    assert_int_equal(b.data[100000], 0);
    buf_add(&b, "\0x", 2); /* bytes, not strings */
    assert_int_equal(b.len, 100002);
    char *s = buf_take(&b);
    assert_int_equal(strlen(s), 100000);
    free(s);
    assert_null(b.data);
    s = buf_take(&b);
    assert_string_equal(s, "");
    free(s);
    s = buf_take_fitted(&b);
    assert_string_equal(s, "");
    free(s);
    buf_add(&b, "a\0bc", 4);
    s = buf_take_fitted(&b);
    assert_memory_equal(s, "a\0bc", 5);
    assert_null(b.data);
    free(s);
    struct buf none = {0};
    buf_consume(&none, 3);
    assert_null(none.data);
}

static void test_batch(void **state) {
    struct batch *b = batch_new();
    char value[] = "{}";
    batch_put(b, "vm/1", value, 2);
    value[0] = 'x'; /* copied */
    batch_put_take(b, "vm/2", xstrdup("[]"), 2);
    batch_compare_absent(b, "vm/3");
    batch_delete(b, "vm/4");
    for (int i = 0; i < 100; i++)
        batch_delete(b, "vm/5");
    assert_int_equal(b->n, 104);
    assert_string_equal(b->ops[0].value, "{}");
    assert_int_equal(b->ops[0].kind, BATCH_PUT);
    assert_string_equal(b->ops[1].value, "[]");
    assert_int_equal(b->ops[2].kind, BATCH_COMPARE_ABSENT);
    assert_string_equal(b->ops[3].key, "vm/4");
    assert_null(b->ops[3].value);
    batch_free(b);
    batch_free(NULL);
}

struct item {
    int n;
    struct list link;
};

static void test_list(void **state) {
    struct list head;
    list_init(&head);
    assert_true(list_empty(&head));
    assert_null(list_first(&head, struct item, link));
    struct item items[5] = {0};
    for (int i = 0; i < 5; i++) {
        items[i].n = i;
        assert_false(list_linked(&items[i].link));
        if (i % 2)
            list_prepend(&head, &items[i].link);
        else
            list_append(&head, &items[i].link);
    }
    int sum = 0, order = 0;
    struct item *it, *tmp;
    list_for_each(it, &head, link) order = order * 10 + it->n;
    assert_int_equal(order, 31024);
    list_for_each_safe(it, tmp, &head, link) {
        sum += it->n;
        list_remove(&it->link);
        assert_false(list_linked(&it->link));
    }
    assert_int_equal(sum, 10);
    assert_true(list_empty(&head));
    list_remove(&items[0].link); /* twice, and one that never was in a list */
    struct item never = {0};
    list_remove(&never.link);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_buf),
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

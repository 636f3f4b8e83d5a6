/* SPDX-License-Identifier: Apache-2.0 */
/* What every implementation promises: each test runs on both. */
#include "store/store.h"

#include "base/buf.h"
#include "base/mem.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

struct fixture {
    bool sqlite;
    char dir[64];
    char *path;
    uv_loop_t loop;
    struct store *s;
    uint64_t seq, reported;
    int results[2000];
    struct buf seen;
};

static void done(void *ctx, uint64_t seq, int result) {
    struct fixture *f = ctx;
    assert_int_equal(seq, ++f->reported); /* in order, once each */
    f->results[seq] = result;
}

static void open_it(struct fixture *f) {
    struct error e = ERROR_INIT;
    if (f->sqlite)
        assert_int_equal(store_open_sqlite(f->path, &f->loop, done, f, &f->s, &e), 0);
    else
        assert_int_equal(store_open_memory(done, f, &f->s), 0);
}

static int setup(void **state, bool sqlite) {
    struct fixture *f = xcalloc(1, sizeof *f);
    f->sqlite = sqlite;
    snprintf(f->dir, sizeof f->dir, "/tmp/store-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->path = xasprintf("%s/store.db", f->dir);
    uv_loop_init(&f->loop);
    open_it(f);
    *state = f;
    return 0;
}
static int setup_memory(void **state) { return setup(state, false); }
static int setup_sqlite(void **state) { return setup(state, true); }

static int teardown(void **state) {
    struct fixture *f = *state;
    store_close(f->s);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    remove_tree_at(AT_FDCWD, f->dir);
    buf_done(&f->seen);
    free(f->path);
    free(f);
    return 0;
}

static void commit(struct fixture *f, struct batch *b) { store_commit(f->s, ++f->seq, b); }

/* Until all is reported; returns the last result. */
static int settle(struct fixture *f) {
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->reported, f->seq);
    return f->results[f->seq];
}

static int put(struct fixture *f, const char *key, const char *value) {
    struct batch *b = batch_new();
    batch_put(b, key, value, strlen(value));
    commit(f, b);
    return settle(f);
}

static int note(void *ctx, const char *key, const char *value, size_t len, int64_t revision) {
    struct fixture *f = ctx;
    assert_int_equal(strlen(value), len);
    buf_addf(&f->seen, "%s=%s@%lld ", key, value, (long long)revision);
    return f->seen.len > 1000 ? 77 : 0;
}

static void expect(struct fixture *f, const char *prefix, const char *text) {
    struct error e = ERROR_INIT;
    buf_consume(&f->seen, f->seen.len);
    buf_adds(&f->seen, "");
    assert_int_equal(store_load(f->s, prefix, note, f, &e), 0);
    assert_string_equal(f->seen.data, text);
}

static void test_put_get_delete(void **state) {
    struct fixture *f = *state;
    struct error e = ERROR_INIT;
    assert_int_equal(store_revision(f->s), 0);
    assert_int_equal(put(f, "vm/a", "{\"n\":1}"), 0);
    assert_int_equal(put(f, "vm/b", "{}"), 0);
    assert_int_equal(put(f, "vm/a", "{\"n\":2}"), 0);
    assert_int_equal(store_revision(f->s), 3);
    expect(f, "", "vm/a={\"n\":2}@3 vm/b={}@2 ");
    char *value = NULL;
    size_t len;
    int64_t revision;
    assert_int_equal(store_get(f->s, "vm/a", &value, &len, &revision, &e), 0);
    assert_string_equal(value, "{\"n\":2}");
    assert_int_equal(len, 7);
    assert_int_equal(revision, 3);
    free(value);
    assert_int_equal(store_get(f->s, "vm/c", &value, NULL, NULL, &e), -ENOENT);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    error_done(&e);
    struct batch *b = batch_new();
    batch_delete(b, "vm/b");
    batch_delete(b, "vm/never");
    commit(f, b);
    assert_int_equal(settle(f), 0);
    assert_int_equal(store_revision(f->s), 4);
    expect(f, "", "vm/a={\"n\":2}@3 ");
}

static void test_prefixes(void **state) {
    struct fixture *f = *state;
    const char *const keys[] = {"job/1", "job/2", "job/3", "jobs/1", "jo", "vm/\xc3\xa4", "vm/\xf0\x9f\x98\x80", NULL};
    for (int i = 0; keys[i]; i++)
        assert_int_equal(put(f, keys[i], "0"), 0);
    expect(f, "job/", "job/1=0@1 job/2=0@2 job/3=0@3 ");
    expect(f, "jobs/", "jobs/1=0@4 ");
    expect(f, "x", "");
    expect(f, "vm/", "vm/\xc3\xa4=0@6 vm/\xf0\x9f\x98\x80=0@7 ");
    struct error e = ERROR_INIT;
    buf_consume(&f->seen, f->seen.len);
    assert_int_equal(store_load_before(f->s, "job/", NULL, 2, note, f, &e), 0);
    assert_string_equal(f->seen.data, "job/3=0@3 job/2=0@2 ");
    buf_consume(&f->seen, f->seen.len);
    assert_int_equal(store_load_before(f->s, "job/", "job/3", 10, note, f, &e), 0);
    assert_string_equal(f->seen.data, "job/2=0@2 job/1=0@1 ");
    buf_consume(&f->seen, f->seen.len);
    assert_int_equal(store_load_before(f->s, "job/", "zzz", 1, note, f, &e), 0);
    assert_string_equal(f->seen.data, "job/3=0@3 ");
    buf_consume(&f->seen, f->seen.len);
    assert_int_equal(store_load_before(f->s, "job/", "job/1", 10, note, f, &e), 0);
    assert_int_equal(store_load_before(f->s, "job/", NULL, 0, note, f, &e), 0);
    assert_string_equal(f->seen.data, "");
}

static void test_load_stops(void **state) {
    struct fixture *f = *state;
    char key[32];
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "k/%03d", i);
        put(f, key, "0123456789");
    }
    struct error e = ERROR_INIT;
    assert_int_equal(store_load(f->s, "k/", note, f, &e), 77);
    assert_true(f->seen.len < 1100);
}

/* A compare that does not hold fails its own batch, whole, and no other. */
static void test_compare(void **state) {
    struct fixture *f = *state;
    assert_int_equal(put(f, "name/a", "1"), 0);
    struct batch *b = batch_new();
    batch_put(b, "vm/1", "x", 1);
    batch_compare_absent(b, "name/a");
    batch_put(b, "name/a", "2", 1);
    commit(f, b);
    b = batch_new();
    batch_compare_absent(b, "name/b");
    batch_put(b, "name/b", "3", 1);
    commit(f, b);
    b = batch_new(); /* sees what the one before it in the same group did */
    batch_compare_absent(b, "name/b");
    batch_put(b, "name/b", "4", 1);
    commit(f, b);
    b = batch_new();
    batch_delete(b, "name/a");
    commit(f, b);
    b = batch_new();
    batch_compare_absent(b, "name/a");
    batch_put(b, "name/a", "5", 1);
    commit(f, b);
    settle(f);
    assert_int_equal(f->results[2], -ESTALE);
    assert_int_equal(f->results[3], 0);
    assert_int_equal(f->results[4], -ESTALE);
    assert_int_equal(f->results[5], 0);
    assert_int_equal(f->results[6], 0);
    expect(f, "", "name/a=5@4 name/b=3@2 ");
}

static void test_empty_batch_and_large_value(void **state) {
    struct fixture *f = *state;
    commit(f, batch_new());
    assert_int_equal(settle(f), 0);
    size_t len = 3 << 20;
    char *large = xmalloc(len + 1), *back;
    memset(large, 'x', len);
    large[len] = 0;
    struct batch *b = batch_new();
    batch_put_take(b, "big/1", large, len);
    commit(f, b);
    assert_int_equal(settle(f), 0);
    struct error e = ERROR_INIT;
    size_t got;
    assert_int_equal(store_get(f->s, "big/1", &back, &got, NULL, &e), 0);
    assert_int_equal(got, len);
    free(back);
    store_close(NULL);
}

/* A thousand commits at once: all reported in order, all there. */
static void test_many_in_flight(void **state) {
    struct fixture *f = *state;
    char key[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "vm/%d", i % 50);
        struct batch *b = batch_new();
        batch_put(b, key, key, strlen(key));
        commit(f, b);
    }
    assert_int_equal(settle(f), 0);
    assert_int_equal(store_revision(f->s), 1000);
}

static void test_memory_faults(void **state) {
    struct fixture *f = *state;
    store_memory_fail(f->s, 1, -ENOSPC);
    assert_int_equal(put(f, "a", "1"), 0);
    assert_int_equal(put(f, "b", "2"), -ENOSPC);
    store_memory_fail(f->s, -1, 0);
    assert_int_equal(put(f, "c", "3"), -ENOSPC); /* until the error is reset */
    store_reset_error(f->s);
    assert_int_equal(put(f, "d", "4"), 0);
    expect(f, "", "a=1@1 d=4@2 ");
}

#define BOTH(t)                                                                                                        \
    cmocka_unit_test_setup_teardown(t, setup_memory, teardown),                                                        \
        cmocka_unit_test_setup_teardown(t, setup_sqlite, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(test_put_get_delete),
        BOTH(test_prefixes),
        BOTH(test_load_stops),
        BOTH(test_compare),
        BOTH(test_empty_batch_and_large_value),
        BOTH(test_many_in_flight),
        cmocka_unit_test_setup_teardown(test_memory_faults, setup_memory, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

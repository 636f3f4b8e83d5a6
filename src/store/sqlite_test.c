/* SPDX-License-Identifier: Apache-2.0 */
/* What can happen to the store's file: crashes, full disks, damage, other versions, a second process. */
#include "store/store.h"

#include "base/buf.h"
#include "base/mem.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

struct fixture {
    char dir[64], path[96];
    uv_loop_t loop;
    struct store *s;
    struct error e;
    uint64_t seq, reported;
    int results[100000];
    size_t items;
};

static void done(void *ctx, uint64_t seq, int result) {
    struct fixture *f = ctx;
    assert_int_equal(seq, ++f->reported);
    f->results[seq] = result;
}

static int setup(void **state) {
    struct fixture *f = xcalloc(1, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/sqlite-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/tarn.db", f->dir);
    uv_loop_init(&f->loop);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    store_close(f->s);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    remove_tree_at(AT_FDCWD, f->dir);
    error_done(&f->e);
    free(f);
    return 0;
}

static int open_it(struct fixture *f) { return store_open_sqlite(f->path, &f->loop, done, f, &f->s, &f->e); }

static void close_it(struct fixture *f) {
    store_close(TAKE_PTR(f->s));
    uv_run(&f->loop, UV_RUN_DEFAULT);
}

static void put(struct fixture *f, const char *key, size_t len) {
    struct batch *b = batch_new();
    char *value = xmalloc(len + 1);
    memset(value, 'v', len);
    value[len] = 0;
    batch_put_take(b, key, value, len);
    store_commit(f->s, ++f->seq, b);
}

static int settle(struct fixture *f) {
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->reported, f->seq);
    return f->results[f->seq];
}

static int put_now(struct fixture *f, const char *key, size_t len) {
    put(f, key, len);
    return settle(f);
}

static int count_item(void *ctx, const char *key, const char *value, size_t len, int64_t revision) {
    ((struct fixture *)ctx)->items++;
    return 0;
}

static size_t count_items(struct fixture *f, const char *prefix) {
    f->items = 0;
    assert_int_equal(store_load(f->s, prefix, count_item, f, &f->e), 0);
    return f->items;
}

/* By hand, with SQLite itself. */
static void sql(const char *path, const char *text) {
    sqlite3 *db;
    char *message = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", text, message);
    sqlite3_close(db);
}

static int64_t ask(const char *path, const char *text) {
    sqlite3 *db;
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

static void refused(struct fixture *f, enum error_code code, const char *text) {
    assert_true(open_it(f) < 0);
    assert_null(f->s);
    if (f->e.code != code || !strstr(f->e.message, text))
        fail_msg("%s: %s", error_code_text(f->e.code), f->e.message);
    error_done(&f->e);
}

static void test_reopen(void **state) {
    struct fixture *f = *state;
    assert_int_equal(open_it(f), 0);
    for (int i = 0; i < 300; i++) {
        char key[32];
        snprintf(key, sizeof key, "vm/%03d", i % 100);
        put(f, key, 1000);
    }
    close_it(f); /* flushes what is queued, reports nothing more */
    assert_int_equal(open_it(f), 0);
    assert_int_equal(store_revision(f->s), 300);
    assert_int_equal(count_items(f, ""), 100);
    struct batch *b = batch_new();
    batch_delete(b, "vm/000");
    f->seq = f->reported = 0;
    store_commit(f->s, ++f->seq, b);
    assert_int_equal(settle(f), 0);
    close_it(f);
    assert_int_equal(open_it(f), 0);
    assert_int_equal(store_revision(f->s), 301); /* a deletion counts, after a restart too */
    assert_int_equal(count_items(f, ""), 99);
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(ask(f->path, "PRAGMA page_size"), 8192);
}

static void tick(uv_timer_t *t) {}

static void wait_ms(struct fixture *f, int ms) {
    uv_timer_t t;
    uv_timer_init(&f->loop, &t);
    uv_timer_start(&t, tick, (uint64_t)ms, 0);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&t, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
}

/* Superseded values go when nothing else is to do; the newest revision stays, even as a deletion. */
static void test_prune(void **state) {
    struct fixture *f = *state;
    assert_int_equal(open_it(f), 0);
    for (int i = 0; i < 1000; i++) {
        char key[32];
        snprintf(key, sizeof key, "vm/%d", i % 10);
        put(f, key, 100);
    }
    for (int i = 0; i < 5; i++) {
        char key[32];
        snprintf(key, sizeof key, "vm/%d", i);
        struct batch *b = batch_new();
        batch_delete(b, key);
        store_commit(f->s, ++f->seq, b);
    }
    assert_int_equal(settle(f), 0);
    int64_t rows = 0;
    for (int i = 0; i < 100; i++) {
        wait_ms(f, 50);
        rows = ask(f->path, "SELECT count(*) FROM log");
        if (rows == 6)
            break;
    }
    assert_int_equal(rows, 6); /* five values and the newest deletion */
    assert_int_equal(count_items(f, ""), 5);
    close_it(f);
    assert_int_equal(open_it(f), 0);
    assert_int_equal(store_revision(f->s), 1005);
}

/* A writer that is never idle removes what it supersedes as it goes. */
static void test_prune_along(void **state) {
    struct fixture *f = *state;
    assert_int_equal(open_it(f), 0);
    for (int i = 0; i < 8000; i++) {
        char key[32];
        snprintf(key, sizeof key, "vm/%d", i % 10);
        put(f, key, 100);
    }
    assert_int_equal(settle(f), 0);
    assert_true(ask(f->path, "SELECT count(*) FROM superseded") < 2500);
    assert_true(ask(f->path, "SELECT count(*) FROM log") < 2600);
    assert_int_equal(count_items(f, ""), 10);
    assert_int_equal(store_revision(f->s), 8000);
}

static void test_second_process(void **state) {
    struct fixture *f = *state;
    assert_int_equal(open_it(f), 0);
    struct store *first = TAKE_PTR(f->s);
    char text[64];
    snprintf(text, sizeof text, "in use by process %d", (int)getpid());
    refused(f, ERR_IN_USE, text);
    f->s = first;
    close_it(f);
    assert_int_equal(open_it(f), 0);
}

static void write_whole(const char *path, const void *data, size_t len) {
    assert_int_equal(write_file_at(AT_FDCWD, path, data, len, 0600), 0);
}

static void test_damage(void **state) {
    struct fixture *f = *state;
    write_whole(f->path,
                "This is my shopping list, and it is longer than the header of a database would be. Bread, milk, "
                "a hypervisor, and some more text to fill it up.",
                140);
    refused(f, ERR_INVALID, "is not a Tarn store");
    unlink(f->path);
    assert_int_equal(open_it(f), 0);
    for (int i = 0; i < 200; i++) {
        char key[32];
        snprintf(key, sizeof key, "vm/%d", i);
        put(f, key, 3000);
    }
    settle(f);
    close_it(f);
    char *data;
    size_t len;
    assert_int_equal(read_file_at(AT_FDCWD, f->path, 64 << 20, &data, &len), 0);
    write_whole(f->path, data, len / 2);
    refused(f, ERR_IO, "is damaged");
    write_whole(f->path, data, 5000);
    refused(f, ERR_IO, "restore the newest backup");
    memset(data + 8192, 0x5a, 8192); /* a page of rubbish */
    write_whole(f->path, data, len);
    refused(f, ERR_IO, "is damaged");
    free(data);
    write_whole(f->path, "", 0); /* what a file system may leave after a power cut at first start */
    assert_int_equal(open_it(f), 0);
}

/* Cut to nothing, or replaced, while it is in use: no commit succeeds, and the log is kept. */
static void test_lost(void **state) {
    struct fixture *f = *state;
    char wal[128];
    struct stat st;
    snprintf(wal, sizeof wal, "%s-wal", f->path);
    assert_int_equal(open_it(f), 0);
    assert_int_equal(put_now(f, "vm/1", 100), 0);
    assert_int_equal(truncate(f->path, 0), 0);
    assert_int_equal(put_now(f, "vm/2", 100), -EIO);
    store_reset_error(f->s);
    assert_int_equal(put_now(f, "vm/3", 100), -EIO);
    close_it(f);
    assert_int_equal(stat(wal, &st), 0);
    assert_true(st.st_size > 0);
    refused(f, ERR_IO, "restore the newest backup");
    assert_int_equal(unlink(f->path), 0);
    refused(f, ERR_IO, "restore the newest backup");
    assert_int_equal(stat(wal, &st), 0);
    assert_true(st.st_size > 0);
    assert_int_equal(unlink(wal), 0);
    assert_int_equal(open_it(f), 0);
    assert_int_equal(put_now(f, "vm/1", 100), 0);
    write_whole(f->path, "another", 7); /* a new file under the old name */
    assert_int_equal(put_now(f, "vm/2", 100), -EIO);
    close_it(f);
}

static void test_foreign_and_newer(void **state) {
    struct fixture *f = *state;
    sql(f->path, "CREATE TABLE bookmarks(url TEXT)");
    refused(f, ERR_INVALID, "another program");
    unlink(f->path);
    assert_int_equal(open_it(f), 0);
    assert_int_equal(put_now(f, "a", 1), 0);
    close_it(f);
    sql(f->path, "PRAGMA user_version = 7");
    refused(f, ERR_VERSION, "newer Tarn (version 7 of its layout");
    assert_int_equal(ask(f->path, "SELECT count(*) FROM head"), 1);
}

static void test_migration(void **state) {
    struct fixture *f = *state;
    char copy[128];
    sql(f->path, "CREATE TABLE kv(key TEXT PRIMARY KEY, value TEXT);"
                 "INSERT INTO kv VALUES('vm/b', '{\"n\":2}'), ('vm/a', '{\"n\":1}'), ('job/1', '{}')");
    assert_int_equal(open_it(f), 0);
    assert_int_equal(count_items(f, ""), 3);
    char *value;
    int64_t revision;
    assert_int_equal(store_get(f->s, "vm/a", &value, NULL, &revision, &f->e), 0);
    assert_string_equal(value, "{\"n\":1}");
    assert_int_equal(revision, 2);
    free(value);
    assert_int_equal(put_now(f, "vm/c", 5), 0);
    close_it(f);
    snprintf(copy, sizeof copy, "%s.v0", f->path);
    assert_int_equal(ask(copy, "SELECT count(*) FROM kv"), 3); /* as it was */
    assert_int_equal(ask(copy, "PRAGMA user_version"), 0);
    assert_int_equal(ask(f->path, "PRAGMA user_version"), 1);
    assert_int_equal(open_it(f), 0); /* once only */
    assert_int_equal(count_items(f, ""), 4);
}

/* A migration that was interrupted, wherever, is begun again: the file is old until it is new. */
static void test_migration_interrupted(void **state) {
    struct fixture *f = *state;
    char copy[128];
    sql(f->path, "CREATE TABLE kv(key TEXT PRIMARY KEY, value TEXT); INSERT INTO kv VALUES('vm/a', '1')");
    snprintf(copy, sizeof copy, "%s.v0.tmp", f->path);
    write_whole(copy, "half a copy", 11);
    snprintf(copy, sizeof copy, "%s.v0", f->path);
    write_whole(copy, "an older copy", 13);
    assert_int_equal(open_it(f), 0);
    assert_int_equal(count_items(f, ""), 1);
    assert_int_equal(ask(copy, "SELECT count(*) FROM kv"), 1);
}

static void test_permissions(void **state) {
    struct fixture *f = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/none/tarn.db", f->dir);
    assert_true(store_open_sqlite(path, &f->loop, done, f, &f->s, &f->e) < 0);
    assert_int_equal(f->e.code, ERR_NOT_FOUND);
    error_done(&f->e);
    snprintf(path, sizeof path, "%s", f->dir);
    assert_true(store_open_sqlite(path, &f->loop, done, f, &f->s, &f->e) < 0);
    error_done(&f->e);
    assert_int_equal(open_it(f), 0);
    assert_int_equal(put_now(f, "a", 1), 0);
    close_it(f);
    /* As an ordinary user who may only read. */
    pid_t pid = fork();
    if (pid == 0) {
        int bad = 0;
        if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
            _exit(10);
        bad |= open_it(f) != -EROFS || f->e.code != ERR_READ_ONLY;
        _exit(bad);
    }
    int status;
    chmod(f->dir, 0755);
    waitpid(pid, &status, 0);
    if (geteuid() == 0)
        assert_int_equal(status, 0);
}

/* A file system that is full, then not. Nothing acknowledged is lost, nothing that depended on a failure is tried. */
static void fill_and_recover(struct fixture *f, void (*make_room)(struct fixture *)) {
    char key[32];
    assert_int_equal(open_it(f), 0);
    int good = 0;
    for (; good < 5000; good++) {
        snprintf(key, sizeof key, "vm/%05d", good);
        if (put_now(f, key, 4000) < 0)
            break;
    }
    assert_true(good > 5 && good < 5000);
    assert_int_equal(f->results[f->seq], -ENOSPC);
    assert_int_equal(count_items(f, "vm/"), good);     /* reading goes on */
    assert_int_equal(put_now(f, "small", 1), -ENOSPC); /* not tried before the reset */
    put(f, "queued", 1);
    store_reset_error(f->s); /* one that was decided before the reset still fails */
    assert_int_equal(settle(f), -ENOSPC);
    make_room(f);
    assert_int_equal(put_now(f, "after", 4000), 0);
    assert_int_equal(count_items(f, ""), good + 1);
    assert_int_equal(store_revision(f->s), good + 1);
    close_it(f);
    assert_int_equal(open_it(f), 0);
    assert_int_equal(count_items(f, ""), good + 1);
    close_it(f);
}

static void raise_limit(struct fixture *f) {
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
}

static void test_file_size_limit(void **state) {
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = 300000;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    fill_and_recover(*state, raise_limit);
}

static void remove_ballast(struct fixture *f) {
    char path[128];
    snprintf(path, sizeof path, "%s/ballast", f->dir);
    assert_int_equal(unlink(path), 0);
}

static void test_full_disk(void **state) {
    struct fixture *f = *state;
    char path[128];
    if (geteuid() != 0 || mount("tarn", f->dir, "tmpfs", 0, "size=2m") < 0)
        skip();
    char *ballast = xcalloc(1, 1 << 20);
    snprintf(path, sizeof path, "%s/ballast", f->dir);
    write_whole(path, ballast, 1 << 20);
    free(ballast);
    fill_and_recover(f, remove_ballast);
    umount2(f->dir, MNT_DETACH);
}

static void test_no_room_to_open(void **state) {
    struct fixture *f = *state;
    char path[128];
    if (geteuid() != 0 || mount("tarn", f->dir, "tmpfs", 0, "size=64k") < 0)
        skip();
    snprintf(path, sizeof path, "%s/ballast", f->dir);
    char *ballast = xcalloc(1, 60 << 10);
    write_whole(path, ballast, 60 << 10);
    free(ballast);
    refused(f, ERR_NO_SPACE, "make room");
    umount2(f->dir, MNT_DETACH);
}

static void test_read_only_file_system(void **state) {
    struct fixture *f = *state;
    if (geteuid() != 0 || mount("tarn", f->dir, "tmpfs", 0, "size=4m") < 0)
        skip();
    assert_int_equal(open_it(f), 0);
    assert_int_equal(put_now(f, "a", 1), 0);
    close_it(f);
    assert_int_equal(mount(NULL, f->dir, NULL, MS_REMOUNT | MS_RDONLY, "size=4m"), 0);
    refused(f, ERR_READ_ONLY, "writable");
    umount2(f->dir, MNT_DETACH);
}

/* ---- killed at any moment ---- */

static int acknowledge_fd;

static void acknowledged(void *ctx, uint64_t seq, int result) {
    if (result != 0)
        _exit(20);
    if (write(acknowledge_fd, &seq, sizeof seq) != sizeof seq)
        _exit(21);
}

static void more(uv_idle_t *h) {
    struct fixture *f = h->data;
    static uint64_t next;
    /* Some in flight, so that groups form; each batch has a value and an index entry that belong together. */
    for (int i = 0; i < 8; i++) {
        char key[40], value[40];
        f->seq++;
        next = f->seq;
        snprintf(value, sizeof value, "%llu", (unsigned long long)next);
        struct batch *b = batch_new();
        snprintf(key, sizeof key, "a/%llu", (unsigned long long)next);
        batch_put(b, key, value, strlen(value));
        snprintf(key, sizeof key, "b/%llu", (unsigned long long)(next % 100));
        batch_put(b, key, value, strlen(value));
        if (next > 50) {
            snprintf(key, sizeof key, "a/%llu", (unsigned long long)(next - 50));
            batch_delete(b, key);
        }
        store_commit(f->s, next, b);
    }
    if (next > 90000)
        _exit(0);
}

static void run_writer(struct fixture *f, uint64_t from) {
    uv_loop_t loop;
    uv_loop_init(&loop);
    if (store_open_sqlite(f->path, &loop, acknowledged, f, &f->s, &f->e) < 0) {
        fprintf(stderr, "%s\n", f->e.message);
        _exit(22);
    }
    f->seq = from;
    uv_idle_t idle;
    uv_idle_init(&loop, &idle);
    idle.data = f;
    uv_idle_start(&idle, more);
    for (;;) {
        uv_run(&loop, UV_RUN_NOWAIT);
        usleep(200);
    }
}

static uint64_t seen_a, seen_b, low_a;
static size_t n_a;

static int note_kept(void *ctx, const char *key, const char *value, size_t len, int64_t revision) {
    uint64_t n = strtoull(value, NULL, 10);
    if (key[0] == 'a') {
        assert_int_equal(strtoull(key + 2, NULL, 10), n);
        n_a++;
        if (n > seen_a)
            seen_a = n;
        if (n < low_a)
            low_a = n;
    } else if (n > seen_b) {
        seen_b = n;
    }
    return 0;
}

static void test_killed(void **state) {
    struct fixture *f = *state;
    uint64_t last = 0, total = 0;
    int rounds = getenv("TARN_KILL_ROUNDS") ? atoi(getenv("TARN_KILL_ROUNDS")) : 50;
    srand((unsigned)getpid());
    for (int round = 0; round < rounds; round++) {
        int fds[2], status;
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pid_t pid = fork();
        if (pid == 0) {
            acknowledge_fd = fds[1];
            run_writer(f, last);
        }
        close(fds[1]);
        usleep((useconds_t)(3000 + rand() % 60000));
        kill(pid, SIGKILL);
        uint64_t seq, first = last;
        while (read(fds[0], &seq, sizeof seq) == sizeof seq)
            last = seq;
        close(fds[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        total += last - first;
        assert_int_equal(open_it(f), 0);
        seen_a = seen_b = n_a = 0;
        low_a = UINT64_MAX;
        assert_int_equal(store_load(f->s, "", note_kept, f, &f->e), 0);
        assert_true(seen_a >= last);      /* all that was acknowledged, perhaps a little more */
        assert_int_equal(seen_a, seen_b); /* and batches are whole */
        if (seen_a > 50)
            assert_int_equal(n_a, 50);
        assert_true(n_a == 0 || low_a == seen_a - n_a + 1);
        last = seen_a;
        close_it(f);
    }
    print_message("killed %d times, %llu commits acknowledged\n", rounds, (unsigned long long)total);
}

int main(void) {
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_reopen),
        T(test_prune),
        T(test_prune_along),
        T(test_second_process),
        T(test_damage),
        T(test_lost),
        T(test_foreign_and_newer),
        T(test_migration),
        T(test_migration_interrupted),
        T(test_permissions),
        T(test_full_disk),
        T(test_no_room_to_open),
        T(test_read_only_file_system),
        T(test_killed),
        T(test_file_size_limit), /* last: its limit stays if it fails */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* How fast the store is on this disk: store_bench [DIRECTORY] (default /var/tmp). */
#include "store/store.h"

#include "base/mem.h"
#include "os/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include <uv.h>

#define VALUE 2048
#define MANY  100000

static uv_loop_t loop;
static struct store *store;
static uint64_t sent, reported, total, keys, started[MANY + 1];
static uint32_t took[MANY + 1]; /* µs */
static char value[VALUE + 1];

static void send_one(void) {
    char key[32];
    struct batch *b = batch_new();
    sent++;
    snprintf(key, sizeof key, "vm/%06llu", (unsigned long long)(sent * 7919 % keys));
    batch_put(b, key, value, VALUE);
    started[sent] = uv_hrtime();
    store_commit(store, sent, b);
}

static void done(void *ctx, uint64_t seq, int result) {
    if (result < 0) {
        fprintf(stderr, "commit %llu: %s\n", (unsigned long long)seq, strerror(-result));
        exit(1);
    }
    took[seq] = (uint32_t)((uv_hrtime() - started[seq]) / 1000);
    reported++;
    if (sent < total)
        send_one();
}

static int compare(const void *a, const void *b) {
    return (*(const uint32_t *)a > *(const uint32_t *)b) - (*(const uint32_t *)a < *(const uint32_t *)b);
}

/* n commits, always so many in flight, over so many keys. */
static void commits(const char *what, uint64_t n, int in_flight, uint64_t over) {
    sent = reported = 0;
    total = n;
    keys = over;
    uint64_t start = uv_hrtime();
    for (int i = 0; i < in_flight && sent < total; i++)
        send_one();
    while (reported < total)
        uv_run(&loop, UV_RUN_ONCE);
    double s = (double)(uv_hrtime() - start) / 1e9;
    qsort(took + 1, n, sizeof *took, compare);
    printf("%-40s %8.0f/s  p50 %7.2f ms  p99 %7.2f ms  max %7.2f ms\n", what, (double)n / s, took[1 + n / 2] / 1e3,
           took[1 + n * 99 / 100] / 1e3, took[n] / 1e3);
}

static int count(void *ctx, const char *key, const char *v, size_t len, int64_t revision) {
    *(size_t *)ctx += len;
    return 0;
}

static void reopen(const char *path) {
    struct error e = ERROR_INIT;
    store_close(store);
    uv_run(&loop, UV_RUN_DEFAULT);
    uint64_t start = uv_hrtime();
    if (store_open_sqlite(path, &loop, done, NULL, &store, &e) < 0) {
        fprintf(stderr, "%s\n", e.message);
        exit(1);
    }
    uint64_t opened = uv_hrtime();
    size_t bytes = 0;
    store_load(store, "", count, &bytes, &e);
    printf("%-40s %8.3f s to open (checked whole), %.3f s to load %zu MiB\n", "restart", (double)(opened - start) / 1e9,
           (double)(uv_hrtime() - opened) / 1e9, bytes >> 20);
}

int main(int argc, char **argv) {
    _cleanup_free_ char *dir = xasprintf("%s/store-bench-XXXXXX", argc > 1 ? argv[1] : "/var/tmp");
    if (!mkdtemp(dir)) {
        perror(dir);
        return 1;
    }
    _cleanup_free_ char *path = xasprintf("%s/tarn.db", dir);
    memset(value, 'v', VALUE);
    uv_loop_init(&loop);
    reopen(path);
    commits("one at a time, 2 KiB", 1000, 1, 1000);
    commits("64 in flight", 20000, 64, 20000);
    commits("1000 in flight, 100,000 objects", MANY, 1000, MANY);
    reopen(path);
    commits("64 in flight, over 100,000 objects", 20000, 64, MANY);
    commits("one at a time, over 100,000 objects", 1000, 1, MANY);
    store_close(store);
    uv_run(&loop, UV_RUN_DEFAULT);
    remove_tree_at(AT_FDCWD, dir);
    return 0;
}

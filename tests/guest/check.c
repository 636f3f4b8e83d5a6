/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs inside a guest and checks its memory and its disk, for ever, while it changes both: what a migration must not
 * lose. A static program, put into debian-tiny's initramfs by tests/lib/checker.py.
 *
 *     tarn-check MEMORY_MIB [DISK DISK_MIB]
 *
 * Every page of the memory holds its number, how often it was written, and words that follow from both; every block of
 * the disk the same with a checksum, and which of them was written last is remembered in memory. Each second a line:
 *
 *     CHECK pages=N blocks=N errors=N up=SECONDS
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE  4096
#define WORDS (PAGE / 8)

static uint64_t errors;

static uint64_t mix(uint64_t x) {
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdULL;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ULL;
    return x ^ x >> 33;
}

static void fill(uint64_t *page, uint64_t number, uint64_t times) {
    uint64_t seed = mix(number * 0x9e3779b97f4a7c15ULL + times);
    page[0] = number;
    page[1] = times;
    for (int i = 2; i < WORDS; i++)
        page[i] = seed + (uint64_t)i * 0x9e3779b9ULL;
}

static void verify(const uint64_t *page, uint64_t number, uint64_t times, const char *what) {
    uint64_t seed = mix(number * 0x9e3779b97f4a7c15ULL + times);
    int bad = page[0] != number || page[1] != times ? 0 : -1;
    for (int i = 2; i < WORDS && bad < 0; i++)
        if (page[i] != seed + (uint64_t)i * 0x9e3779b9ULL)
            bad = i;
    if (bad < 0)
        return;
    if (++errors < 20)
        printf("CHECK ERROR %s %llu, written %llu times: word %d is %llx\n", what, (unsigned long long)number,
               (unsigned long long)times, bad, (unsigned long long)page[bad]);
}

struct area {
    uint64_t n, at;
    uint64_t *times; /* of each */
    uint64_t done;
};

static void area_init(struct area *a, uint64_t n) {
    a->n = n;
    a->times = calloc(n, sizeof *a->times);
    if (!a->times)
        exit(1);
}

/* One page: looked at, then written anew; another one, far away, looked at. */
static void memory_step(struct area *a, uint64_t *memory) {
    uint64_t i = a->at++ % a->n, far = mix(a->at) % a->n;
    verify(memory + i * WORDS, i, a->times[i], "page");
    fill(memory + i * WORDS, i, ++a->times[i]);
    verify(memory + far * WORDS, far, a->times[far], "page");
    a->done++;
}

static int disk_io(int fd, uint64_t *block, uint64_t i, int write_it) {
    ssize_t n = write_it ? pwrite(fd, block, PAGE, (off_t)(i * PAGE)) : pread(fd, block, PAGE, (off_t)(i * PAGE));
    if (n == PAGE)
        return 0;
    if (++errors < 20)
        printf("CHECK ERROR block %llu: %s: %s\n", (unsigned long long)i, write_it ? "write" : "read", strerror(errno));
    return -1;
}

static void disk_step(struct area *a, int fd, uint64_t *block) {
    uint64_t i = mix(a->at++) % a->n;
    if (a->times[i] && disk_io(fd, block, i, 0) == 0)
        verify(block, i, a->times[i], "block");
    fill(block, i, ++a->times[i]);
    disk_io(fd, block, i, 1);
    a->done++;
}

static double up(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    struct area pages = {0}, blocks = {0};
    double told = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 2 && argc != 4)
        return 2;
    size_t size = (size_t)atoi(argv[1]) << 20;
    uint64_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t *block = aligned_alloc(PAGE, PAGE);
    int fd = argc == 4 ? open(argv[2], O_RDWR | O_DIRECT | O_DSYNC) : -1;
    if (memory == MAP_FAILED || !block || (argc == 4 && fd < 0)) {
        perror("CHECK cannot begin");
        return 1;
    }
    area_init(&pages, size / PAGE);
    if (fd >= 0)
        area_init(&blocks, ((uint64_t)atoi(argv[3]) << 20) / PAGE);
    for (uint64_t i = 0; i < pages.n; i++)
        fill(memory + i * WORDS, i, 0);
    for (;;) {
        for (int i = 0; i < 64; i++)
            memory_step(&pages, memory);
        if (fd >= 0)
            disk_step(&blocks, fd, block);
        if (up() - told < 1)
            continue;
        told = up();
        printf("CHECK pages=%llu blocks=%llu errors=%llu up=%.1f\n", (unsigned long long)pages.done,
               (unsigned long long)blocks.done, (unsigned long long)errors, told);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of storage: scratch directories and programs. */
#pragma once

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;

/* Runs a program with its output thrown away (NULL-terminated arguments); its exit status. */
__attribute__((unused)) static int run(const char *program, ...) {
    const char *argv[32] = {program};
    va_list ap;
    va_start(ap, program);
    for (size_t i = 1; i < ARRAY_LEN(argv) - 1 && (argv[i] = va_arg(ap, const char *)); i++)
        ;
    va_end(ap);
    posix_spawn_file_actions_t fa;
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
    if (!getenv("TARN_TEST_VERBOSE"))
        posix_spawn_file_actions_addopen(&fa, 2, "/dev/null", O_WRONLY, 0);
    pid_t pid;
    int status, r = posix_spawnp(&pid, program, &fa, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&fa);
    if (r != 0 || waitpid(pid, &status, 0) != pid)
        return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* A path inside the scratch directory of this test program; one of eight buffers that take turns. */
extern char scratch[64];
__attribute__((unused, format(printf, 1, 2))) static const char *in_scratch(const char *fmt, ...) {
    static char bufs[8][512];
    static unsigned turn;
    char *b = bufs[turn++ % 8];
    int n = snprintf(b, sizeof(bufs[0]), "%s/", scratch);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(b + n, sizeof(bufs[0]) - (size_t)n, fmt, ap);
    va_end(ap);
    return b;
}

__attribute__((unused)) static void scratch_make(void) {
    snprintf(scratch, sizeof(scratch), "/tmp/tarn-storage-XXXXXX");
    assert_non_null(mkdtemp(scratch));
}

__attribute__((unused)) static void scratch_remove(void) { run("rm", "-rf", scratch, NULL); }

__attribute__((unused)) static void write_file(const char *path, const void *data, size_t len) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
}

__attribute__((unused)) static void write_at(const char *path, uint64_t offset, const void *data, size_t len) {
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(fd, (const char *)data + done, len - done, (off_t)(offset + done));
        assert_true(n > 0);
        done += (size_t)n;
    }
    close(fd);
}

__attribute__((unused)) static uint64_t file_length(const char *path) {
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

/* A disk of `size` bytes with a partition up to its end, and random data at its beginning, middle and very end. */
__attribute__((unused)) static void make_raw(const char *path, uint64_t size, size_t each) {
    uint8_t *data = xmalloc(each);
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < each; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        data[i] = (uint8_t)x;
    }
    memset(data + 446, 0, 64);
    data[510] = 0x55, data[511] = 0xaa;
    data[450] = 0x83;
    for (int i = 0; i < 4; i++) {
        data[454 + i] = (uint8_t)(2048 >> (8 * i));
        data[458 + i] = (uint8_t)((size / 512 - 2048) >> (8 * i));
    }
    unlink(path);
    write_at(path, 0, data, each);
    data[0] ^= 1;
    write_at(path, size / 2 & ~UINT64_C(4095), data, each);
    data[0] ^= 2;
    write_at(path, size - each, data, each);
    free(data);
}

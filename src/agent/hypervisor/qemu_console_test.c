/* SPDX-License-Identifier: Apache-2.0 */
/* A console between a scripted guest and its viewers. */
#include "agent/hypervisor/qemu_console.h"

#include "base/mem.h"
#include "os/file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
    uv_loop_t loop;
    struct qemu_console *c;
    int guest; /* the guest's end */
};

static void turn(struct world *w) {
    for (int i = 0; i < 5; i++)
        uv_run(&w->loop, UV_RUN_NOWAIT);
}

static int setup(void **state) {
    struct world *w = xcalloc(1, sizeof *w);
    int fds[2];
    uv_loop_init(&w->loop);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return -1;
    w->c = qemu_console_new(&w->loop);
    w->guest = fds[1];
    *state = w;
    return qemu_console_connect(w->c, fds[0]);
}

static int teardown(void **state) {
    struct world *w = *state;
    qemu_console_free(w->c);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    int r = uv_loop_close(&w->loop);
    close_fd(&w->guest);
    free(w);
    return r;
}

static void guest_says(struct world *w, const char *text) {
    assert_int_equal(write(w->guest, text, strlen(text)), (ssize_t)strlen(text));
    turn(w);
}
static void reads(int fd, const char *text) {
    char got[256];
    ssize_t n = read(fd, got, sizeof got - 1);
    got[n > 0 ? n : 0] = 0;
    assert_string_equal(got, text);
}

static void test_fan_out(void **state) {
    struct world *w = *state;
    guest_says(w, "before ");
    int a = qemu_console_view(w->c, NULL), b = qemu_console_view(w->c, NULL);
    reads(a, "before ");
    guest_says(w, "now");
    reads(a, "now");
    reads(b, "before now");
    assert_int_equal(write(a, "1", 1), 1);
    turn(w);
    assert_int_equal(write(b, "2", 1), 1);
    turn(w);
    reads(w->guest, "12");
    close(a);
    turn(w);
    guest_says(w, "!");
    reads(b, "!");
    close_fd(&w->guest);
    turn(w);
    reads(b, ""); /* still open: a guest that reconnects goes on here */
    assert_int_equal(errno, EAGAIN);
    qemu_console_free(TAKE_PTR(w->c));
    assert_int_equal(read(b, &(char){0}, 1), 0);
    close(b);
}

static void test_ring(void **state) {
    struct world *w = *state;
    char block[1000], got[CONSOLE_RING + 1000];
    for (int i = 0; i < 50; i++) {
        memset(block, 'A' + i % 26, sizeof block);
        assert_int_equal(write(w->guest, block, sizeof block), sizeof block);
        turn(w);
    }
    guest_says(w, "end");
    int v = qemu_console_view(w->c, NULL);
    size_t len = 0;
    for (ssize_t n; len < sizeof got && (n = read(v, got + len, sizeof got - len)) > 0;)
        len += (size_t)n;
    assert_int_equal(len, CONSOLE_RING);
    assert_memory_equal(got + CONSOLE_RING - 3, "end", 3);
    assert_int_equal(got[CONSOLE_RING - 4], 'A' + 49 % 26);
    assert_int_equal(got[0], 'A' + (50 * 1000 + 3 - CONSOLE_RING) / 1000 % 26);
    close(v);
}

/* One viewer does not read: neither the guest nor the other one waits, and it is told what it has lost. */
static void test_slow_viewer(void **state) {
    struct world *w = *state;
    char block[4096], got[65536];
    int slow = qemu_console_view(w->c, NULL), quick = qemu_console_view(w->c, NULL);
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 500; i++) {
        assert_int_equal(write(w->guest, block, sizeof block), sizeof block);
        turn(w);
        assert_int_equal(read(quick, got, sizeof got), sizeof block);
    }
    for (int i = 0; i < 100 && read(slow, got, sizeof got) > 0; i++)
        ;
    turn(w);
    guest_says(w, "again");
    memset(got, 0, sizeof got);
    assert_true(read(slow, got, sizeof got - 1) > 0);
    assert_non_null(strstr(got, "output lost"));
    assert_non_null(strstr(got, "again"));
    close(slow);
    close(quick);
}

/* The guest does not read: what its viewers type waits in their own sockets, and arrives. */
static void test_guest_does_not_read(void **state) {
    struct world *w = *state;
    char block[4096];
    size_t typed = 0, arrived = 0;
    int v = qemu_console_view(w->c, NULL);
    memset(block, 'y', sizeof block);
    for (int i = 0; i < 1000; i++) {
        ssize_t n = send(v, block, sizeof block, MSG_DONTWAIT);
        typed += n > 0 ? (size_t)n : 0;
        turn(w);
    }
    assert_true(typed < 1000 * sizeof block);
    for (int i = 0; i < 2000 && arrived < typed; i++) {
        ssize_t n = read(w->guest, block, sizeof block);
        arrived += n > 0 ? (size_t)n : 0;
        turn(w);
    }
    assert_int_equal(arrived, typed);
    close(v);
}

static void test_many(void **state) {
    struct world *w = *state;
    _cleanup_error_ struct error e = ERROR_INIT;
    int fds[CONSOLE_VIEWERS_MAX];
    for (int i = 0; i < CONSOLE_VIEWERS_MAX; i++)
        assert_true((fds[i] = qemu_console_view(w->c, NULL)) >= 0);
    assert_true(qemu_console_view(w->c, &e) < 0);
    assert_int_equal(e.code, ERR_RATE);
    for (int i = 0; i < CONSOLE_VIEWERS_MAX; i++)
        close(fds[i]);
    turn(w);
    int v = qemu_console_view(w->c, NULL);
    assert_true(v >= 0);
    close(v);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_fan_out), T(test_ring), T(test_slow_viewer), T(test_guest_does_not_read),
                                       T(test_many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

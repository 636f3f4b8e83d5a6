/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated driver as the agent uses it. */
#include "agent/hypervisor/sim.h"

#include "agent/hypervisor/hypervisor.h"
#include "base/json.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#define VM "01900000-0000-7000-8000-000000000001"

static struct world {
    uv_loop_t loop;
    struct hypervisor *h;
    uint64_t last_call;
    enum error_code code;
    json_t *result;
    int event;
} w;

static void on_done(void *ctx, uint64_t call, const struct error *error, const json_t *result) {
    w.last_call = call;
    w.code = error ? error->code : ERR_OK;
    json_decref(w.result);
    w.result = result ? json_deep_copy(result) : NULL;
}
static void on_guest(void *ctx, const char *vm, enum guest_event event, const char *reason) {
    assert_string_equal(vm, VM);
    w.event = (int)event;
}

static int setup(void **state) {
    static const struct hypervisor_events events = {.done = on_done, .guest = on_guest};
    uv_loop_init(&w.loop);
    hypervisor_sim_set_latency(1);
    struct hypervisor_config config = {.loop = &w.loop, .state_dirfd = -1, .events = &events};
    w.event = -1;
    return hypervisor_sim.open(&config, &w.h, NULL);
}

static int teardown(void **state) {
    hypervisor_sim.close(w.h);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    json_decref(w.result);
    w.result = NULL;
    return uv_loop_close(&w.loop);
}

static void until_call(uint64_t call) {
    for (int i = 0; i < 1000 && w.last_call != call; i++)
        uv_run(&w.loop, UV_RUN_ONCE);
    assert_int_equal(w.last_call, call);
}

static void until_event(int event) {
    for (int i = 0; i < 1000 && w.event != event; i++)
        uv_run(&w.loop, UV_RUN_ONCE);
    assert_int_equal(w.event, event);
}

static void start(uint64_t call, const char *cmdline) {
    json_t *args = json_pack("{s{ss ss ss si si}}", "vm", "id", VM, "name", "x", "cmdline", cmdline, "cpus", 2,
                             "memory", 268435456);
    struct api_guest_start s;
    assert_int_equal(api_guest_start_parse(args, API_PEER, &s, NULL), 0);
    struct guest_files files;
    guest_files_init(&files);
    files.seed_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int fd = files.seed_fd;
    hypervisor_sim.start(w.h, call, &s, &files);
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* its own now, and closed */
    api_guest_start_done(&s);
    json_decref(args);
    until_call(call);
}

static const char *found(uint64_t call) {
    hypervisor_sim.find(w.h, call, VM);
    until_call(call);
    return json_str(w.result, "state");
}

static void lifecycle(void **state) {
    assert_string_equal(found(1), "unknown");
    start(2, "");
    assert_int_equal(w.code, ERR_OK);
    assert_string_equal(found(3), "running");
    start(4, ""); /* again: nothing happens */
    hypervisor_sim.suspend(w.h, 5, VM);
    until_call(5);
    assert_string_equal(found(6), "suspended");
    hypervisor_sim.resume(w.h, 7, VM);
    until_call(7);
    hypervisor_sim.shutdown(w.h, 8, VM);
    until_event(GUEST_POWEROFF);
    assert_string_equal(found(9), "stopped");
    hypervisor_sim.kill(w.h, 10, VM);
    until_call(10);
    assert_string_equal(found(11), "unknown");
    hypervisor_sim.kill(w.h, 12, VM);
    until_call(12);
    assert_int_equal(w.code, ERR_OK);
    hypervisor_sim.suspend(w.h, 13, VM);
    until_call(13);
    assert_int_equal(w.code, ERR_CONFLICT);
    hypervisor_sim.forget(w.h, 14, VM);
    until_call(14);
}

static void fates(void **state) {
    start(1, "quiet sim.panic=0.1");
    until_event(GUEST_PANICKED);
    assert_string_equal(found(2), "crashed");
    start(3, "sim.die=0.1");
    until_event(GUEST_DIED);
    assert_string_equal(found(4), "unknown");
    start(5, "sim.poweroff=0.1");
    until_event(GUEST_POWEROFF);
    start(6, "sim.reset=0.1");
    until_event(GUEST_RESET);
    hypervisor_sim.kill(w.h, 7, VM);
    until_call(7);
    start(8, "sim.fail");
    assert_int_equal(w.code, ERR_GUEST);
}

static void console_echoes(void **state) {
    struct error e = ERROR_INIT;
    assert_true(hypervisor_sim.console(w.h, VM, CONSOLE_SERIAL, &e) < 0);
    start(1, "");
    assert_true(hypervisor_sim.console(w.h, VM, CONSOLE_VNC, &e) < 0);
    assert_int_equal(e.code, ERR_UNSUPPORTED);
    error_done(&e);
    int fd = hypervisor_sim.console(w.h, VM, CONSOLE_SERIAL, NULL),
        other = hypervisor_sim.console(w.h, VM, CONSOLE_SERIAL, NULL);
    assert_true(fd >= 0 && other >= 0);
    close(other);
    assert_int_equal(write(fd, "hello", 5), 5);
    char text[200] = "";
    size_t n = 0;
    for (int i = 0; i < 100 && !strstr(text, "hello"); i++) {
        uv_run(&w.loop, UV_RUN_NOWAIT);
        ssize_t got = read(fd, text + n, sizeof(text) - 1 - n);
        n += got > 0 ? (size_t)got : 0;
        poll(NULL, 0, 2);
    }
    assert_non_null(strstr(text, "hello"));
    close(fd);
}

static void sample_grows(void **state) {
    struct api_vm_stats a = {0}, b = {0};
    assert_int_equal(hypervisor_sim.sample(w.h, VM, &a), -ENOENT);
    start(1, "");
    poll(NULL, 0, 20);
    assert_int_equal(hypervisor_sim.sample(w.h, VM, &a), 0);
    poll(NULL, 0, 20);
    assert_int_equal(hypervisor_sim.sample(w.h, VM, &b), 0);
    assert_true(b.cpu > a.cpu && b.net_send > a.net_send && b.memory > 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {T(lifecycle), T(fates), T(console_echoes), T(sample_grows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

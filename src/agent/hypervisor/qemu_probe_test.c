/* SPDX-License-Identifier: Apache-2.0 */
/* What the probe makes of QEMUs of all kinds, played by shell scripts. */
#include "agent/hypervisor/qemu_probe.h"

#include "base/mem.h"
#include "os/file.h"
#include "os/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static uv_loop_t loop;
static char dir[] = "/tmp/tarn-probe-XXXXXX";
static int dirfd_;
static char *path_before;
static struct qemu_probe_result got;
static bool done;
static size_t models_seen;

static void on_done(void *ctx, const struct qemu_probe_result *r) {
    qemu_probe_result_done(&got);
    got = *r;
    got.reason = xstrdup(r->reason);
    got.models = NULL;
    got.n_models = 0;
    models_seen = r->n_models;
    done = true;
}

static void probe(void) {
    uv_update_time(&loop);
    struct qemu_probe *p = qemu_probe_new(&loop, dirfd_, NULL, on_done, NULL);
    done = false;
    while (!done)
        uv_run(&loop, UV_RUN_ONCE);
    qemu_probe_free(p);
    uv_run(&loop, UV_RUN_NOWAIT);
}

/* A QEMU that says this to -version, and does that with a guest. */
static void fake(const char *version, const char *guest) {
    _cleanup_free_ char *text = xasprintf(
        "#!/bin/sh\nif [ \"$1\" = -version ]; then %s; exit 0; fi\n"
        "case \"$*\" in *'-machine none'*) echo '{\"return\": [{\"name\": \"A\", \"unavailable-features\": [], "
        "\"migration-safe\": true}]}'; exit 0;; esac\n echo x >> %s/runs\n%s\n",
        version, dir, guest);
    int r = write_file_at(dirfd_, QEMU_BINARY, text, strlen(text), 0755);
    assert_int_equal(r, 0);
    assert_int_equal(fchmodat(dirfd_, QEMU_BINARY, 0755, 0), 0);
}

static int runs(void) {
    _cleanup_free_ char *text = NULL;
    size_t len = 0;
    read_file_at(dirfd_, "runs", 4096, &text, &len);
    return (int)len / 2;
}

static int setup(void **state) {
    unlinkat(dirfd_, QEMU_BINARY, 0);
    unlinkat(dirfd_, "probe.json", 0);
    unlinkat(dirfd_, "cpu-models.json", 0);
    unlinkat(dirfd_, "runs", 0);
    unsetenv("TARN_ACCEL");
    return setenv("PATH", dir, 1);
}

#define GOOD       "echo 'QEMU emulator version 9.1.2 (Debian 1:9.1)'"
#define SAYS(text) assert_non_null(strstr(got.reason, text))

static void test_version(void **state) {
    char v[32];
    int major;
    assert_int_equal(qemu_version_parse("QEMU emulator version 10.0.2 (x)\nCopyright", v, sizeof v, &major), 0);
    assert_string_equal(v, "10.0.2");
    assert_int_equal(major, 10);
    assert_true(qemu_version_parse("", v, sizeof v, &major) < 0);
    assert_true(qemu_version_parse("version x", v, sizeof v, &major) < 0);
    assert_true(qemu_version_parse("version 1.11111111111111111111111111111111111111111", v, sizeof v, &major) < 0);
}

static void test_unusable(void **state) {
    probe();
    assert_false(got.usable);
    SAYS("install the package qemu-system-x86");
    fake("echo hello", "exit 0");
    probe();
    assert_false(got.usable);
    SAYS("reinstall");
    fake("echo 'QEMU emulator version 5.2.0'", "exit 0");
    probe();
    assert_false(got.usable);
    SAYS("5.2.0 is too old");
    assert_int_equal(runs(), 0);
}

static void test_forced(void **state) {
    fake(GOOD, "exit 1");
    setenv("TARN_ACCEL", "kvm", 1);
    probe();
    assert_true(got.usable && got.kvm && got.version_major == 9);
    assert_int_equal(models_seen, 1);
    setenv("TARN_ACCEL", "tcg", 1);
    probe();
    assert_true(got.usable && !got.kvm);
    assert_int_equal(models_seen, 1);
    assert_int_equal(runs(), 0);
}

static void test_kvm_works(void **state) {
    if (access("/dev/kvm", R_OK | W_OK) < 0)
        skip();
    fake(GOOD, "printf abcdef; exit 67");
    probe();
    assert_true(got.usable && got.kvm);
    assert_string_equal(got.version, "9.1.2");
    SAYS("KVM works");
    probe();
    assert_true(got.kvm);
    assert_int_equal(runs(), 1);
    /* Another QEMU: asked again. */
    fake("echo 'QEMU emulator version 9.2.0'", "echo 'no such CPU' >&2; exit 1");
    probe();
    assert_true(got.usable && !got.kvm);
    SAYS("no such CPU");
    assert_int_equal(runs(), 2);
    /* What may be put right tomorrow is not kept. */
    probe();
    assert_int_equal(runs(), 3);
}

static void test_kvm_hangs(void **state) {
    if (access("/dev/kvm", R_OK | W_OK) < 0)
        skip();
    fake(GOOD, "printf abcde; exec /bin/sleep 20");
    probe();
    assert_true(got.usable && !got.kvm);
    SAYS("far too slowly");
    SAYS("emulated");
    probe();
    assert_false(got.kvm);
    assert_int_equal(runs(), 1);
    assert_int_equal(write_file_at(dirfd_, "probe.json", "{", 1, 0600), 0);
    fake(GOOD, "exit 67");
    probe();
    assert_true(got.kvm);
}

static int group_setup(void **state) {
    path_before = xstrdup(getenv("PATH"));
    log_set_level(LOG_LEVEL_ERROR);
    if (!mkdtemp(dir) || uv_loop_init(&loop) < 0)
        return -1;
    dirfd_ = open_dir(dir);
    return 0;
}

static int group_teardown(void **state) {
    qemu_probe_result_done(&got);
    uv_run(&loop, UV_RUN_NOWAIT);
    close_fd(&dirfd_);
    setenv("PATH", path_before, 1);
    free(path_before);
    return remove_tree_at(AT_FDCWD, dir);
}

int main(void) {
#define T(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {T(test_version), T(test_unusable), T(test_forced), T(test_kvm_works),
                                       T(test_kvm_hangs)};
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}

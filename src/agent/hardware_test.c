/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded machines, this one, and a change that the kernel tells of. */
#include "agent/hardware_recorded.h"

#include "base/mem.h"
#include "os/file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct api_hardware h;

static void collect(const char *name) {
    _cleanup_free_ char *path = xasprintf("%s/%s", RECORDED, name), *text = NULL;
    assert_int_equal(read_file_at(AT_FDCWD, path, 1 << 20, &text, NULL), 0);
    struct hardware_tree tree = hardware_recorded(text);
    api_hardware_init(&h);
    hardware_collect(&tree, &h);
}

static int done(void **state) {
    api_hardware_done(&h);
    return 0;
}

static void test_small_vm(void **state) {
    collect("small-vm.txt");
    assert_string_equal(h.cpu_model, "Intel(R) Xeon(R) Processor");
    assert_string_equal(h.cpu_vendor, "GenuineIntel");
    assert_string_equal(h.os, "Debian GNU/Linux 12 (bookworm)");
    assert_int_equal(h.cpus, 2);
    assert_int_equal(h.sockets, 1);
    assert_int_equal(h.cores, 2);
    assert_int_equal(h.threads, 1);
    assert_int_equal(h.memory, 24684096LL * 1024);
    assert_int_equal(h.n_numa, 1);
    assert_string_equal(h.numa[0].cpus, "0-1");
    assert_int_equal(h.n_nics, 1);
    assert_string_equal(h.nics[0].name, "eth0");
    assert_true(h.nics[0].up);
    assert_int_equal(h.nics[0].n_addresses, 2);
    assert_string_equal(h.nics[0].addresses[1], "fd00::2/64");
}

static void test_two_sockets(void **state) {
    collect("two-sockets.txt");
    assert_string_equal(h.cpu_model, "AMD EPYC 7313 16-Core Processor");
    assert_string_equal(h.cpu_vendor, "AuthenticAMD");
    assert_int_equal(h.cpus, 64);
    assert_int_equal(h.sockets, 2);
    assert_int_equal(h.cores, 16);
    assert_int_equal(h.threads, 2);
    assert_int_equal(h.n_numa, 2);
    assert_string_equal(h.numa[1].cpus, "16-31,48-63");
    assert_int_equal(h.numa[1].memory, 264078720LL * 1024);
    /* Guests' taps are no hardware; neither is what has no device and no address. */
    static const char *const nics[] = {"bond0", "br0", "eno1", "eno2", "wg0"};
    assert_int_equal(h.n_nics, ARRAY_LEN(nics));
    for (size_t i = 0; i < ARRAY_LEN(nics); i++)
        assert_string_equal(h.nics[i].name, nics[i]);
    assert_int_equal(h.nics[1].n_addresses, 2);
    assert_int_equal(h.nics[2].speed, 25000);
    assert_int_equal(h.nics[2].mtu, 9000);
    assert_string_equal(h.nics[2].driver, "ice");
    assert_int_equal(h.nics[2].n_addresses, 0);
    assert_false(h.nics[3].up);
    assert_int_equal(h.nics[3].speed, 0);
    assert_true(h.nics[4].up);
    assert_int_equal(h.n_disks, 2);
    assert_string_equal(h.disks[0].name, "nvme0n1");
    assert_string_equal(h.disks[0].model, "SAMSUNG MZQL21T9HCJR-00A07");
    assert_int_equal(h.disks[0].size, 3750748848LL * 512);
    assert_false(h.disks[0].rotational);
    assert_true(h.disks[1].rotational);
    assert_int_equal(h.n_accelerators, 3);
    assert_string_equal(h.accelerators[0].type, "display");
    assert_string_equal(h.accelerators[1].type, "3d");
    assert_string_equal(h.accelerators[1].device, "10de:20f1");
    assert_string_equal(h.accelerators[1].driver, "nvidia");
    assert_int_equal(h.accelerators[1].numa_node, 1);
    assert_string_equal(h.accelerators[2].type, "processing");
    assert_int_equal(h.accelerators[2].numa_node, -1);
}

static void test_nothing(void **state) {
    struct hardware_tree tree = hardware_recorded("");
    api_hardware_init(&h);
    hardware_collect(&tree, &h);
    assert_int_equal(h.cpus, 0);
    assert_string_equal(h.cpu_model, "");
    assert_int_equal(h.n_nics + h.n_disks + h.n_numa + h.n_accelerators, 0);
}

static void test_this_machine(void **state) {
    api_hardware_init(&h);
    hardware_of_system(&h);
    assert_true(h.cpus >= 1 && h.sockets >= 1 && h.cores >= 1 && h.threads >= 1);
    assert_true(h.memory > 16 << 20);
    assert_string_not_equal(h.kernel, "");
    assert_string_equal(h.architecture, "x86_64");
}

static void on_changed(void *ctx) { ++*(int *)ctx; }

/* Without a change there is no call; how one is told is shown by the lab's tests, which have a network to change. */
static void test_watch(void **state) {
    uv_loop_t loop;
    struct hardware_watch *w;
    int changes = 0;
    uv_loop_init(&loop);
    hardware_watch_new(&loop, on_changed, &changes, &w);
    uv_run(&loop, UV_RUN_NOWAIT);
    hardware_watch_free(w);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(changes, 0);
    api_hardware_init(&h);
}

int main(void) {
#define T(name) cmocka_unit_test_teardown(name, done)
    const struct CMUnitTest tests[] = {T(test_small_vm), T(test_two_sockets), T(test_nothing), T(test_this_machine),
                                       T(test_watch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

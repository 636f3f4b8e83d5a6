/* SPDX-License-Identifier: Apache-2.0 */
/* What is written where, in trees of ordinary files; and on this machine as it is. */
#include "agent/cgroup.h"

#include "base/mem.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SERVER "01a1fcb9-7c73-7000-9701-568d6f6a217f"
#define VM     "01a1fcb9-7c73-7000-9701-000000000001"

static char root[64];

static int setup(void **state) {
    snprintf(root, sizeof root, "/tmp/tarn-cgroup-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state) { return remove_tree_at(AT_FDCWD, root); }

static void put(const char *path, const char *text) {
    _cleanup_free_ char *whole = xasprintf("%s/%s", root, path), *dir = xstrdup(whole);
    *strrchr(dir, '/') = '\0';
    assert_int_equal(make_dirs(dir, 0755), 0);
    assert_int_equal(write_file_at(AT_FDCWD, whole, text, strlen(text), 0644), 0);
}

static void has(const char *path, const char *text) {
    _cleanup_free_ char *whole = xasprintf("%s/%s", root, path), *is = NULL;
    assert_int_equal(read_file_at(AT_FDCWD, whole, 4096, &is, NULL), 0);
    assert_string_equal(is, text);
}

static const char typical[] =
    "25 30 0:23 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "26 25 0:24 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "27 25 0:25 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    "28 25 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "29 25 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
    "30 25 0:28 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw\n";

static void test_mounts(void **state) {
    struct cgroup_mounts m;
    cgroup_mounts_parse(typical, &m);
    assert_string_equal(m.v2, "/sys/fs/cgroup/unified");
    assert_string_equal(m.v1[CGROUP_CPU], "/sys/fs/cgroup/cpu,cpuacct");
    assert_string_equal(m.v1[CGROUP_CPUSET], "/sys/fs/cgroup/cpuset");
    assert_string_equal(m.v1[CGROUP_MEMORY], "/sys/fs/cgroup/memory");
    cgroup_mounts_done(&m);
    cgroup_mounts_parse("x\n - \n - cgroup\n1 2 3 4 5 - cgroup2 a b\n1 2 3 4 / - cgroup c rw,cpuacct", &m);
    assert_null(m.v2);
    assert_null(m.v1[CGROUP_CPU]);
    cgroup_mounts_done(&m);
}

static struct api_vm_limits some(void) {
    return (struct api_vm_limits){
        .cpu_shares = 200, .cpu_cap = 50, .pinning = (char *)"0-1", .numa_node = 0, .memory_max = 1 << 28};
}
static struct api_vm_limits none(void) { return (struct api_vm_limits){.pinning = (char *)"", .numa_node = -1}; }

static void make(struct cgroups *c, const struct api_vm_limits *l, size_t wanted) {
    _cleanup_error_ struct error e = ERROR_INIT;
    struct child_groups g = {.into = -1};
    assert_int_equal(cgroups_make(c, VM, l, &g, &e), 0);
    assert_int_equal(g.n_tasks, wanted);
    assert_int_equal(g.into >= 0, wanted == 0);
    child_groups_done(&g);
}

static void test_v1(void **state) {
    struct cgroup_mounts m = {
        .v1 = {xasprintf("%s/cpu", root), xasprintf("%s/memory", root), xasprintf("%s/set", root)}};
    struct api_vm_limits l = some();
    _cleanup_error_ struct error e = ERROR_INIT;
    put("cpu/tasks", "");
    put("memory/tasks", "");
    put("set/cpuset.cpus", "0-3\n");
    put("set/cpuset.mems", "0-1\n");
    struct cgroups *c = cgroups_new_at(&m, SERVER, "/", true);
    assert_null(cgroups_problem(c));
    assert_string_equal(cgroups_word(c), "cgroup-v1");
    assert_true(cgroups_can_pin(c));
    make(c, &l, 3);
    has("cpu/tarn/" VM "." SERVER "/cpu.shares", "2048");
    has("cpu/tarn/" VM "." SERVER "/cpu.cfs_quota_us", "50000");
    has("cpu/tarn/" VM "." SERVER "/cpu.cfs_period_us", "100000");
    has("memory/tarn/" VM "." SERVER "/memory.limit_in_bytes", "268435456");
    has("set/tarn/" VM "." SERVER "/cpuset.cpus", "0-1");
    has("set/tarn/" VM "." SERVER "/cpuset.mems", "0");
    l = none();
    assert_int_equal(cgroups_change(c, VM, &l, 4711, &e), 0);
    has("cpu/tarn/" VM "." SERVER "/cpu.shares", "1024");
    has("cpu/tarn/" VM "." SERVER "/cpu.cfs_quota_us", "-1");
    has("memory/tarn/" VM "." SERVER "/memory.limit_in_bytes", "-1");
    has("set/tarn/" VM "." SERVER "/cpuset.cpus", "0-3");
    has("set/tarn/" VM "." SERVER "/cgroup.procs", "4711");
    cgroups_free(c);
    cgroup_mounts_done(&m);
}

static void test_v2(void **state) {
    struct cgroup_mounts m = {.v2 = xstrdup(root)};
    struct api_vm_limits l = some();
    _cleanup_error_ struct error e = ERROR_INIT;
    put("cgroup.controllers", "cpuset cpu io memory pids\n");
    put("tarn/cgroup.controllers", "cpuset cpu memory\n");
    struct cgroups *c = cgroups_new_at(&m, SERVER, "/", true);
    assert_string_equal(cgroups_word(c), "cgroup-v2");
    has("cgroup.subtree_control", "+cpuset"); /* the last of three writes */
    has("tarn/cgroup.subtree_control", "+cpuset");
    make(c, &l, 0);
    has("tarn/" VM "." SERVER "/cpu.weight", "200");
    has("tarn/" VM "." SERVER "/cpu.max", "50000 100000");
    has("tarn/" VM "." SERVER "/cpuset.cpus", "0-1");
    has("tarn/" VM "." SERVER "/cpuset.mems", "0");
    has("tarn/" VM "." SERVER "/memory.max", "268435456");
    assert_false(cgroups_ran_out(c, VM));
    put("tarn/" VM "." SERVER "/memory.events", "low 0\noom 3\noom_kill 0\noom_group_kill 0\n");
    assert_false(cgroups_ran_out(c, VM));
    put("tarn/" VM "." SERVER "/memory.events", "low 0\noom 3\noom_kill 1\n");
    assert_true(cgroups_ran_out(c, VM));
    l = none();
    assert_int_equal(cgroups_change(c, VM, &l, 7, &e), 0);
    has("tarn/" VM "." SERVER "/cpu.weight", "100");
    has("tarn/" VM "." SERVER "/cpu.max", "max 100000");
    has("tarn/" VM "." SERVER "/cpuset.cpus", "\n");
    has("tarn/" VM "." SERVER "/memory.max", "max");
    cgroups_free(c);
    cgroup_mounts_done(&m);
}

/* In a container, and for an ordinary user with a group of the session manager's. */
static void test_v2_beside_ours(void **state) {
    struct cgroup_mounts m = {.v2 = xstrdup(root)};
    put("cgroup.controllers", "cpu memory\n");
    put("tarn/x", ""); /* the root does not pass its controllers on */
    put("user/app/cgroup.controllers", "cpu memory\n");
    put("user/app/tarn/cgroup.controllers", "cpu memory\n");
    struct cgroups *c = cgroups_new_at(&m, SERVER, "/user/app/shell.scope", true);
    assert_string_equal(cgroups_word(c), "cgroup-v2");
    assert_false(cgroups_can_pin(c));
    struct api_vm_limits l = some();
    _cleanup_error_ struct error e = ERROR_INIT;
    struct child_groups g = {.into = -1};
    assert_true(cgroups_make(c, VM, &l, &g, &e) < 0);
    assert_non_null(strstr(e.message, "no cpuset"));
    l.pinning = (char *)"";
    l.numa_node = -1;
    make(c, &l, 0);
    has("user/app/tarn/" VM "." SERVER "/cpu.weight", "200");
    cgroups_free(c);
    cgroup_mounts_done(&m);
}

static void refused(struct cgroups *c, const char *why) {
    struct api_vm_limits l = some();
    _cleanup_error_ struct error e = ERROR_INIT;
    struct child_groups g = {.into = -1};
    assert_non_null(cgroups_problem(c));
    assert_true(cgroups_make(c, VM, &l, &g, &e) < 0);
    assert_int_equal(e.code, ERR_UNSUPPORTED);
    assert_non_null(strstr(e.message, why));
    l = none();
    assert_int_equal(cgroups_change(c, VM, &l, 1, &e), 0);
    cgroups_free(c);
}

static void test_neither(void **state) {
    struct cgroup_mounts m = {0};
    refused(cgroups_new_at(&m, SERVER, "/", true), "no control groups");
    m.v2 = xstrdup(root);
    put("cgroup.controllers", "hugetlb\n");
    refused(cgroups_new_at(&m, SERVER, "/", true), "no controllers for CPU and memory");
    put("cgroup.controllers", "cpu memory\n");
    put("tarn/x", "");
    refused(cgroups_new_at(&m, SERVER, "/", true), "do not pass");
    m.v1[CGROUP_MEMORY] = xasprintf("%s/memory", root);
    put("memory/tasks", "");
    refused(cgroups_new_at(&m, SERVER, "/", true), "lack the controller");
    cgroup_mounts_done(&m);
}

static void test_sweep(void **state) {
    struct cgroup_mounts m = {.v2 = xstrdup(root)};
    put("cgroup.controllers", "cpu memory\n");
    put("tarn/cgroup.controllers", "cpu memory\n");
    put("tarn/" VM "." SERVER "/cgroup.procs", "1"); /* not empty: stays */
    struct cgroups *c = cgroups_new_at(&m, SERVER, "/", true);
    _cleanup_free_ char *gone = xasprintf("%s/tarn/x." SERVER, root), *other = xasprintf("%s/tarn/x.other", root),
                        *kept = xasprintf("%s/tarn/" VM "." SERVER, root);
    assert_int_equal(mkdir(gone, 0755) | mkdir(other, 0755), 0);
    cgroups_sweep(c);
    assert_int_equal(access(gone, F_OK), -1);
    assert_int_equal(access(other, F_OK), 0);
    assert_int_equal(access(kept, F_OK), 0);
    cgroups_free(c);
    cgroup_mounts_done(&m);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_mounts),         T(test_v1),      T(test_v2),
                                       T(test_v2_beside_ours), T(test_neither), T(test_sweep)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "os/child.h"

#include "base/mem.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

struct result {
    uv_loop_t loop;
    bool ended;
    struct child_exit how;
    struct buf streamed;
    char *out, *err;
    bool free_on_output;
    struct child *c;
};

static void ended(void *ctx, struct child *c, struct child_exit how) {
    struct result *r = ctx;
    assert_false(r->ended);
    r->ended = true;
    r->how = how;
    r->out = xstrdup(child_output(c)->data);
    r->err = xstrdup(child_error(c)->data);
    child_free(c);
}

static void streamed(void *ctx, const char *data, size_t len) {
    struct result *r = ctx;
    buf_add(&r->streamed, data, len);
    if (r->free_on_output)
        child_free(TAKE_PTR(r->c));
}

static int setup(void **state) {
    struct result *r = xcalloc(1, sizeof *r);
    uv_loop_init(&r->loop);
    *state = r;
    return 0;
}

static int teardown(void **state) {
    struct result *r = *state;
    uv_run(&r->loop, UV_RUN_DEFAULT);
    int closed = uv_loop_close(&r->loop);
    buf_done(&r->streamed);
    free(r->out);
    free(r->err);
    free(r);
    return closed;
}

static struct child_spec spec_for(struct result *r, const char *const *argv) {
    return (struct child_spec){.argv = argv, .output_max = 4096, .error_max = 4096, .on_exit = ended, .ctx = r};
}

static void run(struct result *r, const struct child_spec *spec) {
    assert_int_equal(child_spawn(&r->loop, spec, &r->c), 0);
    uv_run(&r->loop, UV_RUN_DEFAULT);
}

static void run_shell(struct result *r, const char *script) {
    struct child_spec spec = spec_for(r, (const char *const[]){"sh", "-c", script, NULL});
    run(r, &spec);
}

static void test_output_and_status(void **state) {
    struct result *r = *state;
    run_shell(r, "echo out; echo err >&2; exit 3");
    assert_true(r->ended);
    assert_false(r->how.signalled);
    assert_int_equal(r->how.value, 3);
    assert_string_equal(r->out, "out\n");
    assert_string_equal(r->err, "err\n");
}

static void test_signal_status(void **state) {
    struct result *r = *state;
    run_shell(r, "kill -TERM $$");
    assert_true(r->how.signalled);
    assert_int_equal(r->how.value, SIGTERM);
}

static void test_exec_errors(void **state) {
    struct result *r = *state;
    struct child *c = NULL;
    struct child_spec spec = spec_for(r, (const char *const[]){"/no/such/program", NULL});
    assert_int_equal(child_spawn(&r->loop, &spec, &c), -ENOENT);
    spec.argv = (const char *const[]){"no-such-program-anywhere", NULL};
    assert_int_equal(child_spawn(&r->loop, &spec, &c), -ENOENT);
    spec.argv = (const char *const[]){"/etc/passwd", NULL};
    assert_int_equal(child_spawn(&r->loop, &spec, &c), -EACCES);
    spec.argv = (const char *const[]){"", NULL};
    assert_int_equal(child_spawn(&r->loop, &spec, &c), -ENOENT);
    spec.argv = (const char *const[]){"true", NULL};
    spec.user = "no-such-user-anywhere";
    if (geteuid() == 0)
        assert_int_equal(child_spawn(&r->loop, &spec, &c), -ENOENT);
    assert_null(c);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie is left */
}

static void test_input(void **state) {
    struct result *r = *state;
    struct child_spec spec = spec_for(r, (const char *const[]){"cat", NULL});
    spec.input = "to be\0copied";
    spec.input_len = 12;
    spec.on_output = streamed;
    run(r, &spec);
    assert_int_equal(r->streamed.len, 12);
    assert_memory_equal(r->streamed.data, "to be\0copied", 12);
}

static void test_output_is_capped(void **state) {
    struct result *r = *state;
    struct child_spec spec = spec_for(r, (const char *const[]){"head", "-c", "3000000", "/dev/zero", NULL});
    spec.output_max = 1000;
    spec.on_output = streamed;
    assert_int_equal(child_spawn(&r->loop, &spec, &r->c), 0);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_int_equal(r->streamed.len, 3000000);
    assert_int_equal(r->how.value, 0);
}

static void test_null_by_default(void **state) {
    struct result *r = *state;
    struct child_spec spec = {
        .argv = (const char *const[]){"sh", "-c", "readlink /proc/self/fd/0; cat; echo lost >&2", NULL},
        .output_max = 100,
        .on_exit = ended,
        .ctx = r};
    run(r, &spec);
    assert_string_equal(r->out, "/dev/null\n");
    assert_null(r->err);
}

/* Descriptors whose numbers overlap in every way arrive where they should, and no other does. */
static void test_descriptors(void **state) {
    struct result *r = *state;
    int files[3];
    for (int i = 0; i < 3; i++) {
        int fd = memfd_create("x", MFD_CLOEXEC);
        assert_int_equal(write_all(fd, &"abc"[i], 1), 0);
        lseek(fd, 0, SEEK_SET);
        files[i] = fcntl(fd, F_DUPFD_CLOEXEC, 40 + i);
        close(fd);
    }
    int leak = open("/etc/passwd", O_RDONLY); /* no O_CLOEXEC, on purpose */
    /* 40→41, 41→42, 42→40: a ring. 40→7 as well, and a gap between. */
    struct child_fd fds[] = {{files[0], files[1]}, {files[1], files[2]}, {files[2], files[0]}, {files[0], 7}};
    struct child_spec spec =
        spec_for(r, (const char *const[]){"sh", "-c",
                                          "cat /proc/self/fd/41 /proc/self/fd/42 /proc/self/fd/40 /proc/self/fd/7;"
                                          " ls -m /proc/$$/fd; true",
                                          NULL});
    assert_int_equal(files[0], 40);
    spec.fds = fds;
    spec.n_fds = ARRAY_LEN(fds);
    run(r, &spec);
    assert_string_equal(r->out, "abca0, 1, 2, 40, 41, 42, 7\n");
    close(leak);
    for (int i = 0; i < 3; i++)
        close(files[i]);
    fds[3].to = 41; /* twice the same target */
    r->ended = false;
    assert_int_equal(child_spawn(&r->loop, &spec, &r->c), -EINVAL);
    fds[3] = (struct child_fd){-1, 7};
    assert_int_equal(child_spawn(&r->loop, &spec, &r->c), -EINVAL);
}

static void test_output_given(void **state) {
    struct result *r = *state;
    int fd = memfd_create("x", MFD_CLOEXEC);
    struct child_fd fds[] = {{fd, 2}};
    struct child_spec spec = spec_for(r, (const char *const[]){"sh", "-c", "echo out; echo err >&2", NULL});
    spec.fds = fds;
    spec.n_fds = 1;
    run(r, &spec);
    char got[8] = "";
    assert_int_equal(pread(fd, got, sizeof got - 1, 0), 4);
    assert_string_equal(got, "err\n");
    assert_string_equal(r->out, "out\n");
    assert_true(str_empty(r->err));
    close(fd);
}

static void test_environment_and_group(void **state) {
    struct result *r = *state;
    setenv("TARN_TEST_SECRET", "visible", 1);
    run_shell(r, "env | sort | tr '\\n' ' '; test $(cut -d' ' -f5 /proc/$$/stat) = $$ && echo own group");
    unsetenv("TARN_TEST_SECRET");
    assert_null(strstr(r->out, "SECRET"));
    assert_non_null(strstr(r->out, "LANG=C.UTF-8"));
    assert_non_null(strstr(r->out, "own group"));
}

static void test_signals_are_reset(void **state) {
    struct result *r = *state;
    signal(SIGPIPE, SIG_IGN);
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, &old);
    run_shell(r, "grep -E 'Sig(Blk|Ign)' /proc/self/status");
    sigprocmask(SIG_SETMASK, &old, NULL);
    signal(SIGPIPE, SIG_DFL);
    /* 32 and 33 are the C library's own: an ancestor may have left them ignored, and nobody can change that. */
    unsigned long long blocked = 1, ignored = 1;
    assert_int_equal(sscanf(r->out, "SigBlk:\t%llx\nSigIgn:\t%llx\n", &blocked, &ignored), 2);
    assert_int_equal(blocked, 0);
    assert_int_equal(ignored & ~(3ULL << 31), 0);
}

static void test_limits(void **state) {
    struct result *r = *state;
    struct child_spec spec = spec_for(r, (const char *const[]){"sh", "-c", "ulimit -t; ulimit -v; ulimit -f", NULL});
    spec.limit_cpu_s = 7;
    spec.limit_memory = 512 << 20;
    spec.limit_file_size = 1 << 20;
    run(r, &spec);
    assert_string_equal(r->out, "7\n524288\n2048\n");
}

static void test_user(void **state) {
    struct result *r = *state;
    if (geteuid() != 0)
        skip();
    struct child_spec spec =
        spec_for(r, (const char *const[]){"sh", "-c", "id -un; id -Gn; grep NoNewPrivs /proc/self/status", NULL});
    spec.user = "nobody";
    run(r, &spec);
    assert_string_equal(r->out, "nobody\nnogroup\nNoNewPrivs:\t1\n");
    assert_int_equal(geteuid(), 0);
}

static void test_timeout(void **state) {
    struct result *r = *state;
    struct child_spec spec = spec_for(r, (const char *const[]){"sh", "-c", "sleep 1000 & echo $!; wait", NULL});
    spec.timeout_ms = 200;
    uint64_t start = uv_hrtime();
    run(r, &spec);
    assert_true(r->how.signalled);
    assert_int_equal(r->how.value, SIGKILL);
    assert_true(uv_hrtime() - start < 900 * 1000000ULL); /* what it started has not kept the pipe open */
}

/* A daemon that inherited the pipe does not hold back the end of the one that started it. */
static void test_grandchild_keeps_pipe(void **state) {
    struct result *r = *state;
    uint64_t start = uv_hrtime();
    run_shell(r, "setsid sleep 20 & echo $!");
    assert_true(r->ended);
    assert_int_equal(r->how.value, 0);
    assert_true(uv_hrtime() - start < 10 * 1000000000ULL);
    kill(atoi(r->out), SIGKILL);
}

static void test_free_kills(void **state) {
    struct result *r = *state;
    struct child_spec spec = spec_for(r, (const char *const[]){"sleep", "1000", NULL});
    assert_int_equal(child_spawn(&r->loop, &spec, &r->c), 0);
    pid_t pid = child_pid(r->c);
    child_free(r->c);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_false(r->ended);
    assert_int_equal(kill(pid, 0), -1); /* killed and reaped */
    child_free(NULL);
}

static void test_free_in_output(void **state) {
    struct result *r = *state;
    struct child_spec spec = spec_for(r, (const char *const[]){"sh", "-c", "echo one; sleep 1000", NULL});
    spec.on_output = streamed;
    r->free_on_output = true;
    run(r, &spec);
    assert_null(r->c);
    assert_false(r->ended);
}

static void tick(uv_timer_t *t) {}

/* A detached child survives us, writes on without SIGPIPE, and what it writes is bounded. */
static void test_detached(void **state) {
    struct result *r = *state;
    struct child_spec spec = spec_for(
        r, (const char *const[]){"sh", "-c",
                                 "echo hello; echo problem >&2; head -c 9000 /dev/zero; test $? != 0 && exit 5", NULL});
    spec.detach = spec.new_session = true;
    run(r, &spec);
    assert_int_equal(r->how.value, 5);
    assert_string_equal(r->out, "hello\n");
    assert_string_equal(r->err, "problem\nhead: error writing 'standard output': Operation not permitted\n");
    r->ended = false;
    spec.argv = (const char *const[]){"sleep", "1000", NULL};
    assert_int_equal(child_spawn(&r->loop, &spec, &r->c), 0);
    pid_t pid = child_pid(r->c);
    assert_int_equal(getsid(pid), pid);
    child_free(r->c);
    assert_int_equal(uv_run(&r->loop, UV_RUN_NOWAIT), 0); /* it does not keep the loop alive */
    assert_int_equal(kill(pid, SIGKILL), 0);
    uv_timer_t alive; /* as in a real loop, which has other things to wait for */
    uv_timer_init(&r->loop, &alive);
    uv_timer_start(&alive, tick, 1, 1);
    for (int i = 0; i < 5000 && kill(pid, 0) == 0; i++)
        uv_run(&r->loop, UV_RUN_ONCE);
    assert_int_equal(kill(pid, 0), -1);
    uv_close((uv_handle_t *)&alive, NULL);
    uv_run(&r->loop, UV_RUN_DEFAULT);
}

static void note_end(void *ctx) { ++*(int *)ctx; }

static void test_pidwatch(void **state) {
    struct result *r = *state;
    struct child_spec spec = spec_for(r, (const char *const[]){"sleep", "1000", NULL});
    assert_int_equal(child_spawn(&r->loop, &spec, &r->c), 0);
    int ends = 0, never = 0;
    struct pidwatch *a, *b;
    assert_int_equal(pidwatch_new(&r->loop, child_pidfd(r->c), note_end, &ends, &a), 0);
    assert_int_equal(pidwatch_new(&r->loop, child_pidfd(r->c), note_end, &never, &b), 0);
    pidwatch_free(b);
    uv_run(&r->loop, UV_RUN_NOWAIT);
    assert_int_equal(ends, 0);
    child_kill(r->c, SIGTERM);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_int_equal(ends, 1);
    assert_int_equal(never, 0);
    assert_true(r->ended && r->how.signalled && r->how.value == SIGTERM);
    pidwatch_free(a);
    pidwatch_free(NULL);
    assert_int_equal(pidwatch_new(&r->loop, -1, note_end, &ends, &a), -EBADF);
}

static void test_start_time(void **state) {
    uint64_t mine, first;
    assert_int_equal(process_start_time(getpid(), &mine), 0);
    assert_int_equal(process_start_time(1, &first), 0);
    assert_true(mine > first);
    assert_int_equal(process_start_time(0x3fffffff, &mine), -ESRCH);
}

/* The clean-up of one on_exit may wait for nothing: 200 at once, each reported once. */
static void count_end(void *ctx, struct child *c, struct child_exit how) {
    ++*(int *)ctx;
    child_free(c);
}

static void test_many(void **state) {
    struct result *r = *state;
    int ends = 0;
    struct child_spec spec = {
        .argv = (const char *const[]){"true", NULL}, .on_exit = count_end, .ctx = &ends, .output_max = 10};
    uint64_t start = uv_hrtime();
    for (int i = 0; i < 200; i++) {
        struct child *c;
        assert_int_equal(child_spawn(&r->loop, &spec, &c), 0);
    }
    uint64_t spawned = uv_hrtime();
    uv_run(&r->loop, UV_RUN_DEFAULT);
    print_message("spawn: %.3f ms each\n", (double)(spawned - start) / 200 / 1e6);
    assert_int_equal(ends, 200);
}

/* A lone thread writes itself into each; a failure is the spawn's. */
static void test_groups(void **state) {
    struct result *r = *state;
    char path[] = "/tmp/tarn-child-XXXXXX", text[8] = "";
    _cleanup_close_ int fd = mkstemp(path);
    _cleanup_close_ int read_only = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct child_groups groups = {.into = -1, .tasks = {fd}, .n_tasks = 1};
    struct child_spec spec = spec_for(r, (const char *const[]){"true", NULL});
    spec.groups = &groups;
    run(r, &spec);
    assert_int_equal(pread(fd, text, sizeof text, 0), 1);
    assert_string_equal(text, "0");
    groups.tasks[0] = read_only;
    assert_int_equal(child_spawn(&r->loop, &spec, &r->c), -EBADF);
    unlink(path);
}

/* Born in a group of version 2, where this machine has them and we may make one; a directory that is none is refused.
 */
static void test_born_in_group(void **state) {
    struct result *r = *state;
    static const char *const mounts[] = {"/sys/fs/cgroup/unified", "/sys/fs/cgroup"};
    _cleanup_free_ char *path = NULL;
    struct child_groups groups = {.into = -1};
    struct child_spec spec = spec_for(r, (const char *const[]){"cat", "/proc/self/cgroup", NULL});
    spec.groups = &groups;
    for (size_t i = 0; i < ARRAY_LEN(mounts) && groups.into < 0; i++) {
        path = xasprintf("%s/tarn-child-test-%d", mounts[i], (int)getpid());
        if (mkdir(path, 0755) == 0 && (groups.into = open_dir(path)) >= 0 &&
            faccessat(groups.into, "cgroup.procs", W_OK, 0) == 0)
            break;
        child_groups_done(&groups);
        rmdir(path);
        free(TAKE_PTR(path));
    }
    if (groups.into >= 0) {
        _cleanup_free_ char *name = xasprintf("0::/tarn-child-test-%d\n", (int)getpid());
        run(r, &spec);
        assert_non_null(strstr(r->out, name));
        child_groups_done(&groups);
        assert_int_equal(rmdir(path), 0);
        r->ended = false;
        free(TAKE_PTR(r->out));
        free(TAKE_PTR(r->err));
    }
    groups.into = open_dir("/tmp");
    assert_int_equal(child_spawn(&r->loop, &spec, &r->c), -ENOENT);
    child_groups_done(&groups);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_output_and_status, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signal_status, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exec_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_input, setup, teardown),
        cmocka_unit_test_setup_teardown(test_output_is_capped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_null_by_default, setup, teardown),
        cmocka_unit_test_setup_teardown(test_descriptors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_output_given, setup, teardown),
        cmocka_unit_test_setup_teardown(test_environment_and_group, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signals_are_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_user, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_grandchild_keeps_pipe, setup, teardown),
        cmocka_unit_test_setup_teardown(test_free_kills, setup, teardown),
        cmocka_unit_test_setup_teardown(test_free_in_output, setup, teardown),
        cmocka_unit_test_setup_teardown(test_detached, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pidwatch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_start_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_groups, setup, teardown),
        cmocka_unit_test_setup_teardown(test_born_in_group, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

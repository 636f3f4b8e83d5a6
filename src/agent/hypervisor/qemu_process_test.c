/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that outlive the agent, with a shell script in the place of QEMU. */
#include "agent/hypervisor/qemu_process.h"

#include "base/json.h"
#include "base/mem.h"
#include "os/file.h"
#include "os/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define VM "0193a000-0000-7000-8000-0000000000aa"

static struct {
    uv_loop_t loop;
    char dir[64];
    int dirfd;
    struct qemu_process *p;
    bool ended, known;
    struct child_exit how;
    char *last;
} w;

static void on_end(void *ctx, bool known, struct child_exit how, const char *last) {
    w.ended = true;
    w.known = known;
    w.how = how;
    str_set(&w.last, last);
    qemu_process_free(TAKE_PTR(w.p));
}

static struct qemu_process_spec spec(void) {
    return (struct qemu_process_spec){.loop = &w.loop, .dirfd = w.dirfd, .vm = VM, .on_end = on_end};
}

static void spawn(const char *script) {
    /* As QEMU's arguments begin. */
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)script, (char *)"qemu-system-x86_64", (char *)"-uuid",
                    (char *)VM,   NULL};
    struct qemu_args args = {.argv = argv, .n = 6};
    struct qemu_process_spec s = spec();
    w.ended = false;
    assert_int_equal(qemu_process_spawn(&s, &args, NULL, 1000, &w.p, NULL), 0);
}

static void turn(int ms) {
    for (int i = 0; i < ms / 5 && !w.ended; i++) {
        uv_run(&w.loop, UV_RUN_NOWAIT);
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
}
static int find(const char **reason) {
    struct qemu_process_spec s = spec();
    w.ended = false;
    return qemu_process_find(&s, &w.p, reason);
}

static off_t log_size(void) {
    struct stat st;
    assert_int_equal(fstatat(w.dirfd, "qemu.log", &st, 0), 0);
    return st.st_size;
}

static void test_ends(void **state) {
    spawn("echo one >&2; echo two >&2; echo three >&2; exit 7");
    turn(3000);
    assert_true(w.ended && w.known && !w.how.signalled);
    assert_int_equal(w.how.value, 7);
    assert_string_equal(w.last, "two three");
    assert_int_equal(faccessat(w.dirfd, "process.json", F_OK, 0), -1);
    spawn("exec sleep 100");
    qemu_process_kill(w.p);
    turn(3000);
    assert_true(w.ended && w.known && w.how.signalled);
    assert_int_equal(w.how.value, SIGKILL);
    assert_string_equal(w.last, "");
}

/* A guest that makes QEMU complain for ever fills nothing and does not stand still. */
static void test_flood(void **state) {
    spawn("i=0; while [ $i -lt 20000 ]; do echo 'a line of forty bytes, more or less......' >&2; i=$((i + 1)); done; "
          "exit 1");
    turn(20000);
    assert_true(w.ended && w.how.value == 1);
    assert_true(log_size() > 10000 && log_size() <= 128 * 1024 + 4096);
    assert_non_null(strstr(w.last, "forty bytes"));
    assert_true(strlen(w.last) < 200);
}

static void test_flood_unwatched(void **state) {
    const char *reason = "";
    spawn("i=0; while [ $i -lt 5000 ]; do echo 'a line of forty bytes, more or less......' >&2; i=$((i + 1)); done; "
          "exec sleep 100");
    qemu_process_free(TAKE_PTR(w.p));
    nanosleep(&(struct timespec){.tv_nsec = 700000000}, NULL);
    assert_int_equal(find(&reason), 0);
    turn(200);
    assert_true(log_size() > 1000);
    double cpu;
    int64_t rss;
    assert_int_equal(qemu_process_usage(w.p, &cpu, &rss), 0);
    assert_true(rss > 0);
    assert_int_equal(qemu_process_started(w.p), 1000);
    qemu_process_kill(w.p);
    turn(3000);
    assert_true(w.ended && !w.known);
}

static void record(const char *text) {
    assert_int_equal(write_file_at(w.dirfd, "process.json", text, strlen(text), 0600), 0);
}

static void test_find(void **state) {
    const char *reason = "";
    assert_int_equal(find(&reason), -ENOENT);
    spawn("exec sleep 100");
    _cleanup_free_ char *good = NULL;
    size_t len;
    assert_int_equal(read_file_at(w.dirfd, "process.json", 4096, &good, &len), 0);
    qemu_process_free(TAKE_PTR(w.p));

    _cleanup_json_ json_t *o = json_loads(good, 0, NULL);
    json_set_int(o, "start_time", json_int(o, "start_time", 0) + 1);
    _cleanup_free_ char *other_start = json_text(o);
    record(other_start);
    assert_int_equal(find(&reason), -ENOENT);
    json_set_str(o, "boot", "00000000-0000-0000-0000-000000000000");
    _cleanup_free_ char *other_boot = json_text(o);
    record(other_boot);
    assert_int_equal(find(&reason), -ENOENT);
    assert_non_null(strstr(reason, "restarted"));

    record(good);
    assert_int_equal(find(&reason), 0);
    qemu_process_kill(w.p);
    turn(3000);
    assert_true(w.ended && !w.known);
    assert_int_equal(find(&reason), -ENOENT);
}

/* The agent died between the two records, or the record is torn: the process is known by its arguments. */
static void test_find_by_arguments(void **state) {
    const char *reason = "";
    spawn("sleep 100; true");
    _cleanup_free_ char *good = NULL;
    size_t len;
    assert_int_equal(read_file_at(w.dirfd, "process.json", 4096, &good, &len), 0);
    _cleanup_json_ json_t *o = json_loads(good, 0, NULL);
    qemu_process_free(TAKE_PTR(w.p));
    record("{\"vm\": \"x");
    assert_int_equal(find(&reason), 0);
    qemu_process_free(TAKE_PTR(w.p));
    json_object_set_new(o, "starting", json_true());
    json_object_del(o, "pid");
    _cleanup_free_ char *starting = json_text(o);
    record(starting);
    assert_int_equal(find(&reason), 0);
    qemu_process_free(TAKE_PTR(w.p));

    /* Another agent's on this machine: the guest moves from there to here, and the agent died before it made its own.
     */
    int own = w.dirfd;
    assert_int_equal(mkdirat(own, "other", 0700), 0);
    w.dirfd = openat(own, "other", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    record(starting);
    assert_int_equal(find(&reason), -ENOENT); /* it has made no FIFO yet */
    assert_int_equal(mkfifoat(w.dirfd, "stderr", 0600), 0);
    assert_int_equal(find(&reason), -ENOENT);
    qemu_process_clean(w.dirfd);
    close(w.dirfd);
    w.dirfd = own;
    assert_int_equal(unlinkat(own, "other", AT_REMOVEDIR), 0);

    assert_int_equal(find(&reason), 0);
    qemu_process_kill(w.p);
    turn(3000);
    assert_true(w.ended);
}

/* What tarn-deadman does with who comes: here it takes its time. Returns the pidfd of who waits for leave. */
static int receive_comer(int fd) {
    uint64_t message;
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {&message, sizeof message};
    struct msghdr m = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
    assert_int_equal(recvmsg(fd, &m, MSG_CMSG_CLOEXEC), sizeof message);
    return *(int *)CMSG_DATA(CMSG_FIRSTHDR(&m));
}

/* The agent is killed while its child has not become QEMU yet: nobody would know it for what it becomes. */
static void test_killed_before_the_exec(void **state) {
    int fds[2];
    const char *reason = "";
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    pid_t agent = fork();
    if (agent == 0) {
        uint64_t message = 7;
        struct child_gate gate = {.fd = fds[0], .message = &message, .len = sizeof message};
        char *argv[] = {
            (char *)"sh", (char *)"-c", (char *)"sleep 100; true", (char *)"qemu-system-x86_64", (char *)"-uuid",
            (char *)VM,   NULL};
        struct qemu_args args = {.argv = argv, .n = 6};
        struct qemu_process_spec s = spec();
        s.gate = &gate;
        qemu_process_spawn(&s, &args, NULL, 1000, &w.p, NULL);
        _exit(0);
    }
    struct pollfd end = {.fd = receive_comer(fds[1]), .events = POLLIN};
    assert_int_equal(poll(&end, 1, 0), 0);
    assert_int_equal(kill(agent, SIGKILL), 0);
    assert_int_equal(waitpid(agent, NULL, 0), agent);
    assert_int_equal(poll(&end, 1, 5000), 1); /* without leave, and without having been told */
    assert_int_equal(find(&reason), -ENOENT);
    close(end.fd);
    close(fds[0]);
    close(fds[1]);
}

static void test_no_binary(void **state) {
    char *argv[] = {(char *)"qemu-system-nothing", NULL};
    struct qemu_args args = {.argv = argv, .n = 1};
    struct qemu_process_spec s = spec();
    _cleanup_error_ struct error e = ERROR_INIT;
    assert_true(qemu_process_spawn(&s, &args, NULL, 0, &w.p, &e) < 0);
    assert_non_null(strstr(e.message, "install the package"));
    assert_int_equal(faccessat(w.dirfd, "process.json", F_OK, 0), -1);
}

static void test_long_path(void **state) {
    char name[100];
    memset(name, 'd', 90);
    name[90] = 0;
    int one = make_dir(w.dirfd, name, 0700), two = make_dir(one, name, 0700);
    int l = qemu_socket_listen(two, "s"), c = qemu_socket_connect(two, "s");
    assert_true(l >= 0 && c >= 0);
    assert_int_equal(qemu_socket_connect(two, "t"), -ENOENT);
    close(l);
    close(c);
    close(two);
    close(one);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_flood_unwatched),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_find_by_arguments),
        cmocka_unit_test(test_killed_before_the_exec),
        cmocka_unit_test(test_no_binary),
        cmocka_unit_test(test_long_path),
    };
    snprintf(w.dir, sizeof w.dir, "/tmp/tarn-process-XXXXXX");
    if (!mkdtemp(w.dir) || uv_loop_init(&w.loop) < 0)
        return 1;
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    log_set_level(LOG_LEVEL_ERROR);
    w.dirfd = open_dir(w.dir);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    uv_run(&w.loop, UV_RUN_NOWAIT);
    close_fd(&w.dirfd);
    free(w.last);
    remove_tree_at(AT_FDCWD, w.dir);
    return failed;
}

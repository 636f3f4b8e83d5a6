/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves of a guest whose QEMU has been taken over: a thread stands for its monitor and says what no QEMU says. What it
 * says of itself may end the guest, and nothing else.
 */
#include "agent/hypervisor/qemu_move.h"

#include "base/json.h"
#include "base/mem.h"
#include "os/file.h"
#include "os/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define VM   "0193a000-0000-7000-8000-0000000000bb"
#define MOVE "0193a000-0000-7000-8000-0000000000cc"
#define USER "nobody"

static struct {
    uv_loop_t loop;
    uv_timer_t awake; /* what does not keep the loop alive is looked at all the same */
    struct hypervisor h;
    struct guest *g;
    char dir[64];
    int dirfd, guestfd, listener;
    pid_t pid;
    pthread_t monitor;
    _Atomic int at;    /* of figures: what it says next */
    _Atomic bool post; /* it is in the middle of a post-copy */
    _Atomic bool away; /* it hangs up, and nobody is there */
    _Atomic bool slow; /* "stop" is done, and its answer does not come */
    _Atomic bool stopped;
    bool refuses;         /* to go on; and it is a destination whose guest has come */
    bool goes;            /* it was told to migrate */
    uint64_t ended;       /* the last call … */
    enum error_code code; /* … so … */
    bool alive;           /* … and whether the process was there still */
    int told;             /* words of progress */
    int paused;           /* events */
    char *words;
} w;

/* ---- the monitor ---- */

/* Of its memory: less than nothing is left, of nothing, at whatever rate. */
static const char *const figures[] = {
    "\"remaining\":-5,\"transferred\":-1,\"total\":100,\"mbps\":8",
    "\"remaining\":-9223372036854775807,\"total\":9223372036854775807,\"mbps\":1e300",
    "\"remaining\":9223372036854775807,\"total\":-9223372036854775807,\"mbps\":1e-300",
    "\"remaining\":9223372036854775807,\"total\":1,\"mbps\":-1",
    "\"remaining\":1,\"total\":1,\"mbps\":1e308",
};

static json_t *migration(void) {
    if (w.post)
        return json_pack("{s:s}", "status", "postcopy-active");
    _cleanup_free_ char *text =
        xasprintf("{\"status\":\"%s\",\"ram\":{%s}}", w.goes ? "active" : "none", figures[w.at]);
    return json_loads(text, 0, NULL);
}

static json_t *said(const char *command) {
    if (w.refuses && str_eq(command, "query-status"))
        return json_pack("{s:s}", "status", "paused");
    if (w.refuses && str_eq(command, "cont"))
        return NULL;
    w.goes |= str_eq(command, "migrate");
    if (str_eq(command, "query-status"))
        return json_pack("{s:s}", "status", w.stopped ? "paused" : "running");
    if (str_eq(command, "query-kvm"))
        return json_pack("{s:b}", "enabled", 1);
    if (str_eq(command, "query-migrate"))
        return migration();
    return json_object();
}

static void answer(int fd, const char *line) {
    _cleanup_json_ json_t *o = json_loads(line, 0, NULL);
    if (w.slow && str_eq(json_str(o, "execute"), "stop")) {
        static const char event[] = "{\"event\":\"STOP\"}\n";
        w.stopped = true;
        assert_int_equal(write(fd, event, sizeof event - 1), sizeof event - 1);
        return;
    }
    json_t *good = said(json_str(o, "execute"));
    _cleanup_json_ json_t *reply =
        good ? json_pack("{s:o}", "return", good)
             : json_pack("{s:{s:s, s:s}}", "error", "class", "GenericError", "desc", "Failed to get \"write\" lock");
    json_object_set(reply, "id", json_object_get(o, "id"));
    _cleanup_free_ char *text = json_text(reply);
    ssize_t n = write(fd, text, strlen(text));
    n += write(fd, "\n", 1);
    (void)n;
}

/* A JSON object ends where its braces do: the commands have no line breaks between them. */
static void serve(int fd) {
    char line[65536];
    int depth = 0;
    for (size_t n = 0; n < sizeof line - 1 && read(fd, line + n, 1) == 1;) {
        depth += line[n] == '{' ? 1 : line[n] == '}' ? -1 : 0;
        line[++n] = 0;
        if (depth == 0 && w.away)
            return;
        if (depth == 0) {
            answer(fd, line);
            n = 0;
        }
    }
}

static void *monitor(void *unused) {
    for (int fd; (fd = accept(w.listener, NULL, NULL)) >= 0; close(fd))
        if (!w.away)
            serve(fd);
    return NULL;
}

/* ---- the world ---- */

static void on_done(void *ctx, uint64_t call, const struct error *error, const json_t *result) {
    w.ended = call;
    w.code = error ? error->code : ERR_OK;
    siginfo_t end = {0}; /* it may have ended and not been waited for */
    w.alive = w.pid && waitid(P_PID, (id_t)w.pid, &end, WEXITED | WNOHANG | WNOWAIT) == 0 && !end.si_pid;
}

static void on_guest(void *ctx, const char *vm, enum guest_event event, const char *reason) {
    w.paused += event == GUEST_PAUSED;
}

static void on_progress(void *ctx, uint64_t call, int percent, const char *message) {
    w.told++;
    str_set(&w.words, message);
}

static const struct hypervisor_events events = {.done = on_done, .guest = on_guest, .progress = on_progress};

static void on_end(void *ctx, bool known, struct child_exit how, const char *last) {}

/* What a process of the guest leaves: its record. */
static void make_process(void) {
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)"exec sleep 600", (char *)"qemu-system-x86_64", (char *)"-uuid",
                    (char *)VM,   NULL};
    struct qemu_args args = {.argv = argv, .n = 6};
    struct qemu_process_spec spec = {.loop = &w.loop, .dirfd = w.guestfd, .vm = VM, .on_end = on_end};
    struct qemu_process *p;
    assert_int_equal(qemu_process_spawn(&spec, &args, NULL, 1000, &p, NULL), 0);
    _cleanup_free_ char *text = NULL;
    assert_int_equal(read_file_at(w.guestfd, "process.json", 4096, &text, NULL), 0);
    _cleanup_json_ json_t *record = json_loads(text, 0, NULL);
    w.pid = (pid_t)json_int(record, "pid", 0);
    qemu_process_free(p);
}

static void turn(void) {
    uv_run(&w.loop, UV_RUN_NOWAIT);
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

#define wait_for(condition)                                                                                            \
    do {                                                                                                               \
        for (int i_ = 0; !(condition) && i_ < 15000; i_++)                                                             \
            turn();                                                                                                    \
        assert_true(condition);                                                                                        \
    } while (0)

static void on_awake(uv_timer_t *t) {}

static int world_up(void **state) {
    snprintf(w.dir, sizeof w.dir, "/tmp/tarn-move-XXXXXX");
    assert_non_null(mkdtemp(w.dir));
    assert_int_equal(uv_loop_init(&w.loop), 0);
    uv_timer_init(&w.loop, &w.awake);
    uv_timer_start(&w.awake, on_awake, 1, 1);
    w.dirfd = open_dir(w.dir);
    w.guestfd = make_dir(w.dirfd, VM, 0700);
    w.h = (struct hypervisor){.loop = &w.loop, .state_dirfd = w.dirfd, .events = &events};
    w.h.user = geteuid() == 0 ? xstrdup(USER) : NULL;
    w.ended = 0;
    w.told = 0;
    w.at = 0;
    w.goes = w.refuses = false;
    w.post = w.away = w.slow = w.stopped = false;
    w.paused = 0;
    w.g = guest_get(&w.h, VM, true);
    return 0;
}

static int world_down(void **state) {
    if (w.g)
        guest_free(w.g);
    if (w.pid)
        kill(w.pid, SIGKILL);
    while (w.pid && kill(w.pid, 0) == 0)
        turn();
    w.pid = 0;
    uv_close((uv_handle_t *)&w.awake, NULL);
    for (int i = 0; i < 5; i++)
        turn();
    assert_int_equal(uv_loop_close(&w.loop), 0);
    map_done(&w.h.guests);
    free(w.h.user);
    str_take(&w.words, NULL);
    close_fd(&w.guestfd);
    close_fd(&w.dirfd);
    remove_tree_at(AT_FDCWD, w.dir);
    return 0;
}

/* ---- what it is tried with ---- */

static void take_up(enum guest_phase phase) {
    make_process();
    w.listener = qemu_socket_listen(w.guestfd, QEMU_QMP_SOCKET);
    assert_true(w.listener >= 0);
    assert_int_equal(pthread_create(&w.monitor, NULL, monitor, NULL), 0);
    guest_find(w.g, 1);
    wait_for(w.ended == 1 && w.g->phase == phase);
}

static void let_go(void) {
    shutdown(w.listener, SHUT_RDWR);
    close_fd(&w.listener);
    if (w.g)
        qmp_free(TAKE_PTR(w.g->qmp)); /* the thread reads the end */
    for (int i = 0; i < 5; i++)
        turn();
    pthread_join(w.monitor, NULL);
}

static void figures_that_are_none(void **state) {
    take_up(GUEST_IS_RUNNING);
    struct api_guest_send send;
    api_guest_send_init(&send);
    str_set(&send.vm, VM);
    str_set(&send.move, MOVE);
    str_set(&send.destination.address, "127.0.0.1");
    send.destination.port = MOVE_PORT_FIRST;
    send.running = true;
    qemu_move_send(w.g, 2, &send);
    for (int i = 0; i < (int)ARRAY_LEN(figures); i++) {
        w.at = i;
        int told = w.told;
        wait_for(w.told > told + 2);
        assert_non_null(strstr(w.words, "memory: "));
        assert_null(strchr(w.words, '-'));
    }
    api_guest_send_done(&send);
    let_go();
}

/* A destination that cannot go on may hold some of the images: the source needs them before it is told to end. */
static void who_refuses_to_go_on_has_ended(void **state) {
    struct api_guest_activate activate = {.vm = (char *)VM, .move = (char *)MOVE};
    w.refuses = true;
    take_up(GUEST_IS_PAUSED);
    assert_true(w.alive);
    qemu_move_activate(w.g, 2, &activate);
    wait_for(w.ended == 2);
    assert_int_equal(w.code, ERR_CONFLICT);
    assert_false(w.alive);
    for (int i = 0; i < 5; i++)
        turn();
    w.g = map_get(&w.h.guests, VM); /* it may be forgotten by now */
    let_go();
}

/* It gets a descriptor of the directory, which it may read and may put nothing into: we empty it. */
static void credentials_are_ours(void **state) {
    _cleanup_free_ char *certificate = NULL;
    struct stat st;
    const struct passwd *pw = getpwnam(USER);
    if (geteuid() != 0 || !pw)
        skip();
    assert_int_equal(move_credentials_make(w.g, MOVE, true, &certificate, NULL), 0);
    _cleanup_close_ int dir = open_beneath(w.guestfd, MOVE_DIR, O_RDONLY | O_DIRECTORY, 0);
    assert_true(dir >= 0);
    assert_int_equal(fstat(dir, &st), 0);
    assert_int_equal(st.st_uid, 0);
    assert_int_equal(st.st_mode & 0777, 0711);
    assert_int_equal(fstatat(dir, "server-key.pem", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_uid, pw->pw_uid);
    move_credentials_forget(w.g);
    assert_int_equal(faccessat(w.guestfd, MOVE_DIR, F_OK, 0), -1);
}

static void turns(int ms) {
    for (int i = 0; i < ms / 2; i++)
        turn();
}

/* That call ends well, and its process has ended before. */
static void ends_with(uint64_t call) {
    wait_for(w.ended == call);
    assert_int_equal(w.code, ERR_OK);
    assert_false(w.alive);
    turns(10);
    w.g = map_get(&w.h.guests, VM);
    let_go();
}

/* The destination's guest needs what is still here: that nobody answers does not mean that all has gone. */
static void released_when_it_says_so(void **state) {
    take_up(GUEST_IS_RUNNING);
    w.post = true;
    qemu_move_release(w.g, 2);
    turns(300);
    assert_int_equal(w.ended, 1);
    w.away = true;
    turns(1500);
    assert_int_equal(w.ended, 1);
    assert_int_equal(kill(w.pid, 0), 0);
    w.away = false;
    turns(1000);
    assert_int_equal(w.ended, 1);
    w.post = false;
    ends_with(2);
}

/* QEMU pauses the guest at once and answers when its disks have: that it is paused must not be overlooked. */
static void pause_answered_late(void **state) {
    take_up(GUEST_IS_RUNNING);
    w.slow = true;
    guest_ask(w.g, 2, "stop", NULL, GUEST_IS_PAUSED);
    wait_for(w.ended == 2);
    assert_int_equal(w.code, ERR_TIMEOUT);
    wait_for(w.g->phase == GUEST_IS_PAUSED);
    assert_int_equal(w.paused, 1);
    let_go();
}

static void *mute_monitor(void *unused) {
    for (int fd; (fd = accept(w.listener, NULL, NULL)) >= 0; close(fd)) {
        char data[4096];
        while (read(fd, data, sizeof data) > 0)
            ;
    }
    return NULL;
}

/* It hangs, and was found so: what is asked of it fails in time, and it is killed. */
static void unheard_is_still_killed(void **state) {
    make_process();
    w.listener = qemu_socket_listen(w.guestfd, QEMU_QMP_SOCKET);
    assert_true(w.listener >= 0);
    assert_int_equal(pthread_create(&w.monitor, NULL, mute_monitor, NULL), 0);
    guest_find(w.g, 1);
    wait_for(w.ended == 1 && w.g->unheard);
    wait_for(qmp_is_open(w.g->qmp));
    guest_ask(w.g, 2, "stop", NULL, GUEST_IS_PAUSED);
    wait_for(w.ended == 2);
    assert_int_equal(w.code, ERR_TIMEOUT);
    guest_kill(w.g, 3);
    ends_with(3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(figures_that_are_none, world_up, world_down),
        cmocka_unit_test_setup_teardown(who_refuses_to_go_on_has_ended, world_up, world_down),
        cmocka_unit_test_setup_teardown(credentials_are_ours, world_up, world_down),
        cmocka_unit_test_setup_teardown(released_when_it_says_so, world_up, world_down),
        cmocka_unit_test_setup_teardown(pause_answered_late, world_up, world_down),
        cmocka_unit_test_setup_teardown(unheard_is_still_killed, world_up, world_down),
    };
    signal(SIGPIPE, SIG_IGN);
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The QMP client against a peer that says whatever it likes, and the transcripts of real QEMUs (tests/golden/qmp). */
#include "agent/hypervisor/qmp.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static const char *transcripts;

struct world {
    uv_loop_t loop;
    struct qmp *q;
    int peer;
    struct buf log; /* what was called, in order: "ok:…", "error:CODE", "event:NAME", "closed:WHY" */
    bool free_in_reply, free_in_event;
};

static void note(struct world *w, const char *what, const char *text) { buf_addf(&w->log, "%s:%s ", what, text); }

static void on_event(void *ctx, const char *name, const json_t *data) {
    struct world *w = ctx;
    note(w, "event", name);
    if (w->free_in_event)
        qmp_free(TAKE_PTR(w->q));
}
static void on_closed(void *ctx, const char *why) {
    struct world *w = ctx;
    note(w, "closed", why);
    qmp_free(TAKE_PTR(w->q));
}
static const struct qmp_handler handler = {on_event, on_closed};

static void on_reply(void *ctx, const struct error *e, const json_t *result) {
    struct world *w = ctx;
    if (e) {
        note(w, "error", error_code_text(e->code));
    } else {
        char *text = json_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY);
        note(w, "ok", text);
        free(text);
    }
    if (w->free_in_reply)
        qmp_free(TAKE_PTR(w->q));
}

static void turn(struct world *w) {
    /* What a poll finds and the timer that it sets need a turn each. */
    for (int i = 0; i < 4; i++) {
        uv_run(&w->loop, UV_RUN_NOWAIT);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

static int setup(void **state) {
    struct world *w = xcalloc(1, sizeof *w);
    int fds[2];
    uv_loop_init(&w->loop);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return -1;
    w->peer = fds[1];
    *state = w;
    return qmp_open(&w->loop, fds[0], &handler, w, on_reply, 60000, &w->q);
}

static int teardown(void **state) {
    struct world *w = *state;
    qmp_free(w->q);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    int r = uv_loop_close(&w->loop);
    close_fd(&w->peer);
    buf_done(&w->log);
    free(w);
    return r;
}

static void say(struct world *w, const char *text) {
    assert_int_equal(write_all(w->peer, text, strlen(text)), 0);
    turn(w);
}
static void expect(struct world *w, const char *log) {
    assert_string_equal(w->log.len ? w->log.data : "", log);
    w->log.len = 0;
}
static void hears(struct world *w, const char *text) {
    char got[1024];
    ssize_t n = read(w->peer, got, sizeof got - 1);
    got[n > 0 ? n : 0] = 0;
    assert_string_equal(got, text);
}

static void test_commands(void **state) {
    struct world *w = *state;
    qmp_call(w->q, "query-status", NULL, 60000, on_reply, w);
    qmp_call(w->q, "getfd", json_pack("{s:s}", "fdname", "a"), 60000, on_reply, w);
    hears(w, "{\"execute\":\"qmp_capabilities\",\"id\":1}{\"execute\":\"query-status\",\"id\":2}"
             "{\"execute\":\"getfd\",\"id\":3,\"arguments\":{\"fdname\":\"a\"}}");
    say(w, "{\"QMP\": {\"version\": {}}}\r\n{\"return\": {}, \"id\": 1}\r\n");
    expect(w, "ok:{} ");
    /* In any order, with an event between, in pieces. */
    say(w, "{\"return\": 7, \"id\": 3}\n{\"event\": \"STOP\", \"timestamp\": {}}\n{\"retu");
    expect(w, "ok:7 event:STOP ");
    say(w, "rn\": [1], \"id\"");
    expect(w, "");
    say(w, ": 2}\n\n\r\n");
    expect(w, "ok:[1] ");
    /* Again, of no one's, and of a wrong type: passed over. */
    say(w,
        "{\"return\": 7, \"id\": 3}\n{\"return\": 7}\n{\"return\": 7, \"id\": \"3\"}\n{\"return\": 7, \"id\": -3}\n{}\n"
        "{\"error\": 3, \"id\": 2}\n{\"event\": 5}\n{\"QMP\": 1}\n");
    expect(w, "");
    assert_true(qmp_is_open(w->q));
}

static void test_refused(void **state) {
    struct world *w = *state;
    say(w, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}, \"id\": 1}\n");
    expect(w, "error:guest ");
    qmp_call(w->q, "x", NULL, 60000, on_reply, w);
    say(w, "{\"error\": {\"class\": 1, \"desc\": [2]}, \"id\": 2}\n");
    expect(w, "error:guest ");
}

static void test_end_of_file(void **state) {
    struct world *w = *state;
    qmp_call(w->q, "a", NULL, 60000, on_reply, w);
    say(w, "{\"return\": {}, \"id\": 1}\n{\"event\": \"SHUTDOWN\", \"data\": {}}\n{\"return\": {}, \"i");
    close_fd(&w->peer);
    turn(w);
    expect(w, "ok:{} event:SHUTDOWN error:guest closed:end of file ");
}

static void test_call_after_close(void **state) {
    struct world *w = *state;
    close_fd(&w->peer);
    /* The end has not been read yet. */
    qmp_call(w->q, "a", NULL, 60000, on_reply, w);
    turn(w);
    expect(w, "error:guest error:guest closed:end of file ");
}

static void test_garbage(void **state) {
    struct world *w = *state;
    say(w, "{\"event\": \"A\"}\nnot JSON\n{\"event\": \"B\"}\n");
    expect(w, "event:A error:guest closed:a message was not JSON ");
}

static void test_array(void **state) {
    struct world *w = *state;
    say(w, "[1]\n");
    expect(w, "error:guest closed:a message was not JSON ");
}

static void test_deep(void **state) {
    struct world *w = *state;
    _cleanup_buf_ struct buf b = {0};
    buf_adds(&b, "{\"event\":");
    for (int i = 0; i < 100000; i++)
        buf_addc(&b, '[');
    buf_addc(&b, '\n');
    say(w, b.data);
    for (int i = 0; i < 20 && w->q; i++)
        turn(w);
    expect(w, "error:guest closed:a message was not JSON ");
}

static void test_too_long(void **state) {
    struct world *w = *state;
    _cleanup_free_ char *much = xmalloc(65536);
    memset(much, 'x', 65536);
    for (int i = 0; i < 40 && w->q; i++) {
        size_t sent = 0;
        for (int k = 0; k < 100 && sent < 65536 && w->q; k++) {
            ssize_t n = send(w->peer, much + sent, 65536 - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
            sent += n > 0 ? (size_t)n : 0;
            turn(w);
        }
    }
    expect(w, "error:guest closed:a message was too long ");
}

static void test_timeout(void **state) {
    struct world *w = *state;
    say(w, "{\"return\": {}, \"id\": 1}\n");
    qmp_call(w->q, "slow", NULL, 5, on_reply, w);
    qmp_call(w->q, "patient", NULL, 60000, on_reply, w);
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    turn(w);
    expect(w, "ok:{} error:timeout ");
    /* The late reply is nobody's. */
    say(w, "{\"return\": {}, \"id\": 2}\n{\"return\": 3, \"id\": 3}\n");
    expect(w, "ok:3 ");
}

static void test_free_in_callbacks(void **state) {
    struct world *w = *state;
    w->free_in_reply = true;
    qmp_call(w->q, "a", NULL, 60000, on_reply, w);
    say(w, "{\"return\": {}, \"id\": 1}\n{\"return\": {}, \"id\": 2}\n{\"event\": \"A\"}\n");
    expect(w, "ok:{} ");
}
static void test_free_in_event(void **state) {
    struct world *w = *state;
    w->free_in_event = true;
    say(w, "{\"event\": \"A\"}\n{\"event\": \"B\"}\n{\"return\": {}, \"id\": 1}\n");
    expect(w, "event:A ");
}
static void test_free_in_failure(void **state) {
    struct world *w = *state;
    w->free_in_reply = true;
    qmp_call(w->q, "a", NULL, 60000, on_reply, w);
    close_fd(&w->peer);
    turn(w);
    expect(w, "error:guest ");
}

static void test_descriptor(void **state) {
    struct world *w = *state;
    char text[256];
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    int pipe_fds[2], got = -1;
    assert_int_equal(pipe(pipe_fds), 0);
    qmp_call_fd(w->q, "getfd", NULL, pipe_fds[1], 60000, on_reply, w);
    close(pipe_fds[1]);
    for (int i = 0; i < 2 && got < 0; i++) {
        struct iovec iov = {text, sizeof text};
        struct msghdr m = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control};
        assert_true(recvmsg(w->peer, &m, 0) > 0);
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        if (h)
            memcpy(&got, CMSG_DATA(h), sizeof got);
    }
    assert_true(got >= 0);
    assert_int_equal(write(got, "x", 1), 1);
    close(got);
    assert_int_equal(read(pipe_fds[0], text, 2), 1);
    assert_int_equal(read(pipe_fds[0], text, 2), 0); /* ours is closed */
    close(pipe_fds[0]);
}

/* What goes beside the others is said to be so, and only on a connection that has asked for it. */
static void test_out_of_band(void **state) {
    struct world *w = *state;
    struct qmp *q = NULL;
    int fds[2], first = w->peer;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(qmp_open_oob(&w->loop, fds[0], &handler, w, on_reply, 60000, &q), 0);
    w->peer = fds[1];
    hears(w, "{\"execute\":\"qmp_capabilities\",\"id\":1,\"arguments\":{\"enable\":[\"oob\"]}}");
    say(w, "{\"QMP\": {\"capabilities\": [\"oob\"]}}\n{\"return\": {}, \"id\": 1}\n");
    qmp_call_oob(q, "yank", json_pack("{s:[]}", "instances"), 60000, on_reply, w);
    hears(w, "{\"exec-oob\":\"yank\",\"id\":2,\"arguments\":{\"instances\":[]}}");
    say(w, "{\"return\": {}, \"id\": 2}\n");
    expect(w, "ok:{} ok:{} ");
    qmp_free(q);
    close_fd(&w->peer);
    w->peer = first;
}

/* A peer that does not read must not stop us, nor lose anything. */
static void test_peer_does_not_read(void **state) {
    struct world *w = *state;
    _cleanup_free_ char *long_text = xcalloc(1, 100001);
    memset(long_text, 'y', 100000);
    for (int i = 0; i < 10; i++)
        qmp_call(w->q, "x", json_pack("{s:s}", "a", long_text), 60000, NULL, NULL);
    size_t total = 0;
    for (int i = 0; i < 200; i++) {
        char part[65536];
        ssize_t n = read(w->peer, part, sizeof part);
        total += n > 0 ? (size_t)n : 0;
        turn(w);
    }
    assert_true(total > 1000000);
}

/* Every line that a real QEMU said, in pieces of every size up to 40. */
static void transcript_play(const char *text, size_t len, size_t piece) {
    void *state;
    assert_int_equal(setup(&state), 0);
    struct world *w = state;
    for (size_t i = 0; i < len; i += piece) {
        assert_int_equal(write_all(w->peer, text + i, len - i < piece ? len - i : piece), 0);
        uv_run(&w->loop, UV_RUN_NOWAIT);
    }
    turn(w);
    assert_true(qmp_is_open(w->q));
    assert_non_null(strstr(w->log.data, "ok:{} "));
    assert_int_equal(teardown(&state), 0);
}

static void test_transcripts(void **state) {
    int dirfd = open(transcripts, O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0;
    assert_true(dirfd >= 0);
    DIR *d = fdopendir(dup(dirfd));
    for (struct dirent *entry; (entry = readdir(d));) {
        _cleanup_free_ char *text = NULL;
        size_t len;
        if (entry->d_name[0] == '.')
            continue;
        assert_int_equal(read_file_at(dirfd, entry->d_name, 1 << 20, &text, &len), 0);
        for (size_t piece = 1; piece < 40; piece += 13)
            transcript_play(text, len, piece);
        for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
            struct qmp_message m;
            assert_int_equal(qmp_message_parse(line, (size_t)(end - line), &m), 0);
            assert_int_not_equal(m.kind, QMP_OTHER);
            qmp_message_done(&m);
        }
        n++;
    }
    closedir(d);
    close(dirfd);
    assert_true(n > 0);
}

int main(int argc, char **argv) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_commands),
        T(test_refused),
        T(test_end_of_file),
        T(test_call_after_close),
        T(test_garbage),
        T(test_array),
        T(test_deep),
        T(test_too_long),
        T(test_timeout),
        T(test_free_in_callbacks),
        T(test_free_in_event),
        T(test_free_in_failure),
        T(test_descriptor),
        T(test_out_of_band),
        T(test_peer_does_not_read),
        cmocka_unit_test(test_transcripts),
    };
    if (argc != 2)
        return 2;
    transcripts = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}

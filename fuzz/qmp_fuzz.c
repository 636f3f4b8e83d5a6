/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as what QEMU says on its monitor: first each line as a message, then all of it as a stream to a client. */
#include "fuzz.h"

#include "agent/hypervisor/qemu_models.h"
#include "agent/hypervisor/qmp.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int replies, closings;

static void on_reply(void *ctx, const struct error *e, const json_t *result) {
    if ((e != NULL) == (result != NULL) || (e && !e->message))
        abort();
    replies++;
}
static void on_event(void *ctx, const char *name, const json_t *data) {
    if (!name || (data && !json_is_object(data)))
        abort();
}
static void on_closed(void *ctx, const char *why) {
    if (!why)
        abort();
    closings++;
}
static const struct qmp_handler handler = {on_event, on_closed};

static void as_lines(const char *data, size_t size) {
    for (size_t at = 0, len; at < size; at += len + 1) {
        const char *end = memchr(data + at, '\n', size - at);
        len = end ? (size_t)(end - data) - at : size - at;
        struct qmp_message m;
        if (qmp_message_parse(data + at, len, &m) < 0)
            continue;
        if (!json_is_object(m.whole) || !m.name || !m.text || (m.kind == QMP_RETURN && !m.data))
            abort();
        qmp_message_done(&m);
    }
}

/* Every call must be answered once, whatever the peer says, and the end told once. */
static void as_stream(const char *data, size_t size) {
    uv_loop_t loop;
    struct qmp *q;
    int fds[2];
    replies = closings = 0;
    if (uv_loop_init(&loop) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0 ||
        qmp_open(&loop, fds[0], &handler, NULL, on_reply, 60000, &q) < 0)
        abort();
    qmp_call(q, "query-status", NULL, 60000, on_reply, NULL);
    qmp_call(q, "stop", NULL, 60000, on_reply, NULL);
    for (size_t at = 0; at < size;) {
        size_t piece = size - at < 1000 ? size - at : 1000;
        ssize_t n = send(fds[1], data + at, piece, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        at += (size_t)n;
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    close(fds[1]);
    for (int i = 0; i < 1000 && !closings; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    if (replies != 3 || closings != 1)
        abort();
    qmp_free(q);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop) < 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char **models;
    size_t n;
    as_lines((const char *)data, size);
    if (qemu_models_parse((const char *)data, size, &models, &n) == 0)
        qemu_models_free(models, n);
    as_stream((const char *)data, size);
    return 0;
}

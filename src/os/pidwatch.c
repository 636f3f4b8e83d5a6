/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "os/child.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

struct pidwatch {
    uv_poll_t poll;
    int fd;
    bool ended;
    void (*on_end)(void *ctx);
    void *ctx;
};

static void on_readable(uv_poll_t *h, int status, int events) {
    struct pidwatch *w = h->data;
    uv_poll_stop(h);
    if (!w->ended) {
        w->ended = true;
        w->on_end(w->ctx); /* may free w */
    }
}

int pidwatch_new(uv_loop_t *loop, int pidfd, void (*on_end)(void *ctx), void *ctx, struct pidwatch **ret) {
    /* A descriptor of our own: libuv takes each one once, and the child's own watch may have this. */
    _cleanup_close_ int fd = fcntl(pidfd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return -errno;
    _cleanup_free_ struct pidwatch *w = xcalloc(1, sizeof *w);
    int r = uv_poll_init(loop, &w->poll, fd);
    if (r < 0)
        return r;
    w->fd = fd;
    w->on_end = on_end;
    w->ctx = ctx;
    w->poll.data = w;
    uv_poll_start(&w->poll, UV_READABLE, on_readable);
    fd = -1;
    *ret = TAKE_PTR(w);
    return 0;
}

static void on_closed(uv_handle_t *h) {
    struct pidwatch *w = h->data;
    close_fd(&w->fd);
    free(w);
}

void pidwatch_free(struct pidwatch *w) {
    if (!w)
        return;
    w->ended = true;
    if (!uv_is_closing((uv_handle_t *)&w->poll))
        uv_close((uv_handle_t *)&w->poll, on_closed);
}

int process_start_time(pid_t pid, uint64_t *ret) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    _cleanup_free_ char *text = NULL;
    int r = read_file_at(AT_FDCWD, path, 64 * 1024, &text, NULL);
    if (r < 0)
        return r == -ENOENT ? -ESRCH : r;
    /* The second field is the program's name in parentheses, which may hold anything: count from the last one. */
    const char *p = strrchr(text, ')');
    for (int field = 2; p && field < 22; field++) {
        p = strchr(p, ' ');
        if (p)
            p++;
    }
    unsigned long long start;
    if (!p || sscanf(p, "%llu", &start) != 1)
        return -EIO;
    *ret = start;
    return 0;
}

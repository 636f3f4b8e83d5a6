/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/hypervisor/qemu_console.h"

#include "base/buf.h"
#include "base/list.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define INPUT_MAX 4096
static const char lost_note[] = "\r\n[output lost: this console was too slow]\r\n";

/* A descriptor on the loop. Its owner frees it by closing; the memory goes when libuv has let go. */
struct port {
    uv_poll_t poll;
    int fd;
};
struct viewer {
    struct port port; /* first: freed as one */
    struct list link;
    struct qemu_console *console;
    bool lost; /* since it last had room */
};
struct guest_port {
    struct port port; /* first */
    struct qemu_console *console;
};

struct qemu_console {
    uv_loop_t *loop;
    struct guest_port *guest; /* NULL: not connected */
    struct list viewers;
    size_t n_viewers;
    char *ring;      /* CONSOLE_RING bytes, or NULL before the first output */
    size_t at, kept; /* where the next byte goes; how many there are */
    struct buf input;
};

static void on_guest(uv_poll_t *p, int status, int events);
static void on_viewer(uv_poll_t *p, int status, int events);

static void on_port_closed(uv_handle_t *h) {
    struct port *p = container_of((uv_poll_t *)h, struct port, poll);
    close(p->fd);
    free(p);
}
static void port_close(struct port *p) {
    /* At once, so that the other side sees the end although libuv closes later. */
    shutdown(p->fd, SHUT_RDWR);
    uv_close((uv_handle_t *)&p->poll, on_port_closed);
}

static void viewer_free(struct viewer *v) {
    list_remove(&v->link);
    v->console->n_viewers--;
    port_close(&v->port);
}

static void polls_set(struct qemu_console *c) {
    bool full = c->input.len >= INPUT_MAX;
    struct viewer *v;
    list_for_each(v, &c->viewers, link) {
        /* An end of file is seen by either; without any interest only a hang-up comes. */
        int events = UV_DISCONNECT | (full || !c->guest ? 0 : UV_READABLE) | (v->lost ? UV_WRITABLE : 0);
        uv_poll_start(&v->port.poll, events, on_viewer);
    }
    if (c->guest)
        uv_poll_start(&c->guest->port.poll, UV_READABLE | (c->input.len ? UV_WRITABLE : 0), on_guest);
}

static void viewer_send(struct viewer *v, const char *data, size_t len) {
    if (v->lost || !len)
        return;
    ssize_t n = send(v->port.fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n == (ssize_t)len)
        return;
    v->lost = true; /* a broken one is found by its poll */
}

static void ring_add(struct qemu_console *c, const char *data, size_t len) {
    if (!c->ring)
        c->ring = xmalloc(CONSOLE_RING);
    if (len > CONSOLE_RING) {
        data += len - CONSOLE_RING;
        len = CONSOLE_RING;
    }
    size_t first = len < CONSOLE_RING - c->at ? len : CONSOLE_RING - c->at;
    memcpy(c->ring + c->at, data, first);
    memcpy(c->ring, data + first, len - first);
    c->at = (c->at + len) % CONSOLE_RING;
    c->kept = c->kept + len < CONSOLE_RING ? c->kept + len : CONSOLE_RING;
}

static void output_add(struct qemu_console *c, const char *data, size_t len) {
    bool lost = false;
    ring_add(c, data, len);
    struct viewer *v;
    list_for_each(v, &c->viewers, link) {
        bool before = v->lost;
        viewer_send(v, data, len);
        lost |= v->lost != before;
    }
    if (lost)
        polls_set(c);
}

static void guest_disconnect(struct qemu_console *c) {
    struct guest_port *g = TAKE_PTR(c->guest);
    if (!g)
        return;
    port_close(&g->port);
    c->input.len = 0;
}

static void input_send(struct qemu_console *c) {
    while (c->input.len) {
        ssize_t n = send(c->guest->port.fd, c->input.data, c->input.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n <= 0)
            return;
        buf_consume(&c->input, (size_t)n);
    }
}

static void on_guest(uv_poll_t *p, int status, int events) {
    struct qemu_console *c = container_of(container_of(p, struct port, poll), struct guest_port, port)->console;
    char data[8192];
    if (events & UV_WRITABLE)
        input_send(c);
    ssize_t n = recv(c->guest->port.fd, data, sizeof data, MSG_DONTWAIT);
    if (n > 0)
        output_add(c, data, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        guest_disconnect(c);
    polls_set(c);
}

static void on_viewer(uv_poll_t *p, int status, int events) {
    struct viewer *v = container_of(container_of(p, struct port, poll), struct viewer, port);
    struct qemu_console *c = v->console;
    if (events & UV_WRITABLE && v->lost) {
        v->lost = false;
        viewer_send(v, lost_note, sizeof lost_note - 1);
    }
    bool over = status < 0 || (events & UV_DISCONNECT && !(events & UV_READABLE));
    if (events & UV_READABLE) {
        char data[INPUT_MAX];
        ssize_t n = recv(v->port.fd, data, sizeof data, MSG_DONTWAIT);
        over |= n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
        if (n > 0 && c->guest) {
            buf_add(&c->input, data, (size_t)n);
            input_send(c);
        }
    }
    if (over)
        viewer_free(v);
    polls_set(c);
}

struct qemu_console *qemu_console_new(uv_loop_t *loop) {
    struct qemu_console *c = xcalloc(1, sizeof *c);
    c->loop = loop;
    list_init(&c->viewers);
    return c;
}

void qemu_console_free(struct qemu_console *c) {
    struct viewer *v, *next;
    if (!c)
        return;
    guest_disconnect(c);
    list_for_each_safe(v, next, &c->viewers, link) viewer_free(v);
    free(c->ring);
    buf_done(&c->input);
    free(c);
}

int qemu_console_connect(struct qemu_console *c, int fd) {
    guest_disconnect(c);
    struct guest_port *g = xcalloc(1, sizeof *g);
    g->port.fd = fd;
    g->console = c;
    int r = uv_poll_init(c->loop, &g->port.poll, fd);
    if (r < 0) {
        free(g);
        close(fd);
        return r;
    }
    c->guest = g;
    polls_set(c);
    return 0;
}

int qemu_console_view(struct qemu_console *c, struct error *e) {
    int fds[2];
    if (c->n_viewers >= CONSOLE_VIEWERS_MAX)
        return error_set(e, ERR_RATE, "%d people watch this console already; close one of them", CONSOLE_VIEWERS_MAX);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return error_set(e, ERR_IO, "no socket for the console: %s", strerror(errno));
    struct viewer *v = xcalloc(1, sizeof *v);
    v->console = c;
    v->port.fd = fds[0];
    if (uv_poll_init(c->loop, &v->port.poll, fds[0]) < 0) {
        free(v);
        close(fds[0]);
        close(fds[1]);
        return error_set(e, ERR_INTERNAL, "the console cannot be watched");
    }
    list_append(&c->viewers, &v->link);
    c->n_viewers++;
    if (c->kept == CONSOLE_RING)
        viewer_send(v, c->ring + c->at, CONSOLE_RING - c->at);
    viewer_send(v, c->ring, c->at);
    polls_set(c);
    return fds[1];
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting until a client takes more of its answer, while reading is off.
 *
 * libwebsockets makes no write callbacks while reading is off. With reading on, what a client sends before it has read
 * its answer (pipelining) costs the manager dearly: 4.1 is woken for it again and again and does not take it; 4.3 takes
 * it, and then either closes the connection (behind a request without a body) or takes the next request for more of
 * this one's body. So reading stays off from the end of a request to the end of its answer, and the loop watches the
 * socket for us, by a second descriptor, as libwebsockets has given the first to it already.
 *
 * And when reading is switched off for a request that libwebsockets had buffered, it asks for a write callback that it
 * then does not make, again and again: its watch has to be stopped. Switching reading on starts it.
 */
#include "manager/conn.h"

#include "base/mem.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

struct room {
    uv_poll_t poll;
    int fd;
    struct conn *conn;
    void (*then)(struct conn *c);
};

static void on_room(uv_poll_t *poll, int status, int events) {
    struct room *r = poll->data;
    uv_poll_stop(poll);
    r->then(r->conn); /* of a socket that has failed too: the next write says so */
}

int conn_has_room(struct conn *c) {
    struct pollfd p = {.fd = lws_get_socket_fd(c->wsi), .events = POLLOUT};
    while (lws_partial_buffered(c->wsi)) {
        if (poll(&p, 1, 0) <= 0)
            return 0;
        if (lws_write(c->wsi, NULL, 0, LWS_WRITE_HTTP) < 0)
            return -1;
    }
    return !lws_send_pipe_choked(c->wsi);
}

int conn_await_room(struct conn *c, void (*then)(struct conn *c)) {
    struct room *r = c->room;
    if (!r) {
        int fd = fcntl(lws_get_socket_fd(c->wsi), F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            return -1;
        r = xcalloc(1, sizeof *r);
        if (uv_poll_init(c->server->m->loop, &r->poll, fd) < 0) {
            close(fd);
            free(r);
            return -1;
        }
        r->poll.data = r;
        r->fd = fd;
        r->conn = c;
        c->room = r;
    }
    r->then = then;
    return uv_poll_start(&r->poll, UV_WRITABLE, on_room) < 0 ? -1 : 0;
}

static void on_closed(uv_handle_t *h) { free(h->data); }

void conn_room_end(struct conn *c) {
    struct room *r = TAKE_PTR(c->room);
    if (!r)
        return;
    uv_close((uv_handle_t *)&r->poll, on_closed);
    close(r->fd);
}

static void stop_watch(uv_handle_t *h, void *arg) {
    uv_os_fd_t fd;
    if (h->type == UV_POLL && uv_fileno(h, &fd) == 0 && fd == *(int *)arg)
        uv_poll_stop((uv_poll_t *)h);
}

void conn_unwatch(struct conn *c) {
    int fd = lws_get_socket_fd(c->wsi);
    uv_walk(c->server->m->loop, stop_watch, &fd);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/hypervisor/qmp.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/list.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- messages ---- */

static uint64_t message_id(const json_t *o) {
    const json_t *id = json_object_get(o, "id");
    return json_is_integer(id) && json_integer_value(id) > 0 ? (uint64_t)json_integer_value(id) : 0;
}

int qmp_message_parse(const char *line, size_t len, struct qmp_message *ret) {
    _cleanup_json_ json_t *o = NULL;
    struct qmp_message m = {.kind = QMP_OTHER, .name = "", .text = ""};
    int r = json_parse(line, len, &o, NULL);
    if (r < 0)
        return r;
    if (!json_is_object(o))
        return -EBADMSG;
    const json_t *member;
    if ((member = json_object_get(o, "return"))) {
        m.kind = QMP_RETURN;
        m.data = member;
        m.id = message_id(o);
    } else if (json_is_object(member = json_object_get(o, "error"))) {
        m.kind = QMP_ERROR;
        m.name = json_str(member, "class");
        m.text = json_str(member, "desc");
        m.id = message_id(o);
    } else if (json_is_string(member = json_object_get(o, "event"))) {
        m.kind = QMP_EVENT;
        m.name = json_string_value(member);
        m.data = json_object_get(o, "data");
        if (!json_is_object(m.data))
            m.data = NULL;
    } else if (json_is_object(json_object_get(o, "QMP"))) {
        m.kind = QMP_GREETING;
    }
    m.whole = TAKE_PTR(o);
    *ret = m;
    return 0;
}

void qmp_message_done(struct qmp_message *m) {
    json_decref(m->whole);
    *m = (struct qmp_message){0};
}

void qmp_text_clean(char *s) {
    for (; *s; s++)
        if (*s < ' ' || *s > '~')
            *s = *s == '\n' ? ' ' : '?';
}

static int64_t within(int64_t n) { return n < 0 ? 0 : n > QMP_COUNT_MAX ? QMP_COUNT_MAX : n; }

int64_t qmp_count(const json_t *o, const char *key) { return within(json_int(o, key, 0)); }

int64_t qmp_sum(int64_t sum, const json_t *o, const char *key) { return within(sum + qmp_count(o, key)); }

/* ---- the client ---- */

struct call {
    struct list link;
    uint64_t id;
    uint64_t deadline; /* uv_now() */
    qmp_reply *reply;
    void *ctx;
};
/* Bytes to send; a descriptor goes with the first of them. */
struct chunk {
    struct list link;
    char *text;
    size_t len, sent;
    int fd;
};

struct qmp {
    uv_loop_t *loop;
    uv_poll_t poll;
    uv_timer_t timer; /* the earliest deadline; 0 after a close that must not happen inside a call */
    int handles;      /* not yet closed */
    int fd;
    bool closed, freed;
    const char *why;
    const struct qmp_handler *handler;
    void *ctx;
    uint64_t last_id;
    struct list calls, chunks;
    struct buf in;
    size_t scanned; /* of in: no newline there */
};

static void chunk_free(struct chunk *c) {
    list_remove(&c->link);
    if (c->fd >= 0)
        close(c->fd);
    free(c->text);
    free(c);
}

static void call_end(struct call *c, const struct error *e, const json_t *result) {
    qmp_reply *reply = c->reply;
    void *ctx = c->ctx;
    list_remove(&c->link);
    free(c);
    if (reply)
        reply(ctx, e, result);
}

static void on_handle_closed(uv_handle_t *h) {
    struct qmp *q = h->data;
    if (--q->handles)
        return;
    close(q->fd);
    struct chunk *c;
    while ((c = list_first(&q->chunks, struct chunk, link)))
        chunk_free(c);
    struct call *p;
    while ((p = list_first(&q->calls, struct call, link))) {
        list_remove(&p->link);
        free(p);
    }
    buf_done(&q->in);
    free(q);
}

void qmp_free(struct qmp *q) {
    if (!q || q->freed)
        return;
    q->freed = q->closed = true;
    uv_close((uv_handle_t *)&q->poll, on_handle_closed);
    uv_close((uv_handle_t *)&q->timer, on_handle_closed);
}

bool qmp_is_open(const struct qmp *q) { return q && !q->closed; }

static void on_timer(uv_timer_t *t);

static void timer_set(struct qmp *q) {
    struct call *c;
    uint64_t next = UINT64_MAX, now = uv_now(q->loop);
    if (q->freed)
        return;
    if (q->closed)
        next = q->why ? now : UINT64_MAX;
    else
        list_for_each(c, &q->calls, link) if (c->deadline < next) next = c->deadline;
    if (q->closed && !list_empty(&q->calls))
        next = now;
    if (next == UINT64_MAX)
        uv_timer_stop(&q->timer);
    else
        uv_timer_start(&q->timer, on_timer, next > now ? next - now : 0, 0);
}

/* The end of the connection: told from the timer, so that nobody is called from inside his own call. */
static void connection_close(struct qmp *q, const char *why) {
    if (q->closed)
        return;
    q->closed = true;
    q->why = why;
    uv_poll_stop(&q->poll);
    shutdown(q->fd, SHUT_RDWR);
    timer_set(q);
}

static void connection_tell_closed(struct qmp *q) {
    struct call *c;
    while (!q->freed && (c = list_first(&q->calls, struct call, link))) {
        _cleanup_error_ struct error e = ERROR_INIT;
        error_set(&e, ERR_GUEST, "QEMU closed its monitor (%s)", q->why ? q->why : "it is closed");
        call_end(c, &e, NULL);
    }
    const char *why = TAKE_PTR(q->why);
    if (!q->freed && why)
        q->handler->closed(q->ctx, why);
}

static void on_timer(uv_timer_t *t) {
    struct qmp *q = t->data;
    if (q->closed) {
        connection_tell_closed(q);
        return;
    }
    struct call *c, *next;
    uint64_t now = uv_now(q->loop);
    struct list expired = LIST_INIT(expired);
    list_for_each_safe(c, next, &q->calls, link) {
        if (c->deadline > now)
            continue;
        list_remove(&c->link);
        list_append(&expired, &c->link);
    }
    /* A late reply finds no call and is passed over. What is still in `expired` when we are freed is ours to free. */
    while ((c = list_first(&expired, struct call, link))) {
        if (q->freed) {
            list_remove(&c->link);
            free(c);
            continue;
        }
        _cleanup_error_ struct error e = ERROR_INIT;
        error_set(&e, ERR_TIMEOUT, "QEMU did not answer on its monitor in time");
        call_end(c, &e, NULL);
    }
    timer_set(q);
}

static void on_message(struct qmp *q, const struct qmp_message *m) {
    struct call *c;
    if (m->kind == QMP_EVENT) {
        q->handler->event(q->ctx, m->name, m->data);
        return;
    }
    if ((m->kind != QMP_RETURN && m->kind != QMP_ERROR) || !m->id)
        return;
    list_for_each(c, &q->calls, link) {
        if (c->id != m->id)
            continue;
        _cleanup_error_ struct error e = ERROR_INIT;
        if (m->kind == QMP_ERROR) {
            error_set(&e, ERR_GUEST, "QEMU: %.400s", str_or(m->text, "refused without a reason"));
            qmp_text_clean(e.message);
        }
        call_end(c, m->kind == QMP_ERROR ? &e : NULL, m->kind == QMP_RETURN ? m->data : NULL);
        break;
    }
}

static void lines_read(struct qmp *q) {
    for (;;) {
        char *end = q->in.len > q->scanned ? memchr(q->in.data + q->scanned, '\n', q->in.len - q->scanned) : NULL;
        if (!end) {
            q->scanned = q->in.len;
            if (q->in.len > QMP_MAX_MESSAGE)
                connection_close(q, "a message was too long");
            return;
        }
        struct qmp_message m;
        size_t len = (size_t)(end - q->in.data);
        bool blank = len == 0 || (len == 1 && q->in.data[0] == '\r');
        int r = blank ? 0 : len > QMP_MAX_MESSAGE ? -EMSGSIZE : qmp_message_parse(q->in.data, len, &m);
        buf_consume(&q->in, len + 1);
        q->scanned = 0;
        if (r < 0) {
            connection_close(q, "a message was not JSON");
            return;
        }
        if (blank)
            continue;
        on_message(q, &m);
        qmp_message_done(&m);
        if (q->closed)
            return;
    }
}

static void poll_set(struct qmp *q);

static void chunks_send(struct qmp *q) {
    struct chunk *c;
    while ((c = list_first(&q->chunks, struct chunk, link))) {
        struct iovec iov = {c->text + c->sent, c->len - c->sent};
        union {
            char bytes[CMSG_SPACE(sizeof(int))];
            struct cmsghdr align;
        } control = {0};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        if (c->fd >= 0) {
            msg.msg_control = control.bytes;
            msg.msg_controllen = sizeof control.bytes;
            struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
            *h = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
            memcpy(CMSG_DATA(h), &c->fd, sizeof(int));
        }
        ssize_t n = sendmsg(q->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            /* What QEMU said last is still to be read: the reader sees the end of file behind it. */
            while ((c = list_first(&q->chunks, struct chunk, link)))
                chunk_free(c);
            return;
        }
        if (c->fd >= 0) {
            close(c->fd);
            c->fd = -1;
        }
        c->sent += (size_t)n;
        if (c->sent == c->len)
            chunk_free(c);
    }
}

static void on_poll(uv_poll_t *p, int status, int events) {
    struct qmp *q = p->data;
    (void)status;
    if (events & UV_WRITABLE)
        chunks_send(q);
    /* A bounded piece each time, so that one guest's QEMU cannot keep the loop to itself. */
    buf_reserve(&q->in, 16384);
    ssize_t n = recv(q->fd, q->in.data + q->in.len, 16384, MSG_DONTWAIT);
    if (n > 0) {
        q->in.len += (size_t)n;
        q->in.data[q->in.len] = 0;
        lines_read(q);
    } else if (n == 0 || errno == ECONNRESET) { /* reset: it left something of ours unread */
        connection_close(q, "end of file");
    } else if (errno != EAGAIN && errno != EINTR) {
        connection_close(q, "connection lost");
    }
    if (!q->closed)
        poll_set(q);
    timer_set(q);
}

static void poll_set(struct qmp *q) {
    uv_poll_start(&q->poll, UV_READABLE | (list_empty(&q->chunks) ? 0 : UV_WRITABLE), on_poll);
}

static void call_make(struct qmp *q, const char *how, const char *command, json_t *args, int fd, int64_t timeout_ms,
                      qmp_reply *reply, void *ctx) {
    struct call *call = xcalloc(1, sizeof *call);
    *call = (struct call){
        .id = ++q->last_id, .deadline = uv_now(q->loop) + (uint64_t)timeout_ms, .reply = reply, .ctx = ctx};
    list_append(&q->calls, &call->link);
    if (q->closed) {
        json_decref(args);
        timer_set(q);
        return;
    }
    _cleanup_json_ json_t *o = json_pack("{s:s, s:I}", how, command, "id", (json_int_t)call->id);
    if (args)
        json_object_set_new(o, "arguments", args);
    struct chunk *c = xcalloc(1, sizeof *c);
    c->text = json_text(o);
    c->len = strlen(c->text);
    c->fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
    list_append(&q->chunks, &c->link);
    chunks_send(q);
    poll_set(q);
    timer_set(q);
}

void qmp_call(struct qmp *q, const char *command, json_t *args, int64_t timeout_ms, qmp_reply *reply, void *ctx) {
    call_make(q, "execute", command, args, -1, timeout_ms, reply, ctx);
}

void qmp_call_fd(struct qmp *q, const char *command, json_t *args, int fd, int64_t timeout_ms, qmp_reply *reply,
                 void *ctx) {
    call_make(q, "execute", command, args, fd, timeout_ms, reply, ctx);
}

void qmp_call_oob(struct qmp *q, const char *command, json_t *args, int64_t timeout_ms, qmp_reply *reply, void *ctx) {
    call_make(q, "exec-oob", command, args, -1, timeout_ms, reply, ctx);
}

static int open_with(uv_loop_t *loop, int fd, const struct qmp_handler *handler, void *ctx, json_t *capabilities,
                     qmp_reply *ready, int64_t timeout_ms, struct qmp **ret) {
    struct qmp *q = xcalloc(1, sizeof *q);
    *q = (struct qmp){.loop = loop, .fd = fd, .handler = handler, .ctx = ctx, .handles = 2};
    list_init(&q->calls);
    list_init(&q->chunks);
    int r = uv_poll_init(loop, &q->poll, fd);
    if (r < 0) {
        json_decref(capabilities);
        free(q);
        return r;
    }
    uv_timer_init(loop, &q->timer);
    q->poll.data = q->timer.data = q;
    qmp_call(q, "qmp_capabilities", capabilities, timeout_ms, ready, ctx);
    *ret = q;
    return 0;
}

int qmp_open(uv_loop_t *loop, int fd, const struct qmp_handler *handler, void *ctx, qmp_reply *ready,
             int64_t timeout_ms, struct qmp **ret) {
    return open_with(loop, fd, handler, ctx, NULL, ready, timeout_ms, ret);
}

/*
 * Not for every connection: QEMU reads ahead on one that has it, and of two descriptors that it has read one is lost.
 */
int qmp_open_oob(uv_loop_t *loop, int fd, const struct qmp_handler *handler, void *ctx, qmp_reply *ready,
                 int64_t timeout_ms, struct qmp **ret) {
    return open_with(loop, fd, handler, ctx, json_pack("{s:[s]}", "enable", "oob"), ready, timeout_ms, ret);
}

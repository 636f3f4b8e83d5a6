/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tarn vm vnc: a TCP port on loopback; each viewer that connects gets a WebSocket to the display. The port has no
 * password of its own, therefore it is never opened on another address.
 */
#include "base/list.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/stream.h"
#include "cli/text.h"
#include "os/wsclient.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>

#define PIECE     65536
#define QUEUE_MAX (4 * 1024 * 1024) /* for a viewer that does not read; then the display waits */

struct door {
    struct cli *cli;
    char *path;
    uv_tcp_t listener;
    uv_signal_t interrupts[2];
    struct list viewers;
    bool once;
    int result;
    struct error error;
};

struct viewer {
    struct list link;
    struct door *door;
    uv_tcp_t tcp;
    struct ws_client *ws;
    bool open, closing, paused;
    char piece[PIECE];
};

struct write {
    uv_write_t request;
    struct viewer *viewer;
    char data[];
};

static void on_tcp_closed(uv_handle_t *h) {
    struct viewer *v = h->data;
    struct door *d = v->door;
    list_remove(&v->link);
    free(v);
    if (d->once && list_empty(&d->viewers))
        uv_stop(uv_default_loop());
}

static void viewer_close(struct viewer *v) {
    if (v->closing)
        return;
    v->closing = true;
    ws_free(v->ws);
    v->ws = NULL;
    uv_close((uv_handle_t *)&v->tcp, on_tcp_closed);
}

static void on_written(uv_write_t *request, int status) {
    struct write *w = (struct write *)(void *)request;
    struct viewer *v = w->viewer;
    free(w);
    if (v->closing)
        return;
    if (status < 0) {
        viewer_close(v);
    } else if (v->paused && uv_stream_get_write_queue_size((uv_stream_t *)&v->tcp) < QUEUE_MAX / 2) {
        v->paused = false;
        ws_pause_reading(v->ws, false);
    }
}

static void on_binary(void *ctx, struct ws_client *ws, const void *data, size_t len) {
    struct viewer *v = ctx;
    struct write *w = xmalloc(sizeof *w + len);
    w->viewer = v;
    memcpy(w->data, data, len);
    uv_buf_t buf = uv_buf_init(w->data, (unsigned)len);
    if (v->closing || uv_write(&w->request, (uv_stream_t *)&v->tcp, &buf, 1, on_written) < 0) {
        free(w);
        return;
    }
    if (!v->paused && uv_stream_get_write_queue_size((uv_stream_t *)&v->tcp) > QUEUE_MAX) {
        v->paused = true;
        ws_pause_reading(ws, true);
    }
}

static void on_alloc(uv_handle_t *h, size_t size, uv_buf_t *buf) {
    struct viewer *v = h->data;
    *buf = uv_buf_init(v->piece, PIECE);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf) {
    struct viewer *v = s->data;
    if (n < 0)
        viewer_close(v);
    else if (n > 0 && !ws_send_binary(v->ws, buf->base, (size_t)n))
        uv_read_stop(s);
}

static void on_writable(void *ctx, struct ws_client *ws) {
    struct viewer *v = ctx;
    if (!v->closing && v->open)
        uv_read_start((uv_stream_t *)&v->tcp, on_alloc, on_read);
}

static void on_open(void *ctx, struct ws_client *ws) {
    struct viewer *v = ctx;
    v->open = true;
    uv_read_start((uv_stream_t *)&v->tcp, on_alloc, on_read);
}

static void on_close(void *ctx, struct ws_client *ws, int code, const char *reason) {
    struct viewer *v = ctx;
    if (!v->open && v->door->once)
        v->door->result =
            error_set(&v->door->error, ERR_CONFLICT, "no display: %s", str_or(reason, "the connection broke"));
    else if (!v->open || code != 1000)
        cli_note(v->door->cli, "the display's connection ended%s%s", str_empty(reason) ? "" : ": ", str_or(reason, ""));
    viewer_close(v);
}

static void on_connection(uv_stream_t *listener, int status) {
    struct door *d = listener->data;
    if (status < 0)
        return;
    struct viewer *v = xcalloc(1, sizeof *v);
    v->door = d;
    list_append(&d->viewers, &v->link);
    uv_tcp_init(uv_default_loop(), &v->tcp);
    v->tcp.data = v;
    struct ws_client_config config = {
        .path = d->path,
        .max_message = 1 << 20,
        .on_open = on_open,
        .on_binary = on_binary,
        .on_writable = on_writable,
        .on_close = on_close,
        .ctx = v,
    };
    uv_tcp_nodelay(&v->tcp, 1);
    if (uv_accept(listener, (uv_stream_t *)&v->tcp) < 0 || cli_ws_connect(d->cli, &config, &v->ws) < 0)
        viewer_close(v);
}

static void on_signal(uv_signal_t *s, int number) { uv_stop(uv_default_loop()); }

/* "127.0.0.1:5901", "[::1]:5901", "5901" */
static int address_parse(const char *text, struct sockaddr_storage *ret, struct error *e) {
    struct url u = {0};
    _cleanup_free_ char *full = strchr(text, ':') ? xstrdup(text) : xasprintf("127.0.0.1:%s", text);
    /* Port 0, any free one, is good here and nowhere else. */
    size_t len = strlen(full);
    bool zero = len > 2 && str_eq(full + len - 2, ":0");
    if (zero)
        full[len - 1] = '1';
    int r = url_parse(full, &u, NULL);
    if (r < 0)
        return error_set(e, ERR_INVALID, "--listen takes an address and a port, such as 127.0.0.1:5901, not \"%s\"",
                         text);
    int port = zero ? 0 : u.port;
    bool loopback = url_is_loopback(&u);
    const char *host = str_eq(u.host, "localhost") ? "127.0.0.1" : u.host;
    r = strchr(host, ':') ? uv_ip6_addr(host, port, (struct sockaddr_in6 *)(void *)ret)
                          : uv_ip4_addr(host, port, (struct sockaddr_in *)(void *)ret);
    url_done(&u);
    if (!loopback || r < 0)
        return error_set(e, ERR_INVALID, "--listen takes a loopback address only: the port has no password");
    return 0;
}

static int door_listen(struct door *d, const char *text, struct error *e) {
    struct sockaddr_storage address = {0};
    int r = address_parse(text, &address, e), port, length = sizeof address;
    if (r < 0)
        return r;
    uv_tcp_init(uv_default_loop(), &d->listener);
    d->listener.data = d;
    r = uv_tcp_bind(&d->listener, (struct sockaddr *)&address, 0);
    if (r == 0)
        r = uv_listen((uv_stream_t *)&d->listener, 8, on_connection);
    if (r == 0)
        r = uv_tcp_getsockname(&d->listener, (struct sockaddr *)&address, &length);
    if (r < 0) {
        uv_close((uv_handle_t *)&d->listener, NULL);
        return error_set(e, ERR_IN_USE, "cannot listen on %s: %s", text, uv_strerror(r));
    }
    char host[INET6_ADDRSTRLEN] = "";
    uv_ip_name((struct sockaddr *)&address, host, sizeof host);
    port = ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
    _cleanup_free_ char *line = xasprintf(address.ss_family == AF_INET6 ? "[%s]:%d\n" : "%s:%d\n", host, port);
    cli_write(line, strlen(line));
    cli_flush();
    cli_note(d->cli, "connect a VNC viewer to this address; Ctrl-C ends");
    return 0;
}

static void door_close(struct door *d) {
    uv_close((uv_handle_t *)&d->listener, NULL);
    for (size_t i = 0; i < ARRAY_LEN(d->interrupts); i++)
        uv_close((uv_handle_t *)&d->interrupts[i], NULL);
    struct viewer *v, *next;
    list_for_each_safe(v, next, &d->viewers, link) viewer_close(v);
    d->once = false;
    uv_run(uv_default_loop(), UV_RUN_NOWAIT);
    cli_ws_free();
}

int vnc_run(struct cli *cli, struct error *e) {
    struct door d = {.cli = cli, .once = args_has(&cli->args, "once")};
    list_init(&d.viewers);
    const char *const vm[] = {cli->args.values[0]};
    _cleanup_free_ char *vm_path = url_path("/vms/{vm}", vm, 1),
                        *path = xasprintf("/api/v1%s/console?type=vnc", vm_path);
    d.path = path;
    if (cli->dry_run) {
        cli_print_request(cli, "GET", path + strlen("/api/v1"), NULL);
        return 0;
    }
    _cleanup_json_ json_t *object = NULL;
    int r = http_get(cli->http, vm_path, &object, e);
    if (r < 0)
        return r;
    if (str_eq(json_str(object, "machine"), "microvm"))
        return error_set(e, ERR_CONFLICT, "a microvm has no display; use its serial console: tarn vm console %s",
                         vm[0]);
    if (!str_eq(json_str(object, "display"), "vnc"))
        return error_set(e, ERR_CONFLICT,
                         "%s has no display; give it one while it is stopped: tarn vm set %s --display vnc", vm[0],
                         vm[0]);
    r = door_listen(&d, str_or(args_option(&cli->args, "listen"), "127.0.0.1:0"), e);
    if (r < 0)
        return r;
    static const int numbers[] = {SIGINT, SIGTERM};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uv_signal_init(uv_default_loop(), &d.interrupts[i]);
        uv_signal_start(&d.interrupts[i], on_signal, numbers[i]);
    }
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    door_close(&d);
    if (d.result < 0)
        error_move(e, &d.error);
    return d.result;
}

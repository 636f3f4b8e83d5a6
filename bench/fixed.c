/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the manager's answers are compared with: libwebsockets on libuv with TLS, as the manager has it, and behind it
 * nothing but as many bytes as the path says, from memory. What it needs is what HTTP and TLS cost here.
 *
 *     fixed STATE_DIR     with the manager's certificate; prints its port; ends with its standard input
 */
#include "base/mem.h"

#include <arpa/inet.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <unistd.h>
#include <uv.h>

#define BODY_MAX    (4 * 1024 * 1024)
#define WRITE_CHUNK 32768

struct answer {
    size_t left;
};

static char *body;
static uv_loop_t loop;
static uv_pipe_t input;
static char byte;

/* Small ones leave in one piece with their head, as the manager's do. */
static int begin(struct lws *wsi, struct answer *a, const char *path) {
    static char piece[LWS_PRE + 1024 + WRITE_CHUNK];
    char *head = piece + LWS_PRE;
    a->left = strtoul(path + 1, NULL, 10);
    if (a->left > BODY_MAX)
        return -1;
    int n = snprintf(head, 1024, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                     a->left);
    if (a->left <= WRITE_CHUNK) {
        memcpy(head + n, body + LWS_PRE, a->left);
        n += (int)a->left;
        a->left = 0;
    }
    if (lws_write(wsi, (unsigned char *)head, (size_t)n, LWS_WRITE_HTTP_HEADERS) < 0)
        return -1;
    if (!a->left)
        return lws_http_transaction_completed(wsi) ? -1 : 0;
    lws_callback_on_writable(wsi);
    return 0;
}

static int go_on(struct lws *wsi, struct answer *a) {
    while (a->left) {
        if (lws_send_pipe_choked(wsi)) {
            lws_callback_on_writable(wsi);
            return 0;
        }
        size_t n = a->left < WRITE_CHUNK ? a->left : WRITE_CHUNK;
        if (lws_write(wsi, (unsigned char *)body + LWS_PRE, n, LWS_WRITE_HTTP) < 0)
            return -1;
        a->left -= n;
    }
    return lws_http_transaction_completed(wsi) ? -1 : 0;
}

static int on_http(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
    if (reason == LWS_CALLBACK_HTTP)
        return begin(wsi, user, in);
    if (reason == LWS_CALLBACK_HTTP_WRITEABLE)
        return go_on(wsi, user);
    return 0;
}

static void on_alloc(uv_handle_t *h, size_t size, uv_buf_t *ret) { *ret = uv_buf_init(&byte, 1); }

static void on_input(uv_stream_t *s, ssize_t n, const uv_buf_t *buf) {
    if (n < 0)
        uv_stop(&loop);
}

int main(int argc, char **argv) {
    static const struct lws_protocols protocols[] = {{"fixed", on_http, sizeof(struct answer), 0, 0, NULL, 0},
                                                     {NULL, NULL, 0, 0, 0, NULL, 0}};
    if (argc != 2) {
        fprintf(stderr, "usage: fixed STATE_DIR\n");
        return 2;
    }
    _cleanup_free_ char *cert = xasprintf("%s/server.pem", argv[1]), *key = xasprintf("%s/server.key", argv[1]);
    body = xmalloc(LWS_PRE + BODY_MAX);
    memset(body, 'x', LWS_PRE + BODY_MAX);
    uv_loop_init(&loop);
    void *loops[] = {&loop};
    lws_set_log_level(LLL_ERR, NULL);
    struct lws_context_creation_info info = {.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
                                             .foreign_loops = loops,
                                             .pt_serv_buf_size = WRITE_CHUNK + LWS_PRE,
                                             .protocols = protocols,
                                             .iface = "127.0.0.1",
                                             .alpn = "http/1.1",
                                             .ssl_cert_filepath = cert,
                                             .ssl_private_key_filepath = key,
                                             .keepalive_timeout = 60,
                                             .timeout_secs = 20,
                                             .uid = (uid_t)-1,
                                             .gid = (gid_t)-1};
    struct lws_context *context = lws_create_context(&info);
    struct lws_vhost *vhost = context ? lws_get_vhost_by_name(context, "default") : NULL;
    if (!vhost)
        return 1;
    printf("%d\n", lws_get_vhost_listen_port(vhost));
    fflush(stdout);
    uv_pipe_init(&loop, &input, 0);
    uv_pipe_open(&input, STDIN_FILENO);
    uv_read_start((uv_stream_t *)&input, on_alloc, on_input);
    uv_run(&loop, UV_RUN_DEFAULT);
    return 0;
}

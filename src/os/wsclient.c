/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket client on libwebsockets. One lws context serves all connections of the process; a vhost stands for each set
 * of CA, certificate and key, since that is where lws keeps the SSL_CTX (one agent process can be hundreds of simulated
 * servers).
 *
 *     RESOLVING → CONNECTING (each address in turn) → OPEN → CLOSING → ENDED → on_close
 *
 * What lws leaves to us, or does in a way that does not suit:
 * - Names are resolved by libuv's workers; lws would block the loop.
 * - The certificate's name is checked here: lws 4.1 checks none for an IPv6 address.
 * - Liveness in milliseconds by pings of our own; lws counts seconds.
 * - A wsi can only be ended from lws's own callbacks. From outside it is cut off from its client, and lws is asked to
 * kill it.
 *
 * on_close always comes from our timer, never from inside lws or another callback, so the user may free in it.
 */
#include "os/wsclient.h"

#include "base/buf.h"
#include "base/list.h"
#include "base/mem.h"
#include "os/log.h"
#include "os/ws_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libwebsockets.h>
#include <netdb.h>
#include <sys/socket.h>
#include <netdb.h>
#include <openssl/err.h>
#include <stdio.h>
#include <sys/resource.h>

#define HIGH_MARK          (256 * 1024)
#define LOW_MARK           (64 * 1024)
#define CHUNK              (16 * 1024 - 64) /* of a message, in one frame: fits one TLS record */
#define FRAMES_AT_ONCE     16
#define KEEP_BUFFER        (16 * 1024)
#define FDS_MAX            4096
#define CONNECT_TIMEOUT_MS 10000
#define CLOSE_TIMEOUT_MS   5000
#define SILENT_PINGS       3
#define END_TURNS          5

struct vhost {
    struct list link;
    struct ws_identity *identity;
    struct lws_vhost *lws;
};

struct ws_context {
    struct lws_context *lws;
    uv_loop_t *loop;
    uv_idle_t end; /* after ws_context_free() */
    int turns;
    struct list vhosts;
};

enum state { RESOLVING, CONNECTING, OPEN, CLOSING, ENDED, REPORTED, FREED };

/* A queued message. lws writes its header in front of what it sends, over what has been sent. */
struct message {
    struct list link;
    size_t len, sent;
    bool binary;
    unsigned char data[]; /* LWS_PRE and len bytes */
};

struct ws_client {
    struct ws_context *context;
    struct vhost *vhost;
    enum state state;
    struct lws *wsi; /* NULL when lws has none for us */
    uv_timer_t timer;
    struct lookup *lookup;
    struct addrinfo *addresses, *next;
    struct ws_client_config config; /* strings owned */
    char *host_header;
    struct list queue;
    size_t queued;
    bool above, want_ping, paused, stopped; /* paused: as asked; stopped: what libwebsockets has been told */
    struct buf text;
    uint64_t heard; /* ms of the loop: when the peer last said anything */
    int code;
    char *reason, *problem; /* problem: of its certificate */
};

/* Of its own, because it can outlive the client: a look-up under way cannot be stopped. */
struct lookup {
    uv_getaddrinfo_t request;
    struct ws_client *client; /* NULL if it is gone */
};

/* ---- ending ---- */

/* lws closes it at its next turn; the callbacks of that are nobody's. */
static void wsi_kill(struct ws_client *c) {
    struct lws *wsi = TAKE_PTR(c->wsi);
    if (!wsi)
        return;
    lws_set_opaque_user_data(wsi, NULL);
    lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
    lws_cancel_service(c->context->lws); /* its timers are looked at only when it runs */
}

static void on_timer(uv_timer_t *t);

static void client_end(struct ws_client *c, int code, const char *reason) {
    if (c->state >= ENDED)
        return;
    wsi_kill(c);
    c->state = ENDED;
    if (!c->code)
        c->code = code;
    if (!c->reason)
        c->reason = xstrdup(reason);
    uv_timer_start(&c->timer, on_timer, 0, 0);
}

void ws_close_frame(struct lws *wsi, int code, const char *reason) {
    lws_close_reason(wsi, (enum lws_close_status)code, (unsigned char *)reason, strnlen(reason, 123));
    lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
}

static uint64_t now_ms(struct ws_client *c) { return uv_now(c->context->loop); }

/* ---- sending ---- */

static int send_next(struct ws_client *c, struct lws *wsi) {
    struct message *m = list_first(&c->queue, struct message, link);
    size_t n = m->len - m->sent < CHUNK ? m->len - m->sent : CHUNK;
    bool last = m->sent + n == m->len;
    int flags = lws_write_ws_flags(m->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT, m->sent == 0, last);
    if (lws_write(wsi, m->data + LWS_PRE + m->sent, n, (enum lws_write_protocol)flags) < 0)
        return -1;
    m->sent += n;
    c->queued -= n;
    if (last) {
        list_remove(&m->link);
        free(m);
    }
    return 0;
}

static int on_writable(struct ws_client *c, struct lws *wsi) {
    if (c->paused && !c->stopped) {
        c->stopped = true;
        lws_rx_flow_control(wsi, 0);
    }
    unsigned char ping[LWS_PRE + 1];
    if (c->want_ping) {
        c->want_ping = false;
        if (lws_write(wsi, ping + LWS_PRE, 0, LWS_WRITE_PING) < 0)
            return -1;
    }
    for (int i = 0; i < FRAMES_AT_ONCE && !list_empty(&c->queue) && !lws_send_pipe_choked(wsi); i++)
        if (send_next(c, wsi) < 0)
            return -1;
    if (c->above && c->queued <= LOW_MARK) {
        c->above = false;
        if (c->config.on_writable)
            c->config.on_writable(c->config.ctx, c);
    }
    if (c->state >= ENDED)
        return 0;
    if (!list_empty(&c->queue)) {
        lws_callback_on_writable(wsi);
        return 0;
    }
    if (c->state != CLOSING)
        return 0;
    ws_close_frame(wsi, c->code, c->reason);
    return 0;
}

static bool enqueue(struct ws_client *c, const void *data, size_t len, bool binary) {
    if (c->state > OPEN)
        return false;
    struct message *m = xmalloc(sizeof *m + LWS_PRE + len);
    *m = (struct message){.len = len, .binary = binary};
    if (len)
        memcpy(m->data + LWS_PRE, data, len);
    list_append(&c->queue, &m->link);
    c->queued += len;
    if (c->state == OPEN)
        lws_callback_on_writable(c->wsi);
    if (c->queued > HIGH_MARK)
        c->above = true;
    return !c->above;
}

bool ws_send_text(struct ws_client *c, const char *data, size_t len) { return enqueue(c, data, len, false); }
bool ws_send_binary(struct ws_client *c, const void *data, size_t len) { return enqueue(c, data, len, true); }

/* ---- receiving ---- */

/* Negative: lws closes the connection. */
static int on_receive(struct ws_client *c, struct lws *wsi, const char *data, size_t len) {
    c->heard = now_ms(c);
    if (c->state != OPEN)
        return 0;
    if (lws_frame_is_binary(wsi)) {
        if (len && c->config.on_binary)
            c->config.on_binary(c->config.ctx, c, data, len);
        return 0;
    }
    if (c->text.len + len > c->config.max_message) {
        c->state = CLOSING;
        c->code = LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE;
        c->reason = xstrdup("the message is too long");
        uv_timer_start(&c->timer, on_timer, CLOSE_TIMEOUT_MS, 0);
        ws_close_frame(wsi, c->code, c->reason);
        return 0;
    }
    buf_add(&c->text, data, len);
    if (!lws_is_final_fragment(wsi))
        return 0;
    /* Out of the client: the callback may end or free it. */
    struct buf text = c->text;
    c->text = (struct buf){0};
    if (c->config.on_text)
        c->config.on_text(c->config.ctx, c, text.data, text.len);
    text.len = 0;
    if (c->state == FREED || c->text.data || text.cap > KEEP_BUFFER)
        buf_done(&text);
    else
        c->text = text;
    return 0;
}

static void note_peer_close(struct ws_client *c, const unsigned char *data, size_t len) {
    if (c->code)
        return;
    c->code = len >= 2 ? data[0] << 8 | data[1] : LWS_CLOSE_STATUS_NO_STATUS;
    c->reason = len > 2 ? xstrndup((const char *)data + 2, len - 2) : xstrdup("");
}

/* ---- opening ---- */

static void connect_next(struct ws_client *c);

static int add_headers(struct ws_client *c, struct lws *wsi, unsigned char **p, size_t room) {
    if (!c->config.bearer)
        return 0;
    _cleanup_free_ char *value = xasprintf("Bearer %s", c->config.bearer);
    int r = lws_add_http_header_by_name(wsi, (const unsigned char *)"authorization:", (const unsigned char *)value,
                                        (int)strlen(value), p, *p + room);
    explicit_bzero(value, strlen(value));
    return r;
}

/* Called for each certificate of the chain, the server's own at depth 0. Zero: it is good as far as we are concerned.
 */
static int verify(struct ws_client *c, X509_STORE_CTX *x, int good_so_far) {
    if (!good_so_far) {
        str_take(&c->problem, xasprintf("its certificate is not accepted: %s",
                                        X509_verify_cert_error_string(X509_STORE_CTX_get_error(x))));
        return 1;
    }
    if (X509_STORE_CTX_get_error_depth(x) > 0)
        return 0;
    char *problem = ws_certificate_problem(X509_STORE_CTX_get_current_cert(x), c->config.host);
    if (!problem)
        return 0;
    str_take(&c->problem, problem);
    X509_STORE_CTX_set_error(x, X509_V_ERR_HOSTNAME_MISMATCH);
    return 1;
}

static void on_established(struct ws_client *c, struct lws *wsi) {
    c->state = OPEN;
    c->heard = now_ms(c);
    if (c->config.ping_ms > 0)
        uv_timer_start(&c->timer, on_timer, (uint64_t)c->config.ping_ms, (uint64_t)c->config.ping_ms);
    else
        uv_timer_stop(&c->timer);
    if (c->paused || !list_empty(&c->queue))
        lws_callback_on_writable(wsi);
    if (c->config.on_open)
        c->config.on_open(c->config.ctx, c);
}

static void on_refused(struct ws_client *c, struct lws *wsi, const char *why, size_t len) {
    int status = (int)lws_http_client_http_response(wsi);
    c->wsi = NULL;
    lws_set_opaque_user_data(wsi, NULL);
    _cleanup_free_ char *text = why ? xstrndup(why, strnlen(why, len)) : xstrdup("no reason was given");
    if (c->problem) {
        client_end(c, LWS_CLOSE_STATUS_ABNORMAL_CLOSE, c->problem);
    } else if (status >= 200) {
        _cleanup_free_ char *answer = xasprintf("it answered HTTP %d", status);
        client_end(c, status, answer);
    } else if (c->state == CONNECTING && c->next) {
        uv_timer_start(&c->timer, on_timer, (uint64_t)c->config.connect_timeout_ms, 0);
        connect_next(c);
    } else {
        client_end(c, LWS_CLOSE_STATUS_ABNORMAL_CLOSE, text);
    }
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
    switch (reason) {
    case LWS_CALLBACK_OPENSSL_PERFORM_SERVER_CERT_VERIFICATION:
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
    case LWS_CALLBACK_CLIENT_RECEIVE:
    case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
    case LWS_CALLBACK_CLIENT_WRITEABLE:
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    case LWS_CALLBACK_CLIENT_CLOSED:
    case LWS_CALLBACK_CLOSED_CLIENT_HTTP:
    case LWS_CALLBACK_WSI_DESTROY:
        break;
    default:
        return 0; /* among them those that come with no real wsi */
    }
    struct ws_client *c = lws_get_opaque_user_data(wsi);
    if (!c)
        return reason == LWS_CALLBACK_OPENSSL_PERFORM_SERVER_CERT_VERIFICATION;
    switch (reason) {
    case LWS_CALLBACK_OPENSSL_PERFORM_SERVER_CERT_VERIFICATION:
        return verify(c, user, (int)len);
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
        return add_headers(c, wsi, in, len);
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        on_established(c, wsi);
        return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        return on_receive(c, wsi, in, len);
    case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
        c->heard = now_ms(c);
        return 0;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return on_writable(c, wsi);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        note_peer_close(c, in, len);
        return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        on_refused(c, wsi, in, len);
        return 0;
    default:
        lws_set_opaque_user_data(wsi, NULL);
        c->wsi = NULL;
        client_end(c, LWS_CLOSE_STATUS_ABNORMAL_CLOSE, c->problem ? c->problem : "the connection was lost");
        return 0;
    }
}

static const struct lws_protocols protocols[] = {
    {.name = "tarn", .callback = on_lws, .rx_buffer_size = 4096},
    {0},
};

/* No idle policy of lws's own: see above. */
static const lws_retry_bo_t no_policy;

static int start_wsi(struct ws_client *c, const char *address) {
    struct lws_client_connect_info info = {
        .context = c->context->lws,
        .vhost = c->vhost->lws,
        .address = address,
        .iface = c->config.local,
        .port = c->config.port,
        .path = c->config.path,
        .host = c->host_header,
        .protocol = c->config.protocol,
        .local_protocol_name = protocols[0].name,
        .ssl_connection = LCCSCF_USE_SSL | LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK | LCCSCF_HTTP_NO_FOLLOW_REDIRECT,
        .alpn = "http/1.1",
        .opaque_user_data = c,
        .pwsi = &c->wsi,
        .retry_and_idle_policy = &no_policy,
    };
    c->wsi = lws_client_connect_via_info(&info);
    return c->wsi ? 0 : -ECONNREFUSED;
}

static void connect_next(struct ws_client *c) {
    c->state = CONNECTING;
    while (c->next) {
        char address[INET6_ADDRSTRLEN];
        struct addrinfo *a = c->next;
        c->next = a->ai_next;
        if (getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof address, NULL, 0, NI_NUMERICHOST) == 0 &&
            start_wsi(c, address) == 0)
            return;
    }
    client_end(c, LWS_CLOSE_STATUS_ABNORMAL_CLOSE, "it cannot be reached");
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses) {
    struct lookup *l = request->data;
    struct ws_client *c = l->client;
    free(l);
    if (!c) {
        uv_freeaddrinfo(addresses);
        return;
    }
    c->lookup = NULL;
    if (c->state != RESOLVING) {
        uv_freeaddrinfo(addresses);
    } else if (status < 0) {
        _cleanup_free_ char *why = xasprintf("its name cannot be resolved: %s", uv_strerror(status));
        client_end(c, LWS_CLOSE_STATUS_ABNORMAL_CLOSE, why);
    } else {
        c->addresses = c->next = addresses;
        connect_next(c);
    }
}

static void resolve(struct ws_client *c) {
    unsigned char address[16];
    if (inet_pton(AF_INET, c->config.host, address) == 1 || inet_pton(AF_INET6, c->config.host, address) == 1) {
        c->state = CONNECTING;
        if (start_wsi(c, c->config.host) < 0)
            client_end(c, LWS_CLOSE_STATUS_ABNORMAL_CLOSE, "it cannot be reached");
        return;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    c->lookup = xcalloc(1, sizeof *c->lookup);
    c->lookup->client = c;
    c->lookup->request.data = c->lookup;
    int r = uv_getaddrinfo(c->context->loop, &c->lookup->request, on_resolved, c->config.host, NULL, &hints);
    if (r < 0) {
        free(TAKE_PTR(c->lookup));
        client_end(c, LWS_CLOSE_STATUS_ABNORMAL_CLOSE, uv_strerror(r));
    }
}

static struct lws_context_creation_info lws_info(void) {
    return (struct lws_context_creation_info){
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT |
                   LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS | LWS_SERVER_OPTION_SKIP_SERVER_CANONICAL_NAME |
                   LWS_SERVER_OPTION_UV_NO_SIGSEGV_SIGFPE_SPIN,
        .http_proxy_address = "", /* servers are reached directly, whatever http_proxy says */
        .vhost_name = "client",
        .timeout_secs = 600, /* our own are shorter */
        .connect_timeout_secs = 600,
    };
}

static struct vhost *find_vhost(struct ws_context *w, const struct ws_client_config *config) {
    struct vhost *v;
    list_for_each(v, &w->vhosts, link) if (ws_identity_matches(v->identity, config->ca_path, config->certificate_path,
                                                               config->key_path)) return v;
    v = xcalloc(1, sizeof *v);
    v->identity = ws_identity_new(config->ca_path, config->certificate_path, config->key_path);
    struct lws_context_creation_info info = lws_info();
    info.provided_client_ssl_ctx = ws_identity_ssl(v->identity);
    v->lws = lws_create_vhost(w->lws, &info);
    if (!v->lws) {
        ws_identity_free(v->identity);
        free(v);
        return NULL;
    }
    list_append(&w->vhosts, &v->link);
    return v;
}

static void on_timer(uv_timer_t *t) {
    struct ws_client *c = t->data;
    switch (c->state) {
    case RESOLVING:
    case CONNECTING:
        client_end(c, LWS_CLOSE_STATUS_ABNORMAL_CLOSE, "it did not answer in time");
        return;
    case CLOSING:
        client_end(c, LWS_CLOSE_STATUS_ABNORMAL_CLOSE, "it did not answer the close");
        return;
    case OPEN: {
        uint64_t silent = now_ms(c) - c->heard, ping = (uint64_t)c->config.ping_ms;
        if (c->paused) { /* we would not hear it */
            c->heard = now_ms(c);
        } else if (silent >= SILENT_PINGS * ping) {
            client_end(c, LWS_CLOSE_STATUS_ABNORMAL_CLOSE, "it has been silent for too long");
            return;
        }
        c->want_ping = true;
        lws_callback_on_writable(c->wsi);
        return;
    }
    case ENDED:
        c->state = REPORTED;
        if (c->config.on_close)
            c->config.on_close(c->config.ctx, c, c->code, c->reason); /* may free c */
        return;
    default:
        return;
    }
}

int ws_connect(struct ws_context *w, const struct ws_client_config *config, struct ws_client **ret) {
    if (str_empty(config->host) || str_empty(config->path) || config->port <= 0 || config->port > 65535 ||
        !config->certificate_path != !config->key_path)
        return -EINVAL;
    struct vhost *v = find_vhost(w, config);
    if (!v)
        return -ENOMEM;
    struct ws_client *c = xcalloc(1, sizeof *c);
    c->context = w;
    c->vhost = v;
    c->config = *config;
    c->config.host = xstrdup(config->host);
    c->config.path = xstrdup(config->path);
    c->config.local = xstrdup(config->local);
    c->config.protocol = xstrdup(config->protocol);
    c->config.bearer = xstrdup(config->bearer);
    if (c->config.connect_timeout_ms <= 0)
        c->config.connect_timeout_ms = CONNECT_TIMEOUT_MS;
    c->host_header = xasprintf(strchr(config->host, ':') ? "[%s]:%d" : "%s:%d", config->host, config->port);
    list_init(&c->queue);
    uv_timer_init(w->loop, &c->timer);
    c->timer.data = c;
    uv_timer_start(&c->timer, on_timer, (uint64_t)c->config.connect_timeout_ms, 0);
    *ret = c;
    _cleanup_free_ char *problem = NULL;
    if (ws_identity_refresh(v->identity, &problem) < 0)
        client_end(c, LWS_CLOSE_STATUS_ABNORMAL_CLOSE, problem);
    else
        resolve(c);
    return 0;
}

void ws_pause_reading(struct ws_client *c, bool pause) {
    if (c->paused == pause)
        return;
    c->paused = pause;
    c->heard = now_ms(c);
    if (!c->wsi || (c->state != OPEN && c->state != CLOSING))
        return;
    /*
     * Reading is stopped from the writable callback, never from a receive callback: what libwebsockets has read and
     * not yet handed over would stay in its buffer, and it then serves that buffer for ever without getting anywhere.
     */
    if (pause) {
        lws_callback_on_writable(c->wsi);
    } else if (c->stopped) {
        c->stopped = false;
        lws_rx_flow_control(c->wsi, 1);
    }
}

void ws_close(struct ws_client *c, int code, const char *reason) {
    if (c->state > OPEN)
        return;
    c->code = code;
    str_set(&c->reason, reason ? reason : "");
    if (c->state != OPEN) {
        client_end(c, code, "");
        return;
    }
    c->state = CLOSING;
    if (c->paused)
        ws_pause_reading(c, false); /* to hear the answer */
    uv_timer_start(&c->timer, on_timer, CLOSE_TIMEOUT_MS, 0);
    lws_callback_on_writable(c->wsi);
}

static void on_timer_closed(uv_handle_t *h) {
    struct ws_client *c = h->data;
    struct message *m, *tmp;
    list_for_each_safe(m, tmp, &c->queue, link) free(m);
    buf_done(&c->text);
    if (c->config.bearer)
        explicit_bzero((char *)c->config.bearer, strlen(c->config.bearer));
    free((char *)c->config.host);
    free((char *)c->config.path);
    free((char *)c->config.local);
    free((char *)c->config.protocol);
    free((char *)c->config.bearer);
    free(c->host_header);
    free(c->reason);
    free(c->problem);
    uv_freeaddrinfo(c->addresses);
    free(c);
}

void ws_free(struct ws_client *c) {
    if (!c || c->state == FREED)
        return;
    wsi_kill(c);
    c->state = FREED;
    if (c->lookup) {
        c->lookup->client = NULL;
        uv_cancel((uv_req_t *)&c->lookup->request);
    }
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

/* ---- the context ---- */

static void on_lws_log(int level, const char *line) {
    size_t len = strcspn(line, "\n");
    log_debug("libwebsockets: %.*s", (int)len, line);
}

/* lws makes tables of as many descriptors as the process may have; beyond this it searches a small one. */
static unsigned fd_limit(void) {
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < FDS_MAX ? (unsigned)limit.rlim_cur : FDS_MAX;
}

int ws_context_new(uv_loop_t *loop, struct ws_context **ret) {
    lws_set_log_level(LLL_ERR | LLL_WARN, on_lws_log);
    /* The system's openssl.cnf has nothing for us; that and the texts of its errors cost a tenth of a small agent. */
    OPENSSL_init_ssl(
        OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_LOAD_SSL_STRINGS | OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS, NULL);
    struct ws_context *w = xcalloc(1, sizeof *w);
    w->loop = loop;
    list_init(&w->vhosts);
    struct lws_context_creation_info info = lws_info();
    info.foreign_loops = (void *[]){loop};
    info.fd_limit_per_thread = fd_limit();
    /* More than a TLS record: nothing stays behind in OpenSSL when reading stops. */
    info.pt_serv_buf_size = 16384 + 1024;
    w->lws = lws_create_context(&info);
    if (!w->lws) {
        free(w);
        return -ENOMEM;
    }
    *ret = w;
    return 0;
}

static void on_end_closed(uv_handle_t *h) { free(h->data); }

static void on_end(uv_idle_t *h) {
    struct ws_context *w = h->data;
    if (++w->turns < END_TURNS)
        return;
    lws_context_destroy(w->lws);
    struct vhost *v, *tmp;
    list_for_each_safe(v, tmp, &w->vhosts, link) {
        ws_identity_free(v->identity);
        free(v);
    }
    uv_close((uv_handle_t *)h, on_end_closed);
}

void ws_context_free(struct ws_context *w) {
    if (!w)
        return;
    /* On a loop that is not its own lws goes in two steps: handles first, memory when the loop has closed them, which
       takes one turn for the connections' and one more for lws's own. */
    lws_context_destroy(w->lws);
    uv_idle_init(w->loop, &w->end);
    w->end.data = w;
    uv_idle_start(&w->end, on_end);
}

int ws_local_address(const struct ws_client *c, char *ret, size_t size) {
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    if (!c->wsi || getsockname(lws_get_socket_fd(c->wsi), (struct sockaddr *)&a, &len) < 0)
        return -ENOTCONN;
    return getnameinfo((struct sockaddr *)&a, len, ret, (socklen_t)size, NULL, 0, NI_NUMERICHOST) ? -ENOTCONN : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/http.h"

#include "manager/ca.h"
#include "manager/conn.h"
#include "manager/listen.h"
#include "manager/loop.h"
#include "manager/parse.h"
#include "manager/ws.h"
#include "os/log.h"
#include "os/x509.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>

#define FRAME_PIECE      4096   /* of a WebSocket's frame at once: libwebsockets keeps as much for each */
#define ANSWER_TIMEOUT_S 300    /* for us to find one; handlers have deadlines of their own */
#define BODY_MS          60000  /* for one that is collected to arrive */

static int http_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len);

/* The first serves whoever names no subprotocol; "binary" is what noVNC asks for. A piece of an answer is written at
 * once: without a size for that it would be FRAME_PIECE, and the rest be copied. */
static const struct lws_protocols protocols[] = {
    {"tarn", http_callback, 0, FRAME_PIECE, 0, NULL, ANSWER_CHUNK},
    {"binary", http_callback, 0, FRAME_PIECE, 0, NULL, ANSWER_CHUNK},
    {NULL, NULL, 0, 0, 0, NULL, 0},
};

/* ---- the connection ---- */

static void conn_free(struct conn *c) {
    struct exchange *x = c->x;
    if (x) {
        c->x = NULL;
        x->conn = NULL;
        if (x->on_gone)
            x->on_gone(x);
    }
    if (c->ws)
        ws_destroy(c->ws);
    conn_answer_reset(c);
    conn_room_end(c);
    list_remove(&c->link);
    c->server->n_conns--;
    listen_closed(c->server->m, c->client);
    free(c);
}

/* libwebsockets looks at its timers only after events of its own, hence the wake-up. */
void conn_close_soon(struct conn *c) {
    lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
    lws_cancel_service(c->server->context);
}

const char *conn_peer(const struct conn *c) { return c->peer; }
const char *conn_client(const struct conn *c) { return c->client; }
bool conn_is_loopback(const struct conn *c) { return c->loopback; }

void conn_read(struct conn *c, bool on) {
    if (c->paused == !on)
        return;
    c->paused = !on;
    lws_rx_flow_control(c->wsi, on);
}

void conn_pause(struct conn *c, bool pause) {
    if (pause || !c->x || !c->x->complete) /* behind the body is the next request, and that has to wait */
        conn_read(c, !pause);
}

void conn_touch(struct conn *c) { lws_set_timeout(c->wsi, PENDING_TIMEOUT_HTTP_CONTENT, ANSWER_PAUSE_S); }

static const struct {
    const char *name;
    enum lws_token_indexes token;
} known_headers[] = {
    {"authorization:", WSI_TOKEN_HTTP_AUTHORIZATION},
    {"connection:", WSI_TOKEN_CONNECTION},
    {"content-length:", WSI_TOKEN_HTTP_CONTENT_LENGTH},
    {"content-type:", WSI_TOKEN_HTTP_CONTENT_TYPE},
    {"cookie:", WSI_TOKEN_HTTP_COOKIE},
    {"expect:", WSI_TOKEN_HTTP_EXPECT},
    {"host:", WSI_TOKEN_HOST},
    {"accept-encoding:", WSI_TOKEN_HTTP_ACCEPT_ENCODING},
    {"if-none-match:", WSI_TOKEN_HTTP_IF_NONE_MATCH},
    {"if-match:", WSI_TOKEN_HTTP_IF_MATCH},
    {"origin:", WSI_TOKEN_ORIGIN},
    {"transfer-encoding:", WSI_TOKEN_HTTP_TRANSFER_ENCODING},
    {"upgrade:", WSI_TOKEN_UPGRADE},
    {"content-encoding:", WSI_TOKEN_HTTP_CONTENT_ENCODING},
};

const char *conn_header(struct conn *c, const char *name, char *buf, size_t size) {
    *buf = 0;
    for (size_t i = 0; i < ARRAY_LEN(known_headers); i++)
        if (strcmp(known_headers[i].name, name) == 0) {
            if (lws_hdr_copy(c->wsi, buf, (int)size, known_headers[i].token) < 0)
                *buf = 0;
            return buf;
        }
    if (lws_hdr_custom_copy(c->wsi, buf, (int)size, name, (int)strlen(name)) < 0)
        *buf = 0;
    return buf;
}

static bool conn_has_header(struct conn *c, enum lws_token_indexes token) {
    return lws_hdr_total_length(c->wsi, token) > 0;
}

char *conn_query(struct conn *c, const char *name) {
    _cleanup_free_ char *buf = xmalloc(HTTP_HEAD_MAX);
    size_t len = strlen(name);
    for (int i = 0; i < 64; i++) {
        int n = lws_hdr_copy_fragment(c->wsi, buf, HTTP_HEAD_MAX, WSI_TOKEN_HTTP_URI_ARGS, i);
        if (n < 0)
            return NULL;
        if ((size_t)n > len && buf[len] == '=' && memcmp(buf, name, len) == 0)
            return utf8_valid(buf + len + 1) ? xstrdup(buf + len + 1) : NULL;
    }
    return NULL;
}

int conn_query_check(struct conn *c, const char *names, struct error *e) {
    _cleanup_free_ char *buf = xmalloc(HTTP_HEAD_MAX);
    for (int i = 0; i < 64; i++) {
        if (lws_hdr_copy_fragment(c->wsi, buf, HTTP_HEAD_MAX, WSI_TOKEN_HTTP_URI_ARGS, i) < 0)
            return 0;
        if (!utf8_valid(buf))
            return error_set(e, ERR_INVALID, "a query parameter is not valid UTF-8");
        buf[strcspn(buf, "=")] = 0;
        if (*buf && !list_has(names, buf))
            return *names ? error_set(e, ERR_INVALID, "there is no query parameter \"%.60s\" here; there are: %s", buf,
                                      names)
                          : error_set(e, ERR_INVALID, "there is no query parameter \"%.60s\" here", buf);
    }
    return error_set(e, ERR_INVALID, "there are too many query parameters");
}

bool conn_certificate(struct conn *c, char ret[static 65]) {
    SSL *ssl = lws_get_ssl(c->wsi);
    X509 *cert = ssl ? SSL_get1_peer_certificate(ssl) : NULL;
    if (!cert)
        return false;
    unsigned char *der = NULL;
    int n = SSL_get_verify_result(ssl) == X509_V_OK ? i2d_X509(cert, &der) : -1;
    X509_free(cert);
    if (n < 0)
        return false;
    sha256_hex(der, (size_t)n, ret);
    OPENSSL_free(der);
    return true;
}

void conn_send_continue(struct conn *c) {
    static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
    char pre[LWS_PRE + sizeof line];
    memcpy(pre + LWS_PRE, line, sizeof line);
    lws_write(c->wsi, (unsigned char *)pre + LWS_PRE, sizeof line - 1, LWS_WRITE_HTTP_HEADERS);
}

/* ---- exchanges ---- */

void identity_done(struct identity *i) {
    free(i->user);
    free(i->expires);
    *i = (struct identity){0};
}

void exchange_free(struct exchange *x) {
    list_remove(&x->link);
    if (x->conn)
        x->conn->x = NULL;
    identity_done(&x->who);
    buf_done(&x->body);
    buf_done(&x->extra);
    json_decref(x->json);
    json_decref(x->args);
    if (x->password_hash)
        OPENSSL_cleanse(x->password_hash, strlen(x->password_hash));
    free(x->password_hash);
    free(x->path);
    free(x->if_match);
    free(x->filter);
    free(x->sort);
    free(x->after);
    free(x->fields);
    free(x);
}

static void exchange_measure(struct exchange *x, int status) {
    static const double limits[LATENCY_BUCKETS] = {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05,
                                                   0.1,    0.2,   0.5,   1,     2,    5,    10};
    struct manager *m = x->m;
    double s = (double)((int64_t)(uv_hrtime() / 1000) - x->started_us) / 1e6;
    size_t i = 0;
    while (i < LATENCY_BUCKETS && s > limits[i])
        i++;
    m->latency[i]++;
    m->latency_sum += s;
    m->requests_done[status / 100 % 6]++;
}

void exchange_reply(struct exchange *x, int status, int64_t revision, char *text) {
    size_t len = text ? strlen(text) : 0;
    if (x->conn && strcmp(x->method, "GET") == 0 && !unread_take(x, len, x->conn->unread)) {
        free(text);
        x->type = NULL;
        buf_adds(&x->extra, "Retry-After: 1\r\n");
        exchange_fail(x, ERR_RATE, "too many answers have been asked for and not been read; read those first");
        return;
    }
    exchange_measure(x, status);
    if (x->conn) {
        x->conn->unread_len = len;
        conn_answer(x->conn, x, status, revision, text, len, text);
    } else {
        free(text);
    }
    exchange_free(x);
}

void exchange_reply_borrowed(struct exchange *x, const char *data, size_t len) {
    exchange_measure(x, 200);
    if (x->conn)
        conn_answer(x->conn, x, 200, 0, data, len, NULL);
    exchange_free(x);
}

void exchange_reply_json(struct exchange *x, int status, int64_t revision, json_t *body) {
    char *text = json_text(body);
    json_decref(body);
    exchange_reply(x, status, revision, text);
}

void exchange_reply_error(struct exchange *x, const struct error *e) {
    json_t *j = json_object();
    json_object_set_new(j, "error", error_print(e));
    exchange_reply_json(x, error_http_status(e->code), 0, j);
}

void exchange_fail(struct exchange *x, enum error_code code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *message = xvasprintf(fmt, ap);
    va_end(ap);
    _cleanup_error_ struct error e = ERROR_INIT;
    error_set(&e, code, "%s", message);
    exchange_reply_error(x, &e);
}

struct exchange *exchange_find(struct manager *m, uint64_t id) {
    struct exchange *x;
    list_for_each(x, &m->exchanges[id % EXCHANGE_BUCKETS], link) {
        if (x->id == id)
            return x;
    }
    return NULL;
}

/* ---- requests ---- */

static const struct {
    enum lws_token_indexes token;
    const char *method;
} methods[] = {
    {WSI_TOKEN_GET_URI, "GET"},         {WSI_TOKEN_POST_URI, "POST"},     {WSI_TOKEN_PUT_URI, "PUT"},
    {WSI_TOKEN_PATCH_URI, "PATCH"},     {WSI_TOKEN_DELETE_URI, "DELETE"}, {WSI_TOKEN_HEAD_URI, "HEAD"},
    {WSI_TOKEN_OPTIONS_URI, "OPTIONS"},
};

static struct exchange *exchange_new(struct conn *c) {
    struct manager *m = c->server->m;
    _cleanup_free_ char *buf = xmalloc(HTTP_HEAD_MAX + 1);
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (!conn_has_header(c, methods[i].token))
            continue;
        int n = lws_hdr_copy(c->wsi, buf, HTTP_HEAD_MAX + 1, methods[i].token);
        if (n <= 0 || strlen(buf) != (size_t)n)
            return NULL;
        struct exchange *x = xcalloc(1, sizeof *x);
        x->m = m;
        x->conn = c;
        x->id = ++m->next_exchange;
        x->started_us = (int64_t)(uv_hrtime() / 1000);
        x->content_length = -1;
        x->path = path_encode(buf);
        x->head = strcmp(methods[i].method, "HEAD") == 0;
        snprintf(x->method, sizeof x->method, "%s", x->head ? "GET" : methods[i].method);
        list_append(&m->exchanges[x->id % EXCHANGE_BUCKETS], &x->link);
        c->x = x;
        return x;
    }
    return NULL;
}

/*
 * libwebsockets takes the head of a request whose body it has buffered (because it came together with an earlier
 * request) for that body, and may never come back. Such a request is known by nothing having been read since the last
 * answer. Clients do not pipeline requests that change something.
 */
static bool request_is_pipelined(const struct conn *c) { return c->answered && conn_bytes_read(c) == c->read_mark; }

/* What kind of body follows. -1: it has been refused (the connection closes after the answer). */
static int request_framing(struct conn *c, struct exchange *x) {
    char buf[64];
    bool chunked = conn_has_header(c, WSI_TOKEN_HTTP_TRANSFER_ENCODING);
    bool sized = conn_has_header(c, WSI_TOKEN_HTTP_CONTENT_LENGTH);
    /* in the eyes of libwebsockets; which reads on for these methods whatever they say */
    bool bodied = sized ? strcmp(conn_header(c, "content-length:", buf, sizeof buf), "0") != 0 : x->method[0] == 'P';
    if ((bodied || chunked) && request_is_pipelined(c)) {
        c->close_after = true;
        exchange_fail(x, ERR_INVALID, "a request with a body must wait for the answer to the one before it");
        return -1;
    }
    if (chunked) {
        c->close_after = true;
        c->body_left = x->method[0] == 'P' ? INT64_MAX : 0; /* unknown */
        if (sized)
            exchange_fail(x, ERR_INVALID,
                          "the request has both Content-Length and Transfer-Encoding; send Content-Length only");
        else
            exchange_reply(x, 411, 0,
                           xstrdup("{\"error\":{\"code\":\"invalid\",\"message\":\"chunked request bodies are not "
                                   "taken; send Content-Length\"}}"));
        return -1;
    }
    if (!sized) {
        c->close_after |= x->method[0] == 'P';
        return 0;
    }
    if (decimal_parse(buf, &x->content_length) < 0) {
        c->close_after = true;
        exchange_fail(x, ERR_INVALID, "Content-Length is not one decimal number");
        return -1;
    }
    c->body_left = x->content_length;
    c->body_deadline = manager_now(c->server->m) + BODY_MS;
    return 0;
}

/* After a callback of the request: writes the answer if there is one, else stops reading until there is. */
static int request_continue(struct conn *c) {
    if (c->answering)
        return conn_progress(c);
    if (c->x && c->x->complete) {
        conn_read(c, false);
        if (request_is_pipelined(c))
            conn_unwatch(c);
        lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_OK, ANSWER_TIMEOUT_S);
    }
    return 0;
}

static void request_complete(struct conn *c) {
    struct exchange *x = c->x;
    if (!x || x->complete)
        return;
    c->in_callback = true;
    x->complete = true;
    if (x->on_complete)
        x->on_complete(x);
    else
        api_complete(x);
    c->in_callback = false;
}

static int request_head(struct conn *c) {
    enum head_problem problem;
    c->body_left = 0;
    c->close_after = c->lingering = false;
    if (conn_head_problem(c->wsi, conn_bytes_read(c) - c->read_mark, &problem))
        return conn_refuse_head(c->wsi, problem);
    struct exchange *x = exchange_new(c);
    if (!x)
        return conn_refuse_head(c->wsi, HEAD_MALFORMED);
    if (c->server->m->stopping)
        c->close_after = true;
    c->in_callback = true;
    int framing = request_framing(c, x);
    if (framing == 0)
        api_begin(x);
    c->in_callback = false;
    if (framing < 0 && request_is_pipelined(c)) {
        conn_write_some(c); /* and be it only a part: libwebsockets must not go on */
        return -1;
    }
    if (c->body_left == 0)
        request_complete(c);
    return request_continue(c);
}

/* libwebsockets 4.1 says so again when more data comes behind the body. */
static int request_body_end(struct conn *c) {
    c->body_left = 0;
    request_complete(c);
    return request_continue(c);
}

/*
 * libwebsockets 4.3 takes all that it has read for the body, though the length is known: the next request is lost if it
 * came together with the end of this one, and of the end nobody is told. So this one is the connection's last; who has
 * sent more learns by its end that there is no answer to come.
 */
static int request_body(struct conn *c, const void *data, size_t len) {
    struct exchange *x = c->x;
    size_t n = (int64_t)len < c->body_left ? len : (size_t)c->body_left;
    c->body_left -= (int64_t)n;
    if (c->lingering) {
        c->linger_left -= (int64_t)len;
        return c->linger_left < 0 || manager_now(c->server->m) > c->linger_until ? -1 : 0;
    }
    if (x && !x->complete && n) { /* else: answered before the body came; what is left of it is thrown away */
        c->in_callback = true;
        if (x->on_body)
            x->on_body(x, data, n);
        else
            buf_add(&x->body, data, n);
        c->in_callback = false;
    }
    if (n < len) {
        c->close_after = true;
        return request_body_end(c);
    }
    return c->answering && c->lingering ? conn_progress(c) : 0;
}

static int request_upgrade(struct conn *c) {
    c->body_left = 0;
    c->close_after = true;
    c->lingering = false;
    struct exchange *x = exchange_new(c);
    char up[32];
    if (!x)
        return -1;
    c->in_callback = true;
    bool accepted = false;
    if (strcasecmp(conn_header(c, "upgrade:", up, sizeof up), "websocket") != 0 || strcmp(x->method, "GET") != 0)
        exchange_fail(x, ERR_INVALID, "the only upgrade is to websocket, with GET");
    else
        accepted = api_upgrade(x);
    c->in_callback = false;
    if (accepted)
        return 0;
    if (c->answering)
        conn_write_some(c);
    return -1;
}

/* ---- libwebsockets ---- */

static int tls_setup(SSL_CTX *ctx) {
    static const unsigned char id[] = "tarn";
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_session_id_context(ctx, id, sizeof id - 1);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS); /* 34 KiB for each connection that is silent */
    return 0;
}

static int http_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
    if (reason == LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS) {
        struct manager *m = lws_context_user(lws_get_context(wsi));
        m->http->tls = user;
        return tls_setup(user);
    }
    if (reason == LWS_CALLBACK_OPENSSL_PERFORM_CLIENT_CERT_VERIFICATION)
        return !len; /* what OpenSSL found */
    struct conn *c = wsi ? lws_get_opaque_user_data(wsi) : NULL;
    if (!c)
        return 0;
    switch (reason) {
    case LWS_CALLBACK_HTTP:
        return c->ended ? -1 : request_head(c);
    case LWS_CALLBACK_HTTP_BODY:
        return c->ended ? -1 : request_body(c, in, len);
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
        return c->ended ? -1 : request_body_end(c);
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return conn_progress(c);
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        return request_upgrade(c);
    case LWS_CALLBACK_ESTABLISHED:
    case LWS_CALLBACK_SERVER_WRITEABLE:
    case LWS_CALLBACK_RECEIVE:
    case LWS_CALLBACK_RECEIVE_PONG:
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        return c->ws ? ws_callback(c->ws, (int)reason, in, len) : -1;
    case LWS_CALLBACK_WSI_DESTROY:
        lws_set_opaque_user_data(wsi, NULL);
        conn_free(c);
        return 0;
    default:
        return 0;
    }
}

static void lws_log(int level, const char *line) {
    size_t n = strcspn(line, "\n");
    log_debug("libwebsockets: %.*s", (int)(n > 200 ? 200 : n), line);
}

static void conn_tick(struct conn *c, int64_t now) {
    if (c->ws)
        ws_tick(c->ws, now);
    else if ((c->lingering && now > c->linger_until) || ((c->answering || c->ended) && now > c->answer_deadline) ||
             (c->x && !c->x->complete && !c->x->on_body && now > c->body_deadline))
        conn_close_soon(c);
}

void http_tick(struct manager *m) {
    struct conn *c, *tmp;
    list_for_each_safe(c, tmp, &m->http->conns, link) { conn_tick(c, manager_now(m)); }
}

static struct lws_vhost *vhost_make(struct http_server *s, struct lws_context_creation_info *info) {
    /* ws.c looks after silent peers itself. Else each frame of each agent would move a timer in one long sorted list.
     */
    static const lws_retry_bo_t no_validity_timers;
    info->retry_and_idle_policy = &no_validity_timers;
    info->options |= LWS_SERVER_OPTION_REQUIRE_VALID_OPENSSL_CLIENT_CERT | LWS_SERVER_OPTION_PEER_CERT_NOT_REQUIRED;
    info->vhost_name = "tarn";
    info->port = CONTEXT_PORT_NO_LISTEN_SERVER;
    info->protocols = protocols;
    info->alpn = "http/1.1";
    info->ssl_ca_filepath = ca_certificate_path(s->m->ca);
    info->ssl_cert_filepath = ca_server_chain_path(s->m->ca);
    info->ssl_private_key_filepath = ca_server_key_path(s->m->ca);
    info->keepalive_timeout = 60;
    return lws_create_vhost(s->context, info);
}

int http_init(struct manager *m, struct error *e) {
    struct http_server *s = xcalloc(1, sizeof *s);
    m->http = s;
    s->m = m;
    list_init(&s->conns);
    lws_set_log_level(LLL_ERR | LLL_WARN, lws_log);
    void *loops[] = {m->loop};
    struct lws_context_creation_info info = {
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
        .foreign_loops = loops,
        .user = m,
        .pt_serv_buf_size =
            ANSWER_CHUNK + LWS_PRE, /* more than a TLS record: nothing stays behind in OpenSSL when we pause */
        .max_http_header_data = 4 * HTTP_HEAD_MAX - 1, /* so that what is too long is told so; 16 bits */
        .timeout_secs = 20,
        .uid = (uid_t)-1,
        .gid = (gid_t)-1,
    };
    s->context = lws_create_context(&info);
    if (!s->context)
        return error_set(e, ERR_INTERNAL,
                         "libwebsockets does not start on libuv; is libwebsockets-evlib-uv installed?");
    s->vhost = vhost_make(s, &info);
    if (!s->vhost)
        return error_set(e, ERR_INTERNAL, "TLS does not start; see the files in %s", m->options->state);
    return 0;
}

size_t http_connections(const struct manager *m) { return m->http ? m->http->n_conns : 0; }

void http_stop(struct manager *m) {
    struct conn *c, *tmp;
    if (!m->http)
        return;
    list_for_each_safe(c, tmp, &m->http->conns, link) {
        if (c->ws)
            ws_stop(c->ws, 1001, "the manager stops");
        else if (!c->x && !c->answering)
            conn_close_soon(c);
    }
}

void http_done(struct manager *m) {
    struct http_server *s = m->http;
    if (!s)
        return;
    /* On a loop that is not its own, libwebsockets asks its handles to close, and is freed by a second call when they
     * have. */
    if (s->context) {
        lws_context_destroy(s->context);
        for (int i = 0; i < 100; i++)
            uv_run(m->loop, UV_RUN_NOWAIT);
        lws_context_destroy(s->context);
    }
    m->http = NULL;
    free(s);
}

int http_set_certificate(struct manager *m, const char *key_pem, const char *chain_pem, struct error *e) {
    BIO *kb = BIO_new_mem_buf(key_pem, -1), *cb = BIO_new_mem_buf(chain_pem, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(kb, NULL, NULL, NULL);
    X509 *cert = PEM_read_bio_X509(cb, NULL, NULL, NULL);
    bool ok = key && cert && SSL_CTX_use_certificate(m->http->tls, cert) == 1 &&
              SSL_CTX_use_PrivateKey(m->http->tls, key) == 1;
    EVP_PKEY_free(key);
    X509_free(cert);
    BIO_free(kb);
    BIO_free(cb);
    return ok ? 0 : error_set(e, ERR_INTERNAL, "the renewed certificate does not load");
}

void http_adopt(struct manager *m, int fd, const char *peer, bool loopback) {
    struct lws *wsi = lws_adopt_socket_vhost(m->http->vhost, fd);
    if (!wsi)
        return; /* libwebsockets has closed the socket */
    struct conn *c = xcalloc(1, sizeof *c);
    c->server = m->http;
    c->wsi = wsi;
    c->loopback = loopback;
    snprintf(c->peer, sizeof c->peer, "%s", peer);
    client_of(peer, c->client);
    list_append(&m->http->conns, &c->link);
    m->http->n_conns++;
    lws_set_opaque_user_data(wsi, c);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Against a real server: libwebsockets again, in the same loop, with certificates of our own authority. */
#include "os/wsclient.h"

#include "base/buf.h"
#include "base/mem.h"
#include "os/file.h"
#include "os/log.h"
#include "os/x509.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libwebsockets.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the server ---- */

struct session {
    char path[64];
    struct buf out;
    bool binary, started;
    size_t received;
};

static struct server {
    struct lws_context *lws;
    int opened;
    char last_peer[64];      /* the client certificate's common name */
    char authorization[128]; /* of the last connection */
    size_t received;
    int close_code; /* that a client sent */
    SSL_CTX *unused;
} server;

static int serve_open(struct lws *wsi, struct session *s) {
    union lws_tls_cert_info_results ci;
    memset(s, 0, sizeof *s);
    lws_hdr_copy(wsi, s->path, sizeof s->path, WSI_TOKEN_GET_URI);
    server.authorization[0] = 0;
    lws_hdr_copy(wsi, server.authorization, sizeof server.authorization, WSI_TOKEN_HTTP_AUTHORIZATION);
    server.last_peer[0] = 0;
    if (lws_tls_peer_cert_info(wsi, LWS_TLS_CERT_INFO_COMMON_NAME, &ci, sizeof ci.ns.name) == 0)
        snprintf(server.last_peer, sizeof server.last_peer, "%s", ci.ns.name);
    server.opened++;
    if (strcmp(s->path, "/deaf") == 0)
        lws_rx_flow_control(wsi, 0);
    lws_callback_on_writable(wsi);
    return 0;
}

static int serve_write(struct lws *wsi, struct session *s) {
    unsigned char data[LWS_PRE + 65536];
    if (strcmp(s->path, "/close") == 0) {
        ws_close_frame(wsi, 4001, "upgrade the agent");
        return 0;
    }
    if (strcmp(s->path, "/drop") == 0) {
        lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
        return 0;
    }
    if (strcmp(s->path, "/fragments") == 0 && !s->started) {
        s->started = true;
        static const char *const parts[] = {"one ", "two ", "three"};
        for (int i = 0; i < 3; i++) {
            memcpy(data + LWS_PRE, parts[i], strlen(parts[i]));
            lws_write(wsi, data + LWS_PRE, strlen(parts[i]),
                      (enum lws_write_protocol)lws_write_ws_flags(LWS_WRITE_TEXT, i == 0, i == 2));
        }
    }
    if (strcmp(s->path, "/flood") == 0) {
        memset(data + LWS_PRE, 'f', 65536);
        if (lws_write(wsi, data + LWS_PRE, 65536, LWS_WRITE_BINARY) < 0)
            return -1;
        lws_callback_on_writable(wsi);
    }
    if (strcmp(s->path, "/echo") == 0 && s->out.len) {
        size_t n = s->out.len;
        unsigned char *copy = xmalloc(LWS_PRE + n);
        memcpy(copy + LWS_PRE, s->out.data, n);
        s->out.len = 0;
        int r = lws_write(wsi, copy + LWS_PRE, n, s->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
        free(copy);
        return r < 0 ? -1 : 0;
    }
    return 0;
}

static int on_server(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
    struct session *s = user;
    char path[64] = "";
    switch (reason) {
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        lws_hdr_copy(wsi, path, sizeof path, WSI_TOKEN_GET_URI);
        if (strcmp(path, "/refuse") == 0) {
            lws_return_http_status(wsi, 401, "no");
            return -1;
        }
        return 0;
    case LWS_CALLBACK_ESTABLISHED:
        return serve_open(wsi, s);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return serve_write(wsi, s);
    case LWS_CALLBACK_RECEIVE:
        server.received += len;
        s->binary = lws_frame_is_binary(wsi);
        buf_add(&s->out, in, len);
        if (lws_is_final_fragment(wsi))
            lws_callback_on_writable(wsi);
        return 0;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        server.close_code = len >= 2 ? ((unsigned char *)in)[0] << 8 | ((unsigned char *)in)[1] : 0;
        return 0;
    case LWS_CALLBACK_CLOSED:
        buf_done(&s->out);
        return 0;
    case LWS_CALLBACK_OPENSSL_PERFORM_CLIENT_CERT_VERIFICATION:
        return 0;
    default:
        return 0;
    }
}

static const struct lws_protocols server_protocols[] = {
    {.name = "default", .callback = on_server, .per_session_data_size = sizeof(struct session), .rx_buffer_size = 4096},
    {0},
};

/* ---- the fixture ---- */

static uv_loop_t loop;

static char dir[64], ca_path[96], other_ca_path[96];
static int port;

static void save(const char *name, const char *text, char *ret_path) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(write_file_at(AT_FDCWD, path, text, strlen(text), 0600), 0);
    if (ret_path)
        memcpy(ret_path, path, strlen(path) + 1);
}

static char *ca_key, *ca_cert;

static void make_client(const char *name) {
    struct error e = ERROR_INIT;
    _cleanup_free_ char *key = NULL, *csr = NULL, *cert = NULL;
    _cleanup_free_ char *key_name = xasprintf("%s.key", name), *cert_name = xasprintf("%s.pem", name);
    assert_int_equal(x509_make_request(name, &key, &csr, &e), 0);
    assert_int_equal(x509_sign_client(ca_key, ca_cert, csr, name, 10, &cert, &e), 0);
    save(key_name, key, NULL);
    save(cert_name, cert, NULL);
}

static int start_server(const char *const *names) {
    struct error e = ERROR_INIT;
    _cleanup_free_ char *key = NULL, *cert = NULL;
    char key_path[96], cert_path[96];
    assert_int_equal(x509_make_server(ca_key, ca_cert, names, 10, &key, &cert, &e), 0);
    save("server.key", key, key_path);
    save("server.pem", cert, cert_path);
    struct lws_context_creation_info info = {
        .port = 0,
        .iface = "lo",
        .protocols = server_protocols,
        .ssl_cert_filepath = cert_path,
        .ssl_private_key_filepath = key_path,
        .ssl_ca_filepath = ca_path,
        .vhost_name = "server",
        .provided_client_ssl_ctx = server.unused =
            SSL_CTX_new(TLS_client_method()), /* else lws makes one, and forgets it */
        .foreign_loops = (void *[]){&loop},
        .fd_limit_per_thread = 2048,
        .timeout_secs = 60,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                   LWS_SERVER_OPTION_REQUIRE_VALID_OPENSSL_CLIENT_CERT | LWS_SERVER_OPTION_PEER_CERT_NOT_REQUIRED |
                   LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS | LWS_SERVER_OPTION_DISABLE_IPV6,
    };
    server.lws = lws_create_context(&info);
    assert_non_null(server.lws);
    struct lws_vhost *v = lws_create_vhost(server.lws, &info);
    assert_non_null(v);
    return lws_get_vhost_listen_port(v);
}

static int setup_all(void **state) {
    struct error e = ERROR_INIT;
    _cleanup_free_ char *key = NULL, *cert = NULL;
    log_set_level(getenv("TARN_TEST_DEBUG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    lws_set_log_level(getenv("TARN_TEST_DEBUG") ? 1023 : 0, NULL);
    uv_loop_init(&loop);
    snprintf(dir, sizeof dir, "/tmp/ws-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(x509_make_ca("Tarn test", 10, &ca_key, &ca_cert, &e), 0);
    assert_int_equal(x509_make_ca("Another", 10, &key, &cert, &e), 0);
    save("ca.pem", ca_cert, ca_path);
    save("other.pem", cert, other_ca_path);
    make_client("server-1");
    port = start_server((const char *const[]){"localhost", "127.0.0.1", NULL});
    return 0;
}

static void set_flag(uv_timer_t *t) { *(bool *)t->data = true; }
static void set_closed(uv_handle_t *h) { *(bool *)h->data = true; }

/* For that long, whatever stops the loop meanwhile. */
static void turn(int ms) {
    uv_timer_t t;
    bool over = false, gone = false;
    uv_timer_init(&loop, &t);
    t.data = &over;
    uv_timer_start(&t, set_flag, (uint64_t)ms, 0);
    while (!over)
        uv_run(&loop, UV_RUN_ONCE);
    t.data = &gone;
    uv_close((uv_handle_t *)&t, set_closed);
    while (!gone)
        uv_run(&loop, UV_RUN_NOWAIT);
}

static int teardown_all(void **state) {
    lws_context_destroy(server.lws);
    for (int i = 0; i < 10; i++)
        turn(1);
    lws_context_destroy(server.lws);
    SSL_CTX_free(server.unused);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
    remove_tree_at(AT_FDCWD, dir);
    free(ca_key);
    free(ca_cert);
    return 0;
}

/* ---- a client that notes what happens ---- */

struct client {
    struct ws_client *c;
    int opens, closes, texts, writables, code;
    char reason[160];
    struct buf text;
    size_t binary;
    bool free_in_text;
};

static void opened(void *ctx, struct ws_client *c) { ((struct client *)ctx)->opens++; }

static void got_text(void *ctx, struct ws_client *c, const char *data, size_t len) {
    struct client *k = ctx;
    k->texts++;
    assert_int_equal(data[len], 0);
    buf_add(&k->text, data, len);
    if (k->free_in_text)
        ws_free(TAKE_PTR(k->c));
}

static void got_binary(void *ctx, struct ws_client *c, const void *data, size_t len) {
    struct client *k = ctx;
    k->binary += len;
}

static void writable(void *ctx, struct ws_client *c) { ((struct client *)ctx)->writables++; }

static void closed(void *ctx, struct ws_client *c, int code, const char *reason) {
    struct client *k = ctx;
    k->closes++;
    k->code = code;
    snprintf(k->reason, sizeof k->reason, "%s", reason);
    ws_free(c);
    k->c = NULL;
}

static struct ws_client_config config_for(struct client *k, const char *path) {
    static char key_path[128], cert_path[128];
    snprintf(key_path, sizeof key_path, "%s/server-1.key", dir);
    snprintf(cert_path, sizeof cert_path, "%s/server-1.pem", dir);
    return (struct ws_client_config){.host = "127.0.0.1",
                                     .port = port,
                                     .path = path,
                                     .ca_path = ca_path,
                                     .certificate_path = cert_path,
                                     .key_path = key_path,
                                     .max_message = 1 << 20,
                                     .connect_timeout_ms = 3000,
                                     .ping_ms = 5000,
                                     .on_open = opened,
                                     .on_text = got_text,
                                     .on_binary = got_binary,
                                     .on_writable = writable,
                                     .on_close = closed,
                                     .ctx = k};
}

/* Runs until the condition holds, at most 5 s. */
#define UNTIL(condition)                                                                                               \
    do {                                                                                                               \
        uint64_t start_ = uv_hrtime();                                                                                 \
        while (!(condition)) {                                                                                         \
            turn(1);                                                                                                   \
            if (uv_hrtime() - start_ > 5000000000ULL)                                                                  \
                fail_msg("not within 5 s: " #condition);                                                               \
        }                                                                                                              \
    } while (0)

static int setup(void **state) {
    struct ws_context *w;
    assert_int_equal(ws_context_new(&loop, &w), 0);
    lws_set_log_level(getenv("TARN_TEST_DEBUG") ? 1023 : 0, NULL);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    ws_context_free(*state);
    for (int i = 0; i < 10; i++)
        turn(1);
    return 0;
}

static void start(struct ws_context *w, struct client *k, struct ws_client_config config) {
    assert_int_equal(ws_connect(w, &config, &k->c), 0);
    UNTIL(k->opens || k->closes);
}

static void finish(struct client *k) {
    ws_free(k->c);
    buf_done(&k->text);
    turn(10);
}

/* ---- tests ---- */

static void test_echo(void **state) {
    struct client k = {0};
    struct ws_client_config config = config_for(&k, "/echo");
    config.bearer = "secret-token";
    start(*state, &k, config);
    assert_int_equal(k.opens, 1);
    assert_string_equal(server.last_peer, "server-1");
    assert_string_equal(server.authorization, "Bearer secret-token");
    assert_true(ws_send_text(k.c, "hello", 5));
    UNTIL(k.texts);
    assert_string_equal(k.text.data, "hello");
    ws_close(k.c, 1000, "done");
    UNTIL(k.closes);
    assert_int_equal(k.closes, 1);
    assert_int_equal(k.code, 1000);
    assert_string_equal(k.reason, "done");
    assert_int_equal(server.close_code, 1000);
    finish(&k);
}

static void test_large_messages(void **state) {
    struct client k = {0};
    start(*state, &k, config_for(&k, "/echo"));
    size_t len = 900000;
    char *large = xmalloc(len);
    for (size_t i = 0; i < len; i++)
        large[i] = (char)('a' + i % 26);
    assert_false(ws_send_text(k.c, large, len)); /* above the high mark, queued all the same */
    UNTIL(k.texts);
    assert_int_equal(k.text.len, len);
    assert_memory_equal(k.text.data, large, len);
    assert_int_equal(k.texts, 1);
    assert_int_equal(k.writables, 1);
    for (int i = 0; i < 4; i++)
        ws_send_binary(k.c, large, 100000);
    for (int i = 0; i < 200 && k.binary < 400000; i++)
        turn(10);
    assert_int_equal(k.binary, 400000);
    free(large);
    finish(&k);
}

static void test_too_large(void **state) {
    struct client k = {0};
    struct ws_client_config config = config_for(&k, "/echo");
    config.max_message = 1000;
    start(*state, &k, config);
    char text[1001];
    memset(text, 'x', sizeof text);
    ws_send_text(k.c, text, 1000);
    UNTIL(k.texts);
    assert_int_equal(k.texts, 1);
    ws_send_text(k.c, text, 1001);
    UNTIL(k.closes);
    assert_int_equal(k.closes, 1);
    assert_int_equal(k.code, 1009);
    assert_int_equal(server.close_code, 1009);
    assert_int_equal(k.texts, 1);
    finish(&k);
}

static void test_fragments(void **state) {
    struct client k = {0};
    start(*state, &k, config_for(&k, "/fragments"));
    UNTIL(k.texts);
    assert_string_equal(k.text.data, "one two three");
    assert_int_equal(k.texts, 1);
    finish(&k);
}

static void test_close_code(void **state) {
    struct client k = {0};
    start(*state, &k, config_for(&k, "/close"));
    UNTIL(k.closes);
    assert_int_equal(k.code, 4001);
    assert_string_equal(k.reason, "upgrade the agent");
    finish(&k);
    memset(&k, 0, sizeof k);
    start(*state, &k, config_for(&k, "/drop"));
    UNTIL(k.closes);
    assert_int_equal(k.code, 1006);
    finish(&k);
}

static void expect_failure(struct ws_context *w, struct ws_client_config config, int code, const char *reason) {
    struct client k = {0};
    config.ctx = &k;
    start(w, &k, config);
    assert_int_equal(k.opens, 0);
    assert_int_equal(k.closes, 1);
    assert_int_equal(k.code, code);
    if (!strstr(k.reason, reason))
        fail_msg("the reason is: %s", k.reason);
    finish(&k);
}

static void test_refusals(void **state) {
    struct ws_client_config config = config_for(NULL, "/refuse");
    expect_failure(*state, config, 401, "HTTP 401");
    config = config_for(NULL, "/echo");
    config.ca_path = other_ca_path;
    expect_failure(*state, config, 1006, "certificate is not accepted");
    config = config_for(NULL, "/echo");
    config.ca_path = "/no/such/file";
    expect_failure(*state, config, 1006, "/no/such/file cannot be read");
    config.ca_path = "/etc/hostname";
    expect_failure(*state, config, 1006, "no CA certificate");
    config = config_for(NULL, "/echo");
    config.key_path = other_ca_path;
    expect_failure(*state, config, 1006, "no key that belongs");
    config = config_for(NULL, "/echo");
    config.host = "127.0.0.2"; /* the server listens there too? no matter: nothing of its certificate is for it */
    expect_failure(*state, config, 1006, "");
    config = config_for(NULL, "/echo");
    config.host = "host.invalid";
    expect_failure(*state, config, 1006, "cannot be resolved");
    config = config_for(NULL, "/echo");
    config.port = 1;
    expect_failure(*state, config, 1006, "");
    struct ws_client *c;
    config.port = 0;
    assert_int_equal(ws_connect(*state, &config, &c), -EINVAL);
}

/* By name: resolved, ::1 tried first where it comes first, and the certificate's name checked. */
static void test_names(void **state) {
    struct client k = {0};
    struct ws_client_config config = config_for(&k, "/echo");
    config.host = "localhost";
    start(*state, &k, config);
    assert_int_equal(k.opens, 1);
    finish(&k);
    assert_null(ws_connect(*state, &config, &k.c) ? "failed" : NULL);
    ws_free(k.c); /* while its name is being looked up */
    turn(50);
    k.c = NULL;
    finish(&k);
}

/* A server that accepts and says nothing. */
static void test_timeout(void **state) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(fd, 5), 0);
    getsockname(fd, (struct sockaddr *)&a, &len);
    struct ws_client_config config = config_for(NULL, "/echo");
    config.port = ntohs(a.sin_port);
    config.connect_timeout_ms = 200;
    uint64_t before = uv_hrtime();
    expect_failure(*state, config, 1006, "did not answer in time");
    assert_true(uv_hrtime() - before < 2000000000ULL);
    close(fd);
}

/* A peer that neither speaks nor answers pings is given up. */
static void test_silence(void **state) {
    struct client k = {0};
    struct ws_client_config config = config_for(&k, "/deaf");
    config.ping_ms = 50;
    start(*state, &k, config);
    assert_int_equal(k.opens, 1);
    uint64_t before = uv_hrtime();
    UNTIL(k.closes);
    assert_int_equal(k.closes, 1);
    assert_int_equal(k.code, 1006);
    assert_non_null(strstr(k.reason, "silent"));
    assert_true(uv_hrtime() - before > 100000000ULL && uv_hrtime() - before < 1000000000ULL);
    finish(&k);
    memset(&k, 0, sizeof k);
    config = config_for(&k, "/echo"); /* this one answers */
    config.ping_ms = 50;
    start(*state, &k, config);
    turn(600);
    assert_int_equal(k.closes, 0);
    finish(&k);
}

static void test_pause(void **state) {
    struct client k = {0};
    struct ws_client_config config = config_for(&k, "/flood");
    config.ping_ms = 50;
    start(*state, &k, config);
    turn(50);
    assert_true(k.binary > 0);
    ws_pause_reading(k.c, true);
    turn(20);
    size_t before = k.binary;
    turn(400); /* longer than a silent peer is trusted */
    assert_int_equal(k.binary, before);
    assert_int_equal(k.closes, 0);
    ws_pause_reading(k.c, false);
    turn(100);
    assert_true(k.binary > before);
    finish(&k);
}

static void test_free_in_callback(void **state) {
    struct client k = {.free_in_text = true};
    start(*state, &k, config_for(&k, "/echo"));
    ws_send_text(k.c, "x", 1);
    UNTIL(k.texts);
    assert_null(k.c);
    assert_int_equal(k.closes, 0);
    finish(&k);
    ws_free(NULL);
}

static void test_close_flushes(void **state) {
    struct client k = {0};
    start(*state, &k, config_for(&k, "/sink"));
    char *data = xcalloc(1, 500000);
    server.received = 0;
    ws_send_binary(k.c, data, 500000);
    ws_close(k.c, 1000, NULL);
    assert_false(ws_send_text(k.c, "late", 4)); /* dropped */
    UNTIL(k.closes);
    assert_int_equal(k.code, 1000);
    turn(50);
    assert_int_equal(server.received, 500000);
    free(data);
    finish(&k);
}

static void test_close_before_open(void **state) {
    struct client k = {0};
    struct ws_client_config config = config_for(&k, "/echo");
    assert_int_equal(ws_connect(*state, &config, &k.c), 0);
    ws_close(k.c, 1001, "changed my mind");
    UNTIL(k.closes);
    assert_int_equal(k.opens, 0);
    assert_int_equal(k.code, 1001);
    assert_string_equal(k.reason, "changed my mind");
    finish(&k);
}

/* Renewed certificates are used by the next connection. */
static void test_renewal(void **state) {
    struct client k = {0};
    char from[128], to[128];
    make_client("renewed");
    start(*state, &k, config_for(&k, "/echo"));
    assert_string_equal(server.last_peer, "server-1");
    finish(&k);
    memset(&k, 0, sizeof k);
    for (int i = 0; i < 2; i++) {
        snprintf(from, sizeof from, "%s/renewed.%s", dir, i ? "key" : "pem");
        snprintf(to, sizeof to, "%s/server-1.%s", dir, i ? "key" : "pem");
        assert_int_equal(rename(from, to), 0);
    }
    start(*state, &k, config_for(&k, "/echo"));
    assert_string_equal(server.last_peer, "renewed");
    finish(&k);
    make_client("server-1");
}

/* Hundreds of servers in one process, each with a certificate of its own. */
static void test_many(void **state) {
    enum { N = 100 };
    static struct client k[N];
    memset(k, 0, sizeof k);
    server.opened = 0;
    for (int i = 0; i < N; i++) {
        char name[32], key_path[128], cert_path[128];
        snprintf(name, sizeof name, "sim-%d", i);
        make_client(name);
        snprintf(key_path, sizeof key_path, "%s/%s.key", dir, name);
        snprintf(cert_path, sizeof cert_path, "%s/%s.pem", dir, name);
        struct ws_client_config config = config_for(&k[i], "/echo");
        config.certificate_path = cert_path;
        config.key_path = key_path;
        config.connect_timeout_ms = 60000;
        assert_int_equal(ws_connect(*state, &config, &k[i].c), 0);
    }
    uint64_t started = uv_hrtime();
    while (server.opened < N && uv_hrtime() - started < 60000000000ULL)
        turn(10);
    turn(100);
    int open = 0;
    for (int i = 0; i < N; i++)
        open += k[i].opens;
    assert_int_equal(server.opened, N);
    assert_int_equal(open, N);
    for (int i = 0; i < N; i++)
        ws_send_text(k[i].c, "hi", 2);
    for (int i = 0; i < 50; i++)
        turn(20);
    for (int i = 0; i < N; i++) {
        assert_int_equal(k[i].texts, 1);
        assert_int_equal(k[i].closes, 0);
        ws_free(k[i].c);
        buf_done(&k[i].text);
    }
    turn(100);
}

int main(void) {
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_echo),
        T(test_large_messages),
        T(test_too_large),
        T(test_fragments),
        T(test_close_code),
        T(test_refusals),
        T(test_names),
        T(test_timeout),
        T(test_silence),
        T(test_pause),
        T(test_free_in_callback),
        T(test_close_flushes),
        T(test_close_before_open),
        T(test_renewal),
        T(test_many),
    };
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}

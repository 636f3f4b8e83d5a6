/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests at a fixed rate. Each has its moment in a plan made before the first; its time is counted from that moment,
 * whether the client got round to sending it or had to wait for a free connection. So a server that stands still for a
 * while is charged for everyone who would have come meanwhile, which a client that waits for one answer before it asks
 * again would never see. How late the client itself was, with a free connection at hand, is told beside it.
 *
 *     load PORT CA RATE CONNECTIONS SECONDS WATCHERS NUMBERS <REQUESTS
 *
 * The token is in TARN_TOKEN. A request is a line NAME METHOD PATH [BODY]; they are taken in turn, {n} in one becomes a
 * number below NUMBERS, of five digits, another each time. Watchers read the stream of changes. Prints JSON:
 * milliseconds.
 */
#include "base/buf.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define REQUESTS_MAX 64
#define IN_SIZE      65536
#define GIVE_UP_NS   10000000000 /* after the last request's moment */

/* What is told under one name. */
struct series {
    char *name;
    double *ms;
    size_t n, cap, failed;
};

struct request {
    char *method, *path, *body;
    struct series *series;
};

struct conn {
    SSL *ssl;
    int fd;
    bool watcher;
    struct conn *next; /* in the idle ones */
    /* the request under way */
    struct request *request;
    uint64_t due;
    struct buf out;
    size_t sent;
    /* its answer */
    char head[4096];
    size_t n_head;
    int64_t body_left; /* -1: still in the head */
    int status;
    /* a watcher's frame */
    unsigned char frame[14];
    size_t n_frame;
    uint64_t frame_left;
    bool ping;
};

static struct request requests[REQUESTS_MAX];
static struct series series[REQUESTS_MAX];
static size_t n_requests, n_series;
static const char *token;
static int epoll_fd, port;
static unsigned numbers;
static struct conn *idle, **idle_end = &idle;
static uint64_t idle_since; /* the first of them */
static double *late;
static size_t n_late, unanswered;
static uint64_t messages; /* to the watchers */

_Noreturn static void fail(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "the connection ended or broke the protocol");
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- connections ---- */

static void conn_open(struct conn *c, SSL_CTX *tls) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a) < 0)
        fail("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->ssl = SSL_new(tls);
    if (SSL_set_fd(c->ssl, c->fd) != 1 || SSL_connect(c->ssl) != 1)
        fail("TLS");
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e) < 0)
        fail("epoll");
    c->body_left = -1;
}

static void conn_flush(struct conn *c) {
    while (c->sent < c->out.len) {
        int n = SSL_write(c->ssl, c->out.data + c->sent, (int)(c->out.len - c->sent));
        if (n <= 0 && SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_WRITE)
            return; /* requests are short: it goes on when something arrives */
        if (n <= 0)
            fail("write");
        c->sent += (size_t)n;
    }
    c->out.len = c->sent = 0;
}

static void watch(struct conn *c) {
    c->watcher = true;
    buf_addf(&c->out,
             "GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
             "Authorization: Bearer %s\r\n\r\n",
             token);
    conn_flush(c);
}

/* ---- requests ---- */

static void add_text(struct buf *out, const char *s, unsigned number) {
    for (const char *at; (at = strstr(s, "{n}")); s = at + 3) {
        buf_add(out, s, (size_t)(at - s));
        buf_addf(out, "%05u", number);
    }
    buf_adds(out, s);
}

static void conn_ask(struct conn *c, struct request *r, uint64_t due) {
    static unsigned number;
    struct buf body = {0};
    number = (number + 7919) % numbers;
    c->request = r;
    c->due = due;
    buf_addf(&c->out, "%s ", r->method);
    add_text(&c->out, r->path, number);
    buf_addf(&c->out, " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n", token);
    if (r->body) {
        add_text(&body, r->body, number);
        buf_addf(&c->out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.len);
    }
    buf_adds(&c->out, "\r\n");
    if (body.len)
        buf_add(&c->out, body.data, body.len);
    buf_done(&body);
    conn_flush(c);
}

static void idle_add(struct conn *c) {
    if (!idle)
        idle_since = now_ns();
    c->next = NULL;
    *idle_end = c;
    idle_end = &c->next;
}

static struct conn *idle_take(void) {
    struct conn *c = idle;
    if (c && !(idle = c->next))
        idle_end = &idle;
    return c;
}

static void answered(struct conn *c) {
    if (!c->request)
        fail("an answer without a request");
    struct series *s = c->request->series;
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 4096;
        s->ms = xreallocarray(s->ms, s->cap, sizeof *s->ms);
    }
    s->ms[s->n++] = (double)(now_ns() - c->due) / 1e6;
    s->failed += c->status < 200 || c->status > 299;
    c->request = NULL;
    c->n_head = 0;
    c->body_left = -1;
    idle_add(c);
}

static void head_end(struct conn *c) {
    static const char field[] = "\r\ncontent-length:";
    c->head[c->n_head] = 0;
    c->status = atoi(c->head + 9);
    c->body_left = 0;
    for (char *p = c->head; c->status != 101 && *p; p++)
        if (strncasecmp(p, field, sizeof field - 1) == 0)
            c->body_left = atoll(p + sizeof field - 1);
    if (c->watcher && c->status != 101)
        fail("the stream");
}

/* Bytes of a head; how many were taken. */
static size_t take_head(struct conn *c, const char *in, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (c->n_head == sizeof c->head - 1)
            fail("a long head");
        c->head[c->n_head++] = in[i];
        if (c->n_head < 4 || memcmp(c->head + c->n_head - 4, "\r\n\r\n", 4) != 0)
            continue;
        head_end(c);
        return i + 1;
    }
    return n;
}

static void pong(struct conn *c, const char *data, size_t len) {
    static const unsigned char begin[] = {0x8a, 0x80, 0, 0, 0, 0}; /* masked with nothing */
    buf_add(&c->out, begin, sizeof begin);
    c->out.data[c->out.len - 5] = (char)(0x80 | len);
    buf_add(&c->out, data, len);
    conn_flush(c);
}

/* The head of a frame; whether it is complete. */
static bool frame_head(struct conn *c, char byte) {
    c->frame[c->n_frame++] = (unsigned char)byte;
    unsigned len = c->n_frame > 1 ? c->frame[1] & 0x7f : 0;
    size_t more = len == 127 ? 8 : len == 126 ? 2 : 0;
    if (c->n_frame < 2 + more)
        return false;
    c->frame_left = more ? 0 : len;
    for (size_t i = 0; i < more; i++)
        c->frame_left = c->frame_left << 8 | c->frame[2 + i];
    c->ping = (c->frame[0] & 0xf) == 9;
    messages += (c->frame[0] & 0xf) == 1;
    c->n_frame = 0;
    if ((c->frame[0] & 0xf) == 8)
        fail("the stream was closed");
    return true;
}

static void take_frames(struct conn *c, const char *in, size_t n) {
    for (size_t i = 0; i < n;) {
        if (!c->frame_left) {
            if (frame_head(c, in[i++]) && c->ping && n - i >= c->frame_left) /* a ping comes in one record */
                pong(c, in + i, c->frame_left);
            continue;
        }
        size_t part = n - i < c->frame_left ? n - i : c->frame_left;
        c->frame_left -= part;
        i += part;
    }
}

static void take(struct conn *c, const char *in, size_t n) {
    size_t at = c->body_left < 0 ? take_head(c, in, n) : 0;
    if (c->body_left < 0)
        return;
    if (c->watcher) {
        take_frames(c, in + at, n - at);
        return;
    }
    c->body_left -= (int64_t)(n - at);
    if (c->body_left < 0)
        fail("a longer answer than it says");
    if (c->body_left == 0)
        answered(c);
}

static void conn_read(struct conn *c) {
    static char in[IN_SIZE];
    conn_flush(c);
    for (;;) {
        int n = SSL_read(c->ssl, in, sizeof in);
        if (n > 0) {
            take(c, in, (size_t)n);
            continue;
        }
        if (SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ)
            fail("read");
        return;
    }
}

/* ---- the plan ---- */

static void wait_until(uint64_t until) {
    struct epoll_event events[64];
    uint64_t now = now_ns(), left = until > now ? until - now : 0;
    struct timespec t = {.tv_sec = (time_t)(left / 1000000000), .tv_nsec = (long)(left % 1000000000)};
    int n = epoll_pwait2(epoll_fd, events, ARRAY_LEN(events), &t, NULL);
    for (int i = 0; i < n; i++)
        conn_read(events[i].data.ptr);
}

static void run(double rate, double seconds, size_t connections) {
    size_t planned = (size_t)(rate * seconds), at = 0;
    uint64_t begin = now_ns() + 10000000, last = begin;
    late = xcalloc(planned + 1, sizeof *late);
    while (at < planned) {
        uint64_t due = begin + (uint64_t)((double)at * 1e9 / rate), now = now_ns();
        if (now < due || !idle) {
            wait_until(idle ? due : now + 1000000000);
            continue;
        }
        last = due > idle_since ? due : idle_since;
        late[n_late++] = (double)(now - last) / 1e6;
        conn_ask(idle_take(), &requests[at % n_requests], due);
        at++;
    }
    do {
        unanswered = connections;
        for (struct conn *c = idle; c; c = c->next)
            unanswered--;
        if (unanswered)
            wait_until(now_ns() + 100000000);
    } while (unanswered && now_ns() < last + GIVE_UP_NS);
}

/* ---- words in, figures out ---- */

static struct series *series_of(const char *name) {
    size_t i = 0;
    while (i < n_series && strcmp(series[i].name, name) != 0)
        i++;
    if (i == n_series)
        series[n_series++].name = xstrdup(name);
    return &series[i];
}

static void read_requests(void) {
    char line[4096];
    while (fgets(line, sizeof line, stdin) && n_requests < REQUESTS_MAX) {
        char *rest = line, *word[3];
        line[strcspn(line, "\n")] = 0;
        for (int i = 0; i < 3; i++)
            word[i] = strsep(&rest, " ");
        if (!word[2])
            fail("a request is NAME METHOD PATH [BODY]");
        requests[n_requests++] = (struct request){
            .method = xstrdup(word[1]), .path = xstrdup(word[2]), .body = xstrdup(rest), .series = series_of(word[0])};
    }
    if (!n_requests)
        fail("no requests");
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void print(struct series *s) {
    const double *ms = s->ms;
    size_t n = s->n;
    printf("\"%s\": {\"n\": %zu, \"failed\": %zu", s->name, n, s->failed);
    if (n) {
        qsort(s->ms, n, sizeof *s->ms, compare);
        printf(", \"p50\": %.4f, \"p90\": %.4f, \"p99\": %.4f, \"p999\": %.4f, \"max\": %.4f", ms[n / 2],
               ms[n * 9 / 10], ms[n * 99 / 100], ms[n * 999 / 1000], ms[n - 1]);
    }
    printf("}, ");
}

static void report(void) {
    struct series all = {.name = "all"}, own = {.name = "late", .ms = late, .n = n_late};
    for (size_t i = 0; i < n_series; i++) {
        const struct series *s = &series[i];
        all.ms = xreallocarray(all.ms, all.n + s->n + 1, sizeof *all.ms);
        if (s->n)
            memcpy(all.ms + all.n, s->ms, s->n * sizeof *all.ms);
        all.n += s->n;
        all.failed += s->failed;
    }
    printf("{");
    for (size_t i = 0; i < n_series; i++)
        print(&series[i]);
    print(&all);
    print(&own);
    printf("\"unanswered\": %zu, \"messages\": %llu}\n", unanswered, (unsigned long long)messages);
    free(all.ms);
}

int main(int argc, char **argv) {
    if (argc != 8 || !(token = getenv("TARN_TOKEN"))) {
        fprintf(stderr, "usage: TARN_TOKEN=… load PORT CA RATE CONNECTIONS SECONDS WATCHERS NUMBERS <REQUESTS\n");
        return 2;
    }
    size_t connections = strtoul(argv[4], NULL, 10), watchers = strtoul(argv[6], NULL, 10);
    port = atoi(argv[1]);
    numbers = (unsigned)strtoul(argv[7], NULL, 10);
    numbers += !numbers;
    read_requests();
    prctl(PR_SET_TIMERSLACK, 1000);
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_load_verify_file(tls, argv[2]) != 1)
        fail(argv[2]);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct conn *conns = xcalloc(connections + watchers, sizeof *conns);
    for (size_t i = 0; i < connections + watchers; i++) {
        conn_open(&conns[i], tls);
        if (i >= connections)
            watch(&conns[i]);
        else
            idle_add(&conns[i]);
    }
    run(strtod(argv[3], NULL), strtod(argv[5], NULL), connections);
    report();
    return 0;
}

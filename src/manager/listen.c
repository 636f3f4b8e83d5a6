/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/listen.h"

#include "manager/http.h"
#include "manager/parse.h"
#include "os/file.h"
#include "os/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <unistd.h>

#define PER_CLIENT     2048 /* connections of one address that is not on loopback */
#define PER_NETWORK    8192 /* of one IPv6 network, whose hosts cannot be told apart */
#define RESERVED_FILES 64   /* descriptors for everything else */
#define ACCEPT_AT_ONCE 64
#define PAUSE_MS       200

struct listener {
    struct manager *m;
    uv_poll_t poll;
    int fd;
};

struct listeners {
    struct listener *items;
    size_t n;
    struct map clients; /* address -> struct client */
    size_t max;
    bool started, paused;
    uv_timer_t resume;
};

struct client {
    size_t n;
};

static int bind_one(const struct addrinfo *ai) {
    int one = 1, zero = 0;
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, ai->ai_protocol);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, 1024) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

static int listener_open(const char *text, struct error *e) {
    char host[64], service[8];
    int port;
    if (listen_parse(text, host, &port) < 0)
        return error_set(e, ERR_INVALID, "--listen %s: give ADDRESS:PORT, [IPV6]:PORT or :PORT", text);
    snprintf(service, sizeof service, "%d", port);
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *list = NULL;
    /* Without an address: everything, by the one IPv6 socket that takes IPv4 too, or by IPv4 where there is no IPv6. */
    const char *hosts[] = {*host ? host : "::", *host ? NULL : "0.0.0.0"};
    int fd = -EADDRNOTAVAIL;
    for (size_t i = 0; i < 2 && hosts[i] && fd < 0 && fd != -EADDRINUSE; i++) {
        int r = getaddrinfo(hosts[i], service, &hints, &list);
        if (r)
            return error_set(e, ERR_INVALID, "--listen %s: %s", text, gai_strerror(r));
        fd = bind_one(list);
        freeaddrinfo(list);
    }
    if (fd == -EADDRINUSE)
        return error_set(e, ERR_IO,
                         "port %d is in use; stop the program that has it (ss -ltnp), or give another with "
                         "--listen ADDRESS:PORT",
                         port);
    if (fd == -EACCES)
        return error_set(e, ERR_IO, "port %d needs privilege; give one above 1023 with --listen ADDRESS:PORT", port);
    if (fd < 0)
        return error_set(e, ERR_IO, "cannot listen on %s: %s", text, strerror(-fd));
    return fd;
}

static void raise_file_limit(struct listeners *l) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        limit.rlim_cur = 1024;
    else if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max > 1048576 ? 1048576 : limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
    }
    l->max = limit.rlim_cur > 2 * RESERVED_FILES ? limit.rlim_cur - RESERVED_FILES : RESERVED_FILES;
}

int listen_init(struct manager *m, struct error *e) {
    struct listeners *l = m->listeners = xcalloc(1, sizeof *l);
    uv_timer_init(m->loop, &l->resume);
    l->resume.data = m;
    raise_file_limit(l);
    l->items = xcalloc(m->options->n_listens, sizeof *l->items);
    for (size_t i = 0; i < m->options->n_listens; i++) {
        int fd = listener_open(m->options->listens[i], e);
        if (fd < 0)
            return fd;
        l->items[l->n++] = (struct listener){.m = m, .fd = fd};
    }
    return 0;
}

static void on_connection(uv_poll_t *p, int status, int events);

static void listen_pause(struct listeners *l, bool pause) {
    if (l->paused == pause || !l->started)
        return;
    l->paused = pause;
    for (size_t i = 0; i < l->n; i++) {
        if (pause)
            uv_poll_stop(&l->items[i].poll);
        else
            uv_poll_start(&l->items[i].poll, UV_READABLE, on_connection);
    }
}

static void on_resume(uv_timer_t *t) {
    struct manager *m = t->data;
    listen_pause(m->listeners, false);
}

static bool client_enter(struct listeners *l, const char *peer, bool loopback) {
    char client[INET6_ADDRSTRLEN];
    client_of(peer, client);
    struct client *c = map_get(&l->clients, client);
    size_t most = strchr(client, ':') ? PER_NETWORK : PER_CLIENT;
    if (!loopback && c && c->n >= most)
        return false;
    if (!c) {
        c = xcalloc(1, sizeof *c);
        map_put(&l->clients, client, c);
    }
    c->n++;
    return true;
}

void listen_closed(struct manager *m, const char *client) {
    struct listeners *l = m->listeners;
    struct client *c = l ? map_get(&l->clients, client) : NULL;
    if (c && --c->n == 0) {
        map_remove(&l->clients, client);
        free(c);
    }
}

static bool address_text(const struct sockaddr_storage *a, char ret[static INET6_ADDRSTRLEN]) {
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)a;
        inet_ntop(AF_INET, &in->sin_addr, ret, INET6_ADDRSTRLEN);
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    const struct sockaddr_in6 *in6 = (const void *)a;
    if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
        inet_ntop(AF_INET, in6->sin6_addr.s6_addr + 12, ret, INET6_ADDRSTRLEN);
        return in6->sin6_addr.s6_addr[12] == 127;
    }
    inet_ntop(AF_INET6, &in6->sin6_addr, ret, INET6_ADDRSTRLEN);
    return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

static void on_connection(uv_poll_t *p, int status, int events) {
    struct listener *it = p->data;
    struct listeners *l = it->m->listeners;
    for (int i = 0; i < ACCEPT_AT_ONCE; i++) {
        struct sockaddr_storage a = {0};
        socklen_t len = sizeof a;
        if (http_connections(it->m) >= l->max) {
            listen_pause(l, true);
            uv_timer_start(&l->resume, on_resume, PAUSE_MS, 0);
            return;
        }
        int fd = accept4(it->fd, (struct sockaddr *)&a, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
                log_warning("no descriptor for a new connection (%s); raise the limit of open files", strerror(errno));
                listen_pause(l, true);
                uv_timer_start(&l->resume, on_resume, PAUSE_MS, 0);
            }
            return;
        }
        int one = 1, unsent = 262144;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        /* What nobody reads is to wait with us, who count it (unread.c), and not in the kernel: megabytes of each. */
        setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
        char peer[INET6_ADDRSTRLEN];
        bool loopback = address_text(&a, peer);
        if (!client_enter(l, peer, loopback)) {
            close(fd);
            continue;
        }
        http_adopt(it->m, fd, peer, loopback);
    }
}

int listen_start(struct manager *m, struct error *e) {
    struct listeners *l = m->listeners;
    for (size_t i = 0; i < l->n; i++) {
        struct listener *it = &l->items[i];
        int r = uv_poll_init(m->loop, &it->poll, it->fd);
        if (r < 0)
            return error_set(e, ERR_IO, "cannot watch the listening socket: %s", uv_strerror(r));
        it->poll.data = it;
        uv_poll_start(&it->poll, UV_READABLE, on_connection);
    }
    l->started = true;
    return 0;
}

static void ignore_close(uv_handle_t *h) {}

void listen_stop(struct manager *m) {
    struct listeners *l = m->listeners;
    if (!l)
        return;
    for (size_t i = 0; i < l->n; i++) {
        if (l->started) {
            uv_poll_stop(&l->items[i].poll);
            uv_close((uv_handle_t *)&l->items[i].poll, ignore_close);
        }
        close(l->items[i].fd);
    }
    if (!uv_is_closing((uv_handle_t *)&l->resume))
        uv_close((uv_handle_t *)&l->resume, ignore_close);
    l->n = 0;
    l->started = false;
}

void listen_done(struct manager *m) {
    struct listeners *l = m->listeners;
    if (!l)
        return;
    size_t pos = 0;
    void *value;
    while (map_next(&l->clients, &pos, NULL, &value))
        free(value);
    map_done(&l->clients);
    free(l->items);
    free(l);
    m->listeners = NULL;
}

char *listen_address(struct manager *m) {
    struct sockaddr_storage a = {0};
    socklen_t len = sizeof a;
    if (!m->listeners->n || getsockname(m->listeners->items[0].fd, (struct sockaddr *)&a, &len) < 0)
        return xstrdup("https://localhost:8443");
    char host[INET6_ADDRSTRLEN];
    address_text(&a, host);
    int port =
        ntohs(a.ss_family == AF_INET ? ((struct sockaddr_in *)&a)->sin_port : ((struct sockaddr_in6 *)&a)->sin6_port);
    if (strcmp(host, "::") == 0 || strcmp(host, "0.0.0.0") == 0)
        return xasprintf("https://localhost:%d", port);
    return xasprintf(strchr(host, ':') ? "https://[%s]:%d" : "https://%s:%d", host, port);
}

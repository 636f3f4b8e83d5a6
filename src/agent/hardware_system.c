/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's own files, and word of their changes. */
#include "agent/hardware.h"

#include "base/buf.h"
#include "base/mem.h"
#include "os/file.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/openat2.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#define FILE_MAX       (1U << 20)
#define NAMES_MAX      8192
#define ADDRESSES_MAX  1024
#define SETTLE_MS      300   /* a device brings a flurry of messages */
#define CALM_MS        2000  /* more often than this nobody wants to know it at once */
#define LOOK_AGAIN_MS  60000 /* what nobody tells: a link's speed, a disk that has grown */
#define KOBJECT_EVENTS 1     /* the kernel's own multicast group, not udev's */

/* ---- files ---- */

/* Links lead about in /sys; none leads out of the root. */
static int open_in(int root, const char *path, int flags) {
    struct open_how how = {.flags = (unsigned)flags | O_CLOEXEC | O_NONBLOCK,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    long fd = syscall(SYS_openat2, root, path, &how, sizeof how);
    return fd < 0 ? -errno : (int)fd;
}

static char *system_read(void *ctx, const char *path) {
    _cleanup_close_ int fd = open_in(*(int *)ctx, path, O_RDONLY);
    return fd < 0 ? NULL : read_attribute(fd, FILE_MAX);
}

static size_t system_list(void *ctx, const char *path, char ***ret_names) {
    int fd = open_in(*(int *)ctx, path, O_RDONLY | O_DIRECTORY);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        close_fd(&fd);
        return 0;
    }
    char **names = NULL;
    size_t n = 0;
    for (struct dirent *entry; n < NAMES_MAX && (entry = readdir(d));) {
        if (entry->d_name[0] == '.')
            continue;
        names = xreallocarray(names, n + 1, sizeof *names);
        names[n++] = xstrdup(entry->d_name);
    }
    closedir(d);
    *ret_names = names;
    return n;
}

/* ---- addresses ---- */

static int prefix_length(const struct sockaddr *mask) {
    const uint8_t *bytes = mask->sa_family == AF_INET6
                               ? (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)mask)->sin6_addr
                               : (const uint8_t *)&((const struct sockaddr_in *)(const void *)mask)->sin_addr;
    int n = 0;
    for (size_t i = 0; i < (mask->sa_family == AF_INET6 ? 16 : 4); i++)
        n += __builtin_popcount(bytes[i]);
    return n;
}

static size_t system_addresses(void *ctx, struct hardware_address **ret) {
    struct ifaddrs *list = NULL;
    struct hardware_address *all = NULL;
    size_t n = 0;
    if (getifaddrs(&list) < 0)
        return 0;
    for (const struct ifaddrs *a = list; a && n < ADDRESSES_MAX; a = a->ifa_next) {
        char text[INET6_ADDRSTRLEN];
        if (!a->ifa_addr || !a->ifa_netmask)
            continue;
        int family = a->ifa_addr->sa_family;
        const void *address = family == AF_INET
                                  ? (const void *)&((const struct sockaddr_in *)(const void *)a->ifa_addr)->sin_addr
                                  : &((const struct sockaddr_in6 *)(const void *)a->ifa_addr)->sin6_addr;
        if ((family != AF_INET && family != AF_INET6) || !inet_ntop(family, address, text, sizeof text))
            continue;
        all = xreallocarray(all, n + 1, sizeof *all);
        all[n++] = (struct hardware_address){.nic = xstrdup(a->ifa_name),
                                             .text = xasprintf("%s/%d", text, prefix_length(a->ifa_netmask))};
    }
    freeifaddrs(list);
    *ret = all;
    return n;
}

void hardware_of_system(struct api_hardware *ret) {
    _cleanup_close_ int root = open_dir("/");
    struct hardware_tree tree = {.read = system_read, .list = system_list, .addresses = system_addresses, .ctx = &root};
    struct utsname u;
    hardware_collect(&tree, ret);
    if (ret->cpus == 0) {
        /* No /sys: a container that hides it. */
        ret->cpus = sysconf(_SC_NPROCESSORS_ONLN);
        ret->sockets = 1;
        ret->cores = ret->cpus;
        ret->threads = 1;
    }
    if (uname(&u) == 0) {
        str_set(&ret->kernel, u.release);
        str_set(&ret->architecture, u.machine);
    }
    _cleanup_close_ int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    ret->kvm = kvm >= 0;
}

/* ---- changes ---- */

struct hardware_watch {
    uv_poll_t polls[2];
    int fds[2];
    uv_timer_t timer;
    uint64_t looked; /* when last; the loop's time */
    size_t open_handles;
    void (*changed)(void *ctx);
    void *ctx;
};

static void on_timer(uv_timer_t *t) {
    struct hardware_watch *w = t->data;
    w->looked = uv_now(t->loop);
    uv_timer_start(&w->timer, on_timer, LOOK_AGAIN_MS, 0);
    w->changed(w->ctx);
}

/* What the messages say is not looked at: that there are some is reason enough to look at the files. */
static void on_message(uv_poll_t *p, int status, int events) {
    struct hardware_watch *w = p->data;
    char drop[8192];
    int fd = w->fds[p - w->polls];
    for (int i = 0; i < 64 && recv(fd, drop, sizeof drop, MSG_DONTWAIT | MSG_TRUNC) >= 0; i++)
        ;
    uint64_t delay = uv_now(p->loop) - w->looked > CALM_MS ? SETTLE_MS : CALM_MS;
    if (uv_timer_get_due_in(&w->timer) > delay)
        uv_timer_start(&w->timer, on_timer, delay, 0);
}

static int listen_to(int protocol, unsigned groups) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

static void on_closed(uv_handle_t *h) {
    struct hardware_watch *w = h->data;
    if (--w->open_handles > 0)
        return;
    close_fd(&w->fds[0]);
    close_fd(&w->fds[1]);
    free(w);
}

void hardware_watch_free(struct hardware_watch *w) {
    if (!w)
        return;
    for (size_t i = 0; i < ARRAY_LEN(w->fds); i++)
        if (w->fds[i] >= 0)
            uv_close((uv_handle_t *)&w->polls[i], on_closed);
    uv_close((uv_handle_t *)&w->timer, on_closed);
}

int hardware_watch_new(uv_loop_t *loop, void (*changed)(void *ctx), void *ctx, struct hardware_watch **ret) {
    struct hardware_watch *w = xcalloc(1, sizeof *w);
    *w = (struct hardware_watch){.changed = changed, .ctx = ctx, .open_handles = 1};
    w->fds[0] = listen_to(NETLINK_ROUTE, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR);
    w->fds[1] = listen_to(NETLINK_KOBJECT_UEVENT, KOBJECT_EVENTS);
    uv_timer_init(loop, &w->timer);
    w->timer.data = w;
    int r = 0;
    for (size_t i = 0; i < ARRAY_LEN(w->fds); i++) {
        if (w->fds[i] < 0) {
            r = w->fds[i];
            continue;
        }
        uv_poll_init(loop, &w->polls[i], w->fds[i]);
        w->polls[i].data = w;
        w->open_handles++;
        uv_poll_start(&w->polls[i], UV_READABLE, on_message);
    }
    uv_timer_start(&w->timer, on_timer, LOOK_AGAIN_MS, 0);
    *ret = w;
    return r; /* without the kernel's word there is still a look each minute */
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/cluster.h"

#include "base/mem.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define STUCK_MS  1500 /* it writes its page twenty times a second: one that has not so long stands still */
#define SILENT_MS 2000 /* it writes its page twenty times a second */

int64_t deadman_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int deadman_link_open(struct deadman_link *l, const char *dir) {
    int r = make_dirs(dir, 0700);
    *l = (struct deadman_link){.dirfd = -1, .fd = -1, .pidfd = -1};
    if (r < 0)
        return r;
    l->dirfd = open_dir(dir);
    if (l->dirfd < 0)
        return l->dirfd;
    l->dir = xstrdup(dir);
    return 0;
}

static void unmap(struct deadman_link *l) {
    if (l->page)
        munmap((void *)l->page, sizeof *l->page);
    l->page = NULL;
}

void deadman_link_drop(struct deadman_link *l) {
    close_fd(&l->fd);
    close_fd(&l->pidfd);
    unmap(l);
}

void deadman_link_close(struct deadman_link *l) {
    deadman_link_drop(l);
    close_fd(&l->dirfd);
    str_take(&l->dir, NULL);
}

static int map_page(struct deadman_link *l) {
    _cleanup_close_ int fd = open_beneath(l->dirfd, DEADMAN_STATE, O_RDONLY, 0);
    struct stat s;
    if (fd < 0)
        return fd;
    if (fstat(fd, &s) < 0 || s.st_size < (off_t)sizeof *l->page)
        return -ENODATA;
    void *page = mmap(NULL, sizeof *l->page, PROT_READ, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return -errno;
    l->page = page;
    return 0;
}

/* The process that listens there. Its number may be another's by now: the name is looked at after it is held. */
static int peer_open(int fd) {
    struct ucred who;
    socklen_t len = sizeof who;
    char path[64];
    _cleanup_free_ char *name = NULL;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0 || who.pid <= 1)
        return -ESRCH;
    int pidfd = (int)syscall(SYS_pidfd_open, who.pid, 0);
    snprintf(path, sizeof path, "/proc/%d/comm", (int)who.pid);
    if (pidfd < 0 || read_file_at(AT_FDCWD, path, 64, &name, NULL) < 0 || !str_eq(name, "tarn-deadman\n"))
        close_fd(&pidfd);
    return pidfd;
}

int deadman_link_connect(struct deadman_link *l) {
    if (l->fd >= 0)
        return 0;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval wait = {.tv_sec = 1};
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/" DEADMAN_SOCKET, l->dirfd);
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) < 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    int r = map_page(l);
    if (r == 0) {
        l->pidfd = peer_open(fd);
        l->fd = fd;
        fd = -1;
    }
    return r;
}

static int receive(struct deadman_link *l, uint64_t serial) {
    for (;;) {
        struct child_gate_answer answer;
        ssize_t n = recv(l->fd, &answer, sizeof answer, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n != sizeof answer)
            return n < 0 && errno != EAGAIN ? -errno : n == 0 ? -EPIPE : -ETIMEDOUT;
        if (answer.serial == serial)
            return (int)answer.result;
    }
}

bool deadman_link_stuck(const struct deadman_link *l) {
    return l->page && deadman_now() - l->page->state.alive > STUCK_MS;
}

int deadman_link_ask(struct deadman_link *l, struct deadman_request *q, int pidfd) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    struct iovec part = {.iov_base = q, .iov_len = sizeof *q};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    if (pidfd >= 0) {
        memcpy(CMSG_DATA(&control.header), &pidfd, sizeof pidfd);
        m.msg_control = &control;
        m.msg_controllen = sizeof control.space;
    }
    int r = deadman_link_connect(l);
    if (r < 0)
        return r;
    if (deadman_link_stuck(l)) /* a second of waiting each time is too long for its guests: it is replaced */
        return -ETIMEDOUT;
    q->serial = ++l->serial;
    r = sendmsg(l->fd, &m, MSG_NOSIGNAL) == sizeof *q ? receive(l, q->serial) : -errno;
    if (r == -EPIPE || r == -ECONNRESET || r == -ETIMEDOUT || r == -ENOTCONN)
        deadman_link_drop(l);
    return r;
}

static bool read_page(const struct deadman_page *page, struct deadman_state *ret) {
    /* It may be stopped in the middle of writing. */
    for (int tries = 0; tries < 1000; tries++) {
        uint32_t before = atomic_load(&page->seq);
        atomic_thread_fence(memory_order_seq_cst);
        *ret = page->state;
        atomic_thread_fence(memory_order_seq_cst);
        if (!(before & 1) && before == atomic_load(&page->seq))
            return ret->n_members <= DEADMAN_NODES;
    }
    return false;
}

bool deadman_link_read(struct deadman_link *l, struct deadman_state *ret) {
    return l->page && read_page(l->page, ret) && deadman_now() - ret->alive < SILENT_MS;
}

bool deadman_link_left(struct deadman_link *l, struct deadman_state *ret) {
    _cleanup_free_ char *boot = NULL;
    size_t len;
    bool mapped = l->page;
    if (!mapped && map_page(l) < 0)
        return false;
    /* Killed in the middle of writing: what stands there is the one state or the other, and both count. */
    if (!read_page(l->page, ret))
        *ret = l->page->state;
    bool good = l->page->magic == DEADMAN_PAGE_MAGIC;
    if (!mapped)
        unmap(l);
    return good && read_file_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &boot, &len) >= 0 && ret->boot[0] &&
           strncmp(ret->boot, boot, strnlen(ret->boot, sizeof ret->boot)) == 0;
}

void deadman_link_kill(struct deadman_link *l) {
    if (l->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, l->pidfd, SIGKILL, NULL, 0);
    deadman_link_drop(l);
}

void deadman_link_quit(struct deadman_link *l) {
    struct deadman_request q = {.type = DEADMAN_ARM, .armed = 0};
    deadman_link_connect(l);
    _cleanup_close_ int pidfd = l->pidfd >= 0 ? fcntl(l->pidfd, F_DUPFD_CLOEXEC, 0) : -1;
    int r = deadman_link_ask(l, &q, -1);
    q.type = DEADMAN_QUIT;
    if (r == 0)
        r = deadman_link_ask(l, &q, -1);
    if (r == 0)
        return;
    /* The next one would take the pool that was left for its own. */
    if (pidfd >= 0)
        syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    unlinkat(l->dirfd, DEADMAN_STATE, 0);
}

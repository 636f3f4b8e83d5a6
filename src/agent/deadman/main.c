/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tarn-deadman DIRECTORY: kills the highly available guests of a server that has lost its pool (src/guest/deadman.h
 * says when and why that is safe). It is small, and does not depend on the agent: it goes on when the agent hangs or
 * ends.
 *
 * The main thread waits, looks at the time before anything else, and kills; after its start it allocates nothing and
 * touches no disk but its log and a mapped page. It holds a pidfd of each guest, so it kills no other process that has
 * come to the same number. Whatever blocks is the other thread's (ring.c): when that one hangs, no proof comes, and
 * that is all that counts.
 */
#include "agent/deadman/deadman_proto.h"
#include "agent/deadman/ring.h"
#include "os/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define GUESTS_MAX  4096
#define CLIENTS_MAX 16
#define TICK_MS     50 /* how late a kill may be, and how often the page says that we live */
#define LOG_MAX     (1 << 20)

struct guest {
    char vm[40]; /* "" : free */
    int pidfd;
};

static struct {
    struct deadman lease;
    bool armed, quitting;
    struct guest guests[GUESTS_MAX];
    size_t n_guests; /* all used entries are below */
    struct deadman_page *page;
    struct deadman_state state;
    struct ring_note note;
    int pipe_fd, listen_fd, log_fd;
    int clients[CLIENTS_MAX];
    int64_t swept_at;
} man;

static int64_t wall_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* No allocation: a line that is too long is cut. */
static void __attribute__((format(printf, 1, 2))) note(const char *fmt, ...) {
    char line[400];
    struct tm tm;
    time_t now = time(NULL);
    gmtime_r(&now, &tm);
    size_t n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%SZ ", &tm);
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(line + n, sizeof line - n - 1, fmt, ap);
    va_end(ap);
    n += len < 0 ? 0 : (size_t)len < sizeof line - n - 1 ? (size_t)len : sizeof line - n - 2;
    line[n++] = '\n';
    struct stat st;
    if (fstat(man.log_fd, &st) == 0 && st.st_size > LOG_MAX && ftruncate(man.log_fd, 0) < 0)
        return;
    ssize_t ignored = write(man.log_fd, line, n);
    (void)ignored;
}

/* ---- the page ---- */

static void page_write(int64_t now) {
    struct deadman_state *s = &man.state;
    s->alive = now;
    s->proof = man.lease.proof;
    s->incarnation = man.lease.incarnation;
    s->last = man.lease.last;
    s->ring_at = man.note.ring_at;
    s->armed = man.armed;
    s->n_members = man.note.n_members;
    memcpy(s->members, man.note.members, sizeof s->members);
    s->n_guests = 0;
    for (size_t i = 0; i < man.n_guests; i++)
        s->n_guests += man.guests[i].vm[0] != 0;
    uint32_t seq = atomic_load(&man.page->seq);
    atomic_store(&man.page->seq, seq | 1);
    atomic_thread_fence(memory_order_seq_cst);
    man.page->state = *s;
    atomic_thread_fence(memory_order_seq_cst);
    atomic_store(&man.page->seq, (seq | 1) + 1);
}

static void configure(uint32_t node, const uint32_t *nodes, uint32_t n) {
    n = n < DEADMAN_NODES ? n : DEADMAN_NODES;
    man.state.node = node;
    man.state.n_nodes = n;
    memcpy(man.state.nodes, nodes, n * sizeof *nodes);
    ring_configure(node, nodes, n);
}

/* What an earlier deadman of this boot had proved is ours. */
static void page_inherit(void) {
    const struct deadman_state *old = &man.page->state;
    bool same = man.page->magic == DEADMAN_PAGE_MAGIC && memcmp(old->boot, man.state.boot, sizeof old->boot) == 0;
    if (same) {
        man.lease = (struct deadman){old->proof, old->incarnation, old->last};
        man.armed = old->armed;
        configure(old->node, old->nodes, old->n_nodes); /* it must go on proving before the agent comes */
    } else if (man.page->magic == DEADMAN_PAGE_MAGIC) {
        man.lease.last = old->last;
    }
    man.page->magic = DEADMAN_PAGE_MAGIC;
}

/* ---- guests ---- */

static int guest_signal(const struct guest *g, int signal) {
    return syscall(SYS_pidfd_send_signal, g->pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

static bool guest_ended(const struct guest *g) {
    struct pollfd p = {.fd = g->pidfd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

static void guest_drop(struct guest *g) {
    close(g->pidfd);
    g->vm[0] = 0;
    while (man.n_guests && !man.guests[man.n_guests - 1].vm[0])
        man.n_guests--;
}

static void kill_all(void) {
    size_t n = 0;
    for (size_t i = 0; i < man.n_guests; i++)
        if (man.guests[i].vm[0] && guest_signal(&man.guests[i], SIGKILL) == 0)
            n++;
    man.state.kills += (uint32_t)n;
    note("no proof for %d ms: the lease has ended, %zu guests killed", DEADMAN_PROOF_MS, n);
}

/* Those that have ended make way; without a lease nothing that is watched may go on, whatever went wrong before. */
static void sweep(int64_t now) {
    if (now - man.swept_at < 500 && (man.lease.incarnation || !man.armed))
        return;
    man.swept_at = now;
    for (size_t i = 0; i < man.n_guests; i++) {
        struct guest *g = &man.guests[i];
        if (!g->vm[0])
            continue;
        if (guest_ended(g))
            guest_drop(g);
        else if (man.armed && !man.lease.incarnation)
            guest_signal(g, SIGKILL);
    }
}

/* The process that is watched under that name, or one that has ended and makes way. */
static struct guest *guest_find(const char *vm) {
    for (size_t i = 0; i < man.n_guests; i++)
        if (man.guests[i].vm[0] && strncmp(man.guests[i].vm, vm, sizeof man.guests[i].vm) == 0)
            return &man.guests[i];
    return NULL;
}

static int guest_add(const char *vm, int pidfd) {
    struct guest *free_one = NULL;
    for (size_t i = 0; i < man.n_guests; i++)
        if (!man.guests[i].vm[0])
            free_one = &man.guests[i];
    if (!free_one && man.n_guests == GUESTS_MAX)
        return -ENOSPC;
    if (!free_one)
        free_one = &man.guests[man.n_guests++];
    memcpy(free_one->vm, vm, sizeof free_one->vm);
    free_one->pidfd = pidfd;
    return 0;
}

/* ---- requests ---- */

/* Takes the pidfd if it returns 0. */
static int take_guest(const struct deadman_request *q, int pidfd, int64_t now) {
    if (pidfd < 0 || !q->vm[0])
        return -EINVAL;
    if (q->type == DEADMAN_START && !deadman_may_start(&man.lease, man.armed, q->incarnation, now))
        return -ESTALE;
    if (man.armed && q->type == DEADMAN_WATCH && !man.lease.incarnation) {
        syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
        note("guest %.36s killed: it ran without a lease", q->vm);
        return -ESTALE;
    }
    struct guest *known = guest_find(q->vm);
    if (known && q->type == DEADMAN_WATCH && !guest_ended(known)) {
        close(pidfd);
        return 0;
    }
    return guest_add(q->vm, pidfd);
}

static int carry_out(struct deadman_request *q, int *pidfd, int64_t now) {
    q->vm[sizeof q->vm - 1] = 0;
    int r = 0;
    switch (q->type) {
    case DEADMAN_CONFIGURE:
        if (q->n_nodes > DEADMAN_NODES)
            return -EINVAL;
        configure(q->node, q->nodes, q->n_nodes);
        return 0;
    case DEADMAN_ARM:
        if (q->armed && !man.lease.incarnation)
            return -EAGAIN;
        if (man.armed != (q->armed != 0))
            note(q->armed ? "armed" : "disarmed");
        man.armed = q->armed != 0;
        return 0;
    case DEADMAN_START:
    case DEADMAN_WATCH:
        r = take_guest(q, *pidfd, now);
        if (r == 0)
            *pidfd = -1;
        return r;
    case DEADMAN_FORGET:
        for (struct guest *g; (g = guest_find(q->vm));)
            guest_drop(g);
        return 0;
    case DEADMAN_QUIT:
        note("the server has left its pool");
        man.quitting = true;
        return 0;
    default:
        return -EINVAL;
    }
}

static bool client_serve(int fd, int64_t now) {
    struct deadman_request q;
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {.iov_base = &q, .iov_len = sizeof q};
    struct msghdr m = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
    ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    int pidfd = -1;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&pidfd, CMSG_DATA(c), sizeof pidfd);
    bool good = n == sizeof q && !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
    if (good) {
        struct child_gate_answer answer = {q.serial, carry_out(&q, &pidfd, now)};
        page_write(now); /* before the answer: who has it reads what it changed */
        good = send(fd, &answer, sizeof answer, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof answer;
    }
    if (pidfd >= 0)
        close(pidfd);
    return good;
}

static void client_accept(void) {
    int fd = accept4(man.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct ucred who = {0};
    socklen_t len = sizeof who;
    if (fd < 0)
        return;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && (who.uid == 0 || who.uid == geteuid())) {
        for (size_t i = 0; i < CLIENTS_MAX; i++) {
            if (man.clients[i] < 0) {
                man.clients[i] = fd;
                return;
            }
        }
    }
    close(fd);
}

/* ---- the loop ---- */

static void take_notes(int64_t now) {
    struct ring_note n;
    uint64_t before = man.lease.incarnation;
    while (read(man.pipe_fd, &n, sizeof n) == sizeof n) {
        man.note = n;
        if (deadman_prove(&man.lease, n.proof, now, wall_ms()))
            note("a lease begins: %llu, %u servers in the ring", (unsigned long long)man.lease.incarnation,
                 n.n_members);
    }
    if (before != man.lease.incarnation)
        man.swept_at = 0;
}

static void turn(void) {
    struct pollfd p[2 + CLIENTS_MAX] = {{.fd = man.pipe_fd, .events = POLLIN}, {.fd = man.listen_fd, .events = POLLIN}};
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        p[2 + i] = (struct pollfd){.fd = man.clients[i], .events = POLLIN};
    poll(p, 2 + CLIENTS_MAX, TICK_MS);
    int64_t now = boot_ms();
    /* First of all: whatever has come in, come in too late it has. */
    if (deadman_expire(&man.lease, now)) {
        page_write(now); /* first: who sees a guest end sees why */
        if (man.armed)
            kill_all();
        else
            note("no proof for %d ms; not armed, so nothing is killed", DEADMAN_PROOF_MS);
    }
    take_notes(now);
    sweep(now);
    if (p[1].revents)
        client_accept();
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        if (man.clients[i] >= 0 && p[2 + i].revents && !client_serve(man.clients[i], now)) {
            close(man.clients[i]);
            man.clients[i] = -1;
        }
    }
    page_write(now);
}

/* ---- the beginning ---- */

static int open_page(void) {
    int fd = open(DEADMAN_STATE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || ftruncate(fd, sizeof *man.page) < 0)
        return -errno;
    man.page = mmap(NULL, sizeof *man.page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (man.page == MAP_FAILED)
        return -errno;
    close(fd);
    fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, man.state.boot, sizeof man.state.boot - 1);
    close(fd);
    if (n <= 0)
        return -EIO;
    page_inherit();
    return 0;
}

static int open_socket(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = DEADMAN_SOCKET};
    unlink(DEADMAN_SOCKET);
    man.listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask = umask(0177);
    int r = man.listen_fd < 0 || bind(man.listen_fd, (struct sockaddr *)&address, sizeof address) < 0 ||
                    listen(man.listen_fd, CLIENTS_MAX) < 0
                ? -errno
                : 0;
    umask(mask);
    return r;
}

/* As hard to stop as the host allows; what it refuses we do without. */
static void harden(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
        note("its memory is not locked: %s", strerror(errno));
    struct sched_param priority = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &priority) < 0)
        setpriority(PRIO_PROCESS, 0, -20);
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t ignored = write(fd, "-1000", 5);
        (void)ignored;
        close(fd);
    }
}

static int begin(const char *directory) {
    int ends[2];
    if (chdir(directory) < 0)
        return -errno;
    int lock = open(DEADMAN_LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0)
        return -errno;
    int log_flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW;
    man.log_fd = open(DEADMAN_LOG, log_flags, 0600);
    if (man.log_fd >= 0 && lseek(man.log_fd, 0, SEEK_END) > LOG_MAX && ftruncate(man.log_fd, 0) < 0)
        return -errno;
    int r = open_page();
    if (r < 0)
        return r;
    memset(man.clients, -1, sizeof man.clients);
    if ((r = open_socket()) < 0)
        return r;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    man.pipe_fd = ends[0];
    r = ring_start(ends[1]); /* before our priority rises: it is not to inherit that */
    harden();
    return r;
}

int main(int argc, char **argv) {
    if (argc != 2 || argv[1][0] == '-') {
        fputs("Usage: tarn-deadman DIRECTORY\n\nStarted by tarn-agent on each server of a clustered pool.\n", stderr);
        return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 2;
    }
    prctl(PR_SET_NAME, "tarn-deadman");
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    man.log_fd = STDERR_FILENO;
    int r = begin(argv[1]);
    if (r < 0) {
        fprintf(stderr, "tarn-deadman: %s: %s\n", argv[1], strerror(-r));
        return 1;
    }
    note("watching; %s", man.armed ? "armed" : "not armed");
    while (!man.quitting)
        turn();
    unlink(DEADMAN_SOCKET);
    unlink(DEADMAN_STATE);
    return 0;
}

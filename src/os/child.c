/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a child is made. clone(CLONE_VM | CLONE_VFORK | CLONE_PIDFD) borrows our memory until the exec, so a manager of
 * 300 MiB spawns as fast as an agent of 8, and the exec's errno comes back in a variable. In exchange nothing in
 * child_main() may touch libc's state: only system calls (raw ones for ids, because libc's setresuid() signals all
 * threads, ours), and all signals are blocked until every handler has been reset. Whatever needs memory or a look-up is
 * done before, in struct plan.
 *
 * How it ends. Its pidfd becomes readable; we read what is left in its pipes, reap it, and call on_exit. A grandchild
 * that keeps a pipe open is waited for EOF_GRACE_MS, no longer. A child that was freed while it ran stays on as a bare
 * pidfd watch so that it gets reaped.
 */
#include "os/child.h"

#include "base/mem.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK_SIZE   (64 * 1024)
#define EOF_GRACE_MS 1000
#define GROUPS_MAX   256
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* ---- before and in the new process ---- */

struct limit {
    int resource;
    struct rlimit value;
};

/* All that child_main() needs, worked out beforehand. */
struct plan {
    char *path;
    char *const *argv;
    char *const *envp;
    struct child_fd *fds; /* owned; 0, 1, 2 and the spec's, sorted by `to` */
    size_t n_fds;
    int *moved; /* owned; n_fds */
    int base;   /* above every `to` */
    bool drop;
    uid_t uid;
    gid_t gid;
    gid_t groups[GROUPS_MAX];
    int n_groups;
    struct limit limits[3];
    int n_limits;
    const struct child_gate *gate;
    const struct child_groups *control_groups;
    bool born_in_group;
    bool new_session, detach;
    pid_t parent;
    int failed; /* errno of what went wrong in the child */
};

/* libc's own state is shared with the parent while this runs: the sanitizers' is too. */
#define NO_SANITIZE __attribute__((no_sanitize("address", "undefined", "thread")))

NO_SANITIZE static int setup_fds(struct plan *p) {
    /* All sources first go above every target, so that no target overwrites a source. */
    for (size_t i = 0; i < p->n_fds; i++) {
        p->moved[i] = fcntl(p->fds[i].from, F_DUPFD_CLOEXEC, p->base);
        if (p->moved[i] < 0)
            return errno;
    }
    int next = 0;
    for (size_t i = 0; i < p->n_fds; i++) {
        int to = p->fds[i].to;
        if (to > next && syscall(SYS_close_range, next, to - 1, 0) < 0)
            return errno;
        if (dup2(p->moved[i], to) < 0)
            return errno;
        next = to + 1;
    }
    return syscall(SYS_close_range, next, ~0U, 0) < 0 ? errno : 0;
}

NO_SANITIZE static int setup_process(struct plan *p) {
    if (p->new_session ? setsid() < 0 : setpgid(0, 0) < 0)
        return errno;
    for (int i = 0; i < p->n_limits; i++)
        if (prlimit(0, (enum __rlimit_resource)p->limits[i].resource, &p->limits[i].value, NULL) < 0)
            return errno;
    if (p->drop) {
        if (syscall(SYS_setgroups, p->n_groups, p->groups) < 0 || syscall(SYS_setresgid, p->gid, p->gid, p->gid) < 0 ||
            syscall(SYS_setresuid, p->uid, p->uid, p->uid) < 0)
            return errno;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
            return errno;
    }
    return 0;
}

/*
 * A helper must not go on writing when the one that would have used the result is gone and may start it again. One that
 * is to survive us (detach) does so from its exec on: before, our successor would not know it for what it becomes. The
 * kernel forgets the signal when the user changes.
 */
NO_SANITIZE static int end_with_parent(const struct plan *p, bool end) {
    if (prctl(PR_SET_PDEATHSIG, end ? SIGKILL : 0, 0, 0, 0) < 0)
        return errno;
    return syscall(SYS_getppid) == p->parent ? 0 : ESRCH;
}

/* Announces itself, and waits for leave to go on. A late answer to an earlier one is passed over. */
NO_SANITIZE static int pass_gate(const struct child_gate *gate) {
    int self = (int)syscall(SYS_pidfd_open, syscall(SYS_getpid), 0);
    if (self < 0)
        return errno;
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    *(int *)CMSG_DATA(&control.header) = self;
    struct iovec part = {.iov_base = (void *)gate->message, .iov_len = gate->len};
    struct msghdr m = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
    if (syscall(SYS_sendmsg, gate->fd, &m, MSG_NOSIGNAL) != (long)gate->len)
        return errno ? errno : EIO;
    for (;;) {
        struct child_gate_answer answer;
        long n = syscall(SYS_recvfrom, gate->fd, &answer, sizeof answer, 0, NULL, NULL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n != (long)sizeof answer)
            return n < 0 && errno != EAGAIN ? errno : n == 0 ? EPIPE : ETIMEDOUT;
        if (answer.serial == *(const uint64_t *)gate->message)
            return answer.result == 0 ? 0 : (int)-answer.result;
    }
}

/* "0" is the writer itself. */
NO_SANITIZE static int enter_groups(const struct plan *p) {
    const struct child_groups *g = p->control_groups;
    for (size_t i = 0; g && i < g->n_tasks; i++)
        if (syscall(SYS_write, g->tasks[i], "0", 1) != 1)
            return errno;
    if (!g || g->into < 0 || p->born_in_group)
        return 0;
    int fd = (int)syscall(SYS_openat, g->into, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    return fd < 0 || syscall(SYS_write, fd, "0", 1) != 1 ? errno : 0;
}

NO_SANITIZE static int child_main(void *arg) {
    struct plan *p = arg;
    struct sigaction fallback = {.sa_handler = SIG_DFL};
    for (int s = 1; s < NSIG; s++)
        sigaction(s, &fallback, NULL);
    int r = end_with_parent(p, true);
    if (r == 0 && p->gate)
        r = pass_gate(p->gate);
    if (r == 0)
        r = enter_groups(p);
    if (r == 0)
        r = setup_fds(p);
    if (r == 0)
        r = setup_process(p);
    if (r == 0)
        r = end_with_parent(p, !p->detach);
    if (r == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        execve(p->path, p->argv, p->envp);
        r = errno;
    }
    p->failed = r;
    _exit(127);
}

/*
 * clone3() for the sake of CLONE_INTO_CGROUP, which libc has no function for. As with vfork(), the child runs on our
 * stack, below this frame, while we are stopped: it never returns from here. -ENOSYS where there is no such call.
 */
NO_SANITIZE static long __attribute__((noinline)) born_in(struct plan *p, int *ret_pidfd) {
#ifdef __x86_64__
    struct clone_args args = {.flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_INTO_CGROUP,
                              .pidfd = (uint64_t)(uintptr_t)ret_pidfd,
                              .exit_signal = SIGCHLD,
                              .cgroup = (uint64_t)p->control_groups->into};
    long r;
    p->born_in_group = true;
    __asm__ volatile("syscall" : "=a"(r) : "a"(SYS_clone3), "D"(&args), "S"(sizeof args) : "rcx", "r11", "memory");
    if (r == 0)
        child_main(p);
    if (r < 0)
        p->born_in_group = false;
    return r;
#else
    return -ENOSYS;
#endif
}

/* Returns the pid or -errno. */
static pid_t plan_run(struct plan *p, int *ret_pidfd) {
    void *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return -errno;
    p->parent = getpid();
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int pidfd = -1;
    pid_t pid = -1;
    if (p->control_groups && p->control_groups->into >= 0)
        pid = (pid_t)born_in(p, &pidfd);
    if (pid < 0)
        pid = clone(child_main, (char *)stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, p, &pidfd);
    int saved = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    munmap(stack, STACK_SIZE);
    if (pid < 0)
        return -saved;
    if (p->failed) {
        waitid(P_PIDFD, (id_t)pidfd, &(siginfo_t){0}, WEXITED);
        close(pidfd);
        return -p->failed;
    }
    *ret_pidfd = pidfd;
    return pid;
}

void child_groups_done(struct child_groups *g) {
    close_fd(&g->into);
    while (g->n_tasks)
        close_fd(&g->tasks[--g->n_tasks]);
}

static void plan_done(struct plan *p) {
    free(p->path);
    free(p->fds);
    free(p->moved);
}

/* The file that execvp would take, looked up here because the child may not. */
static int find_program(const char *name, const char *const *env, char **ret) {
    if (str_empty(name))
        return -ENOENT;
    if (strchr(name, '/')) {
        *ret = xstrdup(name);
        return 0;
    }
    const char *path = DEFAULT_PATH;
    for (; env && *env; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            path = *env + 5;
    int r = -ENOENT;
    for (const char *end; *path; path = *end ? end + 1 : end) {
        end = strchrnul(path, ':');
        _cleanup_free_ char *candidate = xasprintf("%.*s/%s", (int)(end - path), path, name);
        if (end > path && access(candidate, X_OK) == 0) {
            *ret = TAKE_PTR(candidate);
            return 0;
        }
        if (end > path && errno == EACCES)
            r = -EACCES;
    }
    return r;
}

/* Looked up once for each name: behind NSS there may be a network. Only the loop's thread spawns. */
static int find_user(struct plan *p, const char *user) {
    static struct {
        char *name;
        uid_t uid;
        gid_t gid, groups[GROUPS_MAX];
        int n_groups;
    } known;
    if (!str_eq(known.name, user)) {
        errno = 0;
        const struct passwd *pw = getpwnam(user);
        if (!pw)
            return errno && errno != ENOENT && errno != ESRCH ? -errno : -ENOENT;
        known.uid = pw->pw_uid;
        known.gid = pw->pw_gid;
        known.n_groups = GROUPS_MAX;
        if (getgrouplist(user, known.gid, known.groups, &known.n_groups) < 0)
            return -E2BIG;
        str_set(&known.name, user);
    }
    p->drop = true;
    p->uid = known.uid;
    p->gid = known.gid;
    p->n_groups = known.n_groups;
    memcpy(p->groups, known.groups, sizeof p->groups);
    return 0;
}

static void add_limit(struct plan *p, int resource, int64_t value) {
    if (value <= 0)
        return;
    struct rlimit now;
    rlim_t v = (rlim_t)value;
    /* A limit can be lowered by anybody and raised by few. */
    if (getrlimit((enum __rlimit_resource)resource, &now) == 0 && now.rlim_max < v)
        v = now.rlim_max;
    p->limits[p->n_limits++] = (struct limit){resource, {v, v}};
}

static int compare_to(const void *a, const void *b) {
    const struct child_fd *x = a, *y = b;
    return (x->to > y->to) - (x->to < y->to);
}

static int plan_fds(struct plan *p, const struct child_spec *spec, const int standard[3]) {
    p->fds = xcalloc(spec->n_fds + 3, sizeof *p->fds);
    p->moved = xcalloc(spec->n_fds + 3, sizeof *p->moved);
    bool given[3] = {false};
    for (size_t i = 0; i < spec->n_fds; i++) {
        p->fds[p->n_fds++] = spec->fds[i];
        if (spec->fds[i].to == 1 || spec->fds[i].to == 2)
            given[spec->fds[i].to] = true;
    }
    for (int i = 0; i < 3; i++)
        if (!given[i])
            p->fds[p->n_fds++] = (struct child_fd){standard[i], i};
    qsort(p->fds, p->n_fds, sizeof *p->fds, compare_to);
    for (size_t i = 0; i < p->n_fds; i++)
        if (p->fds[i].from < 0 || p->fds[i].to < 0 || (i > 0 && p->fds[i].to == p->fds[i - 1].to))
            return -EINVAL;
    p->base = p->fds[p->n_fds - 1].to + 1;
    return 0;
}

static int plan_make(struct plan *p, const struct child_spec *spec, const int standard[3]) {
    static const char *const minimal[] = {"PATH=" DEFAULT_PATH, "LANG=C.UTF-8", "HOME=/", NULL};
    const char *const *env = spec->env ? spec->env : minimal;
    int r = find_program(spec->argv[0], env, &p->path);
    if (r == 0)
        r = plan_fds(p, spec, standard);
    if (r == 0 && spec->user && geteuid() == 0)
        r = find_user(p, spec->user);
    if (r < 0)
        return r;
    add_limit(p, RLIMIT_CPU, spec->limit_cpu_s);
    add_limit(p, RLIMIT_AS, spec->limit_memory);
    add_limit(p, RLIMIT_FSIZE, spec->limit_file_size);
    p->argv = (char *const *)spec->argv;
    p->envp = (char *const *)env;
    p->gate = spec->gate;
    p->control_groups = spec->groups;
    p->new_session = spec->new_session;
    p->detach = spec->detach;
    return 0;
}

/* ---- the running child ---- */

/* One of stdout and stderr: a pipe that we read or, of a detached child, a memory file of fixed size that it fills. */
struct stream {
    struct child *child;
    uv_poll_t poll;
    int fd; /* our end; -1 when done */
    bool polling;
    struct buf kept;
    size_t max;
};

struct child {
    uv_poll_t exit_poll;
    uv_timer_t timer; /* the timeout; then the wait for EOF */
    struct stream out, err;
    pid_t pid;
    int pidfd;
    bool detach, freed, exited, reported;
    int handles; /* not yet closed; the last one frees the struct */
    struct child_exit how;
    void (*on_output)(void *ctx, const char *data, size_t len);
    void (*on_exit)(void *ctx, struct child *c, struct child_exit how);
    void *ctx;
};

static void child_destroy(struct child *c) {
    close_fd(&c->pidfd);
    close_fd(&c->out.fd);
    close_fd(&c->err.fd);
    buf_done(&c->out.kept);
    buf_done(&c->err.kept);
    free(c);
}

static void handle_closed(uv_handle_t *h) {
    struct child *c = h->data;
    c->handles--;
    if (c->handles == 0 && c->freed)
        child_destroy(c);
}

static void handle_close(struct child *c, uv_handle_t *h) {
    if (!uv_is_closing(h)) {
        h->data = c;
        uv_close(h, handle_closed);
    }
}

static void stream_end(struct stream *s) {
    if (s->polling) {
        s->polling = false;
        handle_close(s->child, (uv_handle_t *)&s->poll);
    }
    close_fd(&s->fd);
}

static void stream_got(struct stream *s, const char *data, size_t len) {
    struct child *c = s->child;
    if (s->kept.len < s->max)
        buf_add(&s->kept, data, len < s->max - s->kept.len ? len : s->max - s->kept.len);
    if (s == &c->out && c->on_output)
        c->on_output(c->ctx, data, len); /* may free c */
}

/* Reads what is there, at most a few pieces so that a flood of output does not hold up the loop. */
static void stream_read(struct stream *s, int pieces) {
    char data[16 * 1024];
    while (pieces-- > 0 && s->fd >= 0 && !s->child->freed) {
        ssize_t n = read(s->fd, data, sizeof data);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            stream_end(s);
            return;
        }
        stream_got(s, data, (size_t)n);
    }
}

/* The memory file's offset is shared with the child: it says how much has been written. */
static void stream_refresh(struct stream *s) {
    if (s->fd < 0 || s->polling)
        return;
    off_t len = lseek(s->fd, 0, SEEK_CUR);
    if (len <= 0 || (size_t)len <= s->kept.len)
        return;
    size_t want = (size_t)len < s->max ? (size_t)len : s->max;
    s->kept.len = 0;
    buf_reserve(&s->kept, want);
    ssize_t n = pread(s->fd, s->kept.data, want, 0);
    s->kept.len = n > 0 ? (size_t)n : 0;
    s->kept.data[s->kept.len] = 0;
}

static void child_report(struct child *c) {
    if (c->reported || c->freed || !c->exited || c->out.polling || c->err.polling)
        return;
    c->reported = true;
    handle_close(c, (uv_handle_t *)&c->timer);
    stream_refresh(&c->out);
    stream_refresh(&c->err);
    if (c->on_exit)
        c->on_exit(c->ctx, c, c->how); /* may free c */
}

static void on_stream(uv_poll_t *h, int status, int events) {
    struct stream *s = h->data;
    struct child *c = s->child;
    if (status < 0)
        stream_end(s);
    else
        stream_read(s, 16);
    child_report(c);
}

static void on_timer(uv_timer_t *h) {
    struct child *c = h->data;
    if (!c->exited) {
        child_kill(c, SIGKILL);
        return;
    }
    stream_end(&c->out);
    stream_end(&c->err);
    child_report(c);
}

/* False if it has not ended after all. */
static bool child_reap(struct child *c) {
    siginfo_t info = {0};
    int r;
    do
        r = waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED | WNOHANG);
    while (r < 0 && errno == EINTR);
    if (r == 0 && info.si_pid == 0)
        return false;
    c->exited = true;
    if (r < 0)
        c->how = (struct child_exit){.value = 255}; /* somebody else has reaped it: how it ended is not known */
    else
        c->how = (struct child_exit){.signalled = info.si_code != CLD_EXITED, .value = info.si_status};
    return true;
}

static void on_pidfd(uv_poll_t *h, int status, int events) {
    struct child *c = h->data;
    if (!child_reap(c))
        return;
    handle_close(c, (uv_handle_t *)&c->exit_poll);
    if (c->freed)
        return;
    uv_timer_stop(&c->timer);
    if (c->out.polling)
        stream_read(&c->out, 1000);
    if (c->err.polling && !c->freed)
        stream_read(&c->err, 1000);
    if (!c->freed && (c->out.polling || c->err.polling))
        uv_timer_start(&c->timer, on_timer, EOF_GRACE_MS, 0);
    child_report(c);
}

/* ---- making one ---- */

static int open_null(void) {
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Input is whole from the start, so a memory file does: nothing to feed, and no reader whose death matters. */
static int open_input(const struct child_spec *spec) {
    if (!spec->input)
        return open_null();
    int fd = memfd_create("stdin", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = write_all(fd, spec->input, spec->input_len);
    if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
        r = -errno;
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}

/* The child's end; ours goes to *ret_ours (-1 if the output is not wanted). */
static int open_output(const struct child_spec *spec, size_t max, bool wanted, int *ret_ours) {
    *ret_ours = -1;
    if (max == 0 && !(wanted && !spec->detach))
        return open_null();
    int fds[2];
    if (spec->detach) {
        /* It outlives us, so no pipe (SIGPIPE), and no file that grows for years: writes beyond the size fail. */
        fds[0] = memfd_create("output", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fds[0] < 0)
            return -errno;
        fds[1] = fcntl(fds[0], F_DUPFD_CLOEXEC, 3);
        if (fds[1] < 0 || ftruncate(fds[0], (off_t)max) < 0 ||
            fcntl(fds[0], F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0) {
            int r = -errno;
            close_fd(&fds[0]);
            close_fd(&fds[1]);
            return r;
        }
    } else {
        if (pipe2(fds, O_CLOEXEC) < 0)
            return -errno;
        fcntl(fds[0], F_SETFL, O_NONBLOCK);
    }
    *ret_ours = fds[0];
    return fds[1];
}

static void stream_watch(struct child *c, struct stream *s, uv_loop_t *loop, size_t max) {
    s->child = c;
    s->max = max;
    if (s->fd < 0 || c->detach)
        return;
    if (uv_poll_init(loop, &s->poll, s->fd) < 0) {
        close_fd(&s->fd);
        return;
    }
    c->handles++;
    s->polling = true;
    s->poll.data = s;
    uv_poll_start(&s->poll, UV_READABLE, on_stream);
}

static struct child *child_new(uv_loop_t *loop, const struct child_spec *spec, pid_t pid, int pidfd, int out, int err) {
    struct child *c = xcalloc(1, sizeof *c);
    *c = (struct child){.pid = pid,
                        .pidfd = pidfd,
                        .detach = spec->detach,
                        .on_output = spec->on_output,
                        .on_exit = spec->on_exit,
                        .ctx = spec->ctx};
    c->out.fd = out;
    c->err.fd = err;
    stream_watch(c, &c->out, loop, spec->output_max);
    stream_watch(c, &c->err, loop, spec->error_max);
    uv_timer_init(loop, &c->timer);
    uv_poll_init(loop, &c->exit_poll, pidfd);
    c->handles += 2;
    c->timer.data = c->exit_poll.data = c;
    uv_poll_start(&c->exit_poll, UV_READABLE, on_pidfd);
    if (spec->timeout_ms > 0)
        uv_timer_start(&c->timer, on_timer, (uint64_t)spec->timeout_ms, 0);
    return c;
}

int child_spawn(uv_loop_t *loop, const struct child_spec *spec, struct child **ret) {
    _cleanup_close_ int in = open_input(spec);
    if (in < 0)
        return in;
    _cleanup_close_ int out_ours = -1, err_ours = -1;
    _cleanup_close_ int out = open_output(spec, spec->output_max, spec->on_output, &out_ours);
    if (out < 0)
        return out;
    _cleanup_close_ int err = open_output(spec, spec->error_max, false, &err_ours);
    if (err < 0)
        return err;
    _cleanup_(plan_done) struct plan plan = {0};
    int r = plan_make(&plan, spec, (int[]){in, out, err});
    if (r < 0)
        return r;
    int pidfd = -1;
    pid_t pid = plan_run(&plan, &pidfd);
    if (pid < 0)
        return pid;
    *ret = child_new(loop, spec, pid, pidfd, out_ours, err_ours);
    out_ours = err_ours = -1;
    return 0;
}

void child_kill(struct child *c, int signal) {
    if (c->exited)
        return;
    syscall(SYS_pidfd_send_signal, c->pidfd, signal, NULL, 0);
    /* Not reaped yet, so the number is still its group's: what it started goes too. */
    if (signal == SIGKILL && !c->detach)
        kill(-c->pid, SIGKILL);
}

void child_free(struct child *c) {
    if (!c || c->freed)
        return;
    c->freed = true;
    if (!c->detach)
        child_kill(c, SIGKILL);
    stream_end(&c->out);
    stream_end(&c->err);
    handle_close(c, (uv_handle_t *)&c->timer);
    /* exit_poll stays until the child can be reaped. That of a detached one does not keep the loop alive. */
    if (!c->exited && c->detach)
        uv_unref((uv_handle_t *)&c->exit_poll);
    if (c->handles == 0)
        child_destroy(c);
}

pid_t child_pid(const struct child *c) { return c->pid; }
int child_pidfd(const struct child *c) { return c->pidfd; }

const struct buf *child_output(const struct child *c) {
    stream_refresh((struct stream *)&c->out);
    return &c->out.kept;
}

const struct buf *child_error(const struct child *c) {
    stream_refresh((struct stream *)&c->err);
    return &c->err.kept;
}

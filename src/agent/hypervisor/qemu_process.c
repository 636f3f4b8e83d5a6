/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/hypervisor/qemu_process.h"

#include "agent/hypervisor/qmp.h"
#include "base/json.h"
#include "base/mem.h"
#include "os/file.h"
#include "os/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define RECORD         "process.json"
#define STDERR_FIFO    "stderr"
#define LOG_FILE       "qemu.log"
#define LOG_KEEP       (64 * 1024)
#define LOG_MAX        (2 * LOG_KEEP)
#define LAST_WORDS_MAX 1000

struct qemu_process {
    struct qemu_process_spec spec;
    pid_t pid;
    uint64_t start_time;
    int64_t started_ms;
    int pidfd;              /* -1 for a child: it has its own */
    struct child *child;    /* made by us */
    struct pidwatch *watch; /* found */
    uv_poll_t *fifo_poll;   /* freed when closed */
    int fifo;               /* -1 when it has ended */
    int log;
    off_t log_size;
    struct buf last;
};

/* ---- sockets ---- */

/* sun_path holds 108 bytes; the state directory may be longer, the way through the descriptor is not. */
static int socket_address(int dirfd, const char *name, struct sockaddr_un *ret) {
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n = snprintf(ret->sun_path, sizeof ret->sun_path, "/proc/self/fd/%d/%s", dirfd, name);
    return n < (int)sizeof ret->sun_path ? 0 : -ENAMETOOLONG;
}

int qemu_socket_listen(int dirfd, const char *name) {
    struct sockaddr_un a;
    int r = socket_address(dirfd, name, &a);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    unlinkat(dirfd, name, 0);
    /* The directory is 0700; the mode of the socket itself is for the case that it is not. */
    mode_t mask = umask(0177);
    r = bind(fd, (struct sockaddr *)&a, sizeof a) < 0 ? -errno : 0;
    umask(mask);
    if (r < 0)
        return r;
    if (listen(fd, 4) < 0)
        return -errno;
    int taken = fd;
    fd = -1;
    return taken;
}

int qemu_socket_connect(int dirfd, const char *name) {
    struct sockaddr_un a;
    int r = socket_address(dirfd, name, &a);
    if (r < 0)
        return r;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

void qemu_process_clean(int dirfd) {
    static const char *const names[] = {RECORD, QEMU_QMP_SOCKET, QEMU_QMP_SPARE_SOCKET, QEMU_SERIAL_SOCKET,
                                        STDERR_FIFO};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unlinkat(dirfd, names[i], 0);
}

const char *const *qemu_environment(void) {
    static char *path;
    static const char *env[] = {NULL, "LANG=C.UTF-8", "HOME=/", NULL};
    str_take(&path, xasprintf("PATH=%s", str_or(getenv("PATH"), "/usr/local/bin:/usr/bin:/bin")));
    env[0] = path;
    return env;
}

/* ---- what it says ---- */

static void log_trim(struct qemu_process *p) {
    if (p->log < 0 || p->log_size <= LOG_KEEP)
        return;
    _cleanup_free_ char *tail = xmalloc(LOG_KEEP);
    ssize_t n = pread(p->log, tail, LOG_KEEP, p->log_size - LOG_KEEP);
    if (n > 0 && ftruncate(p->log, 0) == 0)
        p->log_size = write(p->log, tail, (size_t)n) < 0 ? 0 : n;
}

static void log_add(struct qemu_process *p, const char *data, size_t len) {
    buf_add(&p->last, data, len);
    if (p->last.len > LAST_WORDS_MAX)
        buf_consume(&p->last, p->last.len - LAST_WORDS_MAX);
    ssize_t n = p->log >= 0 ? write(p->log, data, len) : -1;
    if (n > 0)
        p->log_size += n;
    if (p->log_size > LOG_MAX)
        log_trim(p);
}

static void on_fifo_closed(uv_handle_t *h) { free(h); }

static void fifo_close(struct qemu_process *p) {
    if (p->fifo_poll) {
        p->fifo_poll->data = NULL;
        uv_close((uv_handle_t *)TAKE_PTR(p->fifo_poll), on_fifo_closed);
    }
    close_fd(&p->fifo);
}

static void fifo_read(struct qemu_process *p, int pieces) {
    char data[4096];
    while (p->fifo >= 0 && pieces-- > 0) {
        ssize_t n = read(p->fifo, data, sizeof data);
        if (n > 0)
            log_add(p, data, (size_t)n);
        else if (n < 0 && errno == EINTR)
            continue;
        else if (n < 0 && errno == EAGAIN)
            return;
        else
            fifo_close(p);
    }
}

static void on_fifo(uv_poll_t *h, int status, int events) {
    if (!h->data)
        return;
    if (status < 0)
        fifo_close(h->data);
    else
        fifo_read(h->data, 4);
}

/* Our end of the FIFO, and the log behind it. That QEMU's words are lost is no reason to lose QEMU. */
static void output_open(struct qemu_process *p) {
    struct stat st;
    p->log = open_beneath(p->spec.dirfd, LOG_FILE, O_RDWR | O_APPEND | O_CREAT, 0600);
    if (p->log >= 0 && fstat(p->log, &st) == 0)
        p->log_size = st.st_size;
    log_trim(p);
    p->fifo = open_beneath(p->spec.dirfd, STDERR_FIFO, O_RDONLY | O_NONBLOCK, 0);
    if (p->fifo < 0)
        return;
    p->fifo_poll = xcalloc(1, sizeof *p->fifo_poll);
    if (uv_poll_init(p->spec.loop, p->fifo_poll, p->fifo) < 0) {
        free(TAKE_PTR(p->fifo_poll));
        close_fd(&p->fifo);
        return;
    }
    p->fifo_poll->data = p;
    uv_poll_start(p->fifo_poll, UV_READABLE, on_fifo);
}

const char *qemu_process_last_words(struct qemu_process *p) {
    fifo_read(p, 64);
    while (p->last.len && (p->last.data[p->last.len - 1] == '\n' || p->last.data[p->last.len - 1] == '\r'))
        p->last.data[--p->last.len] = 0;
    if (!p->last.len)
        return "";
    /* Two lines at most: the cause and its consequence. */
    char *s = p->last.data, *from = s;
    int lines = 0;
    for (char *c = s + p->last.len; c > s && lines < 2; c--)
        if (c[-1] == '\n' && ++lines == 2)
            from = c;
    qmp_text_clean(from);
    return from;
}

/* ---- the record ---- */

static int boot_id(char ret[static 40]) {
    _cleanup_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret, 36);
    ret[n == 36 ? 36 : 0] = 0;
    return n == 36 ? 0 : -EIO;
}

static int record_write(const struct qemu_process_spec *spec, const struct qemu_process *p) {
    char boot[40];
    boot_id(boot);
    _cleanup_json_ json_t *o = json_object();
    json_set_str(o, "vm", spec->vm);
    json_set_str(o, "boot", boot);
    if (p) {
        json_set_int(o, "pid", p->pid);
        json_set_int(o, "start_time", (int64_t)p->start_time);
        json_set_int(o, "started", p->started_ms);
    } else {
        json_object_set_new(o, "starting", json_true());
    }
    _cleanup_free_ char *text = json_text(o);
    unlinkat(spec->dirfd, "." RECORD, 0);
    _cleanup_close_ int fd = open_beneath(spec->dirfd, "." RECORD, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        return fd;
    int r = write_all(fd, text, strlen(text));
    if (r < 0)
        return r;
    return renameat(spec->dirfd, "." RECORD, spec->dirfd, RECORD) < 0 ? -errno : 0;
}

/* ---- its end ---- */

static void process_ended(struct qemu_process *p, bool known, struct child_exit how) {
    qemu_process_clean(p->spec.dirfd);
    /* Copied: the process may be freed in the call. */
    _cleanup_free_ char *last = xstrdup(qemu_process_last_words(p));
    p->spec.on_end(p->spec.ctx, known, how, last);
}
static void on_child_exit(void *ctx, struct child *c, struct child_exit how) { process_ended(ctx, true, how); }
static void on_watch_end(void *ctx) { process_ended(ctx, false, (struct child_exit){0}); }

void qemu_process_free(struct qemu_process *p) {
    if (!p)
        return;
    child_free(p->child);
    pidwatch_free(p->watch);
    fifo_close(p);
    close_fd(&p->log);
    close_fd(&p->pidfd);
    buf_done(&p->last);
    free(p);
}

void qemu_process_kill(struct qemu_process *p) {
    if (p->child)
        child_kill(p->child, SIGKILL);
    else
        syscall(SYS_pidfd_send_signal, p->pidfd, SIGKILL, NULL, 0);
}

int qemu_process_pidfd(const struct qemu_process *p) { return p->child ? child_pidfd(p->child) : p->pidfd; }

int64_t qemu_process_started(const struct qemu_process *p) { return p->started_ms; }

static struct qemu_process *process_new(const struct qemu_process_spec *spec) {
    struct qemu_process *p = xcalloc(1, sizeof *p);
    p->spec = *spec;
    p->pidfd = p->fifo = p->log = -1;
    return p;
}

/* ---- making one ---- */

int qemu_process_spawn(const struct qemu_process_spec *spec, const struct qemu_args *args, const char *user,
                       int64_t now_ms, struct qemu_process **ret, struct error *e) {
    int r = record_write(spec, NULL);
    if (r < 0)
        return error_set(e, r == -ENOSPC ? ERR_NO_SPACE : ERR_IO, "the guest's record cannot be written: %s",
                         strerror(-r));
    unlinkat(spec->dirfd, STDERR_FIFO, 0);
    if (mkfifoat(spec->dirfd, STDERR_FIFO, 0600) < 0)
        return error_set(e, ERR_IO, "no FIFO for QEMU's messages: %s", strerror(errno));
    _cleanup_close_ int theirs = open_beneath(spec->dirfd, STDERR_FIFO, O_RDWR | O_NONBLOCK, 0);
    if (theirs < 0)
        return error_set(e, ERR_IO, "the FIFO for QEMU's messages cannot be opened: %s", strerror(-theirs));
    struct qemu_process *p = process_new(spec);
    output_open(p);
    _cleanup_free_ struct child_fd *fds = xcalloc(args->n_fds + 1, sizeof *fds);
    if (args->n_fds)
        memcpy(fds, args->fds, args->n_fds * sizeof *fds);
    fds[args->n_fds] = (struct child_fd){.from = theirs, .to = 2};
    struct child_spec child = {.argv = (const char *const *)args->argv,
                               .env = qemu_environment(),
                               .fds = fds,
                               .n_fds = args->n_fds + 1,
                               .user = user,
                               .gate = spec->gate,
                               .groups = spec->groups,
                               .new_session = true,
                               .detach = true,
                               .on_exit = on_child_exit,
                               .ctx = p};
    r = child_spawn(spec->loop, &child, &p->child);
    p->spec.gate = NULL;
    p->spec.groups = NULL;
    if (r < 0) {
        qemu_process_free(p);
        qemu_process_clean(spec->dirfd);
        if (spec->gate && (r == -ESTALE || r == -EPIPE || r == -ECONNRESET || r == -ETIMEDOUT || r == -ENOSPC))
            return error_set(e, ERR_UNAVAILABLE,
                             r == -ESTALE ? "this server has lost its pool since it was told to start the guest"
                                          : "tarn-deadman does not take the guest into its watch: %s",
                             strerror(-r));
        return error_set(e, ERR_GUEST, "%s cannot be run: %s%s", args->argv[0], strerror(-r),
                         r == -ENOENT || r == -EACCES ? "; install the package qemu-system-x86" : "");
    }
    p->pid = child_pid(p->child);
    p->started_ms = now_ms;
    process_start_time(p->pid, &p->start_time);
    r = record_write(spec, p);
    if (r < 0)
        log_warning("guest %s: its process record cannot be written: %s", spec->vm, strerror(-r));
    *ret = p;
    return 0;
}

/* ---- finding it again ---- */

/* The arguments of a process, NUL-separated; the length, 0 if it has none. */
static size_t read_cmdline(const char *pid, char *buf, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%.20s/cmdline", pid);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, buf, size);
    return n > 0 ? (size_t)n : 0;
}

/*
 * Whether what it says goes into this guest's directory. Another agent on this machine (a lab's, one in a container)
 * may have a process of the same guest, which is on its way from there to here or back.
 */
static bool speaks_here(const char *pid, int dirfd) {
    char path[64];
    struct stat its, ours;
    snprintf(path, sizeof path, "/proc/%.20s/fd/2", pid);
    if (stat(path, &its) < 0)
        return errno == EACCES || errno == EPERM; /* not to be told: better taken for ours than started twice */
    return fstatat(dirfd, STDERR_FIFO, &ours, AT_SYMLINK_NOFOLLOW) == 0 && its.st_dev == ours.st_dev &&
           its.st_ino == ours.st_ino;
}

/* Our argument list begins: binary -name guest=… -uuid ID. */
static pid_t search_by_uuid(const char *vm, int dirfd) {
    DIR *d = opendir("/proc");
    struct dirent *entry;
    pid_t found = 0;
    char cmdline[2048];
    _cleanup_free_ char *wanted = xasprintf("-uuid%c%s", 1, vm);
    size_t wanted_len = strlen(wanted) + 1;
    wanted[5] = 0;
    while (d && !found && (entry = readdir(d))) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
            continue;
        size_t n = read_cmdline(entry->d_name, cmdline, sizeof cmdline);
        if (n && memmem(cmdline, n, "qemu-system", 11) && memmem(cmdline, n, wanted, wanted_len) &&
            speaks_here(entry->d_name, dirfd))
            found = (pid_t)strtol(entry->d_name, NULL, 10);
    }
    if (d)
        closedir(d);
    return found;
}

/* Which process the record means: its pid, -ENOENT with a reason, or why that cannot be told. */
static pid_t record_pid(const struct qemu_process_spec *spec, struct qemu_process *p, const char **reason) {
    _cleanup_free_ char *text = NULL;
    _cleanup_json_ json_t *o = NULL;
    size_t len;
    char boot[40];
    int r = read_file_at(spec->dirfd, RECORD, 4096, &text, &len);
    if (r == -ENOENT)
        *reason = "no process of it exists";
    if (r < 0)
        return r;
    bool good = json_parse(text, len, &o, NULL) == 0 && json_is_object(o) && boot_id(boot) == 0;
    if (good && !str_eq(json_str(o, "boot"), boot)) {
        *reason = "the server has been restarted since";
        return -ENOENT;
    }
    *reason = "its process has ended while nobody was watching";
    if (!good || json_bool(o, "starting", false)) {
        pid_t pid = search_by_uuid(spec->vm, spec->dirfd);
        if (pid > 0)
            process_start_time(pid, &p->start_time);
        return pid > 0 ? pid : -ENOENT;
    }
    p->start_time = (uint64_t)json_int(o, "start_time", 0);
    p->started_ms = json_int(o, "started", 0);
    return json_int(o, "pid", 0) > 0 ? (pid_t)json_int(o, "pid", 0) : -ENOENT;
}

int qemu_process_find(const struct qemu_process_spec *spec, struct qemu_process **ret, const char **ret_reason) {
    struct qemu_process *p = process_new(spec);
    p->pid = record_pid(spec, p, ret_reason);
    int r = p->pid > 0 ? 0 : p->pid;
    if (r == 0) {
        /* The pidfd first: then the start time tells whose it is, and it cannot become another's any more. */
        uint64_t start_time;
        p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
        if (p->pidfd < 0)
            r = errno == ESRCH || errno == EINVAL ? -ENOENT : -errno;
        else if (process_start_time(p->pid, &start_time) < 0 || start_time != p->start_time)
            r = -ENOENT;
    }
    if (r == 0)
        r = pidwatch_new(spec->loop, p->pidfd, on_watch_end, p, &p->watch);
    if (r < 0) {
        qemu_process_free(p);
        return r;
    }
    output_open(p);
    record_write(spec, p);
    *ret = p;
    return 0;
}

/* ---- usage ---- */

int qemu_process_usage(const struct qemu_process *p, double *ret_cpu_s, int64_t *ret_rss) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)p->pid);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n <= 0)
        return -ENOENT;
    text[n] = 0;
    /* The name, field 2, may hold anything: what follows begins behind the last parenthesis, with field 3. */
    const char *s = strrchr(text, ')');
    unsigned long long user = 0, system = 0;
    long long rss = 0;
    if (!s ||
        sscanf(s + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu %*s %*s %*s %*s %*s %*s %*s %*s %lld",
               &user, &system, &rss) != 3)
        return -EBADMSG;
    *ret_cpu_s = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    *ret_rss = rss * sysconf(_SC_PAGESIZE);
    return 0;
}

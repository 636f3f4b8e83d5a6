/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/corosync.h"

#include "base/mem.h"
#include "os/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PID_FILE       "/run/corosync.pid"
#define RELOAD_TIME_MS 15000
#define PATH           "PATH=/usr/sbin:/sbin:/usr/bin:/bin"

struct corosync {
    uv_loop_t *loop;
    char *conf;
    struct child *child;    /* one that we have started … */
    struct pidwatch *watch; /* … or found */
    int pidfd;
    struct child *tool;
    void (*reloaded)(void *ctx, const struct error *e);
    void (*on_end)(void *ctx);
    void *ctx;
};

static const char *const environment[] = {PATH, "LANG=C.UTF-8", "HOME=/", NULL};

struct corosync *corosync_new(uv_loop_t *loop, const char *conf, void (*on_end)(void *ctx), void *ctx) {
    struct corosync *c = xcalloc(1, sizeof *c);
    *c = (struct corosync){.loop = loop, .conf = xstrdup(conf), .pidfd = -1, .on_end = on_end, .ctx = ctx};
    return c;
}

static void let_go(struct corosync *c) {
    child_free(TAKE_PTR(c->child));
    pidwatch_free(TAKE_PTR(c->watch));
    if (c->pidfd >= 0)
        close(c->pidfd);
    c->pidfd = -1;
}

void corosync_free(struct corosync *c) {
    if (!c)
        return;
    let_go(c);
    child_free(c->tool);
    free(c->conf);
    free(c);
}

bool corosync_runs(const struct corosync *c) { return c->child || c->watch; }

bool corosync_is_found(const struct corosync *c) { return c->watch != NULL; }

static void ended(struct corosync *c) {
    let_go(c);
    c->on_end(c->ctx);
}

static void on_exit_child(void *ctx, struct child *child, struct child_exit how) {
    log_warning("corosync has ended: %s %d", how.signalled ? "signal" : "status", how.value);
    ended(ctx);
}

static void on_watch(void *ctx) {
    log_warning("corosync has ended");
    ended(ctx);
}

/* ---- finding ---- */

static size_t read_small(const char *path, char *buf, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, buf, size - 1);
    if (fd >= 0)
        close(fd);
    buf[n > 0 ? n : 0] = 0;
    return n > 0 ? (size_t)n : 0;
}

/* The pidfd of the corosync that runs, or -ENOENT; ours says whether it has our configuration. */
static int look(const struct corosync *c, pid_t *ret_pid, bool *ret_ours) {
    char text[64], path[64], cmdline[8192];
    if (!read_small(PID_FILE, text, sizeof text))
        return -ENOENT;
    pid_t pid = (pid_t)strtol(text, NULL, 10);
    int fd = pid > 1 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    if (fd < 0)
        return -ENOENT;
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    size_t n = read_small(path, cmdline, sizeof cmdline);
    const char *end = memchr(cmdline, 0, n);
    if (!end || !strstr(cmdline, "corosync")) {
        close(fd); /* its number is another's now */
        return -ENOENT;
    }
    *ret_pid = pid;
    *ret_ours = memmem(cmdline, n, c->conf, strlen(c->conf) + 1) != NULL;
    return fd;
}

static int take_up(struct corosync *c, int pidfd) {
    c->pidfd = pidfd;
    return pidwatch_new(c->loop, pidfd, on_watch, c, &c->watch);
}

void corosync_find(struct corosync *c) {
    pid_t pid;
    bool ours = false;
    int fd = corosync_runs(c) ? -EBUSY : look(c, &pid, &ours);
    if (fd >= 0 && (!ours || take_up(c, fd) < 0)) {
        c->pidfd = -1;
        close(fd);
    }
}

int corosync_start(struct corosync *c, struct error *e) {
    pid_t pid = 0;
    bool ours = false;
    if (corosync_runs(c))
        return 0;
    int fd = look(c, &pid, &ours);
    if (fd >= 0 && !ours) {
        close(fd);
        return error_set(
            e, ERR_CONFLICT,
            "another corosync (process %d) runs on this server: stop it and disable its service; a server of "
            "a clustered pool runs one that tarn-agent starts",
            (int)pid);
    }
    if (fd >= 0)
        return take_up(c, fd);
    const char *argv[] = {"corosync", "-f", "-c", c->conf, NULL};
    struct child_spec spec = {.argv = argv,
                              .env = environment,
                              .error_max = 16384,
                              .new_session = true,
                              .detach = true,
                              .on_exit = on_exit_child,
                              .ctx = c};
    int r = child_spawn(c->loop, &spec, &c->child);
    if (r < 0)
        return error_set(e, ERR_UNSUPPORTED, "corosync cannot be run: %s%s", strerror(-r),
                         r == -ENOENT ? "; install the package corosync on this server" : "");
    log_info("corosync started, process %d", (int)child_pid(c->child));
    return 0;
}

/* ---- reading the files again ---- */

static void on_tool(void *ctx, struct child *child, struct child_exit how) {
    struct corosync *c = ctx;
    _cleanup_error_ struct error e = ERROR_INIT;
    if (how.signalled || how.value)
        error_set(&e, ERR_UNAVAILABLE, "corosync does not take its new configuration: %s",
                  child_error(child)->len ? child_error(child)->data : "corosync-cfgtool did not end in time");
    child_free(child);
    c->tool = NULL;
    c->reloaded(c->ctx, e.code == ERR_OK ? NULL : &e);
}

int corosync_reload(struct corosync *c, void (*done)(void *ctx, const struct error *e), struct error *e) {
    const char *argv[] = {"corosync-cfgtool", "-R", NULL};
    struct child_spec spec = {.argv = argv,
                              .env = environment,
                              .output_max = 4096,
                              .error_max = 4096,
                              .timeout_ms = RELOAD_TIME_MS,
                              .on_exit = on_tool,
                              .ctx = c};
    c->reloaded = done;
    int r = child_spawn(c->loop, &spec, &c->tool);
    return r < 0 ? error_set(e, ERR_UNSUPPORTED, "corosync-cfgtool cannot be run: %s", strerror(-r)) : 0;
}

void corosync_stop(struct corosync *c, int signal) {
    if (c->child)
        child_kill(c->child, signal);
    else if (c->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, c->pidfd, signal, NULL, 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/hypervisor/qemu_probe.h"

#include "agent/hypervisor/qemu_models.h"
#include "agent/hypervisor/qemu_process.h"
#include "base/json.h"
#include "base/mem.h"
#include "os/child.h"
#include "os/file.h"
#include "os/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#define DEADLINE_MS 3000
#define EXIT_PASSED 67 /* isa-debug-exit: (0x21 << 1) | 1 */
#define REMEMBERED  "probe.json"
#define KERNEL_FD   3

extern const char qemu_probe_image[], qemu_probe_image_end[];

struct qemu_probe {
    uv_loop_t *loop;
    uv_timer_t timer; /* reports from the loop when the answer is there at once */
    int dirfd;
    char *user;
    struct child *child;
    char *key;
    int64_t began;
    struct qemu_probe_result result;
    qemu_probe_done *done;
    void *ctx;
};

void qemu_probe_result_done(struct qemu_probe_result *r) {
    free(r->reason);
    qemu_models_free(r->models, r->n_models);
    *r = (struct qemu_probe_result){0};
}

static void on_closed(uv_handle_t *h) { free(h->data); }

void qemu_probe_free(struct qemu_probe *p) {
    if (!p)
        return;
    child_free(TAKE_PTR(p->child));
    free(TAKE_PTR(p->key));
    free(TAKE_PTR(p->user));
    qemu_probe_result_done(&p->result);
    uv_close((uv_handle_t *)&p->timer, on_closed);
}

/* ---- its CPU models ---- */

static void on_models_exit(void *ctx, struct child *c, struct child_exit how) {
    struct qemu_probe *p = ctx;
    struct qemu_probe_result *r = &p->result;
    const struct buf *out = child_output(c), *err = child_error(c);
    if (qemu_models_parse(out->len ? out->data : "", out->len, &r->models, &r->n_models) < 0) {
        log_warning("QEMU does not tell its CPU models: %.*s", err->len ? (int)strcspn(err->data, "\n") : 0,
                    err->len ? err->data : "");
    } else {
        _cleanup_free_ char *key = xasprintf("%s; %s", p->key, r->kvm ? "kvm" : "tcg");
        int result = qemu_models_remember(p->dirfd, key, r->models, r->n_models);
        if (result < 0)
            log_warning("QEMU's CPU models cannot be kept: %s", strerror(-result));
    }
    child_free(TAKE_PTR(p->child));
    p->done(p->ctx, r);
}

static void on_timer(uv_timer_t *t) {
    struct qemu_probe *p = t->data;
    struct qemu_probe_result *r = &p->result;
    _cleanup_free_ char *key = xasprintf("%s; %s", str_or(p->key, ""), r->kvm ? "kvm" : "tcg");
    if (!r->usable || qemu_models_recall(p->dirfd, key, &r->models, &r->n_models) == 0 ||
        qemu_models_ask(p->loop, r->kvm, p->user, on_models_exit, p, &p->child) < 0)
        p->done(p->ctx, r);
}

static void __attribute__((format(printf, 3, 4))) conclude(struct qemu_probe *p, bool kvm, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    str_take(&p->result.reason, xvasprintf(fmt, ap));
    va_end(ap);
    p->result.kvm = kvm;
    uv_timer_start(&p->timer, on_timer, 0, 0);
}

/* ---- what is remembered ---- */

static char *cpu_model(void) {
    char text[4096];
    _cleanup_close_ int fd = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
    const char *line = strstr(text, "model name");
    const char *from = line ? strchr(line, ':') : NULL;
    return from ? xstrndup(from + 1, strcspn(from + 1, "\n")) : xstrdup("");
}

static char *remember_key(const struct qemu_probe *p) {
    struct utsname u;
    _cleanup_free_ char *cpu = cpu_model();
    return xasprintf("%s %s; QEMU %s;%s; %s", uname(&u) == 0 ? u.release : "", uname(&u) == 0 ? u.version : "",
                     p->result.version, cpu, str_or(p->user, "-"));
}

static bool recall(struct qemu_probe *p) {
    _cleanup_free_ char *text = NULL;
    _cleanup_json_ json_t *o = NULL;
    size_t len;
    if (read_file_at(p->dirfd, REMEMBERED, 16384, &text, &len) < 0 || json_parse(text, len, &o, NULL) < 0)
        return false;
    if (!str_eq(json_str(o, "key"), p->key) || !json_is_boolean(json_object_get(o, "kvm")))
        return false;
    conclude(p, json_bool(o, "kvm", false), "%s", json_str(o, "reason"));
    return true;
}

static void remember(struct qemu_probe *p) {
    _cleanup_json_ json_t *o = json_object();
    json_set_str(o, "key", p->key);
    json_object_set_new(o, "kvm", json_boolean(p->result.kvm));
    json_set_str(o, "reason", p->result.reason);
    _cleanup_free_ char *text = json_text(o);
    int r = write_file_at(p->dirfd, REMEMBERED, text, strlen(text), 0600);
    if (r < 0)
        log_warning("what the KVM probe found cannot be kept: %s", strerror(-r));
}

/* ---- the tiny guest ---- */

/* How far it got, in words. */
static const char *stage_text(char stage) {
    switch (stage) {
    case 0:
        return "it did not get through the firmware";
    case 'a':
        return "it stopped before paging";
    case 'b':
        return "it did not reach 64-bit mode";
    case 'c':
        return "its timer interrupt never came";
    case 'd':
        return "it did not come back from its timer interrupt";
    default:
        return "it computes far too slowly: the CPU's virtualization is imitated here, as in some nested machines";
    }
}

static void on_guest_exit(void *ctx, struct child *c, struct child_exit how) {
    struct qemu_probe *p = ctx;
    const struct buf *out = child_output(c), *err = child_error(c);
    int64_t took = (int64_t)uv_now(p->loop) - p->began;
    if (!how.signalled && how.value == EXIT_PASSED) {
        conclude(p, true, "KVM works: a test guest ran in %lld ms", (long long)took);
        remember(p);
    } else if (how.signalled && took >= DEADLINE_MS) {
        conclude(
            p, false,
            "KVM opens but does not work: a test guest was not done after %d s (%s). Guests are emulated, which is "
            "slower",
            DEADLINE_MS / 1000, stage_text(out->len ? out->data[out->len - 1] : 0));
        remember(p);
    } else if (p->user && geteuid() == 0 && err->len && strstr(err->data, "Permission denied")) {
        conclude(p, false,
                 "QEMU's user %s may not open /dev/kvm: add it to the group kvm. Guests are emulated, which is slower",
                 p->user);
    } else {
        const char *said = err->len ? err->data : "it ended early";
        conclude(p, false, "KVM does not work here (%.*s). Guests are emulated, which is slower",
                 (int)strcspn(said, "\n") < 300 ? (int)strcspn(said, "\n") : 300, said);
    }
    child_free(TAKE_PTR(p->child));
}

static int probe_image(void) {
    size_t len = (size_t)(qemu_probe_image_end - qemu_probe_image);
    int fd = memfd_create("probe", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = write_all(fd, qemu_probe_image, len);
    /* QEMU opens it again by /proc/self/fd, possibly as another user. */
    if (r == 0 && fchmod(fd, 0444) < 0)
        r = -errno;
    if (r < 0)
        close(fd);
    return r < 0 ? r : fd;
}

static void guest_run(struct qemu_probe *p) {
    static const char *const argv[] = {QEMU_BINARY,
                                       "-nodefaults",
                                       "-no-user-config",
                                       "-display",
                                       "none",
                                       "-machine",
                                       "microvm,isa-serial=off",
                                       "-accel",
                                       "kvm",
                                       "-cpu",
                                       "host",
                                       "-m",
                                       "size=16M",
                                       "-debugcon",
                                       "stdio",
                                       "-device",
                                       "isa-debug-exit",
                                       "-kernel",
                                       "/proc/self/fd/3",
                                       "-sandbox",
                                       "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
                                       NULL};
    _cleanup_close_ int image = probe_image();
    const struct child_fd fds[] = {{.from = image, .to = KERNEL_FD}};
    struct child_spec spec = {.argv = argv,
                              .env = qemu_environment(),
                              .fds = fds,
                              .n_fds = 1,
                              .user = p->user,
                              .output_max = 4096,
                              .error_max = 4096,
                              .timeout_ms = DEADLINE_MS,
                              .on_exit = on_guest_exit,
                              .ctx = p};
    uv_update_time(p->loop);
    p->began = (int64_t)uv_now(p->loop);
    int r = image < 0 ? image : child_spawn(p->loop, &spec, &p->child);
    if (r < 0)
        conclude(p, false, "KVM could not be tried: %s. Guests are emulated, which is slower", strerror(-r));
}

/* ---- what comes first ---- */

static void accelerator_choose(struct qemu_probe *p) {
    const char *forced = getenv("TARN_ACCEL");
    if (str_eq(forced, "kvm") || str_eq(forced, "tcg")) {
        conclude(p, str_eq(forced, "kvm"), "TARN_ACCEL=%s is set", forced);
        return;
    }
    _cleanup_close_ int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno == EACCES)
        conclude(p, false,
                 "/dev/kvm is there, but this user may not open it: add the user to the group kvm. Guests are "
                 "emulated, which is slower");
    else if (fd < 0)
        conclude(p, false,
                 "this server has no KVM (/dev/kvm: %s): switch virtualization on in its firmware, or let the outer "
                 "hypervisor pass it on. Guests are emulated, which is slower",
                 strerror(errno));
    else if (!recall(p))
        guest_run(p);
}

int qemu_version_parse(const char *text, char *ret, size_t size, int *ret_major) {
    static const char before[] = "version ";
    const char *v = strstr(text, before);
    if (!v)
        return -EBADMSG;
    v += sizeof before - 1;
    size_t len = strspn(v, "0123456789.");
    int major = atoi(v);
    if (len == 0 || len >= size || major < 1)
        return -EBADMSG;
    memcpy(ret, v, len);
    ret[len] = 0;
    *ret_major = major;
    return 0;
}

static void on_version_exit(void *ctx, struct child *c, struct child_exit how) {
    struct qemu_probe *p = ctx;
    const struct buf *out = child_output(c);
    struct qemu_probe_result *r = &p->result;
    int bad = qemu_version_parse(out->len ? out->data : "", r->version, sizeof r->version, &r->version_major);
    bool ended = !how.signalled && how.value == 0;
    _cleanup_free_ char *said = xstrdup(child_error(c)->len ? child_error(c)->data : "no message");
    child_free(TAKE_PTR(p->child));
    if (bad < 0 || !ended) {
        conclude(p, false, "%s -version does not answer (%s%.200s): reinstall the package qemu-system-x86", QEMU_BINARY,
                 how.signalled ? "killed; " : "", said);
    } else if (r->version_major < 7) {
        conclude(p, false, "QEMU %s is too old: Tarn needs 7.2 or newer", r->version);
    } else {
        r->usable = true;
        p->key = remember_key(p);
        accelerator_choose(p);
    }
}

struct qemu_probe *qemu_probe_new(uv_loop_t *loop, int state_dirfd, const char *user, qemu_probe_done *done,
                                  void *ctx) {
    struct qemu_probe *p = xcalloc(1, sizeof *p);
    *p = (struct qemu_probe){.loop = loop, .dirfd = state_dirfd, .user = xstrdup(user), .done = done, .ctx = ctx};
    uv_timer_init(loop, &p->timer);
    p->timer.data = p;
    struct child_spec spec = {.argv = (const char *const[]){QEMU_BINARY, "-version", NULL},
                              .env = qemu_environment(),
                              .output_max = 4096,
                              .error_max = 4096,
                              .timeout_ms = 10000,
                              .user = user,
                              .on_exit = on_version_exit,
                              .ctx = p};
    int r = child_spawn(loop, &spec, &p->child);
    if (r == -ENOENT || r == -EACCES) /* a folder in PATH that we may not search says EACCES */
        conclude(p, false, "there is no %s on this server: install the package qemu-system-x86", QEMU_BINARY);
    else if (r < 0)
        conclude(p, false, "%s cannot be run: %s", QEMU_BINARY, strerror(-r));
    return p;
}

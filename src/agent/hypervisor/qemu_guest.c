/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/hypervisor/qemu_guest.h"
#include "agent/hypervisor/qemu_move.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/units.h"
#include "os/file.h"
#include "os/log.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define START_TIMEOUT_MS  60000
#define FIND_TIMEOUT_MS   2000
#define ASK_TIMEOUT_MS    10000
#define QUIT_MS           600 /* then SIGKILL */
#define RECONNECT_MS      200
#define RECONNECT_LATE_MS 5000 /* when it has not answered for long */
#define RECONNECT_TRIES   20

static void guest_launch(struct guest *g);
static void monitor_open(struct guest *g, int64_t timeout_ms);
static void monitor_lost(struct guest *g);
static void process_quit(struct guest *g);
static void on_status(void *ctx, const struct error *error, const json_t *result);

/* ---- the guest itself ---- */

static int64_t wall_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void on_timer(uv_timer_t *t) {
    struct guest *g = t->data;
    if (g->on_time)
        TAKE_PTR(g->on_time)(g);
}
static void timer_set(struct guest *g, int64_t ms, void (*on_time)(struct guest *)) {
    g->on_time = on_time;
    if (on_time)
        uv_timer_start(&g->timer, on_timer, (uint64_t)ms, 0);
    else
        uv_timer_stop(&g->timer);
}

struct guest *guest_get(struct hypervisor *h, const char *vm, bool make) {
    struct guest *g = map_get(&h->guests, vm);
    if (g || !make)
        return g;
    g = xcalloc(1, sizeof *g);
    *g = (struct guest){.h = h, .vm = xstrdup(vm), .dirfd = -1};
    list_init(&g->finds);
    list_init(&g->kills);
    list_init(&g->asks);
    uv_timer_init(h->loop, &g->timer);
    g->timer.data = g;
    map_put(&h->guests, vm, g);
    return g;
}

static void request_free(struct guest_start_request *r) {
    if (!r)
        return;
    guest_files_done(&r->files);
    api_guest_start_done(&r->start);
    free(r->incoming);
    free(r);
}

static void calls_drop(struct list *calls) {
    struct guest_call *c;
    while ((c = list_first(calls, struct guest_call, link))) {
        list_remove(&c->link);
        free(c);
    }
}

static void on_closed(uv_handle_t *handle) {
    struct guest *g = handle->data;
    free(g->vm);
    free(g);
}

void guest_free(struct guest *g) {
    map_remove(&g->h->guests, g->vm);
    qmp_free(TAKE_PTR(g->qmp));
    qemu_console_free(TAKE_PTR(g->console));
    qemu_process_free(TAKE_PTR(g->process));
    qemu_move_free(TAKE_PTR(g->move));
    request_free(TAKE_PTR(g->request));
    calls_drop(&g->finds);
    calls_drop(&g->kills);
    calls_drop(&g->asks);
    str_take(&g->reason, NULL);
    str_take(&g->io_reason, NULL);
    str_take(&g->end_reason, NULL);
    close_fd(&g->dirfd);
    uv_close((uv_handle_t *)&g->timer, on_closed);
}

/* What is told may make the agent call us again, so a guest is freed only when nobody is using it. */
void guest_hold(struct guest *g) { g->in_use++; }
void guest_release(struct guest *g) {
    if (--g->in_use == 0 && g->phase == GUEST_ABSENT && !g->process && !g->request && list_empty(&g->finds) &&
        list_empty(&g->kills))
        guest_free(g);
}

/* ---- telling ---- */

void guest_call_done(struct guest *g, uint64_t call, const struct error *e, json_t *result) {
    g->h->events->done(g->h->ctx, call, e, result);
    json_decref(result);
}

void guest_call_fail(struct guest *g, uint64_t call, enum error_code code, const char *fmt, ...) {
    _cleanup_error_ struct error e = ERROR_INIT;
    va_list ap;
    va_start(ap, fmt);
    e = (struct error){.code = code, .message = xvasprintf(fmt, ap)};
    va_end(ap);
    guest_call_done(g, call, &e, NULL);
}

static struct guest_call *call_new(struct guest *g, struct list *to, uint64_t id) {
    struct guest_call *c = xcalloc(1, sizeof *c);
    *c = (struct guest_call){.guest = g, .id = id};
    list_append(to, &c->link);
    return c;
}

/* Ends every call of a list: with this error, or NULL for success. */
static void calls_end(struct guest *g, struct list *calls, const struct error *e, json_t *result) {
    struct guest_call *c;
    guest_hold(g);
    while ((c = list_first(calls, struct guest_call, link))) {
        uint64_t id = c->id;
        list_remove(&c->link);
        free(c);
        guest_call_done(g, id, e, json_incref(result));
    }
    json_decref(result);
    guest_release(g);
}

static void guest_tell(struct guest *g, enum guest_event event) {
    static const char *const names[] = {"running", "paused", "reset", "power-off", "panicked", "died"};
    log_info("guest %s: %s%s%s", g->vm, names[event], str_empty(g->reason) ? "" : ": ", str_or(g->reason, ""));
    g->h->events->guest(g->h->ctx, g->vm, event, str_or(g->reason, ""));
}

json_t *guest_report(const struct guest *g) {
    static const enum api_vm_state states[] = {
        [GUEST_ABSENT] = API_VM_STATE_UNKNOWN,      [GUEST_FINDING] = API_VM_STATE_RUNNING,
        [GUEST_STARTING] = API_VM_STATE_STARTING,   [GUEST_IS_RUNNING] = API_VM_STATE_RUNNING,
        [GUEST_IS_PAUSED] = API_VM_STATE_SUSPENDED, [GUEST_IS_OFF] = API_VM_STATE_STOPPED,
        [GUEST_IS_PANICKED] = API_VM_STATE_CRASHED, [GUEST_IS_INCOMING] = API_VM_STATE_SUSPENDED};
    char started[TIME_TEXT_MAX] = "";
    if (g->process && qemu_process_started(g->process) > 0)
        time_format(qemu_process_started(g->process), started);
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "vm", g->vm, "hypervisor", "qemu", "state",
                     api_vm_state_text(states[g->phase]), "reason", str_or(g->reason, ""), "started", started);
}

/* ---- phases ---- */

static const enum guest_event events[] = {[GUEST_IS_RUNNING] = GUEST_RUNNING,
                                          [GUEST_IS_PAUSED] = GUEST_PAUSED,
                                          [GUEST_IS_OFF] = GUEST_POWEROFF,
                                          [GUEST_IS_PANICKED] = GUEST_PANICKED};

static bool is_settled(enum guest_phase phase) { return phase == GUEST_IS_RUNNING || phase == GUEST_IS_PAUSED; }

/* Enters the phase that QEMU's status names, and tells if that is news to one who thought it ran. */
static void guest_set_phase(struct guest *g, enum guest_phase phase, const char *reason) {
    enum guest_phase before = g->phase;
    if (before == phase || before == GUEST_ABSENT || (before == GUEST_IS_INCOMING && phase == GUEST_IS_PAUSED))
        return;
    if (is_settled(before) && is_settled(phase) && qemu_move_busy(g->move))
        return; /* the move's doing; it tells at its end how the guest is */
    g->phase = phase;
    str_set(&g->reason, reason);
    if (before == GUEST_STARTING && phase == GUEST_IS_INCOMING && g->request) {
        struct guest_start_request *r = TAKE_PTR(g->request);
        uint64_t call = r->call;
        request_free(r);
        qemu_move_ready(g, call);
        return;
    }
    if (before == GUEST_FINDING || before == GUEST_STARTING) {
        guest_hold(g);
        /* Found by a start, but only kept to tell why it ended: it makes way, and the start goes on behind it. */
        bool over = phase == GUEST_IS_OFF || phase == GUEST_IS_PANICKED || phase == GUEST_IS_INCOMING;
        bool in_the_way = before == GUEST_FINDING && (over || (g->request && g->request->incoming));
        struct guest_start_request *r = in_the_way ? NULL : TAKE_PTR(g->request);
        uint64_t call = r ? r->call : 0;
        request_free(r);
        if (r)
            guest_call_done(g, call, NULL, guest_report(g));
        calls_end(g, &g->finds, NULL, guest_report(g));
        /* It was told to run, and has ended already. */
        if (before == GUEST_STARTING && phase != GUEST_IS_RUNNING && g->phase == phase && phase != GUEST_IS_INCOMING)
            guest_tell(g, events[phase]);
        if (phase == GUEST_IS_INCOMING)
            qemu_move_watch(g);
        if (before == GUEST_FINDING && g->phase == GUEST_IS_RUNNING && qmp_is_open(g->qmp))
            qemu_move_arriving(g);
        if (g->request && in_the_way && g->process)
            process_quit(g);
        guest_release(g);
        return;
    }
    if (phase != GUEST_IS_INCOMING)
        guest_tell(g, events[phase]);
}

void guest_enter(struct guest *g, enum guest_phase phase) {
    g->phase = phase;
    str_take(&g->reason, NULL);
}

static void guest_set_status(struct guest *g, const char *status) {
    static const struct {
        const char *status;
        enum guest_phase phase;
        const char *reason;
    } table[] = {
        {"running", GUEST_IS_RUNNING, ""},
        {"shutdown", GUEST_IS_OFF, "the guest powered itself off"},
        {"guest-panicked", GUEST_IS_PANICKED, "the guest's kernel panicked"},
        {"internal-error", GUEST_IS_PANICKED, "QEMU or KVM cannot run the guest any further (internal error)"},
        {"watchdog", GUEST_IS_PANICKED, "the guest's watchdog fired"},
        {"io-error", GUEST_IS_PAUSED, "reading or writing a disk failed; see to the storage, then resume it"},
        {"suspended", GUEST_IS_PAUSED, "the guest has put itself to sleep"},
        {"inmigrate", GUEST_IS_INCOMING, ""},
        {"postmigrate", GUEST_IS_PAUSED, "it has been sent to another server"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (!str_eq(status, table[i].status))
            continue;
        bool detail = str_eq(status, "io-error") && !str_empty(g->io_reason);
        guest_set_phase(g, table[i].phase, detail ? g->io_reason : table[i].reason);
        return;
    }
    _cleanup_free_ char *other = xasprintf("QEMU says \"%.40s\"", status);
    qmp_text_clean(other);
    guest_set_phase(g, GUEST_IS_PAUSED, str_eq(status, "paused") ? "" : other);
}

/* ---- the end of the process ---- */

static char *end_text(const struct guest *g, bool known, struct child_exit how, const char *last) {
    const char *before = str_empty(g->end_reason) ? "" : g->end_reason;
    const char *colon = str_empty(last) ? "" : ": ";
    if (*before)
        return xasprintf("%s%s%s", before, colon, last);
    if (known && how.signalled)
        return xasprintf("QEMU was killed by signal %d (%s)%s%s", how.value, strsignal(how.value), colon, last);
    if (known)
        return xasprintf("QEMU ended with status %d%s%s", how.value, colon, last);
    return xasprintf("QEMU ended%s%s", colon, last);
}

static void on_process_end(void *ctx, bool known, struct child_exit how, const char *last) {
    struct guest *g = ctx;
    guest_hold(g);
    enum guest_phase before = g->phase;
    _cleanup_error_ struct error gone = ERROR_INIT;
    _cleanup_free_ char *text = end_text(g, known, how, last);
    error_set(&gone, ERR_GUEST, "%s", text);
    timer_set(g, 0, NULL);
    qmp_free(TAKE_PTR(g->qmp));
    qemu_console_free(TAKE_PTR(g->console));
    qemu_process_free(TAKE_PTR(g->process));
    g->phase = GUEST_ABSENT;
    g->unheard = false;
    str_set(&g->reason, text);
    bool wanted = !list_empty(&g->kills);
    struct guest_start_request *failed = before == GUEST_STARTING ? TAKE_PTR(g->request) : NULL;
    if (failed) {
        uint64_t call = failed->call;
        request_free(failed);
        guest_call_done(g, call, &gone, NULL);
    }
    calls_end(g, &g->finds, NULL, guest_report(g));
    if (g->move)
        qemu_move_ended(g->move, text);
    calls_end(g, &g->asks, &gone, NULL);
    calls_end(g, &g->kills, NULL, NULL);
    if (!wanted && !g->request &&
        (before == GUEST_IS_RUNNING || before == GUEST_IS_PAUSED || before == GUEST_IS_INCOMING)) {
        str_set(&g->reason, text);
        guest_tell(g, GUEST_DIED);
    }
    if (g->phase == GUEST_ABSENT && g->request)
        guest_launch(g);
    guest_release(g);
}

static void on_quit_late(struct guest *g) {
    if (g->process)
        qemu_process_kill(g->process);
}

/* Asks QEMU to end, so that it closes its images properly, and soon makes it. */
static void process_quit(struct guest *g) {
    if (!qmp_is_open(g->qmp)) {
        qemu_process_kill(g->process);
        return;
    }
    if (g->on_time == on_quit_late)
        return;
    qmp_call(g->qmp, "quit", NULL, ASK_TIMEOUT_MS, NULL, NULL);
    timer_set(g, QUIT_MS, on_quit_late);
}

/* ---- the monitor ---- */

static void guest_look(struct guest *g, int64_t timeout_ms) {
    g->looks++;
    qmp_call(g->qmp, "query-status", NULL, timeout_ms, on_status, g);
}

/* Its monitor answers again, after its find was answered without knowing: what that would have told is told now. */
static void heard_at_last(struct guest *g, const char *status) {
    guest_hold(g);
    g->unheard = false;
    g->phase = GUEST_FINDING;
    guest_set_status(g, status);
    if (g->phase == GUEST_IS_PAUSED || g->phase == GUEST_IS_OFF || g->phase == GUEST_IS_PANICKED)
        guest_tell(g, events[g->phase]);
    guest_release(g);
}

static void on_status(void *ctx, const struct error *error, const json_t *result) {
    struct guest *g = ctx;
    g->looks--;
    if (!error && json_is_string(json_object_get(result, "status"))) {
        if (g->monitor_tries >= RECONNECT_TRIES || g->unheard)
            log_info("guest %s: QEMU's monitor answers again", g->vm);
        g->monitor_tries = 0;
        if (g->unheard)
            heard_at_last(g, json_str(result, "status"));
        else
            guest_set_status(g, json_str(result, "status"));
        return;
    }
    /* When the connection has closed, on_monitor_closed tries the other one. */
    if (!qmp_is_open(g->qmp))
        return;
    log_info("guest %s: QEMU does not tell its status: %s", g->vm, error ? error->message : "a malformed answer");
    if (g->phase == GUEST_STARTING) {
        str_set(&g->end_reason, "QEMU did not become ready in time");
        qemu_process_kill(g->process);
    } else if (g->phase == GUEST_FINDING) {
        monitor_lost(g);
    } else if (is_settled(g->phase) && error && error->code == ERR_TIMEOUT && !g->looks) {
        guest_look(g, ASK_TIMEOUT_MS); /* QEMU waits for a disk, say, and answers when that does */
    }
}

static void on_reconnect(struct guest *g) {
    if (g->process && !g->qmp)
        monitor_open(g, FIND_TIMEOUT_MS);
}

/* No monitor answers. A guest that runs all the same is reported so; it can only be killed. */
static void monitor_lost(struct guest *g) {
    qmp_free(TAKE_PTR(g->qmp));
    if (g->on_time == on_quit_late)
        return;
    g->spare = !g->spare;
    if (++g->monitor_tries < (g->phase == GUEST_FINDING ? 4 : RECONNECT_TRIES)) {
        timer_set(g, RECONNECT_MS, on_reconnect);
        return;
    }
    timer_set(g, RECONNECT_LATE_MS, on_reconnect);
    if (g->monitor_tries > RECONNECT_TRIES || g->unheard)
        return;
    log_error("guest %s: QEMU runs, but its monitor does not answer", g->vm);
    if (g->phase != GUEST_FINDING)
        return;
    g->unheard = true;
    guest_set_phase(g, GUEST_IS_RUNNING,
                    "QEMU runs, but its monitor does not answer; kill it when it has to be stopped");
}

static void on_monitor_closed(void *ctx, const char *why) {
    struct guest *g = ctx;
    log_debug("guest %s: monitor: %s", g->vm, why);
    monitor_lost(g);
}

static void on_shutdown(struct guest *g, const json_t *data) {
    const char *reason = json_str(data, "reason");
    if (json_bool(data, "guest", false))
        guest_set_phase(g, GUEST_IS_OFF, "the guest powered itself off");
    else if (str_eq(reason, "host-signal"))
        str_set(&g->end_reason, "QEMU was terminated from outside");
    else if (str_eq(reason, "host-qmp-quit"))
        str_set(&g->end_reason, "QEMU was told to quit on its monitor");
}

static void on_io_error(struct guest *g, const json_t *data) {
    if (!str_eq(json_str(data, "action"), "stop"))
        return;
    const char *node = json_str(data, "node-name");
    bool full = json_bool(data, "nospace", false);
    str_take(&g->io_reason,
             xasprintf("%s %.31s failed: %.200s; %s, then resume it",
                       str_eq(json_str(data, "operation"), "read") ? "reading" : "writing", str_or(node, "a disk"),
                       str_or(json_str(data, "reason"), "I/O error"), full ? "make room" : "see to the storage"));
    qmp_text_clean(g->io_reason);
}

/* Whether we are about to bring it into that phase ourselves. */
static bool guest_is_asked(const struct guest *g, enum guest_phase then) {
    const struct guest_call *c;
    list_for_each(c, &g->asks, link) if (c->then == then) return true;
    return false;
}

static void on_event(void *ctx, const char *name, const json_t *data) {
    struct guest *g = ctx;
    bool runs = g->phase == GUEST_IS_RUNNING, paused = g->phase == GUEST_IS_PAUSED;
    guest_hold(g);
    if (str_eq(name, "SHUTDOWN")) {
        on_shutdown(g, data);
    } else if (str_eq(name, "GUEST_PANICKED")) {
        guest_set_phase(g, GUEST_IS_PANICKED, "the guest's kernel panicked");
    } else if (str_eq(name, "RESET") && json_bool(data, "guest", false) && runs) {
        str_set(&g->reason, "the guest restarted itself");
        guest_tell(g, GUEST_RESET);
        str_take(&g->reason, NULL);
    } else if (str_eq(name, "BLOCK_IO_ERROR")) {
        on_io_error(g, data);
    } else if (str_eq(name, "MIGRATION") && g->move) {
        qemu_move_event(g->move, json_str(data, "status"));
    } else if ((str_eq(name, "STOP") || str_eq(name, "RESUME")) && qemu_move_busy(g->move)) {
        ; /* its doing: how the guest is, it tells at its end */
    } else if (str_eq(name, "STOP") && runs && !guest_is_asked(g, GUEST_IS_PAUSED)) {
        /* Why, only the status says: somebody else, a full disk, an error of KVM's. */
        guest_look(g, ASK_TIMEOUT_MS);
    } else if (str_eq(name, "RESUME") && paused && !guest_is_asked(g, GUEST_IS_RUNNING)) {
        guest_set_phase(g, GUEST_IS_RUNNING, "");
    }
    guest_release(g);
}

static const struct qmp_handler monitor_handler = {.event = on_event, .closed = on_monitor_closed};

/* qmp_capabilities and query-status go out at once, before QEMU has even begun to read. */
static void monitor_open(struct guest *g, int64_t timeout_ms) {
    int fd = qemu_socket_connect(g->dirfd, g->spare ? QEMU_QMP_SPARE_SOCKET : QEMU_QMP_SOCKET);
    int r = fd < 0 ? fd : qmp_open(g->h->loop, fd, &monitor_handler, g, NULL, timeout_ms, &g->qmp);
    if (r < 0) {
        if (fd >= 0)
            close(fd);
        monitor_lost(g);
        return;
    }
    g->looks = 0; /* what was asked on another connection is not answered any more */
    guest_look(g, timeout_ms);
}

static void console_open(struct guest *g) {
    int fd = qemu_socket_connect(g->dirfd, QEMU_SERIAL_SOCKET);
    g->console = qemu_console_new(g->h->loop);
    int r = fd < 0 ? fd : qemu_console_connect(g->console, fd);
    if (r < 0)
        log_warning("guest %s: no serial console: %s", g->vm, strerror(-r));
}

/* ---- finding ---- */

int guest_directory_open(struct guest *g, bool make) {
    if (g->dirfd < 0)
        g->dirfd = make ? make_dir(g->h->state_dirfd, g->vm, 0700)
                        : open_beneath(g->h->state_dirfd, g->vm, O_RDONLY | O_DIRECTORY, 0);
    return g->dirfd < 0 ? g->dirfd : 0;
}

/* Takes up a process from an earlier life of the agent: 0, -ENOENT if there is none, or why that cannot be told. */
int guest_take_up(struct guest *g) {
    const char *reason = "no process of it exists";
    if (g->process)
        return 0;
    int r = guest_directory_open(g, false);
    if (r == 0) {
        struct qemu_process_spec spec = {
            .loop = g->h->loop, .dirfd = g->dirfd, .vm = g->vm, .on_end = on_process_end, .ctx = g};
        r = qemu_process_find(&spec, &g->process, &reason);
    }
    if (r == 0) {
        g->phase = GUEST_FINDING;
        g->spare = false;
        g->monitor_tries = 0;
        g->display = true; /* not known; QEMU says if it has none */
        console_open(g);
        monitor_open(g, FIND_TIMEOUT_MS);
    } else if (r == -ENOENT) {
        str_set(&g->reason, reason);
        if (g->dirfd >= 0)
            qemu_process_clean(g->dirfd);
    }
    return r;
}

static void take_up_fail(struct guest *g, uint64_t call, int r) {
    guest_call_fail(g, call, ERR_IO, "whether the guest runs cannot be told: %s", strerror(-r));
}

void guest_find(struct guest *g, uint64_t call) {
    guest_hold(g);
    int r = guest_take_up(g);
    if (r < 0 && r != -ENOENT) {
        take_up_fail(g, call, r);
    } else {
        call_new(g, &g->finds, call);
        if (g->phase != GUEST_FINDING)
            calls_end(g, &g->finds, NULL, guest_report(g));
    }
    guest_release(g);
}

/* ---- starting ---- */

static int64_t tsc_khz(const struct hypervisor *h) {
    uint64_t ns = uv_hrtime() - h->hrtime_at_open;
    /* Too short to be exact: the guest had better find out itself. */
    if (ns < 20 * 1000 * 1000)
        return 0;
    return (int64_t)((double)(__rdtsc() - h->tsc_at_open) * 1e6 / (double)ns);
}

static void sockets_done(struct qemu_sockets *s) {
    close_fd(&s->qmp);
    close_fd(&s->qmp_spare);
    close_fd(&s->serial);
}

static int sockets_make(struct guest *g, struct qemu_sockets *s, struct error *e) {
    s->qmp = qemu_socket_listen(g->dirfd, QEMU_QMP_SOCKET);
    s->qmp_spare = qemu_socket_listen(g->dirfd, QEMU_QMP_SPARE_SOCKET);
    s->serial = qemu_socket_listen(g->dirfd, QEMU_SERIAL_SOCKET);
    if (s->qmp >= 0 && s->qmp_spare >= 0 && s->serial >= 0)
        return 0;
    return error_set(e, ERR_IO, "the guest's sockets cannot be made in its state directory");
}

static int process_make(struct guest *g, struct error *e) {
    struct hypervisor *h = g->h;
    struct guest_start_request *r = g->request;
    _cleanup_(sockets_done) struct qemu_sockets sockets = {-1, -1, -1};
    _cleanup_(qemu_args_done) struct qemu_args args = {0};
    if (!h->usable)
        return error_set(e, ERR_UNSUPPORTED, "%s", str_or(h->unusable_reason, "QEMU cannot be used on this server"));
    int result = guest_directory_open(g, true);
    if (result < 0)
        return error_set(e, result == -ENOSPC ? ERR_NO_SPACE : ERR_IO, "the guest's state directory cannot be made: %s",
                         strerror(-result));
    result = sockets_make(g, &sockets, e);
    if (result < 0)
        return result;
    h->host.tsc_khz = tsc_khz(h);
    h->host.incoming = r->incoming;
    result = qemu_args_make(&r->start, &r->files, &h->host, &sockets, &args, e);
    h->host.incoming = NULL;
    if (result < 0)
        return result;
    struct child_gate gate = {.fd = -1};
    result = h->events->gate ? h->events->gate(h->ctx, &r->start, &gate, e) : 0;
    if (result < 0)
        return result;
    _cleanup_(child_groups_done) struct child_groups groups = {.into = -1};
    result = h->events->groups ? h->events->groups(h->ctx, &r->start, &groups, e) : 0;
    if (result < 0)
        return result;
    struct qemu_process_spec spec = {.loop = h->loop,
                                     .dirfd = g->dirfd,
                                     .vm = g->vm,
                                     .gate = gate.fd >= 0 ? &gate : NULL,
                                     .groups = &groups,
                                     .on_end = on_process_end,
                                     .ctx = g};
    return qemu_process_spawn(&spec, &args, h->user, wall_ms(), &g->process, e);
}

static void guest_launch(struct guest *g) {
    _cleanup_error_ struct error e = ERROR_INIT;
    if (!g->h->probed)
        return; /* guest_launch_waiting() comes */
    guest_hold(g);
    str_take(&g->reason, NULL);
    str_take(&g->io_reason, NULL);
    str_take(&g->end_reason, NULL);
    g->spare = false;
    g->monitor_tries = 0;
    g->disk_read = g->disk_write = 0;
    g->disks_asked = 0;
    if (process_make(g, &e) < 0) {
        struct guest_start_request *r = TAKE_PTR(g->request);
        uint64_t call = r->call;
        request_free(r);
        if (g->dirfd >= 0)
            qemu_process_clean(g->dirfd);
        guest_call_done(g, call, &e, NULL);
    } else {
        g->phase = GUEST_STARTING;
        g->display =
            g->request->start.vm.display == API_DISPLAY_VNC && g->request->start.vm.machine != API_MACHINE_MICROVM;
        /* They are QEMU's now; its locks go with its own descriptors. */
        guest_files_done(&g->request->files);
        monitor_open(g, START_TIMEOUT_MS);
        console_open(g);
    }
    guest_release(g);
}

void guest_launch_waiting(struct guest *g) {
    if (g->request && g->phase == GUEST_ABSENT && !g->process)
        guest_launch(g);
}

static void start_decide(struct guest *g, struct guest_start_request *r) {
    uint64_t call = r->call;
    switch (g->phase) {
    case GUEST_IS_RUNNING:
    case GUEST_IS_PAUSED:
        if (r->incoming) { /* whoever asks for this knows that it has never run */
            g->request = r;
            process_quit(g);
            break;
        }
        request_free(r);
        guest_call_done(g, call, NULL, guest_report(g));
        break;
    case GUEST_ABSENT:
        g->request = r;
        guest_launch(g);
        break;
    case GUEST_IS_OFF:
    case GUEST_IS_PANICKED:
    case GUEST_IS_INCOMING:
        g->request = r;
        process_quit(g);
        break;
    default:
        g->request = r; /* found just now: guest_set_phase() decides when its status has come */
    }
}

static void request_begin(struct guest *g, struct guest_start_request *r, const struct api_guest_start *start,
                          struct guest_files *files) {
    uint64_t call = r->call;
    guest_hold(g);
    r->files = *files;
    guest_files_init(files);
    api_guest_start_copy(&r->start, start);
    int found = g->request || !list_empty(&g->kills) ? -EBUSY : guest_take_up(g);
    if (found == 0 || found == -ENOENT) {
        start_decide(g, r);
    } else {
        request_free(r);
        if (found == -EBUSY)
            guest_call_fail(g, call, ERR_CONFLICT, "this guest is being started or stopped already");
        else
            take_up_fail(g, call, found);
    }
    guest_release(g);
}

void guest_start(struct guest *g, uint64_t call, const struct api_guest_start *start, struct guest_files *files) {
    struct guest_start_request *r = xcalloc(1, sizeof *r);
    r->call = call;
    request_begin(g, r, start, files);
}

void guest_receive(struct guest *g, uint64_t call, const struct api_guest_receive *a, struct guest_files *files) {
    struct guest_start_request *r = xcalloc(1, sizeof *r);
    r->call = call;
    r->incoming = xstrdup(a->source.machine);
    request_begin(g, r, &a->start, files);
}

/* ---- stopping, pausing ---- */

void guest_kill(struct guest *g, uint64_t call) {
    guest_hold(g);
    int r = guest_take_up(g);
    if (r < 0 && r != -ENOENT) {
        take_up_fail(g, call, r);
        guest_release(g);
        return;
    }
    call_new(g, &g->kills, call);
    if (g->request && g->phase == GUEST_ABSENT) {
        struct guest_start_request *waiting = TAKE_PTR(g->request);
        uint64_t started = waiting->call;
        request_free(waiting);
        guest_call_fail(g, started, ERR_CANCELLED, "it was killed before it had started");
    }
    if (g->process)
        process_quit(g);
    else
        calls_end(g, &g->kills, NULL, NULL);
    guest_release(g);
}

void guest_forget(struct guest *g, uint64_t call) {
    guest_hold(g);
    int r = g->request ? 0 : guest_take_up(g);
    if (r == -ENOENT)
        r = remove_tree_at(g->h->state_dirfd, g->vm);
    else if (r == 0)
        r = -EBUSY;
    if (r == 0) {
        close_fd(&g->dirfd);
        guest_call_done(g, call, NULL, NULL);
    } else if (r == -EBUSY) {
        guest_call_fail(g, call, ERR_CONFLICT, "the guest runs; stop it first");
    } else {
        guest_call_fail(g, call, ERR_IO, "the guest's state directory cannot be removed: %s", strerror(-r));
    }
    guest_release(g);
}

static void on_asked(void *ctx, const struct error *error, const json_t *result) {
    struct guest_call *c = ctx;
    struct guest *g = c->guest;
    uint64_t call = c->id;
    enum guest_phase then = c->then;
    guest_hold(g);
    list_remove(&c->link);
    free(c);
    if (!error && then != GUEST_ABSENT && is_settled(g->phase)) {
        g->phase = then;
        str_take(&g->reason, NULL);
    }
    /* It may do it yet: "stop" waits for what the disks still write, and its event came before and was expected. */
    if (error && error->code == ERR_TIMEOUT && then != GUEST_ABSENT && qmp_is_open(g->qmp) && !g->looks)
        guest_look(g, ASK_TIMEOUT_MS);
    guest_call_done(g, call, error, error ? NULL : guest_report(g));
    guest_release(g);
}

void guest_ask(struct guest *g, uint64_t call, const char *command, json_t *args, enum guest_phase then) {
    if (!is_settled(g->phase)) {
        guest_call_fail(g, call, ERR_CONFLICT, "the guest does not run");
    } else if (!qmp_is_open(g->qmp)) {
        guest_call_fail(g, call, ERR_GUEST, "QEMU's monitor does not answer; the guest can only be killed");
    } else if (then == g->phase && then != GUEST_ABSENT) {
        guest_call_done(g, call, NULL, guest_report(g));
    } else {
        struct guest_call *c = call_new(g, &g->asks, call);
        c->then = then;
        qmp_call(g->qmp, command, TAKE_PTR(args), ASK_TIMEOUT_MS, on_asked, c);
    }
    json_decref(args);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hypervisor driver that runs no guest: states, events, consoles and statistics as a real one, a few hundred bytes
 * for each guest. The kernel command line of a guest can make it misbehave: "sim.poweroff=N", "sim.reset=N",
 * "sim.panic=N" and "sim.die=N" happen N seconds after its start, "sim.deaf" ignores its power button, "sim.fail" does
 * not start.
 *
 * Its guests live as long as the process.
 */
#include "agent/hypervisor/sim.h"

#include "agent/delay.h"
#include "agent/hypervisor/hypervisor.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/units.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int latency;
void hypervisor_sim_set_latency(int ms) { latency = ms; }

enum fate { FATE_NONE, FATE_POWEROFF, FATE_RESET, FATE_PANIC, FATE_DIE };

struct guest {
    char *name;
    enum api_vm_state state; /* running, suspended; stopped or crashed: kept to tell */
    int64_t started;         /* wall, ms */
    int64_t run_since;       /* mono, ms; while it runs */
    int64_t ran;             /* ms before that */
    int64_t memory;
    int cpus;
    unsigned load; /* percent of its CPUs, by its id */
    bool deaf;
    bool incoming; /* it waits to take over from another server */
    double move_s; /* how long sending it takes */
    enum fate fate;
    int64_t fate_at; /* mono */
};

struct hypervisor {
    const struct hypervisor_driver *driver;
    struct hypervisor_config config;
    struct delay *delay;
    uv_timer_t fates; /* runs while there are guests with one */
    size_t n_fates;
    struct map guests;
    struct list consoles;
    struct list sends; /* struct send */
};

struct console {
    struct list link;
    uv_pipe_t pipe;
};

/* A guest on its way to another server. */
struct send {
    struct list link;
    struct hypervisor *h;
    uv_timer_t timer;
    uint64_t call;
    char *vm;
    int64_t begun, ends; /* mono, ms */
};

struct pending {
    struct hypervisor *h;
    uint64_t call;
    struct error *error;
    json_t *result;
    bool poweroff;
    char *vm;
};

static int64_t clock_ms(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- calls end after the latency ---- */

static void pending_free(void *ctx) {
    struct pending *p = ctx;
    json_decref(p->result);
    if (p->error) {
        error_done(p->error);
        free(p->error);
    }
    free(p->vm);
    free(p);
}

static void event(struct hypervisor *h, const char *vm, enum guest_event e, const char *reason) {
    h->config.events->guest(h->config.ctx, vm, e, reason);
}

static void on_due(void *ctx) {
    struct pending *p = ctx;
    struct hypervisor *h = p->h;
    h->config.events->done(h->config.ctx, p->call, p->error, p->result);
    struct guest *g = p->poweroff ? map_get(&h->guests, p->vm) : NULL;
    if (g && g->state == API_VM_STATE_RUNNING && !g->deaf) {
        g->state = API_VM_STATE_STOPPED;
        event(h, p->vm, GUEST_POWEROFF, NULL);
    }
    pending_free(p);
}

static struct pending *end_later(struct hypervisor *h, uint64_t call, json_t *result) {
    struct pending *p = xcalloc(1, sizeof(*p));
    p->h = h;
    p->call = call;
    p->result = result;
    delay_add(h->delay, on_due, pending_free, p);
    return p;
}

static void fail_later(struct hypervisor *h, uint64_t call, enum error_code code, const char *message) {
    struct pending *p = end_later(h, call, NULL);
    p->error = xcalloc(1, sizeof(*p->error));
    error_set(p->error, code, "%s", message);
}

/* ---- guests ---- */

static void guest_free(struct guest *g) {
    if (!g)
        return;
    free(g->name);
    free(g);
}

static void guest_remove(struct hypervisor *h, const char *vm) {
    struct guest *g = map_remove(&h->guests, vm);
    if (g && g->fate != FATE_NONE)
        h->n_fates--;
    guest_free(g);
    if (h->n_fates == 0)
        uv_timer_stop(&h->fates);
}

static json_t *report(struct hypervisor *h, const char *vm) {
    const struct guest *g = map_get(&h->guests, vm);
    char started[TIME_TEXT_MAX];
    struct api_guest_report r = {.vm = (char *)vm,
                                 .name = g ? g->name : (char *)"",
                                 .state = g ? g->state : API_VM_STATE_UNKNOWN,
                                 .reason = (char *)"",
                                 .hypervisor = (char *)h->driver->name,
                                 .started = g ? (char *)time_format(g->started, started) : (char *)""};
    return api_guest_report_print(&r, API_PUBLIC);
}

static void run_fate(struct hypervisor *h, const char *vm, struct guest *g) {
    enum fate fate = g->fate;
    g->fate = FATE_NONE;
    h->n_fates--;
    switch (fate) {
    case FATE_POWEROFF:
        g->state = API_VM_STATE_STOPPED;
        event(h, vm, GUEST_POWEROFF, NULL);
        return;
    case FATE_PANIC:
        g->state = API_VM_STATE_CRASHED;
        event(h, vm, GUEST_PANICKED, NULL);
        return;
    case FATE_RESET:
        event(h, vm, GUEST_RESET, NULL);
        return;
    case FATE_DIE:
        guest_remove(h, vm);
        event(h, vm, GUEST_DIED, "its simulated process was killed");
        return;
    default:
        return;
    }
}

static void on_fates(uv_timer_t *timer) {
    struct hypervisor *h = timer->data;
    int64_t now = clock_ms(CLOCK_MONOTONIC);
    size_t pos = 0;
    const char *key;
    void *value;
    while (h->n_fates && map_next(&h->guests, &pos, &key, &value)) {
        struct guest *g = value;
        if (g->fate == FATE_NONE || now < g->fate_at || g->state != API_VM_STATE_RUNNING)
            continue;
        _cleanup_free_ char *vm = xstrdup(key);
        run_fate(h, vm, g);
        pos = 0; /* the event may have changed the table */
    }
    if (h->n_fates == 0)
        uv_timer_stop(timer);
}

static void read_fate(struct hypervisor *h, struct guest *g, const char *cmdline) {
    static const struct {
        const char *key;
        enum fate fate;
    } fates[] = {{"sim.poweroff=", FATE_POWEROFF},
                 {"sim.reset=", FATE_RESET},
                 {"sim.panic=", FATE_PANIC},
                 {"sim.die=", FATE_DIE}};
    const char *move = strstr(cmdline, "sim.move=");
    g->deaf = strstr(cmdline, "sim.deaf") != NULL;
    g->move_s = move ? strtod(move + strlen("sim.move="), NULL) : 0;
    for (size_t i = 0; i < ARRAY_LEN(fates) && g->fate == FATE_NONE; i++) {
        const char *p = strstr(cmdline, fates[i].key);
        if (!p)
            continue;
        g->fate = fates[i].fate;
        g->fate_at = clock_ms(CLOCK_MONOTONIC) + (int64_t)(strtod(p + strlen(fates[i].key), NULL) * 1000);
        h->n_fates++;
        uv_timer_start(&h->fates, on_fates, 50, 50);
    }
}

static struct guest *guest_new(struct hypervisor *h, const struct api_vm *vm) {
    struct guest *g = xcalloc(1, sizeof(*g));
    g->name = xstrdup(vm->name);
    g->state = API_VM_STATE_RUNNING;
    g->started = clock_ms(CLOCK_REALTIME);
    g->run_since = clock_ms(CLOCK_MONOTONIC);
    g->memory = vm->memory;
    g->cpus = (int)vm->cpus;
    for (const char *p = vm->id; *p; p++)
        g->load = (g->load * 31 + (unsigned char)*p) % 97;
    g->load = 2 + g->load / 4;
    map_put(&h->guests, vm->id, g);
    read_fate(h, g, vm->cmdline);
    return g;
}

/* ---- the driver ---- */

static int sim_open(const struct hypervisor_config *config, struct hypervisor **ret, struct error *e) {
    struct hypervisor *h = xcalloc(1, sizeof(*h));
    h->driver = &hypervisor_sim;
    h->config = *config;
    h->delay = delay_new(config->loop, latency);
    list_init(&h->consoles);
    list_init(&h->sends);
    uv_timer_init(config->loop, &h->fates);
    h->fates.data = h;
    *ret = h;
    return 0;
}

static void on_console_closed(uv_handle_t *handle) { free(handle->data); }

static void console_free(struct console *c) {
    list_remove(&c->link);
    uv_close((uv_handle_t *)&c->pipe, on_console_closed);
}

static void on_closed(uv_handle_t *handle) { free(handle->data); }

static void send_free(struct send *s) {
    list_remove(&s->link);
    free(s->vm);
    uv_close((uv_handle_t *)&s->timer, on_closed);
}

static void sim_close(struct hypervisor *h) {
    struct console *c, *next;
    list_for_each_safe(c, next, &h->consoles, link) console_free(c);
    struct send *send, *next_send;
    list_for_each_safe(send, next_send, &h->sends, link) send_free(send);
    size_t pos = 0;
    void *value;
    while (map_next(&h->guests, &pos, NULL, &value))
        guest_free(value);
    map_done(&h->guests);
    delay_free(h->delay);
    uv_close((uv_handle_t *)&h->fates, on_closed);
}

static void sim_probe(struct hypervisor *h, void (*ready)(void *ctx, const struct api_hypervisor *info), void *ctx) {
    static char *capabilities[] = {(char *)"pause", (char *)"serial", (char *)"uefi", (char *)"direct-boot",
                                   (char *)"cloud-init", (char *)"migrate"};
    struct api_hypervisor info = {.driver = (char *)h->driver->name,
                                  .version = (char *)TARN_VERSION,
                                  .accelerator = (char *)"none",
                                  .reason = (char *)"simulated: no guest runs",
                                  .usable = true,
                                  .capabilities = capabilities,
                                  .n_capabilities = ARRAY_LEN(capabilities)};
    ready(ctx, &info);
}

static size_t sim_cpu_models(struct hypervisor *h, const char *const **ret) {
    static const char *const models[] = {"Broadwell-noTSX", "Haswell-noTSX", "IvyBridge",
                                         "Nehalem",         "SandyBridge",   "Skylake-Server-noTSX-IBRS",
                                         "Westmere",        "kvm64",         "qemu64"};
    *ret = models;
    return ARRAY_LEN(models);
}

static void sim_find(struct hypervisor *h, uint64_t call, const char *vm) { end_later(h, call, report(h, vm)); }

static void sim_start(struct hypervisor *h, uint64_t call, const struct api_guest_start *start,
                      struct guest_files *files) {
    guest_files_done(files);
    struct guest *g = map_get(&h->guests, start->vm.id);
    if (g && g->state != API_VM_STATE_RUNNING && g->state != API_VM_STATE_SUSPENDED) {
        guest_remove(h, start->vm.id);
        g = NULL;
    }
    if (strstr(start->vm.cmdline, "sim.fail")) {
        fail_later(h, call, ERR_GUEST, "the simulated guest does not start (sim.fail on its command line)");
        return;
    }
    if (!g)
        guest_new(h, &start->vm);
    end_later(h, call, report(h, start->vm.id));
}

static void sim_shutdown(struct hypervisor *h, uint64_t call, const char *vm) {
    struct pending *p = end_later(h, call, NULL);
    p->poweroff = true;
    p->vm = xstrdup(vm);
}

static void sim_kill(struct hypervisor *h, uint64_t call, const char *vm) {
    guest_remove(h, vm);
    end_later(h, call, NULL);
}

static void sim_suspend(struct hypervisor *h, uint64_t call, const char *vm) {
    struct guest *g = map_get(&h->guests, vm);
    if (!g || (g->state != API_VM_STATE_RUNNING && g->state != API_VM_STATE_SUSPENDED)) {
        fail_later(h, call, ERR_CONFLICT, "the guest does not run");
        return;
    }
    if (g->state == API_VM_STATE_RUNNING)
        g->ran += clock_ms(CLOCK_MONOTONIC) - g->run_since;
    g->state = API_VM_STATE_SUSPENDED;
    end_later(h, call, NULL);
}

static void sim_resume(struct hypervisor *h, uint64_t call, const char *vm) {
    struct guest *g = map_get(&h->guests, vm);
    if (!g || (g->state != API_VM_STATE_RUNNING && g->state != API_VM_STATE_SUSPENDED)) {
        fail_later(h, call, ERR_CONFLICT, "the guest does not run");
        return;
    }
    if (g->state == API_VM_STATE_SUSPENDED)
        g->run_since = clock_ms(CLOCK_MONOTONIC);
    g->state = API_VM_STATE_RUNNING;
    end_later(h, call, NULL);
}

static void sim_forget(struct hypervisor *h, uint64_t call, const char *vm) {
    guest_remove(h, vm);
    end_later(h, call, NULL);
}

/* ---- live migration: nothing is sent; both sides only do as if ---- */

static void sim_offer(struct hypervisor *h, uint64_t call, const struct api_guest_offer *a) {
    struct api_guest_offered r = {.vm = a->vm,
                                  .certificate = (char *)"",
                                  .machine = (char *)"sim",
                                  .accelerator = (char *)"none",
                                  .version = (char *)TARN_VERSION};
    end_later(h, call, api_guest_offered_print(&r, API_PUBLIC));
}

static void sim_receive(struct hypervisor *h, uint64_t call, const struct api_guest_receive *a,
                        struct guest_files *files) {
    guest_files_done(files);
    guest_remove(h, a->vm);
    struct guest *g = guest_new(h, &a->start.vm);
    if (g->fate != FATE_NONE) /* it happened to it where it was started, or will not */
        h->n_fates--;
    g->fate = FATE_NONE;
    g->state = API_VM_STATE_SUSPENDED;
    g->incoming = true;
    struct api_guest_received r = {.vm = a->vm, .address = a->address, .port = 1, .certificate = (char *)""};
    end_later(h, call, api_guest_received_print(&r, API_PUBLIC));
}

static void guest_pause(struct guest *g) {
    if (g->state == API_VM_STATE_RUNNING)
        g->ran += clock_ms(CLOCK_MONOTONIC) - g->run_since;
    g->state = API_VM_STATE_SUSPENDED;
}

static void guest_continue(struct guest *g) {
    if (g->state != API_VM_STATE_RUNNING)
        g->run_since = clock_ms(CLOCK_MONOTONIC);
    g->state = API_VM_STATE_RUNNING;
}

static bool is_alive(const struct guest *g) {
    return g && (g->state == API_VM_STATE_RUNNING || g->state == API_VM_STATE_SUSPENDED);
}

static void send_ends(struct send *s, enum error_code code, const char *message) {
    struct hypervisor *h = s->h;
    struct guest *g = map_get(&h->guests, s->vm);
    uint64_t call = s->call;
    if (code == ERR_OK && is_alive(g))
        guest_pause(g);
    json_t *result = report(h, s->vm);
    _cleanup_error_ struct error e = ERROR_INIT;
    if (code != ERR_OK)
        error_set(&e, code, "%s", message);
    send_free(s);
    h->config.events->done(h->config.ctx, call, code == ERR_OK ? NULL : &e, result);
    json_decref(result);
}

static void on_send(uv_timer_t *timer) {
    struct send *s = timer->data;
    int64_t now = clock_ms(CLOCK_MONOTONIC), whole = s->ends - s->begun;
    const struct guest *g = map_get(&s->h->guests, s->vm);
    if (!is_alive(g)) {
        send_ends(s, ERR_GUEST, "the guest has ended");
    } else if (now >= s->ends) {
        send_ends(s, ERR_OK, NULL);
    } else {
        _cleanup_free_ char *message = xasprintf("about %lld s", (long long)(s->ends - now + 999) / 1000);
        s->h->config.events->progress(s->h->config.ctx, s->call, (int)((now - s->begun) * 100 / whole), message);
    }
}

static void sim_send(struct hypervisor *h, uint64_t call, const struct api_guest_send *a) {
    const struct guest *g = map_get(&h->guests, a->vm);
    if (!is_alive(g)) {
        fail_later(h, call, ERR_CONFLICT, "the guest does not run");
        return;
    }
    struct send *s = xcalloc(1, sizeof(*s));
    s->h = h;
    s->call = call;
    s->vm = xstrdup(a->vm);
    s->begun = clock_ms(CLOCK_MONOTONIC);
    s->ends = s->begun + latency + (int64_t)(g->move_s * 1000);
    list_append(&h->sends, &s->link);
    uv_timer_init(h->config.loop, &s->timer);
    s->timer.data = s;
    uv_timer_start(&s->timer, on_send, latency > 0 ? (uint64_t)latency : 1, 250);
}

static void sim_cancel(struct hypervisor *h, uint64_t call) {
    struct send *s, *next;
    list_for_each_safe(s, next, &h->sends, link) {
        if (s->call == call)
            send_ends(s, ERR_CANCELLED, "cancelled on request");
    }
}

static void sim_unsend(struct hypervisor *h, uint64_t call, const struct api_guest_move *a) {
    struct guest *g = map_get(&h->guests, a->vm);
    if (is_alive(g) && a->running)
        guest_continue(g);
    end_later(h, call, report(h, a->vm));
}

static void sim_activate(struct hypervisor *h, uint64_t call, const struct api_guest_activate *a) {
    struct guest *g = map_get(&h->guests, a->vm);
    if (!is_alive(g)) {
        fail_later(h, call, g && g->incoming ? ERR_CONFLICT : ERR_GUEST, "the guest is not there");
        return;
    }
    g->incoming = false;
    if (!a->suspended)
        guest_continue(g);
    end_later(h, call, report(h, a->vm));
}

static void sim_cdrom(struct hypervisor *h, uint64_t call, const char *vm, int index, int fd) {
    const struct guest *g = map_get(&h->guests, vm);
    if (fd >= 0)
        close(fd);
    if (!g || (g->state != API_VM_STATE_RUNNING && g->state != API_VM_STATE_SUSPENDED))
        fail_later(h, call, ERR_CONFLICT, "the guest does not run");
    else
        end_later(h, call, NULL);
}

/* ---- consoles: a banner, then an echo ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) { *buf = uv_buf_init(xmalloc(4096), 4096); }

static void on_written(uv_write_t *req, int status) { free(req); }

static void console_write(struct console *c, const char *data, size_t len) {
    uv_write_t *req = xmalloc(sizeof(*req) + len);
    char *copy = (char *)(req + 1);
    memcpy(copy, data, len);
    uv_buf_t buf = uv_buf_init(copy, (unsigned)len);
    if (uv_write(req, (uv_stream_t *)&c->pipe, &buf, 1, on_written) < 0)
        free(req);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    struct console *c = stream->data;
    if (n > 0 && uv_stream_get_write_queue_size(stream) < 65536)
        console_write(c, buf->base, (size_t)n);
    free(buf->base);
    if (n < 0)
        console_free(c);
}

static int sim_console(struct hypervisor *h, const char *vm, enum console_type type, struct error *e) {
    const struct guest *g = map_get(&h->guests, vm);
    if (!g)
        return error_set(e, ERR_CONFLICT, "the guest does not run");
    if (type != CONSOLE_SERIAL)
        return error_set(e, ERR_UNSUPPORTED, "a simulated guest has no display");
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return error_set(e, ERR_IO, "cannot make a socket pair: %s", strerror(errno));
    struct console *c = xcalloc(1, sizeof(*c));
    uv_pipe_init(h->config.loop, &c->pipe, 0);
    c->pipe.data = c;
    list_append(&h->consoles, &c->link);
    if (uv_pipe_open(&c->pipe, fds[1]) < 0 || uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) < 0) {
        console_free(c);
        close(fds[0]);
        return error_set(e, ERR_IO, "cannot watch the console's socket");
    }
    _cleanup_free_ char *banner = xasprintf("simulated guest %s: what you type comes back\r\n", g->name);
    console_write(c, banner, strlen(banner));
    return fds[0];
}

static int sim_sample(struct hypervisor *h, const char *vm, struct api_vm_stats *ret_totals) {
    const struct guest *g = map_get(&h->guests, vm);
    if (!g || (g->state != API_VM_STATE_RUNNING && g->state != API_VM_STATE_SUSPENDED))
        return -ENOENT;
    int64_t ms = g->ran;
    if (g->state == API_VM_STATE_RUNNING)
        ms += clock_ms(CLOCK_MONOTONIC) - g->run_since;
    double s = (double)ms / 1000;
    ret_totals->cpu = s * g->cpus * g->load / 100;
    ret_totals->memory = g->memory / 2 + (48 << 20);
    ret_totals->disk_read = s * g->load * 4096;
    ret_totals->disk_write = s * g->load * 2048;
    ret_totals->net_receive = s * g->load * 1500;
    ret_totals->net_send = s * g->load * 700;
    return 0;
}

const struct hypervisor_driver hypervisor_sim = {
    .name = "sim",
    .capabilities =
        HYPERVISOR_PAUSE | HYPERVISOR_SERIAL | HYPERVISOR_UEFI | HYPERVISOR_DIRECT_BOOT | HYPERVISOR_CLOUD_INIT |
        HYPERVISOR_MIGRATE,
    .open = sim_open,
    .close = sim_close,
    .probe = sim_probe,
    .cpu_models = sim_cpu_models,
    .find = sim_find,
    .start = sim_start,
    .shutdown = sim_shutdown,
    .kill = sim_kill,
    .suspend = sim_suspend,
    .resume = sim_resume,
    .forget = sim_forget,
    .offer = sim_offer,
    .receive = sim_receive,
    .send = sim_send,
    .unsend = sim_unsend,
    .activate = sim_activate,
    .cancel = sim_cancel,
    .release = sim_kill,
    .cdrom = sim_cdrom,
    .console = sim_console,
    .sample = sim_sample,
};

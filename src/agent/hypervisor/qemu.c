/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The QEMU driver. One process a guest, driven over QMP without anything between:
 *
 *     qemu.c          the driver's table of functions
 *     qemu_guest.c    a guest's life
 *     qemu_move*.c    its way to another server
 *     qemu_process.c  its process          qemu_args.c   the command line
 *     qmp.c           QEMU's monitor       qemu_console.c  the serial console
 *     qemu_cdrom.c    CD drives
 *     qemu_probe.c    QEMU's version, and whether KVM works   qemu_models.c  its CPU models
 *
 * QEMU is given everything it may touch: it opens no image, no socket and no device by path but /dev/kvm, may start no
 * process, and runs as a user of its own where the agent is root. The agent's part of a start costs a few milliseconds
 * beside QEMU's own: sockets are made before the process, so that there is nothing to poll for.
 */
#include "agent/hypervisor/qemu_guest.h"
#include "agent/hypervisor/qemu_move.h"

#include "agent/hypervisor/qemu_models.h"
#include "base/id.h"
#include "base/mem.h"
#include "os/file.h"

#include <errno.h>
#include <x86intrin.h>

struct probe_waiter {
    struct list link;
    void (*ready)(void *ctx, const struct api_hypervisor *info);
    void *ctx;
};

/* ---- the probe ---- */

static const struct {
    unsigned flag;
    const char *name;
} capability_names[] = {
    {HYPERVISOR_PAUSE, "pause"},
    {HYPERVISOR_VNC, "vnc"},
    {HYPERVISOR_SERIAL, "serial"},
    {HYPERVISOR_UEFI, "uefi"},
    {HYPERVISOR_DIRECT_BOOT, "direct-boot"},
    {HYPERVISOR_CLOUD_INIT, "cloud-init"},
    {HYPERVISOR_MIGRATE, "migrate"},
};

static void info_make(const struct qemu_probe_result *r, struct api_hypervisor *ret) {
    api_hypervisor_init(ret);
    str_set(&ret->driver, "qemu");
    str_set(&ret->version, r->version);
    str_set(&ret->accelerator, !r->usable ? "" : r->kvm ? "kvm" : "tcg");
    str_set(&ret->reason, r->reason);
    ret->usable = r->usable;
    ret->capabilities = xcalloc(ARRAY_LEN(capability_names), sizeof *ret->capabilities);
    for (size_t i = 0; i < ARRAY_LEN(capability_names); i++)
        if (hypervisor_qemu.capabilities & capability_names[i].flag)
            ret->capabilities[ret->n_capabilities++] = xstrdup(capability_names[i].name);
}

static void launch_waiting(struct hypervisor *h) {
    size_t pos = 0;
    const char *vm;
    void *value;
    /* A launch changes the map: collect first. */
    size_t n = 0;
    _cleanup_free_ char **ids = xcalloc(map_count(&h->guests) + 1, sizeof *ids);
    while (map_next(&h->guests, &pos, &vm, &value))
        ids[n++] = xstrdup(vm);
    for (size_t i = 0; i < n; i++) {
        struct guest *g = guest_get(h, ids[i], false);
        if (g)
            guest_launch_waiting(g);
        free(ids[i]);
    }
}

static void on_probed(void *ctx, const struct qemu_probe_result *r) {
    struct hypervisor *h = ctx;
    struct api_hypervisor info;
    struct probe_waiter *w;
    h->probed = true;
    h->usable = r->usable;
    h->host.kvm = r->kvm;
    str_set(&h->unusable_reason, r->reason);
    info_make(r, &info);
    qemu_models_free(h->cpu_models, h->n_cpu_models);
    h->cpu_models = xcalloc(r->n_models + 1, sizeof *h->cpu_models);
    for (h->n_cpu_models = 0; h->n_cpu_models < r->n_models; h->n_cpu_models++)
        h->cpu_models[h->n_cpu_models] = xstrdup(r->models[h->n_cpu_models]);
    qemu_probe_free(TAKE_PTR(h->probe));
    while ((w = list_first(&h->probe_waiters, struct probe_waiter, link))) {
        list_remove(&w->link);
        w->ready(w->ctx, &info);
        free(w);
    }
    api_hypervisor_done(&info);
    launch_waiting(h);
}

static void driver_probe(struct hypervisor *h, void (*ready)(void *ctx, const struct api_hypervisor *info), void *ctx) {
    struct probe_waiter *w = xcalloc(1, sizeof *w);
    w->ready = ready;
    w->ctx = ctx;
    list_append(&h->probe_waiters, &w->link);
    if (!h->probe)
        h->probe = qemu_probe_new(h->loop, h->state_dirfd, h->user, on_probed, h);
}

static size_t driver_cpu_models(struct hypervisor *h, const char *const **ret) {
    *ret = (const char *const *)h->cpu_models;
    return h->n_cpu_models;
}

/* ---- open and close ---- */

static int driver_open(const struct hypervisor_config *config, struct hypervisor **ret, struct error *e) {
    struct hypervisor *h = xcalloc(1, sizeof *h);
    *h = (struct hypervisor){.driver = &hypervisor_qemu,
                             .loop = config->loop,
                             .state_dirfd = config->state_dirfd,
                             .user = xstrdup(config->guest_user),
                             .events = config->events,
                             .ctx = config->ctx,
                             .host = {.binary = QEMU_BINARY},
                             .tsc_at_open = __rdtsc(),
                             .hrtime_at_open = uv_hrtime()};
    list_init(&h->probe_waiters);
    *ret = h;
    return 0;
}

static void driver_close(struct hypervisor *h) {
    size_t pos = 0;
    const char *vm;
    void *g;
    struct probe_waiter *w;
    if (!h)
        return;
    while (map_next(&h->guests, &pos, &vm, &g))
        guest_free(g);
    while ((w = list_first(&h->probe_waiters, struct probe_waiter, link))) {
        list_remove(&w->link);
        free(w);
    }
    qemu_probe_free(h->probe);
    map_done(&h->guests);
    free(h->unusable_reason);
    qemu_models_free(h->cpu_models, h->n_cpu_models);
    free(h->user);
    free(h);
}

/* ---- calls ---- */

static void refuse(struct hypervisor *h, uint64_t call, enum error_code code, const char *message) {
    _cleanup_error_ struct error e = ERROR_INIT;
    error_set(&e, code, "%s", message);
    h->events->done(h->ctx, call, &e, NULL);
}

/* Ids name directories and sockets. */
static bool id_good(struct hypervisor *h, uint64_t call, const char *vm) {
    if (vm && uuid_valid(vm))
        return true;
    refuse(h, call, ERR_INVALID, "the virtual machine's id is malformed");
    return false;
}

static void driver_find(struct hypervisor *h, uint64_t call, const char *vm) {
    if (id_good(h, call, vm))
        guest_find(guest_get(h, vm, true), call);
}

static void driver_start(struct hypervisor *h, uint64_t call, const struct api_guest_start *start,
                         struct guest_files *files) {
    if (!start->has_vm || !id_good(h, call, start->vm.id)) {
        guest_files_done(files);
        if (!start->has_vm)
            refuse(h, call, ERR_INVALID, "the start names no virtual machine");
        return;
    }
    if (!h->probed && !h->probe)
        h->probe = qemu_probe_new(h->loop, h->state_dirfd, h->user, on_probed, h);
    guest_start(guest_get(h, start->vm.id, true), call, start, files);
}

static void driver_kill(struct hypervisor *h, uint64_t call, const char *vm) {
    if (id_good(h, call, vm))
        guest_kill(guest_get(h, vm, true), call);
}

static void ask(struct hypervisor *h, uint64_t call, const char *vm, const char *command, enum guest_phase then) {
    struct guest *g;
    if (!id_good(h, call, vm))
        return;
    g = guest_get(h, vm, false);
    if (g)
        guest_ask(g, call, command, NULL, then);
    else
        refuse(h, call, ERR_CONFLICT, "the guest does not run");
}

static void driver_shutdown(struct hypervisor *h, uint64_t call, const char *vm) {
    ask(h, call, vm, "system_powerdown", GUEST_ABSENT);
}
static void driver_suspend(struct hypervisor *h, uint64_t call, const char *vm) {
    ask(h, call, vm, "stop", GUEST_IS_PAUSED);
}
static void driver_resume(struct hypervisor *h, uint64_t call, const char *vm) {
    ask(h, call, vm, "cont", GUEST_IS_RUNNING);
}

static void driver_cdrom(struct hypervisor *h, uint64_t call, const char *vm, int index, int fd) {
    struct guest *g = id_good(h, call, vm) ? guest_get(h, vm, false) : NULL;
    if (g) {
        guest_cdrom(g, call, index, fd);
        return;
    }
    close_fd(&fd);
    if (vm && uuid_valid(vm))
        refuse(h, call, ERR_CONFLICT, "the guest does not run");
}

static void driver_forget(struct hypervisor *h, uint64_t call, const char *vm) {
    if (id_good(h, call, vm))
        guest_forget(guest_get(h, vm, true), call);
}

/* ---- live migration ---- */

static void driver_offer(struct hypervisor *h, uint64_t call, const struct api_guest_offer *a) {
    if (id_good(h, call, a->vm))
        qemu_move_offer(guest_get(h, a->vm, true), call, a);
}

static void driver_receive(struct hypervisor *h, uint64_t call, const struct api_guest_receive *a,
                           struct guest_files *files) {
    if (!a->start.has_vm || !str_eq(a->start.vm.id, a->vm) || !id_good(h, call, a->vm)) {
        guest_files_done(files);
        if (!a->start.has_vm || !str_eq(a->start.vm.id, a->vm))
            refuse(h, call, ERR_INVALID, "the move names no virtual machine");
        return;
    }
    if (!h->probed && !h->probe)
        h->probe = qemu_probe_new(h->loop, h->state_dirfd, h->user, on_probed, h);
    qemu_move_receive(guest_get(h, a->vm, true), call, a, files);
}

static void driver_send(struct hypervisor *h, uint64_t call, const struct api_guest_send *a) {
    if (id_good(h, call, a->vm))
        qemu_move_send(guest_get(h, a->vm, true), call, a);
}

static void driver_unsend(struct hypervisor *h, uint64_t call, const struct api_guest_move *a) {
    if (id_good(h, call, a->vm))
        qemu_move_unsend(guest_get(h, a->vm, true), call, a);
}

static void driver_activate(struct hypervisor *h, uint64_t call, const struct api_guest_activate *a) {
    if (id_good(h, call, a->vm))
        qemu_move_activate(guest_get(h, a->vm, true), call, a);
}

static void driver_release(struct hypervisor *h, uint64_t call, const char *vm) {
    if (id_good(h, call, vm))
        qemu_move_release(guest_get(h, vm, true), call);
}

static void driver_cancel(struct hypervisor *h, uint64_t call) {
    size_t pos = 0;
    void *value;
    while (map_next(&h->guests, &pos, NULL, &value)) {
        struct guest *g = value;
        if (g->move && g->move->role == MOVE_SENDING && g->move->call == call) {
            qemu_move_cancel(g);
            return;
        }
    }
}

static int driver_console(struct hypervisor *h, const char *vm, enum console_type type, struct error *e) {
    struct guest *g = vm ? guest_get(h, vm, false) : NULL;
    if (!g || !g->console)
        return error_set(e, ERR_CONFLICT, "the virtual machine does not run; start it first");
    return type == CONSOLE_VNC ? guest_view_display(g, e) : qemu_console_view(g->console, e);
}

static int driver_sample(struct hypervisor *h, const char *vm, struct api_vm_stats *ret) {
    struct guest *g = vm ? guest_get(h, vm, false) : NULL;
    return g ? guest_sample(g, ret) : -ENOENT;
}

static int driver_pidfd(struct hypervisor *h, const char *vm) {
    struct guest *g = vm ? guest_get(h, vm, false) : NULL;
    return g && g->process ? qemu_process_pidfd(g->process) : -ENOENT;
}

const struct hypervisor_driver hypervisor_qemu = {
    .name = "qemu",
    .capabilities = HYPERVISOR_PAUSE | HYPERVISOR_VNC | HYPERVISOR_SERIAL | HYPERVISOR_UEFI | HYPERVISOR_DIRECT_BOOT |
                    HYPERVISOR_CLOUD_INIT | HYPERVISOR_MIGRATE,
    .open = driver_open,
    .close = driver_close,
    .probe = driver_probe,
    .cpu_models = driver_cpu_models,
    .find = driver_find,
    .start = driver_start,
    .shutdown = driver_shutdown,
    .kill = driver_kill,
    .suspend = driver_suspend,
    .resume = driver_resume,
    .forget = driver_forget,
    .cdrom = driver_cdrom,
    .offer = driver_offer,
    .receive = driver_receive,
    .send = driver_send,
    .unsend = driver_unsend,
    .activate = driver_activate,
    .cancel = driver_cancel,
    .release = driver_release,
    .console = driver_console,
    .sample = driver_sample,
    .pidfd = driver_pidfd,
};

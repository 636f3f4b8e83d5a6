/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One guest: its QEMU process, its monitor, its console, and the calls that wait for something to happen to them.
 *
 *     phase \ what     start         status running  SHUTDOWN    panic        STOP/RESUME     the process ends
 *     absent           starting                                                               -
 *     finding                        running         off         panicked     paused          absent: find says unknown
 *     starting         refused       running         off         panicked     paused          absent: start fails
 *     running          done                          off, told   panicked, t. paused, told    absent: died, told
 *     paused           done          running, told   off, told   panicked, t. running, told   absent: died, told
 *     off, panicked    kill first                                                             absent
 *     incoming         kill first                                                             absent: died, told
 *
 * A process in "off" or "panicked" has been kept by QEMU's -action so that the reason survives the agent: it ends when
 * the agent has recorded why, and kills it. Whatever the phase, when the process ends for a kill, the kill is done and
 * nothing is told.
 *
 * QEMU's monitor may fail while QEMU runs. Then the other monitor socket is tried; what was missed is asked for.
 */
#pragma once

#include "agent/hypervisor/hypervisor.h"
#include "agent/hypervisor/qemu_console.h"
#include "agent/hypervisor/qemu_probe.h"
#include "agent/hypervisor/qemu_process.h"
#include "agent/hypervisor/qmp.h"
#include "base/list.h"
#include "base/map.h"

enum guest_phase {
    GUEST_ABSENT,
    GUEST_FINDING,
    GUEST_STARTING,
    GUEST_IS_RUNNING,
    GUEST_IS_PAUSED,
    GUEST_IS_OFF,
    GUEST_IS_PANICKED,
    GUEST_IS_INCOMING /* it waits for, or has got, a guest that another server sends; qemu_move.h */
};

/* The driver; the head is what hypervisor.h promises. */
struct hypervisor {
    const struct hypervisor_driver *driver;
    uv_loop_t *loop;
    int state_dirfd; /* borrowed */
    char *user;      /* NULL: QEMU runs as we do */
    const struct hypervisor_events *events;
    void *ctx;
    struct map guests; /* by VM id */
    struct qemu_probe *probe;
    struct list probe_waiters;
    bool probed, usable;
    struct qemu_host host;
    char *unusable_reason;
    char **cpu_models;
    size_t n_cpu_models;
    uint64_t tsc_at_open;
    uint64_t hrtime_at_open;
};

struct qemu_move;

struct guest_start_request {
    uint64_t call;
    struct api_guest_start start;
    struct guest_files files;
    char *incoming; /* the machine type of the guest that comes; NULL: it starts here */
};

/* A call that ends when something has happened: a reply on the monitor, or the end of the process. */
struct guest_call {
    struct list link;
    struct guest *guest;
    uint64_t id;
    enum guest_phase then; /* SUSPEND, RESUME: the phase when it is done; GUEST_ABSENT: unchanged */
};

struct guest {
    struct hypervisor *h;
    char *vm;
    int dirfd; /* -1 until it is needed */
    enum guest_phase phase;
    struct qemu_process *process; /* NULL: none that we know of */
    struct qmp *qmp;
    struct qemu_console *console;
    uv_timer_t timer;
    void (*on_time)(struct guest *g);
    struct guest_start_request *request; /* waiting to be launched, or (phase starting) under way */
    struct list finds, kills, asks;      /* struct guest_call */
    char *reason;                        /* of the phase, in words; NULL: none */
    char *io_reason;                     /* of the last I/O error that stopped it; NULL: none */
    char *end_reason;                    /* what QEMU said before it ended; NULL: nothing */
    bool spare;                          /* the monitor in use */
    int monitor_tries;
    int looks;    /* query-status that are not answered yet */
    bool unheard; /* taken for running because its monitor did not answer */
    bool display;
    struct qemu_move *move; /* NULL: it has not moved in this life of ours */
    int in_use;             /* callbacks on the stack: not to be freed */
    bool forgotten;
    int64_t disk_read, disk_write;
    uint64_t disks_asked; /* loop time; 0: never */
};

/* The guest of that id, made if `make`; NULL. */
struct guest *guest_get(struct hypervisor *h, const char *vm, bool make);
/* Leaves its process running. */
void guest_free(struct guest *g);

void guest_find(struct guest *g, uint64_t call);
void guest_start(struct guest *g, uint64_t call, const struct api_guest_start *start, struct guest_files *files);
void guest_kill(struct guest *g, uint64_t call);
/* Removes its directory; refused while it runs, whether we knew or not. */
void guest_forget(struct guest *g, uint64_t call);
/* A command whose success ends the call: system_powerdown, stop, cont. args is stolen (NULL: none). */
void guest_ask(struct guest *g, uint64_t call, const char *command, json_t *args, enum guest_phase then);
/* See hypervisor.h. */
void guest_cdrom(struct guest *g, uint64_t call, int index, int fd);
/* When the probe has answered. */
void guest_launch_waiting(struct guest *g);

/* ---- for qemu_move*.c ---- */
void guest_hold(struct guest *g);
void guest_release(struct guest *g);
/* result is stolen. */
void guest_call_done(struct guest *g, uint64_t call, const struct error *e, json_t *result);
void guest_call_fail(struct guest *g, uint64_t call, enum error_code code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
json_t *guest_report(const struct guest *g);
int guest_take_up(struct guest *g);
int guest_directory_open(struct guest *g, bool make);
/* Makes a process that waits for a guest; qemu_move_ready() follows when it does, or the call fails. files are taken.
 */
void guest_receive(struct guest *g, uint64_t call, const struct api_guest_receive *a, struct guest_files *files);
/* Enters it without telling anybody. */
void guest_enter(struct guest *g, enum guest_phase phase);

/* ---- qemu_guest_info.c: what changes nothing ---- */
int guest_view_display(struct guest *g, struct error *e);
int guest_sample(struct guest *g, struct api_vm_stats *ret);

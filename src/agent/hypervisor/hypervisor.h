/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hypervisor driver is. The agent never asks "is this qemu?", it asks what the row in the table can do.
 *
 * All functions are called on the loop's thread and return at once. A function with a `call` ends in exactly one
 * events->done(call), later or from inside. Calls are idempotent: starting a guest that runs, killing one that is gone,
 * succeed. Guests outlive the driver: close() leaves them running, find() takes them up again.
 */
#pragma once

#include "api/api.h"
#include "base/error.h"
#include "guest/host.h"
#include "os/child.h"

#include <uv.h>

/* A CD drive is a disk with the format raw, or with an empty chain (n is 0) when nothing is in it. */
enum guest_disk_format { GUEST_DISK_RAW, GUEST_DISK_QCOW2 };
/* One file of a disk's chain, opened by the storage driver; [0] is the top, the last the base. */
struct guest_file {
    int fd;
    bool read_only;
    bool direct; /* past this server's page cache */
    enum guest_disk_format format;
};
struct guest_disk_files {
    struct guest_file chain[8];
    size_t n;
};
/* Everything that a guest needs opened; guest_files_done() closes. */
struct guest_files {
    struct guest_disk_files disks[32]; /* in the order of GuestStart.disks */
    size_t n_disks;
    int kernel_fd, initrd_fd; /* -1 if none */
    int firmware_fd, vars_fd; /* UEFI code (read-only) and variables; -1 for BIOS */
    bool vars_direct;         /* past this server's page cache */
    int seed_fd;              /* cloud-init NoCloud ISO, read-only; -1 if none */
};
void guest_files_init(struct guest_files *f);
void guest_files_done(struct guest_files *f);

enum console_type { CONSOLE_SERIAL, CONSOLE_VNC };

struct hypervisor_events {
    void (*done)(void *ctx, uint64_t call, const struct error *error /* NULL: success */, const json_t *result);
    void (*guest)(void *ctx, const char *vm, enum guest_event event, const char *reason);
    /* What the guest's process must pass before it becomes the hypervisor: ret->fd stays -1 for nothing. Borrowed until
       the process is made. NULL: nothing, ever. */
    int (*gate)(void *ctx, const struct api_guest_start *start, struct child_gate *ret, struct error *e);
    /* The control groups that the guest's process begins in; child_groups_done() is the caller's. NULL: none, ever. */
    int (*groups)(void *ctx, const struct api_guest_start *start, struct child_groups *ret, struct error *e);
    void (*progress)(void *ctx, uint64_t call, int percent, const char *message);
};

struct hypervisor_config {
    uv_loop_t *loop;
    int state_dirfd;        /* the driver's own directory: one folder a guest, by id */
    const char *state_path; /* its absolute path, for sockets */
    const char *guest_user; /* the user for QEMU when the agent is root, or NULL */
    const struct hypervisor_events *events;
    void *ctx;
};

struct hypervisor; /* each driver has its own; begins with const struct hypervisor_driver * */

enum hypervisor_capability {
    HYPERVISOR_PAUSE = 1 << 0,
    HYPERVISOR_VNC = 1 << 1,
    HYPERVISOR_SERIAL = 1 << 2,
    HYPERVISOR_UEFI = 1 << 3,
    HYPERVISOR_DIRECT_BOOT = 1 << 4,
    HYPERVISOR_CLOUD_INIT = 1 << 5,
    HYPERVISOR_MIGRATE = 1 << 6,
};

struct hypervisor_driver {
    const char *name;
    unsigned capabilities;
    int (*open)(const struct hypervisor_config *config, struct hypervisor **ret, struct error *e);
    void (*close)(struct hypervisor *h);
    /* Fills in driver, version, accelerator, reason, usable, capabilities; ready(ctx) when done. Slow the first time
       only: the answer is remembered in the state directory for this kernel and this hypervisor version. */
    void (*probe)(struct hypervisor *h, void (*ready)(void *ctx, const struct api_hypervisor *info), void *ctx);
    /* The CPU models that a guest can have here with all their features, once ready() has been called; borrowed. */
    size_t (*cpu_models)(struct hypervisor *h, const char *const **ret);
    /*
     * What is there, as a GuestReport with driver, state, started and a reason in words: running or suspended (taken up
     * again: its events come from now on); stopped: it has shut itself down and is kept only to tell so; crashed: it
     * has panicked; unknown: no process of it exists. Never "stopped" for a process that is merely gone.
     */
    void (*find)(struct hypervisor *h, uint64_t call, const char *vm);
    /* The descriptors are taken, and *files is left empty, whatever comes of it. */
    void (*start)(struct hypervisor *h, uint64_t call, const struct api_guest_start *start, struct guest_files *files);
    void (*shutdown)(struct hypervisor *h, uint64_t call, const char *vm);
    /* Also called after GUEST_POWEROFF, GUEST_PANICKED and GUEST_DIED, once that is recorded: ends a process that was
       kept only to tell, and frees what it held. A guest that is gone or was never there is killed with success. */
    void (*kill)(struct hypervisor *h, uint64_t call, const char *vm);
    void (*suspend)(struct hypervisor *h, uint64_t call, const char *vm);
    void (*resume)(struct hypervisor *h, uint64_t call, const char *vm);
    void (*forget)(struct hypervisor *h, uint64_t call, const char *vm);
    /* Puts the image in fd (read-only; taken, whatever comes of it) into the CD drive that is GuestStart.disks[index]
       of a guest that runs or is suspended; -1 takes out what is in it. The guest is not asked whether it may. */
    void (*cdrom)(struct hypervisor *h, uint64_t call, const char *vm, int index, int fd);
    /*
     * Live migration; NULL without HYPERVISOR_MIGRATE. src/guest/move.c says when each is called, and api/agent.yaml
     * what they are given and answer. Each may be called again after a crash of the agent.
     *   offer     makes one-time credentials, replacing those of an earlier try.
     *   receive   makes a process that waits; one that waits already is ended first. Find reports it as suspended.
     *   send      done: everything is at the other side, which does not run it, and it stays paused here. An error:
     *             it goes on here as before (args.running), which it has done already.
     *   unsend    it goes on here as before (args.running), and what the offer made is gone. State unknown: no process.
     *   activate  it runs here (or is suspended). ERR_CONFLICT: it has never run and cannot; ERR_GUEST: its process
     *             has ended and may have run it; other errors: ask again.
     *   cancel    asks a send to end early; it ends in any case.
     *   release   as kill, but when the other side has everything (after post-copy).
     */
    void (*offer)(struct hypervisor *h, uint64_t call, const struct api_guest_offer *a);
    void (*receive)(struct hypervisor *h, uint64_t call, const struct api_guest_receive *a, struct guest_files *files);
    void (*send)(struct hypervisor *h, uint64_t call, const struct api_guest_send *a);
    void (*unsend)(struct hypervisor *h, uint64_t call, const struct api_guest_move *a);
    void (*activate)(struct hypervisor *h, uint64_t call, const struct api_guest_activate *a);
    void (*cancel)(struct hypervisor *h, uint64_t call);
    void (*release)(struct hypervisor *h, uint64_t call, const char *vm);
    /*
     * A connected stream socket (non-blocking, close-on-exec; the caller's) to the guest's serial console, beginning
     * with what the ring has kept (16 KiB), or to its display (RFB). Any number at once; negative errno and *e on
     * failure.
     */
    int (*console)(struct hypervisor *h, const char *vm, enum console_type type, struct error *e);
    /* Counters since start, from which the agent makes rates; cpu in seconds. -ENOENT if it does not run. */
    int (*sample)(struct hypervisor *h, const char *vm, struct api_vm_stats *ret_totals);
    /* Of the guest's process; borrowed. -ENOENT if it does not run. NULL where guests have no process. */
    int (*pidfd)(struct hypervisor *h, const char *vm);
};

extern const struct hypervisor_driver hypervisor_qemu;
extern const struct hypervisor_driver hypervisor_sim;

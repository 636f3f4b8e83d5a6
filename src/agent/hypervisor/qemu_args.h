/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's command line. Pure: from what the guest is and which descriptors there are to arguments, so that golden cases
 * (tests/golden/qemu) pin every byte. One small emitter for each kind of device.
 *
 * - QEMU opens no path itself: images come as descriptors in fd sets, kernel and initrd as /proc/self/fd/N (they must
 * be readable by whom QEMU runs as; QEMU reads them with plain open(2)), sockets as listening descriptors.
 * - The whole chain of a disk is named, each node with its backing node or null, so that what an image says about
 * backing files is never followed.
 * - PCI devices have fixed places, so that adding one does not move the others:
 *       02 display  03 rng  04 balloon  05 virtio-scsi  06 more SATA  07 pvpanic  08 USB  0a NICs (8 functions)
 *       10 to 13 virtio-blk, 8 each
 */
#pragma once

#include "agent/hypervisor/hypervisor.h"
#include "os/child.h"

/* The number of the fd set of what is in the CD drive disks[i] at the start is this and i: it can be given up later. */
#define QEMU_CDROM_SET 900

struct qemu_host {
    const char *binary; /* qemu-system-x86_64 */
    bool kvm;
    int64_t tsc_khz; /* of this host; 0 if not known */
    /* The guest comes from another server, where its machine type is this one: nothing runs before it is there. NULL:
       it starts. */
    const char *incoming;
};
struct qemu_sockets {
    int qmp, qmp_spare, serial; /* listening */
};
struct qemu_args {
    char **argv; /* NULL-terminated */
    size_t n;
    struct child_fd *fds;
    size_t n_fds;
};

/* What this driver cannot do is refused with ERR_UNSUPPORTED and the field. */
int qemu_args_make(const struct api_guest_start *start, const struct guest_files *files, const struct qemu_host *host,
                   const struct qemu_sockets *sockets, struct qemu_args *ret, struct error *e);
void qemu_args_done(struct qemu_args *a);

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/hypervisor/hypervisor.h"

#include <unistd.h>

static void fd_done(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void guest_files_init(struct guest_files *f) {
    *f = (struct guest_files){.kernel_fd = -1, .initrd_fd = -1, .firmware_fd = -1, .vars_fd = -1, .seed_fd = -1};
    for (size_t i = 0; i < ARRAY_LEN(f->disks); i++)
        for (size_t k = 0; k < ARRAY_LEN(f->disks[i].chain); k++)
            f->disks[i].chain[k].fd = -1;
}

void guest_files_done(struct guest_files *f) {
    for (size_t i = 0; i < f->n_disks; i++)
        for (size_t k = 0; k < f->disks[i].n; k++)
            fd_done(&f->disks[i].chain[k].fd);
    fd_done(&f->kernel_fd);
    fd_done(&f->initrd_fd);
    fd_done(&f->firmware_fd);
    fd_done(&f->vars_fd);
    fd_done(&f->seed_fd);
    f->n_disks = 0;
}

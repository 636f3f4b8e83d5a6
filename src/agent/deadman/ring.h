/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of tarn-deadman that talks with corosync. It may hang with it, and allocate: the other thread does not. */
#pragma once

#include "guest/deadman.h"

/* What it tells, in one write to the pipe. */
struct ring_note {
    int64_t proof;   /* 0: none */
    int64_t ring_at; /* 0: corosync does not answer */
    uint32_t n_members;
    uint32_t members[DEADMAN_NODES];
};

/* fd: the writing end of a non-blocking pipe. A negative errno if there is no thread. */
int ring_start(int fd);
/* From the other thread, at any time. */
void ring_configure(uint32_t node, const uint32_t *nodes, size_t n);

int64_t boot_ms(void); /* CLOCK_BOOTTIME: a host that was suspended has been away */

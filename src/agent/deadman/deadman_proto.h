/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between tarn-agent and tarn-deadman, which is a program of its own that outlives the agent. In one directory
 * (STATE/cluster, for root alone):
 *
 *     deadman.sock   SEQPACKET: struct deadman_request, answered with struct child_gate_answer. A guest's process
 *                    announces itself, with its pidfd, before it becomes QEMU (os/child.h).
 *     deadman.state  struct deadman_page, mapped by both: what the agent reads at any time without asking. It also
 *                    hands the lease on to a deadman that is started anew.
 *     deadman.log    what it has done
 */
#pragma once

#include "guest/deadman.h"

#include <stdatomic.h>

#define DEADMAN_SOCKET "deadman.sock"
#define DEADMAN_STATE  "deadman.state"
#define DEADMAN_LOG    "deadman.log"
#define DEADMAN_LOCK   "deadman.lock"

enum deadman_request_type {
    DEADMAN_CONFIGURE = 1, /* node, nodes: the pool's servers */
    DEADMAN_ARM,           /* armed: from now on, kill. Refused with -EAGAIN without a lease */
    DEADMAN_START,         /* a guest that is about to be started; its pidfd comes along. Armed, it needs the lease */
    DEADMAN_WATCH,         /* a guest that runs already */
    DEADMAN_FORGET,        /* a guest that is highly available no more */
    DEADMAN_QUIT,          /* the server has left the pool */
};

struct deadman_request {
    uint64_t serial;
    uint32_t type;
    uint32_t armed;
    uint64_t incarnation;
    char vm[40];
    uint32_t node, n_nodes;
    uint32_t nodes[DEADMAN_NODES];
};

/* Written by the deadman under seq (odd while it writes), read by the agent. Times are CLOCK_BOOTTIME in ms. */
struct deadman_state {
    char boot[40]; /* /proc/sys/kernel/random/boot_id */
    int64_t alive; /* when the deadman last looked at the time */
    int64_t proof; /* struct deadman */
    uint64_t incarnation;
    uint64_t last;
    int64_t ring_at; /* when this server came into the ring that it is in; 0: corosync does not answer */
    uint32_t armed;
    uint32_t n_members; /* of the ring */
    uint32_t members[DEADMAN_NODES];
    uint32_t node, n_nodes; /* as it was configured last */
    uint32_t nodes[DEADMAN_NODES];
    uint32_t n_guests; /* that are watched */
    uint32_t kills;    /* guests killed since it began */
};
struct deadman_page {
    _Atomic uint32_t seq;
    uint32_t magic;
    struct deadman_state state;
};
#define DEADMAN_PAGE_MAGIC 0x6e726176

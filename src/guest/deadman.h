/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes it safe to start a guest elsewhere: the lease of a server in its clustered pool. Pure; tarn-deadman and
 * the simulator carry it out.
 *
 * Each deadman says every DEADMAN_SAY_MS in corosync's ordered group when it spoke, and what it last heard of each
 * other. A server's *proof* is the time at which it said the newest message that, with itself, more than half of the
 * pool's servers have heard. While the proof is younger than DEADMAN_PROOF_MS the server holds its lease; when it is
 * older, every highly available guest on it is killed at once.
 *
 * Why a proof, and not corosync's word that it is quorate? Corosync says so from memory: one that was stopped for a
 * while, or that hears its peers but is not heard, goes on saying it. A proof cannot be had without the others.
 *
 * Why others may start the guests HOLD_MS after a quorate member has installed a ring without the server, as that
 * member sees it at its own newest proof: more than half heard the server's last proof, more than half are in that
 * ring, so one server did both, and it heard first, since it left the old ring before it went into the new one. So the
 * lease ended DEADMAN_PROOF_MS after something that was before the ring; no two clocks are compared, only two
 * durations.
 *
 * A lease has an incarnation. An order to start a guest carries the one that it was received under, and is void under
 * another: an order that lay in a stopped agent's socket while the server was given up does nothing afterwards.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEADMAN_SAY_MS   200
#define DEADMAN_PROOF_MS 4500
#define CLUSTER_HOLD_MS  5000 /* DEADMAN_PROOF_MS, and what it takes to notice and to kill */
#define DEADMAN_NODES    32   /* servers in a clustered pool */
#define DEADMAN_ARMED    3    /* with fewer servers quorum cannot tell who is to live: guests are not killed */

/* ---- what is said and heard ---- */

struct deadman_ack {
    uint32_t node;
    uint32_t session; /* of that node's deadman: one that was started anew begins another */
    int64_t said;     /* by that node, on its clock */
};
struct deadman_message {
    uint32_t magic;
    uint16_t version, n_acks;
    uint32_t session, reserved;
    int64_t said;
    struct deadman_ack acks[DEADMAN_NODES];
};
#define DEADMAN_MAGIC   0x6e726174
#define DEADMAN_VERSION 1

struct deadman_peers {
    uint32_t self, session;
    int64_t began; /* nothing that we are said to have said before is ours */
    size_t n;
    struct deadman_peer {
        struct deadman_ack heard; /* what it said last */
        int64_t acked;            /* the newest of ours that it has heard; 0: none */
    } peers[DEADMAN_NODES];
};
/* Fills in what is to be said now, and returns its length. */
size_t deadman_say(struct deadman_peers *p, int64_t now, struct deadman_message *ret);
/* A message of a node, ours too; false if it is malformed. */
bool deadman_hear(struct deadman_peers *p, uint32_t node, const void *data, size_t len, int64_t now);
/* Forgets all nodes that are not in the list. */
void deadman_keep(struct deadman_peers *p, const uint32_t *nodes, size_t n);
/* Of the servers in the pool (nodes), when we said what more than half have heard; 0: never. */
int64_t deadman_proof(const struct deadman_peers *p, size_t nodes, int64_t now);

/* ---- the lease ---- */

struct deadman {
    int64_t proof;        /* 0: none yet */
    uint64_t incarnation; /* of the lease; 0: none is held */
    uint64_t last;        /* the newest that there was */
};
/* A proof; wall_ms makes incarnations grow over restarts. True if a lease begins. */
bool deadman_prove(struct deadman *d, int64_t proof, int64_t now, int64_t wall_ms);
/* To be asked before anything else after each wait. True if the lease ends now: everything is to be killed. */
bool deadman_expire(struct deadman *d, int64_t now);
/* When deadman_expire() is next to be asked; INT64_MAX without a lease. */
int64_t deadman_deadline(const struct deadman *d);
/* May a guest whose order came under that incarnation run? */
bool deadman_allows(const struct deadman *d, uint64_t incarnation, int64_t now);
/* Whether what was ordered under that lease (0: without one) may still begin. Also where nothing is killed for want of
   one: it may have been armed when the order came, and the guest may run elsewhere since that lease ended. */
bool deadman_may_start(const struct deadman *d, bool armed, uint64_t incarnation, int64_t now);

static inline size_t cluster_quorum(size_t nodes) { return nodes / 2 + 1; }
/* How long a server that is not in the ring has been out of it, as is known for sure: from the ring's beginning to the
   newest proof. Without a ring (0: corosync does not run) nothing is known of anybody. */
static inline int64_t cluster_gone_ms(int64_t ring_at, int64_t proof) {
    return ring_at && proof > ring_at ? proof - ring_at : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/deadman.h"

#include <string.h>

/* ---- what is said and heard ---- */

static struct deadman_peer *peer_get(struct deadman_peers *p, uint32_t node, bool make) {
    for (size_t i = 0; i < p->n; i++)
        if (p->peers[i].heard.node == node)
            return &p->peers[i];
    if (!make || p->n == DEADMAN_NODES)
        return NULL;
    p->peers[p->n] = (struct deadman_peer){.heard = {.node = node}};
    return &p->peers[p->n++];
}

size_t deadman_say(struct deadman_peers *p, int64_t now, struct deadman_message *ret) {
    memset(ret, 0, sizeof *ret);
    ret->magic = DEADMAN_MAGIC;
    ret->version = DEADMAN_VERSION;
    ret->session = p->session;
    ret->said = now;
    for (size_t i = 0; i < p->n; i++)
        ret->acks[ret->n_acks++] = p->peers[i].heard;
    return offsetof(struct deadman_message, acks) + ret->n_acks * sizeof ret->acks[0];
}

bool deadman_hear(struct deadman_peers *p, uint32_t node, const void *data, size_t len, int64_t now) {
    struct deadman_message m;
    const size_t head = offsetof(struct deadman_message, acks);
    if (len < head || len > sizeof m)
        return false;
    memset(&m, 0, sizeof m);
    memcpy(&m, data, len);
    if (m.magic != DEADMAN_MAGIC || m.version != DEADMAN_VERSION || m.n_acks > DEADMAN_NODES ||
        len != head + m.n_acks * sizeof m.acks[0])
        return false;
    if (node == p->self)
        return true; /* that we hear ourselves proves nothing */
    struct deadman_peer *peer = peer_get(p, node, true);
    if (!peer)
        return false;
    peer->heard = (struct deadman_ack){node, m.session, m.said};
    for (size_t i = 0; i < m.n_acks; i++) {
        const struct deadman_ack *a = &m.acks[i];
        if (a->node == p->self && a->session == p->session && a->said >= p->began && a->said <= now &&
            a->said > peer->acked)
            peer->acked = a->said;
    }
    return true;
}

void deadman_keep(struct deadman_peers *p, const uint32_t *nodes, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < p->n; i++) {
        bool there = false;
        for (size_t k = 0; k < n && !there; k++)
            there = nodes[k] == p->peers[i].heard.node;
        if (there)
            p->peers[kept++] = p->peers[i];
    }
    p->n = kept;
}

int64_t deadman_proof(const struct deadman_peers *p, size_t nodes, int64_t now) {
    size_t needed = cluster_quorum(nodes) - 1; /* beside ourselves */
    if (nodes == 0)
        return 0;
    if (needed == 0)
        return now;
    /* The newest time that at least so many have heard, or something newer. */
    int64_t best = 0;
    for (size_t i = 0; i < p->n; i++) {
        size_t heard = 0;
        for (size_t k = 0; k < p->n; k++)
            heard += p->peers[k].acked >= p->peers[i].acked;
        if (heard >= needed && p->peers[i].acked > best)
            best = p->peers[i].acked;
    }
    return best;
}

/* ---- the lease ---- */

bool deadman_expire(struct deadman *d, int64_t now) {
    if (!d->incarnation || now - d->proof < DEADMAN_PROOF_MS)
        return false;
    d->incarnation = 0;
    return true;
}

bool deadman_prove(struct deadman *d, int64_t proof, int64_t now, int64_t wall_ms) {
    if (proof > d->proof && proof <= now)
        d->proof = proof;
    if (d->incarnation || !d->proof || now - d->proof >= DEADMAN_PROOF_MS)
        return false;
    d->last = (uint64_t)wall_ms > d->last ? (uint64_t)wall_ms : d->last + 1;
    d->incarnation = d->last;
    return true;
}

int64_t deadman_deadline(const struct deadman *d) { return d->incarnation ? d->proof + DEADMAN_PROOF_MS : INT64_MAX; }

bool deadman_allows(const struct deadman *d, uint64_t incarnation, int64_t now) {
    return incarnation && incarnation == d->incarnation && now - d->proof < DEADMAN_PROOF_MS;
}

bool deadman_may_start(const struct deadman *d, bool armed, uint64_t incarnation, int64_t now) {
    if (armed)
        return deadman_allows(d, incarnation, now);
    return !incarnation || incarnation == d->incarnation;
}

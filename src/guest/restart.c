/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The restart policy. The times of the last restarts are part of the guest's record, so that an agent that is restarted
 * itself does not begin to count anew. should_run stays set as long as a restart is to come: that is how one that was
 * waiting is found again after a crash of the agent. While a repository that the guest needs is not open, no restart is
 * tried, and none is counted.
 */
#include "guest/internal.h"

#include "base/buf.h"

#define BACKOFF_MAX_MS 60000

static size_t recent_restarts(struct host *h, struct guest *g) {
    struct record *r = &g->r;
    size_t n = 0;
    for (size_t i = 0; i < r->n_restarted; i++) {
        if (r->restarted[i] > h->wall - RESTART_WINDOW_MS && r->restarted[i] <= h->wall)
            r->restarted[n++] = r->restarted[i];
    }
    r->n_restarted = n;
    return n;
}

static int64_t backoff(size_t n) {
    int64_t ms = 1000LL << (n < 10 ? n : 10);
    return ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
}

void host_guest_restart_forget(struct guest *g) {
    g->restart_at = NEVER;
    g->r.restarts = 0;
    g->r.n_restarted = 0;
}

void host_guest_restart_later(struct host *h, struct guest *g) {
    if (g->r.move == MOVE_SENT || g->r.move == MOVE_IN)
        return; /* another server may have it */
    g->restart_at = h->mono + backoff(recent_restarts(h, g));
    host_guest_touch(h, g);
}

static bool policy_wants(const struct guest *g, enum api_vm_state state) {
    if (!g->r.should_run || !g->r.start)
        return false;
    return g->r.policy == API_RESTART_POLICY_ALWAYS ||
           (g->r.policy == API_RESTART_POLICY_ON_FAILURE && state == API_VM_STATE_CRASHED);
}

void host_guest_ended(struct host *h, struct guest *g, enum api_vm_state state, const char *reason) {
    _cleanup_buf_ struct buf text = {0};
    buf_adds(&text, reason);
    g->restart_at = NEVER;
    g->r.lost = !host_cluster_allows(h, g->r.guarded, g->r.incarnation) || host_cluster_doubts(h, g);
    if (g->r.lost) { /* the manager starts it again where it may run */
        g->r.should_run = false;
        state = API_VM_STATE_CRASHED;
        buf_consume(&text, text.len);
        buf_adds(&text, "its server had lost its pool");
    } else if (!policy_wants(g, state)) {
        g->r.should_run = false;
    } else if (recent_restarts(h, g) >= RESTART_LIMIT) {
        g->r.should_run = false;
        state = API_VM_STATE_CRASHED;
        buf_addf(&text, "; it is not restarted any more: it was, %d times within 10 minutes", RESTART_LIMIT);
    } else {
        host_guest_restart_later(h, g);
        buf_addf(&text, "; it is restarted in %d s", (int)((g->restart_at - h->mono) / 1000));
    }
    host_guest_set_state(h, g, state, text.data ? text.data : "");
}

void host_guest_restart(struct host *h, struct guest *g) {
    struct record *r = &g->r;
    if (!host_cluster_allows(h, r->guarded, r->incarnation) || host_cluster_doubts(h, g)) {
        g->restart_at = NEVER;
        r->should_run = false;
        r->lost = true;
        /* A new state, or an older answer that is on its way would be taken for a later word (its sequence). */
        host_guest_set_state(h, g, API_VM_STATE_CRASHED, "its server had lost its pool");
        return;
    }
    if (recent_restarts(h, g) == RESTART_LIMIT)
        r->n_restarted--; /* the clock was set back */
    r->restarted[r->n_restarted++] = h->wall;
    r->restarts++;
    g->restart_at = NEVER;
    g->starting = true;
    host_guest_set_state(h, g, API_VM_STATE_STARTING, "restarted by its restart policy");
    json_t *args = json_loads(r->start, 0, NULL);
    json_object_set_new(args, "guarded", json_boolean(r->guarded)); /* it may have become so since */
    r->incarnation = host_cluster_lease(h, g);
    json_set_int(args, "incarnation", r->incarnation);
    struct call *c = host_call(h, CALL_RESTART, API_AGENT_OP_GUEST_START, args, true);
    c->guest = g;
    g->n_calls++;
}

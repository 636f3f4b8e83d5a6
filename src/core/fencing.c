/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lost servers of pools that are too small for a quorum. Of two servers that do not see each other each may be the one
 * that is cut off, so neither kills its guests, and nothing says that those of the other are dead but its power being
 * off. Where the pool's policy asks for it, the manager has it switched off: it is the third that sees both.
 *
 * What must be so, all of it for WAIT_MS, and for GRACE_MS after the manager's start:
 *
 *   - the server is silent: not connected, or its connection does not answer a question;
 *   - the other one is connected, answers a question that is put to it now, has a ring, and does not see it in there.
 * So a server that only the manager has lost is never switched off: the other sees it;
 *   - highly available guests are there that could start on the other one.
 *
 * The agent that switches looks once more whether it sees the server, because an order may be old when it is read. Only
 * a power that is confirmed to be off counts (failover.c); one that cannot be switched is tried again, ever more
 * seldom.
 */
#include "core/core_int.h"

#define WAIT_MS      3000
#define GRACE_MS     10000
#define LOOK_MS      2000
#define ASK_MS       2000
#define AGAIN_MS     30000
#define AGAIN_MAX_MS 600000

static const char *const alarm_needed = "server.fence-needed";

static bool lists(char *const *list, size_t n, const char *id) {
    for (size_t i = 0; i < n; i++)
        if (str_eq(list[i], id))
            return true;
    return false;
}

/* The other of two; NULL: there are more, or none. */
static const struct api_server *other_of(const struct core *c, const struct api_pool *p, const struct api_server *s) {
    const struct api_server *other = NULL;
    bool self = false;
    for (size_t i = 0; p->has_cluster && p->cluster.n_nodes == 2 && i < 2; i++) {
        const char *id = p->cluster.nodes[i].server;
        self |= str_eq(id, s->id);
        other = str_eq(id, s->id) ? other : CORE_GET(c, server, SERVER, id);
    }
    return self ? other : NULL;
}

static const struct api_pool *pool_of(const struct core *c, const struct api_server *s) {
    return s->has_cluster ? CORE_GET(c, pool, POOL, s->cluster.pool) : NULL;
}

static bool can_tell(const struct agent *a, const char *pool) {
    return a && a->connected && a->reported && !a->mute && a->state && str_eq(a->state->pool, pool) &&
           lists(a->state->members, a->state->n_members, a->server);
}

bool fencing_missed(const struct core *c, const struct api_server *s) {
    const struct api_pool *p = pool_of(c, s);
    const struct api_server *other = p ? other_of(c, p, s) : NULL;
    const struct agent *b = other ? map_get(&c->agents, other->id) : NULL;
    return can_tell(b, p ? p->id : "") && !lists(b->state->members, b->state->n_members, s->id);
}

bool fencing_seen(const struct core *c, const struct api_server *s) {
    const struct api_pool *p = pool_of(c, s);
    for (size_t i = 0; p && p->has_cluster && i < p->cluster.n_nodes; i++) {
        const char *id = p->cluster.nodes[i].server;
        const struct agent *b = str_eq(id, s->id) ? NULL : map_get(&c->agents, id);
        if (can_tell(b, p->id) && lists(b->state->members, b->state->n_members, s->id))
            return true;
    }
    return false;
}

/* Somebody of its pool sees it, or nobody is there who could. */
bool fencing_contradicted(const struct core *c, const struct api_server *s) {
    const struct api_pool *p = pool_of(c, s);
    bool others = false, asked = false;
    for (size_t i = 0; p && p->has_cluster && i < p->cluster.n_nodes; i++) {
        const char *id = p->cluster.nodes[i].server;
        const struct agent *b = str_eq(id, s->id) ? NULL : map_get(&c->agents, id);
        others |= !str_eq(id, s->id);
        asked |= b && b->connected && b->reported;
    }
    return fencing_seen(c, s) || (others && !asked);
}

/* Guests that could start on the other server. */
static size_t guests_lost(const struct core *c, const struct api_server *s) {
    const struct table *t = &c->tables[API_KIND_VM];
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct api_vm *vm = t->sorted[i]->v->data;
        n += str_eq(vm->server, s->id) && vm->has_ha && vm->ha.enabled && (!vm_is_off(vm) || vm->restarting) &&
             vm->state != API_VM_STATE_CREATING && vm->state != API_VM_STATE_DELETING;
    }
    return n;
}

static bool has_agent(const struct api_server *s) { return s->has_fence && !str_empty(s->fence.agent); }

static void tell(struct core *c, const struct api_pool *p, const struct api_server *s, size_t guests) {
    bool automatic = p->fencing == API_FENCING_POLICY_AUTO && has_agent(s);
    _cleanup_free_ char *what =
        automatic ? xstrdup("it is being switched off")
                  : xasprintf("if it is lost, switch it off: tarn server fence %s --action %s", s->name,
                              has_agent(s) ? "off" : "confirm, once you have seen that its power is off");
    core_alarm_raise(c, API_SEVERITY_ERROR, API_KIND_SERVER, s->id, s->name, alarm_needed,
                     "Neither the manager nor the other server of pool %s sees server %s. %zu highly available virtual "
                     "machine%s there can start on the other one only when its power is off; %s",
                     p->name, s->name, guests, guests == 1 ? "" : "s", what);
}

void fencing_stand_down(struct core *c, struct agent *a) {
    a->unseen_at = 0;
    core_alarm_clear(c, a->server, alarm_needed);
}

static bool is_silent(const struct agent *a) { return !a->connected || a->mute; }

/* Whether it has been lost for long enough to be switched off; else it is looked at again when that could be. */
static bool is_due(struct core *c, struct agent *a, const struct api_server *s) {
    const struct api_pool *p = pool_of(c, s);
    if (!p || !p->clustered || p->failover != API_FAILOVER_POLICY_RESTART || !fencing_missed(c, s)) {
        fencing_stand_down(c, a);
        return false;
    }
    if (!is_silent(a))
        failover_probe(c, a, s);
    if (!is_silent(a)) {
        fencing_stand_down(c, a);
        return false;
    }
    if (!a->unseen_at)
        a->unseen_at = c->mono_ms;
    int64_t at = a->unseen_at + WAIT_MS, not_before = c->began_at + GRACE_MS;
    a->check_at = at > not_before ? at : not_before;
    return c->mono_ms >= a->check_at;
}

void fencing_review(struct core *c, struct agent *a, const struct api_server *s) {
    if (!is_due(c, a, s))
        return;
    const struct api_pool *p = pool_of(c, s);
    size_t guests = guests_lost(c, s);
    a->check_at = c->mono_ms + LOOK_MS;
    if (!guests) {
        core_alarm_clear(c, s->id, alarm_needed);
        return;
    }
    tell(c, p, s, guests);
    if (p->fencing != API_FENCING_POLICY_AUTO || !has_agent(s) || fence_under_way(c, s->id) || c->mono_ms < a->fence_at)
        return;
    if (!a->check || c->mono_ms >= a->check_sent + ASK_MS)
        failover_ask(c, a, core_agent(c, other_of(c, p, s)->id));
    a->check_at = a->check_sent + ASK_MS;
}

/* The other one has just said what it sees. */
void fencing_answered(struct core *c, struct agent *a, const struct api_server *s) {
    const struct api_pool *p = pool_of(c, s);
    if (!is_due(c, a, s) || a->welcome_at >= a->check_sent || p->fencing != API_FENCING_POLICY_AUTO || !has_agent(s) ||
        fence_under_way(c, s->id) || !guests_lost(c, s))
        return;
    core_event(
        c, API_SEVERITY_WARNING, "tarn", "server.fence-auto", API_KIND_SERVER, s->id, s->name, NULL,
        "Server %s is lost: it is switched off, so that its highly available virtual machines can start elsewhere",
        s->name);
    fence_off(c, s->id);
}

void fencing_failed(struct core *c, const char *server) {
    struct agent *a = core_agent(c, server);
    a->fence_delay = a->fence_delay ? a->fence_delay * 2 : AGAIN_MS;
    if (a->fence_delay > AGAIN_MAX_MS)
        a->fence_delay = AGAIN_MAX_MS;
    a->fence_at = c->mono_ms + a->fence_delay;
}

void fencing_changed(struct core *c, const char *server) {
    struct agent *a = core_agent(c, server);
    const struct api_server *s = CORE_GET(c, server, SERVER, server);
    a->fence_at = a->fence_delay = 0;
    if (!has_agent(s))
        core_alarm_clear(c, server, "fence.failed");
    failover_look(c, server);
    cluster_check_proof(c, s->pool);
}

/* ---- what failover rests on ---- */

enum api_failover_proof pool_proof(const struct core *c, const struct api_pool *p) {
    size_t armed = 0, fenced = 0, n = p->has_cluster ? p->cluster.n_nodes : 0;
    for (size_t i = 0; i < n; i++) {
        const struct api_server *s = CORE_GET(c, server, SERVER, p->cluster.nodes[i].server);
        armed += s && cluster_is_armed(s);
        fenced += s && has_agent(s);
    }
    if (!p->clustered || p->failover != API_FAILOVER_POLICY_RESTART)
        return API_FAILOVER_PROOF_NONE;
    if (n > 2 && armed == n)
        return API_FAILOVER_PROOF_QUORUM;
    return n == 2 && fenced == 2 && p->fencing == API_FENCING_POLICY_AUTO ? API_FAILOVER_PROOF_FENCE
                                                                          : API_FAILOVER_PROOF_NONE;
}

static bool has_guests(const struct core *c, const struct api_pool *p) {
    const struct table *t = &c->tables[API_KIND_VM];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_vm *vm = t->sorted[i]->v->data;
        if (str_eq(vm->pool, p->id) && vm->has_ha && vm->ha.enabled)
            return true;
    }
    return false;
}

/* Who has made a virtual machine highly available is told when nothing would restart it. */
void pool_check_protection(struct core *c, const struct api_pool *p) {
    bool wanted = p->clustered && p->failover == API_FAILOVER_POLICY_RESTART && !map_get(&c->locks, p->id);
    if (!wanted || pool_proof(c, p) != API_FAILOVER_PROOF_NONE || !has_guests(c, p)) {
        core_alarm_clear(c, p->id, "pool.unprotected");
        return;
    }
    size_t n = p->has_cluster ? p->cluster.n_nodes : 0;
    _cleanup_free_ char *what =
        n == 2  ? xasprintf("two servers cannot tell which of them is lost. Add a third, which may be small and run no "
                             "guests, or give both a fence agent and: tarn pool set %s --fencing auto",
                            p->name)
        : n < 2 ? xasprintf("its cluster has %zu server%s. Add servers with: tarn pool add %s SERVER", n,
                            n == 1 ? "" : "s", p->name)
                : xstrdup("not all of its servers are set up yet");
    core_alarm_raise(c, API_SEVERITY_WARNING, API_KIND_POOL, p->id, p->name, "pool.unprotected",
                     "The highly available virtual machines of pool %s do not restart by themselves when a server is "
                     "lost: %s",
                     p->name, what);
}

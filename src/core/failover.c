/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens when a server of a clustered pool is lost.
 *
 * The manager's own opinion counts for nothing: that a server does not answer it may be the manager's network. A server
 * is given up when it is not connected, or does not answer, or says itself that it has lost its pool, and either
 *
 *   - another server that holds its lease says, asked after that, that the server has been out of the ring for
 *     HOLD_MS: whatever the server does, its tarn-deadman has killed its highly available guests by then (the agent's
 *     guest/deadman.h says why); or
 *   - a fence agent has confirmed that its power is off, and that other server does not see it any more, or, in a pool
 *     whose servers are not armed, it has not been heard of since. Who switches it off there: fencing.c.
 *
 * The hold is counted where the loss was seen, so that the manager's own restart changes nothing; and the question is
 * asked anew each time, so that no old message is believed. Nor is what was true before: whoever answers knows of the
 * others as of its newest proof, and may hold its lease for seconds while those with which it proved it form a ring
 * with the server that it calls gone, which begins a lease of its own in it. So the server must not have been known to
 * be well since that proof. A server that its agents call a member is never given up.
 *
 * Then its guests are dead: jobs that work on them end, the highly available ones become crashed and belong to no
 * server, and a job vm.recover for each starts it elsewhere (job_recover.c). A guest that its own agent calls lost goes
 * the same way at once. The others become unknown and stay. When the server comes back it is told to kill what belongs
 * to another now.
 */
#include "core/core_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define HOLD_MS         5000 /* CLUSTER_HOLD_MS of the agent */
#define ASK_TIMEOUT_MS  2000
#define ASK_AGAIN_MS    500
#define PROBE_MS        1500
#define CLOCKS_MS       10   /* by which clocks may differ in the life of a lease */
#define FENCE_SILENT_MS 3000 /* without a word, after its power was switched off */
#define ENDING_MS       3000 /* in which all that ended with a lease is told, one after the other */
#define FENCE_SEEN_MS   5000 /* by others of its pool, which notice sooner that one is off */

static const char *pool_of(const struct api_server *s) { return s->has_cluster ? str_or(s->cluster.pool, "") : ""; }

void agent_cluster_free(struct agent *a) {
    if (a->state) {
        api_cluster_state_done(a->state);
        free(a->state);
    }
    a->state = NULL;
}

static bool agent_quorate(const struct core *c, const struct agent *a) {
    return a && a->connected && a->reported && a->state && a->state->quorate && c->started;
}

bool server_is_gone(const struct core *c, const char *server) {
    const struct api_server *s = CORE_GET(c, server, SERVER, server);
    return s && s->has_cluster && s->cluster.gone;
}

/*
 * What a server that is given up watches now is none of what died with it; and one whose deadman is not armed yet,
 * after a boot, would not kill it. Its word counts when it is back, and armed.
 */
static bool watches_count(struct core *c, const struct api_server *s) {
    return !s->has_cluster || (!s->cluster.gone && (!s->cluster.armed || core_agent(c, s->id)->armed));
}

bool failover_watches(struct core *c, const char *server, const struct api_guest_report *g) {
    const struct api_server *s = CORE_GET(c, server, SERVER, server);
    if (!g->guarded || !s || watches_count(c, s))
        return g->guarded;
    if (!state_is_off(g->state))
        core_agent(c, server)->unheeded = true;
    return false;
}

/* An armed server starts it under its lease or not at all: lost before it has answered, it runs there no more; unless
   it ran there before, watched or not (off is false). One that is not highly available runs on. */
void failover_vm_ordered(struct core *c, const char *id, bool off) {
    const struct api_vm *vm = CORE_GET(c, vm, VM, id);
    const struct api_server *s = vm ? CORE_GET(c, server, SERVER, vm->server) : NULL;
    bool ha = vm && vm->has_ha && vm->ha.enabled;
    bool leased = ha && off && s && s->has_cluster && s->cluster.armed && !s->cluster.gone;
    bool watched = leased || (ha && vm->watched);
    if (!vm || vm->watched == watched)
        return;
    struct api_vm *put = CORE_COPY(vm, VM, vm);
    put->watched = watched;
    core_put(c, API_KIND_VM, put);
}

/* ---- virtual machines that are to be started elsewhere ---- */

bool pool_restarts(const struct core *c, const struct api_vm *vm) {
    const struct api_pool *p = CORE_GET(c, pool, POOL, vm->pool);
    return p && p->failover == API_FAILOVER_POLICY_RESTART;
}

/* Or is about to again: who was to restart it is lost as well. */
static bool runs_for_all_we_know(const struct api_vm *vm) {
    return vm->state == API_VM_STATE_RUNNING || vm->state == API_VM_STATE_SUSPENDED ||
           vm->state == API_VM_STATE_UNKNOWN || vm->state == API_VM_STATE_STARTING ||
           vm->state == API_VM_STATE_STOPPING || vm->state == API_VM_STATE_MIGRATING ||
           (vm_is_off(vm) && vm->restarting);
}

static bool dies(const struct core *c, const struct api_vm *vm) {
    const struct api_server *s = CORE_GET(c, server, SERVER, vm->server);
    /* A fenced server's guests are dead whether anybody watched them or not. One of which it does not know yet that
       it is highly available its agent may start again after the boot, by its restart policy. */
    return vm->watched || (s && s->has_cluster && s->cluster.fenced && !vm->untold);
}

static bool is_protected(const struct core *c, const struct api_vm *vm) {
    return vm->has_ha && vm->ha.enabled && dies(c, vm) && pool_restarts(c, vm);
}

/* One that only its power has ended, and that nobody starts elsewhere, its own agent's policy may start again. */
bool failover_vm_dies(const struct core *c, const struct api_vm *vm) { return vm->watched || is_protected(c, vm); }

static void vm_lost(struct core *c, const char *id, const char *server_name) {
    struct api_vm *vm = CORE_COPY(vm, VM, CORE_GET(c, vm, VM, id));
    vm->state = API_VM_STATE_CRASHED;
    vm->watched = vm->restarting = false;
    str_set(&vm->server, "");
    str_take(&vm->state_reason, xasprintf("server %s is gone; it is to be started again", server_name));
    core_event(c, API_SEVERITY_ERROR, "tarn", "vm.lost", API_KIND_VM, vm->id, vm->name, NULL,
               "Virtual machine %s ended with server %s and is to be started again", vm->name, server_name);
    core_put(c, API_KIND_VM, vm);
}

static int by_priority(const void *a, const void *b) {
    const struct api_vm *x = *(const struct api_vm *const *)a, *y = *(const struct api_vm *const *)b;
    if (x->ha.priority != y->ha.priority)
        return x->ha.priority < y->ha.priority ? 1 : -1;
    return strcmp(x->id, y->id);
}

/* All that the server had and no job holds; those that one holds follow when it ends (failover_vm_free). now: it has
   just been given up; later what was made highly available since has not died with it, fenced or not. */
static void recover_all(struct core *c, const struct api_server *s, bool now) {
    size_t all, n = 0;
    _cleanup_free_ struct object **vms = server_vms(c, s->id, &all);
    const struct api_vm **list = xcalloc(all + 1, sizeof *list);
    char(*ids)[UUID_LEN + 1] = xcalloc(all + 1, sizeof *ids);
    for (size_t i = 0; i < all; i++) {
        const struct api_vm *vm = vms[i]->v->data;
        if (jobs_hold(c, vm->id) || !runs_for_all_we_know(vm))
            continue;
        if (is_protected(c, vm) && (now || vm->watched))
            list[n++] = vm;
        else
            core_set_vm_state(c, vm->id, API_VM_STATE_UNKNOWN, "its server is gone from its pool");
    }
    qsort(list, n, sizeof *list, by_priority);
    for (size_t i = 0; i < n; i++)
        memcpy(ids[i], list[i]->id, UUID_LEN);
    for (size_t i = 0; i < n; i++)
        vm_lost(c, ids[i], s->name);
    for (size_t i = 0; i < n; i++)
        recover_submit(c, ids[i], 0);
    free(list);
    free(ids);
}

/* An answer to the job has told that it ended with the lease; who asked for its end has it. */
static bool was_lost(const struct job_ctx *x, const struct api_vm *vm) {
    return json_bool(x->job->vars, "lost", false) && vm->state == API_VM_STATE_CRASHED &&
           !str_eq(x->job->kind, "vm.stop") && !str_eq(x->job->kind, "vm.kill");
}

void failover_vm_free(struct job_ctx *x, const char *id) {
    struct core *c = x->c;
    const struct api_vm *vm = CORE_GET(c, vm, VM, id);
    const struct api_server *s = vm ? CORE_GET(c, server, SERVER, vm->server) : NULL;
    if (s && was_lost(x, vm)) {
        job_put_end(x);
        failover_vm_lost(c, id);
        return;
    }
    if (!s || !s->has_cluster || !s->cluster.gone || jobs_hold(c, id) || !runs_for_all_we_know(vm))
        return;
    if (!is_protected(c, vm)) {
        if (!core_agent_ready(c, s->id)) /* one that is back already has told */
            core_set_vm_state(c, id, API_VM_STATE_UNKNOWN, "its server is gone from its pool");
        return;
    }
    job_put_end(x);
    vm_lost(c, id, s->name);
    recover_submit(c, id, 0);
}

/* Its agent says that it ended with the lease: that is sure, and needs no waiting. */
void failover_vm_lost(struct core *c, const char *id) {
    const struct api_vm *vm = CORE_GET(c, vm, VM, id);
    const struct api_server *s = vm ? CORE_GET(c, server, SERVER, vm->server) : NULL;
    if (s)
        core_agent(c, s->id)->lost_at = c->mono_ms;
    if (!s || jobs_hold(c, id) || !vm->has_ha || !vm->ha.enabled || !pool_restarts(c, vm))
        return;
    vm_lost(c, id, s->name);
    recover_submit(c, id, 0);
}

/* ---- giving up ---- */

static struct api_server *cluster_copy(const struct api_server *s) {
    struct api_server *put = CORE_COPY(server, SERVER, s);
    put->has_cluster = true;
    return put;
}

/* That its guests ran, of which a job has kept the word until its end, was before; that they had ended holds. */
static void forget_what_it_said(struct core *c, const char *id) {
    size_t n;
    _cleanup_free_ struct object **vms = server_vms(c, id, &n);
    for (size_t i = 0; i < n; i++)
        core_drop_held_alive(c, vms[i]->id);
}

static void give_up(struct core *c, const char *id, const char *why) {
    const struct api_server *s = CORE_GET(c, server, SERVER, id);
    if (s->has_cluster && s->cluster.gone)
        return;
    struct api_server *put = cluster_copy(s);
    put->cluster.gone = true;
    core_event(c, API_SEVERITY_ERROR, "tarn", "server.gone", API_KIND_SERVER, s->id, s->name, NULL,
               "Server %s is given up: %s", s->name, why);
    core_put(c, API_KIND_SERVER, put);
    forget_what_it_said(c, id);
    fencing_stand_down(c, core_agent(c, id));
    bool answers = core_agent_is_connected(c, id) && !core_agent(c, id)->mute && !s->cluster.fenced;
    alarms_server_gone(c, s, answers, why);
    s = CORE_GET(c, server, SERVER, id);
    if (core_agent_is_connected(c, id))
        core_drop(c, id); /* what lies in that connection is not for it any more; it comes back with a report */
    jobs_server_gone(c, id, s->name);
    recover_all(c, CORE_GET(c, server, SERVER, id), true);
}

/* It is alive, so its power is not off: whatever was confirmed is over, or was not true. */
static void not_fenced(struct core *c, const char *id, const char *but) {
    const struct api_server *s = CORE_GET(c, server, SERVER, id);
    if (!s || !s->has_cluster || !s->cluster.fenced)
        return;
    struct api_server *put = cluster_copy(s);
    put->cluster.fenced = false;
    core_put(c, API_KIND_SERVER, put);
    if (!but)
        return;
    if (s->has_fence && !str_empty(s->fence.agent))
        core_alarm_raise(c, API_SEVERITY_ERROR, API_KIND_SERVER, s->id, s->name, "fence.failed",
                         "The fence agent of server %s says that its power was off, but %s: is the address that of its "
                         "own management controller?",
                         s->name, but);
    else
        core_event(c, API_SEVERITY_WARNING, "tarn", "server.power", API_KIND_SERVER, s->id, s->name, NULL,
                   "The power of server %s was confirmed to be off, but %s", s->name, but);
}

static void take_back(struct core *c, const char *id) {
    const struct api_server *s = CORE_GET(c, server, SERVER, id);
    if (!s || !s->has_cluster || (!s->cluster.gone && !s->cluster.fenced))
        return;
    struct api_server *put = cluster_copy(s);
    put->cluster.gone = put->cluster.fenced = false;
    core_alarm_clear(c, id, "server.gone");
    core_event(c, API_SEVERITY_INFO, "tarn", "server.back", API_KIND_SERVER, s->id, s->name, NULL, "Server %s is back",
               s->name);
    core_put(c, API_KIND_SERVER, put);
    vms_tell_again(c, id);
}

/* ---- who is suspect, and who is asked ---- */

static bool is_suspect(const struct agent *a, const struct api_server *s) {
    bool lost_pool = a->state && !a->state->quorate;
    return !a->connected || a->mute || (s->cluster.armed && lost_pool);
}

bool failover_vm_ending(struct core *c, const struct api_vm *vm) {
    const struct api_server *s = CORE_GET(c, server, SERVER, vm->server);
    const struct agent *a = s && s->has_cluster && !s->cluster.gone ? core_agent(c, s->id) : NULL;
    if (!a || !vm->watched || !runs_for_all_we_know(vm) || !is_protected(c, vm))
        return false;
    bool says_so = a->connected && !a->mute && s->cluster.armed && a->state && !a->state->quorate;
    return says_so || (a->lost_at && c->mono_ms < a->lost_at + ENDING_MS);
}

static int64_t gone_ms_in(const struct api_cluster_state *state, const char *server) {
    for (size_t i = 0; state && i < state->n_left; i++)
        if (str_eq(state->left[i].server,
                   server)) /* whatever it says: it is added to, and longer than this is the same */
            return state->left[i].gone_ms > HOLD_MS ? HOLD_MS : state->left[i].gone_ms;
    return -1;
}

/* Its agent does not answer, but a server that holds its lease sees it: it is up, and its guests run, or may. */
bool failover_is_seen(struct core *c, const struct api_server *s) {
    const struct table *t = &c->tables[API_KIND_SERVER];
    for (size_t i = 0; s->has_cluster && i < t->n; i++) {
        const struct api_server *other = t->sorted[i]->v->data;
        const struct agent *a = map_get(&c->agents, other->id);
        if (str_eq(other->id, s->id) || !str_eq(pool_of(other), pool_of(s)) || !agent_quorate(c, a))
            continue;
        for (size_t k = 0; k < a->state->n_members; k++)
            if (str_eq(a->state->members[k], s->id))
                return true;
    }
    return false;
}

/* A server of the pool that holds its lease and does not see this one. */
static struct agent *witness_find(struct core *c, const struct api_server *s) {
    const struct table *t = &c->tables[API_KIND_SERVER];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_server *other = t->sorted[i]->v->data;
        struct agent *a = map_get(&c->agents, other->id);
        if (str_eq(other->id, s->id) || !str_eq(pool_of(other), pool_of(s)) || !agent_quorate(c, a))
            continue;
        if (gone_ms_in(a->state, s->id) >= 0 && (!a->silent_until || c->mono_ms >= a->silent_until))
            return a;
    }
    return NULL;
}

static void send_check(struct core *c, const char *to, uint64_t serial, const char *about) {
    core_send(c, to,
              json_pack("{s:o, s:s, s:{}}", "id", json_sprintf("check/%" PRIu64 "/%s", serial, about), "op",
                        "cluster.check", "args"));
}

void failover_ask(struct core *c, struct agent *a, struct agent *witness) {
    a->check = ++c->next_check;
    a->check_sent = c->mono_ms;
    str_set(&a->witness, witness->server);
    send_check(c, witness->server, a->check, a->server);
}

/* A connection says little: it looks well for a long time after the other end is gone. While others of its pool do not
   see a server it is asked itself, so that the hold is not followed by another wait. */
void failover_probe(struct core *c, struct agent *a, const struct api_server *s) {
    if (!s->cluster.fenced && !witness_find(c, s) && !fencing_missed(c, s))
        return;
    if (!a->probe && a->probed_at && c->mono_ms < a->probed_at + ASK_AGAIN_MS) {
        a->check_at = a->probed_at + ASK_AGAIN_MS; /* it has just answered, and they contradict each other still */
        return;
    }
    if (!a->probe) {
        a->probe = ++c->next_check;
        a->probe_sent = c->mono_ms;
        send_check(c, s->id, a->probe, s->id);
    }
    a->check_at = a->probe_sent + PROBE_MS;
    if (c->mono_ms < a->check_at)
        return;
    a->late = a->probe;
    a->probe = 0;
    a->mute = true;
}

/* What found no room may find it there. */
static void answers_again(struct core *c, struct agent *a) {
    if (a->mute)
        recover_soon(c);
    a->mute = false;
}

/* It came, but we have not read it in time (we stood still, or had much to read): it is asked anew. What it says is
   old, and it proves nothing of after a power switch. */
static void probe_answer_late(struct core *c, struct agent *a) {
    a->late = 0;
    answers_again(c, a);
    failover_look(c, a->server);
}

static void probe_answer(struct core *c, struct agent *a, uint64_t serial, const struct api_cluster_state *state) {
    if (a->late == serial)
        probe_answer_late(c, a);
    if (a->probe != serial)
        return;
    a->probe = 0;
    a->probed_at = c->mono_ms;
    recover_soon(c); /* it was no place for anything until now */
    not_fenced(c, a->server, "the server has gone on answering");
    failover_state(c, a->server, state);
    if (!a->check_at)
        a->check_at = c->mono_ms + ASK_AGAIN_MS; /* as long as they contradict each other */
}

/* The servers of a pool that is not armed have nobody to ask: a confirmed fence, and silence since. */
static void review_fenced(struct core *c, struct agent *a, const struct api_server *s) {
    /* After our start nothing has been heard of anybody yet. */
    int64_t silent_at = (a->heard_at ? a->heard_at : c->began_at + HOLD_MS) + FENCE_SILENT_MS;
    if (a->connected && !a->mute)
        a->check_at = 0; /* it has just come, and says that it is there */
    else if (c->mono_ms < silent_at)
        a->check_at = silent_at;
    else if (fencing_contradicted(c, s))
        a->check_at = c->mono_ms + ASK_AGAIN_MS;
    else
        give_up(c, s->id, "its power is off");
}

/* It is up, though it does not answer us: that its power was off is over, or was not true. What is lost of it from now
   on is held until its lease has ended. */
static bool is_belied(struct core *c, struct agent *a, const struct api_server *s) {
    if (!s->cluster.fenced || s->cluster.gone || !fencing_seen(c, s))
        a->belied_at = 0;
    else if (!a->belied_at)
        a->belied_at = c->mono_ms;
    return a->belied_at && c->mono_ms - a->belied_at >= FENCE_SEEN_MS;
}

static void review(struct core *c, const struct api_server *s) {
    struct agent *a = core_agent(c, s->id);
    if (is_belied(c, a, s)) {
        not_fenced(c, s->id, "the others of its pool go on seeing it");
        s = CORE_GET(c, server, SERVER, s->id);
    }
    bool fenced = s->cluster.fenced;
    a->check_at = 0;
    if (s->cluster.gone)
        return;
    if (!s->cluster.armed && !fenced) {
        fencing_review(c, a, s);
        return;
    }
    if (!is_suspect(a, s))
        failover_probe(c, a, s);
    if (!is_suspect(a, s))
        return;
    if (a->check && c->mono_ms < a->check_sent + ASK_TIMEOUT_MS) {
        a->check_at = a->check_sent + ASK_TIMEOUT_MS;
        return;
    }
    if (a->check) { /* that one does not answer: another is asked meanwhile */
        struct agent *mute = map_get(&c->agents, a->witness);
        if (mute)
            mute->silent_until = c->mono_ms + 2 * ASK_TIMEOUT_MS;
        a->check = 0;
    }
    struct agent *w = witness_find(c, s);
    if (!w) {
        if (fenced && !s->cluster.armed)
            review_fenced(c, a, s);
        else
            a->check_at = c->mono_ms + ASK_TIMEOUT_MS;
        return;
    }
    int64_t gone = gone_ms_in(w->state, s->id) + (c->mono_ms - w->state_at);
    if (gone >= HOLD_MS || fenced)
        failover_ask(c, a, w);
    else
        a->check_at = c->mono_ms + HOLD_MS - gone;
    if (a->check)
        a->check_at = a->check_sent + ASK_TIMEOUT_MS;
}

void failover_look_pool(struct core *c, const char *pool) {
    struct table *t = &c->tables[API_KIND_SERVER];
    for (size_t i = 0; *pool && i < t->n; i++) {
        const struct api_server *s = t->sorted[i]->v->data;
        if (s->has_cluster && str_eq(s->cluster.pool, pool))
            review(c, s);
    }
}

/* ---- what servers say ---- */

static void state_take(struct core *c, struct agent *a, const struct api_cluster_state *state) {
    agent_cluster_free(a);
    a->state = xcalloc(1, sizeof *a->state);
    api_cluster_state_copy(a->state, state);
    a->state_at = a->heard_at = c->mono_ms;
    answers_again(c, a);
    if (state->quorate)
        a->quorate_until = c->mono_ms;
}

void failover_state(struct core *c, const char *server, const struct api_cluster_state *state) {
    const struct api_server *s = CORE_GET(c, server, SERVER, server);
    struct agent *a = core_agent(c, server);
    if (!s)
        return;
    if (a->state && a->state->quorate)
        a->quorate_until = c->mono_ms;
    state_take(c, a, state);
    a->armed |= state->armed; /* a deadman that is replaced, or read late, is armed still */
    cluster_show(c, s, state);
    s = CORE_GET(c, server, SERVER, server);
    if (state->quorate || str_empty(state->pool) || !s->has_cluster || !s->cluster.armed)
        take_back(c, server);
    s = CORE_GET(c, server, SERVER, server);
    if (s->has_cluster && s->cluster.gone)
        alarms_server_gone(c, s, true, "");
    if (a->unheeded && watches_count(c, s))
        a->again_at = c->mono_ms;
    failover_look_pool(c, pool_of(s));
}

/* Whatever it says: longer than an hour is the same. */
static int64_t proof_age(const struct api_cluster_state *state) {
    int64_t age = state->proof_age_ms < 3600000 ? state->proof_age_ms : 3600000;
    return age > 0 ? age + CLOCKS_MS : 0;
}

void failover_answer(struct core *c, const char *server, const char *id, const json_t *message) {
    uint64_t serial = 0;
    int at = 0;
    if (sscanf(id, "check/%" SCNu64 "/%n", &serial, &at) != 1 || !at)
        return;
    const struct api_server *s = CORE_GET(c, server, SERVER, id + at);
    struct agent *a = s ? core_agent(c, s->id) : NULL, *w = core_agent(c, server);
    struct api_cluster_state state;
    if (!a || !serial || (a != w && (a->check != serial || !str_eq(a->witness, server))) ||
        api_cluster_state_parse(json_object_get(message, "result"), API_PEER, &state, NULL) < 0)
        return;
    if (a == w) {
        probe_answer(c, a, serial, &state);
        api_cluster_state_done(&state);
        return;
    }
    int64_t sent = a->check_sent, gone = state.quorate ? gone_ms_in(&state, s->id) : -1;
    int64_t as_of = sent - proof_age(&state);
    a->check = 0;
    bool same = str_eq(state.pool, pool_of(s));
    state_take(c, w, &state);
    api_cluster_state_done(&state);
    if (!s->cluster.armed && !s->cluster.fenced) {
        if (same)
            fencing_answered(c, a, s);
        return;
    }
    /* Whoever has been well since the time that the answer tells of is not the one that it is about; what we knew
       before our start is forgotten. */
    bool still = is_suspect(a, s) && a->quorate_until < as_of && c->began_at < as_of && a->welcome_at < sent;
    if (same && still && gone >= 0 && s->cluster.fenced)
        give_up(c, s->id, "its power is off, and the others do not see it any more");
    else if (same && still && gone >= HOLD_MS && s->cluster.armed)
        give_up(c, s->id, "the others of its pool have not seen it for so long that it has ended its guarded guests");
    else
        a->check_at = c->mono_ms + (gone >= 0 && gone < HOLD_MS ? HOLD_MS - gone : ASK_AGAIN_MS);
}

void failover_fenced(struct core *c, const char *server) {
    const struct api_server *s = CORE_GET(c, server, SERVER, server);
    if (!s)
        return;
    struct api_server *put = cluster_copy(s);
    put->cluster.fenced = true;
    core_put(c, API_KIND_SERVER, put);
    struct agent *a = core_agent(c, server);
    a->heard_at = c->mono_ms;
    a->probe = a->late = 0; /* what was sent before says nothing of now */
    if (a->mute && a->connected) {
        a->late = ++c->next_check; /* else nobody hears that it goes on, should its power not be off */
        send_check(c, server, a->late, server);
    }
    if (s->cluster.gone) /* given up by its lease's end: now also what that had not ended has */
        recover_all(c, CORE_GET(c, server, SERVER, server), true);
    review(c, CORE_GET(c, server, SERVER, server));
}

void failover_look(struct core *c, const char *server) {
    const struct api_server *s = CORE_GET(c, server, SERVER, server);
    if (s && s->has_cluster)
        review(c, s);
}

/* Somebody has switched it on again; its fence agent is not asked for that. */
static void switched_on(struct core *c, const char *server) {
    const struct api_server *s = CORE_GET(c, server, SERVER, server);
    if (!s || !str_eq(s->power, "off"))
        return;
    struct api_server *put = CORE_COPY(server, SERVER, s);
    str_set(&put->power, "on");
    core_put(c, API_KIND_SERVER, put);
}

void failover_connected(struct core *c, const char *server) {
    struct agent *a = core_agent(c, server);
    a->welcome_at = a->heard_at = c->mono_ms;
    a->check = a->probe = a->late = 0;
    a->again_at = a->tell_at = a->tell_wait = a->lost_at = 0;
    a->mute = a->unheeded = a->armed = false;
    agent_cluster_free(a);
    fencing_stand_down(c, a);
    not_fenced(c, server, NULL);
    switched_on(c, server);
    jobs_fence_lost(c, server); /* its last connection may have been replaced, and not have ended */
}

void failover_disconnected(struct core *c, const char *server) {
    const struct api_server *s = CORE_GET(c, server, SERVER, server);
    struct agent *a = core_agent(c, server);
    if (a->state && a->state->quorate)
        a->quorate_until = c->mono_ms;
    agent_cluster_free(a);
    if (!s)
        return;
    jobs_fence_lost(c, "");
    if (s->has_cluster)
        cluster_show_pool(c, s->cluster.pool);
    s = CORE_GET(c, server, SERVER, server);
    if (s->has_cluster && s->cluster.gone)
        jobs_server_gone(c, server, s->name); /* what it was asked meanwhile is not answered any more */
    s = CORE_GET(c, server, SERVER, server);
    failover_look_pool(c, pool_of(s));
}

/* ---- a server that comes back ---- */

/* The job has to do with the virtual machine on that server: it was asked something, or is one of the two of a move. */
static bool concerns(const struct api_job *j, const char *server) {
    size_t i;
    json_t *asked;
    json_array_foreach(json_object_get(j->vars, "asked"), i,
                       asked) if (str_eq(json_string_value(asked), server)) return true;
    return str_eq(json_str(j->args, "from"), server) || str_eq(json_str(j->args, "to"), server) ||
           str_eq(json_str(j->vars, "to"), server);
}

/* Who works on it may know better; but a recovery is just what makes it another's. */
static bool left_to_its_job(struct core *c, const struct api_vm *vm, const char *server) {
    const char *holder = locks_holder(c, vm->id);
    const struct api_job *j = holder ? CORE_GET(c, job, JOB, holder) : NULL;
    if (str_eq(vm->target, server))
        return true;
    return j && !str_eq(j->kind, "vm.recover") && concerns(j, server);
}

bool failover_stale(struct core *c, const char *server, const struct api_guest_report *g) {
    const struct api_vm *vm = CORE_GET(c, vm, VM, g->vm);
    if (!vm) /* deleted since: what was on its way here, had been sent, or has ended, is nobody's any more */
        return g->state == API_VM_STATE_MIGRATING || (state_is_off(g->state) && !g->should_run);
    return !str_eq(vm->server, server) && !left_to_its_job(c, vm, server);
}

static void tell_stale(struct core *c, const char *server, const char *vm) {
    static const char *const ops[] = {"guest.kill", "guest.forget"};
    char id[UUID_LEN + 1];
    core_new_id(c, id);
    for (int i = 0; i < 2; i++)
        core_send(
            c, server,
            json_pack("{s:o, s:s, s:{s:s}}", "id", json_sprintf("stale/%s/%d", id, i), "op", ops[i], "args", "vm", vm));
}

void failover_kill_stale(struct core *c, const char *server, const struct api_guest_report *g) {
    const struct api_vm *vm = CORE_GET(c, vm, VM, g->vm);
    const struct api_server *s = CORE_GET(c, server, SERVER, server);
    if (vm && !state_is_off(g->state))
        core_event(c, API_SEVERITY_WARNING, "tarn", "vm.stale-killed", API_KIND_VM, vm->id, vm->name, NULL,
                   "Server %s still ran virtual machine %s, which is not its any more: it is told to kill it", s->name,
                   vm->name);
    tell_stale(c, server, g->vm);
}

#define STALE_AGAIN_MS 10000

/* An order that had waited there for long, and of which nobody knows any more, may have been carried out. One that says
   so again was not ended: it is told with the next report. */
void failover_came_up(struct core *c, const char *server, const struct api_guest_report *g) {
    struct agent *a = core_agent(c, server);
    if (state_is_off(g->state) || g->state == API_VM_STATE_STOPPING || !failover_stale(c, server, g))
        return;
    if (str_eq(a->stale, g->vm) && c->mono_ms < a->stale_at + STALE_AGAIN_MS) {
        a->again_at = a->again_at ? a->again_at : c->mono_ms + STALE_AGAIN_MS;
        return;
    }
    snprintf(a->stale, sizeof a->stale, "%s", g->vm);
    a->stale_at = c->mono_ms;
    failover_kill_stale(c, server, g);
}

/* Its store, say, took nothing just then: with its next report it is told again. */
bool failover_stale_answered(struct core *c, const char *server, const char *id, const json_t *message) {
    _cleanup_error_ struct error e = ERROR_INIT;
    struct agent *a = core_agent(c, server);
    if (!json_bool(message, "ok", false))
        error_parse(&e, json_object_get(message, "error"));
    if (!a->again_at && (e.code == ERR_NO_SPACE || e.code == ERR_READ_ONLY || e.code == ERR_IO))
        a->again_at = c->mono_ms + STALE_AGAIN_MS;
    return str_eq(id + strlen(id) - 2, "/1");
}

static void tell_if_stale(struct core *c, const char *server, const struct api_vm *vm) {
    if (core_agent_ready(c, server) && !str_eq(vm->server, server) && !str_eq(vm->target, server))
        tell_stale(c, server, vm->id);
}

/* Servers of which the job did not wait for what they had to do, and which have reported before it ended; and what
   those had had before that a job in vain has asked: it was left to the job (left_to_its_job). */
void failover_vm_skipped(struct job_ctx *x, const char *id) {
    const struct api_vm *vm = CORE_GET(x->c, vm, VM, id);
    size_t i;
    json_t *server;
    if (!vm)
        return;
    json_array_foreach(json_object_get(x->job->vars, "skipped"), i, server)
        tell_if_stale(x->c, json_string_value(server), vm);
    if (x->job->state == API_JOB_STATE_DONE || !str_eq(x->job->object.id, id))
        return;
    json_array_foreach(json_object_get(x->job->vars, "asked"), i, server)
        tell_if_stale(x->c, json_string_value(server), vm);
}

/* ---- time ---- */

void failover_tick(struct core *c) {
    struct table *t = &c->tables[API_KIND_SERVER];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_server *s = t->sorted[i]->v->data;
        struct agent *a = s->has_cluster ? map_get(&c->agents, s->id) : NULL;
        if (a && a->check_at && c->mono_ms >= a->check_at)
            review(c, s);
    }
    size_t pos = 0;
    void *value;
    while (map_next(&c->agents, &pos, NULL, &value)) {
        struct agent *a = value;
        if (a->tell_at && c->mono_ms >= a->tell_at) {
            a->tell_at = 0;
            vms_tell_again(c, a->server);
        }
        if (!a->again_at || c->mono_ms < a->again_at)
            continue;
        a->again_at = 0;
        if (a->connected)
            core_drop(c, a->server);
    }
}

int64_t failover_deadline(const struct core *c) {
    int64_t next = INT64_MAX;
    size_t pos = 0;
    void *value;
    while (map_next(&c->agents, &pos, NULL, &value)) {
        const struct agent *a = value;
        if (a->check_at && a->check_at < next)
            next = a->check_at;
        if (a->again_at && a->again_at < next)
            next = a->again_at;
        if (a->tell_at && a->tell_at < next)
            next = a->tell_at;
    }
    return next;
}

/* After loading, and after the store's recovery: what an ended job would have brought about. */
void failover_start(struct core *c) {
    struct table *t = &c->tables[API_KIND_SERVER];
    jobs_fence_lost(c, "");
    for (size_t i = 0; i < t->n; i++) {
        const struct api_server *s = t->sorted[i]->v->data;
        if (!s->has_cluster)
            continue;
        if (!s->cluster.gone) {
            review(c, s);
            continue;
        }
        /* What it was asked when it was lost, and what was to be done about that when its connection ended. */
        _cleanup_free_ char *id = xstrdup(s->id), *name = xstrdup(s->name);
        if (!core_agent_is_connected(c, id))
            jobs_server_gone(c, id, name);
        recover_all(c, CORE_GET(c, server, SERVER, id), false);
    }
}

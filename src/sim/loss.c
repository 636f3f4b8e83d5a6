/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When all has come to rest, some servers of a clustered pool are lost, and stay away for as long as this takes: their
 * power, their network, or both networks while their agent hangs. More than half of the pool goes on. What was guarded
 * on them runs elsewhere soon, or says that no server can take it; whatever the schedule had done before. In the
 * schedule itself every server comes back, and a guest that waits for that would go unseen.
 */
#include "core/core_int.h"
#include "sim/sim.h"

#include <stdio.h>
#include <string.h>

#define SOON_US  (30LL * 1000 * 1000)
#define MOVE_US  (500LL * 1000)
#define SHORT_US (300LL * 1000) /* the manager hears of it, and it has not been restarted */
#define LOST_MAX 64 /* guests that are looked for */

static const char *const ways[] = {"power", "network", "network, and its agent hangs"};

struct loss {
    bool lost[SIM_SERVERS_MAX];
    char vms[LOST_MAX][UUID_LEN + 1];
    size_t n;
};

static const struct api_server *server_of(const struct sim *s, int i) { return core_server(s->m.c, s->servers[i].id); }

static const char *pool_of(const struct sim *s, int i) {
    const struct api_server *server = server_of(s, i);
    return server && server->has_cluster ? str_or(server->cluster.pool, "") : "";
}

/* It has its place in the cluster, and all that guards its guests works. */
static bool is_well(const struct sim *s, int i) {
    const struct sim_server *v = &s->servers[i];
    const struct api_server *server = server_of(s, i);
    return v->p.up && v->connected && server->cluster.armed && !server->cluster.gone && v->ring.deadman &&
           v->ring.armed && v->ring.lease.incarnation;
}

/* How many of the pool may be lost at once; 0: not all of it is well. */
static int may_lose(const struct sim *s, const char *pool) {
    int nodes = 0;
    for (int i = 0; i < s->config.servers; i++) {
        if (!str_eq(pool_of(s, i), pool))
            continue;
        nodes++;
        if (!is_well(s, i))
            return 0;
    }
    return nodes < 3 ? 0 : (nodes - 1) / 2;
}

static void note_guests(struct sim *s, int i, struct loss *l) {
    size_t n;
    struct object **vms = server_vms(s->m.c, s->servers[i].id, &n);
    for (size_t k = 0; k < n && l->n < LOST_MAX; k++) {
        const struct api_vm *vm = vms[k]->v->data;
        bool runs = (vm->state == API_VM_STATE_RUNNING || vm->state == API_VM_STATE_MIGRATING) &&
                    driver_guest(&s->servers[i], vm->id);
        bool restarts = vm_is_off(vm) && vm->restarting; /* by the server that is lost */
        if (vm->guarded && (runs || restarts))
            memcpy(l->vms[l->n++], vm->id, UUID_LEN);
    }
    free(vms);
}

/* What ends servers often ends a guest of theirs first, which then waits for its restart there. */
static void one_dies_before(struct sim *s, int i) {
    size_t n;
    int64_t until = s->now + SHORT_US;
    struct object **vms = server_vms(s->m.c, s->servers[i].id, &n);
    const struct api_vm *vm = n ? vms[0]->v->data : NULL;
    const struct sim_guest *g = vm ? driver_guest(&s->servers[i], vm->id) : NULL;
    if (g && driver_has(g))
        driver_guest_ends(s, i, vm->id, g->running && sim_random(s, 2));
    free(vms);
    while (g && !s->broken && s->now < until && sim_step(s)) {
    }
}

/* Or it is lost with what was just being moved away from it. */
static void one_moves_before(struct sim *s, int i) {
    size_t n;
    int64_t until = s->now + sim_between(s, 0, MOVE_US);
    struct object **vms = server_vms(s->m.c, s->servers[i].id, &n);
    const struct api_vm *vm = n ? vms[sim_random(s, n)]->v->data : NULL;
    if (vm)
        client_moves(s, vm->id);
    free(vms);
    while (vm && !s->broken && s->now < until && sim_step(s)) {
    }
}

static void lose(struct sim *s, int i) {
    struct sim_server *v = &s->servers[i];
    size_t way = sim_random(s, ARRAY_LEN(ways));
    sim_trace(s, "%s is lost: %s", v->name, ways[way]);
    cover_hit(s->cover, "loss", ways[way]);
    v->away = true;
    v->unreachable_until = INT64_MAX;
    for (int k = 0; k < s->config.servers; k++)
        if (k != i)
            s->link[i][k] = s->link[k][i] = false;
    if (way == 0)
        server_power_off(s, i);
    else
        server_cut(s, i, "it is lost");
    if (way == 2)
        v->p.paused_until = s->now + SOON_US;
    ring_disturbed(s);
}

static bool runs_elsewhere(const struct sim *s, const struct loss *l, const struct api_vm *vm) {
    for (int i = 0; i < s->config.servers; i++) {
        const struct sim_guest *g = l->lost[i] ? NULL : driver_guest((struct sim_server *)&s->servers[i], vm->id);
        if (g && driver_has(g) && g->running && str_eq(vm->server, s->servers[i].id))
            return vm->state == API_VM_STATE_RUNNING;
    }
    return false;
}

/* No server has room, or it is to come after others, or its start has failed. */
static bool waits_with_reason(const struct sim *s, const struct api_vm *vm) {
    if (!recover_waits(s->m.c, vm->id))
        return false;
    struct placement p;
    place(s->m.c, vm, &(struct place_options){.recovery = true}, &p);
    bool room = p.best != NULL;
    placement_done(&p);
    return !room || vm->ha.n_after || vm->ha.delay;
}

/* NULL: all that was lost runs again, or waits for what it may wait for. */
static const struct api_vm *still_missing(const struct sim *s, const struct loss *l, bool may_wait) {
    for (size_t i = 0; i < l->n; i++) {
        const struct api_vm *vm = core_vm(s->m.c, l->vms[i]);
        if (vm && !runs_elsewhere(s, l, vm) && !(may_wait && waits_with_reason(s, vm)))
            return vm;
    }
    return NULL;
}

static void all_run_again_soon(struct sim *s, const struct loss *l) {
    int64_t until = s->now + SOON_US;
    while (!s->broken && s->now < until && still_missing(s, l, false) && sim_step(s)) {
    }
    const struct api_vm *vm = s->broken ? NULL : still_missing(s, l, true);
    if (vm)
        sim_broken(s, "what was guarded runs again soon though its server stays away", "%s is %s: %s", vm->id,
                   api_vm_state_text(vm->state), vm->state_reason);
}

static void come_back(struct sim *s, const struct loss *l) {
    for (int i = 0; i < s->config.servers; i++)
        if (l->lost[i])
            s->servers[i].away = false;
}

bool loss_at_rest(struct sim *s) {
    struct loss l = {0};
    int first = (int)sim_random(s, (uint64_t)s->config.servers);
    const char *pool = pool_of(s, first);
    int most = *pool ? may_lose(s, pool) : 0;
    if (most == 0)
        return false;
    _cleanup_free_ char *of = xstrdup(pool);
    s->partitions++; /* no earlier cut of the network heals now */
    int n = sim_random(s, 3) ? 1 : 1 + (int)sim_random(s, (uint64_t)most);
    for (int k = 0; k < s->config.servers && n > 0; k++) {
        int i = (first + k) % s->config.servers;
        if (!str_eq(pool_of(s, i), of))
            continue;
        l.lost[i] = true;
        uint64_t before = sim_random(s, 4);
        if (before == 0)
            one_dies_before(s, i);
        else if (before == 1)
            one_moves_before(s, i);
        note_guests(s, i, &l);
        lose(s, i);
        n--;
    }
    s->patient = true;
    all_run_again_soon(s, &l);
    s->patient = false;
    come_back(s, &l);
    return !s->broken;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A clustered pool: how it is made, and what it promises: no server is given more than the pool's policy allows, and
 * what a rule keeps apart is apart. In one pool of three room is short, so that guests have to wait for it.
 *
 * Both promises are those of placement. They end where a client has changed the policy, the rules or what a virtual
 * machine needs, which it may at any time; and a guest that a server runs though it is another's by now, because that
 * server was given up and has come back, is about to be killed and does not count.
 */
#include "core/core_int.h"
#include "sim/sim.h"

#include <stdio.h>

#define TAG_APART "apart"

/* ---- what there is ---- */

void pool_draw_servers(struct sim *s) {
    bool tight = s->config.pool && sim_random(s, 3) == 0;
    s->tight = tight;
    for (int i = 0; i < s->config.servers; i++) {
        struct sim_server *v = &s->servers[i];
        v->memory = tight ? sim_between(s, 2, 8) << 26 : 4LL << 30;
        v->cpus = tight ? (int)sim_between(s, 1, 4) : 8;
    }
}

static bool jobs_are_done(struct sim *s) {
    struct core_counts n;
    if (!s->m.p.up)
        return false;
    core_counts(s->m.c, &n);
    return !n.jobs_active && !n.jobs_queued;
}

static bool all_are_connected(struct sim *s) {
    for (int i = 0; i < s->config.servers; i++)
        if (!core_agent_ready(s->m.c, s->servers[i].id))
            return false;
    return true;
}

static bool all_hold_leases(struct sim *s) {
    for (int i = 0; i < s->config.servers; i++)
        if (!s->servers[i].ring.armed || !s->servers[i].ring.lease.incarnation)
            return false;
    return jobs_are_done(s);
}

/* No fault happens until then. */
static void until(struct sim *s, bool (*ready)(struct sim *), int64_t seconds) {
    int64_t end = s->now + seconds * 1000 * US_PER_MS;
    while (!s->broken && s->now < end && !ready(s) && sim_step(s)) {
    }
}

static void make_vms(struct sim *s, uint64_t id) {
    int n = 2 + (int)sim_random(s, s->config.servers > 7 ? 12 : 5);
    bool apart = sim_random(s, 3) == 0;
    if (apart)
        schedule_ask(s, id++, API_OP_RULE_CREATE, NULL,
                     json_pack("{s:s, s:s, s:s, s:b, s:s}", "name", "rule", "pool", "pool", "type", "apart", "must", 1,
                               "tag", TAG_APART));
    for (int i = 0; i < n; i++) {
        json_t *disks = sim_random(s, 2) ? json_pack("[{s:i}]", "size", 1 << 20) : json_array();
        json_t *vm =
            json_pack("{s:o, s:s, s:s, s:i, s:i, s:b, s:o, s:{s:b, s:i}}", "name", json_sprintf("ha-%d", i), "pool",
                      "pool", "repository", "shared", "memory", s->tight ? (int)sim_between(s, 1, 3) << 26 : 64 << 20,
                      "cpus", s->tight ? (int)sim_between(s, 1, 2) : 1, "start", 1, "disks", disks, "ha", "enabled",
                      sim_random(s, 5) != 0, "priority", (int)sim_random(s, 100));
        if (apart && i < 3)
            json_object_set_new(vm, "tags", json_pack("[s]", TAG_APART));
        schedule_ask(s, id++, API_OP_VM_CREATE, NULL, vm);
    }
}

/* A clustered pool of all servers, a repository that all of them have, and guests that are to live. */
void pool_make(struct sim *s) {
    uint64_t id = 300;
    until(s, all_are_connected, 10);
    json_t *pool = json_pack("{s:s, s:b, s:i}", "name", "pool", "clustered", 1, "memory_reserve", 0);
    if (s->tight) {
        json_object_set_new(pool, "memory_reserve", json_integer(sim_random(s, 2) << 25));
        json_object_set_new(pool, "memory_overcommit", json_integer(sim_between(s, 4, 6) * 25));
        json_object_set_new(pool, "cpu_overcommit", json_integer(sim_between(s, 1, 3) * 100));
        json_object_set_new(pool, "admission_failures", json_integer(sim_random(s, 3) == 0));
    }
    if (sim_random(s, 4) == 0)
        json_object_set_new(pool, "placement", json_string("pack"));
    schedule_ask(s, id++, API_OP_POOL_CREATE, NULL, pool);
    for (int i = 0; i < s->config.servers; i++) {
        schedule_ask(s, id++, API_OP_POOL_ADD, "pool", json_pack("{s:s}", "server", s->servers[i].id));
        if (s->config.servers < 8 && sim_random(s, 4) == 0)
            until(s, jobs_are_done, 5);
    }
    schedule_ask(s, id++, API_OP_REPOSITORY_CREATE, NULL,
                 json_pack("{s:s, s:s, s:s}", "name", "shared", "path", "/shared", "pool", "pool"));
    for (int i = 0; i < s->config.servers && s->config.two; i++)
        schedule_ask(s, id++, API_OP_SERVER_CHANGE, s->servers[i].id,
                     json_pack("{s:{s:s}}", "fence", "agent", "fence_ipmilan"));
    if (s->config.two)
        schedule_ask(s, id++, API_OP_POOL_CHANGE, "pool", json_pack("{s:s}", "fencing", "auto"));
    until(s, all_hold_leases, 60);
    make_vms(s, id);
    until(s, jobs_are_done, 10);
    s->policy_holds = true;
}

/* ---- power ---- */

/* Whoever asked for it switches it on again soon. Elsewhere than in pools of two a power switch says nothing. */
void pool_fence(struct sim *s, const json_t *args, json_t *result) {
    bool off = s->config.two && str_eq(json_str(args, "action"), "off");
    json_set_str(result, "power", off ? "off" : "unknown");
    for (int i = 0; i < s->config.servers && off; i++) {
        if (!str_eq(s->servers[i].id, json_str(args, "server")))
            continue;
        server_power_off(s, i);
        json_object_set_new(result, "was_off", json_true());
        cover_hit(s->cover, "cluster", "a server is switched off");
    }
}

/* ---- what it promises ---- */

/* A client asks for something that changes what was promised. */
void pool_policy_asked(struct sim *s, const char *operation, const json_t *body) {
    static const char *const changes[] = {"pool_change", "pool_add",    "pool_remove",  "rule_create",
                                          "rule_change", "rule_delete", "server_change"};
    static const char *const needs[] = {"memory", "cpus", "sockets", "tags", "pool", "server"};
    for (size_t i = 0; i < ARRAY_LEN(changes); i++)
        if (str_eq(operation, changes[i]))
            s->policy_holds = false;
    s->failover_off |= str_eq(json_str(body, "failover"), "none");
    for (size_t i = 0; i < ARRAY_LEN(needs) && str_eq(operation, "vm_change"); i++)
        if (json_object_get(body, needs[i]))
            s->policy_holds = false;
}

/* One that had ended already and is stopped or killed by request takes no room, though it counts until that is done. */
static void ends_again(struct sim *s, struct sim_server *v, int64_t *memory, int64_t *cpus) {
    size_t n;
    struct object **vms = server_vms(s->m.c, v->id, &n);
    for (size_t i = 0; i < n; i++) {
        const struct api_vm *vm = vms[i]->v->data;
        if (vm->state != API_VM_STATE_STOPPING || driver_guest(v, vm->id))
            continue;
        *memory += vm->memory;
        *cpus += vm->cpus;
    }
    free(vms);
}

/* By the manager's own reckoning, whenever it tells of a virtual machine: what is reserved counts. */
void pool_promises_no_more_than_it_has(struct sim *s) {
    if (!s->policy_holds || !s->m.p.up)
        return;
    for (int i = 0; i < s->config.servers; i++) {
        const struct api_server *server = core_server(s->m.c, s->servers[i].id);
        const struct api_pool *pool = server ? CORE_GET(s->m.c, pool, POOL, server->pool) : NULL;
        const struct server_load *l = server ? server_load(s->m.c, server->id) : NULL;
        if (!pool)
            continue;
        int64_t memory = (s->servers[i].memory - pool->memory_reserve) * pool->memory_overcommit / 100;
        int64_t cpus = (int64_t)s->servers[i].cpus * pool->cpu_overcommit / 100;
        ends_again(s, &s->servers[i], &memory, &cpus);
        if (l->memory > memory || l->cpus > cpus)
            sim_broken(s, "a server is never promised more than its pool's policy allows",
                       "%s: %lld of %lld bytes, %lld of %lld CPUs", server->name, (long long)l->memory,
                       (long long)memory, (long long)l->cpus, (long long)cpus);
    }
}

/* The virtual machine as the inventory has it, if it says that the guest belongs there. */
static const struct api_vm *belongs(struct sim *s, const struct sim_server *v, const struct sim_guest *g) {
    const struct api_vm *vm = s->m.p.up ? core_vm(s->m.c, g->vm) : NULL;
    return vm && (str_eq(vm->server, v->id) || str_eq(vm->target, v->id)) ? vm : NULL;
}

static bool is_tagged(const struct api_vm *vm) {
    for (size_t i = 0; i < vm->n_tags; i++)
        if (str_eq(vm->tags[i], TAG_APART))
            return true;
    return false;
}

/* In truth, whenever a guest has come to a server. */
void pool_server_keeps_its_policy(struct sim *s, struct sim_server *v) {
    const struct api_server *server = s->policy_holds && s->m.p.up ? core_server(s->m.c, v->id) : NULL;
    const struct api_pool *pool = server ? CORE_GET(s->m.c, pool, POOL, server->pool) : NULL;
    if (!pool)
        return;
    int64_t memory = 0, cpus = 0;
    size_t tagged = 0;
    const struct sim_guest *g;
    list_for_each(g, &v->guests, link) {
        const struct api_vm *vm = g->over || g->sent ? NULL : belongs(s, v, g);
        if (!vm)
            continue;
        memory += g->memory;
        cpus += g->cpus;
        tagged += is_tagged(vm) && driver_has(g);
    }
    if (memory > (v->memory - pool->memory_reserve) * pool->memory_overcommit / 100 ||
        cpus > (int64_t)v->cpus * pool->cpu_overcommit / 100)
        sim_broken(s, "a server never holds more than its pool's policy allows", "%s: %lld bytes, %lld CPUs", v->name,
                   (long long)memory, (long long)cpus);
    if (tagged > 1 && server->maintenance == API_MAINTENANCE_STATE_OFF)
        sim_broken(s, "what a rule keeps apart is apart", "%zu of them on %s", tagged, v->name);
}

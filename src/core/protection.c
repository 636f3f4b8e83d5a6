/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeps a highly available virtual machine from being restarted elsewhere when its server is lost: told where it
 * is made so, not when the server has gone. `watched` is what its agent says (tarn-deadman ends it with the lease,
 * which failover.c goes by); `guarded` is what people want to know: that, and that another server could start it. Both
 * fields are filled in whenever a virtual machine is put, and again when its pool, that pool's servers, or the storage
 * changes.
 */
#include "api/said.h"
#include "core/core_int.h"

static bool is_ha(const struct api_vm *vm) { return vm->has_ha && vm->ha.enabled; }

/* NULL: another server of the pool has all its storage, and takes guests. */
static char *no_other_server(const struct core *c, const struct api_vm *vm, const struct api_pool *p) {
    const struct table *t = &c->tables[API_KIND_SERVER];
    const struct api_repository *missing = NULL;
    size_t reach = 0, closed = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct api_server *s = t->sorted[i]->v->data;
        if (!str_eq(s->pool, p->id) || str_eq(s->id, vm->server))
            continue;
        const struct api_repository *m = vm_unreached(c, vm, s->id);
        missing = m ? m : missing;
        closed += !m && s->maintenance != API_MAINTENANCE_STATE_OFF;
        reach += !m && s->maintenance == API_MAINTENANCE_STATE_OFF;
        if (reach && (!str_empty(vm->server) || reach > 1))
            return NULL;
    }
    if (closed && (reach || !str_empty(vm->server)))
        return xasprintf("the other servers of its pool \"%s\" that could run it are in maintenance", p->name);
    if (closed)
        return xasprintf("the servers of its pool \"%s\" that could run it are in maintenance", p->name);
    if (missing && (reach || !str_empty(vm->server)))
        return xasprintf("no other server of its pool has the storage repository \"%s\"", missing->name);
    if (missing)
        return xasprintf("not two servers of its pool have the storage repository \"%s\"", missing->name);
    return xasprintf("its pool \"%s\" has no other server", p->name);
}

/* The manager cannot know that the lost one's guests are dead. */
static bool two_without_fence(const struct api_pool *p) {
    return p->has_cluster && p->cluster.n_nodes == 2 && p->cluster.proof == API_FAILOVER_PROOF_NONE;
}

char *vm_unguarded(const struct core *c, const struct api_vm *vm) {
    const struct api_pool *p = CORE_GET(c, pool, POOL, vm->pool);
    if (!is_ha(vm))
        return NULL;
    if (!p)
        return xstrdup("it is in no server pool");
    if (!p->clustered)
        return xasprintf("its pool \"%s\" is not clustered", p->name);
    if (p->failover != API_FAILOVER_POLICY_RESTART)
        return xasprintf("its pool \"%s\" restarts nothing elsewhere: its failover is none", p->name);
    char *why = no_other_server(c, vm, p);
    if (!why && two_without_fence(p))
        why =
            xasprintf("its pool \"%s\" has two servers, which cannot tell who of them is lost, and does not switch the "
                      "lost one off by itself",
                      p->name);
    return why;
}

void protection_fill(const struct core *c, struct api_vm *vm) {
    bool runs = vm->state == API_VM_STATE_RUNNING || vm->state == API_VM_STATE_SUSPENDED;
    char *why = vm_unguarded(c, vm);
    if (!why && is_ha(vm) && runs && !vm->watched)
        why = xstrdup(SAID_NOT_WATCHED_YET);
    vm->guarded = vm->watched && is_ha(vm) && !why;
    str_take(&vm->guarded_reason, why ? why : xstrdup(""));
}

/* ---- what it depends on has changed ---- */

static void refresh(struct core *c, const struct api_vm *old) {
    if (!is_ha(old))
        return;
    struct api_vm *vm = CORE_COPY(vm, VM, old);
    protection_fill(c, vm);
    if (vm->guarded != old->guarded || !str_eq(vm->guarded_reason, old->guarded_reason)) {
        core_put(c, API_KIND_VM, vm);
        return;
    }
    api_vm_done(vm);
    free(vm);
}

/* All, or those of a pool. */
static void refresh_all(struct core *c, const char *pool) {
    const struct table *t = &c->tables[API_KIND_VM];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_vm *vm = t->sorted[i]->v->data;
        if (!pool || str_eq(vm->pool, pool))
            refresh(c, vm);
    }
}

void protection_pool(struct core *c, const char *pool) { refresh_all(c, pool); }

static bool same_servers(const struct api_repository *a, const struct api_repository *b) {
    bool same = a->n_presented == b->n_presented;
    for (size_t i = 0; same && i < a->n_presented; i++)
        same = str_eq(a->presented[i].server, b->presented[i].server);
    return same;
}

static bool same_pool(const struct api_pool *a, const struct api_pool *b) {
    return a->clustered == b->clustered && a->failover == b->failover && str_eq(a->name, b->name) &&
           two_without_fence(a) == two_without_fence(b);
}

void protection_observe(struct core *c, enum api_kind kind, const void *was, const void *now) {
    if (!c->started || !was)
        return;
    const struct api_server *s0 = was, *s = now;
    const struct api_disk *d = now;
    const struct api_vm *vm = kind == API_KIND_DISK ? CORE_GET(c, vm, VM, d->vm) : NULL;
    switch (kind) {
    case API_KIND_POOL:
        if (!same_pool(was, now))
            refresh_all(c, ((const struct api_pool *)now)->id);
        break;
    case API_KIND_SERVER:
        if (!str_eq(s0->pool, s->pool) && !str_empty(s0->pool))
            refresh_all(c, s0->pool);
        if ((!str_eq(s0->pool, s->pool) || s0->maintenance != s->maintenance) && !str_empty(s->pool))
            refresh_all(c, s->pool);
        break;
    case API_KIND_REPOSITORY:
        if (!same_servers(was, now))
            refresh_all(c, NULL);
        break;
    case API_KIND_DISK:
        if (vm && !str_eq(d->repository, ((const struct api_disk *)was)->repository))
            refresh(c, vm);
        break;
    default:
        break;
    }
}

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

#define NAMES_MAX   5
#define REASONS_MAX 3

static bool is_ha(const struct api_vm *vm) { return vm->has_ha && vm->ha.enabled; }

/* What speaks against the servers of the pool that it is not on. */
struct others {
    const struct api_repository *missing;
    const struct api_rule *barring;
    size_t reach, closed;
};

static void look_at(const struct core *c, const struct api_vm *vm, const struct api_server *s, struct others *o) {
    const struct api_repository *m = vm_unreached(c, vm, s->id);
    const struct api_rule *r = m ? NULL : rule_barring(c, vm, s->id);
    o->missing = m ? m : o->missing;
    o->barring = r ? r : o->barring;
    if (m || r)
        return;
    o->closed += s->maintenance != API_MAINTENANCE_STATE_OFF;
    o->reach += s->maintenance == API_MAINTENANCE_STATE_OFF;
}

static char *others_text(const struct others *o, const struct api_pool *p, bool on_one) {
    if (o->closed && (o->reach || on_one))
        return xasprintf("the other servers of its pool \"%s\" that could run it are in maintenance", p->name);
    if (o->closed)
        return xasprintf("the servers of its pool \"%s\" that could run it are in maintenance", p->name);
    if (o->barring && o->missing)
        return xasprintf("placement rule \"%s\" leaves it no other server of its pool \"%s\" that has its storage",
                         o->barring->name, p->name);
    if (o->barring)
        return xasprintf("placement rule \"%s\" leaves it no other server of its pool \"%s\"", o->barring->name,
                         p->name);
    if (o->missing && (o->reach || on_one))
        return xasprintf("no other server of its pool has the storage repository \"%s\"", o->missing->name);
    if (o->missing)
        return xasprintf("not two servers of its pool have the storage repository \"%s\"", o->missing->name);
    return xasprintf("its pool \"%s\" has no other server", p->name);
}

/* NULL: another server of the pool, but not `without`, has all its storage, and takes guests, and the rules that must
   hold let it run there. */
static char *no_other_server(const struct core *c, const struct api_vm *vm, const struct api_pool *p,
                             const char *without) {
    const struct table *t = &c->tables[API_KIND_SERVER];
    struct others o = {0};
    bool on_one = !str_empty(vm->server) && !str_eq(vm->server, without);
    if (on_one && vm_is_off(vm) && rule_barring(c, vm, vm->server))
        on_one = false; /* where it does not start again */
    for (size_t i = 0; i < t->n; i++) {
        const struct api_server *s = t->sorted[i]->v->data;
        if (!str_eq(s->pool, p->id) || str_eq(s->id, vm->server) || str_eq(s->id, without))
            continue;
        look_at(c, vm, s, &o);
        if (o.reach && (on_one || o.reach > 1))
            return NULL;
    }
    return others_text(&o, p, on_one);
}

/* The manager cannot know that the lost one's guests are dead. */
static bool two_without_fence(const struct api_pool *p) {
    return p->has_cluster && p->cluster.n_nodes == 2 && p->cluster.proof == API_FAILOVER_PROOF_NONE;
}

/* A server of the pool that its cluster does not have yet; NULL: none. */
static const struct api_server *joining(const struct core *c, const struct api_pool *p) {
    const struct table *t = &c->tables[API_KIND_SERVER];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_server *s = t->sorted[i]->v->data;
        bool in = !str_eq(s->pool, p->id);
        for (size_t k = 0; k < p->cluster.n_nodes && !in; k++)
            in = str_eq(p->cluster.nodes[k].server, s->id);
        if (!in)
            return s;
    }
    return NULL;
}

/* s: the third one is there, and the cluster has to take it in, which is not for long; NULL: there is none. */
static char *two_text(const struct api_pool *p, const struct api_server *s) {
    if (!s)
        return xasprintf("its pool \"%s\" has two servers, which cannot tell who of them is lost, and does not switch "
                         "the lost one off by itself",
                         p->name);
    if (str_empty(p->cluster.reason))
        return xasprintf("server \"%s\" is just being taken into the cluster of its pool \"%s\", which until then has "
                         "two servers only",
                         s->name, p->name);
    return xasprintf("server \"%s\" is not in the cluster of its pool \"%s\", which has two servers only: %s", s->name,
                     p->name, p->cluster.reason);
}

/* The same of one that a server is about to leave. */
static bool two_are_left(const struct core *c, const struct api_pool *p, const char *without) {
    const struct table *t = &c->tables[API_KIND_SERVER];
    size_t n = 0, fenced = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct api_server *s = t->sorted[i]->v->data;
        if (!str_eq(s->pool, p->id) || str_eq(s->id, without))
            continue;
        n++;
        fenced += s->has_fence && !str_empty(s->fence.agent);
    }
    return n == 2 && (fenced < 2 || p->fencing != API_FENCING_POLICY_AUTO);
}

/* without: a server that the pool is about to lose for good; "": none. */
static char *unguarded(const struct core *c, const struct api_vm *vm, const char *without) {
    const struct api_pool *p = CORE_GET(c, pool, POOL, vm->pool);
    if (!is_ha(vm))
        return NULL;
    if (!p)
        return xstrdup("it is in no server pool");
    if (!p->clustered)
        return xasprintf("its pool \"%s\" is not clustered", p->name);
    if (p->failover != API_FAILOVER_POLICY_RESTART)
        return xasprintf("its pool \"%s\" restarts nothing elsewhere: its failover is none", p->name);
    char *why = no_other_server(c, vm, p, without);
    if (!why && (*without ? two_are_left(c, p, without) : two_without_fence(p)))
        why = two_text(p, *without ? NULL : joining(c, p));
    return why;
}

char *vm_unguarded(const struct core *c, const struct api_vm *vm) { return unguarded(c, vm, ""); }

struct losses {
    struct buf names, reasons;
    size_t n, n_reasons;
};

static void loss_add(struct losses *l, const struct api_vm *vm, const char *why) {
    if (l->n++ < NAMES_MAX)
        buf_addf(&l->names, "%s\"%s\"", l->n > 1 ? ", " : "", vm->name);
    if (l->n_reasons == REASONS_MAX || (l->reasons.data && strstr(l->reasons.data, why)))
        return;
    buf_addf(&l->reasons, "%s%s", l->n_reasons++ ? "; " : "", why);
}

char *protection_without(const struct core *c, const char *server, bool takes_its_own) {
    const struct api_server *s = CORE_GET(c, server, SERVER, server);
    const struct table *t = &c->tables[API_KIND_VM];
    struct losses l = {0};
    char *text = NULL;
    for (size_t i = 0; i < t->n && !str_empty(s->pool); i++) {
        const struct api_vm *vm = t->sorted[i]->v->data;
        if (!str_eq(vm->pool, s->pool) || !is_ha(vm))
            continue;
        _cleanup_free_ char *before = unguarded(c, vm, "");
        _cleanup_free_ char *after = before                                        ? NULL
                                     : takes_its_own && str_eq(vm->server, server) ? xstrdup("it is in no server pool")
                                                                                   : unguarded(c, vm, server);
        if (after)
            loss_add(&l, vm, after);
    }
    if (l.n > NAMES_MAX)
        buf_addf(&l.names, " and %zu more", l.n - NAMES_MAX);
    if (l.n)
        text = xasprintf("%zu highly available virtual machine%s not restarted elsewhere any more when a server is "
                         "lost (%s): %s",
                         l.n, l.n == 1 ? " is" : "s are", l.names.data, l.reasons.data);
    buf_done(&l.names);
    buf_done(&l.reasons);
    return text;
}

/* It runs nowhere, or nobody can tell it to be watched. */
static char *not_there(const struct core *c, const struct api_vm *vm) {
    const struct api_server *s = CORE_GET(c, server, SERVER, vm->server);
    bool down = vm->state == API_VM_STATE_CRASHED && !vm->restarting && (!vm->watched || str_empty(vm->server));
    if (down && str_empty(vm->state_reason))
        return xasprintf("it has crashed: unless it is restarted by itself, start it with: tarn vm start %s", vm->name);
    if (down)
        return xasprintf("it has crashed, %s: unless it is restarted by itself, start it with: tarn vm start %s",
                         vm->state_reason, vm->name);
    if (vm->state == API_VM_STATE_UNKNOWN && !vm->watched && s)
        return xasprintf("its server \"%s\" could not be told to watch it: bring that back, or if it is gone for good, "
                         "switch it off first, then: tarn server delete %s --force",
                         s->name, s->name);
    return NULL;
}

void protection_fill(const struct core *c, struct api_vm *vm) {
    bool runs = vm->state == API_VM_STATE_RUNNING || vm->state == API_VM_STATE_SUSPENDED;
    char *why = vm_unguarded(c, vm);
    if (!why && is_ha(vm) && runs && !vm->watched)
        why = xstrdup(SAID_NOT_WATCHED_YET);
    if (is_ha(vm) && !why)
        why = not_there(c, vm);
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

static void refresh_if(struct core *c, const struct api_vm *vm, const struct api_rule *but) {
    if (vm && is_ha(vm) && !(but && rule_is_about(but, vm)))
        refresh(c, vm);
}

/* Those that it is about, of maybe thirty thousand, but not those that the other is about as well. */
static void refresh_rule(struct core *c, const struct api_rule *r, const struct api_rule *but) {
    const struct table *t = &c->tables[API_KIND_VM];
    if (!c->started || !rule_bars(r))
        return;
    for (size_t i = 0; i < r->n_vms; i++)
        refresh_if(c, CORE_GET(c, vm, VM, r->vms[i]), but);
    for (size_t i = 0; i < t->n && !str_empty(r->tag) && !(but && str_eq(but->tag, r->tag)); i++) {
        const struct api_vm *vm = t->sorted[i]->v->data;
        if (is_ha(vm) && rule_is_about(r, vm))
            refresh(c, vm);
    }
}

void protection_rule(struct core *c, const struct api_rule *r) { refresh_rule(c, r, NULL); }

/* It says the same, though maybe of others. */
static bool same_rule(const struct api_rule *a, const struct api_rule *b) {
    bool same = a->type == b->type && a->must == b->must && str_eq(a->name, b->name) && str_eq(a->pool, b->pool) &&
                a->n_servers == b->n_servers;
    for (size_t i = 0; same && i < a->n_servers; i++)
        same = str_eq(a->servers[i], b->servers[i]);
    return same;
}

static bool same_servers(const struct api_repository *a, const struct api_repository *b) {
    bool same = a->n_presented == b->n_presented;
    for (size_t i = 0; same && i < a->n_presented; i++)
        same = str_eq(a->presented[i].server, b->presented[i].server);
    return same;
}

static bool same_pool(const struct api_pool *a, const struct api_pool *b) {
    return a->clustered == b->clustered && a->failover == b->failover && str_eq(a->name, b->name) &&
           two_without_fence(a) == two_without_fence(b) &&
           (!two_without_fence(b) || str_eq(a->cluster.reason, b->cluster.reason));
}

void protection_observe(struct core *c, enum api_kind kind, const void *was, const void *now) {
    if (kind == API_KIND_RULE) {
        bool same = was && same_rule(was, now);
        if (was)
            refresh_rule(c, was, same ? now : NULL);
        refresh_rule(c, now, same ? was : NULL);
        return;
    }
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

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is promised on each server: sums over the virtual machines that run there, are about to, or may begin to by
 * themselves. They follow every change of the inventory, also one that is taken back, so that placing never adds up
 * anything; what has been chosen for a start counts from the moment of the choice.
 */
#include "core/core_int.h"

#define TOLD_MS 120000 /* older measurements say nothing */

static struct server_load *load_of(struct core *c, const char *server) {
    struct server_load *l = map_get(&c->loads, server);
    if (!l) {
        l = xcalloc(1, sizeof *l);
        map_put(&c->loads, server, l);
    }
    return l;
}

const struct server_load *server_load(const struct core *c, const char *server) {
    static const struct server_load none;
    const struct server_load *l = map_get(&c->loads, server);
    return l ? l : &none;
}

bool vm_will_restart(const struct api_guest_report *g) {
    return g->should_run && state_is_off(g->state);
}

bool vm_counts(const struct api_vm *vm) {
    switch (vm->state) {
    case API_VM_STATE_STOPPED:
    case API_VM_STATE_CRASHED:
        return vm->reserved || vm->restarting;
    case API_VM_STATE_CREATING:
    case API_VM_STATE_DELETING:
        return vm->reserved;
    default:
        return true;
    }
}

bool vm_counts_at(const struct api_vm *vm, const char *server) {
    /* Even when it has ended where it was: what waits for it there goes with the move. */
    if (!str_empty(vm->target) && str_eq(vm->target, server))
        return true;
    if (!vm_counts(vm))
        return false;
    bool moves = vm->restarting || (vm->state != API_VM_STATE_STARTING && vm->state != API_VM_STATE_STOPPED &&
                                    vm->state != API_VM_STATE_CRASHED && vm->state != API_VM_STATE_CREATING);
    /* On its way it needs room at both ends; what is about to start is not yet where it ran last, unless that server's
       agent restarts it by its policy. */
    return str_eq(vm->server, server) && (str_empty(vm->target) || moves);
}

static void add(struct core *c, const char *server, const struct api_vm *vm, int by) {
    if (str_empty(server))
        return;
    struct server_load *l = load_of(c, server);
    l->cpus += by * vm->cpus;
    l->memory += by * vm->memory;
    l->guests += by;
    l->nics += by * (int64_t)vm->n_nics;
    if (vm->ha.enabled) {
        l->ha_cpus += by * vm->cpus;
        l->ha_memory += by * vm->memory;
    }
}

static void list_vm(struct core *c, struct object *o, bool here) {
    const struct api_vm *vm = o->v->data;
    if (str_empty(vm->server))
        return;
    struct server_load *l = load_of(c, vm->server);
    if (here) {
        if (l->n_vms == l->cap_vms) {
            l->cap_vms = l->cap_vms ? l->cap_vms * 2 : 8;
            l->vms = xreallocarray(l->vms, l->cap_vms, sizeof(struct object *));
        }
        l->vms[l->n_vms++] = o;
        return;
    }
    for (size_t i = l->n_vms; i-- > 0;) {
        if (l->vms[i] != o)
            continue;
        l->vms[i] = l->vms[--l->n_vms];
        break;
    }
}

static int compare_names(const void *a, const void *b) {
    const struct object *x = *(struct object *const *)a, *y = *(struct object *const *)b;
    return strcmp(object_name(x), object_name(y));
}

struct object **server_vms(const struct core *c, const char *server, size_t *ret_n) {
    const struct server_load *l = server_load(c, server);
    struct object **vms = xcalloc(l->n_vms + 1, sizeof(struct object *));
    *ret_n = l->n_vms;
    if (l->n_vms) {
        memcpy(vms, l->vms, l->n_vms * sizeof(struct object *));
        qsort(vms, l->n_vms, sizeof(struct object *), compare_names);
    }
    return vms;
}

void load_count(struct core *c, struct object *o, int by) {
    const struct api_vm *vm = o->v->data;
    list_vm(c, o, by > 0);
    if (vm_counts_at(vm, vm->server))
        add(c, vm->server, vm, by);
    if (!str_eq(vm->target, vm->server) && vm_counts_at(vm, vm->target))
        add(c, vm->target, vm, by);
}

void core_server_load(struct core *c, const char *server, double cpus, double bytes_per_s) {
    if (!core_find(c, API_KIND_SERVER, server) || !(cpus >= 0 && cpus < 1e6) ||
        !(bytes_per_s >= 0 && bytes_per_s < 1e15))
        return;
    struct server_load *l = load_of(c, server);
    l->busy_cpus = cpus;
    l->busy_net = bytes_per_s;
    l->told_at = c->mono_ms;
}

bool load_is_told(const struct core *c, const struct server_load *l) {
    return l->told_at && c->mono_ms - l->told_at < TOLD_MS;
}

void loads_done(struct core *c) {
    size_t pos = 0;
    void *value;
    while (map_next(&c->loads, &pos, NULL, &value)) {
        free(((struct server_load *)value)->vms);
        free(value);
    }
    map_done(&c->loads);
}

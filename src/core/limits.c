/* SPDX-License-Identifier: Apache-2.0 */
/* What a virtual machine may take of its server: whether that can be kept there. The server's agent keeps it. */
#include "core/core_int.h"

#include "base/cpulist.h"

static bool any(const struct api_vm_limits *l) {
    return l->cpu_shares || l->cpu_cap || !str_empty(l->pinning) || l->numa_node >= 0 || l->memory_max;
}

bool vm_has_limits(const struct api_vm *vm) { return vm->has_limits && any(&vm->limits); }

bool vm_same_limits(const struct api_vm *a, const struct api_vm *b) {
    const struct api_vm_limits *x = &a->limits, *y = &b->limits;
    if (!vm_has_limits(a) || !vm_has_limits(b))
        return vm_has_limits(a) == vm_has_limits(b);
    return x->cpu_shares == y->cpu_shares && x->cpu_cap == y->cpu_cap && str_eq(x->pinning, y->pinning) &&
           x->numa_node == y->numa_node && x->memory_max == y->memory_max;
}

int vm_check_limits(const struct api_vm *vm, struct error *e) {
    const struct api_vm_limits *l = &vm->limits;
    struct cpulist cpus;
    if (!vm_has_limits(vm))
        return 0;
    if (cpulist_parse(l->pinning, &cpus) < 0)
        return error_set_field(e, ERR_INVALID, "limits.pinning", "is a list of CPUs such as 0-3,8, not \"%.60s\"",
                               l->pinning);
    if (l->memory_max && l->memory_max < vm->memory)
        return error_set_field(e, ERR_INVALID, "limits.memory_max",
                               "is less than the guest's memory: its process would be ended when it uses all of it");
    return 0;
}

/* All CPUs that the server has told of. */
static bool cpus_of(const struct api_server *s, struct cpulist *ret) {
    *ret = (struct cpulist){0};
    for (size_t i = 0; i < s->hardware.n_numa; i++) {
        struct cpulist node;
        if (cpulist_parse(s->hardware.numa[i].cpus, &node) == 0)
            for (size_t k = 0; k < ARRAY_LEN(node.bits); k++)
                ret->bits[k] |= node.bits[k];
    }
    return cpulist_count(ret) > 0;
}

static bool has_node(const struct api_server *s, int64_t node) {
    for (size_t i = 0; i < s->hardware.n_numa; i++)
        if (s->hardware.numa[i].node == node)
            return true;
    return s->hardware.n_numa == 0;
}

char *server_limits_problem(const struct api_server *s, const struct api_vm *vm) {
    const struct api_vm_limits *l = &vm->limits;
    const char *how = s->hardware.limits;
    struct cpulist wanted, has;
    if (!vm_has_limits(vm) || str_empty(how))
        return NULL;
    if (strncmp(how, "cgroup-", 7) != 0 && !str_eq(how, "simulated"))
        return xasprintf("it cannot keep limits: %s", how);
    if (!has_node(s, l->numa_node) && l->numa_node >= 0)
        return xasprintf("it has no NUMA node %lld", (long long)l->numa_node);
    if (cpulist_parse(l->pinning, &wanted) == 0 && cpus_of(s, &has) && !cpulist_within(&wanted, &has)) {
        _cleanup_free_ char *all = cpulist_text(&has);
        return xasprintf("it has not all of the CPUs %s, only %s", l->pinning, all);
    }
    return NULL;
}

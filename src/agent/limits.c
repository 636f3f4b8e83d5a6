/* SPDX-License-Identifier: Apache-2.0 */
/* Guests' limits (cgroup.h) between the brain, the driver and what this machine is. */
#include "agent/agent.h"
#include "agent/cgroup.h"

#include "os/file.h"
#include "os/log.h"

#include <errno.h>
#include <fcntl.h>

void limits_open(struct agent *a) {
    if (a->config.sim)
        return;
    a->cgroups = cgroups_new(a->identity.server);
    if (cgroups_problem(a->cgroups))
        log_info("guests' limits cannot be kept: %s", cgroups_problem(a->cgroups));
}

const char *limits_word(const struct agent *a) { return a->cgroups ? cgroups_word(a->cgroups) : "simulated"; }

void limits_close(struct agent *a) { cgroups_free(TAKE_PTR(a->cgroups)); }

const char *limits_why_died(const struct agent *a, const char *vm) {
    return a->cgroups && cgroups_ran_out(a->cgroups, vm)
               ? "the server's kernel ended it: its process took more memory than its limit memory_max allows"
               : NULL;
}

void limits_sweep(struct agent *a) {
    if (a->cgroups)
        cgroups_sweep(a->cgroups);
}

/* With the CPUs of its NUMA node, where none are named. The copy is the caller's. */
static int effective(const struct agent *a, const struct api_vm_limits *l, struct api_vm_limits *ret, struct error *e) {
    const struct api_hardware *h = &a->hello.server.hardware;
    const struct api_hardware_numa *node = NULL;
    for (size_t i = 0; i < h->n_numa && l->numa_node >= 0; i++)
        if (h->numa[i].node == l->numa_node)
            node = &h->numa[i];
    if (l->numa_node >= 0 && !node)
        return error_set_field(e, ERR_INVALID, "limits.numa_node", "this server has no NUMA node %lld",
                               (long long)l->numa_node);
    api_vm_limits_copy(ret, l);
    if (node && str_empty(ret->pinning))
        str_set(&ret->pinning, node->cpus);
    return 0;
}

int limits_groups(void *ctx, const struct api_guest_start *start, struct child_groups *ret, struct error *e) {
    struct agent *a = ctx;
    struct api_vm_limits l;
    if (!a->cgroups || !start->vm.has_limits || !limits_any(&start->vm.limits))
        return 0;
    int r = effective(a, &start->vm.limits, &l, e);
    if (r < 0)
        return r;
    r = cgroups_make(a->cgroups, start->vm.id, &l, ret, e);
    api_vm_limits_done(&l);
    return r;
}

/* The process behind a pidfd; -ESRCH if it has ended. */
static pid_t pid_of(int pidfd) {
    static const char key[] = "Pid:";
    _cleanup_free_ char *path = xasprintf("/proc/self/fdinfo/%d", pidfd), *text = facts_read(path);
    const char *at = text ? strstr(text, key) : NULL;
    pid_t pid = at ? (pid_t)strtol(at + sizeof(key) - 1, NULL, 10) : -1;
    return pid > 0 ? pid : -ESRCH;
}

static int change(struct agent *a, const struct api_guest_limits *x, struct error *e) {
    const struct hypervisor_driver *d = a->config.driver;
    struct api_vm_limits l;
    int pidfd = d->pidfd ? d->pidfd(a->hypervisor, x->vm) : -ENOENT;
    pid_t pid = pidfd < 0 ? pidfd : pid_of(pidfd);
    if (pid < 0 || !a->cgroups)
        return 0; /* its next start brings them */
    int r = effective(a, &x->limits, &l, e);
    if (r < 0)
        return r;
    r = cgroups_change(a->cgroups, x->vm, &l, pid, e);
    api_vm_limits_done(&l);
    return r;
}

void limits_call(struct agent *a, uint64_t call, const json_t *args) {
    struct api_guest_limits x;
    _cleanup_error_ struct error e = ERROR_INIT;
    int r = api_guest_limits_parse(args, API_PEER, &x, &e);
    if (r == 0) {
        r = change(a, &x, &e);
        api_guest_limits_done(&x);
    }
    agent_call_done(a, call, r < 0 ? &e : NULL, NULL);
}

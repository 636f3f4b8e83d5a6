/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Version 1: a hierarchy for each controller, or for several. Ours is TARN in each, beside whatever else is there. A
 * cpuset has neither CPUs nor memory nodes until it is given some, so all of its parent's stand for "any".
 */
#include "agent/cgroup_internal.h"

#include "base/mem.h"
#include "os/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SHARES_USUAL 1024
#define SHARES_MAX   262144

static int open_one(struct cgroups *c, const char *mount, int controller) {
    _cleanup_close_ int root = open_dir(mount);
    int dir = root < 0 ? root : cgroup_make_dir(c, root, CGROUP_TARN);
    static const char *const inherited[] = {"cpuset.cpus", "cpuset.mems"};
    for (size_t i = 0; i < ARRAY_LEN(inherited) && dir >= 0 && controller == CGROUP_CPUSET; i++) {
        _cleanup_free_ char *of_parent = NULL;
        int r = cgroup_read(root, inherited[i], &of_parent);
        if (r == 0)
            r = cgroup_write(c, dir, inherited[i], of_parent);
        if (r < 0) {
            close_fd(&dir);
            return r;
        }
    }
    return dir;
}

void cgroup_v1_open(struct cgroups *c, const struct cgroup_mounts *m) {
    int worst = 0;
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        c->dirs[i] = m->v1[i] ? open_one(c, m->v1[i], i) : -ENOENT;
        if (c->dirs[i] < 0) {
            worst = c->dirs[i];
            c->dirs[i] = -1;
        }
    }
    if (c->dirs[CGROUP_CPU] >= 0 && c->dirs[CGROUP_MEMORY] >= 0) {
        c->version = 1;
        return;
    }
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        close_fd(&c->dirs[i]);
    c->problem = worst == -ENOENT ? xstrdup("its control groups (version 1) lack the controller cpu or memory")
                                  : xasprintf("its control groups (version 1) may not be used: %s", strerror(-worst));
}

static void add(struct cgroup_setting *s, size_t *n, int controller, const char *file, const char *value) {
    s[*n].controller = controller;
    s[*n].file = file;
    snprintf(s[(*n)++].value, sizeof s->value, "%s", value);
}

static void add_number(struct cgroup_setting *s, size_t *n, int controller, const char *file, int64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    add(s, n, controller, file, text);
}

static char *parent_has(const struct cgroups *c, const char *file) {
    char *text = NULL;
    return c->dirs[CGROUP_CPUSET] >= 0 && cgroup_read(c->dirs[CGROUP_CPUSET], file, &text) == 0 ? text : xstrdup("");
}

size_t cgroup_v1_settings(const struct cgroups *c, const struct api_vm_limits *l, struct cgroup_setting *ret) {
    size_t n = 0;
    char node[24];
    _cleanup_free_ char *all_cpus = parent_has(c, "cpuset.cpus"), *all_nodes = parent_has(c, "cpuset.mems");
    int64_t shares = l->cpu_shares ? l->cpu_shares * SHARES_USUAL / 100 : SHARES_USUAL;
    snprintf(node, sizeof node, "%lld", (long long)l->numa_node);
    add_number(ret, &n, CGROUP_CPU, "cpu.shares", shares < 2 ? 2 : shares > SHARES_MAX ? SHARES_MAX : shares);
    add_number(ret, &n, CGROUP_CPU, "cpu.cfs_period_us", CGROUP_PERIOD_US);
    add_number(ret, &n, CGROUP_CPU, "cpu.cfs_quota_us", l->cpu_cap ? l->cpu_cap * (CGROUP_PERIOD_US / 100) : -1);
    add(ret, &n, CGROUP_CPUSET, "cpuset.mems", l->numa_node >= 0 ? node : all_nodes);
    add(ret, &n, CGROUP_CPUSET, "cpuset.cpus", str_empty(l->pinning) ? all_cpus : l->pinning);
    add_number(ret, &n, CGROUP_MEMORY, "memory.limit_in_bytes", l->memory_max ? l->memory_max : -1);
    return n;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Version 2: one tree, in which a group offers its children only controllers that it was itself given, and only where
 * no process is in it (but for the root). Ours is TARN at the root where we may write there; else beside our own group,
 * in the one that a user's session manager has been given.
 */
#include "agent/cgroup_internal.h"

#include "base/mem.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static const char *const names[] = {[CGROUP_CPU] = "cpu", [CGROUP_MEMORY] = "memory", [CGROUP_CPUSET] = "cpuset"};

static bool has_word(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *s = list; (s = strstr(s, word)); s += n)
        if ((s == list || s[-1] == ' ') && (s[n] == ' ' || s[n] == '\0'))
            return true;
    return false;
}

static bool offers(int dir, int controller) {
    _cleanup_free_ char *has = NULL;
    return cgroup_read(dir, "cgroup.controllers", &has) == 0 && has_word(has, names[controller]);
}

/* The children of this group get what it has; which of ours they get can be seen in them. */
static void enable(const struct cgroups *c, int dir) {
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char text[16];
        snprintf(text, sizeof text, "+%s", names[i]);
        if (offers(dir, (int)i))
            cgroup_write(c, dir, "cgroup.subtree_control", text);
    }
}

/* TARN in this directory: 0, or why it does not serve. */
static int try_parent(struct cgroups *c, int parent) {
    if (!offers(parent, CGROUP_CPU) || !offers(parent, CGROUP_MEMORY))
        return -EOPNOTSUPP;
    enable(c, parent);
    _cleanup_close_ int dir = cgroup_make_dir(c, parent, CGROUP_TARN);
    if (dir < 0)
        return dir;
    if (!offers(dir, CGROUP_CPU) || !offers(dir, CGROUP_MEMORY)) {
        unlinkat(parent, CGROUP_TARN, AT_REMOVEDIR);
        return -EBUSY;
    }
    enable(c, dir);
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        c->dirs[i] = offers(dir, i) ? fcntl(dir, F_DUPFD_CLOEXEC, 3) : -1;
    c->version = 2;
    return 0;
}

void cgroup_v2_open(struct cgroups *c, const struct cgroup_mounts *m, const char *own) {
    _cleanup_close_ int root = open_dir(m->v2);
    int r = root < 0 ? root : try_parent(c, root);
    const char *slash = strrchr(own, '/');
    if (r < 0 && root >= 0 && slash && slash > own && own[0] == '/') {
        _cleanup_free_ char *beside = xstrndup(own + 1, (size_t)(slash - own - 1));
        _cleanup_close_ int parent = open_beneath(root, beside, O_RDONLY | O_DIRECTORY, 0);
        int second = parent < 0 ? parent : try_parent(c, parent);
        r = second == 0 || r == -EACCES || r == -EPERM ? second : r;
    }
    if (r == 0)
        return;
    c->problem =
        r == -EOPNOTSUPP ? xstrdup("its control groups (version 2) have no controllers for CPU and memory")
        : r == -EBUSY
            ? xstrdup("its control groups (version 2) do not pass the controllers for CPU and memory on, as in "
                      "some containers")
            : xasprintf("its control groups (version 2) may not be used: %s", strerror(-r));
}

size_t cgroup_v2_settings(const struct cgroups *c, const struct api_vm_limits *l, struct cgroup_setting *ret) {
    size_t n = 0;
    struct cgroup_setting *s = ret;
    s[n] = (struct cgroup_setting){.controller = CGROUP_CPU, .file = "cpu.weight"};
    snprintf(s[n++].value, sizeof s->value, "%lld", l->cpu_shares ? (long long)l->cpu_shares : 100LL);
    s[n] = (struct cgroup_setting){.controller = CGROUP_CPU, .file = "cpu.max"};
    if (l->cpu_cap)
        snprintf(s[n].value, sizeof s->value, "%lld %d", (long long)l->cpu_cap * (CGROUP_PERIOD_US / 100),
                 CGROUP_PERIOD_US);
    else
        snprintf(s[n].value, sizeof s->value, "max %d", CGROUP_PERIOD_US);
    n++;
    /* An empty line takes a choice back: then the parent's are used. */
    s[n] = (struct cgroup_setting){.controller = CGROUP_CPUSET, .file = "cpuset.mems", .value = "\n"};
    if (l->numa_node >= 0)
        snprintf(s[n].value, sizeof s->value, "%lld", (long long)l->numa_node);
    n++;
    s[n] = (struct cgroup_setting){.controller = CGROUP_CPUSET, .file = "cpuset.cpus"};
    snprintf(s[n++].value, sizeof s->value, "%s", str_or(l->pinning, "\n"));
    s[n] = (struct cgroup_setting){.controller = CGROUP_MEMORY, .file = "memory.max", .value = "max"};
    if (l->memory_max)
        snprintf(s[n].value, sizeof s->value, "%lld", (long long)l->memory_max);
    return n + 1;
}

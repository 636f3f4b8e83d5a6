/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest may take of this server: CPU shares, a cap in hundredths of a CPU, the CPUs and the NUMA node it runs
 * on, memory at most. Kept by the kernel's control groups: of version 2, else of version 1 where version 2 has none of
 * the controllers (a hybrid machine); where there are neither, limits are refused in words and everything else works.
 *
 * A guest with limits has a group of its own, TARN/VM.SERVER (several agents may share a machine), in which its process
 * begins. A group is found again by its name and removed when nothing is in
 * it any more. A guest without limits is in no group of ours and starts as if there were none of this.
 */
#pragma once

#include "api/api.h"
#include "base/error.h"
#include "os/child.h"

#include <sys/types.h>

enum { CGROUP_CPU, CGROUP_MEMORY, CGROUP_CPUSET, CGROUP_CONTROLLERS };

struct cgroups;
/* server: its id. Always succeeds; cgroups_problem() says what is missing. */
struct cgroups *cgroups_new(const char *server);
void cgroups_free(struct cgroups *c); /* NULL is allowed; groups stay */
/* NULL where limits can be kept, else why not, for people. */
const char *cgroups_problem(const struct cgroups *c);
/* "cgroup-v2", "cgroup-v1", or the problem. */
const char *cgroups_word(const struct cgroups *c);
/* Whether CPUs and NUMA nodes can be chosen as well. */
bool cgroups_can_pin(const struct cgroups *c);

bool limits_any(const struct api_vm_limits *l);
/* Makes the guest's groups and sets the limits; *ret is what its process begins in, the caller's. */
int cgroups_make(struct cgroups *c, const char *vm, const struct api_vm_limits *l, struct child_groups *ret,
                 struct error *e);
/* Of a guest that runs as pid; it gets a group if it has none. */
int cgroups_change(struct cgroups *c, const char *vm, const struct api_vm_limits *l, pid_t pid, struct error *e);
/* Whether the kernel has ended a process of the guest because its group had no memory left. */
bool cgroups_ran_out(const struct cgroups *c, const char *vm);
/* Removes the groups in which nothing is any more. */
void cgroups_sweep(struct cgroups *c);

/* ---- for the tests ---- */

/* Where controllers are mounted: the directory's path for each, by version. */
struct cgroup_mounts {
    char *v2;
    char *v1[CGROUP_CONTROLLERS];
};
/* From the text of /proc/self/mountinfo. */
void cgroup_mounts_parse(const char *mountinfo, struct cgroup_mounts *ret);
void cgroup_mounts_done(struct cgroup_mounts *m);
/* With these mounts, beside the group `own` of version 2 ("/user.slice/…"); make_files: directories make no files by
 * themselves, as those of the kernel do. */
struct cgroups *cgroups_new_at(const struct cgroup_mounts *m, const char *server, const char *own, bool make_files);

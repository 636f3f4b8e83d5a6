/* SPDX-License-Identifier: Apache-2.0 */
/* What cgroup.c and the two versions share. */
#pragma once

#include "agent/cgroup.h"

struct cgroups {
    char *server;
    int version;                  /* 0: none */
    int dirs[CGROUP_CONTROLLERS]; /* our directory TARN, for each controller; -1 if there is none. The same one in v2 */
    bool make_files;
    char *problem;
};

/* Opens dirs, or fills problem. */
void cgroup_v1_open(struct cgroups *c, const struct cgroup_mounts *m);
void cgroup_v2_open(struct cgroups *c, const struct cgroup_mounts *m, const char *own);

/* A row of what is to be written into a group. */
struct cgroup_setting {
    int controller;
    const char *file;
    char value[512];
};
#define CGROUP_SETTINGS_MAX 8
/* In the order in which they are written; the number. nodes and cpus: what the kernel takes for "all" (v1). */
size_t cgroup_v1_settings(const struct cgroups *c, const struct api_vm_limits *l, struct cgroup_setting *ret);
size_t cgroup_v2_settings(const struct cgroups *c, const struct api_vm_limits *l, struct cgroup_setting *ret);

int cgroup_write(const struct cgroups *c, int dirfd, const char *file, const char *text);
int cgroup_read(int dirfd, const char *file, char **ret); /* without its newline */
/* Makes and opens the directory. */
int cgroup_make_dir(const struct cgroups *c, int dirfd, const char *name);

#define CGROUP_PERIOD_US 100000
#define CGROUP_TARN      "tarn"

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/cgroup_internal.h"

#include "base/cpulist.h"
#include "base/mem.h"
#include "os/file.h"
#include "os/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX 65536

/* ---- files ---- */

int cgroup_write(const struct cgroups *c, int dirfd, const char *file, const char *text) {
    _cleanup_close_ int fd = open_beneath(dirfd, file, O_WRONLY | (c->make_files ? O_CREAT | O_TRUNC : 0), 0600);
    if (fd < 0)
        return fd;
    /* One write: the kernel takes each as a whole. */
    return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

int cgroup_read(int dirfd, const char *file, char **ret) {
    char *text;
    int r = read_file_at(dirfd, file, FILE_MAX, &text, NULL);
    if (r < 0)
        return r;
    text[strcspn(text, "\n")] = '\0';
    *ret = text;
    return 0;
}

int cgroup_make_dir(const struct cgroups *c, int dirfd, const char *name) { return make_dir(dirfd, name, 0755); }

/* ---- where the controllers are ---- */

static bool has_word(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *s = list; (s = strstr(s, word)); s += n)
        if ((s == list || s[-1] == ',') && (s[n] == ',' || s[n] == '\0'))
            return true;
    return false;
}

/* The line's fields: … (5) mount point … " - " type, source, options. Escaped blanks do not occur in ours. */
static void take_mount(char *line, struct cgroup_mounts *m) {
    static const char *const names[] = {[CGROUP_CPU] = "cpu", [CGROUP_MEMORY] = "memory", [CGROUP_CPUSET] = "cpuset"};
    char *rest = strstr(line, " - "), *save = NULL, *point = NULL;
    if (!rest)
        return;
    *rest = '\0';
    rest += 3;
    char *s = line;
    for (int i = 0; i < 5 && (point = strtok_r(s, " ", &save)); i++)
        s = NULL;
    save = NULL;
    const char *type = strtok_r(rest, " ", &save), *source = strtok_r(NULL, " ", &save),
               *options = strtok_r(NULL, " ", &save);
    if (!point || *point != '/' || !type || !source || !options)
        return;
    if (str_eq(type, "cgroup2") && !m->v2)
        m->v2 = xstrdup(point);
    for (int i = 0; i < CGROUP_CONTROLLERS && str_eq(type, "cgroup"); i++)
        if (!m->v1[i] && has_word(options, names[i]))
            m->v1[i] = xstrdup(point);
}

void cgroup_mounts_parse(const char *mountinfo, struct cgroup_mounts *ret) {
    *ret = (struct cgroup_mounts){0};
    for (const char *line = mountinfo; *line;) {
        size_t n = strcspn(line, "\n");
        _cleanup_free_ char *copy = xstrndup(line, n);
        take_mount(copy, ret);
        line += n + (line[n] == '\n');
    }
}

void cgroup_mounts_done(struct cgroup_mounts *m) {
    free(m->v2);
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        free(m->v1[i]);
    *m = (struct cgroup_mounts){0};
}

/* ---- open ---- */

struct cgroups *cgroups_new_at(const struct cgroup_mounts *m, const char *server, const char *own, bool make_files) {
    struct cgroups *c = xcalloc(1, sizeof *c);
    *c = (struct cgroups){.server = xstrdup(server), .dirs = {-1, -1, -1}, .make_files = make_files};
    _cleanup_free_ char *first = NULL;
    if (m->v2) {
        cgroup_v2_open(c, m, own);
        first = TAKE_PTR(c->problem);
    }
    if (!c->version && (m->v1[CGROUP_CPU] || m->v1[CGROUP_MEMORY]))
        cgroup_v1_open(c, m);
    if (!c->version && !c->problem)
        c->problem = first ? TAKE_PTR(first) : xstrdup("this server has no control groups");
    return c;
}

struct cgroups *cgroups_new(const char *server) {
    struct cgroup_mounts m;
    _cleanup_free_ char *text = NULL, *groups = NULL, *own = NULL;
    if (read_file_at(AT_FDCWD, "/proc/self/mountinfo", 1 << 20, &text, NULL) < 0)
        text = xstrdup("");
    cgroup_mounts_parse(text, &m);
    if (read_file_at(AT_FDCWD, "/proc/self/cgroup", FILE_MAX, &groups, NULL) == 0) {
        const char *line = strncmp(groups, "0::", 3) == 0 ? groups : strstr(groups, "\n0::");
        line = line && *line == '\n' ? line + 1 : line;
        own = line ? xstrndup(line + 3, strcspn(line + 3, "\n")) : NULL;
    }
    struct cgroups *c = cgroups_new_at(&m, server, str_or(own, "/"), false);
    cgroup_mounts_done(&m);
    cgroups_sweep(c);
    return c;
}

void cgroups_free(struct cgroups *c) {
    if (!c)
        return;
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        close_fd(&c->dirs[i]);
    free(c->server);
    free(c->problem);
    free(c);
}

const char *cgroups_problem(const struct cgroups *c) { return c->version ? NULL : c->problem; }

const char *cgroups_word(const struct cgroups *c) {
    return c->version == 2 ? "cgroup-v2" : c->version == 1 ? "cgroup-v1" : c->problem;
}

bool cgroups_can_pin(const struct cgroups *c) { return c->dirs[CGROUP_CPUSET] >= 0; }

/* ---- a guest's groups ---- */

bool limits_any(const struct api_vm_limits *l) {
    return l->cpu_shares || l->cpu_cap || !str_empty(l->pinning) || l->numa_node >= 0 || l->memory_max;
}

static int explain(int r, const struct cgroup_setting *s, struct error *e) {
    bool set = s->controller == CGROUP_CPUSET;
    if (set && (r == -EINVAL || r == -ENOENT || r == -EACCES || r == -ERANGE || r == -ENOSPC))
        return error_set(e, ERR_INVALID, "this server has not the %s %s",
                         strstr(s->file, "mems") ? "NUMA node" : "CPUs", s->value);
    if (s->controller == CGROUP_MEMORY && r == -EBUSY)
        return error_set(e, ERR_CONFLICT, "the guest uses more memory than that already");
    return error_set(e, ERR_IO, "the limit %s cannot be set to %.40s: %s", s->file, s->value, strerror(-r));
}

static int check(const struct cgroups *c, const struct api_vm_limits *l, struct error *e) {
    if (!c->version)
        return error_set(e, ERR_UNSUPPORTED, "this server cannot keep limits: %s", c->problem);
    if (!cgroups_can_pin(c) && (!str_empty(l->pinning) || l->numa_node >= 0))
        return error_set(e, ERR_UNSUPPORTED, "this server cannot pin guests: its control groups have no cpuset");
    struct cpulist cpus;
    if (cpulist_parse(str_or(l->pinning, ""), &cpus) < 0)
        return error_set_field(e, ERR_INVALID, "limits.pinning", "is a list of CPUs such as 0-3,8, not \"%.60s\"",
                               l->pinning);
    return 0;
}

/* The groups are one directory in version 2. */
static bool is_repeat(const struct cgroups *c, int i) { return c->version == 2 && i > 0; }

static int open_groups(struct cgroups *c, const char *vm, int *groups, struct error *e) {
    _cleanup_free_ char *name = xasprintf("%s.%s", vm, c->server);
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        groups[i] = -1;
        if (c->dirs[i] < 0)
            continue;
        groups[i] = is_repeat(c, i) ? fcntl(groups[0], F_DUPFD_CLOEXEC, 3) : cgroup_make_dir(c, c->dirs[i], name);
        if (groups[i] < 0)
            return error_set(e, ERR_IO, "no control group can be made: %s", strerror(-groups[i]));
    }
    return 0;
}

static int apply(struct cgroups *c, const int *groups, const struct api_vm_limits *l, struct error *e) {
    struct cgroup_setting settings[CGROUP_SETTINGS_MAX];
    size_t n = c->version == 2 ? cgroup_v2_settings(c, l, settings) : cgroup_v1_settings(c, l, settings);
    for (size_t i = 0; i < n; i++) {
        int group = groups[settings[i].controller];
        int r = group < 0 ? 0 : cgroup_write(c, group, settings[i].file, settings[i].value);
        if (r < 0)
            return explain(r, &settings[i], e);
    }
    return 0;
}

static void close_groups(int *groups) {
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        close_fd(&groups[i]);
}

/* What the process begins in. */
static int entrance(const struct cgroups *c, const int *groups, struct child_groups *ret, struct error *e) {
    if (c->version == 2) {
        ret->into = fcntl(groups[0], F_DUPFD_CLOEXEC, 3);
        return 0;
    }
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        int fd = groups[i] < 0 ? -1 : open_beneath(groups[i], "tasks", O_WRONLY | (c->make_files ? O_CREAT : 0), 0600);
        if (groups[i] >= 0 && fd < 0)
            return error_set(e, ERR_IO, "the guest's control group cannot be entered: %s", strerror(-fd));
        if (fd >= 0)
            ret->tasks[ret->n_tasks++] = fd;
    }
    return 0;
}

/* What it left at its last end, and with it the count of what the kernel has ended in it. One in use stays. */
static void remove_groups(const struct cgroups *c, const char *vm) {
    _cleanup_free_ char *name = xasprintf("%s.%s", vm, c->server);
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        if (c->dirs[i] >= 0 && !is_repeat(c, i))
            unlinkat(c->dirs[i], name, AT_REMOVEDIR);
}

int cgroups_make(struct cgroups *c, const char *vm, const struct api_vm_limits *l, struct child_groups *ret,
                 struct error *e) {
    int groups[CGROUP_CONTROLLERS] = {-1, -1, -1};
    struct child_groups made = {.into = -1};
    int r = check(c, l, e);
    if (r == 0)
        remove_groups(c, vm);
    if (r == 0)
        r = open_groups(c, vm, groups, e);
    if (r == 0)
        r = apply(c, groups, l, e);
    if (r == 0)
        r = entrance(c, groups, &made, e);
    close_groups(groups);
    if (r == 0)
        *ret = made;
    else
        child_groups_done(&made);
    return r;
}

static bool has_groups(const struct cgroups *c, const char *vm) {
    _cleanup_free_ char *name = xasprintf("%s.%s", vm, c->server);
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        if (c->dirs[i] >= 0 && faccessat(c->dirs[i], name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            return true;
    return false;
}

int cgroups_change(struct cgroups *c, const char *vm, const struct api_vm_limits *l, pid_t pid, struct error *e) {
    int groups[CGROUP_CONTROLLERS] = {-1, -1, -1};
    char text[24];
    bool known = has_groups(c, vm);
    if (!known && !limits_any(l))
        return 0;
    snprintf(text, sizeof text, "%d", (int)pid);
    int r = check(c, l, e);
    if (r == 0)
        r = open_groups(c, vm, groups, e);
    if (r == 0)
        r = apply(c, groups, l, e);
    for (int i = 0; i < CGROUP_CONTROLLERS && r == 0; i++) {
        int w = groups[i] < 0 || is_repeat(c, i) ? 0 : cgroup_write(c, groups[i], "cgroup.procs", text);
        if (w < 0)
            r = error_set(e, ERR_IO, "the guest cannot be put into its control group: %s", strerror(-w));
    }
    close_groups(groups);
    /* What it had before is not counted in the new group. */
    if (r == 0 && !known && l->memory_max)
        r = error_set(e, ERR_CONFLICT,
                      "the guest was started without limits: memory_max counts what it takes from now on only, and all "
                      "of it from its next start on");
    return r;
}

/* ---- the end ---- */

bool cgroups_ran_out(const struct cgroups *c, const char *vm) {
    static const char key[] = "oom_kill ";
    const char *file = c->version == 2 ? "memory.events" : "memory.oom_control";
    _cleanup_free_ char *name = xasprintf("%s.%s/%s", vm, c->server, file), *text = NULL;
    if (c->dirs[CGROUP_MEMORY] < 0 || read_file_at(c->dirs[CGROUP_MEMORY], name, FILE_MAX, &text, NULL) < 0)
        return false;
    for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (strncmp(line, key, sizeof key - 1) == 0)
            return strtoll(line + sizeof key - 1, NULL, 10) > 0;
    return false;
}

static bool is_ours(const struct cgroups *c, const char *name) {
    const char *dot = strchr(name, '.');
    return dot && str_eq(dot + 1, c->server);
}

static void sweep_dir(const struct cgroups *c, int dir) {
    int fd = open_beneath(dir, ".", O_RDONLY | O_DIRECTORY, 0);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        close_fd(&fd);
        return;
    }
    /* One with a process in it is not removed by the kernel. */
    for (struct dirent *entry; (entry = readdir(d));)
        if (is_ours(c, entry->d_name))
            unlinkat(dir, entry->d_name, AT_REMOVEDIR);
    closedir(d);
}

void cgroups_sweep(struct cgroups *c) {
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        if (c->dirs[i] >= 0 && !is_repeat(c, i))
            sweep_dir(c, c->dirs[i]);
}
